//! Pictures that do not come beside what decides the cuts stand, too (decision 113): a second one that stops, and any of a
//! publisher who comes back with sound alone.

use super::silence::{Reached, ns_to_ticks};
use super::{Outputs, Packager, nanos};
use crate::limits::{PICTURE_WAIT, SOUND_WAIT};
use crate::rendition::{Frame, ticks_to_ns};

impl Packager {
    /// All that has come was pushed. Players of a picture that should have come by now have nothing to go on with.
    pub(super) fn stand_beside(&mut self, out: &mut Outputs) {
        if self.away || self.break_pending || self.target_duration().is_none() {
            return;
        }
        for track in 0..self.tracks.len() {
            let Some(end_ns) = self.lacks_from(track) else { continue };
            let ahead_ns = self.main_ns.saturating_sub(end_ns);
            if !self.stands(track) && ahead_ns < self.main_wait_ns(PICTURE_WAIT) {
                continue;
            }
            let until_ns = self.main_ns.saturating_sub(nanos(SOUND_WAIT));
            self.begin_beside(track);
            self.stand_until(track, until_ns, false, out);
        }
    }

    /// Who stood beside the others is there again: he has stood to this moment.
    pub(super) fn stood_beside(&mut self, track: usize, until_ns: i64, out: &mut Outputs) {
        if self.stands(track) && self.main != Some(track) {
            self.stand_until(track, until_ns, true, out);
        }
    }

    /// Or is gone with the others.
    pub(super) fn all_stood_beside(&mut self, out: &mut Outputs) {
        if !self.away && !self.break_pending {
            (0..self.tracks.len()).for_each(|track| self.stood_beside(track, self.main_ns, out));
        }
    }

    /// Where such a picture ends, or should begin behind what all have begun anew with.
    fn lacks_from(&self, track: usize) -> Option<i64> {
        self.main.filter(|main| *main != track)?;
        let t =
            self.tracks.get(track).filter(|t| t.video && t.configured && t.waiting.is_empty())?;
        t.standing.key.as_ref()?;
        match t.reached {
            Some(reached) if !t.fresh => Some(ticks_to_ns(reached.end(), t.rendition.timescale())),
            None if t.fresh => Some(self.unreached(track).next()?.present_ns),
            _ => None,
        }
    }

    /// Its key picture is that of the first cut that it has not reached, where it has nothing since all began anew.
    fn begin_beside(&mut self, track: usize) {
        let cut = self.unreached(track).next().map(|cut| cut.present_ns);
        let main = self.main.and_then(|main| self.tracks.get(main));
        let wall_ms = main
            .zip(cut)
            .and_then(|(main, ns)| Some(main.reached?.wall_at(ns, main.rendition.timescale())));
        let Some((t, cut_ns)) = self.tracks.get_mut(track).zip(cut) else { return };
        let (Some(key), None) = (&mut t.standing.key, t.reached) else { return };
        let shown_after = key.present.saturating_sub(key.decode);
        key.present = ns_to_ticks(cut_ns, t.rendition.timescale());
        let least = t.last_decode.map_or(0, |last| last.saturating_add(1));
        key.decode = key.present.saturating_sub(shown_after).max(least);
        key.wall_clock_ms = wall_ms.unwrap_or(key.wall_clock_ms);
        t.reached = Some(Reached::with(&Frame { duration: 0, ..key.clone() }));
        t.standing.anew = true;
    }

    /// As the main picture is shown again, with segments that begin where the cut list says.
    pub(super) fn shown_beside(&self, track: usize, until_ns: i64, whole: bool) -> Option<Frame> {
        let t = self.tracks.get(track)?;
        let (key, reached, timescale) =
            (t.standing.key.as_ref()?, t.reached?, t.rendition.timescale());
        let shown_after_ns = ticks_to_ns(key.present.saturating_sub(key.decode), timescale);
        let mut borders = self.unreached(track).map(|c| c.present_ns - shown_after_ns);
        match borders.find(|ns| ns_to_ticks(*ns, timescale) > reached.end()) {
            Some(border_ns) if border_ns <= until_ns => self.shown_again(track, border_ns, true),
            _ => self.shown_again(track, until_ns, whole),
        }
    }
}
