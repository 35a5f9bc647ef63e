//! Two owners who do anything at any time: whatever they do, neither session closes, and when all is over
//! neither holds anything.

use std::collections::BTreeMap;
use std::time::Duration;

use moqt::session::{Command, DataId, Event};
use moqt::{
    Answer, Done, DoneCode, Fetch, FetchOk, JoiningStart, Location, Namespace, Parameters,
    Properties, Range, Request, RequestCode, RequestId, ResetCode, Route, TrackName, Version,
};
use sansio::harness::Rng;

use crate::support::*;

/// What an owner believes of the requests that it knows.
#[derive(Default)]
struct Owner {
    open: BTreeMap<RequestId, Known>,
}

#[derive(Clone)]
struct Known {
    request: Request,
    ours: bool,
    answered: bool,
    /// Of the peer, without an answer.
    updates: usize,
    /// Data streams that we opened.
    streams: Vec<DataId>,
    /// No stream may be opened any more.
    done: bool,
}

fn known(request: Request, ours: bool) -> Known {
    Known { request, ours, answered: false, updates: 0, streams: Vec::new(), done: false }
}

struct World {
    pair: Pair,
    rng: Rng,
    client: Owner,
    server: Owner,
    /// By request, what was written into its streams that were finished.
    written: usize,
}

impl World {
    fn owner(&mut self, side: Side) -> &mut Owner {
        if side == Client { &mut self.client } else { &mut self.server }
    }

    fn random_namespace(&mut self) -> Namespace {
        let count = self.rng.below(3);
        let field = |rng: &mut Rng| ["a", "b", "c"][rng.below(3)];
        Namespace::new((0..count).map(|_| field(&mut self.rng)).collect::<Vec<_>>()).unwrap()
    }

    fn random_track(&mut self) -> TrackName {
        let name = ["x", "y"][self.rng.below(2)];
        TrackName::new(self.random_namespace(), name).unwrap()
    }

    fn random_request(&mut self, side: Side) -> Request {
        let parameters = Parameters::default();
        let location = Location::new(self.rng.below(5) as u64, self.rng.below(3) as u64);
        match self.rng.below(8) {
            0 | 1 => {
                // The one filter with which a subscription can be joined in all drafts.
                let fill = self.pair.version().fills() && self.rng.below(2) == 0;
                let parameters = Parameters {
                    filter: Some(moqt::Filter::NextObject),
                    fill: fill.then(Box::default),
                    ..parameters
                };
                Request::Subscribe { track: self.random_track(), parameters }
            }
            2 => Request::Publish {
                track: self.random_track(),
                parameters: Parameters { largest: Some(location), ..parameters },
                properties: Properties::empty(),
            },
            3 => {
                let subscriptions: Vec<RequestId> = self
                    .owner(side)
                    .open
                    .iter()
                    .filter(|(_, it)| matches!(it.request, Request::Subscribe { .. }) && it.ours)
                    .map(|(id, _)| *id)
                    .collect();
                let fetch = match subscriptions.is_empty() {
                    false => Fetch::Joining {
                        subscription: subscriptions[self.rng.below(subscriptions.len())],
                        start: JoiningStart::Relative(self.rng.below(3) as u64),
                    },
                    true => Fetch::Standalone {
                        track: self.random_track(),
                        range: Range { start: location, end: Location::new(7, 0) },
                    },
                };
                Request::Fetch { fetch, parameters }
            }
            4 => Request::TrackStatus { track: self.random_track(), parameters },
            5 => Request::PublishNamespace { namespace: self.random_namespace(), parameters },
            6 => namespaces_below(self.random_namespace()),
            _ => Request::SubscribeTracks { prefix: self.random_namespace(), parameters },
        }
    }

