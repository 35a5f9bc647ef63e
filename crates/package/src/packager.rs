//! The packager of one broadcast: raw frames in, parts of all its tracks out, by one cut list.
//!
//! Each track holds back its newest frame, for two reasons: a frame's duration is the next one's
//! decode time minus its own, and only with the next one it is known whether a segment ends.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use media::codec::Config;

use crate::cut::{CutRules, Cutter, MainFrame, Why};
use crate::limits::CUT_WAIT;
use crate::rendition::{Frame, Output, Rendition, SegmentStart, ticks_to_ns};

/// How a broadcast is packaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Where segments end.
    pub cut: CutRules,
    /// How long a part shall be.
    pub part: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { cut: CutRules::default(), part: Duration::from_nanos(333_333_333) }
    }
}

/// How far a broadcast had got whose packager is gone, with the process that it ran in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Earlier {
    /// Discontinuities so far.
    pub discontinuities: u64,
    /// The target duration, which never changes.
    pub target_duration: Option<u32>,
    /// PART-TARGET of each packaged track in milliseconds, which never changes either.
    pub part_targets_ms: BTreeMap<String, u32>,
}

/// A track of the packager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackId(pub usize);

/// What packaging brings forth, each with the track that it is of.
pub type Outputs = Vec<(TrackId, Output)>;

/// What an encoder does that its owner should know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Segments that had to begin without a key frame, because the last one was too long ago.
    pub segments_without_key_frame: u64,
    /// Frames that came before their track could be decoded or cut.
    pub frames_dropped: u64,
    /// Audio that went on without the video that should have cut it.
    pub cuts_not_waited_for: u64,
    /// Places where frames had left the cache before they were packaged.
    pub holes: u64,
}

/// Packages one broadcast. Deterministic: the same frames in the same order give the same parts.
pub struct Packager {
    rules: Rules,
    epoch: u64,
    tracks: Vec<Track>,
    /// The track that decides the cuts.
    main: Option<usize>,
    cutter: Option<Cutter>,
    /// Segments that began and that some track has not reached.
    cuts: VecDeque<Cut>,
    next_number: u64,
    discontinuities: u64,
    /// What the broadcast's earlier packager had fixed.
    earlier_target: Option<u32>,
    /// The next cut is a discontinuity whatever else it is: a configuration changed.
    break_pending: bool,
    /// How far the main track has come.
    main_ns: i64,
    /// Nothing more will come for now: nobody waits for the main track.
    flushing: bool,
    findings: Findings,
}

#[derive(Debug, Clone, Copy)]
struct Cut {
    start: SegmentStart,
    /// Where the other tracks change over: the presentation time of the frame that begins it.
    present_ns: i64,
}

struct Track {
    rendition: Rendition,
    video: bool,
    configured: bool,
    /// Frames that wait for the cut list, of tracks that do not make it.
    waiting: VecDeque<Frame>,
    /// The newest frame, and whether it begins a segment.
    held: Option<Frame>,
    /// Decode time of the newest frame, after which the next must lie.
    last_decode: Option<i64>,
    /// It made the cuts and stopped; others went on without it, so its next frame begins a segment.
    stalled: bool,
    /// Its next frame begins a segment: it is the first one, or everything before was flushed.
    fresh: bool,
}

impl Packager {
    /// A packager whose first segment has number `first`, under ownership `epoch`.
    pub fn new(rules: Rules, epoch: u64, first: u64) -> Self {
        Self {
            rules,
            epoch,
            tracks: Vec::new(),
            main: None,
            cutter: None,
            cuts: VecDeque::new(),
            next_number: first,
            discontinuities: 0,
            earlier_target: None,
            break_pending: false,
            main_ns: i64::MIN,
            flushing: false,
            findings: Findings::default(),
        }
    }

    /// Adds a track. The first video track decides the cuts; without any, the first audio track.
    pub fn add_track(&mut self, video: bool) -> TrackId {
        self.tracks.push(Track {
            rendition: Rendition::new(),
            video,
            configured: false,
            waiting: VecDeque::new(),
            held: None,
            last_decode: None,
            stalled: false,
            fresh: true,
        });
        TrackId(self.tracks.len() - 1)
    }

