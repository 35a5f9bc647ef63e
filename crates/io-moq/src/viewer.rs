//! Who wants to see something: what a peer has shown of itself, and what it may see for that.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use moqt::{Answer, AuthToken, Done, DoneCode, RequestCode, Secret};
use spine::{Announce, LookupError, Path, PublishError, Waiting, track};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock;
use crate::guesses::{Guesses, Shown};
use crate::limits::{
    GATE_AGAIN, GATE_NAMES, GATE_SELDOM, GATE_UNKNOWN_MAX, SHOWN_LOOK_MAX, TOKENS_MAX,
};
use crate::listen::{Barred, Pass, Seat, Watching, Why};
use crate::names::{name_of, path_of};
use crate::own::Own;
use crate::session::Relay;
use crate::transport::Connection;

/// What a peer showed in SETUP: a stream key, or tokens.
#[derive(Default, Clone)]
pub(crate) struct Credentials {
    /// AUTHORIZATION_TOKEN of SETUP.
    setup: Vec<Secret>,
    /// The first segment of the path.
    segment: Option<Secret>,
    /// All of it that may be a viewer's token, the most particular first.
    pub(crate) tokens: Vec<Secret>,
}

impl Credentials {
    /// `path` is that of the URL, with its query, whatever carries the session.
    pub(crate) fn new(path: &str, tokens: &[AuthToken]) -> Self {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let segment = path.trim_start_matches('/').split('/').next().filter(|s| !s.is_empty());
        let segment = segment.map(secret);
        let jwt = query.split('&').find_map(|pair| pair.strip_prefix("jwt=")).map(secret);
        let setup = secrets(tokens);
        let tokens = setup.iter().cloned().chain(jwt).chain(segment.clone()).collect();
        Self { setup, segment, tokens }
    }

    /// The stream key of who publishes: of the request, else of SETUP, else of the path.
    pub(crate) fn key(&self, request: Vec<Secret>) -> Secret {
        let said = request.into_iter().next().or_else(|| self.setup.first().cloned());
        said.or_else(|| self.segment.clone()).unwrap_or_else(|| Secret::new(Bytes::new()))
    }
}

fn secret(text: &str) -> Secret {
    Secret::new(Bytes::copy_from_slice(text.as_bytes()))
}

/// Whatever kind a token says it is of: a stream key and a JWT are told apart by who reads them.
pub(crate) fn secrets(tokens: &[AuthToken]) -> Vec<Secret> {
    tokens.iter().take(TOKENS_MAX).map(|token| token.value.clone()).collect()
}

/// The places that a session has among those who watch.
#[derive(Clone, Default)]
pub(crate) struct Seats {
    /// One for each broadcast.
    taken: Arc<Mutex<BTreeMap<Path, Weak<Seat>>>>,
    /// Wrong tokens that were shown for any.
    guessed: Arc<Mutex<Shown>>,
}

/// Who wants to see something, and what there is to see.
#[derive(Clone)]
pub(crate) struct Viewer {
    pub(crate) relay: Arc<Relay>,
    pub(crate) connection: Connection,
    /// Of the request, also by its updates.
    pub(crate) own: Arc<Mutex<Vec<Secret>>>,
    /// Of the session.
    pub(crate) session: Vec<Secret>,
    pub(crate) seats: Seats,
    /// What the peer brings itself.
    pub(crate) own_tracks: Own,
    /// Of the request that this is a part of, if it is.
    whole: Option<Arc<Mutex<Vec<Secret>>>>,
    /// How many updates are being looked at, of all of the request.
    looks: Arc<watch::Sender<usize>>,
}

/// What an update shows is being looked at, until this is dropped.
pub(crate) struct Look(Arc<watch::Sender<usize>>);

impl Drop for Look {
    fn drop(&mut self) {
        self.0.send_modify(|looks| *looks -= 1);
    }
}

/// Whether somebody may watch a broadcast by what he shows.
enum Said {
    Yes,
    No(Barred),
    /// Nobody can say, for a moment.
    NotYet,
    /// It is gone, and says so itself.
    Gone,
}

impl Barred {
    /// Nobody has said yet whether he may.
    pub(crate) fn may_pass_later(&self) -> bool {
        matches!(self.why, Why::Unknown | Why::TooMany)
    }

