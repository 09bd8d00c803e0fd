//! The entry of the program, called by the C library: a part of `main`, not of the library.
//!
//! The standard library's would prepare a message for the case that the stack overflows, with nine system calls; the
//! program starts twice ([`coracle::seal`]), and what every start pays is what a short one costs. What else it does
//! is done here: the standard streams are open, SIGPIPE ends nothing. Output is flushed by who writes it.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;

/// The words of the command line, the name of the program first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arguments(&'static [*const c_char]);

impl Arguments {
    /// In their order.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'static CStr> {
        // SAFETY: from_ptr requires a string that ends in NUL and is not changed: the kernel puts them there (execve(2)), they
        // stay as long as the process, and nobody has the right to write to them.
        self.0.iter().map(|&word| unsafe { CStr::from_ptr(word) })
    }
}

/// Not in tests, which have an entry of their own by the same name: the linker would take one of them.
#[cfg(not(test))]
#[unsafe(no_mangle)]
extern "C" fn main(count: std::ffi::c_int, words: *const *const c_char) -> std::ffi::c_int {
    // SAFETY: from_raw_parts requires so many pointers at the address, for as long as the process lives: the C standard
    // promises that to `main` (5.1.2.2.1), and that none of them is null.
    let words = unsafe { std::slice::from_raw_parts(words, usize::try_from(count).unwrap_or_default()) };
    crate::program(Arguments(words)).into()
}

/// Opens /dev/null where a standard stream is closed, so that no file of ours gets its number, and blocks SIGPIPE:
/// a reader that went away is an error like others. Programs that are executed get an empty mask in any case.
pub(crate) fn prepare() -> Result<(), Errno> {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: poll reads and writes as many pollfd as it is told, and the array has them.
    let asked = unsafe { libc::poll(streams.as_mut_ptr(), streams.len() as libc::nfds_t, 0) };
    Errno::result(asked)?;
    for _ in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
        // The lowest number that is free is the next of theirs.
        std::mem::forget(open("/dev/null", OFlag::O_RDWR, Mode::empty())?);
    }
    let mut pipe = SigSet::empty();
    pipe.add(Signal::SIGPIPE);
    pipe.thread_block()
}
