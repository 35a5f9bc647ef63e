//! A rung of a ladder of quality levels, as people write it.

use std::fmt;
use std::str::FromStr;

/// A level that is wanted where the original is larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    /// Pixels of the shorter side, which is the height of a picture that lies.
    pub height: u32,
    /// Bits a second at most, in kbit.
    pub max_kbps: u32,
}

/// What is wrong with a rung that somebody wrote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no level: write 720p, or 720p=2500 for at most 2500 kbit/s (heights of 96 to 4320, 50 to 100000 kbit/s)"
)]
pub struct NoRung(String);

/// A height that stands in a ladder more than once: it has one cap.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}p stands there twice: write each height once")]
pub struct Twice(u32);

/// Whether each height is there once.
pub fn each_once(rungs: &[Rung]) -> Result<(), Twice> {
    let mut heights: Vec<u32> = rungs.iter().map(|rung| rung.height).collect();
    heights.sort_unstable();
    match heights.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(Twice(pair[0])),
        None => Ok(()),
    }
}

impl FromStr for Rung {
    type Err = NoRung;

    fn from_str(text: &str) -> Result<Self, NoRung> {
        let wrong = || NoRung(text.chars().take(40).collect());
        let (height, cap) = match text.split_once('=') {
            Some((height, cap)) => (height, Some(cap)),
            None => (text, None),
        };
        let height = height.strip_suffix('p').and_then(|h| h.parse().ok()).ok_or_else(wrong)?;
        let max_kbps = match cap {
            Some(cap) => cap.parse().map_err(|_| wrong())?,
            None => usual_kbps(height),
        };
        if !(96..=4_320).contains(&height) || !(50..=100_000).contains(&max_kbps) {
            return Err(wrong());
        }
        Ok(Self { height, max_kbps })
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}p={}", self.height, self.max_kbps)
    }
}

/// What moving pictures of this height need, in kbit/s.
pub fn usual_kbps(height: u32) -> u32 {
    let table = [(144, 160), (240, 400), (360, 800), (480, 1_400), (720, 2_800), (1_080, 5_000)];
    let table = table.into_iter().chain([(1_440, 9_000), (2_160, 16_000), (4_320, 40_000)]);
    let fits = table.into_iter().find(|(h, _)| *h >= height);
    fits.map_or(40_000, |(_, kbps)| kbps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_has_each_height_once() {
        for (rungs, expect) in [
            (&[][..], None),
            (&["720p", "360p"], None),
            (&["360p", "360p"], Some("360p stands there twice: write each height once")),
            (
                &["360p=500", "720p", "360p"],
                Some("360p stands there twice: write each height once"),
            ),
        ] {
            let rungs: Vec<Rung> = rungs.iter().map(|rung| rung.parse().unwrap()).collect();
            let said = each_once(&rungs).err().map(|error| error.to_string());
            assert_eq!(said.as_deref(), expect);
        }
    }

    #[test]
    fn rungs_as_people_write_them() {
        for (text, expect) in [
            ("720p", Some("720p=2800")),
            ("480p=900", Some("480p=900")),
            ("100p", Some("100p=160")),
            ("720", None),
            ("p", None),
            ("90p", None),
            ("4321p", None),
            ("720p=", None),
            ("720p=49", None),
            ("720p=1e9", None),
            ("-720p", None),
        ] {
            let parsed = text.parse::<Rung>().ok().map(|r| r.to_string());
            assert_eq!(parsed.as_deref(), expect, "{text}");
        }
    }
}