    /// The same for who asked.
    pub(crate) fn code(&self) -> RequestCode {
        match self.why {
            Why::Unauthorized | Why::Wrong => RequestCode::Unauthorized,
            Why::Expired => RequestCode::ExpiredAuthToken,
            Why::Malformed => RequestCode::MalformedAuthToken,
            Why::Nothing => RequestCode::DoesNotExist,
            Why::Unknown | Why::TooMany => RequestCode::ExcessiveLoad,
        }
    }

    /// The same for who had a subscription.
    pub(crate) fn done(self) -> Done {
        let code = match self.why {
            Why::Expired => DoneCode::Expired,
            Why::Unauthorized | Why::Malformed | Why::Wrong => DoneCode::Unauthorized,
            Why::Nothing => DoneCode::TrackEnded,
            Why::Unknown | Why::TooMany => DoneCode::ExcessiveLoad,
        };
        Done { code, reason: self.words }
    }
}

/// Until a right that lasts for so long may have ended: its time is over, somebody has changed something, or its owner shows something
/// else. Also when nobody is left who could change anything.
async fn may_have_ended(
    changes: &mut watch::Receiver<()>,
    looks: &mut watch::Receiver<usize>,
    lasts: Duration,
) {
    tokio::select! {
        () = tokio::time::sleep(lasts) => {}
        _ = changes.changed() => {}
        _ = looks.changed() => {}
    }
}

impl Viewer {
    fn own(&self) -> MutexGuard<'_, Vec<Secret>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who asks, with tokens of the request and the session.
    pub(crate) fn new(
        relay: &Arc<Relay>,
        connection: &Connection,
        own: Vec<Secret>,
        session: &[Secret],
        (seats, own_tracks): (&Seats, &Own),
    ) -> Self {
        Self {
            relay: relay.clone(),
            connection: connection.clone(),
            own: Arc::new(Mutex::new(own)),
            session: session.to_vec(),
            seats: seats.clone(),
            own_tracks: own_tracks.clone(),
            whole: None,
            looks: Arc::default(),
        }
    }

    /// A part of the request, whose tokens are renewed by itself.
    pub(crate) fn apart(&self) -> Self {
        let own = Arc::new(Mutex::new(self.own().clone()));
        Self { own, whole: Some(self.own.clone()), ..self.clone() }
    }

    /// The whole request has shown other tokens: they are those of its part, too.
    pub(crate) fn rejoin(&self) {
        if let Some(whole) = &self.whole {
            let tokens = whole.lock().unwrap_or_else(PoisonError::into_inner).clone();
            *self.own() = tokens;
        }
    }

    /// An update has shown others: they take the place of those that the request had.
    pub(crate) fn renew(&self, tokens: Vec<Secret>) {
        if !tokens.is_empty() {
            *self.own() = tokens;
            // They may end sooner.
            self.looks.send_modify(|_| ());
        }
    }

    /// What an update shows is being looked at: what was shown before may end meanwhile, which ends
    /// nothing.
    pub(crate) fn look(&self) -> Look {
        self.looks.send_modify(|looks| *looks += 1);
        Look(self.looks.clone())
    }

    /// Whether something is.
    pub(crate) fn is_looked_at(&self) -> bool {
        *self.looks.borrow() > 0
    }

    async fn says(&self, path: &Path, shown: &[Secret]) -> Said {
        let tokens: Vec<Secret> = shown.iter().chain(&self.session).cloned().collect();
        match self.may_watch_by(path, tokens).await {
            Ok(_) => Said::Yes,
            Err(barred) if barred.may_pass_later() => Said::NotYet,
            Err(barred) if barred.why == Why::Nothing => Said::Gone,
            Err(barred) => Said::No(barred),
        }
    }

    /// The answer to an update of a request about this broadcast, if what it shows does not let him watch it (draft-18 §10.2.2). While
    /// nobody can say, what he has goes on: it is looked at again and again.
    pub(crate) async fn refusal(&self, path: &Path, shown: &[Secret]) -> Option<Answer> {
        match self.says(path, shown).await {
            Said::No(barred) => Some(Answer::error(barred.code(), barred.words)),
            Said::Yes | Said::NotYet | Said::Gone => None,
        }
    }

