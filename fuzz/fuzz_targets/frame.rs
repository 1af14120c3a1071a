//! `FrameReader` on arbitrary bytes in arbitrary pieces: the same frames come
//! out however the stream is cut, the same error stays, and no more space is
//! reserved than what has arrived and 64 KiB account for.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zklock_fuzz::frame::check(data));
