//! Control messages field by field, for logs: names and shapes are those of draft-pardue-moq-qlog-moq-events. It only looks
//! on: what can't be read is said to be so, and tokens are told by their kind and length alone, as are places that may
//! hold one.

use crate::error::Violation;
use crate::filter::Filter;
use crate::location::{GroupOrder, Location};
use crate::message::first::{First, is_first};
use crate::message::goaway::GoAway;
use crate::message::setup::Setup;
use crate::message::{Message, MessageReader};
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::properties::{Properties, Value};
use crate::request::{Fetch, JoiningStart, Request};
use crate::route::Node;
use crate::token::{AuthToken, Token};
use crate::version::{Requests, Version};
use crate::wire::Body;

/// A value in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// A number.
    Number(u64),
    /// Text, which may be a stranger's.
    Text(String),
    /// Values in a row.
    List(Vec<Field>),
    /// Values with names.
    Map(Vec<(&'static str, Field)>),
}

/// One control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its type and what it says.
    pub message: Field,
    /// How long its body is.
    pub length: usize,
}

/// Reads the control messages of one direction of a stream.
#[derive(Debug)]
pub struct Describer {
    version: Version,
    reader: MessageReader,
}

impl Describer {
    /// For a stream that carries control messages.
    pub fn new(version: Version) -> Self {
        Self { version, reader: MessageReader::new(version) }
    }

    /// Takes the next bytes, and tells the messages that are whole with them.
    pub fn read(&mut self, bytes: &[u8]) -> Vec<Described> {
        self.reader.push(bytes);
        std::iter::from_fn(|| self.reader.next())
            .map(|(message, body)| {
                let length = body.len();
                let mut fields = vec![("type", text(name_of(message)))];
                let mut out = Out { version: self.version, fields: &mut fields };
                if out.message(message, body).is_err() {
                    fields.truncate(1);
                    fields.push(("unreadable", Field::Number(1)));
                }
                Described { message: Field::Map(fields), length }
            })
            .collect()
    }
}

fn name_of(message: Message) -> &'static str {
    match message {
        Message::RequestUpdate => "request_update",
        Message::Subscribe => "subscribe",
        Message::SubscribeOk => "subscribe_ok",
        Message::RequestError => "request_error",
        Message::PublishNamespace => "publish_namespace",
        Message::RequestOk => "request_ok",
        Message::Namespace => "namespace",
        Message::PublishNamespaceDone => "publish_namespace_done",
        Message::Unsubscribe => "unsubscribe",
        Message::PublishDone => "publish_done",
        Message::PublishNamespaceCancel => "publish_namespace_cancel",
        Message::TrackStatus => "track_status",
        Message::NamespaceDone => "namespace_done",
        Message::PublishBlocked => "publish_blocked",
        Message::GoAway => "goaway",
        Message::MaxRequestId => "max_request_id",
        Message::Fetch => "fetch",
        Message::FetchCancel => "fetch_cancel",
        Message::FetchOk => "fetch_ok",
        Message::RequestsBlocked => "requests_blocked",
        Message::Publish => "publish",
        Message::PublishOk => "publish_ok",
        Message::PublishStateNotify => "publish_state_notify",
        Message::ClientSetup | Message::ServerSetup | Message::Setup => "setup",
        Message::SubscribeNamespace => "subscribe_namespace",
        Message::SubscribeTracks => "subscribe_tracks",
        Message::Unknown => "unknown",
    }
}

fn text(text: impl Into<String>) -> Field {
    Field::Text(text.into())
}

/// MOQTByteString: as text, if it is text.
fn string(bytes: &[u8]) -> Field {
    Field::Map(vec![match std::str::from_utf8(bytes) {
        Ok(value) => ("value", text(value)),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            ("value_bytes", text(hex))
        }
    }])
}

/// RawInfo without its data.
fn raw(length: usize) -> Field {
    Field::Map(vec![("length", Field::Number(length as u64))])
}

fn names(namespace: &Namespace) -> Field {
    Field::List(namespace.fields().iter().map(|field| string(field)).collect())
}

