//! HTTP/2 from a client that writes its frames by hand, in virtual time.

use tokio::io::{AsyncReadExt, DuplexStream};
use tokio::time::{Instant, timeout};

use super::*;
use crate::limits::{IDLE, REQUEST_BODY, STALLED};

const SETTINGS: u8 = 4;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// RFC 9113 §4.1.
fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
}

/// A request by indexes of the static table (RFC 7541 Appendix A): `GET /` or `POST /`.
fn request(method: u8) -> Vec<u8> {
    [&[method, 0x86, 0x84, 0x41, 1][..], b"a"].concat()
}

/// `GET /index.html`, which waits for ever.
fn waiting() -> Vec<u8> {
    [&[GET, 0x86, 0x85, 0x41, 1][..], b"a"].concat()
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

/// A client's end of a served connection.
struct Client {
    stream: DuplexStream,
    counters: Arc<Counters>,
    serving: tokio::task::JoinHandle<()>,
}

impl Client {
    /// Says nothing yet.
    fn connect(proxies: &str) -> Self {
        let (stream, server) = tokio::io::duplex(1 << 20);
        let proxies = proxies.split_whitespace().map(|n| n.parse().unwrap()).collect();
        let common = Common { proxies: Arc::new(Networks::new(proxies)), ..Common::alone() };
        let counters = common.counters.clone();
        let body = axum::body::Bytes::from(vec![7; 1 << 20]);
        let answer = axum::routing::get(async move || body);
        let taken = async |body: axum::body::Bytes| format!("{} bytes", body.len());
        let waits = axum::routing::get(async || std::future::pending::<()>().await);
        let router = Router::new().route("/", answer.post(taken)).route("/index.html", waits);
        let routers = Routers::one(router);
        let serving = Serving { tls: None, routers, balancers: Arc::default(), common };
        let serving = tokio::spawn(async move {
            let (_say, stopping) = watch::channel(false);
            let peer = SocketAddr::from(([192, 0, 2, 1], 1));
            serving.answer(server, peer, stopping).await;
        });
        Self { stream, counters, serving }
    }

    /// The same, over HTTP/2, with these settings: pairs of number and value.
    async fn start(settings: &[(u16, u32)], proxies: &str) -> Self {
        let mut client = Self::connect(proxies);
        client.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let pairs = settings
            .iter()
            .map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        client.write(&frame(SETTINGS, 0, 0, &pairs.collect::<Vec<_>>().concat())).await;
        client
    }

    async fn write(&mut self, bytes: &[u8]) {
        // A server that has closed does not read.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame: its kind, flags, stream and body; none at the end.
    async fn next(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.stream.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some((head[3], head[4], stream, body))
    }

    /// Reads to the next answer's head, answering pings: its stream and fields.
    async fn answered(&mut self) -> (u32, Vec<u8>) {
        loop {
            match self.next().await.unwrap() {
                (PING, 0, _, body) => self.write(&frame(PING, ACK, 0, &body)).await,
                (HEADERS, _, stream, body) => break (stream, body),
                _ => {}
            }
        }
    }

    /// Reads until the end, answering pings as a client does; says how it was told to go.
    async fn until_closed(&mut self) -> Option<u32> {
        let mut told = None;
        while let Some((kind, flags, _, body)) = self.next().await {
            match kind {
                PING if flags & ACK == 0 => self.write(&frame(PING, ACK, 0, &body)).await,
                GOAWAY => told = Some(u32::from_be_bytes([body[4], body[5], body[6], body[7]])),
                _ => {}
            }
        }
        told
    }
}

/// SETTINGS_INITIAL_WINDOW_SIZE.
const WINDOW: u16 = 4;

/// The ping by which h2 asks whether its farewell has come.
const FAREWELL: [u8; 8] = [0x0b, 0x7b, 0xa2, 0xf0, 0x8b, 0x9b, 0xfe, 0x54];

#[tokio::test(start_paused = true)]
async fn who_never_opens_a_window_does_not_hold_answers() {
    for window in [0, 1, 20_000] {
        let mut client = Client::start(&[(WINDOW, window)], "").await;
        for stream in [1, 3, 5] {
            client.write(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(GET))).await;
        }
        let began = Instant::now();
        timeout(STALLED * 3, client.until_closed()).await.unwrap();
        let held = began.elapsed();
        assert!(held >= STALLED && held < STALLED * 2, "{window}: {held:?}");
        client.serving.await.unwrap();
        assert_eq!(client.counters.unread.load(Ordering::Relaxed), 1);
    }
    // A proxy has many clients on its connection, and its own patience with them.
    let mut proxy = Client::start(&[(WINDOW, 0)], "192.0.2.0/24").await;
    proxy.write(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &request(GET))).await;
    assert!(timeout(STALLED * 3, proxy.until_closed()).await.is_err());
}

