//! Objects that a peer publishes go into a track of the spine, cut-through.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use moqt::data::{
    Body, Datagram, ObjectHead, Status, SubgroupHeader, SubgroupItem, SubgroupReader,
};
use moqt::session::{Command, DataHeader, Event};
use moqt::{DataError, DoneCode, Parameters, RequestId, ResetCode, Violation};
use spine::{Header, ObjectWriter, Waiting, WriteError, group, track};
use tokio::sync::mpsc;

use crate::clock;
use crate::link::{DataStream, Link, Told};
use crate::names::{reset, reset_of};
use crate::transport::{Read, RecvStream};

/// How what was taken came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The publisher says that it is over, for this reason.
    Done(DoneCode),
    /// The publisher broke it off.
    Cancelled,
    /// The publisher does not keep to the rules, or the track is over here.
    Refused,
}

/// Why a stream is not read on.
enum Fault {
    /// What came can't be read.
    Data(DataError),
    /// It can't be kept.
    Write(WriteError),
}

impl From<DataError> for Fault {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        Self::Data(violation.into())
    }
}

impl From<WriteError> for Fault {
    fn from(error: WriteError) -> Self {
        Self::Write(error)
    }
}

/// Writes everything that comes for a subscription of ours into `track`, to its end.
pub(crate) async fn take(
    link: Arc<Link>,
    id: RequestId,
    mut told: mpsc::UnboundedReceiver<Told>,
    track: track::Producer,
) -> Taken {
    let mut streams = FuturesUnordered::new();
    let mut end = None;
    let mut wanted = NewGroups::new(track.clone());
    let taken = loop {
        tokio::select! {
            new_group = poll_fn(|cx| wanted.poll(cx)) => {
                let new_group = Some(new_group);
                let parameters = Parameters { new_group, ..Parameters::default() };
                link.command(Command::Update { id, parameters });
            }
            told = told.recv() => match told {
                Some(Told::Data(data)) => streams.push(subgroup(&link, data, &track)),
                Some(Told::Datagram(datagram)) => {
                    if datagram_object(datagram, &track).is_err() {
                        break Taken::Refused;
                    }
                }
                Some(Told::Event(Event::Done { done, .. })) => end = Some(done.code),
                Some(Told::Event(Event::Drained { .. })) | None => {
                    break end.map_or(Taken::Cancelled, Taken::Done);
                }
                Some(Told::Event(Event::Cancelled { .. })) => break Taken::Cancelled,
                Some(Told::Event(_)) => {}
            },
            Some(result) = streams.next() => {
                if let Err(Fault::Write(WriteError::Closed(_))) = result {
                    break Taken::Refused;
                }
            }
        }
    };
    drop(streams);
    link.disown(id);
    taken
}

/// NEW_GROUP_REQUESTs of our readers on their way to the publisher (draft-18 §10.2.13).
struct NewGroups {
    track: track::Producer,
    waiting: Waiting,
    /// What the publisher was asked for and has not begun yet.
    outstanding: Option<u64>,
}

impl NewGroups {
    fn new(track: track::Producer) -> Self {
        Self { track, waiting: Waiting::new(), outstanding: None }
    }

    /// The next value to ask the publisher with.
    fn poll(&mut self, cx: &Context<'_>) -> Poll<u64> {
        loop {
            let demand = match self.track.poll_demand(&mut self.waiting, cx) {
                Poll::Ready(demand) => demand,
                Poll::Pending => return Poll::Pending,
            };
            let largest = self.track.consume().largest().map(|largest| largest.group);
            let Some(above) = demand.new_group_above.filter(|_| self.track.info().dynamic_groups)
            else {
                continue;
            };
            if let Some(wanted) = to_ask(above.saturating_add(1), largest, self.outstanding) {
                self.outstanding = Some(wanted);
                return Poll::Ready(wanted);
            }
        }
    }
}

/// Only what is new is asked for, and not while as much is outstanding.
fn to_ask(wanted: u64, largest: Option<u64>, outstanding: Option<u64>) -> Option<u64> {
    let begun = |group: u64| largest.is_some_and(|largest| largest >= group);
    let asked = outstanding.is_some_and(|asked| asked >= wanted && !begun(asked));
    (!begun(wanted) && !asked).then_some(wanted)
}

/// One subgroup's stream, or what is left of it.
async fn subgroup(
    link: &Arc<Link>,
    data: DataStream,
    track: &track::Producer,
) -> Result<(), Fault> {
    let DataStream { header, first, mut stream, .. } = data;
    let DataHeader::Subgroup(header) = header else { return Ok(()) };
    let result = copy(link, &header, first, &mut stream, track).await;
    match &result {
        Ok(()) => {}
        Err(Fault::Data(error)) => stream.stop(link.fault(*error)),
        Err(Fault::Write(error)) => {
            tracing::debug!(track = ?track.name(), %error, "moq: a stream is not kept");
            stream.stop(link.version.reset_code(ResetCode::ExcessiveLoad));
        }
    }
    result
}

async fn copy(
    link: &Link,
    header: &SubgroupHeader,
    first: Bytes,
    stream: &mut RecvStream,
    track: &track::Producer,
) -> Result<(), Fault> {
    let mut reader = SubgroupReader::new(link.version, header);
    let group = track.group(header.group, clock::now())?;
    let mut copying = Copying { header, track, group, subgroup: None, object: None };
    let mut arrived = Arrived { bytes: first, end: None };
    loop {
        while let Some(item) = reader.read(&mut arrived.bytes)? {
            match item {
                SubgroupItem::Object(head) => {
                    copying.object(reader.subgroup().unwrap_or(head.id), head)?;
                }
                SubgroupItem::Payload { bytes, last } => copying.payload(bytes, last)?,
            }
        }
        match arrived.end {
            None => arrived = arrive(stream).await,
            Some(End::Fin) => {
                reader.finish()?;
                copying.fin(reader.largest());
                return Ok(());
            }
            Some(End::Reset(code)) => {
                copying.reset(reset_of(link.version, code));
                return Ok(());
            }
            Some(End::Lost) => {
                copying.reset(reset(ResetCode::SessionClosed));
                return Ok(());
            }
        }
    }
}

