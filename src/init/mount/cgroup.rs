//! Entries of type cgroup and cgroup2: what the container sees of control groups.
//!
//! v1 is a tmpfs with one directory for each hierarchy and links for the controllers that share one. Each is
//! bound from the host's mount, at the container's own group: with a cgroup namespace that shows as `/`, and it is one
//! call where a new mount takes four. cgroup2 is mounted anew from a cgroup namespace; without one it is bound, because a
//! new mount from the first namespace waits for an RCU grace period (8 ms).

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;
use rustix::process::fchdir;

use super::attributes::{self, Attributes, RDONLY};
use super::filesystem::NewFilesystem;
use super::place::Tree;
use super::target::Target;
use super::{Entry, c_path};
use crate::cgroup::memberships;
use crate::error::{Context, Error, Kind, Result};
use crate::host::CgroupLayout;
use crate::sys::{self, file};

const MOUNT_POINT: &str = "/sys/fs/cgroup";

/// Where the process is in each hierarchy, on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CgroupView {
    layout: CgroupLayout,
    hierarchies: Vec<Hierarchy>,
    /// In cgroup2.
    unified_group: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    /// Name of its directory: `memory`, `cpu,cpuacct`, `systemd`.
    name: String,
    /// Of the process, as /proc/self/cgroup says.
    group: PathBuf,
}

impl CgroupView {
    /// To be read by init once it sits in its group, and before it unshares the cgroup namespace, from where on all
    /// paths are `/`.
    pub fn read() -> Result<CgroupView> {
        let text = file::read_composed("/proc/self/cgroup").context(|| "read /proc/self/cgroup")?;
        let mut view = CgroupView::told(CgroupLayout::Unified, &String::from_utf8_lossy(&text));
        if !view.hierarchies.is_empty() {
            let hybrid = is_cgroup2(&Path::new(MOUNT_POINT).join("unified"));
            view.layout = if hybrid { CgroupLayout::Hybrid } else { CgroupLayout::Legacy };
        }
        Ok(view)
    }

    /// The same from what somebody knows who knows the `layout`: the lines of /proc/self/cgroup.
    pub fn told(layout: CgroupLayout, lines: &str) -> CgroupView {
        let unified = memberships(lines).find(|(controllers, _)| controllers.is_empty());
        CgroupView {
            layout,
            hierarchies: memberships(lines).filter_map(v1).collect(),
            unified_group: PathBuf::from(unified.map_or("/", |(_, path)| path)),
        }
    }

    /// The directory of cgroup2 on the host.
    fn unified(&self) -> Option<PathBuf> {
        match self.layout {
            CgroupLayout::Unified => Some(PathBuf::from(MOUNT_POINT)),
            CgroupLayout::Hybrid => Some(Path::new(MOUNT_POINT).join("unified")),
            CgroupLayout::Legacy | CgroupLayout::None => None,
        }
    }
}

/// A line of v1: `cpu,cpuacct` or `name=systemd`, and the group.
fn v1((controllers, group): (&str, &str)) -> Option<Hierarchy> {
    let name = controllers.strip_prefix("name=").unwrap_or(controllers);
    (!name.is_empty()).then(|| Hierarchy { name: name.to_owned(), group: PathBuf::from(group) })
}

impl Hierarchy {
    /// Its mount points on the host, by likelihood.
    fn mount_points(&self) -> impl Iterator<Item = PathBuf> {
        let names = [self.name.as_str(), self.name.split(',').next().unwrap_or_default()];
        names.into_iter().map(|name| Path::new(MOUNT_POINT).join(name))
    }
}

/// Binds the directory of `group` below `mount_point` at `name` in `base`, which is the working directory and a tmpfs that
/// nobody else can reach yet. Inside another container the host's mount starts further down than the group's path
/// says, so leading components may be too many. False if nothing is there.
fn bind_group(base: &OwnedFd, name: &str, group: &Path, mount_point: &Path) -> Result<bool> {
    let parts: Vec<_> = group.iter().skip(1).collect();
    let to = c_path(Path::new(name))?;
    match mkdirat(base, &to, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).context(|| format!("mkdir {name}")),
    }
    for skipped in 0..=parts.len() {
        let path = mount_point.join(parts.iter().skip(skipped).collect::<PathBuf>());
        match sys::mount::mount(Some(&c_path(&path)?), &to, None, libc::MS_BIND | libc::MS_REC, None) {
            Err(nix::errno::Errno::ENOENT) => {}
            other => return other.map(|()| true).context(|| format!("bind {}", path.display())),
        }
    }
    unlinkat(base, &to, AtFlags::REMOVEDIR).context(|| format!("rmdir {name}"))?;
    Ok(false)
}

