//! What a person sees while `zklock run` waits: a line with the place in the
//! queue and the holder, kept up to date.

use std::convert::Infallible;
use std::io::Write;
use std::time::{Duration, SystemTime};

use zklock::{Lock, Queue, Session, SessionState, ZnodePath};

use crate::table::{age, who};
use crate::words::Words;

/// A lock that is free is granted before anything is shown.
const FIRST_LOOK: Duration = Duration::from_millis(300);
const INTERVAL: Duration = Duration::from_secs(1);
/// A look costs a request for each claim: the more there are, the rarer.
const INTERVAL_PER_CLAIM: Duration = Duration::from_millis(10);

/// Shows how the wait goes, if there is someone to see it.
pub(crate) async fn show(
    path: &ZnodePath,
    lock: &Lock,
    session: &Session,
    words: Words,
) -> Infallible {
    if !words.can_update_a_line() {
        return std::future::pending().await;
    }
    let mut line = Line::default();
    tokio::time::sleep(FIRST_LOOK).await;
    loop {
        let queue = lock.queue().await;
        let text = match (&queue, session.state()) {
            (Ok(queue), SessionState::Connected { session_id, .. }) => {
                describe(path, queue, session_id)
            }
            _ => format!("waiting for {path}: no server answers"),
        };
        line.update(&text);
        let claims = queue.map_or(0, |queue| queue.contenders.len());
        let claims = u32::try_from(claims).unwrap_or(u32::MAX);
        tokio::time::sleep(INTERVAL + INTERVAL_PER_CLAIM * claims).await;
    }
}

fn describe(path: &ZnodePath, queue: &Queue, session_id: i64) -> String {
    let is_ours = |session: Option<i64>| session == Some(session_id);
    let place = queue
        .contenders
        .iter()
        .position(|contender| is_ours(contender.session_id));
    match (place, queue.holder()) {
        (Some(place @ 1..), Some(holder)) => format!(
            "waiting for {path}: {place} ahead; held by {}, in the queue for {}",
            who(holder),
            age(holder.age(SystemTime::now()))
        ),
        _ => format!("waiting for {path}"),
    }
}

/// The last line of the terminal, for as long as this lives.
#[derive(Default)]
struct Line {
    shown: bool,
}

impl Line {
    /// Writes over the line, without going beyond the terminal's edge.
    fn update(&mut self, text: &str) {
        self.shown = true;
        write(&format!("\r\x1b[?7l{text}\x1b[K\x1b[?7h"));
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shown {
            write("\r\x1b[K");
        }
    }
}

fn write(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
