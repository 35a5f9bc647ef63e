//! The gate that everybody who watches passes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use control::{Control, DocumentKey, EngineError, Expect, InputUid, Resolved, VideoUid};
use futures_util::FutureExt;

use crate::changes::{Changed, Changes};
use crate::claims::Grant;
use crate::keys::{NewKey, PublicKey};
use crate::limits::{CLOCK_SKEW, ID_BYTES_MAX, KEYS, TOKENS_KEPT};
use crate::link::link_is_there;
use crate::lookups::Lookups;
use crate::origins;
use crate::rules::{self, Countries};
use crate::token::{self, OwnKey, TokenError, VerifyingKey, hash_of, is_token, with_video};

/// The documents that signing keys are kept in.
const KIND: &str = "signing-key";

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// Where from.
    pub address: IpAddr,
    /// The page that asks, or shows what is asked for, as `Origin` writes it; none if it is no page, or one of this server's.
    pub origin: Option<&'a str>,
    /// The host that it asks (`Host`): this server's own pages may always embed.
    pub host: Option<&'a str>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
}

/// Who passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The uid of what may be watched.
    pub id: String,
    /// Whether there is such a thing. Of what was deleted nobody knows any more who might have watched it.
    pub known: bool,
    /// It needs a token, or only some pages may embed it: no shared list may name it.
    pub restricted: bool,
    /// Files may be downloaded.
    pub downloadable: bool,
    /// When its token ends, milliseconds since 1970; none without a token.
    pub until_ms: Option<u64>,
    /// Who may put its player into a page: each of these lists must name the page
    /// ([`frame_sources`](crate::frame_sources)). None: everybody.
    pub embedders: Vec<Vec<String>>,
}

impl Pass {
    /// Only to what there is.
    pub fn known(self) -> Result<Self, Refusal> {
        if self.known { Ok(self) } else { Err(Refusal::Nothing) }
    }
}

/// Who did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It needs a token.
    #[error("this opens with a signed link only")]
    NeedsToken,
    /// The token is not taken.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The token is for something else.
    #[error("this token is for something else")]
    OtherSubject,
    /// The token's rules are against it.
    #[error("this link may not be used from here")]
    Rules,
    /// The page may not embed it.
    #[error("this page may not show it: its owner has named others (allowedOrigins)")]
    Origin,
    /// There is no such thing, or not any more.
    #[error("no such video or live input")]
    Nothing,
    /// Nothing can be looked up at the moment.
    #[error("who may watch can't be looked up at the moment; try again")]
    Unavailable,
}

impl Refusal {
    /// Whether what was shown is no token that a key here has signed, or is one that says nothing
    /// which can be read, also after its key was deleted: who shows many of them guesses.
    pub fn is_wrong_token(&self) -> bool {
        use TokenError::{Claim, Critical, Malformed, Signature, UnknownKey};
        matches!(self, Self::Token(Malformed | Critical | UnknownKey | Signature | Claim(_)))
    }
}

/// What an input's or a video's owner has said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Policy {
    require_token: bool,
    /// Each list must allow the page.
    origins: Vec<Vec<String>>,
    /// The input that a video was broadcast on.
    input: Option<String>,
    /// While the broadcast lasts: what holds for who watches by the input's address.
    by_input: Option<Box<Policy>>,
}

/// Access to everything that can be watched.
pub struct Access {
    pub(crate) control: Arc<Control>,
    own: OwnKey,
    state: Mutex<State>,
    /// By uid: what was said; nothing if there is no such thing.
    policies: Lookups<String, Option<Arc<Policy>>>,
    /// By uid and id: whether the link is there.
    links: Lookups<(String, String), bool>,
    changed: Changed,
}

#[derive(Default)]
struct State {
    keys: BTreeMap<String, Arc<VerifyingKey>>,
    /// By the token's hash: which key it names, and what it grants.
    tokens: BTreeMap<[u8; 32], (String, Arc<Grant>)>,
    countries: Option<Arc<Countries>>,
}

