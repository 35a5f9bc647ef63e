//! AAC: the AudioSpecificConfig, ISO 14496-3 §1.6.2.1.
//!
//! Object types 1 to 4 (Main, LC, SSR, LTP) with explicit SBR and PS signalling, hierarchical or backward compatible.
//! Channel configuration 0 is read from the program config element that must then follow (§4.4.1.1). Low-delay and
//! error-resilient types and xHE-AAC are refused by name.

use bytes::Bytes;

use super::{AudioCodec, AudioConfig, Error};
use crate::limits;
use crate::read::BitReader;

const CODEC: &str = "AAC";

/// ISO 14496-3 table 1.18.
const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
];

/// A parsed AudioSpecificConfig with the bytes it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioSpecificConfig {
    bytes: Bytes,
    object_type: u8,
    signalled_type: u8,
    sample_rate: u32,
    output_sample_rate: u32,
    channels: u8,
    /// ISO 14496-3 table 1.19: which elements a frame has, in which order.
    channel_configuration: u8,
    samples_per_frame: u32,
}

impl AudioSpecificConfig {
    /// AAC-LC of one or two channels.
    pub fn low_complexity(sample_rate: u32, channels: u8) -> Self {
        let channels = channels.clamp(1, 2);
        let index = SAMPLE_RATES.iter().position(|rate| *rate == sample_rate);
        // Five bits of object type, four of index, 24 of a rate that has none, four of channels, three flags.
        let bytes = match index {
            Some(index) => {
                (2 << 11 | (index as u16) << 7 | u16::from(channels) << 3).to_be_bytes().to_vec()
            }
            None => {
                let rate = u64::from(sample_rate) & 0xff_ffff;
                let bits = 2 << 35 | 15 << 31 | rate << 7 | u64::from(channels) << 3;
                bits.to_be_bytes().to_vec().split_off(3)
            }
        };
        Self {
            bytes: bytes.into(),
            object_type: 2,
            signalled_type: 2,
            sample_rate,
            output_sample_rate: sample_rate,
            channels,
            channel_configuration: channels,
            samples_per_frame: 1024,
        }
    }

    /// Reads the configuration of an FLV/RTMP sequence header or an `esds`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(malformed("the AudioSpecificConfig is empty"));
        }
        if bytes.len() > limits::CONFIG_BYTES_MAX {
            return Err(Error::TooLarge {
                codec: CODEC,
                what: "configuration",
                max: limits::CONFIG_BYTES_MAX,
            });
        }
        let mut bits = BitReader::new(bytes);
        let signalled_type = object_type(&mut bits)?;
        let sample_rate = sample_rate(&mut bits)?;
        let channel_configuration = bits.bits(4).ok_or(truncated("channelConfiguration"))?;
        let mut object_type_core = signalled_type;
        let mut output_sample_rate = sample_rate;
        // 5 = SBR, 29 = PS: hierarchical signalling.
        if signalled_type == 5 || signalled_type == 29 {
            output_sample_rate = self::sample_rate(&mut bits)?;
            object_type_core = object_type(&mut bits)?;
        }
        refuse_by_name(object_type_core)?;

        // GASpecificConfig, §4.4.1
        let short = bits.bit().ok_or(truncated("frameLengthFlag"))?;
        if bits.bit().ok_or(truncated("dependsOnCoreCoder"))? {
            bits.bits(14).ok_or(truncated("coreCoderDelay"))?;
        }
        let _extension = bits.bit().ok_or(truncated("extensionFlag"))?;
        let channels = match channel_configuration {
            0 => program_config_channels(&mut bits)?,
            n @ 1..=6 => n as u8,
            7 | 12 | 14 => 8,
            11 => 7,
            _ => return Err(malformed("reserved channelConfiguration")),
        };

        // Backward-compatible signalling, §1.6.6.1: absent in most streams, so an end here is no error.
        let mut signalled = signalled_type;
        if signalled_type == object_type_core
            && bits.left() >= 16
            && bits.bits(11) == Some(0x2b7)
            && object_type(&mut bits) == Ok(5)
            && bits.bit() == Some(true)
            && let Ok(rate) = self::sample_rate(&mut bits)
        {
            output_sample_rate = rate;
            signalled = 5;
            if bits.left() >= 12 && bits.bits(11) == Some(0x548) && bits.bit() == Some(true) {
                signalled = 29;
            }
        }
        Ok(Self {
            bytes: Bytes::copy_from_slice(bytes),
            object_type: object_type_core,
            signalled_type: signalled,
            sample_rate,
            output_sample_rate,
            channels,
            // Four bits.
            channel_configuration: channel_configuration as u8,
            samples_per_frame: if short { 960 } else { 1024 },
        })
    }

    /// The record as it came, for an `esds` or a sequence header.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Object type of the core (2 = AAC-LC).
    pub fn object_type(&self) -> u8 {
        self.object_type
    }

    /// RFC 6381 §3.3: `mp4a.40.2`, with SBR `mp4a.40.5`, with PS `mp4a.40.29`.
    pub fn codec_string(&self) -> String {
        format!("mp4a.40.{}", self.signalled_type)
    }

    /// A frame in which nothing is heard: all its spectra are zero. Nothing where elements are in an order of their own, or
    /// of more than six channels. With SBR it is a frame of the core, which decoders upsample.
    pub fn silence(&self) -> Option<&'static [u8]> {
        Some(match self.channel_configuration {
            1 => &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80],
            2 => &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80],
            3 => &[0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x8e],
            4 => &[
                0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x80, 0x2c,
                0x80, 0x08, 0x02, 0x38,
            ],
            5 => &[
                0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x82, 0x30,
                0x04, 0x99, 0x00, 0x21, 0x90, 0x02, 0x38,
            ],
            6 => &[
                0x00, 0xc8, 0x00, 0x80, 0x20, 0x84, 0x01, 0x26, 0x40, 0x08, 0x64, 0x00, 0x82, 0x30,
                0x04, 0x99, 0x00, 0x21, 0x90, 0x02, 0x00, 0xb2, 0x00, 0x20, 0x08, 0xe0,
            ],
            _ => return None,
        })
    }

    /// What a player must know.
    pub fn config(&self) -> AudioConfig {
        AudioConfig {
            sample_rate: self.sample_rate,
            output_sample_rate: self.output_sample_rate,
            channels: self.channels,
            samples_per_frame: self.samples_per_frame,
            codec: AudioCodec::Aac(self.clone()),
        }
    }
}

