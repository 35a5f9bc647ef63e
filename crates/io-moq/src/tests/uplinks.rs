//! What an upstream can do to a node that pulls from it, and what strangers at that node can do to the link (decision 112).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use moqt::session::{Command, Config};
use moqt::{
    Answer, Fetch, Filter, Location, Namespace, Node, Parameters, Properties, Range, Request,
    RequestCode, RequestError, RequestId, Session, Version,
};
use spine::{Announce, NodeId, Path, Route, Takeover, TrackInfo};

use super::duties::code;
use super::rig::{Client, Rig, Set, certificate, namespace, next_object, soon, track, until};
use crate::client::Server;
use crate::clock;
use crate::limits::{
    DATA_STREAMS_FIRST, SUBSCRIBE_ANSWER_MAX, UPLINK_ASKS_EACH, UPLINK_ASKS_MAX,
    UPLINK_CHANGES_BURST, UPLINK_FETCHES_MAX, UPLINK_NAMESPACES_MAX, UPLINK_PAUSED_MAX,
    UPLINKS_CARRIED_MAX,
};
use crate::listen::protocols;
use crate::publish::ask_over;
use crate::take::Taken;
use crate::transport::{Certificate, Congestion, Endpoint, Network, Trust};
use crate::uplink::{Pull, Uplink, UplinkStatus};

const HERE: u64 = 5;
const THERE: u64 = 7;

/// The group that is under way.
const NEWEST: u64 = 9_999;

/// A server that does whatever a test wants.
pub(super) struct Upstream {
    endpoint: Endpoint,
    certificate: Certificate,
    hash: [u8; 32],
    pub(super) status: Arc<UplinkStatus>,
    /// What the token in its address is to open.
    opens: Option<Namespace>,
    /// Which node it says it is.
    node: Option<Node>,
    /// Where it is reached, if not at its own address.
    pub(super) by: Option<SocketAddr>,
    /// How many have come.
    pub(super) came: AtomicUsize,
}

impl Upstream {
    pub(super) fn new() -> Self {
        let (certificate, hash) = certificate(0);
        Self::with(certificate, hash)
    }

    fn with(certificate: Certificate, hash: [u8; 32]) -> Self {
        let shown = copy(&certificate);
        let endpoint = Endpoint::server(([127, 0, 0, 1], 0).into(), shown, &protocols());
        let (endpoint, status, opens) = (endpoint.unwrap(), Arc::default(), None);
        let (node, by, came) = (Node::new(THERE), None, AtomicUsize::default());
        Self { endpoint, certificate, hash, status, opens, node, by, came }
    }

    /// One that says it is this node.
    pub(super) fn saying(self, node: Option<Node>) -> Self {
        Self { node, ..self }
    }

    /// Another one, with the same certificate.
    pub(super) fn beside(&self) -> Self {
        Self::with(copy(&self.certificate), self.hash)
    }

    pub(super) fn uri(&self) -> String {
        format!("moqt://{}/", self.address())
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.endpoint.local_address().unwrap()
    }

    pub(super) fn uplink(&self) -> Uplink {
        let at = self.by.unwrap_or_else(|| self.address());
        let (host, port) = ("127.0.0.1".to_owned(), at.port());
        Uplink {
            server: Server { host, port, path: "/".to_owned(), draft: None },
            trust: Trust::Fingerprint(self.hash),
            prefixes: vec![Namespace::root()],
            opens: self.opens.clone(),
            status: self.status.clone(),
        }
    }

    /// Who comes, and what he wants to be told of.
    pub(super) async fn accept(&self) -> Told {
        let told = self.accept_silently().await;
        told.agree();
        told
    }

    /// The same, who has no answer yet.
    pub(super) async fn accept_silently(&self) -> Told {
        loop {
            let incoming = soon("somebody", self.endpoint.accept()).await.unwrap();
            self.came.fetch_add(1, Ordering::Relaxed);
            let connection = incoming.accept().await.unwrap();
            let version = connection.protocol().and_then(|alpn| Version::from_alpn(&alpn)).unwrap();
            let config = Config { node: self.node, ..Config::new(version) };
            let session = Session::server(clock::now(), config);
            let closed = connection.clone();
            let mut peer = Client::drive(self.endpoint.clone(), connection, session);
            let (id, request) = tokio::select! {
                biased;
                // What it said came too early.
                _ = closed.closed() => continue,
                asked = peer.asked() => asked,
            };
            assert!(matches!(request, Request::SubscribeNamespace { .. }), "{request:?}");
            let way = self.node.into_iter().map(Node::get).collect();
            return Told { peer, id, way };
        }
    }

