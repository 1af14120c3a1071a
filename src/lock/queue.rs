//! The order of a queue, and a claim's place in it.

use super::claim::{ClaimId, SequenceNumber, sequence_number};
use crate::proto::Children;

/// From here on numbers may wrap or stick, and no longer tell the order alone.
const NEAR_THE_END: SequenceNumber = i32::MAX - (1 << 16);

/// What a listing says of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    /// The name of the claim directly ahead; `None` at the head of the queue.
    pub(super) predecessor: Option<Box<[u8]>>,
    /// How many claims are ahead.
    pub(super) ahead: usize,
    /// The numbers do not tell who is first: two are the same, or the own one
    /// is where the server's count sticks or wraps.
    pub(super) unordered: bool,
    /// The numbers tell the order for sure, so that nothing can be ahead once
    /// the last claim ahead has gone.
    pub(super) numbers_hold: bool,
}

/// Whether the claim numbered `a` comes before the one numbered `b`. Up to
/// ZooKeeper 3.5 the count wraps to negative numbers, so this wraps too.
pub(super) const fn precedes(a: SequenceNumber, b: SequenceNumber) -> bool {
    a.wrapping_sub(b) < 0
}

/// The place of the claim `own` among the children of a lock path, or `None`
/// if it is not among them.
pub(super) fn place(children: &Children, own: &[u8], number: SequenceNumber) -> Option<Place> {
    let mut found = false;
    let mut place = Place {
        predecessor: None,
        ahead: 0,
        unordered: !(0..SequenceNumber::MAX).contains(&number),
        numbers_hold: true,
    };
    let mut nearest: Option<(SequenceNumber, &[u8])> = None;
    for name in children.iter() {
        let Some(other) = sequence_number(name) else {
            continue;
        };
        place.numbers_hold &= (0..NEAR_THE_END).contains(&other);
        if name == own {
            found = true;
        } else if other == number {
            place.unordered = true;
        } else if precedes(other, number) {
            place.ahead += 1;
            if nearest.is_none_or(|(number, _)| precedes(number, other)) {
                nearest = Some((other, name));
            }
        }
    }
    place.predecessor = nearest.map(|(_, name)| name.into());
    found.then_some(place)
}

/// Whether the deletion of this claim may leave another with the same number:
/// Curator's read-write locks reuse one when a writer becomes a reader.
pub(super) fn may_reuse_its_number(name: &[u8]) -> bool {
    let contains = |part: &[u8]| name.windows(part.len()).any(|window| window == part);
    contains(b"__WRIT__") || contains(b"__READ__")
}

/// The claims in a listing that the given session created.
pub(super) fn of_session(
    children: &Children,
    session_id: i64,
) -> impl Iterator<Item = (u64, &[u8])> {
    children.iter().filter_map(move |name| {
        let id = ClaimId::parse(name)?;
        (id.session_id == session_id).then_some((id.counter, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place_of(own: &str, others: &[&str]) -> Option<Place> {
        let children: Children = others.iter().collect();
        place(
            &children,
            own.as_bytes(),
            sequence_number(own.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn the_head_has_no_predecessor() {
        let place = place_of("a-0000000003", &["b-0000000004", "a-0000000003"]).unwrap();
        assert_eq!(
            place,
            Place {
                predecessor: None,
                ahead: 0,
                unordered: false,
                numbers_hold: true
            }
        );
    }

    #[test]
    fn the_predecessor_is_the_next_lower_number_whatever_its_name() {
        let others = [
            "z-0000000001",
            "a-0000000009",
            "q__lock__0000000002",
            "own-0000000003",
        ];
        let place = place_of("own-0000000003", &others).unwrap();
        assert_eq!(
            place.predecessor.as_deref(),
            Some(&b"q__lock__0000000002"[..])
        );
        assert_eq!(place.ahead, 2);
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
        assert_eq!(place_of("own-0000000003", &others).unwrap().ahead, 0);
    }

    #[test]
    fn a_claim_that_is_not_listed_has_no_place() {
        assert_eq!(place_of("own-0000000003", &["b-0000000001"]), None);
    }

    #[test]
    fn the_order_survives_the_wrap_but_numbers_alone_do_not_hold_there() {
        let others = ["a-2147483647", "a--2147483648", "a--2147483647"];
        let place = place_of("a--2147483647", &others).unwrap();
        assert_eq!(place.predecessor.as_deref(), Some(&b"a--2147483648"[..]));
        assert_eq!(place.ahead, 2);
        assert!(!place.numbers_hold);
    }

    #[test]
    fn claims_of_a_session_are_found() {
        let ours = format!(
            "{}0000000001",
            ClaimId {
                session_id: -2,
                counter: 5
            }
            .prefix()
        );
        let other = format!(
            "{}0000000002",
            ClaimId {
                session_id: 3,
                counter: 5
            }
            .prefix()
        );
        let children: Children = [ours.as_str(), other.as_str(), "x-0000000003"]
            .iter()
            .collect();
        let found: Vec<_> = of_session(&children, -2).collect();
        assert_eq!(found, [(5, ours.as_bytes())]);
    }
}
