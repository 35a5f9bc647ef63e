//! The tables of answers in `docs/protocols/hls.md` and `dash.md`, row by row: what caches and other pages may do with each.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use testkit::{MediaPlaylist, Response, Server, request};

/// What is asked: the path, and header fields.
struct Asked {
    path: String,
    headers: Vec<(&'static str, String)>,
}

/// What has to be answered.
struct Expect {
    status: u16,
    /// Empty: none.
    kind: &'static str,
    cache: &'static str,
    /// Any page may read it.
    shared: bool,
    more: Vec<(&'static str, String)>,
}

const LIST: &str = "application/vnd.apple.mpegurl";
const MPD: &str = "application/dash+xml";
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const A_MOMENT: &str = "max-age=0, s-maxage=1";

fn asked(path: impl Into<String>) -> Asked {
    Asked { path: path.into(), headers: Vec::new() }
}

impl Asked {
    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

fn expect(status: u16, kind: &'static str, cache: &'static str) -> Expect {
    Expect { status, kind, cache, shared: true, more: Vec::new() }
}

impl Expect {
    fn and(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.more.push((name, value.into()));
        self
    }

    fn ours(mut self) -> Self {
        self.shared = false;
        self
    }
}

/// What a track's list leads to: an initialisation segment, a segment, and a part of it.
fn files(server: &Server, list: &str) -> [String; 3] {
    let url = server.url(list);
    let playlist = MediaPlaylist::parse(&server.get(list).text()).unwrap();
    let segment = playlist.segments.iter().find(|s| s.file.is_some() && !s.gap).unwrap();
    let file = &segment.file.as_ref().unwrap().1;
    let part = file.replace(".m4s", ".0.m4s");
    [&segment.map, file, &part].map(|uri| url.join(uri).path)
}

/// Rows of files that never change.
fn of_files(server: &Server, uid: &str) -> Vec<(Asked, Expect)> {
    let mut rows = Vec::new();
    for (track, kind) in [("video.cmaf", "video/mp4"), ("audio.cmaf", "audio/mp4")] {
        for path in files(server, &format!("/{uid}/manifest/{track}.m3u8")) {
            let size = server.get(&path).body.len();
            let name = path.rsplit('/').next().unwrap().to_owned();
            let etag = format!("\"{name}\"");
            let whole = || {
                expect(200, kind, FOR_EVER)
                    .and("etag", &etag)
                    .and("accept-ranges", "bytes")
                    .and("content-length", size.to_string())
            };
            let range = |bytes: &str| asked(&path).with("range", bytes);
            rows.extend([
                (asked(&path), whole()),
                (
                    range("bytes=4-7"),
                    expect(206, kind, FOR_EVER)
                        .and("etag", &etag)
                        .and("content-range", format!("bytes 4-7/{size}"))
                        .and("content-length", "4"),
                ),
                (
                    range("bytes=99999999-"),
                    expect(416, "", "no-store")
                        .and("etag", &etag)
                        .and("content-range", format!("bytes */{size}")),
                ),
                (range("bytes=0-1,4-5"), whole()),
                (range("lines=0-1"), whole()),
                (range("bytes=4-7").with("if-range", "\"other\""), whole()),
                (range("bytes=4-7").with("if-range", "Thu, 26 Nov 2026 15:00:00 GMT"), whole()),
                (asked(&path).with("if-match", "\"other\""), {
                    expect(412, "", "no-store").and("etag", &etag)
                }),
                (asked(&path).with("if-match", &etag), whole()),
                (asked(&path).with("if-none-match", "\"other\""), whole()),
            ]);
            for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
                rows.push((
                    asked(&path).with("if-none-match", known),
                    expect(304, "", FOR_EVER).and("etag", &etag),
                ));
            }
        }
    }
    rows
}

fn check(server: &Server, rows: Vec<(Asked, Expect)>) {
    let mut wrong = Vec::new();
    for (asked, expect) in rows {
        let headers: Vec<(&str, &str)> = asked.headers.iter().map(|(n, v)| (*n, &**v)).collect();
        let answer = request("GET", &server.url(&asked.path), &headers, b"");
        let broken = differences(&answer, &expect);
        if !broken.is_empty() {
            wrong.push(format!("{} {headers:?}: {}", asked.path, broken.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn differences(answer: &Response, expect: &Expect) -> Vec<String> {
    let mut broken = Vec::new();
    let mut field = |name: &str, want: &str| {
        let found = answer.headers.get(name).map_or("", String::as_str);
        if found != want {
            broken.push(format!("{name}: {found:?}, not {want:?}"));
        }
    };
    field("content-type", expect.kind);
    field("cache-control", expect.cache);
    field("access-control-allow-origin", if expect.shared { "*" } else { "" });
    let exposed =
        "Content-Length, Content-Range, Date, ETag, preview-start-seconds, stream-media-id";
    field("access-control-expose-headers", if expect.shared { exposed } else { "" });
    field("x-content-type-options", "nosniff");
    for name in ["etag", "content-range", "set-cookie", "content-encoding"] {
        if !expect.more.iter().any(|(known, _)| *known == name) {
            field(name, "");
        }
    }
    expect.more.iter().for_each(|(name, value)| field(name, value));
    if answer.status != expect.status {
        broken.push(format!("status {}, not {}: {}", answer.status, expect.status, answer.text()));
    }
    broken
}

/// The rows of what is on the air, with a target duration of two seconds.
pub(crate) fn check_live(server: &Server, input: &str, uid: &str) {
    let list = format!("/{uid}/manifest/video.cmaf.m3u8");
    let newest = MediaPlaylist::parse(&server.get(&list).text()).unwrap();
    let in_time = newest.segments.iter().rev().find(|s| s.file.is_some()).unwrap().number;
    let mut rows = vec![
        (asked(format!("/{input}/manifest/video.m3u8")), expect(200, LIST, "max-age=2")),
        (asked(format!("/{input}/manifest/video.cmaf.m3u8")), expect(200, LIST, "max-age=1")),
        (asked(&list), expect(200, LIST, "max-age=1")),
        (asked(format!("{list}?_HLS_msn={in_time}")), expect(200, LIST, "max-age=0, s-maxage=12")),
        (asked(format!("{list}?_HLS_msn=x")), expect(400, TEXT, "no-store")),
        (asked(format!("{list}?_HLS_msn={in_time}&_hls_msn=0")), expect(400, TEXT, "no-store")),
        (asked(format!("{list}?_HLS_msn={in_time}&_HLS_msn=0")), expect(400, TEXT, "no-store")),
        // As players ask that add to what they were redirected to.
        (
            asked(format!("{list}?_HLS_msn={in_time}&_HLS_msn={in_time}")),
            expect(200, LIST, "max-age=0, s-maxage=12"),
        ),
        (asked(format!("/{uid}/manifest/none.m3u8")), expect(404, TEXT, "no-store")),
        (asked(format!("/{input}/manifest/video.mpd")), expect(200, MPD, "max-age=1")),
        (asked(format!("/{uid}/manifest/video.mpd?protocol=hls")), expect(200, MPD, "max-age=1")),
        (asked(format!("/{input}/allowed")), expect(204, "", "max-age=1").and("airwave-id", input)),
    ];
    // What is still to come is missing in a list for now.
    let (there, to_come) = (in_time, in_time + 2);
    rows.extend([
        (asked(format!("{list}?segments={there}-{there}")), expect(200, LIST, "max-age=60")),
        (asked(format!("{list}?segments={there}-{to_come}")), expect(200, LIST, "no-store")),
    ]);
    // Nothing is on the air there.
    let off_air = server.input().uid;
    for list in ["video.m3u8", "video.cmaf.m3u8", "video.mpd"] {
        rows.push((asked(format!("/{off_air}/manifest/{list}")), expect(204, "", A_MOMENT)));
    }
    rows.extend(of_everybody(input));
    rows.extend(of_files(server, uid));
    check(server, rows);
    check_old_client(server, &list);
}

/// The segment that is being made, for who asks by HTTP/1.0: whole, and with its length, as he can't tell the end from a break.
fn check_old_client(server: &Server, list: &str) {
    let url = server.url(list);
    let text = server.get(list).text();
    let hint = text.split("#EXT-X-PRELOAD-HINT:").nth(1).and_then(|h| h.split("URI=\"").nth(1));
    let part = hint.and_then(|hint| hint.split('"').next()).expect(&text);
    let (segment, _) = part.strip_suffix(".m4s").unwrap().rsplit_once('.').unwrap();
    let segment = url.join(&format!("{segment}.m4s"));
    let mut socket = TcpStream::connect(&segment.authority).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all(format!("GET {} HTTP/1.0\r\n\r\n", segment.path).as_bytes()).unwrap();
    let mut got = Vec::new();
    socket.read_to_end(&mut got).unwrap();
    let end = got.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    let (head, body) = (String::from_utf8_lossy(&got[..end]).to_lowercase(), &got[end + 4..]);
    assert!(head.starts_with("http/1.0 200"), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    let whole = server.get(&segment.path);
    assert!(whole.status == 200 && whole.body == body, "{} of {}", body.len(), whole.body.len());
}

/// The rows of what is over, once it is ready.
pub(crate) fn check_ended(server: &Server, input: &str, uid: &str) {
    // It is ready a moment before who has watched it live is told to read it from there; both answer the same.
    let mut rows = vec![
        (asked(format!("/{uid}/manifest/video.m3u8")), expect(200, LIST, "max-age=1")),
        (asked(format!("/{uid}/manifest/video.cmaf.m3u8")), expect(200, LIST, "max-age=1")),
        (asked(format!("/{input}/manifest/video.m3u8")), expect(204, "", A_MOMENT)),
        (asked(format!("/{uid}/manifest/none.m3u8")), expect(404, TEXT, "no-store")),
        (asked(format!("/{uid}/manifest/video.mpd")), expect(200, MPD, "max-age=1")),
        // Those who were watching see the end of it.
        (asked(format!("/{input}/manifest/video.mpd")), expect(200, MPD, "max-age=1")),
    ];
    let list = format!("/{uid}/manifest/video.cmaf.m3u8");
    let last = MediaPlaylist::parse(&server.get(&list).text()).unwrap();
    let last = last.segments.last().unwrap().number;
    rows.push((asked(format!("{list}?segments={last}-{}", last + 9)), {
        expect(200, LIST, "max-age=60")
    }));
    let clip = format!("/{uid}/clip.mp4?time=0s&duration=1s");
    let etag = server.get(&clip).headers["etag"].clone();
    let whole = expect(200, "video/mp4", "max-age=60").and("etag", etag);
    rows.push((asked(clip), whole.and("accept-ranges", "bytes")));
    rows.extend(of_everybody(uid));
    rows.extend(of_files(server, uid));
    check(server, rows);
}

/// Rows that are the same for what is live and what is over.
fn of_everybody(id: &str) -> Vec<(Asked, Expect)> {
    let page = |path: String| {
        let expect = expect(200, "text/html; charset=utf-8", "no-cache").ours();
        (asked(path), expect.and("referrer-policy", "no-referrer"))
    };
    let unknown = "0".repeat(32);
    vec![
        (asked("/live.json"), expect(200, JSON, A_MOMENT)),
        (asked(format!("/{id}/lifecycle")), expect(200, JSON, A_MOMENT)),
        (asked(format!("/{id}/views")), expect(200, JSON, A_MOMENT)),
        (asked("/time"), expect(200, TEXT, "no-store")),
        (asked(format!("/{unknown}/lifecycle")), expect(404, TEXT, "no-store")),
        (asked(format!("/{unknown}/manifest/video.m3u8")), expect(404, TEXT, "no-store")),
        page("/".to_owned()),
        page(format!("/{id}/watch")),
        // Whatever stands in the query of what reads none.
        page(format!("/{id}/watch?Time=1&time=1&time=2&_HLS_msn=1&_HLS_msn=2")),
        page(format!("/{id}/iframe?time=1&time=2&%74ime=3")),
        (asked(format!("/{id}/lifecycle?TIME=1&width=1&width=2")), expect(200, JSON, A_MOMENT)),
        (asked("/client/v4/accounts/default/stream"), expect(401, JSON, "no-store").ours()),
    ]
}
