//! Terminals on the parent side: connecting to whoever is to get the master, and relaying it to the caller's own
//! terminal; and handing a descriptor of the process to somebody else.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::errno::Errno;
use nix::poll::PollFlags;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::error::{Context, Error, Result};
use crate::sys;

/// Which process a pidfd is of; engines read the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PidfdKind {
    /// The container's first process.
    Init,
    /// A process of `exec`.
    Exec,
}

/// Sends a pidfd to the AF_UNIX stream socket at `socket` (`--pidfd-socket`).
pub(crate) fn send_pidfd(socket: &Path, pidfd: BorrowedFd<'_>, kind: PidfdKind) -> Result<()> {
    let word = match kind {
        PidfdKind::Init => "standard",
        PidfdKind::Exec => "setns",
    };
    let send = |stream: UnixStream| {
        // A stream socket takes this little whole.
        sys::socket::send_message(stream.as_fd(), word.as_bytes(), Some(pidfd)).context(|| "send a descriptor")
    };
    connect(socket)
        .and_then(send)
        .context(|| format!("send the process to the pidfd socket {}", socket.display()))
        .map(drop)
}

/// A connection to the AF_UNIX stream socket at `path` (`--console-socket`), on which init sends the master.
pub(crate) fn connect_console(path: &Path) -> Result<OwnedFd> {
    connect(path).map(OwnedFd::from).context(|| format!("connect to the console socket {}", path.display()))
}

/// Connects to the socket at `path`, which may be longer than the 107 bytes that an address holds (unix(7)).
fn connect(path: &Path) -> Result<UnixStream> {
    const ADDRESS_LIMIT: usize = 107;
    if path.as_os_str().len() <= ADDRESS_LIMIT {
        return UnixStream::connect(path).context(|| "connect");
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::sys(Errno::ENAMETOOLONG, "connect"));
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(CWD, directory, flags, Mode::empty()).context(|| "open its directory")?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    UnixStream::connect(short).context(|| "connect")
}

/// The caller's terminal without line editing and without signals from keys, so that these happen in the container's
/// terminal alone; restored when dropped. Output processing stays: a newline still returns the carriage.
#[derive(Debug)]
struct RawMode<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> RawMode<'a> {
    /// `None` if `terminal` is none.
    fn enter(terminal: BorrowedFd<'a>) -> Result<Option<Self>> {
        let Ok(before) = tcgetattr(terminal) else { return Ok(None) };
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes |= before.output_modes & OutputModes::OPOST;
        tcsetattr(terminal, OptionalActions::Now, &raw).context(|| "set the terminal to raw mode")?;
        Ok(Some(RawMode { terminal, before }))
    }
}

impl Drop for RawMode<'_> {
    fn drop(&mut self) {
        // Nothing better can be done about a terminal that is gone.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// A pipe that polls writable takes this much without blocking (PIPE_BUF).
const CHUNK: usize = 4096;

/// Bytes on their way in one direction.
#[derive(Debug, Default)]
struct Buffer(Vec<u8>);

impl Buffer {
    /// Reads once; false when the stream is over.
    fn fill(&mut self, from: BorrowedFd<'_>) -> Result<bool, Errno> {
        let mut piece = [0_u8; CHUNK];
        let count = nix::unistd::read(from, &mut piece)?;
        self.0.extend(piece.iter().take(count));
        Ok(count != 0)
    }

    /// Writes once.
    fn empty(&mut self, to: BorrowedFd<'_>) -> Result<(), Errno> {
        let count = nix::unistd::write(to, &self.0)?;
        self.0.drain(..count.min(self.0.len()));
        Ok(())
    }
}

/// One of the streams that a [`Relay`] copies between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Master,
    Input,
    Output,
}

/// Copies between the container's terminal and the caller's standard streams, whatever those are. Each direction holds
/// one buffer, and a stream is only waited for where something can be done with it.
#[derive(Debug)]
pub(crate) struct Relay<'a> {
    master: OwnedFd,
    stdin: BorrowedFd<'a>,
    stdout: BorrowedFd<'a>,
    /// The caller's terminal opened again: a write never waits there, while signals are to be passed on.
    patient_stdout: Option<OwnedFd>,
    _raw: Option<RawMode<'a>>,
    input: Buffer,
    output: Buffer,
    input_open: bool,
    output_open: bool,
    /// Nobody has the container's terminal open at the moment. poll(2) would report just that, at once and always, so
    /// the master is left out for a while.
    hung_up: bool,
}

