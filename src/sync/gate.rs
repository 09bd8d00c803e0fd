//! The start gate: a listening SEQPACKET socket in the state directory, held by init.
//!
//! ```text
//! start                                  init
//! connect, Start ──────────────────────▶ closes the gate; startContainer hooks; execve
//!        ◀── Warning, SeccompFd + fd     on the way
//!        ◀── Error{…}                    when it cannot
//!        ◀── end of the connection       when execve succeeded (close-on-exec), or init died
//! ```
//!
//! Whether init still waits is not asked here: that would wake it. The kernel knows who has not executed anything yet.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{SockFlag, SockType};

use super::frame::FromInit;
use super::{Channel, ParentEnd};
use crate::error::{Context as _, Result};
use crate::sys::socket::{accept, connect_unix, receive_message, send_message, seqpacket_listener};

/// Name of the socket in the state directory.
pub(crate) const NAME: &str = "start";

const START: u8 = b'S';

/// A path of the gate that is short enough for a socket address however deep the state directory lies.
fn path_in(state_dir: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}/{NAME}", state_dir.as_raw_fd())
}

/// Makes the gate.
pub(crate) fn listen(state_dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    seqpacket_listener(&path_in(state_dir)).context(|| format!("make the socket {NAME} in the state directory"))
}

/// Opens the gate. Gives the line on which [`ParentEnd::await_execution`] learns what comes of it.
pub(crate) fn open(state_dir: BorrowedFd<'_>) -> Result<ParentEnd> {
    let connection = connect_unix(SockType::SeqPacket, &path_in(state_dir), SockFlag::empty())
        .context(|| "connect to the waiting init")?;
    send_message(connection.as_fd(), &[START], None).context(|| "tell the waiting init to start")?;
    Ok(ParentEnd(Channel(connection)))
}

/// Init's side: waits for a connection that says Start, and gives it.
pub(crate) fn wait(gate: OwnedFd) -> Result<OwnedFd> {
    loop {
        let connection = accept(gate.as_fd()).context(|| "wait at the start gate")?;
        let mut buffer = [0; 2];
        match receive_message(connection.as_fd(), &mut buffer) {
            Ok(received) if received.len == 1 && buffer.first() == Some(&START) => return Ok(connection),
            // It died on the way.
            _ => {}
        }
    }
}

/// Init's side: tells `start` something, with a descriptor or without.
pub(crate) fn send(connection: BorrowedFd<'_>, frame: &FromInit, passed: Option<BorrowedFd<'_>>) -> Result<()> {
    send_message(connection, &frame.encode(), passed).map(drop).context(|| "send to the starting process")
}
