//! Encoders that come, go and come back: the door for all ingest protocols, and what runs for each
//! broadcast.

mod broadcast;
mod found;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use control::limits::RESERVE_AHEAD;
use control::{
    Away, Claim, ClaimError, ClaimMode, Claimed, Control, End, Input, InputUid, KeyKind, NodeId,
    Owned, OwnerError, Secret, SessionId, VideoUid,
};
use deliver::{Counters, Library};
use media::Publication;
use media::admission::{Admitted, Asking, Door, Left, Refused};
use media::health::{Advice, Health, Report};
use package::{CutRules, Rules};
use record::{Backlog, History, Recording, Space, Status};
use spine::broadcast::{Consumer, Liveness};
use spine::{Close, Origin, Path, PublishError, Route, Takeover};
use tokio::sync::{Notify, oneshot, watch};

use self::broadcast::shown_end;
pub(crate) use self::found::Found;
use crate::attempts::Attempts;
use crate::config::{Config, TakeoverPolicy};
use crate::limits::{EXPIRE_EVERY, FINISH_WAIT, HEARD_LATELY, PARK_MARGIN_MS};
use crate::losers::Losers;
use crate::node::{Tasks, random};

/// What the configuration says; it may change while the node runs.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How long the store may fail before a segment is a gap.
    patience: Duration,
    rules: Rules,
    takeover: TakeoverPolicy,
    reconnect: Duration,
}

impl Settings {
    pub(crate) fn of(config: &Config) -> Self {
        let cut = CutRules { segment: config.hls.segment_ms, ..CutRules::default() };
        Self {
            patience: config.limits.recorder_patience_s,
            rules: Rules { cut, part: config.hls.part_ms },
            takeover: config.ingest.takeover,
            reconnect: config.ingest.reconnect_s,
        }
    }
}

/// What all ingest of a node shares.
pub(crate) struct Ingest {
    pub(crate) control: Arc<Control>,
    pub(crate) history: Arc<History>,
    pub(crate) backlog: Backlog,
    /// The room that recordings have on the disk.
    pub(crate) space: Arc<Space>,
    pub(crate) origin: Origin,
    pub(crate) library: Arc<Library>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) chat: Arc<chat::Rooms>,
    /// What packaging has missed and made, of all broadcasts.
    pub(crate) found: Arc<Found>,
    pub(crate) tasks: Tasks,
    pub(crate) node: NodeId,
    /// Whether there is MoQ: then catalogs list levels.
    pub(crate) over_moq: bool,
    pub(crate) settings: RwLock<Settings>,
    /// Something was parked: its end must be looked for.
    pub(crate) parked: Notify,
    /// A broadcast is committed and released.
    pub(crate) finished: Notify,
    pub(crate) attempts: Arc<Attempts>,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    active: BTreeMap<InputUid, Active>,
    /// Up to where numbers were shown that could not be reserved, and under which claim.
    unreserved: BTreeMap<InputUid, (Owned, u64)>,
}

impl State {
    /// The input that is owned by this claim, if it is the newest.
    fn of(&mut self, owned: &Owned) -> Option<&mut Active> {
        self.active.get_mut(&owned.input).filter(|a| a.owner.borrow().epoch == owned.epoch)
    }
}

/// An input with a broadcast in memory.
struct Active {
    broadcast: Consumer,
    /// The newest claim, which the recorder commits under.
    owner: watch::Sender<Owned>,
    /// Where its encoder is, while there is one.
    encoder: Option<IpAddr>,
    /// Who was replaced lately.
    losers: Losers,
    /// Why its encoder is away.
    away: End,
    /// How its encoder is doing, or did last, and over which protocol.
    health: Option<(Arc<Mutex<Health>>, &'static str)>,
    /// How its recorder is doing, if it is recorded.
    recorder: Option<Arc<Status>>,
    /// What its packaging has missed and made.
    found: Arc<Found>,
}

/// An encoder that is on the air, and may be gone before it hears of that: then it has come and was lost.
struct Untaken(Option<Admitted>);

impl Drop for Untaken {
    fn drop(&mut self) {
        if let Some(Admitted { publication, leave }) = self.0.take() {
            leave(publication, Left::Lost);
        }
    }
}

impl Ingest {
    /// The door that drivers knock on.
    pub(crate) fn door(self: &Arc<Self>) -> Door {
        let ingest = self.clone();
        Arc::new(move |asking| {
            let ingest = ingest.clone();
            Box::pin(async move { ingest.admit(asking).await })
        })
    }

