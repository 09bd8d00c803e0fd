//! `create`: from a bundle to an init that waits behind the start gate.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::SystemTime;

use nix::errno::Errno;

use super::console::PidfdKind;
use super::front::Front;
use super::guard::{Child, Guard, MovedDevices};
use super::hooks::HookPlaces;
use super::intel_rdt::Group;
use super::spawn::{self, Spawn, Spawned, expect, unexpected};
use super::store::{Amendment, Begun, Directory, Record};
use super::{Container, CreateOptions, Runtime, activation, console, hooks, intel_rdt, liveness, net_devices};
use crate::bundle::Bundle;
use crate::cgroup::{Cgroup, Making};
use crate::error::{Context as _, Error, Kind as ErrorKind, Result};
use crate::host::HostFacts;
use crate::init::attributes::raise_limits;
use crate::init::join::Joins;
use crate::init::mount::sources::Sources;
use crate::init::{InitFds, InitRequest};
use crate::plan::hooks::Hooks;
use crate::plan::namespaces::Kind;
use crate::plan::{Console, Plan, PlanOptions, ids};
use crate::state::{State, Status};
use crate::sync::frame::{FromInit, ToInit};
use crate::sync::{ParentEnd, gate};
use crate::time::rfc3339;
use crate::timings;

/// What comes after the creation.
pub(super) enum Next<'f> {
    /// `start`, by anybody: init waits behind the gate.
    Gate,
    /// The start, by this process: it has the line to init already. With a [`Front`] the master of the container's
    /// terminal comes there.
    Start(Option<&'f mut Front>),
}

/// A container and, while this process lives, its child.
pub(super) struct Created {
    pub container: Container,
    pub child: Child,
    /// As it stands in the state directory, as long as `begun` is current.
    pub record: Record,
    pub begun: Begun,
    /// Init waits at the other end, unless it waits behind the gate. The state directory is locked as long.
    pub line: Option<Line>,
}

impl Created {
    /// What is open of it, for being closed together.
    pub fn into_open(self) -> impl Iterator<Item = OwnedFd> {
        let line = self.line.map(|line| line.end.into());
        [self.container.directory.into(), self.begun.into(), self.child.pidfd].into_iter().chain(line)
    }
}

/// The line to an init without a gate.
pub(super) struct Line {
    pub end: ParentEnd,
    /// Init was told to go on when it is ready: nothing has to be done between the creation and the start.
    pub told: bool,
}

/// Makes the container.
pub(super) fn create(
    runtime: &Runtime,
    id: &str,
    bundle: Bundle,
    options: &CreateOptions,
    next: Next<'_>,
) -> Result<Created> {
    ids::validate(id)?;
    super::seal::require()?;
    let plan_options = PlanOptions {
        id,
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        console: match (&options.console_socket, &next) {
            (Some(_), _) => Console::Socket,
            (None, Next::Start(Some(_))) => Console::Foreground,
            (None, _) => Console::Nobody,
        },
        cgroup_manager: runtime.manager,
    };
    let (facts, mut plan) = make_plan(runtime, &bundle, &plan_options)?;
    timings::mark("planned");
    let preserve_fds = activation::pass_descriptors(options.preserve_fds, &mut plan.init.process.env)?;

    let oci_version = bundle.config().oci_version.clone().unwrap_or_default();
    let annotations = bundle.config().annotations.iter().map(|(key, value)| (key.to_owned(), value.clone())).collect();
    // What init would keep without need goes before the clone.
    let (bundle, raw) = bundle.into_parts();
    let state = State {
        oci_version,
        id: id.to_owned(),
        pid: 0,
        status: Status::Creating,
        bundle,
        rootfs: plan.init.rootfs.as_ref().map(|rootfs| rootfs.path.clone()).unwrap_or_default(),
        created: rfc3339(SystemTime::now()),
        owner: String::new(),
        annotations,
    };
    check_rootfs(&plan)?;
    let places = if plan.hooks.is_empty() { HookPlaces::default() } else { HookPlaces::open(&state)? };
    let directory = Guard::new(Directory::create(&runtime.root, id)?, runtime.on_warning);
    let Some(dir) = directory.made() else { return Err(unexpected()) };
    activation::plan_notify_socket(dir.path(), &mut plan)?;
    let maker = Maker { runtime, options, facts, plan, preserve_fds, state, places };
    let lock = dir.lock_any()?;
    dir.save_config(&raw)?;
    drop(raw);
    let Waiting { child, record, begun, line } = match maker.make(dir, next) {
        Ok(made) => made,
        Err(error) => {
            drop(lock);
            drop(directory);
            // The specification's lifecycle goes on with the poststop hooks when a hook fails a creation.
            if error.kind() == ErrorKind::Hook {
                hooks::run_poststop(&maker.plan.hooks, &maker.state, &maker.places.options(), runtime.on_warning);
            }
            return Err(error);
        }
    };
    match &line {
        Some(_) => lock.leave(),
        None => drop(lock),
    }
    let Some(directory) = directory.keep() else { return Err(unexpected()) };
    let container = Container { runtime: runtime.clone(), directory, id: id.to_owned() };
    Ok(Created { container, child, record, begun, line })
}

