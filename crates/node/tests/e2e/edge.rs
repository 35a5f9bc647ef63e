//! nginx in front of the program as docs/cdn.md sets it up, and an audience behind it: the origin is asked once for
//! each version of a playlist and for each part, however many watch.
//!
//! `AIRWAVE_PLAYERS` is how many watch (100 in the gate, 1,000 in soak).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::json;
use testkit::{
    Clip, ClipSpec, Edge, NGINX_CONF, Relay, Seen, Server, Url, request, skip, wait_until, watch,
};

use crate::AIRWAVE;
use crate::access::{locked, sign_many, token};
use crate::beside::size;
use crate::hostile::connect_to;

const CDN_PAGE: &str = include_str!("../../../../docs/cdn.md");

/// Of each track, every player downloads so many in the gate; a part is a third of a second.
const PARTS: usize = 9;

/// In the soak, which has a machine of its own.
const PARTS_IN_SOAK: usize = 24;

/// What the issue allows: requests at the origin for each version of a playlist and for each part.
const REQUESTS_MAX: f64 = 1.05;

/// Where players come later than an answer is kept, it is fetched again: a hundred at one origin are still one request or two.
const REQUESTS_MAX_IN_GATE: f64 = 2.0;

/// As docs/cdn.md says: otherwise nginx is one address, which has so many connections and no more, and gets nothing to keep of what is locked.
const CHECKED: [&str; 2] =
    [r#"http.trusted_proxies=["127.0.0.1"]"#, r#"http.checking_caches=["127.0.0.1"]"#];

struct Asked {
    requests: usize,
    different: usize,
}

impl Asked {
    fn each(&self) -> f64 {
        self.requests as f64 / self.different.max(1) as f64
    }
}

/// The requests whose path has this folder behind the first segment, by what they ask for: without that segment, and
/// with what of the query has a meaning, sorted.
fn asked(requests: &[String], folder: &str, wanted: impl Fn(&str) -> bool) -> Asked {
    let mut times = BTreeMap::<String, usize>::new();
    for target in requests {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let Some((_, rest)) = path[1..].split_once('/') else { continue };
        let mut pairs: Vec<&str> = query.split('&').filter(|p| p.starts_with("_HLS_")).collect();
        pairs.sort_unstable();
        let what = format!("{rest}?{}", pairs.join("&"));
        if rest.starts_with(folder) && wanted(&what) {
            *times.entry(what).or_default() += 1;
        }
    }
    Asked { requests: times.values().sum(), different: times.len() }
}

fn check(tokens: bool) {
    if skip("edge") {
        return;
    }
    let players = size("AIRWAVE_PLAYERS", 100);
    let (at_most, each) = match crate::browser::soak() {
        true => (REQUESTS_MAX, PARTS_IN_SOAK),
        false => (REQUESTS_MAX_IN_GATE, PARTS),
    };
    let server = Server::start(AIRWAVE, &CHECKED);
    let (input, _encoder) = if tokens {
        let (input, _, encoder) = locked(&server);
        (input, encoder)
    } else {
        let input = server.input();
        let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) });
        let encoder = clip.publish(&input.rtmp, -1);
        server.wait_live(&input);
        (input, encoder)
    };
    let segments = if tokens {
        // Signed by their owner's service: the API makes so many only one by one, and not at once.
        let body = json!({ "algorithm": "ES256" });
        let key = server.api("POST", "/stream/keys", Some(&body)).json()["result"].clone();
        let soon = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() + 3_600;
        sign_many(&key, "ES256", &json!({ "sub": input.uid, "exp": soon }), players)
    } else {
        vec![input.uid.clone(); players]
    };
    assert_eq!(segments.len(), players);
    let relay = Relay::start(server.addresses["http"].as_str().unwrap().parse().unwrap());
    let edge = Edge::start(relay.address());
    let rendered = server.metric("playlist_renderings_total");
    let began = std::time::Instant::now();
    let seen = watch(edge.address(), &segments, each);
    let seconds = began.elapsed().as_secs_f64();
    let rendered = server.metric("playlist_renderings_total") - rendered;

    let requests = relay.requests();
    let versions = asked(&requests, "manifest/", |what| what.contains("_HLS_msn"));
    let parts = asked(&requests, "media/", |_| true);
    let others = asked(&requests, "manifest/", |what| !what.contains("_HLS_msn"));
    let checks = asked(&requests, "allowed", |_| true);
    let mut spread: Vec<f64> = seen.spread.iter().map(std::time::Duration::as_secs_f64).collect();
    spread.sort_by(f64::total_cmp);
    let late = spread.get(spread.len() / 2).copied().unwrap_or_default();
    eprintln!(
        "{players} players, tokens {tokens}: {} playlists and {} parts in {seconds:.1} s; the origin \
         was asked {:.3} times for each of {} versions, {:.3} times for each of {} parts, {} times \
         for other lists, and {} times whether somebody may watch; from the first player to the last {late:.2} s",
        seen.playlists,
        seen.parts,
        versions.each(),
        versions.different,
        parts.each(),
        parts.different,
        others.requests,
        checks.requests,
    );
    assert!(seen.parts >= players * 2 * each, "each has its parts: {}", seen.parts);
    assert_eq!(versions.different, seen.versions.len(), "all versions came from the origin");
    assert!(versions.each() <= at_most, "{} for each version", versions.each());
    assert!(parts.each() <= at_most, "{} for each part", parts.each());
    check_checks(&requests, &segments, seconds, &seen);
    // A request that is not of a version of its own has that of another, or is the only one of its moment; one that was fetched
    // again, because an answer was kept no longer, is rendered again.
    let again = if crate::browser::soak() { 0 } else { versions.requests - versions.different };
    let once = versions.different + others.requests + again;
    assert!(rendered <= once as u64, "{rendered} renderings of {once}");
    // Plain requests are good for a second, the multivariant playlist for two.
    let moments = 3.0 * (seconds + 2.0);
    assert!(others.requests as f64 <= moments, "{} plain requests", others.requests);
}

