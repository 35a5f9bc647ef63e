//! Sample entries to decoder configurations: ISO 14496-12 §12.1.3, §12.2.3, and what each codec puts into them.

use std::sync::Arc;

use super::demux::{Error, Found, Walk};
use crate::codec::aac::AudioSpecificConfig;
use crate::codec::h264::LengthSize;
use crate::codec::{Config, ac3, av1, flac, h264, hevc, mp3, opus, vpx};
use crate::read::Reader;

/// The configuration of a sample entry and how NAL units of the track are framed. `None`: no codec that is carried.
pub(super) fn config(
    walk: &mut Walk,
    entry: &Found<'_>,
) -> Result<Option<(Config, LengthSize)>, Error> {
    let four = LengthSize::Four;
    Ok(Some(match &entry.kind {
        b"avc1" | b"avc3" => {
            let (record, length) = h264::DecoderConfiguration::parse(video(walk, entry, b"avcC")?)?;
            (Config::Video(Arc::new(record).config()), length)
        }
        b"hvc1" | b"hev1" => {
            let (record, length) = hevc::DecoderConfiguration::parse(video(walk, entry, b"hvcC")?)?;
            (Config::Video(Arc::new(record).config()), length)
        }
        b"av01" => {
            let record = av1::CodecConfiguration::parse(video(walk, entry, b"av1C")?)?;
            (Config::Video(Arc::new(record).config()), four)
        }
        b"vp09" | b"vp08" => {
            let vp9 = &entry.kind == b"vp09";
            let record = vpx::CodecConfiguration::parse(vp9, video(walk, entry, b"vpcC")?)?;
            let (width, height) = size(entry).ok_or(Error::Malformed(EARLY_VIDEO))?;
            (Config::Video(record.config(width, height)), four)
        }
        b"mp4a" => match mpeg4_audio(walk, entry)? {
            Some(config) => (config, four),
            None => return Ok(None),
        },
        b"Opus" => {
            let head = opus::Head::from_dops(audio(walk, entry, b"dOps")?)?;
            (Config::Audio(head.config()), four)
        }
        b"fLaC" => {
            // FLAC-in-ISOBMFF §3.3.2: version and flags, then metadata blocks; STREAMINFO is the first one.
            let blocks = audio(walk, entry, b"dfLa")?;
            let first = blocks.get(4..4 + 38).ok_or(Error::Malformed("dfLa ends early"))?;
            (Config::Audio(flac::StreamInfo::parse(first)?.config()), four)
        }
        b"ac-3" => {
            let record = ac3::Configuration::parse(false, audio(walk, entry, b"dac3")?)?;
            (Config::Audio(record.config()), four)
        }
        b"ec-3" => {
            let record = ac3::Configuration::parse(true, audio(walk, entry, b"dec3")?)?;
            (Config::Audio(record.config()), four)
        }
        b".mp3" => (mp3_of(entry)?, four),
        _ => return Ok(None),
    }))
}

const EARLY_VIDEO: &str = "a video sample entry ends early";
const EARLY_AUDIO: &str = "an audio sample entry ends early";

/// A codec's box in a VisualSampleEntry, which has 78 bytes before its boxes.
fn video<'a>(walk: &mut Walk, entry: &Found<'a>, kind: &[u8; 4]) -> Result<&'a [u8], Error> {
    let boxes = entry.data.get(78..).ok_or(Error::Malformed(EARLY_VIDEO))?;
    let found = walk.find(boxes, &[kind])?;
    found.map(|b| b.data).ok_or(Error::Malformed("a video sample entry without configuration"))
}

fn size(entry: &Found<'_>) -> Option<(u32, u32)> {
    let mut reader = Reader::new(entry.data.get(24..28)?);
    Some((reader.u16()?.into(), reader.u16()?.into()))
}

