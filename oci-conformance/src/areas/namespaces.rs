//! linux.namespaces, mappings of users, time offsets.

use std::path::Path;

use serde_json::{Value, json};

use crate::config;
use crate::holder::Holder;
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

/// In the configuration, and in /proc.
const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

pub const TESTS: &[Test] = &[
    core("namespaces.pid_is_new", &["L-ns-pid", "L-ns-new"], |lab| is_new(lab, "pid")),
    core("namespaces.network_is_new", &["L-ns-network", "L-ns-new"], |lab| is_new(lab, "network")),
    core("namespaces.mount_is_new", &["L-ns-mount", "L-ns-new"], |lab| is_new(lab, "mount")),
    core("namespaces.ipc_is_new", &["L-ns-ipc", "L-ns-new"], |lab| is_new(lab, "ipc")),
    core("namespaces.uts_is_new", &["L-ns-uts", "L-ns-new"], |lab| is_new(lab, "uts")),
    core("namespaces.user_is_new", &["L-ns-user", "L-ns-new"], |lab| is_new(lab, "user")),
    core("namespaces.cgroup_is_new", &["L-ns-cgroup", "L-ns-new"], |lab| is_new(lab, "cgroup")),
    core("namespaces.time_is_new", &["L-ns-time", "L-ns-new"], |lab| is_new(lab, "time")).needs(&[
        Need::Root,
        Need::Namespace("time"),
        Need::Spec(1),
    ]),
    core("namespaces.pid_is_joined", &["L-ns-join"], |lab| is_joined(lab, "pid")),
    core("namespaces.network_is_joined", &["L-ns-join"], |lab| is_joined(lab, "network")),
    core("namespaces.ipc_is_joined", &["L-ns-join"], |lab| is_joined(lab, "ipc")),
    core("namespaces.uts_is_joined", &["L-ns-join"], |lab| is_joined(lab, "uts")),
    core("namespaces.cgroup_is_joined", &["L-ns-join"], |lab| is_joined(lab, "cgroup")),
    core("namespaces.time_is_joined", &["L-ns-join"], |lab| is_joined(lab, "time")).needs(&[
        Need::Root,
        Need::Namespace("time"),
        Need::Spec(1),
    ]),
    core("namespaces.user_is_joined", &["L-ns-join"], user_is_joined),
    core("namespaces.absent_pid_is_inherited", &["L-ns-inherit"], |lab| is_inherited(lab, "pid")),
    core("namespaces.absent_network_is_inherited", &["L-ns-inherit"], |lab| is_inherited(lab, "network")),
    core("namespaces.absent_ipc_is_inherited", &["L-ns-inherit"], |lab| is_inherited(lab, "ipc")),
    core("namespaces.absent_uts_is_inherited", &["L-ns-inherit"], |lab| is_inherited(lab, "uts")),
    core("namespaces.absent_user_is_inherited", &["L-ns-inherit"], |lab| is_inherited(lab, "user")),
    core("namespaces.absent_cgroup_is_inherited", &["L-ns-inherit"], |lab| is_inherited(lab, "cgroup")),
    core("namespaces.same_kind_twice_is_refused", &["L-ns-twice"], |lab| {
        let mut config = config::base();
        config::push(&mut config, "/linux/namespaces", json!({"type": "uts"}));
        lab.create_refuses(&config)
    }),
    core("namespaces.path_of_another_kind_is_refused", &["L-ns-kind"], wrong_kind),
    core("namespaces.path_to_nothing_is_refused", &["R-create-property"], |lab| {
        lab.create_refuses(&joining("network", &lab.text("nothing")))
    }),
    core("namespaces.path_to_a_file_is_refused", &["L-ns-kind"], |lab| {
        std::fs::write(lab.path("file"), "")?;
        lab.create_refuses(&joining("network", &lab.text("file")))
    }),
    core("namespaces.joined_ones_outlive_the_container", &["R-delete-foreign"], outlives),
    core("namespaces.loopback_is_there", &["L-ns-network"], loopback),
    core("mappings.are_exact", &["R-create-applies"], mappings),
    core("mappings.several_ranges_work", &["R-create-applies"], ranges),
    core("mappings.groups_have_their_own", &["R-create-applies"], own_groups),
    core("mappings.process_is_root_inside", &["R-create-applies"], root_inside),
    core("mappings.user_inside_is_mapped", &["R-create-applies"], user_inside),
    core("mappings.do_not_change_owners", &["L-user-chown"], owners),
    core("mappings.overlapping_are_refused", &["C-valid"], overlapping),
    core("time.offsets_are_applied", &["R-create-applies"], offsets).needs(&[
        Need::Root,
        Need::Namespace("time"),
        Need::Spec(1),
    ]),
    core("time.negative_offset_is_applied", &["R-create-applies"], negative).needs(&[
        Need::Root,
        Need::Namespace("time"),
        Need::Spec(1),
    ]),
    core("time.unknown_clock_is_refused", &["C-valid"], |lab| {
        let mut config = config::with("/linux/timeOffsets", json!({"sundial": {"secs": 1}}));
        config::push(&mut config, "/linux/namespaces", json!({"type": "time"}));
        lab.create_refuses(&config)
    })
    .needs(&[Need::Root, Need::Namespace("time"), Need::Spec(1)]),
];

