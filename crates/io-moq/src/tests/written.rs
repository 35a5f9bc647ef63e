//! What was written before anybody asked for it: once, perhaps, as catalogs are.

use std::time::Duration;

use bytes::BytesMut;
use moqt::data::{
    FetchObject, FetchWriter, ObjectHead, Status, SubgroupHeader, SubgroupWriter, Via,
};
use moqt::properties::kind;
use moqt::session::{Command, Event};
use moqt::{
    Answer, Fetch, FetchOk, Filter, GroupOrder, Location, Parameters, Properties, Range, Request,
    RequestId, ResetCode, Version,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::duties::{code, read_fetch, text};
use super::relay::{properties, room, send};
use super::rig::{Client, Rig, Subscribed, answered, next_object};
use super::streams::{end_of, header};
use crate::limits::{BEFORE_AGAIN, BEFORE_TRIES_MAX, BEGUN_LINGER};
use crate::link::Told;
use crate::transport::{Congestion, Network, Read, SendStream};

/// From its start: what players of catalogs ask for.
pub(super) fn all() -> Parameters {
    let filter = Some(Filter::From(Location::default()));
    Parameters { filter, ..Parameters::default() }
}

/// A request, and what is told of it.
pub(super) type Asked = (RequestId, UnboundedReceiver<Told>);

pub(super) fn ask(client: &Client, parameters: Parameters) -> Asked {
    client.link.request(Request::Subscribe { track: room(), parameters }).unwrap()
}

pub(super) async fn begin(client: &Client, (id, mut told): Asked) -> Subscribed {
    let answer = answered(&mut told).await;
    assert_eq!(code(&answer), None);
    client.follow(id, answer, told)
}

/// A relay of what is published in a room, over a make-believe network.
pub(super) struct Relayed {
    rig: Rig,
    network: Network,
    version: Version,
}

impl Relayed {
    /// With its publisher.
    pub(super) async fn announced(version: Version) -> (Self, Client) {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let relayed = Self { rig, network, version };
        let publisher = relayed.client().await;
        assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
        (relayed, publisher)
    }

    /// With a publisher that takes one update of a request at a time.
    pub(super) async fn by_one_who_takes_one_update(version: Version) -> (Self, Client) {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let publisher = rig.client_taking(&network, version, 1).await;
        assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
        (Self { rig, network, version }, publisher)
    }

    pub(super) async fn client(&self) -> Client {
        self.rig.client_over_in(&self.network, self.version).await
    }

    /// Somebody who asks for a track of which so much was written already; and what its publisher is asked then.
    pub(super) async fn viewer(
        &self,
        publisher: &mut Client,
        (parameters, largest): (Parameters, Option<Location>),
    ) -> (Client, Subscribed, RequestId) {
        let viewer = self.client().await;
        let asked = ask(&viewer, parameters);
        let upstream = give(publisher, largest).await;
        let seen = begin(&viewer, asked).await;
        (viewer, seen, upstream)
    }
}

/// Answers the relay's SUBSCRIBE: this much was written already.
pub(super) async fn give(publisher: &mut Client, largest: Option<Location>) -> RequestId {
    loop {
        if let (id, Request::Subscribe { .. }) = publisher.asked().await {
            let parameters = Parameters { largest, ..Parameters::default() };
            let answer = Answer::Ok { parameters, properties: Properties::empty() };
            publisher.command(Command::Answer { id, answer });
            return id;
        }
    }
}

/// Answers the relay's FETCH with these objects; what it asked for.
pub(super) async fn tell(publisher: &mut Client, objects: &[(u64, u64, &'static str)]) -> Range {
    let (id, range, mut stream) = begin_to_tell(publisher, objects).await;
    stream.finish();
    publisher.command(Command::DataClosed { id });
    range
}

/// The same, and the answer may go on.
async fn begin_to_tell(
    publisher: &mut Client,
    objects: &[(u64, u64, &'static str)],
) -> (RequestId, Range, SendStream) {
    let (id, range) = loop {
        if let (id, Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. }) =
            publisher.asked().await
        {
            break (id, range);
        }
    };
    let (parameters, properties) = (Parameters::default(), Properties::empty());
    let ok = FetchOk { end_of_track: false, end: range.end, parameters, properties };
    publisher.command(Command::Answer { id, answer: Answer::FetchOk(ok) });
    publisher.link.with(|session| session.open_data(id)).unwrap();
    let (version, mut bytes) = (publisher.link.version, BytesMut::new());
    let mut writer = FetchWriter::new(version, id, GroupOrder::Ascending, &mut bytes);
    for (group, object, payload) in objects {
        let object = FetchObject {
            location: Location::new(*group, *object),
            via: Via::Subgroup(0),
            priority: 128,
            properties: Properties::empty(),
            payload_length: payload.len() as u64,
        };
        writer.object(&object, &mut bytes).unwrap();
        bytes.extend_from_slice(payload.as_bytes());
    }
    let mut stream = publisher.link.connection.open_uni().await.unwrap();
    stream.write(&mut [bytes.freeze()]).await.unwrap();
    (id, range, stream)
}

/// What the relay asked for beside that.
fn asked_more(publisher: &mut Client) -> usize {
    let events = std::iter::from_fn(|| publisher.events.try_recv().ok());
    events.filter(|event| matches!(event, Event::Request { .. })).count()
}

#[tokio::test(start_paused = true)]
async fn d02_what_was_written_once_reaches_the_first_viewer_the_second_and_who_comes_late() {
    for version in Version::ALL.iter().copied() {
        let (relayed, mut publisher) = Relayed::announced(version).await;
        let viewers = [relayed.client().await, relayed.client().await, relayed.client().await];
        let wishes = [all(), all(), next_object()];
        let asked: Vec<_> = viewers.iter().zip(wishes).map(|(v, wish)| ask(v, wish)).collect();
        let upstream = give(&mut publisher, Some(Location::new(0, 1))).await;
        let mut seen = Vec::new();
        for (viewer, asked) in viewers.iter().zip(asked) {
            seen.push(begin(viewer, asked).await);
        }
        let written = [(0, 0, "the catalog"), (0, 1, "and more")];
        let range = tell(&mut publisher, &written).await;
        assert_eq!((range.start, range.end), (Location::new(0, 0), Location::new(0, 1)));
        for seen in &mut seen[..2] {
            for object in written {
                assert_eq!(text(&seen.next().await), object, "{version:?}");
            }
        }
        // It goes on, for who wanted only that, too.
        send(&publisher, upstream, 0, 2, "live", true).await;
        for seen in &mut seen {
            assert_eq!(text(&seen.next().await), (0, 2, "live"), "{version:?}");
        }
        drop((viewers, seen));
        tokio::time::sleep(Duration::from_secs(600)).await;
        let late = relayed.client().await;
        let mut seen = begin(&late, ask(&late, all())).await;
        for object in written {
            assert_eq!(text(&seen.next().await), object, "{version:?}");
        }
        assert_eq!(text(&seen.next().await), (0, 2, "live"), "{version:?}");
        assert_eq!(asked_more(&mut publisher), 0, "{version:?}: one FETCH for all");
    }
}

/// draft-18 §12.2: what may not be kept any longer is to be had from who published it.
#[tokio::test(start_paused = true)]
async fn d12_what_may_not_be_kept_any_longer_is_asked_for_again() {
    for version in Version::ALL.iter().copied() {
        let (relayed, mut publisher) = Relayed::announced(version).await;
        let viewer = relayed.client().await;
        let asked = ask(&viewer, next_object());
        let kept = properties(&[(kind::MAX_CACHE_DURATION, 1_000)]);
        let (upstream, _) = super::relay::give(&mut publisher, kept).await;
        let mut seen = begin(&viewer, asked).await;
        for group in 0..3 {
            send(&publisher, upstream, group, 0, "live", true).await;
            seen.next().await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        send(&publisher, upstream, 3, 0, "new", true).await;
        seen.next().await;
        let range = Range { start: Location::new(0, 0), end: Location::new(3, 0) };
        let fetch = Fetch::Standalone { track: room(), range };
        let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
        let (_, mut told) = viewer.link.request(fetch).unwrap();
        let again = [(0, 0, "again"), (1, 0, "and"), (2, 0, "more")];
        let range = tell(&mut publisher, &again).await;
        // In one request.
        assert_eq!((range.start.group, range.end.group), (0, 2), "{version:?}");
        let got = read_fetch(&mut told, GroupOrder::Ascending).await;
        assert_eq!(got, "0.0again 1.0and 2.0more 3.0new", "{version:?}");
    }
}

/// What comes live may be here before the answer: then it is another stream, and nothing comes twice.
#[tokio::test(start_paused = true)]
async fn d02_the_group_under_way_is_whole_for_who_wants_it() {
    let (relayed, mut publisher) = Relayed::announced(Version::Draft18).await;
    // Nobody wants it at first.
    let wanted = (next_object(), Some(Location::new(7, 1)));
    let (_viewer, mut live, upstream) = relayed.viewer(&mut publisher, wanted).await;
    let link = publisher.link.clone();
    let alias = link.with(|session| session.open_data(upstream)).unwrap();
    let begins = SubgroupHeader { alias, first_object: false, ..header(7) };
    let mut bytes = BytesMut::new();
    begins.encode(link.version, &mut bytes).unwrap();
    let mut writer = SubgroupWriter::new(link.version, &begins);
    let mut object = |id, payload: &str, mut bytes: BytesMut| {
        let (properties, payload_length) = (Properties::empty(), payload.len() as u64);
        let head = ObjectHead { id, properties, status: Status::Normal, payload_length };
        writer.object(&head, &mut bytes).unwrap();
        bytes.extend_from_slice(payload.as_bytes());
        bytes.freeze()
    };
    let mut stream = link.connection.open_uni().await.unwrap();
    stream.write(&mut [object(2, "two", bytes)]).await.unwrap();
    assert_eq!(text(&live.next().await), (7, 2, "two"));
    assert_eq!(asked_more(&mut publisher), 0);
    // Then two do, one of them after the other.
    let other = relayed.client().await;
    let mut whole = begin(&other, ask(&other, all())).await;
    tell(&mut publisher, &[(7, 0, "zero"), (7, 1, "one")]).await;
    let third = relayed.client().await;
    let mut late = begin(&third, ask(&third, all())).await;
    stream.write(&mut [object(3, "three", BytesMut::new())]).await.unwrap();
    stream.finish();
    publisher.command(Command::DataClosed { id: upstream });
    for seen in [&mut whole, &mut late] {
        let mut got = Vec::new();
        for _ in 0..4 {
            let object = seen.next().await;
            got.push((object.group, object.id));
        }
        got.sort_unstable();
        assert_eq!(got, [(7, 0), (7, 1), (7, 2), (7, 3)]);
    }
    assert_eq!(text(&live.next().await), (7, 3, "three"));
    assert_eq!(asked_more(&mut publisher), 0);
}

/// And once it is over, nobody is asked again for what came so.
#[tokio::test(start_paused = true)]
async fn d02_d23_what_came_behind_the_rest_of_its_group_is_not_fetched_again() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let mut publisher = rig.client_over_in(&network, Version::Draft18).await;
    assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
    let viewer = rig.client_over_in(&network, Version::Draft18).await;
    let asked = ask(&viewer, next_object());
    let upstream = give(&mut publisher, Some(Location::new(7, 1))).await;
    let mut live = begin(&viewer, asked).await;
    send(&publisher, upstream, 7, 2, "two", true).await;
    assert_eq!(text(&live.next().await), (7, 2, "two"));
    let other = rig.client_over_in(&network, Version::Draft18).await;
    let mut whole = begin(&other, ask(&other, all())).await;
    tell(&mut publisher, &[(7, 0, "zero"), (7, 1, "one")]).await;
    for _ in 0..3 {
        whole.next().await;
    }
    send(&publisher, upstream, 8, 0, "the next one", true).await;
    assert_eq!(text(&whole.next().await), (8, 0, "the next one"));
    tokio::time::sleep(2 * BEGUN_LINGER).await;
    let range = Range { start: Location::new(7, 0), end: Location::new(7, Range::WHOLE_GROUP) };
    let fetch = Fetch::Standalone { track: room(), range };
    let request = Request::Fetch { fetch, parameters: Parameters::default() };
    let (_, mut told) = other.link.request(request).unwrap();
    let past = read_fetch(&mut told, GroupOrder::Ascending).await;
    assert_eq!(past, "7.0zero 7.1one 7.2two");
    assert_eq!(asked_more(&mut publisher), 0);
}

/// A publisher that does not answer a FETCH, or not in the way that it was asked, is no worse than one that knows nothing.
#[tokio::test(start_paused = true)]
async fn d02_who_has_nothing_of_before_is_not_asked_again() {
    let (relayed, mut publisher) = Relayed::announced(Version::Draft18).await;
    let wanted = (all(), Some(Location::new(3, 5)));
    let (_viewer, mut seen, upstream) = relayed.viewer(&mut publisher, wanted).await;
    let id = loop {
        if let (id, Request::Fetch { .. }) = publisher.asked().await {
            break id;
        }
    };
    let answer = Answer::error(moqt::RequestCode::NotSupported, "no");
    publisher.command(Command::Answer { id, answer });
    send(&publisher, upstream, 4, 0, "live", true).await;
    assert_eq!(text(&seen.next().await), (4, 0, "live"));
    let other = relayed.client().await;
    let mut more = begin(&other, ask(&other, all())).await;
    assert_eq!(text(&more.next().await), (4, 0, "live"));
    assert_eq!(asked_more(&mut publisher), 0);
}

/// One that has no time for it now says when it has.
#[tokio::test(start_paused = true)]
async fn d02_what_could_not_be_had_at_first_is_asked_for_again() {
    let (relayed, mut publisher) = Relayed::announced(Version::Draft18).await;
    let wanted = (all(), Some(Location::new(3, 0)));
    let (viewer, mut seen, _) = relayed.viewer(&mut publisher, wanted).await;
    let refuse = async |publisher: &mut Client| {
        let id = loop {
            if let (id, Request::Fetch { .. }) = publisher.asked().await {
                break id;
            }
        };
        let answer = Answer::error(moqt::RequestCode::ExcessiveLoad, "not now");
        let Answer::Error(error) = &answer else { panic!() };
        let again = error.retry_after.unwrap().max(BEFORE_AGAIN);
        publisher.command(Command::Answer { id, answer });
        again
    };
    let again = refuse(&mut publisher).await;
    let from = tokio::time::Instant::now();
    tell(&mut publisher, &[(3, 0, "the catalog")]).await;
    assert!(from.elapsed() >= again, "{:?} of {again:?}", from.elapsed());
    assert_eq!(text(&seen.next().await), (3, 0, "the catalog"));
    // Who never has is not asked for ever.
    let mut other = relayed.client().await;
    assert_eq!(code(&other.publish_namespace(&["open", "other"]).await), None);
    let name = super::rig::track(&["open", "other"], "chat");
    let request = Request::Subscribe { track: name, parameters: all() };
    let asked = viewer.link.request(request).unwrap();
    give(&mut other, Some(Location::new(3, 0))).await;
    let _seen = begin(&viewer, asked).await;
    for _ in 0..=BEFORE_TRIES_MAX {
        refuse(&mut other).await;
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(asked_more(&mut other), 0);
}

/// A publisher, and one who watches all of a track of which so much was written already.
pub(super) async fn watched(largest: Location) -> (Relayed, Client, Client, Subscribed) {
    let (relayed, mut publisher) = Relayed::announced(Version::Draft18).await;
    let (viewer, seen, _) = relayed.viewer(&mut publisher, (all(), Some(largest))).await;
    (relayed, publisher, viewer, seen)
}

/// Who reads group after group need not wait for two newer ones: the next catalog may be the last.
#[tokio::test(start_paused = true)]
async fn d02_a_group_that_had_begun_ends_when_there_is_a_newer_one() {
    let (relayed, mut publisher) = Relayed::announced(Version::Draft18).await;
    let viewer = relayed.client().await;
    let (_, mut told) = ask(&viewer, all());
    let upstream = give(&mut publisher, Some(Location::new(7, 0))).await;
    assert_eq!(code(&answered(&mut told).await), None);
    tell(&mut publisher, &[(7, 0, "the catalog")]).await;
    let mut begun = Client::fetched(&mut told).await;
    send(&publisher, upstream, 8, 0, "the next one", true).await;
    assert!(matches!(end_of(&mut begun).await, Read::Reset(_)), "its end is not known");
}

/// One that goes silent in the middle of its answer has no more of it then.
#[tokio::test(start_paused = true)]
async fn d02_who_goes_silent_while_telling_what_was_before_is_asked_again() {
    let (_relayed, mut publisher, _viewer, mut seen) = watched(Location::new(3, 1)).await;
    let (_, _, _silent) = begin_to_tell(&mut publisher, &[(3, 0, "zero")]).await;
    assert_eq!(text(&seen.next().await), (3, 0, "zero"));
    tell(&mut publisher, &[(3, 0, "zero"), (3, 1, "one")]).await;
    assert_eq!(text(&seen.next().await), (3, 1, "one"));
}

/// What has come of an answer that breaks off is there for who comes later.
#[tokio::test(start_paused = true)]
async fn d02_what_came_of_an_answer_that_was_cut_is_not_lost() {
    let (relayed, mut publisher, _viewer, mut seen) = watched(Location::new(3, 1)).await;
    let (id, _, mut stream) = begin_to_tell(&mut publisher, &[(3, 0, "zero")]).await;
    assert_eq!(text(&seen.next().await), (3, 0, "zero"));
    stream.reset(publisher.link.version.reset_code(ResetCode::InternalError));
    publisher.command(Command::DataClosed { id });
    let again = loop {
        if let (id, Request::Fetch { .. }) = publisher.asked().await {
            break id;
        }
    };
    let answer = Answer::error(moqt::RequestCode::NotSupported, "no more");
    publisher.command(Command::Answer { id: again, answer });
    let late = relayed.client().await;
    let mut seen = begin(&late, ask(&late, all())).await;
    assert_eq!(text(&seen.next().await), (3, 0, "zero"));
}