    /// From now on; broadcasts that are on the air keep their segments and parts as they began.
    pub(crate) fn change(&self, settings: Settings) {
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
    }

    fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn admit(self: Arc<Self>, asking: Asking) -> Result<Admitted, Refused> {
        let (address, key) = (asking.peer.ip().to_canonical(), Secret::new(asking.key.clone()));
        let input = self.input_of(&key, asking.path.clone(), address).await?;
        self.check_rivals(&input.uid, address)?;
        self.finish_before(&input.uid).await;
        self.let_in(input, key, asking).await
    }

    /// A claim takes the input from whoever has it, also from the recorder of what is on the air: what follows it happens
    /// whether or not the encoder waits for it.
    async fn let_in(
        self: &Arc<Self>,
        input: Input,
        key: Secret,
        asking: Asking,
    ) -> Result<Admitted, Refused> {
        let (answer, answered) = oneshot::channel();
        let ingest = self.clone();
        self.tasks.spawn(async move {
            let _ = answer.send(ingest.enter(&input, &key, asking).await);
        });
        let stopped = || Refused::Unavailable("it stops".to_owned());
        let mut entered = answered.await.map_err(|_| stopped())??;
        entered.0.take().ok_or_else(stopped)
    }

    /// From the claim to the air, or back.
    async fn enter(
        self: Arc<Self>,
        input: &Input,
        key: &Secret,
        asking: Asking,
    ) -> Result<Untaken, Refused> {
        let rival_alive = self.heard_lately(&input.uid);
        let claimed = self.claim(input, key).await?;
        match self.go_on_air(input, &claimed, asking, rival_alive).await {
            Ok(admitted) => self.still_welcome(key, Untaken(Some(admitted))).await,
            Err(refused) => {
                self.give_back(input, &claimed).await;
                Err(refused)
            }
        }
    }

    /// Who takes a key away ends what is on the air, and since the claim may have found nothing there.
    async fn still_welcome(&self, key: &Secret, mut entered: Untaken) -> Result<Untaken, Refused> {
        let now = self.control.input_by_key(KeyKind::Stream, key, now_ms()).await;
        let (why, refused) = match now.map_err(|e| Refused::Unavailable(e.to_string()))? {
            Some(now) if now.settings.enabled => return Ok(entered),
            Some(_) => (Close::Disabled, Refused::Disabled),
            None => (Close::KeyChanged, Refused::UnknownKey),
        };
        if let Some(admitted) = entered.0.take() {
            admitted.publication.end(why, Instant::now());
        }
        Err(refused)
    }

