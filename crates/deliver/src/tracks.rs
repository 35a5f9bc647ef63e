//! Levels as tracks of the spine: encoded while somebody subscribes, by the segment as those of HLS. Group and object are
//! those of the original: whoever changes from one to the other finds the same numbers. A level that nobody makes has the past of its
//! original, which is made for who fetches it (`past_levels`).

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use encode::{Failed, Made};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use media::codec::VIDEO_TIMESCALE;
use media::properties::{PairsWriter, TIMESCALE};
use package::{Index, properties};
use spine::{
    Close, Header, Location, Origin, Path, Request, Timing, TrackInfo, TrackRequest, Waiting,
    group, track,
};

use crate::levels::{Levels, Offered};
use crate::library::{Library, uid_of};
use crate::limits::{
    LEVEL_AGAIN, LEVEL_FAILURES_MAX, LEVEL_LAG_SEGMENTS, LEVEL_WAIT, ORIGINAL_WAIT,
};
use crate::originals::original_of;
use crate::shelf::Shelf;
use crate::waiting::{Awaited, Waiter, wait_for};

/// Before those who would have to ask another node.
const COST: u32 = 50;

/// Answers who asks the spine for a level of what is on the air, for ever. Spawns nothing.
pub async fn serve(library: Arc<Library>, origin: Origin) {
    let mut responder = origin.responder(Path::root(), COST);
    let mut made = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = made.next() => {}
            request = poll_fn(|cx| responder.poll(cx)) => {
                // What is dropped is declined.
                if let Request::Track(request) = request
                    && let Some(level) = LevelTrack::begin(&library, request)
                {
                    made.push(level.run());
                }
            }
        }
    }
}

/// A level's track, for as long as its broadcast lasts.
struct LevelTrack {
    levels: Arc<Levels>,
    shelf: Arc<Shelf>,
    /// What it is made of, and called.
    original: String,
    name: String,
    track: track::Producer,
    subscribers: Subscribers,
    newest: Option<Written>,
    /// Segments that failed one after the other.
    failures: u32,
}

/// Whether there are any.
struct Subscribers {
    track: track::Producer,
    waiting: Waiting,
    any: bool,
}

impl Subscribers {
    async fn until(&mut self, any: bool) {
        while self.any != any {
            self.any = poll_fn(|cx| self.track.poll_demand(&mut self.waiting, cx)).await.forward;
        }
    }
}

/// The newest group that was begun.
struct Written {
    number: u64,
    /// Its objects so far, and where they go; none when no more of it comes.
    open: Option<(u64, group::Producer, group::SubgroupProducer)>,
}

/// Why no more of a segment is written.
enum Stop {
    /// Nobody subscribes any more.
    Unwanted,
    /// It can't be made.
    Failed(Failed),
    /// Nobody may write.
    Closed,
}

impl LevelTrack {
    fn begin(library: &Arc<Library>, request: TrackRequest) -> Option<Self> {
        let broadcast = request.broadcast();
        let shelf = library.of_input(uid_of(broadcast.path())?)?;
        let name = request.name().as_str()?.to_owned();
        let shown = shelf.levels(library.levels());
        let (offered, _) = shown.get(&name).filter(|_| shelf.shows(&broadcast))?;
        let timescale = offered.grid().map_or(VIDEO_TIMESCALE, |grid| grid.rate);
        let original = offered.original.clone();
        let properties = PairsWriter::default().number(TIMESCALE, timescale.into()).finish();
        let timescale = Some(timescale);
        let largest = reached(&shelf, &original);
        let info = TrackInfo { timescale, properties, largest, ..TrackInfo::default() };
        let track = request.accept(info).ok()?;
        let subscribers = Subscribers { track: track.clone(), waiting: Waiting::new(), any: false };
        let (levels, newest, failures) = (library.levels().clone(), None, 0);
        Some(Self { levels, shelf, original, name, track, subscribers, newest, failures })
    }

