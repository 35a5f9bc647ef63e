#![no_main]

use std::sync::LazyLock;
use std::time::Instant;

/// One moment for all runs: only differences matter.
static NOW: LazyLock<Instant> = LazyLock::new(Instant::now);

libfuzzer_sys::fuzz_target!(|data: &[u8]| moqt::fuzzing::session(moqt::Version::Draft22, *NOW, data));