    async fn go_on_air(
        self: &Arc<Self>,
        input: &Input,
        claimed: &Claimed,
        asking: Asking,
        rival_alive: bool,
    ) -> Result<Admitted, Refused> {
        let Asking { peer, protocol, encoder, clock, .. } = asking;
        let address = peer.ip().to_canonical();
        let past = self.past(claimed).await?;
        // Nothing is waited for from here on. Others may be at the same place with claims that are newer or older, and in any
        // order.
        let broadcast = self.publish(input, claimed)?;
        let consumer = broadcast.consume();
        let fresh = self.register(&claimed.owned, &consumer, address, rival_alive)?;
        let resumed = fresh.is_none();
        let mut publication =
            Publication::new(broadcast, clock, claimed.first_group, Instant::now())
                .count_dropped(self.found.dropped.clone());
        if let Some(owned) = fresh {
            if let Some(end) = shown_end(claimed, past.as_deref()) {
                publication = publication.go_on_after(end);
            }
            self.begin_broadcast(input, claimed, consumer, owned, past.as_deref());
        }
        if let Some(active) = self.state().of(&claimed.owned) {
            active.health = Some((publication.health(), protocol));
        }
        tracing::info!(
            input = %input.uid, video = %claimed.owned.video, protocol, encoder, %peer, resumed,
            "on the air"
        );
        let (ingest, owned) = (self.clone(), claimed.owned.clone());
        let timeout = input.settings.recording.timeout_seconds;
        let leave = move |publication: Publication, left: Left| {
            ingest.leave(publication, &owned, timeout, left);
        };
        Ok(Admitted { publication, leave: Box::new(leave) })
    }

    /// Nothing came of a claim: what it began was nothing, and what was waited for is waited for as before, and no longer.
    async fn give_back(&self, input: &Input, claimed: &Claimed) {
        let owned = &claimed.owned;
        {
            // Whoever still records the broadcast goes on under this claim.
            let mut state = self.state();
            let active = state.active.get_mut(&owned.input).filter(|active| {
                let now = active.owner.borrow();
                now.video == owned.video && now.epoch < owned.epoch
            });
            if let Some(active) = active {
                active.owner.send_replace(owned.clone());
                return;
            }
        }
        if !claimed.resumed {
            return self.release(&owned.input, owned, End::Goodbye).await;
        }
        let now_ms = now_ms();
        let wait_ms = u64::try_from(self.wait(input).as_millis()).unwrap_or(u64::MAX / 4);
        let lost = Away { why: End::SourceLost, now_ms, until_ms: now_ms + wait_ms };
        self.park(owned, claimed.waited.unwrap_or(lost)).await;
    }

    /// The input that this key is for, if it may be published to at all.
    async fn input_of(
        &self,
        key: &Secret,
        path: Option<Path>,
        address: IpAddr,
    ) -> Result<Input, Refused> {
        let found = self.control.input_by_key(KeyKind::Stream, key, now_ms()).await;
        let Some(input) = found.map_err(|e| Refused::Unavailable(e.to_string()))? else {
            let may_guess = self.attempts.wrong(address, now_ms());
            return Err(if may_guess { Refused::UnknownKey } else { Refused::TooManyAttempts });
        };
        if !self.attempts.known(&input.uid, now_ms()) {
            return Err(Refused::TooManyAttempts);
        }
        if path.is_some_and(|path| path != path_of(&input.uid)) {
            return Err(Refused::NotItsInput);
        }
        if !input.settings.enabled {
            return Err(Refused::Disabled);
        }
        Ok(input)
    }

    /// Makes this encoder the one that is on; for a broadcast that was not there, answers who owns it from now on. Refused
    /// if a newer claim was faster: its encoder stays.
    fn register(
        &self,
        owned: &Owned,
        broadcast: &Consumer,
        address: IpAddr,
        rival_alive: bool,
    ) -> Result<Option<watch::Receiver<Owned>>, Refused> {
        let mut state = self.state();
        let active = state.active.get_mut(&owned.input);
        if active.as_ref().is_some_and(|a| a.owner.borrow().epoch > owned.epoch) {
            return Err(Refused::TakenOver);
        }
        if let Some(active) = active.filter(|a| a.broadcast == *broadcast) {
            // Only one that was still sending can fight: an encoder that replaces its own
            // dead connection has lost nothing to anybody.
            let rival = active.encoder.replace(address).filter(|_| rival_alive);
            active.losers.won(address);
            if let Some(rival) = rival {
                active.losers.lost(rival, Instant::now());
            }
            (active.health, active.away) = (None, End::SourceLost);
            active.owner.send_replace(owned.clone());
            return Ok(None);
        }
        let (owner, receiver) = watch::channel(owned.clone());
        let active = Active {
            broadcast: broadcast.clone(),
            owner,
            encoder: Some(address),
            losers: Losers::default(),
            away: End::SourceLost,
            health: None,
            recorder: None,
            found: Arc::default(),
        };
        state.active.insert(owned.input.clone(), active);
        Ok(Some(receiver))
    }

