//! T10 of the reliability anchors, and the rates of the world over two hours of virtual time.

use std::time::Duration;

use media::codec::Ratio;
use media::timeline::{
    Discontinuity, Dropped, Placed, Repairs, SourceClock, SourceFrame, Timeline, Timing, TrackId,
    TrackKind,
};

const VIDEO: usize = 0;
const AUDIO: usize = 1;

/// One frame as it leaves the encoder, with the time that its content really has.
#[derive(Clone, Copy, Debug)]
struct Sent {
    track: usize,
    /// Seconds.
    truth: f64,
    timestamp: i64,
    composition: i32,
}

#[derive(Clone, Copy, Debug)]
struct Got {
    sent: Sent,
    timing: Timing,
}

struct Case {
    rate: f64,
    hint: Option<Ratio>,
    sample_rate: u32,
    seconds: f64,
    round: fn(f64) -> f64,
    /// Two B-frames between references.
    b_frames: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            rate: 30.0,
            hint: None,
            sample_rate: 48_000,
            seconds: 20.0,
            round: f64::floor,
            b_frames: false,
        }
    }
}

impl Case {
    /// Both tracks interleaved by time, in milliseconds of one clock that starts at 0. A rate of 0 is a phone.
    fn frames(&self) -> Vec<Sent> {
        let mut frames = Vec::new();
        let (mut n, mut truth) = (0u32, 0.0);
        while truth < self.seconds {
            let timestamp = (self.round)(truth * 1000.0) as i64;
            let period = if self.rate > 0.0 { 1.0 / self.rate } else { 1.0 / 30.0 };
            let shown = if self.b_frames { f64::from([1, 3, 0, 0][n as usize % 4]) } else { 0.0 };
            let present = (self.round)((truth + shown * period) * 1000.0) as i64;
            frames.push(Sent {
                track: VIDEO,
                truth,
                timestamp,
                composition: (present - timestamp) as i32,
            });
            n += 1;
            truth = if self.rate > 0.0 {
                f64::from(n) / self.rate
            } else {
                truth + [0.0331, 0.0339, 0.0667, 0.0292, 0.0411][n as usize * 7 % 5]
            };
        }
        for n in 0.. {
            let truth = f64::from(n) * 1024.0 / f64::from(self.sample_rate);
            if truth >= self.seconds {
                break;
            }
            let timestamp = (self.round)(truth * 1000.0) as i64;
            frames.push(Sent { track: AUDIO, truth, timestamp, composition: 0 });
        }
        frames.sort_by(|a, b| a.truth.total_cmp(&b.truth));
        frames
    }

    fn timeline(&self) -> (Timeline, [TrackId; 2]) {
        let mut timeline = Timeline::new();
        let video = TrackKind::Video { frame_rate: self.hint };
        let audio = TrackKind::Audio { sample_rate: self.sample_rate };
        let ids = [video, audio].map(|kind| timeline.add_track(kind, SourceClock::RTMP).unwrap());
        (timeline, ids)
    }

    fn run(&self, frames: &[Sent]) -> (Vec<Got>, Vec<Dropped>, Repairs) {
        let (mut timeline, ids) = self.timeline();
        let (got, dropped) = push_all(&mut timeline, ids, frames);
        self.check_rising(&got);
        (got, dropped, *timeline.repairs())
    }

    fn check_rising(&self, got: &[Got]) {
        for track in [VIDEO, AUDIO] {
            let mut last = 0;
            for g in got.iter().filter(|g| g.sent.track == track) {
                assert!(g.timing.decode > last, "{last} then {g:?}");
                assert!(g.timing.duration > 0);
                last = g.timing.decode;
            }
        }
    }

    fn seconds(&self, got: &Got) -> f64 {
        let scale = if got.sent.track == VIDEO { 90_000.0 } else { f64::from(self.sample_rate) };
        got.timing.decode as f64 / scale
    }

