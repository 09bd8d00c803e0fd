//! linux.seccomp compiled to a classic BPF program.

/// A compiled filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {}
