//! `Lock`, and the request for it.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;

use super::MAX_OWNER;
use super::acquisition::{AcquireRequest, AcquisitionId, LockId, LockSpec};
use super::claim::Dialect;
use super::contenders::{Contender, Queue};
use super::error::{AcquireError, QueueError, ReleaseError};
use super::guard::{Guard, Ticket};
use super::locks::{Ask, Grant, LockCommand, Locks};
use super::metadata::Metadata;
use super::removal::{RemovalId, RemovalRequest};
use super::survey::{SurveyId, SurveyRequest};
use crate::proto::{Acl, PathError, ZnodePath};
use crate::session::{Link, Session, Timestamp};

/// A lock at a fixed path.
///
/// Requests for it queue below the path as ephemeral sequential znodes and are
/// granted in order, those of other processes and other clients' locks
/// included. Cheap to clone; clones are the same lock, with the same owners.
///
/// A lock keeps its session open; see [`Session`]. Dropping it releases nothing:
/// guards do, and with the last handle of any kind the session closes.
#[derive(Clone)]
pub struct Lock {
    spec: Arc<LockSpec>,
    link: Link<LockCommand>,
}

/// Names locks and acquisitions, process-wide.
static NAMES: AtomicU64 = AtomicU64::new(1);

fn next_name() -> u64 {
    NAMES.fetch_add(1, Ordering::Relaxed)
}

impl Lock {
    /// The lock whose queue is below `path`, under the session's chroot. The
    /// znodes that make up the two are created when they are missed.
    ///
    /// # Errors
    ///
    /// [`PathError`] if `path` is not an absolute znode path: it must begin
    /// with `/`, must not end with one, and has no empty, `.` or `..` part.
    pub fn new(session: &Session<Locks>, path: impl AsRef<str>) -> Result<Self, PathError> {
        let path = ZnodePath::new(path)?;
        let open: Arc<[Acl]> = [Acl::world_anyone()].into();
        let spec = LockSpec {
            id: LockId(next_name()),
            path: session.ensemble().chroot().join(&path),
            dialect: Dialect::default(),
            acl: Arc::clone(&open),
            parent_acl: open,
        };
        Ok(Self {
            spec: Arc::new(spec),
            link: session.link(),
        })
    }

    /// Sets how the claims are named; see [`Dialect`] for who respects whom.
    #[must_use]
    pub fn with_dialect(mut self, dialect: Dialect) -> Self {
        Arc::make_mut(&mut self.spec).dialect = dialect;
        self
    }

    /// Sets the ACL of the claims; all is allowed to everyone unless set. Every
    /// contender needs READ. Who may delete a claim is up to the ACL of the
    /// lock path, not to this one. A claim that is there keeps what it has.
    #[must_use]
    pub fn with_acl(mut self, acl: impl Into<Arc<[Acl]>>) -> Self {
        Arc::make_mut(&mut self.spec).acl = acl.into();
        self
    }

    /// Sets the ACL of the znodes above the claims, where they are missing and
    /// this lock creates them; all is allowed to everyone unless set.
    #[must_use]
    pub fn with_parent_acl(mut self, acl: impl Into<Arc<[Acl]>>) -> Self {
        Arc::make_mut(&mut self.spec).parent_acl = acl.into();
        self
    }

    /// The path below which the requests queue, from the server's root.
    #[must_use]
    pub fn path(&self) -> &ZnodePath {
        &self.spec.path
    }

    /// Asks for the lock and waits: until it is granted, for ever unless
    /// [`timeout`](Acquire::timeout) says otherwise. Nothing is sent until the
    /// request is awaited, and each clone of it that is awaited queues for itself.
    ///
    /// It can be dropped at any point; see [`Acquire`].
    pub fn acquire(&self) -> Acquire {
        Acquire {
            lock: self.clone(),
            owner: None,
            timeout: Duration::MAX,
            ttl: None,
            waits: true,
        }
    }

    /// Asks for the lock without waiting for anyone who is ahead: the answer is
    /// [`AcquireError::WouldBlock`] then. It waits for the server, though: ten
    /// seconds at the most, unless [`timeout`](Acquire::timeout) says otherwise, and
    /// then the answer is [`AcquireError::TimedOut`].
    pub fn try_acquire(&self) -> Acquire {
        Acquire {
            lock: self.clone(),
            owner: None,
            timeout: TRY_TIMEOUT,
            ttl: None,
            waits: false,
        }
    }

