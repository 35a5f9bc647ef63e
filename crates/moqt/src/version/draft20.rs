//! draft-ietf-moq-transport-20, 21 and 22. Sections are those of 21, which has the same bytes as 20 in another
//! order. 22 writes one parameter in another way, LOCATION_FILTER; its text was not at hand, and what is said
//! of it is how two other implementations agree (`docs/protocols/moq-drafts.md`).

use super::{
    FetchIds, FilterForm, GoAwayForm, OutOfScope, Past, Requests, Row, SetupForm, draft18,
};
use crate::code::{DoneCode, RequestCode, SessionCode};
use crate::message::Message;
use crate::parameters::{Encoding, Kind, Scope};
use crate::varint::Coding;

pub(super) static ROW: Row = BASE;

pub(super) static ROW_21: Row = Row { alpn: "moqt-21", draft: 21, ..BASE };

pub(super) static ROW_22: Row = Row {
    alpn: "moqt-22",
    draft: 22,
    filter: FilterForm::Typed,
    parameters: &parameters(Encoding::Filter),
    ..BASE
};

const BASE: Row = Row {
    alpn: "moqt-20",
    draft: 20,
    integers: Coding::Vi64,
    requests: Requests::OnStreams,
    setup: SetupForm::ToTheEnd,
    goaway: GoAwayForm::WithTime,
    // draft-21 §9
    messages: &[
        (Message::RequestUpdate, 0x02),
        (Message::Subscribe, 0x03),
        (Message::SubscribeOk, 0x04),
        (Message::RequestError, 0x05),
        (Message::PublishNamespace, 0x06),
        (Message::RequestOk, 0x07),
        (Message::Namespace, 0x08),
        (Message::PublishDone, 0x0b),
        (Message::TrackStatus, 0x0d),
        (Message::NamespaceDone, 0x0e),
        // PUBLISH_SKIPPED (draft-21 §9.19) is another name of the same.
        (Message::PublishBlocked, 0x0f),
        (Message::GoAway, 0x10),
        (Message::Fetch, 0x16),
        (Message::FetchOk, 0x18),
        (Message::Publish, 0x1d),
        (Message::PublishStateNotify, 0x22),
        (Message::SubscribeNamespace, 0x50),
        (Message::SubscribeTracks, 0x51),
        (Message::Setup, 0x2f00),
    ],
    subscribe_tracks: Message::SubscribeTracks,
    namespace_options: false,
    publish_ok: Message::RequestOk,
    out_of_scope: OutOfScope::Forbidden,
    filter: FilterForm::Fields,
    filter_ends: false,
    past: Past::Fill,
    one_subscription: false,
    limits_in_setup: true,
    fin_gives_up: false,
    zero_timeout: true,
    object_timeouts: true,
    zero_group_order: false,
    status_properties: true,
    one_prefix_space: false,
    updates_fail_together: true,
    empty_namespace: true,
    mandatory_properties: true,
    subgroup_bits: 0x7f,
    fetch_ids: FetchIds::Deltas,
    priority_as_number: false,
    timed_out_ranges: true,
    padding: true,
    parameters: &parameters(Encoding::Prefixed),
    // draft-21 §9.9
    stream_count_unknown: u64::MAX,
    // draft-21 §12.2
    session_codes: &[
        (SessionCode::NoError, 0x0),
        (SessionCode::InternalError, 0x1),
        (SessionCode::Unauthorized, 0x2),
        (SessionCode::ProtocolViolation, 0x3),
        (SessionCode::InvalidRequestId, 0x4),
        (SessionCode::DuplicateTrackAlias, 0x5),
        (SessionCode::KeyValueFormattingError, 0x6),
        (SessionCode::InvalidPath, 0x8),
        (SessionCode::MalformedPath, 0x9),
        (SessionCode::GoawayTimeout, 0x10),
        (SessionCode::ControlMessageTimeout, 0x11),
        (SessionCode::DataStreamTimeout, 0x12),
        (SessionCode::AuthTokenCacheOverflow, 0x13),
        (SessionCode::DuplicateAuthTokenAlias, 0x14),
        (SessionCode::MalformedAuthToken, 0x16),
        (SessionCode::UnknownAuthTokenAlias, 0x17),
        (SessionCode::ExpiredAuthToken, 0x18),
        (SessionCode::InvalidAuthority, 0x19),
        (SessionCode::MalformedAuthority, 0x1a),
        (SessionCode::TooManyRequestUpdates, 0x1b),
    ],
    // draft-21 §16.11.2
    request_codes: &[
        (RequestCode::InternalError, 0x0),
        (RequestCode::Unauthorized, 0x1),
        (RequestCode::Timeout, 0x2),
        (RequestCode::NotSupported, 0x3),
        (RequestCode::MalformedAuthToken, 0x4),
        (RequestCode::ExpiredAuthToken, 0x5),
        (RequestCode::GoingAway, 0x6),
        (RequestCode::ExcessiveLoad, 0x9),
        (RequestCode::DoesNotExist, 0x10),
        (RequestCode::InvalidRange, 0x11),
        (RequestCode::MalformedTrack, 0x12),
        (RequestCode::Uninterested, 0x20),
        (RequestCode::PrefixOverlap, 0x30),
        (RequestCode::NamespaceTooLarge, 0x31),
        (RequestCode::UnsupportedExtension, 0x33),
        (RequestCode::Redirect, 0x34),
        (RequestCode::ConflictingFilters, 0x35),
        (RequestCode::InvalidFilter, 0x36),
    ],
    // draft-21 §12.4
    done_codes: &[
        (DoneCode::InternalError, 0x0),
        (DoneCode::Unauthorized, 0x1),
        (DoneCode::TrackEnded, 0x2),
        (DoneCode::GoingAway, 0x4),
        (DoneCode::TooFarBehind, 0x5),
        (DoneCode::Expired, 0x6),
        (DoneCode::UpdateFailed, 0x8),
        (DoneCode::ExcessiveLoad, 0x9),
        (DoneCode::MalformedTrack, 0x12),
    ],
    // draft-21 §12.5
    reset_codes: draft18::RESET_CODES,
};

