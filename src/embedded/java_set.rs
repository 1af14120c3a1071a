//! A set of names in the order in which a Java server lists them.

use std::sync::Arc;

/// What Java's `HashSet` has at first unless told otherwise.
const DEFAULT_BUCKETS: usize = 16;

/// A bucket that is to hold more than so many names makes a small table grow.
const CROWD: usize = 8;

/// As long as it has fewer buckets than this.
const SMALL: usize = 64;

/// Java's `HashSet<String>`, down to the order of its elements.
///
/// A server keeps the children of a znode and the ephemerals of a session in
/// such sets, and lists and deletes them in that order. It looks like none:
/// whoever takes a listing for sorted is to find out here too.
#[derive(Clone, Debug)]
pub(super) struct JavaSet {
    /// A power of two of them; the order within one is that of insertion.
    buckets: Vec<Vec<Arc<str>>>,
    len: usize,
}

impl JavaSet {
    pub(super) fn new() -> Self {
        Self::with_buckets(DEFAULT_BUCKETS)
    }

    /// `buckets` must be a power of two.
    pub(super) fn with_buckets(buckets: usize) -> Self {
        Self {
            buckets: vec![Vec::new(); buckets],
            len: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.buckets.iter().flatten()
    }

    pub(super) fn insert(&mut self, name: Arc<str>) {
        let small = self.buckets.len() < SMALL;
        let Some(bucket) = self.bucket(&name) else {
            return;
        };
        if bucket.contains(&name) {
            return;
        }
        bucket.push(name);
        let crowded = small && bucket.len() > CROWD;
        self.len += 1;
        if crowded {
            self.grow();
        }
        if self.len > self.buckets.len() * 3 / 4 {
            self.grow();
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        let Some(bucket) = self.bucket(name) else {
            return;
        };
        if let Some(at) = bucket.iter().position(|other| **other == *name) {
            bucket.remove(at);
            self.len -= 1;
        }
    }

    /// As `HashSet.clone` makes it: the same names, in a table of the size that
    /// they need, and so in another order. (Java's rounding until version 18.)
    pub(super) fn java_clone(&self) -> Self {
        let needed = self.len * 4 / 3 + 1;
        let mut clone = match self.len {
            0 => Self::new(),
            _ => Self::with_buckets(needed.next_power_of_two()),
        };
        for name in self.iter() {
            clone.insert(name.clone());
        }
        clone
    }

    fn grow(&mut self) {
        let mut larger = Self::with_buckets(self.buckets.len() * 2);
        for name in self.iter() {
            if let Some(bucket) = larger.bucket(name) {
                bucket.push(name.clone());
            }
        }
        self.buckets = larger.buckets;
    }

    fn bucket(&mut self, name: &str) -> Option<&mut Vec<Arc<str>>> {
        let hash = java_hash(name);
        let spread = (hash ^ (hash >> 16)) as usize;
        let mask = self.buckets.len().wrapping_sub(1);
        self.buckets.get_mut(spread & mask)
    }
}

/// `String.hashCode`.
fn java_hash(text: &str) -> u32 {
    let mix = |hash: u32, unit: u16| hash.wrapping_mul(31).wrapping_add(unit.into());
    text.encode_utf16().fold(0, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: &JavaSet) -> Vec<&str> {
        set.iter().map(|name| &**name).collect()
    }

    #[test]
    fn text_hashes_as_in_java() {
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("zookeeper"), 0x5f68_774c);
        assert_eq!(java_hash("lock-0000000007"), 0xcc7b_6be9);
        assert_eq!(java_hash("é锁😀"), 0x02b4_509b);
    }

    #[test]
    fn a_name_is_in_it_once_until_it_is_removed() {
        let mut set = JavaSet::new();
        set.insert("a".into());
        set.insert("a".into());
        assert_eq!((set.len(), names(&set)), (1, vec!["a"]));
        set.remove("b");
        set.remove("a");
        assert_eq!((set.len(), names(&set)), (0, vec![]));
    }

    #[test]
    fn the_order_is_that_of_the_buckets_and_then_of_insertion() {
        // "Aa" and "BB" have one hash.
        let mut set = JavaSet::with_buckets(8);
        for name in ["BB", "b", "Aa", "a"] {
            set.insert(name.into());
        }
        assert_eq!(names(&set), ["BB", "Aa", "a", "b"]);
        set.remove("BB");
        set.insert("BB".into());
        assert_eq!(names(&set), ["Aa", "BB", "a", "b"]);
    }

    #[test]
    fn it_grows_when_three_quarters_are_full_and_stays_large() {
        let mut set = JavaSet::with_buckets(8);
        for number in 0..7 {
            assert_eq!(set.buckets.len(), 8);
            set.insert(format!("{number}").into());
        }
        assert_eq!(set.buckets.len(), 16);
        for number in 0..7 {
            set.remove(&format!("{number}"));
        }
        assert_eq!((set.len(), set.buckets.len()), (0, 16));
        assert_eq!(set.java_clone().buckets.len(), 16);
    }

    #[test]
    fn a_small_table_grows_under_a_crowd_in_one_bucket() {
        let mut set = JavaSet::new();
        // Equal hashes, all of them.
        for bits in 0..9 {
            let half = |bit: u32| if bits >> bit & 1 == 0 { "Aa" } else { "BB" };
            set.insert([half(3), half(2), half(1), half(0)].concat().into());
        }
        assert_eq!((set.len(), set.buckets.len()), (9, 32));
    }

    #[test]
    fn the_order_is_javas() {
        let mut set = JavaSet::new();
        for number in 0..40 {
            set.insert(format!("lock-{:010}", number * number).into());
            if number % 5 == 0 {
                set.remove(&format!("lock-{number:010}"));
            }
        }
        let numbers: Vec<u32> = set.iter().map(|name| name[5..].parse().unwrap()).collect();
        let printed_by_java = [
            729, 9, 625, 900, 529, 1, 100, 144, 441, 1156, 121, 484, 64, 361, 1296, 49, 225, 324,
            841, 4, 169, 400, 961, 289, 784, 81, 1024, 1089, 196, 16, 676, 1369, 576, 1225, 36,
            256, 1444, 1521,
        ];
        assert_eq!(numbers, printed_by_java);
    }

    #[test]
    fn a_clone_has_the_room_that_its_names_need() {
        let mut set = JavaSet::new();
        let mut room = Vec::new();
        for number in 1..=7 {
            set.insert(format!("/{number}").into());
            room.push(set.java_clone().buckets.len());
        }
        assert_eq!(room, [2, 4, 8, 8, 8, 16, 16]);
    }
}
