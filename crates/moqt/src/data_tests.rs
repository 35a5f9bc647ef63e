//! Data streams and datagrams as bytes: known ones, and any at all, in chunks of any size.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::arbitrary;
use crate::code::SessionCode;
use crate::error::{DataError, Violation};
use crate::location::{GroupOrder, Location};
use crate::properties::Properties;
use crate::request::RequestId;
use crate::version::Version;

const V: Version = Version::Draft18;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Heads and payloads.
type Objects = Vec<(ObjectHead, Vec<u8>)>;

/// What a subgroup stream holds, chunks put together.
fn read_subgroup(
    v: Version,
    bytes: &[u8],
    piece: usize,
) -> Result<(SubgroupHeader, Objects), DataError> {
    let mut opening = OpeningReader::new(v);
    let mut stream: Option<(SubgroupHeader, SubgroupReader)> = None;
    let mut objects = Objects::new();
    for chunk in bytes.chunks(piece) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        if stream.is_none() {
            match opening.read(&mut chunk)? {
                Some(Opening::Subgroup(header)) => {
                    stream = Some((header, SubgroupReader::new(v, &header)));
                }
                Some(other) => panic!("{other:?}"),
                None => assert!(chunk.is_empty()),
            }
        }
        let Some((_, reader)) = &mut stream else { continue };
        while let Some(item) = reader.read(&mut chunk)? {
            match item {
                SubgroupItem::Object(head) => objects.push((head, Vec::new())),
                SubgroupItem::Payload { bytes, last } => {
                    assert!(!bytes.is_empty());
                    let (head, payload) = objects.last_mut().unwrap();
                    payload.extend_from_slice(&bytes);
                    assert_eq!(last, payload.len() as u64 == head.payload_length);
                }
            }
        }
        assert!(chunk.is_empty(), "a reader uses its chunk up");
    }
    let (header, reader) = stream.expect("a header");
    reader.finish()?;
    Ok((header, objects))
}

fn write_subgroup(v: Version, header: &SubgroupHeader, objects: &[(ObjectHead, Bytes)]) -> Vec<u8> {
    let mut out = BytesMut::new();
    header.encode(v, &mut out).unwrap();
    let mut writer = SubgroupWriter::new(v, header);
    for (head, payload) in objects {
        writer.object(head, &mut out).unwrap();
        out.put_slice(payload);
    }
    out.to_vec()
}

enum Fetched {
    Object(FetchObject, Vec<u8>),
    Gap(Missing, Location),
}

fn read_fetch(
    v: Version,
    bytes: &[u8],
    piece: usize,
    order: GroupOrder,
) -> Result<(RequestId, Vec<Fetched>), DataError> {
    let mut opening = OpeningReader::new(v);
    let mut stream: Option<(RequestId, FetchReader)> = None;
    let mut items = Vec::new();
    for chunk in bytes.chunks(piece) {
        let mut chunk = Bytes::copy_from_slice(chunk);
        if stream.is_none()
            && let Some(opening) = opening.read(&mut chunk)?
        {
            let Opening::Fetch(id) = opening else { panic!("{opening:?}") };
            stream = Some((id, FetchReader::new(v, order)));
        }
        let Some((_, reader)) = &mut stream else { continue };
        while let Some(item) = reader.read(&mut chunk)? {
            match item {
                FetchItem::Object(head) => items.push(Fetched::Object(head, Vec::new())),
                FetchItem::Gap { missing, end } => items.push(Fetched::Gap(missing, end)),
                FetchItem::Payload { bytes, last } => match items.last_mut() {
                    Some(Fetched::Object(head, payload)) => {
                        payload.extend_from_slice(&bytes);
                        assert_eq!(last, payload.len() as u64 == head.payload_length);
                    }
                    _ => panic!("a payload without an object"),
                },
            }
        }
    }
    let (id, reader) = stream.expect("a header");
    reader.finish()?;
    Ok((id, items))
}