fn file_of(kind: &str) -> &'static str {
    KINDS.iter().find(|(name, _)| *name == kind).map_or("", |(_, file)| file)
}

fn own(kind: &str) -> Result<Value, Failure> {
    Ok(json!(std::fs::read_link(format!("/proc/self/ns/{}", file_of(kind)))?))
}

/// The base with this kind of namespace alone decided: new where `path` is empty.
fn joining(kind: &str, path: &str) -> Value {
    let mut config = if kind == "user" { config::with_user_namespace(100_000) } else { config::base() };
    config::without_namespace(&mut config, kind);
    let entry = if path.is_empty() { json!({"type": kind}) } else { json!({"type": kind, "path": path}) };
    config::push(&mut config, "/linux/namespaces", entry);
    config
}

/// Files that a container of a mapped root shall be able to change belong to that root.
pub fn give_to(root: &Path, id: u32) -> Verdict {
    std::os::unix::fs::chown(root, Some(id), Some(id))?;
    for entry in std::fs::read_dir(root)?.flatten() {
        // The probe is one file for all tests.
        if entry.file_name() != "probe" {
            std::os::unix::fs::chown(entry.path(), Some(id), Some(id))?;
        }
    }
    Ok(())
}

fn facts_as(lab: &Lab, config: &Value, id: u32) -> Result<Value, Failure> {
    let said = lab.ask_in("a", config, &["facts"], |root| if id == 0 { Ok(()) } else { give_to(root, id) })?;
    Ok(said["facts"].clone())
}

fn is_new(lab: &Lab, kind: &str) -> Verdict {
    let facts = facts_as(lab, &joining(kind, ""), if kind == "user" { 100_000 } else { 0 })?;
    let found = &facts["namespaces"][file_of(kind)];
    ensure(found.is_string() && *found != own(kind)?, || format!("the {kind} namespace inside is {found}, the host's"))
}

fn is_joined(lab: &Lab, kind: &str) -> Verdict {
    let holder = Holder::new(&[kind])?;
    let mut config = joining(kind, &holder.path(file_of(kind)));
    if kind == "uts" {
        config.as_object_mut().ok_or("no object")?.remove("hostname");
    }
    if kind == "network" {
        // A new sysfs shows a network namespace only to those who own it; that is not the question here.
        config["mounts"].as_array_mut().ok_or("no mounts")?.retain(|mount| mount["destination"] != "/sys");
    }
    let facts = lab.facts(&config)?;
    equal(kind, &facts["namespaces"][file_of(kind)], &json!(holder.link(file_of(kind))?))
}

fn user_is_joined(lab: &Lab) -> Verdict {
    let holder = Holder::new(&["user"])?;
    let mut config = joining("user", &holder.path("user"));
    for name in ["uidMappings", "gidMappings"] {
        config["linux"].as_object_mut().ok_or("no object")?.remove(name);
    }
    let facts = facts_as(lab, &config, 100_000)?;
    equal("user namespace", &facts["namespaces"]["user"], &json!(holder.link("user")?))?;
    equal("uid inside", &facts["uids"][0], &json!(0))
}

fn is_inherited(lab: &Lab, kind: &str) -> Verdict {
    let mut config = config::base();
    config::without_namespace(&mut config, kind);
    if kind == "uts" {
        config.as_object_mut().ok_or("no object")?.remove("hostname");
    }
    if kind == "network" {
        let mounts = config["mounts"].as_array_mut().ok_or("no mounts")?;
        mounts.retain(|mount| mount["destination"] != "/sys");
    }
    let facts = lab.facts(&config)?;
    equal(kind, &facts["namespaces"][file_of(kind)], &own(kind)?)
}

fn wrong_kind(lab: &Lab) -> Verdict {
    lab.create_refuses(&joining("network", "/proc/self/ns/uts"))?;
    let holder = Holder::new(&["ipc"])?;
    lab.create_refuses(&joining("uts", &holder.path("ipc")))
}

fn outlives(lab: &Lab) -> Verdict {
    let holder = Holder::new(&["network"])?;
    let before = holder.link("net")?;
    for name in ["a", "b"] {
        let said = lab.ask_in(name, &joining("network", &holder.path("net")), &["facts"], |_| Ok(()))?;
        equal("network namespace", &said["facts"]["namespaces"]["net"], &json!(before))?;
    }
    equal("namespace afterwards", holder.link("net")?, before)
}

fn loopback(lab: &Lab) -> Verdict {
    let facts = lab.facts(&config::base())?;
    let list = facts["devices"].as_array().cloned().unwrap_or_default();
    ensure(list.contains(&json!("lo")), || format!("devices: {list:?}"))
}

fn numbers(text: &Value) -> Vec<Vec<u32>> {
    let text = text.as_str().unwrap_or_default();
    text.lines().map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect()).collect()
}

