//! Signing keys: an owner's service signs links by itself. The private half is shown once and not kept.

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use control::Secret;
use jsonwebtoken::DecodingKey;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How a key signs. RFC 7518 §3.1, RFC 8037 §3.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSA with SHA-256: what existing clients sign with.
    #[default]
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    pub(crate) fn jwa(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

/// A signing key that was made this moment.
#[derive(Debug)]
pub struct NewKey {
    /// Its id, `kid` in tokens.
    pub id: String,
    /// When it was made, ms since 1970.
    pub created_ms: u64,
    /// The private key as PKCS #8 in PEM.
    pub pem: Secret,
    /// The private key as a JWK (RFC 7517).
    pub jwk: Secret,
    pub(crate) public: PublicKey,
}

/// What is kept of a signing key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PublicKey {
    pub(crate) algorithm: Algorithm,
    pub(crate) created_ms: u64,
    /// The public members of its JWK: `n` and `e`, `x` and `y`, or `x`.
    pub(crate) jwk: Map<String, Value>,
}

/// A key can't be made: the machine is out of randomness or memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a signing key can't be made")]
pub struct CannotMake;

/// Makes a signing key. An RSA key takes a good part of a second: not on a task that others wait for.
pub fn generate(algorithm: Algorithm, id: String, created_ms: u64) -> Result<NewKey, CannotMake> {
    let (der, public, private) = match algorithm {
        Algorithm::Rs256 => rsa()?,
        Algorithm::Es256 => p256()?,
        Algorithm::EdDsa => ed25519()?,
    };
    let mut jwk = public.clone();
    jwk.extend(private);
    jwk.insert("use".to_owned(), json!("sig"));
    jwk.insert("kid".to_owned(), json!(id));
    jwk.insert("alg".to_owned(), json!(algorithm));
    Ok(NewKey {
        id,
        created_ms,
        pem: Secret::new(pem(&der)),
        jwk: Secret::new(Value::Object(jwk).to_string()),
        public: PublicKey { algorithm, created_ms, jwk: public },
    })
}

type Parts = (Vec<u8>, Map<String, Value>, Map<String, Value>);

fn rsa() -> Result<Parts, CannotMake> {
    let pair = aws_lc_rs::rsa::KeyPair::generate(KeySize::Rsa2048).map_err(|_| CannotMake)?;
    let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| CannotMake)?;
    let der = der.as_ref().to_vec();
    // RFC 8017 A.1.2: version, n, e, d, p, q, dp, dq, qi.
    let numbers = rsa_numbers(&der).ok_or(CannotMake)?;
    let member =
        |(name, number): (&str, &&[u8])| (name.to_owned(), json!(URL_SAFE_NO_PAD.encode(number)));
    let names = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];
    let mut members = names.into_iter().zip(&numbers).map(member);
    let mut public: Map<String, Value> = members.by_ref().take(2).collect();
    let private = members.collect();
    public.insert("kty".to_owned(), json!("RSA"));
    Ok((der, public, private))
}

fn p256() -> Result<Parts, CannotMake> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| CannotMake)?;
    let der = pair.to_pkcs8v1().map_err(|_| CannotMake)?.as_ref().to_vec();
    // SEC 1 §2.3.3: 4, x, y.
    let point = pair.public_key().as_ref();
    let (x, y) = point.get(1..65).map(|point| point.split_at(32)).ok_or(CannotMake)?;
    let secret = pair.private_key().as_be_bytes().map_err(|_| CannotMake)?;
    let public = members(&[("x", x), ("y", y)], &[("kty", "EC"), ("crv", "P-256")]);
    Ok((der, public, members(&[("d", secret.as_ref())], &[])))
}

fn ed25519() -> Result<Parts, CannotMake> {
    let pair = Ed25519KeyPair::generate().map_err(|_| CannotMake)?;
    let der = pair.to_pkcs8v1().map_err(|_| CannotMake)?.as_ref().to_vec();
    let seed = pair.seed().map_err(|_| CannotMake)?;
    let seed = seed.as_be_bytes().map_err(|_| CannotMake)?;
    Ok((der, ed25519_public(&pair), members(&[("d", seed.as_ref())], &[])))
}

pub(crate) fn ed25519_public(pair: &Ed25519KeyPair) -> Map<String, Value> {
    members(&[("x", pair.public_key().as_ref())], &[("kty", "OKP"), ("crv", "Ed25519")])
}

fn members(numbers: &[(&str, &[u8])], texts: &[(&str, &str)]) -> Map<String, Value> {
    let numbers =
        numbers.iter().map(|(name, n)| ((*name).to_owned(), json!(URL_SAFE_NO_PAD.encode(n))));
    numbers.chain(texts.iter().map(|(name, text)| ((*name).to_owned(), json!(text)))).collect()
}

/// RFC 7468 §10.
fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str("-----END PRIVATE KEY-----\n");
    out
}

/// The document in a PEM text, which may be in base64 as a whole.
pub(crate) fn from_pem(text: &str) -> Option<Vec<u8>> {
    let decoded;
    let mut text = text.trim();
    if !text.starts_with("-----") {
        decoded = String::from_utf8(STANDARD.decode(text).ok()?).ok()?;
        text = decoded.trim();
    }
    let body = text.strip_prefix("-----BEGIN PRIVATE KEY-----")?;
    let body = body.strip_suffix("-----END PRIVATE KEY-----")?;
    STANDARD.decode(body.split_whitespace().collect::<String>()).ok()
}

const INTEGER: u8 = 2;
const OCTETS: u8 = 4;
const SEQUENCE: u8 = 0x30;

/// The RSAPrivateKey in a PKCS #8 document. RFC 5208 §5: version, algorithm, then the key as octets.
pub(crate) fn rsa_key(der: &[u8]) -> Option<&[u8]> {
    let (mut document, _) = element(der, SEQUENCE)?;
    (_, document) = element(document, INTEGER)?;
    (_, document) = element(document, SEQUENCE)?;
    Some(element(document, OCTETS)?.0)
}

/// The eight numbers of an RSA key in a PKCS #8 document, without leading zeros.
fn rsa_numbers(der: &[u8]) -> Option<Vec<&[u8]>> {
    let (key, _) = element(rsa_key(der)?, SEQUENCE)?;
    let (_, mut rest) = element(key, INTEGER)?;
    let mut numbers = Vec::with_capacity(8);
    for _ in 0..8 {
        let (number, after) = element(rest, INTEGER)?;
        numbers.push(number.strip_prefix(&[0]).unwrap_or(number));
        rest = after;
    }
    Some(numbers)
}

/// An element of DER with this tag: its contents, and what comes after it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_first_chunk::<2>()?;
    let (length, rest) = match usize::from(head[1]) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long & 0x7f)?;
            let length = bytes
                .iter()
                .try_fold(0usize, |n, b| n.checked_mul(256)?.checked_add((*b).into()))?;
            (length, rest)
        }
    };
    (head[0] == tag).then(|| rest.split_at_checked(length)).flatten()
}

impl PublicKey {
    /// What checks signatures. None if the key is damaged.
    pub(crate) fn decoding(&self) -> Option<DecodingKey> {
        let member = |name: &str| self.jwk.get(name).and_then(Value::as_str);
        match self.algorithm {
            Algorithm::Rs256 => DecodingKey::from_rsa_components(member("n")?, member("e")?).ok(),
            Algorithm::Es256 => DecodingKey::from_ec_components(member("x")?, member("y")?).ok(),
            Algorithm::EdDsa => DecodingKey::from_ed_components(member("x")?).ok(),
        }
    }
}