    fn random_answer(&mut self, request: &Request) -> Answer {
        if self.rng.below(4) == 0 {
            return Answer::error(RequestCode::DoesNotExist, "no");
        }
        match request {
            Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. } => {
                Answer::FetchOk(FetchOk {
                    end_of_track: false,
                    end: range.end,
                    parameters: Parameters::default(),
                    properties: Properties::empty(),
                })
            }
            Request::Subscribe { .. } => {
                let largest = (self.rng.below(2) == 0).then_some(Location::new(4, 4));
                let parameters = Parameters { largest, ..Parameters::default() };
                Answer::Ok { parameters, properties: Properties::empty() }
            }
            _ => Answer::ok(),
        }
    }

    fn pick(&mut self, side: Side) -> Option<(RequestId, Known)> {
        let count = self.owner(side).open.len();
        let at = self.rng.below(count);
        self.owner(side).open.iter().nth(at).map(|(id, it)| (*id, it.clone()))
    }

    /// One thing that an owner does.
    fn act(&mut self, side: Side) {
        if self.rng.below(4) == 0 {
            let request = self.random_request(side);
            let now = self.pair.now;
            // A second subscription is misuse, and nothing happens.
            if let Ok(id) = self.pair.end(side).session.request(now, request.clone()) {
                self.owner(side).open.insert(id, known(request, true));
            }
            self.pair.input(side, moqt::session::Input::Timeout);
            return;
        }
        let Some((id, it)) = self.pick(side) else { return };
        // What waits for an answer gets one soon.
        let action = match !it.ours && !it.answered {
            true => self.rng.below(2),
            false => 1 + self.rng.below(6),
        };
        match action {
            0 if !it.ours && !it.answered => {
                let answer = self.random_answer(&it.request);
                let refused = matches!(answer, Answer::Error(_));
                self.pair.answer(side, id, answer);
                let over = refused || matches!(it.request, Request::TrackStatus { .. });
                if over {
                    self.forget(side, id);
                } else if let Some(it) = self.owner(side).open.get_mut(&id) {
                    it.answered = true;
                }
            }
            1 if it.updates > 0 => {
                let answer = match self.rng.below(5) {
                    0 => Answer::error(RequestCode::Unauthorized, "no"),
                    _ => Answer::ok(),
                };
                let failed = matches!(answer, Answer::Error(_));
                self.pair.command(side, Command::AnswerUpdate { id, answer });
                let Some(it) = self.owner(side).open.get_mut(&id) else { return };
                it.updates = if failed { 0 } else { it.updates - 1 };
                if failed && is_publishing(it) {
                    it.done = true;
                    self.finish(side, id);
                } else if failed && !is_receiving(&it.clone()) {
                    self.forget(side, id);
                }
            }
            2 if self.rng.below(2) == 0 => {
                let parameters = Parameters::default();
                // Not all may be updated.
                let _ = self.pair.try_command(side, Command::Update { id, parameters });
            }
            3 if self.rng.below(4) == 0 => {
                self.pair.command(side, Command::Cancel { id, code: ResetCode::Cancelled });
                self.forget(side, id);
            }
            4 if is_publishing(&it) && !it.done => {
                let group = self.rng.below(100) as u64;
                let past = it.request.parameters().fill.is_some() && self.rng.below(3) == 0;
                let stream = match past {
                    true => self.pair.send_fill(side, id, id, &[group]),
                    false => self.pair.send_group(side, id, group, &["a", "bb"]),
                };
                if let Some(stream) = stream {
                    self.written += 1;
                    if let Some(it) = self.owner(side).open.get_mut(&id) {
                        it.streams.push(stream);
                    }
                }
            }
            5 if is_publishing(&it) && (it.answered || it.ours) => {
                let done = Done { code: DoneCode::TrackEnded, reason: String::new() };
                self.pair.command(side, Command::Done { id, done });
                if let Some(it) = self.owner(side).open.get_mut(&id) {
                    it.done = true;
                }
                self.finish(side, id);
            }
            6 if matches!(it.request, Request::SubscribeNamespace { .. }) => {
                let namespace = self.random_namespace();
                let command = match self.rng.below(2) {
                    0 => Command::Namespace { id, namespace, route: Route::default() },
                    _ => Command::NamespaceDone { id, namespace },
                };
                if !it.ours && it.answered {
                    self.pair.command(side, command);
                }
            }
            _ => {}
        }
    }

    /// Closes what a publisher has open, in one way or the other.
    fn finish(&mut self, side: Side, id: RequestId) {
        let Some(it) = self.owner(side).open.get_mut(&id) else { return };
        for stream in std::mem::take(&mut it.streams) {
            match self.rng.below(2) {
                0 => self.pair.finish_data(side, id, stream),
                _ => self.pair.reset_data(side, id, stream),
            }
        }
        self.owner(side).open.remove(&id);
    }

    fn forget(&mut self, side: Side, id: RequestId) {
        if let Some(it) = self.owner(side).open.get_mut(&id) {
            it.done = true;
        }
        self.finish(side, id);
    }

    fn hear(&mut self, side: Side) {
        for event in self.pair.take(side) {
            match event {
                Event::Request { id, request, .. } => {
                    let before = self.owner(side).open.insert(id, known(request, false));
                    assert!(before.is_none());
                }
                Event::Answered { id, answer } => {
                    let over = matches!(answer, Answer::Error(_));
                    let it = self.owner(side).open.get_mut(&id);
                    if over || it.as_ref().is_some_and(|it| is_one_answer(&it.request)) {
                        self.forget(side, id);
                    } else if let Some(it) = it {
                        it.answered = true;
                    }
                }
                Event::Update { id, .. } => {
                    let it = self.owner(side).open.get_mut(&id);
                    it.expect("an update of what is known").updates += 1;
                }
                Event::Cancelled { id, .. } => self.forget(side, id),
                Event::Drained { id } => {
                    self.owner(side).open.remove(&id);
                }
                Event::Data { id, .. } => {
                    assert!(self.owner(side).open.contains_key(&id), "data of what is over");
                }
                _ => {}
            }
        }
    }
}

