//! Who asks for a lot over MoQ and reads none of the answers, beside a publisher and a viewer who notice nothing: what is held for
//! him stays below its bound, and he is let go.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_moq::client::{self, Client};
use io_moq::limits::{QUEUED_ANSWERS_BYTES_MAX, QUEUED_ANSWERS_MAX};
use moqt::limits::REQUESTS_MAX;
use moqt::properties::Value;
use moqt::session::{Config, Input, Output, StreamId};
use moqt::version::ControlStream;
use moqt::{
    Fetch, Filter, Location, Namespace, Parameters, Properties, Range, Request, Session, TrackName,
    Version,
};
use quinn::crypto::rustls::QuicClientConfig;
use sansio::{Core, Poll};
use spine::{Header, NodeId, Origin, Path, Route, Takeover, TrackInfo};
use testkit::Server;
use tokio_rustls::rustls::{ClientConfig, crypto::aws_lc_rs::default_provider};

use crate::AIRWAVE;
use crate::beside::Held;

/// Nobody who reads nothing stays for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// What he takes of all that is said to him.
const WINDOW: u32 = 1_000;

/// The properties of a track, which an answer about it holds.
const PROPERTIES: usize = 60_000;

/// With room for what the requests themselves take: of all of their answers it would be 58 MiB in draft 16.
const HELD_KIB_MAX: u64 = 6 * (QUEUED_ANSWERS_BYTES_MAX as u64 >> 10);

/// A peer whose streams are never read.
struct Deaf {
    _endpoint: quinn::Endpoint,
    connection: quinn::Connection,
    session: Session,
    control: Option<quinn::SendStream>,
    streams: BTreeMap<StreamId, quinn::SendStream>,
    /// Dropped, they would say that nothing more is wanted.
    unread: Vec<quinn::RecvStream>,
}

impl Deaf {
    async fn connect(to: SocketAddr, version: Version) -> Self {
        let verifier = ::client::trust::Trust::Anybody.verifier().unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let tls = tls.with_safe_default_protocol_versions().unwrap().dangerous();
        let tls = tls.with_custom_certificate_verifier(verifier);
        let mut tls = tls.with_no_client_auth();
        tls.alpn_protocols = vec![version.alpn().into()];
        let crypto = QuicClientConfig::try_from(tls).unwrap();
        let mut config = quinn::ClientConfig::new(Arc::new(crypto));
        let mut transport = quinn::TransportConfig::default();
        transport.receive_window(WINDOW.into());
        config.transport_config(Arc::new(transport));
        let endpoint = quinn::Endpoint::client(([127, 0, 0, 1], 0).into()).unwrap();
        let connecting = endpoint.connect_with(config, to, "localhost").unwrap();
        let connection = connecting.await.unwrap();
        let now = Instant::now();
        let session = Session::client(now, Config::new(version));
        let mut unread = Vec::new();
        let (control, said) = match version.control_stream() {
            ControlStream::Unidirectional => (connection.open_uni().await.unwrap(), Vec::new()),
            ControlStream::Bidirectional => {
                let (send, recv) = connection.open_bi().await.unwrap();
                unread.push(recv);
                // What he would read there: SETUP, and a MAX_REQUEST_ID above all that is asked (draft-16 §9.5).
                let maximum = [0x15, 0, 4, 0xbf, 0xff, 0xff, 0xff];
                (send, vec![setup(version), Bytes::copy_from_slice(&maximum)])
            }
        };
        let (control, streams) = (Some(control), BTreeMap::new());
        let mut deaf = Self { _endpoint: endpoint, connection, session, control, streams, unread };
        deaf.drain().await.unwrap();
        if !said.is_empty() {
            deaf.session.handle(now, Input::ControlOpened(Bytes::new())).unwrap();
        }
        for said in said {
            deaf.session.handle(now, Input::Control(said)).unwrap();
        }
        deaf
    }

    /// Writes what its session says; None once that is of no use.
    async fn drain(&mut self) -> Option<()> {
        while let Poll::Output(output) = self.session.poll() {
            match output {
                Output::Control(bytes) => self.control.as_mut()?.write_all(&bytes).await.ok()?,
                Output::Open(id) => {
                    let (send, recv) = self.connection.open_bi().await.ok()?;
                    self.streams.insert(id, send);
                    self.unread.push(recv);
                }
                Output::Send { stream, bytes } => {
                    self.streams.get_mut(&stream)?.write_all(&bytes).await.ok()?;
                }
                // It stays open, as its answer is not read.
                _ => {}
            }
        }
        Some(())
    }

