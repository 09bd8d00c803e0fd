//! cgroupsPath and resources, on cgroup v1 and v2. What a limit does is seen in the kernel's files; where it is cheap, in
//! the container as well.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::config;
use crate::container::{Container, End};
use crate::lab::Lab;
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

/// A test that writes one resource and reads one file of a v1 controller; `since` is the minor version of the
/// specification that brought the resource.
macro_rules! v1 {
    ($id:literal, $controller:literal, $place:literal, $value:expr, $file:literal, $wanted:expr) => {
        v1!($id, $controller, $place, $value, $file, $wanted, since 0)
    };
    ($id:literal, $controller:literal, $place:literal, $value:expr, $file:literal, $wanted:expr, since $minor:literal) => {
        core($id, &["R-create-resources"], |lab| file_says(lab, $controller, $place, $value, $file, $wanted))
            .needs(&[Need::Root, Need::V1($controller), Need::Spec($minor)])
    };
}

/// The same for v2.
macro_rules! v2 {
    ($id:literal, $controller:literal, $place:literal, $value:expr, $file:literal, $wanted:expr) => {
        core($id, &["R-create-resources"], |lab| file_says(lab, "", $place, $value, $file, $wanted))
            .needs(&[Need::Root, Need::V2($controller)])
    };
}

