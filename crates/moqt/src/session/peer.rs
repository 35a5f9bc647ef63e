//! Request streams as the peer uses them: their bytes, their ends, and the requests that it makes.

use std::time::Instant;

use super::Session;
use super::api::{Event, StreamId};
use super::requests::{Entry, Joining, Kind, Prefix, Publishing, Receiving, Serving};
use super::tokens::TokenFault;
use crate::code::{RequestCode, ResetCode};
use crate::error::Violation;
use crate::limits;
use crate::location::{Location, Range};
use crate::message::MessageReader;
use crate::message::first::First;
use crate::message::kind;
use crate::name::Namespace;
use crate::parameters::Parameters;
use crate::request::{Fetch, Request, RequestError, RequestId};
use crate::token::AuthToken;
use crate::wire::Body;

/// Why a request is refused without asking the owner.
type Refusal = (RequestCode, &'static str);

impl Session {
    pub(super) fn on_bytes(
        &mut self,
        now: Instant,
        stream: StreamId,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        if let Some(id) = self.requests.on_stream(stream) {
            self.requests.push(id, bytes);
            return self.read_request(now, id);
        }
        if matches!(stream, StreamId::Ours(_)) || self.dead.contains(&stream) {
            // Of a request that is over.
            return Ok(());
        }
        let reader = self.nascent.entry(stream).or_default();
        reader.push(bytes);
        if let Some((kind, body)) = reader.next() {
            let reader = self.nascent.remove(&stream).unwrap_or_default();
            return self.on_first(now, stream, reader, kind, body);
        }
        let held: usize = self.nascent.values().map(MessageReader::held).sum();
        if held > limits::NASCENT_BYTES_MAX {
            self.nascent.remove(&stream);
            self.bury(stream);
            self.reset(stream, ResetCode::ExcessiveLoad);
            self.stop(stream, ResetCode::ExcessiveLoad);
        }
        Ok(())
    }

    fn read_request(&mut self, now: Instant, id: RequestId) -> Result<(), Violation> {
        while let Some((kind, body)) = self.requests.next_message(id) {
            self.on_message(now, id, kind, body)?;
        }
        if self.requests.get(id).is_some() && !self.requests.has_room_for(0) {
            self.end_by_peer(id, ResetCode::ExcessiveLoad);
        }
        Ok(())
    }

    /// A message on the stream of a request, behind the first one of the requester.
    fn on_message(
        &mut self,
        now: Instant,
        id: RequestId,
        kind: u64,
        body: Body,
    ) -> Result<(), Violation> {
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        let waits_for_ok = entry.is_ours() && !entry.answered;
        if matches!(entry.kind, Kind::Prefix(_))
            && waits_for_ok
            && !matches!(kind, kind::REQUEST_OK | kind::REQUEST_ERROR)
        {
            // draft-18 §10.18, §10.19
            return Err(Violation::protocol(
                "a namespace subscription is answered by something else",
            ));
        }
        match kind {
            kind::REQUEST_OK
            | kind::PUBLISH_OK
            | kind::REQUEST_ERROR
            | kind::SUBSCRIBE_OK
            | kind::FETCH_OK => self.on_response(id, kind, body),
            kind::REQUEST_UPDATE => self.on_update(id, body),
            kind::GOAWAY => self.on_request_goaway(id, body),
            kind::PUBLISH_DONE => self.on_publish_done(now, id, body),
            kind::NAMESPACE | kind::NAMESPACE_DONE => self.on_namespace(id, kind, body),
            kind::PUBLISH_BLOCKED => self.on_publish_blocked(id, body),
            kind::SUBSCRIBE
            | kind::PUBLISH
            | kind::FETCH
            | kind::TRACK_STATUS
            | kind::PUBLISH_NAMESPACE
            | kind::SUBSCRIBE_NAMESPACE
            | kind::SUBSCRIBE_TRACKS
            | kind::SETUP => Err(Violation::protocol("a message where a request is open already")),
            // draft-18 §10
            _ => Err(Violation::protocol("a message of an unknown type")),
        }
    }

    /// draft-18 §3.3: the peer's stream began with this.
    fn on_first(
        &mut self,
        now: Instant,
        stream: StreamId,
        reader: MessageReader,
        kind: u64,
        body: Body,
    ) -> Result<(), Violation> {
        let bytes = body.len();
        let first = First::decode(self.config.version, kind, body)?;
        self.seen.take(first.id)?;
        let (id, alias) = (first.id, first.alias);
        let tokens = match self.tokens.resolve(&first.request.parameters().tokens) {
            Ok(tokens) => Ok(tokens),
            Err(TokenFault::Session(violation)) => return Err(violation),
            Err(TokenFault::Request(code, what)) => Err((code, what)),
        };
        let begun = match tokens.and_then(|tokens| self.admit(&first.request).map(|()| tokens)) {
            Ok(tokens) => self.begin(stream, first, tokens, bytes)?,
            Err(refusal) => Err(refusal),
        };
        match begun {
            Ok(()) => {
                self.requests.set_reader(id, reader);
                self.read_request(now, id)
            }
            Err((code, what)) => {
                self.bury(stream);
                self.refuse(stream, &RequestError::new(code, what));
                if let Some(alias) = alias {
                    self.retire_unknown(alias);
                }
                Ok(())
            }
        }
    }

    /// Whether the owner is asked at all.
    fn admit(&self, request: &Request) -> Result<(), Refusal> {
        if self.goaways.sent {
            // draft-18 §10.4
            return Err((RequestCode::GoingAway, "this server is going away"));
        }
        if self.requests.peers() >= limits::REQUESTS_MAX {
            return Err((RequestCode::ExcessiveLoad, "too many open requests"));
        }
        if namespace_of(request).is_some_and(Namespace::is_nowhere) {
            // draft-18 §3.2.1, §3.2.2; duty D20
            return Err((RequestCode::DoesNotExist, "nothing is there"));
        }
        match request {
            // draft-18 §5.1
            Request::Subscribe { track, .. } if self.requests.publishing(track).is_some() => {
                Err((RequestCode::DuplicateSubscription, "the track is subscribed to already"))
            }
            Request::Publish { track, properties, .. } => {
                let rival = self.requests.receiving(track).and_then(|id| self.requests.get(id));
                if rival.is_some_and(|entry| entry.answered)
                    || self.requests.offered(track).is_some()
                {
                    let what = "the track is published already";
                    return Err((RequestCode::DuplicateSubscription, what));
                }
                // draft-18 §2.5.1
                match properties.mandatory_unknown(&self.config.mandatory_properties) {
                    None => Ok(()),
                    Some(_) => Err((RequestCode::UnsupportedExtension, "a mandatory property")),
                }
            }
            // draft-18 §10.12.3
            Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. }
                if range.is_backward() =>
            {
                Err((RequestCode::InvalidRange, "the range ends before it begins"))
            }
            // draft-18 §10.18, §10.19
            Request::SubscribeNamespace { prefix, .. }
                if self.requests.overlaps(false, prefix, None) =>
            {
                Err((RequestCode::PrefixOverlap, "the prefix overlaps with another one"))
            }
            Request::SubscribeTracks { prefix, .. }
                if self.requests.overlaps(true, prefix, None) =>
            {
                Err((RequestCode::PrefixOverlap, "the prefix overlaps with another one"))
            }
            _ => Ok(()),
        }
    }

    /// Opens a request of the peer, and tells the owner.
    fn begin(
        &mut self,
        stream: StreamId,
        first: First,
        tokens: Vec<AuthToken>,
        bytes: usize,
    ) -> Result<Result<(), Refusal>, Violation> {
        let First { id, request, alias } = first;
        if let Request::Fetch { fetch: Fetch::Joining { subscription, start }, parameters } =
            request
        {
            let joining = Joining { bytes, subscription, start, parameters, tokens };
            return Ok(self.begin_joining(stream, id, joining));
        }
        if let (Request::Publish { track, .. }, Some(alias)) = (&request, alias) {
            self.learn_alias(alias, id, track)?;
        }
        let kind = kind_of(&request, alias);
        self.requests.insert(id, Entry::new(stream, kind));
        self.event(Event::Request { id, request, tokens });
        if let Some(alias) = alias {
            self.serve_waiting(alias, id);
        }
        Ok(Ok(()))
    }

    /// A joining fetch waits until its subscription is established and has no update without an answer
    /// (draft-18 §10.12.2).
    fn begin_joining(
        &mut self,
        stream: StreamId,
        id: RequestId,
        joining: Joining,
    ) -> Result<(), Refusal> {
        let subscription = joining.subscription;
        if !self.requests.has_room_for(joining.bytes) {
            return Err((RequestCode::ExcessiveLoad, "too much that waits"));
        }
        let Some(entry) = self.requests.get_mut(subscription) else {
            return Err(NOT_JOINABLE);
        };
        let (ours, answered) = (entry.is_ours(), entry.answered);
        let Kind::Publishing(publishing) = &mut entry.kind else {
            return Err(NOT_JOINABLE);
        };
        // draft-18 §10.12.2: Established, or Pending by the subscriber.
        if publishing.done.is_some() || (ours && !answered) {
            return Err(NOT_JOINABLE);
        }
        publishing.held.push(id);
        let kind = Kind::Serving(Serving::new(Some(joining)));
        self.requests.insert(id, Entry::new(stream, kind));
        self.release_held(subscription);
        Ok(())
    }

    /// Judges the joining fetches of a subscription, if it is time.
    pub(super) fn release_held(&mut self, subscription: RequestId) {
        let Some(entry) = self.requests.get_mut(subscription) else { return };
        let ready = entry.answered && entry.updates.is_empty();
        let Kind::Publishing(publishing) = &mut entry.kind else { return };
        if !ready {
            return;
        }
        let held = std::mem::take(&mut publishing.held);
        let track = publishing.track.clone();
        let (forward, location) = (publishing.forward, publishing.joining);
        for id in held {
            // draft-18 §10.12.2
            match location.filter(|_| forward) {
                Some(location) => self.tell_joining(id, &track, location),
                None if !forward => {
                    self.refuse_held(id, (RequestCode::InvalidRange, "the subscription is paused"));
                }
                None => {
                    self.refuse_held(id, (RequestCode::InvalidRange, "nothing was published yet"));
                }
            }
        }
    }

    fn tell_joining(&mut self, id: RequestId, track: &crate::name::TrackName, location: Location) {
        let Some(joining) = self.requests.take_joining(id) else { return };
        let range: Range = joining.range(location);
        if range.is_backward() {
            // draft-18 §10.12.3
            self.refuse_held(id, (RequestCode::InvalidRange, "the range ends before it begins"));
            return;
        }
        let fetch = Fetch::Standalone { track: track.clone(), range };
        let request = Request::Fetch { fetch, parameters: joining.parameters };
        self.event(Event::Request { id, request, tokens: joining.tokens });
    }

    /// Joining fetches whose subscription did not come to be.
    pub(super) fn refuse_all_held(&mut self, entry: &mut Entry) {
        if let Kind::Publishing(publishing) = &mut entry.kind {
            for id in std::mem::take(&mut publishing.held) {
                self.refuse_held(id, NOT_JOINABLE);
            }
        }
    }

    fn refuse_held(&mut self, id: RequestId, (code, what): Refusal) {
        if let Some(entry) = self.remove(id) {
            self.refuse(entry.stream, &RequestError::new(code, what));
        }
    }

    /// The peer's side of a stream ended in order.
    pub(super) fn on_finished(&mut self, stream: StreamId) -> Result<(), Violation> {
        let Some(id) = self.requests.on_stream(stream) else {
            if self.nascent.remove(&stream).is_some() {
                self.reset(stream, ResetCode::Cancelled);
            }
            self.dead.remove(&stream);
            return Ok(());
        };
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        entry.receiving = false;
        if entry.reader.held() > 0 {
            return Err(Violation::protocol("a request stream ends in the middle of a message"));
        }
        let over = match &entry.kind {
            // draft-18 §6.1: FIN cancels these, and ends what they list (§10.18).
            Kind::Prefix(_) => true,
            // The publisher's last word is PUBLISH_DONE.
            Kind::Receiving(receiving) => receiving.done.is_none(),
            // A requester that has nothing to add may say so at once; a responder must answer first.
            _ => entry.is_ours() && !entry.answered,
        };
        if over {
            self.end_by_peer(id, ResetCode::Cancelled);
        }
        Ok(())
    }

    /// The peer gave up its side of a stream.
    pub(super) fn on_reset(&mut self, stream: StreamId, code: u64) {
        let Some(id) = self.requests.on_stream(stream) else {
            if self.nascent.remove(&stream).is_some() {
                self.reset(stream, ResetCode::Cancelled);
            }
            self.dead.remove(&stream);
            return;
        };
        if let Some(entry) = self.requests.get_mut(id) {
            entry.receiving = false;
            if !entry.is_over_but_for_data() {
                let code = self.config.version.reset_code_of(code);
                self.end_by_peer(id, code);
            }
        }
    }

    /// The peer wants nothing more on our side of a stream.
    pub(super) fn on_stopped(&mut self, stream: StreamId, code: u64) {
        let Some(id) = self.requests.on_stream(stream) else { return };
        let Some(entry) = self.requests.get_mut(id) else { return };
        // Of our TRACK_STATUS the sending side is finished already: nothing follows it anyway.
        if !entry.sending || entry.is_over_but_for_data() {
            return;
        }
        if entry.is_ours() && matches!(entry.kind, Kind::Receiving(_) | Kind::Fetching(_)) {
            // A publisher that wants no updates. One that gives up resets its own side, too, and only that
            // would end what it sends (draft-18 §3.3.2 wants both); so its data is not given up for this.
            entry.sending = false;
            self.reset(stream, ResetCode::Cancelled);
            return;
        }
        let code = self.config.version.reset_code_of(code);
        self.end_by_peer(id, code);
    }

    /// The peer cancelled a request (draft-18 §3.3.2).
    fn end_by_peer(&mut self, id: RequestId, code: ResetCode) {
        let told = self.requests.get(id).is_some_and(Entry::is_told);
        self.cancel(id, ResetCode::Cancelled);
        if told {
            self.event(Event::Cancelled { id, code });
        }
    }
}

