//! The embedded server on a socket, or in memory alone: the handle to it.

use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::core::{Config, Core};
use super::faults::Znode;
use super::task::{Command, Doors, Task};
use crate::proto::OpCode;
use crate::{Session, SessionBuilder};

/// A ZooKeeper server in this process, for tests of code that uses locks.
///
/// It is a task on the current tokio runtime, and stops when this handle is
/// dropped. Clients reach it by TCP on the loopback interface, at
/// [`connect_string`](Self::connect_string), and those of this process also
/// without a socket, by [`session`](Self::session).
///
/// Its methods return when what they do is done: what a client sends later
/// finds it so. Dropping such a future after its first poll changes nothing. If
/// the runtime has shut down they do nothing, and see nothing.
///
/// # A test
///
/// Without sockets a test can pause tokio's time. Then hours of sessions,
/// leases and deadlines pass at once, however slow the machine.
///
/// ```
/// use std::time::Duration;
/// use zklock::embedded::EmbeddedServer;
/// use zklock::{AcquireError, Lock, LostReason};
///
/// /// The code that is tested: the standby takes over from the leader.
/// async fn lead(lock: &Lock) -> Result<zklock::Guard, AcquireError> {
///     lock.acquire().timeout(Duration::from_secs(3600)).await
/// }
///
/// // In a test: #[tokio::test(start_paused = true)]
/// #[tokio::main(flavor = "current_thread", start_paused = true)]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let server = EmbeddedServer::in_memory()?;
///     let (leader, standby) = (
///         server.session().connect().await?,
///         server.session().connect().await?,
///     );
///     let leading = lead(&Lock::new(&leader, "/leader")?).await?;
///     let standby = Lock::new(&standby, "/leader")?;
///     let taking_over = tokio::spawn(async move { lead(&standby).await });
///
///     // Nothing happens for half an hour: the leader leads.
///     tokio::time::sleep(Duration::from_secs(1800)).await;
///     assert!(leading.check().is_ok() && !taking_over.is_finished());
///
///     // The server answers nobody for a while, which is too long.
///     server.pause().await;
///     assert_eq!(leading.lost().await, LostReason::LeaseExpired);
///     assert!(!taking_over.is_finished(), "told before another leads");
///     server.resume().await;
///     let leading = taking_over.await??;
///     println!("{}", server.dump().await);
///
///     leading.release().await?;
///     assert_eq!(server.watch_count().await, 0);
///     Ok(())
/// }
/// ```
#[must_use = "the server stops when its handle is dropped"]
pub struct EmbeddedServer {
    task: mpsc::UnboundedSender<Command>,
    callers: mpsc::UnboundedSender<DuplexStream>,
    address: Option<SocketAddr>,
}

impl EmbeddedServer {
    /// Starts a server on a free port of 127.0.0.1. Not for paused time, which
    /// does not wait for sockets.
    ///
    /// # Errors
    ///
    /// As [`EmbeddedServerBuilder::start`].
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// Starts a server that listens on no port: only [`session`](Self::session)
    /// leads to it.
    ///
    /// # Errors
    ///
    /// If this is called outside a tokio runtime.
    pub fn in_memory() -> io::Result<Self> {
        Self::builder().in_memory()
    }

    /// Begins to describe a server.
    pub fn builder() -> EmbeddedServerBuilder {
        EmbeddedServerBuilder::new()
    }

    /// What clients connect to, `127.0.0.1:PORT`. Nobody finds what a server
    /// without a port has here.
    #[must_use]
    pub fn connect_string(&self) -> String {
        self.address
            .map_or_else(|| IN_MEMORY.into(), |address| address.to_string())
    }

    /// Where it listens, if it does.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Describes a session with this server that needs no socket. Its time is
    /// tokio's, so that it can be paused; see
    /// [`SessionBuilder::follow_tokio_time`].
    pub fn session(&self) -> SessionBuilder {
        let callers = self.callers.clone();
        let builder = Session::builder(IN_MEMORY).dial_with(move |_| {
            let (client, server) = duplex(DUPLEX_BUFFER);
            let called = callers.send(server);
            let gone = |_| io::Error::from(io::ErrorKind::ConnectionRefused);
            std::future::ready(called.map(|()| client).map_err(gone))
        });
        builder.follow_tokio_time()
    }

    /// Lets a session expire now. Its client finds its connection closed, tries
    /// to re-attach, and is told that the session is over: what was held in it
    /// is lost, and a new session begins. Others see its ephemerals go. Returns
    /// whether there was such a session.
    pub async fn expire(&self, session_id: i64) -> bool {
        self.tell(move |task| task.core.expire(session_id)).await
    }

    /// Cuts every connection. Clients find theirs closed, with whatever was on
    /// its way lost, and connect again; sessions live on.
    pub async fn disconnect_all(&self) {
        self.tell(Task::disconnect_all).await;
    }

    /// Stops the server as a stopped process is: connections stay open and new
    /// ones are made, nothing is read, and nothing answered. Nothing expires
    /// meanwhile either, but time is not stopped: sessions whose time is up by
    /// then expire when the server [resumes](Self::resume), whatever their
    /// clients have sent meanwhile. A client takes the server for dead after a
    /// third of its session timeout, and its guards are lost when their leases
    /// end.
    pub async fn pause(&self) {
        self.tell(|task| task.paused = true).await;
    }

