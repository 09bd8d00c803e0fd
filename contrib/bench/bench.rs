//! bench --state DIR [--rounds N] [--idle MS] [--patience S] [--suffix TEXT] [--floor PROGRAM] [--tsv] [--svg FILE]
//!       [--record FILE] [--only WORKLOAD,…] --spec BUNDLE --docker BUNDLE --sleeper BUNDLE NAME=PROGRAM…
//!
//! Times runtimes side by side: in each round every one has its turn (A B C, A B C, …), so that a disturbance of the
//! machine meets all of them. Before each workload it waits for a quiet moment, for as long as its patience lasts, and
//! says which workloads had none. A turn of which any step takes more than ten seconds, one before or after the timed one
//! as well, is killed, counted and left out; a runtime that hangs before all rounds has none. Prints medians
//! and minima in milliseconds and the medians as ratios to the first column; with --tsv the medians alone, for
//! programs; with --svg it also draws the ratios, those of earlier invocations with the same record as well. DIR is for the runtimes' own. Only the standard library: compiled by rustc,
//! without cargo.

mod quiet;
mod report;
mod workload;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use report::{Figures, Row};
use workload::{Contestant, Halt, Stage, Workload};

struct Options {
    stage: Stage,
    rounds: usize,
    idle: Duration,
    patience: Duration,
    suffix: String,
    tsv: bool,
    svg: Option<PathBuf>,
    record: Option<PathBuf>,
    only: Vec<String>,
    contestants: Vec<Contestant>,
}

impl Options {
    fn add(&mut self, name: &str, program: &str, floor: bool) {
        let number = self.contestants.len();
        self.contestants.push(Contestant { name: name.into(), number, program: program.into(), floor });
    }
}

fn main() -> ExitCode {
    thread::spawn(workload::watch);
    match parse(std::env::args().skip(1)).and_then(|options| bench(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn bench(options: &Options) -> Result<(), String> {
    if !options.tsv {
        report::print_head(&options.contestants);
    }
    let mut patience = quiet::Patience::new(options.patience);
    let mut rows = options.record.as_deref().map_or(Ok(Vec::new()), recorded)?;
    for workload in Workload::ALL {
        if options.only.is_empty() || options.only.iter().any(|word| word == workload.word()) {
            let was_quiet = patience.wait();
            let title = format!("{}{}", workload.title(), options.suffix);
            let figures = measure(options, workload)?.iter().map(|turns| Figures::of(turns)).collect();
            let row = Row { title, was_quiet, figures };
            if options.tsv {
                println!("{}", row.line(2));
            } else {
                report::print_row(&row);
            }
            rows.push(row);
        }
    }
    if let Some(path) = &options.record {
        write(path, &rows.iter().map(|row| row.line(6) + "\n").collect::<String>())?;
    }
    match &options.svg {
        Some(path) => write(path, &report::plot(&options.contestants, &rows)),
        None => Ok(()),
    }
}

/// The rows of earlier invocations.
fn recorded(record: &Path) -> Result<Vec<Row>, String> {
    let text = match std::fs::read_to_string(record) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        text => text.map_err(|error| format!("read {}: {error}", record.display()))?,
    };
    let parse = |line| Row::parse(line).ok_or_else(|| format!("{}: no row: {line}", record.display()));
    text.lines().map(parse).collect()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("write {}: {error}", path.display()))
}

/// The turns of every contestant, in its order: their times, or none for one that hung. A contestant that does not take
/// part has no turns.
fn measure(options: &Options, workload: Workload) -> Result<Vec<Vec<Option<Duration>>>, String> {
    let (stage, contestants) = (&options.stage, &options.contestants);
    let mut turns: Vec<Vec<Option<Duration>>> = contestants.iter().map(|_| Vec::new()).collect();
    let mut ready = Vec::new();
    for (contestant, turns) in contestants.iter().zip(&mut turns) {
        if contestant.floor && !workload.has_floor() {
            continue;
        }
        match unless_hung(workload, contestant, workload.prepare(stage, contestant))? {
            Some(()) => ready.push((contestant, turns)),
            None => turns.push(None),
        }
    }
    for round in 0..=workload.rounds(options.rounds) {
        for (contestant, turns) in &mut ready {
            if workload == Workload::RunAfterIdleness {
                thread::sleep(options.idle);
            }
            let turn = unless_hung(workload, contestant, workload.take_turn(stage, contestant, round))?;
            // The first round warms the caches.
            if round > 0 || turn.is_none() {
                turns.push(turn);
            }
        }
    }
    for (contestant, turns) in ready {
        if unless_hung(workload, contestant, workload.clean_up(stage, contestant))?.is_none() {
            turns.push(None);
        }
    }
    Ok(turns)
}

/// A failure ends the benchmark; a hang is a figure.
fn unless_hung<T>(workload: Workload, contestant: &Contestant, result: Result<T, Halt>) -> Result<Option<T>, String> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Halt::Hung) => Ok(None),
        Err(Halt::Failed(error)) => Err(format!("{}: {}: {error}", workload.title(), contestant.name)),
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Options, String> {
    let usage = "see the head of bench.rs for its arguments";
    let mut options = Options {
        stage: Stage::default(),
        rounds: 50,
        idle: Duration::from_millis(120),
        patience: Duration::from_secs(60),
        suffix: String::new(),
        tsv: false,
        svg: None,
        record: None,
        only: Vec::new(),
        contestants: Vec::new(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--tsv" => options.tsv = true,
            "--svg" => options.svg = Some(value()?.into()),
            "--record" => options.record = Some(value()?.into()),
            "--suffix" => options.suffix = value()?,
            "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
            "--rounds" => options.rounds = number(&value()?)?,
            "--idle" => options.idle = Duration::from_millis(number(&value()?)?),
            "--patience" => options.patience = Duration::from_secs(number(&value()?)?),
            "--state" => options.stage.state = value()?.into(),
            "--spec" => options.stage.spec = value()?.into(),
            "--docker" => options.stage.docker = value()?.into(),
            "--sleeper" => options.stage.sleeper = value()?.into(),
            "--floor" => options.add("floor", &value()?, true),
            _ => {
                let (name, path) = word.split_once('=').ok_or(usage)?;
                options.add(name, path, false);
            }
        }
    }
    let unknown = |word: &&String| !Workload::ALL.iter().any(|workload| workload.word() == *word);
    match options.only.iter().find(unknown) {
        Some(word) => Err(format!("--only: no workload is called {word}")),
        None if options.contestants.is_empty() => Err(usage.into()),
        None => Ok(options),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_: T::Err| format!("'{text}' is no number"))
}

#[cfg(test)]
mod tests;
