//! The server core against the client core, and against peers that lie, in virtual time.

mod hostile;
mod publish;
mod support;
