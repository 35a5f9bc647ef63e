//! What both ends do when everybody means well, and how a publish ends.

use std::time::Duration;

use bytes::Bytes;
use rtmp::Kind;
use rtmp::amf0::Value;
use rtmp::client::{self, ClientError, Refused, Stage};
use rtmp::handshake::Done;
use rtmp::handshake::digest::Schema;
use rtmp::server::{Command, End, Event, PublishKind, RefusalCode};
use sansio::harness::Link;

use crate::support::*;

#[test]
fn media_arrives_as_it_was_sent() {
    let wishes = [Done::Plain, Done::Digest(Schema::KeyFirst), Done::Digest(Schema::DigestFirst)];
    for seed in 0..30 {
        let link = Link {
            delay: Duration::from_millis(seed % 3),
            piece_max: [1, 100, 9_000][seed as usize % 3],
            seed,
        };
        let mut pair = pair(link, wishes[seed as usize / 3 % 3]);
        pair.settle();
        let publish = offer(&mut pair.b.take_events());
        assert_eq!((publish.connect.app.expose(), publish.name.expose()), ("live", KEY));
        assert_eq!((publish.query.expose(), publish.kind), ("token=canary", PublishKind::Live));
        assert_eq!(publish.connect.tc_url.expose(), "rtmp://host/live");
        pair.command_b(Command::Accept { stream_id: publish.stream_id });
        pair.settle();

        let mut sent = Vec::new();
        let times = [0, 20, 40, 40, 60, 0xff_fffe, 0xff_ffff, 0x100_0000, 0xffff_ffff, 3];
        for (index, timestamp) in times.into_iter().enumerate() {
            let kind = if index % 2 == 0 { Kind::Video } else { Kind::Audio };
            let payload = Bytes::from(vec![index as u8; 1 + index * 977 % 4_000]);
            sent.push((kind, timestamp, payload.clone()));
            send(&mut pair, kind, timestamp, payload);
        }
        send(&mut pair, Kind::Data, 4, &b"\x02\x00\x0aonMetaData\x05"[..]);
        sent.push((Kind::Data, 4, Bytes::from_static(b"\x02\x00\x0aonMetaData\x05")));
        pair.settle();
        let arrived = pair.b.take_events().into_iter().map(|event| match event {
            Event::Media(media) => (media.kind, media.timestamp, media.payload),
            other => panic!("{other:?}"),
        });
        let arrived: Vec<_> = arrived.collect();
        assert_eq!(arrived, sent);
        pair.command_a(client::Command::Goodbye);
        pair.settle();
        assert_eq!(ends(pair.b.take_events()), [(1, End::Goodbye)]);
        assert!(pair.a.error.is_none() && pair.b.error.is_none());
        assert!(pair.a.closed.is_some() && pair.b.closed.is_some());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut pair = live(5);
        for timestamp in 0..50 {
            send(&mut pair, Kind::Video, timestamp, vec![1; 3_000]);
        }
        pair.settle();
        pair.b.events.iter().map(|(_, event)| format!("{event:?}")).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_large_key_frame_passes() {
    let mut pair = live(1);
    let frame = Bytes::from(vec![7; 3 << 20]);
    send(&mut pair, Kind::Video, 0, frame.clone());
    pair.settle();
    let events = pair.b.take_events();
    assert!(matches!(&events[..], [Event::Media(media)] if media.payload == frame));
}

#[test]
fn a_refusal_reaches_the_client_in_words() {
    for (code, text) in [
        (RefusalCode::PublishDenied, "NetStream.Publish.Denied"),
        (RefusalCode::PublishBadName, "NetStream.Publish.BadName"),
    ] {
        let mut pair = pair(Link::seeded(2), Done::Plain);
        pair.settle();
        let stream_id = offer(&mut pair.b.take_events()).stream_id;
        pair.command_b(Command::Reject {
            stream_id,
            refusal: refusal(code, "This key is switched off."),
        });
        pair.settle();
        let description = "This key is switched off.".to_owned();
        let refused = Refused { code: text.to_owned(), description, stage: Stage::Publish };
        assert_eq!(pair.a.error, Some(ClientError::Refused(refused)));
        assert_eq!(ends(pair.b.take_events()), [(1, End::Dismissed)]);
        assert!(pair.b.closed.is_some());
    }
}

#[test]
fn a_publisher_is_replaced_in_words() {
    let mut pair = live(3);
    let refusal = refusal(RefusalCode::PublishBadName, "Another encoder took over.");
    pair.command_b(Command::Reject { stream_id: 1, refusal });
    pair.settle();
    let error = pair.a.error.as_ref().unwrap().to_string();
    assert_eq!(
        error,
        "the server refused: Another encoder took over. (NetStream.Publish.BadName, while publishing)"
    );
    assert_eq!(ends(pair.b.take_events()), [(1, End::Dismissed)]);
}

#[test]
fn each_way_to_end_is_told_once() {
    let number = |number: f64| Value::Number(number);
    let deletes = |pair: &mut Liars| say(pair, 0, "deleteStream", 4.0, &[Value::Null, number(1.0)]);
    let closes = |pair: &mut Liars| say(pair, 1, "closeStream", 0.0, &[Value::Null]);
    let unpublishes =
        |pair: &mut Liars| say(pair, 0, "FCUnpublish", 5.0, &[Value::Null, Value::text(KEY)]);
    let vanishes = |pair: &mut Liars| pair.cut();
    type Step<'a> = &'a dyn Fn(&mut Liars);
    let cases: [(&[Step<'_>], End); 5] = [
        (&[&deletes, &closes, &unpublishes, &vanishes], End::Goodbye),
        (&[&closes, &deletes, &vanishes], End::Goodbye),
        (&[&unpublishes, &closes, &deletes, &vanishes], End::Goodbye),
        (&[&vanishes, &vanishes], End::Lost),
        (&[&|pair| pair.command_b(Command::Close), &vanishes], End::Dismissed),
    ];
    for accepted in [true, false] {
        for (steps, why) in &cases {
            let mut pair = publishing_liar(4, accepted);
            for step in *steps {
                step(&mut pair);
            }
            assert_eq!(ends(pair.b.take_events()), [(1, *why)]);
            // The owner's answer may come too late; that is nobody's mistake.
            pair.command_b(Command::Accept { stream_id: 1 });
            assert!(pair.b.error.is_none());
        }
    }
}

#[test]
fn a_connection_may_publish_again() {
    let mut pair = publishing_liar(5, true);
    say(&mut pair, 1, "closeStream", 0.0, &[Value::Null]);
    assert_eq!(ends(pair.b.take_events()), [(1, End::Goodbye)]);
    assert_eq!(pair.a.core.heard("NetStream.Unpublish.Success"), 1);
    // The deadline counts anew.
    pair.advance(Duration::from_secs(9));
    say(&mut pair, 1, "publish", 0.0, &[Value::Null, Value::text("other")]);
    accept(&mut pair);
    assert_eq!(pair.a.core.heard("NetStream.Publish.Start"), 2);
}

#[test]
fn hasty_media_waits_for_the_answer() {
    let mut pair = publishing_liar(6, false);
    pair.inject_b(message(6, 1, 9, vec![1; 100_000]));
    pair.settle();
    let stream_id = offer(&mut pair.b.take_events()).stream_id;
    pair.command_b(Command::Accept { stream_id });
    let events = pair.b.take_events();
    assert!(matches!(&events[..], [Event::Media(media)] if media.payload.len() == 100_000));
}

#[test]
fn a_client_whose_server_leaves_says_where() {
    let mut pair = pair(Link::seeded(7), Done::Plain);
    pair.settle();
    pair.cut();
    assert_eq!(pair.a.error, Some(ClientError::Closed(Stage::Publish)));
    let mut pair = live(7);
    pair.cut();
    assert_eq!(pair.a.error, Some(ClientError::Closed(Stage::Live)));
    assert_eq!(ends(pair.b.take_events()), [(1, End::Lost)]);
}

#[test]
fn the_key_is_not_printed() {
    let mut pair = pair(Link::seeded(9), Done::Plain);
    pair.settle();
    let mut shown = format!("{:?}", pair.b.take_events());
    let target = rtmp::client::Target::parse(&format!("rtmp://host/live/{KEY}")).unwrap();
    shown += &format!("{target:?}");
    assert!(shown.contains("***") && !shown.contains("canar"), "{shown}");
}
