//! What an upstream can do to a node that pulls from it, and what strangers at that node can do to the link (decision 112).

use std::sync::Arc;
use std::time::Duration;

use moqt::session::{Command, Config};
use moqt::{Answer, Filter, Namespace, Node, Parameters, Request, RequestId, Session, Version};
use spine::{NodeId, Path, Route, Takeover, TrackInfo};
use tokio::sync::Semaphore;

use super::duties::code;
use super::rig::{Client, Rig, Set, certificate, namespace, next_object, soon, track, until};
use crate::client::Server;
use crate::clock;
use crate::limits::{
    SUBSCRIBE_ANSWER_MAX, UPLINK_ASKS_MAX, UPLINK_CHANGES_BURST, UPLINK_PAUSED_MAX,
    UPLINKS_CARRIED_MAX,
};
use crate::listen::protocols;
use crate::publish::ask_over;
use crate::transport::{Congestion, Endpoint, Network, Trust};
use crate::uplink::{Pull, Uplink, UplinkStatus};

const HERE: u64 = 5;
const THERE: u64 = 7;

/// A server that does whatever a test wants.
struct Upstream {
    endpoint: Endpoint,
    hash: [u8; 32],
    status: Arc<UplinkStatus>,
}

impl Upstream {
    fn new() -> Self {
        let (certificate, hash) = certificate(0);
        let endpoint = Endpoint::server(([127, 0, 0, 1], 0).into(), certificate, &protocols());
        Self { endpoint: endpoint.unwrap(), hash, status: Arc::default() }
    }

    fn uplink(&self) -> Uplink {
        let (host, port) = ("127.0.0.1".to_owned(), self.endpoint.local_address().unwrap().port());
        Uplink {
            server: Server { host, port, path: "/".to_owned(), draft: None },
            trust: Trust::Fingerprint(self.hash),
            prefixes: vec![Namespace::root()],
            status: self.status.clone(),
        }
    }

    /// Who comes, and what he wants to be told of.
    async fn accept(&self) -> Told {
        let incoming = soon("somebody", self.endpoint.accept()).await.unwrap();
        let connection = incoming.accept().await.unwrap();
        let version = connection.protocol().and_then(|alpn| Version::from_alpn(&alpn)).unwrap();
        let config = Config { node: Node::new(THERE), ..Config::new(version) };
        let session = Session::server(clock::now(), config);
        let mut peer = Client::drive(self.endpoint.clone(), connection, session);
        let (id, request) = peer.asked().await;
        assert!(matches!(request, Request::SubscribeNamespace { .. }), "{request:?}");
        peer.command(Command::Answer { id, answer: Answer::ok() });
        Told { peer, id }
    }
}

/// Who is told of namespaces.
struct Told {
    peer: Client,
    id: RequestId,
}

impl Told {
    fn tell(&self, fields: &[&str]) {
        let route = moqt::Route::new(vec![Node::new(THERE).unwrap()]).unwrap();
        let namespace = namespace(fields);
        self.peer.command(Command::Namespace { id: self.id, namespace, route });
    }

    fn withdraw(&self, fields: &[&str]) {
        self.peer.command(Command::NamespaceDone { id: self.id, namespace: namespace(fields) });
    }

    /// The next track that it is asked for.
    async fn subscribe(&mut self) -> (RequestId, String, Parameters) {
        loop {
            if let (id, Request::Subscribe { track, parameters }) = self.peer.asked().await {
                let name = String::from_utf8(track.name().to_vec()).unwrap();
                return (id, name, parameters);
            }
        }
    }
}

fn path(fields: &[&str]) -> Path {
    Path::new(fields.iter().map(ToString::to_string)).unwrap()
}

async fn edge(upstreams: &[&Upstream]) -> Rig {
    let uplinks = upstreams.iter().map(|upstream| upstream.uplink()).collect();
    Rig::configured(Set { node: Node::new(HERE), uplinks, ..Set::default() })
}

#[tokio::test]
async fn names_that_are_made_up_leave_a_link_to_others() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let mut told = there.accept().await;
    let spaces = ["a", "b", "c"];
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
    let asked: Vec<RequestId> = (0..UPLINK_ASKS_MAX + 36).map(made_up).collect();
    for _ in 0..UPLINK_ASKS_MAX {
        let (_, _, parameters) = told.subscribe().await;
        assert_eq!(parameters.rendezvous_timeout_ms, None, "it waits for nothing there");
    }
    for id in asked {
        viewer.command(Command::Cancel { id, code: moqt::ResetCode::Cancelled });
    }
    ask("c", "last");
    // Before it is given up that they are answered.
    let last = async {
        while told.subscribe().await.1 != "last" {
            let open = there.status.subscriptions.load(std::sync::atomic::Ordering::Relaxed);
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
    let pull = Pull { status: Arc::default(), asks: Semaphore::new(1).into() };
    let how = (Filter::NextObject, None);
    let granted = ask_over(&node.link, track(&["open", "room"], "chat"), how, Some(&pull)).await;
    let local = spine::Origin::new(spine::Limits::default());
    let route = Route::local(NodeId(0), 0);
    let kept = local.publish(&path(&["here"]), route, Takeover::Refuse).unwrap();
    let here = kept.consume().derive(name, TrackInfo::default()).unwrap();
    let reader = here.consume();
    let taking = tokio::spawn(granted.ok().unwrap().take(here, true, Some(pull.clone())));
    let counted = || pull.status.subscriptions.load(std::sync::atomic::Ordering::Relaxed);
    let open = || rig.counters.subscriptions_open.load(std::sync::atomic::Ordering::Relaxed);
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

#[tokio::test]
#[ignore = "waits for ever on a busy machine now and then"]
async fn who_tells_of_too_many_changes_is_left() {
    let there = Upstream::new();
    let _rig = edge(&[&there]).await;
    let mut told = there.accept().await;
    for n in 0..UPLINK_CHANGES_BURST * 2 {
        told.tell(&["open", "one"]);
        told.withdraw(&["open", "one"]);
        if n % 500 == 0 {
            // A round trip: what was told is read.
            let request = Request::Subscribe {
                track: track(&["open", "none"], "none"),
                parameters: next_object(),
            };
            let Ok((_, mut answer)) = told.peer.link.request(request) else { break };
            let over = async { while answer.recv().await.is_some() {} };
            let end = told.peer.link.connection.closed();
            let _ = tokio::time::timeout(Duration::from_millis(200), over).await;
            if tokio::time::timeout(Duration::ZERO, end).await.is_ok() {
                break;
            }
        }
    }
    assert!(told.peer.link.connection.closed().await.code == Some(0), "it was left in good order");
    // It is tried again, later.
    told = there.accept().await;
    told.tell(&["open", "one"]);
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
        let told =
            there.iter().map(|it| it.status.namespaces.load(std::sync::atomic::Ordering::Relaxed));
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
    assert_eq!(rig.counters.panics.load(std::sync::atomic::Ordering::Relaxed), 1);
    again.tell(&["open", "one"]);
    until("it is here", || rig.origin.get(&path(&["open", "one"])).is_some()).await;
    drop((told, again));
    let connected = || there.status.connected.load(std::sync::atomic::Ordering::Relaxed);
    until("it is gone", || !connected()).await;
}
