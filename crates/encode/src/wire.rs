//! What server and encoder process say to each other over two pipes.
//!
//! A message is its length (4 bytes, big-endian, without itself), a kind (1 byte) and a body. The encoder says
//! [`Hello`] once; then the server sends jobs, one after the other:
//!
//! ```text
//! server   Begin  Frame Frame Frame ... End                 Begin ...
//! encoder         Began Packet Packet ...  Packet Done
//! ```
//!
//! Frames are pictures or sound, as the job's source says. While it has nothing to give for long, it says that it [goes on](FromEncoder::GoesOn): work that takes long is told
//! from work that hangs.
//! A job that fails is answered by [`FromEncoder::Failed`] or [`FromEncoder::NoEncoder`]; what is still sent of it is read and dropped up to its End.
//! Both sides read with bounds, and neither allocates by a length that the other one announced.

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX, OUTPUTS_MAX, WORDS_BYTES_MAX};

/// Rises with every change of the wire; both sides must have the same.
pub const VERSION: u16 = 5;

const MAGIC: &[u8; 6] = b"AWENC\n";

/// A peer that does not keep to the wire.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// A message ends before the field that is named.
    #[error("the message ends before {0}")]
    Truncated(&'static str),
    /// A value that the wire does not have.
    #[error("{0} has no such value")]
    Unknown(&'static str),
    /// Bytes behind the last field.
    #[error("{0} bytes behind the last field")]
    Trailing(usize),
    /// Beyond a bound.
    #[error("{0} of {1}, at most {2}")]
    TooLarge(&'static str, usize, usize),
    /// The pipe.
    #[error(transparent)]
    Pipe(#[from] io::Error),
}

/// What an encoder says of itself, first of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Its version and that of its libraries, in words.
    pub words: String,
}

/// Codecs of pictures that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Codec {
    H264,
    Hevc,
    Av1,
    Vp9,
    Vp8,
}

const CODECS: [Codec; 5] = [Codec::H264, Codec::Hevc, Codec::Av1, Codec::Vp9, Codec::Vp8];

/// Codecs of sound that can be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum SoundCodec {
    Aac,
    Opus,
    Ac3,
    Eac3,
    Flac,
    Mp3,
}

const SOUND_CODECS: [SoundCodec; 6] = [
    SoundCodec::Aac,
    SoundCodec::Opus,
    SoundCodec::Ac3,
    SoundCodec::Eac3,
    SoundCodec::Flac,
    SoundCodec::Mp3,
];

/// Codecs of sound have numbers of their own.
const SOUND: u8 = 64;

/// What is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Pictures.
    Pictures(PictureSource),
    /// Sound.
    Sound(SoundSource),
}

/// Sound that is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoundSource {
    /// The codec.
    pub codec: SoundCodec,
    /// What times of frames count in: so many a second.
    pub timescale: u32,
    /// Channels.
    pub channels: u8,
    /// `AudioSpecificConfig`, `OpusHead`, STREAMINFO; empty where the codec needs none.
    pub record: Bytes,
}

/// Pictures that are decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PictureSource {
    /// The codec.
    pub codec: Codec,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// By how many pictures presentation lags behind decoding.
    pub reorder: u8,
    /// `avcC`, `hvcC`, `av1C`; empty where the codec needs none.
    pub record: Bytes,
}

/// What is made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A level of the ladder.
    H264(H264),
    /// A sheet of pictures, side by side and row by row, as one JPEG. On a sheet of one tile the first picture is shown;
    /// else a picture with the presentation time n is on tile n.
    Sheet {
        /// One picture of it.
        tile: Tile,
        /// Tiles side by side.
        columns: u8,
        /// Rows of tiles.
        rows: u8,
        /// 2 (best) to 31.
        quality: u8,
    },
    /// The pictures one after the other, as one GIF that begins again at its end.
    Film {
        /// Its pictures.
        tile: Tile,
        /// How long the last picture is shown, in 1/100 s.
        last: u8,
    },
    /// A level of sound.
    Sound(SoundOutput),
}

/// Sound, encoded in frames that lie on a grid: frame n at n times its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoundOutput {
    /// The codec.
    pub coding: SoundCoding,
    /// Samples a second; what times of packets count in.
    pub rate: u32,
    /// One or two.
    pub channels: u8,
    /// Bits a second, in kbit.
    pub kbps: u32,
    /// Samples of a frame.
    pub frame: u32,
    /// The number of the first frame that is wanted.
    pub first: i64,
}

