//! Strangers who flood, stall and lie, beside an encoder and a viewer who notice nothing.
//!
//! `AIRWAVE_STRANGERS` is how many connections of each kind come to each port (24 in the gate), `AIRWAVE_POLLS` how often
//! unknown ids are asked for (20,000 in the gate, a million in soak).

use std::fs::Permissions;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::scope;
use std::time::{Duration, Instant};

use sansio::harness::Rng;
use testkit::{Clip, ClipSpec, Server, Url, request, wait_until};

use crate::AIRWAVE;
use crate::beside::{Beside, Held, size};

/// Every listener.
const PORTS: [&str; 5] = ["rtmp", "rtmps", "http", "https", "admin"];

/// The other one, over UDP.
const QUIC: &str = "quic";

/// Nobody may hold a connection for longer than this without asking for something: the deadlines are 10 s, and a busy machine
/// has more to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection from an address of its own: RTMP lets one address hold only so many.
pub(crate) fn connect(server: &Server, port: &str, from: u8) -> TcpStream {
    connect_to(server.addresses[port].as_str().unwrap().parse().unwrap(), from)
}

/// The same to somebody else.
pub(crate) fn connect_to(to: SocketAddr, from: u8) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let socket = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("127.0.1.{from}:0").parse().unwrap()).unwrap();
        socket.connect(to).await.unwrap().into_std().unwrap()
    });
    socket.set_nonblocking(false).unwrap();
    socket
}

/// Reads until the server closes; true if it does in time.
pub(crate) fn closed(socket: &mut TcpStream, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    let mut buffer = [0; 16 << 10];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        socket.set_read_timeout(Some(left)).unwrap();
        match socket.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return true,
        }
    }
}

/// Bytes that mean nothing, or begin like something.
fn noise(number: u64) -> Vec<u8> {
    let mut rng = Rng::new(number);
    let starts: [&[u8]; 6] = [
        b"",
        b"\x03",
        b"\x16\x03\x01\x02\x00\x01",
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0",
    ];
    let mut bytes = starts[rng.below(starts.len())].to_vec();
    bytes.extend((0..rng.below(8_000)).map(|_| rng.next_u64() as u8));
    bytes
}

#[test]
fn random_slow_and_half_open_connections_disturb_nobody() {
    let strangers = size("AIRWAVE_STRANGERS", 24);
    let server = Server::start(AIRWAVE, &[]);
    let held = Held::by(&server);
    let beside = Beside::start(&server);
    assert!(speaks_quic(&server));
    scope(|scope| {
        scope.spawn(|| datagrams(&server, 90, strangers * 40));
        for (index, port) in PORTS.into_iter().enumerate() {
            let (server, from) = (&server, 10 * (1 + index as u8));
            scope.spawn(move || half_open(server, port, from, strangers));
            scope.spawn(move || slow(server, port, from + 1));
            scope.spawn(move || random(server, port, from + 2, strangers));
        }
    });
    assert!(speaks_quic(&server), "it still answers");
    assert_eq!(server.metric("moq_session_panics_total"), 0);
    beside.finish(&server);
    held.again(&server);
}

/// A socket of an address of its own that sends to the QUIC listener.
fn quic(server: &Server, from: u8) -> UdpSocket {
    let socket = UdpSocket::bind(format!("127.0.1.{from}:0")).unwrap();
    socket.connect(server.addresses[QUIC].as_str().unwrap()).unwrap();
    socket
}

/// The beginning of an Initial (RFC 9000 §17.2.2) of this version: two connection ids, no token, a length.
fn initial(version: u32, length: u16) -> Vec<u8> {
    let mut packet = vec![0xc3];
    packet.extend(version.to_be_bytes());
    packet.extend([8, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 9, 9, 9, 9, 9, 9, 9, 0]);
    packet.extend((0x4000 | length).to_be_bytes());
    packet
}

/// Whether a version that nobody has is answered with those that there are (RFC 9000 §6.1).
fn speaks_quic(server: &Server) -> bool {
    let socket = quic(server, 91);
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut packet = initial(0x1a2a_3a4a, 1_170);
    packet.resize(1_200, 0);
    let deadline = Instant::now() + PATIENCE;
    let mut answer = [0; 1_500];
    // A queue that the flood has filled loses datagrams.
    while Instant::now() < deadline {
        socket.send(&packet).unwrap();
        if socket.recv(&mut answer).is_ok_and(|n| n > 5) {
            return answer[1..5] == [0; 4];
        }
    }
    false
}

