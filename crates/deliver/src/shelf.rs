//! A shelf: what is to be had of one broadcast, kept up to date by following its packaged tracks.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use control::VideoUid;
use encode::{Ladder, OriginalBits, Unreadable};
use media::catalog::Catalog;
use media::cmcd::Said;
use media::playback::{self, Playback};
use media::trace::Departures;
use package::dash::Content;
use package::hls::MediaOptions;
use package::limits::LIVE_SEGMENTS;
use package::{CATALOG, INIT, Index, Rendition, Version};
use record::{File, History, HistoryError, Status, is_recorded};
use spine::broadcast::{Consumer, Liveness};
use spine::{
    Cursor, Event, Filter, Location, Policy, Start, SubgroupEvent, SubgroupReader, Waiting, track,
};

use crate::dash::Mpds;
use crate::levels::{KeptBits, Levels, Offered, Shown};
use crate::limits::RENDERINGS_MAX;
use crate::playlist::{codecs, inits_of};
use crate::viewers::{self, Viewers};
use crate::waiting::{Places, Rooms};

/// What a shelf is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The video's uid.
    pub video: String,
    /// The live input's uid.
    pub input: String,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Whether players get LL-HLS unless they ask for something else.
    pub low_latency: bool,
    /// Milliseconds since 1970 when it began.
    pub started_ms: u64,
    /// Whether the number of viewers is a secret.
    pub hide_viewers: bool,
    /// Whether viewers are offered to make clips.
    pub allow_clips: bool,
    /// Levels of its own; none: the node's.
    pub ladder: Option<Ladder>,
}

#[cfg(test)]
impl About {
    pub(crate) fn of_tests() -> Self {
        Self {
            video: "video".to_owned(),
            input: "input".to_owned(),
            name: None,
            low_latency: true,
            started_ms: 0,
            hide_viewers: false,
            allow_clips: false,
            ladder: None,
        }
    }
}

/// What delivery counts.
#[derive(Debug)]
pub struct Counters {
    /// Media playlists rendered. Once a version and form, however many ask.
    pub renderings: AtomicU64,
    /// Playlist requests answered.
    pub playlists: AtomicU64,
    /// Parts and segments sent.
    pub media: AtomicU64,
    /// Bytes of them.
    pub media_bytes: AtomicU64,
    /// Requests that wait now.
    pub parked: Arc<Places>,
    /// Bytes that were read from recordings, or may be at any moment, for who has not taken them.
    pub read: Arc<Places>,
    /// What is sent, for who follows a frame.
    pub departures: Arc<Departures>,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            renderings: AtomicU64::new(0),
            playlists: AtomicU64::new(0),
            media: AtomicU64::new(0),
            media_bytes: AtomicU64::new(0),
            parked: Places::to_wait(),
            read: Places::of_bytes(),
            departures: Arc::default(),
        }
    }
}

/// Where a recorded broadcast's past is.
pub struct Past {
    /// Reads it.
    pub history: Arc<History>,
    /// What an earlier run of the server has committed of it.
    pub index: Index,
    /// How its recorder is doing.
    pub recorder: Arc<Status>,
}

/// One broadcast's playlists and media.
pub struct Shelf {
    about: About,
    broadcast: Consumer,
    counters: Arc<Counters>,
    /// Reads what memory has no more; none if it is not recorded.
    history: Option<Arc<History>>,
    /// Knows what will not be in the recording.
    recorder: Option<Arc<Status>>,
    state: Mutex<State>,
    /// What players say of themselves. A lock of its own: nothing else waits for it.
    playback: Mutex<Playback>,
    /// Where requests wait for changes of the index.
    rooms: Rooms,
    /// Who watches over a connection of its own, not by playlists.
    seats: Arc<AtomicUsize>,
}

