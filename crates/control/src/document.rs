//! Documents of other layers: API tokens, outputs, signing keys. The engine knows their kind, their
//! id and their version, and nothing of what is in them.

use bytes::Bytes;

use crate::control::Control;
use crate::error::{DocumentError, EngineError};
use crate::ids::{Expect, NotAName, Rev, name};
use crate::limits::LIST_ROWS;
use crate::sqlite::documents;

/// Which document: a kind such as `token`, and an id of that kind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentKey {
    pub(crate) kind: String,
    pub(crate) id: String,
}

impl DocumentKey {
    /// A key of two names of at most [`crate::limits::NAME_BYTES`].
    pub fn new(kind: &str, id: &str) -> Result<Self, NotAName> {
        Ok(Self { kind: name(kind)?, id: name(id)? })
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A document as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Which one.
    pub key: DocumentKey,
    /// Its content, as it was put.
    pub content: Bytes,
    /// Its version.
    pub rev: Rev,
}

impl Control {
    /// Writes a document: a new one ([`Expect::Absent`]), the next version of one, or either.
    pub async fn put_document(
        &self,
        key: DocumentKey,
        content: Bytes,
        expect: Expect,
    ) -> Result<Rev, DocumentError> {
        self.engine.write(move |db| documents::put(db, &key, &content, expect)).await
    }

    /// Makes the next version of a document of the one that is there, in one transaction, as [`Control::change_input`] does.
    pub async fn change_document<E>(
        &self,
        key: DocumentKey,
        change: impl FnOnce(&[u8]) -> Result<Vec<u8>, E> + Send + 'static,
    ) -> Result<Document, E>
    where
        E: From<DocumentError> + From<EngineError> + Send + 'static,
    {
        self.engine.write(move |db| documents::change(db, &key, change)).await
    }

    /// One document.
    pub async fn document(&self, key: DocumentKey) -> Result<Option<Document>, EngineError> {
        self.engine.read(move |db| documents::get(db, &key)).await
    }

    /// Documents of a kind with ids above `after`, in the order of their ids; at most [`LIST_ROWS`].
    pub async fn documents(&self, kind: &str, after: &str) -> Result<Vec<Document>, EngineError> {
        let (kind, after) = (kind.to_owned(), after.to_owned());
        self.engine.read(move |db| documents::list(db, &kind, &after, LIST_ROWS)).await
    }

    /// Deletes a document.
    pub async fn delete_document(
        &self,
        key: DocumentKey,
        expect: Expect,
    ) -> Result<(), DocumentError> {
        self.engine.write(move |db| documents::delete(db, &key, expect)).await
    }
}
