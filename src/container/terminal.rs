//! A terminal whose master this process keeps: `run` and `exec` in the foreground.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::error::{Context as _, Error, Kind, Result};
use crate::sys::socket::receive_message;

/// A console socket of our own: the end that gets the master, and the end for init.
pub(super) fn socket_pair() -> Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
        .context(|| "make a console socket pair")
}

/// The master that init has sent.
pub(super) fn receive_master(socket: &OwnedFd) -> Result<OwnedFd> {
    let mut name = [0; 4096];
    let received = receive_message(socket.as_fd(), &mut name).context(|| "receive the terminal")?;
    received.passed.ok_or_else(|| Error::new(Kind::System, "init sent no terminal"))
}