    /// How the encoder of an input is doing; nothing while there is none.
    pub(crate) fn health(&self, input: &InputUid) -> Option<Report> {
        let ((health, protocol), recorded, found) = {
            let state = self.state();
            let active = state.active.get(input).filter(|a| a.encoder.is_some())?;
            (active.health.clone()?, active.recorder.clone(), active.found.clone())
        };
        let mut report =
            health.lock().unwrap_or_else(PoisonError::into_inner).report(Instant::now());
        report.protocol = protocol;
        report.dropped += found.left_out();
        report.advice.extend(found.advice(now_ms()));
        if let Some(recorder) = recorded {
            let mut say = |words| report.advice.push(Advice { words, for_ms: None });
            self.space.paused().into_iter().for_each(|why| say(why.to_string()));
            let (lost, plural) = match recorder.gaps() {
                1 => (1, ""),
                n => (n, "s"),
            };
            if recorder.stopped() {
                say("this broadcast is not recorded any more: end it and begin another one"
                    .to_owned());
            }
            if lost > 0 {
                say(format!(
                    "{lost} segment{plural} of this broadcast could not be recorded: gaps in the replay"
                ));
            }
        }
        Some(report)
    }

    /// Ends the broadcast of an input, and waits until everything of it is committed.
    pub(crate) async fn dismiss(&self, input: &InputUid) {
        self.origin.end(&path_of(input), Close::Deleted);
        self.finish_before(input).await;
    }

    /// Who may take an input that somebody has.
    fn check_rivals(&self, input: &InputUid, address: IpAddr) -> Result<(), Refused> {
        let sending = self.heard_lately(input);
        let state = self.state();
        let Some(active) = state.active.get(input).filter(|a| a.encoder.is_some()) else {
            return Ok(());
        };
        if self.settings().takeover == TakeoverPolicy::First {
            return Err(Refused::Busy);
        }
        let lost = active.losers.has(address, Instant::now());
        if lost && sending { Err(Refused::TakenOver) } else { Ok(()) }
    }

    /// Whether an encoder has sent something in the last moments.
    fn heard_lately(&self, input: &InputUid) -> bool {
        let Some(broadcast) = self.state().active.get(input).map(|a| a.broadcast.clone()) else {
            return false;
        };
        let raw = broadcast.tracks().into_iter().filter(|n| n.as_str().is_some_and(is_raw));
        let mut newest = raw.filter_map(|name| {
            let track = broadcast.get(&name)?;
            Some(track.object(track.largest()?).ok()?.header().arrived)
        });
        newest.any(|at| at.elapsed() < HEARD_LATELY)
    }

    async fn claim(&self, input: &Input, key: &Secret) -> Result<Claimed, Refused> {
        let unavailable = |error: OwnerError| Refused::Unavailable(error.to_string());
        self.leave_out_shown(&input.uid).await.map_err(unavailable)?;
        let claim = Claim {
            input: input.uid.clone(),
            node: self.node.clone(),
            session: SessionId::parse(&hex(&random::<16>()))
                .map_err(|e| Refused::Unavailable(e.to_string()))?,
            mode: if self.is_here(&input.uid) { ClaimMode::GoOn } else { ClaimMode::TakeOver },
            now_ms: now_ms(),
            resume_within_ms: u64::try_from(self.wait(input).as_millis()).unwrap_or(u64::MAX),
            new_video: VideoUid::from_random(random()),
        };
        self.control.claim_with_key(claim, key).await.map_err(|error| match error {
            ClaimError::Disabled => Refused::Disabled,
            ClaimError::NoSuchInput | ClaimError::OtherKey => Refused::UnknownKey,
            other => Refused::Unavailable(other.to_string()),
        })
    }

