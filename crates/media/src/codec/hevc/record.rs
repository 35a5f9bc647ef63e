//! The HEVCDecoderConfigurationRecord ("hvcC"), ISO 14496-15 §8.3.3.1.

use std::fmt::Write;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::sps::Sps;
use super::{CODEC, kind, kind_of, malformed, too_large, truncated};
use crate::codec::h264::LengthSize;
use crate::codec::{Error, VideoCodec, VideoConfig};
use crate::limits;
use crate::read::Reader;

/// The parameter sets of a stream. It always holds at least one SPS that parses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecoderConfiguration {
    vps: Vec<Bytes>,
    sps: Vec<Bytes>,
    pps: Vec<Bytes>,
    /// Declarative SEI messages: mastering display, light level.
    sei: Vec<Bytes>,
    first: Sps,
}

impl DecoderConfiguration {
    /// From NAL units with their header bytes: parameter sets and SEI messages of any order, others are left out.
    pub fn new(units: impl IntoIterator<Item = Bytes>) -> Result<Self, Error> {
        let [mut vps, mut sps, mut pps, mut sei] = [const { Vec::new() }; 4];
        for unit in units {
            // The length of each in an hvcC has 16 bits.
            if unit.len() > usize::from(u16::MAX) {
                return Err(too_large("parameter set", usize::from(u16::MAX)));
            }
            let list = match kind_of(&unit) {
                kind::VPS => &mut vps,
                kind::SPS => &mut sps,
                kind::PPS => &mut pps,
                kind::PREFIX_SEI | kind::SUFFIX_SEI => &mut sei,
                _ => continue,
            };
            if list.len() == limits::PARAMETER_SETS_MAX {
                return Err(too_large("number of parameter sets", limits::PARAMETER_SETS_MAX));
            }
            list.push(unit);
        }
        let first = Sps::parse(sps.first().ok_or(malformed("no SPS in the configuration"))?)?;
        if pps.is_empty() {
            return Err(malformed("no PPS in the configuration"));
        }
        Ok(Self { vps, sps, pps, sei, first })
    }

    /// Reads an hvcC; the second value is how NAL units of this source are framed.
    pub fn parse(hvcc: &[u8]) -> Result<(Self, LengthSize), Error> {
        if hvcc.len() > limits::CONFIG_BYTES_MAX {
            return Err(too_large("configuration", limits::CONFIG_BYTES_MAX));
        }
        let mut reader = Reader::new(hvcc);
        // 0 was written by encoders before the standard was final.
        if reader.u8().ok_or(truncated("configurationVersion"))? > 1 {
            return Err(malformed("configurationVersion is not 1"));
        }
        reader.take(20).ok_or(truncated("profile, tier and level"))?;
        let length = match reader.u8().ok_or(truncated("lengthSizeMinusOne"))? & 3 {
            0 => LengthSize::One,
            1 => LengthSize::Two,
            3 => LengthSize::Four,
            _ => return Err(malformed("lengths of 3 bytes")),
        };
        let arrays = reader.u8().ok_or(truncated("numOfArrays"))?;
        let mut units = Vec::new();
        for _ in 0..arrays {
            let _kind = reader.u8().ok_or(truncated("NAL_unit_type"))?;
            let count = reader.u16().ok_or(truncated("numNalus"))?;
            for _ in 0..count {
                let unit = reader
                    .u16()
                    .and_then(|n| reader.take(usize::from(n)))
                    .ok_or(truncated("a parameter set"))?;
                if units.len() == limits::PARAMETER_SETS_MAX * 4 {
                    return Err(too_large("number of parameter sets", limits::PARAMETER_SETS_MAX));
                }
                units.push(Bytes::copy_from_slice(unit));
            }
        }
        Ok((Self::new(units)?, length))
    }

    /// The record as an hvcC with 4-byte lengths. All parameter sets are in it, as `hvc1` wants it.
    pub fn to_hvcc(&self) -> Bytes {
        let (sps, ptl) = (&self.first, &self.first.ptl);
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(1);
        out.put_u8(ptl.space << 6 | u8::from(ptl.high_tier) << 5 | ptl.profile);
        out.put_u32(ptl.compatibility);
        out.put_slice(&ptl.constraints);
        out.put_u8(ptl.level);
        // min_spatial_segmentation_idc and parallelismType: 0 = unknown
        out.put_u16(0xf000);
        out.put_u8(0xfc);
        out.put_u8(0xfc | sps.chroma_format);
        out.put_u8(0xf8 | (sps.bit_depth_luma - 8));
        out.put_u8(0xf8 | (sps.bit_depth_chroma - 8));
        // avgFrameRate, constantFrameRate: unspecified
        out.put_u16(0);
        out.put_u8((sps.temporal_layers & 7) << 3 | u8::from(sps.temporal_nesting) << 2 | 3);
        let arrays = [
            (kind::VPS, &self.vps),
            (kind::SPS, &self.sps),
            (kind::PPS, &self.pps),
            (kind::PREFIX_SEI, &self.sei),
        ];
        let arrays = arrays.iter().filter(|(_, list)| !list.is_empty());
        out.put_u8(arrays.clone().count() as u8);
        for (kind, list) in arrays {
            // array_completeness, for parameter sets: more of them in band are the same or a new record.
            out.put_u8(if *kind == super::kind::PREFIX_SEI { *kind } else { 0x80 | kind });
            // invariant: `new` bounds each list and the length of each set by 16 bits
            out.put_u16(list.len() as u16);
            for set in list.iter() {
                out.put_u16(set.len() as u16);
                out.put_slice(set);
            }
        }
        out.freeze()
    }