/// Bytes that mean nothing, Initials that are cut or lie about their length, and whole ones that nobody has encrypted.
fn datagrams(server: &Server, from: u8, count: usize) {
    let socket = quic(server, from);
    let mut rng = Rng::new(3);
    for number in 0..count {
        let mut packet = match number % 4 {
            0 => Vec::new(),
            1 => initial(1, rng.below(0x3fff) as u16),
            2 => initial(0x6b33_43cf, 1_170),
            _ => initial(rng.next_u64() as u32, 1_170),
        };
        packet.extend((0..1_200).map(|_| rng.next_u64() as u8));
        packet.truncate(if number % 3 == 0 { 1_200 } else { rng.below(1_200) });
        // Nobody may listen to who comes too often.
        let _ = socket.send(&packet);
    }
}

/// Connects and says nothing.
fn half_open(server: &Server, port: &str, from: u8, count: usize) {
    let mut sockets: Vec<TcpStream> = (0..count).map(|_| connect(server, port, from)).collect();
    let deadline = Instant::now() + PATIENCE;
    for socket in &mut sockets {
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(closed(socket, left), "{port}: a silent connection is kept");
    }
}

/// Says something sensible, a byte at a time, and never all of it.
fn slow(server: &Server, port: &str, from: u8) {
    let words: Vec<u8> = match port {
        "rtmp" => [&[3][..], &[0; 1_536]].concat(),
        "rtmps" | "https" => [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 500]].concat(),
        _ => [&b"GET / HTTP/1.1\r\nx: "[..], &[b'a'; 500]].concat(),
    };
    let mut socket = connect(server, port, from);
    let began = Instant::now();
    for byte in words {
        // Between two bytes it looks for the end, which is what it waits for.
        if socket.write_all(&[byte]).is_err() || closed(&mut socket, Duration::from_millis(200)) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{port}: a slow connection is kept");
    }
    panic!("{port}: a slow connection was let finish");
}

fn random(server: &Server, port: &str, from: u8, count: usize) {
    for number in 0..count as u64 {
        let mut socket = connect(server, port, from);
        // The server may have closed by then.
        let _ = socket.write_all(&noise(number));
        let _ = socket.shutdown(Shutdown::Write);
        assert!(closed(&mut socket, PATIENCE), "{port}: noise {number} is kept");
    }
}

