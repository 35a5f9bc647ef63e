//! GOAWAY (draft-18 §3.6, §10.4): of the session and of single requests, both ways.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::api::{Event, Output};
use super::{Role, Session, Timer};
use crate::code::{ResetCode, SessionCode};
use crate::error::{SessionError, Violation};
use crate::limits;
use crate::message::goaway::GoAway;
use crate::message::response::millis;
use crate::request::RequestId;
use crate::version::GoAwayForm;
use crate::wire::Body;

/// What was said of leaving.
#[derive(Debug, Default)]
pub(super) struct GoAways {
    /// By the peer, about the session.
    pub(super) received: bool,
    /// By us, about the session.
    pub(super) sent: bool,
    /// Requests that we asked to leave, and will reset.
    resetting: BTreeSet<RequestId>,
}

impl Session {
    pub(super) fn on_goaway(&mut self, goaway: GoAway) -> Result<(), Violation> {
        if std::mem::replace(&mut self.goaways.received, true) {
            return Err(Violation::protocol("a second GOAWAY"));
        }
        self.check_uri(&goaway)?;
        let ours = self.next_id % 2;
        if goaway.unprocessed.is_some_and(|id| id.0 % 2 != ours) {
            let what = "a GOAWAY with a Request ID of its sender";
            return Err(Violation::new(SessionCode::InvalidRequestId, what));
        }
        let timeout = Duration::from_millis(goaway.timeout_ms);
        self.event(Event::GoAway { request: None, uri: goaway.uri, timeout });
        Ok(())
    }

    /// On a request stream.
    pub(super) fn on_request_goaway(&mut self, id: RequestId, body: Body) -> Result<(), Violation> {
        if self.config.version.row().goaway == GoAwayForm::Uri {
            return Err(Violation::protocol("GOAWAY on the stream of a request"));
        }
        let goaway = GoAway::decode(self.config.version, body, false)?;
        self.check_uri(&goaway)?;
        let Some(entry) = self.requests.get_mut(id) else { return Ok(()) };
        if std::mem::replace(&mut entry.goaway_received, true) {
            return Err(Violation::protocol("a second GOAWAY for one request"));
        }
        if entry.is_told() {
            let timeout = Duration::from_millis(goaway.timeout_ms);
            self.event(Event::GoAway { request: Some(id), uri: goaway.uri, timeout });
        }
        Ok(())
    }

    fn check_uri(&self, goaway: &GoAway) -> Result<(), Violation> {
        if self.role == Role::Server && !goaway.uri.is_empty() {
            return Err(Violation::protocol("a client's GOAWAY with a URI"));
        }
        Ok(())
    }

    pub(super) fn say_goaway(
        &mut self,
        now: Instant,
        request: Option<RequestId>,
        uri: String,
        timeout: Duration,
    ) -> Result<(), &'static str> {
        if self.role == Role::Client && !uri.is_empty() {
            return Err("a client's GOAWAY has no URI");
        }
        if uri.len() > limits::URI_BYTES_MAX {
            return Err("the URI of a GOAWAY has at most 8,192 bytes");
        }
        if request.is_some() && self.config.version.row().goaway == GoAwayForm::Uri {
            return Err("this draft has no GOAWAY of a single request");
        }
        let timeout = timeout.min(limits::GOAWAY_TIMEOUT_MAX);
        let at = (!timeout.is_zero()).then_some(now + timeout);
        let unprocessed = request.is_none().then(|| self.seen.next());
        let message = GoAway { uri, timeout_ms: millis(timeout), unprocessed };
        let bytes = message.encode(self.config.version).map_err(|_| "a GOAWAY that is too long")?;
        let Some(id) = request else {
            if std::mem::replace(&mut self.goaways.sent, true) {
                return Err("GOAWAY is said once");
            }
            self.outputs.push_back(Output::Control(bytes));
            self.timers.extend(at.map(|at| (at, Timer::GoAway)));
            return Ok(());
        };
        let Some(entry) = self.requests.get_mut(id).filter(|entry| entry.sending) else {
            return Ok(());
        };
        if std::mem::replace(&mut entry.goaway_sent, true) {
            return Err("GOAWAY is said once for a request");
        }
        let place = entry.place;
        self.send(id, place, bytes);
        if let Some(at) = at {
            self.goaways.resetting.insert(id);
            self.timers.insert((at, Timer::RequestGoAway(id)));
        }
        Ok(())
    }

    /// The peer had its time.
    pub(super) fn goaway_is_over(&mut self) -> Result<(), SessionError> {
        if self.requests.is_empty() {
            self.close(SessionCode::NoError, String::new());
            return Ok(());
        }
        let what = "requests are still open after GOAWAY";
        Err(SessionError::Timeout(Violation::new(SessionCode::GoawayTimeout, what)))
    }

    pub(super) fn request_goaway_is_over(&mut self, id: RequestId) {
        if self.goaways.resetting.remove(&id) && self.requests.get(id).is_some() {
            self.cancel(id, ResetCode::GoingAway);
            self.event(Event::Cancelled { id, code: ResetCode::GoingAway });
        }
    }
}
