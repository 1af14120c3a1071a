//! Fencing tokens.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

/// A number that rises with every grant of a lock, and over the whole ensemble.
///
/// No lock can keep a paused holder from writing late. The resource can: it
/// remembers the highest token it has seen and refuses a lower one. The token
/// is the zxid of the transaction that created the claim (its `czxid`), which
/// rises also when the lock path is deleted and made again, while the numbers
/// of the claims then start over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FencingToken(u64);

impl FencingToken {
    /// The token of a claim created by the transaction `czxid`.
    #[must_use]
    pub const fn new(czxid: u64) -> Self {
        Self(czxid)
    }

    /// The token as a number, to be stored beside what it protects.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for FencingToken {
    type Err = ParseIntError;

    /// Reads what `Display` writes: a decimal number.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl From<FencingToken> for u64 {
    fn from(token: FencingToken) -> Self {
        token.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_ordered_and_read_back() {
        let token: FencingToken = "4294967297".parse().unwrap();
        assert_eq!(token, FencingToken::new((1 << 32) + 1));
        assert_eq!(token.to_string(), "4294967297");
        assert!(token > FencingToken::new(u64::from(u32::MAX)));
        assert!("-1".parse::<FencingToken>().is_err());
    }
}
