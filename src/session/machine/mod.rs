//! One ZooKeeper session as a pure state machine.
//!
//! ```text
//!  connection:  Idle ---> Dialing ---> Handshaking ---> Authenticating ---> Live
//!                 ^          |             |            (if there is auth)    |
//!                 +----------+---- failed or cut, from any state -------------+
//!
//!  session:     none --accepted--> held --refused, silent for 2T--> lost = none
//!                 \__________________\____ closed, auth failed ____> stopped
//! ```
//!
//! The two are orthogonal: a held session outlives its connections.

mod connecting;
mod exchange;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::auth::Auth;
use super::backoff::{Backoff, Random};
use super::connect_string::{ConnectString, Server};
use super::hosts::Hosts;
use super::lease::{Heartbeat, Lease};
use super::pending::{Pending, Waiter, Xids};
use super::state::{Cause, SessionEvent, SessionLost, Stopped};
use super::stats::SessionStats;
use super::time::Timestamp;
use super::timers::{Timer, Timers};
use crate::proto::{ErrorCode, FrameError, Password, Reply, Request, WatcherEvent};

/// What a session is to be like.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// The servers, and the chroot below which the recipe works.
    pub ensemble: ConnectString,
    /// The session timeout to ask for, in every handshake. The server clamps
    /// it to its own bounds, by default 2 to 20 of its ticks.
    pub timeout: Duration,
    /// By when the first session must be there.
    pub connect_timeout: Duration,
    /// How many requests may be in flight at once.
    pub max_in_flight: usize,
    /// What is written on every connection before anything else.
    pub auth: Vec<Auth>,
    /// What keeps the session alive and renews its lease.
    pub heartbeat: Heartbeat,
    /// Decides the order of the servers and every jitter.
    pub seed: u64,
}

/// What the machine is told.
#[derive(Clone, Debug)]
pub enum Input<T> {
    /// The dial asked for has succeeded.
    Connected,
    /// The dial asked for has failed, or the connection is gone.
    Disconnected(Cause),
    /// A whole frame, without its length prefix.
    Frame(Bytes),
    /// Bytes of a frame that is not whole yet. They show that the server is
    /// there, and nothing else.
    Partial,
    /// The bytes of the last transmission are all written.
    Flushed,
    /// The recipe asks for this request; `token` comes back with its outcome.
    Request {
        /// The recipe's name for the request.
        token: T,
        /// What to send.
        request: Request,
    },
    /// End the session in order.
    Close,
    /// Time has passed.
    Tick,
}

/// What the machine asks for, or tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<T> {
    /// Drop any connection and dial this server.
    Dial(Server),
    /// Drop the connection or the dial. The socket is closed as it is: on a
    /// server that the session has left, a closeSession would end the session.
    HangUp,
    /// A request is done. Each request gets exactly one.
    Completed {
        /// The recipe's name for the request.
        token: T,
        /// What became of it.
        outcome: Outcome,
    },
    /// A watch has fired.
    Event(WatcherEvent),
    /// Something happened to the session.
    Session(SessionEvent),
    /// The lease was extended.
    Lease(Timestamp),
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server did it.
    Ok {
        /// The server's last zxid; for a write, the write's own.
        zxid: i64,
        /// The reply.
        reply: Reply,
    },
    /// The server refused it.
    Server(ErrorCode),
    /// The connection was gone before a byte of it was handed over.
    NotSent,
    /// The connection broke before the reply: it may or may not have been done.
    MaybeSent,
    /// Its reply is a longer frame than is taken, and the connection was given
    /// up for that.
    TooLong {
        /// How long it is, in bytes.
        length: usize,
        /// What is taken at the most, in bytes.
        max: usize,
    },
    /// The session ended first. What it would have done is over with it.
    SessionLost,
    /// The machine has stopped.
    Closed,
}

/// An input that the machine's state does not allow. The machine ignores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Misuse {
    /// `Connected` without a dial.
    NotDialing,
    /// `Frame`, `Partial` or `Flushed` without a connection.
    NotConnected,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotDialing => "the session machine has not asked for a dial",
            Self::NotConnected => "the session machine has no connection",
        })
    }
}

