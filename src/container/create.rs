//! `create`: from a bundle to an init that waits behind the start gate.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::sys::socket::{SockFlag, SockType};

use super::guard::{Child, Guard};
use super::spawn::{self, Spawn, Spawned, expect, unexpected};
use super::store::{Directory, Record};
use super::{Container, CreateOptions, Runtime, clock, console, hooks, intel_rdt, liveness, net_devices, notify_socket};
use crate::bundle::Bundle;
use crate::cgroup::Cgroup;
use crate::error::{Context as _, Error, Kind as ErrorKind, Result};
use crate::host::HostFacts;
use crate::init::join::Joins;
use crate::init::{InitFds, InitRequest};
use crate::plan::hooks::Hooks;
use crate::plan::namespaces::Kind;
use crate::plan::{Console, Plan, PlanOptions, ids};
use crate::state::{State, Status};
use crate::sync::frame::{FromInit, ToInit};
use crate::sync::gate;
use crate::sys;

/// A container and, while this process lives, its child.
pub(super) struct Created {
    pub container: Container,
    pub child: Child,
}

/// Makes the container. With `console` the master of its terminal comes to the other end of that socket.
pub(super) fn create(
    runtime: &Runtime,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    console: Option<OwnedFd>,
) -> Result<Created> {
    ids::validate(id)?;
    super::seal::require()?;
    let facts = HostFacts::gather(runtime.rootless)?;
    let plan_options = PlanOptions {
        id,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        console: match (&console, &options.console_socket) {
            (Some(_), _) => Console::Foreground,
            (None, Some(_)) => Console::Socket,
            (None, None) => Console::Nobody,
        },
        cgroup_manager: runtime.manager,
    };
    let (mut plan, warnings) = Plan::new(bundle.config(), bundle.directory(), &facts, &plan_options)?;
    warnings.iter().for_each(runtime.on_warning);
    let preserve_fds = notify_socket::pass_listen_fds(options.preserve_fds, &mut plan.init.process.env)?;
    check_preserved(preserve_fds)?;

    let directory = Guard::new(Directory::create(&runtime.root, id)?, runtime.on_warning);
    let mut maker = Maker { runtime, bundle, options, facts, plan, preserve_fds };
    let Some(dir) = directory.made() else { return Err(unexpected()) };
    let lock = dir.lock()?;
    let made = maker.make(id, dir, console);
    drop(lock);
    let (record, child) = match made {
        Ok(made) => made,
        Err(error) => {
            drop(directory);
            // The specification's lifecycle goes on with the poststop hooks when a hook fails a creation.
            if error.kind() == ErrorKind::Hook {
                hooks::run_poststop(&maker.plan.hooks, &maker.state(id), runtime.on_warning);
            }
            return Err(error);
        }
    };
    let Some(directory) = directory.keep() else { return Err(unexpected()) };
    Ok(Created { container: Container::new(runtime.clone(), directory, record), child })
}

/// Everything that the steps of a creation share.
struct Maker<'a> {
    runtime: &'a Runtime,
    bundle: &'a Bundle,
    options: &'a CreateOptions,
    facts: HostFacts,
    plan: Plan,
    preserve_fds: u32,
}

