//! LOC: one frame an object.

use bytes::Bytes;

use super::reorder::Reorder;
use super::{Fault, Stream, Unit, Unusable, to_us};
use crate::catalog::CatalogTrack;
use crate::codec::{AudioFormat, AudioStream, VideoFormat, VideoStream};
use crate::properties::{
    AUDIO_CONFIG, MSF_INITIALIZATION, TIMESCALE, TIMESTAMP, VIDEO_CONFIG, Value, pairs,
};

/// draft-ietf-moq-loc-04 §2.2 in its figure: a block of private properties before the bitstream. Some
/// publishers send it empty. No codec's frame begins like this: it would be a NAL unit of 160 MiB, an
/// AAC element of a kind that encoders do not make, an Opus packet of nothing.
const EMPTY_PRIVATE_PROPERTIES: &[u8] = &[0x0a, 0x00];

#[derive(Debug)]
pub(super) struct Loc {
    /// Units a second of TIMESTAMP; microseconds where the publisher does not say.
    timescale: u64,
    /// A configuration that no object has said: of the catalog or the track.
    record: Option<Bytes>,
    reorder: Option<Reorder>,
}

impl Loc {
    pub(super) fn new(
        entry: &CatalogTrack,
        init: Option<&Bytes>,
    ) -> Result<(Stream, Self), Unusable> {
        let codec = entry.codec.as_deref().unwrap_or_default();
        let stream = stream(codec).ok_or_else(|| Unusable::Codec(codec.to_owned()))?;
        let reorder = matches!(stream, Stream::Video(_)).then(Reorder::default);
        let record = init.cloned().or_else(|| made_up(entry, &stream));
        Ok((stream, Self { timescale: 1_000_000, record, reorder }))
    }

