//! Hooks: when, where, in which order, with what on their standard input, and what happens when they fail.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config;
use crate::container::Container;
use crate::lab::Lab;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("hooks.prestart_runs", &["R-prestart", "C-prestart-path", "C-prestart-where", "C-prestart-when"], |lab| {
        in_create(lab, "prestart", true)
    }),
    core(
        "hooks.create_runtime_runs",
        &["R-create-runtime", "C-create-runtime-path", "C-create-runtime-where", "C-create-runtime-when"],
        |lab| in_create(lab, "createRuntime", true),
    ),
    core(
        "hooks.create_container_runs",
        &["R-create-container", "C-create-container-path", "C-create-container-where", "C-create-container-when"],
        |lab| in_create(lab, "createContainer", false),
    ),
    core(
        "hooks.start_container_runs",
        &["R-start-container", "C-start-container-path", "C-start-container-where", "C-start-container-when"],
        start_container,
    ),
    core(
        "hooks.poststart_runs",
        &["R-poststart", "C-poststart-path", "C-poststart-where", "C-poststart-when"],
        poststart,
    ),
    core("hooks.poststop_runs", &["R-poststop", "C-poststop-path", "C-poststop-where", "C-poststop-when"], poststop),
    core("hooks.kinds_run_in_order", &["C-prestart-first", "C-create-container-after"], kinds_in_order),
    core("hooks.of_one_kind_run_in_order", &["C-hooks-order"], in_order),
    core("hooks.get_the_state", &["C-hooks-state"], state_on_stdin),
    core("hooks.see_mounts_before_pivot", &["C-create-container-when", "C-create-runtime-when"], before_pivot),
    core("hooks.arguments_and_environment_are_exact", &["R-create-runtime"], arguments),
    core("hooks.environment_is_not_the_callers", &["R-create-runtime"], clean_environment),
    core("hooks.failing_prestart_ends_create", &["R-prestart-fail", "R-error-clean"], |lab| {
        failing_create(lab, "prestart")
    }),
    core("hooks.failing_create_runtime_ends_create", &["R-create-runtime-fail", "R-error-clean"], |lab| {
        failing_create(lab, "createRuntime")
    }),
    core("hooks.failing_create_container_ends_create", &["R-create-container-fail", "R-error-clean"], |lab| {
        failing_create(lab, "createContainer")
    }),
    core("hooks.failing_hook_stops_those_after_it", &["R-create-runtime-fail"], stops_later),
    core("hooks.failing_start_container_ends_start", &["R-start-container-fail"], failing_start_container),
    core("hooks.failing_poststart_ends_container", &["R-poststart-fail"], failing_poststart),
    core("hooks.failing_poststop_does_not_stop_delete", &["R-poststop-fail"], failing_poststop),
    core("hooks.failed_create_runs_poststop", &["R-poststop", "R-create-runtime-fail"], poststop_after_failure),
    core("hooks.timeout_ends_hook", &["R-create-runtime-fail"], timeout),
    core("hooks.not_needed_stdin_may_stay_unread", &["R-create-runtime"], unread_stdin),
];

fn log(lab: &Lab) -> PathBuf {
    lab.path("hooks.log")
}

/// A hook that writes to the lab's log under a name; `more` tells it to fail or to sleep.
fn hook(lab: &Lab, name: &str, more: &[&str]) -> Value {
    let probe = lab.host_probe();
    let log = lab.text("hooks.log");
    let mut args = vec!["probe", "hook", &log, name];
    args.extend(more);
    json!({"path": probe, "args": args})
}

/// The same inside of the container, where the log is /hooks.log.
fn inner_hook(name: &str, more: &[&str]) -> Value {
    let mut args = vec!["probe", "hook", "/hooks.log", name];
    args.extend(more);
    json!({"path": "/probe", "args": args})
}

fn records_of(path: &std::path::Path) -> Result<Vec<Value>, Failure> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).map_err(Failure::from)).collect()
}

fn names(records: &[Value]) -> Vec<&str> {
    records.iter().filter_map(|record| record["name"].as_str()).collect()
}

fn one(lab: &Lab) -> Result<Value, Failure> {
    let records = records_of(&log(lab))?;
    equal("hooks that ran", records.len(), 1)?;
    records.into_iter().next().ok_or_else(|| "no record".into())
}

