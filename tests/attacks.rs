//! Published attacks on runtimes, performed: 1 (binary overwritten), 2 (descriptors and working directory),
//! 11 (inheritable capabilities), 12 (wrong user), 13 (ptrace during exec), 14 (over-long input).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use harness::{Bundle, Lab, args, eventually, json, status_field, strict};
use serde_json::Value;

/// While nobody executes the file, ETXTBSY does not protect it: the attacker's moment.
const LULL: Duration = Duration::from_millis(10);

const EVERY_CAPABILITY: [&str; 12] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_NET_ADMIN",
    "CAP_MKNOD",
];

fn powerful(config: &mut Value) {
    let all = json!(EVERY_CAPABILITY);
    config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    config["process"]["noNewPrivileges"] = json!(false);
}

/// A container whose first process attacks until it has printed "done".
fn attacker(lab: &Lab, attack: &[&str], patch: impl FnOnce(&mut Value)) -> Bundle {
    lab.bundle(|c| {
        args(c, &[&["/bin/probe"], attack].concat());
        powerful(c);
        patch(c);
    })
    .with_probe()
}

/// A container that tries to write to `victim` and to nothing else.
fn overwriter(lab: &Lab, victim: &Path) -> Bundle {
    let file = fs::metadata(victim).unwrap();
    attacker(lab, &["overwrite", "4000", &file.dev().to_string(), &file.ino().to_string()], |_| ())
}

/// CVE-2019-5736. The files that the runtime is made to execute are scripts whose interpreter is the runtime itself,
/// so that its file is open as an executable inside of the container.
#[test]
fn attack_1_exec_into_hostile_container_leaves_the_binary_unchanged() {
    let mut lab = Lab::new();
    lab.copy_runtime();
    let before = fs::read(&lab.runtime).unwrap();
    let bundle = overwriter(&lab, &lab.runtime);
    fs::remove_file(bundle.root("bin/sh")).unwrap();
    bundle.program("bin/sh", "#!/proc/self/exe\n");
    bundle.program("bin/evil", "#!/proc/self/exe state\n");
    let id = lab.id();
    let run = lab.cmd(&["run", "--bundle", bundle.str(), &id]).spawn();
    eventually("the attacker", || run.stdout().contains("ready"));
    let container = harness::Container { lab: &lab, id };
    while !run.stdout().contains("done") {
        for program in ["/bin/sh", "/bin/evil", "/bin/true"] {
            // Fails or not: what counts is the file.
            let _ = container.with("exec", &[], &[program]);
            std::thread::sleep(LULL);
        }
        if fs::read(&lab.runtime).unwrap() != before {
            break;
        }
    }
    assert!(fs::read(&lab.runtime).unwrap() == before, "the binary was overwritten: {}", run.stdout());
    let done = run.wait();
    assert!(!done.stdout.contains("overwrote"), "something was overwritten: {}", done.stdout);
}

