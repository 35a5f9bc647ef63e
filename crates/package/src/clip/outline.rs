//! Which parts a file is made of, from the index alone.

use super::{Refused, SAME_NS, Wanted, seconds};
use crate::index::{Index, Part, Rendition, Segment};
use crate::limits::{CLIP_LOOK_BACK, CLIP_MARGIN, CLIP_PARTS, CLIP_PREROLL};

/// A track of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    /// The rendition's name.
    pub name: String,
    /// Its initialisation segment.
    pub init: u64,
    /// Ticks a second.
    pub timescale: u32,
}

/// A part to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartRef {
    /// Index of its track.
    pub track: usize,
    /// Its segment.
    pub segment: u64,
    /// The ownership under which that was made.
    pub epoch: u64,
    /// Its place in the segment.
    pub part: u64,
    /// Its size.
    pub bytes: u64,
    /// Which run of segments that follow from each other.
    pub(super) run: usize,
    /// As players count, by decode times.
    pub(super) at_ns: i64,
}

/// All parts that a file may be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The one that decides, and the sound that goes with a picture.
    pub tracks: Vec<Track>,
    /// In the order of the file.
    pub parts: Vec<PartRef>,
    pub(super) wanted: Wanted,
    /// All that was asked for was there.
    pub whole: bool,
}

/// Segments of the deciding track that follow from each other without a hole.
struct Run {
    /// The numbers of its segments that matter.
    first: u64,
    last: u64,
    /// Decode time of its first part that is used, in nanoseconds on the clock that all tracks share, and where that is as
    /// players count.
    decode_ns: u64,
    at_ns: u64,
}

impl Outline {
    /// Chooses parts.
    pub fn new(index: &Index, wanted: Wanted) -> Result<Self, Refused> {
        let (picture, sound) = source_tracks(index);
        let (main, other) = match (picture, wanted.picture) {
            (Some(picture), true) => (picture, sound),
            _ => (sound.ok_or(Refused::NoTrack("sound"))?, None),
        };
        let r = index.rendition(main).ok_or(Refused::NoTrack("picture"))?;
        let (Some(first), Some(last)) = (r.segments.front(), r.segments.back()) else {
            return Err(Refused::Gap);
        };
        let (begin, end) = (first.at_ns, last.end_ns());
        // "From the beginning" is also meant where the beginning is no longer there.
        let from_ns =
            if wanted.to_ns == u64::MAX { wanted.from_ns.max(begin) } else { wanted.from_ns };
        if from_ns < begin || from_ns >= end {
            let [from, begin, end] = [from_ns, begin, end].map(seconds);
            return Err(Refused::Outside { from, begin, end });
        }
        let whole = wanted.to_ns <= end || index.ended();
        // Up to the end is all of it: where the first picture is shown earlier after its decoding than others, the last ones are
        // shown later than all durations together.
        let to_ns = if wanted.to_ns >= end { u64::MAX } else { wanted.to_ns };
        let wanted = Wanted { from_ns, to_ns, ..wanted };
        let what = if picture == Some(main) { "picture" } else { "sound" };
        let lead = if what == "sound" { ns(CLIP_PREROLL) } else { 0 };
        let (at, part) = begin_at(r, from_ns.saturating_sub(lead).max(begin), wanted.to_ns)?;
        let mut outline = Self { tracks: Vec::new(), parts: Vec::new(), wanted, whole };
        let runs = outline.take_main(main, r, at, part, what)?;
        if let Some((name, r)) = other.and_then(|name| Some((name, index.rendition(name)?))) {
            outline.take_sound(name, r, &runs)?;
        }
        if outline.parts.len() > CLIP_PARTS {
            return Err(Refused::TooLong);
        }
        // What a run's times count from is known with its first part of the deciding track.
        let mut seen = vec![false; runs.len()];
        let mut order: Vec<(PartRef, bool)> = Vec::with_capacity(outline.parts.len());
        for part in outline.parts {
            let leads = part.track == 0 && !seen[part.run];
            seen[part.run] |= leads;
            order.push((part, leads));
        }
        order.sort_by_key(|(p, leads)| (p.run, !leads, p.at_ns, p.track));
        outline.parts = order.into_iter().map(|(part, _)| part).collect();
        Ok(outline)
    }

    fn take_main(
        &mut self,
        name: &str,
        r: &Rendition,
        at: usize,
        part: usize,
        what: &'static str,
    ) -> Result<Vec<Run>, Refused> {
        let mut runs: Vec<Run> = Vec::new();
        let mut before: Option<&Segment> = None;
        let until = self.wanted.to_ns.saturating_add(ns(CLIP_MARGIN));
        for segment in r.segments.iter().skip(at).take_while(|s| s.at_ns < until) {
            if segment.info.gap {
                continue;
            }
            match self.tracks.first() {
                None => self.tracks.push(track(name, segment)),
                Some(track) if track.init == segment.info.init => {}
                Some(_) if segment.at_ns >= self.wanted.to_ns => break,
                Some(_) => {
                    return Err(Refused::Changes { what, at: seconds(segment.at_ns) });
                }
            }
            let skip = if before.is_none() { part } else { 0 };
            let run = match before.filter(|b| follows(b, segment)) {
                Some(_) => runs.len() - 1,
                None => {
                    let ticks: u64 =
                        segment.parts.iter().take(skip).map(|p| u64::from(p.duration)).sum();
                    // What sounds ahead of the first picture is in the segment before.
                    let number = segment.number;
                    let previous = r.segment(number.wrapping_sub(1));
                    let lead = previous.is_some_and(|p| before.is_none() && follows(p, segment));
                    runs.push(Run {
                        first: number - u64::from(lead),
                        last: number,
                        decode_ns: segment.ns(segment.info.start + ticks),
                        at_ns: place(segment, ticks),
                    });
                    runs.len() - 1
                }
            };
            runs[run].last = segment.number;
            before = Some(segment);
            for (i, part, ticks) in timed(segment).skip(skip) {
                let at_ns = place(segment, ticks);
                if at_ns < until {
                    let at_ns = i64::try_from(at_ns).unwrap_or(i64::MAX);
                    self.parts.push(part_ref(0, segment, i, part, run, at_ns));
                }
            }
        }
        if runs.is_empty() { Err(Refused::Gap) } else { Ok(runs) }
    }

