//! REQUEST_UPDATE of the peer (draft-18 §10.9): told one after the other, answered in that order.

use super::Session;
use super::api::{Event, Output};
use super::requests::{Entry, Kind, PeerUpdate, Place};
use super::tokens::TokenFault;
use crate::code::{DoneCode, RequestCode, ResetCode, SessionCode};
use crate::error::Violation;
use crate::filter::Filter;
use crate::message::Message;
use crate::message::response::RequestOk;
use crate::message::update::Update;
use crate::parameters::{Parameters, Scope};
use crate::request::{Answer, Done, RequestError, RequestId};
use crate::version::Past;
use crate::wire::Body;

impl Session {
    /// `update_id` is the update's own, and taken.
    pub(super) fn on_update(
        &mut self,
        id: RequestId,
        update_id: RequestId,
        body: Body,
    ) -> Result<(), Violation> {
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        // By who made the request, and by the subscriber of our PUBLISH.
        let may = !entry.is_ours() || matches!(entry.kind, Kind::Publishing(_));
        let Some(scope) = entry.update_scope().filter(|_| may) else {
            return Err(Violation::protocol("an update of a request that the peer may not change"));
        };
        let bytes = body.len();
        let update = Update::decode(self.config.version, scope, update_id, body)?;
        let of_publisher = !entry.is_ours() && matches!(entry.kind, Kind::Receiving(_));
        if of_publisher && !update.parameters.range_filters.is_empty() {
            // draft-21 §3.3.2
            return Err(Violation::protocol("a publisher filters what it publishes"));
        }
        let tokens = match self.tokens.resolve(&update.parameters.tokens) {
            Ok(tokens) => tokens,
            Err(TokenFault::Session(violation)) => return Err(violation),
            Err(TokenFault::Request(code, what)) => {
                self.refuse_update(id, update_id, code, what);
                return Ok(());
            }
        };
        if let (Kind::Prefix(own), Some(prefix)) =
            (&entry.kind, &update.parameters.namespace_prefix)
        {
            // draft-18 §10.2.14
            if self.requests.overlaps(self.prefix_space(own.tracks), prefix, Some(id)) {
                let what = "the prefix overlaps with another one";
                self.refuse_update(id, update_id, RequestCode::PrefixOverlap, what);
                return Ok(());
            }
            if prefix.is_nowhere() {
                let code = RequestCode::DoesNotExist;
                self.refuse_update(id, update_id, code, "nothing is there");
                return Ok(());
            }
        }
        if let Err((code, what)) = self.admit_filters(&update.parameters) {
            self.refuse_update(id, update_id, code, what);
            return Ok(());
        }
        if update.parameters.filter.is_some_and(Filter::is_backward) {
            let what = "the filter ends before it begins";
            self.refuse_update(id, update_id, RequestCode::InvalidRange, what);
            return Ok(());
        }
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        let many = entry.updates.len() >= self.config.request_updates;
        if many && self.config.version.row().limits_in_setup {
            // draft-21 §9.1.7
            let what = "more updates without an answer than MAX_REQUEST_UPDATES";
            return Err(Violation::new(SessionCode::TooManyRequestUpdates, what));
        }
        if many || !self.requests.has_room_for(bytes) {
            self.refuse_update(
                id,
                update_id,
                RequestCode::ExcessiveLoad,
                "too many updates without an answer",
            );
            return Ok(());
        }
        if matches!(&entry.kind, Kind::Publishing(publishing) if publishing.done.is_some()) {
            // PUBLISH_DONE is on its way.
            return Ok(());
        }
        let Update { id: update_id, parameters } = update;
        let update = PeerUpdate { id: update_id, bytes, parameters, tokens };
        self.requests.hold_update(id, update);
        self.tell_updates(id);
        Ok(())
    }

    /// Tells the updates that the owner may know by now: after the request's own answer.
    pub(super) fn tell_updates(&mut self, id: RequestId) {
        let Some(entry) = self.requests.get_mut(id).filter(|entry| entry.answered) else { return };
        let untold = entry.updates_told;
        entry.updates_told = entry.updates.len();
        let events: Vec<Event> = entry
            .updates
            .iter()
            .skip(untold)
            .map(|PeerUpdate { id: update, parameters, tokens, .. }| Event::Update {
                id,
                update: *update,
                parameters: parameters.clone(),
                tokens: tokens.clone(),
            })
            .collect();
        self.outputs.extend(events.into_iter().map(Output::Event));
    }

