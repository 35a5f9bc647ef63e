//! Links that only the right people can open, as those see it who have them and who have not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use testkit::{Child, Clip, ClipSpec, Input, MediaPlaylist, Response, Server, request, wait_until};

use crate::AIRWAVE;

pub(crate) fn clip() -> Clip {
    Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) })
}

/// An input that asks for tokens, on the air.
pub(crate) fn locked(server: &Server) -> (Input, String, Child) {
    let input = server.create_input(&json!({ "recording": { "requireSignedURLs": true } }));
    let encoder = clip().publish(&input.rtmp, -1);
    // Nobody may look: the API tells.
    let video = wait_until("the broadcast to begin", 20, || {
        let path = format!("/stream/live_inputs/{}", input.uid);
        let status = server.api("GET", &path, None).json()["result"]["status"].clone();
        status["current"]["videoUID"].as_str().map(str::to_owned)
    });
    (input, video, encoder)
}

pub(crate) fn token(server: &Server, uid: &str, body: &Value) -> String {
    let answer = server.api("POST", &format!("/stream/{uid}/token"), Some(body));
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["result"]["token"].as_str().unwrap().to_owned()
}

pub(crate) fn now_s() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Everything that a player fetches, from this first path segment on.
pub(crate) fn watch(server: &Server, segment: &str) -> Result<Vec<String>, Response> {
    let get = |url: &testkit::Url| {
        let answer = request("GET", url, &[], b"");
        if answer.status == 200 { Ok(answer.text()) } else { Err(answer) }
    };
    let mut seen = Vec::new();
    let main = server.url(&format!("/{segment}/manifest/video.m3u8"));
    let text = get(&main)?;
    let list = text.lines().find(|l| l.starts_with("video")).unwrap_or_else(|| panic!("{text}"));
    let list = main.join(list);
    let text = get(&list)?;
    let map = text.split("EXT-X-MAP:URI=\"").nth(1).unwrap().split('"').next().unwrap();
    let media = text.lines().find(|l| l.ends_with(".m4s")).unwrap_or_else(|| panic!("{text}"));
    for file in [map, media] {
        let url = list.join(file);
        get(&url)?;
        seen.push(url.path);
    }
    get(&server.url(&format!("/{segment}/manifest/video.mpd")))?;
    for page in ["watch", "lifecycle", "views"] {
        get(&server.url(&format!("/{segment}/{page}")))?;
    }
    Ok(seen)
}

#[test]
fn a_link_opens_what_is_locked_and_is_taken_back() {
    let server = Server::start(AIRWAVE, &[]);
    let (input, video, _encoder) = locked(&server);
    for id in [&input.uid, &video] {
        let refused = watch(&server, id).unwrap_err();
        assert_eq!(refused.status, 401, "{id}: {}", refused.text());
        assert!(refused.text().contains("signed link"), "{}", refused.text());
        assert_eq!(refused.headers["access-control-allow-origin"], "*", "players read it");
        assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"airwave\"");
        for page in ["watch", "lifecycle", "views"] {
            assert_eq!(server.get(&format!("/{id}/{page}")).status, 401, "{page}");
        }
    }
    assert_eq!(server.get("/live.json").json()["broadcasts"], json!([]), "no list names it");
    // The server's own signature, for the input and for the video.
    let of_input = token(&server, &input.uid, &json!({}));
    let files = watch(&server, &of_input).unwrap();
    watch(&server, &token(&server, &video, &json!({}))).unwrap();
    // The files belong to the link: without it, and with one for something else, they stay shut.
    let other = server.input();
    let wrong = token(&server, &other.uid, &json!({}));
    for file in &files {
        let tail = file.split_once("/media/").unwrap().1;
        for (segment, status) in [(&*input.uid, 401), (&*video, 401), ("x", 401), (&*wrong, 403)] {
            assert_eq!(server.get(&format!("/{segment}/media/{tail}")).status, status, "{segment}");
        }
        // Nor under a name that is the same only when it is decoded.
        let hex = format!("%{:02x}", video.as_bytes()[0]);
        let coded = tail.replacen(&video[..1], &hex, 1);
        assert_ne!(server.get(&format!("/x/media/{coded}")).status, 200, "{coded}");
    }
    every_route_of_what_is_locked(&server, &input.uid, &video, &wrong);
    // It ends by itself. Where all of that takes longer than it lasts, one that lasts longer.
    let short = [2, 10, 40].into_iter().find_map(|seconds| {
        let short = token(&server, &input.uid, &json!({ "exp": now_s() + seconds }));
        watch(&server, &short).is_ok().then_some(short)
    });
    let short = short.expect("it opens what it is for");
    let path = format!("/{short}/manifest/video.cmaf.m3u8");
    let ended = wait_until("the link to end", 90, || {
        let answer = server.get(&path);
        (answer.status != 200).then_some(answer)
    });
    assert_eq!((ended.status, ended.text().contains("expired")), (401, true), "{}", ended.text());
    // Its owner unlocks it for all.
    let open = json!({ "recording": { "requireSignedURLs": false } });
    let path = format!("/stream/live_inputs/{}", input.uid);
    assert_eq!(server.api("PUT", &path, Some(&open)).status, 200);
    wait_until("everybody to get in", 20, || watch(&server, &input.uid).ok());
}

