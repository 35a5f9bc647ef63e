//! AC-3 and E-AC-3: sync frames, ETSI TS 102 366 §4.4 and Annex E §E.1, and the `dac3` and `dec3` that are made of them,
//! Annex F.

use bytes::Bytes;

use super::{AudioCodec, AudioConfig, Error};
use crate::limits::AUDIO_FRAMES_MAX;
use crate::read::BitReader;

mod silence;

const CODEC: &str = "AC-3";

/// Table 4.1, by fscod.
const SAMPLE_RATES: [u32; 3] = [48_000, 44_100, 32_000];

/// Table 4.18 in kbit/s, by frmsizecod / 2.
const BIT_RATES: [u16; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

/// Channels by acmod, without the low-frequency one.
const CHANNELS: [u8; 8] = [2, 1, 2, 3, 3, 4, 4, 5];

/// What the decoder of a stream must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    enhanced: bool,
    sample_rate: u32,
    channels: u8,
    samples: u32,
    /// What the box says, without its header.
    record: Bytes,
}

impl Configuration {
    /// From the sync frames of a packet; the second value is how many samples it holds.
    pub fn of_packet(packet: &[u8]) -> Result<(Self, u32), Error> {
        let mut frames = Vec::new();
        let mut rest = packet;
        while !rest.is_empty() && frames.len() < AUDIO_FRAMES_MAX {
            let frame = Frame::parse(rest)?;
            // A last frame that is cut short is the decoder's affair.
            rest = rest.get(frame.size..).unwrap_or_default();
            frames.push(frame);
        }
        let first = *frames.first().ok_or(truncated("syncinfo"))?;
        if !first.independent() {
            return Err(malformed("a packet that begins with a dependent substream"));
        }
        // §E.1.3.1: the blocks of substream 0 count; all others run beside it.
        let main = frames.iter().filter(|f| f.independent() && f.substream == 0);
        let samples: u32 = main.map(|f| f.samples).sum();
        let record = if first.enhanced { dec3(&frames, samples) } else { first.dac3() };
        let config = Self {
            enhanced: first.enhanced,
            sample_rate: first.sample_rate,
            channels: first.channels(),
            samples: first.samples,
            record: Bytes::copy_from_slice(&record),
        };
        Ok((config, samples.max(first.samples)))
    }

    /// Reads the body of a `dac3` or `dec3` again.
    pub fn parse(enhanced: bool, record: &[u8]) -> Result<Self, Error> {
        let mut bits = BitReader::new(record);
        let mut read = || {
            if enhanced {
                bits.bits(13 + 3)?;
            }
            let (fscod, bsid) = (bits.bits(2)?, bits.bits(5)?);
            if enhanced {
                bits.bits(2)?;
            }
            let (_bsmod, acmod, lfe) = (bits.bits(3)?, bits.bits(3)?, bits.bit()?);
            bits.bits(5)?;
            Some((fscod, bsid, acmod, lfe))
        };
        let (fscod, _bsid, acmod, lfe) = read().ok_or(truncated("the end of the record"))?;
        let sample_rate = *SAMPLE_RATES.get(fscod as usize).ok_or(malformed("reserved fscod"))?;
        let channels = CHANNELS.get(acmod as usize).copied().unwrap_or(2) + u8::from(lfe);
        let record = Bytes::copy_from_slice(record);
        Ok(Self { enhanced, sample_rate, channels, samples: 1536, record })
    }

    /// It is E-AC-3.
    pub fn is_enhanced(&self) -> bool {
        self.enhanced
    }

    /// The body of the `dac3` or `dec3`.
    pub fn record(&self) -> &Bytes {
        &self.record
    }

    /// Whether another packet's configuration needs another decoder. The bit rate, which stands in the record too, does not.
    pub fn same_decoder(&self, other: &Self) -> bool {
        (self.enhanced, self.sample_rate, self.channels)
            == (other.enhanced, other.sample_rate, other.channels)
    }

    /// `ac-3` or `ec-3`, TS 102 366 §F.5.
    pub fn codec_string(&self) -> String {
        if self.enhanced { "ec-3" } else { "ac-3" }.to_owned()
    }

    /// What a player must know.
    pub fn config(&self) -> AudioConfig {
        AudioConfig {
            sample_rate: self.sample_rate,
            output_sample_rate: self.sample_rate,
            channels: self.channels,
            samples_per_frame: self.samples,
            codec: AudioCodec::Ac3(self.clone()),
        }
    }
}

/// One sync frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frame {
    enhanced: bool,
    size: usize,
    sample_rate: u32,
    fscod: u8,
    /// Of AC-3: half of frmsizecod.
    bit_rate_code: u8,
    samples: u32,
    bsid: u8,
    bsmod: u8,
    acmod: u8,
    lfe: bool,
    /// strmtyp: 1 = dependent.
    stream_type: u8,
    substream: u8,
    /// chan_loc of a dependent substream.
    locations: u16,
}

