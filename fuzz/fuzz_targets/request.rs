//! `Request::decode` on arbitrary bytes: what decodes reads back the same once
//! written, the strict reading differs by trailing bytes only, and no more is
//! allocated than the codec promises.

#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| zklock_fuzz::records::check_request(frame));
