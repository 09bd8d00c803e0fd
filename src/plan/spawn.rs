//! How the first process comes to be: which of the ways of the process model, and what the parent owes it.

use oci_spec::runtime::LinuxTimeOffset;

use super::ids::{IdMapping, UserNamespace};
use super::namespaces::{Kind, Namespaces};
use crate::bundle::shape::Map;
use crate::error::{Error, Result};
use crate::host::HostFacts;
use crate::pointer;

/// Made by init itself.
const OTHERS: [Kind; 4] = [Kind::Mount, Kind::Net, Kind::Ipc, Kind::Uts];

/// What the parent does around the clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SpawnPlan {
    /// Direct, or through an intermediate.
    pub way: Way,
    /// Flags of the clone3 call that makes init (without CLONE_INTO_CGROUP and CLONE_PIDFD, which the
    /// parent adds as it can). An intermediate has made or joined the user and time namespaces before, so
    /// those are never among them then.
    pub clone_flags: u64,
    /// Flags that init unshares at once, while the parent makes its cgroups: the network namespace alone costs the
    /// kernel as much.
    pub early_flags: u64,
    /// Flags that init unshares itself, after the maps are written and everything is joined. Never NEWCGROUP: init
    /// unshares that last, once it sits in its cgroup. Never NEWTIME, NEWUSER, NEWPID.
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
    /// Root's: the child is not dumpable, so that it belongs to root in /proc and only root could write its maps and offsets.
    /// An unprivileged runtime leaves its child open until then; it holds nothing that the user may not see.
    pub private: bool,
}

impl SpawnPlan {
    /// Chooses the way by the table of the process model.
    pub fn new(namespaces: &Namespaces, user: &UserNamespace, facts: &HostFacts) -> SpawnPlan {
        let new = |kind| namespaces.is_new(kind);
        let joined = |kind| namespaces.is_joined(kind);
        // Root of a user namespace has every right over those below; an ordinary user gets them by joining.
        let unprivileged = facts.euid != 0;
        // Its own pid and time namespaces belong to an outer user namespace, so it could not return to them.
        let no_way_back = facts.in_user_namespace && (joined(Kind::Pid) || new(Kind::Time));
        // Namespaces joined by path belong to an outer user namespace: there is no right to join them once the new one
        // is entered. The intermediate joins them first.
        let join_before_user = new(Kind::User)
            && Kind::ALL.into_iter().any(|kind| joined(kind) && kind != Kind::User && kind != Kind::Pid);
        let intermediate = join_before_user
            || no_way_back
            || (new(Kind::User) && new(Kind::Time))
            || (joined(Kind::User) && (new(Kind::Pid) || new(Kind::Time)))
            || (unprivileged && joined(Kind::Pid));
        let way = if intermediate { Way::Intermediate } else { Way::Direct };
        // The user namespace is made before the others, and mapped: it owns them, and a network namespace that knows no
        // root yet has a sysfs that belongs to nobody.
        let at_once: &[Kind] = match way {
            Way::Direct => &[Kind::User, Kind::Pid],
            Way::Intermediate => &[Kind::Pid],
        };
        let others = namespaces.flags(|kind, _| new(kind) && OTHERS.contains(&kind));
        let (early_flags, unshare_flags) = if namespaces.is_own(Kind::User) { (0, others) } else { (others, 0) };
        let new_user = new(Kind::User);
        SpawnPlan {
            way,
            clone_flags: namespaces.flags(|kind, _| new(kind) && at_once.contains(&kind)),
            early_flags,
            unshare_flags,
            uid_mappings: if new_user { user.uid_mappings.clone() } else { Vec::new() },
            gid_mappings: if new_user { user.gid_mappings.clone() } else { Vec::new() },
            map_with_helpers: user.map_with_helpers,
            deny_setgroups: user.setgroups_denied,
            time_offsets: Vec::new(),
            private: !unprivileged,
        }
    }
}

