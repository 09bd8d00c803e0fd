//! How the first process comes to be: which of the ways of the process model, and what the parent owes it.

use super::ids::IdMapping;

/// What the parent does around the clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpawnPlan {
    /// Direct, or through an intermediate.
    pub way: Way,
    /// Flags of the clone3 call that makes init (without CLONE_INTO_CGROUP and CLONE_PIDFD, which the
    /// parent adds as it can).
    pub clone_flags: u64,
    /// Flags that init unshares itself, after the maps are written. Never NEWCGROUP: see `InitPlan`.
    pub unshare_flags: u64,
    /// uid_map of a new user namespace.
    pub uid_mappings: Vec<IdMapping>,
    /// gid_map of a new user namespace.
    pub gid_mappings: Vec<IdMapping>,
    /// Whether maps are written by newuidmap(1) and newgidmap(1), because the parent has no capability over them
    /// and they hold more than the caller's own id.
    pub map_with_helpers: bool,
    /// setgroups is written "deny" before gid_map (user_namespaces(7)): an unprivileged caller maps only itself.
    pub deny_setgroups: bool,
    /// Offsets of a new time namespace (time_namespaces(7)).
    pub time_offsets: Vec<TimeOffset>,
}

/// The ways of the process model's table (see the head of the library).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// One clone3; the parent sets its own pid_for_children or time_for_children before and back after.
    #[default]
    Direct,
    /// A process that joins or makes the user (and pid, time) namespace, then clones init with CLONE_PARENT.
    Intermediate,
}

/// One line of /proc/PID/timens_offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeOffset {
    /// The clock.
    pub clock: Clock,
    /// Seconds, may be negative.
    pub secs: i64,
    /// Nanoseconds, below 10⁹.
    pub nanosecs: u32,
}

/// The clocks of a time namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Monotonic,
    Boottime,
}
