//! Where a race is run: one client and a correct server in virtual time, and
//! between them a network that takes its time. The same seed gives the same
//! race.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use zklock::lock::{AcquireError, AcquisitionId, Claims, Command, Notice};
use zklock::proto::EventType;
use zklock::session::{Action, Cause, Engine, Io, SessionConfig, Timestamp};

use crate::Random;
use crate::support::model::Server;
use crate::support::scripted::client::acquire_request;
use crate::support::scripted::{BEAT, START, T, config, event, frames};

/// The longest that a frame is under way.
pub(crate) const LONG_WAY: Duration = Duration::from_millis(40);
/// Within this time of the request, what is ahead goes and what fails fails.
const EVENTFUL: Duration = Duration::from_millis(150);

/// The client in question; there is no other.
const CLIENT: usize = 0;
const PATH: &str = "/a/bc";
const WARM_UP: AcquisitionId = AcquisitionId(0);
const RACER: AcquisitionId = AcquisitionId(1);

/// What the grant depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The lock is free: on the answers to create and listing.
    Free,
    /// The lock path is missing.
    MissingPath,
    /// There is no session yet.
    NoSession,
    /// On the end of the claim ahead.
    HandOff,
    /// On the ends of three, in any order.
    ThreeAhead,
    /// The connection breaks, and the next server lags.
    Reattached,
    /// At the head with a lease that has run out: on an answer that shows that
    /// the session is alive.
    Evidence,
    /// The process is stopped for a while.
    Paused,
}

impl Phase {
    pub(crate) const ALL: [Self; 8] = [
        Self::Free,
        Self::MissingPath,
        Self::NoSession,
        Self::HandOff,
        Self::ThreeAhead,
        Self::Reattached,
        Self::Evidence,
        Self::Paused,
    ];

    const fn claims_ahead(self) -> usize {
        match self {
            Self::Free | Self::MissingPath | Self::NoSession => 0,
            Self::HandOff | Self::Evidence => 1,
            Self::Reattached | Self::Paused => 2,
            Self::ThreeAhead => 3,
        }
    }
}

/// How a race went.
pub(crate) struct End {
    pub(crate) asked: Timestamp,
    pub(crate) granted: Option<Timestamp>,
    pub(crate) timed_out: Option<Timestamp>,
    pub(crate) answers: usize,
    /// When the process was stopped.
    pub(crate) pause: Option<Range<Timestamp>>,
    /// What is left in the queue.
    pub(crate) children: Vec<String>,
    /// What the client keeps.
    pub(crate) claims: Claims,
}

/// What happens at its time.
enum Act {
    Accept,
    /// Someone deletes a claim.
    Delete(String),
    Cut,
    Pause,
    Resume,
    /// From now on nothing arrives from the server until the lease has run out.
    Hold,
    /// Something arrives that is no answer.
    Noise,
    Leave(AcquisitionId),
}

pub(crate) struct Track {
    now: Timestamp,
    random: Random,
    server: Server,
    engine: Engine<Claims>,
    up: bool,
    paused: bool,
    held_until: Timestamp,
    /// Frames under way, with when they arrive.
    to_server: VecDeque<(Timestamp, Bytes)>,
    to_client: VecDeque<(Timestamp, Bytes)>,
    acts: BTreeMap<(Timestamp, usize), Act>,
    planned: usize,
    end: End,
}

impl Track {
    /// Asks for the lock until `deadline`, and gives it back.
    pub(crate) fn run(phase: Phase, seed: u64, deadline: Timestamp) -> End {
        let mut track = Self::new(seed);
        track.prepare(phase);
        track.plan(phase);
        track.end.asked = track.now;
        let mut request = acquire_request(RACER, PATH);
        request.deadline = deadline;
        track.command(Command::Acquire(request));
        track.pass(if phase == Phase::Evidence {
            T * 3
        } else {
            EVENTFUL * 10
        });
        track.command(Command::Leave(RACER));
        track.pass(LONG_WAY * 8);
        End {
            children: track.server.children(PATH),
            claims: track.engine.recipe().clone(),
            ..track.end
        }
    }

