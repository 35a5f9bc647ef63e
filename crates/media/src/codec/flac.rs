//! FLAC: STREAMINFO and how many samples a frame has, RFC 9639 §8.2 and §9.1; `dfLa`, FLAC-in-ISOBMFF §3.3.2.

use bytes::Bytes;

use super::{AudioCodec, AudioConfig, Error};
use crate::limits;
use crate::read::{BitReader, Reader};

const CODEC: &str = "FLAC";
const STREAMINFO_BYTES: usize = 34;

/// A STREAMINFO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    bytes: [u8; STREAMINFO_BYTES],
    /// Samples per second.
    pub sample_rate: u32,
    /// 1 to 8.
    pub channels: u8,
    /// 4 to 32.
    pub bits_per_sample: u8,
    /// Samples of the longest frame.
    pub block_size_max: u16,
}

impl StreamInfo {
    /// Reads a sequence header: `fLaC`, then the metadata block STREAMINFO (E-RTMP v2), or the block without `fLaC`, or only
    /// its 34 bytes; encoders differ.
    pub fn parse(header: &[u8]) -> Result<Self, Error> {
        let mut rest = header.strip_prefix(b"fLaC").unwrap_or(header);
        if rest.len() != STREAMINFO_BYTES {
            // §8.1: last flag and type, 24 bits of length
            let mut reader = Reader::new(rest);
            let kind = reader.u8().ok_or(truncated("block type"))?;
            let len = reader.u24().ok_or(truncated("block length"))?;
            if kind & 0x7f != 0 || len as usize != STREAMINFO_BYTES {
                return Err(malformed("the first metadata block is no STREAMINFO"));
            }
            rest = reader.rest();
        }
        let bytes = *rest.first_chunk::<STREAMINFO_BYTES>().ok_or(truncated("STREAMINFO"))?;
        let mut bits = BitReader::new(&bytes);
        let mut read = || {
            let (_least, most) = (bits.bits(16)?, bits.bits(16)?);
            bits.bits(24)?;
            bits.bits(24)?;
            Some((most, bits.bits(20)?, bits.bits(3)?, bits.bits(5)?))
        };
        let (most, sample_rate, channels, depth) = read().ok_or(truncated("STREAMINFO"))?;
        if !(1_000..=limits::SAMPLE_RATE_MAX).contains(&sample_rate) {
            return Err(malformed("sample rate out of range"));
        }
        if most < 16 || depth < 3 {
            return Err(malformed("block size or sample depth out of range"));
        }
        Ok(Self {
            bytes,
            sample_rate,
            channels: channels as u8 + 1,
            bits_per_sample: depth as u8 + 1,
            block_size_max: most as u16,
        })
    }

    /// The body of a `dfLa` behind version and flags: the block with its header, as the last one.
    pub fn to_dfla(&self) -> Bytes {
        [&[0x80, 0, 0, STREAMINFO_BYTES as u8][..], &self.bytes].concat().into()
    }

    /// Whether another STREAMINFO needs another decoder. Encoders send the sums of the whole stream at its end.
    pub fn same_decoder(&self, other: &Self) -> bool {
        (self.sample_rate, self.channels, self.bits_per_sample)
            == (other.sample_rate, other.channels, other.bits_per_sample)
    }

    /// A frame in which nothing is heard: of each channel one sample that stands for all (RFC 9639 §9.2.3).
    pub fn silence(&self) -> Vec<u8> {
        // §9.1: sync code, fixed blocks; 16 bits of block size, rate and depth as in STREAMINFO; frame 0.
        let [high, low] = self.block_size_max.saturating_sub(1).to_be_bytes();
        let mut frame = vec![0xff, 0xf8, 0x70, (self.channels - 1) << 4, 0, high, low];
        frame.push(frame.iter().fold(0, |crc, byte| crc8(crc ^ byte)));
        let bits = usize::from(self.channels) * (8 + usize::from(self.bits_per_sample));
        frame.resize(frame.len() + bits.div_ceil(8), 0);
        let crc = frame.iter().fold(0, |crc, byte| crc16(crc ^ u16::from(*byte) << 8));
        frame.extend(crc.to_be_bytes());
        frame
    }

    /// What a player must know.
    pub fn config(&self) -> AudioConfig {
        AudioConfig {
            sample_rate: self.sample_rate,
            output_sample_rate: self.sample_rate,
            channels: self.channels,
            samples_per_frame: self.block_size_max.into(),
            codec: AudioCodec::Flac(self.clone()),
        }
    }
}

