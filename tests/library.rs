//! The library as its users meet it: from a program with threads, as every test program is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use coracle::{Bundle, CreateOptions, ExecOptions, Kind, RunOptions, Runtime, Status};
use harness::{Lab, args, eventually};

fn runtime(lab: &Lab) -> Runtime {
    Runtime::new(lab.state_root()).on_warning(|warning| panic!("{warning}"))
}

#[test]
fn create_and_run_from_a_threaded_process_are_refused_without_effect() {
    let lab = Lab::new();
    let bundle = Bundle::load(&lab.bundle(|c| args(c, &["true"])).path).unwrap();
    let created = runtime(&lab).create(&lab.id(), bundle.clone(), &CreateOptions::default()).unwrap_err();
    let run = runtime(&lab).run(&lab.id(), bundle, &CreateOptions::default(), &RunOptions::default()).unwrap_err();
    for error in [created, run] {
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("more than one thread"), "{error}");
        assert!(error.to_string().contains("Runtime::helper"), "{error}");
    }
    lab.assert_clean();
}

#[test]
fn exec_from_a_threaded_process_is_refused() {
    let lab = Lab::new();
    let running = lab.start(&lab.bundle(|c| args(c, &["sleep", "1000"])));
    let container = runtime(&lab).container(&running.id).unwrap();
    let error = container.exec(&ExecOptions { args: vec!["true".into()], ..ExecOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("more than one thread"), "{error}");
    assert_eq!(container.state().unwrap().status, Status::Running);
}

#[test]
fn helper_runs_the_whole_life_for_a_threaded_process() {
    let lab = Lab::new();
    let bundle =
        Bundle::load(&lab.bundle(|c| args(c, &["sh", "-c", "trap 'exit 5' TERM; while :; do sleep 0.01; done"])).path);
    let id = lab.id();
    let runtime = runtime(&lab).helper(harness::runtime_path());
    let container = runtime.create(&id, bundle.unwrap(), &CreateOptions::default()).unwrap();
    assert_eq!(container.state().unwrap().status, Status::Created);
    container.start().unwrap();
    let exec = |args: &[&str]| {
        let args = args.iter().map(Into::into).collect();
        container.exec(&ExecOptions { args, user: Some((7, None)), ..ExecOptions::default() })
    };
    assert_eq!(exec(&["sh", "-c", "exit $(id -u)"]), Ok(7));
    assert_eq!(exec(&["/no/such"]).unwrap_err().to_string().matches("no such file or directory").count(), 1);
    container.kill(libc::SIGTERM, false).unwrap();
    eventually("the container stops", || container.state().unwrap().status == Status::Stopped);
    assert_eq!(runtime.states().unwrap().len(), 1);
    container.delete(false).unwrap();
    lab.assert_clean();
}

#[test]
fn helper_errors_keep_their_kind() {
    let lab = Lab::new();
    let runtime = runtime(&lab).helper(harness::runtime_path());
    let good = Bundle::load(&lab.bundle(|c| args(c, &["true"])).path).unwrap();
    let taken = lab.create(&lab.bundle(|c| args(c, &["true"])));
    let error = runtime.create(&taken.id, good, &CreateOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists, "{error}");
    let missing = lab.bundle(|c| args(c, &["/no/such"]));
    let missing = Bundle::load(&missing.path).unwrap();
    let error = runtime.create(&lab.id(), missing, &CreateOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::ProgramNotFound, "{error}");
    assert_eq!(runtime.container("no-such-container").unwrap_err().kind(), Kind::NotFound);
}
