//! Panics that are results: of a schedule, of a step.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// What this thread has panicked with, while that is a result.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// What comes of it, or what it panics with, and where.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    static ONCE: Once = Once::new();
    ONCE.call_once(keep_what_is_caught);
    CAUGHT.set(Some(String::new()));
    let result = catch_unwind(AssertUnwindSafe(run));
    let text = CAUGHT.take().unwrap_or_default();
    result.map_err(|_| text)
}

/// All other panics are shown as ever.
fn keep_what_is_caught() {
    let show = take_hook();
    set_hook(Box::new(move |info| {
        CAUGHT.with_borrow_mut(|caught| match caught {
            Some(text) => *text = info.to_string(),
            None => show(info),
        });
    }));
}
