//! End to end: the built program, real encoders, real players.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod access;
mod aftermath;
mod afterwards;
mod answers;
mod api;
mod backup;
mod beside;
mod browser;
mod captions;
mod certificates;
mod changes;
mod chat;
mod choices;
mod clips;
mod codecs;
mod dash;
mod disk;
mod edge;
mod encoders;
mod fetches;
mod from_browser;
mod help;
mod hostile;
mod key_pictures;
mod keys;
mod kills;
mod level_faults;
mod levels;
mod lies;
mod live;
mod logs;
mod lost;
mod moq;
mod moq_deltas;
mod moq_floods;
mod moq_links;
mod moq_past;
mod moq_program;
mod moq_redirect;
mod moq_sound;
mod moq_stacks;
mod pictures;
mod playback;
mod power;
mod program;
mod proxies;
mod publish;
mod recording;
mod reload;
mod rounds;
mod shapes;
mod share;
mod silence;
mod startup;
mod stored_clips;
mod switches;
mod tokens;
mod trace;
mod two_users;
mod watch;

/// The program under test.
const AIRWAVE: &str = env!("CARGO_BIN_EXE_airwave");
