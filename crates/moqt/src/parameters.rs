//! Message parameters: bounded by a count, each allowed in some messages only. Up to draft 16 they are
//! key-value pairs (draft-16 §9.2), later typed (draft-18 §10.2).

use crate::code::SessionCode;
use crate::error::Violation;
use crate::filter::{Filter, RangeFilter, Ranged};
use crate::limits;
use crate::location::{GroupOrder, Location};
use crate::name::Namespace;
use crate::token::Token;
use crate::version::{OutOfScope, Version};
use crate::wire::{Body, Writer};

const TOO_MANY: Violation = Violation::protocol("a message has more than 64 parameters");

/// All parameters of one message. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// Too old an object is not sent (draft-18 §8); 0: never too old.
    pub object_delivery_timeout_ms: Option<u64>,
    /// What the sender may do. Repeatable.
    pub tokens: Vec<Token>,
    /// How long to wait for a publisher.
    pub rendezvous_timeout_ms: Option<u64>,
    /// A finished subgroup must be delivered within this time (draft-18 §8); 0: whenever.
    pub subgroup_delivery_timeout_ms: Option<u64>,
    /// When the sender will end the subscription; 0: not known.
    pub expires_ms: Option<u64>,
    /// The largest location in the track that the sender knows.
    pub largest: Option<Location>,
    /// How long upstream may be asked for what is not at hand; 0: not at all.
    pub fill_timeout_ms: Option<u64>,
    /// Whether objects are sent.
    pub forward: Option<bool>,
    /// 0 is the most urgent; default 128.
    pub subscriber_priority: Option<u8>,
    /// Which objects.
    pub filter: Option<Filter>,
    /// Which groups first.
    pub group_order: Option<GroupOrder>,
    /// A new group is wanted: the largest known group plus 1, or 0.
    pub new_group: Option<u64>,
    /// A namespace subscription's new prefix.
    pub namespace_prefix: Option<Namespace>,
    /// The past as well, on a stream of its own (draft-21 §3.4). In it stand only FILL_TIMEOUT, priority,
    /// order and filters; what it does not say it has of the subscription.
    pub fill: Option<Box<Parameters>>,
    /// Which objects or tracks, by other numbers than their place. Repeatable.
    pub range_filters: Vec<RangeFilter>,
    /// Whether the track's properties are wanted in the answer; default: yes.
    pub include_properties: Option<bool>,
}

/// What a parameter is, whatever its number and coding in a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    ObjectDeliveryTimeout,
    AuthorizationToken,
    RendezvousTimeout,
    SubgroupDeliveryTimeout,
    Expires,
    LargestObject,
    FillTimeout,
    Forward,
    SubscriberPriority,
    SubscriptionFilter,
    GroupOrder,
    FillParameters,
    SubgroupFilter,
    ObjectIdFilter,
    PriorityFilter,
    ObjectPropertyFilter,
    TrackPropertyFilter,
    NewGroupRequest,
    TrackNamespacePrefix,
    IncludeProperties,
}

/// How a parameter's value is written (draft-18 §10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Byte,
    Number,
    Location,
    /// A location with its length before it.
    PrefixedLocation,
    Prefixed,
    Namespace,
    /// A filter that says by itself how long it is.
    Filter,
}

/// Where a parameter may stand (draft-18 §10.2.1). An answer has the scope of what it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Subscribe,
    SubscribeOk,
    Publish,
    PublishOk,
    Fetch,
    FetchOk,
    TrackStatus,
    TrackStatusOk,
    PublishNamespace,
    PublishNamespaceOk,
    SubscribeNamespace,
    SubscribeTracks,
    /// Of SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS.
    PrefixOk,
    UpdateOfSubscription,
    UpdateOfFetch,
    UpdateOfNamespace,
    /// Of SUBSCRIBE_NAMESPACE.
    UpdateOfPrefix,
    /// Of SUBSCRIBE_TRACKS.
    UpdateOfTracks,
    UpdateOk,
    StateNotify,
    /// Inside FILL_PARAMETERS.
    Fill,
    /// Any: for who only looks on.
    Any,
}

