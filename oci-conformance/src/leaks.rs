//! What a test left on the host, found by its tag or as its orphans; and what a whole run left, found by comparison. Control
//! groups are the one kind found by the tag alone, which is in the id and in every path that a test asks for: others make
//! groups of their own meanwhile, and nothing tells whose those are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::lab::Lab;

/// How often removal is tried, with 10 ms between.
const ROUNDS: usize = 300;

/// What has been killed disappears within this time.
const PATIENCE: Duration = Duration::from_secs(2);

/// What every name begins with that the run of this process id makes on the host.
pub fn tag_of(pid: u32) -> String {
    format!("ocic-{pid:x}-")
}

/// Everything of the lab that is still there, one line each. The kernel gets a moment: killed processes disappear a
/// little later.
pub fn find_patiently(lab: &Lab) -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    loop {
        let left = find(lab);
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The same, without patience.
pub fn find(lab: &Lab) -> Vec<String> {
    let states = fs::read_dir(lab.state_directory()).into_iter().flatten().flatten();
    // Some runtimes keep a hidden folder of their own beside the containers: crun its compiled filters.
    let names = states
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(&lab.tag) || !name.starts_with('.'));
    let mut left: Vec<String> = names.map(|name| format!("state {name}")).collect();
    left.extend(mounts(&lab.tag).into_iter().map(|place| format!("mount {place}")));
    left.extend(cgroups(&lab.tag).into_iter().map(|path| format!("cgroup {}", path.display())));
    left.extend(processes(&lab.tag).into_iter().map(|(pid, line)| format!("process {pid} {line}")));
    left.extend(devices(&lab.tag).into_iter().map(|name| format!("network device {name}")));
    left
}

/// Removes what has the tag: of a test, or the beginning that all tests of a run share. A runtime that is still at work may
/// add to it, so this is repeated until nothing is found.
pub fn remove(tag: &str) {
    for _ in 0..ROUNDS {
        let (groups, processes) = (cgroups(tag), processes(tag));
        let (mounts, devices) = (mounts(tag), devices(tag));
        if groups.is_empty() && processes.is_empty() && mounts.is_empty() && devices.is_empty() {
            return;
        }
        for group in &groups {
            let _ = fs::write(group.join("freezer.state"), "THAWED");
            let _ = fs::write(group.join("cgroup.freeze"), "0");
        }
        for (pid, _) in processes {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        for place in mounts.into_iter().rev() {
            let _ = nix::mount::umount2(place.as_str(), nix::mount::MntFlags::MNT_DETACH);
        }
        for group in groups.into_iter().rev() {
            let _ = fs::remove_dir(&group);
        }
        for name in devices {
            let _ = std::process::Command::new("ip").args(["link", "delete", &name]).output();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Mount points in our mount namespace whose line has the tag.
fn mounts(tag: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let lines = table.lines().filter(|line| line.contains(tag));
    lines.filter_map(|line| line.split(' ').nth(4)).map(str::to_owned).collect()
}

/// Control groups with the tag in their path, parents before children. Container processes themselves may have died
/// long ago: an empty cgroup is a leak as well.
fn cgroups(tag: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), 7, &mut |path| {
        if path.to_string_lossy().contains(tag) && is_cgroup(path) {
            found.push(path.to_owned());
        }
    });
    found
}

/// Some runtimes make plain directories, with plain files in them, where a hierarchy has been hidden.
fn is_cgroup(path: &Path) -> bool {
    use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
    statfs(path).is_ok_and(|found| [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&found.filesystem_type()))
}

fn walk(directory: &Path, depth: usize, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        visit(&path);
        if depth > 0 {
            walk(&path, depth - 1, visit);
        }
    }
}

/// Living processes other than this one with the tag in their environment, arguments or cgroups.
fn processes(tag: &str) -> Vec<(i32, String)> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let read = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        let arguments = read("cmdline");
        if pid == own || arguments.split(|&byte| byte == 0).nth(1) == Some(b"one") {
            continue;
        }
        let tagged = [arguments.clone(), read("environ"), read("cgroup")]
            .iter()
            .any(|text| text.windows(tag.len()).any(|window| window == tag.as_bytes()));
        let stat = read("stat");
        let after = stat.iter().rposition(|&byte| byte == b')').map_or(0, |index| index + 2);
        if tagged && !matches!(stat.get(after), Some(b'Z' | b'X') | None) {
            found.push((pid, String::from_utf8_lossy(&arguments).replace('\0', " ")));
        }
    }
    found
}

