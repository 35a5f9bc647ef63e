//! The cut list: where a broadcast's segments begin, decided on its main track, followed by all.

use std::collections::VecDeque;
use std::time::Duration;

use crate::limits::{WINDOW_GROUPS_BESIDE, WINDOW_SEGMENTS, WINDOW_SLACK, WINDOW_TARGET_DURATIONS};

/// Where segments may be cut and how long they may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CutRules {
    /// A segment ends at the first key frame at or after 0.95 of it.
    pub segment: Duration,
    /// A group of pictures that is longer than this is cut without a key frame.
    pub first_group_max: Duration,
    /// A segment also ends at a key frame that a viewer asked for, if it is at least this long.
    pub asked_min: Duration,
}

impl Default for CutRules {
    fn default() -> Self {
        Self {
            segment: Duration::from_secs(2),
            first_group_max: Duration::from_secs(4),
            asked_min: Duration::from_millis(500),
        }
    }
}

impl CutRules {
    /// How many groups of a packaged track the live window takes at most, with those beside it, at this target duration. It is
    /// that of the first group of pictures, and segments may be much shorter: those that begin where a viewer `asked`, or with key
    /// frames that come `early`.
    pub(crate) fn window_groups(&self, target: Option<u32>, asked: bool, early: bool) -> usize {
        let target = target.unwrap_or_else(|| seconds_up(nanos(self.segment)));
        let window = Duration::from_secs(u64::from(target) * u64::from(WINDOW_TARGET_DURATIONS));
        let window = nanos(window.saturating_sub(WINDOW_SLACK));
        let shortest = if early { EARLY_MIN_NS } else { i64::MAX }.min(self.shortest(asked));
        let segments = window.unsigned_abs().div_ceil(shortest.unsigned_abs().max(1));
        let segments = usize::try_from(segments).unwrap_or(usize::MAX).max(WINDOW_SEGMENTS);
        segments.saturating_add(WINDOW_GROUPS_BESIDE)
    }

    /// How long a segment must be to end at a key frame.
    fn shortest(&self, asked: bool) -> i64 {
        let usual = nanos(self.segment) / 100 * 95;
        if asked { usual.min(nanos(self.asked_min)) } else { usual }
    }
}

/// How far a segment may pass the target duration. RFC 8216bis §4.4.3.1: its duration rounded to the
/// nearest second must not exceed it; the rest to half a second is left for clocks.
const OVER_NS: i64 = 400_000_000;

/// How short a segment may be that ends at a key frame because the next one would come too late. After a shorter one the next
/// one comes in time or nearly, if groups are no longer than the target duration.
const EARLY_MIN_NS: i64 = OVER_NS;

/// Segments that pass without a frame at most: the timeline lets no source be silent for longer with its times going on.
const CUTS_PASSED: i64 = 32;

/// Groups of pictures whose lengths are remembered: some twenty seconds of an encoder that makes key frames at scene cuts.
const GROUPS_REMEMBERED: usize = 16;

/// A group of pictures that is this little longer than whole seconds counts as whole: 60 frames at
/// 29.97 a second are 2.002 s.
const ROUND_NS: i64 = 20_000_000;

const SECOND_NS: i64 = 1_000_000_000;

/// Decides the cuts. Times are nanoseconds of the broadcast's timeline.
#[derive(Debug, Clone)]
pub(crate) struct Cutter {
    rules: CutRules,
    target: Option<u32>,
    /// The first key frame, until the target duration is fixed.
    first_sync: Option<i64>,
    /// Since when the target duration has been waited for.
    waits_since: i64,
    start: i64,
    last_sync: Option<i64>,
    /// How long the newest groups of pictures were, the newest last.
    groups: VecDeque<i64>,
}

