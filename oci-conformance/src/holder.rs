//! Namespaces that exist before a container does: a process that holds them until its standard input ends.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};

use nix::sched::CloneFlags;

use crate::verdict::Failure;

/// `hold KIND…`: unshares, starts a child inside, prints its pid, waits for the end of the standard input.
pub fn main(args: &[String]) -> ExitCode {
    // The child inside: its standard input is its parent's, so it ends with it. It starts nothing.
    if args.is_empty() {
        let _ = std::io::stdin().read(&mut [0]);
        return ExitCode::SUCCESS;
    }
    let mut flags = CloneFlags::empty();
    let mut wait_for_maps = false;
    for kind in args {
        flags |= match kind.as_str() {
            "pid" => CloneFlags::CLONE_NEWPID,
            "network" => CloneFlags::CLONE_NEWNET,
            "mount" => CloneFlags::CLONE_NEWNS,
            "ipc" => CloneFlags::CLONE_NEWIPC,
            "uts" => CloneFlags::CLONE_NEWUTS,
            "cgroup" => CloneFlags::CLONE_NEWCGROUP,
            "user" => {
                wait_for_maps = true;
                CloneFlags::CLONE_NEWUSER
            }
            "time" => CloneFlags::from_bits_retain(0x80),
            _ => CloneFlags::empty(),
        };
    }
    if nix::sched::unshare(flags).is_err() {
        return ExitCode::from(1);
    }
    if wait_for_maps {
        println!("{}", std::process::id());
        let _ = std::io::stdin().read(&mut [0]);
    }
    let Ok(own) = std::env::current_exe() else { return ExitCode::from(2) };
    let child = Command::new(own).arg("hold").stdout(Stdio::null()).spawn();
    let Ok(mut child) = child else { return ExitCode::from(3) };
    println!("{}", child.id());
    let _ = std::io::stdout().flush();
    let _ = child.wait();
    ExitCode::SUCCESS
}

/// A holder, as a test sees it.
#[derive(Debug)]
pub struct Holder {
    outer: Child,
    /// On the host; its links in /proc are the namespaces.
    pub pid: u32,
}

impl Holder {
    /// New namespaces of these kinds.
    pub fn new(kinds: &[&str]) -> Result<Self, Failure> {
        let own = std::env::current_exe()?;
        let mut command = Command::new(own);
        // Not the container's, so not to be found by the container's tag.
        command.env_remove("OCI_CONFORMANCE_TAG");
        command.arg("hold").args(kinds).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut outer = command.spawn()?;
        let mut lines = BufReader::new(outer.stdout.take().ok_or("no pipe")?).lines();
        let mut number = || -> Result<u32, Failure> {
            let line = lines.next().ok_or("the holder of namespaces ended")??;
            line.parse().map_err(|error| Failure(format!("the holder said {line:?}: {error}")))
        };
        let mut pid = number()?;
        if kinds.contains(&"user") {
            std::fs::write(format!("/proc/{pid}/uid_map"), "0 100000 65536")?;
            std::fs::write(format!("/proc/{pid}/gid_map"), "0 100000 65536")?;
            outer.stdin.as_mut().ok_or("no pipe")?.write_all(b"\n")?;
            pid = number()?;
        }
        Ok(Self { outer, pid })
    }

    /// The file of one of its namespaces; `name` as in /proc/PID/ns.
    pub fn path(&self, name: &str) -> String {
        format!("/proc/{}/ns/{name}", self.pid)
    }

    /// What the link says.
    pub fn link(&self, name: &str) -> Result<String, Failure> {
        Ok(std::fs::read_link(self.path(name))?.to_string_lossy().into_owned())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.outer.stdin.take());
        if let Ok(pid) = i32::try_from(self.pid) {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.outer.wait();
    }
}
