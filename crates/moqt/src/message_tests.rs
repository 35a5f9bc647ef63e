//! Messages as bytes: known ones, and any at all.

use bytes::{BufMut, Bytes, BytesMut};
use proptest::prelude::*;

use super::first::{First, scope_of};
use super::goaway::GoAway;
use super::publish::PublishDone;
use super::response::{RequestOk, check_about};
use super::setup::Setup;
use super::shared::NamespaceCancel;
use super::subscribe::SubscribeOk;
use super::update::Update;
use super::*;
use crate::arbitrary;
use crate::code::{DoneCode, RequestCode};
use crate::error::Violation;
use crate::filter::Filter;
use crate::location::{GroupOrder, Location, Range};
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::properties::{Properties, Value, kind as property};
use crate::request::{
    Done, Fetch, FetchOk, JoiningStart, Redirect, Request, RequestError, RequestId,
};
use crate::route::{Node, Route};
use crate::secret::Secret;
use crate::token::{AuthToken, Token};
use crate::varint::Coding;
use crate::version::{Requests, SetupForm, Version};

const V: Version = Version::Draft18;
/// What answers are about, where they say so.
const ABOUT: RequestId = RequestId(0);

/// Hexadecimal digits with blanks between them.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|digit| *digit != b' ').collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// The one message in these bytes.
fn message(bytes: &[u8]) -> (Message, Body) {
    message_of(V, bytes)
}

fn message_of(version: Version, bytes: &[u8]) -> (Message, Body) {
    let mut reader = MessageReader::new(version);
    reader.push(bytes);
    let message = reader.next().unwrap();
    assert_eq!(reader.held(), 0);
    message
}

/// The bytes are what is written for the value, and mean it.
fn check_of<T: PartialEq + std::fmt::Debug>(
    v: Version,
    text: &str,
    value: &T,
    decode: impl Fn(Message, Body) -> Result<T, Violation>,
    encode: impl Fn(&T) -> Result<Bytes, TooLong>,
) {
    let bytes = hex(text);
    assert_eq!(encode(value).unwrap(), bytes, "{value:?}");
    let (kind, body) = message_of(v, &bytes);
    assert_eq!(decode(kind, body).as_ref(), Ok(value), "{v:?}");
}

fn check<T: PartialEq + std::fmt::Debug>(
    text: &str,
    value: &T,
    decode: impl Fn(Message, Body) -> Result<T, Violation>,
    encode: impl Fn(&T) -> Result<Bytes, TooLong>,
) {
    check_of(V, text, value, decode, encode);
}

fn check_first(text: &str, id: u64, request: Request, alias: Option<u64>) {
    let first = First { id: RequestId(id), request, alias };
    check(text, &first, |kind, body| First::decode(V, kind, body), |first| first.encode(V));
}

fn decode_update(version: Version, mut body: Body) -> Result<Update, Violation> {
    let (id, _) = Update::ids(version, &mut body)?;
    Update::decode(version, Scope::UpdateOfSubscription, id, body)
}

fn namespace() -> Namespace {
    Namespace::new(["acc", "cam"]).unwrap()
}

fn track(name: &'static str) -> TrackName {
    TrackName::new(namespace(), name).unwrap()
}

#[test]
fn vectors_draft18_s10_3_setup() {
    let setup = Setup {
        path: Some(Bytes::from_static(b"/")),
        authority: Some(Bytes::from_static(b"a.example")),
        implementation: Bytes::from_static(b"airwave"),
        ..Setup::default()
    };
    let text = "af00 0017 01 01 2f 04 09 612e6578616d706c65 02 07 61697277617665";
    check(text, &setup, |_, body| Setup::decode(V, body), |setup| setup.encode(V, true));
}