fn with_hooks(kind: &str, list: Value) -> Value {
    let mut config = config::with(&format!("/hooks/{kind}"), list);
    config::set_actions(&mut config, &["create:/mark", "wait"]);
    config
}

/// The names of those namespaces in which the hook was that are not the test's own.
fn foreign(record: &Value) -> Result<Vec<&'static str>, Failure> {
    let mut found = Vec::new();
    for name in ["mnt", "net", "uts", "ipc", "pid"] {
        let own = json!(std::fs::read_link(format!("/proc/self/ns/{name}"))?);
        if record["namespaces"][name] != own {
            found.push(name);
        }
    }
    Ok(found)
}

fn in_create(lab: &Lab, kind: &str, outside: bool) -> Verdict {
    let container = lab.container("a", &with_hooks(kind, json!([hook(lab, kind, &[])])))?;
    container.create()?;
    let record = one(lab)?;
    let where_it_was = foreign(&record)?;
    if outside {
        equal("namespaces that are not the runtime's", where_it_was, Vec::<&str>::new())?;
    } else {
        equal("namespaces that are not the runtime's", where_it_was, vec!["mnt", "net", "uts", "ipc", "pid"])?;
    }
    equal("the program's mark", &record["mark_in_bundle"], &json!(false))?;
    // The runtime's root, not the container's: pivot_root has not happened.
    let names = record["root_entries"].as_array().cloned().unwrap_or_default();
    ensure(!names.contains(&json!("probe")), || "the hook's root is the container's".into())?;
    container.clear();
    Ok(())
}

fn start_container(lab: &Lab) -> Verdict {
    let container = lab.container("a", &with_hooks("startContainer", json!([inner_hook("startContainer", &[])])))?;
    container.create()?;
    let path = container.root().join("hooks.log");
    ensure(!path.exists(), || "the hook ran in create".into())?;
    container.start()?;
    // Start may return before the container has come so far; that the program's mark is there says that it has.
    container.wait_for("mark")?;
    let records = records_of(&path)?;
    equal("hooks that ran in start", names(&records), vec!["startContainer"])?;
    let record = records.first().ok_or("no record")?;
    equal("namespaces that are not the runtime's", foreign(record)?, vec!["mnt", "net", "uts", "ipc", "pid"])?;
    equal("the program's mark", &record["mark"], &json!(false))?;
    container.stop()?;
    container.delete()
}

fn poststart(lab: &Lab) -> Verdict {
    let container = lab.container("a", &with_hooks("poststart", json!([hook(lab, "poststart", &[])])))?;
    container.create()?;
    ensure(!log(lab).exists(), || "the hook ran in create".into())?;
    container.start()?;
    let record = one(lab)?;
    equal("namespaces that are not the runtime's", foreign(&record)?, Vec::<&str>::new())?;
    equal("the container's process is there", &record["pid_alive"], &json!(true))?;
    container.stop()?;
    container.delete()
}

fn poststop(lab: &Lab) -> Verdict {
    let container = lab.container("a", &with_hooks("poststop", json!([hook(lab, "poststop", &[])])))?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    container.stop()?;
    ensure(!log(lab).exists(), || "the hook ran before delete".into())?;
    container.delete()?;
    let record = one(lab)?;
    equal("namespaces that are not the runtime's", foreign(&record)?, Vec::<&str>::new())?;
    ensure(record["pid_alive"] != json!(true), || "the container's process was still there".into())
}

