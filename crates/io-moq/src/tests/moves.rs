//! An upstream goes away (GOAWAY, draft-18 §10.4) while it brings something (decision 148): viewers lose nothing, and see no end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt;
use moqt::data::{FetchObject, FetchWriter, ObjectHead, Status, SubgroupHeader, SubgroupId};
use moqt::data::{SubgroupWriter, Via};
use moqt::session::{Command, Event};
use moqt::{
    Answer, Fetch, FetchOk, GroupOrder, Location, Parameters, Properties, Range, Request, RequestId,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::duties::{code, text};
use super::relay::{room, send};
use super::rig::{Client, Rig, Subscribed, answered, next_object, soon, until};
use super::uplinks::{Told, Upstream, edge, path};
use crate::limits::{
    DATA_STREAMS_FIRST, PUBLISHED_TRACKS_MAX, UPLINK_ASKS_EACH, UPLINK_FETCHES_MAX,
    UPLINKS_GOING_MAX,
};
use crate::link::Told as Heard;
use crate::transport::SendStream;

/// A subgroup that is under way.
pub(super) struct Stream {
    writer: SubgroupWriter,
    stream: SendStream,
    request: RequestId,
}

pub(super) async fn begin(
    there: &Client,
    request: RequestId,
    group: u64,
    first_object: bool,
) -> Stream {
    let alias = there.link.with(|session| session.open_data(request)).unwrap();
    let header = SubgroupHeader {
        alias,
        group,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: false,
        end_of_group: true,
        first_object,
    };
    let mut bytes = BytesMut::new();
    header.encode(there.link.version, &mut bytes).unwrap();
    let writer = SubgroupWriter::new(there.link.version, &header);
    let mut stream = there.link.connection.open_uni().await.unwrap();
    stream.write(&mut [bytes.freeze()]).await.unwrap();
    Stream { writer, stream, request }
}

impl Stream {
    pub(super) async fn object(&mut self, id: u64, payload: &'static str) {
        let head = ObjectHead {
            id,
            properties: Properties::empty(),
            status: Status::Normal,
            payload_length: payload.len() as u64,
        };
        let mut bytes = BytesMut::new();
        self.writer.object(&head, &mut bytes).unwrap();
        bytes.extend_from_slice(payload.as_bytes());
        self.stream.write(&mut [bytes.freeze()]).await.unwrap();
    }

    pub(super) fn end(mut self, there: &Client) {
        self.stream.finish();
        there.command(Command::DataClosed { id: self.request });
    }
}

/// Answers a SUBSCRIBE: this is the largest object there.
pub(super) async fn give(told: &mut Told, largest: Option<(u64, u64)>) -> RequestId {
    let (id, _, _) = told.subscribe().await;
    let largest = largest.map(|(group, object)| Location::new(group, object));
    let parameters = Parameters { largest, ..Parameters::default() };
    let answer = Answer::Ok { parameters, properties: Properties::empty() };
    told.peer.command(Command::Answer { id, answer });
    id
}

/// Answers the next FETCH with these objects of its first group.
pub(super) async fn give_past(told: &mut Told, payloads: &[&'static str]) {
    let (id, range) = loop {
        if let (id, Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. }) =
            told.peer.asked().await
        {
            break (id, range);
        }
    };
    answer_past(told, (id, range), payloads).await;
}

/// Answers this FETCH so.
pub(super) async fn answer_past(
    told: &Told,
    (id, range): (RequestId, Range),
    payloads: &[&'static str],
) {
    let (properties, parameters) = (Properties::empty(), Parameters::default());
    let ok = FetchOk { end_of_track: false, end: range.end, parameters, properties };
    told.peer.command(Command::Answer { id, answer: Answer::FetchOk(ok) });
    told.peer.link.with(|session| session.open_data(id)).unwrap();
    let mut bytes = BytesMut::new();
    let version = told.peer.link.version;
    let mut writer = FetchWriter::new(version, id, GroupOrder::Ascending, &mut bytes);
    for (n, payload) in payloads.iter().enumerate() {
        let object = FetchObject {
            location: Location::new(range.start.group, n as u64),
            via: Via::Subgroup(0),
            priority: 128,
            properties: Properties::empty(),
            payload_length: payload.len() as u64,
        };
        writer.object(&object, &mut bytes).unwrap();
        bytes.extend_from_slice(payload.as_bytes());
    }
    let mut stream = told.peer.link.connection.open_uni().await.unwrap();
    stream.write(&mut [bytes.freeze()]).await.unwrap();
    stream.finish();
    told.peer.command(Command::DataClosed { id });
}

pub(super) fn go_away(told: &Told, uri: String) {
    let timeout = Duration::from_secs(20);
    told.peer.command(Command::GoAway { request: None, uri, timeout });
}

/// Somebody who watches what an upstream has, and hears of what there is.
pub(super) struct Viewer {
    pub(super) seen: Subscribed,
    pub(super) namespaces: UnboundedReceiver<Heard>,
    _client: Client,
}

impl Viewer {
    /// Watches the room of this upstream, which is asked for it.
    pub(super) async fn of(rig: &Rig, told: &mut Told) -> (Self, RequestId) {
        told.tell(&["open", "room"]);
        until("it is here", || rig.origin.get(&path(&["open", "room"])).is_some()).await;
        let client = rig.client("/").await;
        let (prefix, parameters) = (super::rig::namespace(&["open"]), Parameters::default());
        let asks = Request::SubscribeNamespace { prefix, tracks: false, parameters };
        let (_, answer, mut namespaces) = client.ask(asks).await;
        assert_eq!(code(&answer), None);
        let first = soon("the namespace", namespaces.recv()).await;
        assert!(matches!(first, Some(Heard::Event(Event::Namespace { .. }))));
        let request = Request::Subscribe { track: room(), parameters: next_object() };
        let (id, mut answers) = client.link.request(request).unwrap();
        let asked = give(told, None).await;
        let answer = answered(&mut answers).await;
        let seen = client.follow(id, answer, answers);
        (Self { seen, namespaces, _client: client }, asked)
    }

    pub(super) async fn sees(&mut self, objects: &[(u64, u64, &str)]) {
        for object in objects {
            assert_eq!(text(&self.seen.next().await), *object);
        }
    }

    /// Nothing has come to an end for him, and nothing came twice.
    pub(super) fn check(&mut self) {
        assert!(!self.seen.taken.is_finished(), "his subscription has ended");
        assert!(self.seen.objects.try_recv().is_err(), "something came twice");
        assert!(self.namespaces.try_recv().is_err(), "he was told that it is gone");
    }
}

/// All of it comes from where the upstream has sent us, or it comes back to the same one; the old connection is left by itself.
#[tokio::test]
async fn draft18_s10_4_d18_viewers_do_not_notice_that_an_upstream_goes_away() {
    for same in [false, true] {
        let first = Upstream::new();
        let other = first.beside();
        let rig = edge(&[&first]).await;
        let mut old = first.accept().await;
        let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
        send(&old.peer, asked, 0, 0, "a", true).await;
        let mut under_way = begin(&old.peer, asked, 1, true).await;
        under_way.object(0, "b").await;
        viewer.sees(&[(0, 0, "a"), (1, 0, "b")]).await;
        let (next, uri) = if same { (&first, String::new()) } else { (&other, other.uri()) };
        go_away(&old, uri);
        let mut new = next.accept().await;
        // It does not know yet that there is such a thing: the old one goes on.
        under_way.object(1, "c").await;
        viewer.sees(&[(1, 1, "c")]).await;
        new.tell(&["open", "room"]);
        let here = give(&mut new, Some((1, 2))).await;
        // What began there is asked for: the last of it did not come from the old one.
        give_past(&mut new, &["b", "c", "d"]).await;
        viewer.sees(&[(1, 2, "d")]).await;
        let mut goes_on = begin(&new.peer, here, 1, false).await;
        goes_on.object(3, "e").await;
        viewer.sees(&[(1, 3, "e")]).await;
        // What the old one has of it is not waited for in vain.
        under_way.object(2, "d").await;
        under_way.object(3, "e").await;
        goes_on.end(&new.peer);
        under_way.end(&old.peer);
        let left = soon("the old one to be left", old.peer.link.connection.closed()).await;
        assert_eq!(left.code, Some(0));
        send(&new.peer, here, 2, 0, "f", true).await;
        viewer.sees(&[(2, 0, "f")]).await;
        viewer.check();
        assert!(first.status.connected.load(Ordering::Relaxed));
        assert_eq!(first.status.connections.load(Ordering::Relaxed), 2);
        assert_eq!(first.status.carried.load(Ordering::Relaxed), 1);
        assert_eq!(rig.counters.panics.load(Ordering::Relaxed), 0);
    }
}

/// Groups that are on their way from the old one come from there, also if the new one is ahead.
#[tokio::test]
async fn d18_what_is_on_its_way_from_an_upstream_that_goes_away_still_comes() {
    let (first, rig);
    first = Upstream::new();
    rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    let mut slow = begin(&old.peer, asked, 0, true).await;
    slow.object(0, "a").await;
    viewer.sees(&[(0, 0, "a")]).await;
    go_away(&old, String::new());
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    let here = give(&mut new, Some((2, 0))).await;
    give_past(&mut new, &["d"]).await;
    viewer.sees(&[(2, 0, "d")]).await;
    send(&new.peer, here, 3, 0, "e", true).await;
    viewer.sees(&[(3, 0, "e")]).await;
    // Group 1 is with the old one alone, and has not begun.
    slow.object(1, "b").await;
    slow.end(&old.peer);
    viewer.sees(&[(0, 1, "b")]).await;
    send(&old.peer, asked, 1, 0, "c", true).await;
    viewer.sees(&[(1, 0, "c")]).await;
    let left = old.peer.link.connection.closed().now_or_never();
    assert!(left.is_none(), "it is not left yet");
    send(&old.peer, asked, 2, 0, "d", true).await;
    soon("the old one to be left", old.peer.link.connection.closed()).await;
    viewer.check();
}

/// A group of which the first packet was lost begins behind the next one, that has come to its end by then.
#[tokio::test]
async fn d18_a_group_that_comes_late_from_an_upstream_that_goes_away_still_comes() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    send(&old.peer, asked, 0, 0, "a", true).await;
    viewer.sees(&[(0, 0, "a")]).await;
    go_away(&old, String::new());
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    let here = give(&mut new, Some((2, 0))).await;
    give_past(&mut new, &["c"]).await;
    viewer.sees(&[(2, 0, "c")]).await;
    send(&old.peer, asked, 2, 0, "c", true).await;
    // When this is here, that is.
    send(&new.peer, here, 3, 0, "d", true).await;
    viewer.sees(&[(3, 0, "d")]).await;
    send(&old.peer, asked, 1, 0, "b", true).await;
    viewer.sees(&[(1, 0, "b")]).await;
    soon("the old one to be left", old.peer.link.connection.closed()).await;
    viewer.check();
}

/// Levels that nobody watches any more would be encoded for nobody, all at once.
#[tokio::test]
async fn d18_what_nobody_reads_of_an_upstream_that_goes_away_is_not_asked_for() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, _) = Viewer::of(&rig, &mut old).await;
    let other = rig.client("/").await;
    let ask = || {
        let track = super::rig::track(&["open", "room"], "level");
        other.link.request(Request::Subscribe { track, parameters: next_object() }).unwrap()
    };
    let (id, mut answers) = ask();
    let asked = give(&mut old, None).await;
    let answer = answered(&mut answers).await;
    let mut level = other.follow(id, answer, answers);
    send(&old.peer, asked, 0, 0, "a", true).await;
    assert_eq!(text(&level.next().await), (0, 0, "a"));
    other.command(Command::Cancel { id, code: moqt::ResetCode::Cancelled });
    let there = rig.origin.get(&path(&["open", "room"])).unwrap();
    let track = there.get(&spine::TrackName::from_static("level")).unwrap();
    until("nobody reads it", || !track.is_read()).await;
    go_away(&old, String::new());
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    give(&mut new, None).await;
    // By us: there is nothing to wait for.
    let left = soon("the old one to be left", old.peer.link.connection.closed()).await;
    assert_eq!(left.code, Some(0));
    let (id, mut answers) = ask();
    let (here, name, _) = new.subscribe().await;
    assert_eq!(name, "level");
    new.peer.command(Command::Answer { id: here, answer: Answer::ok() });
    let answer = answered(&mut answers).await;
    let mut level = other.follow(id, answer, answers);
    send(&new.peer, here, 9, 0, "b", true).await;
    assert_eq!(text(&level.next().await), (9, 0, "b"));
    viewer.check();
}

