//! SETUP (draft-18 §10.3): options as key-value pairs over the whole body. Their numbers are the same in
//! all drafts.

use bytes::{BufMut, Bytes, BytesMut};

use super::{TooLong, frame, kind};
use crate::error::Violation;
use crate::properties::{Pairs, PairsError, Value};
use crate::token::Token;
use crate::varint;
use crate::wire::Body;

mod option {
    pub(super) const PATH: u64 = 0x01;
    pub(super) const AUTHORIZATION_TOKEN: u64 = 0x03;
    pub(super) const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
    pub(super) const AUTHORITY: u64 = 0x05;
    pub(super) const MOQT_IMPLEMENTATION: u64 = 0x07;
}

/// What SETUP says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Setup {
    pub(crate) path: Option<Bytes>,
    pub(crate) tokens: Vec<Token>,
    pub(crate) token_cache_bytes: u64,
    pub(crate) authority: Option<Bytes>,
    pub(crate) implementation: Bytes,
    /// The N of a reserved option (draft-18 §14); only written.
    pub(crate) grease: Option<u16>,
}

impl Setup {
    pub(crate) fn decode(mut body: Body) -> Result<Setup, Violation> {
        let bytes = body.rest();
        let mut setup = Setup::default();
        let mut previous = None;
        for pair in Pairs::new(&bytes) {
            let (option, value) = pair.map_err(PairsError::violation)?;
            let again = previous.replace(option) == Some(option);
            match (option, value) {
                (option::AUTHORIZATION_TOKEN, Value::Bytes(value)) => {
                    setup.tokens.push(Token::decode(Bytes::copy_from_slice(value))?);
                }
                // draft-18 §10.3: only unknown ones may repeat.
                (
                    option::PATH
                    | option::MAX_AUTH_TOKEN_CACHE_SIZE
                    | option::AUTHORITY
                    | option::MOQT_IMPLEMENTATION,
                    _,
                ) if again => return Err(Violation::protocol("a setup option twice")),
                (option::PATH, Value::Bytes(value)) => setup.path = Some(copy(value)),
                (option::AUTHORITY, Value::Bytes(value)) => setup.authority = Some(copy(value)),
                (option::MOQT_IMPLEMENTATION, Value::Bytes(value)) => {
                    setup.implementation = copy(value);
                }
                (option::MAX_AUTH_TOKEN_CACHE_SIZE, Value::Number(bytes)) => {
                    setup.token_cache_bytes = bytes;
                }
                _ => {}
            }
        }
        Ok(setup)
    }

    pub(crate) fn encode(&self) -> Result<Bytes, TooLong> {
        frame(kind::SETUP, |out| {
            let mut writer = PairWriter { out, previous: 0 };
            if let Some(path) = &self.path {
                writer.bytes(option::PATH, path);
            }
            for token in &self.tokens {
                let mut value = BytesMut::new();
                token.encode(&mut value);
                writer.bytes(option::AUTHORIZATION_TOKEN, &value);
            }
            if self.token_cache_bytes > 0 {
                writer.number(option::MAX_AUTH_TOKEN_CACHE_SIZE, self.token_cache_bytes);
            }
            if let Some(authority) = &self.authority {
                writer.bytes(option::AUTHORITY, authority);
            }
            if !self.implementation.is_empty() {
                writer.bytes(option::MOQT_IMPLEMENTATION, &self.implementation);
            }
            if let Some(n) = self.grease {
                // draft-18 §14
                let option = 0x7f * u64::from(n) + 0x9d;
                if option.is_multiple_of(2) {
                    writer.number(option, u64::from(n));
                } else {
                    writer.bytes(option, &n.to_be_bytes());
                }
            }
        })
    }
}

fn copy(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}

struct PairWriter<'a> {
    out: &'a mut BytesMut,
    previous: u64,
}

impl PairWriter<'_> {
    fn head(&mut self, option: u64) {
        varint::write(option - self.previous, self.out);
        self.previous = option;
    }

    fn number(&mut self, option: u64, value: u64) {
        self.head(option);
        varint::write(value, self.out);
    }

    fn bytes(&mut self, option: u64, value: &[u8]) {
        self.head(option);
        varint::write(value.len() as u64, self.out);
        self.out.put_slice(value);
    }
}
