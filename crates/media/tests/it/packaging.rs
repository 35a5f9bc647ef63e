//! An encoder's file through FLV, timeline and fMP4, and back out of a decoder: count, order, times and hashes.
//!
//! Needs `ffmpeg` with libx264 on the PATH.

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use media::codec::{Config, aac::AudioSpecificConfig, h264};
use media::flv::{self, Audio, TagKind, Video};
use media::fmp4::{Sample, fragment_header, init_segment};
use media::mp4::{Event, Frame, Movie, Reader, StreamError, demux};
use media::timeline::{Placed, SourceClock, SourceFrame, Timeline, Timing, TrackId, TrackKind};

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("airwave-media-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap_or_else(|e| {
        panic!("this test needs `{program}` on the PATH (Debian: apt-get install ffmpeg): {e}")
    });
    assert!(
        output.status.success(),
        "{program} {args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// One track on its way through.
#[derive(Default)]
struct Track {
    config: Option<Config>,
    id: Option<TrackId>,
    frames: Vec<(Timing, bool, Bytes)>,
}

#[derive(Default)]
struct Ingest {
    timeline: Timeline,
    h264: h264::Stream,
    video: Track,
    audio: Track,
    flags_agree: bool,
}

impl Ingest {
    fn file(bytes: &[u8]) -> Self {
        let mut ingest = Self { flags_agree: true, ..Self::default() };
        let mut reader = flv::Reader::new();
        for piece in bytes.chunks(1500) {
            reader.push(piece);
            while let Some(tag) = reader.next_tag().unwrap() {
                match tag.kind {
                    TagKind::Video => ingest.video(tag.timestamp, &tag.body),
                    TagKind::Audio => ingest.audio(tag.timestamp, &tag.body),
                    _ => {}
                }
            }
        }
        ingest
    }

    fn video(&mut self, timestamp: u32, body: &Bytes) {
        let message = flv::video(body).unwrap();
        let [(0, body)] = &message.tracks[..] else { panic!() };
        match body.clone() {
            Video::Header(_, avcc) => {
                let config = self.h264.header(&avcc).unwrap().unwrap();
                let kind = TrackKind::Video { frame_rate: config.frame_rate };
                self.video.config = Some(Config::Video(config));
                self.video.id = Some(self.timeline.add_track(kind, SourceClock::RTMP).unwrap());
            }
            Video::Frame { flagged_key, composition_ms, data, .. } => {
                let unit = self.h264.access_unit(data).unwrap();
                assert!(unit.has_picture && unit.changed.is_none());
                let sync = unit.sync.is_sync();
                self.flags_agree &= sync == flagged_key;
                let frame = SourceFrame {
                    timestamp: timestamp.into(),
                    offset_ns: 0,
                    composition: composition_ms,
                    sync,
                    samples: 0,
                };
                let Placed::Frame(timing) = self.timeline.push(self.video.id.unwrap(), frame)
                else {
                    panic!()
                };
                self.video.frames.push((timing, sync, unit.data));
            }
            _ => {}
        }
    }

    fn audio(&mut self, timestamp: u32, body: &Bytes) {
        let message = flv::audio(body).unwrap();
        let [(0, body)] = &message.tracks[..] else { panic!() };
        match body.clone() {
            Audio::Header(_, asc) => {
                let config = AudioSpecificConfig::parse(&asc).unwrap().config();
                let kind = TrackKind::Audio { sample_rate: config.sample_rate };
                self.audio.config = Some(Config::Audio(config));
                self.audio.id = Some(self.timeline.add_track(kind, SourceClock::RTMP).unwrap());
            }
            Audio::Frame(_, data) => {
                let frame = SourceFrame {
                    timestamp: timestamp.into(),
                    offset_ns: 0,
                    composition: 0,
                    sync: true,
                    samples: 1024,
                };
                let Placed::Frame(timing) = self.timeline.push(self.audio.id.unwrap(), frame)
                else {
                    panic!()
                };
                self.audio.frames.push((timing, true, data));
            }
            _ => {}
        }
    }
}

/// Fragments of `n` samples; a sample lasts until the next one.
fn write(track: &Track, n: usize) -> Vec<u8> {
    let config = track.config.as_ref().unwrap();
    let mut out = init_segment(config, config.timescale()).to_vec();
    let samples: Vec<Sample> = track
        .frames
        .iter()
        .enumerate()
        .map(|(at, (timing, sync, data))| Sample {
            duration: track.frames.get(at + 1).map_or(timing.duration, |next| {
                u32::try_from(next.0.decode - timing.decode).unwrap()
            }),
            size: u32::try_from(data.len()).unwrap(),
            sync: *sync,
            composition_offset: i32::try_from(timing.present - timing.decode).unwrap(),
        })
        .collect();
    for (sequence, (samples, frames)) in samples.chunks(n).zip(track.frames.chunks(n)).enumerate() {
        let base = u64::try_from(frames[0].0.decode).unwrap();
        out.extend(fragment_header(sequence as u32 + 1, base, samples).unwrap());
        frames.iter().for_each(|(_, _, data)| out.extend_from_slice(data));
    }
    out
}

/// (dts, pts, size, hash) in seconds, of packets.
fn packets(file: &Path, stream: &str) -> Vec<(f64, f64, u64, String)> {
    let file = file.to_str().unwrap();
    let text = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            stream,
            "-show_packets",
            "-show_data_hash",
            "md5",
            "-show_entries",
            "packet=dts_time,pts_time,size,data_hash",
            "-of",
            "compact=p=0:nk=0",
            file,
        ],
    );
    let rows = text.lines().filter(|l| !l.is_empty()).map(|line| {
        let field = |name: &str| {
            line.split('|')
                .find_map(|f| f.strip_prefix(name))
                .unwrap_or_else(|| panic!("no {name} in {line}"))
                .to_owned()
        };
        (
            field("dts_time=").parse().unwrap(),
            field("pts_time=").parse().unwrap(),
            field("size=").parse().unwrap(),
            field("data_hash="),
        )
    });
    rows.collect()
}