fn location(at: Location) -> Field {
    Field::Map(vec![("group", Field::Number(at.group)), ("object", Field::Number(at.object))])
}

/// What is written of one message.
struct Out<'a> {
    version: Version,
    fields: &'a mut Vec<(&'static str, Field)>,
}

impl Out<'_> {
    fn put(&mut self, name: &'static str, value: Field) {
        self.fields.push((name, value));
    }

    fn number(&mut self, name: &'static str, value: u64) {
        self.put(name, Field::Number(value));
    }

    fn message(&mut self, message: Message, mut body: Body) -> Result<(), Violation> {
        if is_first(message) {
            let first = First::decode(self.version, message, body)?;
            self.first(&first);
            return Ok(());
        }
        let on_control = self.version.row().requests == Requests::OnControl;
        let about_request = !matches!(
            message,
            Message::Namespace
                | Message::NamespaceDone
                | Message::PublishBlocked
                | Message::GoAway
                | Message::MaxRequestId
                | Message::RequestsBlocked
                | Message::ClientSetup
                | Message::ServerSetup
                | Message::Setup
                | Message::Unknown
        );
        if about_request && (on_control || message == Message::RequestUpdate) {
            self.number("request_id", body.number()?);
        }
        match message {
            Message::ClientSetup | Message::ServerSetup | Message::Setup => {
                let setup = Setup::decode(self.version, body)?;
                self.setup(&setup);
            }
            Message::SubscribeOk => {
                self.number("track_alias", body.number()?);
                self.parameters(&mut body)?;
                self.properties(body)?;
            }
            Message::RequestOk | Message::PublishOk => {
                self.parameters(&mut body)?;
                self.properties(body)?;
            }
            Message::FetchOk => {
                self.number("end_of_track", u64::from(body.byte()?));
                let end = body.location()?;
                self.put("end_location", location(end));
                self.parameters(&mut body)?;
                self.properties(body)?;
            }
            Message::RequestError => {
                self.number("error_code", body.number()?);
                self.number("retry_interval", body.number()?);
                self.put("reason", text(body.reason()?));
            }
            Message::PublishNamespaceCancel => {
                self.number("error_code", body.number()?);
                self.put("reason", text(body.reason()?));
            }
            Message::PublishDone => {
                self.number("status_code", body.number()?);
                self.number("stream_count", body.number()?);
                self.put("reason", text(body.reason()?));
            }
            Message::RequestUpdate => {
                if on_control {
                    self.number("existing_request_id", body.number()?);
                }
                self.parameters(&mut body)?;
            }
            Message::PublishStateNotify => self.parameters(&mut body)?,
            Message::Namespace | Message::NamespaceDone => {
                self.put("track_namespace_suffix", names(&body.namespace()?));
            }
            Message::PublishBlocked => {
                let track = body.track()?;
                self.put("track_namespace_suffix", names(track.namespace()));
                self.put("track_name", string(track.name()));
            }
            Message::GoAway => {
                // On the stream of a request it has a field less.
                let again = body.clone();
                let goaway = GoAway::decode(self.version, body, true)
                    .or_else(|_| GoAway::decode(self.version, again, false))?;
                self.put("new_session_uri", raw(goaway.uri.len()));
                self.number("timeout", goaway.timeout_ms);
            }
            Message::MaxRequestId | Message::RequestsBlocked => {
                self.number("maximum_request_id", body.number()?);
            }
            _ => {}
        }
        Ok(())
    }

    fn first(&mut self, first: &First) {
        self.number("request_id", first.id.0);
        match &first.request {
            Request::Subscribe { track, .. } | Request::TrackStatus { track, .. } => {
                self.track(track);
            }
            Request::Publish { track, .. } => {
                self.track(track);
                self.number("track_alias", first.alias.unwrap_or_default());
            }
            Request::Fetch { fetch, .. } => self.fetch(fetch),
            Request::PublishNamespace { namespace, .. } => {
                self.put("track_namespace", names(namespace));
            }
            Request::SubscribeNamespace { prefix, tracks, .. } => {
                self.put("track_namespace_prefix", names(prefix));
                self.put("subscribe_options", text(if *tracks { "both" } else { "namespace" }));
            }
            Request::SubscribeTracks { prefix, .. } => {
                self.put("track_namespace_prefix", names(prefix));
            }
        }
        self.said(first.request.parameters());
        if let Request::Publish { properties, .. } = &first.request {
            self.pairs(properties);
        }
    }

    fn track(&mut self, track: &TrackName) {
        self.put("track_namespace", names(track.namespace()));
        self.put("track_name", string(track.name()));
    }

    fn fetch(&mut self, fetch: &Fetch) {
        match fetch {
            Fetch::Standalone { track, range } => {
                self.put("fetch_type", text("standalone"));
                let standalone = vec![
                    ("track_namespace", names(track.namespace())),
                    ("track_name", string(track.name())),
                    ("start_location", location(range.start)),
                    ("end_location", location(range.end)),
                ];
                self.put("standalone_fetch", Field::Map(standalone));
            }
            Fetch::Filtered { track, filter } => {
                self.track(track);
                self.put("subscription_filter", filter_of(*filter));
            }
            Fetch::Joining { subscription, start } => {
                let (kind, group) = match start {
                    JoiningStart::Relative(groups) => ("relative_joining", *groups),
                    JoiningStart::Absolute(group) => ("absolute_joining", *group),
                };
                self.put("fetch_type", text(kind));
                let joining = vec![
                    ("joining_request_id", Field::Number(subscription.0)),
                    ("joining_start", Field::Number(group)),
                ];
                self.put("joining_fetch", Field::Map(joining));
            }
        }
    }

    fn setup(&mut self, setup: &Setup) {
        let mut options = Vec::new();
        let mut option = |name, value| {
            options.push(Field::Map(vec![("name", text(name)), ("value", value)]));
        };
        if let Some(path) = &setup.path {
            // Its first segment, and its query, may be a key.
            option("path", text(format!("[{} bytes]", path.len())));
        }
        if let Some(authority) = &setup.authority {
            option("authority", text(String::from_utf8_lossy(authority)));
        }
        if !setup.implementation.is_empty() {
            option("implementation", text(String::from_utf8_lossy(&setup.implementation)));
        }
        for (name, value) in [
            ("max_auth_token_cache_size", setup.token_cache_bytes),
            ("max_request_id", setup.max_request_id),
            ("max_filter_ranges", setup.filter_ranges),
            ("max_request_updates", setup.updates),
            ("airwave_node", setup.node.map_or(0, Node::get)),
        ] {
            if value > 0 {
                option(name, Field::Number(value));
            }
        }
        options.extend(setup.tokens.iter().map(token));
        self.put("setup_options", Field::List(options));
    }

    fn parameters(&mut self, body: &mut Body) -> Result<(), Violation> {
        let parameters = Parameters::decode(self.version, Scope::Any, body)?;
        self.said(&parameters);
        Ok(())
    }

    fn said(&mut self, parameters: &Parameters) {
        let said = parameters_of(parameters);
        self.number("number_of_parameters", said.len() as u64);
        if !said.is_empty() {
            self.put("parameters", Field::List(said));
        }
    }

    fn properties(&mut self, body: Body) -> Result<(), Violation> {
        let properties = Properties::of_track(self.version, body)?;
        self.pairs(&properties);
        Ok(())
    }

    fn pairs(&mut self, properties: &Properties) {
        if !properties.is_empty() {
            let pair = |(kind, value): (u64, Value<'_>)| {
                let value = match value {
                    Value::Number(value) => ("value", Field::Number(value)),
                    Value::Bytes(bytes) => ("length", Field::Number(bytes.len() as u64)),
                };
                Field::Map(vec![("type", Field::Number(kind)), value])
            };
            self.put("track_properties", Field::List(properties.iter().map(pair).collect()));
        }
    }
}

