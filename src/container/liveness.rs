//! Status, derived from the kernel at the moment of the question (runtime.md#state).

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use procfs::FromRead;
use procfs::process::{Stat, StatFlags};

use super::store::{Directory, InitProcess, Record};
use crate::cgroup::Cgroup;
use crate::error::{Context as _, Error, Kind, Result};
use crate::state::Status;
use crate::sys::fd::pidfd_open;
use crate::sys::file;

/// What /proc says about the process `pid`; `None` when there is none.
fn stat(pid: i32) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    let bytes = match file::read_composed(&path) {
        // ESRCH: it ended between open and read.
        Err(Errno::ENOENT | Errno::ESRCH) => return Ok(None),
        result => result.context(|| format!("read {path}"))?,
    };
    parse(&bytes).context(|| format!("parse {path}")).map(Some)
}

fn parse(stat: &[u8]) -> Result<Stat> {
    Stat::from_read(stat).map_err(|error| Error::new(Kind::System, error.to_string()))
}

/// The identity of the living process `pid`.
pub(crate) fn identify(pid: i32) -> Result<InitProcess> {
    match stat(pid)? {
        Some(stat) => Ok(InitProcess { pid, start_time: stat.starttime }),
        None => Err(Error::sys(Errno::ESRCH, format!("identify process {pid}"))),
    }
}

/// Whether `init` is still that process, and neither a zombie nor dead.
pub(crate) fn is_alive(init: InitProcess) -> Result<bool> {
    living(init).map(|stat| stat.is_some())
}

fn living(init: InitProcess) -> Result<Option<Stat>> {
    let lives = |stat: &Stat| stat.starttime == init.start_time && !matches!(stat.state, 'Z' | 'X' | 'x');
    Ok(stat(init.pid)?.filter(lives))
}

/// Whether the process is still a copy of the one that made it: execve(2) takes the flag away.
fn waits_to_execute(stat: &Stat) -> bool {
    stat.flags & StatFlags::PF_FORKNOEXEC.bits() != 0
}

/// A descriptor of that process, or `None` if it is not alive: a pid alone may belong to somebody else by now.
pub(crate) fn open(init: InitProcess) -> Result<Option<OwnedFd>> {
    let pidfd = match pidfd_open(init.pid) {
        Err(Errno::ESRCH) => return Ok(None),
        result => result.context(|| format!("open process {}", init.pid))?,
    };
    // In this order: from here on the pid cannot come to mean another process that the check takes for this one, and
    // once this one is reaped a signal through the descriptor reaches nobody.
    Ok(is_alive(init)?.then_some(pidfd))
}

/// Where a container is in its life.
pub(crate) fn status(directory: &Directory, record: Option<&Record>) -> Result<Status> {
    let Some((record, init)) = record.and_then(|record| Some((record, record.init?))) else {
        // Half made: by somebody who is at it, or by somebody who died.
        return Ok(if directory.is_locked() { Status::Creating } else { Status::Stopped });
    };
    let Some(stat) = living(init)? else { return Ok(Status::Stopped) };
    if Cgroup::from_record(&record.cgroup).is_frozen()? {
        return Ok(Status::Paused);
    }
    Ok(if waits_to_execute(&stat) { Status::Created } else { Status::Running })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_alive_own_process_with_other_start_time_is_false() {
        let me = identify(std::process::id() as i32).unwrap();
        assert!(is_alive(me).unwrap());
        assert!(!is_alive(InitProcess { start_time: me.start_time + 1, ..me }).unwrap());
    }

    #[test]
    fn waits_to_execute_until_another_program_runs() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let executed = waits_to_execute(&stat(child.id() as i32).unwrap().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!executed);
        // A thread is such a copy too.
        let copy = std::thread::spawn(|| stat(nix::unistd::gettid().as_raw()).unwrap().unwrap()).join().unwrap();
        assert!(waits_to_execute(&copy));
    }

    #[test]
    fn parse_name_with_parenthesis_and_space_is_skipped() {
        let own = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (pid, rest) = (own.split_once(' ').unwrap().0, own.rsplit_once(") ").unwrap().1);
        let expected = parse(own.as_bytes()).unwrap();
        let hostile = parse(format!("{pid} (a) Z 1 (b) {rest}").as_bytes()).unwrap();
        assert_eq!((hostile.state, hostile.starttime), (expected.state, expected.starttime));
        assert!(parse(b"7 (a) S 1 2").is_err() && parse(b"").is_err());
    }
}