    /// The largest distance in ms between video and audio that belong together, from `from` on.
    fn skew_ms(&self, got: &[Got], from: f64) -> f64 {
        let (mut errors, mut worst) = ([None; 2], 0.0f64);
        for g in got.iter().filter(|g| g.sent.truth >= from) {
            errors[g.sent.track] = Some(self.seconds(g) - g.sent.truth);
            if let [Some(video), Some(audio)] = errors {
                worst = worst.max(f64::abs(video - audio) * 1000.0);
            }
        }
        worst
    }
}

fn push_all(
    timeline: &mut Timeline,
    ids: [TrackId; 2],
    frames: &[Sent],
) -> (Vec<Got>, Vec<Dropped>) {
    let (mut got, mut dropped) = (Vec::new(), Vec::new());
    for sent in frames {
        let frame = SourceFrame {
            timestamp: u64::from(sent.timestamp as u32),
            offset_ns: 0,
            composition: sent.composition,
            sync: true,
            samples: if sent.track == AUDIO { 1024 } else { 0 },
        };
        match timeline.push(ids[sent.track], frame) {
            Placed::Frame(timing) => got.push(Got { sent: *sent, timing }),
            Placed::Dropped(why) => dropped.push(why),
        }
    }
    (got, dropped)
}

#[test]
fn two_hours_of_every_rate_without_drift() {
    let rates: [(f64, f64); 9] = [
        (24_000.0 / 1001.0, 3753.75),
        (24.0, 3750.0),
        (25.0, 3600.0),
        (30_000.0 / 1001.0, 3003.0),
        (30.0, 3000.0),
        (50.0, 1800.0),
        (60_000.0 / 1001.0, 1501.5),
        (60.0, 1500.0),
        (0.0, 0.0),
    ];
    for (rate, period) in rates {
        for sample_rate in [44_100, 48_000] {
            for round in [f64::floor, f64::round] as [fn(f64) -> f64; 2] {
                // The rates whose period is no whole number of milliseconds or of ticks run the full two hours; where a
                // drift would show at once, and for the other way of rounding, two minutes are enough.
                let long =
                    (rate.fract() != 0.0 || rate == 25.0 || rate == 0.0) && round(0.9) == 0.0;
                let seconds = if long { 7200.0 } else { 120.0 };
                let case = Case { rate, sample_rate, seconds, round, ..Case::default() };
                let frames = case.frames();
                let (got, dropped, repairs) = case.run(&frames);
                assert_eq!((got.len(), dropped.len()), (frames.len(), 0));
                let skew = case.skew_ms(&got, 0.0);
                assert!(skew < 25.0, "{rate} {sample_rate}: {skew} ms");
                assert!(
                    skew < 4.0,
                    "nothing was wrong with this source: {rate} {sample_rate}: {skew} ms"
                );
                assert_eq!(
                    (repairs.grids_lost, repairs.audio_reanchored, repairs.times_not_rising),
                    (0, 0, 0),
                    "{rate} {repairs:?}"
                );
                let audio: Vec<i64> =
                    got.iter().filter(|g| g.sent.track == AUDIO).map(|g| g.timing.decode).collect();
                assert!(audio.windows(2).all(|w| w[1] - w[0] == 1024), "audio is counted");
                let video: Vec<&Got> = got.iter().filter(|g| g.sent.track == VIDEO).collect();
                if rate == 0.0 {
                    let off = video
                        .iter()
                        .filter(|g| (case.seconds(g) - 1.0 - g.sent.truth).abs() > 0.0021);
                    assert_eq!(off.count(), 0, "a phone's times pass");
                    continue;
                }
                assert_eq!(repairs.grids_found, 1);
                let later: Vec<&&Got> = video.iter().filter(|g| g.sent.truth > 4.0).collect();
                let first = later[0].timing.decode as f64;
                for (n, g) in later.iter().enumerate() {
                    let exact = first + n as f64 * period;
                    assert!(
                        (g.timing.decode as f64 - exact).abs() <= 1.0,
                        "{rate} frame {n}: {g:?}"
                    );
                    assert!((f64::from(g.timing.duration) - period).abs() < 1.0);
                }
            }
        }
    }
}