    /// Reserves what was shown without it, so that the next claim begins above.
    async fn leave_out_shown(&self, input: &InputUid) -> Result<(), OwnerError> {
        loop {
            let shown = self.state().unreserved.get(input).cloned();
            let Some((owned, to)) = &shown else { return Ok(()) };
            match self.reserve_in_steps(owned, *to, 0).await {
                // Or it has been over since: the numbers are another video's now.
                Ok(()) | Err(OwnerError::Fenced { .. }) => {}
                Err(error) => return Err(error),
            }
            // More may have been shown meanwhile.
            let mut state = self.state();
            if state.unreserved.get(input) == shown.as_ref() {
                state.unreserved.remove(input);
            }
        }
    }

    /// However many there are: the database gives out some thousands at a time.
    async fn reserve_in_steps(
        &self,
        owned: &Owned,
        to: u64,
        groups: u64,
    ) -> Result<(), OwnerError> {
        match self.control.reserve(owned, to, groups).await {
            Err(OwnerError::TooFarAhead) => {}
            done => return done.map(drop),
        }
        let mut reserved = self.control.reserve(owned, 0, 0).await?.segments_to;
        while to.saturating_sub(reserved) > RESERVE_AHEAD {
            let step = reserved + RESERVE_AHEAD;
            reserved = self.control.reserve(owned, step, 0).await?.segments_to;
        }
        self.control.reserve(owned, to, groups).await.map(drop)
    }

    /// The last commits of the broadcast before come first, so that this one is a new one.
    async fn finish_before(&self, input: &InputUid) {
        let finished = async {
            loop {
                let notified = self.finished.notified();
                let finishing = self.state().active.get(input).is_some_and(|active| {
                    matches!(active.broadcast.liveness(), Liveness::Ended(_))
                });
                if !finishing {
                    return;
                }
                notified.await;
            }
        };
        if tokio::time::timeout(FINISH_WAIT, finished).await.is_err() {
            tracing::warn!(%input, "the recording of the broadcast before is not finished");
        }
    }

    /// What is committed of a broadcast that goes on and that memory has nothing of.
    async fn past(&self, claimed: &Claimed) -> Result<Option<Arc<Recording>>, Refused> {
        if !claimed.resumed || self.is_here(&claimed.owned.input) {
            return Ok(None);
        }
        let video = &claimed.owned.video;
        self.history.forget(video);
        let past = self.history.recording(video).await;
        past.map_err(|e| Refused::Unavailable(e.to_string()))
    }

    /// Whether a broadcast of this input goes on in memory, or waits there for its encoder.
    fn is_here(&self, input: &InputUid) -> bool {
        let state = self.state();
        let active = state.active.get(input);
        active.is_some_and(|a| !matches!(a.broadcast.liveness(), Liveness::Ended(_)))
    }

    fn wait(&self, input: &Input) -> Duration {
        match input.settings.recording.timeout_seconds {
            0 => self.settings().reconnect,
            n => Duration::from_secs(u64::from(n)),
        }
    }

    fn publish(
        &self,
        input: &Input,
        claimed: &Claimed,
    ) -> Result<spine::broadcast::Producer, Refused> {
        let (path, epoch) = (path_of(&input.uid), claimed.owned.epoch.0);
        if !claimed.resumed {
            // What memory still holds of the broadcast before is over.
            self.origin.end_below(&path, epoch, Close::SourceLost);
        }
        let route = Route::local(spine::NodeId(0), epoch);
        self.origin.publish(&path, route, Takeover::Replace).map_err(|error| match error {
            PublishError::Busy => Refused::Busy,
            PublishError::Superseded => Refused::TakenOver,
            other => Refused::Unavailable(other.to_string()),
        })
    }

