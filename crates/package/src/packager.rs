//! The packager of one broadcast: raw frames in, parts of all its tracks out, by one cut list.
//!
//! Each track holds back its newest frame, for two reasons: a frame's duration is the next one's
//! decode time minus its own, and only with the next one it is known whether a segment ends.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

pub use findings::Findings;
use media::codec::Config;
use silence::{Lateness, Made, Reached, Silence};
use standing::Standing;

use crate::cut::{CutRules, Cutter, MainFrame, Why};
use crate::limits::{CUT_WAIT, LATE_MAX, LATE_START, PICTURE_WAIT, SILENCE_MAX, UNKNOWN_MAX};
use crate::rendition::{Ends, Frame, Output, Rendition, SegmentStart, ticks_to_ns};

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
    /// Where the first segment began, or the one behind the last discontinuity.
    began_ns: i64,
    /// How far the main track has come.
    main_ns: i64,
    /// How far it was behind the others at most, since it made the last cut and before that.
    late_ns: [i64; 2],
    /// Nothing more will come for now: nobody waits for the main track.
    flushing: bool,
    /// Everything was flushed, and the main track has not come since.
    away: bool,
    /// Segments have ended at key frames that came ahead of time.
    early: bool,
    /// When the newest frame of any track came in.
    arrived: Option<Instant>,
    /// How much of sound has come since the main track's newest frame.
    alone_ns: i64,
    /// What may be made in the place of what does not come.
    made: Made,
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
    /// The number below which it has no segments: those may be sealed already.
    from: u64,
    /// Frames that wait for the cut list, of tracks that do not make it.
    waiting: VecDeque<Frame>,
    /// The newest frame, and whether it begins a segment.
    held: Option<Frame>,
    /// Decode time of the newest frame, after which the next must lie.
    last_decode: Option<i64>,
    /// The same with where it ends, of what goes on.
    reached: Option<Reached>,
    /// What it has where nothing comes.
    silence: Option<Silence>,
    /// What it has there, of pictures.
    standing: Standing,
    /// How late its frames come, of sound.
    late: Lateness,
    /// It made the cuts and stopped for so long that its segment was ended: its next frame begins one.
    stalled: bool,
    /// Its next frame begins a segment: it is the first one, or everything before was flushed.
    fresh: bool,
}