/// Codecs of sound that can be encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SoundCoding {
    /// AAC-LC.
    Aac,
    /// Opus.
    Opus,
}

/// Where a picture goes: it is scaled to a size and stands in the middle of a tile, which cuts off what is larger and is
/// black around what is smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tile {
    /// Pixels of the tile.
    pub width: u32,
    /// Pixels of the tile.
    pub height: u32,
    /// Pixels of the scaled picture.
    pub scaled_width: u32,
    /// Pixels of the scaled picture.
    pub scaled_height: u32,
}

/// Capped CRF: constant quality up to a bitrate. Closed groups of pictures without reordering, cut where the frames say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct H264 {
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
    /// Frames a second; what rate control counts with.
    pub frame_rate: (u32, u32),
    /// Constant rate factor, in tenths.
    pub crf_tenths: u16,
    /// The cap, in kbit/s.
    pub max_kbps: u32,
    /// The decoder's buffer, in kbit.
    pub buffer_kbit: u32,
    /// `level_idc`.
    pub level: u8,
    /// Primaries, transfer, matrix (ISO 23091-2) and full range, where the source states them.
    pub colour: Option<[u8; 4]>,
    /// The encoder's name in FFmpeg.
    pub encoder: String,
    /// The id of its parameter sets; others than libx264 have 0, whatever is said here.
    pub parameter_set: u8,
}

/// A frame of the source, in decode order. Of sound it has a time and data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Presentation time in 1/90000 s; of sound in its timescale.
    pub present: i64,
    /// Decoding can start here.
    pub sync: bool,
    /// Its picture is wanted; others are only decoded because pictures need them.
    pub shown: bool,
    /// A group of pictures begins with it in what is made, too.
    pub begins: bool,
    /// It has nothing to do with the frames before it and behind it.
    pub alone: bool,
    /// As it is in the source.
    pub data: Bytes,
}

/// Server to encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToEncoder {
    /// A job.
    Begin {
        /// What is decoded.
        source: Source,
        /// What is made of it.
        outputs: Vec<Output>,
    },
    /// The next frame of the job.
    Frame(Frame),
    /// No more frames: everything comes out.
    End,
}

/// Encoder to server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromEncoder {
    /// First of all.
    Hello(Hello),
    /// The parameter sets of an H.264 output, in Annex B.
    Began {
        /// Which of the job.
        output: u8,
        /// SPS and PPS.
        parameters: Bytes,
    },
    /// A coded picture: Annex B, a JPEG, or a whole GIF. Or a frame of sound.
    Packet {
        /// Which of the job.
        output: u8,
        /// Presentation time in 1/90000 s; of sound in samples.
        present: i64,
        /// Decoding can start here.
        sync: bool,
        /// The picture.
        data: Bytes,
    },
    /// It has taken another frame. Said now and then.
    GoesOn,
    /// The job is done.
    Done {
        /// Pictures, or frames of sound, decoded.
        decoded: u32,
        /// Frames that could not be decoded, or with damage only.
        broken: u32,
    },
    /// The job failed, and why.
    Failed(String),
    /// An encoder that is none of the processor's does not open, or fails, and why: without it the job may be done.
    NoEncoder(String),
}

