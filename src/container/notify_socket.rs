//! Readiness (sd_notify(3)) and descriptors (sd_listen_fds(3)) of a service manager, passed on to the container.
//!
//! The container does not get the manager's socket, but one of ours in a directory of its own, mounted read-only. Of
//! what comes in there only `READY=1` is passed on, since it comes from inside.

use std::ffi::{OsStr, OsString};
use std::fs::Permissions;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::pipe::PipeFlags;

use crate::error::{Context, Error, Kind, Result};
use crate::sys;

/// Where the directory is mounted inside.
pub(crate) const MOUNT_DESTINATION: &str = "/run/notify";
/// The environment entry of the program.
pub(crate) const ENVIRONMENT: &str = "NOTIFY_SOCKET=/run/notify/notify.sock";

/// How long the manager may take to work through what it was told, milliseconds.
const BARRIER_TIMEOUT: u16 = 30_000;

/// The place of a container's notification socket. Made at `create`, since the directory is mounted then; bound at
/// `start`, by the process that waits for readiness.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotifySocket {
    directory: PathBuf,
    manager: OsString,
}

impl NotifySocket {
    /// For the container whose state is kept in `state_directory`; `variable` is the caller's NOTIFY_SOCKET. `None` if
    /// there is no service manager to tell.
    pub(crate) fn new(state_directory: &Path, variable: Option<OsString>) -> Option<Self> {
        let manager = variable.filter(|value| !value.is_empty())?;
        Some(NotifySocket { directory: state_directory.join("notify"), manager })
    }

    /// Whether `create` made its directory.
    pub(crate) fn is_prepared(&self) -> bool {
        self.directory.is_dir()
    }

    /// Makes the directory that is to be mounted at [`MOUNT_DESTINATION`], and gives its path.
    pub(crate) fn prepare(&self) -> Result<&Path> {
        let make = || format!("make {}", self.directory.display());
        match std::fs::create_dir(&self.directory) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error).context(make),
            _ => {}
        }
        // The container's user, whoever that is, must find the socket.
        std::fs::set_permissions(&self.directory, Permissions::from_mode(0o755)).context(make)?;
        Ok(&self.directory)
    }

    /// Binds the socket.
    pub(crate) fn bind(&self) -> Result<Listener> {
        let path = self.directory.join("notify.sock");
        let bind = || format!("bind the notification socket {}", path.display());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context(bind),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path).context(bind)?;
        std::fs::set_permissions(&path, Permissions::from_mode(0o777)).context(bind)?;
        socket.set_nonblocking(true).context(bind)?;
        Ok(Listener { socket, manager: self.manager.clone() })
    }
}

