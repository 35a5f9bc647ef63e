//! The index of a broadcast: which segments and parts there are. It is built from the objects of the
//! `.cmaf` tracks and their properties only, so that any node that follows them renders the same.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use spine::Location;

use crate::limits::{
    GAP_SEGMENTS, INDEX_SEGMENTS, NUMBER_MAX, SEGMENT_PARTS, TARGET_DURATION_MAX, WINDOW_SEGMENTS,
    WINDOW_SLACK, WINDOW_TARGET_DURATIONS,
};
use crate::properties::{self, Malformed};

/// Everything that playlists say of one broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    renditions: BTreeMap<String, Rendition>,
    /// TARGETDURATION in seconds, once it is fixed.
    target_duration: Option<u32>,
    ended: bool,
}

/// One media playlist's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendition {
    /// PART-TARGET in milliseconds.
    pub part_target_ms: u32,
    /// Oldest first, numbers without holes.
    pub segments: VecDeque<Segment>,
    /// Where the list begins that has no segment yet, as [`Segment::at_ns`].
    pub(crate) begins_ns: u64,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Media sequence number; the group id in every `.cmaf` track.
    pub number: u64,
    /// What its first object said.
    pub info: properties::Segment,
    /// Its parts so far.
    pub parts: Vec<Part>,
    /// No part will follow.
    pub complete: bool,
    /// Nor is it known what comes behind it, if anything does: its last part [closes](properties::Part::closes).
    pub closes: bool,
    /// It is, and the next one follows at once, at whose head pictures may be coded that are shown before it. Recordings do not say so.
    pub open: bool,
    /// Where it stands in the run of segments that it belongs to.
    pub period: Period,
    /// Where it begins as players count, in nanoseconds: how long all segments before it last together, from the first one
    /// that this index has seen.
    pub at_ns: u64,
}

/// The beginning of a run of segments that follow from each other with one initialisation segment: a
/// Period of DASH, for as long as no other rendition begins a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The number of its first segment.
    pub number: u64,
    /// Decode time of its first frame, in units of the segment's timescale.
    pub start: u64,
    /// Milliseconds since 1970 at its first frame.
    pub wall_clock_ms: u64,
}

/// One part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// In units of the timescale.
    pub duration: u32,
    /// It starts with a frame that decoding can start with.
    pub independent: bool,
    /// Its size.
    pub bytes: u64,
    /// Its first picture, which can be decoded alone, ends here.
    pub key_bytes: Option<u32>,
}

impl Part {
    /// Of a gap.
    fn lost(duration: u32) -> Self {
        Self { duration, independent: true, bytes: 0, key_bytes: None }
    }
}

impl Segment {
    /// It begins a new period, or goes on with that of the segment before.
    fn period_after(&self, before: Option<&Self>) -> Period {
        let goes_on = before.filter(|last| {
            let same = |s: &properties::Segment| (s.init, s.epoch, s.gap, s.timescale);
            let follows = last.number + 1 == self.number && !self.info.discontinuity;
            follows && same(&last.info) == same(&self.info)
        });
        let properties::Segment { start, wall_clock_ms, .. } = self.info;
        let new = Period { number: self.number, start, wall_clock_ms };
        goes_on.map_or(new, |last| last.period)
    }

    /// Duration of the parts so far, in units of the segment's timescale.
    pub fn duration(&self) -> u64 {
        self.parts.iter().map(|p| u64::from(p.duration)).sum()
    }

    /// Seconds of this many units.
    pub fn seconds(&self, units: u64) -> f64 {
        units as f64 / f64::from(self.info.timescale)
    }

    /// Nanoseconds of this many units.
    pub fn ns(&self, units: u64) -> u64 {
        ticks_ns(units, self.info.timescale)
    }

    /// Where the parts so far end, counted as [`at_ns`](Self::at_ns).
    pub fn end_ns(&self) -> u64 {
        self.at_ns.saturating_add(self.ns(self.duration()))
    }

