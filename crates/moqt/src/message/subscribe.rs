//! SUBSCRIBE and SUBSCRIBE_OK (draft-18 §10.7, §10.8); TRACK_STATUS, which looks like SUBSCRIBE (§10.14).

use bytes::{BufMut, Bytes, BytesMut};

use super::{TooLong, frame, kind};
use crate::error::Violation;
use crate::name::TrackName;
use crate::parameters::{Parameters, Scope};
use crate::properties::Properties;
use crate::request::Request;
use crate::varint;
use crate::version::Version;
use crate::wire::{Body, put_track};

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
    out: &mut BytesMut,
) {
    put_track(track, out);
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
        let properties = Properties::of_track(body.rest())?;
        Ok(SubscribeOk { alias, parameters, properties })
    }

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        frame(kind::SUBSCRIBE_OK, |out| {
            varint::write(self.alias, out);
            self.parameters.encode(version, out);
            out.put_slice(self.properties.as_bytes());
        })
    }
}
