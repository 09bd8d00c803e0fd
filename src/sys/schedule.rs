//! Scheduling and memory policy of a thread: the calls that neither nix nor rustix have.
//! Called by `init::attributes`.

use nix::errno::Errno;

/// sched_setattr(2) for the calling thread. The fields are the kernel's; `size` is filled in here.
pub(crate) fn set_attributes(mut attributes: libc::sched_attr) -> Result<(), Errno> {
    attributes.size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or_default();
    // SAFETY: sched_setattr reads `size` bytes from the pointer, which is to a live struct of that size; pid 0 is
    // the caller and the last argument must be 0.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    Errno::result(result).map(drop)
}

/// ioprio_set(2) for the calling thread: class in bits 13 to 15, level below.
pub(crate) fn set_io_priority(value: u16) -> Result<(), Errno> {
    const IOPRIO_WHO_PROCESS: libc::c_int = 1;
    // SAFETY: ioprio_set takes three integers and no pointer.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, libc::c_int::from(value)) };
    Errno::result(result).map(drop)
}

/// set_mempolicy(2) for the calling thread. `mode` holds MPOL_* and MPOL_F_*; bit n of word n/64 of `nodes` is node n.
pub(crate) fn set_memory_policy(mode: u32, nodes: &[u64]) -> Result<(), Errno> {
    // The kernel takes one bit less than it is told (get_nodes in mm/mempolicy.c).
    let bits = if nodes.is_empty() { 0 } else { nodes.len() * 64 + 1 };
    let mask = if nodes.is_empty() { std::ptr::null() } else { nodes.as_ptr() };
    // SAFETY: set_mempolicy reads `bits - 1` bits from `mask`, which holds that many, or nothing when `bits` is 0.
    let result = unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, mask, bits) };
    Errno::result(result).map(drop)
}

/// sched_setaffinity(2) for the calling thread: bit n of word n/64 is CPU n. The kernel ignores bits beyond its own.
pub(crate) fn set_affinity(mask: &[u64]) -> Result<(), Errno> {
    // SAFETY: sched_setaffinity reads as many bytes from the pointer as it is told, and the slice has them; pid 0 is
    // the caller.
    let result = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr()) };
    Errno::result(result).map(drop)
}

/// personality(2): the execution domain of the calling thread.
pub(crate) fn set_personality(persona: u32) -> Result<(), Errno> {
    // SAFETY: personality takes one integer and no pointer.
    let result = unsafe { libc::personality(libc::c_ulong::from(persona)) };
    Errno::result(result).map(drop)
}
