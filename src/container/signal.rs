//! Signals to the init of a container, which is known by its pid and start time.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::liveness;
use super::store::InitProcess;
use crate::error::{Error, Kind, Result};
use crate::sys;

/// Sends `signal` (0 only checks) to `init`. Errors: [`Kind::Status`] `container not running` if it is gone or dead.
pub(crate) fn kill(init: InitProcess, signal: i32) -> Result<()> {
    match liveness::open(init)? {
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

        fn identity(&self) -> InitProcess {
            liveness::identify(self.0.id().try_into().unwrap()).unwrap()
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
        assert_eq!(kill(sleeper.identity(), 0), Ok(()));
        // A real-time signal, for which nix has no name.
        assert_eq!(kill(sleeper.identity(), 40), Ok(()));
        assert_eq!(sleeper.0.wait().unwrap().signal(), Some(40));
    }

    #[test]
    fn kill_reused_pid_is_not_running_and_spares_it() {
        let mut sleeper = Sleeper::new();
        let init = sleeper.identity();
        let error = kill(InitProcess { start_time: init.start_time + 1, ..init }, libc::SIGKILL).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Status, "container not running"));
        assert_eq!(sleeper.0.try_wait().unwrap(), None);
    }

    #[test]
    fn kill_zombie_or_reaped_process_is_not_running() {
        let mut sleeper = Sleeper::new();
        let init = sleeper.identity();
        let pidfd = liveness::open(init).unwrap().unwrap();
        kill(init, libc::SIGKILL).unwrap();
        rustix::process::waitid(
            rustix::process::WaitId::PidFd(pidfd.as_fd()),
            rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT,
        )
        .unwrap();
        assert!(kill(init, 0).unwrap_err().to_string().contains("container not running"));
        sleeper.0.wait().unwrap();
        assert!(kill(init, 0).unwrap_err().to_string().contains("container not running"));
        assert!(send(pidfd.as_fd(), 0).unwrap_err().to_string().contains("container not running"));
    }

    #[test]
    fn kill_no_or_negative_pid_is_not_running() {
        for pid in [0, -1, i32::MIN, i32::MAX] {
            assert_eq!(
                kill(InitProcess { pid, start_time: 0 }, libc::SIGKILL).unwrap_err().kind(),
                Kind::Status,
                "{pid}"
            );
        }
    }

    #[test]
    fn kill_signal_out_of_range_is_an_error() {
        let sleeper = Sleeper::new();
        let error = kill(sleeper.identity(), 65).unwrap_err();
        assert!(error.to_string().starts_with("send signal 65"), "{error}");
    }
}