/// Samples of a frame, from its header (RFC 9639 §9.1.1).
pub fn samples(frame: &[u8]) -> Result<u32, Error> {
    let mut reader = Reader::new(frame);
    let sync = reader.u16().ok_or(truncated("sync code"))?;
    if sync & 0xfffe != 0xfff8 {
        return Err(malformed("no sync code"));
    }
    let code = reader.u8().ok_or(truncated("block size"))? >> 4;
    reader.u8().ok_or(truncated("channels"))?;
    match code {
        0 => Err(malformed("reserved block size")),
        1 => Ok(192),
        2..=5 => Ok(144 << code),
        8.. => Ok(1 << code),
        _ => {
            // The coded number stands ahead of it, as long as its first byte says (§9.1.5).
            let first = reader.u8().ok_or(truncated("coded number"))?;
            let more = match first.leading_ones() {
                0 => 0,
                n @ 2..=7 => n as usize - 1,
                _ => return Err(malformed("coded number")),
            };
            reader.take(more).ok_or(truncated("coded number"))?;
            let size =
                if code == 6 { reader.u8().map(u32::from) } else { reader.u16().map(u32::from) };
            size.map(|n| n + 1).ok_or(truncated("block size"))
        }
    }
}

/// §9.1.8: x^8 + x^2 + x + 1
fn crc8(crc: u8) -> u8 {
    (0..8).fold(crc, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x07 })
}

/// §9.3: x^16 + x^15 + x^2 + 1
fn crc16(crc: u16) -> u16 {
    (0..8).fold(crc, |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8005 })
}

fn malformed(what: &'static str) -> Error {
    Error::Malformed { codec: CODEC, what }
}

fn truncated(field: &'static str) -> Error {
    Error::Truncated { codec: CODEC, field }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From FFmpeg 9: 48 kHz, stereo, 24 bits.
    const HEADER: &[u8] = &[
        0x66, 0x4c, 0x61, 0x43, 0x00, 0x00, 0x00, 0x22, 0x04, 0x00, 0x04, 0x00, 0x00, 0x0d, 0x0e,
        0x00, 0x10, 0x0d, 0x0b, 0xb8, 0x03, 0x70, 0x00, 0x05, 0xdc, 0x00, 0xcb, 0x85, 0x2c, 0xd6,
        0xa4, 0x69, 0x28, 0x22, 0x37, 0x4f, 0xaf, 0x46, 0x0d, 0x5e, 0x01, 0x59,
    ];

    #[test]
    fn headers() {
        let info = StreamInfo::parse(HEADER).unwrap();
        assert_eq!((info.sample_rate, info.channels, info.bits_per_sample), (48_000, 2, 24));
        assert_eq!(info.block_size_max, 1_024);
        let block = &HEADER[4..];
        assert_eq!(info.to_dfla()[1..], block[1..]);
        assert_eq!(StreamInfo::parse(block).as_ref(), Ok(&info));
        assert_eq!(StreamInfo::parse(&block[4..]).as_ref(), Ok(&info));
        for n in 0..HEADER.len() {
            assert!(StreamInfo::parse(&HEADER[..n]).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn frames_say_how_long_they_are() {
        let table: &[(&[u8], Option<u32>)] = &[
            (&[0xff, 0xf8, 0x1a, 0x1c, 0], Some(192)),
            (&[0xff, 0xf8, 0x5a, 0x1c, 0], Some(4_608)),
            (&[0xff, 0xf8, 0xca, 0x1c, 0], Some(4_096)),
            (&[0xff, 0xf8, 0x6a, 0x1c, 0, 99], Some(100)),
            (&[0xff, 0xf9, 0x7a, 0x1c, 0xc2, 0x80, 0x0c, 0xff], Some(3_328)),
            (&[0xff, 0xf8, 0x0a, 0x1c, 0], None),
            (&[0xff, 0xf8, 0x7a, 0x1c, 0x80, 1, 1], None),
            (&[0xff, 0xf8, 0x7a, 0x1c, 0, 1], None),
            (&[0xfe, 0xf8, 0x1a, 0x1c, 0], None),
            (&[], None),
        ];
        for (frame, expect) in table {
            assert_eq!(samples(frame).ok(), *expect, "{frame:02x?}");
        }
    }
}