    pub(super) fn track_properties(&mut self, properties: &[u8]) -> Result<(), Fault> {
        for pair in pairs(properties) {
            match pair? {
                (TIMESCALE, Value::Number(n)) if n > 0 => self.timescale = n,
                (VIDEO_CONFIG | AUDIO_CONFIG | MSF_INITIALIZATION, Value::Bytes(record)) => {
                    self.record = Some(Bytes::copy_from_slice(record));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn object(
        &mut self,
        properties: &[u8],
        payload: &Bytes,
    ) -> Result<(Option<Bytes>, Vec<Unit>), Fault> {
        let mut time = None;
        for pair in pairs(properties) {
            match pair? {
                (TIMESTAMP, Value::Number(n)) => time = Some(n),
                (TIMESCALE, Value::Number(n)) if n > 0 => self.timescale = n,
                (VIDEO_CONFIG | AUDIO_CONFIG | MSF_INITIALIZATION, Value::Bytes(record)) => {
                    self.record = Some(Bytes::copy_from_slice(record));
                }
                _ => {}
            }
        }
        let record = self.record.take();
        let data = match payload.strip_prefix(EMPTY_PRIVATE_PROPERTIES) {
            Some(_) => payload.slice(EMPTY_PRIVATE_PROPERTIES.len()..),
            None => payload.clone(),
        };
        if data.is_empty() {
            return Ok((record, Vec::new()));
        }
        let time = time.ok_or(Fault::NoTime)?;
        let present = to_us(i64::try_from(time).unwrap_or(i64::MAX), self.timescale);
        let decode = match &mut self.reorder {
            Some(reorder) => reorder.decode_time(present),
            None => present,
        };
        let composition = i32::try_from(present.saturating_sub(decode)).unwrap_or(0);
        Ok((record, vec![Unit { decode, composition, data }]))
    }
}

/// By the codec string of the catalog, RFC 6381 or WebCodecs.
pub(super) fn stream(codec: &str) -> Option<Stream> {
    let video = |format| Some(Stream::Video(VideoStream::new(format)));
    let audio = |format| Some(Stream::Audio(AudioStream::new(format)));
    let (name, rest) = codec.split_once('.').unwrap_or((codec, ""));
    match (name.to_ascii_lowercase().as_str(), rest.to_ascii_lowercase().as_str()) {
        ("avc1" | "avc3", _) => video(VideoFormat::H264),
        ("hvc1" | "hev1", _) => video(VideoFormat::Hevc),
        ("av01", _) => video(VideoFormat::Av1),
        ("vp09" | "vp9", _) => video(VideoFormat::Vp9),
        ("vp08" | "vp8", _) => video(VideoFormat::Vp8),
        ("mp3", _) | ("mp4a", "69" | "6b") => audio(AudioFormat::Mp3),
        ("mp4a", _) => audio(AudioFormat::Aac),
        ("opus", _) => audio(AudioFormat::Opus),
        ("flac", _) => audio(AudioFormat::Flac),
        ("ac-3", _) => audio(AudioFormat::Ac3),
        ("ec-3", _) => audio(AudioFormat::Eac3),
        _ => None,
    }
}

/// WebCodecs gives Opus no description; what a decoder must know stands in the catalog.
fn made_up(entry: &CatalogTrack, stream: &Stream) -> Option<Bytes> {
    let Stream::Audio(stream) = stream else { return None };
    if stream.format() != AudioFormat::Opus {
        return None;
    }
    let channels: u8 = entry.channel_config.as_deref().and_then(|c| c.parse().ok())?;
    // RFC 7845 §5.1: version, channels, pre-skip, rate of the source, gain, mapping family 0.
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels);
    head.extend_from_slice(&0_u16.to_le_bytes());
    head.extend_from_slice(&entry.samplerate.unwrap_or(48_000).to_le_bytes());
    head.extend_from_slice(&[0, 0, 0]);
    (1..=2).contains(&channels).then(|| head.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::PairsWriter;

    fn entry(codec: &str) -> CatalogTrack {
        CatalogTrack {
            codec: Some(codec.to_owned()),
            packaging: "loc".to_owned(),
            channel_config: Some("2".to_owned()),
            samplerate: Some(48_000),
            ..CatalogTrack::default()
        }
    }

    #[test]
    fn codec_strings() {
        for (codec, carried) in [
            ("avc1.64001f", true),
            ("avc3.64001f", true),
            ("hvc1.1.6.L93.B0", true),
            ("av01.0.04M.08", true),
            ("vp09.00.10.08", true),
            ("vp8", true),
            ("mp4a.40.2", true),
            ("opus", true),
            ("Opus", true),
            ("fLaC", true),
            ("pcm-s16", false),
            ("", false),
        ] {
            assert_eq!(Loc::new(&entry(codec), None).is_ok(), carried, "{codec}");
        }
    }

    #[test]
    fn times_and_configurations() {
        let (_, mut loc) = Loc::new(&entry("mp4a.40.2"), None).unwrap();
        loc.track_properties(&PairsWriter::default().number(TIMESCALE, 48_000).finish()).unwrap();
        let first =
            PairsWriter::default().bytes(AUDIO_CONFIG, &[0x11, 0x90]).number(TIMESTAMP, 480);
        let (record, units) = loc.object(&first.finish(), &Bytes::from_static(b"\x21x")).unwrap();
        assert_eq!(record.as_deref(), Some(&[0x11, 0x90][..]));
        assert_eq!((units[0].decode, units[0].composition), (10_000, 0));
        let next = PairsWriter::default().number(TIMESTAMP, 1_504).finish();
        let (record, units) = loc.object(&next, &Bytes::from_static(b"\x0a\x00\x21y")).unwrap();
        assert_eq!((record, &units[0].data[..]), (None, &b"\x21y"[..]));
        assert_eq!(units[0].decode, 31_333);
        let nothing = loc.object(&[], &Bytes::from_static(b"\x21z"));
        assert_eq!(nothing.err(), Some(Fault::NoTime));
        assert!(loc.object(&[0x11, 0x3f], &Bytes::new()).is_err(), "cut properties");
    }

    #[test]
    fn opus_needs_no_configuration_of_its_own() {
        let (stream, mut loc) = Loc::new(&entry("opus"), None).unwrap();
        let properties = PairsWriter::default().number(TIMESTAMP, 0).finish();
        let (record, _) = loc.object(&properties, &Bytes::from_static(&[0xfc, 1])).unwrap();
        let Stream::Audio(mut stream) = stream else { panic!("sound") };
        let config = stream.header(&record.unwrap()).unwrap().unwrap();
        assert_eq!((config.channels, config.output_sample_rate), (2, 48_000));
    }
}