/// Signing keys can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The state can't be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The server's own key can't be made.
    #[error("the key that signs links can't be made")]
    OwnKey,
}

impl Access {
    /// Reads the signing keys. `seed` makes the server's own one; it must be the same at every start.
    pub async fn load(
        control: Arc<Control>,
        seed: &[u8; 32],
        countries: Option<Countries>,
    ) -> Result<Self, LoadError> {
        let own = OwnKey::from_seed(seed).ok_or(LoadError::OwnKey)?;
        let mut keys = BTreeMap::new();
        keys.extend(VerifyingKey::new(own.public.clone()).map(|k| (own.kid.clone(), Arc::new(k))));
        let mut after = String::new();
        loop {
            let page = control.documents(KIND, &after).await?;
            let Some(last) = page.last() else { break };
            last.key.id().clone_into(&mut after);
            for document in page {
                let public = serde_json::from_slice::<PublicKey>(&document.content).ok();
                match public.and_then(VerifyingKey::new) {
                    Some(key) => {
                        keys.insert(document.key.id().to_owned(), Arc::new(key));
                    }
                    None => tracing::error!(key = document.key.id(), "a signing key is damaged"),
                }
            }
        }
        let state = State { keys, countries: countries.map(Arc::new), ..State::default() };
        let (policies, links, changed) = Default::default();
        Ok(Self { control, own, state: state.into(), policies, links, changed })
    }

    /// Whether countries are known, for those who write rules.
    pub fn knows_countries(&self) -> bool {
        self.state().countries.is_some()
    }

    /// From now on countries are those of this database, for who is watching too.
    pub fn set_countries(&self, countries: Option<Countries>) {
        self.state().countries = countries.map(Arc::new);
        self.changed.say();
    }

    /// Whoever asks for what `segment` names, the first segment of a path: a uid, a token, or a token and a video that
    /// it opens, `TOKEN.VIDEO`: who watches an input by a token finds there what was recorded of it, by the same token.
    /// `shown` as for [`media`](Self::media).
    pub async fn enter(
        &self,
        segment: &str,
        shown: impl Fn(&str) -> Option<String>,
        visitor: Visitor<'_>,
    ) -> Result<Pass, Refusal> {
        if !is_token(segment) {
            let policy = self.holds(segment, shown, visitor).await?;
            return open(segment, policy.as_deref(), visitor);
        }
        if let Some((_, video)) = with_video(segment) {
            return self.media(segment, video, shown, visitor).await;
        }
        let grant = self.grant(segment, visitor).await?;
        let policy = self.holds(&grant.sub, shown, visitor).await?;
        passed(&grant.sub, policy.as_deref(), &grant, visitor)
    }

    /// Whoever asks for a file of a video. `segment` is what the playlist's address began with: a token
    /// for the video or for its input, by itself or with the video behind it; the input's uid, while it has the video on
    /// the air; any other uid means nothing. `shown`: the input of a video whose end is still in memory.
    pub async fn media(
        &self,
        segment: &str,
        video: &str,
        shown: impl Fn(&str) -> Option<String>,
        visitor: Visitor<'_>,
    ) -> Result<Pass, Refusal> {
        let policy = self.holds(video, shown, visitor).await?;
        let of_input = policy.as_ref().and_then(|policy| policy.input.as_deref());
        if !is_token(segment) {
            let by_input = of_input.is_some_and(|input| input == segment);
            let of_input = policy.as_ref().and_then(|policy| policy.by_input.as_deref());
            let holds = of_input.filter(|_| by_input).or(policy.as_deref());
            return open(video, holds, visitor);
        }
        let token = match with_video(segment) {
            Some((_, named)) if named != video => return Err(Refusal::OtherSubject),
            Some((token, _)) => token,
            None => segment,
        };
        let grant = self.grant(token, visitor).await?;
        if grant.sub != video && of_input != Some(grant.sub.as_str()) {
            return Err(Refusal::OtherSubject);
        }
        passed(video, policy.as_deref(), &grant, visitor)
    }

