//! Tokens of the API: who holds one may do what its policies say, until it ends or is taken back.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use control::{Control, DocumentError, DocumentKey, EngineError, Expect, KeyHash, Secret};
use serde::{Deserialize, Serialize};

use crate::limits::{API_TOKEN_AGE, API_TOKENS, TOKEN_USES_KEPT};
use crate::permission::{Permission, Policy, Resource, Resources, covers, permits};
use crate::rules::Network;

/// The documents that they are kept in.
const KIND: &str = "api-token";
/// Makes a token easy to find for scanners that look for leaked secrets.
const PREFIX: &str = "aw_";
const ID_CHARS: usize = 32;

/// What is kept of a token: all but its value, of which only the hash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// Its id: 32 hex characters.
    #[serde(skip)]
    pub id: String,
    /// What its owner calls it.
    pub name: String,
    /// SHA-256 of its value, in hex.
    hash: String,
    /// It is not to be used for now.
    pub disabled: bool,
    /// When it was made, ms since 1970; so are all times here.
    pub created_ms: u64,
    /// When it was last changed.
    pub modified_ms: u64,
    /// Not before.
    pub not_before_ms: Option<u64>,
    /// Until then.
    pub expires_ms: Option<u64>,
    /// Only from these networks, if there are any.
    pub from: Vec<Network>,
    /// Not from these.
    pub not_from: Vec<Network>,
    /// What it may do.
    pub policies: Vec<Policy>,
}

/// What its owner says of a token.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What it is called.
    pub name: String,
    /// It is not to be used for now.
    pub disabled: bool,
    /// Not before.
    pub not_before_ms: Option<u64>,
    /// Until then.
    pub expires_ms: Option<u64>,
    /// Only from these networks, if there are any.
    pub from: Vec<Network>,
    /// Not from these.
    pub not_from: Vec<Network>,
    /// What it may do.
    pub policies: Vec<Policy>,
}

/// Who asks, once it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Which token: its id, or [`Principal::ROOT`].
    pub id: String,
    /// What it is called.
    pub name: String,
    /// Until then, if it ends.
    pub expires_ms: Option<u64>,
    policies: Vec<Policy>,
}

impl Principal {
    /// The id of the token in the data directory, which may do everything.
    pub const ROOT: &'static str = "root";

    /// Who has the data directory.
    pub fn root() -> Self {
        let scopes = vec!["all".to_owned()];
        let policies = vec![Policy { allow: true, scopes, resources: Resources::All }];
        let (id, name) = (Self::ROOT.to_owned(), "the token of the data directory".to_owned());
        Self { id, name, expires_ms: None, policies }
    }

    /// Whether it may do this.
    pub fn may(&self, permission: Permission, resource: Resource<'_>) -> bool {
        permits(&self.policies, permission, resource)
    }

    /// Whether it may do anything at all with this: if not, it may not know that it exists.
    pub fn knows(&self, resource: Resource<'_>) -> bool {
        Permission::ALL.iter().any(|permission| self.may(*permission, resource))
    }

    /// Whether it has this permission for anything at all: lists then have what it may see.
    pub fn may_somewhere(&self, permission: Permission) -> bool {
        self.policies.iter().any(|p| p.allow && p.permissions().contains(&permission))
    }

    /// Whether it may do all that these policies allow, for as long.
    pub fn covers(&self, policies: &[Policy], expires_ms: Option<u64>) -> bool {
        let outlives = match (self.expires_ms, expires_ms) {
            (None, _) => true,
            (Some(own), Some(other)) => other <= own,
            (Some(_), None) => false,
        };
        outlives && covers(&self.policies, policies)
    }
}

/// Why a token is not taken. The words tell its holder what to do, and nothing about tokens that are not held.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is none of this value, or not any more.
    #[error("this API token is not valid")]
    Unknown,
    /// Its owner has switched it off.
    #[error("this API token is disabled")]
    Disabled,
    /// Its time is over.
    #[error("this API token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("this API token is not valid yet")]
    NotYet,
    /// It may be used from elsewhere only.
    #[error("this API token may not be used from this address")]
    Address,
    /// Nothing can be looked up at the moment.
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// Why a token can't be made or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenChangeError {
    /// There is none of this id.
    #[error("there is no such API token")]
    NotFound,
    /// There are as many as there may be.
    #[error("at most {API_TOKENS} API tokens: delete one first")]
    TooMany,
    /// Somebody else changed it at the same time.
    #[error("somebody else changed it at the same time; read it again")]
    Changed,
    /// Too many policies, networks or ids.
    #[error("this is more than an API token can hold")]
    TooLarge,
    /// The state can't be written.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<DocumentError> for TokenChangeError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Engine(error) => Self::Engine(error),
            DocumentError::NotFound => Self::NotFound,
            DocumentError::TooLarge => Self::TooLarge,
            _ => Self::Changed,
        }
    }
}

