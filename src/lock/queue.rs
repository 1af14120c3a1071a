//! The order of a queue, and a claim's place in it.
//!
//! The order is that of the numbers, as every client has it, as long as they
//! tell. A server counts the children of a parent with 32 bits: up to ZooKeeper
//! 3.5 the count wraps to negative numbers, later ones stick at the largest and
//! mix it with negative ones. Long before either the order becomes that of
//! creation itself, by zxid, for which each claim has to be asked.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::claim::{ClaimId, SequenceNumber, hex_digits, sequence_number};
use crate::proto::Children;

/// From here on numbers may wrap or stick, and no longer tell the order.
const NEAR_THE_END: SequenceNumber = i32::MAX - (1 << 16);

/// So many of the claims ahead are worth a watch: the predecessor, whose end
/// may be the grant, and the one before it, whose end says that it will be.
pub(super) const WATCHED: usize = 2;

/// Whether this number, if all others do as well, says who comes first.
pub(super) fn tells_the_order(number: SequenceNumber) -> bool {
    (0..NEAR_THE_END).contains(&number)
}

/// What a listing says of one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not there.
    Missing,
    /// The numbers leave open who is first: it takes the zxids at which these
    /// claims were created, the own one among them.
    Unclear(Vec<Box<[u8]>>),
    /// It is there, with these ahead.
    Place(Place),
}

/// The claims ahead of one.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Place {
    /// Those to watch, the nearest first; none at the head of the queue.
    pub(super) nearest: Vec<Box<[u8]>>,
    /// How many more are ahead.
    pub(super) further: usize,
    /// The first of all, if that is not the claim itself.
    pub(super) head: Option<Box<[u8]>>,
    /// Others have the number of the head, so that it may not be the first.
    pub(super) head_tied: bool,
    /// What is ahead can only become less: what is gone of it is gone for good.
    pub(super) shrinks: bool,
}

/// The zxids at which claims were created, by name, as far as they are there.
pub(super) type Czxids = BTreeMap<Box<[u8]>, i64>;

/// Where the claim `own` stands among the children of a lock path.
pub(super) fn standing(children: &Children, own: &[u8], number: SequenceNumber) -> Standing {
    let (mut found, mut tied, mut numbers_tell) = (false, false, true);
    let mut ahead: usize = 0;
    // The nearest and the second nearest, and the first of all.
    let (mut nearest, mut second) = (None, None);
    let mut head: Option<(SequenceNumber, &[u8])> = None;
    let mut head_tied = false;
    for name in children {
        let Some(other) = sequence_number(name) else {
            continue;
        };
        numbers_tell &= tells_the_order(other);
        match other.cmp(&number) {
            Ordering::Equal if name == own => found = true,
            Ordering::Equal => tied = true,
            Ordering::Less => {
                let this = (other, name);
                ahead = ahead.saturating_add(1);
                second = second.max(nearest.min(Some(this)));
                nearest = nearest.max(Some(this));
                let first = head.map(|(first, _)| other.cmp(&first));
                head_tied = match first {
                    Some(Ordering::Greater) => head_tied,
                    first => first == Some(Ordering::Equal),
                };
                head = head.min(Some(this)).or(Some(this));
            }
            Ordering::Greater => {}
        }
    }
    if !found {
        Standing::Missing
    } else if !numbers_tell {
        Standing::Unclear(contenders(children, |_| true))
    } else if tied {
        Standing::Unclear(contenders(children, |other| other == number))
    } else {
        let nearest = [nearest, second].into_iter().flatten();
        let names = nearest.map(|(_, name)| name).collect();
        let head = head.map(|(_, name)| name);
        let place = Place::behind(names, ahead, head, true);
        Standing::Place(Place { head_tied, ..place })
    }
}

/// As [`standing`], where the numbers leave it open, once it is known when
/// whatever was unclear was created; what `czxids` lacks has gone meanwhile.
pub(super) fn standing_by_creation(
    children: &Children,
    own: &[u8],
    number: SequenceNumber,
    czxids: &Czxids,
) -> Standing {
    let mut numbers = children.iter().filter_map(sequence_number);
    let numbers_tell = numbers.all(tells_the_order);
    // Numbers that are good but for a tie still come first.
    let rank = |name: &[u8]| match sequence_number(name)? {
        _ if !numbers_tell => Some((0, *czxids.get(name)?)),
        other if other == number => Some((other, *czxids.get(name)?)),
        other => Some((other, 0)),
    };
    let Some(own_rank) = rank(own) else {
        return Standing::Missing;
    };
    let mut ahead: Vec<_> = children
        .iter()
        .filter_map(|name| Some((rank(name)?, name)))
        .filter(|(rank, _)| *rank < own_rank)
        .collect();
    ahead.sort_unstable();
    let names = ahead.iter().map(|(_, name)| *name);
    let nearest = names.clone().rev().take(WATCHED).collect();
    let mut ranks = ahead.iter().map(|(rank, _)| rank);
    let head_tied = ranks
        .next()
        .is_some_and(|first| ranks.next() == Some(first));
    let place = Place::behind(nearest, ahead.len(), names.clone().next(), false);
    Standing::Place(Place { head_tied, ..place })
}

