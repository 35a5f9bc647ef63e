//! PUBLISH_NAMESPACE, SUBSCRIBE_NAMESPACE and SUBSCRIBE_TRACKS (draft-18 §10.15, §10.18, §10.19; draft-16
//! §9.20, §9.25, where the latter two are one), and what is said on their streams: NAMESPACE,
//! NAMESPACE_DONE (draft-18 §10.16, §10.17; draft-16 §9.21, §9.23), PUBLISH_BLOCKED (draft-18 §10.20; in draft 21
//! PUBLISH_SKIPPED, §9.19).

use bytes::Bytes;

use super::{Message, TooLong, frame};
use crate::error::Violation;
use crate::name::{Namespace, TrackName};
use crate::parameters::{Parameters, Scope};
use crate::request::Request;
use crate::route::Route;
use crate::version::Version;
use crate::wire::{Body, Writer};

/// What a subscriber of a prefix wants to hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    Tracks,
    Namespaces,
    Both,
}

impl Listed {
    /// draft-16 §9.25: Subscribe Options.
    fn option(self) -> u64 {
        match self {
            Listed::Tracks => 0,
            Listed::Namespaces => 1,
            Listed::Both => 2,
        }
    }

    fn from_option(option: u64) -> Result<Listed, Violation> {
        match option {
            0 => Ok(Listed::Tracks),
            1 => Ok(Listed::Namespaces),
            2 => Ok(Listed::Both),
            // The draft names no other.
            _ => Err(Violation::protocol("a subscription of namespaces with an unknown option")),
        }
    }
}

pub(super) fn decode_publish(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let namespace = body.namespace()?;
    let parameters = Parameters::decode(version, Scope::PublishNamespace, body)?;
    Ok(Request::PublishNamespace { namespace, parameters })
}

pub(super) fn decode_subscribe(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let prefix = body.namespace()?;
    let listed = match version.row().namespace_options {
        true => Listed::from_option(body.number()?)?,
        false => Listed::Namespaces,
    };
    let parameters = Parameters::decode(version, Scope::SubscribeNamespace, body)?;
    Ok(match listed {
        Listed::Tracks => Request::SubscribeTracks { prefix, parameters },
        _ => {
            let tracks = listed == Listed::Both;
            Request::SubscribeNamespace { prefix, tracks, parameters }
        }
    })
}

pub(super) fn decode_tracks(version: Version, body: &mut Body) -> Result<Request, Violation> {
    let prefix = body.namespace()?;
    let parameters = Parameters::decode(version, Scope::SubscribeTracks, body)?;
    Ok(Request::SubscribeTracks { prefix, parameters })
}

pub(super) fn encode_publish(
    version: Version,
    namespace: &Namespace,
    parameters: &Parameters,
    out: &mut Writer<'_>,
) {
    out.namespace(namespace);
    parameters.encode(version, out);
}

pub(super) fn encode_subscribe(
    version: Version,
    prefix: &Namespace,
    listed: Listed,
    parameters: &Parameters,
    out: &mut Writer<'_>,
) {
    out.namespace(prefix);
    if version.row().namespace_options {
        out.number(listed.option());
    }
    parameters.encode(version, out);
}

/// The suffix in NAMESPACE and NAMESPACE_DONE.
pub(crate) fn decode_suffix(mut body: Body) -> Result<Namespace, Violation> {
    let suffix = body.namespace()?;
    body.end()?;
    Ok(suffix)
}

pub(crate) fn encode_suffix(
    version: Version,
    done: bool,
    suffix: &Namespace,
) -> Result<Bytes, TooLong> {
    let message = if done { Message::NamespaceDone } else { Message::Namespace };
    frame(version, message, |out| out.namespace(suffix))
}

/// NAMESPACE between nodes that both said who they are.
pub(crate) fn decode_routed(mut body: Body) -> Result<(Namespace, Route), Violation> {
    let suffix = body.namespace()?;
    let route = Route::decode(&mut body)?;
    body.end()?;
    Ok((suffix, route))
}

pub(crate) fn encode_routed(
    version: Version,
    suffix: &Namespace,
    route: &Route,
) -> Result<Bytes, TooLong> {
    frame(version, Message::Namespace, |out| {
        out.namespace(suffix);
        route.encode(out);
    })
}

/// PUBLISH_BLOCKED: the track, with a suffix for its namespace.
pub(crate) fn decode_blocked(mut body: Body) -> Result<TrackName, Violation> {
    let track = body.track()?;
    body.end()?;
    Ok(track)
}

pub(crate) fn encode_blocked(version: Version, track: &TrackName) -> Result<Bytes, TooLong> {
    frame(version, Message::PublishBlocked, |out| out.track(track))
}
