//! Video keeps its source's times; where these are a constant rate rounded to milliseconds, the exact grid is restored.

use super::{Repairs, Slot, to_nanos, to_ticks, to_ticks_up};
use crate::codec::{Ratio, VIDEO_TIMESCALE};

const TICKS: i64 = VIDEO_TIMESCALE as i64;

/// DESIGN §4: within 1 ms of a constant rate.
const TOLERANCE: i64 = TICKS / 1000;

/// The smallest step between two frames whose times do not rise: 1 ms, so that outputs in milliseconds rise too.
const STEP_MIN: i64 = TICKS / 1000;

/// A frame further from its slot than this has its own time.
const DRAG_MAX: i64 = 3 * TOLERANCE;

/// A grid that had to follow its source by more than 10 ms has the wrong rate.
const DRAGGED_MAX: i64 = TICKS / 100;

/// Frames beside the grid in a row after which it is given up.
const MISSES_MAX: u32 = 5;

/// Frames that confirm a rate that was declared.
const HINT_FRAMES: u32 = 5;

/// Span after which a rate that nobody declared is believed: 30 and 29.97 are 2.5 ms apart by then.
const LEARN_SPAN: i64 = TICKS * 5 / 2;
const LEARN_FRAMES: u32 = 16;

/// Rounding to milliseconds spreads a constant rate over less than 1 ms; some ticks for our own rounding.
const SPREAD_MAX: i64 = TOLERANCE + 4;

/// Pictures in a row that can't be at their own time, because the one before is there already: more mean that the source's
/// times say nothing. Above what encoders send of one picture one by one (its slices, all at one time). They are spread out
/// by their rate, beside the sound.
const TIMELESS_FRAMES: u32 = 16;

/// How far pictures without times may be from the sound that comes with them: out of step is what is off by more.
const TIMELESS_SKEW: i64 = TICKS / 20;

/// Longest duration that is guessed for a frame.
const DURATION_MAX: i64 = 5 * TICKS;

/// Duration of a first frame of which nothing is known.
const DURATION_DEFAULT: i64 = TICKS / 30;

#[derive(Clone, Debug)]
pub(super) struct VideoPace {
    hint: Option<Ratio>,
    /// The earliest decode time that the next frame may have.
    floor: i64,
    last: Option<i64>,
    state: State,
    /// A declared rate is tried from the first frame on, once: parts and players like exact times
    /// from the start, and a wrong one is found out within a few frames.
    untried: bool,
    /// So many pictures in a row could not be at their own time.
    timeless: u32,
    /// Where the last one is that could.
    timeless_from: i64,
}

#[derive(Clone, Debug)]
enum State {
    /// Times are passed on in milliseconds while a rate is looked for.
    Free(Learner),
    Grid(Grid),
}

impl VideoPace {
    pub(super) fn new(hint: Option<Ratio>, end: i128) -> Self {
        let floor = to_ticks_up(end, VIDEO_TIMESCALE);
        Self {
            hint,
            floor,
            last: None,
            state: State::Free(Learner::default()),
            untried: true,
            timeless: 0,
            timeless_from: floor,
        }
    }

    pub(super) fn raise_floor(&mut self, end: i128) {
        self.floor = self.floor.max(to_ticks_up(end, VIDEO_TIMESCALE));
    }

