//! `ConnectRequest` and `ConnectResponse` on arbitrary bytes: what decodes reads
//! back the same once written, passwords are never shown, and no more is
//! allocated than the codec promises.

#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| zklock_fuzz::records::check_handshake(frame));