    /// Nobody is known any more who was here before.
    pub(super) fn forgets_all(&self) {
        self.endpoint.forget_all();
    }
}

/// Who is told of namespaces.
pub(super) struct Told {
    pub(super) peer: Client,
    id: RequestId,
    /// The nodes over which what it tells of has come, with itself as the last.
    pub(super) way: Vec<u64>,
}

impl Told {
    /// It tells what it has from now on.
    pub(super) fn agree(&self) {
        self.peer.command(Command::Answer { id: self.id, answer: Answer::ok() });
    }

    pub(super) fn tell(&self, fields: &[&str]) {
        let nodes = self.way.iter().map(|node| Node::new(*node).unwrap());
        let route = moqt::Route::new(nodes.collect()).unwrap();
        let namespace = namespace(fields);
        self.peer.command(Command::Namespace { id: self.id, namespace, route });
    }

    pub(super) fn withdraw(&self, fields: &[&str]) {
        self.peer.command(Command::NamespaceDone { id: self.id, namespace: namespace(fields) });
    }

    /// The next track that it is asked for.
    pub(super) async fn subscribe(&mut self) -> (RequestId, String, Parameters) {
        loop {
            if let (id, Request::Subscribe { track, parameters }) = self.peer.asked().await {
                let name = String::from_utf8(track.name().to_vec()).unwrap();
                return (id, name, parameters);
            }
        }
    }
}

fn copy(certificate: &Certificate) -> Certificate {
    Certificate { chain: certificate.chain.clone(), key: certificate.key.clone_key() }
}

pub(super) fn path(fields: &[&str]) -> Path {
    Path::new(fields.iter().map(ToString::to_string)).unwrap()
}

pub(super) async fn edge(upstreams: &[&Upstream]) -> Rig {
    let uplinks = upstreams.iter().map(|upstream| upstream.uplink()).collect();
    Rig::configured(Set { node: Node::new(HERE), uplinks, ..Set::default() })
}

#[tokio::test]
async fn names_that_are_made_up_leave_a_link_to_others() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let mut told = there.accept().await;
    let spaces = ["a", "b", "c", "d", "e"];
    for space in spaces {
        told.tell(&["open", space]);
    }
    until("they are here", || {
        spaces.iter().all(|space| rig.origin.get(&path(&["open", space])).is_some())
    })
    .await;
    let viewer = rig.client("/").await;
    let ask = |space, name: &str| {
        let track = track(&["open", space], name);
        viewer.link.request(Request::Subscribe { track, parameters: next_object() }).unwrap().0
    };
    let made_up = |n: usize| ask(["a", "b"][n % 2], &n.to_string());
    let mut asked: Vec<RequestId> = (0..UPLINK_ASKS_MAX).map(made_up).collect();
    for _ in 0..2 * UPLINK_ASKS_EACH {
        let (_, _, parameters) = told.subscribe().await;
        assert_eq!(parameters.rendezvous_timeout_ms, None, "it waits for nothing there");
    }
    // Those of others do not wait behind them.
    asked.push(ask("e", "other"));
    assert_eq!(told.subscribe().await.1, "other");
    let made_up = |n: usize| ask(["c", "d"][n % 2], &n.to_string());
    asked.extend((0..UPLINK_ASKS_MAX).map(made_up));
    for _ in 2 * UPLINK_ASKS_EACH + 1..UPLINK_ASKS_MAX {
        told.subscribe().await;
    }
    for id in asked {
        viewer.command(Command::Cancel { id, code: moqt::ResetCode::Cancelled });
    }
    ask("e", "last");
    // Before it is given up that they are answered.
    let last = async {
        while told.subscribe().await.1 != "last" {
            let open = there.status.subscriptions.load(Ordering::Relaxed);
            assert!(open <= UPLINK_ASKS_MAX, "{open}");
        }
    };
    tokio::time::timeout(SUBSCRIBE_ANSWER_MAX - Duration::from_secs(10), last).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_track_that_nobody_reads_is_left_and_asked_for_when_somebody_does() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["open", "room"]);
    let name = spine::TrackName::from_static("chat");
    let _written = broadcast.track(name.clone(), TrackInfo::default()).unwrap();
    let node = rig.client_over_in(&network, Version::Draft18).await;
    let pull = Pull::new(Arc::default());
    let how = (Filter::NextObject, None);
    let granted = ask_over(&node.link, track(&["open", "room"], "chat"), how, Some(&pull)).await;
    let local = spine::Origin::new(spine::Limits::default());
    let route = Route::local(NodeId(0), 0);
    let kept = local.publish(&path(&["here"]), route, Takeover::Refuse).unwrap();
    let here = kept.consume().derive(name, TrackInfo::default()).unwrap();
    let reader = here.consume();
    let taking = tokio::spawn(granted.ok().unwrap().take(here, true, Some(pull.clone())));
    let counted = || pull.status.subscriptions.load(Ordering::Relaxed);
    let open = || rig.counters.subscriptions_open.load(Ordering::Relaxed);
    let ms = Duration::from_millis;
    tokio::time::sleep(UPLINK_PAUSED_MAX / 2).await;
    assert_eq!((counted(), open()), (1, 1), "it is paused");
    tokio::time::sleep(UPLINK_PAUSED_MAX).await;
    assert_eq!((counted(), open()), (0, 0));
    for _ in 0..2 {
        let reads = reader.interest();
        tokio::time::sleep(ms(500)).await;
        assert_eq!((counted(), open()), (1, 1));
        drop(reads);
        tokio::time::sleep(UPLINK_PAUSED_MAX * 2).await;
        assert_eq!((counted(), open()), (0, 0));
    }
    assert!(!taking.is_finished(), "it goes on with the next one");
    drop((kept, broadcast));
}

