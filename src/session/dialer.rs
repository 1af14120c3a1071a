//! How connections are made: by TCP, or as the one who makes a session says;
//! and whether there is TLS on top.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::connect_string::Server;
use super::state::Cause;
#[cfg(feature = "tls")]
use super::tls::Tls;

/// Any ordered byte stream will do.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is being made.
pub(super) type Dialing = Pin<Box<dyn Future<Output = Result<Box<dyn Stream>, Cause>> + Send>>;

/// Makes connections to servers.
pub(super) struct Dialer {
    route: Route,
    #[cfg(feature = "tls")]
    pub(super) tls: Tls,
}

enum Route {
    Tcp,
    Other(Arc<dyn Fn(Server) -> Dialing + Send + Sync>),
}

impl Dialer {
    pub(super) const fn tcp() -> Self {
        Self {
            route: Route::Tcp,
            #[cfg(feature = "tls")]
            tls: Tls::none(),
        }
    }

    pub(super) fn dial_with<F, D, S>(&mut self, dial: F)
    where
        F: Fn(Server) -> D + Send + Sync + 'static,
        D: Future<Output = io::Result<S>> + Send + 'static,
        S: Stream + 'static,
    {
        self.route = Route::Other(Arc::new(move |server| {
            let dialing = dial(server);
            Box::pin(async move {
                let stream: Box<dyn Stream> = Box::new(dialing.await?);
                Ok(stream)
            })
        }));
    }

    /// Begins to connect; in each round to another of a server's addresses
    /// first.
    pub(super) fn dial(&self, server: Server, round: usize) -> Dialing {
        let dial = match &self.route {
            Route::Tcp => Box::pin(dial_tcp(server.clone(), round)),
            Route::Other(dial) => dial(server.clone()),
        };
        #[cfg(feature = "tls")]
        let dial = self.tls.over(dial, server);
        dial
    }

    /// What the end of a connection means, if it was made here.
    pub(super) fn explain(&self, cause: Cause) -> Cause {
        #[cfg(feature = "tls")]
        let cause = self.tls.explain(cause);
        cause
    }
}

/// So long an address has to accept before the next one is tried.
const PATIENCE: Duration = Duration::from_millis(250);

/// Resolves the server's name and connects to the first of its addresses that
/// accepts.
async fn dial_tcp(server: Server, round: usize) -> Result<Box<dyn Stream>, Cause> {
    let unresolved = |error: io::Error| Cause::Unresolved(error.to_string().into());
    let found = lookup_host((server.host(), server.port()))
        .await
        .map_err(unresolved)?;
    let mut addresses: Vec<_> = found.collect();
    let first = round.checked_rem(addresses.len()).unwrap_or(0);
    addresses.rotate_left(first);
    let last = addresses.len().saturating_sub(1);
    let mut failure = Cause::Unresolved("it has no address".into());
    for (index, address) in addresses.into_iter().enumerate() {
        // The last one has all the time that the attempt has.
        let patience = if index < last {
            PATIENCE
        } else {
            Duration::MAX
        };
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                stream.set_nodelay(true)?;
                return Ok(Box::new(stream));
            }
            Ok(Err(error)) => failure = error.into(),
            Err(_) => failure = Cause::DialTimedOut,
        }
    }
    Err(failure)
}
