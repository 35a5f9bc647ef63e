//! The sane clock: one per broadcast, for all of its tracks (DESIGN §4, "Timeline").
//!
//! Every frame is answered at once, without looking ahead. Guarantees, whatever an encoder sends:
//!
//! - the decode time of a track strictly rises, also over [`Timeline::resume`];
//! - all tracks share one offset between their source's clock and ours, so audio and video stay aligned; when the source
//!   jumps, one new offset (an *epoch*) is made for all, and each track moves over with its first frame of the new clock;
//! - composition offsets are kept; wraps are absorbed; audio is counted in samples; video of a constant rate is on its grid.
//!
//! ```text
//! track:  Waiting --first aligned frame--> Running { epoch }      (source.rs: which source time, which epoch)
//! video:  Free { learner } <--> Grid { rate, anchor }              (video.rs)
//! audio:  Counting <--> Aligning (blocks dropped)                  (audio.rs)
//! ```
//!
//! Start: a track whose first time lies in what the others have sent so far is placed there, up to 30 s late: the
//! frames come late, the clock is the same. Blocks of a track that begins more than 1 s before the others did are dropped
//! until they have caught up. If they do not catch up within 1 s of the leader (two clocks that have nothing to do with
//! each other), or are more than 30 s behind, the track is aligned by arrival: better than half a minute of silence.

mod audio;
mod source;
mod video;

use std::fmt;
use std::time::Duration;

use audio::AudioPace;
use source::{Locate, Source};
use video::VideoPace;

use crate::codec::Ratio;
use crate::limits;

/// How a source counts time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceClock {
    bits: u32,
    hz: u32,
}

impl SourceClock {
    /// RTMP and FLV: 32 bits of milliseconds.
    pub const RTMP: Self = Self { bits: 32, hz: 1_000 };
    /// MPEG-TS: 33 bits at 90 kHz.
    pub const MPEG_TS: Self = Self { bits: 33, hz: 90_000 };
    /// MoQ, whose tracks each have a timescale: 62 bits of microseconds, into which all are brought.
    pub const MICROSECONDS: Self = Self { bits: 62, hz: 1_000_000 };

    /// RTP: 32 bits at the rate of the payload format. The driver first moves all tracks to one origin by their sender
    /// reports. `None` when the rate is zero.
    pub fn rtp(hz: u32) -> Option<Self> {
        (hz > 0).then_some(Self { bits: 32, hz })
    }
}

/// What a track counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackKind {
    /// Pictures, in 1/90,000 s.
    Video {
        /// What the bitstream or the metadata say; it is checked against the frames before it is used.
        frame_rate: Option<Ratio>,
    },
    /// Sound, in samples.
    Audio {
        /// Samples per second; 0 is taken as 1.
        sample_rate: u32,
    },
}

/// A track of one timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackId(usize);

/// One frame as the source times it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// Decode time in units of the source's clock, wrapping at its bits.
    pub timestamp: u64,
    /// What its decode time is behind that, in nanoseconds: of a clock that counts in more than that, less than one count.
    pub offset_ns: u32,
    /// Presentation minus decode time, in units of the source's clock.
    pub composition: i32,
    /// Decoding can start here, read from the bitstream.
    pub sync: bool,
    /// Samples of an audio frame; 0 for video.
    pub samples: u32,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It has its place.
    Frame(Timing),
    /// It has none.
    Dropped(Dropped),
}

/// Where a frame is, in its track's timescale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Decode time; strictly rises.
    pub decode: i64,
    /// Presentation time.
    pub present: i64,
    /// Best estimate of the time until the next frame, at least 1. Exact for audio and for video on its grid.
    pub duration: u32,
    /// Rises with every jump of the source; frames of one epoch are continuous.
    pub epoch: u32,
    /// This frame is the one with which the source jumped.
    pub discontinuity: Option<Discontinuity>,
}

/// Why a frame has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// At the start of its track, too far behind the other tracks.
    Misaligned,
    /// Audio that would overlap what was sent before.
    Overlap,
    /// The track is not of this timeline.
    UnknownTrack,
}

/// How the source's clock broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discontinuity {
    /// It went back by this much.
    Backward(Duration),
    /// It went forward by this much.
    Forward(Duration),
    /// The publisher came back after [`Timeline::resume`].
    Resumed,
}

