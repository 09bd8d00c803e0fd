//! linux.devices, the devices that are always there, and what the cgroup lets through.

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("devices.null_is_there", &["L-dev-null"], |lab| default_device(lab, "/dev/null", 1, 3)),
    core("devices.zero_is_there", &["L-dev-zero"], |lab| default_device(lab, "/dev/zero", 1, 5)),
    core("devices.full_is_there", &["L-dev-full"], |lab| default_device(lab, "/dev/full", 1, 7)),
    core("devices.random_is_there", &["L-dev-random"], |lab| default_device(lab, "/dev/random", 1, 8)),
    core("devices.urandom_is_there", &["L-dev-urandom"], |lab| default_device(lab, "/dev/urandom", 1, 9)),
    core("devices.tty_is_there", &["L-dev-tty"], |lab| default_device(lab, "/dev/tty", 5, 0)),
    core("devices.ptmx_is_the_containers", &["L-dev-ptmx"], ptmx),
    core("devices.no_console_without_terminal", &["L-dev-console"], no_console),
    core("devices.usual_links_are_there", &["R-create-applies"], links),
    core("devices.character_device_is_made", &["L-device-there"], character),
    core("devices.block_device_is_made", &["L-device-there"], block),
    core("devices.fifo_is_made", &["L-device-there"], fifo),
    core("devices.outside_of_dev_works", &["L-device-there"], outside),
    core("devices.other_file_at_path_is_refused", &["L-device-other"], other_file),
    core("devices.in_user_namespace_are_there", &["L-device-there", "L-dev-null"], user_namespace),
    core("devices.default_devices_can_be_used", &["L-dev-null"], usable),
    core("devices.rules_deny", &["L-device-order"], denied).needs(&[Need::Root, Need::V1("devices")]),
    core("devices.rules_apply_in_order", &["L-device-order"], in_order).needs(&[Need::Root, Need::V1("devices")]),
    core("devices.rules_tell_kinds_of_access_apart", &["L-device-order"], access)
        .needs(&[Need::Root, Need::V1("devices")]),
];

fn is_device(said: &Value, path: &str, kind: &str, major: u32, minor: u32) -> Verdict {
    let found = &said[format!("stat:{path}")];
    let right = found["type"] == kind && found["major"] == json!(major) && found["minor"] == json!(minor);
    ensure(right, || format!("{path} is {found}"))
}

fn default_device(lab: &Lab, path: &str, major: u32, minor: u32) -> Verdict {
    let said = lab.ask(&config::base(), &[&format!("stat:{path}")])?;
    is_device(&said, path, "c", major, minor)?;
    equal("mode", &said[format!("stat:{path}")]["mode"], &json!(0o666))
}

fn ptmx(lab: &Lab) -> Verdict {
    let said =
        lab.ask(&config::base(), &["stat:/dev/ptmx", "readlink:/dev/ptmx", "stat:/dev/pts/ptmx", "open:/dev/ptmx:rw"])?;
    let link = said["readlink:/dev/ptmx"]["text"].as_str();
    let same = said["stat:/dev/ptmx"]["device"] == said["stat:/dev/pts/ptmx"]["device"];
    ensure(matches!(link, Some("pts/ptmx" | "/dev/pts/ptmx")) || same, || format!("/dev/ptmx is {said}"))?;
    equal("opening it", said["open:/dev/ptmx:rw"]["errno"].as_i64(), None)
}

fn no_console(lab: &Lab) -> Verdict {
    let said = lab.ask(&config::base(), &["facts"])?;
    ensure(super::mounts::mount_at(&said["facts"], "/dev/console").is_err(), || "/dev/console is mounted".into())
}

fn links(lab: &Lab) -> Verdict {
    let said = lab.ask(
        &config::base(),
        &["readlink:/dev/fd", "readlink:/dev/stdin", "readlink:/dev/stdout", "readlink:/dev/stderr"],
    )?;
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        equal(name, &said[format!("readlink:/dev/{name}")]["text"], &json!(target))?;
    }
    Ok(())
}

/// The base with a device, which the cgroup allows as well.
fn with_device(device: Value) -> Value {
    let mut config = config::with("/linux/devices", json!([device]));
    let rule = json!({"allow": true, "type": device["type"], "major": device["major"], "minor": device["minor"], "access": "rwm"});
    if device["type"] != "p" {
        config::push(&mut config, "/linux/resources/devices", rule);
    }
    config
}

fn character(lab: &Lab) -> Verdict {
    let device =
        json!({"path": "/dev/probe", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 11, "gid": 12});
    let said = lab.ask(&with_device(device), &["stat:/dev/probe"])?;
    is_device(&said, "/dev/probe", "c", 1, 7)?;
    let found = &said["stat:/dev/probe"];
    equal("mode", &found["mode"], &json!(0o640))?;
    equal("owner", &found["uid"], &json!(11))?;
    equal("group", &found["gid"], &json!(12))
}

fn block(lab: &Lab) -> Verdict {
    let device = json!({"path": "/dev/disk", "type": "b", "major": 7, "minor": 250, "fileMode": 0o600});
    let said = lab.ask(&with_device(device), &["stat:/dev/disk"])?;
    is_device(&said, "/dev/disk", "b", 7, 250)
}

