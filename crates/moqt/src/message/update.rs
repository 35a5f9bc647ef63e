//! REQUEST_UPDATE (draft-18 §10.9).

use bytes::Bytes;

use super::{TooLong, frame, kind};
use crate::error::Violation;
use crate::parameters::{Parameters, Scope};
use crate::request::RequestId;
use crate::varint;
use crate::version::Version;
use crate::wire::Body;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Update {
    /// Of the update itself, which counts as a request.
    pub(crate) id: RequestId,
    pub(crate) parameters: Parameters,
}

impl Update {
    pub(crate) fn decode(
        version: Version,
        scope: Scope,
        mut body: Body,
    ) -> Result<Update, Violation> {
        let id = RequestId(body.number()?);
        let parameters = Parameters::decode(version, scope, &mut body)?;
        body.end()?;
        Ok(Update { id, parameters })
    }

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        frame(kind::REQUEST_UPDATE, |out| {
            varint::write(self.id.0, out);
            self.parameters.encode(version, out);
        })
    }
}
