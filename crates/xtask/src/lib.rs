//! The repository's rules, as tests.
//!
//! A rule is a function from a [`tree::Tree`] (the files) or from [`workspace`] data (what cargo knows) to
//! [`Finding`]s. `tests/repository.rs` runs every rule on this repository; beside each rule, a unit test plants a
//! violation in a fake tree and shows that the rule finds it, so that no rule can silently check nothing.
//!
//! Deliberately absent: anything that rustc, clippy or rustfmt already check.

#![forbid(unsafe_code)]

use std::fmt;

pub mod docs;
pub mod moq;
pub mod rules;
pub mod sbom;
pub mod source;
pub mod tree;
pub mod workspace;

/// One place that breaks a rule, with words that say what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A path, `path:line`, or the name of a crate.
    pub place: String,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl Finding {
    /// A finding at `place`.
    pub fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}
