//! Frames in which nothing is heard: all SNR offsets are zero, so that no mantissa has a bit (TS 102 366 §6.2.2.7), and what has
//! none is not dithered.

use super::{BitWriter, Configuration, Frame, SAMPLE_RATES};
use crate::read::BitReader;

/// Exponents of a channel over all its blocks: the strategy D45, and of the narrowest bandwidth six groups of three.
const D45: u32 = 3;
const GROUPS: u32 = 6;
/// A group of exponents that are all as the one before, §6.1.3.
const EVEN: u32 = 62;

impl Configuration {
    /// A packet in which nothing is heard, as long and about as large as those that came. Nothing where
    /// substreams depend on others, or sound is at half a rate.
    pub fn silence(&self) -> Option<Vec<u8>> {
        let mut bits = BitReader::new(&self.record);
        let mut read = || {
            let kbps = if self.enhanced { bits.bits(13)? } else { 0 };
            if self.enhanced && bits.bits(3)? > 0 {
                return None;
            }
            let (fscod, bsid) = (bits.bits(2)?, bits.bits(5)?);
            bits.bits(if self.enhanced { 2 } else { 0 })?;
            let (bsmod, acmod, lfe) = (bits.bits(3)?, bits.bits(3)?, bits.bit()?);
            if self.enhanced {
                bits.bits(3)?;
                return (bits.bits(4)? == 0).then_some((fscod, bsid, bsmod, acmod, lfe, kbps));
            }
            Some((fscod, bsid, bsmod, acmod, lfe, bits.bits(5)?))
        };
        let (fscod, bsid, bsmod, acmod, lfe, rate) = read()?;
        SAMPLE_RATES.get(fscod as usize)?;
        let shape = Shape { fscod, bsid, acmod, lfe };
        Some(if self.enhanced {
            // Words of 16 bits: as many at least as a frame of five channels takes.
            let words =
                u64::from(rate) * 1000 * u64::from(self.samples) / u64::from(self.sample_rate) / 16;
            shape.enhanced(self.samples / 256, words.clamp(64, 2_048) as usize * 2)
        } else {
            shape.basic(bsmod, rate)
        })
    }
}

struct Shape {
    fscod: u32,
    bsid: u32,
    acmod: u32,
    lfe: bool,
}

impl Shape {
    fn channels(&self) -> u32 {
        super::CHANNELS.get(self.acmod as usize).copied().unwrap_or(2).into()
    }

    /// Of how many programmes each has a loudness of its own: 1+1 has two.
    fn programmes(&self) -> u32 {
        if self.acmod == 0 { 2 } else { 1 }
    }

    /// syncframe, §4.3.
    fn basic(&self, bsmod: u32, rate: u32) -> Vec<u8> {
        let mut out = BitWriter::default();
        out.put(0x0b77, 16);
        out.put(0, 16); // crc1
        out.put(self.fscod, 2);
        out.put(rate * 2, 6);
        out.put(self.bsid, 5);
        out.put(bsmod, 3);
        out.put(self.acmod, 3);
        if self.acmod & 1 == 1 && self.acmod != 1 {
            out.put(0, 2); // cmixlev
        }
        if self.acmod & 4 != 0 || self.acmod == 2 {
            out.put(0, 2); // surmixlev, dsurmod
        }
        out.put(self.lfe.into(), 1);
        for _ in 0..self.programmes() {
            out.put(31, 5); // dialnorm
            out.put(0, 3); // compre, langcode, audprodie
        }
        out.put(0b01, 2); // copyrightb, origbs
        out.put(0, 3); // timecod1e, timecod2e, addbsie
        for block in 0..6 {
            self.basic_block(block == 0, &mut out);
        }
        let size = Frame::parse(&out.bytes).map_or(0, |frame| frame.size);
        let mut frame = out.bytes;
        frame.resize(size.max(frame.len() + 3), 0);
        // §6.10.7: the first check is over 5/8 of the frame, the second over all of it.
        let first = ((frame.len() >> 2) + (frame.len() >> 4)) << 1;
        let crc1 = before(&frame[4..first]).to_be_bytes();
        frame[2..4].copy_from_slice(&crc1);
        seal(&mut frame, first);
        frame
    }

