//! bench BUNDLE STATE [--tsv] [--rounds N] [--idle MS] [--floor PATH] NAME=PATH…
//!
//! Times runtimes side by side: in each round every one has its turn (A B C, A B C, …), so that a disturbance of the
//! machine meets all of them. Medians and minima in milliseconds, and the medians as ratios to the first column. A turn
//! that takes more than ten seconds is killed, counted and left out. With --tsv the medians alone, for programs. BUNDLE has a program that ends at once; STATE is
//! a directory for the runtimes' own. Only the standard library: compiled by rustc, without cargo.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const HANG: Duration = Duration::from_secs(10);

/// Pid of the program whose turn it is, or 0. The watchdog kills one that it finds there twice.
static TURN: AtomicU32 = AtomicU32::new(0);

struct Options {
    bundle: PathBuf,
    state: PathBuf,
    rounds: usize,
    idle: Duration,
    tsv: bool,
    contestants: Vec<Contestant>,
}

struct Contestant {
    name: String,
    program: PathBuf,
    /// Does the kernel's work without being a runtime: takes part in `run` alone.
    floor: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Workload {
    Run,
    RunAfterIdleness,
    Create,
    Start,
    Exec,
    State,
    Kill,
    Delete,
}

impl Workload {
    const ALL: [Workload; 8] = [
        Workload::Run,
        Workload::RunAfterIdleness,
        Workload::Create,
        Workload::Start,
        Workload::Exec,
        Workload::State,
        Workload::Kill,
        Workload::Delete,
    ];

    fn title(self) -> &'static str {
        match self {
            Workload::Run => "run, back to back",
            Workload::RunAfterIdleness => "run, after idleness",
            Workload::Create => "create",
            Workload::Start => "start",
            Workload::Exec => "exec of true",
            Workload::State => "state",
            Workload::Kill => "kill",
            Workload::Delete => "delete",
        }
    }

    fn has_floor(self) -> bool {
        matches!(self, Workload::Run | Workload::RunAfterIdleness)
    }
}

/// What became of one turn.
enum Turn {
    Took(Duration),
    Hung,
}

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|options| bench(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    thread::spawn(watch);
    if !options.tsv {
        print_head(&options.contestants);
    }
    for workload in Workload::ALL {
        let row = measure(options, workload)?;
        if options.tsv { print_medians(workload, &row) } else { print_row(workload, &row) }
    }
    Ok(())
}

/// The turns of every contestant, in its order; none for one that does not take part.
fn measure(options: &Options, workload: Workload) -> Result<Vec<Vec<Turn>>, String> {
    let mut turns: Vec<Vec<Turn>> = options.contestants.iter().map(|_| Vec::new()).collect();
    for round in 0..=options.rounds {
        for (contestant, turns) in options.contestants.iter().zip(&mut turns) {
            if contestant.floor && !workload.has_floor() {
                continue;
            }
            if workload == Workload::RunAfterIdleness {
                thread::sleep(options.idle);
            }
            let turn = take_turn(options, contestant, workload, round)
                .map_err(|error| format!("{}: {}: {error}", workload.title(), contestant.name))?;
            // The first round warms the caches.
            if round > 0 {
                turns.push(turn);
            }
        }
    }
    Ok(turns)
}

/// One operation timed, with what must come before it and after it.
fn take_turn(options: &Options, contestant: &Contestant, workload: Workload, round: usize) -> Result<Turn, String> {
    let id = format!("bench-{}-{round}", std::process::id());
    if contestant.floor {
        let mut command = Command::new(&contestant.program);
        command.arg(options.bundle.join("rootfs")).arg(&id).arg("/bin/true");
        return timed(&mut command, &options.state);
    }
    let call = |words: &[&str]| runtime(options, contestant, words);
    let bundle = options.bundle.to_string_lossy();
    let sleeper = options.bundle.with_file_name("sleeper");
    let sleeper = sleeper.to_string_lossy();
    let create = ["create", "--bundle", &sleeper, &id];
    let time = |words: &[&str]| timed(&mut call(words), &options.state);
    let before = |words: &[&str]| time(words).map(|_| ());

    let turn = match workload {
        Workload::Run | Workload::RunAfterIdleness => return time(&["run", "--bundle", &bundle, &id]),
        Workload::Create => time(&create),
        Workload::Start => before(&create).and_then(|()| time(&["start", &id])),
        Workload::State => before(&create).and_then(|()| time(&["state", &id])),
        Workload::Exec => {
            before(&create).and_then(|()| before(&["start", &id])).and_then(|()| time(&["exec", &id, "/bin/true"]))
        }
        Workload::Kill => {
            before(&create).and_then(|()| before(&["start", &id])).and_then(|()| time(&["kill", &id, "KILL"]))
        }
        Workload::Delete => before(&create).and_then(|()| before(&["start", &id])).and_then(|()| {
            before(&["kill", &id, "KILL"])?;
            // A kill returns before the death.
            thread::sleep(Duration::from_millis(20));
            time(&["delete", &id])
        }),
    };
    if workload != Workload::Delete || turn.is_err() {
        let removed = time(&["delete", "--force", &id]).map(|_| ());
        return turn.and_then(|turn| removed.map(|()| turn));
    }
    turn
}

