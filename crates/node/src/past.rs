//! The past over MoQ: recordings as broadcasts that are over, and what memory has no more of those on the air.
//!
//! Both are read from the committed recording by one task, which answers the spine's requests for ranges.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use control::VideoUid;
use deliver::Library;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use media::catalog::Catalog;
use media::properties::{PairsWriter, TIMESCALE};
use package::{CATALOG, INIT};
use record::{File, History, PastGroup, Recording, is_recorded};
use spine::{
    Absence, Close, FetchProducer, FetchRequest, Header, Location, NodeId, Order, Origin, Path,
    Request, Route, Takeover, TrackInfo, TrackName, broadcast, track,
};

use crate::limits::{PAST_ANSWERS, PAST_BROADCASTS, PAST_BYTES, PAST_WAITING};

/// After what is in memory, before nothing.
const COST: u32 = 100;

/// How often it is looked whether anybody still wants an answer that nobody reads.
const LOOK: Duration = Duration::from_secs(1);

/// Broadcasts that are over, as far as somebody watches them.
pub(crate) struct Past {
    origin: Origin,
    library: Arc<Library>,
    kept: Mutex<BTreeMap<String, Kept>>,
}

struct Kept {
    broadcast: broadcast::Producer,
    _tracks: Vec<track::Producer>,
    used: Instant,
}

impl Past {
    pub(crate) fn new(library: Arc<Library>) -> Self {
        let limits = spine::Limits { cache_bytes: PAST_BYTES, ..spine::Limits::default() };
        Self { origin: Origin::new(limits), library, kept: Mutex::default() }
    }

