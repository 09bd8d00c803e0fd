//! The five operations, in every state of a container.

use serde_json::json;

use crate::config;
use crate::container::{Container, End};
use crate::lab::Lab;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core(
        "lifecycle.all_operations_work",
        &["R-scope", "R-operations", "R-query", "R-create-new", "R-start-program", "R-start-runs", "R-destroy"],
        all_operations,
    ),
    core("lifecycle.create_does_not_run_program", &["R-create-waits", "R-create-args-later"], create_waits),
    core("lifecycle.create_makes_environment", &["R-create-resources", "R-create-applies", "R-env"], create_makes),
    core("lifecycle.config_changed_after_create_has_no_effect", &["R-config-frozen"], config_frozen),
    core("lifecycle.hooks_changed_after_create_have_no_effect", &["R-config-frozen"], hooks_frozen),
    core("lifecycle.state_without_id_fails", &["R-query-id"], |lab| fails(lab, &["state"])),
    core("lifecycle.create_without_id_fails", &["R-create-args"], create_without_id),
    core("lifecycle.create_without_bundle_fails", &["R-create-args"], create_without_bundle),
    core("lifecycle.start_without_id_fails", &["R-start-id"], |lab| fails(lab, &["start"])),
    core("lifecycle.kill_without_id_fails", &["R-kill-id"], |lab| fails(lab, &["kill"])),
    core("lifecycle.delete_without_id_fails", &["R-delete-id"], |lab| fails(lab, &["delete"])),
    core("lifecycle.state_of_unknown_fails", &["R-query-missing"], |lab| fails(lab, &["state", &unknown(lab)])),
    core("lifecycle.start_of_unknown_fails", &["R-start-state"], |lab| fails(lab, &["start", &unknown(lab)])),
    core("lifecycle.kill_of_unknown_fails", &["R-kill-state"], |lab| fails(lab, &["kill", &unknown(lab), "KILL"])),
    core("lifecycle.delete_of_unknown_fails", &["R-delete-state"], |lab| fails(lab, &["delete", &unknown(lab)])),
    core("lifecycle.create_of_created_fails", &["R-create-unique", "R-state-unique", "R-error-clean"], create_twice),
    core("lifecycle.create_of_running_fails", &["R-create-unique", "R-error-clean"], create_of_running),
    core("lifecycle.create_of_stopped_fails", &["R-create-unique", "R-error-clean"], create_of_stopped),
    core("lifecycle.delete_of_created_fails_or_removes_all", &["R-delete-resources"], delete_of_created),
    core("lifecycle.start_of_running_fails", &["R-start-state", "R-start-effect"], start_of_running),
    core("lifecycle.start_of_stopped_fails", &["R-start-state", "R-start-effect"], start_of_stopped),
    core("lifecycle.delete_of_running_fails", &["R-delete-state", "R-delete-effect"], delete_of_running),
    core("lifecycle.kill_of_stopped_fails", &["R-kill-state", "R-kill-effect"], kill_of_stopped),
    core("lifecycle.kill_of_created_ends_it", &["R-kill-sends"], kill_of_created),
    core("lifecycle.kill_sends_the_signal", &["R-kill-sends"], kill_sends),
    core("lifecycle.kill_takes_names_and_numbers", &["R-kill-sends"], kill_words),
    core("lifecycle.kill_reaches_only_the_process", &["R-kill-sends"], kill_reaches_one),
    core("lifecycle.deleted_id_is_free_again", &["R-delete-resources"], id_again),
    core("lifecycle.delete_leaves_foreign_things", &["R-delete-foreign"], delete_foreign),
    core("lifecycle.delete_removes_everything", &["R-delete-resources", "R-destroy"], delete_removes),
    core("lifecycle.children_of_program_die_with_it", &["R-destroy"], children_die),
    core("lifecycle.two_containers_do_not_meet", &["R-state-unique"], two_containers),
    core("lifecycle.start_without_process_fails", &["R-start-process"], no_process),
];

fn unknown(lab: &Lab) -> String {
    format!("{}-unknown", lab.tag)
}

fn fails(lab: &Lab, arguments: &[&str]) -> Verdict {
    let answer = lab.run(arguments)?;
    ensure(!answer.ok(), || format!("{arguments:?} succeeds"))
}

/// A container whose program waits for ever, and has said that it runs.
pub fn running<'a>(lab: &'a Lab, name: &str) -> Result<Container<'a>, Failure> {
    let container = lab.container(name, &config::probing(&["create:/mark", "wait"]))?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    Ok(container)
}

/// A container whose program has ended.
fn stopped<'a>(lab: &'a Lab, name: &str) -> Result<Container<'a>, Failure> {
    let container = lab.container(name, &config::base())?;
    container.create()?;
    container.start()?;
    container.wait()?;
    container.becomes("stopped")?;
    Ok(container)
}

