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
use deliver::limits::LEVEL_AGAIN;
use deliver::{Library, PastLevel, PastLevels, uid_of};
use encode::Failed;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use media::catalog::Catalog;
use media::properties::{PairsWriter, TIMESCALE};
use package::{CATALOG, INIT, Rendition};
use record::{Extent, File, History, PastGroup, Recording, is_recorded};
use spine::{
    Absence, Close, FetchProducer, FetchRequest, Header, Location, NodeId, Order, Origin, Path,
    Request, Route, Takeover, TrackInfo, TrackName, broadcast, track,
};

use crate::limits::{
    PAST_ANSWERS, PAST_BROADCASTS, PAST_BYTES, PAST_LEVEL_TRIED, PAST_LEVELS_AGAIN,
    PAST_LEVELS_WAIT, PAST_WAITING,
};

/// After what is in memory, before nothing.
const COST: u32 = 100;

/// How often it is looked whether anybody still wants an answer that nobody reads.
const LOOK: Duration = Duration::from_secs(1);

/// Broadcasts that are over, as far as somebody watches them.
pub(crate) struct Past {
    origin: Origin,
    library: Arc<Library>,
    kept: Mutex<BTreeMap<String, Kept>>,
    /// One at a time is made: of two who are first, one would take the other's away.
    making: tokio::sync::Mutex<()>,
}

struct Kept {
    broadcast: broadcast::Producer,
    tracks: Vec<track::Producer>,
    /// Its catalog, while there are levels that are not in it.
    unlisted: Option<track::Producer>,
    /// When it was tried to list them.
    listed: Instant,
    used: Instant,
}

/// What a catalog shall say.
struct Listed {
    catalog: Option<Catalog>,
    levels: Vec<PastLevel>,
    /// No level is missing.
    whole: bool,
}

impl Kept {
    /// A track without media, which has these segments.
    fn add(
        &mut self,
        name: &str,
        rendition: &Rendition,
        timescale: Option<u32>,
    ) -> anyhow::Result<()> {
        let (Some(first), Some(last)) = (rendition.segments.front(), rendition.segments.back())
        else {
            return Ok(());
        };
        let its_own = || rendition.segments.iter().map(|s| s.info.timescale).find(|t| *t > 0);
        let timescale = timescale.or_else(its_own);
        let properties =
            PairsWriter::default().number(TIMESCALE, timescale.unwrap_or(1).into()).finish();
        let info = TrackInfo { timescale, properties, ..TrackInfo::default() };
        let track = self.broadcast.track(TrackName::new(name.to_owned())?, info)?;
        let object = (last.parts.len() as u64).saturating_sub(1);
        track.saw(Location { group: last.number, object });
        // The video begins with it: nothing was ever before.
        if let Some(before) = first.number.checked_sub(1) {
            track.gap(0..=before);
        }
        track.end(Close::Ended);
        self.tracks.push(track);
        Ok(())
    }

    /// Lists the levels that are missing. The first catalog is as good as it can be; the last one has them all.
    fn list(&mut self, recording: &Recording, listed: &Listed) -> anyhow::Result<()> {
        let Some(track) = self.unlisted.clone() else { return Ok(()) };
        for level in &listed.levels {
            let is_it = |track: &track::Producer| track.name().as_str() == Some(&level.name);
            let rendition = recording.index.rendition(&level.original);
            // Levels have the segments of their originals.
            if let Some(rendition) = rendition.filter(|_| !self.tracks.iter().any(is_it)) {
                self.add(&level.name, rendition, level.timescale)?;
            }
        }
        let written = track.consume().largest();
        if let Some(catalog) = listed.catalog.as_ref().filter(|_| listed.whole || written.is_none())
        {
            let next = written.map_or(0, |last| last.group + 1);
            object(&track, next, catalog.to_json(), Instant::now())?;
        }
        if listed.whole {
            track.end(Close::Ended);
            self.tracks.extend(self.unlisted.take());
        }
        Ok(())
    }
}

impl Past {
    /// A recording that is deleted ends here, too.
    pub(crate) fn new(library: Arc<Library>) -> Arc<Self> {
        let limits = spine::Limits { cache_bytes: PAST_BYTES, ..spine::Limits::default() };
        let (kept, making) = (Mutex::default(), tokio::sync::Mutex::default());
        let past = Arc::new(Self { origin: Origin::new(limits), library, kept, making });
        let broadcasts = Arc::downgrade(&past);
        past.history().on_delete(move |video| {
            let past = broadcasts.upgrade();
            // Its producer is dropped outside of the lock, and with it what is in memory.
            drop(past.and_then(|past| past.kept().remove(video.as_str())));
        });
        past
    }

