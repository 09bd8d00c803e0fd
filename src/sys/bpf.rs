//! bpf(2): programs that decide about devices of a cgroup.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

// Commands, types and flags of linux/bpf.h.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
const BPF_F_REPLACE: u32 = 4;

/// The most programs one cgroup can have (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

// The members of `union bpf_attr` up to the last one used: the kernel takes a shorter attribute as
// filled up with zeroes. All are without padding.

#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
struct IdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

/// A structure of the layout that its command expects, whose addresses are valid for the call.
///
/// # Safety
/// `attr` is the attribute of `command`, and every address in it points to memory of the length that the
/// attribute states.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<RawFd, Errno> {
    // SAFETY: bpf(2) reads and, for queries, writes size_of::<T>() bytes at `attr`, which is a unique reference;
    // the rest is the caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    Errno::result(result).map(|fd| fd as RawFd)
}

fn number(fd: &impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().unsigned_abs()
}

/// Loads a program of type BPF_PROG_TYPE_CGROUP_DEVICE. `instructions` are `struct bpf_insn`s. Its descriptor is
/// close-on-exec (the kernel makes it so).
pub(crate) fn load_device_program(instructions: &[u64], license: &CStr) -> Result<OwnedFd, Errno> {
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(instructions.len()).map_err(|_too_many| Errno::E2BIG)?,
        insns: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: LoadAttr is BPF_PROG_LOAD's; `insns` points to `insn_cnt` instructions of 8 bytes and `license` to
    // a string with its NUL, both borrowed until the call returns.
    let fd = unsafe { bpf(BPF_PROG_LOAD, &mut attr) }?;
    // SAFETY: a successful BPF_PROG_LOAD returns a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn attach(cgroup: &impl AsFd, program: &impl AsFd, replace: Option<u32>) -> Result<(), Errno> {
    let mut attr = AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | if replace.is_some() { BPF_F_REPLACE } else { 0 },
        replace_bpf_fd: replace.unwrap_or(0),
    };
    // SAFETY: AttachAttr is BPF_PROG_ATTACH's and holds no address.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// Adds `program` to those of the v2 directory `cgroup`; all have to allow an access.
pub(crate) fn attach_device_program(cgroup: &impl AsFd, program: &impl AsFd) -> Result<(), Errno> {
    attach(cgroup, program, None)
}

/// Puts `program` in the place of `old` in one step (Linux 5.6; before it the two are exchanged one
/// after the other, new first).
pub(crate) fn replace_device_program(cgroup: &impl AsFd, program: &impl AsFd, old: &impl AsFd) -> Result<(), Errno> {
    match attach(cgroup, program, Some(number(old))) {
        Err(Errno::EINVAL) => {
            attach(cgroup, program, None)?;
            detach_device_program(cgroup, old)
        }
        result => result,
    }
}

/// Takes `program` away from `cgroup`.
pub(crate) fn detach_device_program(cgroup: &impl AsFd, program: &impl AsFd) -> Result<(), Errno> {
    let mut attr = AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: AttachAttr is BPF_PROG_DETACH's and holds no address.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// Ids of the device programs attached to `cgroup` itself.
pub(crate) fn device_programs(cgroup: &impl AsFd) -> Result<Vec<u32>, Errno> {
    let mut ids = vec![0_u32; MAX_PROGRAMS];
    let mut attr = QueryAttr {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: MAX_PROGRAMS as u32,
        padding: 0,
    };
    // SAFETY: QueryAttr is BPF_PROG_QUERY's; `prog_ids` points to `prog_cnt` writable u32s that outlive the call.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    ids.truncate(attr.prog_cnt as usize);
    Ok(ids)
}

/// Opens the program with `id`.
pub(crate) fn program_by_id(id: u32) -> Result<OwnedFd, Errno> {
    let mut attr = IdAttr { prog_id: id, next_id: 0, open_flags: 0 };
    // SAFETY: IdAttr is BPF_PROG_GET_FD_BY_ID's and holds no address.
    let fd = unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) }?;
    // SAFETY: a successful BPF_PROG_GET_FD_BY_ID returns a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
