//! The checker: what the records of a run must not show.
//!
//! A grant counts from the first moment at which its guard said that the lock is
//! held to the last one that the guard promised, or to its release: it does not
//! matter whether its holder was awake to hear of it. Two such spans of one lock
//! that overlap are a violation.
//!
//! A write is late if a newer grant of its lock counted already when it came in:
//! its holder was paused between its look at the guard and the write. No lock
//! can prevent that. The register refuses such a write if the newer holder has
//! written before (the overlaps that only the token caught); otherwise the
//! writes are still in the order of the grants.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::between;
use crate::record::Grant;
use crate::register::Entry;

/// What is found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) violations: Vec<String>,
    /// Grants that followed one of another worker.
    pub(crate) hand_offs: usize,
    /// Grants with a late write that the register refused.
    pub(crate) caught_by_token: usize,
    /// Late writes that came before the newer holder's first.
    pub(crate) late_but_in_order: usize,
}

pub(crate) fn check(grants: &[Grant], entries: &[Entry]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut queues: BTreeMap<&str, Vec<&Grant>> = BTreeMap::new();
    for grant in grants {
        queues.entry(&grant.path).or_default().push(grant);
    }
    for (path, queue) in &mut queues {
        queue.sort_by_key(|grant| grant.from);
        verdict.check_queue(queue);
        let entries = entries.iter().filter(|entry| entry.path == *path);
        verdict.check_writes(queue, entries);
    }
    let known = |entry: &&Entry| queues.contains_key(entry.path.as_str());
    if entries.iter().filter(known).count() < entries.len() {
        verdict.say("writes to a register whose lock nobody was granted".to_owned());
    }
    verdict
}

impl Verdict {
    /// The grants of one lock, in the order in which they began.
    fn check_queue(&mut self, queue: &[&Grant]) {
        for pair in queue.windows(2) {
            let [before, after] = pair else { continue };
            self.hand_offs += usize::from(before.worker != after.worker);
            if after.token <= before.token {
                self.say(format!("the token does not rise: {}", show(before, after)));
            }
            if after.number <= before.number {
                self.say(format!("not in sequence: {}", show(before, after)));
            }
        }
        // One that is long over may still overlap with more than the next.
        let mut longest: Option<&Grant> = None;
        for grant in queue {
            if let Some(other) = longest.filter(|other| grant.from < other.end_of_lease()) {
                let time = between(grant.from, other.end_of_lease());
                self.say(format!("two holders for {time:?}: {}", show(other, grant)));
            }
            let lasts = |other: &Grant| other.end_of_lease() > grant.end_of_lease();
            longest = longest.filter(|other| lasts(other)).or(Some(grant));
        }
    }

    /// What came in at the register behind the lock of this queue.
    fn check_writes<'a>(&mut self, queue: &[&Grant], entries: impl Iterator<Item = &'a Entry>) {
        let mut highest = 0;
        let mut caught = BTreeSet::new();
        for entry in entries {
            if !queue.iter().any(|grant| grant.token == entry.token) {
                self.say(format!("a write of no grant: {entry:?}"));
            }
            let begun = queue.partition_point(|grant| grant.from <= entry.at);
            let newest = queue[..begun].iter().map(|grant| grant.token).max();
            let late = newest > Some(entry.token);
            match (entry.admitted, late) {
                (true, _) if entry.token < highest => {
                    self.say(format!("admitted behind a higher token: {entry:?}"));
                }
                (false, false) => self.say(format!("refused, and not late: {entry:?}")),
                (false, true) => drop(caught.insert(entry.token)),
                (true, true) => self.late_but_in_order += 1,
                (true, false) => {}
            }
            highest = highest.max(entry.token);
        }
        self.caught_by_token += caught.len();
    }

    fn say(&mut self, violation: String) {
        self.violations.push(violation);
    }
}