fn timestamp(micros: u64) -> Properties {
    Properties::from_pairs(&[(0x10, crate::properties::Value::Number(micros))]).unwrap()
}

fn head(id: u64, properties: Properties, payload: &str) -> ObjectHead {
    ObjectHead { id, properties, status: Status::Normal, payload_length: payload.len() as u64 }
}

#[test]
fn vectors_draft18_s11_4_2_subgroup() {
    let bytes = hex("71 01 812c 00 03 10 84d2 04 61626364 00 00 04 65666768 00 00 00 03");
    let header = SubgroupHeader {
        alias: 1,
        group: 300,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: true,
        end_of_group: false,
        first_object: true,
    };
    let end = ObjectHead { status: Status::EndOfGroup, ..head(2, Properties::empty(), "") };
    let objects = [
        (head(0, timestamp(1234), "abcd"), Bytes::from_static(b"abcd")),
        (head(1, Properties::empty(), "efgh"), Bytes::from_static(b"efgh")),
        (end, Bytes::new()),
    ];
    assert_eq!(write_subgroup(V, &header, &objects), bytes);
    for piece in 1..=bytes.len() {
        let (read, read_objects) = read_subgroup(V, &bytes, piece).unwrap();
        assert_eq!(read, header);
        assert!(
            read_objects
                .iter()
                .map(|(head, payload)| (head, &payload[..]))
                .eq(objects.iter().map(|(head, payload)| (head, &payload[..])))
        );
    }
}

