//! Hooks (config.md#posix-platform-hooks), checked.

use std::ffi::CString;
use std::time::Duration;

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
