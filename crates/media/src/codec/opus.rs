//! Opus: the identification header (RFC 7845 §5.1), what `dOps` makes of it (Opus-in-ISOBMFF §4.3.2), and how long a packet
//! is (RFC 6716 §3.1).

use bytes::{BufMut, Bytes};

use super::{AudioCodec, AudioConfig, Error};
use crate::read::Reader;

const CODEC: &str = "Opus";

/// Opus is always counted and decoded at this rate, whatever the input was.
pub const SAMPLE_RATE: u32 = 48_000;

/// An identification header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Channels that a decoder puts out.
    pub channels: u8,
    /// Samples to drop at the start, at 48 kHz.
    pub pre_skip: u16,
    /// Rate of what was encoded, for information.
    pub input_rate: u32,
    /// dB in Q7.8 to apply.
    pub gain: i16,
    /// 0 = mono or stereo, 1 = up to 8 channels in Vorbis order, 255 = no order.
    pub family: u8,
    /// Stream count, coupled count and channel mapping, for families other than 0.
    mapping: Bytes,
}

impl Head {
    /// Mono or stereo, of which nothing is skipped.
    pub fn stereo_at_most(channels: u8) -> Self {
        let channels = channels.clamp(1, 2);
        let (pre_skip, input_rate, gain, family) = (0, SAMPLE_RATE, 0, 0);
        Self { channels, pre_skip, input_rate, gain, family, mapping: Bytes::new() }
    }

    /// The same, for a stream of which nothing is skipped, as it has begun already.
    #[must_use]
    pub fn without_pre_skip(&self) -> Self {
        Self { pre_skip: 0, ..self.clone() }
    }

    /// Reads an OpusHead with its magic.
    pub fn parse(head: &[u8]) -> Result<Self, Error> {
        let truncated = |field| Error::Truncated { codec: CODEC, field };
        let malformed = |what| Error::Malformed { codec: CODEC, what };
        let mut reader = Reader::new(head);
        if reader.array() != Some(*b"OpusHead") {
            return Err(malformed("no OpusHead"));
        }
        // §5.1: versions 0 to 15 have this layout.
        if reader.u8().ok_or(truncated("version"))? > 15 {
            return Err(malformed("a version above 15"));
        }
        let channels = reader.u8().ok_or(truncated("channel count"))?;
        let pre_skip = reader.array().map(u16::from_le_bytes).ok_or(truncated("pre-skip"))?;
        let input_rate = reader.array().map(u32::from_le_bytes).ok_or(truncated("sample rate"))?;
        let gain = reader.array().map(i16::from_le_bytes).ok_or(truncated("gain"))?;
        let family = reader.u8().ok_or(truncated("mapping family"))?;
        let mapping = match family {
            0 => &[][..],
            _ => reader.take(2 + usize::from(channels)).ok_or(truncated("channel mapping"))?,
        };
        // §5.1.1.1: family 0 has one or two channels.
        if channels == 0 || (family == 0 && channels > 2) {
            return Err(malformed("channels that the mapping family does not have"));
        }
        let mapping = Bytes::copy_from_slice(mapping);
        Ok(Self { channels, pre_skip, input_rate, gain, family, mapping })
    }

    /// Reads the body of a `dOps`: the same fields, big-endian.
    pub fn from_dops(dops: &[u8]) -> Result<Self, Error> {
        let truncated = Error::Truncated { codec: CODEC, field: "dOps" };
        let [0, channels, skip_a, skip_b, r, a, t, e, gain_a, gain_b, rest @ ..] = dops else {
            return Err(truncated);
        };
        let mut head = b"OpusHead\x01".to_vec();
        head.extend([*channels, *skip_b, *skip_a, *e, *t, *a, *r, *gain_b, *gain_a]);
        head.extend(rest);
        Self::parse(&head)
    }

    /// The header with its magic again.
    pub fn to_opus_head(&self) -> Bytes {
        let mut out = b"OpusHead\x01".to_vec();
        out.put_u8(self.channels);
        out.put_u16_le(self.pre_skip);
        out.put_u32_le(self.input_rate);
        out.put_i16_le(self.gain);
        out.put_u8(self.family);
        out.put_slice(&self.mapping);
        out.into()
    }

