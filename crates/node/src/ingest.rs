//! Encoders that come, go and come back: the door for all ingest protocols, and what runs for each
//! broadcast.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use control::{
    Claim, ClaimError, ClaimMode, Claimed, Control, End, Input, InputUid, KeyKind, NodeId, Owned,
    Secret, SessionId, VideoUid,
};
use deliver::{About, Counters, Library, Shelf};
use media::Publication;
use media::admission::{Admitted, Asking, Door, Left, Refused};
use media::health::{Health, Report};
use package::{Packaging, Rules};
use spine::broadcast::Consumer;
use spine::{Close, Origin, Path, PublishError, Route, Takeover};
use tokio::sync::Notify;

use crate::config::TakeoverPolicy;
use crate::node::{Tasks, random};

/// A publisher that was replaced is refused for so long, so that two machines do not fight.
const REPLACED_REFUSED: Duration = Duration::from_secs(30);

/// A publisher without a frame for so long is taken for dead when another one comes.
const HEARD_LATELY: Duration = Duration::from_secs(3);

/// Raw group ids reserved ahead of the newest one. Sound begins one a second.
const GROUPS_AHEAD: u64 = 1_024;

/// Wrong keys from one address within [`ATTEMPTS_WINDOW`] before it is told to wait.
const ATTEMPTS: u32 = 10;
const ATTEMPTS_WINDOW: Duration = Duration::from_secs(60);

/// Addresses remembered for wrong keys.
const ADDRESSES_MAX: usize = 10_000;

/// Segment numbers reserved ahead of the one that is being made.
const RESERVED_AHEAD: u64 = 256;

/// What all ingest of a node shares.
pub(crate) struct Ingest {
    pub(crate) control: Arc<Control>,
    pub(crate) origin: Origin,
    pub(crate) library: Arc<Library>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tasks: Tasks,
    pub(crate) node: NodeId,
    pub(crate) rules: Rules,
    pub(crate) takeover: TakeoverPolicy,
    pub(crate) reconnect: Duration,
    /// Something was parked: its end must be looked for.
    pub(crate) parked: Notify,
    pub(crate) state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    active: BTreeMap<InputUid, Active>,
    failures: BTreeMap<IpAddr, Failures>,
}

/// An input with a broadcast in memory.
struct Active {
    broadcast: Consumer,
    owned: Owned,
    /// Where its encoder is, while there is one.
    encoder: Option<IpAddr>,
    replaced: Option<(IpAddr, Instant)>,
    /// How its encoder is doing, or did last.
    health: Option<Arc<Mutex<Health>>>,
}

struct Failures {
    count: u32,
    since: Instant,
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

    async fn admit(self: Arc<Self>, asking: Asking) -> Result<Admitted, Refused> {
        let address = asking.peer.ip().to_canonical();
        if self.state().too_many_failures(address) {
            return Err(Refused::TooManyAttempts);
        }
        let key = Secret::new(asking.key);
        let found = self.control.input_by_key(KeyKind::Stream, &key, now_ms()).await;
        let Some(input) = found.map_err(|e| Refused::Unavailable(e.to_string()))? else {
            self.state().failed(address);
            return Err(Refused::UnknownKey);
        };
        if !input.settings.enabled {
            return Err(Refused::Disabled);
        }
        self.check_rivals(&input.uid, address)?;
        let rival_alive = self.heard_lately(&input.uid);
        let claimed = self.claim(&input).await?;
        let broadcast = self.publish(&input, &claimed)?;
        let consumer = broadcast.consume();
        let fresh = {
            let mut state = self.state();
            let there = state.active.get(&input.uid).filter(|a| a.broadcast == consumer);
            // Only one that was still sending can fight: an encoder that replaces its own dead
            // connection has lost nothing to anybody.
            let replaced = there
                .and_then(|a| a.encoder.filter(|_| rival_alive))
                .map(|rival| (rival, Instant::now()));
            let fresh = there.is_none();
            let active = Active {
                broadcast: consumer.clone(),
                owned: claimed.owned.clone(),
                encoder: Some(address),
                replaced,
                health: None,
            };
            state.active.insert(input.uid.clone(), active);
            fresh
        };
        if fresh {
            self.begin_broadcast(&input, &claimed, consumer);
        }
        tracing::info!(
            input = %input.uid, video = %claimed.owned.video, protocol = asking.protocol,
            encoder = asking.encoder, peer = %asking.peer, resumed = !fresh, "on the air"
        );
        let publication =
            Publication::new(broadcast, asking.clock, claimed.first_group, Instant::now());
        self.watch(&input.uid, publication.health());
        let ingest = self.clone();
        let timeout = input.settings.recording.timeout_seconds;
        let leave = move |publication: Publication, left: Left| {
            ingest.leave(publication, &claimed.owned, timeout, left);
        };
        Ok(Admitted { publication, leave: Box::new(leave) })
    }