    /// Writes it while it is wanted, to the end of the broadcast.
    async fn run(mut self) {
        loop {
            self.until_wanted().await;
            // The broadcast is over: nobody comes any more, and nothing is made for nobody.
            if !self.subscribers.any {
                return self.over();
            }
            let Some(number) = self.next().await else { return self.over() };
            match self.segment(number).await {
                Ok(()) => self.failures = 0,
                Err(Stop::Unwanted) => {}
                Err(Stop::Closed) => return,
                Err(Stop::Failed(failed)) => {
                    if self.is_given_up(number, failed) {
                        return self.track.end(Close::Internal);
                    }
                    let now = edge(&self.shelf, &self.original);
                    if now.0 < Some(number) {
                        change(&self.shelf, &self.original, now).await;
                    }
                }
            }
        }
    }

    /// All that there is of it can be fetched, whether or not it was made for somebody.
    fn over(&self) {
        if let Some(last) = reached(&self.shelf, &self.original) {
            self.track.saw(last);
        }
        self.track.end(Close::Ended);
    }

    /// What becomes of a segment that failed: its group has a hole, and the next one follows.
    fn is_given_up(&mut self, number: u64, failed: Failed) -> bool {
        let begun = edge(&self.shelf, &self.original).0 >= Some(number);
        // An encoder that is waited for has not begun the next one; it is tried again when it has.
        if failed == Failed::NoOriginal && !begun {
            return false;
        }
        tracing::warn!(video = %self.shelf.about().video, level = self.name, number, %failed, "a level has a hole");
        self.newest = Some(Written { number, open: None });
        self.failures += 1;
        self.failures >= LEVEL_FAILURES_MAX
    }

    /// Until somebody subscribes, or the broadcast is over. Meanwhile nothing is kept that is behind the live edge: who comes does not begin
    /// there. What he fetches of it ends where the original's newest whole segment does.
    async fn until_wanted(&mut self) {
        while !self.subscribers.any {
            let now = edge(&self.shelf, &self.original);
            if self.newest.as_ref().is_none_or(|written| now.0 > Some(written.number)) {
                self.newest = None;
                self.track.clear();
            }
            if let Some(last) = reached(&self.shelf, &self.original) {
                self.track.saw_unread(last);
            }
            if !now.1 {
                return;
            }
            tokio::select! {
                () = self.subscribers.until(true) => {}
                () = change(&self.shelf, &self.original, now) => {}
            }
        }
    }

    /// Which segment is next: the rest of the last one, the one behind it, or the newest; none when the broadcast is over.
    async fn next(&self) -> Option<u64> {
        loop {
            let (newest, more) = edge(&self.shelf, &self.original);
            match (&self.newest, newest) {
                (Some(Written { number, open: Some(_) }), _) => return Some(*number),
                (Some(Written { number, .. }), Some(newest))
                    if number + LEVEL_LAG_SEGMENTS < newest =>
                {
                    return Some(newest);
                }
                // Asked for while it is not there yet: it is made as it comes.
                (Some(Written { number, .. }), newest) if more || Some(*number) < newest => {
                    return Some(number + 1);
                }
                // Behind what was said to be there: the one that is being made, the one before by now, or one that has not begun.
                (None, Some(newest)) => {
                    let said = self.track.consume().largest().map(|last| last.group);
                    let behind = said.map_or(newest, |said| said + 1).min(newest + 1);
                    let is_near = behind + LEVEL_LAG_SEGMENTS >= newest;
                    let next = if is_near { behind } else { newest };
                    return (more || next <= newest).then_some(next);
                }
                (None, None) if more => {
                    change(&self.shelf, &self.original, (newest, more)).await;
                }
                _ => return None,
            }
        }
    }

