//! A session and the recipe that lives on it, as one machine.
//!
//! This is what the driver drives, and what a simulation drives in its place:
//! everything above the socket and the clock, and nothing else.

use std::collections::VecDeque;

use bytes::Bytes;

use super::connect_string::Server;
use super::machine::{Input, Misuse, Outcome, Output, SessionConfig, SessionMachine};
use super::state::{Cause, SessionEvent};
use super::time::Timestamp;
use crate::proto::{Request, WatcherEvent};

/// A machine that lives on a session: it asks for requests, and is told what
/// became of them. Like the session's own it does no IO and reads no clock.
pub trait Recipe {
    /// The recipe's name for a request.
    type Token;
    /// What its users ask of it.
    type Command;

    /// Takes what a user asks of it at `now`.
    fn command(&mut self, command: Self::Command, now: Timestamp);

    /// Tells the recipe what happened at `now`.
    fn handle(&mut self, input: RecipeInput<Self::Token>, now: Timestamp);

    /// The next request that it asks for.
    fn poll(&mut self) -> Option<(Self::Token, Request)>;

    /// When to say [`RecipeInput::Tick`] at the latest.
    fn deadline(&self) -> Option<Timestamp>;
}

/// What a recipe is told.
#[derive(Debug)]
pub enum RecipeInput<T> {
    /// A request is done.
    Completed {
        /// The recipe's name for it.
        token: T,
        /// What became of it.
        outcome: Outcome,
    },
    /// A watch has fired.
    Event(WatcherEvent),
    /// Something happened to the session.
    Session(SessionEvent),
    /// The lease runs until then.
    Lease(Timestamp),
    /// Time has passed.
    Tick,
}

/// What happened to the connection, as the driver tells it.
#[derive(Clone, Debug)]
pub enum Io {
    /// The dial asked for has succeeded.
    Connected,
    /// The dial asked for has failed, or the connection is gone.
    Disconnected(Cause),
    /// A whole frame, without its length prefix.
    Frame(Bytes),
    /// Bytes of a frame that is not whole yet.
    Partial,
    /// The bytes of the last transmission are all written.
    Flushed,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Drop any connection and dial this server.
    Dial(Server),
    /// Drop the connection or the dial.
    HangUp,
}

/// A session and the recipe on it. The contract is [`SessionMachine`]'s.
#[derive(Clone, Debug)]
pub struct Engine<R: Recipe> {
    session: SessionMachine<R::Token>,
    recipe: R,
    actions: VecDeque<Action>,
    events: VecDeque<SessionEvent>,
}

impl<R: Recipe> Engine<R> {
    /// A session that is to be, and the recipe that will live on it.
    #[must_use]
    pub fn new(config: SessionConfig, recipe: R, now: Timestamp) -> Self {
        Self {
            session: SessionMachine::new(config, now),
            recipe,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Hands the recipe what a user asks of it.
    pub fn command(&mut self, command: R::Command, now: Timestamp) {
        self.recipe.command(command, now);
        self.settle(now);
    }

    /// Tells what happened to the connection.
    ///
    /// # Errors
    ///
    /// [`Misuse`] if nothing of the kind can have happened now.
    pub fn io(&mut self, io: Io, now: Timestamp) -> Result<(), Misuse> {
        let input = match io {
            Io::Connected => Input::Connected,
            Io::Disconnected(cause) => Input::Disconnected(cause),
            Io::Frame(frame) => Input::Frame(frame),
            Io::Partial => Input::Partial,
            Io::Flushed => Input::Flushed,
        };
        self.session.handle(input, now)?;
        self.settle(now);
        Ok(())
    }

    /// Begins an orderly close of the session.
    pub fn close(&mut self, now: Timestamp) {
        self.tell_session(Input::Close, now);
        self.settle(now);
    }

    /// Stops at once, without a word to the server: whoever drives this is
    /// about to be gone. Everything that waits is told.
    pub fn abandon(&mut self, now: Timestamp) {
        self.session.abandon();
        self.settle(now);
    }

    /// Tells that time has passed.
    pub fn tick(&mut self, now: Timestamp) {
        // What a connection's beginning took is not needed for long.
        self.actions.shrink_to_fit();
        self.events.shrink_to_fit();
        self.tell_session(Input::Tick, now);
        self.settle(now);
        self.recipe.handle(RecipeInput::Tick, now);
        self.settle(now);
    }

    /// What the driver is to do next.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What happened to the session next, for its users to see.
    pub fn event(&mut self) -> Option<SessionEvent> {
        self.events.pop_front()
    }

    /// The bytes to write now, if the last ones are flushed.
    pub fn transmit(&mut self, now: Timestamp) -> Option<Bytes> {
        self.session.transmit(now)
    }

    /// When to call [`tick`](Self::tick) at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        [self.session.deadline(), self.recipe.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The session.
    #[must_use]
    pub const fn session(&self) -> &SessionMachine<R::Token> {
        &self.session
    }

    /// The recipe.
    #[must_use]
    pub const fn recipe(&self) -> &R {
        &self.recipe
    }

    /// The recipe, to fetch what it has for its users. What it is to do goes
    /// through the engine, which passes on what it asks for.
    pub const fn recipe_mut(&mut self) -> &mut R {
        &mut self.recipe
    }

    /// Carries outputs of the one to the other until both are silent.
    fn settle(&mut self, now: Timestamp) {
        loop {
            if let Some(output) = self.session.poll() {
                self.pass_on(output, now);
            } else if let Some((token, request)) = self.recipe.poll() {
                self.tell_session(Input::Request { token, request }, now);
            } else {
                return;
            }
        }
    }

    fn pass_on(&mut self, output: Output<R::Token>, now: Timestamp) {
        let input = match output {
            Output::Dial(server) => return self.actions.push_back(Action::Dial(server)),
            Output::HangUp => return self.actions.push_back(Action::HangUp),
            Output::Completed { token, outcome } => RecipeInput::Completed { token, outcome },
            Output::Event(event) => RecipeInput::Event(event),
            Output::Session(event) => {
                self.events.push_back(event.clone());
                RecipeInput::Session(event)
            }
            Output::Lease(until) => RecipeInput::Lease(until),
        };
        self.recipe.handle(input, now);
    }

    /// Inputs that every state of the session allows.
    fn tell_session(&mut self, input: Input<R::Token>, now: Timestamp) {
        let allowed = self.session.handle(input, now);
        debug_assert_eq!(
            allowed,
            Ok(()),
            "requests, ticks and close are always allowed"
        );
    }
}
