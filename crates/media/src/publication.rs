//! From an encoder's frames to raw tracks: the one way in that all ingest protocols share. It keeps
//! the clock sane, numbers groups and cuts those that get too long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use spine::{
    Close, Header, Location, Payload, PublishError, TrackInfo, TrackName, Waiting, WriteError,
    group, track,
};

use crate::codec::{Config, Ratio};
use crate::health::Health;
use crate::limits::{
    DECLARED_BITS_MAX, GROUP_ASKED_AGAIN, RAW_AUDIO_GROUP_MAX, RAW_GROUP_BYTES_MAX, RAW_GROUP_MAX,
};
use crate::properties::{
    DEFAULT_PUBLISHER_PRIORITY, DYNAMIC_GROUPS, FrameProperties, GroupStart, PairsWriter, TIMESCALE,
};
use crate::timeline::{
    Placed, Repairs, SourceClock, SourceFrame, Timeline, TooManyTracks, TrackId, TrackKind,
};
use crate::webvtt::is_language;

/// Which track of an encoder: pictures or sound, and the how manieth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slot {
    /// Pictures.
    Video(u8),
    /// Sound.
    Audio(u8),
}

impl Slot {
    /// The raw track's name: `video`, `video2`, `audio`, `audio2`.
    pub fn name(self) -> TrackName {
        let (word, n) = match self {
            Self::Video(n) => ("video", n),
            Self::Audio(n) => ("audio", n),
        };
        let name = if n == 0 { word.to_owned() } else { format!("{word}{}", u16::from(n) + 1) };
        // invariant: at most eight characters, far below the bound of a name.
        TrackName::new(name).unwrap_or(TrackName::from_static("track"))
    }
}

/// Why an encoder's frame could not be taken. All of them end the publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// A track can't be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A frame can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// More tracks than one clock may have.
    #[error(transparent)]
    Tracks(#[from] TooManyTracks),
    /// A configuration of sound for pictures, or the other way round.
    #[error("a configuration that is not of this kind of track")]
    WrongKind,
}

/// When something came in, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// For order and latency.
    pub at: Instant,
    /// For the date of the programme: milliseconds since 1970.
    pub wall_clock_ms: u64,
}

/// What an encoder sent, counted; for its owner.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that were taken.
    pub frames: u64,
    /// Payload bytes of them.
    pub bytes: u64,
    /// Frames that had no place on the clock, or no configuration yet.
    pub dropped: u64,
    /// Messages that could not be read as media.
    pub unreadable: u64,
    /// Pictures that came before anything that says how to decode them.
    pub unconfigured: u64,
    /// Pictures that decoding can start with.
    pub key_frames: u64,
    /// Groups that had to be cut without a key frame.
    pub groups_cut: u64,
    /// Milliseconds between the last two key frames.
    pub key_frame_interval_ms: u64,
}

/// Publishes what one encoder sends, for as long as its connection lasts.
#[derive(Debug)]
pub struct Publication {
    broadcast: spine::broadcast::Producer,
    timeline: Timeline,
    clock: SourceClock,
    tracks: Vec<RawTrack>,
    /// Of which the encoder begins a group when it is asked to.
    dynamic: BTreeSet<Slot>,
    /// Bits a second that the encoder says.
    declared_bits: BTreeMap<Slot, u64>,
    /// What is spoken, as the encoder says.
    languages: BTreeMap<Slot, String>,
    /// The wall clock at a decode time, anew at each discontinuity.
    anchor: Option<(u64, i64)>,
    counts: Counts,
    /// Where what is dropped is counted for all encoders.
    dropped_of_all: Arc<AtomicU64>,
    /// Where raw audio begins its next group: with the newest video group.
    video_group_ns: i64,
    first_group: u64,
    health: Arc<Mutex<Health>>,
}

#[derive(Debug)]
struct RawTrack {
    slot: Slot,
    id: TrackId,
    config: Config,
    producer: track::Producer,
    open: Option<OpenGroup>,
    /// The next group does not follow from what was: the publisher is new, or the source jumped.
    broken: bool,
    last_key_ns: Option<i64>,
    demand: Waiting,
    /// A reader wants a group above this one.
    wanted: Option<u64>,
    /// When the encoder was last told so.
    asked: Option<Instant>,
}

struct OpenGroup {
    group: group::Producer,
    subgroup: group::SubgroupProducer,
    next: u64,
    start_ns: i64,
    bytes: usize,
}

impl std::fmt::Debug for OpenGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenGroup({} at {})", self.group.id(), self.next)
    }
}

