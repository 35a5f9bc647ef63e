//! The chat of a video, or of what a live input has on the air, for its owner: what was said, and taking it away.

use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use control::{ChatMessage, ChatPage, InputUid, VideoUid};
use media::date::date_time;
use serde_json::{Value, json};

use crate::Api;
use crate::envelope::{ApiError, ok, ok_beside};
use crate::signing::MISSING;

type Answer = Result<Response, ApiError>;

/// `GET`: the newest messages, or those before one.
pub(crate) async fn list(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Answer {
    let before = before(query.as_deref().unwrap_or_default())?;
    let Some(video) = find(&api, &uid).await? else { return Ok(ok(&json!([]))) };
    let messages = api.chat.messages(&video, ChatPage::Before(before)).await?;
    let rows: Vec<Value> = messages.iter().map(value).collect();
    let live = api.chat.find(video.as_str());
    let info = json!({ "count": rows.len(), "open": live.is_some_and(|room| room.is_open()) });
    Ok(ok_beside(&Value::Array(rows), &[("result_info", info)]))
}

/// `DELETE` of one message: nobody sees it from now on, nor in the replay.
pub(crate) async fn delete_one(
    State(api): State<Api>,
    Path((_, uid, message)): Path<(String, String, String)>,
) -> Answer {
    let missing = || ApiError::not_found("there is no such message");
    // The database has 63 bits.
    let id = message.parse().ok().filter(|id| *id <= u64::MAX >> 1).ok_or_else(missing)?;
    let video = find(&api, &uid).await?.ok_or_else(missing)?;
    match api.chat.delete(&video, Some(id)).await? {
        true => Ok(ok(&json!(""))),
        false => Err(missing()),
    }
}

/// `DELETE` of all of them.
pub(crate) async fn delete_all(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
) -> Answer {
    if let Some(video) = find(&api, &uid).await? {
        api.chat.delete(&video, None).await?;
    }
    Ok(ok(&json!("")))
}

/// The video, or the newest broadcast of the live input; nothing, if it has not had any.
async fn find(api: &Api, uid: &str) -> Result<Option<VideoUid>, ApiError> {
    if let Ok(video) = VideoUid::parse(uid)
        && let Some(found) = api.control.video(&video).await?
    {
        return Ok(Some(found.uid));
    }
    let missing = || ApiError::not_found(MISSING);
    let input = InputUid::parse(uid).map_err(|_| missing())?;
    api.control.input(&input).await?.ok_or_else(missing)?;
    Ok(api.control.broadcast_of(&input).await?.map(|video| video.uid))
}

fn before(query: &str) -> Result<u64, ApiError> {
    let named = query.split('&').find_map(|pair| pair.strip_prefix("before="));
    let Some(value) = named else { return Ok(u64::MAX >> 1) };
    let wrong = || ApiError::field("before", "must be the id of a message");
    value.parse().ok().filter(|id| *id <= u64::MAX >> 1).ok_or_else(wrong)
}

fn value(message: &ChatMessage) -> Value {
    json!({
        "id": message.id,
        "created": date_time(message.at_ms),
        "name": message.name,
        "text": message.text,
    })
}
