//! Tracks that are followed over MoQ, from one server on the loopback to the next.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_moq::client::{Client, Handle, Server, Trust};
use io_moq::limits::{CONNECTIONS_MAX, HALF_OPEN_UNPROVED_MAX};
use io_moq::listen::{self, Counters, Judge, Pass, Service, protocols};
use io_moq::transport::{Certificate, Endpoint};
use media::admission::Refused;
use moqt::{Location, Namespace};
use proxy::share::Shares;
use spine::group::SubgroupProducer;
use spine::{
    Header, NodeId, Origin, Path, ResetCode, Route, Takeover, TrackInfo, TrackName, track,
};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::moved::{Broadcast, Came, Following, Place, Reads};
use super::*;

const PATH: [&str; 2] = ["default", "one"];
const TRACK: &str = "video.cmaf";

/// Long enough for a busy machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("waited for {what}"))
}

/// A server with one track.
struct Rig {
    at: Server,
    counters: Arc<Counters>,
    origin: Origin,
    track: track::Producer,
    _broadcast: spine::broadcast::Producer,
    _stop: watch::Sender<()>,
}

impl Rig {
    fn new() -> Self {
        let pair = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let chain = vec![params.self_signed(&pair).unwrap().der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pair.serialize_der()));
        let any = ([127, 0, 0, 1], 0).into();
        let endpoint = Endpoint::server(any, Certificate { chain, key }, &protocols()).unwrap();
        let port = endpoint.local_address().unwrap().port();
        let origin = Origin::new(spine::Limits::default());
        let counters = Arc::<Counters>::default();
        let service = Service {
            origin: origin.clone(),
            door: Arc::new(|_| Box::pin(async { Err(Refused::NoKey) })),
            judge: Judge {
                gate: Arc::new(|_| Box::pin(async { Ok(Pass::default()) })),
                changes: None,
            },
            audience: Arc::new(|_| Box::new(())),
            past: Arc::new(|_| Box::pin(async { None })),
            guests: Arc::new(|_, _| None),
            open_namespaces: Vec::new(),
            connections: Shares::configured(CONNECTIONS_MAX, 0),
            proxies: Arc::default(),
            half_open_unproved: HALF_OPEN_UNPROVED_MAX,
            elsewhere: Default::default(),
            logs: None,
            node: None,
            uplinks: watch::channel(Vec::new()).1,
            counters: counters.clone(),
        };
        let (stop, mut stopped) = watch::channel(());
        let until = async move { while stopped.changed().await.is_ok() {} };
        tokio::spawn(listen::run(endpoint, service, until));
        let route = Route::local(NodeId(0), 0);
        let broadcast = origin.publish(&Path::new(PATH).unwrap(), route, Takeover::Refuse).unwrap();
        let track = broadcast.track(TrackName::from_static(TRACK), TrackInfo::default()).unwrap();
        let at = Server { host: "127.0.0.1".to_owned(), port, path: String::new(), draft: None };
        Self { at, counters, origin, track, _broadcast: broadcast, _stop: stop }
    }

    async fn session(&self) -> Session {
        let origin = Origin::new(spine::Limits::default());
        let mut client = Client::connect(&self.at, Trust::Anybody, origin).await.unwrap();
        let handle = client.handle();
        let task = tokio::spawn(async move { drop(client.run_out().await) });
        Session { handle, task }
    }

    fn subgroup(&self, group: u64, id: u64) -> SubgroupProducer {
        self.track.group(group, Instant::now()).unwrap().subgroup(id, Instant::now()).unwrap()
    }

    fn object(&self, to: &SubgroupProducer, id: u64) {
        let payload = self.origin.budget().payload(Bytes::from_static(b"x"));
        to.write(Header::new(id, Instant::now()), vec![payload]).unwrap();
    }

    /// A whole group of so many objects.
    fn group(&self, group: u64, objects: u64) {
        let subgroup = self.subgroup(group, 0);
        (0..objects).for_each(|id| self.object(&subgroup, id));
        subgroup.fin();
    }

    /// Objects of a group in two subgroups, which stay open: the even ones, and the odd ones.
    fn layers(&self, group: u64, ids: &[u64]) -> [SubgroupProducer; 2] {
        let layers = [0, 1].map(|id| self.subgroup(group, id));
        ids.iter().for_each(|id| self.object(&layers[usize::from(id % 2 == 1)], *id));
        layers
    }

    /// Whether its track is subscribed to.
    async fn subscribed(&self) {
        while self.counters.subscriptions_open.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// A connection, until it is ended.
struct Session {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Session {
    async fn end(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

/// What is followed, and who says where.
struct Followed {
    following: Following,
    tell: watch::Sender<Place>,
}

impl Followed {
    async fn begin(session: &Session) -> Self {
        let (tell, places) = watch::channel(Place::At(0, session.handle.clone()));
        let namespace = Namespace::new(PATH.map(|field| Bytes::from_static(field.as_bytes())));
        let broadcast = Broadcast { places, namespace: namespace.unwrap() };
        let begun = Following::begin(broadcast, TRACK, Reads::Onward).await;
        let following = begun.unwrap_or_else(|denial| panic!("{denial}"));
        Self { following, tell }
    }

    /// Tells it that the session goes on there.
    fn mover(&self, session: &Session) -> impl FnOnce() + use<> {
        let (tell, at) = (self.tell.clone(), Place::At(1, session.handle.clone()));
        move || drop(tell.send_replace(at))
    }

    /// What comes next, in words.
    async fn next(&mut self) -> String {
        match soon("what comes next", self.following.next()).await.unwrap() {
            Some(Came::Object(object)) => format!("{}.{}", object.group, object.id),
            Some(Came::Anew) => "anew".to_owned(),
            Some(_) => "missing".to_owned(),
            None => "over".to_owned(),
        }
    }

    /// So many that come, in the order of their numbers: those of subgroups may overtake each other.
    async fn some(&mut self, count: usize) -> String {
        let mut came = Vec::new();
        while came.len() < count {
            came.push(self.next().await);
        }
        came.sort();
        came.join(" ")
    }
}

/// In whatever way it comes to another session: there may be something already, or nothing before the first one has ended; and where
/// it goes on may be known by then, or not.
#[tokio::test]
async fn a_session_whose_publisher_counts_anew_is_followed_from_its_first_object() {
    for (there, known) in [(true, true), (false, true), (false, false)] {
        let (one, two) = (Rig::new(), Rig::new());
        let (first, second) = (one.session().await, two.session().await);
        one.group(5_000, 1);
        let mut followed = Followed::begin(&first).await;
        assert_eq!(followed.next().await, "5000.0");
        let moves = followed.mover(&second);
        let meanwhile = async {
            if there {
                two.group(0, 1);
                moves();
            } else if known {
                moves();
                two.subscribed().await;
                first.end().await;
                two.group(0, 1);
            } else {
                first.end().await;
                moves();
                two.subscribed().await;
                two.group(0, 1);
            }
        };
        let (next, ()) = tokio::join!(followed.next(), meanwhile);
        assert_eq!(next, "anew", "{there} {known}");
        assert_eq!(followed.next().await, "0.0", "{there} {known}");
        two.group(1, 1);
        assert_eq!(followed.next().await, "1.0", "{there} {known}");
    }
}

/// Also where the session goes on where another one was.
#[tokio::test]
async fn who_counts_anew_in_the_same_session_is_followed_from_the_second_group_on() {
    for moved in [false, true] {
        let (one, two) = (Rig::new(), Rig::new());
        let (first, second) = (one.session().await, two.session().await);
        let mut followed = Followed::begin(&first).await;
        one.group(5_000, 1);
        assert_eq!(followed.next().await, "5000.0");
        let rig = if moved { &two } else { &one };
        if moved {
            let moves = followed.mover(&second);
            let meanwhile = async {
                moves();
                two.subscribed().await;
                first.end().await;
                two.group(5_001, 1);
            };
            let (next, ()) = tokio::join!(followed.next(), meanwhile);
            assert_eq!(next, "5001.0");
        }
        for group in 0..3 {
            rig.group(group, 2);
        }
        for expect in ["anew", "1.0", "1.1", "2.0", "2.1"] {
            assert_eq!(followed.next().await, expect, "{moved}");
        }
    }
}

/// draft-18 §2.2: the ids of two subgroups interleave.
#[tokio::test]
async fn subgroups_of_a_group_come_whole_and_once_from_session_to_session() {
    let (one, two) = (Rig::new(), Rig::new());
    let (first, second) = (one.session().await, two.session().await);
    let mut followed = Followed::begin(&first).await;
    one.layers(7, &[0, 1, 2, 3, 4, 5]).into_iter().for_each(SubgroupProducer::fin);
    assert_eq!(followed.some(6).await, "7.0 7.1 7.2 7.3 7.4 7.5");
    // Of the next group some, and the rest elsewhere.
    let _open = one.layers(8, &[0, 1, 2, 4]);
    assert_eq!(followed.some(4).await, "8.0 8.1 8.2 8.4");
    two.layers(8, &[0, 1, 2, 3, 4, 5, 6, 7]).into_iter().for_each(SubgroupProducer::fin);
    followed.mover(&second)();
    assert_eq!(followed.some(4).await, "8.3 8.5 8.6 8.7");
    two.group(9, 1);
    assert_eq!(followed.next().await, "9.0");
}

/// How much is missing of a group that is cut, nobody can say.
#[tokio::test]
async fn a_group_that_is_cut_is_a_hole_and_not_something_that_was_lost() {
    let one = Rig::new();
    let session = one.session().await;
    let mut followed = Followed::begin(&session).await;
    let cut = one.subgroup(7, 0);
    one.object(&cut, 0);
    assert_eq!(followed.next().await, "7.0");
    cut.reset(ResetCode::CANCELLED);
    let came = soon("the cut", followed.following.next()).await.unwrap();
    assert!(matches!(came, Some(Came::Hole)));

    let (_sender, events) = mpsc::channel(1);
    let mut watch = Watch {
        tracks: Vec::new(),
        events,
        _tasks: JoinSet::new(),
        leave: None,
        measured: vec![Measured::default()],
        running: 1,
        recorder: None,
        begun: Instant::now(),
    };
    watch.take(Event { track: 0, what: What::Hole }).unwrap();
    let report = watch.report();
    assert_eq!((report.holes(), report.lost()), (1, 0));
}

/// What was fetched in another session is behind what comes in this one, if the numbers are the same.
#[tokio::test]
async fn what_is_live_goes_on_behind_the_past_of_another_session() {
    for (session, last, expect) in [
        (0, Location::new(7, 1), "7.2"),
        (5, Location::new(7, 1), "7.2"),
        (0, Location::new(7, 0), "7.1"),
        (5, Location::new(5_000, 0), "anew"),
    ] {
        let one = Rig::new();
        one.group(7, 3);
        let first = one.session().await;
        let mut followed = Followed::begin(&first).await;
        followed.following.go_on_behind(last, session);
        assert_eq!(followed.next().await, expect, "{session} {last:?}");
    }
}
