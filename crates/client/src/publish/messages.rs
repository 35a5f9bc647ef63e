//! From what a source holds to RTMP messages.

use bytes::{Bytes, BytesMut};
use io_rtmp::push::Message;
use media::flv;
use rtmp::Kind;
use rtmp::amf0::{self, Value};

use crate::source::{Codec, Frame, Item, Track};

/// Makes messages of items, in their order.
pub(super) struct Messages {
    /// What is said ahead of the first frame, unless the source says it itself.
    metadata: Option<Bytes>,
}

/// The FourCCs that these tracks need, for the `connect` command.
pub(super) fn four_ccs(tracks: &[&Track]) -> Vec<String> {
    let mut found = Vec::new();
    for track in tracks {
        let four = match track.codec {
            Codec::Video(format) => flv::video_four_cc(format),
            Codec::Audio(format) => flv::audio_four_cc(format),
        };
        let four = four.escape_ascii().to_string();
        if !found.contains(&four) {
            found.push(four);
        }
    }
    found
}

impl Messages {
    pub(super) fn new(tracks: &[&Track]) -> Self {
        Self { metadata: Some(metadata(tracks)) }
    }

    pub(super) fn of(&mut self, item: Item) -> Vec<Message> {
        match item {
            Item::Track(track) => header(&track).into_iter().collect(),
            Item::Script(body) => {
                // A source that is sent again says it again: once is enough.
                let first = self.metadata.take().is_some();
                let message = Message { kind: Kind::Data, timestamp: 0, payload: body };
                if first { vec![message] } else { Vec::new() }
            }
            Item::Frame(frame) => {
                let metadata = self.metadata.take();
                let data =
                    metadata.map(|payload| Message { kind: Kind::Data, timestamp: 0, payload });
                data.into_iter().chain([message(&frame)]).collect()
            }
            Item::Round => Vec::new(),
        }
    }
}

fn header(track: &Track) -> Option<Message> {
    let (kind, payload) = match track.codec {
        Codec::Video(format) => (Kind::Video, flv::video_header(format, track.id, &track.record)),
        Codec::Audio(format) => (Kind::Audio, flv::audio_header(format, track.id, &track.record)?),
    };
    Some(Message { kind, timestamp: 0, payload: payload.into() })
}

fn message(frame: &Frame) -> Message {
    // Presentation is rounded once, not as the sum of two roundings.
    let ms = |us: i64| us.saturating_add(500).div_euclid(1_000);
    let at_us = i64::try_from(frame.at_us).unwrap_or(i64::MAX);
    let (decode, present) = (ms(at_us), ms(at_us.saturating_add(frame.composition_us)));
    let (kind, head) = match frame.codec {
        Codec::Video(format) => {
            let composition = i32::try_from(present - decode).unwrap_or(0);
            (Kind::Video, flv::video_frame(format, frame.id, frame.key, composition))
        }
        Codec::Audio(format) => (Kind::Audio, flv::audio_frame(format, frame.id)),
    };
    let payload = [head.as_slice(), &frame.data].concat().into();
    // RTMP has 32 bits of milliseconds, and they wrap.
    Message { kind, timestamp: (decode & i64::from(u32::MAX)) as u32, payload }
}

/// `onMetaData` of the first tracks: servers look for sizes and rates in it.
fn metadata(tracks: &[&Track]) -> Bytes {
    let mut list = Vec::new();
    let mut number = |name: &str, value: f64| list.push((name.to_owned(), Value::Number(value)));
    let four = |four: [u8; 4]| f64::from(u32::from_be_bytes(four));
    let first = |video: bool| {
        tracks.iter().find(|t| t.id == 0 && matches!(t.codec, Codec::Video(_)) == video)
    };
    if let Some(track) = first(true)
        && let Codec::Video(format) = track.codec
    {
        if let Some((width, height)) = track.size {
            number("width", width.into());
            number("height", height.into());
        }
        if let Some(rate) = track.frame_rate {
            number("framerate", rate);
        }
        let legacy = format == flv::VideoFormat::H264;
        number("videocodecid", if legacy { 7.0 } else { four(flv::video_four_cc(format)) });
    }
    if let Some(track) = first(false)
        && let Codec::Audio(format) = track.codec
    {
        let id = match format {
            flv::AudioFormat::Aac => 10.0,
            flv::AudioFormat::Mp3 => 2.0,
            other => four(flv::audio_four_cc(other)),
        };
        number("audiocodecid", id);
    }
    list.push(("encoder".to_owned(), Value::text(concat!("Airwave ", env!("CARGO_PKG_VERSION")))));
    let mut out = BytesMut::new();
    amf0::encode_all(&[Value::text("onMetaData"), Value::EcmaArray(list)], &mut out);
    out.freeze()
}
