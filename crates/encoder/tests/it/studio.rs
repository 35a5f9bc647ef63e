//! Originals from files that ffmpeg makes, cut into segments at key frames and into parts of a few frames.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use encode::{
    Answer, Original, OriginalPart, OriginalSegment, Program, Renditions, Settings, Unreadable,
};
use media::codec::vpx::CodecConfiguration;
use media::codec::{Config, VIDEO_TIMESCALE, VideoConfig};
use media::fmp4::{Sample, fragment_header, init_segment};
use media::mp4::{Event, Reader, demux};
use tokio::sync::watch;

pub(crate) const ENCODER: &str = env!("CARGO_BIN_EXE_airwave-encode");
const PART_FRAMES: usize = 5;
const INIT: u64 = 7;

/// A video whose segments are counted from 10.
pub(crate) struct Studio {
    uid: String,
    pub(crate) config: VideoConfig,
    /// Initialisation segments; the first one's id is [`INIT`].
    inits: Vec<Bytes>,
    /// Which of them each segment has.
    init_of: Vec<usize>,
    segments: Vec<Vec<OriginalPart>>,
    independent: Vec<bool>,
    /// Which of them say that pictures of theirs may be coded in the next one.
    open: Vec<bool>,
    /// Presentation times of all frames, sorted.
    pub(crate) times: Vec<i64>,
    /// How many segments have begun, and how many parts of the last one there are.
    pub(crate) there: watch::Sender<(usize, usize)>,
    /// Which part that was not there somebody came to wait for last.
    pub(crate) awaited: watch::Sender<Option<(u64, usize)>>,
}

pub(crate) const FIRST: u64 = 10;

impl Studio {
    /// What `arguments` make: everything between the inputs and the output file.
    pub(crate) fn make(input: &str, arguments: &str) -> Arc<Self> {
        Self::edit(input, arguments, |_| {})
    }

    /// The same; `edit` may change frames by their number.
    pub(crate) fn edit(input: &str, arguments: &str, edit: impl Fn(&mut Vec<Coded>)) -> Arc<Self> {
        let (config, mut frames) = film(input, arguments);
        edit(&mut frames);
        Self::cut(config, &frames)
    }

    fn cut(config: VideoConfig, frames: &[Coded]) -> Arc<Self> {
        let mut segments: Vec<Vec<OriginalPart>> = Vec::new();
        let mut independent = Vec::new();
        for segment in frames.chunk_by(|_, next| !next.begins()) {
            independent.push(segment[0].sync);
            // Of what is fast as long as those of a broadcast.
            let rate = config.frame_rate.map_or(0, |rate| rate.num() / rate.den());
            let parts = segment.chunks(if rate > 60 { rate as usize / 3 } else { PART_FRAMES });
            let last = parts.len() - 1;
            segments.push(parts.enumerate().map(|(i, part)| part_of(part, i == last)).collect());
        }
        let init = init_segment(&Config::Video(config.clone()), VIDEO_TIMESCALE);
        Self::of(config, init, segments, independent, frames)
    }

    /// Of segments that are cut already.
    pub(crate) fn of(
        config: VideoConfig,
        init: Bytes,
        segments: Vec<Vec<OriginalPart>>,
        independent: Vec<bool>,
        frames: &[Coded],
    ) -> Arc<Self> {
        let mut times: Vec<i64> = frames.iter().map(|f| f.present).collect();
        times.sort_unstable();
        let all = (segments.len(), segments.last().map_or(0, Vec::len));
        let there = watch::channel(all).0;
        // What one has kept is found by the video's id.
        static STUDIOS: AtomicU64 = AtomicU64::new(0);
        let uid = format!("{:032x}", STUDIOS.fetch_add(1, Ordering::Relaxed));
        let init_of = vec![0; segments.len()];
        let inits = vec![init];
        let (open, awaited) = (vec![false; segments.len()], watch::channel(None).0);
        Arc::new(Self {
            uid,
            config,
            inits,
            init_of,
            segments,
            independent,
            open,
            times,
            there,
            awaited,
        })
    }

    /// The same, of which these segments say that pictures of theirs may be coded in the next one.
    pub(crate) fn saying(self: Arc<Self>, open: Vec<bool>) -> Arc<Self> {
        // invariant: nobody else has it yet.
        Arc::new(Self { open, ..Arc::into_inner(self).unwrap() })
    }

    /// One video behind the other, each with an initialisation segment of its own; their times go on.
    pub(crate) fn behind(self: Arc<Self>, next: &Self) -> Arc<Self> {
        // invariant: nobody else has it yet.
        let mut whole = Arc::into_inner(self).unwrap();
        whole.init_of.extend(next.init_of.iter().map(|init| init + whole.inits.len()));
        whole.inits.extend(next.inits.iter().cloned());
        whole.segments.extend(next.segments.iter().cloned());
        whole.independent.extend(&next.independent);
        whole.open.extend(&next.open);
        whole.times.extend(&next.times);
        let all = (whole.segments.len(), whole.segments.last().map_or(0, Vec::len));
        whole.there = watch::channel(all).0;
        Arc::new(whole)
    }

