//! linux.netDevices (config-linux.md#network-devices): devices of the host that the container gets.

use super::namespaces::Kind;
use super::{Draft, NetDevice};
use crate::error::{Error, Result};
use crate::pointer;

/// IFNAMSIZ without the NUL.
const LONGEST_NAME: usize = 15;

/// Checks names and that there is a namespace to move them into.
pub(super) fn devices(draft: &Draft<'_>) -> Result<Vec<NetDevice>> {
    const AT: &str = "/linux/netDevices";
    let list = &draft.linux.net_devices;
    if list.is_empty() {
        return Ok(Vec::new());
    }
    if !draft.namespaces.is_own(Kind::Net) {
        return Err(Error::config(AT, "network devices without a network namespace"));
    }
    if draft.facts.rootless {
        return Err(Error::config(AT, "an unprivileged user cannot give network devices away"));
    }
    let mut devices: Vec<NetDevice> = Vec::new();
    for (host_name, device) in list.iter() {
        let at = pointer::join(AT, host_name);
        check_name(host_name, host_name, &at)?;
        let name = device.name.as_deref().filter(|name| !name.is_empty());
        let in_name = if name.is_some() { pointer::join(&at, "name") } else { at };
        let name = name.unwrap_or(host_name);
        let template = is_template(name);
        check_name(name, &if template { name.replacen("%d", "0", 1) } else { name.to_owned() }, &in_name)?;
        if !template && devices.iter().any(|other| other.name == name) {
            return Err(Error::config(in_name, format!("a second network device named {name:?}")));
        }
        devices.push(NetDevice { host_name: host_name.to_owned(), name: name.to_owned() });
    }
    Ok(devices)
}

impl NetDevice {
    /// Whether the name in the container stands for the first free one of a series.
    pub(crate) fn is_template(&self) -> bool {
        is_template(&self.name)
    }
}

/// The kernel's rule (dev_alloc_name) is one `%d`, anywhere.
fn is_template(name: &str) -> bool {
    name.split_once("%d").is_some_and(|(before, after)| !before.contains('%') && !after.contains('%'))
}

/// The kernel's rule (dev_valid_name) for `name`, and no `%`, which would make a pattern of it. `shown` is what the
/// configuration says.
fn check_name(shown: &str, name: &str, at: &str) -> Result<()> {
    let refuse = |why: &str| Err(Error::config(at.to_owned(), format!("network device name {shown:?}: {why}")));
    match name {
        "" => refuse("empty"),
        "." | ".." => refuse("names a directory"),
        name if name.len().max(shown.len()) > LONGEST_NAME => refuse("longer than 15 bytes"),
        name => match name.chars().find(|c| matches!(c, '/' | ':' | '%') || c.is_whitespace() || c.is_control()) {
            Some(c) => refuse(&format!("invalid character {c:?}")),
            None => Ok(()),
        },
    }
}
