//! Tracks that a catalog describes, as encoders publish them over MoQ, become frames.
//!
//! | document | what is read | where |
//! |---|---|---|
//! | draft-ietf-moq-loc-04 | one frame an object; TIMESTAMP, TIMESCALE, VIDEO_CONFIG, AUDIO_CONFIG | `loc` |
//! | draft-ietf-moq-cmsf-01 | `moof` and `mdat` in an object | `cmaf` |
//! | draft-ietf-moq-msf-01 | MSF_INITIALIZATION of a track or its objects | `cmaf`, `loc` |
//!
//! LOC says when a frame is shown and not when it is decoded: `reorder` finds that out.

mod cmaf;
mod loc;
mod reorder;

use bytes::Bytes;

use crate::catalog::{Catalog, CatalogTrack, InitData};
use crate::codec::{self, AudioStream, Config, VideoStream};
use crate::timeline::SourceFrame;
use crate::{Arrival, IngestError, Publication, Slot, mp4, properties};

/// Why a track of a catalog is left out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Neither LOC nor CMAF.
    #[error("packaging {0:?} is not taken: publish loc or cmaf")]
    Packaging(String),
    /// Neither pictures nor sound that are carried.
    #[error("codec {0:?} is not carried")]
    Codec(String),
    /// CMAF without `ftyp` and `moov`.
    #[error("a cmaf track needs its initialisation segment, in the catalog or as a property")]
    NoInit,
    /// CMAF whose initialisation segment can't be used.
    #[error("the initialisation segment can't be used: {0}")]
    Init(#[from] mp4::Error),
    /// CMAF with another number of tracks than one.
    #[error("the initialisation segment of a cmaf track must hold one track that is carried")]
    NotOneTrack,
    /// CMAF whose initialisation segment is one of sound for pictures, or of pictures for sound.
    #[error("the initialisation segment of a cmaf track is of something else than its codec")]
    OtherKind,
}

