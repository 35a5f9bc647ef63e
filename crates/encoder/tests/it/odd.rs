//! Odd inputs, row by row as docs/levels.md has them: what becomes of each.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use encode::{Failed, Ladder, Level};
use media::codec::Config;
use media::mp4::{Event, Reader};
use package::{CutRules, Rules};

use crate::joints::{Packaged, package, samples};
use crate::studio::{Coded, FIRST, Studio, decoded, renditions, track};

const X264: &str = "-c:v libx264 -preset ultrafast -bf 0 -sc_threshold 0";

fn ladder() -> Ladder {
    Ladder::new(vec!["96p".parse().unwrap()])
}

/// All of a level: its file, of which every frame must be there and decodable.
async fn whole(name: &str, studio: &Arc<Studio>, level: &Level) -> Vec<u8> {
    let renditions = renditions(1).await;
    let original = studio.original();
    let mut file = Vec::new();
    for number in studio.numbers() {
        if number == FIRST || studio.init_id(number) != studio.init_id(number - 1) {
            let init = renditions.init(original.as_ref(), studio.init_id(number), level).await;
            file.extend(init.unwrap());
        }
        let made = renditions.segment(&original, number, level).unwrap();
        assert_eq!(made.part(99).await, Ok(None), "{name} {number}");
        file.extend(made.whole().unwrap().concat());
    }
    let counters = renditions.counters();
    assert_eq!(counters.broken_frames.load(Ordering::Relaxed), 0, "{name}");
    assert_eq!(counters.lost.load(Ordering::Relaxed), 0, "{name}");
    file
}

fn config(file: &[u8]) -> media::codec::VideoConfig {
    let mut reader = Reader::new();
    reader.push(file);
    let Some(Event::Movie(movie)) = reader.next_event().unwrap() else { panic!("no movie") };
    let Config::Video(config) = &movie.tracks[0].config else { panic!("no picture") };
    config.clone()
}

#[tokio::test]
async fn what_is_odd_has_levels_with_every_frame_at_its_time() {
    for (name, source, arguments, expect) in [
        (
            "odd size",
            "testsrc2=size=640x360:rate=10:duration=1,scale=323:183,setsar=1",
            "-pix_fmt yuv444p",
            (170, 96),
        ),
        ("upright", "testsrc2=size=180x320:rate=10:duration=1", "", (96, 170)),
        ("a line", "testsrc2=size=4096x128:rate=5:duration=1", "", (3072, 96)),
        ("8K", "color=gray:size=7680x4320:rate=2:duration=1", "-g 2", (170, 96)),
        ("10 bits", "testsrc2=size=320x180:rate=10:duration=1", "-pix_fmt yuv420p10le", (170, 96)),
        ("4:2:2", "testsrc2=size=320x180:rate=10:duration=1", "-pix_fmt yuv422p", (170, 96)),
        ("grey", "testsrc2=size=320x180:rate=10:duration=1", "-pix_fmt gray", (170, 96)),
        ("anamorphic", "testsrc2=size=240x180:rate=10:duration=1,setsar=4/3", "", (170, 96)),
        ("1 fps", "testsrc2=size=320x180:rate=1:duration=3", "-g 1", (170, 96)),
        ("240 fps", "testsrc2=size=320x180:rate=240:duration=1", "-g 240", (170, 96)),
        ("black", "color=black:size=320x180:rate=30:duration=1", "", (170, 96)),
    ] {
        let studio = Studio::make(source, &format!("{X264} {arguments}"));
        let levels = ladder().levels(&studio.config);
        let level = levels.iter().find(|l| l.name == "96p").unwrap_or_else(|| panic!("{name}"));
        let file = whole(name, &studio, level).await;
        let times: Vec<i64> = samples(&file).iter().map(|f| f.0).collect();
        assert_eq!(times, studio.times, "{name}");
        let made = config(&file);
        assert_eq!((made.width, made.height), expect, "{name}");
        assert!(made.sample_aspect.is_none_or(|a| a.num() == a.den()), "{name}: square pixels");
        assert_eq!(made.codec_string(), level.codec_string(), "{name}");
        let (shown, complaints) = decoded(&file);
        assert_eq!((shown, complaints.as_str()), (times.len(), ""), "{name}");
    }
}