/// What the cutter must know of a frame of the main track.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MainFrame {
    /// Its decode time.
    pub(crate) decode_ns: i64,
    /// Decoding can start here.
    pub(crate) sync: bool,
    /// A viewer asked for it. Encoders count from it to their next key frame: without a cut here, that one could come
    /// when the segment is too long already.
    pub(crate) asked: bool,
    /// It is of a track that goes by the cuts of another one, which is late: it says nothing of groups of pictures.
    pub(crate) beside: bool,
    /// What comes does not follow from what was.
    pub(crate) breaks: bool,
    /// A part ends before it.
    pub(crate) part_border: bool,
    /// How long a part is.
    pub(crate) part_ns: i64,
}

/// Why a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// A key frame, as it should be.
    KeyFrame,
    /// A key frame ahead of time: the next one would come too late, as it may where encoders make them at scene cuts.
    Early,
    /// No key frame for too long: decoding can't start here.
    TooLong,
    /// A discontinuity.
    Break,
}

impl Cutter {
    /// A cutter whose first segment begins at `start_ns`. A target duration that the broadcast has
    /// already stays.
    pub(crate) fn new(rules: CutRules, start_ns: i64, target: Option<u32>) -> Self {
        let (groups, last_sync) = (VecDeque::new(), None);
        Self {
            rules,
            target,
            first_sync: None,
            waits_since: start_ns,
            start: start_ns,
            last_sync,
            groups,
        }
    }

    /// TARGETDURATION in seconds, once it is fixed.
    pub(crate) fn target_duration(&self) -> Option<u32> {
        self.target
    }

    /// Looks at the next frame of the main track: does a segment begin with it?
    pub(crate) fn frame(&mut self, frame: MainFrame) -> Option<Why> {
        self.fix_target(&frame);
        self.remember(&frame);
        let elapsed = frame.decode_ns.saturating_sub(self.start);
        let why = if elapsed <= 0 {
            frame.breaks.then_some(Why::Break)
        } else if frame.breaks {
            Some(Why::Break)
        } else if frame.sync && elapsed >= self.rules.shortest(frame.asked) {
            Some(Why::KeyFrame)
        } else if frame.sync
            && !frame.beside
            && elapsed >= EARLY_MIN_NS
            && self.next_is_late(&frame)
        {
            Some(Why::Early)
        } else {
            let full = self.too_long_with(frame.decode_ns.saturating_add(frame.part_ns));
            (frame.part_border && full).then_some(Why::TooLong)
        };
        if why.is_some() {
            self.start = frame.decode_ns;
        }
        why
    }

    /// A segment begins here after all, if it is too long up to that time and one that begins here is not.
    pub(crate) fn begin_for(&mut self, at_ns: i64, end_ns: i64) -> bool {
        let fits = self.longest().is_some_and(|longest| end_ns.saturating_sub(at_ns) <= longest);
        let begins = fits && at_ns > self.start && self.too_long_with(end_ns);
        if begins {
            self.start = at_ns;
        }
        begins
    }

    /// Nothing came from `from_ns` to `until_ns`: segments begin there as if it had, all of one length, as what is left out is
    /// divided.
    pub(crate) fn pass(&self, from_ns: i64, until_ns: i64) -> Vec<i64> {
        let (segment, long) = (nanos(self.rules.segment), until_ns.saturating_sub(from_ns));
        let count = (long - 1).max(0) / segment.max(OVER_NS) + 1;
        let cuts = (0..count.min(CUTS_PASSED)).map(|i| from_ns.saturating_add(long / count * i));
        cuts.collect()
    }

    /// Whether the segment would be longer than playlists may say if it reached to `end_ns`.
    pub(crate) fn too_long_with(&self, end_ns: i64) -> bool {
        self.longest().is_some_and(|longest| end_ns.saturating_sub(self.start) > longest)
    }

    fn remember(&mut self, frame: &MainFrame) {
        if frame.beside || (!frame.sync && !frame.breaks) {
            return;
        }
        let sync = frame.sync.then_some(frame.decode_ns);
        let last = std::mem::replace(&mut self.last_sync, sync).filter(|_| !frame.breaks);
        if let (Some(last), Some(now)) = (last, sync) {
            if self.groups.len() >= GROUPS_REMEMBERED {
                self.groups.pop_front();
            }
            self.groups.push_back(now.saturating_sub(last));
        }
    }

