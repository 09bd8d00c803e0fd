//! Runs hooks (config.md#posix-platform-hooks). The same for the runtime's namespace (prestart, createRuntime,
//! poststart, poststop; called by the parent side) and for the container's (createContainer, startContainer; called
//! by init).
//!
//! A hook gets the state as a file on standard input: of any size, and nothing is lost or waited for if the hook does
//! not read it. What it prints is kept in a bounded buffer for the error message, or appended to files. It is a
//! session of its own, so that its timeout ends everything it started and that it cannot stop on terminal output.

use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, OFlags};
use rustix::pipe::PipeFlags;
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus};

use crate::error::{Context, Error, Kind, Result};
use crate::plan::hooks::Hook;
use crate::sys;

/// How much of the end of a hook's output an error quotes, bytes.
const QUOTED: usize = 4096;

/// What the hooks of one container have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HookOptions<'a> {
    /// Their working directory; `None` keeps the caller's.
    pub directory: Option<BorrowedFd<'a>>,
    /// Standard output goes here (annotation `run.oci.hooks.stdout`); opened by the parent with [`open_log`], so that
    /// init looks up no path of the host's inside the container.
    pub stdout: Option<BorrowedFd<'a>>,
    /// Standard error goes here (annotation `run.oci.hooks.stderr`).
    pub stderr: Option<BorrowedFd<'a>>,
}

/// Opens the file at `path`, made when needed, to append what hooks print.
pub(crate) fn open_log(path: &Path) -> Result<OwnedFd> {
    File::options()
        .append(true)
        .create(true)
        .mode(0o644)
        .custom_flags(libc::O_NOCTTY)
        .open(path)
        .map(OwnedFd::from)
        .context(|| format!("open {} for the output of hooks", path.display()))
}

/// Runs `hooks` in order and stops at the first that fails.
pub(crate) fn run_all(hooks: &[Hook], state: &[u8], options: &HookOptions<'_>) -> Result<()> {
    hooks.iter().try_for_each(|hook| run(hook, state, options))
}

/// Runs one hook and waits for it; `state` is the state of the container as JSON. Errors: [`Kind::Hook`] with the
/// hook's JSON pointer: it could not be started, exited with another code than 0, was killed, or ran into its timeout.
pub(crate) fn run(hook: &Hook, state: &[u8], options: &HookOptions<'_>) -> Result<()> {
    start(hook, state, options)
        .and_then(|running| running.finish(hook.timeout))
        .context(|| format!("{} hook {}", hook.kind.word(), hook.path.to_string_lossy()))
        .map_err(|error| error.kind_of(Kind::Hook).at(hook.pointer()))
}

fn start(hook: &Hook, state: &[u8], options: &HookOptions<'_>) -> Result<Running> {
    let input = state_file(state).context(|| "hand over the state")?;
    let (output, printed) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(|| "make a pipe")?;
    rustix::fs::fcntl_setfl(&output, OFlags::RDONLY | OFlags::NONBLOCK).context(|| "make a pipe")?;
    let pid = sys::process::spawn(&sys::process::Command {
        path: &hook.path,
        args: &hook.args,
        env: &hook.env,
        stdio: [input.as_fd(), options.stdout.unwrap_or(printed.as_fd()), options.stderr.unwrap_or(printed.as_fd())],
        directory: options.directory,
    })
    .context(|| "execute it")?;
    Ok(Running { leader: Leader { pid, reaped: false }, output, tail: Vec::new() })
}

/// The state as a file of memory, at its beginning. Each hook gets its own, since it may write to it.
fn state_file(state: &[u8]) -> std::io::Result<File> {
    let name = "state.json";
    let file = match rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3, where such a file cannot be declared not executable.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC),
        result => result,
    };
    let mut file = File::from(file?);
    file.write_all(state)?;
    file.rewind()?;
    Ok(file)
}

/// A hook at work.
struct Running {
    leader: Leader,
    /// What it prints, unless that goes to files.
    output: OwnedFd,
    tail: Vec<u8>,
}

