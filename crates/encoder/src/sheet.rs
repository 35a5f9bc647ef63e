//! Pictures on a sheet, as a JPEG: one for a thumbnail, many for a storyboard.

use encode::wire::{FromEncoder, Tile};
use ffmpeg::format::Pixel;
use ffmpeg::software::scaling;
use ffmpeg::{Dictionary, codec, encoder, frame};
use ffmpeg_the_third as ffmpeg;

use crate::canvas::Canvas;
use crate::job::Out;
use crate::stage::Scaler;

pub(crate) struct Sheet {
    index: u8,
    tile: Tile,
    columns: usize,
    tiles: usize,
    quality: u8,
    canvas: Canvas,
    drawn: usize,
}

impl Sheet {
    pub(crate) fn open(
        index: u8,
        tile: Tile,
        sides: (u8, u8),
        quality: u8,
    ) -> Result<Self, String> {
        let canvas = Canvas::of(tile, sides)?;
        let (columns, rows) = (usize::from(sides.0), usize::from(sides.1));
        Ok(Self { index, tile, columns, tiles: columns * rows, quality, canvas, drawn: 0 })
    }

    pub(crate) fn picture(
        &mut self,
        picture: &frame::Video,
        scaler: &mut Scaler,
    ) -> Result<(), String> {
        let place = match self.tiles {
            // The first one that there is.
            1 => self.drawn,
            _ => picture.pts().and_then(|pts| usize::try_from(pts).ok()).unwrap_or(usize::MAX),
        };
        if place >= self.tiles {
            return Ok(());
        }
        let left = place % self.columns * self.tile.width as usize;
        let top = place / self.columns * self.tile.height as usize;
        self.canvas.draw(picture, self.tile, (left, top), scaler)?;
        self.drawn += 1;
        Ok(())
    }

    /// A sheet without any picture is none.
    pub(crate) fn end(self, out: &Out) -> Result<(), String> {
        if self.drawn == 0 {
            return Ok(());
        }
        let data = jpeg(&self.canvas, self.quality)?.into();
        let packet = FromEncoder::Packet { output: self.index, present: 0, sync: true, data };
        out.send(&packet).map_err(|e| e.to_string())
    }
}

fn jpeg(canvas: &Canvas, quality: u8) -> Result<Vec<u8>, String> {
    let (width, height) = (canvas.width as u32, canvas.height as u32);
    // JFIF: the matrix of BT.601 in full range, which is what the scaler makes of RGB.
    let scaler = scaling::Context::get(
        Pixel::RGB24,
        width,
        height,
        Pixel::YUVJ420P,
        width,
        height,
        scaling::Flags::BICUBIC,
    );
    let mut picture = frame::Video::empty();
    let scaled = scaler.and_then(|mut scaler| scaler.run(&canvas.frame(), &mut picture));
    scaled.map_err(|e| format!("scaling: {e}"))?;
    picture.set_pts(Some(0));
    let mut encoder = open(width, height, quality)?;
    encoder.send_frame(&picture).map_err(|e| format!("encoding: {e}"))?;
    encoder.send_eof().map_err(|e| format!("encoding: {e}"))?;
    let mut packet = ffmpeg::Packet::empty();
    encoder.receive_packet(&mut packet).map_err(|e| format!("encoding: {e}"))?;
    Ok(packet.data().unwrap_or_default().to_vec())
}

fn open(width: u32, height: u32, quality: u8) -> Result<encoder::video::Encoder, String> {
    let codec = encoder::find_by_name("mjpeg").ok_or("FFmpeg here has no encoder mjpeg")?;
    let mut context = codec::Context::new_with_codec(codec);
    context.set_flags(codec::Flags::QSCALE);
    let mut video = context.encoder().video().map_err(|e| e.to_string())?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(Pixel::YUVJ420P);
    video.set_time_base((1, 90_000));
    // FF_QP2LAMBDA: the scale in which FFmpeg counts quality.
    video.set_global_quality(i32::from(quality.clamp(2, 31)) * 118);
    let mut options = Dictionary::new();
    options.set("threads", "1");
    let opened = video.open_with(options);
    opened.map_err(|e| format!("the encoder does not open: {e}"))
}