/// Plans and tells what was noticed. A function of its own whose result lies on the heap: init waits with the frame of
/// [`create`], which need not hold what planning moved about.
#[inline(never)]
fn make_plan(runtime: &Runtime, bundle: &Bundle, options: &PlanOptions<'_>) -> Result<(HostFacts, Box<Plan>)> {
    let facts = HostFacts::gather(runtime.rootless, bundle.config().has_labels())?;
    let (plan, warnings) = Plan::new(bundle.config(), bundle.directory(), &facts, options)?;
    let mut plan = Box::new(plan);
    warnings.iter().for_each(runtime.on_warning);
    if let Some(scope) = &mut plan.cgroup.scope {
        // Ids are taken once in one root only, names of units once on a machine.
        scope.description = format!("{} in {}", scope.description, runtime.root.display());
    }
    plan.init.seccomp.iter().flat_map(|filter| &filter.ignored).for_each(runtime.on_detail);
    Ok((facts, plan))
}

/// An init that waits, and what is known about it.
struct Waiting {
    child: Child,
    record: Record,
    begun: Begun,
    line: Option<Line>,
}

/// Everything that the steps of a creation share.
struct Maker<'a> {
    runtime: &'a Runtime,
    options: &'a CreateOptions,
    facts: HostFacts,
    plan: Box<Plan>,
    preserve_fds: u32,
    state: State,
    places: HookPlaces,
}