    fn history(&self) -> &Arc<History> {
        self.library.history()
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The broadcast of this namespace, if it is a recording's.
    pub(crate) async fn find(&self, path: Path) -> Option<broadcast::Consumer> {
        let uid = uid_of(&path).filter(|_| path.fields().len() == 2)?;
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
            let now = Instant::now();
            kept.used = now;
            // Who comes meanwhile does not wait for what can't be said.
            if kept.unlisted.is_none() || now < kept.listed + PAST_LEVELS_AGAIN {
                return Some(kept.broadcast.consume());
            }
            kept.listed = now;
        }
        let listed = self.listed(&recording).await;
        // Somebody may have asked for it meanwhile.
        let _making = self.making.lock().await;
        let there = self.kept().remove(uid);
        let made = match there {
            Some(mut kept) => {
                kept.used = Instant::now();
                // Who reads it has it as it is.
                if let Err(error) = kept.list(&recording, &listed) {
                    tracing::warn!(%video, %error, "levels of a recording are not offered");
                }
                Ok(kept)
            }
            None => self.make(&path, &recording, &listed).await,
        };
        let kept = made
            .inspect_err(|error| tracing::warn!(%video, %error, "can't offer a recording"))
            .ok()?;
        let consumer = kept.broadcast.consume();
        self.keep(uid, kept);
        // Who deleted it meanwhile found nothing here to delete.
        if matches!(self.history().recording(&video).await, Ok(None)) {
            let deleted = self.kept().remove(uid);
            drop(deleted);
            return None;
        }
        Some(consumer)
    }

    fn keep(&self, uid: &str, one: Kept) {
        let mut all = self.kept();
        all.insert(uid.to_owned(), one);
        while all.len() > PAST_BROADCASTS {
            let oldest = all.iter().min_by_key(|(_, kept)| kept.used).map(|(uid, _)| uid.clone());
            oldest.map(|uid| all.remove(&uid));
        }
    }

    /// Its catalog, and the levels in it. What an encoder does not say soon is missing, for now.
    async fn listed(&self, recording: &Arc<Recording>) -> Listed {
        let catalog = recording.catalog.as_deref().and_then(|json| Catalog::parse(json).ok());
        let catalog = catalog.map(|catalog| over(catalog, recording));
        let mut listed = Listed { catalog, levels: Vec::new(), whole: true };
        let levels = PastLevels::of(&self.library, recording);
        if let (Some(catalog), Some(levels)) = (&mut listed.catalog, levels) {
            let list = levels.list(catalog, &mut listed.levels);
            listed.whole = tokio::time::timeout(PAST_LEVELS_WAIT, list).await.unwrap_or(false);
        }
        listed
    }

