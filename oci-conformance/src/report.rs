//! Results as text: a summary, TAP or JUnit; and the list of tests.

use crate::expect::{Expectations, Meaning};
use crate::requirements;
use crate::runner::{Finished, Outcome, Run};
use crate::suite::{Kind, Test};
use crate::verdict::Failure;

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

/// The results as text, and whether nothing unexpected happened.
pub fn results(format: Format, run: &Run, expectations: &Expectations, require: bool) -> (String, bool) {
    let bad = run.tests.iter().filter(|test| counts_as_failure(expectations.meaning(test), require)).count();
    let bad = bad + usize::from(!run.left.is_empty());
    let text = match format {
        Format::Summary => summary(run, expectations, require, bad),
        Format::Tap => tap(run, expectations, require),
        Format::Junit => junit(run, expectations, require),
    };
    (text, bad == 0)
}

fn summary(run: &Run, expectations: &Expectations, require: bool, bad: usize) -> String {
    let mut text = String::new();
    let mut line = |word: &str, rest: &str| text.push_str(&format!("{word:<8} {rest}\n"));
    for test in &run.tests {
        let id = test.id;
        match (expectations.meaning(test), &test.outcome) {
            (Meaning::UnexpectedFailure, Outcome::Failed(why)) => line("FAIL", &format!("{id}: {why}")),
            (Meaning::UnexpectedPass, _) => line("PASS?", &format!("{id}: passes, but is listed as a failure")),
            (Meaning::KnownFailure, Outcome::Failed(why)) => {
                line("known", &format!("{id}: {} ({why})", expectations.reason(id).unwrap_or_default()));
            }
            (Meaning::Missing, Outcome::Missing(need)) => {
                line(if require { "FAIL" } else { "missing" }, &format!("{id}: needs {need}"));
            }
            _ => {}
        }
    }
    run.left.iter().for_each(|row| line("FAIL", &format!("the run as a whole {row}")));
    for (name, core) in [("core", true), ("extensions", false)] {
        let Counts { passed, failed, missing } = Counts::of(run, core);
        text.push_str(&format!("{name}: {passed} pass, {failed} fail, {missing} lack a need\n"));
    }
    // The host as a whole counts as one more, so that its failure is one of them.
    let all = run.tests.len() + 1;
    text.push_str(&format!("{:.1} s\n{} passed, {bad} failed\n", run.time.as_secs_f64(), all.saturating_sub(bad)));
    text
}

/// The test that is added for what the run as a whole changed on the host.
const HOST: &str = "run.leaves_the_host_as_it_was";

fn tap(run: &Run, expectations: &Expectations, require: bool) -> String {
    let mut text = format!("TAP version 13\n1..{}\n", run.tests.len() + 1);
    for (number, test) in (1..).zip(&run.tests) {
        tap_line(&mut text, number, test, expectations, require);
    }
    let number = run.tests.len() + 1;
    if run.left.is_empty() {
        text.push_str(&format!("ok {number} - {HOST}\n"));
    } else {
        text.push_str(&format!("not ok {number} - {HOST}\n"));
        run.left.iter().for_each(|row| tap_comment(&mut text, row));
    }
    text
}

fn tap_line(text: &mut String, number: usize, test: &Finished, expectations: &Expectations, require: bool) {
    let id = test.id;
    let reason = || expectations.reason(id).unwrap_or_default().replace('#', "\\#");
    match (&test.outcome, expectations.meaning(test)) {
        (Outcome::Passed, Meaning::UnexpectedPass) => {
            text.push_str(&format!("not ok {number} - {id}\n"));
            tap_comment(text, "passes, but is listed as a failure");
        }
        (Outcome::Passed, _) => text.push_str(&format!("ok {number} - {id}\n")),
        (Outcome::Missing(need), _) if require => {
            text.push_str(&format!("not ok {number} - {id}\n"));
            tap_comment(text, &format!("needs {need}"));
        }
        (Outcome::Missing(need), _) => text.push_str(&format!("ok {number} - {id} # SKIP needs {need}\n")),
        (Outcome::Failed(why), Meaning::KnownFailure) => {
            text.push_str(&format!("not ok {number} - {id} # TODO {}\n", reason()));
            tap_comment(text, why);
        }
        (Outcome::Failed(why), _) => {
            text.push_str(&format!("not ok {number} - {id}\n"));
            tap_comment(text, why);
        }
    }
}

fn tap_comment(text: &mut String, comment: &str) {
    for line in comment.split(['\n', '\r']).filter(|line| !line.is_empty()) {
        text.push_str(&format!("# {line}\n"));
    }
}