/// draft-18 §11.4.2: every type, valid or not.
#[test]
fn draft18_s11_4_2_types() {
    for kind in 0u8..=0xff {
        let valid = kind & 0x90 == 0x10 && kind & 0x06 != 0x06;
        // Enough bytes for any header.
        let mut bytes = vec![kind];
        bytes.extend([1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let opening = OpeningReader::new(V).read(&mut bytes.clone().into());
        match opening {
            Ok(Some(Opening::Subgroup(header))) => {
                assert!(valid, "{kind:#x}");
                let mut out = BytesMut::new();
                header.encode(V, &mut out).unwrap();
                assert!(bytes.starts_with(&out), "{kind:#x}");
                assert_eq!(header.first_object, kind & 0x40 != 0);
                assert_eq!(header.end_of_group, kind & 0x08 != 0);
            }
            Ok(Some(Opening::Fetch(_))) => assert_eq!(kind, 5),
            // Longer types.
            Err(DataError::Session(violation)) => {
                assert_eq!(violation.code, SessionCode::ProtocolViolation);
                assert!(!valid && kind != 5, "{kind:#x}");
            }
            Ok(None) => assert_eq!(kind, 0xff),
            other => panic!("{kind:#x}: {other:?}"),
        }
    }
}

#[test]
fn draft18_s3_4_other_stream_types() {
    let mut control = Bytes::from(hex("af00 0000"));
    let opening = OpeningReader::new(V).read(&mut control);
    assert_eq!(opening, Ok(Some(Opening::Control(Bytes::from(hex("af00"))))));
    assert_eq!(control, hex("0000"), "the rest is the session's");
    // Piece by piece, and written longer than need be.
    let mut reader = OpeningReader::new(V);
    for byte in hex("e0002f") {
        assert_eq!(reader.read(&mut vec![byte].into()), Ok(None));
    }
    let opening = reader.read(&mut vec![0].into());
    assert_eq!(opening, Ok(Some(Opening::Control(Bytes::from(hex("e0002f00"))))));
    let mut padding = BytesMut::new();
    padding_stream(V, &mut padding);
    assert_eq!(&padding[..], hex("f0132b3e28"));
    assert_eq!(OpeningReader::new(V).read(&mut padding.freeze()), Ok(Some(Opening::Padding)));
}

fn subgroup_error(text: &str) -> DataError {
    read_subgroup(V, &hex(text), 3).unwrap_err()
}

#[test]
fn draft18_s11_subgroup_violations() {
    for text in [
        // §11.4.2: an object ID beyond 2^64 - 1.
        "30 01 00 ffffffffffffffffff 01 61 00 01 62",
        // §11.2.1.1: a status that is none.
        "30 01 00 00 00 01",
        "30 01 00 00 00 05",
        // §11.2.1.2: properties beside a status.
        "31 01 00 00 02 1001 00 03",
        // §11.4: an end in the middle of an object, of its head and of its payload.
        "30 01 00 00 04 616263",
        "30 01 00 00 00",
        "31 01 00 00 05 10",
        // §1.4.3
        "31 01 00 00 06 01 c10000 6162 01 61",
    ] {
        match subgroup_error(text) {
            DataError::Session(violation) => {
                assert_eq!(violation.code, SessionCode::ProtocolViolation, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    for text in [
        // §2.4.2: behind the end of the group, and of the track.
        "30 01 00 00 00 03 00 01 61",
        "30 01 00 00 00 04 00 00 00",
        // §12.7 and others are tested with properties; one of them through the stream.
        "31 01 00 00 03 c04000 01 61",
    ] {
        let text = if text.contains("c04000") { "31 01 00 00 04 c0400000 01 61" } else { text };
        assert!(matches!(subgroup_error(text), DataError::MalformedTrack(_)), "{text}");
    }
    // Our own bound: it costs the stream, not the session, and no memory.
    assert!(matches!(
        subgroup_error("31 01 00 00 ffffffffffffffffff 00"),
        DataError::Limit(crate::ResetCode::ExcessiveLoad, _)
    ));
}

#[test]
fn writers_refuse_what_no_stream_holds() {
    let header = |properties| SubgroupHeader {
        alias: 1,
        group: 0,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties,
        end_of_group: false,
        first_object: false,
    };
    let mut out = BytesMut::new();
    let mut writer = SubgroupWriter::new(V, &header(false));
    assert_eq!(writer.object(&head(5, Properties::empty(), "a"), &mut out), Ok(()));
    let written = out.clone();
    for (object, error) in [
        (head(5, Properties::empty(), "a"), WriteError::Order),
        (head(6, timestamp(1), "a"), WriteError::Properties),
        (
            ObjectHead { status: Status::EndOfGroup, ..head(6, Properties::empty(), "a") },
            WriteError::Status,
        ),
    ] {
        assert_eq!(writer.object(&object, &mut out), Err(error));
    }
    let mut writer = SubgroupWriter::new(V, &header(true));
    let ends = ObjectHead { status: Status::EndOfTrack, ..head(6, timestamp(1), "") };
    assert_eq!(writer.object(&ends, &mut out), Err(WriteError::Properties));
    assert_eq!(out, written, "nothing was written");
}

fn fetch_object(group: u64, object: u64, priority: u8, payload: &str) -> FetchObject {
    FetchObject {
        location: Location::new(group, object),
        via: Via::Subgroup(0),
        priority,
        properties: Properties::empty(),
        payload_length: payload.len() as u64,
    }
}

#[test]
fn vectors_draft18_s11_4_4_fetch() {
    // Written by others with "subgroup as before"; for subgroup 0 we need no flag.
    let text = "05 02 1c 812c 00 80 02 6162 01 02 6364 0d 00 00 02 6566 810c 812e 04";
    let objects = [
        (fetch_object(300, 0, 128, "ab"), "ab"),
        (fetch_object(300, 1, 128, "cd"), "cd"),
        (fetch_object(301, 0, 128, "ef"), "ef"),
    ];
    for piece in [1, 2, 5, 100] {
        let (id, items) = read_fetch(V, &hex(text), piece, GroupOrder::Ascending).unwrap();
        assert_eq!(id, RequestId(2));
        assert_eq!(items.len(), 4);
        for (item, (head, payload)) in items.iter().zip(&objects) {
            let Fetched::Object(read, read_payload) = item else { panic!() };
            assert_eq!((read, &read_payload[..]), (head, payload.as_bytes()));
        }
        let Fetched::Gap(missing, end) = items[3] else { panic!() };
        assert_eq!((missing, end), (Missing::Unknown, Location::new(302, 4)));
    }
    let mut out = BytesMut::new();
    let mut writer = FetchWriter::new(V, RequestId(2), GroupOrder::Ascending, &mut out);
    for (head, payload) in &objects {
        writer.object(head, &mut out).unwrap();
        out.put_slice(payload.as_bytes());
    }
    writer.gap(Missing::Unknown, Location::new(302, 4), &mut out).unwrap();
    assert_eq!(
        &out[..],
        hex("05 02 1c 812c 00 80 02 6162 00 02 6364 0c 00 00 02 6566 810c 812e 04")
    );
}

/// draft-21 §11.4.1.2: the same; what is no difference is an end of a range, of which there is a third kind.
#[test]
fn vectors_draft21_s11_4_1_ends_of_ranges() {
    let text = "05 02 1c 812c 00 80 02 6162 810c 812c 07 820c 812d 04 808c 812f 05 04 02 01 63";
    for v in [Version::Draft20, Version::Draft21, Version::Draft22] {
        let mut out = BytesMut::new();
        let mut writer = FetchWriter::new(v, RequestId(2), GroupOrder::Ascending, &mut out);
        writer.object(&fetch_object(300, 0, 128, "ab"), &mut out).unwrap();
        out.put_slice(b"ab");
        writer.gap(Missing::Unknown, Location::new(300, 7), &mut out).unwrap();
        writer.gap(Missing::TimedOut, Location::new(301, 4), &mut out).unwrap();
        writer.gap(Missing::NonExistent, Location::new(303, 5), &mut out).unwrap();
        writer.object(&fetch_object(303, 7, 128, "c"), &mut out).unwrap();
        out.put_slice(b"c");
        assert_eq!(&out[..], hex(text), "{v:?}");
        let (_, items) = read_fetch(v, &out, 3, GroupOrder::Ascending).unwrap();
        let gaps: Vec<_> = items
            .iter()
            .filter_map(|item| match item {
                Fetched::Gap(missing, end) => Some((*missing, *end)),
                Fetched::Object(..) => None,
            })
            .collect();
        let [within, late, none] = [(300, 7), (301, 4), (303, 5)].map(|(g, o)| Location::new(g, o));
        let kinds = [Missing::Unknown, Missing::TimedOut, Missing::NonExistent];
        assert!(gaps.into_iter().eq(kinds.into_iter().zip([within, late, none])), "{v:?}");
    }
    // Before, nobody knows is all that can be said.
    let mut out = BytesMut::new();
    let mut writer = FetchWriter::new(V, RequestId(2), GroupOrder::Ascending, &mut out);
    writer.gap(Missing::TimedOut, Location::new(1, 4), &mut out).unwrap();
    assert_eq!(&out[..], hex("05 02 810c 01 04"));
    assert!(read_fetch(V, &hex("05 02 820c 01 04"), 3, GroupOrder::Ascending).is_err());
}

/// What of a fetch stream is an end of a range, and where its objects are.
fn places(items: &[Fetched]) -> Vec<(bool, Location)> {
    let place = |item: &Fetched| match item {
        Fetched::Object(head, _) => (false, head.location),
        Fetched::Gap(_, end) => (true, *end),
    };
    items.iter().map(place).collect()
}

/// Some write a payload length of 0 behind an end of a range.
#[test]
fn draft18_s11_4_4_2_a_payload_length_of_an_end_of_range_is_passed_over_where_no_object_can_be() {
    let at = Location::new;
    for v in Version::ALL.iter().copied() {
        for (first, end) in [(None, at(5, 7)), (Some(at(4, 1)), at(5, crate::Range::WHOLE_GROUP))] {
            let mut out = BytesMut::new();
            let mut writer = FetchWriter::new(v, RequestId(2), GroupOrder::Ascending, &mut out);
            if let Some(first) = first {
                writer.object(&fetch_object(first.group, first.object, 9, ""), &mut out).unwrap();
            }
            // Before any object, or at the largest ID that can be; and as the last thing.
            writer.gap(Missing::Unknown, end, &mut out).unwrap();
            let bare = out.len();
            writer.object(&fetch_object(6, 0, 9, ""), &mut out).unwrap();
            writer.gap(Missing::NonExistent, at(6, 3), &mut out).unwrap();
            let mut expect: Vec<_> = first.into_iter().map(|at| (false, at)).collect();
            expect.extend([(true, end), (false, at(6, 0)), (true, at(6, 3))]);
            let with_length = [&out[..bare], &[0], &out[bare..], &[0]].concat();
            for bytes in [&out[..], &with_length] {
                for piece in [1, 2, 3, 100] {
                    let (_, items) = read_fetch(v, bytes, piece, GroupOrder::Ascending).unwrap();
                    assert_eq!(places(&items), expect, "{v:?} {bytes:02x?}");
                }
            }
        }
    }
    // Elsewhere an object begins: subgroup 0, its number the next one, its priority as before.
    let text = "05 02 1c 05 00 80 00 808c 05 03 00 01 61";
    let (_, items) = read_fetch(V, &hex(text), 2, GroupOrder::Ascending).unwrap();
    assert_eq!(places(&items), [(false, at(5, 0)), (true, at(5, 3)), (false, at(5, 4))]);
}

/// An object of a datagram has no Subgroup ID that the next one could refer to.
#[test]
fn draft18_s11_4_4_1_behind_a_datagram_a_subgroup_is_said() {
    for v in Version::ALL.iter().copied() {
        let mut out = BytesMut::new();
        let mut writer = FetchWriter::new(v, RequestId(2), GroupOrder::Ascending, &mut out);
        let vias = [Via::Subgroup(3), Via::Subgroup(3), Via::Datagram, Via::Subgroup(3)];
        let mut flags = Vec::new();
        for (id, via) in (0..).zip(vias.into_iter().chain([Via::Datagram, Via::Subgroup(4)])) {
            let head = FetchObject { via, ..fetch_object(5, id, 128, "") };
            let from = out.len();
            writer.object(&head, &mut out).unwrap();
            flags.push(out[from] & 0x43);
        }
        // Said, as before, none, said, none, said.
        assert_eq!(flags, [0x03, 0x01, 0x40, 0x03, 0x40, 0x03], "{v:?}");
        let (_, items) = read_fetch(v, &out, 100, GroupOrder::Ascending).unwrap();
        let read = items.iter().filter_map(|item| match item {
            Fetched::Object(head, _) => Some(head.via),
            Fetched::Gap(..) => None,
        });
        assert!(read.eq(vias.into_iter().chain([Via::Datagram, Via::Subgroup(4)])), "{v:?}");
    }
}

/// draft-18 §11.4.4.2: what follows a marker refers to its location, but to the subgroup and priority of
/// the object before it.
#[test]
fn draft18_s11_4_4_2_after_a_marker() {
    let text = "05 02 1f 05 07 00 09 01 61 808c 05 04 01 01 62";
    let (_, items) = read_fetch(V, &hex(text), 4, GroupOrder::Ascending).unwrap();
    let Fetched::Object(head, _) = &items[2] else { panic!() };
    assert_eq!(head.location, Location::new(5, 5));
    assert_eq!((head.via, head.priority), (Via::Subgroup(7), 9));
    // A marker first: the next object has none to take its subgroup or priority from.
    for text in [
        "05 02 808c 05 04 10 07 01 61",
        "05 02 808c 05 04 04 01 01 61",
        "05 02 808c 05 04 11 07 01 61",
    ] {
        let result = read_fetch(V, &hex(text), 4, GroupOrder::Ascending);
        let good = text.contains("04 10 07");
        assert_eq!(result.is_ok(), good, "{text}");
    }
}

#[test]
fn draft18_s11_4_4_fetch_violations() {
    let violation = |result: Result<_, DataError>| match result {
        Err(DataError::Session(Violation { code, .. })) => Some(code),
        _ => None,
    };
    for (text, order) in [
        // The first object: without its group, its object, its priority, its subgroup.
        ("05 02 14 00 80 00", GroupOrder::Ascending),
        ("05 02 18 00 80 00", GroupOrder::Ascending),
        ("05 02 0c 00 00 00", GroupOrder::Ascending),
        ("05 02 1d 00 00 80 00", GroupOrder::Ascending),
        ("05 02 1e 00 00 80 00", GroupOrder::Ascending),
        // IDs out of range.
        ("05 02 1c 05 00 80 00 08 ffffffffffffffffff 00", GroupOrder::Ascending),
        ("05 02 1c 05 00 80 00 08 05 00", GroupOrder::Descending),
        ("05 02 1c 05 ffffffffffffffffff 80 00 00 00", GroupOrder::Ascending),
        ("05 02 1c 05 ffffffffffffffffff 80 00 04 01 00", GroupOrder::Ascending),
        ("05 02 1f 05 ffffffffffffffffff 00 80 00 02 00", GroupOrder::Ascending),
        // Flags that are none, the marker of later drafts among them.
        ("05 02 8080 00 00 00", GroupOrder::Ascending),
        ("05 02 820c 00 00", GroupOrder::Ascending),
        // Behind a marker what is neither an object nor a payload length of 0.
        ("05 02 808c 00 00 01 61", GroupOrder::Ascending),
        // An end in the middle.
        ("05 02 1c 05 00 80 02 61", GroupOrder::Ascending),
        ("05 02 1c 05", GroupOrder::Ascending),
    ] {
        let code = violation(read_fetch(V, &hex(text), 2, order));
        assert_eq!(code, Some(SessionCode::ProtocolViolation), "{text}");
    }
    for text in ["05 02 1c 05 03 80 00 04 00 00", "05 02 1c 05 03 80 00 808c 05 03"] {
        let result = read_fetch(V, &hex(text), 2, GroupOrder::Ascending);
        assert!(matches!(result, Err(DataError::MalformedTrack(_))), "{text}");
    }
}

fn datagram_code(text: &str) -> Option<SessionCode> {
    match Datagram::decode(V, hex(text).into()) {
        Err(DataError::Session(violation)) => Some(violation.code),
        _ => None,
    }
}

#[test]
fn vectors_draft18_s11_3_datagrams() {
    let datagram = |object, body| Datagram {
        alias: 1,
        group: 300,
        object,
        priority: None,
        end_of_group: false,
        properties: Properties::empty(),
        body,
    };
    for (text, datagram) in [
        ("0c 01 812c 61626364", datagram(0, Body::Payload(Bytes::from_static(b"abcd")))),
        ("28 01 812c 05 03", datagram(5, Body::Status(Status::EndOfGroup))),
        ("08 01 812c 05", datagram(5, Body::Payload(Bytes::new()))),
    ] {
        assert_eq!(Datagram::decode(V, hex(text).into()), Ok(Some(datagram.clone())), "{text}");
        assert_eq!(datagram.encode(V).unwrap(), hex(text));
    }
    let mut padding = BytesMut::new();
    padding_datagram(V, 3, &mut padding);
    assert_eq!(&padding[..], hex("f0132b3e29 000000"));
    assert_eq!(Datagram::decode(V, padding.freeze()), Ok(None));
}

#[test]
fn draft18_s11_3_1_datagram_violations() {
    for kind in 0u8..0x80 {
        let valid = kind & 0xd0 == 0 && kind & 0x22 != 0x22;
        // Properties of two bytes, a status of 0.
        let fields: &[&str] = &[
            "01 02",
            if kind & 4 == 0 { "03" } else { "" },
            if kind & 8 == 0 { "80" } else { "" },
            if kind & 1 == 1 { "02 0205" } else { "" },
            if kind & 0x20 == 0 { "6162" } else { "00" },
        ];
        let text = format!("{kind:02x} {}", fields.join(" "));
        let code = datagram_code(&text);
        assert_eq!(code, (!valid).then_some(SessionCode::ProtocolViolation), "{text}");
        assert_eq!(Datagram::decode(V, hex(&text).into()).is_ok(), valid, "{text}");
    }
    for text in [
        "",
        "0c",
        "0c 01",
        "00 01 02 03",
        // §11.3.1: properties of no length; properties beside a status; a status that is none; more
        // behind a status.
        "0d 01 02 00 61",
        "2d 01 02 02 0205 03",
        "2c 01 02 01",
        "2c 01 02 03 00",
        "f0132b3e2a",
    ] {
        assert_eq!(datagram_code(text), Some(SessionCode::ProtocolViolation), "{text}");
    }
}

/// A subgroup stream of any draft.
fn subgroups() -> impl Strategy<Value = (Version, SubgroupHeader, Vec<(ObjectHead, Bytes)>)> {
    arbitrary::version().prop_flat_map(|v| {
        arbitrary::subgroup_header(v).prop_flat_map(move |header| {
            (Just(v), Just(header), arbitrary::subgroup_objects(v, header.properties))
        })
    })
}

type Fetches = (Version, GroupOrder, Vec<(FetchObject, Bytes)>, Location);

/// A fetch stream of any draft, and where a gap may end.
fn fetches() -> impl Strategy<Value = Fetches> {
    let order = prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)];
    (arbitrary::version(), order).prop_flat_map(|(v, order)| {
        (Just(v), Just(order), arbitrary::fetch_objects(v, order), arbitrary::location(v))
    })
}

proptest! {
    #[test]
    fn subgroups_that_are_written_are_read(
        (v, header, objects) in subgroups(),
        piece in 1usize..80,
    ) {
        let bytes = write_subgroup(v, &header, &objects);
        let (read, read_objects) = read_subgroup(v, &bytes, piece).unwrap();
        prop_assert_eq!(read, header);
        prop_assert_eq!(read_objects.len(), objects.len());
        for ((read, read_payload), (head, payload)) in read_objects.iter().zip(&objects) {
            prop_assert_eq!(read, head);
            prop_assert_eq!(&read_payload[..], &payload[..]);
        }
    }

    #[test]
    fn fetches_that_are_written_are_read(
        (v, order, objects, gap) in fetches(),
        piece in 1usize..80,
    ) {
        let mut out = BytesMut::new();
        let mut writer = FetchWriter::new(v, RequestId(4), order, &mut out);
        for (head, payload) in &objects {
            writer.object(head, &mut out).unwrap();
            out.put_slice(payload);
        }
        let gap_written = writer.gap(Missing::NonExistent, gap, &mut out).is_ok();
        let (_, items) = read_fetch(v, &out, piece, order).unwrap();
        prop_assert_eq!(items.len(), objects.len() + usize::from(gap_written));
        for (item, (head, payload)) in items.iter().zip(&objects) {
            let Fetched::Object(read, read_payload) = item else { panic!() };
            prop_assert_eq!(read, head);
            prop_assert_eq!(&read_payload[..], &payload[..]);
        }
    }

    #[test]
    fn datagrams_that_are_written_are_read(
        (v, datagram) in arbitrary::version().prop_flat_map(|v| (Just(v), arbitrary::datagram(v))),
    ) {
        let bytes = datagram.encode(v).unwrap();
        prop_assert_eq!(Datagram::decode(v, bytes), Ok(Some(datagram)));
    }

    /// The same bytes mean the same however they are cut, and whatever they are.
    #[test]
    fn chunks_do_not_matter(
        v in arbitrary::version(),
        kind in 0x10u8..0x40,
        bytes in prop::collection::vec(any::<u8>(), 0..120),
        piece in 1usize..20,
    ) {
        let mut stream = vec![kind | 0x10, 1, 2, 3, 4];
        stream.extend(&bytes);
        let read = |piece| read_subgroup(v, &stream, piece);
        prop_assert_eq!(read(piece), read(stream.len()));
    }
}

/// What no number of the draft can name is not written as another thing.
#[test]
fn draft16_s1_3_large_ids_are_not_written() {
    let v = Version::Draft16;
    let large = v.id_max() + 1;
    let mut out = BytesMut::new();
    let header = |alias, group| SubgroupHeader {
        alias,
        group,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: false,
        end_of_group: false,
        first_object: false,
    };
    for header in [header(large, 0), header(0, large)] {
        assert_eq!(header.encode(v, &mut out), Err(WriteError::TooLarge));
    }
    let mut writer = SubgroupWriter::new(v, &header(0, 0));
    let object = head(large, Properties::empty(), "a");
    assert_eq!(writer.object(&object, &mut out), Err(WriteError::TooLarge));
    assert!(out.is_empty());
    let mut writer = FetchWriter::new(v, RequestId(0), GroupOrder::Ascending, &mut out);
    let written = out.clone();
    let object = fetch_object(large, 0, 0, "a");
    assert_eq!(writer.object(&object, &mut out), Err(WriteError::TooLarge));
    let end = Location::new(0, large);
    assert_eq!(writer.gap(Missing::Unknown, end, &mut out), Err(WriteError::TooLarge));
    assert_eq!(out, written);
}

/// Properties travel from draft to draft: the integers change their form, nothing else.
#[test]
fn draft16_s1_4_2_properties_change_their_form() {
    let v = Version::Draft16;
    let header = SubgroupHeader {
        alias: 1,
        group: 300,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: true,
        end_of_group: false,
        first_object: false,
    };
    // A timestamp of 1234, and immutable properties with a 300 in them.
    let bytes = hex("31 01 412c 00 08 0b 03 0c 412c 05 44d2 04 61626364");
    let (read, objects) = read_subgroup(v, &bytes, 3).unwrap();
    assert_eq!(read, header);
    let (object, payload) = &objects[0];
    assert_eq!(payload, b"abcd");
    assert_eq!(object.properties.number(0x10), Some(1_234));
    assert_eq!(object.properties.number(0x0c), Some(300));
    assert_eq!(&object.properties.as_bytes()[..], hex("0b 03 0c 812c 05 84d2"));
    let again = write_subgroup(v, &header, &[(object.clone(), Bytes::from_static(b"abcd"))]);
    assert_eq!(again, bytes);
}

/// draft-16 §10.4.4: the fields of a fetch object are what they say.
#[test]
fn vectors_draft16_s10_4_4_fetch() {
    let text = "05 02 1c 412c 00 80 02 6162 01 02 6364 0d 412d 00 02 6566 410c 412e 04 00";
    let (_, items) = read_fetch(Version::Draft16, &hex(text), 2, GroupOrder::Ascending).unwrap();
    let places: Vec<Location> = items
        .iter()
        .map(|item| match item {
            Fetched::Object(head, _) => head.location,
            Fetched::Gap(_, end) => *end,
        })
        .collect();
    let expected = [(300, 0), (300, 1), (301, 0), (302, 4)];
    assert_eq!(places, expected.map(|(group, object)| Location::new(group, object)));
    for (text, order) in [
        // The same object again, and a group that is not in order.
        ("05 02 1c 05 00 80 01 61 0c 05 00 01 61", GroupOrder::Ascending),
        ("05 02 1c 05 00 80 01 61 0c 06 00 01 61", GroupOrder::Descending),
    ] {
        let read = read_fetch(Version::Draft16, &hex(text), 9, order);
        assert!(matches!(read, Err(DataError::MalformedTrack(_))), "{text}");
    }
}

/// draft-16 §10: what later drafts added is unknown.
#[test]
fn draft16_s10_types_of_later_drafts() {
    for text in ["50 01 00", "6f00 0000 af00", "930b3e28", "80002f00 0000"] {
        let opening = OpeningReader::new(Version::Draft16).read(&mut hex(text).into());
        assert!(matches!(opening, Err(DataError::Session(_))), "{text}: {opening:?}");
    }
}
