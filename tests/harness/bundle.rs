//! Bundles with a static busybox as their root file system.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};

use super::{Lab, probe_path};

/// A bundle on disk.
pub struct Bundle {
    pub path: PathBuf,
    pub config: Value,
}

impl Bundle {
    /// Its path, for a command line.
    pub fn str(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// A path below its root file system, without a slash in front.
    pub fn root(&self, path: &str) -> PathBuf {
        self.path.join("rootfs").join(path)
    }

    /// Puts an executable file into the root file system.
    pub fn program(&self, path: &str, text: &str) {
        fs::write(self.root(path), text).unwrap();
        fs::set_permissions(self.root(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Puts the probe into the root file system as /bin/probe.
    pub fn with_probe(self) -> Bundle {
        fs::copy(probe_path(), self.root("bin/probe")).unwrap();
        self
    }

    /// Replaces config.json by `text`.
    pub fn write_config(&self, text: &str) {
        fs::write(self.path.join("config.json"), text).unwrap();
    }
}

/// Sets the program and its arguments.
pub fn args(config: &mut Value, args: &[&str]) {
    config["process"]["args"] = json!(args);
}

/// Names that busybox answers to.
pub fn busybox_applets() -> &'static [String] {
    static APPLETS: OnceLock<Vec<String>> = OnceLock::new();
    APPLETS.get_or_init(|| {
        let list = Command::new(busybox()).arg("--list").output().unwrap();
        String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect()
    })
}

fn busybox() -> &'static Path {
    let path = Path::new("/bin/busybox");
    assert!(path.exists(), "these tests need a static busybox at /bin/busybox (package busybox-static)");
    path
}

impl Lab {
    /// A bundle whose configuration is that of `spec`, without terminal and with a writable root, and then
    /// changed by `patch`.
    pub fn bundle(&self, patch: impl FnOnce(&mut Value)) -> Bundle {
        let path = self.path(&format!("bundle-{}", self.number()));
        let mut config = default_config();
        config["linux"]["cgroupsPath"] = json!(format!("/{}-{}", self.tag, self.number()));
        if let Some(user) = &self.user {
            make_rootless(&mut config, user.uid, user.subordinate);
        }
        patch(&mut config);
        let bundle = Bundle { path, config };
        make_root(&bundle.path.join("rootfs"));
        bundle.write_config(&bundle.config.to_string());
        if let Some(user) = &self.user {
            self.give(&bundle.path, user.uid);
        }
        bundle
    }
}

fn make_root(root: &Path) {
    for directory in ["bin", "dev", "etc", "home/web", "proc", "root", "sys", "tmp"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    // A copy: containers that run as root may write to it.
    fs::copy(busybox(), root.join("bin/busybox")).unwrap();
    for applet in busybox_applets().iter().filter(|a| *a != "busybox") {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/home/web:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\nweb:x:1000:\nextra:x:2000:web\n").unwrap();
}

fn default_config() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["true"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities, "effective": capabilities, "permitted": capabilities},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "coracle",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
                "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
                "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs",
                "options": ["nosuid", "noexec", "nodev", "ro"]},
            {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"},
            ],
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// What `spec --rootless` changes.
fn make_rootless(config: &mut Value, uid: u32, subordinate: Option<(u32, u32)>) {
    let mut mappings = vec![json!({"containerID": 0, "hostID": uid, "size": 1})];
    if let Some((first, size)) = subordinate {
        mappings.push(json!({"containerID": 1, "hostID": first, "size": size}));
    }
    let linux = config["linux"].as_object_mut().unwrap();
    linux.insert("uidMappings".into(), json!(mappings));
    linux.insert("gidMappings".into(), json!(mappings));
    linux.remove("resources");
    linux.remove("cgroupsPath");
    linux["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|m| m["destination"] != "/sys/fs/cgroup");
    for mount in mounts {
        if mount["destination"] == "/sys" {
            *mount = json!({"destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]});
        }
        if mount["destination"] == "/dev/pts" && subordinate.is_none() {
            mount["options"].as_array_mut().unwrap().retain(|o| o != "gid=5");
        }
    }
}
