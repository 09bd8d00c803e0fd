//! What engines use beyond the specification, with runc's command line.

use serde_json::{Value, json};

use super::lifecycle::running;
use crate::config;
use crate::container::{Container, End};
use crate::lab::{Answer, Lab};
use crate::needs::Need;
use crate::suite::{Test, extension};
use crate::verdict::{Failure, Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    extension("extensions.pid_file_has_digits_only", pid_file),
    extension("extensions.failed_create_writes_no_pid_file", no_pid_file),
    extension("extensions.exec_runs_in_the_container", exec_inside),
    extension("extensions.exec_gives_the_exit_code", exec_code),
    extension("extensions.exec_takes_process_json", exec_process),
    extension("extensions.exec_detached_writes_pid_file", exec_detached),
    extension("extensions.exec_in_stopped_fails", exec_stopped),
    extension("extensions.exec_of_missing_program_fails", exec_missing),
    extension("extensions.run_gives_the_exit_code", run_code),
    extension("extensions.run_gives_signal_as_code", run_signal),
    extension("extensions.run_detached_returns", run_detached),
    extension("extensions.delete_force_of_running", delete_force),
    extension("extensions.delete_force_of_unknown_succeeds", |lab| {
        let answer = lab.run(&["delete", "--force", &format!("{}-unknown", lab.tag)])?;
        ensure(answer.ok(), || format!("delete --force failed: {}", answer.stderr))
    }),
    extension("extensions.kill_all_reaches_everyone", kill_all),
    extension("extensions.kill_defaults_to_term", kill_default),
    extension("extensions.list_json_has_containers", list_json),
    extension("extensions.list_quiet_has_ids", list_quiet),
    extension("extensions.list_of_none_is_empty", list_none),
    extension("extensions.ps_json_has_pids", ps_json),
    extension("extensions.pause_and_resume", pause).needs(&[Need::Root, Need::V1("freezer")]),
    extension("extensions.exec_in_paused_fails", exec_paused).needs(&[Need::Root, Need::V1("freezer")]),
    extension("extensions.update_changes_limits", update).needs(&[Need::Root, Need::V1("pids")]),
    extension("extensions.events_stats_are_json", events).needs(&[Need::Root, Need::V1("pids")]),
    extension("extensions.log_json_has_the_error", log_json),
    extension("extensions.success_logs_nothing", log_nothing),
    extension("extensions.version_begins_with_the_name", version),
    extension("extensions.unknown_container_text", |lab| {
        says(lab, &["state", &format!("{}-unknown", lab.tag)], &["does not exist"])
    }),
    extension("extensions.kill_of_stopped_text", kill_stopped_text),
    extension("extensions.missing_program_text", missing_text),
    extension("extensions.no_pivot_works", |lab| with_flag(lab, "--no-pivot")),
    extension("extensions.no_new_keyring_works", |lab| with_flag(lab, "--no-new-keyring")),
    extension("extensions.preserve_fds_passes_descriptors", preserve),
    extension("extensions.descriptors_of_the_caller_stay_outside", caller_descriptors),
];

fn pid_file(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["wait"]))?;
    let path = lab.text("pid");
    let answer = container.try_create_with(container.create_command(&["--pid-file", &path]))?;
    ensure(answer.ok(), || format!("create failed: {}", answer.stderr))?;
    let text = std::fs::read_to_string(&path)?;
    container.clear();
    equal("pid file", text, container.pid().to_string())
}

fn no_pid_file(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::with("/root/path", json!("nowhere")))?;
    let path = lab.text("pid");
    ensure(!container.try_create_with(container.create_command(&["--pid-file", &path]))?.ok(), || {
        "create succeeds".into()
    })?;
    ensure(!std::path::Path::new(&path).exists(), || "there is a pid file".into())
}

fn end(container: &Container<'_>) -> Verdict {
    container.stop()?;
    container.delete()
}

fn exec(lab: &Lab, container: &Container<'_>, flags: &[&str], program: &[&str]) -> Result<Answer, Failure> {
    let mut arguments = vec!["exec"];
    arguments.extend(flags);
    arguments.push(&container.id);
    arguments.extend(program);
    lab.run(&arguments)
}

