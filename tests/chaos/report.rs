//! What a run says at its end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::check::Verdict;
use crate::plan::Fault;
use crate::record::{End, Records};

/// A run of so many seconds has each fault at least once, on a busy machine too.
const ALL_FAULTS_WITHIN: u64 = 300;

/// How often each fault was made.
#[derive(Debug, Default)]
pub(crate) struct Tally(BTreeMap<Fault, usize>);

pub(crate) struct Report {
    pub(crate) seconds: u64,
    pub(crate) tally: Tally,
    pub(crate) records: Vec<Records>,
    pub(crate) verdict: Verdict,
}

impl Tally {
    pub(crate) fn count(&mut self, fault: Fault) {
        *self.0.entry(fault).or_default() += 1;
    }

    pub(crate) fn total(&self) -> usize {
        self.0.values().sum()
    }
}

impl Report {
    /// Few faults, or workers that hardly came to work, would prove nothing.
    pub(crate) fn assert_it_was_a_storm(&self) {
        let (faults, grants) = (self.tally.total(), self.grants());
        assert!(faults >= self.seconds as usize / 3, "only {faults} faults");
        assert!(grants >= self.seconds as usize, "only {grants} grants");
        if self.seconds >= ALL_FAULTS_WITHIN {
            let missing: Vec<_> = Fault::ALL
                .iter()
                .filter(|fault| !self.tally.0.contains_key(fault))
                .collect();
            assert!(missing.is_empty(), "there was no {missing:?}");
        }
    }

    pub(crate) fn grants(&self) -> usize {
        self.records
            .iter()
            .map(|records| records.grants.len())
            .sum()
    }

    /// Sessions in which there was a grant.
    fn sessions(&self) -> usize {
        let grants = self.records.iter().flat_map(|records| &records.grants);
        grants
            .map(|grant| grant.session)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// How grants ended, and how often.
    fn ends(&self) -> BTreeMap<String, usize> {
        let mut ends = BTreeMap::new();
        for grant in self.records.iter().flat_map(|records| &records.grants) {
            let end = match &grant.end {
                End::Released(_) => "released".to_owned(),
                End::Lost(reason) => format!("lost: {reason}"),
                End::Unknown => "by a kill".to_owned(),
            };
            *ends.entry(end).or_default() += 1;
        }
        ends
    }

    fn failures(&self) -> BTreeMap<String, usize> {
        let mut failures = BTreeMap::new();
        for why in self.records.iter().flat_map(|records| &records.failures) {
            *failures.entry(why.clone()).or_default() += 1;
        }
        failures
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict {
            violations,
            hand_offs,
            caught_by_token,
            late_but_in_order,
        } = &self.verdict;
        writeln!(f, "faults:")?;
        for (fault, count) in &self.tally.0 {
            writeln!(f, "  {count:5} {fault:?}")?;
        }
        let (workers, grants) = (self.records.len(), self.grants());
        let sessions = self.sessions();
        let late: usize = self.records.iter().map(|records| records.late).sum();
        writeln!(
            f,
            "{workers} workers, {grants} grants in {sessions} sessions, {hand_offs} from one worker \
             to another; they ended:"
        )?;
        write_counts(f, &self.ends())?;
        writeln!(f, "  {late:5} over before their holders could use them")?;
        writeln!(f, "requests without a grant:")?;
        write_counts(f, &self.failures())?;
        writeln!(
            f,
            "late writes: {caught_by_token} that the token caught, \
             {late_but_in_order} ahead of the newer holder's first"
        )?;
        for violation in violations {
            writeln!(f, "VIOLATION: {violation}")?;
        }
        write!(
            f,
            "seconds={} faults={} grants={grants} overlaps_caught_by_token={caught_by_token} violations={}",
            self.seconds,
            self.tally.total(),
            violations.len()
        )
    }
}

fn write_counts(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<String, usize>) -> fmt::Result {
    for (what, count) in counts {
        writeln!(f, "  {count:5} {what}")?;
    }
    Ok(())
}
