//! The lock's recipe, with a count of its requests: each is to be completed
//! once.

use std::collections::BTreeMap;
use std::sync::Arc;

use zklock::lock::{AcquisitionId, Claims, Command, Op, Token};
use zklock::proto::{EventType, Request};
use zklock::session::{Outcome, Recipe, RecipeInput, SessionEvent, Timestamp};

#[derive(Clone, Debug, Default)]
pub(crate) struct Audited {
    pub(crate) claims: Claims,
    pub(crate) asked: u64,
    open: BTreeMap<u64, &'static str>,
    /// For whom each claim was asked for, by its counter.
    pub(crate) creators: BTreeMap<u64, AcquisitionId>,
    looks: BTreeMap<AcquisitionId, Look>,
    /// Listings in flight, and the newest on this connection, by lock path.
    lists: BTreeMap<u64, Arc<str>>,
    listed: BTreeMap<Arc<str>, i64>,
    /// How often each kind of request ended how.
    pub(crate) outcomes: BTreeMap<(&'static str, &'static str), u64>,
}

/// How an acquisition has looked at its claim.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    /// What the servers had done when it was listed or read last.
    zxid: i64,
    /// Its own watch would have told what has become of it since.
    armed: bool,
}

impl Audited {
    /// Up to when this acquisition knows what becomes of its claim, its client
    /// having seen so much.
    pub(crate) fn looked(&self, id: AcquisitionId, seen: i64) -> i64 {
        let look = self.looks.get(&id).copied().unwrap_or_default();
        if look.armed { seen } else { look.zxid }
    }

    /// The newest listing of this lock path on this connection.
    pub(crate) fn listed(&self, lock: &str) -> i64 {
        self.listed.get(lock).copied().unwrap_or(0)
    }

    fn note_reply(&mut self, number: u64, token: &Token, outcome: &Outcome) {
        let list = self.lists.remove(&number);
        let (Token::Acquisition(id, op), Outcome::Ok { zxid, .. }) = (token, outcome) else {
            return;
        };
        let watched = matches!(op, Op::WatchOwn(_));
        if watched || list.is_some() {
            let look = self.looks.entry(*id).or_default();
            look.zxid = look.zxid.max(*zxid);
            look.armed |= watched;
        }
        if let Some(path) = list {
            self.listed.insert(path, *zxid);
        }
    }

    fn note_request(&mut self, token: &Token, request: &Request) {
        match (token, request) {
            (Token::Acquisition(id, Op::Create(counter)), _) => {
                self.creators.insert(*counter, *id);
            }
            (Token::Acquisition(_, Op::List(_)), Request::GetChildren { path, .. }) => {
                self.lists.insert(self.asked, path.clone());
            }
            _ => {}
        }
    }

    fn disarm(&mut self) {
        for look in self.looks.values_mut() {
            look.armed = false;
        }
    }
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
                self.note_reply(number, &token, &outcome);
                RecipeInput::Completed { token, outcome }
            }
            RecipeInput::Event(event) => {
                if event.kind != EventType::NodeDeleted {
                    self.disarm();
                }
                RecipeInput::Event(event)
            }
            RecipeInput::Session(event) => {
                if !matches!(event, SessionEvent::Closing) {
                    self.disarm();
                    self.listed.clear();
                }
                RecipeInput::Session(event)
            }
            RecipeInput::Lease(until) => RecipeInput::Lease(until),
            RecipeInput::Tick => RecipeInput::Tick,
        };
        self.claims.handle(input, now);
    }

    fn poll(&mut self) -> Option<(Self::Token, Request)> {
        let (token, request) = self.claims.poll()?;
        self.asked += 1;
        self.open.insert(self.asked, kind(&token));
        self.note_request(&token, &request);
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
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
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