    /// A segment, part by part as it is made.
    async fn segment(&mut self, number: u64) -> Result<(), Stop> {
        let shown = self.shelf.levels(&self.levels);
        // Of what is sent now there is no such level.
        let (offered, renditions) = shown.get(&self.name).ok_or(Stop::Failed(Failed::Encoder))?;
        let original = original_of(&self.shelf, &offered.original);
        let made = renditions.segment(&original, number, &offered.level).map_err(Stop::Failed)?;
        let init = |original| renditions.init_id(original, &offered.level);
        loop {
            let at = match &self.newest {
                Some(Written { number: n, open: Some((at, ..)) }) if *n == number => *at,
                _ => 0,
            };
            let part = tokio::select! {
                biased;
                part = part_in_time(&made, &self.shelf, &self.original, number, at) => part,
                () = self.subscribers.until(false) => return Err(Stop::Unwanted),
            };
            match part.map_err(Stop::Failed)? {
                Some(pieces) => self.write(number, at, pieces, (offered, init))?,
                None => {
                    self.complete(at);
                    return Ok(());
                }
            }
        }
    }

    fn complete(&mut self, parts: u64) {
        let open = self.newest.as_mut().and_then(|written| written.open.take());
        if let Some((_, group, subgroup)) = open {
            subgroup.fin();
            group.end(parts.checked_sub(1), Instant::now());
        }
    }

    fn write(
        &mut self,
        number: u64,
        at: u64,
        pieces: Vec<Bytes>,
        (offered, init): (&Offered, impl Fn(u64) -> u64),
    ) -> Result<(), Stop> {
        let now = Instant::now();
        let closed = |_| Stop::Closed;
        let described = self.shelf.with_index(|index| describe(index, offered, number, at, init));
        let (timing, properties) = described.ok_or(Stop::Failed(Failed::NoOriginal))?;
        if at == 0 {
            let group = self.track.group(number, now).map_err(closed)?;
            let subgroup = group.subgroup(0, now).map_err(closed)?;
            self.newest = Some(Written { number, open: Some((0, group, subgroup)) });
        }
        let Some((next, _, subgroup)) = self.newest.as_mut().and_then(|w| w.open.as_mut()) else {
            return Ok(());
        };
        let header = Header { timing: Some(timing), properties, ..Header::new(at, now) };
        let budget = self.track.budget();
        let pieces = pieces.into_iter().map(|piece| budget.payload(piece)).collect();
        subgroup.write(header, pieces).map_err(closed)?;
        *next = at + 1;
        Ok(())
    }
}

/// A part of what is being made. Who watches live has no use for one that comes later than it would be waited for over HTTP, counted from
/// when its original went on behind it: that one's pauses are not the encoder's.
async fn part_in_time(
    made: &Made,
    shelf: &Arc<Shelf>,
    original: &str,
    number: u64,
    at: u64,
) -> Result<Option<Vec<Bytes>>, Failed> {
    let part = made.part(usize::try_from(at).unwrap_or(usize::MAX));
    tokio::pin!(part);
    while !is_behind(shelf, original, number, at) {
        tokio::select! {
            biased;
            part = &mut part => return part,
            () = behind(shelf, original, number, at) => {}
        }
    }
    tokio::time::timeout(LEVEL_WAIT, part).await.unwrap_or(Err(Failed::Busy))
}

/// Whether the original has gone on behind this part, or is whole, or has ended.
fn is_behind(shelf: &Shelf, original: &str, number: u64, at: u64) -> bool {
    shelf.with_index(|index| {
        let newest = index.rendition(original).and_then(|r| r.segments.back());
        let reached = |s: &package::Segment| {
            let whole = s.number == number && s.complete;
            whole || (s.number, s.parts.len() as u64) > (number, at + 1)
        };
        index.ended() || newest.is_some_and(reached)
    })
}

/// Until it has. In time or not: it is looked again.
async fn behind(shelf: &Arc<Shelf>, original: &str, number: u64, at: u64) {
    let there = |shelf: &Arc<Shelf>| is_behind(shelf, original, number, at).then_some(());
    if wait_for(shelf, Waiter::NODE, ORIGINAL_WAIT, Awaited::Change, there).await.is_err() {
        tokio::time::sleep(LEVEL_AGAIN).await;
    }
}