#[test]
fn vectors_draft18_s10_7_subscribe() {
    let parameters = Parameters {
        forward: Some(true),
        subscriber_priority: Some(128),
        filter: Some(Filter::NextObject),
        group_order: Some(GroupOrder::Descending),
        ..Parameters::default()
    };
    let text = "03 001c 00 02 03616363 0363616d 07 636174616c6f67 04 10 01 10 80 01 01 02 01 02";
    check_first(text, 0, Request::Subscribe { track: track("catalog"), parameters }, None);
    let token = Token::UseValue(AuthToken::new(Secret::new("jwt")));
    let parameters = Parameters { tokens: vec![token], ..Parameters::default() };
    let text = "03 001a 00 02 03616363 0363616d 07 636174616c6f67 01 03 05 03 00 6a7774";
    check_first(text, 0, Request::Subscribe { track: track("catalog"), parameters }, None);
}

#[test]
fn vectors_draft18_s10_8_subscribe_ok() {
    let ok = SubscribeOk {
        alias: 1,
        parameters: Parameters { largest: Some(Location::new(300, 7)), ..Parameters::default() },
        properties: Properties::from_pairs(&[(
            property::DEFAULT_PUBLISHER_PRIORITY,
            Value::Number(64),
        )])
        .unwrap(),
    };
    let text = "04 0008 01 01 09 812c 07 0e 40";
    check(text, &ok, |_, body| SubscribeOk::decode(V, body), |ok| ok.encode(V, ABOUT));
}

#[test]
fn vectors_draft18_s10_6_request_error() {
    let mut error = RequestError::new(RequestCode::DoesNotExist, "");
    let text = "05 0003 10 00 00";
    check(text, &error, |_, body| RequestError::decode(V, body), |error| error.encode(V, ABOUT));
    error.code = RequestCode::Redirect;
    error.retry_after = Some(std::time::Duration::ZERO);
    error.redirect = Some(Redirect {
        uri: "moqt://b.example/".to_owned(),
        namespace: Namespace::root(),
        name: Bytes::new(),
    });
    let text = "05 0017 34 01 00 11 6d6f71743a2f2f622e6578616d706c652f 00 00";
    check(text, &error, |_, body| RequestError::decode(V, body), |error| error.encode(V, ABOUT));
}

#[test]
fn vectors_draft18_s10_12_fetch() {
    let parameters = Parameters::default();
    let fetch = Fetch::Joining { subscription: RequestId(0), start: JoiningStart::Relative(0) };
    let request = Request::Fetch { fetch, parameters: parameters.clone() };
    check_first("16 0005 02 02 00 00 00", 2, request, None);
    let range = Range { start: Location::new(5, 0), end: Location::new(5, Range::WHOLE_GROUP) };
    let fetch = Fetch::Standalone { track: track("catalog"), range };
    let text = "16 0018 02 01 02 03616363 0363616d 07 636174616c6f67 05 00 05 00 00";
    check_first(text, 2, Request::Fetch { fetch, parameters: parameters.clone() }, None);
    let ok = FetchOk {
        end_of_track: false,
        end: range.end,
        parameters,
        properties: Properties::empty(),
    };
    let text = "18 0004 00 05 00 00";
    check(text, &ok, |_, body| FetchOk::decode(V, body), |ok| ok.encode(V, ABOUT));
}

#[test]
fn vectors_draft18_s10_4_goaway() {
    let mut goaway =
        GoAway { uri: String::new(), timeout_ms: 5_000, unprocessed: Some(RequestId(14)) };
    let text = "10 0004 00 9388 0e";
    check(text, &goaway, |_, body| GoAway::decode(V, body, true), |it| it.encode(V));
    goaway.unprocessed = None;
    let text = "10 0003 00 9388";
    check(text, &goaway, |_, body| GoAway::decode(V, body, false), |it| it.encode(V));
}

