//! Pictures without sound that lack what no segment can hold.

use super::*;

/// A camera without a microphone lacks frames for so long, from the midst of a segment, and where one ends and begins: each segment is
/// as short as the list says, and all of them together last as long as what came and what did not.
#[test]
fn no_segment_holds_a_hole_that_is_longer_than_itself() {
    for (from, lacks, gaps) in [
        (150, 135, 3),
        (119, 135, 3),
        (120, 135, 3),
        (121, 135, 3),
        (178, 135, 3),
        (150, 60, 0),
        (151, 60, 1),
        (141, 60, 1),
        (121, 70, 0),
        (119, 40, 0),
    ] {
        let mut bench = Bench::new(&[true]);
        for i in 0..600 {
            if !(from..from + lacks).contains(&i) {
                bench.push(0, frame(i * 3_000, 3_000, i % 60 == 0));
            }
            bench.all_taken();
        }
        bench.flush();
        let r = bench.index.rendition("video").unwrap();
        let seconds: Vec<f64> = r.segments.iter().map(|s| s.seconds(s.duration())).collect();
        assert!(seconds.iter().all(|s| s.round() <= 2.0), "{from} {lacks}: {seconds:?}");
        assert!((seconds.iter().sum::<f64>() - 20.0).abs() < 0.05, "{from} {lacks}: {seconds:?}");
        let missing = r.segments.iter().filter(|s| s.info.gap).count();
        assert_eq!(missing, gaps, "{from} {lacks}: {seconds:?}");
    }
}