fn parameters_of(parameters: &Parameters) -> Vec<Field> {
    let named = |name, value| Field::Map(vec![("name", text(name)), ("value", value)]);
    let flag = |flag: bool| u64::from(flag);
    let order = |order: GroupOrder| match order {
        GroupOrder::Ascending => 1,
        GroupOrder::Descending => 2,
    };
    let numbers = [
        ("delivery_timeout", parameters.object_delivery_timeout_ms),
        ("rendezvous_timeout", parameters.rendezvous_timeout_ms),
        ("subgroup_delivery_timeout", parameters.subgroup_delivery_timeout_ms),
        ("expires", parameters.expires_ms),
        ("fill_timeout", parameters.fill_timeout_ms),
        ("forward", parameters.forward.map(flag)),
        ("subscriber_priority", parameters.subscriber_priority.map(u64::from)),
        ("group_order", parameters.group_order.map(order)),
        ("new_group_request", parameters.new_group),
        ("include_properties", parameters.include_properties.map(flag)),
    ];
    let mut said: Vec<Field> = parameters.tokens.iter().map(token).collect();
    said.extend(
        numbers
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| named(name, Field::Number(value)))),
    );
    said.extend(parameters.largest.map(|at| named("largest_object", location(at))));
    said.extend(parameters.filter.map(|filter| named("subscription_filter", filter_of(filter))));
    let prefix = parameters.namespace_prefix.as_ref();
    said.extend(prefix.map(|prefix| named("track_namespace_prefix", names(prefix))));
    let fill = parameters.fill.as_ref();
    said.extend(fill.map(|fill| named("fill", Field::List(parameters_of(fill)))));
    said.extend(parameters.range_filters.iter().map(|filter| {
        named("range_filter", text(format!("{:?}, {} bytes", filter.of, filter.as_bytes().len())))
    }));
    said
}

