//! Subgroup streams that a test writes object by object.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use moqt::data::{Body, Datagram, ObjectHead, Status, SubgroupHeader, SubgroupId, SubgroupWriter};
use moqt::session::{Command, Event};
use moqt::{DoneCode, Parameters, Properties, Request, RequestId, ResetCode, SessionCode};
use testkit::Shape;
use tokio::sync::mpsc::UnboundedReceiver;

use super::duties::code;
use super::rig::{Client, Rig, soon, track};
use crate::limits::HEAD_MAX;
use crate::link::{DataStream, Told};
use crate::transport::{Congestion, Network, Read, SendStream};

/// A track that a client publishes.
pub(super) struct Published {
    pub(super) id: RequestId,
    pub(super) told: UnboundedReceiver<Told>,
}

/// Publishes a track.
pub(super) async fn publish(client: &Client, track: moqt::TrackName) -> Published {
    let (parameters, properties) = (Parameters::default(), Properties::empty());
    let request = Request::Publish { track, parameters, properties };
    let (id, answer, told) = client.ask(request).await;
    assert_eq!(code(&answer), None);
    Published { id, told }
}

/// Waits until the peer wants nothing more of a request; says why.
pub(super) async fn cancelled(told: &mut UnboundedReceiver<Told>) -> ResetCode {
    loop {
        match soon("the end of a request", told.recv()).await {
            Some(Told::Event(Event::Cancelled { code, .. })) => return code,
            Some(_) => {}
            None => panic!("nobody said why"),
        }
    }
}

/// Waits until the publisher says that a subscription is over; how.
pub(super) async fn done(told: &mut UnboundedReceiver<Told>) -> DoneCode {
    loop {
        match soon("the end of a subscription", told.recv()).await {
            Some(Told::Event(Event::Done { done, .. })) => return done.code,
            Some(_) => {}
            None => panic!("nobody said how"),
        }
    }
}

/// What a stream ends with.
pub(super) async fn end_of(data: &mut DataStream) -> Read {
    loop {
        match soon("the end of a stream", data.stream.read()).await {
            Read::Chunk(_) => {}
            end => return end,
        }
    }
}

/// A header of subgroup 0.
pub(super) fn header(group: u64) -> SubgroupHeader {
    SubgroupHeader {
        alias: 0,
        group,
        subgroup: SubgroupId::Zero,
        priority: None,
        properties: true,
        end_of_group: false,
        first_object: true,
    }
}

/// A stream of a published track.
pub(super) struct Out<'a> {
    client: &'a Client,
    id: RequestId,
    stream: SendStream,
    writer: SubgroupWriter,
}

impl<'a> Out<'a> {
    /// Opens it; the alias is that of the request.
    pub(super) async fn open(client: &'a Client, id: RequestId, header: SubgroupHeader) -> Self {
        let alias = client.link.with(|session| session.open_data(id)).unwrap();
        let header = SubgroupHeader { alias, ..header };
        let mut bytes = BytesMut::new();
        header.encode(client.link.version, &mut bytes).unwrap();
        let mut stream = client.link.connection.open_uni().await.unwrap();
        // Refused by then, perhaps: that is what the test is about.
        let _ = stream.write(&mut [bytes.freeze()]).await;
        let writer = SubgroupWriter::new(client.link.version, &header);
        Self { client, id, stream, writer }
    }

    pub(super) async fn head(&mut self, head: ObjectHead, payload: &'static str) {
        let mut bytes = BytesMut::new();
        self.writer.object(&head, &mut bytes).unwrap();
        bytes.extend_from_slice(payload.as_bytes());
        let _ = self.stream.write(&mut [bytes.freeze()]).await;
    }

    pub(super) async fn object(&mut self, id: u64, payload: &'static str) {
        self.with(id, payload, Properties::empty()).await;
    }

    pub(super) async fn with(&mut self, id: u64, payload: &'static str, properties: Properties) {
        let payload_length = payload.len() as u64;
        self.head(ObjectHead { id, properties, status: Status::Normal, payload_length }, payload)
            .await;
    }

    pub(super) async fn status(&mut self, id: u64, status: Status) {
        let properties = Properties::empty();
        self.head(ObjectHead { id, properties, status, payload_length: 0 }, "").await;
    }

    pub(super) fn finish(mut self) {
        self.stream.finish();
    }

    pub(super) fn reset(mut self) {
        self.stream.reset(0x1);
    }
}

impl Drop for Out<'_> {
    fn drop(&mut self) {
        self.client.command(Command::DataClosed { id: self.id });
    }
}

/// A datagram of a published track.
pub(super) fn datagram(client: &Client, id: RequestId, at: (u64, u64), body: Body, last: bool) {
    let datagram = Datagram {
        alias: client.link.with(|session| session.alias(id)).unwrap(),
        group: at.0,
        object: at.1,
        priority: None,
        end_of_group: last,
        properties: Properties::empty(),
        body,
    };
    let bytes = datagram.encode(client.link.version).unwrap();
    assert!(client.link.connection.send_datagram(bytes));
}

pub(super) fn payload(text: &'static str) -> Body {
    Body::Payload(Bytes::from_static(text.as_bytes()))
}

/// draft-18 §3.5, draft-16 §3.4: DATA_STREAM_TIMEOUT. Between objects a stream may be silent.
#[tokio::test(start_paused = true)]
async fn draft18_s3_5_who_says_half_a_head_and_nothing_more_ends_the_session() {
    for (what, closes) in [
        ("half a header", true),
        ("half an object", true),
        ("half an object, a byte now and then", true),
        ("nothing", false),
    ] {
        let network = Network::new(7);
        let rig = Rig::over(&network, Congestion::Ours);
        let client = rig.client_over(&network, Shape::default()).await;
        let published = publish(&client, track(&["open", "room"], "chat")).await;
        let alias = client.link.with(|session| session.open_data(published.id)).unwrap();
        let header = SubgroupHeader { alias, properties: true, ..header(300) };
        let mut bytes = BytesMut::new();
        header.encode(client.link.version, &mut bytes).unwrap();
        let properties = Properties::empty();
        let head = ObjectHead { id: 0, properties, status: Status::Normal, payload_length: 9_000 };
        let mut object = BytesMut::new();
        SubgroupWriter::new(client.link.version, &header).object(&head, &mut object).unwrap();
        // The length of its properties, some of which come.
        let drips = what.ends_with("now and then");
        if drips {
            object.truncate(1);
            object.extend_from_slice(&[60, 1]);
        }
        match what {
            "half a header" => bytes.truncate(2),
            "half an object" | "half an object, a byte now and then" => {
                bytes.extend_from_slice(&object[..object.len() - 1]);
            }
            _ => {}
        }
        let mut stream = client.link.connection.open_uni().await.unwrap();
        stream.write(&mut [bytes.freeze()]).await.unwrap();
        for _ in 0..if drips { 6 } else { 1 } {
            tokio::time::sleep(HEAD_MAX / 2).await;
            if drips {
                let _ = stream.write(&mut [Bytes::from_static(&[1])]).await;
            }
        }
        let closed = client.link.connection.closed();
        let patience = if drips { Duration::ZERO } else { 2 * HEAD_MAX };
        let ended = tokio::time::timeout(patience, closed).await;
        let code = client.link.version.session_code(SessionCode::DataStreamTimeout);
        assert_eq!(ended.ok().and_then(|ended| ended.code), closes.then_some(code), "{what}");
    }
}
