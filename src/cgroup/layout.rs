//! Where the hierarchies are mounted and where the caller is in them (cgroups(7)).
//!
//! Those of v1 are looked for at their usual places below /sys/fs/cgroup. Only where one of them is elsewhere is the mount
//! table read (proc_pid_mountinfo(5)), which a host with thousands of mounts makes dear.

use std::path::{Path, PathBuf};

use nix::sys::stat::stat;

use super::record::{Hierarchy, Version};
use crate::error::{Context, Result};
use crate::fs::{MountLine, read_mount_table};
use crate::host::CgroupLayout;
use crate::sys::file;

/// A mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    pub version: Version,
    /// Of v1; the named hierarchy is `name=systemd`. Those of v2 are not in the mount table.
    pub controllers: Vec<String>,
    pub mount: PathBuf,
    /// The cgroup at the mount point, as /proc/self/cgroup counts paths.
    pub root: String,
}

impl Mounted {
    /// Whether it is the one that a line of /proc/PID/cgroup calls `controllers`.
    fn is_named(&self, controllers: &str) -> bool {
        match self.version {
            Version::V1 => controllers.split(',').any(|c| self.controllers.iter().any(|m| m == c)),
            Version::V2 => controllers.is_empty(),
        }
    }

    /// The hierarchy, with the container's `directory` in it.
    pub fn hierarchy(&self, directory: PathBuf) -> Hierarchy {
        Hierarchy {
            version: self.version,
            name: self.mount.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            controllers: self.controllers.clone(),
            mount: self.mount.clone(),
            directory,
        }
    }
}

/// The one mount of a unified layout; of the others the directory with all of them.
const UNIFIED: &str = "/sys/fs/cgroup";

/// Every v1 controller that a container gets a cgroup of. Named hierarchies other than systemd's belong to
/// programs of the host.
const V1_CONTROLLERS: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "name=systemd",
];

/// The hierarchies of `layout`. Beside v1, v2 counts where it has its place only.
pub(super) fn mounted(layout: CgroupLayout, own: &mut Own) -> Result<Vec<Mounted>> {
    match layout {
        CgroupLayout::None => Ok(Vec::new()),
        CgroupLayout::Unified => Ok(vec![Mounted {
            version: Version::V2,
            controllers: Vec::new(),
            mount: PathBuf::from(UNIFIED),
            root: "/".to_owned(),
        }]),
        CgroupLayout::Hybrid | CgroupLayout::Legacy => match at_usual_places(layout, own.lines()?) {
            Some(mounted) => Ok(mounted),
            None => {
                let mut found = parse_mounts(&read_mount_table()?);
                found.retain(|mounted| mounted.version == Version::V1 || layout == CgroupLayout::Hybrid);
                Ok(found)
            }
        },
    }
}

/// The cgroup of the caller in each hierarchy: the lines of /proc/self/cgroup, read when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Own(Option<String>);

impl Own {
    /// The lines.
    pub fn lines(&mut self) -> Result<&str> {
        if self.0.is_none() {
            let text = file::read_composed("/proc/self/cgroup").context(|| "read /proc/self/cgroup")?;
            self.0 = Some(String::from_utf8_lossy(&text).into_owned());
        }
        Ok(self.0.as_deref().unwrap_or_default())
    }