/// Of each first segment it was asked whether it may watch, for lists and for media, and of no other one; docs/cdn.md: once for each
/// second of the clock and either. Twice as often is let pass: an answer whose second is over when it comes is asked for again. Where
/// all share one, all who wait for it do, at once: in the soak it may be so at one moment; in the gate, whose machine may be slow, a
/// quarter of what they ask for may be such.
fn check_checks(requests: &[String], segments: &[String], seconds: f64, seen: &Seen) {
    let mut asked = BTreeMap::<(&str, bool), usize>::new();
    for target in requests {
        let mut path = target[1..].split('/');
        if let (Some(segment), Some("allowed")) = (path.next(), path.next()) {
            *asked.entry((segment, path.next().is_some())).or_default() += 1;
        }
    }
    let watched: BTreeSet<&str> = segments.iter().map(String::as_str).collect();
    let about: BTreeSet<(&str, bool)> = asked.keys().copied().collect();
    let expect = watched.iter().flat_map(|segment| [(*segment, false), (*segment, true)]);
    assert!(about.into_iter().eq(expect), "everybody, and nobody else: {}", asked.len());
    let (moments, most) = (seconds.ceil() as usize + 1, asked.values().max().unwrap());
    let mean = asked.values().sum::<usize>() as f64 / asked.len() as f64;
    eprintln!(
        "{most} at most and {mean:.1} on the average of {} in {moments} seconds",
        asked.len()
    );
    let at_most = match watched.len() {
        1 if !crate::browser::soak() => seen.parts.min(seen.playlists) / 4,
        1 => segments.len() + moments * 2,
        _ => moments * 2,
    };
    assert!(*most <= at_most, "{most} checks of one in {moments} seconds");
}

#[test]
fn the_origin_is_asked_once_for_everybody() {
    check(false);
}

#[test]
fn the_origin_is_asked_once_for_everybody_who_has_a_token() {
    check(true);
}

