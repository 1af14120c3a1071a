//! All acquisitions of a session: which of them a reply, an event or a command
//! is for, and what they share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::acquisition::{AcquireRequest, AcquisitionId, Command, LockId, Notice, Op, Token};
use super::effects::{Effects, LiveSession, Trace};
use super::error::{AcquireError, QueueError};
use super::machine::{ClaimInput, ClaimMachine, Context, Phase};
use super::queue;
use super::removal::{RemovalRequest, Removals};
use super::spare::{Acquisition, Spare};
use super::survey::{SurveyRequest, Surveys};
use crate::proto::{Children, Reply, Request, WatcherEvent};
use crate::session::{Outcome, Recipe, RecipeInput, SessionEvent, Timestamp};

/// The acquisitions of one session, as a recipe on it.
///
/// Sans IO, like the session: commands, replies, events and the time come in
/// by [`Recipe::handle`]; requests come out by [`Recipe::poll`] and what users
/// are to be told by [`notice`](Self::notice).
#[derive(Clone, Debug, Default)]
pub struct Claims {
    acquisitions: BTreeMap<AcquisitionId, Box<Acquisition>>,
    spare: Spare,
    /// When each machine has something to do.
    schedule: BTreeSet<(Timestamp, AcquisitionId)>,
    /// How many are held.
    holders: usize,
    owners: BTreeMap<(LockId, Arc<str>), AcquisitionId>,
    live: Option<LiveSession>,
    session_id: Option<i64>,
    lease: Option<Timestamp>,
    closed: bool,
    effects: Effects,
    surveys: Surveys,
    removals: Removals,
}

impl Claims {
    /// What the users are to be told next.
    pub fn notice(&mut self) -> Option<Notice> {
        self.effects.notices.pop_front()
    }

    /// Until when the session can be relied on; `None` without a session.
    #[must_use]
    pub const fn lease(&self) -> Option<Timestamp> {
        self.lease
    }

    /// The acquisition by which this owner holds this lock.
    #[must_use]
    pub fn held_by(&self, lock: LockId, owner: &str) -> Option<AcquisitionId> {
        self.owners.get(&(lock, owner.into())).copied()
    }

    /// Who holds this lock by one of these acquisitions, if it has an owner.
    #[must_use]
    pub fn owner(&self, lock: LockId) -> Option<Arc<str>> {
        let first = (lock, Arc::from(""));
        let ((found, owner), _) = self.owners.range(first..).next()?;
        (*found == lock).then(|| Arc::clone(owner))
    }

    /// Whether this acquisition has left a trace.
    #[must_use]
    pub fn contains(&self, id: AcquisitionId) -> bool {
        self.acquisitions.contains_key(&id)
    }