/// A place for a connection is for who asks, also where his client answers pings for as long as it likes, or all but the one that tells it to go.
#[tokio::test(start_paused = true)]
async fn an_http_2_connection_on_which_nothing_is_asked_ends() {
    for (case, asks, deaf) in [("mute", false, false), ("done", true, false), ("deaf", true, true)]
    {
        let mut client = Client::start(&[(WINDOW, 2 << 20)], "").await;
        if asks {
            client.write(&frame(WINDOW_UPDATE, 0, 0, &(2_u32 << 20).to_be_bytes())).await;
            client.write(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &request(GET))).await;
            loop {
                if let (DATA, flags, ..) = client.next().await.unwrap()
                    && flags & END_STREAM != 0
                {
                    break;
                }
            }
        }
        let began = Instant::now();
        let told = timeout(IDLE * 3, async {
            let mut told = None;
            while let Some((kind, flags, _, body)) = client.next().await {
                match kind {
                    PING if flags & ACK == 0 && !(deaf && body == FAREWELL) => {
                        client.write(&frame(PING, ACK, 0, &body)).await;
                    }
                    GOAWAY => told = Some(body[4..8].to_vec()),
                    _ => {}
                }
            }
            told
        });
        // NO_ERROR.
        assert_eq!(told.await.expect(case), Some(vec![0; 4]), "{case}");
        let held = began.elapsed();
        assert!(held >= IDLE && held <= IDLE + Duration::from_secs(40), "{case}: {held:?}");
        client.serving.await.unwrap();
    }
    // Who waits for an answer stays, and so does a proxy.
    for (proxies, head) in [("", Some(waiting())), ("192.0.2.0/24", None)] {
        let mut client = Client::start(&[], proxies).await;
        if let Some(head) = head {
            client.write(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &head)).await;
        }
        assert!(timeout(IDLE * 10, client.until_closed()).await.is_err(), "{proxies}");
    }
}

/// Over HTTP/1.1, where what is not read fills the connection: also one of a proxy, which has one client on it at a time.
#[tokio::test(start_paused = true)]
async fn who_asks_and_never_reads_is_let_go() {
    for proxies in ["", "192.0.2.0/24"] {
        let Client { mut stream, counters, serving } = Client::connect(proxies);
        let began = Instant::now();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        timeout(STALLED * 3, serving).await.expect("let go").unwrap();
        let held = began.elapsed();
        assert!(held >= STALLED && held < STALLED * 2, "{proxies}: {held:?}");
        assert_eq!(Arc::strong_count(&counters), 1, "nothing is held");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n";
    // A hundred bytes in so many milliseconds each; none: only the head.
    for (each_ms, comes) in [(Some(190), true), (Some(210), false), (None, false)] {
        let Client { stream, serving, .. } = Client::connect("");
        let (mut read, mut write) = tokio::io::split(stream);
        let began = Instant::now();
        let sending = tokio::spawn(async move {
            let _ = write.write_all(head).await;
            while let Some(each_ms) = each_ms {
                tokio::time::sleep(Duration::from_millis(each_ms)).await;
                if write.write_all(b"x").await.is_err() {
                    break;
                }
            }
            write
        });
        let mut text = vec![0; 12];
        read.read_exact(&mut text).await.unwrap();
        let took = began.elapsed();
        let status = if comes { "HTTP/1.1 200" } else { "HTTP/1.1 408" };
        assert_eq!(String::from_utf8_lossy(&text), status, "{each_ms:?}");
        if !comes {
            assert_eq!(took, REQUEST_BODY, "{each_ms:?}");
            read.read_to_end(&mut text).await.unwrap();
            let text = String::from_utf8_lossy(&text);
            assert!(text.contains("connection: close"), "{text}");
            assert!(text.ends_with("the body took longer than 20 s"), "{text}");
            assert!(began.elapsed() < REQUEST_BODY * 2, "{each_ms:?}: {:?}", began.elapsed());
            serving.await.unwrap();
        }
        sending.abort();
    }
    // Over HTTP/2 the stream ends, and the connection serves on.
    let mut client = Client::start(&[], "").await;
    client.write(&frame(HEADERS, END_HEADERS, 1, &request(POST))).await;
    let began = Instant::now();
    let (stream, body) = client.answered().await;
    assert_eq!((stream, began.elapsed()), (1, REQUEST_BODY));
    // `:status: 408` by a literal in Huffman code (RFC 7541 §6.2.1).
    assert_eq!(body[..5], [0x48, 0x83, 0x68, 0x0f, 0x7f], "{body:?}");
    client.write(&frame(HEADERS, END_STREAM | END_HEADERS, 3, &request(GET))).await;
    assert_eq!(client.answered().await.0, 3);
}

/// CVE-2023-44487.
#[tokio::test(start_paused = true)]
async fn requests_that_are_taken_back_at_once_end_the_connection() {
    let mut client = Client::start(&[], "").await;
    for number in 0..20_000 {
        let stream = 2 * number + 1;
        client.write(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(GET))).await;
        // CANCEL.
        client.write(&frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())).await;
        if client.serving.is_finished() {
            break;
        }
    }
    // ENHANCE_YOUR_CALM.
    assert_eq!(client.until_closed().await, Some(11));
    client.serving.await.unwrap();
}

