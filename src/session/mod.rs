//! A ZooKeeper session: one connection at a time to one of several servers,
//! kept alive, re-made when it breaks, and a lease that says until when what
//! was made in the session can be relied on.
//!
//! [`SessionMachine`] is the protocol, without a socket or a clock. [`Engine`]
//! puts a [`Recipe`] on top of it. With the feature `tokio` a task of its own
//! drives the engine, and `Session` is the handle to it.

mod auth;
mod backoff;
mod connect_string;
mod engine;
mod hosts;
mod lease;
mod machine;
mod pending;
mod state;
mod stats;
mod time;
mod timers;
mod tls_error;

#[cfg(feature = "tokio")]
mod board;
#[cfg(feature = "tokio")]
mod builder;
#[cfg(feature = "tokio")]
mod clock;
#[cfg(feature = "tokio")]
mod dialer;
#[cfg(feature = "tokio")]
mod driver;
#[cfg(feature = "tokio")]
mod handle;
#[cfg(feature = "tokio")]
mod inbox;
#[cfg(feature = "tokio")]
mod pace;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tokio")]
mod transport;

pub use auth::Auth;
pub use backoff::Random;
pub use connect_string::{ConnectString, ConnectStringError, DEFAULT_PORT, Server};
pub use engine::{Action, Engine, Io, Recipe, RecipeInput};
pub use lease::{Heartbeat, Lease};
pub use machine::{Input, Misuse, Outcome, Output, SessionConfig, SessionMachine};
pub use state::{Cause, SessionEvent, SessionLost, Stopped};
pub use stats::SessionStats;
pub use time::Timestamp;
pub use tls_error::TlsError;

#[cfg(feature = "tokio")]
pub use builder::{ConnectError, SessionBuilder};
#[cfg(feature = "tokio")]
pub(crate) use clock::Clock;
#[cfg(feature = "tokio")]
pub use driver::Hosted;
#[cfg(feature = "tokio")]
pub(crate) use handle::Link;
#[cfg(feature = "tokio")]
pub use handle::{Session, SessionState, SessionStates};
