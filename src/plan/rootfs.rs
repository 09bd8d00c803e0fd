//! The root file system: what the child mounts, makes and masks, in the order in which it does.

use std::path::PathBuf;

use super::ids::IdMapping;
use super::mounts::{DevicePlan, MountPlan, MountSource};
use super::namespaces::Kind;
use super::text::{absolute, c_string, path_text};
use super::{Draft, devices, mount_options, mounts};
use crate::error::{self, Error, Result, Warning};
use crate::pointer;

/// The root file system of a container with a mount namespace (new or, for `create` without one, the host's).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RootfsPlan {
    /// Absolute, on the host.
    pub path: PathBuf,
    /// linux.rootfsPropagation as MS_*, with MS_REC for the r* words; the default is MS_SLAVE|MS_REC.
    pub propagation: u64,
    /// The value was configured (otherwise it is the default).
    pub propagation_configured: bool,
    /// root.readonly.
    pub readonly: bool,
    pub mounts: Vec<MountPlan>,
    /// Default devices first, then linux.devices.
    pub devices: Vec<DevicePlan>,
    /// Device nodes are bind-mounted from the host instead of made: mknod(2) is refused in a user namespace.
    pub bind_devices: bool,
    /// The links /dev/fd, stdin, stdout, stderr and ptmx are made: false when /dev is a bind mount of the user's.
    pub default_devices: bool,
    /// Absolute inside.
    pub masked_paths: Vec<PathBuf>,
    /// Absolute inside.
    pub readonly_paths: Vec<PathBuf>,
    /// linux.mountLabel, appended as `context=…` to new file systems.
    pub mount_label: Option<String>,
    /// How the root is entered.
    pub pivot: Pivot,
    /// The container has a cgroup namespace of its own.
    pub cgroup_namespace: bool,
    /// Mappings of the container's user namespace, empty without one: ids of tmpfs and devpts owners.
    pub uid_mappings: Vec<IdMapping>,
    pub gid_mappings: Vec<IdMapping>,
    /// A terminal is wanted: /dev/console is made.
    pub terminal: bool,
}

/// How the root is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pivot {
    /// pivot_root(".", ".").
    Swap,
    /// `--no-pivot`: MS_MOVE and chroot.
    Move,
    /// No mount namespace of its own: chroot only.
    Chroot,
}

impl RootfsPlan {
    /// Checks root, mounts, devices and masks.
    pub(super) fn new(draft: &Draft<'_>, warnings: &mut Vec<Warning>) -> Result<RootfsPlan> {
        let path = path(draft)?;
        let config = draft.config;
        let readonly = config.root.as_ref().and_then(|root| root.readonly()).unwrap_or_default();
        refuse_without_mount_namespace(draft, readonly)?;
        let mounts = config
            .mounts
            .iter()
            .enumerate()
            .map(|(i, mount)| mounts::plan(mount, i, draft.bundle_dir, draft.user.own, warnings))
            .collect::<Result<Vec<_>>>()?;
        let own_dev = !mounts.iter().any(is_bind_on_dev);
        let terminal = config.process.as_ref().is_some_and(|process| process.terminal);
        let pivot = match (draft.namespaces.is_new(Kind::Mount), draft.options.no_pivot) {
            (true, false) => Pivot::Swap,
            (true, true) => Pivot::Move,
            (false, _) => Pivot::Chroot,
        };
        let (propagation, propagation_configured) = propagation(draft)?;
        Ok(RootfsPlan {
            path,
            propagation,
            propagation_configured,
            readonly,
            devices: devices::plan(&draft.linux.devices, own_dev, draft, warnings)?,
            mounts,
            bind_devices: draft.user.own || draft.facts.in_user_namespace || draft.facts.euid != 0,
            default_devices: own_dev,
            masked_paths: inside(&draft.linux.masked_paths, "maskedPaths")?,
            readonly_paths: inside(&draft.linux.readonly_paths, "readonlyPaths")?,
            mount_label: mount_label(draft)?,
            pivot,
            cgroup_namespace: draft.namespaces.is_own(Kind::Cgroup),
            uid_mappings: draft.user.uid_mappings.clone(),
            gid_mappings: draft.user.gid_mappings.clone(),
            terminal,
        })
    }
}

/// Whether the user brings a /dev of the host, whose nodes and links are not ours to make.
fn is_bind_on_dev(mount: &MountPlan) -> bool {
    matches!(mount.source, MountSource::Bind { .. })
        && mount.destination.components().eq(PathBuf::from("/dev").components())
}

fn path(draft: &Draft<'_>) -> Result<PathBuf> {
    const AT: &str = "/root/path";
    let Some(root) = &draft.config.root else { return Err(Error::config("/root", "no root file system")) };
    let text = path_text(root.path(), || AT.to_owned())?;
    if text.is_empty() {
        return Err(Error::config(AT, "path is empty"));
    }
    c_string(text, || AT.to_owned())?;
    Ok(draft.bundle_dir.join(text))
}

/// Without a mount namespace of its own, what the container mounts would be mounted for the runtime and its host.
fn refuse_without_mount_namespace(draft: &Draft<'_>, readonly: bool) -> Result<()> {
    if draft.namespaces.is_own(Kind::Mount) {
        return Ok(());
    }
    let wanted = [
        (!draft.config.mounts.is_empty(), "/mounts", "mounts"),
        (readonly, "/root/readonly", "a read-only root"),
        (!draft.linux.masked_paths.is_empty(), "/linux/maskedPaths", "masked paths"),
        (!draft.linux.readonly_paths.is_empty(), "/linux/readonlyPaths", "read-only paths"),
        (
            draft.linux.rootfs_propagation.as_deref().is_some_and(|word| !word.is_empty()),
            "/linux/rootfsPropagation",
            "mount propagation",
        ),
    ];
    match wanted.into_iter().find(|(wanted, ..)| *wanted) {
        Some((_, at, what)) => Err(Error::config(at, format!("{what} without a mount namespace"))),
        None => Ok(()),
    }
}

fn propagation(draft: &Draft<'_>) -> Result<(u64, bool)> {
    use mount_options::{Word, flag};
    match draft.linux.rootfs_propagation.as_deref() {
        None | Some("") => Ok((flag::SLAVE | flag::REC, false)),
        Some(word) => match mount_options::word(word) {
            Some(Word::Propagation(flags)) => Ok((flags, true)),
            _ => Err(Error::config("/linux/rootfsPropagation", format!("unknown mount propagation {word:?}"))),
        },
    }
}

fn inside(paths: &[String], field: &str) -> Result<Vec<PathBuf>> {
    let one = |(i, path): (usize, &String)| {
        let at = || pointer::index(&format!("/linux/{field}"), i);
        absolute(path, "path", at)?;
        c_string(path, at)?;
        Ok(PathBuf::from(path))
    };
    paths.iter().enumerate().map(one).collect()
}

fn mount_label(draft: &Draft<'_>) -> Result<Option<String>> {
    const AT: &str = "/linux/mountLabel";
    match draft.linux.mount_label.as_deref() {
        None | Some("") => Ok(None),
        Some(label) if draft.facts.selinux => {
            c_string(label, || AT.to_owned())?;
            Ok(Some(label.to_owned()))
        }
        Some(label) => {
            let what = format!("SELinux label {label:?}: SELinux is not enabled");
            Err(Error::new(error::Kind::Unsupported, what).at(AT))
        }
    }
}