impl Kind {
    const ALL: [Kind; 20] = [
        Kind::ObjectDeliveryTimeout,
        Kind::AuthorizationToken,
        Kind::RendezvousTimeout,
        Kind::SubgroupDeliveryTimeout,
        Kind::Expires,
        Kind::LargestObject,
        Kind::FillTimeout,
        Kind::Forward,
        Kind::SubscriberPriority,
        Kind::SubscriptionFilter,
        Kind::GroupOrder,
        Kind::FillParameters,
        Kind::SubgroupFilter,
        Kind::ObjectIdFilter,
        Kind::PriorityFilter,
        Kind::ObjectPropertyFilter,
        Kind::TrackPropertyFilter,
        Kind::NewGroupRequest,
        Kind::TrackNamespacePrefix,
        Kind::IncludeProperties,
    ];

    /// draft-18 §15.7, draft-21 §16.7. In the order of `ALL` they rise.
    fn number(self) -> u64 {
        match self {
            Kind::ObjectDeliveryTimeout => 0x02,
            Kind::AuthorizationToken => 0x03,
            Kind::RendezvousTimeout => 0x04,
            Kind::SubgroupDeliveryTimeout => 0x06,
            Kind::Expires => 0x08,
            Kind::LargestObject => 0x09,
            Kind::FillTimeout => 0x0a,
            Kind::Forward => 0x10,
            Kind::SubscriberPriority => 0x20,
            Kind::SubscriptionFilter => 0x21,
            Kind::GroupOrder => 0x22,
            Kind::FillParameters => 0x23,
            Kind::SubgroupFilter => 0x25,
            Kind::ObjectIdFilter => 0x26,
            Kind::PriorityFilter => 0x27,
            Kind::ObjectPropertyFilter => 0x28,
            Kind::TrackPropertyFilter => 0x29,
            Kind::NewGroupRequest => 0x32,
            Kind::TrackNamespacePrefix => 0x34,
            Kind::IncludeProperties => 0x35,
        }
    }

    /// What a range filter looks at.
    fn ranged(self) -> Option<Ranged> {
        Some(match self {
            Kind::SubgroupFilter => Ranged::Subgroup,
            Kind::ObjectIdFilter => Ranged::Object,
            Kind::PriorityFilter => Ranged::Priority,
            Kind::ObjectPropertyFilter => Ranged::ObjectProperty,
            Kind::TrackPropertyFilter => Ranged::TrackProperty,
            _ => return None,
        })
    }

    /// Whether it may stand more than once in a message.
    fn repeats(self) -> bool {
        self == Kind::AuthorizationToken || self.ranged().is_some()
    }

    fn from_number(number: u64) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

impl Parameters {
    /// A count, then so many parameters.
    ///
    /// `@moq/net` 0.2 writes SUBSCRIBER_PRIORITY as a number also where draft 18 has a byte, which differs from 128 up. What makes
    /// no sense with a byte and does with a number is taken in that draft.
    pub(crate) fn decode(
        version: Version,
        scope: Scope,
        body: &mut Body,
    ) -> Result<Parameters, Violation> {
        let mut again = body.clone();
        let strict = Parameters::read(version, scope, body, None);
        if strict.is_err()
            && version.row().priority_as_number
            && let Ok(read) = Parameters::read(version, scope, &mut again, Some(Encoding::Number))
            && read.subscriber_priority.is_some()
        {
            *body = again;
            return Ok(read);
        }
        strict
    }

    /// `priority`: how SUBSCRIBER_PRIORITY is written, if not as the draft says.
    fn read(
        version: Version,
        scope: Scope,
        body: &mut Body,
        priority: Option<Encoding>,
    ) -> Result<Parameters, Violation> {
        let count = body.number()?;
        if count > limits::PARAMETERS_MAX {
            return Err(TOO_MANY);
        }
        Parameters::read_while(version, scope, body, priority, |i, _| i < count)
    }

    /// The value of FILL_PARAMETERS. "As if they were Parameters for a separate message" (draft-21 §9.20.16) some read as with their
    /// number before them, which we write, and some as without. One is hardly ever the other: read as a number, the smallest type
    /// of a parameter of a fill would be ten of them.
    fn decode_fill(version: Version, value: Body) -> Result<Parameters, Violation> {
        let mut counted = value.clone();
        let read = Parameters::decode(version, Scope::Fill, &mut counted)
            .and_then(|read| counted.end().map(|()| read));
        read.or_else(|wrong| {
            let mut rest = value;
            let to_the_end = |i, body: &Body| i < limits::PARAMETERS_MAX && !body.is_empty();
            Parameters::read_while(version, Scope::Fill, &mut rest, None, to_the_end)
                .and_then(|read| rest.end().map(|()| read))
                .map_err(|_| wrong)
        })
    }