/// Reads a message's kind and body. The kind of [`FromEncoder::Packet`] and of [`ToEncoder::Frame`] may be longer than others.
pub fn read(pipe: &mut impl Read) -> Result<Option<(u8, Bytes)>, WireError> {
    let mut head = [0; 5];
    let mut have = 0;
    while have < head.len() {
        match pipe.read(head.get_mut(have..).unwrap_or_default()) {
            Ok(0) if have == 0 => return Ok(None),
            Ok(0) => return Err(WireError::Truncated("the length")),
            Ok(n) => have += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (kind, len) = head_of(head)?;
    let mut body = Vec::new();
    // Grows with what comes, not by what was announced.
    pipe.take(len as u64).read_to_end(&mut body)?;
    if body.len() < len {
        return Err(WireError::Truncated("its end"));
    }
    Ok(Some((kind, body.into())))
}

/// Kind and length of the body that a head announces.
pub fn head_of(head: [u8; 5]) -> Result<(u8, usize), WireError> {
    let [a, b, c, d, kind] = head;
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    let max = if kind == FRAME || kind == PACKET { FRAME_BYTES_MAX } else { MESSAGE_BYTES_MAX };
    match len.checked_sub(1) {
        None => Err(WireError::Truncated("the kind")),
        Some(len) if len > max + OVERHEAD => Err(WireError::TooLarge("a message", len, max)),
        Some(len) => Ok((kind, len)),
    }
}

/// Fields beside the picture in a message.
const OVERHEAD: usize = 64;

const BEGIN: u8 = 1;
const FRAME: u8 = 2;
const END: u8 = 3;
const HELLO: u8 = 16;
const BEGAN: u8 = 17;
const PACKET: u8 = 18;
const DONE: u8 = 19;
const FAILED: u8 = 20;
const GOES_ON: u8 = 21;
const NO_ENCODER: u8 = 22;

fn message(kind: u8, body: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u32(0);
    out.put_u8(kind);
    body(&mut out);
    let len = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    if let Some(head) = out.first_chunk_mut::<4>() {
        *head = len.to_be_bytes();
    }
    out.freeze()
}

impl ToEncoder {
    /// As it goes over the pipe.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Begin { source, outputs } => message(BEGIN, |out| {
                put_source(out, source);
                out.put_u8(outputs.len() as u8);
                for output in outputs {
                    put_output(out, output);
                }
            }),
            Self::Frame(frame) => message(FRAME, |out| {
                out.put_i64(frame.present);
                let bit = |set, n| u8::from(set) << n;
                let (sync, shown) = (bit(frame.sync, 0), bit(frame.shown, 1));
                out.put_u8(sync | shown | bit(frame.begins, 2) | bit(frame.alone, 3));
                out.put_slice(&frame.data);
            }),
            Self::End => message(END, |_| {}),
        }
    }

    /// What came over the pipe.
    pub fn decode(kind: u8, body: Bytes) -> Result<Self, WireError> {
        let mut fields = Fields(body);
        let decoded = match kind {
            BEGIN => {
                let source = fields.source()?;
                let count = usize::from(fields.u8("the outputs")?);
                if count > OUTPUTS_MAX {
                    return Err(WireError::TooLarge("outputs", count, OUTPUTS_MAX));
                }
                let outputs = (0..count).map(|_| fields.output()).collect::<Result<_, _>>()?;
                Self::Begin { source, outputs }
            }
            FRAME => {
                let (present, flags) = (fields.i64("the time")?, fields.u8("the flags")?);
                let set = |n: u8| flags >> n & 1 == 1;
                let (sync, shown, begins, alone) = (set(0), set(1), set(2), set(3));
                let data = fields.rest();
                Self::Frame(Frame { present, sync, shown, begins, alone, data })
            }
            END => Self::End,
            _ => return Err(WireError::Unknown("the kind of message")),
        };
        fields.end().map(|()| decoded)
    }
}

impl FromEncoder {
    /// As it goes over the pipe.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Hello(hello) => message(HELLO, |out| {
                out.put_slice(MAGIC);
                out.put_u16(VERSION);
                put_bytes(out, hello.words.as_bytes());
            }),
            Self::Began { output, parameters } => message(BEGAN, |out| {
                out.put_u8(*output);
                put_bytes(out, parameters);
            }),
            Self::Packet { output, present, sync, data } => message(PACKET, |out| {
                out.put_u8(*output);
                out.put_i64(*present);
                out.put_u8(u8::from(*sync));
                out.put_slice(data);
            }),
            Self::GoesOn => message(GOES_ON, |_| {}),
            Self::Done { decoded, broken } => message(DONE, |out| {
                out.put_u32(*decoded);
                out.put_u32(*broken);
            }),
            Self::Failed(words) => message(FAILED, |out| put_words(out, words)),
            Self::NoEncoder(words) => message(NO_ENCODER, |out| put_words(out, words)),
        }
    }

    /// What came over the pipe.
    pub fn decode(kind: u8, body: Bytes) -> Result<Self, WireError> {
        let mut fields = Fields(body);
        let decoded = match kind {
            HELLO => {
                if fields.take("the greeting", MAGIC.len())?.as_ref() != MAGIC {
                    return Err(WireError::Unknown("the greeting"));
                }
                if fields.u16("the version")? != VERSION {
                    return Err(WireError::Unknown("the version of the wire"));
                }
                Self::Hello(Hello { words: fields.words("what it is")? })
            }
            BEGAN => Self::Began {
                output: fields.u8("the output")?,
                parameters: fields.bytes("the parameter sets", MESSAGE_BYTES_MAX)?,
            },
            PACKET => Self::Packet {
                output: fields.u8("the output")?,
                present: fields.i64("the time")?,
                sync: fields.u8("the flags")? == 1,
                data: fields.rest(),
            },
            GOES_ON => Self::GoesOn,
            DONE => Self::Done {
                decoded: fields.u32("pictures decoded")?,
                broken: fields.u32("broken frames")?,
            },
            FAILED => Self::Failed(fields.words("why")?),
            NO_ENCODER => Self::NoEncoder(fields.words("why")?),
            _ => return Err(WireError::Unknown("the kind of message")),
        };
        fields.end().map(|()| decoded)
    }
}

