//! Against the kernel: compiled profiles, because what they are worth shows only when it runs them.

use std::os::fd::AsRawFd;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use super::*;
use crate::bundle::seccomp::SeccompConfig;
use crate::plan::seccomp::{ACTIONS, FLAGS, Filter};

fn filter(profile: &str) -> Filter {
    let config: SeccompConfig = serde_json::from_str(profile).unwrap();
    Filter::new(&config, "/linux/seccomp", None).unwrap().0.unwrap()
}

/// A filter belongs to a thread, so a thread of its own under one leaves the others alone.
fn under<T: Send + 'static>(filter: Filter, work: impl FnOnce(Option<OwnedFd>) -> T + Send + 'static) -> T {
    thread::spawn(move || {
        nix::sys::prctl::set_no_new_privs().unwrap();
        work(load(&filter.program, filter.flags).unwrap())
    })
    .join()
    .unwrap()
}

fn umask_errno() -> Errno {
    // SAFETY: umask(2) takes no pointer; 0o22 is what the process has anyway.
    Errno::result(unsafe { libc::syscall(libc::SYS_umask, 0o22) }).err().unwrap_or(Errno::UnknownErrno)
}

#[test]
fn load_errno_rule_answers_the_call() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}"#;
    assert_eq!(under(filter(profile), |_| umask_errno()), Errno::EOPNOTSUPP);
}

#[test]
fn load_condition_decides_by_the_argument() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["personality"],
        "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 4294967295, "op": "SCMP_CMP_NE"}]}]}"#;
    let (query, change) = under(filter(profile), |_| {
        // SAFETY: personality(2) takes no pointer; the second value is never set, the filter refuses it.
        unsafe { (libc::syscall(libc::SYS_personality, 0xffff_ffff_u64), libc::syscall(libc::SYS_personality, 8_u64)) }
    });
    assert!(query >= 0);
    assert_eq!(change, -1);
}

#[test]
fn load_docker_profile_lets_a_thread_work() {
    let profile = include_str!("../../../tests/data/seccomp/docker.json");
    let (list, clone3) = under(filter(profile), |_| {
        let list = std::fs::read_dir("/").map(Iterator::count);
        // SAFETY: the filter answers before the kernel looks at the null pointer, which it would refuse as well.
        let clone3 = Errno::result(unsafe { libc::syscall(libc::SYS_clone3, 0, 0) });
        (list, clone3)
    });
    assert!(list.unwrap() > 0);
    assert_eq!(clone3, Err(Errno::ENOSYS));
}

#[test]
fn load_notify_rule_is_answered_by_the_listener() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/unused",
        "syscalls": [{"names": ["umask"], "action": "SCMP_ACT_NOTIFY"}]}"#;
    let filter = filter(profile);
    let (sender, receiver) = mpsc::channel();
    let agent = thread::spawn(move || {
        let listener: OwnedFd = receiver.recv().unwrap();
        // SAFETY: all-zero is a value of this struct of integers, and what the kernel wants to see.
        let mut request: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: the ioctl writes one struct seccomp_notif.
        let received = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut request) };
        assert_eq!(received, 0);
        let response = libc::seccomp_notif_resp { id: request.id, val: 0, error: -libc::ENOTTY, flags: 0 };
        // SAFETY: the ioctl reads one struct seccomp_notif_resp.
        let sent = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw const response) };
        assert_eq!(sent, 0);
        i64::from(request.data.nr)
    });
    let errno = under(filter, move |listener| {
        sender.send(listener.unwrap()).unwrap();
        umask_errno()
    });
    assert_eq!(errno, Errno::ENOTTY);
    assert_eq!(agent.join().unwrap(), libc::SYS_umask);
}

#[test]
fn load_kill_process_ends_the_child_with_sigsys() {
    let profile = r#"{"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["umask"], "action": "SCMP_ACT_KILL_PROCESS"}]}"#;
    assert_eq!(killed_by(&filter(profile), || _ = umask_errno()), Some(libc::SIGSYS));
}