impl Place {
    /// Only where what is ahead is bound to shrink there is a use in watching
    /// more than the nearest.
    fn behind(mut nearest: Vec<&[u8]>, ahead: usize, head: Option<&[u8]>, ordered: bool) -> Self {
        let shrinks = ordered && !nearest.iter().any(|name| may_reuse_its_number(name));
        nearest.truncate(if shrinks { WATCHED } else { 1 });
        Self {
            further: ahead.saturating_sub(nearest.len()),
            nearest: nearest.into_iter().map(Into::into).collect(),
            head: head.map(Into::into),
            head_tied: false,
            shrinks,
        }
    }
}

/// The names of the contenders whose number is as wanted.
fn contenders(children: &Children, wanted: impl Fn(SequenceNumber) -> bool) -> Vec<Box<[u8]>> {
    children
        .iter()
        .filter(|name| sequence_number(name).is_some_and(&wanted))
        .map(Into::into)
        .collect()
}

/// Whether the deletion of this claim may leave another with the same number:
/// Curator's read-write locks reuse one when a writer becomes a reader.
pub(super) fn may_reuse_its_number(name: &[u8]) -> bool {
    let contains = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    contains(b"__WRIT__") || contains(b"__READ__")
}

/// The claims in a listing that the given session created, if their counter is
/// `wanted`. In a long listing hardly any is, so that it is asked before a name
/// is looked at as a whole, and of some numbers in names that are no claims'.
pub(super) fn of_session(
    children: &Children,
    session_id: i64,
    wanted: impl Fn(u64) -> bool,
) -> impl Iterator<Item = (u64, &[u8])> {
    let digits = hex_digits(session_id as u64);
    children.iter().filter_map(move |name| {
        ClaimId::peek_counter(name, &digits).filter(|counter| wanted(*counter))?;
        ClaimId::parse(name).map(|id| (id.counter, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::claim::Dialect;

    fn children(names: &[&str]) -> Children {
        names.iter().collect()
    }

    fn standing_of(own: &str, others: &[&str]) -> Standing {
        let number = sequence_number(own.as_bytes()).unwrap();
        standing(&children(others), own.as_bytes(), number)
    }

    fn place_of(own: &str, others: &[&str]) -> Place {
        match standing_of(own, others) {
            Standing::Place(place) => place,
            other => panic!("{other:?}"),
        }
    }

    fn boxed(names: &[&str]) -> Vec<Box<[u8]>> {
        names.iter().map(|name| name.as_bytes().into()).collect()
    }

    #[test]
    fn the_head_has_nothing_ahead() {
        let place = place_of("a-0000000003", &["b-0000000004", "a-0000000003"]);
        let head = Place {
            shrinks: true,
            ..Place::default()
        };
        assert_eq!(place, head);
    }

    #[test]
    fn the_nearest_are_those_with_the_next_lower_numbers_whatever_their_names() {
        let mut names = [
            "z-0000000001",
            "a-0000000009",
            "q__lock__0000000002",
            "own-0000000004",
            "m-0000000003",
        ];
        for _ in 0..names.len() {
            names.rotate_left(1);
            let place = place_of("own-0000000004", &names);
            assert_eq!(
                place.nearest,
                boxed(&["m-0000000003", "q__lock__0000000002"])
            );
            assert_eq!(place.head.as_deref(), Some(&b"z-0000000001"[..]));
            assert_eq!((place.further, place.shrinks), (1, true));
        }
    }

    #[test]
    fn a_head_that_shares_its_number_is_said_to() {
        let tied = ["w-0000000002", "m-0000000002"];
        for (others, expected) in [
            (&["z-0000000003"][..], true),
            (&["a-0000000001", "z-0000000003"], false),
            (&["a-0000000001", "z-0000000001"], true),
        ] {
            for own in ["own-0000000004", "own-0000000003"] {
                let mut names = [&tied[..], others, &["own-0000000004", own]].concat();
                for _ in 0..names.len() {
                    names.rotate_left(1);
                    let place = match standing_of(own, &names) {
                        Standing::Unclear(asked) => {
                            let czxids = asked.into_iter().zip(1..).collect();
                            let names = children(&names);
                            standing_by_creation(&names, own.as_bytes(), 3, &czxids)
                        }
                        place => place,
                    };
                    let Standing::Place(place) = place else {
                        panic!("{place:?}");
                    };
                    assert_eq!(place.head_tied, expected, "{own} among {names:?}");
                }
            }
        }
    }

    #[test]
    fn a_number_that_may_come_back_is_watched_alone() {
        for marked in ["x__WRIT__0000000001", "x__READ__0000000001"] {
            let place = place_of(
                "own-0000000003",
                &[marked, "m-0000000002", "own-0000000003"],
            );
            assert_eq!(place.nearest, boxed(&["m-0000000002"]));
            assert_eq!((place.further, place.shrinks), (1, false));
        }
    }

    #[test]
    fn junk_is_no_contender() {
        let others = [
            "shard1",
            "config",
            "\u{9501}",
            "x-00000000001",
            "own-0000000003",
        ];
        assert_eq!(place_of("own-0000000003", &others).head, None);
    }

    #[test]
    fn a_claim_that_is_not_listed_has_no_place() {
        let standing = standing_of("own-0000000003", &["b-0000000001"]);
        assert_eq!(standing, Standing::Missing);
    }

    /// Asks for all, and has them created in the order given.
    fn created_in_order(own: &str, names: &[&str], asked: &[&str]) -> Standing {
        assert_eq!(standing_of(own, names), Standing::Unclear(boxed(asked)));
        let czxids = (1..).zip(boxed(asked)).map(|(czxid, name)| (name, czxid));
        let number = sequence_number(own.as_bytes()).unwrap();
        standing_by_creation(&children(names), own.as_bytes(), number, &czxids.collect())
    }

    #[test]
    fn where_numbers_end_the_order_is_that_of_creation() {
        for odd in ["b--2147483648", "b-2147483647", "b-2147418111"] {
            let names = [
                "a-2147483646",
                "junk",
                "c-0000000005",
                odd,
                "own-0000000002",
            ];
            let asked = ["a-2147483646", "c-0000000005", odd, "own-0000000002"];
            let Standing::Place(place) = created_in_order("own-0000000002", &names, &asked) else {
                panic!("{odd}");
            };
            assert_eq!(place.nearest, boxed(&[odd]));
            assert_eq!(place.head.as_deref(), Some(&b"a-2147483646"[..]));
            assert_eq!((place.further, place.shrinks), (2, false));
        }
        let names = ["own--2147483648", "a-2147483647"];
        let Standing::Place(place) = created_in_order("own--2147483648", &names, &names) else {
            panic!();
        };
        assert_eq!(place, Place::default());
    }

    #[test]
    fn a_single_number_that_is_near_the_end_is_enough_and_one_that_is_not_is_none() {
        for (odd, tells) in [("b-2147418110", true), ("b-2147418111", false)] {
            let standing = standing_of("own-0000000002", &[odd, "own-0000000002"]);
            assert_eq!(matches!(standing, Standing::Place(_)), tells, "{odd}");
        }
    }

    #[test]
    fn a_tie_is_decided_by_creation_and_changes_nothing_else() {
        let names = [
            "first-0000000003",
            "own-0000000003",
            "x-0000000002",
            "y-0000000009",
        ];
        let asked = ["first-0000000003", "own-0000000003"];
        let Standing::Place(place) = created_in_order("own-0000000003", &names, &asked) else {
            panic!();
        };
        assert_eq!(place.nearest, boxed(&["first-0000000003"]));
        assert_eq!(place.head.as_deref(), Some(&b"x-0000000002"[..]));
        let asked = ["own-0000000003", "second-0000000003"];
        let Standing::Place(place) = created_in_order("own-0000000003", &asked, &asked) else {
            panic!();
        };
        assert_eq!(place, Place::default());
    }

    #[test]
    fn what_has_gone_meanwhile_is_not_ahead() {
        let names = children(&["a-2147483647", "own-2147483647"]);
        let own = &b"own-2147483647"[..];
        let number = SequenceNumber::MAX;
        let czxids = Czxids::from([(own.into(), 7)]);
        let place = standing_by_creation(&names, own, number, &czxids);
        assert_eq!(place, Standing::Place(Place::default()));
        let standing = standing_by_creation(&names, own, number, &Czxids::default());
        assert_eq!(standing, Standing::Missing);
    }

    #[test]
    fn claims_of_a_session_are_found() {
        let ours = format!(
            "{}0000000001",
            ClaimId {
                session_id: -2,
                counter: 5
            }
            .prefix(Dialect::default())
        );
        let other = format!(
            "{}0000000002",
            ClaimId {
                session_id: 3,
                counter: 5
            }
            .prefix(Dialect::default())
        );
        let no_claim = format!("{ours}x");
        let children: Children = [&ours, &other, &no_claim, "x-0000000003"].iter().collect();
        let found: Vec<_> = of_session(&children, -2, |counter| counter == 5).collect();
        assert_eq!(found, [(5, ours.as_bytes())]);
        assert_eq!(of_session(&children, -2, |counter| counter != 5).count(), 0);
    }
}
