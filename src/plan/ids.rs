//! Container ids, and user and group id mappings (user_namespaces(7)).

use oci_spec::runtime::LinuxIdMapping;

use super::namespaces::{self, Namespaces};
use crate::bundle::config::Linux;
use crate::error::{Error, Kind, Result};
use crate::host::HostFacts;

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

impl IdMapping {
    /// The form of /proc/PID/uid_map (user_namespaces(7)).
    pub fn lines(mappings: &[IdMapping]) -> String {
        let line = |map: &IdMapping| format!("{} {} {}\n", map.container_id, map.host_id, map.size);
        mappings.iter().map(line).collect()
    }

    /// What the id `inside` is outside.
    pub fn host_id(mappings: &[IdMapping], inside: u32) -> Option<u32> {
        mappings.iter().find_map(|map| {
            let distance = inside.checked_sub(map.container_id).filter(|&distance| distance < map.size)?;
            map.host_id.checked_add(distance)
        })
    }
}

/// The kernel takes at most this many lines (UID_GID_MAP_MAX_EXTENTS, Linux 4.15).
const MOST_LINES: usize = 340;

/// The kernel takes a map in one write that is shorter than a page.
const LONGEST_MAP: usize = 4096;

const CAP_SETGID: u64 = 1 << 6;
const CAP_SETUID: u64 = 1 << 7;

/// The user namespace of a container and its maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct UserNamespace {
    /// The container has one of its own, new or joined.
    pub own: bool,
    /// Empty when joined and not configured: unknown.
    pub uid_mappings: Vec<IdMapping>,
    /// Empty when joined and not configured: unknown.
    pub gid_mappings: Vec<IdMapping>,
    /// The maps are written by newuidmap(1) and newgidmap(1).
    pub map_with_helpers: bool,
    /// setgroups(2) is denied in it.
    pub setgroups_denied: bool,
}

impl UserNamespace {
    /// Checks linux.uidMappings and linux.gidMappings against the namespaces and the caller's powers.
    pub fn new(linux: &Linux, namespaces: &Namespaces, facts: &HostFacts) -> Result<UserNamespace> {
        const UID: &str = "/linux/uidMappings";
        const GID: &str = "/linux/gidMappings";
        let kind = namespaces::Kind::User;
        let own = namespaces.is_own(kind);
        let uid_mappings = mappings(&linux.uid_mappings, UID)?;
        let gid_mappings = mappings(&linux.gid_mappings, GID)?;
        for (mappings, pointer) in [(&uid_mappings, UID), (&gid_mappings, GID)] {
            if !own && !mappings.is_empty() {
                return Err(Error::config(pointer, "mappings without a user namespace"));
            }
            if namespaces.is_new(kind) && mappings.is_empty() {
                return Err(Error::config(pointer, "a new user namespace without a mapping"));
            }
        }
        if !own && facts.euid != 0 {
            return Err(Error::config("/linux/namespaces", "an unprivileged user needs a user namespace")
                .hint("`spec --rootless` makes a configuration with one"));
        }
        let privileged = facts.effective_capabilities & (CAP_SETUID | CAP_SETGID) == CAP_SETUID | CAP_SETGID;
        let only = |mappings: &[IdMapping], id| matches!(mappings, [one] if one.size == 1 && one.host_id == id);
        let only_own_ids = only(&uid_mappings, facts.euid) && only(&gid_mappings, facts.egid);
        let unprivileged_maps = namespaces.is_new(kind) && !privileged;
        Ok(UserNamespace {
            own,
            uid_mappings,
            gid_mappings,
            map_with_helpers: unprivileged_maps && !only_own_ids,
            setgroups_denied: unprivileged_maps && only_own_ids,
        })
    }
}

/// Checks mappings of a user namespace or of a mount at `pointer`.
pub(super) fn mappings(list: &[LinuxIdMapping], pointer: &str) -> Result<Vec<IdMapping>> {
    let plain = |entry: &LinuxIdMapping| IdMapping {
        container_id: entry.container_id(),
        host_id: entry.host_id(),
        size: entry.size(),
    };
    checked(&list.iter().map(plain).collect::<Vec<_>>(), pointer)
}

/// The kernel's rules: ranges that end before 2³²-1 and do not overlap, few enough for one write.
pub(super) fn checked(list: &[IdMapping], pointer: &str) -> Result<Vec<IdMapping>> {
    if list.len() > MOST_LINES {
        let why = format!("{} mappings: the kernel takes {MOST_LINES}", list.len());
        return Err(Error::config(pointer.to_owned(), why));
    }
    let mut mappings: Vec<IdMapping> = Vec::with_capacity(list.len());
    let mut length = 0;
    for (index, &new) in list.iter().enumerate() {
        let at = |field: &str| format!("{pointer}/{index}/{field}");
        if new.size == 0 {
            return Err(Error::config(at("size"), "a mapping of no ids"));
        }
        for (first, field) in [(new.container_id, "containerID"), (new.host_id, "hostID")] {
            if first.checked_add(new.size).is_none() {
                return Err(Error::config(at(field), format!("{} ids from {first} pass the largest id", new.size)));
            }
        }
        for (other, old) in mappings.iter().enumerate() {
            let field = if overlap(old.container_id, old.size, new.container_id, new.size) {
                "containerID"
            } else if overlap(old.host_id, old.size, new.host_id, new.size) {
                "hostID"
            } else {
                continue;
            };
            return Err(Error::config(at(field), format!("overlaps mapping {other}")));
        }
        length += [new.container_id, new.host_id, new.size].into_iter().map(digits).sum::<usize>() + 3;
        mappings.push(new);
    }
    if length >= LONGEST_MAP {
        let why = format!("mappings of {length} bytes as text: the kernel takes {}", LONGEST_MAP - 1);
        return Err(Error::config(pointer.to_owned(), why));
    }
    Ok(mappings)
}

fn overlap(one: u32, one_size: u32, other: u32, other_size: u32) -> bool {
    let (one, other) = (u64::from(one), u64::from(other));
    one < other + u64::from(other_size) && other < one + u64::from(one_size)
}

fn digits(number: u32) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

/// Whether `id` of the container exists outside; unknown maps are believed.
pub(super) fn is_mapped(mappings: &[IdMapping], id: u32) -> bool {
    mappings.is_empty() || mappings.iter().any(|map| overlap(map.container_id, map.size, id, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validate_good_ids_are_accepted() {
        for id in ["a", "web-1", "A_b+c.d", "...", &"x".repeat(255)] {
            validate(id).unwrap();
        }
    }

    #[test]
    fn validate_bad_ids_are_refused() {
        for id in ["", ".", "..", "a/b", "../a", "a b", "a\n", "ä", "a\0", "a:b", &"x".repeat(256)] {
            assert_eq!(validate(id).unwrap_err().kind(), Kind::Usage, "{id:?}");
        }
    }

    #[test]
    fn mappings_as_long_as_the_kernel_takes_are_accepted_and_no_longer() {
        let line = |i: u32, gap: u32| IdMapping { container_id: i * gap, host_id: i * gap, size: 1 };
        let list: Vec<_> = (0..340).map(|i| line(i, 2)).collect();
        assert_eq!(checked(&list, "/m").unwrap().len(), 340);
        let longer: Vec<_> = (0..341).map(|i| line(i, 2)).collect();
        assert!(checked(&longer, "/m").unwrap_err().to_string().contains("341 mappings"));
        let wider: Vec<_> = (0..340).map(|i| line(i + 1, 10_000_000)).collect();
        assert!(checked(&wider, "/m").unwrap_err().to_string().contains("bytes as text"));
    }
}
