//! The sequence parameter set, ITU-T H.265 §7.3.2.2 and Annex E.

use super::{kind, kind_of, malformed, too_large, truncated};
use crate::codec::h264::nal::unescape;
use crate::codec::vui::Vui;
use crate::codec::{Colour, Error, Ratio};
use crate::limits;
use crate::read::BitReader;

/// general_ fields of profile_tier_level, H.265 §7.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileTierLevel {
    /// general_profile_space, 0 to 3.
    pub space: u8,
    /// general_tier_flag: high.
    pub high_tier: bool,
    /// general_profile_idc.
    pub profile: u8,
    /// general_profile_compatibility_flags, flag 0 first.
    pub compatibility: u32,
    /// The 48 bits from general_progressive_source_flag on.
    pub constraints: [u8; 6],
    /// general_level_idc: 30 times the level.
    pub level: u8,
}

/// What the server uses of a sequence parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// sps_seq_parameter_set_id, 0 to 15.
    pub id: u8,
    /// Profile, tier and level.
    pub ptl: ProfileTierLevel,
    /// sps_max_sub_layers_minus1 + 1.
    pub temporal_layers: u8,
    /// sps_temporal_id_nesting_flag.
    pub temporal_nesting: bool,
    /// chroma_format_idc, 1 = 4:2:0.
    pub chroma_format: u8,
    /// Bits per luma sample.
    pub bit_depth_luma: u8,
    /// Bits per chroma sample.
    pub bit_depth_chroma: u8,
    /// Pixels after cropping.
    pub width: u32,
    /// Pixels after cropping.
    pub height: u32,
    /// Sample aspect ratio, where it is said.
    pub sample_aspect: Option<Ratio>,
    /// Colour, where it is said.
    pub colour: Option<Colour>,
    /// vui_time_scale / vui_num_units_in_tick, where it is said and plausible.
    pub frame_rate: Option<Ratio>,
}

impl Sps {
    /// Reads a NAL unit of type 33, with its two header bytes, as it stands in a stream.
    pub fn parse(nal: &[u8]) -> Result<Self, Error> {
        if nal.len() > limits::SPS_BYTES_MAX {
            return Err(too_large("SPS", limits::SPS_BYTES_MAX));
        }
        if kind_of(nal) != kind::SPS {
            return Err(malformed("a sequence parameter set that is another NAL unit"));
        }
        let payload = nal.get(2..).ok_or(truncated("SPS"))?;
        let rbsp = unescape(payload, payload.len());
        let mut bits = BitReader::new(&rbsp);
        parse(&mut bits).and_then(|parsed| parsed.ok_or(truncated("the end of the SPS")))
    }
}

/// `Ok(None)`: the bytes end too early.
fn parse(bits: &mut BitReader<'_>) -> Result<Option<Sps>, Error> {
    let Some(fields) = fields(bits) else { return Ok(None) };
    let Fields { mut sps, separate_colour_planes, coded, crop } = fields;
    if sps.id > 15 {
        return Err(malformed("sps_seq_parameter_set_id above 15"));
    }
    // H.265 table 6-1: crop units follow the chroma format.
    let chroma_array = if separate_colour_planes { 0 } else { sps.chroma_format };
    let unit_x = if matches!(chroma_array, 1 | 2) { 2 } else { 1 };
    let unit_y = if chroma_array == 1 { 2 } else { 1 };
    let [left, right, top, bottom] = crop.map(u64::from);
    let (Some(width), Some(height)) = (
        u64::from(coded.0).checked_sub((left + right) * unit_x).filter(|w| *w > 0),
        u64::from(coded.1).checked_sub((top + bottom) * unit_y).filter(|h| *h > 0),
    ) else {
        return Err(malformed("cropped to nothing"));
    };
    let max = u64::from(limits::PICTURE_SIDE_MAX);
    if width > max || height > max {
        return Err(too_large("picture side", limits::PICTURE_SIDE_MAX as usize));
    }
    (sps.width, sps.height) = (width as u32, height as u32);
    // The rest is a courtesy: one that ends early is as good as none.
    let mut vui = Vui::default();
    let _complete = up_to_vui(bits, sps.temporal_layers, &mut vui);
    sps.sample_aspect = vui.sample_aspect;
    sps.colour = vui.colour;
    sps.frame_rate = vui.frame_rate;
    Ok(Some(sps))
}

struct Fields {
    sps: Sps,
    separate_colour_planes: bool,
    coded: (u32, u32),
    crop: [u32; 4],
}

/// Up to the bit depths.
fn fields(bits: &mut BitReader<'_>) -> Option<Fields> {
    let _vps_id = bits.bits(4)?;
    let layers = bits.bits(3)? as u8 + 1;
    let temporal_nesting = bits.bit()?;
    let ptl = profile_tier_level(bits, layers)?;
    let id = bits.ue()?.min(255) as u8;
    let chroma_format = bits.ue()?;
    let separate_colour_planes = chroma_format == 3 && bits.bit()?;
    let coded = (bits.ue()?, bits.ue()?);
    let mut crop = [0; 4];
    if bits.bit()? {
        for side in &mut crop {
            *side = bits.ue()?;
        }
    }
    let (luma, chroma) = (bits.ue()?, bits.ue()?);
    if chroma_format > 3 || luma > 8 || chroma > 8 {
        return None;
    }
    let sps = Sps {
        id,
        ptl,
        temporal_layers: layers,
        temporal_nesting,
        chroma_format: chroma_format as u8,
        bit_depth_luma: 8 + luma as u8,
        bit_depth_chroma: 8 + chroma as u8,
        width: 0,
        height: 0,
        sample_aspect: None,
        colour: None,
        frame_rate: None,
    };
    Some(Fields { sps, separate_colour_planes, coded, crop })
}

