//! What happened: counted always, and written down if it is to be read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

/// Lines of a history, kept though the world that wrote them has panicked.
pub(crate) type History = Arc<Mutex<Vec<String>>>;

/// How often what happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts(BTreeMap<(&'static str, String), u64>);

impl Counts {
    pub(crate) fn add(&mut self, group: &'static str, what: impl Into<String>, times: u64) {
        *self.0.entry((group, what.into())).or_default() += times;
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for ((group, what), times) in other.0 {
            self.add(group, what, times);
        }
    }

    pub(crate) fn of(&self, group: &'static str, what: &str) -> u64 {
        let times = self.0.get(&(group, what.to_owned()));
        times.copied().unwrap_or(0)
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
