//! What is timed, and how one turn goes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const HANG: Duration = Duration::from_secs(10);

/// Containers that a list has.
const LISTED: usize = 100;
/// Containers that are run in one turn, when several run at once.
const STARTED: usize = 100;

/// The programs whose turn it is, by pid and the moment of their start. The watchdog kills those that hang.
static RUNNING: Mutex<Vec<(u32, Instant)>> = Mutex::new(Vec::new());

/// Where everything lies.
#[derive(Default)]
pub struct Stage {
    /// For what the runtimes keep, a directory for each.
    pub state: PathBuf,
    /// Bundles: that of `spec` and Docker's, which end at once, and one that sleeps.
    pub spec: PathBuf,
    pub docker: PathBuf,
    pub sleeper: PathBuf,
}

pub struct Contestant {
    pub name: String,
    pub program: PathBuf,
    /// Does the kernel's work without being a runtime: takes part in `run` alone.
    pub floor: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Run,
    RunDocker,
    RunAfterIdleness,
    Create,
    Start,
    Exec,
    State,
    Kill,
    Delete,
    List,
    One,
    Two,
    Eight,
}

/// What became of one turn.
pub enum Turn {
    Took(Duration),
    Hung,
}

/// The name is that of the cgroup, too, which no two contestants may share.
fn listed(contestant: &Contestant, n: usize) -> String {
    format!("listed-{}-{n}", contestant.name)
}

impl Workload {
    pub const ALL: [Workload; 13] = [
        Workload::Run,
        Workload::RunDocker,
        Workload::RunAfterIdleness,
        Workload::Create,
        Workload::Start,
        Workload::Exec,
        Workload::State,
        Workload::Kill,
        Workload::Delete,
        Workload::List,
        Workload::One,
        Workload::Two,
        Workload::Eight,
    ];

    /// For --only.
    pub fn word(self) -> &'static str {
        self.texts().0
    }

    pub fn title(self) -> &'static str {
        self.texts().1
    }

    fn texts(self) -> (&'static str, &'static str) {
        match self {
            Workload::Run => ("run", "run"),
            Workload::RunDocker => ("docker", "run, Docker's bundle"),
            Workload::RunAfterIdleness => ("idle", "run, after idleness"),
            Workload::Create => ("create", "create"),
            Workload::Start => ("start", "start"),
            Workload::Exec => ("exec", "exec of true"),
            Workload::State => ("state", "state"),
            Workload::Kill => ("kill", "kill"),
            Workload::Delete => ("delete", "delete"),
            Workload::List => ("list", "list of 100"),
            Workload::One => ("1", "each of 100 runs, 1 at once"),
            Workload::Two => ("2", "each of 100 runs, 2 at once"),
            Workload::Eight => ("8", "each of 100 runs, 8 at once"),
        }
    }

    pub fn has_floor(self) -> bool {
        self.at_once().is_some() || matches!(self, Workload::Run | Workload::RunDocker | Workload::RunAfterIdleness)
    }

    /// How many rounds it gets where the short workloads get `all`.
    pub fn rounds(self, all: usize) -> usize {
        match self {
            Workload::One | Workload::Two | Workload::Eight => (all / 15).max(1),
            Workload::List | Workload::RunAfterIdleness => (all / 2).max(1),
            _ => all,
        }
    }

    fn at_once(self) -> Option<usize> {
        match self {
            Workload::One => Some(1),
            Workload::Two => Some(2),
            Workload::Eight => Some(8),
            _ => None,
        }
    }

    /// What is made once before all rounds.
    pub fn prepare(self, stage: &Stage, contestant: &Contestant) -> Result<(), String> {
        if self != Workload::List || contestant.floor {
            return Ok(());
        }
        let bundle = stage.sleeper.to_string_lossy();
        (0..LISTED).try_for_each(|n| {
            timed(&mut runtime(stage, contestant, &["create", "--bundle", &bundle, &listed(contestant, n)]), stage, n)
                .map(drop)
        })
    }

    /// And removed after them.
    pub fn clean_up(self, stage: &Stage, contestant: &Contestant) -> Result<(), String> {
        if self != Workload::List || contestant.floor {
            return Ok(());
        }
        (0..LISTED).try_for_each(|n| {
            timed(&mut runtime(stage, contestant, &["delete", "--force", &listed(contestant, n)]), stage, n).map(drop)
        })
    }

    /// One operation timed, with what must come before it and after it.
    pub fn take_turn(self, stage: &Stage, contestant: &Contestant, round: usize) -> Result<Turn, String> {
        // By this name the script finds what a turn that was killed has left.
        let name = std::env::var("BENCH_NAME").unwrap_or_else(|_unset| format!("bench-{}", std::process::id()));
        let id = format!("{name}-{round}");
        match self {
            Workload::Run | Workload::RunAfterIdleness => timed(&mut run(stage, contestant, &id, false), stage, round),
            Workload::RunDocker => timed(&mut run(stage, contestant, &id, true), stage, round),
            Workload::List => timed(&mut runtime(stage, contestant, &["list"]), stage, round),
            Workload::One | Workload::Two | Workload::Eight => {
                many(stage, contestant, &id, self.at_once().unwrap_or(1))
            }
            _ => self.lifecycle(stage, contestant, &id),
        }
    }

    fn lifecycle(self, stage: &Stage, contestant: &Contestant, id: &str) -> Result<Turn, String> {
        let time = |words: &[&str]| timed(&mut runtime(stage, contestant, words), stage, 0);
        let bundle = stage.sleeper.to_string_lossy();
        let create = ["create", "--bundle", &bundle, id];
        let operation: &[&str] = match self {
            Workload::Create => &create,
            Workload::Start => &["start", id],
            Workload::State => &["state", id],
            Workload::Exec => &["exec", id, "/bin/true"],
            Workload::Kill => &["kill", id, "KILL"],
            _ => &["delete", id],
        };
        let before: &[&[&str]] = match self {
            Workload::Create => &[],
            Workload::Start | Workload::State => &[&create],
            Workload::Exec | Workload::Kill => &[&create, &["start", id]],
            _ => &[&create, &["start", id], &["kill", id, "KILL"]],
        };
        let turn = before.iter().try_for_each(|words| time(words).map(drop)).and_then(|()| {
            if self == Workload::Delete {
                wait_until_stopped(stage, contestant, id);
            }
            time(operation)
        });
        if self == Workload::Delete && turn.is_ok() {
            return turn;
        }
        let removed = time(&["delete", "--force", id]).map(drop);
        turn.and_then(|turn| removed.map(|()| turn))
    }
}

