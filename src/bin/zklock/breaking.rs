//! `zklock break`: removes the holder's claim.

use std::io::{self, IsTerminal, Write};
use std::time::SystemTime;

use serde_json::json;
use zklock::{Contender, Lock, Queue, Session};

use crate::args::Break;
use crate::connect::{SESSION_TIMEOUT, connect};
use crate::exit::{Failure, NOT_ACQUIRED, USAGE};
use crate::signals::Signals;
use crate::status::failure;
use crate::table;
use crate::words::{Form, Level, Words};

const WARNING: &str = "its holder learns of this only by its watch, and goes on until then, \
                       beside the next one";

pub(crate) async fn break_holder(
    options: &Break,
    words: Words,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let (connection, timeout) = (&options.connection, options.timeout);
    let session = connect(connection, SESSION_TIMEOUT, timeout, signals).await?;
    let broken = signals.unless(remove(options, words, &session)).await;
    session.close().await;
    broken?.map(|()| 0)
}

async fn remove(options: &Break, words: Words, session: &Session) -> Result<(), Failure> {
    let lock = Lock::new(session, &options.path).map_err(|error| Failure::new(USAGE, error))?;
    let failed = |error| failure(error, session);
    let mut queue = lock.queue().await.map_err(failed)?;
    queue.contenders.truncate(1);
    show(&queue, words);
    let Some(holder) = queue.holder() else {
        return Ok(());
    };
    agree(options, holder).await?;
    let removed = lock.break_claim(holder).await.map_err(failed)?;
    let token = [("token", json!(holder.token.get()))];
    if removed {
        let message = format!(
            "the claim with the token {} is removed; {WARNING}",
            holder.token
        );
        words.say(Level::Warn, "broken", message, &token);
    } else {
        let message = format!(
            "the claim with the token {} had gone by itself",
            holder.token
        );
        words.say(Level::Warn, "gone", message, &token);
    }
    Ok(())
}

/// In text form, the line that `status` has.
fn show(queue: &Queue, words: Words) {
    if words.form == Form::Json {
        let details = [("queue", table::json(queue))];
        return words.say(Level::Warn, "holder", "the holder is shown", &details);
    }
    let text = table::text(queue, SystemTime::now(), false);
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Whether this is the claim that is meant: by its token, or by a yes.
async fn agree(options: &Break, holder: &Contender) -> Result<(), Failure> {
    let token = holder.token;
    match options.yes {
        Some(expected) if expected == token => return Ok(()),
        Some(expected) => {
            let message = format!(
                "the holder has the token {token}, not {expected}: nothing was removed; \
                 look again with `zklock status {}`",
                options.path
            );
            return Err(Failure::new(NOT_ACQUIRED, message));
        }
        None if !io::stdin().is_terminal() => {
            let message = format!(
                "standard input is no terminal to ask at: if this holder is the one to remove, \
                 give --yes {token}"
            );
            return Err(Failure::new(USAGE, message));
        }
        None => {}
    }
    let question = format!("Remove this claim? ({WARNING}.) Type yes to do it: ");
    let _ = io::stderr().write_all(question.as_bytes());
    let answer = tokio::task::spawn_blocking(|| {
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map(|_| answer)
    });
    match answer.await {
        Ok(Ok(answer)) if answer.trim() == "yes" => Ok(()),
        _ => Err(Failure::new(NOT_ACQUIRED, "nothing was removed")),
    }
}