    fn history(&self) -> &Arc<History> {
        self.library.history()
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broadcast of this namespace, if it is a recording's.
    pub(crate) async fn find(&self, path: Path) -> Option<broadcast::Consumer> {
        let [_, uid] = path.fields() else { return None };
        let uid = std::str::from_utf8(uid).ok()?;
        let video = VideoUid::parse(uid).ok()?;
        // Until all of it is committed, one that is over is neither on the air nor a recording.
        self.library.finished(uid).await;
        let recording = match self.history().recording(&video).await {
            Ok(recording) => recording.filter(|r| !r.video.live())?,
            Err(error) => {
                tracing::warn!(%video, %error, "can't read a recording");
                return None;
            }
        };
        if let Some(kept) = self.kept().get_mut(uid) {
            kept.used = Instant::now();
            return Some(kept.broadcast.consume());
        }
        let made = self.make(&path, &recording).await;
        let kept = made
            .inspect_err(|error| tracing::warn!(%video, %error, "can't offer a recording"))
            .ok()?;
        let consumer = kept.broadcast.consume();
        let mut all = self.kept();
        all.insert(uid.to_owned(), kept);
        while all.len() > PAST_BROADCASTS {
            let oldest = all.iter().min_by_key(|(_, kept)| kept.used).map(|(uid, _)| uid.clone());
            oldest.map(|uid| all.remove(&uid));
        }
        Some(consumer)
    }

    /// Tracks without media: what is asked of them is read then.
    async fn make(&self, path: &Path, recording: &Recording) -> anyhow::Result<Kept> {
        let route = Route::local(NodeId(0), 0);
        let broadcast = self.origin.publish(path, route, Takeover::Replace)?;
        let now = Instant::now();
        let mut tracks = Vec::new();
        let mut inits = Vec::new();
        for (name, rendition) in recording.index.renditions() {
            let (Some(first), Some(last)) = (rendition.segments.front(), rendition.segments.back())
            else {
                continue;
            };
            let timescale = rendition.segments.iter().map(|s| s.info.timescale).find(|t| *t > 0);
            let properties =
                PairsWriter::default().number(TIMESCALE, timescale.unwrap_or(1).into()).finish();
            let info = TrackInfo { timescale, properties, ..TrackInfo::default() };
            let track = broadcast.track(TrackName::new(name.to_owned())?, info)?;
            let object = (last.parts.len() as u64).saturating_sub(1);
            track.saw(Location { group: last.number, object });
            // The video begins with it: nothing was ever before.
            if let Some(before) = first.number.checked_sub(1) {
                track.gap(0..=before);
            }
            track.end(Close::Ended);
            tracks.push(track);
            inits.extend(rendition.segments.iter().filter(|s| !s.info.gap).map(|s| s.info.init));
        }
        inits.sort_unstable();
        inits.dedup();
        let init = broadcast.track(INIT, TrackInfo { pinned: true, ..TrackInfo::default() })?;
        for id in inits {
            let file = File::Init(id);
            if let Some(bytes) = self.history().file(&recording.video.uid, "", file).await? {
                object(&init, id, bytes, now)?;
            }
        }
        init.end(Close::Ended);
        let listing =
            broadcast.track(CATALOG, TrackInfo { pinned: true, ..TrackInfo::default() })?;
        if let Some(catalog) = recording.catalog.as_deref().and_then(|c| Catalog::parse(c).ok()) {
            object(&listing, 0, over(catalog, recording).to_json(), now)?;
        }
        listing.end(Close::Ended);
        tracks.extend([init, listing]);
        Ok(Kept { broadcast, _tracks: tracks, used: now })
    }

    /// Answers what is asked of recordings, and of what `live` has no more, for ever.
    pub(crate) async fn run(self: Arc<Self>, live: Origin) {
        let mut of_live = live.responder(Path::root(), COST);
        let mut of_past = self.origin.responder(Path::root(), COST);
        let (mut answers, mut waiting) = (FuturesUnordered::new(), VecDeque::new());
        loop {
            let request = poll_fn(|cx| match of_live.poll(cx) {
                Poll::Pending => of_past.poll(cx),
                ready => ready,
            });
            tokio::select! {
                Some(()) = answers.next() => {}
                request = request => match request {
                    Request::Fetch(request) if waiting.len() < PAST_WAITING => {
                        waiting.push_back(request);
                    }
                    // Declined: others are asked.
                    _ => {}
                },
            }
            while answers.len() < PAST_ANSWERS
                && let Some(request) = waiting.pop_front()
            {
                answers.push(self.answer(request));
            }
        }
    }

    async fn answer(&self, request: FetchRequest) {
        let [_, uid] = request.path().fields() else { return };
        let Ok(uid) = std::str::from_utf8(uid) else { return };
        let on_air = self.library.on_air_video(uid);
        let Ok(video) = VideoUid::parse(on_air.as_deref().unwrap_or(uid)) else { return };
        let Some(name) = request.name().as_str().filter(|name| is_recorded(name)) else { return };
        let name = name.to_owned();
        let extent = match self.history().extent(&video).await {
            Ok(Some(extent)) => extent,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%video, %error, "can't read an index"),
        };
        let (start, end) = request.range().into_inner();
        let order = request.order();
        let mut reading =
            Reading { past: self, video, name, start, end, order, answer: request.accept() };
        match reading.run(extent).await {
            Ok(()) => reading.answer.end(),
            Err(Stop::Unwanted) => {}
            Err(Stop::History(error)) => {
                tracing::warn!(video = %reading.video, %error, "can't read a recording");
            }
        }
    }
}

/// A range that is read.
struct Reading<'a> {
    past: &'a Past,
    video: VideoUid,
    name: String,
    start: Location,
    end: Location,
    order: Order,
    answer: FetchProducer,
}

/// What is left is unknown.
enum Stop {
    /// Nobody wants it any more.
    Unwanted,
    /// It can't be read.
    History(record::HistoryError),
}

impl From<record::HistoryError> for Stop {
    fn from(error: record::HistoryError) -> Self {
        Self::History(error)
    }
}

