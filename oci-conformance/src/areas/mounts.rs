//! mounts: order, kinds of source, kinds of destination, and the file systems that are expected.

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("mounts.are_made_in_order", &["C-mounts-order"], order),
    core("mounts.later_hides_earlier", &["C-mounts-order"], later_hides),
    core("mounts.relative_destination_is_from_root", &["C-mounts-relative"], relative),
    core("mounts.bind_of_a_file", &["C-option-bind"], bind_file),
    core("mounts.bind_source_is_relative_to_bundle", &["C-option-bind"], relative_source),
    core("mounts.missing_destination_is_made", &["R-create-applies"], missing_destination),
    core("mounts.type_of_a_bind_is_ignored", &["C-option-bind"], dummy_type),
    core("mounts.tmpfs_takes_data", &["C-option-unknown"], tmpfs_data),
    core("mounts.destination_symlink_stays_inside", &["R-create-applies"], symlink),
    core("mounts.same_destination_twice_works", &["C-mounts-order"], twice),
    core("mounts.mqueue_works", &["R-create-applies"], |lab| one(lab, "mqueue", "/dev/mqueue", "mqueue")),
    core("mounts.ramfs_works", &["R-create-applies"], |lab| one(lab, "ramfs", "/data", "ramfs")),
    core("mounts.proc_is_of_the_pid_namespace", &["L-default-proc"], own_proc),
    core("filesystems.proc_is_there", &["L-default-proc"], |lab| default_fs(lab, "/proc", "proc")),
    core("filesystems.sys_is_there", &["L-default-sys"], |lab| default_fs(lab, "/sys", "sysfs")),
    core("filesystems.pts_is_there", &["L-default-pts"], |lab| default_fs(lab, "/dev/pts", "devpts")),
    core("filesystems.shm_is_there", &["L-default-shm"], |lab| default_fs(lab, "/dev/shm", "tmpfs")),
];

/// The row of the last mount on a target.
pub fn mount_at<'a>(facts: &'a Value, target: &str) -> Result<&'a Value, Failure> {
    let rows = facts["mounts"].as_array().ok_or("no table of mounts")?;
    rows.iter()
        .rev()
        .find(|row| row["target"] == target)
        .ok_or_else(|| Failure(format!("nothing is mounted at {target}")))
}

/// Makes a directory of the lab with one file in it.
pub fn source(lab: &Lab, name: &str) -> Result<String, Failure> {
    std::fs::create_dir_all(lab.path(name))?;
    std::fs::write(lab.path(name).join(format!("in-{name}")), name)?;
    Ok(lab.text(name))
}

fn order(lab: &Lab) -> Verdict {
    let mut config = config::base();
    // The second can only be made inside of the first, the third inside of the second.
    for place in ["/data", "/data/one", "/data/one/two"] {
        config::push(&mut config, "/mounts", json!({"destination": place, "type": "tmpfs", "source": "tmpfs"}));
    }
    let facts = lab.facts(&config)?;
    let (first, second) = (mount_at(&facts, "/data")?, mount_at(&facts, "/data/one")?);
    equal("parent of the second mount", &second["parent"], &first["id"])?;
    equal("parent of the third mount", &mount_at(&facts, "/data/one/two")?["parent"], &second["id"])
}

