//! Ends of ranges as publishers write them, who mean the same by other bytes (draft-18 §11.4.4.2): written by hand, so that what
//! our writer thinks of them counts for nothing.

use bytes::{BufMut, Bytes, BytesMut};
use moqt::data::FetchWriter;
use moqt::session::Command;
use moqt::{
    Answer, Done, DoneCode, Fetch, FetchOk, GroupOrder, Location, Parameters, Properties, Range,
    Request, RequestId, Version,
};

use super::duties::{code, read_fetch};
use super::relay::{give, room, send};
use super::rig::{Client, Rig, next_object, soon};
use crate::take::Taken;
use crate::transport::SendStream;

/// What a publisher says of groups 3 to 8.
enum Says {
    /// An object of this group.
    Object(u8),
    /// That all that comes before the end of this group is unknown.
    UnknownGroups(u8),
    /// That what comes before this, and this, is unknown, or does not exist.
    Unknown(u8, u8),
    NonExistent(u8, u8),
    /// A payload length of 0.
    Zero,
    /// What is neither.
    NoFlags,
}

/// The same on the wire.
fn wire(version: Version, id: RequestId, says: &[Says]) -> Bytes {
    let is_16 = version == Version::Draft16;
    let (unknown, none) = match is_16 {
        true => ([0x41, 0x0c], [0x40, 0x8c]),
        false => ([0x81, 0x0c], [0x80, 0x8c]),
    };
    let mut out = BytesMut::new();
    // Of it the header alone.
    FetchWriter::new(version, id, GroupOrder::Ascending, &mut out);
    let mut before = None;
    for it in says {
        match it {
            Says::Object(group) => {
                let delta = before.filter(|_| !is_16).map_or(*group, |before| group - before - 1);
                out.put_slice(&[0x1c, delta, 0, 128, 3]);
                out.put_slice(b"old");
                before = Some(*group);
            }
            Says::UnknownGroups(group) => {
                out.put_slice(&unknown);
                out.put_u8(*group);
                out.put_bytes(0xff, if is_16 { 8 } else { 9 });
                before = Some(*group);
            }
            Says::Unknown(group, object) | Says::NonExistent(group, object) => {
                out.put_slice(if matches!(it, Says::Unknown(..)) { &unknown } else { &none });
                out.put_slice(&[*group, *object]);
                before = Some(*group);
            }
            Says::Zero => out.put_u8(0),
            // 128, or 2^62 - 1.
            Says::NoFlags => out.put_slice(if is_16 { &[0xff; 8] } else { &[0x80, 0x80] }),
        }
    }
    out.freeze()
}

/// Answers the next FETCH so; with a FIN, or without.
async fn tell(publisher: &mut Client, says: &[Says], fin: bool) -> SendStream {
    let (id, range) = loop {
        if let (id, Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. }) =
            publisher.asked().await
        {
            break (id, range);
        }
    };
    assert_eq!((range.start.group, range.end.group), (3, 8));
    let ok = FetchOk {
        end_of_track: false,
        end: Location::new(8, 0),
        parameters: Parameters::default(),
        properties: Properties::empty(),
    };
    publisher.command(Command::Answer { id, answer: Answer::FetchOk(ok) });
    publisher.link.with(|session| session.open_data(id)).unwrap();
    let mut stream = publisher.link.connection.open_uni().await.unwrap();
    stream.write(&mut [wire(publisher.link.version, id, says)]).await.unwrap();
    if fin {
        stream.finish();
    }
    stream
}

#[tokio::test]
async fn d23_ends_of_ranges_are_read_as_others_write_them_and_end_nothing_that_is_live() {
    use Says::*;
    let rows: [(&str, &[Says], Option<&str>); 8] = [
        ("nothing else", &[Unknown(8, 0)], Some("?8 9.0live")),
        ("the last thing", &[Object(3), Unknown(8, 0)], Some("3.0old ?8 9.0live")),
        (
            "an object behind it",
            &[Object(3), UnknownGroups(7), Object(8)],
            Some("3.0old ?7 8.0old 9.0live"),
        ),
        // With a payload length, as some write it.
        ("a length at the end", &[Object(3), Unknown(8, 0), Zero], Some("3.0old ?8 9.0live")),
        ("a length at first", &[UnknownGroups(7), Zero, Object(8)], Some("?7 8.0old 9.0live")),
        (
            "a length behind groups",
            &[Object(3), UnknownGroups(7), Zero, Object(8)],
            Some("3.0old ?7 8.0old 9.0live"),
        ),
        // As a difference it would lie behind what came before; and another number behind it is nothing at all.
        ("a difference", &[Object(3), NonExistent(2, 1)], None),
        ("flags that are none", &[Object(3), UnknownGroups(7), NoFlags], None),
    ];
    for version in Version::ALL.iter().copied() {
        for (what, says, expect) in &rows {
            let rig = Rig::new();
            let mut publisher = rig.client_of(version).await;
            assert_eq!(code(&publisher.publish_namespace(&["open", "room"]).await), None);
            let viewer = rig.client("/").await;
            let request = Request::Subscribe { track: room(), parameters: next_object() };
            let (id, mut told) = viewer.link.request(request).unwrap();
            let (live, _) = give(&mut publisher, Properties::empty()).await;
            let answer = super::rig::answered(&mut told).await;
            let mut seen = viewer.follow(id, answer, told);
            send(&publisher, live, 9, 0, "live", true).await;
            assert_eq!(seen.next().await.group, 9);
            let range = Range { start: Location::new(3, 0), end: Location::new(9, 0) };
            let fetch = Fetch::Standalone { track: room(), range };
            let fetch = Request::Fetch { fetch, parameters: Parameters::default() };
            let (_, mut fetched) = viewer.link.request(fetch).unwrap();
            let mut stream = tell(&mut publisher, says, expect.is_some()).await;
            match expect {
                Some(expect) => {
                    let got = read_fetch(&mut fetched, GroupOrder::Ascending).await;
                    assert_eq!(got, *expect, "{version:?} {what}");
                }
                None => {
                    soon("the stream to be given up", stream.stopped()).await;
                }
            }
            let done = Done { code: DoneCode::TrackEnded, reason: String::new() };
            publisher.command(Command::Done { id: live, done });
            let taken = soon("the end of what is live", seen.taken).await.unwrap();
            let goes_on = matches!(taken, Taken::Done(DoneCode::TrackEnded));
            assert!(goes_on, "{version:?} {what}: {taken:?}");
        }
    }
}