    /// Tracks without media: what is asked of them is read then.
    async fn make(
        &self,
        path: &Path,
        recording: &Recording,
        listed: &Listed,
    ) -> anyhow::Result<Kept> {
        let route = Route::local(NodeId(0), 0);
        let broadcast = self.origin.publish(path, route, Takeover::Replace)?;
        let now = Instant::now();
        let (tracks, unlisted) = (Vec::new(), None);
        let mut kept = Kept { broadcast, tracks, unlisted, listed: now, used: now };
        let mut inits = Vec::new();
        for (name, rendition) in recording.index.renditions() {
            kept.add(name, rendition, None)?;
            inits.extend(rendition.segments.iter().filter(|s| !s.info.gap).map(|s| s.info.init));
        }
        inits.sort_unstable();
        inits.dedup();
        let pinned = || TrackInfo { pinned: true, ..TrackInfo::default() };
        let init = kept.broadcast.track(INIT, pinned())?;
        for id in inits {
            let file = File::Init(id);
            if let Some(bytes) = self.history().file(&recording.video.uid, "", file).await? {
                object(&init, id, bytes, now)?;
            }
        }
        init.end(Close::Ended);
        kept.tracks.push(init);
        kept.unlisted = Some(kept.broadcast.track(CATALOG, pinned())?);
        kept.list(recording, listed)?;
        Ok(kept)
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

    /// Those who make the levels of what an input has on the air, or else of this video.
    async fn levels(&self, input: &str, video: &VideoUid) -> Option<PastLevels> {
        if let Some(shelf) = self.library.of_input(input) {
            return PastLevels::on_air(&self.library, &shelf);
        }
        let recording = self.history().recording(video).await.ok()??;
        PastLevels::of(&self.library, &recording)
    }

    async fn answer(&self, request: FetchRequest) {
        let Some(uid) = uid_of(request.path()) else { return };
        let on_air = self.library.on_air_video(uid);
        let Ok(video) = VideoUid::parse(on_air.as_deref().unwrap_or(uid)) else { return };
        let Some(name) = request.name().as_str().map(str::to_owned) else { return };
        let mut level = None;
        let extent = match is_recorded(&name) {
            true => self.history().extent(&video).await,
            false => {
                level = self.levels(uid, &video).await;
                let extent = level.as_ref().and_then(|levels| levels.extent(&name));
                Ok(extent.map(|(first, last)| Extent { first, last }))
            }
        };
        let extent = match extent {
            Ok(Some(extent)) => extent,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%video, %error, "can't read an index"),
        };
        let (start, end) = request.range().into_inner();
        let order = request.order();
        let mut reading =
            Reading { past: self, video, name, level, start, end, order, answer: request.accept() };
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
    /// Of a level: those who make it.
    level: Option<PastLevels>,
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
        let records = match self.level {
            Some(_) => Vec::new(),
            None => self.past.history().indexed(&self.video, from..=to).await?,
        };
        let ordered: Vec<u64> = match self.order {
            Order::Ascending => (from..=to).collect(),
            Order::Descending => (from..=to).rev().collect(),
        };
        for number in ordered {
            self.room().await?;
            let whole = match (&self.level, records.iter().find(|r| r.number == number)) {
                (Some(_), _) => self.made(number).await?,
                (None, None) => false,
                (None, Some(record)) => {
                    let group =
                        self.past.history().objects(&self.video, &self.name, record).await?;
                    match group {
                        PastGroup::Whole(objects) => {
                            for object in objects {
                                self.put(
                                    number,
                                    object.id,
                                    object.properties,
                                    vec![object.payload],
                                );
                            }
                            true
                        }
                        PastGroup::Lost => false,
                    }
                }
            };
            if !whole {
                self.answer.gap(number, number, Absence::Unknown);
            }
        }
        Ok(match self.order {
            Order::Ascending => (to < last).then(|| (to + 1, last)),
            Order::Descending => (from > first).then(|| (first, from - 1)),
        })
    }

    /// A segment of a level, asked for again while all encoders are busy. False if none of it is to be had.
    async fn made(&mut self, number: u64) -> Result<bool, Stop> {
        let mut tried = 1;
        loop {
            let mut any = false;
            let Some(failed) = self.parts(number, &mut any).await? else { return Ok(true) };
            if any || !failed.is_passing() || tried >= PAST_LEVEL_TRIED {
                if any || failed != Failed::NoOriginal {
                    tracing::warn!(video = %self.video, level = self.name, number, %failed, "a level has a hole");
                }
                return Ok(any);
            }
            tried += 1;
            tokio::select! {
                () = tokio::time::sleep(LEVEL_AGAIN) => {}
                () = self.unwanted() => return Err(Stop::Unwanted),
            }
        }
    }

    /// Part by part as it is made; why it does not go on, if that is not its end.
    async fn parts(&mut self, number: u64, any: &mut bool) -> Result<Option<Failed>, Stop> {
        let Some(level) = &self.level else { return Ok(Some(Failed::NoOriginal)) };
        let mut group = match level.group(&self.name, number) {
            Ok(group) => group,
            Err(failed) => return Ok(Some(failed)),
        };
        loop {
            let part = tokio::select! {
                part = group.next() => part,
                () = self.unwanted() => return Err(Stop::Unwanted),
            };
            match part {
                Ok(Some(part)) => self.put(number, part.id, part.properties, part.pieces),
                Ok(None) => return Ok(None),
                Err(failed) => return Ok(Some(failed)),
            }
            *any = true;
        }
    }

    fn put(&mut self, number: u64, id: u64, properties: Bytes, pieces: Vec<Bytes>) {
        let at = Location { group: number, object: id };
        if at < self.start || at > self.end {
            return;
        }
        let header = Header { properties, ..Header::new(id, Instant::now()) };
        let budget = self.answer.budget();
        let pieces = pieces.into_iter().map(|piece| budget.payload(piece)).collect();
        self.answer.object(number, header, pieces);
    }

    /// Until nobody wants the answer.
    async fn unwanted(&self) {
        while self.answer.is_wanted() {
            tokio::time::sleep(LOOK).await;
        }
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
    // Those that were live began with what another encoder said, perhaps: they are listed anew.
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
