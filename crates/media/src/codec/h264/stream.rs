//! One H.264 elementary stream: packets in, access units with 4-byte lengths out, parameter sets watched.

use std::sync::Arc;

use bytes::Bytes;

use super::nal::{self, LengthSize, NalUnit, Sync, sync_of};
use super::record::{DecoderConfiguration, set_id};
use super::sps::Sps;
use super::{CODEC, malformed, too_large};
use crate::codec::{Error, VideoConfig};
use crate::limits;

/// What came of one packet.
#[derive(Clone, Debug)]
pub struct AccessUnit {
    /// NAL units with 4-byte lengths; the caller's own bytes by reference when they already were.
    pub data: Bytes,
    /// Whether decoding can start here.
    pub sync: Sync,
    /// There is a coded picture in it; a packet of only SEI or parameter sets makes no frame.
    pub has_picture: bool,
    /// The configuration that holds from this access unit on, if it changed here.
    pub changed: Option<VideoConfig>,
}

/// Follows the configuration of one H.264 stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    record: Option<Arc<DecoderConfiguration>>,
    length: LengthSize,
    /// Parameter sets seen in band while there is no complete record yet, or that differ from it.
    pending_sps: Vec<Bytes>,
    pending_pps: Vec<Bytes>,
    ignored_parameter_sets: u64,
}

impl Stream {
    /// A stream without configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration that holds now.
    pub fn config(&self) -> Option<VideoConfig> {
        self.record.as_ref().map(DecoderConfiguration::config)
    }

    /// Parameter sets in band that could not be parsed and were left to the decoder.
    pub fn ignored_parameter_sets(&self) -> u64 {
        self.ignored_parameter_sets
    }

    /// Takes a sequence header (avcC). `Some` when it says something new; the same again is no change.
    pub fn header(&mut self, avcc: &[u8]) -> Result<Option<VideoConfig>, Error> {
        // Some encoders put Annex B parameter sets where the avcC belongs.
        let (record, length) = if nal::looks_like_annex_b(avcc) {
            (from_annex_b(avcc)?, LengthSize::Four)
        } else {
            DecoderConfiguration::parse(avcc)?
        };
        self.length = length;
        self.pending_sps.clear();
        self.pending_pps.clear();
        if self.record.as_deref() == Some(&record) {
            return Ok(None);
        }
        self.record = Some(Arc::new(record));
        Ok(self.config())
    }

    /// Takes one access unit, length-prefixed as the header said, or Annex B (some encoders mix them).
    pub fn access_unit(&mut self, packet: Bytes) -> Result<AccessUnit, Error> {
        let framed = nal::split_lengths(&packet, self.length);
        let (units, as_is) = match framed {
            Ok(units) => (units, self.length == LengthSize::Four),
            Err(error @ Error::TooLarge { .. }) => return Err(error),
            Err(_) if nal::looks_like_annex_b(&packet) => (nal::split_annex_b(&packet)?, false),
            Err(error) => return Err(error),
        };
        let has_picture = units.iter().any(|u| u.is_slice());
        let changed = self.watch(&units)?;
        if has_picture && self.record.is_none() {
            return Err(Error::NoConfiguration { codec: CODEC });
        }
        let sync = sync_of(&units);
        let data = if as_is { None } else { Some(nal::join(&units)) };
        Ok(AccessUnit { data: data.unwrap_or(packet), sync, has_picture, changed })
    }