/// Who comes in the middle is served by the new one; and what that refuses at first is asked for again.
#[tokio::test]
async fn d18_who_comes_while_an_upstream_goes_away_waits_for_the_next_one() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    go_away(&old, String::new());
    let mut new = first.accept().await;
    let late = rig.client("/").await;
    let track = super::rig::track(&["open", "room"], "late");
    let request = Request::Subscribe { track, parameters: next_object() };
    let (id, mut answers) = late.link.request(request).unwrap();
    new.tell(&["open", "room"]);
    let mut refused = 0;
    let mut here = None;
    while here.is_none() || answers.is_empty() {
        let (id, name, _) = new.subscribe().await;
        if name == "chat" && refused == 0 {
            refused += 1;
            let answer = Answer::error(moqt::RequestCode::DoesNotExist, "its publisher moves");
            new.peer.command(Command::Answer { id, answer });
            continue;
        }
        new.peer.command(Command::Answer { id, answer: Answer::ok() });
        if name == "chat" {
            here = Some(id);
        } else {
            until("the answer", || !answers.is_empty()).await;
        }
    }
    let answer = answered(&mut answers).await;
    assert_eq!(code(&answer), None);
    let _late = late.follow(id, answer, answers);
    soon("the old one to be left", old.peer.link.connection.closed()).await;
    let _ = asked;
    send(&new.peer, here.unwrap(), 0, 0, "on", true).await;
    viewer.sees(&[(0, 0, "on")]).await;
    viewer.check();
}