    /// audblk, §4.3.3.
    fn basic_block(&self, first: bool, out: &mut BitWriter) {
        let flag = u32::from(first);
        out.put(0, self.channels()); // blksw
        out.put(0, self.channels()); // dithflag
        out.put(0, self.programmes()); // dynrnge
        out.put(flag << flag, 1 + flag); // cplstre, cplinu
        self.rematrix(first, true, out);
        for _ in 0..self.channels() {
            out.put(D45 * flag, 2);
        }
        if self.lfe {
            out.put(flag, 1); // lfeexpstr
        }
        if first {
            self.exponents(out);
        }
        out.put(flag, 1); // baie
        if first {
            out.put(0, 11); // sdcycod, fdcycod, sgaincod, dbpbcod, floorcod
        }
        out.put(flag, 1); // snroffste
        if first {
            out.put(0, 6); // csnroffst
            for _ in 0..self.channels() + u32::from(self.lfe) {
                out.put(0, 7); // fsnroffst, fgaincod
            }
        }
        out.put(0, 2); // deltbaie, skiple
    }

    /// rematstr and its four bands, of stereo. `told`: whether the first block says that they follow.
    fn rematrix(&self, first: bool, told: bool, out: &mut BitWriter) {
        if self.acmod != 2 {
            return;
        }
        if told || !first {
            out.put(first.into(), 1);
        }
        if first {
            out.put(0, 4);
        }
    }

    /// chbwcod of all channels, then their exponents.
    fn exponents(&self, out: &mut BitWriter) {
        for _ in 0..self.channels() {
            out.put(0, 6);
        }
        for _ in 0..self.channels() {
            out.put(15, 4);
            (0..GROUPS).for_each(|_| out.put(EVEN, 7));
            out.put(0, 2); // gainrng
        }
        if self.lfe {
            out.put(15, 4);
            (0..2).for_each(|_| out.put(EVEN, 7));
        }
    }

    /// syncframe of one independent substream, §E.1.2.
    fn enhanced(&self, blocks: u32, size: usize) -> Vec<u8> {
        let code = [1, 2, 3, 6].iter().position(|n| *n == blocks).unwrap_or(3) as u32;
        let blocks = [1, 2, 3, 6][code as usize];
        let mut out = BitWriter::default();
        out.put(0x0b77, 16);
        out.put(0, 5); // strmtyp, substreamid
        out.put((size / 2) as u32 - 1, 11);
        out.put(self.fscod, 2);
        out.put(code, 2);
        out.put(self.acmod, 3);
        out.put(self.lfe.into(), 1);
        out.put(self.bsid, 5);
        for _ in 0..self.programmes() {
            out.put(31, 5); // dialnorm
            out.put(0, 1); // compre
        }
        out.put(0, 2); // mixmdate, infomdate
        if blocks != 6 {
            out.put(1, 1); // convsync
        }
        out.put(0, 1); // addbsie
        self.audio_frame(blocks, &mut out);
        for block in 0..blocks {
            self.enhanced_block(block == 0, &mut out);
        }
        let mut frame = out.bytes;
        frame.resize(size.max(frame.len() + 3), 0);
        seal(&mut frame, 2);
        frame
    }

    /// audfrm, §E.1.2.3.
    fn audio_frame(&self, blocks: u32, out: &mut BitWriter) {
        if blocks == 6 {
            out.put(0b10, 2); // expstre, ahte
        }
        out.put(0, 2); // snroffststr
        out.put(0, 1); // transproce
        out.put(0b01, 2); // blkswe, dithflage
        out.put(0, 5); // bamode, frmfgaincode, dbaflde, skipflde, spxattene
        if self.acmod > 1 {
            out.put(0, blocks); // cplinu of the first block, cplstre of the others
        }
        for block in 0..blocks {
            for _ in 0..self.channels() {
                out.put(if block == 0 { D45 } else { 0 }, 2);
            }
        }
        if self.lfe {
            out.put(1 << (blocks - 1), blocks); // lfeexpstr
        }
        if blocks == 6 {
            for _ in 0..self.channels() {
                out.put(0, 5); // convexpstr
            }
        } else {
            out.put(0, 1); // convexpstre
        }
        out.put(0, 10); // frmcsnroffst, frmfsnroffst
        if blocks != 1 {
            out.put(0, 1); // blkstrtinfoe
        }
    }

