//! A link to another relay (decision 112): we connect to it, and what it tells of is here as if its publisher had come. Nothing of
//! it is pulled until somebody wants it ([`crate::open`]).
//!
//! A namespace has one upstream at a time. Over which nodes it came is known between nodes that both say who they are; what
//! has come over this one, or is published here, is not taken.

mod again;
mod all;
mod heard;
mod status;

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use moqt::session::Event;
use moqt::{Answer, Namespace, Parameters, Request, RequestCode, RequestId, TrackName};
use spine::{NodeId, Origin};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::client::{Client, Denial, Over, Pulling, Server};
use crate::clock;
use crate::limits::{
    SUBSCRIBE_ANSWER_MAX, UPLINK_HELD, UPLINK_MOVE_MAX, UPLINK_TOKEN_LOOK, UPLINKS_GOING_MAX,
};
use crate::link::{Link, Told};
use crate::session::Relay;
use crate::transport::{Known, Trust};
use again::{Again, Ended, Said};
use all::Stay;
pub(crate) use all::Uplinks;
use heard::{Going, Heard, Pace};
use status::ConnectedGuard;

pub(crate) use heard::route_on;
pub use status::UplinkStatus;
pub(crate) use status::{OneMore, Pull};

/// Another relay, that we pull from.
pub struct Uplink {
    /// Where, with what it wants to see.
    pub server: Server,
    /// Whom to take for it.
    pub trust: Trust,
    /// What is wanted of it.
    pub prefixes: Vec<Namespace>,
    /// What the token in its address is to open, if one says so: then it is asked whether it does.
    pub opens: Option<Namespace>,
    /// How it stands.
    pub status: Arc<UplinkStatus>,
}
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

/// Keeps the link for as long as it is to `stay`.
async fn run(
    uplink: Arc<Uplink>,
    relay: Arc<Relay>,
    places: Arc<Semaphore>,
    mut stay: watch::Receiver<Stay>,
) {
    let name = uplink.server.authority();
    // Of another token, perhaps.
    uplink.status.token_refused.store(false, Ordering::Relaxed);
    // Of what tells nothing of itself it is known that it is another one.
    let stranger = NodeId(random() >> 11 | 1);
    let (mut server, mut again) = (uplink.server.clone(), Again::new());
    let mut said = Said::default();
    // Those that have asked us to leave, or are lost: what they bring, or have brought, is kept until it comes from elsewhere.
    let mut going = VecDeque::new();
    // What resumes a session there; tried where one was good a moment ago.
    let (mut known, mut early) = (Arc::<Known>::default(), false);
    loop {
        // A task of its own: what panics in it ends that connection alone.
        let mut link = JoinSet::new();
        let there = There {
            uplink: uplink.clone(),
            relay: relay.clone(),
            places: places.clone(),
            known: known.clone(),
            // Its path may hold a token, which is not said early: that has no forward secrecy (RFC 9001 §9.1).
            early: early && matches!(&*server.path, "" | "/"),
        };
        let (tell, mut told) = mpsc::unbounded_channel();
        link.spawn(there.once(server.clone(), stranger, tell, stay.clone()));
        let ended = tokio::select! {
            // Why it leaves comes before that it has.
            biased;
            Some(asked) = told.recv() => Some(Ok(asked)),
            ended = link.join_next() => ended,
        };
        let (ended, stood) = match ended {
            Some(Ok(ended)) => ended,
            _ => {
                relay.counters.panics.fetch_add(1, Ordering::Relaxed);
                (Ended::Panicked, None)
            }
        };
        if matches!(ended, Ended::Left) {
            break;
        }
        early = stood.is_some();
        if matches!(ended, Ended::TooEarly) {
            continue;
        }
        let next = ended.next(&uplink.server);
        if next != server {
            (server, known) = (next, Arc::default());
        }
        let (words, advice) = ended.words();
        if matches!(ended, Ended::Over(Over::GoAway { .. })) {
            tracing::info!(upstream = name, "moq: an upstream goes away");
        } else if said.is_new(&words, stood.is_some()) {
            tracing::warn!(upstream = name, reason = words, advice, "moq: no upstream");
        }
        // One that told nothing before brings nothing: it has no place among those that do.
        going.retain_mut(brings);
        if brings(&mut link) {
            going.truncate(UPLINKS_GOING_MAX - 1);
            going.push_front(link);
        }
        let wait = again.after(&ended, stood, clock::now(), random());
        tokio::select! {
            () = sleep(wait) => {}
            () = stays_until(&mut stay, |stay| stay != Stay::Here) => break,
        }
    }
    for mut link in going {
        while link.join_next().await.is_some() {}
    }
}