    /// The initialisation segment of a segment, by its id.
    pub(crate) fn init_id(&self, number: u64) -> u64 {
        INIT + self.init_of[(number - FIRST) as usize] as u64
    }

    pub(crate) fn numbers(&self) -> std::ops::Range<u64> {
        FIRST..FIRST + self.segments.len() as u64
    }

    pub(crate) fn parts(&self, number: u64) -> usize {
        self.segments[(number - FIRST) as usize].len()
    }

    /// A segment as a file of its own.
    pub(crate) fn file(&self, number: u64) -> Vec<u8> {
        let parts = &self.segments[(number - FIRST) as usize];
        let mut file = self.inits[self.init_of[(number - FIRST) as usize]].to_vec();
        parts.iter().for_each(|part| file.extend(part.pieces.concat()));
        file
    }

    /// The same video under another id, with these in the place of its frames.
    pub(crate) fn with_frames(&self, frames: &[Bytes]) -> Arc<Self> {
        let mut data = frames.iter();
        let mut coded = Vec::new();
        for parts in &self.segments {
            for part in parts {
                let mut reader = Reader::new();
                reader.push(&self.inits[0]);
                part.pieces.iter().for_each(|piece| reader.push(piece));
                while let Some(event) = reader.next_event().unwrap() {
                    let Event::Fragment(fragment) = event else { continue };
                    coded.extend(fragment.into_iter().zip(&mut data).map(|(f, data)| Coded {
                        decode: f.sample.decode,
                        present: f.sample.decode + i64::from(f.sample.composition),
                        duration: f.sample.duration,
                        sync: f.sample.sync,
                        data: data.clone(),
                    }));
                }
            }
        }
        Self::cut(self.config.clone(), &coded)
    }

    /// The data of all frames, in decode order.
    pub(crate) fn frames(&self) -> Vec<Bytes> {
        self.segments.iter().flatten().flat_map(|part| part.pieces[1..].to_vec()).collect()
    }

    pub(crate) fn original(self: &Arc<Self>) -> Arc<dyn Original> {
        self.clone()
    }

    fn is_there(&self, segment: usize, part: usize) -> bool {
        let (segments, parts) = *self.there.borrow();
        segment + 1 < segments || (segment + 1 == segments && part < parts)
    }
}

/// Pictures that ffmpeg makes, in decode order.
fn film(input: &str, arguments: &str) -> (VideoConfig, Vec<Coded>) {
    let mut command = vec!["-f", "lavfi", "-i", input];
    command.extend(arguments.split_whitespace());
    command.extend(["-an", "-video_track_timescale", "90000"]);
    let (config, timescale, frames) = track(&command);
    let Config::Video(config) = config else { panic!("no picture") };
    assert_eq!(timescale, VIDEO_TIMESCALE);
    (config, frames)
}

