//! What the owner wants.

use std::time::Instant;

use bytes::Bytes;

use super::api::{Command, Event, Output, StreamId};
use super::filters::{order_fill, subscribing};
use super::requests::{Entry, Fetching, Kind, OurUpdate, Place, Prefix, Publishing, Receiving};
use super::{Phase, Session};
use crate::code::ResetCode;
use crate::filter::Filter;
use crate::location::Location;
use crate::message::Message;
use crate::message::first::{First, scope_of};
use crate::message::namespace::{encode_blocked, encode_routed, encode_suffix};
use crate::message::publish::PublishDone;
use crate::message::response::RequestOk;
use crate::message::subscribe::SubscribeOk;
use crate::message::update::{Update, encode_notify};
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{
    Answer, Done, Fetch, FetchOk, JoiningStart, Request, RequestError, RequestId,
};
use crate::route::Route;
use crate::version::{Past, Requests};

const TOO_LONG: &str = "a message of more than 65,535 bytes";
const TOO_MANY_WAIT: &str = "the peer allows no more requests, and too many wait";
const OUT_OF_SCOPE: &str = "a parameter where it can't be";

impl Session {
    pub(super) fn on_command(
        &mut self,
        now: Instant,
        command: Command,
    ) -> Result<(), &'static str> {
        match command {
            Command::Request(request) => self.ask(request).map(drop),
            Command::Answer { id, answer } => self.answer(id, answer),
            Command::Update { id, parameters } => self.update(id, parameters),
            Command::AnswerUpdate { id, answer } => self.answer_update(id, answer),
            Command::Cancel { id, code } => {
                self.cancel_by_owner(id, code);
                Ok(())
            }
            Command::DataClosed { id } => {
                self.our_data_closed(id);
                Ok(())
            }
            Command::DataUnopened { id } => {
                self.our_data_unopened(id);
                Ok(())
            }
            Command::Done { id, done } => self.done(id, done),
            Command::Namespace { id, namespace, route } => {
                self.tell_namespace(id, &namespace, Some(&route))
            }
            Command::NamespaceDone { id, namespace } => self.tell_namespace(id, &namespace, None),
            Command::PublishBlocked { id, track } => self.tell_blocked(id, &track),
            Command::Notify { id, parameters } => self.notify(id, &parameters),
            Command::GoAway { request, uri, timeout } => {
                self.say_goaway(now, request, uri, timeout)
            }
            Command::Close { code, reason } => {
                self.close(code, reason);
                Ok(())
            }
        }
    }

    pub(super) fn ask(&mut self, mut request: Request) -> Result<RequestId, &'static str> {
        if self.phase == Phase::Closed {
            return Err("the session is closed");
        }
        if self.goaways.received {
            // draft-18 §10.4
            return Err("the peer is going away: no new request");
        }
        if self.allowance.is_full() {
            return Err(TOO_MANY_WAIT);
        }
        self.check_parameters(request.parameters(), scope_of(&request))?;
        if !self.config.version.row().empty_namespace && request.names_nothing() {
            return Err("a namespace without a field, which this draft has not");
        }
        let alias = matches!(request, Request::Publish { .. }).then_some(self.next_alias);
        let kind = self.kind_of_ours(&request, alias)?;
        let id = RequestId(self.next_id);
        let fill = subscribing(&mut request).and_then(order_fill);
        let first = First { id, request, alias };
        let bytes = first.encode(self.config.version).map_err(|_| TOO_LONG)?;
        self.next_alias += u64::from(alias.is_some());
        self.next_id += 2;
        let (place, mut outputs) = self.place_of_ours(&kind, bytes);
        let mut entry = Entry::new(self.config.version, place, true, kind);
        if let Kind::Prefix(prefix) = &mut entry.kind
            && self.config.version.fills()
        {
            prefix.fill = fill;
            self.fills_offered |= fill.is_some();
        }
        if let (Kind::TrackStatus, Place::Stream(stream)) = (&entry.kind, place) {
            // draft-18 §10.14: the first and only message.
            entry.sending = false;
            outputs.push(Output::Finish(stream));
        }
        self.put_request(id, outputs);
        self.requests.insert(id, entry);
        if let Some(order) = fill {
            self.await_fill(id, id, order);
        }
        Ok(id)
    }

    /// Where a request of ours goes, and how it gets there.
    fn place_of_ours(&mut self, kind: &Kind, bytes: Bytes) -> (Place, Vec<Output>) {
        let shared = self.config.version.row().requests == Requests::OnControl;
        if shared && !matches!(kind, Kind::Prefix(_)) {
            return (Place::Control, vec![Output::Control(bytes)]);
        }
        let stream = StreamId::Ours(self.next_stream);
        self.next_stream += 1;
        (Place::Stream(stream), vec![Output::Open(stream), Output::Send { stream, bytes }])
    }

    /// What a request of ours is to us, if it may be made.
    fn kind_of_ours(&self, request: &Request, alias: Option<u64>) -> Result<Kind, &'static str> {
        Ok(match request {
            // draft-18 §5.1
            Request::Subscribe { track, .. }
                if self.requests.receiving(track).is_some()
                    || self.requests.offered(track).is_some() =>
            {
                return Err("a second subscription to a track");
            }
            Request::Publish { track, .. } if self.requests.publishing(track).is_some() => {
                return Err("a second publication of a track");
            }
            Request::Subscribe { track, parameters } => {
                Kind::Receiving(Receiving::new(track.clone(), None, parameters))
            }
            Request::Publish { track, parameters, .. } => {
                let mut publishing = Publishing::new(track.clone(), alias, parameters);
                publishing.joining = parameters.largest;
                Kind::Publishing(publishing)
            }
            Request::Fetch { fetch, parameters } => Kind::Fetching(Fetching {
                order: parameters.group_order.unwrap_or_default(),
                start: self.start_of(fetch)?,
                arrived: false,
                closed: false,
            }),
            Request::TrackStatus { .. } => Kind::TrackStatus,
            Request::PublishNamespace { .. } => Kind::Namespace,
            Request::SubscribeNamespace { tracks: true, .. }
                if !self.config.version.row().namespace_options =>
            {
                return Err("a request for namespaces and tracks, which are two in this draft");
            }
            Request::SubscribeNamespace { prefix, .. } => {
                Kind::Prefix(Prefix::new(prefix.clone(), false))
            }
            Request::SubscribeTracks { prefix, .. } => {
                Kind::Prefix(Prefix::new(prefix.clone(), true))
            }
        })
    }

    fn start_of(&self, fetch: &Fetch) -> Result<Option<Location>, &'static str> {
        let fills = self.config.version.row().past == Past::Fill;
        match fetch {
            Fetch::Joining { .. } if fills => Err("a joining fetch, which this draft has not"),
            Fetch::Filtered { .. } if !fills => {
                Err("a fetch by a filter, which this draft has not")
            }
            Fetch::Filtered { filter: Filter::From(start), .. } => Ok(Some(*start)),
            Fetch::Filtered { .. } => Ok(None),
            Fetch::Standalone { range, .. } if range.is_backward() => {
                Err("a fetch that ends before it begins")
            }
            Fetch::Standalone { range, .. } => Ok(Some(range.start)),
            Fetch::Joining { subscription, start } => {
                let entry = self.requests.get(*subscription);
                if !entry.is_some_and(|entry| matches!(entry.kind, Kind::Receiving(_))) {
                    return Err("a joining fetch without its subscription");
                }
                Ok(match start {
                    JoiningStart::Relative(_) => None,
                    JoiningStart::Absolute(group) => Some(Location::new(*group, 0)),
                })
            }
        }
    }

    fn answer(&mut self, id: RequestId, answer: Answer) -> Result<(), &'static str> {
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        if entry.is_ours() || entry.answered || !entry.is_told() {
            return Err("an answer to a request that wants none");
        }
        if !entry.sending {
            // PUBLISH_DONE came before the answer, which nobody waits for any more.
            if let Some(entry) = self.requests.get_mut(id) {
                entry.answered = true;
            }
            return Ok(());
        }
        match (&entry.kind, answer) {
            (_, Answer::Error(error)) => {
                let place = entry.place;
                self.remove(id);
                self.refuse(id, place, &error);
                Ok(())
            }
            (Kind::Serving(_), Answer::FetchOk(ok)) => self.accept_fetch(id, ok),
            (Kind::Serving(_), _) | (_, Answer::FetchOk(_)) => {
                Err("FETCH_OK answers FETCH, and nothing else does")
            }
            (Kind::Publishing(_), Answer::Ok { parameters, properties }) => {
                self.accept_subscribe(id, parameters, properties)
            }
            (Kind::Receiving(_), Answer::Ok { parameters, properties }) => {
                self.accept_publish(id, parameters, properties)
            }
            (_, Answer::Ok { parameters, properties }) => self.accept(id, parameters, properties),
        }
    }

    fn accept_subscribe(
        &mut self,
        id: RequestId,
        parameters: Parameters,
        properties: Properties,
    ) -> Result<(), &'static str> {
        let version = self.config.version;
        if parameters.out_of_scope(version, Scope::SubscribeOk).is_some() {
            return Err(OUT_OF_SCOPE);
        }
        let largest = parameters.largest;
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        let properties = entry.wanted(properties);
        let ok = SubscribeOk { alias: self.next_alias, parameters, properties };
        let bytes = ok.encode(version, id).map_err(|_| TOO_LONG)?;
        self.next_alias += 1;
        entry.answered = true;
        if let Kind::Publishing(publishing) = &mut entry.kind {
            publishing.alias = Some(ok.alias);
            publishing.joining = largest;
        }
        let place = entry.place;
        self.send(id, place, bytes);
        self.tell_updates(id);
        self.release_held(id);
        Ok(())
    }

    fn accept_publish(
        &mut self,
        id: RequestId,
        parameters: Parameters,
        properties: Properties,
    ) -> Result<(), &'static str> {
        let Some(Kind::Receiving(receiving)) = self.requests.get(id).map(|entry| &entry.kind)
        else {
            return Ok(());
        };
        if parameters.new_group.is_some() && !receiving.dynamic_groups {
            return Err(NOT_DYNAMIC);
        }
        let track = receiving.track.clone();
        self.check_ok(id, &parameters, &properties)?;
        // draft-18 §5.1: a SUBSCRIBE of ours that crossed the PUBLISH is given up first.
        if let Some(rival) = self.requests.receiving(&track) {
            self.cancel(rival, ResetCode::Cancelled);
            self.event(Event::Cancelled { id: rival, code: ResetCode::Cancelled });
        }
        self.requests.accept_offered(&track, id);
        if let Some(Kind::Receiving(receiving)) =
            self.requests.get_mut(id).map(|entry| &mut entry.kind)
        {
            receiving.set_parameters(&parameters);
        }
        self.accept(id, parameters, properties)
    }

    /// REQUEST_OK.
    fn accept(
        &mut self,
        id: RequestId,
        parameters: Parameters,
        properties: Properties,
    ) -> Result<(), &'static str> {
        self.check_ok(id, &parameters, &properties)?;
        let version = self.config.version;
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        let ok = RequestOk { parameters, properties: entry.wanted(properties) };
        let message = match entry.kind {
            Kind::Receiving(_) => version.row().publish_ok,
            _ => Message::RequestOk,
        };
        let bytes = ok.encode(version, message, id).map_err(|_| TOO_LONG)?;
        entry.answered = true;
        let place = entry.place;
        let over = matches!(entry.kind, Kind::TrackStatus);
        self.send(id, place, bytes);
        if over {
            // draft-18 §10.14
            self.finish_and_remove(id);
        } else {
            self.tell_updates(id);
        }
        Ok(())
    }

    fn check_ok(
        &self,
        id: RequestId,
        parameters: &Parameters,
        properties: &Properties,
    ) -> Result<(), &'static str> {
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        if parameters.out_of_scope(self.config.version, entry.ok_scope()).is_some() {
            return Err(OUT_OF_SCOPE);
        }
        // draft-18 §10.5
        if !properties.is_empty() && !matches!(entry.kind, Kind::TrackStatus) {
            return Err("track properties in an answer that has none");
        }
        Ok(())
    }

    fn accept_fetch(&mut self, id: RequestId, mut ok: FetchOk) -> Result<(), &'static str> {
        let version = self.config.version;
        if ok.parameters.out_of_scope(version, Scope::FetchOk).is_some() {
            return Err(OUT_OF_SCOPE);
        }
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        ok.properties = entry.wanted(ok.properties);
        let bytes = ok.encode(version, id).map_err(|_| TOO_LONG)?;
        entry.answered = true;
        let place = entry.place;
        self.send(id, place, bytes);
        self.tell_updates(id);
        self.end_if_served(id);
        Ok(())
    }

    fn update(&mut self, id: RequestId, mut parameters: Parameters) -> Result<(), &'static str> {
        let version = self.config.version;
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        // draft-18 §10.9: by who made it, and by the subscriber of an accepted PUBLISH.
        let may = entry.is_ours() || (matches!(entry.kind, Kind::Receiving(_)) && entry.answered);
        let Some(scope) = entry.update_scope().filter(|_| may) else {
            return Err("an update of a request that we may not change");
        };
        self.check_parameters(&parameters, scope)?;
        if let Kind::Receiving(receiving) = &entry.kind
            && parameters.new_group.is_some()
            && !receiving.dynamic_groups
        {
            return Err(NOT_DYNAMIC);
        }
        if !entry.sending {
            return Ok(());
        }
        if self.allowance.is_full() {
            return Err(TOO_MANY_WAIT);
        }
        // draft-21 §9.1.7
        let waiting = entry.our_updates.len() as u64;
        if self.peer_updates_max > 0 && waiting >= self.peer_updates_max {
            return Err("the peer takes no more updates before it has answered some");
        }
        let place = entry.place;
        let fill = order_fill(&mut parameters);
        let prefix = parameters.namespace_prefix.clone();
        if let Some(Kind::Receiving(receiving)) =
            self.requests.get_mut(id).map(|entry| &mut entry.kind)
        {
            receiving.set_parameters(&parameters);
        }
        let update = Update { id: RequestId(self.next_id), parameters };
        let bytes = update.encode(version, id).map_err(|_| TOO_LONG)?;
        self.next_id += 2;
        let output = match place {
            Place::Stream(stream) => Output::Send { stream, bytes },
            Place::Control => Output::Control(bytes),
        };
        self.put_request(update.id, vec![output]);
        self.requests.await_update(id, OurUpdate { id: update.id, prefix });
        if let Some(order) = fill {
            self.await_fill(id, update.id, order);
        }
        Ok(())
    }

    fn done(&mut self, id: RequestId, done: Done) -> Result<(), &'static str> {
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        let may = entry.is_ours() || entry.answered;
        match &mut entry.kind {
            Kind::Publishing(publishing) if may => {
                publishing.done.get_or_insert(done);
                self.finish_if_done(id);
                Ok(())
            }
            _ => Err("PUBLISH_DONE where we publish to nobody"),
        }
    }

    fn our_data_unopened(&mut self, id: RequestId) {
        if let Some(Kind::Publishing(publishing)) =
            self.requests.get_mut(id).map(|entry| &mut entry.kind)
        {
            publishing.streams = publishing.streams.saturating_sub(1);
        }
        self.our_data_closed(id);
    }

    fn our_data_closed(&mut self, id: RequestId) {
        match self.requests.get_mut(id).map(|entry| &mut entry.kind) {
            Some(Kind::Publishing(publishing)) => {
                publishing.streams_open = publishing.streams_open.saturating_sub(1);
                self.finish_if_done(id);
            }
            Some(Kind::Serving(serving)) => {
                serving.streams_open = 0;
                self.end_if_served(id);
            }
            _ => {}
        }
    }

    /// PUBLISH_DONE, once all streams are closed (draft-18 §10.11).
    pub(super) fn finish_if_done(&mut self, id: RequestId) {
        let Some(entry) = self.requests.get_mut(id) else { return };
        let place = entry.place;
        let Kind::Publishing(publishing) = &mut entry.kind else { return };
        if publishing.streams_open > 0 {
            return;
        }
        let Some(done) = publishing.done.take() else { return };
        let message = PublishDone { done, streams: Some(publishing.streams) };
        // A reason of at most 1,024 bytes always fits.
        if let Ok(bytes) = message.encode(self.config.version, id) {
            self.send(id, place, bytes);
        }
        self.finish_and_remove(id);
    }

    /// A fetch is over with its answer and its data stream.
    fn end_if_served(&mut self, id: RequestId) {
        let over = |entry: &Entry| match &entry.kind {
            Kind::Serving(serving) => {
                entry.answered && serving.streams > 0 && serving.streams_open == 0
            }
            _ => false,
        };
        if self.requests.get(id).is_some_and(over) {
            self.finish_and_remove(id);
        }
    }

    fn tell_namespace(
        &mut self,
        id: RequestId,
        namespace: &Namespace,
        here: Option<&Route>,
    ) -> Result<(), &'static str> {
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        let (place, may) = (entry.place, !entry.is_ours() && entry.answered);
        let prefix = match &mut entry.kind {
            Kind::Prefix(prefix) if may && !prefix.tracks => prefix,
            _ => return Err("a namespace where nobody asked for them"),
        };
        // A peer that moved its prefix meanwhile does not want it any more.
        let Some(suffix) = namespace.suffix(&prefix.prefix) else {
            prefix.forget(namespace);
            return Ok(());
        };
        // draft-18 §10.18: no NAMESPACE_DONE before its NAMESPACE.
        let news = match here {
            Some(_) => prefix.remember(namespace),
            None => prefix.forget(namespace),
        };
        if news {
            let version = self.config.version;
            let bytes = match here {
                Some(route) if self.peer_node.is_some() => encode_routed(version, &suffix, route),
                here => encode_suffix(version, here.is_none(), &suffix),
            };
            self.send(id, place, bytes.map_err(|_| TOO_LONG)?);
        }
        Ok(())
    }

    fn notify(&mut self, id: RequestId, parameters: &Parameters) -> Result<(), &'static str> {
        let version = self.config.version;
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        if !matches!(entry.kind, Kind::Publishing(_)) || !(entry.answered || entry.is_ours()) {
            return Err("PUBLISH_STATE_NOTIFY where we publish to nobody");
        }
        if !parameters.fits(version, Scope::StateNotify) {
            return Err(OUT_OF_SCOPE);
        }
        let place = entry.place;
        // A draft that can't say it leaves it unsaid.
        if let Ok(bytes) = encode_notify(version, parameters)
            && entry.sending
        {
            self.send(id, place, bytes);
        }
        Ok(())
    }

    fn tell_blocked(&mut self, id: RequestId, track: &TrackName) -> Result<(), &'static str> {
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        let prefix = match &entry.kind {
            Kind::Prefix(prefix) if !entry.is_ours() && entry.answered && prefix.tracks => prefix,
            _ => return Err("PUBLISH_BLOCKED where nobody asked for tracks"),
        };
        let Some(suffix) = track.namespace().suffix(&prefix.prefix) else { return Ok(()) };
        // A part of a name is a name.
        if let Ok(track) = TrackName::new(suffix, track.name().clone()) {
            let place = entry.place;
            // A draft that can't say it leaves it unsaid.
            if let Ok(bytes) = encode_blocked(self.config.version, &track) {
                self.send(id, place, bytes);
            }
        }
        Ok(())
    }

    /// A subscription that is ended by words ends behind its data (draft-16 §9.15).
    fn cancel_by_owner(&mut self, id: RequestId, code: ResetCode) {
        if let Some(entry) = self.requests.get_mut(id)
            && entry.place == Place::Control
            && let Kind::Publishing(publishing) = &mut entry.kind
            && publishing.streams_open > 0
        {
            let done = Done { code: code.into(), reason: String::new() };
            publishing.done.get_or_insert(done);
            return;
        }
        self.cancel(id, code);
    }

    /// Ends a request by force, with all of its streams that are ours to stop (draft-18 §3.3.2), or with
    /// the message that says so (draft-16 §5.1, §5.2, §6.2).
    pub(super) fn cancel(&mut self, id: RequestId, code: ResetCode) {
        let Some(entry) = self.remove(id) else { return };
        let wire = self.config.version.reset_code(code);
        match entry.place {
            Place::Stream(stream) => {
                if entry.sending {
                    self.put(id, Output::Reset { stream, code: wire });
                }
                if entry.receiving {
                    self.put(id, Output::Stop { stream, code: wire });
                }
            }
            Place::Control => {
                if let Some(bytes) = self.end_message(id, &entry, code) {
                    self.put(id, Output::Control(bytes));
                }
            }
        }
    }

    /// Ends a request whose last word we have said.
    pub(super) fn finish_and_remove(&mut self, id: RequestId) {
        if let Some(entry) = self.remove(id)
            && entry.sending
        {
            self.finish(id, entry.place);
        }
    }

    /// Forgets a request, and what hangs on it.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<Entry> {
        let mut entry = self.requests.remove(id)?;
        if entry.receiving {
            self.bury_place(entry.place);
        }
        self.refuse_all_held(&mut entry);
        self.drop_data(id, &entry, ResetCode::Cancelled);
        Some(entry)
    }

    pub(super) fn bury_place(&mut self, place: Place) {
        if let Place::Stream(stream) = place {
            self.bury(stream);
        }
    }

    /// What still comes on a stream of the peer is of no interest.
    pub(super) fn bury(&mut self, stream: StreamId) {
        if matches!(stream, StreamId::Peers(_)) {
            self.dead.insert(stream);
        }
    }

    /// REQUEST_ERROR, and nothing after it (draft-18 §3.3.2).
    pub(super) fn refuse(&mut self, id: RequestId, place: Place, error: &RequestError) {
        self.say_error(id, place, error);
        self.finish(id, place);
    }

    pub(super) fn say_error(&mut self, id: RequestId, place: Place, error: &RequestError) {
        let version = self.config.version;
        // Only a redirect can be too long; then the rest of it is said.
        let bytes = error
            .encode(version, id)
            .or_else(|_| RequestError { redirect: None, ..error.clone() }.encode(version, id));
        if let Ok(bytes) = bytes {
            self.send(id, place, bytes);
        }
    }
}

const NOT_DYNAMIC: &str = "NEW_GROUP_REQUEST for a track that has no dynamic groups";
