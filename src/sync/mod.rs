//! What parent and child say to each other.
//!
//! ```text
//! parent                                        init
//! maps, offsets, cgroup, oom score              unshare
//! Go{pid} + fds of v1 ────────────────────────▶ join, hostname, mounts
//!  [with an intermediate: ◀── UserNamespace; maps; Continue ──▶; ◀── TimeNamespace; offsets; Continue ──▶;
//!                         ◀── Born{pid} + pidfd; Go{pid} ──▶]
//!                          ◀───── RootfsReady   (only if hooks ask for it)
//! prestart + createRuntime hooks
//! Continue ───────────────────────────────────▶ createContainer hooks, pivot, masks, attributes …
//!        ◀── SeccompFd + fd, Warning, Error{kind, errno, context, pointer, hint} at any time
//!                          ◀───── Ready
//! rlimits, state saved
//! Continue ───────────────────────────────────▶ gate (create) or execve (exec)
//! ```
//!
//! One SEQPACKET socket pair, close-on-exec, so that its end tells that the other side died or executed.
//! Bytes from the child are hostile: the decoder is total, lengths are bounded, and an unknown tag is an error.
//!
//! Uses `sys` and `error`. Used by `container` (the parent's end) and `init` (the child's).

pub(crate) mod frame;
pub(crate) mod gate;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Context as _, Error, Kind, Result, Warning};
use crate::sys::fd::Descriptors;
use crate::sys::socket::{receive_message, send_message, seqpacket_pair};
use frame::{FromInit, MAX_FRAME, MAX_ORDER, ToInit};

/// One end of the socket pair.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// The parent's end and the child's.
pub(crate) fn channel() -> Result<(ParentEnd, ChildEnd)> {
    // In this order: the child's number then follows those that it keeps, and the parent's those that it closes.
    let (child, parent) = seqpacket_pair().context(|| "make the sync socket pair")?;
    Ok((ParentEnd(Channel(parent)), ChildEnd(Channel(child))))
}

impl Channel {
    fn send<'f>(&self, bytes: &[u8], passed: impl IntoIterator<Item = BorrowedFd<'f>>) -> Result<(), Errno> {
        send_message(self.0.as_fd(), bytes, passed).map(drop)
    }

    /// The next frame, of at most `longest` bytes, and the descriptors that came with it; `None` is the end of the other
    /// side.
    fn receive(&self, longest: usize) -> Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut buffer = vec![0; longest];
        let received = match receive_message(self.0.as_fd(), &mut buffer) {
            // The other side ended without reading all that it was sent. The kernel says so once, before what that side
            // had sent itself.
            Err(Errno::ECONNRESET) => receive_message(self.0.as_fd(), &mut buffer),
            result => result,
        }
        .context(|| "receive on the sync socket")?;
        if received.truncated {
            return Err(Error::new(Kind::System, "sync frame is longer than the protocol allows"));
        }
        buffer.truncate(received.len);
        Ok((received.len > 0).then_some((buffer, received.passed)))
    }
}

/// What the parent holds.
#[derive(Debug)]
pub(crate) struct ParentEnd(Channel);

impl From<ParentEnd> for OwnedFd {
    fn from(end: ParentEnd) -> OwnedFd {
        end.0.0
    }
}

impl ParentEnd {
    /// Tells the child its `pid`, and the v1 `tasks` files by which to join its cgroups. Why one that is gone already is
    /// gone comes with the next frame.
    pub fn send_go(&self, pid: i32, tasks: &Descriptors) -> Result<()> {
        let describe = || format!("pass the descriptors of {} hierarchies to init", tasks.len());
        let hierarchies = u8::try_from(tasks.len()).map_err(|_too_many| Errno::E2BIG).context(describe)?;
        self.send_ahead(&ToInit::Go { pid, hierarchies }, tasks.iter()).context(describe)
    }

    /// Tells the child, which is at work, that it need not wait when it has done it. Likewise.
    pub fn send_continue_ahead(&self) -> Result<()> {
        self.send_ahead(&ToInit::Continue, None).context(|| "tell init to go on")
    }