/// Living processes that the kernel has given to the caller, a subreaper, since their parents ended, with no tag needed. The
/// dead are waited for, so nobody else may want to.
fn orphans() -> Vec<(i32, String)> {
    let own = std::process::id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // After the name, which may hold anything: the state, and the parent.
        let mut words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let (Some(state), Some(parent)) = (words.next(), words.next()) else { continue };
        if parent != own {
            continue;
        }
        if matches!(state, "Z" | "X") {
            // The first process of a pid namespace ends only when all that had entered it have been waited for.
            let _ = waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WNOHANG));
        } else {
            let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&arguments).replace('\0', " ")));
        }
    }
    found
}

/// The caller's children when it has started all that it will and waited for them, one line each, after the patience that
/// [`find_patiently`] has. They are killed.
pub fn take_orphans() -> Vec<String> {
    let end = Instant::now() + PATIENCE;
    let mut left = orphans();
    while !left.is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        left = orphans();
    }
    // Killed parents leave their children to us in turn.
    for _ in 0..ROUNDS {
        let list = orphans();
        if list.is_empty() {
            break;
        }
        for (pid, _) in list {
            let _ = nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    left.into_iter().map(|(pid, line)| format!("process {pid} {line}")).collect()
}

/// The network devices of a tag.
fn devices(tag: &str) -> Vec<String> {
    let beginning = device_beginning(tag);
    all_devices().into_iter().filter(|name| name.starts_with(&beginning)).collect()
}

/// The devices of our network namespace; /sys would show those of the one in which it was mounted.
fn all_devices() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    let names = table.lines().skip(2).filter_map(|line| line.split(':').next());
    names.map(|name| name.trim().to_owned()).collect()
}

/// Whether our network namespace has a device of this name.
pub fn device_exists(name: &str) -> bool {
    all_devices().iter().any(|other| other == name)
}

/// A name for a network device of this tag; the part has at most three letters.
pub fn device_name(tag: &str, part: &str) -> String {
    format!("{}_{part}", device_beginning(tag))
}

/// Names have at most 15 characters, so the tag itself would not fit.
fn device_beginning(tag: &str) -> String {
    let mut numbers = tag.rsplit('-');
    let (test, run) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
    format!("o{run}n{test}")
}

/// All mounts and network devices of the run's own namespaces, and the cgroups that carry the run's number.
pub fn survey() -> BTreeSet<String> {
    let tag = tag_of(std::process::id());
    let mut rows = mount_rows("/proc/self/mountinfo");
    rows.extend(cgroups(&tag).into_iter().map(|path| format!("cgroup {}", path.display())));
    rows.extend(all_devices().into_iter().map(|name| format!("network device {name}")));
    rows
}

/// The mounts of the mount namespace from which the run was started.
pub fn mounts_of_parent() -> BTreeSet<String> {
    mount_rows(&format!("/proc/{}/mountinfo", nix::unistd::getppid()))
}

/// Each mount's place; the second one at a place has its number, so that what hides another is seen.
fn mount_rows(table: &str) -> BTreeSet<String> {
    let table = fs::read_to_string(table).unwrap_or_default();
    let mut rows = BTreeSet::new();
    for place in table.lines().filter_map(|line| line.split(' ').nth(4)) {
        let row = (1..)
            .map(|number| if number == 1 { format!("mount {place}") } else { format!("mount {place} ({number})") });
        rows.extend(row.into_iter().find(|row| !rows.contains(row)));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::tag_of;

    #[test]
    fn device_name_of_the_longest_tag_fits() {
        // The kernel's highest pid, and IFNAMSIZ without the NUL.
        let tag = format!("{}{:03x}", tag_of(1 << 22), 0xfff);
        assert!(super::device_name(&tag, "abc").len() <= 15);
        assert!(super::device_name(&tag, "a").starts_with(&super::device_beginning(&tag_of(1 << 22))));
    }
}