/// All tokens of the API.
pub struct ApiTokens {
    control: Arc<Control>,
    root: KeyHash,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By id: when it was read. Only those that there are: a stranger may ask for any id.
    known: BTreeMap<String, (u64, Arc<ApiToken>)>,
    /// By id: when it was last used, since the start.
    used: BTreeMap<String, u64>,
}

impl ApiTokens {
    /// `root`: the token of the data directory.
    pub fn new(control: Arc<Control>, root: &Secret) -> Self {
        Self { control, root: root.hash(), state: Mutex::default() }
    }

    /// Whose token this is, if it may be used from this address now.
    pub async fn authenticate(
        &self,
        value: &str,
        address: IpAddr,
        now_ms: u64,
    ) -> Result<Principal, Denied> {
        let hash = Secret::new(value).hash();
        if verify_slices_are_equal(&hash.0, &self.root.0).is_ok() {
            return Ok(Principal::root());
        }
        let id = id_of(value).ok_or(Denied::Unknown)?;
        let token = self.lately(id, now_ms).await?.ok_or(Denied::Unknown)?;
        if verify_slices_are_equal(hex(&hash.0).as_bytes(), token.hash.as_bytes()).is_err() {
            return Err(Denied::Unknown);
        }
        self.principal(&token, address, now_ms)
    }

    /// Who a session stands for: the token that it was opened with, as it is now.
    pub async fn holder(
        &self,
        id: &str,
        address: IpAddr,
        now_ms: u64,
    ) -> Result<Principal, Denied> {
        if id == self.root_id() {
            return Ok(Principal::root());
        }
        let token = self.lately(id, now_ms).await?.ok_or(Denied::Unknown)?;
        self.principal(&token, address, now_ms)
    }

    /// What [`ApiTokens::holder`] knows a principal by. Another token in the data directory is another root.
    pub fn holder_id(&self, principal: &Principal) -> String {
        if principal.id == Principal::ROOT { self.root_id() } else { principal.id.clone() }
    }

    fn root_id(&self) -> String {
        format!("{}-{}", Principal::ROOT, hex(&self.root.0[..16]))
    }

    fn principal(
        &self,
        token: &ApiToken,
        address: IpAddr,
        now_ms: u64,
    ) -> Result<Principal, Denied> {
        token.usable(address.to_canonical(), now_ms)?;
        let mut state = self.state();
        if state.used.len() >= TOKEN_USES_KEPT {
            state.used.clear();
        }
        state.used.insert(token.id.clone(), now_ms);
        let ApiToken { id, name, expires_ms, policies, .. } = token.clone();
        Ok(Principal { id, name, expires_ms, policies })
    }

    /// A token as it was a moment ago: who takes it back in another process is heard as well.
    async fn lately(&self, id: &str, now_ms: u64) -> Result<Option<Arc<ApiToken>>, EngineError> {
        let age = u64::try_from(API_TOKEN_AGE.as_millis()).unwrap_or(0);
        if let Some((read_ms, token)) = self.state().known.get(id)
            && *read_ms <= now_ms
            && now_ms - read_ms < age
        {
            return Ok(Some(token.clone()));
        }
        let token = self.get(id).await?.map(Arc::new);
        let mut state = self.state();
        match &token {
            Some(token) => state.known.insert(id.to_owned(), (now_ms, token.clone())),
            None => state.known.remove(id),
        };
        Ok(token)
    }

    /// A token by its id.
    pub async fn get(&self, id: &str) -> Result<Option<ApiToken>, EngineError> {
        let Some(key) = key(id) else { return Ok(None) };
        let Some(document) = self.control.document(key).await? else { return Ok(None) };
        Ok(read(id, &document.content))
    }

