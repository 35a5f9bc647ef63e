//! MP3: the frame header, ISO 11172-3 §2.4.1.3, with the lower rates of ISO 13818-3 and of MPEG 2.5.

use super::{AudioCodec, AudioConfig, Error};
use crate::limits::AUDIO_FRAMES_MAX;

const CODEC: &str = "MP3";

/// kbit/s of layer III by bitrate_index: MPEG-1, and the lower rates.
const BIT_RATES: [[u16; 15]; 2] = [
    [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

/// What the decoder of a stream must know; it stands in every frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Samples per second.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
}

/// A frame header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    config: Configuration,
    samples: u32,
    /// `None`: free format.
    size: Option<usize>,
}

impl Configuration {
    /// From the frames of a packet; the second value is how many samples it holds.
    pub fn of_packet(packet: &[u8]) -> Result<(Self, u32), Error> {
        let first = header(packet)?;
        let (mut samples, mut rest) = (first.samples, packet);
        let mut size = first.size;
        for _ in 0..AUDIO_FRAMES_MAX {
            // What follows is another frame, or belongs to this one (padding, ID3).
            rest = size.and_then(|n| rest.get(n..)).unwrap_or_default();
            let Ok(next) = header(rest) else { break };
            samples += next.samples;
            size = next.size;
        }
        Ok((first.config, samples))
    }

    /// Two bytes less than a frame header, for the properties of groups: rate and channels.
    pub fn to_record(self) -> [u8; 5] {
        let [a, b, c, d] = self.sample_rate.to_be_bytes();
        [a, b, c, d, self.channels]
    }

    /// Reads what [`Self::to_record`] wrote.
    pub fn parse(record: &[u8]) -> Result<Self, Error> {
        let [a, b, c, d, channels] = *record
            .first_chunk::<5>()
            .ok_or(Error::Truncated { codec: CODEC, field: "channels" })?;
        let config = Self { sample_rate: u32::from_be_bytes([a, b, c, d]), channels };
        if !(8_000..=48_000).contains(&config.sample_rate) || !matches!(channels, 1 | 2) {
            return Err(malformed("rate or channels out of range"));
        }
        Ok(config)
    }

    /// The object type of ISO 14496-1 table 5: 0x6B = MPEG-1 audio, 0x69 = MPEG-2 audio (half the rates).
    pub fn object_type(self) -> u8 {
        if self.sample_rate >= 32_000 { 0x6b } else { 0x69 }
    }

    /// RFC 6381 §3.3: `mp4a.6B` or `mp4a.69`.
    pub fn codec_string(self) -> String {
        format!("mp4a.{:02X}", self.object_type())
    }

    /// A frame in which nothing is heard, of the lowest bit rate: its side information is zero, so that no granule has a bit
    /// (ISO 11172-3 §2.4.1.7).
    pub fn silence(self) -> Option<Vec<u8>> {
        let shift = [32_000, 16_000, 0].iter().position(|least| self.sample_rate >= *least)?;
        let rate = [44_100, 48_000, 32_000].iter().position(|r| r >> shift == self.sample_rate)?;
        let version = [0xfb, 0xf3, 0xe3][shift];
        let mut frame = vec![0xff, version, 0x10 | (rate as u8) << 2];
        frame.push(if self.channels == 1 { 0xc0 } else { 0 });
        let size = header(&frame).ok()?.size?;
        frame.resize(size, 0);
        Some(frame)
    }

    /// What a player must know.
    pub fn config(self) -> AudioConfig {
        AudioConfig {
            sample_rate: self.sample_rate,
            output_sample_rate: self.sample_rate,
            channels: self.channels,
            samples_per_frame: if self.sample_rate >= 32_000 { 1_152 } else { 576 },
            codec: AudioCodec::Mp3(self),
        }
    }
}

