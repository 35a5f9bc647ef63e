//! Who is connected over MoQ, and which tracks go to whom: for who runs the server.

use axum::extract::{RawQuery, State};
use axum::response::Response;
use serde_json::Value;

use crate::envelope::{ApiError, ok_page};
use crate::paging::Paging;
use crate::{Api, MoqList};

type Answer = Result<Response, ApiError>;

/// `GET`: the sessions that are open, the newest first.
pub(crate) async fn sessions(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    let about = |row: &Value, uid: &str| {
        row["tracks"].as_array().is_some_and(|tracks| tracks.iter().any(|track| is_of(track, uid)))
    };
    page(&(api.moq)(MoqList::Sessions), query.as_deref().unwrap_or_default(), about)
}

/// `GET`: the tracks that go over sessions now, or did a while ago.
pub(crate) async fn tracks(State(api): State<Api>, RawQuery(query): RawQuery) -> Answer {
    page(&(api.moq)(MoqList::Tracks), query.as_deref().unwrap_or_default(), is_of)
}

/// Whether a track is one of this live input or video.
fn is_of(track: &Value, uid: &str) -> bool {
    track["namespace"].as_array().is_some_and(|fields| fields.iter().any(|field| field == uid))
}

fn page(rows: &[Value], query: &str, about: impl Fn(&Value, &str) -> bool) -> Answer {
    let paging = Paging::parse(query)?;
    let uid = query.split('&').find_map(|pair| pair.strip_prefix("uid="));
    let rows = rows.iter().filter(|row| uid.is_none_or(|uid| about(row, uid)));
    let rows: Vec<Value> = rows.cloned().collect();
    Ok(ok_page(paging.page_of(&rows), &paging, rows.len() as u64))
}