#[test]
fn the_edge_serves_only_whom_the_origin_lets_in() {
    if skip("edge") {
        return;
    }
    let server = Server::start(AIRWAVE, &CHECKED);
    let (input, video, _encoder) = locked(&server);
    let edge = Edge::start(server.addresses["http"].as_str().unwrap().parse().unwrap());
    let get = |path: &str, headers: &[(&str, &str)]| {
        let authority = edge.address().to_string();
        request("GET", &Url { authority, path: path.to_owned() }, headers, b"")
    };
    let link = token(&server, &input.uid, &json!({}));
    let list = format!("/{link}/manifest/video.cmaf.m3u8");
    let answer = get(&list, &[]);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(!answer.text().contains(&link), "nobody's token in a playlist");
    let text = answer.text();
    let part = text.lines().find(|l| l.ends_with(".m4s")).unwrap();
    let part = Url::parse(&format!("http://h{list}")).join(part).path;
    let first = get(&part, &[]);
    assert_eq!(first.status, 200);
    assert!(first.headers["cache-control"].starts_with("public"), "{:?}", first.headers);
    // Kept by now, and for nobody else: each with the words and the header fields of the origin.
    let other = token(&server, &server.input().uid, &json!({}));
    let bare = part.replace(&link, &input.uid);
    let by_video = part.replace(&link, &video);
    for (path, status) in [
        (bare, 401),
        (by_video, 401),
        (part.replace(&link, &other), 403),
        (part.replace(&link, "a.b.c"), 401),
        (list.replace(&link, &input.uid), 401),
        (list.replace(&link, &other), 204),
        // Nobody knows it, so there is nobody to ask whether he may.
        (list.replace(&link, &"0".repeat(32)), 404),
        (part.replace(&video, &"0".repeat(32)).replace(&link, "nobody"), 404),
        (list.replace(&link, "nobody"), 404),
    ] {
        let answer = get(&path, &[]);
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
        assert_eq!(answer.headers["access-control-allow-origin"], "*", "{path}");
    }
    // nginx looks at paths decoded, and the server gets them as they were sent: nobody may make it ask for something else.
    let tail = part.split_once("/media/").unwrap().1;
    for segment in [
        "%3Fx",
        "time%3Fx",
        "x%23",
        "x%23%3F",
        "x%0d%0ay",
        "x%0a",
        "x%20y",
        "x%2fy",
        "%2e%2e%2ftime%3f",
        "x/..",
        "time%3Fx/../time%3Fy",
        "/",
        "%00",
    ] {
        for tail in
            [format!("media/{tail}"), format!("media//{tail}"), format!("x/../media/{tail}")]
        {
            let answer = get(&format!("/{segment}/{tail}"), &[]);
            assert!((400..=404).contains(&answer.status), "{segment}/{tail}: {}", answer.status);
        }
    }
    only_for_its_address(&server, &input.uid, &edge, &part.replace(&link, "LINK"));
    nothing_is_kept_under_the_name_of_another(&get, &list);
    // Another token for the same, also with the video behind it: the same bytes, without a request for media at the origin.
    let again = token(&server, &input.uid, &json!({}));
    let before = server.metric("media_files_total");
    for again in [format!("{again}.{video}"), again] {
        assert_eq!(get(&part.replace(&link, &again), &[]).body, first.body);
    }
    assert_eq!(server.metric("media_files_total"), before);
    // A link that is taken back is no longer let in by whatever begins in a later second, though it was a moment ago.
    let links = format!("/stream/{}/links", input.uid);
    let friend = server.api("POST", &links, Some(&json!({ "name": "a friend" })));
    let friend = friend.json()["result"].clone();
    let path = part.replace(&link, friend["token"].as_str().unwrap());
    assert_eq!(get(&path, &[]).status, 200);
    let deleted =
        server.api("DELETE", &format!("{links}/{}", friend["id"].as_str().unwrap()), None);
    assert_eq!(deleted.status, 200, "{}", deleted.text());
    let taken_back = second();
    wait_until("the link to end", 60, || {
        let asked = second();
        let status = get(&path, &[]).status;
        assert!(status == 401 || asked <= taken_back, "{status} in second {asked}");
        (asked > taken_back).then_some(())
    });
    // Pages that may not embed it are refused, whatever was kept for others.
    let origins =
        json!({ "recording": { "requireSignedURLs": true, "allowedOrigins": ["good.example"] } });
    let path = format!("/stream/live_inputs/{}", input.uid);
    assert_eq!(server.api("PUT", &path, Some(&origins)).status, 200);
    let allowed = |origin: &str| get(&list, &[("origin", origin)]).status;
    wait_until("the change to hold", 60, || (allowed("https://evil.example") == 403).then_some(()));
    assert_eq!(allowed("https://good.example"), 200);
    assert_eq!(allowed("https://evil.example"), 403);
    // Strangers who ask for what is not there have not filled its log.
    assert!(!edge.log().contains("unexpected status: 404"), "{}", edge.log());
}