/// The planes of each picture of a file, as they are coded: in this format nothing is converted.
fn planes(file: &[u8], format: &str, (width, height): (usize, usize)) -> Vec<[Vec<u16>; 3]> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    std::fs::write(&path, file).unwrap();
    let run = |program: &str, before: &[&str], behind: &[&str]| {
        let mut command = Command::new(program);
        command.args(["-v", "error"]).args(before).arg(&path).args(behind);
        let output = command.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && words.is_empty(), "{words}");
        output.stdout
    };
    let entries = ["-select_streams", "v:0", "-show_entries", "stream=pix_fmt", "-of", "csv=p=0"];
    let coded = String::from_utf8(run("ffprobe", &entries, &[])).unwrap();
    assert_eq!(coded.trim(), format);
    let out = ["-fps_mode", "passthrough", "-f", "rawvideo", "-"];
    let bytes = run("ffmpeg", &["-i"], &out);
    let wide = usize::from(format.ends_with("10le")) + 1;
    let (luma, chroma) = (width * height, width.div_ceil(2) * height.div_ceil(2));
    let sample = |bytes: &[u8]| bytes.iter().rev().fold(0, |all, b| all << 8 | u16::from(*b));
    let samples: Vec<u16> = bytes.chunks_exact(wide).map(sample).collect();
    let pictures = samples.chunks_exact(luma + 2 * chroma);
    assert_eq!(pictures.remainder(), [0u16; 0]);
    let plane = |picture: &[u16], n: usize| match n {
        0 => picture[..luma].to_vec(),
        n => picture[luma + (n - 1) * chroma..][..chroma].to_vec(),
    };
    pictures.map(|picture| [0, 1, 2].map(|n| plane(picture, n))).collect()
}

/// The first field is white and the second black: both are in each picture, line by line, and where the picture is scaled their
/// mean is.
#[tokio::test]
async fn interlaced_pictures_stay_as_they_are_both_fields_in_one() {
    let source = "color=black:size=320x192:rate=10:duration=1,\
                  format=yuv420p,geq=lum='if(mod(Y,2),16,235)':cb=128:cr=128,format=yuv420p,setfield=tff";
    // 10 bits have a level of their own size, too.
    let arguments = "-pix_fmt yuv420p10le -flags +ildct+ilme -x264-params tff=1";
    let studio = Studio::make(source, &format!("{X264} {arguments}"));
    let coded = studio.file(FIRST);
    let field = ffprobe(&coded, "stream=field_order");
    assert!(field.starts_with('t'), "it is interlaced: {field}");
    for level in ladder().levels(&studio.config) {
        let name = format!("interlaced, {}", level.name);
        let file = whole(&name, &studio, &level).await;
        let times: Vec<i64> = samples(&file).iter().map(|f| f.0).collect();
        assert_eq!(times, studio.times, "{name}: a picture for both fields");
        assert_eq!(ffprobe(&file, "stream=field_order"), "progressive", "{name}");
        let (width, height) = level.size().unwrap();
        let size = (width as usize, height as usize);
        let pictures = planes(&file, "yuv420p", size);
        assert_eq!(pictures.len(), times.len(), "{name}");
        for [luma, ..] in pictures {
            for (y, row) in luma.chunks(size.0).enumerate() {
                let within = match (size.1, y % 2) {
                    (192, 0) => 220..=255,
                    (192, _) => 0..=35,
                    _ => 100..=155,
                };
                assert!(row.iter().all(|v| within.contains(v)), "{name}, line {y}: {row:?}");
            }
        }
    }
}

