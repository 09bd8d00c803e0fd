//! `exec`: every flag, the process file, exit codes, terminals, and the states in which it is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;

use harness::{ConsoleSocket, Container, Lab, args, eventually, json, namespace, status_field, strict};
use nix::sys::signal::Signal;
use serde_json::Value;

fn running(lab: &Lab) -> Container<'_> {
    lab.start(&lab.bundle(|c| args(c, &["sleep", "1000"])).with_probe())
}

/// A process file: what containerd sends.
fn process_file(lab: &Lab, patch: impl FnOnce(&mut Value)) -> String {
    let mut process = json!({
        "user": {"uid": 0, "gid": 0},
        "args": ["true"],
        "env": ["PATH=/bin"],
        "cwd": "/",
    });
    patch(&mut process);
    let path = lab.path(&format!("process-{}", lab.number()));
    fs::write(&path, process.to_string()).unwrap();
    if let Some(user) = &lab.user {
        lab.give(&path, user.uid);
    }
    path.to_str().unwrap().to_owned()
}

#[test]
fn exec_gives_exit_code_of_program() {
    let lab = Lab::new();
    let container = running(&lab);
    for code in [0, 1, 3, 126, 127, 255] {
        container.exec(&["sh", "-c", &format!("exit {code}")]).exits(code);
    }
    container.exec(&["sh", "-c", "kill -TERM $$"]).exits(143);
    container.exec(&["sh", "-c", "kill -KILL $$"]).exits(137);
    assert_eq!(container.status(), "running");
}

#[test]
fn exec_failure_of_runtime_is_255_with_the_text_that_engines_map() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["sleep", "1000"]));
    fs::write(bundle.root("tmp/plain"), "text").unwrap();
    let container = lab.start(&bundle);
    let missing = "exec: \"no-such\": executable file not found in $PATH";
    container.exec(&["no-such"]).fails(255, missing);
    container.exec(&["/bin/no-such"]).fails(255, "no such file or directory");
    container.exec(&["/tmp/plain"]).fails(255, "permission denied");
    container.exec(&["/tmp"]).fails_any(255, &["permission denied", "is a directory"]);
    let pid_file = lab.path("pid");
    let options = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
    container.with("exec", &options, &["no-such"]).fails(255, missing);
    assert!(!pid_file.exists(), "a pid file without a process");
    assert_ne!(container.exec(&[]).code(), 0, "no program");
}

#[test]
fn exec_fits_running_and_created() {
    let lab = Lab::new();
    lab.in_state("running").exec(&["true"]).ok();
    lab.in_state("created").exec(&["true"]).ok();
    let stopped = lab.in_state("stopped");
    stopped.exec(&["true"]).fails(255, "cannot exec in a stopped container");
    let paused = lab.in_state("paused");
    let text = "cannot exec in a paused container (use --ignore-paused to override)";
    paused.exec(&["true"]).fails(255, text);
    let waiting = paused.with_cmd("exec", &["--ignore-paused"], &["sh", "-c", "exit 4"]).spawn();
    std::thread::sleep(std::time::Duration::from_millis(100));
    paused.freeze(false);
    waiting.wait().exits(4);
}

#[test]
fn exec_joins_every_namespace_cgroup_and_root_of_the_container() {
    let lab = Lab::new();
    let container = running(&lab);
    let pid = container.pid();
    let script = "for n in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup";
    let inside = container.exec(&["sh", "-c", script]).ok().stdout;
    let kinds = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"];
    for (kind, line) in kinds.iter().zip(inside.lines()) {
        assert_eq!(line, namespace(pid, kind));
    }
    let cgroups: Vec<_> = inside.lines().skip(kinds.len()).collect();
    let expected = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(cgroups, expected.lines().collect::<Vec<_>>());
}