#[test]
fn a_declared_rate_is_used_at_once_and_a_wrong_one_is_dropped() {
    for (declared, right) in [((30_000, 1001), true), ((30, 1), false), ((60, 1), false)] {
        let hint = Ratio::new(declared.0, declared.1);
        let case = Case { rate: 30_000.0 / 1001.0, hint, seconds: 120.0, ..Case::default() };
        let (got, _, repairs) = case.run(&case.frames());
        assert!(case.skew_ms(&got, 0.0) < 25.0);
        let from = if right { 0.5 } else { 30.0 };
        let durations: Vec<u32> = got
            .iter()
            .filter(|g| g.sent.track == VIDEO && g.sent.truth > from)
            .map(|g| g.timing.duration)
            .collect();
        assert!(durations.iter().all(|d| *d == 3003), "{declared:?} {repairs:?}");
    }
}

#[test]
fn b_frames_keep_their_composition_offsets() {
    for (rate, shift) in [(25.0, 0), (30_000.0 / 1001.0, 0), (60_000.0 / 1001.0, 0), (25.0, -80)] {
        let case = Case { rate, b_frames: true, ..Case::default() };
        let mut frames = case.frames();
        for sent in frames.iter_mut().filter(|s| s.track == VIDEO) {
            sent.composition += shift;
        }
        let (got, _, _) = case.run(&frames);
        let period = 90_000.0 / rate;
        for (n, g) in got.iter().filter(|g| g.sent.track == VIDEO).enumerate() {
            let offset = g.timing.present - g.timing.decode;
            let expect = f64::from([1, 3, 0, 0][n % 4]) * period + f64::from(shift) * 90.0;
            let tolerance = if g.sent.truth > 4.0 { 1.0 } else { 91.0 };
            assert!(
                (offset as f64 - expect).abs() <= tolerance,
                "{rate} frame {n}: {offset} for {expect}"
            );
        }
    }
}

#[test]
fn wraps_are_absorbed() {
    let case = Case::default();
    for before_wrap in [10_000, 1, 0, -1] {
        let mut frames = case.frames();
        for sent in &mut frames {
            sent.timestamp += (1 << 32) - before_wrap;
        }
        let (got, dropped, repairs) = case.run(&frames);
        assert!(dropped.is_empty() && case.skew_ms(&got, 0.0) < 4.0);
        assert!(got.iter().all(|g| g.timing.discontinuity.is_none() && g.timing.epoch == 0));
        assert_eq!(repairs.wraps, if before_wrap > 0 { 2 } else { 0 }, "once per track");
    }
}

#[test]
fn other_clocks_wrap_too() {
    for (clock, bits, hz) in
        [(SourceClock::MPEG_TS, 33, 90_000), (SourceClock::rtp(48_000).unwrap(), 32, 48_000)]
    {
        let mut timeline = Timeline::new();
        let kind = TrackKind::Video { frame_rate: None };
        let id = timeline.add_track(kind, clock).unwrap();
        let mut last = 0;
        for n in 0..250u64 {
            let timestamp = ((1 << bits) - 2 * hz + n * hz / 25) % (1 << bits);
            let frame =
                SourceFrame { timestamp, offset_ns: 0, composition: 0, sync: true, samples: 0 };
            let Placed::Frame(timing) = timeline.push(id, frame) else { panic!() };
            assert!(n == 0 || timing.decode - last == 3600);
            last = timing.decode;
        }
        assert_eq!(timeline.repairs().wraps, 1);
    }
}

