//! A connection: to a bus, or straight to a service.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{SockFlag, SockType};

use super::message::{self, Message};
use super::{Address, Kind};
use crate::error::{Context, Error, Kind as ErrorKind, Result};
use crate::plan::resources::value::Value;
use crate::sys::socket::{connect_abstract, connect_unix, send_message};

/// A method call.
#[derive(Clone, Debug)]
pub(crate) struct Call<'a> {
    /// Of the object.
    pub path: &'a str,
    pub interface: &'a str,
    pub member: &'a str,
    pub arguments: Vec<Value>,
}

/// An authenticated connection. Everything on it must be over by one moment.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    /// For messages.
    address: String,
    /// Whom calls go to; nobody on a direct connection, where there is only one.
    destination: Option<&'static str>,
    /// What arrived and was not read.
    arrived: Vec<u8>,
    last_serial: u32,
    deadline: Instant,
}

/// The authentication: the server knows the user of a Unix socket, so no identity is claimed, which also works from
/// within a user namespace.
const HANDSHAKE: &[u8] = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n";

/// No answer to it is longer.
const LONGEST_ANSWER: usize = 1024;

impl Connection {
    /// Connects and authenticates; all that is done later must be over after `patience` too.
    ///
    /// # Errors
    /// The errno of connect(2); a server that refuses or does not answer.
    pub fn open(address: &Address, destination: Option<&'static str>, patience: Duration) -> Result<Connection> {
        let connected = match address {
            Address::Path(path) => connect_unix(SockType::Stream, path, SockFlag::SOCK_NONBLOCK),
            Address::Abstract(name) => connect_abstract(SockType::Stream, name, SockFlag::SOCK_NONBLOCK),
        };
        let socket = connected.context(|| format!("connect to {address}"))?;
        Connection::over(socket, address.to_string(), destination, patience)
    }

    /// As [`Connection::open`], over a connected, non-blocking socket.
    pub fn over(
        socket: OwnedFd,
        address: String,
        destination: Option<&'static str>,
        patience: Duration,
    ) -> Result<Connection> {
        let deadline = Instant::now() + patience;
        let arrived = Vec::new();
        let mut connection = Connection { socket, address, destination, arrived, last_serial: 0, deadline };
        connection.write(HANDSHAKE)?;
        connection.await_ok()?;
        Ok(connection)
    }

    /// Reads the answers to the handshake: DATA, which asks for an identity, then OK.
    fn await_ok(&mut self) -> Result<()> {
        loop {
            while let Some(end) = self.arrived.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.arrived.drain(..end + 2).collect();
                if line.starts_with(b"OK") {
                    return Ok(());
                }
                if !line.starts_with(b"DATA") {
                    let said = String::from_utf8_lossy(&line).trim_end().to_owned();
                    return Err(Error::new(
                        ErrorKind::System,
                        format!("authenticate at {}: the answer is {said:?}", self.address),
                    ));
                }
            }
            if self.arrived.len() > LONGEST_ANSWER {
                return Err(self.malformed());
            }
            self.read()?;
        }
    }

    fn malformed(&self) -> Error {
        Error::new(ErrorKind::System, format!("read from {}: no message of D-Bus", self.address))
    }

    /// Sends `call` and gives its serial, by which its answer is known.
    pub fn send(&mut self, call: &Call<'_>) -> Result<u32> {
        self.send_to(self.destination, call)
    }

    /// Sends `call` to the bus itself.
    pub fn send_to_bus(&mut self, call: &Call<'_>) -> Result<u32> {
        self.send_to(Some("org.freedesktop.DBus"), call)
    }

    fn send_to(&mut self, destination: Option<&str>, call: &Call<'_>) -> Result<u32> {
        self.last_serial += 1;
        let bytes = message::encode_call(self.last_serial, destination, call);
        self.write(&bytes)?;
        Ok(self.last_serial)
    }

    /// The next message of any kind.
    ///
    /// # Errors
    /// `ETIMEDOUT` when the patience is at its end.
    pub fn receive(&mut self) -> Result<Message> {
        loop {
            if let Some(start) = self.arrived.get(..message::FIXED) {
                let length = message::length(start).ok_or_else(|| self.malformed())?;
                if self.arrived.len() >= length {
                    let bytes: Vec<u8> = self.arrived.drain(..length).collect();
                    return Message::decode(&bytes).ok_or_else(|| self.malformed());
                }
            }
            self.read()?;
        }
    }

    /// Sends `call` and awaits its answer; whatever else arrives meanwhile is dropped.
    ///
    /// # Errors
    /// What the service answers, see [`refusal`].
    pub fn call(&mut self, call: &Call<'_>) -> Result<Message> {
        let serial = self.send(call)?;
        loop {
            let message = self.receive()?;
            match (message.reply_to == Some(serial), message.kind) {
                (true, Kind::Return) => return Ok(message),
                (true, Kind::Error) => return Err(refusal(&message)),
                _ => {}
            }
        }
    }

    fn wait(&self, event: PollFlags) -> Result<()> {
        let describe = || format!("wait for an answer from {}", self.address);
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::sys(Errno::ETIMEDOUT, describe()));
        }
        // A timeout below a millisecond would be none.
        let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.socket.as_fd(), event)], timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno).context(describe),
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match send_message(self.socket.as_fd(), bytes, None) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT)?,
                Err(errno) => return Err(errno).context(|| format!("write to {}", self.address)),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        self.wait(PollFlags::POLLIN)?;
        let mut buffer = [0; 4096];
        match rustix::io::read(&self.socket, &mut buffer) {
            Ok(0) => Err(Error::sys(Errno::ECONNRESET, format!("read from {}", self.address))),
            Ok(count) => {
                self.arrived.extend(buffer.iter().take(count));
                Ok(())
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno).context(|| format!("read from {}", self.address)),
        }
    }
}

