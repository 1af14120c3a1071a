//! A queue as text and as JSON.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use zklock::{Contender, Dialect, Queue};

use crate::words::{one_line, time};

/// Below this, a lock path should be replaced in good time.
const LITTLE_HEADROOM: u32 = 1 << 30;

/// The queue as a table, the holder first, and below it what one should know.
pub(crate) fn text(queue: &Queue, now: SystemTime, colors: bool) -> String {
    let mut text = String::new();
    if queue.contenders.is_empty() {
        let _ = writeln!(
            text,
            "{}: nobody holds the lock or waits for it",
            queue.path
        );
    } else {
        let head = [
            "", "OWNER", "PROCESS", "TOKEN", "AGE", "SESSION", "ZNODE", "",
        ]
        .map(str::to_owned);
        let claims = (1..).zip(&queue.contenders);
        let rows = claims.map(|(position, claim)| row(queue, position, claim, now));
        let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
        write_rows(&mut text, &rows, colors);
    }
    for note in notes(queue) {
        let _ = writeln!(text, "{note}");
    }
    text
}

/// The queue as a JSON object.
pub(crate) fn json(queue: &Queue) -> Value {
    let claims = (1..).zip(&queue.contenders);
    let contenders: Vec<_> = claims
        .map(|(position, claim)| {
            let data = claim.data.as_ref();
            json!({
                "position": position,
                "owner": claim.owner(),
                "host": data.and_then(|data| data.host.as_deref()),
                "pid": data.and_then(|data| data.pid),
                "token": claim.token.get(),
                "created": time(claim.created),
                "session": claim.session_id.map(session),
                "znode": znode(queue, claim),
                "dialect": claim.dialect.map(dialect),
                "ttl_ms": data.and_then(|data| data.ttl).map(millis),
                "session_timeout_ms": data.and_then(|data| data.session_timeout).map(millis),
            })
        })
        .collect();
    json!({
        "path": queue.path.as_str(),
        "contenders": contenders,
        "others": queue.others,
        "headroom": queue.headroom,
        "notes": notes(queue),
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Whoever made the claim, as well as it says.
pub(crate) fn who(claim: &Contender) -> String {
    let (owner, process) = (claim.owner().map(one_line), process(claim));
    match (owner, process) {
        (Some(owner), Some(process)) => format!("{owner} ({process})"),
        (Some(who), None) | (None, Some(who)) => who,
        (None, None) => match claim.session_id {
            Some(id) => format!("session {}", session(id)),
            None => one_line(&claim.name),
        },
    }
}

fn process(claim: &Contender) -> Option<String> {
    let data = claim.data.as_ref()?;
    match (data.host.as_deref().map(one_line), data.pid) {
        (Some(host), Some(pid)) => Some(format!("{host}:{pid}")),
        (Some(host), None) => Some(host),
        (None, pid) => pid.map(|pid| format!("pid {pid}")),
    }
}

/// As ZooKeeper's servers print it.
fn session(id: i64) -> String {
    format!("{id:#x}")
}

fn znode(queue: &Queue, claim: &Contender) -> String {
    let parent = if queue.path.is_root() {
        ""
    } else {
        queue.path.as_str()
    };
    format!("{parent}/{}", claim.name)
}

const fn dialect(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Kazoo => "kazoo",
        _ => "protected",
    }
}

/// A time in its two largest units.
pub(crate) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds:02}s"),
        (0, ..) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

const COLUMNS: usize = 8;

fn row(queue: &Queue, position: usize, claim: &Contender, now: SystemTime) -> [String; COLUMNS] {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        position.to_string(),
        or_dash(claim.owner().map(one_line)),
        or_dash(process(claim)),
        claim.token.to_string(),
        age(claim.age(now)),
        or_dash(claim.session_id.map(session)),
        one_line(&znode(queue, claim)),
        remark(claim).to_owned(),
    ]
}

/// What is odd about a claim; [`notes`] explain it.
fn remark(claim: &Contender) -> &'static str {
    match (claim.session_id, claim.dialect) {
        (None, _) => "not ephemeral",
        (_, Some(Dialect::Kazoo)) => "kazoo",
        (_, None) => "unknown client",
        _ => "",
    }
}

fn write_rows(text: &mut String, rows: &[[String; COLUMNS]], colors: bool) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..COLUMNS).map(width).collect();
    for (index, row) in rows.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:<width$}  ");
        }
        // The holder's line is bold.
        let (begin, end) = if colors && index == 1 {
            ("\x1b[1m", "\x1b[0m")
        } else {
            ("", "")
        };
        let _ = writeln!(text, "{begin}{}{end}", line.trim_end());
    }
}

/// Who does not respect whom, and what else is odd.
fn notes(queue: &Queue) -> Vec<String> {
    let of = |wanted: &dyn Fn(&Contender) -> bool| -> Option<String> {
        let claims = (1..).zip(&queue.contenders);
        let positions = claims.filter(|(_, claim)| wanted(claim));
        let positions: Vec<_> = positions
            .map(|(position, _)| format!("#{position}"))
            .collect();
        (!positions.is_empty()).then(|| positions.join(", "))
    };
    let kazoo = of(&|claim| claim.dialect == Some(Dialect::Kazoo));
    let protected = of(&|claim| claim.dialect == Some(Dialect::Protected));
    let unknown = of(&|claim| claim.dialect.is_none());
    let lasting = of(&|claim| claim.session_id.is_none());
    let mut notes = Vec::new();
    if let (Some(kazoo), Some(protected)) = (&kazoo, &protected) {
        notes.push(format!(
            "kazoo ({kazoo}) does not wait for {protected} unless it was given \
             extra_lock_patterns=(\"lock-\",); clients other than zklock may not wait for {kazoo}"
        ));
    }
    if let Some(unknown) = unknown {
        notes.push(format!(
            "{unknown}: no client that zklock knows names its claims so; zklock waits for it, \
             others may not, and it may not wait for others"
        ));
    }
    if let Some(lasting) = lasting {
        notes.push(format!(
            "{lasting}: not ephemeral; it stays until someone deletes it"
        ));
    }
    if !queue.others.is_empty() {
        let others: Vec<_> = queue.others.iter().map(|name| one_line(name)).collect();
        notes.push(format!(
            "no claims, and nobody waits for them: {}",
            others.join(", ")
        ));
    }
    if queue.headroom < LITTLE_HEADROOM {
        notes.push(format!(
            "{} can number {} more claims: let the queue run empty, delete the path, and go on",
            queue.path, queue.headroom
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (61, "1m01s"),
            (3_599, "59m59s"),
            (3_660, "1h01m"),
            (90_000, "1d01h"),
        ] {
            assert_eq!(age(Duration::from_secs(seconds)), text);
        }
    }
}
