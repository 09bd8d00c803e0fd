//! Known failures of a runtime: `test id: reason`, a line each.

use std::collections::BTreeMap;
use std::path::Path;

use crate::runner::{Finished, Outcome};
use crate::suite::Failure;

/// Test ids and why they fail.
#[derive(Debug, Default)]
pub struct Expectations(BTreeMap<String, String>);

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
        let mut map = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (id, reason) =
                line.split_once(": ").ok_or_else(|| Failure(format!("{}: no reason in: {line}", path.display())))?;
            if !known.contains(&id) {
                return Err(Failure(format!("{}: no test is called {id}", path.display())));
            }
            map.insert(id.to_owned(), reason.to_owned());
        }
        Ok(Self(map))
    }

    pub fn reason(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }

    pub fn meaning(&self, test: &Finished) -> Meaning {
        match (&test.outcome, self.reason(test.id).is_some()) {
            (Outcome::Passed, false) => Meaning::Passed,
            (Outcome::Passed, true) => Meaning::UnexpectedPass,
            (Outcome::Failed(_), true) => Meaning::KnownFailure,
            (Outcome::Failed(_), false) => Meaning::UnexpectedFailure,
            (Outcome::Missing(_), _) => Meaning::Missing,
        }
    }
}
