//! `run`: exit codes, detaching, keeping, forwarded signals; and what every command owes to its log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::time::{Duration, Instant};

use harness::{Container, Lab, args, eventually, json, strict};
use nix::sys::signal::Signal;

const SLEEP: [&str; 2] = ["sleep", "1000"];

#[test]
fn run_gives_exit_code_of_program() {
    let lab = Lab::new();
    for (script, code) in [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("exit 126", 126)] {
        lab.run(&lab.bundle(|c| args(c, &["sh", "-c", script]))).exits(code);
        lab.assert_clean();
    }
}

#[test]
fn run_gives_128_plus_signal_of_killed_program() {
    let lab = Lab::new();
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGUSR1] {
        let bundle = lab.bundle(|c| args(c, &SLEEP));
        let id = lab.id();
        let run = lab.cmd(&["run", "--bundle", bundle.str(), &id]).spawn();
        let container = Container { lab: &lab, id };
        eventually("running", || container.op("state").stdout.contains("running"));
        // From outside, a signal without handler ends the first process of a pid namespace only if it is KILL.
        if signal != Signal::SIGKILL {
            container.with("kill", &[], &["KILL"]).ok();
            run.wait().exits(137);
            continue;
        }
        container.with("kill", &[], &[signal.as_str()]).ok();
        run.wait().exits(128 + signal as i32);
    }
    let without = lab.bundle(|c| {
        args(c, &["sh", "-c", "kill -TERM $$; sleep 1000"]);
        c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    });
    lab.run(&without).exits(143);
}

#[test]
fn run_whose_container_somebody_else_deletes_gives_the_exit_code() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &SLEEP));
    let id = lab.id();
    let run = lab.cmd(&["run", "--bundle", bundle.str(), &id]).spawn();
    let container = Container { lab: &lab, id };
    eventually("running", || container.op("state").stdout.contains("running"));
    container.with("delete", &["--force"], &[]).ok();
    run.wait().exits(137);
}

#[test]
fn run_connects_standard_streams() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", "cat; echo problem >&2; exit 4"]));
    let done = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).stdin("through\n").output().exits(4);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("through\n", "problem\n"));
}

#[test]
fn run_detach_returns_while_program_runs() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &SLEEP));
    let container = Container { lab: &lab, id: lab.id() };
    let pid_file = lab.path("pid");
    let options = ["--detach", "--bundle", bundle.str(), "--pid-file", pid_file.to_str().unwrap()];
    container.with("run", &options, &[]).ok();
    assert_eq!(container.status(), "running");
    assert_eq!(fs::read_to_string(pid_file).unwrap(), container.pid().to_string());
    container.stop();
    container.op("delete").ok();
}

#[test]
fn run_keep_leaves_state_and_cgroup_until_delete() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", "exit 5"]));
    let container = Container { lab: &lab, id: lab.id() };
    container.with("run", &["--keep", "--bundle", bundle.str()], &[]).exits(5);
    assert_eq!(container.status(), "stopped");
    assert!(!harness::leaks::cgroups(&lab.tag).is_empty(), "memory.events would be gone");
    container.op("delete").ok();
    lab.assert_clean();
}

#[test]
fn run_pid_file_is_there_while_the_program_runs() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", "sleep 0.3"]));
    let pid_file = lab.path("pid");
    let run = lab.cmd(&["run", "-b", bundle.str(), "--pid-file", pid_file.to_str().unwrap(), &lab.id()]).spawn();
    eventually("pid file", || pid_file.exists());
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert!(!pid.is_empty() && pid.bytes().all(|b| b.is_ascii_digit()), "half-written: {pid:?}");
    run.wait().ok();
}

/// runc 1.1.5 takes SIGWINCH for itself when there is no terminal.
#[test]
fn run_forwards_signals_to_the_program() {
    let lab = Lab::new();
    let script = "for s in HUP INT QUIT USR1 USR2 WINCH CONT; do trap \"echo $s\" $s; done; trap 'echo TERM; exit 7' TERM; \
                  echo ready; while :; do sleep 0.02; done";
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", script]));
    let run = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).spawn();
    eventually("the program's traps", || run.stdout().contains("ready"));
    let mut expected = String::from("ready\n");
    for (signal, name) in [
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGINT, "INT"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
        (Signal::SIGWINCH, "WINCH"),
        (Signal::SIGCONT, "CONT"),
    ] {
        run.signal(signal);
        expected.push_str(name);
        expected.push('\n');
        eventually(&format!("{name} arrives"), || run.stdout() == expected);
    }
    run.signal(Signal::SIGTERM);
    run.wait().exits(7);
    lab.assert_clean();
}

