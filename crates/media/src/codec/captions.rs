//! Captions inside the picture: CEA-608 and CEA-708 in SEI messages of H.264 and HEVC (ATSC A/53 part 4 §6.2.3, SCTE 128-1
//! §8.1). Only found, never decoded: players do that, if lists of tracks tell them to.

use super::h264::nal::{sei_messages, split_units, unescape};
use super::{Config, VideoCodec, hevc};
use crate::limits::SEI_BYTES_MAX;
use crate::read::Reader;

/// Which captions have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Embedded {
    /// CEA-608 in the first field: CC1.
    field1: bool,
    /// CEA-608 in the second field: CC3.
    field2: bool,
    /// CEA-708.
    dtvcc: bool,
}

/// DASH's name for CEA-608, which MSF has taken over (SCTE 214-1 §7.2.1).
pub const CEA_608: &str = "urn:scte:dash:cc:cea-608:2015";
/// DASH's name for CEA-708.
pub const CEA_708: &str = "urn:scte:dash:cc:cea-708:2015";

impl Embedded {
    /// What stands in one access unit, as samples hold it, or in its first bytes.
    pub fn of(config: &Config, sample: &[u8]) -> Self {
        let mut found = Self::default();
        let Config::Video(video) = config else { return found };
        // What an SEI unit has behind its header; nothing of other units, and no more units from the first slice on.
        let sei: fn(&[u8]) -> Option<Option<&[u8]>> = match video.codec {
            VideoCodec::H264(_) => |unit| match unit.first().map(|b| b & 0x1f) {
                Some(6) => Some(unit.get(1..)),
                Some(1..=5) | None => None,
                Some(_) => Some(None),
            },
            VideoCodec::Hevc(_) => |unit| match hevc::kind_of(unit) {
                hevc::kind::PREFIX_SEI => Some(unit.get(2..)),
                // H.265 table 7-1: all that are part of the picture.
                0..=31 => None,
                _ => Some(None),
            },
            VideoCodec::Av1(_) | VideoCodec::Vpx(_) => return found,
        };
        for messages in split_units(sample).map_while(sei).flatten() {
            let rbsp = unescape(messages, SEI_BYTES_MAX);
            // user_data_registered_itu_t_t35.
            for (_, payload) in sei_messages(&rbsp).filter(|(kind, _)| *kind == 4) {
                found = found.with(payload);
            }
        }
        found
    }

    /// With what a message registered by ATSC holds: its cc_data.
    fn with(mut self, message: &[u8]) -> Self {
        // United States, ATSC, ATSC_identifier, user_data_type_code of captions.
        let Some(rest) = message.strip_prefix(b"\xb5\x00\x31GA94\x03") else { return self };
        let mut reader = Reader::new(rest);
        let (Some(flags), Some(_)) = (reader.u8(), reader.u8()) else { return self };
        // process_cc_data_flag
        if flags & 0x40 == 0 {
            return self;
        }
        for _ in 0..flags & 0x1f {
            let Some([head, one, two]) = reader.array() else { break };
            let text = (one & 0x7f, two & 0x7f) != (0, 0);
            // cc_valid; pairs of zeros fill the line of who has nothing to say.
            match head & 0b111 {
                0b100 => self.field1 |= text,
                0b101 => self.field2 |= text,
                0b110 | 0b111 => self.dtvcc |= (one, two) != (0, 0),
                _ => {}
            }
        }
        self
    }

    /// What has come of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            field1: self.field1 || other.field1,
            field2: self.field2 || other.field2,
            dtvcc: self.dtvcc || other.dtvcc,
        }
    }

    /// Scheme and value as DASH has them; their language is not known.
    pub fn descriptors(self) -> Vec<(&'static str, String)> {
        let lines = [(self.field1, "CC1=und"), (self.field2, "CC3=und")];
        let lines: Vec<&str> = lines.iter().filter(|(is, _)| *is).map(|(_, line)| *line).collect();
        let mut out = Vec::new();
        if !lines.is_empty() {
            out.push((CEA_608, lines.join(";")));
        }
        if self.dtvcc {
            out.push((CEA_708, "1=lang:und".to_owned()));
        }
        out
    }
}

