//! Message parameters (draft-18 §10.2): typed, bounded by a count, each allowed in some messages only.

use bytes::{BufMut, BytesMut};

use crate::error::Violation;
use crate::limits;
use crate::location::{Filter, GroupOrder, Location};
use crate::name::Namespace;
use crate::token::Token;
use crate::varint;
use crate::version::Version;
use crate::wire::{Body, put_location, put_namespace, put_prefixed};

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
    NewGroupRequest,
    TrackNamespacePrefix,
}

/// How a parameter's value is written (draft-18 §10.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    Byte,
    Number,
    Location,
    Prefixed,
    Namespace,
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
    /// Of SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS.
    UpdateOfPrefix,
    UpdateOk,
}

impl Kind {
    const ALL: [Kind; 13] = [
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
        Kind::NewGroupRequest,
        Kind::TrackNamespacePrefix,
    ];

    /// draft-18 §15.7. In the order of `ALL` they rise.
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
            Kind::NewGroupRequest => 0x32,
            Kind::TrackNamespacePrefix => 0x34,
        }
    }

    fn from_number(number: u64) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

impl Parameters {
    /// A count, then so many parameters.
    ///
    /// `@moq/net` (0.2, 0.3) writes SUBSCRIBER_PRIORITY as a number also where the draft has a byte, which differs
    /// from 128 up. What makes no sense with a byte and does with a number is taken.
    pub(crate) fn decode(
        version: Version,
        scope: Scope,
        body: &mut Body,
    ) -> Result<Parameters, Violation> {
        let mut again = body.clone();
        let strict = Parameters::read(version, scope, body, None);
        if strict.is_err()
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
            return Err(Violation::protocol("a message has more than 64 parameters"));
        }
        let mut parameters = Parameters::default();
        let mut number = 0u64;
        for i in 0..count {
            let delta = body.number()?;
            // draft-18 §10.2
            number = number
                .checked_add(delta)
                .ok_or(Violation::protocol("the type of a parameter overflows"))?;
            let kind = Kind::from_number(number)
                .ok_or(Violation::protocol("a parameter of an unknown type"))?;
            if i > 0 && delta == 0 && kind != Kind::AuthorizationToken {
                return Err(Violation::protocol("a parameter twice in one message"));
            }
            let row = version.row().parameters.iter().find(|row| row.0 == kind);
            let (_, encoding, scopes) =
                row.ok_or(Violation::protocol("a parameter of an unknown type"))?;
            // draft-18 §10.2.1
            if !scopes.contains(&scope) {
                return Err(Violation::protocol("a parameter in a message where it must not be"));
            }
            let other = priority.filter(|_| kind == Kind::SubscriberPriority);
            parameters.decode_value(kind, other.unwrap_or(*encoding), body)?;
        }
        Ok(parameters)
    }

    fn decode_value(
        &mut self,
        kind: Kind,
        encoding: Encoding,
        body: &mut Body,
    ) -> Result<(), Violation> {
        let raw = Raw::decode(encoding, body)?;
        match (kind, raw) {
            (Kind::ObjectDeliveryTimeout, Raw::Number(ms)) => {
                self.object_delivery_timeout_ms = Some(ms);
            }
            (Kind::AuthorizationToken, Raw::Prefixed(value)) => {
                self.tokens.push(Token::decode(value.into_bytes())?);
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
                self.filter = Some(decode_filter(value)?);
            }
            // draft-18 §10.2.8
            (Kind::GroupOrder, Raw::Number(1)) => self.group_order = Some(GroupOrder::Ascending),
            (Kind::GroupOrder, Raw::Number(2)) => self.group_order = Some(GroupOrder::Descending),
            (Kind::GroupOrder, _) => return Err(Violation::protocol("GROUP_ORDER is not 1 or 2")),
            (Kind::NewGroupRequest, Raw::Number(group)) => self.new_group = Some(group),
            (Kind::TrackNamespacePrefix, Raw::Namespace(prefix)) => {
                self.namespace_prefix = Some(prefix);
            }
            // A row of the version table with the wrong coding: nothing that a peer can cause.
            _ => return Err(Violation::protocol("a parameter in an unknown coding")),
        }
        Ok(())
    }

    /// The first parameter that must not stand in such a message.
    pub(crate) fn out_of_scope(&self, version: Version, scope: Scope) -> Option<Kind> {
        let allowed = |kind: Kind| {
            let row = version.row().parameters.iter().find(|row| row.0 == kind);
            row.is_some_and(|(_, _, scopes)| scopes.contains(&scope))
        };
        Kind::ALL.into_iter().find(|kind| self.has(*kind) && !allowed(*kind))
    }

    /// Without what must not stand in such a message.
    #[cfg(test)]
    pub(crate) fn within(mut self, version: Version, scope: Scope) -> Parameters {
        while let Some(kind) = self.out_of_scope(version, scope) {
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
        }
    }

    pub(crate) fn encode(&self, version: Version, out: &mut BytesMut) {
        let present = || version.row().parameters.iter().filter(|row| self.has(row.0));
        let repeated = self.tokens.len().saturating_sub(1);
        varint::write((present().count() + repeated) as u64, out);
        let mut previous = 0;
        for (kind, encoding, _) in present() {
            let mut head = |out: &mut BytesMut| {
                varint::write(kind.number() - previous, out);
                previous = kind.number();
            };
            if *kind == Kind::AuthorizationToken {
                for token in &self.tokens {
                    head(out);
                    let mut value = BytesMut::new();
                    token.encode(&mut value);
                    put_prefixed(&value, out);
                }
                continue;
            }
            head(out);
            self.encode_value(*kind, *encoding, out);
        }
    }

    fn encode_value(&self, kind: Kind, encoding: Encoding, out: &mut BytesMut) {
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
                put_location(self.largest.unwrap_or_default(), out);
                return;
            }
            Kind::SubscriptionFilter => {
                let mut value = BytesMut::new();
                if let Some(filter) = self.filter {
                    encode_filter(filter, &mut value);
                }
                put_prefixed(&value, out);
                return;
            }
            Kind::TrackNamespacePrefix => {
                put_namespace(self.namespace_prefix.as_ref().unwrap_or(&Namespace::root()), out);
                return;
            }
            // Written by `encode`, as they repeat.
            Kind::AuthorizationToken => return,
        };
        let number = number.unwrap_or(0);
        match encoding {
            Encoding::Byte => out.put_u8(number as u8),
            _ => varint::write(number, out),
        }
    }
}

