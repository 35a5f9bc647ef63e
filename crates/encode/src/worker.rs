//! One encoder process and its pipes.

use std::io;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::{Instant as Timestamp, sleep_until, timeout};

use crate::limits::{JOB_OUTPUT_BYTES_MAX, PACKET_BYTES_MIN, VERSION_DEADLINE, WORDS_BYTES_MAX};
use crate::program::Program;
use crate::wire::{self, FromEncoder, ToEncoder, WireError};

/// Why a worker is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorkerError {
    /// It can't be started.
    #[error("the encoder can't be started: {0}")]
    Start(io::Error),
    /// None could be started, and the program is looked for.
    #[error("there is no encoder program")]
    Gone,
    /// It ended, or its pipe did.
    #[error("the encoder has ended")]
    Ended,
    /// Nothing was heard of it for too long, though it had something to do.
    #[error("the encoder does not go on")]
    Silent,
    /// It goes on, for longer than a job may take.
    #[error("the encoder takes too long")]
    Overdue,
    /// It gives more than any job has.
    #[error("the encoder gives more than {most} bytes of one job", most = JOB_OUTPUT_BYTES_MAX)]
    TooMuch,
    /// It says what the wire does not have.
    #[error("the encoder: {0}")]
    Wire(#[from] WireError),
}

/// What workers have done.
#[derive(Debug, Default)]
pub struct Counters {
    /// Processes that run now.
    pub processes: AtomicU64,
    /// Processes started so far.
    pub started: AtomicU64,
    /// Jobs whose process ended, was killed, or broke the wire.
    pub lost: AtomicU64,
    /// Segments of originals decoded.
    pub decodes: AtomicU64,
    /// Segments of levels encoded.
    pub encodes: AtomicU64,
    /// Pictures decoded.
    pub pictures: AtomicU64,
    /// Thumbnails, sheets and films made.
    pub drawn: AtomicU64,
    /// Frames that could not be decoded, or with damage only.
    pub broken_frames: AtomicU64,
    /// Requests that found no worker in time.
    pub refused: AtomicU64,
    /// Segments made ahead of a request for them.
    pub prefetched: AtomicU64,
    /// Those of them that were asked for afterwards.
    pub prefetched_used: AtomicU64,
    /// Jobs dropped because nobody waited for them any more when their turn came.
    pub dropped: AtomicU64,
    /// How often an encoder in hardware that worked has failed.
    pub hardware_failed: AtomicU64,
    /// Segments taken from the disk and not encoded again.
    pub cached: AtomicU64,
}

/// A running process. It is killed when this is dropped.
pub(crate) struct Worker {
    pub(crate) to: To,
    pub(crate) from: From,
    /// Since when it has nothing to do.
    pub(crate) idle_since: Instant,
    /// It may open files.
    pub(crate) hardware: bool,
    /// What it said of itself.
    pub(crate) greeting: String,
    /// What it is a process of.
    pub(crate) program: Arc<Program>,
    _running: Running,
    child: Child,
}

