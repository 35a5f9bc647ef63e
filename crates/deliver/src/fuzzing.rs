//! What a player or anybody else asks for, for the fuzz targets in `fuzz/` and for tests: any text in, no panic out.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, Uri, header};
use media::fmp4::is_empty_fragment;
use package::hls::still_of_file;
use record::File;

use crate::clip::{filename, named, range};
use crate::limits::FILE_NAME_CHARS_MAX;
use crate::media::{key_picture, parse};
use crate::pages;
use crate::pictures::Asked as Picture;
use crate::query::{PARAMETERS, Wishes, unequivocal};
use crate::ranges::{Asked, asked};
use crate::share::{page_of, parameter};

/// The longest clip, unless an operator says otherwise.
const CLIP_MAX: Duration = Duration::from_secs(60);

/// What a query asks of a clip is within bounds, and the link to it means the same.
fn clip_of(query: &str) {
    let name = filename(query).ok().flatten();
    assert!(name.is_none_or(|name| name.len() <= FILE_NAME_CHARS_MAX));
    let Some(link) = named(query, CLIP_MAX) else { return };
    let (Ok(asked), Ok(linked)) = (range(query, CLIP_MAX), range(&link, CLIP_MAX)) else {
        panic!("{query} is taken, {link} is not");
    };
    let ns = |a: u64, b: u64| a.abs_diff(b);
    let off = ns(asked.from_ns, linked.from_ns).max(ns(asked.to_ns, linked.to_ns));
    assert!(off <= 1_000, "{query}: {link}");
}

/// What a query asks of a picture is within bounds.
fn picture_of(file: &str, query: &str) {
    let Ok(Some(asked)) = Picture::parse(file, query) else { return };
    let size = match asked {
        Picture::Thumbnail { size, .. } => size,
        Picture::Film { size, duration_ms, every_ms, .. } => {
            assert!((1..=150).contains(&(duration_ms / every_ms)), "{query}");
            size
        }
        Picture::Sheet(sheet) => return assert_eq!(sheet.name(), file, "one name for each sheet"),
        Picture::Storyboard => return,
    };
    let sides = [size.width, size.height].into_iter().flatten();
    assert!(sides.into_iter().all(|side| (8..=1_920).contains(&side)), "{query}");
}

/// A request target and, a line each, the values of `Range` and of its conditions.
pub fn request(text: &str) {
    let (target, fields) = text.split_once('\n').unwrap_or((text, ""));
    let names = [header::RANGE, header::IF_RANGE, header::IF_NONE_MATCH, header::IF_MATCH];
    let value = |line| HeaderValue::from_str(line).ok();
    let pairs = names.into_iter().zip(fields.lines());
    let headers: HeaderMap = pairs.filter_map(|(name, line)| Some((name, value(line)?))).collect();
    let range = fields.lines().next().unwrap_or_default();
    for whole in [0, 1, 1_000] {
        if let Asked::Part(start, length) = asked(&headers, "a,b", whole) {
            assert!(length > 0 && start + length <= whole, "{range:?} of {whole}");
        }
    }
    // What is no URI does not get further than the HTTP library.
    let Ok(uri) = target.parse::<Uri>() else {
        return;
    };
    let name = uri.path().rsplit('/').next().unwrap_or_default();
    if let Some(file) = parse(name) {
        assert_eq!(written(file), name, "one name for each file");
    }
    if let Some((epoch, number)) = key_picture(name) {
        assert_eq!(format!("{epoch}-{number}.key.m4s"), name, "one name for each file");
    }
    if let Some(still) = still_of_file(name) {
        assert!(parse(name).is_none() && is_empty_fragment(&still), "{name}");
    }
    let _ = pages::asset(name, &HeaderMap::new());
    let query = uri.query().unwrap_or_default();
    package::fuzzing::query(query);
    clip_of(query);
    is_read_alike(query);
    for file in ["thumbnail.jpg", "thumbnail.gif", name] {
        picture_of(file, query);
    }
    let wishes = Wishes::parse(query);
    assert_eq!(Wishes::parse(&wishes.handed_on()), wishes, "{query}");
    if let Some(url) = parameter(query, "url") {
        let _ = page_of(&url, "http://localhost");
    }
}

/// Caches make their keys of the first or of the last value of a parameter, of its name in any letters (nginx's `$arg_` does): what
/// passes is read alike by all.
fn is_read_alike(query: &str) {
    if unequivocal(query).is_err() {
        return;
    }
    for name in PARAMETERS {
        let pairs = || query.split('&').filter_map(|pair| pair.split_once('='));
        let first = pairs().find(|(other, _)| other.eq_ignore_ascii_case(name));
        let last = pairs().rfind(|(other, _)| *other == name);
        assert_eq!(first, last, "{query}");
    }
}

/// As playlists write it.
fn written(file: File) -> String {
    match file {
        File::Init(id) => format!("init-{id:014x}.mp4"),
        File::Segment { epoch, number } => format!("{epoch}-{number}.m4s"),
        File::Part { epoch, number, part } => format!("{epoch}-{number}.{part}.m4s"),
    }
}
