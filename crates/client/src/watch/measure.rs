//! What was watched, in numbers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use media::codec::Config;
use media::mp4::{Event, Reader};

use super::stall::Player;
use super::track::Media;

/// What was measured of all tracks.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Since the beginning.
    pub watched: Duration,
    /// In the order of [`super::Watch::tracks`].
    pub tracks: Vec<TrackReport>,
}

impl Report {
    /// The largest delay of all tracks: nothing can be shown before all of it is there.
    pub fn latency(&self) -> Option<Duration> {
        self.tracks.iter().filter_map(|t| t.latency).max()
    }

    /// Segments and parts that were listed and could not be loaded, of all tracks.
    pub fn lost(&self) -> u64 {
        self.tracks.iter().map(|t| t.lost).sum()
    }

    /// Places where something is missing, or may be, and nobody can say how much, of all tracks.
    pub fn holes(&self) -> u64 {
        self.tracks.iter().map(|t| t.holes).sum()
    }

    /// Segments that nobody has, of all tracks.
    pub fn gaps(&self) -> u64 {
        self.tracks.iter().map(|t| t.gaps).sum()
    }
}

/// What was measured of one track.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrackReport {
    /// As its initialisation segment says, such as `avc1.64001f`.
    pub codec: Option<String>,
    /// Pixels.
    pub size: Option<(u32, u32)>,
    /// Samples a second and channels.
    pub sound: Option<(u32, u8)>,
    /// Media time that came, in seconds.
    pub seconds: f64,
    /// Bytes of media.
    pub bytes: u64,
    /// Bits a second of the media since the last report, or in all.
    pub bits_per_second: Option<f64>,
    /// Frames.
    pub frames: u64,
    /// Frames a second of media since the last report, or in all.
    pub frames_per_second: Option<f64>,
    /// Frames that decoding can begin with.
    pub key_frames: u64,
    /// How old the first frame of the newest piece was when it was announced here, by both clocks; or the mean.
    pub latency: Option<Duration>,
    /// The longest one.
    pub latency_max: Option<Duration>,
    /// The longest time that one piece took to load.
    pub load_max: Duration,
    /// Whole segments.
    pub segments: u64,
    /// Parts of segments.
    pub parts: u64,
    /// EXT-X-GAP.
    pub gaps: u64,
    /// EXT-X-DISCONTINUITY.
    pub discontinuities: u64,
    /// Segments and parts that could not be loaded.
    pub lost: u64,
    /// Places where something is missing, or may be, and nobody can say how much: over MoQ, groups that were cut, and groups without
    /// segment numbers that did not come.
    pub holes: u64,
    /// Decode times that do not go on where the last ones ended, without a discontinuity.
    pub time_jumps: u64,
    /// How often a player with half a second in its buffer would have run dry.
    pub stalls: u64,
    /// How long it would have stood still in all.
    pub stalled: Duration,
}

/// Counts one track.
#[derive(Debug, Default)]
pub(super) struct Measured {
    total: TrackReport,
    /// What `total` was at the last report.
    seconds: f64,
    bytes: u64,
    frames: u64,
    frame_us: u64,
    frame_us_before: u64,
    latency_sum: Duration,
    latencies: u32,
    newest_latency: Option<Duration>,
    rates: (Option<f64>, Option<f64>),
    player: Player,
    reader: Option<Mp4>,
}

/// The frames of a fragmented MP4.
#[derive(Debug)]
struct Mp4 {
    init: Bytes,
    reader: Reader,
    timescale: u32,
    /// Where the next frame should begin.
    next: Option<i64>,
}

impl Measured {
    pub(super) fn total_mut(&mut self) -> &mut TrackReport {
        &mut self.total
    }

    pub(super) fn discontinuity(&mut self) {
        self.total.discontinuities += 1;
        self.player = Player::default();
        if let Some(reader) = &mut self.reader {
            reader.next = None;
        }
    }

