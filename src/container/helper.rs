//! For callers with threads: `create`, `run` and `exec` by running the `coracle` program, which has one.
//!
//! The program's standard streams are the caller's, because they are the container's; what went wrong comes
//! back as its log.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::Deserialize;

use super::{CgroupManager, CreateOptions, ExecOptions, RunOptions, Runtime};
use crate::bundle::Bundle;
use crate::error::{Context as _, Error, Kind, Result};

/// Runs `create`.
pub(super) fn create(
    program: &Path,
    runtime: &Runtime,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
) -> Result<()> {
    let mut call = Call::new(program, runtime, "create")?;
    call.create_options(bundle, options);
    call.command.arg(id);
    call.run().map(drop)
}

/// Runs `run`: the exit code of the program.
pub(super) fn run(
    program: &Path,
    runtime: &Runtime,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    run: &RunOptions,
) -> Result<i32> {
    let mut call = Call::new(program, runtime, "run")?;
    call.create_options(bundle, options);
    call.flag("--detach", run.detach);
    call.flag("--keep", run.keep);
    call.flag("--no-subreaper", run.no_subreaper);
    call.command.arg(id);
    call.run()
}

/// Runs `exec`: the exit code of the process.
pub(super) fn exec(program: &Path, runtime: &Runtime, id: &str, options: &ExecOptions) -> Result<i32> {
    let mut call = Call::new(program, runtime, "exec")?;
    call.value("--process", options.process_file.as_ref());
    call.value("--cwd", options.cwd.as_ref());
    call.value("--process-label", options.process_label.as_ref());
    call.value("--apparmor", options.apparmor.as_ref());
    call.value("--console-socket", options.console_socket.as_ref());
    call.value("--pidfd-socket", options.pidfd_socket.as_ref());
    call.value("--pid-file", options.pid_file.as_ref());
    call.value("--preserve-fds", Some(options.preserve_fds.to_string()));
    let user = options.user.map(|(uid, gid)| gid.map_or(uid.to_string(), |gid| format!("{uid}:{gid}")));
    call.value("--user", user);
    options.env.iter().for_each(|entry| call.value("--env", Some(entry)));
    options.additional_gids.iter().for_each(|gid| call.value("--additional-gids", Some(gid.to_string())));
    options.capabilities.iter().for_each(|name| call.value("--cap", Some(name)));
    options.cgroups.iter().for_each(|path| call.value("--cgroup", Some(path)));
    call.flag("--tty", options.tty);
    call.flag("--no-new-privs", options.no_new_privs);
    call.flag("--ignore-paused", options.ignore_paused);
    call.flag("--detach", options.detach);
    call.command.arg(id).args(&options.args);
    call.run()
}

/// One invocation.
struct Call {
    command: Command,
    log: File,
    program: PathBuf,
}

/// A line of the log.
#[derive(Deserialize)]
struct LogRecord {
    level: String,
    msg: String,
}

impl Call {
    fn new(program: &Path, runtime: &Runtime, subcommand: &str) -> Result<Call> {
        let log = memfd_create(c"coracle-log", MFdFlags::MFD_CLOEXEC).context(|| "make a log in memory")?;
        let mut command = Command::new(program);
        command.arg("--root").arg(&runtime.root);
        command.arg("--log").arg(format!("/proc/{}/fd/{}", std::process::id(), log.as_raw_fd()));
        command.args(["--log-format", "json", "--cgroup-manager"]);
        command.arg(match runtime.manager {
            CgroupManager::Cgroupfs => "cgroupfs",
            CgroupManager::Systemd => "systemd",
            CgroupManager::Disabled => "disabled",
        });
        if let Some(rootless) = runtime.rootless {
            command.arg(format!("--rootless={rootless}"));
        }
        command.arg(subcommand);
        Ok(Call { command, log: log.into(), program: program.to_owned() })
    }

    fn create_options(&mut self, bundle: &Bundle, options: &CreateOptions) {
        self.value("--bundle", Some(bundle.directory()));
        self.value("--console-socket", options.console_socket.as_ref());
        self.value("--pidfd-socket", options.pidfd_socket.as_ref());
        self.value("--pid-file", options.pid_file.as_ref());
        self.value("--preserve-fds", Some(options.preserve_fds.to_string()));
        self.flag("--no-pivot", options.no_pivot);
        self.flag("--no-new-keyring", options.no_new_keyring);
    }

    fn value(&mut self, name: &str, value: Option<impl AsRef<OsStr>>) {
        if let Some(value) = value {
            let mut argument = OsString::from(name);
            argument.push("=");
            argument.push(value);
            self.command.arg(argument);
        }
    }

    fn flag(&mut self, name: &str, set: bool) {
        if set {
            self.command.arg(name);
        }
    }

    fn run(mut self) -> Result<i32> {
        let status = self.command.status().context(|| format!("run {}", self.program.display()))?;
        match self.reported()? {
            Some(message) => Err(Error::new(kind_of(&message), message)),
            None => Ok(exit_code(status)),
        }
    }

    fn reported(&mut self) -> Result<Option<String>> {
        let mut text = String::new();
        self.log.rewind().and_then(|()| self.log.read_to_string(&mut text)).context(|| "read the log")?;
        let mut records = text.lines().filter_map(|line| serde_json::from_str::<LogRecord>(line).ok());
        Ok(records.rfind(|record| record.level == "error").map(|record| record.msg))
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

fn kind_of_program(message: &str) -> Kind {
    let missing = ["executable file not found", "no such file or directory"];
    if missing.iter().any(|text| message.contains(text)) { Kind::ProgramNotFound } else { Kind::ProgramNotExecutable }
}

/// The kinds that callers decide on, from the words that engines match.
fn kind_of(message: &str) -> Kind {
    [
        ("container does not exist", Kind::NotFound),
        ("container with given ID already exists", Kind::Exists),
        ("cannot exec in", Kind::Status),
        ("exec: ", kind_of_program(message)),
        ("(config ", Kind::Config),
    ]
    .into_iter()
    .find(|(text, _)| message.contains(text))
    .map_or(Kind::System, |(_, kind)| kind)
}