/// draft-21 §9.20.3 to §9.20.22, one line for each. SUBSCRIBE_TRACKS has by §9.18.1 what SUBSCRIBE has, though the sections of
/// most do not say so.
const fn parameters(filter: Encoding) -> [(Kind, Encoding, &'static [Scope]); 20] {
    use Encoding::{Byte, Location, Namespace, Number, Prefixed};
    const DELIVERY: &[Scope] =
        &[Scope::Subscribe, Scope::SubscribeTracks, Scope::Publish, Scope::UpdateOfSubscription];
    // draft-21 §3.3.2
    const OF_OBJECTS: &[Scope] = &[
        Scope::Fetch,
        Scope::Subscribe,
        Scope::SubscribeTracks,
        Scope::UpdateOfSubscription,
        Scope::Fill,
    ];
    [
        (Kind::ObjectDeliveryTimeout, Number, DELIVERY),
        (
            Kind::AuthorizationToken,
            Prefixed,
            &[
                Scope::Publish,
                Scope::Subscribe,
                Scope::UpdateOfSubscription,
                Scope::UpdateOfFetch,
                Scope::UpdateOfPrefix,
                Scope::UpdateOfTracks,
                Scope::UpdateOfNamespace,
                Scope::SubscribeNamespace,
                Scope::SubscribeTracks,
                Scope::PublishNamespace,
                Scope::TrackStatus,
                Scope::Fetch,
            ],
        ),
        (Kind::RendezvousTimeout, Number, &[Scope::Subscribe, Scope::SubscribeTracks]),
        (Kind::SubgroupDeliveryTimeout, Number, DELIVERY),
        (
            Kind::Expires,
            Number,
            &[
                Scope::SubscribeOk,
                Scope::Publish,
                Scope::PublishOk,
                Scope::PrefixOk,
                Scope::PublishNamespaceOk,
                Scope::UpdateOk,
            ],
        ),
        (
            Kind::LargestObject,
            Location,
            &[
                Scope::SubscribeOk,
                Scope::Publish,
                Scope::UpdateOk,
                Scope::TrackStatusOk,
                Scope::StateNotify,
            ],
        ),
        (Kind::FillTimeout, Number, &[Scope::Fetch, Scope::Fill]),
        (
            Kind::Forward,
            Byte,
            &[
                Scope::Subscribe,
                Scope::UpdateOfSubscription,
                Scope::UpdateOfTracks,
                Scope::Publish,
                Scope::SubscribeTracks,
                Scope::StateNotify,
            ],
        ),
        (
            Kind::SubscriberPriority,
            Byte,
            &[
                Scope::Subscribe,
                Scope::SubscribeTracks,
                Scope::Publish,
                Scope::Fetch,
                Scope::UpdateOfSubscription,
                Scope::UpdateOfFetch,
                Scope::Fill,
            ],
        ),
        (
            Kind::SubscriptionFilter,
            filter,
            &[
                Scope::Fetch,
                Scope::Subscribe,
                Scope::Publish,
                Scope::UpdateOfSubscription,
                Scope::StateNotify,
                Scope::SubscribeTracks,
                Scope::Fill,
            ],
        ),
        (
            Kind::GroupOrder,
            Byte,
            &[Scope::Subscribe, Scope::Publish, Scope::SubscribeTracks, Scope::Fetch, Scope::Fill],
        ),
        (
            Kind::FillParameters,
            Prefixed,
            &[Scope::Subscribe, Scope::UpdateOfSubscription, Scope::SubscribeTracks],
        ),
        (Kind::SubgroupFilter, Prefixed, OF_OBJECTS),
        (Kind::ObjectIdFilter, Prefixed, OF_OBJECTS),
        (Kind::PriorityFilter, Prefixed, OF_OBJECTS),
        (Kind::ObjectPropertyFilter, Prefixed, OF_OBJECTS),
        (Kind::TrackPropertyFilter, Prefixed, &[Scope::SubscribeTracks, Scope::UpdateOfTracks]),
        (
            Kind::NewGroupRequest,
            Number,
            &[Scope::Subscribe, Scope::SubscribeTracks, Scope::UpdateOfSubscription],
        ),
        (Kind::TrackNamespacePrefix, Namespace, &[Scope::UpdateOfPrefix, Scope::UpdateOfTracks]),
        (
            Kind::IncludeProperties,
            Byte,
            &[Scope::Subscribe, Scope::TrackStatus, Scope::Fetch, Scope::SubscribeTracks],
        ),
    ]
}
