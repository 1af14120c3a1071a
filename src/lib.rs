//! A distributed lock on Apache ZooKeeper, from the wire protocol up.
//!
//! # Quick start
//!
#![cfg_attr(
    all(feature = "tokio", feature = "embedded"),
    doc = "A [`Session`] is kept alive by a task of its own, for as many locks as you like. A\n[`Lock`] is a path. [`Lock::acquire`] waits in the queue below it and gives a\n[`Guard`], which holds the lock until it is released, dropped or lost.\n\n```"
)]
#![cfg_attr(not(all(feature = "tokio", feature = "embedded")), doc = "```ignore")]
//! use std::time::Duration;
//! use zklock::embedded::EmbeddedServer;
//! use zklock::{Lock, Session};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A server in this process, by the feature `embedded`. Yours is "zk1:2181,zk2:2181".
//! let server = EmbeddedServer::start().await?;
//!
//! let session = Session::connect(server.connect_string()).await?;
//! let lock = Lock::new(&session, "/my/locks")?;
//! let guard = lock.acquire().owner("user1").timeout(Duration::from_secs(3)).await?;
//!
//! // The lock is held. Stop when it is lost, which is before anyone else can get it.
//! tokio::select! {
//!     reason = guard.lost() => return Err(reason.into()),
//!     () = work(guard.fencing_token().get()) => {}
//! }
//! guard.release().await?;
//! session.close().await;
//! # Ok(())
//! # }
//! # async fn work(_: u64) {}
//! ```
//!
#![cfg_attr(
    all(any(doc, doctest), feature = "tokio", feature = "embedded"),
    doc = "The [`guide`] says what timeouts to choose, what to do when a lock is lost, and what\nis not there."
)]
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
// Text alone, whose examples need a server.
#[cfg(all(any(doc, doctest), feature = "tokio", feature = "embedded"))]
pub mod guide;
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
