//! `linux.seccomp` as written (config-linux.md#seccomp). `null` is the same as absent everywhere, because engines
//! written in Go print empty lists that way. Words are kept as they are: the planner checks them and names
//! the place of a wrong one.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};

/// The whole section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeccompConfig {
    /// Required, unless the section has no rules either.
    pub default_action: Option<String>,
    pub default_errno_ret: Option<u32>,
    pub architectures: Option<Vec<String>>,
    /// An empty list is not the same as none: see [`super::Filter::flags`].
    pub flags: Option<Vec<String>>,
    pub listener_path: Option<String>,
    pub listener_metadata: Option<String>,
    pub syscalls: Option<Vec<RuleConfig>>,
}

/// One entry of `syscalls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleConfig {
    #[serde(default, deserialize_with = "names_or_null")]
    pub names: Names,
    pub action: String,
    pub errno_ret: Option<u32>,
    pub args: Option<Vec<ArgConfig>>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ArgConfig {
    pub index: u32,
    pub value: u64,
    pub value_two: Option<u64>,
    pub op: String,
}

/// Names of system calls in one buffer: profiles hold hundreds, and an allocation for each costs more than
/// compiling them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    text: String,
    /// Where each name ends in `text`.
    ends: Vec<u32>,
}

impl Names {
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn push(&mut self, name: &str) {
        self.text.push_str(name);
        // A configuration is far below 4 GiB (`bundle` limits it); a wrapped end would only yield an empty name.
        self.ends.push(self.text.len() as u32);
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let name = self.text.get(start..end as usize).unwrap_or("");
            start = end as usize;
            name
        })
    }
}

impl<'a> FromIterator<&'a str> for Names {
    fn from_iter<T: IntoIterator<Item = &'a str>>(names: T) -> Self {
        let mut all = Names::default();
        names.into_iter().for_each(|name| all.push(name));
        all
    }
}

fn names_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
    deserializer.deserialize_option(NamesVisitor)
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = Names;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of system call names")
    }

    fn visit_none<E>(self) -> Result<Names, E> {
        Ok(Names::default())
    }

    fn visit_unit<E>(self) -> Result<Names, E> {
        Ok(Names::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Names, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
        let mut names = Names::default();
        while list.next_element_seed(Append(&mut names))?.is_some() {}
        Ok(names)
    }
}

/// Takes one string straight into the buffer.
struct Append<'a>(&'a mut Names);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a system call")
    }

    fn visit_str<E>(self, name: &str) -> Result<(), E> {
        self.0.push(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deserialize_null_everywhere_is_absent() {
        let config: SeccompConfig = serde_json::from_str(
            r#"{"defaultAction": null, "defaultErrnoRet": null, "architectures": null, "flags": null, "listenerPath": null,
                "syscalls": [{"names": null, "action": "SCMP_ACT_ALLOW", "errnoRet": null, "args": null}]}"#,
        )
        .unwrap();
        let rule = RuleConfig { action: "SCMP_ACT_ALLOW".into(), ..RuleConfig::default() };
        assert_eq!(config, SeccompConfig { syscalls: Some(vec![rule]), ..SeccompConfig::default() });
    }

    #[test]
    fn deserialize_names_keeps_order_duplicates_and_escapes() {
        let rule: RuleConfig =
            serde_json::from_str(r#"{"names": ["read", "", "re\u0061d", "write"], "action": "SCMP_ACT_LOG"}"#).unwrap();
        assert_eq!(rule.names.iter().collect::<Vec<_>>(), ["read", "", "read", "write"]);
    }

    #[test]
    fn deserialize_wrong_types_are_refused() {
        for bad in [
            r#"{"syscalls": [{"names": "read", "action": "SCMP_ACT_LOG"}]}"#,
            r#"{"syscalls": [{"names": [1], "action": "SCMP_ACT_LOG"}]}"#,
            r#"{"syscalls": [{"names": ["read"]}]}"#,
            r#"{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "errnoRet": -1}]}"#,
            r#"{"syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1}]}]}"#,
            r#"{"defaultErrnoRet": 4294967296}"#,
        ] {
            assert!(serde_json::from_str::<SeccompConfig>(bad).is_err(), "{bad}");
        }
    }
}
