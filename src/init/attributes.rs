//! What a process carries besides its identity: names, scheduling, signals, keyring, limits. Each function is one
//! phase; the order is init's (see `init`).

use std::ffi::{CStr, OsStr};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};

use crate::error::{Context, Error, Result, Warning};
use crate::plan::process::{ProcessPlan, Rlimit};
use crate::plan::scheduling::{MemoryPolicy, Scheduler};
use crate::pointer;
use crate::sys;
use crate::sys::fd::Descriptors;

/// Default actions for those of `ignored` (signal n as bit n-1) and an empty mask: execve(2) keeps both ignored signals
/// and the mask, and sets handled ones back itself.
pub(crate) fn reset_signals(ignored: u64) -> Result<()> {
    // 32 to 34 are musl's own, which refuses to touch them.
    for signal in (1..=64).filter(|signal| !(32..=34).contains(signal) && ignored >> (signal - 1) & 1 != 0) {
        sys::signal::reset(signal).context(|| format!("reset the action of signal {signal}"))?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).context(|| "unblock all signals")
}

/// setsid(2): the container's process leads a session of its own, without a controlling terminal.
pub(crate) fn new_session() -> Result<()> {
    nix::unistd::setsid().map(drop).context(|| "make a session")
}

/// sethostname(2).
pub(crate) fn set_hostname(name: &CStr) -> Result<()> {
    nix::unistd::sethostname(OsStr::from_bytes(name.to_bytes()))
        .context(|| format!("set the host name {}", name.to_string_lossy()))
        .map_err(|error| error.at("/hostname"))
}

/// setdomainname(2).
pub(crate) fn set_domainname(name: &CStr) -> Result<()> {
    sys::process::set_domain_name(name)
        .context(|| format!("set the domain name {}", name.to_string_lossy()))
        .map_err(|error| error.at("/domainname"))
}

/// Sets the loopback device of a new network namespace up. What it took is closed with `spent`.
pub(crate) fn set_loopback_up(spent: &mut Descriptors) -> Result<()> {
    spent.push(sys::process::set_loopback_up().context(|| "set the loopback device up")?);
    Ok(())
}

/// personality(2), umask(2), scheduler, I/O priority and memory policy of the program: everything that needs the
/// privileges that the credentials take away.
pub(crate) fn set_scheduling(process: &ProcessPlan) -> Result<()> {
    if let Some(persona) = process.personality {
        sys::schedule::set_personality(persona)
            .context(|| format!("set the personality {persona:#x}"))
            .map_err(|error| error.at("/linux/personality"))?;
    }
    if let Some(scheduler) = &process.scheduler {
        set_scheduler(scheduler).map_err(|error| error.at(pointer::join(&process.pointer, "scheduler")))?;
    }
    if let Some(priority) = process.io_priority {
        sys::schedule::set_io_priority(priority)
            .context(|| format!("set the I/O priority to class {}, level {}", priority >> 13, priority & 0x1fff))
            .map_err(|error| error.at(pointer::join(&process.pointer, "ioPriority")))?;
    }
    if let Some(policy) = &process.memory_policy {
        set_memory_policy(policy).map_err(|error| error.at("/linux/memoryPolicy"))?;
    }
    Ok(())
}

fn set_scheduler(scheduler: &Scheduler) -> Result<()> {
    let attributes = libc::sched_attr {
        size: 0,
        sched_policy: scheduler.policy,
        sched_flags: scheduler.flags,
        sched_nice: scheduler.nice,
        sched_priority: scheduler.priority,
        sched_runtime: scheduler.runtime,
        sched_deadline: scheduler.deadline,
        sched_period: scheduler.period,
    };
    sys::schedule::set_attributes(attributes).context(|| {
        format!(
            "set the scheduler to policy {}, nice {}, priority {}",
            scheduler.policy, scheduler.nice, scheduler.priority
        )
    })
}

fn set_memory_policy(policy: &MemoryPolicy) -> Result<()> {
    sys::schedule::set_memory_policy(policy.mode | policy.flags, &policy.nodes).context(|| {
        format!("set the memory policy {:#x} for the nodes {:x?}", policy.mode | policy.flags, policy.nodes)
    })
}

/// Which of the two masks of execCPUAffinity (config.md#process).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AffinityMoment {
    /// Before the cgroup is joined.
    Initial,
    /// Before execve.
    Final,
}

/// sched_setaffinity(2), if the configuration has a mask for this moment.
pub(crate) fn set_affinity(process: &ProcessPlan, moment: AffinityMoment) -> Result<()> {
    let (mask, word) = match moment {
        AffinityMoment::Initial => (&process.cpu_affinity.initial, "initial"),
        AffinityMoment::Final => (&process.cpu_affinity.last, "final"),
    };
    let Some(mask) = mask else { return Ok(()) };
    let place = pointer::join(&pointer::join(&process.pointer, "execCPUAffinity"), word);
    sys::schedule::set_affinity(mask)
        .context(|| format!("set the {word} CPU affinity {mask:x?}"))
        .map_err(|error| error.at(place))
}

/// umask(2).
pub(crate) fn set_umask(mask: u32) {
    umask(Mode::from_bits_truncate(mask));
}

