//! One output of a job. A level scales the picture that it is given and encodes it; the scaled picture is handed on to the
//! next smaller output: scaling from a smaller picture is cheaper.

use std::sync::Arc;

use encode::wire::{FromEncoder, H264, Output};
use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::{Dictionary, codec, encoder, frame};
use ffmpeg_the_third as ffmpeg;

use crate::av;
use crate::film::Film;
use crate::job::Out;
use crate::sheet::Sheet;

/// One output of a job.
pub(crate) enum Stage {
    Level(Level),
    Sheet(Sheet),
    Film(Film),
}

impl Stage {
    /// Opens the encoder; parameter sets go out at once.
    pub(crate) fn open(index: u8, output: &Output, out: &Out) -> Result<Self, String> {
        Ok(match output {
            Output::H264(h264) => Self::Level(Level::open(index, h264, out)?),
            Output::Sheet { tile, columns, rows, quality } => {
                Self::Sheet(Sheet::open(index, *tile, (*columns, *rows), *quality)?)
            }
            Output::Film { tile, last } => Self::Film(Film::open(index, *tile, *last)?),
        })
    }

    /// Takes a picture; `hand_on` gets what the next smaller output is made of.
    pub(crate) fn picture(
        &mut self,
        picture: Arc<frame::Video>,
        scaler: &mut Scaler,
        hand_on: impl FnOnce(Arc<frame::Video>),
        out: &Out,
    ) -> Result<(), String> {
        match self {
            Self::Level(level) => {
                let scaled = Arc::new(level.scale(&picture, scaler)?);
                hand_on(scaled.clone());
                level.encode(&scaled, out)
            }
            Self::Sheet(sheet) => {
                hand_on(picture.clone());
                sheet.picture(&picture, scaler)
            }
            Self::Film(film) => {
                hand_on(picture.clone());
                film.picture(&picture, scaler)
            }
        }
    }

    /// No more pictures.
    pub(crate) fn end(self, out: &Out) -> Result<(), String> {
        match self {
            Self::Level(mut level) => level.end(out),
            Self::Sheet(sheet) => sheet.end(out),
            Self::Film(film) => film.end(out),
        }
    }
}

/// A level of the ladder.
pub(crate) struct Level {
    index: u8,
    width: u32,
    height: u32,
    encoder: encoder::Video,
}

/// Scales to a stage's size; it stays in the stage's thread.
#[derive(Default)]
pub(crate) struct Scaler(Option<scaling::Context>);

impl Scaler {
    /// One for pictures like this one. A stream may change its size between two pictures.
    pub(crate) fn of(
        &mut self,
        picture: &frame::Video,
        (to, width, height): (Pixel, u32, u32),
        new: impl FnOnce(&mut scaling::Context),
    ) -> Result<&mut scaling::Context, String> {
        let (format, wide, high) = (picture.format(), picture.width(), picture.height());
        let fits = |s: &scaling::Context| {
            let input = s.input();
            (input.format, input.width, input.height) == (format, wide, high)
        };
        if !self.0.as_ref().is_some_and(fits) {
            let flags = scaling::Flags::BICUBIC;
            let made = scaling::Context::get(format, wide, high, to, width, height, flags);
            let mut made = made.map_err(|_| format!("{format:?} can't be scaled"))?;
            new(&mut made);
            self.0 = Some(made);
        }
        self.0.as_mut().ok_or_else(|| "no scaler".to_owned())
    }
}

impl Level {
    fn open(index: u8, h264: &H264, out: &Out) -> Result<Self, String> {
        let encoder = open_h264(h264)?;
        let parameters = av::extradata(&encoder).into();
        let began = FromEncoder::Began { output: index, parameters };
        out.send(&began).map_err(|e| e.to_string())?;
        Ok(Self { index, width: h264.width, height: h264.height, encoder })
    }

    /// The picture in this level's size.
    fn scale(&self, picture: &frame::Video, scaler: &mut Scaler) -> Result<frame::Video, String> {
        let (format, width, height) = (Pixel::YUV420P, self.width, self.height);
        if (picture.format(), picture.width(), picture.height()) == (format, width, height) {
            return av::reference(picture).ok_or_else(|| "no memory for a picture".to_owned());
        }
        let scaler = scaler.of(picture, (format, width, height), |_| {})?;
        let mut scaled = frame::Video::empty();
        scaler.run(picture, &mut scaled).map_err(|e| format!("scaling: {e}"))?;
        scaled.set_pts(picture.pts());
        scaled.set_kind(picture.kind());
        Ok(scaled)
    }