impl Publication {
    /// Publishes on this broadcast, with raw groups from `first_group` on. If it was parked, times and
    /// groups go on above everything it has.
    pub fn new(
        broadcast: spine::broadcast::Producer,
        clock: SourceClock,
        first_group: u64,
        now: Instant,
    ) -> Self {
        let end = end_of(&broadcast.consume());
        let timeline = end.map_or_else(Timeline::new, Timeline::continue_after);
        let counts = Counts::default();
        Self {
            broadcast,
            timeline,
            clock,
            tracks: Vec::new(),
            dynamic: BTreeSet::new(),
            declared_bits: BTreeMap::new(),
            languages: BTreeMap::new(),
            anchor: None,
            counts,
            dropped_of_all: Arc::default(),
            video_group_ns: 0,
            first_group,
            health: Arc::new(Mutex::new(Health::new(now))),
        }
    }

    /// Goes on above `end`, where what viewers may have seen of this broadcast ends, if memory holds
    /// nothing of it any more.
    #[must_use]
    pub fn go_on_after(mut self, end: Duration) -> Self {
        if end_of(&self.broadcast.consume()).is_none() {
            self.timeline = Timeline::continue_after(end);
        }
        self
    }

    /// What it drops, pictures without a configuration included, is counted here too.
    #[must_use]
    pub fn count_dropped(mut self, of_all: Arc<AtomicU64>) -> Self {
        self.dropped_of_all = of_all;
        self
    }

    /// The budget that payloads must be charged to.
    pub fn budget(&self) -> &spine::Budget {
        self.broadcast.budget()
    }

    /// Why this publisher may write no longer, if that is so.
    pub fn closed(&self) -> Option<Close> {
        self.broadcast.closed()
    }

    /// The broadcast that is published.
    pub fn broadcast(&self) -> &spine::broadcast::Producer {
        &self.broadcast
    }

    /// How the encoder is doing; goes on telling while this publishes.
    pub fn health(&self) -> Arc<Mutex<Health>> {
        self.health.clone()
    }

    /// What came in so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// What was repaired so far.
    pub fn repairs(&self) -> &Repairs {
        self.timeline.repairs()
    }

    /// The configuration of a track, the first one or another. The same again is no change.
    pub fn configure(
        &mut self,
        slot: Slot,
        config: Config,
        arrival: Arrival,
    ) -> Result<(), IngestError> {
        let kind = match (&config, slot) {
            (Config::Video(video), Slot::Video(_)) => {
                TrackKind::Video { frame_rate: video.frame_rate }
            }
            (Config::Audio(audio), Slot::Audio(_)) => {
                TrackKind::Audio { sample_rate: audio.sample_rate }
            }
            _ => return Err(IngestError::WrongKind),
        };
        if let Some(track) = self.tracks.iter_mut().find(|t| t.slot == slot) {
            if track.config != config {
                // Sound counts in its rate: from here on in the new one.
                self.timeline.change_track(track.id, kind);
                track.config = config;
                track.close(arrival.at);
                track.broken = true;
            }
            return Ok(());
        }
        let id = self.timeline.add_track(kind, self.clock)?;
        let timescale = Some(config.timescale());
        let priority = if matches!(slot, Slot::Audio(_)) { 64 } else { 128 };
        let properties = PairsWriter::default()
            .number(TIMESCALE, config.timescale().into())
            .number(DEFAULT_PUBLISHER_PRIORITY, priority.into());
        let dynamic_groups = self.dynamic.contains(&slot);
        let properties =
            if dynamic_groups { properties.number(DYNAMIC_GROUPS, 1) } else { properties }.finish();
        let info =
            TrackInfo { timescale, priority, dynamic_groups, properties, ..TrackInfo::default() };
        let producer = self.broadcast.track(slot.name(), info)?;
        let broken = producer.next_group_id() > 0;
        self.tracks.push(RawTrack {
            slot,
            id,
            config,
            producer,
            open: None,
            broken,
            last_key_ns: None,
            demand: Waiting::new(),
            wanted: None,
            asked: None,
        });
        Ok(())
    }

    /// The encoder begins a group of this track (with a key frame) when it is asked to. Said before the track's first
    /// configuration; most encoders can't.
    pub fn begins_groups_when_asked(&mut self, slot: Slot) {
        self.dynamic.insert(slot);
    }

