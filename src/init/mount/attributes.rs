//! Flags and propagation of mounts: mount_setattr(2), with the remount of mount(2) as its sibling before
//! Linux 5.12.

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use rustix::fs::{StatVfsMountFlags, fstatvfs};

use crate::error::{Context, Error, Kind, Result};
use crate::fs::Procfs;
use crate::plan::mounts::MountPlan;
use crate::sys;
use crate::sys::mount::MountAttr;

pub(crate) const RDONLY: u64 = 0x1;
pub(crate) const NOSUID: u64 = 0x2;
pub(crate) const NODEV: u64 = 0x4;
pub(crate) const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
pub(crate) const IDMAP: u64 = 0x0010_0000;
const NOSYMFOLLOW: u64 = 0x0020_0000;

/// MOUNT_ATTR_* and the MS_* of mount(2) that mean the same; the atime family apart, since 0 is relatime.
const LEGACY: [(u64, u64); 6] = [
    (RDONLY, libc::MS_RDONLY),
    (NOSUID, libc::MS_NOSUID),
    (NODEV, libc::MS_NODEV),
    (NOEXEC, libc::MS_NOEXEC),
    (NODIRATIME, libc::MS_NODIRATIME),
    (NOSYMFOLLOW, 256),
];

/// What is changed on a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    /// MOUNT_ATTR_* to set and to clear on the mount itself.
    pub set: u64,
    pub clear: u64,
    /// The same for the whole tree.
    pub recursive_set: u64,
    pub recursive_clear: u64,
    /// MS_SHARED and so on, in order, with MS_REC for the whole tree.
    pub propagation: Vec<u64>,
}

impl Attributes {
    /// Those of an entry of `mounts`.
    pub fn of(plan: &MountPlan) -> Attributes {
        Attributes {
            set: plan.attr_set,
            clear: plan.attr_clear,
            recursive_set: plan.recursive_attr_set,
            recursive_clear: plan.recursive_attr_clear,
            propagation: plan.propagation.clone(),
        }
    }

    /// The calls to make: as few as recursion allows, the mount itself first.
    fn steps(&self) -> Vec<(bool, MountAttr)> {
        let own = MountAttr { attr_set: self.set, attr_clr: clearing(self.set, self.clear), ..Default::default() };
        let tree = MountAttr {
            attr_set: self.recursive_set,
            attr_clr: clearing(self.recursive_set, self.recursive_clear),
            ..Default::default()
        };
        let mut steps = vec![(false, own), (true, tree)];
        for (position, word) in self.propagation.iter().enumerate() {
            let recursive = word & libc::MS_REC != 0;
            let propagation = word & !libc::MS_REC;
            match steps.get_mut(usize::from(recursive)) {
                Some((_, attr)) if position == 0 => attr.propagation = propagation,
                _ => steps.push((recursive, MountAttr { propagation, ..Default::default() })),
            }
        }
        steps.retain(|(_, attr)| *attr != MountAttr::default());
        steps
    }
}

/// An atime value replaces another, so the whole field is cleared first (mount_setattr(2)).
fn clearing(set: u64, clear: u64) -> u64 {
    if (set | clear) & ATIME == 0 { clear } else { clear | ATIME }
}

/// Changes the mount, detached or placed, whose root `mount` is. Gives false where mount_setattr does not exist
/// and nothing was done.
pub(crate) fn apply(mount: BorrowedFd<'_>, attributes: &Attributes) -> Result<bool> {
    for (recursive, attr) in attributes.steps() {
        match sys::mount::mount_setattr(mount, recursive, &attr) {
            Err(Errno::ENOSYS) => return Ok(false),
            other => other.context(|| describe(recursive, &attr))?,
        }
    }
    Ok(true)
}

/// Changes a placed mount, by whichever call exists.
pub(crate) fn apply_placed(mount: BorrowedFd<'_>, attributes: &Attributes) -> Result<()> {
    if apply(mount, attributes)? { Ok(()) } else { apply_legacy(mount, attributes) }
}