fn all_operations(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["create:/mark", "wait"]))?;
    container.create()?;
    equal("status after create", container.status()?, "created")?;
    container.start()?;
    equal("status after start", container.status()?, "running")?;
    container.wait_for("mark")?;
    container.kill("KILL")?;
    equal("end", container.wait()?, End::Signal(9))?;
    container.becomes("stopped")?;
    container.delete()?;
    fails(lab, &["state", &container.id])
}

fn create_waits(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["create:/mark"]))?;
    container.create()?;
    std::thread::sleep(std::time::Duration::from_millis(200));
    ensure(!container.root().join("mark").exists(), || "the program ran before start".into())?;
    container.start()?;
    container.wait()?;
    ensure(container.root().join("mark").exists(), || "the program did not run after start".into())?;
    container.delete()
}

fn create_makes(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["wait"]))?;
    container.create()?;
    for name in ["pid", "net", "ipc", "uts", "mnt"] {
        let link = std::fs::read_link(format!("/proc/{}/ns/{name}", container.pid()))?;
        let own = std::fs::read_link(format!("/proc/self/ns/{name}"))?;
        ensure(link != own, || format!("after create the container's {name} namespace is the host's"))?;
    }
    let table = std::fs::read_to_string(format!("/proc/{}/mountinfo", container.pid()))?;
    ensure(table.contains(" /dev/pts "), || "after create the mounts are not there".into())?;
    container.clear();
    Ok(())
}

fn config_frozen(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["facts"]))?;
    container.create()?;
    let changed = config::with("/process/args", json!(["/probe", "create:/changed"]));
    std::fs::write(container.bundle.join("config.json"), changed.to_string())?;
    container.start()?;
    container.wait()?;
    ensure(!container.root().join("changed").exists(), || "the changed program ran".into())?;
    ensure(container.output()?.contains("facts"), || "the first program did not run".into())?;
    container.delete()
}

/// The hooks of start and delete are those that create read.
fn hooks_frozen(lab: &Lab) -> Verdict {
    let hook = |name: &str| json!([{"path": lab.host_probe(), "args": ["probe", "hook", lab.text(name), name]}]);
    let mut config = config::with("/hooks/poststop", hook("first"));
    let container = lab.container("a", &config)?;
    container.create()?;
    for kind in ["poststart", "poststop"] {
        config::set(&mut config, &format!("/hooks/{kind}"), hook("changed"));
    }
    std::fs::write(container.bundle.join("config.json"), config.to_string())?;
    container.start()?;
    container.wait()?;
    container.delete()?;
    ensure(!lab.path("changed").exists(), || "a hook ran that was not there in create".into())?;
    ensure(lab.path("first").exists(), || "the first hook did not run".into())
}

fn create_without_id(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::base())?;
    fails(lab, &["create", "--bundle", &container.bundle.to_string_lossy()])
}

fn create_without_bundle(lab: &Lab) -> Verdict {
    let empty = lab.path("empty");
    std::fs::create_dir_all(&empty)?;
    // In a directory that is no bundle; and with one that does not exist.
    let mut command = lab.command(&["create", &unknown(lab)]);
    command.current_dir(&empty);
    ensure(!lab.finish(command, "none")?.ok(), || "create without a bundle succeeds".into())?;
    fails(lab, &["create", "--bundle", &lab.text("nowhere"), &unknown(lab)])?;
    fails(lab, &["state", &unknown(lab)])
}

fn refused_again(lab: &Lab, container: &Container<'_>) -> Verdict {
    let before = container.state()?;
    let mut command = lab.command(&["create", "--bundle"]);
    command.arg(&container.bundle).arg(&container.id);
    let answer = lab.finish(command, "again")?;
    ensure(!answer.ok(), || "create with the same id succeeds".into())?;
    let after = container.state()?;
    equal("pid after the refused create", &after["pid"], &before["pid"])?;
    equal("status after the refused create", &after["status"], &before["status"])
}

fn create_twice(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["create:/mark"]))?;
    container.create()?;
    refused_again(lab, &container)?;
    container.start()?;
    container.wait()?;
    ensure(container.root().join("mark").exists(), || "the first container does not work any more".into())?;
    container.delete()
}

fn create_of_running(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    refused_again(lab, &container)?;
    container.stop()?;
    container.delete()
}

fn create_of_stopped(lab: &Lab) -> Verdict {
    let container = stopped(lab, "a")?;
    refused_again(lab, &container)?;
    container.delete()
}

/// The specification lets delete refuse a container that is not stopped; runtimes that remove it must remove it wholly.
fn delete_of_created(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["wait"]))?;
    container.create()?;
    if lab.run(&["delete", &container.id])?.ok() {
        return fails(lab, &["state", &container.id]);
    }
    equal("status after the refused delete", container.status()?, "created")?;
    container.clear();
    Ok(())
}

fn start_of_running(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    container.must_fail(&["start", &container.id])?;
    equal("status", container.status()?, "running")?;
    container.stop()?;
    container.delete()
}