#[test]
fn exec_inherits_process_section_and_options_override_it() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        c["process"]["env"] = json!(["PATH=/bin", "KEPT=1", "CHANGED=old"]);
        c["process"]["cwd"] = json!("/home/web");
        c["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [7]});
    });
    let container = lab.start(&bundle);
    let script = "pwd; id -u; id -g; id -G; echo $KEPT $CHANGED $NEW $EMPTY.";
    let plain = container.exec(&["sh", "-c", script]).ok().stdout;
    assert_eq!(plain, "/home/web\n1000\n1000\n1000 7\n1 old .\n");
    let options = [
        "--cwd",
        "/tmp",
        "--env",
        "CHANGED=new",
        "--env",
        "NEW=a=b",
        "--env=EMPTY=",
        "--user",
        "5:6",
        "--additional-gids",
        "8",
        "--additional-gids",
        "9",
    ];
    let changed = container.with("exec", &options, &["sh", "-c", script]).ok().stdout;
    let lines: Vec<_> = changed.lines().collect();
    assert_eq!((lines[0], lines[1], lines[2]), ("/tmp", "5", "6"));
    let groups: Vec<_> = lines[3].split(' ').collect();
    assert!(groups.contains(&"8") && groups.contains(&"9"), "{groups:?}");
    assert_eq!(lines[4], "1 new a=b .");
}

#[test]
fn exec_user_forms() {
    let lab = Lab::new();
    let container = running(&lab);
    for (form, uid, gid) in [("5", "5", "0"), ("5:6", "5", "6"), ("0", "0", "0"), ("2147483647:7", "2147483647", "7")] {
        let done = container.with("exec", &["--user", form], &["sh", "-c", "id -u; id -g"]).ok();
        assert_eq!(done.stdout, format!("{uid}\n{gid}\n"), "-u {form}");
    }
}

