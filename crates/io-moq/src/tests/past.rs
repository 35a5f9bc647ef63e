//! FETCH against a plain model: random histories of a track with little memory, of which two others keep most and one of them
//! not always answers; ranges of any kind in any order, by FETCH, joining a subscription or filling it, also across the live
//! edge, which moves on meanwhile; and fetches that are given up in the middle.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::time::Instant;

use bytes::Bytes;
use moqt::data::{FetchItem, FetchReader, Missing};
use moqt::session::{DataHeader, Event};
use moqt::{
    Answer, Fetch, Filter, GroupOrder, Location, Parameters, Range, Request, RequestCode, Version,
};
use spine::{Absence, Header, Order, TrackInfo, track};
use testkit::Shape;

use super::duties::{VIDEO, code, largest};
use super::live::ms;
use super::rig::{Client, Rig, Subscribed, next_object, soon, track};
use crate::clock;
use crate::limits::FETCH_MAX;
use crate::link::{DataStream, Told};
use crate::transport::{Congestion, Network, Read};

/// Numbers that look random and are the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        // Steele, Lea, Flood: SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// What was ever written: payloads by group and object. Some groups nobody keeps.
#[derive(Default)]
struct Model {
    groups: BTreeMap<u64, Vec<Bytes>>,
    lost: Vec<u64>,
}

impl Model {
    /// The next group: a few objects, mostly directly behind the last one.
    fn write(&mut self, random: &mut Random, track: &track::Producer) {
        let last = self.groups.last_key_value().map_or(0, |(id, _)| *id);
        let id = last + 1 + random.below(3) / 2;
        if id > last + 1 {
            track.gap(last + 1..=id - 1);
        }
        let objects: Vec<Bytes> = (0..1 + random.below(4))
            .map(|object| {
                let mut payload = format!("{id}.{object}").into_bytes();
                payload.resize(payload.len() + random.below(600) as usize, b' ');
                payload.into()
            })
            .collect();
        let now = Instant::now();
        let group = track.group(id, now).unwrap();
        let subgroup = group.subgroup(0, now).unwrap();
        for (object, payload) in (0..).zip(&objects) {
            let payload = track.budget().payload(payload.clone());
            subgroup.write(Header::new(object, now), vec![payload]).unwrap();
        }
        subgroup.fin();
        group.end(Some(objects.len() as u64 - 1), now);
        if random.below(5) == 0 {
            self.lost.push(id);
        }
        self.groups.insert(id, objects);
    }

    fn largest(&self) -> Location {
        let (id, objects) = self.groups.last_key_value().unwrap();
        Location::new(*id, objects.len() as u64 - 1)
    }

    /// Answers a request as a recording does.
    fn answer(&self, request: spine::FetchRequest) {
        let (start, end) = request.range().into_inner();
        let mut ids: Vec<u64> = (start.group..=end.group).collect();
        if request.order() == Order::Descending {
            ids.reverse();
        }
        let mut answer = request.accept();
        for id in ids {
            let Some(objects) = self.groups.get(&id).filter(|_| !self.lost.contains(&id)) else {
                answer.gap(id, id, Absence::Unknown);
                continue;
            };
            for (object, payload) in (0..).zip(objects) {
                let at = spine::Location { group: id, object };
                if (start..=end).contains(&at) {
                    let payload = answer.budget().payload(payload.clone());
                    answer.object(id, Header::new(object, Instant::now()), vec![payload]);
                }
            }
        }
        answer.end();
    }

    /// Compares what came of a range that ends with the largest object of then at the latest.
    fn check(&self, got: &[(Location, Option<Bytes>)], range: Range, order: GroupOrder) {
        let end = range.end;
        let came: BTreeMap<Location, &Bytes> =
            got.iter().filter_map(|(at, payload)| Some((*at, payload.as_ref()?))).collect();
        let count = got.iter().filter(|(_, payload)| payload.is_some()).count();
        assert_eq!(came.len(), count, "nothing twice");
        let unknown = |id: u64| got.iter().any(|(at, payload)| payload.is_none() && at.group == id);
        for (id, objects) in self.groups.range(range.start.group..=end.group) {
            let wanted: Vec<(Location, &Bytes)> = (0..)
                .zip(objects)
                .map(|(object, payload)| (Location::new(*id, object), payload))
                .filter(|(at, _)| *at >= range.start && *at <= end)
                .collect();
            let here = wanted.iter().filter(|(at, _)| came.contains_key(at)).count();
            // A group that nobody keeps may still be in memory, until it has to go.
            if here < wanted.len() {
                assert!(self.lost.contains(id), "group {id} of {range:?} is missing");
                let said =
                    got.iter().any(|(at, payload)| payload.is_none() && covers(*at, *id, order));
                assert!(said || unknown(*id), "group {id} is said to be unknown");
            }
            for (at, payload) in wanted.into_iter().take(here) {
                assert_eq!(came.get(&at), Some(&payload), "{at:?}");
            }
        }
        for at in came.keys() {
            assert!(*at >= range.start && *at <= end, "{at:?} is outside of {range:?}");
            assert!(self.groups.contains_key(&at.group), "{at:?} never was");
        }
        let ids: Vec<u64> =
            got.iter().filter(|(_, payload)| payload.is_some()).map(|(at, _)| at.group).collect();
        let in_order = ids.windows(2).all(|pair| match order {
            GroupOrder::Ascending => pair[0] <= pair[1],
            GroupOrder::Descending => pair[0] >= pair[1],
        });
        assert!(in_order, "{order:?}: {ids:?}");
    }
}

