//! SUBSCRIBE and SUBSCRIBE_OK (draft-18 §10.7, §10.8; draft-16 §9.9, §9.10); TRACK_STATUS, which looks like
//! SUBSCRIBE (draft-18 §10.14, draft-16 §9.19).

use bytes::Bytes;

use super::{Message, TooLong, frame_about};
use crate::error::Violation;
use crate::name::TrackName;
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::{Request, RequestId};
use crate::version::Version;
use crate::wire::{Body, Writer};

pub(super) fn decode(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let track = body.track()?;
    let parameters = Parameters::decode(version, Scope::Subscribe, body)?;
    Ok(Request::Subscribe { track, parameters })
}

pub(super) fn decode_status(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let track = body.track()?;
    let parameters = Parameters::decode(version, Scope::TrackStatus, body)?;
    Ok(Request::TrackStatus { track, parameters })
}

pub(super) fn encode(
    version: Version,
    track: &TrackName,
    parameters: &Parameters,
    out: &mut Writer<'_>,
) {
    out.track(track);
    parameters.encode(version, out);
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubscribeOk {
    pub(crate) alias: u64,
    pub(crate) parameters: Parameters,
    pub(crate) properties: Properties,
}

impl SubscribeOk {
    pub(crate) fn decode(version: Version, mut body: Body) -> Result<SubscribeOk, Violation> {
        let alias = body.number()?;
        let parameters = Parameters::decode(version, Scope::SubscribeOk, &mut body)?;
        let properties = Properties::of_track(version, body)?;
        Ok(SubscribeOk { alias, parameters, properties })
    }

    pub(crate) fn encode(&self, version: Version, id: RequestId) -> Result<Bytes, TooLong> {
        frame_about(version, Message::SubscribeOk, id, |out| {
            out.number(self.alias);
            self.parameters.encode(version, out);
            out.properties(version, &self.properties);
        })
    }
}
