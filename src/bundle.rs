//! The bundle: config.json and root file system (bundle.md).

use std::path::Path;

use crate::error::{Error, Kind, Result};

/// A bundle directory with its configuration, read and parsed.
#[derive(Debug)]
pub struct Bundle {}

impl Bundle {
    /// Reads `config.json` in `directory`.
    pub fn load(directory: impl AsRef<Path>) -> Result<Bundle> {
        Err(Error::new(Kind::Unsupported, format!("load {}", directory.as_ref().display())))
    }
}
