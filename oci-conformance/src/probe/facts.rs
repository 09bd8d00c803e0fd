//! What a process can find out about itself and its surroundings.

use std::fs;
use std::os::fd::BorrowedFd;

use nix::sys::resource::{Resource, getrlimit};
use serde_json::{Map, Value, json};

use crate::sys;

const LIMITS: [(&str, Resource); 16] = [
    ("RLIMIT_AS", Resource::RLIMIT_AS),
    ("RLIMIT_CORE", Resource::RLIMIT_CORE),
    ("RLIMIT_CPU", Resource::RLIMIT_CPU),
    ("RLIMIT_DATA", Resource::RLIMIT_DATA),
    ("RLIMIT_FSIZE", Resource::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", Resource::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", Resource::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", Resource::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", Resource::RLIMIT_NICE),
    ("RLIMIT_NOFILE", Resource::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", Resource::RLIMIT_NPROC),
    ("RLIMIT_RSS", Resource::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", Resource::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", Resource::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", Resource::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", Resource::RLIMIT_STACK),
];

/// Everything at once.
pub fn all() -> Value {
    let mut facts = credentials();
    facts.extend(surroundings());
    facts.extend(files());
    Value::Object(facts)
}

/// The links in /proc/self/ns: name to `name:[inode]`.
pub fn namespaces() -> Map<String, Value> {
    let entries = fs::read_dir("/proc/self/ns").into_iter().flatten().flatten();
    let links = entries.filter_map(|entry| {
        let target = fs::read_link(entry.path()).ok()?;
        Some((entry.file_name().to_string_lossy().into_owned(), json!(target)))
    });
    links.collect()
}

fn credentials() -> Map<String, Value> {
    let umask = nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    nix::sys::stat::umask(umask);
    let groups: Vec<u32> = nix::unistd::getgroups().unwrap_or_default().into_iter().map(|gid| gid.as_raw()).collect();
    let ids = nix::unistd::getresuid().map(|ids| [ids.real, ids.effective, ids.saved].map(|id| id.as_raw()));
    let gids = nix::unistd::getresgid().map(|ids| [ids.real, ids.effective, ids.saved].map(|id| id.as_raw()));
    let limits: Map<String, Value> = LIMITS
        .iter()
        .filter_map(|(name, resource)| {
            getrlimit(*resource).ok().map(|pair| ((*name).to_owned(), json!([pair.0, pair.1])))
        })
        .collect();
    let scheduler = sys::scheduler().ok().map(|found| {
        json!({"policy": found.policy, "nice": found.nice, "priority": found.priority, "flags": found.flags,
               "runtime": found.runtime, "deadline": found.deadline, "period": found.period})
    });
    let mut facts = Map::new();
    facts.insert("uids".into(), json!(ids.unwrap_or_default()));
    facts.insert("gids".into(), json!(gids.unwrap_or_default()));
    facts.insert("groups".into(), json!(groups));
    facts.insert("pipe_was_ignored".into(), json!(sys::pipe_was_ignored()));
    facts.insert("umask".into(), json!(umask.bits()));
    facts.insert("limits".into(), Value::Object(limits));
    facts.insert("no_new_privileges".into(), json!(rustix::thread::no_new_privs().ok()));
    facts.insert("scheduler".into(), json!(scheduler));
    facts.insert("io_priority".into(), json!(sys::io_priority().ok()));
    facts.insert("memory_policy".into(), json!(sys::memory_policy().ok()));
    facts.insert("personality".into(), json!(sys::personality(u32::MAX).ok()));
    facts.insert("pid".into(), json!(std::process::id()));
    facts.insert("parent".into(), json!(std::os::unix::process::parent_id()));
    facts.insert("session".into(), json!(nix::unistd::getsid(None).ok().map(nix::unistd::Pid::as_raw)));
    facts
}

fn surroundings() -> Map<String, Value> {
    let names = nix::sys::utsname::uname().ok();
    let name_of = |part: fn(&nix::sys::utsname::UtsName) -> &std::ffi::OsStr| {
        names.as_ref().map(|names| part(names).to_string_lossy().into_owned())
    };
    let environment: Vec<String> = std::env::vars_os()
        .map(|(key, value)| format!("{}={}", key.to_string_lossy(), value.to_string_lossy()))
        .collect();
    let network = fs::read_to_string("/proc/net/dev").unwrap_or_default();
    let devices: Vec<&str> = network.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    let clock = |id| nix::time::clock_gettime(id).ok().map(|time| time.tv_sec());
    let mut facts = Map::new();
    facts.insert("arguments".into(), json!(std::env::args().collect::<Vec<_>>()));
    facts.insert("environment".into(), json!(environment));
    facts.insert("cwd".into(), json!(std::env::current_dir().ok()));
    facts.insert("hostname".into(), json!(name_of(|names| names.nodename())));
    facts.insert("domainname".into(), json!(name_of(|names| names.domainname())));
    facts.insert("machine".into(), json!(name_of(|names| names.machine())));
    facts.insert("namespaces".into(), Value::Object(namespaces()));
    facts.insert("devices".into(), json!(devices));
    facts.insert("monotonic".into(), json!(clock(nix::time::ClockId::CLOCK_MONOTONIC)));
    facts.insert("boottime".into(), json!(clock(nix::time::ClockId::CLOCK_BOOTTIME)));
    facts.insert("mounts".into(), mounts());
    facts
}

/// Files of /proc/self as they are, and what the descriptors are.
fn files() -> Map<String, Value> {
    let mut facts = Map::new();
    for name in ["uid_map", "gid_map", "setgroups", "cgroup", "oom_score_adj", "timens_offsets", "attr/current"] {
        let text = fs::read_to_string(format!("/proc/self/{name}")).ok();
        facts.insert(name.into(), json!(text.map(|text| text.trim_end().to_owned())));
    }
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let status: Map<String, Value> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_owned(), json!(value.trim())))
        .collect();
    facts.insert("status".into(), Value::Object(status));
    let open: Map<String, Value> = names("/proc/self/fd")
        .into_iter()
        .filter_map(|number| {
            let target = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
            Some((number, json!(target)))
        })
        .collect();
    facts.insert("descriptors".into(), Value::Object(open));
    facts.insert("terminal".into(), terminal());
    facts
}

/// Size and name of the terminal on the standard input, or null.
fn terminal() -> Value {
    let stdin = std::io::stdin();
    let descriptor: BorrowedFd<'_> = std::os::fd::AsFd::as_fd(&stdin);
    let Ok(size) = rustix::termios::tcgetwinsize(descriptor) else { return Value::Null };
    let name = fs::read_link("/proc/self/fd/0").ok();
    let others = [nix::unistd::isatty(std::io::stdout()), nix::unistd::isatty(std::io::stderr())];
    // Only a process whose controlling terminal it is can open /dev/tty.
    let controlling = fs::OpenOptions::new().read(true).open("/dev/tty").is_ok();
    json!({"rows": size.ws_row, "columns": size.ws_col, "name": name, "controlling": controlling,
           "outputs": others.iter().all(|is| *is == Ok(true))})
}

/// The table of mounts, in order.
fn mounts() -> Value {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let rows = text.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        Some(json!({
            "id": left.first()?, "parent": left.get(1)?, "root": left.get(3)?, "target": left.get(4)?,
            "options": left.get(5)?.split(',').collect::<Vec<_>>(), "propagation": left.get(6..)?,
            "type": right.first()?, "source": right.get(1)?, "super": right.get(2)?.split(',').collect::<Vec<_>>(),
        }))
    });
    Value::Array(rows.collect())
}

/// Sorted names in a directory.
pub fn names(path: &str) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