    /// Bits a second of the parts so far.
    pub fn bitrate(&self) -> u64 {
        per_second(self.bytes(), self.ns(self.duration()))
    }

    /// Size of the parts so far.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|p| p.bytes).sum()
    }

    /// The part that begins with its first picture that can be decoded alone, and how many bytes that is, with what
    /// describes it.
    pub fn key_part(&self) -> Option<(u64, u32)> {
        let keys = self.parts.iter().zip(0..);
        keys.filter_map(|(part, n)| Some((n, part.key_bytes?))).next()
    }

    /// Whether decoding can start with its first frame.
    pub fn independent(&self) -> bool {
        self.parts.first().is_some_and(|p| p.independent)
    }
}

/// How far a rendition has got: the newest segment's number and how many parts of it there are.
/// Rises with every change; identifies one version of its playlist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Version {
    /// The newest segment's number.
    pub segment: u64,
    /// Parts of it.
    pub parts: u64,
    /// Whether it is complete.
    pub complete: bool,
    /// Whether the broadcast has ended.
    pub ended: bool,
}

impl Index {
    /// An index without renditions.
    pub fn new() -> Self {
        Self::default()
    }

    /// TARGETDURATION in seconds; playlists wait until it is fixed.
    pub fn target_duration(&self) -> Option<u32> {
        self.target_duration
    }

    /// Whether there is enough to begin with: the target duration is fixed, and every rendition has a
    /// whole segment.
    pub fn playable(&self) -> bool {
        let whole = |r: &Rendition| r.segments.front().is_some_and(|s| s.complete);
        let begun = !self.renditions.is_empty() && self.renditions.values().all(whole);
        self.ended || (self.target_duration.is_some() && begun)
    }

    /// Whether the broadcast is over.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// A rendition by its name.
    pub fn rendition(&self, name: &str) -> Option<&Rendition> {
        self.renditions.get(name)
    }

    /// All renditions, by name.
    pub fn renditions(&self) -> impl Iterator<Item = (&str, &Rendition)> {
        self.renditions.iter().map(|(name, rendition)| (name.as_str(), rendition))
    }

    /// How far a rendition has got.
    pub fn version(&self, name: &str) -> Version {
        let newest = self.renditions.get(name).and_then(|r| r.segments.back());
        let ended = self.ended;
        newest.map_or(Version { ended, ..Version::default() }, |s| Version {
            segment: s.number,
            parts: s.parts.len() as u64,
            complete: s.complete,
            ended,
        })
    }

    /// Takes one object of a `.cmaf` track: `at` its location, `properties` its own, `bytes` its size.
    /// Objects come in order; the first ones of a rendition may be anywhere in the broadcast, from
    /// the beginning of a group on.
    pub fn apply(
        &mut self,
        rendition: &str,
        at: Location,
        properties: &[u8],
        bytes: u64,
    ) -> Result<(), Malformed> {
        let (part, segment) = properties::decode(properties)?;
        self.add(rendition, at, &part, segment, bytes)
    }

    /// Takes one part as [`apply`](Self::apply) does, its properties read already: so an index is built
    /// from what a recording kept. `segment` is needed with a segment's first part.
    pub fn add(
        &mut self,
        rendition: &str,
        at: Location,
        part: &properties::Part,
        segment: Option<properties::Segment>,
        bytes: u64,
    ) -> Result<(), Malformed> {
        if !believable(at, part, segment.as_ref()) {
            return Err(Malformed);
        }
        if self.target_duration.is_none() {
            self.target_duration = part.target_duration;
        }
        if !self.renditions.contains_key(rendition) {
            let (part_target_ms, segments) = (part.target_ms, VecDeque::new());
            let new = Rendition { part_target_ms, segments, begins_ns: 0 };
            self.renditions.insert(rendition.to_owned(), new);
        }
        let counted = self.counted(rendition, at.group);
        let Some(rendition) = self.renditions.get_mut(rendition) else { return Err(Malformed) };
        if at.object == 0 {
            let info = segment.ok_or(Malformed)?;
            rendition.begin(at.group, info, &counted)?;
        }
        let Some(newest) = rendition.segments.back_mut() else { return Err(Malformed) };
        let next = newest.parts.len() as u64;
        if newest.number != at.group || next != at.object || newest.complete {
            return Err(Malformed);
        }
        let key_bytes = part.key_bytes.filter(|key| part.independent && u64::from(*key) <= bytes);
        let properties::Part { duration, independent, .. } = *part;
        newest.parts.push(Part { duration, independent, bytes, key_bytes });
        newest.complete = part.last || newest.parts.len() >= SEGMENT_PARTS;
        newest.closes = part.closes;
        newest.open = part.last && part.open;
        Ok(())
    }

