//! All that drafts disagree on, as columns of one table. There is no test for a version outside this
//! file.
//!
//! One draft stands here today, 18. What others will need is listed in `reference` tables of the drafts'
//! change logs; each difference becomes a column when its draft comes.

use crate::code::{DoneCode, RequestCode, ResetCode, SessionCode};
use crate::parameters::{Encoding, Kind, Scope};

/// A draft of MoQ Transport that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// draft-ietf-moq-transport-18
    Draft18,
}

impl Version {
    /// All of them, the preferred one first.
    pub const ALL: &'static [Version] = &[Version::Draft18];

    /// The TLS ALPN token and the name in `wt-available-protocols` (draft-18 §3.1).
    pub fn alpn(self) -> &'static str {
        self.row().alpn
    }

    /// The version with this ALPN token or WebTransport protocol name.
    pub fn from_alpn(token: &[u8]) -> Option<Version> {
        Version::ALL.iter().copied().find(|version| version.alpn().as_bytes() == token)
    }

    pub(crate) fn row(self) -> &'static Row {
        match self {
            Version::Draft18 => &DRAFT_18,
        }
    }

    /// The number to close a session with.
    pub fn session_code(self, code: SessionCode) -> u64 {
        number(self.row().session_codes, code)
    }

    /// What the peer closed the session with.
    pub fn session_code_of(self, number: u64) -> SessionCode {
        code(self.row().session_codes, number, SessionCode::InternalError)
    }

    /// The number in REQUEST_ERROR.
    pub fn request_code(self, code: RequestCode) -> u64 {
        number(self.row().request_codes, code)
    }

    /// What the peer says in REQUEST_ERROR.
    pub fn request_code_of(self, number: u64) -> RequestCode {
        code(self.row().request_codes, number, RequestCode::InternalError)
    }

    /// The number in PUBLISH_DONE.
    pub fn done_code(self, code: DoneCode) -> u64 {
        number(self.row().done_codes, code)
    }

    /// What the peer says in PUBLISH_DONE.
    pub fn done_code_of(self, number: u64) -> DoneCode {
        code(self.row().done_codes, number, DoneCode::InternalError)
    }

    /// The number in RESET_STREAM and STOP_SENDING. (WebTransport maps it once more, on its own layer.)
    pub fn reset_code(self, code: ResetCode) -> u64 {
        number(self.row().reset_codes, code)
    }

    /// What the peer says in RESET_STREAM or STOP_SENDING.
    pub fn reset_code_of(self, number: u64) -> ResetCode {
        code(self.row().reset_codes, number, ResetCode::InternalError)
    }
}

/// One draft.
pub(crate) struct Row {
    pub(crate) alpn: &'static str,
    /// Which parameter may stand in which message, and how it is written.
    pub(crate) parameters: &'static [(Kind, Encoding, &'static [Scope])],
    /// The Stream Count of PUBLISH_DONE that means "not known".
    pub(crate) stream_count_unknown: u64,
    session_codes: &'static [(SessionCode, u64)],
    request_codes: &'static [(RequestCode, u64)],
    done_codes: &'static [(DoneCode, u64)],
    reset_codes: &'static [(ResetCode, u64)],
}

fn number<C: Copy + PartialEq>(table: &[(C, u64)], code: C) -> u64 {
    // A code that the draft has no number for is an internal error to its peer, as an unknown number is
    // to us; those have the lowest numbers that mean an error in every registry.
    let found = table.iter().find(|(known, _)| *known == code);
    found.map_or_else(
        || table.iter().map(|(_, number)| *number).find(|n| *n > 0).unwrap_or(0),
        |row| row.1,
    )
}

fn code<C: Copy>(table: &[(C, u64)], number: u64, unknown: C) -> C {
    table.iter().find(|(_, known)| *known == number).map_or(unknown, |(code, _)| *code)
}

