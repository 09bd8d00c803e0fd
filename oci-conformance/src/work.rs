//! The directory of a run: it holds the probe and each test's corner.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::leaks;
use crate::verdict::Failure;

const PREFIX: &str = "oci-conformance-";

/// The directory, removed at the end.
#[derive(Debug)]
pub struct Work {
    directory: PathBuf,
}

impl Work {
    pub fn new() -> Result<Self, Failure> {
        let directory = std::env::temp_dir().join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o755))?;
        let work = Self { directory };
        fs::copy(std::env::current_exe()?, work.probe())?;
        fs::set_permissions(work.probe(), fs::Permissions::from_mode(0o755))?;
        Ok(work)
    }

    pub fn directory(&self) -> &PathBuf {
        &self.directory
    }

    pub fn probe(&self) -> PathBuf {
        self.directory.join("probe")
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Removes what runs made that were killed before they could do so themselves. Tells which they were.
pub fn clean() -> Result<Vec<u32>, Failure> {
    let mut cleaned = Vec::new();
    for entry in fs::read_dir(std::env::temp_dir())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = name.strip_prefix(PREFIX).and_then(|pid| pid.parse().ok()) else { continue };
        // Whoever has the number of a process that ended only puts the cleaning off.
        if Path::new("/proc").join(format!("{pid}")).exists() {
            continue;
        }
        leaks::remove(&leaks::tag_of(pid));
        fs::remove_dir_all(entry.path()).map_err(|error| Failure(format!("{}: {error}", entry.path().display())))?;
        cleaned.push(pid);
    }
    Ok(cleaned)
}