    /// An encoder has left.
    fn leave(self: &Arc<Self>, publication: Publication, owned: &Owned, timeout: u32, left: Left) {
        let now = Instant::now();
        let (counts, repairs) = (publication.counts(), *publication.repairs());
        let why = match publication.closed() {
            Some(Close::Shutdown) => "the server stopped".to_owned(),
            _ => left.to_string(),
        };
        tracing::info!(
            input = %owned.input, why, frames = counts.frames, bytes = counts.bytes,
            dropped = counts.dropped, %repairs, "encoder left"
        );
        let wait = match (left, timeout) {
            (Left::Dismissed, _) => return,
            // Nothing of it could be used: there is nothing to come back to.
            (Left::Faulty, _) if counts.frames == 0 => None,
            (Left::Goodbye, 0) => None,
            (Left::Lost | Left::Idle | Left::Faulty, 0) => Some(self.settings().reconnect),
            (_, n) => Some(Duration::from_secs(u64::from(n))),
        };
        if publication.closed().is_some() {
            return;
        }
        let why = match left {
            Left::Goodbye => End::Goodbye,
            Left::Idle => End::Idle,
            Left::Faulty => End::Malformed,
            Left::Lost | Left::Dismissed => End::SourceLost,
        };
        if let Some(active) = self.state().of(owned) {
            active.encoder = None;
            active.away = why;
        }
        match wait {
            Some(wait) => publication.park(now + wait, now),
            // Released when everything of it is committed: `broadcast_over`.
            None => publication.end(Close::Ended, now),
        }
        let (ingest, owned) = (self.clone(), owned.clone());
        self.tasks.spawn(async move {
            if let Some(wait) = wait {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 4);
                let now_ms = now_ms();
                let until_ms = now_ms + wait_ms + PARK_MARGIN_MS;
                ingest.park(&owned, Away { why, now_ms, until_ms }).await;
            }
            ingest.parked.notify_one();
        });
    }

    /// Ends what a server before this one left open and nobody came back to.
    pub(crate) async fn expire_index(self: Arc<Self>) {
        if let Err(error) = self.history.tidy_left().await {
            tracing::warn!(%error, "orphans of earlier broadcasts stay");
        }
        loop {
            self.end_left().await;
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }

    async fn end_left(&self) {
        // How long those are waited for that are in memory is counted there, whatever the wall clock does.
        let here = self.state().active.keys().cloned().collect();
        match self.control.expire(now_ms(), here).await {
            Ok(ended) => {
                for ended in ended {
                    self.history.forget(&ended.video);
                    self.tidy(&ended.video).await;
                    if !ended.kept {
                        self.forget_levels(&ended.video).await;
                    }
                    tracing::info!(input = %ended.input, video = %ended.video, "ended");
                }
            }
            Err(error) => tracing::warn!(%error, "can't end old broadcasts"),
        }
    }

    /// Ends what was parked for too long, for as long as the node runs.
    pub(crate) async fn expire(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let next = self.origin.expire(now);
            self.origin.give_back(now);
            let forget = self.library.forget_ended(now);
            let next = next.into_iter().chain(forget).min();
            let timer = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    // Shelves end without a word; they are looked for now and then.
                    None => tokio::time::sleep(Duration::from_secs(10)).await,
                }
            };
            tokio::select! {
                () = self.parked.notified() => {}
                () = timer => {}
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A raw track, as encoders bring it.
fn is_raw(name: &str) -> bool {
    !name.contains('.') && (name.starts_with("video") || name.starts_with("audio"))
}

/// The MoQ namespace of a live input: `(<account>, <input uid>)`.
pub(crate) fn path_of(input: &InputUid) -> Path {
    // invariant: two short fields, far below the bounds of a path.
    Path::new(["default".to_owned(), input.to_string()]).unwrap_or_else(|_| Path::root())
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
