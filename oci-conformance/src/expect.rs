//! Known failures of a runtime: `test id: reason`, a line each; `sometimes test id: reason` where it is a race.

use std::collections::BTreeMap;
use std::path::Path;

use crate::runner::{Finished, Outcome};
use crate::suite::Failure;

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
        let mut map = BTreeMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (id, reason) =
                line.split_once(": ").ok_or_else(|| Failure(format!("{}: no reason in: {line}", path.display())))?;
            let (id, always) = id.strip_prefix("sometimes ").map_or((id, true), |id| (id, false));
            if !known.contains(&id) {
                return Err(Failure(format!("{}: no test is called {id}", path.display())));
            }
            map.insert(id.to_owned(), Known { reason: reason.to_owned(), always });
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
