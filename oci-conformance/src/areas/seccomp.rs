//! linux.seccomp. Every call that is filtered is one that nothing needs between the filter and the program's end.

use std::time::Duration;

use serde_json::{Value, json};

use crate::config;
use crate::console::Receiver;
use crate::container::End;
use crate::lab::Lab;
use crate::suite::{Test, core};
use crate::verdict::{Verdict, ensure, equal};

pub const TESTS: &[Test] = &[
    core("seccomp.is_off_without_profile", &["R-start-runs"], off),
    core("seccomp.is_on_with_profile", &["R-start-runs"], on),
    core("seccomp.errno_is_eperm_by_default", &["R-start-runs"], |lab| errno(lab, &json!({}), 1)),
    core("seccomp.errno_is_as_told", &["R-start-runs"], |lab| errno(lab, &json!({"errnoRet": 71}), 71)),
    core("seccomp.default_action_counts", &["R-start-runs"], default_action),
    core("seccomp.log_allows", &["R-start-runs"], |lab| action_allows(lab, "SCMP_ACT_LOG")),
    core("seccomp.kill_process_kills", &["R-start-runs"], |lab| kills(lab, "SCMP_ACT_KILL_PROCESS")),
    core("seccomp.trap_signals", &["R-start-runs"], |lab| kills(lab, "SCMP_ACT_TRAP")),
    core("seccomp.equal_argument", &["R-start-runs"], |lab| {
        argument(lab, "SCMP_CMP_EQ", 7, None, &[(7, true), (8, false)])
    }),
    core("seccomp.other_argument", &["R-start-runs"], |lab| {
        argument(lab, "SCMP_CMP_NE", 7, None, &[(7, false), (8, true)])
    }),
    core("seccomp.greater_argument", &["R-start-runs"], |lab| {
        argument(lab, "SCMP_CMP_GT", 7, None, &[(7, false), (8, true)])
    }),
    core("seccomp.greater_or_equal_argument", &["R-start-runs"], |lab| {
        argument(lab, "SCMP_CMP_GE", 7, None, &[(6, false), (7, true)])
    }),
    core("seccomp.less_argument", &["R-start-runs"], |lab| {
        argument(lab, "SCMP_CMP_LT", 7, None, &[(6, true), (7, false)])
    }),
    core("seccomp.less_or_equal_argument", &["R-start-runs"], |lab| {
        argument(lab, "SCMP_CMP_LE", 7, None, &[(7, true), (8, false)])
    }),
    core("seccomp.masked_argument", &["R-start-runs"], |lab| {
        argument(lab, "SCMP_CMP_MASKED_EQ", 6, Some(4), &[(5, true), (3, false)])
    }),
    core("seccomp.unknown_call_is_ignored", &["R-start-runs"], |lab| {
        super::errors::runs(
            lab,
            &profile("SCMP_ACT_ALLOW", json!([{"names": ["unheard_of", "personality"], "action": "SCMP_ACT_ERRNO"}])),
        )
    }),
    core("seccomp.unknown_action_is_refused", &["C-valid"], |lab| {
        lab.refuses(&profile("SCMP_ACT_ALLOW", json!([{"names": ["mkdir"], "action": "SCMP_ACT_NONSENSE"}])))
    }),
    core("seccomp.unknown_operator_is_refused", &["C-valid"], |lab| {
        let args = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_NONSENSE"}]);
        lab.refuses(&profile("SCMP_ACT_ALLOW", json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "args": args}])))
    }),
    core("seccomp.unknown_architecture_is_refused", &["C-valid"], |lab| {
        let mut config = profile("SCMP_ACT_ALLOW", json!([]));
        config["linux"]["seccomp"]["architectures"] = json!(["SCMP_ARCH_NONSENSE"]);
        lab.refuses(&config)
    }),
    core("seccomp.errno_of_allow_is_refused", &["L-seccomp-errno"], |lab| {
        lab.refuses(&profile("SCMP_ACT_ERRNO", json!([{"names": ["mkdir"], "action": "SCMP_ACT_KILL", "errnoRet": 5}])))
    }),
    core("seccomp.default_errno_of_allow_is_refused", &["L-seccomp-default-errno"], |lab| {
        let mut config = profile("SCMP_ACT_ALLOW", json!([]));
        config["linux"]["seccomp"]["defaultErrnoRet"] = json!(5);
        lab.refuses(&config)
    }),
    core("seccomp.without_no_new_privileges_works", &["R-start-runs"], privileged),
    core(
        "seccomp.listener_gets_state_and_descriptor",
        &[
            "L-seccomp-stream",
            "L-seccomp-one",
            "L-seccomp-close",
            "L-seccomp-payload",
            "L-seccomp-rights",
            "L-seccomp-first",
        ],
        listener,
    ),
    core("seccomp.listener_that_is_not_there_is_an_error", &["L-seccomp-error"], |lab| {
        let mut config = notifying();
        config["linux"]["seccomp"]["listenerPath"] = json!(lab.text("nobody.sock"));
        lab.refuses(&config)
    }),
];

