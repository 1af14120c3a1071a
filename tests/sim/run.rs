//! Running schedules, and showing the first that fails.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::panics;
use crate::plan::Fault;
use crate::report::{Counts, History};
use crate::world::World;

/// So many are run by `cargo test`, where nothing is optimised.
const RUNS: u64 = 400;
/// As many of a history's last lines are shown.
const SHOWN: usize = 400;

/// Runs as many as the environment says.
pub(crate) fn schedules() {
    if let Some(seed) = number("SIM_SEED") {
        return replay(seed);
    }
    let first = number("SIM_FIRST").unwrap_or(0);
    let runs = number("SIM_RUNS").unwrap_or(RUNS);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let (counts, failure) = run_all(first, first + runs, threads);
    report(&counts, began.elapsed(), threads);
    let violations = u64::from(failure.is_some());
    println!(
        "schedules={} faults={} grants={} violations={violations}",
        counts.of("run", "schedules"),
        counts.all_of("faults"),
        counts.of("told", "granted"),
    );
    if let Some((seed, why)) = failure {
        println!("the {}th seed fails: {why}", seed - first + 1);
        replay(seed);
    }
    all_happened(runs, &counts);
}

/// Stops at the first that fails.
fn run_all(first: u64, last: u64, threads: usize) -> (Counts, Option<(u64, String)>) {
    let (next, failed) = (AtomicU64::new(first), AtomicBool::new(false));
    let (counts, failure) = (Mutex::new(Counts::default()), Mutex::new(None));
    let work = || {
        let mut own = Counts::default();
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= last {
                break;
            }
            match one(seed, None) {
                Ok(seen) => own.merge(seen),
                Err(why) => {
                    failed.store(true, Ordering::Relaxed);
                    // All before it were begun, and are ended: this is the first.
                    let mut first = failure.lock().unwrap();
                    if first.as_ref().is_none_or(|(other, _)| seed < *other) {
                        *first = Some((seed, why));
                    }
                }
            }
        }
        counts.lock().unwrap().merge(own);
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    (counts.into_inner().unwrap(), failure.into_inner().unwrap())
}

fn report(counts: &Counts, took: Duration, threads: usize) {
    let (runs, seconds) = (counts.of("run", "schedules"), took.as_secs_f64());
    let ends = counts.of("claims", "ends of claims");
    let told = counts.of("claims", "events of a claim's end");
    print!("{counts}");
    println!(
        "{runs} schedules in {seconds:.1} s: {:.0} a second and core",
        runs as f64 / seconds / threads as f64
    );
    println!(
        "{:.2} clients are told of the end of a claim, its own included",
        told as f64 / ends.max(1) as f64
    );
}

/// Each kind of fault, and of what clients may meet, has happened often enough.
fn all_happened(runs: u64, counts: &Counts) {
    let enough = |group, what: &str, one_in: u64| {
        let times = counts.of(group, what);
        assert!(times >= runs / one_in, "{group}: {times} times {what}");
    };
    for fault in Fault::ALL {
        enough("faults", &format!("{fault:?}"), 20);
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
        ("sweep", "ok"),
    ] {
        enough("requests", &format!("{request}: {ending}"), 100);
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
        enough("told", told, 100);
    }
    enough("requests", "end head: ok", 1000);
    enough("told", "lost: Session(Unreachable)", 1000);
}

fn one(seed: u64, history: Option<History>) -> Result<Counts, String> {
    panics::catch(|| {
        let mut world = World::new(seed, history);
        world.run();
        world.counts
    })
}

/// Runs it again, and writes down what happens.
fn replay(seed: u64) {
    let history = History::default();
    let result = one(seed, Some(History::clone(&history)));
    let lines = history.lock().unwrap();
    let shown = number("SIM_SHOWN").map_or(SHOWN, |shown| shown as usize);
    for line in lines.iter().skip(lines.len().saturating_sub(shown)) {
        println!("{line}");
    }
    match result {
        Ok(counts) => println!("{counts}"),
        Err(why) => panic!("SIM_SEED={seed}: {why}"),
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().expect("a number"))
}
