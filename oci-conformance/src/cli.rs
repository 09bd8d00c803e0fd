//! The command line.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::expect::Expectations;
use crate::report::{self, Format};
use crate::runtime::Runtime;
use crate::suite::{Kind, Test};
use crate::verdict::Failure;
use crate::{areas, compare, coverage, runner, sys, work};

const HELP: &str = "\
usage: oci-conformance --runtime PATH [--filter TEXT] [--format summary|tap|junit] [--expect FILE] [--require] [--jobs N]
       oci-conformance --compare NAME=PATH[=EXPECT-FILE]…
       oci-conformance --list | --coverage | --clean

  --runtime PATH   the runtime under test
  --filter TEXT    only tests whose id contains TEXT; may be repeated
  --format WORD    how results are written to the standard output; summary is the default
  --expect FILE    known failures, a line each: `test id: reason`; an unexpected pass or failure fails the run
  --require        a test whose needs are not there fails
  --core           leave the extensions out
  --jobs N         how many tests run at once; the number of processors unless told
  --limit SECONDS  for one test; 25 unless told
  --list           the tests, with their clauses and needs
  --coverage       the requirements of the specification, and which have a test
  --clean          remove what runs left on the host that were killed by SIGKILL; other signals end a run cleanly
  --hide-cgroup2   the runtime refuses machines with cgroups of both versions: the second is hidden from it
  --systemd-cgroup the runtime gets this option too, and cgroup paths in the form that it needs then
  --compare …      runs the suite on several runtimes and writes a table in markdown; a name that ends in ! is one for --hide-cgroup2
";

/// What the arguments ask for.
#[derive(Debug, Default)]
pub struct Options {
    runtime: Option<PathBuf>,
    filters: Vec<String>,
    format: Format,
    expect: Option<PathBuf>,
    require: bool,
    hide_v2: bool,
    systemd: bool,
    core: bool,
    jobs: Option<usize>,
    limit: Option<u64>,
    list: bool,
    coverage: bool,
    clean: bool,
    compare: Vec<String>,
}

/// The runner's main.
pub fn main(args: &[String]) -> ExitCode {
    let done = parse(args).and_then(|options| perform(&options));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(failure) => {
            eprintln!("oci-conformance: {}", failure.0);
            ExitCode::from(sys::ending().and_then(|signal| u8::try_from(128 + signal).ok()).unwrap_or(2))
        }
    }
}

fn parse(args: &[String]) -> Result<Options, Failure> {
    let mut options = Options::default();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().cloned().ok_or_else(|| Failure(format!("{word} requires an argument")));
        match word.as_str() {
            "--runtime" => options.runtime = Some(find_program(&value()?)?),
            "--filter" => options.filters.push(value()?),
            "--format" => options.format = value()?.parse()?,
            "--expect" => options.expect = Some(value()?.into()),
            "--jobs" => options.jobs = Some(value()?.parse().map_err(|error| Failure(format!("--jobs: {error}")))?),
            "--limit" => options.limit = Some(value()?.parse().map_err(|error| Failure(format!("--limit: {error}")))?),
            "--compare" => options.compare.push(value()?),
            "--hide-cgroup2" => options.hide_v2 = true,
            "--systemd-cgroup" => options.systemd = true,
            "--require" => options.require = true,
            "--core" => options.core = true,
            "--list" => options.list = true,
            "--coverage" => options.coverage = true,
            "--clean" => options.clean = true,
            "-h" | "--help" => {
                show(HELP);
                std::process::exit(0);
            }
            other => return Err(Failure(format!("no option {other}; --help shows them"))),
        }
    }
    Ok(options)
}

/// A path with a slash as it is, anything else by the search path.
fn find_program(name: &str) -> Result<PathBuf, Failure> {
    if name.contains('/') {
        return std::fs::canonicalize(name).map_err(|error| Failure(format!("{name}: {error}")));
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path.split(':').map(|directory| PathBuf::from(directory).join(name)).find(|path| path.exists());
    found.ok_or_else(|| Failure(format!("{name}: not found")))
}

fn perform(options: &Options) -> Result<bool, Failure> {
    if options.clean {
        for pid in work::clean()? {
            println!("removed what run {pid} had left");
        }
        return Ok(true);
    }
    let tests = chosen(options)?;
    if options.list {
        show(&report::list(&tests));
        return Ok(true);
    }
    if options.coverage {
        coverage::check(&areas::all())?;
        show(&coverage::report(&areas::all()));
        return Ok(true);
    }
    let jobs = options.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(2, usize::from));
    if !options.compare.is_empty() {
        let runtimes = options.compare.iter().map(String::as_str).map(compared).collect::<Result<Vec<_>, _>>()?;
        return compare::print(&runtimes, &tests, jobs);
    }
    let path = options.runtime.clone().ok_or("which runtime? --runtime PATH; --help shows the rest")?;
    let expectations = expectations(options.expect.as_deref(), &areas::all())?;
    let runtime = Runtime {
        path,
        hide_v2: options.hide_v2,
        systemd: options.systemd,
        limit: options.limit.unwrap_or(runner::LIMIT),
    };
    let run = runner::run(&runtime, &tests, jobs, &progress)?;
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    let (text, good) = report::results(options.format, &run, &expectations, options.require);
    show(&text);
    Ok(good)
}

/// To the standard output. Who reads only the beginning has seen enough.
fn show(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn chosen(options: &Options) -> Result<Vec<Test>, Failure> {
    let tests: Vec<Test> = areas::all()
        .into_iter()
        .filter(|test| options.filters.is_empty() || options.filters.iter().any(|text| test.id.contains(text)))
        .filter(|test| !options.core || test.kind == Kind::Core)
        .collect();
    if tests.is_empty() { Err("no test is called so".into()) } else { Ok(tests) }
}

fn expectations(path: Option<&std::path::Path>, tests: &[Test]) -> Result<Expectations, Failure> {
    let known: Vec<&str> = tests.iter().map(|test| test.id).collect();
    path.map_or_else(|| Ok(Expectations::default()), |path| Expectations::read(path, &known))
}

fn compared(word: &str) -> Result<compare::Compared, Failure> {
    let mut parts = word.splitn(3, '=');
    let (Some(name), Some(path)) = (parts.next(), parts.next()) else {
        return Err(Failure(format!("--compare {word}: write NAME=PATH or NAME=PATH=EXPECT-FILE")));
    };
    let expectations = expectations(parts.next().map(std::path::Path::new), &areas::all())?;
    let runtime =
        Runtime { path: find_program(path)?, hide_v2: name.ends_with('!'), systemd: false, limit: runner::LIMIT };
    Ok(compare::Compared { name: name.trim_end_matches('!').to_owned(), runtime, expectations })
}

fn progress(test: &runner::Finished, done: usize, of: usize) {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K{done}/{of} {}", test.id);
    }
}
