//! Znode paths, two per input with a line feed between them: parents, children,
//! ancestors and joined paths fit together, whatever was accepted; what is
//! refused has a message.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| zklock_fuzz::text::check_znode_paths(text));
