//! FETCH against a plain model: random histories of a track with little memory, of which two others keep most and one of them
//! not always answers; ranges of any kind in any order, by FETCH, joining a subscription or filling it, also across the live
//! edge, which moves on meanwhile; and fetches that are given up in the middle. Once of a broadcast of our own, and once of one that
//! a relay takes from a session of MoQ, with little memory at both ends of it.
//!
//! What comes is held to it place by place: each object that was ever written is there, or in a range that is said to be unknown,
//! of a group that nobody keeps; and no other group is said to be unknown, and none that exists not to exist.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::time::Instant;

use bytes::Bytes;
use moqt::data::{FetchItem, FetchReader, Missing};
use moqt::session::{DataHeader, Event};
use moqt::{
    Answer, Fetch, Filter, GroupOrder, Location, Parameters, Range, Request, RequestCode,
    ResetCode, Version,
};
use spine::{Absence, Header, Order, Origin, TrackInfo, group, track};
use testkit::Shape;

use super::duties::{VIDEO, code, largest};
use super::live::ms;
use super::rig::{Client, Rig, Subscribed, namespace, next_object, soon, track, until};
use crate::client::{self, Server};
use crate::clock;
use crate::limits::FETCH_MAX;
use crate::link::{DataStream, Told};
use crate::play::location;
use crate::transport::{Congestion, Network, Read as Arrived, Trust};

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

/// What was ever written: payloads by group and object.
#[derive(Default)]
struct Model {
    groups: BTreeMap<u64, Vec<Bytes>>,
    /// Groups that nobody keeps.
    lost: BTreeSet<u64>,
    /// Groups whose end was not said when they began: what is behind their objects may be unknown.
    open: BTreeSet<u64>,
    /// The last one, if it may go on.
    writing: Option<(group::Producer, group::SubgroupProducer)>,
}

impl Model {
    /// Goes on with the last group, or ends it and begins the next one: a few objects, mostly directly behind the last group.
    fn write(&mut self, random: &mut Random, track: &track::Producer) {
        let last = self.groups.last_key_value().map_or(0, |(id, _)| *id);
        if let Some((group, subgroup)) = self.writing.take() {
            if random.below(2) == 0 {
                self.object(random, track, (last, &subgroup));
                self.writing = Some((group, subgroup));
                return;
            }
            subgroup.fin();
            group.end(Some(self.groups[&last].len() as u64 - 1), Instant::now());
        }
        let id = last + 1 + random.below(3) / 2;
        if id > last + 1 {
            track.gap(last + 1..=id - 1);
        }
        let group = track.group(id, Instant::now()).unwrap();
        let subgroup = group.subgroup(0, Instant::now()).unwrap();
        let open = random.below(3) == 0;
        if !open {
            subgroup.ends_group();
        }
        for _ in 0..1 + random.below(4) {
            self.object(random, track, (id, &subgroup));
        }
        if random.below(5) == 0 {
            self.lost.insert(id);
        }
        if open {
            self.open.insert(id);
            self.writing = Some((group, subgroup));
        } else {
            subgroup.fin();
            group.end(Some(self.groups[&id].len() as u64 - 1), Instant::now());
        }
    }

