//! Hands the listener of a seccomp filter to the agent that answers for it (config-linux.md#seccomp,
//! containerprocessstate).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{SockFlag, SockType};

use crate::error::{Context as _, Result};
use crate::state::{State, Status};
use crate::sys::socket::{connect_unix, send_message};

/// Sends the state of the container process and `listener` to the socket at `path`.
pub(super) fn hand_over(
    path: &Path,
    metadata: Option<&str>,
    state: &State,
    status: Status,
    pid: i32,
    listener: OwnedFd,
) -> Result<()> {
    let document = serde_json::json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": metadata.unwrap_or_default(),
        "state": serde_json::from_slice::<serde_json::Value>(&state.to_hook_json(status, state.pid)).unwrap_or_default(),
    });
    let connection = connect_unix(SockType::Stream, &path.to_string_lossy(), SockFlag::empty())
        .context(|| format!("connect to the seccomp agent at {}", path.display()))
        .map_err(|error| error.at("/linux/seccomp/listenerPath"))?;
    send_message(connection.as_fd(), document.to_string().as_bytes(), Some(listener.as_fd()))
        .context(|| "send the seccomp listener to its agent")
        .map(drop)
}
