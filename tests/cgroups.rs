//! Whose cgroup it is and which processes are in it: what is somebody else's is left alone, and every command reaches
//! all of the container's, also while they are frozen.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Container, Lab, args, eventually, json};
use serde_json::Value;

/// The roots of the hierarchies.
fn hierarchies() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.procs").exists() {
        return vec![top.to_owned()];
    }
    let below = fs::read_dir(top).unwrap().map(|entry| entry.unwrap().path());
    below.filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists()).collect()
}

/// The hierarchy that freezes.
fn freezing() -> PathBuf {
    let all = hierarchies();
    all.iter().find(|path| path.ends_with("freezer")).unwrap_or(&all[0]).clone()
}

/// Freezes or thaws what is below `directory`.
fn freeze(directory: &Path, frozen: bool) {
    let v1 = directory.join("freezer.state");
    match v1.exists() {
        true => fs::write(v1, if frozen { "FROZEN" } else { "THAWED" }).unwrap(),
        false => fs::write(directory.join("cgroup.freeze"), if frozen { "1" } else { "0" }).unwrap(),
    }
}

fn without_pid_namespace(config: &mut Value) {
    args(config, &["sh", "-c", "sleep 1000 & sleep 1000 & sleep 1000 & wait"]);
    config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
}

fn processes(container: &Container<'_>) -> Vec<i64> {
    serde_json::from_str(&container.with("ps", &["--format", "json"], &[]).ok().stdout).unwrap()
}

/// In whichever hierarchies the path is taken, if not in all: nobody there is killed, and nothing is removed.
#[test]
fn create_in_a_cgroup_of_somebody_else_is_refused_and_leaves_it_alone() {
    let lab = Lab::new();
    let stranger = lab.bystander(&["sleep", "1000"]);
    let mut bundle = lab.bundle(|config| args(config, &["true"]));
    for (number, hierarchy) in hierarchies().into_iter().enumerate() {
        let name = format!("{}-theirs-{number}", lab.tag);
        let (taken, inner) = (hierarchy.join(&name), hierarchy.join(&name).join("inner"));
        fs::create_dir_all(&inner).unwrap();
        for set in ["cpuset.cpus", "cpuset.mems"].iter().filter(|set| taken.join(set).exists()) {
            let whole = fs::read_to_string(hierarchy.join(set)).unwrap_or_default();
            let _ = fs::write(taken.join(set), whole.trim());
        }
        fs::write(taken.join("cgroup.procs"), stranger.0.id().to_string()).unwrap();
        bundle.config["linux"]["cgroupsPath"] = json!(format!("/{name}"));
        bundle.write_config(&bundle.config.to_string());
        lab.run(&bundle).fails(1, "it is not empty").at("/linux/cgroupsPath");
        let still = fs::read_to_string(taken.join("cgroup.procs")).unwrap();
        assert_eq!(still.trim(), stranger.0.id().to_string(), "{}", hierarchy.display());
        assert!(inner.exists(), "{}", hierarchy.display());
        let elsewhere = hierarchies().into_iter().map(|other| other.join(&name)).filter(|other| other.exists());
        assert_eq!(elsewhere.collect::<Vec<_>>(), std::slice::from_ref(&taken));
        fs::write(hierarchy.join("cgroup.procs"), stranger.0.id().to_string()).unwrap();
        fs::remove_dir(inner).unwrap();
        fs::remove_dir(taken).unwrap();
    }
}

