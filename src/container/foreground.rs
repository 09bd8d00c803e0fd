//! Waiting for a process in the foreground (`run` and `exec` without `--detach`): signals go to it, orphans are reaped,
//! its terminal is relayed, its exit code becomes ours. One poll loop, no thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{WaitOptions, WaitStatus};

use super::console::{Relay, Stream};
use super::guard::Child;
use super::notify_socket::Listener;
use super::signal;
use crate::error::{Context, Error, Kind, Result};
use crate::sys;

/// Signals to this process, kept for the container's. To be made before the container is, so that none is lost and
/// none ends this process half-way; dropped, it restores the signal mask.
#[derive(Debug)]
pub(crate) struct Signals {
    fd: SignalFd,
    _blocked: Blocked,
}

/// All signals are blocked as long. Before there was this mask.
#[derive(Debug)]
struct Blocked(SigSet);

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
        Ok(Signals { fd, _blocked: Blocked(before) })
    }

    /// Restores the mask; the descriptor is for closing together with others.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd.into()
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // It cannot fail: the mask came from the same call.
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&self.0), None);
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
                    // Sources come in order: this is the first.
                    (Source::Process, _) => ended = wait_for(child.pid)?,
                    // With the process the need for signals has ended.
                    (Source::Signals, _) if ended.is_some() => {}
                    (Source::Signals, _) => ended = self.take_signals(child, relay.as_ref())?,
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
            (Source::Process, child.pidfd.as_fd(), PollFlags::POLLIN),
            (Source::Signals, self.signals.fd.as_fd(), PollFlags::POLLIN),
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::fs::File;
    use std::io::Read;
    use std::thread::JoinHandle;
    use std::time::{Duration, Instant};

    use nix::pty::openpty;
    use rustix::pipe::PipeFlags;

    fn shell(script: &str, stdio: [BorrowedFd<'_>; 3]) -> Child {
        let args = [c"sh".to_owned(), c"-c".to_owned(), CString::new(script).unwrap()];
        let env = [c"PATH=/usr/bin:/bin".to_owned()];
        let command = sys::process::Command { path: c"/bin/sh", args: &args, env: &env, stdio, directory: None };
        let pid = sys::process::spawn(&command).unwrap().as_raw();
        let raw = rustix::process::Pid::from_raw(pid).unwrap();
        let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty()).unwrap();
        Child { pid, pidfd }
    }

    fn wait(child: &Child, relay: Option<Relay<'_>>, signals: &Signals) -> i32 {
        Foreground { signals, reap_orphans: false, notify: None }.wait(child, relay).unwrap()
    }

    fn run_detached(script: &str, signals: &Signals) -> i32 {
        let null = File::options().read(true).write(true).open("/dev/null").unwrap();
        wait(&shell(script, [null.as_fd(); 3]), None, signals)
    }

    #[test]
    fn wait_gives_the_exit_code() {
        let signals = Signals::hold().unwrap();
        assert_eq!(run_detached("exit 7", &signals), 7);
    }

    #[test]
    fn wait_death_by_signal_is_128_and_its_number() {
        let signals = Signals::hold().unwrap();
        assert_eq!(run_detached("kill -KILL $$", &signals), 137);
        assert_eq!(run_detached("kill -40 $$", &signals), 168);
    }

    /// raise(3) is directed at the thread, so tests do not take each other's signals.
    #[test]
    fn wait_forwards_signals_that_came_before_and_winch_without_terminal() {
        for (signal, name) in [(nix::sys::signal::SIGTERM, "TERM"), (nix::sys::signal::SIGWINCH, "WINCH")] {
            let signals = Signals::hold().unwrap();
            let (ready, started) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
            let null = File::open("/dev/null").unwrap();
            let script = format!("trap 'exit 9' {name}; echo; while :; do sleep 0.05; done");
            let child = shell(&script, [null.as_fd(), started.as_fd(), null.as_fd()]);
            rustix::io::read(&ready, &mut [0]).unwrap();
            nix::sys::signal::raise(signal).unwrap();
            assert_eq!(wait(&child, None, &signals), 9, "{name}");
        }
    }

    #[test]
    fn wait_pipe_signal_of_our_own_is_not_forwarded() {
        let signals = Signals::hold().unwrap();
        nix::sys::signal::raise(nix::sys::signal::SIGPIPE).unwrap();
        assert_eq!(run_detached("sleep 0.2; exit 4", &signals), 4);
    }

    #[test]
    fn signals_dropped_restore_the_mask() {
        let before = SigSet::thread_get_mask().unwrap();
        let signals = Signals::hold().unwrap();
        assert!(SigSet::thread_get_mask().unwrap().contains(nix::sys::signal::SIGTERM));
        drop(signals);
        assert_eq!(SigSet::thread_get_mask().unwrap(), before);
    }

    /// Everything that is written to the pipe, gathered from `delay` on.
    fn reader(delay: Duration) -> (OwnedFd, JoinHandle<String>) {
        let (output, input) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(delay);
            let mut text = String::new();
            File::from(output).read_to_string(&mut text).unwrap();
            text
        });
        (input, thread)
    }

    /// Runs `script` in a terminal whose other side gets `typed`, and gives code and output.
    fn in_terminal(script: &str, typed: &str, delay: Duration) -> (i32, String) {
        let signals = Signals::hold().unwrap();
        let pty = openpty(None, None).unwrap();
        let (keyboard, typing) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::write(&typing, typed.as_bytes()).unwrap();
        drop(typing);
        let (screen, text) = reader(delay);
        let relay = Relay::between(pty.master, keyboard.as_fd(), screen.as_fd()).unwrap();
        let child = shell(script, [pty.slave.as_fd(); 3]);
        drop(pty.slave);
        let code = wait(&child, Some(relay), &signals);
        drop(screen);
        (code, text.join().unwrap())
    }

    #[test]
    fn wait_terminal_output_at_exit_is_complete_and_without_carriage_returns() {
        for _ in 0..20 {
            let (code, text) =
                in_terminal("i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; exit 3", "", Duration::ZERO);
            let expected: String = (0..500).map(|n| format!("line {n}\n")).collect();
            assert_eq!((code, text), (3, expected));
        }
    }

    #[test]
    fn wait_terminal_slow_reader_gets_everything() {
        let (code, text) = in_terminal("head -c 300000 /dev/zero | tr '\\0' x; exit 0", "", Duration::from_millis(300));
        assert_eq!((code, text.len()), (0, 300_000));
    }

    #[test]
    fn wait_terminal_input_reaches_the_program() {
        let (code, text) = in_terminal("stty -echo; read x; echo got $x; exit 5", "hello\n", Duration::ZERO);
        assert_eq!(code, 5);
        assert!(text.ends_with("got hello\n"), "{text:?}");
    }

    #[test]
    fn wait_terminal_program_without_open_terminal_is_waited_for_idly() {
        let cpu_time = || nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
        let start = cpu_time();
        let script = "t=$(tty); exec 0<&- 1>&- 2>&-; sleep 0.5; echo back >$t; exit 6";
        let (code, text) = in_terminal(script, "", Duration::ZERO);
        assert_eq!((code, text.as_str()), (6, "back\n"));
        let used = Duration::from(cpu_time() - start);
        assert!(used < Duration::from_millis(200), "{used:?}");
    }

    #[test]
    fn wait_terminal_reader_gone_does_not_stop_the_program() {
        let signals = Signals::hold().unwrap();
        let pty = openpty(None, None).unwrap();
        let null = File::open("/dev/null").unwrap();
        let (output, screen) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(output);
        let relay = Relay::between(pty.master, null.as_fd(), screen.as_fd()).unwrap();
        let child = shell("head -c 300000 /dev/zero; exit 8", [pty.slave.as_fd(); 3]);
        drop(pty.slave);
        let start = Instant::now();
        assert_eq!(wait(&child, Some(relay), &signals), 8);
        assert!(start.elapsed() < Duration::from_secs(20));
    }
}
