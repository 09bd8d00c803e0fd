//! What a caller can ask of an operation.

use std::ffi::OsString;
use std::path::PathBuf;

pub use crate::plan::resources::CgroupManager;

/// Options of `create`.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// AF_UNIX socket that gets the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// AF_UNIX socket that gets a pidfd of init.
    pub pidfd_socket: Option<PathBuf>,
    /// File that gets the pid of init, digits only, once the container is created.
    pub pid_file: Option<PathBuf>,
    /// Enter the root by MS_MOVE and chroot instead of pivot_root.
    pub no_pivot: bool,
    /// Keep the caller's session keyring.
    pub no_new_keyring: bool,
    /// Descriptors 3 to 2+n stay open in the container.
    pub preserve_fds: u32,
}

/// Options of `run` beyond those of `create`.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Return once the program runs.
    pub detach: bool,
    /// Keep the container (state and cgroup) after its exit.
    pub keep: bool,
    /// Do not become the reaper of the container's orphans.
    pub no_subreaper: bool,
}

/// Options of `exec`. With `process_file` the rest of the process section comes from that file; otherwise the
/// container's own process section is the base and the other fields override it.
#[derive(Clone, Debug, Default)]
pub struct ExecOptions {
    /// A file with a process section (config.md#process) as JSON.
    pub process_file: Option<PathBuf>,
    /// Program and arguments.
    pub args: Vec<OsString>,
    /// Working directory.
    pub cwd: Option<OsString>,
    /// `NAME=VALUE`, added to or replacing the container's.
    pub env: Vec<OsString>,
    /// A terminal.
    pub tty: bool,
    /// `(uid, gid)`; without a gid it is that of the container's process.
    pub user: Option<(u32, Option<u32>)>,
    /// Supplementary groups, added.
    pub additional_gids: Vec<u32>,
    /// SELinux label.
    pub process_label: Option<String>,
    /// AppArmor profile.
    pub apparmor: Option<String>,
    /// PR_SET_NO_NEW_PRIVS.
    pub no_new_privs: bool,
    /// Capabilities added to bounding, effective and permitted (and ambient where inheritable allows).
    pub capabilities: Vec<String>,
    /// Sub-cgroups: `PATH` or `CONTROLLER[,…]:PATH`, below the container's.
    pub cgroups: Vec<String>,
    /// Execute in a paused container too.
    pub ignore_paused: bool,
    /// Descriptors 3 to 2+n stay open in the process.
    pub preserve_fds: u32,
    /// AF_UNIX socket that gets the master of the terminal.
    pub console_socket: Option<PathBuf>,
    /// AF_UNIX socket that gets a pidfd of the process.
    pub pidfd_socket: Option<PathBuf>,
    /// File that gets the pid of the process.
    pub pid_file: Option<PathBuf>,
    /// Return once the program runs.
    pub detach: bool,
}

/// What `update` changes. What is not set stays as it is.
#[derive(Clone, Debug, Default)]
pub struct UpdateOptions {
    /// A section like linux.resources (config-linux.md#control-groups) as JSON; empty for none.
    pub resources: Vec<u8>,
    /// Lines for the L3 cache in the schemata of the container's class of service.
    pub l3_cache_schema: Option<String>,
    /// The line for memory bandwidth there; it starts with `MB:`.
    pub mem_bw_schema: Option<String>,
}