impl Maker<'_> {
    fn make(&self, id: &str, directory: &Directory, console: Option<OwnedFd>) -> Result<(Record, Child)> {
        let on_warning = self.runtime.on_warning;
        let console = match (console, &self.options.console_socket) {
            (None, Some(path)) => Some(console::connect(path)?),
            (ours, _) => ours,
        };
        let joins = Joins::open(&self.plan.init.namespaces)?;
        let (cgroup, warnings) = Cgroup::create(&self.plan.cgroup, &self.facts)?;
        warnings.iter().for_each(on_warning);
        let cgroup = Guard::new(cgroup, on_warning);
        let Some(made) = cgroup.made() else { return Err(unexpected()) };
        let mut record = self.record(id, made);
        directory.save_config(self.bundle.raw())?;
        directory.save(&record)?;
        let fds = InitFds {
            gate: Some(gate::listen(directory.as_fd())?),
            cgroup: made.join_descriptors()?,
            joins,
            console,
        };
        let state = record.state(Status::Creating, 0);
        let child = self.settle(directory, &mut record, &state, fds)?;
        cgroup.keep();
        Ok((record, child))
    }

    fn record(&self, id: &str, cgroup: &Cgroup) -> Record {
        let config = self.bundle.config();
        Record {
            oci_version: config.oci_version.clone(),
            id: id.to_owned(),
            bundle: self.bundle.directory().to_owned(),
            rootfs: self.plan.rootfs_path().to_owned(),
            created: clock::rfc3339(clock::now()),
            annotations: config.annotations.clone(),
            init: None,
            cgroup: cgroup.record(),
            own_pid_namespace: self.plan.init.namespaces.is_new(Kind::Pid),
            poststart_hooks: !self.plan.hooks.poststart.is_empty(),
            poststop_hooks: !self.plan.hooks.poststop.is_empty(),
            intel_rdt: None,
        }
    }

    /// From the clone to a waiting init whose state is on disk.
    fn settle(&self, directory: &Directory, record: &mut Record, state: &State, fds: InitFds) -> Result<Child> {
        let on_warning = self.runtime.on_warning;
        let Hooks { prestart, create_runtime, .. } = &self.plan.hooks;
        let stop_at_rootfs =
            !prestart.is_empty() || !create_runtime.is_empty() || !self.plan.net_devices.is_empty();
        let request = InitRequest {
            plan: &self.plan.init,
            unshare_flags: self.plan.spawn.unshare_flags,
            state,
            stop_at_rootfs,
            preserve_fds: self.preserve_fds,
        };
        let Spawned { child, pid, sync } = spawn::spawn(Spawn { plan: &self.plan.spawn, request, fds, on_warning })?;
        let rdt = self.plan.intel_rdt.as_ref().map(|rdt| intel_rdt::apply(rdt, pid)).transpose()?;
        record.intel_rdt = rdt.as_ref().and_then(intel_rdt::Group::to_remove);
        let mut listener = None;
        loop {
            match expect(&sync, child.made(), on_warning)? {
                (FromInit::RootfsReady, _) => {
                    net_devices::move_all(&self.plan.net_devices, pid)?;
                    hooks::run_runtime(&self.plan.hooks, state, pid)?;
                    sync.send(&ToInit::Continue)?;
                }
                (FromInit::SeccompFd, Some(fd)) => listener = Some(fd),
                (FromInit::Ready, _) => break,
                _ => return Err(unexpected()),
            }
        }
        drop(listener);
        self.finish(directory, record, pid, child.made())?;
        sync.send(&ToInit::Continue)?;
        if let Some(rdt) = rdt {
            rdt.keep();
        }
        child.keep().ok_or_else(unexpected)
    }

    /// Init waits: limits, state, pid file.
    fn finish(&self, directory: &Directory, record: &mut Record, pid: i32, child: Option<&Child>) -> Result<()> {
        super::limits::apply(pid, &self.plan.init.process)?;
        record.init = Some(liveness::identify(pid)?);
        directory.save(record)?;
        if let (Some(socket), Some(child)) = (&self.options.pidfd_socket, child) {
            console::send_pidfd(socket, child.pidfd.as_fd())?;
        }
        match &self.options.pid_file {
            Some(path) => write_pid_file(path, pid),
            None => Ok(()),
        }
    }
}

/// Digits only, and whole: a temporary file is renamed over it.
pub(super) fn write_pid_file(path: &Path, pid: i32) -> Result<()> {
    let describe = || format!("write pid file {}", path.display());
    let Some(name) = path.file_name() else {
        return Err(Error::new(ErrorKind::Usage, format!("pid file {} has no name", path.display())));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    let temporary = path.with_file_name(hidden);
    std::fs::write(&temporary, pid.to_string()).context(describe)?;
    std::fs::rename(&temporary, path).context(describe)
}

/// Every descriptor that is to be passed on must be there.
pub(super) fn check_preserved(count: u32) -> Result<()> {
    match (3..3 + count as i32).find(|&fd| !sys::fd::is_open(fd)) {
        Some(fd) => Err(Error::new(ErrorKind::Usage, format!("preserved descriptor {fd} is not open"))),
        None => Ok(()),
    }
}
