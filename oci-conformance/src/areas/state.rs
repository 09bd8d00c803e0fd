//! What `state` prints, and which ids are taken.

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::suite::{Test, core};
use crate::verdict::{Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("state.version_is_there", &["R-state-version"], version),
    core("state.id_is_there", &["R-state-id"], |lab| member(lab, "id", &|lab| json!(format!("{}-a", lab.tag)))),
    core("state.bundle_is_absolute", &["R-state-bundle"], |lab| {
        member(lab, "bundle", &|lab| json!(lab.text("bundle-a")))
    }),
    core("state.relative_bundle_is_absolute", &["R-state-bundle"], relative_bundle),
    core("state.status_follows_the_lifecycle", &["R-state-status", "R-state-more"], statuses),
    core("state.pid_is_the_process", &["R-state-pid"], pid),
    core("state.annotations_are_there", &["R-state-annotations"], annotations),
    core("state.annotations_may_be_absent", &["R-state-annotations"], no_annotations),
    core("state.json_has_the_pattern", &["R-state-json"], pattern),
    core("state.nothing_else_is_printed", &["R-state-json"], nothing_else),
    core("state.stopped_has_no_live_pid", &["R-state-pid"], stopped_pid),
    core("ids.usual_characters_work", &["R-create-new"], usual_ids),
    core("ids.path_is_refused", &["R-create-invalid"], |lab| bad_id(lab, "../escape")),
    core("ids.slash_is_refused", &["R-create-invalid"], |lab| bad_id(lab, "one/two")),
    core("ids.empty_is_refused", &["R-create-invalid"], |lab| bad_id(lab, "")),
    core("ids.dots_are_refused", &["R-create-invalid"], |lab| bad_id(lab, "..")),
];

fn version(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::base())?;
    container.create()?;
    let state = container.state()?;
    let version = state["ociVersion"].as_str().unwrap_or_default();
    let parts =
        version.split(['-', '+']).next().unwrap_or_default().split('.').filter(|part| part.parse::<u32>().is_ok());
    equal(&format!("numbers in ociVersion {version:?}"), parts.count(), 3)?;
    container.clear();
    Ok(())
}

fn member(lab: &Lab, name: &str, wanted: &impl Fn(&Lab) -> Value) -> Verdict {
    let container = lab.container("a", &config::base())?;
    container.create()?;
    equal(name, &container.state()?[name], &wanted(lab))?;
    container.start()?;
    container.wait()?;
    container.becomes("stopped")?;
    equal(name, &container.state()?[name], &wanted(lab))?;
    container.delete()
}

fn relative_bundle(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::base())?;
    let mut command = lab.command(&["create", "--bundle", "bundle-a", &container.id]);
    command.current_dir(&lab.directory);
    let answer = container.try_create_with(command)?;
    ensure(answer.ok(), || format!("create failed: {}", answer.stderr))?;
    equal("bundle", &container.state()?["bundle"], &json!(lab.text("bundle-a")))?;
    container.clear();
    Ok(())
}

fn statuses(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["wait-for:/go"]))?;
    container.create()?;
    equal("status", container.status()?, "created")?;
    container.start()?;
    equal("status", container.status()?, "running")?;
    std::fs::write(container.root().join("go"), "")?;
    container.wait()?;
    container.becomes("stopped")?;
    container.delete()
}

fn pid(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["create:/mark", "wait"]))?;
    container.create()?;
    let created = container.state()?["pid"].as_i64().unwrap_or(0);
    ensure(created > 0, || format!("pid of a created container: {created}"))?;
    container.start()?;
    container.wait_for("mark")?;
    equal("pid after start", container.state()?["pid"].as_i64(), Some(created))?;
    let line = std::fs::read_to_string(format!("/proc/{created}/cmdline"))?;
    ensure(line.starts_with("/probe"), || format!("process {created} is {line:?}"))?;
    container.stop()?;
    container.delete()
}

fn annotations(lab: &Lab) -> Verdict {
    let wanted = json!({"org.example.key": "value", "org.example.empty": ""});
    let container = lab.container("a", &config::with("/annotations", wanted.clone()))?;
    container.create()?;
    let found = container.state()?["annotations"].clone();
    for (key, value) in wanted.as_object().into_iter().flatten() {
        equal(key, &found[key], value)?;
    }
    container.clear();
    Ok(())
}

fn no_annotations(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::base())?;
    container.create()?;
    let found = container.state()?["annotations"].clone();
    ensure(found.is_null() || found.is_object(), || format!("annotations: {found}"))?;
    container.clear();
    Ok(())
}

fn pattern(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::with("/annotations", json!({"a.b": "c"})))?;
    container.create()?;
    let state = container.state()?;
    for name in ["ociVersion", "id", "status", "bundle"] {
        ensure(state[name].is_string(), || format!("{name} is {}", state[name]))?;
    }
    ensure(state["pid"].is_u64(), || format!("pid is {}", state["pid"]))?;
    ensure(state["annotations"].is_object(), || format!("annotations is {}", state["annotations"]))?;
    container.clear();
    Ok(())
}

/// Engines read both outputs together and parse them.
fn nothing_else(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::base())?;
    container.create()?;
    let output = lab.command(&["state", &container.id]).output()?;
    ensure(output.stderr.is_empty(), || format!("standard error: {:?}", String::from_utf8_lossy(&output.stderr)))?;
    serde_json::from_slice::<Value>(&output.stdout)?;
    container.clear();
    Ok(())
}

fn stopped_pid(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::base())?;
    container.create()?;
    container.start()?;
    container.wait()?;
    container.becomes("stopped")?;
    let pid = container.state()?["pid"].as_i64().unwrap_or(0);
    // The pid need not be told any more; if it is, it must not be a living stranger's.
    let alive = pid != 0 && std::path::Path::new(&format!("/proc/{pid}")).exists();
    ensure(!alive, || format!("state of a stopped container names the living process {pid}"))?;
    container.delete()
}

fn usual_ids(lab: &Lab) -> Verdict {
    for name in ["a", "A.b_c+d-9", "x_y"] {
        let container = lab.container(name, &config::base())?;
        container.create()?;
        equal("id", &container.state()?["id"], &json!(container.id))?;
        container.start()?;
        container.wait()?;
        container.delete()?;
    }
    Ok(())
}

fn bad_id(lab: &Lab, id: &str) -> Verdict {
    let container = lab.container("a", &config::base())?;
    let mut command = lab.command(&["create", "--bundle"]);
    command.arg(&container.bundle).arg(id);
    let answer = lab.finish(command, "bad")?;
    if answer.ok() {
        let _ = lab.run(&["kill", id, "KILL"]);
        let _ = lab.run(&["delete", id]);
        return Err("create accepts it".into());
    }
    let left = crate::leaks::find_patiently(lab);
    ensure(left.is_empty(), || format!("the failed create left {left:?}"))
}