/// Hashes of decoded pictures or sound blocks, in the order of presentation.
fn decoded(file: &Path, map: &str) -> Vec<String> {
    let file = file.to_str().unwrap();
    let text = run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-i",
            file,
            "-map",
            map,
            "-f",
            "framemd5",
            "-fps_mode",
            "passthrough",
            "-",
        ],
    );
    text.lines()
        .filter(|l| !l.starts_with('#'))
        .map(|l| l.rsplit(',').next().unwrap().trim().to_owned())
        .collect()
}

struct Source {
    name: &'static str,
    size: &'static str,
    rate: &'static str,
    period: f64,
    sample_rate: &'static str,
    x264: &'static str,
    profile: &'static str,
}

const SOURCES: [Source; 4] = [
    Source {
        name: "b-frames",
        size: "320x180",
        rate: "30000/1001",
        period: 3003.0,
        sample_rate: "44100",
        x264: "bframes=3:keyint=30",
        profile: "high",
    },
    Source {
        name: "open-gop",
        size: "322x182",
        rate: "25",
        period: 3600.0,
        sample_rate: "48000",
        x264: "bframes=2:open-gop=1:keyint=25:scenecut=0",
        profile: "main",
    },
    Source {
        name: "aud-slices",
        size: "320x240",
        rate: "60000/1001",
        period: 1501.5,
        sample_rate: "48000",
        x264: "aud=1:slices=3:keyint=60:repeat-headers=1",
        profile: "baseline",
    },
    Source {
        name: "interlaced",
        size: "320x240",
        rate: "24000/1001",
        period: 3753.75,
        sample_rate: "22050",
        x264: "tff=1:bframes=2:keyint=24",
        profile: "high",
    },
];

#[test]
fn an_encoders_file_comes_out_of_a_decoder_as_it_was() {
    for source in SOURCES {
        check(&source);
    }
}

