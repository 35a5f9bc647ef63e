//! From what a broadcast is and what was measured of it to what the multivariant playlist lists.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use media::catalog::{Bitrate, Catalog};

use super::multivariant::{ROOM_LIVE, Variant, VariantKind};
use crate::dash::Content;
use crate::index::{Index, Rendition, Segment};

/// Which segments the playlists list that a list of tracks leads to.
#[derive(Debug, Clone)]
pub enum Listed {
    /// All that there is.
    Everything,
    /// The live window, with this target duration.
    Window(u32),
    /// These.
    Numbers(RangeInclusive<u64>),
}

impl Listed {
    /// Those of everything, or of the live window.
    pub fn of(index: &Index, everything: bool) -> Self {
        match index.target_duration() {
            Some(target) if !everything => Self::Window(target),
            // Until it is fixed there is no more than a window.
            _ => Self::Everything,
        }
    }
}

/// What is in the segments that are listed: an encoder may have changed its configuration.
#[derive(Debug)]
pub struct Formats<'a> {
    /// By initialisation segment.
    contents: &'a BTreeMap<u64, Content>,
    listed: Listed,
}

impl<'a> Formats<'a> {
    /// What is known of initialisation segments, and what is listed.
    pub fn new(contents: &'a BTreeMap<u64, Content>, listed: Listed) -> Self {
        Self { contents, listed }
    }

    /// Each one once, in their order.
    fn of(&self, rendition: &Rendition) -> Vec<&'a Content> {
        let mut found: Vec<&Content> = Vec::new();
        let mut last = None;
        let mut look = |segment: &Segment| {
            let init = segment.info.init;
            if last.replace(init) != Some(init)
                && let Some(content) = self.contents.get(&init)
                && !found.contains(&content)
            {
                found.push(content);
            }
        };
        match &self.listed {
            Listed::Everything => rendition.segments.iter().for_each(&mut look),
            Listed::Window(target) => {
                let from = rendition.window_start(*target);
                rendition.segments.iter().skip(from).for_each(&mut look);
            }
            Listed::Numbers(numbers) => {
                rendition
                    .segments
                    .iter()
                    .filter(|s| numbers.contains(&s.number))
                    .for_each(&mut look);
            }
        }
        found
    }

    /// RFC 8216bis §4.4.6.2: "every format that is present in any Media Segment". The newest one first.
    fn codecs(&self, rendition: &Rendition, newest: &str) -> String {
        let mut codecs = vec![newest];
        for content in self.of(rendition) {
            if !codecs.contains(&&*content.codec) {
                codecs.push(&content.codec);
            }
        }
        codecs.join(",")
    }

    /// The largest of all sizes that are listed, as they are shown (§4.4.6.2).
    fn size(&self, rendition: &Rendition, newest: (u32, u32)) -> (u32, u32) {
        let sizes = self.of(rendition).into_iter().filter_map(Content::display_size);
        let area = |(width, height): &(u32, u32)| u64::from(*width) * u64::from(*height);
        sizes.chain([newest]).max_by_key(area).unwrap_or(newest)
    }
}

