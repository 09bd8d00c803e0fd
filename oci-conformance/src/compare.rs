//! Several runtimes side by side, as a table in markdown.

use std::collections::BTreeMap;

use crate::expect::{Expectations, Meaning};
use crate::report::Counts;
use crate::runner::{self, Outcome, Run};
use crate::runtime::Runtime;
use crate::suite::Test;
use crate::verdict::Failure;

/// A runtime that takes part.
#[derive(Debug)]
pub struct Compared {
    pub name: String,
    pub runtime: Runtime,
    pub expectations: Expectations,
}

/// Runs the suite on each and writes the table; true when nothing unexpected happened.
pub fn print(runtimes: &[Compared], tests: &[Test], jobs: usize) -> Result<bool, Failure> {
    let mut good = true;
    let mut runs = Vec::new();
    for one in runtimes {
        let run = runner::run(&one.runtime, tests, jobs, &|_, _, _| ())?;
        for test in &run.tests {
            let meaning = one.expectations.meaning(test);
            if matches!(meaning, Meaning::UnexpectedFailure | Meaning::UnexpectedPass) {
                good = false;
                eprintln!("{}: {meaning:?}: {} {:?}", one.name, test.id, test.outcome);
            }
        }
        for row in &run.left {
            good = false;
            eprintln!("{}: the run as a whole {row}", one.name);
        }
        runs.push(run);
    }
    table(runtimes, tests, &runs);
    Ok(good)
}

fn table(runtimes: &[Compared], tests: &[Test], runs: &[Run]) {
    let header: Vec<&str> = runtimes.iter().map(|one| one.name.as_str()).collect();
    println!("| area | {} |", header.join(" | "));
    println!("|---|{}", "---|".repeat(runs.len()));
    let mut areas: Vec<&str> = Vec::new();
    for test in tests {
        if !areas.contains(&test.area()) {
            areas.push(test.area());
        }
    }
    for area in areas {
        let cells: Vec<String> = runs.iter().map(|run| cell(run, area)).collect();
        println!("| {area} | {} |", cells.join(" | "));
    }
    for (name, core) in [("**core**", true), ("**extensions**", false)] {
        let cells: Vec<String> = runs.iter().map(|run| total(Counts::of(run, core))).collect();
        println!("| {name} | {} |", cells.join(" | "));
    }
}

fn cell(run: &Run, area: &str) -> String {
    let mut counts: BTreeMap<bool, usize> = BTreeMap::new();
    for test in run.tests.iter().filter(|test| test.id.split('.').next() == Some(area)) {
        match test.outcome {
            Outcome::Passed => *counts.entry(true).or_default() += 1,
            Outcome::Failed(_) => *counts.entry(false).or_default() += 1,
            Outcome::Missing(_) => {}
        }
    }
    let passed = counts.get(&true).copied().unwrap_or(0);
    let of = passed + counts.get(&false).copied().unwrap_or(0);
    if of == 0 { "–".into() } else { format!("{passed}/{of}") }
}

fn total(counts: Counts) -> String {
    let of = counts.passed + counts.failed;
    let percent = (counts.passed * 100).checked_div(of).unwrap_or(0);
    format!("{}/{of} ({percent} %)", counts.passed)
}
