//! Whether the encoder program is there: it may go away while the server runs, be replaced by another version, and come back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant as Timestamp;

use crate::limits::{PROGRAM_AGAIN, PROGRAM_AGAIN_MAX, STARTS_FAILED};
use crate::off::Off;
use crate::pool::Pool;
use crate::program::{Program, WITHOUT_PROGRAM};
use crate::worker::{Worker, WorkerError};

/// The program, as it was when it was last asked.
pub(crate) struct Presence {
    state: Mutex<State>,
}

struct State {
    program: Arc<Program>,
    /// What its processes greet with, where that is not what it says of itself.
    greeting: Option<String>,
    /// Starts that have failed in a row.
    failed: u32,
    /// None of its processes can be started, and nobody tries before it is looked for.
    off: Option<Off>,
    /// How long after that it is looked for again, if it is not there then.
    wait: Duration,
    /// It was looked for, and people were told.
    told: bool,
}

impl Presence {
    pub(crate) fn new(program: Program) -> Self {
        let program = Arc::new(program);
        let (greeting, off) = (None, None);
        let state = State { program, greeting, failed: 0, off, wait: PROGRAM_AGAIN, told: false };
        Self { state: Mutex::new(state) }
    }

    pub(crate) fn program(&self) -> Arc<Program> {
        self.state().program.clone()
    }

    pub(crate) fn is_off(&self) -> bool {
        self.state().off.is_some()
    }

    /// Why nothing can be encoded now, if so.
    pub(crate) fn complaint(&self) -> Option<String> {
        let state = self.state();
        state.off.as_ref().map(|off| format!("{WITHOUT_PROGRAM} ({})", off.why()))
    }

    /// When it is to be looked for again.
    pub(crate) fn again_at(&self) -> Option<Timestamp> {
        self.state().off.as_ref()?.until()
    }

    /// Whether it is to be looked for now; then it is, and nobody else does.
    pub(crate) fn is_due(&self) -> bool {
        self.state().off.as_mut().is_some_and(Off::is_due)
    }

    pub(crate) fn started(&self) {
        self.state().failed = 0;
    }

    /// One may fail on a machine that has too much to do. After several nobody tries before it was looked for.
    pub(crate) fn not_started(&self, why: &WorkerError) {
        let mut state = self.state();
        state.failed += 1;
        if state.failed >= STARTS_FAILED && state.off.is_none() {
            state.off = Some(Off::new(why.to_string(), Timestamp::now()));
            (state.wait, state.told) = (PROGRAM_AGAIN, false);
        }
    }

    /// Whether processes of the program greet so. What FFmpeg is made of, a script that starts it may say in its place.
    fn knows(&self, greeting: &str) -> bool {
        let state = self.state();
        version(greeting) == version(&state.program.words)
            || state.greeting.as_deref() == Some(greeting)
    }

    /// It was asked, and is there.
    fn asked(&self, program: Program, greeting: Option<&str>) {
        let mut state = self.state();
        if program != *state.program {
            tracing::info!(program = %program.words, "the encoder program is another one now");
            if let Some(lacks) = program.lacks() {
                tracing::warn!("{lacks}");
            }
            state.program = Arc::new(program);
            state.greeting = None;
        }
        if let Some(greeting) = greeting {
            state.greeting = Some(greeting.to_owned());
        }
    }

    /// It was looked for, and works.
    fn found(&self) {
        let mut state = self.state();
        state.failed = 0;
        if state.off.take().is_some() && state.told {
            tracing::info!(program = %state.program.words, "the encoder program is there again");
        }
    }

