//! REQUEST_OK (draft-18 §10.5) and REQUEST_ERROR (§10.6).

use std::time::Duration;

use bytes::{BufMut, Bytes};

use super::{TooLong, frame, kind};
use crate::code::RequestCode;
use crate::error::Violation;
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Redirect, RequestError};
use crate::varint;
use crate::version::Version;
use crate::wire::{Body, put_namespace, put_prefixed, put_reason};

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
        if scope != Scope::TrackStatusOk && !body.is_empty() {
            // draft-18 §10.5
            return Err(Violation::protocol(
                "an answer with track properties where there are none",
            ));
        }
        let properties = Properties::of_track(body.rest())?;
        Ok(RequestOk { parameters, properties })
    }

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        frame(kind::REQUEST_OK, |out| {
            self.parameters.encode(version, out);
            out.put_slice(self.properties.as_bytes());
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

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        // A redirect without its place is no redirect.
        let code = match (self.code, &self.redirect) {
            (RequestCode::Redirect, None) => RequestCode::InternalError,
            (code, _) => code,
        };
        frame(kind::REQUEST_ERROR, |out| {
            varint::write(version.request_code(code), out);
            let retry = self.retry_after.map_or(0, |after| millis(after).saturating_add(1));
            varint::write(retry, out);
            put_reason(&self.reason, out);
            if let (RequestCode::Redirect, Some(redirect)) = (code, &self.redirect) {
                put_prefixed(redirect.uri.as_bytes(), out);
                put_namespace(&redirect.namespace, out);
                put_prefixed(&redirect.name, out);
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

/// Whole milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
