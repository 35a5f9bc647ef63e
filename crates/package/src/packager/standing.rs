//! A picture that does not come stands (decision 128): while sound goes on, its newest key picture is shown again, a part at
//! a time, for players to go on with.

use std::time::Duration;

use super::silence::Reached;
use super::{Outputs, Packager, Track, nanos, tagged};
use crate::limits::{CUT_WAIT, LATE_MAX, PICTURE_WAIT, SOUND_WAIT};
use crate::rendition::{Ends, Frame, ticks_to_ns};

/// What is shown of a picture that does not come.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Its newest key picture, which can be decoded at any time.
    pub(super) key: Option<Frame>,
    /// It is shown again. What comes without a key frame is no change of it.
    pub(super) on: bool,
    /// That is what is held back.
    pub(super) held: bool,
    /// It is all that there is behind the discontinuity that others have begun with: what comes goes on from it.
    pub(super) anew: bool,
}

impl Standing {
    pub(super) fn saw(&mut self, frame: &Frame) {
        if frame.sync {
            self.key = Some(frame.clone());
        }
    }
}

impl Packager {
    /// All that has come was pushed. Of a picture that should have come by now players have nothing to go on with.
    pub(super) fn stand(&mut self, out: &mut Outputs) {
        let Some((main, heard_ns)) = self.heard_alone() else { return };
        if !self.stands(main) {
            let ahead_ns = heard_ns.saturating_sub(self.main_ns);
            // Where all was silent, the next picture comes with the next sound.
            if self.alone_ns < nanos(CUT_WAIT) || ahead_ns < self.main_wait_ns(PICTURE_WAIT) {
                return;
            }
        }
        let wait_ns = self.main_wait_ns(SOUND_WAIT);
        self.stand_until(main, heard_ns.saturating_sub(wait_ns), false, out);
    }

    /// Who stood is there again, or gone: he has stood to this moment, or to where the sound ends.
    pub(super) fn stood(&mut self, until_ns: Option<i64>, out: &mut Outputs) {
        let Some((main, heard_ns)) = self.heard_alone().filter(|(main, _)| self.stands(*main))
        else {
            return;
        };
        self.stand_until(main, until_ns.unwrap_or(heard_ns), true, out);
    }

    /// The newest frame of the main track lasts to the next one, and its segment would be too long with it: that ends before it.
    pub(super) fn end_before_held(&mut self, track: usize, next: &Frame, out: &mut Outputs) {
        let target = self.target_duration();
        if next.discontinuity || self.break_pending || self.unreached(track).next().is_some() {
            return;
        }
        let Some(t) = self.tracks.get_mut(track) else { return };
        let (Some(held), Some(cutter)) = (&t.held, &mut self.cutter) else { return };
        let timescale = t.rendition.timescale();
        let [held_ns, next_ns] = [held.decode, next.decode].map(|at| ticks_to_ns(at, timescale));
        // What is out already can't be the last part.
        let open = t.rendition.has_frames() && !t.standing.held && !t.stalled;
        if !open || !cutter.begin_for(held_ns, next_ns) {
            return;
        }
        let Some(held) = t.held.take() else { return };
        t.rendition.is_followed(&held);
        tagged(track, out, |out| t.rendition.flush(Ends::Segment, target, out));
        self.findings.segments_without_key_frame += u64::from(!held.sync);
        self.begin_segment(track, &held);
        if let Some(t) = self.tracks.get_mut(track) {
            t.held = Some(held);
        }
    }

    pub(super) fn note_alone(&mut self, track: usize, frame: &Frame) {
        match self.tracks.get(track).filter(|t| !t.video) {
            Some(t) => {
                let ns = ticks_to_ns(frame.duration.into(), t.rendition.timescale());
                self.alone_ns = self.alone_ns.saturating_add(ns);
            }
            None if self.main == Some(track) => self.alone_ns = 0,
            None => {}
        }
    }

    pub(super) fn stands(&self, track: usize) -> bool {
        self.tracks.get(track).is_some_and(|t| t.standing.on)
    }

    /// How long the others wait for the main track: half a second longer than it was late.
    pub(super) fn main_wait_ns(&self, least: Duration) -> i64 {
        let late = self.late_ns[0].max(self.late_ns[1]).saturating_add(nanos(SOUND_WAIT));
        late.clamp(nanos(least), nanos(LATE_MAX))
    }

    /// The picture that decides the cuts, and how far sound has come that it can stand beside.
    fn heard_alone(&self) -> Option<(usize, i64)> {
        self.target_duration().filter(|_| !self.away && !self.break_pending)?;
        let main = self.main?;
        let t = self.tracks.get(main).filter(|t| t.video && !t.stalled && !t.fresh)?;
        t.standing.key.as_ref().and(t.reached.as_ref())?;
        let ends = |t: &Track| {
            let reached = t.reached.filter(|reached| !t.video && !reached.silent)?;
            Some(ticks_to_ns(reached.end(), t.rendition.timescale()))
        };
        Some((main, self.tracks.iter().filter_map(ends).max()?))
    }

    /// A picture stands up to this time; `whole`: to the very moment, else as far as whole parts reach.
    pub(super) fn stand_until(
        &mut self,
        track: usize,
        until_ns: i64,
        whole: bool,
        out: &mut Outputs,
    ) {
        let shown = |this: &Self| match this.main == Some(track) {
            true => this.shown_again(track, until_ns, whole),
            false => this.shown_beside(track, until_ns, whole),
        };
        while let Some(frame) = shown(self) {
            let lasts_ns = self
                .tracks
                .get(track)
                .map_or(0, |t| ticks_to_ns(frame.duration.into(), t.rendition.timescale()));
            if !self.made.take(lasts_ns, self.arrived) {
                return;
            }
            self.findings.pictures_shown_again += 1;
            let Some(t) = self.tracks.get_mut(track) else { return };
            t.standing.on = true;
            t.last_decode = Some(frame.decode);
            t.reached = Some(Reached::with(&frame));
            self.place(track, frame, out);
        }
    }

    /// The key picture for the rest of the part that is being made, or for a whole one.
    pub(super) fn shown_again(&self, track: usize, until_ns: i64, whole: bool) -> Option<Frame> {
        let t = self.tracks.get(track)?;
        let (key, reached) = (t.standing.key.as_ref()?, t.reached?);
        let until = super::silence::ns_to_ticks(until_ns, t.rendition.timescale());
        let held = t.held.as_ref().map_or(0, |held| held.duration);
        let part = t.rendition.left_after(held)?;
        let left = u32::try_from(until.saturating_sub(reached.end())).ok().filter(|n| *n > 0)?;
        // As of all key pictures, whose place in what is shown is not that of the frame before.
        let since_key = reached.end().saturating_sub(key.decode);
        let since_key_ms = ticks_to_ns(since_key, t.rendition.timescale()) / 1_000_000;
        let duration = if whole { part.min(left) } else { part };
        (duration <= left).then(|| Frame {
            present: reached.end().saturating_add(key.present.saturating_sub(key.decode)),
            duration,
            sync: true,
            asked: false,
            discontinuity: false,
            wall_clock_ms: key.wall_clock_ms.saturating_add_signed(since_key_ms),
            arrived: self.arrived.unwrap_or(key.arrived),
            decode: reached.end(),
            payload: key.payload.clone(),
        })
    }
}