/// A value, read by its coding alone.
enum Raw {
    Number(u64),
    Location(Location),
    Prefixed(Body),
    Namespace(Namespace),
}

impl Raw {
    fn decode(encoding: Encoding, body: &mut Body) -> Result<Raw, Violation> {
        Ok(match encoding {
            Encoding::Byte => Raw::Number(u64::from(body.byte()?)),
            Encoding::Number => Raw::Number(body.number()?),
            Encoding::Location => Raw::Location(body.location()?),
            Encoding::Prefixed => Raw::Prefixed(Body::new(body.prefixed()?)),
            Encoding::Namespace => Raw::Namespace(body.namespace()?),
        })
    }
}

pub(crate) fn group_order_number(order: GroupOrder) -> u64 {
    match order {
        GroupOrder::Ascending => 1,
        GroupOrder::Descending => 2,
    }
}

/// draft-18 §5.1.2
fn decode_filter(mut body: Body) -> Result<Filter, Violation> {
    let filter = match body.number()? {
        1 => Filter::NextGroup,
        2 => Filter::NextObject,
        3 => Filter::From(body.location()?),
        4 => {
            let start = body.location()?;
            let end_group = start.group.checked_add(body.number()?);
            let end_group =
                end_group.ok_or(Violation::protocol("the end of a filter overflows"))?;
            Filter::Range { start, end_group }
        }
        _ => return Err(Violation::protocol("a filter of an unknown type")),
    };
    body.end()?;
    Ok(filter)
}

fn encode_filter(filter: Filter, out: &mut BytesMut) {
    match filter {
        Filter::NextGroup => varint::write(1, out),
        Filter::NextObject => varint::write(2, out),
        Filter::From(start) => {
            varint::write(3, out);
            put_location(start, out);
        }
        Filter::Range { start, end_group } => {
            varint::write(4, out);
            put_location(start, out);
            // A range that ends before it begins is one that ends where it begins: the wire has no other.
            varint::write(end_group.saturating_sub(start.group), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn subscribe(bytes: &'static [u8]) -> Result<(Option<u8>, Option<GroupOrder>), Violation> {
        let mut body = Body::new(Bytes::from_static(bytes));
        let read = Parameters::decode(Version::Draft18, Scope::Subscribe, &mut body)?;
        assert!(body.is_empty());
        Ok((read.subscriber_priority, read.group_order))
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
