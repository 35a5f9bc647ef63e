//! The peer's authorization tokens (draft-18 §10.2.2): what it registered, and what its messages mean.

use std::collections::{BTreeMap, BTreeSet};

use crate::code::{RequestCode, SessionCode};
use crate::error::Violation;
use crate::token::{AuthToken, Token};

/// Why a message's tokens can't be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TokenFault {
    Session(Violation),
    /// The request is refused.
    Request(RequestCode, &'static str),
}

impl From<Violation> for TokenFault {
    fn from(violation: Violation) -> TokenFault {
        TokenFault::Session(violation)
    }
}

/// The aliases that the peer has registered.
#[derive(Debug)]
pub(super) struct TokenCache {
    tokens: BTreeMap<u64, AuthToken>,
    /// What of `bytes_max` is used, counted as draft-18 §10.3.1.3 says.
    bytes: u64,
    bytes_max: u64,
    /// Registered in SETUP beyond the bound, so not: the peer could not know the bound then.
    not_kept: BTreeSet<u64>,
}

impl TokenCache {
    pub(super) fn new(bytes_max: u64) -> TokenCache {
        TokenCache { tokens: BTreeMap::new(), bytes: 0, bytes_max, not_kept: BTreeSet::new() }
    }

    /// The tokens of SETUP.
    pub(super) fn setup(
        &mut self,
        tokens: Vec<Token>,
        by_client: bool,
    ) -> Result<Vec<AuthToken>, Violation> {
        let mut used = Vec::new();
        for token in tokens {
            match token {
                // draft-18 §10.2.2
                Token::Delete { .. } | Token::UseAlias { .. } if by_client => {
                    return Err(Violation::protocol("SETUP refers to a token of before"));
                }
                // draft-18 §10.3.1.4: as if it was USE_VALUE.
                Token::Register { alias, token } if !self.fits(&token) => {
                    self.not_kept.insert(alias);
                    used.push(token);
                }
                token => used.extend(self.resolve_one(token).map_err(|fault| match fault {
                    TokenFault::Session(violation) => violation,
                    TokenFault::Request(..) => UNKNOWN_ALIAS,
                })?),
            }
        }
        Ok(used)
    }

    /// The tokens of any other message. All of them are registered that are to be, whatever is wrong
    /// with others (draft-18 §10.2.2).
    pub(super) fn resolve(&mut self, tokens: &[Token]) -> Result<Vec<AuthToken>, TokenFault> {
        let mut used: Vec<AuthToken> = Vec::new();
        let mut refused = None;
        for token in tokens {
            match self.resolve_one(token.clone()) {
                Ok(Some(token)) if used.contains(&token) => {
                    let what = "an authorization token twice in one message";
                    refused = Some((RequestCode::MalformedAuthToken, what));
                }
                Ok(token) => used.extend(token),
                Err(TokenFault::Session(violation)) => return Err(violation.into()),
                Err(TokenFault::Request(code, what)) => refused = Some((code, what)),
            }
        }
        match refused {
            None => Ok(used),
            Some((code, what)) => Err(TokenFault::Request(code, what)),
        }
    }

    fn resolve_one(&mut self, token: Token) -> Result<Option<AuthToken>, TokenFault> {
        match token {
            Token::UseValue(token) => Ok(Some(token)),
            Token::UseAlias { alias } => match self.tokens.get(&alias) {
                Some(token) => Ok(Some(token.clone())),
                None => Err(self.unknown(alias)),
            },
            Token::Delete { alias } => match self.tokens.remove(&alias) {
                Some(token) => {
                    self.bytes -= token.cached_bytes();
                    Ok(None)
                }
                // What was not kept need not be deleted, but may be.
                None if self.not_kept.remove(&alias) => Ok(None),
                None => Err(self.unknown(alias)),
            },
            Token::Register { alias, token } => {
                if self.tokens.contains_key(&alias) {
                    let what = "a token alias that is in use";
                    return Err(Violation::new(SessionCode::DuplicateAuthTokenAlias, what).into());
                }
                if !self.fits(&token) {
                    let what = "more authorization tokens than MAX_AUTH_TOKEN_CACHE_SIZE";
                    return Err(Violation::new(SessionCode::AuthTokenCacheOverflow, what).into());
                }
                self.not_kept.remove(&alias);
                self.bytes += token.cached_bytes();
                self.tokens.insert(alias, token.clone());
                Ok(Some(token))
            }
        }
    }