/// What waits for its turn there is asked for where it comes from next.
#[tokio::test]
async fn d18_what_waits_at_an_upstream_that_goes_away_is_not_refused() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, _) = Viewer::of(&rig, &mut old).await;
    let late = rig.client("/").await;
    let ask = |name: &str| {
        let track = super::rig::track(&["open", "room"], name);
        late.link.request(Request::Subscribe { track, parameters: next_object() }).unwrap()
    };
    let asked: Vec<_> = (0..UPLINK_ASKS_EACH).map(|n| ask(&n.to_string())).collect();
    let mut open = Vec::new();
    while open.len() < asked.len() {
        open.push(old.subscribe().await.0);
    }
    let (_, mut answers) = ask("late");
    // When this is answered, that waits.
    let (_, mut there) = ask("chat");
    assert_eq!(code(&answered(&mut there).await), None);
    go_away(&old, String::new());
    let mut new = first.accept().await;
    for id in open {
        let answer = Answer::error(moqt::RequestCode::DoesNotExist, "");
        old.peer.command(Command::Answer { id, answer });
    }
    for (_, mut answers) in asked {
        assert!(code(&answered(&mut answers).await).is_some());
    }
    new.tell(&["open", "room"]);
    while answers.is_empty() {
        let (id, name, _) = new.subscribe().await;
        new.peer.command(Command::Answer { id, answer: Answer::ok() });
        if name == "late" {
            until("the answer", || !answers.is_empty()).await;
        }
    }
    assert_eq!(code(&answered(&mut answers).await), None);
    viewer.check();
}

