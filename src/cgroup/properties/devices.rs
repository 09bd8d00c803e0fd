//! Device rules as properties of a unit on v1: whenever systemd writes a unit's files it writes devices.allow too, and
//! would open every device to a container whose rules it does not know. On v2 the programs of both are asked. Pure.

use super::{ALWAYS, UnitProperty, Value, set};
use crate::plan::resources::{DeviceKind, DeviceSet, Exception};

/// The list of what is allowed.
const ALLOW: &str = "DeviceAllow";

/// The properties that say what `rules` say. systemd has no words for exceptions from "everything is allowed", nor for a
/// minor number of every major one: it denies the latter.
pub(super) fn rules(rules: &DeviceSet, to: &mut Vec<UnitProperty>) {
    let (policy, allowed) = match rules.default_allow {
        true => ("auto", Vec::new()),
        false => ("strict", rules.exceptions.iter().filter_map(allowed).collect()),
    };
    set(to, ALWAYS, "DevicePolicy", Value::text(policy));
    set(to, ALWAYS, ALLOW, Value::array("(ss)", allowed));
}

fn allowed(exception: &Exception) -> Option<Value> {
    let kind = match exception.kind {
        DeviceKind::Block => "block",
        DeviceKind::Char => "char",
    };
    let device = match (exception.major, exception.minor) {
        (None, None) => format!("{kind}-*"),
        (Some(major), None) => format!("{kind}-{major}"),
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (None, Some(_)) => return None,
    };
    Some(Value::Struct(vec![Value::Text(device), Value::Text(exception.access.to_string())]))
}

/// A list that is set adds to what there is: an empty one before it takes away the rest.
pub(in super::super) fn with_resets(properties: Vec<UnitProperty>) -> Vec<UnitProperty> {
    let mut all = Vec::with_capacity(properties.len() + 1);
    for entry in properties {
        if entry.property.name == ALLOW {
            set(&mut all, entry.since, ALLOW, Value::array("(ss)", Vec::new()));
        }
        all.push(entry);
    }
    all
}
