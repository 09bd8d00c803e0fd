//! What a test says.

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

/// Fails with the text unless the condition holds.
pub fn ensure(condition: bool, text: impl FnOnce() -> String) -> Verdict {
    if condition { Ok(()) } else { Err(Failure(text())) }
}

/// Fails unless both are equal; `what` names the fact.
pub fn equal<A: PartialEq<B> + std::fmt::Debug, B: std::fmt::Debug>(what: &str, found: A, wanted: B) -> Verdict {
    ensure(found == wanted, || format!("{what}: found {found:?}, expected {wanted:?}"))
}
