//! Following one media playlist: what is new is loaded, what is not there is counted.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use media::date::parse_date_time;
use media::fmp4::is_empty_fragment;
use package::hls::{MediaPlaylist, PlaylistSegment};
use tokio::sync::mpsc;

use super::WatchError;
use super::http::{Http, HttpError};
use super::url::Url;
use crate::limits::{RETRIES, RETRY_AFTER};

/// Where following begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At the newest segment: what happens from now on.
    Live,
    /// With the oldest segment that is listed.
    Oldest,
    /// At the start of the broadcast, as far as there is anything left of it.
    Start,
    /// So long before the newest segment began.
    Back(Duration),
}

/// Something of one track.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) track: usize,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    /// A segment or a part of one has come.
    Media(Media),
    /// A segment that nobody has: the list says so.
    Gap,
    /// The time line begins anew with the next segment.
    Discontinuity,
    /// So many segments were listed, or should have been, and could not be loaded.
    Lost(u64),
    /// Something is missing, or may be, and nobody can say how much: a group of a MoQ track was cut.
    Hole,
    /// The track is over.
    Ended,
    /// It can't be followed on.
    Failed(WatchError),
}

/// A segment or a part of one.
#[derive(Debug)]
pub(super) struct Media {
    /// Of its segment.
    pub(super) number: u64,
    /// The whole segment, or only a part.
    pub(super) part: bool,
    /// The initialisation segment that it belongs to; empty if there is none.
    pub(super) init: Bytes,
    pub(super) bytes: Bytes,
    pub(super) seconds: f64,
    /// How old its first frame was when it was announced here; only of what was waited for. Nobody can show it earlier.
    pub(super) latency: Option<Duration>,
    /// How long it took to load.
    pub(super) loaded_in: Duration,
}

/// Follows a playlist until its end.
pub(super) struct Follower {
    track: usize,
    url: Url,
    http: Http,
    events: mpsc::Sender<Event>,
    /// What comes next: the segment's number, and how much of it was taken.
    next: Option<Position>,
    init: (String, Bytes),
    /// The server holds a request until its answer is there (§6.2.5.2).
    blocks: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Position {
    number: u64,
    parts: usize,
    bytes: usize,
    seconds: f64,
}

impl Position {
    fn at(number: u64) -> Self {
        Self { number, parts: 0, bytes: 0, seconds: 0.0 }
    }
}

impl Follower {
    pub(super) fn new(track: usize, url: Url, http: Http, events: mpsc::Sender<Event>) -> Self {
        Self { track, url, http, events, next: None, init: Default::default(), blocks: false }
    }

    /// Runs to the end of the track, or until nobody listens.
    pub(super) async fn run(mut self, begin: Begin) {
        let what = match self.follow(begin).await {
            Ok(()) => What::Ended,
            Err(error) => What::Failed(error),
        };
        let _ = self.give(what).await;
    }

    async fn follow(&mut self, begin: Begin) -> Result<(), WatchError> {
        let mut unchanged = None;
        loop {
            let (list, text) = self.reload(unchanged.is_some()).await?;
            let heard = wall_clock_ms();
            if self.next.is_none() {
                self.next = Some(first(&list, begin));
                // What was there before us was not waited for.
                self.take(&list, None).await?;
            } else {
                self.take(&list, Some(heard)).await?;
            }
            if list.ended {
                return Ok(());
            }
            if !list.can_block_reload {
                // §6.3.4: a target duration after a change, half of it after none.
                let same = unchanged.as_ref() == Some(&text);
                let wait = list.target_duration.max(1) as f64 * if same { 0.5 } else { 1.0 };
                tokio::time::sleep(Duration::from_secs_f64(wait)).await;
            }
            unchanged = Some(text);
            if self.events.is_closed() {
                return Ok(());
            }
        }
    }

    async fn reload(&mut self, again: bool) -> Result<(MediaPlaylist, Bytes), WatchError> {
        let url = match self.next {
            Some(next) if again && self.blocks => {
                let wanted = format!("_HLS_msn={}&_HLS_part={}", next.number, next.parts);
                self.url.with(&wanted)
            }
            _ => self.url.clone(),
        };
        let answer = self.load(&url).await?;
        if answer.0 != 200 {
            return Err(WatchError::Status { url: self.url.clone(), status: answer.0 });
        }
        let text = String::from_utf8_lossy(&answer.1);
        let list = MediaPlaylist::parse(&text)
            .map_err(|error| WatchError::Playlist { url: self.url.clone(), error })?;
        self.blocks = list.can_block_reload && list.part_target.is_some();
        Ok((list, answer.1))
    }

    /// Takes what is new. `heard`: when the list came, if it was waited for.
    async fn take(&mut self, list: &MediaPlaylist, heard: Option<u64>) -> Result<(), WatchError> {
        let mut date = None;
        for segment in &list.segments {
            date = start_ms(segment).or(date);
            let Some(next) = self.next else { continue };
            if segment.number >= next.number {
                self.segment(segment, date, heard).await?;
            }
            // Lists need not date every segment.
            date = date.zip(segment.file.as_ref()).map(|(at, (s, _))| at + s * 1_000.0);
        }
        Ok(())
    }

