//! The other side of `listenerPath`: takes the container process state with its listener, and answers calls.

use std::fs::{self, File};
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::Value;

use super::command::Bystander;
use super::console::readable;
use super::{Lab, PATIENCE, eventually};

/// The ioctls of seccomp_unotify(2). Perl, because an ioctl on a structure is no safe Rust.
///
/// Each argument answers one call: `errno:N`, `value:N`, `continue`, or `interrupt`, which sends the caller a
/// signal first and goes on when the kernel has taken the call back, or obviously has not. Prints pid, number and
/// `sent`, or `lost` where the call was no more there.
const ANSWER: &str = r#"
use strict; $| = 1;
for my $answer (@ARGV) {
    my $call = "\0" x 80;
    ioctl(STDIN, 0xc0502100, $call) or die "receive: $!\n";
    my ($id, $pid, undef, $number) = unpack("QLLl", $call);
    my ($how, $n) = (split(/:/, $answer), 0);
    if ($how eq "interrupt") {
        kill("USR1", $pid) or die "kill: $!\n";
        for (1 .. 60) {
            my $valid = pack("Q", $id);
            last unless ioctl(STDIN, 0x40082102, $valid);
            select(undef, undef, undef, 0.005);
        }
    }
    my $reply = pack("QqlL", $id, $how eq "value" ? $n : 0, $how eq "errno" ? -$n : 0, $how eq "continue" ? 1 : 0);
    print "$pid $number ", ioctl(STDIN, 0xc0182101, $reply) ? "sent" : "lost", "\n";
}
"#;

/// A listening socket.
pub struct SeccompAgent<'a> {
    lab: &'a Lab,
    listener: UnixListener,
    pub path: PathBuf,
}

impl<'a> SeccompAgent<'a> {
    /// A socket in the lab.
    pub fn new(lab: &'a Lab) -> Self {
        let path = lab.path(&format!("agent-{}", lab.number()));
        SeccompAgent { lab, listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// The one message of the next connection, which must end after it, and its one descriptor.
    pub fn receive(&self) -> (Value, OwnedFd) {
        assert!(readable(&self.listener, PATIENCE), "nobody connects to the seccomp agent");
        let (mut stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = vec![0u8; 65536];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received =
            rustix::net::recvmsg(&stream, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
        bytes.truncate(received);
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(all) = message {
                descriptors.extend(all);
            }
        }
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(descriptors.len(), 1, "descriptors with the first message");
        (serde_json::from_slice(&bytes).unwrap(), descriptors.remove(0))
    }

    /// Answers as many calls as there are `answers`, in a process of its own.
    pub fn answer(&self, listener: OwnedFd, answers: &[&str]) -> Answers {
        let report = self.lab.path(&format!("answers-{}", self.lab.number()));
        let child = Command::new("perl")
            .args(["-e", ANSWER])
            .args(answers)
            .env("CORACLE_TEST_TAG", &self.lab.tag)
            .stdin(Stdio::from(listener))
            .stdout(File::create(&report).unwrap())
            .spawn()
            .expect("these tests need perl");
        Answers { process: Bystander(child), report }
    }
}

/// An agent at work.
pub struct Answers {
    process: Bystander,
    report: PathBuf,
}

impl Answers {
    /// Waits until all calls are answered: pid, number, and whether the answer arrived.
    pub fn done(mut self) -> Vec<(i64, i64, bool)> {
        let mut status = None;
        eventually("the agent has answered", || {
            status = self.process.0.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "the agent failed");
        let text = fs::read_to_string(&self.report).unwrap();
        let parse = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[0].parse().unwrap(), words[1].parse().unwrap(), words[2] == "sent")
        };
        text.lines().map(parse).collect()
    }
}
