//! One acquisition, from the request to the last trace of it.
//!
//! ```text
//!            granted                  released, dropped, lost
//!  Seeking ----------> Held ----------------------------------+
//!     |                                                       v
//!     +-- timed out, failed, dropped ------------------> Leaving --> Gone
//! ```
//!
//! The phase says what is wanted. What is known of the server (the claim, its
//! place, the watches, what is in flight) is kept beside it as facts, and after
//! every input [`ClaimMachine::advance`] asks for what is missing between the
//! two. A disconnect only makes facts unknown again, so that recovery is the
//! ordinary way and not another one.

mod facts;
mod head;
mod looks;
mod replies;
mod steps;
mod watches;

use super::acquisition::{AcquireRequest, Notice};
use super::effects::{Effects, LiveSession, Trace};
use super::error::{AcquireError, LostReason};
use crate::proto::{ErrorCode, EventType, ZnodePath};
use crate::session::{SessionLost, Timestamp};

use facts::{Ahead, Claim, Doomed, Look, Watch};
use head::Head;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Phase {
    Seeking,
    Held,
    Leaving,
    Gone,
}

/// What a claim machine is told, beside replies.
#[derive(Clone, Debug)]
pub(super) enum ClaimInput<'a> {
    /// It has just begun, the session has a connection, time has passed, or
    /// the lease was extended.
    Look,
    /// The connection is gone.
    Suspended,
    /// The session is gone.
    SessionLost(SessionLost),
    /// The session is closed.
    Closed,
    /// A watch has fired.
    Event { kind: EventType, path: &'a str },
    /// The user wants no lock, or no more.
    Leave,
}

/// What the session gives a claim machine to work with.
pub(super) struct Context<'a> {
    pub(super) now: Timestamp,
    /// The session, while it has a connection.
    pub(super) live: Option<LiveSession>,
    /// Until when the session can be relied on.
    pub(super) lease: Option<Timestamp>,
    pub(super) effects: &'a mut Effects,
    /// What of these is the acquisition's.
    pub(super) trace: &'a mut Trace,
}

/// One acquisition, sans IO.
#[derive(Clone, Debug)]
pub(super) struct ClaimMachine {
    request: AcquireRequest,
    phase: Phase,
    /// The znode in the queue that is this acquisition's.
    claim: Option<Claim>,
    /// The counter of the create in flight.
    creating: Option<u64>,
    /// The lock path is missing and is to be made before the next create.
    parents_missing: bool,
    /// Why a znode above the claims could not be made, the last one.
    parent_failure: Option<(ZnodePath, ErrorCode)>,
    /// Counters of creates whose outcome is unknown.
    doubtful: Vec<u64>,
    /// Counters of creates that were doubtful in this session, to be looked
    /// for once more at the end.
    suspects: Vec<u64>,
    /// Claims to delete.
    doomed: Vec<Doomed>,
    own_watch: Watch,
    look: Look,
    /// What is ahead, if the look is current.
    ahead: Ahead,
    /// The predecessor may not be watched: watch the lock path instead.
    watch_parent: bool,
    /// The children of the lock path are more than a frame takes; they are not
    /// listed again before then.
    unlistable: Option<Timestamp>,
    /// Whoever holds the lock, while this waits for it.
    head: Option<Head>,
    /// Some claim's data were more than a frame takes: none are read again.
    unreadable: bool,
    /// A TTL counts from then at the latest. Those behind count from when they
    /// saw the claim come to the head, which none did a session timeout before.
    counts_from: Timestamp,
    /// When the own time as a holder is over.
    term: Option<Timestamp>,
    /// Tells the newest listing and watches from older ones.
    serial: u32,
    /// A refused request is not repeated before then.
    retry_at: Option<Timestamp>,
    /// The predecessor is asked after then, whatever was heard.
    recheck_at: Option<Timestamp>,
    /// The users know that the claim is gone.
    told_left: bool,
    /// The users know that the server refuses to delete it.
    told_refused: bool,
}

impl ClaimMachine {
    pub(super) fn new(request: AcquireRequest) -> Self {
        Self {
            request,
            phase: Phase::Seeking,
            claim: None,
            creating: None,
            parents_missing: false,
            parent_failure: None,
            doubtful: Vec::new(),
            suspects: Vec::new(),
            doomed: Vec::new(),
            own_watch: Watch::Unset,
            look: Look::Needed { sync: false },
            ahead: Ahead::default(),
            watch_parent: false,
            unlistable: None,
            head: None,
            unreadable: false,
            counts_from: Timestamp::ZERO,
            term: None,
            serial: 0,
            retry_at: None,
            recheck_at: None,
            told_left: false,
            told_refused: false,
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    pub(super) const fn request(&self) -> &AcquireRequest {
        &self.request
    }

    /// When it has something to do next, replies and events aside. The end of
    /// the lease, which all acquisitions of a session share, is not in it.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        if self.phase == Phase::Gone {
            return None;
        }
        let end = match self.phase {
            Phase::Seeking => Some(self.request.deadline),
            Phase::Held => self.term,
            Phase::Leaving | Phase::Gone => None,
        };
        let head = self.head.as_ref().and_then(|head| head.due);
        let listing = self.unlistable.filter(|_| self.phase == Phase::Leaving);
        let times = [end, self.retry_at, self.recheck_at, head, listing];
        let never = Timestamp::MAX;
        let times = times.map(|at| at.unwrap_or(never));
        Some(times.into_iter().fold(never, Ord::min)).filter(|at| *at != never)
    }

