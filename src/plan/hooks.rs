//! Hooks (config.md#posix-platform-hooks), checked.

use std::ffi::CString;
use std::time::Duration;

use oci_spec::runtime as oci;

use super::text::{absolute, c_string, c_strings, path_text};
use crate::bundle::config;
use crate::error::{Error, Result};
use crate::pointer;

/// The six kinds, in the order in which they run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookKind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl HookKind {
    /// The word in config.json.
    pub const fn word(self) -> &'static str {
        match self {
            HookKind::Prestart => "prestart",
            HookKind::CreateRuntime => "createRuntime",
            HookKind::CreateContainer => "createContainer",
            HookKind::StartContainer => "startContainer",
            HookKind::Poststart => "poststart",
            HookKind::Poststop => "poststop",
        }
    }
}

/// One hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hook {
    pub kind: HookKind,
    /// Position in its list, for messages.
    pub index: usize,
    /// Absolute path of the program.
    pub path: CString,
    /// argv; just the path when the configuration gave none.
    pub args: Vec<CString>,
    /// envp, exactly as given; empty when absent.
    pub env: Vec<CString>,
    /// Time after which its process group is killed.
    pub timeout: Option<Duration>,
}

impl Hook {
    /// Its JSON pointer.
    pub fn pointer(&self) -> String {
        format!("/hooks/{}/{}", self.kind.word(), self.index)
    }
}

/// All hooks of a container, each list in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hooks {
    pub prestart: Vec<Hook>,
    pub create_runtime: Vec<Hook>,
    pub create_container: Vec<Hook>,
    pub start_container: Vec<Hook>,
    pub poststart: Vec<Hook>,
    pub poststop: Vec<Hook>,
}

impl Hooks {
    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        *self == Hooks::default()
    }

    /// Checks hooks: absolute paths, timeouts above zero. Whether a program exists is seen when it is run.
    pub fn new(config: Option<&config::Hooks>) -> Result<Hooks> {
        let Some(config) = config else { return Ok(Hooks::default()) };
        Ok(Hooks {
            prestart: list(HookKind::Prestart, &config.prestart)?,
            create_runtime: list(HookKind::CreateRuntime, &config.create_runtime)?,
            create_container: list(HookKind::CreateContainer, &config.create_container)?,
            start_container: list(HookKind::StartContainer, &config.start_container)?,
            poststart: list(HookKind::Poststart, &config.poststart)?,
            poststop: list(HookKind::Poststop, &config.poststop)?,
        })
    }
}

fn list(kind: HookKind, hooks: &[oci::Hook]) -> Result<Vec<Hook>> {
    hooks.iter().enumerate().map(|(index, hook)| one(kind, index, hook)).collect()
}

fn one(kind: HookKind, index: usize, hook: &oci::Hook) -> Result<Hook> {
    let at = |field: &str| format!("/hooks/{}/{index}/{field}", kind.word());
    let path = path_text(hook.path(), || at("path"))?;
    absolute(path, "hook", || at("path"))?;
    let path = c_string(path, || at("path"))?;
    let args = match hook.args().as_deref() {
        None | Some([]) => vec![path.clone()],
        Some(args) => c_strings(args, |i| pointer::index(&at("args"), i))?,
    };
    let env = c_strings(hook.env().as_deref().unwrap_or_default(), |i| pointer::index(&at("env"), i))?;
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds @ 1..) => Some(Duration::from_secs(seconds)),
            _ => return Err(Error::config(at("timeout"), format!("timeout of {seconds} s is not above zero"))),
        },
    };
    Ok(Hook { kind, index, path, args, env, timeout })
}
