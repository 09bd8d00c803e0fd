//! The runtime under test.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::verdict::Failure;

/// The runtime under test.
#[derive(Clone, Debug)]
pub struct Runtime {
    pub path: PathBuf,
    /// It refuses machines with controllers in cgroups of both versions, so it does not get to see the second.
    pub hide_v2: bool,
    /// Cgroups are systemd's to make.
    pub systemd: bool,
    /// Seconds for one test.
    pub limit: u64,
}

impl Runtime {
    /// The features document, when the runtime prints one.
    pub fn features(&self) -> Result<Value, Failure> {
        let output = Command::new(&self.path).arg("features").stdin(Stdio::null()).output()?;
        if !output.status.success() {
            return Err(Failure("the runtime has no command features".into()));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// The N of the specification's version 1.N that the runtime claims, in its features document or else in the line
    /// `spec:` of its version.
    pub fn spec_minor(&self) -> Option<u32> {
        let told = self.features().ok().and_then(|document| Some(document["ociVersionMax"].as_str()?.to_owned()));
        let version = told.or_else(|| {
            let output = Command::new(&self.path).arg("--version").stdin(Stdio::null()).output().ok()?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().find_map(|line| line.strip_prefix("spec: ").map(str::to_owned))
        })?;
        version.split('.').nth(1)?.parse().ok()
    }
}
