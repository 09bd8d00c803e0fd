//! linux.netDevices.

use std::process::Command;

use serde_json::{Value, json};

use crate::config;
use crate::lab::Lab;
use crate::leaks::{device_exists, device_name};
use crate::needs::Need;
use crate::suite::{Test, core};
use crate::verdict::{Failure, Verdict, ensure, equal};

const NEEDS: &[Need] = &[Need::Root, Need::Veth, Need::Spec(3)];

pub const TESTS: &[Test] = &[
    core("network.device_is_moved", &["L-net-there", "L-net-up"], moved).needs(NEEDS),
    core("network.device_is_renamed", &["L-net-there"], renamed).needs(NEEDS),
    core("network.template_gets_a_number", &["L-net-template"], template).needs(NEEDS),
    core("network.template_twice_gets_two_numbers", &["L-net-template"], template_twice).needs(NEEDS),
    core("network.addresses_are_kept", &["L-net-addresses"], addresses).needs(NEEDS),
    core("network.taken_name_is_refused", &["L-net-taken", "L-net-possible"], taken).needs(NEEDS),
    core("network.unknown_device_is_refused", &["L-net-possible"], |lab| {
        lab.create_refuses(&config::with("/linux/netDevices", json!({"nothere0": {}})))
    })
    .needs(&[Need::Root, Need::Spec(3)]),
    core("network.refused_create_leaves_device", &["R-error-clean"], refused).needs(NEEDS),
    core("network.device_is_not_moved_back", &["L-net-back"], not_back).needs(NEEDS),
];

fn ip(arguments: &[&str]) -> Verdict {
    let output = Command::new("ip").args(arguments).output()?;
    ensure(output.status.success(), || format!("ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// One end of a veth pair; the pair goes when either end goes.
#[derive(Debug)]
struct Veth {
    near: String,
    far: String,
}

impl Veth {
    fn new(lab: &Lab) -> Result<Self, Failure> {
        let veth = Self { near: device_name(&lab.tag, "a"), far: device_name(&lab.tag, "b") };
        ip(&["link", "add", &veth.near, "type", "veth", "peer", "name", &veth.far])?;
        Ok(veth)
    }

    fn far_exists(&self) -> bool {
        device_exists(&self.far)
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "delete", &self.near]).output();
    }
}

/// The base with the far end given to the container under a name; empty means none is told.
fn giving(veth: &Veth, name: &str) -> Value {
    let entry = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    let mut devices = serde_json::Map::new();
    devices.insert(veth.far.clone(), entry);
    config::with("/linux/netDevices", Value::Object(devices))
}

fn devices(lab: &Lab, config: &Value) -> Result<Value, Failure> {
    Ok(lab.facts(config)?["devices"].clone())
}

fn contains(list: &Value, name: &str) -> Verdict {
    ensure(list.as_array().is_some_and(|list| list.contains(&json!(name))), || format!("{name} is not in {list}"))
}

fn moved(lab: &Lab) -> Verdict {
    let veth = Veth::new(lab)?;
    let path = format!("read:/sys/class/net/{}/flags", veth.far);
    let said = lab.ask(&giving(&veth, ""), &["facts", &path])?;
    contains(&said["facts"]["devices"], &veth.far)?;
    let flags = said[&path]["text"].as_str().unwrap_or_default().trim().trim_start_matches("0x");
    ensure(u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1), || format!("the device is not up: {said}"))
}

fn renamed(lab: &Lab) -> Verdict {
    let veth = Veth::new(lab)?;
    let list = devices(lab, &giving(&veth, "inside0"))?;
    contains(&list, "inside0")?;
    ensure(!list.as_array().is_some_and(|list| list.contains(&json!(veth.far))), || {
        format!("both names are there: {list}")
    })
}

fn template(lab: &Lab) -> Verdict {
    let veth = Veth::new(lab)?;
    contains(&devices(lab, &giving(&veth, "inside%d"))?, "inside0")
}

/// Both ends, for one template.
fn template_twice(lab: &Lab) -> Verdict {
    let veth = Veth::new(lab)?;
    let mut config = giving(&veth, "inside%d");
    config["linux"]["netDevices"][veth.near.as_str()] = json!({"name": "inside%d"});
    let list = devices(lab, &config)?;
    contains(&list, "inside0")?;
    contains(&list, "inside1")
}

fn addresses(lab: &Lab) -> Verdict {
    let veth = Veth::new(lab)?;
    ip(&["address", "add", "192.0.2.7/24", "dev", &veth.far])?;
    let said = lab.ask(&giving(&veth, ""), &["read:/proc/net/fib_trie"])?;
    let text = said["read:/proc/net/fib_trie"]["text"].as_str().unwrap_or_default();
    ensure(text.contains("192.0.2.7"), || "the address is not there inside".into())
}

fn taken(lab: &Lab) -> Verdict {
    let veth = Veth::new(lab)?;
    let container = lab.container("a", &giving(&veth, "lo"))?;
    ensure(!container.try_create()?.ok(), || "create succeeds".into())?;
    container.must_fail(&["state", &container.id])?;
    ensure(veth.far_exists(), || "after the refused create the device is gone".into())
}

/// A later step fails: the device is back under its name, or never went.
fn refused(lab: &Lab) -> Verdict {
    let veth = Veth::new(lab)?;
    let mut config = giving(&veth, "inside0");
    config::push(&mut config, "/mounts", json!({"destination": "/data", "type": "no-such-type", "source": "none"}));
    let container = lab.container("a", &config)?;
    ensure(!container.try_create()?.ok(), || "create succeeds".into())?;
    ensure(veth.far_exists(), || "after the refused create the device is gone".into())
}

fn not_back(lab: &Lab) -> Verdict {
    let veth = Veth::new(lab)?;
    let config = giving(&veth, "inside0");
    devices(lab, &config)?;
    // A virtual device ends with its namespace, which the kernel removes a little later.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while device_exists(&veth.near) && std::time::Instant::now() < end {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    equal("the device is on the host after delete", veth.far_exists(), false)
}