    /// What holds for an id; none if there is nothing of this name. A broadcast of which nothing was recorded is gone with its
    /// end, and for a while its viewers are shown it all the same: that is up to its input then, and if that is gone too,
    /// to nobody.
    async fn holds(
        &self,
        id: &str,
        shown: impl Fn(&str) -> Option<String>,
        visitor: Visitor<'_>,
    ) -> Result<Option<Arc<Policy>>, Refusal> {
        if let Some(policy) = self.policy(id, visitor.now_ms).await? {
            return Ok(Some(policy));
        }
        let Some(input) = shown(id) else { return Ok(None) };
        let locked = || Arc::new(Policy { require_token: true, ..Policy::default() });
        let policy = self.policy(&input, visitor.now_ms).await?.unwrap_or_else(locked);
        let by_input = Some(Box::new(Policy::clone(&policy)));
        Ok(Some(Arc::new(Policy { input: Some(input), by_input, ..Policy::clone(&policy) })))
    }

    /// Whether anybody may know that this is on the air.
    pub async fn listed(&self, id: &str, now_ms: u64) -> bool {
        let policy = self.policy(id, now_ms).await;
        policy.is_ok_and(|policy| policy.is_some_and(|p| !p.restricted()))
    }

    /// What a token grants to this visitor now.
    async fn grant(&self, token: &str, visitor: Visitor<'_>) -> Result<Arc<Grant>, Refusal> {
        let grant = self.checked(token)?;
        if grant.expires_ms <= visitor.now_ms {
            return Err(TokenError::Expired.into());
        }
        let skew = u64::try_from(CLOCK_SKEW.as_millis()).unwrap_or(0);
        if grant.not_before_ms.is_some_and(|at| at > visitor.now_ms.saturating_add(skew)) {
            return Err(TokenError::NotYet.into());
        }
        let countries = self.state().countries.clone();
        if !rules::allow(&grant.rules, visitor.address, countries.as_deref()) {
            return Err(Refusal::Rules);
        }
        if let Some(link) = &grant.link
            && !self.link_is_kept(&grant.sub, link, visitor.now_ms).await?
        {
            return Err(TokenError::TakenBack.into());
        }
        Ok(grant)
    }

    async fn link_is_kept(&self, uid: &str, id: &str, now_ms: u64) -> Result<bool, Refusal> {
        let look = || {
            let (control, uid, id) = (self.control.clone(), uid.to_owned(), id.to_owned());
            let look = async move { link_is_there(&control, &uid, &id).await };
            look.map(|there| said(there, "can't look up a link")).boxed()
        };
        let there = self.links.get((uid.to_owned(), id.to_owned()), now_ms, look).await;
        there.ok_or(Refusal::Unavailable)
    }

    pub(crate) fn forget_link(&self, uid: &str, id: &str) {
        self.links.forget(&(uid.to_owned(), id.to_owned()));
        self.changed.say();
    }

    /// A signature is checked once, its key looked for each time: deleting a key ends all its tokens.
    fn checked(&self, token: &str) -> Result<Arc<Grant>, TokenError> {
        let kid = token::kid(token)?;
        let hash = hash_of(token);
        let key = {
            let state = self.state();
            let key = state.keys.get(&kid).cloned().ok_or(TokenError::UnknownKey)?;
            if let Some((of, grant)) = state.tokens.get(&hash)
                && *of == kid
            {
                return Ok(grant.clone());
            }
            key
        };
        let mut grant = token::verify(token, &key)?;
        if kid != self.own.kid {
            // Who signs by themselves may number their tokens as they like: those are no links of ours.
            grant.link = None;
        }
        let grant = Arc::new(grant);
        let mut state = self.state();
        if state.tokens.len() >= TOKENS_KEPT {
            state.tokens.clear();
        }
        state.tokens.insert(hash, (kid, grant.clone()));
        Ok(grant)
    }