fn mappings(lab: &Lab) -> Verdict {
    let facts = facts_as(lab, &config::with_user_namespace(100_000), 100_000)?;
    equal("uid_map", numbers(&facts["uid_map"]), vec![vec![0, 100_000, 65536]])?;
    equal("gid_map", numbers(&facts["gid_map"]), vec![vec![0, 100_000, 65536]])
}

fn ranges(lab: &Lab) -> Verdict {
    let mut config = config::with_user_namespace(100_000);
    config["linux"]["uidMappings"] = json!([
        {"containerID": 0, "hostID": 100_000, "size": 10},
        {"containerID": 10, "hostID": 200_000, "size": 5},
        {"containerID": 1000, "hostID": 300_000, "size": 1},
    ]);
    let facts = facts_as(lab, &config, 100_000)?;
    equal(
        "uid_map",
        numbers(&facts["uid_map"]),
        vec![vec![0, 100_000, 10], vec![10, 200_000, 5], vec![1000, 300_000, 1]],
    )
}

fn own_groups(lab: &Lab) -> Verdict {
    let mut config = config::with_user_namespace(100_000);
    config["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 200_000, "size": 1000}]);
    let facts = facts_as(lab, &config, 100_000)?;
    equal("uid_map", numbers(&facts["uid_map"]), vec![vec![0, 100_000, 65536]])?;
    equal("gid_map", numbers(&facts["gid_map"]), vec![vec![0, 200_000, 1000]])
}

fn root_inside(lab: &Lab) -> Verdict {
    let mut config = config::with_user_namespace(100_000);
    config::set_actions(&mut config, &["create:/mark", "wait"]);
    let container = lab.container("a", &config)?;
    give_to(&container.root(), 100_000)?;
    container.create()?;
    container.start()?;
    container.wait_for("mark")?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", container.pid()))?;
    ensure(status.contains("Uid:\t100000\t"), || "on the host the process is not uid 100000".into())?;
    container.stop()?;
    container.delete()
}

fn user_inside(lab: &Lab) -> Verdict {
    let mut config = config::with_user_namespace(100_000);
    config["process"]["user"] = json!({"uid": 500, "gid": 600, "additionalGids": [700]});
    let facts = facts_as(lab, &config, 100_000)?;
    equal("uids", &facts["uids"], &json!([500, 500, 500]))?;
    equal("gids", &facts["gids"], &json!([600, 600, 600]))?;
    ensure(facts["groups"].as_array().is_some_and(|list| list.contains(&json!(700))), || facts["groups"].to_string())
}

fn owners(lab: &Lab) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let container = lab.container("a", &config::with_user_namespace(100_000))?;
    give_to(&container.root(), 100_000)?;
    std::fs::write(container.root().join("etc/hosts-root"), "")?;
    container.create()?;
    container.start()?;
    container.wait()?;
    container.delete()?;
    equal("owner of a file", std::fs::metadata(container.root().join("etc/hosts-root"))?.uid(), 0)?;
    equal("owner of the root", std::fs::metadata(container.root())?.uid(), 100_000)
}

fn overlapping(lab: &Lab) -> Verdict {
    let mut config = config::with_user_namespace(100_000);
    config["linux"]["uidMappings"] = json!([
        {"containerID": 0, "hostID": 100_000, "size": 10},
        {"containerID": 5, "hostID": 200_000, "size": 10},
    ]);
    lab.create_refuses(&config)
}

fn seconds(facts: &Value, clock: nix::time::ClockId, name: &str) -> Result<i64, Failure> {
    Ok(facts[name].as_i64().ok_or("no clock")? - nix::time::clock_gettime(clock)?.tv_sec())
}

fn with_offsets(offsets: Value) -> Value {
    let mut config = config::with("/linux/timeOffsets", offsets);
    config::push(&mut config, "/linux/namespaces", json!({"type": "time"}));
    config
}

fn offsets(lab: &Lab) -> Verdict {
    let facts =
        lab.facts(&with_offsets(json!({"monotonic": {"secs": 10_000}, "boottime": {"secs": 20_000, "nanosecs": 5}})))?;
    let found = seconds(&facts, nix::time::ClockId::CLOCK_MONOTONIC, "monotonic")?;
    ensure((9_990..=10_000).contains(&found), || format!("the monotonic clock is {found} s ahead"))?;
    let found = seconds(&facts, nix::time::ClockId::CLOCK_BOOTTIME, "boottime")?;
    ensure((19_990..=20_000).contains(&found), || format!("the boot clock is {found} s ahead"))?;
    let table = facts["timens_offsets"].as_str().unwrap_or_default();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    ensure(rows.contains(&vec!["boottime", "20000", "5"]), || format!("the offsets are {table:?}"))
}

fn negative(lab: &Lab) -> Verdict {
    let facts = lab.facts(&with_offsets(json!({"boottime": {"secs": -60}})))?;
    let found = seconds(&facts, nix::time::ClockId::CLOCK_BOOTTIME, "boottime")?;
    ensure((-70..=-60).contains(&found), || format!("the boot clock is {found} s ahead"))
}
