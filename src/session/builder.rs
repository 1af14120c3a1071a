//! How a session comes to be.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::Instant;
#[cfg(feature = "tls")]
use tokio_rustls::rustls::{ClientConfig, pki_types::ServerName};

use super::auth::Auth;
use super::board::{Reader, board};
use super::clock::Clock;
use super::connect_string::{ConnectString, ConnectStringError, Server};
use super::dialer::Dialer;
use super::driver::{Driver, Hosted, Surroundings};
use super::engine::Engine;
use super::handle::{Link, Session, SessionState};
use super::inbox;
use super::lease::Heartbeat;
use super::machine::SessionConfig;
use super::state::Stopped;
use crate::proto::DEFAULT_MAX_FRAME;
use crate::trace::Span;

/// Describes a session before it is there. Nothing is checked and nothing is done
/// until [`connect`](Self::connect) is awaited.
///
/// | setting | default |
/// |---|---|
/// | [`session_timeout`](Self::session_timeout) | 10 s |
/// | [`connect_timeout`](Self::connect_timeout) | 10 s |
/// | [`max_frame`](Self::max_frame) | 16 MiB |
/// | [`add_auth`](Self::add_auth) | none |
/// | [`heartbeat`](Self::heartbeat) | [`Heartbeat::Sync`] |
/// | [`dial_with`](Self::dial_with) | TCP |
#[cfg_attr(feature = "tls", doc = "| [`tls`](Self::tls) | none |")]
/// | [`follow_tokio_time`](Self::follow_tokio_time) | no |
#[must_use = "a session is there once `connect` was awaited"]
pub struct SessionBuilder<R> {
    servers: String,
    session_timeout: Duration,
    connect_timeout: Duration,
    max_frame: usize,
    auth: Vec<Auth>,
    heartbeat: Heartbeat,
    dialer: Dialer,
    tokio_time: bool,
    recipe: PhantomData<fn() -> R>,
}

/// As ZooKeeper's answers do, so that a client whose network is slow for a
/// moment keeps its locks, while those of one that died are free again soon.
const DEFAULT_SESSION_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A server reads no more than its globalOutstandingLimit (1,000) anyway.
const MAX_IN_FLIGHT: usize = 1_000;

impl<R> SessionBuilder<R> {
    pub(super) const fn new(servers: String) -> Self {
        Self {
            servers,
            session_timeout: DEFAULT_SESSION_TIMEOUT,
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            max_frame: DEFAULT_MAX_FRAME,
            auth: Vec::new(),
            heartbeat: Heartbeat::Sync,
            dialer: Dialer::tcp(),
            tokio_time: false,
            recipe: PhantomData,
        }
    }

    /// The session timeout to ask the server for: how long a lock outlives a
    /// client that died, and how long a holder may be cut off before it has to
    /// stop. 1 ms to `i32::MAX` ms; the server clamps it to its own bounds, by
    /// default 4 to 40 s.
    pub const fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// How long [`connect`](Self::connect) goes on trying the servers; zero is an
    /// error. For the first session alone: later the session's task goes on trying
    /// until the session is closed.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The longest frame that is read, in bytes. A queue with more waiters
    /// than fit in it (about 19,000 a MiB) cannot be listed: an attempt ends the
    /// connection, with all that waits on it, and requests for the same lock fail
    /// for a minute before one tries again.
    pub const fn max_frame(mut self, bytes: usize) -> Self {
        self.max_frame = bytes;
        self
    }

    /// Authenticates every connection of the session before anything else, by
    /// a scheme that the servers know: for `digest`, `auth` is `user:password`.
    /// Can be given several times. An authentication that the server refuses
    /// ends the session for good.
    pub fn add_auth(mut self, scheme: impl Into<Arc<str>>, auth: impl Into<Bytes>) -> Self {
        self.auth.push(Auth::new(scheme, auth));
        self
    }

    /// What keeps the session alive and renews its lease. Leave it as it is
    /// unless you have read what [`Heartbeat::Ping`] asks for.
    pub const fn heartbeat(mut self, heartbeat: Heartbeat) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// Makes connections by `dial` instead of by TCP: through a tunnel, or to
    /// something in memory. It is called for one server after the other,
    /// and may give back any stream of bytes. The future is dropped when the
    /// session needs it no more, or it takes too long.
    pub fn dial_with<F, D, S>(mut self, dial: F) -> Self
    where
        F: Fn(Server) -> D + Send + Sync + 'static,
        D: Future<Output = io::Result<S>> + Send + 'static,
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.dialer.dial_with(dial);
        self
    }

    /// Encrypts every connection by TLS. `config` says whom to trust, and which
    /// certificate to show to servers that ask for one, as ZooKeeper's do unless
    /// `ssl.clientAuth` tells them otherwise.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use zklock::Session;
    /// use zklock::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
    /// use zklock::rustls::{ClientConfig, RootCertStore};
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let mut trusted = RootCertStore::empty();
    /// for issuer in CertificateDer::pem_file_iter("ca.pem")? {
    ///     trusted.add(issuer?)?;
    /// }
    /// let own = CertificateDer::pem_file_iter("client.pem")?.collect::<Result<_, _>>()?;
    /// let key = PrivateKeyDer::from_pem_file("client.key")?;
    /// let config = ClientConfig::builder()
    ///     .with_root_certificates(trusted)
    ///     .with_client_auth_cert(own, key)?;
    ///
    /// let session = Session::builder("zk1:2281,zk2:2281").tls(Arc::new(config));
    /// let session = session.connect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A server's certificate must be for its host in the connect string, a name
    /// or an address, unless [`tls_server_name`](Self::tls_server_name) says
    /// another. There is no way back to plain text: with a server that does not
    /// speak TLS there is no session. What goes wrong is told as a
    /// [`TlsError`](super::TlsError).
    ///
    /// The cryptography is for the program to choose: it needs a provider of
    /// rustls among its own dependencies, such as
    /// `rustls = { version = "0.23", default-features = false, features = ["ring"] }`.
    /// TLS 1.2 is enabled, since ZooKeeper 3.8 speaks nothing newer unless its
    /// `ssl.protocol` says so.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<ClientConfig>) -> Self {
        self.dialer.tls.config = Some(config);
        self
    }

    /// The name to find in every server's certificate in place of its host in
    /// the connect string.
    #[cfg(feature = "tls")]
    pub fn tls_server_name(mut self, name: ServerName<'static>) -> Self {
        self.dialer.tls.name = Some(name);
        self
    }

    /// Counts the lease and every deadline by tokio's clock, which stands still
    /// when it is paused. For tests: while a machine is suspended that clock may
    /// stand still too, and a lease would not run out. Where time is paused, look
    /// at guards inside that runtime: elsewhere it goes on.
    pub const fn follow_tokio_time(mut self) -> Self {
        self.tokio_time = true;
        self
    }
}