pub const TESTS: &[Test] = &[
    core("cgroups.absolute_path_is_from_the_mount_point", &["L-cgroup-absolute"], absolute)
        .needs(&[Need::Root, Need::CgroupPaths]),
    core("cgroups.same_path_is_the_same_place", &["L-cgroup-same"], same),
    core("cgroups.nested_path_is_made", &["L-cgroup-absolute"], nested).needs(&[Need::Root, Need::CgroupPaths]),
    core("cgroups.path_upwards_is_refused_or_contained", &["L-cgroup-invalid"], upwards)
        .needs(&[Need::Root, Need::CgroupPaths]),
    core("cgroups.occupied_is_refused_or_shared", &["L-cgroup-fit"], occupied),
    core("cgroups.frozen_is_refused", &["L-cgroup-fit"], frozen).needs(&[Need::Root, Need::V1("freezer")]),
    core("cgroups.process_is_inside_before_start", &["R-create-resources"], inside),
    core("cgroups.are_removed_by_delete", &["R-delete-resources"], removed),
    core("cgroups.foreign_ones_are_left", &["R-delete-foreign"], foreign).needs(&[Need::Root, Need::V1("pids")]),
    core("cgroups.owner_is_not_changed_on_v1", &["L-own-v1", "L-own-namespace", "L-own-read-only"], owner)
        .needs(&[Need::Root, Need::V1("pids")]),
    core("cgroups.mount_shows_the_containers", &["R-create-applies"], |lab| mounted(lab, false))
        .needs(&[Need::Root, Need::V1("pids")]),
    core("cgroups.mount_in_cgroup_namespace_begins_at_root", &["R-create-applies"], |lab| mounted(lab, true))
        .needs(&[Need::Root, Need::V1("pids")]),
    core("cgroups.v1_pids_limit_holds", &["R-create-resources"], pids).needs(&[Need::Root, Need::V1("pids")]),
    core("cgroups.v1_memory_limit_holds", &["R-create-resources"], memory).needs(&[Need::Root, Need::V1("memory")]),
    v1!("cgroups.v1_pids", "pids", "/pids/limit", json!(77), "pids.max", "77"),
    v1!("cgroups.v1_pids_unlimited", "pids", "/pids/limit", json!(-1), "pids.max", "max"),
    v1!("cgroups.v1_memory", "memory", "/memory/limit", json!(67_108_864), "memory.limit_in_bytes", "67108864"),
    v1!(
        "cgroups.v1_memory_reservation",
        "memory",
        "/memory/reservation",
        json!(33_554_432),
        "memory.soft_limit_in_bytes",
        "33554432"
    ),
    v1!("cgroups.v1_memory_swappiness", "memory", "/memory/swappiness", json!(30), "memory.swappiness", "30"),
    v1!(
        "cgroups.v1_memory_oom_killer",
        "memory",
        "/memory/disableOOMKiller",
        json!(true),
        "memory.oom_control",
        "oom_kill_disable 1"
    ),
    v1!("cgroups.v1_cpu_shares", "cpu", "/cpu/shares", json!(512), "cpu.shares", "512"),
    v1!("cgroups.v1_cpu_quota", "cpu", "/cpu", json!({"quota": 20000, "period": 50000}), "cpu.cfs_quota_us", "20000"),
    v1!("cgroups.v1_cpu_period", "cpu", "/cpu", json!({"quota": 20000, "period": 50000}), "cpu.cfs_period_us", "50000"),
    v1!(
        "cgroups.v1_cpu_burst",
        "cpu",
        "/cpu",
        json!({"quota": 20000, "period": 50000, "burst": 10000}),
        "cpu.cfs_burst_us",
        "10000",
        since 1
    ),
    v1!("cgroups.v1_cpu_idle", "cpu", "/cpu/idle", json!(1), "cpu.idle", "1", since 1),
    v1!("cgroups.v1_cpuset_cpus", "cpuset", "/cpu/cpus", json!("0"), "cpuset.cpus", "0"),
    v1!("cgroups.v1_cpuset_mems", "cpuset", "/cpu/mems", json!("0"), "cpuset.mems", "0"),
    v1!(
        "cgroups.v1_block_read_rate",
        "blkio",
        "/blockIO",
        throttle("throttleReadBpsDevice"),
        "blkio.throttle.read_bps_device",
        "1048576"
    ),
    v1!(
        "cgroups.v1_block_write_rate",
        "blkio",
        "/blockIO",
        throttle("throttleWriteBpsDevice"),
        "blkio.throttle.write_bps_device",
        "1048576"
    ),
    v1!(
        "cgroups.v1_block_read_operations",
        "blkio",
        "/blockIO",
        throttle("throttleReadIOPSDevice"),
        "blkio.throttle.read_iops_device",
        "1048576"
    ),
    v1!(
        "cgroups.v1_block_write_operations",
        "blkio",
        "/blockIO",
        throttle("throttleWriteIOPSDevice"),
        "blkio.throttle.write_iops_device",
        "1048576"
    ),
    v1!("cgroups.v1_network_class", "net_cls", "/network/classID", json!(1_048_577), "net_cls.classid", "1048577"),
    v1!(
        "cgroups.v1_network_priority",
        "net_prio",
        "/network/priorities",
        json!([{"name": "lo", "priority": 5}]),
        "net_prio.ifpriomap",
        "lo 5"
    ),
    v1!(
        "cgroups.v1_huge_pages",
        "hugetlb",
        "/hugepageLimits",
        huge_pages(),
        "hugetlb.2MB.rsvd.limit_in_bytes",
        "4194304"
    ),
    core("cgroups.v1_quota_below_burst_is_refused", &["R-create-property", "R-error-clean"], |lab| {
        lab.create_refuses(&config::with(
            "/linux/resources/cpu",
            json!({"quota": 10000, "period": 50000, "burst": 20000}),
        ))
    })
    .needs(&[Need::Root, Need::V1("cpu"), Need::Spec(1)]),
    core("cgroups.limit_that_cannot_be_is_refused", &["R-create-property", "R-error-clean"], |lab| {
        lab.create_refuses(&config::with("/linux/resources/cpu", json!({"cpus": "4000-4001"})))
    })
    .needs(&[Need::Root, Need::V1("cpuset")]),
    v2!("cgroups.v2_pids", "pids", "/pids/limit", json!(77), "pids.max", "77"),
    v2!("cgroups.v2_memory", "memory", "/memory/limit", json!(67_108_864), "memory.max", "67108864"),
    v2!("cgroups.v2_memory_reservation", "memory", "/memory/reservation", json!(33_554_432), "memory.low", "33554432"),
    v2!("cgroups.v2_huge_pages", "hugetlb", "/hugepageLimits", huge_pages(), "hugetlb.2MB.rsvd.max", "4194304"),
    v2!("cgroups.v2_cpu_quota", "cpu", "/cpu", json!({"quota": 20000, "period": 50000}), "cpu.max", "20000 50000"),
    v2!("cgroups.v2_cpuset", "cpuset", "/cpu/cpus", json!("0"), "cpuset.cpus", "0"),
    v2!("cgroups.v2_cpu_idle", "cpu", "/cpu/idle", json!(1), "cpu.idle", "1"),
    core("cgroups.v2_unified_is_written", &["L-unified-controllers"], |lab| {
        file_says(lab, "", "/unified", json!({"memory.high": "33554432"}), "memory.high", "33554432")
    })
    .needs(&[Need::Root, Need::V2("memory")]),
    core("cgroups.v2_unified_of_any_file_is_written", &["L-unified-unknown"], |lab| {
        file_says(lab, "", "/unified", json!({"cgroup.max.descendants": "7"}), "cgroup.max.descendants", "7")
    })
    .needs(&[Need::Root, Need::V2("memory")]),
    core("cgroups.v2_unified_without_controller_is_refused", &["L-unified-absent"], |lab| {
        lab.create_refuses(&config::with("/linux/resources/unified", json!({"nonsense.max": "1"})))
    })
    .needs(&[Need::Root, Need::V2("memory")]),
    core("cgroups.v2_setting_without_conversion_is_refused", &["L-unified-convert"], |lab| {
        lab.create_refuses(&config::with("/linux/resources/memory", json!({"swappiness": 30})))
    })
    .needs(&[Need::Root, Need::V2("memory")]),
    core(
        "cgroups.v2_writable_mount_gives_the_owner",
        &["L-own-writable", "L-own-only", "L-own-there", "L-own-absent", "L-own-others"],
        delegated,
    )
    .needs(&[Need::Root, Need::V2("memory")]),
];

