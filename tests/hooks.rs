//! Hooks (config.md#posix-platform-hooks): order, namespace, moment, state on stdin, environment, timeout, failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::time::{Duration, Instant};

use harness::{Bundle, Container, Lab, args, eventually, json, namespace, strict};
use serde_json::Value;

const KINDS: [&str; 6] = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that runs a shell script. The path is right inside and outside of the container.
fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

/// A bundle whose hooks of the given kinds run scripts, with a directory /out that both sides see at the same path.
fn hooked(lab: &Lab, hooks: &[(&str, &str)], program: &str) -> Bundle {
    let out = lab.path("out");
    fs::create_dir_all(&out).unwrap();
    let out = out.to_str().unwrap();
    lab.bundle(|c| {
        args(c, &["sh", "-c", &program.replace("OUT", out)]);
        c["mounts"].as_array_mut().unwrap().push(json!(
            {"destination": out, "type": "none", "source": out, "options": ["bind", "rw"]}
        ));
        for (kind, script) in hooks {
            let mut hook = hook(&script.replace("OUT", out));
            // What a test adds to the hook stands before the script.
            if let Some(seconds) = script.strip_prefix("timeout=").and_then(|s| s.split(';').next()) {
                hook["timeout"] = json!(seconds.parse::<u32>().unwrap());
            }
            match c["hooks"][kind].as_array_mut() {
                Some(list) => list.push(hook),
                None => c["hooks"][kind] = json!([hook]),
            }
        }
    })
}

fn read(lab: &Lab, name: &str) -> String {
    fs::read_to_string(lab.path("out").join(name)).unwrap_or_default()
}

#[test]
fn hooks_run_in_order_at_their_moments() {
    let lab = Lab::new();
    let scripts: Vec<(&str, String)> = KINDS
        .iter()
        .flat_map(|kind| [(*kind, format!("echo {kind} 1 >> OUT/log")), (*kind, format!("echo {kind} 2 >> OUT/log"))])
        .collect();
    let hooks: Vec<_> = scripts.iter().map(|(kind, script)| (*kind, script.as_str())).collect();
    let container = lab.create(&hooked(&lab, &hooks, "sleep 0.2; echo program >> OUT/log"));
    let twice = |kinds: &[&str]| kinds.iter().map(|k| format!("{k} 1\n{k} 2\n")).collect::<String>();
    let mut log = twice(&KINDS[..3]);
    assert_eq!(read(&lab, "log"), log, "after create");
    container.op("start").ok();
    log += &twice(&KINDS[3..5]);
    assert_eq!(read(&lab, "log"), log, "after start");
    container.wait("stopped");
    log += "program\n";
    assert_eq!(read(&lab, "log"), log, "after the program");
    container.op("delete").ok();
    log += &twice(&KINDS[5..]);
    assert_eq!(read(&lab, "log"), log, "after delete");
}

#[test]
fn hooks_run_in_the_namespaces_that_the_specification_gives() {
    let lab = Lab::new();
    let script = |kind: &str| format!("for n in mnt pid net; do readlink /proc/self/ns/$n; done > OUT/{kind}");
    let scripts = KINDS.map(|kind| (kind, script(kind)));
    let hooks: Vec<_> = scripts.iter().map(|(kind, script)| (*kind, script.as_str())).collect();
    let container = lab.create(&hooked(&lab, &hooks, "sleep 1000"));
    let inside = ["mnt", "pid", "net"].map(|n| namespace(container.pid(), n) + "\n").concat();
    let outside = ["mnt", "pid", "net"].map(|n| namespace("self", n) + "\n").concat();
    container.op("start").ok();
    container.stop();
    container.op("delete").ok();
    for kind in KINDS {
        let expected = if matches!(kind, "createContainer" | "startContainer") { &inside } else { &outside };
        assert_eq!(read(&lab, kind), *expected, "{kind}");
    }
}

#[test]
fn create_container_hook_sees_the_mounts_before_pivot() {
    let lab = Lab::new();
    // The host's files are still there, and the root file system is mounted below the bundle.
    let script = "test -e OUT && grep -c proc OUT/../bundle-0/rootfs/proc/mounts > OUT/mounted; \
                  test -e /etc/hostname && readlink /proc/self/root > OUT/root";
    let container = lab.create(&hooked(&lab, &[("createContainer", script)], "true"));
    assert_ne!(read(&lab, "mounted").trim(), "");
    assert_eq!(read(&lab, "root"), "/\n");
    container.with("delete", &["--force"], &[]).ok();
}

