//! What stands before the command: where state is kept, who manages cgroups, where the log goes.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use clap::{ArgMatches, Command};
use coracle::{CgroupManager, Container, Result, Runtime};

use super::definition::{choice, given_path, switch, value};
use super::{failed, usage};
use crate::log::{self, Format, Level};

/// The settings that all commands share.
#[derive(Debug)]
pub(crate) struct Globals {
    root: Option<PathBuf>,
    manager: CgroupManager,
    rootless: Option<bool>,
    log: Option<PathBuf>,
    log_format: Format,
    log_level: Option<Level>,
    timings: Option<PathBuf>,
    /// `--version` was given.
    pub version: bool,
}

/// The program as clap knows it, without its commands.
pub(crate) fn definition() -> Command {
    Command::new("coracle").about("Run containers from OCI bundles").no_binary_name(true).args([
        value("root", "DIR", "Where state is kept [default: /run/coracle, rootless $XDG_RUNTIME_DIR/coracle]"),
        value("log", "FILE", "Append records to FILE"),
        choice("log-format", "FORMAT", "Form of the records: text or json", &["text", "json"]),
        choice(
            "log-level",
            "LEVEL",
            "Least serious record to write: error, warning, info or debug",
            &["error", "warning", "warn", "info", "debug"],
        ),
        value(
            "timings",
            "FILE",
            "Append a line of JSON at the end of each phase of create, run, start and exec to FILE",
        ),
        switch("debug", "The same as --log-level debug"),
        switch("systemd-cgroup", "The same as --cgroup-manager systemd"),
        choice(
            "cgroup-manager",
            "MANAGER",
            "Who makes cgroups: cgroupfs, systemd or disabled",
            &["cgroupfs", "systemd", "disabled"],
        ),
        choice("rootless", "WHEN", "Run without privileges: true, false or auto", &["true", "false", "auto"]),
        value("criu", "PATH", "Accepted and not used: criu is found in $PATH").hide(true),
        switch("version", "Print the version").short('v'),
    ])
}

impl Globals {
    /// Reads what clap has parsed.
    pub(crate) fn read(matches: &ArgMatches) -> Globals {
        let word = |long| matches.get_one::<String>(long).map(String::as_str);
        Globals {
            root: given_path(matches, "root"),
            manager: match word("cgroup-manager") {
                Some("systemd") => CgroupManager::Systemd,
                Some("disabled") => CgroupManager::Disabled,
                Some(_) => CgroupManager::Cgroupfs,
                None if matches.get_flag("systemd-cgroup") => CgroupManager::Systemd,
                None => CgroupManager::Cgroupfs,
            },
            rootless: match word("rootless") {
                Some("true") => Some(true),
                Some("false") => Some(false),
                _ => None,
            },
            log: given_path(matches, "log"),
            log_format: if word("log-format") == Some("json") { Format::Json } else { Format::Text },
            log_level: match word("log-level") {
                _ if matches.get_flag("debug") => Some(Level::Debug),
                Some("debug") => Some(Level::Debug),
                Some("warning" | "warn" | "info") => Some(Level::Warning),
                Some(_) => Some(Level::Error),
                None => None,
            },
            // Nobody passes an empty one without meaning to: opening it says so.
            timings: matches.get_one::<OsString>("timings").map(PathBuf::from),
            version: matches.get_flag("version"),
        }
    }

    /// Starts logging.
    pub(crate) fn open_log(&self) -> Result<()> {
        log::open(self.log.as_deref(), self.log_format, self.log_level).map_err(|error| {
            let path = self.log.as_deref().unwrap_or(Path::new(""));
            failed(&error, format!("open log file {}", path.display()))
        })
    }

