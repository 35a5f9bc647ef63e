//! Test clips: made by ffmpeg once, kept for the whole test run.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::captions::write_captions;
use crate::child::Child;

/// What a clip is like.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipSpec {
    /// Names the file.
    pub name: &'static str,
    /// Whole seconds.
    pub seconds: u32,
    /// Pixels.
    pub size: (u32, u32),
    /// Frames a second, as ffmpeg reads it.
    pub rate: &'static str,
    /// Frames from key frame to key frame.
    pub group: u32,
    /// B-frames in a row.
    pub b_frames: u32,
    /// Pictures at all.
    pub video: bool,
    /// Sound at all.
    pub audio: bool,
    /// The tone rises, so that no two packets of sound are alike.
    pub rising: bool,
    /// A caption in the pictures for each second: this text and a number. Such a clip has no B-frames.
    pub captions: Option<&'static str>,
}

impl ClipSpec {
    /// 320x180 at 30 frames a second, key frames every 2 s, two B-frames, a tone of 1 kHz.
    pub const fn plain(name: &'static str, seconds: u32) -> Self {
        Self {
            name,
            seconds,
            size: (320, 180),
            rate: "30",
            group: 60,
            b_frames: 2,
            video: true,
            audio: true,
            rising: false,
            captions: None,
        }
    }
}

impl ClipSpec {
    /// What is different has another name: the folder outlives a change of the tests.
    fn file(&self) -> String {
        let Self { name, seconds, size: (width, height), rate, group, b_frames, .. } = self;
        let mut file = format!("{name}-{seconds}s-{width}x{height}-{rate}-{group}-{b_frames}");
        for (has, word) in
            [(self.video, "-video"), (self.audio, "-audio"), (self.rising, "-rising")]
        {
            file.push_str(if has { word } else { "" });
        }
        file.replace('/', "_") + ".mp4"
    }
}

/// A clip on disk.
#[derive(Debug, Clone)]
pub struct Clip(PathBuf);

/// The frame number as 20 black and white squares in the top left corner, the highest bit first:
/// tests/browser/README.md says how pages read it. Drawn apart and laid over the picture: cheap.
fn counted(width: u32, height: u32, rate: &str) -> String {
    format!(
        "testsrc2=s={width}x{height}:r={rate}[picture];\
         color=c=black:s=320x16:r={rate},format=yuv420p,\
         geq=lum='if(bitand(floor(N/pow(2,19-floor(X/16))),1),235,16)':cb=128:cr=128[counter];\
         [picture][counter]overlay=0:0:format=yuv420,format=yuv420p"
    )
}

fn run(command: &mut Command) {
    let mut ffmpeg = Child::start(command);
    let status = ffmpeg.wait(120);
    assert!(status.success(), "ffmpeg: {}", ffmpeg.output());
}

/// Writes captions into the pictures of a clip, and leaves the rest of it as it is.
fn caption(clip: &Path, text: &str, spec: &ClipSpec) {
    assert_eq!(spec.b_frames, 0, "pictures are numbered as they come");
    let folder = tempfile::tempdir().unwrap();
    let [pictures, whole] = ["pictures.h264", "whole.mp4"].map(|name| folder.path().join(name));
    let ffmpeg = || {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y"]);
        command
    };
    run(ffmpeg().arg("-i").arg(clip).args(["-an", "-c", "copy"]).arg(&pictures));
    let second: usize = spec.rate.parse().unwrap();
    let captioned = write_captions(&std::fs::read(&pictures).unwrap(), text, second);
    std::fs::write(&pictures, captioned).unwrap();
    let mut join = ffmpeg();
    join.args(["-framerate", spec.rate, "-i"]).arg(&pictures).arg("-i").arg(clip);
    run(join.args(["-map", "0:v", "-map", "1:a?", "-c", "copy"]).arg(&whole));
    std::fs::copy(&whole, clip).unwrap();
}

impl Clip {
    /// Makes a clip, or takes the one that is there.
    pub fn make(spec: &ClipSpec) -> Self {
        Self::make_in(&std::env::temp_dir().join("airwave-test-clips"), spec)
    }

    fn make_in(folder: &Path, spec: &ClipSpec) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(spec.file());
        if path.is_file() {
            return Self(path);
        }
        let temporary = tempfile::Builder::new().suffix(".mp4").tempfile_in(folder).unwrap();
        let (width, height) = spec.size;
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-y"]);
        if spec.video {
            command.args(["-f", "lavfi", "-i", &counted(width, height, spec.rate)]);
        }
        if spec.audio {
            let tone = match spec.rising {
                true => "aevalsrc=0.3*sin(2*PI*(300+40*t)*t):s=48000",
                false => "sine=frequency=1000:sample_rate=48000",
            };
            command.args(["-f", "lavfi", "-i", tone]);
        }
        if spec.video {
            let (group, b) = (spec.group.to_string(), spec.b_frames.to_string());
            command.args(["-c:v", "libx264", "-preset", "veryfast"]);
            command.args(["-pix_fmt", "yuv420p", "-g", &group, "-keyint_min", &group]);
            command.args(["-sc_threshold", "0", "-bf", &b]);
        }
        if spec.audio {
            command.args(["-c:a", "aac", "-ac", "2", "-b:a", "96k"]);
        }
        command.args(["-t", &spec.seconds.to_string()]).arg(temporary.path());
        run(&mut command);
        if let Some(text) = spec.captions {
            caption(temporary.path(), text, spec);
        }
        // Others may have made it meanwhile, and use theirs already: x264 does not always make the same of the same.
        let kept = temporary.persist_noclobber(&path);
        assert!(path.is_file(), "{kept:?}");
        Self(path)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Publishes it in real time, as it is, `loops` times (-1: for ever).
    pub fn publish(&self, url: &str, loops: i32) -> Child {
        self.publish_at(1.0, url, loops)
    }

    /// Publishes it so many times faster than it plays.
    pub fn publish_at(&self, speed: f64, url: &str, loops: i32) -> Child {
        let mut command = Command::new("ffmpeg");
        let loops = (loops - 1).max(-1).to_string();
        command.args(["-v", "error", "-readrate", &speed.to_string()]);
        command.args(["-stream_loop", &loops, "-i"]);
        command.arg(&self.0).args(["-c", "copy", "-f", "flv", url]);
        Child::start(&mut command)
    }
}
