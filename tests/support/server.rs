//! A server of either kind, real or embedded, and tests that run on both.

use std::sync::{Arc, LazyLock, mpsc};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use zklock::embedded::EmbeddedServer;

use super::raw::{PERSISTENT, RawClient};
use super::txn_log::TxnLog;
use super::zookeeper::ZooKeeper;

/// Makes each of these functions two tests, `real::NAME` and `embedded::NAME`.
/// They take a server, which is shared by all tests of a process.
///
/// ```ignore
/// on_both_servers! {
///     #[tokio::test]
///     one_test
///     another_test;
/// }
/// ```
macro_rules! on_both_servers {
    (@on $kind:ident: $(#[$test:meta] $($name:ident)+;)+) => {
        mod $kind {
            $($(
                #[$test]
                async fn $name() {
                    super::$name(crate::support::server::TestServer::$kind()).await;
                }
            )+)+
        }
    };
    ($(#[$test:meta] $($name:ident)+;)+) => {
        on_both_servers!(@on real: $(#[$test] $($name)+;)+);
        on_both_servers!(@on embedded: $(#[$test] $($name)+;)+);
    };
}
pub(crate) use on_both_servers;

/// A server of either kind, with a tick of 500 ms.
pub(crate) enum TestServer {
    Real(ZooKeeper),
    Embedded(Arc<EmbeddedServer>),
}

impl TestServer {
    /// The real server of this process.
    pub(crate) fn real() -> &'static Self {
        static SERVER: LazyLock<TestServer> =
            LazyLock::new(|| TestServer::Real(ZooKeeper::start()));
        &SERVER
    }

    /// The embedded server of this process.
    pub(crate) fn embedded() -> &'static Self {
        static SERVER: LazyLock<TestServer> = LazyLock::new(TestServer::start_embedded);
        &SERVER
    }

    /// A new server of the same kind.
    pub(crate) fn another(&self) -> Self {
        match self {
            Self::Real(_) => Self::Real(ZooKeeper::start()),
            Self::Embedded(_) => Self::start_embedded(),
        }
    }

    /// A new server of the same kind, with a znode at `path`, just below the
    /// root, whose next sequential child has this number.
    pub(crate) fn another_with_counter(&self, path: &str, next: i32) -> Self {
        let path = path.to_owned();
        if let Self::Real(_) = self {
            let child = format!("{path}/child");
            let log = TxnLog::new().create(&path, 1).create(&child, next);
            return Self::Real(log.delete(&child).start_server());
        }
        let another = Self::start_embedded();
        let mut raw = RawClient::connect(&another.address());
        raw.create(&path, b"", PERSISTENT).unwrap();
        let Self::Embedded(server) = &another else {
            unreachable!("it was started as one");
        };
        tell(server, |server| async move {
            assert!(server.set_counter(path, next).await);
        });
        another
    }

    fn start_embedded() -> Self {
        let server = EmbeddedServer::builder()
            .tick(Duration::from_millis(500))
            .max_session_timeout(Duration::from_secs(60));
        let server = wait_for(server.start());
        Self::Embedded(Arc::new(server.expect("start an embedded server")))
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::Real(server) => server.address(),
            Self::Embedded(server) => server.connect_string(),
        }
    }

    /// How many watches are set.
    pub(crate) fn watch_count(&self) -> u64 {
        match self {
            Self::Real(server) => server.mntr("zk_watch_count"),
            Self::Embedded(server) => {
                tell(server, async |server| server.watch_count().await as u64)
            }
        }
    }

    /// Ends all connections and makes no new ones, as a crash does. The data
    /// stay.
    pub(crate) fn kill(&mut self) {
        match self {
            Self::Real(server) => server.kill(),
            Self::Embedded(server) => tell(server, |server| async move {
                server.refuse().await;
                server.disconnect_all().await;
            }),
        }
    }

    /// Serves again after [`kill`](Self::kill).
    pub(crate) fn restart(&mut self) {
        match self {
            Self::Real(server) => server.restart(),
            Self::Embedded(server) => tell(server, |server| async move { server.accept().await }),
        }
    }

    /// Stops it where it is: connections stay open, and nothing is answered
    /// until [`continue_process`](Self::continue_process).
    pub(crate) fn stop_process(&self) {
        match self {
            Self::Real(server) => server.stop_process(),
            Self::Embedded(server) => tell(server, |server| async move { server.pause().await }),
        }
    }

    /// Lets a stopped server go on.
    pub(crate) fn continue_process(&self) {
        match self {
            Self::Real(server) => server.continue_process(),
            Self::Embedded(server) => tell(server, |server| async move { server.resume().await }),
        }
    }
}

/// Where embedded servers run, so that a test may block or end its own runtime.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build();
    runtime.expect("start a runtime")
});

fn wait_for<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let (done, answer) = mpsc::channel();
    RUNTIME.spawn(async move { done.send(future.await) });
    answer.recv().expect("the runtime of the embedded servers")
}

fn tell<T, F>(server: &Arc<EmbeddedServer>, what: impl FnOnce(Arc<EmbeddedServer>) -> F) -> T
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    wait_for(what(Arc::clone(server)))
}