impl std::error::Error for Misuse {}

/// Where the connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Connection {
    Idle,
    Dialing(Server),
    Handshaking { server: Server, sent: Timestamp },
    Authenticating(Server),
    Live(Server),
    Stopped,
}

/// A session that the server has granted.
#[derive(Clone, Debug)]
struct Held {
    id: i64,
    password: Password,
    timeout: Duration,
    lease: Lease,
    /// Its users know of it.
    announced: bool,
    /// It had a heartbeat answered, so that its servers are worth an attempt
    /// without delay.
    lived: bool,
}

/// One ZooKeeper session, sans IO.
///
/// The contract: tell it what happened with [`handle`](Self::handle); then call
/// [`poll`](Self::poll) until it is `None`; whenever the connection can take
/// bytes, ask [`transmit`](Self::transmit) for some, write them all and say
/// [`Input::Flushed`]; and say [`Input::Tick`] no later than
/// [`deadline`](Self::deadline). Time never goes backwards. After a pause, hand
/// over what has arrived before the tick: an answer may be waiting.
///
/// `T` names the recipe's requests.
#[derive(Clone)]
pub struct SessionMachine<T> {
    config: SessionConfig,
    hosts: Hosts,
    backoff: Backoff,
    random: Random,
    connection: Connection,
    held: Option<Held>,
    timers: Timers,
    xids: Xids,
    last_zxid_seen: i64,
    /// Requests not yet written.
    queue: VecDeque<(T, Request)>,
    pending: Pending<T>,
    /// Room for the next transmission: what the last one took, once it is
    /// written.
    room: BytesMut,
    /// A ConnectRequest that is to be written.
    greeting: Option<Bytes>,
    /// Transmitted bytes are not all written yet.
    writing: bool,
    /// A heartbeat is due and not yet written.
    heartbeat_due: bool,
    /// When the heartbeat in flight was written.
    heartbeat_sent: Option<Timestamp>,
    closing: bool,
    /// A closeSession is in flight on this connection.
    close_sent: bool,
    attempts: u32,
    failures: Vec<(Server, Cause)>,
    stats: SessionStats,
    outputs: VecDeque<Output<T>>,
}

impl<T> SessionMachine<T> {
    /// A machine that dials its first server at the first tick.
    #[must_use]
    pub fn new(config: SessionConfig, now: Timestamp) -> Self {
        let mut random = Random::new(config.seed);
        let hosts = Hosts::new(config.ensemble.servers().to_vec(), &mut random);
        let mut timers = Timers::default();
        timers.set(Timer::Dial, now);
        timers.set(Timer::Connect, now + config.connect_timeout);
        Self {
            config,
            hosts,
            backoff: Backoff::default(),
            random,
            connection: Connection::Idle,
            held: None,
            timers,
            xids: Xids::new(),
            last_zxid_seen: 0,
            queue: VecDeque::new(),
            pending: Pending::new(),
            room: BytesMut::new(),
            greeting: None,
            writing: false,
            heartbeat_due: false,
            heartbeat_sent: None,
            closing: false,
            close_sent: false,
            attempts: 0,
            failures: Vec::new(),
            stats: SessionStats::default(),
            outputs: VecDeque::new(),
        }
    }

    /// Tells the machine what happened at `now`.
    ///
    /// # Errors
    ///
    /// [`Misuse`] if the state does not allow the input, which is then ignored.
    pub fn handle(&mut self, input: Input<T>, now: Timestamp) -> Result<(), Misuse> {
        match input {
            Input::Connected => return self.greet(now),
            Input::Disconnected(cause) => self.disconnected(cause, now),
            Input::Frame(frame) => return self.receive(&frame, now),
            Input::Partial => self.hear(now)?,
            Input::Flushed => {
                self.has_connection()?;
                self.writing = false;
            }
            Input::Request { token, request } => self.request(token, request),
            Input::Close => self.close(now),
            Input::Tick => self.tick(now),
        }
        Ok(())
    }