    /// How many acquisitions have left a trace: those that wait, hold, or are
    /// not gone from the server yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.acquisitions.len()
    }

    /// Whether there is no acquisition at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acquisitions.is_empty()
    }

    fn acquire(&mut self, request: AcquireRequest, now: Timestamp) {
        let id = request.id;
        let owner = request.metadata.owner.as_deref();
        let error = if self.closed {
            Some(AcquireError::Closed)
        } else if owner.is_some_and(|owner| self.held_by(request.lock.id, owner).is_some()) {
            Some(AcquireError::AlreadyOwned)
        } else {
            None
        };
        if let Some(error) = error {
            return self.effects.notify(Notice::Failed { id, error });
        }
        self.begin(id, ClaimMachine::new(request));
        self.tell(id, &ClaimInput::Look, now);
    }

    fn begin(&mut self, id: AcquisitionId, machine: ClaimMachine) {
        machine.deadline().map(|at| self.schedule.insert((at, id)));
        self.acquisitions.insert(id, self.spare.fill(machine));
    }

    fn completed(&mut self, token: Token, outcome: Outcome, now: Timestamp) {
        let (id, op) = match token {
            Token::Acquisition(id, op) => (id, op),
            Token::Orphan(_) => return,
            Token::Survey(step) => {
                let (live, effects) = (self.live, &mut self.effects);
                return self.surveys.completed(step, outcome, live, now, effects);
            }
            Token::Removal(step) => {
                let (live, effects) = (self.live, &mut self.effects);
                return self.removals.completed(step, outcome, live, now, effects);
            }
        };
        if let (
            Op::List(_),
            Outcome::Ok {
                reply: Reply::GetChildren { children },
                ..
            },
        ) = (op, &outcome)
        {
            self.sweep(id, children);
        }
        self.with(id, now, |machine, cx| machine.completed(op, outcome, cx));
    }

    /// Deletes the claims of this session that no acquisition knows: whatever
    /// made them, nobody else ever will.
    fn sweep(&mut self, lister: AcquisitionId, children: &Children) {
        let (Some(live), Some(lister)) = (self.live, self.acquisitions.get(&lister)) else {
            return;
        };
        let lock = &lister.machine.request().lock;
        let unknown = |counter| !self.effects.knows(counter);
        let orphans: Vec<_> = queue::of_session(children, live.session_id, unknown)
            .filter_map(|(_, name)| Some(lock.below(std::str::from_utf8(name).ok()?)))
            .collect();
        for path in orphans {
            let delete = Request::Delete {
                path: Arc::clone(&path),
                version: -1,
            };
            self.effects
                .requests
                .push_back((Token::Orphan(path), delete));
        }
    }

    fn event(&mut self, event: &WatcherEvent, now: Timestamp) {
        let WatcherEvent { kind, path, .. } = event;
        for id in self.effects.take_watchers(path) {
            self.with(id, now, |machine, cx| {
                cx.trace.unwatch(path);
                machine.handle(ClaimInput::Event { kind: *kind, path }, cx);
            });
        }
    }

    fn session(&mut self, event: SessionEvent, now: Timestamp) {
        match event {
            SessionEvent::Established {
                session_id,
                timeout,
            } => {
                self.session_id = Some(session_id);
                self.live = Some(LiveSession {
                    session_id,
                    timeout,
                });
                self.connected(now);
            }
            SessionEvent::Reattached { timeout } => {
                self.live = self.session_id.map(|session_id| LiveSession {
                    session_id,
                    timeout,
                });
                self.connected(now);
            }
            SessionEvent::Suspended(_) => {
                self.live = None;
                self.effects.forget_watches();
                self.traces().for_each(Trace::forget_watches);
                self.surveys.disconnected();
                self.removals.disconnected();
                self.tell_all(&ClaimInput::Suspended, now);
            }
            SessionEvent::Lost(reason) => {
                self.forget_session();
                self.tell_all(&ClaimInput::SessionLost(reason), now);
            }
            SessionEvent::Closing | SessionEvent::Stopped(_) => {
                self.closed = true;
                self.forget_session();
                self.tell_all(&ClaimInput::Closed, now);
                self.surveys.close(&mut self.effects);
                self.removals.close(&mut self.effects);
            }
        }
    }

    fn connected(&mut self, now: Timestamp) {
        self.tell_all(&ClaimInput::Look, now);
        self.surveys.start_over(&mut self.effects);
        self.removals.start_over(&mut self.effects);
    }

    fn survey(&mut self, request: SurveyRequest) {
        if self.closed {
            return self.effects.notify(Notice::Surveyed {
                id: request.id,
                result: Err(QueueError::Closed),
            });
        }
        self.surveys.begin(request, self.live, &mut self.effects);
    }

    fn remove(&mut self, request: RemovalRequest) {
        if self.closed {
            return self.effects.notify(Notice::Removed {
                id: request.id,
                result: Err(QueueError::Closed),
            });
        }
        self.removals.begin(request, self.live, &mut self.effects);
    }

    fn forget_session(&mut self) {
        self.live = None;
        self.session_id = None;
        self.lease = None;
        self.effects.forget_session();
        self.traces().for_each(Trace::forget_session);
        self.surveys.disconnected();
        self.removals.disconnected();
    }

    fn traces(&mut self) -> impl Iterator<Item = &mut Trace> {
        let acquisitions = self.acquisitions.values_mut();
        acquisitions.map(|acquisition| &mut acquisition.trace)
    }

    /// Wakes those that have something to do by now, and every holder if the
    /// lease has run out.
    fn keep_time(&mut self, now: Timestamp) {
        self.effects.give_back(now);
        self.spare.clear();
        self.surveys.keep_time(self.live, now, &mut self.effects);
        self.removals.keep_time(self.live, now, &mut self.effects);
        let due = self.schedule.iter().take_while(|(at, _)| *at <= now);
        for id in due.map(|(_, id)| *id).collect::<Vec<_>>() {
            self.tell(id, &ClaimInput::Look, now);
        }
        if self.holders > 0 && self.lease.is_none_or(|until| until <= now) {
            self.tell_all(&ClaimInput::Look, now);
        }
    }

    fn tell_all(&mut self, input: &ClaimInput<'_>, now: Timestamp) {
        let ids: Vec<_> = self.acquisitions.keys().copied().collect();
        for id in ids {
            self.tell(id, input, now);
        }
    }

    fn tell(&mut self, id: AcquisitionId, input: &ClaimInput<'_>, now: Timestamp) {
        self.with(id, now, |machine, cx| machine.handle(input.clone(), cx));
    }

    /// Lets a machine take an input, and keeps the indexes in step with it.
    fn with(
        &mut self,
        id: AcquisitionId,
        now: Timestamp,
        step: impl FnOnce(&mut ClaimMachine, &mut Context<'_>),
    ) {
        let Some(acquisition) = self.acquisitions.get_mut(&id) else {
            return;
        };
        let Acquisition { machine, trace } = &mut **acquisition;
        let (due_before, phase_before) = (machine.deadline(), machine.phase());
        let (live, lease, effects) = (self.live, self.lease, &mut self.effects);
        step(
            machine,
            &mut Context {
                now,
                live,
                lease,
                effects,
                trace,
            },
        );
        let (due, phase) = (machine.deadline(), machine.phase());
        if due != due_before {
            due_before.map(|at| self.schedule.remove(&(at, id)));
            due.map(|at| self.schedule.insert((at, id)));
        }
        if phase != phase_before {
            self.phase_changed(id, phase_before, phase);
        }
    }

    fn phase_changed(&mut self, id: AcquisitionId, before: Phase, phase: Phase) {
        let Some(acquisition) = self.acquisitions.get(&id) else {
            return;
        };
        let request = acquisition.machine.request();
        let owner = request
            .metadata
            .owner
            .clone()
            .map(|owner| (request.lock.id, owner));
        if phase == Phase::Held {
            self.holders += 1;
            owner.map(|owner| self.owners.insert(owner, id));
            return;
        }
        if before == Phase::Held {
            self.holders -= 1;
        }
        if let Some(owner) = owner.filter(|owner| self.owners.get(owner) == Some(&id)) {
            self.owners.remove(&owner);
        }
        if phase == Phase::Gone {
            self.end(id);
        }
    }

    fn end(&mut self, id: AcquisitionId) {
        let Some(mut acquisition) = self.acquisitions.remove(&id) else {
            return;
        };
        self.effects.forget(id, &mut acquisition.trace);
        self.spare.keep(acquisition);
    }
}