/// What ffprobe says of the picture.
fn ffprobe(file: &[u8], entry: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new("ffprobe");
    command.args([
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-of",
        "csv=p=0",
        "-show_entries",
        entry,
    ]);
    let output = command.arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Nothing is mapped: each level says of its colours what the source does, and has the source's values in 8 bits.
#[tokio::test]
async fn hdr_keeps_its_tags_and_its_values_in_8_bits() {
    // Each plane another slope, over all values that there are.
    let source = "color=gray:size=320x180:rate=10:duration=1,format=yuv420p10le,\
                  geq=lum=64+876*X/319:cb=64+896*X/159:cr=960-896*Y/89";
    for (name, transfer) in [("PQ", "smpte2084"), ("HLG", "arib-std-b67")] {
        let colours = format!("-color_primaries bt2020 -color_trc {transfer} -colorspace bt2020nc");
        let arguments = format!("{X264} -crf 4 -pix_fmt yuv420p10le -color_range tv {colours}");
        let studio = Studio::make(source, &arguments);
        let original = planes(&studio.file(FIRST), "yuv420p10le", (320, 180)).remove(0);
        let tags = format!("tv,bt2020nc,{transfer},bt2020");
        let levels = ladder().levels(&studio.config);
        assert_eq!(levels.len(), 2, "one of its own size, and a smaller one");
        for level in levels {
            let name = format!("{name}, {}", level.name);
            let file = whole(&name, &studio, &level).await;
            let entries = "stream=color_range,color_space,color_transfer,color_primaries";
            assert_eq!(ffprobe(&file, entries), tags, "{name}: tagged as the source");
            assert_eq!(config(&file).colour, studio.config.colour, "{name}");
            let (width, height) = level.size().unwrap();
            let size = (width as usize, height as usize);
            for picture in planes(&file, "yuv420p", size) {
                for (n, (made, own)) in picture.iter().zip(&original).enumerate() {
                    let half = |side: usize| if n == 0 { side } else { side / 2 };
                    let at = |x: usize, y: usize| {
                        let x = (2 * x + 1) * half(320) / (2 * half(size.0));
                        let y = (2 * y + 1) * half(180) / (2 * half(size.1));
                        i32::from(own[y * half(320) + x]) / 4
                    };
                    let wide = half(size.0);
                    let off: Vec<i32> = made
                        .iter()
                        .enumerate()
                        .map(|(i, v)| (i32::from(*v) - at(i % wide, i / wide)).abs())
                        .collect();
                    let mean = f64::from(off.iter().sum::<i32>()) / off.len() as f64;
                    assert!(mean < 2.0, "{name}: plane {n} is off by {mean}");
                }
            }
        }
    }
}

/// What OBS sends as "full": black stays 0 and white 255, in the level of its own size, scaled, and scaled again.
#[tokio::test]
async fn full_range_stays_as_it_is_said() {
    let source = "color=black:size=320x180:rate=10:duration=1,drawbox=w=160:color=white:t=fill,\
                  scale=out_range=full";
    let ladder = Ladder::new(["120p", "96p"].map(|r| r.parse().unwrap()).to_vec());
    let tags = "-color_range pc -colorspace bt709 -color_primaries bt709 -color_trc bt709";
    for (format, count) in [("yuv420p", 2), ("yuv422p", 3), ("yuv444p", 3), ("yuv420p10le", 3)] {
        let studio = Studio::make(source, &format!("{X264} {tags} -pix_fmt {format}"));
        let levels = ladder.levels(&studio.config);
        assert_eq!(levels.len(), count, "{format}");
        let renditions = renditions(1).await;
        // From one decode: each is made of the larger one.
        let ask = |level| renditions.segment(&studio.original(), FIRST, level).unwrap();
        let all: Vec<_> = levels.iter().map(ask).collect();
        for (level, made) in levels.iter().zip(all) {
            assert_eq!(made.part(99).await, Ok(None), "{format} {}", level.name);
            let init = renditions.init(studio.original().as_ref(), 7, level).await.unwrap();
            let file = [&init[..], &made.whole().unwrap().concat()].concat();
            let (width, height) = level.size().unwrap();
            let size = (width as usize, height as usize);
            let luma = &planes(&file, "yuvj420p", size)[0][0];
            let (white, black) = (luma[0], luma[luma.len() - 1]);
            assert!(white >= 254 && black <= 1, "{format} {}: {black} {white}", level.name);
        }
    }
}

#[test]
fn what_is_too_small_or_too_large_has_no_levels() {
    for (name, source, arguments) in [
        ("1x1", "color=gray:size=16x16:rate=5:duration=1,scale=1:1", "-pix_fmt yuv444p"),
        ("2x2", "color=gray:size=2x2:rate=5:duration=1", ""),
        ("14 lines", "color=gray:size=640x14:rate=5:duration=1", ""),
        ("too wide", "color=gray:size=8208x32:rate=1:duration=1", ""),
    ] {
        let studio = Studio::make(source, &format!("{X264} {arguments}"));
        assert_eq!(ladder().levels(&studio.config), [], "{name}");
    }
}

/// A phone that is turned: upright after a second, with an initialisation segment of its own.
#[tokio::test]
async fn a_size_that_changes_begins_anew_with_the_next_segment() {
    let first = Studio::make("testsrc2=size=320x180:rate=10:duration=1", &format!("{X264} -g 5"));
    let shift = |frames: &mut Vec<Coded>| {
        for frame in frames {
            frame.decode += 90_000;
            frame.present += 90_000;
        }
    };
    let source = "testsrc2=size=180x320:rate=10:duration=1";
    let second = Studio::edit(source, &format!("{X264} -g 5"), shift);
    let level = ladder().levels(&first.config).remove(0);
    let upright = ladder().levels(&second.config).remove(0);
    assert_eq!((upright.size(), &upright.name), (Some((96, 170)), &level.name));
    let studio = first.behind(&second);
    // Under its name the level is there for the whole video; the player is told of the change, as for the original. Which of
    // both lists have now changes nothing.
    for listed in [&level, &upright] {
        let file = whole("turned", &studio, listed).await;
        let times: Vec<i64> = samples(&file).iter().map(|f| f.0).collect();
        assert_eq!(times, studio.times);
        let renditions = crate::studio::renditions(1).await;
        for number in studio.numbers() {
            let (original, id) = (studio.original(), studio.init_id(number));
            let init = renditions.init(original.as_ref(), id, listed).await.unwrap();
            let made = renditions.segment(&original, number, listed).unwrap();
            assert_eq!(made.part(99).await, Ok(None), "{number}");
            let file = [&init[..], &made.whole().unwrap().concat()].concat();
            let expect = if number < FIRST + 2 { (170, 96) } else { (96, 170) };
            let made = config(&file);
            assert_eq!((made.width, made.height), expect, "{number}");
            assert_eq!(decoded(&file), (5, String::new()), "{number}");
        }
        assert_ne!(
            renditions.init_id(studio.init_id(FIRST), listed),
            renditions.init_id(studio.init_id(FIRST + 2), listed)
        );
    }
    let renditions = crate::studio::renditions(1).await;
    let id = |level| renditions.init_id(studio.init_id(FIRST), level);
    assert_eq!(id(&level), id(&upright), "lists that name it go on to find it");
}

/// Another size within a segment, as nothing but the stream says it.
#[tokio::test]
async fn a_size_that_changes_within_a_segment_is_scaled() {
    let arguments = format!("{X264} -g 10 -x264-params repeat-headers=1");
    let large = Studio::make("testsrc2=size=480x270:rate=10:duration=1", &arguments);
    let larger = large.frames();
    let studio = Studio::edit("testsrc2=size=320x180:rate=10:duration=1", &arguments, |frames| {
        for (frame, other) in frames.iter_mut().skip(5).zip(&larger) {
            frame.data = other.clone();
        }
    });
    let level = &ladder().levels(&studio.config)[0];
    let file = whole("within", &studio, level).await;
    assert_eq!(samples(&file).len(), 10);
    assert_eq!(decoded(&file), (10, String::new()));
}

/// There is memory for what was said of it.
#[tokio::test]
async fn a_stream_that_becomes_much_larger_than_it_said_is_decoded_no_further() {
    let arguments = format!("{X264} -g 10 -x264-params repeat-headers=1");
    let large = Studio::make("testsrc2=size=2560x1440:rate=10:duration=1", &arguments).frames();
    let studio = Studio::edit("testsrc2=size=320x180:rate=10:duration=1", &arguments, |frames| {
        for (frame, other) in frames.iter_mut().skip(5).zip(&large) {
            frame.data = other.clone();
        }
    });
    let (renditions, level) = (renditions(1).await, &ladder().levels(&studio.config)[0]);
    let made = renditions.segment(&studio.original(), FIRST, level).unwrap();
    assert_eq!(made.part(99).await, Ok(None));
    let counters = renditions.counters();
    let counted = [&counters.pictures, &counters.broken_frames].map(|n| n.load(Ordering::Relaxed));
    assert_eq!(counted, [5, 5], "decoded and not");
}

/// What television has said for decades stands in the pictures themselves, each pair of characters in its own.
#[tokio::test]
async fn captions_inside_the_pictures_are_in_every_level() {
    // ATSC A/53 part 4 §6.2.3: one pair of the first field.
    let pair = |present: i64| {
        let frame = (present / 9_000) as u8;
        [0x41 + frame / 26, 0x41 + frame % 26]
    };
    let insert = |frames: &mut Vec<Coded>| {
        for frame in frames {
            let mut sei = b"\x06\x04\x0e\xb5\x00\x31GA94\x03\xc1\xff\xfc".to_vec();
            sei.extend(pair(frame.present));
            sei.extend([0xff, 0x80]);
            let len = (sei.len() as u32).to_be_bytes();
            frame.data = [&len[..], &sei, &frame.data].concat().into();
        }
    };
    let source = "testsrc2=size=320x180:rate=10:duration=3";
    // 10 bits have a level of their own size, too.
    let arguments =
        "-c:v libx264 -preset ultrafast -bf 2 -g 10 -sc_threshold 0 -pix_fmt yuv420p10le";
    let studio = Studio::edit(source, arguments, insert);
    let ladder = Ladder::new(["120p", "96p"].map(|r| r.parse().unwrap()).to_vec());
    let levels = ladder.levels(&studio.config);
    assert_eq!(levels.len(), 3);
    for level in &levels {
        let name = format!("captions, {}", level.name);
        let frames = samples(&whole(&name, &studio, level).await);
        assert_eq!(frames.len(), 30, "{name}");
        for (present, _, _, data) in frames {
            let at = data.windows(5).position(|w| w == b"GA94\x03");
            let found = at.and_then(|at| data.get(at + 8..at + 10));
            assert_eq!(found, Some(&pair(present)[..]), "{name} {present}");
        }
    }
}

/// An encoder that sends a key frame and then none for long: what lies more than eight segments behind it is left to the
/// original, and with the next key frame the level goes on.
#[tokio::test]
async fn a_group_of_more_segments_than_are_looked_back_over_has_a_level_that_goes_on_behind_it() {
    let source = "testsrc2=size=320x180:rate=10:duration=13";
    let keys = "expr:eq(n,0)+eq(n,120)";
    let mut arguments = vec!["-f", "lavfi", "-i", source];
    arguments.extend(X264.split_whitespace());
    arguments.extend(["-g", "500", "-force_key_frames", keys, "-video_track_timescale", "90000"]);
    let (config, _, frames) = track(&arguments);
    let Config::Video(video) = config.clone() else { panic!("no picture") };
    let second = Duration::from_secs(1);
    let cut = CutRules { segment: second, first_group_max: second, ..CutRules::default() };
    let rules = Rules { cut, part: Duration::from_millis(500) };
    let packaged = package(rules, &[(config, frames.clone())]).remove(0);
    let Packaged { init, segments, independent, .. } = packaged;
    let keys: Vec<usize> = (0..segments.len()).filter(|n| independent[*n]).collect();
    assert_eq!((keys.as_slice(), segments.len()), (&[0, 12][..], 13));
    let studio = Studio::of(video, init, segments, independent, &frames);
    let (renditions, level) = (renditions(1).await, ladder().levels(&studio.config).remove(0));
    for number in studio.numbers() {
        let made = renditions.segment(&studio.original(), number, &level).unwrap();
        let far = (9..12).contains(&(number - FIRST));
        let expect = if far { Err(Failed::Encoder) } else { Ok(None) };
        assert_eq!(made.part(99).await, expect, "{number}");
    }
    let counters = renditions.counters();
    assert_eq!(counters.lost.load(Ordering::Relaxed), 0, "no process is to blame");
    assert_eq!(counters.started.load(Ordering::Relaxed), 1);
}