    fn new(seed: u64) -> Self {
        let config = SessionConfig {
            seed,
            ..config("a,b")
        };
        let mut track = Self {
            now: START,
            random: Random(seed),
            server: Server::default(),
            engine: Engine::new(config, Claims::default(), START),
            up: false,
            paused: false,
            held_until: START,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            acts: BTreeMap::new(),
            planned: 0,
            end: End {
                asked: START,
                granted: None,
                timed_out: None,
                answers: 0,
                pause: None,
                children: Vec::new(),
                claims: Claims::default(),
            },
        };
        track.engine.tick(START);
        track.obey();
        track
    }

    fn prepare(&mut self, phase: Phase) {
        if phase == Phase::NoSession {
            return;
        }
        self.pass(LONG_WAY * 4);
        if phase != Phase::MissingPath {
            self.command(Command::Acquire(acquire_request(WARM_UP, PATH)));
            self.pass(LONG_WAY * 8);
            self.command(Command::Leave(WARM_UP));
            self.pass(LONG_WAY * 4);
        }
    }

    /// What is to happen from now on.
    fn plan(&mut self, phase: Phase) {
        for _ in 0..phase.claims_ahead() {
            self.server.create_foreign(PATH);
        }
        let start = self.now;
        let names = self.server.children(PATH);
        let claims = names.iter().map(|name| format!("{PATH}/{name}"));
        let mut claims: Vec<_> = claims.collect();
        match phase {
            Phase::Reattached => {
                self.server.lag = (self.random.next() % 8) as usize;
                self.soon(Act::Cut);
            }
            Phase::Paused => {
                let from = start + self.random.up_to(EVENTFUL);
                let to = from + self.random.up_to(EVENTFUL);
                self.at(from, Act::Pause);
                self.at(to, Act::Resume);
                self.end.pause = Some(from..to);
            }
            Phase::Evidence => {
                // Once it is in the queue, and has a lease as others have.
                let from = start + T + self.random.up_to(BEAT);
                self.at(from, Act::Hold);
                let gone = from + self.random.up_to(BEAT);
                self.at(gone, Act::Delete(claims.remove(0)));
            }
            _ => {}
        }
        for claim in claims {
            self.soon(Act::Delete(claim));
        }
    }

    /// A server that is cut off from its leader may still have something to
    /// say, and the connection lasts for a while.
    fn hold(&mut self) {
        let lease = self.engine.recipe().lease().expect("a session");
        self.held_until = lease + self.random.up_to(BEAT / 8);
        let mut noise = self.now;
        while noise < self.held_until {
            self.at(noise, Act::Noise);
            noise = noise + BEAT / 3;
        }
        for (_, frame) in std::mem::take(&mut self.to_client) {
            self.send(frame);
        }
    }

    fn soon(&mut self, act: Act) {
        let at = self.now + self.random.up_to(EVENTFUL);
        self.at(at, act);
    }

    fn at(&mut self, at: Timestamp, act: Act) {
        self.planned += 1;
        self.acts.insert((at, self.planned), act);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
    }

    fn next(&self) -> Option<Timestamp> {
        let arrival = |frames: &VecDeque<(Timestamp, Bytes)>| frames.front().map(|(at, _)| *at);
        let act = self.acts.first_key_value().map(|((at, _), _)| *at);
        let awake = [arrival(&self.to_client), self.engine.deadline()];
        let awake = awake.into_iter().filter(|_| !self.paused);
        let others = [arrival(&self.to_server), act, self.server.next_expiry()];
        awake.chain(others).flatten().min()
    }

