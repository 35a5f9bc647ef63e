//! Reading whole frames of a raw track in decode order: what the packager, WHEP and outputs use.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Instant;

use spine::{
    Chunk, Close, Cursor, Event, Header, ObjectReader, Payload, SubgroupEvent, SubgroupReader,
};

/// What a track holds next.
#[derive(Debug)]
pub enum FrameEvent {
    /// A whole frame. The first one of a group carries the group's properties.
    Frame {
        /// The raw group.
        group: u64,
        /// The object's header, with its timing.
        header: Header,
        /// Its pieces, as they were stored.
        payload: Vec<Payload>,
    },
    /// Frames are missing here: a group was cut short or passed over.
    Lost,
    /// The track is over.
    End(Close),
}

/// Frames of one raw track. Such a track has one subgroup a group; groups are read one after the
/// other.
#[derive(Debug)]
pub struct Frames {
    cursor: Cursor,
    group: Option<SubgroupReader>,
    later: VecDeque<SubgroupReader>,
    object: Option<(ObjectReader, Vec<Payload>)>,
    end: Option<Close>,
}

impl Frames {
    /// Reads what the cursor finds.
    pub fn new(cursor: Cursor) -> Self {
        Self { cursor, group: None, later: VecDeque::new(), object: None, end: None }
    }

    /// The next frame.
    pub fn poll(&mut self, cx: &Context<'_>, now: Instant) -> Poll<FrameEvent> {
        loop {
            if self.object.is_some() {
                match self.poll_object(cx) {
                    Poll::Ready(Some(event)) => return Poll::Ready(event),
                    Poll::Ready(None) => continue,
                    Poll::Pending => return Poll::Pending,
                }
            }
            if let Some(group) = &mut self.group {
                match group.poll(cx) {
                    Poll::Ready(SubgroupEvent::Object(object)) => {
                        self.object = Some((object, Vec::new()));
                        continue;
                    }
                    Poll::Ready(SubgroupEvent::Fin) => {
                        self.group = None;
                        continue;
                    }
                    Poll::Ready(SubgroupEvent::Reset(_)) => {
                        self.group = None;
                        return Poll::Ready(FrameEvent::Lost);
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
            if let Some(next) = self.later.pop_front() {
                self.group = Some(next);
                continue;
            }
            if let Some(why) = self.end {
                return Poll::Ready(FrameEvent::End(why));
            }
            match self.cursor.poll(cx, now) {
                Poll::Ready(Event::Subgroup(reader)) => self.later.push_back(reader),
                Poll::Ready(Event::Skipped { .. }) => return Poll::Ready(FrameEvent::Lost),
                Poll::Ready(Event::End(why)) => self.end = Some(why),
                Poll::Ready(Event::Group(_) | Event::GroupEnd { .. } | Event::Datagram(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Collects the object that is being read; nothing if it turned out to be no frame.
    fn poll_object(&mut self, cx: &Context<'_>) -> Poll<Option<FrameEvent>> {
        let Some((object, chunks)) = &mut self.object else { return Poll::Ready(None) };
        loop {
            match object.poll_chunk(cx) {
                Poll::Ready(Chunk::Data(chunk)) => chunks.push(chunk),
                Poll::Ready(Chunk::End) => break,
                Poll::Ready(Chunk::Reset(_)) => {
                    self.object = None;
                    return Poll::Ready(None);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
        let (group, header) = (object.location().group, object.header().clone());
        let payload = std::mem::take(chunks);
        self.object = None;
        Poll::Ready(Some(FrameEvent::Frame { group, header, payload }))
    }
}
