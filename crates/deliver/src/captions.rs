//! Captions of recordings: `captions-LANG.m3u8` for HLS, with one file of all of them, `captions-LANG.vtt`; the same file, counted
//! from `start`, for a Period of DASH.

use std::sync::Arc;

use axum::response::Response;
use media::webvtt::WebVtt;
use package::hls::{Variant, VariantKind, render_captions};
use record::Recording;

use crate::clip::time;
use crate::http::{plain, text, too_busy};
use crate::library::{Found, Library};
use crate::playlist::{bad_request, not_found};
use crate::share::parameter;
use crate::window::numbers;

const PREFIX: &str = "captions-";

/// What a recording's list of tracks says of its captions.
pub(crate) fn variants(recording: &Recording) -> impl Iterator<Item = Variant> + '_ {
    // Where the media ends is known when it has ended.
    let captions = recording.video.settings.captions.iter().filter(|_| recording.index.ended());
    captions.map(|(language, captions)| Variant {
        name: format!("{PREFIX}{language}"),
        codec: String::new(),
        peak: 0,
        room_percent: 0,
        average: None,
        kind: VariantKind::Captions { language: language.clone(), label: captions.label.clone() },
        iframes: None,
    })
}

/// The same for an MPD: language and label.
pub(crate) fn labels(recording: &Recording) -> Vec<(String, String)> {
    let captions = recording.video.settings.captions.iter();
    captions.map(|(language, captions)| (language.clone(), captions.label.clone())).collect()
}

/// A file of captions, if the name is that of one.
pub(crate) async fn asked(
    library: &Arc<Library>,
    found: &Found,
    file: &str,
    query: &str,
) -> Option<Response> {
    let (language, ending) = file.strip_prefix(PREFIX)?.rsplit_once('.')?;
    let recording = match found {
        Found::Recording { recording, .. } => recording,
        Found::Unknown => return Some(too_busy()),
        _ => return Some(not_found("captions are for recordings")),
    };
    // RFC 5646 §2.1.1: a language is the same in letters of any case.
    let all = &recording.video.settings.captions;
    let same = || all.keys().find(|kept| kept.eq_ignore_ascii_case(language));
    let Some(language) = all.get_key_value(language).map(|(kept, _)| kept).or_else(same) else {
        return Some(not_found("there are no captions in this language"));
    };
    Some(match ending {
        "m3u8" => {
            // A clip or a preview: the file is that of all, on the clock of the media.
            let numbers = match parameter(query, "segments").map(|_| numbers(query)) {
                None => 0..=u64::MAX,
                Some(Ok(numbers)) => numbers,
                Some(Err(words)) => return Some(bad_request(&words)),
            };
            match render_captions(&recording.index, &format!("{PREFIX}{language}.vtt"), numbers) {
                Some(list) => text("application/vnd.apple.mpegurl", "max-age=1", list.into()),
                None => not_found("nothing was recorded"),
            }
        }
        "vtt" => lines(library, recording, language, query).await,
        _ => not_found("no such manifest"),
    })
}

async fn lines(
    library: &Arc<Library>,
    recording: &Recording,
    language: &str,
    query: &str,
) -> Response {
    let read = match library.history().captions(&recording.video, language).await {
        Ok(Some(read)) => read,
        Ok(None) => return not_found("these captions are no longer there"),
        Err(error) => {
            tracing::warn!(video = %recording.video.uid, %error, "can't read captions");
            return too_busy();
        }
    };
    let Ok(file) = WebVtt::parse(&read) else {
        // It was looked through when it was stored.
        return plain(axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the captions are damaged");
    };
    let counted = match parameter(query, "start") {
        None => file.on_clock(package::hls::clock(&recording.index).unwrap_or(0)),
        Some(_) => match time(query, "start") {
            Ok(start) => file.counted_from(start.unwrap_or(0) / 1_000_000),
            Err(words) => return bad_request(&words),
        },
    };
    text("text/vtt; charset=utf-8", "max-age=1", counted.into())
}
