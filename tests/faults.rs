//! The runtime is killed at every moment: engines start it with a parent-death SIGKILL. What it made must be found and
//! removed by a later `delete --force`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::time::{Duration, Instant};

use harness::{Bundle, Container, Lab, args};
use nix::sys::signal::Signal;

/// Moments over which one operation is swept.
const MOMENTS: u32 = 60;

fn sleeper(lab: &Lab) -> Bundle {
    lab.bundle(|c| args(c, &["sleep", "1000"]))
}

/// Delays that sweep the time that `operation` takes, from its start to a little after its end.
fn moments(operation: impl Fn()) -> impl Iterator<Item = Duration> {
    let mut longest = Duration::ZERO;
    for _ in 0..3 {
        let start = Instant::now();
        operation();
        longest = longest.max(start.elapsed());
    }
    (0..MOMENTS).map(move |n| longest * n * 5 / (MOMENTS * 4))
}

/// Starts a command of the runtime and kills it after `delay`. Whether it was done by then is of no interest.
fn cut_short(command: harness::Cmd, delay: Duration) {
    let running = command.spawn();
    std::thread::sleep(delay);
    running.signal(Signal::SIGKILL);
    running.wait();
}

/// What an engine does after a crash: the state is either readable or unknown, and then everything goes.
fn recover(container: &Container) {
    let list = container.lab.cmd(&["list", "--format", "json"]).output();
    assert_eq!(list.code(), 0, "list after a crash: {list:#?}");
    let state = container.op("state");
    assert!(state.code() == 0 || state.code() == 1, "state after a crash: {state:#?}");
    container.with("delete", &["--force"], &[]).ok();
    container.lab.assert_clean();
}

fn create_and_kill(lab: &Lab, bundle: &Bundle) {
    let whole = || {
        lab.create(bundle).with("delete", &["--force"], &[]).ok();
    };
    for delay in moments(whole) {
        let container = Container { lab, id: lab.id() };
        cut_short(container.with_cmd("create", &["--bundle", bundle.str()], &[]), delay);
        recover(&container);
    }
}

#[test]
fn create_killed_at_any_moment_is_removed_by_delete_force() {
    let lab = Lab::new();
    let bundle = sleeper(&lab);
    create_and_kill(&lab, &bundle);
}

#[test]
fn create_killed_with_user_namespace_is_removed_by_delete_force() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        c["linux"]["namespaces"].as_array_mut().unwrap().push(harness::json!({"type": "user"}));
        let mapping = harness::json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        c["linux"]["uidMappings"] = mapping.clone();
        c["linux"]["gidMappings"] = mapping;
    });
    lab.give(&bundle.root(""), 100_000);
    create_and_kill(&lab, &bundle);
}

#[test]
fn start_killed_at_any_moment_leaves_a_container_that_can_be_removed() {
    let lab = Lab::new();
    let bundle = sleeper(&lab);
    let container = lab.create(&bundle);
    let start = Instant::now();
    container.op("start").ok();
    let longest = start.elapsed();
    container.with("delete", &["--force"], &[]).ok();
    for n in 0..MOMENTS {
        let container = lab.create(&bundle);
        cut_short(container.with_cmd("start", &[], &[]), longest * n * 5 / (MOMENTS * 4));
        let status = container.status();
        assert!(["created", "running"].contains(&status.as_str()), "{status} after the kill of start");
        if status == "created" {
            // Init still waits, so a second start must do.
            let again = container.op("start");
            assert!(again.code() == 0 || again.stderr.contains("already running"), "{again:#?}");
        }
        recover(&container);
    }
}

#[test]
fn exec_killed_at_any_moment_leaves_the_container_healthy() {
    let lab = Lab::new();
    let container = lab.start(&sleeper(&lab));
    let whole = || {
        container.exec(&["true"]).ok();
    };
    for delay in moments(whole) {
        cut_short(container.with_cmd("exec", &[], &["sleep", "0.01"]), delay);
        assert_eq!(container.status(), "running");
    }
    container.exec(&["true"]).ok();
    recover(&container);
}

#[test]
fn delete_killed_at_any_moment_is_finished_by_the_next() {
    let lab = Lab::new();
    let bundle = sleeper(&lab);
    let container = lab.start(&bundle);
    let start = Instant::now();
    container.with("delete", &["--force"], &[]).ok();
    let longest = start.elapsed();
    for n in 0..MOMENTS {
        let container = lab.start(&bundle);
        cut_short(container.with_cmd("delete", &["--force"], &[]), longest * n * 5 / (MOMENTS * 4));
        recover(&container);
    }
}

#[test]
fn run_killed_leaves_a_container_that_can_be_removed() {
    let lab = Lab::new();
    let bundle = sleeper(&lab);
    for n in 0..20 {
        let container = Container { lab: &lab, id: lab.id() };
        cut_short(container.with_cmd("run", &["--bundle", bundle.str()], &[]), Duration::from_millis(n * 4));
        recover(&container);
    }
}

#[test]
fn create_killed_while_a_hook_runs_is_removed_by_delete_force() {
    let lab = Lab::new();
    let started = lab.path("hook-started");
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let bundle = lab.bundle(|c| {
            args(c, &["sleep", "1000"]);
            let script = format!("touch {}; exec sleep 0.3", started.display());
            c["hooks"][kind] = harness::json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
        });
        let container = Container { lab: &lab, id: lab.id() };
        let create = container.with_cmd("create", &["--bundle", bundle.str()], &[]).spawn();
        harness::eventually("hook", || started.exists());
        create.signal(Signal::SIGKILL);
        create.wait();
        recover(&container);
        std::fs::remove_file(&started).unwrap();
    }
}