/// The same on the control stream and on that of a request.
#[test]
fn vectors_draft21_s9_2_goaway_has_no_request_id() {
    let uri = "moqt://b".to_owned();
    let goaway = GoAway { uri, timeout_ms: 5_000, unprocessed: None };
    let text = "10 000b 08 6d6f71743a2f2f62 9388";
    for version in [Version::Draft20, Version::Draft21, Version::Draft22] {
        for of_session in [true, false] {
            let decode = |_, body| GoAway::decode(version, body, of_session);
            check(text, &goaway, decode, |it| it.encode(version));
        }
        let named = GoAway { unprocessed: Some(RequestId(14)), ..goaway.clone() };
        assert_eq!(named.encode(version), goaway.encode(version), "{version:?}");
    }
}

#[test]
fn vectors_draft18_s10_16_to_s10_18_namespaces() {
    let prefix = Namespace::new(["acc"]).unwrap();
    let request =
        Request::SubscribeNamespace { prefix, tracks: false, parameters: Parameters::default() };
    check_first("50 0007 04 01 03616363 00", 4, request, None);
    let suffix = Namespace::new(["cam"]).unwrap();
    let decode = |_, body| namespace::decode_suffix(body);
    let encode = |suffix: &Namespace| namespace::encode_suffix(V, false, suffix);
    check("08 0005 01 0363616d", &suffix, decode, encode);
    let encode = |suffix: &Namespace| namespace::encode_suffix(V, true, suffix);
    check("0e 0005 01 0363616d", &suffix, decode, encode);
}

/// NAMESPACE with a route behind its suffix: our extension (docs/protocols/moq-relay.md).
#[test]
fn vectors_namespaces_between_nodes() {
    let suffix = Namespace::new(["cam"]).unwrap();
    let nodes = [5, 300].map(|id| Node::new(id).unwrap());
    let told = (suffix, Route::new(nodes.to_vec()).unwrap());
    let decode = |_, body| namespace::decode_routed(body);
    let encode = |(suffix, route): &(Namespace, Route)| namespace::encode_routed(V, suffix, route);
    check("08 0009 01 0363616d 02 05 812c", &told, decode, encode);
    for wrong in [
        "01 0363616d",
        "01 0363616d 00",
        "01 0363616d 01",
        "01 0363616d 01 00",
        "01 0363616d 01 ffffffffffffffffff",
        "01 0363616d 02 05 05",
        "01 0363616d 01 05 06",
        "01 0363616d 09 01 02 03 04 05 06 07 08 09",
        "01 0363616d ffffffffffffffffff 05",
    ] {
        let body = Body::new(Coding::Vi64, hex(wrong).into());
        assert!(namespace::decode_routed(body).is_err(), "{wrong}");
    }
    let setup = Setup { node: Node::new(5), ..Setup::default() };
    let decode = |_, body| Setup::decode(V, body);
    check("af00 0006 f041697276 05", &setup, decode, |setup| setup.encode(V, true));
    // What is no number of a node is somebody else's option.
    let body = Body::new(Coding::Vi64, hex("f041697276 00").into());
    assert_eq!(Setup::decode(V, body), Ok(Setup::default()));
}

#[test]
fn vectors_draft18_s10_10_publish() {
    let parameters = Parameters { forward: Some(false), ..Parameters::default() };
    let properties = Properties::from_pairs(&[(property::DYNAMIC_GROUPS, Value::Number(1))]);
    let request =
        Request::Publish { track: track("video"), parameters, properties: properties.unwrap() };
    let text = "1d 0016 01 02 03616363 0363616d 05 766964656f 03 01 10 00 30 01";
    check_first(text, 1, request, Some(3));
    let done = PublishDone {
        done: Done { code: DoneCode::TrackEnded, reason: String::new() },
        streams: Some(12),
    };
    let text = "0b 0003 02 0c 00";
    check(text, &done, |_, body| PublishDone::decode(V, body), |done| done.encode(V, ABOUT));
    // draft-18 §10.11: 2^62 - 1 is "not known".
    let unknown = PublishDone { streams: None, ..done };
    let text = "0b 000b 02 ff3fffffffffffffff 00";
    check(text, &unknown, |_, body| PublishDone::decode(V, body), |done| done.encode(V, ABOUT));
}

