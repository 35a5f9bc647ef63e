//! How an encoder is doing, in numbers and in words that a broadcaster understands.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::publication::Counts;
use crate::timeline::Repairs;

/// Rates are those of the last ten seconds, second by second.
const WINDOW_SECONDS: usize = 10;
const BUCKET: Duration = Duration::from_secs(1);

/// A share of media that arrives in time below this shows on the screen sooner or later.
const UPLOAD_RATIO_MIN: f64 = 0.95;

/// Key frames further apart than this make segments that decoding can't start with.
const KEY_FRAMES_MAX_S: f64 = 4.2;

/// Key frames further apart than this cost latency.
const KEY_FRAMES_GOOD_S: f64 = 2.2;

/// Nothing comes: the connection stands, and the encoder is silent.
const SILENT: Duration = Duration::from_secs(3);

/// One track has stopped: encoders that leave out what does not change send more often than this.
const STOPPED: Duration = Duration::from_secs(5);

/// Pictures without parameter sets: some come before the first ones of an encoder in the middle of its work.
const UNCONFIGURED_MAX: u64 = 60;

/// Pictures whose times do not rise: a few are an encoder's hiccup.
const TIMES_NOT_RISING_MAX: u64 = 60;

/// Measures one encoder's connection.
#[derive(Debug, Clone)]
pub struct Health {
    began: Instant,
    /// When a frame came last.
    heard: Option<Instant>,
    /// The same of pictures, and of sound, unless its track was taken away.
    picture_at: Option<Instant>,
    sound_at: Option<Instant>,
    /// When a key frame came last.
    key_frame_at: Option<Instant>,
    full: VecDeque<Bucket>,
    open: Bucket,
    counts: Counts,
    repairs: Repairs,
    /// What is advised at present, and when it began.
    since: BTreeMap<Topic, Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    start: Instant,
    video: Sum,
    audio: Sum,
    /// The furthest decode time, in nanoseconds.
    reached_ns: i64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    frames: u64,
    bytes: u64,
}

/// How an encoder is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What it publishes over, as [`crate::admission::Asking`] names it; empty where nobody said.
    pub protocol: &'static str,
    /// Seconds since it connected.
    pub connected_s: u64,
    /// Seconds since a frame came, if one did.
    pub silent_s: Option<u64>,
    /// Pictures, if any came.
    pub video: Option<Rate>,
    /// Sound, if any came.
    pub audio: Option<Rate>,
    /// Seconds since a picture came, if one did and the track was not taken away.
    pub video_silent_s: Option<u64>,
    /// Seconds since sound came, likewise.
    pub audio_silent_s: Option<u64>,
    /// Seconds between the last two key frames.
    pub key_frame_interval_s: Option<f64>,
    /// Seconds since the last one.
    pub key_frame_age_s: Option<u64>,
    /// Media time that arrived per time that passed: below 1 the connection is too slow.
    pub upload_ratio: Option<f64>,
    /// Frames that came and were left out before they had a place, for all these reasons.
    pub dropped: u64,
    /// Of these, those that could not be read.
    pub unreadable: u64,
    /// Pictures that came before anything that says how to decode them.
    pub unconfigured: u64,
    /// Pictures that decoding can start with, so far.
    pub key_frames: u64,
    /// What was repaired.
    pub repairs: Repairs,
    /// What to do about it; empty if all is well.
    pub advice: Vec<Advice>,
}

/// What is wrong, and what its owner can do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// In words.
    pub words: String,
    /// How long it has been so, where that is known; of what was counted, since the first time.
    pub for_ms: Option<u64>,
}

/// What advice is about: as long as there is any about it, it is the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    KeyFrames,
    NoPicture,
    NoSound,
    Silent,
    Upload,
    NoKeyFrame,
    NoParameterSets,
    Unreadable,
    Aligned,
    NotRising,
    NoMedia,
    Jumps,
    Reanchored,
    AtStart,
    Overlaps,
    Unplaced,
}

/// Something to say, and since when it is so, where the encoder's frames tell.
type Said = (Topic, String, Option<Instant>);

/// How much comes in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Bits a second.
    pub bits_per_second: u64,
    /// Frames a second.
    pub frames_per_second: f64,
}

