//! The tracks of one connection: which codec each has, and which of them go on air.

use std::collections::BTreeMap;

use media::codec::{AudioStream, Config, Ratio, VideoConfig, VideoStream};
use media::flv::{Audio, AudioFormat, Video, VideoFormat};
use media::timeline::SourceFrame;
use media::{Arrival, Publication, Slot};

use crate::limits::{ASPECT_OFF_PERCENT_MAX, AUDIO_TRACKS_MAX, VIDEO_TRACKS_MAX};
use crate::publish::Fault;

/// Where a body came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    /// Its track: E-RTMP v2 videoTrackId, audioTrackId.
    pub(crate) id: u8,
    /// The message's timestamp.
    pub(crate) timestamp: u32,
    /// What its time is behind that: E-RTMP v2 TimestampOffsetNano.
    pub(crate) offset_ns: u32,
    /// When it came in.
    pub(crate) arrival: Arrival,
}

/// All tracks that an encoder has sent anything of.
#[derive(Default)]
pub(crate) struct Tracks {
    video: BTreeMap<u8, VideoTrack>,
    audio: BTreeMap<u8, AudioStream>,
    declared_rate: Option<Ratio>,
    /// Tracks that were named as not published.
    left_out: BTreeMap<Slot, Why>,
}

struct VideoTrack {
    stream: VideoStream,
    /// Width and height as shown.
    shown: Option<(u32, u32)>,
}

/// Why a track is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error(
        "its picture has another shape than the first video track; only alternates of one picture go on air"
    )]
    Aspect,
    #[error("there are too many tracks")]
    TooMany,
}

impl Tracks {
    /// Takes what a message holds of one video track.
    pub(crate) fn video(
        &mut self,
        publication: &mut Publication,
        message: Message,
        body: Video,
    ) -> Result<(), Fault> {
        let (format, record, frame) = match body {
            Video::Header(format, record) => (format, Some(record), None),
            Video::Frame { format, composition_ms, data, .. } => {
                (format, None, Some((composition_ms, data)))
            }
            // The sequence header in the bitstream says what a descriptor would.
            Video::EndOfSequence(_)
            | Video::Command
            | Video::Metadata(_)
            | Video::Descriptor(..) => return Ok(()),
        };
        let slot = Slot::Video(message.id);
        let Some(track) = self.video_track(message.id, format) else {
            self.leave_out(slot, Why::TooMany);
            return Ok(());
        };
        if let Some(record) = record {
            return match track.stream.header(&record)? {
                Some(config) => self.configure(publication, message, config),
                None => Ok(()),
            };
        }
        let Some((composition, data)) = frame else { return Ok(()) };
        let unit = track.stream.access_unit(data)?;
        if let Some(config) = unit.changed {
            self.configure(publication, message, config)?;
        }
        if !unit.has_picture || self.left_out.contains_key(&slot) {
            return Ok(());
        }
        let timestamp = message.timestamp.into();
        let frame = SourceFrame {
            timestamp,
            offset_ns: message.offset_ns,
            composition,
            sync: unit.sync,
            samples: 0,
        };
        let payload = publication.budget().payload(unit.data);
        Ok(publication.frame(slot, frame, payload, message.arrival)?)
    }

    /// Takes what a message holds of one audio track.
    pub(crate) fn audio(
        &mut self,
        publication: &mut Publication,
        message: Message,
        body: Audio,
    ) -> Result<(), Fault> {
        let (format, record, data) = match body {
            Audio::Header(format, record) => (format, Some(record), None),
            Audio::Frame(format, data) => (format, None, Some(data)),
            Audio::EndOfSequence(_) | Audio::Channels(..) => return Ok(()),
        };
        let slot = Slot::Audio(message.id);
        let Some(stream) = self.audio_stream(message.id, format) else {
            self.leave_out(slot, Why::TooMany);
            return Ok(());
        };
        if let Some(record) = record {
            return match stream.header(&record)? {
                Some(config) => {
                    Ok(publication.configure(slot, Config::Audio(config), message.arrival)?)
                }
                None => Ok(()),
            };
        }
        let Some(data) = data.filter(|data| !data.is_empty()) else { return Ok(()) };
        let unit = stream.frame(&data)?;
        if let Some(config) = unit.changed {
            publication.configure(slot, Config::Audio(config), message.arrival)?;
        }
        let timestamp = message.timestamp.into();
        let frame = SourceFrame {
            timestamp,
            offset_ns: message.offset_ns,
            composition: 0,
            sync: true,
            samples: unit.samples,
        };
        let payload = publication.budget().payload(data);
        Ok(publication.frame(slot, frame, payload, message.arrival)?)
    }

