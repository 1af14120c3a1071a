//! `zklock status`: the queue of a lock.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, SystemTime};

use zklock::{Lock, Queue, QueueError, Session};

use crate::args::Status;
use crate::connect::{SESSION_TIMEOUT, connect};
use crate::exit::{Failure, USAGE};
use crate::signals::Signals;
use crate::table;
use crate::words::{Level, Words};

/// How often to look while watching, and how much rarer for each claim.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVAL_PER_CLAIM: Duration = Duration::from_millis(10);

/// To the upper left corner, and nothing below.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(crate) async fn status(
    options: &Status,
    words: Words,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let (connection, timeout) = (&options.connection, options.timeout);
    let session = connect(connection, SESSION_TIMEOUT, timeout, signals).await?;
    let shown = signals.unless(show(options, words, &session)).await;
    session.close().await;
    shown?.map(|()| 0)
}

async fn show(options: &Status, words: Words, session: &Session) -> Result<(), Failure> {
    let lock = Lock::new(session, &options.path).map_err(|error| Failure::new(USAGE, error))?;
    let mut screen = Screen::new(options);
    loop {
        let claims = match lock.queue().await {
            Ok(queue) => {
                let shown = screen.show(&queue);
                shown.map_err(|error| Failure::output(&error))?;
                queue.contenders.len()
            }
            // Who watches wants to see how that goes on.
            Err(error @ QueueError::TimedOut) if options.watch => {
                words.say(Level::Warn, "unavailable", error, &[]);
                0
            }
            Err(error) => return Err(failure(error, session)),
        };
        if !options.watch {
            return Ok(());
        }
        let claims = u32::try_from(claims).unwrap_or(u32::MAX);
        tokio::time::sleep(INTERVAL + INTERVAL_PER_CLAIM * claims).await;
    }
}

/// Why a queue could not be looked at, or changed.
pub(crate) fn failure(error: QueueError, session: &Session) -> Failure {
    match error {
        QueueError::Closed => Failure::closed(&session.state()),
        error => error.into(),
    }
}

/// Where the queue is shown.
struct Screen {
    json: bool,
    /// Shown over and over in the same place.
    redraws: bool,
    colors: bool,
    last: Option<Queue>,
}

impl Screen {
    fn new(options: &Status) -> Self {
        let terminal = io::stdout().is_terminal()
            && std::env::var_os("TERM").is_some_and(|term| term != "dumb");
        Self {
            json: options.json,
            redraws: terminal && options.watch && !options.json,
            colors: terminal && !no_color(),
            last: None,
        }
    }

    fn show(&mut self, queue: &Queue) -> io::Result<()> {
        if !self.redraws && self.last.as_ref() == Some(queue) {
            return Ok(());
        }
        let mut text = if self.json {
            format!("{}\n", table::json(queue))
        } else {
            table::text(queue, SystemTime::now(), self.colors)
        };
        if self.redraws {
            text.insert_str(0, CLEAR);
        } else if self.last.is_some() && !self.json {
            text.insert(0, '\n');
        }
        self.last = Some(queue.clone());
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }
}

/// See <https://no-color.org>.
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