fn start_of_stopped(lab: &Lab) -> Verdict {
    let container = stopped(lab, "a")?;
    container.must_fail(&["start", &container.id])?;
    equal("status", container.status()?, "stopped")?;
    container.delete()
}

fn delete_of_running(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    container.must_fail(&["delete", &container.id])?;
    equal("status", container.status()?, "running")?;
    container.stop()?;
    container.delete()
}

fn kill_of_stopped(lab: &Lab) -> Verdict {
    let container = stopped(lab, "a")?;
    container.must_fail(&["kill", &container.id, "TERM"])?;
    equal("status", container.status()?, "stopped")?;
    container.delete()
}

fn kill_of_created(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["wait"]))?;
    container.create()?;
    container.kill("KILL")?;
    container.wait()?;
    container.becomes("stopped")?;
    container.delete()
}

fn signalled(lab: &Lab, name: &str, word: &str, number: i32) -> Verdict {
    let container = lab.container(name, &config::probing(&["block", "create:/mark", "signal"]))?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    container.kill(word)?;
    container.wait()?;
    let said: serde_json::Value = serde_json::from_str(&container.output()?)?;
    equal(&format!("signal received after kill {word}"), &said["signal"]["signal"], &json!(number))?;
    container.delete()
}

fn kill_sends(lab: &Lab) -> Verdict {
    for (name, word, number) in [("a", "TERM", 15), ("b", "USR1", 10), ("c", "HUP", 1)] {
        signalled(lab, name, word, number)?;
    }
    Ok(())
}

fn kill_words(lab: &Lab) -> Verdict {
    for (name, word, number) in [("a", "SIGUSR2", 12), ("b", "USR2", 12), ("c", "12", 12)] {
        signalled(lab, name, word, number)?;
    }
    Ok(())
}

/// The signal goes to the container's process, not to its children.
fn kill_reaches_one(lab: &Lab) -> Verdict {
    // Unlike its parent the child does not block the signal.
    let child = "start:/probe:create:/child;wait";
    let actions = [child, "wait-for:/child", "block", "create:/mark", "signal", "sleep:200", "others"];
    let container = lab.container("a", &config::probing(&actions))?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    container.kill("USR1")?;
    equal("end", container.wait()?, End::Code(0))?;
    let said: serde_json::Value = serde_json::from_str(&container.output()?)?;
    equal("living children", &said["others"]["alive"], &json!(1))?;
    container.delete()
}

fn id_again(lab: &Lab) -> Verdict {
    let container = stopped(lab, "a")?;
    container.delete()?;
    container.create()?;
    equal("status", container.status()?, "created")?;
    container.start()?;
    container.wait()?;
    container.delete()
}

fn delete_foreign(lab: &Lab) -> Verdict {
    std::fs::write(lab.path("kept"), "text")?;
    let mount =
        json!({"destination": "/data", "type": "none", "source": lab.text("kept-directory"), "options": ["rbind"]});
    std::fs::create_dir_all(lab.path("kept-directory/below"))?;
    let container = lab.container("a", &config::with_mount(mount))?;
    container.create()?;
    container.start()?;
    container.wait()?;
    container.delete()?;
    ensure(lab.path("kept-directory/below").exists(), || "delete removed the source of a mount".into())?;
    ensure(container.root().join("probe").exists(), || "delete removed the root file system".into())?;
    ensure(container.bundle.join("config.json").exists(), || "delete removed the bundle".into())
}

fn delete_removes(lab: &Lab) -> Verdict {
    let container = running(lab, "a")?;
    let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", container.pid()))?;
    container.stop()?;
    container.delete()?;
    let left = crate::leaks::find_patiently(lab);
    ensure(left.is_empty(), || format!("left: {left:?}; its cgroups were {groups:?}"))
}

fn children_die(lab: &Lab) -> Verdict {
    let container = lab.container("a", &config::probing(&["spawn:/probe:create:/mark;wait"]))?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    container.stop()?;
    container.delete()?;
    let left = crate::leaks::find_patiently(lab);
    ensure(left.is_empty(), || format!("left: {left:?}"))
}

fn two_containers(lab: &Lab) -> Verdict {
    let (first, second) = (running(lab, "a")?, running(lab, "b")?);
    ensure(first.pid() != second.pid(), || "two containers have one pid".into())?;
    first.stop()?;
    equal("status of the other", second.status()?, "running")?;
    first.delete()?;
    equal("status of the other after delete", second.status()?, "running")?;
    second.stop()?;
    second.delete()
}

fn no_process(lab: &Lab) -> Verdict {
    let mut config = config::base();
    config.as_object_mut().ok_or("no object")?.remove("process");
    let container = lab.container("a", &config)?;
    if container.try_create()?.ok() {
        container.must_fail(&["start", &container.id])?;
        container.clear();
    }
    Ok(())
}
