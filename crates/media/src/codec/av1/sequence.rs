//! The sequence header, AV1 §5.5.

use super::{CODEC, malformed, truncated};
use crate::codec::{Colour, Error, Ratio};
use crate::limits;
use crate::read::BitReader;

/// What the server uses of a sequence header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceHeader {
    /// seq_profile, 0 to 2.
    pub profile: u8,
    /// seq_level_idx of operating point 0, the one that decoders choose.
    pub level: u8,
    /// seq_tier of operating point 0.
    pub high_tier: bool,
    /// Bits per sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// mono_chrome.
    pub monochrome: bool,
    /// subsampling_x, subsampling_y.
    pub subsampling: (bool, bool),
    /// chroma_sample_position.
    pub chroma_position: u8,
    /// max_frame_width_minus_1 + 1.
    pub width: u32,
    /// max_frame_height_minus_1 + 1.
    pub height: u32,
    /// Colour, where it is said.
    pub colour: Option<Colour>,
    /// time_scale / (num_units_in_display_tick x num_ticks_per_picture), where all pictures last equally long.
    pub frame_rate: Option<Ratio>,
    /// reduced_still_picture_header: frame headers begin otherwise.
    pub reduced: bool,
}

impl SequenceHeader {
    /// Reads the payload of an OBU of type 1.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        if payload.len() > limits::SPS_BYTES_MAX {
            let max = limits::SPS_BYTES_MAX;
            return Err(Error::TooLarge { codec: CODEC, what: "sequence header", max });
        }
        let mut bits = BitReader::new(payload);
        let header = parse(&mut bits).ok_or(truncated("the end of the sequence header"))?;
        if header.profile > 2 {
            return Err(malformed("reserved seq_profile"));
        }
        let max = limits::PICTURE_SIDE_MAX;
        if header.width > max || header.height > max {
            return Err(Error::TooLarge { codec: CODEC, what: "picture side", max: max as usize });
        }
        Ok(header)
    }
}

fn parse(bits: &mut BitReader<'_>) -> Option<SequenceHeader> {
    let profile = bits.bits(3)? as u8;
    let _still = bits.bit()?;
    let reduced = bits.bit()?;
    let mut frame_rate = None;
    let (mut level, mut high_tier) = (0, false);
    if reduced {
        level = bits.bits(5)? as u8;
    } else {
        let mut decoder_model = None;
        if bits.bit()? {
            frame_rate = timing_info(bits)?;
            if bits.bit()? {
                // decoder_model_info, §5.5.4
                decoder_model = Some(bits.bits(5)? + 1);
                bits.bits(32)?;
                bits.bits(10)?;
            }
        }
        let display_delays = bits.bit()?;
        for point in 0..=bits.bits(5)? {
            let _idc = bits.bits(12)?;
            let own_level = bits.bits(5)? as u8;
            let tier = own_level > 7 && bits.bit()?;
            if let Some(delay_bits) = decoder_model
                && bits.bit()?
            {
                // operating_parameters_info, §5.5.5
                bits.bits(delay_bits)?;
                bits.bits(delay_bits)?;
                bits.bit()?;
            }
            if display_delays && bits.bit()? {
                bits.bits(4)?;
            }
            if point == 0 {
                (level, high_tier) = (own_level, tier);
            }
        }
    }
    let (width_bits, height_bits) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
    let (width, height) = (bits.bits(width_bits)? + 1, bits.bits(height_bits)? + 1);
    tools(bits, reduced)?;
    let chroma = color_config(bits, profile)?;
    Some(SequenceHeader {
        profile,
        level,
        high_tier,
        bit_depth: chroma.bit_depth,
        monochrome: chroma.monochrome,
        subsampling: chroma.subsampling,
        chroma_position: chroma.position,
        width,
        height,
        colour: chroma.colour,
        frame_rate,
        reduced,
    })
}