#[test]
fn attack_1_entrypoint_that_is_the_runtime_leaves_the_binary_unchanged() {
    let mut lab = Lab::new();
    lab.copy_runtime();
    let before = fs::read(&lab.runtime).unwrap();
    let id = lab.id();
    let hostile = overwriter(&lab, &lab.runtime);
    let run = lab.cmd(&["run", "--bundle", hostile.str(), &id]).spawn();
    eventually("the attacker", || run.stdout().contains("ready"));
    // In the attacker's pid namespace the runtime is seen from before its execve.
    let pid = harness::Container { lab: &lab, id }.pid();
    let bundle = lab.bundle(|c| {
        args(c, &["/entry"]);
        let list = c["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|n| n["type"] != "pid");
        list.push(json!({"type": "pid", "path": format!("/proc/{pid}/ns/pid")}));
    });
    bundle.program("entry", "#!/proc/self/exe\n");
    while !run.stdout().contains("done") && fs::read(&lab.runtime).unwrap() == before {
        let _ = lab.run(&bundle);
        std::thread::sleep(LULL);
    }
    assert!(fs::read(&lab.runtime).unwrap() == before, "the binary was overwritten: {}", run.stdout());
    let done = run.wait();
    assert!(!done.stdout.contains("overwrote"), "something was overwritten: {}", done.stdout);
}

/// The attacks succeed against a program that does nothing about them. On a busy machine it may take some attempts.
#[test]
fn attacks_1_and_13_succeed_against_an_unprotected_program() {
    for (attack, success) in [("overwrite", "overwrote"), ("attach", "memory of ")] {
        assert!((0..5).any(|_| succeeds_against_busybox(attack, success)), "{attack} has no teeth");
    }
}

/// Against a copy of busybox that enters the attacker's pid namespace.
fn succeeds_against_busybox(attack: &str, success: &str) -> bool {
    let lab = Lab::new();
    let id = lab.id();
    // The name makes it take its first argument for the applet.
    let victim = lab.path("busybox");
    fs::copy("/bin/busybox", &victim).unwrap();
    let bundle = match attack {
        "overwrite" => overwriter(&lab, &victim),
        _ => attacker(&lab, &["attach", "2000"], |_| ()),
    };
    let run = lab.cmd(&["run", "--bundle", bundle.str(), &id]).spawn();
    eventually("the attacker", || run.stdout().contains("ready"));
    let pid = harness::Container { lab: &lab, id }.pid().to_string();
    let program = victim.to_str().unwrap();
    while !run.stdout().contains("done") {
        let mut nsenter = std::process::Command::new(program);
        nsenter.args(["nsenter", "-t", &pid, "-p", program, "sleep", "0.02"]);
        // Once overwritten, it cannot be executed any more.
        let _ = nsenter.stderr(std::process::Stdio::null()).status();
        std::thread::sleep(LULL);
    }
    let succeeded = run.wait().stdout.contains(success);
    let changed = fs::read(&victim).unwrap() != fs::read("/bin/busybox").unwrap();
    assert_eq!(changed, succeeded && attack == "overwrite", "the attacker says what is not so");
    succeeded
}

/// CVE-2024-21626. A directory of the host that stays open is left through `..`.
#[test]
fn attack_2_cwd_through_a_descriptor_never_leaves_the_root() {
    let lab = Lab::new();
    let secret = lab.path("secret");
    fs::write(&secret, "secret of the host").unwrap();
    let script = format!(
        "for up in . .. ../.. ../../.. ../../../.. ../../../../../../../..; do cat $up/{0} $up{0} 2>/dev/null; done; true",
        secret.to_str().unwrap()
    );
    let container = lab.start(&lab.bundle(|c| args(c, &["sleep", "1000"])));
    // The caller's descriptors are inheritable; those of the runtime itself come after them.
    let open = "exec 3</ 4</etc 6</ 7</ 8</ 9</";
    for n in 3..=64 {
        let cwd = format!("/proc/self/fd/{n}");
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", &script]);
            c["process"]["cwd"] = json!(cwd);
        });
        let by_run = lab.cmd(&["run", "--bundle", bundle.str(), &lab.id()]).after(open).output();
        fs::remove_dir_all(&bundle.path).unwrap();
        let by_exec = container.with_cmd("exec", &["--cwd", &cwd], &["sh", "-c", &script]).after(open).output();
        for done in [by_run, by_exec] {
            assert!(!done.stdout.contains("secret of the host"), "{cwd} leads to the host: {done:#?}");
        }
    }
}

#[test]
fn attack_2_cwd_through_a_link_of_the_image_never_leaves_the_root() {
    let lab = Lab::new();
    fs::write(lab.path("secret"), "secret of the host").unwrap();
    let script =
        format!("cat ./{0} ../{0} ../../../../../../../..{0} 2>/dev/null; true", lab.path("secret").to_str().unwrap());
    for target in
        ["/proc/self/fd/5", "/proc/self/fd/6", "/proc/self/fd/7", "/proc/self/fd/8", "/proc/1/cwd", "/proc/1/root"]
    {
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", &script]);
            c["process"]["cwd"] = json!("/link");
        });
        std::os::unix::fs::symlink(target, bundle.root("link")).unwrap();
        let done = lab.run(&bundle);
        assert!(!done.stdout.contains("secret of the host"), "{target} leads to the host: {done:#?}");
    }
}

#[test]
fn attack_2_census_finds_the_standard_descriptors_only() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["probe", "fds"])).with_probe();
    let numbers = |text: &str| {
        let mut numbers: Vec<u32> = text.lines().map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    // The caller's descriptors are inheritable: a shell does not mark them.
    let open = "exec 3</ 4</etc 7</root 9</etc/passwd";
    let run = lab.cmd(&["run", "-b", bundle.str(), &lab.id()]).after(open).output().ok();
    assert_eq!(numbers(&run.stdout), [0, 1, 2], "{}", run.stdout);
    let container = lab.start(&lab.bundle(|c| args(c, &["sleep", "1000"])).with_probe());
    let exec = container.with_cmd("exec", &[], &["probe", "fds"]).after(open).output().ok();
    assert_eq!(numbers(&exec.stdout), [0, 1, 2], "{}", exec.stdout);
    let inside: Vec<_> = fs::read_dir(format!("/proc/{}/fd", container.pid())).unwrap().collect();
    assert_eq!(inside.len(), 3);
    // Nor does anything of the host serve as working directory or root.
    let pid = container.pid();
    for link in ["cwd", "root"] {
        assert_eq!(fs::read_link(format!("/proc/{pid}/{link}")).unwrap().to_str().unwrap(), "/");
    }
}

