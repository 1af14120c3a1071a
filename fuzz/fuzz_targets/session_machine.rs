//! A whole session with a hostile network, a hostile server and an erratic
//! clock, under plain requests or under locks: nothing panics, every request is
//! completed exactly once, time always moves on, and a close always ends it.

#![no_main]

libfuzzer_sys::fuzz_target!(|session: zklock_fuzz::session::Fuzzed| session.run());