/// The same of what was there before.
#[tokio::test]
async fn d18_a_fetch_that_waits_at_an_upstream_that_goes_away_is_not_refused() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    send(&old.peer, asked, 1_000, 0, "a", true).await;
    viewer.sees(&[(1_000, 0, "a")]).await;
    // Each lets us open a few streams at first.
    let mut viewers = Vec::new();
    while viewers.len() < UPLINK_FETCHES_MAX / DATA_STREAMS_FIRST as usize * 2 {
        viewers.push(rig.client("/").await);
    }
    let fetch = |n: usize| {
        let at = Location::new(2 * n as u64, 0);
        let fetch = Fetch::Standalone { track: room(), range: Range { start: at, end: at } };
        let request = Request::Fetch { fetch, parameters: Parameters::default() };
        viewers[n % viewers.len()].link.request(request).unwrap()
    };
    let _asked: Vec<_> = (0..UPLINK_FETCHES_MAX).map(fetch).collect();
    let mut open = Vec::new();
    while open.len() < UPLINK_FETCHES_MAX {
        if let (id, Request::Fetch { .. }) = old.peer.asked().await {
            open.push(id);
        }
    }
    let _last = fetch(UPLINK_FETCHES_MAX);
    // When this is answered, that waits.
    let last = &viewers[UPLINK_FETCHES_MAX % viewers.len()];
    assert_eq!(code(&last.subscribe(room(), next_object()).await.answer), None);
    go_away(&old, String::new());
    let mut new = first.accept().await;
    for id in open {
        let answer = Answer::error(moqt::RequestCode::DoesNotExist, "");
        old.peer.command(Command::Answer { id, answer });
    }
    new.tell(&["open", "room"]);
    let is_last = |range: Range| range.start.group == 2 * UPLINK_FETCHES_MAX as u64;
    loop {
        match new.peer.asked().await {
            (_, Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. })
                if is_last(range) =>
            {
                break;
            }
            _ => {}
        }
    }
    viewer.check();
}

