//! `spec`: a config.json to begin with.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use coracle::{Error, Kind, Result};
use nix::unistd::{getegid, geteuid};

use super::definition::{given_path, switch, value};
use super::{Command, ExitCode, Globals, Group, ID_ONLY, Positionals, failed};

pub(crate) const COMMAND: Command = Command {
    name: "spec",
    about: "Write a config.json to begin with",
    example: "coracle spec --bundle /srv/web",
    group: Group::Prepare,
    positionals: Positionals::Exactly(0),
    define,
    run,
    ..ID_ONLY
};

fn define(command: clap::Command) -> clap::Command {
    command.args([
        value("bundle", "DIR", "Directory to write it into [default: the current one]").short('b'),
        switch("rootless", "For a container that an ordinary user runs"),
    ])
}

fn run(_: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let directory = given_path(matches, "bundle").unwrap_or_else(|| PathBuf::from("."));
    let unified = Path::new("/sys/fs/cgroup/cgroup.controllers").exists();
    let owner = matches.get_flag("rootless").then(|| (geteuid().as_raw(), getegid().as_raw()));
    write_new(&directory.join("config.json"), &config(owner, unified))?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration: for root, or for the user and group `owner`. On a `unified` cgroup hierarchy the container
/// gets a cgroup namespace, so that it sees its own cgroup as the root.
fn config(owner: Option<(u32, u32)>, unified: bool) -> String {
    const MOUNT_NAMESPACE: &str = "{\n\t\t\t\t\"type\": \"mount\"\n\t\t\t}";
    const CGROUP_NAMESPACE: &str = "{\n\t\t\t\t\"type\": \"cgroup\"\n\t\t\t}";
    const HOST_ID: &str = "\"hostID\": 0";
    let mut config = match owner {
        None => include_str!("spec/config.json").to_owned(),
        // The uid's mapping stands before the gid's.
        Some((uid, gid)) => {
            let mut ids = [uid, gid].into_iter();
            let mut parts = include_str!("spec/rootless.json").split(HOST_ID);
            let head = parts.next().unwrap_or_default().to_owned();
            parts.zip(&mut ids).fold(head, |config, (part, id)| config + &format!("\"hostID\": {id}") + part)
        }
    };
    if unified {
        config = config.replacen(MOUNT_NAMESPACE, &format!("{MOUNT_NAMESPACE},\n\t\t\t{CGROUP_NAMESPACE}"), 1);
    }
    config
}

/// Writes a file that must not exist yet.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let operation = || format!("write {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|error| {
        if error.kind() == ErrorKind::AlreadyExists {
            Error::new(Kind::Exists, format!("{} exists", path.display())).hint("remove it first")
        } else {
            failed(&error, operation())
        }
    })?;
    file.write_all(text.as_bytes()).map_err(|error| {
        // Half of a configuration is worse than none.
        let _ = std::fs::remove_file(path);
        failed(&error, operation())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(owner: Option<(u32, u32)>, unified: bool) -> Value {
        serde_json::from_str(&config(owner, unified)).unwrap()
    }

    fn namespaces(config: &Value) -> Vec<&str> {
        config["linux"]["namespaces"].as_array().unwrap().iter().map(|entry| entry["type"].as_str().unwrap()).collect()
    }

    #[test]
    fn config_of_root_has_a_terminal_and_no_mappings() {
        let config = parsed(None, false);
        assert_eq!(config["process"]["terminal"], true);
        assert_eq!(config["ociVersion"], coracle::OCI_VERSION);
        assert_eq!(namespaces(&config), ["pid", "network", "ipc", "uts", "mount"]);
        assert!(config["linux"]["uidMappings"].is_null());
    }

    #[test]
    fn config_of_a_user_maps_that_user_to_root() {
        for (uid, gid) in [(1000, 100), (0, 7), (7, 0)] {
            let config = parsed(Some((uid, gid)), false);
            assert_eq!(config["linux"]["uidMappings"], json!([{"containerID": 0, "hostID": uid, "size": 1}]),);
            assert_eq!(config["linux"]["gidMappings"], json!([{"containerID": 0, "hostID": gid, "size": 1}]));
            assert_eq!(namespaces(&config), ["pid", "ipc", "uts", "mount", "user"]);
        }
    }

    #[test]
    fn config_on_a_unified_hierarchy_has_a_cgroup_namespace() {
        assert_eq!(namespaces(&parsed(None, true)), ["pid", "network", "ipc", "uts", "mount", "cgroup"]);
        assert_eq!(namespaces(&parsed(Some((1, 1)), true)), ["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    }
}
