//! Spaces that are searched to their ends, and what is printed of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::faults::plans;
use crate::search::{Found, Order, search};
use crate::world::World;

/// How much there is, and how much may go wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Space {
    clients: usize,
    /// How many acquisitions, dealt out to the clients in turn.
    users: usize,
    faults: usize,
}

impl Space {
    pub(crate) const fn new(clients: usize, users: usize, faults: usize) -> Self {
        Self {
            clients,
            users,
            faults,
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let numbers: Vec<_> = text.split(',').map(|it| it.parse().expect(text)).collect();
        let [clients, users, faults] = numbers[..] else {
            panic!("{text}: not clients,users,faults");
        };
        Self::new(clients, users, faults)
    }
}

/// Searches them all, and prints how much there was.
pub(crate) fn all_of(spaces: &[Space]) {
    let mut all = Found::default();
    for space in spaces {
        let began = Instant::now();
        let found = all_plans(*space);
        let Space {
            clients,
            users,
            faults,
        } = space;
        println!(
            "{clients} clients, {users} users, {faults} faults: {} states, {} steps, {} deep, \
             {} ends, {:.1?}",
            found.states,
            found.steps,
            found.depth,
            found.ends,
            began.elapsed()
        );
        all.add(found);
        if all.violation.is_some() {
            break;
        }
    }
    let violations = u8::from(all.violation.is_some());
    println!("{}", all.violation.unwrap_or_default());
    let (states, depth) = (all.states, all.depth);
    let last = format!("states={states} depth={depth} violations={violations}");
    println!("{last}");
    assert_eq!(violations, 0, "{last}");
}

/// All ways to deal out the faults, as many at a time as there are processors.
fn all_plans(space: Space) -> Found {
    let plans = plans(space.clients, space.users, space.faults);
    let plans: Vec<_> = plans.into_iter().collect();
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Found::default()));
    let work = || {
        while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            let mut found = search(World::new(space.users, plan), Order::Reduced, |_| {});
            if std::env::var_os("SEARCH_PLANS").is_some() {
                println!("{plan:?}: {found:?}, {:.1?}", began.elapsed());
            }
            found.violation = found.violation.map(|why| format!("{plan:?}\n{why}"));
            let failed = found.violation.is_some();
            all.lock().unwrap().add(found);
            if failed {
                next.store(plans.len(), Ordering::Relaxed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    all.into_inner().unwrap()
}
