//! Processes: limits of another one, a child that executes a program at once, names of the UTS namespace, loopback.
//! Called by `init::{attributes, hooks}` and by the parent side.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::unistd::Pid;

/// prlimit(2): sets the limit `resource` (RLIMIT_*) of the process `pid`; 0 is the caller.
pub(crate) fn set_limit(pid: i32, resource: u32, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: prlimit64 reads one rlimit64 from the third argument, which is live, and writes none to the fourth,
    // which is null.
    let result = unsafe {
        libc::syscall(libc::SYS_prlimit64, pid, resource, &raw const limit, ptr::null_mut::<libc::rlimit64>())
    };
    Errno::result(result).map(drop)
}

/// prlimit(2): the soft and the hard limit `resource` (RLIMIT_*) of the process `pid`.
pub(crate) fn limit(pid: i32, resource: u32) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: prlimit64 writes one rlimit64 to the fourth argument, which is live, and reads none from the third,
    // which is null.
    let result =
        unsafe { libc::syscall(libc::SYS_prlimit64, pid, resource, ptr::null::<libc::rlimit64>(), &raw mut limit) };
    Errno::result(result).map(|_| (limit.rlim_cur, limit.rlim_max))
}

/// setdomainname(2): the NIS domain name of the UTS namespace.
pub(crate) fn set_domain_name(name: &CStr) -> Result<(), Errno> {
    // SAFETY: setdomainname reads as many bytes as it is told, and the string has them.
    let result = unsafe { libc::setdomainname(name.as_ptr(), name.count_bytes()) };
    Errno::result(result).map(drop)
}

/// Sets the loopback device of the network namespace up (netdevice(7), SIOCSIFFLAGS). Gives the socket that it took, which the
/// caller may close together with other descriptors.
pub(crate) fn set_loopback_up() -> Result<OwnedFd, Errno> {
    let socket = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: all-zero bytes are a valid ifreq: an empty name and the integer members of the union 0.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: SIOCSIFFLAGS reads one ifreq with a terminated name (15 of 16 bytes at most are set) and its flags.
    // Any socket will do for it, as netdevice(7) says.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    Errno::result(result).map(|_| socket)
}

/// A program for [`spawn`].
pub(crate) struct Command<'a> {
    /// Path of the program; not searched for.
    pub path: &'a CStr,
    /// argv.
    pub args: &'a [CString],
    /// envp.
    pub env: &'a [CString],
    /// Descriptors 0, 1 and 2 of the child.
    pub stdio: [BorrowedFd<'a>; 3],
    /// Its working directory; `None` keeps the caller's.
    pub directory: Option<BorrowedFd<'a>>,
}

/// Executes a program in a child of its own session (so its pid is its process group), with default signal actions
/// and nothing blocked (posix_spawn(3), which shares memory until the execve and so costs no copy of page tables).
/// The errors of execve are returned.
pub(crate) fn spawn(command: &Command<'_>) -> Result<Pid, Errno> {
    let mut actions = FileActions::new()?;
    for (target, fd) in (0..).zip(command.stdio) {
        // SAFETY: the object was initialised by new(). posix_spawn clears close-on-exec when both numbers are equal.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut actions.0, fd.as_raw_fd(), target) })?;
    }
    if let Some(directory) = command.directory {
        // SAFETY: the object was initialised by new(); the descriptor is open until the spawn, since it is borrowed.
        check(unsafe { libc::posix_spawn_file_actions_addfchdir_np(&raw mut actions.0, directory.as_raw_fd()) })?;
    }
    let attributes = Attributes::new()?;
    let args = pointers(command.args);
    let env = pointers(command.env);
    let mut pid = 0;
    // SAFETY: path is a C string; both vectors end in null and point to strings borrowed for the whole call; actions
    // and attributes are initialised; the child runs no code of ours.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            command.path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            args.as_ptr(),
            env.as_ptr(),
        )
    })?;
    Ok(Pid::from_raw(pid))
}

/// The calls of posix_spawn give the error number instead of setting errno.
fn check(result: libc::c_int) -> Result<(), Errno> {
    if result == 0 { Ok(()) } else { Err(Errno::from_raw(result)) }
}

fn pointers(strings: &[CString]) -> Vec<*mut libc::c_char> {
    strings.iter().map(|s| s.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
}

struct FileActions(libc::posix_spawn_file_actions_t);

impl FileActions {
    fn new() -> Result<Self, Errno> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: init takes a pointer to memory for one object.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: init succeeded, so the object is initialised.
        Ok(FileActions(unsafe { actions.assume_init() }))
    }
}

impl Drop for FileActions {
    fn drop(&mut self) {
        // SAFETY: the object is initialised and destroyed only here.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> Result<Self, Errno> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: init takes a pointer to memory for one object.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: init succeeded, so the object is initialised.
        let mut attributes = Attributes(unsafe { attributes.assume_init() });
        let mut set = MaybeUninit::uninit();
        // SAFETY: sigemptyset and sigfillset initialise the set behind the pointer; the two setters copy it into an
        // initialised object.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, set.as_ptr()))?;
            libc::sigfillset(set.as_mut_ptr());
            check(libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, set.as_ptr()))?;
        }
        let flags = libc::POSIX_SPAWN_SETSIGMASK as libc::c_short
            | libc::POSIX_SPAWN_SETSIGDEF as libc::c_short
            | libc::POSIX_SPAWN_SETSID;
        // SAFETY: the object is initialised.
        check(unsafe { libc::posix_spawnattr_setflags(&raw mut attributes.0, flags) })?;
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the object is initialised and destroyed only here.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}