/// ISO 14496-3 §1.6.2.1, GetAudioObjectType.
fn object_type(bits: &mut BitReader<'_>) -> Result<u8, Error> {
    let first = bits.bits(5).ok_or(truncated("audioObjectType"))?;
    if first != 31 {
        return Ok(first as u8);
    }
    let extended = bits.bits(6).ok_or(truncated("audioObjectTypeExt"))?;
    Ok(32 + extended as u8)
}

fn sample_rate(bits: &mut BitReader<'_>) -> Result<u32, Error> {
    let index = bits.bits(4).ok_or(truncated("samplingFrequencyIndex"))?;
    let rate = if index == 15 {
        bits.bits(24).ok_or(truncated("samplingFrequency"))?
    } else {
        *SAMPLE_RATES.get(index as usize).ok_or(malformed("reserved samplingFrequencyIndex"))?
    };
    if !(1_000..=limits::SAMPLE_RATE_MAX).contains(&rate) {
        return Err(malformed("sample rate out of range"));
    }
    Ok(rate)
}

/// ISO 14496-3 table 1.17.
fn refuse_by_name(object_type: u8) -> Result<(), Error> {
    let what = match object_type {
        1..=4 => return Ok(()),
        0 => return Err(malformed("audio object type 0")),
        5 | 29 => return Err(malformed("SBR on top of SBR")),
        17 => "ER AAC-LC",
        19 => "ER AAC-LTP",
        20 => "ER AAC Scalable",
        22 => "ER BSAC",
        23 => "AAC-LD (low delay)",
        39 => "AAC-ELD (enhanced low delay)",
        42 => "xHE-AAC (USAC)",
        36 => "MPEG-4 ALS",
        32..=34 => "MPEG-1/2 audio inside MPEG-4",
        _ => "this audio object type",
    };
    Err(Error::Unsupported { codec: CODEC, what })
}