    /// All of them, in the order of their ids.
    pub async fn list(&self) -> Result<Vec<ApiToken>, EngineError> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.control.documents(KIND, &after).await?;
            let Some(last) = page.last() else { return Ok(all) };
            last.key.id().clone_into(&mut after);
            all.extend(page.iter().filter_map(|d| read(d.key.id(), &d.content)));
        }
    }

    /// When it was last used, as far as is known since the start.
    pub fn last_used(&self, id: &str) -> Option<u64> {
        self.state().used.get(id).copied()
    }

    /// Makes a token; its value is in this answer and nowhere else. `random` is fresh, and used for nothing else.
    pub async fn create(
        &self,
        wanted: Wanted,
        random: [u8; 40],
        now_ms: u64,
    ) -> Result<(ApiToken, Secret), TokenChangeError> {
        if self.list().await?.len() >= API_TOKENS {
            return Err(TokenChangeError::TooMany);
        }
        let id = hex(&random[..ID_CHARS / 2]);
        let value = value(&id, &random);
        let Wanted { name, disabled, not_before_ms, expires_ms, from, not_from, policies } = wanted;
        let token = ApiToken {
            hash: hex(&value.hash().0),
            id,
            name,
            disabled,
            created_ms: now_ms,
            modified_ms: now_ms,
            not_before_ms,
            expires_ms,
            from,
            not_from,
            policies,
        };
        let key = key(&token.id).ok_or(TokenChangeError::NotFound)?;
        let content = serde_json::to_vec(&token).unwrap_or_default();
        self.control.put_document(key, Bytes::from(content), Expect::Absent).await?;
        Ok((token, value))
    }

    /// Changes what is said of a token; its value stays.
    pub async fn update(
        &self,
        id: &str,
        wanted: Wanted,
        now_ms: u64,
    ) -> Result<ApiToken, TokenChangeError> {
        let change = move |token: ApiToken| {
            let Wanted { name, disabled, not_before_ms, expires_ms, from, not_from, policies } =
                wanted;
            ApiToken {
                name,
                disabled,
                modified_ms: now_ms,
                not_before_ms,
                expires_ms,
                from,
                not_from,
                policies,
                ..token
            }
        };
        self.change(id, change).await
    }

    /// Gives a token another value; the old one is not valid from now on.
    pub async fn roll(
        &self,
        id: &str,
        random: [u8; 40],
        now_ms: u64,
    ) -> Result<Secret, TokenChangeError> {
        let value = value(id, &random);
        let hash = hex(&value.hash().0);
        self.change(id, move |token| ApiToken { hash, modified_ms: now_ms, ..token }).await?;
        Ok(value)
    }

    /// Takes a token back: it is refused from now on.
    pub async fn delete(&self, id: &str) -> Result<(), TokenChangeError> {
        let key = key(id).ok_or(TokenChangeError::NotFound)?;
        // Refused first; if the disk fails, it is read again.
        self.state().known.remove(id);
        self.control.delete_document(key, Expect::Any).await?;
        self.state().known.remove(id);
        Ok(())
    }

    async fn change(
        &self,
        id: &str,
        change: impl FnOnce(ApiToken) -> ApiToken + Send + 'static,
    ) -> Result<ApiToken, TokenChangeError> {
        let key = key(id).ok_or(TokenChangeError::NotFound)?;
        let known = id.to_owned();
        let changed = self.control.change_document(key, move |content| {
            let token = change(read(&known, content).ok_or(TokenChangeError::NotFound)?);
            Ok::<_, TokenChangeError>(serde_json::to_vec(&token).unwrap_or_default())
        });
        let document = changed.await?;
        self.state().known.remove(id);
        read(id, &document.content).ok_or(TokenChangeError::NotFound)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ApiToken {
    /// `active`, `disabled` or `expired`, as the vendor says.
    pub fn status(&self, now_ms: u64) -> &'static str {
        match (self.disabled, self.expires_ms.is_some_and(|at| at <= now_ms)) {
            (_, true) => "expired",
            (true, false) => "disabled",
            (false, false) => "active",
        }
    }

    fn usable(&self, address: IpAddr, now_ms: u64) -> Result<(), Denied> {
        if self.disabled {
            return Err(Denied::Disabled);
        }
        if self.expires_ms.is_some_and(|at| at <= now_ms) {
            return Err(Denied::Expired);
        }
        if self.not_before_ms.is_some_and(|at| at > now_ms) {
            return Err(Denied::NotYet);
        }
        let among = |list: &[Network]| list.iter().any(|network| network.has(address));
        if !self.from.is_empty() && !among(&self.from) || among(&self.not_from) {
            return Err(Denied::Address);
        }
        Ok(())
    }
}

fn key(id: &str) -> Option<DocumentKey> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let good = id.len() == ID_CHARS && id.bytes().all(hex);
    good.then(|| DocumentKey::new(KIND, id).ok()).flatten()
}

fn read(id: &str, content: &[u8]) -> Option<ApiToken> {
    match serde_json::from_slice(content) {
        Ok(token) => Some(ApiToken { id: id.to_owned(), ..token }),
        Err(error) => {
            tracing::error!(token = id, %error, "an API token is damaged");
            None
        }
    }
}

/// `aw_ID_SECRET`.
fn value(id: &str, random: &[u8; 40]) -> Secret {
    let mut secret = [0; 24];
    secret.copy_from_slice(&random[16..]);
    Secret::new(format!("{PREFIX}{id}_{}", Secret::from_random(secret).expose()))
}

