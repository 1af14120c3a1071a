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

/// What every decoder may allocate beside a multiple of its input.
const ALLOWANCE: usize = 4096;

/// Runs a decoder on `input` bytes, and checks that all it allocated, freed or
/// not, is at most `factor` times as much, plus 4 KiB.
pub(crate) fn within<T>(factor: usize, input: usize, decode: impl FnOnce() -> T) -> T {
    let before = ALLOCATED.get();
    let answer = decode();
    let allocated = ALLOCATED.get() - before;
    let bound = factor * input + ALLOWANCE;
    assert!(
        allocated <= bound,
        "{allocated} bytes allocated for {input}"
    );
    answer
}

struct Counting;

// SAFETY: all methods pass their arguments to the system's allocator and return
// its answer.
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
