//! The pages of this program's own file.

use std::ffi::{c_int, c_void};

use libc::{PF_W, PT_LOAD, dl_phdr_info};

/// Gives back the mapped pages of the program's code and constants (madvise(2), MADV_DONTNEED): a process that waits
/// does not hold them, and what it needs again comes from the page cache. Writable segments stay.
///
/// A failure only means that the memory stays counted.
pub(crate) fn release_program() {
    // SAFETY: dl_iterate_phdr calls the function with a dl_phdr_info that is valid during the call, and with `data`,
    // which the function does not use.
    unsafe { libc::dl_iterate_phdr(Some(release_object), std::ptr::null_mut()) };
}

/// Gives back the pages of the stack that lie below the caller's frame: what deeper calls have touched before. Never inlined:
/// all of the caller's frame has to be above its own.
///
/// A failure only means that the memory stays counted.
#[inline(never)]
pub(crate) fn release_stack() {
    /// More than this program's calls nest; further down nothing is mapped, or nothing was touched.
    const DEPTH: usize = 256 * 1024;
    /// More than this frame and that of madvise, which has no locals.
    const BELOW: usize = 1024;
    let here = 0_u8;
    let end = std::ptr::from_ref(&here).addr().saturating_sub(BELOW) & !0xfff;
    let start = end.saturating_sub(DEPTH);
    // SAFETY: MADV_DONTNEED makes anonymous memory read as zeroes, so nobody may rely on its content: below the frames that
    // are in use, the stack of a thread has none, and a range that is not mapped is passed over. It cannot reach another
    // mapping: the caller runs on the main stack, below which the kernel keeps a gap of a megabyte (stack_guard_gap).
    unsafe { libc::madvise(start as *mut c_void, end - start, libc::MADV_DONTNEED) };
}

/// Handles the first object, the program itself (a static program has no other but the kernel's vDSO), and stops.
unsafe extern "C" fn release_object(info: *mut dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
    // SAFETY: the caller, dl_iterate_phdr, gives a valid structure whose dlpi_phdr points to dlpi_phnum headers.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    for header in headers.iter().filter(|header| header.p_type == PT_LOAD && header.p_flags & PF_W == 0) {
        let start = (base + header.p_vaddr) & !0xfff;
        let length = base + header.p_vaddr + header.p_memsz - start;
        // SAFETY: MADV_DONTNEED on a private mapping of a file, never written because it is not writable, makes the
        // kernel read the same bytes again at the next access, including that of the instruction after this call.
        unsafe { libc::madvise(start as *mut c_void, length as usize, libc::MADV_DONTNEED) };
    }
    1
}
