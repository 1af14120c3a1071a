//! What an input consists of.

use std::time::Duration;

use arbitrary::{Arbitrary, Result, Unstructured};
use zklock::session::{Auth, ConnectString, Heartbeat, SessionConfig, Timestamp};

/// More would be slow, and show nothing that fewer do not.
const MOST_STEPS: usize = 400;

/// A session's beginning, and what then happens. `A` is what users ask for.
#[derive(Debug)]
pub struct Story<A> {
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step<A>>,
}

impl<'a, A: Arbitrary<'a>> Arbitrary<'a> for Story<A> {
    /// As many steps as the bytes make, so that an input can be cut and joined.
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let setup = u.arbitrary()?;
        let mut steps = Vec::new();
        while !u.is_empty() && steps.len() < MOST_STEPS {
            steps.push(u.arbitrary()?);
        }
        Ok(Self { setup, steps })
    }
}

/// The client's configuration, and when it starts.
#[derive(Arbitrary, Debug)]
pub(super) struct Setup {
    servers: u8,
    timeout_ms: u16,
    connect_ms: u16,
    max_in_flight: u8,
    auth: u8,
    pings_only: bool,
    seed: u8,
    start_s: u32,
}

impl Setup {
    pub(super) fn config(&self) -> SessionConfig {
        let servers = ["a", "a,b:1", "a,[::1]:2,c"];
        let ensemble: ConnectString = servers[usize::from(self.servers) % servers.len()]
            .parse()
            .expect("a connect string");
        SessionConfig {
            ensemble,
            timeout: Duration::from_millis(u64::from(self.timeout_ms) + 1),
            connect_timeout: Duration::from_millis(u64::from(self.connect_ms) + 1),
            max_in_flight: usize::from(self.max_in_flight) % 8 + 1,
            auth: vec![Auth::new("digest", "user:password"); usize::from(self.auth) % 3],
            heartbeat: if self.pings_only {
                Heartbeat::Ping
            } else {
                Heartbeat::Sync
            },
            seed: self.seed.into(),
        }
    }

    pub(super) fn start(&self) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs(self.start_s.into())
    }
}

/// One thing that happens.
#[derive(Arbitrary, Debug)]
pub(super) enum Step<A> {
    /// All goes well, so many times over: the next thing that network, server
    /// or clock owe the client, they do.
    Oblige(u8),
    /// Time goes by, unnoticed so far.
    Wait { micros: u32 },
    /// The client is told the time.
    Tick,
    /// Nothing happens until the client asked to be told the time.
    Sleep,
    /// The dial succeeds, or something claims so.
    Connected,
    /// The dial fails, or the connection breaks once the server has executed
    /// some of what is in flight.
    Disconnected { executed: u8 },
    /// The socket takes what there is to write.
    Write,
    /// It is written.
    Flushed,
    /// A part of a frame arrives.
    Partial,
    /// The handshake, or something else, is answered thus.
    Welcome(Welcome),
    /// A request is answered.
    Reply(Answer),
    /// A watch fires.
    Event { kind: i8, node: u8 },
    /// Someone deletes a znode.
    Remove { node: u8 },
    /// A frame of any content arrives.
    Frame(Vec<u8>),
    /// A user asks for something.
    Ask(A),
    /// The session is to be closed.
    Close,
}

/// How a server answers a handshake.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(super) enum Welcome {
    /// With the session asked for, or a new one, and the timeout asked for.
    Good,
    /// As good, but with another timeout.
    Granted { timeout_ms: u16 },
    /// The session is over.
    Expired,
    /// With another session.
    Replaced,
    /// The server is read-only.
    ReadOnly,
    /// With anything.
    Odd {
        timeout_ms: i32,
        session_id: i64,
        password: u8,
        read_only: Option<bool>,
    },
}

/// How a server answers a request.
#[derive(Arbitrary, Clone, Debug)]
pub(super) struct Answer {
    /// Which of those in flight; the oldest, if there are fewer.
    pub(super) skip: u8,
    /// Added to the last zxid.
    pub(super) zxid: i8,
    pub(super) outcome: Answered,
}

/// What the answer says.
#[derive(Arbitrary, Clone, Debug)]
pub(super) enum Answered {
    /// It was executed, and this is how it went.
    Executed,
    /// It was executed, says the header, and then come these bytes.
    Garbled(Vec<u8>),
    /// One of the errors that mean something to the client.
    Refused(u8),
    /// An error.
    Error(i32),
}
