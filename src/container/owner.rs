//! Names of users, for people who read lists.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The host's users, looked up once each.
#[derive(Debug, Default)]
pub(super) struct Owners(BTreeMap<u32, String>);

impl Owners {
    /// The name of the owner of `path`; the number where the host knows no name.
    pub fn name(&mut self, path: &Path) -> String {
        let Ok(status) = path.metadata() else { return String::new() };
        let uid = status.uid();
        let look_up =
            || nix::unistd::User::from_uid(uid.into()).ok().flatten().map_or(uid.to_string(), |user| user.name);
        self.0.entry(uid).or_insert_with(look_up).clone()
    }
}
