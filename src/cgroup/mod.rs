//! Control groups: a container's cgroup is made, limited, joined, frozen, emptied and removed, on cgroup v1,
//! v2 and both at once (cgroups(7), the kernel's admin-guide/cgroup-v1 and cgroup-v2.rst).
//!
//! Pure translators turn `Resources` into files and values; one writer writes them and names file, value and
//! errno. Uses `plan` (as data), `host`, `error` and `sys`. Called by `container`; init calls only
//! [`JoinFds::join_tasks`].
//!
//! What costs time here is the kernel's RCU grace period, 8 to 12 ms on an idle machine: a write of a pid to
//! cgroup.procs waits for one, a single-threaded process that writes `0` to `tasks` does not, nor does
//! CLONE_INTO_CGROUP.

mod device_program;
mod devices;
mod file;
mod freeze;
pub(crate) mod join;
mod layout;
mod make;
mod processes;
mod record;
mod remove;
mod setting;
mod v1;
mod v2;

#[cfg(test)]
mod privileged;

pub(crate) use join::{JoinFds, SubCgroup};
pub(crate) use record::{Hierarchy, Record};

use crate::error::{Result, Warning};
use crate::host::HostFacts;
use crate::plan::resources::{CgroupPlan, Resources};

/// The cgroup of one container, in every hierarchy that is mounted. May be none at all: see [`Cgroup::is_none`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroup {
    record: Record,
}

impl Cgroup {
    /// Makes the container's directories, copies cpuset's sets down where v1 needs it, hands controllers down on
    /// v2, and writes the limits. On failure what was made is removed again.
    ///
    /// A cgroup that exists is taken if it has no process and is not frozen. A rootless runtime that may not make
    /// cgroups gets none, with a warning if there were limits.
    pub fn create(plan: &CgroupPlan, facts: &HostFacts) -> Result<(Cgroup, Vec<Warning>)> {
        let mut cgroup = Cgroup::locate(plan, facts)?;
        let warnings = cgroup.make(plan, facts)?;
        Ok((cgroup, warnings))
    }

    /// The first half of [`Cgroup::create`]: where it is going to be, so that the record can be kept before anything is
    /// made. What is there already is refused if it is in use.
    pub fn locate(plan: &CgroupPlan, facts: &HostFacts) -> Result<Cgroup> {
        make::locate(plan, facts).map(|record| Cgroup { record })
    }

    /// The second half: makes what [`Cgroup::locate`] found missing.
    pub fn make(&mut self, plan: &CgroupPlan, facts: &HostFacts) -> Result<Vec<Warning>> {
        make::make(&mut self.record, plan, facts)
    }

    /// The cgroup that `record` describes. Nothing is checked: directories that are gone count as empty.
    pub fn from_record(record: &Record) -> Cgroup {
        Cgroup { record: record.clone() }
    }

    /// What state.json keeps.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// The container has no cgroup of its own: the manager is disabled, or a rootless runtime was not allowed.
    pub fn is_none(&self) -> bool {
        self.record.hierarchies.is_empty()
    }

    /// Where it lies in each hierarchy, in the order of the mounts.
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.record.hierarchies
    }

    /// Descriptors by which a new process gets into this cgroup.
    pub fn join_descriptors(&self) -> Result<JoinFds> {
        join::open_all(&self.record, &[])
    }

    /// As [`Cgroup::join_descriptors`], into cgroups below this one that exist.
    pub fn join_descriptors_for(&self, sub: &[SubCgroup]) -> Result<JoinFds> {
        join::open_all(&self.record, sub)
    }

    /// Writes the limits that are set in `resources`. Device rules are replaced by those of
    /// `resources.devices`, if any.
    pub fn update(&self, resources: &Resources) -> Result<Vec<Warning>> {
        setting::check_before_update(&self.record, resources)?;
        let mut record = self.record.clone();
        make::prepare_v2(&mut record, resources)?;
        setting::apply(&record, resources, true)
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

    /// Sends `signal` to every process, including those in cgroups below; none escapes by forking.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        processes::signal_all(&self.record, signal)
    }

    /// Removes the cgroup and those below it, everywhere; what is gone already is no error. Waits a bounded time
    /// for processes that are exiting; an error names those that stay, and the rest is removed all the same.
    pub fn destroy(&self) -> Result<()> {
        remove::destroy(&self.record)
    }
}
