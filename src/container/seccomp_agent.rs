//! Hands the listener of a seccomp filter to the agent that answers for it (config-linux.md#seccomp,
//! containerprocessstate).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::sys::socket::{SockFlag, SockType};
use serde::Serialize;

use crate::error::{Context as _, Error, Kind, Result};
use crate::plan::seccomp::Notify;
use crate::state::State;
use crate::sys::socket::{connect_unix, send_message};

/// Sends the state of the container process `pid` and `listener` to the agent.
pub(super) fn hand_over(notify: &Notify, state: &State, pid: i32, listener: OwnedFd) -> Result<()> {
    let document = ContainerProcessState {
        oci_version: &state.oci_version,
        fds: ["seccompFd"],
        pid,
        metadata: notify.listener_metadata.as_deref(),
        state: state.for_others(state.status, state.pid),
    };
    let document = serde_json::to_vec(&document)
        .map_err(|error| Error::new(Kind::System, format!("encode the container process state: {error}")))?;
    // `start` and `exec` are called from anywhere: a relative path means the same for all commands.
    let path = Path::new(&state.bundle).join(notify.listener_path.to_string_lossy().as_ref());
    let path = path.to_string_lossy();
    let connection = connect_unix(SockType::Stream, &path, SockFlag::empty())
        .context(|| format!("connect to the seccomp agent at {path}"))
        .map_err(|error| error.at("/linux/seccomp/listenerPath"))?;
    send_message(connection.as_fd(), &document, Some(listener.as_fd()))
        .context(|| "send the seccomp listener to its agent")
        .map(drop)
}

/// The message (config-linux.md#containerprocessstate).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ContainerProcessState<'a> {
    oci_version: &'a str,
    fds: [&'a str; 1],
    pid: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a str>,
    state: serde_json::Value,
}
