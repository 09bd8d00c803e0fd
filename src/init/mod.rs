//! The child side: from the clone to `execve`. [`run`] is THE order of things: [`prepare`] up to the start gate and
//! [`launch`] behind it, of which every line is one phase with a file or a function of its own.
//!
//! Runs in a copy of the runtime's single thread: ordinary Rust is fine, but there is no panic that unwinds,
//! no exit handler, and no look-up of configuration. Uses `sync`, `cgroup` (to join), `fs`, `sys`, and `plan`
//! as data. Called by `container::spawn`; the parent runs its own hooks and sets limits with the same functions.

pub(crate) mod attributes;
pub(crate) mod console;
pub(crate) mod credentials;
pub(crate) mod devices;
pub(crate) mod hooks;
pub(crate) mod idmap;
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
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use crate::cgroup::{Birthplace, join_tasks};
use crate::error::{Context as _, Error, Result};
use crate::fs::Procfs;
use crate::host::CgroupLayout;
use crate::plan::InitPlan;
use crate::plan::hooks::Hooks;
use crate::plan::mounts::{MountPlan, MountSource};
use crate::plan::namespaces::Kind;
use crate::plan::process::{DEFAULT_UMASK, ProcessPlan};
use crate::plan::rootfs::RootfsPlan;
use crate::pointer;
use crate::state::{State, Status};
use crate::sync::frame::FromInit;
use crate::sync::{ChildEnd, gate};
use crate::sys::clone::exit_now;
use crate::sys::fd::Descriptors;
use crate::sys::namespace::unshare;
use crate::sys::{self, fd};
use crate::timings;
use attributes::AffinityMoment;
use hooks::HookOptions;
use join::Joins;
use mount::cgroup::CgroupView;
use mount::sources::Sources;

/// What init is to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitRequest<'a> {
    pub plan: &'a InitPlan,
    /// Nobody may trace init from its birth on.
    pub private: bool,
    /// Namespaces to make at once (CLONE_NEW*).
    pub early_flags: u64,
    /// Namespaces to make once in the user namespace (CLONE_NEW*).
    pub unshare_flags: u64,
    /// What hooks read; status and pid are filled in.
    pub state: &'a State,
    /// The parent has something to do between the mounts and the pivot.
    pub stop_at_rootfs: bool,
    /// Descriptors 3 to 2+n go to the program.
    pub preserve_fds: u32,
    /// createContainer and startContainer are init's.
    pub hooks: &'a Hooks,
    pub hook_options: &'a HookOptions<'a>,
    /// Highest capability that the kernel knows.
    pub last_capability: u8,
    /// Signals that the runtime ignores, signal n as bit n-1.
    pub ignored_signals: u64,
    /// The runtime's file mode creation mask, if it is known.
    pub umask: Option<u32>,
    /// How the host's control groups are laid out.
    pub layout: CgroupLayout,
    /// What /proc/self/cgroup is going to say, if it is known.
    pub memberships: Option<&'a str>,
}

/// What init is born with. Everything else that is open is closed.
#[derive(Debug)]
pub(crate) struct InitFds {
    /// The start gate; `exec` has none.
    pub gate: Option<OwnedFd>,
    /// Where it is born.
    pub cgroup: Birthplace,
    pub joins: Joins,
    /// A connection to the console socket.
    pub console: Option<OwnedFd>,
    /// Mount sources that only the parent may open.
    pub sources: Sources,
}

/// Where init came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Born {
    /// A child's clone: the user namespace, if joined, is still to be joined.
    Directly,
    /// The intermediate's: the user, pid and time namespaces are entered. Those in `refused` (CLONE_NEW*) belong to
    /// the user namespace and are joined only now.
    OfIntermediate { refused: u64 },
}

/// Whom init tells what it cannot do.
enum Line {
    /// The process that made it: `create` until the container is ready, `exec` to the end.
    Sync(ChildEnd),
    /// `start`, behind the gate.
    Gate(OwnedFd),
}

impl Line {
    fn send(&self, frame: &FromInit, passed: Option<BorrowedFd<'_>>) -> Result<()> {
        match (self, passed) {
            (Line::Sync(sync), Some(passed)) => sync.send_with(frame, passed),
            (Line::Sync(sync), None) => sync.send(frame),
            (Line::Gate(connection), passed) => gate::send(connection.as_fd(), frame, passed),
        }
    }
}