    /// Whether it can be said what this grants without a signature being checked: it is no token,
    /// or was found to be a good one before.
    pub fn needs_no_check(&self, segment: &str) -> bool {
        let token = with_video(segment).map_or(segment, |(token, _)| token);
        !is_token(token) || self.state().tokens.contains_key(&hash_of(token))
    }

    async fn policy(&self, id: &str, now_ms: u64) -> Result<Option<Arc<Policy>>, Refusal> {
        // Nothing is kept under what can't be a name of anything.
        if id.len() > ID_BYTES_MAX {
            return Ok(None);
        }
        let look = || {
            let (control, id) = (self.control.clone(), id.to_owned());
            let look = async move { Policy::read(&control, &id).await };
            look.map(|policy| {
                said(policy.map(|policy| policy.map(Arc::new)), "can't look up who may watch")
            })
            .boxed()
        };
        self.policies.get(id.to_owned(), now_ms, look).await.ok_or(Refusal::Unavailable)
    }

    /// Somebody has changed an input or a video here: what is remembered of them is read again.
    pub fn forget_policies(&self) {
        self.policies.forget_all();
        self.changed.say();
    }

    /// Hears of changes from now on: who may watch may be another one after each. An end by the clock
    /// ([`Pass::until_ms`]) is none.
    pub fn changes(&self) -> Changes {
        self.changed.heard()
    }

    /// A token of the server's own making.
    pub fn sign(&self, grant: &Grant) -> Option<String> {
        self.own.sign(grant)
    }

    /// A token signed with a signing key of its owner's: its id, and its private half as it was answered
    /// (PEM, or base64 of that). None if it is not that key.
    pub fn sign_with(&self, id: &str, pem: &str, grant: &Grant) -> Option<String> {
        let key = self.state().keys.get(id).cloned()?;
        let token = token::sign_with(key.public.algorithm, id, pem, grant)?;
        // Another key of the same kind signs too, and nobody could use what it signed.
        token::verify(&token, &key).ok().map(|_| token)
    }

    /// The ids of all signing keys and when they were made, ms since 1970.
    pub fn keys(&self) -> Vec<(String, u64)> {
        let state = self.state();
        let others = state.keys.iter().filter(|(id, _)| **id != self.own.kid);
        others.map(|(id, key)| (id.clone(), key.public.created_ms)).collect()
    }

    /// Keeps the public half of a new key; from now on its tokens are good. False if there are too many.
    pub async fn add_key(&self, key: &NewKey) -> Result<bool, EngineError> {
        if self.keys().len() >= KEYS {
            return Ok(false);
        }
        let Some(verifying) = VerifyingKey::new(key.public.clone()) else { return Ok(false) };
        let content = serde_json::to_vec(&key.public).unwrap_or_default();
        let Ok(name) = DocumentKey::new(KIND, &key.id) else { return Ok(false) };
        match self.control.put_document(name, Bytes::from(content), Expect::Absent).await {
            Ok(_) => {}
            Err(control::DocumentError::Engine(error)) => return Err(error),
            Err(_) => return Ok(false),
        }
        self.state().keys.insert(key.id.clone(), Arc::new(verifying));
        Ok(true)
    }