impl Packager {
    /// By which it cuts.
    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }

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
            began_ns: i64::MIN,
            main_ns: i64::MIN,
            late_ns: [0; 2],
            flushing: false,
            away: false,
            early: false,
            arrived: None,
            alone_ns: 0,
            made: Made::default(),
            findings: Findings::default(),
        }
    }

    /// Adds a track, as soon as it is announced. The first video track decides the cuts; without any, the first audio
    /// track.
    pub fn add_track(&mut self, video: bool) -> TrackId {
        let from = self.begins_from(UNKNOWN_MAX).unwrap_or(0);
        self.tracks.push(Track {
            rendition: Rendition::new(),
            video,
            configured: false,
            from,
            waiting: VecDeque::new(),
            held: None,
            last_decode: None,
            reached: None,
            silence: None,
            standing: Standing::default(),
            late: Lateness::default(),
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

    /// Whether segments may be much shorter than they should be, as the encoder makes key frames out of turn.
    pub(crate) fn is_early(&self) -> bool {
        self.early
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
        let breaks = changed && (self.stands(track.0) || !self.joins(track.0));
        if breaks {
            self.flush_before(Some(track.0), out);
        }
        // Also after a change it has no part in a segment that others began before the discontinuity.
        let from = self.begins_from(LATE_START).filter(|_| !changed || breaks);
        let Some(t) = self.tracks.get_mut(track.0) else { return };
        t.from = from.unwrap_or(t.from);
        t.configured = true;
        // Sound of another rate counts otherwise.
        t.last_decode = None;
        (t.reached, t.silence, t.standing) = (None, Silence::of(config), Standing::default());
        tagged(track.0, out, |out| t.rendition.configure(config, out));
    }

    /// Where a track begins that is new now: with what belongs to the first segments while picture or sound are missing
    /// in them, so long that they are `open` to it, else with the segment that is being made. Those before may be sealed,
    /// and a recording is what was live.
    fn begins_from(&self, open: Duration) -> Option<u64> {
        let begun = |video: bool| {
            self.tracks.iter().any(|t| t.video == video && t.rendition.segment().is_some())
        };
        let newest = self.cuts.back()?;
        if self.break_pending {
            // Everything before was flushed.
            return Some(self.next_number);
        }
        // No part that anybody has seen ends later.
        let passed = newest.present_ns.max(self.main_ns).saturating_sub(self.began_ns);
        let whole = begun(true) && begun(false);
        (whole || passed >= nanos(open)).then_some(newest.start.number)
    }

    /// A track decides the cuts from now on.
    fn lead(&mut self, track: usize, first: Option<&Frame>) {
        self.main = Some(track);
        let late = first.is_some_and(|frame| self.is_overtaken(track, frame));
        self.break_pending |= self.cutter.is_some() && !late && !self.joins(track);
    }

    /// Whether a track's next frame is its first behind a discontinuity that others have made: its publisher came with them.
    fn joins(&self, track: usize) -> bool {
        let Some(t) = self.tracks.get(track).filter(|_| !self.break_pending) else { return false };
        if t.standing.anew || !t.fresh {
            return t.standing.anew;
        }
        match t.rendition.discontinuities() {
            Some(seen) => seen < self.discontinuities,
            None => self.unreached(track).any(|c| c.start.discontinuity),
        }
    }

    /// Takes the next frame of a track, in decode order.
    pub fn push(&mut self, track: TrackId, mut frame: Frame, out: &mut Outputs) {
        self.arrived = Some(frame.arrived);
        self.note_late_sound(track.0, &frame);
        self.note_lateness(track.0, &frame);
        self.note_alone(track.0, &frame);
        let Some(t) = self.tracks.get_mut(track.0) else { return };
        if !t.configured {
            self.findings.frames_early += 1;
            return;
        }
        if t.last_decode.is_some_and(|last| frame.decode <= last) {
            self.findings.frames_late += 1;
            return;
        }
        // Behind a key picture that was shown again only another one can be decoded.
        if t.standing.on && !frame.sync {
            self.findings.pictures_without_key_frame += 1;
            return;
        }
        if t.standing.on {
            let at_ns = ticks_to_ns(frame.decode, t.rendition.timescale());
            t.standing.anew &= at_ns.abs_diff(self.main_ns) <= SILENCE_MAX.as_nanos() as u64;
            frame.discontinuity &= !t.standing.anew;
            self.stood(Some(at_ns).filter(|_| !frame.discontinuity), out);
            if !frame.discontinuity {
                self.stood_beside(track.0, at_ns, out);
            }
        }
        self.be_silent(track.0, frame.decode, out);
        let reached = Reached::with(&frame);
        self.take(track, frame, reached, out);
    }

    fn take(&mut self, track: TrackId, frame: Frame, reached: Reached, out: &mut Outputs) {
        let Some(t) = self.tracks.get_mut(track.0) else { return };
        t.last_decode = Some(frame.decode);
        t.reached = Some(reached);
        t.standing.on = false;
        let video = t.video;
        if video {
            t.standing.saw(&frame);
        }
        // Whose publisher is gone leads until the first picture of the next one.
        let led = |main: usize| self.tracks[main].video && (main == track.0 || !self.away);
        if video && !self.main.is_some_and(led) {
            if !frame.sync {
                // Nothing before the first key frame can be decoded.
                self.findings.pictures_without_key_frame += 1;
                return;
            }
            self.lead(track.0, Some(&frame));
        }
        self.place(track.0, frame, out);
        self.tracks[track.0].standing.anew = false;
    }

    /// It decides the cuts, or waits for them.
    fn place(&mut self, track: usize, frame: Frame, out: &mut Outputs) {
        match self.main == Some(track) {
            true => self.push_main(track, frame, out),
            false => self.tracks[track].waiting.push_back(frame),
        }
        self.release(out);
    }

    fn push_main(&mut self, track: usize, mut frame: Frame, out: &mut Outputs) {
        self.away = false;
        let again = self.stands(track);
        if self.is_overtaken(track, &frame) {
            return self.follow_late(track, frame, out);
        }
        self.end_before_held(track, &frame, out);
        self.pass_hole(track, &frame);
        let target = self.target_duration();
        let passed = self.unreached(track).next().is_some();
        frame.discontinuity = (frame.discontinuity && !self.joins(track)) || self.break_pending;
        let Some(t) = self.tracks.get_mut(track) else { return };
        let timescale = t.rendition.timescale();
        let decode_ns = ticks_to_ns(frame.decode, timescale);
        let first = t.rendition.segment().is_none() || t.stalled || passed;
        t.stalled = false;
        if first {
            self.cutter = Some(Cutter::new(self.rules.cut.clone(), decode_ns, target));
            // What it had before lies before the cuts of others.
            self.emit_held(track, None, Ends::Run, out);
        }
        let Some(t) = self.tracks.get_mut(track) else { return };
        let part_ns = t.rendition.part_ns();
        let lasted = t.held.as_ref().map(|held| lasts_until(held, &frame));
        // One that is shown again is a part by itself, and says nothing of groups of pictures.
        let part_border = again || lasted.is_some_and(|lasted| t.rendition.ends_part(lasted));
        let Some(cutter) = &mut self.cutter else { return };
        let breaks = frame.discontinuity && !first;
        let (sync, asked) = (frame.sync, frame.asked);
        let beside = again;
        let cut = cutter.frame(MainFrame {
            decode_ns,
            sync,
            asked,
            beside,
            breaks,
            part_border,
            part_ns,
        });
        let begins = first || cut.is_some();
        self.main_ns = decode_ns;
        self.emit_held(track, Some(&frame), Ends::before_segment(begins), out);
        if begins {
            match cut {
                Some(Why::TooLong) if !again => self.findings.segments_without_key_frame += 1,
                Some(Why::Early) => self.early = true,
                Some(Why::KeyFrame | Why::Break | Why::TooLong) | None => {}
            }
            self.late_ns = [0, self.late_ns[0]];
            self.begin_segment(track, &frame);
        }
        if let Some(t) = self.tracks.get_mut(track) {
            t.held = Some(frame);
            t.standing.held = again;
        }
    }

    /// The cuts that a track has not reached.
    fn unreached(&self, track: usize) -> impl Iterator<Item = &Cut> {
        let track = self.tracks.get(track);
        let next = track.and_then(|t| t.rendition.segment()).map_or(0, |n| n + 1);
        let from = track.map_or(0, |t| t.from).max(next);
        self.cuts.iter().filter(move |c| c.start.number >= from)
    }

    /// Whether the others were cut without the main track up to this frame of it: it is late.
    fn is_overtaken(&self, track: usize, frame: &Frame) -> bool {
        let Some(t) = self.tracks.get(track) else { return false };
        let present_ns = ticks_to_ns(frame.present, t.rendition.timescale());
        let joins = self.joins(track);
        let breaks = (frame.discontinuity && !joins) || self.break_pending;
        // Sound that his publisher came with may have passed him in the segment that it has begun.
        let passed_ns = if joins { self.main_ns } else { i64::MIN };
        let newest = self.unreached(track).last();
        !breaks && newest.is_some_and(|c| present_ns < passed_ns.max(c.present_ns + LEAD_IN_NS))
    }

    /// A number is the same time in all tracks: a main track that is late goes by the cuts that were made without it.
    fn follow_late(&mut self, track: usize, frame: Frame, out: &mut Outputs) {
        let Some(t) = self.tracks.get(track) else { return };
        let Some(next) = self.unreached(track).next() else { return };
        let timescale = t.rendition.timescale();
        let present_ns = ticks_to_ns(frame.present, timescale);
        let waits = (t.fresh || t.stalled) && !frame.sync;
        let begins = if present_ns >= next.present_ns && !waits {
            Some(self.latest_cut(next, present_ns))
        } else if t.fresh && !waits && present_ns >= next.present_ns - LEAD_IN_NS {
            Some(next.start)
        } else if t.fresh || t.stalled {
            match waits {
                true => self.findings.pictures_without_key_frame += 1,
                false => self.findings.frames_late += 1,
            }
            return;
        } else {
            None
        };
        let hole = t.held.as_ref().is_some_and(|held| {
            ticks_to_ns(frame.decode - held.decode, timescale) > BRIDGED_NS && begins.is_some()
        });
        self.main_ns = ticks_to_ns(frame.decode, timescale);
        let ends = self.ends_before(track, begins);
        self.emit_held(track, Some(&frame).filter(|_| !hole), ends, out);
        let Some(t) = self.tracks.get_mut(track) else { return };
        if let Some(start) = begins {
            t.rendition.begin(start);
            (t.fresh, t.stalled) = (false, false);
        }
        t.held = Some(frame);
        t.standing.held = t.standing.on;
    }

    fn note_lateness(&mut self, track: usize, frame: &Frame) {
        if self.main != Some(track) {
            return;
        }
        let ns = |t: &Track, frame: &Frame| ticks_to_ns(frame.decode, t.rendition.timescale());
        let Some(own) = self.tracks.get(track).map(|t| ns(t, frame)) else { return };
        let others = self.tracks.iter().enumerate().filter(|(i, _)| *i != track);
        let newest = others.filter_map(|(_, t)| Some(ns(t, t.waiting.back().or(t.held.as_ref())?)));
        let late = newest.max().map_or(0, |newest| newest.saturating_sub(own));
        self.late_ns[0] = self.late_ns[0].max(late);
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
        if frame.discontinuity || self.began_ns == i64::MIN {
            self.began_ns = present_ns;
        }
        t.rendition.begin(start);
        t.fresh = false;
        // Kept also while there is no other track: one that comes later goes by them.
        self.cuts.push_back(Cut { start, present_ns });
    }

    /// Gives the held frame of a track its duration and hands it on. `ends`: what ends with it, if not its part alone.
    fn emit_held(&mut self, track: usize, next: Option<&Frame>, ends: Ends, out: &mut Outputs) {
        let target = self.target_duration();
        let cutter = self.cutter.as_ref().filter(|_| self.main == Some(track));
        let Some(t) = self.tracks.get_mut(track) else { return };
        let Some(mut frame) = t.held.take() else { return };
        let again = std::mem::take(&mut t.standing.held);
        let mut hole = false;
        if let Some(next) = next.filter(|n| !n.discontinuity || ends == Ends::Part) {
            let duration = lasts_until(&frame, next);
            // Inside a part a frame's place is the sum of the durations before it.
            let bridged = ticks_to_ns(i64::from(duration), t.rendition.timescale()) <= BRIDGED_NS;
            hole = !bridged && (next.discontinuity || !t.video);
            if !hole {
                frame.duration = duration;
            }
            if ends == Ends::Segment {
                t.rendition.is_followed(next);
            }
        }
        frame.duration = frame.duration.max(1);
        let part = self.rules.part;
        // The frame behind it may last so long that the segment has to end here.
        let ns = |ticks: i64| ticks_to_ns(ticks, t.rendition.timescale());
        let longer = LEAD_IN_NS.max(ns(frame.duration.into()).saturating_mul(2));
        let until_ns =
            ns(frame.decode.saturating_add(frame.duration.into())).saturating_add(longer);
        let open = !again && next.is_some() && cutter.is_some_and(|c| c.too_long_with(until_ns));
        tagged(track, out, |out| {
            let ends = Some(ends).filter(|ends| *ends != Ends::Part || !open);
            t.rendition.push(frame, ends, part, target, out);
            // One that is shown again fills its part, unless what comes has it end sooner.
            if hole || (again && t.rendition.is_full()) {
                t.rendition.flush(Ends::Part, target, out);
            }
        });
    }

    /// Hands on what the cut list allows of the tracks that follow it.
    fn release(&mut self, out: &mut Outputs) {
        let leads = self.main.is_some() && !self.away;
        if !leads && !self.choose_main(out) && self.main.is_none() {
            return;
        }
        for track in 0..self.tracks.len() {
            if self.main != Some(track) {
                while self.release_one(track, out) {}
            }
        }
        self.forget_cuts();
    }

    /// No video came, or came back, for as long as audio may wait: audio decides the cuts.
    fn choose_main(&mut self, out: &mut Outputs) -> bool {
        let longest = self.main_wait_ns(CUT_WAIT);
        let waited = |t: &Track| {
            let span = t.waiting.back().zip(t.waiting.front());
            let ticks = span.map_or(0, |(back, front)| back.decode - front.decode);
            ticks_to_ns(ticks, t.rendition.timescale()) >= longest
        };
        let Some(track) = self.tracks.iter().position(|t| !t.video && waited(t)) else {
            return false;
        };
        self.lead_waiting(track, out);
        true
    }

    fn lead_waiting(&mut self, track: usize, out: &mut Outputs) {
        self.lead(track, None);
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
        let next = self.unreached(track).next();
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
                let picture = self.main.is_some_and(|main| self.tracks[main].video);
                let least = if picture { PICTURE_WAIT } else { CUT_WAIT };
                if newest.saturating_sub(self.main_ns) < self.main_wait_ns(least) {
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
        let ends = self.ends_before(track, begins);
        // What passes in between is not its time.
        self.emit_held(track, Some(&frame).filter(|_| ends != Ends::Run), ends, out);
        if let Some(t) = self.tracks.get_mut(track) {
            if let Some(start) = begins {
                t.rendition.begin(start);
                t.fresh = false;
            }
            t.held = Some(frame);
            t.standing.held = t.standing.on;
        }
        true
    }

    /// The main track has stopped, or is late: a segment must not grow for ever, so the others cut it. In the main
    /// track the numbers that pass are gaps, unless what belongs there comes after all.
    fn cut_without_main(&mut self, track: usize, out: &mut Outputs) -> Option<SegmentStart> {
        let t = self.tracks.get(track)?;
        let (frame, timescale) = (t.waiting.front()?, t.rendition.timescale());
        let (decode_ns, part_ns) = (ticks_to_ns(frame.decode, timescale), t.rendition.part_ns());
        let part_border = t.held.as_ref().is_some_and(|held| t.rendition.ends_part(held.duration));
        let (sync, asked, beside, breaks) = (true, false, true, false);
        let frame = MainFrame { decode_ns, sync, asked, beside, breaks, part_border, part_ns };
        self.cutter.as_mut()?.frame(frame)?;
        if let Some(main) = self.main
            && decode_ns.saturating_sub(self.main_ns) > nanos(LATE_MAX)
        {
            self.emit_held(main, None, Ends::Run, out);
            self.tracks[main].stalled = true;
        }
        Some(self.cut_at(decode_ns))
    }

    /// A segment begins that is not of the main track.
    fn cut_at(&mut self, present_ns: i64) -> SegmentStart {
        let discontinuity_sequence = self.discontinuities;
        let start = SegmentStart {
            number: self.next_number,
            epoch: self.epoch,
            discontinuity: false,
            discontinuity_sequence,
        };
        self.next_number += 1;
        self.cuts.push_back(Cut { start, present_ns });
        start
    }

    /// The main track lacks so much before this frame that the segment would get too long, and the sound beside it has not cut
    /// that without it, as it came no sooner: the time has its numbers all the same, which are gaps where nothing came. Without
    /// sound the frame before lasts as long, if a segment can.
    fn pass_hole(&mut self, track: usize, frame: &Frame) {
        let beside = self.tracks.iter().any(|t| !t.video && t.reached.is_some());
        let Some(t) = self.tracks.get(track).filter(|t| t.video) else { return };
        let (Some(held), Some(cutter)) = (&t.held, &self.cutter) else { return };
        let timescale = t.rendition.timescale();
        let decode_ns = ticks_to_ns(frame.decode, timescale);
        let goes_on = !frame.discontinuity && !self.break_pending;
        // A part must fit behind it, before which no border is.
        let long = cutter.too_long_with(decode_ns.saturating_add(t.rendition.part_ns()));
        // Where it does not, the segment has ended before that frame, if it could.
        let lasts = !beside && !cutter.too_long_with(decode_ns);
        if !goes_on || t.stalled || !long || lasts {
            return;
        }
        let ended_ns = ticks_to_ns(held.decode + i64::from(held.duration), timescale);
        if decode_ns.saturating_sub(ended_ns) < LEAD_IN_NS {
            return;
        }
        let cuts = cutter.pass(ended_ns, decode_ns);
        cuts.into_iter().for_each(|at| _ = self.cut_at(at));
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

    /// What ends with the held frame of a track that goes by the cuts of others, where this begins behind it. Where numbers pass in
    /// between nobody could know which one comes.
    fn ends_before(&self, track: usize, begins: Option<SegmentStart>) -> Ends {
        let current = self.tracks.get(track).and_then(|t| t.rendition.segment());
        match (begins, current) {
            (None, _) => Ends::Part,
            (Some(start), Some(current)) if start.number > current + 1 => Ends::Run,
            (Some(_), _) => Ends::Segment,
        }
    }

    /// Too far before the first cut there is nothing to belong to.
    fn drop_early(&mut self, track: usize) -> bool {
        let Some(t) = self.tracks.get_mut(track) else { return false };
        let Some(frame) = t.waiting.pop_front() else { return false };
        match t.video && !frame.sync {
            true => self.findings.pictures_without_key_frame += 1,
            false => self.findings.frames_early += 1,
        }
        true
    }

    /// All that a late track, also one that is not there yet, may need are kept.
    fn forget_cuts(&mut self) {
        while self.cuts.len() > CUTS_MAX {
            self.cuts.pop_front();
        }
    }
}

/// How long before the first picture sound may begin and still be part of its segment, which must not
/// pass the target duration with it (RFC 8216bis §4.4.3.1: rounded to the nearest second).
const LEAD_IN_NS: i64 = 400_000_000;

/// Frames that are missing inside a segment, to this length: the one before them lasts so much longer. What
/// follows a longer hole begins a part, which has its own time.
const BRIDGED_NS: i64 = 150_000_000;

/// Cuts that are kept for tracks that are late or lag: a minute of 2 s segments.
const CUTS_MAX: usize = 32;

/// How long a frame lasts, with the next one.
fn lasts_until(held: &Frame, next: &Frame) -> u32 {
    u32::try_from(next.decode.saturating_sub(held.decode)).unwrap_or(held.duration)
}

fn tagged(track: usize, out: &mut Outputs, f: impl FnOnce(&mut Vec<Output>)) {
    let mut own = Vec::new();
    f(&mut own);
    out.extend(own.into_iter().map(|o| (TrackId(track), o)));
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

mod beside;
mod ending;
mod findings;
mod silence;
mod standing;
#[cfg(test)]
mod tests;
