//! Publishing a source, paced in real time.

mod air;
mod messages;
mod moq;
mod target;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use io_moq::client::{ClientError, Denial};
use io_rtmp::push::{Options as Connecting, Push, PushError};
use tokio::sync::mpsc;

pub use target::{Target, TargetProblem, target};

use crate::limits::PEEK_FRAMES;
use crate::source::{self, Item, Place, SourceError, Track};
use crate::trust::{Trust, TrustError};
use messages::Messages;

/// A source whose first frames were read: its tracks are known, and it can be sent.
#[derive(Debug)]
pub struct Source {
    head: Vec<Item>,
    rest: mpsc::Receiver<Result<Item, SourceError>>,
    /// An error behind the first frames.
    ends: Option<SourceError>,
}

impl Source {
    /// Opens a file or a pipe and reads its first frames.
    pub async fn open(place: Place) -> Result<Self, PublishError> {
        let mut rest = source::start(place).map_err(PublishError::Thread)?;
        let (mut head, mut frames, mut ends) = (Vec::new(), 0, None);
        while frames < PEEK_FRAMES {
            match rest.recv().await {
                Some(Ok(item)) => {
                    frames += usize::from(matches!(item, Item::Frame(_)));
                    head.push(item);
                }
                Some(Err(error)) if frames == 0 => return Err(error.into()),
                Some(Err(error)) => {
                    ends = Some(error);
                    break;
                }
                None => break,
            }
        }
        if frames == 0 {
            return Err(PublishError::Nothing);
        }
        Ok(Self { head, rest, ends })
    }

    /// The tracks that its beginning names.
    pub fn tracks(&self) -> Vec<&Track> {
        let mut tracks: Vec<&Track> = Vec::new();
        for item in &self.head {
            if let Item::Track(track) = item
                && !tracks.iter().any(|t| t.codec == track.codec && t.id == track.id)
            {
                tracks.push(track);
            }
        }
        tracks
    }

    async fn next(&mut self) -> Result<Option<Item>, SourceError> {
        match self.rest.recv().await {
            Some(item) => item.map(Some),
            None => self.ends.take().map_or(Ok(None), Err),
        }
    }
}

/// How media is put into objects over MoQ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Packaging {
    /// CMAF: with decode times, as players with Media Source Extensions take it.
    #[default]
    Cmaf,
    /// LOC: a frame an object, as players with WebCodecs take it.
    Loc,
}

/// Where to.
pub struct Options {
    /// Server and key.
    pub target: Target,
    /// Over MoQ.
    pub packaging: Packaging,
    /// Whom to trust over `rtmps://` and `moqt://`.
    pub trust: Trust,
    /// Fills handshakes.
    pub random: fn(&mut [u8; 32]),
}

/// How far a publish is; looked at from outside while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    sent_us: AtomicU64,
    bytes: AtomicU64,
    frames: AtomicU64,
    behind_us: AtomicU64,
    live: AtomicU64,
    sessions: AtomicU64,
}

impl Progress {
    /// Whether the server has agreed, and is there.
    pub fn live(&self) -> bool {
        self.live.load(Ordering::Relaxed) > 0
    }

    /// How often the server has agreed.
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    fn set_live(&self, live: bool) {
        self.live.store(live.into(), Ordering::Relaxed);
        self.sessions.fetch_add(live.into(), Ordering::Relaxed);
    }