impl Relay<'static> {
    /// Takes over `master` and sets the caller's terminal to raw mode. To be called before the program runs: the
    /// container's terminal gets the caller's size, and stops adding carriage returns, which the caller's does.
    pub(crate) fn new(master: OwnedFd) -> Result<Self> {
        Relay::between(master, rustix::stdio::stdin(), rustix::stdio::stdout())
    }
}

impl<'a> Relay<'a> {
    /// The same with other streams than standard input and output.
    pub(super) fn between(master: OwnedFd, stdin: BorrowedFd<'a>, stdout: BorrowedFd<'a>) -> Result<Self> {
        let set_up = || "set up the container's terminal";
        let mut settings = tcgetattr(&master).context(set_up)?;
        settings.output_modes.remove(OutputModes::ONLCR);
        tcsetattr(&master, OptionalActions::Now, &settings).context(set_up)?;
        let flags = rustix::fs::fcntl_getfl(&master).context(set_up)?;
        rustix::fs::fcntl_setfl(&master, flags | OFlags::NONBLOCK).context(set_up)?;
        let relay = Relay {
            master,
            stdin,
            stdout,
            patient_stdout: reopen_terminal(stdout),
            _raw: RawMode::enter(stdin)?,
            input: Buffer::default(),
            output: Buffer::default(),
            input_open: true,
            output_open: true,
            hung_up: false,
        };
        relay.resize()?;
        Ok(relay)
    }

    /// Gives the container's terminal the size of the caller's, if the caller has one.
    pub(crate) fn resize(&self) -> Result<()> {
        let size = [self.stdin, self.stdout].iter().find_map(|stream| tcgetwinsize(stream).ok());
        match size {
            // A terminal that does not know its size says 0, and must not wipe out a configured one.
            Some(size) if size.ws_row != 0 || size.ws_col != 0 => {
                tcsetwinsize(&self.master, size).context(|| "resize the container's terminal")
            }
            _ => Ok(()),
        }
    }

    /// Milliseconds after which to call [`Relay::recheck`], if that is needed at all.
    pub(crate) fn recheck_after(&self) -> Option<u8> {
        self.hung_up.then_some(50)
    }

    /// Looks at the container's terminal again: somebody may have opened it.
    pub(crate) fn recheck(&mut self) {
        self.hung_up = false;
    }

    /// Which streams are to be polled, and for what.
    pub(crate) fn interests(&self) -> Vec<(Stream, PollFlags)> {
        let can_read = self.output.0.is_empty();
        let can_write = !self.input.0.is_empty();
        let mut interests = Vec::with_capacity(3);
        let mut master = PollFlags::empty();
        master.set(PollFlags::POLLIN, can_read);
        master.set(PollFlags::POLLOUT, can_write);
        if !self.hung_up && !master.is_empty() {
            interests.push((Stream::Master, master));
        }
        if self.input_open && !can_write {
            interests.push((Stream::Input, PollFlags::POLLIN));
        }
        if !can_read {
            interests.push((Stream::Output, PollFlags::POLLOUT));
        }
        interests
    }

