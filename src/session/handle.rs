//! The user's handle on a session.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::board::Reader;
use super::builder::{ConnectError, SessionBuilder};
use super::clock::Clock;
use super::connect_string::ConnectString;
use super::driver::{Hosted, Message};
use super::engine::Recipe;
use super::inbox::Sender;
use super::state::{Cause, SessionEvent, SessionLost, Stopped};
use super::stats::SessionStats;

/// A ZooKeeper session with a recipe living on it.
///
/// One task per session owns the connection and all that lives on it. This
/// handle is cheap to clone and to drop; dropping it only posts a message. The
/// session is closed, and with it every lock is released, when the last handle
/// is gone: this one's clones and whatever was made from them.
///
/// A session that the server has ended is replaced by a new one without being
/// asked; what was held in the old one is lost, and says so.
pub struct Session<R: Recipe> {
    link: Link<R::Command>,
    state: Reader<SessionState>,
    ensemble: Arc<ConnectString>,
}

/// How handles reach their session's task.
#[derive(Debug)]
pub(crate) struct Link<C> {
    task: Sender<Message<C>>,
    clock: Clock,
}

impl<C> Link<C> {
    pub(super) const fn new(task: Sender<Message<C>>, clock: Clock) -> Self {
        Self { task, clock }
    }

    /// What the session counts time by.
    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    /// Posts a command. If the task is gone, it drops the command, and with it
    /// whatever waits for an answer learns that the session is closed.
    pub(crate) fn post(&self, command: C) {
        let _ = self.task.send(Message::Recipe(command));
    }
}

impl<C> Clone for Link<C> {
    fn clone(&self) -> Self {
        Self {
            task: self.task.clone(),
            clock: self.clock,
        }
    }
}

impl<R: Recipe> Session<R> {
    pub(super) const fn new(
        link: Link<R::Command>,
        state: Reader<SessionState>,
        ensemble: Arc<ConnectString>,
    ) -> Self {
        Self {
            link,
            state,
            ensemble,
        }
    }

    /// Begins to describe a session; see [`SessionBuilder`] for what can be
    /// set. `servers` is a connect string as ZooKeeper's clients take it:
    /// `host1:2181,host2/chroot`, the port 2181 unless given.
    pub fn builder(servers: impl Into<String>) -> SessionBuilder<R> {
        SessionBuilder::new(servers.into())
    }

    /// The servers and the chroot of this session.
    #[must_use]
    pub fn ensemble(&self) -> &ConnectString {
        &self.ensemble
    }

    /// Where the session stands now.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.state.latest()
    }

    /// The states of the session from now on, the present one first.
    #[must_use]
    pub fn states(&self) -> SessionStates {
        SessionStates {
            state: self.state.anew(),
            ended: false,
        }
    }

    /// What the session has seen so far; `None` once it is closed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn stats(&self) -> Option<SessionStats> {
        let (sender, stats) = oneshot::channel();
        self.link.task.send(Message::Stats(sender)).ok()?;
        stats.await.ok()
    }

    /// Ends the session and with it every lock that is held in it, and waits
    /// until the server has confirmed, for two seconds at the most. If no
    /// server can be told in that time, the session and its claims end when
    /// its timeout has passed. Waiting requests end with an error that says so,
    /// and guards say that they are lost. Closing twice does no harm.
    ///
    /// Close a session before its runtime ends: dropping the last handle only
    /// asks the session's task to do it.
    ///
    /// # Cancel safety
    ///
    /// The session is closed even if this future is dropped after its first
    /// poll.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.link.task.send(Message::Close(done)).is_ok() {
            // An error says that the task has ended, which is what we wait for.
            let _ = closed.await;
        }
    }

    pub(crate) fn link(&self) -> Link<R::Command> {
        self.link.clone()
    }
}

impl<R: Hosted> Session<R> {
    /// Connects with the defaults of [`SessionBuilder`].
    ///
    /// # Errors
    ///
    /// [`ConnectError`] if the connect string is wrong or no server gave a
    /// session within ten seconds.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it had opened.
    pub async fn connect(servers: impl Into<String>) -> Result<Self, ConnectError> {
        Self::builder(servers).connect().await
    }
}

impl<R: Recipe> Clone for Session<R> {
    fn clone(&self) -> Self {
        Self {
            link: self.link.clone(),
            state: self.state.clone(),
            ensemble: Arc::clone(&self.ensemble),
        }
    }
}

impl<R: Recipe> fmt::Debug for Session<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("ensemble", &self.ensemble)
            .field("state", &self.state.latest())
            .finish_non_exhaustive()
    }
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// No server has answered yet.
    Connecting,
    /// The session is there and has a connection.
    #[non_exhaustive]
    Connected {
        /// The server's name for the session.
        session_id: i64,
        /// The session timeout that the server granted.
        timeout: Duration,
        /// It was there before: this is another connection of it.
        reattached: bool,
    },
    /// The connection is gone. The session may be alive, and so may its locks;
    /// a new connection is being sought.
    #[non_exhaustive]
    Suspended {
        /// What became of the connection.
        cause: Cause,
        /// How long the session's locks could be relied on when it broke.
        lease_left: Duration,
    },
    /// The session is over; a new one is being sought.
    Lost(SessionLost),
    /// It is being closed.
    Closing,
    /// The session is over for good.
    Stopped(Stopped),
}

impl SessionState {
    /// The state after `event`.
    pub(super) fn after(&mut self, event: SessionEvent, id: Option<i64>, lease_left: Duration) {
        let closing = *self == Self::Closing;
        *self = match event {
            SessionEvent::Stopped(why) => Self::Stopped(why),
            // Whatever it takes to close, that is what it does.
            _ if closing => return,
            SessionEvent::Established {
                session_id,
                timeout,
            } => Self::Connected {
                session_id,
                timeout,
                reattached: false,
            },
            SessionEvent::Reattached { timeout } => {
                let session_id = id.unwrap_or_default();
                Self::Connected {
                    session_id,
                    timeout,
                    reattached: true,
                }
            }
            SessionEvent::Suspended(cause) => Self::Suspended { cause, lease_left },
            SessionEvent::Lost(reason) => Self::Lost(reason),
            SessionEvent::Closing => Self::Closing,
        };
    }
}

/// The states of a session, one after the other.
///
/// A reader that is slow misses states in between, never the latest, and
/// nothing is kept for it: see [`Session::states`].
#[derive(Clone, Debug)]
pub struct SessionStates {
    state: Reader<SessionState>,
    ended: bool,
}

impl SessionStates {
    /// Waits for the next state: at once for the first, which is the present
    /// one. `None` after the last, [`SessionState::Stopped`].
    ///
    /// # Cancel safety
    ///
    /// No state is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<SessionState> {
        if self.ended {
            return None;
        }
        // A task that went without a word took its session with it.
        let gone = SessionState::Stopped(Stopped::Closed);
        let state = self.state.next().await.unwrap_or(gone);
        self.ended = matches!(state, SessionState::Stopped(_));
        Some(state)
    }
}
