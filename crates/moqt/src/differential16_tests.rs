//! Draft 16 as another implementation reads it (crate `moqtap-codec`): as in `differential_tests`, which is
//! about draft 18.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use moqtap_codec::draft16::data_stream as theirs;
use moqtap_codec::draft16::message::ControlMessage;
use proptest::prelude::*;

use crate::arbitrary;
use crate::data::{
    Body as DatagramBody, Datagram, FetchItem, FetchReader, FetchWriter, Missing, Opening,
    OpeningReader, SubgroupHeader, SubgroupItem, SubgroupReader, SubgroupWriter, Via,
};
use crate::differential_tests::reframed;
use crate::error::{DataError, Violation};
use crate::location::{GroupOrder, Location};
use crate::message::first::First;
use crate::message::{Message, MessageReader};
use crate::request::{Request, RequestId};
use crate::version::Version;

const V: Version = Version::Draft16;

fn decode_theirs(bytes: &[u8]) -> Result<ControlMessage, String> {
    let mut rest = bytes;
    let message = ControlMessage::decode(&mut rest).map_err(|error| format!("{error:?}"))?;
    if rest.is_empty() { Ok(message) } else { Err(format!("{} bytes left", rest.len())) }
}

fn decode_ours(bytes: &[u8]) -> Result<First, Violation> {
    let mut reader = MessageReader::new(V);
    reader.push(bytes);
    let (kind, body) = reader.next().ok_or(Violation::protocol("no message"))?;
    First::decode(V, kind, body)
}

/// A request in which some bytes are others; its length is right.
fn spoilt() -> impl Strategy<Value = Vec<u8>> {
    let spoils = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..3);
    (arbitrary::first(V), spoils).prop_map(|(first, spoils)| {
        let bytes = first.encode(V).unwrap();
        let mut body = bytes[3..].to_vec();
        for (at, byte, how) in spoils {
            let at = at.index(body.len().max(1));
            match how {
                0 if !body.is_empty() => body[at] = byte,
                1 => body.insert(at, byte),
                _ if !body.is_empty() => drop(body.remove(at)),
                _ => {}
            }
        }
        reframed(bytes[0], &body)
    })
}

/// Where the two differ on purpose. What the other refuses while reading, we answer with a REQUEST_ERROR (a
/// range that ends before it begins); and GROUP_ORDER 0 is taken for none (shaka-player sends it).
fn is_only_ours(error: &str) -> bool {
    error.contains("InvalidRange")
        || error.contains("ParameterValueOutOfRange { key: 34, value: 0 }")
}

/// What stands in a parameter where it does not belong is not looked at (draft-16 §9.2.2), but the other one
/// looks.
fn has_ignored(message: Message) -> bool {
    !matches!(message, Message::Subscribe | Message::Fetch)
}

/// ID, properties, status, payload.
type Object = (u64, Vec<u8>, u64, Vec<u8>);

fn subgroup_theirs(mut bytes: &[u8]) -> Option<Vec<Object>> {
    let header = theirs::SubgroupHeader::decode(&mut bytes).ok()?;
    let mut reader = theirs::SubgroupObjectReader::new(&header);
    let mut objects = Vec::new();
    while bytes.has_remaining() {
        let object = reader.read_object(&mut bytes).ok()?;
        if !object.extensions_permitted() {
            return None;
        }
        let status = object.status().as_u64();
        objects.push((
            object.object_id.into_inner(),
            object.extension_headers,
            status,
            object.payload,
        ));
    }
    Some(objects)
}

/// The same, ours; `Err(true)`: refused for what the other one does not look at.
fn subgroup_ours(bytes: &[u8]) -> Result<Vec<Object>, bool> {
    let refused = |error| !matches!(error, DataError::Session(_));
    let mut chunk = Bytes::copy_from_slice(bytes);
    let opening = OpeningReader::new(V).read(&mut chunk).map_err(refused)?;
    let Some(Opening::Subgroup(header)) = opening else { return Err(false) };
    let mut reader = SubgroupReader::new(V, &header);
    let mut objects = Vec::new();
    while let Some(item) = reader.read(&mut chunk).map_err(refused)? {
        match item {
            SubgroupItem::Object(head) => objects.push((
                head.id,
                head.properties.to_wire(V).to_vec(),
                head.status.number(),
                Vec::new(),
            )),
            SubgroupItem::Payload { bytes, .. } => {
                objects.last_mut().unwrap().3.extend_from_slice(&bytes);
            }
        }
    }
    reader.finish().map_err(|_| false)?;
    Ok(objects)
}

/// Group, object, subgroup, priority, payload; or the kind and end of a range.
type Fetched = (u64, u64, Option<u64>, Option<u8>, Vec<u8>, u8);