fn kinds_in_order(lab: &Lab) -> Verdict {
    let mut config = config::probing(&["create:/mark", "wait"]);
    let kinds = ["poststop", "poststart", "createContainer", "createRuntime", "prestart"];
    for kind in kinds {
        config::set(&mut config, &format!("/hooks/{kind}"), json!([hook(lab, kind, &[])]));
    }
    let container = lab.container("a", &config)?;
    container.create()?;
    equal("in create", names(&records_of(&log(lab))?), vec!["prestart", "createRuntime", "createContainer"])?;
    container.start()?;
    container.wait_for("mark")?;
    container.stop()?;
    container.delete()?;
    let all = vec!["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    equal("in all", names(&records_of(&log(lab))?), all)
}

fn in_order(lab: &Lab) -> Verdict {
    let list = json!([hook(lab, "1", &[]), hook(lab, "2", &[]), hook(lab, "3", &[]), hook(lab, "4", &[])]);
    for kind in ["createRuntime", "createContainer", "poststart", "poststop"] {
        let _ = std::fs::remove_file(log(lab));
        let container = lab.container(kind, &with_hooks(kind, list.clone()))?;
        container.create()?;
        container.start()?;
        container.wait_for("mark")?;
        container.stop()?;
        container.delete()?;
        equal(kind, names(&records_of(&log(lab))?), vec!["1", "2", "3", "4"])?;
    }
    Ok(())
}

fn state_is(record: &Value, container: &Container<'_>, status: &[&str]) -> Verdict {
    let state = &record["state"];
    let name = &record["name"];
    equal(&format!("{name}: id"), &state["id"], &json!(container.id))?;
    equal(&format!("{name}: bundle"), &state["bundle"], &json!(container.bundle))?;
    equal(&format!("{name}: annotations"), &state["annotations"]["a.b"], &json!("c"))?;
    ensure(state["ociVersion"].is_string(), || format!("{name}: ociVersion is {}", state["ociVersion"]))?;
    let found = state["status"].as_str().unwrap_or_default();
    ensure(status.contains(&found), || format!("{name}: status is {found:?}, expected one of {status:?}"))
}

fn state_on_stdin(lab: &Lab) -> Verdict {
    let mut config = config::with("/annotations", json!({"a.b": "c"}));
    config::set_actions(&mut config, &["create:/mark", "wait"]);
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        config::set(&mut config, &format!("/hooks/{kind}"), json!([hook(lab, kind, &[])]));
    }
    config::set(&mut config, "/hooks/startContainer", json!([inner_hook("startContainer", &[])]));
    let container = lab.container("a", &config)?;
    container.create()?;
    let pid = container.pid();
    container.start()?;
    container.wait_for("mark")?;
    container.stop()?;
    container.delete()?;
    let mut records = records_of(&log(lab))?;
    records.extend(records_of(&container.root().join("hooks.log"))?);
    equal("hooks that ran", records.len(), 6)?;
    for record in &records {
        let (status, wants_pid): (&[&str], bool) = match record["name"].as_str().unwrap_or_default() {
            "poststart" => (&["running"], true),
            "poststop" => (&["stopped"], false),
            "startContainer" => (&["created"], false),
            "prestart" | "createRuntime" => (&["creating", "created"], true),
            _ => (&["creating", "created"], false),
        };
        state_is(record, &container, status)?;
        if wants_pid {
            equal(&format!("{}: pid", record["name"]), &record["state"]["pid"], &json!(pid))?;
        }
    }
    Ok(())
}

/// The mounts of the container are there already: a hook sees them through the process's root, or its own mounts.
fn before_pivot(lab: &Lab) -> Verdict {
    let list = json!([hook(lab, "createContainer", &[])]);
    let container = lab.container("a", &with_hooks("createContainer", list))?;
    container.create()?;
    let record = one(lab)?;
    let entries = record["root_entries"].as_array().cloned().unwrap_or_default();
    let host: Vec<String> =
        std::fs::read_dir("/")?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    ensure(host.iter().all(|name| entries.contains(&json!(name))), || format!("the hook's root is {entries:?}"))?;
    container.clear();
    Ok(())
}

fn arguments(lab: &Lab) -> Verdict {
    let mut one_hook = hook(lab, "name", &["more", "with space"]);
    one_hook["env"] = json!(["ONE=1", "TWO=a=b"]);
    let container = lab.container("a", &with_hooks("createRuntime", json!([one_hook])))?;
    container.create()?;
    let record = one(lab)?;
    equal(
        "arguments",
        &record["arguments"],
        &json!(["probe", "hook", lab.text("hooks.log"), "name", "more", "with space"]),
    )?;
    equal("ONE", &record["environment"]["ONE"], &json!("1"))?;
    equal("TWO", &record["environment"]["TWO"], &json!("a=b"))?;
    container.clear();
    Ok(())
}