fn later_hides(lab: &Lab) -> Verdict {
    let mut config = config::base();
    let bind =
        json!({"destination": "/data/below", "type": "none", "source": source(lab, "early")?, "options": ["bind"]});
    config::push(&mut config, "/mounts", bind);
    config::push(&mut config, "/mounts", json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs"}));
    let said = lab.ask(&config, &["stat:/data/below"])?;
    equal("the hidden mount", said["stat:/data/below"]["errno"].as_i64(), Some(2))
}

fn relative(lab: &Lab) -> Verdict {
    let mount = json!({"destination": "data/here", "type": "tmpfs", "source": "tmpfs"});
    let mut config = config::with_mount(mount);
    config["process"]["cwd"] = json!("/tmp");
    let facts = lab.facts(&config)?;
    equal("type at /data/here", &mount_at(&facts, "/data/here")?["type"], &json!("tmpfs"))
}

fn bind_file(lab: &Lab) -> Verdict {
    std::fs::write(lab.path("file"), "from the host")?;
    let mount = json!({"destination": "/etc/file", "type": "none", "source": lab.text("file"), "options": ["bind"]});
    let said = lab.ask(&config::with_mount(mount), &["read:/etc/file"])?;
    equal("text", &said["read:/etc/file"]["text"], &json!("from the host"))
}

fn relative_source(lab: &Lab) -> Verdict {
    let mount = json!({"destination": "/data", "type": "none", "source": "beside", "options": ["bind"]});
    let said = lab.ask_in("a", &config::with_mount(mount), &["read:/data/text"], |root| {
        let beside = root.with_file_name("beside");
        std::fs::create_dir(&beside)?;
        Ok(std::fs::write(beside.join("text"), "beside")?)
    })?;
    equal("text", &said["read:/data/text"]["text"], &json!("beside"))
}

fn missing_destination(lab: &Lab) -> Verdict {
    let mount = json!({"destination": "/not/there/yet", "type": "tmpfs", "source": "tmpfs"});
    let facts = lab.facts(&config::with_mount(mount))?;
    mount_at(&facts, "/not/there/yet").map(|_| ())
}

fn dummy_type(lab: &Lab) -> Verdict {
    for (name, kind) in [("a", "bind"), ("b", "none"), ("c", "whatever")] {
        let mount =
            json!({"destination": "/data", "type": kind, "source": source(lab, "dummy")?, "options": ["rbind"]});
        let said = lab.ask_in(name, &config::with_mount(mount), &["read:/data/in-dummy"], |_| Ok(()))?;
        equal(kind, &said["read:/data/in-dummy"]["text"], &json!("dummy"))?;
    }
    Ok(())
}

fn tmpfs_data(lab: &Lab) -> Verdict {
    let options = json!(["size=1024k", "mode=751", "uid=7", "gid=8"]);
    let mount = json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs", "options": options});
    let said = lab.ask(&config::with_mount(mount), &["facts", "stat:/data"])?;
    let row = mount_at(&said["facts"], "/data")?;
    ensure(row["super"].as_array().is_some_and(|list| list.contains(&json!("size=1024k"))), || row.to_string())?;
    equal("mode", &said["stat:/data"]["mode"], &json!(0o751))?;
    equal("owner", &said["stat:/data"]["uid"], &json!(7))?;
    equal("group", &said["stat:/data"]["gid"], &json!(8))
}

fn symlink(lab: &Lab) -> Verdict {
    let target = lab.path("outside");
    std::fs::create_dir_all(&target)?;
    let mount = json!({"destination": "/link/inner", "type": "tmpfs", "source": "tmpfs"});
    let mut config = config::with_mount(mount);
    config::set_actions(&mut config, &["facts"]);
    let container = lab.container("a", &config)?;
    std::os::unix::fs::symlink(&target, container.root().join("link"))?;
    // Refusing is as good as resolving inside.
    if container.try_create()?.ok() {
        container.start()?;
        container.wait()?;
        container.delete()?;
    }
    ensure(std::fs::read_dir(&target)?.next().is_none(), || "the destination was made on the host".into())
}

fn twice(lab: &Lab) -> Verdict {
    let mut config = config::base();
    for name in ["first", "second"] {
        let mount = json!({"destination": "/data", "type": "none", "source": source(lab, name)?, "options": ["bind"]});
        config::push(&mut config, "/mounts", mount);
    }
    let said = lab.ask(&config, &["list:/data"])?;
    equal("names", &said["list:/data"]["names"], &json!(["in-second"]))
}

fn one(lab: &Lab, kind: &str, place: &str, wanted: &str) -> Verdict {
    let facts = lab.facts(&config::with_mount(json!({"destination": place, "type": kind, "source": kind})))?;
    equal("type", &mount_at(&facts, place)?["type"], &json!(wanted))
}

fn own_proc(lab: &Lab) -> Verdict {
    let said = lab.ask(&config::base(), &["list:/proc", "readlink:/proc/self"])?;
    equal("/proc/self", &said["readlink:/proc/self"]["text"], &json!("1"))?;
    let names = said["list:/proc"]["names"].as_array().cloned().unwrap_or_default();
    let numbers: Vec<_> =
        names.iter().filter(|name| name.as_str().is_some_and(|name| name.parse::<u32>().is_ok())).collect();
    equal("processes in /proc", numbers, vec![&json!("1")])
}

fn default_fs(lab: &Lab, place: &str, kind: &str) -> Verdict {
    let facts = lab.facts(&config::base())?;
    equal("type", &mount_at(&facts, place)?["type"], &json!(kind))
}