fn fifo(lab: &Lab) -> Verdict {
    let said =
        lab.ask(&with_device(json!({"path": "/dev/pipe", "type": "p", "fileMode": 0o622})), &["stat:/dev/pipe"])?;
    equal("type", &said["stat:/dev/pipe"]["type"], &json!("p"))?;
    equal("mode", &said["stat:/dev/pipe"]["mode"], &json!(0o622))
}

fn outside(lab: &Lab) -> Verdict {
    let device = json!({"path": "/deep/in/there", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666});
    let said = lab.ask(&with_device(device), &["stat:/deep/in/there"])?;
    is_device(&said, "/deep/in/there", "c", 1, 3)
}

fn other_file(lab: &Lab) -> Verdict {
    let config = with_device(json!({"path": "/etc/occupied", "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}));
    let container = lab.container("a", &config)?;
    std::fs::write(container.root().join("etc/occupied"), "text")?;
    ensure(!container.try_create()?.ok(), || "create accepts a text file where the device should be".into())?;
    lab.nothing_of(&container)?;
    equal("the file", std::fs::read_to_string(container.root().join("etc/occupied"))?.as_str(), "text")
}

fn user_namespace(lab: &Lab) -> Verdict {
    let mut config = config::with_user_namespace(100_000);
    config["linux"]["devices"] = json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11}]);
    let actions = ["stat:/dev/null", "stat:/dev/full", "stat:/dev/kmsg", "open:/dev/null:rw"];
    // No mknod in a user namespace: runtimes bind the host's node, so it is one that every host has.
    let said = lab.ask_in("a", &config, &actions, |root| super::namespaces::give_to(root, 100_000))?;
    is_device(&said, "/dev/null", "c", 1, 3)?;
    is_device(&said, "/dev/full", "c", 1, 7)?;
    is_device(&said, "/dev/kmsg", "c", 1, 11)?;
    equal("opening /dev/null", said["open:/dev/null:rw"]["errno"].as_i64(), None)
}

fn usable(lab: &Lab) -> Verdict {
    let actions = [
        "open:/dev/null:rw",
        "open:/dev/zero:r",
        "open:/dev/full:rw",
        "open:/dev/random:r",
        "open:/dev/urandom:r",
        "write:/dev/full:x",
    ];
    let mut config = config::base();
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let said = lab.ask(&config, &actions)?;
    for action in actions.iter().take(5) {
        equal(action, said[*action]["errno"].as_i64(), None)?;
    }
    equal("writing to /dev/full", said["write:/dev/full:x"]["errno"].as_i64(), Some(28))
}

const NOT_PERMITTED: Option<i64> = Some(1);

/// mem is none of the default devices; making its node and opening it are refused by the cgroup alone.
fn denied(lab: &Lab) -> Verdict {
    let said = lab.ask(&config::base(), &["mknod:/tmp/loop:b:7:0", "mknod:/tmp/null:c:1:3", "open:/tmp/loop:r"])?;
    let found = said["open:/tmp/loop:r"]["errno"].as_i64();
    ensure(found == NOT_PERMITTED || found == Some(2), || format!("opening a device that is denied: {said}"))?;
    let with_node = lab.ask_in("b", &config::base(), &["open:/etc/fuse:rw"], |root| node(root, "etc/fuse", 10, 229))?;
    equal("opening the host's /dev/fuse", with_node["open:/etc/fuse:rw"]["errno"].as_i64(), NOT_PERMITTED)
}

fn node(root: &std::path::Path, name: &str, major: u64, minor: u64) -> Result<(), crate::verdict::Failure> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    Ok(mknod(&root.join(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor))?)
}

fn rules(lab: &Lab, name: &str, list: Value, action: &str) -> Result<Option<i64>, crate::verdict::Failure> {
    // kmsg (1:11): reading it needs no more than the permission of the cgroup, and CAP_SYSLOG.
    let mut config = config::with_capability("CAP_SYSLOG");
    config["linux"]["resources"]["devices"] = list;
    let said = lab.ask_in(name, &config, &[action], |root| node(root, "etc/kmsg", 1, 11))?;
    Ok(said[action]["errno"].as_i64())
}

fn in_order(lab: &Lab) -> Verdict {
    let all = json!({"allow": false, "access": "rwm"});
    let yes = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rwm"});
    let no = json!({"allow": false, "type": "c", "major": 1, "minor": 11, "access": "rwm"});
    equal("deny all, allow", rules(lab, "a", json!([all, yes]), "open:/etc/kmsg:r")?, None)?;
    equal("deny all, allow, deny", rules(lab, "b", json!([all, yes, no]), "open:/etc/kmsg:r")?, NOT_PERMITTED)?;
    equal("allow, deny all", rules(lab, "c", json!([yes, all]), "open:/etc/kmsg:r")?, NOT_PERMITTED)
}

fn access(lab: &Lab) -> Verdict {
    let all = json!({"allow": false, "access": "rwm"});
    let read = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"});
    equal("reading", rules(lab, "a", json!([all, read]), "open:/etc/kmsg:r")?, None)?;
    equal("writing", rules(lab, "b", json!([all, read]), "open:/etc/kmsg:w")?, NOT_PERMITTED)
}