    /// The ownership under which segments begin from now on.
    pub fn set_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }

    /// What playlists have said of a track's parts, before this packager.
    pub fn promise_part_target(&mut self, track: TrackId, part_target_ms: u32) {
        if let Some(t) = self.tracks.get_mut(track.0) {
            t.rendition.promise(part_target_ms);
        }
    }

    /// The broadcast goes on behind a discontinuity; its earlier packager is gone.
    pub fn go_on_after(&mut self, earlier: &Earlier) {
        self.discontinuities = earlier.discontinuities;
        self.earlier_target = earlier.target_duration;
        self.break_pending = true;
    }

    /// The number that the next new segment gets.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The broadcast's target duration in seconds, once it is fixed.
    pub fn target_duration(&self) -> Option<u32> {
        self.cutter.as_ref().and_then(Cutter::target_duration).or(self.earlier_target)
    }

    /// A track's initialisation segment.
    pub fn init(&self, track: TrackId) -> Option<u64> {
        self.tracks.get(track.0).filter(|t| t.configured).map(|t| t.rendition.init())
    }

    /// Frames are gone before they could be pushed.
    pub(crate) fn lost(&mut self) {
        self.findings.holes += 1;
    }

    /// What was found wrong with the broadcast.
    pub fn findings(&self) -> Findings {
        self.findings
    }

    /// A track's configuration, the first one or a change. After a change everything goes on behind
    /// a discontinuity.
    pub fn configure(&mut self, track: TrackId, config: &Config, out: &mut Outputs) {
        let changed = self.tracks.get(track.0).is_some_and(|t| t.configured);
        if changed {
            self.flush(out);
            self.break_pending = true;
        }
        let Some(t) = self.tracks.get_mut(track.0) else { return };
        t.configured = true;
        tagged(track.0, out, |out| t.rendition.configure(config, out));
    }

    /// A track decides the cuts from now on.
    fn lead(&mut self, track: usize) {
        self.main = Some(track);
        self.break_pending |= self.cutter.is_some();
    }

    /// Takes the next frame of a track, in decode order.
    pub fn push(&mut self, track: TrackId, frame: Frame, out: &mut Outputs) {
        let Some(t) = self.tracks.get_mut(track.0) else { return };
        let backwards = t.last_decode.is_some_and(|last| frame.decode <= last);
        if !t.configured || backwards {
            self.findings.frames_dropped += 1;
            return;
        }
        t.last_decode = Some(frame.decode);
        let video = t.video;
        if video && !self.main.is_some_and(|main| self.tracks[main].video) {
            if !frame.sync {
                // Nothing before the first key frame can be decoded.
                self.findings.frames_dropped += 1;
                return;
            }
            self.lead(track.0);
        }
        if self.main == Some(track.0) {
            self.push_main(track.0, frame, out);
        } else if let Some(t) = self.tracks.get_mut(track.0) {
            t.waiting.push_back(frame);
        }
        self.release(out);
    }

    fn push_main(&mut self, track: usize, mut frame: Frame, out: &mut Outputs) {
        let target = self.target_duration();
        let Some(t) = self.tracks.get_mut(track) else { return };
        frame.discontinuity |= self.break_pending;
        let timescale = t.rendition.timescale();
        let decode_ns = ticks_to_ns(frame.decode, timescale);
        let first = t.rendition.segment().is_none() || t.stalled;
        t.stalled = false;
        if first {
            self.cutter = Some(Cutter::new(self.rules.cut.clone(), decode_ns, target));
        }
        let part_ns = t.rendition.part_ns();
        let part_border = t.held.is_some() && t.rendition.ends_part();
        let Some(cutter) = &mut self.cutter else { return };
        let breaks = frame.discontinuity && !first;
        let cut =
            cutter.frame(MainFrame { decode_ns, sync: frame.sync, breaks, part_border, part_ns });
        let begins = first || cut.is_some();
        self.main_ns = decode_ns;
        self.emit_held(track, Some(&frame), begins, out);
        if begins {
            if cut == Some(Why::TooLong) {
                self.findings.segments_without_key_frame += 1;
            }
            self.begin_segment(track, &frame);
        }
        if let Some(t) = self.tracks.get_mut(track) {
            t.held = Some(frame);
        }
    }

    fn begin_segment(&mut self, track: usize, frame: &Frame) {
        self.break_pending = false;
        self.discontinuities += u64::from(frame.discontinuity);
        let start = SegmentStart {
            number: self.next_number,
            epoch: self.epoch,
            discontinuity: frame.discontinuity,
            discontinuity_sequence: self.discontinuities,
        };
        self.next_number += 1;
        let Some(t) = self.tracks.get_mut(track) else { return };
        let present_ns = ticks_to_ns(frame.present, t.rendition.timescale());
        t.rendition.begin(start);
        t.fresh = false;
        // Kept also while there is no other track: one that comes later goes by them.
        self.cuts.push_back(Cut { start, present_ns });
    }

    /// Gives the held frame of a track its duration and hands it on. `ends`: its segment ends with it.
    fn emit_held(&mut self, track: usize, next: Option<&Frame>, ends: bool, out: &mut Outputs) {
        let target = self.target_duration();
        let Some(t) = self.tracks.get_mut(track) else { return };
        let Some(mut frame) = t.held.take() else { return };
        let mut hole = false;
        if let Some(next) = next.filter(|n| !n.discontinuity || !ends) {
            let duration = u32::try_from(next.decode - frame.decode).unwrap_or(frame.duration);
            // Inside a part a frame's place is the sum of the durations before it.
            let bridged = ticks_to_ns(i64::from(duration), t.rendition.timescale()) <= BRIDGED_NS;
            hole = next.discontinuity && !bridged;
            if !hole {
                frame.duration = duration;
            }
        }
        frame.duration = frame.duration.max(1);
        let part = self.rules.part;
        tagged(track, out, |out| {
            t.rendition.push(frame, ends, part, target, out);
            if hole {
                t.rendition.flush(false, target, out);
            }
        });
    }

    /// Hands on what the cut list allows of the tracks that follow it.
    fn release(&mut self, out: &mut Outputs) {
        if self.main.is_none() && !self.choose_main(out) {
            return;
        }
        for track in 0..self.tracks.len() {
            if self.main != Some(track) {
                while self.release_one(track, out) {}
            }
        }
        self.forget_cuts();
    }

    /// No video came for as long as audio may wait: audio decides the cuts.
    fn choose_main(&mut self, out: &mut Outputs) -> bool {
        let waited = |t: &Track| {
            let span = t.waiting.back().zip(t.waiting.front());
            let ticks = span.map_or(0, |(back, front)| back.decode - front.decode);
            ticks_to_ns(ticks, t.rendition.timescale()) >= wait_ns()
        };
        let Some(track) = self.tracks.iter().position(|t| !t.video && waited(t)) else {
            return false;
        };
        self.lead_waiting(track, out);
        true
    }

    fn lead_waiting(&mut self, track: usize, out: &mut Outputs) {
        self.lead(track);
        let waiting = std::mem::take(&mut self.tracks[track].waiting);
        for frame in waiting {
            self.push_main(track, frame, out);
        }
    }

    fn release_one(&mut self, track: usize, out: &mut Outputs) -> bool {
        let Some(t) = self.tracks.get(track) else { return false };
        let Some(frame) = t.waiting.front() else { return false };
        // An alternate of the picture begins with a key frame, like the main track.
        if t.video && t.fresh && !frame.sync {
            return self.drop_early(track);
        }
        let timescale = t.rendition.timescale();
        // A frame belongs to the segment in which more than half of it lies.
        let middle = ticks_to_ns(frame.present + i64::from(frame.duration) / 2, timescale);
        let current = t.rendition.segment();
        let next = self.cuts.iter().find(|c| current.is_none_or(|n| c.start.number > n));
        let begins = match (current, next) {
            (_, Some(cut)) if middle >= cut.present_ns => Some(self.latest_cut(cut, middle)),
            // Sound that came a moment before the first picture belongs to it.
            (_, Some(cut)) if t.fresh && middle >= cut.present_ns - LEAD_IN_NS => Some(cut.start),
            (_, Some(_)) if t.fresh => return self.drop_early(track),
            (_, None) if t.fresh => return false,
            (None, _) => return false,
            (Some(_), Some(_)) => None,
            (Some(_), None) if self.main_ns >= middle => None,
            // Sound that outlasts the picture by so much that the segment would get too long.
            (Some(_), None) if self.flushing && self.too_long_with(middle) => {
                self.cut_without_main(track, out)
            }
            (Some(_), None) if self.flushing => None,
            (Some(_), None) => {
                let newest = t.waiting.back().map_or(middle, |f| ticks_to_ns(f.decode, timescale));
                if newest.saturating_sub(self.main_ns) < wait_ns() {
                    return false;
                }
                self.findings.cuts_not_waited_for += 1;
                self.cut_without_main(track, out)
            }
        };
        let Some(mut frame) = self.tracks.get_mut(track).and_then(|t| t.waiting.pop_front()) else {
            return false;
        };
        frame.discontinuity |= begins.is_some_and(|cut| cut.discontinuity);
        self.emit_held(track, Some(&frame), begins.is_some(), out);
        if let Some(t) = self.tracks.get_mut(track) {
            if let Some(start) = begins {
                t.rendition.begin(start);
                t.fresh = false;
            }
            t.held = Some(frame);
        }
        true
    }

    /// The main track has stopped: a segment must not grow for ever, so the others cut it. In the main
    /// track the numbers that pass are gaps.
    fn cut_without_main(&mut self, track: usize, out: &mut Outputs) -> Option<SegmentStart> {
        let t = self.tracks.get(track)?;
        let (frame, timescale) = (t.waiting.front()?, t.rendition.timescale());
        let (decode_ns, part_ns) = (ticks_to_ns(frame.decode, timescale), t.rendition.part_ns());
        let part_border = t.held.is_some() && t.rendition.ends_part();
        let frame = MainFrame { decode_ns, sync: true, breaks: false, part_border, part_ns };
        self.cutter.as_mut()?.frame(frame)?;
        if let Some(main) = self.main {
            self.emit_held(main, None, true, out);
            self.tracks[main].stalled = true;
        }
        let discontinuity_sequence = self.discontinuities;
        let start = SegmentStart {
            number: self.next_number,
            epoch: self.epoch,
            discontinuity: false,
            discontinuity_sequence,
        };
        self.next_number += 1;
        self.cuts.push_back(Cut { start, present_ns: decode_ns });
        Some(start)
    }

    fn too_long_with(&self, ns: i64) -> bool {
        self.cutter.as_ref().is_some_and(|cutter| cutter.too_long_with(ns))
    }

    /// A track that had nothing for whole segments must not leave their numbers out while it has
    /// begun: it goes from cut to cut.
    fn latest_cut(&self, first: &Cut, middle: i64) -> SegmentStart {
        let begun = self.cuts.iter().filter(|c| c.start.number >= first.start.number);
        let latest = begun.take_while(|c| c.present_ns <= middle).last();
        latest.unwrap_or(first).start
    }

    /// Too far before the first cut there is nothing to belong to.
    fn drop_early(&mut self, track: usize) -> bool {
        let dropped = self.tracks.get_mut(track).is_some_and(|t| t.waiting.pop_front().is_some());
        self.findings.frames_dropped += u64::from(dropped);
        dropped
    }

    fn forget_cuts(&mut self) {
        let main = self.main;
        let behind =
            self.tracks.iter().enumerate().filter(|(i, t)| main != Some(*i) && t.configured);
        let lowest = behind.map(|(_, t)| t.rendition.segment().unwrap_or(0)).min();
        let lowest = lowest.unwrap_or(0);
        while self.cuts.len() > 1 && self.cuts.front().is_some_and(|c| c.start.number <= lowest) {
            self.cuts.pop_front();
        }
        // A track that never comes must not make the list grow.
        while self.cuts.len() > CUTS_MAX {
            self.cuts.pop_front();
        }
    }

    /// The publisher is gone (for now): everything that was taken goes out, segments end.
    pub fn flush(&mut self, out: &mut Outputs) {
        if self.main.is_none()
            && let Some(track) = self.tracks.iter().position(|t| !t.waiting.is_empty())
        {
            self.lead_waiting(track, out);
        }
        self.flushing = true;
        self.release(out);
        self.flushing = false;
        self.main_ns = i64::MIN;
        let target = self.target_duration();
        for track in 0..self.tracks.len() {
            self.emit_held(track, None, true, out);
            if let Some(t) = self.tracks.get_mut(track) {
                t.waiting.clear();
                t.fresh = true;
                tagged(track, out, |out| t.rendition.flush(true, target, out));
            }
        }
        self.break_pending = true;
    }
}

