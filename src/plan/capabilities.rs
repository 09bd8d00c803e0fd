//! process.capabilities: names into masks. What cannot be granted is a warning, never an error (config.md#process).

use caps::Capability;

use crate::bundle::process::CapabilitySets;
use crate::error::Warning;
use crate::host::HostFacts;
use crate::pointer;

/// capabilities(7) sets as bit masks: bit n is capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub bounding: u64,
    pub effective: u64,
    pub permitted: u64,
    pub inheritable: u64,
    pub ambient: u64,
}

/// Every capability that has a name here, by number.
pub(crate) fn known() -> Vec<Capability> {
    let mut known: Vec<Capability> = caps::all().into_iter().collect();
    known.sort_unstable_by_key(Capability::index);
    known
}

/// The names of those in `set`, by number; the number itself for those newer than the crate `caps`.
pub(crate) fn names(set: u64) -> Vec<String> {
    let known = known();
    let name = |number: u8| {
        let capability = known.iter().find(|capability| capability.index() == number);
        capability.map_or_else(|| number.to_string(), ToString::to_string)
    };
    (0..64).filter(|number| set >> number & 1 == 1).map(name).collect()
}

/// Names into masks. In a user namespace of its own (`own_user_namespace`) a container can be given anything.
pub(super) fn plan(
    sets: &CapabilitySets,
    section: &str,
    own_user_namespace: bool,
    facts: &HostFacts,
    warnings: &mut Vec<Warning>,
) -> Capabilities {
    let known = u64::MAX >> (63 - facts.last_capability.min(63));
    let grantable = if own_user_namespace { known } else { known & facts.effective_capabilities };
    let mut set = |names: &[String], word: &str| {
        let mut mask = 0;
        let (mut unknown, mut refused) = (Vec::new(), Vec::new());
        for name in names {
            match name.parse().ok().map(|capability: Capability| capability.bitmask()) {
                Some(bit) if bit & grantable != 0 => mask |= bit,
                Some(bit) if bit & known != 0 => refused.push(name.as_str()),
                _ => unknown.push(name.as_str()),
            }
        }
        for (names, why) in [(unknown, "unknown"), (refused, "that the runtime does not have")] {
            if !names.is_empty() {
                let at = pointer::join(&pointer::join(section, "capabilities"), word);
                let message = format!("capabilities {why}: {}, ignoring", names.join(", "));
                warnings.push(Warning::config(at, message));
            }
        }
        mask
    };
    let bounding = set(&sets.bounding, "bounding");
    let permitted = set(&sets.permitted, "permitted");
    let inheritable = set(&sets.inheritable, "inheritable");
    let effective = set(&sets.effective, "effective");
    let ambient = set(&sets.ambient, "ambient");
    let mut within = |mask: u64, limit: u64, word: &str, why: &str| {
        if mask & !limit != 0 {
            let at = pointer::join(&pointer::join(section, "capabilities"), word);
            let beyond = names(mask & !limit).join(", ");
            warnings.push(Warning::config(at, format!("capabilities {why}: {beyond}, ignoring")));
        }
        mask & limit
    };
    // capset(2) and PR_CAP_AMBIENT_RAISE would refuse these.
    Capabilities {
        bounding,
        permitted,
        inheritable,
        effective: within(effective, permitted, "effective", "effective but not permitted"),
        ambient: within(ambient, permitted & inheritable, "ambient", "ambient but not permitted and inheritable"),
    }
}