/// The INSTREAM-ID that HLS has for each line of a descriptor (RFC 8216bis §4.4.6.1). CEA-708 is named only where there is
/// no CEA-608: encoders send the same words in both, and players count CC1 and SERVICE1 as one.
pub fn instream_ids<'a>(descriptors: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let (mut lines, mut services) = (Vec::new(), Vec::new());
    for (scheme, value) in descriptors {
        let names = value.split(';').map(|line| line.split('=').next().unwrap_or_default());
        match scheme {
            CEA_608 => lines.extend(
                names.filter(|n| matches!(*n, "CC1" | "CC2" | "CC3" | "CC4")).map(str::to_owned),
            ),
            CEA_708 => services.extend(
                names
                    .filter_map(|n| n.parse::<u8>().ok())
                    .filter(|n| (1..=63).contains(n))
                    .map(|n| format!("SERVICE{n}")),
            ),
            _ => {}
        }
    }
    if lines.is_empty() { services } else { lines }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::h264;
    use std::sync::Arc;

    /// 1280x720 High.
    const SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03,
        0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
    ];
    const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

    fn avc() -> Config {
        let record = h264::DecoderConfiguration::new(vec![SPS.into()], vec![PPS.into()]).unwrap();
        Config::Video(Arc::new(record).config())
    }

    fn hvc() -> Config {
        Config::Video(Arc::new(hevc::a_record()).config())
    }

    /// An SEI unit with this header and cc_data, behind another message.
    fn sei(header: &[u8], triples: &[[u8; 3]]) -> Vec<u8> {
        let mut cc = b"\xb5\x00\x31GA94\x03".to_vec();
        cc.extend([0xc0 | u8::try_from(triples.len()).unwrap(), 0xff]);
        cc.extend(triples.concat());
        cc.push(0xff);
        let mut unit = header.to_vec();
        unit.extend([1, 2, 7, 7, 4, u8::try_from(cc.len()).unwrap()]);
        for byte in cc.into_iter().chain([0x80]) {
            if unit.ends_with(&[0, 0]) && byte <= 3 {
                unit.push(3);
            }
            unit.push(byte);
        }
        unit
    }

    fn sample(units: &[&[u8]]) -> bytes::Bytes {
        h264::nal::join(&units.iter().map(|u| h264::NalUnit(u)).collect::<Vec<_>>())
    }

    const WORDS: [u8; 3] = [0xfc, 0x94, 0x2c];

    #[test]
    fn captions_are_found_before_the_picture() {
        let nothing = Embedded::default();
        let cc1 = Embedded { field1: true, ..nothing };
        let table: &[(&[[u8; 3]], Embedded)] = &[
            (&[], nothing),
            (&[WORDS], cc1),
            (&[[0xfc, 0x80, 0x80]], nothing), // filled with zeros, with parity
            (&[[0xf8, 0x94, 0x2c]], nothing), // not valid
            (&[[0xfc, 0x80, 0x80], [0xfd, 0x15, 0x2c]], Embedded { field2: true, ..nothing }),
            (&[[0xff, 0, 0]], nothing),
            (&[[0xff, 0x02, 0x21]], Embedded { dtvcc: true, ..nothing }),
            (&[[0xfe, 0, 0], [0xff, 0x02, 0x21], WORDS], Embedded { dtvcc: true, ..cc1 }),
        ];
        for (triples, expect) in table {
            let unit = sei(&[6], triples);
            let found = Embedded::of(&avc(), &sample(&[&[9, 0xf0], &unit, &[0x65, 0x88]]));
            assert_eq!(found, *expect, "H.264 {triples:02x?}");
            let late = Embedded::of(&avc(), &sample(&[&[0x65, 0x88], &unit]));
            assert_eq!(late, nothing, "behind the picture");
            let unit = sei(&[39 << 1, 1], triples);
            let found = Embedded::of(&hvc(), &sample(&[&[35 << 1, 1, 0x50], &unit, &[2, 1, 9]]));
            assert_eq!(found, *expect, "HEVC {triples:02x?}");
        }
        let whole = sample(&[&sei(&[6], &[WORDS])]);
        for len in 0..whole.len() - 4 {
            assert_eq!(Embedded::of(&avc(), &whole[..len]), nothing, "cut at {len}");
        }
        let mut other = sei(&[6], &[WORDS]);
        other.iter_mut().filter(|b| **b == b'G').for_each(|b| *b = b'H');
        assert_eq!(Embedded::of(&avc(), &sample(&[&other])), nothing, "of somebody else");
    }

    #[test]
    fn lists_name_what_has_come() {
        let has = |field1, field2, dtvcc| Embedded { field1, field2, dtvcc };
        for (found, ids) in [
            (has(false, false, false), &[][..]),
            (has(true, false, false), &["CC1"]),
            (has(true, true, true), &["CC1", "CC3"]),
            (has(false, true, false), &["CC3"]),
            (has(false, false, true), &["SERVICE1"]),
        ] {
            let descriptors = found.descriptors();
            let pairs = descriptors.iter().map(|(scheme, value)| (*scheme, &**value));
            assert_eq!(instream_ids(pairs), ids, "{found:?}");
        }
        let lies = [(CEA_608, "CC9;\"\n=x;CC2"), (CEA_708, "0;64;x;63=lang:eng"), ("x", "CC1")];
        assert_eq!(instream_ids(lies.into_iter()), ["CC2"]);
        assert_eq!(instream_ids(lies[1..].iter().copied()), ["SERVICE63"]);
    }
}
