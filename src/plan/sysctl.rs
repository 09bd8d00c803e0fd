//! linux.sysctl (config-linux.md#sysctl): only parameters that belong to a namespace of the container.

use std::ffi::CString;

use super::namespaces::{Kind, Namespaces};
use super::text::c_string;
use crate::bundle::Config;
use crate::bundle::config::Linux;
use crate::error::{Error, Result};
use crate::pointer;

/// One kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// As configured: `net.ipv4.ip_forward`.
    pub key: String,
    /// Relative to the procfs root: `sys/net/ipv4/ip_forward`; no `..`.
    pub path: CString,
    pub value: String,
}

/// Checks linux.sysctl: each parameter must belong to a namespace that the container has for itself, or the
/// host would be changed.
pub(super) fn plan(config: &Config, linux: &Linux, namespaces: &Namespaces) -> Result<Vec<Sysctl>> {
    let one = |(key, value): (&str, &String)| {
        let at = || pointer::join("/linux/sysctl", key);
        let refuse = |why: String| Err(Error::config(at(), why));
        let name = with_slashes(key);
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refuse(format!("{key:?} is no name of a kernel parameter"));
        }
        let Some(kind) = owner(&name) else {
            return refuse(format!("kernel parameter {key:?} belongs to no namespace"));
        };
        if !namespaces.is_own(kind) {
            return refuse(format!("kernel parameter {key:?} needs a {} namespace", kind.word()));
        }
        let rival = match name.as_str() {
            "kernel/hostname" if config.hostname.as_deref().is_some_and(|name| !name.is_empty()) => Some("hostname"),
            "kernel/domainname" if config.domainname.as_deref().is_some_and(|name| !name.is_empty()) => {
                Some("domainname")
            }
            _ => None,
        };
        if let Some(rival) = rival {
            return refuse(format!("kernel parameter {key:?} contradicts {rival}"));
        }
        let path = c_string(&format!("sys/{name}"), at)?;
        Ok(Sysctl { key: key.to_owned(), path, value: value.clone() })
    };
    linux.sysctl.iter().map(one).collect()
}

/// The separators of sysctl(8): the first one decides, and the other kind stands for itself, so that a device may
/// have a dot in its name (`net/ipv4/conf/eth0.1/forwarding`, `net.ipv4.conf.eth0/1.forwarding`).
fn with_slashes(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(first) if key[first..].starts_with('.') => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_owned(),
    }
}

/// The kind of namespace that a parameter is part of (namespaces(7), ipc_namespaces(7)).
fn owner(name: &str) -> Option<Kind> {
    match name {
        "kernel/msgmax" | "kernel/msgmnb" | "kernel/msgmni" | "kernel/msg_next_id" | "kernel/auto_msgmni" => {
            Some(Kind::Ipc)
        }
        "kernel/sem" | "kernel/sem_next_id" | "kernel/shmall" | "kernel/shmmax" | "kernel/shmmni" => Some(Kind::Ipc),
        "kernel/shm_rmid_forced" | "kernel/shm_next_id" => Some(Kind::Ipc),
        "kernel/hostname" | "kernel/domainname" => Some(Kind::Uts),
        name if name.starts_with("fs/mqueue/") => Some(Kind::Ipc),
        name if name.starts_with("net/") => Some(Kind::Net),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_slashes_the_first_separator_decides() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/forwarding", "net/ipv4/conf/eth0.1/forwarding"),
            ("net.ipv4.conf.eth0/1.forwarding", "net/ipv4/conf/eth0.1/forwarding"),
            ("net.ipv4.conf.//.forwarding", "net/ipv4/conf/../forwarding"),
            ("kernel", "kernel"),
        ] {
            assert_eq!(with_slashes(key), path);
        }
    }
}
