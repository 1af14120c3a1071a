//! A distributed lock on Apache ZooKeeper, from the wire protocol up.
//!
#![cfg_attr(feature = "tokio", doc = "```no_run")]
#![cfg_attr(not(feature = "tokio"), doc = "```ignore")]
//! use std::time::Duration;
//! use zklock::{Lock, Session};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let session = Session::connect("localhost:2181").await?;
//! let lock = Lock::new(&session, "/my/locks")?;
//! let guard = lock.acquire().owner("user1").timeout(Duration::from_secs(3)).await?;
//! println!("token {}", guard.fencing_token());
//! guard.release().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Layout
//!
//! - [`proto`]: ZooKeeper's wire protocol, bytes to values and back.
//! - [`session`]: one session as a state machine, and the task that drives it.
//! - [`lock`]: the queue of claims as a state machine, and the lock itself.
//!
//! Each layer knows only those above it in this list. The machines know
//! neither sockets nor clocks: with `default-features = false` they and the
//! codec are all there is, on `bytes` and `byteorder` alone, to be driven by a
//! fuzzer, a simulator or a blocking program.
//!
//! The feature `embedded` adds the module of that name: a ZooKeeper server in
//! memory for tests and simulations, a machine too, built on the codec alone. With
//! `tokio` there is a task that drives it.
//!
//! The feature `tls` encrypts sessions by rustls, with the cryptography that the
//! program chooses: `SessionBuilder::tls` has an example.

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

#[cfg(feature = "embedded")]
pub mod embedded;
#[cfg(feature = "tokio")]
mod error;
pub mod lock;
pub mod proto;
pub mod session;
#[cfg(feature = "tokio")]
mod trace;

#[cfg(feature = "tokio")]
pub use error::Error;
#[cfg(feature = "tokio")]
pub use lock::{Acquire, Guard, Lock};
pub use lock::{
    AcquireError, ClaimData, Contender, Dialect, FencingToken, HighWater, LostReason, Queue,
    QueueError, ReleaseError, StaleToken,
};
pub use proto::{Acl, ErrorCode, PathError, Perms, ZnodePath};
pub use session::{Cause, Heartbeat, SessionLost, SessionStats, Stopped, TlsError};
#[cfg(feature = "tokio")]
pub use session::{ConnectError, SessionState, SessionStates};
/// The TLS library, of the version that [`SessionBuilder::tls`] takes.
#[cfg(feature = "tls")]
pub use tokio_rustls::rustls;

/// A ZooKeeper session on which locks live; see [`session::Session`].
#[cfg(feature = "tokio")]
pub type Session = session::Session<lock::Locks>;

/// Describes a [`Session`] before it is there; see [`session::SessionBuilder`].
#[cfg(feature = "tokio")]
pub type SessionBuilder = session::SessionBuilder<lock::Locks>;
