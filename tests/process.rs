//! The process section (config.md#process), as the program inside finds it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;

use harness::{ConsoleSocket, Lab, args, json, status_field, strict};
use serde_json::Value;

/// What /proc/self/status says in a container whose process section was changed by `patch`.
fn status(lab: &Lab, patch: impl FnOnce(&mut Value)) -> String {
    let bundle = lab.bundle(|c| {
        args(c, &["cat", "/proc/self/status"]);
        patch(&mut c["process"]);
    });
    lab.run(&bundle).ok().stdout
}

fn capabilities(text: &str) -> [u64; 5] {
    ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"].map(|n| u64::from_str_radix(status_field(text, n), 16).unwrap())
}

#[test]
fn args_program_is_looked_up_in_the_path_of_the_container() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["tool", "a b", ""]);
        c["process"]["env"] = json!(["PATH=/nowhere:/tmp/plain:/tmp/dir:/opt/bin:/bin"]);
    });
    fs::create_dir_all(bundle.root("opt/bin")).unwrap();
    fs::create_dir_all(bundle.root("tmp/dir/tool")).unwrap();
    fs::create_dir_all(bundle.root("tmp/plain")).unwrap();
    fs::write(bundle.root("tmp/plain/tool"), "not executable").unwrap();
    bundle.program("opt/bin/tool", "#!/bin/sh\necho \"$0|$1|$2|$#\"\n");
    assert_eq!(lab.run(&bundle).ok().stdout, "/opt/bin/tool|a b||2\n");
}

#[test]
fn args_program_missing_or_not_executable_fails_create() {
    let lab = Lab::new();
    let table: [(&str, &[&str]); 6] = [
        ("no-such", &["exec: \"no-such\": executable file not found in $PATH"]),
        ("/bin/no-such", &["no such file or directory"]),
        ("/tmp/plain", &["permission denied"]),
        ("/tmp", &["permission denied", "is a directory"]),
        ("", &["executable file not found in $PATH", "no such file or directory"]),
        ("/tmp/plain/sub", &["not a directory"]),
    ];
    for (program, texts) in table {
        let bundle = lab.bundle(|c| args(c, &[program]));
        fs::write(bundle.root("tmp/plain"), "text").unwrap();
        let pid_file = lab.path("pid");
        let id = lab.id();
        let options = ["create", "--bundle", bundle.str(), "--pid-file", pid_file.to_str().unwrap(), &id];
        lab.cmd(&options).output().fails_any(1, texts);
        assert!(!pid_file.exists(), "pid file after a failure");
        lab.assert_clean();
    }
}

#[test]
fn args_relative_program_starts_at_cwd() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["./tool"]);
        c["process"]["cwd"] = json!("/opt");
    });
    fs::create_dir(bundle.root("opt")).unwrap();
    bundle.program("opt/tool", "#!/bin/sh\npwd\n");
    assert_eq!(lab.run(&bundle).ok().stdout, "/opt\n");
}

#[test]
fn env_is_exact_and_home_added_only_when_absent() {
    let lab = Lab::new();
    let environ = |env: Value, uid: u32| {
        let bundle = lab.bundle(|c| {
            args(c, &["/bin/cat", "/proc/self/environ"]);
            c["process"]["env"] = env;
            c["process"]["user"]["uid"] = json!(uid);
        });
        lab.cmd(&["run", "-b", bundle.str(), &lab.id()]).env("LEAKED", "from the runtime").output().ok().stdout
    };
    assert_eq!(environ(json!(["HOME=/x", "A=1", "B=a=b c", "E="]), 0), "HOME=/x\0A=1\0B=a=b c\0E=\0");
    assert_eq!(environ(json!(["A=1"]), 0), "A=1\0HOME=/root\0");
    assert_eq!(environ(json!(["A=1"]), 1000), "A=1\0HOME=/home/web\0");
    assert_eq!(environ(json!(["A=1"]), 4242), "A=1\0HOME=/\0");
}