/// Whether a gap that ends there can be about this group.
fn covers(end: Location, group: u64, order: GroupOrder) -> bool {
    match order {
        GroupOrder::Ascending => group <= end.group,
        GroupOrder::Descending => group >= end.group,
    }
}

/// Reads a fetch to its end, or gives it up after so many items. Now and then something is done in between.
async fn read(
    mut data: DataStream,
    order: GroupOrder,
    most: usize,
    between: impl Fn(),
) -> Vec<(Location, Option<Bytes>)> {
    let mut reader = FetchReader::new(data.version(), order);
    let mut chunk = data.first.clone();
    let mut got: Vec<(Location, Option<Bytes>)> = Vec::new();
    while got.len() < most {
        while let Some(item) = reader.read(&mut chunk).unwrap() {
            match item {
                FetchItem::Object(object) => got.push((object.location, Some(Bytes::new()))),
                FetchItem::Payload { bytes, .. } => {
                    let (_, payload) = got.last_mut().unwrap();
                    let all = [payload.as_deref().unwrap(), &bytes[..]].concat();
                    *payload = Some(all.into());
                }
                FetchItem::Gap { missing: Missing::Unknown | Missing::TimedOut, end } => {
                    got.push((end, None));
                }
                FetchItem::Gap { missing: Missing::NonExistent, .. } => {}
            }
        }
        between();
        match soon("the fetch", data.stream.read()).await {
            Read::Chunk(bytes) => chunk = bytes,
            Read::Fin => {
                reader.finish().unwrap();
                break;
            }
            end => panic!("{end:?}"),
        }
    }
    got
}

fn video() -> moqt::TrackName {
    track(&["default", "one"], "video")
}

/// What is asked for, and who asks.
struct Asking<'a> {
    rig: &'a Rig,
    clients: [Client; 2],
    order: GroupOrder,
}

/// What comes of it: the past, and what is live behind this location.
struct Asked {
    data: DataStream,
    range: Range,
    live: Option<(Client, Subscribed, Location)>,
}

