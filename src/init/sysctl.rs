//! Kernel parameters of the container's namespaces (config-linux.md#sysctl), written through a private procfs.

use crate::error::{Context, Result};
use crate::fs::Procfs;
use crate::plan::sysctl::Sysctl;
use crate::pointer;

/// Writes every parameter, in order.
pub(crate) fn set(proc: &Procfs, sysctls: &[Sysctl]) -> Result<()> {
    for sysctl in sysctls {
        proc.write(&sysctl.path, sysctl.value.as_bytes())
            .context(|| format!("set the kernel parameter {} to {:?}", sysctl.key, sysctl.value))
            .map_err(|error| error.at(pointer::join("/linux/sysctl", &sysctl.key)))?;
    }
    Ok(())
}

#[cfg(test)]
mod privileged {
    use super::*;
    use crate::sys::test_thread::in_thread;
    use std::ffi::CString;

    fn sysctl(key: &str, value: &str) -> Sysctl {
        let path = CString::new(format!("sys/{}", key.replace('.', "/"))).unwrap();
        Sysctl { key: key.to_owned(), path, value: value.to_owned() }
    }

    #[test]
    fn set_writes_to_the_namespaces_of_the_caller() {
        let read = || std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap();
        let before = read();
        in_thread(|| {
            use nix::sched::{CloneFlags, unshare};
            unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC).unwrap();
            let sysctls = [sysctl("net.ipv4.ip_default_ttl", "33"), sysctl("kernel.msgmax", "4097")];
            set(&Procfs::open().unwrap(), &sysctls).unwrap();
            let own = std::fs::read_to_string("/proc/sys/kernel/msgmax");
            assert_eq!(own.unwrap_or_default().trim(), "4097");
            assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_default_ttl").unwrap().trim(), "33");
        });
        assert_eq!(read(), before);
    }

    #[test]
    fn set_missing_parameter_names_key_and_pointer() {
        let error = set(&Procfs::open().unwrap(), &[sysctl("net.no/such", "1")]).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/sysctl/net.no~1such"));
        assert!(error.to_string().contains("set the kernel parameter net.no/such to \"1\""), "{error}");
    }
}
