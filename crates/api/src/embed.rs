//! `GET /stream/{uid}/embed`: the line that puts a player into a page, as HTML and without an envelope, as the vendor's.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use media::markup::escaped;
use serde_json::Value;

use crate::Api;
use crate::envelope::ApiError;
use crate::inputs::web;
use crate::videos::find;

pub(crate) async fn html(
    State(api): State<Api>,
    Path((_, uid)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let video = find(&api, &uid).await?;
    let name = video.settings.meta.get("name").and_then(Value::as_str).unwrap_or("Airwave");
    let line = iframe(&web(&api, &headers), video.uid.as_str(), name);
    let response = Response::builder()
        .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
        .header(header::CACHE_CONTROL, "no-store")
        // It is to be copied. Whoever opens it as a page gets nothing that could act for this server.
        .header(header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox");
    Ok(response.body(Body::from(line)).unwrap_or_default())
}

/// The width is the page's, the height follows the picture.
fn iframe(web: &str, uid: &str, name: &str) -> String {
    format!(
        "<iframe src=\"{}/{uid}/iframe\" title=\"{}\" style=\"border: 0; width: 100%; aspect-ratio: 16 / 9\" \
         allow=\"autoplay; fullscreen; picture-in-picture\" allowfullscreen></iframe>\n",
        escaped(web),
        escaped(name),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_a_name() {
        let line = iframe("https://live.example.org", "0f", "\"><script>alert(1)</script>\n&'");
        assert_eq!(
            line,
            "<iframe src=\"https://live.example.org/0f/iframe\" \
             title=\"&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp;&#39;\" \
             style=\"border: 0; width: 100%; aspect-ratio: 16 / 9\" \
             allow=\"autoplay; fullscreen; picture-in-picture\" allowfullscreen></iframe>\n"
        );
    }
}
