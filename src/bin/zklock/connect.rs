//! How the command comes to its session.

use std::time::Duration;

use zklock::{Session, SessionBuilder};

use crate::args::Connection;
use crate::auth;
use crate::exit::Failure;
use crate::signals::Signals;
use crate::tls;

/// How long to look for a server.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// For a look only, the session timeout is of no importance.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects, unless a signal comes.
pub(crate) async fn connect(
    connection: &Connection,
    session_timeout: Duration,
    connect_timeout: Duration,
    signals: &mut Signals,
) -> Result<Session, Failure> {
    let mut builder = Session::builder(connection.server.as_str())
        .session_timeout(session_timeout)
        .connect_timeout(connect_timeout);
    if let Some(path) = &connection.auth_file {
        builder = authenticated(builder, auth::read(path)?);
    }
    if let Some(config) = tls::config(&connection.tls)? {
        builder = builder.tls(config);
    }
    if let Some(name) = &connection.tls.tls_server_name {
        builder = builder.tls_server_name(name.clone());
    }
    Ok(signals.unless(builder.connect()).await??)
}

fn authenticated(builder: SessionBuilder, auths: Vec<auth::Auth>) -> SessionBuilder {
    auths.into_iter().fold(builder, |builder, (scheme, auth)| {
        builder.add_auth(scheme, auth)
    })
}
