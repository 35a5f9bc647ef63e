//! Links that the server has signed and can take back, each by itself.

use bytes::Bytes;
use control::{Control, DocumentError, DocumentKey, EngineError, Expect};
use serde::{Deserialize, Serialize};

use crate::api_token::hex;
use crate::claims::Grant;
use crate::gate::Access;
use crate::limits::LINKS;

/// The documents that they are kept in, under the uid of what they open and their own id.
const KIND: &str = "link";

/// A link for somebody. Times are ms since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its id: 32 hex characters.
    #[serde(skip)]
    pub id: String,
    /// Whom it is for, in its owner's words.
    pub name: String,
    /// When it was made.
    pub created_ms: u64,
    /// Until when it opens.
    pub expires_ms: u64,
    /// Files may be downloaded with it.
    pub downloadable: bool,
}

/// Why a link can't be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// There are as many as there may be.
    #[error("at most {LINKS} links for one video or live input: take one back first")]
    TooMany,
    /// The state can't be read or written.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Whether a link is there.
pub(crate) async fn link_is_there(
    control: &Control,
    uid: &str,
    id: &str,
) -> Result<bool, EngineError> {
    let Ok(key) = key(uid, id) else { return Ok(false) };
    Ok(control.document(key).await?.is_some())
}

impl Access {
    /// Makes a link that opens this uid. `random` is fresh.
    pub async fn create_link(
        &self,
        uid: &str,
        link: Link,
        random: [u8; 16],
    ) -> Result<Link, LinkError> {
        let now_ms = link.created_ms;
        for old in self.links(uid).await? {
            if old.expires_ms <= now_ms {
                self.delete_link(uid, &old.id).await?;
            }
        }
        if self.links(uid).await?.len() >= LINKS {
            return Err(LinkError::TooMany);
        }
        let link = Link { id: hex(&random), ..link };
        let content = Bytes::from(serde_json::to_vec(&link).unwrap_or_default());
        let put = self.control.put_document(key(uid, &link.id)?, content, Expect::Absent).await;
        match put {
            Ok(_) => Ok(link),
            Err(DocumentError::Engine(error)) => Err(error.into()),
            Err(other) => Err(EngineError::Internal(other.to_string()).into()),
        }
    }

    /// The links of this uid, the newest first; also those that have ended, until another one is made.
    pub async fn links(&self, uid: &str) -> Result<Vec<Link>, EngineError> {
        let prefix = format!("{uid}:");
        let page = self.control.documents(KIND, &prefix).await?;
        let of_uid = page.iter().filter_map(|d| Some((d.key.id().strip_prefix(&prefix)?, d)));
        let mut links: Vec<Link> = of_uid.filter_map(|(id, d)| read(id, &d.content)).collect();
        links.sort_by_key(|link| std::cmp::Reverse((link.created_ms, link.id.clone())));
        Ok(links)
    }

    /// What stands in the place of the uid: the same as often as it is asked for.
    pub fn link_token(&self, uid: &str, link: &Link) -> Option<String> {
        self.sign(&Grant {
            sub: uid.to_owned(),
            expires_ms: link.expires_ms,
            not_before_ms: None,
            downloadable: link.downloadable,
            rules: Vec::new(),
            link: Some(link.id.clone()),
        })
    }

    /// Takes a link back: nobody gets in by it any more, and who is in is out. False if there is none.
    pub async fn delete_link(&self, uid: &str, id: &str) -> Result<bool, EngineError> {
        let Ok(key) = key(uid, id) else { return Ok(false) };
        let deleted = self.control.delete_document(key, Expect::Any).await;
        self.forget_link(uid, id);
        match deleted {
            Ok(()) => Ok(true),
            Err(DocumentError::Engine(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Takes all links of this uid back, because it is deleted.
    pub async fn delete_links(&self, uid: &str) -> Result<(), EngineError> {
        for link in self.links(uid).await? {
            self.delete_link(uid, &link.id).await?;
        }
        Ok(())
    }

    /// Forgets the links that have ended; of what was deleted by retention, nobody else would.
    pub async fn sweep_links(&self, now_ms: u64) -> Result<(), EngineError> {
        let mut after = String::new();
        loop {
            let page = self.control.documents(KIND, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            last.key.id().clone_into(&mut after);
            for document in &page {
                let Some((uid, id)) = document.key.id().split_once(':') else { continue };
                if read(id, &document.content).is_none_or(|link| link.expires_ms <= now_ms) {
                    self.delete_link(uid, id).await?;
                }
            }
        }
    }
}

fn key(uid: &str, id: &str) -> Result<DocumentKey, EngineError> {
    DocumentKey::new(KIND, &format!("{uid}:{id}"))
        .map_err(|error| EngineError::Internal(error.to_string()))
}

fn read(id: &str, content: &[u8]) -> Option<Link> {
    let link = serde_json::from_slice::<Link>(content).ok()?;
    Some(Link { id: id.to_owned(), ..link })
}
