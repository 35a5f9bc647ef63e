//! What the peer says on request streams besides requests: answers, PUBLISH_DONE, namespaces.

use std::time::Instant;

use super::Session;
use super::api::Event;
use super::requests::{Entry, Kind};
use crate::code::{RequestCode, ResetCode};
use crate::error::Violation;
use crate::filter::Filter;
use crate::limits;
use crate::message::Message;
use crate::message::namespace::{decode_blocked, decode_routed, decode_suffix};
use crate::message::publish::PublishDone;
use crate::message::response::RequestOk;
use crate::message::subscribe::SubscribeOk;
use crate::message::update::decode_notify;
use crate::name::{Namespace, TrackName};
use crate::parameters::Scope;
use crate::properties::Properties;
use crate::request::{Answer, FetchOk, RequestError, RequestId};
use crate::route::Route;
use crate::version::{Past, Requests};
use crate::wire::Body;

/// draft-18 §5.1, §5.2, §6.2: exactly one answer.
const UNASKED: Violation = Violation::protocol("an answer to nothing");
const WRONG_ANSWER: Violation = Violation::protocol("an answer of the wrong type");

impl Session {
    pub(super) fn on_response(
        &mut self,
        id: RequestId,
        message: Message,
        body: Body,
    ) -> Result<(), Violation> {
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        if !entry.is_ours() || entry.answered {
            return self.on_update_answered(id, None, message, body);
        }
        if message == Message::RequestError {
            return self.on_refused(id, body);
        }
        match (&entry.kind, message) {
            (Kind::Receiving(_), Message::SubscribeOk) => self.on_subscribe_ok(id, body),
            (Kind::Fetching(_), Message::FetchOk) => self.on_fetch_ok(id, body),
            (Kind::Receiving(_) | Kind::Fetching(_) | Kind::Serving(_), _) => Err(WRONG_ANSWER),
            (Kind::Publishing(_), Message::RequestOk | Message::PublishOk) => self.on_ok(id, body),
            (Kind::TrackStatus | Kind::Namespace | Kind::Prefix(_), Message::RequestOk) => {
                self.on_ok(id, body)
            }
            _ => Err(WRONG_ANSWER),
        }
    }

    fn on_refused(&mut self, id: RequestId, body: Body) -> Result<(), Violation> {
        let error = self.decode_error(id, body)?;
        self.finish_and_remove(id);
        self.event(Event::Answered { id, answer: Answer::Error(error) });
        Ok(())
    }

    fn decode_error(&self, id: RequestId, body: Body) -> Result<RequestError, Violation> {
        let error = RequestError::decode(self.config.version, body)?;
        if let Some(redirect) = &error.redirect {
            // draft-18 §10.6.1
            if self.role == super::Role::Server && !redirect.uri.is_empty() {
                return Err(Violation::protocol("a client redirects to another server"));
            }
            let kind = self.requests.get(id).map(|entry| &entry.kind);
            let scoped = matches!(kind, Some(Kind::Namespace | Kind::Prefix(_)));
            if scoped && !redirect.name.is_empty() {
                return Err(Violation::protocol("a namespace is redirected to a track"));
            }
        }
        Ok(error)
    }

    fn on_subscribe_ok(&mut self, id: RequestId, body: Body) -> Result<(), Violation> {
        let SubscribeOk { alias, parameters, properties } =
            SubscribeOk::decode(self.config.version, body)?;
        let Some(Kind::Receiving(receiving)) = self.requests.get(id).map(|entry| &entry.kind)
        else {
            return Ok(());
        };
        let track = receiving.track.clone();
        self.learn_alias(alias, id, &track)?;
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        entry.answered = true;
        if let Kind::Receiving(receiving) = &mut entry.kind {
            receiving.alias = Some(alias);
            receiving.set_properties(&properties);
        }
        if self.refuse_mandatory(id, &properties) {
            return Ok(());
        }
        self.event(Event::Answered { id, answer: Answer::Ok { parameters, properties } });
        self.serve_waiting(alias, id);
        Ok(())
    }

