//! The AVCDecoderConfigurationRecord ("avcC"), ISO 14496-15 §5.3.3.1.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::nal::{LengthSize, unescape};
use super::sps::{Sps, has_chroma_fields};
use super::{malformed, too_large, truncated};
use crate::codec::{Error, VideoCodec, VideoConfig};
use crate::limits;
use crate::read::{BitReader, Reader};

/// The parameter sets of a stream. It always holds at least one SPS that parses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecoderConfiguration {
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    first: Sps,
}

impl DecoderConfiguration {
    /// From parameter sets as NAL units with header byte.
    pub fn new(sps: Vec<Bytes>, pps: Vec<Bytes>) -> Result<Self, Error> {
        if sps.len() > limits::PARAMETER_SETS_MAX || pps.len() > limits::PARAMETER_SETS_MAX {
            return Err(too_large("number of parameter sets", limits::PARAMETER_SETS_MAX));
        }
        // Their length in an avcC has 16 bits.
        if sps.iter().chain(&pps).any(|set| set.len() > usize::from(u16::MAX)) {
            return Err(too_large("parameter set", usize::from(u16::MAX)));
        }
        let first = Sps::parse(sps.first().ok_or(malformed("no SPS in the configuration"))?)?;
        if pps.is_empty() {
            return Err(malformed("no PPS in the configuration"));
        }
        Ok(Self { sps, pps, first })
    }

    /// Reads an avcC; the second value is how NAL units of this source are framed.
    pub fn parse(avcc: &[u8]) -> Result<(Self, LengthSize), Error> {
        if avcc.len() > limits::CONFIG_BYTES_MAX {
            return Err(too_large("configuration", limits::CONFIG_BYTES_MAX));
        }
        let mut reader = Reader::new(avcc);
        let version = reader.u8().ok_or(truncated("configurationVersion"))?;
        if version != 1 {
            return Err(malformed("configurationVersion is not 1"));
        }
        reader.take(3).ok_or(truncated("profile and level"))?;
        let length = match reader.u8().ok_or(truncated("lengthSizeMinusOne"))? & 3 {
            0 => LengthSize::One,
            1 => LengthSize::Two,
            3 => LengthSize::Four,
            _ => return Err(malformed("lengths of 3 bytes")),
        };
        let sps_count = reader.u8().ok_or(truncated("numOfSequenceParameterSets"))? & 0x1f;
        let sps = sets(&mut reader, sps_count)?;
        let pps_count = reader.u8().ok_or(truncated("numOfPictureParameterSets"))?;
        let pps = sets(&mut reader, pps_count)?;
        Ok((Self::new(sps, pps)?, length))
    }

    /// The record as an avcC with 4-byte lengths.
    pub fn to_avcc(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_slice(&[1, self.first.profile, self.first.constraints, self.first.level]);
        out.put_u8(0xfc | 3);
        // invariant: `new` bounds both counts by PARAMETER_SETS_MAX, and the SPS count has 5 bits
        out.put_u8(0xe0 | (self.sps.len().min(31) as u8));
        put_sets(&mut out, self.sps.iter().take(31));
        out.put_u8(self.pps.len() as u8);
        put_sets(&mut out, self.pps.iter());
        // ISO 14496-15 §5.3.3.1.2: for the profiles beyond Extended.
        if has_chroma_fields(self.first.profile) {
            out.put_u8(0xfc | self.first.chroma_format);
            out.put_u8(0xf8 | (self.first.bit_depth_luma - 8));
            out.put_u8(0xf8 | (self.first.bit_depth_chroma - 8));
            out.put_u8(0);
        }
        out.freeze()
    }

    /// Sequence parameter sets, at least one.
    pub fn sps(&self) -> &[Bytes] {
        &self.sps
    }

    /// Picture parameter sets, at least one.
    pub fn pps(&self) -> &[Bytes] {
        &self.pps
    }

    /// The first sequence parameter set, parsed.
    pub fn first_sps(&self) -> &Sps {
        &self.first
    }

    /// RFC 6381 §3.3: `avc1.` and profile, constraints and level in hex.
    pub fn codec_string(&self) -> String {
        format!(
            "avc1.{:02x}{:02x}{:02x}",
            self.first.profile, self.first.constraints, self.first.level
        )
    }

    /// What a player must know.
    pub fn config(self: &Arc<Self>) -> VideoConfig {
        VideoConfig {
            codec: VideoCodec::H264(Arc::clone(self)),
            width: self.first.width,
            height: self.first.height,
            sample_aspect: self.first.sample_aspect,
            frame_rate: self.first.frame_rate,
            colour: self.first.colour,
        }
    }
}

fn sets(reader: &mut Reader<'_>, count: u8) -> Result<Vec<Bytes>, Error> {
    let mut sets = Vec::new();
    for _ in 0..count {
        let set = reader
            .u16()
            .and_then(|n| reader.take(usize::from(n)))
            .ok_or(truncated("a parameter set"))?;
        if !set.is_empty() {
            sets.push(Bytes::copy_from_slice(set));
        }
    }
    Ok(sets)
}

fn put_sets<'a>(out: &mut BytesMut, sets: impl Iterator<Item = &'a Bytes>) {
    for set in sets {
        // invariant: `new` refuses sets above 65,535 bytes
        out.put_u16(set.len() as u16);
        out.put_slice(set);
    }
}

/// The id of a parameter set, which decides what it replaces: `seq_parameter_set_id` or `pic_parameter_set_id`.
pub(super) fn set_id(nal: &[u8]) -> Option<u32> {
    let (header, payload) = nal.split_first()?;
    let head = unescape(payload, 16);
    let mut bits = BitReader::new(&head);
    if header & 0x1f == 7 {
        bits.bits(24)?;
    }
    bits.ue()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00,
        0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];
    pub(in super::super) const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    #[test]
    fn round_trip() {
        let record = DecoderConfiguration::new(vec![SPS.into()], vec![PPS.into()]).unwrap();
        let avcc = record.to_avcc();
        assert_eq!(DecoderConfiguration::parse(&avcc).unwrap(), (record.clone(), LengthSize::Four));
        assert_eq!(record.codec_string(), "avc1.640028");
        assert!(avcc.ends_with(&[0xfd, 0xf8, 0xf8, 0]));
        for n in 0..avcc.len() - 4 {
            assert!(DecoderConfiguration::parse(&avcc[..n]).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn bad_records() {
        let table: &[(&[u8], &str)] = &[
            (&[], "H.264: ends before configurationVersion"),
            (&[0, 0, 0, 1], "H.264: configurationVersion is not 1"),
            (&[1, 100, 0, 31, 0xfe, 0xe1], "H.264: lengths of 3 bytes"),
            (&[1, 100, 0, 31, 0xff, 0xe0, 0], "H.264: no SPS in the configuration"),
            (&[1, 100, 0, 31, 0xff, 0xe1, 0xff, 0xff, 7], "H.264: ends before a parameter set"),
        ];
        for (bytes, expect) in table {
            assert_eq!(
                DecoderConfiguration::parse(bytes).map_err(|e| e.to_string()),
                Err((*expect).to_owned())
            );
        }
    }
}