    /// Encodes a picture of this level's size.
    fn encode(&mut self, picture: &frame::Video, out: &Out) -> Result<(), String> {
        self.encoder.send_frame(picture).map_err(|e| format!("encoding: {e}"))?;
        self.receive(out)
    }

    fn end(&mut self, out: &Out) -> Result<(), String> {
        self.encoder.send_eof().map_err(|e| format!("encoding: {e}"))?;
        self.receive(out)
    }

    fn receive(&mut self, out: &Out) -> Result<(), String> {
        let mut packet = ffmpeg::Packet::empty();
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => {}
                Err(ffmpeg::Error::Eof | ffmpeg::Error::Other { .. }) => return Ok(()),
                Err(error) => return Err(format!("encoding: {error}")),
            }
            let data = packet.data().unwrap_or_default();
            out.send(&FromEncoder::Packet {
                output: self.index,
                present: packet.pts().unwrap_or(0),
                sync: packet.is_key(),
                data: data.to_vec().into(),
            })
            .map_err(|e| e.to_string())?;
        }
    }
}

/// An encoder that is none of the processor's may not be there, or not take it: then libx264 does it.
fn open_h264(h264: &H264) -> Result<encoder::video::Encoder, String> {
    if h264.encoder != SOFTWARE {
        match open_h264_as(h264, &h264.encoder) {
            Ok(encoder) => return Ok(encoder),
            Err(error) => eprintln!("{}: {error}; {SOFTWARE} does it instead", h264.encoder),
        }
    }
    open_h264_as(h264, SOFTWARE)
}

const SOFTWARE: &str = "libx264";

fn open_h264_as(h264: &H264, name: &str) -> Result<encoder::video::Encoder, String> {
    let codec = encoder::find_by_name(name);
    let codec = codec.ok_or_else(|| format!("FFmpeg here has no encoder {name}"))?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut video = context.encoder().video().map_err(|e| e.to_string())?;
    video.set_width(h264.width);
    video.set_height(h264.height);
    video.set_format(Pixel::YUV420P);
    video.set_time_base((1, 90_000));
    let (rate, per) = h264.frame_rate;
    let rational = |n: u32| i32::try_from(n).unwrap_or(i32::MAX).max(1);
    video.set_frame_rate(Some((rational(rate), rational(per))));
    // Groups begin where the frames say, and nowhere else.
    video.set_gop(u32::from(u16::MAX));
    video.set_max_b_frames(0);
    let mut options = Dictionary::new();
    if let Some([primaries, transfer, matrix, full]) = h264.colour {
        options.set("color_primaries", primaries.to_string());
        options.set("color_trc", transfer.to_string());
        options.set("colorspace", matrix.to_string());
        options.set("color_range", if full == 1 { "2" } else { "1" });
    }
    options.set("forced-idr", "1");
    match name {
        SOFTWARE => x264(h264, &mut options),
        _ => {
            let bits = |kbit: u32| kbit as usize * 1_000;
            video.set_bit_rate(bits(h264.max_kbps) * 4 / 5);
            video.set_max_bit_rate(bits(h264.max_kbps));
            options.set("bufsize", bits(h264.buffer_kbit).to_string());
        }
    }
    let opened = video.open_with(options);
    opened.map_err(|e| format!("the encoder does not open: {e}"))
}

/// One thread, no look ahead, no waiting for the next frame's time (force-cfr): the same pictures give the same bytes, and
/// each comes out with its frame.
fn x264(h264: &H264, options: &mut Dictionary) {
    options.set("preset", "veryfast");
    options.set("profile", "high");
    options.set("crf", format!("{}.{}", h264.crf_tenths / 10, h264.crf_tenths % 10));
    let parameters = format!(
        "threads=1:sliced-threads=0:bframes=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:scenecut=0:\
         keyint=infinite:force-cfr=1:level={}:vbv-maxrate={}:vbv-bufsize={}:vbv-init=0.5",
        h264.level, h264.max_kbps, h264.buffer_kbit
    );
    options.set("x264-params", parameters);
}
