//! The one error type: what was attempted, on what, where the configuration asked for it, and what the
//! kernel answered.
//!
//! An [`Error`] renders as one line, operation first, cause last, in lower case and without a full stop:
//!
//! ```text
//! create web: mount proc at /proc: target is a symlink (config /mounts/0/destination): operation not permitted (EPERM); hint: …
//! ```
//!
//! The same structure crosses the sync socket between parent and init, so a failure inside the container
//! keeps its errno and its JSON pointer.

use std::borrow::Cow;
use std::fmt;

use nix::errno::Errno;

/// The result of everything that can fail in coracle.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What a caller can decide on. Everything else about an error is for people to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The configuration or an argument is malformed or contradicts itself.
    Config,
    /// The command line is wrong.
    Usage,
    /// There is no container with that id.
    NotFound,
    /// A container with that id exists already.
    Exists,
    /// The operation does not fit the container's status.
    Status,
    /// The program of the container was not found (an engine reports 127).
    ProgramNotFound,
    /// The program of the container cannot be executed (an engine reports 126).
    ProgramNotExecutable,
    /// The kernel or the host lacks what was asked for.
    Unsupported,
    /// A hook failed, timed out or could not be started.
    Hook,
    /// A system call failed for any other reason.
    System,
}

impl Kind {
    /// Every kind with its tag on the sync socket.
    pub(crate) const TAGS: [(Kind, u8); 10] = [
        (Kind::Config, 1),
        (Kind::Usage, 2),
        (Kind::NotFound, 3),
        (Kind::Exists, 4),
        (Kind::Status, 5),
        (Kind::ProgramNotFound, 6),
        (Kind::ProgramNotExecutable, 7),
        (Kind::Unsupported, 8),
        (Kind::Hook, 9),
        (Kind::System, 10),
    ];
}

/// One failure. Cheap to move: a single box.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Inner {
    pub(crate) kind: Kind,
    /// Outermost first: `["create web", "mount proc at /proc", "target is a symlink"]`.
    pub(crate) context: Vec<Cow<'static, str>>,
    pub(crate) pointer: Option<Cow<'static, str>>,
    pub(crate) errno: Option<Errno>,
    pub(crate) hint: Option<Cow<'static, str>>,
}

impl Error {
    /// An error of `kind` about `operation`, which names what was attempted and on what.
    pub fn new(kind: Kind, operation: impl Into<Cow<'static, str>>) -> Self {
        Error(Box::new(Inner { kind, context: vec![operation.into()], pointer: None, errno: None, hint: None }))
    }

    /// A configuration error at `pointer`, an RFC 6901 JSON pointer into config.json.
    pub fn config(pointer: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Error::new(Kind::Config, message).at(pointer)
    }

    /// A failed system call: `operation` names it with its arguments.
    pub fn sys(errno: Errno, operation: impl Into<Cow<'static, str>>) -> Self {
        Error::new(Kind::System, operation).errno(errno)
    }

    /// Puts what was being done in front.
    #[must_use]
    pub fn context(mut self, operation: impl Into<Cow<'static, str>>) -> Self {
        self.0.context.insert(0, operation.into());
        self
    }