fn clean_environment(lab: &Lab) -> Verdict {
    let mut one_hook = hook(lab, "name", &[]);
    one_hook["env"] = json!(["ONE=1"]);
    let container = lab.container("a", &with_hooks("createRuntime", json!([one_hook])))?;
    container.create()?;
    let record = one(lab)?;
    ensure(record["environment"]["OCI_CONFORMANCE_TAG"].is_null(), || "the hook has the caller's environment".into())?;
    container.clear();
    Ok(())
}

fn failing_create(lab: &Lab, kind: &str) -> Verdict {
    let container = lab.container("a", &with_hooks(kind, json!([hook(lab, kind, &["fail"])])))?;
    ensure(!container.try_create()?.ok(), || "create succeeds though the hook failed".into())?;
    equal("hooks that ran", names(&records_of(&log(lab))?), vec![kind])?;
    lab.nothing_of(&container)
}

fn stops_later(lab: &Lab) -> Verdict {
    let list = json!([hook(lab, "1", &[]), hook(lab, "2", &["fail"]), hook(lab, "3", &[])]);
    let container = lab.container("a", &with_hooks("createRuntime", list))?;
    ensure(!container.try_create()?.ok(), || "create succeeds though a hook failed".into())?;
    equal("hooks that ran", names(&records_of(&log(lab))?), vec!["1", "2"])?;
    lab.nothing_of(&container)
}

fn failing_start_container(lab: &Lab) -> Verdict {
    let container =
        lab.container("a", &with_hooks("startContainer", json!([inner_hook("startContainer", &["fail"])])))?;
    container.create()?;
    container.must_fail(&["start", &container.id])?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    ensure(!container.root().join("mark").exists(), || "the program ran all the same".into())?;
    ended(lab, &container)
}

/// The container has ended: it is stopped, or gone altogether.
fn ended(lab: &Lab, container: &Container<'_>) -> Verdict {
    container.wait()?;
    if lab.run(&["state", &container.id])?.ok() {
        container.becomes("stopped")?;
        container.delete()?;
    }
    Ok(())
}

fn failing_poststart(lab: &Lab) -> Verdict {
    let container = lab.container("a", &with_hooks("poststart", json!([hook(lab, "poststart", &["fail"])])))?;
    container.create()?;
    container.must_fail(&["start", &container.id])?;
    ended(lab, &container)
}

fn failing_poststop(lab: &Lab) -> Verdict {
    let list = json!([hook(lab, "1", &["fail"]), hook(lab, "2", &[])]);
    let container = lab.container("a", &with_hooks("poststop", list))?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    container.stop()?;
    container.delete()?;
    equal("hooks that ran", names(&records_of(&log(lab))?), vec!["1", "2"])
}

fn poststop_after_failure(lab: &Lab) -> Verdict {
    let mut config = with_hooks("createRuntime", json!([hook(lab, "createRuntime", &["fail"])]));
    config::set(&mut config, "/hooks/poststop", json!([hook(lab, "poststop", &[])]));
    let container = lab.container("a", &config)?;
    ensure(!container.try_create()?.ok(), || "create succeeds though the hook failed".into())?;
    equal("hooks that ran", names(&records_of(&log(lab))?), vec!["createRuntime", "poststop"])
}

fn timeout(lab: &Lab) -> Verdict {
    let mut slow = hook(lab, "slow", &["sleep"]);
    slow["timeout"] = json!(1);
    let container = lab.container("a", &with_hooks("createRuntime", json!([slow])))?;
    let began = std::time::Instant::now();
    ensure(!container.try_create()?.ok(), || "create succeeds though the hook took too long".into())?;
    let took = began.elapsed().as_secs_f64();
    ensure((0.9..8.0).contains(&took), || format!("create ended after {took:.1} s"))?;
    lab.nothing_of(&container)
}

fn unread_stdin(lab: &Lab) -> Verdict {
    let large = json!({"a.b": "x".repeat(100_000)});
    let mut config =
        config::with("/hooks/createRuntime", json!([{"path": lab.host_probe(), "args": ["probe", "exit:0"]}]));
    config["annotations"] = large;
    let container = lab.container("a", &config)?;
    container.create()?;
    container.clear();
    Ok(())
}
