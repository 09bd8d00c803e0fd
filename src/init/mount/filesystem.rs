//! New file systems: fsopen(2) and its companions, with mount(2) as their sibling.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat, statfs};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, FsPickFlags, MountAttrFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, fspick,
};

use super::attributes::{Attributes, NODEV, NOEXEC, NOSUID, RDONLY, fd_path, to_legacy};
use super::peers::mount_apart;
use super::place::Tree;
use super::target::Target;
use crate::error::{Context, Error, Kind, Result};
use crate::fs::{FileId, Links, PROC_MAGIC, SYSFS_MAGIC};
use crate::sys;

/// Super block flags and the words that fsconfig(2) knows them by.
const SUPER_FLAGS: [(u64, &CStr); 5] = [
    (libc::MS_RDONLY, c"ro"),
    (libc::MS_SYNCHRONOUS, c"sync"),
    (libc::MS_DIRSYNC, c"dirsync"),
    (libc::MS_MANDLOCK, c"mand"),
    (libc::MS_LAZYTIME, c"lazytime"),
];
const MS_I_VERSION: u64 = 1 << 23;
/// fsconfig(2) takes strings of up to 255 bytes; an overlay's lowerdir is often longer.
const LONGEST_STRING: usize = 255;

/// A file system that does not exist yet.
#[derive(Clone, Debug)]
pub(in crate::init) struct NewFilesystem<'a> {
    pub fs_type: &'a CStr,
    pub source: &'a CStr,
    /// MS_* of the super block.
    pub super_flags: u64,
    /// MOUNT_ATTR_* of its mount.
    pub attributes: u64,
    /// `key=value` or `word`.
    pub parameters: Vec<String>,
}

/// Whether the kernel makes the file system from numbers and words alone: no parameter is a path, which would be looked up
/// from the working directory.
pub(super) fn is_pathless(fs_type: &CStr) -> bool {
    matches!(fs_type.to_bytes(), b"proc" | b"sysfs" | b"tmpfs" | b"devpts" | b"mqueue")
}

impl NewFilesystem<'_> {
    /// Mounts it onto `directory` by the two calls of old, where [`Self::create`] and move_mount(2) are seven and more. The
    /// directory becomes the working directory, so that no path is looked up here either.
    ///
    /// False when that cannot be or is refused: then nothing has happened but for the working directory, and `create`
    /// says better what is wrong.
    pub fn mount_onto(&self, directory: BorrowedFd<'_>) -> bool {
        rustix::process::fchdir(directory).is_ok() && self.mount_at(c".").is_ok()
    }

    /// Mounts it onto `path` by mount(2). `EINVAL` also for what that has no words for.
    pub fn mount_at(&self, path: &CStr) -> std::result::Result<(), nix::errno::Errno> {
        let read_only = |flags: u64, flag: u64| flags & flag != 0;
        // A comma would end the parameter; mount(2) knows one flag for both kinds of read-only.
        if self.parameters.iter().any(|parameter| parameter.contains(','))
            || read_only(self.super_flags, libc::MS_RDONLY) != read_only(self.attributes, RDONLY)
        {
            return Err(nix::errno::Errno::EINVAL);
        }
        let Ok(data) = joined(&self.parameters) else { return Err(nix::errno::Errno::EINVAL) };
        let source = (!self.source.is_empty()).then_some(self.source);
        let flags = self.super_flags | to_legacy(self.attributes);
        sys::mount::mount(source, path, Some(self.fs_type), flags, Some(&data))
    }

    /// Mounts it onto `target` and gives its root. Where that is a directory in procfs or sysfs, which are the kernel's
    /// to rename, its name leads from the directory above to what was mounted, and four calls do instead of seven.
    pub fn place(&self, target: &Target<'_>) -> Result<OwnedFd> {
        let name = target.path.file_name().filter(|_| target.links == Links::Refuse && !target.root.holds_peers());
        if let Some(name) = name
            && rustix::process::fchdir(&target.fd).is_ok()
            && is_of_the_kernel(c"..")
            && self.mount_at(c".").is_ok()
        {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            return openat(CWD, Path::new("..").join(name), flags, Mode::empty()).context(|| "open the new mount");
        }
        match self.create()? {
            Some(tree) => Tree::Detached(tree).place(target, &Attributes::default()),
            None => self.mount_legacy(target),
        }
    }

    /// Makes the file system and a detached mount of it. `None` where only [`Self::mount_legacy`] can do it: fsopen is
    /// missing (before Linux 5.2), or a parameter or flag does not go through it.
    pub fn create(&self) -> Result<Option<OwnedFd>> {
        let values = self.parameters.iter().map(|parameter| split(parameter).1.unwrap_or("").len());
        if values.chain([self.source.to_bytes().len()]).any(|length| length > LONGEST_STRING)
            || self.super_flags & MS_I_VERSION != 0
        {
            return Ok(None);
        }
        let context = match fsopen(self.fs_type, FsOpenFlags::FSOPEN_CLOEXEC) {
            Err(Errno::NOSYS) => return Ok(None),
            Err(Errno::NODEV) => {
                let fs_type = self.fs_type.to_string_lossy();
                return Err(Errno::NODEV).context(|| format!("the kernel has no file system {fs_type:?}"));
            }
            other => other.context(|| "fsopen")?,
        };
        let context_fd = context.as_fd();
        if !self.source.is_empty() {
            said(context_fd, fsconfig_set_string(context_fd, c"source", self.source), || "source".to_owned())?;
        }
        set_super_flags(context_fd, self.super_flags)?;
        for parameter in &self.parameters {
            set_parameter(context_fd, parameter)?;
        }
        said(context_fd, fsconfig_create(context_fd), || "create the file system".to_owned())?;
        let attributes = MountAttrFlags::from_bits_retain(self.attributes as u32);
        let mount = fsmount(context_fd, FsMountFlags::FSMOUNT_CLOEXEC, attributes);
        said(context_fd, mount, || "fsmount".to_owned()).map(Some)
    }

    /// The sibling of [`Self::create`]: mounts onto `target` through the directory of descriptors.
    pub fn mount_legacy(&self, target: &Target<'_>) -> Result<OwnedFd> {
        let path = fd_path(target.fd.as_fd())?;
        let data = joined(&self.parameters)?;
        let flags = self.super_flags | to_legacy(self.attributes);
        mount_apart(target, || {
            sys::mount::mount(Some(self.source), &path, Some(self.fs_type), flags, Some(&data))
                .context(|| format!("mount with flags {flags:#x} and data {data:?}"))
        })?;
        let placed = target.top()?;
        if FileId::of(placed.as_fd())? == FileId::of(target.fd.as_fd())? {
            return Err(Error::new(Kind::System, "the mount target changed while it was mounted on"));
        }
        Ok(placed)
    }
}