impl Frame {
    fn parse(data: &[u8]) -> Result<Self, Error> {
        // §4.4.1.1
        if !data.starts_with(&[0x0b, 0x77]) {
            return Err(malformed("no sync word"));
        }
        // bsid stands at the same place in both, §E.1.3.1.6: up to 8 is AC-3 (9 and 10 its half rates), 11 to 16 E-AC-3.
        let bsid = data.get(5).ok_or(truncated("bsid"))? >> 3;
        let mut bits = BitReader::new(data.get(2..).unwrap_or_default());
        match bsid {
            0..=8 => basic(&mut bits, bsid),
            11..=16 => enhanced(&mut bits),
            9 | 10 => Err(Error::Unsupported { codec: CODEC, what: "half the sampling rates" }),
            _ => Err(malformed("a bsid above 16")),
        }
    }

    fn independent(&self) -> bool {
        self.stream_type != 1
    }

    fn channels(&self) -> u8 {
        CHANNELS.get(usize::from(self.acmod)).copied().unwrap_or(2) + u8::from(self.lfe)
    }

    /// AC3SpecificBox, §F.4.
    fn dac3(&self) -> Vec<u8> {
        let word = u32::from(self.fscod) << 22
            | u32::from(self.bsid) << 17
            | u32::from(self.bsmod) << 14
            | u32::from(self.acmod) << 11
            | u32::from(self.lfe) << 10
            | u32::from(self.bit_rate_code) << 5;
        word.to_be_bytes()[1..].to_vec()
    }
}

/// syncinfo and bsi, §4.3.1 and §4.3.2.
fn basic(bits: &mut BitReader<'_>, bsid: u8) -> Result<Frame, Error> {
    let mut read = || {
        bits.bits(16)?; // crc1
        let (fscod, size_code) = (bits.bits(2)?, bits.bits(6)?);
        bits.bits(5)?;
        let (bsmod, acmod) = (bits.bits(3)?, bits.bits(3)?);
        // cmixlev with three fronts, surmixlev with surrounds, dsurmod in stereo
        let mix = 2 * (u32::from(acmod & 1 == 1 && acmod != 1) + u32::from(acmod & 4 != 0));
        bits.bits(mix + if acmod == 2 { 2 } else { 0 })?;
        Some((fscod, size_code, bsmod, acmod, bits.bit()?))
    };
    let (fscod, size_code, bsmod, acmod, lfe) = read().ok_or(truncated("lfeon"))?;
    let code = (size_code / 2) as usize;
    let (Some(rate), Some(kbps)) = (SAMPLE_RATES.get(fscod as usize), BIT_RATES.get(code)) else {
        return Err(malformed("a reserved rate"));
    };
    // Table 4.18: words of 16 bits; at 44.1 kHz every other frame has one more.
    let words = u32::from(*kbps) * 96_000 / rate + u32::from(fscod == 1) * (size_code & 1);
    Ok(Frame {
        enhanced: false,
        size: words as usize * 2,
        sample_rate: *rate,
        fscod: fscod as u8,
        bit_rate_code: code as u8,
        samples: 1536,
        bsid,
        bsmod: bsmod as u8,
        acmod: acmod as u8,
        lfe,
        stream_type: 0,
        substream: 0,
        locations: 0,
    })
}

/// bsi of E-AC-3, §E.1.2.2, up to the channel map.
fn enhanced(bits: &mut BitReader<'_>) -> Result<Frame, Error> {
    let mut read = || {
        let (stream_type, substream, size) = (bits.bits(2)?, bits.bits(3)?, bits.bits(11)?);
        let (fscod, blocks) = (bits.bits(2)?, bits.bits(2)?);
        let (acmod, lfe, bsid) = (bits.bits(3)?, bits.bit()?, bits.bits(5)?);
        let mut map = 0;
        // dialnorm, compr; twice for 1+1; then chanmap of a dependent substream
        for _ in 0..if acmod == 0 { 2 } else { 1 } {
            bits.bits(5)?;
            if bits.bit()? {
                bits.bits(8)?;
            }
        }
        if stream_type == 1 && bits.bit()? {
            map = bits.bits(16)?;
        }
        Some((stream_type, substream, size, fscod, blocks, acmod, lfe, bsid, map))
    };
    let (stream_type, substream, size, fscod, blocks, acmod, lfe, bsid, map) =
        read().ok_or(truncated("bsi"))?;
    if stream_type == 3 {
        return Err(malformed("reserved strmtyp"));
    }
    // Tables E.1.3 and E.1.4: fscod 3 has its rate where the blocks are.
    let rate = SAMPLE_RATES.get(fscod as usize);
    let what = "half the sampling rates";
    let sample_rate = *rate.ok_or(Error::Unsupported { codec: CODEC, what })?;
    let blocks = [1, 2, 3, 6].get(blocks as usize).copied().unwrap_or(6);
    Ok(Frame {
        enhanced: true,
        size: (size as usize + 1) * 2,
        sample_rate,
        fscod: fscod as u8,
        bit_rate_code: 0,
        samples: blocks * 256,
        bsid: bsid as u8,
        bsmod: 0,
        acmod: acmod as u8,
        lfe,
        stream_type: stream_type as u8,
        substream: substream as u8,
        // chan_loc, table F.2, from chanmap, table E.1.5: Lc/Rc, Lrs/Rrs, Cs, Ts, Lsd/Rsd, Lw/Rw, Lvh/Rvh, Cvh, LFE2
        locations: [5, 6, 7, 8, 9, 10, 11, 12, 14]
            .iter()
            .enumerate()
            .fold(0, |loc, (bit, at)| loc | ((map >> (15 - at) & 1) as u16) << bit),
    })
}

