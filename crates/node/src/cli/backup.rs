//! `airwave backup` and `airwave restore`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;

use super::configured::Configured;
use super::terminal::{Line, size};
use super::{failed, wrong};
use crate::backup::{self, Copied};

const BACKUP: &str = "\
Examples:
  airwave backup /backup/monday                           of ./airwave-data
  airwave backup /backup/monday --data /var/lib/airwave   while the server runs, too

Everything is in it: live inputs with their keys, the API token, all recordings up to this moment, of
broadcasts on the air as well. Keep it as safe as the data directory. On the same file system
recordings take no further room.";

const RESTORE: &str = "\
Examples:
  airwave restore /backup/monday --data /var/lib/airwave
  airwave serve --data /var/lib/airwave

The data directory must be new or empty. Broadcasts that were on the air at the time of the backup
have ended; the backup stays as it is.";

/// Damaged objects that are named one by one.
const NAMED_MAX: usize = 10;

#[derive(Debug, Args)]
#[command(after_help = BACKUP)]
pub(super) struct Backup {
    /// The folder to write, which must be new or empty
    #[arg(value_name = "DIR")]
    to: PathBuf,
    #[command(flatten)]
    configured: Configured,
}

#[derive(Debug, Args)]
#[command(after_help = RESTORE)]
pub(super) struct Restore {
    /// The folder that `airwave backup` wrote
    #[arg(value_name = "DIR")]
    from: PathBuf,
    #[command(flatten)]
    configured: Configured,
}

impl Backup {
    pub(super) fn run(&self) -> ExitCode {
        let data = match self.configured.load() {
            Ok(loaded) => loaded.config.data.dir,
            Err(errors) => return wrong(&errors),
        };
        let mut line = Line::new();
        line.say(&format!("copying {} to {}", data.display(), self.to.display()));
        let done = block_on(backup::backup(&data, &self.to, shown(&mut line)));
        finish(line, done, &format!("the backup in {} is complete", self.to.display()))
    }
}

impl Restore {
    pub(super) fn run(&self) -> ExitCode {
        let data = match self.configured.load() {
            Ok(loaded) => loaded.config.data.dir,
            Err(errors) => return wrong(&errors),
        };
        let mut line = Line::new();
        line.say(&format!("restoring {} to {}", self.from.display(), data.display()));
        let done = block_on(backup::restore(&self.from, &data, shown(&mut line)));
        let next = format!("start with: airwave serve --data {}", data.display());
        finish(line, done, &next)
    }
}

fn block_on(doing: impl Future<Output = Result<Copied>>) -> Result<Copied> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(doing)
}

/// A line a second, however many objects there are.
fn shown(line: &mut Line) -> impl FnMut(&Copied) {
    let mut shown = Instant::now();
    move |copied: &Copied| {
        if shown.elapsed() >= Duration::from_secs(1) {
            shown = Instant::now();
            line.update(&what(copied));
        }
    }
}

fn what(copied: &Copied) -> String {
    let Copied { videos, objects, bytes, .. } = copied;
    format!("{videos} videos, {objects} objects, {}", size(*bytes))
}

fn finish(mut line: Line, done: Result<Copied>, words: &str) -> ExitCode {
    let copied = match done {
        Ok(copied) => copied,
        Err(error) => {
            line.end();
            return failed(&format!("{error:#}"));
        }
    };
    let made = media::date::date_time(copied.made_ms);
    line.say(&format!("{} as of {made}\n{words}", what(&copied)));
    let mut faults = Vec::new();
    if copied.missing > 0 {
        faults.push(format!(
            "{} objects that the index names are not there: their recordings have holes, in the source too",
            copied.missing
        ));
    }
    let damaged = &copied.damaged;
    faults.extend(damaged.iter().take(NAMED_MAX).cloned());
    if damaged.len() > NAMED_MAX {
        faults.push(format!("and {} more like that", damaged.len() - NAMED_MAX));
    }
    faults.extend(copied.differs);
    match faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => failed(&format!("not all of it is whole: {}", faults.join("\n  "))),
    }
}
