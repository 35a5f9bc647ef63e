//! Assembly: a configuration becomes a running node. The program is a thin shell around this; tests
//! start the same node that users start.

#![forbid(unsafe_code)]

mod admin;
mod arrival;
mod attempts;
mod backup;
pub mod banner;
mod bodies;
pub mod cli;
pub mod config;
mod demo;
mod descriptors;
mod domain;
mod encoder;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod ingest;
mod limits;
mod logging;
mod losers;
mod moq;
mod node;
mod offer;
mod past;
mod patient;
mod quic;
mod reload;
mod retention;
mod routes;
mod streams;
mod tls;
mod trace;
mod unread;
mod web;

pub use node::{Addresses, Node};
pub use routes::table;
