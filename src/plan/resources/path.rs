//! linux.cgroupsPath (config-linux.md#cgroups-path).

use crate::error::{Error, Kind, Result};

/// Where the container's cgroup lies, normalised: no empty component, no `.`, no `..`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CgroupPath {
    /// Below the root of each hierarchy's mount; without the leading slash.
    Absolute(String),
    /// Below the runtime's own cgroup on v1; beside it on v2, where a cgroup with processes in it cannot hand
    /// controllers down (cgroups(7), "no internal processes").
    Relative(String),
}

impl Default for CgroupPath {
    fn default() -> Self {
        CgroupPath::Relative(String::new())
    }
}

impl CgroupPath {
    /// Normalises `text` by its words alone; a `..` at the top stays at the top, so that nothing leaves the
    /// hierarchy or the runtime's own cgroup.
    pub fn parse(text: &str) -> Result<CgroupPath> {
        if let Some(bad) = text.chars().find(|c| c.is_control()) {
            return Err(Error::new(Kind::Config, format!("cgroup path {text:?} has the character {bad:?}")));
        }
        let normal = normalise(text);
        if normal.is_empty() {
            return Err(Error::new(Kind::Config, format!("cgroup path {text:?} is the root of the hierarchy")));
        }
        Ok(if text.starts_with('/') { CgroupPath::Absolute(normal) } else { CgroupPath::Relative(normal) })
    }
}

fn normalise(text: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_paths_are_normalised() {
        for (text, expected) in [
            ("/a/b", CgroupPath::Absolute("a/b".into())),
            ("//a/./b//", CgroupPath::Absolute("a/b".into())),
            ("a/b", CgroupPath::Relative("a/b".into())),
            ("/a/../b", CgroupPath::Absolute("b".into())),
            ("/../../a", CgroupPath::Absolute("a".into())),
            ("../../a/b", CgroupPath::Relative("a/b".into())),
            ("system.slice:docker:abc", CgroupPath::Relative("system.slice:docker:abc".into())),
            ("/a/...", CgroupPath::Absolute("a/...".into())),
        ] {
            assert_eq!(CgroupPath::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn parse_root_and_control_characters_are_refused() {
        for text in ["/", ".", "/..", "/a/..", "..", "/a\nb", "a\0b"] {
            assert!(CgroupPath::parse(text).is_err(), "{text:?}");
        }
    }
}
