//! The seven messages that a request stream begins with (draft-18 §3.3).

use bytes::Bytes;

use super::{TooLong, fetch, frame, kind, namespace, publish, subscribe};
use crate::error::Violation;
use crate::parameters::Scope;
use crate::request::{Request, RequestId};
use crate::varint;
use crate::version::Version;
use crate::wire::Body;

/// A request as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct First {
    pub(crate) id: RequestId,
    pub(crate) request: Request,
    /// Of PUBLISH.
    pub(crate) alias: Option<u64>,
}

impl First {
    pub(crate) fn decode(version: Version, kind: u64, mut body: Body) -> Result<First, Violation> {
        // All of them begin with their ID; what is no request must not be read as one.
        if !is_first(kind) {
            // draft-18 §3.3
            return Err(Violation::protocol("a request stream begins with no request"));
        }
        let id = RequestId(body.number()?);
        let mut alias = None;
        let request = match kind {
            kind::SUBSCRIBE => subscribe::decode(version, &mut body)?,
            kind::TRACK_STATUS => subscribe::decode_status(version, &mut body)?,
            kind::PUBLISH => {
                let (request, chosen) = publish::decode(version, &mut body)?;
                alias = Some(chosen);
                request
            }
            kind::FETCH => fetch::decode(version, &mut body)?,
            kind::PUBLISH_NAMESPACE => namespace::decode_publish(version, &mut body)?,
            kind::SUBSCRIBE_NAMESPACE => namespace::decode_subscribe(version, &mut body)?,
            _ => namespace::decode_tracks(version, &mut body)?,
        };
        body.end()?;
        Ok(First { id, request, alias })
    }

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        frame(kind_of(&self.request), |out| {
            varint::write(self.id.0, out);
            match &self.request {
                Request::Subscribe { track, parameters }
                | Request::TrackStatus { track, parameters } => {
                    subscribe::encode(version, track, parameters, out);
                }
                Request::Publish { track, parameters, properties } => {
                    let alias = self.alias.unwrap_or(0);
                    publish::encode(version, track, alias, parameters, properties, out);
                }
                Request::Fetch { fetch, parameters } => {
                    fetch::encode(version, fetch, parameters, out);
                }
                Request::PublishNamespace { namespace, parameters }
                | Request::SubscribeNamespace { prefix: namespace, parameters }
                | Request::SubscribeTracks { prefix: namespace, parameters } => {
                    namespace::encode(version, namespace, parameters, out);
                }
            }
        })
    }
}

fn is_first(kind: u64) -> bool {
    matches!(
        kind,
        kind::SUBSCRIBE
            | kind::TRACK_STATUS
            | kind::PUBLISH
            | kind::FETCH
            | kind::PUBLISH_NAMESPACE
            | kind::SUBSCRIBE_NAMESPACE
            | kind::SUBSCRIBE_TRACKS
    )
}

fn kind_of(request: &Request) -> u64 {
    match request {
        Request::Subscribe { .. } => kind::SUBSCRIBE,
        Request::TrackStatus { .. } => kind::TRACK_STATUS,
        Request::Publish { .. } => kind::PUBLISH,
        Request::Fetch { .. } => kind::FETCH,
        Request::PublishNamespace { .. } => kind::PUBLISH_NAMESPACE,
        Request::SubscribeNamespace { .. } => kind::SUBSCRIBE_NAMESPACE,
        Request::SubscribeTracks { .. } => kind::SUBSCRIBE_TRACKS,
    }
}

/// Where the parameters of a request stand.
pub(crate) fn scope_of(request: &Request) -> Scope {
    match request {
        Request::Subscribe { .. } => Scope::Subscribe,
        Request::TrackStatus { .. } => Scope::TrackStatus,
        Request::Publish { .. } => Scope::Publish,
        Request::Fetch { .. } => Scope::Fetch,
        Request::PublishNamespace { .. } => Scope::PublishNamespace,
        Request::SubscribeNamespace { .. } => Scope::SubscribeNamespace,
        Request::SubscribeTracks { .. } => Scope::SubscribeTracks,
    }
}
