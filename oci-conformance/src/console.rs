//! The engine's end of a container's terminal.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::lab::Lab;
use crate::verdict::Failure;

/// A socket on which a runtime hands over a descriptor.
#[derive(Debug)]
pub struct Receiver {
    listener: UnixListener,
    pub path: String,
}

/// What came over it.
#[derive(Debug)]
pub struct Received {
    pub bytes: Vec<u8>,
    pub descriptors: Vec<OwnedFd>,
    /// Whether the sender closed the connection afterwards.
    pub closed: bool,
}

impl Receiver {
    /// Listens in the lab.
    pub fn new(lab: &Lab, name: &str) -> Result<Self, Failure> {
        let path = lab.text(name);
        Ok(Self { listener: UnixListener::bind(&path)?, path })
    }

    /// Accepts one connection in a thread and reads until its end, or for as long as `patience`.
    pub fn receive(self, patience: Duration) -> std::thread::JoinHandle<Result<Received, Failure>> {
        std::thread::spawn(move || {
            self.listener.set_nonblocking(true)?;
            let end = std::time::Instant::now() + patience;
            let stream = loop {
                match self.listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(_) if std::time::Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                    Err(_) => return Err("nobody connected to the socket".into()),
                }
            };
            read_all(stream, Duration::from_millis(1500))
        })
    }
}

fn read_all(mut stream: UnixStream, patience: Duration) -> Result<Received, Failure> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(patience))?;
    let mut received = Received { bytes: Vec::new(), descriptors: Vec::new(), closed: false };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = vec![0; 65536];
    let message =
        rustix::net::recvmsg(&stream, &mut [IoSliceMut::new(&mut buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
            .map_err(std::io::Error::from)?;
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(list) = part {
            received.descriptors.extend(list);
        }
    }
    received.bytes.extend_from_slice(buffer.get(..message.bytes).unwrap_or_default());
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => {
                received.closed = true;
                return Ok(received);
            }
            Ok(count) => received.bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            Err(_) => return Ok(received),
        }
    }
}
