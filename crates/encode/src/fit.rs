//! The size of pictures: what is asked for, and what becomes of it.

use media::codec::VideoConfig;

use crate::limits::{PICTURE_SIDE_MAX, PICTURE_SIDE_MIN, SIDE_MAX};
use crate::wire::Tile;

/// What becomes of a picture that has another shape than what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Fit {
    /// Fills the size; what is too wide or too high is cut off, as much on both sides.
    #[default]
    Crop,
    /// Stays whole and as large as there is room, never larger than the source: smaller than the size on one side.
    Clip,
    /// Gets the size, out of shape.
    Scale,
    /// Stays whole, with black bars.
    Fill,
}

/// The size of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size {
    /// Pixels; none: as the height and the shape of the picture have it.
    pub width: Option<u32>,
    /// Pixels; none: as the width and the shape of the picture have it.
    pub height: Option<u32>,
    /// Where both are given.
    pub fit: Fit,
}

/// Both sides of a picture for which no size is asked are within this: the vendor's.
const USUAL: u32 = 640;

impl Size {
    /// A picture of this source at this size. Pixels come out square.
    pub fn tile(&self, source: &VideoConfig) -> Tile {
        let (wide, high) = (source.display_width().max(1), source.height.max(1));
        let whole = |(width, height): (u32, u32)| tile((width, height), (width, height));
        match (self.width, self.height) {
            (None, None) => whole(within(wide, high, USUAL.min(wide), USUAL.min(high))),
            (Some(width), None) => whole(within(wide, high, width, PICTURE_SIDE_MAX)),
            (None, Some(height)) => whole(within(wide, high, PICTURE_SIDE_MAX, height)),
            (Some(width), Some(height)) => match self.fit {
                Fit::Scale => whole((width, height)),
                Fit::Clip => whole(within(wide, high, width.min(wide), height.min(high))),
                Fit::Fill => tile((width, height), within(wide, high, width, height)),
                Fit::Crop => tile((width, height), around(wide, high, width, height)),
            },
        }
    }
}

/// The same with fewer pixels, if so many of it have more than `most` together.
pub(crate) fn within_all(tile: Tile, count: u32, most: u64) -> Tile {
    let all = u64::from(tile.width) * u64::from(tile.height) * u64::from(count);
    if all <= most {
        return tile;
    }
    let share = (most as f64 / all as f64).sqrt();
    let side = |pixels: u32| ((f64::from(pixels) * share) as u32).max(1);
    Tile {
        width: side(tile.width),
        height: side(tile.height),
        scaled_width: side(tile.scaled_width),
        scaled_height: side(tile.scaled_height),
    }
}

fn tile((width, height): (u32, u32), (scaled_width, scaled_height): (u32, u32)) -> Tile {
    Tile { width, height, scaled_width, scaled_height }
}

/// `side * to / of`, rounded. What is hardly more than a line is out of shape: nothing becomes larger than what is decoded.
fn scaled(side: u32, to: u32, of: u32) -> u32 {
    let (side, to, of) = (u64::from(side), u64::from(to), u64::from(of.max(1)));
    let exact = (side * to + of / 2) / of;
    u32::try_from(exact).unwrap_or(SIDE_MAX).clamp(PICTURE_SIDE_MIN, SIDE_MAX)
}

/// The largest size of this shape that is within.
fn within(wide: u32, high: u32, width: u32, height: u32) -> (u32, u32) {
    let flat = u64::from(wide) * u64::from(height) > u64::from(high) * u64::from(width);
    match flat {
        true => (width, scaled(high, width, wide).min(height)),
        false => (scaled(wide, height, high).min(width), height),
    }
}

/// The smallest size of this shape that leaves nothing of it open.
fn around(wide: u32, high: u32, width: u32, height: u32) -> (u32, u32) {
    let flat = u64::from(wide) * u64::from(height) > u64::from(high) * u64::from(width);
    match flat {
        true => (scaled(wide, height, high).max(width), height),
        false => (width, scaled(high, width, wide).max(height)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::tests::original;
    use media::codec::Ratio;

    #[test]
    fn pictures_have_the_size_that_was_asked_for_and_their_shape() {
        let size = |width, height, fit| Size { width, height, fit };
        let (no, some) = (None, Some);
        for ((wide, high), wanted, expect) in [
            ((1920, 1080), size(no, no, Fit::Crop), "640x360"),
            ((1080, 1920), size(no, no, Fit::Crop), "360x640"),
            ((320, 180), size(no, no, Fit::Crop), "320x180"),
            ((1, 1), size(no, no, Fit::Crop), "1x1"),
            ((1920, 1080), size(some(320), no, Fit::Crop), "320x180"),
            ((1920, 1080), size(no, some(90), Fit::Crop), "160x90"),
            ((8192, 16), size(no, some(1920), Fit::Crop), "1920x8"),
            ((1920, 1080), size(some(300), some(300), Fit::Crop), "300x300 of 533x300"),
            ((1080, 1920), size(some(300), some(300), Fit::Crop), "300x300 of 300x533"),
            ((1920, 1080), size(some(300), some(300), Fit::Fill), "300x300 of 300x169"),
            ((1920, 1080), size(some(300), some(300), Fit::Clip), "300x169"),
            ((320, 180), size(some(1000), some(1000), Fit::Clip), "320x180"),
            ((1920, 1080), size(some(300), some(300), Fit::Scale), "300x300"),
            ((8192, 16), size(some(1920), some(1920), Fit::Crop), "1920x1920 of 8192x1920"),
        ] {
            let Tile { width, height, scaled_width, scaled_height } =
                wanted.tile(&original(wide, high, None));
            let mut found = format!("{width}x{height}");
            if (width, height) != (scaled_width, scaled_height) {
                found += &format!(" of {scaled_width}x{scaled_height}");
            }
            assert_eq!(found, expect, "{wide}x{high} {wanted:?}");
        }
        let large = Size { width: Some(1_920), height: Some(1_080), fit: Fit::Crop };
        let large = large.tile(&original(1920, 1080, None));
        let film = within_all(large, 150, 10_000_000);
        assert_eq!((film.width, film.height, film.scaled_width), (344, 193, 344));
        assert_eq!(within_all(large, 4, 10_000_000), large);
        let anamorphic = Size::default().tile(&original(1440, 1080, Ratio::new(4, 3)));
        assert_eq!((anamorphic.width, anamorphic.height), (640, 360), "square pixels");
    }
}