/// A phone's pictures, which are on no grid: RTMP's milliseconds, and the rest as E-RTMP v2 says it.
#[test]
fn what_is_said_beyond_milliseconds_is_kept() {
    let mut timeline = Timeline::new();
    let kind = TrackKind::Video { frame_rate: None };
    let id = timeline.add_track(kind, SourceClock::RTMP).unwrap();
    let (mut at_us, mut first) = (0u64, None);
    for n in 0..400u64 {
        let (timestamp, offset_ns) = (at_us / 1_000, (at_us % 1_000) as u32 * 1_000);
        let frame = SourceFrame { timestamp, offset_ns, composition: 0, sync: true, samples: 0 };
        let Placed::Frame(timing) = timeline.push(id, frame) else { panic!() };
        let ticks = timing.decode - *first.get_or_insert(timing.decode);
        let off = ticks - (at_us * 9 / 100) as i64;
        assert!(off.abs() <= 1, "{off} ticks of 90 kHz off at {at_us} us");
        at_us += 21_000 + n * n * 7_919 % 30_011;
    }
}

#[test]
fn jumps_are_absorbed_for_all_tracks_together() {
    // (ms by which the source jumps, is it one)
    let table = [
        (-1_000, true),
        (-3_600_000, true),
        (600_000, true),
        (10_000, true),
        (1 << 31, true),
        (2_000, false),
    ];
    for (by, jump) in table {
        // The two tracks change over at the same content, or one up to 100 ms before the other.
        for stagger in [-0.1, 0.0, 0.1] {
            let case = Case::default();
            let mut frames = case.frames();
            for sent in &mut frames {
                sent.timestamp += 5_000_000;
                let at = if sent.track == VIDEO { 10.0 } else { 10.0 + stagger };
                if sent.truth >= at {
                    sent.timestamp += by;
                }
            }
            let (got, dropped, repairs) = case.run(&frames);
            assert!(dropped.len() <= 6, "{by} {stagger}: {dropped:?}");
            let told: Vec<_> = got.iter().filter_map(|g| g.timing.discontinuity).collect();
            assert_eq!(told.len(), usize::from(jump), "{by} {stagger}: {told:?} {repairs:?}");
            assert_eq!(repairs.outliers, 0);
            let skew = case.skew_ms(&got, 12.5);
            assert!(skew < 60.0, "{by} {stagger}: {skew} ms");
            let end = case.seconds(got.last().unwrap()) - 1.0;
            assert!(
                (end - 20.0 - if jump { 0.0 } else { 2.0 }).abs() < 0.25,
                "{by} {stagger}: ends at {end}"
            );
        }
    }
}

#[test]
fn a_single_wrong_time_is_forgotten() {
    let case = Case::default();
    for by in [3_600_000, -3_600_000] {
        let mut frames = case.frames();
        let wrong = frames.iter().position(|s| s.track == VIDEO && s.truth > 10.0).unwrap();
        frames[wrong].timestamp += by;
        let (got, _, repairs) = case.run(&frames);
        assert_eq!(repairs.outliers, 1);
        assert!(case.skew_ms(&got, 10.5) < 4.0, "{}", case.skew_ms(&got, 10.5));
    }
}

#[test]
fn equal_and_slightly_falling_times_still_rise() {
    let case = Case::default();
    let mut frames = case.frames();
    let mut last = 0;
    for (n, sent) in frames.iter_mut().filter(|s| s.track == VIDEO).enumerate() {
        match n % 50 {
            20 => sent.timestamp = last,
            40 => sent.timestamp = last - 20,
            _ => {}
        }
        last = sent.timestamp;
    }
    let (got, dropped, repairs) = case.run(&frames);
    assert!(dropped.is_empty() && got.iter().all(|g| g.timing.discontinuity.is_none()));
    assert!(repairs.times_not_rising >= 20, "{repairs:?}");
    assert!(case.skew_ms(&got, 0.0) < 60.0);
    let words = repairs.to_string();
    let expect = format!("{} pictures without a time of their own", repairs.times_not_rising);
    assert!(words.contains(&expect) && !words.contains(" 0 ") && !words.contains('{'), "{words}");
    assert_eq!(Repairs::default().to_string(), "none");
    assert_eq!(Repairs { wraps: 1, ..Repairs::default() }.to_string(), "1 wrap of the clock");
    let all_equal: Vec<Sent> =
        case.frames().into_iter().map(|s| Sent { timestamp: 7, ..s }).collect();
    case.run(&all_equal);
}

