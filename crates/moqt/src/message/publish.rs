//! PUBLISH (draft-18 §10.10) and PUBLISH_DONE (§10.11).

use bytes::{BufMut, Bytes, BytesMut};

use super::{TooLong, frame, kind};
use crate::error::Violation;
use crate::name::TrackName;
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Done, Request};
use crate::varint;
use crate::version::Version;
use crate::wire::{Body, put_reason, put_track};

/// The request and the track alias.
pub(super) fn decode(version: Version, body: &mut Body) -> Result<(Request, u64), Violation> {
    let track = body.track()?;
    let alias = body.number()?;
    let parameters = Parameters::decode(version, Scope::Publish, body)?;
    let properties = Properties::of_track(body.rest())?;
    Ok((Request::Publish { track, parameters, properties }, alias))
}

pub(super) fn encode(
    version: Version,
    track: &TrackName,
    alias: u64,
    parameters: &Parameters,
    properties: &Properties,
    out: &mut BytesMut,
) {
    put_track(track, out);
    varint::write(alias, out);
    parameters.encode(version, out);
    out.put_slice(properties.as_bytes());
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

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        frame(kind::PUBLISH_DONE, |out| {
            varint::write(version.done_code(self.done.code), out);
            varint::write(self.streams.unwrap_or(version.row().stream_count_unknown), out);
            put_reason(&self.done.reason, out);
        })
    }
}
