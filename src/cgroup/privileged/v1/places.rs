//! Tests of where the hierarchies are found, in a mount namespace of the test's thread where every one that the kernel
//! has is mounted at its usual place.

use std::fs;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::cgroup::layout::{Mounted, at_usual_places, memberships, parse_mounts};
use crate::cgroup::record::Version;
use crate::host::CgroupLayout;
use crate::sys::test_thread::in_thread;

const NONE: Option<&str> = None;

/// Runs `test` with the lines of /proc/self/cgroup.
fn where_all_are_usual(test: impl FnOnce(&str) + Send) {
    in_thread(move || {
        let own = fs::read_to_string("/proc/thread-self/cgroup").unwrap();
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).unwrap();
        mount(Some("none"), "/sys/fs/cgroup", Some("tmpfs"), MsFlags::empty(), NONE).unwrap();
        for controllers in memberships(&own).map(|(controllers, _)| controllers) {
            let (fs_type, point, data) = match controllers.strip_prefix("name=") {
                _ if controllers.is_empty() => ("cgroup2", "unified".to_owned(), None),
                Some(name) => ("cgroup", name.to_owned(), Some(format!("none,{controllers}"))),
                None => ("cgroup", controllers.to_owned(), Some(controllers.to_owned())),
            };
            let point = format!("/sys/fs/cgroup/{point}");
            fs::create_dir(&point).unwrap();
            mount(Some("none"), &*point, Some(fs_type), MsFlags::empty(), data.as_deref()).unwrap();
        }
        test(&own);
    });
}

fn sorted(mut found: Vec<Mounted>) -> Vec<Mounted> {
    found.sort_by(|one, other| one.mount.cmp(&other.mount));
    found
}

fn by_table() -> Vec<Mounted> {
    sorted(parse_mounts(&fs::read_to_string("/proc/thread-self/mountinfo").unwrap()))
}

fn by_place(own: &str) -> Option<Vec<Mounted>> {
    at_usual_places(CgroupLayout::Hybrid, own).map(sorted)
}

#[test]
fn usual_places_are_what_the_mount_table_says() {
    where_all_are_usual(|own| {
        let found = by_place(own).unwrap();
        assert!(found.len() > 1, "{own}");
        assert_eq!(found, by_table());
    });
}

#[test]
fn usual_places_are_those_of_v1_where_v2_has_none() {
    where_all_are_usual(|own| {
        let all = by_place(own).unwrap();
        umount2("/sys/fs/cgroup/unified", MntFlags::empty()).unwrap();
        assert_eq!(at_usual_places(CgroupLayout::Hybrid, own), None);
        let found = at_usual_places(CgroupLayout::Legacy, own).unwrap();
        assert_eq!(found.len(), all.len() - 1);
        assert!(found.iter().all(|mounted| all.contains(mounted) && mounted.version == Version::V1));
        assert_eq!(at_usual_places(CgroupLayout::Legacy, "1:name=openrc:/\n0::/\n"), None);
    });
}

#[test]
fn usual_places_are_not_taken_where_one_is_missing_or_another() {
    where_all_are_usual(|own| {
        let point = "/sys/fs/cgroup/pids";
        for (source, fs_type, flags) in
            [(Some("none"), Some("tmpfs"), MsFlags::empty()), (Some("/sys/fs/cgroup/cpu"), NONE, MsFlags::MS_BIND)]
        {
            mount(source, point, fs_type, flags, NONE).unwrap();
            assert_eq!(at_usual_places(CgroupLayout::Hybrid, own), None, "{source:?}");
            umount2(point, MntFlags::empty()).unwrap();
        }
        assert!(at_usual_places(CgroupLayout::Hybrid, own).is_some());
        umount2(point, MntFlags::empty()).unwrap();
        assert_eq!(at_usual_places(CgroupLayout::Hybrid, own), None);
    });
}

#[test]
fn usual_places_are_not_taken_where_only_a_part_is_mounted() {
    where_all_are_usual(|own| {
        for hierarchy in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified"] {
            let part = format!("{hierarchy}/coracle-test-{}-part", std::process::id());
            fs::create_dir(&part).unwrap();
            mount(Some(&*part), hierarchy, NONE, MsFlags::MS_BIND, NONE).unwrap();
            let found = at_usual_places(CgroupLayout::Hybrid, own);
            umount2(hierarchy, MntFlags::empty()).unwrap();
            fs::remove_dir(&part).unwrap();
            assert_eq!(found, None, "{hierarchy}");
        }
    });
}