/// The error that a service answered with: its words, then its name.
pub(crate) fn refusal(message: &Message) -> Error {
    let said = match message.body().and_then(|body| body.into_iter().next()) {
        Some(Value::Text(text)) => text,
        _ => "no reason given".to_owned(),
    };
    let said = said.trim_end_matches('.');
    Error::new(ErrorKind::System, format!("{said} ({})", message.error_name))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::super::message::tests::encode;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A connection whose other end is served by `serve`, which gets the socket behind the handshake.
    fn connected(
        patience: Duration,
        answer: &'static [u8],
        serve: impl FnOnce(UnixStream) + Send + 'static,
    ) -> Result<Connection> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        thread::spawn(move || {
            let mut asked = vec![0; HANDSHAKE.len()];
            theirs.read_exact(&mut asked).unwrap();
            assert_eq!(asked, HANDSHAKE);
            theirs.write_all(answer).unwrap();
            serve(theirs);
        });
        Connection::over(ours.into(), "test".to_owned(), None, patience)
    }

    fn call() -> Call<'static> {
        Call { path: "/a", interface: "a.b", member: "C", arguments: vec![Value::Uint32(1)] }
    }

    const OK: &[u8] = b"DATA\r\nOK 0123\r\n";

    fn answer(kind: Kind, serial: u32, arguments: &[Value]) -> Vec<u8> {
        encode(kind, vec![(5, Value::Uint32(serial)), (4, Value::text("x.Failed"))], arguments)
    }

    #[test]
    fn call_finds_its_answer_among_others() {
        let mut connection = connected(PATIENCE, OK, |mut socket| {
            let mut all = answer(Kind::Return, 7, &[]);
            all.extend(encode(Kind::Signal, vec![(3, Value::text("Noise"))], &[Value::text("x")]));
            all.extend(answer(Kind::Return, 1, &[Value::text("yes")]));
            // Byte by byte: messages have no boundaries on a stream.
            for byte in all {
                socket.write_all(&[byte]).unwrap();
            }
            let _ = socket.read(&mut [0; 1000]);
        })
        .unwrap();
        assert_eq!(connection.call(&call()).unwrap().body(), Some(vec![Value::text("yes")]));
    }

    #[test]
    fn call_refused_tells_the_words_and_the_name() {
        let mut connection = connected(PATIENCE, OK, |mut socket| {
            socket.write_all(&answer(Kind::Error, 1, &[Value::text("No such unit.")])).unwrap();
            let _ = socket.read(&mut [0; 1000]);
        })
        .unwrap();
        assert_eq!(connection.call(&call()).unwrap_err().to_string(), "No such unit (x.Failed)");
    }

    #[test]
    fn receive_garbage_or_end_or_silence_is_an_error() {
        let mut garbage = connected(PATIENCE, OK, |mut socket| {
            socket.write_all(&[0x41; 64]).unwrap();
            let _ = socket.read(&mut [0; 1000]);
        })
        .unwrap();
        assert!(garbage.receive().unwrap_err().to_string().contains("no message of D-Bus"));
        let mut end = connected(PATIENCE, OK, drop).unwrap();
        assert_eq!(end.receive().unwrap_err().raw_errno(), Some(libc::ECONNRESET));
        let mut silence = connected(Duration::from_millis(300), OK, |mut socket| {
            let _ = socket.read_to_end(&mut Vec::new());
        })
        .unwrap();
        assert_eq!(silence.receive().unwrap_err().raw_errno(), Some(libc::ETIMEDOUT));
    }

    #[test]
    fn over_refused_or_endless_answers_are_errors() {
        let refused = connected(PATIENCE, b"REJECTED EXTERNAL\r\n", drop).unwrap_err();
        assert!(refused.to_string().contains("REJECTED"), "{refused}");
        let endless = connected(PATIENCE, &[b'x'; 4096], drop).unwrap_err();
        assert!(endless.to_string().contains("no message of D-Bus"), "{endless}");
    }
}
