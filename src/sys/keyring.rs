//! Session keyrings (keyctl(2)). Called by `init::attributes`.

use std::ffi::CStr;

use nix::errno::Errno;

/// A key's serial number in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serial(i32);

const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
const KEYCTL_SETPERM: libc::c_int = 5;

/// keyctl_join_session_keyring(3): a keyring called `name` becomes the session keyring, and is made if the caller
/// may search none of that name.
pub(crate) fn join_session(name: &CStr) -> Result<Serial, Errno> {
    // SAFETY: KEYCTL_JOIN_SESSION_KEYRING reads a C string, which `name` is.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr()) };
    let serial = Errno::result(result)?;
    i32::try_from(serial).map(Serial).map_err(|_range| Errno::EOVERFLOW)
}

/// keyctl_setperm(3).
pub(crate) fn set_permissions(key: Serial, permissions: u32) -> Result<(), Errno> {
    // SAFETY: KEYCTL_SETPERM takes two integers and no pointer.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_SETPERM, key.0, permissions) };
    Errno::result(result).map(drop)
}
