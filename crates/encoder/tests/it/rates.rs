//! What lists say that a level takes, beside what it takes: before any of it was made, and afterwards.

use std::sync::Arc;

use encode::{Ladder, Level, OriginalBits, Renditions};

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

#[tokio::test]
async fn what_lists_say_is_the_peak_within_a_tenth_and_a_bound_before() {
    let ladder = Ladder::new(["240p", "144p"].map(|r| r.parse().unwrap()).to_vec());
    let size = "size=640x360:rate=25";
    let quick = "-c:v libx264 -preset ultrafast -g 50 -keyint_min 50 -sc_threshold 0 -threads 1";
    let constant = format!("{quick} -b:v 1500k -maxrate 1500k -bufsize 1500k");
    let starved = format!("{quick} -b:v 200k -maxrate 200k -bufsize 200k");
    // Whether the cap holds the larger level back.
    for (name, input, arguments, capped) in [
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
        let renditions = renditions(2).await;
        for (level, capped) in ladder.levels(&studio.config).iter().zip([capped, capped]) {
            let name = format!("{name}, {}", level.name);
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