    pub(super) fn media(&mut self, media: &Media) {
        let total = &mut self.total;
        total.bytes += media.bytes.len() as u64;
        total.seconds += media.seconds;
        match media.part {
            true => total.parts += 1,
            false => total.segments += 1,
        }
        total.load_max = total.load_max.max(media.loaded_in);
        if let Some(stalled) = self.player.took(Instant::now(), media.seconds) {
            total.stalls += 1;
            total.stalled += stalled;
        }
        if let Some(latency) = media.latency {
            total.latency_max = total.latency_max.max(Some(latency));
            self.newest_latency = Some(latency);
            self.latency_sum += latency;
            self.latencies += 1;
        }
        self.frames(media);
    }

    /// Looks into the segments, if they are fragmented MP4 of one track.
    fn frames(&mut self, media: &Media) {
        if media.init.is_empty() {
            return;
        }
        if self.reader.as_ref().is_none_or(|r| r.init != media.init) {
            let mut reader = Reader::new();
            reader.push(&media.init);
            self.reader = Some(Mp4 { init: media.init.clone(), reader, timescale: 0, next: None });
        }
        let Some(mp4) = &mut self.reader else { return };
        mp4.reader.push(&media.bytes);
        loop {
            match mp4.reader.next_event() {
                Ok(Some(Event::Movie(movie))) => {
                    let Some(track) = movie.tracks.first() else { continue };
                    mp4.timescale = track.timescale;
                    self.total.codec = Some(track.config.codec_string());
                    match &track.config {
                        Config::Video(video) => {
                            self.total.size = Some((video.width, video.height));
                        }
                        Config::Audio(audio) => {
                            self.total.sound = Some((audio.output_sample_rate, audio.channels));
                        }
                    }
                }
                Ok(Some(Event::Fragment(frames))) => {
                    for frame in frames.iter().filter(|f| f.track == 0) {
                        let sample = &frame.sample;
                        self.total.frames += 1;
                        self.total.key_frames += u64::from(sample.sync);
                        // A tick off is rounding, not a jump.
                        let jump = mp4.next.is_some_and(|n| (n - sample.decode).abs() > 1);
                        self.total.time_jumps += u64::from(jump);
                        mp4.next = Some(sample.decode + i64::from(sample.duration));
                        let us = u64::from(sample.duration) * 1_000_000;
                        self.frame_us += us / u64::from(mp4.timescale.max(1));
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    // No MP4 that is read: bytes and times are counted all the same.
                    mp4.reader = Reader::new();
                    return;
                }
            }
        }
    }

    /// The numbers, with rates since the last report; a second in which nothing came keeps the last ones.
    pub(super) fn report(&mut self) -> TrackReport {
        let seconds = self.total.seconds - self.seconds;
        if seconds > 0.0 {
            let bits = (self.total.bytes - self.bytes) as f64 * 8.0 / seconds;
            self.rates.0 = Some(bits);
            (self.seconds, self.bytes) = (self.total.seconds, self.total.bytes);
        }
        let us = self.frame_us - self.frame_us_before;
        if us > 0 {
            let frames = self.total.frames - self.frames;
            self.rates.1 = Some(frames as f64 * 1e6 / us as f64);
            (self.frames, self.frame_us_before) = (self.total.frames, self.frame_us);
        }
        TrackReport {
            bits_per_second: self.rates.0,
            frames_per_second: self.rates.1,
            latency: self.newest_latency,
            ..self.total.clone()
        }
    }

    /// The numbers with rates over all.
    pub(super) fn total(&self) -> TrackReport {
        let over = |n: f64, seconds: f64| (seconds > 0.0).then(|| n / seconds);
        let us = self.frame_us as f64 / 1e6;
        TrackReport {
            bits_per_second: over(self.total.bytes as f64 * 8.0, self.total.seconds),
            frames_per_second: over(self.total.frames as f64, us),
            latency: (self.latencies > 0).then(|| self.latency_sum / self.latencies),
            ..self.total.clone()
        }
    }
}