fn exec_inside(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    let answer = exec(lab, &container, &[], &["/probe", "facts"])?;
    ensure(answer.ok(), || format!("exec failed: {}", answer.stderr))?;
    let said: Value = serde_json::from_str(&answer.stdout)?;
    for name in ["pid", "net", "mnt", "uts", "ipc"] {
        let link = std::fs::read_link(format!("/proc/{}/ns/{name}", container.pid()))?;
        equal(name, &said["facts"]["namespaces"][name], &json!(link))?;
    }
    equal("host name", &said["facts"]["hostname"], &json!("probe"))?;
    end(&container)
}

fn exec_code(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    for code in [0, 3, 200] {
        equal("code", exec(lab, &container, &[], &["/probe", &format!("exit:{code}")])?.code, Some(code))?;
    }
    end(&container)
}

fn exec_process(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    let process = json!({"args": ["/probe", "facts"], "cwd": "/tmp", "env": ["PATH=/bin", "ONE=1"],
                         "user": {"uid": 7, "gid": 8}});
    std::fs::write(lab.path("process.json"), process.to_string())?;
    let answer = exec(lab, &container, &["--process", &lab.text("process.json")], &[])?;
    ensure(answer.ok(), || format!("exec failed: {}", answer.stderr))?;
    let said: Value = serde_json::from_str(&answer.stdout)?;
    equal("uids", &said["facts"]["uids"], &json!([7, 7, 7]))?;
    equal("cwd", &said["facts"]["cwd"], &json!("/tmp"))?;
    end(&container)
}

fn exec_detached(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    let path = lab.text("pid");
    let answer = exec(lab, &container, &["--detach", "--pid-file", &path], &["/probe", "create:/second", "wait"])?;
    ensure(answer.ok(), || format!("exec failed: {}", answer.stderr))?;
    container.wait_for("second")?;
    let pid = std::fs::read_to_string(&path)?;
    let alive = std::fs::read_to_string(format!("/proc/{pid}/cmdline"))?;
    ensure(alive.starts_with("/probe"), || format!("process {pid} is {alive:?}"))?;
    container.kill("KILL")?;
    // It is this test's child; the pid namespace, and with it the container, ends when it is waited for.
    nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid.parse().unwrap_or(0)), None)?;
    container.wait()?;
    container.delete()
}

fn exec_stopped(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    container.stop()?;
    container.becomes("stopped")?;
    let answer = exec(lab, &container, &[], &["/probe", "exit:0"])?;
    ensure(!answer.ok(), || "exec succeeds".into())?;
    container.delete()
}

fn exec_missing(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    let answer = exec(lab, &container, &[], &["/nowhere"])?;
    ensure(!answer.ok(), || "exec succeeds".into())?;
    ensure(answer.stderr.contains("no such file or directory"), || format!("it says {:?}", answer.stderr))?;
    equal("status of the container", container.status()?, "running")?;
    end(&container)
}

fn run(lab: &Lab, flags: &[&str], actions: &[&str]) -> Result<(Answer, String), Failure> {
    let container = lab.container("run", &config::probing(actions))?;
    let mut command = lab.command(&["run", "--bundle"]);
    command.arg(&container.bundle).args(flags).arg(&container.id);
    Ok((lab.finish(command, "run")?, container.id.clone()))
}

fn run_code(lab: &Lab) -> Verdict {
    equal("code", run(lab, &[], &["exit:42"])?.0.code, Some(42))
}

fn run_signal(lab: &Lab) -> Verdict {
    let container = lab.container("run", &config::probing(&["create:/mark", "wait"]))?;
    let mut command = lab.command(&["run", "--bundle"]);
    command.arg(&container.bundle).arg(&container.id);
    let mut child = command.spawn()?;
    let came = container.wait_for("mark");
    let killed = lab.run(&["kill", &container.id, "KILL"])?;
    if came.is_err() || !killed.ok() {
        let _ = child.kill();
    }
    equal("code", child.wait()?.code(), Some(137))
}

fn run_detached(lab: &Lab) -> Verdict {
    let (answer, id) = run(lab, &["--detach"], &["wait"])?;
    ensure(answer.ok(), || format!("run failed: {}", answer.stderr))?;
    let removed = lab.run(&["delete", "--force", &id])?;
    ensure(removed.ok(), || format!("delete --force failed: {}", removed.stderr))
}

fn delete_force(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    container.must(&["delete", "--force", &container.id])?;
    container.must_fail(&["state", &container.id])
}

