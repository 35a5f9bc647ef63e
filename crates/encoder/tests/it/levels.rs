//! What comes out of segments of a frame and more, of frames that were lost, of odd sizes; and who does how much.

use std::sync::atomic::Ordering;

use encode::{Ladder, Level};
use media::mp4::Event;

use crate::studio::{Coded, FIRST, Studio, decoded, frames_of, renditions};

fn ladder() -> Ladder {
    Ladder::new(["144p", "120p", "96p"].map(|r| r.parse().unwrap()).to_vec())
}

/// Three levels of all segments: the frames of a level have exactly the times of the original's, key frames stand where
/// segments begin, and what playlists say before anything was made is true of what is made.
async fn check(name: &str, studio: &std::sync::Arc<Studio>) {
    let renditions = renditions(2).await;
    let original = studio.original();
    let levels = ladder().levels(&studio.config);
    assert!(levels.len() >= 3, "{name}: {levels:?}");
    for level in &levels {
        let init = renditions.init(original.as_ref(), 7, level).await.unwrap();
        check_init(name, level, &init);
        let mut file = init.to_vec();
        let mut begins = Vec::new();
        for number in studio.numbers() {
            let made = renditions.segment(&original, number, level).unwrap();
            let mut bytes = Vec::new();
            let mut parts = 0;
            while let Some(part) = made.part(parts).await.unwrap() {
                bytes.extend(part.concat());
                parts += 1;
            }
            // Pictures of an open group are shown in the segment before: the last one has fewer.
            let last = number + 1 == studio.numbers().end;
            assert!(
                parts == studio.parts(number) || (last && parts > 0),
                "{name} {number}: {parts}"
            );
            begins.push(frames_of(&[&init, &bytes[..]].concat())[0]);
            file.extend(bytes);
        }
        let frames = frames_of(&file);
        let times: Vec<i64> = frames.iter().map(|f| f.0).collect();
        assert_eq!(times, studio.times, "{name} {}", level.name);
        assert!(begins.iter().all(|(_, sync)| *sync), "{name}: {begins:?}");
        let (shown, complaints) = decoded(&file);
        assert_eq!((shown, complaints.as_str()), (times.len(), ""), "{name} {}", level.name);
    }
    let broken = renditions.counters().broken_frames.load(Ordering::Relaxed);
    assert_eq!(broken, 0, "{name}");
}

fn check_init(name: &str, level: &Level, init: &[u8]) {
    let mut reader = media::mp4::Reader::new();
    reader.push(init);
    let Some(Event::Movie(movie)) = reader.next_event().unwrap() else { panic!("{name}") };
    let media::codec::Config::Video(made) = &movie.tracks[0].config else { panic!("{name}") };
    assert_eq!(made.codec_string(), level.codec_string(), "{name}: CODECS was right");
    assert_eq!(Some((made.width, made.height)), level.size(), "{name}");
}

/// A source of 20 segments and a bit.
const SOURCE: &str = "testsrc2=size=320x180:rate=30:duration=7";

#[tokio::test]
async fn h264_with_long_and_short_groups() {
    let keys = "-force_key_frames expr:not(mod(n,11))+eq(n,1)+eq(n,2)";
    let keys = format!("-c:v libx264 -preset veryfast -bf 0 -g 250 {keys}");
    check("short groups", &Studio::make(SOURCE, &keys)).await;
}

#[tokio::test]
async fn a_variable_rate_with_a_frame_missing() {
    let x264 = "-c:v libx264 -preset veryfast -bf 2 -g 12 -sc_threshold 0";
    // Frames go and those before last longer: once every so often, as cameras in the dark do it.
    let drop = |frames: &mut Vec<Coded>| {
        let unneeded: Vec<i64> = frames.iter().map(|f| f.present).skip(5).step_by(17).collect();
        for present in unneeded {
            let Some(at) = frames.iter().position(|f| f.present == present) else { continue };
            // Only what nobody refers to may go.
            let reference = frames[at].sync || frames[at].data[4] & 0x60 != 0;
            if at > 0 && !reference {
                let gone = frames.remove(at);
                frames[at - 1].duration += gone.duration;
            }
        }
    };
    let studio = Studio::edit("testsrc2=size=320x180:rate=25:duration=8", x264, drop);
    assert!(studio.times.len() < 200, "some are missing");
    check("variable rate", &studio).await;
}

#[tokio::test]
async fn ten_bits_and_odd_sizes() {
    let x264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p10le -g 10";
    let studio = Studio::make("testsrc2=size=322x182:rate=30:duration=1", x264);
    assert_eq!(ladder().levels(&studio.config)[0].name, "h264", "10 bits do not play everywhere");
    check("10 bits", &studio).await;
    let x264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv444p -g 10";
    check("4:4:4", &Studio::make("testsrc2=size=323x183:rate=30:duration=1", x264)).await;
    let x264 = "-c:v libx264 -preset ultrafast -g 10";
    check("portrait", &Studio::make("testsrc2=size=180x320:rate=30:duration=1", x264)).await;
}

#[tokio::test]
async fn one_decode_for_all_levels_that_are_wanted_and_one_encode_for_all_who_watch() {
    let x264 = "-c:v libx264 -preset ultrafast -bf 0 -g 15 -sc_threshold 0";
    let studio = Studio::make("testsrc2=size=320x180:rate=30:duration=2", x264);
    // Nothing is there yet: all join the same job.
    studio.there.send_replace((0, 0));
    let renditions = renditions(4).await;
    let counters = renditions.counters().clone();
    let levels = ladder().levels(&studio.config);
    let (original, mut all) = (studio.original(), Vec::new());
    for _ in 0..500 {
        for level in &levels {
            all.push(renditions.segment(&original, FIRST, level).unwrap());
        }
    }
    assert_eq!(counters.started.load(Ordering::Relaxed), 0, "no process before there is something");
    for parts in 1..=studio.parts(FIRST) {
        studio.there.send_replace((1, parts));
        for made in &all {
            assert!(made.part(parts - 1).await.unwrap().is_some());
        }
    }
    for made in &all {
        assert_eq!(made.part(99).await, Ok(None));
    }
    assert_eq!(counters.decodes.load(Ordering::Relaxed), 1);
    assert_eq!(counters.encodes.load(Ordering::Relaxed), levels.len() as u64);
    assert_eq!(counters.started.load(Ordering::Relaxed), 1);
    // It lingers: those that follow are made ahead, each once, though nobody has asked for them and they are whole by now.
    studio.there.send_replace((4, 3));
    let all = studio.numbers().count() as u64;
    while counters.encodes.load(Ordering::Relaxed) < all * levels.len() as u64 {
        tokio::task::yield_now().await;
    }
    assert!(counters.prefetched.load(Ordering::Relaxed) >= (all - 1) * levels.len() as u64);
    assert_eq!(counters.decodes.load(Ordering::Relaxed), all);
    for level in &levels {
        let next = renditions.segment(&original, FIRST + 1, level).unwrap();
        assert_eq!(next.part(99).await, Ok(None));
        assert!(next.whole().is_some());
    }
    assert_eq!(counters.started.load(Ordering::Relaxed), 1, "the same process");
}