    /// The owner to whom this lock, or a clone of it, is granted at present;
    /// `None` if it is not held, or held without an owner. What other sessions
    /// hold is not in it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn owner(&self) -> Option<Arc<str>> {
        let (sender, owner) = oneshot::channel();
        self.link
            .post(LockCommand(Ask::Owner(self.spec.id, sender)));
        owner.await.ok().flatten()
    }

    /// Looks at the queue: who holds the lock and who waits for it, whatever
    /// client they use. Costs a listing and a request for each claim, and gives
    /// up after ten seconds.
    ///
    /// # Errors
    ///
    /// [`QueueError::TimedOut`] if no server answers in time,
    /// [`QueueError::Refused`] if the ACL of the lock path allows no reading,
    /// [`QueueError::TooLong`] if the listing is a longer frame than the session
    /// takes, [`QueueError::Unreadable`] if the server says nothing of a claim,
    /// and [`QueueError::Closed`] if the session is closed. A lock path that is
    /// missing is an empty queue, and a claim whose data may not be read, or are
    /// a longer frame than the session takes, is shown without them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn queue(&self) -> Result<Queue, QueueError> {
        let (sender, surveyed) = oneshot::channel();
        let request = SurveyRequest {
            id: SurveyId(next_name()),
            lock: Arc::clone(&self.spec),
            deadline: self.link.clock().now() + QUEUE_TIMEOUT,
        };
        self.link.post(LockCommand(Ask::Survey(request, sender)));
        surveyed.await.unwrap_or(Err(QueueError::Closed))
    }

    /// Deletes a claim, whoever made it: for an operator whose holder neither
    /// goes on nor leaves. Whether it was there to be deleted is the answer:
    /// `false` if it had gone, also if another claim has its name by now.
    ///
    /// This breaks the promise of the lock. Whoever made the claim learns of it
    /// by its watch only, and someone else may hold the lock by then; one that
    /// is cut off learns of it when its lease is over. The fencing token is what
    /// protects the resource meanwhile. Gives up after ten seconds.
    ///
    /// # Errors
    ///
    /// [`QueueError::TimedOut`] if no server answers in time,
    /// [`QueueError::Refused`] if the ACL of the lock path does not grant
    /// DELETE, [`QueueError::Unreadable`] if the server does not say whether it
    /// is this claim still, and [`QueueError::Closed`] if the session is closed. After a
    /// time-out the claim may be gone or not.
    ///
    /// # Cancel safety
    ///
    /// The claim is deleted even if this future is dropped after its first poll.
    pub async fn break_claim(&self, claim: &Contender) -> Result<bool, QueueError> {
        let (sender, removed) = oneshot::channel();
        let request = RemovalRequest {
            id: RemovalId(next_name()),
            lock: Arc::clone(&self.spec),
            name: claim.name.as_str().into(),
            token: claim.token,
            deadline: self.link.clock().now() + QUEUE_TIMEOUT,
        };
        self.link.post(LockCommand(Ask::Remove(request, sender)));
        removed.await.unwrap_or(Err(QueueError::Closed))
    }

    /// Releases the lock that was granted to this owner, whoever has its guard.
    /// The guard then reports [`LostReason::Released`].
    ///
    /// # Errors
    ///
    /// [`ReleaseError::NotOwner`] if this owner does not hold it, and
    /// [`ReleaseError::Refused`] if the server refuses to delete the claim.
    ///
    /// # Cancel safety
    ///
    /// The lock is released even if this future is dropped after its first poll.
    ///
    /// [`LostReason::Released`]: crate::LostReason::Released
    pub async fn release_owner(&self, owner: impl AsRef<str>) -> Result<(), ReleaseError> {
        let (sender, released) = oneshot::channel();
        let ask = Ask::ReleaseOwner(self.spec.id, owner.as_ref().into(), sender);
        self.link.post(LockCommand(ask));
        // If the session is closed, no owner holds anything.
        released.await.unwrap_or(Err(ReleaseError::NotOwner))
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock")
            .field("path", &self.spec.path.as_str())
            .finish_non_exhaustive()
    }
}

const TRY_TIMEOUT: Duration = Duration::from_secs(10);
const QUEUE_TIMEOUT: Duration = Duration::from_secs(10);

/// A request for a lock, to be awaited.
///
/// # Cancel safety
///
/// Dropping it, at any point, leaves nothing behind: a claim in the queue is
/// deleted, one that is just being created too, and a lock that was granted at
/// the same moment is released.
#[derive(Clone, Debug)]
#[must_use = "a request does nothing unless awaited"]
pub struct Acquire {
    lock: Lock,
    owner: Option<Arc<str>>,
    timeout: Duration,
    ttl: Option<Duration>,
    waits: bool,
}