    /// All NAL units of the record.
    pub fn units(&self) -> impl Iterator<Item = &Bytes> {
        self.vps.iter().chain(&self.sps).chain(&self.pps).chain(&self.sei)
    }

    /// The first sequence parameter set, parsed.
    pub fn first_sps(&self) -> &Sps {
        &self.first
    }

    /// ISO 14496-15 §E.3: `hvc1.`, profile, compatibility flags in reverse, tier and level, constraints.
    pub fn codec_string(&self) -> String {
        let ptl = &self.first.ptl;
        let space = ["", "A", "B", "C"].get(usize::from(ptl.space)).copied().unwrap_or_default();
        let tier = if ptl.high_tier { 'H' } else { 'L' };
        let compatibility = ptl.compatibility.reverse_bits();
        let mut out = format!("hvc1.{space}{}.{compatibility:X}.{tier}{}", ptl.profile, ptl.level);
        let used = ptl.constraints.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        for byte in ptl.constraints.iter().take(used) {
            // Writing to a string can't fail.
            let _ = write!(out, ".{byte:X}");
        }
        out
    }

    /// What a player must know.
    pub fn config(self: &Arc<Self>) -> VideoConfig {
        VideoConfig {
            codec: VideoCodec::Hevc(Arc::clone(self)),
            width: self.first.width,
            height: self.first.height,
            sample_aspect: self.first.sample_aspect,
            frame_rate: self.first.frame_rate,
            colour: self.first.colour,
        }
    }
}

/// The id of a parameter set with its kind, which decides what it replaces.
pub(super) fn set_id(nal: &[u8]) -> Option<(u8, u32)> {
    use crate::codec::h264::nal::unescape;
    use crate::read::BitReader;
    let kind = kind_of(nal);
    match kind {
        kind::VPS => Some((kind, u32::from(nal.get(2)? >> 4))),
        kind::SPS => Some((kind, u32::from(Sps::parse(nal).ok()?.id))),
        kind::PPS => {
            let head = unescape(nal.get(2..)?, 16);
            BitReader::new(&head).ue().map(|id| (kind, id))
        }
        _ => None,
    }
}

/// The error of a function that H.264 shares, under this codec's name.
pub(super) fn named(error: Error) -> Error {
    error.of(CODEC)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    // 320x180 at 30 frames a second, from x265.
    pub(in super::super) const VPS: &str = "40010c01ffff01600000030090000003000003003c959409";
    pub(in super::super) const SPS: &str =
        "42010101600000030090000003000003003ca00a080c1f3e595952930bc05a020000030002000003003c10";
    pub(in super::super) const PPS: &str = "4401c073c189";

    pub(in super::super) fn unhex(hex: &str) -> Bytes {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|d| (d[0] << 4 | d[1]) as u8).collect()
    }

    pub(in crate::codec) fn record() -> DecoderConfiguration {
        DecoderConfiguration::new([unhex(VPS), unhex(SPS), unhex(PPS)]).unwrap()
    }

    #[test]
    fn round_trip() {
        let record = record();
        let hvcc = record.to_hvcc();
        assert_eq!(DecoderConfiguration::parse(&hvcc).unwrap(), (record.clone(), LengthSize::Four));
        assert_eq!(record.codec_string(), "hvc1.1.6.L60.90");
        for n in 0..hvcc.len() {
            assert!(DecoderConfiguration::parse(&hvcc[..n]).is_err(), "cut at {n}");
        }
    }

    #[test]
    fn bad_records() {
        let table: &[(&[u8], &str)] = &[
            (&[], "HEVC: ends before configurationVersion"),
            (&[7], "HEVC: configurationVersion is not 1"),
            (&[1; 22], "HEVC: ends before numOfArrays"),
        ];
        for (bytes, expect) in table {
            assert_eq!(
                DecoderConfiguration::parse(bytes).map_err(|e| e.to_string()),
                Err((*expect).to_owned())
            );
        }
    }
}