/// A limit for the device of the root file system, or for the first loop device.
fn throttle(name: &str) -> Value {
    let device = std::fs::metadata("/").map(|data| std::os::unix::fs::MetadataExt::dev(&data)).unwrap_or(0);
    let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
    let mut value = json!({});
    value[name] = json!([{"major": major, "minor": minor, "rate": 1_048_576}]);
    value
}

/// Limits what may be reserved, where the kernel can (5.7).
fn huge_pages() -> Value {
    json!([{"pageSize": "2MB", "limit": 4_194_304}])
}

/// The base in the cgroup `/TAG-cgroup`.
fn placed(lab: &Lab) -> Value {
    config::with("/linux/cgroupsPath", json!(format!("/{}-cgroup", lab.tag)))
}

/// The directories of a process's cgroups: of one v1 controller, or of v2 where the name is empty.
fn directory(pid: i32, controller: &str) -> Result<PathBuf, Failure> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    for line in text.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
        if names.split(',').any(|name| name == controller) {
            return Ok(PathBuf::from("/sys/fs/cgroup").join(controller).join(path.trim_start_matches('/')));
        }
    }
    Err(Failure(format!("the process has no cgroup of {controller:?}: {text:?}")))
}

/// A created container in `/TAG-cgroup` and the directory of its cgroup.
fn created<'a>(lab: &'a Lab, config: &Value, controller: &str) -> Result<(Container<'a>, PathBuf), Failure> {
    let container = lab.container("a", config)?;
    container.create()?;
    let path = directory(container.pid(), controller)?;
    Ok((container, path))
}

fn file_says(lab: &Lab, controller: &str, place: &str, value: Value, file: &str, wanted: &str) -> Verdict {
    let mut config = placed(lab);
    config::set(&mut config, &format!("/linux/resources{place}"), value);
    config::set_actions(&mut config, &["wait"]);
    let (container, path) = created(lab, &config, controller)?;
    let found = std::fs::read_to_string(path.join(file))?;
    container.clear();
    ensure(found.split(['\n', ' ']).any(|word| word == wanted) || found.contains(&format!("{wanted}\n")), || {
        format!("{file} says {:?}, expected {wanted:?}", found.trim_end())
    })
}

/// A controller that is surely there: pids on v1, everything on v2.
fn usual() -> &'static str {
    if std::path::Path::new("/sys/fs/cgroup/cgroup.controllers").exists() { "" } else { "pids" }
}

fn absolute(lab: &Lab) -> Verdict {
    let (container, path) = created(lab, &placed(lab), usual())?;
    container.clear();
    let wanted = PathBuf::from("/sys/fs/cgroup").join(usual()).join(format!("{}-cgroup", lab.tag));
    equal("the container's cgroup", path, wanted)
}

