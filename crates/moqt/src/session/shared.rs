//! Drafts whose requests share the control stream (draft-16 §3.3, §9): whose request a message is about,
//! how many requests there may be, and how one is ended that has no stream to end.

use std::collections::VecDeque;
use std::time::Instant;

use super::api::Output;
use super::requests::{Entry, Kind, Place};
use super::{Role, Session};
use crate::code::{RequestCode, ResetCode, SessionCode};
use crate::error::Violation;
use crate::limits;
use crate::message::first::is_first;
use crate::message::publish::PublishDone;
use crate::message::shared::{
    NamespaceCancel, decode_end, decode_maximum, encode_end, encode_maximum,
};
use crate::message::update::Update;
use crate::message::{Message, MessageReader};
use crate::request::{Done, RequestError, RequestId};
use crate::version::Requests;
use crate::wire::Body;

/// How many requests each side may make.
#[derive(Debug)]
pub(super) struct Allowance {
    /// The first Request ID that the peer has not allowed us.
    ours: u64,
    /// The first one that we have not allowed the peer.
    peers: u64,
    /// The last one of the peer on the control stream.
    last: Option<RequestId>,
    /// Our requests that wait for the peer's leave, with all that was said about them since.
    blocked: VecDeque<(RequestId, Vec<Output>)>,
    /// The bound at which we said that we wait.
    complained: Option<u64>,
}

impl Allowance {
    /// Drafts that give each request a stream leave the bound to QUIC.
    pub(super) fn new(requests: Requests, role: Role) -> Allowance {
        let (ours, peers) = match requests {
            Requests::OnStreams => (u64::MAX, u64::MAX),
            Requests::OnControl => (0, first_not_allowed(0, role)),
        };
        Allowance { ours, peers, last: None, blocked: VecDeque::new(), complained: None }
    }

    /// What our SETUP says.
    pub(super) fn max_request_id(&self) -> u64 {
        self.peers
    }

    /// Whether no more requests may wait.
    pub(super) fn is_full(&self) -> bool {
        self.blocked.len() >= limits::BLOCKED_REQUESTS_MAX
    }

    pub(super) fn is_blocked(&self, id: RequestId) -> bool {
        self.blocked.iter().any(|(blocked, _)| *blocked == id)
    }
}

/// When so many requests of the peer are over.
fn first_not_allowed(over: u64, role: Role) -> u64 {
    let parity = u64::from(role == Role::Client);
    2 * over.saturating_add(limits::REQUESTS_MAX as u64) + parity
}

impl Session {
    /// Says something about a request, behind the request itself.
    pub(super) fn put(&mut self, id: RequestId, output: Output) {
        match self.allowance.blocked.iter_mut().find(|(blocked, _)| *blocked == id) {
            Some((_, outputs)) => outputs.push(output),
            None => self.outputs.push_back(output),
        }
    }

    /// Says a request, or an update of one, as soon as the peer allows it.
    pub(super) fn put_request(&mut self, id: RequestId, outputs: Vec<Output>) {
        if id.0 < self.allowance.ours && self.allowance.blocked.is_empty() {
            self.outputs.extend(outputs);
            return;
        }
        self.allowance.blocked.push_back((id, outputs));
        self.complain();
    }

    /// draft-16 §9.6: once for each bound.
    fn complain(&mut self) {
        let bound = self.allowance.ours;
        let waits = !self.allowance.blocked.is_empty() && self.is_open();
        if !waits || self.allowance.complained.replace(bound) == Some(bound) {
            return;
        }
        if let Ok(bytes) = encode_maximum(self.config.version, Message::RequestsBlocked, bound) {
            self.outputs.push_back(Output::Control(bytes));
        }
    }

    /// The peer allows more.
    pub(super) fn allow(&mut self, maximum: u64) {
        self.allowance.ours = maximum;
        while let Some((_, outputs)) = self.allowance.blocked.pop_front_if(|(id, _)| id.0 < maximum)
        {
            self.outputs.extend(outputs);
        }
        self.complain();
    }

    /// draft-16 §9.5: the peer may make as many more requests as are over.
    pub(super) fn raise_allowance(&mut self) {
        if self.config.version.row().requests == Requests::OnStreams || !self.is_open() {
            return;
        }
        let over = self.seen.count().saturating_sub(self.requests.peers() as u64);
        let maximum = first_not_allowed(over, self.role);
        // Not for each one: a message for every half of them.
        if maximum < self.allowance.peers + limits::REQUESTS_MAX as u64 {
            return;
        }
        if let Ok(bytes) = encode_maximum(self.config.version, Message::MaxRequestId, maximum) {
            self.allowance.peers = maximum;
            self.outputs.push_back(Output::Control(bytes));
        }
    }

    /// Takes a Request ID of the peer. On one stream they rise (draft-16 §9.1); those of requests with
    /// streams of their own come when they come.
    pub(super) fn take_id(&mut self, id: RequestId, place: Place) -> Result<(), Violation> {
        if id.0 >= self.allowance.peers {
            let what = "more requests than MAX_REQUEST_ID";
            return Err(Violation::new(SessionCode::TooManyRequests, what));
        }
        if place == Place::Control && self.allowance.last.replace(id).is_some_and(|last| last >= id)
        {
            let what = "a Request ID that is not behind the one before";
            return Err(Violation::new(SessionCode::InvalidRequestId, what));
        }
        self.seen.take(id)?;
        let shared = self.config.version.row().requests == Requests::OnControl;
        if shared && self.seen.gaps() > limits::REQUEST_ID_GAPS_SHARED_MAX {
            let what = "Request IDs are left out";
            return Err(Violation::new(SessionCode::InvalidRequestId, what));
        }
        Ok(())
    }

