//! The claim at the head of the queue, as those behind it see it: whether it
//! has a TTL, and what they do when that is over.
//!
//! A holder with a TTL stops by its own clock. If its claim stays all the same,
//! whoever waits removes it, no sooner than TTL and session timeout after the
//! waiter first saw it there, by the waiter's clock, and a thousandth of the TTL
//! later still, in case that clock is the faster one. A holder that is granted
//! late, since its claim came to the head while it could not look, does not
//! count from its grant, but from before a session timeout after that; see
//! [`ClaimMachine::note_place`]. Only the head is ever removed. What is measured
//! starts over with each connection.

use std::sync::Arc;
use std::time::Duration;

use super::{ClaimMachine, Context};
use crate::lock::acquisition::Op;
use crate::lock::metadata::ClaimData;
use crate::proto::{ErrorCode, Reply, Request};
use crate::session::{Outcome, Timestamp};

/// A listing is one name for each claim; a waiter asks for so many per recheck.
const NAMES_PER_RECHECK: usize = 16;

/// Within a TTL two clocks drift apart by no more than this part of it. For the
/// session timeout the lease has a margin of its own.
const DRIFT: u32 = 1000;

/// The claim at the head, not the own one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    path: Arc<str>,
    /// It may as well be another that has the same number.
    tied: bool,
    /// When it was first seen there.
    since: Timestamp,
    term: Term,
    /// When to do what comes next.
    pub(super) due: Option<Timestamp>,
}

/// What is known of a head's TTL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    /// It is read once it can matter: no earlier than the session timeout,
    /// after which most have gone.
    Unread,
    /// In flight, under this serial number.
    Asked(u32),
    /// It has none, or has gone where nobody would hear of it.
    Endless,
    /// It has one, which is over then. The data that said so has this version.
    Ends { at: Timestamp, version: i32 },
    /// Its delete is in flight, under this serial number.
    Ending(u32),
}

impl ClaimMachine {
    /// This claim is at the head now, or one of those that are `tied` with it:
    /// which of them waits the numbers do not tell, so that none is removed.
    pub(super) fn watch_over(&mut self, path: Option<Arc<str>>, tied: bool, cx: &Context<'_>) {
        let Some((path, live)) = path.zip(cx.live) else {
            self.head = None;
            return;
        };
        match &mut self.head {
            Some(head) if head.path == path && head.tied == tied => match head.term {
                Term::Endless | Term::Ends { .. } => self.look_later(cx),
                Term::Unread | Term::Asked(_) | Term::Ending(_) => {}
            },
            head => {
                *head = Some(Head {
                    path,
                    tied,
                    since: cx.now,
                    term: Term::Unread,
                    due: Some(cx.now + live.timeout),
                });
                if tied || self.unreadable {
                    self.leave_alone(cx);
                }
            }
        }
    }

    pub(super) fn head_due(&mut self, cx: &mut Context<'_>) {
        let serial = self.next_serial();
        let Some(head) = &mut self.head else { return };
        head.due = None;
        let path = Arc::clone(&head.path);
        match head.term {
            Term::Unread => {
                head.term = Term::Asked(serial);
                let request = Request::GetData { path, watch: false };
                self.ask(Op::ReadHead(serial), request, cx);
            }
            Term::Ends { at, .. } if cx.now < at => self.look_again(),
            Term::Ends { version, .. } => {
                head.term = Term::Ending(serial);
                let request = Request::Delete { path, version };
                self.ask(Op::EndHead(serial), request, cx);
            }
            Term::Endless => self.look_again(),
            Term::Asked(_) | Term::Ending(_) => {}
        }
    }

    pub(super) fn head_read(&mut self, serial: u32, outcome: Outcome, cx: &mut Context<'_>) {
        // The connection went with it, and all that was known.
        self.unreadable |= matches!(outcome, Outcome::TooLong { .. });
        let Some(head) = &mut self.head else { return };
        if head.term != Term::Asked(serial) {
            return;
        }
        match outcome {
            Outcome::Ok {
                reply: Reply::GetData { data, stat },
                ..
            } => match data.as_deref().and_then(overdue_after) {
                Some(after) => {
                    let version = stat.version;
                    let at = head.since + after;
                    head.term = Term::Ends { at, version };
                    self.look_later(cx);
                }
                None => self.leave_alone(cx),
            },
            Outcome::Server(ErrorCode::ThrottledOp) => self.head_later(Term::Unread, cx),
            _ => self.leave_alone(cx),
        }
    }

    pub(super) fn head_ended(&mut self, serial: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        let ending = |head: &&Head| head.term == Term::Ending(serial);
        if self.head.as_ref().filter(ending).is_none() {
            return;
        }
        match outcome {
            Outcome::Ok { .. } | Outcome::Server(ErrorCode::NoNode) => self.look_again(),
            // Someone has written to it: perhaps there is more time now.
            Outcome::Server(ErrorCode::BadVersion | ErrorCode::ThrottledOp) => {
                self.head_later(Term::Unread, cx);
            }
            // It is not allowed, so that it cannot be helped.
            _ => self.leave_alone(cx),
        }
    }

    fn head_later(&mut self, term: Term, cx: &Context<'_>) {
        if let Some(head) = &mut self.head {
            head.term = term;
            head.due = cx.live.map(|live| cx.now + live.timeout / 6);
        }
    }

    /// There is no TTL to wait for.
    fn leave_alone(&mut self, cx: &Context<'_>) {
        if let Some(head) = &mut self.head {
            head.term = Term::Endless;
        }
        self.look_later(cx);
    }

    /// When this claim goes, the next may have a TTL: if nothing will tell, look
    /// again, the less often the more there is to list.
    fn look_later(&mut self, cx: &Context<'_>) {
        let told = self.ahead.further == 0;
        let rarely = 1 + self.ahead.len() / NAMES_PER_RECHECK;
        let Some(head) = &mut self.head else { return };
        let recheck = cx.live.map(|live| live.timeout * 10 / 6);
        let rarely = u32::try_from(rarely).unwrap_or(u32::MAX);
        let look = recheck
            .filter(|_| !told)
            .map(|recheck| cx.now + recheck.saturating_mul(rarely));
        let end = match head.term {
            Term::Ends { at, .. } => Some(at),
            _ => None,
        };
        head.due = [look, end].into_iter().flatten().min();
    }
}

/// How long after it was seen at the head a claim with these data may be
/// removed, if it has a TTL.
fn overdue_after(data: &[u8]) -> Option<Duration> {
    let data = ClaimData::decode(data)?;
    let ttl = data.ttl?;
    let ttl = ttl.saturating_add(ttl / DRIFT);
    Some(ttl.saturating_add(data.session_timeout?))
}
