//! The program's heap: a part of `main`, not of the library, as `start`.
//!
//! dlmalloc without a lock, for a program that has one thread: every allocation of a start would pay for the lock.
//! The heap belongs to the thread that came first; in another one the program ends.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicPtr, Ordering};

use dlmalloc::Dlmalloc;

/// musl's gives each size a page of its own and asks the kernel for each: a hundred calls a start, and more memory in
/// every waiting init.
pub(crate) struct Heap {
    heap: UnsafeCell<Dlmalloc>,
    /// Where the owner's own storage is.
    owner: AtomicPtr<u8>,
}

// SAFETY: Sync requires that sharing between threads is no race: `heap` lets one thread to the cell.
unsafe impl Sync for Heap {}

impl Heap {
    /// Nobody's.
    pub(crate) const fn new() -> Heap {
        Heap { heap: UnsafeCell::new(Dlmalloc::new()), owner: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// The heap, for its owner.
    #[allow(clippy::mut_from_ref, reason = "one thread, and no reference outlives the call that asked for it")]
    fn heap(&self) -> &mut Dlmalloc {
        thread_local!(static HERE: u8 = const { 0 });
        let here = HERE.with(|here| std::ptr::from_ref(here).cast_mut());
        if self.owner.load(Ordering::Relaxed) != here
            && self.owner.compare_exchange(std::ptr::null_mut(), here, Ordering::Relaxed, Ordering::Relaxed).is_err()
        {
            std::process::abort();
        }
        // SAFETY: a unique reference requires that no other one is used meanwhile. Other threads do not come here, dlmalloc
        // calls nothing that allocates, and no signal handler of this program does.
        unsafe { &mut *self.heap.get() }
    }
}

// SAFETY: GlobalAlloc requires of each function what dlmalloc's of the same name does: memory that fits the layout, is
// not used otherwise until it is given back, and keeps its content when it grows; null if there is none. None unwinds.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: malloc requires an alignment that is a power of two, which a layout has.
        unsafe { self.heap().malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.heap().calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: free requires memory of this heap with its size and alignment: the caller's promise is the same.
        unsafe { self.heap().free(memory, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.heap().realloc(memory, layout.size(), layout.align(), size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heap_gives_zeroes_and_keeps_what_grows() {
        let heap = Heap::new();
        let layout = Layout::array::<u8>(100).unwrap();
        // SAFETY: the layout is not empty, and the memory is used within its size only and given back with it.
        unsafe {
            let memory = heap.alloc_zeroed(layout);
            assert!((0..100).all(|at| *memory.add(at) == 0));
            memory.write_bytes(7, 100);
            let memory = heap.realloc(memory, layout, 100_000);
            assert!((0..100).all(|at| *memory.add(at) == 7));
            heap.dealloc(memory, Layout::array::<u8>(100_000).unwrap());
        }
    }
}
