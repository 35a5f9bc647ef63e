//! All that drafts disagree on, as columns of one table. There is no test for a version outside this
//! file: a column says what is done, its rows stand in a file for each draft. `docs/protocols/moq-drafts.md`
//! has the same side by side, with sections.

mod draft16;
mod draft18;
mod draft20;

use crate::code::{DoneCode, RequestCode, ResetCode, SessionCode};
use crate::message::Message;
use crate::parameters::{Encoding, Kind, Scope};
use crate::varint::Coding;

/// A draft of MoQ Transport that we speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// draft-ietf-moq-transport-16
    Draft16,
    /// draft-ietf-moq-transport-18
    Draft18,
    /// draft-ietf-moq-transport-20
    Draft20,
    /// draft-ietf-moq-transport-21: the bytes of 20, in another order of sections.
    Draft21,
    /// draft-ietf-moq-transport-22
    Draft22,
}

/// What carries control messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ControlStream {
    /// The first stream of the client, in both directions (draft-16 §3.3).
    Bidirectional,
    /// A unidirectional stream of each side (draft-18 §3.3).
    Unidirectional,
}

impl Version {
    /// All of them, the preferred one first: that which others speak in production, then the newest.
    pub const ALL: &'static [Version] =
        &[Version::Draft18, Version::Draft22, Version::Draft21, Version::Draft20, Version::Draft16];

    /// The TLS ALPN token and the name in `wt-available-protocols` (draft-18 §3.1, draft-16 §3.1).
    pub fn alpn(self) -> &'static str {
        self.row().alpn
    }

    /// The version with this ALPN token or WebTransport protocol name.
    pub fn from_alpn(token: &[u8]) -> Option<Version> {
        Version::ALL.iter().copied().find(|version| version.alpn().as_bytes() == token)
    }

    /// The number of the draft.
    pub fn draft(self) -> u8 {
        self.row().draft
    }

    /// The version with this number of a draft.
    pub fn from_draft(draft: u8) -> Option<Version> {
        Version::ALL.iter().copied().find(|version| version.draft() == draft)
    }

    /// What carries control messages: the driver opens it.
    pub fn control_stream(self) -> ControlStream {
        match self.row().requests {
            Requests::OnControl => ControlStream::Bidirectional,
            Requests::OnStreams => ControlStream::Unidirectional,
        }
    }

    /// The largest group, object, subgroup and alias that can be written.
    pub fn id_max(self) -> u64 {
        self.row().integers.max()
    }

    /// Whether a subscription is over with the end of its filter, and one that can bring nothing more is
    /// refused (up to draft 19; draft-21 §3.3.1).
    pub fn ends_with_filter(self) -> bool {
        self.row().filter_ends
    }

    /// Whether a subscription can bring the past with it (draft-21 §3.4).
    pub fn fills(self) -> bool {
        self.row().past == Past::Fill
    }

    /// Whether the first object of a subgroup can have delivery timeouts of its own (draft-21 §5.2).
    pub fn objects_have_timeouts(self) -> bool {
        self.row().object_timeouts
    }

    pub(crate) fn row(self) -> &'static Row {
        match self {
            Version::Draft16 => &draft16::ROW,
            Version::Draft18 => &draft18::ROW,
            Version::Draft20 => &draft20::ROW,
            Version::Draft21 => &draft20::ROW_21,
            Version::Draft22 => &draft20::ROW_22,
        }
    }

    /// A message's number, if the draft has it.
    pub(crate) fn number_of(self, message: Message) -> Option<u64> {
        self.row().messages.iter().find(|row| row.0 == message).map(|row| row.1)
    }

    /// The message with this number.
    pub(crate) fn message_of(self, number: u64) -> Message {
        let row = self.row().messages.iter().find(|row| row.1 == number);
        row.map_or(Message::Unknown, |row| row.0)
    }

    /// The number to close a session with.
    pub fn session_code(self, code: SessionCode) -> u64 {
        number(self.row().session_codes, code, SessionCode::InternalError)
    }

    /// What the peer closed the session with.
    pub fn session_code_of(self, number: u64) -> SessionCode {
        code(self.row().session_codes, number, SessionCode::InternalError)
    }

    /// The number in REQUEST_ERROR.
    pub fn request_code(self, code: RequestCode) -> u64 {
        number(self.row().request_codes, code, RequestCode::InternalError)
    }

    /// What the peer says in REQUEST_ERROR.
    pub fn request_code_of(self, number: u64) -> RequestCode {
        code(self.row().request_codes, number, RequestCode::InternalError)
    }

    /// The number in PUBLISH_DONE.
    pub fn done_code(self, code: DoneCode) -> u64 {
        number(self.row().done_codes, code, DoneCode::InternalError)
    }

    /// What the peer says in PUBLISH_DONE.
    pub fn done_code_of(self, number: u64) -> DoneCode {
        code(self.row().done_codes, number, DoneCode::InternalError)
    }

    /// The number in RESET_STREAM and STOP_SENDING. (WebTransport maps it once more, on its own layer.)
    /// A code that the draft has not is the nearest one that it has: who is too slow, or asks for too much, is told of no
    /// fault of ours.
    pub fn reset_code(self, code: ResetCode) -> u64 {
        let table = self.row().reset_codes;
        let has = table.iter().any(|(known, _)| *known == code);
        let code = match code {
            code if has => code,
            ResetCode::TooFarBehind => ResetCode::DeliveryTimeout,
            ResetCode::ExcessiveLoad | ResetCode::ExpiredAuthToken | ResetCode::GoingAway => {
                ResetCode::Cancelled
            }
            code => code,
        };
        number(table, code, ResetCode::InternalError)
    }

    /// What the peer says in RESET_STREAM or STOP_SENDING.
    pub fn reset_code_of(self, number: u64) -> ResetCode {
        code(self.row().reset_codes, number, ResetCode::InternalError)
    }
}

