//! Seeds of what encoders sent.

use std::collections::BTreeMap;
use std::io::Result;
use std::process::Command;

use bytes::Bytes;
use media::codec::{AudioFormat, Config, VideoFormat};
use media::flv::{self, Audio, TagKind, Video, write_header, write_tag};
use media::properties::{FrameProperties, GroupStart};
use rtmp::Kind;
use rtmp::chunk::{Bounds, ChunkReader};

use crate::Seeds;
use crate::capture::Capture;

/// C0 to C2.
const HANDSHAKE: usize = 1 + 2 * rtmp::handshake::PACKET_BYTES;

/// A seed is only the beginning of a broadcast: fuzzing is quick where inputs are small.
const SESSION_BYTES: usize = 3_000;
const FILE_BYTES: usize = 9_000;
const BODY_BYTES: usize = 700;

pub(crate) fn write(seeds: &Seeds, name: &str, capture: &Capture) -> Result<()> {
    let begun = &capture.bytes[HANDSHAKE..(HANDSHAKE + SESSION_BYTES).min(capture.bytes.len())];
    seeds.add("rtmp_server", name, 1, &[&[99], begun].concat())?;
    seeds.add("rtmp_wire", name, 1, &[&[7], begun].concat())?;
    let whole = &capture.bytes[..HANDSHAKE + 600];
    seeds.add("rtmp_server", &format!("{name}-handshake"), 9, &[&[255], whole].concat())?;
    commands(seeds, name, begun)?;
    let file = file(capture);
    seeds.add("broadcast", name, file[0], &file[1..])?;
    seeds.add("media_containers", &format!("{name}-file"), 1, &file[..file.len().min(1_500)])?;
    bodies(seeds, name, capture)?;
    streams(seeds, name, capture)?;
    let steps: Vec<u8> = capture.media.iter().take(60).flat_map(clock_step).collect();
    seeds.add("media_codecs", &format!("{name}-clock"), 6, &steps)
}

