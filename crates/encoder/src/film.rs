//! Pictures one after the other, as a GIF that begins again at its end.

use encode::limits::FRAME_BYTES_MAX;
use encode::wire::{FromEncoder, Tile};
use ffmpeg::frame;
use ffmpeg_the_third as ffmpeg;
use gif::{Encoder, Repeat};

use crate::canvas::Canvas;
use crate::job::Out;
use crate::stage::Scaler;

/// 1 is the best choice of colours, 30 the fastest.
const SPEED: i32 = 20;

/// Units of a source's time in 1/100 s, which is how GIFs count.
const PER_HUNDREDTH: i64 = 900;

pub(crate) struct Film {
    index: u8,
    tile: Tile,
    last: u8,
    encoder: Encoder<Vec<u8>>,
    /// The newest picture, whose end is not known yet, and its time.
    newest: Option<(Canvas, i64)>,
    /// In 1/100 s: what was written, so that roundings do not add up.
    written: i64,
    began: i64,
}

impl Film {
    pub(crate) fn open(index: u8, tile: Tile, last: u8) -> Result<Self, String> {
        let canvas = Canvas::of(tile, (1, 1))?;
        let side = |pixels: usize| u16::try_from(pixels).map_err(|e| e.to_string());
        let (width, height) = (side(canvas.width)?, side(canvas.height)?);
        let mut encoder = Encoder::new(Vec::new(), width, height, &[]).map_err(words)?;
        encoder.set_repeat(Repeat::Infinite).map_err(words)?;
        Ok(Self { index, tile, last, encoder, newest: None, written: 0, began: 0 })
    }

    pub(crate) fn picture(
        &mut self,
        picture: &frame::Video,
        scaler: &mut Scaler,
    ) -> Result<(), String> {
        let present = picture.pts().unwrap_or(0);
        let mut canvas = Canvas::of(self.tile, (1, 1))?;
        canvas.draw(picture, self.tile, (0, 0), scaler)?;
        match self.newest.replace((canvas, present)) {
            None => self.began = present,
            Some((before, _)) => {
                let until = (present - self.began + PER_HUNDREDTH / 2) / PER_HUNDREDTH;
                self.write(&before, until - self.written)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, canvas: &Canvas, hundredths: i64) -> Result<(), String> {
        if self.encoder.get_ref().len() > FRAME_BYTES_MAX {
            return Err(format!("a film of more than {FRAME_BYTES_MAX} bytes"));
        }
        let side = |pixels: usize| u16::try_from(pixels).unwrap_or(u16::MAX);
        let (width, height) = (side(canvas.width), side(canvas.height));
        let mut frame = gif::Frame::from_rgb_speed(width, height, &canvas.pixels, SPEED);
        frame.delay = u16::try_from(hundredths.max(1)).unwrap_or(u16::MAX);
        self.written += i64::from(frame.delay);
        self.encoder.write_frame(&frame).map_err(words)
    }

    /// A film without any picture is none.
    pub(crate) fn end(mut self, out: &Out) -> Result<(), String> {
        let Some((last, _)) = self.newest.take() else { return Ok(()) };
        self.write(&last, self.last.into())?;
        let data = self.encoder.into_inner().map_err(|e| e.to_string())?.into();
        let packet = FromEncoder::Packet { output: self.index, present: 0, sync: true, data };
        out.send(&packet).map_err(|e| e.to_string())
    }
}

fn words(error: gif::EncodingError) -> String {
    format!("encoding: {error}")
}
