//! The sequence parameter set, ISO 14496-10 §7.3.2.1.1 and Annex E.

use super::nal::unescape;
use super::{malformed, too_large, truncated};
use crate::codec::vui::Vui;
use crate::codec::{Colour, Error, Ratio};
use crate::limits;
use crate::read::BitReader;

/// What the server uses of a sequence parameter set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// seq_parameter_set_id, 0 to 31.
    pub id: u8,
    /// profile_idc.
    pub profile: u8,
    /// The constraint_set flags with the reserved bits.
    pub constraints: u8,
    /// level_idc.
    pub level: u8,
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
    /// Pictures may be fields.
    pub interlaced: bool,
    /// Sample aspect ratio, where it is said.
    pub sample_aspect: Option<Ratio>,
    /// Colour, where it is said.
    pub colour: Option<Colour>,
    /// time_scale / (2 x num_units_in_tick), where it is said and plausible.
    pub frame_rate: Option<Ratio>,
    /// separate_colour_plane_flag: slice headers then carry two more bits.
    pub separate_colour_planes: bool,
}

impl Sps {
    /// Reads a NAL unit of type 7, with its header byte, as it stands in a stream.
    pub fn parse(nal: &[u8]) -> Result<Self, Error> {
        if nal.len() > limits::SPS_BYTES_MAX {
            return Err(too_large("SPS", limits::SPS_BYTES_MAX));
        }
        let Some((header, payload)) = nal.split_first() else {
            return Err(truncated("SPS"));
        };
        if header & 0x1f != 7 {
            return Err(malformed("a sequence parameter set that is another NAL unit"));
        }
        let rbsp = unescape(payload, payload.len());
        let mut bits = BitReader::new(&rbsp);
        parse(&mut bits).and_then(|parsed| parsed.ok_or(truncated("the end of the SPS")))
    }
}

/// `Ok(None)`: the bytes end too early.
fn parse(bits: &mut BitReader<'_>) -> Result<Option<Sps>, Error> {
    let Some(head) = head(bits)? else {
        return Ok(None);
    };
    let Some(frame) = frame(bits, &head)? else {
        return Ok(None);
    };
    // The VUI is a courtesy: one that ends early (seen from cheap cameras) is as good as none.
    let vui = if bits.bit() == Some(true) { vui(bits) } else { Vui::default() };
    Ok(Some(Sps {
        id: head.id,
        profile: head.profile,
        constraints: head.constraints,
        level: head.level,
        chroma_format: head.chroma_format,
        bit_depth_luma: head.bit_depth_luma,
        bit_depth_chroma: head.bit_depth_chroma,
        width: frame.width,
        height: frame.height,
        interlaced: frame.interlaced,
        sample_aspect: vui.sample_aspect,
        colour: vui.colour,
        frame_rate: vui.frame_rate,
        separate_colour_planes: head.separate_colour_planes,
    }))
}

struct Head {
    id: u8,
    profile: u8,
    constraints: u8,
    level: u8,
    chroma_format: u8,
    bit_depth_luma: u8,
    bit_depth_chroma: u8,
    separate_colour_planes: bool,
}