fn profile(default: &str, syscalls: Value) -> Value {
    config::with("/linux/seccomp", json!({"defaultAction": default, "syscalls": syscalls}))
}

fn off(lab: &Lab) -> Verdict {
    equal("Seccomp in status", &lab.facts(&config::base())?["status"]["Seccomp"], &json!("0"))
}

fn on(lab: &Lab) -> Verdict {
    let config = profile("SCMP_ACT_ALLOW", json!([{"names": ["personality"], "action": "SCMP_ACT_ERRNO"}]));
    equal("Seccomp in status", &lab.facts(&config)?["status"]["Seccomp"], &json!("2"))
}

/// A rule for mkdir, with members of its own.
fn errno(lab: &Lab, more: &Value, wanted: i64) -> Verdict {
    let mut rule = json!({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"});
    for (key, value) in more.as_object().into_iter().flatten() {
        rule[key] = value.clone();
    }
    let said = lab.ask(&profile("SCMP_ACT_ALLOW", json!([rule])), &["mkdir:/tmp/x", "create:/tmp/y"])?;
    equal("mkdir", said["mkdir:/tmp/x"]["errno"].as_i64(), Some(wanted))?;
    equal("another call", said["create:/tmp/y"]["errno"].as_i64(), None)
}

/// Everything is an error but what runtimes and the probe need; the profile names all usual calls but mkdir.
fn default_action(lab: &Lab) -> Verdict {
    let mut config = profile("SCMP_ACT_ERRNO", json!([{"names": USUAL, "action": "SCMP_ACT_ALLOW"}]));
    config["linux"]["seccomp"]["defaultErrnoRet"] = json!(95);
    let said = lab.ask(&config, &["mkdir:/tmp/x", "create:/tmp/y"])?;
    equal("mkdir", said["mkdir:/tmp/x"]["errno"].as_i64(), Some(95))?;
    equal("an allowed call", said["create:/tmp/y"]["errno"].as_i64(), None)
}

/// What a runtime may still need once the filter is loaded, and what the probe needs.
const USUAL: &[&str] = &[
    "access",
    "arch_prctl",
    "brk",
    "capget",
    "capset",
    "chdir",
    "clock_gettime",
    "clock_nanosleep",
    "clone",
    "clone3",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fchdir",
    "fchmod",
    "fchown",
    "fcntl",
    "fstat",
    "fstatfs",
    "futex",
    "getcwd",
    "getdents64",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "gettid",
    "getuid",
    "ioctl",
    "lseek",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
    "nanosleep",
    "newfstatat",
    "open",
    "openat",
    "pipe2",
    "poll",
    "ppoll",
    "prctl",
    "pread64",
    "prlimit64",
    "read",
    "readlink",
    "readlinkat",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_yield",
    "sendmsg",
    "set_robust_list",
    "set_tid_address",
    "setgid",
    "setgroups",
    "setresgid",
    "setresuid",
    "setuid",
    "sigaltstack",
    "stat",
    "statfs",
    "tgkill",
    "write",
];

fn action_allows(lab: &Lab, action: &str) -> Verdict {
    let said = lab.ask(
        &profile("SCMP_ACT_ALLOW", json!([{"names": ["mkdir", "mkdirat"], "action": action}])),
        &["mkdir:/tmp/x"],
    )?;
    equal("mkdir", said["mkdir:/tmp/x"]["errno"].as_i64(), None)
}

const SIGSYS: i32 = 31;

fn kills(lab: &Lab, action: &str) -> Verdict {
    let mut config = profile("SCMP_ACT_ALLOW", json!([{"names": ["mkdir", "mkdirat"], "action": action}]));
    config::set_actions(&mut config, &["create:/before", "mkdir:/tmp/x", "create:/after"]);
    let container = lab.container("a", &config)?;
    container.create()?;
    container.start()?;
    equal("end", container.wait()?, End::Signal(SIGSYS))?;
    ensure(container.root().join("before").exists(), || "the program did not come as far as the call".into())?;
    ensure(!container.root().join("after").exists(), || "the program went on after the call".into())?;
    container.delete()
}

/// personality(value) is blocked for these values and not for those.
fn argument(lab: &Lab, operator: &str, value: u64, second: Option<u64>, cases: &[(u64, bool)]) -> Verdict {
    // For the masked comparison `value` is the mask and `valueTwo` what must remain.
    let mut condition = json!({"index": 0, "value": value, "op": operator});
    if let Some(second) = second {
        condition["valueTwo"] = json!(second);
    }
    let rule = json!({"names": ["personality"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71, "args": [condition]});
    let actions: Vec<String> = cases.iter().map(|(value, _)| format!("personality:{value:x}")).collect();
    let words: Vec<&str> = actions.iter().map(String::as_str).collect();
    let said = lab.ask(&profile("SCMP_ACT_ALLOW", json!([rule])), &words)?;
    for (action, (_, blocked)) in words.iter().zip(cases) {
        let found = said[*action]["errno"].as_i64() == Some(71);
        equal(&format!("{operator} {value}: {action} is blocked"), found, *blocked)?;
    }
    Ok(())
}

/// Without noNewPrivileges the filter must be loaded while there is still the privilege to.
fn privileged(lab: &Lab) -> Verdict {
    let mut config = profile("SCMP_ACT_ALLOW", json!([{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]));
    config["process"]["noNewPrivileges"] = json!(false);
    config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let said = lab.ask(&config, &["facts", "mkdir:/tmp/x"])?;
    equal("no_new_privs", &said["facts"]["no_new_privileges"], &json!(false))?;
    equal("mkdir", said["mkdir:/tmp/x"]["errno"].as_i64(), Some(1))
}

fn notifying() -> Value {
    profile("SCMP_ACT_ALLOW", json!([{"names": ["personality"], "action": "SCMP_ACT_NOTIFY"}]))
}

fn listener(lab: &Lab) -> Verdict {
    let receiver = Receiver::new(lab, "s.sock")?;
    let mut config = notifying();
    config["linux"]["seccomp"]["listenerPath"] = json!(receiver.path);
    config["linux"]["seccomp"]["listenerMetadata"] = json!("opaque");
    config::set_actions(&mut config, &["create:/mark", "wait"]);
    let container = lab.container("a", &config)?;
    let received = receiver.receive(Duration::from_secs(8));
    container.create()?;
    container.start()?;
    let received = received.join().unwrap_or_else(|_| Err("the receiver panicked".into()))?;
    ensure(received.closed, || "the connection stays open".into())?;
    equal("descriptors with the first message", received.descriptors.len(), 1)?;
    let mut documents = serde_json::Deserializer::from_slice(&received.bytes).into_iter::<Value>();
    let state = documents.next().ok_or("no document")??;
    ensure(documents.next().is_none(), || "more than one document came".into())?;
    equal("fds", &state["fds"], &json!(["seccompFd"]))?;
    equal("metadata", &state["metadata"], &json!("opaque"))?;
    equal("pid", &state["pid"], &json!(container.pid()))?;
    equal("state.id", &state["state"]["id"], &json!(container.id))?;
    ensure(state["ociVersion"].is_string(), || format!("ociVersion is {}", state["ociVersion"]))?;
    container.stop()?;
    container.delete()
}