#[test]
fn cwd_is_entered_made_when_missing_and_checked() {
    let lab = Lab::new();
    let pwd = |cwd: &'static str| lab.sh("pwd; ls -ld . | cut -c1-10", move |c| c["process"]["cwd"] = json!(cwd));
    assert_eq!(pwd("/home/web"), "/home/web\ndrwxr-xr-x\n");
    assert_eq!(pwd("/not/there/yet"), "/not/there/yet\ndrwxr-xr-x\n");
    let file = lab.bundle(|c| c["process"]["cwd"] = json!("/etc/passwd"));
    lab.run(&file).fails_any(1, &["not a directory"]);
    lab.assert_clean();
}

#[test]
fn user_groups_and_umask_are_those_of_the_configuration() {
    let lab = Lab::new();
    let text = status(&lab, |p| {
        p["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 2000], "umask": 0o27});
    });
    assert_eq!(status_field(&text, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status_field(&text, "Gid"), "1001\t1001\t1001\t1001");
    assert_eq!(status_field(&text, "Groups"), "5 2000");
    assert_eq!(status_field(&text, "Umask"), "0027");
    let text = status(&lab, |_| ());
    assert_eq!(status_field(&text, "Groups"), "", "the runtime's groups must not leak");
    assert_eq!(status_field(&text, "Umask"), "0022");
}

#[test]
fn standard_streams_belong_to_the_user() {
    let lab = Lab::new();
    let script = "echo through > /dev/stdout; echo error > /dev/stderr";
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", script]);
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    let done = lab.run(&bundle).exits(0);
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("through\n", "error\n"));
}

#[test]
fn capabilities_of_root_are_bounded() {
    let lab = Lab::new();
    let text = status(&lab, |p| {
        let two = json!(["CAP_CHOWN", "CAP_KILL"]);
        p["capabilities"] =
            json!({"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"], "effective": two, "permitted": two});
    });
    let (bounding, two) = (1 | 1 << 5 | 1 << 7, 1 | 1 << 5);
    assert_eq!(capabilities(&text), [bounding, two, two, 0, 0]);
    // Without no_new_privs, execve gives root everything that is in the bounding set (capabilities(7)).
    let text = status(&lab, |p| {
        let two = json!(["CAP_CHOWN", "CAP_KILL"]);
        p["noNewPrivileges"] = json!(false);
        p["capabilities"] =
            json!({"bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"], "effective": two, "permitted": two});
    });
    assert_eq!(capabilities(&text), [bounding, bounding, bounding, 0, 0]);
    let none = status(&lab, |p| p["capabilities"] = json!({}));
    assert_eq!(capabilities(&none), [0; 5]);
    let absent = status(&lab, |p| drop(p.as_object_mut().unwrap().remove("capabilities")));
    if strict() {
        assert_eq!(capabilities(&absent)[3..], [0, 0], "no section: nothing inheritable or ambient");
    }
}

#[test]
fn capabilities_of_a_user_are_the_ambient_ones() {
    let lab = Lab::new();
    let text = status(&lab, |p| {
        p["user"] = json!({"uid": 1000, "gid": 1000});
        let all = json!(["CAP_CHOWN", "CAP_KILL", "CAP_SETUID"]);
        p["capabilities"] = json!({
            "bounding": all, "effective": all, "permitted": all,
            "inheritable": ["CAP_CHOWN", "CAP_KILL"], "ambient": ["CAP_CHOWN"],
        });
    });
    assert_eq!(capabilities(&text), [1 | 1 << 5 | 1 << 7, 1, 1, 1 | 1 << 5, 1]);
    let plain = status(&lab, |p| p["user"] = json!({"uid": 1000, "gid": 1000}));
    assert_eq!(capabilities(&plain), [1 << 29 | 1 << 5 | 1 << 10, 0, 0, 0, 0]);
}

