//! SCMP_ACT_NOTIFY with an agent that answers (config-linux.md#seccomp, containerprocessstate), for every command that
//! starts a program.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use harness::machine_code::Way;
use harness::{Bundle, Lab, SeccompAgent, args, eventually, json};
use serde_json::Value;

const MKDIR: u32 = 83;
const MKDIR_CALL: i64 = 83;

/// mkdir is the agent's to decide.
fn notifying(lab: &Lab, agent: &SeccompAgent<'_>, words: &[&str]) -> Bundle {
    let bundle = lab.bundle(|c| {
        args(c, words);
        c["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": agent.path,
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}],
        });
    });
    bundle.calling("bin/call", Way::Syscall, MKDIR);
    bundle
}

#[test]
fn start_hands_the_listener_over_with_the_state_and_the_answer_counts() {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    let mut bundle = notifying(&lab, &agent, &["/bin/call"]);
    bundle.config["linux"]["seccomp"]["listenerMetadata"] = json!("{\"opaque\": 1}");
    bundle.config["annotations"] = json!({"org.example": "x"});
    bundle.write_config(&bundle.config.to_string());
    let container = lab.create(&bundle);
    let (pid, before) = (container.pid(), container.state());
    let starting = container.with_cmd("start", &[], &[]).spawn();
    let (message, listener) = agent.receive();
    let expected = json!({
        "ociVersion": before["ociVersion"],
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": "{\"opaque\": 1}",
        "state": {
            "ociVersion": before["ociVersion"],
            "id": container.id,
            "status": "created",
            "pid": pid,
            "bundle": bundle.path,
            "root": bundle.root(""),
            "annotations": {"org.example": "x"},
        },
    });
    // A path's final slash is no part of the comparison.
    let root = |v: &Value| v["state"]["root"].as_str().unwrap().trim_end_matches('/').to_owned();
    assert_eq!(root(&message), root(&expected));
    let without_root = |mut v: Value| {
        v["state"].as_object_mut().unwrap().remove("root");
        v
    };
    assert_eq!(without_root(message), without_root(expected));
    let answers = agent.answer(listener, &["value:0"]);
    starting.wait().ok();
    assert_eq!(answers.done(), [(pid, MKDIR_CALL, true)]);
    container.wait("stopped");
    assert!(!bundle.root("tmp/made").exists(), "the agent said that it did it, and did not");
}

#[test]
fn run_in_the_foreground_gets_what_the_agent_says() {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    for (answer, code) in [("errno:95", 95), ("value:0", 0), ("continue", 0)] {
        let bundle = notifying(&lab, &agent, &["/bin/call"]);
        let running = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).spawn();
        let (message, listener) = agent.receive();
        assert!(message.get("metadata").is_none(), "none was configured: {message}");
        let answers = agent.answer(listener, &[answer]);
        running.wait().exits(code);
        assert!(answers.done()[0].2);
        assert_eq!(bundle.root("tmp/made").exists(), answer == "continue", "{answer}");
    }
}

#[test]
fn exec_hands_its_own_listener_over_with_its_own_pid() {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    let bundle = notifying(&lab, &agent, &["sleep", "1000"]);
    let container = lab.create(&bundle);
    let starting = container.with_cmd("start", &[], &[]).spawn();
    let (_, of_init) = agent.receive();
    starting.wait().ok();
    for detached in [false, true] {
        let pid_file = lab.path("exec-pid");
        let mut options = vec!["--pid-file", pid_file.to_str().unwrap()];
        options.extend(detached.then_some("--detach"));
        let running = container.with_cmd("exec", &options, &["/bin/call"]).spawn();
        let (message, listener) = agent.receive();
        let pid: i64 = std::fs::read_to_string(&pid_file).unwrap().parse().unwrap();
        assert_eq!(message["pid"], pid);
        assert_eq!(message["state"]["pid"], container.pid());
        assert_eq!(message["state"]["status"], "running");
        let answers = agent.answer(listener, &["errno:71"]);
        running.wait().exits(if detached { 0 } else { 71 });
        assert_eq!(answers.done(), [(pid, MKDIR_CALL, true)]);
    }
    drop(of_init);
}