    /// Sends what the child may not live to read: the caller receives next.
    fn send_ahead<'f>(&self, order: &ToInit, passed: impl IntoIterator<Item = BorrowedFd<'f>>) -> Result<(), Errno> {
        match self.0.send(&order.encode(), passed) {
            Err(Errno::EPIPE) => Ok(()),
            result => result,
        }
    }

    /// Tells the child to go on.
    pub fn send(&self, frame: &ToInit) -> Result<()> {
        self.0.send(&frame.encode(), None).context(|| format!("send {frame:?} to init"))
    }

    /// The child's next frame, and the descriptor that came with it. `None`: the child executed or died.
    pub fn receive(&self) -> Result<Option<(FromInit, Option<OwnedFd>)>> {
        let Some((bytes, passed)) = self.0.receive(MAX_FRAME)? else { return Ok(None) };
        let frame = FromInit::decode(&bytes).ok_or_else(foreign_frame)?;
        Ok(Some((frame, passed.into_iter().next())))
    }

    /// Waits until the program runs. What init warns of goes to `on_warning`, a seccomp listener that it hands out to
    /// `on_listener`.
    ///
    /// # Errors
    /// What init reports. Nothing when the line just ends: execve closes it, and so does death.
    pub fn await_execution(
        &self,
        on_warning: fn(&Warning),
        mut on_listener: impl FnMut(OwnedFd) -> Result<()>,
    ) -> Result<()> {
        loop {
            match self.receive()? {
                None => return Ok(()),
                Some((FromInit::Error(error), _)) => return Err(error),
                Some((FromInit::Warning(warning), _)) => on_warning(&warning),
                Some((FromInit::SeccompFd, Some(listener))) => on_listener(listener)?,
                Some(_) => return Err(foreign_frame()),
            }
        }
    }
}

fn foreign_frame() -> Error {
    Error::new(Kind::System, "init sent a frame that is not of the protocol")
}

/// What the child holds.
#[derive(Debug)]
pub(crate) struct ChildEnd(Channel);

impl ChildEnd {
    /// Tells the parent something.
    pub fn send(&self, frame: &FromInit) -> Result<()> {
        self.0.send(&frame.encode(), None).context(|| "send to the runtime")
    }

    /// Hands the parent a descriptor.
    pub fn send_with(&self, frame: &FromInit, passed: BorrowedFd<'_>) -> Result<()> {
        self.0.send(&frame.encode(), Some(passed)).context(|| "send a descriptor to the runtime")
    }

    /// Passes a warning on; a parent that is gone does not matter for it.
    pub fn warn(&self, warning: Warning) {
        let _ = self.send(&FromInit::Warning(warning));
    }

    /// Waits for the parent's Go, and gives the pid that it knows this process by and the v1 `tasks` files to join.
    pub fn wait_go(&self) -> Result<(i32, Descriptors)> {
        let wrong = |what: String| Err(Error::new(Kind::System, format!("the runtime sent {what} instead of Go")));
        match self.wait()? {
            (ToInit::Go { pid, hierarchies }, passed) if passed.len() == usize::from(hierarchies) => {
                let mut tasks = Descriptors::default();
                passed.into_iter().for_each(|fd| tasks.push(fd));
                Ok((pid, tasks))
            }
            // As it happens at the limit of open files.
            (ToInit::Go { hierarchies, .. }, passed) => {
                wrong(format!("{} of the descriptors of {hierarchies} hierarchies", passed.len()))
            }
            (other, _) => wrong(format!("{other:?}")),
        }
    }

    /// Waits for the parent's Continue.
    pub fn wait_continue(&self) -> Result<()> {
        match self.wait()?.0 {
            ToInit::Continue => Ok(()),
            other => Err(Error::new(Kind::System, format!("the runtime sent {other:?} instead of Continue"))),
        }
    }

    fn wait(&self) -> Result<(ToInit, Vec<OwnedFd>)> {
        let frame = self.0.receive(MAX_ORDER)?;
        let Some((bytes, passed)) = frame else { return Err(Error::new(Kind::System, "the runtime is gone")) };
        let order = ToInit::decode(&bytes);
        Ok((order.ok_or_else(|| Error::new(Kind::System, "unknown frame from the runtime"))?, passed))
    }

    /// The descriptor, to be kept open while others are closed.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receive_from_one_that_ended_with_an_order_unread_gives_its_last_word_first() {
        let (parent, child) = channel().unwrap();
        parent.send_continue_ahead().unwrap();
        child.send(&FromInit::Ready).unwrap();
        drop(child);
        assert!(matches!(parent.receive().unwrap(), Some((FromInit::Ready, None))));
        assert!(parent.receive().unwrap().is_none());
        parent.send_go(1, &Descriptors::default()).unwrap();
        assert!(parent.send(&ToInit::Continue).is_err(), "only what is sent ahead may be lost");
    }

    #[test]
    fn wait_go_with_a_descriptor_missing_is_an_error() {
        let (parent, child) = channel().unwrap();
        let mut tasks = Descriptors::default();
        tasks.push(std::fs::File::open("/dev/null").unwrap().into());
        parent.send_go(7, &tasks).unwrap();
        let (pid, received) = child.wait_go().unwrap();
        assert_eq!((pid, received.len()), (7, 1));
        parent.0.send(&ToInit::Go { pid: 7, hierarchies: 2 }.encode(), tasks.iter()).unwrap();
        let error = child.wait_go().unwrap_err();
        assert!(error.to_string().contains("1 of the descriptors of 2"), "{error}");
    }
}