/// Without a pid namespace of its own a container's processes outlive the first; kill --all reaches them.
fn kill_all(lab: &Lab) -> Verdict {
    let mut config = config::probing(&["spawn:/probe:create:/mark;wait"]);
    config::without_namespace(&mut config, "pid");
    config["linux"]["cgroupsPath"] = json!(format!("/{}-cgroup", lab.tag));
    let container = lab.container("a", &config)?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    container.must(&["kill", "--all", &container.id, "KILL"])?;
    equal("end", container.wait()?, End::Signal(9))?;
    container.becomes("stopped")?;
    container.delete()?;
    let left = crate::leaks::find_patiently(lab);
    ensure(left.is_empty(), || format!("left: {left:?}"))
}

fn kill_default(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["block", "create:/mark", "signal"]))?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    container.must(&["kill", &container.id])?;
    container.wait()?;
    let said: Value = serde_json::from_str(&container.output()?)?;
    equal("signal", &said["signal"]["signal"], &json!(15))?;
    container.delete()
}

fn list_json(lab: &Lab) -> Verdict {
    let (first, second) = (running(lab, "a")?, running(lab, "b")?);
    let answer = lab.run(&["list", "--format", "json"])?;
    ensure(answer.ok(), || format!("list failed: {}", answer.stderr))?;
    let list: Value = serde_json::from_str(&answer.stdout)?;
    for container in [&first, &second] {
        let entry = list.as_array().into_iter().flatten().find(|entry| entry["id"] == json!(container.id));
        let entry = entry.ok_or_else(|| Failure(format!("{} is not in {list}", container.id)))?;
        equal("pid", &entry["pid"], &json!(container.pid()))?;
        equal("status", &entry["status"], &json!("running"))?;
    }
    end(&first)?;
    end(&second)
}

fn list_quiet(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    let answer = lab.run(&["list", "--quiet"])?;
    equal("output", answer.stdout.trim(), container.id.as_str())?;
    end(&container)
}

fn list_none(lab: &Lab) -> Verdict {
    let answer = lab.run(&["list", "--format", "json"])?;
    ensure(answer.ok(), || format!("list failed: {}", answer.stderr))?;
    let list: Value = serde_json::from_str(&answer.stdout)?;
    ensure(list.is_null() || list == json!([]), || format!("list says {list}"))
}

fn ps_json(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    let answer = lab.run(&["ps", "--format", "json", &container.id])?;
    ensure(answer.ok(), || format!("ps failed: {}", answer.stderr))?;
    let list: Value = serde_json::from_str(&answer.stdout)?;
    equal("pids", list, json!([container.pid()]))?;
    end(&container)
}

fn pause(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    container.must(&["pause", &container.id])?;
    equal("status", container.status()?, "paused")?;
    container.must(&["resume", &container.id])?;
    equal("status", container.status()?, "running")?;
    end(&container)
}

fn exec_paused(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    container.must(&["pause", &container.id])?;
    let answer = exec(lab, &container, &[], &["/probe", "exit:0"])?;
    container.must(&["resume", &container.id])?;
    ensure(!answer.ok(), || "exec succeeds".into())?;
    end(&container)
}

fn update(lab: &Lab) -> Verdict {
    let mut config = config::probing(&["wait"]);
    config["linux"]["cgroupsPath"] = json!(format!("/{}-cgroup", lab.tag));
    config["linux"]["resources"]["pids"] = json!({"limit": 50});
    let container = lab.container("a", &config)?;
    container.create()?;
    container.must(&["update", "--pids-limit", "60", &container.id])?;
    let found = std::fs::read_to_string(format!("/sys/fs/cgroup/pids/{}-cgroup/pids.max", lab.tag))?;
    container.clear();
    equal("pids.max", found.trim(), "60")
}

fn events(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    let answer = lab.run(&["events", "--stats", &container.id])?;
    ensure(answer.ok(), || format!("events failed: {}", answer.stderr))?;
    let said: Value = serde_json::from_str(&answer.stdout)?;
    equal("type", &said["type"], &json!("stats"))?;
    equal("id", &said["id"], &json!(container.id))?;
    ensure(said["data"]["pids"]["current"].as_i64() == Some(1), || format!("data.pids is {}", said["data"]["pids"]))?;
    end(&container)
}

