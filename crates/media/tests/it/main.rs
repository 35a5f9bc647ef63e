//! What the modules do together, in one binary.

mod hostile;
mod packaging;
mod timeline;