impl Acquire {
    /// Names the owner, at most [`MAX_OWNER`] bytes. An owner that holds this
    /// [`Lock`] gets [`AcquireError::AlreadyOwned`] when asking again, and can
    /// release it by [`Lock::release_owner`]. Shown in the claim's data.
    pub fn owner(mut self, owner: impl Into<Arc<str>>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// How long to wait, from the first poll on, whatever the state of the
    /// connection. `Duration::MAX` is for ever; zero is an error.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// For how long to hold the lock at the most; without it, as long as the
    /// guard and the session last. Zero is an error.
    ///
    /// The guard is lost when so much time has passed since the grant, and the
    /// claim deleted. Should the process be too stuck for that and its session
    /// live on, those who wait delete the claim, by their own clocks, once they
    /// have seen it at the head of the queue for the TTL, a thousandth of it,
    /// and the session timeout: their clocks may be faster than the holder's
    /// by no more than that. Only zklock does that; other clients know of no
    /// TTL, or count it otherwise.
    ///
    /// Since those who wait count from when the claim came to the head, a grant
    /// that is late, as after a break of the connection at the wrong time, is
    /// for less than the TTL, and none at all if that is over: the request then
    /// queues anew.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    fn request(&self, id: AcquisitionId) -> Result<AcquireRequest, AcquireError> {
        if self.timeout.is_zero() {
            return Err(AcquireError::ZeroTimeout);
        }
        if self.ttl.is_some_and(|ttl| ttl.is_zero()) {
            return Err(AcquireError::ZeroTtl);
        }
        let bytes = self.owner.as_ref().map_or(0, |owner| owner.len());
        if bytes > MAX_OWNER {
            return Err(AcquireError::OwnerTooLong { bytes });
        }
        let forever = self.timeout == Duration::MAX;
        Ok(AcquireRequest {
            id,
            lock: Arc::clone(&self.lock.spec),
            metadata: metadata(self.owner.clone(), self.ttl),
            deadline: if forever {
                Timestamp::MAX
            } else {
                self.lock.link.clock().now() + self.timeout
            },
            waits: self.waits,
        })
    }
}

impl IntoFuture for Acquire {
    type Output = Result<Guard, AcquireError>;
    type IntoFuture = Acquiring;

    fn into_future(self) -> Acquiring {
        Acquiring(State::New(self))
    }
}

/// The future of an [`Acquire`].
///
/// # Errors
///
/// [`AcquireError`]; see there for each.
///
/// # Cancel safety
///
/// As [`Acquire`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Acquiring(State);

#[derive(Debug)]
enum State {
    New(Acquire),
    Waiting {
        answer: oneshot::Receiver<Result<Grant, AcquireError>>,
        ticket: Ticket,
    },
    Done,
}

impl Future for Acquiring {
    type Output = Result<Guard, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let State::New(acquire) = &self.0 {
            let id = AcquisitionId(next_name());
            let request = acquire.request(id)?;
            let (sender, answer) = oneshot::channel();
            let link = acquire.lock.link.clone();
            link.post(LockCommand(Ask::Acquire(request, sender)));
            self.0 = State::Waiting {
                answer,
                ticket: Ticket::new(id, link),
            };
        }
        let State::Waiting { answer, .. } = &mut self.0 else {
            // As every future that was polled after its end.
            return Poll::Pending;
        };
        let answer = ready!(Pin::new(answer).poll(cx));
        let State::Waiting { ticket, .. } = std::mem::replace(&mut self.0, State::Done) else {
            return Poll::Pending;
        };
        Poll::Ready(match answer {
            // Time may have passed since the grant was sent.
            Ok(Ok(grant)) => match grant.hold.remaining(ticket.clock(), || ticket.leave()) {
                Ok(_) => Ok(Guard::new(grant, ticket)),
                Err(reason) => Err(AcquireError::Lost(reason)),
            },
            Ok(Err(error)) => Err(error),
            Err(_) => Err(AcquireError::Closed),
        })
    }
}

fn metadata(owner: Option<Arc<str>>, ttl: Option<Duration>) -> Metadata {
    /// The kernel's name for the machine, where it tells it in a file.
    static HOST: LazyLock<Option<Arc<str>>> = LazyLock::new(|| {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(name.trim().into())
    });
    Metadata {
        requested: SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default(),
        owner,
        host: HOST.clone(),
        pid: Some(std::process::id()),
        ttl,
    }
}
