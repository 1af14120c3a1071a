//! Running schedules, and showing the first that fails.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::Instant;

use crate::plan::Fault;
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
    let last = first + number("SIM_SCHEDULES").unwrap_or(1000);
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
    all_happened(servers, last - first, &counts);
}

/// Of each kind of trouble there has been enough, if enough was run.
fn all_happened(servers: usize, schedules: u64, counts: &Counts) {
    let enough = |group, what: &str, one_in: u64| {
        let times = counts.of(group, what);
        assert!(times >= schedules / one_in, "{group}: {times} times {what}");
    };
    for fault in Fault::ALL {
        if servers > 1 || !fault.needs_ensemble() {
            enough("faults", &format!("{fault:?}"), 5);
        }
    }
    for (request, ending) in [
        ("create", "maybe sent"),
        ("create", "not sent"),
        ("delete", "maybe sent"),
        ("list", "maybe sent"),
        ("sync", "maybe sent"),
        ("watch own", "maybe sent"),
        ("watch own", "refused"),
        ("watch ahead", "refused"),
    ] {
        enough("requests", &format!("{request}: {ending}"), 50);
    }
    for told in [
        "failed: closed",
        "failed: timed out",
        "failed: would block",
        "lost: ClaimDeleted",
        "lost: Closed",
        "lost: LeaseExpired",
        "lost: TtlExpired",
        "place lost",
    ] {
        enough("told", told, 20);
    }
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
    let shown = number("SIM_SHOWN").map_or(SHOWN, |shown| shown as usize);
    for line in lines.iter().skip(lines.len().saturating_sub(shown)) {
        println!("{line}");
    }
    match result {
        Ok(counts) => println!("{counts}"),
        Err(why) => panic!("SIM_SEED={seed} on {servers} server(s): {why}"),
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}

/// A panic of a schedule is a result.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let text = info.to_string();
            if text.contains("SIM_SEED=") {
                before(info);
            }
            PANIC.replace(text);
        }));
    });
}
