//! Bodies and queries, for the fuzz targets in `fuzz/` and for tests: any bytes in, no panic out.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;
use control::{InputSettings, InputUid, Rev, Video, VideoChange, VideoSettings, VideoUid};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::auth::{bearer, of_this_server};
use crate::inputs::{host_of, object, port_of};
use crate::paging::Paging;
use crate::session::cookie;
use crate::tokens::wanted;
use crate::videos::{Wanted, merge_change};
use crate::{idempotency, list, merge, multipart};

/// The first byte says what it is: the body for an input, the body for a video, the query of a list, a header, a form.
pub fn request(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    let body = object(&Bytes::copy_from_slice(data));
    let text = String::from_utf8_lossy(data);
    match (which % 5, body) {
        (0, Ok(body)) => {
            input(&body);
            let _ = wanted(&body);
        }
        (1, Ok(body)) => video(&body),
        (4, _) => {
            let boundary = multipart::boundary(text.lines().next().unwrap_or_default());
            let found =
                multipart::part(&Bytes::copy_from_slice(data), boundary.unwrap_or("x"), "file");
            assert!(found.is_none_or(|part| part.len() < data.len()));
        }
        (2, _) => {
            let _ = (Wanted::parse(&text), Paging::parse(&text), list::Wanted::parse(&text));
        }
        (3, _) => {
            let _ = bearer(&text);
            if let Ok(value) = HeaderValue::from_str(&text) {
                let headers = HeaderMap::from_iter([
                    (header::COOKIE, value.clone()),
                    (header::ORIGIN, value.clone()),
                    (HeaderName::from_static("idempotency-key"), value),
                ]);
                let _ = (cookie(&headers, true), of_this_server(&headers, None));
                let _ = idempotency::key(&headers);
            }
            assert_eq!(format!("{}{}", host_of(&text), port_of(&text)), text);
        }
        _ => {}
    }
}

/// What was taken can be read back and written again, and is the same.
fn input(body: &Map<String, Value>) {
    let mut settings = InputSettings::default();
    if merge::settings(&mut settings, body).is_ok() {
        let mut again = InputSettings::default();
        assert!(merge::settings(&mut again, &written(&settings)).is_ok(), "{settings:?}");
        assert_eq!(again, settings);
    }
}

fn video(body: &Map<String, Value>) {
    let id = "0123456789abcdef0123456789abcdef";
    // invariant: that is an id.
    let (Ok(uid), Ok(input)) = (VideoUid::parse(id), InputUid::parse(id)) else {
        return;
    };
    let settings = VideoSettings::default();
    let video = Video {
        uid,
        input,
        created_ms: 1_763_812_800_123,
        modified_ms: 0,
        rev: Rev::default(),
        ended: None,
        delete_ms: None,
        segments: 0,
        numbers: None,
        duration_ms: 0,
        bytes: 0,
        clip: None,
        settings,
    };
    let mut change = VideoChange::default();
    if merge_change(&mut change, &video, body).is_ok() {
        let mut again = VideoChange { delete_ms: change.delete_ms, ..VideoChange::default() };
        let read_back = merge_change(&mut again, &video, &written(&change.settings));
        assert!(read_back.is_ok(), "{change:?}");
        assert_eq!(again, change);
    }
}

fn written(settings: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => fields,
        other => panic!("settings are an object: {other:?}"),
    }
}