    /// The next object of a group.
    fn object(
        &mut self,
        random: &mut Random,
        track: &track::Producer,
        (id, subgroup): (u64, &group::SubgroupProducer),
    ) {
        let objects = self.groups.entry(id).or_default();
        let object = objects.len() as u64;
        let mut payload = format!("{id}.{object}").into_bytes();
        payload.resize(payload.len() + random.below(600) as usize, b' ');
        objects.push(payload.clone().into());
        let payload = track.budget().payload(payload);
        subgroup.write(Header::new(object, Instant::now()), vec![payload]).unwrap();
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
                let never = !self.groups.contains_key(&id);
                answer.gap(id, id, if never { Absence::Missing } else { Absence::Unknown });
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

    /// Compares what came of a range that ends with the largest object of then at the latest: all of it, or what came first.
    fn check(&self, came: &[Came], range: Range, order: GroupOrder, whole: bool) {
        // The order in which places are read.
        let place = |at: Location| match order {
            GroupOrder::Ascending => (at.group, at.object),
            GroupOrder::Descending => (u64::MAX - at.group, at.object),
        };
        let all = self.groups.range(range.start.group..=range.end.group);
        let all = all.flat_map(|(id, objects)| {
            (0..).zip(objects).map(|(object, payload)| (Location::new(*id, object), payload))
        });
        let inside = |at: &Location| *at >= range.start && *at <= range.end;
        let mut wanted: Vec<(Location, &Bytes)> = all.filter(|(at, _)| inside(at)).collect();
        wanted.sort_by_key(|(at, _)| place(*at));
        let mut wanted = wanted.into_iter().peekable();
        let context = || format!("{range:?} {order:?}: {came:?}");
        // The last place that was spoken of.
        let mut spoken: Option<Location> = None;
        for item in came {
            match item {
                Came::Object(at, payload) => {
                    assert_eq!(wanted.next(), Some((*at, payload)), "{}", context());
                }
                Came::Gap(Missing::NonExistent, end) => {
                    let next = wanted.peek().map(|(at, _)| *at);
                    let none = next.is_none_or(|at| place(at) > place(*end));
                    assert!(none, "{next:?} exists: {}", context());
                }
                Came::Gap(Missing::Unknown, end) => {
                    let first = match order {
                        GroupOrder::Ascending => range.start.group,
                        GroupOrder::Descending => range.end.group,
                    };
                    let first = spoken.map_or(first, |at| at.group);
                    for id in first.min(end.group)..=first.max(end.group) {
                        // Any range begins behind what was spoken of, or where it was asked for: what is left of its group, which
                        // is nothing, need not be unknown.
                        let left = wanted.peek().is_some_and(|(at, _)| at.group == id);
                        let behind = id == first && id != end.group && !left;
                        let unknown = self.lost.contains(&id) || self.open.contains(&id);
                        assert!(unknown || behind, "group {id} is known: {}", context());
                    }
                    while let Some((at, _)) = wanted.next_if(|(at, _)| place(*at) <= place(*end)) {
                        assert!(self.lost.contains(&at.group), "{at:?} is kept: {}", context());
                    }
                }
                Came::Gap(Missing::TimedOut, _) => panic!("nobody is late: {}", context()),
            }
            let at = match item {
                Came::Object(at, _) | Came::Gap(_, at) => *at,
            };
            assert!(spoken.is_none_or(|before| place(before) < place(at)), "{}", context());
            spoken = Some(at);
        }
        let next = wanted.next().filter(|_| whole);
        assert!(next.is_none(), "{next:?} does not come: {}", context());
    }
}

/// What comes of the past.
#[derive(Debug)]
enum Came {
    Object(Location, Bytes),
    /// Up to here, from behind what came before it.
    Gap(Missing, Location),
}

/// How a fetch was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Whole,
    /// By who reads it.
    GivenUp,
    /// By who sends it: an object of its publisher's that was on its way was cut.
    Cut,
}

/// Reads a fetch to its end, or gives it up after so many items: what came whole of it. Now and then something is done in between.
async fn read(
    mut data: DataStream,
    order: GroupOrder,
    most: usize,
    between: impl Fn(),
) -> (Vec<Came>, Read) {
    let version = data.version();
    let mut reader = FetchReader::new(version, order);
    let mut chunk = data.first.clone();
    let mut came: Vec<Came> = Vec::new();
    let (mut left, mut how) = (0, Read::GivenUp);
    while came.len() < most {
        while let Some(item) = reader.read(&mut chunk).unwrap() {
            match item {
                FetchItem::Object(object) => {
                    left = object.payload_length;
                    came.push(Came::Object(object.location, Bytes::new()));
                }
                FetchItem::Payload { bytes, .. } => {
                    let Some(Came::Object(_, payload)) = came.last_mut() else { panic!() };
                    left -= bytes.len() as u64;
                    *payload = [&payload[..], &bytes[..]].concat().into();
                }
                FetchItem::Gap { missing, end } => came.push(Came::Gap(missing, end)),
            }
        }
        between();
        match soon("the fetch", data.stream.read()).await {
            Arrived::Chunk(bytes) => chunk = bytes,
            Arrived::Fin => {
                reader.finish().unwrap();
                how = Read::Whole;
                break;
            }
            Arrived::Reset(code) => {
                assert_eq!(code, version.reset_code(ResetCode::UnknownObjectStatus));
                how = Read::Cut;
                break;
            }
            end => panic!("{end:?}"),
        }
    }
    if left > 0 {
        came.pop();
    }
    (came, how)
}