/// runc 1.1.5 ignores the umask of a process file.
#[test]
fn exec_process_file_is_the_whole_process_section() {
    let lab = Lab::new();
    let container = running(&lab);
    let file = process_file(&lab, |p| {
        p["args"] = json!([
            "sh",
            "-c",
            "id -u; id -g; pwd; umask; tr '\\0' '\\n' < /proc/$$/environ | sort; ulimit -n; grep NoNew /proc/self/status"
        ]);
        p["user"] = json!({"uid": 3, "gid": 4, "umask": 0o27});
        p["cwd"] = json!("/tmp");
        p["env"] = json!(["PATH=/bin", "A=1"]);
        p["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 88}]);
    });
    for option in ["--process", "-p"] {
        let done = container.with("exec", &[option, &file], &[]).ok().stdout;
        let lines: Vec<_> = done.lines().collect();
        // No HOME: the root file system knows no user 3; runc falls back to /.
        let home = ["A=1", "HOME=/", "PATH=/bin"];
        assert_eq!(lines[..4], ["3", "4", "/tmp", "0027"]);
        assert!(lines.contains(&"A=1") && lines.contains(&"PATH=/bin"));
        assert!(lines[4..lines.len() - 2].iter().all(|l| home.contains(l)), "{lines:?}");
        assert_eq!(lines[lines.len() - 2], "77");
        assert!(lines[lines.len() - 1].ends_with('0'), "noNewPrivileges of the container must not leak: {lines:?}");
    }
}

#[test]
fn exec_process_file_malformed_is_refused() {
    let lab = Lab::new();
    let container = running(&lab);
    let bad: [fn(&mut Value); 6] = [
        |p| p["args"] = json!([]),
        |p| p["cwd"] = json!("relative"),
        |p| p["user"] = json!("root"),
        |p| p["args"] = json!("true"),
        |p| p["env"] = json!(["no-equals-sign"]),
        |p| p["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 9, "hard": 8}]),
    ];
    for patch in bad {
        let file = process_file(&lab, patch);
        let refused = container.with("exec", &["--process", &file], &[]);
        // runc 1.1.5 takes an environment entry without "=".
        assert_eq!(refused.code(), 255, "{} taken: {refused:#?}", fs::read_to_string(&file).unwrap());
    }
    let garbage = lab.path("garbage");
    fs::write(&garbage, "{").unwrap();
    assert_eq!(container.with("exec", &["--process", garbage.to_str().unwrap()], &[]).code(), 255);
    assert_eq!(container.with("exec", &["--process", "/no/such/file"], &[]).code(), 255);
    assert_eq!(container.status(), "running");
}

#[test]
fn exec_detach_returns_and_pid_file_names_the_process() {
    let lab = Lab::new();
    let container = running(&lab);
    let pid_file = lab.path("pid");
    let options = ["--detach", "--pid-file", pid_file.to_str().unwrap()];
    container.with("exec", &options, &["sleep", "777"]).ok();
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert!(pid.bytes().all(|b| b.is_ascii_digit()), "{pid:?}");
    eventually("sleep", || fs::read(format!("/proc/{pid}/cmdline")).unwrap() == b"sleep\x00777\0");
    assert_eq!(namespace(&pid, "mnt"), namespace(container.pid(), "mnt"));
    container.stop();
    assert!(!fs::exists(format!("/proc/{pid}/root")).unwrap() || harness::leaks::processes(&lab.tag).is_empty());
}

#[test]
fn exec_foreground_pid_file_and_signals() {
    let lab = Lab::new();
    let container = running(&lab);
    let pid_file = lab.path("pid");
    let script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.02; done";
    let run = container.with_cmd("exec", &["--pid-file", pid_file.to_str().unwrap()], &["sh", "-c", script]).spawn();
    eventually("ready", || run.stdout().contains("ready"));
    eventually("pid file", || pid_file.exists());
    let pid: i32 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    assert_eq!(namespace(pid, "pid"), namespace(container.pid(), "pid"));
    run.signal(Signal::SIGTERM);
    let done = run.wait().exits(9);
    assert!(done.stdout.contains("got"));
}

#[test]
fn exec_tty_in_foreground_and_by_console_socket() {
    let lab = Lab::new();
    let container = running(&lab);
    let socket = ConsoleSocket::new(&lab);
    let script = "echo first line; tty; test -t 0 && test -t 1 && test -t 2 && echo all; read word; echo <$word>";
    let script = script.replace("<$word>", "\"<$word>\"");
    let options = ["--tty", "--detach", "--console-socket", socket.str()];
    container.with("exec", &options, &["sh", "-c", &script]).ok();
    let mut terminal = socket.terminal();
    let text = terminal.read_until("all\r\n");
    assert!(text.starts_with("first line\r\n/dev/pts/"), "{text:?}");
    terminal.write("hello\n");
    terminal.read_until("<hello>\r\n");
    terminal.read_to_end();
    // A terminal without a console socket cannot be detached from.
    assert_eq!(container.with("exec", &["-t", "-d"], &["true"]).code(), 255);
    let file = process_file(&lab, |p| {
        p["terminal"] = json!(true);
        p["consoleSize"] = json!({"height": 31, "width": 97});
        p["args"] = json!(["sh", "-c", "stty size; sleep 0.2"]);
    });
    let options = ["--detach", "--console-socket", socket.str(), "--process", &file];
    container.with("exec", &options, &[]).ok();
    let mut terminal = socket.terminal();
    terminal.read_until("31 97\r\n");
    assert_eq!(terminal.size(), (31, 97));
}

#[test]
fn exec_cap_adds_capabilities() {
    let lab = Lab::new();
    let container = running(&lab);
    let bit = |text: &str, set: &str| u64::from_str_radix(status_field(text, set), 16).unwrap();
    let plain = container.exec(&["cat", "/proc/self/status"]).ok().stdout;
    let more = container
        .with("exec", &["--cap", "CAP_SYS_NICE", "--cap", "CAP_CHOWN"], &["cat", "/proc/self/status"])
        .ok()
        .stdout;
    for set in ["CapBnd", "CapEff", "CapPrm"] {
        assert_eq!(bit(&more, set), bit(&plain, set) | 1 << 23 | 1, "{set}");
    }
    assert_eq!(bit(&plain, "CapInh"), 0);
    assert_eq!(bit(&more, "CapInh"), 0);
}

#[test]
fn exec_no_new_privs() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        c["process"]["noNewPrivileges"] = json!(false);
    });
    let container = lab.start(&bundle);
    let status = ["cat", "/proc/self/status"];
    assert_eq!(status_field(&container.exec(&status).ok().stdout, "NoNewPrivs"), "0");
    assert_eq!(status_field(&container.with("exec", &["--no-new-privs"], &status).ok().stdout, "NoNewPrivs"), "1");
}

