//! Sessions of the pages: a browser that showed an API token once keeps a cookie, which no script can read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use control::{Control, DocumentError, DocumentKey, EngineError, Expect, Secret};
use serde::{Deserialize, Serialize};

use crate::api_token::hex;
use crate::limits::{SESSION_AGE, SESSION_IDLE, SESSION_SAVED_EVERY, SESSIONS, SESSIONS_EACH};

/// The documents that they are kept in, by the hash of the cookie.
const KIND: &str = "session";

/// All sessions.
pub struct Sessions {
    control: Arc<Control>,
    open: Mutex<BTreeMap<String, Session>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    /// Who it stands for: see [`ApiTokens::holder`](crate::ApiTokens::holder).
    holder: String,
    began_ms: u64,
    /// When it was last used; on the disk a little older.
    seen_ms: u64,
    #[serde(skip)]
    saved_ms: u64,
}

impl Session {
    fn over(&self, now_ms: u64) -> bool {
        self.began_ms + ms(SESSION_AGE) <= now_ms || self.seen_ms + ms(SESSION_IDLE) <= now_ms
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Sessions {
    /// Reads those that are kept.
    pub async fn load(control: Arc<Control>) -> Result<Self, EngineError> {
        let (mut open, mut after) = (BTreeMap::new(), String::new());
        loop {
            let page = control.documents(KIND, &after).await?;
            let Some(last) = page.last() else { break };
            last.key.id().clone_into(&mut after);
            for document in page {
                if let Ok(session) = serde_json::from_slice::<Session>(&document.content) {
                    let saved_ms = session.seen_ms;
                    open.insert(document.key.id().to_owned(), Session { saved_ms, ..session });
                }
            }
        }
        Ok(Self { control, open: open.into() })
    }

    /// Begins a session; what is answered goes into the cookie and nowhere else. `random` is fresh.
    pub async fn begin(
        &self,
        holder: String,
        random: [u8; 24],
        now_ms: u64,
    ) -> Result<Secret, EngineError> {
        for over in self.too_many(&holder, now_ms) {
            self.forget(&over).await?;
        }
        let cookie = Secret::from_random(random);
        let id = hex(&cookie.hash().0);
        let session = Session { holder, began_ms: now_ms, seen_ms: now_ms, saved_ms: now_ms };
        self.save(&id, &session).await?;
        self.open().insert(id, session);
        Ok(cookie)
    }

    /// Who a cookie stands for, if its session is not over.
    pub async fn holder(
        &self,
        cookie: &Secret,
        now_ms: u64,
    ) -> Result<Option<String>, EngineError> {
        // Found by its hash: see `Secret::hash` for why that tells nothing by its time.
        let id = hex(&cookie.hash().0);
        let (session, save) = {
            let mut open = self.open();
            let Some(session) = open.get_mut(&id) else { return Ok(None) };
            let over = session.over(now_ms);
            let save = !over && session.saved_ms + ms(SESSION_SAVED_EVERY) <= now_ms;
            if !over {
                session.seen_ms = session.seen_ms.max(now_ms);
            }
            if save {
                session.saved_ms = now_ms;
            }
            (session.clone(), save)
        };
        if session.over(now_ms) {
            self.forget(&id).await?;
            return Ok(None);
        }
        if save {
            self.save_use(&id, &session).await?;
        }
        Ok(Some(session.holder))
    }

    /// Ends a session.
    pub async fn end(&self, cookie: &Secret) -> Result<(), EngineError> {
        self.forget(&hex(&cookie.hash().0)).await
    }

    /// Those that are over, and the ones that were used longest ago if there is no room for another one of this holder's: of his own, if he
    /// has his share.
    fn too_many(&self, holder: &str, now_ms: u64) -> Vec<String> {
        let open = self.open();
        let (over, mut left): (Vec<_>, Vec<_>) =
            open.iter().partition(|(_, session)| session.over(now_ms));
        left.sort_by_key(|(_, session)| session.seen_ms);
        let own = left.iter().filter(|(_, session)| session.holder == holder);
        let excess = (own.clone().count() + 1).saturating_sub(SESSIONS_EACH);
        let mut ended: Vec<&String> = own.take(excess).map(|(id, _)| *id).collect();
        if ended.is_empty() {
            let excess = (left.len() + 1).saturating_sub(SESSIONS);
            ended.extend(left.iter().take(excess).map(|(id, _)| *id));
        }
        over.into_iter().map(|(id, _)| id).chain(ended).cloned().collect()
    }

    async fn save(&self, id: &str, session: &Session) -> Result<(), EngineError> {
        let content = Bytes::from(serde_json::to_vec(session).unwrap_or_default());
        engine(self.control.put_document(key(id)?, content, Expect::Any).await.map(|_| ()))
    }

    /// Unless it has ended meanwhile.
    async fn save_use(&self, id: &str, session: &Session) -> Result<(), EngineError> {
        let content = serde_json::to_vec(session).unwrap_or_default();
        let change = move |_: &[u8]| Ok::<_, DocumentError>(content);
        engine(self.control.change_document(key(id)?, change).await.map(|_| ()))
    }

    async fn forget(&self, id: &str) -> Result<(), EngineError> {
        self.open().remove(id);
        engine(self.control.delete_document(key(id)?, Expect::Any).await)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(id: &str) -> Result<DocumentKey, EngineError> {
    DocumentKey::new(KIND, id).map_err(|error| EngineError::Internal(error.to_string()))
}

fn engine(result: Result<(), DocumentError>) -> Result<(), EngineError> {
    match result {
        Err(DocumentError::Engine(error)) => Err(error),
        // Gone already.
        _ => Ok(()),
    }
}

/// What a page must send beside its cookie with whatever changes something. It follows from the cookie, which only the
/// server can read, and which a page of another origin neither gets nor can ask for.
pub fn csrf_token(cookie: &Secret) -> String {
    hex(&Secret::new(format!("csrf {}", cookie.expose())).hash().0)
}

/// Whether it is that one, in a time that tells nothing.
pub fn csrf_matches(cookie: &Secret, given: &str) -> bool {
    verify_slices_are_equal(csrf_token(cookie).as_bytes(), given.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use control::MasterKey;
    use tempfile::TempDir;

    use super::*;

    const NOW: u64 = 1_763_812_800_000;

    fn open(folder: &TempDir) -> Arc<Control> {
        let path = folder.path().join("control.db");
        Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap())
    }

    #[tokio::test]
    async fn a_session_ends_when_it_is_left_alone_or_old_or_signed_out_and_outlives_a_restart() {
        let folder = TempDir::new().unwrap();
        let sessions = Sessions::load(open(&folder)).await.unwrap();
        let begin = async |seed| sessions.begin("h".to_owned(), [seed; 24], NOW).await.unwrap();
        let (idle, used, left) = (begin(1).await, begin(2).await, begin(3).await);
        let holder = async |sessions: &Sessions, cookie: &Secret, at_ms| {
            sessions.holder(cookie, at_ms).await.unwrap().is_some()
        };
        sessions.end(&left).await.unwrap();
        assert!(!holder(&sessions, &left, NOW).await);
        let mut at = NOW;
        while at + ms(SESSION_IDLE) / 2 < NOW + ms(SESSION_AGE) {
            at += ms(SESSION_IDLE) / 2;
            assert!(holder(&sessions, &used, at).await, "{at}");
        }
        let again = Sessions::load(open(&folder)).await.unwrap();
        assert!(holder(&again, &used, at).await, "its use was kept");
        for sessions in [&sessions, &again] {
            assert!(!holder(sessions, &used, NOW + ms(SESSION_AGE)).await);
            assert!(!holder(sessions, &idle, NOW + ms(SESSION_IDLE)).await);
            assert!(!holder(sessions, &Secret::new("x"), NOW).await);
        }
        let stored = sessions.control.documents(KIND, "").await.unwrap();
        assert!(stored.is_empty(), "what is over is deleted: {stored:?}");
    }

    /// It is signed out of while another tab uses it: what is written of that use does not bring it back.
    #[tokio::test]
    async fn a_use_that_is_written_late_does_not_undo_signing_out() {
        let folder = TempDir::new().unwrap();
        let sessions = Sessions::load(open(&folder)).await.unwrap();
        let cookie = sessions.begin("h".to_owned(), [1; 24], NOW).await.unwrap();
        let later = NOW + ms(SESSION_SAVED_EVERY);
        let id = hex(&cookie.hash().0);
        let session = sessions.open()[&id].clone();
        sessions.end(&cookie).await.unwrap();
        sessions.save_use(&id, &session).await.unwrap();
        let again = Sessions::load(sessions.control.clone()).await.unwrap();
        assert_eq!(again.holder(&cookie, later).await.unwrap(), None);
    }

    #[tokio::test]
    async fn there_is_a_bound_and_the_oldest_go() {
        let folder = TempDir::new().unwrap();
        let sessions = Sessions::load(open(&folder)).await.unwrap();
        {
            let mut open = sessions.open();
            for n in 0..SESSIONS as u64 {
                let (holder, at) = (format!("h{}", n % 100), NOW + n);
                let session = Session { holder, began_ms: at, seen_ms: at, saved_ms: at };
                open.insert(format!("{n:064x}"), session);
            }
        }
        sessions.begin("h".to_owned(), [9; 24], NOW + 5_000).await.unwrap();
        let open = sessions.open();
        assert_eq!(open.len(), SESSIONS);
        assert!(!open.contains_key(&format!("{:064x}", 0)));
    }

    /// However often somebody signs in, those of another one stay.
    #[tokio::test]
    async fn a_holder_has_a_share_of_them() {
        let folder = TempDir::new().unwrap();
        let sessions = Sessions::load(open(&folder)).await.unwrap();
        let owner = sessions.begin("owner".to_owned(), [0; 24], NOW).await.unwrap();
        let mut own = Vec::new();
        for n in 1..=SESSIONS_EACH as u64 + 1 {
            let mut random = [0; 24];
            random[..8].copy_from_slice(&n.to_be_bytes());
            own.push(sessions.begin("reader".to_owned(), random, NOW + n).await.unwrap());
        }
        let at = NOW + 5_000;
        let holder = async |cookie: &Secret| sessions.holder(cookie, at).await.unwrap();
        assert_eq!(sessions.open().len(), SESSIONS_EACH + 1);
        assert_eq!(holder(&owner).await.as_deref(), Some("owner"));
        assert_eq!(holder(&own[0]).await, None, "his own oldest one went");
        assert_eq!(holder(&own[1]).await.as_deref(), Some("reader"));
    }

    #[test]
    fn a_page_of_another_session_has_another_token() {
        let (one, other) = (Secret::new("a"), Secret::new("b"));
        assert!(csrf_matches(&one, &csrf_token(&one)));
        for wrong in [csrf_token(&other), String::new(), "a".to_owned()] {
            assert!(!csrf_matches(&one, &wrong), "{wrong}");
        }
    }
}