/// A place among those who watch, until it is dropped.
pub struct Seat(Arc<AtomicUsize>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the newest catalog is, and how many initialisation segments were learned.
type LevelsOf = (Location, usize);

#[derive(Default)]
struct State {
    index: Index,
    tracks: BTreeMap<String, track::Consumer>,
    renderings: BTreeMap<String, Vec<Rendering>>,
    mpds: Mpds,
    /// Levels as they were when they were last looked at.
    levels: Option<(LevelsOf, Arc<Vec<Offered>>)>,
    original_bits: KeptBits,
    viewers: Viewers,
    ended_at: Option<Instant>,
}

struct Rendering {
    version: Version,
    options: MediaOptions,
    text: Bytes,
}

/// It may be had in a moment.
pub(crate) fn unreadable(video: &VideoUid, error: &HistoryError) -> Unreadable {
    tracing::warn!(%video, %error, "can't read a recording");
    Unreadable
}

impl Shelf {
    /// A shelf with what is committed of its past; [`follow`](Self::follow) fills it.
    pub fn new(
        about: About,
        broadcast: Consumer,
        counters: Arc<Counters>,
        past: Option<Past>,
    ) -> Arc<Self> {
        let (mut state, mut history, mut recorder) = (State::default(), None, None);
        if let Some(past) = past {
            state.index = past.index;
            state.index.close();
            (history, recorder) = (Some(past.history), Some(past.recorder));
        }
        let state = state.into();
        let (playback, rooms, seats) = (Mutex::default(), Rooms::default(), Arc::default());
        Arc::new(Self {
            about,
            broadcast,
            counters,
            history,
            recorder,
            state,
            playback,
            rooms,
            seats,
        })
    }

    /// What it is called.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// Whether it is being recorded.
    pub(crate) fn is_recorded(&self) -> bool {
        self.recorder.is_some()
    }

    /// Whether it goes on without its recorder, which has ended before it.
    pub fn recording_stopped(&self) -> bool {
        self.live() && self.recorder.as_ref().is_some_and(|recorder| recorder.stopped())
    }

    /// As if this track had come.
    #[cfg(test)]
    pub(crate) fn hold(&self, rendition: &str, track: track::Consumer) {
        self.state().tracks.insert(rendition.to_owned(), track);
    }

    /// As if this had come, and a catalog at this location had these levels.
    #[cfg(test)]
    pub(crate) fn show(&self, index: Index, catalog: Location, levels: Vec<Offered>) {
        let mut state = self.state();
        state.index = index;
        state.original_bits = KeptBits::default();
        state.levels = Some(((catalog, 0), Arc::new(levels)));
    }

    /// What delivery counts.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// When it ended, if it has.
    pub fn ended_at(&self) -> Option<Instant> {
        self.state().ended_at
    }

    /// Whether an encoder is on the air.
    pub fn live(&self) -> bool {
        self.ended_at().is_none() && !matches!(self.broadcast.liveness(), Liveness::Ended(_))
    }

    /// A copy of the index as it is.
    pub fn index(&self) -> Index {
        self.state().index.clone()
    }

    pub(crate) fn with_index<R>(&self, f: impl FnOnce(&Index) -> R) -> R {
        f(&self.state().index)
    }

    /// Whether this is the broadcast that it shows.
    pub(crate) fn shows(&self, broadcast: &Consumer) -> bool {
        self.broadcast == *broadcast
    }

    pub(crate) fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The packaged track of a rendition.
    pub(crate) fn track(&self, rendition: &str) -> Option<track::Consumer> {
        self.state().tracks.get(rendition).cloned()
    }

    /// A file that memory has no more, from the recording.
    pub(crate) async fn recorded(
        &self,
        rendition: &str,
        file: File,
    ) -> Result<Option<Bytes>, Unreadable> {
        let Some((history, video)) = self.past() else { return Ok(None) };
        let read = history.file(&video, rendition, file).await;
        let read = read.map_err(|error| unreadable(&video, &error))?;
        if let (None, File::Segment { number, .. } | File::Part { number, .. }) = (&read, file) {
            self.look_for(number).await?;
        }
        Ok(read)
    }

    /// Where its recording is; none if it is not recorded.
    pub(crate) fn past(&self) -> Option<(Arc<History>, VideoUid)> {
        let video = VideoUid::parse(&self.about.video).ok()?;
        Some((self.history.clone()?, video))
    }

    /// What of this number could not be had is a gap if it is gone.
    pub(crate) async fn look_for(&self, number: u64) -> Result<(), Unreadable> {
        let Some((history, video)) = self.past() else { return Ok(()) };
        let gone = history.is_gone(&video, number).await;
        if gone.map_err(|error| unreadable(&video, &error))? {
            self.lose([number]);
        }
        Ok(())
    }

    /// Numbers that are no longer to be had are gaps in all tracks.
    fn lose(&self, numbers: impl IntoIterator<Item = u64>) {
        let index = &mut self.state().index;
        let names: Vec<String> = index.renditions().map(|(name, _)| name.to_owned()).collect();
        for number in numbers {
            names.iter().for_each(|name| index.lose(name, number));
        }
    }

    pub(crate) fn init(&self, id: u64) -> Option<Vec<Bytes>> {
        let track = self.broadcast.get(&INIT)?;
        let object = track.object(Location { group: id, object: 0 }).ok()?;
        Some(object.whole()?.into_iter().map(spine::Payload::into_bytes).collect())
    }

    /// The newest catalog.
    pub fn catalog(&self) -> Option<Catalog> {
        let track = self.broadcast.get(&CATALOG)?;
        let object = track.object(track.largest()?).ok()?;
        let bytes: Vec<u8> = object.whole()?.iter().flat_map(|c| c.to_vec()).collect();
        Catalog::parse(&bytes).ok()
    }

    /// The levels that are offered beside the originals.
    pub(crate) fn levels(&self, of: &Levels) -> Shown {
        let at = self.broadcast.get(&CATALOG).and_then(|track| track.largest());
        let (Some(at), Some(_)) = (at, of.renditions()) else {
            return Shown::new(Arc::default(), of);
        };
        // Those of a server before this one are learned for lists.
        let learned = self.with_mpds(|_, mpds| mpds.contents().len());
        let at = (at, learned);
        let known = self.state().levels.clone().filter(|(known, _)| *known == at);
        let levels = known.map(|(_, levels)| levels).unwrap_or_else(|| {
            let own = self.about.ladder.as_ref();
            let before = codecs(self.with_index(inits_of), |init| {
                let there = self.init(init).map(|pieces| Bytes::from(pieces.concat()));
                let there = there.and_then(|init| Content::from_init(&init));
                let learned = || self.with_mpds(|_, mpds| mpds.contents().get(&init).cloned());
                there.or_else(learned).map(|content| content.codec)
            });
            let levels = self.catalog().map(|c| of.of(&c, own, &before)).unwrap_or_default();
            let levels = Arc::new(levels);
            self.state().levels = Some((at, levels.clone()));
            levels
        });
        Shown::new(levels, of)
    }

    /// Bits a second at most of each level that is offered, by its track, as well as they are known by now.
    pub fn level_bits(&self, of: &Levels) -> Vec<(String, u64)> {
        let shown = self.levels(of);
        let listed = shown.with_bits(&self.about.video, || self.original_bits());
        listed.into_iter().map(|level| (level.offered.name, level.bits.peak)).collect()
    }

    /// Measured bits a second of its tracks, the peak and the mean; nothing unless more is whole than when `seen` was
    /// written.
    pub fn measured(&self, seen: &mut u64) -> Vec<(String, u64, u64)> {
        self.with_index(|index| {
            let newest =
                |r: &Rendition| r.segments.iter().rev().find(|s| s.complete).map(|s| s.number);
            let whole = index.renditions().filter_map(|(_, r)| newest(r)).sum();
            if std::mem::replace(seen, whole) == whole {
                return Vec::new();
            }
            let target = index.target_duration();
            let of = |(name, r): (&str, &Rendition)| {
                let (peak, mean) = r.bitrate(target)?;
                Some((name.to_owned(), peak, mean))
            };
            index.renditions().filter_map(of).collect()
        })
    }

    /// What its original takes.
    pub(crate) fn original_bits(&self) -> OriginalBits {
        let mut state = self.state();
        let State { index, original_bits, .. } = &mut *state;
        original_bits.of(index)
    }

    pub(crate) fn saw_viewer(&self, address: IpAddr, agent: &str, now: Instant) {
        let mut state = self.state();
        let window = window(&state.index);
        state.viewers.saw(address, agent, now, window);
    }

    /// How many watch.
    pub fn viewers(&self, now: Instant) -> usize {
        let mut state = self.state();
        let window = window(&state.index);
        state.viewers.count(now, window) + self.seats.load(Ordering::Relaxed)
    }

    /// Somebody watches over a session of another protocol.
    pub fn seat(&self) -> Seat {
        self.seats.fetch_add(1, Ordering::Relaxed);
        Seat(self.seats.clone())
    }

    /// A player says how it plays.
    pub(crate) fn heard(&self, address: IpAddr, said: &Said, now: Instant) {
        let kbps = self.with_index(peak) / 1_000;
        let kbps = u32::try_from(kbps).unwrap_or(u32::MAX);
        self.playback().heard(viewers::key(address, ""), said, kbps, now);
    }

    /// How it plays, by what players say.
    pub fn playing(&self, now: Instant) -> playback::Report {
        self.playback().report(now)
    }

    fn playback(&self) -> MutexGuard<'_, Playback> {
        self.playback.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The media playlist in this form: rendered once a version, shared by all who ask.
    pub(crate) fn playlist(
        &self,
        rendition: &str,
        options: MediaOptions,
        levels: &Shown,
    ) -> Option<Bytes> {
        let mut state = self.state();
        let version = state.index.version(levels.original(rendition));
        let there = state
            .renderings
            .get(rendition)
            .and_then(|list| list.iter().find(|r| r.version == version && r.options == options));
        if let Some(there) = there {
            return Some(there.text.clone());
        }
        let base = format!("../media/{}", self.about.video);
        let text = levels.render(&state.index, rendition, &base, options)?;
        self.counters.renderings.fetch_add(1, Ordering::Relaxed);
        let text = Bytes::from(text);
        let list = state.renderings.entry(rendition.to_owned()).or_default();
        list.retain(|r| r.version == version);
        if list.len() < RENDERINGS_MAX {
            list.push(Rendering { version, options, text: text.clone() });
        }
        Some(text)
    }

    /// Looks at the index and at what MPDs need besides it, under one lock.
    pub(crate) fn with_mpds<R>(&self, f: impl FnOnce(&Index, &mut Mpds) -> R) -> R {
        let mut state = self.state();
        let State { index, mpds, .. } = &mut *state;
        f(index, mpds)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows the packaged tracks until they end.
    pub async fn follow(self: Arc<Self>) {
        let mut follower = Follower {
            shelf: self.clone(),
            seen: u64::MAX,
            changed: Waiting::new(),
            tracks: Vec::new(),
            catalog: None,
        };
        poll_fn(|cx| follower.poll(cx)).await;
        {
            let mut state = self.state();
            state.index.end();
            state.ended_at = Some(Instant::now());
        }
        self.bump();
    }

    fn bump(&self) {
        self.rooms.changed(|look| self.with_index(look));
    }

    fn apply(&self, rendition: &str, at: Location, properties: &[u8], bytes: u64) {
        let mut state = self.state();
        if let Err(error) = state.index.apply(rendition, at, properties, bytes) {
            tracing::warn!(video = %self.about.video, rendition, ?at, %error, "a part has no place");
        }
        state.index.bound(rendition, LIVE_SEGMENTS);
    }
}

/// Viewers count for three target durations.
fn window(index: &Index) -> Duration {
    Duration::from_secs(u64::from(index.target_duration().unwrap_or(2)) * 3)
}

/// The highest bitrate of what players have now.
fn peak(index: &Index) -> u64 {
    let target = index.target_duration().unwrap_or(2);
    let newest = |r: &package::Rendition| {
        let whole = r.segments.iter().skip(r.window_start(target)).filter(|s| s.complete);
        whole.map(package::Segment::bitrate).max()
    };
    index.renditions().filter_map(|(_, r)| newest(r)).max().unwrap_or(0)
}

struct Follower {
    shelf: Arc<Shelf>,
    seen: u64,
    changed: Waiting,
    tracks: Vec<Followed>,
    /// While it lasts, packaging may still make tracks.
    catalog: Option<Cursor>,
}

struct Followed {
    name: String,
    memory: track::Consumer,
    cursor: Cursor,
    group: Option<SubgroupReader>,
    ended: bool,
}

impl Follower {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let broadcast = self.shelf.broadcast.clone();
        let liveness = loop {
            // Before the tracks: those that came together with the end would be passed over.
            let liveness = broadcast.liveness();
            match broadcast.poll_changed(self.seen, &mut self.changed, cx) {
                Poll::Ready(seen) => self.seen = seen,
                Poll::Pending => break liveness,
            }
            self.add_tracks(&broadcast);
        };
        let now = Instant::now();
        let mut changed = false;
        for track in &mut self.tracks {
            changed |= track.poll(&self.shelf, cx, now);
        }
        if changed {
            self.lose();
            self.shelf.bump();
        }
        let over = matches!(liveness, Liveness::Ended(_)) && self.packaged(cx, now);
        if over && self.tracks.iter().all(|t| t.ended) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// What the recorder lost plays for as long as memory has it; then it is a gap.
    fn lose(&self) {
        let Some(recorder) = &self.shelf.recorder else { return };
        let oldest = self.tracks.iter().filter_map(|t| t.memory.oldest_group()).min();
        let lost = recorder.take_lost(oldest.unwrap_or(0));
        if !lost.is_empty() {
            self.shelf.lose(lost);
        }
    }

    /// Whether packaging is done.
    fn packaged(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        let Some(catalog) = &mut self.catalog else { return true };
        loop {
            match catalog.poll(cx, now) {
                Poll::Ready(Event::End(_)) => {
                    self.catalog = None;
                    return true;
                }
                Poll::Ready(_) => {}
                Poll::Pending => return false,
            }
        }
    }

    fn add_tracks(&mut self, broadcast: &Consumer) {
        if self.catalog.is_none() {
            let start = Start::At(Location { group: 0, object: 0 });
            let subscribe =
                |c: track::Consumer| c.subscribe(Filter::from(start), Policy::EVERYTHING);
            self.catalog = broadcast.get(&CATALOG).map(subscribe);
        }
        for name in broadcast.tracks() {
            // Levels have the index of their original.
            let Some(rendition) = name.as_str().filter(|n| is_recorded(n)) else { continue };
            if self.tracks.iter().any(|t| t.name == rendition) {
                continue;
            }
            let Some(consumer) = broadcast.get(&name) else { continue };
            let memory = consumer.clone();
            let start = Start::At(Location { group: 0, object: 0 });
            let cursor = consumer.subscribe(Filter::from(start), Policy::EVERYTHING);
            let name = rendition.to_owned();
            self.shelf.state().tracks.insert(name.clone(), consumer);
            self.tracks.push(Followed { name, memory, cursor, group: None, ended: false });
        }
    }
}

impl Followed {
    /// Takes what is there; whether the index changed.
    fn poll(&mut self, shelf: &Shelf, cx: &Context<'_>, now: Instant) -> bool {
        let changed = self.follow(shelf, cx, now);
        // What memory had to give back is no longer to be had, unless it is recorded.
        if changed
            && shelf.history.is_none()
            && let Some(oldest) = self.memory.oldest_group()
        {
            shelf.state().index.trim(&self.name, oldest);
        }
        changed
    }

    fn follow(&mut self, shelf: &Shelf, cx: &Context<'_>, now: Instant) -> bool {
        let mut changed = false;
        while !self.ended {
            if let Some(group) = &mut self.group {
                match group.poll(cx) {
                    Poll::Ready(SubgroupEvent::Object(object)) => {
                        let (header, at) = (object.header(), object.location());
                        shelf.apply(&self.name, at, &header.properties, object.len() as u64);
                        changed = true;
                        continue;
                    }
                    Poll::Ready(SubgroupEvent::Fin | SubgroupEvent::Reset(_)) => {
                        self.group = None;
                        continue;
                    }
                    Poll::Pending => return changed,
                }
            }
            match self.cursor.poll(cx, now) {
                Poll::Ready(Event::Subgroup(reader)) => self.group = Some(reader),
                Poll::Ready(Event::End(_)) => self.ended = true,
                Poll::Ready(Event::Skipped { to, .. }) => {
                    shelf.state().index.trim(&self.name, to + 1);
                    changed = true;
                }
                Poll::Ready(Event::Group(_) | Event::GroupEnd { .. } | Event::Datagram(_)) => {}
                Poll::Pending => return changed,
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    use encode::Ladder;
    use package::hls::Reach;
    use package::properties;
    use spine::{Limits, NodeId, Origin, Path, Route, Takeover};

    use super::*;

    #[test]
    fn a_version_is_rendered_once_in_each_form_however_many_ask() {
        let origin = Origin::new(Limits::default());
        let path = Path::new(["default", "input"]).unwrap();
        let producer = origin.publish(&path, Route::local(NodeId(0), 1), Takeover::Refuse).unwrap();
        let about = About::of_tests();
        let shelf = Shelf::new(about, producer.consume(), Arc::<Counters>::default(), None);
        let levels = shelf.levels(&Levels::new(Ladder::copy_only(), false));
        let form = |low_latency, everything| MediaOptions {
            low_latency,
            reach: Reach::of(everything),
            skip: false,
        };
        let forms = [form(true, false), form(false, false), form(true, true)];
        let rendered = || shelf.counters.renderings.load(Ordering::Relaxed);
        let mut texts = std::collections::BTreeSet::new();
        for n in 0..9u64 {
            let part = properties::Part {
                duration: 60_000,
                independent: true,
                last: n % 3 == 2,
                closes: false,
                target_ms: 667,
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let segment = properties::Segment {
                timescale: 90_000,
                epoch: 1,
                wall_clock_ms: n / 3 * 2_000,
                start: 60_000 * n,
                discontinuity: false,
                discontinuity_sequence: 0,
                gap: false,
                init: 7,
            };
            let at = Location { group: 1 + n / 3, object: n % 3 };
            let segment = (n % 3 == 0).then_some(segment);
            shelf.state().index.add("v", at, &part, segment, 1).unwrap();
            let before = rendered();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        for form in forms.iter().cycle().take(300) {
                            shelf.playlist("v", *form, &levels).unwrap();
                        }
                    });
                }
            });
            assert_eq!(rendered() - before, forms.len() as u64, "version {n}");
            texts.insert(shelf.playlist("v", forms[0], &levels).unwrap());
        }
        assert_eq!(texts.len(), 9, "each is another one");
    }
}