    /// Names the place in config.json, unless a more exact one is named already.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<Cow<'static, str>>) -> Self {
        self.0.pointer.get_or_insert(pointer.into());
        self
    }

    /// Adds the kernel's answer.
    #[must_use]
    pub fn errno(mut self, errno: Errno) -> Self {
        self.0.errno = Some(errno);
        self
    }

    /// Says what the user can do about it. Only where the user can act on it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint.get_or_insert(hint.into());
        self
    }

    /// Adds a hint to what failed with `errno`, and to nothing else.
    #[must_use]
    pub(crate) fn hint_on(self, errno: Errno, hint: &'static str) -> Self {
        if self.raw_errno() == Some(errno as i32) { self.hint(hint) } else { self }
    }

    /// Changes the kind, where a caller knows better what a failure means.
    #[must_use]
    pub fn kind_of(mut self, kind: Kind) -> Self {
        self.0.kind = kind;
        self
    }

    /// What a caller can decide on.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The errno of the system call at the bottom (errno(3)), if there was one.
    pub fn raw_errno(&self) -> Option<i32> {
        self.0.errno.map(|e| e as i32)
    }

    /// The RFC 6901 JSON pointer into the configuration that caused it, if any did.
    pub fn pointer(&self) -> Option<&str> {
        self.0.pointer.as_deref()
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(crate) fn from_inner(inner: Inner) -> Self {
        Error(Box::new(inner))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        for (i, part) in inner.context.iter().enumerate() {
            let separator = if i == 0 { "" } else { ": " };
            write!(f, "{separator}{}", OneLine(part))?;
        }
        if let Some(pointer) = &inner.pointer {
            let pointer = if pointer.is_empty() { "/" } else { pointer };
            write!(f, " (config {})", OneLine(pointer))?;
        }
        if let Some(errno) = inner.errno {
            write!(f, ": {} ({errno:?})", Lower(errno.desc()))?;
        }
        if let Some(hint) = &inner.hint {
            write!(f, "; hint: {}", OneLine(hint))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.kind)
    }
}

impl std::error::Error for Error {}

/// Text on one line: what an image or a configuration brought along must not forge log lines or
/// move the terminal's cursor.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { fmt::Write::write_char(f, c)? }
        }
        Ok(())
    }
}

/// The kernel's text as engines match it: `permission denied`, not `Permission denied`.
struct Lower(&'static str);

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        if let Some(first) = chars.next() {
            write!(f, "{}", first.to_ascii_lowercase())?;
        }
        f.write_str(chars.as_str())
    }
}

/// Adds the operation to the failure of a system call or of a lower room.
pub(crate) trait Context<T> {
    /// Names what was attempted, with its arguments.
    fn context<S: Into<Cow<'static, str>>>(self, operation: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
    fn context<S: Into<Cow<'static, str>>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::sys(errno, operation()))
    }
}

impl<T> Context<T> for std::result::Result<T, rustix::io::Errno> {
    fn context<S: Into<Cow<'static, str>>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::sys(Errno::from_raw(errno.raw_os_error()), operation()))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context<S: Into<Cow<'static, str>>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(raw) => Error::sys(Errno::from_raw(raw), operation()),
            None => Error::new(Kind::System, error.to_string()).context(operation()),
        })
    }
}

impl<T> Context<T> for Result<T> {
    fn context<S: Into<Cow<'static, str>>>(self, operation: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.context(operation()))
    }
}

/// Something that did not stop the operation but that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// One line, in the form of an error's; ends in "ignoring" where something was ignored.
    pub message: String,
    /// The JSON pointer into config.json, if one caused it.
    pub pointer: Option<String>,
}

impl Warning {
    /// A warning about the configuration at `pointer`.
    pub fn config(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        Warning { message: message.into(), pointer: Some(pointer.into()) }
    }

    /// A failure that was ignored.
    pub fn ignored(error: &Error) -> Self {
        Warning { message: format!("{error}, ignoring"), pointer: None }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", OneLine(&self.message))?;
        match &self.pointer {
            Some(pointer) => write!(f, " (config {})", OneLine(pointer)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_full_error_is_one_line_with_every_part() {
        let error = Error::sys(Errno::EPERM, "target is a symlink")
            .context("mount proc at /proc")
            .at("/mounts/0/destination")
            .hint("use a directory")
            .context("create web");
        assert_eq!(
            error.to_string(),
            "create web: mount proc at /proc: target is a symlink (config /mounts/0/destination): \
             operation not permitted (EPERM); hint: use a directory"
        );
    }

    #[test]
    fn display_control_characters_are_escaped() {
        assert_eq!(Error::new(Kind::Config, "bad id \"a\nb\u{1b}[2J\"").to_string(), "bad id \"a\\nb\\u{1b}[2J\"");
    }

    #[test]
    fn at_keeps_the_most_exact_pointer() {
        assert_eq!(Error::config("/process/args/0", "x").at("/process").pointer(), Some("/process/args/0"));
    }
}
