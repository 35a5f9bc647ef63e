//! The server fetches nothing from where somebody tells it to.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use testkit::{Server, request};

use crate::AIRWAVE;
use crate::codecs::{FFMPEG, run};

/// Whoever waits for the server to come is never asked, whatever a stranger, an owner and an encoder write his address into.
#[test]
fn nothing_is_fetched_for_anybody() {
    let waits = TcpListener::bind("127.0.0.1:0").unwrap();
    waits.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", waits.local_addr().unwrap());
    let server = Server::start(AIRWAVE, &["quic.listen=off"]);

    let origins = [waits.local_addr().unwrap().to_string()];
    let input = server.create_input(&json!({
        "meta": { "name": url, "logo": url, "image": url },
        "recording": { "requireSignedURLs": true, "allowedOrigins": origins },
    }));
    // What would fetch is not there.
    let outputs = format!("/stream/live_inputs/{}/outputs", input.uid);
    for (method, path, body) in [
        ("POST", "/stream/copy", json!({ "url": url })),
        ("PUT", "/stream/webhook", json!({ "notificationUrl": url })),
        ("POST", &*outputs, json!({ "url": url, "streamKey": "k" })),
    ] {
        let answer = server.api(method, path, Some(&body));
        assert!([404, 405].contains(&answer.status), "{path}: {}", answer.status);
    }

    let coded = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let head = json!({ "alg": "ES256", "kid": url, "jku": url, "x5u": url });
    let token = format!("{}.{}.c2ln", coded(head), coded(json!({ "sub": input.uid, "exp": 9e9 })));
    assert_eq!(server.get(&format!("/{token}/manifest/video.m3u8")).status, 401);
    let page = URL_SAFE_NO_PAD.encode(&url);
    for path in [
        format!("/oembed?url={url}"),
        format!("/{}/watch?poster={url}&ad-url={url}&url={url}", input.uid),
        format!("/{}/iframe?poster={url}&ad-url={url}&logo={page}", input.uid),
    ] {
        let headers = [("referer", &*url), ("origin", &*url), ("x-forwarded-host", &*url)];
        assert!(request("GET", &server.url(&path), &headers, b"").status < 500, "{path}");
    }

    let mut encoder = Command::new(FFMPEG);
    encoder.args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "sine", "-t", "1"]);
    encoder.args(["-c:a", "aac", "-f", "flv", "-rtmp_pageurl", &url, "-rtmp_swfurl", &url]);
    run(encoder.args(["-rtmp_tcurl", &url.replace("http", "rtmp"), &input.rtmp]));

    match waits.accept() {
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        Ok((_, peer)) => panic!("{peer} came"),
    }
}
