//! What a picture is asked for with: `time=8m&width=640&height=360&fit=crop`, as `reference/cloudflare-api.md` §5.1 has it, and
//! the names of sheets.

use encode::limits::{PICTURE_SIDE_MAX, PICTURE_SIDE_MIN, SHEET_SIDE};
use encode::{Fit, Size};

use crate::clip::{Wrong, time};
use crate::limits::{FILM_FPS_MAX, FILM_MAX, PICTURE_STEP_MS};
use crate::share::parameter;

/// A file of `/ID/thumbnails/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `thumbnail.jpg`.
    Thumbnail {
        /// From the beginning, in milliseconds.
        at_ms: Option<u64>,
        size: Size,
    },
    /// `thumbnail.gif`.
    Film { at_ms: Option<u64>, duration_ms: u32, every_ms: u32, size: Size },
    /// `storyboard.vtt`.
    Storyboard,
    /// `sheet-EVERY-FROM-TO.jpg`.
    Sheet(Sheet),
}

/// The pictures of every so many segments, on one sheet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sheet {
    pub(crate) every: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Tiles of a sheet.
pub(crate) const TILES: u64 = SHEET_SIDE as u64 * SHEET_SIDE as u64;

impl Sheet {
    /// Exactly as storyboards write it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix("sheet-")?.strip_suffix(".jpg")?.split('-');
        let mut next = || numbers.next()?.parse::<u64>().ok();
        let sheet = Self { every: next()?, from: next()?, to: next()? };
        let Self { every, from, to } = sheet;
        let tiles = to.checked_sub(from)?.checked_div(every)?;
        let fits = from % every == 0 && to % every == 0;
        (tiles < TILES && fits && sheet.name() == name).then_some(sheet)
    }

    pub(crate) fn name(&self) -> String {
        format!("sheet-{}-{}-{}.jpg", self.every, self.from, self.to)
    }
}

impl Asked {
    /// None: there is no such file.
    pub(crate) fn parse(file: &str, query: &str) -> Result<Option<Self>, Wrong> {
        Ok(Some(match file {
            "thumbnail.jpg" => Self::Thumbnail { at_ms: at(query)?, size: size(query)? },
            "thumbnail.gif" => {
                let fps = whole(query, "fps", 1, FILM_FPS_MAX)?.unwrap_or(8);
                let duration_ms = duration(query)?;
                Self::Film {
                    at_ms: at(query)?,
                    duration_ms,
                    every_ms: 1_000 / fps,
                    size: size(query)?,
                }
            }
            "storyboard.vtt" => Self::Storyboard,
            name => return Ok(Sheet::parse(name).map(Self::Sheet)),
        }))
    }
}

/// In steps, so that those who ask for any time don't make a picture each.
fn at(query: &str) -> Result<Option<u64>, Wrong> {
    let at = time(query, "time")?.map(|ns| ns / 1_000_000);
    Ok(at.map(|ms| ms - ms % PICTURE_STEP_MS))
}

fn duration(query: &str) -> Result<u32, Wrong> {
    let longest = FILM_MAX.as_nanos();
    match time(query, "duration")? {
        None => Ok(5_000),
        Some(ns) if ns >= 100_000_000 && u128::from(ns) <= longest => {
            Ok(u32::try_from(ns / 1_000_000).unwrap_or(u32::MAX))
        }
        Some(_) => Err(format!("duration: from 0.1 to {} s", FILM_MAX.as_secs())),
    }
}

fn size(query: &str) -> Result<Size, Wrong> {
    let side = |name| whole(query, name, PICTURE_SIDE_MIN, PICTURE_SIDE_MAX);
    let fit = match parameter(query, "fit").as_deref() {
        None | Some("crop") => Fit::Crop,
        Some("clip") => Fit::Clip,
        Some("scale") => Fit::Scale,
        Some("fill") => Fit::Fill,
        Some(_) => return Err("fit: crop, clip, scale or fill".to_owned()),
    };
    Ok(Size { width: side("width")?, height: side("height")?, fit })
}

fn whole(query: &str, name: &str, least: u32, most: u32) -> Result<Option<u32>, Wrong> {
    let Some(text) = parameter(query, name) else { return Ok(None) };
    let number = text.parse().ok().filter(|n| (least..=most).contains(n));
    number.map(Some).ok_or_else(|| format!("{name}: a whole number from {least} to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_within_bounds_or_refused_in_words() {
        let side = format!("a whole number from {PICTURE_SIDE_MIN} to {PICTURE_SIDE_MAX}");
        for (query, expect) in [
            ("", Ok((None, None, None, Fit::Crop))),
            ("time=5m2s&height=270", Ok((Some(302_000), None, Some(270), Fit::Crop))),
            (
                "time=1.2345s&width=8&height=1920&fit=fill",
                Ok((Some(1_200), Some(8), Some(1920), Fit::Fill)),
            ),
            ("fit=clip&x=y", Ok((None, None, None, Fit::Clip))),
            ("fit=cover", Err("fit: crop, clip, scale or fill".to_owned())),
            ("width=7", Err(format!("width: {side}"))),
            ("height=1921", Err(format!("height: {side}"))),
            ("width=-1", Err(format!("width: {side}"))),
            ("width=99999999999999999999", Err(format!("width: {side}"))),
            ("width=", Err(format!("width: {side}"))),
        ] {
            let asked = Asked::parse("thumbnail.jpg", query).map(|asked| match asked {
                Some(Asked::Thumbnail { at_ms, size }) => {
                    (at_ms, size.width, size.height, size.fit)
                }
                other => panic!("{other:?}"),
            });
            assert_eq!(asked, expect, "{query}");
        }
        for wrong in ["time=x", "time=-1", "time=1e9", "time=99999999h"] {
            assert!(Asked::parse("thumbnail.jpg", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn films_are_short() {
        let film = |query| match Asked::parse("thumbnail.gif", query) {
            Ok(Some(Asked::Film { duration_ms, every_ms, .. })) => Ok((duration_ms, every_ms)),
            other => Err(other),
        };
        assert_eq!(film(""), Ok((5_000, 125)));
        assert_eq!(film("duration=2s&fps=10"), Ok((2_000, 100)));
        for wrong in ["duration=0", "duration=10.1", "fps=0", "fps=16", "fps=x", "duration=0.01"] {
            assert!(film(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_names_that_storyboards_write_are_sheets() {
        let sheet = |every, from, to| Some(Asked::Sheet(Sheet { every, from, to }));
        for (name, expect) in [
            ("sheet-1-100-124.jpg", sheet(1, 100, 124)),
            ("sheet-4-100-100.jpg", sheet(4, 100, 100)),
            ("sheet-1-100-125.jpg", None),
            ("sheet-1-100-99.jpg", None),
            ("sheet-2-100-101.jpg", None),
            ("sheet-0-100-100.jpg", None),
            ("sheet-1-0100-124.jpg", None),
            ("sheet-+1-100-124.jpg", None),
            ("sheet-1-100-124-1.jpg", None),
            ("sheet-1-0-18446744073709551615.jpg", None),
            ("sheet-18446744073709551615-0-18446744073709551615.jpg", sheet(u64::MAX, 0, u64::MAX)),
            ("sheet-1-100.jpg", None),
            ("thumbnail.png", None),
            ("", None),
        ] {
            assert_eq!(Asked::parse(name, ""), Ok(expect), "{name}");
        }
    }
}