    /// What is due first: a process that was stopped reads before it looks at
    /// the clock.
    fn step(&mut self) {
        let now = self.now;
        let due = |frames: &VecDeque<(Timestamp, Bytes)>| {
            frames.front().is_some_and(|(at, _)| *at <= now)
        };
        if due(&self.to_server) {
            let frame = self.to_server.pop_front().expect("a frame").1;
            self.server.take(CLIENT, &frame, now);
            self.answer();
        } else if due(&self.to_client) && !self.paused {
            let frame = self.to_client.pop_front().expect("a frame").1;
            self.io(Io::Frame(frame));
        } else if let Some(act) = self.acts.first_entry().filter(|act| act.key().0 <= now) {
            let act = act.remove();
            self.act(act);
        } else {
            self.server.expire(now);
            if !self.paused {
                self.engine.tick(now);
                self.obey();
            }
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Accept => {
                self.server.accept(CLIENT);
                self.up = true;
                self.io(Io::Connected);
            }
            Act::Delete(claim) => {
                self.server.delete(&claim).expect("it is there");
                self.answer();
            }
            Act::Cut if self.up => {
                self.hang_up();
                self.io(Io::Disconnected(Cause::ClosedByServer));
            }
            Act::Noise if self.up => {
                self.io(Io::Frame(event(EventType::NodeDeleted, "/elsewhere")));
            }
            Act::Cut | Act::Noise => {}
            Act::Pause => self.paused = true,
            Act::Resume => self.paused = false,
            Act::Hold => self.hold(),
            Act::Leave(id) => self.command(Command::Leave(id)),
        }
    }

    /// What the server has to say is on its way.
    fn answer(&mut self) {
        while let Some(frame) = self.server.send(CLIENT) {
            self.send(frame);
        }
    }

    fn send(&mut self, frame: Bytes) {
        let last = self.to_client.back().map_or(self.now, |(at, _)| *at);
        let arrival = self.now.max(self.held_until) + self.random.up_to(LONG_WAY);
        self.to_client.push_back((arrival.max(last), frame));
    }

    fn command(&mut self, command: Command) {
        self.engine.command(command, self.now);
        self.obey();
    }

    fn io(&mut self, io: Io) {
        assert_eq!(self.engine.io(io, self.now), Ok(()));
        self.obey();
    }

    /// Does what a driver does.
    fn obey(&mut self) {
        while let Some(action) = self.engine.poll() {
            self.hang_up();
            if matches!(action, Action::Dial(_)) {
                let at = self.now + self.random.up_to(LONG_WAY);
                self.at(at, Act::Accept);
            }
        }
        while self.engine.event().is_some() {}
        while let Some(written) = self.engine.transmit(self.now).filter(|_| self.up) {
            for frame in frames(written) {
                let last = self.to_server.back().map_or(self.now, |(at, _)| *at);
                let arrival = self.now + self.random.up_to(LONG_WAY);
                self.to_server.push_back((arrival.max(last), frame));
            }
            assert_eq!(self.engine.io(Io::Flushed, self.now), Ok(()));
        }
        while let Some(notice) = self.engine.recipe_mut().notice() {
            self.note(notice);
        }
    }

    fn hang_up(&mut self) {
        self.up = false;
        self.server.disconnect(CLIENT);
        self.to_server.clear();
        self.to_client.clear();
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Granted {
                id: RACER, znode, ..
            } => {
                let lease = self.engine.recipe().lease();
                assert!(lease.is_some_and(|until| self.now < until));
                assert_eq!(self.server.head(PATH).as_deref(), Some(&*znode));
                self.end.answers += 1;
                self.end.granted = Some(self.now);
                let at = self.now + self.random.up_to(EVENTFUL);
                self.at(at, Act::Leave(RACER));
            }
            Notice::Failed { id: RACER, error } => {
                assert_eq!(error, AcquireError::TimedOut);
                self.end.answers += 1;
                self.end.timed_out = Some(self.now);
            }
            Notice::Left { result, .. } => assert_eq!(result, Ok(())),
            _ => {}
        }
    }
}