#[test]
fn exec_labels_without_the_module_are_refused() {
    let lab = Lab::new();
    let container = running(&lab);
    if !fs::exists("/sys/kernel/security/apparmor").unwrap() {
        assert_eq!(container.with("exec", &["--apparmor", "profile"], &["true"]).code(), 255);
    }
    if !fs::exists("/sys/fs/selinux/enforce").unwrap() && strict() {
        assert_eq!(container.with("exec", &["--process-label", "a:b:c:d"], &["true"]).code(), 255);
    }
}

#[test]
fn exec_preserve_fds_passes_exactly_so_many() {
    let lab = Lab::new();
    let container = running(&lab);
    let open = "exec 3</etc/hostname 4</etc/passwd 5</etc/group";
    let census = |options: &[&str]| {
        let done = container.with_cmd("exec", options, &["probe", "fds"]).after(open).output().ok();
        let mut fds: Vec<String> = done.stdout.lines().map(|l| l.split(' ').next().unwrap().to_owned()).collect();
        fds.sort();
        fds
    };
    assert_eq!(census(&[]), ["0", "1", "2"]);
    assert_eq!(census(&["--preserve-fds", "2"]), ["0", "1", "2", "3", "4"]);
}

#[test]
fn exec_cgroup_goes_below_the_container() {
    let lab = Lab::new();
    let container = running(&lab);
    let table = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    let line = table.lines().find(|l| l.contains(":pids:")).unwrap_or_else(|| table.lines().last().unwrap());
    let path = line.splitn(3, ':').nth(2).unwrap();
    let controller = if line.contains(":pids:") { "pids" } else { "" };
    let mount = format!("/sys/fs/cgroup/{controller}{path}/sub");
    fs::create_dir(&mount).unwrap();
    let option = if controller.is_empty() { "sub".to_owned() } else { format!("{controller}:sub") };
    let inside = container.with("exec", &["--cgroup", &option], &["cat", "/proc/self/cgroup"]).ok().stdout;
    assert!(inside.lines().any(|l| l.ends_with(&format!("{path}/sub"))), "{inside}");
    for bad in ["pids:../..", "nosuchcontroller:sub", "pids:no-such-sub", "../x", "pids:sub/../../.."] {
        assert_eq!(container.with("exec", &["--cgroup", bad], &["true"]).code(), 255, "--cgroup {bad}");
    }
}

#[test]
fn exec_in_parallel_each_gets_its_own_result() {
    let lab = Lab::new();
    let container = running(&lab);
    let script = |n: i32| format!("echo {n}; exit {n}");
    let runs: Vec<_> = (0..12).map(|n| container.with_cmd("exec", &[], &["sh", "-c", &script(n)]).spawn()).collect();
    for (n, run) in (0i32..).zip(runs) {
        assert_eq!(run.wait().exits(n).stdout, format!("{n}\n"));
    }
}

/// runc reads the bundle again.
#[test]
fn exec_in_container_whose_bundle_changed_uses_what_was_created() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        c["process"]["env"] = json!(["PATH=/bin", "FROM=create"]);
    });
    let container = lab.start(&bundle);
    bundle.write_config("{}");
    assert_eq!(container.exec(&["sh", "-c", "echo $FROM"]).ok().stdout, "create\n");
}

#[test]
fn exec_init_dies_meanwhile_ends_with_signal() {
    let lab = Lab::new();
    let container = running(&lab);
    let run = container.with_cmd("exec", &[], &["sh", "-c", "echo ready; sleep 1000"]).spawn();
    eventually("ready", || run.stdout().contains("ready"));
    container.with("kill", &[], &["KILL"]).ok();
    run.wait().exits(137);
}

#[test]
fn exec_options_stop_at_the_program() {
    let lab = Lab::new();
    let container = running(&lab);
    assert_eq!(container.exec(&["echo", "--tty", "-e", "--", "x"]).ok().stdout, "--tty -e -- x\n");
    assert_eq!(container.exec(&["printf", "%s|", "a b", "", "$HOME"]).ok().stdout, "a b||$HOME|");
}