    /// Asks for this so often, or until it is let go. How often, with which code and words.
    async fn ask(mut self, request: &Request, most: usize) -> (usize, u64, String) {
        let connection = self.connection.clone();
        let mut asked = 0;
        let asking = async {
            while asked < most {
                self.session.request(Instant::now(), request.clone()).unwrap();
                if self.drain().await.is_none() {
                    break;
                }
                asked += 1;
            }
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = connection.closed() => ended,
            () = asking => unreachable!("it waits for that"),
        };
        match ended {
            quinn::ConnectionError::ApplicationClosed(close) => {
                let words = String::from_utf8_lossy(&close.reason).into_owned();
                (asked, close.error_code.into_inner(), words)
            }
            other => panic!("after {asked}: {other}"),
        }
    }
}

/// The SETUP that a server answers with.
fn setup(version: Version) -> Bytes {
    let now = Instant::now();
    let mut ours = Session::client(now, Config::new(version));
    let mut server = Session::server(now, Config::new(version));
    let Poll::Output(Output::Control(hello)) = ours.poll() else { panic!("no SETUP") };
    server.handle(now, Input::ControlOpened(Bytes::new())).unwrap();
    server.handle(now, Input::Control(hello)).unwrap();
    loop {
        match server.poll() {
            Poll::Output(Output::Control(setup)) => return setup,
            Poll::Output(_) => {}
            Poll::Wait(_) => panic!("no SETUP of the server"),
        }
    }
}

fn room() -> Namespace {
    Namespace::new([Bytes::from_static(b"anon"), Bytes::from_static(b"room")]).unwrap()
}

/// The answer is large.
fn fetch() -> Request {
    let track = TrackName::new(room(), Bytes::from_static(b"large")).unwrap();
    let range = Range { start: Location::new(0, 0), end: Location::new(0, Range::WHOLE_GROUP) };
    let fetch = Fetch::Standalone { track, range };
    Request::Fetch { fetch, parameters: Parameters::default() }
}

/// The answer is short: the track is not there. Its name is so long that few of these are under way at once, fewer than there
/// may be without an answer.
fn status() -> Request {
    let nowhere = Namespace::new([Bytes::from_static(b"nowhere")]).unwrap();
    let track = TrackName::new(nowhere, vec![b'x'; 1_000]).unwrap();
    Request::TrackStatus { track, parameters: Parameters::default() }
}