/// Where it sends us it is on its way out as well, and says so before all else: what is kept is kept.
#[tokio::test]
async fn d18_who_is_sent_to_and_fro_keeps_what_there_is() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    go_away(&old, String::new());
    for _ in 0..UPLINKS_GOING_MAX {
        let next = first.accept_silently().await;
        go_away(&next, String::new());
        soon("it to be left", next.peer.link.connection.closed()).await;
    }
    let mut new = first.accept().await;
    send(&old.peer, asked, 0, 0, "a", true).await;
    viewer.sees(&[(0, 0, "a")]).await;
    new.tell(&["open", "room"]);
    let here = give(&mut new, Some((0, 0))).await;
    give_past(&mut new, &["a"]).await;
    soon("the old one to be left", old.peer.link.connection.closed()).await;
    send(&new.peer, here, 1, 0, "b", true).await;
    viewer.sees(&[(1, 0, "b")]).await;
    viewer.check();
}

/// Who has taken it over leaves while the old one still brings some of it: what came from him alone is over, and so all of it is, to
/// be there again as soon as he is.
#[tokio::test]
async fn d18_who_takes_over_from_an_upstream_and_leaves_ends_what_he_took() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    let mut stays = begin(&old.peer, asked, 0, true).await;
    stays.object(0, "a").await;
    viewer.sees(&[(0, 0, "a")]).await;
    go_away(&old, String::new());
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    give(&mut new, Some((0, 0))).await;
    give_past(&mut new, &["a"]).await;
    drop(new);
    let again = first.accept().await;
    again.tell(&["open", "room"]);
    let news = async { [viewer.namespaces.recv().await, viewer.namespaces.recv().await] };
    let news = soon("the end and the beginning", news).await;
    assert!(matches!(
        news,
        [
            Some(Heard::Event(Event::NamespaceDone { .. })),
            Some(Heard::Event(Event::Namespace { .. }))
        ]
    ));
    // By us, who need nothing of it: its own time is not over.
    let left = soon("the old one to be left", old.peer.link.connection.closed()).await;
    assert_eq!(left.code, Some(0));
}