fn same(lab: &Lab) -> Verdict {
    let mut places = Vec::new();
    for _ in 0..2 {
        let (container, path) = created(lab, &placed(lab), usual())?;
        places.push(path);
        container.clear();
    }
    ensure(places.first() == places.last(), || format!("{places:?}"))
}

fn nested(lab: &Lab) -> Verdict {
    let name = format!("{}-cgroup", lab.tag);
    let (container, path) =
        created(lab, &config::with("/linux/cgroupsPath", json!(format!("/{name}/one/two"))), usual())?;
    container.clear();
    // The parents may stay, since others may be in them; they are this test's to remove.
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")?.flatten() {
        for part in [format!("{name}/one"), name.clone()] {
            let _ = std::fs::remove_dir(hierarchy.path().join(part));
        }
    }
    for part in [format!("{name}/one"), name.clone()] {
        let _ = std::fs::remove_dir(PathBuf::from("/sys/fs/cgroup").join(part));
    }
    ensure(path.ends_with(format!("{name}/one/two")), || format!("the container's cgroup is {}", path.display()))
}

fn upwards(lab: &Lab) -> Verdict {
    let container =
        lab.container("a", &config::with("/linux/cgroupsPath", json!(format!("/../../{}-cgroup", lab.tag))))?;
    if container.try_create()?.ok() {
        let path = directory(container.pid(), usual())?;
        container.clear();
        return ensure(!path.to_string_lossy().contains(".."), || {
            format!("the container's cgroup is {}", path.display())
        });
    }
    lab.nothing_of(&container)
}

/// A second container in the cgroup of the first: an error, or both work and the first's end leaves the other alone.
fn occupied(lab: &Lab) -> Verdict {
    let mut config = placed(lab);
    config::set_actions(&mut config, &["create:/mark", "wait"]);
    let (first, second) = (lab.container("a", &config)?, lab.container("b", &config)?);
    first.create()?;
    first.start()?;
    first.wait_for("mark")?;
    if second.try_create()?.ok() {
        second.clear();
    } else {
        ensure(!lab.run(&["state", &second.id])?.ok(), || "the refused create left a container".into())?;
    }
    equal("status of the first", first.status()?, "running")?;
    first.stop()?;
    first.delete()
}

fn frozen(lab: &Lab) -> Verdict {
    let path = PathBuf::from("/sys/fs/cgroup/freezer").join(format!("{}-cgroup", lab.tag));
    std::fs::create_dir(&path)?;
    std::fs::write(path.join("freezer.state"), "FROZEN")?;
    let container = lab.container("a", &placed(lab))?;
    let refused = !container.try_create()?.ok();
    let _ = std::fs::write(path.join("freezer.state"), "THAWED");
    if !refused {
        container.clear();
    }
    let _ = std::fs::remove_dir(&path);
    ensure(refused, || "create accepts a frozen cgroup".into())
}

fn inside(lab: &Lab) -> Verdict {
    let (container, path) = created(lab, &placed(lab), usual())?;
    let members = std::fs::read_to_string(path.join("cgroup.procs"))?;
    let there = members.lines().any(|line| line == container.pid().to_string());
    container.clear();
    ensure(there, || format!("the cgroup's processes are {members:?}"))
}

fn removed(lab: &Lab) -> Verdict {
    let (container, path) = created(lab, &placed(lab), usual())?;
    container.start()?;
    container.wait()?;
    container.delete()?;
    ensure(!path.exists(), || format!("{} is still there", path.display()))
}

/// A sibling, and a parent that was there before, stay.
fn foreign(lab: &Lab) -> Verdict {
    let parent = PathBuf::from("/sys/fs/cgroup/pids").join(format!("{}-parent", lab.tag));
    std::fs::create_dir_all(parent.join("sibling"))?;
    let config = config::with("/linux/cgroupsPath", json!(format!("/{}-parent/own", lab.tag)));
    let container = lab.container("a", &config)?;
    let result = container.create().and_then(|()| {
        container.start()?;
        container.wait()?;
        container.delete()
    });
    let there = parent.join("sibling").exists();
    let own = parent.join("own").exists();
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup")?.flatten() {
        let path = hierarchy.path().join(format!("{}-parent", lab.tag));
        let _ = std::fs::remove_dir(path.join("sibling"));
        let _ = std::fs::remove_dir(path);
    }
    result?;
    ensure(there && !own, || format!("the sibling is there: {there}; the container's own: {own}"))
}

