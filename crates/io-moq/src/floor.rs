//! Bare streams of the QUIC library below us, with nothing of MoQ on them: what `bench` holds the relay against.
//!
//! A group is a stream; a frame is its length in four bytes, big-endian, and itself. Whoever connects gets what is
//! new, in the shortest way there is: a task for each, fed by a channel for all.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::broadcast;

use crate::transport::{
    ConnectError, Connection, Endpoint, EndpointError, Read, RecvStream, SendStream, Trust,
};

/// What these streams are called in the handshake.
pub const PROTOCOL: &str = "floor";

/// One frame.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Whether it is the first of a group.
    pub begins_group: bool,
    /// What it holds.
    pub bytes: Bytes,
}

/// Sends to whoever comes, until the endpoint closes. Each has a task.
pub async fn serve(endpoint: Endpoint, frames: broadcast::Sender<Frame>) {
    while let Some(incoming) = endpoint.accept().await {
        let frames = frames.subscribe();
        tokio::spawn(async move {
            if let Ok(connection) = incoming.accept().await {
                send(connection, frames).await;
            }
        });
    }
}

async fn send(connection: Connection, mut frames: broadcast::Receiver<Frame>) -> Option<()> {
    let mut stream = None;
    loop {
        let frame = match frames.recv().await {
            Ok(frame) => frame,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return None,
        };
        if frame.begins_group {
            let over: Option<SendStream> = stream.replace(connection.open_uni().await?);
            if let Some(mut over) = over {
                over.finish();
            }
        }
        let Some(stream) = &mut stream else { continue };
        let length = u32::try_from(frame.bytes.len()).ok()?.to_be_bytes();
        let mut chunks = [Bytes::copy_from_slice(&length), frame.bytes];
        stream.write(&mut chunks).await.ok()?;
    }
}

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// There is no socket.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Reads all that comes; `took` is told the first eight bytes of each frame, and its length. Ends with the connection.
pub async fn watch(
    to: SocketAddr,
    trust: Trust,
    mut took: impl FnMut([u8; 8], usize),
) -> Result<(), WatchError> {
    let endpoint = Endpoint::client(to)?;
    let connection = endpoint.connect(to, "localhost", trust, &[PROTOCOL]).await?;
    let mut streams = FuturesUnordered::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni() => match stream {
                Some(stream) => streams.push(next(stream, Reading::default())),
                None => return Ok(()),
            },
            Some(read) = streams.next() => {
                let Some((stream, mut reading, chunk)) = read else { continue };
                reading.take(chunk, &mut took);
                streams.push(next(stream, reading));
            }
        }
    }
}

async fn next(mut stream: RecvStream, reading: Reading) -> Option<(RecvStream, Reading, Bytes)> {
    match stream.read().await {
        Read::Chunk(chunk) => Some((stream, reading, chunk)),
        Read::Fin | Read::Reset(_) | Read::Lost => None,
    }
}

/// A stream that is taken apart: length and first bytes, then what is left to pass over.
#[derive(Default)]
struct Reading {
    head: BytesMut,
    left: usize,
}

const HEAD: usize = 4 + 8;

impl Reading {
    fn take(&mut self, mut chunk: Bytes, took: &mut impl FnMut([u8; 8], usize)) {
        while !chunk.is_empty() {
            if self.left > 0 {
                let over = chunk.split_to(self.left.min(chunk.len()));
                self.left -= over.len();
            } else {
                self.head
                    .extend_from_slice(&chunk.split_to((HEAD - self.head.len()).min(chunk.len())));
                let Some((length, first)) = self.head.split_at_checked(4) else { continue };
                let Ok(first) = first.try_into() else { continue };
                let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                self.left = length.saturating_sub(8);
                took(first, length);
                self.head.clear();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_however_they_are_cut() {
        let mut stream = Vec::new();
        for (first, length) in [(1_u64, 8_u32), (2, 30), (3, 9)] {
            stream.extend(length.to_be_bytes());
            stream.extend(first.to_be_bytes());
            stream.extend(vec![0x55; length as usize - 8]);
        }
        for size in 1..stream.len() {
            let (mut reading, mut frames) = (Reading::default(), Vec::new());
            for piece in stream.chunks(size) {
                reading.take(Bytes::copy_from_slice(piece), &mut |first, length| {
                    frames.push((u64::from_be_bytes(first), length));
                });
            }
            assert_eq!(frames, [(1, 8), (2, 30), (3, 9)], "in pieces of {size}");
        }
    }
}