/// Nor is it at an end when the upstream takes no requests any more: whoever takes over has it then.
#[tokio::test(start_paused = true)]
async fn d18_a_track_that_nobody_reads_is_kept_for_who_takes_over() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["open", "room"]);
    let name = spine::TrackName::from_static("chat");
    let _written = broadcast.track(name.clone(), TrackInfo::default()).unwrap();
    let node = rig.client_over_in(&network, Version::Draft18).await;
    let (pull, chat) = (Pull::new(Arc::default()), track(&["open", "room"], "chat"));
    let how = (Filter::NextObject, None);
    let granted = ask_over(&node.link, chat.clone(), how, Some(&pull)).await;
    let local = spine::Origin::new(spine::Limits::default());
    let route = Route::local(NodeId(0), 0);
    let kept = local.publish(&path(&["here"]), route, Takeover::Refuse).unwrap();
    let here = kept.consume().derive(name, TrackInfo::default()).unwrap();
    let reader = here.consume();
    let taking = tokio::spawn(granted.ok().unwrap().take(here, true, Some(pull.clone())));
    let ms = Duration::from_millis;
    tokio::time::sleep(UPLINK_PAUSED_MAX * 2).await;
    assert_eq!(pull.status.subscriptions.load(Ordering::Relaxed), 0, "nobody reads it");
    rig.stop();
    tokio::time::sleep(ms(100)).await;
    assert!(node.link.with(|session| session.peer_goes_away()));
    let _reads = reader.interest();
    tokio::time::sleep(ms(500)).await;
    assert!(!taking.is_finished() && reader.ended().is_none(), "it is over for who reads it");
    let before = Some(Arc::downgrade(&pull.carried));
    let next = Pull { before, ..Pull::new(Arc::default()) };
    next.hands(&chat).unwrap().tell(None);
    assert_eq!(taking.await.unwrap(), Taken::HandedOver);
}

/// So few at once that none of it waits for long to be read.
const AT_ONCE: usize = 250;

#[tokio::test]
async fn who_tells_of_too_many_changes_is_left() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let told = there.accept().await;
    let mut changes = 0;
    let tells = async {
        for n in 0.. {
            for _ in 0..AT_ONCE {
                told.tell(&["open", "one"]);
                told.withdraw(&["open", "one"]);
            }
            // When this is here, what was told before it is.
            let mark = ["open", &format!("mark {n}")];
            told.tell(&mark);
            while rig.origin.get(&path(&mark)).is_none() {
                tokio::task::yield_now().await;
            }
            told.withdraw(&mark);
            changes += 2 * AT_ONCE + 2;
        }
    };
    let left = async {
        tokio::select! {
            left = told.peer.link.connection.closed() => left,
            () = tells => unreachable!("it tells for ever"),
        }
    };
    let left = soon("it to be left", left).await;
    assert_eq!(left.code, Some(0), "in good order");
    assert!(changes + 2 * AT_ONCE + 2 >= UPLINK_CHANGES_BURST as usize, "{changes}");
    // It is tried again, later.
    let again = there.accept().await;
    again.tell(&["open", "one"]);
    until("it is here", || rig.origin.get(&path(&["open", "one"])).is_some()).await;
}