    fn watch(&self, input: &InputUid, health: Arc<Mutex<Health>>) {
        if let Some(active) = self.state().active.get_mut(input) {
            active.health = Some(health);
        }
    }

    /// How the encoder of an input is doing; nothing while there is none.
    pub(crate) fn health(&self, input: &InputUid) -> Option<Report> {
        let health = {
            let state = self.state();
            let active = state.active.get(input).filter(|a| a.encoder.is_some())?;
            active.health.clone()?
        };
        let report = health.lock().unwrap_or_else(PoisonError::into_inner).report(Instant::now());
        Some(report)
    }

    /// Who may take an input that somebody has.
    fn check_rivals(&self, input: &InputUid, address: IpAddr) -> Result<(), Refused> {
        let state = self.state();
        let Some(active) = state.active.get(input) else { return Ok(()) };
        let live = active.encoder.is_some();
        if live && self.takeover == TakeoverPolicy::First {
            return Err(Refused::Busy);
        }
        let lost_lately = active
            .replaced
            .is_some_and(|(loser, at)| loser == address && at.elapsed() < REPLACED_REFUSED);
        if live && lost_lately { Err(Refused::TakenOver) } else { Ok(()) }
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
        let claimed = self.control.claim(claim).await.map_err(|error| match error {
            ClaimError::Disabled => Refused::Disabled,
            ClaimError::NoSuchInput => Refused::UnknownKey,
            other => Refused::Unavailable(other.to_string()),
        })?;
        let ahead = claimed.first_segment + RESERVED_AHEAD;
        let reserved = self.control.reserve(&claimed.owned, ahead, claimed.first_group).await;
        reserved.map_err(|e| Refused::Unavailable(e.to_string()))?;
        Ok(claimed)
    }

