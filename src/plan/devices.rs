//! Device nodes (config-linux.md#devices, #default-devices).

use std::ffi::OsString;
use std::path::{Component, Path};

use oci_spec::runtime::LinuxDeviceType;

use super::Draft;
use super::ids::is_mapped;
use super::mounts::{DeviceKind, DevicePlan};
use super::text::{absolute, c_string, path_text};
use crate::bundle::Device;
use crate::error::{Error, Result, Warning};

/// Name, major and minor of the nodes that every container gets. /dev/console and /dev/ptmx are no nodes: the
/// one is the terminal, the other a link into the container's own devpts.
const DEFAULTS: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// The kernel's device numbers have 12 and 20 bits.
const LARGEST_MAJOR: u32 = 0xfff;
const LARGEST_MINOR: u32 = 0xf_ffff;

/// Default devices, then those of linux.devices. With `own_dev` false /dev is the host's, and nothing is made in it.
pub(super) fn plan(
    list: &[Device],
    own_dev: bool,
    draft: &Draft<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Vec<DevicePlan>> {
    let mut configured: Vec<DevicePlan> = Vec::with_capacity(list.len());
    for (index, device) in list.iter().enumerate() {
        let at = || format!("/linux/devices/{index}/path");
        let new = one(device, index, draft)?;
        match configured.iter().find(|old| old.path == new.path) {
            Some(old) if (old.kind, old.major, old.minor) == (new.kind, new.major, new.minor) => continue,
            Some(_) => return Err(Error::config(at(), format!("a second device at {}", new.path.display()))),
            None => {}
        }
        if new.path == "/dev/ptmx" {
            // Engines list the host's for privileged containers; the container's own is meant.
            continue;
        }
        if !own_dev && Path::new(&new.path).starts_with("/dev") {
            let message = format!("{}: /dev is a bind mount, ignoring", new.path.display());
            warnings.push(Warning::config(at(), message));
            continue;
        }
        configured.push(new);
    }
    let defaults =
        DEFAULTS.iter().filter(|_| own_dev).filter(|(path, ..)| !configured.iter().any(|new| new.path == *path));
    let mut devices: Vec<DevicePlan> = defaults
        .map(|&(path, major, minor)| DevicePlan {
            index: None,
            path: OsString::from(path),
            kind: DeviceKind::Char,
            major,
            minor,
            mode: 0o666,
            uid: 0,
            gid: 0,
        })
        .collect();
    devices.append(&mut configured);
    Ok(devices)
}

fn one(device: &Device, index: usize, draft: &Draft<'_>) -> Result<DevicePlan> {
    let at = |field: &str| format!("/linux/devices/{index}/{field}");
    let path = path_text(&device.path, || at("path"))?;
    absolute(path, "device path", || at("path"))?;
    c_string(path, || at("path"))?;
    if Path::new(path).components().any(|part| part == Component::ParentDir) || Path::new(path).file_name().is_none() {
        return Err(Error::config(at("path"), format!("device path {path:?} names no file")));
    }
    let kind = match device.r#type {
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => return Err(Error::config(at("type"), "type \"a\" is for device rules")),
    };
    let number = |value: Option<i64>, largest: u32, field: &str| {
        if kind == DeviceKind::Fifo {
            return Ok(0);
        }
        let value = value.ok_or_else(|| Error::config(at(field), format!("a device without a {field} number")))?;
        match u32::try_from(value) {
            Ok(number) if number <= largest => Ok(number),
            _ => Err(Error::config(at(field), format!("{field} number {value} is outside of 0 to {largest}"))),
        }
    };
    let id = |id: Option<u32>, mappings, field: &str| {
        let id = id.unwrap_or_default();
        match id != u32::MAX && is_mapped(mappings, id) {
            true => Ok(id),
            false => Err(Error::config(at(field), format!("id {id} has no mapping in the user namespace"))),
        }
    };
    Ok(DevicePlan {
        index: Some(index),
        path: Path::new(path).components().as_path().as_os_str().to_owned(),
        kind,
        major: number(device.major, LARGEST_MAJOR, "major")?,
        minor: number(device.minor, LARGEST_MINOR, "minor")?,
        // Docker sends the type's bits along.
        mode: device.file_mode.unwrap_or(0o666) & 0o7777,
        uid: id(device.uid, &draft.user.uid_mappings, "uid")?,
        gid: id(device.gid, &draft.user.gid_mappings, "gid")?,
    })
}
