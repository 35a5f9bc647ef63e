//! Videos: recordings, and what is on the air. `reference/cloudflare-api.md` §4.4 and §4.5.

use access::Permission::VideosRead;
use access::Resource;
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use control::{InputUid, Page, PublicDetails, Video, VideoChange, VideoFilter, VideoUid};
use media::catalog::Catalog;
use media::date::date_time;
use record::DeleteError;
use serde_json::{Map, Value, json};

use crate::Api;
use crate::auth::Caller;
use crate::envelope::{ApiError, ok, ok_beside};
use crate::inputs::{now_ms, object, web};
use crate::limits::{DELETION_MS_MIN, LIST_VIDEOS_MAX, PUBLIC_DETAIL_CHARS_MAX};
use crate::{merge, number};

pub(crate) const MISSING: &str = "there is no such video";

type Answer = Result<Response, ApiError>;

pub(crate) async fn list(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let wanted = Wanted::parse(&query.unwrap_or_default())?;
    answer(&api, &headers, &wanted, found(&api, &caller, &wanted).await?).await
}

/// The recordings of one input, the broadcast on the air among them.
pub(crate) async fn of_input(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    Path((_, uid)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Answer {
    let mut wanted = Wanted::parse(&query.unwrap_or_default())?;
    let input = InputUid::parse(&uid).map_err(|_| ApiError::not_found("no such live input"))?;
    wanted.filter.input = Some(input.clone());
    let found = found(&api, &caller, &wanted).await?;
    if found.rows.is_empty() && api.control.input(&input).await?.is_none() {
        return Err(ApiError::not_found("there is no such live input"));
    }
    answer(&api, &headers, &wanted, found).await
}

/// The vendor has the counts beside the list.
async fn answer(api: &Api, headers: &HeaderMap, wanted: &Wanted, found: Found) -> Answer {
    let mut videos = Vec::with_capacity(found.rows.len());
    for video in &found.rows {
        videos.push(value(api, headers, video).await?);
    }
    let counts = [("range", found.range.into()), ("total", found.total.into())];
    Ok(ok_beside(&Value::Array(videos), if wanted.counts { &counts } else { &[] }))
}

pub(crate) async fn get(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let video = find(&api, &uid).await?;
    Ok(ok(&value(&api, &headers, &video).await?))
}

/// Edits: POST, as the vendor has it.
pub(crate) async fn edit(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let video = find(&api, &uid).await?;
    let body = object(&body)?;
    let merged = move |video: &Video, change: &mut VideoChange| merge_change(change, video, &body);
    let video = api.control.change_video(&video.uid, merged, now_ms()).await?;
    api.history.forget(&video.uid);
    api.access.forget_policies();
    Ok(ok(&value(&api, &headers, &video).await?))
}

pub(crate) async fn delete(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
) -> Answer {
    let video = find(&api, &uid).await?;
    match api.history.delete(&video.uid, now_ms()).await {
        Ok(()) => {}
        Err(DeleteError::Document(error)) => return Err(error.into()),
        // It is gone for everybody; the disk is freed when it can be.
        Err(error @ DeleteError::Media(_)) => tracing::warn!(video = %video.uid, %error, "delete"),
    }
    api.access.forget_policies();
    api.access.delete_links(video.uid.as_str()).await?;
    tracing::info!(video = %video.uid, "video deleted");
    Ok(ok(&Value::Null))
}

pub(crate) fn merge_change(
    change: &mut VideoChange,
    video: &Video,
    body: &Map<String, Value>,
) -> Result<(), ApiError> {
    for (name, value) in body {
        let settings = &mut change.settings;
        match name.as_str() {
            "meta" => settings.meta = merge::object(name, value)?,
            "creator" => settings.creator = merge::text(name, value)?,
            "requireSignedURLs" => {
                settings.require_signed_urls = merge::boolean(name, value, false)?;
            }
            "allowedOrigins" => settings.allowed_origins = merge::origins(name, value)?,
            "allowClips" => settings.allow_clips = merge::boolean(name, value, false)?,
            "thumbnailTimestampPct" => {
                let share = value.as_f64().filter(|share| (0.0..=1.0).contains(share));
                if share.is_none() && !value.is_null() {
                    return Err(ApiError::field(name, "must be a number from 0 to 1"));
                }
                settings.thumbnail_timestamp_pct = share;
            }
            "publicDetails" => public_details(&mut settings.public_details, name, value)?,
            "scheduledDeletion" => change.delete_ms = deletion(name, value, video)?,
            "uid" if value.as_str().is_some_and(|uid| uid != video.uid.as_str()) => {
                return Err(ApiError::field(name, "must be the video's own id, or left out"));
            }
            // Read-only fields of an object that was read and is written back, and those of others.
            _ => {}
        }
    }
    Ok(())
}

/// What is not named stays. Addresses become links in pages: those of scripts are none.
fn public_details(details: &mut PublicDetails, name: &str, value: &Value) -> Result<(), ApiError> {
    for (field, value) in merge::object(name, value)? {
        let (into, address) = match field.as_str() {
            "title" => (&mut details.title, false),
            "share_link" => (&mut details.share_link, true),
            "channel_link" => (&mut details.channel_link, true),
            "logo" => (&mut details.logo, true),
            _ => continue,
        };
        let web =
            |text: &str| ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
        *into = match value.as_str() {
            None if value.is_null() => None,
            Some("") => None,
            Some(text)
                if text.chars().count() <= PUBLIC_DETAIL_CHARS_MAX
                    && !text.contains(char::is_control)
                    && (!address || web(text)) =>
            {
                Some(text.to_owned())
            }
            _ => {
                let kind = if address { "an address (https://)" } else { "a text" };
                let words =
                    format!("must be {kind} of at most {PUBLIC_DETAIL_CHARS_MAX} characters");
                return Err(ApiError::field(&format!("{name}.{field}"), words));
            }
        };
    }
    Ok(())
}

fn deletion(name: &str, value: &Value, video: &Video) -> Result<Option<u64>, ApiError> {
    if value.is_null() {
        return Ok(None);
    }
    let wrong = || {
        ApiError::field(
            name,
            "must be a date such as 2027-01-31T12:00:00Z, at least 30 days after the video was made, \
             or null",
        )
    };
    let at = value.as_str().and_then(media::date::parse_date_time).ok_or_else(wrong)?;
    (at >= video.created_ms + DELETION_MS_MIN).then_some(Some(at)).ok_or_else(wrong)
}

pub(crate) async fn find(api: &Api, uid: &str) -> Result<Video, ApiError> {
    let missing = || ApiError::not_found(MISSING);
    let uid = VideoUid::parse(uid).map_err(|_| missing())?;
    api.control.video(&uid).await?.ok_or_else(missing)
}

/// What a list is asked for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    /// All but the time: clients want to know how many there are at any time, too.
    filter: VideoFilter,
    /// A state that no video here is ever in.
    nothing: bool,
    limit: usize,
    oldest_first: bool,
    counts: bool,
    after_ms: Option<u64>,
    before_ms: Option<u64>,
}

impl Wanted {
    pub(crate) fn parse(query: &str) -> Result<Self, ApiError> {
        let mut wanted = Self { limit: LIST_VIDEOS_MAX, ..Self::default() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decoded(value);
            let date = || date(name, &value);
            let listed = || value.split(',').map(str::to_owned).collect();
            match name {
                "status" => match value.as_str() {
                    "ready" => wanted.filter.live = Some(false),
                    "live-inprogress" => wanted.filter.live = Some(true),
                    // The other states are of uploads: nothing is in them.
                    _ => wanted.nothing = true,
                },
                "type" if value == "vod" => wanted.nothing = true,
                "live_input_id" => {
                    let input = InputUid::parse(&value);
                    wanted.filter.input =
                        Some(input.map_err(|_| ApiError::field(name, "must be an input's id"))?);
                }
                "id" => wanted.filter.uids = Some(listed()),
                "creator" => wanted.filter.creator = Some(value),
                "video_name" | "name" => wanted.filter.named = Some(listed()),
                "search" => wanted.filter.search = Some(value).filter(|part| !part.is_empty()),
                "start" | "after" => wanted.after_ms = Some(date()?),
                "end" | "before" => wanted.before_ms = Some(date()?),
                "asc" => wanted.oldest_first = value == "true",
                "include_counts" => wanted.counts = value == "true",
                "limit" => {
                    wanted.limit = number::of_query(name, &value, LIST_VIDEOS_MAX as u64)? as usize;
                }
                _ => {}
            }
        }
        Ok(wanted)
    }

    fn in_time(&self, video: &Video) -> bool {
        self.after_ms.is_none_or(|at| video.created_ms >= at)
            && self.before_ms.is_none_or(|at| video.created_ms < at)
    }
}

/// A point in time of a query; a day begins at midnight.
pub(crate) fn date(name: &str, value: &str) -> Result<u64, ApiError> {
    let at = media::date::parse_date_time(value);
    let at = at.or_else(|| media::date::parse_date_time(&format!("{value}T00:00:00Z")));
    at.ok_or_else(|| ApiError::field(name, "must be a date such as 2027-01-31T12:00:00Z"))
}

/// Percent-decoding, and plus as a space, as forms write it.
pub(crate) fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        let hex = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16));
        let decoded = match byte {
            b'+' => b' ',
            b'%' => match (hex(bytes.next()), hex(bytes.next())) {
                // invariant: two hex digits are at most 255.
                (Some(high), Some(low)) => (high * 16 + low) as u8,
                _ => b'?',
            },
            other => other,
        };
        out.push(decoded);
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What a list has.
#[derive(Default)]
struct Found {
    rows: Vec<Video>,
    /// All that the filters let pass.
    total: u64,
    /// Those of them that are in the time that is asked for: by it clients go from page to page.
    range: u64,
}