    /// Whether the key frame after this one may come when the segment has had to end. Of groups that never fit into a segment there
    /// is nothing to wait for.
    fn next_is_late(&self, frame: &MainFrame) -> bool {
        let Some(longest) = self.longest() else { return false };
        // Where it ends without one: at the border of the last part that fits.
        let border = longest / frame.part_ns.max(1) * frame.part_ns;
        let group = self.groups.iter().filter(|group| **group <= longest).max();
        let next = frame.decode_ns.saturating_add(group.copied().unwrap_or(0));
        next.saturating_sub(self.start) > border
    }

    /// How long a segment may be, once the target duration is known.
    fn longest(&self) -> Option<i64> {
        self.target.map(|target| i64::from(target) * SECOND_NS + OVER_NS)
    }

    /// Fixed when the second key frame is seen, or after four seconds without one.
    fn fix_target(&mut self, frame: &MainFrame) {
        if self.target.is_some() {
            return;
        }
        let least = nanos(self.rules.segment);
        match self.first_sync {
            _ if frame.breaks => {
                self.first_sync = frame.sync.then_some(frame.decode_ns);
                self.waits_since = frame.decode_ns;
            }
            // One out of turn says nothing of how long groups are. Whoever asks for one after the other puts off nothing.
            Some(_) if frame.sync && frame.asked => self.first_sync = Some(frame.decode_ns),
            Some(first) if frame.sync => {
                let group = frame.decode_ns.saturating_sub(first);
                self.target = Some(seconds_up(group.max(least)));
            }
            None if frame.sync => {
                self.first_sync = Some(frame.decode_ns);
                self.waits_since = frame.decode_ns;
            }
            _ => {}
        }
        let waited = frame.decode_ns.saturating_sub(self.waits_since);
        if self.target.is_none() && waited >= nanos(self.rules.first_group_max) {
            self.target = Some(seconds_up(nanos(self.rules.first_group_max).max(least)));
        }
    }
}

fn seconds_up(ns: i64) -> u32 {
    u32::try_from((ns - ROUND_NS).max(1).div_ceil_second()).unwrap_or(u32::MAX)
}

trait DivCeilSecond {
    fn div_ceil_second(self) -> i64;
}

