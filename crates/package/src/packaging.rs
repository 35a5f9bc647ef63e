//! The packager on the spine: follows a broadcast's raw tracks and publishes what comes of them as
//! derived tracks: `video.cmaf`, `audio.cmaf`, `init`, and the catalogs of packaged and of raw tracks.

use std::collections::BTreeMap;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::catalog::{Bitrate, Catalog, Description, Edition, Init, Role, TrackDescription};
use media::codec::captions::Embedded;
use media::codec::{Config, Ratio};
use media::properties::{
    DEFAULT_PUBLISHER_PRIORITY, DYNAMIC_GROUPS, GroupStart, PairsWriter, TIMESCALE,
};
use media::{FrameEvent, Frames};
use spine::broadcast::{Consumer, Liveness};
use spine::{
    Budget, Close, Filter, Header, Location, Policy, PublishError, Start, TrackInfo, TrackName,
    Waiting, WriteError, group, track,
};

use crate::limits::INITS;
use crate::packager::{Earlier, Findings, Outputs, Packager, Rules, TrackId};
use crate::rendition::{Frame, Output};

/// The track of initialisation segments: group = id, object 0.
pub const INIT: TrackName = TrackName::from_static("init");
/// The track that lists the packaged tracks.
pub const CATALOG: TrackName = TrackName::from_static("catalog");
/// The track that lists the raw tracks, as LOC.
pub const CATALOG_LOC: TrackName = TrackName::from_static("catalog.loc");

/// Players that follow a catalog live and read no past get it again when they come, at most so often.
const CATALOG_AGAIN: Duration = Duration::from_secs(1);
const CMAF: &str = ".cmaf";

/// Why packaging stopped before the broadcast did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PackagingError {
    /// A derived track can't be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A part can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The encoder changes its configuration all the time.
    #[error("the encoder changed its configuration more than {INITS} times")]
    TooManyConfigurations,
}

/// Which tracks are packaged: those that encoders bring. Returns whether it is video.
pub fn raw_track(name: &TrackName) -> Option<(bool, &str)> {
    let name = name.as_str()?;
    let numbered =
        |word: &str| name.strip_prefix(word).is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
    if numbered("video") { Some((true, name)) } else { numbered("audio").then_some((false, name)) }
}

/// What levels can be made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Original<'a> {
    /// Its track.
    pub track: &'a TrackDescription,
    /// What the pictures beside it begin with: an encoder that sends several brings levels of its own.
    pub beside: Vec<&'a Init>,
}

impl Original<'_> {
    fn inits(&self) -> Vec<String> {
        let beside = self.beside.iter().map(|init| init.id.clone());
        std::iter::once(self.track.init.id.clone()).chain(beside).collect()
    }
}

/// Packages one broadcast for as long as it lasts.
pub struct Packaging {
    broadcast: Consumer,
    seen: u64,
    changed: Waiting,
    packager: Packager,
    sources: Vec<Source>,
    init: track::Producer,
    catalogs: [Listing; 2],
    inits: usize,
    description: BTreeMap<String, TrackDescription>,
    /// Levels by the name of their original, as long as it has this initialisation segment.
    levels: BTreeMap<String, (Vec<String>, Vec<TrackDescription>)>,
    /// What an earlier packaging has said of parts, by packaged track.
    part_targets_ms: BTreeMap<String, u32>,
    /// The ownership of the publisher whose frames are packaged.
    epoch: u64,
    /// Everything that the publisher sent was flushed when it was gone.
    flushed: bool,
    out: Outputs,
}

/// A catalog. Its groups are whole editions; a reader that asks for a new group gets the last one again.
struct Listing {
    track: track::Producer,
    render: fn(&Description, Edition) -> Catalog,
    demand: Waiting,
    /// The last edition, and when it was published.
    last: Option<Bytes>,
    at: Option<Instant>,
    /// A new group is wanted above this one.
    wanted: Option<u64>,
}