    fn read_while(
        version: Version,
        scope: Scope,
        body: &mut Body,
        priority: Option<Encoding>,
        is_there: impl Fn(u64, &Body) -> bool,
    ) -> Result<Parameters, Violation> {
        let mut parameters = Parameters::default();
        let mut number = 0u64;
        let mut i = 0;
        while is_there(i, body) {
            let delta = body.number()?;
            // draft-18 §10.2
            number = number
                .checked_add(delta)
                .ok_or(Violation::protocol("the type of a parameter overflows"))?;
            let kind = Kind::from_number(number)
                .ok_or(Violation::protocol("a parameter of an unknown type"))?;
            if i > 0 && delta == 0 && !kind.repeats() {
                return Err(Violation::protocol("a parameter twice in one message"));
            }
            let row = version.row().parameters.iter().find(|row| row.0 == kind);
            let (_, encoding, scopes) =
                row.ok_or(Violation::protocol("a parameter of an unknown type"))?;
            let other = priority.filter(|_| kind == Kind::SubscriberPriority);
            let raw = Raw::decode(other.unwrap_or(*encoding), body)?;
            match version.row().out_of_scope {
                _ if scope == Scope::Any || scopes.contains(&scope) => {
                    parameters.take(version, kind, raw)?;
                }
                // draft-16 §9.2.2
                OutOfScope::Ignored => {}
                // draft-18 §10.2.1
                OutOfScope::Forbidden => {
                    let what = "a parameter in a message where it must not be";
                    return Err(Violation::protocol(what));
                }
            }
            i += 1;
        }
        Ok(parameters)
    }

    fn take(&mut self, version: Version, kind: Kind, raw: Raw) -> Result<(), Violation> {
        match (kind, raw) {
            // draft-16 §9.2.2.2
            (Kind::ObjectDeliveryTimeout, Raw::Number(0)) if !version.row().zero_timeout => {
                return Err(Violation::protocol("DELIVERY_TIMEOUT is 0"));
            }
            (Kind::ObjectDeliveryTimeout, Raw::Number(ms)) => {
                self.object_delivery_timeout_ms = Some(ms);
            }
            (Kind::AuthorizationToken, Raw::Prefixed(value)) => {
                self.tokens.push(Token::decode(value.coding(), value.into_bytes())?);
            }
            (Kind::RendezvousTimeout, Raw::Number(ms)) => self.rendezvous_timeout_ms = Some(ms),
            (Kind::SubgroupDeliveryTimeout, Raw::Number(ms)) => {
                self.subgroup_delivery_timeout_ms = Some(ms);
            }
            (Kind::Expires, Raw::Number(ms)) => self.expires_ms = Some(ms),
            (Kind::LargestObject, Raw::Location(largest)) => self.largest = Some(largest),
            (Kind::FillTimeout, Raw::Number(ms)) => self.fill_timeout_ms = Some(ms),
            // draft-18 §10.2.12
            (Kind::Forward, Raw::Number(flag @ 0..=1)) => self.forward = Some(flag == 1),
            (Kind::Forward, _) => return Err(Violation::protocol("FORWARD is not 0 or 1")),
            (Kind::SubscriberPriority, Raw::Number(priority)) => {
                let priority = priority.try_into();
                self.subscriber_priority =
                    Some(priority.map_err(|_| Violation::protocol("a priority is above 255"))?);
            }
            (Kind::SubscriptionFilter, Raw::Prefixed(value)) => {
                self.filter = Some(Filter::decode(version.row().filter, value)?);
            }
            (Kind::SubscriptionFilter, Raw::Filter(filter)) => self.filter = Some(filter),
            (Kind::FillParameters, Raw::Prefixed(value)) => {
                self.fill = Some(Box::new(Parameters::decode_fill(version, value)?));
            }
            // draft-21 §9.20.22
            (Kind::IncludeProperties, Raw::Number(flag @ 0..=1)) => {
                self.include_properties = Some(flag == 1);
            }
            // draft-18 §10.2.8
            (Kind::GroupOrder, Raw::Number(1)) => self.group_order = Some(GroupOrder::Ascending),
            (Kind::GroupOrder, Raw::Number(0)) if version.row().zero_group_order => {}
            (Kind::GroupOrder, Raw::Number(2)) => self.group_order = Some(GroupOrder::Descending),
            (Kind::GroupOrder, _) => return Err(Violation::protocol("GROUP_ORDER is not 1 or 2")),
            (Kind::NewGroupRequest, Raw::Number(group)) => self.new_group = Some(group),
            (Kind::TrackNamespacePrefix, Raw::Namespace(prefix)) => {
                self.namespace_prefix = Some(prefix);
            }
            (kind, Raw::Prefixed(value)) => {
                // Copied: an update may be kept longer than the packet that it came in.
                let value = bytes::Bytes::copy_from_slice(&value.into_bytes());
                let wrong = Violation::protocol("a parameter in an unknown coding");
                let of = kind.ranged().ok_or(wrong)?;
                self.range_filters.push(RangeFilter::from_wire(of, value));
            }
            (Kind::IncludeProperties, _) => {
                return Err(Violation::protocol("INCLUDE_PROPERTIES is not 0 or 1"));
            }
            // A row of the version table with the wrong coding: nothing that a peer can cause.
            _ => return Err(Violation::protocol("a parameter in an unknown coding")),
        }
        Ok(())
    }

