//! Results as text: a summary, TAP or JUnit; and the list of tests.

use crate::expect::{Expectations, Meaning};
use crate::requirements;
use crate::runner::{Finished, Outcome, Run};
use crate::suite::{Failure, Kind, Test};

/// How results are written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    #[default]
    Summary,
    Tap,
    Junit,
}

impl std::str::FromStr for Format {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self, Failure> {
        match word {
            "summary" => Ok(Self::Summary),
            "tap" => Ok(Self::Tap),
            "junit" => Ok(Self::Junit),
            _ => Err(Failure(format!("--format {word}: one of summary, tap, junit"))),
        }
    }
}

/// Counts of one kind of test.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub missing: usize,
}

impl Counts {
    /// The tests of the core, or the extensions.
    pub fn of(run: &Run, core: bool) -> Self {
        let mut counts = Self::default();
        for test in run.tests.iter().filter(|test| test.core == core) {
            match test.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Missing(_) => counts.missing += 1,
            }
        }
        counts
    }
}

/// Whether a test fails the run.
fn counts_as_failure(meaning: Meaning, require: bool) -> bool {
    match meaning {
        Meaning::UnexpectedFailure | Meaning::UnexpectedPass => true,
        Meaning::Missing => require,
        Meaning::Passed | Meaning::KnownFailure => false,
    }
}

/// Writes the results; true when nothing unexpected happened.
pub fn print(format: Format, run: &Run, expectations: &Expectations, require: bool) -> bool {
    match format {
        Format::Summary => summary(run, expectations),
        Format::Tap => tap(run, expectations, require),
        Format::Junit => junit(run, expectations, require),
    }
    let bad = run.tests.iter().filter(|test| counts_as_failure(expectations.meaning(test), require)).count();
    let bad = bad + usize::from(!run.left.is_empty());
    if format == Format::Summary {
        println!("{} passed, {bad} failed", run.tests.len().saturating_sub(bad.min(run.tests.len())));
    }
    bad == 0
}

fn summary(run: &Run, expectations: &Expectations) {
    for test in &run.tests {
        match (expectations.meaning(test), &test.outcome) {
            (Meaning::UnexpectedFailure, Outcome::Failed(why)) => println!("FAIL     {}: {why}", test.id),
            (Meaning::UnexpectedPass, _) => println!("PASS?    {}: passes, but is listed as a failure", test.id),
            (Meaning::KnownFailure, Outcome::Failed(why)) => {
                println!("known    {}: {} ({why})", test.id, expectations.reason(test.id).unwrap_or_default());
            }
            (Meaning::Missing, Outcome::Missing(need)) => println!("missing  {}: needs {need}", test.id),
            _ => {}
        }
    }
    for row in &run.left {
        println!("FAIL     the run as a whole {row}");
    }
    for (name, core) in [("core", true), ("extensions", false)] {
        let Counts { passed, failed, missing } = Counts::of(run, core);
        println!("{name}: {passed} pass, {failed} fail, {missing} lack a need");
    }
    println!("{:.1} s", run.time.as_secs_f64());
}

fn tap(run: &Run, expectations: &Expectations, require: bool) {
    println!("TAP version 14\n1..{}", run.tests.len() + 1);
    for (number, test) in (1..).zip(&run.tests) {
        println!("{}", tap_line(number, test, expectations, require));
    }
    let word = if run.left.is_empty() { "ok" } else { "not ok" };
    println!("{word} {} - the host is as it was before", run.tests.len() + 1);
}

fn tap_line(number: usize, test: &Finished, expectations: &Expectations, require: bool) -> String {
    let meaning = expectations.meaning(test);
    let word = if matches!(meaning, Meaning::Passed | Meaning::UnexpectedPass) { "ok" } else { "not ok" };
    let mut line = format!("{word} {number} - {}", test.id);
    match (&test.outcome, meaning) {
        (Outcome::Missing(need), _) if require => line.push_str(&format!("\n# needs {need}")),
        (Outcome::Missing(need), _) => line = format!("ok {number} - {} # SKIP needs {need}", test.id),
        (Outcome::Failed(why), Meaning::KnownFailure) => {
            let reason = expectations.reason(test.id).unwrap_or_default();
            line.push_str(&format!(" # TODO {reason}\n# {}", why.replace('\n', "\n# ")));
        }
        (Outcome::Failed(why), _) => line.push_str(&format!("\n# {}", why.replace('\n', "\n# "))),
        (Outcome::Passed, Meaning::UnexpectedPass) => line.push_str(" # TODO listed as a failure"),
        (Outcome::Passed, _) => {}
    }
    line
}

fn junit(run: &Run, expectations: &Expectations, require: bool) {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    let failures = run.tests.iter().filter(|test| counts_as_failure(expectations.meaning(test), require)).count();
    println!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
    println!("<testsuite name=\"oci-conformance\" tests=\"{}\" failures=\"{failures}\">", run.tests.len());
    for test in &run.tests {
        let (area, name) = test.id.split_once('.').unwrap_or(("", test.id));
        print!("<testcase classname=\"{area}\" name=\"{name}\" time=\"{:.3}\">", test.time.as_secs_f64());
        let meaning = expectations.meaning(test);
        match &test.outcome {
            _ if meaning == Meaning::UnexpectedPass => print!("<failure message=\"listed as a failure\"/>"),
            Outcome::Missing(need) if !require => print!("<skipped message=\"needs {}\"/>", escape(need)),
            Outcome::Missing(need) => print!("<failure message=\"needs {}\"/>", escape(need)),
            Outcome::Failed(_) if meaning == Meaning::KnownFailure => {
                print!("<skipped message=\"{}\"/>", escape(expectations.reason(test.id).unwrap_or_default()));
            }
            Outcome::Failed(why) => print!("<failure message=\"{}\"/>", escape(why)),
            Outcome::Passed => {}
        }
        println!("</testcase>");
    }
    println!("</testsuite>");
}

/// Every test with its clauses and needs.
pub fn list(tests: &[Test]) {
    for test in tests {
        let kind = if test.kind == Kind::Core { "" } else { " (extension)" };
        let needs: Vec<String> = test.needs.iter().map(|need| need.name()).collect();
        println!("{}{kind}; needs {}", test.id, needs.join(", "));
        for clause in test.clauses {
            if let Some(rule) = requirements::all().find(|rule| rule.id == *clause) {
                println!("    {} {}#{} {}: {}", rule.id, rule.file.name(), rule.anchor, rule.level.name(), rule.text);
            }
        }
    }
    println!("{} tests", tests.len());
}
