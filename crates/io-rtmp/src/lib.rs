//! RTMP on sockets: the driver around the cores of the crate `rtmp`.
//!
//! [`listen`] takes encoders, [`push`] publishes to another server. Nothing here spawns by itself
//! but [`listen::run`], which owns the tasks of its connections and ends them with itself.

#![forbid(unsafe_code)]

#[doc(hidden)]
pub mod fuzzing;
mod half_open;
pub mod limits;
pub mod listen;
mod publish;
pub mod push;
mod session;
mod tracks;

#[cfg(test)]
mod tests;