    /// The owner's answer to the oldest update.
    pub(super) fn answer_update(
        &mut self,
        id: RequestId,
        answer: Answer,
    ) -> Result<(), &'static str> {
        let version = self.config.version;
        let Some(entry) = self.requests.get(id) else { return Ok(()) };
        if entry.updates_told == 0 {
            return Err("an answer to an update that is not there");
        }
        let (parameters, properties) = match answer {
            Answer::Ok { parameters, properties } => (parameters, properties),
            Answer::Error(error) => {
                self.fail_update(id, None, &error);
                return Ok(());
            }
            Answer::FetchOk(_) => return Err("FETCH_OK answers no update"),
        };
        if !properties.is_empty() || parameters.out_of_scope(version, Scope::UpdateOk).is_some() {
            return Err("the answer to an update holds what it can't");
        }
        let ok = RequestOk { parameters, properties };
        let about = entry.updates.front().map_or(id, |update| update.id);
        let bytes = ok.encode(version, Message::RequestOk, about);
        let bytes = bytes.map_err(|_| "an answer that is too long")?;
        let (place, sending) = (entry.place, entry.sending);
        if let Some(update) = self.requests.take_update(id)
            && let Some(entry) = self.requests.get_mut(id)
        {
            entry.apply(version.row().past, &update.parameters, &ok.parameters);
        }
        // After PUBLISH_DONE there is nobody to tell.
        if sending {
            self.send(id, place, bytes);
        }
        self.release_held(id);
        Ok(())
    }

    /// An update that the session itself refuses.
    fn refuse_update(
        &mut self,
        id: RequestId,
        update: RequestId,
        code: RequestCode,
        what: &'static str,
    ) {
        let told = self.requests.get(id).is_some_and(Entry::is_told);
        // The publisher of a subscription of ours goes on until it says so.
        let stays = self.requests.get(id).is_some_and(Entry::survives_failed_update);
        self.fail_update(id, Some(update), &RequestError::new(code, what));
        if told && !stays {
            self.event(Event::Cancelled { id, code: ResetCode::Cancelled });
        }
    }

    /// An update that fails takes its request with it (draft-18 §10.9.1, draft-16 §9.11). `last`: one that
    /// is not held.
    fn fail_update(&mut self, id: RequestId, last: Option<RequestId>, error: &RequestError) {
        let mut failed = Vec::new();
        while let Some(update) = self.requests.take_update(id) {
            failed.push(update.id);
        }
        failed.extend(last);
        if self.config.version.row().updates_fail_together {
            failed.truncate(1);
        }
        let Some(entry) = self.requests.get_mut(id) else { return };
        let (place, sending) = (entry.place, entry.sending);
        let answered = entry.answered;
        let survives = entry.survives_failed_update();
        if let Kind::Publishing(publishing) = &mut entry.kind
            && answered
        {
            let reason = "an update failed".to_owned();
            publishing.done = Some(Done { code: DoneCode::UpdateFailed, reason });
            self.say_errors(&failed, place, error);
            self.finish_if_done(id);
        } else if survives {
            if sending {
                self.say_errors(&failed, place, error);
            }
        } else {
            let ours = entry.is_ours();
            self.say_errors(&failed, place, error);
            if place == Place::Control && ours {
                // What we offered is taken back.
                return self.cancel(id, ResetCode::Cancelled);
            }
            self.remove(id);
            if place == Place::Control && !answered {
                // Its own answer is wanted as well.
                self.say_error(id, place, error);
            }
            self.finish(id, place);
        }
    }

    fn say_errors(&mut self, updates: &[RequestId], place: Place, error: &RequestError) {
        for update in updates {
            self.say_error(*update, place, error);
        }
    }
}

impl Entry {
    fn survives_failed_update(&self) -> bool {
        self.answered && matches!(self.kind, Kind::Receiving(_))
    }

    /// What an accepted update changes for the session.
    fn apply(&mut self, rule: Past, update: &Parameters, answer: &Parameters) {
        match &mut self.kind {
            Kind::Publishing(publishing) => {
                if let Some(filter) = update.filter {
                    publishing.at_largest = filter == Filter::NextObject;
                }
                if let Some(forward) = update.forward {
                    if forward && !publishing.forward && rule == Past::JoinWhileForwarding {
                        // draft-18 §5.1
                        publishing.joining = answer.largest;
                    }
                    publishing.forward = forward;
                }
            }
            Kind::Prefix(prefix) => {
                if let Some(to) = &update.namespace_prefix {
                    prefix.prefix = to.clone();
                }
            }
            _ => {}
        }
    }
}