impl Health {
    /// Of an encoder that has just connected.
    pub(crate) fn new(now: Instant) -> Self {
        let (video, audio) = (Sum::default(), Sum::default());
        let open = Bucket { start: now, video, audio, reached_ns: 0 };
        let (counts, repairs) = (Counts::default(), Repairs::default());
        Self {
            began: now,
            heard: None,
            picture_at: None,
            sound_at: None,
            key_frame_at: None,
            full: VecDeque::new(),
            open,
            counts,
            repairs,
            since: BTreeMap::new(),
        }
    }

    /// A frame was taken.
    pub(crate) fn frame(&mut self, video: bool, bytes: usize, decode_ns: i64, now: Instant) {
        if now.saturating_duration_since(self.open.start) >= BUCKET {
            self.next(now);
            _ = self.report(now);
        }
        self.heard = Some(now);
        *self.newest(video) = Some(now);
        let sum = if video { &mut self.open.video } else { &mut self.open.audio };
        sum.frames += 1;
        sum.bytes += bytes as u64;
        self.open.reached_ns = self.open.reached_ns.max(decode_ns);
    }

    /// The encoder has taken a track of this kind away: nothing is missing.
    pub(crate) fn rest(&mut self, video: bool) {
        *self.newest(video) = None;
    }

    fn newest(&mut self, video: bool) -> &mut Option<Instant> {
        if video { &mut self.picture_at } else { &mut self.sound_at }
    }

    fn next(&mut self, start: Instant) {
        if self.full.len() >= WINDOW_SECONDS {
            self.full.pop_front();
        }
        self.full.push_back(self.open);
        let (video, audio) = (Sum::default(), Sum::default());
        self.open = Bucket { start, video, audio, reached_ns: self.open.reached_ns };
    }

    /// Seconds in which nothing came are seconds, too.
    fn up_to(&self, now: Instant) -> Self {
        let mut seen = self.clone();
        for _ in 0..=WINDOW_SECONDS {
            let next = seen.open.start + BUCKET;
            if now < next + BUCKET {
                break;
            }
            seen.next(next);
        }
        seen
    }

    /// What the publication counts, its newest frame included.
    pub(crate) fn note(&mut self, counts: Counts, repairs: Repairs) {
        if counts.key_frames > self.counts.key_frames {
            self.key_frame_at = self.heard;
        }
        (self.counts, self.repairs) = (counts, repairs);
    }

    /// How it is doing now.
    pub fn report(&mut self, now: Instant) -> Report {
        let seen = self.up_to(now);
        let mut report = seen.measured(now);
        let said = seen.advice(&report);
        self.since.retain(|topic, _| said.iter().any(|(other, ..)| other == topic));
        // Of an encoder that nothing has come of it has been so from its beginning.
        let noticed = self.heard.map_or(self.began, |_| now);
        report.advice = said
            .into_iter()
            .map(|(topic, words, since)| {
                let since = since.unwrap_or(*self.since.entry(topic).or_insert(noticed));
                let passed = now.saturating_duration_since(since).as_millis();
                Advice { words, for_ms: u64::try_from(passed).ok() }
            })
            .collect();
        report
    }

    fn measured(&self, now: Instant) -> Report {
        let span = self.full.front().map(|first| self.open.start.duration_since(first.start));
        let seconds = span.map_or(0.0, |span| span.as_secs_f64());
        let rate = |of: fn(&Bucket) -> Sum| {
            let (frames, bytes) =
                self.full.iter().map(of).fold((0, 0), |sum, s| (sum.0 + s.frames, sum.1 + s.bytes));
            (frames > 0 && seconds > 0.0).then(|| Rate {
                bits_per_second: (bytes as f64 * 8.0 / seconds) as u64,
                frames_per_second: frames as f64 / seconds,
            })
        };
        let (video, audio) = (rate(|b| b.video), rate(|b| b.audio));
        let interval = self.counts.key_frame_interval_ms;
        let since = |at: Instant| now.saturating_duration_since(at).as_secs();
        Report {
            protocol: "",
            connected_s: now.saturating_duration_since(self.began).as_secs(),
            silent_s: self.heard.map(since),
            video,
            audio,
            video_silent_s: self.picture_at.map(since),
            audio_silent_s: self.sound_at.map(since),
            key_frame_age_s: self.key_frame_at.map(since),
            key_frame_interval_s: (interval > 0).then(|| interval as f64 / 1000.0),
            upload_ratio: self.upload_ratio(),
            dropped: self.counts.dropped + self.counts.unconfigured,
            unreadable: self.counts.unreadable,
            unconfigured: self.counts.unconfigured,
            key_frames: self.counts.key_frames,
            repairs: self.repairs,
            advice: Vec::new(),
        }
    }

