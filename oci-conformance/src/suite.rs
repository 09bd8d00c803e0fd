//! What a test is, and what it says.

use crate::lab::Lab;
use crate::needs::Need;

/// One test: drives the runtime and judges.
#[derive(Clone, Copy)]
pub struct Test {
    /// `area.condition_result`.
    pub id: &'static str,
    /// Ids of the requirements that it checks.
    pub clauses: &'static [&'static str],
    pub needs: &'static [Need],
    pub kind: Kind,
    pub run: fn(&Lab) -> Verdict,
}

/// Whether a test belongs to the specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// create, start, state, kill and delete alone.
    Core,
    /// What engines use beyond them.
    Extension,
}

/// Why a test fails.
#[derive(Debug)]
pub struct Failure(pub String);

/// What a test says.
pub type Verdict = Result<(), Failure>;

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Failure {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<nix::errno::Errno> for Failure {
    fn from(error: nix::errno::Errno) -> Self {
        Self(error.to_string())
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self(format!("JSON: {error}"))
    }
}

/// A test of the core.
pub const fn core(id: &'static str, clauses: &'static [&'static str], run: fn(&Lab) -> Verdict) -> Test {
    Test { id, clauses, needs: &[Need::Root], kind: Kind::Core, run }
}

/// A test of what lies beyond the specification.
pub const fn extension(id: &'static str, run: fn(&Lab) -> Verdict) -> Test {
    Test { id, clauses: &[], needs: &[Need::Root], kind: Kind::Extension, run }
}

impl Test {
    /// The same test with more needs, root among them.
    pub const fn needs(mut self, needs: &'static [Need]) -> Self {
        self.needs = needs;
        self
    }

    /// The part of the id before the dot.
    pub fn area(&self) -> &'static str {
        self.id.split('.').next().unwrap_or(self.id)
    }
}

/// Fails with the text unless the condition holds.
pub fn ensure(condition: bool, text: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(Failure(text())) }
}

/// Fails unless both are equal; `what` names the fact.
pub fn equal<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(what: &str, found: A, wanted: B) -> Verdict {
    ensure(found == wanted, || format!("{what}: found {found:?}, expected {wanted:?}"))
}