/// What is not kept is nowhere but at the origin until it is taken: who downloads through nginx goes no further, either.
#[test]
fn a_download_ends_with_its_link_at_the_edge_too() {
    /// More than lies in all buffers in between.
    const LEAST: usize = 12 << 20;
    if skip("edge") {
        return;
    }
    let server = Server::start(AIRWAVE, &CHECKED);
    let input = server.create_input(&json!({ "recording": { "requireSignedURLs": true } }));
    let clip = Clip::make(&ClipSpec { size: (1_920, 1_080), ..ClipSpec::plain("large", 10) });
    let _encoder = clip.publish_at(8.0, &input.rtmp, -1);
    let edge = Edge::start(server.addresses["http"].as_str().unwrap().parse().unwrap());
    let links = format!("/stream/{}/links", input.uid);
    let link = json!({ "name": "a friend", "downloadable": true });
    let link = server.api("POST", &links, Some(&link)).json()["result"].clone();
    let path = format!("/{}/clip.mp4?time=0s&duration=60s", link["token"].as_str().unwrap());
    wait_until("enough of it", 120, || {
        let head = request("HEAD", &server.url(&path), &[], b"");
        let length: usize = head.headers.get("content-length")?.parse().ok()?;
        (head.status == 200 && length >= LEAST).then_some(())
    });
    let mut socket = TcpStream::connect(edge.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    socket.write_all(head.as_bytes()).unwrap();
    let mut begun = vec![0; 64 << 10];
    socket.read_exact(&mut begun).unwrap();
    let asked = std::time::Instant::now();
    let end = begun.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&begun[..end]).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let length: usize = length.parse().unwrap();
    let taken_back = format!("{links}/{}", link["id"].as_str().unwrap());
    assert_eq!(server.api("DELETE", &taken_back, None).status, 200);
    // It is not looked at more often than twice a second.
    wait_until("the next look", 60, || (asked.elapsed() > Duration::from_secs(1)).then_some(()));
    let mut got = begun.len() - end;
    let mut more = vec![0; 64 << 10];
    while let Ok(read) = socket.read(&mut more)
        && read > 0
    {
        got += read;
    }
    assert!(got < length, "all of it: {length}");
}

/// What an address with such a link gets is not given to another one, not even at once, nor where the link is written otherwise.
fn only_for_its_address(server: &Server, uid: &str, edge: &Edge, part: &str) {
    let rules = json!([
        { "type": "ip.src", "action": "allow", "ip": ["127.0.1.1/32"] },
        { "type": "any", "action": "block" },
    ]);
    let link = token(server, uid, &json!({ "accessRules": rules }));
    let status = |from: u8, path: &str| {
        let mut socket = connect_to(edge.address(), from);
        let head = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[9..12]).into_owned()
    };
    let encoded = link.replace('.', "%2E");
    for (name, expect) in [(&*link, "200"), (&*encoded, "200")] {
        for folder in [part.to_owned(), "/LINK/manifest/video.cmaf.m3u8".to_owned()] {
            let path = folder.replace("LINK", name);
            assert_eq!(
                (status(1, &path), status(2, &path)),
                (expect.to_owned(), "403".to_owned()),
                "{path}"
            );
        }
    }
}