    /// Over a few seconds at least: a burst at the start says nothing.
    fn upload_ratio(&self) -> Option<f64> {
        let (first, last) = (self.full.front()?, self.full.back()?);
        let passed = last.start.duration_since(first.start).as_secs_f64();
        let media = (last.reached_ns - first.reached_ns) as f64 / 1e9;
        (self.full.len() >= 5 && passed > 0.0).then(|| media / passed)
    }
}

impl Health {
    fn advice(&self, report: &Report) -> Vec<Said> {
        let mut said: Vec<Said> = Vec::new();
        let mut say = |topic, since, words: String| said.push((topic, words, since));
        let silent_s = report.silent_s.filter(|s| *s >= SILENT.as_secs());
        let stopped = |s: Option<u64>| s.filter(|s| silent_s.is_none() && *s >= STOPPED.as_secs());
        let no_picture_s = stopped(report.video_silent_s);
        // The next one has not come: it is that long at least.
        let overdue_s = report.key_frame_age_s.filter(|age| {
            let interval = report.key_frame_interval_s.unwrap_or(0.0).max(KEY_FRAMES_MAX_S);
            silent_s.is_none() && no_picture_s.is_none() && *age as f64 > interval
        });
        let interval = report.key_frame_interval_s.filter(|s| *s > KEY_FRAMES_GOOD_S);
        if let Some(s) = overdue_s {
            let words = format!("no key frame for {s} s: set the key-frame interval to 2 s");
            say(Topic::KeyFrames, None, words);
        } else if let Some(s) = interval {
            let advice = match s > KEY_FRAMES_MAX_S {
                true => "set the key-frame interval to 2 s",
                false => "an interval of 2 s or less gives viewers less delay",
            };
            say(Topic::KeyFrames, None, format!("key frames every {s:.1} s: {advice}"));
        }
        let no_sound_s = stopped(report.audio_silent_s);
        for (topic, what, s, since) in [
            (Topic::NoPicture, "picture", no_picture_s, self.picture_at),
            (Topic::NoSound, "sound", no_sound_s, self.sound_at),
        ] {
            if let Some(s) = s {
                say(topic, since, format!("no {what} for {s} s: check the encoder's sources"));
            }
        }
        // Of an encoder that has sent nothing at all this says nothing.
        let upload = report.upload_ratio.filter(|r| *r < UPLOAD_RATIO_MIN && self.heard.is_some());
        if let Some(s) = silent_s {
            let words =
                format!("nothing has arrived for {s} s: check the encoder and its connection");
            say(Topic::Silent, self.heard, words);
        } else if let Some(ratio) = upload {
            let words = format!(
                "only {:.0} % of the media arrives in time: lower the bitrate, or use a better connection",
                ratio * 100.0
            );
            say(Topic::Upload, None, words);
        }
        if report.video.is_some() && report.key_frames == 0 {
            let words = "no key frame has come, so nobody can see a picture: set the key-frame interval to 2 s";
            say(Topic::NoKeyFrame, None, words.to_owned());
        }
        let without_sets =
            report.unconfigured > UNCONFIGURED_MAX && report.video_silent_s.is_none();
        if without_sets {
            let words = "pictures come without their parameter sets (SPS and PPS), so nobody can see them: restart the encoder, \
                 or let it repeat its headers with each key frame";
            say(Topic::NoParameterSets, None, words.to_owned());
        }
        if report.connected_s >= WINDOW_SECONDS as u64
            && silent_s.is_none()
            && report.video.is_none()
            && report.audio.is_none()
            && !without_sets
        {
            let words = "connected, but no media arrives: check the encoder's sources";
            say(Topic::NoMedia, None, words.to_owned());
        }
        said.extend(repaired(report));
        said.extend(left_out(report));
        said
    }
}

