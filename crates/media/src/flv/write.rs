//! Bodies of messages for a publisher: legacy where every server takes it (H.264, AAC and MP3 of the first track), else
//! E-RTMP v2.

use bytes::{BufMut, Bytes};

use crate::codec::{AudioCodec, AudioFormat, Config, VideoCodec, VideoFormat};

/// VideoPacketType and AudioPacketType, as far as they are written; both have the same numbers for these.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const VIDEO_MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;

/// VideoFrameType.
const KEY: u8 = 1;
const INTER: u8 = 2;

/// What a sequence header of this configuration holds; empty where the frames say everything.
pub fn record(config: &Config) -> Bytes {
    match config {
        Config::Video(video) => match &video.codec {
            VideoCodec::H264(record) => record.to_avcc(),
            VideoCodec::Hevc(record) => record.to_hvcc(),
            VideoCodec::Av1(record) => record.to_av1c(),
            // With version and flags, as FFmpeg writes and reads it.
            VideoCodec::Vpx(record) => [&[1, 0, 0, 0][..], &record.to_record()].concat().into(),
        },
        Config::Audio(audio) => match &audio.codec {
            AudioCodec::Aac(asc) => asc.bytes().clone(),
            AudioCodec::Opus(head) => head.to_opus_head(),
            AudioCodec::Flac(info) => [&b"fLaC"[..], &info.to_dfla()].concat().into(),
            AudioCodec::Ac3(_) | AudioCodec::Mp3(_) => Bytes::new(),
        },
    }
}

/// The FourCC of E-RTMP v2 "Enhanced Video".
pub fn video_four_cc(format: VideoFormat) -> [u8; 4] {
    match format {
        VideoFormat::H264 => *b"avc1",
        VideoFormat::Hevc => *b"hvc1",
        VideoFormat::Av1 => *b"av01",
        VideoFormat::Vp9 => *b"vp09",
        VideoFormat::Vp8 => *b"vp08",
    }
}

/// The FourCC of E-RTMP v2 "Enhanced Audio".
pub fn audio_four_cc(format: AudioFormat) -> [u8; 4] {
    match format {
        AudioFormat::Aac => *b"mp4a",
        AudioFormat::Opus => *b"Opus",
        AudioFormat::Ac3 => *b"ac-3",
        AudioFormat::Eac3 => *b"ec-3",
        AudioFormat::Flac => *b"fLaC",
        AudioFormat::Mp3 => *b".mp3",
    }
}

/// The body of a message with a video configuration, for the track of this id.
pub fn video_header(format: VideoFormat, track: u8, record: &[u8]) -> Vec<u8> {
    let mut out = match (format, track) {
        (VideoFormat::H264, 0) => vec![0x17, 0, 0, 0, 0],
        _ => enhanced_video(format, track, KEY, SEQUENCE_START),
    };
    out.put_slice(record);
    out
}

/// The head of a message with a video frame; the access unit follows.
pub fn video_frame(format: VideoFormat, track: u8, key: bool, composition_ms: i32) -> Vec<u8> {
    let [_, a, b, c] = composition_ms.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
    match (format, track) {
        (VideoFormat::H264, 0) => vec![if key { 0x17 } else { 0x27 }, 1, a, b, c],
        _ => {
            let frame_type = if key { KEY } else { INTER };
            let mut out = enhanced_video(format, track, frame_type, CODED_FRAMES);
            if matches!(format, VideoFormat::H264 | VideoFormat::Hevc) {
                out.put_slice(&[a, b, c]);
            }
            out
        }
    }
}

fn enhanced_video(format: VideoFormat, track: u8, frame_type: u8, packet_type: u8) -> Vec<u8> {
    let first = 0x80 | frame_type << 4;
    enhanced(first, packet_type, VIDEO_MULTITRACK, video_four_cc(format), track)
}

