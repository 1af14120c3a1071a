//! A bare session machine with a script at the other end.

use bytes::Bytes;
use zklock::proto::Request;
use zklock::session::{
    Action, Input, Io, Misuse, Outcome, Output, SessionConfig, SessionEvent, SessionMachine,
    SessionStats, Timestamp,
};

use super::{Machine, Peer, T, config};

pub(crate) type Session = Peer<Bare>;

/// A session machine whose requests have numbers, and what it has said so far.
pub(crate) struct Bare {
    pub(crate) session: SessionMachine<u32>,
    told: Vec<Output<u32>>,
    actions: std::collections::VecDeque<Action>,
}

impl Bare {
    fn listen(&mut self) {
        while let Some(output) = self.session.poll() {
            match &output {
                Output::Dial(server) => self.actions.push_back(Action::Dial(server.clone())),
                Output::HangUp => self.actions.push_back(Action::HangUp),
                _ => {}
            }
            self.told.push(output);
        }
    }

    fn tell(&mut self, input: Input<u32>, now: Timestamp) -> Result<(), Misuse> {
        let result = self.session.handle(input, now);
        self.listen();
        result
    }
}

impl Machine for Bare {
    fn io(&mut self, io: Io, now: Timestamp) -> Result<(), Misuse> {
        let input = match io {
            Io::Connected => Input::Connected,
            Io::Disconnected(cause) => Input::Disconnected(cause),
            Io::Frame(frame) => Input::Frame(frame),
            Io::Partial => Input::Partial,
            Io::Flushed => Input::Flushed,
        };
        self.tell(input, now)
    }

    fn tick(&mut self, now: Timestamp) {
        assert_eq!(self.tell(Input::Tick, now), Ok(()));
    }

    fn close(&mut self, now: Timestamp) {
        assert_eq!(self.tell(Input::Close, now), Ok(()));
    }

    fn transmit(&mut self, now: Timestamp) -> Option<Bytes> {
        self.session.transmit(now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.session.deadline()
    }

    fn action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }
}

impl Session {
    /// A session that has asked for its first dial.
    pub(crate) fn dialing(config: SessionConfig) -> Self {
        let session = SessionMachine::new(config, super::START);
        Self::new(Bare {
            session,
            told: Vec::new(),
            actions: Default::default(),
        })
    }

    /// A session that is established; nothing is left to be told.
    pub(crate) fn connected() -> Self {
        Self::connected_with(config("a"))
    }

    pub(crate) fn connected_with(config: SessionConfig) -> Self {
        let mut session = Self::dialing(config);
        session.connect();
        session.welcome(T);
        session.told();
        session.actions();
        session
    }

    pub(crate) fn stats(&self) -> SessionStats {
        self.machine.session.stats(self.now)
    }

    pub(crate) fn request(&mut self, token: u32, request: Request) {
        let input = Input::Request { token, request };
        assert_eq!(self.machine.tell(input, self.now), Ok(()));
        self.act();
    }

    /// All that the machine has said since the last time.
    pub(crate) fn told(&mut self) -> Vec<Output<u32>> {
        std::mem::take(&mut self.machine.told)
    }

    /// What became of requests, and nothing else that was said.
    pub(crate) fn outcomes(&mut self) -> Vec<(u32, Outcome)> {
        let completed = |output| match output {
            Output::Completed { token, outcome } => Some((token, outcome)),
            _ => None,
        };
        self.told().into_iter().filter_map(completed).collect()
    }

    /// What happened to the session, and nothing else that was said.
    pub(crate) fn events(&mut self) -> Vec<SessionEvent> {
        let event = |output| match output {
            Output::Session(event) => Some(event),
            _ => None,
        };
        self.told().into_iter().filter_map(event).collect()
    }
}
