//! What a job takes of the machine's memory, before it is begun: 8K takes ten times what 1080p does.

use std::fmt;

use media::codec::VideoConfig;

use crate::ladder::Level;
use crate::limits::{
    JOB_BASE_BYTES, JOB_BYTES_MAX, PICTURES_OF_LEVEL, PICTURES_OF_SOURCE, SOUND_JOB_BYTES,
};

/// Bytes that a job of pictures like these takes at most, with these levels.
pub(crate) fn bytes_of<'a>(
    source: &VideoConfig,
    levels: impl IntoIterator<Item = &'a Level>,
) -> u64 {
    let pixels = |(width, height)| u64::from(width) * u64::from(height);
    let own = pixels((source.width, source.height)) * halves(&source.codec_string()) / 2;
    // 8 bits, 4:2:0.
    let levels = levels.into_iter().filter_map(Level::size).map(|size| pixels(size) * 3 / 2);
    let levels = levels.sum::<u64>() * PICTURES_OF_LEVEL;
    JOB_BASE_BYTES + own * PICTURES_OF_SOURCE + levels
}

/// The same of sound.
pub(crate) const fn of_sound() -> u64 {
    SOUND_JOB_BYTES
}

/// Half bytes that a pixel takes where it is decoded, by the profile (RFC 6381): 3 of 8 bits and 4:2:0, 6 of more bits, 12 of
/// more bits and 4:4:4.
fn halves(codec: &str) -> u64 {
    let mut fields = codec.split('.');
    let mut field = || fields.next().unwrap_or_default();
    match (field(), field()) {
        ("vp8" | "vp08", _) => 3,
        ("avc1" | "avc3", profile) => match profile.get(..2) {
            Some("42" | "4d" | "4D" | "64") => 3,
            Some("6e" | "6E") => 6,
            _ => 12,
        },
        ("hvc1" | "hev1", "1") | ("vp09", "00") => 3,
        ("hvc1" | "hev1", "2") | ("vp09", "02") => 6,
        ("av01", "0") if codec.split('.').nth(3) == Some("08") => 3,
        ("av01", "0") => 6,
        _ => 12,
    }
}

/// Pictures that no process may have the memory for here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TooLarge {
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// What they would take, in bytes.
    pub bytes: u64,
    /// What there is, in bytes.
    pub most: u64,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size: (width, height), bytes, most } = self;
        let mb = |bytes: &u64| bytes.div_ceil(1_000_000);
        let (bytes, most) = (mb(bytes), mb(most));
        write!(
            f,
            "{width}x{height} in its format takes {bytes} MB of memory to encode, and there are {most} MB for it"
        )
    }
}

/// Whether a job of these may run, where all jobs together have so many bytes.
pub(crate) fn fits(source: &VideoConfig, levels: &[Level], room: u64) -> Result<u64, TooLarge> {
    let (bytes, most) = (bytes_of(source, levels), room.min(JOB_BYTES_MAX));
    let size = (source.width, source.height);
    if bytes <= most { Ok(bytes) } else { Err(TooLarge { size, bytes, most }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pixel_takes_what_its_profile_has_at_most() {
        for (codec, expect) in [
            ("avc1.42c01e", 3),
            ("avc1.64001f", 3),
            ("avc1.6e0033", 6),
            ("avc1.f40033", 12),
            ("hvc1.1.6.L93.B0", 3),
            ("hvc1.2.4.L153.B0", 6),
            ("hvc1.4.10.L153.B0", 12),
            ("vp8", 3),
            ("vp09.00.31.08", 3),
            ("vp09.02.31.10", 6),
            ("av01.0.05M.08", 3),
            ("av01.0.05M.10", 6),
            ("av01.1.05M.08", 12),
            ("", 12),
        ] {
            assert_eq!(halves(codec), expect, "{codec}");
        }
    }
}