    /// The lines, if they have been read.
    pub fn read(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// The lines of /proc/PID/cgroup (cgroups(7)), `4:cpu,cpuacct:/group`, `9:name=systemd:/group` or `0::/group`: the controllers and
/// the path in each.
pub(crate) fn memberships(lines: &str) -> impl Iterator<Item = (&str, &str)> {
    lines.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'))
}

/// The lines `own` for a process that has moved to the directories of `hierarchies`, which are on `mounted`.
pub(super) fn memberships_in(hierarchies: &[Hierarchy], mounted: &[Mounted], own: &str) -> String {
    let mut lines = String::with_capacity(own.len());
    for (number, (controllers, path)) in memberships(own).enumerate() {
        let place = mounted.iter().find(|mounted| mounted.is_named(controllers));
        let moved = place.and_then(|mounted| {
            let hierarchy = hierarchies.iter().find(|hierarchy| hierarchy.mount == mounted.mount)?;
            let below = hierarchy.directory.strip_prefix(&mounted.mount).ok()?;
            Some(Path::new(&mounted.root).join(below).display().to_string())
        });
        lines.push_str(&format!("{number}:{controllers}:{}\n", moved.as_deref().unwrap_or(path)));
    }
    lines
}

/// The hierarchies in which `own` says where the caller is, if each is mounted below /sys/fs/cgroup by the names of its
/// controllers, from its root on, and none twice. `None` too if the caller's view of cgroups does not begin at those roots.
///
/// That a place has the hierarchy of its name is taken on trust: nobody but the host's root can mount another one there.
pub(super) fn at_usual_places(layout: CgroupLayout, own: &str) -> Option<Vec<Mounted>> {
    let names = memberships(own).map(|(names, _)| names);
    let v2 = |names: &str| names.is_empty() && layout == CgroupLayout::Hybrid;
    let (mut devices, mut found) = (Vec::new(), Vec::new());
    for names in names.filter(|names| v2(names) || !known_controllers(names).is_empty()) {
        let (device, mounted) = at_usual_place(names)?;
        if devices.contains(&device) {
            return None;
        }
        devices.push(device);
        found.push(mounted);
    }
    // PROC_CGROUP_INIT_INO of the kernel's proc_ns.h, since Linux 4.6.
    let sees_roots = stat("/proc/self/ns/cgroup").is_ok_and(|namespace| namespace.st_ino == 0xEFFF_FFFB);
    (sees_roots && !found.is_empty()).then_some(found)
}

/// The hierarchy of v1 of the controllers `names`, or that of v2 if there are none, and the device number it has.
fn at_usual_place(names: &str) -> Option<(u64, Mounted)> {
    let below = |directory: &str| Path::new(UNIFIED).join(directory);
    let (version, mount, root) = match names.strip_prefix("name=").unwrap_or(names) {
        // As `layout` has it; its root is inode 1, as that of every kernfs.
        "" => (Version::V2, below("unified"), stat(&below("unified")).ok().filter(|found| found.st_ino == 1)?),
        // A file that v1 has in the roots of its hierarchies only (CFTYPE_ONLY_ON_ROOT of the kernel's cgroup-v1.c).
        names => (Version::V1, below(names), stat(&below(names).join("cgroup.sane_behavior")).ok()?),
    };
    let mounted = Mounted { version, controllers: known_controllers(names), mount, root: "/".to_owned() };
    Some((root.st_dev, mounted))
}

/// Those of a list with commas that a container gets a cgroup of.
fn known_controllers(list: &str) -> Vec<String> {
    list.split(',').filter(|name| V1_CONTROLLERS.contains(name)).map(str::to_owned).collect()
}

/// Finds the cgroup hierarchies in a mount table. One that is mounted more than once is taken below
/// /sys/fs/cgroup, else where its root is mounted, else where it comes first.
pub(super) fn parse_mounts(table: &str) -> Vec<Mounted> {
    let all: Vec<MountLine<'_>> = table.lines().filter_map(MountLine::parse).collect();
    let mut found: Vec<Mounted> = Vec::new();
    let visible = all.iter().filter(|mount| mount.fs_type.starts_with("cgroup") && !is_hidden(mount, &all));
    for mounted in visible.filter_map(hierarchy) {
        let twin = found.iter_mut().find(|f| f.version == mounted.version && f.controllers == mounted.controllers);
        match twin {
            None => found.push(mounted),
            Some(twin) if rank(&mounted) > rank(twin) => *twin = mounted,
            Some(_) => {}
        }
    }
    found
}

/// Whether something else is mounted over the mount point, or on the way to it.
fn is_hidden(mount: &MountLine<'_>, all: &[MountLine<'_>]) -> bool {
    // From the mount up to the root: in `on` the way leads to the place of `next`. What is mounted on the root itself is on
    // no way that begins there.
    let (mut next, mut on) = (mount, mount);
    loop {
        let covers = |other: &MountLine<'_>| other.id != next.id && other.parent == on.id && other.covers(next);
        if all.iter().any(|other| covers(other) && !other.is_on_root()) {
            return true;
        }
        match all.iter().find(|other| other.id == on.parent) {
            Some(parent) if parent.id != on.id => (next, on) = (on, parent),
            _ => return false,
        }
    }
}

fn rank(mounted: &Mounted) -> (bool, bool) {
    (mounted.mount.starts_with(UNIFIED), mounted.root == "/")
}

fn hierarchy(mount: &MountLine<'_>) -> Option<Mounted> {
    let (version, controllers) = match mount.fs_type {
        "cgroup" => (Version::V1, known_controllers(mount.super_options)),
        "cgroup2" => (Version::V2, Vec::new()),
        _ => return None,
    };
    let root = mount.root().into_string().ok()?;
    let outside = root.split('/').any(|part| part == "..");
    if outside || version == Version::V1 && controllers.is_empty() {
        return None;
    }
    Some(Mounted { version, controllers, mount: mount.point(), root })
}

/// The directory of the caller's own cgroup in `mounted`, by the lines of /proc/self/cgroup; the mount point
/// where the caller is not below it.
pub(super) fn own_directory(mounted: &Mounted, own: &str) -> PathBuf {
    let path = memberships(own).find(|(controllers, _)| mounted.is_named(controllers));
    let below = path.and_then(|(_, path)| Path::new(path).strip_prefix(&mounted.root).ok());
    match below {
        Some(below) if !below.components().any(|c| c == std::path::Component::ParentDir) => {
            if below.as_os_str().is_empty() { mounted.mount.clone() } else { mounted.mount.join(below) }
        }
        _ => mounted.mount.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memberships_in_moves_what_is_placed_and_keeps_the_rest() {
        let mounted = |names: &str, mount: &str, root: &str| Mounted {
            version: if names.is_empty() { Version::V2 } else { Version::V1 },
            controllers: known_controllers(names),
            mount: mount.into(),
            root: root.to_owned(),
        };
        let mounts =
            [mounted("cpu,cpuacct", "/c/cpu", "/"), mounted("memory", "/c/memory", "/outer"), mounted("", "/c/u", "/")];
        let placed = [("/c/cpu/a/b", 0), ("/c/memory/a", 1)].map(|(at, mount)| mounts[mount].hierarchy(at.into()));
        let own = "5:cpu,cpuacct:/x\n4:memory:/outer/x\n3:name=foo:/y\n0::/z\n";
        let told = memberships_in(&placed, &mounts, own);
        let expected = [("cpu,cpuacct", "/a/b"), ("memory", "/outer/a"), ("name=foo", "/y"), ("", "/z")];
        assert_eq!(memberships(&told).collect::<Vec<_>>(), expected);
    }

    const TABLE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:7 - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 / /mnt/my\\040cgroups/net_cls rw,relatime - cgroup cgroup rw,net_cls
34 31 0:37 /a /var/x rw,relatime - cgroup cgroup rw,xattr,name=systemd
35 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
36 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
37 31 0:39 / /mnt/other rw,relatime - cgroup cgroup rw,name=other
38 31 0:40 /../.. /mnt/pids rw,relatime - cgroup cgroup rw,pids
";

    #[test]
    fn parse_mounts_finds_hierarchies_once() {
        let found = parse_mounts(TABLE);
        let summary: Vec<_> = found
            .iter()
            .map(|m| (m.version, m.controllers.join(","), m.mount.to_str().unwrap(), m.root.as_str()))
            .collect();
        assert_eq!(
            summary,
            [
                (Version::V1, "cpu,cpuacct".to_owned(), "/sys/fs/cgroup/cpu,cpuacct", "/"),
                (Version::V1, "net_cls".to_owned(), "/mnt/my cgroups/net_cls", "/"),
                (Version::V1, "name=systemd".to_owned(), "/sys/fs/cgroup/systemd", "/"),
                (Version::V2, String::new(), "/sys/fs/cgroup/unified", "/"),
            ]
        );
    }

    #[test]
    fn parse_mounts_prefers_the_usual_place_and_then_the_root() {
        let chosen = |lines: &[&str]| parse_mounts(&lines.join("\n")).into_iter().map(|m| m.mount).collect::<Vec<_>>();
        let (part, place) = (
            "34 31 0:37 / /var/x rw - cgroup cgroup rw,pids",
            "35 31 0:37 /a /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids",
        );
        assert_eq!(chosen(&[part, place]), [Path::new("/sys/fs/cgroup/pids")]);
        assert_eq!(chosen(&[place, part]), [Path::new("/sys/fs/cgroup/pids")]);
        let (part, whole) =
            ("34 31 0:37 /a /var/x rw - cgroup cgroup rw,pids", "35 31 0:37 / /var/y rw - cgroup cgroup rw,pids");
        assert_eq!(chosen(&[part, whole]), [Path::new("/var/y")]);
        assert_eq!(chosen(&[whole, part]), [Path::new("/var/y")]);
    }

    #[test]
    fn parse_mounts_passes_over_what_is_mounted_over() {
        let unified = |table: &str| parse_mounts(table).iter().filter(|m| m.version == Version::V2).count();
        assert_eq!(unified(TABLE), 1);
        assert_eq!(unified(&format!("{TABLE}50 36 0:60 / /sys/fs/cgroup/unified rw - tmpfs none rw\n")), 0);
        let all = format!("{TABLE}50 31 0:60 / /sys/fs/cgroup rw - tmpfs none rw\n");
        assert!(parse_mounts(&all).iter().all(|m| !m.mount.starts_with(UNIFIED)), "{:?}", parse_mounts(&all));
        let anew = format!(
            "{TABLE}50 31 0:60 / /sys/fs/cgroup rw - tmpfs none rw\n51 50 0:38 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n"
        );
        assert_eq!(unified(&anew), 1, "over the old mount of all, not below it");
        assert_eq!(unified(&format!("{TABLE}50 27 0:60 / / rw - tmpfs none rw\n")), 1, "over the root");
        let beside = format!("{TABLE}50 31 0:60 / /sys/fs/cgroup/uni rw - tmpfs none rw\n");
        assert_eq!(unified(&beside), 1);
    }

    #[test]
    fn own_directory_is_relative_to_the_mounts_root() {
        let own = "4:memory:/docker/x/y\n3:cpu,cpuacct:/\n1:name=systemd:/../up\n0::/user/a:b\n";
        let mounted = |version, controller: &str, root: &str| Mounted {
            version,
            controllers: vec![controller.to_owned()],
            mount: PathBuf::from("/m"),
            root: root.to_owned(),
        };
        for (mounted, expected) in [
            (mounted(Version::V1, "memory", "/docker/x"), "/m/y"),
            (mounted(Version::V1, "memory", "/docker/x/y"), "/m"),
            (mounted(Version::V1, "memory", "/elsewhere"), "/m"),
            (mounted(Version::V1, "cpuacct", "/"), "/m"),
            (mounted(Version::V1, "name=systemd", "/"), "/m"),
            (mounted(Version::V1, "pids", "/"), "/m"),
            (mounted(Version::V2, "", "/"), "/m/user/a:b"),
        ] {
            assert_eq!(own_directory(&mounted, own).as_os_str(), expected, "{mounted:?}");
        }
    }
}