    /// The same of a request about all of these: he may watch none of them by it, and could watch
    /// one. Those of which nobody can say are asked about for as long as a view would go on.
    pub(crate) async fn refusal_of_all(&self, paths: &[Path], shown: &[Secret]) -> Option<Answer> {
        let (mut lost, mut left, mut tries) = (None, paths.to_vec(), 0);
        loop {
            let mut unsaid = Vec::new();
            for (n, path) in left.into_iter().enumerate() {
                if n > 0 && n % GATE_NAMES == 0 {
                    tokio::time::sleep(GATE_AGAIN).await;
                }
                match self.says(&path, shown).await {
                    Said::No(barred) if lost.is_none() => {
                        lost = self.may_watch(&path).await.is_ok().then_some(barred);
                    }
                    Said::Yes if self.may_watch_by(&path, Vec::new()).await.is_err() => {
                        return None;
                    }
                    Said::No(_) | Said::Yes | Said::Gone => {}
                    Said::NotYet => unsaid.push(path),
                }
            }
            if lost.is_none() || unsaid.is_empty() || tries == GATE_UNKNOWN_MAX {
                return lost.map(|barred| Answer::error(barred.code(), barred.words));
            }
            (left, tries) = (unsaid, tries + 1);
            tokio::time::sleep(GATE_AGAIN).await;
        }
    }

    /// Whether this broadcast may be watched; else why not.
    pub(crate) async fn may_watch(&self, path: &Path) -> Result<(), Barred> {
        self.may_watch_for(path).await.map(drop)
    }

    /// The same, and for how long by what he shows.
    async fn may_watch_for(&self, path: &Path) -> Result<Pass, Barred> {
        let tokens: Vec<Secret> = self.own().iter().chain(&self.session).cloned().collect();
        self.may_watch_by(path, tokens).await
    }

    /// Whether it is what he shows that lets him watch it, who may: then that may end.
    pub(crate) async fn watches_by_token(&self, path: &Path) -> bool {
        let shows = !self.own().is_empty() || !self.session.is_empty();
        shows && self.may_watch_by(path, Vec::new()).await.is_err()
    }

    async fn may_watch_by(&self, path: &Path, tokens: Vec<Secret>) -> Result<Pass, Barred> {
        if self.relay.is_for_all(path) {
            return Ok(Pass::default());
        }
        // What a token allows may depend on the address: that is known when the handshake is over.
        if !tokens.is_empty() && !self.connection.established().await {
            return Err(Barred::unauthorized("the handshake failed"));
        }
        let address = self.connection.address();
        let watching = |peer| Watching {
            path: path.clone(),
            tokens: tokens.clone(),
            peer,
            origin: address.and_then(|address| address.origin.clone()),
            host: address.map(|address| address.authority.clone()),
            guesses: Guesses {
                shown: self.seats.guessed.clone(),
                counters: self.relay.counters.clone(),
            },
        };
        let (first, now) = (self.connection.first_peer(), self.connection.peer());
        let pass = self.ask(watching(first)).await?;
        // It may have moved (RFC 9000 §9), or somebody has written another address on one packet, which is not proved yet:
        // so that alone lets nobody in.
        if now != first {
            self.ask(watching(now)).await?;
        }
        Ok(pass)
    }

    async fn ask(&self, watching: Watching) -> Result<Pass, Barred> {
        self.relay.counters.looks.fetch_add(1, Ordering::Relaxed);
        let answer = (self.relay.gate)(watching).await;
        if answer.as_ref().is_err_and(|barred| barred.why == Why::TooMany) {
            self.relay.counters.unread_tokens.fetch_add(1, Ordering::Relaxed);
        }
        answer
    }

    /// Waits until the broadcast may not be watched any more; answers why.
    pub(crate) async fn shut_out(&self, path: Path) -> Barred {
        self.shut_out_of(path, || true).await
    }