#[test]
fn receiver_annotation_stands_in_for_the_path() {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    let mut bundle = notifying(&lab, &agent, &["/bin/call"]);
    bundle.config["linux"]["seccomp"].as_object_mut().unwrap().remove("listenerPath");
    bundle.config["annotations"] = json!({"run.oci.seccomp.receiver": agent.path});
    bundle.write_config(&bundle.config.to_string());
    let running = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).spawn();
    let answers = agent.answer(agent.receive().1, &["errno:5"]);
    running.wait().exits(5);
    assert_eq!(answers.done().len(), 1);
}

#[test]
fn relative_path_is_looked_for_in_the_bundle_by_every_command() {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    let mut bundle = notifying(&lab, &agent, &["sleep", "1000"]);
    std::os::unix::fs::symlink(&agent.path, bundle.path.join("agent")).unwrap();
    bundle.config["linux"]["seccomp"]["listenerPath"] = json!("agent");
    bundle.write_config(&bundle.config.to_string());
    let container = lab.create(&bundle);
    let starting = container.with_cmd("start", &[], &[]).spawn();
    let (_, of_init) = agent.receive();
    starting.wait().ok();
    let running = container.with_cmd("exec", &[], &["/bin/call"]).spawn();
    let answers = agent.answer(agent.receive().1, &["errno:71"]);
    running.wait().exits(71);
    assert_eq!(answers.done().len(), 1);
    drop(of_init);
}

#[test]
fn agent_that_is_not_there_stops_start_and_exec() {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    let bundle = notifying(&lab, &agent, &["sleep", "1000"]);
    let container = lab.create(&bundle);
    std::fs::rename(&agent.path, lab.path("away")).unwrap();
    container.op("start").fails(1, "no such file or directory").at("/linux/seccomp/listenerPath");
    container.wait("stopped");
    container.op("delete").ok();

    std::fs::rename(lab.path("away"), &agent.path).unwrap();
    let container = lab.create(&bundle);
    let starting = container.with_cmd("start", &[], &[]).spawn();
    let (_, listener) = agent.receive();
    starting.wait().ok();
    std::fs::rename(&agent.path, lab.path("away")).unwrap();
    container.exec(&["true"]).fails(255, "no such file or directory").at("/linux/seccomp/listenerPath");
    assert_eq!(container.status(), "running");
    drop(listener);
}

#[test]
fn agent_that_hangs_up_leaves_calls_that_do_not_exist() {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    let bundle = notifying(&lab, &agent, &["/bin/call"]);
    let running = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).spawn();
    drop(agent.receive());
    running.wait().exits(38);
}

/// A shell whose umask(2) the agent answers, and that a signal reaches meanwhile.
fn interrupted(flags: Value) -> (bool, String) {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    let mut bundle = notifying(&lab, &agent, &["sh", "-c", "trap 'echo signal' USR1; umask 027; echo end"]);
    bundle.config["linux"]["seccomp"]["syscalls"][0]["names"] = json!(["umask"]);
    bundle.config["linux"]["seccomp"]["flags"] = flags;
    bundle.write_config(&bundle.config.to_string());
    let running = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).spawn();
    let (_, listener) = agent.receive();
    let answers = agent.answer(listener, &["interrupt"]);
    // The kernel may make the interrupted call again: then nobody answers, and it does not exist.
    eventually("the shell comes to its end", || running.stdout().contains("end"));
    (answers.done()[0].2, running.wait().ok().stdout)
}

#[test]
fn flag_wait_killable_recv_keeps_a_signal_from_a_call_that_the_agent_has() {
    assert_eq!(interrupted(json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])), (true, "signal\nend\n".into()));
    assert_eq!(interrupted(json!([])), (false, "signal\nend\n".into()));
}

#[test]
fn notify_with_a_profile_that_allows_only_what_the_hand_over_needs() {
    let lab = Lab::new();
    let agent = SeccompAgent::new(&lab);
    let mut bundle = notifying(&lab, &agent, &["/bin/call"]);
    let allowed = json!({"names": ["execve", "exit_group", "sendmsg"], "action": "SCMP_ACT_ALLOW"});
    bundle.config["linux"]["seccomp"]["defaultAction"] = json!("SCMP_ACT_ERRNO");
    bundle.config["linux"]["seccomp"]["syscalls"].as_array_mut().unwrap().push(allowed);
    bundle.write_config(&bundle.config.to_string());
    let running = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).spawn();
    let answers = agent.answer(agent.receive().1, &["errno:17"]);
    running.wait().exits(17);
    assert_eq!(answers.done().len(), 1);
}
