//! The eight kinds of namespace (namespaces(7)) and what the configuration asks of each.

use std::ffi::CString;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType};

use super::text::{absolute, c_string, path_text};
use crate::error::{Error, Result};

/// A kind of namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub(crate) enum Kind {
    User,
    Cgroup,
    Ipc,
    Uts,
    Net,
    Pid,
    Mount,
    Time,
}

impl Kind {
    /// All kinds, in the order in which they are joined: the user namespace first, because it owns the
    /// others; the mount namespace after those that are opened by path.
    pub const ALL: [Kind; 8] =
        [Kind::User, Kind::Cgroup, Kind::Ipc, Kind::Uts, Kind::Net, Kind::Pid, Kind::Mount, Kind::Time];

    /// The word in config.json (config-linux.md#namespaces).
    pub const fn word(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Cgroup => "cgroup",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Net => "network",
            Kind::Pid => "pid",
            Kind::Mount => "mount",
            Kind::Time => "time",
        }
    }

    /// The file in /proc/PID/ns.
    pub const fn proc_name(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Cgroup => "cgroup",
            Kind::Ipc => "ipc",
            Kind::Uts => "uts",
            Kind::Net => "net",
            Kind::Pid => "pid",
            Kind::Mount => "mnt",
            Kind::Time => "time",
        }
    }

    /// The CLONE_NEW* flag (clone(2), setns(2)).
    pub const fn flag(self) -> u64 {
        (match self {
            Kind::User => libc::CLONE_NEWUSER,
            Kind::Cgroup => libc::CLONE_NEWCGROUP,
            Kind::Ipc => libc::CLONE_NEWIPC,
            Kind::Uts => libc::CLONE_NEWUTS,
            Kind::Net => libc::CLONE_NEWNET,
            Kind::Pid => libc::CLONE_NEWPID,
            Kind::Mount => libc::CLONE_NEWNS,
            Kind::Time => 0x80, // CLONE_NEWTIME, Linux 5.6
        }) as u64
    }
}

impl From<LinuxNamespaceType> for Kind {
    fn from(kind: LinuxNamespaceType) -> Kind {
        match kind {
            LinuxNamespaceType::User => Kind::User,
            LinuxNamespaceType::Cgroup => Kind::Cgroup,
            LinuxNamespaceType::Ipc => Kind::Ipc,
            LinuxNamespaceType::Uts => Kind::Uts,
            LinuxNamespaceType::Network => Kind::Net,
            LinuxNamespaceType::Pid => Kind::Pid,
            LinuxNamespaceType::Mount => Kind::Mount,
            LinuxNamespaceType::Time => Kind::Time,
        }
    }
}

/// What becomes of one kind of namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Membership {
    /// Not listed: the runtime's own.
    #[default]
    Inherit,
    /// Listed without a path: a new one.
    New,
    /// Listed with a path: joined. The path is opened and its type checked before the clone.
    Join {
        /// Absolute, on the host.
        path: CString,
        /// Position in `linux.namespaces`, for messages.
        index: usize,
    },
}

/// What becomes of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Namespaces([Membership; 8]);

impl Namespaces {
    /// Checks linux.namespaces: no kind twice, paths absolute. Whether a path is a namespace of its kind is seen
    /// when it is opened.
    pub fn new(list: &[LinuxNamespace]) -> Result<Namespaces> {
        let mut namespaces = Namespaces::default();
        for (index, entry) in list.iter().enumerate() {
            let kind = Kind::from(entry.typ());
            if *namespaces.of(kind) != Membership::Inherit {
                let why = format!("a second {} namespace", kind.word());
                return Err(Error::config(format!("/linux/namespaces/{index}/type"), why));
            }
            let at = || format!("/linux/namespaces/{index}/path");
            let path = match entry.path() {
                Some(path) => path_text(path, at)?,
                None => "",
            };
            namespaces.set(
                kind,
                match path {
                    "" => Membership::New,
                    path => {
                        absolute(path, "namespace path", at)?;
                        Membership::Join { path: c_string(path, at)?, index }
                    }
                },
            );
        }
        Ok(namespaces)
    }

    /// The namespaces of the container whose init is `pid`, for one more process: what was made or joined then
    /// is joined now.
    pub fn of_container(&self, pid: i32) -> Result<Namespaces> {
        let mut joined = Namespaces::default();
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            if self.is_own(kind) {
                let path = c_string(&format!("/proc/{pid}/ns/{}", kind.proc_name()), String::new)?;
                joined.set(kind, Membership::Join { path, index });
            }
        }
        Ok(joined)
    }

    /// Whether `kind` is another than the runtime's: new or joined.
    pub fn is_own(&self, kind: Kind) -> bool {
        *self.of(kind) != Membership::Inherit
    }

    /// What becomes of `kind`.
    pub fn of(&self, kind: Kind) -> &Membership {
        &self.0[kind as usize]
    }

    /// Decides about `kind`.
    pub fn set(&mut self, kind: Kind, membership: Membership) {
        self.0[kind as usize] = membership;
    }

    /// Whether `kind` is a new namespace.
    pub fn is_new(&self, kind: Kind) -> bool {
        *self.of(kind) == Membership::New
    }

    /// Whether `kind` is joined by path.
    pub fn is_joined(&self, kind: Kind) -> bool {
        matches!(self.of(kind), Membership::Join { .. })
    }

    /// The CLONE_NEW* flags of all kinds for which `wanted` holds.
    pub fn flags(&self, wanted: impl Fn(Kind, &Membership) -> bool) -> u64 {
        Kind::ALL.into_iter().filter(|&kind| wanted(kind, self.of(kind))).fold(0, |flags, kind| flags | kind.flag())
    }
}
