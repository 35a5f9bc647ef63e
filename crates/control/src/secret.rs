//! Secrets: never printed, encrypted at rest, found by their hash.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A key or a passphrase. It cannot be printed: `Debug` shows `***`, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// 192 bits as 32 URL-safe characters, of which the first is no dash: programs take an argument
    /// that begins with one for an option.
    pub fn from_random(mut random: [u8; 24]) -> Self {
        if URL_SAFE_NO_PAD.encode(random).starts_with('-') {
            random[0] = 0;
        }
        Self(URL_SAFE_NO_PAD.encode(random))
    }

    /// The text itself, for the wire and for its owner.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What it is found by. The secrets have 192 random bits, so a plain hash can't be searched for
    /// them, and comparing hashes in constant time would hide nothing: who could choose the hash of
    /// a guess could as well choose the guess.
    pub fn hash(&self) -> KeyHash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest::digest(&digest::SHA256, self.0.as_bytes()).as_ref());
        KeyHash(hash)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// SHA-256 of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash(pub [u8; 32]);

/// What was encrypted does not open: another master key, or damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the secrets do not open with this master key")]
pub struct CannotOpen;

/// The master key, under which secrets are encrypted (AES-256-GCM).
pub struct MasterKey {
    sealing: LessSafeKey,
    deriving: hmac::Key,
}

impl MasterKey {
    /// Takes the key; where it is kept is the caller's business.
    pub fn new(key: &[u8; 32]) -> Self {
        let deriving = hmac::Key::new(hmac::HMAC_SHA256, key);
        // invariant: the key has the length that AES-256-GCM asks for, the only way to fail.
        #[allow(clippy::expect_used)]
        let key = UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are an AES-256 key");
        Self { sealing: LessSafeKey::new(key), deriving }
    }

    /// Encrypts; `nonce` must be fresh random bytes. `owner` must be named again to open it, so that
    /// one row's secret can't be moved to another.
    pub(crate) fn seal(&self, owner: &str, nonce: [u8; 12], plain: &[u8]) -> Vec<u8> {
        let mut sealed = nonce.to_vec();
        let mut text = plain.to_vec();
        let aad = Aad::from(owner.as_bytes());
        let nonce = Nonce::assume_unique_for_key(nonce);
        // invariant: AES-GCM refuses only texts of many gigabytes.
        #[allow(clippy::expect_used)]
        self.sealing.seal_in_place_append_tag(nonce, aad, &mut text).expect("a short text");
        sealed.extend_from_slice(&text);
        sealed
    }

    /// A key for another purpose, the same at every start: HMAC-SHA-256 of its name.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        key.copy_from_slice(hmac::sign(&self.deriving, purpose.as_bytes()).as_ref());
        key
    }

    /// Opens what [`MasterKey::seal`] made.
    pub(crate) fn open(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, CannotOpen> {
        let (nonce, text) = sealed.split_first_chunk::<12>().ok_or(CannotOpen)?;
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(owner.as_bytes());
        let plain = self.sealing.open_in_place(nonce, aad, &mut text).map_err(|_| CannotOpen)?;
        Ok(plain.to_vec())
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_cannot_be_printed() {
        let secret = Secret::from_random([7; 24]);
        assert_eq!(format!("{secret:?} {:?}", MasterKey::new(&[1; 32])), "*** ***");
        assert_eq!(secret.expose().len(), 32);
        assert!(!secret.expose().contains(['+', '/', '=']));
    }

    #[test]
    fn no_secret_begins_as_an_option_does() {
        for first in 0..=u8::MAX {
            let mut random = [255; 24];
            random[0] = first;
            let secret = Secret::from_random(random);
            assert!(!secret.expose().starts_with('-'), "{first}: {}", secret.expose());
            assert_eq!(secret.expose().len(), 32);
        }
    }

    #[test]
    fn derived_keys_differ_by_purpose_and_master_key() {
        let key = |master, purpose| MasterKey::new(&[master; 32]).derive(purpose);
        assert_eq!(key(1, "a"), key(1, "a"));
        assert_ne!(key(1, "a"), key(1, "b"));
        assert_ne!(key(1, "a"), key(2, "a"));
        assert_ne!(key(1, "a"), [1; 32]);
    }

    #[test]
    fn what_was_sealed_opens_only_with_its_key_for_its_owner_and_undamaged() {
        let key = MasterKey::new(&[1; 32]);
        let sealed = key.seal("an input", [3; 12], b"hush");
        assert!(!sealed.windows(4).any(|w| w == b"hush"));
        assert_eq!(key.open("an input", &sealed).unwrap(), b"hush");
        assert_eq!(key.open("another input", &sealed), Err(CannotOpen));
        assert_eq!(MasterKey::new(&[2; 32]).open("an input", &sealed), Err(CannotOpen));
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(key.open("an input", &damaged), Err(CannotOpen), "byte {at}");
            assert_eq!(key.open("an input", &sealed[..at]), Err(CannotOpen), "cut at {at}");
        }
    }
}
