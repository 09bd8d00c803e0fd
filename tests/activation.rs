//! What passes between a service manager or an engine and the container's first process: readiness, a pidfd.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use harness::{ConsoleSocket, Container, Lab, args, eventually};

#[test]
fn notify_socket_passes_readiness_main_pid_and_barrier_on() {
    let lab = Lab::new();
    let path = lab.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let bundle = lab.bundle(|c| args(c, &["sh", "-c", "test $NOTIFY_SOCKET = /run/notify/notify.sock && sleep 1000"]));
    let id = lab.id();
    lab.cmd(&["create", "--bundle", bundle.str(), &id]).env("NOTIFY_SOCKET", path.to_str().unwrap()).output().ok();
    let container = Container { lab: &lab, id };
    let start = lab.cmd(&["start", &container.id]).env("NOTIFY_SOCKET", path.to_str().unwrap()).spawn();
    let pid = container.pid();
    let inside = format!("/proc/{pid}/root/run/notify/notify.sock");
    let service = UnixDatagram::unbound().unwrap();
    eventually("the container's socket", || service.send_to(b"STATUS=up\nREADY=1", &inside).is_ok());
    let mut buffer = [0; 256];
    let mut next = || {
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!([next(), next(), next()], ["READY=1".to_owned(), format!("MAINPID={pid}"), "BARRIER=1".to_owned()]);
    start.wait().ok();
    assert_eq!(container.status(), "running");
    container.with("delete", &["--force"], &[]).ok();
    lab.assert_clean();
}

#[test]
fn notify_socket_of_a_program_that_ends_unready_does_not_hold_start() {
    let lab = Lab::new();
    let path = lab.path("manager");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let bundle = lab.bundle(|c| args(c, &["true"]));
    let container = Container { lab: &lab, id: lab.id() };
    let create = ["create", "--bundle", bundle.str(), &container.id];
    lab.cmd(&create).env("NOTIFY_SOCKET", path.to_str().unwrap()).output().ok();
    lab.cmd(&["start", &container.id]).env("NOTIFY_SOCKET", path.to_str().unwrap()).output().ok();
    assert!(manager.recv(&mut [0; 16]).is_err(), "told of a readiness that was none");
    container.wait("stopped");
    container.op("delete").ok();
}

#[test]
fn pidfd_socket_gets_a_descriptor_of_init_and_of_exec() {
    let lab = Lab::new();
    let socket = ConsoleSocket::new(&lab);
    let bundle = lab.bundle(|c| args(c, &["sleep", "1000"]));
    let container = Container { lab: &lab, id: lab.id() };
    let create = ["create", "--bundle", bundle.str(), "--pidfd-socket", socket.str(), &container.id];
    lab.cmd(&create).output().ok();
    let of = |fd: std::os::fd::OwnedFd| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
        harness::status_field(&info, "Pid").parse::<i64>().unwrap()
    };
    assert_eq!(of(socket.receive()), container.pid());
    container.op("start").ok();
    let pid_file = lab.path("exec-pid");
    let options = ["--detach", "--pid-file", pid_file.to_str().unwrap(), "--pidfd-socket", socket.str()];
    container.with("exec", &options, &["sleep", "1000"]).ok();
    let expected: i64 = std::fs::read_to_string(pid_file).unwrap().parse().unwrap();
    assert_eq!(of(socket.receive()), expected);
}
