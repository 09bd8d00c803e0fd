//! The runtime as an unprivileged user, with and without subordinate ids. The user exists only in a mount namespace of
//! the test. Needs newuidmap and newgidmap (package uidmap).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;

use std::fs;
use std::os::unix::fs::MetadataExt;

use harness::{ConsoleSocket, Container, Lab, args, eventually, json, status_field, strict};

const SUBORDINATE: (u32, u32) = (300_000, 1000);

fn labs() -> [Lab; 2] {
    assert!(fs::exists("/usr/bin/newuidmap").unwrap(), "needs newuidmap (package uidmap)");
    [Lab::rootless(None), Lab::rootless(Some(SUBORDINATE))]
}

#[test]
fn rootless_life_from_create_to_delete() {
    for lab in labs() {
        let bundle = lab.bundle(|c| args(c, &["sleep", "1000"]));
        let container = lab.create(&bundle);
        assert_eq!(container.status(), "created");
        container.op("start").ok();
        assert_eq!(container.status(), "running");
        let status = fs::read_to_string(format!("/proc/{}/status", container.pid())).unwrap();
        assert_eq!(status_field(&status, "Uid"), "54321\t54321\t54321\t54321");
        let list = lab.cmd(&["list", "-q"]).output().ok().stdout;
        assert_eq!(list.trim(), container.id);
        assert_eq!(container.exec(&["sh", "-c", "id -u; hostname"]).ok().stdout, "0\ncoracle\n");
        container.exec(&["sh", "-c", "exit 7"]).exits(7);
        container.op("delete").fails_any(1, &["container still running", "that is not stopped"]);
        container.stop();
        container.op("delete").ok();
        lab.assert_clean();
    }
}

#[test]
fn rootless_mappings_are_the_users_own() {
    for lab in labs() {
        let text = lab.sh("cat /proc/self/uid_map /proc/self/gid_map", |_| ());
        let maps: Vec<Vec<&str>> = text.lines().map(|l| l.split_whitespace().collect()).collect();
        let own = vec!["0", "54321", "1"];
        match lab.user.as_ref().unwrap().subordinate {
            None => assert_eq!(maps, [own.clone(), own]),
            Some(_) => {
                let more = vec!["1", "300000", "1000"];
                assert_eq!(maps, [own.clone(), more.clone(), own, more]);
            }
        }
    }
}

#[test]
fn rootless_setgroups_is_denied_only_without_subordinate_ids() {
    for (lab, expected) in labs().iter().zip(["deny\n", "allow\n"]) {
        assert_eq!(lab.sh("cat /proc/self/setgroups", |_| ()), expected);
    }
}