fn fetch_theirs(mut bytes: &[u8]) -> Option<Vec<Fetched>> {
    theirs::FetchHeader::decode(&mut bytes).ok()?;
    let mut reader = theirs::FetchObjectReader::new();
    let mut objects = Vec::new();
    while bytes.has_remaining() {
        let header = theirs::FetchObjectHeader::decode(&mut bytes).ok()?;
        let object = reader.resolve(&header).ok()?;
        let length = usize::try_from(header.payload_length.into_inner()).ok()?;
        let (payload, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let range =
            object.end_of_range.map_or(0, |range| if range.as_u64() == 0x8c { 1 } else { 2 });
        let priority = if range == 0 { object.publisher_priority } else { None };
        let subgroup = if range == 0 { object.subgroup_id } else { None };
        objects.push((
            object.group_id,
            object.object_id,
            subgroup,
            priority,
            payload.to_vec(),
            range,
        ));
    }
    Some(objects)
}

fn fetch_ours(bytes: &[u8], order: GroupOrder) -> Option<Vec<Fetched>> {
    let mut chunk = Bytes::copy_from_slice(bytes);
    let Ok(Some(Opening::Fetch(_))) = OpeningReader::new(V).read(&mut chunk) else { return None };
    let mut reader = FetchReader::new(V, order);
    let mut objects: Vec<Fetched> = Vec::new();
    while let Some(item) = reader.read(&mut chunk).ok()? {
        match item {
            FetchItem::Object(head) => objects.push((
                head.location.group,
                head.location.object,
                match head.via {
                    Via::Subgroup(id) => Some(id),
                    Via::Datagram => None,
                },
                Some(head.priority),
                Vec::new(),
                0,
            )),
            FetchItem::Payload { bytes, .. } => {
                objects.last_mut().unwrap().4.extend_from_slice(&bytes);
            }
            FetchItem::Gap { missing, end } => {
                let range = if missing == Missing::NonExistent { 1 } else { 2 };
                objects.push((end.group, end.object, None, None, Vec::new(), range));
            }
        }
    }
    reader.finish().ok()?;
    Some(objects)
}

/// Bytes that are nearly a stream: small numbers, and now and then any.
fn noise(length: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![4 => 0u8..6, 1 => 0x10u8..0x80, 1 => any::<u8>()], 0..length)
}