fn owner(lab: &Lab) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let mut config = config::with_user_namespace(100_000);
    config["linux"]["cgroupsPath"] = json!(format!("/{}-cgroup", lab.tag));
    let container = lab.container("a", &config)?;
    super::namespaces::give_to(&container.root(), 100_000)?;
    container.create()?;
    let path = directory(container.pid(), "pids")?;
    let owners =
        [path.clone(), path.join("cgroup.procs")].map(|path| std::fs::metadata(path).map(|data| data.uid()).ok());
    container.clear();
    equal("owners", owners, [Some(0), Some(0)])
}

fn mounted(lab: &Lab, own_namespace: bool) -> Verdict {
    let mut config = placed(lab);
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                       "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]});
    config::push(&mut config, "/mounts", mount);
    if own_namespace {
        config::push(&mut config, "/linux/namespaces", json!({"type": "cgroup"}));
    }
    let said = lab.ask(&config, &["read:/sys/fs/cgroup/pids/cgroup.procs", "facts", "mkdir:/sys/fs/cgroup/pids/x"])?;
    let members = said["read:/sys/fs/cgroup/pids/cgroup.procs"]["text"].as_str().unwrap_or_default();
    ensure(members.lines().any(|line| line == "1"), || format!("cgroup.procs reads {members:?}"))?;
    let paths = said["facts"]["cgroup"].as_str().unwrap_or_default();
    let at_root = paths.lines().any(|line| line.contains(":pids:/") && line.ends_with(":/"));
    equal("the pids cgroup is / inside", at_root, own_namespace)?;
    equal("making a cgroup below", said["mkdir:/sys/fs/cgroup/pids/x"]["errno"].as_i64(), Some(30))
}

fn pids(lab: &Lab) -> Verdict {
    let mut config = placed(lab);
    config["linux"]["resources"]["pids"] = json!({"limit": 10});
    let said = lab.ask(&config, &["spawn-many:20"])?;
    let made = said["spawn-many:20"]["made"].as_i64().unwrap_or(0);
    ensure((1..10).contains(&made), || format!("{made} children could be made under a limit of 10 processes"))
}

fn memory(lab: &Lab) -> Verdict {
    let mut config = placed(lab);
    config["linux"]["resources"]["memory"] = json!({"limit": 33_554_432, "swap": 33_554_432});
    config::set_actions(&mut config, &["create:/before", "touch-memory:134217728", "create:/after"]);
    let container = lab.container("a", &config)?;
    container.create()?;
    container.start()?;
    equal("end of a program that takes more", container.wait()?, End::Signal(9))?;
    ensure(container.root().join("before").exists(), || "the program did not run".into())?;
    container.delete()
}

/// Cgroups mounted read-write in a new cgroup namespace: the directory and the delegated files become the user's.
fn delegated(lab: &Lab) -> Verdict {
    use std::os::unix::fs::MetadataExt;
    let mut config = config::with_user_namespace(100_000);
    config["linux"]["cgroupsPath"] = json!(format!("/{}-cgroup", lab.tag));
    config::push(&mut config, "/linux/namespaces", json!({"type": "cgroup"}));
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["nosuid", "noexec", "nodev"]});
    config::push(&mut config, "/mounts", mount);
    let container = lab.container("a", &config)?;
    super::namespaces::give_to(&container.root(), 100_000)?;
    container.create()?;
    let path = directory(container.pid(), "")?;
    let owner = |path: PathBuf| std::fs::metadata(path).map(|data| data.uid()).ok();
    let found = [owner(path.clone()), owner(path.join("cgroup.procs")), owner(path.join("cgroup.threads"))];
    let other = owner(path.join("memory.max"));
    container.clear();
    equal("owners of the directory and the delegated files", found, [Some(100_000); 3])?;
    equal("owner of memory.max", other, Some(0))
}
