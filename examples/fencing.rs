//! A holder that is paused for longer than its lock lasts, and what keeps it
//! from doing harm when it wakes.
//!
//! Takes the servers as its argument, `localhost:2181` unless given.

use std::thread;
use std::time::Duration;

use zklock::{Error, FencingToken, Guard, HighWater, Lock, Session, StaleToken};

/// The least that a server with a tick of two seconds grants.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);

/// What the lock protects. It knows nothing of locks, but of tokens.
#[derive(Default)]
struct Ledger {
    seen: HighWater,
}

impl Ledger {
    fn write(&self, entry: &str, token: FencingToken) -> Result<(), StaleToken> {
        self.seen.admit(token)?;
        println!("ledger: {entry:?} written with token {token}");
        Ok(())
    }
}

fn main() -> Result<(), Error> {
    let servers = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "localhost:2181".into());
    let ledger = Ledger::default();

    // Each has a runtime of its own, so that one can be paused as a whole.
    let (first, second) = (runtime(), runtime());
    let paused = first.block_on(acquire(&servers))?;
    write(&ledger, "the first was here", &paused);
    println!("the first is paused, with the lock held");
    thread::sleep(Duration::from_millis(200));

    let guard = second.block_on(acquire(&servers))?;
    write(&ledger, "the second was here", &guard);

    println!("the first wakes, and writes before it looks whether it still holds");
    write(&ledger, "the first is late", &paused);
    if let Err(reason) = paused.check() {
        println!("the first looks now: {reason}");
    }
    second.block_on(guard.release())?;
    Ok(())
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime of one thread needs no more than this one")
}

async fn acquire(servers: &str) -> Result<Guard, Error> {
    let builder = Session::builder(servers).session_timeout(SESSION_TIMEOUT);
    let session = builder.connect().await?;
    Ok(Lock::new(&session, "/examples/fencing")?.acquire().await?)
}

fn write(ledger: &Ledger, entry: &str, guard: &Guard) {
    if let Err(error) = ledger.write(entry, guard.fencing_token()) {
        println!("ledger: {entry:?} refused: {error}");
    }
}