    fn output_fd(&self) -> BorrowedFd<'_> {
        self.patient_stdout.as_ref().map_or(self.stdout, AsFd::as_fd)
    }

    /// The descriptor of `stream`.
    pub(crate) fn fd(&self, stream: Stream) -> BorrowedFd<'_> {
        match stream {
            Stream::Master => self.master.as_fd(),
            Stream::Input => self.stdin,
            Stream::Output => self.output_fd(),
        }
    }

    /// Copies what can be copied now that poll(2) reported `happened` on `stream`.
    pub(crate) fn copy(&mut self, stream: Stream, happened: PollFlags) {
        match stream {
            _ if happened.is_empty() => {}
            Stream::Master => {
                if self.output.0.is_empty() {
                    self.read_master();
                }
                self.write_master();
            }
            Stream::Input => match self.input.fill(self.stdin) {
                Ok(true) | Err(Errno::EAGAIN | Errno::EINTR) => self.write_master(),
                // The end of the caller's input is not the end of the terminal's: others may still type.
                Ok(false) | Err(_) => self.input_open = false,
            },
            Stream::Output => self.write_output(),
        }
    }

    /// False when there is nothing more for now.
    fn read_master(&mut self) -> bool {
        match self.output.fill(self.master.as_fd()) {
            Ok(true) => {
                self.write_nothing_to_nobody();
                return true;
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // EIO: the last descriptor of the other side was closed, and all output has been read.
            Ok(false) | Err(_) => self.hung_up = true,
        }
        false
    }

    fn write_master(&mut self) {
        if self.input.0.is_empty() {
            return;
        }
        match self.input.empty(self.master.as_fd()) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => self.input.0.clear(),
        }
    }

    fn write_output(&mut self) {
        let to = self.patient_stdout.as_ref().map_or(self.stdout, AsFd::as_fd);
        match self.output.empty(to) {
            Ok(()) | Err(Errno::EAGAIN | Errno::EINTR) => {}
            // EPIPE: whoever read us is gone. The program must not stop on a full terminal for that.
            Err(_) => self.output_open = false,
        }
        self.write_nothing_to_nobody();
    }

    fn write_nothing_to_nobody(&mut self) {
        if !self.output_open {
            self.output.0.clear();
        }
    }

    /// Copies what the program printed before it exited, to the end: reading the master makes the kernel deliver what
    /// was written to the other side before. Waits for the caller's stream, but not for processes that still have the
    /// terminal open.
    pub(crate) fn drain(&mut self) {
        loop {
            while !self.output.0.is_empty() {
                if let Ok(_) | Err(Errno::EINTR) = wait_writable(self.output_fd()) {
                    self.write_output();
                } else {
                    self.output.0.clear();
                }
            }
            if !self.read_master() {
                return;
            }
        }
    }
}

/// `stream` as a non-blocking open file of its own, if it is a terminal: the flag would otherwise be everybody's who has
/// it open. Files never wait, and a pipe takes what a buffer holds once it is writable. `None` also where the terminal
/// may not be opened.
fn reopen_terminal(stream: BorrowedFd<'_>) -> Option<OwnedFd> {
    if !rustix::termios::isatty(stream) {
        return None;
    }
    let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()
}

fn wait_writable(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut fds = [nix::poll::PollFd::new(fd, PollFlags::POLLOUT)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::pty::openpty;
    use rustix::termios::{LocalModes, Winsize};
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("coracle-console-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn send_pidfd_long_path_arrives_with_its_word() {
        let directory = Directory::new("long");
        let deep = directory.0.join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let here = rustix::fs::openat(CWD, &deep, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        let listener = UnixListener::bind(format!("/proc/self/fd/{}/s", here.as_raw_fd())).unwrap();
        send_pidfd(&deep.join("s"), here.as_fd(), PidfdKind::Exec).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 64];
        let message = sys::socket::receive_message(stream.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..message.len], message.passed.len() == 1), (&b"setns"[..], true));
    }

    #[test]
    fn connect_console_without_listener_names_the_socket() {
        let error = connect_console(Path::new("/nonexistent/console")).unwrap_err();
        assert!(error.to_string().starts_with("connect to the console socket /nonexistent/console"), "{error}");
    }

    #[test]
    fn relay_sets_raw_mode_and_size_and_restores_when_dropped() {
        let own = openpty(None, None).unwrap();
        let size = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&own.slave, size).unwrap();
        let before = tcgetattr(&own.slave).unwrap();
        let container = openpty(None, None).unwrap();
        let relay = Relay::between(container.master, own.slave.as_fd(), own.slave.as_fd()).unwrap();
        let during = tcgetattr(&own.slave).unwrap();
        assert!(!during.local_modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        assert!(during.output_modes.contains(OutputModes::OPOST | OutputModes::ONLCR));
        let inner = tcgetattr(&container.slave).unwrap();
        assert!(inner.local_modes.contains(LocalModes::ICANON) && !inner.output_modes.contains(OutputModes::ONLCR));
        let inner_size = tcgetwinsize(&container.slave).unwrap();
        assert_eq!((inner_size.ws_row, inner_size.ws_col), (33, 77));
        drop(relay);
        let after = tcgetattr(&own.slave).unwrap();
        assert_eq!((after.local_modes, after.input_modes), (before.local_modes, before.input_modes));
        assert_eq!(after.output_modes, before.output_modes);
    }

    #[test]
    fn relay_without_own_size_keeps_the_configured_one() {
        let own = openpty(None, None).unwrap();
        let container = openpty(None, None).unwrap();
        let size = Winsize { ws_row: 20, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&container.slave, size).unwrap();
        let _relay = Relay::between(container.master, own.slave.as_fd(), own.slave.as_fd()).unwrap();
        assert_eq!(tcgetwinsize(&container.slave).unwrap().ws_col, 40);
    }
}