#[test]
fn start_skew_of_thirty_seconds() {
    // Stale blocks of one track in a burst, then both run together: dropped until aligned.
    let case = Case::default();
    for (stale, other) in [(AUDIO, VIDEO), (VIDEO, AUDIO)] {
        let mut frames: Vec<Sent> = case.frames();
        frames.iter_mut().for_each(|s| s.timestamp += 30_000);
        let first = *frames.iter().find(|s| s.track == other).unwrap();
        let burst = (0..1_000).map(|n| Sent {
            track: stale,
            truth: 0.0,
            timestamp: n * 29,
            composition: 0,
        });
        let sent: Vec<Sent> =
            std::iter::once(first).chain(burst).chain(frames.into_iter().skip(2)).collect();
        let (got, dropped, repairs) = case.run(&sent);
        assert!((900..=1_000).contains(&dropped.len()), "{}", dropped.len());
        assert_eq!(repairs.aligned_by_arrival, 0);
        assert!(case.skew_ms(&got, 3.0) < 65.0, "{}", case.skew_ms(&got, 3.0));
    }
    // Two clocks that have nothing to do with each other: aligned by arrival after at most a second.
    for (track, by) in [(AUDIO, 30_000), (VIDEO, 30_000), (AUDIO, 600_000), (VIDEO, 3_000)] {
        let mut frames = case.frames();
        frames.iter_mut().filter(|s| s.track == track).for_each(|s| s.timestamp += by);
        let (got, dropped, repairs) = case.run(&frames);
        assert!(dropped.len() < 70, "{track} {by}: {}", dropped.len());
        assert_eq!(repairs.aligned_by_arrival, 1, "{track} {by}");
        let skew = case.skew_ms(&got, 3.0);
        assert!(skew < 100.0, "{track} {by}: {skew}");
    }
    // A small lead of one track is the truth and stays.
    for (track, by) in [(AUDIO, 400), (VIDEO, 400), (AUDIO, -900)] {
        let mut frames = case.frames();
        for sent in &mut frames {
            sent.timestamp += 2_000;
            if sent.track == track {
                sent.timestamp += by;
                sent.truth += by as f64 / 1000.0;
            }
        }
        let (got, dropped, _) = case.run(&frames);
        assert!(dropped.is_empty());
        assert!(case.skew_ms(&got, 0.0) < 4.0, "{track} {by}: {}", case.skew_ms(&got, 0.0));
    }
}

#[test]
fn a_track_that_comes_late_but_is_timed_right_stays_in_place() {
    let case = Case::default();
    for (track, late) in [(VIDEO, 1.3), (AUDIO, 1.3), (VIDEO, 3.0), (AUDIO, 3.0), (VIDEO, 20.0)] {
        let mut frames = case.frames();
        let arrives = |s: &Sent| s.truth + if s.track == track { late } else { 0.0 };
        frames.sort_by(|a, b| arrives(a).total_cmp(&arrives(b)));
        let (got, dropped, repairs) = case.run(&frames);
        assert_eq!((dropped.len(), repairs.aligned_by_arrival), (0, 0), "{track} {late}");
        let skew = case.skew_ms(&got, 0.0);
        assert!(skew < 4.0, "{track} {late}: {skew} ms");
    }
}

