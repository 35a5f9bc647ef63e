//! GOAWAY (draft-18 §10.4): on the control stream with a Request ID, on a request stream without.

use bytes::Bytes;

use super::{TooLong, frame, kind};
use crate::error::Violation;
use crate::request::RequestId;
use crate::varint;
use crate::wire::{Body, put_prefixed};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoAway {
    pub(crate) uri: String,
    pub(crate) timeout_ms: u64,
    /// The smallest request of the receiver that was not processed.
    pub(crate) unprocessed: Option<RequestId>,
}

impl GoAway {
    pub(crate) fn decode(mut body: Body, on_control: bool) -> Result<GoAway, Violation> {
        let uri = body.uri()?;
        let timeout_ms = body.number()?;
        let unprocessed = if on_control { Some(RequestId(body.number()?)) } else { None };
        body.end()?;
        Ok(GoAway { uri, timeout_ms, unprocessed })
    }

    pub(crate) fn encode(&self) -> Result<Bytes, TooLong> {
        frame(kind::GOAWAY, |out| {
            put_prefixed(self.uri.as_bytes(), out);
            varint::write(self.timeout_ms, out);
            if let Some(id) = self.unprocessed {
                varint::write(id.0, out);
            }
        })
    }
}