struct Source {
    id: TrackId,
    name: String,
    raw: track::Consumer,
    frames: Frames,
    config: Option<Config>,
    /// Bits a second as the publisher says.
    declared: Option<u64>,
    /// What is spoken, as the publisher says.
    language: Option<String>,
    /// Captions that its pictures have had.
    captions: Embedded,
    /// The wall clock at a decode time: where its publisher or its clock began anew.
    wall: (u64, i64),
    /// How long after it is decoded its first picture is shown: as all key pictures, and what others are shown in order by.
    shown_after: Option<i64>,
    packaged: Option<track::Producer>,
    /// How many of its groups stay in memory for those who play live.
    window_groups: usize,
    demand: Waiting,
    open: Option<(group::Producer, group::SubgroupProducer)>,
    /// Frames are missing: what comes does not follow from what was.
    lost: bool,
    /// The first frame of the publisher with this ownership. It waits for what others have of the one before.
    next: Option<(u64, FrameEvent)>,
    /// What lists say of it, while it rests.
    rests: Option<TrackDescription>,
    ended: bool,
}

impl Packaging {
    /// Packages `broadcast` from segment `first` on. Segments carry the epoch of the broadcast's route
    /// at the time when they begin.
    pub fn new(broadcast: Consumer, rules: Rules, first: u64) -> Result<Self, PackagingError> {
        let epoch = broadcast.route().epoch;
        let urgent = |pinned| {
            let pairs = PairsWriter::default().number(DEFAULT_PUBLISHER_PRIORITY, 0);
            let properties = if pinned { pairs } else { pairs.number(DYNAMIC_GROUPS, 1) }.finish();
            let dynamic_groups = !pinned;
            TrackInfo { pinned, priority: 0, dynamic_groups, properties, ..TrackInfo::default() }
        };
        let init = broadcast.derive(INIT, urgent(true))?;
        let listing = |name, render| {
            let track = broadcast.derive(name, urgent(false))?;
            Ok::<_, PublishError>(Listing {
                track,
                render,
                demand: Waiting::new(),
                last: None,
                at: None,
                wanted: None,
            })
        };
        let catalogs = [listing(CATALOG, Catalog::new)?, listing(CATALOG_LOC, Catalog::loc)?];
        Ok(Self {
            broadcast,
            seen: u64::MAX,
            changed: Waiting::new(),
            packager: Packager::new(rules, epoch, first),
            sources: Vec::new(),
            init,
            catalogs,
            inits: 0,
            description: BTreeMap::new(),
            levels: BTreeMap::new(),
            part_targets_ms: BTreeMap::new(),
            epoch,
            flushed: true,
            out: Vec::new(),
        })
    }

    /// The broadcast goes on behind a discontinuity; its earlier packaging is gone.
    #[must_use]
    pub fn go_on_after(mut self, earlier: Earlier) -> Self {
        self.packager.go_on_after(&earlier);
        self.part_targets_ms = earlier.part_targets_ms;
        self
    }

    /// The broadcast that is packaged.
    pub fn broadcast(&self) -> &Consumer {
        &self.broadcast
    }

    /// What was found wrong with the broadcast.
    pub fn findings(&self) -> Findings {
        self.packager.findings()
    }

    /// The number that the next new segment gets.
    pub fn next_number(&self) -> u64 {
        self.packager.next_number()
    }

