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
    /// A console socket of our own: where the master arrives, and init's end.
    console: (OwnedFd, OwnedFd),
}

impl Front {
    /// From here on signals are kept for the process.
    pub fn new() -> Result<Front> {
        let console = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .context(|| "make a console socket pair")?;
        Ok(Front { signals: Signals::hold()?, console })
    }

    /// The console socket for init.
    pub fn console(&self) -> Result<OwnedFd> {
        self.console.1.try_clone().context(|| "duplicate the console socket")
    }

    /// Takes the terminal that init has sent; before the program runs.
    pub fn relay(&self) -> Result<Relay<'static>> {
        let mut name = [0; 4096];
        let message = receive_message(self.console.0.as_fd(), &mut name).context(|| "receive the terminal")?;
        Relay::new(message.passed.ok_or_else(|| Error::new(Kind::System, "init sent no terminal"))?)
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
}
