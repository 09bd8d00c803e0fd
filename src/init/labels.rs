//! Labels of the security modules for the program and its keyring (config.md#linux-process), written through a private
//! procfs. Whatever cannot be written fails the container: a missing label is a missing wall.

use std::ffi::CStr;

use nix::errno::Errno;

use crate::error::{Context, Result};
use crate::fs::Procfs;
use crate::plan::process::ProcessPlan;
use crate::pointer;

/// What the next execve of this process puts on. SELinux's label comes first: a profile of AppArmor, which has its
/// own file where modules are stacked, does not keep it from being written.
pub(crate) fn set_exec_labels(proc: &Procfs, process: &ProcessPlan) -> Result<()> {
    if let Some(label) = &process.selinux_label {
        proc.write(c"self/attr/exec", label.as_bytes())
            .context(|| format!("set the SELinux label {}", label.to_string_lossy()))
            .map_err(|error| error.at(pointer::join(&process.pointer, "selinuxLabel")))?;
    }
    if let Some(profile) = &process.apparmor_profile {
        set_apparmor_profile(proc, profile)
            .context(|| format!("set the AppArmor profile {}", profile.to_string_lossy()))
            .map_err(|error| error.at(pointer::join(&process.pointer, "apparmorProfile")))?;
    }
    Ok(())
}

fn set_apparmor_profile(proc: &Procfs, profile: &CStr) -> Result<()> {
    let mut command = b"exec ".to_vec();
    command.extend(profile.to_bytes());
    match proc.write(c"self/attr/apparmor/exec", &command) {
        // The module's own directory is there since Linux 5.1; without it (or without the module) the shared file
        // remains.
        Err(error) if error.raw_errno() == Some(Errno::ENOENT as i32) => proc.write(c"self/attr/exec", &command),
        result => result,
    }
}

/// The SELinux label of keys made from now on, for the session keyring; `None` goes back to the default.
pub(crate) fn set_key_label(proc: &Procfs, process_pointer: &str, label: Option<&CStr>) -> Result<()> {
    proc.write(c"self/attr/keycreate", label.unwrap_or_default().to_bytes())
        .context(|| "set the SELinux label of the session keyring")
        .map_err(|error| error.at(pointer::join(process_pointer, "selinuxLabel")))
}

/// With and without a security module: nothing passes silently.
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_exec_labels_that_cannot_be_set_fails_with_the_path_in_backquotes() {
        let process = ProcessPlan { apparmor_profile: Some(c"no-such-profile".to_owned()), ..ProcessPlan::default() };
        let error = set_exec_labels(&Procfs::open().unwrap(), &process).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("/attr/exec`") || text.contains("/attr/apparmor/exec`"), "{text}");
        assert!(text.contains("`/proc/self/attr/"), "{text}");
        assert_eq!(error.pointer(), Some("/apparmorProfile"));
        let process = ProcessPlan { selinux_label: Some(c"no:such:label".to_owned()), ..ProcessPlan::default() };
        assert_eq!(set_exec_labels(&Procfs::open().unwrap(), &process).unwrap_err().pointer(), Some("/selinuxLabel"));
    }

    #[test]
    fn set_exec_labels_none_writes_nothing() {
        assert_eq!(set_exec_labels(&Procfs::open().unwrap(), &ProcessPlan::default()), Ok(()));
    }
}
