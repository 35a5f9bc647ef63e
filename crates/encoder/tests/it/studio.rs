//! Originals from files that ffmpeg makes, cut into segments at key frames and into parts of a few frames.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use encode::{Answer, Original, OriginalPart, OriginalSegment, Program, Renditions, Settings};
use media::codec::{Config, VIDEO_TIMESCALE, VideoConfig};
use media::fmp4::{Sample, fragment_header, init_segment};
use media::mp4::{Event, Reader, demux};
use tokio::sync::watch;

pub(crate) const ENCODER: &str = env!("CARGO_BIN_EXE_airwave-encode");
const PART_FRAMES: usize = 5;
const INIT: u64 = 7;

/// A video whose segments are counted from 10.
pub(crate) struct Studio {
    pub(crate) config: VideoConfig,
    init: Bytes,
    segments: Vec<Vec<OriginalPart>>,
    independent: Vec<bool>,
    /// Presentation times of all frames, sorted.
    pub(crate) times: Vec<i64>,
    /// How many segments have begun, and how many parts of the last one there are.
    pub(crate) there: watch::Sender<(usize, usize)>,
}

pub(crate) const FIRST: u64 = 10;

impl Studio {
    /// What `arguments` make: everything between the inputs and the output file.
    pub(crate) fn make(input: &str, arguments: &str) -> Arc<Self> {
        Self::edit(input, arguments, |_| {})
    }

    /// The same; `edit` may change frames by their number.
    pub(crate) fn edit(input: &str, arguments: &str, edit: impl Fn(&mut Vec<Coded>)) -> Arc<Self> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.mp4");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", input]);
        command.args(arguments.split_whitespace()).args(["-an", "-video_track_timescale", "90000"]);
        let output = command.arg(&file).output().expect("ffmpeg is needed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = Bytes::from(std::fs::read(&file).unwrap());
        let movie = demux(&file).unwrap();
        let track = &movie.tracks[0];
        let Config::Video(config) = track.config.clone() else { panic!("no picture") };
        assert_eq!(track.timescale, VIDEO_TIMESCALE);
        let mut frames: Vec<Coded> = track
            .samples
            .iter()
            .map(|s| Coded {
                decode: s.decode,
                present: s.decode + i64::from(s.composition),
                duration: s.duration,
                sync: s.sync,
                data: track.frame(s.data(&file).unwrap()).unwrap(),
            })
            .collect();
        edit(&mut frames);
        Self::cut(config, &frames)
    }

    fn cut(config: VideoConfig, frames: &[Coded]) -> Arc<Self> {
        let mut segments: Vec<Vec<OriginalPart>> = Vec::new();
        let mut independent = Vec::new();
        for segment in frames.chunk_by(|_, next| !next.begins()) {
            independent.push(segment[0].sync);
            let parts = segment.chunks(PART_FRAMES);
            let last = parts.len() - 1;
            segments.push(parts.enumerate().map(|(i, part)| part_of(part, i == last)).collect());
        }
        let mut times: Vec<i64> = frames.iter().map(|f| f.present).collect();
        times.sort_unstable();
        let all = (segments.len(), segments.last().map_or(0, Vec::len));
        let init = init_segment(&Config::Video(config.clone()), VIDEO_TIMESCALE);
        let there = watch::channel(all).0;
        Arc::new(Self { config, init, segments, independent, times, there })
    }

    pub(crate) fn numbers(&self) -> std::ops::Range<u64> {
        FIRST..FIRST + self.segments.len() as u64
    }

    pub(crate) fn parts(&self, number: u64) -> usize {
        self.segments[(number - FIRST) as usize].len()
    }

    pub(crate) fn original(self: &Arc<Self>) -> Arc<dyn Original> {
        self.clone()
    }

    fn is_there(&self, segment: usize, part: usize) -> bool {
        let (segments, parts) = *self.there.borrow();
        segment + 1 < segments || (segment + 1 == segments && part < parts)
    }
}

/// A frame of an original.
#[derive(Clone)]
pub(crate) struct Coded {
    pub(crate) decode: i64,
    pub(crate) present: i64,
    pub(crate) duration: u32,
    pub(crate) sync: bool,
    pub(crate) data: Bytes,
}

impl Coded {
    /// A segment begins with it.
    fn begins(&self) -> bool {
        self.sync
    }
}

fn part_of(frames: &[Coded], last: bool) -> OriginalPart {
    let samples: Vec<Sample> = frames
        .iter()
        .map(|f| Sample {
            duration: f.duration,
            size: f.data.len() as u32,
            sync: f.sync,
            composition_offset: (f.present - f.decode) as i32,
        })
        .collect();
    let head = fragment_header(1, frames[0].decode as u64, &samples).unwrap();
    let mut pieces = vec![Bytes::from(head)];
    pieces.extend(frames.iter().map(|f| f.data.clone()));
    OriginalPart { pieces, duration: frames.iter().map(|f| f.duration).sum(), last }
}

impl Original for Studio {
    fn video(&self) -> &str {
        "video uid"
    }

    fn track(&self) -> &str {
        "video.cmaf"
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        let index = usize::try_from(number.checked_sub(FIRST)?).ok()?;
        let independent = *self.independent.get(index)?;
        let last = self.segments[index].len() - 1;
        self.is_there(index, 0).then(|| OriginalSegment {
            init: INIT,
            independent,
            complete: self.is_there(index, last),
        })
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        let found = number.checked_sub(FIRST).and_then(|i| usize::try_from(i).ok());
        Box::pin(async move {
            let segment = found?;
            let found = self.segments.get(segment)?.get(part)?.clone();
            let mut there = self.there.subscribe();
            there.wait_for(|_| self.is_there(segment, part)).await.ok()?;
            Some(found)
        })
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        Box::pin(async move { (id == INIT).then(|| self.init.clone()) })
    }
}

/// The program that was built, with so many workers.
pub(crate) async fn renditions(workers: usize) -> Arc<Renditions> {
    let program = Program::ask(Path::new(ENCODER)).await.unwrap();
    let renditions = Renditions::new(program, settings(workers));
    tokio::spawn(renditions.clone().run());
    renditions
}

pub(crate) fn settings(workers: usize) -> Settings {
    Settings {
        workers,
        cache_bytes: 64 << 20,
        linger: Duration::from_secs(60),
        patience: Duration::from_secs(60),
        encoder: encode::SOFTWARE.to_owned(),
    }
}

/// Frames of a fragmented file: presentation time and whether it is a key frame, in decode order.
pub(crate) fn frames_of(file: &[u8]) -> Vec<(i64, bool)> {
    let mut reader = Reader::new();
    reader.push(file);
    let mut frames = Vec::new();
    while let Some(event) = reader.next_event().unwrap() {
        let Event::Fragment(fragment) = event else { continue };
        let time = |s: &media::mp4::Sample| s.decode + i64::from(s.composition);
        frames.extend(fragment.iter().map(|f| (time(&f.sample), f.sample.sync)));
    }
    frames
}

/// How many pictures ffmpeg shows of a file, and what it complains of.
pub(crate) fn decoded(file: &[u8]) -> (usize, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    std::fs::write(&path, file).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(["-fps_mode", "passthrough", "-f", "framehash", "-"])
        .output()
        .unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    let shown = shown.lines().filter(|l| !l.starts_with('#')).count();
    (shown, String::from_utf8_lossy(&output.stderr).into_owned())
}