pub(crate) fn id_of(value: &str) -> Option<&str> {
    let (id, _) = value.strip_prefix(PREFIX)?.split_at_checked(ID_CHARS)?;
    key(id).map(|_| id)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use control::MasterKey;
    use tempfile::TempDir;

    use super::*;

    const NOW: u64 = 1_763_812_800_000;
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

    fn wanted() -> Wanted {
        let scopes = vec!["inputs:read".to_owned()];
        let policies = vec![Policy { allow: true, scopes, resources: Resources::All }];
        Wanted { name: "a".to_owned(), policies, ..Wanted::default() }
    }

    async fn denied(tokens: &ApiTokens, wanted: Wanted) -> Option<Denied> {
        let (_, value) = tokens.create(wanted, random(), NOW).await.unwrap();
        tokens.authenticate(value.expose(), HERE, NOW).await.err()
    }

    fn random() -> [u8; 40] {
        use std::sync::atomic::{AtomicU8, Ordering};
        static SEED: AtomicU8 = AtomicU8::new(1);
        [SEED.fetch_add(1, Ordering::Relaxed); 40]
    }

    fn open(folder: &TempDir) -> Arc<Control> {
        let path = folder.path().join("control.db");
        Arc::new(Control::open(&path, MasterKey::new(&[7; 32])).unwrap())
    }

    #[tokio::test]
    async fn a_token_is_what_was_said_of_it_until_it_is_taken_back() {
        let folder = TempDir::new().unwrap();
        let tokens = ApiTokens::new(open(&folder), &Secret::new("aw_root"));
        let root = tokens.authenticate("aw_root", HERE, NOW).await.unwrap();
        assert!(root.may(Permission::TokensWrite, Resource::Account));
        let (token, value) = tokens.create(wanted(), random(), NOW).await.unwrap();
        let stored = tokens.control.document(key(&token.id).unwrap()).await.unwrap().unwrap();
        let secret = value.expose().rsplit_once('_').unwrap().1;
        assert!(!String::from_utf8_lossy(&stored.content).contains(secret), "hashed at rest");
        let who = tokens.authenticate(value.expose(), HERE, NOW).await.unwrap();
        assert_eq!((who.id.as_str(), tokens.last_used(&token.id)), (&*token.id, Some(NOW)));
        assert!(who.may(Permission::InputsRead, Resource::Account));
        assert!(!who.may(Permission::InputsWrite, Resource::Account));
        for wrong in ["", "aw_", "aw_root2", &value.expose()[..60], &value.expose().to_uppercase()]
        {
            let told = tokens.authenticate(wrong, HERE, NOW).await;
            assert_eq!(told, Err(Denied::Unknown), "{wrong}");
        }
        let rolled = tokens.roll(&token.id, random(), NOW).await.unwrap();
        assert_eq!(tokens.authenticate(value.expose(), HERE, NOW).await, Err(Denied::Unknown));
        tokens.authenticate(rolled.expose(), HERE, NOW).await.unwrap();
        tokens.delete(&token.id).await.unwrap();
        assert_eq!(tokens.authenticate(rolled.expose(), HERE, NOW).await, Err(Denied::Unknown));
        assert_eq!(tokens.delete(&token.id).await, Err(TokenChangeError::NotFound));
    }

    #[tokio::test]
    async fn its_conditions_hold() {
        let folder = TempDir::new().unwrap();
        let tokens = ApiTokens::new(open(&folder), &Secret::new("aw_root"));
        let networks = |text: &str| vec![text.parse().unwrap()];
        for (change, expect) in [
            (Wanted { ..wanted() }, None),
            (Wanted { disabled: true, ..wanted() }, Some(Denied::Disabled)),
            (Wanted { expires_ms: Some(NOW), ..wanted() }, Some(Denied::Expired)),
            (Wanted { expires_ms: Some(NOW + 1), ..wanted() }, None),
            (Wanted { not_before_ms: Some(NOW + 1), ..wanted() }, Some(Denied::NotYet)),
            (Wanted { not_before_ms: Some(NOW), ..wanted() }, None),
            (Wanted { from: networks("192.0.2.0/24"), ..wanted() }, None),
            (Wanted { from: networks("192.0.3.0/24"), ..wanted() }, Some(Denied::Address)),
            (Wanted { not_from: networks("192.0.2.7"), ..wanted() }, Some(Denied::Address)),
        ] {
            assert_eq!(denied(&tokens, change.clone()).await, expect, "{change:?}");
        }
    }

    #[tokio::test]
    async fn what_another_process_takes_back_is_refused_within_a_second() {
        let folder = TempDir::new().unwrap();
        let tokens = ApiTokens::new(open(&folder), &Secret::new("aw_root"));
        let (token, value) = tokens.create(wanted(), random(), NOW).await.unwrap();
        tokens.authenticate(value.expose(), HERE, NOW).await.unwrap();
        let elsewhere = ApiTokens::new(open(&folder), &Secret::new("aw_root"));
        elsewhere.delete(&token.id).await.unwrap();
        let later = tokens.authenticate(value.expose(), HERE, NOW + 1_000).await;
        assert_eq!(later, Err(Denied::Unknown));
    }
}
