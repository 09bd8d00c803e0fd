//! AF_UNIX sockets: message pairs, and descriptors as ancillary data (unix(7)). All close-on-exec.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, accept4, bind,
    connect, listen, recvmsg, sendmsg, socket, socketpair,
};

/// A connected pair that keeps message boundaries and tells the end of the other side.
pub(crate) fn seqpacket_pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
}

/// A listening SEQPACKET socket at `path` (at most 107 bytes, as unix(7) has it).
pub(crate) fn seqpacket_listener(path: &str) -> Result<OwnedFd, Errno> {
    let listener = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
    listen(&listener, Backlog::new(16)?)?;
    Ok(listener)
}

/// A connection to the socket at `path`; never waits for a full backlog (EAGAIN).
pub(crate) fn connect_unix(kind: SockType, path: &str, flags: SockFlag) -> Result<OwnedFd, Errno> {
    let connection = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | flags, None)?;
    connect(connection.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(connection)
}

/// As [`connect_unix`], to `name` in the abstract namespace.
pub(crate) fn connect_abstract(kind: SockType, name: &str, flags: SockFlag) -> Result<OwnedFd, Errno> {
    let connection = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | flags, None)?;
    connect(connection.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
    Ok(connection)
}

/// The next connection to `listener`.
pub(crate) fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    loop {
        match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: from_raw_fd requires an open descriptor without another owner: accept4 just made it.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Most descriptors that one message carries here; unix(7) allows 253.
pub(crate) const MAX_PASSED: usize = 128;

/// Sends one message, with descriptors (at most [`MAX_PASSED`]: EINVAL) or without.
pub(crate) fn send_message<'f>(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    passed: impl IntoIterator<Item = BorrowedFd<'f>>,
) -> Result<usize, Errno> {
    let raw: Vec<i32> = passed.into_iter().map(|fd| fd.as_raw_fd()).collect();
    if raw.len() > MAX_PASSED {
        return Err(Errno::EINVAL);
    }
    let rights = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[] } else { rights.as_slice() };
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// What [`receive_message`] got.
#[derive(Debug)]
pub(crate) struct Received {
    /// Bytes in the buffer; 0 is the end of the other side.
    pub len: usize,
    /// The message was longer than the buffer.
    pub truncated: bool,
    /// The descriptors that came along.
    pub passed: Vec<OwnedFd>,
}

/// Receives one message and its descriptors.
pub(crate) fn receive_message(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received, Errno> {
    let mut control = nix::cmsg_space!([i32; MAX_PASSED]);
    let mut slices = [IoSliceMut::new(buffer)];
    let message = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags) {
            Err(Errno::EINTR) => {}
            result => break result?,
        }
    };
    let mut passed = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(fds) = control {
            for fd in fds {
                // SAFETY: from_raw_fd requires an open descriptor without another owner: the kernel installed
                // it for this message, which is read once.
                passed.push(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
    }
    Ok(Received { len: message.bytes, truncated: message.flags.contains(MsgFlags::MSG_TRUNC), passed })
}
