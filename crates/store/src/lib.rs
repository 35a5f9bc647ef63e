//! Objects: write-once, durable before they are acknowledged, named by opaque ids only.
//!
//! One [`Store`] over `object_store`. On a local disk puts go through a thread that syncs them in
//! groups (module `local`); everything else is object_store's. What a put promises: when it is
//! answered, the object is whole and survives the loss of power; until then it may be there or not,
//! whole in either case; an object is never overwritten.
//!
//! Deliberately absent: any knowledge of what is in an object, caches, and a trait of our own.

#![forbid(unsafe_code)]

mod error;
mod key;
pub mod limits;
mod local;
mod store;

pub use error::{DeleteError, OpenError, PutError, ReadError};
pub use key::{Key, Kind, NotAKey, Object};
pub use store::Store;