/// What an encoder did wrong and was repaired, for its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Repairs {
    /// The source's counter wrapped (no fault).
    pub wraps: u64,
    /// Jumps back that were re-anchored.
    pub jumps_back: u64,
    /// Jumps forward that were re-anchored.
    pub jumps_forward: u64,
    /// Single wrong times after which the source went on as before.
    pub outliers: u64,
    /// Video frames whose time was not later than the one before.
    pub times_not_rising: u64,
    /// Frames dropped at the start because their track was far behind.
    pub dropped_at_start: u64,
    /// Tracks aligned by arrival because their clock has nothing to do with the others'.
    pub aligned_by_arrival: u64,
    /// Audio frames dropped because they overlapped earlier ones.
    pub audio_overlaps: u64,
    /// Audio that was off by more than 60 ms for 1 s and was re-anchored.
    pub audio_reanchored: u64,
    /// Holes in audio of more than half a second.
    pub audio_gaps: u64,
    /// Video that was put on the grid of a constant rate (no fault).
    pub grids_found: u64,
    /// Video that left its grid.
    pub grids_lost: u64,
    /// Composition offsets that were nonsense and taken as zero.
    pub compositions_ignored: u64,
}

/// What there was, in words; nothing of what there was not.
impl fmt::Display for Repairs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.wraps, "wrap of the clock", "wraps of the clock"),
            (self.jumps_back, "jump back", "jumps back"),
            (self.jumps_forward, "jump forward", "jumps forward"),
            (self.outliers, "single wrong time", "single wrong times"),
            (
                self.times_not_rising,
                "picture without a time of its own",
                "pictures without a time of their own",
            ),
            (self.dropped_at_start, "frame dropped at the start", "frames dropped at the start"),
            (self.aligned_by_arrival, "track aligned by arrival", "tracks aligned by arrival"),
            (self.audio_overlaps, "overlap of sound", "overlaps of sound"),
            (self.audio_reanchored, "run of sound put back", "runs of sound put back"),
            (self.audio_gaps, "hole in the sound", "holes in the sound"),
            (self.grids_found, "frame rate found", "frame rates found"),
            (self.grids_lost, "frame rate lost", "frame rates lost"),
            (self.compositions_ignored, "wrong composition offset", "wrong composition offsets"),
        ];
        let mut between = "";
        for (count, one, many) in all.into_iter().filter(|(count, ..)| *count > 0) {
            write!(f, "{between}{count} {}", if count == 1 { one } else { many })?;
            between = ", ";
        }
        if between.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// A timeline has as many tracks as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {max} tracks in one broadcast", max = limits::TIMELINE_TRACKS_MAX)]
pub struct TooManyTracks;

pub(crate) const NANOS: i128 = 1_000_000_000;

/// Room below the first frame for a track that starts up to a second earlier, and for negative composition offsets:
/// `tfdt` is unsigned.
const START: i128 = NANOS;

/// Room after a pause for a track that starts a little earlier than the first one to arrive.
const RESUME_GAP: i128 = NANOS / 10;

/// One clock for all tracks of a broadcast.
#[derive(Clone, Debug)]
pub struct Timeline {
    tracks: Vec<Track>,
    anchors: source::Anchors,
    repairs: Repairs,
}

#[derive(Clone, Debug)]
struct Track {
    source: Source,
    pace: Pace,
    /// Nanoseconds at which the last frame ends.
    end: i128,
}

impl Track {
    fn running(&self) -> bool {
        self.source.is_running()
    }
}

#[derive(Clone, Debug)]
enum Pace {
    Video(VideoPace),
    Audio(AudioPace),
}

impl Pace {
    /// Nothing may be placed before `end`.
    fn new(kind: TrackKind, end: i128) -> Self {
        match kind {
            TrackKind::Video { frame_rate } => Self::Video(VideoPace::new(frame_rate, end)),
            TrackKind::Audio { sample_rate } => {
                Self::Audio(AudioPace::new(sample_rate.max(1), end))
            }
        }
    }
}

impl Default for Timeline {
    fn default() -> Self {
        Self::new()
    }
}

impl Timeline {
    /// A timeline whose first frame has the time of 1 s.
    pub fn new() -> Self {
        Self::starting(0, START)
    }

    /// A timeline that goes on above everything that ended at or before `end`, of a broadcast whose earlier timeline is
    /// gone (see [`Timeline::end`]).
    pub fn continue_after(end: Duration) -> Self {
        // 2^63 ns are 292 years; a Duration has more, i128 has room for all of it.
        let end = end.as_nanos() as i128;
        Self::starting(end, end + RESUME_GAP)
    }

    fn starting(floor: i128, start: i128) -> Self {
        Self {
            tracks: Vec::new(),
            anchors: source::Anchors::new(floor, start),
            repairs: Repairs::default(),
        }
    }