/// What is asked for, and who asks.
struct Asking<'a> {
    rig: &'a Rig,
    track: moqt::TrackName,
    /// Of a draft each.
    clients: Vec<Client>,
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
        let fetch = Fetch::Standalone { track: self.track.clone(), range };
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
    async fn joining(&self, groups: u64, version: Version) -> Asked {
        let client = self.rig.client_of(version).await;
        let live = client.subscribe(self.track.clone(), next_object()).await;
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
    async fn fill(&self, start: Location, version: Version) -> Asked {
        let client = self.rig.client_of(version).await;
        let fill = Parameters {
            filter: Some(Filter::From(start)),
            group_order: Some(self.order),
            ..Parameters::default()
        };
        let parameters = Parameters { fill: Some(Box::new(fill)), ..next_object() };
        let request = Request::Subscribe { track: self.track.clone(), parameters };
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

/// How many histories: more of them in soak.
fn histories() -> u64 {
    let said = std::env::var("AIRWAVE_HISTORIES").ok().and_then(|said| said.parse().ok());
    said.unwrap_or(1)
}

#[tokio::test]
async fn d23_d24_ranges_of_random_histories_are_what_a_plain_model_says() {
    for seed in 0..histories() {
        let rig = Rig::with(little());
        let fields = ["default", "one"];
        history(&rig, seed, (&rig.origin, &fields), 60).await;
    }
}

#[tokio::test]
async fn d23_d24_ranges_of_a_relayed_track_are_what_a_plain_model_says() {
    for seed in 0..histories() {
        let rig = Rig::with(little());
        let origin = Origin::new(little());
        let at = rig.endpoint.local_address().unwrap();
        let (host, path, draft) = (at.ip().to_string(), "/".to_owned(), None);
        let server = Server { host, port: at.port(), path, draft };
        let trust = Trust::Fingerprint(rig.hash);
        let mut publisher = client::Client::connect(&server, trust, origin.clone()).await.unwrap();
        let handle = publisher.handle();
        let fields = ["open", "room"];
        let publishing = async {
            let published = handle.publish(&namespace(&fields)).await;
            let _published = published.map_err(|_| "refused").unwrap();
            history(&rig, seed, (&origin, &fields), 25).await;
        };
        tokio::select! {
            () = publishing => {}
            _ = publisher.run_out() => panic!("the session ended"),
        }
    }
}

fn little() -> spine::Limits {
    spine::Limits { cache_bytes: 24_000, ..spine::Limits::default() }
}

/// A history of a track that is written there, and read at the rig.
async fn history(rig: &Rig, seed: u64, (origin, fields): (&Origin, &[&str]), rounds: u64) {
    let random = RefCell::new(Random(seed));
    let below = |n| random.borrow_mut().below(n);
    let any = |of: &[Version]| of[below(of.len() as u64) as usize];
    let path = spine::Path::new(fields.iter().map(ToString::to_string)).unwrap();
    let route = spine::Route::local(spine::NodeId(0), 1);
    let broadcast = origin.publish(&path, route, spine::Takeover::Replace).unwrap();
    let producer = broadcast.track(VIDEO, TrackInfo::default()).unwrap();
    // The nearer one does not always answer; then the other one is asked.
    let [mut near, mut far] = [1, 2].map(|cost| origin.responder(path.clone(), cost));
    let model = RefCell::new(Model::default());
    let write = || model.borrow_mut().write(&mut random.borrow_mut(), &producer);
    (0..3).for_each(|_| write());
    let name = track(fields, "video");
    // Somebody watches all the time: what is new is on its way to the relay.
    let keeper = rig.client("/").await;
    let _kept = keeper.subscribe(name.clone(), next_object()).await;
    let here = rig.origin.get(&path).unwrap().get(&VIDEO).unwrap();
    let mut clients = Vec::new();
    for version in Version::ALL {
        clients.push(rig.client_of(*version).await);
    }
    let fills: Vec<Version> = Version::ALL.iter().copied().filter(|it| it.fills()).collect();
    let joins: Vec<Version> = Version::ALL.iter().copied().filter(|it| !it.fills()).collect();
    let mut asking = Asking { rig, track: name, clients, order: GroupOrder::Ascending };
    let [asked_far, whole, cut, none] = [(); 4].map(|()| std::cell::Cell::new(0));
    for round in 0..rounds {
        (0..below(4)).for_each(|_| write());
        let largest = model.borrow().largest();
        // Nobody knows of more than has come.
        let newest = || here.largest().map(location) == Some(largest);
        until("the newest object", newest).await;
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
                0 => asking.joining(below(40), any(&joins)).await,
                1 => asking.fill(range.start.min(largest), any(&fills)).await,
                _ => {
                    let client = below(Version::ALL.len() as u64) as usize;
                    match asking.fetch(range, || model.borrow().largest(), client).await {
                        Some(asked) => asked,
                        None => return none.set(none.get() + 1),
                    }
                }
            };
            // It goes on being written while it is read.
            let between = || (0..below(2)).for_each(|_| write());
            let (came, how) = read(asked.data, order, most, between).await;
            model.borrow().check(&came, asked.range, order, how == Read::Whole);
            let counter = if how == Read::Cut { &cut } else { &whole };
            counter.set(counter.get() + 1);
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
                asked_far.set(asked_far.get() + u64::from(!is_near));
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
    let enough = oldest > 3 && asked_far.get() > 0;
    assert!(enough, "seed {seed}: {oldest}, {}", asked_far.get());
    // Nearly all were looked at to their end, or to where they were given up.
    let (whole, cut, none) = (whole.get(), cut.get(), none.get());
    assert_eq!(whole + cut + none, rounds);
    println!("seed {seed}: {whole} of {rounds}, {cut} were cut, {none} had none");
    assert!(cut * 10 <= rounds && none * 4 <= rounds, "seed {seed}: {cut} cut, {none} of nothing");
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
            Arrived::Chunk(chunk) => bytes += chunk.len(),
            end => break assert_eq!(end, Arrived::Fin),
        }
        if bytes > 100_000 {
            tokio::time::sleep(FETCH_MAX / 6).await;
            bytes = 0;
        }
    }
    // TOO_FAR_BEHIND: of a FETCH it is the end.
    assert_eq!(soon("the end of it", idle.stream.read()).await, Arrived::Reset(0x5));
}