impl Running {
    fn finish(mut self, timeout: Option<Duration>) -> Result<()> {
        let pidfd = self.leader.open()?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let exited = self.wait_for_exit(&pidfd, deadline).context(|| "wait for it")?;
        if !exited {
            drop(self.leader);
            let timeout = timeout.unwrap_or_default();
            return Err(failure(format!("timeout of {} s reached, killed", timeout.as_secs_f64()), &self.tail));
        }
        let status = self.leader.reap(&pidfd)?;
        match (status.exit_status(), status.terminating_signal()) {
            (Some(0), _) => Ok(()),
            (Some(code), _) => Err(failure(format!("exit code {code}"), &self.tail)),
            (None, Some(signal)) => Err(failure(format!("killed by {}", signal_name(signal)), &self.tail)),
            (None, None) => Err(failure("ended in an unknown way".to_owned(), &self.tail)),
        }
    }

    /// Collects output until the leader has exited (true) or the deadline is over (false). Output that a process in
    /// the background prints later is not waited for.
    fn wait_for_exit(&mut self, pidfd: &OwnedFd, deadline: Option<Instant>) -> Result<bool, Errno> {
        let mut is_open = true;
        loop {
            let mut fds =
                [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN), PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
            let watched = if is_open { &mut fds[..] } else { &mut fds[..1] };
            match poll(watched, remaining(deadline)) {
                Ok(0) if deadline.is_some_and(|deadline| Instant::now() >= deadline) => return Ok(false),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            let exited = fds.first().and_then(PollFd::any).unwrap_or(false);
            is_open = is_open && self.collect();
            if exited {
                return Ok(true);
            }
        }
    }

    /// Reads what there is and keeps its end; false at end of file.
    fn collect(&mut self) -> bool {
        let mut buffer = [0_u8; QUOTED];
        loop {
            match rustix::io::read(&self.output, &mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.tail.extend(buffer.iter().take(count));
                    let excess = self.tail.len().saturating_sub(QUOTED);
                    self.tail.drain(..excess);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_nothing_now) => return true,
            }
        }
    }
}

/// The hook's first process. Dropped before it was reaped, it is killed with its whole group.
struct Leader {
    pid: Pid,
    reaped: bool,
}

impl Leader {
    fn open(&self) -> Result<OwnedFd> {
        sys::fd::pidfd_open(self.pid.as_raw()).context(|| format!("open process {}", self.pid))
    }