/// Init's whole life.
pub(crate) fn run(request: InitRequest<'_>, fds: InitFds, sync: ChildEnd, born: Born) -> ! {
    enter_child();
    let (prepared, gate) = match prepare(&request, fds, &sync, born) {
        Ok(prepared) => prepared,
        Err(error) => fail(&sync, error),
    };
    let line = match gate {
        None => Line::Sync(sync),
        Some(gate) => {
            drop(sync);
            sys::pages::release_stack();
            sys::pages::release_program();
            match gate::wait(gate) {
                Ok(connection) => Line::Gate(connection),
                Err(_) => exit_now(1),
            }
        }
    };
    // Only a failure comes back: success is another program in this process.
    let Err(error) = launch(&request, prepared, &line);
    let _ = line.send(&FromInit::Error(error), None);
    exit_now(1)
}

/// First thing in a cloned child: nothing of the runtime's behaviour is left.
fn enter_child() {
    // A panic must neither unwind into the parent's frames nor abort: under musl abort(3) signals a thread id
    // that is the parent's.
    std::panic::set_hook(Box::new(|_| exit_now(70)));
}

/// Tells the parent and ends.
fn fail(sync: &ChildEnd, error: Error) -> ! {
    let _ = sync.send(&FromInit::Error(error));
    exit_now(1)
}

/// What [`launch`] needs and only [`prepare`] could find out.
struct Prepared {
    program: CString,
    env: Vec<CString>,
    /// What the runtime knows this process by.
    pid: i32,
}

/// Everything that `create` and `exec` want to hear about, in this order. Gives the gate back.
fn prepare(
    request: &InitRequest<'_>,
    mut fds: InitFds,
    sync: &ChildEnd,
    born: Born,
) -> Result<(Prepared, Option<OwnedFd>)> {
    let InitRequest { plan, .. } = *request;
    timings::mark("begin");
    // It has been born there: closed now with all that is not kept.
    std::mem::forget(std::mem::take(&mut fds.cgroup));
    close_inherited(request, &fds, sync)?;
    if request.umask != Some(DEFAULT_UMASK) {
        attributes::set_umask(DEFAULT_UMASK);
    }
    attributes::reset_signals(request.ignored_signals)?;
    unshare_new(request.early_flags)?;
    timings::mark("namespaces made");
    let (pid, mut spent) = sync.wait_go()?;
    timings::mark("released");
    attributes::set_affinity(&plan.process, AffinityMoment::Initial)?;
    join_tasks(&spent)?;
    timings::mark("cgroups joined");
    let cgroups = cgroup_view(request)?;
    enter_namespaces(request, &fds.joins, born)?;
    attributes::new_session()?;
    if let Some(name) = &plan.session_keyring {
        join_keyring(&plan.process, name, sync)?;
    }
    set_names(plan, &mut spent)?;
    timings::mark("namespaces entered");
    match &plan.rootfs {
        Some(rootfs) => {
            let given = Given { console: fds.console, sources: fds.sources, spent, cgroups, sync, pid };
            make_root(request, rootfs, given)?;
        }
        None => {
            drop(spent);
            if let Some(socket) = fds.console.filter(|_| plan.process.terminal) {
                console::join(plan.process.console_size, plan.process.uid, socket.as_fd())?;
            }
        }
    }
    enter_directory(&plan.process)?;
    let program = payload::find(&plan.process)?;
    let env = payload::environment(&plan.process);
    timings::mark("ready");
    sync.send(&FromInit::Ready)?;
    sync.wait_continue()?;
    Ok((Prepared { program, env, pid }, fds.gate))
}

/// From the open gate to the program. Returns only when it fails.
fn launch(request: &InitRequest<'_>, prepared: Prepared, line: &Line) -> Result<Infallible> {
    timings::mark("start");
    let process = &request.plan.process;
    if !request.hooks.start_container.is_empty() {
        let state = request.state.to_hook_json(Status::Created, prepared.pid);
        let options = HookOptions { directory: None, ..*request.hook_options };
        hooks::run_all(&request.hooks.start_container, &state, &options)?;
    }
    attributes::set_scheduling(process)?;
    attributes::set_affinity(process, AffinityMoment::Final)?;
    if process.apparmor_profile.is_some() || process.selinux_label.is_some() {
        labels::set_exec_labels(&Procfs::open()?, process)?;
    }
    if process.uid != 0 {
        credentials::own_standard_streams(process.uid)?;
    }
    credentials::drop_bounding(process.capabilities.bounding, request.last_capability)?;
    credentials::switch_user(process)?;
    if process.umask != DEFAULT_UMASK {
        attributes::set_umask(process.umask);
    }
    attributes::set_limits(&process.pointer, &process.rlimits)?;
    pass_descriptors(request.preserve_fds)?;
    if process.no_new_privileges {
        attributes::set_no_new_privileges()?;
    } else if request.plan.seccomp.is_some() {
        // Loading a filter needs CAP_SYS_ADMIN then, which the program may not keep: the profile must allow what drops it,
        // capset(2) and prctl(2), and nothing else of what is done here.
        credentials::raise_effective(process.uid)?;
        load_filter(request, line)?;
    }
    if let Some(warning) = credentials::set_capabilities(&process.pointer, &process.capabilities)? {
        // Whoever is gone does not matter for it.
        let _ = line.send(&FromInit::Warning(warning), None);
    }
    if process.no_new_privileges {
        load_filter(request, line)?;
    }
    timings::mark("privileges dropped");
    payload::execute(&prepared.program, &process.args, &prepared.env)
}