/// The other half of the authorisation table: what belongs to `{id}` opens to a token for it, whatever the route.
fn every_route_of_what_is_locked(server: &Server, uid: &str, video: &str, others: &str) {
    let chat = json!({ "recording": { "requireSignedURLs": true, "allowChat": true } });
    let settings = format!("/stream/live_inputs/{uid}");
    assert_eq!(server.api("PUT", &settings, Some(&chat)).status, 200);
    let own = token(server, uid, &json!({ "downloadable": true }));
    let of_video = token(server, video, &json!({ "downloadable": true }));
    let broken = &own[..own.len() - 4];
    let rows = deliver::table();
    let rows: Vec<_> = rows.iter().filter(|row| row.of == "the video or live input").collect();
    assert!(rows.len() >= 17, "{}", rows.len());
    for row in rows {
        let file = match row.path.split('/').nth(2) {
            Some("manifest") => "video.m3u8",
            Some("thumbnails") => "nothing.jpg",
            Some("downloads") => "default.mp4",
            Some("metadata") => "playerEnhancementInfo.json",
            _ => "1-1.m4s",
        };
        let path = |segment: &str| match &*row.path {
            "/oembed" => {
                let page = server.url(&format!("/{segment}/watch")).to_string();
                format!("/oembed?url={}", page.replace(':', "%3A").replace('/', "%2F"))
            }
            route => [
                ("{id}", segment),
                ("{video}", video),
                ("{track}", "video.cmaf"),
                ("{file}", file),
                ("{which}", "after"),
                ("{bound}", "0"),
            ]
            .iter()
            .fold(route.to_owned(), |path, (name, value)| path.replace(name, value)),
        };
        let of_a_video = row.path.contains("{video}");
        let methods = if row.method == "GET" { &["GET", "HEAD"][..] } else { &[row.method] };
        for method in methods {
            let ask = |segment: &str| {
                let answer = request(method, &server.url(&path(segment)), &[], b"{}");
                (answer.status, format!("{method} {}: {}", row.path, answer.text()))
            };
            for segment in [uid, video, broken] {
                let (status, told) = ask(segment);
                assert_eq!(status, 401, "{told}");
            }
            // A token for something else opens that and nothing of this one.
            let (status, told) = ask(others);
            assert!(!told.contains(uid) && !told.contains(video), "{told}");
            assert!(status == 403 || !of_a_video, "{told}");
            for segment in [&own, &of_video] {
                let (status, told) = ask(segment);
                assert!(![401, 403].contains(&status), "{told}");
            }
        }
    }
}

/// A segment that is sent while it is made, to who has a link: what comes of it when the link is taken back meanwhile.
#[test]
fn an_answer_under_way_ends_with_its_link() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.create_input(&json!({ "recording": { "requireSignedURLs": true } }));
    let clip = Clip::make(&ClipSpec { group: 150, ..ClipSpec::plain("long-groups", 10) });
    let _encoder = clip.publish(&input.rtmp, -1);
    // Where this is slower than a segment, the segment may be whole before it is cut: then the next one.
    let cut = (0..10).any(|_| under_way(&server, &input));
    assert!(cut, "every answer came to its end");
}

