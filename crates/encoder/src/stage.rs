//! One output of a job. A level scales the picture that it is given and encodes it; the scaled picture is handed on to the
//! next smaller output: scaling from a smaller picture is cheaper.

use std::sync::Arc;

use encode::limits::FRAME_RATE_MAX;
use encode::wire::{FromEncoder, H264, Output};
use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::{Dictionary, codec, encoder, frame};
use ffmpeg_the_third as ffmpeg;

use crate::av;
use crate::film::Film;
use crate::hardware::Input;
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
            Output::Sound(_) => return Err("pictures do not become sound".to_owned()),
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
                level.encode(&scaled, scaler, out)
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
    /// Its values go from 0 to 255, and it says so.
    full: bool,
    encoder: encoder::Video,
    input: Input,
}

/// Scales to a stage's size; it stays in the stage's thread.
#[derive(Default)]
pub(crate) struct Scaler {
    context: Option<scaling::Context>,
    /// For what is made of scaled pictures.
    second: Option<Box<Scaler>>,
}

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
        if !self.context.as_ref().is_some_and(fits) {
            let flags = scaling::Flags::BICUBIC;
            let made = scaling::Context::get(format, wide, high, to, width, height, flags);
            let mut made = made.map_err(|_| format!("{format:?} can't be scaled"))?;
            new(&mut made);
            self.context = Some(made);
        }
        self.context.as_mut().ok_or_else(|| "no scaler".to_owned())
    }

    /// Another one.
    pub(crate) fn second(&mut self) -> &mut Self {
        self.second.get_or_insert_default()
    }
}

/// The format with the same samples that does not say their range.
fn without_range(format: Pixel) -> Option<Pixel> {
    Some(match format {
        Pixel::YUVJ420P => Pixel::YUV420P,
        Pixel::YUVJ422P => Pixel::YUV422P,
        Pixel::YUVJ440P => Pixel::YUV440P,
        Pixel::YUVJ444P => Pixel::YUV444P,
        _ => return None,
    })
}

impl Level {
    fn open(index: u8, h264: &H264, out: &Out) -> Result<Self, String> {
        let (encoder, input, parameters) = open_with_parameters(h264, &h264.encoder)?;
        let began = FromEncoder::Began { output: index, parameters: parameters.into() };
        out.send(&began).map_err(|e| e.to_string())?;
        let full = h264.colour.is_some_and(|[.., full]| full == 1);
        Ok(Self { index, width: h264.width, height: h264.height, full, encoder, input })
    }

    /// The picture in this level's size.
    fn scale(&self, picture: &frame::Video, scaler: &mut Scaler) -> Result<frame::Video, String> {
        let (format, width, height) = (Pixel::YUV420P, self.width, self.height);
        // The scaler would make studio range of it.
        let plain = without_range(picture.format()).filter(|_| self.full);
        let plain = plain.and_then(|format| {
            let mut plain = av::reference(picture)?;
            plain.set_format(format);
            Some(plain)
        });
        let picture = plain.as_ref().unwrap_or(picture);
        if (picture.format(), picture.width(), picture.height()) == (format, width, height) {
            return av::reference(picture).ok_or_else(|| "no memory for a picture".to_owned());
        }
        let scaler = scaler.of(picture, (format, width, height), |_| {})?;
        let mut scaled = frame::Video::empty();
        scaler.run(picture, &mut scaled).map_err(|e| format!("scaling: {e}"))?;
        scaled.set_pts(picture.pts());
        scaled.set_kind(picture.kind());
        av::copy_captions(picture, &mut scaled);
        Ok(scaled)
    }