    /// Deletes a signing key: its tokens are refused from now on. False if there is none.
    pub async fn delete_key(&self, id: &str) -> Result<bool, EngineError> {
        let known = self.keys().iter().any(|(known, _)| known == id);
        let Some(name) = known.then(|| DocumentKey::new(KIND, id).ok()).flatten() else {
            return Ok(false);
        };
        // Refused first: if the disk fails, the key is gone until the next start at least.
        {
            let mut state = self.state();
            state.keys.remove(id);
            state.tokens.retain(|_, (kid, _)| kid != id);
        }
        self.changed.say();
        match self.control.delete_document(name, Expect::Any).await {
            Ok(()) => Ok(true),
            Err(control::DocumentError::Engine(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the state says; nothing if it does not.
fn said<T>(answer: Result<T, EngineError>, trouble: &'static str) -> Option<T> {
    answer.inspect_err(|error| tracing::warn!(%error, "{trouble}")).ok()
}

impl Policy {
    async fn read(control: &Control, id: &str) -> Result<Option<Self>, EngineError> {
        match control.resolve(id).await? {
            None => Ok(None),
            Some(Resolved::Input(uid)) => Self::of_input(control, &uid).await,
            Some(Resolved::Video { uid, .. }) => Self::of_video(control, &uid).await,
        }
    }

    async fn of_input(control: &Control, uid: &InputUid) -> Result<Option<Self>, EngineError> {
        let Some(input) = control.input(uid).await? else { return Ok(None) };
        let recording = &input.settings.recording;
        Ok(Some(Self {
            require_token: recording.require_signed_urls,
            origins: recording.allowed_origins.iter().cloned().collect(),
            input: None,
            by_input: None,
        }))
    }

    /// While a broadcast lasts, what its input says holds besides (who locks an input locks what is on
    /// the air), and alone for who watches by the input's address.
    async fn of_video(control: &Control, uid: &VideoUid) -> Result<Option<Self>, EngineError> {
        let Some(video) = control.video(uid).await? else { return Ok(None) };
        let mut policy = Self {
            require_token: video.settings.require_signed_urls,
            origins: video.settings.allowed_origins.iter().cloned().collect(),
            input: Some(video.input.to_string()),
            by_input: None,
        };
        if video.live()
            && let Some(input) = Self::of_input(control, &video.input).await?
        {
            policy.require_token |= input.require_token;
            policy.origins.extend(input.origins.iter().cloned());
            policy.by_input = Some(Box::new(input));
        }
        Ok(Some(policy))
    }

    fn restricted(&self) -> bool {
        self.require_token || self.origins.iter().any(|list| !list.is_empty())
    }

    fn embedders(&self) -> Vec<Vec<String>> {
        self.origins.iter().filter(|list| !list.is_empty()).cloned().collect()
    }
}

/// Without a token.
fn open(id: &str, policy: Option<&Policy>, visitor: Visitor<'_>) -> Result<Pass, Refusal> {
    let nothing = Policy::default();
    let (known, policy) = (policy.is_some(), policy.unwrap_or(&nothing));
    if policy.require_token {
        return Err(Refusal::NeedsToken);
    }
    embeds(policy, visitor)?;
    Ok(Pass {
        id: id.to_owned(),
        known,
        restricted: policy.restricted(),
        downloadable: true,
        until_ms: None,
        embedders: policy.embedders(),
    })
}

/// With a token that grants this.
fn passed(
    id: &str,
    policy: Option<&Policy>,
    grant: &Grant,
    visitor: Visitor<'_>,
) -> Result<Pass, Refusal> {
    let nothing = Policy::default();
    let (known, policy) = (policy.is_some(), policy.unwrap_or(&nothing));
    embeds(policy, visitor)?;
    Ok(Pass {
        id: id.to_owned(),
        known,
        restricted: policy.restricted() || !grant.rules.is_empty(),
        downloadable: grant.downloadable,
        until_ms: Some(grant.expires_ms),
        embedders: policy.embedders(),
    })
}

/// Who is no page (a native player, a program) has no origin, and nothing would keep it from naming one.
fn embeds(policy: &Policy, visitor: Visitor<'_>) -> Result<(), Refusal> {
    let Some(origin) = visitor.origin else { return Ok(()) };
    let own = visitor.host.is_some() && origins::authority(origin) == visitor.host;
    let all = policy.origins.iter().all(|list| origins::allowed(list, origin));
    if own || all { Ok(()) } else { Err(Refusal::Origin) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use control::conformance::{an_input, claim, commit_all, uid, video_uid};
    use control::{
        Claim, ClaimMode, ClipOf, End, InputSettings, KEY_RANDOM_BYTES, MasterKey, NewClip,
        RecordingSettings, SegmentRecord,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::keys::{self, Algorithm};
    use crate::link::Link;

    const NOW: u64 = 1_763_812_800_000;

    /// Whatever is taken back ends within this, for everybody.
    const WITHIN: Duration = Duration::from_secs(1);

    struct Desk {
        _folder: TempDir,
        control: Arc<Control>,
        /// Who takes back, and another one over the same state, which is told nothing.
        here: Access,
        elsewhere: Access,
        uid: InputUid,
    }

    impl Desk {
        /// With one input that asks for tokens.
        async fn new() -> Self {
            let folder = TempDir::new().unwrap();
            let master = MasterKey::new(&[7; 32]);
            let path = folder.path().join("control.db");
            let control = Arc::new(Control::open(&path, master).unwrap());
            let uid = InputUid::from_random([1; 15]);
            let recording = RecordingSettings { require_signed_urls: true, ..Default::default() };
            let settings = InputSettings { recording, ..InputSettings::default() };
            let keys: [u8; KEY_RANDOM_BYTES] = std::array::from_fn(|byte| byte as u8);
            control.create_input(uid.clone(), settings, keys, NOW).await.unwrap();
            let access = async || Access::load(control.clone(), &[9; 32], None).await.unwrap();
            let (here, elsewhere) = (access().await, access().await);
            Self { _folder: folder, control, here, elsewhere, uid }
        }

        async fn link(&self, lives: Duration) -> (Link, String) {
            self.link_of(self.uid.as_str(), lives).await
        }

        async fn link_of(&self, uid: &str, lives: Duration) -> (Link, String) {
            let link = Link {
                id: String::new(),
                name: "a friend".to_owned(),
                created_ms: NOW,
                expires_ms: after(lives),
                downloadable: true,
            };
            let random = [5; 16];
            let link = self.here.create_link(uid, link, random).await.unwrap();
            let token = self.here.link_token(uid, &link).unwrap();
            (link, token)
        }
    }

    fn after(time: Duration) -> u64 {
        NOW + u64::try_from(time.as_millis()).unwrap()
    }

    async fn refused(access: &Access, segment: &str, now_ms: u64) -> Option<Refusal> {
        let address = IpAddr::from([192, 0, 2, 1]);
        let visitor = Visitor { address, origin: None, host: None, now_ms };
        access.enter(segment, |_| None, visitor).await.err()
    }

    const HOUR: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn a_link_that_is_taken_back_ends_at_once_and_within_a_second_everywhere() {
        let desk = Desk::new().await;
        let (link, token) = desk.link(HOUR).await;
        // Both remember that it is there.
        for access in [&desk.here, &desk.elsewhere] {
            assert_eq!(refused(access, &token, NOW).await, None);
        }
        desk.here.delete_link(desk.uid.as_str(), &link.id).await.unwrap();
        let gone = Some(Refusal::Token(TokenError::TakenBack));
        assert_eq!(refused(&desk.here, &token, NOW).await, gone);
        assert_eq!(refused(&desk.elsewhere, &token, after(WITHIN)).await, gone);
        // A clock that was put back does not bring it back.
        assert_eq!(refused(&desk.elsewhere, &token, NOW - 1).await, gone);
    }

    #[tokio::test]
    async fn a_link_ends_when_it_says_to_the_millisecond() {
        let desk = Desk::new().await;
        let (_, token) = desk.link(HOUR).await;
        let expired = Some(Refusal::Token(TokenError::Expired));
        for (at, expect) in [(after(HOUR) - 1, None), (after(HOUR), expired)] {
            assert_eq!(refused(&desk.here, &token, at).await, expect, "{at}");
        }
    }

    /// docs/access.md, *What a link opens*.
    #[tokio::test]
    async fn a_link_opens_all_of_an_input_or_one_video() {
        let desk = Desk::new().await;
        let control = &desk.control;
        let begin = async |session: u8, of: &InputUid| {
            let claim = Claim { input: of.clone(), ..claim(session, ClaimMode::IfFree, NOW) };
            let claimed = control.claim(claim).await.unwrap();
            let first = claimed.first_segment;
            commit_all(control, &claimed.owned, first..first + 1).await;
            claimed.owned
        };
        // Before the link was made, and since; a clip of it that is a video of its own; another input's.
        let owned = begin(1, &desk.uid).await;
        control.release(&owned, End::Goodbye, NOW).await.unwrap();
        let (_, of_input) = desk.link(HOUR).await;
        let (before, since) = (owned.video, begin(2, &desk.uid).await.video);
        let tail = control.committed_index(&before, 0..99).await.unwrap().tail;
        let records = tail.into_iter().map(|record| SegmentRecord { number: 1, ..record });
        let source = control.video(&before).await.unwrap().unwrap().settings;
        let of = ClipOf {
            video: before.clone(),
            from_ms: 0,
            duration_ms: 2_000,
            hidden_ns: 0,
            seen_ns: 2_000_000_000,
        };
        let clip = NewClip {
            uid: video_uid(9),
            input: desk.uid.clone(),
            of,
            settings: source.clone(),
            source,
            now_ms: NOW,
            delete_ms: None,
            catalog: "{}".into(),
            records: records.collect(),
        };
        let clip = control.create_clip(clip).await.unwrap().uid;
        an_input(control, 2).await;
        let other = begin(3, &uid(2)).await.video;
        let (_, of_video) = desk.link_of(before.as_str(), HOUR).await;
        let enter = async |segment: String| {
            let visitor =
                Visitor { address: [192, 0, 2, 1].into(), origin: None, host: None, now_ms: NOW };
            desk.here.enter(&segment, |_| None, visitor).await.map(|pass| pass.id)
        };
        let check = async |link: &str, itself: &str, opens: &[&VideoUid]| {
            assert_eq!(enter(link.to_owned()).await.as_deref(), Ok(itself));
            for video in [&before, &since, &clip, &other] {
                let open = enter(format!("{link}.{video}")).await;
                let expect = match opens.contains(&video) {
                    true => Ok(video.to_string()),
                    false => Err(Refusal::OtherSubject),
                };
                assert_eq!(open, expect, "{itself} {video}");
            }
        };
        check(&of_input, desk.uid.as_str(), &[&before, &since, &clip]).await;
        check(&of_video, before.as_str(), &[&before]).await;
        // Nobody's who has none.
        for locked in [desk.uid.as_str(), before.as_str(), since.as_str(), clip.as_str()] {
            assert_eq!(enter(locked.to_owned()).await, Err(Refusal::NeedsToken));
        }
        // A token that is no link outlives the input.
        let grant = Grant {
            sub: desk.uid.to_string(),
            expires_ms: after(HOUR),
            not_before_ms: None,
            downloadable: false,
            rules: Vec::new(),
            link: None,
        };
        let token = desk.here.sign(&grant).unwrap();
        control.delete_input(&desk.uid, Expect::Any, NOW).await.unwrap();
        desk.here.delete_links(desk.uid.as_str()).await.unwrap();
        desk.here.forget_policies();
        let gone = Refusal::Token(TokenError::TakenBack);
        assert_eq!(enter(format!("{of_input}.{before}")).await, Err(gone));
        assert_eq!(enter(format!("{token}.{before}")).await, Ok(before.to_string()));
        assert_eq!(enter(of_video).await, Ok(before.to_string()));
    }

    #[tokio::test]
    async fn an_input_that_is_locked_is_shut_within_a_second() {
        let desk = Desk::new().await;
        let uid = desk.uid.as_str();
        let lock = async |lock: bool| {
            let change = move |settings: &mut InputSettings| {
                settings.recording.require_signed_urls = lock;
                Ok::<_, control::DocumentError>(())
            };
            desk.control.change_input(&desk.uid, change, NOW).await.unwrap();
        };
        lock(false).await;
        for access in [&desk.here, &desk.elsewhere] {
            assert_eq!(refused(access, uid, NOW).await, None);
        }
        lock(true).await;
        desk.here.forget_policies();
        let shut = Some(Refusal::NeedsToken);
        assert_eq!(refused(&desk.here, uid, NOW).await, shut);
        assert_eq!(refused(&desk.elsewhere, uid, after(WITHIN)).await, shut);
    }

    #[tokio::test]
    async fn what_nobody_knows_any_more_is_its_inputs_and_else_nobodys() {
        let desk = Desk::new().await;
        let (_, token) = desk.link(HOUR).await;
        let (uid, video) = (desk.uid.to_string(), "0".repeat(32));
        let address = IpAddr::from([192, 0, 2, 1]);
        let visitor = Visitor { address, origin: None, host: None, now_ms: NOW };
        // Whether it is known, for whoever is let in: as the video by itself, and a file of it behind a segment.
        let ask = async |shown: Option<&str>, segment: &str| {
            let shown = |id: &str| shown.filter(|_| id == video).map(str::to_owned);
            let file = desk.here.media(segment, &video, shown, visitor).await;
            let itself = desk.here.enter(&video, shown, visitor).await;
            (itself.map(|pass| pass.known), file.map(|pass| pass.known))
        };
        let (nothing, shut) =
            ((Ok(false), Ok(false)), (Err(Refusal::NeedsToken), Err(Refusal::NeedsToken)));
        for segment in ["x", &uid, &video] {
            assert_eq!(ask(None, segment).await, nothing, "{segment}");
            assert_eq!(ask(Some(&uid), segment).await, shut, "{segment}");
        }
        assert_eq!(ask(None, &token).await.1, Err(Refusal::OtherSubject));
        assert_eq!(ask(Some(&uid), &token).await.1, Ok(true));
        let open = |settings: &mut InputSettings| {
            settings.recording.require_signed_urls = false;
            Ok::<_, control::DocumentError>(())
        };
        desk.control.change_input(&desk.uid, open, NOW).await.unwrap();
        desk.here.forget_policies();
        assert_eq!(ask(Some(&uid), "x").await, (Ok(true), Ok(true)));
        // Its input is gone as well, and with it whoever could say.
        desk.control.delete_input(&desk.uid, Expect::Any, NOW).await.unwrap();
        desk.here.forget_policies();
        for segment in ["x", &uid, &video] {
            assert_eq!(ask(Some(&uid), segment).await, shut, "{segment}");
        }
        assert!(!desk.here.listed(&uid, NOW).await);
    }

    #[tokio::test]
    async fn a_clock_may_be_ahead_and_a_signing_key_takes_its_tokens_along() {
        let desk = Desk::new().await;
        let key = keys::generate(Algorithm::EdDsa, "k".to_owned(), NOW).unwrap();
        assert!(desk.here.add_key(&key).await.unwrap());
        let grant = Grant {
            sub: desk.uid.to_string(),
            expires_ms: after(HOUR),
            not_before_ms: None,
            downloadable: false,
            rules: Vec::new(),
            link: None,
        };
        let token = desk.here.sign_with("k", key.pem.expose(), &grant).unwrap();
        assert_eq!(refused(&desk.here, &token, NOW).await, None);
        // Decision 69: the clock of who signs may be ahead by ten seconds, and how long its tokens live is his own affair.
        let year = Duration::from_secs(365 * 24 * 3_600);
        let ahead = |ms| Grant { not_before_ms: Some(NOW + ms), ..grant.clone() };
        let not_yet = Some(Refusal::Token(TokenError::NotYet));
        for (grant, expect) in [
            (Grant { expires_ms: after(10 * year), ..grant.clone() }, None),
            (ahead(10_000), None),
            (ahead(11_000), not_yet),
        ] {
            let token = desk.here.sign_with("k", key.pem.expose(), &grant).unwrap();
            assert_eq!(refused(&desk.here, &token, NOW).await, expect, "{grant:?}");
        }
        assert!(desk.here.delete_key("k").await.unwrap());
        let unknown = Some(Refusal::Token(TokenError::UnknownKey));
        assert_eq!(refused(&desk.here, &token, NOW).await, unknown);
    }
}
