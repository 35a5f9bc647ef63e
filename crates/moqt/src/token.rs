//! Authorization tokens on the wire (draft-18 §10.2.2).

use bytes::Bytes;

use crate::code::SessionCode;
use crate::error::Violation;
use crate::secret::Secret;
use crate::varint::Coding;
use crate::wire::{Body, Writer};

/// How a token travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// Forget what was registered under the alias.
    Delete {
        /// Chosen by the sender.
        alias: u64,
    },
    /// Use this one, and remember it.
    Register {
        /// Chosen by the sender.
        alias: u64,
        /// The token.
        token: AuthToken,
    },
    /// Use what was registered.
    UseAlias {
        /// Chosen by the sender.
        alias: u64,
    },
    /// Use this one, once.
    UseValue(AuthToken),
}

/// A token itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthToken {
    /// What kind of token; 0: as agreed elsewhere.
    pub kind: u64,
    /// Its bytes.
    pub value: Secret,
}

impl AuthToken {
    /// A token of a kind that was agreed elsewhere.
    pub fn new(value: Secret) -> AuthToken {
        AuthToken { kind: 0, value }
    }

    /// What it takes in the cache of who registers it (draft-18 §10.3.1.3).
    pub(crate) fn cached_bytes(&self) -> u64 {
        16 + self.value.expose().len() as u64
    }
}

impl Token {
    /// From a parameter's or option's value.
    pub(crate) fn decode(coding: Coding, bytes: Bytes) -> Result<Token, Violation> {
        // draft-18 §10.2.2: a structure that can't be decoded.
        let error = |_| UNREADABLE;
        let mut body = Body::new(coding, bytes);
        let alias_type = body.number().map_err(error)?;
        let alias = if alias_type == 3 { 0 } else { body.number().map_err(error)? };
        let token = match alias_type {
            0 | 2 => {
                body.end().map_err(error)?;
                return Ok(if alias_type == 0 {
                    Token::Delete { alias }
                } else {
                    Token::UseAlias { alias }
                });
            }
            1 | 3 => {
                let kind = body.number().map_err(error)?;
                // Copied: a token may be kept longer than the packet that it came in.
                let value = Secret::new(Bytes::copy_from_slice(&body.rest()));
                AuthToken { kind, value }
            }
            _ => return Err(UNREADABLE),
        };
        Ok(if alias_type == 1 { Token::Register { alias, token } } else { Token::UseValue(token) })
    }

    pub(crate) fn encode(&self, out: &mut Writer<'_>) {
        let (alias_type, alias, token) = match self {
            Token::Delete { alias } => (0, Some(alias), None),
            Token::Register { alias, token } => (1, Some(alias), Some(token)),
            Token::UseAlias { alias } => (2, Some(alias), None),
            Token::UseValue(token) => (3, None, Some(token)),
        };
        out.number(alias_type);
        if let Some(alias) = alias {
            out.number(*alias);
        }
        if let Some(token) = token {
            out.number(token.kind);
            out.bytes(token.value.expose());
        }
    }
}

const UNREADABLE: Violation =
    Violation::new(SessionCode::KeyValueFormattingError, "an authorization token can't be decoded");

#[cfg(test)]
mod tests {
    use super::*;

    fn token(kind: u64, value: &'static str) -> AuthToken {
        AuthToken { kind, value: Secret::new(value) }
    }

    #[test]
    fn draft18_s10_2_2_round_trips() {
        for (token, bytes) in [
            (Token::Delete { alias: 5 }, &[0, 5][..]),
            (Token::Register { alias: 5, token: token(1, "ab") }, &[1, 5, 1, b'a', b'b']),
            (Token::UseAlias { alias: 300 }, &[2, 0x81, 0x2c]),
            (Token::UseValue(token(0, "jwt")), &[3, 0, b'j', b'w', b't']),
            (Token::UseValue(token(0, "")), &[3, 0]),
        ] {
            let mut out = bytes::BytesMut::new();
            token.encode(&mut Writer::new(Coding::Vi64, &mut out));
            assert_eq!(&out[..], bytes);
            assert_eq!(Token::decode(Coding::Vi64, Bytes::from_static(bytes)), Ok(token));
        }
    }

    #[test]
    fn draft18_s10_2_2_undecodable() {
        for bytes in [&[][..], &[4], &[0], &[0, 5, 0], &[2, 0x80], &[1], &[1, 5], &[3]] {
            let token = Token::decode(Coding::Vi64, Bytes::from_static(bytes));
            assert_eq!(token, Err(UNREADABLE), "{bytes:02x?}");
        }
    }

    #[test]
    fn values_are_not_printed() {
        let text = format!("{:?}", Token::UseValue(token(0, "hunter2")));
        assert!(!text.contains("hunter2"), "{text}");
    }
}