#[test]
fn rlimits_are_set_and_others_left_alone() {
    let lab = Lab::new();
    let limits = lab.sh("cat /proc/self/limits", |c| {
        c["process"]["rlimits"] = json!([
            {"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60},
            {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
            {"type": "RLIMIT_FSIZE", "soft": 4096, "hard": 18_446_744_073_709_551_615u64},
            {"type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 2_097_152},
        ]);
    });
    let line = |name: &str| {
        let line = limits.lines().find(|l| l.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Max open files"), ["50", "60"]);
    assert_eq!(line("Max core file size"), ["0", "0"]);
    assert_eq!(line("Max file size"), ["4096", "unlimited"]);
    assert_eq!(line("Max stack size"), ["1048576", "2097152"]);
    let host = fs::read_to_string("/proc/self/limits").unwrap();
    let cpu = |text: &str| text.lines().find(|l| l.starts_with("Max cpu time")).unwrap().to_owned();
    assert_eq!(cpu(&limits), cpu(&host));
}

#[test]
fn no_new_privileges_is_as_configured() {
    let lab = Lab::new();
    for (value, seen) in [(true, "1"), (false, "0")] {
        let text = status(&lab, |p| p["noNewPrivileges"] = json!(value));
        assert_eq!(status_field(&text, "NoNewPrivs"), seen);
    }
}

#[test]
fn oom_score_adj_is_set_or_inherited() {
    let lab = Lab::new();
    let script = "cat /proc/self/oom_score_adj";
    assert_eq!(lab.sh(script, |c| c["process"]["oomScoreAdj"] = json!(789)), "789\n");
    let own = fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert_eq!(lab.sh(script, |_| ()), own);
}

/// runc knows scheduler from 1.2.
#[test]
fn scheduler_policy_priority_and_nice() {
    let lab = Lab::new();
    let seen = |scheduler: Value| {
        let stat = lab.sh("exec cat /proc/self/stat", |c| c["process"]["scheduler"] = scheduler);
        let fields: Vec<i128> =
            stat.rsplit(") ").next().unwrap().split_whitespace().skip(1).map(|f| f.parse().unwrap()).collect();
        // proc_pid_stat(5): nice is field 19, rt_priority 40, policy 41; ours start at 4.
        (fields[41 - 4], fields[40 - 4], fields[19 - 4])
    };
    assert_eq!(seen(json!({"policy": "SCHED_BATCH", "nice": 5})), (3, 0, 5));
    assert_eq!(seen(json!({"policy": "SCHED_OTHER", "nice": 7})), (0, 0, 7));
    assert_eq!(seen(json!({"policy": "SCHED_IDLE"})), (5, 0, 0));
}

/// runc knows ioPriority from 1.2.
#[test]
fn io_priority_class_and_level() {
    let lab = Lab::new();
    for (class, priority, seen) in [("IOPRIO_CLASS_BE", 5, "best-effort: prio 5\n"), ("IOPRIO_CLASS_IDLE", 0, "idle\n")]
    {
        let io_priority = json!({"class": class, "priority": priority});
        assert_eq!(lab.sh("ionice -p $$", |c| c["process"]["ioPriority"] = io_priority), seen);
    }
}

/// runc knows execCPUAffinity from 1.3. It concerns `exec` alone.
#[test]
fn exec_cpu_affinity_is_that_of_exec() {
    let lab = Lab::new();
    let container = lab.start(&lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        c["process"]["execCPUAffinity"] = json!({"initial": "0", "final": "0"});
    }));
    let text = container.exec(&["cat", "/proc/self/status"]).ok().stdout;
    assert_eq!(status_field(&text, "Cpus_allowed_list"), "0");
    let init = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    let own = fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(status_field(&init, "Cpus_allowed_list"), status_field(&own, "Cpus_allowed_list"));
}

/// runc knows personality from 1.2.
#[test]
fn personality_is_set() {
    let lab = Lab::new();
    let linux32 = json!({"domain": "LINUX32"});
    assert_eq!(lab.sh("cat /proc/self/personality", |c| c["linux"]["personality"] = linux32), "00000008\n");
}

/// runc knows domainname from 1.2.
#[test]
fn hostname_and_domainname_are_those_of_the_container_alone() {
    let lab = Lab::new();
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let names = lab.sh("hostname; cat /proc/sys/kernel/domainname", |c| {
        c["hostname"] = json!("host-inside");
        c["domainname"] = json!("domain.inside");
    });
    assert_eq!(names, "host-inside\ndomain.inside\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn sysctl_namespaced_ones_are_set_inside_only() {
    let lab = Lab::new();
    let before = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap();
    let script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax /proc/sys/fs/mqueue/msg_max";
    let seen = lab.sh(script, |c| {
        c["linux"]["sysctl"] = json!({
            "net.ipv4.ip_default_ttl": "77", "kernel.msgmax": "4097", "fs.mqueue.msg_max": "12",
        });
    });
    assert_eq!(seen, "77\n4097\n12\n");
    assert_eq!(fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), before);
}

#[test]
fn session_keyring_is_new_unless_told_otherwise() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["cat", "/proc/keys"]);
        c["linux"]["maskedPaths"] = json!([]);
    });
    let id = lab.id();
    let keys = lab.cmd(&["run", "--bundle", bundle.str(), &id]).output().ok().stdout;
    assert!(keys.contains(&format!("_ses.{id}")), "{keys}");
    let id = lab.id();
    let keys = lab.cmd(&["run", "--no-new-keyring", "--bundle", bundle.str(), &id]).output().ok().stdout;
    assert!(!keys.contains(&id), "{keys}");
}