/// CVE-2022-24769 and its like.
#[test]
fn attack_11_inheritable_capabilities_are_what_was_configured() {
    let lab = Lab::new();
    let status = ["cat", "/proc/self/status"];
    let inheritable = |text: &str| u64::from_str_radix(status_field(text, "CapInh"), 16).unwrap();
    for (configured, expected) in [(json!([]), 0), (json!(["CAP_KILL"]), 1 << 5)] {
        let bundle = |program: &[&str]| {
            lab.bundle(|c| {
                args(c, program);
                c["process"]["capabilities"]["inheritable"] = configured.clone();
            })
        };
        assert_eq!(inheritable(&lab.run(&bundle(&status)).ok().stdout), expected, "run");
        let container = lab.start(&bundle(&["sleep", "1000"]));
        assert_eq!(inheritable(&container.exec(&status).ok().stdout), expected, "exec");
        let more = container.with("exec", &["--cap", "CAP_NET_RAW"], &status).ok().stdout;
        assert_eq!(inheritable(&more), expected, "exec --cap");
    }
    let text = lab.sh("cat /proc/$$/status", |c| drop(c["process"].as_object_mut().unwrap().remove("capabilities")));
    assert_eq!(inheritable(&text), 0, "no capabilities section");
}

/// CVE-2016-3697: the image decides who a numeric or odd user is.
#[test]
fn attack_12_user_is_numeric_and_exact_or_refused() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| args(c, &["sleep", "1000"]));
    // An image that makes root of everybody.
    fs::write(bundle.root("etc/passwd"), "1:x:0:0::/:/bin/sh\n1000:x:0:0::/:\nweb:x:0:0::/:\n").unwrap();
    fs::write(bundle.root("etc/group"), "1:x:0:\nweb:x:0:\n").unwrap();
    let container = lab.start(&bundle);
    let identity = ["sh", "-c", "echo ran $(id -u) $(id -g)"];
    for (form, expected) in [("1", "ran 1 0\n"), ("1000:1", "ran 1000 1\n"), ("0:0", "ran 0 0\n")] {
        assert_eq!(container.with("exec", &["--user", form], &identity).ok().stdout, expected, "--user {form}");
    }
    let bad = [
        "web",
        "root",
        "1:web",
        "1:",
        ":1",
        ":",
        "-1",
        "1:-1",
        "0x1",
        "1 ",
        " 1",
        "1.0",
        "1:2:3",
        "4294967296",
        "4294967295",
        "1:4294967295",
        "99999999999999999999",
        "1e0",
        "١",
    ];
    // Go's parser takes the sign; an empty value means "not given" to runc.
    let stricter: &[&str] = if strict() { &["+1", "1:+1", ""] } else { &[] };
    for form in bad.iter().chain(stricter) {
        let refused = container.with("exec", &[&format!("--user={form}")], &identity);
        assert_ne!(refused.code(), 0, "--user {form:?} was taken: {refused:#?}");
        assert!(!refused.stdout.contains("ran"), "--user {form:?} ran: {refused:#?}");
    }
}

/// CVE-2016-9962: root inside attaches to the process that enters before it has become the payload.
#[test]
fn attack_13_entering_process_cannot_be_traced() {
    let lab = Lab::new();
    let id = lab.id();
    // With CAP_SYS_PTRACE over the host's user namespace, nothing can be refused to it (ptrace(2)).
    let bundle = attacker(&lab, &["attach", "5000"], |c| {
        for set in ["bounding", "effective", "permitted"] {
            c["process"]["capabilities"][set].as_array_mut().unwrap().retain(|c| c != "CAP_SYS_PTRACE");
        }
    });
    attach_during_exec(&lab, id, &bundle);
}

#[test]
fn attack_13_entering_process_cannot_be_traced_in_user_namespace() {
    let lab = Lab::new();
    let id = lab.id();
    let bundle = attacker(&lab, &["attach", "5000"], |c| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        c["linux"]["uidMappings"] = mapping.clone();
        c["linux"]["gidMappings"] = mapping;
    });
    lab.give(&bundle.root(""), 100_000);
    attach_during_exec(&lab, id, &bundle);
}