    /// The same, looked at only while it is `watched`.
    pub(crate) async fn shut_out_of(&self, path: Path, watched: impl Fn() -> bool) -> Barred {
        if self.relay.is_open(&path) {
            // That is said at the start, and stays.
            std::future::pending::<()>().await;
        }
        let (mut unknown, mut looked, mut at_once) = (0, false, false);
        let (mut changes, mut looks) = (self.relay.changes.clone(), self.looks.subscribe());
        // For how long nothing has to be looked at, unless something changes.
        let mut rests = None;
        loop {
            if !std::mem::take(&mut at_once) {
                let again = tokio::time::sleep(GATE_AGAIN);
                if let (Some(changes), Some(rests)) = (&mut changes, rests.take()) {
                    may_have_ended(changes, &mut looks, rests).await;
                }
                // Where changes come one upon the other it is looked at so often and no more.
                again.await;
            }
            if !watched() {
                continue;
            }
            // What is changed while this is on its way may not be in it.
            if let Some(changes) = &mut changes {
                changes.mark_unchanged();
            }
            looks.mark_unchanged();
            match self.may_watch_for(&path).await {
                Ok(pass) => {
                    (unknown, looked) = (0, false);
                    rests = Some(pass.lasts.unwrap_or(GATE_SELDOM).min(GATE_SELDOM));
                }
                // What is shown instead decides, unless that takes too long.
                Err(_) if !looked && self.is_looked_at() => {
                    let mut looks = self.looks.subscribe();
                    let over = looks.wait_for(|looks| *looks == 0);
                    let _ = timeout(SHOWN_LOOK_MAX, over).await;
                    // Who asks for all of it hands on what was shown.
                    tokio::task::yield_now().await;
                    (looked, at_once) = (true, true);
                }
                // What was good once may have been forgotten here.
                Err(barred) if barred.may_pass_later() && unknown < GATE_UNKNOWN_MAX => {
                    unknown += 1;
                }
                Err(barred) => return barred,
            }
        }
    }

    /// Is counted among those who watch the broadcast until this is dropped.
    pub(crate) fn seat(&self, path: &Path) -> Arc<Seat> {
        let mut seats = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        seats.retain(|_, seat| seat.strong_count() > 0);
        if let Some(seat) = seats.get(path).and_then(Weak::upgrade) {
            return seat;
        }
        let seat = Arc::new((self.relay.audience)(path));
        seats.insert(path.clone(), Arc::downgrade(&seat));
        seat
    }

    /// A track by its name, if it may be watched.
    pub(crate) async fn find(
        &self,
        name: &moqt::TrackName,
        wait: Duration,
    ) -> Result<track::Consumer, Answer> {
        // One authorised track says nothing about others: each request is looked at.
        if let Some(path) = path_of(name.namespace())
            && let Err(barred) = self.may_watch(&path).await
        {
            return Err(Answer::error(barred.code(), barred.words));
        }
        if let Some(track) = self.past(name).await {
            return Ok(track);
        }
        find(&self.relay, name, wait).await
    }

    /// A track of a broadcast that is over.
    async fn past(&self, name: &moqt::TrackName) -> Option<track::Consumer> {
        let (path, track) = (path_of(name.namespace())?, name_of(name)?);
        if self.relay.origin.get(&path).is_some() {
            return None;
        }
        (self.relay.past)(path).await?.get(&track)
    }
}

