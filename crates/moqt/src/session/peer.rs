//! Request streams as the peer uses them: their bytes, their ends, and the requests that it makes.

use std::time::Instant;

use super::Session;
use super::api::{Event, StreamId};
use super::requests::{
    Entry, Joining, Kind, Place, Prefix, Publishing, Receiving, Refusal, Serving,
};
use super::tokens::TokenFault;
use crate::code::{RequestCode, ResetCode};
use crate::error::Violation;
use crate::filter::Filter;
use crate::limits;
use crate::location::{Location, Range};
use crate::message::first::First;
use crate::message::response::check_about;
use crate::message::update::Update;
use crate::message::{Message, MessageReader};
use crate::name::{Namespace, TrackName};
use crate::parameters::Parameters;
use crate::properties::Properties;
use crate::request::{Fetch, Request, RequestError, RequestId};
use crate::token::AuthToken;
use crate::version::{Past, Requests};
use crate::wire::Body;

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
        let version = self.config.version;
        let reader = self.nascent.entry(stream).or_insert_with(|| MessageReader::new(version));
        reader.push(bytes);
        if let Some((message, body)) = reader.next() {
            if version.row().requests == Requests::OnControl
                && message != Message::SubscribeNamespace
            {
                // draft-16 §3.3
                return Err(Violation::protocol("a stream begins with what has none of its own"));
            }
            let reader = self.nascent.remove(&stream).unwrap_or(MessageReader::new(version));
            return self.on_first(now, Place::Stream(stream), reader, message, body);
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
        while let Some((message, body)) = self.requests.next_message(id) {
            self.on_message(now, id, message, body)?;
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
        message: Message,
        mut body: Body,
    ) -> Result<(), Violation> {
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        let waits_for_ok = entry.is_ours() && !entry.answered;
        if matches!(entry.kind, Kind::Prefix(_))
            && waits_for_ok
            && !matches!(message, Message::RequestOk | Message::RequestError)
        {
            // draft-18 §10.18, §10.19
            return Err(Violation::protocol(
                "a namespace subscription is answered by something else",
            ));
        }
        match message {
            Message::RequestOk
            | Message::PublishOk
            | Message::RequestError
            | Message::SubscribeOk
            | Message::FetchOk => {
                let update = check_about(self.config.version, id, &mut body)?;
                match update {
                    Some(update) if self.requests.of_update(update) == Some(id) => {
                        self.on_update_answered(id, Some(update), message, body)
                    }
                    Some(_) => Err(Violation::protocol("an answer to another request")),
                    None => self.on_response(id, message, body),
                }
            }
            Message::RequestUpdate => {
                let (update, existing) = Update::ids(self.config.version, &mut body)?;
                if existing.is_some_and(|existing| existing != id) {
                    return Err(Violation::protocol("an update of another request"));
                }
                let place = entry.place;
                self.take_id(update, place)?;
                self.on_update(id, update, body)
            }
            Message::GoAway => self.on_request_goaway(id, body),
            Message::PublishDone => self.on_publish_done(now, id, body),
            Message::Namespace | Message::NamespaceDone => self.on_namespace(id, message, body),
            Message::PublishBlocked => self.on_publish_blocked(id, body),
            Message::PublishStateNotify => self.on_notify(id, body),
            Message::Subscribe
            | Message::Publish
            | Message::Fetch
            | Message::TrackStatus
            | Message::PublishNamespace
            | Message::SubscribeNamespace
            | Message::SubscribeTracks
            | Message::Setup => {
                Err(Violation::protocol("a message where a request is open already"))
            }
            // draft-18 §10
            _ => Err(Violation::protocol("a message of an unknown type")),
        }
    }

    /// The peer's stream began with this (draft-18 §3.3), or it came on the control stream.
    pub(super) fn on_first(
        &mut self,
        now: Instant,
        place: Place,
        reader: MessageReader,
        message: Message,
        body: Body,
    ) -> Result<(), Violation> {
        let bytes = body.len();
        let first = First::decode(self.config.version, message, body)?;
        self.take_id(first.id, place)?;
        let (id, alias) = (first.id, first.alias);
        let tokens = match self.tokens.resolve(&first.request.parameters().tokens) {
            Ok(tokens) => Ok(tokens),
            Err(TokenFault::Session(violation)) => return Err(violation),
            Err(TokenFault::Request(code, what)) => Err((code, what)),
        };
        let begun = match tokens.and_then(|tokens| self.admit(&first.request).map(|()| tokens)) {
            Ok(tokens) => self.begin(place, first, tokens, bytes)?,
            Err(refusal) => Err(refusal),
        };
        match begun {
            Ok(()) => {
                self.requests.set_reader(id, reader);
                self.read_request(now, id)
            }
            Err((code, what)) => {
                self.bury_place(place);
                self.refuse(id, place, &RequestError::new(code, what));
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
        self.admit_filters(request.parameters())?;
        // draft-18 §5.1; from draft 20 on there may be several (draft-21 §3.1), each with an alias of its own.
        let one = self.config.version.row().one_subscription;
        match request {
            Request::Subscribe { track, .. }
                if one && self.requests.publishing(track).is_some() =>
            {
                Err((RequestCode::DuplicateSubscription, "the track is subscribed to already"))
            }
            Request::Publish { track, properties, .. } => {
                let rival = self.requests.receiving(track).and_then(|id| self.requests.get(id));
                if rival.is_some_and(|entry| entry.answered)
                    || self.requests.offered(track).is_some()
                {
                    let what = "the track is published already";
                    let code = match one {
                        true => RequestCode::DuplicateSubscription,
                        false => RequestCode::Uninterested,
                    };
                    return Err((code, what));
                }
                // draft-18 §2.5.1
                match self.mandatory_unknown(properties) {
                    None => Ok(()),
                    Some(_) => Err((RequestCode::UnsupportedExtension, "a mandatory property")),
                }
            }
            // draft-16 §9.9
            Request::Subscribe { parameters, .. }
                if parameters.filter.is_some_and(Filter::is_backward) =>
            {
                Err((RequestCode::InvalidRange, "the filter ends before it begins"))
            }
            // draft-18 §10.12.3
            Request::Fetch { fetch: Fetch::Standalone { range, .. }, .. }
                if range.is_backward() =>
            {
                Err((RequestCode::InvalidRange, "the range ends before it begins"))
            }
            // draft-18 §10.18, §10.19
            Request::SubscribeNamespace { prefix, .. }
                if self.requests.overlaps(self.prefix_space(false), prefix, None) =>
            {
                Err((RequestCode::PrefixOverlap, "the prefix overlaps with another one"))
            }
            Request::SubscribeTracks { prefix, .. }
                if self.requests.overlaps(self.prefix_space(true), prefix, None) =>
            {
                Err((RequestCode::PrefixOverlap, "the prefix overlaps with another one"))
            }
            _ => Ok(()),
        }
    }

    /// Among which prefixes one must not overlap: draft-18 §10.18, §10.19; draft-16 §9.25.
    pub(super) fn prefix_space(&self, tracks: bool) -> Option<bool> {
        (!self.config.version.row().one_prefix_space).then_some(tracks)
    }

    /// A track property that we would have to understand (draft-18 §2.5.1).
    pub(super) fn mandatory_unknown(&self, properties: &Properties) -> Option<u64> {
        let row = self.config.version.row();
        let unknown = || properties.mandatory_unknown(&self.config.mandatory_properties);
        row.mandatory_properties.then(unknown).flatten()
    }

    /// Opens a request of the peer, and tells the owner.
    fn begin(
        &mut self,
        place: Place,
        first: First,
        tokens: Vec<AuthToken>,
        bytes: usize,
    ) -> Result<Result<(), Refusal>, Violation> {
        let First { id, request, alias } = first;
        if let Request::Fetch { fetch: Fetch::Joining { subscription, start }, parameters } =
            request
        {
            let joining = Joining { bytes, subscription, start, parameters, tokens };
            return self.begin_joining(place, id, joining);
        }
        if let (Request::Publish { track, .. }, Some(alias)) = (&request, alias) {
            self.learn_alias(alias, id, track)?;
        }
        let offered = match &request {
            Request::Publish { track, .. } => Some(track.clone()),
            _ => None,
        };
        let kind = kind_of(&request, alias);
        let mut entry = Entry::new(self.config.version, place, false, kind);
        entry.bare = request.parameters().include_properties == Some(false);
        self.requests.insert(id, entry);
        self.event(Event::Request { id, request, tokens });
        if let Some(alias) = alias {
            self.serve_waiting(alias, id);
        }
        if let Some(track) = offered {
            self.await_offered_fill(id, &track);
        }
        Ok(Ok(()))
    }

    /// A joining fetch waits until its subscription is established and has no update without an answer
    /// (draft-18 §10.12.2).
    fn begin_joining(
        &mut self,
        place: Place,
        id: RequestId,
        joining: Joining,
    ) -> Result<Result<(), Refusal>, Violation> {
        let version = self.config.version;
        let subscription = joining.subscription;
        if !self.requests.has_room_for(joining.bytes) {
            return Ok(Err((RequestCode::ExcessiveLoad, "too much that waits")));
        }
        let Some(entry) = self.requests.get_mut(subscription) else {
            return Ok(Err(NOT_JOINABLE));
        };
        let (ours, answered) = (entry.is_ours(), entry.answered);
        let Kind::Publishing(publishing) = &mut entry.kind else {
            return Ok(Err(NOT_JOINABLE));
        };
        // draft-18 §10.12.2: Established, or Pending by the subscriber.
        if publishing.done.is_some() || (ours && !answered) {
            return Ok(Err(NOT_JOINABLE));
        }
        if version.row().past == Past::JoinAtLargest && !publishing.at_largest {
            // draft-16 §9.16.2
            let what =
                "a joining fetch of a subscription that does not begin at the largest object";
            return Err(Violation::protocol(what));
        }
        publishing.held.push(id);
        let kind = Kind::Serving(Serving::new(Some(joining)));
        self.requests.insert(id, Entry::new(version, place, false, kind));
        self.release_held(subscription);
        Ok(Ok(()))
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
        // draft-18 §10.12.2; in draft 16 a paused subscription can be joined.
        let any = self.config.version.row().past == Past::JoinAtLargest;
        let (forward, location) = (publishing.forward || any, publishing.joining);
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
            self.refuse(id, entry.place, &RequestError::new(code, what));
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
            // draft-18 §6.1: FIN cancels these; and that of the publisher ends what they list (§10.18).
            Kind::Prefix(_) => entry.is_ours() || self.config.version.row().fin_gives_up,
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

    /// The peer cancelled a request (draft-18 §3.3.2, draft-16 §5.1).
    pub(super) fn end_by_peer(&mut self, id: RequestId, code: ResetCode) {
        let Some(entry) = self.requests.get(id) else { return };
        let told = entry.is_told();
        match entry.place {
            Place::Stream(_) => self.cancel(id, ResetCode::Cancelled),
            Place::Control => drop(self.remove(id)),
        }
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
        | Request::TrackStatus { track, .. } => Some(track.namespace()),
        Request::Fetch { fetch, .. } => fetch.track().map(TrackName::namespace),
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
