//! Video usability information, as far as H.264 (ISO 14496-10 Annex E) and HEVC (H.265 Annex E) have it in
//! common: how a picture is shown, and how often.

use super::{Colour, Ratio};
use crate::limits;
use crate::read::BitReader;

/// What of it is used; what a stream does not say is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Vui {
    /// Sample aspect ratio.
    pub(super) sample_aspect: Option<Ratio>,
    /// Colour.
    pub(super) colour: Option<Colour>,
    /// Frames a second, where that is plausible.
    pub(super) frame_rate: Option<Ratio>,
}

impl Vui {
    /// From aspect_ratio_info_present_flag to chroma_loc_info. `None`: the bytes end too early; what was
    /// read until then stays.
    pub(super) fn signal(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        if bits.bit()? {
            self.sample_aspect = match bits.bits(8)? {
                // EXTENDED_SAR
                255 => {
                    let (w, h) = (bits.bits(16)?, bits.bits(16)?);
                    Ratio::new(w, h)
                }
                index => SAMPLE_ASPECTS.get(index as usize).and_then(|(w, h)| Ratio::new(*w, *h)),
            };
        }
        if bits.bit()? {
            let _overscan_appropriate = bits.bit()?;
        }
        if bits.bit()? {
            let _video_format = bits.bits(3)?;
            let full_range = bits.bit()?;
            if bits.bit()? {
                self.colour = Some(Colour {
                    primaries: bits.bits(8)? as u8,
                    transfer: bits.bits(8)? as u8,
                    matrix: bits.bits(8)? as u8,
                    full_range,
                });
            } else if full_range {
                // 2 = unspecified
                self.colour = Some(Colour { primaries: 2, transfer: 2, matrix: 2, full_range });
            }
        }
        if bits.bit()? {
            let (_top_field, _bottom_field) = (bits.ue()?, bits.ue()?);
        }
        Some(())
    }

    /// num_units_in_tick and time_scale, if they are there; `ticks` make a frame.
    pub(super) fn timing(&mut self, bits: &mut BitReader<'_>, ticks: u32) -> Option<()> {
        if bits.bit()? {
            let (units_in_tick, time_scale) = (bits.bits(32)?, bits.bits(32)?);
            self.frame_rate = units_in_tick
                .checked_mul(ticks)
                .and_then(|units| Ratio::new(time_scale, units))
                .filter(|rate| (0.1..=f64::from(limits::FRAME_RATE_MAX)).contains(&rate.as_f64()));
        }
        Some(())
    }
}

/// ISO 14496-10 table E-1, H.265 table E.1; index 0 is unspecified.
const SAMPLE_ASPECTS: [(u32, u32); 17] = [
    (0, 0),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_is_cut_off_is_left_out() {
        // aspect 4:3 (index 14), no overscan, video signal: full range, bt709; no chroma location;
        // timing 1001/30000 a tick.
        let text = format!(
            "1{:08b} 0 1{:03b}11{:08b}{:08b}{:08b} 0 1{:032b}{:032b}",
            14, 5, 1, 1, 1, 1001, 30_000
        );
        let flags: Vec<u8> = text.bytes().filter(|b| *b != b' ').map(|b| b - b'0').collect();
        let read = |flags: &[u8], ticks| {
            let bytes: Vec<u8> = flags
                .chunks(8)
                .map(|c| c.iter().fold(0, |n, b| n << 1 | b) << (8 - c.len()))
                .collect();
            let (mut vui, mut bits) = (Vui::default(), BitReader::new(&bytes));
            let _ = vui.signal(&mut bits).and_then(|()| vui.timing(&mut bits, ticks));
            vui
        };
        let whole = read(&flags, 1);
        assert_eq!(whole.sample_aspect, Ratio::new(4, 3));
        let colour = Colour { primaries: 1, transfer: 1, matrix: 1, full_range: true };
        assert_eq!(whole.colour, Some(colour));
        assert_eq!(whole.frame_rate, Ratio::new(30_000, 1001));
        assert_eq!(read(&flags, 2).frame_rate, Ratio::new(15_000, 1001), "two ticks a frame");
        assert_eq!(read(&flags, u32::MAX).frame_rate, None, "no overflow");
        for cut in 0..flags.len() / 8 {
            let some = read(&flags[..cut * 8], 1);
            assert!(some.sample_aspect.is_none() || some.sample_aspect == whole.sample_aspect);
            assert!(some.colour.is_none() || some.colour == whole.colour);
        }
    }
}
