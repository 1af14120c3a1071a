//! How many bytes a piece of code allocates, all told.

#![expect(
    unsafe_code,
    reason = "the trait of allocators is unsafe; this one only counts"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// What `run` returns, and the bytes that this thread allocated meanwhile, freed or not.
pub(crate) fn allocated<T>(run: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.get();
    let answer = run();
    (answer, ALLOCATED.get() - before)
}

struct Counting;

// SAFETY: both methods pass their arguments to the system's allocator and return its answer.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        // SAFETY: the caller keeps this method's contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps this method's contract, which is the same.
        unsafe { System.dealloc(block, layout) }
    }
}
