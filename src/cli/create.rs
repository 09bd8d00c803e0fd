//! `create`: a container from a bundle, ready to start.

use std::path::PathBuf;

use clap::ArgMatches;
use coracle::{Bundle, CreateOptions, Result};

use super::definition::{given_id, given_number, given_path, id, number, switch, value};
use super::{Command, ExitCode, Globals, ID_ONLY};

pub(crate) const COMMAND: Command = Command {
    name: "create",
    about: "Create a container from a bundle; its program waits for start",
    example: "coracle create --bundle /srv/web --pid-file /run/web.pid web",
    enters_container: true,
    define: |command| define(command).arg(id()),
    run,
    ..ID_ONLY
};

fn run(globals: &Globals, matches: &ArgMatches) -> Result<ExitCode> {
    let runtime = globals.runtime()?;
    runtime.create(given_id(matches), bundle(matches)?, &options(matches))?;
    Ok(ExitCode::SUCCESS)
}

/// The flags that `create` and `run` share.
pub(crate) fn define(command: clap::Command) -> clap::Command {
    command.args([
        value("bundle", "DIR", "Directory with config.json [default: the current one]").short('b'),
        value("console-socket", "SOCKET", "AF_UNIX socket that gets the master of the terminal"),
        value("pidfd-socket", "SOCKET", "AF_UNIX socket that gets a pidfd of the first process"),
        value("pid-file", "FILE", "Write the process id of the first process to FILE"),
        switch("no-pivot", "Enter the root by a move mount, where pivot_root is impossible (a ramdisk)"),
        switch("no-new-keyring", "Keep the caller's session keyring"),
        number("preserve-fds", "Pass N more file descriptors, from 3 on"),
    ])
}

/// The bundle that was named.
pub(crate) fn bundle(matches: &ArgMatches) -> Result<Bundle> {
    Bundle::load(given_path(matches, "bundle").unwrap_or_else(|| PathBuf::from(".")))
}

/// What the shared flags say.
pub(crate) fn options(matches: &ArgMatches) -> CreateOptions {
    CreateOptions {
        console_socket: given_path(matches, "console-socket"),
        pidfd_socket: given_path(matches, "pidfd-socket"),
        pid_file: given_path(matches, "pid-file"),
        no_pivot: matches.get_flag("no-pivot"),
        no_new_keyring: matches.get_flag("no-new-keyring"),
        preserve_fds: given_number(matches, "preserve-fds"),
    }
}