/// A call through the 32-bit entry, as a 32-bit program makes it: getpid is 20 there.
#[cfg(target_arch = "x86_64")]
fn getpid_of_x86() -> i32 {
    let result: i32;
    // SAFETY: int 0x80 enters the kernel with the number in eax; getpid takes nothing, and all but eax is kept but
    // for r8 to r11, which old kernels clear.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") 20 => result, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    result
}

#[cfg(target_arch = "x86_64")]
#[test]
fn load_x86_call_is_decided_by_its_own_table() {
    let profile = |architectures: &str| {
        filter(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "architectures": [{architectures}],
                "syscalls": [{{"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}}]}}"#
        ))
    };
    // 20 is writev for x86_64: were it looked up there, it would be allowed.
    assert_eq!(under(profile(r#""SCMP_ARCH_X86""#), |_| getpid_of_x86()), -libc::EOPNOTSUPP);
    // Not listed: the thread is killed, and a lone thread is the process.
    assert_eq!(killed_by(&profile(""), || _ = getpid_of_x86()), Some(libc::SIGSYS));
}

/// The signal that ends a child doing `work` under the filter.
fn killed_by(filter: &Filter, work: fn()) -> Option<i32> {
    // SAFETY: the child makes system calls only, allocates nothing and leaves through _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: no pointers but those that `load` passes; _exit(2) ends this process alone.
        unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
            if load(&filter.program, filter.flags).is_ok() {
                work();
            }
            libc::_exit(7);
        }
    }
    let mut status = 0;
    // SAFETY: waits for the child made above and writes one int.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status))
}

#[test]
fn load_what_the_kernel_refuses_is_an_error() {
    assert_eq!(load(&[], 0).err(), Some(Errno::EINVAL));
    let never_returns = sock_filter { code: 0x20, jt: 0, jf: 0, k: 0 };
    assert_eq!(load(&[never_returns], 0).err(), Some(Errno::EINVAL));
}

/// Whether the kernel knows `action` (SECCOMP_RET_* without data; Linux 4.14).
fn action_available(action: u32) -> bool {
    // SAFETY: SECCOMP_GET_ACTION_AVAIL reads one u32 through the pointer.
    let result = unsafe { seccomp(libc::SECCOMP_GET_ACTION_AVAIL, 0, (&raw const action).cast()) };
    result == 0
}

#[test]
fn probes_tell_known_from_unknown() {
    for (_, flag) in FLAGS {
        // All are older than the kernels that tests run on, WAIT_KILLABLE_RECV being the youngest (5.19).
        assert!(flag_supported(flag), "{flag:#x}");
    }
    assert!(!flag_supported(1 << 30));
    for (word, action) in ACTIONS {
        assert!(action_available(action), "{word}");
    }
    assert!(!action_available(0x7ff1_0000));
}

/// Figures for the notes: `cargo test --release seccomp_load_figures -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures, checks nothing"]
fn seccomp_load_figures() {
    for (name, profile) in [
        ("docker", include_str!("../../../tests/data/seccomp/docker.json")),
        ("podman", include_str!("../../../tests/data/seccomp/podman.json")),
        ("containerd", include_str!("../../../tests/data/seccomp/containerd.json")),
    ] {
        let filter = filter(profile);
        let mut times: Vec<_> = (0..201)
            .map(|_| {
                let filter = filter.clone();
                let load_once = move || {
                    nix::sys::prctl::set_no_new_privs().unwrap();
                    let start = Instant::now();
                    load(&filter.program, filter.flags).unwrap();
                    start.elapsed().as_nanos()
                };
                thread::spawn(load_once).join().unwrap()
            })
            .collect();
        times.sort_unstable();
        println!("{name}: {} instructions loaded in {:.1} µs", filter.program.len(), times[100] as f64 / 1000.0);
    }
}
