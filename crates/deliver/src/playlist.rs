//! Answering for playlists.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use encode::{Kind, Ladder, SOUND_LEVEL_CHANNELS};
use media::catalog::Catalog;
use package::hls::{
    Formats, Listed, MediaOptions, Variant, VariantKind, nearest, render_multivariant,
};
use package::limits::RELOAD_TARGET_DURATIONS;
use package::reload::{Decision, Directives, decide};
use package::{Index, Rendition};
use record::Recording;

use crate::body::Pieces;
use crate::http::{SHARED_MOMENT, in_pieces, no_content, text};
use crate::levels::{Codecs, Levels, ListedLevel, Shown};
use crate::query::Wishes;
use crate::shelf::Shelf;
use crate::waiting::{Awaited, Waiter, wait_for};
use crate::{captions, dash};

/// The multivariant playlist.
pub(crate) async fn multivariant(
    shelf: &Arc<Shelf>,
    levels: &Levels,
    query: &str,
    by_input: bool,
    waiter: Waiter,
) -> Response {
    // Until there are media playlists to point to: the first segment takes a second or two.
    let ready = wait_for(shelf, waiter, Duration::from_secs(10), Awaited::Change, |shelf| {
        let playable = shelf.with_index(package::Index::playable);
        playable.then(|| shelf.catalog()).flatten()
    });
    let ready = match ready.await {
        Ok(ready) => ready,
        Err(busy) => return busy.response(),
    };
    let wishes = Wishes::parse(query);
    let variants = match ready {
        Some(catalog) => {
            // Its first segments came while this waited.
            dash::learn(shelf).await;
            let shown = shelf.levels(levels);
            let levels = shown.listed(&shelf.about().video, || shelf.original_bits());
            Some(shelf.with_mpds(|index, mpds| {
                let everything = wishes.everything == Some(true) || index.ended();
                let listed = Listed::of(index, everything);
                variants(&catalog, index, &levels, &Formats::new(mpds.contents(), listed))
            }))
        }
        None => None,
    };
    match variants.filter(|variants| !variants.is_empty()) {
        // The bitrates in it are measured, so it changes slowly; what has ended may be deleted at any time.
        Some(variants) => {
            let ended = shelf.with_index(Index::ended);
            let query = wishes.of_lists(by_input, ended).handed_on();
            text(
                "application/vnd.apple.mpegurl",
                if ended { "max-age=1" } else { "max-age=2" },
                render_multivariant(&for_bandwidth(variants, wishes), Some(&query)).into(),
            )
        }
        None => no_content(SHARED_MOMENT),
    }
}

