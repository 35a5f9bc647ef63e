//! Downloads of a video: `default.mp4` and `audio.m4a`. They are made as they are sent, so what is created here is the
//! permission. `reference/cloudflare-api.md` §4.8.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use control::{Downloads, Video, VideoChange};
use serde_json::{Map, Value, json};

use crate::Api;
use crate::envelope::{ApiError, ok};
use crate::inputs::{now_ms, web};
use crate::videos::find;

type Answer = Result<Response, ApiError>;

/// `POST`: the file with picture and sound.
pub(crate) async fn create(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let video = find(&api, &uid).await?;
    let video = change(&api, &video, |now| Ok(Downloads { default: true, ..now })).await?;
    state(&api, &headers, &video).await
}

/// `GET`: what there is.
pub(crate) async fn get(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Answer {
    let video = find(&api, &uid).await?;
    state(&api, &headers, &video).await
}

/// `DELETE`: none from now on.
pub(crate) async fn delete(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
) -> Answer {
    let video = find(&api, &uid).await?;
    change(&api, &video, |_| Ok(Downloads::default())).await?;
    Ok(ok(&json!("")))
}

/// `POST` of one kind.
pub(crate) async fn create_one(
    State(api): State<Api>,
    Path((_, uid, kind)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let video = find(&api, &uid).await?;
    let video = change(&api, &video, move |now| set(now, &kind, true)).await?;
    state(&api, &headers, &video).await
}

/// `GET` of one kind.
pub(crate) async fn get_one(
    State(api): State<Api>,
    Path((_, uid, kind)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Answer {
    let video = find(&api, &uid).await?;
    if set(video.settings.downloads, &kind, true)? != video.settings.downloads {
        return Err(ApiError::not_found("this download was not created"));
    }
    state(&api, &headers, &video).await
}

/// `DELETE` of one kind.
pub(crate) async fn delete_one(
    State(api): State<Api>,
    Path((_, uid, kind)): Path<(String, String, String)>,
) -> Answer {
    let video = find(&api, &uid).await?;
    change(&api, &video, move |now| set(now, &kind, false)).await?;
    Ok(ok(&json!("")))
}

fn set(downloads: Downloads, kind: &str, there: bool) -> Result<Downloads, ApiError> {
    match kind {
        "default" => Ok(Downloads { default: there, ..downloads }),
        "audio" => Ok(Downloads { audio: there, ..downloads }),
        _ => Err(ApiError::not_found("there are two downloads: default and audio")),
    }
}

async fn change(
    api: &Api,
    video: &Video,
    to: impl FnOnce(Downloads) -> Result<Downloads, ApiError> + Send + 'static,
) -> Result<Video, ApiError> {
    let change = move |_: &Video, change: &mut VideoChange| {
        change.settings.downloads = to(change.settings.downloads)?;
        Ok::<_, ApiError>(())
    };
    let video = api.control.change_video(&video.uid, change, now_ms()).await?;
    api.history.forget(&video.uid);
    Ok(video)
}

/// Each is ready as soon as the broadcast is over.
async fn state(api: &Api, headers: &HeaderMap, video: &Video) -> Answer {
    let Downloads { default, audio } = video.settings.downloads;
    let (web, uid) = (web(api, headers), &video.uid);
    let recording = match default || audio {
        true => api.history.recording(uid).await.map_err(|error| {
            tracing::error!(video = %uid, %error, "downloads");
            ApiError::internal("the recording can't be read at the moment")
        })?,
        false => None,
    };
    let mut all = Map::new();
    for (kind, file, there) in [("default", "default.mp4", default), ("audio", "audio.m4a", audio)]
    {
        if !there {
            continue;
        }
        let url = format!("{web}/{uid}/downloads/{file}");
        let one = match recording.as_ref().map(|r| (r.video.live(), r.one_file(kind == "default")))
        {
            Some((true, _)) => {
                json!({ "status": "inprogress", "url": url, "percentComplete": 0 })
            }
            Some((false, Ok(()))) => {
                json!({ "status": "ready", "url": url, "percentComplete": 100 })
            }
            Some((false, Err(why))) => json!({
                "status": "error", "url": url, "percentComplete": 0,
                "errorReasonText": why.to_string(),
            }),
            None => json!({ "status": "error", "url": url, "percentComplete": 0 }),
        };
        all.insert(kind.to_owned(), one);
    }
    Ok(ok(&Value::Object(all)))
}