/// Raw requests, and the statuses that are answers to them. None: closed without an answer.
const REQUESTS: &[(&str, &[Option<u16>])] = &[
    ("GET /../../etc/passwd HTTP/1.1", &[Some(404)]),
    ("GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", &[Some(404)]),
    ("GET /..%2f..%2fapi-token HTTP/1.1", &[Some(404)]),
    ("GET //etc/passwd HTTP/1.1", &[Some(404)]),
    ("GET /assets/../../Cargo.toml HTTP/1.1", &[Some(404)]),
    ("GET /assets/..%2f..%2fmaster.key HTTP/1.1", &[Some(404)]),
    ("GET /assets/%00 HTTP/1.1", &[Some(404)]),
    ("GET /INPUT%00/manifest/video.m3u8 HTTP/1.1", &[Some(404)]),
    ("GET /INPUT/manifest/video.cmaf.m3u8%00 HTTP/1.1", &[Some(404)]),
    ("GET /INPUT/manifest/..%2f..%2fapi-token HTTP/1.1", &[Some(404)]),
    ("GET /INPUT/manifest/%2e%2e.m3u8 HTTP/1.1", &[Some(404)]),
    ("GET /INPUT/media/VIDEO/video.cmaf/..%2f..%2f..%2fairwave.db HTTP/1.1", &[Some(404)]),
    ("GET /INPUT/media/VIDEO/..%2f..%2f/1-1.m4s HTTP/1.1", &[Some(404)]),
    ("GET /INPUT/media/..%2f..%2flock/video.cmaf/1-1.m4s HTTP/1.1", &[Some(404)]),
    ("GET /%ff%fe/watch%20 HTTP/1.1", &[Some(400), Some(404)]),
    ("GET /%/%zz HTTP/1.1", &[Some(400), Some(404)]),
    ("GET /client/v4/accounts/..%2f/stream HTTP/1.1", &[Some(401)]),
    ("GET /INPUT/manifest/video.cmaf.m3u8?_HLS_msn=-1 HTTP/1.1", &[Some(400)]),
    ("GET /INPUT/manifest/video.cmaf.m3u8?_HLS_msn=99999999999999999999 HTTP/1.1", &[Some(400)]),
    ("GET /INPUT/manifest/video.cmaf.m3u8?_HLS_msn=18446744073709551615 HTTP/1.1", &[Some(400)]),
    ("GET relative HTTP/1.1", &[Some(400), Some(404), None]),
    ("GET / HTTP/9.9", &[Some(400), None]),
    ("GET  HTTP/1.1", &[Some(400), None]),
    ("\0\0\0\0", &[Some(400), None]),
    ("DELETE /INPUT/manifest/video.m3u8 HTTP/1.1", &[Some(405)]),
    ("POST / HTTP/1.1\r\ncontent-length: 99999999999999999999", &[Some(400), None]),
    ("POST / HTTP/1.1\r\ncontent-length: -1", &[Some(400), None]),
    (
        "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5",
        &[Some(400), Some(405), None],
    ),
    ("GET / HTTP/1.1\r\nhost: a\r\nhost", &[Some(400), None]),
    ("GET / HTTP/1.1\r\nhost: a\r\nhost: b", &[Some(400)]),
    ("GET /time HTTP/1.1\r\nhost: a:80", &[Some(200)]),
    ("GET /time HTTP/1.1\r\nno-host: a", &[Some(400)]),
    ("GET /time HTTP/1.1\r\nhost:", &[Some(400)]),
    ("GET /time HTTP/1.1\r\nhost: a\"><b>", &[Some(400)]),
];

/// What a server answers to this head, its status alone.
fn status_of(server: &Server, head: &[u8]) -> Option<u16> {
    let mut socket = connect(server, "http", 9);
    let _ = socket.write_all(head);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(!text.contains("root:") && !text.contains("SQLite"), "{text}");
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok())
}