#[test]
fn vectors_draft18_s10_9_request_update() {
    let parameters = Parameters { forward: Some(true), ..Parameters::default() };
    let update = Update { id: RequestId(6), parameters };
    let decode = |_, body| decode_update(V, body);
    check("02 0004 06 01 10 01", &update, decode, |update| update.encode(V, ABOUT));
}

const LATER: [Version; 3] = [Version::Draft20, Version::Draft21, Version::Draft22];

/// The same in drafts 20 and 21, and in 22. The bytes are those that `moqtap-codec` reads and writes.
#[test]
fn vectors_draft21_s9_6_subscribe() {
    let subscribe = |parameters| {
        let request = Request::Subscribe { track: track("catalog"), parameters };
        First { id: RequestId(0), request, alias: None }
    };
    let live = Parameters {
        forward: Some(true),
        subscriber_priority: Some(128),
        filter: Some(Filter::NextObject),
        group_order: Some(GroupOrder::Descending),
        ..Parameters::default()
    };
    let recent = Parameters { filter: Some(Filter::Recent(1)), ..Parameters::default() };
    let filled = Parameters {
        filter: Some(Filter::NextObject),
        fill: Some(Box::new(recent)),
        ..Parameters::default()
    };
    let ranges = crate::filter::Ranges {
        set: 0,
        property: None,
        ranges: vec![(3, Some(5)), (10, Some(15))],
    };
    let ranged = Parameters {
        range_filters: vec![crate::filter::RangeFilter::new(
            crate::filter::Ranged::Object,
            &ranges,
        )],
        ..Parameters::default()
    };
    for (parameters, fields, typed) in [
        (
            live,
            "001d 00 @ 04 10 01 10 80 01 02 00 00 01 02",
            "001b 00 @ 04 10 01 10 80 01 05 01 02",
        ),
        (
            filled,
            "001d 00 @ 02 21 02 00 00 02 04 01 21 01 01",
            "001b 00 @ 02 21 05 02 04 01 21 01 01",
        ),
        (ranged, "001a 00 @ 01 26 05 00 03 02 05 05", "001a 00 @ 01 26 05 00 03 02 05 05"),
    ] {
        for v in LATER {
            let text = if v == Version::Draft22 { typed } else { fields };
            let text =
                format!("03 {}", text.replace('@', "02 03616363 0363616d 07 636174616c6f67"));
            let first = subscribe(parameters.clone());
            let decode = |kind, body| First::decode(v, kind, body);
            check_of(v, &text, &first, decode, |first| first.encode(v));
        }
    }
}

/// Others write the parameters of a fill without their number. What is neither is refused.
#[test]
fn draft21_s9_20_16_a_fill_without_a_count() {
    let read = |text: &str| {
        let (kind, body) = message_of(Version::Draft22, &hex(text));
        First::decode(Version::Draft22, kind, body)
            .map(|first| first.request.parameters().fill.as_deref().cloned())
    };
    let recent = Parameters { filter: Some(Filter::Recent(1)), ..Parameters::default() };
    let ordered = Parameters { group_order: Some(GroupOrder::Descending), ..recent.clone() };
    for (value, fill) in [
        ("03 21 01 01", &recent),
        ("04 01 21 01 01", &recent),
        ("05 21 01 01 01 02", &ordered),
        ("06 02 21 01 01 01 02", &ordered),
        ("00", &Parameters::default()),
        ("01 00", &Parameters::default()),
    ] {
        let rest = format!("09 01 046c697665 05766964656f 03 21 05 02 {value} 12 00");
        let text = format!("03 00{:02x} {rest}", hex(&rest).len());
        assert_eq!(read(&text), Ok(Some(fill.clone())), "{value}");
    }
    for value in ["03 21 09 01", "01 21", "02 7e 00", "04 02 21 01 01", "03 08 00 00"] {
        let rest = format!("09 01 046c697665 05766964656f 03 21 05 02 {value} 12 00");
        let text = format!("03 00{:02x} {rest}", hex(&rest).len());
        assert!(read(&text).is_err(), "{value}");
    }
}

