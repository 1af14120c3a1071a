//! What a server sends after the handshake, on arbitrary bytes: the first byte
//! picks the opcode that the reply answers, the rest is read as a reply header
//! with a reply, and with a watcher event, behind it. What decodes reads back
//! the same once written, text is what Java would make of it, and no more is
//! allocated than the codec promises.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zklock_fuzz::records::check_reply(data));
