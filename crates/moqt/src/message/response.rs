//! REQUEST_OK and REQUEST_ERROR (draft-18 §10.5, §10.6; draft-16 §9.7, §9.8), and PUBLISH_OK (draft-16 §9.14).

use std::time::Duration;

use bytes::Bytes;

use super::{Message, TooLong, frame_about};
use crate::code::RequestCode;
use crate::error::Violation;
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Redirect, RequestError, RequestId};
use crate::version::{Requests, Version};
use crate::wire::Body;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestOk {
    pub(crate) parameters: Parameters,
    pub(crate) properties: Properties,
}

impl RequestOk {
    pub(crate) fn decode(
        version: Version,
        scope: Scope,
        mut body: Body,
    ) -> Result<RequestOk, Violation> {
        let parameters = Parameters::decode(version, scope, &mut body)?;
        let properties = version.row().status_properties && scope == Scope::TrackStatusOk;
        if !properties && !body.is_empty() {
            // draft-18 §10.5; draft-16 §9.7 has no such field.
            return Err(Violation::protocol(
                "an answer with track properties where there are none",
            ));
        }
        let properties = Properties::of_track(version, body)?;
        Ok(RequestOk { parameters, properties })
    }

    /// `message` is REQUEST_OK or PUBLISH_OK.
    pub(crate) fn encode(
        &self,
        version: Version,
        message: Message,
        id: RequestId,
    ) -> Result<Bytes, TooLong> {
        frame_about(version, message, id, |out| {
            self.parameters.encode(version, out);
            if version.row().status_properties {
                out.properties(version, &self.properties);
            }
        })
    }
}

impl RequestError {
    pub(crate) fn decode(version: Version, mut body: Body) -> Result<RequestError, Violation> {
        let code = version.request_code_of(body.number()?);
        let retry = body.number()?;
        let reason = body.reason()?;
        let redirect = match code {
            RequestCode::Redirect => Some(Redirect::decode(&mut body)?),
            _ => None,
        };
        body.end()?;
        // draft-18 §10.6.2: milliseconds plus 1; 0: not at all.
        let retry_after = retry.checked_sub(1).map(Duration::from_millis);
        Ok(RequestError { code, retry_after, reason, redirect })
    }

    pub(crate) fn encode(&self, version: Version, id: RequestId) -> Result<Bytes, TooLong> {
        // A redirect without its place is no redirect, nor is one in a draft that has none.
        let number = match (self.code, &self.redirect) {
            (RequestCode::Redirect, None) => version.request_code(RequestCode::InternalError),
            (code, _) => version.request_code(code),
        };
        frame_about(version, Message::RequestError, id, |out| {
            out.number(number);
            let retry = self.retry_after.map_or(0, |after| millis(after).saturating_add(1));
            out.number(retry);
            out.reason(&self.reason);
            if let (RequestCode::Redirect, Some(redirect)) =
                (version.request_code_of(number), &self.redirect)
            {
                out.prefixed(redirect.uri.as_bytes());
                out.namespace(&redirect.namespace);
                out.prefixed(&redirect.name);
            }
        })
    }
}

impl Redirect {
    /// draft-18 §10.6.1
    fn decode(body: &mut Body) -> Result<Redirect, Violation> {
        let uri = body.uri()?;
        let track = body.track()?;
        Ok(Redirect { uri, namespace: track.namespace().clone(), name: track.name().clone() })
    }
}

/// On the stream of request `id`: the request or update that an answer names, if it is not this one.
pub(crate) fn check_about(
    version: Version,
    id: RequestId,
    body: &mut Body,
) -> Result<Option<RequestId>, Violation> {
    match version.row().requests {
        Requests::OnStreams => Ok(None),
        Requests::OnControl => Ok(Some(RequestId(body.number()?)).filter(|named| *named != id)),
    }
}

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
