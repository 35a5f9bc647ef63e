//! PUBLISH_NAMESPACE (draft-18 §10.15), SUBSCRIBE_NAMESPACE (§10.18) and SUBSCRIBE_TRACKS (§10.19), and
//! what is said on their streams: NAMESPACE (§10.16), NAMESPACE_DONE (§10.17), PUBLISH_BLOCKED (§10.20).

use bytes::{Bytes, BytesMut};

use super::{TooLong, frame, kind};
use crate::error::Violation;
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::request::Request;
use crate::version::Version;
use crate::wire::{Body, put_namespace, put_track};

pub(super) fn decode_publish(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let namespace = body.namespace()?;
    let parameters = Parameters::decode(version, Scope::PublishNamespace, body)?;
    Ok(Request::PublishNamespace { namespace, parameters })
}

pub(super) fn decode_subscribe(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let prefix = body.namespace()?;
    let parameters = Parameters::decode(version, Scope::SubscribeNamespace, body)?;
    Ok(Request::SubscribeNamespace { prefix, parameters })
}

pub(super) fn decode_tracks(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let prefix = body.namespace()?;
    let parameters = Parameters::decode(version, Scope::SubscribeTracks, body)?;
    Ok(Request::SubscribeTracks { prefix, parameters })
}

pub(super) fn encode(
    version: Version,
    namespace: &Namespace,
    parameters: &Parameters,
    out: &mut BytesMut,
) {
    put_namespace(namespace, out);
    parameters.encode(version, out);
}

/// The suffix in NAMESPACE and NAMESPACE_DONE.
pub(crate) fn decode_suffix(mut body: Body) -> Result<Namespace, Violation> {
    let suffix = body.namespace()?;
    body.end()?;
    Ok(suffix)
}

pub(crate) fn encode_suffix(done: bool, suffix: &Namespace) -> Result<Bytes, TooLong> {
    let kind = if done { kind::NAMESPACE_DONE } else { kind::NAMESPACE };
    frame(kind, |out| put_namespace(suffix, out))
}

/// PUBLISH_BLOCKED: the track, with a suffix for its namespace.
pub(crate) fn decode_blocked(mut body: Body) -> Result<TrackName, Violation> {
    let track = body.track()?;
    body.end()?;
    Ok(track)
}

pub(crate) fn encode_blocked(track: &TrackName) -> Result<Bytes, TooLong> {
    frame(kind::PUBLISH_BLOCKED, |out| put_track(track, out))
}