/// EC3SpecificBox, §F.6.
fn dec3(frames: &[Frame], samples: u32) -> Vec<u8> {
    let mut out = BitWriter::default();
    let rate = frames.first().map_or(48_000, |f| f.sample_rate);
    let bytes: usize = frames.iter().map(|f| f.size).sum();
    // data_rate in kbit/s
    let kbps = bytes as u64 * 8 * u64::from(rate) / u64::from(samples.max(1)) / 1000;
    out.put(u32::try_from(kbps).unwrap_or(u32::MAX).min(0x1fff), 13);
    // One frame of each independent substream; a packet may hold several of them in a row.
    let mut streams: Vec<(Frame, Vec<Frame>)> = Vec::new();
    for frame in frames {
        if frame.independent() {
            if !streams.iter().any(|(f, _)| f.substream == frame.substream) {
                streams.push((*frame, Vec::new()));
            }
        } else if let Some((_, dependent)) = streams.last_mut()
            && !dependent.iter().any(|d| d.substream == frame.substream)
        {
            dependent.push(*frame);
        }
    }
    streams.truncate(8);
    out.put((streams.len().max(1) - 1) as u32, 3);
    for (frame, dependent) in &streams {
        out.put(frame.fscod.into(), 2);
        out.put(frame.bsid.into(), 5);
        out.put(0, 2); // reserved, asvc
        out.put(frame.bsmod.into(), 3);
        out.put(frame.acmod.into(), 3);
        out.put(frame.lfe.into(), 1);
        out.put(0, 3);
        out.put(dependent.len().min(15) as u32, 4);
        if dependent.is_empty() {
            out.put(0, 1);
        } else {
            out.put(dependent.iter().fold(0, |all, d| all | d.locations).into(), 9);
        }
    }
    out.bytes
}

#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: u32,
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        for i in (0..count).rev() {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let bit = (value >> i & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.used % 8);
            }
            self.used += 1;
        }
    }
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

    // From FFmpeg 9: stereo, 48 kHz, 192 kbit/s.
    const AC3: &[u8] = &[0x0b, 0x77, 0x73, 0xda, 0x14, 0x40, 0x43, 0xe1, 0x06, 0xf4, 0x63, 0x70];
    // The same as E-AC-3.
    const EAC3: &[u8] = &[0x0b, 0x77, 0x01, 0x7f, 0x34, 0x87, 0xc0, 0x00, 0x20, 0xd0, 0x20, 0x08];

    #[test]
    fn sync_frames() {
        let (config, samples) = Configuration::of_packet(AC3).unwrap();
        assert_eq!((config.sample_rate, config.channels, samples), (48_000, 2, 1536));
        // fscod 0, bsid 8, bsmod 0, acmod 2, lfeon 0, bit_rate_code 10
        assert_eq!(config.record()[..], [0x10, 0x11, 0x40]);
        assert_eq!(Configuration::parse(false, config.record()), Ok(config));

        let (config, samples) = Configuration::of_packet(EAC3).unwrap();
        assert_eq!((config.sample_rate, config.channels, samples), (48_000, 2, 1536));
        assert_eq!(config.codec_string(), "ec-3");
        // data_rate 192, one substream; fscod 0, bsid 16, acmod 2
        assert_eq!(config.record()[..], [0x06, 0x00, 0x20, 0x04, 0x00]);
        assert_eq!(Configuration::parse(true, config.record()), Ok(config));
    }

    #[test]
    fn sizes() {
        let size = |data: &[u8]| Frame::parse(data).map(|f| f.size).ok();
        assert_eq!(size(AC3), Some(768));
        assert_eq!(size(EAC3), Some(768));
        // 44.1 kHz, 192 kbit/s: 417 or 418 words
        for (code, bytes) in [(0x54, 834), (0x55, 836)] {
            let frame = [&AC3[..4], &[code], &AC3[5..]].concat();
            assert_eq!(size(&frame), Some(bytes));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for n in 0..6 {
            assert!(Configuration::of_packet(&AC3[..n]).is_err(), "cut at {n}");
            assert!(Configuration::of_packet(&EAC3[..n]).is_err(), "cut at {n}");
        }
        let reserved = [&AC3[..4], &[0xd4], &AC3[5..]].concat();
        assert_eq!(Configuration::of_packet(&reserved), Err(malformed("a reserved rate")));
        assert!(Configuration::of_packet(&[0x77, 0x0b, 1, 2, 3, 4, 5, 6]).is_err());
    }
}