fn head(bits: &mut BitReader<'_>) -> Result<Option<Head>, Error> {
    let (Some(profile), Some(constraints), Some(level), Some(id)) =
        (bits.bits(8), bits.bits(8), bits.bits(8), bits.ue())
    else {
        return Ok(None);
    };
    if id > 31 {
        return Err(malformed("seq_parameter_set_id above 31"));
    }
    let mut head = Head {
        id: id as u8,
        profile: profile as u8,
        constraints: constraints as u8,
        level: level as u8,
        chroma_format: 1,
        bit_depth_luma: 8,
        bit_depth_chroma: 8,
        separate_colour_planes: false,
    };
    if has_chroma_fields(head.profile) {
        let Some(chroma_format) = bits.ue() else {
            return Ok(None);
        };
        if chroma_format > 3 {
            return Err(malformed("chroma_format_idc above 3"));
        }
        head.chroma_format = chroma_format as u8;
        if chroma_format == 3 {
            head.separate_colour_planes = bits.bit() == Some(true);
        }
        let (Some(luma), Some(chroma), Some(_bypass), Some(matrices)) =
            (bits.ue(), bits.ue(), bits.bit(), bits.bit())
        else {
            return Ok(None);
        };
        if luma > 6 || chroma > 6 {
            return Err(malformed("bit depth above 14"));
        }
        head.bit_depth_luma = 8 + luma as u8;
        head.bit_depth_chroma = 8 + chroma as u8;
        if matrices && skip_scaling_matrix(bits, head.chroma_format).is_none() {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

/// The profiles whose SPS has chroma_format_idc and what follows, ISO 14496-10 §7.3.2.1.1.
pub(super) fn has_chroma_fields(profile: u8) -> bool {
    matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135)
}

/// ISO 14496-10 §7.3.2.1.1.1.
fn skip_scaling_matrix(bits: &mut BitReader<'_>, chroma_format: u8) -> Option<()> {
    for i in 0..if chroma_format == 3 { 12 } else { 8 } {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8i32, 8i32);
        for _ in 0..if i < 6 { 16 } else { 64 } {
            if next != 0 {
                let delta = bits.se()?;
                next = last.wrapping_add(delta).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

struct Frame {
    width: u32,
    height: u32,
    interlaced: bool,
}

fn frame(bits: &mut BitReader<'_>, head: &Head) -> Result<Option<Frame>, Error> {
    let Some(fields) = frame_fields(bits) else {
        return Ok(None);
    };
    let FrameFields { width_mbs, height_units, progressive, crop } = fields;
    let field_factor = if progressive { 1 } else { 2 };
    let (Some(width), Some(height)) =
        (width_mbs.checked_mul(16), height_units.checked_mul(16 * field_factor))
    else {
        return Err(malformed("picture size out of range"));
    };
    // ISO 14496-10 §7.4.2.1.1: crop units follow the chroma format.
    let chroma_array = if head.separate_colour_planes { 0 } else { head.chroma_format };
    let unit_x = if matches!(chroma_array, 1 | 2) { 2 } else { 1 };
    let unit_y = if chroma_array == 1 { 2 } else { 1 } * field_factor;
    let [left, right, top, bottom] = crop.map(u64::from);
    let cropped_x = (left + right) * unit_x;
    let cropped_y = (top + bottom) * u64::from(unit_y);
    let (Some(width), Some(height)) = (
        u64::from(width).checked_sub(cropped_x).filter(|w| *w > 0),
        u64::from(height).checked_sub(cropped_y).filter(|h| *h > 0),
    ) else {
        return Err(malformed("cropped to nothing"));
    };
    let max = u64::from(limits::PICTURE_SIDE_MAX);
    if width > max || height > max {
        return Err(too_large("picture side", limits::PICTURE_SIDE_MAX as usize));
    }
    Ok(Some(Frame { width: width as u32, height: height as u32, interlaced: !progressive }))
}

struct FrameFields {
    width_mbs: u32,
    height_units: u32,
    progressive: bool,
    crop: [u32; 4],
}

fn frame_fields(bits: &mut BitReader<'_>) -> Option<FrameFields> {
    let _log2_max_frame_num = bits.ue()?;
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.bit()?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue()?;
            if cycle > 255 {
                return None;
            }
            for _ in 0..cycle {
                bits.se()?;
            }
        }
        _ => {}
    }
    let _max_num_ref_frames = bits.ue()?;
    let _gaps_allowed = bits.bit()?;
    let width_mbs = bits.ue()?.checked_add(1)?;
    let height_units = bits.ue()?.checked_add(1)?;
    let progressive = bits.bit()?;
    if !progressive {
        let _mb_adaptive = bits.bit()?;
    }
    let _direct_8x8 = bits.bit()?;
    let mut crop = [0; 4];
    if bits.bit()? {
        for side in &mut crop {
            *side = bits.ue()?;
        }
    }
    Some(FrameFields { width_mbs, height_units, progressive, crop })
}

/// ISO 14496-10 §E.1.1, up to the timing. §E.2.1: a tick is a field time, so a frame has two.
fn vui(bits: &mut BitReader<'_>) -> Vui {
    let mut vui = Vui::default();
    let _complete = vui.signal(bits).and_then(|()| vui.timing(bits, 2));
    vui
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_x264_writes() {
        // 1280x720p30 High from x264; 1920x1080 needs cropping (1088 coded lines).
        type Row = (&'static str, u32, u32, u8, Option<(u32, u32)>);
        let table: &[Row] = &[
            ("6764001facd9405005bb0110000003001000000303c0f1831960", 1280, 720, 100, Some((30, 1))),
            (
                "67640028acd940780227e5c044000003000400000300f03c60c658",
                1920,
                1080,
                100,
                Some((30, 1)),
            ),
        ];
        for (hex, width, height, profile, rate) in table {
            let sps = Sps::parse(&unhex(hex)).unwrap();
            assert_eq!((sps.width, sps.height, sps.profile), (*width, *height, *profile));
            assert_eq!(sps.frame_rate.map(|r| (r.num(), r.den())), *rate);
        }
    }

    #[test]
    fn every_cut_of_a_good_sps_is_an_error_or_a_shorter_vui() {
        let good = unhex("67640028acd940780227e5c044000003000400000300f03c60c658");
        for n in 0..good.len() {
            if let Ok(sps) = Sps::parse(&good[..n]) {
                assert_eq!((sps.width, sps.height), (1920, 1080), "cut at {n}");
            }
        }
        assert_eq!(Sps::parse(&[]), Err(truncated("SPS")));
        assert!(Sps::parse(&[0x68, 1, 2]).is_err());
    }

    fn unhex(hex: &str) -> Vec<u8> {
        let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|d| (d[0] << 4 | d[1]) as u8).collect()
    }
}
