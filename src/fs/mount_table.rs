//! The mount table of this process: the lines of /proc/self/mountinfo (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::sys::file;

/// One mount. Paths are escaped as in the table, which does not matter to comparisons among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MountLine<'a> {
    pub id: u64,
    pub parent: u64,
    root: &'a str,
    point: &'a str,
    /// Type of the file system.
    pub fs_type: &'a str,
    /// Options of the file system, with commas.
    pub super_options: &'a str,
}

impl<'a> MountLine<'a> {
    /// `36 35 98:0 /root /point rw,noatime shared:1 - ext3 /dev/sda rw`; `None` for anything else.
    pub fn parse(line: &'a str) -> Option<MountLine<'a>> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ');
        let mut file_system = file_system.split(' ');
        Some(MountLine {
            id: mount.next()?.parse().ok()?,
            parent: mount.next()?.parse().ok()?,
            root: mount.nth(1)?,
            point: mount.next()?,
            fs_type: file_system.next()?,
            super_options: file_system.nth(1)?,
        })
    }

    /// The directory of the file system that is mounted.
    pub fn root(&self) -> OsString {
        unescape(self.root)
    }

    /// Where it is mounted.
    pub fn point(&self) -> PathBuf {
        PathBuf::from(unescape(self.point))
    }

    /// Whether it is mounted at `/`: the root itself, or something on it.
    pub fn is_on_root(&self) -> bool {
        self.point == "/"
    }

    /// Whether it is mounted at the place of `other` or on the way to it.
    pub fn covers(&self, other: &MountLine<'_>) -> bool {
        let below = other.point.strip_prefix(self.point);
        self.point == "/" || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// The text of the table, for [`MountLine::parse`].
pub(crate) fn read_mount_table() -> Result<String> {
    let bytes = file::read("/proc/self/mountinfo").context(|| "read /proc/self/mountinfo")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Undoes the `\ooo` of a mount table.
fn unescape(field: &str) -> OsString {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] if first == b'\\' => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            tail => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_with_and_without_optional_fields_and_escapes() {
        for tags in ["", "shared:1 ", "shared:1 master:2 "] {
            let text = format!(r"31 23 0:28 /x\011y /a\040b\134c rw,relatime {tags}- proc none rw,hidepid=2");
            let line = MountLine::parse(&text).unwrap();
            assert_eq!((line.id, line.parent, line.fs_type, line.super_options), (31, 23, "proc", "rw,hidepid=2"));
            assert_eq!((line.point(), line.root()), (PathBuf::from(r"/a b\c"), OsString::from("/x\ty")));
        }
    }

    #[test]
    fn parse_what_is_no_line_is_none() {
        for text in ["", "31 23 0:28 / /a rw", "31 23 0:28 / - proc none rw", "x 23 0:28 / /a rw - proc none rw"] {
            assert_eq!(MountLine::parse(text), None, "{text}");
        }
    }

    #[test]
    fn covers_goes_by_components() {
        let line =
            |point: &'static str| MountLine { id: 1, parent: 1, root: "/", point, fs_type: "", super_options: "" };
        assert!(line("/a").covers(&line("/a/b")) && line("/a").covers(&line("/a")) && line("/").covers(&line("/a")));
        assert!(!line("/a/b").covers(&line("/a")) && !line("/a").covers(&line("/ab")));
    }
}
