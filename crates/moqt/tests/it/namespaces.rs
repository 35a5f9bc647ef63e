//! Namespaces and tracks that are told.

use moqt::limits::ROUTE_NODES_MAX;
use moqt::session::{Command, Config, Event};
use moqt::{Answer, Node, Parameters, Request, RequestCode, ResetCode, Route, TrackName, Version};

use crate::support::*;

fn subscribe_namespace(fields: &[&'static str]) -> Request {
    namespaces_below(namespace(fields))
}

fn subscribe_tracks(fields: &[&'static str]) -> Request {
    Request::SubscribeTracks { prefix: namespace(fields), parameters: Parameters::default() }
}

#[test]
fn draft18_s10_18_namespaces_come_and_go() {
    for seed in 0..50 {
        let mut pair = Pair::new(seed);
        let id = pair.establish(Client, subscribe_namespace(&["acc"]));
        let (one, two) = (namespace(&["acc", "one"]), namespace(&["acc", "two", "x"]));
        for command in [
            Command::Namespace { id, namespace: one.clone(), route: Route::default() },
            Command::Namespace { id, namespace: two.clone(), route: Route::default() },
            // Nothing new, and nothing that was never there.
            Command::Namespace { id, namespace: one.clone(), route: Route::default() },
            Command::NamespaceDone { id, namespace: namespace(&["acc", "three"]) },
            // Not below the prefix.
            Command::Namespace { id, namespace: namespace(&["other"]), route: Route::default() },
            Command::NamespaceDone { id, namespace: one.clone() },
            // The prefix itself: a suffix of no field.
            Command::Namespace { id, namespace: namespace(&["acc"]), route: Route::default() },
        ] {
            pair.command(Server, command);
        }
        pair.settle();
        assert_eq!(
            pair.take(Client),
            [
                Event::Namespace { id, namespace: one.clone(), route: Route::default() },
                Event::Namespace { id, namespace: two, route: Route::default() },
                Event::NamespaceDone { id, namespace: one },
                Event::Namespace { id, namespace: namespace(&["acc"]), route: Route::default() },
            ]
        );
        pair.command(Client, Command::Cancel { id, code: ResetCode::Cancelled });
        pair.settle();
        assert_eq!(pair.take(Server), [Event::Cancelled { id, code: ResetCode::Cancelled }]);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
    }
}

/// draft-18 §10.18, §10.19: prefixes of one type must not overlap.
#[test]
fn draft18_s10_18_overlapping_prefixes() {
    let mut pair = Pair::new(1);
    let first = pair.establish(Client, subscribe_namespace(&["a", "b"]));
    // The other type has a space of its own.
    pair.establish(Client, subscribe_tracks(&["a", "b"]));
    pair.establish(Client, subscribe_namespace(&["a", "c"]));
    // And so has the other side.
    pair.establish(Server, subscribe_namespace(&["a"]));
    for (request, overlaps) in [
        (subscribe_namespace(&["a"]), true),
        (subscribe_namespace(&["a", "b"]), true),
        (subscribe_namespace(&["a", "b", "c"]), true),
        (subscribe_namespace(&[]), true),
        (subscribe_tracks(&[]), true),
        (subscribe_namespace(&["a", "bb"]), false),
    ] {
        let id = pair.ask(Client, request.clone());
        pair.settle();
        assert_eq!(pair.take(Server).is_empty(), overlaps, "{request:?}");
        let expected = overlaps.then_some((id, RequestCode::PrefixOverlap));
        assert_eq!(refusals(&pair.take(Client)).first().copied(), expected, "{request:?}");
    }
    // Once the first is over, its space is free.
    pair.command(Client, Command::Cancel { id: first, code: ResetCode::Cancelled });
    pair.settle();
    pair.take(Server);
    pair.establish(Client, subscribe_namespace(&["a", "b"]));
}

/// draft-18 §10.9.2
#[test]
fn draft18_s10_9_2_a_prefix_moves() {
    let mut pair = Pair::new(1);
    let id = pair.establish(Client, subscribe_namespace(&["a"]));
    pair.establish(Client, subscribe_namespace(&["z"]));
    for fields in [&["a", "b", "1"], &["a", "c", "2"]] {
        pair.command(
            Server,
            Command::Namespace { id, namespace: namespace(fields), route: Route::default() },
        );
    }
    pair.settle();
    pair.take(Client);
    let to =
        |fields| Parameters { namespace_prefix: Some(namespace(fields)), ..Parameters::default() };
    pair.command(Client, Command::Update { id, parameters: to(&["a", "b"]) });
    pair.settle();
    assert!(matches!(pair.take(Server)[..], [Event::Update { .. }]));
    pair.command(Server, Command::AnswerUpdate { id, answer: Answer::ok() });
    // Later suffixes are relative to the new prefix.
    pair.command(
        Server,
        Command::Namespace { id, namespace: namespace(&["a", "b", "3"]), route: Route::default() },
    );
    pair.command(Server, Command::NamespaceDone { id, namespace: namespace(&["a", "b", "1"]) });
    // No longer below it.
    pair.command(Server, Command::NamespaceDone { id, namespace: namespace(&["a", "c", "2"]) });
    pair.settle();
    assert_eq!(
        pair.take(Client),
        [
            Event::UpdateAnswered { id, answer: Answer::ok() },
            Event::NamespaceDone { id, namespace: namespace(&["a", "c", "2"]) },
            Event::Namespace {
                id,
                namespace: namespace(&["a", "b", "3"]),
                route: Route::default()
            },
            Event::NamespaceDone { id, namespace: namespace(&["a", "b", "1"]) },
        ]
    );
    // Onto another one: refused by the session, and the request is over (draft-18 §10.2.14, §10.9.1).
    pair.command(Client, Command::Update { id, parameters: to(&["z", "y"]) });
    pair.settle();
    assert_eq!(pair.take(Server), [Event::Cancelled { id, code: ResetCode::Cancelled }]);
    let events = pair.take(Client);
    assert!(
        matches!(&events[..], [Event::UpdateAnswered { answer: Answer::Error(error), .. }, Event::Cancelled { .. }]
            if error.code == RequestCode::PrefixOverlap),
        "{events:?}"
    );
}

#[test]
fn draft18_s10_20_a_track_that_is_not_published() {
    let mut pair = Pair::new(1);
    let id = pair.establish(Client, subscribe_tracks(&["acc"]));
    pair.command(Server, Command::PublishBlocked { id, track: track("video") });
    pair.settle();
    assert_eq!(pair.take(Client), [Event::PublishBlocked { id, track: track("video") }]);
}

/// draft-18 §6.2: either side ends a published namespace.
#[test]
fn draft18_s6_2_a_namespace_is_withdrawn() {
    for side in [Client, Server] {
        let mut pair = Pair::new(1);
        let request = Request::PublishNamespace {
            namespace: namespace(&["acc", "cam"]),
            parameters: Parameters::default(),
        };
        let id = pair.establish(Client, request);
        pair.command(side, Command::Cancel { id, code: ResetCode::ExpiredAuthToken });
        pair.settle();
        let told = Event::Cancelled { id, code: ResetCode::ExpiredAuthToken };
        assert_eq!(pair.take(side.other()), [told]);
        assert_eq!(pair.client.session.kept() + pair.server.session.kept(), 0);
    }
}

/// Duty D20: `.` and `.session` are nobody's; other reserved namespaces go to the owner.
#[test]
fn draft18_s3_2_d20_reserved_namespaces() {
    let parameters = Parameters::default;
    for (first, told) in [(".", false), (".session", false), (".other", true), ("acc", true)] {
        let name = namespace(&[first, "x"]);
        let track = TrackName::new(name.clone(), "t").unwrap();
        for request in [
            Request::Subscribe { track: track.clone(), parameters: parameters() },
            Request::Publish {
                track: track.clone(),
                parameters: parameters(),
                properties: moqt::Properties::empty(),
            },
            Request::TrackStatus { track: track.clone(), parameters: parameters() },
            Request::PublishNamespace { namespace: name.clone(), parameters: parameters() },
            namespaces_below(name.clone()),
            Request::SubscribeTracks { prefix: name.clone(), parameters: parameters() },
        ] {
            let mut pair = Pair::new(1);
            let id = pair.ask(Client, request.clone());
            pair.settle();
            assert_eq!(pair.take(Server).len(), usize::from(told), "{request:?}");
            let expected = (!told).then_some((id, RequestCode::DoesNotExist));
            assert_eq!(refusals(&pair.take(Client)).first().copied(), expected, "{request:?}");
        }
    }
}

fn route(nodes: &[u64]) -> Route {
    Route::new(nodes.iter().map(|id| Node::new(*id).unwrap()).collect()).unwrap()
}

/// Two ends, of which some are nodes.
fn between(version: Version, client: Option<u64>, server: Option<u64>) -> Pair {
    let config = |id: Option<u64>| Config { node: id.and_then(Node::new), ..Config::new(version) };
    let mut pair = Pair::raw(1, config(client), config(server));
    pair.settle();
    for side in [Client, Server] {
        let events = pair.take(side);
        assert!(matches!(events[..], [Event::Ready(_)]), "{events:?}");
    }
    pair
}

#[test]
fn a_route_is_told_between_nodes_and_to_nobody_else() {
    for version in Version::ALL {
        for (client, server, told) in [
            (Some(7), Some(9), route(&[3, 9])),
            (None, Some(9), Route::default()),
            (Some(7), None, Route::default()),
        ] {
            let mut pair = between(*version, client, server);
            let both = client.is_some() && server.is_some();
            for (side, peer) in [(Client, server), (Server, client)] {
                let peer = peer.filter(|_| both).and_then(Node::new);
                assert_eq!(pair.end(side).session.peer_node(), peer, "{version:?}");
            }
            let id = pair.establish(Client, subscribe_namespace(&["acc"]));
            let namespace = namespace(&["acc", "one"]);
            let here =
                Command::Namespace { id, namespace: namespace.clone(), route: route(&[3, 9]) };
            pair.command(Server, here);
            pair.command(Server, Command::NamespaceDone { id, namespace: namespace.clone() });
            pair.settle();
            let gone = Event::NamespaceDone { id, namespace: namespace.clone() };
            let here = Event::Namespace { id, namespace, route: told };
            assert_eq!(pair.take(Client), [here, gone], "{version:?}");
        }
    }
}

#[test]
fn a_route_has_an_end_and_goes_over_no_node_twice() {
    let nodes = |ids: &[u64]| Route::new(ids.iter().filter_map(|id| Node::new(*id)).collect());
    let longest: Vec<u64> = (1..=ROUTE_NODES_MAX as u64).collect();
    assert!(nodes(&longest).is_some());
    assert_eq!(nodes(&[&longest[..], &[99]].concat()), None);
    assert_eq!(nodes(&[1, 2, 1]), None);
    for (id, is_one) in [(0, false), (1, true), ((1 << 53) - 1, true), (1 << 53, false)] {
        assert_eq!(Node::new(id).is_some(), is_one, "{id}");
    }
}