fn log_json(lab: &Lab) -> Verdict {
    let log = lab.text("log.json");
    let answer = lab.run(&["--log", &log, "--log-format", "json", "state", &format!("{}-unknown", lab.tag)])?;
    ensure(!answer.ok(), || "state succeeds".into())?;
    let text = std::fs::read_to_string(&log)?;
    let last = text.lines().last().ok_or("the log is empty")?;
    let record: Value = serde_json::from_str(last)?;
    equal("level", &record["level"], &json!("error"))?;
    ensure(record["msg"].as_str().is_some_and(|text| !text.is_empty()), || record.to_string())?;
    ensure(record["time"].as_str().is_some_and(|text| text.contains('T')), || record.to_string())
}

fn log_nothing(lab: &Lab) -> Verdict {
    let log = lab.text("log.json");
    let container = running(lab, "a")?;
    let answer = lab.run(&["--log", &log, "--log-format", "json", "state", &container.id])?;
    ensure(answer.ok() && answer.stderr.is_empty(), || format!("state says {:?}", answer.stderr))?;
    equal("log", std::fs::read_to_string(&log).unwrap_or_default().as_str(), "")?;
    end(&container)
}

fn version(lab: &Lab) -> Verdict {
    let output = std::process::Command::new(&lab.runtime.path).arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let first = text.lines().next().unwrap_or_default();
    let words: Vec<&str> = first.split_whitespace().collect();
    ensure(words.len() >= 3 && words.get(1) == Some(&"version"), || format!("the first line is {first:?}"))
}

fn says(lab: &Lab, arguments: &[&str], any: &[&str]) -> Verdict {
    let answer = lab.run(arguments)?;
    ensure(!answer.ok(), || format!("{arguments:?} succeeds"))?;
    let text = format!("{}{}", answer.stdout, answer.stderr);
    ensure(any.iter().any(|words| text.contains(words)), || format!("it says {text:?}"))
}

fn kill_stopped_text(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    container.stop()?;
    container.becomes("stopped")?;
    let texts = ["container not running", "no such process", "process already finished"];
    says(lab, &["kill", &container.id, "KILL"], &texts)?;
    container.delete()
}

fn missing_text(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::with("/process/args", json!(["nowhere-to-be-found"])))?;
    let mut answer = container.try_create()?;
    if answer.ok() {
        answer = lab.run(&["start", &container.id])?;
        container.clear();
    }
    let text = format!("{}{}", answer.stdout, answer.stderr);
    ensure(text.contains("executable file not found in $PATH"), || format!("it says {text:?}"))
}

fn with_flag(lab: &Lab, flag: &str) -> Verdict {
    let container = lab.container("a", &config::probing(&["facts"]))?;
    let answer = container.try_create_with(container.create_command(&[flag]))?;
    ensure(answer.ok(), || format!("create failed: {}", answer.stderr))?;
    container.start()?;
    container.wait()?;
    ensure(container.output()?.contains("facts"), || "the program did not run".into())?;
    container.delete()
}

fn preserve(lab: &Lab) -> Verdict {
    let open = with_descriptors(lab, "--preserve-fds 1")?;
    let target = open["3"].as_str().unwrap_or_default();
    ensure(target.ends_with("/passed"), || format!("descriptors: {open}"))?;
    ensure(open["9"].is_null(), || format!("more than one is passed: {open}"))
}

fn caller_descriptors(lab: &Lab) -> Verdict {
    let open = with_descriptors(lab, "")?;
    ensure(open["3"].is_null() && open["9"].is_null(), || format!("descriptors: {open}"))
}

/// What is open in a container whose runtime was started, by a shell, with the descriptors 3 and 9.
fn with_descriptors(lab: &Lab, flags: &str) -> Result<Value, Failure> {
    std::fs::write(lab.path("passed"), "text")?;
    let container = lab.container("a", &config::probing(&["facts"]))?;
    let line = format!("exec \"$0\" --root \"$1\" create --bundle \"$2\" {flags} \"$3\" 3<\"$4\" 9<\"$4\"");
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &line]).arg(&lab.runtime.path).arg(lab.state_directory());
    command.arg(&container.bundle).arg(&container.id).arg(lab.path("passed")).stdin(std::process::Stdio::null());
    let answer = container.try_create_with(command)?;
    ensure(answer.ok(), || format!("create failed: {}", answer.stderr))?;
    container.start()?;
    container.wait()?;
    let said: Value = serde_json::from_str(&container.output()?)?;
    container.delete()?;
    Ok(said["facts"]["descriptors"].clone())
}