    /// audblk, §E.1.2.4.
    fn enhanced_block(&self, first: bool, out: &mut BitWriter) {
        out.put(0, self.channels()); // dithflag
        out.put(0, self.programmes()); // dynrnge
        out.put(0, 1); // spxinu of the first block, spxstre of the others
        self.rematrix(first, false, out);
        if first {
            self.exponents(out);
        }
        out.put(0, 1); // convsnroffste
    }
}

/// Writes the last check, over all from `from` on.
fn seal(frame: &mut [u8], from: usize) {
    let end = frame.len() - 2;
    let mut crc = frame[from..end].iter().fold(0, |crc, byte| forward(crc, *byte));
    // §6.10.7: a check that looks like a sync word is another one, by the reserved bit before it.
    if crc == 0x0b77 {
        frame[end - 1] ^= 1;
        crc = frame[from..end].iter().fold(0, |crc, byte| forward(crc, *byte));
    }
    frame[end..].copy_from_slice(&crc.to_be_bytes());
}

/// x^16 + x^15 + x^2 + 1
const POLYNOMIAL: u16 = 0x8005;

fn forward(crc: u16, byte: u8) -> u16 {
    (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| match crc & 0x8000 {
        0 => crc << 1,
        _ => crc << 1 ^ POLYNOMIAL,
    })
}

/// The two bytes ahead of these that make the check over all of them zero.
fn before(bytes: &[u8]) -> u16 {
    let back = |crc: u16, byte: u8| {
        let crc = (0..8).fold(crc, |crc, _| match crc & 1 {
            0 => crc >> 1,
            _ => (crc ^ POLYNOMIAL) >> 1 | 0x8000,
        });
        crc ^ u16::from(byte) << 8
    };
    let state = bytes.iter().rev().fold(0, |crc, byte| back(crc, *byte));
    // What the register holds is what zeros would be divided by.
    [0, 0].iter().fold(state, |crc, byte| back(crc, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, byte| forward(crc, *byte))
    }

    /// All layouts, rates and block counts: what is read of them is what they were made of. That decoders hear nothing is
    /// tested with FFmpeg's (`-p node sound_of_every_codec`).
    #[test]
    fn silence_is_a_frame_like_those_that_came() {
        for (fscod, acmod, lfe) in
            (0..3).flat_map(|f| (0..8).flat_map(move |a| [false, true].map(|l| (f, a, l))))
        {
            let shape = Shape { fscod, bsid: 8, acmod, lfe };
            for rate in [0, 10, 18] {
                let frame = shape.basic(0, rate);
                let case = format!("{fscod} {acmod} {lfe} {rate}");
                let (config, samples) = Configuration::of_packet(&frame).unwrap();
                let read = Frame::parse(&frame).unwrap();
                assert_eq!((read.size, samples), (frame.len(), 1_536), "{case}");
                assert_eq!((read.acmod.into(), read.lfe), (acmod, lfe), "{case}");
                let first = ((frame.len() >> 2) + (frame.len() >> 4)) << 1;
                assert_eq!((crc(&frame[2..first]), crc(&frame[2..])), (0, 0), "{case}");
                assert_eq!(config.silence(), Some(frame), "{case}");
            }
            let shape = Shape { bsid: 16, ..shape };
            for blocks in [1, 2, 3, 6] {
                let frame = shape.enhanced(blocks, 256);
                let case = format!("{fscod} {acmod} {lfe} {blocks}");
                let (config, samples) = Configuration::of_packet(&frame).unwrap();
                assert_eq!((frame.len(), samples), (256, blocks * 256), "{case}");
                assert_eq!((crc(&frame[2..]), config.is_enhanced()), (0, true), "{case}");
                let again = config.silence().unwrap();
                let (same, samples) = Configuration::of_packet(&again).unwrap();
                assert!(same.same_decoder(&config) && samples == blocks * 256, "{case}");
            }
        }
    }
}