impl DivCeilSecond for i64 {
    fn div_ceil_second(self) -> i64 {
        (self + SECOND_NS - 1) / SECOND_NS
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs frames of `fps` with key frames at the given times for `seconds`; answers the target
    /// duration and the cuts.
    fn run(fps: f64, keys: impl Fn(f64) -> bool, seconds: f64) -> (Option<u32>, Vec<(f64, Why)>) {
        in_parts_of((fps / 3.0).round().max(1.0) as u64, fps, keys, seconds)
    }

    /// The same with so many frames in a part.
    fn in_parts_of(
        per_part: u64,
        fps: f64,
        keys: impl Fn(f64) -> bool,
        seconds: f64,
    ) -> (Option<u32>, Vec<(f64, Why)>) {
        let part_ns = (per_part as f64 / fps * 1e9) as i64;
        let mut cutter = Cutter::new(CutRules::default(), 0, None);
        let (mut cuts, mut since) = (Vec::new(), 0);
        for i in 0..(seconds * fps) as u64 {
            let at = i as f64 / fps;
            let frame = MainFrame {
                decode_ns: (at * 1e9) as i64,
                sync: keys(at),
                asked: false,
                beside: false,
                breaks: false,
                part_border: since % per_part == 0,
                part_ns,
            };
            since += 1;
            if let Some(why) = cutter.frame(frame) {
                cuts.push(((at * 1000.0).round() / 1000.0, why));
                since = 1;
            }
        }
        (cutter.target_duration(), cuts)
    }

    fn every(group: f64) -> impl Fn(f64) -> bool {
        move |at| (at / group - (at / group).round()).abs() < 1e-6
    }

    #[test]
    fn segments_end_at_the_first_key_frame_of_about_two_seconds() {
        let (target, cuts) = run(30.0, every(2.0), 7.0);
        assert_eq!(target, Some(2));
        assert_eq!(cuts, [(2.0, Why::KeyFrame), (4.0, Why::KeyFrame), (6.0, Why::KeyFrame)]);
        let (target, cuts) = run(25.0, every(0.5), 4.1);
        assert_eq!(target, Some(2));
        assert_eq!(cuts, [(2.0, Why::KeyFrame), (4.0, Why::KeyFrame)]);
        let (target, cuts) = run(30.0, |_| true, 4.0);
        assert_eq!((target, cuts[0]), (Some(2), (1.9, Why::KeyFrame)));
    }

    #[test]
    fn memory_has_room_for_the_shortest_segments_of_the_longest_window() {
        let rules = CutRules::default();
        for (target, asked, early, groups) in [
            (None, false, false, 9),
            (Some(2), false, false, 9),
            (Some(3), false, false, 12),
            (Some(4), false, false, 15),
            (Some(2), true, false, 26),
            (Some(4), true, false, 50),
            (Some(2), false, true, 32),
            (Some(2), true, true, 32),
            (Some(10), false, false, 34),
        ] {
            let found = rules.window_groups(target, asked, early);
            assert_eq!(found, groups, "{target:?} {asked} {early}");
        }
        let long = CutRules { segment: Duration::from_secs(6), ..rules };
        assert_eq!(long.window_groups(Some(6), false, false), 9);
    }

    #[test]
    fn a_longer_group_makes_longer_segments() {
        let (target, cuts) = run(30.0, every(3.0), 7.0);
        assert_eq!(
            (target, &cuts[..]),
            (Some(3), &[(3.0, Why::KeyFrame), (6.0, Why::KeyFrame)][..])
        );
        let fps = 30_000.0 / 1001.0;
        let (target, cuts) = run(fps, every(60.0 / fps), 5.0);
        assert_eq!((target, cuts.len()), (Some(2), 2), "2.002 s are two seconds");
    }

    /// x264 as OBS has it: a key frame at each scene cut, and two seconds after the last one at the latest.
    #[test]
    fn key_frames_at_scene_cuts_begin_segments() {
        let mut seed = 7u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize
        };
        let (mut keys, mut at) = (std::collections::BTreeSet::new(), 0);
        while at < 30 * 600 {
            keys.insert(at);
            at += if random() % 2 == 0 { 60 } else { 1 + random() % 60 };
        }
        let (target, cuts) = run(30.0, |at| keys.contains(&((at * 30.0).round() as usize)), 600.0);
        assert_eq!(target, Some(2));
        let without = cuts.iter().filter(|(_, why)| *why == Why::TooLong).count();
        assert!(without * 50 < cuts.len(), "{without} of {}", cuts.len());
        assert!(cuts.len() < 500, "{} in ten minutes", cuts.len());
        let ends = cuts.iter().map(|cut| cut.0);
        let lengths = ends.clone().skip(1).zip(ends).map(|(end, begin)| end - begin);
        assert!(
            lengths.clone().all(|s| (0.39..2.41).contains(&s)),
            "{:?}",
            lengths.max_by(f64::total_cmp)
        );
    }

    /// Groups of a length that does not go into two seconds: as many as fit. What fits is not cut sooner, in parts of any length.
    #[test]
    fn regular_groups_that_are_no_part_of_a_segment_make_shorter_ones() {
        for (per_part, group, segment) in [
            (7, 1.5, 1.5),
            (7, 1.25, 1.25),
            (7, 0.8, 1.6),
            (7, 0.7, 2.1),
            (7, 0.5, 2.0),
            (4, 1.1, 2.2),
            (7, 1.1, 1.1),
            (4, 1.0, 2.0),
            (10, 1.0, 2.0),
            (10, 0.5, 2.0),
            (20, 1.0, 2.0),
            (20, 0.05, 1.9),
        ] {
            let (case, frames) =
                (format!("{per_part} {group}"), |at: f64| (at * 20.0).round() as u64);
            let key = |at| frames(at).is_multiple_of(frames(group));
            let (target, cuts) = in_parts_of(per_part, 20.0, key, 30.0);
            assert_eq!(target, Some(2), "{case}");
            // The first ones come before it is known how long groups are.
            let ends = cuts.iter().map(|cut| cut.0).skip(3);
            let mut lengths = ends.clone().skip(1).zip(ends).map(|(end, begin)| end - begin);
            assert!(lengths.all(|s| (s - segment).abs() < 0.001), "{case}: {cuts:?}");
            assert!(cuts.iter().skip(3).all(|(_, why)| *why != Why::TooLong), "{case}: {cuts:?}");
        }
    }