#[test]
fn run_ends_with_init_though_orphans_hold_its_streams() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", "sleep 1000 & exit 2"]));
    let started = Instant::now();
    lab.run(&bundle).exits(2);
    assert!(started.elapsed() < Duration::from_secs(20));
    lab.assert_clean();
}

#[test]
fn run_many_short_programs_reaps_the_right_one() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "for i in 1 2 3 4 5 6 7 8; do (sleep 0.0$i; exit 9) & done; wait; exit 6"]);
        c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    });
    lab.run(&bundle).exits(6);
    lab.cmd(&["run", "--no-subreaper", "--bundle", bundle.str(), &lab.id()]).output().exits(6);
}

/// runc 1.1.5 keeps the state of a container with `--keep` that it could not create.
#[test]
fn run_failure_is_1_and_leaves_nothing() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["no-such-program"]));
    for extra in [&[] as &[&str], &["--detach"], &["--keep"]] {
        let container = Container { lab: &lab, id: lab.id() };
        let options = [&["--bundle", bundle.str()], extra].concat();
        container.with("run", &options, &[]).fails(1, "exec: \"no-such-program\": executable file not found in $PATH");
        lab.assert_clean();
    }
}

#[test]
fn log_without_log_option_goes_to_stderr_alone() {
    let lab = Lab::new();
    let failed = lab.cmd(&["state", &lab.id()]).no_log().output().fails(1, "container does not exist");
    assert_eq!(failed.stdout, "");
}

#[test]
fn log_format_json_without_file_prints_a_record_on_stderr() {
    let lab = Lab::new();
    let command = lab.cmd(&["state", &lab.id()]).no_log().global("--log-format").global("json");
    let failed = command.output();
    assert_eq!(failed.code(), 1);
    let records = harness::command::log_records(&failed.stderr);
    assert_eq!(records.len(), 1, "{failed:#?}");
    assert_eq!(records[0]["level"], "error");
}

#[test]
fn log_format_text_file_holds_one_line() {
    let lab = Lab::new();
    let log = lab.path("text-log");
    let option = format!("--log={}", log.to_str().unwrap());
    let failed = lab.cmd(&["state", &lab.id()]).no_log().global(&option).output();
    assert_eq!(failed.code(), 1);
    let text = fs::read_to_string(log).unwrap();
    assert!(text.contains("container does not exist") && text.lines().count() == 1, "{text:?}");
    assert!(failed.stderr.contains("container does not exist"));
}

#[test]
fn log_is_appended_and_debug_explains() {
    let lab = Lab::new();
    let log = lab.path("kept-log");
    let option = format!("--log={}", log.to_str().unwrap());
    let command = || lab.cmd(&["state", &lab.id()]).no_log().global(&option).global("--log-format=json");
    for _ in 0..2 {
        command().output();
    }
    let records = harness::command::log_records(&fs::read_to_string(&log).unwrap());
    assert_eq!(records.len(), 2, "{records:?}");
    command().global("--debug").output();
    let records = harness::command::log_records(&fs::read_to_string(&log).unwrap());
    assert!(records.len() >= 3, "{records:?}");
    assert_eq!(records[records.len() - 1]["level"], "error", "engines take the last error: {records:?}");
}

#[test]
fn log_format_unknown_is_refused() {
    let lab = Lab::new();
    assert_eq!(lab.cmd(&["list"]).no_log().global("--log-format=xml").output().code(), 1);
}

#[test]
fn warnings_stay_out_of_stderr_and_log_at_the_default_level() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["echo", "fine"]);
        // Unknown capabilities are ignored with a warning (config.md#linux-process).
        c["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_FROM_THE_FUTURE"]);
    });
    // runc 1.1.5 prints the warning.
    let done = lab.run(&bundle).ok();
    assert_eq!(done.stdout, "fine\n");
    let log = lab.path("warning-log");
    let option = format!("--log={}", log.to_str().unwrap());
    let command = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).no_log();
    let done = command.global(&option).global("--log-format=json").global("--debug").output();
    assert_eq!(done.code(), 0, "{done:#?}");
    if strict() {
        assert!(fs::read_to_string(log).unwrap().contains("CAP_FROM_THE_FUTURE"), "the warning is nowhere");
    }
}

#[test]
fn stop_by_terminal_stop_signal_is_not_an_exit() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "kill -STOP $$; exit 8"]);
        c["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    });
    let id = lab.id();
    let run = lab.cmd(&["run", "--bundle", bundle.str(), &id]).spawn();
    let container = Container { lab: &lab, id };
    eventually("stopped by signal", || {
        let state = container.op("state").stdout;
        let pid = serde_json::from_str::<serde_json::Value>(&state).ok().and_then(|s| s["pid"].as_i64()).unwrap_or(0);
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
    });
    assert_eq!(container.status(), "running");
    container.with("kill", &[], &["CONT"]).ok();
    run.wait().exits(8);
}
