//! Fingerprints of states: 128 bits of all that they show of themselves.

use std::fmt::{Debug, Write};

const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Print(u128);

impl Print {
    pub(crate) fn new() -> Self {
        Self(ODD)
    }

    pub(crate) fn of(what: &impl Debug) -> Self {
        let mut text = String::with_capacity(8 << 10);
        let _ = write!(text, "{what:?}");
        Self::new().with(text.as_bytes())
    }

    pub(crate) fn with(mut self, bytes: &[u8]) -> Self {
        for chunk in bytes.chunks(16) {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            self.mix(u128::from_le_bytes(block));
        }
        self.mix(bytes.len() as u128);
        self
    }

    pub(crate) fn and(mut self, other: Self) -> Self {
        self.mix(other.0);
        self
    }

    /// One to one for each of the two, so that nothing is lost on the way.
    fn mix(&mut self, block: u128) {
        let mixed = (self.0 ^ block).wrapping_mul(ODD);
        self.0 = (mixed ^ (mixed >> 65)).rotate_left(29).wrapping_mul(ODD);
    }
}