/// Of the pictures only the one that is nearest to what the client says that it has.
pub(crate) fn for_bandwidth(mut variants: Vec<Variant>, wishes: Wishes) -> Vec<Variant> {
    let only = wishes.bandwidth.and_then(|bits| nearest(&variants, bits)).map(str::to_owned);
    if let Some(only) = only {
        let video = |v: &Variant| matches!(v.kind, VariantKind::Video { .. });
        variants.retain(|v| !video(v) || v.name == only);
    }
    variants
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

/// What there is, best first, with the levels that are made of it.
pub(crate) fn variants(
    catalog: &Catalog,
    index: &Index,
    levels: &[ListedLevel],
    formats: &Formats<'_>,
) -> Vec<Variant> {
    let mut variants = package::hls::variants(catalog, index, formats);
    let is_picture = |v: &&Variant| matches!(v.kind, VariantKind::Video { .. });
    // Pictures stand behind all originals, as sound does, where those come who can't play one.
    let mut behind = variants.iter().take_while(|v| is_picture(v)).count();
    for listed in levels {
        let original = variants.iter().find(|v| v.name == listed.offered.original);
        let Some(level) = original.and_then(|original| variant(listed, original)) else {
            continue;
        };
        match listed.offered.level.kind {
            Kind::Pictures { .. } => {
                variants.insert(behind, level);
                behind += 1;
            }
            Kind::Sound(_) => variants.push(level),
        }
    }
    variants
}

/// A level of what is listed.
fn variant(listed: &ListedLevel, original: &Variant) -> Option<Variant> {
    let level = &listed.offered.level;
    let kind = match (level.kind, &original.kind) {
        (Kind::Pictures { width, height, .. }, VariantKind::Video { frame_rate, .. }) => {
            VariantKind::Video { width, height, frame_rate: *frame_rate }
        }
        (Kind::Sound(_), VariantKind::Audio { language, .. }) => VariantKind::Audio {
            channels: SOUND_LEVEL_CHANNELS.into(),
            language: language.clone(),
            original: Some(original.name.clone()),
        },
        _ => return None,
    };
    Some(Variant {
        name: listed.offered.name.clone(),
        codec: level.codec_string(),
        peak: listed.bits.peak,
        room_percent: 0,
        average: listed.bits.average,
        kind,
        // Key frames of a level that nobody watches are nowhere.
        iframes: None,
    })
}

/// The levels of a recording: its catalog is read for them once, whatever is asked for.
pub(crate) fn levels_of(recording: &Recording, levels: &Levels) -> Shown {
    let none = || Shown::new(Arc::default(), levels);
    if levels.renditions().is_none() {
        return none();
    }
    let kept = recording.derived(|| {
        let catalog = recording.catalog.as_deref().and_then(|json| Catalog::parse(json).ok());
        let own = recording.video.settings.ladder.as_deref().map(Ladder::parse);
        let before = codecs(inits_of(&recording.index), |init| {
            recording.contents.get(&init).map(|content| content.codec.clone())
        });
        let shown = catalog.map(|catalog| levels.of(&catalog, own.as_ref(), &before));
        Shown::new(Arc::new(shown.unwrap_or_default()), levels)
    });
    kept.cloned().unwrap_or_else(none)
}

/// What the segments of each rendition begin with.
pub(crate) fn inits_of(index: &Index) -> BTreeMap<String, BTreeSet<u64>> {
    let inits = |r: &Rendition| r.segments.iter().map(|s| s.info.init).collect();
    index.renditions().map(|(name, rendition)| (name.to_owned(), inits(rendition))).collect()
}

/// The codecs of all that, as far as they are known.
pub(crate) fn codecs(
    inits: BTreeMap<String, BTreeSet<u64>>,
    codec: impl Fn(u64) -> Option<String>,
) -> Codecs {
    let codecs = |inits: BTreeSet<u64>| inits.into_iter().filter_map(&codec).collect();
    inits.into_iter().map(|(name, inits)| (name, codecs(inits))).collect()
}

/// What there is of a recording; none if there is nothing.
pub(crate) fn recorded_variants(
    recording: &Recording,
    levels: &[ListedLevel],
    listed: Listed,
) -> Option<Vec<Variant>> {
    let catalog = recording.catalog.as_deref().and_then(|json| Catalog::parse(json).ok());
    let formats = Formats::new(&recording.contents, listed);
    let variants = catalog.map(|catalog| variants(&catalog, &recording.index, levels, &formats));
    variants.filter(|v| !v.is_empty())
}

/// A playlist of what is over, or waited for since the server was started again: `name` is that of a
/// rendition, or `video` for the multivariant playlist.
pub(crate) fn recorded(
    recording: &Recording,
    levels: &Levels,
    name: &str,
    query: &str,
    by_input: bool,
) -> Response {
    if let Err(error) = Directives::parse(query) {
        return bad_request(&error.to_string());
    }
    let shown = levels_of(recording, levels);
    let wishes = Wishes::parse(query);
    // It may be deleted at any time: nobody keeps its playlists.
    let cache = "max-age=1";
    let list = match name {
        "video" => {
            let everything = recording.index.ended() || wishes.everything == Some(true);
            let listed = Listed::of(&recording.index, everything);
            let variants = recorded_variants(recording, &shown.listed_of(recording), listed);
            let variants = variants.map(|all| {
                let mut all = for_bandwidth(all, wishes);
                all.extend(captions::variants(recording));
                all
            });
            let ended = recording.index.ended();
            let query = wishes.of_lists(by_input, ended).handed_on();
            variants.map(|v| render_multivariant(&v, Some(&query)).into())
        }
        name => {
            if recording.index.rendition(shown.original(name)).is_none() && recording.index.ended()
            {
                return not_found("no such track");
            }
            let reach = wishes.reach(by_input);
            if shown.get(name).is_none() {
                recording.playlist(name, reach)
            } else {
                let options = MediaOptions { low_latency: false, reach, skip: false };
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
    waiter: Waiter,
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
    let decided = wait_for(shelf, waiter, patience, awaited, |shelf| {
        let decision = shelf.with_index(|index| decide(index, original, &directives));
        (decision != Decision::Wait).then_some(decision)
    });
    let decided = decided.await;
    let in_time = matches!(decided, Ok(Some(_)));
    match decided {
        Err(busy) => return busy.response(),
        Ok(Some(Decision::NotFound)) => return not_found("no such track"),
        Ok(Some(Decision::TooFarAhead)) => {
            return bad_request("_HLS_msn is more than two segments ahead");
        }
        // Nothing came in time: the playlist as it is, so that the client asks again. The encoder may
        // come back.
        Ok(Some(_) | None) => {}
    }
    let options = MediaOptions {
        low_latency: wishes.low_latency(shelf.about().low_latency),
        reach: wishes.reach(by_input),
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
/// not waited for, is fresh for a moment only; so is what has ended, for it may be deleted at any time.
fn cache(shelf: &Shelf, exact: bool) -> String {
    let (ended, target) = shelf.with_index(|i| (i.ended(), i.target_duration().unwrap_or(2)));
    match (ended, exact) {
        (false, true) => format!("max-age=0, s-maxage={}", target * 6),
        (true, _) | (false, false) => "max-age=1".to_owned(),
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
    use control::{InputUid, Rev, Video, VideoSettings, VideoUid};
    use futures_util::FutureExt;
    use spine::{Limits, NodeId, Origin, Route, Takeover};

    use super::*;
    use crate::library::Found;
    use crate::limits::PARKED_PER_ADDRESS_MAX;
    use crate::shelf::{About, Counters};
    use crate::window;

    /// Each file of a recording is asked for by itself: its catalog and what that lists is not read for each.
    #[test]
    fn the_levels_of_a_recording_are_read_once() {
        let video = Video {
            uid: VideoUid::from_random([7; 16]),
            input: InputUid::from_random([8; 15]),
            created_ms: 0,
            modified_ms: 0,
            rev: Rev(1),
            ended: None,
            delete_ms: None,
            segments: 0,
            numbers: None,
            duration_ms: 0,
            bytes: 0,
            clip: None,
            settings: VideoSettings::default(),
        };
        let recording = Recording::new(video, None, Vec::new());
        let levels = crate::tracks::tests::levels();
        let [one, other] = [(), ()].map(|()| levels_of(&recording, &levels));
        assert!(one.is_same(&other));
        let nobody = Levels::new(Ladder::copy_only(), false);
        let recording = Recording::new(recording.video.clone(), None, Vec::new());
        assert!(levels_of(&recording, &nobody).is_empty());
        assert!(!levels_of(&recording, &levels).is_same(&one), "of when somebody makes them");
    }

    #[tokio::test]
    async fn whose_address_has_its_share_of_the_places_is_told_so_and_others_wait() {
        let origin = Origin::new(Limits::default());
        let path = spine::Path::new(["default", "input"]).unwrap();
        let route = Route::local(NodeId(0), 1);
        let producer = origin.publish(&path, route, Takeover::Refuse).unwrap();
        let about = About::of_tests();
        let counters = Arc::<Counters>::default();
        let shelf = Shelf::new(about, producer.consume(), counters.clone(), None);
        let levels = Levels::new(Ladder::copy_only(), false);
        let waiter = |last| Waiter(Some([192, 0, 2, last].into()));
        let take = |_| counters.parked.take(waiter(1)).unwrap();
        let _all: Vec<_> = (0..PARKED_PER_ADDRESS_MAX).map(take).collect();
        // Nothing of this broadcast is there yet, so whoever may wait does.
        for (who, status) in [(waiter(1), Some(503)), (waiter(2), None), (Waiter(None), None)] {
            let list = media(&shelf, &levels, "video.cmaf", "", true, who).now_or_never();
            let all = multivariant(&shelf, &levels, "", true, who).now_or_never();
            let mpd = dash::mpd(&shelf, &levels, "", who).now_or_never();
            for answer in [list, all, mpd] {
                assert_eq!(answer.as_ref().map(|a| a.status().as_u16()), status, "{who:?}");
                let Some(answer) = answer else { continue };
                assert_eq!(answer.headers()["retry-after"], "1");
                assert_eq!(answer.headers()["cache-control"], "no-store");
                let words = axum::body::to_bytes(answer.into_body(), 1_000).await.unwrap();
                let words = String::from_utf8(words.into()).unwrap();
                let share = format!("{PARKED_PER_ADDRESS_MAX} requests from your address wait");
                assert!(words.starts_with(&share), "{words}");
                assert!(words.contains("try again in a second"), "{words}");
            }
        }
        assert_eq!(counters.parked.refused_address.load(Ordering::Relaxed), 3);
        assert_eq!(counters.parked.taken(), PARKED_PER_ADDRESS_MAX as u64);
    }

    /// The sequence number of a list's first segment, and how many it lists.
    async fn listed(answer: Response) -> (u64, usize) {
        assert_eq!(answer.status(), 200);
        let text = axum::body::to_bytes(answer.into_body(), 100_000).await.unwrap();
        let text = String::from_utf8(text.into()).unwrap();
        let sequence = text.lines().find_map(|l| l.strip_prefix("#EXT-X-MEDIA-SEQUENCE:"));
        (sequence.unwrap().parse().unwrap(), text.matches("#EXTINF").count())
    }

    #[tokio::test]
    async fn no_list_goes_back_when_a_broadcast_ends() {
        let origin = Origin::new(Limits::default());
        let path = spine::Path::new(["default", "input"]).unwrap();
        let route = Route::local(NodeId(0), 1);
        let producer = origin.publish(&path, route, Takeover::Refuse).unwrap();
        let shelf = Shelf::new(About::of_tests(), producer.consume(), Arc::default(), None);
        let levels = Levels::new(Ladder::copy_only(), false);
        let mut live = Index::new();
        let part = |duration| package::properties::Part {
            duration,
            independent: true,
            last: true,
            closes: false,
            target_ms: 2_000,
            target_duration: Some(2),
            open: false,
            key_bytes: Some(1),
        };
        for n in 0..20 {
            let segment = package::properties::Segment {
                timescale: 90_000,
                epoch: 1,
                wall_clock_ms: n * 2_000,
                start: n * 180_000,
                discontinuity: false,
                discontinuity_sequence: 0,
                gap: false,
                init: 7,
            };
            let at = spine::Location { group: 100 + n, object: 0 };
            live.add("v", at, &part(180_000), Some(segment), 1).unwrap();
        }
        let mut ended = live.clone();
        ended.end();
        for (by_input, query, expect) in [
            (true, "", (114, 6)),
            (true, "dvrEnabled=true", (100, 20)),
            (false, "", (100, 20)),
            (false, "dvrEnabled=false", (114, 6)),
            (false, "dvrEnabled=false&protocol=llhls", (114, 6)),
            (false, "dvrEnabled=true&protocol=hls", (100, 20)),
        ] {
            for (index, asked) in [(&live, ""), (&live, "&_HLS_msn=119"), (&ended, "")] {
                shelf.show(index.clone(), spine::Location { group: 0, object: 0 }, Vec::new());
                let asked = format!("{query}{asked}");
                let found = Found::Shelf { shelf: shelf.clone(), by_input };
                let keys =
                    window::asked(&found, "v.iframes", query, Duration::ZERO, &levels).unwrap();
                assert_eq!(listed(keys).await, expect, "key pictures: {by_input} {asked}");
                let waiter = Waiter(None);
                let list = media(&shelf, &levels, "v", &asked, by_input, waiter).await;
                assert_eq!(listed(list).await, expect, "{by_input} {asked}");
            }
        }
    }

    #[test]
    fn the_lists_of_a_video_that_is_over_are_whole_and_have_names_of_their_own() {
        for (by_input, ended, query, expect) in [
            (true, false, "", ""),
            (true, true, "", ""),
            (true, false, "dvrEnabled=false", ""),
            (true, false, "dvrEnabled=true", "dvrEnabled=true"),
            (false, false, "", "dvrEnabled=false"),
            (false, false, "protocol=hls", "dvrEnabled=false&protocol=hls"),
            (false, false, "dvrEnabled=true", "dvrEnabled=true"),
            (false, true, "", ""),
            (false, true, "dvrEnabled=true&protocol=hls", "protocol=hls"),
            (false, true, "dvrEnabled=false", ""),
        ] {
            let named = Wishes::parse(query).of_lists(by_input, ended).handed_on();
            assert_eq!(named, expect, "{by_input} {ended} {query}");
        }
    }

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
