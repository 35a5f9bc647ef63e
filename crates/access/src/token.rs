//! Tokens: JWTs, checked and made.

use aws_lc_rs::digest;
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control::VideoUid;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Map, Value};

use crate::claims::Grant;
use crate::keys::{self, Algorithm, PublicKey, ed25519_public};
use crate::limits::TOKEN_BYTES;

/// Why a token is not taken. None of them says which part of a signature was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No JWT, too long, or signed in a way that is not taken (`none`, HS256...).
    #[error("this is no token: a JWT signed with RS256, ES256 or EdDSA is expected")]
    Malformed,
    /// It must not be taken by who does not know an extension of JWS, and none is known here.
    #[error("this token's header has crit: no extension of JWS is known here")]
    Critical,
    /// There is no such signing key, or not any more.
    #[error("this token's signing key is not known here, or was deleted")]
    UnknownKey,
    /// The signature is not good.
    #[error("this token's signature is not good")]
    Signature,
    /// A claim is missing or is not what it should be.
    #[error("this token's claim {0} is missing or cannot be read")]
    Claim(&'static str),
    /// Its time is over.
    #[error("this token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("this token is not valid yet")]
    NotYet,
    /// Its owner has taken it back.
    #[error("this link was taken back")]
    TakenBack,
}

/// A key that tokens are checked with.
pub(crate) struct VerifyingKey {
    pub(crate) public: PublicKey,
    decoding: DecodingKey,
}

impl VerifyingKey {
    /// None if the key is damaged.
    pub(crate) fn new(public: PublicKey) -> Option<Self> {
        let decoding = public.decoding()?;
        Some(Self { public, decoding })
    }
}

/// Which key a token names: in its header, or in its claims as the vendor's clients do. Nothing of it is
/// believed yet.
pub(crate) fn kid(token: &str) -> Result<String, TokenError> {
    if token.len() > TOKEN_BYTES {
        return Err(TokenError::Malformed);
    }
    // Refuses algorithms that it does not know, `none` among them.
    let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
    if has_crit(token) {
        return Err(TokenError::Critical);
    }
    if let Some(kid) = header.kid {
        return Ok(kid);
    }
    let claims: Map<String, Value> = jsonwebtoken::dangerous::insecure_decode_claims(token)
        .map_err(|_| TokenError::Malformed)?;
    let kid = claims.get("kid").and_then(Value::as_str).map(str::to_owned);
    kid.ok_or(TokenError::Claim("kid"))
}

/// What a token says it is for: the uid of a video or of a live input. Its signature is not looked at, so this is for who holds the
/// token, and not for who is shown it.
pub fn subject(token: &str) -> Option<String> {
    kid(token).ok()?;
    let claims: Map<String, Value> = jsonwebtoken::dangerous::insecure_decode_claims(token).ok()?;
    claims.get("sub").and_then(Value::as_str).map(str::to_owned)
}

/// RFC 7515 §4.1.11: what `crit` names and is not known makes all of it invalid, also an empty list or one of names that
/// JWS has itself. The library's header leaves it out.
fn has_crit(token: &str) -> bool {
    let head = token.split('.').next().and_then(|head| URL_SAFE_NO_PAD.decode(head).ok());
    let head = head.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
    head.is_none_or(|head| head.contains_key("crit"))
}

/// Checks a token's signature with its key, and reads what it grants.
pub(crate) fn verify(token: &str, key: &VerifyingKey) -> Result<Grant, TokenError> {
    let algorithm = key.public.algorithm.jwa();
    // RFC 8725 §3.1: the key says how it signs, never the token.
    let mut validation = Validation::new(algorithm);
    // Times are ours: the vendor's sample writes them as text, and they are looked at with every request.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let decoded = jsonwebtoken::decode::<Map<String, Value>>(token, &key.decoding, &validation);
    let decoded = decoded.map_err(|error| match error.kind() {
        jsonwebtoken::errors::ErrorKind::InvalidSignature
        | jsonwebtoken::errors::ErrorKind::InvalidAlgorithm => TokenError::Signature,
        _ => TokenError::Malformed,
    })?;
    Grant::from_claims(&decoded.claims)
}

/// The server's own key: it signs for those who ask its API.
pub(crate) struct OwnKey {
    pub(crate) kid: String,
    encoding: EncodingKey,
    pub(crate) public: PublicKey,
}

impl OwnKey {
    /// The key of this seed, the same at every start.
    pub(crate) fn from_seed(seed: &[u8; 32]) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let jwk = ed25519_public(&pair);
        // The name follows from the key, so that tokens of another master key are told apart.
        let x = jwk.get("x").and_then(Value::as_str).unwrap_or_default();
        let kid = format!("own-{}", x.get(..12).unwrap_or(x));
        let encoding = EncodingKey::from_ed_der(pair.to_pkcs8v1().ok()?.as_ref());
        let public = PublicKey { algorithm: Algorithm::EdDsa, created_ms: 0, jwk };
        Some(Self { kid, encoding, public })
    }

    /// A token that grants this.
    pub(crate) fn sign(&self, grant: &Grant) -> Option<String> {
        let mut header = Header::new(Algorithm::EdDsa.jwa());
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, &grant.to_claims(&self.kid), &self.encoding).ok()
    }
}

/// A token signed with an owner's private key: PEM, or base64 of that.
pub(crate) fn sign_with(
    algorithm: Algorithm,
    kid: &str,
    pem: &str,
    grant: &Grant,
) -> Option<String> {
    let der = keys::from_pem(pem)?;
    let encoding = match algorithm {
        Algorithm::Rs256 => EncodingKey::from_rsa_der(keys::rsa_key(&der)?),
        Algorithm::Es256 => EncodingKey::from_ec_der(&der),
        Algorithm::EdDsa => EncodingKey::from_ed_der(&der),
    };
    let mut header = Header::new(algorithm.jwa());
    header.kid = Some(kid.to_owned());
    jsonwebtoken::encode(&header, &grant.to_claims(kid), &encoding).ok()
}

/// What it is remembered by.
pub(crate) fn hash_of(token: &str) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

/// A uid has no dot, a JWT has two.
pub(crate) fn is_token(segment: &str) -> bool {
    segment.contains('.')
}

/// A token and the video that is watched by it. RFC 7515 §7.1: a JWT has three parts, so this is none.
pub(crate) fn with_video(segment: &str) -> Option<(&str, &str)> {
    let (token, video) = segment.rsplit_once('.')?;
    let three = token.bytes().filter(|byte| *byte == b'.').count() == 2;
    (three && VideoUid::parse(video).is_ok()).then_some((token, video))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_understood_is_refused() {
        let named =
            |head: Value| kid(&format!("{}.e30.c2ln", URL_SAFE_NO_PAD.encode(head.to_string())));
        let head = |more: Value| {
            let mut head = serde_json::json!({ "alg": "ES256", "kid": "k" });
            head.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            head
        };
        assert_eq!(named(head(serde_json::json!({ "http://x.example/y": 1 }))), Ok("k".to_owned()));
        for crit in [
            serde_json::json!({ "crit": ["http://x.example/y"], "http://x.example/y": true }),
            serde_json::json!({ "crit": ["b64"], "b64": true }),
            serde_json::json!({ "crit": [] }),
            serde_json::json!({ "crit": null }),
        ] {
            assert!(named(head(crit.clone())).is_err(), "{crit}");
        }
    }
}
