//! The numbers that protect chats, and those who read them, each with its reason.

use std::time::Duration;

use access::rate::Rate;

/// Bytes of one message as it is sent: JSON of the longest text and name, with room for escapes.
pub const MESSAGE_BYTES_MAX: usize = 4_096;

/// Characters of a message: a few lines on a phone.
pub const TEXT_CHARS_MAX: usize = 500;

/// Characters of a name: what stands in one line before a message.
pub const NAME_CHARS_MAX: usize = 40;

/// Marks that stand on one letter. Languages need two or three; more climb over the neighbours' lines.
pub const MARKS_MAX: usize = 3;

/// How often one viewer may say something: as fast as people type, and no faster for ever than others can read.
pub const PER_SENDER: Rate = Rate { per_second: 0.5, burst: 5.0 };

/// The same for an address with its neighbourhood: an office or a school watches from one.
pub const PER_ADDRESS: Rate = Rate { per_second: 3.0, burst: 30.0 };

/// The same for a chat as a whole: what comes from everywhere at once. Nobody reads ten messages a second.
pub const PER_ROOM: Rate = Rate { per_second: 10.0, burst: 60.0 };

/// Nothing more is read of a guest for so long after a message of his that was refused: what is not read costs nothing.
pub const REFUSED_WAIT: Duration = Duration::from_millis(500);

/// Viewers, addresses and chats whose rates are known.
pub const RATES_KEPT: usize = 20_000;

/// Messages that who comes gets at once, and that stay on screens.
pub const SHOWN: usize = 100;

/// Messages after which a group ends: it and what it begins with are all that memory keeps.
pub const GROUP_MESSAGES: u64 = 50;

/// Changes that wait for the database; beyond it nothing can be said until it has taken some.
pub const WAITING_MAX: usize = 1_000;

/// Viewers that publish messages over sessions of their own at one time, on the node. Each costs some kilobytes.
pub const GUESTS_MAX: usize = 5_000;

/// The same from one address with its neighbourhood: a school that watches, and chats.
pub const GUESTS_PER_ADDRESS: usize = 200;

/// One of them that says nothing for so long gives its place to others. It gets another one when it has something to say.
pub const GUEST_SILENCE: Duration = Duration::from_secs(600);

/// Tracks of one of them: it has one, and may begin anew.
pub const GUEST_TRACKS: usize = 4;

/// What memory keeps of one of them on its way into the chat: a burst of the longest messages.
pub const GUEST_BYTES: usize = 64 << 10;

/// Messages in one answer about the past.
pub const PAGE_MESSAGES: usize = 200;