    /// Tracks of which a reader wants a group that has not begun, each at most once in [`GROUP_ASKED_AGAIN`]. Also to be
    /// called with every frame: a wish that came too soon after another one is looked at again then.
    pub fn wanted_groups(&mut self, cx: &Context<'_>, now: Instant) -> Vec<Slot> {
        let dynamic = &self.dynamic;
        let tracks = self.tracks.iter_mut().filter(|track| dynamic.contains(&track.slot));
        tracks.filter_map(|track| track.wants_group(cx, now).then_some(track.slot)).collect()
    }

    /// What the encoder declares of its frame rate, if the bitstream does not say.
    pub fn declare_frame_rate(&mut self, slot: Slot, rate: Ratio) {
        if let Some(track) = self.tracks.iter_mut().find(|t| t.slot == slot)
            && let Config::Video(video) = &track.config
            && video.frame_rate.is_none()
        {
            self.timeline.change_track(track.id, TrackKind::Video { frame_rate: Some(rate) });
        }
    }

    /// What the encoder declares of a track's bits a second, also before the track is there. Nothing, or more than
    /// anybody sends, is no declaration.
    pub fn declare_bitrate(&mut self, slot: Slot, bits: u64) {
        match bits {
            1..=DECLARED_BITS_MAX => self.declared_bits.insert(slot, bits),
            _ => self.declared_bits.remove(&slot),
        };
    }

    /// The language that the encoder declares of a track (BCP 47), also before the track is there. What is no tag is no
    /// declaration.
    pub fn declare_language(&mut self, slot: Slot, tag: Option<&str>) {
        match tag.filter(|tag| is_language(tag)) {
            Some(tag) if self.languages.get(&slot).is_some_and(|known| known == tag) => {}
            Some(tag) => _ = self.languages.insert(slot, tag.to_owned()),
            None => _ = self.languages.remove(&slot),
        }
    }

    /// Takes one frame, at once.
    pub fn frame(
        &mut self,
        slot: Slot,
        source: SourceFrame,
        payload: Payload,
        arrival: Arrival,
    ) -> Result<(), IngestError> {
        let Some(index) = self.tracks.iter().position(|t| t.slot == slot) else {
            self.counts.dropped += 1;
            self.left_out();
            return Ok(());
        };
        let Placed::Frame(timing) = self.timeline.push(self.tracks[index].id, source) else {
            self.counts.dropped += 1;
            self.left_out();
            return Ok(());
        };
        if timing.discontinuity.is_some() {
            self.anchor = None;
            self.tracks.iter_mut().for_each(|t| t.broken = true);
        }
        let track = &mut self.tracks[index];
        let video = matches!(slot, Slot::Video(_));
        let decode_ns = to_ns(timing.decode, track.config.timescale());
        let (wall, at) = *self.anchor.get_or_insert((arrival.wall_clock_ms, decode_ns));
        let wall_clock_ms = wall.saturating_add_signed((decode_ns - at) / 1_000_000);

        let sync = source.sync || !video;
        let begins = track.begins_group(decode_ns, sync && video, video, self.video_group_ns);
        if begins {
            if video {
                self.video_group_ns = decode_ns;
                self.counts.groups_cut += u64::from(!sync && track.open.is_some());
            }
            track.begin(decode_ns, self.first_group, arrival.at)?;
        }
        if sync
            && video
            && let Some(last) = track.last_key_ns.replace(decode_ns)
        {
            let ms = (decode_ns - last) / 1_000_000;
            self.counts.key_frame_interval_ms = u64::try_from(ms).unwrap_or(0);
        }
        self.counts.key_frames += u64::from(sync && video);
        self.counts.frames += 1;
        self.counts.bytes += payload.len() as u64;
        {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            health.frame(video, payload.len(), decode_ns, arrival.at);
            health.note(self.counts, *self.timeline.repairs());
        }
        let timing = spine::Timing {
            decode: timing.decode,
            present: timing.present,
            duration: timing.duration,
            sync,
        };
        let declared = (self.declared_bits.get(&slot).copied(), self.languages.get(&slot));
        track.write(timing, payload, (wall_clock_ms, declared), arrival.at)?;
        Ok(())
    }

    /// The encoder has taken a track away. It may bring it again.
    pub fn rest(&mut self, slot: Slot, now: Instant) {
        if let Some(track) = self.tracks.iter_mut().find(|track| track.slot == slot) {
            track.close(now);
            track.broken = true;
            track.producer.rest();
        }
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.rest(matches!(slot, Slot::Video(_)));
    }

    /// A picture came, and nothing before it has said how to decode it.
    pub fn unconfigured(&mut self) {
        self.counts.unconfigured += 1;
        self.left_out();
    }

    /// Something came that could not be read as media.
    pub fn unreadable(&mut self) {
        self.counts.unreadable += 1;
        self.counts.dropped += 1;
        self.left_out();
    }

