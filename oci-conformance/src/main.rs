//! oci-conformance: the OCI runtime specification as tests, for any runtime.
//!
//! The program plays three parts. As the *runner* it starts one process for every test, with a time limit, and
//! looks afterwards for what the test left behind. As the *test* it drives the runtime under test by its command line and
//! judges. As the *probe* it is copied into the container's root file system, where it prints facts as JSON; nothing is
//! judged there. It uses nothing of coracle: what it says of one runtime it can say of every other.
//!
//! Only `create`, `start`, `state`, `kill` and `delete` are needed for the core; whatever else command lines offer is
//! counted apart, as extensions.

mod areas;
mod ask;
mod cli;
mod compare;
mod config;
mod console;
mod container;
mod coverage;
mod expect;
mod holder;
mod lab;
mod leaks;
mod needs;
mod probe;
mod report;
mod requirements;
mod runner;
mod runtime;
mod suite;
mod sys;
mod verdict;
mod work;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let name = args.first().and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
    if !args.is_empty() {
        args.remove(0);
    }
    if name == "probe" {
        return probe::main(&args);
    }
    match args.first().map(String::as_str) {
        Some("probe") => probe::main(args.get(1..).unwrap_or_default()),
        Some("hold") => holder::main(args.get(1..).unwrap_or_default()),
        Some("one") => runner::one(args.get(1..).unwrap_or_default()),
        _ => cli::main(&args),
    }
}
