//! Who stands in a queue, for people to see.

use std::time::{Duration, SystemTime};

use super::claim::{Dialect, SequenceNumber};
use super::metadata::ClaimData;
use super::queue::tells_the_order;
use super::token::FencingToken;
use crate::proto::{Stat, ZnodePath};

/// The queue of a lock, as it was at some moment: claims may have come and gone
/// while it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queue {
    /// The lock path, from the server's root.
    pub path: ZnodePath,
    /// The claims, in the order in which they are granted: the first holds the
    /// lock, or is about to.
    pub contenders: Vec<Contender>,
    /// Names of children that are no claims, and that nobody waits for. What
    /// is not UTF-8 in them is replaced; a claim with such a name is among them,
    /// since nobody can ask for it, though it is waited for.
    pub others: Vec<String>,
    /// How many claims the path can number before its numbers run out. The
    /// order is that of creation then, which other clients do not know: let the
    /// queue run empty and delete the path in good time.
    ///
    /// 0 if they have run out. Servers up to ZooKeeper 3.5 go on with negative
    /// numbers after that, and show it by these alone: if there is no claim with
    /// one in the queue, this is how many negative numbers are left.
    pub headroom: u32,
}

/// A claim in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Contender {
    /// The claim's name, below the lock path.
    pub name: String,
    /// The number at the end of the name.
    pub number: SequenceNumber,
    /// How the claim is named, which says who respects it; `None` if it is
    /// unknown.
    pub dialect: Option<Dialect>,
    /// The fencing token: the zxid of the claim's creation.
    pub token: FencingToken,
    /// The session whose end deletes the claim; `None` if no session's end does.
    pub session_id: Option<i64>,
    /// When the claim was created, by the clock of the server.
    pub created: SystemTime,
    /// What the claim says of whoever made it; `None` if it is not allowed to
    /// read that, or it is no JSON object, or more than a frame of this session
    /// takes.
    pub data: Option<ClaimData>,
}

impl Queue {
    pub(super) fn empty(path: ZnodePath) -> Self {
        Self {
            path,
            contenders: Vec::new(),
            others: Vec::new(),
            headroom: MOST_CHILDREN,
        }
    }

    /// Whose turn it is, if anyone's.
    #[must_use]
    pub fn holder(&self) -> Option<&Contender> {
        self.contenders.first()
    }

    /// Those who wait, in order.
    #[must_use]
    pub fn waiters(&self) -> &[Contender] {
        self.contenders.get(1..).unwrap_or_default()
    }

    /// Puts the claims into the order in which they are granted.
    pub(super) fn sort(&mut self) {
        let tell = |contender: &Contender| tells_the_order(contender.number);
        let numbers_tell = self.contenders.iter().all(tell);
        self.contenders.sort_by_key(|contender| {
            let number = if numbers_tell { contender.number } else { 0 };
            (number, contender.token)
        });
    }
}

impl Contender {
    pub(super) fn new(name: &str, number: SequenceNumber, stat: &Stat) -> Self {
        let owner = stat.ephemeral_owner;
        let created = Duration::from_millis(u64::try_from(stat.ctime_ms).unwrap_or(0));
        Self {
            name: name.to_owned(),
            number,
            dialect: Dialect::of(name.as_bytes()),
            token: FencingToken::new(stat.czxid as u64),
            session_id: (owner != 0).then_some(owner),
            created: SystemTime::UNIX_EPOCH
                .checked_add(created)
                .unwrap_or(SystemTime::UNIX_EPOCH),
            data: None,
        }
    }

    /// The owner that the claim names.
    #[must_use]
    pub fn owner(&self) -> Option<&str> {
        self.data.as_ref()?.owner.as_deref()
    }

    /// How old the claim is at `now`, as far as the clocks of this machine and
    /// the server agree.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Duration {
        now.duration_since(self.created).unwrap_or_default()
    }
}

const MOST_CHILDREN: u32 = SequenceNumber::MAX.unsigned_abs();

/// How many more children the znode with this Stat can number. The server
/// shows the count of creates and deletes together, in 32 bits: twice the
/// creates, less those that are left.
pub(super) const fn headroom(stat: &Stat) -> u32 {
    let twice = stat.cversion.wrapping_add(stat.num_children) as u32;
    MOST_CHILDREN.saturating_sub(twice / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headroom_counts_creates_alone() {
        // So many created, and so many of those left.
        for (creates, children) in [(0, 0), (7, 7), (7, 0), (1 << 30, 3), (i32::MAX, 5)] {
            let stat = Stat {
                cversion: creates.wrapping_mul(2).wrapping_sub(children),
                num_children: children,
                ..Stat::default()
            };
            assert_eq!(headroom(&stat), (i32::MAX - creates) as u32, "{creates}");
        }
    }

    #[test]
    fn any_session_is_shown_and_none_is_none() {
        for (ephemeral_owner, session_id) in [(0, None), (-5, Some(-5)), (7, Some(7))] {
            let stat = Stat {
                ephemeral_owner,
                ..Stat::default()
            };
            assert_eq!(Contender::new("x", 0, &stat).session_id, session_id);
        }
    }

    #[test]
    fn the_order_is_that_of_the_grants() {
        let order = |claims: &[(i32, i64)]| {
            let mut queue = Queue::empty(ZnodePath::root());
            for (number, czxid) in claims {
                let stat = Stat {
                    czxid: *czxid,
                    ..Stat::default()
                };
                queue.contenders.push(Contender::new("x", *number, &stat));
            }
            queue.sort();
            queue
                .contenders
                .iter()
                .map(|contender| contender.token.get())
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&[(3, 10), (1, 12), (3, 9)]), [12, 9, 10]);
        assert_eq!(
            order(&[(i32::MAX, 10), (1, 12), (i32::MIN, 11)]),
            [10, 11, 12]
        );
    }
}