impl Asking<'_> {
    /// By FETCH. What was asked before may still be looked for, and more be written for that: the largest object is one
    /// between that of now and that of the answer.
    async fn fetch(
        &self,
        range: Range,
        largest: impl Fn() -> Location,
        client: usize,
    ) -> Option<Asked> {
        let before = largest();
        let fetch = Fetch::Standalone { track: video(), range };
        let parameters = Parameters { group_order: Some(self.order), ..Parameters::default() };
        let (_, answer, mut told) =
            self.clients[client].ask(Request::Fetch { fetch, parameters }).await;
        if code(&answer) == Some(RequestCode::InvalidRange) {
            assert!(range.start > before, "{range:?} begins before {before:?}");
            return None;
        }
        let Answer::FetchOk(ok) = answer else { panic!("{answer:?}") };
        let ends = range.end.min(before)..=range.end.min(largest());
        assert!(ends.contains(&ok.end) && range.start <= ok.end, "{:?} in {ends:?}", ok.end);
        let data = Client::fetched(&mut told).await;
        Some(Asked { data, range: Range { end: ok.end, ..range }, live: None })
    }

    /// By a FETCH that joins a subscription: so many groups before its first one.
    async fn joining(&self, groups: u64) -> Asked {
        let client = self.rig.client("/").await;
        let live = client.subscribe(video(), next_object()).await;
        let largest = largest(&live.answer).unwrap();
        let fetch =
            Fetch::Joining { subscription: live.id, start: moqt::JoiningStart::Relative(groups) };
        let parameters = Parameters { group_order: Some(self.order), ..Parameters::default() };
        let (_, answer, mut told) = client.ask(Request::Fetch { fetch, parameters }).await;
        let Answer::FetchOk(ok) = answer else { panic!("{answer:?}") };
        assert_eq!(ok.end, largest, "it ends where the subscription begins");
        let data = Client::fetched(&mut told).await;
        let start = Location::new(largest.group.saturating_sub(groups), 0);
        let range = Range { start, end: largest };
        Asked { data, range, live: Some((client, live, largest)) }
    }

    /// By a subscription that brings its past with it (draft-21 §3.4).
    async fn fill(&self, start: Location) -> Asked {
        let client = self.rig.client_of(Version::Draft21).await;
        let fill = Parameters {
            filter: Some(Filter::From(start)),
            group_order: Some(self.order),
            ..Parameters::default()
        };
        let parameters = Parameters { fill: Some(Box::new(fill)), ..next_object() };
        let request = Request::Subscribe { track: video(), parameters };
        let (id, mut told) = client.link.request(request).unwrap();
        let (mut answer, mut past) = (None, None);
        // What is live goes on its way again, to who follows.
        let (again, told_again) = tokio::sync::mpsc::unbounded_channel();
        while answer.is_none() || past.is_none() {
            match soon("the fill", told.recv()).await {
                Some(Told::Event(Event::Answered { answer: ok, .. })) => answer = Some(ok),
                Some(Told::Data(data)) if matches!(data.header, DataHeader::Fetch(_)) => {
                    past = Some(data);
                }
                Some(other) => drop(again.send(other)),
                None => panic!("it is over"),
            }
        }
        tokio::spawn(async move {
            while let Some(other) = told.recv().await {
                if again.send(other).is_err() {
                    return;
                }
            }
        });
        let answer = answer.unwrap();
        let end = largest(&answer).unwrap();
        let live = client.follow(id, answer, told_again);
        let (data, range) = (past.unwrap(), Range { start, end });
        Asked { data, range, live: Some((client, live, end)) }
    }
}

#[tokio::test]
async fn d23_d24_ranges_of_random_histories_are_what_a_plain_model_says() {
    // More of them in soak: each is 60 rounds.
    let said = std::env::var("AIRWAVE_HISTORIES").ok().and_then(|said| said.parse().ok());
    for seed in 0..said.unwrap_or(1) {
        history(seed).await;
    }
}

async fn history(seed: u64) {
    let random = RefCell::new(Random(seed));
    let below = |n| random.borrow_mut().below(n);
    let limits = spine::Limits { cache_bytes: 24_000, ..spine::Limits::default() };
    let rig = Rig::with(limits);
    let broadcast = rig.broadcast(&["default", "one"]);
    let producer = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    // The nearer one does not always answer; then the other one is asked.
    let [mut near, mut far] =
        [1, 2].map(|cost| rig.origin.responder(broadcast.path().clone(), cost));
    let model = RefCell::new(Model::default());
    let write = || model.borrow_mut().write(&mut random.borrow_mut(), &producer);
    (0..3).for_each(|_| write());
    let clients = [rig.client("/").await, rig.client("/").await];
    let mut asking = Asking { rig: &rig, clients, order: GroupOrder::Ascending };
    let asked_far = std::cell::Cell::new(0);
    for round in 0..60 {
        (0..below(4)).for_each(|_| write());
        let largest = model.borrow().largest();
        let at = || Location::new(below(largest.group + 3), below(5));
        let (a, b) = (at(), at());
        let range = Range { start: a.min(b), end: a.max(b) };
        asking.order = match below(2) {
            0 => GroupOrder::Ascending,
            _ => GroupOrder::Descending,
        };
        let order = asking.order;
        let most = if below(6) == 0 { 2 } else { usize::MAX };
        let kind = below(8);
        let work = async {
            let asked = match kind {
                0 => asking.joining(below(40)).await,
                1 => asking.fill(range.start.min(largest)).await,
                _ => {
                    match asking.fetch(range, || model.borrow().largest(), below(2) as usize).await
                    {
                        Some(asked) => asked,
                        None => return,
                    }
                }
            };
            // It goes on being written while it is read.
            let between = || (0..below(2)).for_each(|_| write());
            let got = read(asked.data, order, most, between).await;
            // One that was given up shows nothing but that others go on.
            if most == usize::MAX {
                model.borrow().check(&got, asked.range, order);
            }
            let Some((_client, mut live, behind)) = asked.live else { return };
            write();
            let newest = model.borrow().largest();
            loop {
                let object = live.next().await;
                let at = Location::new(object.group, object.id);
                assert!(at > behind, "{at:?} is of the past: {behind:?}, round {round}");
                if at == newest {
                    return;
                }
            }
        };
        let serve = async {
            loop {
                let (request, is_near) = tokio::select! {
                    request = poll_fn(|cx| near.poll(cx)) => (request, true),
                    request = poll_fn(|cx| far.poll(cx)) => (request, false),
                };
                let spine::Request::Fetch(request) = request else { continue };
                // Dropped, it is offered to the other one.
                if is_near && below(2) == 0 {
                    continue;
                }
                asked_far.set(asked_far.get() + u32::from(!is_near));
                // And while somebody looks for it.
                (0..below(2)).for_each(|_| write());
                model.borrow().answer(request);
            }
        };
        tokio::select! {
            () = work => {}
            () = serve => {}
        }
    }
    // Most of it is not in memory any more: the model's answers were looked at, of both.
    let oldest = producer.consume().oldest_group().unwrap();
    assert!(oldest > 10 && asked_far.get() > 5, "seed {seed}: {oldest}, {}", asked_far.get());
}

