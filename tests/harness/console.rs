//! The receiving side of `--console-socket`: gets the master of the terminal by SCM_RIGHTS.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::{Lab, PATIENCE};

/// A listening socket.
pub struct ConsoleSocket {
    listener: UnixListener,
    pub path: PathBuf,
}

impl ConsoleSocket {
    /// A socket in the lab.
    pub fn new(lab: &Lab) -> Self {
        let path = lab.path(&format!("console-{}", lab.number()));
        let listener = UnixListener::bind(&path).unwrap();
        if let Some(user) = &lab.user {
            lab.give(&path, user.uid);
        }
        ConsoleSocket { listener, path }
    }

    /// Its path, for a command line.
    pub fn str(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The one descriptor of the one message of the next connection.
    pub fn receive(&self) -> OwnedFd {
        assert!(readable(&self.listener, PATIENCE), "nobody connects to the console socket");
        let (stream, _) = self.listener.accept().unwrap();
        let mut bytes = [0u8; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        rustix::net::recvmsg(&stream, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
            .unwrap();
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                descriptors.extend(received);
            }
        }
        assert_eq!(descriptors.len(), 1, "descriptors in the message");
        descriptors.remove(0)
    }

    /// The same, as a terminal.
    pub fn terminal(&self) -> Pty {
        Pty { file: self.receive().into(), seen: Vec::new() }
    }
}

/// The master of a terminal.
pub struct Pty {
    file: std::fs::File,
    seen: Vec<u8>,
}

impl Pty {
    /// Rows and columns.
    pub fn size(&self) -> (u16, u16) {
        let size = rustix::termios::tcgetwinsize(&self.file).unwrap();
        (size.ws_row, size.ws_col)
    }

    /// Types `text`.
    pub fn write(&mut self, text: &str) {
        self.file.write_all(text.as_bytes()).unwrap();
    }

    /// Reads until `needle` has been printed and gives everything since the start.
    pub fn read_until(&mut self, needle: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = String::from_utf8_lossy(&self.seen).into_owned();
            if text.contains(needle) {
                return text;
            }
            assert!(Instant::now() < deadline, "no {needle:?} on the terminal, only {text:?}");
            assert!(self.read_some(), "no {needle:?} before the terminal closed, only {text:?}");
        }
    }

    /// Reads until the other side is gone.
    pub fn read_to_end(&mut self) -> String {
        let deadline = Instant::now() + PATIENCE;
        while self.read_some() {
            assert!(Instant::now() < deadline, "terminal stays open");
        }
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    fn read_some(&mut self) -> bool {
        if !readable(&self.file, Duration::from_millis(100)) {
            return true;
        }
        let mut bytes = [0u8; 4096];
        match self.file.read(&mut bytes) {
            Ok(0) | Err(_) => false, // EIO: every slave is closed
            Ok(n) => {
                self.seen.extend(&bytes[..n]);
                true
            }
        }
    }
}

pub(super) fn readable(fd: &impl AsFd, limit: Duration) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(limit).unwrap();
    nix::poll::poll(&mut fds, timeout).is_ok_and(|n| n > 0)
}
