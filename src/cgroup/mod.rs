//! Control groups: a container's cgroup is made, limited, joined, frozen, emptied and removed, on cgroup v1,
//! v2 and both at once (cgroups(7), the kernel's admin-guide/cgroup-v1 and cgroup-v2.rst).
//!
//! Pure translators turn `Resources` into files and values; one writer writes them and names file, value and
//! errno. With the manager systemd a transient scope of systemd takes the place of directories that are made; see
//! `scope`. Uses `plan` (as data), `host`, `error`, `fs` (the mount table), `dbus` and `sys`. Called by `container`; init calls only
//! [`join_tasks`].
//!
//! What costs time here is the kernel's RCU grace period, 8 to 12 ms on an idle machine: a write of a pid to
//! cgroup.procs waits for one, a single-threaded process that writes `0` to `tasks` does not, nor does
//! CLONE_INTO_CGROUP.

mod apply;
mod controllers;
mod device_program;
mod devices;
mod directories;
mod file;
mod freeze;
pub(crate) mod join;
mod layout;
mod make;
mod oom;
mod owner;
mod processes;
mod properties;
mod record;
mod remove;
mod scope;
mod setting;
pub(crate) mod stats;
mod systemd;
mod update;
mod v1;
mod v2;

#[cfg(test)]
mod privileged;

pub(crate) use join::{Birthplace, SubCgroup, join_tasks};
pub(crate) use layout::memberships;
pub(crate) use make::Making;
pub(crate) use oom::OomWatch;
pub(crate) use record::Record;
use record::UnitState;
pub(crate) use stats::{Stats, parse_interfaces};
pub(crate) use update::{Change, Undo};

use crate::error::{Result, Warning};
use crate::host::HostFacts;
use crate::plan::resources::CgroupPlan;
use crate::sys::fd::Descriptors;

/// The cgroup of one container, in every hierarchy that is mounted. In none at all where the manager is disabled or a
/// rootless runtime was not allowed to make any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroup {
    record: Record,
    /// See [`Cgroup::memberships`].
    memberships: Option<String>,
}

impl Cgroup {
    /// Where the cgroup is going to be, so that the record can be kept before it is made by [`Making`]. What is there
    /// already is refused if it has a process or is frozen.
    pub fn locate(plan: &CgroupPlan, facts: &HostFacts) -> Result<Cgroup> {
        make::locate(plan, facts).map(|(record, memberships)| Cgroup { record, memberships })
    }

    /// What /proc/PID/cgroup is going to say about the first process; `None` where that is not known before it is made.
    pub fn memberships(&self) -> Option<&str> {
        self.memberships.as_deref()
    }

    /// With the manager systemd: starts the unit around the process `pid`, which waits for its Go, and writes the
    /// limits. Otherwise nothing: the process is where it belongs already, or will be by its own doing.
    ///
    /// # Errors
    /// Name the unit. What was started is stopped by [`Cgroup::destroy`].
    pub fn adopt(&mut self, plan: &CgroupPlan, facts: &HostFacts, pid: i32) -> Result<Vec<Warning>> {
        scope::adopt(&mut self.record, plan, facts, pid)
    }

    /// Gives the cgroup, which has limits already, those of `change.after`: what differs from `change.before`, and what
    /// `named` says that the caller asked for, by its JSON pointer. On failure the old settings are in force again.
    pub fn update(&mut self, change: &Change<'_>, named: impl Fn(&str) -> bool) -> Result<(Undo, Vec<Warning>)> {
        update::update(&mut self.record, change, named)
    }

    /// The cgroup that `record` describes. Nothing is checked: directories that are gone count as empty.
    pub fn from_record(record: &Record) -> Cgroup {
        let mut record = record.clone();
        // Whoever wrote that nothing was asked for yet may have gone on.
        if let Some(unit) = record.unit.as_mut().filter(|unit| unit.state == UnitState::Planned) {
            unit.state = UnitState::Perhaps;
        }
        Cgroup { record, memberships: None }
    }

    /// What state.json keeps.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether the container has no cgroup, in no hierarchy: nobody knows its processes.
    pub fn is_none(&self) -> bool {
        self.record.hierarchies.is_empty()
    }

    /// The v2 cgroup for the first process.
    pub fn birthplace(&self) -> Result<Birthplace> {
        join::open_birthplace(&self.record, &[], None)
    }

    /// The v1 `tasks` files for the first process.
    pub fn tasks(&self) -> Result<Descriptors> {
        join::open_tasks(&self.record, &[])
    }

    /// Both for another process: in the cgroups `sub` below this one, which exist, and else where a process can be beside
    /// the process `init` of the container.
    pub fn join_beside(&self, init: i32, sub: &[SubCgroup]) -> Result<(Birthplace, Descriptors)> {
        join::check_controllers(&self.record, sub)?;
        Ok((join::open_birthplace(&self.record, sub, Some(init))?, join::open_tasks(&self.record, sub)?))
    }

    /// Stops every process, and waits until they are.
    pub fn freeze(&self) -> Result<()> {
        freeze::freeze(&self.record)
    }

    /// Lets every process run again.
    pub fn thaw(&self) -> Result<()> {
        freeze::thaw(&self.record)
    }

    /// Whether the processes are stopped by [`Cgroup::freeze`] or are about to be.
    pub fn is_frozen(&self) -> Result<bool> {
        freeze::is_frozen(&self.record)
    }

    /// The processes, as the caller's pid namespace sees them; with `recursive` also those in cgroups below.
    pub fn processes(&self, recursive: bool) -> Result<Vec<i32>> {
        processes::list(&self.record, recursive)
    }

    /// What was used so far, by the controllers that there are.
    pub fn stats(&self) -> Result<Stats> {
        stats::read(&self.record)
    }

    /// A watch over the memory; `None` where no memory controller is.
    pub fn watch_oom(&self) -> Result<Option<OomWatch>> {
        OomWatch::new(&self.record)
    }

    /// Sends `signal` to every process, including those in cgroups below; none escapes by forking.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        processes::signal_all(&self.record, signal)
    }

    /// Removes the cgroup and those below it, everywhere; what is gone already is no error. Waits a bounded time
    /// for processes that are exiting; an error names those that stay, and the rest is removed all the same.
    pub fn destroy(&self) -> Result<()> {
        let stopped = scope::stop(&self.record);
        remove::destroy(&self.record)?;
        stopped
    }
}