    /// One group of 1.1 s among many of one second, in parts of a third: two of them fit.
    #[test]
    fn a_group_that_is_a_little_longer_once_makes_no_segment_shorter() {
        let keys = |at: f64| {
            let frame = (at * 30.0).round() as u64;
            if frame < 153 { frame.is_multiple_of(30) } else { (frame - 3).is_multiple_of(30) }
        };
        let (_, cuts) = run(30.0, keys, 30.0);
        assert!(cuts.iter().all(|(_, why)| *why == Why::KeyFrame), "{cuts:?}");
        assert!(cuts.len() <= 15, "{cuts:?}");
    }

    #[test]
    fn a_group_without_end_is_cut_at_part_borders() {
        let (target, cuts) = run(30.0, |at| at == 0.0, 20.0);
        assert_eq!(target, Some(4));
        assert!(cuts.len() >= 4, "{cuts:?}");
        let mut last = 0.0;
        for (at, why) in cuts {
            assert_eq!(why, Why::TooLong);
            assert!(at - last < 4.5, "rounded to the nearest second: {last}..{at}");
            last = at;
        }
    }

    #[test]
    fn a_break_cuts_at_once() {
        let mut cutter = Cutter::new(CutRules::default(), 0, Some(2));
        let frame = MainFrame {
            decode_ns: 500_000_000,
            sync: false,
            asked: false,
            beside: false,
            breaks: true,
            part_border: false,
            part_ns: 1,
        };
        assert_eq!(cutter.frame(frame), Some(Why::Break));
        let key = MainFrame { decode_ns: 2_000_000_000, sync: true, breaks: false, ..frame };
        assert_eq!(cutter.frame(key), None, "counted from the break");
    }

    /// An encoder with a key frame every two seconds, counted from the last one.
    #[test]
    fn a_key_frame_that_was_asked_for_ends_a_segment_that_is_not_too_short() {
        let mut cutter = Cutter::new(CutRules::default(), 0, None);
        let frame = |ms: i64, sync, asked| MainFrame {
            decode_ns: ms * 1_000_000,
            sync,
            asked,
            beside: false,
            breaks: false,
            part_border: true,
            part_ns: 100_000_000,
        };
        let mut cuts = Vec::new();
        for ms in (0..8_000).step_by(100) {
            let key = frame(ms, [0, 1_000, 3_000, 3_300, 5_300, 7_300].contains(&ms), false);
            let asked = [1_000, 3_300].contains(&ms);
            cuts.extend(cutter.frame(MainFrame { asked, ..key }).map(|why| (ms, why)));
        }
        // That at 3.3 s came too soon.
        let expected = [1_000, 3_000, 5_300, 7_300].map(|ms| (ms, Why::KeyFrame));
        assert_eq!(cuts, expected);
        assert_eq!(cutter.target_duration(), Some(2), "not by what came out of turn");
    }

    #[test]
    fn who_asks_for_key_frames_all_the_time_keeps_no_broadcast_from_its_target_duration() {
        let mut cutter = Cutter::new(CutRules::default(), 0, None);
        for ms in (0..4_100).step_by(100) {
            let key = ms % 1_000 == 0;
            cutter.frame(MainFrame {
                decode_ns: ms * 1_000_000,
                sync: key,
                asked: key && ms > 0,
                beside: false,
                breaks: false,
                part_border: true,
                part_ns: 100_000_000,
            });
        }
        assert_eq!(cutter.target_duration(), Some(4));
    }
}
