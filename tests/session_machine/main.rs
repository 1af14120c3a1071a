//! The session machine against a script: what it writes, when, and what it
//! makes of the answers.

#[path = "../support/mod.rs"]
mod support;

mod authenticating;
mod closing;
mod connecting;
mod handshake;
mod heartbeat;
mod replies;

use bytes::Bytes;
use zklock::proto::{Reply, Request};
use zklock::session::{Outcome, Output, SessionEvent};

use support::scripted::session::Session;

fn sync(path: &str) -> Request {
    Request::Sync { path: path.into() }
}

fn synced(path: &str) -> Reply {
    Reply::Sync { path: path.into() }
}

fn exists(path: &str) -> Request {
    let (path, watch) = (path.into(), false);
    Request::Exists { path, watch }
}

fn completed(token: u32, outcome: Outcome) -> Output<u32> {
    Output::Completed { token, outcome }
}

/// Asks for these requests, by their tokens, and has them written.
fn send(session: &mut Session, tokens: impl IntoIterator<Item = u32>) -> Vec<i32> {
    for token in tokens {
        session.request(token, sync("/l"));
    }
    session.transmit().iter().map(|(xid, _)| *xid).collect()
}

/// Whether the machine has given up its connection and said so.
fn suspended(told: &[Output<u32>]) -> bool {
    let hung_up = told.contains(&Output::HangUp);
    let said = |output: &Output<u32>| matches!(output, Output::Session(SessionEvent::Suspended(_)));
    hung_up && told.iter().any(said)
}

fn truncated(frame: &Bytes, left: usize) -> Bytes {
    frame.slice(..left)
}