    /// A message behind SETUP on the control stream that requests share.
    pub(super) fn on_shared(
        &mut self,
        now: Instant,
        message: Message,
        mut body: Body,
    ) -> Result<(), Violation> {
        let version = self.config.version;
        match message {
            Message::MaxRequestId => {
                let maximum = decode_maximum(body)?;
                if maximum <= self.allowance.ours {
                    // draft-16 §9.5
                    return Err(Violation::protocol("MAX_REQUEST_ID does not rise"));
                }
                self.allow(maximum);
                Ok(())
            }
            Message::RequestsBlocked => decode_maximum(body).map(drop),
            Message::SubscribeNamespace | Message::Namespace | Message::NamespaceDone => {
                // draft-16 §9.25
                Err(Violation::protocol("a message that has a stream of its own"))
            }
            message if is_first(message) => {
                self.on_first(now, Place::Control, MessageReader::new(version), message, body)
            }
            Message::RequestUpdate => {
                let (id, existing) = Update::ids(version, &mut body)?;
                self.take_id(id, Place::Control)?;
                let existing = existing.unwrap_or(id);
                if self.requests.get(existing).is_none() {
                    return self.on_late_update(id, existing);
                }
                self.on_update(existing, id, body)
            }
            Message::ClientSetup | Message::ServerSetup | Message::Unknown => {
                // draft-16 §9
                Err(Violation::protocol("a message that no control stream carries"))
            }
            _ => {
                let about = RequestId(body.number()?);
                self.on_about(now, about, message, body)
            }
        }
    }

    /// A message that names the request (or update) that it is about.
    fn on_about(
        &mut self,
        now: Instant,
        about: RequestId,
        message: Message,
        body: Body,
    ) -> Result<(), Violation> {
        let update = self.requests.of_update(about);
        let id = update.unwrap_or(about);
        let Some(entry) = self.requests.get(id) else { return self.check_was_there(about) };
        let ends = match (message, &entry.kind) {
            (Message::Unsubscribe, Kind::Publishing(_)) => true,
            (Message::FetchCancel, Kind::Serving(_)) => true,
            (Message::PublishNamespaceDone, Kind::Namespace) => !entry.is_ours(),
            (Message::PublishNamespaceCancel, Kind::Namespace) => entry.is_ours(),
            _ => false,
        };
        match message {
            Message::RequestOk
            | Message::PublishOk
            | Message::RequestError
            | Message::SubscribeOk
            | Message::FetchOk => match update {
                Some(_) => self.on_update_answered(id, Some(about), message, body),
                None => self.on_response(id, message, body),
            },
            Message::PublishDone => self.on_publish_done(now, id, body),
            Message::PublishNamespaceCancel if ends => {
                NamespaceCancel::decode(self.config.version, body)?;
                self.end_by_peer(id, ResetCode::Cancelled);
                Ok(())
            }
            _ if ends => {
                decode_end(body)?;
                self.end_by_peer(id, ResetCode::Cancelled);
                Ok(())
            }
            _ => Err(Violation::protocol("a message about a request that it can't be about")),
        }
    }

    /// What is about a request that is over crossed its end; what is about none at all is wrong.
    fn check_was_there(&self, about: RequestId) -> Result<(), Violation> {
        let was = match about.0 % 2 == self.next_id % 2 {
            true => about.0 < self.next_id && !self.allowance.is_blocked(about),
            false => self.seen.contains(about),
        };
        match was {
            true => Ok(()),
            false => {
                let what = "a message about a request that does not exist";
                Err(Violation::new(SessionCode::InvalidRequestId, what))
            }
        }
    }

    /// An update of a request that ended while the update was on its way: it wants an answer all the same.
    fn on_late_update(&mut self, id: RequestId, existing: RequestId) -> Result<(), Violation> {
        if self.check_was_there(existing).is_err() {
            // draft-16 §9.11
            return Err(Violation::protocol("an update of a request that does not exist"));
        }
        let error = RequestError::new(RequestCode::DoesNotExist, "the request is over");
        self.say_error(id, Place::Control, &error);
        Ok(())
    }

    /// The message that ends a request of either side that has no stream (draft-16 §5.1, §5.2, §6.2).
    pub(super) fn end_message(
        &self,
        id: RequestId,
        entry: &Entry,
        code: ResetCode,
    ) -> Option<bytes::Bytes> {
        let version = self.config.version;
        let refusal = || {
            let code = match code {
                ResetCode::ExpiredAuthToken => RequestCode::ExpiredAuthToken,
                ResetCode::MalformedTrack => RequestCode::MalformedTrack,
                _ => RequestCode::InternalError,
            };
            RequestError::new(code, "").encode(version, id)
        };
        let said = match &entry.kind {
            Kind::Receiving(receiving) if receiving.done.is_some() => return None,
            Kind::Receiving(_) if entry.is_ours() || entry.answered => {
                encode_end(version, Message::Unsubscribe, id)
            }
            Kind::Fetching(_) => encode_end(version, Message::FetchCancel, id),
            Kind::Namespace if entry.is_ours() => {
                encode_end(version, Message::PublishNamespaceDone, id)
            }
            Kind::Namespace if entry.answered => {
                let code = RequestCode::Uninterested;
                NamespaceCancel { code, reason: String::new() }.encode(version, id)
            }
            Kind::Publishing(publishing) if entry.is_ours() || entry.answered => {
                let done = Done { code: code.into(), reason: String::new() };
                PublishDone { done, streams: Some(publishing.streams) }.encode(version, id)
            }
            // Its data stream says the rest.
            Kind::Serving(_) if entry.answered => return None,
            Kind::TrackStatus if entry.is_ours() => return None,
            Kind::Prefix(_) => return None,
            _ => refusal(),
        };
        said.ok()
    }
}