/// The types are those of draft 18; of drafts that write it otherwise it is told by what it means.
fn filter_of(filter: Filter) -> Field {
    let kind = |kind| vec![("filter_type", Field::Number(kind))];
    let (start, end) = match filter {
        Filter::NextGroup => return Field::Map(kind(1)),
        Filter::NextObject => return Field::Map(kind(2)),
        Filter::Recent(groups) => {
            return Field::Map(vec![("recent_groups", Field::Number(groups))]);
        }
        Filter::All => (Location::default(), None),
        Filter::From(start) => (start, None),
        Filter::Range { start, end_group } => (start, Some(end_group)),
        Filter::Within(range) => (range.start, Some(range.end.group)),
    };
    let mut fields = kind(if end.is_some() { 4 } else { 3 });
    fields.push(("start_location", location(start)));
    if let Some(end) = end {
        fields.push(("end_group_delta", Field::Number(end.saturating_sub(start.group))));
    }
    if let Filter::Within(range) = filter {
        fields.push(("end_object", Field::Number(range.end.object)));
    }
    Field::Map(fields)
}

/// Never its value.
fn token(token: &Token) -> Field {
    let mut fields = vec![("name", text("authorization_token"))];
    let (kind, alias, value) = match token {
        Token::Delete { alias } => ("delete", Some(*alias), None),
        Token::Register { alias, token } => ("register", Some(*alias), Some(token)),
        Token::UseAlias { alias } => ("use_alias", Some(*alias), None),
        Token::UseValue(token) => ("use_value", None, Some(token)),
    };
    fields.push(("alias_type", text(kind)));
    fields.extend(alias.map(|alias| ("token_alias", Field::Number(alias))));
    if let Some(AuthToken { kind, value }) = value {
        fields.push(("token_type", Field::Number(*kind)));
        fields.push(("token_value", raw(value.expose().len())));
    }
    Field::Map(fields)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::arbitrary;
    use crate::message::response::RequestOk;
    use crate::request::{RequestError, RequestId};
    use crate::secret::Secret;

    const SECRET: &str = "hunter2hunter2";

    fn subscribe() -> First {
        let namespace = Namespace::new(["default", "one"]).unwrap();
        let track = TrackName::new(namespace, &b"video\xff"[..]).unwrap();
        let token = AuthToken::new(Secret::new(SECRET));
        let parameters = Parameters {
            tokens: vec![Token::UseValue(token.clone()), Token::Register { alias: 4, token }],
            filter: Some(Filter::NextObject),
            ..Parameters::default()
        };
        First { id: RequestId(2), request: Request::Subscribe { track, parameters }, alias: None }
    }

    fn told(version: Version, bytes: &[u8]) -> Vec<(Field, usize)> {
        let mut describer = Describer::new(version);
        describer.read(bytes).into_iter().map(|told| (told.message, told.length)).collect()
    }

    fn number(name: &'static str, value: u64) -> (&'static str, Field) {
        (name, Field::Number(value))
    }

    #[test]
    fn a_subscribe_reads_like_this_and_its_tokens_do_not() {
        for version in Version::ALL {
            let bytes = subscribe().encode(*version).unwrap();
            let told = told(*version, &bytes);
            let token = |kind: &str| {
                vec![("name", text("authorization_token")), ("alias_type", text(kind))]
            };
            let mut value = token("use_value");
            value.extend([number("token_type", 0), ("token_value", raw(SECRET.len()))]);
            let mut register = token("register");
            register.extend([
                number("token_alias", 4),
                number("token_type", 0),
                ("token_value", raw(SECRET.len())),
            ]);
            let filter = Field::Map(vec![number("filter_type", 2)]);
            let filter = Field::Map(vec![("name", text("subscription_filter")), ("value", filter)]);
            let expect = Field::Map(vec![
                ("type", text("subscribe")),
                number("request_id", 2),
                ("track_namespace", Field::List(vec![string(b"default"), string(b"one")])),
                ("track_name", Field::Map(vec![("value_bytes", text("766964656fff"))])),
                number("number_of_parameters", 3),
                ("parameters", Field::List(vec![Field::Map(value), Field::Map(register), filter])),
            ]);
            assert_eq!(told[0].0, expect, "{version:?}");
            assert!(!format!("{told:?}").contains(SECRET));
        }
    }

    #[test]
    fn a_setup_tells_neither_its_path_nor_its_tokens() {
        for version in Version::ALL {
            let setup = Setup {
                path: Some(Bytes::from(format!("/{SECRET}?jwt={SECRET}"))),
                tokens: vec![Token::UseValue(AuthToken::new(Secret::new(SECRET)))],
                implementation: Bytes::from_static(b"player"),
                ..Setup::default()
            };
            let told = format!("{:?}", told(*version, &setup.encode(*version, true).unwrap()));
            assert!(told.contains("\"setup\"") && told.contains("player"), "{told}");
            assert!(told.contains("[34 bytes]") && !told.contains(SECRET), "{told}");
        }
    }

    #[test]
    fn answers_are_told_without_knowing_what_they_answer() {
        for version in Version::ALL {
            let id = RequestId(6);
            let largest = Some(Location::new(3, 4));
            let parameters = Parameters { largest, ..Parameters::default() };
            let ok = RequestOk { parameters, properties: Properties::empty() };
            let ok = ok.encode(*version, Message::RequestOk, id).unwrap();
            let code = crate::code::RequestCode::Unauthorized;
            let error = RequestError::new(code, "no\n").encode(*version, id).unwrap();
            // Cut anywhere.
            let bytes = [ok, error].concat();
            let mut describer = Describer::new(*version);
            let (first, rest) = bytes.split_at(5);
            let mut told = describer.read(first);
            told.extend(describer.read(rest));
            let text = format!("{told:?}");
            assert_eq!(told.len(), 2, "{text}");
            assert!(text.contains("request_ok") && text.contains("largest_object"), "{text}");
            assert!(text.contains("request_error") && !text.contains("unreadable"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn all_requests_can_be_told(
            (version, first) in arbitrary::version().prop_flat_map(|v| (Just(v), arbitrary::first(v)))
        ) {
            let Ok(bytes) = first.encode(version) else { return Ok(()) };
            let told = told(version, &bytes);
            prop_assert_eq!(told.len(), 1);
            let text = format!("{told:?}");
            prop_assert!(!text.contains("unreadable"), "{}", text);
        }

        #[test]
        fn anything_can_be_looked_at(version in arbitrary::version(), bytes in vec(any::<u8>(), 0..200)) {
            let told = told(version, &bytes);
            prop_assert!(told.len() <= bytes.len());
        }
    }
}