    /// The discontinuity sequences of the numbers that this rendition lacks before `number`, as others have them.
    fn counted(&self, rendition: &str, number: u64) -> Vec<Option<u64>> {
        let last = self.renditions.get(rendition).and_then(|r| Some(r.segments.back()?.number));
        let missing = last.map_or(number, |last| last + 1)..number;
        let has = |number| {
            let mut there = self.renditions.values().filter_map(|r| r.segment(number));
            there.find(|s| !s.info.gap).map(|s| s.info.discontinuity_sequence)
        };
        missing.take(GAP_SEGMENTS as usize).map(has).collect()
    }

    /// Forgets segments below `number`: they are no longer to be had.
    pub fn trim(&mut self, rendition: &str, number: u64) {
        if let Some(rendition) = self.renditions.get_mut(rendition) {
            while rendition.segments.front().is_some_and(|s| s.number < number) {
                rendition.segments.pop_front();
            }
        }
    }

    /// Forgets the oldest segments of a rendition beyond so many.
    pub fn bound(&mut self, rendition: &str, segments: usize) {
        if let Some(rendition) = self.renditions.get_mut(rendition) {
            let surplus = rendition.segments.len().saturating_sub(segments);
            rendition.segments.drain(..surplus);
        }
    }

    /// A complete segment is no longer to be had: it stays in its place, as a gap.
    pub fn lose(&mut self, rendition: &str, number: u64) {
        let Some(rendition) = self.renditions.get_mut(rendition) else { return };
        let Some(segment) = rendition.segment_mut(number) else { return };
        if segment.complete && !segment.info.gap {
            let duration = u32::try_from(segment.duration()).unwrap_or(u32::MAX);
            segment.info.gap = true;
            segment.parts = vec![Part::lost(duration)];
            rendition.part_periods(number);
        }
    }

    /// Who published this is gone without a word, as with the server that it came from: what comes is of somebody else.
    pub fn close(&mut self) {
        for segment in self.renditions.values_mut().filter_map(|r| r.segments.back_mut()) {
            segment.closes = true;
        }
    }

    /// The broadcast is over: what is there is all.
    pub fn end(&mut self) {
        self.ended = true;
        for segment in self.renditions.values_mut().filter_map(|r| r.segments.back_mut()) {
            segment.complete = true;
        }
    }
}