    fn take_sound(&mut self, name: &str, r: &Rendition, runs: &[Run]) -> Result<(), Refused> {
        let from = signed(self.wanted.from_ns) - signed(ns(CLIP_PREROLL));
        let until = signed(self.wanted.to_ns.saturating_add(ns(CLIP_MARGIN)));
        let mut init = None;
        for (i, run) in runs.iter().enumerate() {
            let first = r.segments.front().map_or(0, |s| s.number);
            let skip = usize::try_from(run.first.saturating_sub(first)).unwrap_or(usize::MAX);
            // Sound may go on when there is no picture any more.
            let last = if i + 1 == runs.len() { u64::MAX } else { run.last };
            let own = r.segments.iter().skip(skip).take_while(|s| s.number <= last);
            for segment in own.filter(|s| !s.info.gap) {
                for (n, part, ticks) in timed(segment) {
                    let decode = segment.ns(segment.info.start + ticks);
                    let at = signed(run.at_ns) + (signed(decode) - signed(run.decode_ns));
                    let end = at + signed(segment.ns(part.duration.into()));
                    if end <= from || at >= until {
                        continue;
                    }
                    if *init.get_or_insert(segment.info.init) != segment.info.init {
                        if at >= signed(self.wanted.to_ns) {
                            break;
                        }
                        return Err(Refused::Changes { what: "sound", at: at.max(0) as f64 / 1e9 });
                    }
                    if self.tracks.len() == 1 {
                        self.tracks.push(track(name, segment));
                    }
                    self.parts.push(part_ref(1, segment, n, part, i, at));
                }
            }
        }
        Ok(())
    }
}

/// The first picture and the first sound that were published, not what was made of them.
pub fn source_tracks(index: &Index) -> (Option<&str>, Option<&str>) {
    let source = |kind: &str| {
        let of = |name: &&str| {
            let stem = name.strip_suffix(".cmaf").unwrap_or(name);
            stem.starts_with(kind) && !stem.contains('.')
        };
        index.renditions().map(|(name, _)| name).find(of)
    };
    (source("video"), source("audio"))
}

/// The segment and the part to decode from: the last key frame at or before `from`, else the first one behind it.
fn begin_at(r: &Rendition, from: u64, to: u64) -> Result<(usize, usize), Refused> {
    let at =
        r.segments.partition_point(|s| s.at_ns <= from.saturating_add(SAME_NS)).saturating_sub(1);
    let near = from.saturating_add(SAME_NS);
    let furthest = from.saturating_sub(ns(CLIP_LOOK_BACK));
    let mut i = at;
    while let Some(segment) = r.segments.get(i).filter(|s| !s.info.gap) {
        let key = timed(segment)
            .filter(|(_, part, ticks)| part.independent && place(segment, *ticks) <= near)
            .last();
        if let Some((part, _, _)) = key {
            return Ok((i, part));
        }
        let goes_on = i > 0 && r.segments.get(i - 1).is_some_and(|b| follows(b, segment));
        if !goes_on || segment.at_ns <= furthest {
            break;
        }
        i -= 1;
    }
    for (i, segment) in r.segments.iter().enumerate().skip(at).take_while(|(_, s)| s.at_ns < to) {
        let behind = |ticks| (from..to).contains(&place(segment, ticks));
        let key = timed(segment).find(|(_, part, ticks)| part.independent && behind(*ticks));
        if let Some((part, _, _)) = key.filter(|_| !segment.info.gap) {
            return Ok((i, part));
        }
    }
    let lost = r.segments.get(at).is_some_and(|s| s.info.gap);
    Err(if lost { Refused::Gap } else { Refused::NoKeyFrame })
}

/// Its parts with their places and the ticks before them.
fn timed(segment: &Segment) -> impl Iterator<Item = (usize, &Part, u64)> {
    segment.parts.iter().enumerate().scan(0, |ticks, (i, part)| {
        let before = *ticks;
        *ticks += u64::from(part.duration);
        Some((i, part, before))
    })
}

fn follows(before: &Segment, segment: &Segment) -> bool {
    before.number + 1 == segment.number
        && !before.info.gap
        && !segment.info.discontinuity
        && before.info.init == segment.info.init
        && before.info.start + before.duration() == segment.info.start
}

fn track(name: &str, segment: &Segment) -> Track {
    let (init, timescale) = (segment.info.init, segment.info.timescale);
    Track { name: name.to_owned(), init, timescale }
}

fn part_ref(
    track: usize,
    segment: &Segment,
    i: usize,
    part: &Part,
    run: usize,
    at_ns: i64,
) -> PartRef {
    let (number, epoch) = (segment.number, segment.info.epoch);
    PartRef { track, segment: number, epoch, part: i as u64, bytes: part.bytes, run, at_ns }
}

/// Where so many ticks of a segment are, as players count.
fn place(segment: &Segment, ticks: u64) -> u64 {
    segment.at_ns.saturating_add(segment.ns(ticks))
}

fn ns(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What is added to and taken from one another here stays below 2^63: properties may lie.
fn signed(ns: u64) -> i64 {
    i64::try_from(ns).unwrap_or(i64::MAX).min(i64::MAX / 4)
}