    fn on_fetch_ok(&mut self, id: RequestId, body: Body) -> Result<(), Violation> {
        let answer = FetchOk::decode(self.config.version, body)?;
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        entry.answered = true;
        if let Kind::Fetching(fetching) = &entry.kind
            && fetching.start.is_some_and(|start| answer.end < start)
        {
            // draft-18 §10.13
            return Err(Violation::protocol("a fetch ends before it begins"));
        }
        if self.refuse_mandatory(id, &answer.properties) {
            return Ok(());
        }
        self.event(Event::Answered { id, answer: Answer::FetchOk(answer) });
        self.end_if_fetched(id);
        Ok(())
    }

    /// draft-18 §2.5.1: a track that we don't understand is not taken; the owner is told so as if the
    /// peer had refused it, which is also what it tells downstream.
    fn refuse_mandatory(&mut self, id: RequestId, properties: &Properties) -> bool {
        let unknown = self.mandatory_unknown(properties);
        if let Some(kind) = unknown {
            self.cancel(id, ResetCode::Cancelled);
            let reason = format!("the track has the mandatory property {kind:#x}");
            let answer = Answer::error(RequestCode::UnsupportedExtension, reason);
            self.event(Event::Answered { id, answer });
        }
        unknown.is_some()
    }

    /// REQUEST_OK to anything but an update.
    fn on_ok(&mut self, id: RequestId, body: Body) -> Result<(), Violation> {
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        let RequestOk { parameters, properties } =
            RequestOk::decode(self.config.version, entry.ok_scope(), body)?;
        entry.answered = true;
        if let Kind::Publishing(publishing) = &mut entry.kind {
            // draft-18 §10.2.12: 1 if it is not said, whatever PUBLISH said; only in draft 21 it can't be
            // said, and stays as it is.
            if self.config.version.row().past != Past::Fill {
                publishing.forward = parameters.forward.unwrap_or(true);
            }
            publishing.at_largest = parameters.filter == Some(Filter::NextObject);
        }
        let over = matches!(entry.kind, Kind::TrackStatus);
        self.event(Event::Answered { id, answer: Answer::Ok { parameters, properties } });
        if over {
            self.finish_and_remove(id);
        } else {
            self.tell_updates(id);
            self.release_held(id);
        }
        Ok(())
    }

    /// `update`: where answers name it.
    pub(super) fn on_update_answered(
        &mut self,
        id: RequestId,
        update: Option<RequestId>,
        message: Message,
        body: Body,
    ) -> Result<(), Violation> {
        let row = self.config.version.row();
        if update.is_none() && row.requests == Requests::OnControl {
            return Err(UNASKED);
        }
        let prefix = self.requests.take_our_update(id, update).ok_or(UNASKED)?.prefix;
        let answer = match message {
            Message::RequestOk => {
                let RequestOk { parameters, properties } =
                    RequestOk::decode(self.config.version, Scope::UpdateOk, body)?;
                Answer::Ok { parameters, properties }
            }
            Message::RequestError => {
                // draft-18 §10.9.1: one error for all that are not answered.
                while row.updates_fail_together && self.requests.take_our_update(id, None).is_some()
                {
                }
                Answer::Error(self.decode_error(id, body)?)
            }
            _ => return Err(WRONG_ANSWER),
        };
        let moved = matches!(answer, Answer::Ok { .. }).then_some(prefix).flatten();
        self.event(Event::UpdateAnswered { id, answer });
        if let Some(prefix) = moved {
            self.move_prefix(id, prefix);
        }
        Ok(())
    }

    /// Our SUBSCRIBE_NAMESPACE has another prefix (draft-18 §10.9.2): what is not below it is no longer
    /// listed.
    fn move_prefix(&mut self, id: RequestId, to: Namespace) {
        let Some(Kind::Prefix(prefix)) = self.requests.get_mut(id).map(|entry| &mut entry.kind)
        else {
            return;
        };
        let gone: Vec<Namespace> =
            prefix.namespaces.iter().filter(|it| !it.starts_with(&to)).cloned().collect();
        prefix.prefix = to;
        for namespace in gone {
            prefix.forget(&namespace);
            self.outputs.push_back(super::Output::Event(Event::NamespaceDone { id, namespace }));
        }
    }

