//! Answering for playlists.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use encode::Level;
use media::catalog::Catalog;
use package::Index;
use package::hls::{MediaOptions, Variant, VariantKind, render_multivariant};
use package::limits::RELOAD_TARGET_DURATIONS;
use package::reload::{Decision, Directives, decide};
use record::Recording;

use crate::body::Pieces;
use crate::captions;
use crate::http::{SHARED_MOMENT, in_pieces, no_content, text, too_busy};
use crate::levels::{Levels, ORIGINAL, Shown, name_of};
use crate::query::Wishes;
use crate::shelf::Shelf;
use crate::waiting::{Awaited, Busy, wait_for};

/// The multivariant playlist.
pub(crate) async fn multivariant(shelf: &Arc<Shelf>, levels: &Levels, query: &str) -> Response {
    // Until there are media playlists to point to: the first segment takes a second or two.
    let ready = wait_for(shelf, Duration::from_secs(10), Awaited::Change, |shelf| {
        let playable = shelf.with_index(package::Index::playable);
        let catalog = playable.then(|| shelf.catalog()).flatten()?;
        let shown = shelf.levels(levels);
        let variants = shelf.with_index(|index| variants(&catalog, index, shown.levels()));
        (!variants.is_empty()).then_some(variants)
    });
    let Ok(ready) = ready.await else { return too_busy() };
    match ready {
        // The bitrates in it are measured, so it changes slowly.
        Some(variants) => text(
            "application/vnd.apple.mpegurl",
            "max-age=2",
            render_multivariant(&variants, Some(&Wishes::parse(query).handed_on())).into(),
        ),
        None => no_content(SHARED_MOMENT),
    }
}

const REPORT: &[u8] = b"#EXT-X-RENDITION-REPORT:";

/// Rendition reports name playlists as the multivariant playlist does, query and all. They are the last
/// lines of a playlist that is rendered once for everybody, so only they are written anew.
fn with_query(text: &Bytes, query: &str) -> Pieces {
    let lines = text.split_inclusive(|b| *b == b'\n').rev();
    let reports: usize = lines.take_while(|l| l.starts_with(REPORT)).map(<[u8]>::len).sum();
    if query.is_empty() || reports == 0 {
        return Pieces::new([text.clone()]);
    }
    let at = text.len() - reports;
    let own = String::from_utf8_lossy(&text.slice(at..)).into_owned();
    let own = own.replace(".m3u8\",LAST-MSN", &format!(".m3u8?{query}\",LAST-MSN"));
    Pieces::new([text.slice(..at), own.into()])
}

/// What there is, best first: the catalog and what was measured.
pub(crate) fn variants(catalog: &Catalog, index: &Index, levels: &[Level]) -> Vec<Variant> {
    let tracks = catalog.tracks.iter().filter_map(|track| {
        let rendition = index.rendition(&track.name)?;
        // Until a segment is complete, the first parts tell.
        let measured = rendition.bitrate();
        let first = || rendition.segments.back().map(package::Segment::bitrate);
        let peak = measured.map(|m| m.0).or_else(first).unwrap_or(0);
        let kind = match (track.width, track.height) {
            (Some(width), Some(height)) => VariantKind::Video {
                width,
                height,
                frame_rate: track.framerate.as_ref().and_then(serde_json::Number::as_f64),
            },
            _ => VariantKind::Audio {
                channels: track.channel_config.as_ref()?.parse().ok()?,
                language: track.lang.clone(),
            },
        };
        Some(Variant {
            name: track.name.clone(),
            codec: track.codec.clone()?,
            peak: peak.max(track.bitrate.unwrap_or(0)),
            average: measured.map(|m| m.1),
            kind,
            iframes: rendition.key_bitrate(),
        })
    });
    let mut variants: Vec<Variant> = tracks.collect();
    let original = variants.iter().position(|v| v.name == ORIGINAL);
    let Some((at, original)) = original.and_then(|at| Some((at, variants.get(at)?.clone()))) else {
        return variants;
    };
    let VariantKind::Video { frame_rate, .. } = original.kind else { return variants };
    let levels = levels.iter().map(|level| Variant {
        name: name_of(level),
        codec: level.codec_string(),
        // What the encoder keeps to, known before it has begun.
        peak: u64::from(level.max_kbps) * 1_000,
        average: None,
        kind: VariantKind::Video { width: level.width, height: level.height, frame_rate },
        // Key frames of a level that nobody watches are nowhere.
        iframes: None,
    });
    variants.splice(at + 1..at + 1, levels);
    variants
}

