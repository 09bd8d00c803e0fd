//! Standard output.

use std::io::{ErrorKind, Write, stdout};

use coracle::{Error, Kind, Result};
use serde::Serialize;

use super::failed;

/// Writes `text` to standard output. A reader that has seen enough is no failure.
pub(crate) fn print(text: &[u8]) -> Result<()> {
    write(text).map(drop)
}

/// False if the reader is gone.
fn write(text: &[u8]) -> Result<bool> {
    let mut stdout = stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).map_err(|error| failed(&error, "write to standard output")),
    }
}

/// Writes `value` as JSON on one line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print_to_reader(value).map(drop)
}

/// As [`print_json`], for a stream: false once nobody reads it any more.
pub(crate) fn print_to_reader(value: &impl Serialize) -> Result<bool> {
    write(&line(serde_json::to_vec(value))?)
}

/// Writes `value` as JSON for people, too.
pub(crate) fn print_json_indented(value: &impl Serialize) -> Result<()> {
    print(&line(serde_json::to_vec_pretty(value))?)
}

fn line(json: serde_json::Result<Vec<u8>>) -> Result<Vec<u8>> {
    let mut json =
        json.map_err(|error| Error::new(Kind::System, error.to_string()).context("write the answer as JSON"))?;
    json.push(b'\n');
    Ok(json)
}
