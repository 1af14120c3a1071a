//! The lock's recipe, with a count of its requests: each is to be completed
//! once.

use std::collections::BTreeMap;

use zklock::lock::{Claims, Command, Op, Token};
use zklock::proto::Request;
use zklock::session::{Outcome, Recipe, RecipeInput, Timestamp};

#[derive(Clone, Debug, Default)]
pub(crate) struct Audited {
    pub(crate) claims: Claims,
    asked: u64,
    open: BTreeMap<u64, &'static str>,
    /// How often each kind of request ended how.
    pub(crate) outcomes: BTreeMap<(&'static str, &'static str), u64>,
}

impl Audited {
    pub(crate) fn open(&self) -> usize {
        self.open.len()
    }
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
                let kind = self.open.remove(&number);
                assert!(kind.is_some(), "{token:?} is completed again: {outcome:?}");
                let kinds = (kind.unwrap_or_default(), ending(&outcome));
                *self.outcomes.entry(kinds).or_default() += 1;
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
        self.open.insert(self.asked, kind(&token));
        Some(((self.asked, token), request))
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.claims.deadline()
    }
}

fn kind(token: &Token) -> &'static str {
    match token {
        Token::Orphan(_) => "sweep",
        Token::Survey(_) => "survey",
        Token::Removal(_) => "break",
        Token::Acquisition(_, op) => match op {
            Op::Create(_) => "create",
            Op::CreateParent(_) => "create parent",
            Op::Sync(_) => "sync",
            Op::List(_) => "list",
            Op::WatchOwn(_) => "watch own",
            Op::Rank(..) => "rank",
            Op::WatchAhead(_) => "watch ahead",
            Op::ReadHead(_) => "read head",
            Op::EndHead(_) => "end head",
            Op::Delete(_) => "delete",
        },
    }
}

fn ending(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Ok { .. } => "ok",
        Outcome::Server(_) => "refused",
        Outcome::NotSent => "not sent",
        Outcome::MaybeSent => "maybe sent",
        Outcome::TooLong { .. } => "too long",
        Outcome::SessionLost => "session lost",
        Outcome::Closed => "closed",
    }
}