fn attach_during_exec(lab: &Lab, id: String, bundle: &Bundle) {
    let run = lab.cmd(&["run", "--bundle", bundle.str(), &id]).spawn();
    eventually("the attacker", || run.stdout().contains("ready"));
    let container = harness::Container { lab, id };
    while !run.stdout().contains("done") {
        // A traced payload may be stopped for a moment or fail; the attacker's report is what counts.
        let _ = container.with("exec", &[], &["/bin/true"]);
    }
    let done = run.wait();
    let report: Vec<_> = done.stdout.lines().collect();
    assert_eq!(report.len(), 2, "the attacker got hold of the runtime: {report:#?}");
    assert!(!report[1].contains("after 0 tries"), "the attacker saw nobody");
}

/// CVE-2021-43784: lengths that overflow a field of the runtime's own protocol.
#[test]
fn attack_14_overlong_values_arrive_whole() {
    let lab = Lab::new();
    let long = "x".repeat(65_536);
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "echo ${#1} ${#LONG} $OTHER", "sh", &long]);
        c["process"]["env"] = json!(["PATH=/bin", format!("LONG={long}"), "OTHER=intact"]);
        c["annotations"] = json!({"org.example/long": long});
    });
    assert_eq!(lab.run(&bundle).ok().stdout, "65536 65536 intact\n");
    let container = lab.start(&lab.bundle(|c| args(c, &["sleep", "1000"])));
    let options = ["--env", &format!("LONG={long}")];
    let done = container.with("exec", &options, &["sh", "-c", "echo ${#1} ${#LONG}", "sh", &long]).ok();
    assert_eq!(done.stdout, "65536 65536\n");
    let many = lab.bundle(|c| {
        args(c, &["sh", "-c", "echo $# $V19999", "sh", "a"]);
        c["process"]["env"] = (0..20_000).map(|n| format!("V{n}={n}")).chain(["PATH=/bin".to_owned()]).collect();
    });
    assert_eq!(lab.run(&many).ok().stdout, "1 19999\n");
}

#[test]
fn attack_14_overlong_values_that_cannot_work_are_refused() {
    let lab = Lab::new();
    let long = "x".repeat(65_536);
    let path = format!("/{}", "x/".repeat(32_768));
    type Patch<'a> = Box<dyn Fn(&mut Value) + 'a>;
    let user = |c: &mut Value, mappings: Value| {
        c["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        c["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        c["linux"]["uidMappings"] = mappings;
    };
    let table: Vec<(&str, Patch)> = vec![
        ("hostname", Box::new(|c| c["hostname"] = json!(long))),
        ("cwd", Box::new(|c| c["process"]["cwd"] = json!(path))),
        ("program", Box::new(|c| args(c, &[&path]))),
        ("root", Box::new(|c| c["root"]["path"] = json!(path))),
        ("mount destination", Box::new(|c| c["mounts"][0]["destination"] = json!(path))),
        (
            "mount source",
            Box::new(|c| c["mounts"][0] = json!({"destination": "/mnt", "source": path, "options": ["bind"]})),
        ),
        ("mount option", Box::new(|c| c["mounts"][1]["options"] = json!([format!("mode={long}")]))),
        ("namespace path", Box::new(|c| c["linux"]["namespaces"][1]["path"] = json!(path))),
        ("cgroup path", Box::new(|c| c["linux"]["cgroupsPath"] = json!(format!("/{}{path}", lab.tag)))),
        ("sysctl", Box::new(|c| c["linux"]["sysctl"] = json!({ format!("net.{long}"): "1" }))),
        ("environment", Box::new(|c| c["process"]["env"] = json!([format!("X={}", long.repeat(4))]))),
        (
            "mappings",
            Box::new(|c| {
                user(c, (0..4096).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect());
            }),
        ),
        (
            "mapping beyond the last id",
            Box::new(|c| user(c, json!([{"containerID": 0, "hostID": 4_294_967_290u32, "size": 65_536}]))),
        ),
    ];
    for (what, patch) in table {
        let refused = lab.run(&lab.bundle(patch));
        assert_eq!(refused.code(), 1, "over-long {what}: {} {}", refused.status, refused.stderr.len());
        assert!(!refused.stderr.is_empty(), "{what}");
        lab.assert_clean();
    }
}