/// CVE-2025-8671: an update of a window by nothing is an error of that request (RFC 9113 §6.9), so the server takes it back.
#[tokio::test(start_paused = true)]
async fn requests_that_the_server_is_made_to_take_back_end_the_connection() {
    let mut client = Client::start(&[], "").await;
    for number in 0..20_000 {
        let stream = 2 * number + 1;
        client.write(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(GET))).await;
        client.write(&frame(WINDOW_UPDATE, 0, stream, &[0; 4])).await;
        tokio::task::yield_now().await;
        if client.serving.is_finished() {
            break;
        }
    }
    assert!(client.until_closed().await.is_some(), "told to go");
    client.serving.await.unwrap();
}

/// Each is refused; who goes on asking is sent away.
#[tokio::test(start_paused = true)]
async fn requests_beyond_the_bound_are_refused() {
    let mut client = Client::start(&[], "").await;
    for number in 0..STREAMS_MAX + 50 {
        // No answer fits the window, so none of them ends.
        let stream = 2 * number + 1;
        client.write(&frame(HEADERS, END_STREAM | END_HEADERS, stream, &request(GET))).await;
    }
    let mut refused = 0;
    while let Ok(Some((kind, _, _, body))) = timeout(Duration::from_secs(1), client.next()).await {
        // REFUSED_STREAM.
        refused += u32::from(kind == RST_STREAM && body == 7_u32.to_be_bytes());
    }
    assert_eq!(refused, 50);
}

/// CVE-2019-9518.
#[tokio::test(start_paused = true)]
async fn a_flood_of_empty_frames_ends_the_connection() {
    let mut client = Client::start(&[], "").await;
    client.write(&frame(HEADERS, END_HEADERS, 1, &request(POST))).await;
    let empty = frame(DATA, 0, 1, &[]).repeat(1_000);
    for _ in 0..100 {
        client.write(&empty).await;
    }
    // ENHANCE_YOUR_CALM.
    assert_eq!(client.until_closed().await, Some(11));
}

/// CVE-2019-9512, CVE-2019-9515: what has to be answered, by somebody who reads no answers.
#[tokio::test(start_paused = true)]
async fn floods_of_pings_and_settings_are_not_answered_into_memory() {
    for one in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])] {
        let mut client = Client::start(&[], "").await;
        let (many, began) = (one.repeat(1_000), Instant::now());
        let mut taken = 0;
        while client.stream.write_all(&many).await.is_ok() {
            taken += many.len();
            assert!(taken < 8 << 20, "taken, and answers to all of it kept");
        }
        assert!(began.elapsed() <= STALLED * 2, "{:?}", began.elapsed());
        client.serving.await.unwrap();
    }
}