/// However many tracks it brings.
#[tokio::test]
async fn d18_all_tracks_of_an_upstream_that_goes_away_come_from_the_next_one() {
    let first = Upstream::new();
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, _) = Viewer::of(&rig, &mut old).await;
    let others = rig.client("/").await;
    let mut followed = Vec::new();
    for n in 0..PUBLISHED_TRACKS_MAX {
        let track = super::rig::track(&["open", "room"], &n.to_string());
        let request = Request::Subscribe { track, parameters: next_object() };
        let (id, mut answers) = others.link.request(request).unwrap();
        give(&mut old, None).await;
        let answer = answered(&mut answers).await;
        assert_eq!(code(&answer), None);
        followed.push(others.follow(id, answer, answers));
    }
    go_away(&old, String::new());
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    for _ in 0..=PUBLISHED_TRACKS_MAX {
        give(&mut new, None).await;
    }
    soon("the old one to be left", old.peer.link.connection.closed()).await;
    viewer.check();
    assert!(followed.iter().all(|one| !one.taken.is_finished()));
}

/// That there is nothing any more is heard of before the last of it has come.
#[tokio::test]
async fn the_last_that_an_upstream_has_of_a_namespace_comes_behind_its_end() {
    let there = Upstream::new();
    let rig = edge(&[&there]).await;
    let mut told = there.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut told).await;
    let mut last = begin(&told.peer, asked, 0, true).await;
    last.object(0, "a").await;
    viewer.sees(&[(0, 0, "a")]).await;
    told.withdraw(&["open", "room"]);
    let namespaces = || there.status.namespaces.load(Ordering::Relaxed);
    until("it is heard of", || namespaces() == 0).await;
    last.object(1, "b").await;
    last.end(&told.peer);
    viewer.sees(&[(0, 1, "b")]).await;
    let done = moqt::Done { code: moqt::DoneCode::TrackEnded, reason: String::new() };
    told.peer.command(Command::Done { id: asked, done });
    let taken = soon("the end", viewer.seen.taken).await.unwrap();
    assert_eq!(taken, crate::take::Taken::Done(moqt::DoneCode::TrackEnded));
    until("it is gone", || rig.origin.get(&path(&["open", "room"])).is_none()).await;
}

/// The configuration may say another token of an upstream, another upstream, or none any more.
#[tokio::test]
async fn d18_upstreams_change_while_somebody_watches() {
    let (first, other) = (Upstream::new(), Upstream::new());
    let rig = edge(&[&first]).await;
    let mut old = first.accept().await;
    let (mut viewer, asked) = Viewer::of(&rig, &mut old).await;
    send(&old.peer, asked, 0, 0, "a", true).await;
    viewer.sees(&[(0, 0, "a")]).await;
    let with = |path: &str| {
        let mut uplink = first.uplink();
        uplink.server.path = path.to_owned();
        Arc::new(uplink)
    };
    let (token, more) = (with("/?jwt=NEW"), Arc::new(other.uplink()));
    rig.uplinks.send_replace(vec![token.clone()]);
    let mut new = first.accept().await;
    new.tell(&["open", "room"]);
    let here = give(&mut new, Some((0, 0))).await;
    give_past(&mut new, &["a"]).await;
    let left = soon("the old one to be left", old.peer.link.connection.closed()).await;
    assert_eq!(left.code, Some(0));
    send(&new.peer, here, 1, 0, "b", true).await;
    viewer.sees(&[(1, 0, "b")]).await;
    // One more: the other goes on as it is.
    rig.uplinks.send_replace(vec![more.clone(), token]);
    let _more = other.accept().await;
    send(&new.peer, here, 2, 0, "c", true).await;
    viewer.sees(&[(2, 0, "c")]).await;
    viewer.check();
    assert!(new.peer.link.connection.closed().now_or_never().is_none());
    // And one less: what it had is gone.
    rig.uplinks.send_replace(vec![more]);
    let left = soon("it to be left", new.peer.link.connection.closed()).await;
    assert_eq!(left.code, Some(0));
    until("it is gone", || rig.origin.get(&path(&["open", "room"])).is_none()).await;
    assert!(other.status.connected.load(Ordering::Relaxed));
}