    /// Stops at once, without a word to the server.
    pub fn abandon(&mut self) {
        if self.connection != Connection::Stopped {
            self.stop(Stopped::Closed);
        }
    }

    /// What the machine asks for or tells next.
    pub fn poll(&mut self) -> Option<Output<T>> {
        self.outputs.pop_front()
    }

    /// When to say [`Input::Tick`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        self.timers.next()
    }

    /// The id of the session, if there is one.
    #[must_use]
    pub fn session_id(&self) -> Option<i64> {
        self.held.as_ref().map(|held| held.id)
    }

    /// Until when a holder may rely on the session, if there is one.
    #[must_use]
    pub fn lease(&self) -> Option<Timestamp> {
        self.held.as_ref().map(|held| held.lease.until())
    }

    /// The session timeout that the server granted last.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        self.held.as_ref().map(|held| held.timeout)
    }

    /// What the session has seen so far.
    #[must_use]
    pub fn stats(&self, now: Timestamp) -> SessionStats {
        let lease_left = self.lease().map(|until| until - now).unwrap_or_default();
        SessionStats {
            lease_left,
            ..self.stats
        }
    }

    /// Whether requests can be written.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.connection, Connection::Live(_))
    }

    /// How many requests are written and not answered.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Whether requests wait to be written.
    #[must_use]
    pub fn has_requests(&self) -> bool {
        !self.queue.is_empty()
    }

    const fn has_connection(&self) -> Result<(), Misuse> {
        match self.connection {
            Connection::Handshaking { .. }
            | Connection::Authenticating(_)
            | Connection::Live(_) => Ok(()),
            _ => Err(Misuse::NotConnected),
        }
    }

    fn request(&mut self, token: T, request: Request) {
        let outcome = match self.connection {
            Connection::Stopped => Outcome::Closed,
            _ if self.closing => Outcome::Closed,
            Connection::Live(_) => return self.queue.push_back((token, request)),
            _ => Outcome::NotSent,
        };
        self.outputs.push_back(Output::Completed { token, outcome });
    }

    fn tick(&mut self, now: Timestamp) {
        while let Some(timer) = self.timers.take_due(now) {
            match timer {
                Timer::Dial => self.dial(now),
                Timer::Attempt => self.attempt_timed_out(now),
                Timer::Heartbeat => self.heartbeat(now),
                Timer::Silence => self.hang_up(Cause::Silent, now),
                Timer::SessionEnd => self.lose(SessionLost::Unreachable, now),
                Timer::Connect => self.connect_timed_out(),
                Timer::Close => self.stop(Stopped::Closed),
            }
        }
    }

    /// If the connection broke on a frame that is too long: whose reply that
    /// must have been, since replies come in order.
    fn complete_unread(&mut self, cause: &Cause) {
        let Cause::Frame(FrameError::TooLong { length, max }) = *cause else {
            return;
        };
        if let Some(token) = self.pending.take_oldest_recipe() {
            let outcome = Outcome::TooLong { length, max };
            self.outputs.push_back(Output::Completed { token, outcome });
        }
    }

    /// Completes everything that still waits, the written requests first.
    fn complete_all(&mut self, written: &Outcome, queued: &Outcome) {
        let Self {
            pending,
            queue,
            outputs,
            ..
        } = self;
        let written = pending
            .drain()
            .filter_map(|in_flight| match in_flight.waiter {
                Waiter::Recipe(token) => Some((token, written)),
                _ => None,
            });
        let queued = queue.drain(..).map(|(token, _)| (token, queued));
        outputs.extend(
            written
                .chain(queued)
                .map(|(token, outcome)| Output::Completed {
                    token,
                    outcome: outcome.clone(),
                }),
        );
    }
}

/// Without what it writes: that may hold a password.
impl<T> fmt::Debug for SessionMachine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionMachine")
            .field("ensemble", &self.config.ensemble)
            .field("connection", &self.connection)
            .field("held", &self.held)
            .field("timers", &self.timers)
            .field("queued", &self.queue.len())
            .field("in_flight", &self.pending.len())
            .finish_non_exhaustive()
    }
}