#[tokio::test]
async fn what_is_too_much_of_one_upstream_is_taken_when_others_go() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let told = there.accept().await;
    let name = |n: usize| format!("{n:05}");
    let here = |n: usize| rig.origin.get(&path(&["open", &name(n)])).is_some();
    let most = UPLINK_NAMESPACES_MAX;
    for n in 0..most + 3 {
        told.tell(&["open", &name(n)]);
    }
    // One that waits may go as well.
    told.withdraw(&["open", &name(most)]);
    let count = || there.status.carried.load(Ordering::Relaxed);
    let counted = || there.status.namespaces.load(Ordering::Relaxed);
    until("the first are here", || here(most - 1) && count() == most).await;
    until("all are counted", || counted() == most + 2).await;
    told.withdraw(&["open", &name(7)]);
    until("the next one is here", || here(most + 1)).await;
    assert!(!here(7) && !here(most) && !here(most + 2) && count() == most);
    told.withdraw(&["open", &name(8)]);
    until("the last one is here", || here(most + 2)).await;
    told.withdraw(&["open", &name(9)]);
    told.tell(&["open", "new"]);
    until("there is room", || rig.origin.get(&path(&["open", "new"])).is_some()).await;
    assert_eq!((count(), counted()), (most, most));
}

#[tokio::test]
async fn ranges_that_are_made_up_leave_a_link_to_others() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let mut told = there.accept().await;
    told.tell(&["open", "room"]);
    until("it is here", || rig.origin.get(&path(&["open", "room"])).is_some()).await;
    // Each lets us open a few streams at first.
    let mut viewers = Vec::new();
    for _ in 0..UPLINK_FETCHES_MAX / DATA_STREAMS_FIRST as usize * 2 {
        viewers.push(rig.client("/").await);
    }
    let of = |n: usize| &viewers[n % viewers.len()];
    let subscribe = |viewer: &Client, name: &str| {
        let track = track(&["open", "room"], name);
        viewer.link.request(Request::Subscribe { track, parameters: next_object() }).unwrap()
    };
    let (_, mut answer) = subscribe(&viewers[0], "video");
    let (id, _, _) = told.subscribe().await;
    let parameters =
        Parameters { largest: Some(Location::new(NEWEST, 0)), ..Parameters::default() };
    let answered = Answer::Ok { parameters, properties: Properties::default() };
    told.peer.command(Command::Answer { id, answer: answered });
    assert_eq!(code(&super::rig::answered(&mut answer).await), None);
    // Each another one.
    let fetch = |n: u64| {
        let track = track(&["open", "room"], "video");
        let range = Range { start: Location::new(2 * n, 0), end: Location::new(2 * n, 0) };
        let fetch = Fetch::Standalone { track, range };
        let request = Request::Fetch { fetch, parameters: Parameters::default() };
        of(n as usize).link.request(request).unwrap();
    };
    (0..200).for_each(fetch);
    let _last = subscribe(&viewers[0], "last");
    let (mut fetches, mut last) = (Vec::new(), false);
    while fetches.len() < UPLINK_FETCHES_MAX || !last {
        match told.peer.asked().await {
            // What was there before is asked for once.
            (_, Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. })
                if range.end.group == NEWEST => {}
            (id, Request::Fetch { .. }) => fetches.push(id),
            (_, Request::Subscribe { track, .. }) => last |= track.name() == "last".as_bytes(),
            _ => {}
        }
        assert!(fetches.len() <= UPLINK_FETCHES_MAX, "they are answered in turn");
    }
    // The next ones, when some of them are answered.
    for id in fetches.drain(..5) {
        let error = RequestError::new(RequestCode::DoesNotExist, "");
        told.peer.command(Command::Answer { id, answer: Answer::Error(error) });
    }
    for _ in 0..5 {
        while !matches!(told.peer.asked().await.1, Request::Fetch { .. }) {}
    }
}

