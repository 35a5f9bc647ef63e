//! Playlists of a range: `clip.m3u8?time=&duration=`, and previews of what was just to be seen (`video.m3u8?duration=`).
//!
//! A list of tracks names a range of segments once, so that all of them play the same: `TRACK.m3u8?segments=A-B`, and for
//! a clip, where in them to begin: `start=`.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::response::Response;
use package::Index;
use package::clip::source_tracks;
use package::hls::{Formats, Listed, render_iframes, render_multivariant};

use crate::captions;
use crate::clip::{range, time};
use crate::http::{SHARED_MOMENT, no_content, text, too_busy};
use crate::levels::{Levels, Shown};
use crate::library::Found;
use crate::limits::{KEY_SEGMENTS_BACK, PREVIEW_MAX, RANGE_SEGMENTS, STOPPED_SEGMENTS};
use crate::playlist::{bad_request, levels_of, not_found, recorded_variants, variants};
use crate::query::Wishes;
use crate::share::parameter;

/// A range of segments that a list of tracks names.
#[derive(Debug, PartialEq, Eq)]
struct Window {
    numbers: RangeInclusive<u64>,
    /// From its beginning to what was asked for, in nanoseconds.
    start_ns: u64,
    /// Where it begins as players of everything count.
    at_ns: u64,
}

/// What is asked for by this name and query, if it is a range of something.
pub(crate) fn asked(
    found: &Found,
    name: &str,
    query: &str,
    clip_max: Duration,
    levels: &Levels,
) -> Option<Response> {
    match name {
        "clip" => Some(clip(found, query, clip_max, levels)),
        "video" if parameter(query, "duration").is_some() => Some(preview(found, query, levels)),
        "video" => parameter(query, "segments").map(|_| chosen(found, query, levels)),
        track => match track.strip_suffix(".iframes") {
            Some(track) => Some(iframes(found, track, query)),
            None => parameter(query, "segments").map(|_| media(found, track, query, levels)),
        },
    }
}

/// A preview, as it was: by the segments that it named.
fn chosen(found: &Found, query: &str, levels: &Levels) -> Response {
    let numbers = match numbers(query) {
        Ok(numbers) => numbers,
        Err(words) => return bad_request(&words),
    };
    let window = with_index(found, |index| {
        let segment = main(index)?.segment(*numbers.start())?;
        Some(Window { numbers, start_ns: 0, at_ns: segment.at_ns })
    });
    list(found, window, query, levels, "there is nothing of these segments")
}

/// Key pictures only. A broadcast on the air has those of its window.
fn iframes(found: &Found, track: &str, query: &str) -> Response {
    let wishes = Wishes::parse(query);
    let text_of = match found {
        Found::Shelf { shelf, by_input } => {
            let base = format!("../media/{}", shelf.about().video);
            let reach = wishes.reach(*by_input);
            let render = |i: &Index| render_iframes(i, track, &base, reach);
            shelf.with_index(render).map(Into::into)
        }
        Found::Recording { recording, by_input } => {
            recording.iframes(track, wishes.reach(*by_input))
        }
        Found::OffAir { .. } => return no_content(SHARED_MOMENT),
        Found::Nothing => return not_found("no such video or live input"),
        Found::Unknown => return too_busy(),
    };
    match text_of {
        Some(list) => text(HLS, "max-age=1", list),
        None => not_found("nothing is known of its key pictures"),
    }
}

fn clip(found: &Found, query: &str, longest: Duration, levels: &Levels) -> Response {
    let wanted = match range(query, longest) {
        Ok(wanted) => wanted,
        Err(words) => return bad_request(&words),
    };
    let window = with_index(found, |index| window(index, wanted.from_ns, wanted.to_ns));
    list(found, window, query, levels, "there is nothing at that time")
}

fn preview(found: &Found, query: &str, levels: &Levels) -> Response {
    let longest = PREVIEW_MAX.as_nanos();
    let duration = match time(query, "duration") {
        Ok(Some(duration)) if duration > 0 && u128::from(duration) <= longest => duration,
        Ok(_) => {
            let most = PREVIEW_MAX.as_secs();
            return bad_request(&format!("duration: more than nothing, at most {most} s"));
        }
        Err(words) => return bad_request(&words),
    };
    let window = with_index(found, |index| {
        let newest = main(index)?.segments.iter().rev().find(|s| whole(index, s.number))?;
        let end = newest.end_ns();
        let oldest = main(index)?.segments.front()?.at_ns;
        let newest = window(index, end.saturating_sub(duration).max(oldest), end)?;
        // It begins where its first segment does.
        Some(Window { start_ns: 0, ..newest })
    });
    list(found, window, query, levels, "there is nothing to look at yet")
}

fn main(index: &Index) -> Option<&package::Rendition> {
    let (picture, sound) = source_tracks(index);
    index.rendition(picture.or(sound)?)
}

