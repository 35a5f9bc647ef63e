//! GOAWAY (draft-18 §10.4, draft-16 §9.4, draft-21 §9.2).

use bytes::Bytes;

use super::{Message, TooLong, frame};
use crate::error::Violation;
use crate::request::RequestId;
use crate::version::{GoAwayForm, Version};
use crate::wire::Body;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoAway {
    pub(crate) uri: String,
    /// 0: not said.
    pub(crate) timeout_ms: u64,
    /// About the session: the smallest request of the receiver that was not processed.
    pub(crate) unprocessed: Option<RequestId>,
}

impl GoAway {
    pub(crate) fn decode(
        version: Version,
        mut body: Body,
        of_session: bool,
    ) -> Result<GoAway, Violation> {
        let uri = body.uri()?;
        let (mut timeout_ms, mut unprocessed) = (0, None);
        let form = version.row().goaway;
        if form != GoAwayForm::Uri {
            timeout_ms = body.number()?;
            if of_session && form == GoAwayForm::WithRequest {
                unprocessed = Some(RequestId(body.number()?));
            }
        }
        body.end()?;
        Ok(GoAway { uri, timeout_ms, unprocessed })
    }

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        frame(version, Message::GoAway, |out| {
            out.prefixed(self.uri.as_bytes());
            let form = version.row().goaway;
            if form != GoAwayForm::Uri {
                out.number(self.timeout_ms);
            }
            if let (Some(id), GoAwayForm::WithRequest) = (self.unprocessed, form) {
                out.number(id.0);
            }
        })
    }
}
