//! Watching a broadcast over HLS and LL-HLS: what a player would load, in numbers.
//!
//! ```text
//! playlist(s) --> Follower, a task a track --> Event --> Watch: counts, records, reports once a second
//! ```

mod http;
mod measure;
mod record;
mod track;
mod url;

use std::future::Future;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use package::hls::{Multivariant, ParseError, Playlist};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use http::HttpError;
pub use measure::{Report, TrackReport};
pub use record::RecordError;
pub use track::Begin;
pub use url::{Url, UrlProblem};

use crate::limits::{EVENTS_WAITING, TRACKS_MAX};
use crate::trust::{Trust, TrustError};
use http::Http;
use measure::Measured;
use record::Recorder;
use track::{Event, Follower, What};

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
    NotOnAir(Url),
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
        /// The playlist.
        url: Url,
        /// How many it has.
        count: usize,
    },
    /// What is recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Nobody wants more: not an error for whoever watches.
    #[error("stopped")]
    Stopped,
}

/// What to watch, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Of a page, a broadcast or a playlist.
    pub url: Url,
    /// Whom to trust over HTTPS.
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
    /// As the playlist names it.
    pub name: String,
    /// CODECS of the list, for pictures.
    pub codecs: Option<String>,
    /// Pixels.
    pub size: Option<(u32, u32)>,
    url: Url,
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
    measured: Vec<Measured>,
    running: usize,
    recorder: Option<Recorder>,
    begun: Instant,
}

impl Watch {
    /// Finds the tracks and begins to follow each, in a task of its own. Needs a tokio runtime.
    pub async fn begin(options: &Options) -> Result<Self, WatchError> {
        let tls = options.trust.connector()?;
        let mut http = Http::new(tls.clone());
        let playlist = options.url.playlist().map_err(|_| WatchError::Reference {
            url: options.url.clone(),
            uri: options.url.path.clone(),
        })?;
        let mut tracks = loop {
            match tracks(&mut http, &playlist).await {
                Err(WatchError::NotOnAir(_)) if options.wait => tokio::time::sleep(ASK_AGAIN).await,
                found => break found?,
            }
        };
        // A broadcast that has just begun lists its tracks as they come.
        for _ in 0..if options.wait { SETTLE_ROUNDS } else { 0 } {
            tokio::time::sleep(ASK_AGAIN).await;
            let again = self::tracks(&mut http, &playlist).await?;
            let same = again.len() == tracks.len();
            tracks = again;
            if same {
                break;
            }
        }
        let (sender, events) = mpsc::channel(EVENTS_WAITING);
        let mut tasks = JoinSet::new();
        for (i, track) in tracks.iter().enumerate() {
            let http = Http::new(tls.clone());
            let follower = Follower::new(i, track.url.clone(), http, sender.clone());
            // Recording takes all there is.
            let begin = if options.record.is_some() { Begin::Oldest } else { options.begin };
            tasks.spawn(follower.run(begin));
        }
        let recorder = options.record.clone().map(|path| Recorder::new(path, tracks.len()));
        let measured = tracks.iter().map(|_| Measured::default()).collect();
        let running = tracks.len();
        let begun = Instant::now();
        Ok(Self { tracks, events, _tasks: tasks, measured, running, recorder, begun })
    }

    /// What is followed.
    pub fn tracks(&self) -> &[TrackName] {
        &self.tracks
    }

    /// Watches to the end, or until `stop` is ready, and hands out what was measured once a second.
    pub async fn run(
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

/// The tracks of a broadcast: of each rendition once, pictures first.
async fn tracks(http: &mut Http, playlist: &Url) -> Result<Vec<TrackName>, WatchError> {
    let answer = http.get(playlist).await?;
    match answer.status {
        200 => {}
        204 => return Err(WatchError::NotOnAir(playlist.clone())),
        status => return Err(WatchError::Status { url: playlist.clone(), status }),
    }
    let url = answer.url;
    let text = String::from_utf8_lossy(&answer.body);
    let list = match Playlist::parse(&text) {
        Ok(list) => list,
        Err(error) => return Err(WatchError::Playlist { url, error }),
    };
    let tracks = match list {
        Playlist::Media(_) => {
            vec![TrackName { name: name_of(&url.path), codecs: None, size: None, url }]
        }
        Playlist::Multivariant(list) => listed(&list, &url)?,
    };
    match tracks.len() {
        1..=TRACKS_MAX => Ok(tracks),
        count => Err(WatchError::Tracks { url: playlist.clone(), count }),
    }
}

fn listed(list: &Multivariant, url: &Url) -> Result<Vec<TrackName>, WatchError> {
    let mut tracks: Vec<TrackName> = Vec::new();
    let variants = list.variants.iter().map(|v| (&v.uri, v.codecs.clone(), v.resolution));
    let audio = list.renditions.iter().filter(|r| r.kind == "AUDIO");
    for (uri, codecs, size) in variants.chain(audio.map(|r| (&r.uri, None, None))) {
        let own = url
            .join(uri)
            .map_err(|_| WatchError::Reference { url: url.clone(), uri: uri.clone() })?;
        // A variant stands once for each group of sound.
        if !tracks.iter().any(|t| t.url == own) {
            tracks.push(TrackName { name: name_of(&own.path), codecs, size, url: own });
        }
    }
    Ok(tracks)
}

/// `video` of `/ID/manifest/video.cmaf.m3u8?query`.
fn name_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = name.trim_end_matches(".m3u8");
    name.strip_suffix(".cmaf").unwrap_or(name).to_owned()
}
