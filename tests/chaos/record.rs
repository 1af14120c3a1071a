//! What a worker notes of its grants, in a file of its own: a line as soon as
//! something is known, so that it is there if the worker is killed next.
//!
//! A moment is always read before the guard is asked, so that what the guard
//! says is true of it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use zklock::Guard;
use zklock::lock::{ClaimId, SequenceNumber, sequence_number};

use crate::clock::{Moment, after, now};

/// A grant as its holder has noted it.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    /// Which process.
    pub(crate) worker: String,
    pub(crate) path: String,
    /// The number that the server gave to the claim.
    pub(crate) number: SequenceNumber,
    pub(crate) token: u64,
    pub(crate) session: i64,
    /// The first moment at which the guard said that the lock was held.
    pub(crate) from: Moment,
    /// The last such moment.
    pub(crate) seen: Moment,
    /// The latest moment until which it promised that.
    pub(crate) until: Moment,
    pub(crate) end: End,
}

/// How a grant ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Not as far as its worker came.
    Unknown,
    /// The release began then.
    Released(Moment),
    /// The guard said so.
    Lost(String),
}

impl Grant {
    /// Its holder may rely on it until then: as its guard promised, or until
    /// its release began.
    pub(crate) fn end_of_lease(&self) -> Moment {
        match self.end {
            End::Released(at) => at.min(self.until),
            _ => self.until,
        }
    }
}

/// What one worker has noted.
#[derive(Debug, Default)]
pub(crate) struct Records {
    pub(crate) grants: Vec<Grant>,
    /// Grants that were over before their holders could look at them.
    pub(crate) late: usize,
    /// Why requests were not granted.
    pub(crate) failures: Vec<String>,
    /// It has left all queues and asks for nothing any more.
    pub(crate) rests: bool,
}

/// Where a worker writes to.
pub(crate) struct Recorder(File);

impl Recorder {
    pub(crate) fn create(path: &Path) -> Self {
        let file = OpenOptions::new().create_new(true).append(true).open(path);
        Self(file.unwrap())
    }

    /// Asks the guard whether the lock is held, and notes what it says, which
    /// is returned.
    pub(crate) fn ask(&mut self, guard: &Guard) -> bool {
        let (at, token) = (now(), guard.fencing_token());
        match guard.remaining() {
            Ok(remaining) => self.held(token.get(), at, remaining),
            Err(reason) => self.line(&format!("lost {token} {reason:?}")),
        }
        guard.lost_reason().is_none()
    }

    pub(crate) fn granted(&mut self, path: &str, guard: &Guard) {
        let name = guard.znode().rsplit('/').next().unwrap().as_bytes();
        let (number, id) = (sequence_number(name), ClaimId::parse(name));
        let (number, session) = (number.unwrap(), id.unwrap().session_id);
        let token = guard.fencing_token();
        self.line(&format!("granted {token} {path} {number} {session}"));
    }

    fn held(&mut self, token: u64, at: Moment, remaining: Duration) {
        self.line(&format!("held {token} {at} {}", after(at, remaining)));
    }

    /// Before the release begins.
    pub(crate) fn releases(&mut self, guard: &Guard) {
        self.line(&format!("released {} {}", guard.fencing_token(), now()));
    }

    pub(crate) fn failed(&mut self, why: &str) {
        self.line(&format!("failed {why}"));
    }

    pub(crate) fn rests(&mut self) {
        self.line("rests");
    }

    fn line(&mut self, line: &str) {
        // In one write, so that a kill leaves whole lines.
        self.0.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

impl Records {
    pub(crate) fn read(path: &Path, worker: &str) -> Self {
        // A worker that has just been started may not have its file yet.
        Self::parse(&std::fs::read_to_string(path).unwrap_or_default(), worker)
    }

    pub(crate) fn parse(text: &str, worker: &str) -> Self {
        let mut records = Self::default();
        // The last line may lack its end if it is being written.
        for line in text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
        {
            records.take(line.trim_end(), worker);
        }
        let used = records.grants.len();
        records.grants.retain(|grant| grant.until > 0);
        records.late = used - records.grants.len();
        records
    }

    fn take(&mut self, line: &str, worker: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["granted", token, path, number, session] => self.grants.push(Grant {
                worker: worker.to_owned(),
                path: path.to_owned(),
                number: number.parse().unwrap(),
                token: token.parse().unwrap(),
                session: session.parse().unwrap(),
                from: 0,
                seen: 0,
                until: 0,
                end: End::Unknown,
            }),
            ["held", token, at, until] => {
                let (at, until) = (at.parse().unwrap(), until.parse().unwrap());
                let grant = self.last(token);
                if grant.from == 0 {
                    grant.from = at;
                }
                grant.seen = at;
                grant.until = grant.until.max(until);
            }
            ["released", token, at] => {
                let grant = self.last(token);
                if grant.end == End::Unknown {
                    grant.end = End::Released(at.parse().unwrap());
                }
            }
            ["lost", token, ref reason @ ..] => {
                self.last(token).end = End::Lost(reason.join(" "));
            }
            ["failed", ref why @ ..] => self.failures.push(why.join(" ")),
            ["rests"] => self.rests = true,
            _ => panic!("{worker} has noted {line:?}"),
        }
    }

    fn last(&mut self, token: &str) -> &mut Grant {
        let grant = self.grants.last_mut().unwrap();
        assert_eq!(
            grant.token.to_string(),
            token,
            "a worker holds one at a time"
        );
        grant
    }
}
