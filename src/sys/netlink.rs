//! A small rtnetlink client (netlink(7), rtnetlink(7)): one request, all of its answers. The decoder is total: what
//! does not fit is left out, never read beyond. Called by `container::net_devices`.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, send, socket,
};

/// Length of a nlmsghdr.
const HEADER: usize = 16;
/// Answers to a dump come in pieces of at most 32 KiB (netlink_dump in the kernel).
const BUFFER: usize = 32 * 1024;

/// One request.
pub(crate) struct Request(Vec<u8>);

impl Request {
    /// A message of `kind` (RTM_*) with `flags` (NLM_F_*) that begins with the family's own header `fixed`.
    pub(crate) fn new(kind: u16, flags: i32, fixed: &[u8]) -> Self {
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST | libc::NLM_F_ACK).unwrap_or_default();
        let mut message = vec![0; 4];
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.resize(HEADER, 0);
        message.extend(fixed);
        let mut request = Request(message);
        request.align();
        request
    }

    /// Appends an attribute. Errors: EMSGSIZE for more than 64 KiB.
    pub(crate) fn attribute(mut self, kind: u16, data: &[u8]) -> Result<Self, Errno> {
        let length = u16::try_from(data.len() + 4).map_err(|_range| Errno::EMSGSIZE)?;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(data);
        self.align();
        Ok(self)
    }

    /// Appends a C string.
    pub(crate) fn name(self, kind: u16, name: &str) -> Result<Self, Errno> {
        let mut data = name.as_bytes().to_vec();
        data.push(0);
        self.attribute(kind, &data)
    }

    fn align(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, sequence: u32) -> Result<Vec<u8>, Errno> {
        let length = u32::try_from(self.0.len()).map_err(|_range| Errno::EMSGSIZE)?;
        for (to, from) in self.0.iter_mut().zip(length.to_ne_bytes()) {
            *to = from;
        }
        for (to, from) in self.0.iter_mut().skip(8).zip(sequence.to_ne_bytes()) {
            *to = from;
        }
        Ok(self.0)
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    /// RTM_*.
    pub kind: u16,
    /// What follows the nlmsghdr.
    pub body: Vec<u8>,
}

/// A connection to the routing tables of one network namespace: the one in which it was opened.
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens it in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, Errno> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
        Ok(Socket { fd, sequence: 0 })
    }

    /// Sends `request` and collects the answers up to the acknowledgement. Errors: the kernel's; EINTR when a dump
    /// was overtaken by a change and should be asked for again.
    pub(crate) fn transact(&mut self, request: Request) -> Result<Vec<Message>, Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = request.finish(self.sequence)?;
        send(self.fd.as_raw_fd(), &request, MsgFlags::empty())?;
        let mut answers = Vec::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let (length, sender) = recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut buffer)?;
            // Any process may send to a netlink socket; only the kernel has port 0.
            if sender.is_some_and(|sender| sender.pid() != 0) {
                continue;
            }
            if collect(buffer.get(..length).unwrap_or_default(), self.sequence, &mut answers)? {
                return Ok(answers);
            }
        }
    }
}

/// Adds the messages of one datagram; true when the answer is complete.
fn collect(mut datagram: &[u8], sequence: u32, answers: &mut Vec<Message>) -> Result<bool, Errno> {
    while let Some(length) = u32_at(datagram, 0) {
        let length = usize::try_from(length).unwrap_or_default();
        let Some(message) = datagram.get(..length).filter(|message| message.len() >= HEADER) else { break };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        if u32_at(message, 8) != Some(sequence) {
            continue;
        }
        let kind = u16_at(message, 4).unwrap_or_default();
        let flags = i32::from(u16_at(message, 6).unwrap_or_default());
        let body = message.get(HEADER..).unwrap_or_default();
        if flags & libc::NLM_F_DUMP_INTR != 0 {
            return Err(Errno::EINTR);
        }
        match libc::c_int::from(kind) {
            libc::NLMSG_DONE => return Ok(true),
            libc::NLMSG_ERROR => {
                let error = u32_at(body, 0).unwrap_or_default().cast_signed();
                return if error == 0 { Ok(true) } else { Err(Errno::from_raw(error.wrapping_neg())) };
            }
            libc::NLMSG_NOOP => {}
            _ => answers.push(Message { kind, body: body.to_vec() }),
        }
    }
    Ok(false)
}

/// The attributes after the family's own header of `skip` bytes: (kind, data).
pub(crate) fn attributes(body: &[u8], skip: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = body.get(skip..).unwrap_or_default();
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(rest, 0)?);
        let kind = u16_at(rest, 2)?;
        let data = rest.get(4..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, data))
    })
}

/// The number at `at` in the machine's byte order, if there is one.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

/// The number at `at` in the machine's byte order, if there is one.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut message = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        message.extend(sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(body);
        message.resize(message.len().next_multiple_of(4), 0);
        message
    }

    #[test]
    fn request_with_attributes_is_padded_and_carries_its_length() {
        let bytes = Request::new(16, 0, &[1, 2, 3, 4]).name(3, "eth0").unwrap().finish(7).unwrap();
        assert_eq!(u32_at(&bytes, 0), Some(32));
        assert_eq!(u32_at(&bytes, 8), Some(7));
        assert_eq!(attributes(&bytes, HEADER + 4).collect::<Vec<_>>(), [(3, &b"eth0\0"[..])]);
        assert_eq!(bytes.len(), 32);
    }

    #[test]
    fn collect_error_message_is_its_errno() {
        let datagram = message(2, 0, 1, &(-19_i32).to_ne_bytes());
        assert_eq!(collect(&datagram, 1, &mut Vec::new()), Err(Errno::ENODEV));
    }

    #[test]
    fn collect_other_sequence_is_ignored() {
        let mut answers = Vec::new();
        let mut datagram = message(16, 0, 9, &[1; 4]);
        datagram.extend(message(16, 0, 1, &[2; 4]));
        assert_eq!(collect(&datagram, 1, &mut answers), Ok(false));
        assert_eq!(answers, [Message { kind: 16, body: vec![2; 4] }]);
    }

    #[test]
    fn collect_interrupted_dump_is_eintr() {
        let flags = u16::try_from(libc::NLM_F_DUMP_INTR).unwrap();
        assert_eq!(collect(&message(16, flags, 1, &[]), 1, &mut Vec::new()), Err(Errno::EINTR));
    }

    #[test]
    fn collect_every_truncation_of_a_datagram_terminates() {
        let mut datagram = message(16, 0, 1, &[3; 20]);
        datagram.extend(message(3, 0, 1, &[0; 4]));
        for length in 0..datagram.len() {
            let mut answers = Vec::new();
            let complete = collect(&datagram[..length], 1, &mut answers).unwrap();
            assert!(!complete && answers.len() <= 1, "{length}");
        }
        assert_eq!(collect(&datagram, 1, &mut Vec::new()), Ok(true));
    }

    #[test]
    fn attributes_hostile_lengths_end_the_walk() {
        assert_eq!(attributes(&[0, 0, 1, 0, 9, 9], 0).count(), 0);
        assert_eq!(attributes(&[255, 255, 1, 0, 9, 9], 0).count(), 0);
        assert_eq!(attributes(&[1], 4).count(), 0);
    }
}