/// H.265 §7.3.3 with profilePresentFlag.
fn profile_tier_level(bits: &mut BitReader<'_>, layers: u8) -> Option<ProfileTierLevel> {
    let space = bits.bits(2)? as u8;
    let high_tier = bits.bit()?;
    let profile = bits.bits(5)? as u8;
    let compatibility = bits.bits(32)?;
    let mut constraints = [0; 6];
    for byte in &mut constraints {
        *byte = bits.bits(8)? as u8;
    }
    let level = bits.bits(8)? as u8;
    if layers > 1 {
        let mut present = [(false, false); 8];
        for (i, flags) in present.iter_mut().enumerate() {
            let read = (bits.bit()?, bits.bit()?);
            // Beyond the layers that there are stand reserved bits.
            if i + 1 < usize::from(layers) {
                *flags = read;
            }
        }
        for (profile, level) in present {
            for _ in 0..if profile { 11 } else { 0 } {
                bits.bits(8)?;
            }
            if level {
                bits.bits(8)?;
            }
        }
    }
    Some(ProfileTierLevel { space, high_tier, profile, compatibility, constraints, level })
}

/// From log2_max_pic_order_cnt_lsb_minus4 to the timing of the VUI.
fn up_to_vui(bits: &mut BitReader<'_>, layers: u8, vui: &mut Vui) -> Option<()> {
    let poc_bits = bits.ue()?.checked_add(4).filter(|n| *n <= 16)?;
    let all = bits.bit()?;
    for _ in 0..if all { layers } else { 1 } {
        bits.ue()?;
        bits.ue()?;
        bits.ue()?;
    }
    for _ in 0..6 {
        bits.ue()?;
    }
    if bits.bit()? && bits.bit()? {
        skip_scaling_lists(bits)?;
    }
    let (_amp, _sao) = (bits.bit()?, bits.bit()?);
    if bits.bit()? {
        bits.bits(8)?;
        bits.ue()?;
        bits.ue()?;
        bits.bit()?;
    }
    skip_reference_sets(bits)?;
    if bits.bit()? {
        // num_long_term_ref_pics_sps, §7.4.3.2.1: at most 32
        let count = bits.ue().filter(|n| *n <= 32)?;
        for _ in 0..count {
            bits.bits(poc_bits + 1)?;
        }
    }
    let (_temporal_mvp, _smoothing) = (bits.bit()?, bits.bit()?);
    if bits.bit()? { vui_fields(bits, vui) } else { Some(()) }
}

/// H.265 §7.3.4.
fn skip_scaling_lists(bits: &mut BitReader<'_>) -> Option<()> {
    for size in 0..4u32 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.bit()? {
                bits.ue()?;
                continue;
            }
            if size > 1 {
                bits.se()?;
            }
            for _ in 0..(1u32 << (4 + 2 * size)).min(64) {
                bits.se()?;
            }
        }
    }
    Some(())
}

/// All st_ref_pic_set of an SPS, H.265 §7.3.7: only the number of pictures in each is followed, because a predicted set has a
/// flag for each picture of the one before.
fn skip_reference_sets(bits: &mut BitReader<'_>) -> Option<()> {
    // num_short_term_ref_pic_sets, §7.4.3.2.1: at most 64
    let sets = bits.ue().filter(|n| *n <= 64)?;
    let mut pictures = 0u32;
    for set in 0..sets {
        if set > 0 && bits.bit()? {
            let (_sign, _delta) = (bits.bit()?, bits.ue()?);
            let mut kept = 0;
            for _ in 0..=pictures {
                let used = bits.bit()?;
                if used || bits.bit()? {
                    kept += 1;
                }
            }
            pictures = kept;
        } else {
            let (negative, positive) = (bits.ue()?, bits.ue()?);
            // §7.4.8: at most sps_max_dec_pic_buffering_minus1, which is at most 15.
            if negative > 16 || positive > 16 {
                return None;
            }
            pictures = negative + positive;
            for _ in 0..pictures {
                bits.ue()?;
                bits.bit()?;
            }
        }
        if pictures > 32 {
            return None;
        }
    }
    Some(())
}

/// H.265 §E.2.1, up to the timing.
fn vui_fields(bits: &mut BitReader<'_>, vui: &mut Vui) -> Option<()> {
    vui.signal(bits)?;
    // neutral_chroma_indication_flag, field_seq_flag, frame_field_info_present_flag
    bits.bits(3)?;
    if bits.bit()? {
        // The default display window.
        for _ in 0..4 {
            bits.ue()?;
        }
    }
    vui.timing(bits, 1)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{SPS, unhex};
    use super::*;

    #[test]
    fn reads_what_x265_writes() {
        let sps = Sps::parse(&unhex(SPS)).unwrap();
        assert_eq!((sps.width, sps.height, sps.ptl.profile), (320, 180, 1));
        assert_eq!(sps.frame_rate.map(|r| (r.num(), r.den())), Some((30, 1)));
        assert_eq!((sps.ptl.level, sps.temporal_layers, sps.bit_depth_luma), (60, 1, 8));
    }

    #[test]
    fn every_cut_of_a_good_sps_is_an_error_or_a_shorter_vui() {
        let good = unhex(SPS);
        for n in 0..good.len() {
            if let Ok(sps) = Sps::parse(&good[..n]) {
                assert_eq!((sps.width, sps.height), (320, 180), "cut at {n}");
            }
        }
        assert!(Sps::parse(&[0x40, 1, 2]).is_err());
    }
}