const NOT_JOINABLE: Refusal =
    (RequestCode::InvalidJoiningRequestId, "there is no such subscription to join");

impl Entry {
    /// Whether only late data streams keep it: PUBLISH_DONE came.
    fn is_over_but_for_data(&self) -> bool {
        matches!(&self.kind, Kind::Receiving(receiving) if receiving.done.is_some())
    }
}

/// The namespace that a request is about.
pub(super) fn namespace_of(request: &Request) -> Option<&Namespace> {
    match request {
        Request::Subscribe { track, .. }
        | Request::Publish { track, .. }
        | Request::TrackStatus { track, .. }
        | Request::Fetch { fetch: Fetch::Standalone { track, .. }, .. } => Some(track.namespace()),
        Request::Fetch { fetch: Fetch::Joining { .. }, .. } => None,
        Request::PublishNamespace { namespace, .. } => Some(namespace),
        Request::SubscribeNamespace { prefix, .. } | Request::SubscribeTracks { prefix, .. } => {
            Some(prefix)
        }
    }
}

/// What a request of the peer is to us.
fn kind_of(request: &Request, alias: Option<u64>) -> Kind {
    let prefix =
        |prefix: &Namespace, tracks: bool| Kind::Prefix(Prefix::new(prefix.clone(), tracks));
    match request {
        Request::Subscribe { track, parameters } => {
            Kind::Publishing(Publishing::new(track.clone(), None, parameters))
        }
        Request::Publish { track, properties, .. } => {
            let mut receiving = Receiving::new(track.clone(), alias, &Parameters::default());
            receiving.set_properties(properties);
            Kind::Receiving(receiving)
        }
        Request::Fetch { .. } => Kind::Serving(Serving::new(None)),
        Request::TrackStatus { .. } => Kind::TrackStatus,
        Request::PublishNamespace { .. } => Kind::Namespace,
        Request::SubscribeNamespace { prefix: namespace, .. } => prefix(namespace, false),
        Request::SubscribeTracks { prefix: namespace, .. } => prefix(namespace, true),
    }
}