#[test]
fn vectors_draft21_s9_11_fetch() {
    let range = Range { start: Location::new(5, 0), end: Location::new(5, Range::WHOLE_GROUP) };
    let standalone = Fetch::Standalone { track: track("catalog"), range };
    let all = Fetch::Filtered { track: track("catalog"), filter: Filter::All };
    for v in LATER {
        for (fetch, rest) in
            [(standalone.clone(), "0018 # 01 21 03 05 00 00"), (all.clone(), "0013 # 00")]
        {
            let text =
                format!("16 {}", rest.replace('#', "02 02 03616363 0363616d 07 636174616c6f67"));
            let request = Request::Fetch { fetch, parameters: Parameters::default() };
            let first = First { id: RequestId(2), request, alias: None };
            let decode = |kind, body| First::decode(v, kind, body);
            check_of(v, &text, &first, decode, |first| first.encode(v));
        }
        // draft-21 §9.12: inclusive.
        let (parameters, properties) = (Parameters::default(), Properties::empty());
        let ok = FetchOk { end_of_track: true, end: Location::new(5, 0), parameters, properties };
        let decode = |_, body| FetchOk::decode(v, body);
        check_of(v, "18 0004 01 05 00 00", &ok, decode, |ok| ok.encode(v, ABOUT));
    }
}

#[test]
fn vectors_draft21_s9_others() {
    for v in LATER {
        let setup = Setup { filter_ranges: 4, updates: 16, ..Setup::default() };
        let decode = |_, body| Setup::decode(v, body);
        check_of(v, "af00 0004 06 04 02 10", &setup, decode, |setup| setup.encode(v, true));
        let parameters = Parameters {
            largest: Some(Location::new(300, 7)),
            forward: Some(false),
            ..Parameters::default()
        };
        let decode = |_, body| super::update::decode_notify(v, body);
        let encode = |it: &Parameters| super::update::encode_notify(v, it);
        check_of(v, "22 0007 02 09 812c 07 07 00", &parameters, decode, encode);
        let goaway = GoAway { uri: String::new(), timeout_ms: 5_000, unprocessed: None };
        let decode = |_, body| GoAway::decode(v, body, true);
        check_of(v, "10 0003 00 9388", &goaway, decode, |goaway| goaway.encode(v));
        let done = Done { code: DoneCode::TrackEnded, reason: String::new() };
        let unknown = PublishDone { done, streams: None };
        let decode = |_, body| PublishDone::decode(v, body);
        let encode = |done: &PublishDone| done.encode(v, ABOUT);
        check_of(v, "0b 000b 02 ffffffffffffffffff 00", &unknown, decode, encode);
    }
    // Draft 18 has no such options: they are unknown, and may repeat.
    let options = Body::new(Coding::Vi64, hex("06 04 00 05 02 10").into());
    assert_eq!(Setup::decode(V, options), Ok(Setup::default()));
}

