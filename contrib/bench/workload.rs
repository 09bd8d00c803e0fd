//! What is timed, and how one turn goes.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What takes longer hangs.
const HANG: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

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
    /// Stands for the name, which may be any text, in paths and ids.
    pub number: usize,
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

/// Why a step has no time: of the measured one, of those before it, and of those after it alike.
#[derive(Debug)]
pub enum Halt {
    Hung,
    Failed(String),
}

impl From<String> for Halt {
    fn from(error: String) -> Halt {
        Halt::Failed(error)
    }
}

pub type Step = Result<Duration, Halt>;

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

    /// What is made once before all rounds; nothing of it is left when that hangs.
    pub fn prepare(self, stage: &Stage, contestant: &Contestant) -> Result<(), Halt> {
        if self != Workload::List {
            return Ok(());
        }
        let bundle = stage.sleeper.to_string_lossy();
        for n in 0..LISTED {
            let id = self.id(contestant, n);
            if let Err(halt) = timed(&mut runtime(stage, contestant, &["create", "--bundle", &bundle, &id]), stage, n) {
                let _ = self.remove(stage, contestant, n + 1);
                return Err(halt);
            }
        }
        Ok(())
    }

    /// And removed after them.
    pub fn clean_up(self, stage: &Stage, contestant: &Contestant) -> Result<(), Halt> {
        if self == Workload::List { self.remove(stage, contestant, LISTED) } else { Ok(()) }
    }

    fn remove(self, stage: &Stage, contestant: &Contestant, listed: usize) -> Result<(), Halt> {
        (0..listed).try_for_each(|n| delete(stage, contestant, &self.id(contestant, n)).map(drop))
    }

    /// New for every turn, so that what one could not remove is in nobody's way: the name is that of the cgroup, too.
    fn id(self, contestant: &Contestant, n: usize) -> String {
        // By this name the script finds what a turn that was killed has left.
        let name = std::env::var("BENCH_NAME").unwrap_or_else(|_unset| format!("bench-{}", std::process::id()));
        format!("{name}-{}-{}-{n}", self.word(), contestant.number)
    }

    /// One operation timed, with what must come before it and after it.
    pub fn take_turn(self, stage: &Stage, contestant: &Contestant, round: usize) -> Step {
        let id = self.id(contestant, round);
        match self {
            Workload::Run | Workload::RunAfterIdleness => run(stage, contestant, &id, false, 0),
            Workload::RunDocker => run(stage, contestant, &id, true, 0),
            Workload::List => timed(&mut runtime(stage, contestant, &["list"]), stage, 0),
            Workload::One | Workload::Two | Workload::Eight => {
                many(stage, contestant, &id, self.at_once().unwrap_or(1))
            }
            _ => self.lifecycle(stage, contestant, &id),
        }
    }

    fn lifecycle(self, stage: &Stage, contestant: &Contestant, id: &str) -> Step {
        let turn = self.operation(stage, contestant, id);
        if self == Workload::Delete && turn.is_ok() {
            return turn;
        }
        let removed = delete(stage, contestant, id);
        // Where the turn came to nothing, there may have been nothing to remove.
        turn.and_then(|took| removed.map(|_| took))
    }

    fn operation(self, stage: &Stage, contestant: &Contestant, id: &str) -> Step {
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
        before.iter().try_for_each(|words| time(words).map(drop))?;
        if self == Workload::Delete {
            wait_until_stopped(stage, contestant, id)?;
        }
        time(operation)
    }
}

/// Runs a whole container.
fn run(stage: &Stage, contestant: &Contestant, id: &str, docker: bool, slot: usize) -> Step {
    let bundle = if docker { &stage.docker } else { &stage.spec };
    if contestant.floor {
        let mut command = Command::new(&contestant.program);
        if docker {
            command.arg("--docker").arg(bundle);
        }
        return timed(command.arg(bundle.join("rootfs")).arg(id).arg("/bin/true"), stage, slot);
    }
    let turn = timed(&mut runtime(stage, contestant, &["run", "--bundle", &bundle.to_string_lossy(), id]), stage, slot);
    if turn.is_err() {
        let _ = delete(stage, contestant, id);
    }
    turn
}

fn runtime(stage: &Stage, contestant: &Contestant, words: &[&str]) -> Command {
    let mut command = Command::new(&contestant.program);
    command.arg("--root").arg(stage.state.join(contestant.number.to_string())).args(words);
    command
}

fn delete(stage: &Stage, contestant: &Contestant, id: &str) -> Step {
    timed(&mut runtime(stage, contestant, &["delete", "--force", id]), stage, 0)
}

/// A kill returns before the death, for which a step has time.
fn wait_until_stopped(stage: &Stage, contestant: &Contestant, id: &str) -> Result<(), Halt> {
    let began = Instant::now();
    while began.elapsed() < HANG {
        thread::sleep(Duration::from_millis(10));
        let answer = scratch(stage, "state")?;
        match watched(runtime(stage, contestant, &["state", id]).stdout(answer), stage, 0) {
            Err(Halt::Hung) => return Err(Halt::Hung),
            Ok(_) if read(stage, "state").contains("\"stopped\"") => return Ok(()),
            _ => {}
        }
    }
    Err(Halt::Hung)
}

/// Runs many containers, so many at once, and gives the time divided by their number. After a failure no more begin.
fn many(stage: &Stage, contestant: &Contestant, id: &str, at_once: usize) -> Step {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let began = Instant::now();
    thread::scope(|scope| {
        for worker in 0..at_once {
            let (next, failures) = (&next, &failures);
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= STARTED || !failures.lock().unwrap().is_empty() {
                        return;
                    }
                    if let Err(halt) = run(stage, contestant, &format!("{id}-{n}"), false, worker) {
                        failures.lock().unwrap().push(halt);
                    }
                }
            });
        }
    });
    let took = began.elapsed();
    match failures.into_inner().unwrap().into_iter().next() {
        None => Ok(took / STARTED as u32),
        Some(halt) => Err(halt),
    }
}

fn timed(command: &mut Command, stage: &Stage, slot: usize) -> Step {
    watched(command.stdout(Stdio::null()), stage, slot)
}

/// Errors go to a file, that of this `slot`: a waiting container keeps them open, and a pipe would never end.
fn watched(command: &mut Command, stage: &Stage, slot: usize) -> Step {
    let errors = format!("errors-{slot}");
    command.stdin(Stdio::null()).stderr(scratch(stage, &errors)?);
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let pid = child.id();
    RUNNING.lock().unwrap().push((pid, began));
    let status = child.wait().map_err(|error| format!("{command:?}: {error}"))?;
    let took = began.elapsed();
    RUNNING.lock().unwrap().retain(|(running, _)| *running != pid);
    match status.code() {
        Some(0) => Ok(took),
        None if took >= HANG => Err(Halt::Hung),
        _ => Err(Halt::Failed(format!("{command:?}: {status}: {}", read(stage, &errors)))),
    }
}

/// An empty file beside the runtimes' directories.
fn scratch(stage: &Stage, name: &str) -> Result<File, String> {
    let path = stage.state.join(name);
    File::create(&path).map_err(|error| format!("create {}: {error}", path.display()))
}

fn read(stage: &Stage, name: &str) -> String {
    fs::read_to_string(stage.state.join(name)).unwrap_or_default().trim_end().to_owned()
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