    /// Tells what was counted, also while no frame is taken.
    fn left_out(&self) {
        self.dropped_of_all.fetch_add(1, Ordering::Relaxed);
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.note(self.counts, *self.timeline.repairs());
    }

    /// The encoder vanished but may come back until then.
    pub fn park(mut self, until: Instant, now: Instant) {
        self.close_groups(now);
        self.broadcast.park(until);
    }

    /// The encoder is done.
    pub fn end(mut self, why: Close, now: Instant) {
        self.close_groups(now);
        self.broadcast.end(why);
    }

    fn close_groups(&mut self, now: Instant) {
        for track in &mut self.tracks {
            track.close(now);
        }
    }
}

impl RawTrack {
    /// Video begins a group with every key frame, and where one would get too long; audio with every
    /// video group, and once a second.
    fn begins_group(&self, decode_ns: i64, key: bool, video: bool, video_group_ns: i64) -> bool {
        let Some(open) = &self.open else { return true };
        let long = decode_ns - open.start_ns;
        let full = open.bytes >= RAW_GROUP_BYTES_MAX;
        let longest = if video { RAW_GROUP_MAX } else { RAW_AUDIO_GROUP_MAX };
        let with_video = !video && video_group_ns > open.start_ns && decode_ns >= video_group_ns;
        key || full || self.broken || with_video || long >= nanos(longest)
    }

    fn begin(&mut self, start_ns: i64, first: u64, now: Instant) -> Result<(), WriteError> {
        self.close(now);
        let group = self.producer.group(self.producer.next_group_id().max(first), now)?;
        let subgroup = group.subgroup(0, now)?;
        self.open = Some(OpenGroup { group, subgroup, next: 0, start_ns, bytes: 0 });
        Ok(())
    }

    fn write(
        &mut self,
        timing: spine::Timing,
        payload: Payload,
        (wall_clock_ms, (bitrate, language)): (u64, (Option<u64>, Option<&String>)),
        now: Instant,
    ) -> Result<(), WriteError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut header = Header { timing: Some(timing), ..Header::new(open.next, now) };
        header.priority = self.producer.info().priority;
        let start = (open.next == 0).then(|| {
            let discontinuity = std::mem::take(&mut self.broken);
            let (config, language) = (self.config.clone(), language.cloned());
            GroupStart { config, wall_clock_ms, discontinuity, bitrate, language }
        });
        let picture = matches!(self.slot, Slot::Video(_)).then_some(timing.sync);
        header.properties =
            FrameProperties { present: timing.present, picture, start: start.as_ref() }.encode();
        open.bytes += payload.len();
        open.next += 1;
        open.subgroup.write(header, vec![payload])
    }

    fn wants_group(&mut self, cx: &Context<'_>, now: Instant) -> bool {
        while let Poll::Ready(demand) = self.producer.poll_demand(&mut self.demand, cx) {
            self.wanted = demand.new_group_above;
        }
        let newest = self.producer.next_group_id().checked_sub(1);
        let waits = self.wanted.is_some_and(|above| newest <= Some(above));
        let soon = |asked: Instant| now.saturating_duration_since(asked) < GROUP_ASKED_AGAIN;
        if !waits || self.asked.is_some_and(soon) {
            return false;
        }
        self.asked = Some(now);
        true
    }

    fn close(&mut self, now: Instant) {
        if let Some(open) = self.open.take() {
            open.subgroup.fin();
            open.group.end(open.next.checked_sub(1), now);
        }
    }
}

/// Where everything that a broadcast holds ends.
fn end_of(broadcast: &spine::broadcast::Consumer) -> Option<Duration> {
    let tracks = broadcast.tracks().into_iter().filter_map(|name| broadcast.get(&name));
    let ends = tracks.filter_map(|track| {
        let Location { group, object } = track.largest()?;
        let timing = track.object(Location { group, object }).ok()?.header().timing?;
        let end = timing.decode + i64::from(timing.duration);
        // Sound of another rate counts otherwise: what the group says holds, not the track's first rate.
        let first = track.object(Location { group, object: 0 }).ok()?;
        let start = GroupStart::decode(&first.header().properties).ok()?;
        u64::try_from(to_ns(end, start.config.timescale())).ok().map(Duration::from_nanos)
    });
    ends.max()
}

fn to_ns(ticks: i64, timescale: u32) -> i64 {
    let ns = i128::from(ticks) * 1_000_000_000 / i128::from(timescale.max(1));
    i64::try_from(ns).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
