//! The initialisation segment: `ftyp` and `moov` with one track, ISO 14496-12 §8.2 to §8.5, §8.8.1 to 8.8.3.

use bytes::{BufMut, Bytes};

use super::boxes::{boxed, full};
use crate::codec::{AudioCodec, AudioConfig, Config, VideoCodec, VideoConfig};

/// The one track of every file here.
pub const TRACK_ID: u32 = 1;

/// ISO 14496-12 §6.2.2: identity matrix in 16.16 and 2.30.
pub(super) const MATRIX: [u32; 9] = [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000];

/// "und" as packed ISO 639-2/T, §8.4.2.3.
pub(super) const LANGUAGE_UND: u16 = 0x55c4;

/// Writes `ftyp` and `moov` for one track. `timescale` is what `tfdt` and durations of its fragments count in; it stands
/// in `mdhd`.
pub fn init_segment(config: &Config, timescale: u32) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    // ISO 23000-19 §7.2: cmfc; cmf2 = no edit list and signed composition offsets.
    boxed(&mut out, b"ftyp", |out| {
        out.put_slice(b"iso6");
        out.put_u32(0);
        for brand in [b"iso6", b"cmfc", b"cmf2", b"mp41"] {
            out.put_slice(brand);
        }
    });
    boxed(&mut out, b"moov", |out| {
        movie_header(out, timescale);
        boxed(out, b"trak", |out| {
            track_header(out, config);
            boxed(out, b"mdia", |out| media(out, config, timescale));
        });
        boxed(out, b"mvex", |out| {
            full(out, b"trex", 0, 0, |out| {
                for field in [TRACK_ID, 1, 0, 0, 0] {
                    out.put_u32(field);
                }
            });
        });
    });
    out.into()
}

/// mvhd, §8.2.2.
fn movie_header(out: &mut Vec<u8>, timescale: u32) {
    full(out, b"mvhd", 0, 0, |out| {
        for field in [0, 0, timescale, 0, 0x0001_0000] {
            out.put_u32(field);
        }
        out.put_u16(0x0100);
        out.put_bytes(0, 10);
        MATRIX.iter().for_each(|m| out.put_u32(*m));
        out.put_bytes(0, 24);
        out.put_u32(TRACK_ID + 1);
    });
}

/// tkhd, §8.3.2: enabled, in movie, in preview.
fn track_header(out: &mut Vec<u8>, config: &Config) {
    full(out, b"tkhd", 0, 7, |out| {
        for field in [0, 0, TRACK_ID, 0, 0, 0, 0] {
            out.put_u32(field);
        }
        out.put_u32(0); // layer, alternate_group
        out.put_u16(if matches!(config, Config::Audio(_)) { 0x0100 } else { 0 });
        out.put_u16(0);
        MATRIX.iter().for_each(|m| out.put_u32(*m));
        let (width, height) = match config {
            Config::Video(video) => (video.display_width(), video.height),
            Config::Audio(_) => (0, 0),
        };
        out.put_u32(width.min(0xffff) << 16);
        out.put_u32(height.min(0xffff) << 16);
    });
}

fn media(out: &mut Vec<u8>, config: &Config, timescale: u32) {
    // mdhd, §8.4.2
    full(out, b"mdhd", 0, 0, |out| {
        for field in [0, 0, timescale, 0] {
            out.put_u32(field);
        }
        out.put_u16(LANGUAGE_UND);
        out.put_u16(0);
    });
    let (handler, name): (&[u8; 4], &[u8]) = match config {
        Config::Video(_) => (b"vide", b"video\0"),
        Config::Audio(_) => (b"soun", b"audio\0"),
    };
    full(out, b"hdlr", 0, 0, |out| {
        out.put_u32(0);
        out.put_slice(handler);
        out.put_bytes(0, 12);
        out.put_slice(name);
    });
    boxed(out, b"minf", |out| {
        match config {
            Config::Video(_) => full(out, b"vmhd", 0, 1, |out| out.put_bytes(0, 8)),
            Config::Audio(_) => full(out, b"smhd", 0, 0, |out| out.put_bytes(0, 4)),
        }
        boxed(out, b"dinf", |out| {
            full(out, b"dref", 0, 0, |out| {
                out.put_u32(1);
                full(out, b"url ", 0, 1, |_| {});
            });
        });
        boxed(out, b"stbl", |out| {
            full(out, b"stsd", 0, 0, |out| {
                out.put_u32(1);
                match config {
                    Config::Video(video) => video_entry(out, video),
                    Config::Audio(audio) => audio_entry(out, audio),
                }
            });
            for kind in [b"stts", b"stsc", b"stco"] {
                full(out, kind, 0, 0, |out| out.put_u32(0));
            }
            full(out, b"stsz", 0, 0, |out| out.put_u64(0));
        });
    });
}