#[tokio::test]
async fn what_was_written_once_is_there_for_who_comes_after_much_else() {
    let limits = spine::Limits { cache_bytes: 100_000, ..spine::Limits::default() };
    let rig = Rig::with(limits);
    let broadcast = rig.broadcast(&["default", "one"]);
    let catalog = spine::TrackName::from_static("catalog");
    let catalog = broadcast.track(catalog, TrackInfo::default()).unwrap();
    super::duties::group(&catalog, 0, &["the catalog"]);
    let video = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    let (mut random, mut model) = (Random(7), Model::default());
    for viewer in 0..3 {
        // Ten minutes and more of groups.
        for _ in 0..400 {
            model.write(&mut random, &video);
        }
        assert!(video.consume().oldest_group().unwrap() > 1, "memory is short");
        let client = rig.client("/").await;
        let name = track(&["default", "one"], "catalog");
        let from_start = Parameters::default();
        let mut seen = client.subscribe(name.clone(), from_start).await;
        assert_eq!(super::duties::text(&seen.next().await), (0, 0, "the catalog"), "{viewer}");
        // As who keeps to the drafts: what is new, and the group before it.
        let other = rig.client("/").await;
        let live = other.subscribe(name, next_object()).await;
        let start = moqt::JoiningStart::Relative(0);
        let fetch = Fetch::Joining { subscription: live.id, start };
        let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
        let (_, answer, mut told) = other.ask(fetch).await;
        assert_eq!(code(&answer), None);
        let got = super::duties::read_fetch(&mut told, GroupOrder::Ascending).await;
        assert_eq!(got, "0.0the catalog", "{viewer}");
        // And the newest pictures.
        let largest = model.largest();
        let name = track(&["default", "one"], "video");
        let mut pictures = client.subscribe(name, Parameters::default()).await;
        assert_eq!(pictures.next().await.group, largest.group, "{viewer}");
    }
}

/// Asks for all of a track with more than a connection has on its way.
async fn ask_for_much(rig: &Rig, network: &Network) -> (Client, DataStream) {
    let client = rig.client_over(network, Shape { delay: ms(10), ..Shape::default() }).await;
    let all = Range { start: Location::default(), end: Location::new(7, Range::WHOLE_GROUP) };
    let fetch = Fetch::Standalone { track: track(&["default", "one"], "video"), range: all };
    let request = Request::Fetch { fetch, parameters: Parameters::default() };
    // The answer may come behind what it answers.
    let (_, mut told) = client.link.request(request).unwrap();
    let data = Client::fetched(&mut told).await;
    (client, data)
}

#[tokio::test(start_paused = true)]
async fn who_reads_nothing_of_the_past_is_let_go_and_who_reads_slowly_is_not() {
    let network = Network::new(7);
    let rig = Rig::over(&network, Congestion::Ours);
    let broadcast = rig.broadcast(&["default", "one"]);
    let producer = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    for id in 0..8 {
        let now = clock::now();
        let group = producer.group(id, now).unwrap();
        let subgroup = group.subgroup(0, now).unwrap();
        let payload = producer.budget().payload(vec![0; 500_000]);
        subgroup.write(Header::new(0, now), vec![payload]).unwrap();
        subgroup.fin();
        group.end(Some(0), now);
    }
    let (_slow, mut slow) = ask_for_much(&rig, &network).await;
    let (_idle, mut idle) = ask_for_much(&rig, &network).await;
    let mut bytes = 0;
    loop {
        match slow.stream.read().await {
            Read::Chunk(chunk) => bytes += chunk.len(),
            end => break assert_eq!(end, Read::Fin),
        }
        if bytes > 100_000 {
            tokio::time::sleep(FETCH_MAX / 6).await;
            bytes = 0;
        }
    }
    // TOO_FAR_BEHIND
    assert_eq!(soon("the end of it", idle.stream.read()).await, Read::Reset(0x5));
}
