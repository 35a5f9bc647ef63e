//! The same bytes, read by another implementation (crate `moqtap-codec`): both must take or refuse them,
//! and find the same in them. Where the two differ on purpose, it stands here. The drafts from 18 on; 16 is in
//! `differential16_tests`.

/// A message of this type with another body. (All types of requests have one byte.)
pub(crate) fn reframed(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, length[0], length[1]], body].concat()
}

/// The tests of one draft: its name here, its module there, how ends of ranges are called there, and whether their IDs are no
/// differences there.
macro_rules! differential {
    ($name:ident, $version:ident, $codec:ident, $range:ident, $absolute:literal) => {
        mod $name {
            use bytes::{Buf, BufMut, Bytes, BytesMut};
            use moqtap_codec::$codec::data_stream as theirs;
            use moqtap_codec::$codec::message::ControlMessage;
            use proptest::prelude::*;

            use crate::arbitrary;
            use crate::data::{
                Body as DatagramBody, Datagram, FetchItem, FetchReader, FetchWriter, Missing, Opening,
                OpeningReader, SubgroupHeader, SubgroupItem, SubgroupReader, SubgroupWriter, Via,
            };
            use crate::error::DataError;
            use crate::location::{GroupOrder, Location};
            use crate::message::MessageReader;
            use crate::message::first::First;
            use crate::request::RequestId;
            use crate::version::Version;
            use super::reframed;

            const V: Version = Version::$version;

            /// The largest number that the other one knows. From draft 17 on there are larger ones.
            const THEIR_MAX: u64 = (1 << 62) - 1;

            fn decode_theirs(bytes: &[u8]) -> Result<ControlMessage, String> {
                let mut rest = bytes;
                let message = ControlMessage::decode(&mut rest).map_err(|error| format!("{error:?}"))?;
                if rest.is_empty() { Ok(message) } else { Err(format!("{} bytes left", rest.len())) }
            }

            /// What the other one refuses while reading, and we with a REQUEST_ERROR: a range that ends before it begins
            /// (draft-18 §10.12.3).
            fn is_only_ours(error: &str) -> bool {
                error.contains("InvalidRange")
            }

            /// What it does not take in SUBSCRIBE_TRACKS, and draft-21 §9.18.1 does.
            fn is_only_ours_of_tracks(first: &First) -> bool {
                let it = first.request.parameters();
                let timeouts = [
                    it.object_delivery_timeout_ms,
                    it.subgroup_delivery_timeout_ms,
                    it.rendezvous_timeout_ms,
                    it.new_group,
                ];
                matches!(first.request, crate::Request::SubscribeTracks { .. })
                    && (timeouts.iter().any(Option::is_some) || it.subscriber_priority.is_some())
            }

            fn decode_ours(bytes: &[u8]) -> Option<First> {
                let mut reader = MessageReader::new(V);
                reader.push(bytes);
                let (kind, body) = reader.next()?;
                First::decode(V, kind, body).ok()
            }

            /// A message in which some bytes are others; its length is right.
            fn spoilt() -> impl Strategy<Value = Vec<u8>> {
                let spoils = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..3), 1..3);
                (arbitrary::first(V), spoils).prop_map(|(first, spoils)| {
                    let bytes = first.encode(V).unwrap();
                    let mut reader = MessageReader::new(V);
                    reader.push(&bytes);
                    let body = reader.next().unwrap().1;
                    let mut body = body.into_bytes().to_vec();
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

            /// ID, properties, status, payload.
            type Object = (u64, Vec<u8>, u64, Vec<u8>);

            /// Objects of a subgroup stream as the other one sees them, until the first error.
            fn subgroup_theirs(mut bytes: &[u8]) -> Option<Vec<Object>> {
                let header = theirs::SubgroupHeader::decode(&mut bytes).ok()?;
                let mut reader = theirs::SubgroupObjectReader::new(&header);
                let mut objects = Vec::new();
                while bytes.has_remaining() {
                    let object = reader.read_object(&mut bytes).ok()?;
                    if !object.properties_permitted() {
                        return None;
                    }
                    let status =
                        object.object_status.map_or(0, moqtap_codec::$codec::types::ObjectStatus::as_u64);
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
                            head.properties.as_bytes().to_vec(),
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

            /// Group, object, subgroup, priority, properties, payload; or the kind and end of a range.
            type Fetched = (u64, u64, Option<u64>, Option<u8>, Vec<u8>, Vec<u8>, u8);

            fn fetch_theirs(mut bytes: &[u8], order: theirs::GroupOrder) -> Option<Vec<Fetched>> {
                theirs::FetchHeader::decode(&mut bytes).ok()?;
                let mut reader = theirs::FetchObjectReader::new(order);
                let mut objects = Vec::new();
                while bytes.has_remaining() {
                    let object = reader.read_object_header(&mut bytes).ok()?;
                    let length = usize::try_from(object.header.payload_length.into_inner()).ok()?;
                    let (payload, rest) = bytes.split_at_checked(length)?;
                    bytes = rest;
                    let range = match object.header.end_of_range() {
                        None => 0,
                        Some(theirs::$range::NonExistent) => 1,
                        Some(theirs::$range::Unknown) => 2,
                        #[allow(unreachable_patterns, reason = "not in all drafts")]
                        Some(_) => 3,
                    };
                    let priority = if range == 0 { object.publisher_priority } else { None };
                    objects.push((
                        object.group_id,
                        object.object_id,
                        object.subgroup_id,
                        priority,
                        Option::<Vec<u8>>::from(object.header.properties).unwrap_or_default(),
                        payload.to_vec(),
                        range,
                    ));
                }
                Some(objects)
            }

            fn fetch_ours(bytes: &[u8], order: GroupOrder) -> Result<Vec<Fetched>, bool> {
                // The other one does not look into the properties here.
                let refused = |error| match error {
                    DataError::Session(violation) => {
                        violation.what.contains("key-value pair") || violation.what.contains("65,535 bytes")
                    }
                    _ => true,
                };
                let mut chunk = Bytes::copy_from_slice(bytes);
                let opening = OpeningReader::new(V).read(&mut chunk).map_err(refused)?;
                let Some(Opening::Fetch(_)) = opening else { return Err(false) };
                let mut reader = FetchReader::new(V, order);
                let mut objects: Vec<Fetched> = Vec::new();
                while let Some(item) = reader.read(&mut chunk).map_err(refused)? {
                    match item {
                        FetchItem::Object(head) => objects.push((
                            head.location.group,
                            head.location.object,
                            match head.via {
                                Via::Subgroup(id) => Some(id),
                                Via::Datagram => None,
                            },
                            Some(head.priority),
                            head.properties.as_bytes().to_vec(),
                            Vec::new(),
                            0,
                        )),
                        FetchItem::Payload { bytes, .. } => {
                            objects.last_mut().unwrap().5.extend_from_slice(&bytes);
                        }
                        FetchItem::Gap { missing, end } => {
                            let range = match missing {
                                Missing::NonExistent => 1,
                                Missing::Unknown => 2,
                                Missing::TimedOut => 3,
                            };
                            objects.push((end.group, end.object, None, None, Vec::new(), Vec::new(), range));
                        }
                    }
                }
                reader.finish().map_err(|_| false)?;
                Ok(objects)
            }

            fn orders() -> impl Strategy<Value = (GroupOrder, theirs::GroupOrder)> {
                prop_oneof![
                    Just((GroupOrder::Ascending, theirs::GroupOrder::Ascending)),
                    Just((GroupOrder::Descending, theirs::GroupOrder::Descending)),
                ]
            }

            /// Bytes that are nearly a stream: small numbers, and now and then any.
            fn noise(length: usize) -> impl Strategy<Value = Vec<u8>> {
                prop::collection::vec(prop_oneof![4 => 0u8..6, 1 => 0x10u8..0x80, 1 => any::<u8>()], 0..length)
            }

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(2_000))]

                #[test]
                fn requests_are_read_by_others(first in arbitrary::first(V)) {
                    let bytes = first.encode(V).unwrap();
                    let message = match decode_theirs(&bytes) {
                        Ok(message) => message,
                        Err(error) if is_only_ours(&error) => return Ok(()),
                        Err(_) if is_only_ours_of_tracks(&first) => return Ok(()),
                        Err(error) => return Err(TestCaseError::fail(format!("{first:?}: {error}"))),
                    };
                    let mut again = Vec::new();
                    prop_assert!(message.encode(&mut again).is_ok());
                    prop_assert_eq!(again, bytes);
                }

                #[test]
                fn spoilt_requests_are_refused_by_both(bytes in spoilt()) {
                    let theirs = decode_theirs(&bytes);
                    let ours = decode_ours(&bytes);
                    if theirs.as_ref().is_err_and(|error| is_only_ours(error)) {
                        return Ok(());
                    }
                    // DEFAULT_PUBLISHER_PRIORITY (0x0e) of a track is a byte, which they do not look at.
                    let words = format!("{theirs:?}");
                    let mut priorities = words.split("key: VarInt(14), value: Varint(VarInt(").skip(1);
                    let above_a_byte = |it: &str| {
                        it.split(')').next().and_then(|it| it.parse::<u64>().ok()).is_some_and(|it| it > 255)
                    };
                    if ours.is_none() && priorities.any(above_a_byte) {
                        return Ok(());
                    }
                    // A priority that is written as a number, which is taken as well (`Parameters::decode`).
                    let priority = |it: &First| it.request.parameters().subscriber_priority.is_some();
                    let only_ours = |it: &First| priority(it) || is_only_ours_of_tracks(it);
                    if theirs.is_err() && ours.as_ref().is_some_and(only_ours) {
                        return Ok(());
                    }
                    prop_assert_eq!(ours.is_some(), theirs.is_ok(), "{:02x?}: {:?} {:?}", bytes, ours, theirs);
                }

                #[test]
                fn subgroups_are_the_same_to_others(kind in 0x10u8..0x80, bytes in noise(60)) {
                    let stream = [&[kind], &bytes[..]].concat();
                    match (subgroup_ours(&stream), subgroup_theirs(&stream)) {
                        // Malformed tracks and our bound.
                        (Err(true), _) => {}
                        (Ok(ours), None) if ours.iter().any(|it| it.0 > THEIR_MAX) => {}
                        (ours, theirs) => prop_assert_eq!(ours.ok(), theirs, "{:02x?}", stream),
                    }
                }

                #[test]
                fn our_subgroups_are_read_by_others(
                    (header, objects) in arbitrary::subgroup_header(V).prop_flat_map(|header| {
                        (Just(header), arbitrary::subgroup_objects(V, header.properties))
                    }),
                ) {
                    // The other one has no IDs beyond 62 bits.
                    prop_assume!(objects.iter().all(|(head, _)| head.id <= THEIR_MAX));
                    let mut out = BytesMut::new();
                    SubgroupHeader::encode(&header, V, &mut out).unwrap();
                    let mut writer = SubgroupWriter::new(V, &header);
                    for (head, payload) in &objects {
                        writer.object(head, &mut out).unwrap();
                        out.put_slice(payload);
                    }
                    let expected: Vec<_> = objects
                        .iter()
                        .map(|(head, payload)| {
                            (head.id, head.properties.as_bytes().to_vec(), 0, payload.to_vec())
                        })
                        .collect();
                    prop_assert_eq!(subgroup_theirs(&out), Some(expected));
                }

                #[test]
                fn fetches_are_the_same_to_others((order, their_order) in orders(), bytes in noise(60)) {
                    let stream = [&[5, 2, 0x1c, 5, 5, 128, 0], &bytes[..]].concat();
                    // Ends of ranges have a payload length there, and here none.
                    let has_range = |it: &[Fetched]| it.iter().any(|it| it.6 != 0);
                    match (fetch_ours(&stream, order), fetch_theirs(&stream, their_order)) {
                        (Err(true), _) => {}
                        (Ok(ours), _) if has_range(&ours) => {}
                        (_, Some(theirs)) if has_range(&theirs) => {}
                        (Ok(ours), None) if ours.iter().any(|it| it.0.max(it.1) > THEIR_MAX) => {}
                        (ours, theirs) => prop_assert_eq!(ours.ok(), theirs, "{:02x?}", stream),
                    }
                }

                #[test]
                fn our_fetches_are_read_by_others(
                    (order, their_order) in orders(),
                    ascending in arbitrary::fetch_objects(V, GroupOrder::Ascending),
                    descending in arbitrary::fetch_objects(V, GroupOrder::Descending),
                    gap in arbitrary::location(V),
                ) {
                    let objects = if order == GroupOrder::Ascending { ascending } else { descending };
                    let mut out = BytesMut::new();
                    let mut writer = FetchWriter::new(V, RequestId(2), order, &mut out);
                    for (head, payload) in &objects {
                        writer.object(head, &mut out).unwrap();
                        out.put_slice(payload);
                    }
                    let objects = out.clone();
                    let ends = writer.gap(Missing::Unknown, gap, &mut out).is_ok();
                    let ours = fetch_ours(&out, order).ok();
                    let (mut to_them, mut of_them) = (out, ours.clone());
                    match (ends, $absolute) {
                        (false, _) => {}
                        // A payload length of 0, which is passed over here.
                        (true, true) => {
                            to_them.put_u8(0);
                            prop_assert_eq!(fetch_ours(&to_them, order).ok(), ours);
                        }
                        (true, false) => {
                            to_them = objects;
                            of_them.as_mut().map(Vec::pop);
                        }
                    }
                    prop_assert_eq!(fetch_theirs(&to_them, their_order), of_them);
                }

                #[test]
                fn datagrams_are_the_same_to_others(kind in 0u8..0x40, bytes in noise(40)) {
                    let datagram = [&[kind], &bytes[..]].concat();
                    let ours = Datagram::decode(V, Bytes::from(datagram.clone()));
                    if matches!(ours, Err(DataError::MalformedTrack(_) | DataError::Limit(..))) {
                        return Ok(());
                    }
                    let theirs = theirs::DatagramHeader::decode_object(&mut &datagram[..]).ok();
                    let ours = ours.ok().flatten();
                    let place = |it: &Datagram| (Location::new(it.group, it.object), it.priority);
                    let their_place = theirs.as_ref().map(|(it, _)| {
                        (
                            Location::new(it.group_id.into_inner(), it.object_id.into_inner()),
                            it.publisher_priority,
                        )
                    });
                    if ours.as_ref().is_some_and(|it| it.group.max(it.object) > THEIR_MAX) {
                        return Ok(());
                    }
                    // A status is a number (draft-21 §11.2.1), also in more bytes than it needs; they read one byte.
                    let longer = |it: &Datagram| it.encode(V).is_ok_and(|short| short.len() < datagram.len());
                    let status = |it: &&Datagram| matches!(it.body, DatagramBody::Status(_));
                    if theirs.is_none() && ours.as_ref().filter(status).is_some_and(longer) {
                        return Ok(());
                    }
                    prop_assert_eq!(ours.as_ref().map(place), their_place, "{:02x?}", datagram);
                    if let (Some(Datagram { body: DatagramBody::Payload(payload), .. }), Some((_, theirs))) =
                        (&ours, &theirs)
                    {
                        prop_assert_eq!(&payload[..], &theirs[..]);
                    }
                }
            }
        }
    };
}

differential!(draft18, Draft18, draft18, EndOfRange, true);
differential!(draft20, Draft20, draft20, FetchEndOfRange, false);
differential!(draft21, Draft21, draft21, FetchEndOfRange, false);
differential!(draft22, Draft22, draft22, FetchEndOfRange, false);