/// The complete segments that are in a range of time.
fn window(index: &Index, from_ns: u64, to_ns: u64) -> Option<Window> {
    let segments = &main(index)?.segments;
    let mut at = segments.partition_point(|s| s.at_ns <= from_ns).checked_sub(1)?;
    segments.get(at).filter(|s| s.complete && from_ns < s.end_ns())?;
    // Players can't begin with just any; how far back is bounded as for a file.
    for _ in 0..KEY_SEGMENTS_BACK {
        let alone = segments.get(at)?.independent();
        at -= usize::from(!alone && at > 0);
    }
    let first = segments.get(at)?;
    let ends = |s: &&package::Segment| s.at_ns < to_ns && whole(index, s.number);
    let within = segments.iter().skip(at).take_while(ends);
    let last = within.last()?;
    let start_ns = from_ns - first.at_ns;
    Some(Window { numbers: first.number..=last.number, start_ns, at_ns: first.at_ns })
}

/// Nothing more will come up to this number, in any track.
fn whole(index: &Index, number: u64) -> bool {
    index.renditions().all(|(_, track)| settled(index, track, number))
}

/// Nothing more will come of this track up to this number: it is there, or the track is so far behind that it has stopped.
fn settled(index: &Index, track: &package::Rendition, number: u64) -> bool {
    let newest = main(index).and_then(|r| r.segments.back()).map_or(0, |s| s.number);
    let reached = |s: &package::Segment| {
        s.number > number || (s.number == number && s.complete) || {
            s.number + STOPPED_SEGMENTS <= newest && number <= newest
        }
    };
    index.ended() || track.segments.back().is_some_and(reached)
}

fn with_index<R>(found: &Found, f: impl FnOnce(&Index) -> Option<R>) -> Option<R> {
    match found {
        Found::Shelf { shelf, .. } => shelf.with_index(f),
        Found::Recording { recording, .. } => f(&recording.index),
        Found::OffAir { .. } | Found::Nothing | Found::Unknown => None,
    }
}

/// What is made of it for those who can't take the original.
fn shown(found: &Found, levels: &Levels) -> Option<Shown> {
    match found {
        Found::Shelf { shelf, .. } => Some(shelf.levels(levels)),
        Found::Recording { recording, .. } => Some(levels_of(recording, levels)),
        Found::OffAir { .. } | Found::Nothing | Found::Unknown => None,
    }
}

/// The list of tracks.
fn list(
    found: &Found,
    window: Option<Window>,
    query: &str,
    levels: &Levels,
    otherwise: &str,
) -> Response {
    let video = match found {
        Found::Shelf { shelf, .. } => shelf.about().video.clone(),
        Found::Recording { recording, .. } => recording.video.uid.to_string(),
        Found::OffAir { .. } => return no_content(SHARED_MOMENT),
        Found::Nothing => return not_found("no such video or live input"),
        Found::Unknown => return too_busy(),
    };
    let Some(window) = window else { return not_found(otherwise) };
    let listed = Listed::Numbers(window.numbers.clone());
    let shown = shown(found, levels);
    let variants = match (found, &shown) {
        (Found::Shelf { shelf, .. }, Some(shown)) => {
            let levels = shown.listed(&shelf.about().video, || shelf.original_bits());
            let of = |c| {
                shelf.with_mpds(|index, mpds| {
                    variants(&c, index, &levels, &Formats::new(mpds.contents(), listed))
                })
            };
            shelf.catalog().map(of)
        }
        (Found::Recording { recording, .. }, Some(shown)) => {
            let all = recorded_variants(recording, &shown.listed_of(recording), listed);
            all.map(|all| all.into_iter().chain(captions::variants(recording)).collect())
        }
        _ => None,
    };
    let Some(variants) = variants.filter(|v| !v.is_empty()) else { return not_found(otherwise) };
    let (first, last) = (window.numbers.start(), window.numbers.end());
    // One form, sorted by name, as of all lists.
    let mut pairs = vec![Wishes::parse(query).handed_on()];
    pairs.retain(|pair| !pair.is_empty());
    pairs.push(format!("segments={first}-{last}"));
    if window.start_ns > 0 {
        pairs.push(format!("start={:.3}", window.start_ns as f64 / 1e9));
    }
    let body = render_multivariant(&variants, Some(&pairs.join("&")));
    let mut response = text(HLS, "max-age=1", body.into());
    let begin = format!("{:.3}", window.at_ns as f64 / 1e9);
    for (name, value) in [("preview-start-seconds", begin), ("stream-media-id", video)] {
        // invariant: digits and hexadecimal letters are visible ASCII.
        let value = HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static(""));
        response.headers_mut().insert(name, value);
    }
    response
}

