//! The locks' recipe, and what its users may rely on.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use arbitrary::Arbitrary;
use zklock::lock::{
    AcquireRequest, AcquisitionId, Claims, Command, Dialect, LockId, LockSpec, Metadata, Notice,
    Token,
};
use zklock::proto::{Acl, Request, ZnodePath};
use zklock::session::{Recipe, RecipeInput, SessionEvent, Timestamp};

use super::watched::Subject;

/// What a user of locks does.
#[derive(Arbitrary, Debug)]
pub enum Wish {
    /// Asks for one of a few locks.
    Acquire {
        /// Which lock.
        lock: u8,
        /// In whose name.
        owner: Option<u8>,
        /// For how long; for ever without.
        timeout_ms: Option<u16>,
        /// Whether to queue.
        waits: bool,
        /// For how long to hold it; without, as long as it can be held.
        ttl_ms: Option<NonZeroU16>,
    },
    /// Releases the lock, or gives up the request.
    Leave(u8),
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Waiting {
        deadline: Timestamp,
        ttl: Option<Duration>,
    },
    Granted {
        until: Option<Timestamp>,
    },
    /// The request's user has left, or was told of its end.
    Over,
}

/// The recipe.
#[derive(Default)]
pub(super) struct Wishes {
    claims: Claims,
    fates: BTreeMap<AcquisitionId, Fate>,
    left: Vec<AcquisitionId>,
    /// Those whose claim the server refuses to delete.
    refused: BTreeSet<AcquisitionId>,
}

impl Wishes {
    fn acquire(
        &mut self,
        lock: u8,
        owner: Option<u8>,
        waits: bool,
        deadline: Timestamp,
        ttl: Option<Duration>,
    ) -> Command {
        let id = AcquisitionId(self.fates.len() as u64);
        self.fates.insert(id, Fate::Waiting { deadline, ttl });
        Command::Acquire(AcquireRequest {
            id,
            lock: spec(lock),
            metadata: Metadata {
                owner: owner.map(|owner| format!("owner-{}", owner % 4).into()),
                ttl,
                ..Metadata::default()
            },
            deadline,
            waits,
        })
    }

    fn leave(&mut self, which: u8) -> Command {
        let id = AcquisitionId(u64::from(which) % (self.fates.len() as u64).max(1));
        if let Some(fate @ Fate::Waiting { .. }) = self.fates.get_mut(&id) {
            // Nobody is told of the end of a wait that the user has ended.
            *fate = Fate::Over;
        }
        Command::Leave(id)
    }

    fn take_notices(&mut self, now: Timestamp) {
        while let Some(notice) = self.claims.notice() {
            self.take(notice, now);
        }
    }

    fn take(&mut self, notice: Notice, now: Timestamp) {
        let fate = |id| self.fates.get(id).copied().expect("an acquisition");
        match notice {
            Notice::Granted { id, until, .. } => {
                let Fate::Waiting { deadline, ttl } = fate(&id) else {
                    panic!("granted when {:?}", fate(&id));
                };
                assert!(now < deadline, "granted too late");
                let lease = self.claims.lease();
                assert!(lease.is_some_and(|until| now < until), "without a lease");
                // Sooner if the news of its turn was late.
                let latest = ttl.map(|ttl| now + ttl);
                assert_eq!(until.is_some(), ttl.is_some());
                assert!(until <= latest && until.is_none_or(|until| now < until));
                self.fates.insert(id, Fate::Granted { until });
            }
            Notice::Failed { id, .. } => {
                assert!(matches!(fate(&id), Fate::Waiting { .. }));
                self.fates.insert(id, Fate::Over);
            }
            Notice::Lost { id, .. } => {
                assert!(matches!(fate(&id), Fate::Granted { .. }));
                self.fates.insert(id, Fate::Over);
            }
            Notice::PlaceLost { id } => assert!(matches!(fate(&id), Fate::Waiting { .. })),
            Notice::Left { id, result } => {
                assert_eq!(fate(&id), Fate::Over);
                assert!(!self.left.contains(&id), "a notice after the last");
                match result {
                    Ok(()) => self.left.push(id),
                    Err(_) => assert!(self.refused.insert(id), "refused twice"),
                }
            }
            other => panic!("nobody looks at a queue: {other:?}"),
        }
    }

    /// When those who hold a lock are to hear of its end, by TTL or lease.
    fn ends(&self) -> impl Iterator<Item = Timestamp> {
        let lease = self.claims.lease().unwrap_or(Timestamp::ZERO);
        self.fates.values().filter_map(move |fate| match fate {
            Fate::Granted { until } => Some(until.map_or(lease, |until| until.min(lease))),
            _ => None,
        })
    }

    /// A holder is told the instant that its lease or its TTL is over.
    fn check_holders(&self, now: Timestamp) {
        assert!(self.ends().all(|end| now < end), "held beyond the end");
    }

    /// Nobody who drives this would sleep through that instant.
    fn check_deadline(&self) {
        let deadline = self.claims.deadline();
        let asleep = |end| deadline.is_none_or(|deadline| end < deadline);
        assert!(!self.ends().any(asleep), "an end that is no deadline");
    }
}

impl Subject for Wishes {
    fn check_end(&self, _: &[String]) {
        assert!(self.claims.is_empty());
        assert!(self.fates.values().all(|fate| *fate == Fate::Over));
    }
}

impl Recipe for Wishes {
    type Token = Token;
    type Command = Wish;

    fn command(&mut self, wish: Wish, now: Timestamp) {
        let command = match wish {
            Wish::Acquire {
                lock,
                owner,
                timeout_ms,
                waits,
                ttl_ms,
            } => {
                let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.into()));
                let deadline = timeout.map_or(Timestamp::MAX, |timeout| now + timeout);
                let ttl = ttl_ms.map(|ms| Duration::from_millis(ms.get().into()));
                self.acquire(lock, owner, waits, deadline, ttl)
            }
            Wish::Leave(which) => self.leave(which),
        };
        self.claims.command(command, now);
        self.take_notices(now);
        self.check_deadline();
    }

    fn handle(&mut self, input: RecipeInput<Token>, now: Timestamp) {
        let is_tick = matches!(input, RecipeInput::Tick);
        let is_end = matches!(
            input,
            RecipeInput::Session(SessionEvent::Lost(_) | SessionEvent::Stopped(_))
        );
        self.claims.handle(input, now);
        self.take_notices(now);
        self.check_deadline();
        if is_tick || is_end {
            self.check_holders(now);
        }
    }

    fn poll(&mut self) -> Option<(Token, Request)> {
        self.claims.poll()
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.claims.deadline()
    }
}

fn spec(lock: u8) -> Arc<LockSpec> {
    let paths = ["/", "/locks", "/a/b/c"];
    let which = usize::from(lock) % paths.len();
    let acl: Arc<[Acl]> = [Acl::world_anyone()].into();
    Arc::new(LockSpec {
        id: LockId(which as u64),
        path: ZnodePath::new(paths[which]).expect("a path"),
        dialect: Dialect::default(),
        acl: Arc::clone(&acl),
        parent_acl: acl,
    })
}
