//! Messages of drafts whose requests share the control stream (draft-16 §9): how many requests there may
//! be (§9.5, §9.6), and the ends that later drafts say by the end of a stream (§9.12, §9.18, §9.22, §9.24).

use bytes::Bytes;

use super::{Message, TooLong, frame};
use crate::code::RequestCode;
use crate::error::Violation;
use crate::request::RequestId;
use crate::version::Version;
use crate::wire::Body;

/// MAX_REQUEST_ID or REQUESTS_BLOCKED: the first Request ID that may not be used.
pub(crate) fn decode_maximum(mut body: Body) -> Result<u64, Violation> {
    let maximum = body.number()?;
    body.end()?;
    Ok(maximum)
}

pub(crate) fn encode_maximum(
    version: Version,
    message: Message,
    maximum: u64,
) -> Result<Bytes, TooLong> {
    frame(version, message, |out| out.number(maximum))
}

/// UNSUBSCRIBE, FETCH_CANCEL or PUBLISH_NAMESPACE_DONE: nothing but the request, which was read already.
pub(crate) fn decode_end(body: Body) -> Result<(), Violation> {
    body.end()
}

pub(crate) fn encode_end(
    version: Version,
    message: Message,
    id: RequestId,
) -> Result<Bytes, TooLong> {
    frame(version, message, |out| out.number(id.0))
}

/// PUBLISH_NAMESPACE_CANCEL, behind its Request ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamespaceCancel {
    pub(crate) code: RequestCode,
    pub(crate) reason: String,
}

impl NamespaceCancel {
    pub(crate) fn decode(version: Version, mut body: Body) -> Result<NamespaceCancel, Violation> {
        let code = version.request_code_of(body.number()?);
        let reason = body.reason()?;
        body.end()?;
        Ok(NamespaceCancel { code, reason })
    }

    pub(crate) fn encode(&self, version: Version, id: RequestId) -> Result<Bytes, TooLong> {
        frame(version, Message::PublishNamespaceCancel, |out| {
            out.number(id.0);
            out.number(version.request_code(self.code));
            out.reason(&self.reason);
        })
    }
}