fn runtime(options: &Options, contestant: &Contestant, words: &[&str]) -> Command {
    let mut command = Command::new(&contestant.program);
    command.arg("--root").arg(options.state.join(&contestant.name)).args(words);
    command
}

/// Errors go to a file: a waiting container keeps them open, and a pipe would never end.
fn timed(command: &mut Command, state: &Path) -> Result<Turn, String> {
    let errors = state.join("errors");
    let file = File::create(&errors).map_err(|error| format!("create {}: {error}", errors.display()))?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    let began = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    TURN.store(child.id(), Ordering::SeqCst);
    let status = child.wait().map_err(|error| format!("{command:?}: {error}"))?;
    let took = began.elapsed();
    TURN.store(0, Ordering::SeqCst);
    match status.code() {
        Some(0) => Ok(Turn::Took(took)),
        None if took >= HANG => Ok(Turn::Hung),
        _ => Err(format!("{command:?}: {status}: {}", fs::read_to_string(&errors).unwrap_or_default().trim_end())),
    }
}

/// Wakes every ten seconds only, so that it disturbs nothing.
fn watch() {
    let mut last = 0;
    loop {
        thread::sleep(HANG);
        let turn = TURN.load(Ordering::SeqCst);
        if turn != 0 && turn == last {
            let killed = Command::new("kill").args(["-KILL", &turn.to_string()]).status();
            eprintln!("bench: pid {turn} hangs, killed: {killed:?}");
        }
        last = turn;
    }
}

fn print_head(contestants: &[Contestant]) {
    print!("{:<22}", "milliseconds");
    for contestant in contestants {
        print!("{:>26}", contestant.name);
    }
    println!("\n{:<22}{}", "", format!("{:>10}{:>9}{:>7}", "median", "least", "x").repeat(contestants.len()));
}

fn print_row(workload: Workload, row: &[Vec<Turn>]) {
    print!("{:<22}", workload.title());
    let mut reference = None;
    for turns in row {
        let times = sorted(turns);
        let hung = turns.len() - times.len();
        let (Some(least), Some(median)) = (times.first(), times.get(times.len() / 2)) else {
            print!("{:>26}", "–");
            continue;
        };
        let reference = *reference.get_or_insert(*median);
        print!("{median:>10.2}{least:>9.2}{:>7.2}", median / reference);
        if hung > 0 {
            print!(" ({hung} hung)");
        }
    }
    println!();
}

fn print_medians(workload: Workload, row: &[Vec<Turn>]) {
    print!("{}", workload.title());
    for turns in row {
        let times = sorted(turns);
        match times.get(times.len() / 2) {
            Some(median) => print!("\t{median:.1}"),
            None => print!("\t–"),
        }
    }
    println!();
}

/// In milliseconds, without the turns that hung.
fn sorted(turns: &[Turn]) -> Vec<f64> {
    let mut times: Vec<f64> = turns
        .iter()
        .filter_map(|turn| match turn {
            Turn::Took(took) => Some(took.as_secs_f64() * 1e3),
            Turn::Hung => None,
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let usage = "usage: bench BUNDLE STATE [--tsv] [--rounds N] [--idle MS] [--floor PATH] NAME=PATH…";
    let (Some(bundle), Some(state)) = (words.next(), words.next()) else { return Err(usage.into()) };
    let mut options = Options {
        bundle: bundle.into(),
        state: state.into(),
        rounds: 50,
        idle: Duration::from_millis(120),
        tsv: false,
        contestants: Vec::new(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--tsv" => options.tsv = true,
            "--rounds" => options.rounds = number(&value()?)?,
            "--idle" => options.idle = Duration::from_millis(number(&value()?)?),
            "--floor" => options.contestants.push(contestant("floor", Path::new(&value()?), true)),
            _ => {
                let (name, path) = word.split_once('=').ok_or(usage)?;
                options.contestants.push(contestant(name, Path::new(path), false));
            }
        }
    }
    if options.contestants.is_empty() { Err(usage.into()) } else { Ok(options) }
}

fn contestant(name: &str, program: &Path, floor: bool) -> Contestant {
    Contestant { name: name.into(), program: program.into(), floor }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_: T::Err| format!("'{text}' is no number"))
}
