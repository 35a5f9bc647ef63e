//! Answering for MPDs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use media::catalog::Catalog;
use package::dash::{Content, MpdOptions, Sources, render_mpd};
use package::hls::{Formats, Listed, Variant, nearest};
use package::{Index, Version};
use record::{File, Recording};

use crate::captions;
use crate::http::{SHARED_MOMENT, no_content, text, too_busy};
use crate::levels::{Levels, ListedLevel, Shown};
use crate::library::Library;
use crate::limits::RENDERINGS_MAX;
use crate::playlist::{levels_of, not_found, recorded_variants, variants};
use crate::query::Wishes;
use crate::shelf::Shelf;
use crate::waiting::{Awaited, Waiter, wait_for};

const MPD: &str = "application/dash+xml";

/// What a shelf keeps for its MPDs.
#[derive(Default)]
pub(crate) struct Mpds {
    /// By initialisation segment; bounded by how many of them a broadcast may have.
    contents: BTreeMap<u64, Content>,
    renderings: Vec<Rendering>,
    /// By rendition, its peak when a bandwidth was first looked for; bounded by how many renditions a broadcast may have.
    first_peaks: BTreeMap<String, u64>,
}

impl Mpds {
    /// What is known of initialisation segments.
    pub(crate) fn contents(&self) -> &BTreeMap<u64, Content> {
        &self.contents
    }

    /// Which picture is nearest to so many bits a second. Its MPD is read again and again: what is measured meanwhile must not
    /// put another picture in its place, which a player would take for the end of this one.
    fn nearest(&mut self, mut variants: Vec<Variant>, bits: u64) -> Option<String> {
        for variant in &mut variants {
            let first = self.first_peaks.entry(variant.name.clone()).or_insert(variant.peak);
            variant.peak = *first;
        }
        nearest(&variants, bits).map(str::to_owned)
    }
}

struct Rendering {
    options: MpdOptions,
    /// Levels that it lists.
    levels: Vec<package::dash::Level>,
    /// The only pictures that it lists.
    only: Option<String>,
    versions: Vec<Version>,
    text: Bytes,
}

/// The MPD of what is on the air.
pub(crate) async fn mpd(
    shelf: &Arc<Shelf>,
    levels: &Levels,
    query: &str,
    waiter: Waiter,
) -> Response {
    let wishes = Wishes::parse(query);
    let options = MpdOptions {
        low_latency: wishes.low_latency(shelf.about().low_latency),
        everything: wishes.everything == Some(true),
        length_ns: None,
    };
    // As for HLS: the first segment takes a second or two.
    let playable = wait_for(shelf, waiter, Duration::from_secs(10), Awaited::Change, |shelf| {
        shelf.with_index(Index::playable).then_some(())
    });
    if let Err(busy) = playable.await {
        return busy.response();
    }
    learn(shelf).await;
    shelf.counters().playlists.fetch_add(1, Ordering::Relaxed);
    match rendered(shelf, &shelf.levels(levels), options, wishes) {
        Some(text_of) => text(MPD, "max-age=1", text_of),
        None => no_content(SHARED_MOMENT),
    }
}

/// Reads the initialisation segments that are listed and not known yet.
pub(crate) async fn learn(shelf: &Arc<Shelf>) {
    let unknown: BTreeMap<u64, String> = shelf.with_mpds(|index, mpds| {
        inits(index).filter(|(init, _)| !mpds.contents.contains_key(init)).collect()
    });
    for (init, rendition) in unknown {
        let bytes = match shelf.init(init) {
            Some(pieces) => Some(Bytes::from(pieces.concat())),
            // It was made before the server was started again.
            None => shelf.recorded(&rendition, File::Init(init)).await.unwrap_or_default(),
        };
        if let Some(content) = bytes.as_ref().and_then(Content::from_init) {
            shelf.with_mpds(|_, mpds| mpds.contents.insert(init, content));
        }
    }
}

/// Rendered once a version, shared by all who ask.
fn rendered(shelf: &Shelf, shown: &Shown, options: MpdOptions, wishes: Wishes) -> Option<Bytes> {
    let catalog = shelf.catalog();
    let languages = catalog.as_ref().map(languages).unwrap_or_default();
    let embedded = catalog.as_ref().map(embedded).unwrap_or_default();
    let listed = shown.listed(&shelf.about().video, || shelf.original_bits());
    shelf.with_mpds(|index, mpds| {
        let list: Vec<_> = listed.iter().map(ListedLevel::in_mpd).collect();
        let only = wishes.bandwidth.zip(catalog.as_ref()).and_then(|(bits, catalog)| {
            let formats = Formats::new(&mpds.contents, Listed::of(index, false));
            let variants = variants(catalog, index, &listed, &formats);
            mpds.nearest(variants, bits)
        });
        let versions: Vec<Version> =
            index.renditions().map(|(name, _)| index.version(name)).collect();
        let there = mpds.renderings.iter().find(|r| {
            r.versions == versions && r.options == options && r.levels == list && r.only == only
        });
        if let Some(there) = there {
            return Some(there.text.clone());
        }
        let base = format!("../media/{}", shelf.about().video);
        let contents = &mpds.contents;
        let init = |level: &str, original: u64| shown.init(level, original);
        let levels = Some(shown.beside_original(&list, &init));
        let (languages, embedded) = (&languages, &embedded);
        let (only_these, captions) = (only.as_deref(), &[][..]);
        let sources = Sources {
            contents,
            languages,
            embedded,
            captions,
            levels,
            only: only_these,
            base: &base,
        };
        let text = Bytes::from(render_mpd(index, sources, options)?);
        shelf.counters().renderings.fetch_add(1, Ordering::Relaxed);
        mpds.renderings.retain(|r| r.versions == versions);
        if mpds.renderings.len() < RENDERINGS_MAX {
            let text = text.clone();
            mpds.renderings.push(Rendering { options, levels: list, only, versions, text });
        }
        Some(text)
    })
}

