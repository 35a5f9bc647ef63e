//! VP9 and VP8: the VPCodecConfigurationRecord ("vpcC"), VP-in-ISOBMFF §2.2, and the heads of frames: VP9 §6.2
//! (uncompressed_header), RFC 6386 §9.1.

use bytes::Bytes;

use super::{AccessUnit, Colour, Error, VideoCodec, VideoConfig, VideoFormat};
use crate::limits;
use crate::read::{BitReader, Reader};

/// A VPCodecConfigurationRecord, and which of the two codecs it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecConfiguration {
    /// `vp09`, or else `vp08`.
    pub vp9: bool,
    /// 0 to 3.
    pub profile: u8,
    /// Ten times the level.
    pub level: u8,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// 0 = 4:2:0 vertical, 1 = 4:2:0 colocated, 2 = 4:2:2, 3 = 4:4:4.
    pub subsampling: u8,
    /// Colour; 2 = unspecified.
    pub colour: Colour,
}

impl CodecConfiguration {
    fn name(vp9: bool) -> &'static str {
        if vp9 { "VP9" } else { "VP8" }
    }

    /// Reads a vpcC, with or without the version and flags that make it a full box: FFmpeg writes them, the text of E-RTMP
    /// wants the record only.
    pub fn parse(vp9: bool, vpcc: &[u8]) -> Result<Self, Error> {
        let codec = Self::name(vp9);
        let mut reader = Reader::new(vpcc);
        if vpcc.len() >= 12 && vpcc.starts_with(&[1, 0, 0, 0]) {
            reader.take(4);
        }
        let truncated = || Error::Truncated { codec, field: "matrixCoefficients" };
        let [profile, level, depths, primaries, transfer, matrix] =
            reader.array().ok_or_else(truncated)?;
        let config = Self {
            vp9,
            profile,
            level,
            bit_depth: depths >> 4,
            subsampling: depths >> 1 & 7,
            colour: Colour { primaries, transfer, matrix, full_range: depths & 1 == 1 },
        };
        if profile > 3 || !matches!(config.bit_depth, 8 | 10 | 12) || config.subsampling > 3 {
            return Err(Error::Malformed { codec, what: "a configuration of reserved values" });
        }
        Ok(config)
    }

    /// The record, without the head of a full box.
    pub fn to_record(&self) -> [u8; 8] {
        let c = &self.colour;
        let depths = self.bit_depth << 4 | self.subsampling << 1 | u8::from(c.full_range);
        // codecInitializationDataSize is 0 for both codecs.
        [self.profile, self.level, depths, c.primaries, c.transfer, c.matrix, 0, 0]
    }

    /// VP-in-ISOBMFF §5: `vp09.PP.LL.DD`, and the optional fields if they are not the defaults.
    pub fn codec_string(&self) -> String {
        let name = if self.vp9 { "vp09" } else { "vp08" };
        let Self { profile, level, bit_depth, subsampling, colour, .. } = self;
        let short = format!("{name}.{profile:02}.{level:02}.{bit_depth:02}");
        let Colour { primaries, transfer, matrix, full_range } = colour;
        let plain = *subsampling <= 1 && !full_range;
        if plain && [primaries, transfer, matrix].iter().all(|c| matches!(c, 1 | 2)) {
            return short;
        }
        let range = u8::from(*full_range);
        format!("{short}.{subsampling:02}.{primaries:02}.{transfer:02}.{matrix:02}.{range:02}")
    }

    /// What a player must know. Only key frames know the size.
    pub fn config(&self, width: u32, height: u32) -> VideoConfig {
        let stated = self.colour.full_range || self.colour.matrix != 2;
        VideoConfig {
            codec: VideoCodec::Vpx(*self),
            width,
            height,
            sample_aspect: None,
            frame_rate: None,
            colour: stated.then_some(self.colour),
        }
    }
}

/// What the head of a frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    key: bool,
    /// Of key frames.
    found: Option<(CodecConfiguration, u32, u32)>,
}

/// Follows the configuration of one VP9 or VP8 stream.
#[derive(Clone, Debug)]
pub struct Stream {
    vp9: bool,
    stated: Option<CodecConfiguration>,
    config: Option<VideoConfig>,
}

impl Stream {
    /// A stream without configuration, of VP9 or else VP8.
    pub fn new(format: VideoFormat) -> Self {
        Self { vp9: format != VideoFormat::Vp8, stated: None, config: None }
    }

    /// The configuration that holds now.
    pub fn config(&self) -> Option<VideoConfig> {
        self.config.clone()
    }