/// CVE-2024-27316: heads without an end.
#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_cut() {
    let mut client = Client::start(&[], "").await;
    client.write(&frame(HEADERS, 0, 1, &request(GET))).await;
    // `a: aaa…`, by a new name each time.
    let field = [&[0x00, 1][..], b"a", &[100], &[b'a'; 100]].concat();
    let more = frame(CONTINUATION, 0, 1, &field.repeat(150));
    for _ in 0..1_000 {
        if client.serving.is_finished() {
            break;
        }
        client.write(&more).await;
        tokio::task::yield_now().await;
    }
    assert!(client.serving.is_finished(), "16 MB of a head were taken");
}

/// `a: aaa…` of so many bytes in a head over HTTP/2, by a new name (RFC 7541 §5.1, §6.2.2).
fn field(bytes: usize) -> Vec<u8> {
    let mut field = vec![0x00, 1, b'a', 0x7f];
    let mut rest = bytes - 127;
    while rest >= 128 {
        field.push((rest % 128) as u8 | 0x80);
        rest /= 128;
    }
    field.push(rest as u8);
    field.resize(field.len() + bytes, b'a');
    field
}

#[tokio::test(start_paused = true)]
async fn a_head_has_sixteen_kilobytes_and_no_more() {
    const LESS: usize = 15 << 10;
    const MORE: usize = 17 << 10;
    for (bytes, status) in [(LESS, "200"), (MORE, "431")] {
        let mut client = Client::connect("");
        let begin = "GET / HTTP/1.1\r\nhost: a\r\na: ";
        let head = format!("{begin}{}\r\n\r\n", "a".repeat(bytes - begin.len() - 4));
        client.write(head.as_bytes()).await;
        let mut text = vec![0; 12];
        client.stream.read_exact(&mut text).await.unwrap();
        assert_eq!(String::from_utf8_lossy(&text), format!("HTTP/1.1 {status}"), "{bytes}");
    }
    // Over HTTP/2 it is one request that is refused, and the connection serves on.
    let mut client = Client::start(&[], "").await;
    // `:status: 200` by the static table, `:status: 431` by a literal in Huffman code.
    let (ok, too_large) = (&[0x88][..], &[0x48, 0x83, 0x69, 0x90, 0xff][..]);
    for (stream, bytes, status) in [(1, LESS, ok), (3, MORE, too_large), (5, LESS, ok)] {
        let head = [request(GET), field(bytes)].concat();
        let (first, rest) = head.split_at(head.len().min(16_384));
        client.write(&frame(HEADERS, END_STREAM, stream, first)).await;
        client.write(&frame(CONTINUATION, END_HEADERS, stream, rest)).await;
        let (of, fields) = client.answered().await;
        assert_eq!((of, &fields[..status.len()]), (stream, status), "{bytes}: {fields:?}");
    }
}

#[test]
fn a_request_has_one_host_that_is_one() {
    const NONE: &[&str] = &[];
    for (version, hosts, right) in [
        (Version::HTTP_11, NONE, false),
        (Version::HTTP_10, NONE, true),
        (Version::HTTP_2, NONE, true),
        (Version::HTTP_11, &["a", "a"], false),
        (Version::HTTP_2, &["a", "b"], false),
        (Version::HTTP_11, &["live.example.org:8443"], true),
        (Version::HTTP_11, &["my_server:8080"], true),
        (Version::HTTP_11, &["192.0.2.1:80"], true),
        (Version::HTTP_11, &["[2001:db8::1]:80"], true),
        (Version::HTTP_11, &["a:"], true),
        (Version::HTTP_11, &[""], false),
        (Version::HTTP_11, &[":80"], false),
        (Version::HTTP_11, &["a\"><b>"], false),
        (Version::HTTP_11, &["a@b"], false),
        (Version::HTTP_11, &["a/b"], false),
        (Version::HTTP_11, &["a:b"], false),
        (Version::HTTP_11, &["a b"], false),
        (Version::HTTP_10, &["a,b/"], false),
    ] {
        let hosts_of = |host: &&str| (header::HOST, HeaderValue::from_str(host).unwrap());
        let mut fields = HeaderMap::new();
        hosts.iter().map(hosts_of).for_each(|(name, value)| _ = fields.append(name, value));
        assert_eq!(wrong_host(version, &fields).is_none(), right, "{version:?} {hosts:?}");
    }
}