/// What was put right, and what viewers had of it.
fn repaired(report: &Report) -> Vec<Said> {
    let repairs = &report.repairs;
    let mut said: Vec<Said> = Vec::new();
    if repairs.aligned_by_arrival > 0 {
        let words = "picture and sound came with clocks of their own and were put together as they arrived: they may be out of \
             step; restart the encoder if they are";
        said.push((Topic::Aligned, words.to_owned(), None));
    }
    if repairs.times_not_rising > TIMES_NOT_RISING_MAX {
        let n = repairs.times_not_rising;
        let words = format!(
            "{n} pictures had no time of their own and are shown as they came: check the encoder's frame rate and timestamps"
        );
        said.push((Topic::NotRising, words, None));
    }
    let jumps = repairs.jumps_back + repairs.jumps_forward;
    if jumps > 0 {
        let n = times(jumps);
        let words = format!("the encoder's clock jumped {n}: viewers saw a cut each time");
        said.push((Topic::Jumps, words, None));
    }
    if repairs.audio_reanchored > 0 {
        let n = times(repairs.audio_reanchored);
        let words = format!("sound ran away from the clock {n} and was put back");
        said.push((Topic::Reanchored, words, None));
    }
    said
}

/// What came and viewers have nothing of.
fn left_out(report: &Report) -> Vec<Said> {
    let (at_start, overlaps) = (report.repairs.dropped_at_start, report.repairs.audio_overlaps);
    let unplaced = report.dropped.saturating_sub(report.unreadable + report.unconfigured);
    let unplaced = unplaced.saturating_sub(at_start + overlaps);
    let all = [
        (
            Topic::Unreadable,
            report.unreadable,
            "could not be read: check the encoder's codec settings, or use another encoder",
        ),
        (
            Topic::AtStart,
            at_start,
            "left out at the start, as picture and sound did not begin together: restart the encoder if it goes on",
        ),
        (
            Topic::Overlaps,
            overlaps,
            "of sound left out, as there was sound at their time already: check the encoder's sampling rate and timestamps",
        ),
        (
            Topic::Unplaced,
            unplaced,
            "left out, as nothing had said how to decode them: restart the encoder if picture or sound is missing",
        ),
    ];
    let some = all.into_iter().filter(|(_, n, _)| *n > 0);
    some.map(|(topic, n, words)| (topic, format!("{} {words}", frames(n)), None)).collect()
}

fn frames(n: u64) -> String {
    if n == 1 { "1 frame".to_owned() } else { format!("{n} frames") }
}