/// What an object of a level says of itself: what its original says, but for the initialisation segment.
pub(crate) fn describe(
    index: &Index,
    offered: &Offered,
    number: u64,
    at: u64,
    init: impl Fn(u64) -> u64,
) -> Option<(Timing, Bytes)> {
    let rendition = index.rendition(&offered.original)?;
    let segment = rendition.segment(number)?;
    let grid = offered.grid();
    let regridded = grid.map(|grid| grid.segment(segment));
    let segment = regridded.as_ref().unwrap_or(segment);
    let target_ms = rendition.part_target_ms;
    let target_ms = grid.map_or(target_ms, |grid| grid.part_target_ms(target_ms));
    let at = usize::try_from(at).ok()?.min(segment.parts.len().checked_sub(1)?);
    let part = segment.parts.get(at)?;
    let before: u64 = segment.parts.iter().take(at).map(|p| u64::from(p.duration)).sum();
    let last = segment.complete && at + 1 == segment.parts.len();
    let said = properties::Part {
        duration: part.duration,
        // Each segment of a level is encoded by itself.
        independent: at == 0 || part.independent,
        last,
        closes: last && segment.closes,
        target_ms,
        target_duration: index.target_duration(),
        open: false,
        key_bytes: None,
    };
    let whole = properties::Segment { init: init(segment.info.init), ..segment.info };
    let properties = properties::encode(&said, (at == 0).then_some(&whole));
    let start = i64::try_from(segment.info.start + before).ok()?;
    let timing =
        Timing { decode: start, present: start, duration: part.duration, sync: said.independent };
    Some((timing, properties))
}

/// The newest segment of the original that has begun, and whether more can come.
fn edge(shelf: &Shelf, original: &str) -> (Option<u64>, bool) {
    shelf.with_index(|index| {
        let newest = index.rendition(original).and_then(|r| r.segments.back());
        (newest.map(|s| s.number), !index.ended())
    })
}

/// The last object of the original's newest whole segment. A level has as many.
fn reached(shelf: &Shelf, original: &str) -> Option<Location> {
    shelf.with_index(|index| {
        let segments = index.rendition(original)?.segments.iter().rev();
        let mut whole = segments.filter(|segment| segment.complete && !segment.info.gap);
        let segment = whole.find(|segment| !segment.parts.is_empty())?;
        Some(Location { group: segment.number, object: segment.parts.len() as u64 - 1 })
    })
}

