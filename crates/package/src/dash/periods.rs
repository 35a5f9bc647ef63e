//! From an index to Periods: which segments stand in which, and where each begins.

use std::collections::{BTreeMap, BTreeSet};

use super::{Content, MpdOptions, listed};
use crate::index::{Index, Rendition, Segment};

/// One Period.
#[derive(Debug)]
pub(super) struct Period<'a> {
    /// The number of its first segment, also of one that has left the window: its name.
    pub(super) number: u64,
    /// Seconds on the presentation's timeline.
    pub(super) start: f64,
    /// Media time at its start: so many ticks of so many a second.
    origin: (u64, u32),
    /// Seconds that it has at most.
    longest: f64,
    pub(super) runs: Vec<Run<'a>>,
}

/// What a Period has of one rendition: segments with one initialisation segment, numbers without holes.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) name: &'a str,
    pub(super) content: &'a Content,
    pub(super) segments: Vec<&'a Segment>,
}

impl Run<'_> {
    /// The segment that is being made.
    pub(super) fn open(&self) -> Option<&Segment> {
        self.segments.last().copied().filter(|s| !s.complete)
    }
}

impl Period<'_> {
    /// Seconds of it, as far as is known.
    pub(super) fn duration(&self) -> f64 {
        let (ticks, timescale) = self.origin;
        let origin = ticks as f64 / f64::from(timescale);
        let end = |run: &Run<'_>| {
            let last = run.segments.last()?;
            let ticks = last.info.start + last.duration();
            Some(ticks as f64 / f64::from(last.info.timescale) - origin)
        };
        self.runs.iter().filter_map(end).fold(0.0, f64::max).min(self.longest)
    }

    /// Where it ends on the presentation's timeline.
    pub(super) fn end(&self) -> f64 {
        self.start + self.duration()
    }

    /// §5.3.9.6.1 presentationTimeOffset: its start in a track's own ticks, to the nearest.
    pub(super) fn offset(&self, timescale: u32) -> u64 {
        let (ticks, own) = self.origin;
        let scaled = u128::from(ticks) * u128::from(timescale) + u128::from(own / 2);
        u64::try_from(scaled / u128::from(own.max(1))).unwrap_or(u64::MAX)
    }
}

/// All Periods, oldest first.
pub(super) fn of<'a>(
    index: &'a Index,
    contents: &'a BTreeMap<u64, Content>,
    (options, target): (MpdOptions, u32),
) -> Vec<Period<'a>> {
    let renditions: Vec<(&str, &Rendition)> = index.renditions().collect();
    let from = if options.everything { 0 } else { window_start(&renditions, target) };
    let mut numbers = BTreeSet::new();
    for (_, rendition) in &renditions {
        numbers.extend(rendition.segments.iter().map(|s| s.number).filter(|n| *n >= from));
    }
    let mut periods: Vec<Period<'a>> = Vec::new();
    let (mut begun, mut end) = (None, 0.0);
    for number in numbers {
        let there: Vec<(&str, &Segment)> =
            renditions.iter().filter_map(|(name, r)| Some((*name, r.segment(number)?))).collect();
        if !index.ended() && undecided(&renditions, number) {
            break;
        }
        let Some(mut boundary) = boundary(&renditions, &there, number) else { continue };
        if let Some(before) = begun
            && boundary.number == number
            && is_rest(&renditions, &there, number, index.ended())
        {
            boundary.number = before;
        }
        // What ended before lasts a moment longer than its number: nothing that somebody has lies before its Period. Of what is over
        // all is there, and none begins before there is something.
        if let Some(first) = begins(&renditions, boundary.number)
            && (index.ended() || first.is_before(&boundary))
        {
            boundary = first;
        }
        if begun != Some(boundary.number) {
            begun = Some(boundary.number);
            // What is over is one stretch from zero on; what was lost keeps its time.
            let start = match index.ended() {
                true => end,
                false => boundary.wall_clock_ms as f64 / 1000.0,
            };
            periods.push(Period {
                number: boundary.number,
                start,
                origin: boundary.origin,
                longest: f64::INFINITY,
                runs: Vec::new(),
            });
        }
        let Some(period) = periods.last_mut() else { continue };
        for (name, segment) in &there {
            let Some(content) = contents.get(&segment.info.init) else { continue };
            if listed(segment, options) {
                push(&mut period.runs, name, content, segment);
            }
        }
        let (ticks, timescale) = period.origin;
        let origin = ticks as f64 / f64::from(timescale);
        let lost = there.iter().all(|(_, s)| s.info.gap);
        let reach = there.iter().filter(|(_, s)| lost || !s.info.gap).map(|(_, s)| {
            (s.info.start + s.duration()) as f64 / f64::from(s.info.timescale) - origin
        });
        end = reach.fold(end, |end, reach| end.max(period.start + reach));
    }
    periods.retain(|p| !p.runs.is_empty());
    if let (Some(last), Some(length_ns)) = (periods.last_mut(), options.length_ns) {
        last.longest = (length_ns as f64 / 1e9 - last.start).max(0.0);
    }
    periods
}