/// A bound notification socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixDatagram,
    manager: OsString,
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Listener {
    /// Waits until the container says that it is ready (true) or its process ends (false), and passes it on, with
    /// `pid` as the main process.
    pub(crate) fn wait(&self, pidfd: BorrowedFd<'_>, pid: i32) -> Result<bool> {
        loop {
            let mut fds = [PollFd::new(self.as_fd(), PollFlags::POLLIN), PollFd::new(pidfd, PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(|| "wait for readiness"),
            }
            let has_ended = fds.last().and_then(PollFd::any).unwrap_or(false);
            if self.receive()? {
                self.forward(Some(pid))?;
                return Ok(true);
            }
            if has_ended {
                return Ok(false);
            }
        }
    }

    /// Reads what has come in; true if the container said that it is ready.
    pub(crate) fn receive(&self) -> Result<bool> {
        let mut buffer = [0_u8; 4096];
        let mut is_ready = false;
        loop {
            // Descriptors that come along are closed by the kernel: there is no room for them.
            match self.socket.recv(&mut buffer) {
                Ok(count) => is_ready |= says_ready(buffer.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(is_ready),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(|| "read the notification socket"),
            }
        }
    }

    /// Tells the service manager that the container is ready; with `main_pid` also which process is the main one from
    /// now on, and then waits until the manager has taken notice, since this process may exit, and notifications of an
    /// exited process cannot be attributed.
    pub(crate) fn forward(&self, main_pid: Option<i32>) -> Result<()> {
        let manager = self.connect().context(|| "connect to the service manager's NOTIFY_SOCKET")?;
        let send = |text: &str| manager.send(text.as_bytes()).context(|| format!("tell the service manager {text}"));
        send("READY=1")?;
        let Some(pid) = main_pid else { return Ok(()) };
        send(&format!("MAINPID={pid}"))?;
        barrier(&manager)
    }

    fn connect(&self) -> std::io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        match self.manager.as_bytes().strip_prefix(b"@") {
            Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            None => socket.connect(&self.manager)?,
        }
        Ok(socket)
    }
}

/// `BARRIER=1` with a descriptor that the manager closes when it gets there (sd_notify_barrier(3)).
fn barrier(manager: &UnixDatagram) -> Result<()> {
    let tell = || "tell the service manager BARRIER=1";
    let (ours, theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(tell)?;
    sys::socket::send_message(manager.as_fd(), b"BARRIER=1", Some(theirs.as_fd())).context(tell)?;
    drop(theirs);
    let mut fds = [PollFd::new(ours.as_fd(), PollFlags::empty())];
    loop {
        match poll(&mut fds, BARRIER_TIMEOUT) {
            Ok(0) => return Err(Error::new(Kind::System, "the service manager does not answer BARRIER=1")),
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for the service manager"),
        }
    }
}

fn says_ready(datagram: &[u8]) -> bool {
    datagram.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

/// Descriptors that a service manager passed to this process, from 3 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenFds {
    /// How many.
    pub count: u32,
    names: Option<OsString>,
}

impl ListenFds {
    /// From the caller's LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES. `None` if there are none or they are meant for
    /// another process than `own_pid`; without LISTEN_PID they are ours.
    pub(crate) fn new(fds: &OsStr, pid: Option<&OsStr>, names: Option<&OsStr>, own_pid: u32) -> Option<ListenFds> {
        let count = number(fds).filter(|count| (1..=i32::MAX.cast_unsigned()).contains(count))?;
        let is_ours = pid.is_none_or(|pid| number(pid) == Some(own_pid));
        is_ours.then(|| ListenFds { count, names: names.map(OsStr::to_owned) })
    }

    /// The entries for the program's environment; `pid` is its process id inside: 1 in a new pid namespace.
    pub(crate) fn environment(&self, pid: u32) -> Vec<OsString> {
        let mut env = vec![format!("LISTEN_FDS={}", self.count).into(), format!("LISTEN_PID={pid}").into()];
        if let Some(names) = &self.names {
            let mut entry = OsString::from("LISTEN_FDNAMES=");
            entry.push(names);
            env.push(entry);
        }
        env
    }
}

/// Digits only.
fn number(text: &OsStr) -> Option<u32> {
    let text = text.to_str()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    struct Fixture {
        directory: PathBuf,
        manager: UnixDatagram,
        socket: NotifySocket,
    }

    impl Fixture {
        fn new(name: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("coracle-notify-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let manager = UnixDatagram::bind(directory.join("manager")).unwrap();
            let variable = directory.join("manager").into_os_string();
            let socket = NotifySocket::new(&directory, Some(variable)).unwrap();
            Fixture { directory, manager, socket }
        }

        fn say(&self, text: &str) {
            let container = UnixDatagram::unbound().unwrap();
            container.send_to(text.as_bytes(), self.directory.join("notify/notify.sock")).unwrap();
        }

        fn heard(&self) -> (String, Option<std::os::fd::OwnedFd>) {
            let mut buffer = [0; 256];
            let message = sys::socket::receive_message(self.manager.as_fd(), &mut buffer).unwrap();
            (String::from_utf8(buffer[..message.len].to_vec()).unwrap(), message.passed.into_iter().next())
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }

    #[test]
    fn wait_ready_container_is_passed_on_with_pid_and_barrier() {
        let fixture = Fixture::new("ready");
        fixture.socket.prepare().unwrap();
        let listener = fixture.socket.bind().unwrap();
        fixture.say("STATUS=nearly\nMAINPID=1");
        fixture.say("STATUS=now\nREADY=1\n");
        let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| listener.wait(own.as_fd(), 4711));
            assert_eq!(fixture.heard().0, "READY=1");
            assert_eq!(fixture.heard().0, "MAINPID=4711");
            let (barrier, fd) = fixture.heard();
            assert_eq!(barrier, "BARRIER=1");
            assert!(!waiting.is_finished());
            drop(fd.unwrap());
            assert_eq!(waiting.join().unwrap(), Ok(true));
        });
    }

    #[test]
    fn wait_process_that_ends_first_is_not_ready() {
        let fixture = Fixture::new("ended");
        fixture.socket.prepare().unwrap();
        let listener = fixture.socket.bind().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        assert_eq!(listener.wait(pidfd.as_fd(), 1), Ok(false));
        child.wait().unwrap();
    }

    #[test]
    fn bind_twice_replaces_the_socket_of_a_crashed_start() {
        let fixture = Fixture::new("twice");
        assert_eq!(fixture.socket.prepare(), fixture.socket.prepare());
        let _first = fixture.socket.bind().unwrap();
        let second = fixture.socket.bind().unwrap();
        fixture.say("READY=1");
        assert_eq!(second.receive(), Ok(true));
    }

    #[test]
    fn new_without_manager_is_none() {
        assert_eq!(NotifySocket::new(Path::new("/x"), None), None);
        assert_eq!(NotifySocket::new(Path::new("/x"), Some(OsString::new())), None);
    }

    #[test]
    fn says_ready_only_for_a_whole_line() {
        assert!(says_ready(b"READY=1"));
        assert!(!says_ready(b"NOTREADY=1") && !says_ready(b"READY=10") && !says_ready(b""));
    }

    fn listen(fds: &str, pid: Option<&str>) -> Option<ListenFds> {
        ListenFds::new(OsStr::new(fds), pid.map(OsStr::new), Some(OsStr::new("a:b")), 77)
    }

    #[test]
    fn listen_fds_for_us_become_those_of_the_container() {
        let env = listen("2", Some("77")).unwrap().environment(1);
        assert_eq!(env, ["LISTEN_FDS=2", "LISTEN_PID=1", "LISTEN_FDNAMES=a:b"]);
        assert!(listen("2", None).is_some());
    }

    #[test]
    fn listen_fds_for_others_or_malformed_are_none() {
        for (fds, pid) in [("2", Some("78")), ("0", None), ("-1", None), ("+1", None), ("4294967295", None), ("", None)]
        {
            assert_eq!(listen(fds, pid), None, "{fds} {pid:?}");
        }
    }
}
