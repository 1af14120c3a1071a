//! A recipe with a guard before it, which sees all that the session tells it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use zklock::proto::{OpCode, Request};
use zklock::session::{Outcome, Recipe, RecipeInput, SessionEvent, Timestamp};

/// A recipe that can be asked at the end.
pub(super) trait Subject: Recipe<Token: Debug> + Default {
    /// Checks what must hold once the session has stopped, given the paths of
    /// all requests that reached a server.
    fn check_end(&self, reached: &[String]);
}

/// What is known of the session from its events.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    None,
    Live,
    Suspended,
    Stopped,
}

/// Gives each request a number of its own, so that every request can be told
/// to be completed exactly once.
pub(super) struct Watched<R: Recipe> {
    recipe: R,
    life: Life,
    closing: bool,
    timeout: std::time::Duration,
    open: BTreeMap<u32, (R::Token, OpCode)>,
    last: u32,
    /// Inputs other than completed requests.
    news: usize,
}

impl<R: Subject> Watched<R> {
    pub(super) fn new() -> Self {
        Self {
            recipe: R::default(),
            life: Life::None,
            closing: false,
            timeout: std::time::Duration::ZERO,
            open: BTreeMap::new(),
            last: 0,
            news: 0,
        }
    }

    pub(super) const fn recipe(&self) -> &R {
        &self.recipe
    }

    pub(super) fn is_live(&self) -> bool {
        self.life == Life::Live
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.life == Life::Stopped
    }

    /// Requests asked for and not completed.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    pub(super) const fn news(&self) -> usize {
        self.news
    }

    fn completed(&mut self, number: u32, outcome: &Outcome) -> R::Token {
        let (token, opcode) = self
            .open
            .remove(&number)
            .expect("only what was asked for is completed, and once");
        if let Outcome::Ok { reply, .. } = outcome {
            assert_eq!(reply.opcode(), opcode);
        }
        token
    }

    fn session(&mut self, event: &SessionEvent) {
        assert_ne!(self.life, Life::Stopped, "{event:?} after the end");
        self.life = match (event, self.life) {
            (
                SessionEvent::Established {
                    session_id,
                    timeout,
                },
                Life::None,
            ) => {
                assert_ne!(*session_id, 0);
                self.timeout = *timeout;
                Life::Live
            }
            (SessionEvent::Reattached { timeout }, Life::Suspended) => {
                self.timeout = *timeout;
                Life::Live
            }
            (SessionEvent::Suspended(_), Life::Live) => Life::Suspended,
            // A session is announced once its connection is authenticated, and
            // may be lost before.
            (SessionEvent::Lost(_), _) => Life::None,
            (SessionEvent::Closing, life) if !self.closing => {
                self.closing = true;
                life
            }
            (SessionEvent::Stopped(_), _) => Life::Stopped,
            (event, life) => panic!("{event:?} when {life:?}"),
        };
    }
}

impl<R: Subject> Recipe for Watched<R> {
    type Token = u32;
    type Command = R::Command;

    fn command(&mut self, command: R::Command, now: Timestamp) {
        self.recipe.command(command, now);
    }

    fn handle(&mut self, input: RecipeInput<u32>, now: Timestamp) {
        let is_news = !matches!(input, RecipeInput::Completed { .. });
        self.news += usize::from(is_news);
        let input = match input {
            RecipeInput::Completed { token, outcome } => RecipeInput::Completed {
                token: self.completed(token, &outcome),
                outcome,
            },
            RecipeInput::Session(event) => {
                self.session(&event);
                RecipeInput::Session(event)
            }
            RecipeInput::Event(event) => {
                assert!(!self.is_stopped(), "an event after the end");
                RecipeInput::Event(event)
            }
            RecipeInput::Lease(until) => RecipeInput::Lease(until),
            RecipeInput::Tick => RecipeInput::Tick,
        };
        self.recipe.handle(input, now);
    }

    fn poll(&mut self) -> Option<(u32, Request)> {
        let (token, request) = self.recipe.poll()?;
        self.last += 1;
        self.open.insert(self.last, (token, request.opcode()));
        Some((self.last, request))
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.recipe.deadline()
    }
}
