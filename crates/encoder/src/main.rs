//! `airwave-encode`: decodes and encodes for the server, around FFmpeg's libraries, in a process of its own.
//!
//! It speaks [`encode::wire`] over its standard input and output and does one job after the other, until its input is
//! closed. What it is fed comes from strangers, so it gives up what it does not need before it reads any of it:
//! see [`sandbox`]. `--version` says what it is and what it can do, `--try` whether an encoder works.

#![deny(unsafe_op_in_unsafe_fn)]

mod av;
mod canvas;
mod coder;
mod decode;
mod film;
mod hardware;
mod job;
mod sandbox;
mod sheet;
mod sound;
mod stage;

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use encode::wire::{FromEncoder, Hello};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let hardware = match arguments.as_slice() {
        ["--version"] => {
            let said = writeln!(std::io::stdout(), "{}", av::words());
            return if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        ["--try", name] if says_into_a_file() => return try_out_beyond_a_pipe(name),
        ["--try", name] => return try_out(name),
        ["work"] => false,
        ["work", "--hardware"] => true,
        _ => {
            eprintln!("airwave-encode is started by airwave. By hand: airwave-encode --version");
            return ExitCode::from(2);
        }
    };
    match work(hardware) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether an encoder that is none of the processor's works, under the same restrictions as later.
fn try_out(name: &str) -> ExitCode {
    let entered = av::init().map_err(|e| e.to_string());
    let entered = entered.and_then(|()| sandbox::enter(true).map_err(|e| e.to_string()));
    match entered.and_then(|()| hardware::try_out(name)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// In the sandbox no file grows: what is said into one would end the process that says it.
fn says_into_a_file() -> bool {
    let said = std::io::stderr().as_fd().try_clone_to_owned().map(File::from);
    said.and_then(|said| said.metadata()).is_ok_and(|said| said.is_file())
}

/// Another process tries it out, and what it says goes through this one.
fn try_out_beyond_a_pipe(name: &str) -> ExitCode {
    let tried = std::env::current_exe().and_then(|own| {
        let mut command = Command::new(own);
        command.args(["--try", name]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut said) = child.stderr.take() {
            std::io::copy(&mut said, &mut std::io::stderr())?;
        }
        child.wait()
    });
    match tried {
        Ok(status) if status.success() => return ExitCode::SUCCESS,
        // Of who has ended by himself it is said.
        Ok(status) if status.code().is_some() => {}
        Ok(status) => eprintln!("{status}"),
        Err(error) => eprintln!("{error}"),
    }
    ExitCode::FAILURE
}

/// A process that hangs in a decoder never comes to read that its server is gone, which nobody else ends then.
fn ends_with_its_server() {
    let watch = || {
        av::until_hung_up();
        // One that is well ends by itself.
        std::thread::sleep(ORPHANED_MAX);
        av::end();
    };
    // Without it the process is as well as it was.
    let _ = std::thread::Builder::new().stack_size(64 << 10).spawn(watch);
}

/// How long a process may go on when its server is gone.
const ORPHANED_MAX: Duration = Duration::from_secs(2);

fn work(hardware: bool) -> Result<(), Box<dyn std::error::Error>> {
    av::init()?;
    let words = av::words();
    sandbox::enter(hardware)?;
    ends_with_its_server();
    let mut input = BufReader::with_capacity(64 << 10, std::io::stdin().lock());
    let output = job::Out::new(BufWriter::with_capacity(64 << 10, std::io::stdout()));
    output.send(&FromEncoder::Hello(Hello { words }))?;
    while job::next(&mut input, &output)? {}
    Ok(())
}