/// The MPD of what is over, or waited for since the server was started again.
pub(crate) async fn recorded(library: &Library, recording: &Recording, query: &str) -> Response {
    let video = &recording.video.uid;
    let mut contents = BTreeMap::new();
    for (init, rendition) in inits(&recording.index) {
        if contents.contains_key(&init) {
            continue;
        }
        match library.history().file(video, &rendition, File::Init(init)).await {
            Ok(bytes) => {
                let content = bytes.as_ref().and_then(Content::from_init);
                contents.extend(content.map(|content| (init, content)));
            }
            Err(error) => {
                tracing::warn!(%video, %error, "can't read a recording");
                return too_busy();
            }
        }
    }
    let catalog = recording.catalog.as_deref().and_then(|json| Catalog::parse(json).ok());
    let languages = catalog.as_ref().map(languages).unwrap_or_default();
    let embedded = catalog.as_ref().map(embedded).unwrap_or_default();
    let base = format!("../media/{video}");
    let captions = captions::labels(recording);
    let shown = levels_of(recording, library.levels());
    let listed = shown.listed_of(recording);
    let list: Vec<_> = listed.iter().map(ListedLevel::in_mpd).collect();
    let init = |level: &str, original: u64| shown.init(level, original);
    let only = Wishes::parse(query).bandwidth.and_then(|bits| {
        let variants = recorded_variants(recording, &listed, Listed::Everything)?;
        nearest(&variants, bits).map(str::to_owned)
    });
    let sources = Sources {
        contents: &contents,
        languages: &languages,
        embedded: &embedded,
        captions: &captions,
        levels: Some(shown.beside_original(&list, &init)),
        only: only.as_deref(),
        base: &base,
    };
    // A clip ends with its last picture, and sound has frames of its own.
    let length_ns = recording.video.clip.as_ref().map(|c| c.hidden_ns.saturating_add(c.seen_ns));
    let options = MpdOptions { low_latency: false, everything: true, length_ns };
    match render_mpd(&recording.index, sources, options) {
        // It may be deleted at any time: nobody keeps it.
        Some(mpd) => text(MPD, "max-age=1", mpd.into()),
        None if recording.video.live() => no_content(SHARED_MOMENT),
        None => not_found("nothing was recorded"),
    }
}

/// Each initialisation segment that an index names, with a rendition that has it.
fn inits(index: &Index) -> impl Iterator<Item = (u64, String)> + '_ {
    index.renditions().flat_map(|(name, rendition)| {
        let mut last = None;
        rendition.segments.iter().filter_map(move |segment| {
            let init = segment.info.init;
            (last.replace(init) != Some(init)).then(|| (init, name.to_owned()))
        })
    })
}

fn languages(catalog: &Catalog) -> BTreeMap<String, String> {
    let tracks = catalog.tracks.iter();
    tracks.filter_map(|t| Some((t.name.clone(), t.lang.clone()?))).collect()
}

/// Descriptors of captions inside the pictures, each once.
fn embedded(catalog: &Catalog) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for one in catalog.tracks.iter().flat_map(|track| &track.accessibility) {
        let pair = (one.scheme.clone(), one.value.clone());
        if !found.contains(&pair) {
            found.push(pair);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use package::hls::VariantKind;

    use super::*;

    #[test]
    fn what_is_measured_later_does_not_put_another_picture_in_its_place() {
        let video = |name: &str, peak: u64| Variant {
            name: name.to_owned(),
            codec: "avc1.64001f".to_owned(),
            peak,
            room_percent: 0,
            average: None,
            kind: VariantKind::Video { width: 640, height: 360, frame_rate: None },
            iframes: None,
        };
        let mut mpds = Mpds::default();
        let mut chosen = |peaks: &[(&str, u64)], bits| {
            mpds.nearest(peaks.iter().map(|(name, peak)| video(name, *peak)).collect(), bits)
        };
        // Of the level nothing was made yet; what it takes is less than what was asked for.
        let before = [("video", 900_000), ("video.240p", 20_000_000)];
        let after = [("video", 900_000), ("video.240p", 300_000)];
        assert_eq!(chosen(&before, 24_000_000).as_deref(), Some("video.240p"));
        assert_eq!(chosen(&after, 24_000_000).as_deref(), Some("video.240p"));
        assert_eq!(chosen(&after, 500_000).as_deref(), Some("video"));
        // One that is new counts as what it is now; one that is gone is no choice.
        let more = [after[0], after[1], ("video.480p", 23_000_000)];
        assert_eq!(chosen(&more, 24_000_000).as_deref(), Some("video.480p"));
        assert_eq!(chosen(&[after[0]], 24_000_000).as_deref(), Some("video"));
    }
}
