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
    /// What it was left out with because of its shape.
    waits: Option<VideoConfig>,
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
        let new = || VideoTrack { stream: VideoStream::new(format), shown: None, waits: None };
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
        let other = main.filter(|(id, _)| *id != message.id);
        let fits = other.is_none_or(|(_, main)| same_shape(main, shown));
        if let Some(track) = self.video.get_mut(&message.id) {
            track.shown = Some(shown);
            track.waits = (!fits).then(|| config.clone());
        }
        if !fits {
            self.leave_out(slot, Why::Aspect);
            return Ok(());
        }
        self.left_out.remove(&slot);
        publication.configure(slot, Config::Video(config), message.arrival)?;
        if other.is_none() {
            self.take_in(publication, message.arrival, shown)?;
        }
        if message.id == 0
            && let Some(rate) = self.declared_rate
        {
            publication.declare_frame_rate(slot, rate);
        }
        Ok(())
    }

    /// The first picture has this shape now: alternates that have it were only announced before it.
    fn take_in(
        &mut self,
        publication: &mut Publication,
        arrival: Arrival,
        shown: (u32, u32),
    ) -> Result<(), Fault> {
        for (id, track) in &mut self.video {
            if track.shown.is_some_and(|own| same_shape(own, shown))
                && let Some(config) = track.waits.take()
            {
                self.left_out.remove(&Slot::Video(*id));
                publication.configure(Slot::Video(*id), Config::Video(config), arrival)?;
            }
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
    use std::time::Instant;

    use media::codec::VideoCodec;
    use media::codec::h264::DecoderConfiguration;
    use media::timeline::SourceClock;
    use spine::{Limits, NodeId, Origin, Path, Route, Takeover};

    use super::*;

    /// Each track says its new shape in a header of its own.
    #[test]
    fn a_ladder_that_is_turned_stays_whole_whoever_says_so_first() {
        // Of some picture; its shape is said beside it.
        let sps: &[u8] = &[
            0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00,
            0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
        ];
        let sets = (vec![sps.into()], vec![(&[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0][..]).into()]);
        let codec = VideoCodec::H264(DecoderConfiguration::new(sets.0, sets.1).unwrap().into());
        let config = |(width, height)| VideoConfig {
            codec: codec.clone(),
            width,
            height,
            sample_aspect: None,
            frame_rate: None,
            colour: None,
        };
        let (wide, tall) = ([(1920, 1080), (1280, 720)], [(1080, 1920), (720, 1280)]);
        for first in [0, 1] {
            let origin = Origin::new(Limits::default());
            let route = Route::local(NodeId(0), 1);
            let broadcast = origin.publish(&Path::root(), route, Takeover::Refuse).unwrap();
            let now = Instant::now();
            let mut publication = Publication::new(broadcast, SourceClock::RTMP, 0, now);
            let mut tracks = Tracks::default();
            let mut say = |id: u8, shape| {
                tracks.video_track(id, VideoFormat::H264).unwrap();
                let arrival = Arrival { at: now, wall_clock_ms: 0 };
                let message = Message { id, timestamp: 0, offset_ns: 0, arrival };
                tracks.configure(&mut publication, message, config(shape)).unwrap();
                tracks.left_out.len()
            };
            assert_eq!((say(0, wide[0]), say(1, wide[1])), (0, 0));
            let second = 1 - first;
            let late = say(first as u8, tall[first]);
            assert_eq!(late, first, "only the first track's shape counts");
            assert_eq!(say(second as u8, tall[second]), 0, "{first} was the first to turn");
        }
    }

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
