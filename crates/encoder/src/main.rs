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

use std::io::{BufReader, BufWriter, Write};
use std::process::ExitCode;

use encode::wire::{FromEncoder, Hello};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let hardware = match arguments.as_slice() {
        ["--version"] => {
            let said = writeln!(std::io::stdout(), "{}", av::words());
            return if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
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

fn work(hardware: bool) -> Result<(), Box<dyn std::error::Error>> {
    av::init()?;
    let words = av::words();
    sandbox::enter(hardware)?;
    let mut input = BufReader::with_capacity(64 << 10, std::io::stdin().lock());
    let output = job::Out::new(BufWriter::with_capacity(64 << 10, std::io::stdout()));
    output.send(&FromEncoder::Hello(Hello { words }))?;
    while job::next(&mut input, &output)? {}
    Ok(())
}
