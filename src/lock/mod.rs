//! The lock: claims in a queue of ephemeral sequential znodes.
//!
//! [`Claims`] is the recipe without a socket or a clock: all acquisitions of a
//! session, each a machine of its own. With the feature `tokio`, `Lock`,
//! `Acquire` and `Guard` are what users hold, and `Locks` joins the two in
//! the session's task.
//!
//! # The recipe
//!
//! A claim is created and the queue listed in one write. If nothing is ahead,
//! the lock is held after that one round trip. Otherwise the claim directly
//! ahead is watched, and the one before that. The set of claims ahead only
//! shrinks, since a later one gets a larger number; so if a claim was the only
//! one ahead, the news that it has gone is the grant, without another round
//! trip. The end of the one before is the time to find out that it will be, so
//! that no hand-off waits for a listing, however long the queue is.

mod acquisition;
mod claim;
mod claims;
mod contenders;
mod counters;
mod effects;
mod error;
mod high_water;
mod json;
mod machine;
mod metadata;
mod queue;
mod removal;
mod spare;
mod survey;
mod token;

#[cfg(feature = "tokio")]
mod guard;
#[cfg(feature = "tokio")]
mod handle;
#[cfg(feature = "tokio")]
mod hold;
#[cfg(feature = "tokio")]
mod locks;

pub use acquisition::{
    AcquireRequest, AcquisitionId, Command, LockId, LockSpec, Notice, Op, Token,
};
pub use claim::{ClaimId, Dialect, SequenceNumber, sequence_number};
pub use claims::Claims;
pub use contenders::{Contender, Queue};
pub use error::{AcquireError, LostReason, QueueError, ReleaseError};
pub use high_water::{HighWater, StaleToken};
pub use metadata::{ClaimData, Metadata};
pub use removal::{RemovalId, RemovalOp, RemovalRequest, RemovalStep};
pub use survey::{SurveyId, SurveyOp, SurveyRequest, SurveyStep};
pub use token::FencingToken;

#[cfg(feature = "tokio")]
pub use guard::Guard;
#[cfg(feature = "tokio")]
pub use handle::{Acquire, Acquiring, Lock};
#[cfg(feature = "tokio")]
pub use locks::{LockCommand, Locks};

/// The longest owner, in bytes. It is part of a claim's data, and a server
/// takes 1 MiB at the most for a whole request.
pub const MAX_OWNER: usize = 64 * 1024;