/// One after the other over many sessions, in each draft: he is told that they are wrong, and then,
/// in each session but once, that nobody looks at them any more. Who has a right one has the same
/// address.
#[test]
fn who_guesses_tokens_is_told_to_wait_and_his_neighbours_watch() {
    use moqt::RequestCode::{ExcessiveLoad, InternalError, Unauthorized};
    use serde_json::json;
    use testkit::{Clip, ClipSpec};

    const SESSIONS: usize = 15;
    let server = Server::start(AIRWAVE, &[]);
    let input = server.create_input(&json!({ "recording": { "requireSignedURLs": true } }));
    let clip = Clip::make(&ClipSpec::plain("plain", 12));
    let _encoder = clip.publish(&input.rtmp, -1);
    let path = format!("/stream/live_inputs/{}", input.uid);
    testkit::wait_until("the broadcast to begin", 20, || {
        let status = server.api("GET", &path, None).json()["result"]["status"].clone();
        status["current"]["videoUID"].as_str().map(str::to_owned)
    });
    let token = |after: u64| {
        let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        let body = json!({ "exp": now + after });
        let answer = server.api("POST", &format!("/stream/{}/token", input.uid), Some(&body));
        answer.json()["result"]["token"].as_str().unwrap().to_owned()
    };
    let (good, other) = (token(3_600), token(7_200));
    let signature = |token: &str| token.rfind('.').unwrap();
    // What it grants is another one's, and so its signature is that of nothing.
    let wrong = format!("{}{}", &good[..signature(&good)], &other[signature(&other)..]);
    let to: SocketAddr = server.addresses["quic"].as_str().unwrap().parse().unwrap();
    let namespace = ["default", &input.uid].map(|field| Bytes::copy_from_slice(field.as_bytes()));
    let namespace = Namespace::new(namespace).unwrap();
    // The answers to so many requests of one session that shows this.
    let asks = async |path: String, draft: u8, times: usize| {
        let of =
            client::Server { host: to.ip().to_string(), port: to.port(), path, draft: Some(draft) };
        let origin = Origin::new(spine::Limits::default());
        let mut client = Client::connect(&of, client::Trust::Anybody, origin).await.unwrap();
        let handle = client.handle();
        let asking = async {
            let mut answers = Vec::new();
            for _ in 0..times {
                let remote = handle.remote(namespace.clone()).unwrap();
                let answer = remote.subscribe("catalog", Filter::NextObject).await;
                answers.push(match answer.map(drop) {
                    Ok(()) => None,
                    Err(client::Denial::Answered(error)) => Some(error.code),
                    Err(denial) => panic!("{denial}"),
                });
            }
            answers
        };
        tokio::select! {
            answers = asking => answers,
            over = client.run() => panic!("{}", over.reason()),
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut looked_at, mut refused) = (0, 0);
        // Draft 16 has no word for it.
        for (draft, too_many) in [(16, InternalError), (18, ExcessiveLoad)] {
            for session in 0..SESSIONS {
                let path = [format!("/{wrong}"), format!("/?jwt={wrong}")][session % 2].clone();
                let answers = asks(path, draft, 6).await;
                assert_eq!(answers[0], Some(Unauthorized), "{draft}, {session}");
                let wrong = |answer: &&Option<_>| **answer == Some(Unauthorized);
                looked_at += answers[1..].iter().filter(wrong).count();
                refused += answers.iter().filter(|answer| **answer == Some(too_many)).count();
                let known =
                    |answer: &Option<_>| [Some(Unauthorized), Some(too_many)].contains(answer);
                assert!(answers.iter().all(known), "{draft}: {answers:?}");
            }
            // In a session of his own, as often as he likes.
            for _ in 0..5 {
                assert_eq!(asks(format!("/?jwt={good}"), draft, 1).await, [None], "{draft}");
            }
        }
        println!("{looked_at} more were looked at, {refused} were not");
        // Ten, and one more for each six seconds that it took: of so many that a slow machine
        // leaves most of them.
        assert!(refused > SESSIONS * 4, "{refused} of {}", SESSIONS * 2 * 5);
        let counted = |name: &str| server.metric(&format!("moq_tokens_{name}_total"));
        let all = (counted("wrong"), counted("unread"));
        assert_eq!(all, ((2 * SESSIONS + looked_at) as u64, refused as u64));
    });
}

/// As over RTMP: ten tries and one more for each six seconds, whatever they come over. Who has a key
/// has the same address.
#[test]
fn who_guesses_stream_keys_over_moq_is_told_to_wait_and_his_neighbours_publish() {
    use moqt::RequestCode::{ExcessiveLoad, InternalError, Unauthorized};

    const TRIES: usize = 25;
    let server = Server::start(AIRWAVE, &[]);
    let to: SocketAddr = server.addresses["quic"].as_str().unwrap().parse().unwrap();
    // What he is told who wants to publish to this input with that key.
    let tries = async |uid: &str, key: &str, draft: u8| {
        let fields = ["default", uid].map(|field| Bytes::copy_from_slice(field.as_bytes()));
        let namespace = Namespace::new(fields).unwrap();
        let of = client::Server {
            host: to.ip().to_string(),
            port: to.port(),
            path: format!("/{key}"),
            draft: Some(draft),
        };
        let origin = Origin::new(spine::Limits::default());
        let mut client = Client::connect(&of, client::Trust::Anybody, origin).await.unwrap();
        let handle = client.handle();
        tokio::select! {
            answer = handle.publish(&namespace) => match answer.map(drop) {
                Ok(()) => None,
                Err(client::Denial::Answered(error)) => Some(error.code),
                Err(denial) => panic!("{denial}"),
            },
            over = client.run() => panic!("{}", over.reason()),
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut refused = 0;
        let target = server.input();
        for (draft, too_many) in [(16, InternalError), (18, ExcessiveLoad)] {
            let mut answers = Vec::new();
            for guess in 0..TRIES {
                let key = format!("guess-{draft}-{guess}");
                answers.push(tries(&target.uid, &key, draft).await);
            }
            refused += answers.len() as u64;
            let waits = answers.iter().filter(|answer| **answer == Some(too_many)).count();
            let wrong = answers.iter().filter(|answer| **answer == Some(Unauthorized)).count();
            assert_eq!(waits + wrong, TRIES, "{draft}: {answers:?}");
            assert!(waits > TRIES / 5, "{draft}: {answers:?}");
            assert!(draft != 16 || answers.starts_with(&[Some(Unauthorized); 10]), "{answers:?}");
            // With its own key, each input.
            let input = server.input();
            assert_eq!(tries(&input.uid, &input.key, draft).await, None, "{draft}");
        }
        assert_eq!(server.metric("moq_publishes_refused_total"), refused);
    });
}