    /// Notices parameter sets that differ from the record.
    fn watch(&mut self, units: &[NalUnit<'_>]) -> Result<Option<VideoConfig>, Error> {
        let (old_sps, old_pps) = match &self.record {
            Some(record) => (record.sps(), record.pps()),
            None => (&self.pending_sps[..], &self.pending_pps[..]),
        };
        let mut fresh = Vec::new();
        for unit in units {
            let (known, readable) = match unit.kind() {
                7 => (old_sps, Sps::parse(unit.0).is_ok()),
                8 => (old_pps, set_id(unit.0).is_some()),
                _ => continue,
            };
            if known.iter().any(|set| set == unit.0) {
                continue;
            }
            if readable {
                fresh.push(*unit);
            } else {
                self.ignored_parameter_sets += 1;
            }
        }
        if fresh.is_empty() {
            return Ok(None);
        }
        let (mut sps, mut pps) = (old_sps.to_vec(), old_pps.to_vec());
        for unit in fresh {
            replace(if unit.kind() == 7 { &mut sps } else { &mut pps }, unit.0)?;
        }
        match DecoderConfiguration::new(sps.clone(), pps.clone()) {
            Ok(record) => {
                self.pending_sps.clear();
                self.pending_pps.clear();
                self.record = Some(Arc::new(record));
                Ok(self.config())
            }
            Err(_) if self.record.is_some() => {
                self.ignored_parameter_sets += 1;
                Ok(None)
            }
            Err(_) => {
                self.pending_sps = sps;
                self.pending_pps = pps;
                Ok(None)
            }
        }
    }
}

/// A set replaces the one with its id (ISO 14496-10 §7.4.1.2.1).
fn replace(sets: &mut Vec<Bytes>, unit: &[u8]) -> Result<(), Error> {
    let id = set_id(unit);
    let new = Bytes::copy_from_slice(unit);
    match sets.iter().position(|s| set_id(s) == id) {
        Some(at) => {
            if let Some(old) = sets.get_mut(at) {
                *old = new;
            }
        }
        None if sets.len() >= limits::PARAMETER_SETS_MAX => {
            return Err(too_large("number of parameter sets", limits::PARAMETER_SETS_MAX));
        }
        None => sets.push(new),
    }
    Ok(())
}

fn from_annex_b(data: &[u8]) -> Result<DecoderConfiguration, Error> {
    let units = nal::split_annex_b(data)?;
    let of = |kind: u8| -> Vec<Bytes> {
        units.iter().filter(|u| u.kind() == kind).map(|u| Bytes::copy_from_slice(u.0)).collect()
    };
    let (sps, pps) = (of(7), of(8));
    if sps.is_empty() {
        return Err(malformed("no SPS in the configuration"));
    }
    DecoderConfiguration::new(sps, pps)
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{PPS, SPS};
    use super::*;

    const IDR: &[u8] = &[0x65, 0b1000_1000, 0x80];
    // 1280x720 High
    const OTHER_SPS: &[u8] = &[
        0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03,
        0x00, 0x10, 0x00, 0x00, 0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
    ];

    fn packet(units: &[&[u8]]) -> Bytes {
        nal::join(&units.iter().map(|u| NalUnit(u)).collect::<Vec<_>>())
    }

    #[test]
    fn the_same_header_again_is_no_change() {
        let avcc = DecoderConfiguration::new(vec![SPS.into()], vec![PPS.into()]).unwrap().to_avcc();
        let mut stream = Stream::new();
        assert!(stream.header(&avcc).unwrap().is_some());
        assert!(stream.header(&avcc).unwrap().is_none());
        let same = stream.access_unit(packet(&[SPS, PPS, IDR])).unwrap();
        assert!(same.changed.is_none() && same.sync == Sync::Idr);
    }

    #[test]
    fn size_changes_in_band() {
        let avcc = DecoderConfiguration::new(vec![SPS.into()], vec![PPS.into()]).unwrap().to_avcc();
        let mut stream = Stream::new();
        stream.header(&avcc).unwrap();
        let unit = stream.access_unit(packet(&[OTHER_SPS, PPS, IDR])).unwrap();
        let changed = unit.changed.unwrap();
        assert_eq!((changed.width, changed.height), (1280, 720));
        assert!(stream.access_unit(packet(&[OTHER_SPS, IDR])).unwrap().changed.is_none());
        assert!(stream.access_unit(packet(&[&[0x67, 1], IDR])).unwrap().changed.is_none());
        assert_eq!(stream.ignored_parameter_sets(), 1);
    }

    #[test]
    fn parameter_sets_only_in_band() {
        let mut stream = Stream::new();
        assert_eq!(
            stream.access_unit(packet(&[IDR])).unwrap_err(),
            Error::NoConfiguration { codec: "H.264" }
        );
        assert!(!stream.access_unit(packet(&[SPS])).unwrap().has_picture);
        let unit = stream.access_unit(packet(&[PPS, IDR])).unwrap();
        assert_eq!(unit.changed.unwrap().width, 1920);
    }

    #[test]
    fn annex_b_between_lengths() {
        let avcc = DecoderConfiguration::new(vec![SPS.into()], vec![PPS.into()]).unwrap().to_avcc();
        let mut stream = Stream::new();
        stream.header(&avcc).unwrap();
        let annex_b = [&[0, 0, 0, 1][..], IDR].concat();
        assert_eq!(stream.access_unit(annex_b.into()).unwrap().data, packet(&[IDR]));
        let own = packet(&[IDR]);
        assert_eq!(stream.access_unit(own.clone()).unwrap().data.as_ptr(), own.as_ptr());
        assert!(stream.access_unit(Bytes::from_static(&[0, 0, 9, 9, 1])).is_err());
    }
}