/// A track of it.
fn media(found: &Found, track: &str, query: &str, levels: &Levels) -> Response {
    let numbers = match numbers(query) {
        Ok(numbers) => numbers,
        Err(words) => return bad_request(&words),
    };
    let start = match time(query, "start") {
        Ok(start) => start.unwrap_or(0),
        Err(words) => return bad_request(&words),
    };
    let base = match found {
        Found::Shelf { shelf, .. } => format!("../media/{}", shelf.about().video),
        Found::Recording { recording, .. } => format!("../media/{}", recording.video.uid),
        Found::OffAir { .. } => return no_content(SHARED_MOMENT),
        Found::Nothing => return not_found("no such video or live input"),
        Found::Unknown => return too_busy(),
    };
    let shown = shown(found, levels);
    let list = with_index(found, |index| {
        let shown = shown.as_ref()?;
        let list = shown.render_range(index, track, &base, numbers.clone(), start)?;
        let original = index.rendition(shown.original(track))?;
        Some((list, settled(index, original, *numbers.end())))
    });
    match list {
        // Segments of these numbers are never others; that one is lost may be known later.
        Some((list, true)) => text(HLS, "max-age=60", list.into()),
        Some((list, false)) => text(HLS, "no-store", list.into()),
        None => not_found("there is nothing of these segments"),
    }
}

/// `segments=A-B`.
pub(crate) fn numbers(query: &str) -> Result<RangeInclusive<u64>, String> {
    let pair = parameter(query, "segments");
    let pair = pair.as_deref().and_then(|text| text.split_once('-'));
    let range = pair.and_then(|(a, b)| Some(a.parse::<u64>().ok()?..=b.parse::<u64>().ok()?));
    let fits = |n: &RangeInclusive<u64>| {
        n.end().checked_sub(*n.start()).is_some_and(|more| more < RANGE_SEGMENTS)
    };
    let wrong = || format!("segments: two numbers, such as 7-12, of at most {RANGE_SEGMENTS}");
    range.filter(fits).ok_or_else(wrong)
}

const HLS: &str = "application/vnd.apple.mpegurl";

#[cfg(test)]
mod tests {
    use encode::Ladder;
    use package::properties::{Part, Segment};
    use spine::{Limits, Location, NodeId, Origin, Path, Route, Takeover};

    use super::*;
    use crate::shelf::{About, Counters, Shelf};

    /// Pictures and sound of segments of two seconds in two parts each; of both so many parts are there.
    fn index(parts: [u64; 2]) -> Index {
        let mut index = Index::new();
        for (track, parts) in ["video.cmaf", "audio.cmaf"].into_iter().zip(parts) {
            for n in 0..parts {
                let part = Part {
                    duration: 90_000,
                    independent: true,
                    last: n % 2 == 1,
                    closes: false,
                    target_ms: 1_000,
                    target_duration: Some(2),
                    open: false,
                    key_bytes: None,
                };
                let segment = Segment {
                    timescale: 90_000,
                    epoch: 1,
                    wall_clock_ms: 0,
                    start: 90_000 * n,
                    discontinuity: false,
                    discontinuity_sequence: 0,
                    gap: false,
                    init: 7,
                };
                let at = Location { group: 1 + n / 2, object: n % 2 };
                index.add(track, at, &part, (n % 2 == 0).then_some(segment), 1).unwrap();
            }
        }
        index
    }

    /// Whoever asks too early, or at the moment at which sound is still made, gets what there is: nobody keeps that for others.
    #[test]
    fn a_range_is_kept_once_it_is_whole() {
        let origin = Origin::new(Limits::default());
        let path = Path::new(["default", "input"]).unwrap();
        let route = Route::local(NodeId(0), 1);
        let producer = origin.publish(&path, route, Takeover::Refuse).unwrap();
        let counters = std::sync::Arc::<Counters>::default();
        let shelf = Shelf::new(About::of_tests(), producer.consume(), counters, None);
        let levels = Levels::new(Ladder::copy_only(), false);
        for (parts, ended, track, kept) in [
            ([4, 3], false, "video.cmaf", true),
            ([4, 3], false, "audio.cmaf", false),
            ([4, 2], false, "audio.cmaf", false),
            ([4, 4], false, "audio.cmaf", true),
            ([5, 5], false, "audio.cmaf", true),
            ([3, 4], false, "video.cmaf", false),
            ([4, 2], true, "audio.cmaf", true),
            // Sound has stopped.
            ([6, 2], false, "audio.cmaf", true),
            ([6, 2], false, "video.cmaf", true),
        ] {
            let mut index = index(parts);
            if ended {
                index.end();
            }
            shelf.show(index, Location { group: 0, object: 0 }, Vec::new());
            let found = Found::Shelf { shelf: shelf.clone(), by_input: true };
            let answer = media(&found, track, "segments=1-2", &levels);
            let expect = if kept { "max-age=60" } else { "no-store" };
            assert_eq!(answer.status(), 200, "{parts:?} {track}");
            assert_eq!(answer.headers()["cache-control"], expect, "{parts:?} {track}");
        }
    }

    /// Sound of the newest segment is still made: a range that plays without it to its end is no range.
    #[test]
    fn a_range_ends_with_what_is_whole_in_all_tracks() {
        for (parts, last) in [
            ([6, 6], 3),
            ([6, 5], 2),
            ([6, 4], 2),
            ([7, 6], 3),
            // Sound has stopped.
            ([8, 2], 4),
            ([8, 3], 4),
        ] {
            let index = index(parts);
            let window = window(&index, 0, 60_000_000_000).map(|w| w.numbers);
            assert_eq!(window, Some(1..=last), "{parts:?}");
        }
    }
}
