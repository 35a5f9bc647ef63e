//! Which time of the source a timestamp means, and which offset turns it into ours.

use std::time::Duration;

use super::{Discontinuity, NANOS, Repairs, SourceClock};
use crate::limits;

/// A track that goes back by more than this jumped; less is reordering or jitter, and its frames are only kept rising.
const BACKWARD_MAX: i128 = NANOS / 4;

/// A track that is ahead of all others by more than this jumped. Below three segments of 2 s, so that no hole makes a
/// segment longer than that; above the pauses of an encoder that drops frames on a bad uplink.
const FORWARD_MAX: i128 = 5 * NANOS;

/// At the start a track that begins so much before the others is misaligned.
const START_SKEW_MAX: i128 = NANOS;

/// A track further behind than this neither catches up nor is only late: its clock is another one.
const START_DROP_MAX: i128 = 30 * NANOS;

/// How long the leader runs before it is decided whether a lagging track catches up.
const START_VERDICT: i128 = NANOS;

/// After a jump the old clock is remembered for this many frames: a single wrong time is then forgotten.
const OUTLIER_FRAMES: u32 = 3;

/// An offset from the source's clock to ours, common to all tracks.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    number: u32,
    offset: i128,
    /// The source time that it was opened with, in nanoseconds.
    first: i128,
    /// The latest source time of any track.
    latest: i128,
}

/// What all tracks share.
#[derive(Clone, Debug)]
pub(super) struct Anchors {
    newest: Option<Epoch>,
    next_number: u32,
    floor: i128,
    start: i128,
    kept: Option<Discontinuity>,
}

impl Anchors {
    pub(super) fn new(floor: i128, start: i128) -> Self {
        Self { newest: None, next_number: 0, floor, start, kept: None }
    }

    pub(super) fn restart(&mut self, floor: i128, start: i128) {
        let resumed =
            (self.newest.is_some() || self.kept.is_some()).then_some(Discontinuity::Resumed);
        *self = Self { next_number: self.next_number, kept: resumed, ..Self::new(floor, start) };
    }

    /// Nothing may be placed before this.
    pub(super) fn floor(&self) -> i128 {
        self.floor
    }

    pub(super) fn keep_discontinuity(&mut self, discontinuity: Option<Discontinuity>) {
        self.kept = discontinuity.or(self.kept);
    }

    pub(super) fn take_discontinuity(&mut self) -> Option<Discontinuity> {
        self.kept.take()
    }

    fn open(&mut self, source: i128, ours: i128) -> Epoch {
        let (number, offset) = (self.next_number, ours - source);
        let epoch = Epoch { number, offset, first: source, latest: source };
        self.next_number = self.next_number.saturating_add(1);
        self.newest = Some(epoch);
        epoch
    }
}

/// One track's place in the clock of its source.
#[derive(Clone, Debug)]
pub(super) struct Source {
    clock: SourceClock,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// No frame was placed yet.
    Waiting { lagging: Option<Lag> },
    /// Frames are placed.
    Running(Running),
}

/// A track that was too far behind, when it was first seen.
#[derive(Clone, Copy, Debug)]
struct Lag {
    lag: i128,
    leader: i128,
}

#[derive(Clone, Copy, Debug)]
struct Running {
    epoch: Epoch,
    /// Unwrapped, in units of the clock.
    last: i128,
    /// The epoch before the last jump, while it may have been an outlier.
    before: Option<Before>,
}

#[derive(Clone, Copy, Debug)]
struct Before {
    offset: i128,
    last: i128,
    frames: u32,
}

/// Where a timestamp is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Locate {
    At(Place),
    Misaligned,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Our time, in nanoseconds.
    pub(super) time: i128,
    pub(super) epoch: u32,
    /// The track starts or moved to another epoch: what was learned of its phase is void.
    pub(super) moved: bool,
    pub(super) discontinuity: Option<Discontinuity>,
}

impl Source {
    pub(super) fn waiting(clock: SourceClock) -> Self {
        Self { clock, state: State::Waiting { lagging: None } }
    }

    pub(super) fn restart(&mut self) {
        self.state = State::Waiting { lagging: None };
    }

