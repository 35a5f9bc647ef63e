//! The AV1CodecConfigurationRecord ("av1C"), AV1-ISOBMFF §2.3.

use std::sync::Arc;

use bytes::Bytes;

use super::obu::{self, Obu, kind};
use super::sequence::SequenceHeader;
use super::{CODEC, malformed, truncated};
use crate::codec::{Colour, Error, VideoCodec, VideoConfig};
use crate::limits;

/// A sequence header with the OBUs that stand in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodecConfiguration {
    sequence: SequenceHeader,
    /// configOBUs: the sequence header first, then metadata.
    obus: Bytes,
}

impl CodecConfiguration {
    /// From the OBUs of a configuration: one sequence header and, if there are any, metadata.
    pub(super) fn from_obus(units: &[Obu<'_>]) -> Result<Self, Error> {
        let header = units.iter().find(|u| u.kind == kind::SEQUENCE_HEADER);
        let header = header.ok_or(Error::NoConfiguration { codec: CODEC })?;
        let sequence = SequenceHeader::parse(header.payload)?;
        let mut obus = Vec::new();
        // AV1-ISOBMFF §2.3.4: the sequence header must be the first one.
        obu::put(&mut obus, header);
        for unit in units.iter().filter(|u| u.kind == kind::METADATA) {
            obu::put(&mut obus, unit);
        }
        Ok(Self { sequence, obus: obus.into() })
    }

    /// Reads an av1C. One without sequence header is legal and answered with [`Error::NoConfiguration`]: the header in
    /// the bitstream will say the rest.
    pub fn parse(av1c: &[u8]) -> Result<Self, Error> {
        if av1c.len() > limits::CONFIG_BYTES_MAX {
            let max = limits::CONFIG_BYTES_MAX;
            return Err(Error::TooLarge { codec: CODEC, what: "configuration", max });
        }
        // marker and version
        match av1c.first() {
            None => return Err(truncated("marker")),
            Some(0x81) => {}
            Some(_) => return Err(malformed("marker and version are not 1")),
        }
        let obus = av1c.get(4..).ok_or(truncated("configOBUs"))?;
        Self::from_obus(&obu::split(obus)?)
    }

    /// The record as an av1C.
    pub fn to_av1c(&self) -> Bytes {
        let s = &self.sequence;
        let flag = |on: bool, bit: u8| u8::from(on) << bit;
        let third = flag(s.high_tier, 7)
            | flag(s.bit_depth > 8, 6)
            | flag(s.bit_depth == 12, 5)
            | flag(s.monochrome, 4)
            | flag(s.subsampling.0, 3)
            | flag(s.subsampling.1, 2)
            | s.chroma_position & 3;
        // No initial_presentation_delay: it is unknown.
        let head = [0x81, s.profile << 5 | s.level & 0x1f, third, 0];
        [&head[..], &self.obus].concat().into()
    }

    /// The sequence header.
    pub fn sequence(&self) -> &SequenceHeader {
        &self.sequence
    }

    /// AV1-ISOBMFF §5: `av01.P.LLT.DD`, and the optional fields if they are not the defaults.
    pub fn codec_string(&self) -> String {
        let s = &self.sequence;
        let tier = if s.high_tier { 'H' } else { 'M' };
        let short = format!("av01.{}.{:02}{tier}.{:02}", s.profile, s.level, s.bit_depth);
        let bt709 = Colour { primaries: 1, transfer: 1, matrix: 1, full_range: false };
        let colour = s.colour.unwrap_or(bt709);
        let unspecified = Colour { primaries: 2, transfer: 2, matrix: 2, full_range: false };
        let plain = !s.monochrome && s.subsampling == (true, true);
        if plain && (colour == bt709 || colour == unspecified) {
            return short;
        }
        let (x, y) = (u8::from(s.subsampling.0), u8::from(s.subsampling.1));
        let position = if x + y == 2 { s.chroma_position } else { 0 };
        let Colour { primaries, transfer, matrix, full_range } = colour;
        format!(
            "{short}.{}.{x}{y}{position}.{primaries:02}.{transfer:02}.{matrix:02}.{}",
            u8::from(s.monochrome),
            u8::from(full_range)
        )
    }

    /// What a player must know.
    pub fn config(self: &Arc<Self>) -> VideoConfig {
        VideoConfig {
            codec: VideoCodec::Av1(Arc::clone(self)),
            width: self.sequence.width,
            height: self.sequence.height,
            sample_aspect: None,
            frame_rate: self.sequence.frame_rate,
            colour: self.sequence.colour,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    // From SVT-AV1 through FFmpeg 9: 320x180.
    pub(in super::super) const AV1C: &[u8] =
        &[0x81, 0x00, 0x0c, 0x00, 0x0a, 0x0b, 2, 0, 0, 5, 0x21, 0xe7, 0xf6, 0x60, 0x17, 0xc0, 0x02];

    #[test]
    fn round_trip() {
        let record = CodecConfiguration::parse(AV1C).unwrap();
        assert_eq!(record.to_av1c(), AV1C);
        assert_eq!(record.codec_string(), "av01.0.00M.08");
        for n in 0..AV1C.len() {
            assert!(CodecConfiguration::parse(&AV1C[..n]).is_err(), "cut at {n}");
        }
        let none = Err(Error::NoConfiguration { codec: "AV1" });
        assert_eq!(CodecConfiguration::parse(&AV1C[..4]), none);
    }
}