    /// The first parameter that must not stand in such a message. One that the draft has nowhere is none: it
    /// is not written, and nothing takes its place.
    pub(crate) fn out_of_scope(&self, version: Version, scope: Scope) -> Option<Kind> {
        let allowed = |kind: Kind| {
            let row = version.row().parameters.iter().find(|row| row.0 == kind);
            row.is_none_or(|(_, _, scopes)| scopes.contains(&scope))
        };
        Kind::ALL.into_iter().find(|kind| self.has(*kind) && !allowed(*kind))
    }

    /// Without what must not stand in such a message.
    #[cfg(test)]
    pub(crate) fn within(mut self, version: Version, scope: Scope) -> Parameters {
        let known = |kind: Kind| version.row().parameters.iter().any(|row| row.0 == kind);
        let unwritten =
            |it: &Parameters| Kind::ALL.into_iter().find(|kind| it.has(*kind) && !known(*kind));
        while let Some(kind) = self.out_of_scope(version, scope).or_else(|| unwritten(&self)) {
            match kind {
                Kind::ObjectDeliveryTimeout => self.object_delivery_timeout_ms = None,
                Kind::AuthorizationToken => self.tokens.clear(),
                Kind::RendezvousTimeout => self.rendezvous_timeout_ms = None,
                Kind::SubgroupDeliveryTimeout => self.subgroup_delivery_timeout_ms = None,
                Kind::Expires => self.expires_ms = None,
                Kind::LargestObject => self.largest = None,
                Kind::FillTimeout => self.fill_timeout_ms = None,
                Kind::Forward => self.forward = None,
                Kind::SubscriberPriority => self.subscriber_priority = None,
                Kind::SubscriptionFilter => self.filter = None,
                Kind::GroupOrder => self.group_order = None,
                Kind::NewGroupRequest => self.new_group = None,
                Kind::TrackNamespacePrefix => self.namespace_prefix = None,
                Kind::FillParameters => self.fill = None,
                Kind::IncludeProperties => self.include_properties = None,
                Kind::SubgroupFilter
                | Kind::ObjectIdFilter
                | Kind::PriorityFilter
                | Kind::ObjectPropertyFilter
                | Kind::TrackPropertyFilter => {
                    self.range_filters.retain(|filter| kind.ranged() != Some(filter.of));
                }
            }
        }
        self
    }

    fn has(&self, kind: Kind) -> bool {
        match kind {
            Kind::ObjectDeliveryTimeout => self.object_delivery_timeout_ms.is_some(),
            Kind::AuthorizationToken => !self.tokens.is_empty(),
            Kind::RendezvousTimeout => self.rendezvous_timeout_ms.is_some(),
            Kind::SubgroupDeliveryTimeout => self.subgroup_delivery_timeout_ms.is_some(),
            Kind::Expires => self.expires_ms.is_some(),
            Kind::LargestObject => self.largest.is_some(),
            Kind::FillTimeout => self.fill_timeout_ms.is_some(),
            Kind::Forward => self.forward.is_some(),
            Kind::SubscriberPriority => self.subscriber_priority.is_some(),
            Kind::SubscriptionFilter => self.filter.is_some(),
            Kind::GroupOrder => self.group_order.is_some(),
            Kind::NewGroupRequest => self.new_group.is_some(),
            Kind::TrackNamespacePrefix => self.namespace_prefix.is_some(),
            Kind::FillParameters => self.fill.is_some(),
            Kind::IncludeProperties => self.include_properties.is_some(),
            Kind::SubgroupFilter
            | Kind::ObjectIdFilter
            | Kind::PriorityFilter
            | Kind::ObjectPropertyFilter
            | Kind::TrackPropertyFilter => self.ranged(kind).next().is_some(),
        }
    }

