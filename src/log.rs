//! What the program tells people and engines: records in the log file, and lines on standard error.
//!
//! A failure is one record and one line; an operation that succeeds writes nothing at the default level, because
//! engines read the log file as one object and take whatever stands on standard error for a failure. The library
//! only returns errors and hands warnings on. Called by `main` and `cli`.
#![forbid(unsafe_code)]

use std::fmt::{Display, Write as _};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write, stderr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::SystemTime;

use coracle::{Error, Warning, rfc3339};

/// How serious a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// The operation failed.
    Error,
    /// Something was ignored.
    Warning,
    /// For people who look for a cause.
    Debug,
}

impl Level {
    const fn word(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Debug => "debug",
        }
    }
}

/// The form of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// `time="…" level=error msg="…"`.
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`.
    Json,
}

#[derive(Debug)]
struct Log {
    file: Option<File>,
    format: Format,
    level: Option<Level>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Opens the log. Without a level, errors are logged, and warnings too where a person is looking.
///
/// Until this is called, and when it fails, errors go to standard error alone.
pub(crate) fn open(path: Option<&Path>, format: Format, level: Option<Level>) -> std::io::Result<()> {
    // The name that engines give for "no file": records must not stand beside the plain lines there.
    let path = path.filter(|path| *path != Path::new("/dev/stderr"));
    let file = path.map(|path| OpenOptions::new().append(true).create(true).mode(0o644).open(path)).transpose()?;
    LOG.get_or_init(|| Log { file, format, level });
    Ok(())
}

/// Reports the failure of the operation.
pub(crate) fn error(error: &Error) {
    log(Level::Error, error);
}

/// Reports what did not stop the operation.
pub(crate) fn warning(warning: &Warning) {
    log(Level::Warning, warning);
}

/// Reports what only helps to find a cause.
pub(crate) fn debug(message: impl FnOnce() -> String) {
    if LOG.get().is_some_and(|log| log.level >= Some(Level::Debug)) {
        log(Level::Debug, &message());
    }
}

fn log(level: Level, message: &impl Display) {
    static PLAIN: Log = Log { file: None, format: Format::Text, level: None };
    let log = LOG.get().unwrap_or(&PLAIN);
    if level > log.threshold(level) {
        return;
    }
    // One write a record, so that those of several processes do not mix. Nobody is left to hear of a failure.
    if let Some(mut file) = log.file.as_ref() {
        let _ = file.write_all(record(log.format, level, message, SystemTime::now()).as_bytes());
        if level > Level::Error {
            return;
        }
    }
    let text = match (&log.file, log.format) {
        (None, Format::Json) => record(Format::Json, level, message, SystemTime::now()),
        _ => line(level, message),
    };
    let _ = stderr().write_all(text.as_bytes());
}

impl Log {
    /// The least serious level that is written. Whether a person is looking is asked only where it matters.
    fn threshold(&self, level: Level) -> Level {
        match self.level {
            Some(level) => level,
            None if level > Level::Error && self.file.is_none() && stderr().is_terminal() => Level::Warning,
            None => Level::Error,
        }
    }
}

/// What a person reads.
fn line(level: Level, message: &impl Display) -> String {
    format!("coracle: {}: {message}\n", level.word())
}

fn record(format: Format, level: Level, message: &impl Display, time: SystemTime) -> String {
    let (level, message, time) = (level.word(), message.to_string(), rfc3339(time));
    match format {
        Format::Json => {
            format!("{{\"level\":\"{level}\",\"msg\":{},\"time\":\"{time}\"}}\n", serde_json::Value::from(message))
        }
        Format::Text => format!("time=\"{time}\" level={level} msg=\"{}\"\n", escaped(&message)),
    }
}

/// `text` for between double quotes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("\\\""),
            '\\' => escaped.push_str("\\\\"),
            '\n' => escaped.push_str("\\n"),
            c if c.is_control() => {
                let _ = write!(escaped, "\\u{:04x}", u32::from(c));
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    const TIME: Duration = Duration::new(1_700_000_000, 7);

    #[test]
    fn record_json_is_one_line_with_the_three_keys() {
        let text = record(Format::Json, Level::Error, &"a \"b\"\n\u{1b}c", UNIX_EPOCH + TIME);
        assert_eq!(
            text,
            "{\"level\":\"error\",\"msg\":\"a \\\"b\\\"\\n\\u001bc\",\"time\":\"2023-11-14T22:13:20.000000007Z\"}\n"
        );
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["msg"], "a \"b\"\n\u{1b}c");
    }

    #[test]
    fn record_text_escapes_what_would_forge_a_record() {
        let text = record(Format::Text, Level::Warning, &"x\" level=error\n\\", UNIX_EPOCH + TIME);
        assert_eq!(text, "time=\"2023-11-14T22:13:20.000000007Z\" level=warning msg=\"x\\\" level=error\\n\\\\\"\n");
    }

    #[test]
    fn threshold_explicit_level_is_kept() {
        let log = Log { file: None, format: Format::Text, level: Some(Level::Debug) };
        assert_eq!(log.threshold(Level::Warning), Level::Debug);
    }
}
