//! Known failures of a runtime: `test id: reason`, a line each; `sometimes test id: reason` where it is a race.

use std::collections::BTreeMap;
use std::path::Path;

use crate::runner::{Finished, Outcome};
use crate::verdict::Failure;

/// Test ids and why they fail.
#[derive(Debug, Default)]
pub struct Expectations(BTreeMap<String, Known>);

#[derive(Debug)]
struct Known {
    reason: String,
    always: bool,
}

/// What a test's outcome means beside the expectation.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub enum Meaning {
    Passed,
    KnownFailure,
    UnexpectedFailure,
    UnexpectedPass,
    Missing,
}

impl Expectations {
    /// Reads a file; a test that does not exist, or a line without a reason, is an error.
    pub fn read(path: &Path, known: &[&str]) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(path).map_err(|error| Failure(format!("{}: {error}", path.display())))?;
        Self::parse(&path.display().to_string(), &text, known)
    }

    /// The same for the text of a file that is called `name`.
    pub fn parse(name: &str, text: &str, known: &[&str]) -> Result<Self, Failure> {
        let mut map = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (id, reason) = line.split_once(": ").ok_or_else(|| Failure(format!("{name}: no reason in: {line}")))?;
            let (id, always) = id.strip_prefix("sometimes ").map_or((id, true), |id| (id, false));
            if !known.contains(&id) {
                return Err(Failure(format!("{name}: no test is called {id}")));
            }
            if map.insert(id.to_owned(), Known { reason: reason.to_owned(), always }).is_some() {
                return Err(Failure(format!("{name}: {id} is there twice")));
            }
        }
        Ok(Self(map))
    }

    pub fn reason(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(|known| known.reason.as_str())
    }

    pub fn meaning(&self, test: &Finished) -> Meaning {
        match (&test.outcome, self.0.get(test.id)) {
            (Outcome::Passed, Some(Known { always: true, .. })) => Meaning::UnexpectedPass,
            (Outcome::Passed, _) => Meaning::Passed,
            (Outcome::Failed(_), Some(_)) => Meaning::KnownFailure,
            (Outcome::Failed(_), None) => Meaning::UnexpectedFailure,
            (Outcome::Missing(_), _) => Meaning::Missing,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn meaning(list: &str, outcome: Outcome) -> Meaning {
        let test = Finished { id: "a.b", core: true, outcome, time: Duration::ZERO };
        Expectations::parse("list", list, &["a.b"]).unwrap().meaning(&test)
    }

    #[test]
    fn meaning_of_each_outcome_beside_each_line() {
        let failed = || Outcome::Failed("why".into());
        assert_eq!(meaning("", Outcome::Passed), Meaning::Passed);
        assert_eq!(meaning("", failed()), Meaning::UnexpectedFailure);
        assert_eq!(meaning("a.b: reason", Outcome::Passed), Meaning::UnexpectedPass);
        assert_eq!(meaning("a.b: reason", failed()), Meaning::KnownFailure);
        assert_eq!(meaning("sometimes a.b: reason", Outcome::Passed), Meaning::Passed);
        assert_eq!(meaning("sometimes a.b: reason", failed()), Meaning::KnownFailure);
        assert_eq!(meaning("a.b: reason", Outcome::Missing("root".into())), Meaning::Missing);
    }

    #[test]
    fn line_without_a_reason_of_an_unknown_test_or_twice_is_refused() {
        for (list, word) in [("a.b", "no reason"), ("a.c: reason", "no test"), ("a.b: x\na.b: y", "twice")] {
            let error = Expectations::parse("list", list, &["a.b"]).unwrap_err();
            assert!(error.0.contains(word), "{}", error.0);
        }
    }
}
