//! What the command says of itself: lines on standard error, as text or as
//! JSON. Standard output belongs to the command that is run.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::SystemTime;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::exit::{Failure, NOT_ACQUIRED};

/// How to say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A line of text.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warn,
    Info,
}

/// How to say things, and which.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words {
    pub(crate) form: Form,
    pub(crate) most: Level,
}

impl Words {
    /// Says something, with details for machines.
    pub(crate) fn say(
        self,
        level: Level,
        event: &str,
        message: impl Display,
        details: &[(&str, Value)],
    ) {
        if level > self.most {
            return;
        }
        let line = match self.form {
            Form::Text => format!("zklock: {}\n", one_line(&message.to_string())),
            Form::Json => json_line(level, event, &message.to_string(), details),
        };
        // In one write, so that it does not mix with what the command writes.
        // If nobody listens, nothing can be said.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// Says why the end is no success.
    pub(crate) fn failure(self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        let level = if failure.code == NOT_ACQUIRED {
            Level::Warn
        } else {
            Level::Error
        };
        let code = [("exit_code", json!(failure.code))];
        self.say(level, failure.event, &failure.message, &code);
    }

    /// Whether there is a person to show how the wait goes.
    pub(crate) fn can_update_a_line(self) -> bool {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let stderr = std::io::stderr();
        self.form == Form::Text && self.most > Level::Error && !dumb && stderr.is_terminal()
    }
}

fn json_line(level: Level, event: &str, message: &str, details: &[(&str, Value)]) -> String {
    let level = match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
    };
    let mut line = json!({
        "time": time(SystemTime::now()),
        "level": level,
        "event": event,
        "message": message,
    });
    if let Some(line) = line.as_object_mut() {
        let details = details.iter().cloned();
        line.extend(details.map(|(name, value)| (name.to_owned(), value)));
    }
    format!("{line}\n")
}

/// A time to the millisecond, as RFC 3339 has it.
pub(crate) fn time(at: SystemTime) -> String {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

/// What others have chosen to write into a queue must neither move the cursor
/// nor begin a line.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        // Controls, and what turns the direction of writing.
        match character {
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                line.extend(character.escape_unicode());
            }
            _ if character.is_control() => line.extend(character.escape_default()),
            _ => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_cursor() {
        assert_eq!(one_line("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\nc");
        assert_eq!(one_line("\u{202e}evil"), "\\u{202e}evil");
        assert_eq!(one_line("\u{9501} \"x\""), "\u{9501} \"x\"");
    }

    #[test]
    fn a_json_line_is_one_object() {
        let line = json_line(Level::Warn, "lost", "a\n\"b\"", &[("token", json!(7))]);
        let read: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(read["message"], "a\n\"b\"");
        assert_eq!(read["token"], 7);
        assert_eq!(read["level"], "warn");
        assert!(read["time"].as_str().unwrap().ends_with('Z'));
    }
}