/// A link for a friend: where it is taken back, and a track's list by it.
fn link(server: &Server, input: &Input) -> (String, String) {
    let links = format!("/stream/{}/links", input.uid);
    let link = server.api("POST", &links, Some(&json!({ "name": "a friend" })));
    let link = link.json()["result"].clone();
    let list = format!("/{}/manifest/video.cmaf.m3u8", link["token"].as_str().unwrap());
    (format!("{links}/{}", link["id"].as_str().unwrap()), list)
}

/// Reloads that wait while nothing comes, one for each way in which the right to them can end: each is told so then, long before it would
/// be answered anyway. What a cache has asked for that checks each viewer itself is for all of them.
#[test]
fn reloads_that_wait_end_with_the_right_to_them() {
    let proxies = r#"http.trusted_proxies=["127.0.0.1"]"#;
    let caches = r#"http.checking_caches=["127.0.0.1"]"#;
    let server = Server::start(AIRWAVE, &["ingest.reconnect_s=120", proxies, caches]);
    let input = server.create_input(&json!({}));
    let clip = Clip::make(&ClipSpec { group: 150, ..ClipSpec::plain("long-groups", 10) });
    let mut encoder = clip.publish_at(4.0, &input.rtmp, -1);
    let list = |segment: &str| format!("/{segment}/manifest/video.cmaf.m3u8");
    let open = list(&input.uid);
    wait_until("a segment", 60, || server.get(&open).text().contains("#EXTINF").then_some(()));
    // Nothing comes any more, until the encoder is back.
    encoder.kill();
    wait_until("the loss", 60, || (server.metric("rtmp_encoders") == 0).then_some(()));
    let newest = MediaPlaylist::parse(&server.get(&open).text()).unwrap().segments.pop().unwrap();
    let next =
        |segment: &str| server.url(&format!("{}?_HLS_msn={}", list(segment), newest.number + 2));
    let (taken, linked) = link(&server, &input);
    let linked = linked.split('/').nth(1).unwrap();
    let key = server.api("POST", "/stream/keys", Some(&json!({ "algorithm": "EdDSA" })));
    let key = key.json()["result"].clone();
    let keyed = token(&server, &input.uid, &json!({ "id": key["id"], "pem": key["pem"] }));
    let key = format!("/stream/keys/{}", key["id"].as_str().unwrap());
    let paged = token(&server, &input.uid, &json!({}));
    let ends = token(&server, &input.uid, &json!({ "exp": now_s() + 6 }));
    let delete = |path: &str| assert_eq!(server.api("DELETE", path, None).status, 200);
    let change = |recording: Value| {
        let path = format!("/stream/live_inputs/{}", input.uid);
        let changed = server.api("PUT", &path, Some(&json!({ "recording": recording })));
        assert_eq!(changed.status, 200, "{}", changed.text());
    };
    let waiting = |count: u64| {
        wait_until("the reloads that wait", 60, || {
            (server.metric("playlist_requests_parked") == count).then_some(())
        });
    };
    let (edge, page) = ([("airwave-edge", "checks")], [("origin", "https://page.example")]);
    // Each with what it shows, what ends it, and what it is told.
    type Ways<'a> = [(&'a str, &'a [(&'a str, &'a str)], Box<dyn Fn() + 'a>, (u16, &'a str)); 5];
    let ways: Ways<'_> = [
        (linked, &[], Box::new(|| delete(&taken)), (401, "taken back")),
        (&keyed, &[], Box::new(|| delete(&key)), (401, "deleted")),
        (
            &input.uid,
            &[],
            Box::new(|| change(json!({ "requireSignedURLs": true }))),
            (401, "a signed link only"),
        ),
        (
            &paged,
            &page,
            Box::new(|| change(json!({ "allowedOrigins": ["other.example"] }))),
            (403, "allowedOrigins"),
        ),
        (&ends, &[], Box::new(|| {}), (401, "expired")),
    ];
    let (shared, _encoder) = std::thread::scope(|scope| {
        // It began before the others, so it would be answered before them: after three times five seconds.
        let url = next(linked);
        let shared = scope.spawn(move || request("GET", &url, &edge, b""));
        waiting(1);
        let reloads = ways.each_ref().map(|(segment, fields, ..)| {
            let url = next(segment);
            scope.spawn(move || request("GET", &url, fields, b""))
        });
        waiting(6);
        for ((reload, (_, _, end, told)), left) in
            reloads.into_iter().zip(&ways).zip([5, 4, 3, 2, 1])
        {
            end();
            waiting(left);
            let answer = reload.join().unwrap();
            assert_eq!(answer.status, told.0, "{}: {}", told.1, answer.text());
            assert!(answer.text().contains(told.1), "{}: {}", told.1, answer.text());
            assert_eq!(answer.headers["cache-control"], "no-store", "{}", told.1);
        }
        assert!(!shared.is_finished(), "a cache's goes on");
        let encoder = clip.publish(&input.rtmp, -1);
        (shared.join().unwrap(), encoder)
    });
    // Where the encoder takes long to come back, it has waited in vain.
    assert_eq!(shared.status, 200, "{}", shared.text());
    assert_eq!(request("GET", &next(linked), &edge, b"").status, 401, "whoever asks now");
}