fn orders() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn our_requests_are_read_by_others(first in arbitrary::first(V)) {
        let bytes = first.encode(V).unwrap();
        let message = match decode_theirs(&bytes) {
            Err(error) if is_only_ours(&error) => return Ok(()),
            other => other.map_err(|error| TestCaseError::fail(format!("{error}: {first:?}")))?,
        };
        let mut again = Vec::new();
        prop_assert!(message.encode(&mut again).is_ok());
        prop_assert_eq!(again, bytes);
    }

    /// The other way round there are values that the other one does not look into: LARGEST_OBJECT, some track
    /// properties, the option of SUBSCRIBE_NAMESPACE.
    #[test]
    fn spoilt_requests_that_others_refuse_are_refused(bytes in spoilt()) {
        let theirs = decode_theirs(&bytes);
        let known = V.message_of(u64::from(bytes[0]));
        if theirs.is_ok()
            || theirs.as_ref().is_err_and(|error| is_only_ours(error))
            || has_ignored(known)
        {
            return Ok(());
        }
        let ours = decode_ours(&bytes);
        prop_assert!(ours.is_err(), "{:02x?}: {:?} {:?}", bytes, ours, theirs);
    }

    #[test]
    fn subgroups_are_the_same_to_others(kind in 0x10u8..0x40, bytes in noise(60)) {
        let stream = [&[kind], &bytes[..]].concat();
        match (subgroup_ours(&stream), subgroup_theirs(&stream)) {
            // Malformed tracks and our bound.
            (Err(true), _) => {}
            // The other one keeps properties as they came; ours are in their shortest form.
            (Ok(ours), Some(theirs)) => {
                prop_assert_eq!(ours.len(), theirs.len(), "{:02x?}", stream);
                for (ours, theirs) in ours.iter().zip(&theirs) {
                    prop_assert_eq!((ours.0, ours.2, &ours.3), (theirs.0, theirs.2, &theirs.3));
                    prop_assert!(ours.1.len() <= theirs.1.len());
                }
            }
            (ours, theirs) => prop_assert_eq!(ours.ok(), theirs, "{:02x?}", stream),
        }
    }

    #[test]
    fn our_subgroups_are_read_by_others(
        (header, objects) in arbitrary::subgroup_header(V).prop_flat_map(|header| {
            (Just(header), arbitrary::subgroup_objects(V, header.properties))
        }),
    ) {
        let mut out = BytesMut::new();
        SubgroupHeader::encode(&header, V, &mut out).unwrap();
        let mut writer = SubgroupWriter::new(V, &header);
        for (head, payload) in &objects {
            writer.object(head, &mut out).unwrap();
            out.put_slice(payload);
        }
        let expected: Vec<_> = objects
            .iter()
            .map(|(head, payload)| (head.id, head.properties.to_wire(V).to_vec(), 0, payload.to_vec()))
            .collect();
        prop_assert_eq!(subgroup_theirs(&out), Some(expected));
    }

    #[test]
    fn fetches_are_the_same_to_others(order in orders(), bytes in noise(60)) {
        let stream = [&[5, 2, 0x1c, 5, 5, 128, 0], &bytes[..]].concat();
        // What we refuse besides: an order that is not the fetch's, and malformed properties. What the other
        // one refuses besides: a subgroup "as before" behind a datagram.
        // And ends of ranges have a payload length there, and here none.
        let has_range = |it: &[Fetched]| it.iter().any(|it| it.5 != 0);
        if let (Some(ours), Some(theirs)) = (fetch_ours(&stream, order), fetch_theirs(&stream))
            && !has_range(&ours)
            && !has_range(&theirs)
        {
            prop_assert_eq!(ours, theirs, "{:02x?}", stream);
        }
    }

    #[test]
    fn our_fetches_are_read_by_others(
        (order, objects) in orders().prop_flat_map(|order| {
            (Just(order), arbitrary::fetch_objects(V, order))
        }),
        gap in arbitrary::location(V),
    ) {
        // The other one forgets the subgroup at a datagram, and the draft does not say.
        let objects: Vec<_> = objects
            .into_iter()
            .map(|(mut head, payload)| {
                if head.via == Via::Datagram {
                    head.via = Via::Subgroup(0);
                }
                (head, payload)
            })
            .collect();
        let mut out = BytesMut::new();
        let mut writer = FetchWriter::new(V, RequestId(2), order, &mut out);
        for (head, payload) in &objects {
            writer.object(head, &mut out).unwrap();
            out.put_slice(payload);
        }
        let ours = fetch_ours(&out, order);
        prop_assert!(ours.is_some());
        prop_assert_eq!(fetch_theirs(&out), ours);
        if writer.gap(Missing::Unknown, gap, &mut out).is_ok() {
            let ours = fetch_ours(&out, order);
            // They have a payload length of 0 there, which is passed over here.
            out.put_u8(0);
            prop_assert!(ours.is_some());
            prop_assert_eq!(fetch_ours(&out, order), ours.clone());
            prop_assert_eq!(fetch_theirs(&out), ours);
        }
    }

    #[test]
    fn datagrams_are_the_same_to_others(kind in 0u8..0x40, bytes in noise(40)) {
        let datagram = [&[kind], &bytes[..]].concat();
        let ours = Datagram::decode(V, Bytes::from(datagram.clone()));
        // The other one does not look into the properties.
        match &ours {
            Err(DataError::MalformedTrack(_) | DataError::Limit(..)) => return Ok(()),
            Err(DataError::Session(wrong))
                if wrong.what.contains("key-value pair") || wrong.what.contains("65,535") =>
            {
                return Ok(());
            }
            _ => {}
        }
        let mut rest = &datagram[..];
        let theirs = theirs::DatagramHeader::decode(&mut rest).ok();
        let theirs = theirs.filter(theirs::DatagramHeader::extensions_permitted);
        // A status with bytes behind it is refused by us.
        let theirs = theirs.filter(|it| !it.is_status() || rest.is_empty());
        let ours = ours.ok().flatten();
        let place = |it: &Datagram| (Location::new(it.group, it.object), it.priority);
        let their_place = theirs.as_ref().map(|it| {
            (
                Location::new(it.group_id.into_inner(), it.object_id.into_inner()),
                it.publisher_priority,
            )
        });
        prop_assert_eq!(ours.as_ref().map(place), their_place, "{:02x?}", datagram);
        if let Some(Datagram { body: DatagramBody::Payload(payload), .. }) = &ours {
            prop_assert_eq!(&payload[..], rest);
        }
    }
}

/// Known bytes, which the other one wrote.
#[test]
fn vectors_draft16() {
    for text in [
        "03 001d 00 02 03616363 0363616d 07 636174616c6f67 04 10 01 10 4080 01 01 02 01 02",
        "16 0005 02 02 00 00 00",
        "11 0008 04 01 03616363 02 00",
        "1d 0016 01 02 03616363 0363616d 05 766964656f 03 01 10 00 30 01",
    ] {
        let bytes: Vec<u8> = text.split(' ').flat_map(hex).collect();
        let first = decode_ours(&bytes).expect(text);
        assert_eq!(first.encode(V).unwrap(), bytes, "{text}");
        assert!(decode_theirs(&bytes).is_ok(), "{text}");
        if let Request::SubscribeNamespace { tracks, .. } = first.request {
            assert!(tracks, "both");
        }
    }
}

fn hex(word: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&word[at..at + 2], 16).unwrap();
    (0..word.len()).step_by(2).map(byte).collect()
}