/// What is wrong with one object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// With its properties.
    #[error(transparent)]
    Properties(#[from] properties::Malformed),
    /// A frame without a time.
    #[error("a LOC object without TIMESTAMP")]
    NoTime,
    /// With its boxes.
    #[error(transparent)]
    Boxes(#[from] mp4::Error),
    /// With its initialisation segment.
    #[error(transparent)]
    Init(#[from] Unusable),
    /// With its bitstream.
    #[error(transparent)]
    Codec(#[from] codec::Error),
    /// It can't be published.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// One track of an encoder that publishes over MoQ.
#[derive(Debug)]
pub struct Track {
    slot: Slot,
    stream: Stream,
    packaging: Packaging,
    /// Bits a second as the catalog has them.
    bitrate: Option<u64>,
    /// What is spoken, as the catalog has it.
    language: Option<String>,
    /// A frame was taken; pictures begin with one that decoding can start with, whatever the publisher
    /// was in the middle of.
    begun: bool,
}

#[derive(Debug)]
enum Packaging {
    Loc(loc::Loc),
    Cmaf(cmaf::Cmaf),
}

/// An elementary stream.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Of pictures.
    Video(VideoStream),
    /// Of sound.
    Audio(AudioStream),
}

/// One frame as its packaging has it: microseconds, and the bitstream.
#[derive(Debug)]
struct Unit {
    /// Decode time; [`crate::timeline::SourceClock::MICROSECONDS`].
    decode: i64,
    /// Presentation minus decode time.
    composition: i32,
    data: Bytes,
}

impl Track {
    /// A track by its entry in this catalog. Pictures and sound are numbered each for themselves,
    /// in the order of the catalog.
    pub fn new(
        entry: &CatalogTrack,
        catalog: &Catalog,
        videos: u8,
        audios: u8,
    ) -> Result<Self, Unusable> {
        let init = catalog.init_of(entry);
        let comes = || catalog.init_data(entry).is_some_and(InitData::is_a_property);
        let (stream, packaging) = match entry.packaging.as_str() {
            "loc" => {
                let (stream, loc) = loc::Loc::new(entry, init.as_ref())?;
                (stream, Packaging::Loc(loc))
            }
            "cmaf" => {
                let (stream, cmaf) = match init {
                    Some(init) => cmaf::Cmaf::new(&init)?,
                    None if comes() => cmaf::Cmaf::awaited(entry)?,
                    None => return Err(Unusable::NoInit),
                };
                (stream, Packaging::Cmaf(cmaf))
            }
            other => return Err(Unusable::Packaging(other.to_owned())),
        };
        let slot = match stream {
            Stream::Video(_) => Slot::Video(videos),
            Stream::Audio(_) => Slot::Audio(audios),
        };
        let (bitrate, language) = (entry.bitrate, entry.lang.clone());
        Ok(Self { slot, stream, packaging, bitrate, language, begun: false })
    }

    /// Where it goes.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// A later edition of the catalog says so.
    pub fn described(&mut self, entry: &CatalogTrack) {
        self.bitrate = entry.bitrate;
        self.language.clone_from(&entry.lang);
    }

    /// What the publisher says of the whole track.
    pub fn properties(&mut self, properties: &[u8]) -> Result<(), Fault> {
        match &mut self.packaging {
            Packaging::Loc(loc) => loc.track_properties(properties),
            Packaging::Cmaf(cmaf) => {
                match (cmaf.renewed(properties)?, &self.stream) {
                    (None, _) => {}
                    (Some((new @ Stream::Video(_), next)), Stream::Video(_))
                    | (Some((new @ Stream::Audio(_), next)), Stream::Audio(_)) => {
                        (self.stream, *cmaf) = (new, next);
                    }
                    _ => return Err(Unusable::OtherKind.into()),
                }
                Ok(())
            }
        }
    }

    /// Takes one object. What is wrong with one does not keep the next ones out.
    pub fn object(
        &mut self,
        publication: &mut Publication,
        properties: &[u8],
        payload: &Bytes,
        arrival: Arrival,
    ) -> Result<(), Fault> {
        if matches!(self.packaging, Packaging::Cmaf(_)) {
            self.properties(properties)?;
        }
        let (record, units) = match &mut self.packaging {
            Packaging::Loc(loc) => loc.object(properties, payload)?,
            Packaging::Cmaf(cmaf) => cmaf.object(payload)?,
        };
        if let Some(record) = record {
            let config = match &mut self.stream {
                Stream::Video(stream) => stream.header(&record)?.map(Config::Video),
                Stream::Audio(stream) => stream.header(&record)?.map(Config::Audio),
            };
            if let Some(config) = config {
                publication.configure(self.slot, config, arrival)?;
            }
        }
        publication.declare_bitrate(self.slot, self.bitrate.unwrap_or(0));
        publication.declare_language(self.slot, self.language.as_deref());
        for unit in units {
            self.unit(publication, unit, arrival)?;
        }
        Ok(())
    }

    fn unit(
        &mut self,
        publication: &mut Publication,
        unit: Unit,
        arrival: Arrival,
    ) -> Result<(), Fault> {
        let (data, sync, samples, changed) = match &mut self.stream {
            Stream::Video(stream) => {
                let unit = stream.access_unit(unit.data)?;
                let changed = unit.changed.map(Config::Video);
                if !unit.has_picture && changed.is_none() {
                    return Ok(());
                }
                (unit.data, unit.sync, 0, changed)
            }
            Stream::Audio(stream) => {
                let sound = stream.frame(&unit.data)?;
                (unit.data, true, sound.samples, sound.changed.map(Config::Audio))
            }
        };
        if let Some(config) = changed {
            publication.configure(self.slot, config, arrival)?;
        }
        self.begun |= sync;
        if !self.begun {
            return Ok(());
        }
        // The clock wraps at 62 bits; before its zero is a time too.
        let timestamp = unit.decode.cast_unsigned() & ((1 << 62) - 1);
        let frame =
            SourceFrame { timestamp, offset_ns: 0, composition: unit.composition, sync, samples };
        let payload = publication.budget().payload(data);
        Ok(publication.frame(self.slot, frame, payload, arrival)?)
    }
}

/// Ticks as microseconds, rounded down.
fn to_us(ticks: i64, timescale: u64) -> i64 {
    let us = i128::from(ticks) * 1_000_000 / i128::from(timescale.max(1));
    i64::try_from(us).unwrap_or(i64::MAX)
}