/// Whether the answer, which was under way when its link was taken back, was cut short.
fn under_way(server: &Server, input: &Input) -> bool {
    let (taken, list) = link(server, input);
    let list = server.url(&list);
    // What is hinted at comes next: a part of the segment that is being made, or the first one of the next.
    let growing = wait_until("a segment that grows", 60, || {
        let text = server.get(&list.path).text();
        let hint = text.split("#EXT-X-PRELOAD-HINT:").nth(1)?.split("URI=\"").nth(1)?;
        let (segment, _) = hint.split('"').next()?.strip_suffix(".m4s")?.rsplit_once('.')?;
        Some(list.join(&format!("{segment}.m4s")))
    });
    let mut socket = TcpStream::connect(&growing.authority).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let host = &growing.authority;
    let head =
        format!("GET {} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n", growing.path);
    socket.write_all(head.as_bytes()).unwrap();
    let (mut got, mut some) = (Vec::new(), [0; 1 << 10]);
    let has = |got: &[u8], what: &[u8]| got.windows(what.len()).any(|w| w == what);
    while !has(&got, b"moof") {
        let count = socket.read(&mut some).unwrap();
        assert!(count > 0, "closed: {}", String::from_utf8_lossy(&got));
        got.extend_from_slice(&some[..count]);
    }
    assert!(got.starts_with(b"HTTP/1.1 200"));
    assert_eq!(server.api("DELETE", &taken, None).status, 200);
    socket.read_to_end(&mut got).unwrap();
    let text = server.get(&list.path);
    assert_eq!((text.status, text.text().contains("taken back")), (401, true), "{}", text.text());
    // It ends, and not as a whole one does: RFC 9112 §7.1.
    has(&got, b"transfer-encoding: chunked\r\n") && !got.ends_with(b"0\r\n\r\n")
}

/// Signs as an owner's service would: with Node's own cryptography, and nothing of ours.
fn sign_elsewhere(key: &Value, algorithm: &str, claims: &Value) -> String {
    sign_many(key, algorithm, claims, 1).remove(0)
}

