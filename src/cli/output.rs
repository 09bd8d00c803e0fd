//! Standard output.

use std::io::{ErrorKind, Write, stdout};

use coracle::{Error, Kind, Result};
use serde::Serialize;

use super::failed;

/// Writes `text` to standard output. A reader that has seen enough is no failure.
pub(crate) fn print(text: &[u8]) -> Result<()> {
    let mut stdout = stdout().lock();
    match stdout.write_all(text).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| failed(&error, "write to standard output")),
    }
}

/// Writes `value` as JSON on one line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    print_line(serde_json::to_vec(value))
}

/// Writes `value` as JSON for people, too.
pub(crate) fn print_json_indented(value: &impl Serialize) -> Result<()> {
    print_line(serde_json::to_vec_pretty(value))
}

fn print_line(json: serde_json::Result<Vec<u8>>) -> Result<()> {
    let mut json =
        json.map_err(|error| Error::new(Kind::System, error.to_string()).context("write the answer as JSON"))?;
    json.push(b'\n');
    print(&json)
}
