//! What one core can put on the wire at all: packets of QUIC's shape, sealed one by one with a key of their own
//! connection, in trains of ten, as the QUIC library sends them. What a relay costs is held against this.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use crate::host::{Cpu, LOAD_CORE, SERVER_CORE, pin};

/// Bytes of a datagram, its tag among them.
const PACKET: usize = 1_200;
const TAG: usize = 16;
/// Header of a short packet: flags, connection ID, number.
const HEADER: usize = 11;
/// Packets handed to the system at once.
const TRAIN: usize = 10;
const SINKS: usize = 64;

/// CPU seconds for 10^9 bytes of payload.
pub(crate) fn cost(window: Duration) -> Result<f64> {
    let sinks: Vec<UdpSocket> =
        (0..SINKS).map(|_| UdpSocket::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    let to = sinks.iter().map(UdpSocket::local_addr).collect::<std::io::Result<Vec<_>>>()?;
    let over = Arc::new(AtomicBool::new(false));
    let drain = {
        let over = over.clone();
        std::thread::spawn(move || {
            pin(LOAD_CORE)?;
            drain(&sinks, &over)
        })
    };
    pin(SERVER_CORE)?;
    let sent = send(&to, window);
    over.store(true, Ordering::Relaxed);
    pin(LOAD_CORE)?;
    drain.join().ok().context("the thread that receives")??;
    sent
}

fn send(to: &[std::net::SocketAddr], window: Duration) -> Result<f64> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let state = UdpSocketState::new((&socket).into())?;
    let keys = to
        .iter()
        .map(|_| UnboundKey::new(&AES_128_GCM, &[7; 16]).map(LessSafeKey::new))
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .context("a key of AES-128")?;
    let mut train = vec![0_u8; PACKET * TRAIN];
    let (start, cpu) = (Instant::now(), Cpu::of_this_thread());
    let (mut number, mut bytes) = (0_u64, 0);
    while start.elapsed() < window {
        for (key, destination) in keys.iter().zip(to) {
            for packet in train.chunks_mut(PACKET) {
                number += 1;
                let mut nonce = [0; 12];
                nonce[4..].copy_from_slice(&number.to_be_bytes());
                let (header, rest) = packet.split_at_mut(HEADER);
                let (payload, tag) = rest.split_at_mut(PACKET - HEADER - TAG);
                let nonce = Nonce::assume_unique_for_key(nonce);
                let sealed = key.seal_in_place_separate_tag(nonce, Aad::from(&*header), payload);
                tag.copy_from_slice(sealed.ok().context("sealing a packet")?.as_ref());
                bytes += payload.len();
            }
            let transmit = Transmit {
                destination: *destination,
                ecn: None,
                contents: &train,
                segment_size: Some(PACKET),
                src_ip: None,
            };
            // What does not fit is lost, as elsewhere: it cost as much.
            let _ = state.try_send((&socket).into(), &transmit);
        }
    }
    Ok((Cpu::of_this_thread() - cpu) / (bytes as f64 / 1e9))
}

/// Takes trains as they are, so that the system need not cut them on the sender's account.
fn drain(sinks: &[UdpSocket], over: &AtomicBool) -> Result<()> {
    let states = sinks
        .iter()
        .map(|sink| UdpSocketState::new(sink.into()))
        .collect::<std::io::Result<Vec<_>>>()?;
    let mut buffer = vec![0; 64 << 10];
    while !over.load(Ordering::Relaxed) {
        for (sink, state) in sinks.iter().zip(&states) {
            let mut slices = [std::io::IoSliceMut::new(&mut buffer)];
            let mut meta = [RecvMeta::default()];
            while state.recv(sink.into(), &mut slices, &mut meta).is_ok() {}
        }
    }
    Ok(())
}
