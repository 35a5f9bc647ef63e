//! Pictures in red, green and blue: scaled, and put where they belong.

use encode::limits::{PIXELS_MAX, SIDE_MAX};
use encode::wire::Tile;
use ffmpeg::format::Pixel;
use ffmpeg::frame;
use ffmpeg_the_third as ffmpeg;

use crate::av;
use crate::stage::Scaler;

/// Bytes of a pixel.
pub(crate) const RGB: usize = 3;

/// Black until something is put on it.
pub(crate) struct Canvas {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<u8>,
}

impl Canvas {
    /// Of so many tiles side by side and one below the other.
    pub(crate) fn of(tile: Tile, (columns, rows): (u8, u8)) -> Result<Self, String> {
        let sides = [tile.width, tile.height, tile.scaled_width, tile.scaled_height];
        let (wide, high) =
            (tile.width.saturating_mul(columns.into()), tile.height.saturating_mul(rows.into()));
        let fits = |side: u32| (1..=SIDE_MAX).contains(&side);
        let pixels = u64::from(wide) * u64::from(high);
        if !sides.into_iter().chain([wide, high]).all(fits) || pixels > PIXELS_MAX {
            return Err(format!("a picture of {wide}x{high} pixels"));
        }
        let (width, height) = (wide as usize, high as usize);
        Ok(Self { width, height, pixels: vec![0; width * height * RGB] })
    }

    /// Draws a picture onto the tile whose upper left corner is here.
    pub(crate) fn draw(
        &mut self,
        picture: &frame::Video,
        tile: Tile,
        (left, top): (usize, usize),
        scaler: &mut Scaler,
    ) -> Result<(), String> {
        let size = (Pixel::RGB24, tile.scaled_width, tile.scaled_height);
        let scaler = scaler.of(picture, size, |scaler| av::colours_of(picture, scaler))?;
        let mut scaled = frame::Video::empty();
        scaler.run(picture, &mut scaled).map_err(|e| format!("scaling: {e}"))?;
        let stride = scaled.stride(0);
        let across = Middle::of(tile.width, tile.scaled_width);
        let down = Middle::of(tile.height, tile.scaled_height);
        for row in 0..down.len {
            let from = (down.from + row) * stride + across.from * RGB;
            let to = ((top + down.to + row) * self.width + left + across.to) * RGB;
            let bytes = across.len * RGB;
            let line = scaled.data(0).get(from..from + bytes);
            let place = self.pixels.get_mut(to..to + bytes);
            if let (Some(line), Some(place)) = (line, place) {
                place.copy_from_slice(line);
            }
        }
        Ok(())
    }

    /// The same as FFmpeg has it.
    pub(crate) fn frame(&self) -> frame::Video {
        let (width, height) = (self.width as u32, self.height as u32);
        let mut frame = frame::Video::new(Pixel::RGB24, width, height);
        let stride = frame.stride(0);
        let bytes = self.width * RGB;
        let lines = self.pixels.chunks_exact(bytes);
        for (line, place) in lines.zip(frame.data_mut(0).chunks_mut(stride)) {
            if let Some(place) = place.get_mut(..bytes) {
                place.copy_from_slice(line);
            }
        }
        frame
    }
}

/// One side of a picture in the middle of one side of a tile.
struct Middle {
    /// Of the picture.
    from: usize,
    /// Of the tile.
    to: usize,
    len: usize,
}

impl Middle {
    fn of(tile: u32, scaled: u32) -> Self {
        let (from, to) = (scaled.saturating_sub(tile) / 2, tile.saturating_sub(scaled) / 2);
        Self { from: from as usize, to: to as usize, len: tile.min(scaled) as usize }
    }
}
