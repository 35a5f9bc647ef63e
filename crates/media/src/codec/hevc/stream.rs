//! One HEVC elementary stream: packets in, access units with 4-byte lengths out, parameter sets watched.

use std::sync::Arc;

use bytes::Bytes;

use super::record::{DecoderConfiguration, named, set_id};
use super::{CODEC, is_random_access, is_slice, kind, kind_of};
use crate::codec::h264::LengthSize;
use crate::codec::h264::nal::{self, NalUnit};
use crate::codec::{AccessUnit, Error, VideoConfig};
use crate::limits;

/// Follows the configuration of one HEVC stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    record: Option<Arc<DecoderConfiguration>>,
    length: LengthSize,
    /// Parameter sets seen in band while there is no complete record yet.
    pending: Vec<Bytes>,
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

    /// Takes a sequence header (hvcC). `Some` when it says something new; the same again is no change.
    pub fn header(&mut self, hvcc: &[u8]) -> Result<Option<VideoConfig>, Error> {
        // Some encoders put Annex B parameter sets where the hvcC belongs.
        let (record, length) = if nal::looks_like_annex_b(hvcc) {
            let units = nal::split_annex_b(hvcc).map_err(named)?;
            let units = units.iter().map(|u| Bytes::copy_from_slice(u.0));
            (DecoderConfiguration::new(units)?, LengthSize::Four)
        } else {
            DecoderConfiguration::parse(hvcc)?
        };
        self.length = length;
        self.pending.clear();
        if self.record.as_deref() == Some(&record) {
            return Ok(None);
        }
        self.record = Some(Arc::new(record));
        Ok(self.config())
    }

    /// Takes one access unit, length-prefixed as the header said, or Annex B.
    pub fn access_unit(&mut self, packet: Bytes) -> Result<AccessUnit, Error> {
        let (units, as_is) = match nal::split_lengths(&packet, self.length) {
            Ok(units) => (units, self.length == LengthSize::Four),
            Err(error @ Error::TooLarge { .. }) => return Err(named(error)),
            Err(_) if nal::looks_like_annex_b(&packet) => {
                (nal::split_annex_b(&packet).map_err(named)?, false)
            }
            Err(error) => return Err(named(error)),
        };
        let has_picture = units.iter().any(|u| is_slice(kind_of(u.0)));
        let changed = self.watch(&units);
        if has_picture && self.record.is_none() {
            return Err(Error::NoConfiguration { codec: CODEC });
        }
        // H.265 §7.4.2.2: all slices of a picture have the same type if any is of a random access point.
        let sync = units.iter().any(|u| is_random_access(kind_of(u.0)));
        let data = if as_is { None } else { Some(nal::join(&units)) };
        Ok(AccessUnit { data: data.unwrap_or(packet), sync, has_picture, changed })
    }

    /// Notices parameter sets that differ from the record. Those that can't be read are left to the decoder.
    fn watch(&mut self, units: &[NalUnit<'_>]) -> Option<VideoConfig> {
        let mut sets: Option<Vec<Bytes>> = None;
        for unit in units {
            if !matches!(kind_of(unit.0), kind::VPS | kind::SPS | kind::PPS) {
                continue;
            }
            let known: Vec<&Bytes> = match (&sets, &self.record) {
                (Some(sets), _) => sets.iter().collect(),
                (None, Some(record)) => record.units().collect(),
                (None, None) => self.pending.iter().collect(),
            };
            let Some(id) = set_id(unit.0) else { continue };
            if known.iter().any(|set| *set == unit.0) {
                continue;
            }
            let mut fresh: Vec<Bytes> =
                known.into_iter().filter(|set| set_id(set) != Some(id)).cloned().collect();
            if fresh.len() < limits::PARAMETER_SETS_MAX * 3 {
                fresh.push(Bytes::copy_from_slice(unit.0));
            }
            sets = Some(fresh);
        }
        let sets = sets?;
        match DecoderConfiguration::new(sets.iter().cloned()) {
            Ok(record) => {
                self.pending.clear();
                self.record = Some(Arc::new(record));
                self.config()
            }
            Err(_) => {
                if self.record.is_none() {
                    self.pending = sets;
                }
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::{PPS, SPS, VPS, record, unhex};
    use super::*;

    fn packet(units: &[&[u8]]) -> Bytes {
        nal::join(&units.iter().map(|u| NalUnit(u)).collect::<Vec<_>>())
    }

    fn slice(kind: u8) -> Vec<u8> {
        vec![kind << 1, 1, 0x80, 0x80]
    }

    #[test]
    fn sync_is_read_from_the_bitstream() {
        let table: &[(&[u8], bool, bool)] = &[
            (&[1], true, false),       // trailing picture
            (&[8, 9], true, false),    // leading pictures
            (&[16], true, true),       // BLA
            (&[19, 19], true, true),   // IDR with leading pictures
            (&[20], true, true),       // IDR
            (&[39, 21], true, true),   // SEI, CRA
            (&[35, 40], false, false), // delimiter and SEI only
        ];
        for (kinds, has_picture, sync) in table {
            let mut stream = Stream::new();
            stream.header(&record().to_hvcc()).unwrap();
            let units: Vec<Vec<u8>> = kinds.iter().map(|k| slice(*k)).collect();
            let units: Vec<&[u8]> = units.iter().map(Vec::as_slice).collect();
            let unit = stream.access_unit(packet(&units)).unwrap();
            assert_eq!((unit.has_picture, unit.sync), (*has_picture, *sync), "{kinds:?}");
        }
    }

    #[test]
    fn parameter_sets_only_in_band_and_again() {
        let mut stream = Stream::new();
        let none = Err(Error::NoConfiguration { codec: "HEVC" });
        assert_eq!(stream.access_unit(packet(&[&slice(20)])).map(|_| ()), none);
        assert!(stream.access_unit(packet(&[&unhex(VPS), &unhex(SPS)])).unwrap().changed.is_none());
        let unit = stream.access_unit(packet(&[&unhex(PPS), &slice(20)])).unwrap();
        assert_eq!(unit.changed.unwrap().width, 320);
        let again = [&unhex(VPS)[..], &unhex(SPS), &unhex(PPS), &slice(20)];
        assert!(stream.access_unit(packet(&again)).unwrap().changed.is_none());
        assert!(stream.header(&record().to_hvcc()).unwrap().is_none(), "the same as in band");
    }

    #[test]
    fn annex_b_between_lengths() {
        let mut stream = Stream::new();
        stream.header(&record().to_hvcc()).unwrap();
        let annex_b = [&[0, 0, 0, 1][..], &slice(20)].concat();
        assert_eq!(stream.access_unit(annex_b.into()).unwrap().data, packet(&[&slice(20)]));
        let own = packet(&[&slice(1)]);
        assert_eq!(stream.access_unit(own.clone()).unwrap().data.as_ptr(), own.as_ptr());
        assert!(stream.access_unit(Bytes::from_static(&[0, 0, 9, 9, 1])).is_err());
    }
}