/// What is gone at one upstream is gone at others in a moment: a viewer is not told that it is back.
#[tokio::test]
async fn what_ends_at_all_upstreams_is_not_there_again_for_a_moment() {
    let there = [Upstream::new(), Upstream::new()];
    let rig = edge(&[&there[0], &there[1]]).await;
    let (first, second) = (there[0].accept().await, there[1].accept().await);
    let mut announcements = rig.origin.announcements(path(&["open"]));
    let mut next = async || {
        let next = std::future::poll_fn(|cx| announcements.poll(cx));
        match soon("news", next).await {
            Announce::Live(broadcast) => (broadcast.path().clone(), true),
            Announce::Gone(path) => (path, false),
        }
    };
    let both = ["open", "both"];
    first.tell(&both);
    assert_eq!(next().await, (path(&both), true));
    second.tell(&both);
    let count = || there[1].status.namespaces.load(Ordering::Relaxed);
    until("both tell it", || count() == 1).await;
    first.withdraw(&both);
    assert_eq!(next().await, (path(&both), false));
    second.withdraw(&both);
    second.tell(&["open", "mark"]);
    assert_eq!(next().await, (path(&["open", "mark"]), true));
    // What stays at the other one is there again.
    first.tell(&both);
    assert_eq!(next().await, (path(&both), true));
    second.tell(&both);
    until("both tell it", || count() == 2).await;
    first.withdraw(&both);
    assert_eq!(next().await, (path(&both), false));
    assert_eq!(next().await, (path(&both), true));
}

#[tokio::test]
async fn names_that_are_no_text_are_names() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let mut told = there.accept().await;
    let odd: [&[&[u8]]; 3] =
        [&[b"open", b"\xff\xfe"], &[b"open", b"\xc3", b"%"], &[b"open", b"\0/"]];
    for fields in odd {
        let namespace = Namespace::new(fields.iter().map(|f| Bytes::copy_from_slice(f))).unwrap();
        let route = moqt::Route::new(vec![Node::new(THERE).unwrap()]).unwrap();
        told.peer.command(Command::Namespace { id: told.id, namespace, route });
    }
    let paths = odd.map(|fields| Path::new(fields.iter().map(|f| f.to_vec())).unwrap());
    let here = || paths.iter().all(|path| rig.origin.get(path).is_some());
    until("they are here", here).await;
    let viewer = rig.client("/").await;
    let fields = odd[0].iter().map(|f| Bytes::copy_from_slice(f));
    let name = Bytes::from_static(b"\xff\0");
    let track = moqt::TrackName::new(Namespace::new(fields).unwrap(), name.clone()).unwrap();
    let request = Request::Subscribe { track, parameters: next_object() };
    let _asked = viewer.link.request(request).unwrap();
    loop {
        if let (_, Request::Subscribe { track, .. }) = told.peer.asked().await {
            break assert_eq!(track.name(), &name);
        }
    }
    assert_eq!(there.status.connections.load(Ordering::Relaxed), 1);
    assert_eq!(rig.counters.panics.load(Ordering::Relaxed), 0);
    assert!(there.status.received_bytes() > 0);
}

#[tokio::test]
async fn who_stops_says_goodbye_to_upstreams() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let told = there.accept().await;
    told.tell(&["open", "one"]);
    until("it is here", || rig.origin.get(&path(&["open", "one"])).is_some()).await;
    let before = there.status.received_bytes();
    rig.stop();
    // Its last words have come before its end.
    let closed = told.peer.link.connection.closed();
    assert_eq!(soon("the goodbye", closed).await.code, Some(0));
    assert!(there.status.received_bytes() >= before);
    until("it is over", || !there.status.connected.load(Ordering::Relaxed)).await;
}

/// Who publishes below what an upstream has is not asked for at the upstream.
#[tokio::test]
async fn what_is_published_here_is_not_looked_for_at_an_upstream() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let mut told = there.accept().await;
    told.tell(&["open", "room"]);
    until("it is here", || rig.origin.get(&path(&["open", "room"])).is_some()).await;
    let mut publisher = rig.client("/").await;
    assert_eq!(code(&publisher.publish_namespace(&["open", "room", "one"]).await), None);
    let viewer = rig.client("/").await;
    let ask = |space: &str, name: &str| {
        let track = track(&["open", "room", space], name);
        viewer.link.request(Request::Subscribe { track, parameters: next_object() }).unwrap()
    };
    let (_, mut answer) = ask("one", "published");
    let (id, _) = publisher.asked().await;
    publisher.command(Command::Answer { id, answer: Answer::ok() });
    assert_eq!(code(&super::rig::answered(&mut answer).await), None);
    // What nobody here has is.
    let _two = ask("two", "elsewhere");
    assert_eq!(told.subscribe().await.1, "elsewhere");
}