    /// The body of a `dOps`: the same fields, big-endian, version 0.
    pub fn to_dops(&self) -> Bytes {
        let mut out = vec![0, self.channels];
        out.put_u16(self.pre_skip);
        out.put_u32(self.input_rate);
        out.put_i16(self.gain);
        out.put_u8(self.family);
        out.put_slice(&self.mapping);
        out.into()
    }

    /// A packet of 20 ms in which nothing is heard (RFC 6716 §4.3, the flag `silence`; one channel is heard on both). Nothing
    /// where a packet is of several streams.
    pub fn silence(&self) -> Option<&'static [u8]> {
        (self.family == 0).then_some(&[0xf8, 0xff, 0xfe])
    }

    /// What a player must know. Packets say themselves how long they are; 20 ms is what encoders make.
    pub fn config(&self) -> AudioConfig {
        AudioConfig {
            sample_rate: SAMPLE_RATE,
            output_sample_rate: SAMPLE_RATE,
            channels: self.channels,
            samples_per_frame: 960,
            codec: AudioCodec::Opus(self.clone()),
        }
    }
}

/// Samples of a packet at 48 kHz, from its TOC byte.
pub fn samples(packet: &[u8]) -> Result<u32, Error> {
    let malformed = |what| Error::Malformed { codec: CODEC, what };
    let toc = *packet.first().ok_or(malformed("an empty packet"))?;
    let config = toc >> 3;
    // RFC 6716 table 2: SILK 10 to 60 ms, hybrid 10 and 20 ms, CELT 2.5 to 20 ms.
    let frame = match config {
        0..=11 => [480, 960, 1920, 2880].get(usize::from(config & 3)),
        12..=15 => [480, 960].get(usize::from(config & 1)),
        _ => [120, 240, 480, 960].get(usize::from(config & 3)),
    };
    let frame = frame.copied().unwrap_or(960);
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1).ok_or(malformed("a packet without frame count"))? & 0x3f),
    };
    // §3.2.5: at least one frame, at most 120 ms.
    Some(frame * frames)
        .filter(|n| (1..=5_760).contains(n))
        .ok_or(malformed("a packet of no or more than 120 ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // From libopus through FFmpeg 9.
    const HEAD: &[u8] = b"OpusHead\x01\x02\x38\x01\x80\xbb\0\0\0\0\0";

    #[test]
    fn heads() {
        let head = Head::parse(HEAD).unwrap();
        assert_eq!((head.channels, head.pre_skip, head.input_rate), (2, 312, 48_000));
        assert_eq!(head.to_opus_head(), HEAD);
        assert_eq!(&head.to_dops()[..], b"\0\x02\x01\x38\0\0\xbb\x80\0\0\0");
        assert_eq!(Head::from_dops(&head.to_dops()), Ok(head));
        assert!(Head::from_dops(b"\0\x02\x01").is_err());
        for n in 0..HEAD.len() {
            assert!(Head::parse(&HEAD[..n]).is_err(), "cut at {n}");
        }
        let surround = [&HEAD[..9], &[6], &HEAD[10..18], &[1, 4, 2, 0, 4, 1, 2, 3, 5]].concat();
        assert_eq!(Head::parse(&surround).unwrap().to_opus_head(), surround);
        assert!(Head::parse(&surround[..surround.len() - 1]).is_err());
        let three = [&HEAD[..9], &[3], &HEAD[10..]].concat();
        assert!(Head::parse(&three).is_err(), "family 0 with three channels");
    }

    #[test]
    fn packets_say_how_long_they_are() {
        let table: &[(&[u8], Option<u32>)] = &[
            (&[0xfc], Some(960)),         // CELT 20 ms, one frame
            (&[0x7c], Some(960)),         // hybrid 20 ms
            (&[0xe0], Some(120)),         // CELT 2.5 ms
            (&[0x19], Some(5_760)),       // SILK 60 ms, two
            (&[0xff, 0x83], Some(2_880)), // three of 20 ms
            (&[0xff, 0], None),
            (&[0xff, 7], None), // 140 ms
            (&[0xff], None),
            (&[], None),
        ];
        for (packet, expect) in table {
            assert_eq!(samples(packet).ok(), *expect, "{packet:02x?}");
        }
    }
}
