//! `zklock serve`: a ZooKeeper server in the foreground, for development.

use std::io::{self, Write};

use zklock::embedded::EmbeddedServer;

use crate::args::Serve;
use crate::exit::{Failure, UNAVAILABLE};
use crate::signals::Signals;
use crate::words::{Level, Words};

/// Serves until a signal ends it.
pub(crate) async fn serve(
    options: &Serve,
    words: Words,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let port = options.port;
    let server = EmbeddedServer::builder().port(port).start().await;
    let server = server.map_err(|error| {
        let message = format!("cannot listen on 127.0.0.1:{port}: {error}; choose another --port");
        Failure::new(UNAVAILABLE, message)
    })?;
    let address = server.connect_string();
    let mut out = io::stdout().lock();
    let written = writeln!(out, "{address}").and_then(|()| out.flush());
    drop(out);
    written.map_err(|error| Failure::output(&error))?;
    let message = format!("serving ZooKeeper on {address}, from memory: for development only");
    words.say(Level::Warn, "serving", message, &[]);
    signals.unless(std::future::pending()).await
}