#[tokio::test]
async fn a_node_is_not_given_what_came_over_it() {
    let rig = edge(&[]).await;
    let came = Route { origin: NodeId(THERE), hops: vec![NodeId(8)], epoch: 0 };
    let room = path(&["open", "room"]);
    let broadcast = rig.origin.publish(&room, came, Takeover::Refuse).unwrap();
    let chat = spine::TrackName::from_static("chat");
    let _track = broadcast.track(chat, TrackInfo::default()).unwrap();
    for (node, given) in [(None, true), (Some(THERE), false), (Some(8), false), (Some(9), true)] {
        let client = rig.node(node).await;
        let subscribed = client.subscribe(track(&["open", "room"], "chat"), next_object()).await;
        assert_eq!(code(&subscribed.answer).is_none(), given, "{node:?}");
    }
}

#[tokio::test]
async fn upstreams_leave_room_for_who_publishes_here() {
    let there = [Upstream::new(), Upstream::new()];
    let rig = edge(&[&there[0], &there[1]]).await;
    let mut told = Vec::new();
    let names: Vec<String> = (0..800).map(|n| n.to_string()).collect();
    let mut has = [Vec::new(), Vec::new()];
    for (n, upstream) in there.iter().enumerate() {
        let one = upstream.accept().await;
        for name in &names {
            one.tell(&["open", ["x", "y"][n], name]);
            has[n].push(path(&["open", ["x", "y"][n], name]));
        }
        told.push(one);
    }
    let carried = |n: usize| has[n].iter().filter(|path| rig.origin.get(path).is_some()).count();
    let all_told = || {
        let told = there.iter().map(|it| it.status.namespaces.load(Ordering::Relaxed));
        told.sum::<usize>() == 1_600
    };
    until("all are told", all_told).await;
    until("they are here", || carried(0) + carried(1) >= UPLINKS_CARRIED_MAX).await;
    let kept: Vec<_> = (0..1_000).map(|n| rig.broadcast(&["default", &n.to_string()])).collect();
    assert_eq!((kept.len(), carried(0) + carried(1)), (1_000, UPLINKS_CARRIED_MAX));
    // The rest, when others go.
    let first = told.remove(0);
    drop(first);
    until("the other's are here", || carried(1) == 800).await;
}

#[tokio::test]
async fn a_panic_ends_a_link_and_not_its_upstream() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let told = there.accept().await;
    told.tell(&["default", "panic"]);
    let again = there.accept().await;
    assert_eq!(rig.counters.panics.load(Ordering::Relaxed), 1);
    again.tell(&["open", "one"]);
    until("it is here", || rig.origin.get(&path(&["open", "one"])).is_some()).await;
    drop((told, again));
    let connected = || there.status.connected.load(Ordering::Relaxed);
    until("it is gone", || !connected()).await;
}

/// What a token does not open is not told, and that alone says nothing: it is asked for.
#[tokio::test]
async fn a_token_that_an_upstream_does_not_take_is_noticed() {
    use RequestCode::{DoesNotExist, ExpiredAuthToken, MalformedAuthToken, Unauthorized};
    for (answers, refused) in [
        (Some(Unauthorized), true),
        (Some(ExpiredAuthToken), true),
        (Some(MalformedAuthToken), true),
        (Some(DoesNotExist), false),
        (None, false),
    ] {
        let there = Upstream { opens: Some(namespace(&["default", "locked"])), ..Upstream::new() };
        let _rig = edge(&[&there]).await;
        let mut told = there.accept().await;
        // As it was said of the token before.
        there.status.token_refused.store(!refused, Ordering::Relaxed);
        let (id, request) = told.peer.asked().await;
        let Request::TrackStatus { track: asked, .. } = request else { panic!("{request:?}") };
        assert_eq!(asked, track(&["default", "locked"], "catalog"));
        let answer = answers.map_or_else(Answer::ok, |code| Answer::error(code, "no"));
        told.peer.command(Command::Answer { id, answer });
        let says = || there.status.token_refused.load(Ordering::Relaxed);
        until("it is noticed", || says() == refused).await;
        assert!(there.status.connected.load(Ordering::Relaxed), "it tells all else");
    }
}
