//! Sound that does not come is silence (decision 121): players stand where one of their tracks has nothing.

use std::time::Instant;

use media::codec::Config;
use spine::{Budget, Payload};

use super::{Outputs, Packager, Track, TrackId, nanos};
use crate::limits::{LATE_MAX, LATE_REMEMBERED, MADE_MAX, MADE_SPEED, SILENCE_MAX, SOUND_WAIT};
use crate::rendition::{Frame, ticks_to_ns};

impl Packager {
    /// All that has come was pushed. Sound that should have come by now does not: players have nothing to go on with.
    pub fn all_taken(&mut self, out: &mut Outputs) {
        self.stand(out);
        self.stand_beside(out);
        self.fill(out, |track| Some(track.late.wait_ns()));
    }

    /// Sound is silence up to so long before where its picture is.
    pub(super) fn fill(&mut self, out: &mut Outputs, behind_ns: impl Fn(&Track) -> Option<i64>) {
        if self.away || !self.main.is_some_and(|main| self.tracks[main].video) {
            return;
        }
        for track in 0..self.tracks.len() {
            let t = &self.tracks[track];
            if let Some(behind) = behind_ns(t).filter(|_| !t.video) {
                let until_ns = self.main_ns.saturating_sub(behind);
                self.be_silent(track, ns_to_ticks(until_ns, t.rendition.timescale()), out);
            }
        }
    }

    /// A track is silent up to this time, or to where it has frames.
    pub(super) fn be_silent(&mut self, track: usize, until: i64, out: &mut Outputs) {
        let arrived = self.arrived;
        let next = |t: &Track| t.reached?.silence(t.silence.as_ref()?, until, arrived);
        while let Some(frame) = self.tracks.get(track).and_then(next) {
            let lasts_ns = self
                .tracks
                .get(track)
                .map_or(0, |t| ticks_to_ns(frame.duration.into(), t.rendition.timescale()));
            if !self.made.take(lasts_ns, arrived) {
                return;
            }
            self.findings.silent_frames += 1;
            let before = self.tracks.get(track).and_then(|t| t.reached);
            let reached = Reached::with(&frame).silent_after(before);
            self.take(TrackId(track), frame, reached, out);
        }
    }

    /// Before it is known whether its place is silence already.
    pub(super) fn note_late_sound(&mut self, track: usize, frame: &Frame) {
        let led = self.main.is_some_and(|main| self.tracks[main].video && !self.away)
            && self.main_ns > i64::MIN;
        if let Some(t) = self.tracks.get_mut(track).filter(|t| led && !t.video) {
            t.late.note(ticks_to_ns(frame.decode, t.rendition.timescale()), self.main_ns);
        }
    }
}

/// A frame in which nothing is heard.
#[derive(Debug)]
pub(super) struct Silence {
    samples: u32,
    /// Samples a second.
    rate: u32,
    payload: Payload,
}

impl Silence {
    /// Of codecs that one can be made of.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let Config::Audio(audio) = config else { return None };
        let bytes = audio.silence()?;
        // One small allocation a configuration.
        let payload = Budget::new(usize::MAX).payload(bytes);
        let (samples, rate) = (audio.samples_per_frame.max(1), config.timescale());
        Some(Self { samples, rate, payload })
    }
}

/// Where a track has got, without anything missing behind it but time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    end: i64,
    /// Milliseconds since 1970 at a decode time, of what was heard last.
    wall: (u64, i64),
    arrived: Instant,
    /// Nothing is heard there.
    pub(super) silent: bool,
}

impl Reached {
    pub(super) fn with(frame: &Frame) -> Self {
        Self {
            end: frame.decode.saturating_add(frame.duration.into()),
            wall: (frame.wall_clock_ms, frame.decode),
            arrived: frame.arrived,
            silent: false,
        }
    }

    pub(super) fn end(&self) -> i64 {
        self.end
    }

    /// The date at another time of the media, in milliseconds since 1970.
    pub(super) fn wall_at(&self, ns: i64, timescale: u32) -> u64 {
        let (wall_ms, at) = self.wall;
        wall_ms.saturating_add_signed(ns.saturating_sub(ticks_to_ns(at, timescale)) / 1_000_000)
    }

    fn silent_after(self, before: Option<Self>) -> Self {
        // Sums of rounded milliseconds would drift.
        let wall = before.map_or(self.wall, |before| before.wall);
        Self { wall, silent: true, ..self }
    }

    /// The next frame of silence, if it ends at `until` or before. More than a player bears is no hole but another time.
    pub(super) fn silence(
        &self,
        silence: &Silence,
        until: i64,
        arrived: Option<Instant>,
    ) -> Option<Frame> {
        let missing = until.saturating_sub(self.end);
        let longest = nanos(SILENCE_MAX);
        if missing < i64::from(silence.samples) || ticks_to_ns(missing, silence.rate) > longest {
            return None;
        }
        let (wall_ms, at) = self.wall;
        let passed_ms = ticks_to_ns(self.end.saturating_sub(at), silence.rate) / 1_000_000;
        Some(Frame {
            decode: self.end,
            present: self.end,
            duration: silence.samples,
            sync: true,
            asked: false,
            discontinuity: false,
            wall_clock_ms: wall_ms.saturating_add_signed(passed_ms),
            arrived: arrived.unwrap_or(self.arrived),
            payload: vec![silence.payload.clone()],
        })
    }
}

/// How much may be made in the place of what did not come. Times of media may jump with each packet; by the clock on the wall it is
/// little more than passes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made {
    left_ns: i64,
    since: Option<Instant>,
}

impl Default for Made {
    fn default() -> Self {
        Self { left_ns: nanos(MADE_MAX), since: None }
    }
}

impl Made {
    /// Whether so much may be made now.
    pub(super) fn take(&mut self, ns: i64, now: Option<Instant>) -> bool {
        let since = self.since.or(now);
        let passed = now.zip(since).map_or(0, |(now, since)| nanos(now - since));
        self.since = now.max(since);
        let more = passed.saturating_mul(MADE_SPEED);
        self.left_ns = self.left_ns.saturating_add(more).min(nanos(MADE_MAX));
        let enough = self.left_ns >= ns;
        self.left_ns -= if enough { ns } else { 0 };
        enough
    }
}

/// How late sound is behind its picture, in the times of the media.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lateness {
    /// The most of late, and before that.
    most_ns: [i64; 2],
    since_ns: i64,
}

impl Lateness {
    /// A frame of `own_ns` has come when the picture had got to `picture_ns`.
    pub(super) fn note(&mut self, own_ns: i64, picture_ns: i64) {
        if picture_ns.abs_diff(self.since_ns) > LATE_REMEMBERED.as_nanos() as u64 {
            self.most_ns = [0, self.most_ns[0]];
            self.since_ns = picture_ns;
        }
        self.most_ns[0] = self.most_ns[0].max(picture_ns.saturating_sub(own_ns));
    }

    /// How long what has not come is waited for.
    pub(super) fn wait_ns(&self) -> i64 {
        let least = nanos(SOUND_WAIT);
        let most = self.most_ns[0].max(self.most_ns[1]);
        most.saturating_add(least).clamp(least, nanos(LATE_MAX))
    }
}

pub(super) fn ns_to_ticks(ns: i64, timescale: u32) -> i64 {
    let ticks = i128::from(ns) * i128::from(timescale) / 1_000_000_000;
    i64::try_from(ticks).unwrap_or(i64::MIN)
}