/// Whether a rendition that had the number before may yet have this one: its first part is a little later than the others', or
/// it is over. A Period that was listed without it could not get it any more, so the number waits until it is there, or until
/// the others are two numbers on.
fn undecided(renditions: &[(&str, &Rendition)], number: u64) -> bool {
    let last = |r: &Rendition| r.segments.back().map(|s| s.number);
    let newest = renditions.iter().filter_map(|(_, r)| last(r)).max().unwrap_or(0);
    newest <= number
        && renditions.iter().any(|(_, r)| last(r).is_some_and(|last| last + 1 == number))
}

/// Whether this number is a rest that an encoder left behind the last cut when it was cut off, and that not every rendition has:
/// so little that players stand still in a Period of it. It belongs to the one before.
fn is_rest(
    renditions: &[(&str, &Rendition)],
    there: &[(&str, &Segment)],
    number: u64,
    ended: bool,
) -> bool {
    let mut has = there.iter().filter(|(_, s)| !s.info.gap).peekable();
    let follows = |name: &str| {
        let rendition = renditions.iter().find(|(n, _)| *n == name);
        rendition.and_then(|(_, r)| r.segment(number + 1))
    };
    let newest = renditions.iter().filter_map(|(_, r)| r.segments.back()).map(|s| s.number).max();
    has.peek().is_some()
        && has.all(|(name, s)| {
            let goes_on = s.period.number < number;
            let last = match follows(name) {
                Some(next) => next.info.discontinuity,
                None => ended && newest == Some(number),
            };
            goes_on && last && s.seconds(s.duration()) < REST_S
        })
}

/// How long before the first picture sound may begin and be of its segment.
const LEAD_NS: u64 = 400_000_000;

/// Half a second is longer than any encoder's sound is behind its picture.
const REST_S: f64 = 0.5;

/// Where a Period begins.
struct Boundary {
    number: u64,
    origin: (u64, u32),
    wall_clock_ms: u64,
}

impl Boundary {
    fn is_before(&self, other: &Self) -> bool {
        let ((at, of), (other_at, other_of)) = (self.origin, other.origin);
        u128::from(at) * u128::from(other_of) < u128::from(other_at) * u128::from(of)
    }
}

/// The beginning of the Period that a number lies in: the newest one of the runs that are there, or, if that is newer,
/// the end of a rendition that is there no longer. So it is the same for every number of the Period.
fn boundary(
    renditions: &[(&str, &Rendition)],
    there: &[(&str, &Segment)],
    number: u64,
) -> Option<Boundary> {
    let begun = there.iter().map(|(_, s)| Boundary {
        number: s.period.number,
        origin: (s.period.start, s.info.timescale),
        wall_clock_ms: s.period.wall_clock_ms,
    });
    let over = renditions.iter().filter_map(|(_, r)| {
        let last = r.segments.back().filter(|last| last.number < number)?;
        let duration = last.duration();
        Some(Boundary {
            number: last.number + 1,
            origin: (last.info.start + duration, last.info.timescale),
            wall_clock_ms: last.info.wall_clock_ms + (last.seconds(duration) * 1000.0) as u64,
        })
    });
    // Of equal ones the last: runs that begin say best where they do.
    over.chain(begun).max_by_key(|b| b.number)
}

/// Where a number begins, in the last rendition that has it; of which another one has much more, as it came late, there.
fn begins(renditions: &[(&str, &Rendition)], number: u64) -> Option<Boundary> {
    let there = renditions.iter().rev().filter_map(|(_, r)| r.segment(number));
    let mut there = there.filter(|s| !s.info.gap);
    let at_ns = |s: &Segment| s.ns(s.info.start);
    let last = there.next()?;
    let earliest = there.min_by_key(|s| at_ns(s)).filter(|s| at_ns(s) + LEAD_NS < at_ns(last));
    let info = earliest.unwrap_or(last).info;
    let (origin, wall_clock_ms) = ((info.start, info.timescale), info.wall_clock_ms);
    Some(Boundary { number, origin, wall_clock_ms })
}

fn push<'a>(runs: &mut Vec<Run<'a>>, name: &'a str, content: &'a Content, segment: &'a Segment) {
    match runs.iter_mut().find(|run| run.name == name) {
        Some(run) => run.segments.push(segment),
        None => runs.push(Run { name, content, segments: vec![segment] }),
    }
}

/// The number at which the live window begins: that of pictures, if there are any, holds for all.
fn window_start(renditions: &[(&str, &Rendition)], target: u32) -> u64 {
    let main = renditions.iter().find(|(name, _)| name.starts_with("video"));
    let Some((_, main)) = main.or(renditions.first()) else { return 0 };
    main.segments.get(main.window_start(target)).map_or(0, |s| s.number)
}

/// How long the open segment will be, in ticks: as long as the one before, unless it is longer already.
pub(super) fn expected(run: &Run<'_>) -> u64 {
    let complete = run.segments.iter().rev().find(|s| s.complete).map(|s| s.duration());
    let so_far = run.open().map_or(0, Segment::duration);
    complete.unwrap_or(0).max(so_far)
}

/// Seconds of the longest segment that is listed.
pub(super) fn longest(periods: &[Period<'_>]) -> f64 {
    let segments = periods.iter().flat_map(|p| &p.runs).flat_map(|run| &run.segments);
    segments.map(|s| s.seconds(s.duration())).fold(0.0, f64::max)
}
