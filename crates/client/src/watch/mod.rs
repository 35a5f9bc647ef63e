//! Watching a broadcast over HLS, LL-HLS or MoQ: what a player would load, in numbers.
//!
//! ```text
//! hls: playlist(s) --> Follower, a task a track --+--> Event --> Watch: counts, records, reports once a second
//! moq: catalog ------> Follower, a task a track --'
//! ```

mod handed;
mod hls;
mod http;
mod measure;
mod moq;
mod moved;
mod past;
mod reading;
mod record;
mod search;
mod stall;
mod track;
mod url;

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use io_moq::client::{ClientError, Denial};
use package::hls::ParseError;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use http::HttpError;
pub use measure::{Report, TrackReport};
pub use record::RecordError;
pub use track::Begin;
pub use url::{Url, UrlProblem};

use crate::address::MoqAddress;
use crate::limits::{EVENTS_WAITING, TRACKS_MAX};
use crate::trust::{Trust, TrustError};
use measure::Measured;
use record::Recorder;
use track::{Event, What};

/// What can be watched.
#[derive(Debug, Clone)]
pub enum Address {
    /// A page, a broadcast or a playlist, over HTTP.
    Hls(Url),
    /// A broadcast on a MoQ server.
    Moq(MoqAddress),
}

impl Address {
    /// Reads a URL.
    pub fn parse(url: &str) -> Result<Self, UrlProblem> {
        if MoqAddress::is_one(url) {
            return Ok(Self::Moq(MoqAddress::parse(url).map_err(UrlProblem::Moq)?));
        }
        let url = Url::parse(url)?;
        url.playlist()?;
        Ok(Self::Hls(url))
    }

    /// The same, over MoQ to be spoken to in this draft alone.
    pub fn speaking(self, draft: Option<u8>) -> Self {
        match self {
            Self::Moq(address) => Self::Moq(address.speaking(draft)),
            other => other,
        }
    }
}

/// Why watching failed or ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The server, or the way to it.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// Whom to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// Nothing is on the air there.
    #[error("nothing is on the air at {0}")]
    NotOnAir(String),
    /// The server has no such playlist, or does not give it.
    #[error("{url} answers {status}")]
    Status {
        /// What was asked for.
        url: Url,
        /// Such as 404.
        status: u16,
    },
    /// What came is no playlist, or one that is not read.
    #[error("{url}: {error}")]
    Playlist {
        /// Where it came from.
        url: Url,
        /// What is wrong with it.
        error: ParseError,
    },
    /// A playlist names something that is no address.
    #[error("{url} names {uri:?}, which is no address")]
    Reference {
        /// The playlist.
        url: Url,
        /// What it names.
        uri: String,
    },
    /// The list has no tracks, or too many.
    #[error("{url} lists {count} tracks; 1 to {TRACKS_MAX} can be followed")]
    Tracks {
        /// The playlist, or the catalog's place.
        url: String,
        /// How many it has.
        count: usize,
    },
    /// No session with a MoQ server.
    #[error(transparent)]
    Moq(#[from] ClientError),
    /// The MoQ server does not give what was asked for.
    #[error("{address} does not give {what}: {denial}")]
    Denied {
        /// Where.
        address: String,
        /// A track, or a list.
        what: String,
        /// Why.
        denial: Box<Denial>,
    },
    /// The MoQ server sends us where we do not go.
    #[error("{address} says that it is {place}{}", words(*.often))]
    Elsewhere {
        /// Where.
        address: String,
        /// Where it sends us.
        place: String,
        /// It has done so before.
        often: bool,
    },
    /// What was followed over MoQ came to an end that was none.
    #[error("{address}: {problem}")]
    Broken {
        /// Where.
        address: String,
        /// In words.
        problem: String,
    },
    /// There is more than one broadcast, and the address does not say which.
    #[error("{address} has several broadcasts: name one of them\n{}", .list.join("\n"))]
    Several {
        /// Where.
        address: String,
        /// Addresses of each.
        list: Vec<String>,
    },
    /// What is recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Nobody wants more: not an error for whoever watches.
    #[error("stopped")]
    Stopped,
}

fn words(often: bool) -> &'static str {
    if often { "; we were sent on too often" } else { ", where this can't be asked for" }
}

/// What to watch, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to watch.
    pub url: Address,
    /// Whom to trust over HTTPS and QUIC.
    pub trust: Trust,
    /// Where to begin.
    pub begin: Begin,
    /// Wait for a broadcast that is not on the air yet.
    pub wait: bool,
    /// Keep it in this file.
    pub record: Option<PathBuf>,
}

