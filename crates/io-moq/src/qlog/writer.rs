//! The thread that writes logs: what becomes of files here is nobody's business elsewhere.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use super::Entry;
use crate::limits::{QLOG_FILES_MAX, QLOG_OPEN_MAX};

/// How the names of logs end.
const SUFFIXES: [&str; 2] = ["_server.sqlog", "_client.sqlog"];

/// Writes logs for as long as there is who may have something to write.
pub struct Writer {
    folder: PathBuf,
    receiver: Receiver<Entry>,
    queued: Arc<AtomicUsize>,
    open: BTreeMap<u64, BufWriter<File>>,
    /// It was said that it does not work.
    complained: bool,
}

impl Writer {
    pub(super) fn new(
        folder: PathBuf,
        receiver: Receiver<Entry>,
        queued: Arc<AtomicUsize>,
    ) -> Self {
        Self { folder, receiver, queued, open: BTreeMap::new(), complained: false }
    }

    /// A log on this file.
    #[cfg(test)]
    pub(super) fn open_on(&mut self, file: u64, on: File) {
        self.open.insert(file, BufWriter::new(on));
    }

    /// Works until nobody is left who could begin a log.
    pub fn run(mut self) {
        while let Ok(first) = self.receiver.recv() {
            self.take(first);
            while let Ok(next) = self.receiver.try_recv() {
                self.take(next);
            }
            // Who reads a log finds in it what has happened.
            let files: Vec<u64> = self.open.keys().copied().collect();
            for file in files {
                self.write(file, "", true);
            }
        }
    }

    fn take(&mut self, entry: Entry) {
        self.queued.fetch_sub(entry.bytes(), Ordering::Relaxed);
        match entry {
            Entry::Begin { file, name } => {
                let opened = self.begin(&name);
                match opened {
                    Ok(opened) => {
                        self.complained = false;
                        self.open.insert(file, BufWriter::new(opened));
                    }
                    Err(error) => self.complain(&error),
                }
            }
            Entry::Record { file, text } => self.write(file, &text, false),
            Entry::End { file } => {
                self.write(file, "", true);
                self.open.remove(&file);
            }
        }
    }

    /// A log that can't be written is over.
    fn write(&mut self, file: u64, text: &str, flush: bool) {
        let Some(open) = self.open.get_mut(&file) else { return };
        let written = open.write_all(text.as_bytes());
        let written = written.and_then(|()| if flush { open.flush() } else { Ok(()) });
        if let Err(error) = written {
            if let Some(open) = self.open.remove(&file) {
                // What is left in it would be tried again.
                drop(open.into_parts());
            }
            self.complain(&error);
        }
    }

    fn begin(&mut self, name: &str) -> io::Result<File> {
        if self.open.len() >= QLOG_OPEN_MAX {
            // The one that is open longest: its end may have been lost.
            self.open.pop_first();
        }
        fs::create_dir_all(&self.folder)?;
        self.make_room()?;
        // Who is connected, and what he watches, is not for everybody's eyes.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.folder.join(name))
    }

    /// The oldest logs go. What else lies in the folder stays.
    fn make_room(&self) -> io::Result<()> {
        let mut logs = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let is_log = |name: &str| SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
            if name.to_str().is_some_and(is_log) {
                logs.push(name);
            }
        }
        logs.sort();
        let old = (logs.len() + 1).saturating_sub(QLOG_FILES_MAX);
        logs.iter().take(old).try_for_each(|name| fs::remove_file(self.folder.join(name)))
    }

    /// Once, until it works again: there may be a session every millisecond.
    fn complain(&mut self, error: &io::Error) {
        if !self.complained {
            let folder = self.folder.display();
            tracing::warn!(
                "sessions of MoQ can't be written down in {folder} (moq.qlog_dir): {error}"
            );
        }
        self.complained = true;
    }
}
