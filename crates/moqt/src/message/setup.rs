//! SETUP (draft-18 §10.3, draft-21 §9.1), CLIENT_SETUP and SERVER_SETUP (draft-16 §9.3): options as key-value pairs. Their
//! numbers are the same in all drafts.

use bytes::Bytes;

use super::{Message, TooLong, frame};
use crate::error::Violation;
use crate::properties::{Pairs, PairsError, Value};
use crate::route::Node;
use crate::token::Token;
use crate::version::{SetupForm, Version};
use crate::wire::{Body, Writer};

mod option {
    pub(super) const PATH: u64 = 0x01;
    pub(super) const MAX_REQUEST_ID: u64 = 0x02;
    pub(super) const AUTHORIZATION_TOKEN: u64 = 0x03;
    pub(super) const MAX_AUTH_TOKEN_CACHE_SIZE: u64 = 0x04;
    pub(super) const AUTHORITY: u64 = 0x05;
    pub(super) const MAX_FILTER_RANGES: u64 = 0x06;
    pub(super) const MOQT_IMPLEMENTATION: u64 = 0x07;
    pub(super) const MAX_REQUEST_UPDATES: u64 = 0x08;
    /// Ours, and in no registry: who says it takes NAMESPACE with a route, and gives it so. Below
    /// 2^53, which is as far as some read numbers; even, so its value is one; no grease.
    pub(super) const NODE: u64 = 0x4169_7276;
}

/// What SETUP says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Setup {
    pub(crate) path: Option<Bytes>,
    /// The first Request ID that its receiver may not use; of drafts that have it.
    pub(crate) max_request_id: u64,
    pub(crate) tokens: Vec<Token>,
    pub(crate) token_cache_bytes: u64,
    pub(crate) authority: Option<Bytes>,
    pub(crate) implementation: Bytes,
    /// How many ranges the filters of a request may have; of drafts that have them.
    pub(crate) filter_ranges: u64,
    /// How many updates of a request may be without an answer; 0: any number. Of drafts that have it.
    pub(crate) updates: u64,
    /// Which node of a network of relays it is.
    pub(crate) node: Option<Node>,
    /// The N of a reserved option (draft-18 §14); only written.
    pub(crate) grease: Option<u16>,
}

/// The message that opens a session.
pub(crate) fn message(version: Version, by_client: bool) -> Message {
    match (version.row().setup, by_client) {
        (SetupForm::ToTheEnd, _) => Message::Setup,
        (SetupForm::Counted, true) => Message::ClientSetup,
        (SetupForm::Counted, false) => Message::ServerSetup,
    }
}

impl Setup {
    pub(crate) fn decode(version: Version, mut body: Body) -> Result<Setup, Violation> {
        let counted = version.row().setup == SetupForm::Counted;
        let limits = version.row().limits_in_setup;
        let count = if counted { Some(body.number()?) } else { None };
        let coding = body.coding();
        let bytes = body.rest();
        let mut setup = Setup::default();
        let mut previous = None;
        let mut found = 0;
        for pair in Pairs::new(coding, &bytes) {
            let (option, value) = pair.map_err(PairsError::violation)?;
            let again = previous.replace(option) == Some(option);
            found += 1;
            match (option, value) {
                (option::AUTHORIZATION_TOKEN, Value::Bytes(value)) => {
                    setup.tokens.push(Token::decode(coding, Bytes::copy_from_slice(value))?);
                }
                // draft-18 §10.3: only unknown ones may repeat.
                (
                    option::PATH
                    | option::MAX_REQUEST_ID
                    | option::MAX_AUTH_TOKEN_CACHE_SIZE
                    | option::AUTHORITY
                    | option::MOQT_IMPLEMENTATION
                    | option::NODE,
                    _,
                ) if again => return Err(TWICE),
                (option::MAX_FILTER_RANGES | option::MAX_REQUEST_UPDATES, _) if again && limits => {
                    return Err(TWICE);
                }
                (option::MAX_FILTER_RANGES, Value::Number(ranges)) if limits => {
                    setup.filter_ranges = ranges;
                }
                (option::MAX_REQUEST_UPDATES, Value::Number(updates)) if limits => {
                    setup.updates = updates;
                }
                (option::PATH, Value::Bytes(value)) => setup.path = Some(copy(value)),
                (option::AUTHORITY, Value::Bytes(value)) => setup.authority = Some(copy(value)),
                (option::MOQT_IMPLEMENTATION, Value::Bytes(value)) => {
                    setup.implementation = copy(value);
                }
                (option::MAX_AUTH_TOKEN_CACHE_SIZE, Value::Number(bytes)) => {
                    setup.token_cache_bytes = bytes;
                }
                // What is none of ours is somebody else's option.
                (option::NODE, Value::Number(id)) => setup.node = Node::new(id),
                (option::MAX_REQUEST_ID, Value::Number(maximum)) if counted => {
                    setup.max_request_id = maximum;
                }
                _ => {}
            }
        }
        if count.is_some_and(|count| count != found) {
            // draft-16 §9: the length does not match.
            return Err(Violation::protocol("SETUP has another number of options than it says"));
        }
        Ok(setup)
    }

