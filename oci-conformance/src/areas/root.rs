//! root.path, root.readonly and rootfsPropagation.

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("root.is_the_bundles", &["R-env"], is_bundles),
    core("root.absolute_path_works", &["R-env"], absolute),
    core("root.other_name_works", &["R-env"], other_name),
    core("root.readonly_refuses_writing", &["C-root-readonly"], readonly),
    core("root.writable_by_default", &["R-env"], writable),
    core("root.readonly_leaves_mounts_writable", &["C-root-readonly"], readonly_mounts),
    core("root.host_is_out_of_reach", &["R-env"], host_hidden),
    core("propagation.private_stays_private", &["R-env"], |lab| propagation(lab, "private", &[])),
    core("propagation.slave_is_slave", &["R-env"], |lab| propagation(lab, "slave", &["master:"])),
    core("propagation.shared_is_shared", &["R-env"], |lab| propagation(lab, "shared", &["shared:"])),
    core("propagation.unbindable_is_unbindable", &["R-env"], |lab| propagation(lab, "unbindable", &["unbindable"])),
    core("propagation.container_mounts_stay_inside", &["R-env"], stays_inside),
    core("propagation.unknown_word_is_refused", &["C-valid"], |lab| {
        lab.create_refuses(&config::with("/linux/rootfsPropagation", json!("sideways")))
    }),
];

fn is_bundles(lab: &Lab) -> Verdict {
    let said = lab.ask_in("a", &config::base(), &["read:/etc/only-here", "list:/"], |root| {
        Ok(std::fs::write(root.join("etc/only-here"), "text")?)
    })?;
    equal("a file of the root", &said["read:/etc/only-here"]["text"], &json!("text"))?;
    ensure(said["list:/"]["names"].as_array().is_some_and(|names| names.contains(&json!("probe"))), || said.to_string())
}

fn absolute(lab: &Lab) -> Verdict {
    let config = config::with("/root/path", json!(lab.text("bundle-a/rootfs")));
    lab.ask(&config, &["stat:/probe"]).map(|_| ())
}

fn other_name(lab: &Lab) -> Verdict {
    let mut config = config::with("/root/path", json!("another/place"));
    config::set_actions(&mut config, &["create:/mark"]);
    let container = lab.container("a", &config)?;
    std::fs::create_dir_all(container.bundle.join("another"))?;
    std::fs::rename(container.root(), container.bundle.join("another/place"))?;
    container.create()?;
    container.start()?;
    container.wait()?;
    container.delete()?;
    ensure(container.bundle.join("another/place/mark").exists(), || "the program wrote elsewhere".into())
}

const READ_ONLY: i64 = 30;

fn readonly(lab: &Lab) -> Verdict {
    let said = lab
        .ask(&config::with("/root/readonly", json!(true)), &["create:/x", "mkdir:/etc/x", "unlink:/probe", "facts"])?;
    for action in ["create:/x", "mkdir:/etc/x", "unlink:/probe"] {
        equal(action, said[action]["errno"].as_i64(), Some(READ_ONLY))?;
    }
    Ok(())
}

fn writable(lab: &Lab) -> Verdict {
    let said = lab.ask(&config::base(), &["create:/x"])?;
    equal("create:/x", said["create:/x"]["errno"].as_i64(), None)
}

fn readonly_mounts(lab: &Lab) -> Verdict {
    let mut config = config::with("/root/readonly", json!(true));
    config::push(&mut config, "/mounts", json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}));
    let said = lab.ask(&config, &["create:/tmp/x", "create:/dev/shm/x"])?;
    equal("a file on a tmpfs", said["create:/tmp/x"]["errno"].as_i64(), None)?;
    equal("a file on /dev/shm", said["create:/dev/shm/x"]["errno"].as_i64(), None)
}

fn host_hidden(lab: &Lab) -> Verdict {
    let up = format!("list:{}", "/..".repeat(12));
    let directory = format!("stat:{}", lab.directory.display());
    let said = lab.ask(&config::base(), &[&up, &directory, "facts"])?;
    ensure(said[&directory]["errno"].is_i64(), || "the host's directory is visible inside".into())?;
    let names = said[&up]["names"].as_array().cloned().unwrap_or_default();
    ensure(names.contains(&json!("probe")), || format!("/../.. leads to {names:?}"))?;
    let roots = mounts_at(&said["facts"], "/");
    equal("mounts at /", roots.len(), 1)
}

fn mounts_at(facts: &Value, target: &str) -> Vec<Value> {
    facts["mounts"].as_array().into_iter().flatten().filter(|row| row["target"] == target).cloned().collect()
}

/// The root's propagation as mountinfo tells it.
fn propagation(lab: &Lab, word: &str, wanted: &[&str]) -> Verdict {
    let facts = inside_shared(lab, word)?;
    let rows = mounts_at(&facts, "/");
    let row = rows.last().ok_or("no mount at /")?;
    let found: Vec<&str> = row["propagation"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for prefix in ["shared:", "master:", "unbindable"] {
        let there = found.iter().any(|tag| tag.starts_with(prefix));
        // A root that is shared may be a slave as well.
        if prefix == "master:" && word == "shared" {
            continue;
        }
        ensure(there == wanted.contains(&prefix), || format!("{word}: the root's propagation is {found:?}"))?;
    }
    Ok(())
}

/// Puts the root file system on a shared mount of its own, as a host's file systems are under systemd.
fn inside_shared(lab: &Lab, word: &str) -> Result<Value, Failure> {
    let mut config = config::with("/linux/rootfsPropagation", json!(word));
    config::set_actions(&mut config, &["facts"]);
    let container = lab.container("a", &config)?;
    let shared = Shared::new(&container.root())?;
    container.create()?;
    container.start()?;
    container.wait()?;
    let facts = serde_json::from_str::<Value>(&container.output()?)?["facts"].clone();
    container.delete()?;
    drop(shared);
    Ok(facts)
}

/// A shared bind mount of a directory onto itself.
#[derive(Debug)]
pub struct Shared(std::path::PathBuf);

impl Shared {
    pub fn new(path: &std::path::Path) -> Result<Self, Failure> {
        use nix::mount::{MsFlags, mount};
        mount(Some(path), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        let made = Self(path.to_owned());
        mount(None::<&str>, path, None::<&str>, MsFlags::MS_SHARED, None::<&str>)?;
        Ok(made)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.0, nix::mount::MntFlags::MNT_DETACH);
    }
}

/// What the container mounts does not appear on the host, whatever the root's mount on the host is.
fn stays_inside(lab: &Lab) -> Verdict {
    let mut config = config::with_mount(json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs"}));
    config::set_actions(&mut config, &["create:/mark", "wait"]);
    let container = lab.container("a", &config)?;
    let shared = Shared::new(&container.root())?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    let place = format!(" {}/", container.root().display());
    let leaked: Vec<&str> = table.lines().filter(|line| line.contains(&place)).collect();
    ensure(leaked.is_empty(), || format!("on the host there are {leaked:?}"))?;
    container.stop()?;
    container.delete()?;
    drop(shared);
    Ok(())
}