/// The levels of a recording.
pub(crate) fn levels_of(recording: &Recording, levels: &Levels) -> Shown {
    let catalog = recording.catalog.as_deref().filter(|_| levels.renditions().is_some());
    let catalog = catalog.and_then(|json| Catalog::parse(json).ok());
    let shown = catalog.map(|catalog| levels.of(&catalog)).unwrap_or_default();
    Shown::new(Arc::new(shown), levels)
}

/// What there is of a recording; none if there is nothing.
pub(crate) fn recorded_variants(recording: &Recording, levels: &[Level]) -> Option<Vec<Variant>> {
    let catalog = recording.catalog.as_deref().and_then(|json| Catalog::parse(json).ok());
    let variants = catalog.map(|catalog| variants(&catalog, &recording.index, levels));
    variants.filter(|v| !v.is_empty())
}

/// A playlist of what is over, or waited for since the server was started again: `name` is that of a
/// rendition, or `video` for the multivariant playlist.
pub(crate) fn recorded(
    recording: &Recording,
    levels: &Levels,
    name: &str,
    query: &str,
) -> Response {
    let directives = match Directives::parse(query) {
        Ok(directives) => directives,
        Err(error) => return bad_request(&error.to_string()),
    };
    let shown = levels_of(recording, levels);
    // It may be deleted at any time: nobody keeps its playlists.
    let cache = "max-age=1";
    let list = match name {
        "video" => {
            let variants = recorded_variants(recording, shown.levels());
            let variants = variants.map(|mut all| {
                all.extend(captions::variants(recording));
                all
            });
            let query = Wishes::parse(query).handed_on();
            variants.map(|v| render_multivariant(&v, Some(&query)).into())
        }
        name => {
            if recording.index.rendition(shown.original(name)).is_none() && recording.index.ended()
            {
                return not_found("no such track");
            }
            // Who asks for a part has watched it live: its playlist ends where it was.
            let replay = recording.index.ended() && directives.msn.is_none();
            let everything = replay || Wishes::parse(query).everything;
            if shown.get(name).is_none() {
                recording.playlist(name, everything)
            } else {
                let options = MediaOptions { low_latency: false, everything, skip: false };
                let base = format!("../media/{}", recording.video.uid);
                shown.render(&recording.index, name, &base, options).map(Bytes::from)
            }
        }
    };
    match list {
        Some(list) => text("application/vnd.apple.mpegurl", cache, list),
        None if recording.video.live() => no_content(SHARED_MOMENT),
        None => not_found("nothing was recorded"),
    }
}