fn show(before: &Grant, after: &Grant) -> String {
    format!("\n    {before:?}\n    {after:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{End, Records};

    /// Two workers, each with one grant of the same lock.
    fn grants(first: &str, second: &str) -> Vec<Grant> {
        let mut grants = Records::parse(first, "first").grants;
        grants.extend(Records::parse(second, "second").grants);
        grants
    }

    fn entry(token: u64, at: u64, admitted: bool) -> Entry {
        Entry {
            path: "/l".to_owned(),
            token,
            slot: 0,
            at,
            admitted,
        }
    }

    /// Holds from 10 to 40 at the most.
    const FIRST: &str = "granted 5 /l 1 77\nheld 5 10 30\nheld 5 20 40\n";

    fn violations(grants: &[Grant], entries: &[Entry]) -> Vec<String> {
        check(grants, entries).violations
    }

    #[test]
    fn one_after_the_other_is_as_it_should_be() {
        let grants = grants(FIRST, "granted 7 /l 2 78\nheld 7 40 60\n");
        let entries = [entry(5, 11, true), entry(7, 41, true)];
        let verdict = check(&grants, &entries);
        assert!(verdict.violations.is_empty(), "{verdict:?}");
        assert_eq!(verdict.hand_offs, 1);
        assert_eq!((verdict.caught_by_token, verdict.late_but_in_order), (0, 0));
    }

    #[test]
    fn a_holder_inside_the_lease_of_another_is_a_violation() {
        let second = "granted 7 /l 2 78\nheld 7 39 60\n";
        let found = violations(&grants(FIRST, second), &[]);
        assert!(found[0].starts_with("two holders for 1ns"), "{found:?}");
        // Also one that comes after a third, short one.
        let mut three = grants(FIRST, second);
        three.extend(grants(
            "granted 6 /l 2 79\nheld 6 12 14\nreleased 6 13\n",
            "",
        ));
        let overlaps = violations(&three, &[]);
        let overlaps = overlaps.iter().filter(|said| said.contains("two holders"));
        assert_eq!(overlaps.count(), 2);
    }

    #[test]
    fn a_release_ends_it_and_a_loss_or_a_kill_does_not() {
        let second = "granted 7 /l 2 78\nheld 7 25 60\n";
        let released = format!("{FIRST}released 5 21\n");
        assert!(violations(&grants(&released, second), &[]).is_empty());
        let lost = format!("{FIRST}lost 5 LeaseExpired\nreleased 5 21\n");
        assert_eq!(violations(&grants(&lost, second), &[]).len(), 1);
        assert_eq!(violations(&grants(FIRST, second), &[]).len(), 1);
    }

    #[test]
    fn tokens_and_numbers_rise() {
        let token = grants(FIRST, "granted 4 /l 2 78\nheld 4 40 60\n");
        assert!(violations(&token, &[])[0].starts_with("the token does not rise"));
        let number = grants(FIRST, "granted 7 /l 1 78\nheld 7 40 60\n");
        assert!(violations(&number, &[])[0].starts_with("not in sequence"));
    }

    #[test]
    fn late_writes_are_told_apart() {
        let grants = grants(FIRST, "granted 7 /l 2 78\nheld 7 40 60\n");
        let late = [entry(5, 41, true), entry(7, 42, true), entry(5, 43, false)];
        let verdict = check(&grants, &late);
        assert!(verdict.violations.is_empty(), "{verdict:?}");
        assert_eq!((verdict.caught_by_token, verdict.late_but_in_order), (1, 1));
        assert_eq!(violations(&grants, &[entry(5, 11, false)]).len(), 1);
        let lower = [entry(7, 42, true), entry(5, 43, true)];
        assert_eq!(violations(&grants, &lower).len(), 1);
        assert_eq!(violations(&grants, &[entry(6, 11, true)]).len(), 1);
    }

    #[test]
    fn half_a_line_is_none_and_a_grant_too_late_to_be_used_does_not_count() {
        let records = Records::parse("granted 5 /l 1 77\nlost 5 LeaseExpired\n", "w");
        assert_eq!((records.grants.len(), records.late), (0, 1));
        let records = Records::parse(&format!("{FIRST}lost 5 Lea"), "w");
        assert_eq!(records.grants[0].end, End::Unknown);
    }
}
