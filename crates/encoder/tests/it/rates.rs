//! What lists say that a level takes, beside what it takes: before any of it was made, and afterwards.

use std::slice;
use std::sync::Arc;

use encode::{Ladder, Level, OriginalBits, Renditions};
use media::codec::{Config, VIDEO_TIMESCALE, VideoConfig};
use media::fmp4::init_segment;

use crate::studio::{Studio, renditions};

/// What an index knows of it: the largest segment, and all of them.
fn original_bits(studio: &Arc<Studio>, live: bool) -> OriginalBits {
    let original = studio.original();
    let segments: Vec<(u64, u64)> = studio
        .numbers()
        .filter_map(|n| original.segment(n).map(|s| (s.bytes, s.duration_ns)))
        .collect();
    let per_second = |(bytes, ns): (u64, u64)| bytes * 8 * 1_000_000_000 / ns;
    let all = segments.iter().fold((0, 0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
    OriginalBits {
        peak: segments.iter().map(|s| per_second(*s)).max().unwrap(),
        average: per_second(all),
        ns: all.1,
        live,
        segment_s: 2,
    }
}

/// Bits a second of a segment that is made now.
async fn make(renditions: &Renditions, studio: &Arc<Studio>, number: u64, level: &Level) -> u64 {
    let original = studio.original();
    let made = renditions.segment(&original, number, level).unwrap();
    assert_eq!(made.part(99).await, Ok(None));
    let bytes = made.whole().unwrap().concat().len() as u64;
    bytes * 8 * 1_000_000_000 / original.segment(number).unwrap().duration_ns
}

/// Without that of the original's own size.
fn scaled(ladder: &Ladder, studio: &Studio) -> Vec<Level> {
    let levels = ladder.levels(&studio.config).into_iter();
    levels.filter(|level| level.name != "h264").collect()
}

#[tokio::test]
async fn what_lists_say_is_the_peak_within_a_tenth_and_a_bound_before() {
    let ladder = Ladder::new(["240p", "144p"].map(|r| r.parse().unwrap()).to_vec());
    let size = "size=640x360:rate=25";
    let quick = "-c:v libx264 -preset ultrafast -g 50 -keyint_min 50 -sc_threshold 0 -threads 1";
    let constant = format!("{quick} -b:v 1500k -maxrate 1500k -bufsize 1500k");
    let starved = format!("{quick} -b:v 200k -maxrate 200k -bufsize 200k");
    // Whether the cap holds the larger level back.
    let fast = "testsrc2=size=640x360:rate=60:duration=6".to_owned();
    // At twice the rate that is supposed where the stream says none.
    let vp9 = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 120 -keyint_min 120 -b:v 3000k";
    let hevc = "-c:v libx265 -preset ultrafast -tag:v hvc1 -b:v 3000k \
                -x265-params log-level=none:keyint=120:scenecut=0:vui-timing-info=0";
    let flat_out = |rate: u32| format!("testsrc2=size=640x360:rate={rate}:duration=4");
    let of_rate = |rate: u32| {
        let group = rate * 2;
        format!(
            "-c:v libx264 -preset ultrafast -g {group} -keyint_min {group} -sc_threshold 0 -threads 1"
        )
    };
    let (of_120, of_240) = (of_rate(120), of_rate(240));
    for (name, input, arguments, capped) in [
        ("H.264 at 120 fps", flat_out(120), &*of_120, true),
        ("H.264 at 240 fps", flat_out(240), &*of_240, true),
        ("VP9 at 60 fps", fast.clone(), vp9, true),
        ("HEVC without its rate", fast, hevc, true),
        ("starved", format!("testsrc2={size}:duration=6"), &*starved, true),
        (
            "quality",
            format!("mandelbrot={size}:end_scale=0.01,trim=end=6,format=yuv420p"),
            quick,
            true,
        ),
        ("still", format!("smptehdbars={size}:duration=6"), quick, false),
        (
            "quiet at first",
            format!("color=black:{size}:duration=3[a];testsrc2={size}:duration=3[b];[a][b]concat"),
            &constant,
            true,
        ),
    ] {
        let studio = Studio::make(&input, arguments);
        assert_eq!(studio.config.frame_rate.is_none(), input.contains("rate=60"), "{name}");
        let renditions = renditions(2).await;
        for (level, capped) in scaled(&ladder, &studio).iter().zip([capped, capped]) {
            let name = format!("{name}, {}", level.name);
            let init = init_segment(&Config::Video(studio.config.clone()), VIDEO_TIMESCALE);
            let init = renditions.inits(&init, slice::from_ref(level)).await.unwrap();
            let begins = encode::config_of(&init[0]).unwrap().codec.clone();
            let begins = Config::Video(VideoConfig { codec: begins, ..studio.config.clone() });
            assert_eq!(begins.codec_string(), level.codec_string(), "{name}");
            let of = original_bits(&studio, false);
            let said = |of| renditions.bits(studio.original().video(), "video.cmaf", level, of);
            let before = said(of).peak;
            let mut made = Vec::new();
            for number in studio.numbers() {
                made.push(make(&renditions, &studio, number, level).await);
                // Made is told a moment before it is measured.
                while said(of).average.is_none() {
                    tokio::task::yield_now().await;
                }
                let peak = *made.iter().max().unwrap();
                assert!(said(of).peak >= peak, "{name}: {made:?}, {:?}", said(of));
            }
            let peak = *made.iter().max().unwrap();
            // Where the cap holds it back it is right within a tenth, else a bound.
            let within = (peak * 10 / 11..=peak * 11 / 10).contains(&before);
            assert!(if capped { within } else { before >= peak }, "{name}: {before}, {made:?}");
            let after = said(of);
            assert!((peak..=peak * 11 / 10).contains(&after.peak), "{name}: {after:?}, {made:?}");
            let mean = made.iter().sum::<u64>() / made.len() as u64;
            let average = after.average.unwrap();
            assert!(average.abs_diff(mean) <= mean / 20, "{name}: {average}, {made:?}");
        }
    }
}
