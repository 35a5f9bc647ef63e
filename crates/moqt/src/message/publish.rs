//! PUBLISH and PUBLISH_DONE (draft-18 §10.10, §10.11; draft-16 §9.13, §9.15).

use bytes::Bytes;

use super::{Message, TooLong, frame_about};
use crate::error::Violation;
use crate::name::TrackName;
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Done, Request, RequestId};
use crate::version::Version;
use crate::wire::{Body, Writer};

/// The request and the track alias.
pub(super) fn decode(version: Version, body: &mut Body) -> Result<(Request, u64), Violation> {
    let track = body.track()?;
    let alias = body.number()?;
    let parameters = Parameters::decode(version, Scope::Publish, body)?;
    let properties = Properties::of_track(version, body.take())?;
    Ok((Request::Publish { track, parameters, properties }, alias))
}

pub(super) fn encode(
    version: Version,
    track: &TrackName,
    alias: u64,
    parameters: &Parameters,
    properties: &Properties,
    out: &mut Writer<'_>,
) {
    out.track(track);
    out.number(alias);
    parameters.encode(version, out);
    out.properties(version, properties);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PublishDone {
    pub(crate) done: Done,
    /// Data streams that the publisher opened; `None`: it does not know.
    pub(crate) streams: Option<u64>,
}

impl PublishDone {
    pub(crate) fn decode(version: Version, mut body: Body) -> Result<PublishDone, Violation> {
        let code = version.done_code_of(body.number()?);
        let streams = body.number()?;
        let reason = body.reason()?;
        body.end()?;
        let known = streams != version.row().stream_count_unknown;
        Ok(PublishDone { done: Done { code, reason }, streams: known.then_some(streams) })
    }

    pub(crate) fn encode(&self, version: Version, id: RequestId) -> Result<Bytes, TooLong> {
        frame_about(version, Message::PublishDone, id, |out| {
            out.number(version.done_code(self.done.code));
            out.number(self.streams.unwrap_or(version.row().stream_count_unknown));
            out.reason(&self.done.reason);
        })
    }
}