/// What has come on a stream.
struct Arrived {
    bytes: Bytes,
    end: Option<End>,
}

/// How a stream ends.
#[derive(Clone, Copy)]
enum End {
    Fin,
    Reset(u64),
    Lost,
}

/// Waits for something, then takes all that is there and what comes while others have their turn: packets come in trains,
/// and each time that something is written everybody who reads has work. All of it is one piece then, which is its copy out
/// of the packets. No more than the stream's window comes at once.
async fn arrive(stream: &mut RecvStream) -> Arrived {
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut next = stream.read().await;
    let mut waited = false;
    let end = loop {
        match next {
            Read::Chunk(bytes) => pieces.push(bytes),
            Read::Fin => break Some(End::Fin),
            Read::Reset(code) => break Some(End::Reset(code)),
            Read::Lost => break Some(End::Lost),
        }
        next = match stream.read().now_or_never() {
            Some(read) => read,
            None if waited => break None,
            None => {
                waited = true;
                tokio::task::yield_now().await;
                match stream.read().now_or_never() {
                    Some(read) => read,
                    None => break None,
                }
            }
        };
    };
    Arrived { bytes: joined(pieces), end }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    match pieces.len() {
        0 => Bytes::new(),
        1 => pieces.remove(0),
        _ => pieces.concat().into(),
    }
}

/// A subgroup on its way into the spine.
struct Copying<'a> {
    header: &'a SubgroupHeader,
    track: &'a track::Producer,
    group: group::Producer,
    subgroup: Option<group::SubgroupProducer>,
    object: Option<ObjectWriter>,
}

impl Copying<'_> {
    fn object(&mut self, subgroup: u64, head: ObjectHead) -> Result<(), WriteError> {
        let now = clock::now();
        let subgroup = match &self.subgroup {
            Some(subgroup) => subgroup,
            None => {
                let subgroup = self.group.subgroup(subgroup, now)?;
                if self.header.end_of_group {
                    subgroup.ends_group();
                }
                self.subgroup.insert(subgroup)
            }
        };
        let header = Header {
            priority: self.header.priority.unwrap_or(self.track.info().priority),
            status: status_of(head.status),
            properties: head.properties.as_bytes().clone(),
            ..Header::new(head.id, now)
        };
        if head.payload_length == 0 {
            subgroup.write(header, Vec::new())?;
            if head.status != Status::Normal {
                self.group.end(Some(head.id), now);
            }
            return Ok(());
        }
        // Nothing, if it is there already: its payload is passed over.
        self.object = subgroup.begin(header, Some(head.payload_length))?;
        Ok(())
    }

    fn payload(&mut self, bytes: Bytes, last: bool) -> Result<(), WriteError> {
        let Some(object) = &mut self.object else { return Ok(()) };
        object.write(self.track.budget().payload(bytes))?;
        if last && let Some(object) = self.object.take() {
            object.finish()?;
        }
        Ok(())
    }

    fn fin(&mut self, largest: Option<u64>) {
        if let Some(subgroup) = self.subgroup.take() {
            subgroup.fin();
        }
        if self.header.end_of_group {
            self.group.end(largest, clock::now());
        }
    }

    fn reset(&mut self, code: spine::ResetCode) {
        self.object = None;
        if let Some(subgroup) = self.subgroup.take() {
            subgroup.reset(code);
        }
    }
}

fn datagram_object(datagram: Datagram, track: &track::Producer) -> Result<(), WriteError> {
    let now = clock::now();
    let group = track.group(datagram.group, now)?;
    let (status, payload) = match datagram.body {
        Body::Payload(payload) => (spine::Status::Normal, payload),
        Body::Status(status) => (status_of(status), Bytes::new()),
    };
    let header = Header {
        priority: datagram.priority.unwrap_or(track.info().priority),
        status,
        properties: datagram.properties.as_bytes().clone(),
        ..Header::new(datagram.object, now)
    };
    group.datagram(header, track.budget().payload(payload))?;
    if datagram.end_of_group || status != spine::Status::Normal {
        group.end(Some(datagram.object), now);
    }
    Ok(())
}

fn status_of(status: Status) -> spine::Status {
    match status {
        Status::Normal => spine::Status::Normal,
        Status::EndOfGroup => spine::Status::EndOfGroup,
        Status::EndOfTrack => spine::Status::EndOfTrack,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draft18_s10_2_13_d17_only_what_is_new_is_asked_for() {
        for (wanted, largest, outstanding, expect) in [
            (1, None, None, Some(1)),
            (5, Some(4), None, Some(5)),
            // It has begun already.
            (5, Some(5), None, None),
            (3, Some(9), None, None),
            // As much, or more, is outstanding.
            (5, Some(4), Some(5), None),
            (5, Some(4), Some(7), None),
            (8, Some(4), Some(7), Some(8)),
            // It was, and came.
            (8, Some(7), Some(7), Some(8)),
        ] {
            assert_eq!(to_ask(wanted, largest, outstanding), expect, "{wanted} {largest:?}");
        }
    }
}
