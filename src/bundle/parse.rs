//! From bytes to [`Config`] and [`Process`], and to the JSON pointer of what is wrong with them.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::config::{Config, ConfigDocument};
use super::process::{Process, ProcessDocument};
use super::resources::ResourcesConfig;
use crate::error::{Error, Kind, Result};
use crate::pointer;

/// Parses config.json.
pub(crate) fn parse_config(raw: &[u8]) -> Result<Config> {
    document::<ConfigDocument>(raw).map(|document| document.0)
}

/// Parses a process section that stands alone (`exec --process`).
pub(crate) fn parse_process(raw: &[u8]) -> Result<Process> {
    document::<ProcessDocument>(raw).map(|document| document.0)
}

/// Parses resources that stand alone (`update --resources`): linux.resources without anything around it.
pub(crate) fn parse_resources(raw: &[u8]) -> Result<ResourcesConfig> {
    document(raw)
}

fn document<T: DeserializeOwned>(raw: &[u8]) -> Result<T> {
    if raw.starts_with(b"\xef\xbb\xbf") {
        return Err(Error::new(Kind::Config, "not JSON: starts with a byte order mark"));
    }
    match serde_json::from_slice(raw) {
        Ok(document) => {
            refuse_nul(raw)?;
            Ok(document)
        }
        // The parser that knows paths is twice as slow, so it looks only at what is known to be wrong.
        Err(error) => Err(locate::<T>(raw, &error)),
    }
}

fn locate<T: DeserializeOwned>(raw: &[u8], error: &serde_json::Error) -> Error {
    let mut json = serde_json::Deserializer::from_slice(raw);
    let pointer = match serde_path_to_error::deserialize::<_, T>(&mut json) {
        Err(error) => pointer_of(error.path()),
        Ok(_) => String::new(),
    };
    match error.classify() {
        serde_json::error::Category::Data => Error::config(pointer, error.to_string()),
        _ => Error::config(pointer, format!("not JSON: {error}")),
    }
}

fn pointer_of(path: &Path) -> String {
    path.iter().fold(String::new(), |at, segment| match segment {
        Segment::Seq { index } => pointer::index(&at, *index),
        Segment::Map { key } | Segment::Enum { variant: key } => pointer::join(&at, key),
        Segment::Unknown => at,
    })
}

/// No string may hold a NUL character: the kernel's strings end there, and what is checked must be what is used.
fn refuse_nul(raw: &[u8]) -> Result<()> {
    if !raw.split(|&byte| byte == b'\\').skip(1).any(|escaped| escaped.starts_with(b"u0000")) {
        return Ok(());
    }
    let value: Value =
        serde_json::from_slice(raw).map_err(|error| Error::new(Kind::Config, format!("not JSON: {error}")))?;
    match find_nul(&value, String::new()) {
        Some(pointer) => Err(Error::config(pointer, "a NUL character in a string")),
        None => Ok(()),
    }
}

fn find_nul(value: &Value, at: String) -> Option<String> {
    match value {
        Value::String(text) if text.contains('\0') => Some(at),
        Value::Array(values) => {
            values.iter().enumerate().find_map(|(i, value)| find_nul(value, pointer::index(&at, i)))
        }
        Value::Object(entries) => entries.iter().find_map(|(key, value)| {
            let at = pointer::join(&at, key);
            if key.contains('\0') { Some(at) } else { find_nul(value, at) }
        }),
        _ => None,
    }
}