    /// Encodes a picture of this level's size.
    fn encode(
        &mut self,
        picture: &frame::Video,
        scaler: &mut Scaler,
        out: &Out,
    ) -> Result<(), String> {
        let taken = self.input.take(picture, scaler.second())?;
        let picture = taken.as_ref().unwrap_or(picture);
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

/// An encoder, what it takes, and its parameter sets.
type Opened = (encoder::video::Encoder, Input, Vec<u8>);

pub(crate) const SOFTWARE: &str = "libx264";

fn open_with_parameters(h264: &H264, name: &str) -> Result<Opened, String> {
    let (encoder, input) = open_h264_as(h264, name)?;
    let mut parameters = av::extradata(&encoder);
    if parameters.is_empty() {
        // Some know them only with a picture.
        parameters = parameters_of_picture(h264, name)?;
    }
    Ok((encoder, input, parameters))
}

/// What stands before the first picture that this encoder makes: a grey one.
pub(crate) fn parameters_of_picture(h264: &H264, name: &str) -> Result<Vec<u8>, String> {
    let (mut encoder, input) = open_h264_as(h264, name)?;
    let known = av::extradata(&encoder);
    let mut picture = frame::Video::new(Pixel::YUV420P, h264.width, h264.height);
    (0..3).for_each(|plane| picture.data_mut(plane).fill(128));
    picture.set_pts(Some(0));
    let taken = input.take(&picture, &mut Scaler::default())?;
    let sent = encoder.send_frame(taken.as_ref().unwrap_or(&picture));
    sent.and_then(|()| encoder.send_eof()).map_err(|e| format!("encoding: {e}"))?;
    let mut packet = ffmpeg::Packet::empty();
    encoder.receive_packet(&mut packet).map_err(|e| format!("encoding: {e}"))?;
    if !known.is_empty() {
        return Ok(known);
    }
    Ok(parameters_in(packet.data().unwrap_or_default()))
}

/// SPS and PPS of a picture in Annex B.
fn parameters_in(data: &[u8]) -> Vec<u8> {
    let starts: Vec<usize> =
        data.windows(3).enumerate().filter(|(_, w)| *w == [0, 0, 1]).map(|(at, _)| at).collect();
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    let units = starts.iter().zip(ends).filter_map(|(from, to)| data.get(*from..to));
    let kept = units.filter(|unit| unit.get(3).is_some_and(|b| matches!(b & 0x1f, 7 | 8)));
    kept.flatten().copied().collect()
}

fn open_h264_as(h264: &H264, name: &str) -> Result<(encoder::video::Encoder, Input), String> {
    let codec = encoder::find_by_name(name);
    let codec = codec.ok_or_else(|| format!("FFmpeg here has no encoder {name}"))?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    let mut video = context.encoder().video().map_err(|e| e.to_string())?;
    video.set_width(h264.width);
    video.set_height(h264.height);
    let input = Input::of(name, &mut video)?;
    video.set_format(input.pixel());
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
            options.set("profile", "high");
            options.set("level", h264.level.to_string());
            options.set("forced_idr", "1");
            let bits = |kbit: u32| kbit as usize * 1_000;
            video.set_bit_rate(bits(h264.max_kbps) * 4 / 5);
            video.set_max_bit_rate(bits(h264.max_kbps));
            options.set("bufsize", bits(h264.buffer_kbit).to_string());
        }
    }
    let opened = video.open_with(options);
    let opened = opened.map_err(|e| format!("the encoder does not open: {e}"))?;
    Ok((opened, input))
}

/// One thread, no look ahead, no waiting for the next frame's time (force-cfr): the same pictures give the same bytes, and
/// each comes out with its frame.
fn x264(h264: &H264, options: &mut Dictionary) {
    options.set("preset", "veryfast");
    options.set("profile", "high");
    options.set("crf", format!("{}.{}", h264.crf_tenths / 10, h264.crf_tenths % 10));
    let mut parameters = format!(
        "threads=1:sliced-threads=0:bframes=0:rc-lookahead=0:sync-lookahead=0:mbtree=0:scenecut=0:\
         keyint=infinite:force-cfr=1:level={}:vbv-maxrate={}:vbv-bufsize={}:vbv-init={:.3}",
        h264.level,
        h264.max_kbps,
        h264.buffer_kbit,
        in_hand(h264.frame_rate)
    );
    if h264.parameter_set > 0 {
        parameters.push_str(&format!(":sps-id={}", h264.parameter_set));
    }
    options.set("x264-params", parameters);
}

/// How much of its buffer a segment has in hand when it begins. The faster frames come, the more of it x264 has used up at the
/// end: beyond 60 a second, so much less that a segment takes no more over its cap than a slower one.
fn in_hand((rate, per): (u32, u32)) -> f64 {
    let stated = f64::from(rate) / f64::from(per.max(1));
    // As the ladder takes it.
    let rate = if stated > f64::from(FRAME_RATE_MAX) { 60.0 } else { stated.max(60.0) };
    0.364 * 60.0 / rate
}