    pub(super) fn on_publish_done(
        &mut self,
        now: Instant,
        id: RequestId,
        body: Body,
    ) -> Result<(), Violation> {
        let message = PublishDone::decode(self.config.version, body)?;
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        let may = |entry: &Entry| match &entry.kind {
            // A subscription of ours is accepted first; a PUBLISH of the peer may end before our answer.
            Kind::Receiving(receiving) => {
                receiving.done.is_none() && (entry.answered || !entry.is_ours())
            }
            _ => false,
        };
        if !may(entry) {
            return Err(Violation::protocol("PUBLISH_DONE where no subscription is"));
        }
        let place = entry.place;
        if std::mem::replace(&mut entry.sending, false) {
            self.finish(id, place);
        }
        self.event(Event::Done { id, done: message.done });
        self.begin_draining(now, id, message.streams);
        Ok(())
    }

    pub(super) fn on_namespace(
        &mut self,
        id: RequestId,
        message: Message,
        body: Body,
    ) -> Result<(), Violation> {
        let routed = self.peer_node.is_some() && message == Message::Namespace;
        let (suffix, route) = match routed {
            true => decode_routed(body)?,
            false => (decode_suffix(body)?, Route::default()),
        };
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        let ours = entry.is_ours();
        let Kind::Prefix(prefix) = &mut entry.kind else { return Err(NO_NAMESPACES) };
        if !ours || prefix.tracks {
            return Err(NO_NAMESPACES);
        }
        let joined = prefix.prefix.join(&suffix);
        let namespace = joined.map_err(|_| Violation::protocol("a namespace is too long"))?;
        if message == Message::NamespaceDone {
            if !prefix.forget(&namespace) {
                // draft-18 §10.18
                return Err(Violation::protocol("NAMESPACE_DONE before NAMESPACE"));
            }
            self.event(Event::NamespaceDone { id, namespace });
        } else if prefix.remember(&namespace) {
            if prefix.bytes > limits::NAMESPACES_BYTES_MAX {
                self.cancel(id, ResetCode::ExcessiveLoad);
                self.event(Event::Cancelled { id, code: ResetCode::ExcessiveLoad });
            } else {
                self.event(Event::Namespace { id, namespace, route });
            }
        }
        Ok(())
    }

    /// PUBLISH_STATE_NOTIFY (draft-21 §9.10): by the publisher, of a subscription that stands.
    pub(super) fn on_notify(&mut self, id: RequestId, body: Body) -> Result<(), Violation> {
        let parameters = decode_notify(self.config.version, body)?;
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        let stands = entry.answered || !entry.is_ours();
        if !matches!(entry.kind, Kind::Receiving(_)) || !stands {
            return Err(Violation::protocol("PUBLISH_STATE_NOTIFY where no subscription is"));
        }
        self.event(Event::Notified { id, parameters });
        Ok(())
    }

    pub(super) fn on_publish_blocked(
        &mut self,
        id: RequestId,
        body: Body,
    ) -> Result<(), Violation> {
        let blocked = decode_blocked(body)?;
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        match &entry.kind {
            Kind::Prefix(prefix) if entry.is_ours() && prefix.tracks => {
                let namespace = prefix.prefix.join(blocked.namespace());
                let track = namespace.and_then(|it| TrackName::new(it, blocked.name().clone()));
                let track = track.map_err(|_| Violation::protocol("a track name is too long"))?;
                self.event(Event::PublishBlocked { id, track });
                Ok(())
            }
            _ => Err(Violation::protocol("PUBLISH_BLOCKED where no SUBSCRIBE_TRACKS is")),
        }
    }
}

const NO_NAMESPACES: Violation = Violation::protocol("a namespace where no SUBSCRIBE_NAMESPACE is");

impl super::requests::Prefix {
    /// Whether it is new.
    pub(super) fn remember(&mut self, namespace: &Namespace) -> bool {
        let new = self.namespaces.insert(namespace.clone());
        if new {
            self.bytes += namespace.bytes() + limits::NAMESPACE_OVERHEAD_BYTES;
        }
        new
    }

    /// Whether it was there.
    pub(super) fn forget(&mut self, namespace: &Namespace) -> bool {
        let known = self.namespaces.remove(namespace);
        if known {
            self.bytes -= namespace.bytes() + limits::NAMESPACE_OVERHEAD_BYTES;
        }
        known
    }
}