    /// Adds a track, in the order of the driver's choice.
    pub fn add_track(
        &mut self,
        kind: TrackKind,
        clock: SourceClock,
    ) -> Result<TrackId, TooManyTracks> {
        if self.tracks.len() >= limits::TIMELINE_TRACKS_MAX {
            return Err(TooManyTracks);
        }
        let floor = self.anchors.floor();
        self.tracks.push(Track {
            source: Source::waiting(clock),
            pace: Pace::new(kind, floor),
            end: floor,
        });
        Ok(TrackId(self.tracks.len() - 1))
    }

    /// The configuration of a track changed: from its next frame on it counts like this, above everything earlier.
    pub fn change_track(&mut self, id: TrackId, kind: TrackKind) {
        if let Some(track) = self.tracks.get_mut(id.0) {
            track.pace = Pace::new(kind, track.end);
        }
    }

    /// Places one frame, at once.
    pub fn push(&mut self, id: TrackId, frame: SourceFrame) -> Placed {
        let front = self.tracks.iter().map(|t| t.end).max().unwrap_or_default();
        let others = self.tracks.iter().enumerate().filter(|(i, t)| *i != id.0 && t.running());
        let beside = others.map(|(_, t)| t.end).max();
        let Some(track) = self.tracks.get_mut(id.0) else {
            return Placed::Dropped(Dropped::UnknownTrack);
        };
        let is_video = matches!(track.pace, Pace::Video(_));
        let located = track.source.locate(
            frame.timestamp,
            frame.sync || !is_video,
            front,
            &mut self.anchors,
            &mut self.repairs,
        );
        let Locate::At(place) = located else {
            self.repairs.dropped_at_start += 1;
            return Placed::Dropped(Dropped::Misaligned);
        };
        let time = place.time + i128::from(frame.offset_ns);
        let timing = match &mut track.pace {
            Pace::Video(pace) => {
                let composition = track.source.composition(frame.composition, &mut self.repairs);
                Some(pace.place(time, composition, place.moved, beside, &mut self.repairs))
            }
            Pace::Audio(pace) => pace.place(time, frame.samples, place.moved, &mut self.repairs),
        };
        let Some(slot) = timing else {
            self.repairs.audio_overlaps += 1;
            // The jump itself must not be lost with the block: it is told with the next one.
            self.anchors.keep_discontinuity(place.discontinuity);
            return Placed::Dropped(Dropped::Overlap);
        };
        track.end = slot.end;
        let kept = self.anchors.take_discontinuity();
        Placed::Frame(Timing {
            decode: slot.decode,
            present: slot.present,
            duration: slot.duration,
            epoch: place.epoch,
            discontinuity: place.discontinuity.or(kept),
        })
    }

    /// The broadcaster went away and comes back with any clock: times go on above everything earlier.
    pub fn resume(&mut self) {
        let end = self.tracks.iter().map(|t| t.end).max().unwrap_or_default();
        for track in &mut self.tracks {
            track.source.restart();
            track.end = end;
            match &mut track.pace {
                Pace::Video(pace) => pace.raise_floor(end),
                Pace::Audio(pace) => pace.raise_floor(end),
            }
        }
        self.anchors.restart(end, end + RESUME_GAP);
    }

    /// Where everything so far ends, for [`Timeline::continue_after`].
    pub fn end(&self) -> Duration {
        let end =
            self.tracks.iter().map(|t| t.end).max().unwrap_or_default().max(self.anchors.floor());
        Duration::from_nanos(u64::try_from(end).unwrap_or(u64::MAX))
    }

    /// What was repaired so far.
    pub fn repairs(&self) -> &Repairs {
        &self.repairs
    }
}

/// A place in a track's timescale, with its end in nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Slot {
    decode: i64,
    present: i64,
    duration: u32,
    end: i128,
}

/// Nanoseconds as ticks, to the nearest.
fn to_ticks(nanos: i128, timescale: u32) -> i64 {
    let ticks = (nanos * i128::from(timescale) + NANOS / 2).div_euclid(NANOS);
    ticks.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Nanoseconds as ticks, up: the first tick that is not before.
fn to_ticks_up(nanos: i128, timescale: u32) -> i64 {
    let ticks = (nanos * i128::from(timescale) + NANOS - 1).div_euclid(NANOS);
    ticks.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn to_nanos(ticks: i64, timescale: u32) -> i128 {
    (i128::from(ticks) * NANOS).div_euclid(i128::from(timescale.max(1)))
}