#[test]
fn listen_fds_and_preserved_fds_arrive_and_no_others() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["probe", "fds"])).with_probe();
    let open = "exec 3</etc/hostname 4</etc/passwd 5</etc/group 6</etc/fstab";
    let run = |options: &[&str], script: &str| {
        let id = lab.id();
        let command = [&["run", "-b", bundle.str()], options, &[&id]].concat();
        let text = lab.cmd(&command).after(script).output().ok().stdout;
        let mut fds: Vec<u32> = text.lines().map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect();
        fds.sort_unstable();
        fds
    };
    assert_eq!(run(&[], open), [0, 1, 2]);
    assert_eq!(run(&["--preserve-fds=1"], open), [0, 1, 2, 3]);
    assert_eq!(run(&["--preserve-fds=3"], open), [0, 1, 2, 3, 4, 5]);
    let listen = format!("{open}\nexport LISTEN_FDS=2 LISTEN_FDNAMES=a:b LISTEN_PID=$$");
    assert_eq!(run(&[], &listen), [0, 1, 2, 3, 4]);
    assert_eq!(run(&["--preserve-fds=1"], &listen), [0, 1, 2, 3, 4, 5]);
    let environment = lab.bundle(|c| args(c, &["sh", "-c", "echo $LISTEN_FDS $LISTEN_PID $$"]));
    let done = lab.cmd(&["run", "-b", environment.str(), &lab.id()]).after(&listen).output().ok();
    assert_eq!(done.stdout, "2 1 1\n");
    // More than there are: refused or cut short, but the runtime's own descriptors (runc 1.1.5 gives away eight of
    // them) are no business of the container's.
    let more = lab.cmd(&["run", "--preserve-fds=9", "-b", bundle.str(), &lab.id()]).after(open).output();
    assert!(more.code() == 1 || (more.code() == 0 && more.stdout.lines().count() == 7), "{more:#?}");
}

#[test]
fn terminal_is_sent_to_the_console_socket() {
    let lab = Lab::new();
    let script =
        "echo first line; stty size; tty; ls -l /dev/console | cut -c1; read word; echo \"<$word>\"; sleep 0.1";
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", script]);
        c["process"]["terminal"] = json!(true);
        c["process"]["consoleSize"] = json!({"height": 41, "width": 131});
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    });
    let socket = ConsoleSocket::new(&lab);
    let container = harness::Container { lab: &lab, id: lab.id() };
    container.with("create", &["--bundle", bundle.str(), "--console-socket", socket.str()], &[]).ok();
    let mut terminal = socket.terminal();
    assert_eq!(terminal.size(), (41, 131));
    container.op("start").ok();
    let text = terminal.read_until("c\r\n");
    assert_eq!(text, "first line\r\n41 131\r\n/dev/pts/0\r\nc\r\n");
    terminal.write("typed\n");
    terminal.read_until("<typed>\r\n");
    terminal.read_to_end();
    container.wait("stopped");
    container.op("delete").ok();
}