/// So many signatures of the same; those of ES256 are all different.
pub(crate) fn sign_many(key: &Value, algorithm: &str, claims: &Value, count: usize) -> Vec<String> {
    let script = r#"
        const [jwk, algorithm, kid, claims, count] = process.argv.slice(1);
        const { createPrivateKey, sign } = require('node:crypto');
        const key = createPrivateKey({ key: JSON.parse(jwk), format: 'jwk' });
        const part = (json) => Buffer.from(json).toString('base64url');
        const text = part(JSON.stringify({ alg: algorithm, kid })) + '.' + part(claims);
        const digest = algorithm === 'EdDSA' ? null : 'sha256';
        for (let n = 0; n < Number(count); n++) {
            const signature = sign(digest, Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
            console.log(text + '.' + signature.toString('base64url'));
        }
    "#;
    let jwk = STANDARD.decode(key["jwk"].as_str().unwrap()).unwrap();
    let mut command = Command::new("node");
    command.args(["-e", script, "--", std::str::from_utf8(&jwk).unwrap(), algorithm]);
    command.args([key["id"].as_str().unwrap(), &claims.to_string(), &count.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn an_owners_service_signs_links_until_its_key_is_deleted() {
    let server = Server::start(AIRWAVE, &[]);
    let (input, _, _encoder) = locked(&server);
    let claims = json!({ "sub": input.uid, "exp": (now_s() + 600).to_string() });
    for algorithm in ["RS256", "ES256", "EdDSA"] {
        let key = server.api("POST", "/stream/keys", Some(&json!({ "algorithm": algorithm })));
        assert_eq!(key.status, 200, "{}", key.text());
        let key = key.json()["result"].clone();
        let pem = STANDARD.decode(key["pem"].as_str().unwrap()).unwrap();
        assert!(pem.starts_with(b"-----BEGIN PRIVATE KEY-----"), "{algorithm}");
        let link = sign_elsewhere(&key, algorithm, &claims);
        watch(&server, &link).unwrap_or_else(|r| panic!("{algorithm}: {}", r.text()));
        // The server signs with it too, for who hands it over.
        let given = json!({ "id": key["id"], "pem": key["pem"] });
        let given = token(&server, &input.uid, &given);
        watch(&server, &given).unwrap_or_else(|r| panic!("{algorithm}: {}", r.text()));
        let keys = server.api("GET", "/stream/keys", None).json()["result"].clone();
        assert_eq!((keys.as_array().unwrap().len(), &keys[0]["id"]), (1, &key["id"]), "{keys}");
        assert!(!keys.to_string().contains("pem"), "a private key is shown once: {keys}");
        // Taken back.
        let path = format!("/stream/keys/{}", key["id"].as_str().unwrap());
        let revoked = server.api("DELETE", &path, None);
        assert_eq!((revoked.status, &revoked.json()["result"]), (200, &json!("Revoked")));
        for link in [&link, &given] {
            let refused = watch(&server, link).unwrap_err();
            assert_eq!(refused.status, 401, "{algorithm}: {}", refused.text());
        }
        assert_eq!(server.api("DELETE", &path, None).status, 404);
    }
}

#[test]
fn wrong_tokens_of_every_kind_are_refused() {
    let server = Server::start(AIRWAVE, &[]);
    let (input, _, _encoder) = locked(&server);
    let key = server.api("POST", "/stream/keys", Some(&json!({ "algorithm": "ES256" })));
    let key = key.json()["result"].clone();
    let good = json!({ "sub": input.uid, "exp": now_s() + 600 });
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        sign_elsewhere(&key, "ES256", &claims)
    };
    let link = sign_elsewhere(&key, "ES256", &good);
    watch(&server, &link).unwrap();
    let [head, claims, signature]: [&str; 3] =
        link.split('.').collect::<Vec<_>>().try_into().unwrap();
    let coded =
        |json: Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json.to_string());
    let kid = &key["id"];
    let long = format!("{head}.{claims}.{}", "A".repeat(7 << 10));
    for (name, token, status) in [
        ("no algorithm", format!("{}.{claims}.", coded(json!({ "alg": "none", "kid": kid }))), 401),
        ("no signature", format!("{head}.{claims}."), 401),
        (
            "HS256",
            format!("{}.{claims}.{signature}", coded(json!({ "alg": "HS256", "kid": kid }))),
            401,
        ),
        (
            "RS256",
            format!("{}.{claims}.{signature}", coded(json!({ "alg": "RS256", "kid": kid }))),
            401,
        ),
        (
            "another key",
            format!("{}.{claims}.{signature}", coded(json!({ "alg": "ES256", "kid": "k" }))),
            401,
        ),
        (
            "a key of its own",
            format!(
                "{}.{claims}.{signature}",
                coded(json!({ "alg": "ES256", "kid": kid, "jwk": { "kty": "EC", "crv": "P-256" },
                    "jku": "http://127.0.0.1:1/", "x5u": "http://127.0.0.1:1/" }))
            ),
            401,
        ),
        (
            "a key in a file",
            format!(
                "{}.{claims}.{signature}",
                coded(json!({ "alg": "ES256", "kid": "../../master.key" }))
            ),
            401,
        ),
        ("digits that are none", with("exp", json!("1e99")), 401),
        ("a list of times", with("exp", json!([now_s() + 600])), 401),
        ("no key", format!("{}.{claims}.{signature}", coded(json!({ "alg": "ES256" }))), 401),
        (
            "other claims",
            format!("{head}.{}.{signature}", coded(json!({ "sub": input.uid, "exp": 9e9 }))),
            401,
        ),
        ("cut", link[..link.len() - 4].to_owned(), 401),
        ("dots", "..".to_owned(), 401),
        ("words", "this.is.nothing".to_owned(), 401),
        ("long", long, 401),
        ("no end", with("exp", Value::Null), 401),
        ("no time", with("exp", json!("soon")), 401),
        ("over", with("exp", json!(now_s() - 1)), 401),
        ("not yet", with("nbf", json!(now_s() + 600)), 401),
        ("no subject", with("sub", Value::Null), 401),
        ("another subject", with("sub", json!("0".repeat(32))), 404),
        ("no rules", with("accessRules", json!([{ "type": "moon" }])), 401),
        (
            "not from here",
            with(
                "accessRules",
                json!([{ "type": "ip.src", "action": "block", "ip": ["127.0.0.0/8"] }]),
            ),
            403,
        ),
    ] {
        let answer = server.get(&format!("/{token}/manifest/video.m3u8"));
        assert_eq!(answer.status, status, "{name}: {}", answer.text());
        // RFC 9110 §15.5.2.
        let challenge = answer.headers.get("www-authenticate").map(String::as_str);
        let expect = (status == 401).then_some("Bearer realm=\"airwave\", error=\"invalid_token\"");
        assert_eq!(challenge, expect, "{name}");
    }
    let from_here = json!([
        { "type": "ip.src", "action": "allow", "ip": ["127.0.0.1", "::1"] },
        { "type": "any", "action": "block" },
    ]);
    watch(&server, &with("accessRules", from_here)).unwrap();
}

#[test]
fn only_the_pages_that_are_named_may_embed() {
    let server = Server::start(AIRWAVE, &[]);
    let origins = json!({ "recording": { "allowedOrigins": ["*.example.com", "localhost:3000"] } });
    let input = server.create_input(&origins);
    let _encoder = clip().publish(&input.rtmp, -1);
    server.wait_live(&input);
    let url = server.url(&format!("/{}/manifest/video.m3u8", input.uid));
    let own = format!("http://{}", url.authority);
    let referer = format!("{own}/page");
    for (headers, status) in [
        (&[("origin", "https://www.example.com")][..], 200),
        (&[("origin", "http://localhost:3000")], 200),
        (&[("origin", &own)], 200),
        (&[], 200),
        (&[("origin", "https://example.com")], 403),
        (&[("origin", "https://evil.org")], 403),
        (&[("origin", "null")], 403),
        // Elements of pages, for which browsers send no origin.
        (&[("referer", "https://www.example.com/page")], 200),
        (&[("referer", &referer)], 200),
        (&[("referer", "https://evil.org/"), ("sec-fetch-dest", "video")], 403),
        (&[("sec-fetch-site", "cross-site"), ("sec-fetch-dest", "video")], 403),
        (&[("referer", "https://evil.org/"), ("sec-fetch-dest", "document")], 200),
        (&[("referer", "https://evil.org/"), ("accept", "*/*")], 403),
        (&[("referer", "https://evil.org/"), ("accept", "text/html,*/*;q=0.8")], 200),
    ] {
        let answer = request("GET", &url, headers, b"");
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        if status == 200 {
            let vary = &answer.headers["vary"];
            assert!(vary.starts_with("Origin, Referer"), "a shared cache asks again: {vary}");
        }
    }
}

/// A database of MaxMind's format in which these networks are in these countries, and nothing else is known.
/// MaxMind DB File Format Specification, version 2.0.
pub(crate) fn database(networks: &[((Ipv4Addr, u32), &str)]) -> Vec<u8> {
    #[derive(Clone, Copy)]
    enum Record {
        Nothing,
        Node(usize),
        /// Of the data.
        Country(usize),
    }
    let text = |out: &mut Vec<u8>, text: &str| {
        out.push(2 << 5 | u8::try_from(text.len()).unwrap());
        out.extend_from_slice(text.as_bytes());
    };
    // The search tree: a node a bit, two records of 24 bits.
    let (mut nodes, mut data) = (vec![[Record::Nothing; 2]], Vec::new());
    for ((first, bits), country) in networks {
        let side = |bit: u32| (first.to_bits() >> bit & 1) as usize;
        let mut at = 0;
        for bit in (33 - bits..32).rev() {
            at = match nodes[at][side(bit)] {
                Record::Node(next) => next,
                _ => {
                    let next = nodes.len();
                    nodes[at][side(bit)] = Record::Node(next);
                    nodes.push([Record::Nothing; 2]);
                    next
                }
            };
        }
        nodes[at][side(32 - bits)] = Record::Country(data.len());
        data.push(7 << 5 | 1);
        text(&mut data, "country");
        data.push(7 << 5 | 1);
        text(&mut data, "iso_code");
        text(&mut data, country);
    }
    // The number of nodes is "not known"; above it, and above the 16 bytes between, is data.
    let count = nodes.len();
    let mut out = Vec::new();
    for record in nodes.into_iter().flatten() {
        let record = match record {
            Record::Nothing => count,
            Record::Node(node) => node,
            Record::Country(at) => count + 16 + at,
        };
        out.extend_from_slice(&u32::try_from(record).unwrap().to_be_bytes()[1..]);
    }
    out.extend_from_slice(&[0; 16]);
    out.extend(data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    out.push(7 << 5 | 9);
    for (name, value) in [
        ("node_count", &[6 << 5 | 1, u8::try_from(count).unwrap()][..]),
        ("record_size", &[5 << 5 | 1, 24]),
        ("ip_version", &[5 << 5 | 1, 4]),
        ("binary_format_major_version", &[5 << 5 | 1, 2]),
        ("binary_format_minor_version", &[5 << 5]),
        ("build_epoch", &[1, 2, 1]),
        ("database_type", b"\x47Country"),
        ("languages", &[0, 4]),
        ("description", &[7 << 5]),
    ] {
        text(&mut out, name);
        out.extend_from_slice(value);
    }
    out
}

/// Flips `access.country_database`.
#[test]
fn rules_know_countries_by_the_operators_database() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("countries.mmdb");
    let network = |first: u8| (Ipv4Addr::new(first, 0, 0, 0), 8);
    let known = [(network(127), "DE"), (network(81), "FR"), (network(83), "DE")];
    std::fs::write(&file, database(&known)).unwrap();
    let setting = format!("access.country_database={}", file.display());
    let server = Server::start(AIRWAVE, &[&setting, r#"http.trusted_proxies=["127.0.0.1"]"#]);
    let (input, _, _encoder) = locked(&server);
    let rule = |action: &str, country: &str| {
        json!({ "accessRules": [
            { "type": "ip.geoip.country", "action": action, "country": [country] },
            { "type": "any", "action": if action == "allow" { "block" } else { "allow" } },
        ] })
    };
    // The proxy itself, two people behind it, and one in no country that is known: beside each other, by the same link.
    let viewers = [None, Some("83.0.0.7"), Some("81.0.0.7"), Some("198.51.100.7")];
    for (action, country, expect) in [
        ("allow", "DE", [200, 200, 403, 403]),
        ("allow", "FR", [403, 403, 200, 403]),
        ("block", "DE", [403, 403, 200, 200]),
        ("block", "FR", [200, 200, 403, 200]),
    ] {
        let link = token(&server, &input.uid, &rule(action, country));
        let url = server.url(&format!("/{link}/manifest/video.m3u8"));
        let status = viewers.map(|viewer| {
            let headers: Vec<_> = viewer.iter().map(|from| ("x-forwarded-for", *from)).collect();
            request("GET", &url, &headers, b"").status
        });
        assert_eq!(status, expect, "{action} {country}");
    }
    // Without one, such a token would open nothing: it is not made.
    let plain = Server::start(AIRWAVE, &[]);
    let input = plain.input();
    let path = format!("/stream/{}/token", input.uid);
    let refused = plain.api("POST", &path, Some(&rule("allow", "DE")));
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("access.country_database"), "{}", refused.text());
    // Another file is told at the start.
    std::fs::write(&file, "no database").unwrap();
    let data = folder.path().join("data").display().to_string();
    let mut command = Command::new(AIRWAVE);
    command.args(["serve", "--data", &data, "--set", &setting]);
    for listener in ["http", "https", "rtmp", "rtmps", "quic", "admin"] {
        command.args(["--set", &format!("{listener}.listen=off")]);
    }
    let mut child = Child::start(&mut command);
    assert_eq!(child.wait(20).code(), Some(2));
    let told = child.output();
    assert!(told.contains("access.country_database") && told.contains("MaxMind"), "{told}");
}
