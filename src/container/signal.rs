//! Signals to a process that is known by its pid and start time. A pid alone may belong to somebody else by now; a
//! descriptor of the process, checked once against the start time, cannot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use rustix::process::PidfdFlags;

use crate::error::{Context, Error, Kind, Result};
use crate::sys;

/// What /proc/PID/stat tells about a process (proc_pid_stat(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessStat {
    /// `R`, `S`, `D`, `Z`, …
    pub state: u8,
    /// Clock ticks after boot; with the pid it names a process for good.
    pub start_time: u64,
}

impl ProcessStat {
    /// It has exited, and only its parent's wait is missing.
    pub(crate) fn is_dead(self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }
}

/// Reads /proc/PID/stat; `None` if there is no such process.
pub(crate) fn stat(pid: i32) -> Result<Option<ProcessStat>> {
    let path = format!("/proc/{pid}/stat");
    match std::fs::read(&path) {
        Ok(text) => match parse_stat(&text) {
            Some(stat) => Ok(Some(stat)),
            None => Err(Error::new(Kind::System, format!("{path} is not in the known form"))),
        },
        // ESRCH: it ended between open and read.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => Ok(None),
        Err(error) => Err(error).context(|| format!("read {path}")),
    }
}

/// The name in parentheses may hold anything, a parenthesis and a space as well: the last one ends it.
fn parse_stat(text: &[u8]) -> Option<ProcessStat> {
    let name_end = text.iter().rposition(|byte| *byte == b')')?;
    let mut fields = text.get(name_end + 1..)?.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let state = *fields.next()?.first()?;
    // Field 22, the 19th after the state.
    let start_time = str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?;
    Some(ProcessStat { state, start_time })
}

/// A descriptor of the process that has `pid` and started at `start_time`; `None` if it is gone or dead.
pub(crate) fn open(pid: i32, start_time: u64) -> Result<Option<OwnedFd>> {
    // from_raw takes no negative number.
    let Some(raw) = rustix::process::Pid::from_raw(pid.max(0)) else { return Ok(None) };
    let pidfd = match rustix::process::pidfd_open(raw, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(errno) => return Err(errno).context(|| format!("open process {pid}")),
    };
    // In this order: while the descriptor is open the process that it names keeps its pid until it is reaped, and
    // afterwards a signal through the descriptor reaches nobody.
    let is_it = stat(pid)?.is_some_and(|stat| stat.start_time == start_time && !stat.is_dead());
    Ok(is_it.then_some(pidfd))
}

/// Sends `signal` (0 only checks) to the process that has `pid` and started at `start_time`. Errors:
/// [`Kind::Status`] `container not running` if it is gone or dead.
pub(crate) fn kill(pid: i32, start_time: u64, signal: i32) -> Result<()> {
    match open(pid, start_time)? {
        Some(pidfd) => send(pidfd.as_fd(), signal),
        None => Err(not_running()),
    }
}

/// Sends `signal` through a descriptor of a process. Errors: as [`kill`].
pub(crate) fn send(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    match sys::signal::send(pidfd, signal) {
        Ok(()) => Ok(()),
        Err(Errno::ESRCH) => Err(not_running()),
        Err(Errno::EINVAL) => Err(Error::sys(Errno::EINVAL, format!("send signal {signal}: there is no such signal"))),
        Err(errno) => Err(Error::sys(errno, format!("send signal {signal}"))),
    }
}

fn not_running() -> Error {
    Error::new(Kind::Status, "container not running")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    /// A process that sleeps; killed and reaped when dropped.
    struct Sleeper(Child);

    impl Sleeper {
        fn new() -> Self {
            Sleeper(Command::new("sleep").arg("60").spawn().unwrap())
        }

        fn pid(&self) -> i32 {
            self.0.id().try_into().unwrap()
        }

        fn start_time(&self) -> u64 {
            stat(self.pid()).unwrap().unwrap().start_time
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn kill_with_the_right_start_time_reaches_the_process() {
        let mut sleeper = Sleeper::new();
        assert_eq!(kill(sleeper.pid(), sleeper.start_time(), 0), Ok(()));
        // A real-time signal, for which nix has no name.
        assert_eq!(kill(sleeper.pid(), sleeper.start_time(), 40), Ok(()));
        assert_eq!(sleeper.0.wait().unwrap().signal(), Some(40));
    }

    #[test]
    fn kill_reused_pid_is_not_running_and_spares_it() {
        let mut sleeper = Sleeper::new();
        let error = kill(sleeper.pid(), sleeper.start_time() + 1, libc::SIGKILL).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Status, "container not running"));
        assert_eq!(sleeper.0.try_wait().unwrap(), None);
    }

    #[test]
    fn kill_zombie_or_reaped_process_is_not_running() {
        let mut sleeper = Sleeper::new();
        let (pid, start_time) = (sleeper.pid(), sleeper.start_time());
        let pidfd = open(pid, start_time).unwrap().unwrap();
        kill(pid, start_time, libc::SIGKILL).unwrap();
        rustix::process::waitid(
            rustix::process::WaitId::PidFd(pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert!(kill(pid, start_time, 0).unwrap_err().to_string().contains("container not running"));
        sleeper.0.wait().unwrap();
        assert!(kill(pid, start_time, 0).unwrap_err().to_string().contains("container not running"));
        assert!(send(pidfd.as_fd(), 0).unwrap_err().to_string().contains("container not running"));
    }

    #[test]
    fn kill_no_or_negative_pid_is_not_running() {
        for pid in [0, -1, i32::MIN, i32::MAX] {
            assert_eq!(kill(pid, 0, libc::SIGKILL).unwrap_err().kind(), Kind::Status, "{pid}");
        }
    }

    #[test]
    fn kill_signal_out_of_range_is_an_error() {
        let sleeper = Sleeper::new();
        let error = kill(sleeper.pid(), sleeper.start_time(), 65).unwrap_err();
        assert!(error.to_string().starts_with("send signal 65"), "{error}");
    }

    #[test]
    fn parse_stat_name_with_parenthesis_and_space_is_skipped() {
        let fields: Vec<String> = (3..=30).map(|n| if n == 3 { "S".into() } else { n.to_string() }).collect();
        let text = format!("7 (a) S 1 (b) {}\n", fields.join(" "));
        assert_eq!(parse_stat(text.as_bytes()), Some(ProcessStat { state: b'S', start_time: 22 }));
        assert_eq!(parse_stat(b"7 (a) S 1 2"), None);
        assert_eq!(parse_stat(b""), None);
    }
}