    /// Takes an input other than a reply.
    pub(super) fn handle(&mut self, input: ClaimInput<'_>, cx: &mut Context<'_>) {
        self.note_place(cx);
        match input {
            ClaimInput::Look => {}
            ClaimInput::Suspended => self.forget_connection(),
            ClaimInput::SessionLost(reason) => self.session_lost(reason, cx),
            ClaimInput::Closed => self.closed(cx),
            ClaimInput::Event { kind, path } => self.event(kind, path, cx),
            ClaimInput::Leave => self.leave(LostReason::Released, cx),
        }
        self.settle(cx);
    }

    /// After the facts have changed: time, then the next step. A grant is the
    /// last thing that can happen, so that none follows a deadline.
    pub(super) fn settle(&mut self, cx: &mut Context<'_>) {
        self.keep_time(cx);
        self.advance(cx);
    }

    fn keep_time(&mut self, cx: &mut Context<'_>) {
        let now = cx.now;
        let due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        if due(self.retry_at) {
            self.retry_at = None;
        }
        if due(self.recheck_at) {
            self.recheck();
        }
        if due(self.unlistable) && self.phase == Phase::Leaving {
            self.unlistable = None;
        }
        match self.phase {
            Phase::Seeking if self.request.deadline <= cx.now => {
                self.fail(AcquireError::TimedOut, cx);
            }
            Phase::Held if !cx.lease_holds() => self.leave(LostReason::LeaseExpired, cx),
            Phase::Held if due(self.term) => self.leave(LostReason::TtlExpired, cx),
            _ => {}
        }
        if due(self.head.as_ref().and_then(|head| head.due)) {
            self.head_due(cx);
        }
    }

    /// Does not rely on watches alone.
    fn recheck(&mut self) {
        self.recheck_at = None;
        match self.ahead.watched.first_mut() {
            Some(_) if self.watch_parent => self.look_again(),
            Some(predecessor) => predecessor.watch = Watch::Unset,
            None => {}
        }
    }

    /// Ends the wish for the lock, with an error for whoever waits for it.
    fn fail(&mut self, error: AcquireError, cx: &mut Context<'_>) {
        if self.phase == Phase::Seeking {
            cx.effects.notify(Notice::Failed {
                id: self.request.id,
                error,
            });
            self.begin_leaving();
        }
    }

    /// Ends the wish for the lock; a holder learns why.
    fn leave(&mut self, reason: LostReason, cx: &mut Context<'_>) {
        if self.phase == Phase::Held {
            cx.effects.notify(Notice::Lost {
                id: self.request.id,
                reason,
            });
        }
        if matches!(self.phase, Phase::Seeking | Phase::Held) {
            self.begin_leaving();
        }
    }

    fn begin_leaving(&mut self) {
        self.phase = Phase::Leaving;
        self.retry_at = None;
        self.forget_queue();
        if let Some(claim) = self.claim.take() {
            self.doomed.push(claim.doomed());
        }
    }

    /// Nothing is known any more of what only a connection can tell. Requests
    /// in flight report themselves.
    fn forget_connection(&mut self) {
        self.own_watch = Watch::Unset;
        self.look = Look::Needed { sync: true };
        self.watch_parent = false;
        self.retry_at = None;
        self.forget_queue();
    }

    fn forget_queue(&mut self) {
        self.ahead = Ahead::default();
        self.head = None;
        self.recheck_at = None;
    }

    /// All that was made in the session is gone with it, or goes unasked.
    fn session_lost(&mut self, reason: SessionLost, cx: &mut Context<'_>) {
        self.place_lost(cx);
        self.forget_session();
        self.lose(LostReason::Session(reason), cx);
    }

    fn closed(&mut self, cx: &mut Context<'_>) {
        self.forget_session();
        self.fail(AcquireError::Closed, cx);
        self.lose(LostReason::Closed, cx);
    }

    fn forget_session(&mut self) {
        self.forget_connection();
        self.look = Look::Needed { sync: false };
        self.claim = None;
        self.creating = None;
        self.parents_missing = false;
        self.doubtful.clear();
        self.suspects.clear();
        self.doomed.clear();
    }

    /// What only those who wait notice.
    fn place_lost(&self, cx: &mut Context<'_>) {
        if self.phase == Phase::Seeking && self.claim.is_some() {
            let id = self.request.id;
            cx.effects.notify(Notice::PlaceLost { id });
        }
    }

    /// What only a holder notices.
    fn lose(&mut self, reason: LostReason, cx: &mut Context<'_>) {
        if self.phase == Phase::Held {
            self.leave(reason, cx);
        }
    }

    /// The claim is not there, though nobody here deleted it.
    fn claim_gone(&mut self, cx: &mut Context<'_>) {
        self.place_lost(cx);
        self.claim = None;
        self.own_watch = Watch::Unset;
        self.look = Look::Needed { sync: false };
        self.forget_queue();
        self.lose(LostReason::ClaimDeleted, cx);
    }
}

impl Context<'_> {
    pub(super) fn lease_holds(&self) -> bool {
        self.lease.is_some_and(|until| self.now < until)
    }
}
