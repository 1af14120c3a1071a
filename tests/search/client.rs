//! A client: its machines, its clock, its connection, and the count of its
//! requests, each of which is to be completed once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use zklock::embedded::ConnectionId;
use zklock::lock::{Claims, Command, Token};
use zklock::proto::{FrameReader, Request, xid};
use zklock::session::{Engine, Heartbeat, Recipe, RecipeInput, SessionConfig, Timestamp};

use crate::print::Print;

/// The session timeout.
pub(crate) const T: Duration = Duration::from_secs(2);

#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Shared by all states in which it is the same.
    engine: Arc<Engine<Audited>>,
    print: Option<Print>,
    pub(crate) clock: Timestamp,
    /// The clock has moved, and it has not been told.
    pub(crate) woken: bool,
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) up: VecDeque<Bytes>,
    /// `None` is the end of the connection.
    pub(crate) down: VecDeque<Option<Bytes>>,
}

impl Client {
    pub(crate) fn new() -> Self {
        let config = SessionConfig {
            // So many that a lost connection is followed by a dial without delay.
            ensemble: "a,b,c,d,e,f".parse().expect("hosts"),
            timeout: T,
            connect_timeout: T * 10,
            max_in_flight: 100,
            auth: Vec::new(),
            heartbeat: Heartbeat::Sync,
            seed: 0,
        };
        let engine = Engine::new(config, Audited::default(), Timestamp::ZERO);
        Self {
            engine: Arc::new(engine),
            print: None,
            clock: Timestamp::ZERO,
            woken: true,
            connection: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine<Audited> {
        &self.engine
    }

    pub(crate) fn engine_mut(&mut self) -> &mut Engine<Audited> {
        self.print = None;
        Arc::make_mut(&mut self.engine)
    }

    pub(crate) fn is_due(&self) -> bool {
        self.engine.deadline().is_some_and(|at| at <= self.clock)
    }

    /// Whether its session can be relied on, by what it knows.
    pub(crate) fn has_lease(&self) -> bool {
        self.engine.recipe().claims.lease() > Some(self.clock)
    }

    /// Nothing has been asked of it, and nothing is under way.
    pub(crate) fn is_untouched(&self) -> bool {
        let recipe = self.engine.recipe();
        let silent = self.up.is_empty() && self.down.is_empty() && recipe.open.is_empty();
        silent && recipe.claims.is_empty()
    }

    /// What it has to write goes on its way.
    pub(crate) fn transmit(&mut self) {
        let now = self.clock;
        let reader = FrameReader::new(1 << 20);
        while let Some(bytes) = self.engine_mut().transmit(now) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(frame)) = reader.read(&mut bytes) {
                self.up.push_back(frame);
            }
            let flushed = self.engine_mut().io(zklock::session::Io::Flushed, now);
            assert_eq!(flushed, Ok(()));
        }
    }

    /// A session machine does not show what it has written: that is in the
    /// links. Nor how often it has dialled: that is in its statistics.
    pub(crate) fn print(&mut self) -> Print {
        let engine = &self.engine;
        let own = *self.print.get_or_insert_with(|| {
            let (session, recipe) = (engine.session(), engine.recipe());
            let stats = session.stats(Timestamp::ZERO);
            let open = recipe.open.len();
            Print::of(&(
                session,
                &recipe.claims,
                open,
                stats.connections,
                stats.heartbeats,
            ))
        });
        let mut print = own.and(Print::of(&(
            self.clock,
            self.woken,
            self.connection,
            self.up.len(),
        )));
        for frame in &self.up {
            // Behind the number of the request, which tells nothing.
            print = print.with(frame.get(4..).unwrap_or_default());
        }
        for frame in &self.down {
            let Some(frame) = frame else {
                print = print.with(b"end");
                continue;
            };
            // Which request it answers is clear without its number, and what
            // the server's last zxid was means nothing to a client.
            let event = frame.starts_with(&xid::WATCH_EVENT.to_be_bytes());
            print = print.with(&[event.into()]);
            print = print.with(frame.get(12..).unwrap_or_default());
        }
        print
    }
}

/// The lock's recipe, with a count of its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Audited {
    pub(crate) claims: Claims,
    asked: u64,
    pub(crate) open: BTreeSet<u64>,
}

impl Recipe for Audited {
    type Token = (u64, Token);
    type Command = Command;

    fn command(&mut self, command: Command, now: Timestamp) {
        self.claims.command(command, now);
    }

    fn handle(&mut self, input: RecipeInput<Self::Token>, now: Timestamp) {
        let input = match input {
            RecipeInput::Completed {
                token: (number, token),
                outcome,
            } => {
                let open = self.open.remove(&number);
                assert!(open, "{token:?} is completed again: {outcome:?}");
                RecipeInput::Completed { token, outcome }
            }
            RecipeInput::Event(event) => RecipeInput::Event(event),
            RecipeInput::Session(event) => RecipeInput::Session(event),
            RecipeInput::Lease(until) => RecipeInput::Lease(until),
            RecipeInput::Tick => RecipeInput::Tick,
        };
        self.claims.handle(input, now);
    }

    fn poll(&mut self) -> Option<(Self::Token, Request)> {
        let (token, request) = self.claims.poll()?;
        self.asked += 1;
        self.open.insert(self.asked);
        Some(((self.asked, token), request))
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.claims.deadline()
    }
}