/// VisualSampleEntry, §12.1.3.
fn video_entry(out: &mut Vec<u8>, video: &VideoConfig) {
    // The names that want all parameter sets in the entry, and none in band.
    let kind = match &video.codec {
        VideoCodec::H264(_) => b"avc1",
        VideoCodec::Hevc(_) => b"hvc1",
        VideoCodec::Av1(_) => b"av01",
        VideoCodec::Vpx(config) if config.vp9 => b"vp09",
        VideoCodec::Vpx(_) => b"vp08",
    };
    boxed(out, kind, |out| {
        out.put_bytes(0, 6);
        out.put_u16(1);
        out.put_bytes(0, 16);
        // PICTURE_SIDE_MAX is below 65,536
        out.put_u16(video.width as u16);
        out.put_u16(video.height as u16);
        out.put_u32(0x0048_0000);
        out.put_u32(0x0048_0000);
        out.put_u32(0);
        out.put_u16(1);
        out.put_bytes(0, 32);
        out.put_u16(0x0018);
        out.put_i16(-1);
        match &video.codec {
            VideoCodec::H264(record) => boxed(out, b"avcC", |out| out.put_slice(&record.to_avcc())),
            VideoCodec::Hevc(record) => boxed(out, b"hvcC", |out| out.put_slice(&record.to_hvcc())),
            VideoCodec::Av1(record) => boxed(out, b"av1C", |out| out.put_slice(&record.to_av1c())),
            // VP-in-ISOBMFF §2.2: a full box of version 1
            VideoCodec::Vpx(config) => {
                full(out, b"vpcC", 1, 0, |out| out.put_slice(&config.to_record()));
            }
        }
        if let Some(colour) = video.colour {
            // §12.1.5
            boxed(out, b"colr", |out| {
                out.put_slice(b"nclx");
                out.put_u16(colour.primaries.into());
                out.put_u16(colour.transfer.into());
                out.put_u16(colour.matrix.into());
                out.put_u8(if colour.full_range { 0x80 } else { 0 });
            });
        }
        if let Some(sar) = video.sample_aspect {
            // §12.1.4
            boxed(out, b"pasp", |out| {
                out.put_u32(sar.num());
                out.put_u32(sar.den());
            });
        }
    });
}

/// AudioSampleEntry, §12.2.3.
fn audio_entry(out: &mut Vec<u8>, audio: &AudioConfig) {
    match &audio.codec {
        AudioCodec::Aac(asc) => boxed(out, b"mp4a", |out| {
            audio_entry_head(out, audio, 16);
            full(out, b"esds", 0, 0, |out| elementary_stream(out, 0x40, asc.bytes()));
        }),
        AudioCodec::Mp3(config) => boxed(out, b"mp4a", |out| {
            audio_entry_head(out, audio, 16);
            full(out, b"esds", 0, 0, |out| elementary_stream(out, config.object_type(), &[]));
        }),
        // Opus-in-ISOBMFF §4.3.1
        AudioCodec::Opus(head) => boxed(out, b"Opus", |out| {
            audio_entry_head(out, audio, 16);
            boxed(out, b"dOps", |out| out.put_slice(&head.to_dops()));
        }),
        // FLAC-in-ISOBMFF §3.3.1
        AudioCodec::Flac(info) => boxed(out, b"fLaC", |out| {
            audio_entry_head(out, audio, info.bits_per_sample.into());
            full(out, b"dfLa", 0, 0, |out| out.put_slice(&info.to_dfla()));
        }),
        // TS 102 366 §F.3 and §F.5
        AudioCodec::Ac3(config) => {
            let kinds = if config.is_enhanced() { (b"ec-3", b"dec3") } else { (b"ac-3", b"dac3") };
            boxed(out, kinds.0, |out| {
                audio_entry_head(out, audio, 16);
                boxed(out, kinds.1, |out| out.put_slice(config.record()));
            });
        }
    }
}

fn audio_entry_head(out: &mut Vec<u8>, audio: &AudioConfig, sample_size: u16) {
    out.put_bytes(0, 6);
    out.put_u16(1);
    out.put_bytes(0, 8);
    out.put_u16(audio.channels.into());
    out.put_u16(sample_size);
    out.put_u32(0);
    // 16.16; a rate that does not fit stands in the decoder's configuration only
    out.put_u32(u16::try_from(audio.sample_rate).map_or(0, |rate| u32::from(rate) << 16));
}

/// ES_Descriptor, ISO 14496-1 §7.2.6.5, as ISO 14496-14 §3.1 wants it.
///
/// `object_type` is of ISO 14496-1 table 5: 0x40 = MPEG-4 audio; the others have nothing decoder-specific.
fn elementary_stream(out: &mut Vec<u8>, object_type: u8, specific: &[u8]) {
    let mut decoder_config = vec![object_type, 0x15, 0, 0, 0]; // audio stream, buffer size unknown
    decoder_config.put_u64(0); // bitrates unknown
    if !specific.is_empty() {
        decoder_config.put_slice(&descriptor(0x05, specific));
    }
    let mut stream = vec![0, 0, 0]; // ES_ID and flags
    stream.put_slice(&descriptor(0x04, &decoder_config));
    stream.put_slice(&descriptor(0x06, &[2]));
    out.put_slice(&descriptor(0x03, &stream));
}

/// A tag with an expandable length of four bytes, ISO 14496-1 §8.3.3.
fn descriptor(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = contents.len();
    let mut out = vec![tag];
    for shift in [21, 14, 7] {
        out.put_u8(0x80 | (len >> shift & 0x7f) as u8);
    }
    out.put_u8((len & 0x7f) as u8);
    out.put_slice(contents);
    out
}
