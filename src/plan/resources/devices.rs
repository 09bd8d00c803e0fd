//! linux.resources.devices (config-linux.md#allowed-device-list): the rules, applied in their order, folded into
//! what the kernel keeps: a default and a list of exceptions.
//!
//! The folded form is what both cgroup versions implement: v1 as lines of devices.allow and devices.deny,
//! v2 as a program.

use std::fmt;

use crate::bundle::resources::DeviceRuleConfig;
use crate::error::{Error, Kind, Result};
use crate::pointer;

/// Which devices a cgroup may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceSet {
    /// What holds for a device without an exception.
    pub default_allow: bool,
    /// Devices for which the opposite holds, without duplicates.
    pub exceptions: Vec<Exception>,
}

/// One exception of a [`DeviceSet`]; its text is a line of devices.allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exception {
    pub kind: DeviceKind,
    /// `None` is every number.
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

/// Block or character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum DeviceKind {
    Block,
    Char,
}

/// A set of the accesses read, write and mknod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Access(u8);

impl Access {
    pub const MKNOD: Access = Access(1);
    pub const READ: Access = Access(2);
    pub const WRITE: Access = Access(4);
    pub const ALL: Access = Access(7);

    /// Bits as in BPF_DEVCG_ACC_*: mknod 1, read 2, write 4.
    pub const fn bits(self) -> u8 {
        self.0
    }

