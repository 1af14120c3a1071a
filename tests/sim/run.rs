//! Running schedules, and showing the first that fails.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::Instant;

use crate::report::{Counts, History};
use crate::world::World;

/// As many of a history's last lines are shown.
const SHOWN: usize = 400;

thread_local! {
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Runs as many as the environment says on this many servers.
pub(crate) fn schedules(servers: usize) {
    catch_panics();
    if let Some(seed) = number("SIM_SEED") {
        return replay(servers, seed);
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let last = first + number("SIM_SCHEDULES").unwrap_or(2000);
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let (counts, failure) = (Mutex::new(Counts::default()), Mutex::new(None));
    let began = Instant::now();
    let work = || {
        let mut own = Counts::default();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last {
                break;
            }
            match one(servers, seed, None) {
                Ok(seen) => own.merge(seen),
                Err(why) => {
                    failed.store(true, Ordering::Relaxed);
                    *failure.lock().unwrap() = Some((seed, why));
                }
            }
        }
        counts.lock().unwrap().merge(own);
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    if let Some((seed, why)) = failure.into_inner().unwrap() {
        println!("schedule {} of {}: {why}", seed - first + 1, last - first);
        replay(servers, seed);
    }
    let counts = counts.into_inner().unwrap();
    println!("{servers} server(s), in {:?}\n{counts}", began.elapsed());
}

fn one(servers: usize, seed: u64, history: Option<History>) -> Result<Counts, String> {
    let run = || {
        let mut world = World::new(servers, seed, history);
        world.run();
        world.counts
    };
    catch_unwind(AssertUnwindSafe(run)).map_err(|_| PANIC.take())
}

/// Runs it again, and writes down what happens.
fn replay(servers: usize, seed: u64) {
    let history = History::default();
    let result = one(servers, seed, Some(History::clone(&history)));
    let lines = history.lock().unwrap();
    for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
        println!("{line}");
    }
    match result {
        Ok(counts) => println!("{counts}"),
        Err(why) => panic!("SIM_SEED={seed} on {servers} server(s): {why}"),
    }
}

pub(crate) fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// What the last one said.
pub(crate) fn take_panic() -> String {
    PANIC.take()
}

/// A panic of a schedule is a result.
pub(crate) fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if text.contains("SIM_SEED=") || text.contains("SIM_SEARCH") {
                before(info);
            }
            PANIC.replace(text);
        }));
    });
}