/// A media playlist, at once or when what is asked for is there. `by_input`: by the address at which
/// the input is watched live.
pub(crate) async fn media(
    shelf: &Arc<Shelf>,
    levels: &Levels,
    rendition: &str,
    query: &str,
    by_input: bool,
) -> Response {
    let directives = match Directives::parse(query) {
        Ok(directives) => directives,
        Err(error) => return bad_request(&error.to_string()),
    };
    let wishes = Wishes::parse(query);
    let levels = shelf.levels(levels);
    let original = levels.original(rendition);
    let target = shelf.with_index(|index| index.target_duration().unwrap_or(4));
    let patience = Duration::from_secs(u64::from(target * RELOAD_TARGET_DURATIONS));
    // Without a number it is the broadcast's beginning that is waited for.
    let awaited = directives.msn.map_or(Awaited::Change, |number| Awaited::Version {
        rendition: original.to_owned(),
        number,
        part: directives.part,
    });
    let decided = wait_for(shelf, patience, awaited, |shelf| {
        let decision = shelf.with_index(|index| decide(index, original, &directives));
        (decision != Decision::Wait).then_some(decision)
    });
    let decided = decided.await;
    let in_time = matches!(decided, Ok(Some(_)));
    match decided {
        Err(Busy) => return too_busy(),
        Ok(Some(Decision::NotFound)) => return not_found("no such track"),
        Ok(Some(Decision::TooFarAhead)) => {
            return bad_request("_HLS_msn is more than two segments ahead");
        }
        // Nothing came in time: the playlist as it is, so that the client asks again. The encoder may
        // come back.
        Ok(Some(_) | None) => {}
    }
    let ended = shelf.with_index(package::Index::ended);
    let replay = ended && !by_input && directives.msn.is_none();
    let options = MediaOptions {
        low_latency: wishes.low_latency(shelf.about().low_latency),
        everything: wishes.everything || replay,
        skip: directives.skip,
    };
    shelf.counters().playlists.fetch_add(1, Ordering::Relaxed);
    match shelf.playlist(rendition, options, &levels) {
        Some(playlist) => {
            let cache = cache(shelf, directives.msn.is_some() && in_time);
            in_pieces(
                "application/vnd.apple.mpegurl",
                cache,
                with_query(&playlist, &wishes.handed_on()),
            )
        }
        None => not_found("nothing to play yet"),
    }
}

/// An answer to a request for a certain part never changes: in shared caches it is good for as long as the window
/// lasts (six target durations, RFC 8216bis §6.2.5.2). A player has no use for it twice, and video.js 8 asks for a
/// segment's last part until the next segment has begun: its own cache must not answer. One that came too late, or was
/// not waited for, is fresh for a moment only.
fn cache(shelf: &Shelf, exact: bool) -> String {
    let (ended, target) = shelf.with_index(|i| (i.ended(), i.target_duration().unwrap_or(2)));
    match (ended, exact) {
        (true, _) => "max-age=10".to_owned(),
        (false, true) => format!("max-age=0, s-maxage={}", target * 6),
        (false, false) => "max-age=1".to_owned(),
    }
}

pub(crate) fn bad_request(words: &str) -> Response {
    crate::http::plain(axum::http::StatusCode::BAD_REQUEST, words)
}

pub(crate) fn not_found(words: &str) -> Response {
    crate::http::plain(axum::http::StatusCode::NOT_FOUND, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: Pieces) -> String {
        let bytes: Vec<u8> = pieces.into_iter().flatten().collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn reports_have_the_query_that_the_multivariant_playlist_gave() {
        let media = "#EXTM3U\n#EXTINF:2.0,\n../media/V/v/1-1.m4s\n";
        let report = |query: &str| {
            ["a", "b"].map(|name| {
                format!(
                    "#EXT-X-RENDITION-REPORT:URI=\"{name}.m3u8{query}\",LAST-MSN=7,LAST-PART=1\n"
                )
            })
        };
        let text = Bytes::from(format!("{media}{}", report("").concat()));
        for (query, expect) in [
            ("", ""),
            ("protocol=llhls", "?protocol=llhls"),
            ("dvrEnabled=true&protocol=hls", "?dvrEnabled=true&protocol=hls"),
        ] {
            let expect = format!("{media}{}", report(expect).concat());
            assert_eq!(written(with_query(&text, query)), expect, "{query}");
        }
        let ended = Bytes::from("#EXTM3U\n#EXT-X-ENDLIST\n");
        assert_eq!(written(with_query(&ended, "dvrEnabled=true")), "#EXTM3U\n#EXT-X-ENDLIST\n");
    }
}