/// A track by its name; waits for its publisher as long as the subscriber would.
async fn find(
    relay: &Relay,
    name: &moqt::TrackName,
    wait: Duration,
) -> Result<track::Consumer, Answer> {
    let missing = || Answer::error(RequestCode::DoesNotExist, "no such track here");
    let too_many = |why: LookupError| Answer::error(RequestCode::ExcessiveLoad, why.to_string());
    let (Some(path), Some(track)) = (path_of(name.namespace()), name_of(name)) else {
        return Err(missing());
    };
    let (origin, deadline) = (&relay.origin, clock::now() + wait.max(LOOKUP));
    // Before anything is looked for: what comes meanwhile is not missed.
    let mut namespaces = relay.open.namespaces();
    let here = async || -> Option<Result<track::Consumer, Answer>> {
        let kept;
        let broadcast = match origin.get(&path) {
            Some(broadcast) => broadcast,
            // draft-18 §9.5: who publishes a namespace is asked for what is below it as well.
            None => match relay.open.below(origin, &path)? {
                Ok(broadcast) => {
                    kept = broadcast;
                    kept.consume()
                }
                // Whether it is there nobody was asked.
                Err(PublishError::TooManyBroadcasts | PublishError::OutOfMemory) => {
                    return Some(Err(too_many(LookupError::TooMany)));
                }
                Err(_) => return None,
            },
        };
        // What is relayed may be over and have begun again.
        let found = match relay.open.there(&path).is_some() {
            true => broadcast.track_anew(&track, deadline).await,
            false => broadcast.track(&track, deadline).await,
        };
        match found {
            Ok(track) => Some(Ok(track)),
            // draft-18 §2.5.1
            Err(why @ LookupError::NotUnderstood) => {
                Some(Err(Answer::error(RequestCode::UnsupportedExtension, why.to_string())))
            }
            Err(why @ LookupError::TooMany) => Some(Err(too_many(why))),
            Err(_) => None,
        }
    };
    if let Ok(Some(found)) = timeout(LOOKUP, here()).await {
        return found;
    }
    // It is over, and nobody begins it again: what there is of it is here.
    if let Some(track) = origin.get(&path).and_then(|broadcast| broadcast.get(&track)) {
        return Ok(track);
    }
    // A catalog names packaged tracks before their first part is made.
    let beginning = wait.is_zero() && origin.get(&path).is_some_and(|b| is_live(&b));
    if wait.is_zero() && !beginning {
        return Err(missing());
    }
    // draft-18 §10.2.4: the publisher may be on its way.
    let come = async {
        let mut announcements = origin.announcements(path.clone());
        loop {
            let news = poll_fn(|cx| announcements.poll(cx)).await;
            let Announce::Live(broadcast) = news else { continue };
            if *broadcast.path() != path {
                continue;
            }
            let (mut seen, mut waiting) = (u64::MAX, Waiting::new());
            loop {
                seen = poll_fn(|cx| broadcast.poll_changed(seen, &mut waiting, cx)).await;
                if let Some(track) = broadcast.get(&track) {
                    return track;
                }
                if !is_live(&broadcast) {
                    break;
                }
            }
        }
    };
    let come_above = async {
        loop {
            // The sender is the relay's.
            let _ = namespaces.changed().await;
            if let Some(found) = here().await {
                return found;
            }
        }
    };
    let come = async {
        tokio::select! {
            track = come => Ok(track),
            found = come_above, if relay.is_open(&path) => found,
        }
    };
    if beginning {
        return match timeout(BEGINNING, come).await {
            Ok(found) => found,
            Err(_) => Err(missing()),
        };
    }
    match timeout(wait, come).await {
        Ok(found) => found,
        Err(_) => Err(Answer::error(RequestCode::Timeout, "the publisher did not come in time")),
    }
}

fn is_live(broadcast: &spine::broadcast::Consumer) -> bool {
    !matches!(broadcast.liveness(), spine::broadcast::Liveness::Ended(_))
}

/// How long a track of a broadcast that is on the air may take to begin: two parts of the longest kind.
const BEGINNING: Duration = Duration::from_secs(2);

/// How long an upstream may take to say whether it has a track.
const LOOKUP: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d01_the_most_particular_token_counts() {
        let token = |text: &'static str| AuthToken::new(Secret::new(text));
        let shown = |path: &str, tokens: Vec<AuthToken>| Credentials::new(path, &tokens);
        let text = |secret: &Secret| String::from_utf8(secret.expose().to_vec()).unwrap();
        for (path, setup, request, tokens, key) in [
            ("", vec![], None, "", ""),
            ("/", vec![], None, "", ""),
            ("/KEY", vec![], None, "KEY", "KEY"),
            ("/KEY/more?a=b", vec![], Some("OWN"), "KEY", "OWN"),
            ("/?a=b&jwt=A.B.C", vec![], None, "A.B.C", ""),
            ("/PATH?jwt=JWT", vec![token("SETUP")], None, "SETUP JWT PATH", "SETUP"),
            ("", vec![token("ONE"), token("TWO")], Some("OWN"), "ONE TWO", "OWN"),
        ] {
            let shown = shown(path, setup);
            let found: Vec<String> = shown.tokens.iter().map(text).collect();
            assert_eq!(found.join(" "), tokens, "{path}");
            let request = request.map(secret).into_iter().collect();
            assert_eq!(text(&shown.key(request)), key, "{path}");
        }
    }
}