/// draft-21 §9.20.1, §9.20.16: parameters where they must not be.
#[test]
fn draft21_s9_20_scopes() {
    let name = "02 03616363 0363616d 07 636174616c6f67";
    for (message, rest, good) in [
        // FILL_PARAMETERS: in SUBSCRIBE, not in FETCH; in it no FORWARD, no other fill, nothing left over.
        (Message::Subscribe, "01 23 01 00", true),
        (Message::Fetch, "01 23 01 00", false),
        (Message::Subscribe, "01 23 03 01 10 01", false),
        (Message::Subscribe, "01 23 04 01 23 01 00", false),
        (Message::Subscribe, "01 23 02 00 00", false),
        (Message::Subscribe, "01 23 04 01 20 80 00", false),
        // Priority, order, filters of objects, a timeout; not one of tracks.
        (Message::Subscribe, "01 23 0b 05 0a 05 16 07 02 01 03 00 02 00", true),
        (Message::Subscribe, "01 23 04 01 29 01 00", false),
        // FILL_TIMEOUT: in FETCH, not in SUBSCRIBE.
        (Message::Fetch, "01 0a 05", true),
        (Message::Subscribe, "01 0a 05", false),
        // INCLUDE_PROPERTIES
        (Message::TrackStatus, "01 35 00", true),
        (Message::TrackStatus, "01 35 02", false),
        // Range filters may repeat, others may not.
        (Message::Subscribe, "02 26 00 00 00", true),
        (Message::Subscribe, "02 29 00 00 00", false),
        (Message::Subscribe, "02 10 01 00 01", false),
    ] {
        let body = hex(&format!("02 {name} {rest}"));
        let first = First::decode(Version::Draft20, message, Body::new(Coding::Vi64, body.into()));
        assert_eq!(first.is_ok(), good, "{message:?} {rest}: {first:?}");
    }
}

/// draft-21 §9.18.1: what SUBSCRIBE has, SUBSCRIBE_TRACKS has.
#[test]
fn draft21_s9_18_1_what_subscriptions_begin_with() {
    // Both timeouts and RENDEZVOUS_TIMEOUT, FORWARD, SUBSCRIBER_PRIORITY, GROUP_ORDER, NEW_GROUP_REQUEST.
    let body = hex("02 01 03616363 07 0205 0205 0205 0a01 1007 0202 1000");
    for (version, good) in [
        (Version::Draft20, true),
        (Version::Draft21, true),
        (Version::Draft22, true),
        (Version::Draft18, false),
    ] {
        let body = Body::new(Coding::Vi64, body.clone().into());
        let first = First::decode(version, Message::SubscribeTracks, body);
        assert_eq!(first.is_ok(), good, "{version:?}: {first:?}");
    }
}

/// Messages come in pieces of any size, several in one piece.
#[test]
fn draft18_s10_frames_are_put_together() {
    let bytes = hex("08 0005 01 0363616d af00 0000 0b 0003 02 0c 00");
    for piece in 1..=bytes.len() {
        let mut reader = MessageReader::new(V);
        let mut kinds = Vec::new();
        for piece in bytes.chunks(piece) {
            reader.push(piece);
            while let Some((kind, _)) = reader.next() {
                kinds.push(kind);
            }
        }
        assert_eq!(kinds, [Message::Namespace, Message::Setup, Message::PublishDone], "{piece}");
        assert_eq!(reader.held(), 0);
    }
}

#[test]
fn draft18_s1_4_4_our_reasons_are_cut() {
    let reason = "\u{e9}".repeat(600);
    let error = RequestError::new(RequestCode::Timeout, reason.clone());
    let (_, body) = message(&error.encode(V, ABOUT).unwrap());
    assert_eq!(RequestError::decode(V, body).unwrap().reason, reason[..1_024]);
}

#[test]
fn draft18_s14_unknown_codes_are_internal_errors() {
    for code in [0x9d, 0x11c, 0x3fff] {
        let mut out = BytesMut::new();
        Coding::Vi64.write(code, &mut out);
        out.put_slice(&[0, 0]);
        let error = RequestError::decode(V, Body::new(Coding::Vi64, out.clone().freeze())).unwrap();
        assert_eq!(error.code, RequestCode::InternalError);
        let done = PublishDone::decode(V, Body::new(Coding::Vi64, out.freeze())).unwrap();
        assert_eq!(done.done.code, DoneCode::InternalError);
    }
}

