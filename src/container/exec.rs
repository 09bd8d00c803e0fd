//! `exec`: one more process in a container that lives. The configuration is the one used at create.

use std::ffi::OsString;
use std::os::fd::AsFd;

use super::console::{PidfdKind, Relay};
use super::create::write_pid_file;
use super::front::Front;
use super::guard::Child;
use super::spawn::{self, Spawn, Spawned, expect, unexpected};
use super::store::Record;
use super::{Container, ExecOptions, activation, console, liveness, seccomp_agent};
use crate::bundle::{parse_process, read_limited};
use crate::cgroup::{Cgroup, SubCgroup};
use crate::error::{Context as _, Error, Kind as ErrorKind, Result};
use crate::host::HostFacts;
use crate::init::attributes::raise_limits;
use crate::init::hooks::HookOptions;
use crate::init::join::Joins;
use crate::init::mount::sources::Sources;
use crate::init::{InitFds, InitRequest};
use crate::plan::exec::Overrides;
use crate::plan::hooks::Hooks;
use crate::plan::{Console, ExecPlan, ExecRequest};
use crate::state::Status;
use crate::sync::frame::{FromInit, ToInit};
use crate::sys::fd::Descriptors;
use crate::timings;

/// Runs the process: its exit code, or 0 when detached.
pub(super) fn exec(container: &Container, options: &ExecOptions) -> Result<i32> {
    super::seal::require()?;
    let record = container.directory.load()?;
    let refused = |text: &'static str| Err(Error::new(ErrorKind::Status, text));
    match liveness::status(&container.directory, record.as_ref())? {
        Status::Created | Status::Running => {}
        Status::Paused if options.ignore_paused => {}
        Status::Paused => {
            return refused("cannot exec in a paused container (use --ignore-paused to override)");
        }
        Status::Stopped => return refused("cannot exec in a stopped container"),
        Status::Creating => return refused("cannot exec in a container that is being created"),
    }
    let Some(record) = record else { return refused("cannot exec in a stopped container") };
    if options.detach {
        return make(container, &record, options, None).map(|_| 0);
    }
    let mut front = Front::new()?;
    let (child, relay) = make(container, &record, options, Some(&mut front))?;
    front.wait(&child, relay, false, None)
}

fn make(
    container: &Container,
    record: &Record,
    options: &ExecOptions,
    mut front: Option<&mut Front>,
) -> Result<(Child, Option<Relay<'static>>)> {
    let runtime = &container.runtime;
    let Some(init) = record.init else { return Err(unexpected()) };
    let Some(pidfd) = liveness::open(init)? else {
        return Err(Error::new(ErrorKind::Status, "cannot exec in a stopped container"));
    };
    let config = container.config()?;
    let (process, pointer) = match &options.process_file {
        Some(path) => (parse_process(&read_limited(path)?).context(|| format!("parse {}", path.display()))?, ""),
        None => (overrides(options)?.apply(config.process.as_ref())?, "/process"),
    };
    let facts = HostFacts::gather(runtime.rootless, process.has_labels())?;
    let request = ExecRequest {
        id: container.id(),
        init_pid: init.pid,
        process: &process,
        pointer,
        no_new_keyring: false,
        console: match (&front, &options.console_socket) {
            (_, Some(_)) => Console::Socket,
            (Some(_), None) => Console::Foreground,
            (None, None) => Console::Nobody,
        },
    };
    let (mut plan, warnings) = ExecPlan::new(&config, &facts, &request)?;
    warnings.iter().for_each(runtime.on_warning);
    let preserve_fds = activation::pass_descriptors(options.preserve_fds, &mut plan.init.process.env)?;
    let sub = options.cgroups.iter().map(|text| SubCgroup::parse(text)).collect::<Result<Vec<_>>>()?;
    let console = match (&mut front, &options.console_socket) {
        (_, Some(path)) => Some(console::connect_console(path)?),
        (Some(front), None) if plan.init.process.terminal => Some(front.console()?),
        (_, None) => None,
    };
    let flags = plan.init.namespaces.flags(|_, membership| *membership != Default::default());
    let (cgroup, tasks) = Cgroup::from_record(&record.cgroup).join_beside(init.pid, &sub)?;
    let fds = InitFds {
        gate: None,
        cgroup,
        joins: Joins::Process { pidfd, pid: init.pid, flags },
        console,
        sources: Sources::default(),
    };
    let state = record.state(Status::Running, init.pid);
    let request = InitRequest {
        plan: &plan.init,
        private: plan.spawn.private,
        early_flags: 0,
        unshare_flags: 0,
        state: &state,
        stop_at_rootfs: false,
        preserve_fds,
        hooks: &Hooks::default(),
        hook_options: &HookOptions::default(),
        last_capability: facts.last_capability,
        ignored_signals: facts.ignored_signals,
        umask: facts.umask,
        layout: facts.cgroup,
        memberships: None,
    };
    let spawn = Spawn { plan: &plan.spawn, request, fds, on_warning: runtime.on_warning };
    settle(spawn, &tasks, options, front.as_deref().filter(|_| options.console_socket.is_none()))
}

fn overrides(options: &ExecOptions) -> Result<Overrides<'_>> {
    fn text<'a>(what: &str, value: &'a OsString) -> Result<&'a str> {
        let refused = || Error::new(ErrorKind::Usage, format!("{what} {value:?} is not valid UTF-8"));
        value.to_str().ok_or_else(refused)
    }
    Ok(Overrides {
        args: options.args.iter().map(|arg| text("argument", arg).map(str::to_owned)).collect::<Result<_>>()?,
        cwd: options.cwd.as_ref().map(|cwd| text("working directory", cwd)).transpose()?,
        env: options.env.iter().map(|entry| text("environment entry", entry)).collect::<Result<_>>()?,
        terminal: options.tty,
        user: options.user,
        additional_gids: &options.additional_gids,
        selinux_label: options.process_label.as_deref(),
        apparmor_profile: options.apparmor.as_deref(),
        no_new_privileges: options.no_new_privs,
        capabilities: &options.capabilities,
    })
}

fn settle(
    spawn: Spawn<'_>,
    tasks: &Descriptors,
    options: &ExecOptions,
    front: Option<&Front>,
) -> Result<(Child, Option<Relay<'static>>)> {
    let (on_warning, request) = (spawn.on_warning, spawn.request);
    let process = &request.plan.process;
    let mut spawned = spawn::spawn(spawn)?;
    spawned.release(tasks)?;
    let Spawned { child, pid, sync, .. } = spawned;
    let Some(made) = child.made() else { return Err(unexpected()) };
    timings::mark("process made");
    let (FromInit::Ready, _) = expect(&sync, Some(made), on_warning)? else { return Err(unexpected()) };
    timings::mark("process ready");
    raise_limits(pid, &process.pointer, &process.rlimits)?;
    if let Some(socket) = &options.pidfd_socket {
        console::send_pidfd(socket, made.pidfd.as_fd(), PidfdKind::Exec)?;
    }
    if let Some(path) = &options.pid_file {
        write_pid_file(path, pid)?;
    }
    let relay = front.filter(|_| process.terminal).map(Front::relay).transpose()?;
    sync.send(&ToInit::Continue)?;
    sync.await_execution(on_warning, |listener| {
        let notify = request.plan.seccomp.as_ref().and_then(|filter| filter.notify.as_ref());
        seccomp_agent::hand_over(notify.ok_or_else(unexpected)?, request.state, pid, listener)
    })?;
    timings::mark("program executed");
    child.keep().ok_or_else(unexpected).map(|child| (child, relay))
}
