//! The chat of a video: what was said while it was on the air, for as long as it is kept.

use serde::Serialize;

use crate::control::Control;
use crate::error::EngineError;
use crate::ids::VideoUid;
use crate::sqlite::chat;

/// What somebody said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChatMessage {
    /// Its place among those of its video: from 1, never used again.
    pub id: u64,
    /// Milliseconds since 1970. Never before that of an earlier one.
    #[serde(rename = "at")]
    pub at_ms: u64,
    /// What the sender calls himself.
    pub name: String,
    /// What was said.
    pub text: String,
}

/// What happens to a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatChange {
    /// Somebody said something.
    Said(ChatMessage),
    /// A message is taken away. That there was one is remembered: its number is not used again.
    Deleted(u64),
    /// All of them are.
    Cleared,
}

/// Which messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChatPage {
    /// Those above this id, the oldest of them.
    After(u64),
    /// Those below this id, the newest of them.
    Before(u64),
    /// Those up to this time in milliseconds since 1970, the newest of them.
    Until(u64),
}

impl Control {
    /// Writes what happened to the chat of a video, in this order; answers how many messages each of it concerned. A video
    /// keeps the newest [`crate::limits::CHAT_MESSAGES`]; one that is gone keeps nothing.
    pub async fn change_chat(
        &self,
        video: &VideoUid,
        changes: Vec<ChatChange>,
    ) -> Result<Vec<usize>, EngineError> {
        let video = video.clone();
        self.engine.write(move |db| chat::change(db, &video, &changes)).await
    }

    /// Messages in their order, `rows` or [`crate::limits::LIST_ROWS`] at most.
    pub async fn chat(
        &self,
        video: &VideoUid,
        page: ChatPage,
        rows: usize,
    ) -> Result<Vec<ChatMessage>, EngineError> {
        let video = video.clone();
        self.engine.read(move |db| chat::list(db, &video, page, rows)).await
    }

    /// The highest id that was ever given, and the time of that message; zeros if there was none.
    pub async fn chat_end(&self, video: &VideoUid) -> Result<(u64, u64), EngineError> {
        let video = video.clone();
        self.engine.read(move |db| chat::end(db, &video)).await
    }
}
