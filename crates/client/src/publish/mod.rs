//! Publishing a source, paced in real time.

mod messages;
mod target;

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use io_rtmp::push::{Options as Connecting, Push, PushError};
use rtmp::client::Target;
use tokio::sync::mpsc;

pub use target::{TargetProblem, target};

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

/// Where to.
pub struct Options {
    /// Server and key.
    pub target: Target,
    /// Whom to trust over `rtmps://`.
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
}

impl Progress {
    /// Whether the server has agreed.
    pub fn live(&self) -> bool {
        self.live.load(Ordering::Relaxed) > 0
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
}

/// Publishes until the source ends or `stop` is ready, and says goodbye. A dropped future is a lost connection.
pub async fn run(
    mut source: Source,
    options: Options,
    progress: &Progress,
    stop: impl Future<Output = ()>,
) -> Result<(), PublishError> {
    let mut stop = std::pin::pin!(stop);
    let mut seed = [0; 32];
    (options.random)(&mut seed);
    let tls = if options.target.tls { Some(options.trust.connector()?) } else { None };
    let four_ccs = messages::four_ccs(&source.tracks());
    let connecting = Push::connect(options.target, Connecting { seed, four_ccs, tls });
    let mut push = tokio::select! {
        connected = connecting => connected?,
        () = &mut stop => return Ok(()),
    };
    progress.live.store(1, Ordering::Relaxed);
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
            let late = start.elapsed().saturating_sub(Duration::from_micros(at_us));
            let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
            progress.behind_us.store(late_us, Ordering::Relaxed);
            progress.sent_us.fetch_max(at_us, Ordering::Relaxed);
            progress.frames.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(push.goodbye().await?)
}

/// Longer than anybody publishes, and far from the end of what a clock can say.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