/// draft-16 §3.4: a request beyond MAX_REQUEST_ID.
const TOO_MANY_REQUESTS: u8 = 0x7;

#[test]
fn who_reads_no_answers_is_let_go_before_much_is_held_for_him() {
    let server = Server::start(AIRWAVE, &["moq.open_namespaces=[\"anon\"]"]);
    let held = Held::by(&server);
    let to: SocketAddr = server.addresses["quic"].as_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Somebody publishes a track with large properties, and another one watches it.
        let origin = Origin::new(spine::Limits::default());
        let path = Path::new(["anon", "room"]).unwrap();
        let broadcast =
            origin.publish(&path, Route::local(NodeId(0), 0), Takeover::Refuse).unwrap();
        let pair = [(0x1001, Value::Bytes(&[7; PROPERTIES]))];
        let properties = Properties::from_pairs(&pair).unwrap().as_bytes().clone();
        let info = TrackInfo { properties, ..TrackInfo::default() };
        let track = broadcast.track(spine::TrackName::from_static("large"), info).unwrap();
        let now = Instant::now();
        let group = track.group(0, now).unwrap();
        let subgroup = group.subgroup(0, now).unwrap();
        let payload = track.budget().payload(Bytes::from_static(b"object"));
        subgroup.write(Header::new(0, now), vec![payload]).unwrap();
        let of = client::Server {
            host: to.ip().to_string(),
            port: to.port(),
            path: "/".to_owned(),
            draft: None,
        };
        let connect = async |origin| {
            Client::connect(&of, client::Trust::Anybody, origin).await.expect("it is let in")
        };
        let mut publisher = connect(origin).await;
        let mut viewer = connect(Origin::new(spine::Limits::default())).await;
        let (publishes, watches) = (publisher.handle(), viewer.handle());
        let floods = async {
            let _published = publishes.publish(&room()).await.unwrap();
            let remote = watches.remote(room()).unwrap();
            let _watched = remote.subscribe("large", Filter::NextObject).await.unwrap();
            for draft in [16, 18, 22] {
                let version = Version::from_draft(draft).unwrap();
                let before = server.peak_kib();
                let deaf = Deaf::connect(to, version).await;
                let ended =
                    tokio::time::timeout(PATIENCE, deaf.ask(&fetch(), REQUESTS_MAX - 1)).await;
                let (asked, code, words) = ended.unwrap_or_else(|_| panic!("{draft}: still here"));
                let grown = server.peak_kib() - before;
                println!("draft {draft}: {asked} asked, {grown} KiB held, then {words}");
                assert_eq!((code, &*words), (0x11, "answers are not read"), "draft {draft}");
                assert!(grown <= HELD_KIB_MAX, "draft {draft}: {grown} KiB are held");
            }
            // Short ones, of which a stream has a number. Who is faster than he is answered breaks another rule first: then
            // once more.
            let (asked, code, words) = loop {
                let deaf = Deaf::connect(to, Version::Draft16).await;
                let ended = tokio::time::timeout(PATIENCE, deaf.ask(&status(), usize::MAX)).await;
                let ended = ended.expect("it is let go");
                if ended.1 != u64::from(TOO_MANY_REQUESTS) {
                    break ended;
                }
            };
            println!("{asked} asked, then {words}");
            assert_eq!((code, &*words), (0x11, "answers are not read"));
            assert!(asked > QUEUED_ANSWERS_MAX && asked < QUEUED_ANSWERS_MAX + 2_000, "{asked}");
        };
        tokio::select! {
            () = floods => {}
            over = publisher.run() => panic!("the publisher: {}", over.reason()),
            over = viewer.run() => panic!("the viewer: {}", over.reason()),
        }
        publisher.leave().await;
        viewer.leave().await;
    });
    drop(runtime);
    assert_eq!(server.metric("moq_session_panics_total"), 0);
    held.again(&server);
}
