//! The seven messages that make a request: the first ones of a request stream (draft-18 §3.3), or on the
//! control stream (draft-16 §9.1).

use bytes::Bytes;

use super::namespace::{self, Listed};
use super::{Message, TooLong, fetch, frame, publish, subscribe};
use crate::error::Violation;
use crate::parameters::Scope;
use crate::request::{Request, RequestId};
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
    pub(crate) fn decode(
        version: Version,
        message: Message,
        mut body: Body,
    ) -> Result<First, Violation> {
        // All of them begin with their ID; what is no request must not be read as one.
        if !is_first(message) {
            // draft-18 §3.3
            return Err(Violation::protocol("a request stream begins with no request"));
        }
        let id = RequestId(body.number()?);
        let mut alias = None;
        let request = match message {
            Message::Subscribe => subscribe::decode(version, &mut body)?,
            Message::TrackStatus => subscribe::decode_status(version, &mut body)?,
            Message::Publish => {
                let (request, chosen) = publish::decode(version, &mut body)?;
                alias = Some(chosen);
                request
            }
            Message::Fetch => fetch::decode(version, &mut body)?,
            Message::PublishNamespace => namespace::decode_publish(version, &mut body)?,
            Message::SubscribeNamespace => namespace::decode_subscribe(version, &mut body)?,
            _ => namespace::decode_tracks(version, &mut body)?,
        };
        body.end()?;
        if !version.row().empty_namespace && request.names_nothing() {
            // draft-16 §2.4.1
            return Err(Violation::protocol("a namespace without a field"));
        }
        Ok(First { id, request, alias })
    }

    pub(crate) fn encode(&self, version: Version) -> Result<Bytes, TooLong> {
        frame(version, message_of(version, &self.request), |out| {
            out.number(self.id.0);
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
                Request::PublishNamespace { namespace, parameters } => {
                    namespace::encode_publish(version, namespace, parameters, out);
                }
                Request::SubscribeNamespace { prefix, tracks, parameters } => {
                    let what = if *tracks { Listed::Both } else { Listed::Namespaces };
                    namespace::encode_subscribe(version, prefix, what, parameters, out);
                }
                Request::SubscribeTracks { prefix, parameters } => {
                    namespace::encode_subscribe(version, prefix, Listed::Tracks, parameters, out);
                }
            }
        })
    }
}

pub(crate) fn is_first(message: Message) -> bool {
    matches!(
        message,
        Message::Subscribe
            | Message::TrackStatus
            | Message::Publish
            | Message::Fetch
            | Message::PublishNamespace
            | Message::SubscribeNamespace
            | Message::SubscribeTracks
    )
}

fn message_of(version: Version, request: &Request) -> Message {
    match request {
        Request::Subscribe { .. } => Message::Subscribe,
        Request::TrackStatus { .. } => Message::TrackStatus,
        Request::Publish { .. } => Message::Publish,
        Request::Fetch { .. } => Message::Fetch,
        Request::PublishNamespace { .. } => Message::PublishNamespace,
        Request::SubscribeNamespace { .. } => Message::SubscribeNamespace,
        Request::SubscribeTracks { .. } => version.row().subscribe_tracks,
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