/// The sibling of [`apply`]: mount(2) through the directory of descriptors. The mount has to be placed.
pub(crate) fn apply_legacy(mount: BorrowedFd<'_>, attributes: &Attributes) -> Result<()> {
    if attributes.recursive_set | attributes.recursive_clear != 0 {
        return Err(Error::new(Kind::Unsupported, "recursive mount attributes need mount_setattr(2) (Linux 5.12)"));
    }
    let path = fd_path(mount)?;
    if attributes.set | attributes.clear != 0 {
        let flags = legacy_flags(mount, attributes)? | libc::MS_REMOUNT | libc::MS_BIND;
        sys::mount::mount(None, &path, None, flags, None).context(|| format!("remount with flags {flags:#x}"))?;
    }
    for &word in &attributes.propagation {
        sys::mount::mount(None, &path, None, word, None).context(|| format!("set propagation {word:#x}"))?;
    }
    Ok(())
}

/// A remount replaces all flags, so those that the mount has are kept where nothing was asked: in a user
/// namespace clearing one is refused.
fn legacy_flags(mount: BorrowedFd<'_>, attributes: &Attributes) -> Result<u64> {
    let has = fstatvfs(mount).context(|| "fstatvfs")?.f_flag;
    let mut now = [
        (StatVfsMountFlags::RDONLY, RDONLY),
        (StatVfsMountFlags::NOSUID, NOSUID),
        (StatVfsMountFlags::NODEV, NODEV),
        (StatVfsMountFlags::NOEXEC, NOEXEC),
        (StatVfsMountFlags::NODIRATIME, NODIRATIME),
        (StatVfsMountFlags::NOATIME, NOATIME),
    ]
    .into_iter()
    .filter(|(flag, _)| has.contains(*flag))
    .fold(0, |flags, (_, attr)| flags | attr);
    if !has.intersects(StatVfsMountFlags::RELATIME | StatVfsMountFlags::NOATIME) {
        now |= STRICTATIME;
    }
    let wanted = now & !clearing(attributes.set, attributes.clear) | attributes.set;
    Ok(to_legacy(wanted))
}

/// MOUNT_ATTR_* as MS_*.
pub(super) fn to_legacy(attributes: u64) -> u64 {
    let flags =
        LEGACY.into_iter().filter(|(attr, _)| attributes & attr != 0).fold(0, |flags, (_, legacy)| flags | legacy);
    flags
        | match attributes & ATIME {
            NOATIME => libc::MS_NOATIME,
            STRICTATIME => libc::MS_STRICTATIME,
            _ => libc::MS_RELATIME,
        }
}

/// A path that means the file of `fd` to a system call that takes paths only. It is good while the working directory,
/// which this changes, stays: what is at /proc of a mount namespace that was joined may be somebody else's idea.
pub(in crate::init) fn fd_path(fd: BorrowedFd<'_>) -> Result<CString> {
    Procfs::open()?.enter_descriptors()?;
    CString::new(fd.as_raw_fd().to_string()).map_err(|error| Error::new(Kind::System, error.to_string()))
}

fn describe(recursive: bool, attr: &MountAttr) -> String {
    let tree = if recursive { " recursively" } else { "" };
    let MountAttr { attr_set, attr_clr, propagation, .. } = attr;
    format!("mount_setattr{tree}: set {attr_set:#x}, clear {attr_clr:#x}, propagation {propagation:#x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_plain_and_recursive_propagation_are_two_calls() {
        let attributes =
            Attributes { set: RDONLY, propagation: vec![libc::MS_PRIVATE | libc::MS_REC], ..Attributes::default() };
        let own = MountAttr { attr_set: RDONLY, ..Default::default() };
        let tree = MountAttr { propagation: libc::MS_PRIVATE, ..Default::default() };
        assert_eq!(attributes.steps(), [(false, own), (true, tree)]);
    }

    #[test]
    fn steps_nothing_asked_is_no_call() {
        assert_eq!(Attributes::default().steps(), []);
    }

    #[test]
    fn steps_strictatime_clears_the_whole_field() {
        let attributes = Attributes { set: STRICTATIME, ..Attributes::default() };
        let attr = MountAttr { attr_set: STRICTATIME, attr_clr: ATIME, ..Default::default() };
        assert_eq!(attributes.steps(), [(false, attr)]);
    }

    #[test]
    fn to_legacy_without_atime_is_relatime() {
        assert_eq!(to_legacy(RDONLY | NOSYMFOLLOW), libc::MS_RDONLY | 256 | libc::MS_RELATIME);
    }
}