fn ticks_ns(ticks: u64, timescale: u32) -> u64 {
    let ns = u128::from(ticks) * 1_000_000_000 / u128::from(timescale.max(1));
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Bits a second of so many bytes in so many nanoseconds.
fn per_second(bytes: u64, ns: u64) -> u64 {
    let bits = u128::from(bytes) * 8 * 1_000_000_000;
    u64::try_from(bits / u128::from(ns.max(1))).unwrap_or(u64::MAX)
}

/// Properties may come from another node or a damaged record: what is calculated with them must not overflow.
fn believable(
    at: Location,
    part: &properties::Part,
    segment: Option<&properties::Segment>,
) -> bool {
    let numbers = |s: &properties::Segment| [s.start, s.wall_clock_ms, s.discontinuity_sequence];
    at.group <= NUMBER_MAX
        && part.target_ms <= TARGET_DURATION_MAX * 1_000
        && part.target_duration.is_none_or(|seconds| seconds <= TARGET_DURATION_MAX)
        && segment.is_none_or(|s| numbers(s).iter().all(|n| *n <= NUMBER_MAX))
}

impl Rendition {
    /// Where the live window begins in [`segments`](Self::segments), with this target duration in seconds: as many of the
    /// newest as last long enough, and not less than a few. It never goes back.
    pub fn window_start(&self, target: u32) -> usize {
        let seconds = u64::from(target) * u64::from(WINDOW_TARGET_DURATIONS);
        let wanted = Duration::from_secs(seconds).saturating_sub(WINDOW_SLACK).as_nanos();
        let (mut whole, mut lasts) = (0, 0);
        let listed = self.segments.iter().rev().take_while(|segment| {
            let within = whole < WINDOW_SEGMENTS || lasts < wanted;
            // The segment that is being made does not count.
            if segment.complete {
                whole += 1;
                lasts += u128::from(segment.ns(segment.duration()));
            }
            within
        });
        self.segments.len() - listed.count()
    }

    fn begin(
        &mut self,
        number: u64,
        info: properties::Segment,
        counted: &[Option<u64>],
    ) -> Result<(), Malformed> {
        if let Some(newest) = self.segments.back_mut() {
            if number <= newest.number {
                return Err(Malformed);
            }
            newest.complete = true;
            self.fill_gap(number, info, counted)?;
        }
        self.add(number, info, Vec::new(), false);
        Ok(())
    }

    /// Numbers that this rendition left out are gaps: their time is divided evenly, so that every
    /// node says the same of them. Discontinuities that lie in them are where others have them, else the first of them.
    fn fill_gap(
        &mut self,
        number: u64,
        next: properties::Segment,
        counted: &[Option<u64>],
    ) -> Result<(), Malformed> {
        let Some(last) = self.segments.back() else { return Ok(()) };
        let count = number - last.number - 1;
        if count == 0 {
            return Ok(());
        }
        let info = last.info;
        if count > GAP_SEGMENTS {
            // What was before is no part of the list that begins.
            let ended = ticks_ns(info.start.saturating_add(last.duration()), info.timescale);
            let gap_ns = ticks_ns(next.start, next.timescale).saturating_sub(ended);
            self.begins_ns = last.end_ns().saturating_add(gap_ns);
            self.segments.clear();
            return Ok(());
        }
        let own = u64::from(next.discontinuity);
        let reached = next.discontinuity_sequence.saturating_sub(own);
        let mut sequence = info.discontinuity_sequence;
        let is_counted = counted.iter().any(Option::is_some);
        // Behind the last discontinuity it is the publisher who came with it that lacks them.
        let joined = reached > sequence && !next.discontinuity;
        let timescale = if joined { next.timescale } else { info.timescale };
        let scaled = |ticks: u64, of: u32| {
            let ticks = u128::from(ticks) * u128::from(timescale) / u128::from(of.max(1));
            u64::try_from(ticks).unwrap_or(u64::MAX)
        };
        let first = last.number + 1;
        let end = scaled(info.start.saturating_add(last.duration()), info.timescale);
        let each = scaled(next.start, next.timescale).saturating_sub(end) / count;
        let each = each.max(1);
        let duration = u32::try_from(each).map_err(|_| Malformed)?;
        let ms = |ticks: u64| ticks.saturating_mul(1000) / u64::from(timescale.max(1));
        for (i, counted) in (0..count).zip(counted) {
            let now = match counted {
                _ if i + 1 == count => reached,
                Some(counted) => *counted,
                None if is_counted => sequence,
                None => sequence + 1,
            };
            let now = now.min(reached).max(sequence);
            let of = if joined && now == reached { next } else { info };
            let (start, at) = (end.saturating_add(each * i), scaled(of.start, of.timescale));
            let gap = properties::Segment {
                timescale,
                start,
                wall_clock_ms: (of.wall_clock_ms)
                    .saturating_add(ms(start.saturating_sub(at)))
                    .saturating_sub(ms(at.saturating_sub(start))),
                discontinuity: now > sequence,
                discontinuity_sequence: now,
                gap: true,
                ..of
            };
            sequence = now;
            let parts = vec![Part::lost(duration)];
            self.add(first + i, gap, parts, true);
        }
        Ok(())
    }

    /// What was one run of segments has a gap at this number now.
    fn part_periods(&mut self, number: u64) {
        let Some(first) = self.segments.front().map(|s| s.number) else { return };
        let at = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        for i in at..self.segments.len() {
            // What begins a period behind it does so still.
            if i > at + 1 && self.segments[i].period.number == self.segments[i].number {
                return;
            }
            let before = i.checked_sub(1).and_then(|i| self.segments.get(i));
            let period = self.segments[i].period_after(before);
            self.segments[i].period = period;
        }
    }

    fn add(&mut self, number: u64, info: properties::Segment, parts: Vec<Part>, complete: bool) {
        let at_ns = self.segments.back().map_or(self.begins_ns, Segment::end_ns);
        if self.segments.len() >= INDEX_SEGMENTS {
            self.segments.pop_front();
        }
        let period = Period { number, start: info.start, wall_clock_ms: info.wall_clock_ms };
        let (closes, open) = (false, false);
        let mut segment = Segment { number, info, parts, complete, closes, open, period, at_ns };
        segment.period = segment.period_after(self.segments.back());
        self.segments.push_back(segment);
    }

    /// The segment with this number.
    pub fn segment(&self, number: u64) -> Option<&Segment> {
        let first = self.segments.front()?.number;
        self.segments.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    fn segment_mut(&mut self, number: u64) -> Option<&mut Segment> {
        let first = self.segments.front()?.number;
        self.segments.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// The peak of bits a second, as of [`bitrate`](Self::bitrate), of those who load only
    /// [key pictures](Segment::key_part); none if there are none.
    pub fn key_bitrate(&self, target_duration: Option<u32>) -> Option<u64> {
        let key = |s: &Segment| s.key_part().map(|(_, bytes)| u64::from(bytes));
        let mut keys = self.segments.iter().filter(|s| s.complete).filter_map(key);
        keys.next()?;
        self.rates(target_duration, |s| key(s).unwrap_or(0)).map(|(peak, _)| peak)
    }

    /// Measured bits a second of complete segments: the peak, and the mean of all of them.
    ///
    /// RFC 8216bis §4.1: the peak is that of any segments in a row that last 0.5 to 1.5 target durations together, so
    /// that a short one at the end does not count alone.
    pub fn bitrate(&self, target_duration: Option<u32>) -> Option<(u64, u64)> {
        self.rates(target_duration, Segment::bytes)
    }

    fn rates(
        &self,
        target_duration: Option<u32>,
        bytes: impl Fn(&Segment) -> u64,
    ) -> Option<(u64, u64)> {
        let of = |s: &Segment| (bytes(s), s.ns(s.duration()));
        let complete: Vec<(u64, u64)> =
            self.segments.iter().filter(|s| s.complete && !s.info.gap).map(of).collect();
        let target = u64::from(target_duration.unwrap_or(0)) * 1_000_000_000;
        let (mut peak, mut bytes, mut ns) = (0, 0, 0);
        for (from, (first, lasts)) in complete.iter().enumerate() {
            (bytes, ns) = (bytes + first, ns + lasts);
            let (mut row, mut row_ns) = (0, 0);
            for (more, (its, its_ns)) in complete.iter().skip(from).enumerate() {
                (row, row_ns) = (row + its, row_ns + its_ns);
                // One that alone is longer than that counts, too.
                if more > 0 && row_ns > target * 3 / 2 {
                    break;
                }
                if row_ns >= target / 2 {
                    peak = peak.max(per_second(row, row_ns));
                }
            }
        }
        let mean = per_second(bytes, ns);
        // All of it together may be shorter than that.
        (!complete.is_empty()).then(|| (peak.max(mean), mean))
    }
}