#[test]
fn create_in_a_frozen_cgroup_or_below_one_is_refused_and_leaves_it_alone() {
    let lab = Lab::new();
    let mut bundle = lab.bundle(|config| args(config, &["true"]));
    let name = format!("{}-frozen", lab.tag);
    let directory = freezing().join(&name);
    fs::create_dir(&directory).unwrap();
    freeze(&directory, true);
    for (path, message) in [(name.clone(), "it is frozen"), (format!("{name}/a/b"), "a cgroup above it is frozen")] {
        bundle.config["linux"]["cgroupsPath"] = json!(format!("/{path}"));
        bundle.write_config(&bundle.config.to_string());
        lab.run(&bundle).fails(1, message).at("/linux/cgroupsPath");
        assert!(directory.exists() && !directory.join("a").exists());
    }
    freeze(&directory, false);
    lab.run(&bundle).ok();
    fs::remove_dir(directory.join("a")).unwrap();
    fs::remove_dir(directory).unwrap();
    for hierarchy in hierarchies().iter().filter(|hierarchy| hierarchy.join(&name).exists()) {
        fs::remove_dir(hierarchy.join(&name).join("a")).unwrap();
        fs::remove_dir(hierarchy.join(&name)).unwrap();
    }
}

#[test]
fn kill_without_pid_namespace_ends_every_process() {
    let lab = Lab::new();
    for frozen in [false, true] {
        let container = lab.start(&lab.bundle(without_pid_namespace));
        eventually("four processes", || processes(&container).len() == 4);
        // Any other signal is for init alone.
        container.with("kill", &[], &["URG"]).ok();
        assert_eq!(processes(&container).len(), 4);
        if frozen {
            container.op("pause").ok();
        }
        container.with("kill", &[], &["KILL"]).ok();
        eventually("all end", || processes(&container).is_empty());
        container.wait("stopped");
        container.op("delete").ok();
    }
}

#[test]
fn commands_without_a_cgroup_reach_init_or_say_that_there_is_none() {
    let lab = Lab::new();
    let bundle = lab.bundle(|config| args(config, &["sleep", "1000"]));
    let container = Container { lab: &lab, id: lab.id() };
    let create = lab.cmd(&["create", "--bundle", bundle.str(), &container.id]);
    create.global("--cgroup-manager=disabled").output().ok();
    container.op("start").ok();
    for command in ["ps", "pause"] {
        container.op(command).fails(1, "the container has no cgroup");
    }
    container.with("update", &["--memory", "64m"], &[]).fails(1, "no hierarchy has the memory controller");
    container.with("exec", &["--cgroup", "/x"], &["true"]).fails(255, "the container has no cgroup");
    container.exec(&["true"]).ok();
    container.with("kill", &["--all"], &["KILL"]).ok();
    container.wait("stopped");
    container.op("delete").ok();
}

#[test]
fn every_command_answers_for_a_paused_container() {
    let lab = Lab::new();
    for (options, removed_by) in [(&["--all"][..], &[][..]), (&[], &[]), (&[], &["--force"])] {
        let container = lab.in_state("running");
        container.exec(&["sh", "-c", "sleep 1000 & sleep 1000 &"]).ok();
        container.op("pause").ok();
        assert_eq!(processes(&container).len(), 3);
        let listed = container.op("ps").ok().stdout;
        assert_eq!(listed.lines().filter(|line| line.contains("sleep 1000")).count(), 3, "{listed}");
        let stats: Value = serde_json::from_str(&container.with("events", &["--stats"], &[]).ok().stdout).unwrap();
        assert_eq!(stats["data"]["pids"]["current"], 3);
        let update = json!({"memory": {"limit": 64 << 20, "swap": 64 << 20}, "pids": {"limit": 7},
            "devices": [{"allow": false}]});
        container.with_cmd("update", &["--resources", "-"], &[]).stdin(update.to_string()).output().ok();
        let stats: Value = serde_json::from_str(&container.with("events", &["--stats"], &[]).ok().stdout).unwrap();
        assert_eq!(
            (&stats["data"]["pids"]["limit"], &stats["data"]["memory"]["usage"]["limit"]),
            (&json!(7), &json!(64 << 20))
        );
        container.op("start").fails(1, "cannot start a paused container");
        container.with("kill", options, &["URG"]).ok();
        assert_eq!(container.status(), "paused", "a signal other than KILL waits");
        container.op("delete").fails(1, "paused");
        if removed_by.is_empty() {
            container.with("kill", options, &["KILL"]).ok();
            container.wait("stopped");
        }
        container.with("delete", removed_by, &[]).ok();
    }
    lab.assert_clean();
}