/// Whatever a cache takes for the request of others is refused, and the next one who asks honestly gets what he waits for.
fn nothing_is_kept_under_the_name_of_another(
    get: &impl Fn(&str, &[(&str, &str)]) -> testkit::Response,
    list: &str,
) {
    let text = get(list, &[]).text();
    let hint = text.split("#EXT-X-PRELOAD-HINT:").nth(1).unwrap().split("URI=\"").nth(1).unwrap();
    let name = hint.split('"').next().unwrap().rsplit('/').next().unwrap();
    let number: u64 = name.split(['-', '.']).nth(1).unwrap().parse().unwrap();
    let next = number + 1;
    let honest = format!("_HLS_msn={next}&_HLS_part=0");
    for lie in [
        format!("{honest}&_HLS_msn=1"),
        format!("_hls_msn={next}&_HLS_part=0&_HLS_msn=1"),
        format!("{honest}&%5FHLS_msn=1"),
        format!("{honest}&%5FHLS_msn={next}"),
        format!("{honest}&_HLS_part=0&_HLS_part=1"),
        "protocol=hls&protocol=llhls".to_owned(),
        "TIME=60s".to_owned(),
    ] {
        let answer = get(&format!("{list}?{lie}"), &[]);
        assert_eq!((answer.status, &*answer.headers["cache-control"]), (400, "no-store"), "{lie}");
    }
    // Who says the same twice means it, and is told what the others are.
    for asked in [honest.clone(), format!("{honest}&_HLS_msn={next}"), format!("{honest}&{honest}")]
    {
        let answer = get(&format!("{list}?{asked}"), &[]);
        assert_eq!(answer.status, 200, "{asked}: {}", answer.text());
        assert!(answer.text().contains(&format!("-{next}.")), "{asked}: {}", answer.text());
    }
}

