//! Socket activation (sd_listen_fds(3)): the caller's descriptors go to the container's program.

use std::env;
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use crate::error::{Error, Kind, Result};
use crate::sys;

/// Adds the descriptors of LISTEN_FDS to those that `--preserve-fds` names, and their description to the program's
/// environment. In the container the program has process id 1.
///
/// # Errors
/// When a descriptor that is to be passed on is not open.
pub(super) fn pass(preserve: u32, environment: &mut Vec<CString>) -> Result<u32> {
    let count = env::var("LISTEN_FDS").ok().and_then(|text| text.parse::<u16>().ok()).map_or(0, u32::from);
    let total = preserve.saturating_add(count);
    if let Some(fd) = (3..i64::from(total) + 3).find(|&fd| !i32::try_from(fd).is_ok_and(sys::fd::is_open)) {
        return Err(Error::new(Kind::Usage, format!("descriptor {fd} is to be passed on, but is not open")));
    }
    if count > 0 {
        let entries = [Some(format!("LISTEN_FDS={count}").into_bytes()), Some(b"LISTEN_PID=1".to_vec()), names()];
        environment.extend(entries.into_iter().flatten().filter_map(|entry| CString::new(entry).ok()));
    }
    Ok(total)
}

fn names() -> Option<Vec<u8>> {
    let names = env::var_os("LISTEN_FDNAMES")?;
    Some([b"LISTEN_FDNAMES=", names.as_bytes()].concat())
}