/// Where requests are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requests {
    /// On the one control stream, but for SUBSCRIBE_NAMESPACE: every message about one names it, and the
    /// receiver says how many there may be (draft-16 §3.3, §9.1).
    OnControl,
    /// Each on a stream of its own (draft-18 §3.3).
    OnStreams,
}

/// What is done with a known parameter in a message that has no use for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutOfScope {
    /// draft-16 §9.2.2
    Ignored,
    /// draft-18 §10.2.1
    Forbidden,
}

/// How a subscription's filter is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FilterForm {
    /// With a type; the end is a group (draft-16 §5.1.2).
    AbsoluteEnd,
    /// With a type; the end is groups behind the start (draft-18 §5.1.2).
    DeltaEnd,
    /// As many numbers as its length holds (draft-21 §9.20.10).
    Fields,
    /// With a type that says how many numbers follow, and no length (draft 22).
    Typed,
}

/// How the past is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Past {
    /// A FETCH has a range, whose end is one more than the last object, or joins a subscription: if its filter is
    /// Largest Object, to what was the largest when it began (draft-16 §9.16.2).
    JoinAtLargest,
    /// The same, but it joins one that forwards, to what was the largest when it began to (draft-18 §10.12.2).
    JoinWhileForwarding,
    /// A FETCH has a filter, whose end is the last object; a subscription brings its past with it
    /// (draft-21 §3.4, §9.11).
    Fill,
}

/// How objects on a fetch stream say where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FetchIds {
    /// As they are (draft-16 §10.4.4).
    Absolute,
    /// By their difference to the one before (draft-18 §11.4.4.1).
    Deltas,
}

/// What GOAWAY says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GoAwayForm {
    /// A URI (draft-16 §9.4).
    Uri,
    /// A URI, a time, and about the session the first request that was not processed (draft-18 §10.4).
    WithRequest,
    /// A URI and a time (draft-21 §9.2).
    WithTime,
}

/// How SETUP is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SetupForm {
    /// One message for each side, with a count of options; the server's comes second (draft-16 §9.3).
    Counted,
    /// The same message from both sides, options to its end (draft-18 §10.3).
    ToTheEnd,
}