/// One track that is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackName {
    /// As the playlist or the catalog names it, without `.cmaf`.
    pub name: String,
    /// CODECS of the list, for pictures.
    pub codecs: Option<String>,
    /// Pixels.
    pub size: Option<(u32, u32)>,
}

/// What a list is made of.
struct Begun {
    tracks: Vec<TrackName>,
    /// The followers; they end with this.
    tasks: JoinSet<()>,
    /// How to leave in good order, where that is a thing.
    leave: Option<moq::Leave>,
}

/// How long between two questions whether a broadcast has begun.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// How often the list of a broadcast that has just begun is looked at again, until it is the same twice.
const SETTLE_ROUNDS: u32 = 6;

/// A broadcast that is being watched.
pub struct Watch {
    tracks: Vec<TrackName>,
    events: mpsc::Receiver<Event>,
    /// The followers; they end with this.
    _tasks: JoinSet<()>,
    leave: Option<moq::Leave>,
    measured: Vec<Measured>,
    running: usize,
    recorder: Option<Recorder>,
    begun: Instant,
}

impl Watch {
    /// Finds the tracks and begins to follow each, in a task of its own. Needs a tokio runtime.
    pub async fn begin(options: &Options) -> Result<Self, WatchError> {
        let (sender, events) = mpsc::channel(EVENTS_WAITING);
        let Begun { tracks, tasks, leave } = match &options.url {
            Address::Hls(url) => hls::begin(url, options, sender).await?,
            Address::Moq(address) => moq::begin(address, options, sender).await?,
        };
        let recorder = options.record.clone().map(|path| Recorder::new(path, tracks.len()));
        let measured = tracks.iter().map(|_| Measured::default()).collect();
        let running = tracks.len();
        let begun = Instant::now();
        Ok(Self { tracks, events, _tasks: tasks, leave, measured, running, recorder, begun })
    }

    /// What is followed.
    pub fn tracks(&self) -> &[TrackName] {
        &self.tracks
    }

    /// Watches to the end, or until `stop` is ready, and hands out what was measured once a second.
    pub async fn run(
        &mut self,
        stop: impl Future<Output = ()>,
        second: impl FnMut(&Report),
    ) -> Result<(), WatchError> {
        let watched = self.follow(stop, second).await;
        if let Some(leave) = self.leave.take() {
            leave.run().await;
        }
        watched
    }

    async fn follow(
        &mut self,
        stop: impl Future<Output = ()>,
        mut second: impl FnMut(&Report),
    ) -> Result<(), WatchError> {
        let mut stop = std::pin::pin!(stop);
        let mut tick = tokio::time::interval_at(
            tokio::time::Instant::now() + Duration::from_secs(1),
            Duration::from_secs(1),
        );
        while self.running > 0 {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.take(event)?,
                    None => break,
                },
                _ = tick.tick() => second(&self.report()),
                () = &mut stop => break,
            }
        }
        Ok(())
    }

    /// What was measured so far; of each track's rate, since the last report.
    pub fn report(&mut self) -> Report {
        let tracks = self.measured.iter_mut().map(Measured::report).collect();
        Report { watched: self.begun.elapsed(), tracks }
    }

    /// What was measured in all, and the files that were recorded.
    pub fn finish(self) -> Result<(Report, Vec<PathBuf>), WatchError> {
        let tracks = self.measured.iter().map(Measured::total).collect();
        let report = Report { watched: self.begun.elapsed(), tracks };
        let files = self.recorder.map(Recorder::finish).transpose()?;
        Ok((report, files.unwrap_or_default()))
    }

    fn take(&mut self, event: Event) -> Result<(), WatchError> {
        let Some(measured) = self.measured.get_mut(event.track) else { return Ok(()) };
        match event.what {
            What::Media(media) => {
                if let Some(recorder) = &mut self.recorder {
                    recorder.media(event.track, media.number, &media.init, &media.bytes)?;
                }
                measured.media(&media);
            }
            What::Gap => measured.total_mut().gaps += 1,
            What::Discontinuity => measured.discontinuity(),
            What::Lost(n) => measured.total_mut().lost += n,
            What::Hole => measured.total_mut().holes += 1,
            What::Ended => {
                self.running -= 1;
                if let Some(recorder) = &mut self.recorder {
                    recorder.ended(event.track)?;
                }
            }
            What::Failed(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