#[test]
fn terminal_and_console_socket_need_each_other() {
    let lab = Lab::new();
    let with = lab.bundle(|c| c["process"]["terminal"] = json!(true));
    assert_eq!(lab.cmd(&["create", "-b", with.str(), &lab.id()]).output().code(), 1);
    assert_eq!(lab.cmd(&["run", "--detach", "-b", with.str(), &lab.id()]).output().code(), 1);
    let socket = ConsoleSocket::new(&lab);
    let without = lab.bundle(|c| args(c, &["true"]));
    let command = ["create", "-b", without.str(), "--console-socket", socket.str(), &lab.id()];
    assert_eq!(lab.cmd(&command).output().code(), 1);
    let nobody = ["create", "-b", with.str(), "--console-socket", "/no/such/socket", &lab.id()];
    assert_eq!(lab.cmd(&nobody).output().code(), 1);
    lab.assert_clean();
}

/// runc knows memoryPolicy from 1.4.
#[test]
fn memory_policy_is_set() {
    let lab = Lab::new();
    let maps = lab.sh("exec cat /proc/self/numa_maps", |c| {
        c["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "0"});
    });
    assert!(maps.lines().next().unwrap().contains(" bind:0"), "{maps}");
}

#[test]
fn apparmor_and_selinux_without_the_module_are_errors() {
    let lab = Lab::new();
    if !fs::exists("/sys/kernel/security/apparmor").unwrap() {
        let bundle = lab.bundle(|c| c["process"]["apparmorProfile"] = json!("some-profile"));
        let refused = lab.run(&bundle);
        assert_eq!(refused.code(), 1, "{refused:#?}");
        assert!(refused.stderr.contains("apparmor"), "{refused:#?}");
    }
    lab.assert_clean();
}

#[test]
fn rlimit_of_no_descriptors_is_the_programs_alone() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["true"]);
        c["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 0, "hard": 0}]);
    });
    lab.run(&bundle).exits(0);
}

#[test]
fn cwd_of_two_thousand_directories_is_made() {
    let lab = Lab::new();
    let deep = format!("/tmp{}", "/b".repeat(2000));
    let bundle = lab.bundle(|c| {
        args(c, &["true"]);
        c["process"]["cwd"] = json!(deep);
        c["root"]["readonly"] = json!(false);
    });
    lab.run(&bundle).exits(0);
}

/// What only init finds out, behind the start gate: the kernel raises no ambient capability that is not inheritable.
#[test]
fn capability_that_cannot_be_granted_is_a_warning_of_start_and_exec() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        let one = json!(["CAP_CHOWN"]);
        c["process"]["capabilities"] = json!({"bounding": one, "effective": one, "permitted": one, "ambient": one});
    });
    let warned = |output: harness::Output| {
        assert_eq!((output.code(), output.stderr.as_str()), (0, ""), "{output:#?}");
        if strict() {
            let log = output.log.unwrap();
            let records = harness::command::log_records(&log);
            let record = records.iter().find(|record| record["level"] == "warning").expect("no warning");
            let text = record["msg"].as_str().unwrap();
            assert!(text.contains("cannot be granted: ambient CAP_CHOWN, ignoring"), "{text}");
        }
    };
    let container = lab.create(&bundle);
    warned(container.with_cmd("start", &[], &[]).global("--log-level=warning").output());
    let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
    assert_eq!(
        (status_field(&status, "CapPrm"), status_field(&status, "CapAmb")),
        (&*format!("{:016x}", 1), "0000000000000000")
    );
    warned(container.with_cmd("exec", &[], &["true"]).global("--log-level=warning").output());
}