/// What there is of what an encoder sends, best first: the catalog and what was measured.
pub fn variants(catalog: &Catalog, index: &Index, formats: &Formats<'_>) -> Vec<Variant> {
    let tracks = catalog.tracks.iter().filter_map(|track| {
        let rendition = index.rendition(&track.name)?;
        // Until a segment is complete, the first parts tell.
        let measured = rendition.bitrate(index.target_duration());
        let first = || rendition.segments.back().map(Segment::bitrate);
        let peak = measured.map(|m| m.0).or_else(first).unwrap_or(0);
        // What is over is what was measured of it (§4.4.6.2). While it is live, what the catalog says is what was declared,
        // unless it is what was measured when it was written.
        let declared = track.bitrate.filter(|said| {
            measured.is_none_or(|(peak, _)| !index.ended() && Bitrate::is_off(*said, peak))
        });
        let width = track.display_width.or(track.width);
        let kind = match (width, track.display_height.or(track.height)) {
            (Some(width), Some(height)) => {
                let (width, height) = formats.size(rendition, (width, height));
                let frame_rate = match &track.framerate {
                    Some(rate) => rate.as_f64(),
                    None => None,
                };
                VariantKind::Video { width, height, frame_rate }
            }
            _ => VariantKind::Audio {
                channels: track.channel_config.as_ref()?.parse().ok()?,
                language: track.lang.clone(),
                original: None,
            },
        };
        Some(Variant {
            name: track.name.clone(),
            codec: formats.codecs(rendition, track.codec.as_ref()?),
            peak: peak.max(declared.unwrap_or(0)),
            room_percent: if index.ended() { 0 } else { ROOM_LIVE },
            average: measured.map(|m| m.1),
            kind,
            iframes: rendition.key_bitrate(index.target_duration()),
        })
    });
    let mut variants: Vec<Variant> = tracks.collect();
    if !variants.is_empty() {
        variants.extend(catalog.instream_ids().into_iter().map(Variant::embedded));
    }
    variants
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use media::codec::{Config, h264};
    use spine::Location;

    use super::*;
    use crate::hls::{attribute, render_multivariant};
    use crate::properties;

    /// H.264 of this level.
    fn content(level: u8) -> Content {
        let mut sps = vec![0x67, 0x64, 0x00, level, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0];
        sps.extend([0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xf0, 0x3c, 0x60, 0xc6, 0x58]);
        let pps = vec![0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];
        let record = h264::DecoderConfiguration::new(vec![sps.into()], vec![pps.into()]).unwrap();
        Content::new(&Config::Video(Arc::new(record).config()))
    }

    #[test]
    fn every_format_of_what_is_listed_is_named_and_no_other() {
        let mut index = Index::new();
        for number in 1..=30u64 {
            let part = properties::Part {
                duration: 180_000,
                independent: true,
                last: true,
                closes: false,
                target_ms: 334,
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let segment = properties::Segment {
                timescale: 90_000,
                epoch: 1,
                wall_clock_ms: number * 2_000,
                start: number * 180_000,
                discontinuity: matches!(number, 11 | 21),
                discontinuity_sequence: number / 11,
                gap: false,
                // The encoder goes from one to another and back.
                init: if (11..21).contains(&number) { 2 } else { 1 },
            };
            let at = Location { group: number, object: 0 };
            index.add("video.cmaf", at, &part, Some(segment), 9).unwrap();
        }
        let contents = BTreeMap::from([(1, content(0x28)), (2, content(0x32))]);
        let (small, large) = ("avc1.640028", "avc1.640032");
        let catalog = Catalog::parse(
            format!(
                r#"{{"version":"draft-01","tracks":[{{"name":"video.cmaf","packaging":"cmaf",
                "isLive":true,"codec":"{small}","width":640,"height":360}}]}}"#
            )
            .as_bytes(),
        )
        .unwrap();
        // Pixels twice as wide as they are high: it is shown at 2560x720.
        let wide = Catalog::parse(
            br#"{"version":"draft-01","tracks":[{"name":"video.cmaf","packaging":"cmaf","isLive":true,
            "codec":"avc1.640028","width":1280,"height":720,"displayWidth":2560,"displayHeight":720}]}"#,
        );
        let none = BTreeMap::new();
        let shown = variants(&wide.unwrap(), &index, &Formats::new(&none, Listed::Everything));
        let text = render_multivariant(&shown, None);
        assert!(text.contains("RESOLUTION=2560x720"), "{text}");
        let both = format!("{small},{large}");
        for (listed, expect) in [
            (Listed::Everything, &*both),
            (Listed::Window(2), small),
            (Listed::Numbers(1..=10), small),
            (Listed::Numbers(10..=11), &both),
            (Listed::Numbers(20..=20), &both),
        ] {
            let formats = Formats::new(&contents, listed.clone());
            let variants = variants(&catalog, &index, &formats);
            assert_eq!(variants[0].codec, expect, "{listed:?}");
            let text = render_multivariant(&variants, None);
            assert!(text.contains(&format!("CODECS=\"{expect}\"")), "{text}");
            assert!(text.contains("RESOLUTION=1920x1080"), "the largest: {text}");
        }
    }

    #[test]
    fn bandwidth_follows_the_larger_of_what_was_declared_and_what_was_measured() {
        let mut index = Index::new();
        let add = |index: &mut Index, number: u64, bytes: u64| {
            let part = properties::Part {
                duration: 180_000,
                independent: true,
                last: true,
                closes: false,
                target_ms: 2_000,
                target_duration: Some(2),
                open: false,
                key_bytes: None,
            };
            let segment = properties::Segment {
                timescale: 90_000,
                epoch: 1,
                wall_clock_ms: number * 2_000,
                start: number * 180_000,
                discontinuity: false,
                discontinuity_sequence: 0,
                gap: false,
                init: 1,
            };
            let at = Location { group: number, object: 0 };
            index.add("video.cmaf", at, &part, Some(segment), bytes).unwrap();
        };
        let bandwidth = |index: &Index, declared: u64| {
            let catalog = format!(
                r#"{{"version":"draft-01","tracks":[{{"name":"video.cmaf","packaging":"cmaf",
                "isLive":true,"codec":"avc1.640028","width":640,"height":360,"bitrate":{declared}}}]}}"#
            );
            let catalog = Catalog::parse(catalog.as_bytes()).unwrap();
            let contents = BTreeMap::new();
            let formats = Formats::new(&contents, Listed::of(index, false));
            let text = render_multivariant(&variants(&catalog, index, &formats), None);
            let line = text.lines().find_map(|l| l.strip_prefix("#EXT-X-STREAM-INF:"));
            attribute(line.unwrap(), "BANDWIDTH").unwrap().parse::<u64>().unwrap()
        };
        // 1, 3 and 1 Mbit/s in two seconds each; each list is rendered anew of what there is by then.
        add(&mut index, 1, 250_000);
        assert_eq!((bandwidth(&index, 0), bandwidth(&index, 2_000_000)), (1_200_000, 2_400_000));
        assert_eq!(bandwidth(&index, 1_050_000), 1_200_000, "was measured, and is a little less");
        add(&mut index, 2, 750_000);
        assert_eq!((bandwidth(&index, 0), bandwidth(&index, 2_000_000)), (3_600_000, 3_600_000));
        add(&mut index, 3, 250_000);
        assert_eq!((bandwidth(&index, 0), bandwidth(&index, 5_000_000)), (3_600_000, 6_000_000));
    }
}
