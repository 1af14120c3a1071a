//! Connect strings: what is accepted reads back the same once displayed and has
//! servers that can be dialled; what is refused has a message.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| zklock_fuzz::text::check_connect_string(text));
