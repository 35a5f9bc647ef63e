//! FLV, from a file or a pipe.

use std::io::Read;

use bytes::Bytes;
use media::flv::{self, Audio, TagKind, Video};

use super::{Codec, Frame, Item, Sink, SourceError, Stop, Track};
use crate::limits::READ_BYTES;

/// Reads to the end. Times begin at `zero_us`; answers where the next round would begin.
pub(super) fn read(
    name: &str,
    from: &mut impl Read,
    zero_us: u64,
    sink: &mut Sink,
) -> Result<u64, Stop> {
    let broken = |problem: String| SourceError::Broken { name: name.to_owned(), problem };
    let mut reader = flv::Reader::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut clock = Clock { zero_us, last: None, at_us: zero_us };
    let mut round = Round::default();
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => return Ok(zero_us + round.length_us()),
            Ok(n) => n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(SourceError::Read { name: name.to_owned(), error }.into()),
        };
        reader.push(buffer.get(..n).unwrap_or_default());
        while let Some(tag) = reader.next_tag().map_err(|e| broken(e.to_string()))? {
            let items = match tag.kind {
                TagKind::Video => video(&tag.body, clock.at(tag.timestamp)),
                TagKind::Audio => audio(&tag.body, clock.at(tag.timestamp)),
                TagKind::Script => Ok(vec![Item::Script(tag.body)]),
                TagKind::Other(_) => continue,
            };
            match items {
                Ok(items) => {
                    for item in items {
                        round.see(&item);
                        sink.give(item)?;
                    }
                }
                // Some encoders send empty messages as a heartbeat.
                Err(flv::Error::Short(..)) => {}
                Err(error) => return Err(broken(error.to_string()).into()),
            }
        }
    }
}

/// 32 bits of milliseconds to a clock that does not wrap.
struct Clock {
    zero_us: u64,
    last: Option<u32>,
    at_us: u64,
}

/// How long a round is, for who plays it again: each track goes on behind its own end. FLV does not say how long the last
/// frame is: as long as the one before.
#[derive(Default)]
struct Round(Vec<Spanned>);

struct Spanned {
    video: bool,
    id: u8,
    first_us: u64,
    last_us: u64,
    step_us: u64,
}

impl Round {
    fn see(&mut self, item: &Item) {
        let Item::Frame(frame) = item else { return };
        let (video, id) = (matches!(frame.codec, Codec::Video(_)), frame.id);
        match self.0.iter_mut().find(|track| (track.video, track.id) == (video, id)) {
            Some(track) => {
                track.step_us = frame.at_us.saturating_sub(track.last_us);
                track.last_us = frame.at_us;
            }
            None => {
                let (first_us, last_us) = (frame.at_us, frame.at_us);
                self.0.push(Spanned { video, id, first_us, last_us, step_us: 0 });
            }
        }
    }

    fn length_us(&self) -> u64 {
        let length = |track: &Spanned| track.last_us + track.step_us - track.first_us;
        self.0.iter().map(length).max().unwrap_or(0)
    }
}

impl Clock {
    fn at(&mut self, timestamp: u32) -> u64 {
        let Some(last) = self.last.replace(timestamp) else { return self.zero_us };
        // Tags of two tracks may be a little out of order.
        let step = i64::from(timestamp.wrapping_sub(last) as i32) * 1_000;
        self.at_us = self.at_us.saturating_add_signed(step).max(self.zero_us);
        self.at_us
    }
}

fn video(body: &Bytes, at_us: u64) -> Result<Vec<Item>, flv::Error> {
    let message = flv::video(body)?;
    let at_us = at_us + u64::from(message.offset_ns / 1_000);
    let items = message.tracks.into_iter().filter_map(|(id, body)| match body {
        Video::Header(format, record) => Some(header(Codec::Video(format), id, record)),
        Video::Frame { format, flagged_key, composition_ms, data } => Some(Item::Frame(Frame {
            codec: Codec::Video(format),
            id,
            at_us,
            composition_us: i64::from(composition_ms) * 1_000,
            key: flagged_key,
            data,
        })),
        _ => None,
    });
    Ok(items.collect())
}

fn audio(body: &Bytes, at_us: u64) -> Result<Vec<Item>, flv::Error> {
    let message = flv::audio(body)?;
    let at_us = at_us + u64::from(message.offset_ns / 1_000);
    let items = message.tracks.into_iter().filter_map(|(id, body)| match body {
        Audio::Header(format, record) => Some(header(Codec::Audio(format), id, record)),
        Audio::Frame(format, data) => {
            let codec = Codec::Audio(format);
            Some(Item::Frame(Frame { codec, id, at_us, composition_us: 0, key: true, data }))
        }
        _ => None,
    });
    Ok(items.collect())
}

fn header(codec: Codec, id: u8, record: Bytes) -> Item {
    Item::Track(Track { codec, id, record, size: None, frame_rate: None, language: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_does_not_wrap_and_forgives_a_little_disorder() {
        let mut clock = Clock { zero_us: 7, last: None, at_us: 7 };
        let times = [u32::MAX - 10, u32::MAX, 9, 5, 29].map(|t| clock.at(t));
        assert_eq!(times, [7, 10_007, 20_007, 16_007, 40_007]);
    }

    #[test]
    fn a_round_is_as_long_as_its_longest_track() {
        let frame = |codec: Codec, at_us: u64| {
            Item::Frame(Frame {
                codec,
                id: 0,
                at_us,
                composition_us: 0,
                key: true,
                data: Bytes::new(),
            })
        };
        let (video, audio) =
            (Codec::Video(flv::VideoFormat::H264), Codec::Audio(flv::AudioFormat::Aac));
        let mut round = Round::default();
        for item in [(video, 0), (audio, 70), (video, 40), (audio, 91), (video, 80), (audio, 112)] {
            round.see(&frame(item.0, item.1));
        }
        assert_eq!(round.length_us(), 120);
    }
}
