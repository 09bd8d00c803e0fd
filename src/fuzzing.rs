//! Doors for the fuzz targets of contrib/fuzz, which are built with `--cfg fuzzing`. Of other builds only that of the
//! tests has them, and tries each.

use std::path::Path;

use crate::bundle::{Config, Process, parse_config, parse_process};
use crate::error::{Result, Warning};
use crate::host::{CgroupLayout, HostFacts};
use crate::plan::resources::CgroupManager;
use crate::plan::{Console, ExecPlan, ExecRequest, Plan, PlanOptions};

/// linux.seccomp: see `plan::seccomp::tests::fuzzed`.
pub fn profile(bytes: &[u8]) {
    crate::plan::seccomp::tests::fuzzed::profile(bytes);
}

/// config.json, and the file of `exec --process`: parsed and planned for several hosts, or refused in one line.
pub fn config(bytes: &[u8]) {
    if let Some(config) = told(parse_config(bytes)) {
        for rootless in [false, true] {
            create(&config, &host(rootless));
        }
    }
    if let Some(process) = told(parse_process(bytes)) {
        exec(&Config::default(), &process, &host(false));
    }
}

fn create(config: &Config, facts: &HostFacts) {
    for (console, cgroup_manager) in
        [(Console::Socket, CgroupManager::Cgroupfs), (Console::Nobody, CgroupManager::Systemd)]
    {
        let options = PlanOptions { id: "fuzzed", no_pivot: false, no_new_keyring: false, console, cgroup_manager };
        if let Some((_, warnings)) = told(Plan::new(config, Path::new("/bundle"), facts, &options)) {
            one_line(&warnings);
        }
    }
    if let Some(process) = &config.process {
        exec(config, process, facts);
    }
}

fn exec(config: &Config, process: &Process, facts: &HostFacts) {
    let console = Console::Nobody;
    let request =
        ExecRequest { id: "fuzzed", init_pid: 7, process, pointer: "/process", no_new_keyring: true, console };
    if let Some((_, warnings)) = told(ExecPlan::new(config, facts, &request)) {
        one_line(&warnings);
    }
}

fn host(rootless: bool) -> HostFacts {
    HostFacts {
        euid: if rootless { 1000 } else { 0 },
        egid: if rootless { 1000 } else { 0 },
        rootless,
        cgroup: CgroupLayout::Unified,
        last_capability: 40,
        effective_capabilities: if rootless { 0 } else { (1 << 41) - 1 },
        apparmor: true,
        selinux: true,
        in_user_namespace: false,
        ignored_signals: 0,
        umask: Some(0o022),
    }
}

/// Errors are what people read: in one line.
fn told<T>(result: Result<T>) -> Option<T> {
    result.map_err(|error| assert!(!error.to_string().contains('\n'), "{error}")).ok()
}

fn one_line(warnings: &[Warning]) {
    warnings.iter().for_each(|warning| assert!(!warning.to_string().contains('\n'), "{warning}"));
}

#[cfg(test)]
mod tests {
    #[test]
    fn doors_take_good_and_bad_documents() {
        let profile = include_bytes!("../tests/data/seccomp/docker.json");
        let config = include_bytes!("../tests/data/plan/every-property.json");
        for bytes in [&profile[..], &profile[..1000], &config[..], &config[..1000], b"{}", b""] {
            super::profile(bytes);
            super::config(bytes);
        }
    }
}