fn times(n: u64) -> String {
    if n == 1 { "once".to_owned() } else { format!("{n} times") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    fn words(advice: Vec<Advice>) -> Vec<String> {
        advice.into_iter().map(|advice| advice.words).collect()
    }

    /// 20 s of 25 pictures a second of 10,000 bytes, whose media time runs at `speed`.
    fn run(speed: f64, key_ms: u64) -> Report {
        let began = start();
        let mut health = Health::new(began);
        for i in 0..500u32 {
            let at = Duration::from_millis(u64::from(i) * 40);
            health.frame(true, 10_000, (at.as_secs_f64() * speed * 1e9) as i64, began + at);
        }
        let counts = Counts { key_frames: 2, key_frame_interval_ms: key_ms, ..Counts::default() };
        health.note(counts, Repairs::default());
        health.report(began + Duration::from_secs(20))
    }

    #[test]
    fn a_healthy_encoder_needs_no_advice() {
        let report = run(1.0, 2_000);
        let video = report.video.unwrap();
        assert!((video.frames_per_second - 25.0).abs() < 0.5, "{report:?}");
        assert!((video.bits_per_second as f64 - 2e6).abs() < 5e4, "{report:?}");
        assert!((report.upload_ratio.unwrap() - 1.0).abs() < 0.02, "{report:?}");
        assert_eq!((report.audio, words(report.advice)), (None, vec![]));
    }

    #[test]
    fn an_encoder_that_stands_still_is_not_healthy() {
        let began = start();
        let mut health = Health::new(began);
        let frame = |health: &mut Health, i: u32| {
            let at = Duration::from_millis(u64::from(i) * 40);
            health.frame(true, 10_000, at.as_nanos() as i64, began + at);
        };
        (0..500).for_each(|i| frame(&mut health, i));
        let counts = Counts { key_frames: 2, ..Counts::default() };
        health.note(counts, Repairs::default());
        for (at_s, rate, ratio) in
            [(21, 25.0, 1.0), (25, 15.0, 0.6), (30, 2.5, 0.1), (31, 0.0, 0.0), (3_600, 0.0, 0.0)]
        {
            let report = health.report(began + Duration::from_secs(at_s));
            let frames = report.video.map_or(0.0, |v| v.frames_per_second);
            assert!((frames - rate).abs() < 1.5, "{at_s} s: {report:?}");
            assert!((report.upload_ratio.unwrap() - ratio).abs() < 0.12, "{at_s} s: {report:?}");
            let silent = format!(
                "nothing has arrived for {} s: check the encoder and its connection",
                at_s - 20
            );
            let expect = if at_s > 22 { vec![silent] } else { vec![] };
            assert_eq!(words(report.advice), expect, "{at_s} s");
        }
        // On again: only the seconds count in which nothing came.
        (750..1_250).for_each(|i| frame(&mut health, i));
        health.note(Counts { key_frames: 3, ..Counts::default() }, Repairs::default());
        let report = health.report(began + Duration::from_secs(50));
        assert!((report.video.unwrap().frames_per_second - 25.0).abs() < 0.5, "{report:?}");
        assert_eq!(report.advice, []);
    }

    #[test]
    fn advice_is_in_words() {
        for (speed, key_ms, words) in [
            (1.0, 8_300, "key frames every 8.3 s: set the key-frame interval to 2 s"),
            (1.0, 4_000, "key frames every 4.0 s: an interval of 2 s or less"),
            (0.8, 2_000, "only 80 % of the media arrives in time"),
        ] {
            let report = run(speed, key_ms);
            assert!(report.advice[0].words.starts_with(words), "{:?}", report.advice);
        }
    }

    #[test]
    fn what_viewers_do_not_see_or_hear_in_step_is_told() {
        let counts = Counts { key_frames: 1, ..Counts::default() };
        let repairs = Repairs::default();
        for (counts, repairs, words) in [
            (Counts::default(), repairs, "no key frame has come"),
            (Counts { unreadable: 3, ..counts }, repairs, "3 frames could not be read"),
            (Counts { unreadable: 1, ..counts }, repairs, "1 frame could not be read"),
            (
                counts,
                Repairs { aligned_by_arrival: 1, ..repairs },
                "picture and sound came with clocks",
            ),
            (
                counts,
                Repairs { times_not_rising: 359, ..repairs },
                "359 pictures had no time of their own and are shown as they came",
            ),
            (
                counts,
                Repairs { jumps_back: 1, jumps_forward: 1, ..repairs },
                "the encoder's clock jumped 2 times",
            ),
            (
                counts,
                Repairs { audio_reanchored: 1, ..repairs },
                "sound ran away from the clock once",
            ),
            (
                Counts { dropped: 4, ..counts },
                repairs,
                "4 frames left out, as nothing had said how",
            ),
            (
                Counts { dropped: 1, ..counts },
                Repairs { audio_overlaps: 1, ..repairs },
                "1 frame of sound left out, as there was sound at their time already",
            ),
            (
                Counts { dropped: 60, ..counts },
                Repairs { dropped_at_start: 60, ..repairs },
                "60 frames left out at the start",
            ),
        ] {
            let began = start();
            let mut health = Health::new(began);
            for i in 0..500u32 {
                let at = Duration::from_millis(u64::from(i) * 40);
                health.frame(true, 10_000, at.as_nanos() as i64, began + at);
            }
            health.note(counts, repairs);
            let advice = health.report(began + Duration::from_secs(20)).advice;
            assert_eq!(advice.len(), 1, "{advice:?}");
            assert!(advice[0].words.starts_with(words), "{advice:?}");
        }
    }

    /// What is advised after so many seconds of these tracks (the last second that each came in) with one key frame at the
    /// second `key`.
    fn stopped(seconds: u32, video_until: u32, audio_until: u32, key: Option<u32>) -> Vec<String> {
        let began = start();
        let (mut health, mut counts) = (Health::new(began), Counts::default());
        for i in 0..seconds * 25 {
            let at = Duration::from_millis(u64::from(i) * 40);
            for (video, until) in [(true, video_until), (false, audio_until)] {
                if i < until * 25 {
                    counts.key_frames += u64::from(video && key == Some(i / 25) && i % 25 == 0);
                    health.frame(video, 1_000, at.as_nanos() as i64, began + at);
                    health.note(counts, Repairs::default());
                }
            }
        }
        words(health.report(began + Duration::from_secs(u64::from(seconds))).advice)
    }

    #[test]
    fn a_track_that_has_stopped_and_a_key_frame_that_does_not_come_are_told() {
        let no_key = "no key frame for 24 s: set the key-frame interval to 2 s";
        let no_sound = "no sound for 9 s: check the encoder's sources";
        let no_picture = "no picture for 9 s: check the encoder's sources";
        let check = |advice: Vec<String>, expect: &[&str]| assert_eq!(advice, expect);
        check(stopped(24, 24, 24, Some(0)), &[no_key]);
        check(stopped(24, 24, 24, Some(20)), &[]);
        check(stopped(24, 24, 15, Some(20)), &[no_sound]);
        check(stopped(24, 15, 24, Some(12)), &[no_picture]);
        check(stopped(24, 24, 20, Some(20)), &[]);
        // All of it: that is said once.
        check(
            stopped(24, 15, 15, Some(12)),
            &["nothing has arrived for 9 s: check the encoder and its connection"],
        );
    }

    /// Also where nobody asks while it begins, and anew when it comes again.
    #[test]
    fn since_when_something_is_so_is_told() {
        let (began, mut counts) = (start(), Counts { key_frames: 1, ..Counts::default() });
        let mut health = Health::new(began);
        let mut told = Vec::new();
        for i in 0..32 * 25u64 {
            let at = Duration::from_millis(i * 40);
            counts.dropped += u64::from(i == 5 * 25);
            counts.key_frame_interval_ms =
                if (14 * 25..20 * 25).contains(&i) { 2_000 } else { 8_000 };
            if i % (2 * 25) == 0 {
                counts.key_frames += 1;
            }
            health.frame(true, 1_000, at.as_nanos() as i64, began + at);
            health.note(counts, Repairs::default());
            if [12 * 25, 16 * 25, 30 * 25].contains(&i) {
                let advice = health.report(began + at).advice;
                let short = |advice: Advice| (advice.words[..9].to_owned(), advice.for_ms.unwrap());
                told.push(advice.into_iter().map(short).collect::<Vec<_>>());
            }
        }
        let (keys, dropped) = ("key frame".to_owned(), "1 frame l".to_owned());
        let expect = [
            vec![(keys.clone(), 11_000), (dropped.clone(), 6_000)],
            vec![(dropped.clone(), 10_000)],
            vec![(keys, 9_000), (dropped, 24_000)],
        ];
        assert_eq!(told, expect);
        // Whose frames do not come are missing since the last one, whoever asks when.
        let silent = health.report(began + Duration::from_secs(60)).advice;
        assert!(silent.iter().any(|advice| advice.for_ms == Some(28_040)), "{silent:?}");
    }

    #[test]
    fn a_track_that_was_taken_away_is_not_missing() {
        let began = start();
        let mut health = Health::new(began);
        health.frame(false, 100, 0, began);
        health.rest(false);
        let at = began + Duration::from_secs(9);
        health.frame(true, 100, 9_000_000_000, at);
        health.note(Counts { key_frames: 1, ..Counts::default() }, Repairs::default());
        assert_eq!(health.report(at).advice, []);
    }

    #[test]
    fn pictures_without_parameter_sets_are_told() {
        let began = start();
        for (sound, unconfigured, told) in
            [(false, 60, false), (false, 61, true), (true, 300, true)]
        {
            let mut health = Health::new(began);
            let counts = Counts { unconfigured, ..Counts::default() };
            health.note(counts, Repairs::default());
            for i in 0..300 {
                let at = Duration::from_millis(i * 40);
                if sound {
                    health.frame(false, 100, at.as_nanos() as i64, began + at);
                }
            }
            let advice = health.report(began + Duration::from_secs(12)).advice;
            assert_eq!(advice.len(), 1, "{advice:?}");
            assert_eq!(advice[0].words.starts_with("pictures come without"), told, "{advice:?}");
        }
    }
}
