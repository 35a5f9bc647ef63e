//! Whom a proxy speaks for, how many connections an address may have ([`share`]), and how much
//! strangers may log ([`seldom`]).
//!
//! Who comes through a load balancer has its address, unless that says whose connection it hands
//! on: by the PROXY protocol in front of any TCP connection ([`header`]), or by `X-Forwarded-For` in a request
//! ([`forwarded`]). Both can be said by anybody, so they count only from [`network::Networks`] that the operator trusts.
//!
//! Done: PROXY protocol, versions 1 and 2 (HAProxy's `proxy-protocol.txt`, 2020), TCP over IPv4 and IPv6. The values that
//! version 2 can carry besides are passed over. Not done, on purpose: `Forwarded` (RFC 7239). A proxy that writes one of
//! the two fields mostly passes the other one on as its client wrote it, so only one of them may be believed.

#![forbid(unsafe_code)]

pub mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
pub mod header;
pub mod limits;
pub mod network;
pub mod seldom;
pub mod share;