    /// The range filters of one kind.
    fn ranged(&self, kind: Kind) -> impl Iterator<Item = &RangeFilter> {
        self.range_filters.iter().filter(move |filter| kind.ranged() == Some(filter.of))
    }

    /// Whether such a message may hold this, and the draft can write it.
    pub(crate) fn fits(&self, version: Version, scope: Scope) -> bool {
        let form = version.row().filter;
        self.out_of_scope(version, scope).is_none()
            && self.filter.is_none_or(|filter| filter.is_writable(form))
            && self
                .fill
                .as_ref()
                .is_none_or(|fill| !version.fills() || fill.fits(version, Scope::Fill))
    }

    pub(crate) fn encode(&self, version: Version, out: &mut Writer<'_>) {
        let present = || version.row().parameters.iter().filter(|row| self.has(row.0));
        let times = |kind: Kind| match kind {
            Kind::AuthorizationToken => self.tokens.len(),
            kind if kind.repeats() => self.ranged(kind).count(),
            _ => 1,
        };
        out.number(present().map(|row| times(row.0)).sum::<usize>() as u64);
        let mut previous = 0;
        for (kind, encoding, _) in present() {
            let mut head = |out: &mut Writer<'_>| {
                out.number(kind.number() - previous);
                previous = kind.number();
            };
            if *kind == Kind::AuthorizationToken {
                for token in &self.tokens {
                    head(out);
                    out.nested(|out| token.encode(out));
                }
                continue;
            }
            if kind.repeats() {
                for filter in self.ranged(*kind) {
                    head(out);
                    out.prefixed(filter.as_bytes());
                }
                continue;
            }
            head(out);
            self.encode_value(version, *kind, *encoding, out);
        }
    }

    fn encode_value(&self, version: Version, kind: Kind, encoding: Encoding, out: &mut Writer<'_>) {
        let number = match kind {
            Kind::ObjectDeliveryTimeout => self.object_delivery_timeout_ms,
            Kind::RendezvousTimeout => self.rendezvous_timeout_ms,
            Kind::SubgroupDeliveryTimeout => self.subgroup_delivery_timeout_ms,
            Kind::Expires => self.expires_ms,
            Kind::FillTimeout => self.fill_timeout_ms,
            Kind::Forward => self.forward.map(u64::from),
            Kind::SubscriberPriority => self.subscriber_priority.map(u64::from),
            Kind::GroupOrder => self.group_order.map(group_order_number),
            Kind::NewGroupRequest => self.new_group,
            Kind::LargestObject => {
                let largest = self.largest.unwrap_or_default();
                return match encoding {
                    Encoding::PrefixedLocation => out.nested(|out| out.location(largest)),
                    _ => out.location(largest),
                };
            }
            Kind::IncludeProperties => self.include_properties.map(u64::from),
            Kind::SubscriptionFilter => {
                let form = version.row().filter;
                let filter = self.filter.unwrap_or(Filter::All);
                return match encoding {
                    Encoding::Filter => filter.encode(form, out),
                    _ => out.nested(|out| filter.encode(form, out)),
                };
            }
            Kind::FillParameters => {
                return out.nested(|out| {
                    if let Some(fill) = &self.fill {
                        fill.encode(version, out);
                    }
                });
            }
            Kind::TrackNamespacePrefix => {
                let root = Namespace::root();
                return out.namespace(self.namespace_prefix.as_ref().unwrap_or(&root));
            }
            // Written by `encode`, as they repeat.
            Kind::AuthorizationToken
            | Kind::SubgroupFilter
            | Kind::ObjectIdFilter
            | Kind::PriorityFilter
            | Kind::ObjectPropertyFilter
            | Kind::TrackPropertyFilter => return,
        };
        let number = number.unwrap_or(0);
        match encoding {
            Encoding::Byte => out.byte(number as u8),
            _ => out.number(number),
        }
    }
}