fn junit(run: &Run, expectations: &Expectations, require: bool) -> String {
    let bad = run.tests.iter().filter(|test| counts_as_failure(expectations.meaning(test), require)).count();
    let skipped = run.tests.iter().filter(|test| {
        let meaning = expectations.meaning(test);
        meaning == Meaning::KnownFailure || meaning == Meaning::Missing && !require
    });
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str(&format!(
        "<testsuite name=\"oci-conformance\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\">\n",
        run.tests.len() + 1,
        bad + usize::from(!run.left.is_empty()),
        skipped.count(),
        run.time.as_secs_f64()
    ));
    for test in &run.tests {
        let inner = match (&test.outcome, expectations.meaning(test)) {
            (Outcome::Passed, Meaning::UnexpectedPass) => element("failure", "passes, but is listed as a failure"),
            (Outcome::Passed, _) => String::new(),
            (Outcome::Missing(need), _) if require => element("failure", &format!("needs {need}")),
            (Outcome::Missing(need), _) => element("skipped", &format!("needs {need}")),
            (Outcome::Failed(_), Meaning::KnownFailure) => {
                element("skipped", expectations.reason(test.id).unwrap_or_default())
            }
            (Outcome::Failed(why), _) => element("failure", why),
        };
        text.push_str(&case(test.id, test.time.as_secs_f64(), &inner));
    }
    let left: Vec<&str> = run.left.iter().map(String::as_str).collect();
    let inner = if left.is_empty() { String::new() } else { element("failure", &left.join("\n")) };
    text.push_str(&case(HOST, 0.0, &inner));
    text.push_str("</testsuite>\n");
    text
}

fn case(id: &str, seconds: f64, inner: &str) -> String {
    let (area, name) = id.split_once('.').unwrap_or(("", id));
    format!("<testcase classname=\"{area}\" name=\"{name}\" time=\"{seconds:.3}\">{inner}</testcase>\n")
}

fn element(name: &str, message: &str) -> String {
    format!("<{name} message=\"{}\"/>", escape(message))
}

/// For the value of an attribute. What XML 1.0 has no way to write becomes the replacement character.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\r' | '\t' => escaped.push_str(&format!("&#{};", u32::from(character))),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Every test with its clauses and needs.
pub fn list(tests: &[Test]) -> String {
    let mut text = String::new();
    for test in tests {
        let kind = if test.kind == Kind::Core { "" } else { " (extension)" };
        let needs: Vec<String> = test.needs.iter().map(|need| need.name()).collect();
        text.push_str(&format!("{}{kind}; needs {}\n", test.id, needs.join(", ")));
        for clause in test.clauses {
            if let Some(rule) = requirements::all().find(|rule| rule.id == *clause) {
                text.push_str(&format!("    {rule}\n"));
            }
        }
    }
    text.push_str(&format!("{} tests\n", tests.len()));
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KNOWN: &str = "a.known";
    const FIXED: &str = "a.fixed";

    /// A test of every outcome that there is.
    fn run() -> (Run, Expectations) {
        let test = |id, outcome| Finished { id, core: true, outcome, time: Duration::from_millis(1500) };
        let why = "found \"<a> & b\"\nnot ok 9 - \u{1b}[31m".to_owned();
        let tests = vec![
            test("a.passed", Outcome::Passed),
            test("a.failed", Outcome::Failed(why.clone())),
            test("a.missing", Outcome::Missing("root".into())),
            test(KNOWN, Outcome::Failed(why)),
            test(FIXED, Outcome::Passed),
        ];
        let left = ["left: mount /x".to_owned()].into();
        let expectations =
            Expectations::parse("list", "a.known: why # not\na.fixed: no more\n", &[KNOWN, FIXED]).unwrap();
        (Run { tests, left, time: Duration::from_secs(2) }, expectations)
    }

    #[test]
    fn tap_has_a_line_for_each_outcome() {
        let (run, expectations) = run();
        let expected = "TAP version 13\n1..6\nok 1 - a.passed\nnot ok 2 - a.failed\n# found \"<a> & b\"\n\
            # not ok 9 - \u{1b}[31m\nok 3 - a.missing # SKIP needs root\nnot ok 4 - a.known # TODO why \\# not\n\
            # found \"<a> & b\"\n# not ok 9 - \u{1b}[31m\nnot ok 5 - a.fixed\n# passes, but is listed as a failure\n\
            not ok 6 - run.leaves_the_host_as_it_was\n# left: mount /x\n";
        assert_eq!(tap(&run, &expectations, false), expected);
        assert!(tap(&run, &expectations, true).contains("not ok 3 - a.missing\n# needs root\n"));
    }

    #[test]
    fn junit_counts_fit_the_elements_and_messages_are_escaped() {
        let (run, expectations) = run();
        for (require, failures, skipped) in [(false, 3, 2), (true, 4, 1)] {
            let text = junit(&run, &expectations, require);
            assert!(text.contains(&format!("tests=\"6\" failures=\"{failures}\" errors=\"0\" skipped=\"{skipped}\"")));
            assert_eq!(text.matches("<testcase ").count(), 6);
            assert_eq!(text.matches("</testcase>").count(), 6);
            assert_eq!(text.matches("<failure ").count(), failures);
            assert_eq!(text.matches("<skipped ").count(), skipped);
            assert!(text.contains("message=\"found &quot;&lt;a&gt; &amp; b&quot;&#10;not ok 9 - \u{fffd}[31m\""));
        }
    }

    #[test]
    fn unexpected_and_required_outcomes_fail_the_run() {
        let (run, expectations) = run();
        let bad = |require| -> Vec<&str> {
            let tests = run.tests.iter();
            tests.filter(|test| counts_as_failure(expectations.meaning(test), require)).map(|test| test.id).collect()
        };
        assert_eq!(bad(false), ["a.failed", "a.fixed"]);
        assert_eq!(bad(true), ["a.failed", "a.missing", "a.fixed"]);
    }
}