#[test]
fn draft18_s10_3_unknown_options_are_ignored_and_may_repeat() {
    let setup = Setup { grease: Some(5), ..Setup::default() };
    let (_, body) = message(&setup.encode(V, true).unwrap());
    assert_eq!(Setup::decode(V, body), Ok(Setup::default()));
    let mut out = hex("8100 01");
    out.extend(hex("00 02 00 03"));
    assert_eq!(Setup::decode(V, Body::new(Coding::Vi64, out.into())), Ok(Setup::default()));
}

/// In no message may a field lack or one byte be too many.
#[test]
fn draft18_s10_lengths_must_match() {
    type Decodes = fn(Body) -> bool;
    let cases: [(&str, Decodes); 7] = [
        ("00 02 03616363 0363616d 07 636174616c6f67 01 10 01", |body| {
            First::decode(V, Message::Subscribe, body).is_ok()
        }),
        ("02 01 02 03616363 0363616d 07 636174616c6f67 05 00 05 00 00", |body| {
            First::decode(V, Message::Fetch, body).is_ok()
        }),
        ("04 01 03616363 00", |body| First::decode(V, Message::SubscribeTracks, body).is_ok()),
        ("00 9388 0e", |body| GoAway::decode(V, body, true).is_ok()),
        ("02 0c 00", |body| PublishDone::decode(V, body).is_ok()),
        ("06 01 10 01", |body| decode_update(V, body).is_ok()),
        ("01 0363616d", |body| namespace::decode_suffix(body).is_ok()),
    ];
    for (text, decodes) in cases {
        let mut bytes = hex(text);
        assert!(decodes(Body::new(Coding::Vi64, bytes.clone().into())), "{text}");
        for cut in 0..bytes.len() {
            assert!(
                !decodes(Body::new(Coding::Vi64, bytes[..cut].to_vec().into())),
                "{text} cut at {cut}"
            );
        }
        bytes.push(0);
        assert!(!decodes(Body::new(Coding::Vi64, bytes.into())), "{text} and a byte");
    }
}

/// A draft, and something in it.
fn of_any<T: std::fmt::Debug, S: Strategy<Value = T>>(
    strategy: impl Fn(Version) -> S,
) -> impl Strategy<Value = (Version, T)> {
    arbitrary::version().prop_flat_map(move |version| (Just(version), strategy(version)))
}

fn answers(v: Version) -> impl Strategy<Value = (SubscribeOk, RequestOk, FetchOk)> {
    let parameters = |scope| arbitrary::parameters(v, scope);
    (
        (parameters(Scope::SubscribeOk), parameters(Scope::TrackStatusOk)),
        (arbitrary::properties(v), arbitrary::number(v), arbitrary::end(v), any::<bool>()),
    )
        .prop_map(move |((parameters, status), (properties, alias, end, end_of_track))| {
            let subscribe_ok = SubscribeOk { alias, parameters, properties: properties.clone() };
            let with = v.row().status_properties;
            let empty = Properties::empty();
            let properties_of_status = if with { properties.clone() } else { empty };
            let ok = RequestOk { parameters: status, properties: properties_of_status };
            let parameters = Parameters::default();
            (subscribe_ok, ok, FetchOk { end_of_track, end, parameters, properties })
        })
}

/// The body behind the request that it names, where it does.
fn behind_id(v: Version, bytes: &[u8]) -> Body {
    let (_, mut body) = message_of(v, bytes);
    let named = check_about(v, RequestId(u64::MAX), &mut body);
    let shared = v.row().requests == Requests::OnControl;
    assert_eq!(named, Ok(shared.then_some(ABOUT)));
    body
}

