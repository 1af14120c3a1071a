//! What may happen to clients, to their server and in between.

use std::time::Duration;

use proptest::prelude::*;

use crate::support::model::ClientId;
use crate::support::scripted::T;
use crate::up_to;
use crate::world::CLIENTS;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Acquire {
        client: ClientId,
        lock: usize,
        waits: bool,
        deadline: Option<Duration>,
        ttl: Option<Duration>,
    },
    /// Ends one of the acquisitions so far, whatever it has come to.
    Leave(prop::sample::Index),
    /// A dial of the client's succeeds.
    Accept(ClientId),
    /// So many frames go from the client to the server.
    Deliver(ClientId, usize),
    /// So many frames go from the server to the client.
    Receive(ClientId, usize),
    Cut(ClientId),
    /// The client's process stops, or goes on.
    Pause(ClientId),
    Resume(ClientId),
    /// So many requests are refused as too many.
    Throttle(u32),
    /// The next handshake meets a server that lags so far behind.
    Lag(usize),
    /// Someone writes to the first claim of a queue.
    Touch(usize),
    /// Another client's claim comes, or goes if it is there.
    Foreign(usize),
    Pass(Duration),
    /// All that is under way arrives, at this instant.
    Settle,
}

impl Step {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let client = || 0..CLIENTS;
        let lock = || prop_oneof![3 => Just(0_usize), 1 => Just(1_usize)];
        let deadline = prop::option::weighted(0.3, up_to(T * 2));
        let waits = prop::bool::weighted(0.9);
        let ttl = prop::option::weighted(0.3, up_to(T));
        prop_oneof![
            10 => (client(), lock(), waits, deadline, ttl).prop_map(
                |(client, lock, waits, deadline, ttl)| {
                    Self::Acquire { client, lock, waits, deadline, ttl }
                },
            ),
            8 => any::<prop::sample::Index>().prop_map(Self::Leave),
            4 => client().prop_map(Self::Accept),
            8 => (client(), 1..4_usize).prop_map(|(client, n)| Self::Deliver(client, n)),
            8 => (client(), 1..4_usize).prop_map(|(client, n)| Self::Receive(client, n)),
            4 => client().prop_map(Self::Cut),
            1 => client().prop_map(Self::Pause),
            2 => client().prop_map(Self::Resume),
            1 => (1..4_u32).prop_map(Self::Throttle),
            2 => (1..8_usize).prop_map(Self::Lag),
            2 => lock().prop_map(Self::Touch),
            2 => lock().prop_map(Self::Foreign),
            6 => up_to(T / 3).prop_map(Self::Pass),
            1 => up_to(T * 3).prop_map(Self::Pass),
            12 => Just(Self::Settle),
        ]
    }
}