/// PR_SET_NO_NEW_PRIVS: execve(2) grants nothing from now on.
pub(crate) fn set_no_new_privileges() -> Result<()> {
    prctl::set_no_new_privs().context(|| "set no_new_privs")
}

/// PR_SET_DUMPABLE: while it is off, nobody in the container can trace this process or open its memory.
pub(crate) fn set_dumpable(dumpable: bool) -> Result<()> {
    prctl::set_dumpable(dumpable).context(|| "set dumpable")
}

/// Raises the hard limits of the process `pid` to what [`set_limits`] will need: for the parent, since a child in a
/// user namespace may not raise what the parent may. Nothing is lowered: the child still has work to do.
pub(crate) fn raise_limits(pid: i32, process_pointer: &str, limits: &[Rlimit]) -> Result<()> {
    for (index, limit) in limits.iter().enumerate() {
        let raised = sys::process::limit(pid, limit.resource).and_then(|(soft, hard)| match limit.hard > hard {
            true => sys::process::set_limit(pid, limit.resource, soft, limit.hard),
            false => Ok(()),
        });
        describe_limit(raised, process_pointer, index, limit)?;
    }
    Ok(())
}

/// The limits of the program, after its user: the kernel counts processes (RLIMIT_NPROC) when the user changes.
pub(crate) fn set_limits(process_pointer: &str, limits: &[Rlimit]) -> Result<()> {
    for (index, limit) in limits.iter().enumerate() {
        let set = sys::process::set_limit(0, limit.resource, limit.soft, limit.hard);
        describe_limit(set, process_pointer, index, limit)?;
    }
    Ok(())
}

fn describe_limit(result: Result<(), Errno>, process_pointer: &str, index: usize, limit: &Rlimit) -> Result<()> {
    result
        .context(|| format!("set the limit {} to {}:{}", limit.name, limit.soft, limit.hard))
        .map_err(|error| error.at(format!("{process_pointer}/rlimits/{index}")))
}

/// A session keyring of the container's own, which the container's other processes (of the same user) may search.
/// A kernel without keyrings (ENOSYS) or a sandbox that forbids them (EPERM) is a warning: keyrings are protected by
/// credentials as well.
pub(crate) fn new_session_keyring(name: &CStr) -> Result<Option<Warning>> {
    /// What the kernel gives a new session keyring (everything to its possessors, VIEW, READ and LINK to its user:
    /// join_session_keyring of its security/keys/process_keys.c), and SEARCH to its user.
    const PERMISSIONS: u32 = 0x3f13_0000 | 0x0008_0000;
    let keyring = match sys::keyring::join_session(name) {
        Ok(keyring) => keyring,
        Err(errno @ (Errno::ENOSYS | Errno::EPERM)) => {
            return Ok(Some(Warning::ignored(&Error::sys(errno, "make a session keyring"))));
        }
        Err(errno) => {
            return Err(Error::sys(errno, format!("make the session keyring {}", name.to_string_lossy()))
                .hint("--no-new-keyring keeps the caller's"));
        }
    };
    sys::keyring::set_permissions(keyring, PERMISSIONS).context(|| "set the permissions of the session keyring")?;
    Ok(None)
}

/// Everything here belongs to a thread: each test changes a thread of its own.
#[cfg(test)]
mod privileged {
    use super::*;
    use crate::plan::process::CpuAffinity;
    use crate::sys::test_thread::{in_thread, status};
    use std::fs;

    use nix::sched::{CloneFlags, unshare};

    /// Field `number` (from 3, the state) of /proc/thread-self/stat.
    fn stat_field(number: usize) -> i64 {
        let text = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let rest = text.rsplit_once(')').unwrap().1;
        rest.split_whitespace().nth(number - 3).unwrap().parse().unwrap_or_default()
    }

    #[test]
    fn set_scheduling_is_in_force() {
        in_thread(|| {
            let process = ProcessPlan {
                pointer: "/process".to_owned(),
                scheduler: Some(Scheduler { policy: 3, nice: 7, ..Scheduler::default() }),
                io_priority: Some(2 << 13 | 5),
                personality: Some(0x0040_0000),
                memory_policy: Some(MemoryPolicy { mode: 2, flags: 0, nodes: vec![1] }),
                ..ProcessPlan::default()
            };
            set_scheduling(&process).unwrap();
            assert_eq!((stat_field(19), stat_field(41)), (7, 3));
            assert_eq!(fs::read_to_string("/proc/thread-self/personality").unwrap().trim(), "00400000");
            let maps = fs::read_to_string("/proc/thread-self/numa_maps").unwrap();
            assert!(maps.contains("bind:0"), "{}", maps.lines().next().unwrap_or_default());
        });
    }

