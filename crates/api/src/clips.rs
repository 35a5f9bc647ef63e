//! Clips that are videos of their own: `POST /stream/clip`. `reference/cloudflare-api.md` §4.4. The vendor's are queued and
//! processed; ours are copied, and are there when this answers.

use access::Permission::VideosWrite;
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use control::{Video, VideoChange, VideoSettings, VideoUid};
use record::{ClipError, Cut};
use serde_json::{Map, Value, json};

use crate::Api;
use crate::auth::Caller;
use crate::envelope::{ApiError, ok};
use crate::inputs::{now_ms, object};
use crate::routes::may_with_video;
use crate::videos::{find, merge_change, value};

const SOURCE: &str = "clippedFromVideoUID";

pub(crate) async fn create(
    State(api): State<Api>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let body = object(&body)?;
    let uid = body.get(SOURCE).and_then(Value::as_str);
    let uid = uid.ok_or_else(|| ApiError::field(SOURCE, "must be the uid of a video"))?;
    may_with_video(&api, &caller, VideosWrite, uid).await?;
    let source = find(&api, uid).await?;
    let (from_ms, to_ms) = range(&body, api.clip_video_max_s)?;
    let now_ms = now_ms();
    let change = change(&source, &body, now_ms)?;
    let (mut uid, mut random) = ([0; 16], [0; 8]);
    (api.random)(&mut uid);
    (api.random)(&mut random);
    let cut = Cut {
        source: source.uid.clone(),
        from_ms,
        to_ms,
        uid: VideoUid::from_random(uid),
        random: u64::from_be_bytes(random),
        settings: change.settings,
        source_settings: source.settings.clone(),
        delete_ms: change.delete_ms,
        now_ms,
    };
    let clip = api.history.clip(cut, &api.space).await.map_err(refused)?;
    tracing::info!(video = %clip.uid, source = %source.uid, "clip made");
    Ok(ok(&value(&api, &headers, &clip).await?))
}

/// Where it begins and ends, in milliseconds. The vendor's are whole seconds; ours may have parts.
fn range(body: &Map<String, Value>, max_s: u32) -> Result<(u64, u64), ApiError> {
    let time = |name: &str| {
        let seconds = body.get(name).and_then(Value::as_f64);
        let seconds = seconds.filter(|s| (0.0..=1e9).contains(s));
        let wrong = || ApiError::field(name, "must be seconds from the video's beginning");
        seconds.map(|s| (s * 1000.0).round() as u64).ok_or_else(wrong)
    };
    let (from, to) = (time("startTimeSeconds")?, time("endTimeSeconds")?);
    if to <= from || to - from > u64::from(max_s) * 1000 {
        let words =
            format!("must be after startTimeSeconds, by at most {max_s} s (clips.video_max_s)");
        return Err(ApiError::field("endTimeSeconds", words));
    }
    Ok((from, to))
}

/// What the clip's owner chose. What is not said of who may watch is as its source has it: cutting something out of what is
/// locked does not unlock it.
fn change(source: &Video, body: &Map<String, Value>, now_ms: u64) -> Result<VideoChange, ApiError> {
    let from = &source.settings;
    let settings = VideoSettings {
        meta: from.meta.clone(),
        creator: from.creator.clone(),
        require_signed_urls: from.require_signed_urls,
        allowed_origins: from.allowed_origins.clone(),
        allow_clips: from.allow_clips,
        public_details: from.public_details.clone(),
        ladder: from.ladder.clone(),
        ..VideoSettings::default()
    };
    let mut change = VideoChange { settings, delete_ms: None };
    // It is made now: how long it must be kept counts from now.
    let clip = Video { created_ms: now_ms, ..source.clone() };
    let fields = body.iter().filter(|(name, _)| *name != "uid");
    let fields: Map<String, Value> = fields.map(|(n, v)| (n.clone(), v.clone())).collect();
    merge_change(&mut change, &clip, &fields)?;
    // The vendor's shorter way to a name.
    if let Some(name) = body.get("name").and_then(Value::as_str) {
        change.settings.meta.insert("name".to_owned(), json!(name));
    }
    Ok(change)
}

fn refused(error: ClipError) -> ApiError {
    match error {
        ClipError::NoSource => ApiError::not_found(crate::videos::MISSING),
        ClipError::Refused(_) | ClipError::NotYet { .. } => {
            ApiError::field("startTimeSeconds", error.to_string())
        }
        ClipError::TooMuch { .. } => ApiError::field(SOURCE, error.to_string()),
        ClipError::Gone => ApiError::not_found("some of the video is no longer there"),
        ClipError::Busy => ApiError::too_many(&error.to_string(), 1),
        ClipError::NoRoom(_) => {
            ApiError::internal("the disk has no room for a clip (retention.min_free_gb)")
        }
        ClipError::Document(error) => error.into(),
        ClipError::Read(_) | ClipError::Store(_) | ClipError::Expect(_) => {
            tracing::error!(%error, "clip");
            ApiError::internal("the clip can't be made at the moment")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_seconds_and_has_a_bound() {
        for (from, to, expect) in [
            (json!(5), json!(10), Some((5_000, 10_000))),
            (json!(0.5), json!(60.5), Some((500, 60_500))),
            (json!(0), json!(60.001), None),
            (json!(5), json!(5), None),
            (json!(6), json!(5), None),
            (json!(-1), json!(5), None),
            (json!("1"), json!(5), None),
            (json!(null), json!(5), None),
            (json!(1), json!(1e300), None),
        ] {
            let Value::Object(body) = json!({ "startTimeSeconds": from, "endTimeSeconds": to })
            else {
                return;
            };
            assert_eq!(range(&body, 60).ok(), expect, "{body:?}");
        }
    }
}