static DRAFT_18: Row = Row {
    alpn: "moqt-18",
    // draft-18 §10.2.2-§10.2.14, one line for each.
    parameters: &[
        (
            Kind::ObjectDeliveryTimeout,
            Encoding::Number,
            &[Scope::PublishOk, Scope::Subscribe, Scope::UpdateOfSubscription],
        ),
        (
            Kind::AuthorizationToken,
            Encoding::Prefixed,
            &[
                Scope::Publish,
                Scope::Subscribe,
                Scope::UpdateOfSubscription,
                Scope::UpdateOfFetch,
                Scope::UpdateOfPrefix,
                Scope::UpdateOfNamespace,
                Scope::SubscribeNamespace,
                Scope::SubscribeTracks,
                Scope::PublishNamespace,
                Scope::TrackStatus,
                Scope::Fetch,
            ],
        ),
        (Kind::RendezvousTimeout, Encoding::Number, &[Scope::Subscribe]),
        (
            Kind::SubgroupDeliveryTimeout,
            Encoding::Number,
            &[Scope::PublishOk, Scope::Subscribe, Scope::UpdateOfSubscription],
        ),
        (
            Kind::Expires,
            Encoding::Number,
            &[Scope::SubscribeOk, Scope::Publish, Scope::PublishOk, Scope::UpdateOk],
        ),
        (
            Kind::LargestObject,
            Encoding::Location,
            &[Scope::SubscribeOk, Scope::Publish, Scope::UpdateOk, Scope::TrackStatusOk],
        ),
        (Kind::FillTimeout, Encoding::Number, &[Scope::Fetch]),
        (
            Kind::Forward,
            Encoding::Byte,
            &[
                Scope::Subscribe,
                Scope::UpdateOfSubscription,
                Scope::Publish,
                Scope::PublishOk,
                Scope::SubscribeTracks,
            ],
        ),
        (
            Kind::SubscriberPriority,
            Encoding::Byte,
            &[
                Scope::Subscribe,
                Scope::Fetch,
                Scope::UpdateOfSubscription,
                Scope::UpdateOfFetch,
                Scope::PublishOk,
            ],
        ),
        (
            Kind::SubscriptionFilter,
            Encoding::Prefixed,
            &[Scope::Subscribe, Scope::PublishOk, Scope::UpdateOfSubscription],
        ),
        (Kind::GroupOrder, Encoding::Byte, &[Scope::Subscribe, Scope::PublishOk, Scope::Fetch]),
        (
            Kind::NewGroupRequest,
            Encoding::Number,
            &[Scope::PublishOk, Scope::Subscribe, Scope::UpdateOfSubscription],
        ),
        (Kind::TrackNamespacePrefix, Encoding::Namespace, &[Scope::UpdateOfPrefix]),
    ],
    // draft-18 §10.11
    stream_count_unknown: (1 << 62) - 1,
    // draft-18 §15.10.1
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
        (SessionCode::VersionNegotiationFailed, 0x15),
        (SessionCode::MalformedAuthToken, 0x16),
        (SessionCode::UnknownAuthTokenAlias, 0x17),
        (SessionCode::ExpiredAuthToken, 0x18),
        (SessionCode::InvalidAuthority, 0x19),
        (SessionCode::MalformedAuthority, 0x1a),
    ],
    // draft-18 §15.10.2
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
        (RequestCode::DuplicateSubscription, 0x19),
        (RequestCode::Uninterested, 0x20),
        (RequestCode::PrefixOverlap, 0x30),
        (RequestCode::NamespaceTooLarge, 0x31),
        (RequestCode::InvalidJoiningRequestId, 0x32),
        (RequestCode::UnsupportedExtension, 0x33),
        (RequestCode::Redirect, 0x34),
    ],
    // draft-18 §15.10.3
    done_codes: &[
        (DoneCode::InternalError, 0x0),
        (DoneCode::Unauthorized, 0x1),
        (DoneCode::TrackEnded, 0x2),
        (DoneCode::SubscriptionEnded, 0x3),
        (DoneCode::GoingAway, 0x4),
        (DoneCode::TooFarBehind, 0x5),
        (DoneCode::Expired, 0x6),
        (DoneCode::UpdateFailed, 0x8),
        (DoneCode::ExcessiveLoad, 0x9),
        (DoneCode::MalformedTrack, 0x12),
    ],
    // draft-18 §15.10.4
    reset_codes: &[
        (ResetCode::InternalError, 0x0),
        (ResetCode::Cancelled, 0x1),
        (ResetCode::DeliveryTimeout, 0x2),
        (ResetCode::SessionClosed, 0x3),
        (ResetCode::GoingAway, 0x4),
        (ResetCode::TooFarBehind, 0x5),
        (ResetCode::UnknownObjectStatus, 0x6),
        (ResetCode::ExpiredAuthToken, 0x7),
        (ResetCode::ExcessiveLoad, 0x9),
        (ResetCode::MalformedTrack, 0x12),
    ],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each code has one number, each number one code; all others, grease among them, are internal errors.
    fn check<C: Copy + PartialEq + std::fmt::Debug>(
        table: &[(C, u64)],
        number: impl Fn(C) -> u64,
        code: impl Fn(u64) -> C,
        internal_error: C,
    ) {
        let numbers: BTreeSet<u64> = table.iter().map(|(_, number)| *number).collect();
        assert_eq!(numbers.len(), table.len());
        for (known, known_number) in table {
            assert_eq!((number(*known), code(*known_number)), (*known_number, *known));
        }
        for unknown in (0..0x200).chain([u64::MAX]).filter(|it| !numbers.contains(it)) {
            assert_eq!(code(unknown), internal_error, "{unknown:#x}");
        }
    }

    #[test]
    fn draft18_s15_10_error_codes() {
        let version = Version::Draft18;
        let row = version.row();
        check(
            row.session_codes,
            |code| version.session_code(code),
            |number| version.session_code_of(number),
            SessionCode::InternalError,
        );
        check(
            row.request_codes,
            |code| version.request_code(code),
            |number| version.request_code_of(number),
            RequestCode::InternalError,
        );
        check(
            row.done_codes,
            |code| version.done_code(code),
            |number| version.done_code_of(number),
            DoneCode::InternalError,
        );
        check(
            row.reset_codes,
            |code| version.reset_code(code),
            |number| version.reset_code_of(number),
            ResetCode::InternalError,
        );
    }

    #[test]
    fn draft18_s3_1_tokens() {
        for version in Version::ALL {
            assert_eq!(Version::from_alpn(version.alpn().as_bytes()), Some(*version));
        }
        for other in ["moq-00", "moqt", "moqt-17", "moqt-18 ", "h3"] {
            assert_eq!(Version::from_alpn(other.as_bytes()), None, "{other}");
        }
    }
}
