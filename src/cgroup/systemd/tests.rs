//! The client against a manager that says what the test gives it: what is sent, what is concluded. Whether
//! systemd agrees is for the tests in the virtual machine.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use super::*;
use crate::dbus::testing::{encode, read_message};
use crate::plan::resources::Property;

const HANDSHAKE: usize = b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".len();

/// What the mock answers to one call.
enum Answer {
    Return(Vec<Value>),
    Error(&'static str),
    Signal(Vec<Value>),
}

/// A manager that answers the calls in turn, each with its messages, and gives the names of the calls.
fn manager(by_bus: bool, script: Vec<Vec<Answer>>) -> (Manager, JoinHandle<Vec<String>>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mock = thread::spawn(move || {
        theirs.read_exact(&mut [0; HANDSHAKE]).unwrap();
        theirs.write_all(b"DATA\r\nOK 00\r\n").unwrap();
        let mut calls = Vec::new();
        let mut script = script.into_iter();
        while let Some((serial, message)) = read_message(&mut theirs) {
            calls.push(message.member.clone());
            for answer in script.next().unwrap_or_default() {
                let reply = (5, Value::Uint32(serial));
                let bytes = match answer {
                    Answer::Return(arguments) => encode(Kind::Return, vec![reply], &arguments),
                    Answer::Error(name) => {
                        encode(Kind::Error, vec![reply, (4, Value::text(name))], &[Value::text("because.")])
                    }
                    Answer::Signal(arguments) => {
                        let fields = vec![(2, Value::text(MANAGER)), (3, Value::text("JobRemoved"))];
                        encode(Kind::Signal, fields, &arguments)
                    }
                };
                theirs.write_all(&bytes).unwrap();
            }
        }
        calls
    });
    let connection =
        Connection::over(ours.into(), "test".to_owned(), by_bus.then_some(NAME), Duration::from_secs(20)).unwrap();
    (Manager::greet(connection, by_bus, false).unwrap(), mock)
}

fn job(number: u32) -> Answer {
    Answer::Return(vec![Value::Path(format!("/job/{number}"))])
}

fn removed(number: u32, result: &str) -> Answer {
    Answer::Signal(vec![
        Value::Uint32(number),
        Value::Path(format!("/job/{number}")),
        Value::text("a.scope"),
        Value::text(result),
    ])
}

fn properties() -> Vec<UnitProperty> {
    let one = |name: &str, since| UnitProperty {
        property: Property { name: name.to_owned(), value: Value::Bool(true) },
        since,
    };
    vec![one("Old", 219), one("New", 250)]
}

fn calls(manager: Manager, mock: JoinHandle<Vec<String>>) -> Vec<String> {
    drop(manager);
    mock.join().unwrap()
}

#[test]
fn start_waits_for_the_end_of_its_own_job() {
    let script = vec![vec![removed(1, "failed"), job(2), removed(3, "failed"), removed(2, "done")]];
    let (mut manager, mock) = manager(false, script);
    manager.start("a.scope", properties()).unwrap();
    assert_eq!(calls(manager, mock), ["StartTransientUnit"], "one call");
}

#[test]
fn start_job_that_ends_before_its_call_returns_is_heard() {
    let (mut manager, _mock) = manager(false, vec![vec![removed(2, "done"), job(2)]]);
    manager.start("a.scope", properties()).unwrap();
}

#[test]
fn start_by_bus_asks_for_signals_first() {
    let quiet = || vec![Answer::Return(Vec::new())];
    let script = vec![quiet(), quiet(), quiet(), vec![job(1), removed(1, "done")]];
    let (mut manager, mock) = manager(true, script);
    manager.start("a.scope", properties()).unwrap();
    assert_eq!(calls(manager, mock), ["Hello", "AddMatch", "Subscribe", "StartTransientUnit"]);
}

#[test]
fn start_by_bus_that_refuses_signals_is_an_error() {
    let script = vec![vec![Answer::Return(Vec::new())], vec![Answer::Error("x.Limits")]];
    let (mut manager, _mock) = manager(true, script);
    let Err(Unstarted::Perhaps(error)) = manager.start("a.scope", properties()) else { panic!("started") };
    assert!(error.to_string().contains("x.Limits"), "{error}");
}

#[test]
fn start_job_that_fails_names_the_unit_and_the_result() {
    let (mut manager, _mock) = manager(false, vec![vec![job(1), removed(1, "timeout")]]);
    let Err(Unstarted::Perhaps(error)) = manager.start("a.scope", properties()) else { panic!("started") };
    assert_eq!(error.to_string(), "start unit a.scope: the job ended with \"timeout\"; hint: see journalctl");
}

#[test]
fn start_of_a_unit_that_exists_names_it() {
    let exists = || vec![Answer::Error("org.freedesktop.systemd1.UnitExists")];
    let (mut manager, mock) =
        manager(false, vec![exists(), vec![Answer::Error("org.freedesktop.systemd1.NoSuchUnit")]]);
    let Err(Unstarted::Surely(error)) = manager.start("a.scope", properties()) else { panic!("started") };
    assert_eq!(
        error.to_string(),
        "start unit a.scope: because (org.freedesktop.systemd1.UnitExists): file exists (EEXIST)"
    );
    assert_eq!(calls(manager, mock), ["StartTransientUnit", "ResetFailedUnit"]);
}

#[test]
fn start_of_a_unit_that_failed_before_is_tried_again() {
    let exists = vec![Answer::Error("org.freedesktop.systemd1.UnitExists")];
    let script = vec![exists, vec![Answer::Return(Vec::new())], vec![job(1), removed(1, "done")]];
    let (mut manager, mock) = manager(false, script);
    manager.start("a.scope", properties()).unwrap();
    assert_eq!(calls(manager, mock), ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"]);
}

#[test]
fn start_on_an_older_systemd_does_without_what_is_newer() {
    let unknown = || vec![Answer::Error("org.freedesktop.DBus.Error.PropertyReadOnly")];
    let version = |text: &str| vec![Answer::Return(vec![Value::Variant(Box::new(Value::text(text)))])];
    let (mut older, mock) =
        manager(false, vec![unknown(), version("systemd 245 (245.4-4ubuntu3)"), vec![job(1), removed(1, "done")]]);
    older.start("a.scope", properties()).unwrap();
    assert_eq!(calls(older, mock), ["StartTransientUnit", "Get", "StartTransientUnit"]);

    let (mut newer, mock) = manager(false, vec![unknown(), version("257.7-1")]);
    let Err(Unstarted::Surely(error)) = newer.start("a.scope", properties()) else { panic!("started") };
    assert!(error.to_string().contains("PropertyReadOnly"), "{error}");
    assert_eq!(calls(newer, mock), ["StartTransientUnit", "Get"]);
}

#[test]
fn start_answers_that_make_no_sense_are_errors() {
    for answers in [
        vec![Answer::Return(vec![Value::Uint32(1)])],
        vec![Answer::Return(Vec::new())],
        vec![job(1), Answer::Signal(vec![Value::Uint32(1)])],
    ] {
        let (mut manager, _mock) = manager(false, vec![answers]);
        let Err(Unstarted::Perhaps(error)) = manager.start("a.scope", properties()) else { panic!("started") };
        assert!(error.to_string().contains("is not understood"), "{error}");
    }
}

#[test]
fn stop_of_a_unit_that_is_gone_is_done() {
    let (mut manager, mock) = manager(false, vec![vec![Answer::Error("org.freedesktop.systemd1.NoSuchUnit")]]);
    manager.stop("a.scope").unwrap();
    assert_eq!(calls(manager, mock), ["StopUnit"]);
}

#[test]
fn unit_path_escapes() {
    assert_eq!(unit_path("1a-b.scope"), "/org/freedesktop/systemd1/unit/_31a_2db_2escope");
}
