//! The only unsafe code of this program: calls that neither nix nor rustix wraps.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The last signal that asked for the end; 0 before.
static ENDING: AtomicI32 = AtomicI32::new(0);

extern "C" fn note(signal: libc::c_int) {
    ENDING.store(signal, Ordering::Relaxed);
}

/// From now on SIGHUP, SIGINT and SIGTERM do not end this process: [`ending`] tells of them. Programs that it starts
/// have the default again.
pub fn note_ending() -> Result<(), Errno> {
    let action = SigAction::new(SigHandler::Handler(note), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: sigaction requires a handler that is safe in the middle of anything: `note` stores one atomic number.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

/// The signal that asked this process to end.
pub fn ending() -> Option<i32> {
    Some(ENDING.load(Ordering::Relaxed)).filter(|&signal| signal != 0)
}

/// Whether SIGPIPE was ignored when the process began; the runtime of Rust ignores it before `main`.
static PIPE_IGNORED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_pipe() {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: sigaction without a new action only writes the old one to its third argument, a live struct of that type;
    // zeroed is a valid one, so reading it is sound even if the call failed.
    let handler = unsafe {
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), action.as_mut_ptr());
        action.assume_init().sa_sigaction
    };
    PIPE_IGNORED.store(handler == libc::SIG_IGN, Ordering::Relaxed);
}

// SAFETY: the functions in .init_array are called once, by one thread, before `main` and what precedes it: `note_pipe` has the
// type that is asked for and needs nothing of the standard library that would not be there yet.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = note_pipe;

/// Whether this process was started with SIGPIPE ignored.
pub fn pipe_was_ignored() -> bool {
    PIPE_IGNORED.load(Ordering::Relaxed)
}

/// What sched_getattr(2) says of a process.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub struct SchedulerAttributes {
    size: u32,
    pub policy: u32,
    pub flags: u64,
    pub nice: i32,
    pub priority: u32,
    pub runtime: u64,
    pub deadline: u64,
    pub period: u64,
}

/// Scheduling of the caller.
pub fn scheduler() -> Result<SchedulerAttributes, Errno> {
    let mut attributes = SchedulerAttributes::default();
    let size = size_of::<SchedulerAttributes>();
    // SAFETY: sched_getattr writes at most `size` bytes to its second argument, which is a live struct of that size.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, size, 0) };
    Errno::result(result)?;
    Ok(attributes)
}

/// Class (bits 13 and up) and level of the caller's input and output, ioprio_get(2).
pub fn io_priority() -> Result<i64, Errno> {
    // SAFETY: ioprio_get takes two numbers and no pointer: 1 is IOPRIO_WHO_PROCESS, 0 the caller.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_get, 1, 0) };
    Errno::result(result)
}

/// The caller's memory policy with its flags, and the first word of its set of nodes.
pub fn memory_policy() -> Result<(i32, u64), Errno> {
    let mut mode = 0_i32;
    let mut nodes = [0_u64; 16];
    // SAFETY: get_mempolicy writes an int to the first argument and at most as many bits as the third says to the
    // second: both live, the array of 1,024 bits.
    let result = unsafe {
        let bits = size_of_val(&nodes) * 8;
        libc::syscall(libc::SYS_get_mempolicy, &raw mut mode, nodes.as_mut_ptr(), bits, 0, 0)
    };
    Errno::result(result)?;
    Ok((mode, nodes[0]))
}

/// The execution domain of the caller; `u32::MAX` as argument only asks.
pub fn personality(value: u32) -> Result<u32, Errno> {
    // SAFETY: personality takes one number.
    let result = unsafe { libc::syscall(libc::SYS_personality, libc::c_ulong::from(value)) };
    Errno::result(result).map(|old| u32::try_from(old).unwrap_or(u32::MAX))
}

/// What MS_BIND | MS_REC and others cannot say: whether symlinks are followed on the mount of `path`.
pub fn statfs_flags(path: &std::ffi::CStr) -> Result<u64, Errno> {
    let mut buffer = std::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `path` is a C string and the buffer has the size of a statfs; zeroed is a valid one.
    let flags = unsafe {
        Errno::result(libc::statfs(path.as_ptr(), buffer.as_mut_ptr()))?;
        buffer.assume_init().f_flags
    };
    Ok(flags)
}
