//! Where the time of a start goes: one JSON line at the end of each phase, if somebody asked for it (`--timings`).
//!
//! Uses nothing. Called by `container` and `init` between their phases; when nobody asked, a mark is one look at memory.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use nix::time::{ClockId, clock_gettime};

static TIMINGS: OnceLock<File> = OnceLock::new();

/// Writes a line to `file` at the end of each phase from now on, in this process and in those it makes until they
/// execute the container's program:
///
/// ```json
/// {"at":93716.120845,"pid":4711,"phase":"mounts"}
/// ```
///
/// `at` is CLOCK_MONOTONIC in seconds, the same for all processes; `pid` is in the pid namespace of the process, so that
/// init has 1. The file should be open for appending. A second call changes nothing.
pub fn write_timings(file: File) {
    let _ = TIMINGS.set(file);
    mark("begin");
}

/// The end of a phase, and the beginning of the next one of this process.
pub(crate) fn mark(phase: &'static str) {
    if let Some(file) = TIMINGS.get() {
        write(file, phase);
    }
}

/// The descriptor, for a process that closes what it does not know.
pub(crate) fn descriptor() -> Option<BorrowedFd<'static>> {
    TIMINGS.get().map(AsFd::as_fd)
}

#[cold]
fn write(mut file: &File, phase: &'static str) {
    let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return };
    let line = line(now.tv_sec(), now.tv_nsec() / 1000, std::process::id(), phase);
    // One write a line, so that those of several processes do not mix. A measurement that fails must not stop a container.
    let _ = file.write_all(line.as_bytes());
}

fn line(seconds: i64, micros: i64, pid: u32, phase: &str) -> String {
    format!("{{\"at\":{seconds}.{micros:06},\"pid\":{pid},\"phase\":\"{phase}\"}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_json_with_six_digits_of_fraction() {
        let line = line(12, 45, 1, "mounts");
        assert_eq!(line, "{\"at\":12.000045,\"pid\":1,\"phase\":\"mounts\"}\n");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap()["phase"], "mounts");
    }
}
