//! A holder that is paused for longer than its lock lasts, and a database that
//! refuses what it writes when it wakes.
//!
//! ```text
//! cargo run -p fencing
//! ```
//!
//! The row keeps the highest fencing token that has written it, and every
//! `UPDATE` compares its own in the `WHERE` clause: one statement, so that nothing
//! comes between the look and the write. For what one process protects in its own
//! memory, `zklock::HighWater` does the same.
//!
//! It prints who writes with which token, and that the late write changes no row.
//! The servers can be given as an argument; without it there is one in memory.

use std::error::Error;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::runtime::{Builder, Runtime};
use zklock::embedded::EmbeddedServer;
use zklock::{FencingToken, Guard, Lock, Session};

/// What the lock protects. It knows nothing of locks, but of tokens.
struct Account(Connection);

impl Account {
    fn open() -> rusqlite::Result<Self> {
        let database = Connection::open_in_memory()?;
        database.execute_batch(
            "CREATE TABLE account (balance INTEGER, token INTEGER);
             INSERT INTO account VALUES (100, 0);",
        )?;
        Ok(Self(database))
    }

    /// Sets the balance, unless a holder of a higher token has been here.
    fn set(&self, who: &str, balance: i64, token: FencingToken) -> Result<(), Box<dyn Error>> {
        let rows = self.0.execute(
            "UPDATE account SET balance = ?1, token = ?2 WHERE token <= ?2",
            params![balance, i64::try_from(token.get())?],
        )?;
        let fate = if rows == 1 { "written" } else { "refused" };
        println!("{who} sets the balance to {balance} with token {token}: {fate}");
        Ok(())
    }

    fn balance(&self) -> rusqlite::Result<i64> {
        let sql = "SELECT balance FROM account";
        self.0.query_row(sql, [], |row| row.get(0))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let background = Runtime::new()?;
    let server = background.block_on(serve())?;
    let servers = std::env::args().nth(1).unwrap_or(server.connect_string());
    let account = Account::open()?;

    // Each has a runtime of its own, so that one can be paused as a whole.
    let (first, second) = (runtime()?, runtime()?);
    let paused = first.block_on(acquire(&servers))?;
    let balance = account.balance()?;
    println!("the first reads a balance of {balance}, and is paused with the lock held");
    thread::sleep(Duration::from_millis(200));

    let guard = second.block_on(acquire(&servers))?;
    account.set("the second", account.balance()? - 70, guard.fencing_token())?;

    println!("the first wakes, and writes before it looks whether it still holds");
    account.set("the first", balance - 50, paused.fencing_token())?;
    if let Err(reason) = paused.check() {
        println!("the first looks now: {reason}");
    }
    println!("the balance is {}", account.balance()?);
    second.block_on(guard.release())?;
    Ok(())
}

/// A server whose sessions are short, so that nobody waits for long.
async fn serve() -> std::io::Result<EmbeddedServer> {
    let server = EmbeddedServer::builder().tick(Duration::from_millis(500));
    server.start().await
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Asks for the shortest session timeout that the servers grant.
async fn acquire(servers: &str) -> Result<Guard, zklock::Error> {
    let builder = Session::builder(servers).session_timeout(Duration::from_secs(1));
    let session = builder.connect().await?;
    Ok(Lock::new(&session, "/examples/fencing")?.acquire().await?)
}
