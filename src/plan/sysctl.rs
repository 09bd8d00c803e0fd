//! linux.sysctl (config-linux.md#sysctl): only parameters that belong to a namespace of the container.

use std::ffi::CString;

/// One kernel parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sysctl {
    /// As configured: `net.ipv4.ip_forward`.
    pub key: String,
    /// Relative to the procfs root: `sys/net/ipv4/ip_forward`; no `..`.
    pub path: CString,
    pub value: String,
}