/// The command that runs a whole container.
fn run(stage: &Stage, contestant: &Contestant, id: &str, docker: bool) -> Command {
    let bundle = if docker { &stage.docker } else { &stage.spec };
    if contestant.floor {
        let mut command = Command::new(&contestant.program);
        if docker {
            command.arg("--docker").arg(bundle);
        }
        command.arg(bundle.join("rootfs")).arg(id).arg("/bin/true");
        return command;
    }
    runtime(stage, contestant, &["run", "--bundle", &bundle.to_string_lossy(), id])
}

fn runtime(stage: &Stage, contestant: &Contestant, words: &[&str]) -> Command {
    let mut command = Command::new(&contestant.program);
    command.arg("--root").arg(stage.state.join(&contestant.name)).args(words);
    command
}

/// A kill returns before the death. If that takes too long, the delete says so.
fn wait_until_stopped(stage: &Stage, contestant: &Contestant, id: &str) {
    let began = Instant::now();
    while began.elapsed() < HANG {
        thread::sleep(Duration::from_millis(10));
        let state = runtime(stage, contestant, &["state", id]).stderr(Stdio::null()).output();
        if state.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("\"stopped\"")) {
            return;
        }
    }
}

/// Runs many containers, so many at once, and gives the time divided by their number.
fn many(stage: &Stage, contestant: &Contestant, id: &str, at_once: usize) -> Result<Turn, String> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let began = Instant::now();
    thread::scope(|scope| {
        for worker in 0..at_once {
            let (next, failures) = (&next, &failures);
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= STARTED {
                        return;
                    }
                    match timed(&mut run(stage, contestant, &format!("{id}-{n}"), false), stage, worker) {
                        Ok(Turn::Took(_)) => {}
                        Ok(Turn::Hung) => failures.lock().unwrap().push(None),
                        Err(error) => failures.lock().unwrap().push(Some(error)),
                    }
                }
            });
        }
    });
    let took = began.elapsed();
    match failures.into_inner().unwrap().into_iter().next() {
        None => Ok(Turn::Took(took / STARTED as u32)),
        Some(None) => Ok(Turn::Hung),
        Some(Some(error)) => Err(error),
    }
}

/// Errors go to a file, that of this `slot`: a waiting container keeps them open, and a pipe would never end.
fn timed(command: &mut Command, stage: &Stage, slot: usize) -> Result<Turn, String> {
    let errors = stage.state.join(format!("errors-{slot}"));
    let file = File::create(&errors).map_err(|error| format!("create {}: {error}", errors.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let pid = child.id();
    RUNNING.lock().unwrap().push((pid, began));
    let status = child.wait().map_err(|error| format!("{command:?}: {error}"))?;
    let took = began.elapsed();
    RUNNING.lock().unwrap().retain(|(running, _)| *running != pid);
    match status.code() {
        Some(0) => Ok(Turn::Took(took)),
        None if took >= HANG => Ok(Turn::Hung),
        _ => Err(format!("{command:?}: {status}: {}", read(&errors))),
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// Wakes every five seconds only, so that it disturbs nothing.
pub fn watch() {
    loop {
        thread::sleep(HANG / 2);
        let hanging: Vec<u32> =
            RUNNING.lock().unwrap().iter().filter(|(_, began)| began.elapsed() > HANG).map(|(pid, _)| *pid).collect();
        for pid in hanging {
            let killed = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            eprintln!("bench: pid {pid} hangs, killed: {killed:?}");
        }
    }
}