/// program_config_element, ISO 14496-3 §4.4.1.1: only the channels are counted.
fn program_config_channels(bits: &mut BitReader<'_>) -> Result<u8, Error> {
    let short = || truncated("program_config_element");
    bits.bits(4 + 2 + 4).ok_or_else(short)?;
    let paired = [
        bits.bits(4).ok_or_else(short)?, // front
        bits.bits(4).ok_or_else(short)?, // side
        bits.bits(4).ok_or_else(short)?, // back
    ];
    let lfe = bits.bits(2).ok_or_else(short)?;
    let assoc = bits.bits(3).ok_or_else(short)?;
    let coupling = bits.bits(4).ok_or_else(short)?;
    for width in [4, 4, 3] {
        // mono, stereo and matrix mixdown
        if bits.bit().ok_or_else(short)? {
            bits.bits(width).ok_or_else(short)?;
        }
    }
    let mut channels = lfe;
    for _ in 0..paired.iter().sum() {
        let pair = bits.bit().ok_or_else(short)?;
        bits.bits(4).ok_or_else(short)?;
        channels += if pair { 2 } else { 1 };
    }
    for _ in 0..lfe + assoc {
        bits.bits(4).ok_or_else(short)?;
    }
    for _ in 0..coupling {
        bits.bits(5).ok_or_else(short)?;
    }
    bits.align();
    let comment = bits.bits(8).ok_or_else(short)?;
    for _ in 0..comment {
        bits.bits(8).ok_or_else(short)?;
    }
    match channels {
        0 => Err(malformed("a program config element without channels")),
        n => Ok(n.min(255) as u8),
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

    #[test]
    fn configurations() {
        // bytes, codec string, core rate, output rate, channels, samples
        type Row = (&'static [u8], &'static str, u32, u32, u8, u32);
        let table: &[Row] = &[
            (&[0x12, 0x10], "mp4a.40.2", 44_100, 44_100, 2, 1024),
            (&[0x11, 0x90], "mp4a.40.2", 48_000, 48_000, 2, 1024),
            (&[0x11, 0x88], "mp4a.40.2", 48_000, 48_000, 1, 1024),
            (&[0x11, 0xb0], "mp4a.40.2", 48_000, 48_000, 6, 1024),
            (&[0x11, 0xb8], "mp4a.40.2", 48_000, 48_000, 8, 1024),
            (&[0x11, 0x94], "mp4a.40.2", 48_000, 48_000, 2, 960),
            // LC with backward-compatible "no SBR", as ffmpeg writes it
            (&[0x12, 0x10, 0x56, 0xe5, 0x00], "mp4a.40.2", 44_100, 44_100, 2, 1024),
            // LC 24 kHz with backward-compatible SBR at 48 kHz
            (&[0x13, 0x10, 0x56, 0xe5, 0x98], "mp4a.40.5", 24_000, 48_000, 2, 1024),
            // HE-AAC, hierarchical: type 5, 24 kHz, stereo, ext 48 kHz, core LC
            (&[0x2b, 0x11, 0x88, 0x00], "mp4a.40.5", 24_000, 48_000, 2, 1024),
            // HE-AAC v2: type 29, 24 kHz, mono, ext 48 kHz, core LC
            (&[0xeb, 0x09, 0x88, 0x00], "mp4a.40.29", 24_000, 48_000, 1, 1024),
            // explicit rate 44,056 Hz
            (&[0x17, 0x80, 0x56, 0x0c, 0x10], "mp4a.40.2", 44_056, 44_056, 2, 1024),
        ];
        for (bytes, codec, rate, output, channels, samples) in table {
            let config = AudioSpecificConfig::parse(bytes)
                .unwrap_or_else(|e| panic!("{bytes:02x?}: {e}"))
                .config();
            assert_eq!(
                (config.codec_string().as_str(), config.sample_rate, config.output_sample_rate),
                (*codec, *rate, *output),
                "{bytes:02x?}"
            );
            assert_eq!(
                (config.channels, config.samples_per_frame),
                (*channels, *samples),
                "{bytes:02x?}"
            );
        }
    }

    #[test]
    fn what_is_made_is_what_is_read() {
        for (rate, channels) in [(44_100, 2), (48_000, 1), (44_056, 2)] {
            let made = AudioSpecificConfig::low_complexity(rate, channels);
            assert_eq!(AudioSpecificConfig::parse(made.bytes()), Ok(made));
        }
    }

    #[test]
    fn nonsense_is_a_typed_error() {
        let table: &[(&[u8], &str)] = &[
            (&[], "AAC: the AudioSpecificConfig is empty"),
            (&[0x12], "AAC: ends before samplingFrequencyIndex"),
            (&[0x00, 0x00], "AAC: audio object type 0"),
            (&[0x16, 0x90], "AAC: reserved samplingFrequencyIndex"),
            (&[0x17, 0x80, 0x00, 0x00, 0x10], "AAC: sample rate out of range"),
            (&[0xff, 0xff, 0xff], "AAC: ends before samplingFrequency"),
            (&[0xb9, 0x90], "AAC: AAC-LD (low delay) is not supported"),
            (&[0xf9, 0x46, 0x40], "AAC: xHE-AAC (USAC) is not supported"),
            (&[0x11, 0xc8], "AAC: reserved channelConfiguration"),
            (&[0x11, 0x80], "AAC: ends before program_config_element"),
        ];
        for (bytes, expect) in table {
            assert_eq!(
                AudioSpecificConfig::parse(bytes).map_err(|e| e.to_string()),
                Err((*expect).to_owned())
            );
        }
    }

    #[test]
    fn channel_configuration_zero_is_counted_from_the_program_config_element() {
        // LC, 48 kHz, channel configuration 0, flags 000, then a PCE: one front pair, one front single, one lfe.
        let fields: &[(u32, u32)] = &[
            (5, 2),
            (4, 3),
            (4, 0),
            (3, 0), // AudioSpecificConfig up to the PCE
            (4, 0),
            (2, 1),
            (4, 3),
            (4, 2),
            (4, 0),
            (4, 0),
            (2, 1),
            (3, 0),
            (4, 0),
            (1, 0),
            (1, 0),
            (1, 0),
            (1, 1),
            (4, 0),
            (1, 0),
            (4, 1),
            (4, 0),
        ];
        let mut bits: Vec<bool> = Vec::new();
        for (width, value) in fields {
            bits.extend((0..*width).rev().map(|i| value >> i & 1 == 1));
        }
        bits.resize(bits.len().div_ceil(8) * 8 + 8, false);
        let bytes: Vec<u8> = bits
            .chunks(8)
            .map(|c| c.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
            .collect();
        assert_eq!(AudioSpecificConfig::parse(&bytes).unwrap().config().channels, 4);
    }
}