/// Checks linux.timeOffsets.
pub(super) fn time_offsets(offsets: &Map<LinuxTimeOffset>, namespaces: &Namespaces) -> Result<Vec<TimeOffset>> {
    const AT: &str = "/linux/timeOffsets";
    if !offsets.is_empty() && !namespaces.is_new(Kind::Time) {
        return Err(Error::config(AT, "time offsets without a new time namespace"));
    }
    let one = |(name, offset): (&str, &LinuxTimeOffset)| {
        let clock = match name {
            "monotonic" => Clock::Monotonic,
            "boottime" => Clock::Boottime,
            other => return Err(Error::config(pointer::join(AT, other), format!("unknown clock {other:?}"))),
        };
        let nanosecs = offset.nanosecs().unwrap_or_default();
        if nanosecs >= 1_000_000_000 {
            let at = pointer::join(&pointer::join(AT, name), "nanosecs");
            return Err(Error::config(at, format!("{nanosecs} is a second or more")));
        }
        Ok(TimeOffset { clock, secs: offset.secs().unwrap_or_default(), nanosecs })
    };
    offsets.iter().map(one).collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::CgroupLayout;
    use crate::plan::namespaces::Membership;

    fn plan(new: &[Kind], joined: &[Kind], euid: u32) -> SpawnPlan {
        plan_inside(new, joined, euid, false)
    }

    fn plan_inside(new: &[Kind], joined: &[Kind], euid: u32, in_user_namespace: bool) -> SpawnPlan {
        let mut namespaces = Namespaces::default();
        new.iter().for_each(|&kind| namespaces.set(kind, Membership::New));
        let join = || Membership::Join { path: c"/ns".to_owned(), index: 0 };
        joined.iter().for_each(|&kind| namespaces.set(kind, join()));
        let facts = HostFacts {
            euid,
            egid: 0,
            rootless: euid != 0,
            cgroup: CgroupLayout::None,
            last_capability: 40,
            effective_capabilities: 0,
            apparmor: false,
            selinux: false,
            in_user_namespace,
            ignored_signals: 0,
            umask: Some(0o022),
        };
        SpawnPlan::new(&namespaces, &UserNamespace::default(), &facts)
    }

    #[test]
    fn new_chooses_the_way_of_the_table() {
        use Kind::{Net, Pid, Time, User};
        use Way::{Direct, Intermediate};
        for (new, joined, euid, way) in [
            (&[Pid][..], &[][..], 0, Direct),
            (&[], &[Pid], 0, Direct),
            (&[Pid, Time], &[], 0, Direct),
            (&[], &[Pid, Time], 0, Direct),
            (&[User, Pid], &[], 0, Direct),
            (&[User], &[], 1000, Direct),
            (&[User], &[Pid], 0, Direct),
            (&[User, Time], &[], 0, Intermediate),
            (&[Pid], &[User], 0, Intermediate),
            (&[Time], &[User], 0, Intermediate),
            (&[], &[User, Pid], 0, Direct),
            (&[], &[User, Pid], 1000, Intermediate),
            (&[User, Pid], &[Net], 0, Intermediate),
            (&[Pid], &[Net], 0, Direct),
        ] {
            assert_eq!(plan(new, joined, euid).way, way, "new {new:?} joined {joined:?} by {euid}");
        }
    }

    #[test]
    fn new_by_root_of_a_user_namespace_never_has_to_return_to_outer_namespaces() {
        use Kind::{Net, Pid, Time};
        use Way::{Direct, Intermediate};
        for (new, joined, way) in [
            (&[Pid, Net][..], &[][..], Direct),
            (&[], &[Net], Direct),
            (&[], &[Pid], Intermediate),
            (&[Pid, Time], &[], Intermediate),
        ] {
            assert_eq!(plan_inside(new, joined, 0, true).way, way, "new {new:?} joined {joined:?}");
        }
    }

    #[test]
    fn new_everything_new_is_made_once_and_never_too_early() {
        let never = Kind::Cgroup.flag() | Kind::Time.flag();
        for user in [true, false] {
            let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|&kind| user || kind != Kind::User).collect();
            let without_time: Vec<Kind> = kinds.iter().copied().filter(|&kind| kind != Kind::Time).collect();
            for (kinds, direct) in [(&kinds, !user), (&without_time, true)] {
                let plan = plan(kinds, &[], 0);
                let all = kinds.iter().fold(0, |flags, kind| flags | kind.flag());
                let outside = if direct { never } else { never | Kind::User.flag() };
                let [clone, early, late] = [plan.clone_flags, plan.early_flags, plan.unshare_flags];
                assert_eq!([clone & early, early & late, clone & late], [0; 3]);
                assert_eq!(clone | early | late, all & !outside, "{kinds:?}");
                if user {
                    assert_eq!((clone | early) & Kind::Net.flag(), 0, "sysfs would belong to nobody");
                }
            }
        }
    }
}