#[test]
fn hooks_get_the_state_on_stdin() {
    let lab = Lab::new();
    let scripts = KINDS.map(|kind| (kind, format!("cat > OUT/{kind}")));
    let hooks: Vec<_> = scripts.iter().map(|(kind, script)| (*kind, script.as_str())).collect();
    let bundle = hooked(&lab, &hooks, "sleep 1000");
    let mut config = bundle.config.clone();
    config["annotations"] = json!({"org.example": "note"});
    bundle.write_config(&config.to_string());
    let container = lab.create(&bundle);
    let pid = container.pid();
    container.op("start").ok();
    container.stop();
    container.op("delete").ok();
    let statuses = ["creating", "creating", "creating", "created", "running", "stopped"];
    for (kind, status) in KINDS.into_iter().zip(statuses) {
        let state: Value = serde_json::from_str(&read(&lab, kind)).unwrap();
        assert_eq!(state["id"], container.id, "{kind}");
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["bundle"], bundle.str(), "{kind}");
        assert_eq!(state["annotations"]["org.example"], "note", "{kind}");
        assert!(state["ociVersion"].is_string(), "{kind}");
        if kind != "poststop" {
            // In the runtime's pid namespace, or for hooks inside in the container's (1): runc 1.1 gives the former.
            assert!(state["pid"] == pid || state["pid"] == 1, "{kind}: {state}");
        }
        if strict() {
            assert_eq!(state["root"], bundle.root("").to_str().unwrap().trim_end_matches('/'), "{kind}");
        }
    }
}

#[test]
fn hooks_get_their_environment_and_arguments_exactly() {
    let lab = Lab::new();
    let out = lab.path("out");
    fs::create_dir(&out).unwrap();
    let target = out.join("seen");
    let script = "cat /proc/$$/environ > $0; echo \"|$1|$2|$#\" >> $0; ls /proc/$$/fd | tr '\\n' ' ' >> $0";
    let bundle = lab.bundle(|c| {
        let arguments = json!(["sh", "-c", script, target.to_str().unwrap(), "a b", ""]);
        let env = json!(["ONE=1", "TWO=a=b c"]);
        c["hooks"]["createRuntime"] = json!([{"path": "/bin/sh", "args": arguments, "env": env}]);
        c["hooks"]["poststop"] = json!([{"path": "/bin/true"}]);
    });
    let command = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).env("LEAKED", "1");
    command.after("exec 7</etc/hostname").output().ok();
    let seen = read(&lab, "seen");
    let (environment, rest) = seen.split_once('|').unwrap();
    assert!(environment.starts_with("ONE=1\0TWO=a=b c\0") && !environment.contains("LEAKED"), "{environment:?}");
    assert!(rest.starts_with("a b||2\n"), "{rest:?}");
    assert!(!rest.contains(" 7"), "descriptor of the caller in a hook: {rest:?}");
}

#[test]
fn create_hook_failure_stops_create_and_leaves_nothing() {
    let lab = Lab::new();
    for kind in &KINDS[..3] {
        let hooks = [(*kind, "exit 0"), (*kind, "echo complaint >&2; exit 3"), (*kind, "touch OUT/after")];
        let bundle = hooked(&lab, &hooks, "touch OUT/program");
        let pid_file = lab.path("pid");
        let id = lab.id();
        let options = ["create", "--bundle", bundle.str(), "--pid-file", pid_file.to_str().unwrap(), &id];
        lab.cmd(&options).output().fails(1, "hook").at(&format!("/hooks/{kind}/1"));
        assert!(!pid_file.exists() && !lab.path("out").join("after").exists(), "{kind}");
        lab.assert_clean();
    }
}

/// config.md: failures of create hooks run the poststop hooks (lifecycle, step 5 to 13).
#[test]
fn create_hook_failure_runs_poststop_hooks() {
    let lab = Lab::new();
    let hooks = [("createRuntime", "exit 3"), ("poststop", "cat > OUT/poststop")];
    let bundle = hooked(&lab, &hooks, "true");
    lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).output().fails(1, "hook");
    assert_ne!(read(&lab, "poststop"), "");
}

#[test]
fn start_container_hook_failure_is_reported_by_start() {
    let lab = Lab::new();
    let hooks =
        [("startContainer", "exit 3"), ("startContainer", "touch OUT/after"), ("poststart", "touch OUT/poststart")];
    let container = lab.create(&hooked(&lab, &hooks, "touch OUT/program"));
    // runc 1.1.5 succeeds: its start does not wait.
    container.op("start").fails(1, "hook").at("/hooks/startContainer/0");
    container.wait("stopped");
    container.op("delete").ok();
    for name in ["after", "program", "poststart"] {
        assert!(!lab.path("out").join(name).exists(), "{name}");
    }
}

#[test]
fn start_container_hook_is_looked_up_inside() {
    let lab = Lab::new();
    let bundle = hooked(&lab, &[], "true");
    let out = lab.path("out");
    let mut config = bundle.config.clone();
    config["hooks"] = json!({"startContainer": [{"path": "/opt/inside", "args": ["inside", out.to_str().unwrap()]}]});
    bundle.write_config(&config.to_string());
    fs::create_dir(bundle.root("opt")).unwrap();
    bundle.program("opt/inside", "#!/bin/sh\necho $1 > $1/seen\n");
    lab.run(&bundle).ok();
    assert_eq!(read(&lab, "seen").trim(), out.to_str().unwrap());
}