    const fn union(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    const fn without(self, other: Access) -> Access {
        Access(self.0 & !other.0)
    }

    const fn overlaps(self, other: Access) -> bool {
        self.0 & other.0 != 0
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn parse(text: &str) -> Option<Access> {
        text.chars().try_fold(Access(0), |access, letter| {
            Some(access.union(match letter {
                'r' => Access::READ,
                'w' => Access::WRITE,
                'm' => Access::MKNOD,
                _ => return None,
            }))
        })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (access, letter) in [(Access::READ, "r"), (Access::WRITE, "w"), (Access::MKNOD, "m")] {
            if self.overlaps(access) {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            DeviceKind::Block => "b ",
            DeviceKind::Char => "c ",
        })?;
        match self.major {
            Some(major) => write!(f, "{major}:")?,
            None => f.write_str("*:")?,
        }
        match self.minor {
            Some(minor) => write!(f, "{minor} ")?,
            None => f.write_str("* ")?,
        }
        write!(f, "{}", self.access)
    }
}

impl Exception {
    const fn char(major: Option<u32>, minor: Option<u32>, access: Access) -> Exception {
        Exception { kind: DeviceKind::Char, major, minor, access }
    }

    fn same_device(&self, other: &Exception) -> bool {
        self.kind == other.kind && self.major == other.major && self.minor == other.minor
    }

    /// Every device of `other` is one of ours.
    fn covers(&self, other: &Exception) -> bool {
        let within = |ours: Option<u32>, theirs: Option<u32>| ours.is_none() || ours == theirs;
        self.kind == other.kind && within(self.major, other.major) && within(self.minor, other.minor)
    }

    /// Some device is both ours and one of `other`.
    fn intersects(&self, other: &Exception) -> bool {
        let meet = |ours: Option<u32>, theirs: Option<u32>| ours.is_none() || theirs.is_none() || ours == theirs;
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }
}

/// Devices that every container may use (config-linux.md#default-devices), and the making of any node, which
/// gives no access. /dev/console is a pseudo terminal inside a container, so 5:1, the host's, is not among them.
const DEFAULTS: [Exception; 10] = [
    Exception { kind: DeviceKind::Block, major: None, minor: None, access: Access::MKNOD },
    Exception::char(None, None, Access::MKNOD),
    Exception::char(Some(1), Some(3), Access::ALL), // null
    Exception::char(Some(1), Some(5), Access::ALL), // zero
    Exception::char(Some(1), Some(7), Access::ALL), // full
    Exception::char(Some(1), Some(8), Access::ALL), // random
    Exception::char(Some(1), Some(9), Access::ALL), // urandom
    Exception::char(Some(5), Some(0), Access::ALL), // tty
    Exception::char(Some(5), Some(2), Access::ALL), // ptmx
    Exception::char(Some(136), None, Access::ALL),  // pts/*
];

impl DeviceSet {
    /// No device but the default ones: what a container gets that configures no rules.
    pub fn defaults() -> DeviceSet {
        DeviceSet { default_allow: false, exceptions: DEFAULTS.to_vec() }
    }

    /// Applies `rules` in their order to "none allowed", then allows the default devices.
    ///
    /// Fails on a malformed rule, and on one that takes part of an earlier wildcard away: neither the kernel's v1
    /// controller nor a list of exceptions can say that, and v1 would ignore it silently.
    pub fn from_rules(rules: &[DeviceRuleConfig]) -> Result<DeviceSet> {
        let mut set = DeviceSet { default_allow: false, exceptions: Vec::with_capacity(rules.len() + DEFAULTS.len()) };
        for (index, rule) in rules.iter().enumerate() {
            set.apply_rule(rule).map_err(|error| error.at(pointer::index("/linux/resources/devices", index)))?;
        }
        for default in &DEFAULTS {
            // An explicit denial of a wildcard in a set that allows by default stays as the user wrote it.
            if !set.default_allow || set.removable(default) {
                set.apply(true, *default)?;
            }
        }
        Ok(set)
    }

    fn apply_rule(&mut self, rule: &DeviceRuleConfig) -> Result<()> {
        let access = match rule.access.as_deref() {
            None | Some("") => Access::ALL,
            Some(text) => Access::parse(text).ok_or_else(|| {
                Error::new(Kind::Config, format!("device access {text:?} has letters besides r, w, m"))
            })?,
        };
        let major = number("major", rule.major)?;
        let minor = number("minor", rule.minor)?;
        let kinds: &[DeviceKind] = match rule.kind.as_deref() {
            None | Some("" | "a") => &[DeviceKind::Block, DeviceKind::Char],
            Some("b") => &[DeviceKind::Block],
            Some("c") => &[DeviceKind::Char],
            Some(other) => {
                return Err(Error::new(Kind::Config, format!("device type {other:?} is none of a, b, c")));
            }
        };
        if kinds.len() == 2 && major.is_none() && minor.is_none() && access == Access::ALL {
            *self = DeviceSet { default_allow: rule.allow, exceptions: Vec::new() };
            return Ok(());
        }
        kinds.iter().try_for_each(|&kind| self.apply(rule.allow, Exception { kind, major, minor, access }))
    }

    fn apply(&mut self, allow: bool, rule: Exception) -> Result<()> {
        if allow != self.default_allow {
            self.add(rule);
            return Ok(());
        }
        if !self.removable(&rule) {
            let verb = if allow { "allow" } else { "deny" };
            return Err(Error::new(
                Kind::Config,
                format!(
                    "{verb} device {rule}: an earlier rule for a wildcard covers more, and a part of it cannot be taken back"
                ),
            ));
        }
        for exception in self.exceptions.iter_mut().filter(|exception| rule.covers(exception)) {
            exception.access = exception.access.without(rule.access);
        }
        self.exceptions.retain(|exception| !exception.access.is_empty());
        Ok(())
    }

    fn add(&mut self, rule: Exception) {
        match self.exceptions.iter_mut().find(|exception| exception.same_device(&rule)) {
            Some(exception) => exception.access = exception.access.union(rule.access),
            None => self.exceptions.push(rule),
        }
    }

    fn removable(&self, rule: &Exception) -> bool {
        !self.exceptions.iter().any(|e| e.intersects(rule) && e.access.overlaps(rule.access) && !rule.covers(e))
    }

    /// What we except and `other` does not, by the same device: the lines that make one list of the other.
    pub fn minus(&self, other: &DeviceSet) -> Vec<Exception> {
        let rest = |e: &Exception| {
            let theirs = other.exceptions.iter().find(|o| o.same_device(e)).map_or(Access(0), |o| o.access);
            Exception { access: e.access.without(theirs), ..*e }
        };
        self.exceptions.iter().map(rest).filter(|e| !e.access.is_empty()).collect()
    }

    /// Reads devices.list of a v1 cgroup: `a *:* rwm`, or the allowed devices. What a set that allows by default
    /// excepts is not to be seen there, so such a set is given without exceptions.
    pub fn from_list(text: &str) -> Option<DeviceSet> {
        let mut set = DeviceSet { default_allow: false, exceptions: Vec::new() };
        for line in text.lines() {
            let mut words = line.split([' ', ':']);
            let (kind, major, minor, access) = (words.next()?, words.next()?, words.next()?, words.next()?);
            let number = |word: &str| if word == "*" { Some(None) } else { word.parse().ok().map(Some) };
            let kind = match kind {
                "a" => return Some(DeviceSet { default_allow: true, exceptions: Vec::new() }),
                "b" => DeviceKind::Block,
                "c" => DeviceKind::Char,
                _ => return None,
            };
            set.add(Exception { kind, major: number(major)?, minor: number(minor)?, access: Access::parse(access)? });
        }
        Some(set)
    }
}

fn number(name: &str, value: Option<i64>) -> Result<Option<u32>> {
    match value {
        None | Some(-1) => Ok(None),
        Some(value) => u32::try_from(value).map(Some).map_err(|error| {
            Error::new(Kind::Config, format!("device {name} {value} is not a device number: {error}"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(json: &str) -> Result<DeviceSet> {
        let rules: Vec<DeviceRuleConfig> = serde_json::from_str(json).unwrap();
        DeviceSet::from_rules(&rules)
    }

    fn lines(set: &DeviceSet) -> Vec<String> {
        set.exceptions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn from_rules_none_allows_the_default_devices_only() {
        let set = fold("[]").unwrap();
        assert_eq!(set, DeviceSet::defaults());
        assert_eq!(
            lines(&set),
            [
                "b *:* m",
                "c *:* m",
                "c 1:3 rwm",
                "c 1:5 rwm",
                "c 1:7 rwm",
                "c 1:8 rwm",
                "c 1:9 rwm",
                "c 5:0 rwm",
                "c 5:2 rwm",
                "c 136:* rwm"
            ]
        );
    }

    #[test]
    fn from_rules_docker_merges_duplicates_of_the_defaults() {
        let set = fold(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"},
                {"allow":true,"type":"c","major":5,"minor":1,"access":"rwm"},
                {"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}]"#,
        )
        .unwrap();
        assert!(!set.default_allow);
        assert_eq!(
            lines(&set),
            [
                "c 1:5 rwm",
                "c 5:1 rwm",
                "b *:* m",
                "c *:* m",
                "c 1:3 rwm",
                "c 1:7 rwm",
                "c 1:8 rwm",
                "c 1:9 rwm",
                "c 5:0 rwm",
                "c 5:2 rwm",
                "c 136:* rwm"
            ]
        );
    }

    #[test]
    fn from_rules_privileged_allows_everything() {
        let set = fold(r#"[{"allow":false},{"allow":true,"access":"rwm"}]"#).unwrap();
        assert_eq!(set, DeviceSet { default_allow: true, exceptions: vec![] });
    }

    #[test]
    fn from_rules_deny_after_allow_all_is_an_exception_unless_a_default_device() {
        let set = fold(
            r#"[{"allow":true},{"allow":false,"type":"b","major":8,"access":"w"},
                {"allow":false,"type":"c","major":1,"minor":3}]"#,
        )
        .unwrap();
        assert!(set.default_allow);
        assert_eq!(lines(&set), ["b 8:* w"]);
    }

    #[test]
    fn from_rules_wider_denial_takes_earlier_permissions_back() {
        let set = fold(
            r#"[{"allow":true,"type":"c","major":10,"minor":1,"access":"rw"},
                {"allow":true,"type":"c","major":10,"minor":2,"access":"rwm"},
                {"allow":false,"type":"c","major":10,"access":"w"}]"#,
        )
        .unwrap();
        assert_eq!(lines(&set)[..2], ["c 10:1 r", "c 10:2 rm"]);
    }

    #[test]
    fn from_rules_hole_in_a_wildcard_is_refused_at_its_pointer() {
        let error = fold(
            r#"[{"allow":true,"type":"c","major":10,"access":"r"},{"allow":false,"type":"c","major":10,"minor":229}]"#,
        )
        .unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/resources/devices/1"));
        assert!(error.to_string().contains("deny device c 10:229 rwm"), "{error}");
    }

    #[test]
    fn from_rules_type_a_with_a_number_does_not_mean_every_device() {
        let set = fold(r#"[{"allow":true,"type":"a","major":7,"minor":0}]"#).unwrap();
        assert!(!set.default_allow);
        assert_eq!(lines(&set)[..2], ["b 7:0 rwm", "c 7:0 rwm"]);
    }

    #[test]
    fn from_rules_malformed_are_refused() {
        for bad in [
            r#"{"allow":true,"type":"p"}"#,
            r#"{"allow":true,"access":"rx"}"#,
            r#"{"allow":true,"major":-2}"#,
            r#"{"allow":true,"minor":4294967296}"#,
        ] {
            let error = fold(&format!("[{bad}]")).unwrap_err();
            assert_eq!(error.pointer(), Some("/linux/resources/devices/0"), "{bad}");
        }
    }

    #[test]
    fn from_list_reads_back_what_was_written() {
        let set = DeviceSet::defaults();
        assert_eq!(DeviceSet::from_list(&lines(&set).join("\n")), Some(set));
        assert_eq!(DeviceSet::from_list("a *:* rwm\n").map(|set| set.default_allow), Some(true));
        assert_eq!(DeviceSet::from_list("nonsense"), None);
    }
}
