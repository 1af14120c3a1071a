//! Panics that are results: of a schedule, of a step.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What comes of it, or what it panics with, and where.
pub(crate) fn catch<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| PANIC.take())
}

/// From now on panics are kept for [`catch`], and only these are shown.
pub(crate) fn show_only(shown: fn(&str) -> bool) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            let text = info.to_string();
            if shown(&text) {
                before(info);
            }
            PANIC.replace(text);
        }));
    });
}
