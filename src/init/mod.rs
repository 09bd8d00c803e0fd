//! The child side: from the clone to `execve`. [`sequence`] is THE order of things; every line of it is one
//! phase with a file or a function of its own.
//!
//! Runs in a copy of the runtime's single thread: ordinary Rust is fine, but there is no panic that unwinds,
//! no exit handler, and no look-up of configuration. Uses `sync`, `cgroup` (to join), `fs`, `sys`, and `plan`
//! as data. Called by `container::spawn`.

pub(crate) mod attributes;
pub(crate) mod console;
pub(crate) mod credentials;
pub(crate) mod devices;
pub(crate) mod hooks;
pub(crate) mod intermediate;
pub(crate) mod join;
pub(crate) mod labels;
pub(crate) mod masks;
pub(crate) mod mount;
pub(crate) mod payload;
pub(crate) mod pivot;
pub(crate) mod rootfs;
pub(crate) mod sysctl;

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::errno::Errno;

use crate::cgroup::JoinFds;
use crate::error::{Context as _, Error, Kind as ErrorKind, Result};
use crate::plan::InitPlan;
use crate::plan::namespaces::Kind;
use crate::state::{State, Status};
use crate::sync::frame::FromInit;
use crate::sync::{ChildEnd, gate};
use crate::sys::clone::exit_now;
use crate::sys::namespace::unshare;
use crate::sys::{credentials as sys_credentials, fd, process};
use join::Joins;

/// What init is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitRequest<'a> {
    pub plan: &'a InitPlan,
    /// Namespaces to make once in the user namespace (CLONE_NEW*).
    pub unshare_flags: u64,
    /// What hooks read; status and pid are filled in.
    pub state: &'a State,
    /// The parent has something to do between the mounts and the pivot.
    pub stop_at_rootfs: bool,
    /// Descriptors 3 to 2+n go to the program.
    pub preserve_fds: u32,
}

/// What init is born with. Everything else that is open is closed.
#[derive(Debug)]
pub(crate) struct InitFds {
    /// The start gate; `exec` has none.
    pub gate: Option<OwnedFd>,
    pub cgroup: JoinFds,
    pub joins: Joins,
    /// A connection to the console socket.
    pub console: Option<OwnedFd>,
}

/// Where init came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Born {
    /// A child's clone: the user namespace, if joined, is still to be joined.
    Directly,
    /// The intermediate's: the user, pid and time namespaces are entered.
    OfIntermediate,
}