    /// What levels can be made of: sound, and the first picture.
    pub fn originals(&self) -> impl Iterator<Item = Original<'_>> {
        let is_picture = |track: &&TrackDescription| track.role == Role::Video;
        let pictures = move || self.description.values().filter(is_picture);
        let first = pictures().next();
        let beside = pictures().skip(1).map(|track| &track.init).collect();
        let picture = first.map(|track| Original { track, beside });
        let others = self.description.values().filter(move |track| !is_picture(track));
        picture.into_iter().chain(others.map(|track| Original { track, beside: Vec::new() }))
    }

    /// Somebody makes these levels of an original: the catalog lists them behind it for as long as it has the initialisation
    /// segment that it has there, and those beside it have theirs.
    pub fn offer(
        &mut self,
        original: &Original<'_>,
        levels: Vec<TrackDescription>,
        now: Instant,
    ) -> Result<(), PackagingError> {
        self.levels.insert(original.track.name.clone(), (original.inits(), levels));
        self.list(now)
    }

    /// What was measured of its tracks, by their packaged names: bits a second, the peak and the mean. Catalogs say it from
    /// now on where what they say [is off](Bitrate::is_off).
    pub fn measured(
        &mut self,
        measured: &[(String, u64, u64)],
        now: Instant,
    ) -> Result<(), PackagingError> {
        let mut off = false;
        for (name, peak, mean) in measured {
            let mut tracks = self.description.values_mut();
            let Some(track) = tracks.find(|track| track.name == *name) else { continue };
            let (peak, average) = (Some(*peak), Some(*mean));
            let is = Bitrate { peak, average, ..track.bitrate };
            if Bitrate::is_off(track.bitrate.max(), is.max()) {
                track.bitrate = is;
                off = true;
            }
        }
        if off { self.list(now) } else { Ok(()) }
    }

    /// Does what there is to do; ready when the broadcast is over.
    pub fn poll(&mut self, cx: &Context<'_>, now: Instant) -> Poll<Result<Close, PackagingError>> {
        let (liveness, epoch) = loop {
            // Looked at before the tracks, and again whenever anything changed: tracks that came together with
            // the end would be passed over.
            let (liveness, epoch) = (self.broadcast.liveness(), self.broadcast.route().epoch);
            match self.broadcast.poll_changed(self.seen, &mut self.changed, cx) {
                Poll::Ready(seen) => self.seen = seen,
                Poll::Pending => break (liveness, epoch),
            }
            self.packager.set_epoch(self.broadcast.route().epoch);
            self.add_sources()?;
        };
        // Round and round, a frame of each at a time, as the encoder interleaved them.
        loop {
            let mut progress = false;
            for source in 0..self.sources.len() {
                progress |= self.poll_source(source, cx, now)?;
            }
            if !progress && !self.hand_over(now)? {
                break;
            }
        }
        self.packager.all_taken(&mut self.out);
        self.write(now)?;
        for source in &mut self.sources {
            source.pass_demand(cx);
        }
        for catalog in self.catalogs.iter_mut() {
            if catalog.is_wanted(cx, now) {
                catalog.publish(now)?;
            }
        }
        // Somebody may have come since it was looked at.
        if liveness != Liveness::Live && self.epoch <= epoch {
            self.flush(now)?;
        }
        match liveness {
            Liveness::Ended(why) if self.sources.iter().all(|s| s.ended) => Poll::Ready(Ok(why)),
            _ => Poll::Pending,
        }
    }

    /// Who comes begins when all of who was before is packaged: his first frames wait until no track has any of that.
    fn hand_over(&mut self, now: Instant) -> Result<bool, PackagingError> {
        let comes = self.sources.iter().filter_map(|s| Some(s.next.as_ref()?.0)).max();
        let Some(epoch) = comes else { return Ok(false) };
        self.flush(now)?;
        self.epoch = epoch;
        self.packager.set_epoch(epoch);
        Ok(true)
    }

    fn flush(&mut self, now: Instant) -> Result<(), PackagingError> {
        if !std::mem::replace(&mut self.flushed, true) {
            self.packager.flush(&mut self.out);
            self.write(now)?;
        }
        Ok(())
    }

    fn add_sources(&mut self) -> Result<(), PackagingError> {
        for name in self.broadcast.tracks() {
            let Some((video, text)) = raw_track(&name) else { continue };
            if self.sources.iter().any(|s| s.name == text) {
                continue;
            }
            let Some(raw) = self.broadcast.get(&name) else { continue };
            // Everything from the start: sound that came ahead of the first picture may already be a group back.
            let start = Start::At(Location { group: 0, object: 0 });
            let frames = Frames::new(raw.subscribe(Filter::from(start), Policy::EVERYTHING));
            let id = self.packager.add_track(video);
            if let Some(promised) = self.part_targets_ms.get(&format!("{text}{CMAF}")) {
                self.packager.promise_part_target(id, *promised);
            }
            self.sources.push(Source {
                id,
                name: text.to_owned(),
                raw,
                frames,
                config: None,
                declared: None,
                language: None,
                captions: Embedded::default(),
                wall: (0, 0),
                shown_after: None,
                packaged: None,
                window_groups: 0,
                demand: Waiting::new(),
                open: None,
                lost: false,
                next: None,
                rests: None,
                ended: false,
            });
        }
        Ok(())
    }

    fn poll_source(
        &mut self,
        index: usize,
        cx: &Context<'_>,
        now: Instant,
    ) -> Result<bool, PackagingError> {
        let Some(source) = self.sources.get_mut(index).filter(|s| !s.ended) else {
            return Ok(false);
        };
        if source.next.as_ref().is_some_and(|(epoch, _)| *epoch > self.epoch) {
            return Ok(false);
        }
        let waited = source.next.take().map(|(_, frame)| frame);
        let due = waited.is_some();
        let read = waited.map_or_else(|| source.frames.poll(cx, now), Poll::Ready);
        let (group, header, payload) = match read {
            Poll::Ready(FrameEvent::Frame { group, header, payload }) => (group, header, payload),
            Poll::Ready(FrameEvent::Lost) => {
                source.lost = true;
                return Ok(true);
            }
            Poll::Ready(FrameEvent::End(_)) => {
                source.ended = true;
                return Ok(true);
            }
            Poll::Pending if source.raw.rests() => {
                self.rest(index, now)?;
                return Ok(false);
            }
            Poll::Pending => return Ok(false),
        };
        let Some(timing) = header.timing else { return Ok(true) };
        let start = GroupStart::decode(&header.properties).ok();
        let new = source.config.is_none() || start.as_ref().is_some_and(|s| s.discontinuity);
        if new && !due {
            // Who writes has taken over before.
            let epoch = self.broadcast.route().epoch;
            if epoch > self.epoch {
                source.next = Some((epoch, FrameEvent::Frame { group, header, payload }));
                return Ok(true);
            }
        }
        let lost = std::mem::take(&mut source.lost);
        let mut discontinuity = lost;
        let (id, mut fresh, mut anew, mut declared) = (source.id, None, false, false);
        if let Some(start) = start {
            if new || source.config.as_ref() != Some(&start.config) {
                source.wall = (start.wall_clock_ms, timing.decode);
                source.shown_after = None;
            }
            anew = start.discontinuity;
            discontinuity |= anew;
            declared = (source.declared, &source.language) != (start.bitrate, &start.language);
            (source.declared, source.language) = (start.bitrate, start.language);
            if source.config.as_ref() != Some(&start.config) {
                source.config = Some(start.config.clone());
                fresh = Some(start.config);
            }
        }
        // What a publisher that left has cut short is no hole: the next one says that it begins anew.
        let hole = lost && !anew;
        let Some(config) = &source.config else { return Ok(true) };
        let found = payload.first().map(|piece| Embedded::of(config, piece)).unwrap_or_default();
        let captions = source.captions.or(found);
        let captioned = std::mem::replace(&mut source.captions, captions) != captions;
        // The date of a segment is that of its first picture as it is shown. The one that is decoded first may be shown later: a
        // segment that begins without a key frame has pictures that are shown before.
        let own = timing.present - timing.decode;
        let shown_after = source.shown_after.unwrap_or(own);
        source.shown_after = source.shown_after.or(timing.sync.then_some(own));
        let passed = (timing.decode + shown_after - source.wall.1) * 1000;
        let passed = passed / i64::from(config.timescale());
        let frame = Frame {
            decode: timing.decode,
            present: timing.present,
            duration: timing.duration,
            sync: timing.sync,
            asked: header.id == 0 && source.asked_for(group),
            discontinuity,
            wall_clock_ms: source.wall.0.saturating_add_signed(passed),
            arrived: header.arrived,
            payload,
        };
        self.flushed = false;
        let again = source.rests.take();
        let listed = again.is_some();
        self.description.extend(again.map(|track| (source.name.clone(), track)));
        if let Some(config) = fresh {
            self.packager.configure(id, &config, &mut self.out);
            self.write(now)?;
            self.describe(index, &config, timing.duration, now)?;
        } else if captioned || declared || listed {
            self.say(index, now)?;
        }
        if hole {
            self.packager.lost();
        }
        self.packager.push(id, frame, &mut self.out);
        self.write(now)?;
        Ok(true)
    }

    /// Its publisher has taken it away: its segment ends, and lists leave it out until more comes of it.
    fn rest(&mut self, index: usize, now: Instant) -> Result<(), PackagingError> {
        let Some(source) = self.sources.get_mut(index) else { return Ok(()) };
        let Some(track) = self.description.remove(&source.name) else { return Ok(()) };
        source.rests = Some(track);
        let id = source.id;
        self.packager.rest(id, &mut self.out);
        self.write(now)?;
        self.list(now)
    }

    /// How many groups of a packaged track players are told of, at most: all tracks are cut where pictures are, which are so
    /// more often where their encoder makes key frames when it is asked to, or out of turn.
    fn window_groups(&self) -> usize {
        let asked = self.sources.iter().any(|source| source.raw.info().dynamic_groups);
        let (target, early) = (self.packager.target_duration(), self.packager.is_early());
        self.packager.rules().cut.window_groups(target, asked, early)
    }

    /// A configuration is new: lists change.
    fn describe(
        &mut self,
        index: usize,
        config: &Config,
        frame: u32,
        now: Instant,
    ) -> Result<(), PackagingError> {
        let window = self.window_groups();
        let Some(source) = self.sources.get_mut(index) else { return Ok(()) };
        let Some(init) = self.packager.init(source.id) else { return Ok(()) };
        // There from now on, also while its first part is being made: who records waits for it.
        source.derive(&self.broadcast, window)?;
        let at = Location { group: init, object: 0 };
        let data = self.init.consume().object(at).ok().and_then(|o| o.whole()).unwrap_or_default();
        let data = data.first().cloned().unwrap_or_default().into_bytes();
        let rate = Ratio::new(config.timescale(), frame);
        let name = format!("{}{CMAF}", source.name);
        let init = Init { id: format!("{init:014x}"), data };
        let mut track = TrackDescription::new(name, config, rate, init);
        track.bitrate = Bitrate { declared: source.declared, ..Bitrate::default() };
        track.language.clone_from(&source.language);
        track.captions = source.captions;
        self.description.insert(source.name.clone(), track);
        self.list(now)
    }

    /// Captions have come inside the pictures, or the publisher declares something else: lists say so from now on.
    fn say(&mut self, index: usize, now: Instant) -> Result<(), PackagingError> {
        let Some(source) = self.sources.get(index) else { return Ok(()) };
        let Some(track) = self.description.get_mut(&source.name) else { return Ok(()) };
        track.captions = source.captions;
        track.bitrate.declared = source.declared;
        track.language.clone_from(&source.language);
        self.list(now)
    }

    /// Publishes what there is anew. Catalogs of raw tracks know no levels.
    fn list(&mut self, now: Instant) -> Result<(), PackagingError> {
        // Pictures first; the names sort in the encoder's order.
        let mut tracks: Vec<_> = self.description.values().cloned().collect();
        tracks.sort_by_key(|t| t.alternatives);
        let originals: Vec<Original<'_>> = self.originals().collect();
        let levels = |track: &TrackDescription| {
            let original = originals.iter().find(|original| original.track.name == track.name);
            let levels = original.zip(self.levels.get(&track.name));
            let levels = levels.filter(|(original, (inits, _))| original.inits() == *inits);
            levels.map(|(_, (_, levels))| levels.clone()).unwrap_or_default()
        };
        let behind = |track: &TrackDescription| [vec![track.clone()], levels(track)].concat();
        let with_levels: Vec<_> = tracks.iter().flat_map(behind).collect();
        let edition = Edition {
            generated_at_ms: self.sources.iter().map(|s| s.wall.0).max(),
            live: true,
            target_latency_ms: 1_000,
            duration_ms: None,
            loc: true,
        };
        for (catalog, tracks) in self.catalogs.iter_mut().zip([with_levels, tracks]) {
            let description = Description { tracks };
            catalog.last = Some((catalog.render)(&description, edition).to_json());
            catalog.publish(now)?;
        }
        Ok(())
    }

    /// Publishes what the packager has made.
    fn write(&mut self, now: Instant) -> Result<(), PackagingError> {
        let window = self.window_groups();
        for (track, output) in std::mem::take(&mut self.out) {
            match output {
                Output::Init { id, bytes } => self.write_init(id, bytes, now)?,
                part @ Output::Part { .. } => {
                    let broadcast = &self.broadcast;
                    if let Some(source) = self.sources.iter_mut().find(|s| s.id == track) {
                        source.derive(broadcast, window)?;
                        source.write_part(part, now)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn write_init(&mut self, id: u64, bytes: Bytes, now: Instant) -> Result<(), PackagingError> {
        self.inits += 1;
        if self.inits > INITS {
            return Err(PackagingError::TooManyConfigurations);
        }
        let group = self.init.group(id, now)?;
        let subgroup = group.subgroup(0, now)?;
        let payload = self.init.budget().payload(bytes);
        subgroup.write(Header { priority: 0, ..Header::new(0, now) }, vec![payload])?;
        subgroup.fin();
        group.end(Some(0), now);
        Ok(())
    }
}

impl Listing {
    /// Whether a reader waits for it; called again with every frame, which is often enough.
    fn is_wanted(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        while let Poll::Ready(demand) = self.track.poll_demand(&mut self.demand, cx) {
            self.wanted = demand.new_group_above;
        }
        let Some(at) = self.at else { return false };
        let newest = self.track.next_group_id().checked_sub(1);
        self.wanted.is_some_and(|above| newest <= Some(above))
            && now.saturating_duration_since(at) >= CATALOG_AGAIN
    }

    fn publish(&mut self, now: Instant) -> Result<(), PackagingError> {
        let Some(json) = self.last.clone() else { return Ok(()) };
        let group = self.track.next_group(now)?;
        let subgroup = group.subgroup(0, now)?;
        let payload = self.track.budget().payload(json);
        subgroup.write(Header { priority: 0, ..Header::new(0, now) }, vec![payload])?;
        subgroup.fin();
        group.end(Some(0), now);
        self.at = Some(now);
        Ok(())
    }
}

impl Source {
    /// Who wants a new group of the packaged track wants one of the raw track: segments begin with key frames.
    fn pass_demand(&mut self, cx: &Context<'_>) {
        let Some(packaged) = &mut self.packaged else { return };
        while let Poll::Ready(demand) = packaged.poll_demand(&mut self.demand, cx) {
            let newest = packaged.next_group_id().checked_sub(1);
            if self.raw.info().dynamic_groups
                && demand.new_group_above.is_some_and(|above| newest <= Some(above))
                && let Some(largest) = self.raw.largest()
            {
                self.raw.request_group(largest.group);
            }
        }
    }

    /// Whether a viewer asked for this group of the raw track.
    fn asked_for(&self, group: u64) -> bool {
        let before = group.checked_sub(1);
        self.raw.info().dynamic_groups && before.is_some() && self.raw.wanted_above() >= before
    }

    /// Makes its packaged track, once, and says how much of it stays.
    fn derive(&mut self, broadcast: &Consumer, window_groups: usize) -> Result<(), PackagingError> {
        if let Some(packaged) = &self.packaged {
            // The target duration is known by now, or another encoder has come.
            if self.window_groups != window_groups {
                self.window_groups = window_groups;
                packaged.set_window_groups(window_groups);
            }
        } else {
            let timescale = self.config.as_ref().map(Config::timescale);
            // CMAF says its timescale itself, but a reader of properties alone wants it too.
            let pairs = PairsWriter::default().number(TIMESCALE, timescale.unwrap_or(1).into());
            let dynamic_groups = self.raw.info().dynamic_groups;
            let pairs = if dynamic_groups { pairs.number(DYNAMIC_GROUPS, 1) } else { pairs };
            let properties = pairs.finish();
            let info = TrackInfo {
                timescale,
                dynamic_groups,
                window_groups,
                properties,
                ..TrackInfo::default()
            };
            // invariant: the raw name with five more bytes is far below the bound of a name.
            let name = TrackName::new(format!("{}{CMAF}", self.name)).unwrap_or(INIT);
            self.window_groups = window_groups;
            self.packaged = Some(broadcast.derive(name, info)?);
        }
        Ok(())
    }

    fn write_part(&mut self, output: Output, now: Instant) -> Result<(), PackagingError> {
        let Output::Part { segment, part, last, properties, timing, arrived, head, body } = output
        else {
            return Ok(());
        };
        let Some(producer) = &self.packaged else { return Ok(()) };
        if part == 0 {
            let group = producer.group(segment, now)?;
            let subgroup = group.subgroup(0, now)?;
            if let Some((_, before)) = self.open.replace((group, subgroup)) {
                before.fin();
            }
        }
        let budget: &Budget = producer.budget();
        let Some((group, subgroup)) = &self.open else { return Ok(()) };
        let header =
            Header { timing: Some(timing), properties, arrived, ..Header::new(part, arrived) };
        let mut chunks = Vec::with_capacity(1 + body.len());
        chunks.push(budget.payload(head));
        chunks.extend(body);
        subgroup.write(header, chunks)?;
        if last {
            group.end(Some(part), now);
            if let Some((_, subgroup)) = self.open.take() {
                subgroup.fin();
            }
        }
        Ok(())
    }
}
