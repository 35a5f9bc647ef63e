//! Captions of a video: one WebVTT file a language. `reference/cloudflare-api.md` §4.8.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use bytes::Bytes;
use control::{Captions, Video};
use media::webvtt::{WebVtt, language};
use record::CaptionsError;
use serde_json::{Value, json};

use crate::Api;
use crate::envelope::{ApiError, ok};
use crate::inputs::now_ms;
use crate::multipart;
use crate::videos::find;

type Answer = Result<Response, ApiError>;
type Which = Path<(String, String, String)>;

pub(crate) async fn list(State(api): State<Api>, Path((_, uid)): Path<(String, String)>) -> Answer {
    let video = find(&api, &uid).await?;
    let all = video.settings.captions.iter().map(|(language, one)| value(language, one));
    Ok(ok(&Value::Array(all.collect())))
}

pub(crate) async fn get(State(api): State<Api>, Path((_, uid, tag)): Which) -> Answer {
    let video = find(&api, &uid).await?;
    let tag = kept(&video, &tag)?;
    Ok(ok(&value(&tag, of(&video, &tag)?)))
}

/// `PUT`: a form with a `file`, or the file itself.
pub(crate) async fn put(
    State(api): State<Api>,
    Path((_, uid, tag)): Which,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let video = find(&api, &uid).await?;
    let tag = kept(&video, &tag)?;
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    let file = match multipart::boundary(kind) {
        Some(boundary) => multipart::part(&body, boundary, "file")
            .ok_or_else(|| ApiError::malformed("the form must have a part named file"))?,
        None => body,
    };
    let captions =
        WebVtt::parse(&file).map_err(|error| ApiError::field("file", error.to_string()))?;
    let mut random = [0; 8];
    (api.random)(&mut random);
    let stored = api.history.put_captions(
        &video,
        &tag,
        label(&tag),
        Bytes::from(captions.as_str().to_owned()),
        u64::from_be_bytes(random),
        now_ms(),
    );
    let video = stored.await.map_err(refused)?;
    Ok(ok(&value(&tag, of(&video, &tag)?)))
}

pub(crate) async fn delete(State(api): State<Api>, Path((_, uid, tag)): Which) -> Answer {
    let video = find(&api, &uid).await?;
    let tag = kept(&video, &tag)?;
    of(&video, &tag)?;
    api.history.delete_captions(&video, &tag, now_ms()).await.map_err(refused)?;
    Ok(ok(&json!("")))
}

/// The file as it is kept.
pub(crate) async fn file(State(api): State<Api>, Path((_, uid, tag)): Which) -> Answer {
    let video = find(&api, &uid).await?;
    let tag = kept(&video, &tag)?;
    of(&video, &tag)?;
    let text = api.history.captions(&video, &tag).await.map_err(|error| {
        tracing::error!(video = %video.uid, %error, "captions");
        ApiError::internal("the captions can't be read at the moment")
    })?;
    let text = text.ok_or_else(|| ApiError::not_found("these captions are no longer there"))?;
    let response = Response::builder().header(header::CONTENT_TYPE, "text/vtt; charset=utf-8");
    Ok(response.body(Body::from(text)).unwrap_or_default())
}

/// The tag that captions in this language have: RFC 5646 §2.1.1, a language is the same in letters of any case.
fn kept(video: &Video, tag: &str) -> Result<String, ApiError> {
    let all = &video.settings.captions;
    let same = || all.keys().find(|kept| kept.eq_ignore_ascii_case(tag)).cloned();
    let there = all.contains_key(tag).then(|| tag.to_owned()).or_else(same);
    let wrong = || ApiError::malformed("the language must be a tag such as en or pt-BR");
    there.or_else(|| language(tag)).ok_or_else(wrong)
}

fn of<'a>(video: &'a Video, tag: &str) -> Result<&'a Captions, ApiError> {
    let found = video.settings.captions.get(tag);
    found.ok_or_else(|| ApiError::not_found("there are no captions in this language"))
}

fn value(language: &str, captions: &Captions) -> Value {
    json!({
        "language": language,
        "label": captions.label,
        "generated": false,
        "status": "ready",
    })
}

fn refused(error: CaptionsError) -> ApiError {
    match error {
        CaptionsError::Document(error) => error.into(),
        CaptionsError::Live => {
            ApiError::malformed("the broadcast is not over: captions can be added to recordings")
        }
        CaptionsError::TooMany => ApiError::malformed(error.to_string()),
        CaptionsError::Store(_) | CaptionsError::Expect(_) => {
            tracing::error!(%error, "captions");
            ApiError::internal("the captions can't be stored at the moment")
        }
    }
}

/// What people call a language; its tag where that is not known here.
fn label(tag: &str) -> String {
    const NAMES: [(&str, &str); 34] = [
        ("ar", "Arabic"),
        ("bg", "Bulgarian"),
        ("ca", "Catalan"),
        ("cs", "Czech"),
        ("da", "Danish"),
        ("de", "German"),
        ("el", "Greek"),
        ("en", "English"),
        ("es", "Spanish"),
        ("et", "Estonian"),
        ("fi", "Finnish"),
        ("fr", "French"),
        ("he", "Hebrew"),
        ("hi", "Hindi"),
        ("hr", "Croatian"),
        ("hu", "Hungarian"),
        ("id", "Indonesian"),
        ("it", "Italian"),
        ("ja", "Japanese"),
        ("ko", "Korean"),
        ("nl", "Dutch"),
        ("no", "Norwegian"),
        ("pl", "Polish"),
        ("pt", "Portuguese"),
        ("ro", "Romanian"),
        ("ru", "Russian"),
        ("sk", "Slovak"),
        ("sl", "Slovenian"),
        ("sr", "Serbian"),
        ("sv", "Swedish"),
        ("th", "Thai"),
        ("tr", "Turkish"),
        ("uk", "Ukrainian"),
        ("zh", "Chinese"),
    ];
    let (primary, rest) = tag.split_once('-').unwrap_or((tag, ""));
    let known = NAMES.iter().find(|(code, _)| code.eq_ignore_ascii_case(primary));
    match (known, rest) {
        (Some((_, name)), "") => (*name).to_owned(),
        (Some((_, name)), rest) => format!("{name} ({rest})"),
        (None, _) => tag.to_owned(),
    }
}