    fn wait(&self, input: &Input) -> Duration {
        match input.settings.recording.timeout_seconds {
            0 => self.reconnect,
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
    fn begin_broadcast(self: &Arc<Self>, input: &Input, claimed: &Claimed, consumer: Consumer) {
        let about = About {
            video: claimed.owned.video.to_string(),
            input: input.uid.to_string(),
            name: input.settings.meta.get("name").and_then(|n| n.as_str()).map(str::to_owned),
            low_latency: input.settings.prefer_low_latency,
            started_ms: now_ms(),
            hide_viewers: input.settings.recording.hide_live_viewer_count,
        };
        let shelf = Shelf::new(about, consumer.clone(), self.counters.clone());
        self.library.open(shelf.clone());
        let packaging = Packaging::new(consumer.clone(), self.rules.clone(), claimed.first_segment);
        let (ingest, input) = (self.clone(), input.uid.clone());
        let reserved = claimed.first_segment + RESERVED_AHEAD;
        self.tasks.spawn(async move {
            let package = async {
                match packaging {
                    Ok(packaging) => ingest.package(&input, packaging, reserved).await,
                    Err(error) => tracing::error!(%input, %error, "can't package"),
                }
            };
            tokio::join!(package, shelf.clone().follow());
            ingest.broadcast_over(&input, &consumer).await;
            ingest.library.close(&shelf);
            tracing::info!(%input, video = shelf.about().video, "off the air");
        });
    }

    async fn package(&self, input: &InputUid, mut packaging: Packaging, mut reserved: u64) {
        loop {
            // A number is shown only when it is reserved, so the next ones are reserved in time.
            let outcome = poll_fn(|cx| {
                let now = Instant::now();
                match packaging.poll(cx, now) {
                    Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
                    Poll::Pending if packaging.next_number() + RESERVED_AHEAD / 2 > reserved => {
                        Poll::Ready(None)
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
                    let ahead = packaging.next_number() + RESERVED_AHEAD;
                    let active = self
                        .state()
                        .active
                        .get(input)
                        .map(|a| (a.owned.clone(), a.broadcast.clone()));
                    if let Some((owned, broadcast)) = active
                        && let Err(error) =
                            self.control.reserve(&owned, ahead, groups_end(&broadcast)).await
                    {
                        tracing::warn!(%input, %error, "can't reserve segment numbers");
                    }
                    reserved = ahead;
                }
            }
        }
    }

    /// An encoder has left.
    fn leave(self: &Arc<Self>, publication: Publication, owned: &Owned, timeout: u32, left: Left) {
        let now = Instant::now();
        let (counts, repairs) = (publication.counts(), *publication.repairs());
        tracing::info!(
            input = %owned.input, ?left, frames = counts.frames, bytes = counts.bytes,
            dropped = counts.dropped, ?repairs, "encoder left"
        );
        let wait = match (left, timeout) {
            (Left::Dismissed, _) => return,
            // Nothing of it could be used: there is nothing to come back to.
            (Left::Faulty, _) if counts.frames == 0 => None,
            (Left::Goodbye, 0) => None,
            (Left::Lost | Left::Faulty, 0) => Some(self.reconnect),
            (_, n) => Some(Duration::from_secs(u64::from(n))),
        };
        if publication.closed().is_some() {
            return;
        }
        if let Some(active) = self.state().active.get_mut(&owned.input) {
            active.encoder = None;
        }
        match wait {
            Some(wait) => publication.park(now + wait, now),
            None => publication.end(Close::Ended, now),
        }
        let (ingest, owned) = (self.clone(), owned.clone());
        self.tasks.spawn(async move {
            let now = now_ms();
            let told = match wait {
                Some(wait) => {
                    let until = now + u64::try_from(wait.as_millis()).unwrap_or(u64::MAX / 2);
                    ingest.control.park(&owned, until).await
                }
                None => ingest.control.release(&owned, End::Goodbye, now).await.map(|_| ()),
            };
            if let Err(error) = told {
                tracing::debug!(input = %owned.input, %error, "not the owner any more");
            }
            ingest.parked.notify_one();
        });
    }

    async fn broadcast_over(&self, input: &InputUid, broadcast: &Consumer) {
        let owned = {
            let mut state = self.state();
            let this = state.active.get(input).is_some_and(|a| a.broadcast == *broadcast);
            if !this {
                return;
            }
            state.active.remove(input).map(|a| a.owned)
        };
        // A goodbye has released it already; then there is nothing to do.
        if let Some(owned) = owned {
            let _ = self.control.release(&owned, End::SourceLost, now_ms()).await;
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

impl State {
    fn too_many_failures(&mut self, address: IpAddr) -> bool {
        self.failures.retain(|_, f| f.since.elapsed() < ATTEMPTS_WINDOW);
        self.failures.get(&address).is_some_and(|f| f.count >= ATTEMPTS)
    }

    fn failed(&mut self, address: IpAddr) {
        if self.failures.len() < ADDRESSES_MAX {
            let fresh = Failures { count: 0, since: Instant::now() };
            self.failures.entry(address).or_insert(fresh).count += 1;
        }
    }
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
