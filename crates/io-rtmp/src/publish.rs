//! From RTMP messages to frames.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use media::flv;
use media::{Arrival, IngestError, Publication, Slot, Unreadable};
use rtmp::amf0::Value;
use rtmp::{Kind, Media};

use crate::limits::UNREADABLE_MAX;
use crate::tracks::{Message, Tracks};

/// Why what an encoder sends can't go on air, in words for its user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    /// A codec that is not carried.
    #[error(
        "{0}: send H.264, HEVC, AV1, VP9 or VP8 video and AAC, Opus, AC-3, E-AC-3, FLAC or MP3 audio"
    )]
    Codec(String),
    /// Too much of it can't be read.
    #[error("the media can't be read: {0}")]
    Unreadable(String),
    /// It can't be published.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// What is wrong with one message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// With its body.
    #[error(transparent)]
    Body(#[from] flv::Error),
    /// With what the codec finds in it.
    #[error(transparent)]
    Codec(#[from] media::codec::Error),
    /// It can't be published.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

/// An encoder on air.
pub(crate) struct Live {
    publication: Publication,
    tracks: Tracks,
    unreadable: Unreadable,
}

impl Live {
    pub(crate) fn new(publication: Publication) -> Self {
        Self { publication, tracks: Tracks::default(), unreadable: Unreadable::default() }
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
        let taken = match media.kind {
            Kind::Video => self.video(media, arrival),
            Kind::Audio => self.audio(media, arrival),
            Kind::Data => {
                self.data(&media.payload);
                Ok(())
            }
        };
        taken.or_else(|fault| self.fault(media.kind, fault, now))
    }

    /// One message may hold several tracks; what is wrong with one does not keep the others out.
    fn video(&mut self, media: &Media, arrival: Arrival) -> Result<(), Fault> {
        let flv::Message { offset_ns, tracks } = flv::video(&media.payload)?;
        let mut taken = Ok(());
        for (id, body) in tracks {
            let message = Message { id, timestamp: media.timestamp, offset_ns, arrival };
            let one = self.tracks.video(&mut self.publication, message, body);
            taken = taken.and(one);
        }
        taken
    }

    fn audio(&mut self, media: &Media, arrival: Arrival) -> Result<(), Fault> {
        // E-RTMP v2 "Enhanced Audio": a message without body is a period of silence.
        if media.payload.is_empty() {
            return Ok(());
        }
        let flv::Message { offset_ns, tracks } = flv::audio(&media.payload)?;
        let mut taken = Ok(());
        for (id, body) in tracks {
            let message = Message { id, timestamp: media.timestamp, offset_ns, arrival };
            let one = self.tracks.audio(&mut self.publication, message, body);
            taken = taken.and(one);
        }
        taken
    }

    /// `onMetaData`: what the encoder says of itself.
    fn data(&mut self, payload: &[u8]) {
        let Ok(values) = rtmp::amf0::decode_all(payload) else { return };
        let number = |name| values.iter().find_map(|v| v.get(name)).and_then(Value::as_number);
        self.tracks.declare_frame_rate(&mut self.publication, number("framerate"));
        for (slot, name) in [(Slot::Video(0), "videodatarate"), (Slot::Audio(0), "audiodatarate")] {
            if let Some(kbps) = number(name) {
                self.publication.declare_bitrate(slot, bits(kbps));
            }
        }
    }

    /// A codec that is not carried ends the publish at once; other faults are passed over, a while.
    fn fault(&mut self, kind: Kind, fault: Fault, now: Instant) -> Result<(), Unusable> {
        use media::codec::Error;
        match fault {
            // Parameter sets may still come; until then there is nothing to show.
            Fault::Codec(Error::NoConfiguration { .. }) => {
                if kind == Kind::Video {
                    self.publication.unconfigured();
                }
                return Ok(());
            }
            Fault::Codec(Error::Unsupported { .. }) | Fault::Body(flv::Error::Unsupported(_)) => {
                return Err(Unusable::Codec(fault.to_string()));
            }
            Fault::Ingest(error) => return Err(error.into()),
            Fault::Codec(_) | Fault::Body(_) => {}
        }
        self.publication.unreadable();
        if self.unreadable.add(now) > UNREADABLE_MAX {
            return Err(Unusable::Unreadable(fault.to_string()));
        }
        Ok(())
    }
}

/// Kilobits as they are declared; what is no number of them is none. Casts of floats saturate.
fn bits(kbps: f64) -> u64 {
    (kbps * 1_000.0).round() as u64
}

fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use media::limits::UNREADABLE_WITHIN;
    use media::timeline::SourceClock;
    use spine::{Limits, NodeId, Origin, Path, Route, Takeover};

    use super::*;

    /// So many messages that can't be read, one every so often; how many were taken.
    fn taken(count: u64, every: Duration) -> u64 {
        let origin = Origin::new(Limits::default());
        let route = Route::local(NodeId(0), 1);
        let broadcast = origin.publish(&Path::root(), route, Takeover::Refuse).unwrap();
        let begun = Instant::now();
        let mut live = Live::new(Publication::new(broadcast, SourceClock::RTMP, 0, begun));
        // A sequence header without one.
        let payload = Bytes::from_static(b"\x90avc1");
        let media = Media { stream_id: 1, kind: Kind::Video, timestamp: 0, payload };
        let mut at = (0..).map(|n| begun + every * n);
        let ok = |_: &u64| live.media(&media, at.next().unwrap()).is_ok();
        (0..count).take_while(ok).count() as u64
    }

    #[test]
    fn what_can_not_be_read_ends_a_publish_by_how_often_and_not_by_how_many() {
        assert_eq!(taken(5 * UNREADABLE_MAX, Duration::from_secs(30)), 5 * UNREADABLE_MAX);
        assert_eq!(taken(5 * UNREADABLE_MAX, UNREADABLE_WITHIN / 1_000), 5 * UNREADABLE_MAX);
        assert_eq!(taken(5 * UNREADABLE_MAX, Duration::from_millis(33)), UNREADABLE_MAX);
    }
}
