//! Certificates from an authority that speaks ACME (RFC 8555): got, kept and renewed without anybody asking.
//!
//! [`schedule`] decides when something is due and does nothing itself: time and chance are its arguments. [`renewal`] is
//! the loop that does what is due. In between, [`authority`] speaks with the authority, [`challenges`] holds what the
//! listeners show to prove that a name leads here, [`hook`] runs the operator's program where DNS is the proof, and
//! [`keep`] keeps the account and the certificate. [`status`] says how it stands, for people and for metrics.
//!
//! Done: RFC 8555 §7.1-7.5 (accounts, orders, authorizations), HTTP-01 (§8.3), DNS-01 (§8.4), TLS-ALPN-01 (RFC 8737),
//! renewal information (RFC 9773). Not done: external account binding, revocation, change of the account's key.

#![forbid(unsafe_code)]

pub mod authority;
pub mod challenges;
pub mod hook;
mod http;
pub mod keep;
pub mod limits;
pub mod renewal;
pub mod schedule;
pub mod status;
pub mod validity;
