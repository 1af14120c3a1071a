//! What a session has seen so far, in numbers.

use std::time::Duration;

/// A snapshot of a session's counts since its handle was made. They go on over
/// reconnects and over the loss of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionStats {
    /// Requests written for the locks, heartbeats aside.
    pub requests: u64,
    /// Replies to them.
    pub replies: u64,
    /// Watch events.
    pub events: u64,
    /// Heartbeats written.
    pub heartbeats: u64,
    /// Connections on which a session went live: one more than reconnects.
    pub connections: u64,
    /// Bytes written, framing included.
    pub bytes_sent: u64,
    /// Bytes of whole frames read, framing included.
    pub bytes_received: u64,
    /// How long the last heartbeat took to be answered.
    pub round_trip: Option<Duration>,
    /// How long the lease had left when the snapshot was taken.
    pub lease_left: Duration,
}
