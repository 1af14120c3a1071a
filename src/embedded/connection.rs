//! One client's connection, as far as the server remembers it.

use std::time::Duration;

use bytes::BytesMut;

use super::access::Identities;

#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// What has come of a frame that is not whole yet.
    pub(super) incoming: BytesMut,
    pub(super) identities: Identities,
    pub(super) stage: Stage,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// It is closed at this time if no handshake has come.
    Accepted { until: Duration },
    /// It serves a session.
    Attached(Attachment),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Attachment {
    pub(super) session: i64,
    /// As granted in this connection's handshake.
    pub(super) timeout_ms: i32,
}

impl Connection {
    pub(super) fn new(until: Duration) -> Self {
        Self {
            incoming: BytesMut::new(),
            identities: Identities::default(),
            stage: Stage::Accepted { until },
        }
    }

    /// When a silent client's time is up.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match self.stage {
            Stage::Accepted { until } => Some(until),
            Stage::Attached(_) => None,
        }
    }
}