    /// A frame has left that was due at `at_us` after `start`.
    fn sent_frame(&self, start: Instant, at_us: u64) {
        let late = start.elapsed().saturating_sub(Duration::from_micros(at_us));
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        self.behind_us.store(late_us, Ordering::Relaxed);
        self.sent_us.fetch_max(at_us, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
    }

    /// Time of the source that was sent.
    pub fn sent(&self) -> Duration {
        Duration::from_micros(self.sent_us.load(Ordering::Relaxed))
    }

    /// Bytes of media.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Frames of all tracks.
    pub fn frames(&self) -> u64 {
        self.frames.load(Ordering::Relaxed)
    }

    /// How late the newest frame left: the network or the source is too slow.
    pub fn behind(&self) -> Duration {
        Duration::from_micros(self.behind_us.load(Ordering::Relaxed))
    }
}

/// Why a publish ended early.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The source can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It holds nothing.
    #[error("the source ends before its first frame")]
    Nothing,
    /// The system has no thread for it.
    #[error("can't read the source: {0}")]
    Thread(std::io::Error),
    /// The server, or the way to it.
    #[error(transparent)]
    Push(#[from] PushError),
    /// Whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// No session with a MoQ server.
    #[error(transparent)]
    Moq(#[from] ClientError),
    /// A MoQ server that does not want it.
    #[error("the server refused: {0}")]
    Denied(#[from] Denial),
    /// A MoQ server that sends us where we do not go, or are not wanted.
    #[error("the server says that it is {place}: {problem}")]
    Elsewhere {
        /// Where it sends us.
        place: String,
        /// Why that is of no use.
        problem: String,
    },
    /// It wanted it, and does not any more.
    #[error(
        "the server wants no more of it: another encoder may have taken over, or the input was disabled"
    )]
    Withdrawn,
    /// The MoQ session is over.
    #[error("the connection ended: {0}")]
    Lost(String),
    /// What the source holds can't be put into objects.
    #[error("can't be published: {0}")]
    Media(String),
}

/// Publishes until the source ends or `stop` is ready, and says goodbye. A dropped future is a lost connection.
pub async fn run(
    source: Source,
    options: Options,
    progress: &Progress,
    stop: impl Future<Output = ()>,
) -> Result<(), PublishError> {
    let Options { target, packaging, trust, random } = options;
    match target {
        Target::Rtmp(target) => {
            let mut seed = [0; 32];
            random(&mut seed);
            let tls = if target.tls { Some(trust.connector()?) } else { None };
            let four_ccs = messages::four_ccs(&source.tracks());
            let connecting = Push::connect(target, Connecting { seed, four_ccs, tls });
            push(source, connecting, progress, stop).await
        }
        Target::Moq(address) => moq::run(source, address, packaging, trust, progress, stop).await,
    }
}

/// Over RTMP.
async fn push(
    mut source: Source,
    connecting: impl Future<Output = Result<Push, PushError>>,
    progress: &Progress,
    stop: impl Future<Output = ()>,
) -> Result<(), PublishError> {
    let mut stop = std::pin::pin!(stop);
    let mut push = tokio::select! {
        connected = connecting => connected?,
        () = &mut stop => return Ok(()),
    };
    progress.set_live(true);
    let start = Instant::now();
    let mut messages = Messages::new(&source.tracks());
    let mut head = std::mem::take(&mut source.head).into_iter();
    loop {
        let item = match head.next() {
            Some(item) => item,
            None => tokio::select! {
                item = source.next() => match item {
                    Ok(Some(item)) => item,
                    Ok(None) => break,
                    // What was sent stays a broadcast that ended in good order.
                    Err(error) => {
                        push.goodbye().await?;
                        return Err(error.into());
                    }
                },
                ended = push.wait_until(start + FAR) => { ended?; continue }
                () = &mut stop => break,
            },
        };
        if let Item::Frame(frame) = &item {
            let due = start + Duration::from_micros(frame.at_us);
            tokio::select! {
                waited = push.wait_until(due) => waited?,
                () = &mut stop => break,
            }
        }
        let at_us = if let Item::Frame(frame) = &item { Some(frame.at_us) } else { None };
        for message in messages.of(item) {
            let bytes = message.payload.len() as u64;
            push.send(message).await?;
            progress.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        if let Some(at_us) = at_us {
            progress.sent_frame(start, at_us);
        }
    }
    Ok(push.goodbye().await?)
}

/// Longer than anybody publishes, and far from the end of what a clock can say.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