    /// `beside`: where the other tracks end, if there are any.
    pub(super) fn place(
        &mut self,
        time: i128,
        composition: i128,
        moved: bool,
        beside: Option<i128>,
        repairs: &mut Repairs,
    ) -> Slot {
        let ideal = to_ticks(time, VIDEO_TIMESCALE);
        let composition = to_ticks(composition, VIDEO_TIMESCALE);
        let free = ideal.max(self.floor);
        let guess = match (self.last, self.hint) {
            (Some(last), _) if !moved => (free - last).clamp(STEP_MIN, DURATION_MAX),
            (_, Some(rate)) => {
                (TICKS * i64::from(rate.den()) / i64::from(rate.num())).clamp(1, DURATION_MAX)
            }
            (_, None) => DURATION_DEFAULT,
        };
        let mut slot = (free, ideal.saturating_add(composition), guess);
        if std::mem::take(&mut self.untried)
            && let Some(rate) = self.hint
        {
            self.state = State::Grid(Grid::new(rate, free));
            repairs.grids_found += 1;
        }
        match &mut self.state {
            State::Free(learner) => {
                if moved {
                    *learner = Learner::default();
                }
                if let Some(grid) = learner.add(ideal, self.hint) {
                    repairs.grids_found += 1;
                    self.hint = Some(grid.rate);
                    self.state = State::Grid(grid);
                }
            }
            State::Grid(grid) => {
                if moved {
                    *grid = Grid::new(grid.rate, ideal);
                }
                if let Some(found) = grid.place(ideal, composition, self.floor) {
                    slot = found;
                } else if grid.is_lost() {
                    repairs.grids_lost += 1;
                    // A rate that had to be dragged is wrong; one that was only missed may come back.
                    if grid.dragged.abs() > DRAGGED_MAX {
                        self.hint = None;
                    }
                    self.state = State::Free(Learner::default());
                }
            }
        }
        let forced = !moved && self.last.is_some() && ideal < self.floor;
        self.timeless = if forced { self.timeless.saturating_add(1) } else { 0 };
        if self.timeless == 1 {
            self.timeless_from = self.last.unwrap_or(self.floor);
        }
        if self.timeless > TIMELESS_FRAMES {
            slot = self.spread(composition, beside);
        }
        let (decode, present, duration) = slot;
        if self.last.is_some_and(|last| ideal <= last) {
            repairs.times_not_rising += 1;
        }
        self.last = Some(decode);
        self.floor = decode.saturating_add(STEP_MIN);
        let end = to_nanos(decode.saturating_add(duration), VIDEO_TIMESCALE);
        // DURATION_MAX bounds it
        Slot { decode, present, duration: duration as u32, end }
    }
}

impl VideoPace {
    /// A place for a picture that has no time: behind the one before it, and not far from what others have now.
    fn spread(&self, composition: i64, beside: Option<i128>) -> (i64, i64, i64) {
        let period = self.hint.map_or(DURATION_DEFAULT, |rate| {
            (TICKS * i64::from(rate.den()) / i64::from(rate.num())).clamp(STEP_MIN, DURATION_MAX)
        });
        let spread = period.saturating_mul(self.timeless.into());
        let mut next = self.timeless_from.saturating_add(spread);
        if let Some(end) = beside.map(|end| to_ticks(end, VIDEO_TIMESCALE)) {
            let skew = TIMELESS_SKEW;
            next = next.clamp(end.saturating_sub(skew), end.saturating_add(skew));
        }
        // Those before were too early: no picture lasts for long because of that.
        let longest = self.last.unwrap_or(self.floor).saturating_add(2 * period);
        let decode = next.min(longest).max(self.floor);
        (decode, decode.saturating_add(composition), period)
    }
}

/// A constant rate: slot n is at `anchor` + n periods, exact.
#[derive(Clone, Debug)]
struct Grid {
    rate: Ratio,
    anchor: i64,
    misses: u32,
    /// Ticks by which the anchor followed the source, with sign.
    dragged: i64,
}

impl Grid {
    fn new(rate: Ratio, anchor: i64) -> Self {
        Self { rate, anchor, misses: 0, dragged: 0 }
    }

    fn at(&self, slot: i64) -> i64 {
        self.anchor.saturating_add(periods(slot, self.rate))
    }

    fn period(&self) -> i64 {
        periods(1, self.rate)
    }

    fn is_lost(&self) -> bool {
        self.misses >= MISSES_MAX || self.dragged.abs() > DRAGGED_MAX
    }

