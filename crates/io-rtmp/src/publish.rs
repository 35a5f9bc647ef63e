//! From RTMP messages to frames.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use media::codec::{Config, Ratio, aac, h264};
use media::flv;
use media::timeline::SourceFrame;
use media::{Arrival, IngestError, Publication, Slot};
use rtmp::amf0::Value;
use rtmp::{Kind, Media};

use crate::limits::UNREADABLE_MAX;

/// Why what an encoder sends can't go on air, in words for its user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// A codec that is not carried.
    #[error("{0}: send H.264 video and AAC audio")]
    Codec(String),
    /// Too much of it can't be read.
    #[error("the media can't be read: {0}")]
    Unreadable(String),
    /// It can't be published.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

const VIDEO: Slot = Slot::Video(0);
const AUDIO: Slot = Slot::Audio(0);

/// An encoder on air.
pub(crate) struct Live {
    publication: Publication,
    video: h264::Stream,
    audio: Option<Config>,
    declared_rate: Option<Ratio>,
    unreadable: u64,
}

impl Live {
    pub(crate) fn new(publication: Publication) -> Self {
        let video = h264::Stream::new();
        Self { publication, video, audio: None, declared_rate: None, unreadable: 0 }
    }

    pub(crate) fn publication(&self) -> &Publication {
        &self.publication
    }

    pub(crate) fn into_publication(self) -> Publication {
        self.publication
    }

    /// Takes one message.
    pub(crate) fn media(&mut self, media: &Media, now: Instant) -> Result<(), Unusable> {
        let arrival = Arrival { at: now, wall_clock_ms: wall_clock_ms() };
        match media.kind {
            Kind::Video => self.video(media, arrival),
            Kind::Audio => self.audio(media, arrival),
            Kind::Data => {
                self.data(&media.payload);
                Ok(())
            }
        }
    }

    fn video(&mut self, media: &Media, arrival: Arrival) -> Result<(), Unusable> {
        let body = match flv::video(&media.payload) {
            Ok(body) => body,
            Err(error) => return self.unreadable(&error),
        };
        match body {
            flv::Video::Header(_, record) => match self.video.header(&record) {
                Ok(Some(config)) => self.configure_video(config, arrival),
                Ok(None) => Ok(()),
                Err(error) => self.unreadable(&error),
            },
            flv::Video::Frame { composition_ms, data, .. } => {
                let unit = match self.video.access_unit(data) {
                    Ok(unit) => unit,
                    // Parameter sets may still come; until then there is nothing to show.
                    Err(media::codec::Error::NoConfiguration { .. }) => return Ok(()),
                    Err(error) => return self.unreadable(&error),
                };
                if let Some(config) = unit.changed {
                    self.configure_video(config, arrival)?;
                }
                if !unit.has_picture {
                    return Ok(());
                }
                let frame = SourceFrame {
                    timestamp: u64::from(media.timestamp),
                    composition: composition_ms,
                    sync: unit.sync.is_sync(),
                    samples: 0,
                };
                let payload = self.publication.budget().payload(unit.data);
                Ok(self.publication.frame(VIDEO, frame, payload, arrival)?)
            }
            flv::Video::EndOfSequence(_) | flv::Video::Command => Ok(()),
        }
    }

    fn configure_video(
        &mut self,
        config: media::codec::VideoConfig,
        arrival: Arrival,
    ) -> Result<(), Unusable> {
        self.publication.configure(VIDEO, Config::Video(config), arrival)?;
        if let Some(rate) = self.declared_rate {
            self.publication.declare_frame_rate(VIDEO, rate);
        }
        Ok(())
    }

    fn audio(&mut self, media: &Media, arrival: Arrival) -> Result<(), Unusable> {
        let body = match flv::audio(&media.payload) {
            Ok(body) => body,
            Err(error) => return self.unreadable(&error),
        };
        match body {
            flv::Audio::Header(_, record) => {
                let config = match aac::AudioSpecificConfig::parse(&record) {
                    Ok(asc) => Config::Audio(asc.config()),
                    Err(error) => return self.unreadable(&error),
                };
                self.audio = Some(config.clone());
                Ok(self.publication.configure(AUDIO, config, arrival)?)
            }
            flv::Audio::Frame(_, data) => {
                let Some(Config::Audio(config)) = &self.audio else { return Ok(()) };
                let frame = SourceFrame {
                    timestamp: u64::from(media.timestamp),
                    composition: 0,
                    sync: true,
                    samples: config.samples_per_frame,
                };
                let payload = self.publication.budget().payload(data);
                Ok(self.publication.frame(AUDIO, frame, payload, arrival)?)
            }
        }
    }

    /// `onMetaData`: what the encoder says of itself.
    fn data(&mut self, payload: &[u8]) {
        let Ok(values) = rtmp::amf0::decode_all(payload) else { return };
        let rate = values.iter().find_map(|v| v.get("framerate")).and_then(Value::as_number);
        self.declared_rate = rate.and_then(Ratio::from_frame_rate);
        if let Some(rate) = self.declared_rate {
            self.publication.declare_frame_rate(VIDEO, rate);
        }
    }

    /// A codec that is not carried ends the publish at once; other faults are passed over, a while.
    fn unreadable(&mut self, error: &dyn Fault) -> Result<(), Unusable> {
        if error.unsupported() {
            return Err(Unusable::Codec(error.words()));
        }
        self.unreadable += 1;
        if self.unreadable > UNREADABLE_MAX {
            return Err(Unusable::Unreadable(error.words()));
        }
        Ok(())
    }
}

trait Fault {
    fn unsupported(&self) -> bool;
    fn words(&self) -> String;
}

impl Fault for flv::Error {
    fn unsupported(&self) -> bool {
        matches!(self, Self::Unsupported(_))
    }

    fn words(&self) -> String {
        self.to_string()
    }
}

impl Fault for media::codec::Error {
    fn unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. })
    }

    fn words(&self) -> String {
        self.to_string()
    }
}

fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
