//! The API over its own router, without sockets.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod authorisation;
mod changes;
mod desk;
mod edges;
mod pages;
mod rates;