/// The boxes of an AudioSampleEntry, which has 28 bytes before them; QuickTime's versions 1 and 2 have more.
fn audio_boxes<'a>(entry: &Found<'a>) -> Result<&'a [u8], Error> {
    let mut version = Reader::new(entry.data.get(8..).ok_or(Error::Malformed(EARLY_AUDIO))?);
    let skip = match version.u16() {
        Some(1) => 28 + 16,
        Some(2) => 28 + 36,
        _ => 28,
    };
    entry.data.get(skip..).ok_or(Error::Malformed(EARLY_AUDIO))
}

fn audio<'a>(walk: &mut Walk, entry: &Found<'a>, kind: &[u8; 4]) -> Result<&'a [u8], Error> {
    let found = walk.find(audio_boxes(entry)?, &[kind])?;
    found.map(|b| b.data).ok_or(Error::Malformed("an audio sample entry without configuration"))
}

/// `mp4a`: AAC, or MP3 by its object type. `None`: something else, such as DTS.
fn mpeg4_audio(walk: &mut Walk, entry: &Found<'_>) -> Result<Option<Config>, Error> {
    let boxes = audio_boxes(entry)?;
    let esds = match walk.find(boxes, &[b"esds"])? {
        Some(esds) => Some(esds),
        None => walk.find(boxes, &[b"wave", b"esds"])?,
    };
    let (_, _, reader) = esds.ok_or(Error::Malformed("mp4a without esds"))?.full()?;
    let (object_type, specific) =
        elementary_stream(reader).ok_or(Error::Malformed("an esds that ends early"))?;
    match object_type {
        // ISO 14496-1 table 5: MPEG-4 audio, and AAC of MPEG-2.
        0x40 | 0x66..=0x68 => {
            let asc = specific.ok_or(Error::Malformed("esds without AudioSpecificConfig"))?;
            Ok(Some(Config::Audio(AudioSpecificConfig::parse(asc)?.config())))
        }
        0x69 | 0x6b => mp3_of(entry).map(Some),
        _ => Ok(None),
    }
}

/// What the entry says; the frames will say it again.
fn mp3_of(entry: &Found<'_>) -> Result<Config, Error> {
    let channels = entry.data.get(16..18).and_then(|b| Reader::new(b).u16());
    let rate = entry.data.get(24..28).and_then(|b| Reader::new(b).u32());
    let (Some(channels), Some(rate)) = (channels, rate) else {
        return Err(Error::Malformed(EARLY_AUDIO));
    };
    let [a, b, c, d] = (rate >> 16).to_be_bytes();
    let record = [a, b, c, d, u8::try_from(channels).unwrap_or(0)];
    Ok(Config::Audio(mp3::Configuration::parse(&record)?.config()))
}

/// ES_Descriptor > DecoderConfigDescriptor > DecoderSpecificInfo, ISO 14496-1 §7.2.6: the object type and the last one.
fn elementary_stream(mut reader: Reader<'_>) -> Option<(u8, Option<&[u8]>)> {
    let mut stream = descriptor(&mut reader, 0x03)?;
    stream.u16()?;
    let flags = stream.u8()?;
    if flags & 0x80 != 0 {
        stream.u16()?;
    }
    if flags & 0x40 != 0 {
        let url = stream.u8()?;
        stream.take(url.into())?;
    }
    if flags & 0x20 != 0 {
        stream.u16()?;
    }
    let mut decoder = descriptor(&mut stream, 0x04)?;
    let object_type = decoder.u8()?;
    decoder.take(12)?;
    Some((object_type, descriptor(&mut decoder, 0x05).map(|d| d.rest())))
}

fn descriptor<'a>(reader: &mut Reader<'a>, tag: u8) -> Option<Reader<'a>> {
    if reader.u8()? != tag {
        return None;
    }
    let mut len = 0usize;
    for _ in 0..4 {
        let byte = reader.u8()?;
        len = len << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    reader.take(len).map(Reader::new)
}
