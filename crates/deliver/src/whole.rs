//! HTTP/1.0 tells the end of a body of unknown length by closing (RFC 1945 §7.2.2): one that breaks off looks whole there, and a
//! cache, nginx by itself is one that asks so, would keep the stump. Who asks so gets a body with its length, or an error.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures_util::StreamExt;
use http_body::Body as _;

use crate::body::Pieces;
use crate::http::plain;
use crate::limits::WHOLE_BYTES_MAX;

/// Where all answers pass.
pub(crate) async fn whole_for_old_clients(request: Request, next: Next) -> Response {
    let old = request.version() < Version::HTTP_11 && request.method() != Method::HEAD;
    let response = next.run(request).await;
    if old { in_one_piece(response).await } else { response }
}

/// The same answer with its length. What breaks off, or is too long to wait for, is an error that nobody keeps.
async fn in_one_piece(response: Response) -> Response {
    let said = response.headers().contains_key(header::CONTENT_LENGTH);
    if said || response.body().size_hint().exact().is_some() {
        return response;
    }
    let (head, body) = response.into_parts();
    match gathered(body).await {
        Ok(pieces) => Response::from_parts(head, Pieces::new(pieces).into_body()),
        Err((status, words)) => plain(status, words),
    }
}

async fn gathered(body: Body) -> Result<Vec<Bytes>, (StatusCode, &'static str)> {
    let (mut pieces, mut len) = (Vec::new(), 0);
    let mut body = body.into_data_stream();
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else {
            return Err((StatusCode::SERVICE_UNAVAILABLE, "this broke off: ask again"));
        };
        len += piece.len();
        if len > WHOLE_BYTES_MAX {
            let words = "this is sent while it is made: ask with HTTP/1.1";
            return Err((StatusCode::HTTP_VERSION_NOT_SUPPORTED, words));
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    type Piece = Result<Bytes, io::Error>;

    fn made(pieces: impl IntoIterator<Item = Piece>) -> Response {
        let pieces: Vec<Piece> = pieces.into_iter().collect();
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        let head = Response::builder().header(header::CACHE_CONTROL, "immutable");
        head.body(body).unwrap()
    }

    #[tokio::test]
    async fn what_is_made_as_it_is_sent_has_its_length_or_is_an_error() {
        let piece = || Ok(Bytes::from_static(b"piece "));
        let broken = || Err(io::Error::other("broken"));
        let mebibyte = Bytes::from(vec![0; 1 << 20]);
        let mebibytes = |count| (0..count).map(|_| Ok(mebibyte.clone())).collect::<Vec<Piece>>();
        let most = WHOLE_BYTES_MAX >> 20;
        for (case, answer, status, cache, len) in [
            ("whole", made([piece(), piece()]), 200, "immutable", Some(12)),
            ("empty", made([]), 200, "immutable", Some(0)),
            ("breaks off", made([piece(), broken()]), 503, "no-store", None),
            ("long", made(mebibytes(most)), 200, "immutable", Some(WHOLE_BYTES_MAX as u64)),
            ("too long", made(mebibytes(most + 1)), 505, "no-store", None),
        ] {
            let answer = in_one_piece(answer).await;
            assert_eq!(answer.status().as_u16(), status, "{case}");
            assert_eq!(answer.headers()[header::CACHE_CONTROL], cache, "{case}");
            let exact = answer.body().size_hint().exact();
            assert!(exact.is_some() && (len.is_none() || exact == len), "{case}: {exact:?}");
        }
    }

    #[tokio::test]
    async fn what_has_told_its_length_is_sent_as_it_comes() {
        let mut answer = made([Err(io::Error::other("nobody reads this"))]);
        answer.headers_mut().insert(header::CONTENT_LENGTH, 7.into());
        let answer = in_one_piece(answer).await;
        assert_eq!((answer.status(), answer.body().size_hint().exact()), (StatusCode::OK, None));
    }
}
