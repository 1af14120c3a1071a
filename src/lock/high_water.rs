//! The resource's side of fencing.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::token::FencingToken;

/// The highest fencing token that a resource has seen: it lets no lower one
/// pass.
///
/// This is for a resource within one process. One that is shared keeps the
/// highest token beside what it protects, and compares and writes both in one
/// transaction; `examples/fencing` does so in SQL.
///
/// ```
/// use zklock::{FencingToken, HighWater};
///
/// let seen = HighWater::new();
/// seen.admit(FencingToken::new(7))?;
/// seen.admit(FencingToken::new(7))?;
/// seen.admit(FencingToken::new(9))?;
/// let error = seen.admit(FencingToken::new(8)).unwrap_err();
/// assert_eq!(error.to_string(), "token 8 is stale: 9 has been seen; the lock has a newer holder");
/// # Ok::<(), zklock::StaleToken>(())
/// ```
#[derive(Debug, Default)]
pub struct HighWater(AtomicU64);

impl HighWater {
    /// Nothing has been seen yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The highest token seen so far, 0 if none: what to store.
    #[must_use]
    pub fn highest(&self) -> FencingToken {
        FencingToken::new(self.0.load(Ordering::SeqCst))
    }

    /// Lets the bearer of `token` pass, unless a higher one has been seen.
    ///
    /// # Errors
    ///
    /// [`StaleToken`] if so. The bearer has lost the lock, whether it knows or
    /// not.
    pub fn admit(&self, token: FencingToken) -> Result<(), StaleToken> {
        let highest = FencingToken::new(self.0.fetch_max(token.get(), Ordering::SeqCst));
        if token < highest {
            return Err(StaleToken { token, highest });
        }
        Ok(())
    }
}

/// Goes on from the highest token that was stored.
impl From<FencingToken> for HighWater {
    fn from(highest: FencingToken) -> Self {
        Self(AtomicU64::new(highest.get()))
    }
}

/// A token that is lower than one that was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleToken {
    /// The token that was refused.
    pub token: FencingToken,
    /// The highest that was seen.
    pub highest: FencingToken,
}

impl fmt::Display for StaleToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, highest } = self;
        write!(
            f,
            "token {token} is stale: {highest} has been seen; the lock has a newer holder"
        )
    }
}

impl std::error::Error for StaleToken {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_from_what_was_stored() {
        let seen = HighWater::from(FencingToken::new(5));
        assert!(seen.admit(FencingToken::new(4)).is_err());
        assert_eq!(seen.highest(), FencingToken::new(5));
        assert!(seen.admit(FencingToken::new(6)).is_ok());
        assert_eq!(seen.highest(), FencingToken::new(6));
    }
}