fn is_publishing(it: &Known) -> bool {
    match it.request {
        Request::Subscribe { .. } => !it.ours,
        Request::Publish { .. } => it.ours,
        _ => false,
    }
}

fn is_receiving(it: &Known) -> bool {
    match it.request {
        Request::Subscribe { .. } => it.ours,
        Request::Publish { .. } => !it.ours,
        _ => false,
    }
}

fn is_one_answer(request: &Request) -> bool {
    matches!(request, Request::TrackStatus { .. })
}

fn run(version: Version, seed: u64) -> usize {
    let mut world = World {
        pair: Pair::of(version, seed),
        rng: Rng::new(seed ^ 0xa5a5),
        client: Owner::default(),
        server: Owner::default(),
        written: 0,
    };
    for _ in 0..150 {
        let side = if world.rng.below(2) == 0 { Client } else { Server };
        world.act(side);
        let millis = world.rng.below(15) as u64;
        world.pair.advance(Duration::from_millis(millis));
        world.hear(Client);
        world.hear(Server);
    }
    // The end: all of it is given up by the one or the other; then what was on its way meanwhile.
    for side in [Client, Server, Client] {
        let open: Vec<RequestId> = world.owner(side).open.keys().copied().collect();
        for id in open {
            world.pair.command(side, Command::Cancel { id, code: ResetCode::Cancelled });
            world.forget(side, id);
        }
        world.pair.settle();
        world.hear(Client);
        world.hear(Server);
    }
    world.pair.advance(Duration::from_secs(60));
    for side in [Client, Server] {
        let end = world.pair.end(side);
        assert_eq!(end.error, None, "{version:?}, seed {seed}, {side:?}");
        assert_eq!(end.closed, None, "{version:?}, seed {seed}, {side:?}");
        assert_eq!(end.session.kept(), 0, "{version:?}, seed {seed}, {side:?}");
        assert_eq!(end.session.kept_bytes(), 0, "{version:?}, seed {seed}, {side:?}");
    }
    world.written
}

#[test]
fn whatever_two_owners_do() {
    for version in Version::ALL {
        let written: usize = (0..800).map(|seed| run(*version, seed)).sum();
        assert!(written > 1_000, "the runs do something: {written}, {version:?}");
    }
}