/// Whether this connection is there still, or what it has brought.
fn brings(link: &mut JoinSet<(Ended, Option<Duration>)>) -> bool {
    while link.try_join_next().is_some() {}
    !link.is_empty()
}

/// Says that an upstream asks us to leave, or is lost, and for how long it has told what it has.
type Tell = mpsc::UnboundedSender<(Ended, Option<Duration>)>;

/// Where an upstream is, and what is done with what it tells.
struct There {
    uplink: Arc<Uplink>,
    relay: Arc<Relay>,
    places: Arc<Semaphore>,
    known: Arc<Known>,
    early: bool,
}

impl There {
    /// Connects, and takes what is told until that is over; for how long it told what it has, if it did.
    async fn once(
        self,
        server: Server,
        stranger: NodeId,
        tell: Tell,
        mut stay: watch::Receiver<Stay>,
    ) -> (Ended, Option<Duration>) {
        let Self { uplink, relay, places, known, early } = &self;
        // It may ask us for nothing.
        let nothing = Origin::new(spine::Limits { broadcasts: 0, ..spine::Limits::default() });
        let (logs, known) = (relay.logs.clone(), known.clone());
        let as_node = Some(Pulling { node: relay.node, logs, known, early: *early });
        let connecting = Client::connect_as(&server, uplink.trust.clone(), nothing, as_node);
        let connected = tokio::select! {
            connected = connecting => connected,
            () = stays_until(&mut stay, |stay| stay != Stay::Here) => return (Ended::Left, None),
        };
        let mut client = match connected {
            Ok(client) => client,
            Err(error) => return (Ended::Failed(error), None),
        };
        let link = client.handle().link;
        let connected = ConnectedGuard::new(&uplink.status, &link);
        let (carries, mut carried) = mpsc::channel(1);
        link.connection.is_upstream();
        let mut asked = Vec::new();
        for prefix in &uplink.prefixes {
            let parameters = Parameters::default();
            let request =
                Request::SubscribeNamespace { prefix: prefix.clone(), tracks: false, parameters };
            match link.request(request) {
                Ok(request) => asked.push(request),
                Err(_) => return (Ended::Refused(Denial::Misuse), None),
            }
        }
        let mut told = Heard {
            uplink,
            relay,
            link,
            stranger,
            pull: Pull::new(uplink.status.clone()),
            connected,
            going: watch::Sender::default(),
            carries: Some(carries),
            places: places.clone(),
            pace: Pace::new(clock::now()),
            since: None,
            here: BTreeMap::new(),
            beyond: BTreeMap::new(),
            full: Arc::default(),
        };
        if let Some(opens) = uplink.opens.clone() {
            let look = look_at_token(uplink.clone(), told.link.clone(), opens);
            let mut going = told.going.subscribe();
            told.link.run(async move {
                tokio::select! {
                    () = look => {}
                    // What it says of its token is no word about the next one.
                    _ = heard::further(&mut going, Going::No) => {}
                }
            });
        }
        let mut answer = std::pin::pin!(sleep(SUBSCRIBE_ANSWER_MAX));
        let connection = told.link.connection.clone();
        let mut too_early = std::pin::pin!(async {
            if !connection.was_too_early().await {
                std::future::pending::<()>().await;
            }
        });
        let ended = {
            let (goes, mut away) = mpsc::unbounded_channel();
            let mut replaced = stay.clone();
            let mut run = std::pin::pin!(async {
                loop {
                    match client.run().await {
                        over @ Over::GoAway { .. } => drop(goes.send((over, Going::Asked))),
                        Over::Ended(lost) if client.was_lost(&lost) => {
                            drop(goes.send((Over::Ended(lost), Going::Lost)));
                            match client.run_on().await {}
                        }
                        over @ Over::Ended(_) => return over,
                    }
                }
            });
            // When it has asked us to leave, or is lost: until then at most.
            let mut until: Option<Instant> = None;
            let mut last = false;
            let sooner = |until: Option<Instant>, most: Duration| {
                let at = Instant::now() + most;
                Some(until.map_or(at, |until| until.min(at)))
            };
            loop {
                let left = async {
                    match until {
                        Some(until) => sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                };
                let replaced = stays_until(&mut replaced, |stay| stay == Stay::Replaced);
                tokio::select! {
                    // Nothing more is read while news wait: they are memory of ours.
                    biased;
                    news = poll_fn(|cx| next(&mut asked, cx)) => match told.news(news) {
                        Ok(()) => {}
                        // What it brings still comes.
                        Err(_) if until.is_some() => asked.clear(),
                        Err(ended) => break ended,
                    },
                    () = &mut too_early => break Ended::TooEarly,
                    () = &mut answer, if told.since.is_none() => break Ended::Silent,
                    () = stays_until(&mut stay, |stay| stay == Stay::Gone) => break Ended::Left,
                    () = replaced, if until.is_none() => {
                        if told.since.is_none() {
                            break Ended::Left;
                        }
                        told.leave(Going::Asked);
                        until = sooner(until, UPLINK_MOVE_MAX);
                    }
                    Some((over, going)) = away.recv() => {
                        let Some(since) = told.since else { break Ended::Over(over) };
                        told.leave(going);
                        if until.is_none() {
                            let stood = clock::now().duration_since(since);
                            let _ = tell.send((Ended::Over(over), Some(stood)));
                        }
                        let most = if going == Going::Lost { UPLINK_HELD } else { UPLINK_MOVE_MAX };
                        until = sooner(until, most);
                    }
                    // All of it comes from elsewhere.
                    _ = carried.recv(), if until.is_some() => break Ended::Left,
                    () = left => {
                        if std::mem::replace(&mut last, true) {
                            break Ended::Left;
                        }
                        // What another one has taken over a moment ago is asked for there: it has as long again to come.
                        told.leave(Going::Over);
                        until = Some(Instant::now() + UPLINK_HELD);
                    }
                    over = &mut run => break Ended::Over(over),
                }
            }
        };
        let stood = told.since.map(|since| clock::now().duration_since(since));
        drop(told);
        if matches!(ended, Ended::Left) {
            client.leave().await;
        }
        (ended, stood)
    }
}

/// Until this is so; also when nobody is left who could say that it stays.
async fn stays_until(stay: &mut watch::Receiver<Stay>, is: impl Fn(Stay) -> bool) {
    let _ = stay.wait_for(|stay| is(*stay)).await;
}

/// What is said about one of these requests; nothing more, if it is over.
fn next(
    asked: &mut [(RequestId, mpsc::UnboundedReceiver<Told>)],
    cx: &mut std::task::Context<'_>,
) -> Poll<Option<Event>> {
    for (_, told) in asked {
        while let Poll::Ready(news) = told.poll_recv(cx) {
            match news {
                Some(Told::Event(event)) => return Poll::Ready(Some(event)),
                Some(_) => {}
                None => return Poll::Ready(None),
            }
        }
    }
    Poll::Pending
}

/// Asks again and again whether the token in the address is taken: what it does not open is not told, and nothing says why.
async fn look_at_token(uplink: Arc<Uplink>, link: Arc<Link>, opens: Namespace) {
    let Ok(track) = TrackName::new(opens, Bytes::from_static(b"catalog")) else { return };
    loop {
        let parameters = Parameters::default();
        let request = Request::TrackStatus { track: track.clone(), parameters };
        let Ok((_, mut told)) = link.request(request) else { return };
        let answer = timeout(SUBSCRIBE_ANSWER_MAX, async {
            loop {
                match told.recv().await? {
                    Told::Event(Event::Answered { answer, .. }) => return Some(answer),
                    Told::Event(Event::Cancelled { .. }) => return None,
                    _ => {}
                }
            }
        });
        let refused = &uplink.status.token_refused;
        match answer.await {
            Ok(Some(Answer::Error(error))) if is_about_token(error.code) => {
                let was = refused.swap(true, Ordering::Relaxed);
                if !was {
                    let upstream = uplink.server.authority();
                    let (code, reason) = (error.code, error.reason.escape_debug());
                    let advice = "is the token in moq.upstreams good, and not over?";
                    tracing::warn!(upstream, ?code, %reason, advice, "moq: an upstream does not take its token");
                }
            }
            // It is not on the air, or it is.
            Ok(Some(Answer::Ok { .. })) => refused.store(false, Ordering::Relaxed),
            Ok(Some(Answer::Error(error))) if error.code == RequestCode::DoesNotExist => {
                refused.store(false, Ordering::Relaxed);
            }
            // Nothing was said of it.
            _ => {}
        }
        sleep(UPLINK_TOKEN_LOOK).await;
    }
}

fn is_about_token(code: RequestCode) -> bool {
    use RequestCode::{ExpiredAuthToken, MalformedAuthToken, Unauthorized};
    matches!(code, Unauthorized | ExpiredAuthToken | MalformedAuthToken)
}