    /// Decode time, presentation time and duration, or `None` for a frame that is beside the grid.
    fn place(&mut self, ideal: i64, composition: i64, floor: i64) -> Option<(i64, i64, i64)> {
        let slot = nearest_slot(ideal.saturating_sub(self.anchor), self.rate);
        let error = ideal.saturating_sub(self.at(slot));
        let beyond = error - error.clamp(-TOLERANCE, TOLERANCE);
        let reach = DRAG_MAX.min(self.period() / 4).max(TOLERANCE.min(self.period() / 2));
        let fits = error.abs() <= reach && self.at(slot).saturating_add(beyond) >= floor;
        if !fits || (self.dragged + beyond).abs() > DRAGGED_MAX {
            self.misses += 1;
            if fits {
                self.dragged += beyond;
            }
            return None;
        }
        // A real clock is never exact: the anchor follows it by as little as keeps the error within the tolerance.
        self.anchor = self.anchor.saturating_add(beyond);
        self.dragged += beyond;
        self.misses = 0;
        let decode = self.at(slot);
        let frames = nearest_slot(composition, self.rate);
        // Both times were rounded, so their difference may be off by a millisecond on either side.
        let present = if (composition - periods(frames, self.rate)).abs() <= 2 * TOLERANCE + 2 {
            self.at(slot.saturating_add(frames))
        } else {
            decode.saturating_add(composition)
        };
        Some((decode, present, (self.at(slot.saturating_add(1)) - decode).max(1)))
    }
}

/// `n` periods in ticks, to the nearest.
fn periods(n: i64, rate: Ratio) -> i64 {
    let (num, den) = (i128::from(rate.num()), i128::from(rate.den()));
    let ticks = (2 * i128::from(n) * i128::from(TICKS) * den + num).div_euclid(2 * num);
    ticks.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn nearest_slot(ticks: i64, rate: Ratio) -> i64 {
    let period = i128::from(TICKS) * i128::from(rate.den());
    let slot = (2 * i128::from(ticks) * i128::from(rate.num()) + period).div_euclid(2 * period);
    slot.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Looks for the constant rate that explains the times of the last frames.
#[derive(Clone, Debug, Default)]
struct Learner {
    first: i64,
    last: i64,
    frames: u32,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Debug)]
struct Candidate {
    rate: Ratio,
    slot: i64,
    skipped: u32,
    low: i64,
    high: i64,
}

impl Learner {
    fn begin(first: i64, hint: Option<Ratio>) -> Self {
        let broadcast = [24, 30, 48, 60, 120].iter().filter_map(|n| Ratio::new(n * 1000, 1001));
        let integers = (1..=120).filter_map(|n| Ratio::new(n, 1));
        let candidates = hint
            .into_iter()
            .chain(integers.chain(broadcast).filter(|r| Some(*r) != hint))
            .map(|rate| Candidate { rate, slot: 0, skipped: 0, low: 0, high: 0 })
            .collect();
        Self { first, last: first, frames: 1, candidates }
    }

    fn add(&mut self, time: i64, hint: Option<Ratio>) -> Option<Grid> {
        let step = time.saturating_sub(self.last);
        if self.frames == 0 || step.abs() > DURATION_MAX || self.candidates.is_empty() {
            *self = Self::begin(time, hint);
            return None;
        }
        if step <= 0 {
            // A time that does not rise says nothing about the rate.
            return None;
        }
        self.last = time;
        self.frames += 1;
        let (frames, elapsed) = (self.frames, time - self.first);
        self.candidates.retain_mut(|c| c.fits(step, elapsed, frames));
        let found = self
            .candidates
            .iter()
            .filter(|c| {
                let enough = frames >= LEARN_FRAMES && elapsed >= LEARN_SPAN;
                enough || (Some(c.rate) == hint && frames >= HINT_FRAMES)
            })
            .min_by_key(|c| (Some(c.rate) != hint, c.skipped, c.high - c.low))?;
        Some(Grid::new(found.rate, self.first + (found.low + found.high) / 2))
    }
}

impl Candidate {
    fn fits(&mut self, step: i64, elapsed: i64, frames: u32) -> bool {
        let slots = nearest_slot(step, self.rate);
        self.slot += slots;
        self.skipped += u32::from(slots > 1);
        let residual = elapsed - periods(self.slot, self.rate);
        self.low = self.low.min(residual);
        self.high = self.high.max(residual);
        // A rate of which most slots stay empty explains everything and nothing.
        slots >= 1 && self.high - self.low <= SPREAD_MAX && self.skipped <= 1 + frames / 10
    }
}
