//! What the command line of `exec` changes in the container's own process section.

use crate::bundle::Process;
use crate::bundle::process::CapabilitySets;
use crate::error::{Error, Kind, Result};

/// The changes; `None` and empty leave the container's value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overrides<'a> {
    /// Program and arguments, never empty.
    pub args: Vec<String>,
    pub cwd: Option<&'a str>,
    /// `NAME=VALUE`: added, or in place of the container's of the same name.
    pub env: Vec<&'a str>,
    /// A terminal is wanted only if it is asked for, whatever the container has.
    pub terminal: bool,
    pub user: Option<(u32, Option<u32>)>,
    /// Added to the container's.
    pub additional_gids: &'a [u32],
    pub selinux_label: Option<&'a str>,
    pub apparmor_profile: Option<&'a str>,
    pub no_new_privileges: bool,
    /// Added to bounding, effective and permitted; to ambient too where the container's inheritable set has it.
    pub capabilities: &'a [String],
}

impl Overrides<'_> {
    /// The process section of the new process.
    ///
    /// # Errors
    /// When there is no program, or the container has no process section to start from.
    pub fn apply(self, base: Option<&Process>) -> Result<Process> {
        let Some(base) = base else {
            return Err(Error::config("/process", "the container has no process section").hint("pass --process FILE"));
        };
        if self.args.is_empty() {
            return Err(Error::new(Kind::Usage, "exec needs a program or --process FILE"));
        }
        let mut process = base.clone();
        process.args = self.args;
        process.terminal = self.terminal;
        process.no_new_privileges |= self.no_new_privileges;
        if let Some(cwd) = self.cwd {
            process.cwd = cwd.to_owned();
        }
        if let Some((uid, gid)) = self.user {
            process.user.uid = uid;
            process.user.gid = gid.unwrap_or(process.user.gid);
        }
        process.user.additional_gids.extend_from_slice(self.additional_gids);
        if let Some(label) = self.selinux_label {
            process.selinux_label = Some(label.to_owned());
        }
        if let Some(profile) = self.apparmor_profile {
            process.apparmor_profile = Some(profile.to_owned());
        }
        for entry in self.env {
            replace_or_add(&mut process.env, entry);
        }
        if !self.capabilities.is_empty() {
            add_capabilities(process.capabilities.get_or_insert_default(), self.capabilities);
        }
        Ok(process)
    }
}

fn replace_or_add(env: &mut Vec<String>, entry: &str) {
    let name = |entry: &str| entry.split_once('=').map_or(entry.to_owned(), |(name, _)| name.to_owned());
    let wanted = name(entry);
    env.retain(|existing| name(existing) != wanted);
    env.push(entry.to_owned());
}

fn add_capabilities(sets: &mut CapabilitySets, added: &[String]) {
    for capability in added {
        let ambient = sets.inheritable.contains(capability).then_some(&mut sets.ambient);
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted].into_iter().chain(ambient) {
            if !set.contains(capability) {
                set.push(capability.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Process {
        Process { env: vec!["A=1".into(), "B=2".into()], cwd: "/".into(), terminal: true, ..Process::default() }
    }

    #[test]
    fn apply_env_of_a_known_name_replaces_it() {
        let overrides = Overrides { args: vec!["x".into()], env: vec!["A=3", "C="], ..Overrides::default() };
        assert_eq!(overrides.apply(Some(&base())).unwrap().env, ["B=2", "A=3", "C="]);
    }

    #[test]
    fn apply_capability_is_never_inheritable_and_ambient_only_with_it() {
        let mut base = base();
        base.capabilities = Some(CapabilitySets { inheritable: vec!["CAP_KILL".into()], ..CapabilitySets::default() });
        let capabilities = ["CAP_KILL".to_owned(), "CAP_SYS_PTRACE".to_owned()];
        let overrides = Overrides { args: vec!["x".into()], capabilities: &capabilities, ..Overrides::default() };
        let sets = overrides.apply(Some(&base)).unwrap().capabilities.unwrap();
        assert_eq!(sets.inheritable, ["CAP_KILL"]);
        assert_eq!(sets.ambient, ["CAP_KILL"]);
        assert_eq!(sets.bounding, capabilities);
        assert_eq!(sets.effective, capabilities);
        assert_eq!(sets.permitted, capabilities);
    }

    #[test]
    fn apply_terminal_of_the_container_is_not_inherited() {
        let overrides = Overrides { args: vec!["x".into()], ..Overrides::default() };
        assert!(!overrides.apply(Some(&base())).unwrap().terminal);
    }

    #[test]
    fn apply_without_program_is_refused() {
        assert_eq!(Overrides::default().apply(Some(&base())).unwrap_err().kind(), Kind::Usage);
    }
}