fn put_bytes(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    out.put_slice(bytes);
}

fn put_words(out: &mut BytesMut, words: &str) {
    let cut = words.floor_char_boundary(WORDS_BYTES_MAX);
    put_bytes(out, words.get(..cut).unwrap_or_default().as_bytes());
}

fn put_source(out: &mut BytesMut, source: &Source) {
    match source {
        Source::Pictures(source) => {
            let codec = CODECS.iter().position(|c| *c == source.codec).unwrap_or(0);
            out.put_u8(codec as u8);
            out.put_u32(source.width);
            out.put_u32(source.height);
            out.put_u8(source.reorder);
            put_bytes(out, &source.record);
        }
        Source::Sound(source) => {
            let codec = SOUND_CODECS.iter().position(|c| *c == source.codec).unwrap_or(0);
            out.put_u8(SOUND + codec as u8);
            out.put_u32(source.timescale);
            out.put_u8(source.channels);
            put_bytes(out, &source.record);
        }
    }
}

fn put_output(out: &mut BytesMut, output: &Output) {
    match output {
        Output::H264(h264) => {
            out.put_u8(0);
            for n in [h264.width, h264.height, h264.frame_rate.0, h264.frame_rate.1] {
                out.put_u32(n);
            }
            out.put_u16(h264.crf_tenths);
            out.put_u32(h264.max_kbps);
            out.put_u32(h264.buffer_kbit);
            out.put_u8(h264.level);
            out.put_u8(u8::from(h264.colour.is_some()));
            out.put_slice(&h264.colour.unwrap_or_default());
            put_bytes(out, h264.encoder.as_bytes());
            out.put_u8(h264.parameter_set);
        }
        Output::Sheet { tile, columns, rows, quality } => {
            out.put_u8(1);
            put_tile(out, tile);
            out.put_slice(&[*columns, *rows, *quality]);
        }
        Output::Film { tile, last } => {
            out.put_u8(2);
            put_tile(out, tile);
            out.put_u8(*last);
        }
        Output::Sound(sound) => {
            out.put_u8(3);
            out.put_u8(u8::from(sound.coding == SoundCoding::Opus));
            out.put_u8(sound.channels);
            for n in [sound.rate, sound.kbps, sound.frame] {
                out.put_u32(n);
            }
            out.put_i64(sound.first);
        }
    }
}

fn put_tile(out: &mut BytesMut, tile: &Tile) {
    for n in [tile.width, tile.height, tile.scaled_width, tile.scaled_height] {
        out.put_u32(n);
    }
}

struct Fields(Bytes);

impl Fields {
    fn take(&mut self, field: &'static str, len: usize) -> Result<Bytes, WireError> {
        if self.0.len() < len {
            return Err(WireError::Truncated(field));
        }
        Ok(self.0.split_to(len))
    }

    fn u8(&mut self, field: &'static str) -> Result<u8, WireError> {
        Ok(self.take(field, 1)?.get_u8())
    }

    fn u16(&mut self, field: &'static str) -> Result<u16, WireError> {
        Ok(self.take(field, 2)?.get_u16())
    }

    fn u32(&mut self, field: &'static str) -> Result<u32, WireError> {
        Ok(self.take(field, 4)?.get_u32())
    }

    fn i64(&mut self, field: &'static str) -> Result<i64, WireError> {
        Ok(self.take(field, 8)?.get_i64())
    }

    fn bytes(&mut self, field: &'static str, max: usize) -> Result<Bytes, WireError> {
        let len = self.u32(field)? as usize;
        if len > max {
            return Err(WireError::TooLarge(field, len, max));
        }
        self.take(field, len)
    }