/// One draft.
pub(crate) struct Row {
    pub(crate) alpn: &'static str,
    pub(crate) draft: u8,
    pub(crate) integers: Coding,
    pub(crate) requests: Requests,
    pub(crate) setup: SetupForm,
    pub(crate) goaway: GoAwayForm,
    messages: &'static [(Message, u64)],
    /// What subscribes to the tracks below a prefix.
    pub(crate) subscribe_tracks: Message,
    /// Whether a subscription of a prefix says by a number what it wants to hear of.
    pub(crate) namespace_options: bool,
    /// The OK that answers PUBLISH.
    pub(crate) publish_ok: Message,
    /// Which parameter may stand in which message, and how it is written.
    pub(crate) parameters: &'static [(Kind, Encoding, &'static [Scope])],
    pub(crate) out_of_scope: OutOfScope,
    pub(crate) filter: FilterForm,
    /// Whether a delivery timeout may be 0, for none.
    pub(crate) zero_timeout: bool,
    /// Whether delivery timeouts are properties of objects too.
    pub(crate) object_timeouts: bool,
    /// Whether a GROUP_ORDER of 0 is taken for none.
    pub(crate) zero_group_order: bool,
    /// Whether a subscription is over with its filter.
    pub(crate) filter_ends: bool,
    pub(crate) past: Past,
    /// Whether there is one subscription to a track in each role, and no second one.
    pub(crate) one_subscription: bool,
    /// Whether SETUP bounds updates and range filters.
    pub(crate) limits_in_setup: bool,
    /// Whether a requester's FIN gives up a subscription of namespaces or tracks.
    pub(crate) fin_gives_up: bool,
    /// Whether REQUEST_OK can hold a track's properties.
    pub(crate) status_properties: bool,
    /// Whether a prefix of namespaces and one of tracks must not overlap with each other.
    pub(crate) one_prefix_space: bool,
    /// Whether one REQUEST_ERROR answers all updates of a request that wait.
    pub(crate) updates_fail_together: bool,
    /// Whether a namespace can have no field at all; a prefix always can.
    pub(crate) empty_namespace: bool,
    /// Whether there are track properties that nobody may ignore.
    pub(crate) mandatory_properties: bool,
    /// Bits that the type of a subgroup stream can have.
    pub(crate) subgroup_bits: u64,
    pub(crate) fetch_ids: FetchIds,
    /// Whether SUBSCRIBER_PRIORITY, which is a byte, is taken as a number, too: one client of that draft writes it so.
    pub(crate) priority_as_number: bool,
    /// Whether an end of a range can say that its objects did not come in time.
    pub(crate) timed_out_ranges: bool,
    /// Whether there are streams and datagrams of nothing, and options that mean nothing.
    pub(crate) padding: bool,
    /// The Stream Count of PUBLISH_DONE that means "not known".
    pub(crate) stream_count_unknown: u64,
    session_codes: &'static [(SessionCode, u64)],
    request_codes: &'static [(RequestCode, u64)],
    done_codes: &'static [(DoneCode, u64)],
    reset_codes: &'static [(ResetCode, u64)],
}

/// A code that the draft has no number for is an internal error to its peer, as an unknown number is to us.
fn number<C: Copy + PartialEq>(table: &[(C, u64)], code: C, unknown: C) -> u64 {
    let find = |code: C| table.iter().find(|(known, _)| *known == code).map(|row| row.1);
    find(code).or_else(|| find(unknown)).unwrap_or(0)
}

fn code<C: Copy>(table: &[(C, u64)], number: u64, unknown: C) -> C {
    table.iter().find(|(_, known)| *known == number).map_or(unknown, |(code, _)| *code)
}

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
    fn draft16_s14_5_draft18_s15_10_draft21_s16_11_error_codes() {
        for version in Version::ALL {
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
    }

    #[test]
    fn draft16_s14_5_4_a_reset_code_that_there_is_not_is_the_nearest_one() {
        for (code, in_16, later) in [
            (ResetCode::TooFarBehind, 0x2, 0x5),
            (ResetCode::ExcessiveLoad, 0x1, 0x9),
            (ResetCode::ExpiredAuthToken, 0x1, 0x7),
            (ResetCode::GoingAway, 0x1, 0x4),
            (ResetCode::UnknownObjectStatus, 0x4, 0x6),
        ] {
            for version in Version::ALL {
                let expect = if *version == Version::Draft16 { in_16 } else { later };
                assert_eq!(version.reset_code(code), expect, "{version:?} {code:?}");
            }
        }
    }

    #[test]
    fn draft18_s3_1_tokens() {
        for version in Version::ALL {
            assert_eq!(Version::from_alpn(version.alpn().as_bytes()), Some(*version));
        }
        for other in ["moq-00", "moqt", "moqt-17", "moqt-19", "moqt-18 ", "h3"] {
            assert_eq!(Version::from_alpn(other.as_bytes()), None, "{other}");
        }
    }
}