fn header(data: &[u8]) -> Result<Header, Error> {
    let [sync, a, b, c] =
        *data.first_chunk::<4>().ok_or(Error::Truncated { codec: CODEC, field: "header" })?;
    if sync != 0xff || a & 0xe0 != 0xe0 {
        return Err(malformed("no sync word"));
    }
    // 0 = MPEG 2.5, 2 = MPEG-2, 3 = MPEG-1
    let shift = match a >> 3 & 3 {
        3 => 0,
        2 => 1,
        0 => 2,
        _ => return Err(malformed("reserved version")),
    };
    if a >> 1 & 3 != 1 {
        return Err(Error::Unsupported { codec: CODEC, what: "a layer other than III" });
    }
    let rate = [44_100u32, 48_000, 32_000].get(usize::from(b >> 2 & 3));
    let sample_rate = rate.ok_or(malformed("reserved sampling frequency"))? >> shift;
    let table = &BIT_RATES[usize::from(shift > 0)];
    let kbps = *table.get(usize::from(b >> 4)).ok_or(malformed("reserved bit rate"))?;
    let samples: u32 = if shift == 0 { 1_152 } else { 576 };
    let padding = usize::from(b >> 1 & 1);
    let bytes = u32::from(kbps) * 1000 / 8 * samples / sample_rate;
    let size = (kbps > 0).then_some(bytes as usize + padding);
    let channels = if c >> 6 == 3 { 1 } else { 2 };
    Ok(Header { config: Configuration { sample_rate, channels }, samples, size })
}

fn malformed(what: &'static str) -> Error {
    Error::Malformed { codec: CODEC, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        type Row = (&'static [u8], Option<(u32, u8, u32, usize)>);
        let table: &[Row] = &[
            // From LAME: 128 kbit/s, 48 kHz, joint stereo.
            (&[0xff, 0xfb, 0x94, 0x44], Some((48_000, 2, 1_152, 384))),
            (&[0xff, 0xfb, 0x90, 0xc4], Some((44_100, 1, 1_152, 417))),
            (&[0xff, 0xfb, 0x92, 0x44], Some((44_100, 2, 1_152, 418))),
            (&[0xff, 0xf3, 0x84, 0x44], Some((24_000, 2, 576, 192))),
            (&[0xff, 0xe3, 0x88, 0xc4], Some((8_000, 1, 576, 576))),
            (&[0xff, 0xfd, 0x94, 0x44], None), // layer II
            (&[0xff, 0xfb, 0xf4, 0x44], None),
            (&[0xff, 0xfb, 0x9c, 0x44], None),
            (&[0xff, 0xeb, 0x94, 0x44], None),
            (&[0x49, 0x44, 0x33, 4], None),
            (&[0xff, 0xfb, 0x94], None),
        ];
        for (bytes, expect) in table {
            let got = header(bytes).ok();
            let got =
                got.map(|h| (h.config.sample_rate, h.config.channels, h.samples, h.size.unwrap()));
            assert_eq!(got, *expect, "{bytes:02x?}");
        }
    }

    #[test]
    fn silence_is_a_frame_of_the_same() {
        for sample_rate in [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000] {
            for channels in [1, 2] {
                let config = Configuration { sample_rate, channels };
                let frame = config.silence().unwrap();
                let read = Configuration::of_packet(&frame);
                assert_eq!(read, Ok((config, config.config().samples_per_frame)), "{frame:02x?}");
                // Header and side information have room in it.
                assert!(frame.len() >= 4 + 32 || sample_rate < 32_000 && frame.len() >= 4 + 17);
            }
        }
        assert_eq!(Configuration { sample_rate: 40_000, channels: 2 }.silence(), None);
    }

    #[test]
    fn packets_of_several_frames() {
        let frame = [&[0xff, 0xfb, 0x94, 0x44][..], &[0; 380]].concat();
        let (config, samples) = Configuration::of_packet(&[frame.clone(), frame].concat()).unwrap();
        assert_eq!((config.codec_string().as_str(), samples), ("mp4a.6B", 2_304));
        assert_eq!(Configuration::parse(&config.to_record()), Ok(config));
        assert!(Configuration::parse(&[0; 5]).is_err());
    }
}
