//! Datagrams, and how much of the unknown is held.

use std::time::Duration;

use bytes::Bytes;
use moqt::data::{Body, Datagram};
use moqt::session::{DataHeader, DataId, Event, Input};
use moqt::{Answer, Properties, ResetCode};

use crate::support::*;

fn datagram(alias: u64, object: u64) -> Datagram {
    Datagram {
        alias,
        group: 1,
        object,
        priority: None,
        end_of_group: false,
        properties: Properties::empty(),
        body: Body::Payload(Bytes::from_static(b"x")),
    }
}

/// Duty D25.
#[test]
fn draft18_s11_3_d25_datagrams_and_their_aliases() {
    for seed in 0..100 {
        let mut pair = Pair::new(seed);
        let id = pair.ask_and_see(Client, subscribe("video"));
        pair.answer(Server, id, Answer::ok());
        let alias = pair.server.session.alias(id).unwrap();
        for object in 0..3 {
            pair.send_datagram(Server, datagram(alias, object).encode(V).unwrap());
        }
        pair.send_datagram(Server, datagram(alias + 1, 0).encode(V).unwrap());
        pair.settle();
        let events = pair.take(Client);
        assert!(matches!(events[0], Event::Answered { .. }), "seed {seed}: {events:?}");
        let mut objects: Vec<_> = events[1..]
            .iter()
            .map(|event| match event {
                Event::Datagram { id: to, datagram } if *to == id => datagram.object,
                other => panic!("{other:?}"),
            })
            .collect();
        objects.sort_unstable();
        assert_eq!(objects, [0, 1, 2], "seed {seed}");
        // The one of nobody is not kept for ever.
        pair.advance(Duration::from_secs(3));
        assert_eq!(pair.client.session.kept(), 1, "the subscription");
        // After the end they are dropped at once.
        pair.command(Client, moqt::session::Command::Cancel { id, code: ResetCode::Cancelled });
        pair.send_datagram(Server, datagram(alias, 3).encode(V).unwrap());
        pair.settle();
        assert_eq!(pair.take(Client), []);
        assert_eq!(pair.client.session.kept(), 0);
    }
}

/// draft-18 §2.4.2: a malformed track costs its subscription, not the session.
#[test]
fn draft18_s2_4_2_d13_a_malformed_datagram() {
    let mut pair = Pair::new(1);
    let id = pair.establish(Client, subscribe("video"));
    let alias = pair.server.session.alias(id).unwrap();
    // A mandatory track property on an object.
    let bytes = [&[0x0d, alias as u8, 1, 4, 0xc0, 0x40, 0, 0][..], b"x"].concat();
    pair.send_datagram(Server, bytes.into());
    pair.settle();
    let told = |code| Event::Cancelled { id, code };
    assert_eq!(pair.take(Client), [told(ResetCode::MalformedTrack)]);
    assert_eq!(pair.take(Server), [told(ResetCode::MalformedTrack)]);
}

#[test]
fn draft18_s11_1_what_waits_for_an_alias_is_bounded() {
    let mut pair = Pair::new(1);
    for i in 0..10_000 {
        let header = moqt::data::SubgroupHeader {
            alias: 1_000 + i,
            group: 0,
            subgroup: moqt::data::SubgroupId::Zero,
            priority: None,
            properties: false,
            end_of_group: false,
            first_object: false,
        };
        let stream = DataId(50_000 + i);
        pair.input(Client, Input::DataOpened { stream, header: DataHeader::Subgroup(header) });
        let bytes = Bytes::from([&[0x0c, 0x40, 0][..], &[0; 1_200]].concat());
        pair.input(Client, Input::Datagram(bytes));
    }
    assert!(pair.client.session.kept() <= 256 + 64);
    assert!(pair.client.session.kept_bytes() <= 128 << 10);
    assert_eq!(pair.server.stopped.len(), 10_000 - 256);
    pair.advance(Duration::from_secs(3));
    assert_eq!(pair.server.stopped.len(), 10_000);
    assert_eq!((pair.client.session.kept(), pair.client.session.kept_bytes()), (0, 0));
}
