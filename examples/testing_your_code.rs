//! A program that works under a lock, and its unit tests, which need no ZooKeeper.
//!
//! ```text
//! cargo test --example testing_your_code
//! cargo run --example testing_your_code
//! ```
//!
//! The tests have a server in memory, and time that is paused: what takes ten
//! seconds there takes none here. The program itself, which counts to three under
//! the lock, uses the servers of its argument, or such a server too.

use std::time::Duration;

use zklock::embedded::EmbeddedServer;
use zklock::{Error, Lock, Session};

/// Counts to three, a second each, as long as the lock is held.
async fn count(session: &Session, mut say: impl FnMut(u32)) -> Result<(), Error> {
    let lock = Lock::new(session, "/examples/count")?;
    let guard = lock.acquire().timeout(Duration::from_secs(5)).await?;
    for number in 1..=3 {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => say(number),
            reason = guard.lost() => return Err(reason.into()),
        }
    }
    Ok(guard.release().await?)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let server = EmbeddedServer::in_memory()?;
    let builder = match std::env::args().nth(1) {
        Some(servers) => Session::builder(servers),
        None => server.session(),
    };
    let session = builder.connect().await?;
    count(&session, |number| println!("{number}")).await?;
    session.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zklock::{AcquireError, LostReason};

    #[tokio::test(start_paused = true)]
    async fn it_leaves_nothing_behind() {
        let server = EmbeddedServer::in_memory().unwrap();
        let session = server.session().connect().await.unwrap();
        let mut said = Vec::new();
        count(&session, |number| said.push(number)).await.unwrap();
        assert_eq!(said, [1, 2, 3]);
        session.close().await;
        assert!(server.sessions().await.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn it_gives_up_if_another_holds_the_lock() {
        let server = EmbeddedServer::in_memory().unwrap();
        let other = server.session().connect().await.unwrap();
        let held = Lock::new(&other, "/examples/count")
            .unwrap()
            .acquire()
            .await;
        let session = server.session().connect().await.unwrap();
        let error = count(&session, |_| panic!("without the lock")).await;
        assert_eq!(error, Err(AcquireError::TimedOut.into()));
        held.unwrap().release().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn it_stops_if_the_lock_is_lost() {
        let server = EmbeddedServer::in_memory().unwrap();
        let session = server.session().connect().await.unwrap();
        let mut said = Vec::new();
        let (counted, ()) = tokio::join!(count(&session, |number| said.push(number)), async {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            let [id] = server.sessions().await[..] else {
                panic!("one session");
            };
            server.expire(id).await;
        });
        assert!(
            matches!(counted, Err(Error::Lost(LostReason::Session(_)))),
            "{counted:?}"
        );
        assert_eq!(said, [1]);
    }
}