    #[test]
    fn set_scheduling_refused_values_carry_their_pointers() {
        in_thread(|| {
            let pointer = |process: ProcessPlan| {
                let process = ProcessPlan { pointer: "/process".to_owned(), ..process };
                set_scheduling(&process).unwrap_err().pointer().unwrap().to_owned()
            };
            let none = ProcessPlan::default;
            let scheduler = Some(Scheduler { policy: 99, ..Scheduler::default() });
            assert_eq!(pointer(ProcessPlan { scheduler, ..none() }), "/process/scheduler");
            assert_eq!(pointer(ProcessPlan { io_priority: Some(7 << 13), ..none() }), "/process/ioPriority");
            let memory_policy = Some(MemoryPolicy { mode: 2, flags: 0, nodes: vec![0] });
            assert_eq!(pointer(ProcessPlan { memory_policy, ..none() }), "/linux/memoryPolicy");
        });
    }

    #[test]
    fn set_affinity_of_each_moment_is_in_force() {
        in_thread(|| {
            let cpu_affinity = CpuAffinity { initial: Some(vec![1]), last: Some(vec![2, 0, 0]) };
            let process = ProcessPlan { cpu_affinity, ..ProcessPlan::default() };
            set_affinity(&process, AffinityMoment::Initial).unwrap();
            assert_eq!(status("Cpus_allowed_list"), "0");
            set_affinity(&process, AffinityMoment::Final).unwrap();
            assert_eq!(status("Cpus_allowed_list"), "1");
            let cpu_affinity = CpuAffinity { initial: Some(vec![0, 1 << 63]), last: None };
            let process = ProcessPlan { cpu_affinity, pointer: "/process".to_owned(), ..ProcessPlan::default() };
            let error = set_affinity(&process, AffinityMoment::Initial).unwrap_err();
            assert_eq!(error.pointer(), Some("/process/execCPUAffinity/initial"));
        });
    }

    #[test]
    fn set_names_of_a_new_uts_namespace() {
        in_thread(|| {
            unshare(CloneFlags::CLONE_NEWUTS).unwrap();
            set_hostname(c"web").unwrap();
            set_domainname(c"example").unwrap();
            assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), "web\n");
            assert_eq!(fs::read_to_string("/proc/sys/kernel/domainname").unwrap(), "example\n");
            let long = std::ffi::CString::new("x".repeat(65)).unwrap();
            assert_eq!(set_hostname(&long).unwrap_err().pointer(), Some("/hostname"));
        });
    }

    #[test]
    fn set_loopback_up_in_a_new_network_namespace_connects() {
        in_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().connect("127.0.0.1:9").is_err());
            set_loopback_up(&mut Descriptors::default()).unwrap();
            assert!(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().connect("127.0.0.1:9").is_ok());
        });
    }

    #[test]
    fn set_no_new_privileges_and_umask_are_in_force() {
        in_thread(|| {
            set_no_new_privileges().unwrap();
            assert_eq!(status("NoNewPrivs"), "1");
            unshare(CloneFlags::CLONE_FS).unwrap();
            set_umask(0o027);
            assert_eq!(status("Umask"), "0027");
        });
    }

    /// Actions belong to the process, so the test runs itself again as one whose parent ignores and blocks.
    #[test]
    fn reset_signals_ignored_and_blocked_by_the_parent_are_neither() {
        const AGAIN: &str = "CORACLE_TEST_RESET_SIGNALS";
        if std::env::var_os(AGAIN).is_some() {
            // Signals 32 to 34 are the C libraries' own; somebody above may ignore even these.
            let of = |field: &str| u64::from_str_radix(&status(field), 16).unwrap() & !(7 << 31);
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).unwrap();
            assert_ne!((of("SigIgn"), of("SigBlk")), (0, 0));
            reset_signals(of("SigIgn")).unwrap();
            assert_eq!((of("SigIgn"), of("SigBlk")), (0, 0));
            return;
        }
        let name = std::thread::current().name().unwrap().to_owned();
        let script = "trap '' HUP INT QUIT TERM USR1 USR2 ALRM TSTP TTIN TTOU; exec \"$@\"";
        let output = std::process::Command::new("sh")
            .args(["-c", script, "sh"])
            .arg(std::env::current_exe().unwrap())
            .args([&name, "--exact"])
            .env(AGAIN, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    fn raise_limits_lowers_nothing_and_blames_what_is_refused() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let before = sys::process::limit(pid, libc::RLIMIT_NOFILE.cast_unsigned()).unwrap();
        let limit = Rlimit { resource: libc::RLIMIT_NOFILE.cast_unsigned(), name: "RLIMIT_NOFILE", soft: 0, hard: 0 };
        let raised = raise_limits(pid, "/process", &[limit]);
        let after = sys::process::limit(pid, limit.resource).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((raised, after), (Ok(()), before));
        let error = set_limits("/process", &[Rlimit { soft: 2, hard: 1, ..limit }]).unwrap_err();
        assert_eq!(error.pointer(), Some("/process/rlimits/0"));
    }

    #[test]
    fn new_session_keyring_is_there_or_its_absence_a_warning() {
        in_thread(|| {
            let result = new_session_keyring(c"_ses.coracle-test").unwrap();
            match fs::read_to_string("/proc/keys") {
                Ok(keys) => assert!(keys.contains("_ses.coracle-test") && keys.contains("3f1b0000"), "{keys}"),
                Err(_) => assert!(result.unwrap().message.ends_with("ignoring")),
            }
        });
    }
}