/// The index finds and counts for who may see everything; who may not is shown what is left of it, one by one.
async fn found(api: &Api, caller: &Caller, wanted: &Wanted) -> Result<Found, ApiError> {
    if wanted.nothing {
        return Ok(Found::default());
    }
    if !caller.principal.may(VideosRead, Resource::Account) {
        return among(api, caller, wanted).await;
    }
    let timed = VideoFilter {
        created_from_ms: wanted.after_ms,
        created_before_ms: wanted.before_ms,
        ..wanted.filter.clone()
    };
    let newest_first = !wanted.oldest_first;
    let page = Page { rows: wanted.limit, newest_first, ..Page::default() };
    let any_time = timed == wanted.filter;
    let list = api.control.videos(timed, page).await?;
    let range = list.total;
    let total = match any_time || !wanted.counts {
        true => range,
        false => api.control.videos(wanted.filter.clone(), Page { rows: 0, ..page }).await?.total,
    };
    Ok(Found { rows: list.rows, total, range })
}

/// Walks the pages until there are enough, or to the end if they are to be counted.
async fn among(api: &Api, caller: &Caller, wanted: &Wanted) -> Result<Found, ApiError> {
    let sees = |video: &Video| {
        let resource = Resource::Video { uid: video.uid.as_str(), input: video.input.as_str() };
        // How many others there are is nobody's business.
        caller.principal.may(VideosRead, resource)
    };
    let mut found = Found::default();
    let newest_first = !wanted.oldest_first;
    let mut page = Page { newest_first, counts: false, ..Page::default() };
    while wanted.counts || found.rows.len() < wanted.limit {
        let list = api.control.videos(wanted.filter.clone(), page).await?;
        for video in list.rows.into_iter().filter(sees) {
            found.total += 1;
            if !wanted.in_time(&video) {
                continue;
            }
            found.range += 1;
            if found.rows.len() < wanted.limit {
                found.rows.push(video);
            }
        }
        match list.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    Ok(found)
}

pub(crate) async fn value(
    api: &Api,
    headers: &HeaderMap,
    video: &Video,
) -> Result<Value, ApiError> {
    let catalog = api.control.catalog(&video.uid).await?;
    let catalog = catalog.and_then(|json| Catalog::parse(&json).ok());
    let size = catalog.as_ref().and_then(|c| c.tracks.iter().find_map(|t| t.width.zip(t.height)));
    let (width, height) =
        size.map_or((-1, -1), |(width, height)| (i64::from(width), i64::from(height)));
    let (web, uid, live) = (web(api, headers), video.uid.as_str(), video.live());
    let ready_at = video.ended.map(|(at, _)| date_time(at));
    // Of a clip, without what is only there to be decoded.
    let duration_ms = video.clip.as_ref().map_or(video.duration_ms, |clip| clip.duration_ms);
    let seconds = duration_ms as f64 / 1000.0;
    let settings = &video.settings;
    // What has sound alone has none.
    let pictured = (api.pictures)() && (catalog.is_none() || size.is_some());
    let thumbnail = pictured.then(|| format!("{web}/{uid}/thumbnails/thumbnail.jpg"));
    let mut value = json!({
        "uid": uid,
        "creator": settings.creator,
        "meta": settings.meta,
        "created": date_time(video.created_ms),
        "modified": date_time(video.modified_ms),
        "uploaded": date_time(video.created_ms),
        "readyToStream": !live,
        "readyToStreamAt": ready_at,
        "status": {
            "state": if live { "live-inprogress" } else { "ready" },
            "pctComplete": if live { "0.000000" } else { "100.000000" },
            "errorReasonCode": "",
            "errorReasonText": "",
        },
        "thumbnailTimestampPct": settings.thumbnail_timestamp_pct.unwrap_or(0.0),
        "preview": format!("{web}/{uid}/watch"),
        "size": video.bytes,
        "duration": if live { json!(-1) } else { json!(seconds) },
        "input": { "width": width, "height": height },
        "maxDurationSeconds": null,
        "scheduledDeletion": video.delete_ms.map(date_time),
        "allowedOrigins": settings.allowed_origins.clone().unwrap_or_default(),
        "requireSignedURLs": settings.require_signed_urls,
        "allowClips": settings.allow_clips,
        "publicDetails": settings.public_details,
        "playback": { "hls": format!("{web}/{uid}/manifest/video.m3u8"), "dash": format!("{web}/{uid}/manifest/video.mpd") },
        "watermark": null,
        "liveInput": video.input.as_str(),
        "clippedFrom": video.clip.as_ref().map(|clip| clip.video.as_str()),
    });
    // Where there is none the field is left out, as the vendor has it.
    if let (Some(fields), Some(thumbnail)) = (value.as_object_mut(), thumbnail) {
        fields.insert("thumbnail".to_owned(), thumbnail.into());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_read() {
        let wanted = Wanted::parse("status=ready&video_name=Hall%201+b&limit=7&asc=true").unwrap();
        assert_eq!(wanted.filter.live, Some(false));
        assert_eq!(wanted.filter.named, Some(vec!["Hall 1 b".to_owned()]));
        assert_eq!((wanted.limit, wanted.oldest_first), (7, true));
        assert!(Wanted::parse("status=queued").unwrap().nothing);
        assert_eq!(Wanted::parse("limit=7.0").unwrap().limit, 7);
        for wrong in ["limit=0", "limit=1001", "limit=1.5", "live_input_id=x", "before=yesterday"] {
            assert!(Wanted::parse(wrong).is_err(), "{wrong}");
        }
    }
    #[test]
    fn public_details_are_texts_and_addresses_of_pages() {
        let mut details = PublicDetails::default();
        let long = "a".repeat(PUBLIC_DETAIL_CHARS_MAX + 1);
        for (value, title, link) in [
            (json!({ "title": "Derby", "share_link": "https://a.example/x" }), Some("Derby"), true),
            (json!({ "media_id": 7, "other": [] }), Some("Derby"), true),
            (json!({ "share_link": null }), Some("Derby"), false),
            (json!({ "title": "", "share_link": "http://a.example" }), None, true),
        ] {
            public_details(&mut details, "publicDetails", &value).unwrap();
            assert_eq!((details.title.as_deref(), details.share_link.is_some()), (title, link));
        }
        for (value, field) in [
            (json!([]), "publicDetails"),
            (json!({ "title": 7 }), "publicDetails.title"),
            (json!({ "title": long }), "publicDetails.title"),
            (json!({ "title": "a\nb" }), "publicDetails.title"),
            (json!({ "logo": "javascript:alert(1)" }), "publicDetails.logo"),
            (json!({ "channel_link": "//a.example" }), "publicDetails.channel_link"),
            (json!({ "share_link": "data:text/html,x" }), "publicDetails.share_link"),
        ] {
            let refused = public_details(&mut details, "publicDetails", &value).unwrap_err();
            assert!(format!("{refused:?}").contains(field), "{value}: {refused:?}");
        }
    }
}