/// timing_info, §5.5.3.
fn timing_info(bits: &mut BitReader<'_>) -> Option<Option<Ratio>> {
    let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
    if !bits.bit()? {
        return Some(None);
    }
    // uvlc(), §4.10.3, is ue(v)
    let ticks = bits.ue()?.checked_add(1)?;
    let rate = units.checked_mul(ticks).and_then(|den| Ratio::new(scale, den));
    Some(rate.filter(|r| (0.1..=f64::from(limits::FRAME_RATE_MAX)).contains(&r.as_f64())))
}

/// What stands between the size and the colour, §5.5.1.
fn tools(bits: &mut BitReader<'_>, reduced: bool) -> Option<()> {
    if !reduced && bits.bit()? {
        // delta_frame_id_length_minus_2, additional_frame_id_length_minus_1
        bits.bits(4 + 3)?;
    }
    // use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    bits.bits(3)?;
    if !reduced {
        // enable_interintra_compound, masked_compound, warped_motion, dual_filter
        bits.bits(4)?;
        let order_hint = bits.bit()?;
        if order_hint {
            // enable_jnt_comp, enable_ref_frame_mvs
            bits.bits(2)?;
        }
        // seq_choose_screen_content_tools, else seq_force_screen_content_tools
        let screen_content = bits.bit()? || bits.bit()?;
        if screen_content && !bits.bit()? {
            // seq_force_integer_mv
            bits.bit()?;
        }
        if order_hint {
            bits.bits(3)?;
        }
    }
    // enable_superres, enable_cdef, enable_restoration
    bits.bits(3)?;
    Some(())
}

struct Chroma {
    bit_depth: u8,
    monochrome: bool,
    subsampling: (bool, bool),
    position: u8,
    colour: Option<Colour>,
}

/// color_config, §5.5.2.
fn color_config(bits: &mut BitReader<'_>, profile: u8) -> Option<Chroma> {
    let high = bits.bit()?;
    let bit_depth = match (profile, high) {
        (2, true) if bits.bit()? => 12,
        (_, true) => 10,
        (_, false) => 8,
    };
    let monochrome = profile != 1 && bits.bit()?;
    let described = bits.bit()?;
    // 2 = unspecified
    let mut points = [2u8; 3];
    if described {
        for point in &mut points {
            *point = bits.bits(8)? as u8;
        }
    }
    let [primaries, transfer, matrix] = points;
    let colour = |full_range| {
        (described || full_range).then_some(Colour { primaries, transfer, matrix, full_range })
    };
    let mut chroma =
        Chroma { bit_depth, monochrome, subsampling: (true, true), position: 0, colour: None };
    // BT.709, sRGB and identity: RGB
    if !monochrome && (primaries, transfer, matrix) == (1, 13, 0) {
        (chroma.subsampling, chroma.colour) = ((false, false), colour(true));
        return Some(chroma);
    }
    chroma.colour = colour(bits.bit()?);
    if monochrome {
        return Some(chroma);
    }
    chroma.subsampling = match (profile, bit_depth) {
        (0, _) => (true, true),
        (1, _) => (false, false),
        (_, 12) => {
            let x = bits.bit()?;
            (x, x && bits.bit()?)
        }
        _ => (true, false),
    };
    if chroma.subsampling == (true, true) {
        chroma.position = bits.bits(2)? as u8;
    }
    Some(chroma)
}

#[cfg(test)]
mod tests {
    use super::*;

    // From SVT-AV1: 320x180 at 8 bits; without its OBU header.
    const SVT: &[u8] = &[2, 0, 0, 5, 0x21, 0xe7, 0xf6, 0x60, 0x17, 0xc0, 0x02];

    #[test]
    fn reads_what_svt_writes() {
        let header = SequenceHeader::parse(SVT).unwrap();
        assert_eq!((header.width, header.height, header.bit_depth), (320, 180, 8));
        assert_eq!((header.profile, header.level, header.high_tier), (0, 0, false));
        assert!(!header.monochrome && !header.reduced && header.subsampling == (true, true));
        // The film grain flag at the end is not read.
        for n in 0..SVT.len() - 1 {
            assert!(SequenceHeader::parse(&SVT[..n]).is_err(), "cut at {n}");
        }
    }
}
