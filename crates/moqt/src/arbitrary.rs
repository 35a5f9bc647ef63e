//! Values of all kinds, for tests.

use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::code::RequestCode;
use crate::data::{
    Body, Datagram, FetchObject, ObjectHead, Status, SubgroupHeader, SubgroupId, Via,
};
use crate::filter::{Filter, RangeFilter, Ranged, Ranges};
use crate::location::{GroupOrder, Location, Range};
use crate::message::first::{First, scope_of};
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::properties::{Properties, Value, kind};
use crate::request::{Fetch, JoiningStart, Redirect, Request, RequestError, RequestId};
use crate::secret::Secret;
use crate::token::{AuthToken, Token};
use crate::version::{FilterForm, Past, Version};

pub(crate) fn version() -> impl Strategy<Value = Version> {
    prop::sample::select(Version::ALL)
}

/// Small and large numbers alike.
pub(crate) fn number(v: Version) -> impl Strategy<Value = u64> {
    let max = v.id_max();
    (any::<u64>(), 0u32..64).prop_map(move |(number, shift)| (number & max) >> shift)
}

pub(crate) fn location(v: Version) -> impl Strategy<Value = Location> {
    (number(v), number(v)).prop_map(|(group, object)| Location { group, object })
}

/// The end of a range, which may be that of a group.
pub(crate) fn end(v: Version) -> impl Strategy<Value = Location> {
    // One more than the object must have a form.
    let object = prop_oneof![Just(Range::WHOLE_GROUP), (0..v.id_max())];
    (number(v), object).prop_map(|(group, object)| Location { group, object })
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

pub(crate) fn namespace() -> impl Strategy<Value = Namespace> {
    vec(vec(any::<u8>(), 1..20), 0..5).prop_map(|fields| Namespace::new(fields).unwrap())
}

pub(crate) fn track() -> BoxedStrategy<TrackName> {
    (namespace(), bytes(20))
        .prop_map(|(namespace, name)| TrackName::new(namespace, name).unwrap())
        .boxed()
}

fn group_order() -> impl Strategy<Value = GroupOrder> {
    prop_oneof![Just(GroupOrder::Ascending), Just(GroupOrder::Descending)]
}

/// Those that the draft can write.
fn filter(v: Version) -> impl Strategy<Value = Filter> {
    let form = v.row().filter;
    let end_group =
        move |start: Location, groups: u64| start.group.saturating_add(groups).min(v.id_max());
    let filter = prop_oneof![
        Just(Filter::NextGroup),
        Just(Filter::NextObject),
        location(v).prop_map(Filter::From),
        (location(v), number(v)).prop_map(move |(start, groups)| Filter::Range {
            start,
            end_group: end_group(start, groups),
        }),
        Just(Filter::All),
        (1..=u64::MAX, 0u32..64)
            .prop_map(|(groups, shift)| Filter::Recent((groups >> shift).max(1))),
        (location(v), number(v), number(v)).prop_map(move |(start, groups, object)| {
            let end = Location::new(end_group(start, groups), object);
            Filter::Within(Range { start, end })
        }),
    ];
    filter.prop_map(move |filter| match (form, filter) {
        // Two names of one thing.
        (FilterForm::Fields, Filter::From(start)) if start == Location::default() => Filter::All,
        (FilterForm::AbsoluteEnd | FilterForm::DeltaEnd, filter)
            if filter == Filter::All || !filter.is_writable(form) =>
        {
            Filter::NextGroup
        }
        (_, filter) => filter,
    })
}

/// Filters of all kinds, by kind.
fn range_filters() -> impl Strategy<Value = Vec<RangeFilter>> {
    let of = prop::sample::select(vec![
        Ranged::Subgroup,
        Ranged::Object,
        Ranged::Priority,
        Ranged::ObjectProperty,
        Ranged::TrackProperty,
    ]);
    let range = (0u64..100, 0u64..100);
    let filter =
        (of, any::<u8>(), 0u64..500, vec(range, 0..4)).prop_map(|(of, set, property, lengths)| {
            let (mut ranges, mut at) = (Vec::new(), 0);
            for (gap, length) in lengths {
                ranges.push((at + gap, Some(at + gap + length)));
                at += gap + length;
            }
            let named = matches!(of, Ranged::ObjectProperty | Ranged::TrackProperty);
            let property = named.then_some(2 * property);
            match ranges.is_empty() {
                true => RangeFilter::none(of),
                false => RangeFilter::new(of, &Ranges { set, property, ranges }),
            }
        });
    vec(filter, 0..4).prop_map(|mut filters| {
        filters.sort_by_key(|filter| filter.of);
        filters
    })
}

fn auth_token(v: Version) -> impl Strategy<Value = AuthToken> {
    (number(v), bytes(30)).prop_map(|(kind, value)| AuthToken { kind, value: Secret::new(value) })
}

pub(crate) fn token(v: Version) -> impl Strategy<Value = Token> {
    prop_oneof![
        number(v).prop_map(|alias| Token::Delete { alias }),
        (number(v), auth_token(v)).prop_map(|(alias, token)| Token::Register { alias, token }),
        number(v).prop_map(|alias| Token::UseAlias { alias }),
        auth_token(v).prop_map(Token::UseValue),
    ]
}

/// Any parameters that may stand there.
pub(crate) fn parameters(v: Version, scope: Scope) -> BoxedStrategy<Parameters> {
    let fill = match scope {
        Scope::Fill => Just(None).boxed(),
        _ => option::of(parameters(v, Scope::Fill).prop_map(Box::new)).boxed(),
    };
    let times = (
        option::of(number(v)),
        option::of(number(v)),
        option::of(number(v)),
        option::of(number(v)),
        option::of(number(v)),
    );
    let others = (
        vec(token(v), 0..3),
        option::of(location(v)),
        option::of(any::<bool>()),
        option::of(any::<u8>()),
        option::of(filter(v)),
        option::of(group_order()),
        option::of(number(v)),
        option::of(namespace()),
    );
    let later = (fill, range_filters(), option::of(any::<bool>()));
    (times, others, later)
        .prop_map(move |(times, others, later)| {
            let all = Parameters {
                object_delivery_timeout_ms: times.0,
                rendezvous_timeout_ms: times.1,
                subgroup_delivery_timeout_ms: times.2,
                expires_ms: times.3,
                fill_timeout_ms: times.4,
                tokens: others.0,
                largest: others.1,
                forward: others.2,
                subscriber_priority: others.3,
                filter: others.4,
                group_order: others.5,
                new_group: others.6,
                namespace_prefix: others.7,
                fill: later.0,
                range_filters: later.1,
                include_properties: later.2,
            };
            // The range of a FETCH is no parameter of it.
            let all = match scope {
                Scope::Fetch => Parameters { filter: None, ..all },
                _ => all,
            };
            let all = match v.row().zero_timeout {
                true => all,
                false => Parameters {
                    object_delivery_timeout_ms: all.object_delivery_timeout_ms.filter(|ms| *ms > 0),
                    ..all
                },
            };
            all.within(v, scope)
        })
        // Boxes, here and below: what is built of these would not fit onto a stack.
        .boxed()
}

/// Properties of a track or an object: nothing that only one of them may have.
pub(crate) fn properties(v: Version) -> impl Strategy<Value = Properties> {
    let pair = (number(v), number(v), vec(any::<u8>(), 0..30));
    vec(pair, 0..5).prop_map(|pairs| {
        let special = |number: &u64| {
            kind::MANDATORY.contains(number)
                || [0x0b, 0x0e, 0x22, 0x30, 0x3c, 0x3e].contains(number)
        };
        let pairs: Vec<(u64, Value<'_>)> = pairs
            .iter()
            .filter(|(number, value, _)| !special(number) && (*number, *value) != (0x02, 0))
            .map(|(number, value, bytes)| match number % 2 {
                0 => (*number, Value::Number(*value)),
                _ => (*number, Value::Bytes(bytes)),
            })
            .collect();
        Properties::from_pairs(&pairs).unwrap()
    })
}

fn fetch(v: Version) -> BoxedStrategy<Fetch> {
    if v.row().past == Past::Fill {
        let fetch = (track(), filter(v)).prop_map(|(track, filter)| match filter.range() {
            Some(range) => Fetch::Standalone { track, range },
            None => Fetch::Filtered { track, filter },
        });
        return fetch.boxed();
    }
    let standalone = (track(), location(v), end(v))
        .prop_map(|(track, start, end)| Fetch::Standalone { track, range: Range { start, end } });
    let joining = (number(v), number(v), any::<bool>()).prop_map(|(id, group, relative)| {
        let start =
            if relative { JoiningStart::Relative(group) } else { JoiningStart::Absolute(group) };
        Fetch::Joining { subscription: RequestId(id), start }
    });
    prop_oneof![standalone, joining].boxed()
}

pub(crate) fn request(v: Version) -> BoxedStrategy<Request> {
    let request = prop_oneof![
        (track(), parameters(v, Scope::Subscribe))
            .prop_map(|(track, parameters)| Request::Subscribe { track, parameters }),
        (track(), parameters(v, Scope::Publish), properties(v)).prop_map(
            |(track, parameters, properties)| Request::Publish { track, parameters, properties }
        ),
        (fetch(v), parameters(v, Scope::Fetch))
            .prop_map(|(fetch, parameters)| Request::Fetch { fetch, parameters }),
        (track(), parameters(v, Scope::TrackStatus))
            .prop_map(|(track, parameters)| Request::TrackStatus { track, parameters }),
        (namespace(), parameters(v, Scope::PublishNamespace)).prop_map(
            |(namespace, parameters)| { Request::PublishNamespace { namespace, parameters } }
        ),
        (namespace(), any::<bool>(), parameters(v, Scope::SubscribeNamespace)).prop_map(
            move |(prefix, tracks, parameters)| {
                let tracks = tracks && v.row().namespace_options;
                Request::SubscribeNamespace { prefix, tracks, parameters }
            }
        ),
        (namespace(), parameters(v, Scope::SubscribeTracks))
            .prop_map(|(prefix, parameters)| Request::SubscribeTracks { prefix, parameters }),
    ];
    let allowed = move |request: &Request| v.row().empty_namespace || !request.names_nothing();
    request.prop_filter("a namespace has a field", allowed).boxed()
}

pub(crate) fn first(v: Version) -> impl Strategy<Value = First> {
    (number(v), request(v), number(v)).prop_map(|(id, request, alias)| {
        let alias = (scope_of(&request) == Scope::Publish).then_some(alias);
        First { id: RequestId(id), request, alias }
    })
}

pub(crate) fn request_error(_v: Version) -> impl Strategy<Value = RequestError> {
    let redirect = ("[a-z:/.]{0,20}", track()).prop_map(|(uri, track)| Redirect {
        uri,
        namespace: track.namespace().clone(),
        name: track.name().clone(),
    });
    (option::of(0u64..1 << 40), ".{0,40}", option::of(redirect)).prop_map(
        move |(retry, reason, redirect)| RequestError {
            code: if redirect.is_some() { RequestCode::Redirect } else { RequestCode::Timeout },
            retry_after: retry.map(Duration::from_millis),
            reason,
            redirect,
        },
    )
}

fn priority() -> impl Strategy<Value = Option<u8>> {
    option::of(any::<u8>())
}

pub(crate) fn subgroup_header(v: Version) -> impl Strategy<Value = SubgroupHeader> {
    let subgroup = prop_oneof![
        Just(SubgroupId::Zero),
        Just(SubgroupId::FirstObject),
        number(v).prop_map(SubgroupId::Given),
    ];
    (number(v), number(v), subgroup, priority(), any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(move |(alias, group, subgroup, priority, properties, end_of_group, first)| {
            let first_object = first && v.row().subgroup_bits & 0x40 != 0;
            SubgroupHeader {
                alias,
                group,
                subgroup,
                priority,
                properties,
                end_of_group,
                first_object,
            }
        })
}

/// Objects with rising IDs, as a stream with or without properties has them, and their payloads.
pub(crate) fn subgroup_objects(
    v: Version,
    with_properties: bool,
) -> impl Strategy<Value = Vec<(ObjectHead, Bytes)>> {
    let object = (number(v), properties(v), bytes(50));
    vec(object, 0..8).prop_map(move |objects| {
        let mut objects: Vec<_> = objects;
        objects.sort_by_key(|(id, ..)| *id);
        objects.dedup_by_key(|(id, ..)| *id);
        objects
            .into_iter()
            .map(|(id, properties, payload)| {
                let properties = if with_properties { properties } else { Properties::empty() };
                let payload_length = payload.len() as u64;
                let status = Status::Normal;
                (ObjectHead { id, properties, status, payload_length }, payload)
            })
            .collect()
    })
}

/// Objects in the order of a fetch, and their payloads.
pub(crate) fn fetch_objects(
    v: Version,
    order: GroupOrder,
) -> impl Strategy<Value = Vec<(FetchObject, Bytes)>> {
    let via = prop_oneof![
        Just(Via::Datagram),
        (0u64..4).prop_map(Via::Subgroup),
        number(v).prop_map(Via::Subgroup)
    ];
    let place = prop_oneof![location(v), (0u64..3, 0u64..5).prop_map(|(g, o)| Location::new(g, o))];
    let object = (place, via, any::<u8>(), properties(v), bytes(50));
    vec(object, 0..10).prop_map(move |mut objects| {
        objects.sort_by_key(|(location, ..)| match order {
            GroupOrder::Ascending => (location.group, location.object),
            GroupOrder::Descending => (u64::MAX - location.group, location.object),
        });
        objects.dedup_by_key(|(location, ..)| *location);
        objects
            .into_iter()
            .map(|(location, via, priority, properties, payload)| {
                let payload_length = payload.len() as u64;
                (FetchObject { location, via, priority, properties, payload_length }, payload)
            })
            .collect()
    })
}

pub(crate) fn datagram(v: Version) -> impl Strategy<Value = Datagram> {
    let payload = bytes(60).prop_map(Body::Payload);
    let status = prop_oneof![
        Just(Body::Status(Status::Normal)),
        Just(Body::Status(Status::EndOfGroup)),
        Just(Body::Status(Status::EndOfTrack)),
    ];
    let body = prop_oneof![payload, status];
    (number(v), number(v), number(v), priority(), any::<bool>(), properties(v), body).prop_map(
        |(alias, group, object, priority, end_of_group, properties, body)| {
            let special = !matches!(body, Body::Payload(_));
            let bare = matches!(body, Body::Status(Status::EndOfGroup | Status::EndOfTrack));
            Datagram {
                alias,
                group,
                object,
                priority,
                end_of_group: end_of_group && !special,
                properties: if bare { Properties::empty() } else { properties },
                body,
            }
        },
    )
}