/// runc 1.1.5 refuses additional groups to every rootless container.
#[test]
fn rootless_subordinate_user_owns_its_files() {
    let lab = Lab::rootless(Some(SUBORDINATE));
    let bundle = lab.bundle(|c| {
        args(c, &["sh", "-c", "touch /tmp/made; id -G"]);
        c["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7]});
    });
    assert_eq!(lab.run(&bundle).ok().stdout, "6 7\n");
    let made = fs::metadata(bundle.root("tmp/made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (300_004, 300_005));
}

#[test]
fn rootless_ids_that_are_not_the_users_are_refused() {
    for lab in labs() {
        let bundle = lab.bundle(|c| {
            c["linux"]["uidMappings"] = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
        });
        let refused = lab.run(&bundle);
        assert_eq!(refused.code(), 1, "{refused:#?}");
        lab.assert_clean();
    }
}

#[test]
fn rootless_without_user_namespace_is_refused() {
    let lab = Lab::rootless(None);
    let bundle = lab.bundle(|c| {
        let linux = c["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        linux["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "user");
    });
    let refused = lab.run(&bundle);
    assert_eq!(refused.code(), 1, "{refused:#?}");
    lab.assert_clean();
}

#[test]
fn rootless_program_errors_read_the_same() {
    for lab in labs() {
        let bundle = lab.bundle(|c| args(c, &["no-such"]));
        lab.run(&bundle).fails(1, "exec: \"no-such\": executable file not found in $PATH");
        lab.assert_clean();
    }
}

#[test]
fn rootless_mounts_devices_and_masks_are_in_place() {
    for lab in labs() {
        let script = "echo x > /dev/null && head -c 1 /dev/zero | wc -c; cat /proc/keys | wc -c; \
                      echo 1 2>/dev/null > /proc/sys/kernel/hostname || echo readonly; test -c /dev/tty && ls /dev/fd/0";
        assert_eq!(lab.sh(script, |_| ()), "1\n0\nreadonly\n/dev/fd/0\n");
    }
}

#[test]
fn rootless_terminal_works() {
    for lab in labs() {
        let bundle = lab.bundle(|c| {
            args(c, &["sh", "-c", "echo first line; tty; sleep 0.2"]);
            c["process"]["terminal"] = json!(true);
        });
        let socket = ConsoleSocket::new(&lab);
        let container = Container { lab: &lab, id: lab.id() };
        container.with("create", &["--bundle", bundle.str(), "--console-socket", socket.str()], &[]).ok();
        let mut terminal = socket.terminal();
        container.op("start").ok();
        let text = terminal.read_until("/dev/pts/0\r\n");
        assert!(text.starts_with("first line\r\n"), "{text:?}");
        container.wait("stopped");
        container.op("delete").ok();
    }
}

#[test]
fn rootless_run_forwards_and_ends() {
    for lab in labs() {
        let bundle =
            lab.bundle(|c| args(c, &["sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done"]));
        let container = Container { lab: &lab, id: lab.id() };
        let run = container.with_cmd("run", &["--bundle", bundle.str()], &[]).spawn();
        eventually("ready", || run.stdout().contains("ready"));
        container.with("kill", &[], &["TERM"]).ok();
        run.wait().exits(9);
        lab.assert_clean();
    }
}

#[test]
fn rootless_default_root_is_below_the_runtime_directory() {
    let lab = Lab::rootless(None);
    let bundle = lab.bundle(|c| args(c, &["sleep", "1000"]));
    let id = lab.id();
    lab.cmd(&["create", "--bundle", bundle.str(), &id]).default_root().output().ok();
    if strict() {
        assert!(lab.dir.join("run/coracle").join(&id).exists());
    }
    lab.cmd(&["delete", "--force", &id]).default_root().output().ok();
    lab.assert_clean();
}

#[test]
fn rootless_containers_of_one_user_do_not_show_to_another_root() {
    let lab = Lab::rootless(None);
    lab.create(&lab.bundle(|c| args(c, &["sleep", "1000"])));
    let other = Lab::new();
    assert_eq!(other.cmd(&["list", "-q"]).output().ok().stdout, "");
}

/// Podman without root: the runtime is root of a user namespace, and the containers have none of their own. Its own pid
/// namespace belongs to the host, so `exec` cannot return to it.
#[test]
fn rootless_root_of_a_user_namespace_runs_and_enters_containers_without_one() {
    let lab = Lab::new();
    let bundle = lab.bundle(|c| {
        args(c, &["sleep", "1000"]);
        let mounts = c["mounts"].as_array_mut().unwrap();
        mounts.retain(|m| m["type"] == "proc" || m["destination"] == "/dev");
    });
    let script = r#"runtime=$1 root=$2 bundle=$3 id=$4
        "$runtime" --root "$root" run --detach --bundle "$bundle" "$id" </dev/null >/dev/null 2>&1
        "$runtime" --root "$root" exec "$id" sh -c 'tr "\0" " " </proc/1/cmdline'
        "$runtime" --root "$root" delete --force "$id""#;
    let output = std::process::Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-ec", script, "sh"])
        .args([lab.runtime.as_os_str(), lab.state_root().as_os_str(), bundle.path.as_os_str(), lab.id().as_ref()])
        .env("CORACLE_TEST_TAG", &lab.tag)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "sleep 1000 ");
    lab.assert_clean();
}
