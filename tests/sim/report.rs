//! What happened: counted always, and written down if it is to be read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// Lines of a history, kept though the world that wrote them has panicked.
pub(crate) type History = Arc<Mutex<Vec<String>>>;

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<(&'static str, Cow<'static, str>), u64>);

impl Counts {
    pub(crate) fn add(
        &mut self,
        group: &'static str,
        what: impl Into<Cow<'static, str>>,
        times: u64,
    ) {
        *self.0.entry((group, what.into())).or_default() += times;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for ((group, what), times) in other.0 {
            self.add(group, what, times);
        }
    }

    pub(crate) fn of(&self, group: &str, what: &str) -> u64 {
        self.sum(|in_group, kind| in_group == group && kind == what)
    }

    /// All of a group.
    pub(crate) fn all_of(&self, group: &str) -> u64 {
        self.sum(|in_group, _| in_group == group)
    }

    fn sum(&self, counts: impl Fn(&str, &str) -> bool) -> u64 {
        let all = self.0.iter();
        let some = all.filter(|((group, what), _)| counts(group, what));
        some.map(|(_, times)| times).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = "";
        for ((group, what), times) in &self.0 {
            if *group != last {
                writeln!(f, "{group}")?;
                last = group;
            }
            writeln!(f, "  {what:<40} {times:>12}")?;
        }
        Ok(())
    }
}