#[test]
fn paths_and_heads_that_lie_get_a_plain_no() {
    let server = Server::start(AIRWAVE, &[]);
    let held = Held::by(&server);
    let beside = Beside::start(&server);
    let mut wrong = Vec::new();
    for (head, allowed) in REQUESTS {
        let head = head.replace("INPUT", beside.input()).replace("VIDEO", beside.video());
        let host = if head.contains("host") { "" } else { "\r\nhost: a" };
        let request = format!("{head}{host}\r\nconnection: close\r\n\r\n");
        let status = status_of(&server, request.as_bytes());
        if !allowed.contains(&status) {
            wrong.push((head, status));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // RFC 9112 §3.2.
    let status = status_of(&server, b"GET /time HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert_eq!(status, Some(400), "no Host");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    assert!([Some(414), Some(431), None].contains(&status_of(&server, long.as_bytes())));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(100_000));
    assert!([Some(431), Some(400), None].contains(&status_of(&server, many.as_bytes())));
    bodies(&server);
    words(&server, beside.input());
    beside.finish(&server);
    held.again(&server);
}

/// Whatever is refused, by whomever, is not kept, is read by pages of other origins, and says what is wrong.
fn words(server: &Server, input: &str) {
    let long = "a".repeat(70_000);
    for (method, path, body, status) in [
        ("GET", "nosuch", "", 404),
        ("GET", "manifest/a/b.m3u8", "", 404),
        ("HEAD", "thumbnails/a/b.jpg", "", 404),
        ("DELETE", "manifest/video.m3u8", "", 405),
        ("PUT", "chat", "", 405),
        ("POST", "cmcd", &*long, 413),
        ("POST", "chat", &*long, 413),
    ] {
        let url = server.url(&format!("/{input}/{path}"));
        let answer = request(method, &url, &[], body.as_bytes());
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("access-control-allow-origin", "*"),
        ] {
            let field = answer.headers.get(name).map(String::as_str);
            assert_eq!(field, Some(value), "{method} {path}: {name}");
        }
        let closed = answer.headers.get("connection").is_some_and(|how| how == "close");
        assert!(closed || status != 413, "{method} {path}: {:?}", answer.headers);
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
        assert!(answer.text().ends_with('\n') || method == "HEAD", "{}", answer.text());
    }
    // RFC 9110 §8.6.
    for method in ["GET", "HEAD"] {
        let answer = request(method, &server.url(&format!("/{input}/allowed")), &[], b"");
        assert_eq!(answer.status, 204, "{method}");
        assert!(!answer.headers.contains_key("content-length"), "{method}: {:?}", answer.headers);
    }
}

/// Bodies of somebody who has the token: still nothing that hurts.
fn bodies(server: &Server) {
    let authorization = format!("Bearer {}", server.token);
    let url = server.url("/client/v4/accounts/default/stream/live_inputs");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let deep = "[".repeat(60_000);
    let name = format!("{{\"meta\":{{\"name\":\"{}\"}}}}", "a".repeat(60_000));
    for (body, status) in [
        (&b"{"[..], 400),
        (b"[]", 400),
        (b"\xff\xfe", 400),
        (b"{\"enabled\":1e999}", 400),
        (deep.as_bytes(), 400),
        (name.as_bytes(), 400),
        (&[b' '; 70_000], 413),
    ] {
        let answer = request("POST", &url, &headers, body);
        assert_eq!(answer.status, status, "{:?}: {}", &body[..body.len().min(20)], answer.text());
    }
    for token in ["", "Bearer", "Bearer ", "Basic x", "Bearer \u{e9}"] {
        let answer = request("GET", &url, &[("authorization", token)], b"");
        assert_eq!(answer.status, 401, "{token:?}");
    }
}

#[test]
fn heads_of_ten_megabytes_are_not_read() {
    let server = Server::start(AIRWAVE, &[]);
    let resident = server.resident_kib();
    let long = "A".repeat(10 << 20);
    for head in [
        format!("GET /client/v4/session HTTP/1.1\r\nauthorization: Bearer {long}"),
        format!("GET /client/v4/session HTTP/1.1\r\ncookie: airwave-session={long}"),
        format!("GET /client/v4/session HTTP/1.1\r\nx-auth-key: {long}"),
        format!("GET /client/v4/session HTTP/1.1\r\nx-csrf-token: {long}"),
        format!("GET /ey.{long}.x/manifest/video.m3u8 HTTP/1.1\r\nhost: a"),
    ] {
        let status = status_of(&server, format!("{head}\r\n\r\n").as_bytes());
        let name = &head[..60];
        assert!([Some(414), Some(431), None].contains(&status), "{name}: {status:?}");
    }
    let grown = server.resident_kib().saturating_sub(resident);
    assert!(grown < 8 << 10, "{grown} KiB more in memory");
    assert_eq!(server.get("/live.json").status, 200);
}

/// What a path segment may be that leads elsewhere: up, into files, into heads, out of a query.
const SEGMENTS: [&str; 12] = [
    "..",
    "%2e%2e",
    "..%2f..%2fapi-token",
    "..%5c..%5cmaster.key",
    "%2fetc%2fpasswd",
    "%00",
    "a%0d%0aset-cookie:%20x=y",
    "%ff%fe",
    "'%20OR%201=1%20--",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "{uid}",
    "0123456789ABCDEF0123456789ABCDEF",
];

#[test]
fn every_segment_of_every_route_takes_nothing_that_leads_elsewhere() {
    // Port 80 too; nobody is asked for a certificate.
    let server = Server::start(
        AIRWAVE,
        &[
            r#"tls.domain=["live.example.test"]"#,
            "acme.directory=https://127.0.0.1:1/dir",
            "acme.http_listen=127.0.0.1:0",
            "acme.https_listen=127.0.0.1:0",
        ],
    );
    let uid = server.input().uid;
    let master = std::fs::read(server.data().join("master.key")).unwrap();
    let authorization = format!("Bearer {}", server.token);
    let mut tried = 0;
    for (listener, row) in node::table() {
        let authority = server.addresses[listener.split(',').next().unwrap()].as_str().unwrap();
        let parameters = row.path.split('/').filter(|s| s.starts_with('{') && *s != "{account}");
        for parameter in parameters.chain(row.path.contains("{account}").then_some("{account}")) {
            for segment in SEGMENTS.iter().map(|s| (*s).to_owned()).chain(["x".repeat(9_000)]) {
                let path = row.path.replacen(parameter, &segment, 1);
                let path = path.replace("{account}", "default").replace("{uid}", &uid);
                let path = path.replace(['{', '}', '*'], "");
                let url = Url { authority: authority.to_owned(), path };
                let headers = [("authorization", &*authorization)];
                let answer = request(row.method, &url, &headers, b"");
                tried += 1;
                let told = format!("{} {}: {}", row.method, url.path, answer.text());
                assert!(answer.status < 500, "{told}");
                assert!(!answer.headers.contains_key("set-cookie"), "{told}");
                assert!(!answer.body.windows(master.len()).any(|w| w == master), "{told}");
                for secret in [&*server.token, "root:x:", "SQLite", "<script>alert"] {
                    assert!(!answer.text().contains(secret), "{secret} in {told}");
                }
            }
        }
    }
    assert!(tried > 500, "{tried}");
}

#[test]
fn unknown_ids_may_be_asked_for_as_often_as_anybody_likes() {
    let polls = size("AIRWAVE_POLLS", 20_000);
    let server = Server::start(AIRWAVE, &[]);
    let held = Held::by(&server);
    let beside = Beside::start(&server);
    poll_unknown(&server, 0, polls / 10);
    // The broadcast beside goes on meanwhile: its media is not what the strangers take.
    let taken = || server.resident_kib().saturating_sub(server.metric("media_cache_bytes") >> 10);
    let before = taken();
    let began = Instant::now();
    scope(|scope| {
        for client in 1..=3u64 {
            let server = &server;
            scope.spawn(move || poll_unknown(server, client, polls * 3 / 10));
        }
    });
    let grown = taken().saturating_sub(before);
    println!(
        "{} polls in {:?}, {grown} KiB more in memory without the media, which is {} KiB",
        polls * 9 / 10,
        began.elapsed(),
        server.metric("media_cache_bytes") >> 10
    );
    beside.finish(&server);
    held.again(&server);
    assert!(grown <= 16 << 10, "{grown} KiB more in memory");
}

/// One connection after the other, a thousand requests each, every one for another id.
fn poll_unknown(server: &Server, client: u64, count: usize) {
    let mut rng = Rng::new(client);
    let mut asked = 0;
    while asked < count {
        let mut socket = connect(server, "http", 100 + client as u8);
        socket.set_nodelay(true).unwrap();
        let many = (count - asked).min(1_000);
        for number in 0..many {
            let id = format!("{:016x}{:016x}", rng.next_u64(), rng.next_u64());
            let path = match number % 4 {
                0 => format!("/{id}/manifest/video.m3u8"),
                1 => format!("/{id}/lifecycle"),
                2 => format!("/{id}/manifest/video.cmaf.m3u8?_HLS_msn=7&_HLS_part=1"),
                _ => format!("/{id}/media/{id}/video.cmaf/1-1.m4s"),
            };
            let host = "host: a\r\n";
            let last = if number + 1 == many { "connection: close\r\n" } else { "" };
            socket
                .write_all(format!("GET {path} HTTP/1.1\r\n{host}{last}\r\n").as_bytes())
                .unwrap();
            let answer = answer(&mut socket);
            assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
        }
        asked += many;
    }
}

/// One answer with a length.
fn answer(socket: &mut TcpStream) -> String {
    let (mut text, mut buffer) = (Vec::new(), [0; 1_024]);
    loop {
        let count = socket.read(&mut buffer).unwrap();
        assert!(count > 0, "closed: {}", String::from_utf8_lossy(&text));
        text.extend_from_slice(&buffer[..count]);
        let Some(head) = text.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let words = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
        let length = words.split_once("content-length: ").map(|(_, rest)| rest);
        let length = length.and_then(|l| l.lines().next()?.parse::<usize>().ok());
        let length = length.unwrap_or_else(|| panic!("an answer without length: {words}"));
        if text.len() >= head + 4 + length {
            return String::from_utf8_lossy(&text).into_owned();
        }
    }
}

#[test]
fn the_admin_listener_says_nothing_but_what_it_is_for() {
    let server = Server::start(AIRWAVE, &[]);
    let authority = server.addresses["admin"].as_str().unwrap().to_owned();
    for path in ["/", "/../api-token", "/metrics/..%2f..%2fmaster.key", "/%00", "/client/v4/user"] {
        let url = Url { authority: authority.clone(), path: path.to_owned() };
        assert_eq!(request("GET", &url, &[], b"").status, 404, "{path}");
    }
}

/// The program, which the system lets have so many open files: as many as it likes to begin with (soft), and at most (hard).
fn with_open_files(folder: &Path, soft: u32, hard: u32) -> String {
    let script = folder.join("airwave.sh");
    let words =
        format!("#!/bin/sh -e\nulimit -Sn {soft}\nulimit -Hn {hard}\nexec {AIRWAVE} \"$@\"\n");
    std::fs::write(&script, words).unwrap();
    std::fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
    script.to_str().unwrap().to_owned()
}

/// More connections from one address than the server takes of it. They say nothing, for which they have ten seconds.
fn crowd(server: &Server, port: &str, from: u8) -> Vec<TcpStream> {
    (0..60).map(|_| connect(server, port, from)).collect()
}

#[test]
fn who_takes_all_connections_leaves_files_to_encoders_and_recordings() {
    let folder = tempfile::tempdir().unwrap();
    let program = with_open_files(folder.path(), 256, 256);
    let server = Server::start_in(&program, &folder.path().join("data"), &[]);
    let [first, second] = [server.input(), server.input()];
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let mut before = clip.publish(&first.rtmp, -1);
    server.wait_live(&first);
    let refused = || {
        let metrics = server.metrics();
        ["http_connections_refused_address_total", "http_connections_refused_total"]
            .map(|name| metrics[name])
    };
    let first_crowd = crowd(&server, "http", 100);
    wait_until("one address to have a quarter of the places", 10, || {
        (refused()[0] >= 12).then_some(())
    });
    let crowds: Vec<_> = (101..108).map(|from| crowd(&server, "http", from)).collect();
    wait_until("all of them to be taken", 10, || (refused()[1] > 0).then_some(()));
    let open = server.metric("http_connections_open");
    assert!((170..=192).contains(&open), "three quarters of 256 are taken: {open}");
    // A quarter of the rest is for who says nothing where encoders come: of those the oldest goes.
    let silent: Vec<_> = (110..114).map(|from| crowd(&server, "rtmp", from)).collect();
    wait_until("the last of them to be let in", 10, || {
        (server.metric("rtmp_connections_total") > 4 * 60).then_some(())
    });
    let open = server.metric("rtmp_connections_open");
    assert!(open <= 20, "16 are half open: {open}");
    // Who is on the air stays, another one finds what it needs, and both are recorded.
    let mut after = clip.publish(&second.rtmp, -1);
    let committed = || server.metric("segment_commit_seconds_count");
    let until = committed() + 8;
    wait_until("two broadcasts with recordings", 30, || {
        (server.metric("broadcasts") == 2 && committed() >= until).then_some(())
    });
    drop((first_crowd, crowds, silent));
    for encoder in [&mut before, &mut after] {
        assert!(encoder.ended().is_none(), "let go: {}", encoder.output());
        encoder.terminate();
        encoder.wait(20);
    }
    assert_eq!(server.metric("recording_segments_lost_total"), 0);
}

#[test]
fn as_many_files_as_the_system_lets_it_have_are_open() {
    let folder = tempfile::tempdir().unwrap();
    let program = with_open_files(folder.path(), 64, 2_048);
    let server = Server::start_in(&program, &folder.path().join("data"), &[]);
    let held: Vec<TcpStream> = (0..200).map(|n| connect(&server, "http", 1 + n % 100)).collect();
    wait_until("all to be taken", 20, || {
        (server.metric("http_connections_open") >= held.len() as u64).then_some(())
    });
}