    /// Takes a configuration record. It says nothing of the size, so the first key frame makes the configuration; later
    /// ones change it with the next key frame.
    pub fn header(&mut self, vpcc: &[u8]) -> Result<Option<VideoConfig>, Error> {
        self.stated = Some(CodecConfiguration::parse(self.vp9, vpcc)?);
        Ok(None)
    }

    /// Takes one frame, or a superframe.
    pub fn access_unit(&mut self, packet: Bytes) -> Result<AccessUnit, Error> {
        let codec = CodecConfiguration::name(self.vp9);
        let head = if self.vp9 { vp9_head(&packet) } else { vp8_head(&packet) };
        let head = head.ok_or(Error::Malformed { codec, what: "no frame header" })?;
        let mut changed = None;
        if let Some((found, width, height)) = head.found {
            let max = limits::PICTURE_SIDE_MAX;
            if width > max || height > max {
                return Err(Error::TooLarge { codec, what: "picture side", max: max as usize });
            }
            let config = self.agreed(found, width, height).config(width, height);
            if self.config.as_ref() != Some(&config) {
                self.config = Some(config.clone());
                changed = Some(config);
            }
        }
        if self.config.is_none() {
            return Err(Error::NoConfiguration { codec });
        }
        Ok(AccessUnit { data: packet, sync: head.key, has_picture: true, changed })
    }

    /// What was stated holds where the bitstream does not say otherwise: it knows more of level and colour.
    fn agreed(&self, found: CodecConfiguration, width: u32, height: u32) -> CodecConfiguration {
        let mut config = match self.stated {
            Some(stated) if stated.profile == found.profile => {
                let subsampling = match (stated.subsampling, found.subsampling) {
                    (0 | 1, 1) => stated.subsampling,
                    (_, read) => read,
                };
                CodecConfiguration { bit_depth: found.bit_depth, subsampling, ..stated }
            }
            _ => found,
        };
        // 0 = unknown in FFmpeg's records, which players refuse.
        if config.level == 0 {
            config.level = level_of(width, height);
        }
        config
    }
}

/// The lowest VP9 level that has pictures of this size at 30 frames a second (VP9 levels, Annex A).
fn level_of(width: u32, height: u32) -> u8 {
    let samples = u64::from(width) * u64::from(height);
    let table = [
        (36_864, 10),
        (73_728, 11),
        (122_880, 20),
        (245_760, 21),
        (552_960, 30),
        (983_040, 31),
        (2_228_224, 40),
        (8_912_896, 50),
        (35_651_584, 60),
    ];
    table.iter().find(|(most, _)| samples <= *most).map_or(62, |(_, level)| *level)
}

/// uncompressed_header, VP9 §6.2. Of a superframe the first frame is read.
fn vp9_head(data: &[u8]) -> Option<Head> {
    let mut bits = BitReader::new(data);
    if bits.bits(2)? != 2 {
        return None;
    }
    let (low, high) = (bits.bits(1)? as u8, bits.bits(1)? as u8);
    let profile = high << 1 | low;
    if profile == 3 && bits.bit()? {
        return None;
    }
    if bits.bit()? {
        // show_existing_frame
        return Some(Head { key: false, found: None });
    }
    let key = !bits.bit()?;
    let (_show, _resilient) = (bits.bit()?, bits.bit()?);
    if !key {
        return Some(Head { key, found: None });
    }
    // frame_sync_code, §6.2.1
    if bits.bits(24)? != 0x49_8342 {
        return None;
    }
    let (bit_depth, subsampling, full_range, matrix) = vp9_color_config(&mut bits, profile)?;
    let (width, height) = (bits.bits(16)? + 1, bits.bits(16)? + 1);
    let colour = Colour { primaries: 2, transfer: 2, matrix, full_range };
    let config =
        CodecConfiguration { vp9: true, profile, level: 0, bit_depth, subsampling, colour };
    Some(Head { key, found: Some((config, width, height)) })
}

