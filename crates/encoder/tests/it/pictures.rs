//! Pictures of originals of all kinds: their size, their colours, and which frame is on them.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use encode::wire::{FromEncoder, Hello};
use encode::{
    Failed, Fit, Ladder, Original, Picture, Program, Renditions, Settings, Size, Unreadable, What,
};

use crate::faults::{real_words, said, scripted};
use crate::studio::{FIRST, Failing, Studio, renditions, settings};

const X264: &str = "-c:v libx264 -preset ultrafast -g 10 -sc_threshold 0";

async fn draw(
    renditions: &Renditions,
    studio: &Arc<Studio>,
    size: Size,
    what: What,
) -> Result<Vec<u8>, Failed> {
    let made = renditions.picture(&studio.original(), &Picture { size, what })?;
    Ok(made.part(0).await?.unwrap().concat())
}

/// Width, height and the pixels in RGB, as ffmpeg decodes a file.
fn decoded(file: &[u8], ending: &str) -> (usize, usize, Vec<u8>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("a.{ending}"));
    std::fs::write(&path, file).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-i"]).arg(&path).args(arguments);
        let output = command.output().unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && words.is_empty(), "{words}");
        output.stdout
    };
    let head = run(&["-frames:v", "1", "-f", "image2pipe", "-c:v", "pgm", "-pix_fmt", "gray", "-"]);
    let text = String::from_utf8_lossy(&head[..head.len().min(20)]).into_owned();
    let mut numbers = text.split_whitespace().skip(1).map(|n| n.parse::<usize>().unwrap());
    let (width, height) = (numbers.next().unwrap(), numbers.next().unwrap());
    (width, height, run(&["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]))
}

#[tokio::test]
async fn odd_sources_have_pictures_of_the_right_size() {
    let hdr =
        "-pix_fmt yuv420p10le -color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc";
    let interlaced = "-flags +ildct+ilme -x264-params tff=1";
    for (name, source, arguments, expect) in [
        ("2x2", "testsrc2=size=2x2:rate=10:duration=1", "", (2, 2)),
        ("a line", "testsrc2=size=640x4:rate=10:duration=1", "", (640, 4)),
        ("8K", "color=gray:size=7680x4320:rate=2:duration=1", "-g 2", (640, 360)),
        (
            "odd",
            "testsrc2=size=640x360:rate=10:duration=1,scale=323:183,setsar=1,format=yuv444p",
            "-pix_fmt yuv444p",
            (323, 183),
        ),
        ("10 bits", "testsrc2=size=320x180:rate=10:duration=1", "-pix_fmt yuv420p10le", (320, 180)),
        ("HDR", "testsrc2=size=320x180:rate=10:duration=1", hdr, (320, 180)),
        ("interlaced", "testsrc2=size=320x180:rate=10:duration=1", interlaced, (320, 180)),
        ("upright", "testsrc2=size=180x320:rate=10:duration=1", "", (180, 320)),
        ("1 fps", "testsrc2=size=320x180:rate=1:duration=3", "-g 1", (320, 180)),
        ("240 fps", "testsrc2=size=320x180:rate=240:duration=1", "-g 240", (320, 180)),
        ("grey", "testsrc2=size=320x180:rate=10:duration=1", "-pix_fmt gray", (320, 180)),
    ] {
        let studio = Studio::make(source, &format!("{X264} {arguments}"));
        let renditions = renditions(1).await;
        for what in [What::Key(FIRST), What::Shown { segment: FIRST, at_ms: 300 }] {
            let file = draw(&renditions, &studio, Size::default(), what.clone()).await;
            let (width, height, _) = decoded(&file.unwrap(), "jpg");
            assert_eq!((width, height), expect, "{name}: {what:?}");
        }
        assert_eq!(renditions.counters().lost.load(Ordering::Relaxed), 0, "{name}");
    }
}

#[tokio::test]
async fn what_is_too_large_has_no_picture_and_costs_no_process() {
    let renditions = renditions(1).await;
    for (name, size) in [("too wide", "8208x32"), ("more than 8K", "8192x4368")] {
        let source = format!("color=gray:size={size}:rate=1:duration=1");
        let studio = Studio::make(&source, X264);
        let drawn = draw(&renditions, &studio, Size::default(), What::Key(FIRST)).await;
        assert_eq!(drawn, Err(Failed::Encoder), "{name}");
    }
    assert_eq!(renditions.counters().started.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_encoder_that_dies_over_a_picture_draws_it_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let once = dir.path().join("once").display().to_string();
    let words = real_words().await;
    let hello = FromEncoder::Hello(Hello { words: words.clone() });
    let greets = format!("/bin/cat {}; exit 1", said(dir.path(), "greeting", &[hello]));
    let then = |dies: &str| format!("[ -e {once} ] || {{ : > {once}; {dies}; }}; exec REAL work");
    let studio = Studio::make("testsrc2=size=320x180:rate=10:duration=1", X264);
    for (work, drawn, lost) in
        [(then(&greets), true, 1), (then("exit 1"), true, 1), (greets, false, 2)]
    {
        let _ = std::fs::remove_file(&once);
        let program = scripted(dir.path(), &words, &work).await;
        let renditions = with(program, settings(1));
        let file = draw(&renditions, &studio, Size::default(), What::Key(FIRST)).await;
        assert_eq!(file.as_ref().map_err(|e| *e).err(), (!drawn).then_some(Failed::Encoder));
        let counters = renditions.counters();
        let counted = (&counters.lost, &counters.drawn);
        let counted = (counted.0.load(Ordering::Relaxed), counted.1.load(Ordering::Relaxed));
        assert_eq!(counted, (lost, u64::from(drawn)), "{work}");
        // Once is enough for all who ask.
        let again = draw(&renditions, &studio, Size::default(), What::Key(FIRST)).await;
        assert!(again == file, "{work}");
        assert_eq!(counters.started.load(Ordering::Relaxed), 2, "{work}");
    }
}

#[tokio::test]
async fn a_picture_that_finds_no_encoder_in_time_is_said_and_drawn_when_there_is_one() {
    let program = Program::ask(std::path::Path::new(crate::studio::ENCODER)).await.unwrap();
    let patience = Duration::from_millis(1);
    let renditions = with(program, Settings { patience, ..settings(1) });
    let studio = Studio::make("testsrc2=size=320x180:rate=10:duration=2", X264);
    let level = Ladder::new(vec!["96p".parse().unwrap()]).levels(&studio.config).remove(0);
    // The only one is busy with a segment that does not go on.
    let all = studio.there.send_replace((2, 1));
    let live = renditions.segment(&studio.original(), FIRST + 1, &level).unwrap();
    assert!(live.part(0).await.unwrap().is_some());
    let picture = async || draw(&renditions, &studio, Size::default(), What::Key(FIRST)).await;
    assert_eq!(picture().await, Err(Failed::Busy));
    assert_eq!(renditions.counters().refused.load(Ordering::Relaxed), 1);
    studio.there.send_replace(all);
    assert_eq!(live.part(99).await, Ok(None));
    assert!(picture().await.is_ok());
}

fn with(program: Program, settings: Settings) -> Arc<Renditions> {
    let renditions = Renditions::new(program, settings);
    tokio::spawn(renditions.clone().run());
    renditions
}

#[tokio::test]
async fn every_codec_gives_the_picture_of_its_time() {
    // Each tenth of a second is lighter than the one before.
    let source = "color=black:size=320x180:rate=10:duration=2,geq=lum=16+N*10:cb=128:cr=128";
    let x265 = "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=none:keyint=5:open-gop=1:bframes=3";
    let x264 = "-c:v libx264 -preset veryfast -bf 3 -b_strategy 0 -x264-params keyint=5:scenecut=0:open-gop=1";
    for (name, arguments) in [
        ("H.264", x264),
        ("HEVC", x265),
        ("AV1", "-c:v libsvtav1 -preset 12 -g 5"),
        ("VP9", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 5 -b:v 300k"),
    ] {
        let studio = Studio::make(source, arguments);
        let renditions = renditions(1).await;
        let light = |file: Vec<u8>, ending: &str, at: usize| {
            let (width, height, pixels) = decoded(&file, ending);
            f64::from(pixels[at * 3 + width * height * 3 / 2]) * 219.0 / 255.0 / 10.0
        };
        let last = *studio.numbers().collect::<Vec<_>>().last().unwrap();
        assert!(last > FIRST, "{name}: several segments");
        let film = What::Film { segment: FIRST, from_ms: 0, every_ms: 200, pictures: 5 };
        let film = draw(&renditions, &studio, Size::default(), film).await.unwrap();
        let frames = decoded(&film, "gif").2.len() / (320 * 180 * 3);
        assert_eq!(frames, 5, "{name}");
        for at_ms in [0, 100, 400, 1_200] {
            let what = What::Shown { segment: FIRST, at_ms };
            let file = draw(&renditions, &studio, Size::default(), what).await.unwrap();
            let found = light(file, "jpg", 0);
            assert!((found - f64::from(at_ms) / 100.0).abs() < 0.4, "{name} {at_ms}: {found}");
        }
        let numbers: Vec<u64> = studio.numbers().collect();
        let file = draw(&renditions, &studio, Size::default(), What::Sheet(numbers.clone())).await;
        let (width, height, pixels) = decoded(&file.unwrap(), "jpg");
        assert_eq!((width, height), (320 * 5, 180 * 5), "{name}");
        let mut before = -1;
        for place in 0..numbers.len() {
            let (x, y) = (place % 5 * 320 + 160, place / 5 * 180 + 90);
            let here = i32::from(pixels[(y * width + x) * 3]);
            assert!(here > before, "{name}: tile {place} is lighter");
            before = here;
        }
    }
}

#[tokio::test]
async fn colours_are_those_of_the_source() {
    for (matrix, size) in [("bt709", "1280x720"), ("smpte170m", "320x180"), ("bt2020nc", "320x180")]
    {
        let source = format!(
            "color=red:size={size}:rate=5:duration=1,format=rgb24,scale=out_color_matrix={}:out_range=tv,format=yuv420p",
            matrix.trim_end_matches("nc"),
        );
        let studio = Studio::make(&source, &format!("{X264} -colorspace {matrix}"));
        let renditions = renditions(1).await;
        let file = draw(&renditions, &studio, Size::default(), What::Key(FIRST)).await.unwrap();
        let (_, _, pixels) = decoded(&file, "jpg");
        let [red, green, blue] = [pixels[0], pixels[1], pixels[2]];
        assert!(red > 245 && green < 12 && blue < 12, "{matrix}: {red} {green} {blue}");
    }
}

/// As docs/levels.md says of levels and of pictures: ask fields, and values that nobody has mapped.
#[tokio::test]
async fn interlaced_sources_are_combed_and_hdr_is_not_mapped() {
    let lines = "color=black:size=320x192:rate=5:duration=1,\
                 format=yuv420p,geq=lum='if(mod(Y,2),16,235)':cb=128:cr=128,format=yuv420p,setfield=tff";
    let interlaced = "-flags +ildct+ilme -x264-params tff=1";
    let grey =
        "color=black:size=320x192:rate=5:duration=1,format=yuv420p10le,geq=lum=502:cb=512:cr=512";
    let hdr = |transfer: &str| {
        format!(
            "-pix_fmt yuv420p10le -color_primaries bt2020 -color_trc {transfer} -colorspace bt2020nc"
        )
    };
    let (pq, hlg) = (hdr("smpte2084"), hdr("arib-std-b67"));
    // 502 of 10 bits is the middle of 64 to 940.
    for (name, source, arguments, even, odd) in [
        ("interlaced", lines, interlaced, 255, 0),
        ("PQ", grey, &*pq, 128, 128),
        ("HLG", grey, &*hlg, 128, 128),
    ] {
        let studio = Studio::make(source, &format!("{X264} {arguments}"));
        let renditions = renditions(1).await;
        let file = draw(&renditions, &studio, Size::default(), What::Key(FIRST)).await.unwrap();
        let (width, height, pixels) = decoded(&file, "jpg");
        assert_eq!((width, height), (320, 192), "{name}");
        for (y, row) in pixels.chunks(width * 3).enumerate() {
            let expect: i32 = if y % 2 == 0 { even } else { odd };
            let mean = row.iter().map(|v| i32::from(*v)).sum::<i32>() / row.len() as i32;
            assert!((mean - expect).abs() < 30, "{name}: line {y} is {mean}, not {expect}");
        }
    }
}

#[tokio::test]
async fn what_is_cut_off_and_what_is_added() {
    let renditions = renditions(1).await;
    // White in the middle third, black beside it.
    let source =
        "color=black:size=300x100:rate=5:duration=1,drawbox=x=100:w=100:h=100:color=white:t=fill";
    let studio = Studio::make(source, X264);
    let sized = |fit| Size { width: Some(100), height: Some(100), fit };
    for (fit, corner, middle, high) in [
        (Fit::Crop, 255, 255, 100),
        (Fit::Fill, 0, 255, 100),
        (Fit::Scale, 0, 255, 100),
        (Fit::Clip, 0, 255, 33),
    ] {
        let file = draw(&renditions, &studio, sized(fit), What::Key(FIRST)).await.unwrap();
        let (width, height, pixels) = decoded(&file, "jpg");
        assert_eq!((width, height), (100, high), "{fit:?}");
        let at = |x: usize, y: usize| i32::from(pixels[(y * width + x) * 3]);
        assert!((at(3, 3) - corner).abs() < 20, "{fit:?}: {}", at(3, 3));
        assert!((at(50, height / 2) - middle).abs() < 20, "{fit:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_no_picture_is_said() {
    let renditions = renditions(1).await;
    let studio = Studio::edit("testsrc2=size=320x180:rate=10:duration=2", X264, |frames| {
        // The second segment is noise.
        for frame in frames.iter_mut().skip(10) {
            frame.data = vec![0, 0, 0, 4, 0x65, 1, 2, 3].into();
        }
    });
    let size = Size::default();
    for (what, expect) in [
        (What::Key(FIRST), Ok(())),
        (What::Key(FIRST + 99), Err(Failed::NoOriginal)),
        (What::Key(FIRST + 1), Err(Failed::Encoder)),
        (What::Shown { segment: FIRST + 1, at_ms: 100 }, Err(Failed::Encoder)),
        (What::Shown { segment: FIRST, at_ms: 100 }, Ok(())),
        (What::Sheet(vec![FIRST, FIRST + 1, FIRST + 2]), Ok(())),
    ] {
        let drawn = draw(&renditions, &studio, size, what.clone()).await.map(|_| ());
        assert_eq!(drawn, expect, "{what:?}");
    }
    // Who asks again within a moment hears the same, and nothing is tried.
    let pictures = renditions.counters().pictures.load(Ordering::Relaxed);
    assert_eq!(draw(&renditions, &studio, size, What::Key(FIRST + 1)).await, Err(Failed::Encoder));
    assert_eq!(renditions.counters().pictures.load(Ordering::Relaxed), pictures);
}

/// A sheet with a hole would be kept for a year, and a picture of a time would be an earlier one.
#[tokio::test]
async fn what_can_not_be_read_now_is_no_picture_with_a_hole() {
    let studio = Studio::make("testsrc2=size=320x180:rate=10:duration=3", X264);
    let renditions = renditions(1).await;
    let (key, shown) = ((FIRST + 1, 0), (FIRST, 1));
    let ask = |renditions: &Renditions, original: &Arc<dyn Original>, what: &What| {
        let picture = Picture { size: Size::default(), what: what.clone() };
        renditions.picture(original, &picture).unwrap()
    };
    for (what, part) in [
        (What::Sheet((FIRST..FIRST + 3).collect()), key),
        (What::Key(FIRST + 1), key),
        (What::Shown { segment: FIRST, at_ms: 700 }, shown),
        (What::Film { segment: FIRST, from_ms: 100, every_ms: 200, pictures: 5 }, shown),
    ] {
        for (how, failed) in [(Some(Unreadable), Failed::Store), (None, Failed::NoOriginal)] {
            // Another video, of which nothing is kept.
            let again = studio.with_frames(&studio.frames());
            let original = Arc::new(Failing::new(again.original(), part, how));
            let original: Arc<dyn Original> = original;
            let drawn = ask(&renditions, &original, &what).part(0).await;
            assert_eq!(drawn, Err(failed), "{what:?}");
            if how.is_some() {
                let drawn = ask(&renditions, &original, &what).part(0).await;
                assert!(drawn.is_ok_and(|drawn| drawn.is_some()), "{what:?}");
            }
        }
    }
}

/// 8K takes seconds a second: who asks for all of it gets its beginning.
#[tokio::test]
async fn a_film_of_large_pictures_is_shorter() {
    let source = "color=gray:size=7680x4320:rate=10:duration=5";
    let studio = Studio::make(source, "-c:v libx264 -preset ultrafast -g 50 -sc_threshold 0");
    let size = Size { width: Some(64), height: None, fit: Fit::Clip };
    let what = What::Film { segment: FIRST, from_ms: 0, every_ms: 500, pictures: 10 };
    let renditions = renditions(1).await;
    draw(&renditions, &studio, size, what).await.unwrap();
    // As many as are decoded at most.
    let most = encode::limits::FILM_DECODED_PIXELS_MAX / (7680 * 4320);
    assert_eq!(renditions.counters().pictures.load(Ordering::Relaxed), most);
}

/// Nobody asked for long, and the store takes a moment: that is not the encoder's silence.
#[tokio::test]
async fn a_worker_that_was_idle_for_long_draws() {
    let renditions = renditions(1).await;
    let studio = Studio::make("testsrc2=size=320x180:rate=10:duration=3", X264);
    draw(&renditions, &studio, Size::default(), What::Key(FIRST)).await.unwrap();
    // Two minutes pass for all but the process.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(120)).await;
    tokio::time::resume();
    let nowhere = (FIRST + 99, 0);
    let original: Arc<dyn Original> = Arc::new(Failing::new(studio.original(), nowhere, None));
    let picture = Picture { size: Size::default(), what: What::Key(FIRST + 1) };
    let made = renditions.picture(&original, &picture).unwrap();
    assert!(made.part(0).await.is_ok_and(|drawn| drawn.is_some()));
    let counters = renditions.counters();
    let counted = [&counters.lost, &counters.started].map(|n| n.load(Ordering::Relaxed));
    assert_eq!(counted, [0, 1], "one process does both");
}
