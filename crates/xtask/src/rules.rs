//! The rules, one file per subject.

pub mod configuration;
pub mod documents;
pub mod layers;
pub mod layout;
pub mod licences;
pub mod text;