    pub(crate) fn encode(&self, version: Version, by_client: bool) -> Result<Bytes, TooLong> {
        let counted = version.row().setup == SetupForm::Counted;
        frame(version, message(version, by_client), |out| {
            if counted {
                out.number(self.count());
            }
            self.write(version, counted, &mut PairWriter { out, previous: 0 });
        })
    }

    /// How many options are written in the counted form.
    fn count(&self) -> u64 {
        let others = [
            self.path.is_some(),
            self.max_request_id > 0,
            self.token_cache_bytes > 0,
            self.authority.is_some(),
            !self.implementation.is_empty(),
            self.node.is_some(),
        ];
        self.tokens.len() as u64 + others.into_iter().map(u64::from).sum::<u64>()
    }

    fn write(&self, version: Version, counted: bool, writer: &mut PairWriter<'_, '_>) {
        let limit = |it: u64| Some(it).filter(|it| *it > 0 && version.row().limits_in_setup);
        if let Some(path) = &self.path {
            writer.bytes(option::PATH, path);
        }
        if counted && self.max_request_id > 0 {
            writer.number(option::MAX_REQUEST_ID, self.max_request_id);
        }
        for token in &self.tokens {
            writer.head(option::AUTHORIZATION_TOKEN);
            writer.out.nested(|out| token.encode(out));
        }
        if self.token_cache_bytes > 0 {
            writer.number(option::MAX_AUTH_TOKEN_CACHE_SIZE, self.token_cache_bytes);
        }
        if let Some(authority) = &self.authority {
            writer.bytes(option::AUTHORITY, authority);
        }
        if let Some(ranges) = limit(self.filter_ranges) {
            writer.number(option::MAX_FILTER_RANGES, ranges);
        }
        if !self.implementation.is_empty() {
            writer.bytes(option::MOQT_IMPLEMENTATION, &self.implementation);
        }
        if let Some(updates) = limit(self.updates) {
            writer.number(option::MAX_REQUEST_UPDATES, updates);
        }
        // In ascending order: N of grease is at most 2^16, so it comes first.
        if let (Some(n), false) = (self.grease, counted) {
            // draft-18 §14
            let option = 0x7f * u64::from(n) + 0x9d;
            if option.is_multiple_of(2) {
                writer.number(option, u64::from(n));
            } else {
                writer.bytes(option, &n.to_be_bytes());
            }
        }
        if let Some(node) = self.node {
            writer.number(option::NODE, node.get());
        }
    }
}

const TWICE: Violation = Violation::protocol("a setup option twice");

fn copy(value: &[u8]) -> Bytes {
    Bytes::copy_from_slice(value)
}

struct PairWriter<'a, 'b> {
    out: &'a mut Writer<'b>,
    previous: u64,
}

impl PairWriter<'_, '_> {
    fn head(&mut self, option: u64) {
        self.out.number(option - self.previous);
        self.previous = option;
    }

    fn number(&mut self, option: u64, value: u64) {
        self.head(option);
        self.out.number(value);
    }

    fn bytes(&mut self, option: u64, value: &[u8]) {
        self.head(option);
        self.out.prefixed(value);
    }
}
