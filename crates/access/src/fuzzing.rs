//! Tokens, for the fuzz target in `fuzz/` and for tests: any bytes in, no panic out, and nothing that was changed is good.

use aws_lc_rs::signature::Ed25519KeyPair;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::api_token::id_of;
use crate::claims::Grant;
use crate::keys::from_pem;
use crate::rules;
use crate::token::{OwnKey, VerifyingKey, kid, verify};

const SEED: [u8; 32] = [7; 32];

/// The first byte says what it is: a token as a stranger sends it; its header; its claims, signed by who has the key; an
/// API token; a private key in PEM.
pub fn token(data: &[u8]) {
    let Some((which, data)) = data.split_first() else {
        return;
    };
    // invariant: the seed makes a key, always the same.
    let (Some(own), Ok(pair)) =
        (OwnKey::from_seed(&SEED), Ed25519KeyPair::from_seed_unchecked(&SEED))
    else {
        panic!("the seed makes a key");
    };
    let Some(key) = VerifyingKey::new(own.public.clone()) else { panic!("the key is its own") };
    let text = String::from_utf8_lossy(data);
    match which {
        0 => {
            let _ = kid(&text);
            let _ = verify(&text, &key);
        }
        1 => signed(&pair, data, br#"{"sub":"a","exp":1}"#, &key),
        2 => signed(
            &pair,
            format!(r#"{{"alg":"EdDSA","kid":"{}"}}"#, own.kid).as_bytes(),
            data,
            &key,
        ),
        3 => assert!(id_of(&text).is_none_or(|id| id.len() == 32 && text.contains(id))),
        _ => drop(from_pem(&text)),
    }
}

/// A token of this header and these claims with a good signature, for the seeds.
pub fn sample(header: &str, claims: &str) -> String {
    match Ed25519KeyPair::from_seed_unchecked(&SEED) {
        Ok(pair) => written(&pair, header.as_bytes(), claims.as_bytes()),
        Err(_) => String::new(),
    }
}

fn written(pair: &Ed25519KeyPair, header: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = pair.sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

/// With a good signature: what it grants can be written and read again, and the same signature under other claims is
/// refused.
fn signed(pair: &Ed25519KeyPair, header: &[u8], claims: &[u8], key: &VerifyingKey) {
    let token = written(pair, header, claims);
    let _ = kid(&token);
    let Ok(grant) = verify(&token, key) else { return };
    let whole = Grant { expires_ms: grant.expires_ms / 1000 * 1000, ..grant.clone() };
    let whole = Grant { not_before_ms: grant.not_before_ms.map(|at| at / 1000 * 1000), ..whole };
    assert_eq!(Grant::from_claims(&grant.to_claims("k")), Ok(whole));
    let list = Value::Array(grant.rules.iter().map(rules::Rule::to_json).collect());
    assert_eq!(rules::parse(&list).as_ref(), Ok(&grant.rules));
    let mut claims: Map<String, Value> = serde_json::from_slice(claims).unwrap_or_default();
    claims.insert("sub".to_owned(), "another".into());
    let other = serde_json::to_vec(&claims).unwrap_or_default();
    let signature = token.rsplit('.').next().unwrap_or_default();
    let (head, other) = (URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(other));
    let forged = format!("{head}.{other}.{signature}");
    assert!(grant.sub == "another" || verify(&forged, key).is_err(), "{forged}");
}

#[cfg(test)]
mod tests {
    use sansio::harness::replay;

    #[test]
    fn seeds_and_changes_of_them_pass() {
        replay("tokens", 300, super::token);
    }
}