fn is_of_the_kernel(path: &CStr) -> bool {
    statfs(path).is_ok_and(|status| matches!(status.f_type as u32, PROC_MAGIC | SYSFS_MAGIC))
}

/// Changes the super block that `placed` is on: `remount` without `bind`.
pub(super) fn reconfigure(
    placed: BorrowedFd<'_>,
    super_flags: u64,
    writable: bool,
    parameters: &[String],
) -> Result<()> {
    match fspick(placed, c"", FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH) {
        Ok(context) => {
            let context = context.as_fd();
            set_super_flags(context, super_flags)?;
            if writable {
                said(context, fsconfig_set_flag(context, c"rw"), || "rw".to_owned())?;
            }
            for parameter in parameters {
                set_parameter(context, parameter)?;
            }
            said(context, fsconfig_reconfigure(context), || "reconfigure the file system".to_owned())
        }
        Err(Errno::NOSYS) => {
            let path = fd_path(placed)?;
            let data = joined(parameters)?;
            sys::mount::mount(None, &path, None, super_flags | libc::MS_REMOUNT, Some(&data)).context(|| "remount")
        }
        Err(errno) => Err(errno).context(|| "fspick"),
    }
}

/// An empty tmpfs that nobody can write to.
pub(in crate::init) fn empty_tmpfs(label: Option<&str>) -> NewFilesystem<'static> {
    NewFilesystem {
        fs_type: c"tmpfs",
        source: c"tmpfs",
        super_flags: libc::MS_RDONLY,
        attributes: RDONLY | NOSUID | NODEV | NOEXEC,
        parameters: label.into_iter().map(context).collect(),
    }
}

/// The parameter that labels all files of a file system (mount(8), SELinux).
pub(super) fn context(label: &str) -> String {
    format!("context=\"{label}\"")
}

fn set_super_flags(context: BorrowedFd<'_>, flags: u64) -> Result<()> {
    for (_, word) in SUPER_FLAGS.into_iter().filter(|(flag, _)| flags & flag != 0) {
        said(context, fsconfig_set_flag(context, word), || word.to_string_lossy().into_owned())?;
    }
    Ok(())
}

fn set_parameter(context: BorrowedFd<'_>, parameter: &str) -> Result<()> {
    let result = match split(parameter) {
        (key, Some(value)) => fsconfig_set_string(context, key, value),
        (key, None) => fsconfig_set_flag(context, key),
    };
    said(context, result, || format!("parameter {parameter:?}"))
}

/// `key=value`, or a word. Quotes around a value are for the comma-separated form (SELinux contexts) only.
fn split(parameter: &str) -> (&str, Option<&str>) {
    match parameter.split_once('=') {
        Some((key, value)) => {
            let bare = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
            (key, Some(bare.unwrap_or(value)))
        }
        None => (parameter, None),
    }
}

/// The form of mount(2).
fn joined(parameters: &[String]) -> Result<CString> {
    CString::new(parameters.join(",")).map_err(|error| Error::new(Kind::Config, error.to_string()))
}

/// Adds what the kernel had to say about a failure: it queues messages on the context, one a read(2).
fn said<T>(context: BorrowedFd<'_>, result: std::result::Result<T, Errno>, what: impl FnOnce() -> String) -> Result<T> {
    let errno = match result {
        Ok(value) => return Ok(value),
        Err(errno) => errno,
    };
    let mut text = what();
    let mut buffer = [0; 1024];
    while let Ok(length) = rustix::io::read(context, &mut buffer) {
        let message = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
        // "e ", "w " or "i " tells the level.
        let message = message.get(2..).unwrap_or(&message).trim_end();
        if message.is_empty() {
            break;
        }
        text.push_str(": ");
        text.push_str(message);
    }
    Err(errno).context(|| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn split_quoted_value_loses_its_quotes() {
        assert_eq!(split("context=\"a:b,c\""), ("context", Some("a:b,c")));
    }

    #[test]
    fn split_word_has_no_value() {
        assert_eq!(split("newinstance"), ("newinstance", None));
    }
}
