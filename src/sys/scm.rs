//! Descriptors over AF_UNIX sockets (unix(7), SCM_RIGHTS). Called by `container::{console, notify_socket}`.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Sends `data` (not empty), and `fd` with its first byte. A peer that is gone is EPIPE, never a signal.
pub(crate) fn send(socket: BorrowedFd<'_>, data: &[u8], fd: BorrowedFd<'_>) -> Result<usize, Errno> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&fds)) {
        return Err(Errno::NOBUFS);
    }
    sendmsg(socket, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL)
}

/// Receives into `buffer`: the number of bytes and the first descriptor that came along, close-on-exec. The kernel
/// drops descriptors for which there is no room; further ones that fitted are closed here.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Option<OwnedFd>), Errno> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut first = None;
    for control in control.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = control {
            for fd in fds {
                first.get_or_insert(fd);
            }
        }
    }
    Ok((message.bytes, first))
}