/// Closes what this process was born with by accident: nothing of the host may wait in a container, not even
/// close-on-exec. Own descriptors have higher numbers than those that the caller passes on.
fn close_inherited(request: &InitRequest<'_>, fds: &InitFds, sync: &ChildEnd) -> Result<()> {
    let (preserve, options) = (request.preserve_fds, request.hook_options);
    let mut kept: Vec<i32> = vec![sync.as_fd().as_raw_fd()];
    kept.extend(fds.gate.iter().chain(&fds.console).map(AsRawFd::as_raw_fd));
    kept.extend(fds.sources.descriptors().chain(fds.joins.descriptors()));
    kept.extend(timings::descriptor().map(|fd| fd.as_raw_fd()));
    kept.extend([options.stdout, options.stderr].into_iter().flatten().map(|fd| fd.as_raw_fd()));
    kept.sort_unstable();
    let mut first = 3 + preserve;
    for fd in kept.into_iter().filter_map(|fd| u32::try_from(fd).ok()).filter(|&fd| fd >= 3 + preserve) {
        fd::close_unowned(first, fd.saturating_sub(1)).context(|| "close inherited descriptors")?;
        first = fd + 1;
    }
    fd::close_unowned(first, u32::MAX).context(|| "close inherited descriptors")
}

/// The descriptors for the program lose close-on-exec, all others have it.
fn pass_descriptors(preserve: u32) -> Result<()> {
    for fd in 3..3 + preserve as i32 {
        fd::keep_on_exec(fd).context(|| format!("keep descriptor {fd} for the program"))?;
    }
    fd::cloexec_from(3 + preserve).context(|| "mark descriptors close-on-exec")
}

/// Where this process is on the host, for mounts of cgroups: all paths are `/` once the cgroup namespace is unshared.
fn cgroup_view(request: &InitRequest<'_>) -> Result<Option<CgroupView>> {
    let is_cgroup = |mount: &MountPlan| matches!(mount.source, MountSource::Cgroup { .. });
    let wanted = request.plan.rootfs.as_ref().is_some_and(|rootfs| rootfs.mounts.iter().any(is_cgroup));
    Ok(match (wanted, request.layout, request.memberships) {
        (false, ..) => None,
        // One mount, which has the same place in all of its groups.
        (true, CgroupLayout::Unified, _) => Some(CgroupView::told(CgroupLayout::Unified, "")),
        (true, layout, Some(lines)) => Some(CgroupView::told(layout, lines)),
        (true, _, None) => Some(CgroupView::read()?),
    })
}

/// Joins what is joined and unshares what is new, in the order in which each is allowed.
fn enter_namespaces(request: &InitRequest<'_>, joins: &Joins, born: Born) -> Result<()> {
    let namespaces = &request.plan.namespaces;
    let others = !(Kind::User.flag() | Kind::Pid.flag());
    match born {
        Born::OfIntermediate { refused } => joins.join(refused)?,
        Born::Directly => {
            let mut refused = 0;
            joins.join_privileged(others, &mut refused)?;
            joins.join(Kind::User.flag())?;
            if joins.has(Kind::User) || namespaces.is_new(Kind::User) {
                credentials::become_root()?;
            }
            joins.join(refused)?;
        }
    }
    // Whoever was dumpable for the sake of its id maps is so no longer, and new credentials made it so (commit_creds of
    // the kernel): those that come with a user namespace.
    if !request.private || joins.has(Kind::User) || namespaces.is_new(Kind::User) {
        attributes::set_dumpable(false)?;
    }
    let cgroup = if namespaces.is_new(Kind::Cgroup) { Kind::Cgroup.flag() } else { 0 };
    unshare_new(request.unshare_flags | cgroup)
}