    fn reap(mut self, pidfd: &OwnedFd) -> Result<WaitIdStatus> {
        let status = rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
        self.reaped = true;
        match status {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err(Error::new(Kind::Hook, "it has no exit status")),
            Err(errno) => Err(errno).context(|| "wait for it"),
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.reaped {
            // ESRCH cannot be: until it is reaped the leader is in its group.
            let _ = killpg(self.pid, Signal::SIGKILL);
            while nix::sys::wait::waitpid(self.pid, None) == Err(Errno::EINTR) {}
        }
    }
}

fn remaining(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    // One more, since poll counts whole milliseconds.
    let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}

fn signal_name(signal: i32) -> String {
    Signal::try_from(signal).map_or_else(|_real_time| format!("signal {signal}"), |signal| signal.to_string())
}

fn failure(what: String, output: &[u8]) -> Error {
    let output = String::from_utf8_lossy(output);
    let output = output.trim();
    let message = if output.is_empty() { what } else { format!("{what}, output: {output}") };
    Error::new(Kind::Hook, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::hooks::HookKind;
    use std::ffi::CString;

    fn shell(script: &str) -> Hook {
        Hook {
            kind: HookKind::Prestart,
            index: 0,
            path: c"/bin/sh".to_owned(),
            args: vec![c"hook".to_owned(), c"-c".to_owned(), CString::new(script).unwrap()],
            env: Vec::new(),
            timeout: None,
        }
    }

    fn run_with(hook: &Hook, state: &[u8]) -> Result<()> {
        run(hook, state, &HookOptions::default())
    }

    #[test]
    fn run_large_state_is_on_standard_input() {
        let state = vec![b'x'; 300_000];
        assert_eq!(run_with(&shell("test $(wc -c) = 300000"), &state), Ok(()));
        assert_eq!(run_with(&shell("test \"$(cat /dev/stdin)\" = '{}'"), b"{}"), Ok(()));
    }

    #[test]
    fn run_hook_that_does_not_read_its_input_succeeds() {
        assert_eq!(run_with(&shell("exec 0<&-; exit 0"), &vec![b'x'; 1 << 20]), Ok(()));
    }

    #[test]
    fn run_failure_names_hook_code_output_and_pointer() {
        let error = run_with(&shell("echo out; echo broken >&2; exit 3"), b"").unwrap_err();
        assert_eq!(error.kind(), Kind::Hook);
        assert_eq!(
            error.to_string(),
            "prestart hook /bin/sh: exit code 3, output: out\\nbroken (config /hooks/prestart/0)"
        );
    }

    #[test]
    fn run_death_by_signal_is_named() {
        let error = run_with(&shell("kill -SEGV $$"), b"").unwrap_err();
        assert!(error.to_string().contains("killed by SIGSEGV"), "{error}");
    }

    #[test]
    fn run_missing_program_fails_with_errno() {
        let hook = Hook { path: c"/nonexistent/hook".to_owned(), ..shell("") };
        let error = run_with(&hook, b"").unwrap_err();
        assert_eq!((error.kind(), error.raw_errno()), (Kind::Hook, Some(Errno::ENOENT as i32)));
    }

    #[test]
    fn run_timeout_kills_the_whole_group_at_once() {
        let file = std::env::temp_dir().join(format!("coracle-hook-timeout-{}", std::process::id()));
        let script = format!("sleep 60 & echo $! > {}; wait", file.display());
        let hook = Hook { timeout: Some(Duration::from_millis(300)), ..shell(&script) };
        let start = Instant::now();
        let error = run_with(&hook, b"").unwrap_err();
        let elapsed = start.elapsed();
        let child = std::fs::read_to_string(&file).unwrap();
        let _ = std::fs::remove_file(&file);
        assert!(error.to_string().contains("timeout of 0.3 s"), "{error}");
        assert!(elapsed >= Duration::from_millis(300) && elapsed < Duration::from_secs(20), "{elapsed:?}");
        // A kill takes effect when the process runs next.
        let is_alive = || {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z ")
        };
        while is_alive() {
            assert!(start.elapsed() < Duration::from_secs(20), "the hook's child is alive");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn run_background_process_that_keeps_the_output_is_not_waited_for() {
        let start = Instant::now();
        assert_eq!(run_with(&shell("sleep 5 & exit 0"), b""), Ok(()));
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[test]
    fn run_closed_output_does_not_end_the_wait() {
        assert!(run_with(&shell("exec >&- 2>&-; sleep 0.2; exit 4"), b"").is_err());
    }

    #[test]
    fn run_long_output_is_quoted_from_its_end() {
        let error = run_with(&shell("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 1"), b"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("line 19999") && !error.contains("line 1\\n") && error.len() < 6000, "{error}");
    }

    #[test]
    fn run_environment_is_exactly_as_given() {
        let dump = |env: Vec<CString>| {
            let file = std::env::temp_dir().join(format!("coracle-hook-env-{}-{}", std::process::id(), env.len()));
            let hook = Hook { env, ..shell("exec cat /proc/self/environ") };
            let log = open_log(&file).unwrap();
            let options = HookOptions { stdout: Some(log.as_fd()), ..HookOptions::default() };
            run(&hook, b"", &options).unwrap();
            let text = std::fs::read_to_string(&file).unwrap();
            let _ = std::fs::remove_file(&file);
            text
        };
        let env = vec![c"B=1".to_owned(), c"A=2".to_owned(), c"PWD=/x".to_owned()];
        let text = dump(env);
        assert!(text.contains("B=1\0") && text.contains("A=2\0"), "{text:?}");
        assert!(!text.contains("HOME=") && !text.contains("PATH="), "{text:?}");
    }

    #[test]
    fn run_hook_leads_its_session_in_the_given_directory_without_other_descriptors() {
        let directory = File::open("/usr").unwrap();
        let options = HookOptions { directory: Some(directory.as_fd()), ..HookOptions::default() };
        let script = "set -- $(cat /proc/$$/stat); test $6 = $$ && test \"$(pwd -P)\" = /usr && \
                      for fd in /proc/$$/fd/*; do case $fd,$(readlink $fd) in */[012],*) ;; *,*memfd*|*,/usr) exit 1;; \
                      esac; done";
        assert_eq!(run(&shell(script), b"", &options), Ok(()));
    }

    #[test]
    fn run_all_stops_at_the_first_failure() {
        let marker = std::env::temp_dir().join(format!("coracle-hook-second-{}", std::process::id()));
        let hooks = [shell("exit 1"), Hook { index: 1, ..shell(&format!("touch {}", marker.display())) }];
        assert!(run_all(&hooks, b"", &HookOptions::default()).is_err());
        assert!(!marker.exists());
    }
}
