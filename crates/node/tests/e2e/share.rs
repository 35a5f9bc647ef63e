//! Broadcasts on other people's pages: the embedded player, oEmbed, what link previews read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::{Child, Clip, ClipSpec, Response, Server, browser_script, request, skip, wait_until};

use crate::AIRWAVE;

const FFMPEG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/ffmpeg9/ffmpeg");

fn policy(response: &Response) -> &str {
    &response.headers["content-security-policy"]
}

#[test]
fn only_the_player_may_be_framed() {
    let server = Server::start(AIRWAVE, &[]);
    let uid = server.input().uid;
    for path in ["/".to_owned(), format!("/{uid}/watch"), "/favicon.ico".to_owned()] {
        let page = server.get(&path);
        assert_eq!(page.status, 200, "{path}");
        assert!(policy(&page).contains("frame-ancestors 'none'"), "{path}: {}", policy(&page));
    }
    let player = server.get(&format!("/{uid}/iframe?autoplay=true"));
    assert_eq!(player.status, 200);
    assert_eq!(player.headers["content-type"], "text/html; charset=utf-8");
    assert!(!policy(&player).contains("frame-ancestors"), "{}", policy(&player));
    assert!(policy(&player).contains("default-src 'self'"), "{}", policy(&player));
    assert!(!policy(&player).contains("unsafe"), "{}", policy(&player));
    assert_eq!(server.get("/favicon.ico").headers["content-type"], "image/svg+xml");
}

