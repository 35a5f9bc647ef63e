//! Cores that speak over one ordered byte stream (TCP, TLS): one vocabulary, so one driver loop.

use bytes::Bytes;

use crate::Core;

/// What a byte stream tells its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    /// The next bytes from the peer, cut anywhere.
    Bytes(&'a [u8]),
    /// The peer will send no more: an orderly end or a broken connection.
    Eof,
    /// The time that [`crate::Poll::Wait`] named has come.
    Timeout,
}

/// What a core wants from the owner of its byte stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output<E> {
    /// Write these bytes, in this order.
    Send(Bytes),
    /// Something happened.
    Event(E),
    /// Nothing follows. Write what is unwritten, shut down the sending half, read and drop what still
    /// comes for a moment (closing with unread bytes makes TCP reset the connection, and the last words
    /// are lost), then close.
    Close,
}

/// A [`Core`] over one byte stream. Implemented by itself for whatever fits.
pub trait StreamCore:
    for<'a> Core<Input<'a> = Input<'a>, Output = Output<<Self as StreamCore>::Event>>
{
    /// The protocol's own events.
    type Event;
}

impl<C, E> StreamCore for C
where
    C: Core<Output = Output<E>>,
    C: for<'a> Core<Input<'a> = Input<'a>>,
{
    type Event = E;
}