proptest! {
    #[test]
    fn requests_that_are_written_are_read((v, first) in of_any(arbitrary::first)) {
        let scope = scope_of(&first.request);
        prop_assert_eq!(first.request.parameters().out_of_scope(v, scope), None);
        let bytes = first.encode(v).unwrap();
        let (message, body) = message_of(v, &bytes);
        prop_assert_eq!(First::decode(v, message, body), Ok(first));
    }

    #[test]
    fn answers_that_are_written_are_read((v, (subscribe_ok, ok, fetch_ok)) in of_any(answers)) {
        let body = behind_id(v, &subscribe_ok.encode(v, ABOUT).unwrap());
        prop_assert_eq!(SubscribeOk::decode(v, body), Ok(subscribe_ok));
        let body = behind_id(v, &ok.encode(v, Message::RequestOk, ABOUT).unwrap());
        prop_assert_eq!(RequestOk::decode(v, Scope::TrackStatusOk, body), Ok(ok));
        let body = behind_id(v, &fetch_ok.encode(v, ABOUT).unwrap());
        prop_assert_eq!(FetchOk::decode(v, body), Ok(fetch_ok));
    }

    #[test]
    fn errors_that_are_written_are_read((v, error) in of_any(arbitrary::request_error)) {
        let body = behind_id(v, &error.encode(v, ABOUT).unwrap());
        let read = RequestError::decode(v, body).unwrap();
        let known = v.request_code_of(v.request_code(error.code)) == error.code;
        prop_assert_eq!(read.code == error.code, known);
        prop_assert_eq!(read.redirect.is_some(), known && error.redirect.is_some());
        prop_assert_eq!((read.retry_after, read.reason), (error.retry_after, error.reason));
    }

    #[test]
    fn updates_that_are_written_are_read(
        (v, (id, parameters)) in of_any(|v| {
            let scope = Scope::UpdateOfSubscription;
            (arbitrary::number(v), arbitrary::parameters(v, scope))
        }),
    ) {
        let update = Update { id: RequestId(id), parameters };
        let (message, body) = message_of(v, &update.encode(v, ABOUT).unwrap());
        prop_assert_eq!(message, Message::RequestUpdate);
        prop_assert_eq!(decode_update(v, body), Ok(update));
    }

    #[test]
    fn setups_that_are_written_are_read(
        (v, (tokens, numbers, by_client)) in of_any(|v| {
            let number = || arbitrary::number(v);
            (prop::collection::vec(arbitrary::token(v), 0..3), (number(), number()), any::<bool>())
        }),
    ) {
        let counted = v.row().setup == SetupForm::Counted;
        let setup = Setup {
            path: by_client.then(|| Bytes::from_static(b"/a?b")),
            max_request_id: if counted { numbers.0 } else { 0 },
            tokens,
            token_cache_bytes: numbers.1,
            implementation: Bytes::from_static(b"x"),
            filter_ranges: if v.row().limits_in_setup { numbers.0 } else { 0 },
            updates: if v.row().limits_in_setup { numbers.1 } else { 0 },
            ..Setup::default()
        };
        let (kind, body) = message_of(v, &setup.encode(v, by_client).unwrap());
        prop_assert_eq!(kind, super::setup::message(v, by_client));
        prop_assert_eq!(Setup::decode(v, body), Ok(setup));
    }

    /// Whatever stands in a message, reading it ends, and what is read can be written.
    #[test]
    fn any_bytes_are_read_or_refused(
        v in arbitrary::version(),
        kind in 0u64..0x60,
        bytes in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let body = || Body::new(v.row().integers, Bytes::from(bytes.clone()));
        if let Ok(first) = First::decode(v, v.message_of(kind), body()) {
            let (message, body) = message_of(v, &first.encode(v).unwrap());
            prop_assert_eq!(First::decode(v, message, body), Ok(first));
        }
        let _ = Setup::decode(v, body());
        let _ = GoAway::decode(v, body(), true);
        let _ = PublishDone::decode(v, body());
        let _ = SubscribeOk::decode(v, body());
        let _ = FetchOk::decode(v, body());
        let _ = RequestError::decode(v, body());
        let _ = decode_update(v, body());
        let _ = namespace::decode_suffix(body());
        let _ = namespace::decode_blocked(body());
        let _ = NamespaceCancel::decode(v, body());
        let _ = super::update::decode_notify(v, body());
    }
}
