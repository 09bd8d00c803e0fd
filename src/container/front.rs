//! What `run` and `exec` in the foreground need before the process exists: its signals and its terminal.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::console::Relay;
use super::foreground::{Foreground, Signals};
use super::guard::Child;
use super::notify_socket::Listener;
use crate::error::{Context as _, Error, Kind, Result};
use crate::sys::socket::receive_message;

/// This process in front of a container's.
#[derive(Debug)]
pub(super) struct Front {
    signals: Signals,
    /// Where the master of the terminal arrives, if there is one.
    console: Option<OwnedFd>,
}

impl Front {
    /// From here on signals are kept for the process.
    pub fn new() -> Result<Front> {
        Ok(Front { signals: Signals::hold()?, console: None })
    }

    /// Makes a console socket of our own, and gives init's end.
    pub fn console(&mut self) -> Result<OwnedFd> {
        let (own, init) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .context(|| "make a console socket pair")?;
        self.console = Some(own);
        Ok(init)
    }

    /// Takes the terminal that init has sent; before the program runs.
    pub fn relay(&self) -> Result<Relay<'static>> {
        let none = || Error::new(Kind::System, "init sent no terminal");
        let mut name = [0; 4096];
        let socket = self.console.as_ref().ok_or_else(none)?;
        let message = receive_message(socket.as_fd(), &mut name).context(|| "receive the terminal")?;
        Relay::new(message.passed.into_iter().next().ok_or_else(none)?)
    }

    /// Waits for the process: its exit code, or 128+n for death by signal n.
    pub fn wait(
        &self,
        child: &Child,
        relay: Option<Relay<'_>>,
        reap_orphans: bool,
        notify: Option<&Listener>,
    ) -> Result<i32> {
        Foreground { signals: &self.signals, reap_orphans, notify }.wait(child, relay)
    }

    /// Signals are the caller's again.
    pub fn into_open(self) -> impl Iterator<Item = OwnedFd> {
        [self.signals.into_fd()].into_iter().chain(self.console)
    }
}
