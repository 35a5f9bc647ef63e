//! Runs that end: a track that rests, a publisher who is gone or has another configuration. What was taken goes out, and the last part of
//! each track says that it closes.

use super::standing::Standing;
use super::{Outputs, Packager, TrackId, tagged};
use crate::rendition::Ends;

impl Packager {
    /// Nothing more of this track for now: what was taken of it goes out, its segment ends. Without the one that decided the cuts
    /// all of it goes on behind a discontinuity.
    pub fn rest(&mut self, track: TrackId, out: &mut Outputs) {
        if self.main == Some(track.0) {
            self.flush(out);
            self.main = None;
            self.tracks[track.0].standing = Standing::default();
            return;
        }
        self.flushing = true;
        while self.release_one(track.0, out) {}
        self.flushing = false;
        self.emit_held(track.0, None, Ends::Run, out);
        let target = self.target_duration();
        let Some(t) = self.tracks.get_mut(track.0) else { return };
        t.waiting.clear();
        (t.fresh, t.reached, t.standing) = (true, None, Standing::default());
        tagged(track.0, out, |out| t.rendition.flush(Ends::Run, target, out));
    }

    /// The publisher is gone (for now): everything that was taken goes out, segments end. Who comes has no part in them.
    pub fn flush(&mut self, out: &mut Outputs) {
        // Who was silent is so to the end.
        self.stood(None, out);
        self.all_stood_beside(out);
        self.fill(out, |track| track.reached.filter(|reached| reached.silent).map(|_| 0));
        self.flush_before(None, out);
        for track in &mut self.tracks {
            track.from = track.from.max(self.next_number);
        }
    }

    /// The same before a change of this track: what others have of a publisher that has come, which waits for his picture to
    /// begin with it, goes on waiting.
    pub(super) fn flush_before(&mut self, changed: Option<usize>, out: &mut Outputs) {
        if (self.main.is_none() || (self.away && changed.is_none()))
            && let Some(track) = self.tracks.iter().position(|t| !t.video && !t.waiting.is_empty())
        {
            self.lead_waiting(track, out);
        }
        self.flushing = true;
        self.release(out);
        self.flushing = false;
        self.main_ns = i64::MIN;
        let gone =
            |main: usize| changed.is_none() || self.tracks[main].stalled || self.stands(main);
        self.away |= self.main.is_some_and(gone);
        let target = self.target_duration();
        for track in 0..self.tracks.len() {
            self.emit_held(track, None, Ends::Run, out);
            if let Some(t) = self.tracks.get_mut(track) {
                if !t.fresh || changed.is_none_or(|changed| changed == track) {
                    t.waiting.clear();
                    t.reached = None;
                }
                (t.fresh, t.standing.on, t.standing.anew) = (true, false, false);
                tagged(track, out, |out| t.rendition.flush(Ends::Run, target, out));
            }
        }
        self.break_pending = true;
    }
}
