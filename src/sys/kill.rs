//! kill(2) with any signal number: the safe wrappers know no real-time signals.

use nix::errno::Errno;

/// Sends `signal` (0 to 64) to the process `pid`, which is positive: never to a group or to everybody.
pub(crate) fn kill_process(pid: i32, signal: i32) -> Result<(), Errno> {
    if pid <= 0 {
        return Err(Errno::ESRCH);
    }
    // SAFETY: kill(2) takes two integers and touches no memory of ours.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}
