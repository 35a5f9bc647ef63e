//! One AV1 elementary stream: temporal units in, samples out, sequence headers watched.

use std::sync::Arc;

use bytes::Bytes;

use super::obu::{self, Obu, kind};
use super::record::CodecConfiguration;
use super::sequence::SequenceHeader;
use super::{CODEC, malformed};
use crate::codec::{AccessUnit, Error, VideoConfig};
use crate::read::BitReader;

/// Follows the configuration of one AV1 stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    record: Option<Arc<CodecConfiguration>>,
}

impl Stream {
    /// A stream without configuration.
    pub fn new() -> Self {
        Self::default()
    }

    /// The configuration that holds now.
    pub fn config(&self) -> Option<VideoConfig> {
        self.record.as_ref().map(CodecConfiguration::config)
    }

    /// Takes a configuration (av1C). `Some` when it says something new. One without sequence header is no error: the
    /// bitstream will say the rest.
    pub fn header(&mut self, av1c: &[u8]) -> Result<Option<VideoConfig>, Error> {
        match CodecConfiguration::parse(av1c) {
            Ok(record) => Ok(self.take(record)),
            Err(Error::NoConfiguration { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes one temporal unit.
    pub fn access_unit(&mut self, packet: Bytes) -> Result<AccessUnit, Error> {
        let units = obu::split(&packet)?;
        let header = units.iter().find(|u| u.kind == kind::SEQUENCE_HEADER);
        let changed = match header {
            Some(header) => self.watch(header)?,
            None => None,
        };
        let frame = units.iter().find(|u| matches!(u.kind, kind::FRAME | kind::FRAME_HEADER));
        let has_picture = frame.is_some();
        let sync = match (frame, &self.record) {
            (None, _) => false,
            (Some(_), None) => return Err(Error::NoConfiguration { codec: CODEC }),
            (Some(frame), Some(record)) => is_key(frame, record.sequence())?,
        };
        // AV1-ISOBMFF §2.4: temporal delimiters should be removed, all but the last OBU must have a size.
        let as_is = units.iter().all(|u| u.sized && u.kind != kind::TEMPORAL_DELIMITER);
        let data = if as_is { packet } else { rewrite(&packet, &units) };
        Ok(AccessUnit { data, sync, has_picture, changed })
    }

    /// A sequence header in band. The same again is no change, and metadata of the configuration stays with it.
    fn watch(&mut self, header: &Obu<'_>) -> Result<Option<VideoConfig>, Error> {
        let fresh = CodecConfiguration::from_obus(&[*header])?;
        if self.record.as_ref().is_some_and(|r| r.sequence() == fresh.sequence()) {
            return Ok(None);
        }
        Ok(self.take(fresh))
    }

    fn take(&mut self, record: CodecConfiguration) -> Option<VideoConfig> {
        if self.record.as_deref() == Some(&record) {
            return None;
        }
        self.record = Some(Arc::new(record));
        self.config()
    }
}

/// The first frame of the unit is a key frame that is shown: AV1-ISOBMFF §2.5, read from uncompressed_header, AV1 §5.9.2.
fn is_key(frame: &Obu<'_>, sequence: &SequenceHeader) -> Result<bool, Error> {
    if sequence.reduced {
        return Ok(true);
    }
    let mut bits = BitReader::new(frame.payload);
    let mut read = || {
        let show_existing = bits.bit()?;
        let (frame_type, show) = (bits.bits(2)?, bits.bit()?);
        Some(!show_existing && frame_type == 0 && show)
    };
    // show_existing_frame of three bits is all that such a header may have.
    read().ok_or(malformed("an empty frame header"))
}

fn rewrite(packet: &Bytes, units: &[Obu<'_>]) -> Bytes {
    let mut out = Vec::with_capacity(packet.len() + 8);
    for unit in units.iter().filter(|u| u.kind != kind::TEMPORAL_DELIMITER) {
        obu::put(&mut out, unit);
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use super::super::record::tests::AV1C;
    use super::*;

    // An OBU_FRAME with its size: key frame, shown; and others.
    const KEY: &[u8] = &[0x32, 2, 0x10, 0];
    const HIDDEN_KEY: &[u8] = &[0x32, 2, 0x00, 0];
    const INTER: &[u8] = &[0x32, 2, 0x30, 0];
    const EXISTING: &[u8] = &[0x1a, 1, 0x90];
    const DELIMITER: &[u8] = &[0x12, 0];
    const METADATA: &[u8] = &[0x2a, 1, 9];

    fn header() -> &'static [u8] {
        &AV1C[4..]
    }

    #[test]
    fn sync_is_read_from_the_bitstream() {
        let table: &[(&[&[u8]], bool, bool)] = &[
            (&[header(), KEY], true, true),
            (&[KEY], true, true),
            (&[METADATA, HIDDEN_KEY, INTER], true, false),
            (&[INTER], true, false),
            (&[INTER, KEY], true, false),
            (&[EXISTING], true, false),
            (&[header(), METADATA], false, false),
        ];
        for (units, has_picture, sync) in table {
            let mut stream = Stream::new();
            assert_eq!(stream.header(AV1C).unwrap().unwrap().width, 320);
            let packet = Bytes::from(units.concat());
            let unit = stream.access_unit(packet.clone()).unwrap();
            assert_eq!((unit.has_picture, unit.sync), (*has_picture, *sync), "{units:02x?}");
            assert!(unit.changed.is_none());
            assert_eq!(unit.data.as_ptr(), packet.as_ptr(), "as it came");
        }
    }

    #[test]
    fn a_stream_without_configuration_finds_it_in_band() {
        let mut stream = Stream::new();
        assert_eq!(stream.header(&AV1C[..4]), Ok(None));
        let none = Err(Error::NoConfiguration { codec: "AV1" });
        assert_eq!(stream.access_unit(Bytes::from_static(INTER)).map(|_| ()), none);
        let unit = stream.access_unit([header(), KEY].concat().into()).unwrap();
        assert_eq!(unit.changed.unwrap().height, 180);
    }

    #[test]
    fn delimiters_go_and_sizes_come() {
        let mut stream = Stream::new();
        // The last unit has no size: bit 1 of its header is not set.
        let unsized_key = [&[0x30][..], &KEY[2..]].concat();
        let packet = [DELIMITER, header(), &unsized_key].concat();
        let unit = stream.access_unit(packet.into()).unwrap();
        assert_eq!(unit.data, [header(), KEY].concat());
        assert!(unit.sync);
    }

    #[test]
    fn lies_are_errors() {
        let mut stream = Stream::new();
        stream.header(AV1C).unwrap();
        for bytes in
            [&[0x32u8, 9, 0][..], &[0x80], &[0x32], &[0x32, 0x80], &[0x32, 0], &[0x0a, 1, 0]]
        {
            assert!(stream.access_unit(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:02x?}");
        }
    }
}
