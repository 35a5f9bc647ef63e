//! Unidirectional streams of the peer: what each of them is, and whose.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use moqt::data::{Opening, OpeningReader};
use moqt::session::{DataHeader, DataId, Input};
use moqt::{ResetCode, SessionCode};
use tokio::sync::oneshot;

use super::{Belongs, DataClosed, DataStream, Link, Told};
use crate::clock;
use crate::limits::HEAD_MAX;
use crate::qlog::Messages;
use crate::transport::{Read, RecvStream};

/// A unidirectional stream of the peer: its control stream, or data.
pub(super) async fn read_data(link: Arc<Link>, mut stream: RecvStream) {
    let mut opening = OpeningReader::new(link.version);
    let mut began = None;
    loop {
        let read = match began {
            // Streams are there with any that was opened behind them: what is less urgent may be late.
            None => stream.read().await,
            Some(began) => match rest_of_head(&link, began, stream.read()).await {
                Some(read) => read,
                None => return,
            },
        };
        let mut chunk = match read {
            Read::Chunk(chunk) => chunk,
            // Nothing was said on it.
            Read::Fin | Read::Reset(_) | Read::Lost => return,
        };
        let header = match opening.read(&mut chunk) {
            Ok(None) => {
                began.get_or_insert_with(clock::now);
                continue;
            }
            Ok(Some(Opening::Padding)) => return,
            Ok(Some(Opening::Control(first))) => {
                link.log.stream("remote", stream.id(), "control");
                let mut told = link.log.messages(link.version, stream.id(), "parsed");
                told.see(&first);
                link.handle(Input::ControlOpened(first));
                if !chunk.is_empty() {
                    told.see(&chunk);
                    link.handle(Input::Control(chunk));
                }
                return read_control(&link, stream, told).await;
            }
            Ok(Some(Opening::Subgroup(header))) => {
                link.log.stream("remote", stream.id(), "subgroup_header");
                link.log.subgroup("parsed", stream.id(), &header);
                DataHeader::Subgroup(header)
            }
            Ok(Some(Opening::Fetch(id))) => {
                link.log.fetch("remote", stream.id(), id);
                DataHeader::Fetch(id)
            }
            Err(error) => return stream.stop(link.fault(error)),
        };
        return hand_over(link, header, chunk, stream).await;
    }
}

/// What comes next on a data stream that stands in the middle of a head, which began then. Who does not say the rest of it ends the
/// session: DATA_STREAM_TIMEOUT, draft-18 §3.5.
pub(crate) async fn rest_of_head<T>(
    link: &Link,
    began: Instant,
    next: impl Future<Output = T>,
) -> Option<T> {
    let came = tokio::time::timeout_at((began + HEAD_MAX).into(), next).await.ok();
    if came.is_none() {
        link.close(SessionCode::DataStreamTimeout, "half a head came on a data stream");
    }
    came
}

/// The peer's side of the control stream.
pub(super) async fn read_control(link: &Link, mut stream: RecvStream, mut told: Messages) {
    loop {
        match stream.read().await {
            Read::Chunk(bytes) => {
                told.see(&bytes);
                link.handle(Input::Control(bytes));
            }
            Read::Fin | Read::Reset(_) => return link.handle(Input::ControlClosed),
            Read::Lost => return,
        }
    }
}

/// Asks the session whose stream this is, and gives it to who takes it.
async fn hand_over(link: Arc<Link>, header: DataHeader, first: Bytes, mut stream: RecvStream) {
    let id = DataId(stream.id());
    let (sender, belongs) = oneshot::channel();
    link.state().waiting.insert(id, sender);
    let closed = DataClosed { link: link.clone(), id };
    link.handle(Input::DataOpened { stream: id, header });
    match whose(&link, &mut stream, belongs).await {
        Ok(Belongs::To(request)) => {
            let data = DataStream { header, first, stream, _closed: closed };
            // Dropped, if there is no owner any more: the stream is stopped then. Not while the state is locked, which that locks.
            let owner = link.state().owners.get(&request).cloned();
            if let Some(owner) = owner {
                let _ = owner.told.send(Told::Data(data));
            }
        }
        Ok(Belongs::Nobody(code)) => stream.stop(code),
        Err(_) => {}
    }
}

/// Waits for the session to say whose a data stream is. What comes meanwhile is read: left with QUIC, it would hold room of the
/// connection that the message needs which says whose it is (draft-18 §11.4.2, draft-21 §11.3.1). Of one that has too much
/// nothing more is wanted.
async fn whose(
    link: &Link,
    stream: &mut RecvStream,
    mut belongs: oneshot::Receiver<Belongs>,
) -> Result<Belongs, oneshot::error::RecvError> {
    let mut ahead = link.ahead.stream();
    let too_much = Belongs::Nobody(link.version.reset_code(ResetCode::ExcessiveLoad));
    loop {
        let read = tokio::select! {
            biased;
            belongs = &mut belongs => return belongs,
            () = ahead.is_shed() => return Ok(too_much),
            read = async {
                // Nearly always the session knows at once, and is heard with the next turn.
                tokio::task::yield_now().await;
                stream.read_ahead().await
            } => read,
        };
        match read {
            Some(bytes) if ahead.add(bytes) => {}
            Some(_) => return Ok(too_much),
            None => return belongs.await,
        }
    }
}
