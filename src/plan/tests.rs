//! Whole configurations: golden files, what engines send, a table of bad ones, and mutations.

mod bad;
mod engines;
mod golden;
mod mutations;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::*;
use crate::bundle::{parse_config, parse_process};
use crate::host::CgroupLayout;

/// A file below tests/data.
fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// A machine on which everything is possible.
fn root() -> HostFacts {
    HostFacts {
        euid: 0,
        egid: 0,
        rootless: false,
        cgroup: CgroupLayout::Unified,
        last_capability: 40,
        effective_capabilities: (1 << 41) - 1,
        apparmor: true,
        selinux: true,
        in_user_namespace: false,
        ignored_signals: 0,
        umask: Some(0o022),
    }
}

/// The same machine for an unprivileged user.
fn user() -> HostFacts {
    HostFacts { euid: 1000, egid: 1000, rootless: true, effective_capabilities: 0, ..root() }
}

fn options(console: Console) -> PlanOptions<'static> {
    PlanOptions { id: "test", no_pivot: false, no_new_keyring: false, console, cgroup_manager: CgroupManager::Cgroupfs }
}

fn parse(value: &Value) -> Result<Config> {
    parse_config(&serde_json::to_vec(value).unwrap())
}

/// Plans with a console socket exactly when there is a terminal.
fn plan(config: &Config, facts: &HostFacts) -> Result<(Plan, Vec<Warning>)> {
    let terminal = config.process.as_ref().is_some_and(|process| process.terminal);
    let console = if terminal { Console::Socket } else { Console::Nobody };
    Plan::new(config, Path::new("/bundle"), facts, &options(console))
}

fn read(path: &str) -> Value {
    serde_json::from_slice(&fs::read(data(path)).unwrap()).unwrap()
}