#[test]
fn one_clock_drifts_by_a_thousandth() {
    for factor in [1.001, 0.999] {
        for (track, hint) in [(AUDIO, None), (VIDEO, None), (VIDEO, Ratio::new(30, 1))] {
            let case = Case { seconds: 1200.0, hint, ..Case::default() };
            let mut frames = case.frames();
            for sent in frames.iter_mut().filter(|s| s.track == track) {
                // What its timestamps say is the truth.
                sent.truth *= factor;
                sent.timestamp = (sent.truth * 1000.0) as i64;
            }
            frames.sort_by(|a, b| a.truth.total_cmp(&b.truth));
            let (got, dropped, repairs) = case.run(&frames);
            assert!(dropped.len() < 70, "{}", dropped.len());
            assert!(
                case.skew_ms(&got, 0.0) < 100.0,
                "{track} {factor}: {}",
                case.skew_ms(&got, 0.0)
            );
            assert_eq!(repairs.audio_reanchored > 0, track == AUDIO, "{repairs:?}");
        }
    }
}

#[test]
fn holes_in_one_track_move_nothing() {
    let case = Case::default();
    for track in [VIDEO, AUDIO] {
        for hole in [0.3, 4.0, 8.0] {
            let frames: Vec<Sent> = case
                .frames()
                .into_iter()
                .filter(|s| s.track != track || !(5.0..5.0 + hole).contains(&s.truth))
                .collect();
            let (got, dropped, repairs) = case.run(&frames);
            assert!(
                dropped.is_empty() && got.iter().all(|g| g.timing.discontinuity.is_none()),
                "{repairs:?}"
            );
            assert!(case.skew_ms(&got, 14.5) < 4.0, "{track} {hole}");
        }
    }
}

#[test]
fn a_broadcaster_that_reconnects_goes_on_above() {
    let case = Case::default();
    let frames = case.frames();
    let (mut timeline, ids) = case.timeline();
    let (mut got, _) = push_all(&mut timeline, ids, &frames);
    let end = timeline.end();
    assert!(end > Duration::from_secs(20));
    timeline.resume();
    let (again, dropped) = push_all(&mut timeline, ids, &frames);
    assert!(dropped.is_empty());
    assert_eq!(
        again.iter().filter_map(|g| g.timing.discontinuity).collect::<Vec<_>>(),
        [Discontinuity::Resumed]
    );
    assert_eq!(again[0].timing.discontinuity, Some(Discontinuity::Resumed));
    assert!(again.iter().all(|g| case.seconds(g) >= end.as_secs_f64()));
    assert!(case.skew_ms(&again, 0.0) < 4.0);
    got.extend(again);
    case.check_rising(&got);

    // The node was restarted in between: only the end is known.
    let mut timeline = Timeline::continue_after(end);
    let id =
        timeline.add_track(TrackKind::Audio { sample_rate: 44_100 }, SourceClock::RTMP).unwrap();
    let frame =
        SourceFrame { timestamp: 9, offset_ns: 0, composition: 0, sync: true, samples: 1024 };
    let Placed::Frame(timing) = timeline.push(id, frame) else { panic!() };
    assert!(timing.decode as f64 / 44_100.0 >= end.as_secs_f64());
}

#[test]
fn a_changed_track_goes_on_above() {
    let case = Case::default();
    let (mut timeline, ids) = case.timeline();
    let frames = case.frames();
    let (before, after) = frames.split_at(frames.len() / 2);
    let (got, _) = push_all(&mut timeline, ids, before);
    timeline.change_track(ids[AUDIO], TrackKind::Audio { sample_rate: 44_100 });
    timeline.change_track(ids[VIDEO], TrackKind::Video { frame_rate: None });
    let (more, _) = push_all(&mut timeline, ids, after);
    for (track, old, new) in [(VIDEO, 90_000.0, 90_000.0), (AUDIO, 48_000.0, 44_100.0)] {
        let last = got.iter().rfind(|g| g.sent.track == track).unwrap();
        let next = more.iter().find(|g| g.sent.track == track).unwrap();
        let step = next.timing.decode as f64 / new - last.timing.decode as f64 / old;
        assert!((0.0..0.06).contains(&step), "{step}");
    }
}