    /// draft-18 §10.2.2 wants the message rejected with UNKNOWN_AUTH_TOKEN_ALIAS, which is no code of
    /// REQUEST_ERROR but one of sessions. Where the alias is one that we did not keep, the peer may not
    /// know it yet, and only the request is refused.
    fn unknown(&self, alias: u64) -> TokenFault {
        if self.not_kept.contains(&alias) {
            let what = "the token was not registered: the cache was full at SETUP";
            return TokenFault::Request(RequestCode::MalformedAuthToken, what);
        }
        UNKNOWN_ALIAS.into()
    }

    fn fits(&self, token: &AuthToken) -> bool {
        self.bytes.saturating_add(token.cached_bytes()) <= self.bytes_max
    }
}

const UNKNOWN_ALIAS: Violation =
    Violation::new(SessionCode::UnknownAuthTokenAlias, "a token alias that is not registered");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn token(value: &'static str) -> AuthToken {
        AuthToken::new(Secret::new(value))
    }

    fn register(alias: u64, value: &'static str) -> Token {
        Token::Register { alias, token: token(value) }
    }

    fn session(result: Result<Vec<AuthToken>, TokenFault>) -> Option<SessionCode> {
        match result {
            Err(TokenFault::Session(violation)) => Some(violation.code),
            _ => None,
        }
    }

    /// Duty D19.
    #[test]
    fn draft18_s10_2_2_d19_aliases() {
        let mut cache = TokenCache::new(2 * (16 + 3));
        assert_eq!(
            cache.resolve(&[register(1, "one"), register(2, "two")]),
            Ok(vec![token("one"), token("two")])
        );
        assert_eq!(cache.resolve(&[Token::UseAlias { alias: 2 }]), Ok(vec![token("two")]));
        for (tokens, code) in [
            (vec![register(1, "x")], SessionCode::DuplicateAuthTokenAlias),
            (vec![register(3, "")], SessionCode::AuthTokenCacheOverflow),
            (vec![Token::UseAlias { alias: 3 }], SessionCode::UnknownAuthTokenAlias),
            (vec![Token::Delete { alias: 3 }], SessionCode::UnknownAuthTokenAlias),
        ] {
            assert_eq!(session(cache.resolve(&tokens)), Some(code), "{tokens:?}");
        }
        // A deleted alias is free again, and so is its room.
        assert_eq!(
            cache.resolve(&[Token::Delete { alias: 1 }, register(1, "uno")]),
            Ok(vec![token("uno")])
        );
    }

    #[test]
    fn draft18_s10_2_2_a_token_twice() {
        let mut cache = TokenCache::new(100);
        let twice = [register(1, "one"), Token::UseValue(token("one"))];
        assert!(matches!(
            cache.resolve(&twice),
            Err(TokenFault::Request(RequestCode::MalformedAuthToken, _))
        ));
        // It was registered all the same.
        assert_eq!(cache.resolve(&[Token::UseAlias { alias: 1 }]), Ok(vec![token("one")]));
    }

    #[test]
    fn draft18_s10_3_1_4_setup_never_overflows() {
        let mut cache = TokenCache::new(0);
        assert_eq!(cache.setup(vec![register(1, "one")], true), Ok(vec![token("one")]));
        assert!(matches!(
            cache.resolve(&[Token::UseAlias { alias: 1 }]),
            Err(TokenFault::Request(RequestCode::MalformedAuthToken, _))
        ));
        assert_eq!(
            session(cache.resolve(&[Token::UseAlias { alias: 2 }])),
            Some(SessionCode::UnknownAuthTokenAlias)
        );
        assert_eq!(
            session(cache.resolve(&[register(2, "two")])),
            Some(SessionCode::AuthTokenCacheOverflow)
        );
        for token in [Token::Delete { alias: 1 }, Token::UseAlias { alias: 1 }] {
            let violation = TokenCache::new(100).setup(vec![token], true).unwrap_err();
            assert_eq!(violation.code, SessionCode::ProtocolViolation);
        }
    }
}
