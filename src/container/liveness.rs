//! Status, derived from the kernel at the moment of the question (runtime.md#state).

use std::fs;

use nix::errno::Errno;
use procfs::FromRead;
use procfs::process::Stat;

use super::store::{Directory, InitProcess, Record};
use crate::cgroup::Cgroup;
use crate::error::{Context as _, Error, Kind, Result};
use crate::state::Status;
use crate::sync::gate;

/// What /proc says about the process `pid`; `None` when there is none.
fn stat(pid: i32) -> Result<Option<Stat>> {
    let path = format!("/proc/{pid}/stat");
    let bytes = match fs::read(&path) {
        // ESRCH: it ended between open and read.
        Err(error) if matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOENT | Errno::ESRCH)) => {
            return Ok(None);
        }
        result => result.context(|| format!("read {path}"))?,
    };
    Stat::from_read(bytes.as_slice())
        .map(Some)
        .map_err(|error| Error::new(Kind::System, format!("parse {path}: {error}")))
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
    Ok(stat(init.pid)?.is_some_and(|stat| stat.starttime == init.start_time && !matches!(stat.state, 'Z' | 'X' | 'x')))
}

/// Where a container is in its life.
pub(crate) fn status(directory: &Directory, record: Option<&Record>) -> Result<Status> {
    let Some((record, init)) = record.and_then(|record| Some((record, record.init?))) else {
        // Half made: by somebody who is at it, or by somebody who died.
        return Ok(if directory.is_locked() { Status::Creating } else { Status::Stopped });
    };
    if !is_alive(init)? {
        return Ok(Status::Stopped);
    }
    if Cgroup::from_record(&record.cgroup).is_frozen()? {
        return Ok(Status::Paused);
    }
    Ok(if gate::stands(directory.as_fd()) { Status::Created } else { Status::Running })
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
}
