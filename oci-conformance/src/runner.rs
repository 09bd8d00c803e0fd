//! Runs tests: each in its own process, several at once, with a time limit and a look at what is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use crate::runtime::Runtime;
use crate::suite::Test;
use crate::verdict::{Failure, ensure};
use crate::work::Work;
use crate::{areas, leaks, sys};

/// Seconds that one test may take, unless told.
pub const LIMIT: u64 = 25;

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    Failed(String),
    /// A need that is not there.
    Missing(String),
}

/// A test and its outcome.
#[derive(Debug, Clone)]
pub struct Finished {
    pub id: &'static str,
    pub core: bool,
    pub outcome: Outcome,
    pub time: Duration,
}

/// A finished run.
#[derive(Debug)]
pub struct Run {
    pub tests: Vec<Finished>,
    /// What the whole run changed on the host.
    pub left: BTreeSet<String>,
    pub time: Duration,
}

/// Runs the tests with so many at once. `each` is told of every finished test and of how many there are.
pub fn run(
    runtime: &Runtime,
    tests: &[Test],
    jobs: usize,
    each: &(impl Fn(&Finished, usize, usize) + Sync),
) -> Result<Run, Failure> {
    let began = Instant::now();
    nix::sys::prctl::set_child_subreaper(true)?;
    sys::note_ending()?;
    own_namespaces()?;
    let hidden = Hidden::new(runtime)?;
    let work = Work::new()?;
    let before = leaks::survey();
    let next = AtomicUsize::new(0);
    let finished = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while sys::ending().is_none() {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(test) = tests.get(index) else { break };
                    let result = run_one(runtime, test, index, &work);
                    if let Ok(mut list) = finished.lock() {
                        each(&result, list.len() + 1, tests.len());
                        list.push((index, result));
                    }
                }
            });
        }
    });
    if let Some(signal) = sys::ending() {
        leaks::remove(&leaks::tag_of(std::process::id()));
        leaks::take_orphans();
        return Err(Failure(format!("ended by signal {signal}; what the tests had made is removed")));
    }
    let mut list = finished.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    list.sort_by_key(|(index, _)| *index);
    let after = leaks::survey();
    let orphans = leaks::take_orphans();
    let left = after.difference(&before).chain(&orphans).map(|row| format!("left: {row}"));
    // Mounts end everywhere with the directory that they are on, whoever removes it.
    let elsewhere = leaks::mounts_of_parent();
    let gone = before.difference(&after).filter(|row| elsewhere.contains(*row)).map(|row| format!("gone: {row}"));
    drop(hidden);
    Ok(Run {
        tests: list.into_iter().map(|(_, test)| test).collect(),
        left: left.chain(gone).collect(),
        time: began.elapsed(),
    })
}

/// What a runtime mounts by mistake, and network devices, shall neither stay on the host nor be mistaken for somebody else's.
/// Without the privilege the tests lack the need root anyway.
fn own_namespaces() -> Result<(), Failure> {
    use nix::mount::{MsFlags, mount};
    use nix::sched::CloneFlags;
    if nix::unistd::geteuid().is_root() {
        nix::sched::unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)?;
    }
    Ok(())
}

/// An empty file system over the second hierarchy of a hybrid machine, in the run's own mount namespace.
struct Hidden(Option<&'static str>);

impl Hidden {
    fn new(runtime: &Runtime) -> Result<Self, Failure> {
        let place = "/sys/fs/cgroup/unified";
        if !runtime.hide_v2 || !Path::new(place).join("cgroup.controllers").exists() {
            return Ok(Self(None));
        }
        nix::mount::mount(Some("none"), place, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>)?;
        Ok(Self(Some(place)))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            let _ = nix::mount::umount2(place, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

fn run_one(runtime: &Runtime, test: &Test, index: usize, work: &Work) -> Finished {
    let began = Instant::now();
    let missing = test.needs.iter().find_map(|need| need.missing(runtime));
    let outcome = match missing {
        Some(name) => Outcome::Missing(name),
        None => in_process(runtime, test, index, work).unwrap_or_else(|failure| Outcome::Failed(failure.0)),
    };
    Finished { id: test.id, core: test.kind == crate::suite::Kind::Core, outcome, time: began.elapsed() }
}

fn in_process(runtime: &Runtime, test: &Test, index: usize, work: &Work) -> Result<Outcome, Failure> {
    // The number in hexadecimal keeps names of network devices short.
    let tag = format!("{}{index:03x}", leaks::tag_of(std::process::id()));
    let lab = Lab::new(runtime.clone(), work.directory(), &tag, &work.probe())?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("one")
        .args([test.id, &tag])
        .args([&runtime.path, work.directory()])
        .args(runtime.systemd.then_some("systemd"))
        .env("OCI_CONFORMANCE_TAG", &tag)
        .stdin(Stdio::null())
        .stdout(fs::File::create(lab.path("verdict"))?)
        .stderr(fs::File::create(lab.path("panic"))?)
        .spawn()?;
    let limit = Duration::from_secs(runtime.limit);
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() > end || sys::ending().is_some() {
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let said = |name| fs::read_to_string(lab.path(name)).unwrap_or_default().trim_end().to_owned();
    let left = if sys::ending().is_some() { leaks::find(&lab) } else { leaks::find_patiently(&lab) };
    if !left.is_empty() {
        leaks::remove(&lab.tag);
    }
    let outcome = match status {
        None => Outcome::Failed(format!("no end after {} s", limit.as_secs())),
        Some(status) if status.success() && left.is_empty() => Outcome::Passed,
        Some(status) if status.success() => Outcome::Failed(format!("left behind: {}", left.join("; "))),
        Some(_) => Outcome::Failed(format!("{}{}", said("verdict"), said("panic"))),
    };
    let _ = fs::remove_dir_all(&lab.directory);
    Ok(outcome)
}

/// `one ID TAG RUNTIME DIRECTORY [systemd]`: the process of one test.
pub fn one(args: &[String]) -> ExitCode {
    let [id, tag, runtime, directory, manager @ ..] = args else { return ExitCode::from(2) };
    let directory = Path::new(directory);
    // What is hidden is hidden from the whole run already.
    let runtime = Runtime { path: runtime.into(), hide_v2: false, systemd: !manager.is_empty(), limit: LIMIT };
    let verdict = prepared(runtime, tag, directory).and_then(|lab| {
        let test = areas::all().into_iter().find(|test| test.id == id).ok_or("no such test")?;
        let verdict = (test.run)(&lab).and_then(|()| lab.control());
        if verdict.is_err() {
            // What the test did not come to remove is not the runtime's leak.
            leaks::remove(&lab.tag);
        }
        let orphans = leaks::take_orphans();
        verdict?;
        ensure(orphans.is_empty(), || format!("left behind: {}", orphans.join("; ")))
    });
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print!("{}", failure.0);
            ExitCode::from(1)
        }
    }
}

/// The process adopts the container's, and ends with the runner.
fn prepared(runtime: Runtime, tag: &str, directory: &Path) -> Result<Lab, Failure> {
    nix::sys::prctl::set_child_subreaper(true)?;
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    Lab::new(runtime, directory, tag, &directory.join("probe"))
}
