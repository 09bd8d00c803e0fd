//! The bundle: a directory with config.json and usually the root file system (bundle.md).
//!
//! Reads and parses, and judges nothing: what a value means is decided in `plan`. Uses `pointer`, `error` and `sys::file`; its types
//! are read by `plan`, and `container` and users of the library load bundles. The bytes are kept, because the
//! configuration that was used is stored with the container.

pub(crate) mod config;
mod merge;
mod parse;
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod seccomp;
pub(crate) mod shape;

use std::path::{Path, PathBuf};

pub(crate) use config::{Config, Device};
pub(crate) use parse::{parse_config, parse_process, parse_resources};
pub(crate) use process::Process;

use nix::errno::Errno;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::file;

/// The largest configuration that is read: a hundred times what engines send.
const LARGEST_CONFIG: usize = 16 << 20;

/// A bundle directory with its configuration, read and parsed.
#[derive(Clone, Debug)]
pub struct Bundle {
    directory: PathBuf,
    raw: Vec<u8>,
    /// Large, and in nobody's frame: a waiting init keeps those.
    config: Box<Config>,
}

impl Bundle {
    /// Reads `config.json` in `directory`.
    ///
    /// # Errors
    /// When the directory or the file cannot be read, or when the file is no configuration; the error's pointer then
    /// names the place.
    pub fn load(directory: impl AsRef<Path>) -> Result<Bundle> {
        let directory = directory.as_ref();
        let directory =
            file::canonical_directory(directory).context(|| format!("find bundle {}", directory.display()))?;
        let path = directory.join("config.json");
        let how = "name its directory by --bundle, or let coracle spec write it";
        let raw = read_limited(&path).map_err(|error| error.hint_on(Errno::ENOENT, how))?;
        let config = parse_config(&raw).map(Box::new).context(|| format!("parse {}", path.display()))?;
        Ok(Bundle { directory, raw, config })
    }

    /// The canonical path of the bundle.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The bytes of config.json.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The path and the bytes: all that is needed of it once it is planned.
    pub(crate) fn into_parts(self) -> (PathBuf, Vec<u8>) {
        (self.directory, self.raw)
    }
}

/// Reads a JSON document whose size is bounded: config.json, or the file of `exec --process`.
pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("read {}", path.display());
    let raw = file::open(path).and_then(|file| file::read_limited(file, LARGEST_CONFIG)).context(what)?;
    if raw.len() > LARGEST_CONFIG {
        return Err(Error::new(Kind::Config, "larger than 16 MiB").context(what()));
    }
    Ok(raw)
}

#[cfg(test)]
mod tests;