/// color_config, VP9 §6.2.2: bit depth, subsampling as vpcC counts it, range, matrix.
fn vp9_color_config(bits: &mut BitReader<'_>, profile: u8) -> Option<(u8, u8, bool, u8)> {
    let bit_depth = match profile {
        0 | 1 => 8,
        _ if bits.bit()? => 12,
        _ => 10,
    };
    // color_space, §7.2.2: unknown, BT.601, BT.709, SMPTE 170, SMPTE 240, BT.2020, reserved, RGB
    let space = bits.bits(3)?;
    let matrix = [2, 6, 1, 6, 7, 9, 2, 0].get(space as usize).copied()?;
    if space == 7 {
        // Only the profiles with 4:4:4 have RGB, and a reserved bit.
        let _reserved = bits.bit()?;
        return (profile & 1 == 1).then_some((bit_depth, 3, true, matrix));
    }
    let full_range = bits.bit()?;
    let mut subsampling = 1;
    if profile & 1 == 1 {
        subsampling = match (bits.bit()?, bits.bit()?) {
            (false, false) => 3,
            (true, false) => 2,
            (true, true) => 1,
            // 4:4:0 has no number in vpcC.
            (false, true) => return None,
        };
        let _reserved = bits.bit()?;
    }
    Some((bit_depth, subsampling, full_range, matrix))
}

/// frame_tag and key frame header, RFC 6386 §9.1.
fn vp8_head(data: &[u8]) -> Option<Head> {
    let [tag, _, _] = *data.first_chunk::<3>()?;
    if tag & 1 == 1 {
        return Some(Head { key: false, found: None });
    }
    let [_, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1] = *data.first_chunk::<10>()? else {
        return None;
    };
    // The upper two bits are a scale for showing.
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    let (width, height) = (side(w0, w1), side(h0, h1));
    if width == 0 || height == 0 {
        return None;
    }
    let colour = Colour { primaries: 2, transfer: 2, matrix: 2, full_range: false };
    let config = CodecConfiguration {
        vp9: false,
        profile: tag >> 1 & 3,
        level: 0,
        bit_depth: 8,
        subsampling: 1,
        colour,
    };
    Some(Head { key: true, found: Some((config, width, height)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    // From libvpx through FFmpeg 9: 320x180.
    const VP9_KEY: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0x00, 0x13, 0xf0, 0x0b, 0x36, 0x06, 0x38];
    const VP9_INTER: &[u8] = &[0x86, 0x00, 0x40, 0x92];
    const VP8_KEY: &[u8] = &[0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00];
    const VP8_INTER: &[u8] = &[0x11, 0x02, 0x00];
    const VPCC: &[u8] = &[1, 0, 0, 0, 0, 11, 0x82, 2, 2, 2, 0, 0];

    #[test]
    fn key_frames_make_the_configuration() {
        type Row = (VideoFormat, Option<&'static [u8]>, &'static [u8], &'static [u8], &'static str);
        let table: &[Row] = &[
            (VideoFormat::Vp9, None, VP9_KEY, VP9_INTER, "vp09.00.11.08"),
            (VideoFormat::Vp9, Some(VPCC), VP9_KEY, VP9_INTER, "vp09.00.11.08"),
            (VideoFormat::Vp9, Some(&VPCC[4..]), VP9_KEY, VP9_INTER, "vp09.00.11.08"),
            (VideoFormat::Vp8, None, VP8_KEY, VP8_INTER, "vp08.00.11.08"),
        ];
        for (format, header, key, inter, string) in table {
            let mut stream = Stream::new(*format);
            if let Some(header) = header {
                assert_eq!(stream.header(header), Ok(None));
            }
            assert!(stream.access_unit(Bytes::from_static(inter)).is_err(), "no key frame yet");
            let unit = stream.access_unit(Bytes::from_static(key)).unwrap();
            let config = unit.changed.unwrap();
            assert_eq!((config.width, config.height, unit.sync), (320, 180, true));
            assert_eq!(config.codec_string(), *string);
            let unit = stream.access_unit(Bytes::from_static(inter)).unwrap();
            assert!(!unit.sync && unit.changed.is_none());
            assert!(stream.access_unit(Bytes::from_static(key)).unwrap().changed.is_none());
        }
    }

    #[test]
    fn round_trip_and_cuts() {
        let record = CodecConfiguration::parse(true, VPCC).unwrap();
        assert_eq!(record.to_record(), VPCC[4..]);
        assert!(CodecConfiguration::parse(true, &VPCC[..6]).is_err());
        assert!(CodecConfiguration::parse(true, &[9; 12]).is_err());
        let colour = Colour { primaries: 9, transfer: 16, matrix: 9, full_range: false };
        let hdr = CodecConfiguration { profile: 2, bit_depth: 10, colour, ..record };
        assert_eq!(hdr.codec_string(), "vp09.02.11.10.01.09.16.09.00");
        for n in 0..8 {
            assert_eq!(vp9_head(&VP9_KEY[..n]), None, "cut at {n}");
        }
    }
}