    /// It was looked for in vain.
    fn missed(&self, why: String) {
        let mut state = self.state();
        if state.off.is_none() {
            return;
        }
        if !std::mem::replace(&mut state.told, true) {
            tracing::warn!(error = %why, "{WITHOUT_PROGRAM}");
        }
        state.off = Some(Off::new(why, Timestamp::now() + state.wait));
        state.wait = (state.wait * 2).min(PROGRAM_AGAIN_MAX);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a program says of itself before it lists its encoders.
fn version(words: &str) -> &str {
    words.split("encoders ").next().unwrap_or_default().trim()
}

impl Pool {
    /// A new process. One that greets as another program is of one that has replaced it: that is asked what it is.
    pub(crate) async fn start(&self, hardware: bool) -> Result<Worker, WorkerError> {
        let presence = self.presence();
        if presence.is_off() {
            return Err(WorkerError::Gone);
        }
        let mut started = self.greeted(&presence.program(), hardware).await;
        match &mut started {
            Ok(worker) => {
                presence.started();
                if !presence.knows(&worker.greeting) {
                    self.ask_again(&worker.greeting).await;
                    worker.program = presence.program();
                }
            }
            Err(error) => presence.not_started(error),
        }
        started
    }

    async fn ask_again(&self, greeting: &str) {
        // What has greeted works; if it does not answer now, the next one greets as strangely.
        let path = self.presence().program().path.clone();
        if let Ok(program) = Program::ask(&path).await {
            let known = version(greeting) == version(&program.words);
            self.presence().asked(program, (!known).then_some(greeting));
            self.replace_idle();
        }
    }

    /// Looks for a program that could not be started: it must say what it is, and a process of it must greet.
    pub(crate) async fn look(&self) {
        let path = self.presence().program().path.clone();
        let looked = async {
            let program = Program::ask(&path).await.map_err(|error| error.to_string())?;
            let program = Arc::new(program);
            let greeted = self.greeted(&program, false).await;
            let greeted = greeted.map_err(|error| error.to_string())?.greeting.clone();
            let known = version(&greeted) == version(&program.words);
            self.presence().asked(Program::clone(&program), (!known).then_some(&greeted));
            self.replace_idle();
            Ok(())
        };
        match looked.await {
            Ok(()) => self.presence().found(),
            Err(why) => self.presence().missed(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence() -> Presence {
        let words = "airwave-encode 1 wire 5 libavcodec 59 encoders libx264,aac".to_owned();
        Presence::new(Program { path: "/nowhere".into(), words })
    }

    #[tokio::test(start_paused = true)]
    async fn after_starts_that_failed_in_a_row_it_is_looked_for_ever_later_until_it_is_there() {
        let presence = presence();
        presence.not_started(&WorkerError::Ended);
        presence.started();
        presence.not_started(&WorkerError::Ended);
        assert!(!presence.is_off() && !presence.is_due(), "one failed, and not in a row");
        assert_eq!(presence.complaint(), None);
        presence.not_started(&WorkerError::Ended);
        assert!(presence.is_off() && presence.is_due(), "at once");
        assert!(!presence.is_due(), "somebody looks");
        let mut waits = Vec::new();
        for _ in 0..5 {
            presence.missed("there is none".to_owned());
            let again = presence.again_at().unwrap();
            waits.push((again - Timestamp::now()).as_secs());
            assert!(!presence.is_due());
            tokio::time::sleep_until(again).await;
            assert!(presence.is_due());
        }
        assert_eq!(waits, [5, 10, 20, 30, 30]);
        let words = "no levels of quality and no thumbnails: viewers get what the encoder sends \
                     (there is none)";
        assert_eq!(presence.complaint().as_deref(), Some(words));
        presence.found();
        assert_eq!((presence.is_off(), presence.complaint()), (false, None));
        presence.not_started(&WorkerError::Ended);
        assert!(!presence.is_off(), "counted anew");
    }

    #[test]
    fn another_version_is_another_program_and_another_list_of_encoders_is_none() {
        let presence = presence();
        for (greeting, knows) in [
            ("airwave-encode 1 wire 5 libavcodec 59 encoders libx264", true),
            ("airwave-encode 1 wire 5 libavcodec 60 encoders libx264,aac", false),
            ("airwave-encode 2 wire 5 libavcodec 59 encoders libx264,aac", false),
            ("", false),
        ] {
            assert_eq!(presence.knows(greeting), knows, "{greeting}");
        }
        let before = presence.program();
        presence.asked(Program::clone(&before), Some("of a script"));
        assert!(presence.knows("of a script") && Arc::ptr_eq(&before, &presence.program()));
        let words = "airwave-encode 2 wire 5 libavcodec 59 encoders libx264,aac".to_owned();
        presence.asked(Program { words: words.clone(), ..Program::clone(&before) }, None);
        assert!(presence.knows(&words) && !presence.knows("of a script"));
        assert!(!presence.knows(&before.words) && presence.program().words == words);
    }
}
