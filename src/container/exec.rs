//! `exec`: one more process in a container that lives. The configuration is the one used at create.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};

use super::console::PidfdKind;
use super::create::write_pid_file;
use super::guard::Child;
use super::spawn::{self, Spawn, Spawned, expect, unexpected};
use super::store::Record;
use super::{Container, ExecOptions, console, foreground, limits, listen_fds, liveness, terminal};
use crate::bundle::{parse_process, read_limited};
use crate::cgroup::{Cgroup, SubCgroup};
use crate::error::{Context as _, Error, Kind as ErrorKind, Result};
use crate::host::HostFacts;
use crate::init::hooks::HookOptions;
use crate::init::join::Joins;
use crate::init::mount::sources::Sources;
use crate::plan::hooks::Hooks;
use crate::init::{InitFds, InitRequest};
use crate::plan::exec::Overrides;
use crate::plan::namespaces::Kind;
use crate::plan::{Console, ExecPlan, ExecRequest};
use crate::state::Status;
use crate::sync::frame::{FromInit, ToInit};
use crate::sys;

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
    let (ours, theirs) = if options.tty && !options.detach { Some(terminal::socket_pair()?) } else { None }.unzip();
    let child = make(container, &record, options, theirs)?;
    if options.detach {
        return Ok(0);
    }
    let master = ours.map(|socket| terminal::receive_master(&socket)).transpose()?;
    foreground::wait(&child, master)
}

fn make(
    container: &Container,
    record: &Record,
    options: &ExecOptions,
    foreground: Option<OwnedFd>,
) -> Result<Child> {
    let runtime = &container.runtime;
    let Some(init) = record.init else { return Err(unexpected()) };
    // Opened before the identity is checked: from here on the id cannot come to mean another process.
    let pidfd = sys::fd::pidfd_open(init.pid).context(|| format!("open process {}", init.pid))?;
    if !liveness::is_alive(init)? {
        return Err(Error::new(ErrorKind::Status, "cannot exec in a stopped container"));
    }
    let config = container.config()?;
    let facts = HostFacts::gather(runtime.rootless)?;
    let (process, pointer) = match &options.process_file {
        Some(path) => (parse_process(&read_limited(path)?).context(|| format!("parse {}", path.display()))?, ""),
        None => (overrides(options)?.apply(config.process.as_ref())?, "/process"),
    };
    let request = ExecRequest {
        id: container.id(),
        init_pid: init.pid,
        process: &process,
        pointer,
        no_new_keyring: false,
        console: match (&foreground, &options.console_socket) {
            (Some(_), _) => Console::Foreground,
            (None, Some(_)) => Console::Socket,
            (None, None) => Console::Nobody,
        },
    };
    let (mut plan, warnings) = ExecPlan::new(&config, &facts, &request)?;
    warnings.iter().for_each(runtime.on_warning);
    let preserve_fds = listen_fds::pass(options.preserve_fds, &mut plan.init.process.env)?;
    let sub = options.cgroups.iter().map(|text| SubCgroup::parse(text)).collect::<Result<Vec<_>>>()?;
    let console = match (foreground, &options.console_socket) {
        (None, Some(path)) => Some(OwnedFd::from(console::connect(path)?)),
        (ours, _) => ours,
    };
    let flags = plan.init.namespaces.flags(|_, membership| *membership != Default::default());
    let fds = InitFds {
        gate: None,
        cgroup: Cgroup::from_record(&record.cgroup).join_descriptors_for(&sub)?,
        joins: Joins::Process { pidfd, pid: init.pid, flags },
        console,
        sources: Sources::default(),
    };
    let state = record.state(Status::Running, init.pid);
    let request = InitRequest {
        plan: &plan.init,
        unshare_flags: 0,
        state: &state,
        stop_at_rootfs: false,
        preserve_fds,
        hooks: &Hooks::default(),
        hook_options: &HookOptions::default(),
        last_capability: facts.last_capability,
        cgroup_layout: facts.cgroup,
    };
    let spawn = Spawn { plan: &plan.spawn, request, fds, on_warning: runtime.on_warning };
    settle(spawn, options)
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

fn settle(spawn: Spawn<'_>, options: &ExecOptions) -> Result<Child> {
    let (on_warning, process) = (spawn.on_warning, &spawn.request.plan.process);
    let Spawned { child, pid, sync } = spawn::spawn(spawn)?;
    let Some(made) = child.made() else { return Err(unexpected()) };
    loop {
        match expect(&sync, Some(made), on_warning)? {
            (FromInit::SeccompFd, Some(_listener)) => {}
            (FromInit::Ready, _) => break,
            _ => return Err(unexpected()),
        }
    }
    limits::apply(pid, process)?;
    if let Some(socket) = &options.pidfd_socket {
        console::send_pidfd(socket, made.pidfd.as_fd(), PidfdKind::Exec)?;
    }
    if let Some(path) = &options.pid_file {
        write_pid_file(path, pid)?;
    }
    sync.send(&ToInit::Continue)?;
    // The end of the socket tells that execve succeeded.
    match sync.receive()? {
        None => child.keep().ok_or_else(unexpected),
        Some((FromInit::Error(error), _)) => Err(error),
        Some(_) => Err(unexpected()),
    }
}