    /// What `onMetaData` says of the main picture.
    pub(crate) fn declare_frame_rate(&mut self, publication: &mut Publication, rate: Option<f64>) {
        self.declared_rate = rate.and_then(Ratio::from_frame_rate);
        if let Some(rate) = self.declared_rate {
            publication.declare_frame_rate(Slot::Video(0), rate);
        }
    }

    /// A track's stream; a change of codec begins a new one. `None`: one track too many.
    fn video_track(&mut self, id: u8, format: VideoFormat) -> Option<&mut VideoTrack> {
        if !self.video.contains_key(&id) && self.video.len() >= VIDEO_TRACKS_MAX {
            return None;
        }
        let new = || VideoTrack { stream: VideoStream::new(format), shown: None };
        let track = self.video.entry(id).or_insert_with(new);
        if track.stream.format() != format {
            *track = new();
        }
        Some(track)
    }

    fn audio_stream(&mut self, id: u8, format: AudioFormat) -> Option<&mut AudioStream> {
        if !self.audio.contains_key(&id) && self.audio.len() >= AUDIO_TRACKS_MAX {
            return None;
        }
        let stream = self.audio.entry(id).or_insert_with(|| AudioStream::new(format));
        if stream.format() != format {
            *stream = AudioStream::new(format);
        }
        Some(stream)
    }

    /// DESIGN §4: several video tracks are alternates of one picture unless their aspect differs.
    fn configure(
        &mut self,
        publication: &mut Publication,
        message: Message,
        config: VideoConfig,
    ) -> Result<(), Fault> {
        let slot = Slot::Video(message.id);
        let shown = (config.display_width(), config.height);
        let main = self.video.iter().find_map(|(id, t)| Some((*id, t.shown?)));
        if let Some(track) = self.video.get_mut(&message.id) {
            track.shown = Some(shown);
        }
        if let Some((id, main)) = main
            && id != message.id
            && !same_shape(main, shown)
        {
            self.leave_out(slot, Why::Aspect);
            return Ok(());
        }
        self.left_out.remove(&slot);
        publication.configure(slot, Config::Video(config), message.arrival)?;
        if message.id == 0
            && let Some(rate) = self.declared_rate
        {
            publication.declare_frame_rate(slot, rate);
        }
        Ok(())
    }

    fn leave_out(&mut self, slot: Slot, why: Why) {
        if self.left_out.insert(slot, why) != Some(why) {
            let name = slot.name();
            tracing::warn!(track = name.as_str(), "a track is not published: {why}");
        }
    }
}

fn same_shape(a: (u32, u32), b: (u32, u32)) -> bool {
    let (x, y) = (u64::from(a.0) * u64::from(b.1), u64::from(b.0) * u64::from(a.1));
    x.abs_diff(y) * 100 <= x.max(y) * ASPECT_OFF_PERCENT_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_is_of_one_shape() {
        for (a, b, same) in [
            ((1920, 1080), (1280, 720), true),
            ((1920, 1080), (854, 480), true), // rounded to whole pixels
            ((640, 360), (426, 240), true),
            ((1920, 1080), (640, 480), false),
            ((1920, 1080), (1080, 1920), false),
            ((1920, 1080), (1920, 800), false),
        ] {
            assert_eq!(same_shape(a, b), same, "{a:?} {b:?}");
            assert_eq!(same_shape(b, a), same, "{b:?} {a:?}");
        }
    }
}
