//! REQUEST_UPDATE (draft-18 §10.9, draft-16 §9.11), and what a publisher says of changes that nobody asked
//! for, PUBLISH_STATE_NOTIFY (draft-21 §9.10).

use bytes::Bytes;

use super::{Message, TooLong, frame};
use crate::error::Violation;
use crate::parameters::{Parameters, Scope};
use crate::request::RequestId;
use crate::version::{Requests, Version};
use crate::wire::Body;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// Of the update itself, which counts as a request.
    pub(crate) id: RequestId,
    pub(crate) parameters: Parameters,
}

impl Update {
    /// The two IDs that it begins with: its own, and (where requests share a stream) that of what it
    /// changes.
    pub(crate) fn ids(
        version: Version,
        body: &mut Body,
    ) -> Result<(RequestId, Option<RequestId>), Violation> {
        let id = RequestId(body.number()?);
        let existing = match version.row().requests {
            Requests::OnControl => Some(RequestId(body.number()?)),
            Requests::OnStreams => None,
        };
        Ok((id, existing))
    }

    /// What stands behind them.
    pub(crate) fn decode(
        version: Version,
        scope: Scope,
        id: RequestId,
        mut body: Body,
    ) -> Result<Update, Violation> {
        let parameters = Parameters::decode(version, scope, &mut body)?;
        body.end()?;
        Ok(Update { id, parameters })
    }

    pub(crate) fn encode(&self, version: Version, existing: RequestId) -> Result<Bytes, TooLong> {
        frame(version, Message::RequestUpdate, |out| {
            out.number(self.id.0);
            if version.row().requests == Requests::OnControl {
                out.number(existing.0);
            }
            self.parameters.encode(version, out);
        })
    }
}

/// PUBLISH_STATE_NOTIFY: only what changed.
pub(crate) fn decode_notify(version: Version, mut body: Body) -> Result<Parameters, Violation> {
    let parameters = Parameters::decode(version, Scope::StateNotify, &mut body)?;
    body.end()?;
    Ok(parameters)
}

pub(crate) fn encode_notify(version: Version, parameters: &Parameters) -> Result<Bytes, TooLong> {
    frame(version, Message::PublishStateNotify, |out| parameters.encode(version, out))
}