impl<R: Hosted> SessionBuilder<R> {
    /// Connects: tries the servers in turn until one gives a session. Starts
    /// the session's task on the current tokio runtime: the session is kept
    /// alive only while that runtime runs, which a runtime of one thread does
    /// within its `block_on` only. If it shuts down, the session and its locks
    /// end when the server misses it; [`Session::close`] ends them at once.
    ///
    /// Time is counted on a clock of its own. Under tokio's paused time it goes
    /// on, unless the session is told to
    /// [follow tokio's](Self::follow_tokio_time).
    ///
    /// # Errors
    ///
    /// - [`ConnectError::Servers`], [`ConnectError::SessionTimeout`],
    ///   [`ConnectError::ZeroConnectTimeout`] or [`ConnectError::NoRuntime`]
    ///   before anything is sent;
    /// - [`ConnectError::Stopped`] when the connect timeout leaves no time for
    ///   another attempt, or if the server refuses the authentication.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes what it had opened.
    pub async fn connect(self) -> Result<Session<R>, ConnectError> {
        let ensemble: ConnectString = self.servers.parse()?;
        let millis = i32::try_from(self.session_timeout.as_millis()).unwrap_or(0);
        if millis <= 0 {
            return Err(ConnectError::SessionTimeout(self.session_timeout));
        }
        if self.connect_timeout.is_zero() {
            return Err(ConnectError::ZeroConnectTimeout);
        }
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let config = SessionConfig {
            ensemble: ensemble.clone(),
            timeout: self.session_timeout,
            connect_timeout: self.connect_timeout,
            max_in_flight: MAX_IN_FLIGHT,
            auth: self.auth.clone(),
            heartbeat: self.heartbeat,
            seed: RandomState::new().build_hasher().finish(),
        };
        let surroundings = Surroundings {
            clock: if self.tokio_time {
                Clock::Tokio(Instant::now())
            } else {
                Clock::System
            },
            dialer: self.dialer,
            servers: ensemble.servers().len(),
            max_frame: self.max_frame,
        };
        let clock = surroundings.clock;
        let engine = Engine::new(config, R::default(), clock.now());
        let (sender, inbox) = inbox::inbox();
        let (state, reader) = board(SessionState::Connecting);
        let span = Span::session(&ensemble);
        let driver = Driver::new(engine, surroundings, inbox, state, span);
        runtime.spawn(driver);
        let session = Session::new(Link::new(sender, clock), reader.anew(), Arc::new(ensemble));
        Self::wait(reader).await.map(|()| session)
    }

    async fn wait(mut states: Reader<SessionState>) -> Result<(), ConnectError> {
        loop {
            match states.next().await {
                Some(SessionState::Connecting) => {}
                Some(SessionState::Stopped(why)) => return Err(ConnectError::Stopped(why)),
                Some(_) => return Ok(()),
                None => return Err(ConnectError::Closed),
            }
        }
    }
}

impl<R> fmt::Debug for SessionBuilder<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBuilder")
            .field("servers", &self.servers)
            .field("session_timeout", &self.session_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("max_frame", &self.max_frame)
            .field("auth", &self.auth)
            .field("heartbeat", &self.heartbeat)
            .field("tokio_time", &self.tokio_time)
            .finish_non_exhaustive()
    }
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectError {
    /// The connect string is wrong. Nothing was sent.
    Servers(ConnectStringError),
    /// The session timeout is not between 1 ms and `i32::MAX` ms.
    SessionTimeout(Duration),
    /// The connect timeout is zero.
    ZeroConnectTimeout,
    /// `connect` was called outside a tokio runtime.
    NoRuntime,
    /// No server gave a session in time, or the server refused the
    /// authentication, or insists on one.
    Stopped(Stopped),
    /// The runtime shut down meanwhile.
    Closed,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Servers(error) => error.fmt(f),
            Self::SessionTimeout(timeout) => write!(
                f,
                "a session timeout of {timeout:?} is not possible; it must be between 1 ms and {} ms",
                i32::MAX
            ),
            Self::ZeroConnectTimeout => {
                f.write_str("a connect timeout of zero leaves no time to connect")
            }
            Self::NoRuntime => f.write_str("connect must be called inside a tokio runtime"),
            Self::Stopped(why) => why.fmt(f),
            Self::Closed => f.write_str("the runtime shut down before a session was there"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Servers(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ConnectStringError> for ConnectError {
    fn from(error: ConnectStringError) -> Self {
        Self::Servers(error)
    }
}