    /// Starts the record of the phases' times, if it is wanted.
    pub(crate) fn open_timings(&self) -> Result<()> {
        let Some(path) = &self.timings else { return Ok(()) };
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|error| failed(&error, format!("open timings file {}", path.display())))?;
        coracle::write_timings(file);
        Ok(())
    }

    /// The library's runtime with these settings.
    pub(crate) fn runtime(&self) -> Result<Runtime> {
        let root = match &self.root {
            Some(root) => std::path::absolute(root)
                .map_err(|error| failed(&error, format!("find the absolute path of {}", root.display())))?,
            None => {
                default_root(std::env::var_os("XDG_RUNTIME_DIR"), || self.rootless.unwrap_or_else(owns_runtime_dir))
            }
        };
        Ok(Runtime::new(root)
            .cgroup_manager(self.manager)
            .rootless(self.rootless)
            .on_warning(log::warning)
            .on_detail(|detail| log::debug(|| detail.to_string())))
    }

    /// The container named `id`.
    pub(crate) fn container(&self, id: &str) -> Result<Container> {
        if id.is_empty() {
            return Err(usage("the container id is empty"));
        }
        self.runtime()?.container(id)
    }
}

/// Where state is kept when nobody says. Whether we are without privileges is asked only where it matters.
fn default_root(runtime_dir: Option<OsString>, rootless: impl FnOnce() -> bool) -> PathBuf {
    match runtime_dir.filter(|directory| !directory.is_empty()) {
        Some(directory) if rootless() => PathBuf::from(directory).join("coracle"),
        _ => PathBuf::from("/run/coracle"),
    }
}

/// Whether $XDG_RUNTIME_DIR is ours rather than /run. Root in a user namespace is the user who made it, unless
/// the environment says that this is a whole system of its own.
fn owns_runtime_dir() -> bool {
    const IDENTITY: [&str; 3] = ["0", "0", "4294967295"];
    if !nix::unistd::geteuid().is_root() {
        return true;
    }
    let in_user_namespace =
        std::fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !map.split_whitespace().eq(IDENTITY));
    in_user_namespace && std::env::var_os("USER") != Some(OsString::from("root"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Request, parse_globals};

    fn globals(line: &str) -> Globals {
        let words = line.split_whitespace().chain(["list"]).map(OsString::from);
        match parse_globals(words).unwrap() {
            Request::Command(globals, _) => globals,
            Request::Help(_) | Request::Version => panic!("{line} is no command"),
        }
    }

    #[test]
    fn default_root_follows_the_user() {
        assert_eq!(default_root(Some("/x".into()), || true), Path::new("/x/coracle"));
        for (runtime_dir, rootless) in [(Some("/x"), false), (None, true), (Some(""), true)] {
            assert_eq!(default_root(runtime_dir.map(OsString::from), || rootless), Path::new("/run/coracle"));
        }
    }

    #[test]
    fn read_cgroup_manager_of_every_spelling() {
        for (line, manager) in [
            ("", CgroupManager::Cgroupfs),
            ("--systemd-cgroup", CgroupManager::Systemd),
            ("-systemd-cgroup=true", CgroupManager::Systemd),
            ("--systemd-cgroup=false", CgroupManager::Cgroupfs),
            ("--cgroup-manager systemd", CgroupManager::Systemd),
            ("--cgroup-manager=disabled", CgroupManager::Disabled),
            ("--systemd-cgroup --cgroup-manager=cgroupfs", CgroupManager::Cgroupfs),
        ] {
            assert_eq!(globals(line).manager, manager, "{line}");
        }
    }

    #[test]
    fn read_rootless_and_log_level_of_every_spelling() {
        for (line, rootless, level) in [
            ("", None, None),
            ("--rootless auto --log-level error", None, Some(Level::Error)),
            ("--rootless=true --log-level=warn", Some(true), Some(Level::Warning)),
            ("-rootless false --log-level info", Some(false), Some(Level::Warning)),
            ("--debug --log-level error", None, Some(Level::Debug)),
            ("--debug=true", None, Some(Level::Debug)),
            ("--debug=false", None, None),
            ("--criu /usr/sbin/criu", None, None),
        ] {
            let globals = globals(line);
            assert_eq!((globals.rootless, globals.log_level), (rootless, level), "{line}");
        }
    }
}
