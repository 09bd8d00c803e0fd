//! Configurations: one that every runtime should run, and small changes to it.

use serde_json::{Value, json};

/// A process that ends at once, in namespaces of its own, with the usual file systems.
pub fn base() -> Value {
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/probe"],
            "env": ["PATH=/usr/bin:/bin"],
            "cwd": "/",
            "capabilities": {"bounding": capabilities(), "effective": capabilities(), "permitted": capabilities()},
            "noNewPrivileges": true
        },
        "root": {"path": "rootfs", "readonly": false},
        "hostname": "probe",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
             "options": ["nosuid", "strictatime", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm",
             "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]}
        ],
        "linux": {
            "namespaces": [{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}],
            "resources": {"devices": [{"allow": false, "access": "rwm"}]}
        }
    })
}

/// What the base's process may do: enough for the probe's actions.
pub fn capabilities() -> Value {
    json!([
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_MKNOD",
        "CAP_SETUID",
        "CAP_SETGID",
        "CAP_KILL",
        "CAP_AUDIT_WRITE",
        "CAP_NET_BIND_SERVICE"
    ])
}

/// The probe and what it shall do.
pub fn set_actions(config: &mut Value, actions: &[&str]) {
    let mut args = vec!["/probe"];
    args.extend(actions);
    config["process"]["args"] = json!(args);
}

/// The base with these actions.
pub fn probing(actions: &[&str]) -> Value {
    let mut config = base();
    set_actions(&mut config, actions);
    config
}

/// The base with one member changed; the place is a JSON pointer whose last part may be new.
pub fn with(pointer: &str, value: Value) -> Value {
    let mut config = base();
    set(&mut config, pointer, value);
    config
}

/// Sets the member at a JSON pointer, making objects on the way.
pub fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut place = config;
    for part in pointer.split('/').skip(1) {
        place = match part.parse::<usize>() {
            Ok(index) if place.is_array() => &mut place[index],
            _ => &mut place[part],
        };
    }
    *place = value;
}

/// Adds an element to the array at a JSON pointer.
pub fn push(config: &mut Value, pointer: &str, value: Value) {
    if let Some(array) = config.pointer_mut(pointer).and_then(Value::as_array_mut) {
        array.push(value);
    }
}

/// The base with one mount more.
pub fn with_mount(mount: Value) -> Value {
    let mut config = base();
    push(&mut config, "/mounts", mount);
    config
}

/// The base with a capability more in the three usual sets.
pub fn with_capability(name: &str) -> Value {
    let mut config = base();
    for set in ["bounding", "effective", "permitted"] {
        push(&mut config, &format!("/process/capabilities/{set}"), json!(name));
    }
    config
}

/// The base with a user namespace whose ids begin at `first` on the host.
pub fn with_user_namespace(first: u32) -> Value {
    let mut config = base();
    push(&mut config, "/linux/namespaces", json!({"type": "user"}));
    let mapping = json!([{"containerID": 0, "hostID": first, "size": 65536}]);
    config["linux"]["uidMappings"] = mapping.clone();
    config["linux"]["gidMappings"] = mapping;
    config
}

/// Removes a kind of namespace.
pub fn without_namespace(config: &mut Value, kind: &str) {
    if let Some(list) = config.pointer_mut("/linux/namespaces").and_then(Value::as_array_mut) {
        list.retain(|entry| entry["type"] != kind);
    }
}