/// The only track of a file that ffmpeg makes with these arguments: what it is, its timescale, its frames.
pub(crate) fn track(arguments: &[&str]) -> (Config, u32, Vec<Coded>) {
    let dir = tempfile::tempdir().unwrap();
    // ffmpeg does not put VP8 into MP4.
    let vp8 = arguments.contains(&"libvpx");
    let path = dir.path().join(if vp8 { "a.ivf" } else { "a.mp4" });
    let mut arguments = arguments.to_vec();
    if let Some(at) = arguments.iter().position(|a| vp8 && *a == "-video_track_timescale") {
        arguments.drain(at..at + 2);
    }
    let mut command = Command::new("ffmpeg");
    let output = command.args(["-v", "error"]).args(&arguments).arg(&path).output();
    let output = output.expect("ffmpeg is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = Bytes::from(std::fs::read(&path).unwrap());
    if vp8 {
        let (config, frames) = vp8_of(&file);
        return (Config::Video(config), VIDEO_TIMESCALE, frames);
    }
    let movie = demux(&file).unwrap();
    let track = &movie.tracks[0];
    let frames = track.samples.iter().map(|s| Coded {
        decode: s.decode,
        present: s.decode + i64::from(s.composition),
        duration: s.duration,
        sync: s.sync,
        data: track.frame(s.data(&file).unwrap()).unwrap(),
    });
    (track.config.clone(), track.timescale, frames.collect())
}

/// VP8 out of an IVF file: a head of 32 bytes, and before each frame 12 with its size and its time.
fn vp8_of(file: &Bytes) -> (VideoConfig, Vec<Coded>) {
    let u16 = |at: usize| u32::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
    let u32 = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
    let (width, height, rate, per) = (u16(12), u16(14), i64::from(u32(16)), i64::from(u32(20)));
    let ticks = |time: i64| time * i64::from(VIDEO_TIMESCALE) * per / rate;
    let (mut at, mut frames) = (32, Vec::<Coded>::new());
    while at < file.len() {
        let (size, present) = (u32(at) as usize, ticks(i64::from(u32(at + 4))));
        let data = file.slice(at + 12..at + 12 + size);
        if let Some(before) = frames.last_mut() {
            before.duration = (present - before.present) as u32;
        }
        // RFC 6386 §9.1: the first bit of a key frame is 0.
        let (duration, sync) = (ticks(1) as u32, data[0] & 1 == 0);
        frames.push(Coded { decode: present, present, duration, sync, data });
        at += 12 + size;
    }
    let record = [0, 10, 8 << 4, 2, 2, 2, 0, 0];
    let codec = CodecConfiguration::parse(false, &record).unwrap();
    (codec.config(width, height), frames)
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
        &self.uid
    }

    fn track(&self) -> &str {
        "video.cmaf"
    }

    fn is_kept(&self) -> bool {
        true
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        let index = usize::try_from(number.checked_sub(FIRST)?).ok()?;
        let independent = *self.independent.get(index)?;
        let parts = &self.segments[index];
        let last = parts.len() - 1;
        let ticks: u64 = parts.iter().map(|part| u64::from(part.duration)).sum();
        self.is_there(index, 0).then(|| OriginalSegment {
            init: self.init_id(number),
            epoch: 1,
            independent,
            complete: self.is_there(index, last),
            open: self.open[index] && self.is_there(index, last),
            parts: (0..=last).take_while(|part| self.is_there(index, *part)).count(),
            bytes: parts.iter().flat_map(|p| &p.pieces).map(|p| p.len() as u64).sum(),
            duration_ns: ticks * 1_000_000_000 / u64::from(media::codec::VIDEO_TIMESCALE),
        })
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        let found = number.checked_sub(FIRST).and_then(|i| usize::try_from(i).ok());
        Box::pin(async move {
            let parts = found.and_then(|segment| self.segments.get(segment));
            let found = found.zip(parts.and_then(|parts| parts.get(part)).cloned());
            let Some((segment, found)) = found else { return Ok(None) };
            let mut there = self.there.subscribe();
            if !self.is_there(segment, part) {
                self.awaited.send_replace(Some((number, part)));
            }
            let waited = there.wait_for(|_| self.is_there(segment, part)).await;
            Ok(waited.is_ok().then_some(found))
        })
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        let index = id.checked_sub(INIT).and_then(|index| usize::try_from(index).ok());
        Box::pin(async move { Ok(index.and_then(|index| self.inits.get(index)).cloned()) })
    }
}

/// A video that is read in a moment, and of which one part can't be had the next time that it is asked for.
pub(crate) struct Failing {
    of: Arc<dyn Original>,
    part: (u64, usize),
    how: Option<Unreadable>,
    left: AtomicBool,
}

impl Failing {
    /// The store fails, or memory has lost it.
    pub(crate) fn new(of: Arc<dyn Original>, part: (u64, usize), how: Option<Unreadable>) -> Self {
        Self { of, part, how, left: true.into() }
    }
}

impl Original for Failing {
    fn video(&self) -> &str {
        self.of.video()
    }

    fn track(&self) -> &str {
        self.of.track()
    }

    fn is_kept(&self) -> bool {
        self.of.is_kept()
    }

    fn segment(&self, number: u64) -> Option<OriginalSegment> {
        self.of.segment(number)
    }

    fn part(&self, number: u64, part: usize) -> Answer<'_, OriginalPart> {
        Box::pin(async move {
            tokio::task::yield_now().await;
            if (number, part) == self.part && self.left.swap(false, Ordering::Relaxed) {
                return self.how.map_or(Ok(None), Err);
            }
            self.of.part(number, part).await
        })
    }

    fn init(&self, id: u64) -> Answer<'_, Bytes> {
        self.of.init(id)
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
        memory: u64::MAX,
        cache_bytes: 64 << 20,
        linger: Duration::from_secs(60),
        patience: Duration::from_secs(60),
        silent_max: Duration::from_secs(60),
        allowance: encode::Allowance::default(),
        encoder: encode::SOFTWARE.to_owned(),
        hardware_again: Duration::from_secs(60),
        disk: None,
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

/// A picture of a file, small and grey.
pub(crate) type Seen = Vec<u8>;

/// How small.
const SEEN: (usize, usize) = (80, 45);

/// What ffmpeg shows of a file, and what it complains of.
pub(crate) fn seen(file: &[u8]) -> (Vec<Seen>, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.mp4");
    std::fs::write(&path, file).unwrap();
    let (wide, high) = SEEN;
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(&path)
        .args(["-fps_mode", "passthrough", "-vf"])
        .arg(format!("scale={wide}:{high}:flags=area,format=gray"))
        .args(["-enc_time_base", "1:90000", "-f", "rawvideo", "-"])
        .output()
        .unwrap();
    let pictures = output.stdout.chunks(wide * high).map(<[u8]>::to_vec);
    (pictures.collect(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// By how much two pictures differ: the mean square.
pub(crate) fn difference(one: &Seen, other: &Seen) -> f64 {
    assert_eq!(one.len(), other.len());
    let squares = one.iter().zip(other).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    squares.sum::<f64>() / one.len() as f64
}
