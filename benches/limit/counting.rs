//! An allocator that counts: how much is allocated now, and how often something
//! was. Growing in place counts as one allocation too.

#![allow(
    missing_docs,
    unreachable_pub,
    reason = "compiled into several programs"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

pub struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Bytes that are allocated now.
pub fn live_bytes() -> i64 {
    LIVE.load(Ordering::Relaxed)
}

/// How many allocations there were.
#[allow(dead_code, reason = "not every program that has this asks")]
pub fn allocations() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

fn count(by: i64) {
    LIVE.fetch_add(by, Ordering::Relaxed);
    COUNT.fetch_add(1, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its nature")]
// SAFETY: all of it is the system's.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: as the caller's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
