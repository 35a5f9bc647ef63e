//! Encoders that come, go and come back: the door for all ingest protocols, and what runs for each
//! broadcast.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use control::{
    Away, Claim, ClaimError, ClaimMode, Claimed, Control, End, Input, InputUid, KeyKind, NodeId,
    Owned, RecordingMode, Secret, SegmentRecord, SessionId, VideoUid,
};
use deliver::{About, Counters, Library, Past, Shelf};
use encode::Ladder;
use media::Publication;
use media::admission::{Admitted, Asking, Door, Left, Refused};
use media::health::{Health, Report};
use package::{CutRules, Earlier, Index, Packaging, Rules};
use record::{Backlog, History, Outcome, Recorder, Recording, Setup, Space, Status};
use spine::broadcast::{Consumer, Liveness};
use spine::{Close, Origin, Path, PublishError, Route, Takeover};
use tokio::sync::{Notify, watch};

use crate::attempts::Attempts;
use crate::config::{Config, TakeoverPolicy};
use crate::limits::{
    EXPIRE_EVERY, FINISH_WAIT, GAP_NUMBERS_TIMED, GROUPS_AHEAD, HEARD_LATELY, PARK_MARGIN_MS,
    RESERVED_AHEAD, RESERVED_AHEAD_RECORDING,
};
use crate::losers::Losers;
use crate::node::{Tasks, random};
use crate::offer::Offer;

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
    /// Places where frames had left the cache before they were packaged.
    pub(crate) holes: Arc<AtomicU64>,
    pub(crate) tasks: Tasks,
    pub(crate) node: NodeId,
    /// Whether there is MoQ: then catalogs list levels.
    pub(crate) over_moq: bool,
    pub(crate) settings: RwLock<Settings>,
    /// Something was parked: its end must be looked for.
    pub(crate) parked: Notify,
    /// A broadcast is committed and released.
    pub(crate) finished: Notify,
    pub(crate) attempts: Attempts,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    active: BTreeMap<InputUid, Active>,
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
        let address = asking.peer.ip().to_canonical();
        let key = Secret::new(asking.key);
        let found = self.control.input_by_key(KeyKind::Stream, &key, now_ms()).await;
        let Some(input) = found.map_err(|e| Refused::Unavailable(e.to_string()))? else {
            let may_guess = self.attempts.wrong(address, now_ms());
            return Err(if may_guess { Refused::UnknownKey } else { Refused::TooManyAttempts });
        };
        if !self.attempts.known(&input.uid, now_ms()) {
            return Err(Refused::TooManyAttempts);
        }
        if asking.path.is_some_and(|path| path != path_of(&input.uid)) {
            return Err(Refused::NotItsInput);
        }
        if !input.settings.enabled {
            return Err(Refused::Disabled);
        }
        self.check_rivals(&input.uid, address)?;
        self.finish_before(&input.uid).await;
        let rival_alive = self.heard_lately(&input.uid);
        let claimed = self.claim(&input).await?;
        let past = self.past(&claimed).await?;
        let broadcast = self.publish(&input, &claimed)?;
        let consumer = broadcast.consume();
        let fresh = {
            let mut state = self.state();
            match state.active.get_mut(&input.uid).filter(|a| a.broadcast == consumer) {
                Some(active) => {
                    // Only one that was still sending can fight: an encoder that replaces its own
                    // dead connection has lost nothing to anybody.
                    let rival = active.encoder.replace(address).filter(|_| rival_alive);
                    active.losers.won(address);
                    if let Some(rival) = rival {
                        active.losers.lost(rival, Instant::now());
                    }
                    (active.health, active.away) = (None, End::SourceLost);
                    active.owner.send_replace(claimed.owned.clone());
                    None
                }
                None => {
                    let (owner, owned) = watch::channel(claimed.owned.clone());
                    let (broadcast, encoder) = (consumer.clone(), Some(address));
                    let active = Active {
                        broadcast,
                        owner,
                        encoder,
                        losers: Losers::default(),
                        away: End::SourceLost,
                        health: None,
                        recorder: None,
                    };
                    state.active.insert(input.uid.clone(), active);
                    Some(owned)
                }
            }
        };
        let resumed = fresh.is_none();
        let mut publication =
            Publication::new(broadcast, asking.clock, claimed.first_group, Instant::now());
        if let Some(owned) = fresh {
            if let Some(end) = shown_end(&claimed, past.as_deref()) {
                publication = publication.go_on_after(end);
            }
            self.begin_broadcast(&input, &claimed, consumer, owned, past.as_deref());
        }
        self.watch(&input.uid, publication.health(), asking.protocol);
        tracing::info!(
            input = %input.uid, video = %claimed.owned.video, protocol = asking.protocol,
            encoder = asking.encoder, peer = %asking.peer, resumed, "on the air"
        );
        let ingest = self.clone();
        let timeout = input.settings.recording.timeout_seconds;
        let leave = move |publication: Publication, left: Left| {
            ingest.leave(publication, &claimed.owned, timeout, left);
        };
        Ok(Admitted { publication, leave: Box::new(leave) })
    }

    fn watch(&self, input: &InputUid, health: Arc<Mutex<Health>>, protocol: &'static str) {
        if let Some(active) = self.state().active.get_mut(input) {
            active.health = Some((health, protocol));
        }
    }

    /// How the encoder of an input is doing; nothing while there is none.
    pub(crate) fn health(&self, input: &InputUid) -> Option<Report> {
        let ((health, protocol), recorded) = {
            let state = self.state();
            let active = state.active.get(input).filter(|a| a.encoder.is_some())?;
            (active.health.clone()?, active.recorder.clone())
        };
        let mut report =
            health.lock().unwrap_or_else(PoisonError::into_inner).report(Instant::now());
        report.protocol = protocol;
        if let Some(recorder) = recorded {
            report.advice.extend(self.space.paused().map(|why| why.to_string()));
            let (lost, plural) = match recorder.gaps() {
                1 => (1, ""),
                n => (n, "s"),
            };
            if lost > 0 {
                report.advice.push(format!(
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

    async fn claim(&self, input: &Input) -> Result<Claimed, Refused> {
        let claim = Claim {
            input: input.uid.clone(),
            node: self.node.clone(),
            session: SessionId::parse(&hex(&random::<16>()))
                .map_err(|e| Refused::Unavailable(e.to_string()))?,
            mode: ClaimMode::TakeOver,
            now_ms: now_ms(),
            resume_within_ms: u64::try_from(self.wait(input).as_millis()).unwrap_or(u64::MAX),
            new_video: VideoUid::from_random(random()),
        };
        self.control.claim(claim).await.map_err(|error| match error {
            ClaimError::Disabled => Refused::Disabled,
            ClaimError::NoSuchInput => Refused::UnknownKey,
            other => Refused::Unavailable(other.to_string()),
        })
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
        let in_memory = self.origin.get(&path_of(&claimed.owned.input)).is_some();
        if !claimed.resumed || in_memory {
            return Ok(None);
        }
        let video = &claimed.owned.video;
        self.history.forget(video);
        let past = self.history.recording(video).await;
        past.map_err(|e| Refused::Unavailable(e.to_string()))
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
        let path = path_of(&input.uid);
        if !claimed.resumed {
            // What memory still holds of the broadcast before is over.
            self.origin.end(&path, Close::SourceLost);
        }
        let route = Route::local(spine::NodeId(0), claimed.owned.epoch.0);
        self.origin.publish(&path, route, Takeover::Replace).map_err(|error| match error {
            PublishError::Busy => Refused::Busy,
            other => Refused::Unavailable(other.to_string()),
        })
    }

    /// Packages a new broadcast and puts it on a shelf, for as long as it lasts.
    fn begin_broadcast(
        self: &Arc<Self>,
        input: &Input,
        claimed: &Claimed,
        consumer: Consumer,
        owner: watch::Receiver<Owned>,
        past: Option<&Recording>,
    ) {
        let recorded = input.settings.recording.mode == RecordingMode::Automatic;
        let about = About {
            video: claimed.owned.video.to_string(),
            input: input.uid.to_string(),
            name: input.settings.meta.get("name").and_then(|n| n.as_str()).map(str::to_owned),
            low_latency: input.settings.prefer_low_latency,
            started_ms: past.map_or_else(now_ms, |past| past.video.created_ms),
            hide_viewers: input.settings.recording.hide_live_viewer_count,
            allow_clips: input.settings.recording.allow_clips,
            ladder: input.settings.ladder.as_deref().map(Ladder::parse),
        };
        let index = past.map(|past| past.index.clone()).unwrap_or_default();
        let earlier = earlier(claimed, &index);
        let recorder = recorded.then(|| self.recorder(claimed, consumer.clone(), owner));
        let status = recorder.as_ref().map(Recorder::status);
        if let Some(active) = self.state().active.get_mut(&input.uid) {
            active.recorder = status.clone();
        }
        let history = self.history.clone();
        let past = status.clone().map(|recorder| Past { history, index, recorder });
        let shelf = Shelf::new(about, consumer.clone(), self.counters.clone(), past);
        self.library.open(shelf.clone());
        let levels = self.library.levels().clone();
        let offer = self.over_moq.then(|| Offer::new(levels, shelf.clone()));
        let rules = self.settings().rules;
        let packaging = Packaging::new(consumer.clone(), rules, claimed.first_segment);
        let (ingest, input, video) = (self.clone(), input.uid.clone(), claimed.owned.video.clone());
        let before = claimed.last.is_some();
        let reserved = claimed.first_segment;
        self.tasks.spawn(async move {
            let package = async {
                match packaging {
                    Ok(packaging) => {
                        let packaging = match earlier {
                            Some(earlier) => packaging.go_on_after(earlier),
                            None => packaging,
                        };
                        let status = status.as_deref();
                        ingest.package(&input, packaging, offer, reserved, status).await;
                    }
                    Err(error) => tracing::error!(%input, %error, "can't package"),
                }
            };
            let record = async {
                let recorder = recorder?;
                let status = recorder.status();
                if let Err(error) = ingest.history.expect_objects(&video).await {
                    tracing::warn!(%video, %error, "orphans may stay after a crash");
                }
                let complete = recorder.run().await == Outcome::Complete;
                Some(complete && (before || status.committed() > 0))
            };
            let chat = ingest.chat.run(&input, &video, recorded, consumer.clone());
            let ((), (), recorded, ()) =
                tokio::join!(package, shelf.clone().follow(), record, chat);
            ingest.broadcast_over(&input, &consumer).await;
            ingest.history.forget(&video);
            let committed = before || status.as_ref().is_some_and(|s| s.committed() > 0);
            if recorded.is_some() && !committed {
                ingest.forget_levels(&video).await;
            }
            ingest.library.close(&shelf, recorded == Some(true));
            ingest.tidy(&video).await;
            let recording = match recorded {
                Some(true) => "whole",
                Some(false) => "not whole",
                None => "none",
            };
            tracing::info!(%input, %video, recording, "off the air");
        });
    }

    fn recorder(
        &self,
        claimed: &Claimed,
        broadcast: Consumer,
        owner: watch::Receiver<Owned>,
    ) -> Recorder {
        Recorder::new(Setup {
            control: self.control.clone(),
            store: self.history.store().clone(),
            broadcast,
            owner,
            gap: claimed.gap.clone(),
            first: claimed.first_segment,
            backlog: self.backlog.clone(),
            space: self.space.clone(),
            backlog_bytes: record::limits::BACKLOG_BYTES,
            patience: self.settings().patience,
            random: || u64::from_be_bytes(random()),
        })
    }

    async fn package(
        &self,
        input: &InputUid,
        mut packaging: Packaging,
        mut offer: Option<Offer>,
        mut reserved: u64,
        recorder: Option<&Status>,
    ) {
        let ahead = if recorder.is_some() { RESERVED_AHEAD_RECORDING } else { RESERVED_AHEAD };
        let broadcast = packaging.broadcast().clone();
        let (mut looked_at, mut groups, mut holes) = (0, 0, 0);
        loop {
            // A number is shown only when it is reserved: by the recorder's commits, else here, before
            // the first part of the segment is made.
            let outcome = poll_fn(|cx| {
                let mut outcome = packaging.poll(cx, Instant::now());
                if let Some(offer) = &mut offer
                    && let Err(error) = offer.poll(&mut packaging, cx)
                {
                    outcome = Poll::Ready(Err(error));
                }
                let found = packaging.findings().holes;
                if found > holes {
                    tracing::warn!(%input, "frames were lost before they were packaged: the machine is too busy or limits.cache_mb too small");
                    self.holes.fetch_add(found - holes, Ordering::Relaxed);
                    holes = found;
                }
                reserved = reserved.max(recorder.map_or(0, Status::reserved_to));
                match outcome {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    Poll::Pending if packaging.next_number() > reserved + 1 => Poll::Ready(None),
                    // Once a segment: are there raw group ids for the next while?
                    Poll::Pending if packaging.next_number() != looked_at => {
                        looked_at = packaging.next_number();
                        let short = groups_end(&broadcast) > groups + GROUPS_AHEAD / 2;
                        if short { Poll::Ready(None) } else { Poll::Pending }
                    }
                    Poll::Pending => Poll::Pending,
                }
            })
            .await;
            match outcome {
                Some(Ok(_)) => return,
                Some(Err(error)) => {
                    tracing::warn!(%input, %error, "packaging ended the broadcast");
                    self.origin.end(&path_of(input), Close::Malformed);
                    return;
                }
                None => {
                    let to = packaging.next_number() + ahead;
                    groups = groups_end(&broadcast);
                    let owned = self.state().active.get(input).map(|a| a.owner.borrow().clone());
                    if let Some(owned) = owned
                        && let Err(error) = self.control.reserve(&owned, to, groups).await
                    {
                        tracing::warn!(%input, %error, "can't reserve segment numbers");
                    }
                    reserved = to;
                }
            }
        }
    }

    /// An encoder has left.
    fn leave(self: &Arc<Self>, publication: Publication, owned: &Owned, timeout: u32, left: Left) {
        let now = Instant::now();
        let (counts, repairs) = (publication.counts(), *publication.repairs());
        tracing::info!(
            input = %owned.input, why = %left, frames = counts.frames, bytes = counts.bytes,
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
        if let Some(active) = self.state().active.get_mut(&owned.input) {
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
            if let Some(wait) = wait
                && let Err(error) = {
                    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 4);
                    let now_ms = now_ms();
                    let until_ms = now_ms + wait_ms + PARK_MARGIN_MS;
                    ingest.control.park(&owned, Away { why, now_ms, until_ms }).await
                }
            {
                tracing::debug!(input = %owned.input, %error, "not the owner any more");
            }
            ingest.parked.notify_one();
        });
    }

    /// Nothing more will be committed: the input is free.
    async fn broadcast_over(&self, input: &InputUid, broadcast: &Consumer) {
        let this = |active: &&Active| active.broadcast == *broadcast;
        let found = {
            let state = self.state();
            state.active.get(input).filter(this).map(|a| (a.owner.borrow().clone(), a.away))
        };
        let why = match broadcast.liveness() {
            Liveness::Ended(why) => why,
            Liveness::Live | Liveness::Parked => Close::Internal,
        };
        if let Some((owned, away)) = found
            && let Err(error) = self.control.release(&owned, end_of(why, away), now_ms()).await
        {
            tracing::debug!(%input, %error, "not the owner any more");
        }
        {
            let mut state = self.state();
            if state.active.get(input).as_ref().is_some_and(this) {
                state.active.remove(input);
            }
        }
        self.finished.notify_waiters();
    }

    /// What was made of a video that there never was: nothing of it was committed.
    async fn forget_levels(&self, video: &VideoUid) {
        let Some(renditions) = self.library.levels().renditions().cloned() else { return };
        let video = video.to_string();
        let _ = tokio::task::spawn_blocking(move || renditions.forget(&video)).await;
    }

    /// A video that is over keeps nothing that its index does not name.
    async fn tidy(&self, video: &VideoUid) {
        match self.history.tidy(video).await {
            Ok(0) => {}
            Ok(orphans) => tracing::info!(%video, orphans, "objects that nothing named, deleted"),
            Err(error) => tracing::warn!(%video, %error, "orphans stay"),
        }
    }

    /// Ends what a server before this one left open and nobody came back to.
    pub(crate) async fn expire_index(self: Arc<Self>) {
        if let Err(error) = self.history.tidy_left().await {
            tracing::warn!(%error, "orphans of earlier broadcasts stay");
        }
        loop {
            match self.control.expire(now_ms()).await {
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
            tokio::time::sleep(EXPIRE_EVERY).await;
        }
    }

    /// Ends what was parked for too long, for as long as the node runs.
    pub(crate) async fn expire(self: Arc<Self>) {
        loop {
            let now = Instant::now();
            let next = self.origin.expire(now);
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

/// Why a broadcast ended whose encoder was gone for this reason, in the words of the index.
fn end_of(why: Close, away: End) -> End {
    match why {
        Close::Ended => End::Goodbye,
        Close::Shutdown | Close::GoingAway => End::Shutdown,
        Close::Malformed => End::Malformed,
        Close::KeyChanged => End::KeysChanged,
        Close::Disabled => End::Disabled,
        Close::Deleted => End::InputDeleted,
        _ => away,
    }
}

/// What the packager of a broadcast must know that goes on in another process.
fn earlier(claimed: &Claimed, index: &Index) -> Option<Earlier> {
    // The newest record may be a gap that knows nothing of tracks.
    let newest = index.renditions().filter_map(|(_, r)| r.segments.back());
    let parts = index.renditions().map(|(name, r)| (name.to_owned(), r.part_target_ms));
    claimed.resumed.then(|| Earlier {
        discontinuities: newest.map(|s| s.info.discontinuity_sequence).max().unwrap_or(0),
        target_duration: index.target_duration(),
        part_targets_ms: parts.collect(),
    })
}

/// Where what viewers may have seen of a broadcast ends: what is committed, and behind it the numbers
/// that were lost, a target duration each.
fn shown_end(claimed: &Claimed, past: Option<&Recording>) -> Option<Duration> {
    // The newest record may be a gap that has no times.
    let timed = |r: &&SegmentRecord| r.tracks.iter().any(|t| t.timescale > 0);
    let last = claimed.last.as_ref().filter(timed).map(|last| (last, 0));
    let (last, untimed) = match last {
        Some(last) => last,
        None => past?.newest_timed()?,
    };
    let nanos = last
        .tracks
        .iter()
        .filter(|t| t.timescale > 0)
        .map(|t| u128::from(t.end()) * 1_000_000_000 / u128::from(t.timescale));
    let committed = Duration::from_nanos(u64::try_from(nanos.max()?).unwrap_or(u64::MAX / 2));
    let target = past.and_then(|p| p.index.target_duration()).unwrap_or(2);
    let lost = (claimed.gap.end - claimed.gap.start + untimed).min(GAP_NUMBERS_TIMED);
    Some(committed + Duration::from_secs(u64::from(target)) * u32::try_from(lost).unwrap_or(0))
}

/// A raw track, as encoders bring it.
fn is_raw(name: &str) -> bool {
    !name.contains('.') && (name.starts_with("video") || name.starts_with("audio"))
}

/// One more than the last raw group id that the next while may need.
fn groups_end(broadcast: &Consumer) -> u64 {
    let raw = broadcast.tracks().into_iter().filter(|n| n.as_str().is_some_and(is_raw));
    let newest = raw.filter_map(|name| broadcast.get(&name)?.largest()).map(|l| l.group).max();
    newest.unwrap_or(0) + GROUPS_AHEAD
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
