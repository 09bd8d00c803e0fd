//! Container ids, and user and group id mappings (user_namespaces(7)).

use crate::error::{Error, Kind, Result};

/// The longest container id: it is the name of a directory (NAME_MAX).
const LONGEST_ID: usize = 255;

/// Accepts a container id: 1 to 255 of `A`-`Z`, `a`-`z`, `0`-`9`, `_`, `+`, `-` and `.`, but neither `.` nor `..`.
pub(crate) fn validate(id: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::new(Kind::Usage, format!("container id {id:?}: {why}")));
    if id.is_empty() {
        return refuse("empty");
    }
    if id.len() > LONGEST_ID {
        let length = id.len();
        return Err(Error::new(Kind::Usage, format!("container id of {length} characters: longer than {LONGEST_ID}")));
    }
    if id == "." || id == ".." {
        return refuse("names a directory");
    }
    match id.chars().find(|c| !c.is_ascii_alphanumeric() && !"_+-.".contains(*c)) {
        Some(c) => refuse(&format!("invalid character {c:?}")),
        None => Ok(()),
    }
}

/// One line of uid_map or gid_map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdMapping {
    /// First id inside.
    pub container_id: u32,
    /// First id outside.
    pub host_id: u32,
    /// Number of ids, at least 1; neither range passes 2³²-1.
    pub size: u32,
}