impl Reading<'_> {
    async fn run(&mut self, extent: record::Extent) -> Result<(), Stop> {
        let (low, high) = (self.start.group, self.end.group);
        let (first, last) = (low.max(extent.first), high.min(extent.last));
        if first > last {
            self.answer.gap(low, high, Absence::Unknown);
            return Ok(());
        }
        // What was before belongs to another broadcast of the input, what is behind is not committed yet.
        let before = (low < first).then(|| (low, first - 1));
        let behind = (high > last).then(|| (last + 1, high));
        let (near, far) = match self.order {
            Order::Ascending => (before, behind),
            Order::Descending => (behind, before),
        };
        if let Some((from, to)) = near {
            self.answer.gap(from, to, Absence::Unknown);
        }
        let mut left = Some((first, last));
        while let Some((from, to)) = left {
            left = self.some(from, to).await?;
        }
        if let Some((from, to)) = far {
            self.answer.gap(from, to, Absence::Unknown);
        }
        Ok(())
    }

    /// Reads as many groups as the index gives at once; answers which are left.
    async fn some(&mut self, first: u64, last: u64) -> Result<Option<(u64, u64)>, Stop> {
        let count = record::limits::PAST_RECORDS;
        let (from, to) = match self.order {
            Order::Ascending => (first, last.min(first.saturating_add(count - 1))),
            Order::Descending => (first.max(last.saturating_sub(count - 1)), last),
        };
        let records = self.past.history().indexed(&self.video, from..=to).await?;
        let ordered: Vec<u64> = match self.order {
            Order::Ascending => (from..=to).collect(),
            Order::Descending => (from..=to).rev().collect(),
        };
        for number in ordered {
            self.room().await?;
            let record = records.iter().find(|record| record.number == number);
            let group = match record {
                Some(record) => {
                    self.past.history().objects(&self.video, &self.name, record).await?
                }
                None => PastGroup::Lost,
            };
            let PastGroup::Whole(objects) = group else {
                self.answer.gap(number, number, Absence::Unknown);
                continue;
            };
            for object in objects {
                let at = Location { group: number, object: object.id };
                if at < self.start || at > self.end {
                    continue;
                }
                let header = Header {
                    properties: object.properties,
                    ..Header::new(object.id, Instant::now())
                };
                let payload = self.answer.budget().payload(object.payload);
                self.answer.object(number, header, vec![payload]);
            }
        }
        Ok(match self.order {
            Order::Ascending => (to < last).then(|| (to + 1, last)),
            Order::Descending => (from > first).then(|| (first, from - 1)),
        })
    }

    async fn room(&mut self) -> Result<(), Stop> {
        loop {
            let room = poll_fn(|cx| self.answer.poll_room(cx));
            if tokio::time::timeout(LOOK, room).await.is_ok() {
                return Ok(());
            }
            if !self.answer.is_wanted() {
                return Err(Stop::Unwanted);
            }
        }
    }
}

/// A group of one object.
fn object(track: &track::Producer, id: u64, bytes: Bytes, now: Instant) -> anyhow::Result<()> {
    let group = track.group(id, now)?;
    let subgroup = group.subgroup(0, now)?;
    let payload = track.budget().payload(bytes);
    subgroup.write(Header { priority: 0, ..Header::new(0, now) }, vec![payload])?;
    subgroup.fin();
    group.end(Some(0), now);
    Ok(())
}

/// The catalog of a broadcast that is over (MSF §5): nothing is live, and how long it is is known. Raw tracks
/// are not recorded.
fn over(mut catalog: Catalog, recording: &Recording) -> Catalog {
    catalog.generated_at = None;
    // Levels of what is over are made by the segment, for who asks over HTTP.
    catalog.tracks.retain(|entry| entry.packaging == "cmaf" && is_recorded(&entry.name));
    let named = |id: &str| catalog.tracks.iter().any(|t| t.init_ref.as_deref() == Some(id));
    catalog.init_data_list.retain(|init| named(&init.id));
    for entry in &mut catalog.tracks {
        entry.is_live = false;
        entry.target_latency = None;
        entry.track_duration = Some(recording.video.duration_ms);
    }
    catalog
}