    fn words(&mut self, field: &'static str) -> Result<String, WireError> {
        let bytes = self.bytes(field, WORDS_BYTES_MAX)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn source(&mut self) -> Result<Source, WireError> {
        let codec = self.u8("the codec")?;
        let unknown = WireError::Unknown("the codec");
        if let Some(codec) = codec.checked_sub(SOUND) {
            let codec = *SOUND_CODECS.get(usize::from(codec)).ok_or(unknown)?;
            let (timescale, channels) = (self.u32("the timescale")?, self.u8("the channels")?);
            let record = self.bytes("the configuration", MESSAGE_BYTES_MAX)?;
            return Ok(Source::Sound(SoundSource { codec, timescale, channels, record }));
        }
        let codec = *CODECS.get(usize::from(codec)).ok_or(unknown)?;
        let (width, height) = (self.u32("the width")?, self.u32("the height")?);
        let reorder = self.u8("the reordering")?;
        let record = self.bytes("the configuration", MESSAGE_BYTES_MAX)?;
        Ok(Source::Pictures(PictureSource { codec, width, height, reorder, record }))
    }

    fn output(&mut self) -> Result<Output, WireError> {
        match self.u8("the output")? {
            0 => Ok(Output::H264(H264 {
                width: self.u32("the width")?,
                height: self.u32("the height")?,
                frame_rate: (self.u32("the rate")?, self.u32("the rate")?),
                crf_tenths: self.u16("the quality")?,
                max_kbps: self.u32("the cap")?,
                buffer_kbit: self.u32("the buffer")?,
                level: self.u8("the level")?,
                colour: {
                    let stated = self.u8("the colour")? == 1;
                    let colour = self.take("the colour", 4)?;
                    stated.then(|| colour.first_chunk().copied()).flatten()
                },
                encoder: self.words("the encoder")?,
                parameter_set: self.u8("the id of parameter sets")?,
            })),
            1 => Ok(Output::Sheet {
                tile: self.tile()?,
                columns: self.u8("the columns")?,
                rows: self.u8("the rows")?,
                quality: self.u8("the quality")?,
            }),
            2 => Ok(Output::Film { tile: self.tile()?, last: self.u8("the last picture")? }),
            3 => Ok(Output::Sound(SoundOutput {
                coding: match self.u8("the coding")? {
                    0 => SoundCoding::Aac,
                    1 => SoundCoding::Opus,
                    _ => return Err(WireError::Unknown("the coding")),
                },
                channels: self.u8("the channels")?,
                rate: self.u32("the rate")?,
                kbps: self.u32("the bits a second")?,
                frame: self.u32("the frame")?,
                first: self.i64("the first frame")?,
            })),
            _ => Err(WireError::Unknown("the output")),
        }
    }

    fn tile(&mut self) -> Result<Tile, WireError> {
        Ok(Tile {
            width: self.u32("the width")?,
            height: self.u32("the height")?,
            scaled_width: self.u32("the scaled width")?,
            scaled_height: self.u32("the scaled height")?,
        })
    }

    fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.0)
    }

    fn end(&self) -> Result<(), WireError> {
        if self.0.is_empty() { Ok(()) } else { Err(WireError::Trailing(self.0.len())) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn h264() -> H264 {
        H264 {
            width: 640,
            height: 360,
            frame_rate: (30_000, 1001),
            crf_tenths: 235,
            max_kbps: 900,
            buffer_kbit: 900,
            level: 30,
            colour: Some([1, 2, 3, 0]),
            encoder: "libx264".to_owned(),
            parameter_set: 1,
        }
    }

    pub(crate) fn to_encoder() -> Vec<ToEncoder> {
        let record = Bytes::from_static(b"avcC");
        let source = PictureSource { codec: Codec::Vp9, width: 1, height: 2, reorder: 3, record };
        let (codec, record) = (SoundCodec::Mp3, Bytes::new());
        let sound = SoundSource { codec, timescale: 44_100, channels: 2, record };
        let aac = SoundOutput {
            coding: SoundCoding::Aac,
            rate: 48_000,
            channels: 2,
            kbps: 128,
            frame: 1_024,
            first: -1,
        };
        let opus = SoundOutput { coding: SoundCoding::Opus, channels: 1, ..aac };
        let tile = Tile { width: 4, height: 5, scaled_width: 6, scaled_height: 7 };
        let sheet = Output::Sheet { tile, columns: 8, rows: 9, quality: 10 };
        let film = Output::Film { tile, last: 11 };
        let plain = Output::H264(H264 { colour: None, ..h264() });
        let frame = |flag: u8| {
            let (sync, shown, begins, alone) = (flag == 0, flag == 1, flag == 2, flag == 3);
            let data = Bytes::from_static(b"frame");
            ToEncoder::Frame(Frame { present: -7, sync, shown, begins, alone, data })
        };
        vec![
            ToEncoder::Begin {
                source: Source::Pictures(source),
                outputs: vec![Output::H264(h264()), sheet, film, plain],
            },
            ToEncoder::Begin {
                source: Source::Sound(sound),
                outputs: vec![Output::Sound(aac), Output::Sound(opus)],
            },
            frame(0),
            frame(1),
            frame(2),
            frame(3),
            ToEncoder::End,
        ]
    }

    pub(crate) fn from_encoder() -> Vec<FromEncoder> {
        let data = || Bytes::from_static(b"data");
        vec![
            FromEncoder::Hello(Hello { words: "airwave-encode".to_owned() }),
            FromEncoder::Began { output: 1, parameters: data() },
            FromEncoder::Packet { output: 2, present: -3, sync: true, data: data() },
            FromEncoder::GoesOn,
            FromEncoder::Done { decoded: 4, broken: 5 },
            FromEncoder::Failed("why".to_owned()),
            FromEncoder::NoEncoder("no device".to_owned()),
        ]
    }

    fn split(message: &Bytes) -> (u8, Bytes) {
        read(&mut message.as_ref()).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for message in to_encoder() {
            let (kind, body) = split(&message.encode());
            assert_eq!(ToEncoder::decode(kind, body).unwrap(), message);
        }
        for message in from_encoder() {
            let (kind, body) = split(&message.encode());
            assert_eq!(FromEncoder::decode(kind, body).unwrap(), message);
        }
    }

    #[test]
    fn another_wire_is_refused() {
        let (kind, body) = split(&from_encoder()[0].encode());
        assert!(FromEncoder::decode(kind, body.clone()).is_ok());
        let mut other = body.to_vec();
        other[MAGIC.len()..][..2].copy_from_slice(&(VERSION + 1).to_be_bytes());
        let refused = FromEncoder::decode(kind, other.into());
        assert!(matches!(refused, Err(WireError::Unknown("the version of the wire"))));
    }

    #[test]
    fn what_is_cut_short_or_too_long_is_refused() {
        for (whole, to) in to_encoder()
            .iter()
            .map(|m| (m.encode(), true))
            .chain(from_encoder().iter().map(|m| (m.encode(), false)))
        {
            let (kind, body) = split(&whole);
            let decode = |body: Bytes| match to {
                true => ToEncoder::decode(kind, body).is_ok(),
                false => FromEncoder::decode(kind, body).is_ok(),
            };
            let open = kind == FRAME || kind == PACKET;
            let longer = [&body[..], b"x"].concat();
            assert_eq!(decode(longer.into()), open, "{kind}");
            for len in 0..body.len() {
                let fixed = if kind == FRAME { 9 } else { 10 };
                assert_eq!(decode(body.slice(..len)), open && len >= fixed, "{kind} {len}");
            }
            for len in 1..whole.len() {
                assert!(read(&mut whole.slice(..len).as_ref()).is_err(), "{kind} {len}");
            }
        }
        assert!(read(&mut &b""[..]).unwrap().is_none(), "the pipe is closed between messages");
    }

    #[test]
    fn nothing_is_allocated_by_an_announced_length() {
        let head = |len: u32, kind: u8| {
            let [a, b, c, d] = len.to_be_bytes();
            head_of([a, b, c, d, kind]).map(|h| h.1).ok()
        };
        assert_eq!(head(0, END), None);
        assert_eq!(head(1, END), Some(0));
        assert_eq!(head(u32::MAX, FRAME), None);
        let frame = u32::try_from(FRAME_BYTES_MAX).unwrap();
        assert_eq!(head(frame, FRAME), Some(FRAME_BYTES_MAX - 1));
        assert_eq!(head(frame, BEGIN), None, "only pictures are large");
        // Says 16 MiB, has five bytes.
        let mut lies = frame.to_be_bytes().to_vec();
        lies.extend([FRAME, 1, 2, 3, 4]);
        assert!(matches!(read(&mut lies.as_slice()), Err(WireError::Truncated(_))));
    }
}