impl Maker<'_> {
    fn make(&self, directory: &Directory, next: Next<'_>) -> Result<Waiting> {
        let on_warning = self.runtime.on_warning;
        let gate = match next {
            Next::Gate => Some(gate::listen(directory.as_fd())?),
            Next::Start(_) => None,
        };
        let console = match (&self.options.console_socket, next) {
            (Some(path), _) => Some(console::connect_console(path)?),
            (None, Next::Start(Some(front))) if self.plan.init.process.terminal => Some(front.console()?),
            (None, _) => None,
        };
        let joins = Joins::open(&self.plan.init.namespaces)?;
        let cgroup = Cgroup::locate(&self.plan.cgroup, &self.facts)?;
        let mut record = self.record(&cgroup);
        let mut begun = directory.begin(&record)?;
        timings::mark("state begun");
        let mut making = Guard::new(Making::new(cgroup), on_warning);
        let Some(made) = making.made_mut() else { return Err(unexpected()) };
        made.begin(&self.plan.cgroup, &self.facts)?;
        let fds = InitFds {
            gate,
            cgroup: made.cgroup().birthplace()?,
            joins,
            console,
            sources: self.plan.init.rootfs.as_ref().map(Sources::open).transpose()?.unwrap_or_default(),
        };
        let (child, line) = self.settle(directory, (&mut record, &mut begun), made, fds)?;
        making.keep();
        Ok(Waiting { child, record, begun, line })
    }

    fn record(&self, cgroup: &Cgroup) -> Record {
        let hooks = &self.plan.hooks;
        Record {
            state: self.state.clone(),
            init: None,
            cgroup: cgroup.record().clone(),
            own_pid_namespace: self.plan.init.namespaces.is_new(Kind::Pid),
            poststart_hooks: !hooks.poststart.is_empty(),
            poststop_hooks: !hooks.poststop.is_empty(),
            intel_rdt: None,
        }
    }

    /// From the clone to a waiting init whose state is on disk; with the line to it unless it waits behind the gate.
    fn settle(
        &self,
        directory: &Directory,
        (record, begun): (&mut Record, &mut Begun),
        making: &mut Making,
        fds: InitFds,
    ) -> Result<(Child, Option<Line>)> {
        let gated = fds.gate.is_some();
        let on_warning = self.runtime.on_warning;
        let Hooks { prestart, create_runtime, .. } = &self.plan.hooks;
        let stop_at_rootfs = !prestart.is_empty() || !create_runtime.is_empty() || !self.plan.net_devices.is_empty();
        let request = InitRequest {
            plan: &self.plan.init,
            private: self.plan.spawn.private,
            early_flags: self.plan.spawn.early_flags,
            unshare_flags: self.plan.spawn.unshare_flags,
            state: &self.state,
            stop_at_rootfs,
            preserve_fds: self.preserve_fds,
            hooks: &self.plan.hooks,
            hook_options: &self.places.options(),
            last_capability: self.facts.last_capability,
            ignored_signals: self.facts.ignored_signals,
            umask: self.facts.umask,
            layout: self.facts.cgroup,
            memberships: making.cgroup().memberships(),
        };
        let mut spawned = spawn::spawn(Spawn { plan: &self.plan.spawn, request, fds, on_warning })?;
        timings::mark("init made");
        making.finish(&self.plan.cgroup, &self.facts)?.iter().for_each(on_warning);
        let cgroup = making.cgroup();
        cgroup.adopt(&self.plan.cgroup, &self.facts, spawned.pid)?.iter().for_each(on_warning);
        let changed = (record.cgroup != *cgroup.record()).then(|| cgroup.record().clone());
        spawned.release(&cgroup.tasks()?)?;
        let Spawned { child, pid, sync, .. } = spawned;
        timings::mark("cgroups made");
        // While init is at work.
        let process = &self.plan.init.process;
        if process.uid != 0 || self.plan.init.namespaces.is_own(Kind::User) {
            raise_limits(pid, &process.pointer, &process.rlimits)?;
        }
        let rdt = self.join_rdt(pid)?;
        let init = liveness::identify(pid)?;
        let group = rdt.as_ref().and_then(Guard::made).cloned();
        let amendment = Amendment { init, cgroup: changed, intel_rdt: group };
        let line = amendment.encode()?;
        record.amend(amendment);
        let told = !gated && !stop_at_rootfs && self.starts_unseen(directory);
        if told {
            sync.send_continue_ahead()?;
        }
        let mut devices = None;
        loop {
            match expect(&sync, child.made(), on_warning)? {
                (FromInit::RootfsReady, _) => {
                    devices = self.move_devices(pid)?;
                    hooks::run_runtime(&self.plan.hooks, &self.state, pid, &self.places.options())?;
                    sync.send(&ToInit::Continue)?;
                }
                (FromInit::Ready, _) => break,
                _ => return Err(unexpected()),
            }
        }
        timings::mark("init ready");
        begun.amend(&line)?;
        self.finish(pid, child.made())?;
        timings::mark("state kept");
        if gated {
            sync.send(&ToInit::Continue)?;
        }
        rdt.and_then(Guard::keep);
        devices.and_then(Guard::keep);
        Ok((child.keep().ok_or_else(unexpected)?, (!gated).then_some(Line { end: sync, told })))
    }

    /// Whether nobody outside waits for a container that is created and not started.
    fn starts_unseen(&self, directory: &Directory) -> bool {
        let options = self.options;
        options.pid_file.is_none()
            && options.pidfd_socket.is_none()
            && !self.plan.init.process.terminal
            && self.plan.hooks.start_container.is_empty()
            && activation::notify_socket(directory.path()).is_none()
    }

    fn join_rdt(&self, pid: i32) -> Result<Option<Guard<Group>>> {
        let Some(rdt) = &self.plan.intel_rdt else { return Ok(None) };
        let group = Group::create(&intel_rdt::root()?, &self.state.id, rdt)?;
        let group = Guard::new(group, self.runtime.on_warning);
        if let Some(made) = group.made() {
            made.join(pid)?;
        }
        Ok(Some(group))
    }

    fn move_devices(&self, pid: i32) -> Result<Option<Guard<MovedDevices>>> {
        if self.plan.net_devices.is_empty() {
            return Ok(None);
        }
        let path = format!("/proc/{pid}/ns/net");
        let namespace = OwnedFd::from(File::open(&path).context(|| format!("open {path}"))?);
        let moved = net_devices::move_all(&self.plan.net_devices, namespace.as_fd())?;
        Ok(Some(Guard::new(MovedDevices { moved: Some(moved), namespace }, self.runtime.on_warning)))
    }

    /// Init waits and the record says so: pidfd, pid file.
    fn finish(&self, pid: i32, child: Option<&Child>) -> Result<()> {
        if let (Some(socket), Some(child)) = (&self.options.pidfd_socket, child) {
            console::send_pidfd(socket, child.pidfd.as_fd(), PidfdKind::Init)?;
        }
        match &self.options.pid_file {
            Some(path) => write_pid_file(path, pid),
            None => Ok(()),
        }
    }
}

/// Refuses a root that is none before anything is made.
fn check_rootfs(plan: &Plan) -> Result<()> {
    let Some(rootfs) = &plan.init.rootfs else { return Ok(()) };
    let describe = || format!("root file system {}", rootfs.path.display());
    let status = std::fs::metadata(&rootfs.path).context(describe).map_err(|error| error.at("/root/path"))?;
    match status.is_dir() {
        true => Ok(()),
        false => Err(Error::sys(Errno::ENOTDIR, describe()).at("/root/path")),
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