/// Seconds since 1970, whole ones.
fn second() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// Flips `http.checking_caches`.
#[test]
fn without_an_edge_that_checks_what_is_locked_is_for_no_shared_cache() {
    let proxies = r#"http.trusted_proxies=["127.0.0.1", "127.0.1.1", "127.0.1.3"]"#;
    let caches = r#"http.checking_caches=["127.0.0.1", "127.0.1.1", "127.0.1.4"]"#;
    let server = Server::start(AIRWAVE, &[proxies, caches]);
    let (input, _, _encoder) = locked(&server);
    let link = token(&server, &input.uid, &json!({}));
    let list = format!("/{link}/manifest/video.cmaf.m3u8");
    // Whoever is not trusted to check may say what he likes: a cache behind him must not keep it.
    let origin: SocketAddr = server.addresses["http"].as_str().unwrap().parse().unwrap();
    for (from, more, expect) in [
        (1, "", "private, max-age=1"),
        (1, "airwave-edge: checks\r\n", "max-age=1"),
        (2, "airwave-edge: checks\r\n", "private, max-age=1"),
        (2, "airwave-edge: checks\r\nairwave-edge: checks\r\n", "private, max-age=1"),
        // A proxy that hands on what viewers send, and a cache that nobody trusts to say from whom.
        (3, "airwave-edge: checks\r\n", "private, max-age=1"),
        (4, "airwave-edge: checks\r\n", "private, max-age=1"),
    ] {
        let mut socket = connect_to(origin, from);
        let head = format!("GET {list} HTTP/1.1\r\nhost: a\r\n{more}connection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        let found = answer.lines().find_map(|line| line.strip_prefix("cache-control: "));
        assert_eq!(found, Some(expect), "from {from}, {more:?}: {answer}");
        assert!(!answer.contains("\r\nvary:"), "the address alone decides");
    }
    let allowed =
        |path: String| request("GET", &server.url(&path), &[("airwave-edge", "checks")], b"");
    let answer = allowed(format!("/{link}/allowed"));
    assert_eq!((answer.status, &*answer.headers["airwave-id"]), (204, &*input.uid));
    assert_eq!(answer.headers["cache-control"], "max-age=1");
    // Nothing is known of what is not there: it is not open.
    let nothing = "0".repeat(32);
    for path in [format!("/{nothing}/allowed"), format!("/x/allowed/{nothing}")] {
        let answer = allowed(path);
        assert_eq!((answer.status, &*answer.headers["cache-control"]), (404, "no-store"));
    }
    assert_eq!(allowed(format!("/{}/allowed", input.uid)).status, 401);
    // Not longer than the token lasts. Whoever is too slow for one that ends so soon asks for the next.
    let now = || std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let path = format!("/stream/{}/token", input.uid);
    let (until, ending) = wait_until("a token that ends soon", 60, || {
        let until = now() as u64 + 2;
        let answer = server.api("POST", &path, Some(&json!({ "exp": until })));
        let token = answer.json()["result"]["token"].as_str().map(str::to_owned);
        token.map(|token| (until as f64, token))
    });
    wait_until("its end", 60, || {
        let asked = now();
        let answer = allowed(format!("/{ending}/allowed"));
        let cache = &answer.headers["cache-control"];
        match answer.status {
            // The server goes by whole milliseconds.
            204 => {
                assert!(cache == "no-store" || asked <= until - 0.998, "{asked} {until}: {cache}");
            }
            _ => assert_eq!((answer.status, &**cache), (401, "no-store")),
        }
        (answer.status == 401).then_some(())
    });
}

#[test]
fn the_order_of_a_query_changes_nothing() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let clip = Clip::make(&ClipSpec { group: 30, ..ClipSpec::plain("short-groups", 10) });
    let _encoder = clip.publish(&input.rtmp, -1);
    server.wait_live(&input);
    let path = format!("/{}/manifest/video.cmaf.m3u8", input.uid);
    let mut follower = testkit::Follower::new(server.url(&path));
    // Both wait for the next segment, so both are of one version, unless one comes when that has gone on.
    let server = &server;
    let answers = wait_until("both to meet one version", 60, || {
        let next = follower.reload().segments.last().unwrap().number + 1;
        let answers: Vec<_> = std::thread::scope(|scope| {
            let asking = [
                format!("_HLS_msn={next}&_HLS_part=0&dvrEnabled=true&protocol=llhls"),
                format!("protocol=llhls&_HLS_part=0&viewer=42&dvrEnabled=true&_HLS_msn={next}"),
            ]
            .map(|query| format!("{path}?{query}"))
            .map(|target| scope.spawn(move || server.get(&target)));
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        (answers[0].text() == answers[1].text()).then_some(answers)
    });
    for answer in &answers {
        assert_eq!(answer.status, 200);
        assert_eq!(
            answer.headers["cache-control"], "max-age=0, s-maxage=12",
            "six target durations"
        );
        let report = "URI=\"audio.cmaf.m3u8?dvrEnabled=true&protocol=llhls\"";
        assert!(answer.text().contains(report), "{}", answer.text());
    }
    let list =
        |query: &str| server.get(&format!("/{}/manifest/video.m3u8?{query}", input.uid)).text();
    let expect = "video.cmaf.m3u8?dvrEnabled=true&protocol=llhls";
    for query in ["dvrEnabled=true&protocol=llhls", "viewer=7&protocol=llhls&dvrEnabled=true"] {
        assert!(list(query).contains(expect), "{}", list(query));
        assert!(!list(query).contains("viewer"));
    }
}

#[test]
fn the_edge_keeps_apart_what_the_server_reads_of_a_query() {
    let of_pictures = ["duration", "fit", "fps", "height", "time", "width"];
    let of_both = ["duration", "time"];
    // Clips and downloads, which pass through this one.
    let of_files = ["filename"];
    for (folder, pictures) in [("manifest", false), ("thumbnails", true)] {
        let begin = format!("proxy_cache_key \"$airwave_id/{folder}/");
        let key = NGINX_CONF.lines().find(|l| l.contains(&begin)).unwrap();
        for parameter in deliver::PARAMETERS {
            let pair = format!("{parameter}=$arg_{parameter}");
            let read = of_both.contains(&parameter)
                || (of_pictures.contains(&parameter) == pictures && !of_files.contains(&parameter));
            assert_eq!(
                key.contains(&pair),
                read,
                "{pair}: the key of {folder} in docs/cdn/nginx.conf"
            );
        }
    }
    // What those are told who set up another one.
    let listed: Vec<String> = deliver::PARAMETERS.iter().map(|p| format!("`{p}`")).collect();
    let words = CDN_PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains(&listed.join(", ")), "rule 3 of docs/cdn.md");
    let fastly: Vec<String> = deliver::PARAMETERS.iter().map(|p| format!("\"{p}\"")).collect();
    let between = " + querystring.filtersep() + ";
    assert!(words.contains(&fastly.join(between)), "Fastly in docs/cdn.md");
}

/// What is sent, as it stands, to this address; all that is answered.
fn sent(to: &str, bytes: &str) -> String {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    match socket.read_to_end(&mut answer) {
        // Whoever refuses a request may not have read all of it.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}: {bytes}"),
        _ => {}
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Requests in which another one is hidden, for an edge and a server that may not agree where one ends: fields of their heads,
/// and what follows. `LEN` is the length of what follows, `HEX` that of the hidden one, `HIDDEN` that itself.
const SMUGGLED: &[(&str, &str, &str)] = &[
    ("TE.CL", "content-length: 4\r\ntransfer-encoding: chunked", "HEX\r\nHIDDEN\r\n0\r\n\r\n"),
    ("CL.TE", "content-length: LEN\r\ntransfer-encoding: chunked", "0\r\n\r\nHIDDEN"),
    ("CL.CL, the first", "content-length: LEN\r\ncontent-length: 0", "HIDDEN"),
    ("CL.CL, the second", "content-length: 0\r\ncontent-length: LEN", "HIDDEN"),
    ("CL in a list", "content-length: 0, LEN", "HIDDEN"),
    ("CL with a sign", "content-length: +0\r\ncontent-length : LEN", "HIDDEN"),
    ("obs-fold", "content-length: LEN\r\ntransfer-encoding:\r\n chunked", "0\r\n\r\nHIDDEN"),
    ("xchunked", "content-length: LEN\r\ntransfer-encoding: xchunked", "0\r\n\r\nHIDDEN"),
    ("TE twice", "transfer-encoding: chunked\r\ntransfer-encoding: identity", "0\r\n\r\nHIDDEN"),
    ("TE before a colon", "content-length: LEN\r\ntransfer-encoding : chunked", "0\r\n\r\nHIDDEN"),
    ("TE after a tab", "content-length: LEN\r\ntransfer-encoding: \x0bchunked", "0\r\n\r\nHIDDEN"),
    ("extension", "transfer-encoding: chunked", "2;a=\"\nxx\r\nHEX\r\nHIDDEN\r\n0\r\n\r\n"),
    ("LF", "transfer-encoding: chunked", "2;\nxx\nHEX\nHIDDEN\n0\n\n"),
    ("overflow", "transfer-encoding: chunked", "10000000000000002\r\nxx\r\n0\r\n\r\nHIDDEN"),
    ("a negative chunk", "transfer-encoding: chunked", "-1\r\nxx\r\n0\r\n\r\nHIDDEN"),
    ("trailers", "transfer-encoding: chunked", "0\r\ncontent-length: 0\r\nHIDDEN"),
    ("a body behind all", "content-length: LEN", "HIDDEN"),
];

/// A request that leaves something behind, if it is taken for one.
fn hidden(server: &Server, name: &str) -> String {
    let body = json!({ "meta": { "name": name } }).to_string();
    format!(
        "POST /client/v4/accounts/default/stream/live_inputs HTTP/1.1\r\nhost: a\r\n\
         authorization: Bearer {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        server.token,
        body.len()
    )
}

/// What hidden requests have left behind.
fn made(server: &Server) -> Vec<String> {
    let inputs = server.api("GET", "/stream/live_inputs", None).json()["result"].clone();
    let inputs = inputs["liveInputs"].as_array().unwrap().clone();
    let named = inputs.iter().filter_map(|i| i["meta"]["name"].as_str().map(str::to_owned));
    named.filter(|name| name.starts_with("hidden")).collect()
}

/// Each way to hide it, in each of three requests about this input, with this field besides: what it is, and the bytes.
fn smuggling<'a>(
    server: &'a Server,
    uid: &'a str,
    more: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    SMUGGLED.iter().flat_map(move |(name, head, body)| {
        let hidden = hidden(server, &format!("hidden by {name}"));
        let body = body.replace("HEX", &format!("{:x}", hidden.len())).replace("HIDDEN", &hidden);
        let head = head.replace("LEN", &body.len().to_string());
        let lines = [
            format!("POST /{uid}/cmcd"),
            format!("GET /{uid}/manifest/video.m3u8"),
            "GET /live.json".to_owned(),
        ];
        lines.map(|line| {
            let bytes = format!("{line} HTTP/1.1\r\nhost: a\r\n{more}{head}\r\n\r\n{body}");
            (format!("{name}, {line}"), bytes)
        })
    })
}

#[test]
fn no_request_is_smuggled_past_the_edge() {
    if skip("edge") {
        return;
    }
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let origin = server.addresses["http"].as_str().unwrap().to_owned();
    let edge = Edge::start(origin.parse().unwrap());
    let edge = edge.address().to_string();
    for address in [&origin, &edge] {
        let answer = sent(address, &hidden(&server, "hidden by nobody"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let before = made(&server);
    assert_eq!(before.len(), 2, "by itself it is one");
    for (what, request) in smuggling(&server, &input.uid, "connection: close\r\n") {
        let answer = sent(&edge, &request);
        let answers = answer.matches("HTTP/1.1 ").count();
        assert!(answers <= 1, "{what}: {answer}");
        // Others, on the connections that the edge keeps to the server, get what they asked for.
        for _ in 0..2 {
            let ask = "GET /live.json HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
            let answer = sent(&edge, ask);
            let own = answer.starts_with("HTTP/1.1 200") && answer.contains("{\"broadcasts\"");
            assert!(own, "after {what}: {answer}");
        }
        assert_eq!(made(&server), before, "{what}");
    }
}

/// The same without an edge that refuses most of them, on connections that stay open: an honest request comes behind each.
#[test]
fn no_request_is_smuggled_into_a_connection() {
    let server = Server::start(AIRWAVE, &[]);
    let input = server.input();
    let origin = server.addresses["http"].as_str().unwrap();
    let honest = "GET /time HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = sent(origin, &format!("GET /live.json HTTP/1.1\r\nhost: a\r\n\r\n{honest}"));
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 2, "one after the other: {answer}");
    let mut kept = 0;
    for (what, request) in smuggling(&server, &input.uid, "") {
        let answer = sent(origin, &format!("{request}{honest}"));
        // It is one request, or none that can be read; so is what is behind it.
        let answers: Vec<&str> = answer.split("HTTP/1.1 ").skip(1).collect();
        assert!(answers.len() <= 2, "{what}: {answer}");
        let second = answers.get(1).copied().unwrap_or("400");
        let own = second.starts_with("200") && second.ends_with('Z');
        assert!(own || second.starts_with("400"), "{what}: {answer}");
        kept += usize::from(own);
        assert_eq!(made(&server), [""; 0], "{what}: {answer}");
    }
    assert!(kept > 0, "some of them are plain requests with a body");
}
