//! What a test left on the host: found by its tag.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Lab;

/// Everything of the lab that is still there, one line each. Gives the kernel a moment: processes that were
/// killed disappear a little later.
pub fn find_patiently(lab: &Lab) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let left = find(lab);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Everything of the lab that is there at this moment.
pub fn find(lab: &Lab) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(lab.states().into_iter().map(|id| format!("state of {id}")));
    left.extend(mounts(&lab.tag).into_iter().map(|m| format!("mount at {m}")));
    left.extend(cgroups(&lab.tag).into_iter().map(|c| format!("cgroup {}", c.display())));
    left.extend(processes(&lab.tag).into_iter().map(|(pid, what)| format!("process {pid}: {what}")));
    left.extend(net_devices(lab).into_iter().map(|name| format!("network device {name}")));
    left
}

/// Removes what was found: the next test shall not suffer for this one.
pub fn remove(lab: &Lab) {
    for (pid, _) in processes(&lab.tag) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    for mount in mounts(&lab.tag).into_iter().rev() {
        let _ = nix::mount::umount2(mount.as_str(), nix::mount::MntFlags::MNT_DETACH);
    }
    // What is frozen does not die.
    for group in cgroups(&lab.tag) {
        let _ = fs::write(group.join("freezer.state"), "THAWED");
        let _ = fs::write(group.join("cgroup.freeze"), "0");
    }
    for group in cgroups(&lab.tag).into_iter().rev() {
        for _ in 0..100 {
            match fs::remove_dir(&group) {
                Err(e) if e.kind() == std::io::ErrorKind::ResourceBusy => std::thread::sleep(Duration::from_millis(10)),
                _ => break,
            }
        }
    }
    for name in net_devices(lab) {
        let _ = std::process::Command::new("ip").args(["link", "delete", &name]).status();
    }
}

/// Mount points in our mount namespace whose line in mountinfo has the tag.
pub fn mounts(tag: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let lines = table.lines().filter(|line| line.contains(tag));
    lines.filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

/// Control groups with the tag in their path, in every hierarchy, parents before children.
pub fn cgroups(tag: &str) -> Vec<PathBuf> {
    fn walk(directory: &Path, tag: &str, depth: usize, found: &mut Vec<PathBuf>) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        for entry in entries.flatten() {
            // A symlink (cpu,cpuacct) leads to a hierarchy that is seen under its own name.
            if !entry.file_type().is_ok_and(|t| t.is_dir()) {
                continue;
            }
            let path = entry.path();
            // Some runtimes make plain directories where a test has hidden a hierarchy.
            if path.as_os_str().to_str().is_some_and(|p| p.contains(tag)) && path.join("cgroup.procs").exists() {
                found.push(path.clone());
            }
            if depth > 0 {
                walk(&path, tag, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), tag, 7, &mut found);
    found
}

/// Living processes that have the tag in their environment, arguments or cgroups.
pub fn processes(tag: &str) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let mut hay = read("environ");
        hay.extend(read("cmdline"));
        hay.extend(read("cgroup"));
        let is_dead = || {
            let stat = read("stat");
            let after = stat.iter().rposition(|&b| b == b')').map_or(0, |i| i + 2);
            matches!(stat.get(after), Some(b'Z' | b'X') | None)
        };
        if contains(&hay, tag.as_bytes()) && !is_dead() {
            let line = read("cmdline").iter().map(|&b| if b == 0 { ' ' } else { char::from(b) }).collect();
            found.push((pid, line));
        }
    }
    found
}

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

fn net_devices(lab: &Lab) -> Vec<String> {
    let prefix = lab.net_prefix();
    let names = fs::read_dir("/sys/class/net").into_iter().flatten().flatten();
    names.filter_map(|e| e.file_name().into_string().ok()).filter(|n| n.starts_with(&prefix)).collect()
}

impl Lab {
    /// The beginning of the names of this lab's network devices, at most 13 of the 15 characters.
    pub fn net_prefix(&self) -> String {
        let number = self.tag.rsplit('-').next().unwrap_or("0x");
        format!("c{:x}n{number}", std::process::id() % 0x00ff_ffff)
    }
}
