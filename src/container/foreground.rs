//! Waiting for a process in the foreground (`run` and `exec` without `--detach`): signals go to it, orphans are reaped,
//! its terminal is relayed, its exit code becomes ours. One poll loop, no thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{WaitOptions, WaitStatus};

use super::console::{Relay, Stream};
use super::notify_socket::Listener;
use super::signal;
use crate::error::{Context, Error, Kind, Result};
use crate::sys;

/// The process that is waited for: a child of ours.
#[derive(Debug)]
pub(crate) struct Child {
    /// In our pid namespace.
    pub pid: i32,
    /// Its descriptor.
    pub pidfd: OwnedFd,
}

/// Signals to this process, kept for the container's. To be made before the container is, so that none is lost and
/// none ends this process half-way; dropped, it restores the signal mask.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    before: SigSet,
}

impl Signals {
    /// Blocks every signal and opens a descriptor for them. Children inherit the mask: init resets it.
    pub(crate) fn hold() -> Result<Self> {
        // A caller that ignores SIGCHLD has its children reaped by the kernel, and their exit codes lost.
        sys::signal::reset(libc::SIGCHLD).context(|| "reset the action of SIGCHLD")?;
        let all = SigSet::all();
        let fd = SignalFd::with_flags(&all, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .context(|| "open a descriptor for signals")?;
        let mut before = SigSet::empty();
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&all), Some(&mut before)).context(|| "block signals")?;
        Ok(Signals { fd, before })
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        // It cannot fail: the mask came from the same call.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }
}

/// What waiting in the foreground includes.
#[derive(Debug)]
pub(crate) struct Foreground<'a> {
    /// Where signals come from.
    pub signals: &'a Signals,
    /// Whether every child of this process that exits is reaped (it is a subreaper, and has no children of its own).
    pub reap_orphans: bool,
    /// Readiness of the service, passed on once.
    pub notify: Option<&'a Listener>,
}

/// What the descriptors of the poll loop are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Signals,
    Process,
    Notify,
    Relay(Stream),
}

impl Foreground<'_> {
    /// Waits until `child` has exited and all that it printed to its terminal has been copied. The exit code of the
    /// program, or 128+n if signal n ended it. On return the caller's terminal is as it was before.
    pub(crate) fn wait(&self, child: &Child, mut relay: Option<Relay<'_>>) -> Result<i32> {
        let mut is_ready = self.notify.is_none();
        let mut ended = None;
        while ended.is_none() {
            let happened = self.poll(child, relay.as_ref(), is_ready)?;
            if let Some(relay) = relay.as_mut().filter(|_| happened.is_empty()) {
                relay.recheck();
            }
            for (source, flags) in happened {
                match (source, &mut relay) {
                    (Source::Signals, _) => ended = self.take_signals(child, relay.as_ref())?,
                    // Sources come in order: reaping, above, may have met this process already.
                    (Source::Process, _) if ended.is_none() => ended = wait_for(child.pid)?,
                    (Source::Process, _) => {}
                    (Source::Notify, _) => is_ready = self.pass_readiness()?,
                    (Source::Relay(stream), Some(relay)) => relay.copy(stream, flags),
                    (Source::Relay(_), None) => {}
                }
            }
        }
        if let Some(relay) = &mut relay {
            relay.drain();
        }
        ended.map(exit_code).ok_or_else(|| Error::new(Kind::System, "wait for the process"))
    }

    /// What happened; nothing, if it is time to look at an abandoned terminal again.
    fn poll(&self, child: &Child, relay: Option<&Relay<'_>>, is_ready: bool) -> Result<Vec<(Source, PollFlags)>> {
        let mut sources: Vec<(Source, BorrowedFd<'_>, PollFlags)> = vec![
            (Source::Signals, self.signals.fd.as_fd(), PollFlags::POLLIN),
            (Source::Process, child.pidfd.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(notify) = self.notify.filter(|_| !is_ready) {
            sources.push((Source::Notify, notify.as_fd(), PollFlags::POLLIN));
        }
        let mut timeout = PollTimeout::NONE;
        if let Some(relay) = relay {
            let streams = relay.interests().into_iter();
            sources.extend(streams.map(|(stream, flags)| (Source::Relay(stream), relay.fd(stream), flags)));
            timeout = relay.recheck_after().map_or(timeout, PollTimeout::from);
        }
        let mut fds: Vec<PollFd<'_>> = sources.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for the process"),
        }
        let happened = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        Ok(sources
            .iter()
            .zip(happened)
            .filter_map(|((source, ..), flags)| (!flags.is_empty()).then_some((*source, flags)))
            .collect())
    }

    /// Handles every signal that is pending. The end of the process, if it was seen.
    fn take_signals(&self, child: &Child, relay: Option<&Relay<'_>>) -> Result<Option<WaitStatus>> {
        let mut ended = None;
        while let Some(info) = self.signals.fd.read_signal().context(|| "read a signal")? {
            let number = info.ssi_signo.cast_signed();
            match (number, relay) {
                (libc::SIGCHLD, _) => ended = ended.or(self.reap(child)?),
                // Ours: a reader that went away, urgent data on a socket.
                (libc::SIGPIPE | libc::SIGURG, _) => {}
                // The kernel tells the container's processes, once their terminal has the new size.
                (libc::SIGWINCH, Some(relay)) => relay.resize()?,
                _ => forward(child, number)?,
            }
        }
        Ok(ended)
    }

    fn reap(&self, child: &Child) -> Result<Option<WaitStatus>> {
        if !self.reap_orphans {
            return Ok(None);
        }
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == child.pid => return Ok(Some(status)),
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(None),
                Err(errno) => return Err(errno).context(|| "reap orphans"),
            }
        }
    }

    fn pass_readiness(&self) -> Result<bool> {
        let Some(notify) = self.notify else { return Ok(true) };
        let is_ready = notify.receive()?;
        if is_ready {
            notify.forward(None)?;
        }
        Ok(is_ready)
    }
}

/// A process that has just ended takes no more signals, which is no failure.
fn forward(child: &Child, number: i32) -> Result<()> {
    match signal::send(child.pidfd.as_fd(), number) {
        Err(error) if error.kind() == Kind::Status => Ok(()),
        result => result,
    }
}

fn wait_for(pid: i32) -> Result<Option<WaitStatus>> {
    let pid = rustix::process::Pid::from_raw(pid.max(0));
    match rustix::process::waitpid(pid, WaitOptions::NOHANG) {
        Ok(ended) => Ok(ended.map(|(_, status)| status)),
        Err(rustix::io::Errno::INTR) => Ok(None),
        Err(errno) => Err(errno).context(|| "wait for the process"),
    }
}

fn exit_code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        // waitpid reports nothing else without WUNTRACED or WCONTINUED.
        (None, None) => 255,
    }
}
