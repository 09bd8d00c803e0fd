//! What a test is.

use crate::lab::Lab;
use crate::needs::Need;
use crate::verdict::Verdict;

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