struct Running(Arc<Counters>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.processes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// Starts a process and waits for its greeting.
    pub(crate) async fn start(
        program: &Arc<Program>,
        hardware: bool,
        silent_max: Duration,
        counters: &Arc<Counters>,
    ) -> Result<Self, WorkerError> {
        let mut command = Command::new(&program.path);
        command.arg("work");
        if hardware {
            command.arg("--hardware");
        }
        command.env_clear().kill_on_drop(true).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(WorkerError::Start)?;
        counters.processes.fetch_add(1, Ordering::Relaxed);
        counters.started.fetch_add(1, Ordering::Relaxed);
        let running = Running(counters.clone());
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let stderr = child.stderr.take();
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(WorkerError::Ended);
        };
        let heard = Heard::new(silent_max);
        let pipe = BufReader::with_capacity(64 << 10, stdout);
        let from = From { pipe, words: Words::new(stderr), heard: heard.clone() };
        let to = To { pipe: stdin, heard };
        let (idle_since, greeting, program) = (Instant::now(), String::new(), program.clone());
        let _running = running;
        let mut worker =
            Self { to, from, idle_since, hardware, greeting, program, _running, child };
        match timeout(VERSION_DEADLINE, worker.from.read()).await {
            Err(_) => Err(WorkerError::Silent),
            Ok(Ok(FromEncoder::Hello(hello))) => {
                worker.greeting = hello.words;
                Ok(worker)
            }
            Ok(Ok(_)) => Err(WireError::Unknown("the greeting").into()),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Whether the process is still there.
    pub(crate) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

/// When something last went over either pipe. Who goes on is not given up so, however long all of it takes.
#[derive(Clone)]
struct Heard {
    at: Arc<Mutex<Timestamp>>,
    silent_max: Duration,
}

impl Heard {
    fn new(silent_max: Duration) -> Self {
        Self { at: Arc::new(Mutex::new(Timestamp::now())), silent_max }
    }

    fn at(&self) -> MutexGuard<'_, Timestamp> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) {
        *self.at() = Timestamp::now();
    }

    /// Ends when nothing was heard for too long.
    async fn silence(&self) {
        loop {
            let until = *self.at() + self.silent_max;
            if until <= Timestamp::now() {
                return;
            }
            sleep_until(until).await;
        }
    }
}

/// The way to the process.
pub(crate) struct To {
    pipe: ChildStdin,
    heard: Heard,
}

impl To {
    pub(crate) async fn send(&mut self, message: &ToEncoder) -> Result<(), WorkerError> {
        let bytes = message.encode();
        // It may have been idle until now.
        self.heard.now();
        let sent = tokio::select! {
            sent = self.pipe.write_all(&bytes) => sent,
            () = self.heard.silence() => return Err(WorkerError::Silent),
        };
        self.heard.now();
        sent.map_err(|_| WorkerError::Ended)
    }
}

/// The way from the process.
pub(crate) struct From {
    pipe: BufReader<ChildStdout>,
    words: Words,
    heard: Heard,
}

impl From {
    /// The next message. Not to be dropped half read: the worker goes with it.
    pub(crate) async fn read(&mut self) -> Result<FromEncoder, WorkerError> {
        let Self { pipe, words, heard } = self;
        let message = read(pipe, heard);
        tokio::pin!(message);
        loop {
            tokio::select! {
                message = &mut message => return message,
                () = words.log() => {}
            }
        }
    }

    /// The same. `owes`: it has something to do, and must be heard of.
    pub(crate) async fn answer(
        &mut self,
        owes: impl Fn() -> bool,
    ) -> Result<FromEncoder, WorkerError> {
        let heard = self.heard.clone();
        let read = self.read();
        tokio::pin!(read);
        loop {
            tokio::select! {
                message = &mut read => return message,
                () = heard.silence() => match owes() {
                    true => return Err(WorkerError::Silent),
                    // It waits for us, as live.
                    false => heard.now(),
                }
            }
        }
    }
}

/// How much a process has given of one job.
#[derive(Debug, Default)]
pub(crate) struct Given(usize);

impl Given {
    /// Another packet of so many bytes.
    pub(crate) fn packet(&mut self, bytes: usize) -> Result<(), WorkerError> {
        self.0 = self.0.saturating_add(bytes.max(PACKET_BYTES_MIN));
        if self.0 > JOB_OUTPUT_BYTES_MAX { Err(WorkerError::TooMuch) } else { Ok(()) }
    }
}

/// The next message that says more than that it goes on.
async fn read(
    pipe: &mut BufReader<ChildStdout>,
    heard: &Heard,
) -> Result<FromEncoder, WorkerError> {
    loop {
        let mut head = [0; 5];
        pipe.read_exact(&mut head).await.map_err(|_| WorkerError::Ended)?;
        let (kind, len) = wire::head_of(head)?;
        let mut body = Vec::new();
        // Grows with what comes, not by what was announced.
        let read = (&mut *pipe).take(len as u64).read_to_end(&mut body).await;
        if read.map_err(|_| WorkerError::Ended)? < len {
            return Err(WorkerError::Ended);
        }
        heard.now();
        let message = FromEncoder::decode(kind, Bytes::from(body))?;
        if message != FromEncoder::GoesOn {
            return Ok(message);
        }
    }
}

/// What it writes for people. A hostile stream may make it write a lot: only the first lines are told.
struct Words {
    pipe: Option<BufReader<tokio::io::Take<ChildStderr>>>,
}

/// Bytes of a process's words that are read at all.
const WORDS_MAX: u64 = 16 << 10;

impl Words {
    fn new(stderr: ChildStderr) -> Self {
        Self { pipe: Some(BufReader::with_capacity(WORDS_BYTES_MAX, stderr.take(WORDS_MAX))) }
    }

    /// Logs the next line; never ready once there are no more.
    async fn log(&mut self) {
        let Some(pipe) = &mut self.pipe else { return std::future::pending().await };
        // What was read of a line stays in the buffer if this is dropped.
        let line = match pipe.fill_buf().await {
            Ok(bytes) if !bytes.is_empty() => bytes.len(),
            _ => {
                self.pipe = None;
                return;
            }
        };
        let text = String::from_utf8_lossy(pipe.buffer()).trim().to_owned();
        pipe.consume(line);
        tracing::warn!(words = %text, "encoder");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_is_not_given_up_and_who_is_silent_is() {
        let most = Duration::from_secs(20);
        let heard = Heard::new(most);
        let began = Timestamp::now();
        for _ in 0..50 {
            advance(most - Duration::from_secs(1)).await;
            assert!(timeout(Duration::ZERO, heard.silence()).await.is_err());
            heard.now();
        }
        assert!(began.elapsed() > most * 40, "so long it has taken");
        let last = Timestamp::now();
        heard.silence().await;
        assert_eq!(last.elapsed(), most);
    }
}