#[test]
fn poststart_hook_failure_stops_the_container_and_errors() {
    let lab = Lab::new();
    let hooks = [("poststart", "exit 3"), ("poststart", "touch OUT/after")];
    let container = lab.create(&hooked(&lab, &hooks, "sleep 1000"));
    container.op("start").fails(1, "hook").at("/hooks/poststart/0");
    assert!(!lab.path("out").join("after").exists());
    container.wait("stopped");
    container.op("delete").ok();
}

#[test]
fn poststop_hook_failure_warns_and_the_rest_run() {
    let lab = Lab::new();
    let hooks = [("poststop", "exit 3"), ("poststop", "echo ran > OUT/second")];
    let container = lab.start(&hooked(&lab, &hooks, "true"));
    container.wait("stopped");
    let deleted = container.op("delete");
    assert_eq!(deleted.code(), 0, "{deleted:#?}");
    assert_eq!(read(&lab, "second"), "ran\n");
    lab.assert_clean();
}

#[test]
fn poststop_hooks_run_after_forced_delete_and_run() {
    let lab = Lab::new();
    let hooks = [("poststop", "echo ran >> OUT/log")];
    let container = lab.start(&hooked(&lab, &hooks, "sleep 1000"));
    container.with("delete", &["--force"], &[]).ok();
    assert_eq!(read(&lab, "log"), "ran\n");
    lab.run(&hooked(&lab, &hooks, "true")).ok();
    assert_eq!(read(&lab, "log"), "ran\nran\n");
}

#[test]
fn timeout_kills_the_hook_and_its_group() {
    let lab = Lab::new();
    let script = "timeout=1; echo $$ > OUT/pid; sleep 998 & sleep 999; wait";
    let bundle = hooked(&lab, &[("createRuntime", script)], "true");
    let started = Instant::now();
    lab.cmd(&["create", "--bundle", bundle.str(), &lab.id()]).output().fails(1, "hook").at("/hooks/createRuntime/0");
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < Duration::from_secs(20), "{took:?}");
    // runc 1.1.5 kills only the hook itself.
    let alive = || {
        let commands = fs::read_dir("/proc").unwrap().flatten().map(|e| fs::read(e.path().join("cmdline")));
        commands.flatten().any(|c| c == b"sleep\x00998\0" || c == b"sleep\x00999\0")
    };
    eventually("the group is gone", || !alive());
    lab.assert_clean();
}

#[test]
fn timeout_zero_or_negative_is_refused() {
    let lab = Lab::new();
    for timeout in [0, -1] {
        let bundle = lab.bundle(|c| {
            c["hooks"]["prestart"] = json!([{"path": "/bin/true", "timeout": timeout}]);
        });
        // config.md: "value MUST be greater than zero". runc 1.1.5 starts the hook and lets it time out at once.
        lab.run(&bundle).fails(1, "timeout").at("/hooks/prestart/0/timeout");
        lab.assert_clean();
    }
}

#[test]
fn hook_that_cannot_start_is_a_failure() {
    let lab = Lab::new();
    for path in ["/no/such/hook", "/etc/passwd", "/etc"] {
        let bundle = lab.bundle(|c| c["hooks"]["createRuntime"] = json!([{"path": path}]));
        lab.run(&bundle).fails(1, "hook");
        lab.assert_clean();
    }
    let relative = lab.bundle(|c| c["hooks"]["createRuntime"] = json!([{"path": "bin/true"}]));
    // runc 1.1.5 takes a relative path.
    lab.run(&relative).fails(1, "absolute").at("/hooks/createRuntime/0/path");
}

#[test]
fn hook_that_ignores_stdin_or_leaves_children_does_not_hang() {
    let lab = Lab::new();
    let hooks = [("createRuntime", "exec <&-; exit 0"), ("poststart", "sleep 0.5 >/dev/null 2>&1 & exit 0")];
    let container = lab.start(&hooked(&lab, &hooks, "sleep 1000"));
    assert_eq!(container.status(), "running");
}

#[test]
fn hook_may_ask_for_the_state_of_the_container() {
    let lab = Lab::new();
    let runtime = harness::runtime_path();
    let id = lab.id();
    let script = format!("{} --root {} state {id} > OUT/state", runtime.display(), lab.state_root().display());
    let bundle = hooked(&lab, &[("poststart", &script)], "sleep 1000");
    let container = Container { lab: &lab, id };
    container.with("create", &["--bundle", bundle.str()], &[]).ok();
    container.op("start").ok();
    let state: Value = serde_json::from_str(&read(&lab, "state")).unwrap();
    assert_eq!(state["status"], "running");
}
