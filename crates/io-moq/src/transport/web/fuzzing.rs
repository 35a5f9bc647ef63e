//! What a peer says at the beginning of a session of WebTransport and of its streams, without a connection: for the
//! fuzz target in `fuzz/`. Panics on a broken promise.

use std::future::Future;

use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use web_transport_proto as proto;

use super::super::Ended;

/// The first byte says what it is, the second where it is cut in two. Promise: cut or not, it means the same, and nothing
/// waits for more than there is.
pub(crate) fn bytes(data: &[u8]) {
    let Some((&[what, cut], bytes)) = data.split_first_chunk::<2>() else { return };
    let (first, second) = bytes.split_at(bytes.len().min(usize::from(cut)));
    let (whole, cut) = (bytes, first.chain(second));
    match what % 5 {
        0 => assert_eq!(now(request(whole)), now(request(cut))),
        1 => assert_eq!(now(answer(whole)), now(answer(cut))),
        2 => assert_eq!(now(settings(whole)), now(settings(cut))),
        3 => assert_eq!(now(end(whole)), now(end(cut))),
        _ => assert_eq!(now(beginning(whole)), now(beginning(cut))),
    }
}

/// What is there is all that comes.
fn now<T>(reading: impl Future<Output = T>) -> T {
    let Some(read) = reading.now_or_never() else { panic!("it waits behind the end") };
    read
}

/// Promise: what can be read can be written, and means the same then.
async fn request(mut stream: impl AsyncRead + Unpin) -> Option<(String, Vec<String>)> {
    let mut request = proto::ConnectRequest::read(&mut stream).await.ok()?;
    // No part of what is asked for (RFC 3986 §3.5).
    request.url.set_fragment(None);
    let read = (request.url.to_string(), request.protocols.clone());
    let mut written = Vec::new();
    if request.write(&mut written).await.is_ok() {
        let again = proto::ConnectRequest::read(&mut written.as_slice()).await.ok();
        assert_eq!(
            again.map(|again| (again.url.to_string(), again.protocols)).as_ref(),
            Some(&read)
        );
    }
    Some(read)
}

async fn answer(mut stream: impl AsyncRead + Unpin) -> Option<(u16, Option<String>)> {
    let answer = proto::ConnectResponse::read(&mut stream).await.ok()?;
    Some((answer.status.as_u16(), answer.protocol))
}

async fn settings(mut stream: impl AsyncRead + Unpin) -> Option<u64> {
    Some(super::settings(&mut stream).await.ok()?.supports_webtransport())
}

async fn end(stream: impl AsyncRead + Unpin) -> (Option<u64>, String) {
    let Ended { code, reason } = super::end_of(stream).await;
    assert!(code.is_none_or(|code| u32::try_from(code).is_ok()), "a code is 32 bits");
    (code, reason)
}

async fn beginning(mut stream: impl AsyncRead + Unpin) -> Option<(u64, Option<u64>)> {
    let kind = proto::VarInt::read(&mut stream).await.ok()?;
    let of = proto::VarInt::read(&mut stream).await.ok();
    Some((kind.into_inner(), of.map(proto::VarInt::into_inner)))
}

/// One of each, for the seeds: its name and the bytes that [`bytes`] takes.
pub(crate) fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let mut request = Vec::new();
    if let Ok(url) = "https://a.example:4443/TOKEN?jwt=x".parse::<url::Url>() {
        let asked = proto::ConnectRequest::new(url);
        let asked = asked.with_protocols(["moqt-22", "moqt-18"].map(str::to_owned));
        let _ = asked.encode(&mut request);
    }
    let mut answer = Vec::new();
    let _ = proto::ConnectResponse::OK.with_protocol("moqt-18").encode(&mut answer);
    let mut settings = proto::Settings::default();
    settings.enable_webtransport(1);
    let mut ours = Vec::new();
    settings.encode(&mut ours);
    // The kind of the stream stands before them, and is read by another.
    ours.remove(0);
    let mut close = Vec::new();
    proto::Capsule::CloseWebTransportSession { code: 3, reason: "wrong".to_owned() }
        .encode(&mut close);
    let mut end = vec![0x21, 0x01, 0x00, 0x00, u8::try_from(close.len()).unwrap_or(0)];
    end.extend(close);
    let beginning = vec![0x40, 0x54, 0x00];
    [
        ("request", request),
        ("answer", answer),
        ("settings", ours),
        ("end", end),
        ("beginning", beginning),
    ]
    .into_iter()
    .zip(0u8..)
    .map(|((name, bytes), what)| (name, [&[what, 7], bytes.as_slice()].concat()))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_of_the_fuzz_target_keep_their_promises() {
        sansio::harness::replay("web_transport", 2_000, bytes);
    }

    #[test]
    fn the_samples_mean_what_they_say() {
        let of = |wanted: &str| {
            let found = samples().into_iter().find(|(name, _)| *name == wanted);
            found.map(|(_, bytes)| bytes[2..].to_vec()).unwrap_or_default()
        };
        let (url, protocols) = now(request(of("request").as_slice())).unwrap_or_default();
        assert_eq!((url.as_str(), protocols.len()), ("https://a.example:4443/TOKEN?jwt=x", 2));
        assert_eq!(now(answer(of("answer").as_slice())), Some((200, Some("moqt-18".to_owned()))));
        assert_eq!(now(settings(of("settings").as_slice())), Some(1));
        assert_eq!(now(end(of("end").as_slice())), (Some(3), "wrong".to_owned()));
        assert_eq!(now(beginning(of("beginning").as_slice())), Some((0x54, Some(0))));
    }
}
