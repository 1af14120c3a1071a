//! What can go wrong, and all ways to deal it out.

use std::collections::BTreeSet;

/// A fault. Each may happen at any time, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A connection ends, and with it all that is under way on it, requests and
    /// answers.
    Cut,
    /// A user leaves who waits.
    GiveUp,
    /// The time of a user who waits is over.
    Deadline,
    /// A client's process stops until its lease is over. Its session lives.
    Pause,
    /// The same, and the session has expired meanwhile.
    Expire,
    /// Someone deletes a claim, whosever it is.
    Break,
}

impl Fault {
    const OF_A_CLIENT: [Self; 5] = [
        Self::Cut,
        Self::GiveUp,
        Self::Deadline,
        Self::Pause,
        Self::Expire,
    ];
}

/// The faults that may befall each client, and behind those what may befall the
/// server.
pub(crate) type Plan = Vec<Vec<Fault>>;

/// All ways to deal out so many faults. Clients are alike as long as each has as
/// many users: of plans that differ only in which client is which, one is enough.
pub(crate) fn plans(clients: usize, users: usize, faults: usize) -> BTreeSet<Plan> {
    let mut plans = BTreeSet::from([vec![Vec::new(); clients + 1]]);
    for _ in 0..faults {
        plans = plans.iter().flat_map(with_one_more).collect();
        if users % clients == 0 {
            plans = plans.into_iter().map(sorted).collect();
        }
    }
    plans
}

fn with_one_more(plan: &Plan) -> Vec<Plan> {
    let server = plan.len() - 1;
    let to_clients = (0..server).flat_map(|client| Fault::OF_A_CLIENT.map(|it| (client, it)));
    let all = to_clients.chain([(server, Fault::Break)]);
    let with = |(whom, fault): (usize, Fault)| {
        let mut plan = Plan::clone(plan);
        plan[whom].push(fault);
        plan[whom].sort();
        plan
    };
    all.map(with).collect()
}

fn sorted(mut plan: Plan) -> Plan {
    let server = plan.len() - 1;
    plan[..server].sort();
    plan
}