fn unshare_new(flags: u64) -> Result<()> {
    if flags == 0 {
        return Ok(());
    }
    unshare(flags).context(|| format!("unshare namespaces {flags:#x}")).map_err(out_of_namespaces)
}

/// Tells what ENOSPC means where namespaces are made.
pub(crate) fn out_of_namespaces(error: Error) -> Error {
    error.hint_on(Errno::ENOSPC, "a limit below /proc/sys/user is reached")
}

fn join_keyring(process: &ProcessPlan, name: &CStr, sync: &ChildEnd) -> Result<()> {
    let label = process.selinux_label.as_deref();
    if label.is_some() {
        labels::set_key_label(&Procfs::open()?, &process.pointer, label)?;
    }
    if let Some(warning) = attributes::new_session_keyring(name)? {
        sync.warn(warning);
    }
    match label {
        Some(_) => labels::set_key_label(&Procfs::open()?, &process.pointer, None),
        None => Ok(()),
    }
}

fn set_names(plan: &InitPlan, spent: &mut Descriptors) -> Result<()> {
    if let Some(name) = &plan.hostname {
        attributes::set_hostname(name)?;
    }
    if let Some(name) = &plan.domainname {
        attributes::set_domainname(name)?;
    }
    if plan.loopback_up {
        attributes::set_loopback_up(spent)?;
    }
    if plan.sysctls.is_empty() {
        return Ok(());
    }
    sysctl::set(&Procfs::open()?, &plan.sysctls)
}

/// What [`make_root`] is given besides its plan.
struct Given<'a> {
    console: Option<OwnedFd>,
    sources: Sources,
    /// Closed with what else is used up, before the root is the container's.
    spent: Descriptors,
    cgroups: Option<CgroupView>,
    sync: &'a ChildEnd,
    pid: i32,
}

/// From the host's root to the container's.
fn make_root(request: &InitRequest<'_>, plan: &RootfsPlan, given: Given<'_>) -> Result<()> {
    let Given { console, mut sources, spent, cgroups, sync, pid } = given;
    let process = &request.plan.process;
    let mut root = rootfs::prepare(plan, &mut sources)?;
    root.retire_all(spent);
    timings::mark("root made");
    let unsealed = mount::mount_all(plan, &mut root, &mut sources, cgroups.as_ref())?;
    timings::mark("mounts");
    devices::make_all(plan, &root)?;
    timings::mark("devices");
    if request.stop_at_rootfs {
        sync.send(&FromInit::RootfsReady)?;
        sync.wait_continue()?;
    }
    if !request.hooks.create_container.is_empty() {
        let state = request.state.to_hook_json(Status::Creating, pid);
        let options = HookOptions { directory: Some(root.as_fd()), ..*request.hook_options };
        hooks::run_all(&request.hooks.create_container, &state, &options)?;
    }
    if let Some(socket) = console.filter(|_| process.terminal) {
        console::make(&root, process.console_size, process.uid, socket.as_fd())?;
    }
    // Before anything becomes read-only; [`enter_directory`] finds it made.
    if process.cwd.to_bytes() != b"/" {
        root.make_dir_all(Path::new(OsStr::from_bytes(process.cwd.to_bytes())))
            .map_err(|error| error.at(pointer::join(&process.pointer, "cwd")))?;
    }
    masks::apply(plan, &root, !request.hooks.create_container.is_empty())?;
    unsealed.seal()?;
    rootfs::seal(plan, &root)?;
    timings::mark("masks");
    pivot::enter(root, plan.pivot)?;
    timings::mark("pivoted");
    rootfs::propagate(plan)
}

/// Goes to the working directory, made when missing, and checks that it lies in the container (attack 2).
fn enter_directory(process: &ProcessPlan) -> Result<()> {
    let at = || pointer::join(&process.pointer, "cwd");
    let verify = || if process.cwd.to_bytes() == b"/" { Ok(()) } else { rootfs::verify_cwd() };
    payload::enter_directory(&process.cwd).and_then(|()| verify()).map_err(|error| error.at(at()))
}

/// Loads the seccomp filter and hands its listener out, if it has one.
fn load_filter(request: &InitRequest<'_>, line: &Line) -> Result<()> {
    let Some(filter) = &request.plan.seccomp else { return Ok(()) };
    let listener = sys::seccomp::load(&filter.program, filter.flags)
        .context(|| format!("load the seccomp filter of {} instructions", filter.program.len()))
        .map_err(|error| error.at("/linux/seccomp"))?;
    match listener {
        Some(listener) => line.send(&FromInit::SeccompFd, Some(listener.as_fd())),
        None => Ok(()),
    }
}
