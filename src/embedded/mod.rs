//! A ZooKeeper server in memory: one node, for tests and simulations.
//!
//! [`Core`] is the server as a state machine. It does no input or output, reads
//! no clock and draws no random number: connections, bytes and the time are
//! handed to it, and it says what to write, which connections to close and when
//! it has to be called again. So it can be cloned, and the same inputs have the
//! same outputs.
//!
#![cfg_attr(
    feature = "tokio",
    doc = "[`EmbeddedServer`] is a task that puts it on a socket, or in reach of this process\nalone: that is what to test a program with."
)]
//!
//! It answers as ZooKeeper 3.8.0 does, byte for byte, as a test that asks both
//! the same shows: the same replies and errors, the same names, zxids and
//! `Stat`s, the same events at the same place among the replies, listings in the
//! same order.
//!
//! ```
//! use std::time::Duration;
//! use bytes::BytesMut;
//! use zklock::embedded::{Config, Core, Output};
//! use zklock::proto::{ConnectRequest, Password, Request, write_frame};
//!
//! let mut core = Core::new(Config::default());
//! let mut now = Duration::ZERO;
//! let client = core.accept(now);
//!
//! let mut bytes = BytesMut::new();
//! let handshake = ConnectRequest {
//!     protocol_version: 0,
//!     last_zxid_seen: 0,
//!     timeout_ms: 6000,
//!     session_id: 0,
//!     password: Password::zeros(),
//!     read_only: Some(false),
//! };
//! write_frame(&mut bytes, |out| handshake.encode(out))?;
//! write_frame(&mut bytes, |out| Request::Ping.encode(-2, out))?;
//! core.received(client, &bytes, now);
//! // The answers to both, each in a frame of its own.
//! assert!(matches!(core.poll(), Some(Output::Write { .. })));
//! assert!(matches!(core.poll(), Some(Output::Write { .. })));
//! assert_eq!(core.poll(), None);
//!
//! // Nothing more is heard of the client: its session expires at a tick.
//! now = core.deadline().unwrap();
//! assert_eq!(now, Duration::from_secs(8));
//! core.tick(now);
//! assert_eq!(core.poll(), Some(Output::Close(client)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not
//!
//! There is no ensemble and nothing is kept on disk. Besides what
//! [`OpCode`](crate::proto::OpCode) names, every operation is answered as a
//! server answers one that it does not know: with
//! [`Unimplemented`](crate::proto::ErrorCode::Unimplemented), and by closing the
//! connection. Among those are `multi`, `getACL`, `setACL` and `addWatch`. There
//! are no quotas, no containers that are cleared away, no times to live and no
//! 4-letter words. Of authentication there is `digest`; every client comes from
//! 127.0.0.1.
//!
//! # Where it differs
//!
//! - Requests are done one at a time, each as if a server had no other at hand.
//!   So an `auth` is answered in its turn, and a counter at its end gives the
//!   same names however fast they are asked for.
//! - What follows a request that ends the connection is never done, and what
//!   comes before it is always answered.
//! - A client whose session expires is never told of what goes with it. A real
//!   server sometimes says it before it closes the connection.
//! - Events are kept from who may not read the znode, as by servers from 3.8.4
//!   on; `exists` tells anyone, as by those before.
//! - Bytes that are not UTF-8 are a string that cannot be read, where a real
//!   server puts replacement characters; and `sync` needs a path.

mod access;
mod connection;
mod core;
mod digest;
mod faults;
mod java_set;
#[cfg(feature = "tokio")]
mod peer;
mod replica;
mod requests;
#[cfg(feature = "tokio")]
mod server;
mod sessions;
#[cfg(feature = "tokio")]
mod task;
mod tree;
mod watches;

pub use self::core::{Config, ConnectionId, Core, Output};
pub use self::faults::Znode;
#[cfg(feature = "tokio")]
pub use self::server::{EmbeddedServer, EmbeddedServerBuilder};