/// A value, read by its coding alone.
enum Raw {
    Number(u64),
    Location(Location),
    Prefixed(Body),
    Namespace(Namespace),
    Filter(Filter),
}

impl Raw {
    fn decode(encoding: Encoding, body: &mut Body) -> Result<Raw, Violation> {
        Ok(match encoding {
            Encoding::Byte => Raw::Number(u64::from(body.byte()?)),
            Encoding::Number => Raw::Number(body.number()?),
            Encoding::Location => Raw::Location(body.location()?),
            Encoding::PrefixedLocation => {
                let mut value = Body::new(body.coding(), body.prefixed()?);
                let location = value.location();
                // draft-16 §1.4.2: not what its type says.
                let wrong = |_| {
                    let what = "LARGEST_OBJECT is no location";
                    Violation::new(SessionCode::KeyValueFormattingError, what)
                };
                Raw::Location(location.and_then(|it| value.end().map(|()| it)).map_err(wrong)?)
            }
            Encoding::Prefixed => Raw::Prefixed(Body::new(body.coding(), body.prefixed()?)),
            Encoding::Namespace => Raw::Namespace(body.namespace()?),
            Encoding::Filter => Raw::Filter(Filter::decode_typed(body)?),
        })
    }
}

pub(crate) fn group_order_number(order: GroupOrder) -> u64 {
    match order {
        GroupOrder::Ascending => 1,
        GroupOrder::Descending => 2,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::code::SessionCode;
    use crate::varint::Coding;

    fn subscribe(bytes: &'static [u8]) -> Result<(Option<u8>, Option<GroupOrder>), Violation> {
        let mut body = Body::new(Coding::Vi64, Bytes::from_static(bytes));
        let read = Parameters::decode(Version::Draft18, Scope::Subscribe, &mut body)?;
        assert!(body.is_empty());
        Ok((read.subscriber_priority, read.group_order))
    }

    /// Where nobody is known to do so, it is another list of parameters.
    #[test]
    fn draft21_s9_20_8_a_priority_is_a_byte() {
        for (version, expect) in [
            (Version::Draft16, Some(155)),
            (Version::Draft18, Some(155)),
            (Version::Draft20, None),
            (Version::Draft21, None),
            (Version::Draft22, None),
        ] {
            // SUBSCRIBER_PRIORITY 155 as a number, GROUP_ORDER.
            let bytes: &[u8] = match version {
                Version::Draft16 => b"\x02\x20\x40\x9b\x02\x01",
                _ => b"\x02\x20\x80\x9b\x02\x01",
            };
            let mut body = Body::new(version.row().integers, Bytes::from_static(bytes));
            let read = Parameters::decode(version, Scope::Subscribe, &mut body);
            match (read, expect) {
                (Ok(read), _) => assert_eq!(read.subscriber_priority, expect, "{version:?}"),
                (Err(violation), expect) => {
                    assert_eq!(violation.code, SessionCode::ProtocolViolation);
                    assert_eq!(expect, None, "{version:?}");
                }
            }
        }
    }

    #[test]
    fn a_priority_may_be_written_as_moq_net_does() {
        let descending = Some(GroupOrder::Descending);
        // FORWARD, SUBSCRIBER_PRIORITY, SUBSCRIPTION_FILTER, GROUP_ORDER: its subscription to a catalog.
        let own = b"\x04\x10\x01\x10\x80\x9b\x01\x01\x02\x01\x02";
        assert_eq!(subscribe(own), Ok((Some(155), descending)));
        let video = b"\x04\x10\x01\x10\x80\xc3\x01\x01\x02\x01\x02";
        assert_eq!(subscribe(video), Ok((Some(195), descending)));
        let as_the_draft_says = b"\x04\x10\x01\x10\x9b\x01\x01\x02\x01\x02";
        assert_eq!(subscribe(as_the_draft_says), Ok((Some(155), descending)));
        // Wrong either way: a type that is unknown, a priority that is none.
        for wrong in
            [&b"\x02\x20\x80\x9b\x41\x01"[..], b"\x02\x20\xc1\x00\x00\x41\x01", b"\x01\x20"]
        {
            assert!(subscribe(wrong).is_err(), "{wrong:x?}");
        }
    }
}