/// How long before the first picture sound may begin and still be part of its segment, which must not
/// pass the target duration with it (RFC 8216bis §4.4.3.1: rounded to the nearest second).
const LEAD_IN_NS: i64 = 400_000_000;

/// Frames that are missing inside a segment, to this length: the one before them lasts so much longer. What
/// follows a longer hole begins a part, which has its own time.
const BRIDGED_NS: i64 = 150_000_000;

/// Cuts that are kept for tracks that lag: a minute of 2 s segments.
const CUTS_MAX: usize = 32;

fn tagged(track: usize, out: &mut Outputs, f: impl FnOnce(&mut Vec<Output>)) {
    let mut own = Vec::new();
    f(&mut own);
    out.extend(own.into_iter().map(|o| (TrackId(track), o)));
}

fn wait_ns() -> i64 {
    i64::try_from(CUT_WAIT.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use crate::testing::{audio_config, video_config};
    use spine::Location;
    use std::time::Instant;

    #[allow(clippy::disallowed_methods)]
    fn frame(decode: i64, duration: u32, sync: bool) -> Frame {
        Frame {
            decode,
            present: decode,
            duration,
            sync,
            discontinuity: false,
            wall_clock_ms: 1_000_000 + u64::try_from(decode).unwrap() / 90,
            arrived: Instant::now(),
            payload: vec![spine::Budget::new(usize::MAX).payload(vec![1; 100])],
        }
    }

    /// A packager with the index that its output makes.
    struct Bench {
        packager: Packager,
        index: Index,
        out: Outputs,
        names: Vec<&'static str>,
    }

    impl Bench {
        fn new(tracks: &[bool]) -> Self {
            let mut packager = Packager::new(Rules::default(), 1, 100);
            let mut out = Vec::new();
            let mut names = Vec::new();
            for video in tracks {
                let track = packager.add_track(*video);
                let config = if *video { video_config() } else { audio_config() };
                packager.configure(track, &config, &mut out);
                names.push(if *video { "video" } else { "audio" });
            }
            Self { packager, index: Index::new(), out, names }
        }

        fn push(&mut self, track: usize, frame: Frame) {
            self.packager.push(TrackId(track), frame, &mut self.out);
            self.drain();
        }

        fn flush(&mut self) {
            self.packager.flush(&mut self.out);
            self.drain();
        }

        fn drain(&mut self) {
            for (track, output) in self.out.drain(..) {
                let Output::Part { segment, part, properties, head, .. } = output else { continue };
                let at = Location { group: segment, object: part };
                let name = self.names[track.0];
                let bytes = head.len() as u64;
                self.index.apply(name, at, &properties, bytes).unwrap();
            }
        }

        /// Video at 30 fps with a key frame every `group` frames and audio at 48 kHz, as an encoder
        /// interleaves them, from one time to another.
        fn run(&mut self, from_ms: i64, to_ms: i64, group: i64, discontinuity: bool) {
            let mut sound = (from_ms * 48 + 1023) / 1024;
            let mut fresh = discontinuity;
            for i in from_ms * 30 / 1000..to_ms * 30 / 1000 {
                while sound * 1024 * 90_000 < i * 3_000 * 48_000 {
                    self.push(1, frame(sound * 1024, 1024, true));
                    sound += 1;
                }
                let mut picture = frame(i * 3_000, 3_000, i % group == 0);
                picture.discontinuity = std::mem::take(&mut fresh);
                self.push(0, picture);
            }
        }

        fn segments(&self, name: &str) -> Vec<(u64, f64, usize, bool)> {
            let r = self.index.rendition(name).unwrap();
            let seconds = |s: &crate::Segment| (s.seconds(s.duration()) * 1000.0).round() / 1000.0;
            r.segments.iter().map(|s| (s.number, seconds(s), s.parts.len(), s.complete)).collect()
        }
    }

    #[test]
    fn picture_and_sound_are_cut_at_the_same_times_into_the_same_numbers() {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 6_100, 60, false);
        assert_eq!(bench.index.target_duration(), Some(2));
        let video = bench.segments("video");
        assert_eq!(&video[..3], [(100, 2.0, 6, true), (101, 2.0, 6, true), (102, 2.0, 6, true)]);
        let audio = bench.segments("audio");
        assert_eq!(audio.iter().map(|s| s.0).collect::<Vec<_>>()[..3], [100, 101, 102]);
        for segment in &audio[..2] {
            assert!((segment.1 - 2.0).abs() <= 0.0214, "nearest frame border: {segment:?}");
        }
        let (mut sum, r) = (0, bench.index.rendition("audio").unwrap());
        for segment in &r.segments {
            assert_eq!(segment.info.start, sum, "sums never drift");
            sum += segment.duration();
        }
        assert!(r.segments.iter().all(Segment2::whole), "{:?}", r.segments);
        assert_eq!(bench.packager.findings(), Findings::default());
    }

    trait Segment2 {
        fn whole(&self) -> bool;
    }

    impl Segment2 for crate::Segment {
        /// Every part but the last has the same duration and can be started with (sound).
        fn whole(&self) -> bool {
            let full = self.parts[0].duration;
            let (last, others) = self.parts.split_last().unwrap();
            others.iter().all(|p| p.duration == full && p.independent) && last.duration <= full
        }
    }

    #[test]
    fn sound_that_lacks_frames_inside_a_segment_stays_in_its_place() {
        for (missing, bridged) in [(1, true), (5, true), (6, true), (7, false), (40, false)] {
            let mut bench = Bench::new(&[true, false]);
            let lacks = 50..50 + missing;
            let mut placed = BTreeMap::new();
            for i in 0..150 {
                for sound in i * 1_600 / 1_024..(i + 1) * 1_600 / 1_024 {
                    if !lacks.contains(&sound) {
                        let mut frame = frame(sound * 1024, 1024, true);
                        frame.discontinuity = sound == lacks.end;
                        bench.packager.push(TrackId(1), frame, &mut bench.out);
                    }
                }
                bench.packager.push(
                    TrackId(0),
                    frame(i * 3_000, 3_000, i % 60 == 0),
                    &mut bench.out,
                );
                for (track, output) in bench.out.drain(..) {
                    let (TrackId(1), Output::Part { timing, body, .. }) = (track, output) else {
                        continue;
                    };
                    placed.insert(timing.decode, (i64::from(timing.duration), body.len() as i64));
                }
            }
            let mut ends = 0;
            for (start, (duration, frames)) in placed {
                let hole = start - ends;
                let here = ends == lacks.start * 1024;
                assert_eq!(hole, if here && !bridged { missing * 1024 } else { 0 }, "at {start}");
                let within = (start..start + duration).contains(&(lacks.start * 1024));
                let lacking = if bridged && within { missing } else { 0 };
                assert_eq!(duration, (frames + lacking) * 1024, "at {start}");
                ends = start + duration;
            }
            assert!(ends > 200 * 1024, "the sound goes on: {ends}");
        }
    }

    #[test]
    fn a_publisher_that_comes_back_goes_on_behind_a_discontinuity() {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 3_000, 60, false);
        bench.flush();
        let before = bench.segments("video").len();
        assert!(bench.segments("video").iter().all(|s| s.3), "nothing stays open");
        bench.run(4_000, 8_050, 60, true);
        for name in ["video", "audio"] {
            let r = bench.index.rendition(name).unwrap();
            let marks: Vec<bool> = r.segments.iter().map(|s| s.info.discontinuity).collect();
            assert_eq!(marks.iter().filter(|m| **m).count(), 1, "{name} {marks:?}");
            assert!(marks[before], "{name}: at the first new segment");
            assert_eq!(r.segments[before].info.discontinuity_sequence, 1);
            assert!(
                r.segments
                    .iter()
                    .zip(r.segments.iter().skip(1))
                    .all(|(a, b)| a.number + 1 == b.number)
            );
        }
    }

    #[test]
    fn sound_alone_decides_the_cuts_itself() {
        let mut bench = Bench::new(&[false]);
        for i in 0..300 {
            bench.push(0, frame(i * 1024, 1024, true));
        }
        bench.flush();
        let audio = bench.segments("audio");
        assert_eq!(audio[0].0, 100);
        assert!(audio[..3].iter().all(|s| (1.9..=2.0).contains(&s.1)), "{audio:?}");
        assert_eq!(bench.index.target_duration(), Some(2));
        let total: f64 = audio.iter().map(|s| s.1).sum();
        assert!((total - 300.0 * 1024.0 / 48_000.0).abs() < 0.01, "every frame is there: {total}");
    }

    #[test]
    fn a_camera_that_stops_leaves_gaps_and_the_sound_goes_on() {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 4_000, 60, false);
        let mut sound = 4_000 * 48 / 1024 + 1;
        while sound * 1024 < 12_000 * 48 {
            bench.push(1, frame(sound * 1024, 1024, true));
            sound += 1;
        }
        let audio = bench.segments("audio");
        assert!(audio.len() >= 4, "{audio:?}");
        assert!(audio.iter().all(|s| s.1 < 2.5), "{audio:?}");
        bench.run(12_000, 16_100, 60, false);
        let r = bench.index.rendition("video").unwrap();
        assert!(r.segments.iter().any(|s| s.info.gap));
        let starts: Vec<u64> = r.segments.iter().map(|s| s.info.start).collect();
        assert!(starts.is_sorted(), "{starts:?}");
        assert!(r.segments.back().unwrap().number + 2 >= bench.packager.next_number());
    }

    #[test]
    fn no_key_frame_ever_gives_no_picture_but_sound() {
        let mut bench = Bench::new(&[true, false]);
        for i in 0..200 {
            bench.push(0, frame(i * 3_000 + 1, 3_000, false));
            bench.push(1, frame(i * 1_600, 1_600, true));
        }
        assert!(bench.index.rendition("video").is_none());
        assert!(bench.segments("audio").len() > 2);
        assert_eq!(bench.packager.findings().frames_dropped, 200);
    }

    /// Two pictures at 30 fps, the second with its key frames `late` frames behind those of the first; `group` frames long.
    fn ladder(late: i64, group: i64) -> Bench {
        let mut bench = Bench::new(&[true, true]);
        bench.names = vec!["video", "video2"];
        for i in 0..300 {
            bench.push(0, frame(i * 3_000, 3_000, i % group == 0));
            // Encoders put milliseconds on their times.
            let jitter = [0, 30, -30][(i % 3) as usize] * i.min(1);
            bench.push(1, frame(i * 3_000 + jitter, 3_000, (i - late) % group == 0));
        }
        bench.flush();
        bench
    }

    #[test]
    fn an_alternate_is_cut_at_its_own_key_frames_where_they_are_aligned() {
        let bench = ladder(0, 60);
        let (main, other) = (bench.segments("video"), bench.segments("video2"));
        assert_eq!(main.len(), 5);
        assert_eq!(
            main.iter().map(|s| s.0).collect::<Vec<_>>(),
            other.iter().map(|s| s.0).collect::<Vec<_>>()
        );
        for segment in &bench.index.rendition("video2").unwrap().segments {
            assert!(segment.parts[0].independent, "{}", segment.number);
            assert!((segment.seconds(segment.duration()) - 2.0).abs() < 0.002);
        }
        assert_eq!(bench.packager.findings(), Findings::default());
    }

    #[test]
    fn an_alternate_with_key_frames_elsewhere_says_that_its_segments_are_not_independent() {
        let bench = ladder(7, 60);
        let main = &bench.index.rendition("video").unwrap().segments;
        let other = &bench.index.rendition("video2").unwrap().segments;
        assert!(main.iter().all(|s| s.parts[0].independent));
        assert!(other[0].parts[0].independent, "it begins with a key frame");
        assert!(other.iter().skip(1).all(|s| !s.parts[0].independent));
        let pairs = main.iter().zip(other).skip(1);
        assert!(pairs.clone().count() == 4);
        for (a, b) in pairs {
            assert_eq!(a.number, b.number);
            assert!(a.info.start.abs_diff(b.info.start) <= 90, "cut at the same time");
        }
        assert_eq!(bench.packager.findings().frames_dropped, 7, "before its first key frame");
    }

    #[test]
    fn a_new_configuration_begins_a_new_segment_behind_a_discontinuity() {
        let mut bench = Bench::new(&[true, false]);
        bench.run(0, 3_000, 30, false);
        let config = video_config();
        bench.packager.configure(TrackId(0), &config, &mut bench.out);
        bench.drain();
        bench.run(3_000, 6_050, 30, false);
        let r = bench.index.rendition("video").unwrap();
        let at = r.segments.iter().position(|s| s.info.discontinuity).unwrap();
        assert_eq!((r.segments[at].info.start, at), (270_000, 2));
    }
}