/// Until the edge is another than this. In time or not: it is looked again.
async fn change(shelf: &Arc<Shelf>, original: &str, before: (Option<u64>, bool)) {
    let other = |shelf: &Arc<Shelf>| (edge(shelf, original) != before).then_some(());
    if wait_for(shelf, Waiter::NODE, ORIGINAL_WAIT, Awaited::Change, other).await.is_err() {
        // Too many wait already.
        tokio::time::sleep(LEVEL_AGAIN).await;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use encode::{Kind, Ladder, Level, Program, Renditions, SOFTWARE, Settings};
    use media::catalog::{Init, TrackDescription};
    use media::codec::{Config, VideoCodec, VideoConfig, vpx};
    use package::CATALOG;
    use spine::{Filter, Limits, NodeId, Policy, Route, Start, Takeover, TrackName, broadcast};

    use super::*;
    use crate::levels::ORIGINAL;
    use crate::shelf::{About, Counters};

    pub(crate) const NAME: &str = "video.360p.cmaf";

    /// Levels that are offered, of which no part ever comes: nobody runs who would make them.
    pub(crate) fn levels() -> Arc<Levels> {
        levels_by("airwave-encode decoders h264,aac encoders libx264,libopus,mjpeg")
    }

    /// The same, by a program that says this of itself.
    pub(crate) fn levels_by(words: &str) -> Arc<Levels> {
        let (path, words) = ("/nowhere".into(), words.to_owned());
        let settings = Settings {
            workers: 1,
            memory: u64::MAX,
            cache_bytes: 1 << 20,
            linger: Duration::from_secs(10),
            patience: Duration::from_secs(10),
            silent_max: Duration::from_secs(10),
            allowance: encode::Allowance::default(),
            encoder: SOFTWARE.to_owned(),
            hardware_again: encode::limits::HARDWARE_AGAIN,
            disk: None,
        };
        let levels = Levels::new(Ladder::copy_only(), false);
        levels.ready(Renditions::new(Program { path, words }, settings));
        levels
    }

    pub(crate) fn published() -> (Origin, broadcast::Producer) {
        let origin = Origin::new(Limits::default());
        let path = Path::new(["default", "input"]).unwrap();
        let route = Route::local(NodeId(0), 1);
        let producer = origin.publish(&path, route, Takeover::Refuse).unwrap();
        (origin, producer)
    }

    /// A broadcast with one segment, and this is the end of it.
    fn over() -> Index {
        let mut index = one_segment();
        index.end();
        index
    }

    /// One of which more is to come.
    pub(crate) fn one_segment() -> Index {
        parts(1)
    }

    /// So many parts of it.
    fn parts(count: u64) -> Index {
        let part = properties::Part {
            duration: 90_000,
            independent: true,
            last: false,
            closes: false,
            target_ms: 1_000,
            target_duration: Some(2),
            open: false,
            key_bytes: None,
        };
        let segment = properties::Segment {
            timescale: VIDEO_TIMESCALE,
            epoch: 1,
            wall_clock_ms: 1,
            start: 0,
            discontinuity: false,
            discontinuity_sequence: 0,
            gap: false,
            init: 1,
        };
        let mut index = Index::new();
        for object in 0..count {
            let segment = (object == 0).then_some(segment);
            index.add(ORIGINAL, Location { group: 5, object }, &part, segment, 1_000).unwrap();
        }
        index
    }

    pub(crate) fn shelf(producer: &broadcast::Producer, index: Index) -> Arc<Shelf> {
        let now = Instant::now();
        let catalog = producer.track(CATALOG, TrackInfo::default()).unwrap();
        let subgroup = catalog.group(0, now).unwrap().subgroup(0, now).unwrap();
        subgroup.write(Header::new(0, now), Vec::new()).unwrap();
        let about = About::of_tests();
        let shelf = Shelf::new(about, producer.consume(), Arc::<Counters>::default(), None);
        let (name, width, height) = ("360p".to_owned(), 640, 360);
        let kind = Kind::Pictures { width, height, level_idc: 30 };
        let level = Level { name, max_kbps: 800, share_permille: 500, kind };
        let level = Offered::new(ORIGINAL, level);
        shelf.show(index, Location { group: 0, object: 0 }, vec![level]);
        shelf
    }

    /// Also in the moment after its end, when nothing of the next one is there.
    #[test]
    fn what_comes_behind_the_newest_segment_is_ahead_until_the_broadcast_is_over() {
        let cases = [("on air", one_segment(), [6, 7].as_slice()), ("over", over(), &[])];
        for (input, index, expect) in cases {
            let (_origin, producer) = published();
            let original = original_of(&shelf(&producer, index), ORIGINAL);
            let ahead: Vec<u64> = (0..8).filter(|number| original.is_ahead(*number)).collect();
            assert_eq!(ahead, expect, "{input}");
        }
    }

    /// Nobody makes it. An encoder of the original that pauses is waited for.
    #[tokio::test(start_paused = true)]
    async fn a_part_that_is_not_made_is_waited_for_as_long_as_over_http() {
        let hour = Duration::from_secs(3_600);
        for (words, index, waits) in [
            ("its original goes on", parts(2), Some(LEVEL_WAIT)),
            ("its original has ended", over(), Some(LEVEL_WAIT)),
            ("its original pauses", parts(1), None),
        ] {
            let (_origin, producer) = published();
            let shelf = shelf(&producer, index);
            let name = TrackName::from_static(NAME);
            let track = producer.track(name, TrackInfo::default()).unwrap();
            let start = Start::At(Location { group: 5, object: 0 });
            let _watching = track.consume().subscribe(Filter::from(start), Policy::EVERYTHING);
            let waiting = Waiting::new();
            let subscribers = Subscribers { track: track.clone(), waiting, any: true };
            let (original, name) = (ORIGINAL.to_owned(), NAME.to_owned());
            let levels = levels();
            let (newest, failures) = (None, 0);
            let mut of =
                LevelTrack { levels, shelf, original, name, track, subscribers, newest, failures };
            let began = tokio::time::Instant::now();
            let stopped = tokio::time::timeout(hour, of.segment(5)).await;
            let busy = matches!(stopped, Ok(Err(Stop::Failed(Failed::Busy))));
            assert_eq!((busy, stopped.is_ok()), (waits.is_some(), waits.is_some()), "{words}");
            assert_eq!(began.elapsed(), waits.unwrap_or(hour), "{words}");
        }
    }

    /// Whatever waits before: a broadcast whose levels are not in its catalog has none over MoQ.
    #[tokio::test(start_paused = true)]
    async fn what_levels_begin_with_is_asked_for_as_long_as_all_encoders_are_busy() {
        let (_origin, producer) = published();
        let original = original_of(&shelf(&producer, one_segment()), ORIGINAL);
        let levels = levels_by("airwave-encode decoders vp9 encoders libx264");
        let renditions = levels.renditions().unwrap().clone();
        let level = Level {
            name: "360p".to_owned(),
            max_kbps: 800,
            share_permille: 500,
            kind: Kind::Pictures { width: 640, height: 360, level_idc: 30 },
        };
        // Nobody takes up what is begun.
        let busy = (0..).find(|number| renditions.segment(&original, *number, &level).is_err());
        assert!(busy.is_some());
        let record = [1, 0, 0, 0, 0, 10, 0x82, 2, 2, 2, 0, 0];
        let codec = VideoCodec::Vpx(vpx::CodecConfiguration::parse(true, &record).unwrap());
        let (sample_aspect, frame_rate, colour) = (None, None, None);
        let (width, height) = (1_280, 720);
        let video = VideoConfig { codec, width, height, sample_aspect, frame_rate, colour };
        let config = Config::Video(video);
        let data = media::fmp4::init_segment(&config, VIDEO_TIMESCALE);
        let init = Init { id: "1f".to_owned(), data };
        let track = TrackDescription::new(ORIGINAL.to_owned(), &config, None, init);
        let ladder = Ladder::parse(&["360p".to_owned()]);
        let described = levels.described(track, Vec::new(), Some(ladder));
        let hour = Duration::from_secs(3_600);
        let given_up = tokio::time::timeout(hour, described).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }

    #[test]
    fn a_level_that_nobody_watches_ends_with_its_broadcast() {
        let (_origin, producer) = published();
        let (levels, shelf) = (levels(), shelf(&producer, over()));
        assert!(shelf.levels(&levels).get(NAME).is_some(), "it is offered");
        let track = producer.track(TrackName::from_static(NAME), TrackInfo::default()).unwrap();
        let consumer = track.consume();
        let subscribers = Subscribers { track: track.clone(), waiting: Waiting::new(), any: false };
        let (original, name, newest, failures) = (ORIGINAL.to_owned(), NAME.to_owned(), None, 0);
        let run =
            LevelTrack { levels, shelf, original, name, track, subscribers, newest, failures };
        let run = run.run();
        let start = Start::At(Location { group: 5, object: 0 });
        let watching = consumer.subscribe(Filter::from(start), Policy::EVERYTHING);
        // A thread of its own: what spins is never polled again, and no timer of its runtime would end it.
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.unwrap().block_on(run);
            let _ = tell.send(());
        });
        // Whether it has looked meanwhile or not.
        drop(watching);
        told.recv_timeout(Duration::from_secs(10)).unwrap();
        assert_eq!(consumer.ended(), Some(Close::Ended));
        // All that there is of it can be fetched.
        assert_eq!(consumer.largest(), Some(Location { group: 5, object: 0 }));
    }
}
