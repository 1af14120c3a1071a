//! Names of claims, slashes between them: numbers and ids are read as a server
//! and this client write them, and in a listing of all the names a claim gets
//! the lock exactly if nothing in it is ahead.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zklock_fuzz::queue::check(data));
