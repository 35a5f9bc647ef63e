//! `Idempotency-Key`: a request to make a live input that is sent again, because its answer was lost, gets the one that
//! was made; for six hours, as the vendor has it. What is remembered is beside the input in the database, so a restart in
//! between changes nothing.

use axum::http::{HeaderMap, HeaderName, StatusCode};
use bytes::Bytes;
use control::{Document, DocumentKey, Expect, Input, InputSettings, InputUid, Once, Secret};
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::envelope::ApiError;
use crate::inputs::{now_ms, random};
use crate::limits::{IDEMPOTENCY_AGE, IDEMPOTENCY_KEY_CHARS_MAX, IDEMPOTENCY_KEYS};

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const KIND: &str = "once";

/// What is remembered of a key.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    input: String,
    /// The hash of the body that it came with.
    body: String,
    at_ms: u64,
}

/// The key of a request, as it is remembered: of the account, whoever asks, and hashed, because it may be any text.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<DocumentKey>, ApiError> {
    let Some(given) = headers.get(HEADER) else { return Ok(None) };
    let wrong = || {
        let words = format!("must be 1 to {IDEMPOTENCY_KEY_CHARS_MAX} visible characters");
        ApiError::malformed(format!("Idempotency-Key: {words}"))
    };
    let text = given.to_str().ok().map(str::trim).filter(|text| !text.is_empty());
    let text = text.filter(|text| text.len() <= IDEMPOTENCY_KEY_CHARS_MAX).ok_or_else(wrong)?;
    DocumentKey::new(KIND, &hash(text)).map(Some).map_err(|_| wrong())
}

fn hash(text: &str) -> String {
    Secret::new(text).hash().0.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a live input, unless this key has made one; and whether it had.
pub(crate) async fn create(
    api: &Api,
    key: DocumentKey,
    body: &Bytes,
    settings: InputSettings,
) -> Result<(Input, bool), ApiError> {
    let (body, now) = (hash(&String::from_utf8_lossy(body)), now_ms());
    // Again after an old one was forgotten; never more often, whatever others do.
    for _ in 0..2 {
        let uid = InputUid::from_random(random(api));
        let remembered = Remembered { input: uid.to_string(), body: body.clone(), at_ms: now };
        let content = Bytes::from(serde_json::to_vec(&remembered).unwrap_or_default());
        let (once, settings) = ((key.clone(), content), settings.clone());
        match api.control.create_input_once(once, uid, settings, random(api), now).await? {
            Once::Made(input) => {
                tidy(api, now).await?;
                return Ok((*input, false));
            }
            Once::Before(document) => match read(&document, now) {
                Some(remembered) => return Ok((repeated(api, &remembered, &body).await?, true)),
                None => forget(api, document).await?,
            },
        }
    }
    Err(ApiError::conflict("somebody else uses this Idempotency-Key at the same time", true))
}

async fn repeated(api: &Api, remembered: &Remembered, body: &str) -> Result<Input, ApiError> {
    if remembered.body != body {
        let words = "this Idempotency-Key came with another body before: use a new one";
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, 10_009, words));
    }
    let uid = InputUid::parse(&remembered.input);
    let found = match uid {
        Ok(uid) => api.control.input(&uid).await?,
        Err(_) => None,
    };
    let words = "the live input that was made with this Idempotency-Key was deleted: use a new one";
    found.ok_or_else(|| ApiError::conflict(words, false))
}

/// None if it is so old that it does not hold any more.
fn read(document: &Document, now_ms: u64) -> Option<Remembered> {
    let remembered: Remembered = serde_json::from_slice(&document.content).ok()?;
    let age = now_ms.saturating_sub(remembered.at_ms);
    (u128::from(age) < IDEMPOTENCY_AGE.as_millis()).then_some(remembered)
}

/// The one that was read; if it is another one now, that one stays.
async fn forget(api: &Api, document: Document) -> Result<(), ApiError> {
    use control::DocumentError::{Changed, NotFound};
    match api.control.delete_document(document.key, Expect::Rev(document.rev)).await {
        Ok(()) | Err(NotFound | Changed { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Forgets what is old, and the oldest where there are too many.
async fn tidy(api: &Api, now_ms: u64) -> Result<(), ApiError> {
    // A list has as many rows as are kept, and one that was just made.
    let all = api.control.documents(KIND, "").await?;
    let (mut fresh, mut over) = (Vec::new(), Vec::new());
    for document in all {
        match read(&document, now_ms) {
            Some(remembered) => fresh.push((remembered.at_ms, document)),
            None => over.push(document),
        }
    }
    fresh.sort_by_key(|(at_ms, _)| *at_ms);
    let more = fresh.len().saturating_sub(IDEMPOTENCY_KEYS);
    over.extend(fresh.drain(..more).map(|(_, document)| document));
    for document in over {
        forget(api, document).await?;
    }
    Ok(())
}
