//! What a service manager's environment means for a container: descriptors that were opened for it (sd_listen_fds(3))
//! and the socket that it reports its readiness to (sd_notify(3)).

use std::env;
use std::ffi::CString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::notify_socket::{ENVIRONMENT, ListenFds, MOUNT_DESTINATION, NotifySocket};
use super::seal;
use crate::error::{Error, Kind, Result};
use crate::plan::Plan;
use crate::plan::mount_options::attr;
use crate::plan::mounts::{MountPlan, MountSource};

/// How many descriptors from 3 on go to the program: those of `--preserve-fds` and those of LISTEN_FDS, which are
/// described in its environment. In a container the program has process id 1.
///
/// # Errors
/// When one of them is not open.
pub(super) fn pass_descriptors(preserve: u32, environment: &mut Vec<CString>) -> Result<u32> {
    let listen = env::var_os("LISTEN_FDS").and_then(|fds| {
        let [pid, names] = ["LISTEN_PID", "LISTEN_FDNAMES"].map(env::var_os);
        ListenFds::new(&fds, pid.as_deref(), names.as_deref(), std::process::id())
    });
    let count = preserve.saturating_add(listen.as_ref().map_or(0, |listen| listen.count));
    let passed = seal::passed_descriptors();
    if i64::from(count) > i64::from(passed) {
        return Err(Error::new(Kind::Usage, format!("descriptor {} is to be passed on, but is not open", passed + 3)));
    }
    let entries = listen.iter().flat_map(|listen| listen.environment(1));
    environment.extend(entries.filter_map(|entry| CString::new(entry.into_vec()).ok()));
    Ok(count)
}

/// The notification socket of the container whose state is kept in `state_directory`; `None` when no service manager
/// wants to know.
pub(super) fn notify_socket(state_directory: &Path) -> Option<NotifySocket> {
    NotifySocket::new(state_directory, env::var_os("NOTIFY_SOCKET"))
}

/// Makes the place of the socket and plans its mount.
pub(super) fn plan_notify_socket(state_directory: &Path, plan: &mut Plan) -> Result<()> {
    let (Some(socket), Some(rootfs)) = (notify_socket(state_directory), &mut plan.init.rootfs) else { return Ok(()) };
    let directory = socket.prepare()?;
    let source = CString::new(directory.as_os_str().as_bytes())
        .map_err(|error| Error::new(Kind::Usage, format!("state directory {}: {error}", directory.display())))?;
    rootfs.mounts.push(MountPlan {
        index: rootfs.mounts.len(),
        destination: PathBuf::from(MOUNT_DESTINATION),
        source: MountSource::Bind { path: source, recursive: false },
        attr_set: attr::RDONLY,
        ..MountPlan::default()
    });
    plan.init.process.env.extend(CString::new(ENVIRONMENT).ok());
    Ok(())
}