impl Recipe for Claims {
    type Token = Token;
    type Command = Command;

    fn command(&mut self, command: Command, now: Timestamp) {
        match command {
            Command::Acquire(request) => self.acquire(request, now),
            Command::Survey(request) => self.survey(request),
            Command::Remove(request) => self.remove(request),
            Command::Leave(id) => self.tell(id, &ClaimInput::Leave, now),
        }
    }

    fn handle(&mut self, input: RecipeInput<Token>, now: Timestamp) {
        match input {
            RecipeInput::Completed { token, outcome } => self.completed(token, outcome, now),
            RecipeInput::Event(event) => self.event(&event, now),
            RecipeInput::Session(event) => self.session(event, now),
            RecipeInput::Lease(until) => {
                let stale = self.lease.replace(until).is_none_or(|until| until <= now);
                if stale {
                    // Someone at the head may have waited for just this.
                    self.tell_all(&ClaimInput::Look, now);
                }
            }
            RecipeInput::Tick => self.keep_time(now),
        }
    }

    fn poll(&mut self) -> Option<(Token, Request)> {
        self.effects.requests.pop_front()
    }

    fn deadline(&self) -> Option<Timestamp> {
        let scheduled = self.schedule.first().map(|(at, _)| *at);
        let lease = self.lease.filter(|_| self.holders > 0);
        let (survey, removal) = (self.surveys.deadline(), self.removals.deadline());
        let times = [scheduled, lease, survey, removal];
        times.into_iter().flatten().min()
    }
}