    async fn segment(
        &mut self,
        segment: &PlaylistSegment,
        start_ms: Option<f64>,
        heard: Option<u64>,
    ) -> Result<(), WatchError> {
        let mut next = self.next.unwrap_or(Position::at(segment.number));
        if segment.number > next.number {
            self.give(What::Lost(segment.number - next.number)).await?;
            next = Position::at(segment.number);
        }
        if next.parts == 0 && next.bytes == 0 && segment.discontinuity {
            self.give(What::Discontinuity).await?;
        }
        if segment.gap {
            self.give(What::Gap).await?;
            self.next = Some(Position::at(segment.number + 1));
            return Ok(());
        }
        if !self.initialise(&segment.map).await? {
            self.give(What::Lost(1)).await?;
            self.next = Some(Position::at(segment.number + 1));
            return Ok(());
        }
        let latency = |begin: f64| {
            let begin_ms = start_ms? + begin * 1_000.0;
            Some(Duration::from_secs_f64((heard? as f64 - begin_ms).max(0.0) / 1_000.0))
        };
        // A whole segment of which nothing was taken is one request; else part by part.
        let parts =
            if next.parts == 0 && segment.file.is_some() { &[][..] } else { &segment.parts };
        for part in parts.iter().skip(next.parts) {
            let end = next.seconds + part.duration;
            let loaded = if part.gap { None } else { self.file(&part.uri).await? };
            match loaded {
                Some((bytes, loaded_in)) => {
                    // What stands for a time without a frame is no piece of the segment.
                    if !is_empty_fragment(&bytes) {
                        next.bytes += bytes.len();
                    }
                    self.media(
                        segment.number,
                        true,
                        bytes,
                        part.duration,
                        latency(next.seconds),
                        loaded_in,
                    )
                    .await?;
                }
                None => self.give(What::Lost(1)).await?,
            }
            next.parts += 1;
            next.seconds = end;
            self.next = Some(next);
        }
        let Some((seconds, uri)) = &segment.file else {
            self.next = Some(next);
            return Ok(());
        };
        // Nothing left when all parts were taken; the rest of it when the list has no parts of it any more.
        if next.parts == 0 || segment.parts.len() < next.parts {
            match self.file(uri).await? {
                Some((bytes, loaded_in)) => {
                    let rest = bytes.slice(next.bytes.min(bytes.len())..);
                    let seconds = (seconds - next.seconds).max(0.0);
                    let latency = latency(next.seconds);
                    if !rest.is_empty() {
                        self.media(segment.number, false, rest, seconds, latency, loaded_in)
                            .await?;
                    }
                }
                None => self.give(What::Lost(1)).await?,
            }
        }
        self.next = Some(Position::at(segment.number + 1));
        Ok(())
    }

    async fn media(
        &self,
        number: u64,
        part: bool,
        bytes: Bytes,
        seconds: f64,
        latency: Option<Duration>,
        loaded_in: Duration,
    ) -> Result<(), WatchError> {
        let init = self.init.1.clone();
        self.give(What::Media(Media { number, part, init, bytes, seconds, latency, loaded_in }))
            .await
    }

    /// Loads the initialisation segment, if it is another one than the last; false if it is not there.
    async fn initialise(&mut self, map: &str) -> Result<bool, WatchError> {
        if map != self.init.0 {
            let Some((bytes, _)) = self.file(map).await? else { return Ok(false) };
            self.init = (map.to_owned(), bytes);
        }
        Ok(true)
    }

    /// A file of the list, and how long it took; none if the server does not have it.
    async fn file(&mut self, uri: &str) -> Result<Option<(Bytes, Duration)>, WatchError> {
        let url = self
            .url
            .join(uri)
            .map_err(|_| WatchError::Reference { url: self.url.clone(), uri: uri.to_owned() })?;
        let begun = Instant::now();
        let (status, body) = self.load(&url).await?;
        Ok((status == 200).then(|| (body, begun.elapsed())))
    }

    /// Asks until there is an answer that is not the server's own trouble, a few times.
    async fn load(&mut self, url: &Url) -> Result<(u16, Bytes), WatchError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.http.get(url).await {
                Ok(answer) if answer.status >= 500 && tries < RETRIES => {}
                Ok(answer) => return Ok((answer.status, answer.body)),
                Err(error @ (HttpError::TooLarge(_) | HttpError::Redirect(_))) => {
                    return Err(error.into());
                }
                Err(error) if tries >= RETRIES => return Err(error.into()),
                Err(_) => {}
            }
            tokio::time::sleep(RETRY_AFTER * tries).await;
        }
    }

    async fn give(&self, what: What) -> Result<(), WatchError> {
        let event = Event { track: self.track, what };
        self.events.send(event).await.map_err(|_| WatchError::Stopped)
    }
}

/// The first position: with `Live`, the newest segment that a decoder can begin with. Of a list that has ended it is the first.
fn first(list: &MediaPlaylist, begin: Begin) -> Position {
    let oldest = list.segments.first().map_or(list.sequence, |s| s.number);
    let back = match begin {
        Begin::Back(back) => Some(back.as_secs_f64()),
        Begin::Oldest | Begin::Start => return Position::at(oldest),
        Begin::Live if list.ended => return Position::at(oldest),
        Begin::Live => None,
    };
    if let Some(mut back) = back {
        // Of the newest one it is not known how long it will be.
        for (newer, segment) in list.segments.iter().rev().enumerate() {
            let seconds = segment.file.as_ref().map_or(0.0, |(seconds, _)| *seconds);
            back -= if newer == 0 { 0.0 } else { seconds };
            if back <= 0.0 {
                return Position::at(segment.number);
            }
        }
        return Position::at(oldest);
    }
    let starts = |s: &&PlaylistSegment| s.parts.first().is_none_or(|p| p.independent);
    let newest = list.segments.iter().rev().find(starts).map_or(oldest, |s| s.number);
    Position::at(newest)
}

fn start_ms(segment: &PlaylistSegment) -> Option<f64> {
    segment.date.as_deref().and_then(parse_date_time).map(|ms| ms as f64)
}

fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