    /// Goes on after [`pause`](Self::pause).
    pub async fn resume(&self) {
        self.tell(|task| task.paused = false).await;
    }

    /// Closes every new connection at once, before the handshake. Clients that
    /// have one keep it; the others go on trying.
    pub async fn refuse(&self) {
        self.tell(|task| task.refuses = true).await;
    }

    /// Takes new connections again, after [`refuse`](Self::refuse).
    pub async fn accept(&self) {
        self.tell(|task| task.refuses = false).await;
    }

    /// Does the next request of this kind, whoever sends it, and then cuts the
    /// connection instead of answering. The client cannot know whether it was
    /// done: a claim may be there whose name it does not know.
    pub async fn drop_next_reply(&self, to: OpCode) {
        self.tell(move |task| task.core.drop_next_reply(to)).await;
    }

    /// Holds back everything that the server writes from now on, answers, events
    /// and the ends of connections, for so long, as a slow network does.
    /// `Duration::ZERO` ends it.
    pub async fn delay(&self, by: Duration) {
        self.tell(move |task| task.delay = by).await;
    }

    /// Sets what the number of the next sequential child of a znode will be, as
    /// if it had had so many children. Returns whether there is such a znode.
    pub async fn set_counter(&self, path: impl Into<String>, next: i32) -> bool {
        let path = path.into();
        self.tell(move |task| task.core.set_counter(&path, next))
            .await
    }

    /// All znodes, in the order of their paths, those below `/zookeeper` that
    /// every server has included.
    pub async fn znodes(&self) -> Vec<Znode> {
        self.tell(|task| task.core.znodes().collect()).await
    }

    /// All znodes as text, one on a line.
    pub async fn dump(&self) -> String {
        let znodes = self.znodes().await;
        znodes.iter().map(|znode| format!("{znode}\n")).collect()
    }

    /// How many watches are set.
    pub async fn watch_count(&self) -> usize {
        self.tell(|task| task.core.watch_count()).await
    }

    /// The ids of the sessions that are alive.
    pub async fn sessions(&self) -> Vec<i64> {
        self.tell(|task| task.core.sessions().collect()).await
    }

    /// Has the task do something, and waits until it is done.
    async fn tell<T: Default + Send + 'static>(
        &self,
        what: impl FnOnce(&mut Task) -> T + Send + 'static,
    ) -> T {
        let (done, answer) = oneshot::channel();
        let command: Command = Box::new(move |task| {
            // Nobody listens if the future was dropped.
            let _ = done.send(what(task));
        });
        match self.task.send(command) {
            Ok(()) => answer.await.unwrap_or_default(),
            Err(_) => T::default(),
        }
    }
}

/// Names a server that has no address.
const IN_MEMORY: &str = "in-memory";
/// As much as the two ends of a connection in memory write ahead of each other.
const DUPLEX_BUFFER: usize = 64 * 1024;

impl fmt::Debug for EmbeddedServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedServer")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Describes an [`EmbeddedServer`] before it is there.
#[derive(Clone, Debug)]
#[must_use = "a server is there once it was started"]
pub struct EmbeddedServerBuilder {
    port: u16,
    config: Config,
}

impl EmbeddedServerBuilder {
    fn new() -> Self {
        let seed = RandomState::new().build_hasher().finish();
        let config = Config {
            seed,
            ..Config::default()
        };
        Self { port: 0, config }
    }

    /// The port to listen on; a free one unless set.
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// `tickTime`, 2 s unless set: sessions expire at whole ticks, and session
    /// timeouts are granted from two ticks up to twenty.
    pub const fn tick(mut self, tick: Duration) -> Self {
        self.config.tick = tick;
        self
    }

    /// The shortest session timeout that is granted, instead of two ticks.
    pub const fn min_session_timeout(mut self, timeout: Duration) -> Self {
        self.config.min_session_timeout = Some(timeout);
        self
    }

    /// The longest session timeout that is granted, instead of twenty ticks.
    pub const fn max_session_timeout(mut self, timeout: Duration) -> Self {
        self.config.max_session_timeout = Some(timeout);
        self
    }

    /// Decides the ids of the sessions; every server has its own unless set.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Starts the server on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// If the port cannot be listened on, or this is called outside a tokio
    /// runtime.
    pub async fn start(self) -> io::Result<EmbeddedServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let address = listener.local_addr()?;
        self.spawn(Some((listener, address)))
    }

    /// Starts the server on the current tokio runtime, without a port.
    ///
    /// # Errors
    ///
    /// If this is called outside a tokio runtime.
    pub fn in_memory(self) -> io::Result<EmbeddedServer> {
        self.spawn(None)
    }

    fn spawn(mut self, listens: Option<(TcpListener, SocketAddr)>) -> io::Result<EmbeddedServer> {
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        self.config.wall_clock = since_1970.unwrap_or_default();
        let (listener, address) = listens.unzip();
        let (task, commands) = mpsc::unbounded_channel();
        let (callers, called) = mpsc::unbounded_channel();
        let doors = Doors { listener, called };
        runtime.spawn(Task::new(Core::new(self.config), doors, commands));
        Ok(EmbeddedServer {
            task,
            callers,
            address,
        })
    }
}