/// The values of the first commands and of the metadata.
fn commands(seeds: &Seeds, name: &str, mut bytes: &[u8]) -> Result<()> {
    let mut reader = ChunkReader::new(Bounds::SETUP);
    let mut number = 0;
    while let Ok(Some(message)) = reader.read(&mut bytes) {
        match (message.type_id, message.payload.first_chunk::<4>()) {
            (1, Some(size)) => drop(reader.set_chunk_size(u32::from_be_bytes(*size))),
            (18 | 20, _) => {
                seeds.add("rtmp_wire", &format!("{name}-amf0-{number}"), 0, &message.payload)?;
                number += 1;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first messages, as the tags of an FLV file.
fn file(capture: &Capture) -> Vec<u8> {
    let mut file = Vec::new();
    write_header(&mut file, true, true);
    for media in &capture.media {
        let kind = match media.kind {
            Kind::Video => TagKind::Video,
            Kind::Audio => TagKind::Audio,
            Kind::Data => TagKind::Script,
        };
        if file.len() + media.payload.len() <= FILE_BYTES {
            write_tag(&mut file, kind, media.timestamp, &media.payload);
        }
    }
    file
}

/// The first short bodies of each kind, one of each packet type.
fn bodies(seeds: &Seeds, name: &str, capture: &Capture) -> Result<()> {
    let mut seen = BTreeMap::new();
    for media in capture.media.iter().filter(|media| media.kind != Kind::Data) {
        let body = &media.payload[..media.payload.len().min(BODY_BYTES)];
        let kind = if media.kind == Kind::Video { "video" } else { "audio" };
        let head = (kind, body.get(..2).unwrap_or(body).to_vec());
        if seen.insert(head, ()).is_none() && seen.len() <= 8 {
            let name = format!("{name}-{kind}-{}", seen.len());
            seeds.add("media_containers", &name, 0, body)?;
        }
    }
    Ok(())
}

/// Header and packets of one track, as `media::fuzzing::stream` takes them, and what the header alone gives.
#[derive(Default)]
struct Track {
    header: Bytes,
    packets: Vec<Bytes>,
}

fn streams(seeds: &Seeds, name: &str, capture: &Capture) -> Result<()> {
    let mut tracks: BTreeMap<(u8, u8), Track> = BTreeMap::new();
    for media in &capture.media {
        for (id, which, header, packet) in parts(media) {
            let track = tracks.entry((id, which)).or_default();
            track.header = header.unwrap_or(std::mem::take(&mut track.header));
            let room = track.packets.len() < 6;
            track.packets.extend(packet.filter(|packet| room && packet.len() < 2 * BODY_BYTES));
        }
    }
    for ((id, which), track) in tracks {
        let name = format!("{name}-{id}-{which}");
        let pieces = std::iter::once(&track.header).chain(&track.packets);
        let pieces = pieces.flat_map(|p| [&(p.len() as u16).to_be_bytes()[..], p].concat());
        seeds.add("media_codecs", &name, 0, &[vec![which], pieces.collect()].concat())?;
        let record = match which {
            0 => Some(1),
            1 => Some(2),
            5 => Some(4),
            _ => None,
        };
        if let Some(first) = record {
            seeds.add("media_codecs", &format!("{name}-record"), first, &track.header)?;
        }
        if let Some(config) = config(which, &track) {
            let start = GroupStart {
                config,
                wall_clock_ms: 1_763_812_800_123,
                discontinuity: true,
                bitrate: Some(2_000_000),
                language: Some("en".to_owned()),
            };
            let first = FrameProperties { present: 0, picture: None, start: Some(&start) }.encode();
            seeds.add("stored", &format!("{name}-group"), 0, &[&[0], &*first].concat())?;
        }
    }
    Ok(())
}

/// The numbers that `media::fuzzing::stream` knows codecs by.
const VIDEO: [VideoFormat; 5] =
    [VideoFormat::H264, VideoFormat::Hevc, VideoFormat::Av1, VideoFormat::Vp9, VideoFormat::Vp8];
const AUDIO: [AudioFormat; 6] = [
    AudioFormat::Aac,
    AudioFormat::Opus,
    AudioFormat::Ac3,
    AudioFormat::Eac3,
    AudioFormat::Flac,
    AudioFormat::Mp3,
];

type Part = (u8, u8, Option<Bytes>, Option<Bytes>);

fn parts(media: &rtmp::Media) -> Vec<Part> {
    let video = |f: VideoFormat| VIDEO.iter().position(|v| *v == f).unwrap_or(0) as u8;
    let audio = |f: AudioFormat| 5 + AUDIO.iter().position(|a| *a == f).unwrap_or(0) as u8;
    let mut parts = Vec::new();
    if media.kind == Kind::Video {
        let tracks = flv::video(&media.payload).map(|message| message.tracks);
        for (id, body) in tracks.into_iter().flatten() {
            parts.extend(match body {
                Video::Header(f, record) => Some((id, video(f), Some(record), None)),
                Video::Frame { format, data, .. } => Some((id, video(format), None, Some(data))),
                _ => None,
            });
        }
    } else if media.kind == Kind::Audio {
        let tracks = flv::audio(&media.payload).map(|message| message.tracks);
        for (id, body) in tracks.into_iter().flatten() {
            parts.extend(match body {
                Audio::Header(f, record) => Some((id, audio(f), Some(record), None)),
                Audio::Frame(f, data) => Some((id, audio(f), None, Some(data))),
                _ => None,
            });
        }
    }
    parts
}

fn config(which: u8, track: &Track) -> Option<Config> {
    use media::codec::{AudioStream, VideoStream};
    let which = usize::from(which);
    if let Some(format) = VIDEO.get(which) {
        let mut stream = VideoStream::new(*format);
        let of_header = stream.header(&track.header).ok().flatten();
        let mut packets = track.packets.iter();
        of_header
            .or_else(|| packets.find_map(|p| stream.access_unit(p.clone()).ok()?.changed))
            .map(Config::Video)
    } else {
        let mut stream = AudioStream::new(AUDIO[which - VIDEO.len()]);
        let of_header = stream.header(&track.header).ok().flatten();
        let mut packets = track.packets.iter();
        of_header.or_else(|| packets.find_map(|p| stream.frame(p).ok()?.changed)).map(Config::Audio)
    }
}

/// One step of `media::fuzzing::timeline`.
fn clock_step(media: &rtmp::Media) -> [u8; 8] {
    let [a, b, d, e] = media.timestamp.to_be_bytes();
    let which = if media.kind == Kind::Audio { 1 } else { 2 };
    [which, 0, 255, 0, a, b, d, e]
}

/// MP4 files, whole and in fragments.
pub(crate) fn files(seeds: &Seeds) -> Result<()> {
    for (name, flags) in [("whole", "+faststart"), ("fragments", "+frag_keyframe+empty_moov")] {
        let path = std::env::temp_dir().join(format!("airwave-seed-{}.mp4", std::process::id()));
        let input = "-v error -y -f lavfi -i testsrc2=size=16x16:rate=5 -f lavfi -i sine -t 1";
        let codecs =
            "-c:v libx264 -preset ultrafast -x264-params no-info=1 -bf 1 -b:v 2k -c:a aac -b:a 8k";
        let options = ["-g", "3", "-movflags", flags];
        let status = Command::new("ffmpeg")
            .args(input.split(' ').chain(codecs.split(' ')).chain(options))
            .arg(&path)
            .status()?;
        assert!(status.success(), "ffmpeg: {status}");
        let file = std::fs::read(&path)?;
        std::fs::remove_file(&path)?;
        seeds.add("media_containers", &format!("mp4-{name}"), 2, &file)?;
    }
    Ok(())
}