fn check(source: &Source) {
    let dir = Dir::new(source.name);
    let path = |name: &str| dir.0.join(name);
    let flv = path("in.flv");
    run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            &format!("testsrc2=size={}:rate={}", source.size, source.rate),
            "-f",
            "lavfi",
            "-i",
            &format!("sine=frequency=440:sample_rate={}", source.sample_rate),
            "-t",
            "4",
            "-c:v",
            "libx264",
            "-preset",
            "veryfast",
            "-profile:v",
            source.profile,
            "-x264-params",
            source.x264,
            "-pix_fmt",
            "yuv420p",
            "-aspect",
            "16:9",
            "-colorspace",
            "bt709",
            "-color_primaries",
            "bt709",
            "-color_trc",
            "bt709",
            "-c:a",
            "aac",
            "-ac",
            "2",
            "-y",
            flv.to_str().unwrap(),
        ],
    );
    let ingest = Ingest::file(&std::fs::read(&flv).unwrap());
    assert!(
        ingest.flags_agree || source.name == "open-gop",
        "{}: FFmpeg's flag and the bitstream",
        source.name
    );

    for (name, selector, map, track, per_fragment) in
        [("video.mp4", "v", "0:v", &ingest.video, 7), ("audio.mp4", "a", "0:a", &ingest.audio, 16)]
    {
        let out = path(name);
        std::fs::write(&out, write(track, per_fragment)).unwrap();
        let (before, after) = (packets(&flv, selector), packets(&out, selector));
        assert_eq!(before.len(), after.len(), "{} {name}", source.name);
        assert!(before.len() > 80, "{} {name}: only {}", source.name, before.len());
        let shift = after[0].0 - before[0].0;
        for (n, (b, a)) in before.iter().zip(&after).enumerate() {
            assert_eq!((b.2, &b.3), (a.2, &a.3), "{} {name} packet {n}", source.name);
            // Milliseconds on one side, the exact grid on the other; the learner's phase adds one.
            assert!(
                (a.0 - b.0 - shift).abs() < 0.0025 && (a.1 - b.1 - shift).abs() < 0.0025,
                "{name} {n}: {b:?} {a:?}"
            );
        }
        assert_eq!(decoded(&flv, map), decoded(&out, map), "{} {name}", source.name);
    }

    // What was written reads back, and so does what FFmpeg makes of the same packets.
    for (name, track) in [("video.mp4", &ingest.video), ("audio.mp4", &ingest.audio)] {
        let file = Bytes::from(std::fs::read(path(name)).unwrap());
        let movie = demux(&file).unwrap();
        let [read] = &movie.tracks[..] else { panic!("{movie:?}") };
        assert_eq!(Some(&read.config), track.config.as_ref());
        assert_eq!(read.samples.len(), track.frames.len());
        for (sample, (timing, sync, data)) in read.samples.iter().zip(&track.frames) {
            assert_eq!((sample.decode, sample.sync), (timing.decode, *sync));
            assert_eq!(sample.data(&file).unwrap(), data);
            assert_eq!(sample.decode + i64::from(sample.composition), timing.present);
        }
    }
    let flags =
        [("back.mp4", "0"), ("front.mp4", "faststart"), ("parts.mp4", "frag_keyframe+empty_moov")];
    for (name, flags) in flags {
        let (from, out) = (flv.to_str().unwrap(), path(name));
        let to = out.to_str().unwrap();
        run("ffmpeg", &["-v", "error", "-i", from, "-c", "copy", "-movflags", flags, "-y", to]);
        let file = Bytes::from(std::fs::read(&out).unwrap());
        let movie = demux(&file).unwrap();
        assert_eq!(movie.tracks.len(), 2, "{name}");
        check_streamed(name, &file, &movie);
        for (read, track) in movie.tracks.iter().zip([&ingest.video, &ingest.audio]) {
            let config = track.config.as_ref().unwrap();
            assert_eq!(read.config.codec_string(), config.codec_string());
            assert_eq!(read.samples.len(), track.frames.len(), "{name}");
            let mut last = i64::MIN;
            for (sample, frame) in read.samples.iter().zip(&track.frames) {
                assert_eq!(sample.data(&file).unwrap(), frame.2, "{name}");
                assert!(sample.decode > last);
                last = sample.decode;
            }
        }
    }

    let video = ingest.video.frames.iter().map(|f| f.0.decode).collect::<Vec<_>>();
    let exact = |w: &[i64]| ((w[1] - w[0]) as f64 - source.period).abs() < 1.0;
    assert!(video[8..].windows(2).all(exact), "{}: the declared rate's grid", source.name);

    let Some(Config::Video(config)) = &ingest.video.config else { panic!() };
    assert_eq!(format!("{}x{}", config.width, config.height), source.size);
    let shown = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-show_entries",
            "stream=codec_tag_string,display_aspect_ratio,color_space,width,height",
            "-of",
            "default=nk=1:nw=1",
            path("video.mp4").to_str().unwrap(),
        ],
    );
    for expect in ["avc1", "16:9", "bt709"] {
        assert!(shown.contains(expect), "{}: {shown}", source.name);
    }
}

/// Read as it comes, a fragmented file holds the same; a progressive one is refused.
fn check_streamed(name: &str, file: &Bytes, movie: &Movie) {
    for piece in [1, 997, file.len()] {
        let mut reader = Reader::new();
        let mut frames: Vec<Vec<Frame>> = vec![Vec::new(); 2];
        let mut end = Ok(());
        'file: for bytes in file.chunks(piece) {
            reader.push(bytes);
            loop {
                match reader.next_event() {
                    Ok(Some(Event::Movie(found))) => assert_eq!(found.tracks.len(), 2),
                    Ok(Some(Event::Fragment(found))) => {
                        found.into_iter().for_each(|f| frames[f.track].push(f));
                    }
                    Ok(None) => break,
                    Err(error) => {
                        end = Err(error);
                        break 'file;
                    }
                }
            }
        }
        if name != "parts.mp4" {
            assert_eq!(end, Err(StreamError::NotFragmented), "{name}");
            continue;
        }
        assert_eq!(end, Ok(()));
        for (track, got) in movie.tracks.iter().zip(&frames) {
            assert_eq!(track.samples.len(), got.len(), "in pieces of {piece}");
            for (want, got) in track.samples.iter().zip(got) {
                assert_eq!(want.data(file).as_ref(), Some(&got.data));
                let times = |s: &media::mp4::Sample| (s.decode, s.composition, s.duration, s.sync);
                assert_eq!(times(want), times(&got.sample));
            }
        }
    }
}