#[test]
fn the_script_is_for_every_origin() {
    let server = Server::start(AIRWAVE, &[]);
    let script = server.get("/embed/sdk.latest.js");
    assert_eq!(script.status, 200);
    assert_eq!(script.headers["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(script.headers["access-control-allow-origin"], "*");
    assert_eq!(script.headers["cross-origin-resource-policy"], "cross-origin");
    assert!(script.text().contains("Stream"));
    for path in ["/embed/other.js", "/embed/..%2Findex.html", "/embed/%2e%2e"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

/// What the pages load, hls.js above all, is a third of its size on the way to a phone.
#[test]
fn what_pages_load_is_compressed_for_who_reads_that() {
    let server = Server::start(AIRWAVE, &[]);
    let page = server.get("/none/iframe").text();
    let script = page.split('"').find(|a| a.starts_with("/assets/embed") && a.ends_with(".js"));
    let script = script.unwrap_or_else(|| panic!("{page}")).to_owned();
    let folder = tempfile::tempdir().unwrap();
    for path in [&script, "/embed/sdk.latest.js"] {
        let get = |field: &[(&str, &str)]| request("GET", &server.url(path), field, b"");
        let whole = get(&[]);
        let packed = get(&[("accept-encoding", "gzip, deflate, br")]);
        for answer in [&whole, &packed] {
            assert_eq!((answer.status, &*answer.headers["vary"]), (200, "Accept-Encoding"));
            assert_eq!(answer.headers["content-type"], "text/javascript; charset=utf-8");
        }
        assert!(!whole.headers.contains_key("content-encoding"));
        assert_eq!(packed.headers["content-encoding"], "gzip");
        assert!(packed.body.len() * 3 < whole.body.len() * 2, "{path}: {}", packed.body.len());
        let file = folder.path().join("packed.gz");
        std::fs::write(&file, &packed.body).unwrap();
        let unpacked = Command::new("gzip").arg("-dc").arg(&file).output().unwrap();
        assert!(unpacked.stdout == whole.body, "{path}");
        assert_eq!(server.get(&format!("{path}.gz")).status, 404, "not by itself");
    }
}

#[test]
fn hostile_names_are_text_in_previews_and_embeds() {
    let server = Server::start(AIRWAVE, &[]);
    let name = "</title><script>alert(1)</script><!--/about-->\"'><img src=x onerror=alert(1)>";
    let uid = server.create_input(&json!({ "meta": { "name": name } })).uid;
    let page = server.get(&format!("/{uid}/watch")).text();
    let plain = {
        let uid = server.create_input(&json!({ "meta": { "name": "plain" } })).uid;
        server.get(&format!("/{uid}/watch")).text()
    };
    for tag in ["<script", "<img", "<title", "</title>", "<!--", "<meta", "<link"] {
        assert_eq!(page.matches(tag).count(), plain.matches(tag).count(), "{tag} in {page}");
    }
    let title = "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;!--/about--&gt;&quot;&#39;&gt;\
                 &lt;img src=x onerror=alert(1)&gt;";
    assert!(page.contains(&format!("<title>{title} · Airwave</title>")), "{page}");
    assert!(
        page.contains(&format!("<meta property=\"og:title\" content=\"{title}\" />")),
        "{page}"
    );

    let embed = server.get(&oembed(&server, &format!("/{uid}/watch"), ""));
    let embed = embed.json();
    assert_eq!(embed["title"], name);
    let html = embed["html"].as_str().unwrap();
    assert_eq!(html.matches('<').count(), 2, "{html}");
    assert!(html.contains(&format!("title=\"{title}\"")), "{html}");
}

/// A host that nobody checked must not become an element either.
#[test]
fn hostile_hosts_are_not_repeated() {
    let server = Server::start(AIRWAVE, &[]);
    let url = server.url(&format!("/{}/watch", server.input().uid));
    for host in ["evil.example\"><script>", "evil.example/path", "user@evil.example"] {
        let mut socket = TcpStream::connect(&url.authority).unwrap();
        let request =
            format!("GET {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n", url.path);
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{host}: {answer}");
        assert!(!answer.contains("evil.example"), "{host}: {answer}");
    }
}

fn oembed(server: &Server, path: &str, more: &str) -> String {
    let url = server.url(path).to_string().replace(':', "%3A").replace('/', "%2F");
    format!("/oembed?url={url}{more}")
}

#[test]
fn oembed_answers_for_pages_of_this_server() {
    let server = Server::start(AIRWAVE, &[]);
    let uid = server.create_input(&json!({ "meta": { "name": "Harbour" } })).uid;
    let page = server.get(&format!("/{uid}/watch")).text();
    let discovered = page.split("json+oembed\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let authority = server.url("").authority;
    let path = discovered.strip_prefix(&format!("http://{authority}")).unwrap();
    let answer = server.get(path);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["access-control-allow-origin"], "*");
    assert_eq!(
        answer.json(),
        json!({
            "version": "1.0",
            "type": "video",
            "provider_name": "Airwave",
            "provider_url": format!("http://{authority}/"),
            "title": "Harbour",
            "html": format!(
                "<iframe src=\"http://{authority}/{uid}/iframe\" title=\"Harbour\" width=\"1280\" \
                 height=\"720\" style=\"border: 0\" \
                 allow=\"autoplay; fullscreen; picture-in-picture\" allowfullscreen></iframe>"
            ),
            "width": 1280,
            "height": 720,
        })
    );
    let smaller = oembed(&server, &format!("/{uid}/iframe"), "&maxwidth=640&maxheight=1000");
    assert_eq!(server.get(&smaller).json()["height"], 360);
    // The page of a clip is not embedded as the whole broadcast.
    let clip = oembed(&server, &format!("/{uid}/watch?time=1m2.5s&duration=30"), "");
    let clip = server.get(&clip.replace('&', "%26")).json();
    assert_eq!(clip["title"], "Clip of Harbour");
    let html = clip["html"].as_str().unwrap();
    let player = format!("src=\"http://{authority}/{uid}/iframe?time=62.5s&amp;duration=30s\"");
    assert!(html.contains(&player), "{html}");

    let watch = format!("/{uid}/watch");
    let nobody = format!("/{}/watch", "0".repeat(32));
    let refused = [
        (oembed(&server, &watch, "&format=xml"), 501),
        (oembed(&server, &nobody, ""), 404),
        (oembed(&server, "/", ""), 404),
        (format!("/oembed?url=http%3A%2F%2Fother.example%2F{uid}%2Fwatch"), 404),
        ("/oembed".to_owned(), 400),
    ];
    for (path, status) in refused {
        assert_eq!(server.get(&path).status, status, "{path}");
    }
    // The page says so in words; the status is for machines.
    let unknown = server.get(&nobody);
    assert_eq!(unknown.status, 404);
    assert!(unknown.text().contains("noindex"), "{}", unknown.text());
}

/// The player's own requests come from this server's pages: whose page is around them is the policy's to say.
#[test]
fn owners_say_who_may_embed() {
    let server = Server::start(AIRWAVE, &[]);
    let fields = json!({ "recording": { "allowedOrigins": ["a; script-src *"] } });
    let refused = server.api("POST", "/stream/live_inputs", Some(&fields));
    assert_eq!(refused.status, 400, "{}", refused.text());
    let recording = json!({ "allowedOrigins": ["Example.org", "*.example.org"] });
    let fields = json!({ "meta": { "name": "x" }, "recording": recording });
    let uid = server.create_input(&fields).uid;
    let player = server.get(&format!("/{uid}/iframe"));
    // The client keeps the last field of a name.
    assert_eq!(
        policy(&player),
        "frame-ancestors 'self' http://example.org:* https://example.org:* \
         http://*.example.org:* https://*.example.org:*"
    );
}

#[test]
fn what_needs_a_token_is_not_told_without_one() {
    let server = Server::start(AIRWAVE, &[]);
    let recording = json!({ "requireSignedURLs": true });
    let fields = json!({ "meta": { "name": "A secret" }, "recording": recording });
    let uid = server.create_input(&fields).uid;
    let watch = format!("/{uid}/watch");
    for path in [&*watch, &format!("/{uid}/iframe"), &oembed(&server, &watch, "")] {
        let answer = server.get(path);
        assert_eq!(answer.status, 401, "{path}");
        assert!(!answer.text().contains("A secret"), "{path}");
    }
    let token = server.api("POST", &format!("/stream/{uid}/token"), Some(&json!({})));
    let token = token.json()["result"]["token"].as_str().unwrap().to_owned();
    let embed = server.get(&oembed(&server, &format!("/{token}/watch"), "")).json();
    assert_eq!(embed["title"], "A secret");
    assert!(embed["html"].as_str().unwrap().contains(&format!("/{token}/iframe")), "{embed}");
}

/// Two pictures of one connection are two qualities, two sounds a choice, and the player obeys a page of another origin.
#[test]
fn the_player_is_steered_from_another_page_in_chromium() {
    if skip("browser") || skip("codecs") {
        return;
    }
    assert!(Path::new(FFMPEG).is_file(), "FFmpeg 9 is missing: make deps-test fetches it");
    let server = Server::start(AIRWAVE, &["encode.pictures=true"]);
    let input = server.input();
    let mut command = Command::new(FFMPEG);
    command.args(["-nostdin", "-v", "error", "-re", "-f", "lavfi", "-i"]);
    command.arg(
        "testsrc2=s=640x360:r=30,format=yuv420p,split[large],scale=320:180[out1];[large]null[out0]",
    );
    for tone in ["1000", "2000"] {
        command.args(["-f", "lavfi", "-i", &format!("sine=frequency={tone}:sample_rate=48000")]);
    }
    command.args(["-map", "0:v:0", "-map", "0:v:1", "-map", "1:a", "-map", "2:a", "-t", "480"]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "60"]);
    command.args(["-b:v:0", "1500k", "-b:v:1", "300k", "-c:a", "aac", "-f", "flv", &input.rtmp]);
    let encoder = Child::start(&mut command);
    server.wait_live(&input);

    let mut node = browser_script("check-embed.mjs");
    let authority = server.url("").authority;
    node.args(["--server", &format!("http://{authority}"), "--id", &input.uid]);
    node.args([
        "--heights",
        "360,180",
        "--tones",
        "1000,2000",
        "--stop",
        &encoder.id().to_string(),
    ]);
    let named = json!({ "recording": { "allowedOrigins": ["page.localhost"] } });
    let named = server.create_input(&named);
    let _shown = Clip::make(&ClipSpec::plain("shown", 10)).publish(&named.rtmp, -1);
    let picture = format!("/{}/thumbnails/thumbnail.jpg", named.uid);
    wait_until("a picture", 60, || (server.get(&picture).status == 200).then_some(()));
    node.args(["--named", &named.uid]);
    let mut node = Child::start(&mut node);
    let status = node.wait(470);
    assert!(status.success(), "check-embed.mjs: {status}\n{}", node.output());
}