    /// Frames of it are placed.
    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_))
    }

    /// A composition offset in nanoseconds.
    pub(super) fn composition(&self, units: i32, repairs: &mut Repairs) -> i128 {
        let nanos = self.nanos(units.into());
        if nanos.abs() > i128::from(limits::COMPOSITION_MS_MAX) * 1_000_000 {
            repairs.compositions_ignored += 1;
            return 0;
        }
        nanos
    }

    /// `front` is where our time ends over all tracks.
    pub(super) fn locate(
        &mut self,
        timestamp: u64,
        can_start: bool,
        front: i128,
        anchors: &mut Anchors,
        repairs: &mut Repairs,
    ) -> Locate {
        let (state, located) = match self.state.clone() {
            State::Waiting { lagging } => {
                self.start(timestamp, lagging, can_start, front, anchors, repairs)
            }
            State::Running(running) => {
                let (running, place) = self.advance(timestamp, running, front, anchors, repairs);
                (State::Running(running), Locate::At(place))
            }
        };
        self.state = state;
        located
    }

    fn start(
        &self,
        timestamp: u64,
        lagging: Option<Lag>,
        can_start: bool,
        front: i128,
        anchors: &mut Anchors,
        repairs: &mut Repairs,
    ) -> (State, Locate) {
        let begin = |epoch: Epoch, units: i128| {
            let place = Place {
                time: self.nanos(units) + epoch.offset,
                epoch: epoch.number,
                moved: true,
                discontinuity: None,
            };
            (State::Running(Running { epoch, last: units, before: None }), Locate::At(place))
        };
        let Some(newest) = anchors.newest else {
            let units = self.nearest(timestamp, 0).rem_euclid(self.modulus());
            let epoch = anchors.open(self.nanos(units), anchors.start);
            return begin(epoch, units);
        };
        let units = self.nearest(timestamp, self.units(newest.latest));
        let source = self.nanos(units);
        let lag = newest.latest - source;
        // A first time that others have passed, but that lies in what they have sent, is of the same clock: its
        // frames are late, not wrong. A clock of its own begins before them, or behind what they have reached.
        let late = lagging.is_none() && source >= newest.first - START_SKEW_MAX;
        let lag_max = if late { START_DROP_MAX } else { START_SKEW_MAX };
        let aligned =
            (-FORWARD_MAX..=lag_max).contains(&lag) && source + newest.offset >= anchors.floor;
        if aligned {
            if lagging.is_some() && !can_start {
                return (State::Waiting { lagging }, Locate::Misaligned);
            }
            raise(anchors, newest.number, source);
            return begin(newest, units);
        }
        let first = lagging.unwrap_or(Lag { lag, leader: newest.latest });
        let led = newest.latest - first.leader;
        let catches_up = first.lag - lag >= led / 2;
        let hopeless =
            !(0..=START_DROP_MAX).contains(&lag) || (led >= START_VERDICT && !catches_up);
        if !hopeless || (lagging.is_some() && !can_start) {
            return (State::Waiting { lagging: Some(first) }, Locate::Misaligned);
        }
        repairs.aligned_by_arrival += 1;
        let epoch = anchors.open(source, front.max(anchors.floor));
        begin(epoch, units)
    }

    fn advance(
        &self,
        timestamp: u64,
        running: Running,
        front: i128,
        anchors: &mut Anchors,
        repairs: &mut Repairs,
    ) -> (Running, Place) {
        let Running { epoch, last, before } = running;
        let own = self.nearest(timestamp, last);
        let source = self.nanos(own);
        let newest = anchors.newest.unwrap_or(epoch);
        let latest = if newest.number == epoch.number { newest.latest } else { self.nanos(last) };
        let back = self.nanos(last) - source;
        let ahead = source - latest.max(self.nanos(last));
        if back <= BACKWARD_MAX && ahead <= FORWARD_MAX {
            if own.div_euclid(self.modulus()) > last.div_euclid(self.modulus()) {
                repairs.wraps += 1;
            }
            raise(anchors, epoch.number, source);
            let before = before
                .map(|b| Before { frames: b.frames + 1, ..b })
                .filter(|b| b.frames < OUTLIER_FRAMES);
            // A step back is not where the next step starts from.
            return (
                Running { epoch, last: own.max(last), before },
                self.place(own, epoch, false, None),
            );
        }

        // Another track was the first to jump: follow it.
        if newest.number != epoch.number {
            let units = self.nearest(timestamp, self.units(newest.latest));
            let source = self.nanos(units);
            if (source - newest.latest).abs() <= FORWARD_MAX {
                raise(anchors, newest.number, source);
                let before = Some(Before { offset: epoch.offset, last, frames: 0 });
                return (
                    Running { epoch: newest, last: units, before },
                    self.place(units, newest, true, None),
                );
            }
        }

        // Back on the clock of before the jump: that one time was wrong.
        if let Some(old) = before {
            let units = self.nearest(timestamp, old.last);
            let step = self.nanos(units) - self.nanos(old.last);
            if (-BACKWARD_MAX..=FORWARD_MAX).contains(&step) {
                repairs.outliers += 1;
                let source = self.nanos(units);
                let epoch = anchors.open(source, source + old.offset);
                return (
                    Running { epoch, last: units, before: None },
                    self.place(units, epoch, true, None),
                );
            }
        }

        let by = |nanos: i128| Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let discontinuity = if back > 0 {
            repairs.jumps_back += 1;
            Discontinuity::Backward(by(back))
        } else {
            repairs.jumps_forward += 1;
            Discontinuity::Forward(by(ahead))
        };
        // One new offset for all: this frame comes where the furthest track ends.
        let next = anchors.open(source, front);
        let before = Some(Before { offset: epoch.offset, last, frames: 0 });
        (
            Running { epoch: next, last: own, before },
            self.place(own, next, true, Some(discontinuity)),
        )
    }

    fn place(
        &self,
        units: i128,
        epoch: Epoch,
        moved: bool,
        discontinuity: Option<Discontinuity>,
    ) -> Place {
        Place { time: self.nanos(units) + epoch.offset, epoch: epoch.number, moved, discontinuity }
    }

    fn modulus(&self) -> i128 {
        1 << self.clock.bits
    }

    fn nanos(&self, units: i128) -> i128 {
        (units * NANOS).div_euclid(i128::from(self.clock.hz))
    }

    fn units(&self, nanos: i128) -> i128 {
        (nanos * i128::from(self.clock.hz)).div_euclid(NANOS)
    }

    /// The unwrapped time nearest to `reference` that a wrapping timestamp can mean.
    fn nearest(&self, timestamp: u64, reference: i128) -> i128 {
        let modulus = self.modulus();
        let ahead = (i128::from(timestamp) - reference).rem_euclid(modulus);
        reference + if ahead >= modulus / 2 { ahead - modulus } else { ahead }
    }
}

fn raise(anchors: &mut Anchors, number: u32, source: i128) {
    if let Some(newest) = anchors.newest.as_mut().filter(|e| e.number == number) {
        newest.latest = newest.latest.max(source);
    }
}