/// The body of a message with an audio configuration, for the track of this id. `None` where the frames say everything.
pub fn audio_header(format: AudioFormat, track: u8, record: &[u8]) -> Option<Vec<u8>> {
    let mut out = match (format, track) {
        (AudioFormat::Mp3 | AudioFormat::Ac3 | AudioFormat::Eac3, _) => return None,
        (AudioFormat::Aac, 0) => vec![0xaf, 0],
        _ => enhanced(0x90, SEQUENCE_START, AUDIO_MULTITRACK, audio_four_cc(format), track),
    };
    out.put_slice(record);
    Some(out)
}

/// The head of a message with an audio frame; the access unit follows.
pub fn audio_frame(format: AudioFormat, track: u8) -> Vec<u8> {
    match (format, track) {
        (AudioFormat::Aac, 0) => vec![0xaf, 1],
        // §E.4.2.1: MP3, 44 kHz, 16 bits, stereo; readers take these from the frames.
        (AudioFormat::Mp3, 0) => vec![0x2f],
        _ => enhanced(0x90, CODED_FRAMES, AUDIO_MULTITRACK, audio_four_cc(format), track),
    }
}

/// A track other than the first one stands in a multitrack message of its own (AvMultitrackType.OneTrack).
fn enhanced(first: u8, packet_type: u8, multitrack: u8, four: [u8; 4], track: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(10);
    if track == 0 {
        out.put_u8(first | packet_type);
        out.put_slice(&four);
    } else {
        out.put_u8(first | multitrack);
        out.put_u8(packet_type);
        out.put_slice(&four);
        out.put_u8(track);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{Audio, Video, audio, video};
    use super::*;

    const VIDEO: [VideoFormat; 5] = [
        VideoFormat::H264,
        VideoFormat::Hevc,
        VideoFormat::Av1,
        VideoFormat::Vp9,
        VideoFormat::Vp8,
    ];
    const AUDIO: [AudioFormat; 6] = [
        AudioFormat::Aac,
        AudioFormat::Opus,
        AudioFormat::Ac3,
        AudioFormat::Eac3,
        AudioFormat::Flac,
        AudioFormat::Mp3,
    ];

    #[test]
    fn what_is_written_reads_back() {
        let data = Bytes::from_static(b"data");
        for track in [0, 1, 255] {
            for format in VIDEO {
                let read = |body: Vec<u8>| video(&body.into()).unwrap().tracks;
                let header = read(video_header(format, track, &data));
                assert_eq!(header, [(track, Video::Header(format, data.clone()))]);
                for (flagged_key, ms) in [(true, 0), (false, 40), (false, -40), (true, 0x7f_ffff)] {
                    let mut body = video_frame(format, track, flagged_key, ms);
                    body.put_slice(&data);
                    let carried = matches!(format, VideoFormat::H264 | VideoFormat::Hevc);
                    let composition_ms = if carried { ms } else { 0 };
                    let data = data.clone();
                    let frame = Video::Frame { format, flagged_key, composition_ms, data };
                    assert_eq!(read(body), [(track, frame)]);
                }
            }
            for format in AUDIO {
                let read = |body: Vec<u8>| audio(&body.into()).unwrap().tracks;
                if let Some(header) = audio_header(format, track, &data) {
                    assert_eq!(read(header), [(track, Audio::Header(format, data.clone()))]);
                }
                let mut body = audio_frame(format, track);
                body.put_slice(&data);
                assert_eq!(read(body), [(track, Audio::Frame(format, data.clone()))]);
            }
        }
    }

    #[test]
    fn the_first_tracks_of_old_codecs_are_written_as_every_server_takes_them() {
        assert_eq!(video_header(VideoFormat::H264, 0, &[9]), [0x17, 0, 0, 0, 0, 9]);
        assert_eq!(video_frame(VideoFormat::H264, 0, false, 0x010203), [0x27, 1, 1, 2, 3]);
        assert_eq!(audio_header(AudioFormat::Aac, 0, &[9]), Some(vec![0xaf, 0, 9]));
        assert_eq!(audio_frame(AudioFormat::Aac, 0), [0xaf, 1]);
    }
}