/// Something else may be mounted over it.
fn is_cgroup2(path: &Path) -> bool {
    statfs(path).is_ok_and(|status| status.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

/// Performs an entry of type cgroup or cgroup2. Gives the root of the new mount.
pub(super) fn mount(entry: &Entry<'_>, v2: bool, source: &CStr) -> Result<OwnedFd> {
    let view = entry.cgroups.ok_or_else(|| Error::new(Kind::Unsupported, "the host's control groups are not known"))?;
    let mut attributes = Attributes::of(entry.mount);
    attributes.clear = 0;
    let user_namespace = !entry.plan.uid_mappings.is_empty();
    if user_namespace && !entry.plan.cgroup_namespace {
        // Otherwise root inside could move itself elsewhere in the tree (CVE-2023-25809).
        attributes.set |= RDONLY;
        attributes.recursive_set |= RDONLY;
    }
    let target = entry.directory()?;
    let placed = match v2 || view.layout == CgroupLayout::Unified {
        true => mount_unified(entry, view, source, &target, &attributes)?,
        false => mount_v1(entry, view, &target, &attributes)?,
    };
    entry.root.retire(target.fd);
    Ok(placed)
}

fn mount_unified(
    entry: &Entry<'_>,
    view: &CgroupView,
    source: &CStr,
    target: &Target<'_>,
    attributes: &Attributes,
) -> Result<OwnedFd> {
    let missing = || Error::new(Kind::Unsupported, "the host has no cgroup2 mounted");
    let host = view.unified().ok_or_else(missing)?;
    if entry.plan.cgroup_namespace {
        let new = NewFilesystem {
            fs_type: c"cgroup2",
            source,
            super_flags: entry.mount.super_flags,
            attributes: attributes.set,
            parameters: entry.mount.data.clone(),
        };
        let rest = Attributes { set: 0, ..attributes.clone() };
        match new.create() {
            Ok(Some(tree)) => return Tree::Detached(tree).place(target, &rest),
            Ok(None) => {
                let placed = new.mount_legacy(target)?;
                attributes::apply_placed(placed.as_fd(), &rest)?;
                return Ok(placed);
            }
            // A user namespace that does not own the cgroup namespace.
            Err(error) if matches!(error.raw_errno(), Some(libc::EPERM | libc::EBUSY)) => {}
            Err(error) => return Err(error),
        }
    }
    bind(&host, target, attributes)
}

fn mount_v1(entry: &Entry<'_>, view: &CgroupView, target: &Target<'_>, attributes: &Attributes) -> Result<OwnedFd> {
    let mut parameters = vec!["mode=755".to_owned()];
    parameters.extend(entry.plan.mount_label.as_deref().map(super::filesystem::context));
    let tmpfs = NewFilesystem {
        fs_type: c"tmpfs",
        source: c"tmpfs",
        super_flags: 0,
        attributes: attributes.set & !RDONLY,
        parameters,
    };
    let base = tmpfs.place(target)?;
    // Nobody else has written to it yet: names in it are what this process makes of them.
    fchdir(&base).context(|| "fchdir to the tmpfs")?;
    let mut names = Vec::with_capacity(view.hierarchies.len() + 1);
    for hierarchy in &view.hierarchies {
        for mount_point in hierarchy.mount_points() {
            if !bind_group(&base, &hierarchy.name, &hierarchy.group, &mount_point)? {
                continue;
            }
            names.push(hierarchy.name.as_str());
            for controller in hierarchy.name.split(',').filter(|controller| *controller != hierarchy.name) {
                symlinkat(hierarchy.name.as_str(), &base, controller)
                    .context(|| format!("symlink {controller} to {}", hierarchy.name))?;
            }
            break;
        }
    }
    if let Some(unified) = view.unified()
        && bind_group(&base, "unified", &view.unified_group, &unified)?
    {
        names.push("unified");
    }
    seal(&base, &names, attributes)?;
    Ok(base)
}

/// Sets the attributes on all of them, at once where that is possible.
fn seal(base: &OwnedFd, names: &[&str], attributes: &Attributes) -> Result<()> {
    let tree = Attributes {
        recursive_set: attributes.set | attributes.recursive_set,
        propagation: attributes.propagation.clone(),
        ..Attributes::default()
    };
    if attributes::apply(base.as_fd(), &tree)? {
        return Ok(());
    }
    let single = Attributes { recursive_set: 0, set: tree.recursive_set, ..tree };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for name in names {
        let placed = openat(base, *name, flags, Mode::empty()).context(|| format!("open {name}"))?;
        attributes::apply_legacy(placed.as_fd(), &single)?;
    }
    attributes::apply_legacy(base.as_fd(), &single)
}

fn bind(host: &Path, target: &Target<'_>, attributes: &Attributes) -> Result<OwnedFd> {
    let operation = || format!("bind {}", host.display());
    let path = c_path(host)?;
    let tree = Tree::of_path(&path, true, false).context(operation)?;
    tree.place(target, attributes).context(operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<Hierarchy> {
        memberships(line).find_map(v1)
    }

    #[test]
    fn parse_named_hierarchy_drops_the_prefix() {
        let expected = Hierarchy { name: "systemd".into(), group: "/user.slice".into() };
        assert_eq!(parse("9:name=systemd:/user.slice"), Some(expected));
    }

    #[test]
    fn parse_cgroup2_line_is_no_hierarchy() {
        assert_eq!(parse("0::/system.slice"), None);
    }

    #[test]
    fn parse_group_with_colons_keeps_them() {
        let expected = Hierarchy { name: "cpu,cpuacct".into(), group: "/a:b".into() };
        assert_eq!(parse("2:cpu,cpuacct:/a:b"), Some(expected));
    }
}
