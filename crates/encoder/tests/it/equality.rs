//! The equality proof: what we make of a closed group of pictures is, bit for bit, what the `ffmpeg` command makes of it
//! with the settings of `bench/peers/ffmpeg-level.args`. So what is measured beside that command is the same work.

use std::process::Command;

use encode::{Kind, Ladder, Level};
use media::codec::{Config, VideoCodec, VideoConfig};
use media::mp4::{Event, Reader, demux};

use crate::joints::samples;
use crate::studio::{Studio, renditions};

const SETTINGS: &str = include_str!("../../../../bench/peers/ffmpeg-level.args");

/// The frames that the command makes of a segment for the last of these levels, each scaled from the one before, and its
/// parameter sets.
fn by_command(segment: &[u8], levels: &[Level], full: bool) -> (VideoConfig, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("segment.mp4");
    std::fs::write(&path, segment).unwrap();
    let level = levels.last().unwrap();
    let kind = |l: &Level| match l.kind {
        Kind::Pictures { width, height, level_idc } => (width, height, level_idc),
        Kind::Sound(_) => panic!("no pictures"),
    };
    // The command makes studio range of full range unless it is told not to.
    let range = if full { ":out_range=full" } else { "" };
    let scale = |l: &Level| format!("scale={}:{}:flags=bicubic{range}", kind(l).0, kind(l).1);
    // Levels do not say that their pixels are square.
    let scales: Vec<String> = levels.iter().map(scale).chain(["setsar=0".to_owned()]).collect();
    let settings = SETTINGS
        .replace("LEVEL", &kind(level).2.to_string())
        .replace("KBPS", &level.max_kbps.to_string());
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-threads", "1", "-filter_threads", "1", "-i"]).arg(&path);
    command.args(["-an", "-fps_mode", "passthrough", "-vf", &scales.join(",")]);
    if full {
        command.args(["-color_range", "pc"]);
    }
    let made = dir.path().join("made.mp4");
    let output = command.args(settings.split_whitespace()).arg(&made).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = bytes::Bytes::from(std::fs::read(&made).unwrap());
    let track = demux(&file).unwrap().tracks.remove(0);
    let Config::Video(config) = track.config.clone() else { panic!("no picture") };
    let data = |sample: &media::mp4::Sample| sample.data(&file).unwrap().to_vec();
    (config, track.samples.iter().map(data).collect())
}

/// SPS and PPS.
fn parameters(config: &VideoConfig) -> (Vec<bytes::Bytes>, Vec<bytes::Bytes>) {
    let VideoCodec::H264(record) = &config.codec else { panic!("no H.264") };
    (record.sps().to_vec(), record.pps().to_vec())
}

#[tokio::test]
async fn a_level_is_bit_for_bit_what_the_command_makes() {
    let ladder = Ladder::new(["144p=150", "96p"].map(|r| r.parse().unwrap()).to_vec());
    let x264 = "-c:v libx264 -preset veryfast -bf 2 -g 15 -sc_threshold 0";
    let x265 = "-c:v libx265 -preset ultrafast -tag:v hvc1 \
                -x265-params log-level=none:keyint=15:open-gop=0:bframes=2:scenecut=0";
    let full = format!("{x264} -color_range pc -pix_fmt yuv420p");
    for (name, source, arguments) in [
        ("H.264", "testsrc2=size=320x180:rate=30:duration=2", x264),
        (
            "25 fps, hard",
            "mandelbrot=size=320x180:rate=25:end_scale=0.01,trim=end=2,format=yuv420p",
            x264,
        ),
        ("HEVC", "testsrc2=size=320x180:rate=30:duration=1", x265),
        ("full range", "testsrc2=size=320x180:rate=30:duration=1,scale=out_range=full", &*full),
    ] {
        let studio = Studio::make(source, arguments);
        let levels = ladder.levels(&studio.config);
        let original = studio.original();
        for count in 1..=levels.len() {
            // One alone, two, three: each is scaled from the larger one that is made with it.
            let renditions = renditions(1).await;
            for number in studio.numbers() {
                let file = studio.file(number);
                let ask = |level| renditions.segment(&original, number, level).unwrap();
                let made: Vec<_> = levels[..count].iter().map(ask).collect();
                let (level, made) = (&levels[count - 1], made.last().unwrap());
                assert_eq!(made.part(99).await, Ok(None), "{name} {number}");
                let init = renditions.init(original.as_ref(), 7, level).await.unwrap();
                let bytes = made.whole().unwrap().concat();
                let frames = samples(&[&init[..], &bytes].concat());
                let ours: Vec<Vec<u8>> = frames.iter().map(|f| f.3.to_vec()).collect();
                let (config, theirs) = by_command(&file, &levels[..count], name == "full range");
                let size = |frames: &[Vec<u8>]| frames.iter().map(Vec::len).collect::<Vec<_>>();
                let name = format!("{name} {number} {}", level.name);
                assert_eq!(size(&ours), size(&theirs), "{name}");
                assert!(ours == theirs, "{name}: the same bits");
                let mut reader = Reader::new();
                reader.push(&init);
                let Some(Event::Movie(movie)) = reader.next_event().unwrap() else { panic!() };
                let Config::Video(own) = &movie.tracks[0].config else { panic!() };
                assert_eq!(parameters(own), parameters(&config), "{name}: and parameter sets");
            }
        }
    }
}
