//! Leader election: whoever holds the lock leads.
//!
//! ```text
//! cargo run --example leader
//! ```
//!
//! Three candidates stand for election, each with a session of its own. The first
//! steps down, the second loses its session, and stands again behind the third.
//! It prints who leads, in which term, and why no longer. The term is the fencing
//! token of the lock: it rises from leader to leader, so that what they all write
//! to can refuse one that does not know yet that it leads no more.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use zklock::embedded::EmbeddedServer;
use zklock::{Lock, Session, SessionState};

/// Who leads now.
type News = mpsc::UnboundedSender<&'static str>;

struct Candidate {
    session: Session,
    lock: Lock,
    resign: Arc<Notify>,
    task: JoinHandle<Result<(), zklock::Error>>,
}

impl Candidate {
    /// Stands for election; returns once it is in the queue behind the others.
    async fn stand(
        name: &'static str,
        server: &EmbeddedServer,
        news: &News,
    ) -> Result<Self, Box<dyn Error>> {
        let session = server.session().connect().await?;
        let lock = Lock::new(&session, "/examples/leader")?;
        let ahead = lock.queue().await?.contenders.len();
        let resign = Arc::new(Notify::new());
        let campaign = campaign(name, lock.clone(), Arc::clone(&resign), news.clone());
        let task = tokio::spawn(campaign);
        while lock.queue().await?.contenders.len() == ahead {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self {
            session,
            lock,
            resign,
            task,
        })
    }

    async fn resign(self) -> Result<(), Box<dyn Error>> {
        self.resign.notify_one();
        Ok(self.task.await??)
    }
}

/// Waits to lead, leads, and waits again if it loses the lead.
async fn campaign(
    name: &'static str,
    lock: Lock,
    resign: Arc<Notify>,
    news: News,
) -> Result<(), zklock::Error> {
    loop {
        let guard = lock.acquire().owner(name).await?;
        println!("{name} leads in term {}", guard.fencing_token());
        let _ = news.send(name);
        // A leader does its work here, and stops when it is told to.
        tokio::select! {
            reason = guard.lost() => println!("{name} leads no more: {reason}"),
            () = resign.notified() => {
                println!("{name} steps down");
                return Ok(guard.release().await?);
            }
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let server = EmbeddedServer::in_memory()?;
    let (news, mut leaders) = mpsc::unbounded_channel();
    let red = Candidate::stand("red", &server, &news).await?;
    let green = Candidate::stand("green", &server, &news).await?;
    let blue = Candidate::stand("blue", &server, &news).await?;
    assert_eq!(leaders.recv().await, Some("red"));

    red.resign().await?;
    assert_eq!(leaders.recv().await, Some("green"));

    // By the server's word alone: green learns of it when blue leads already. In
    // life a leader that hears of no server is told before its session ends.
    if let SessionState::Connected { session_id, .. } = green.session.state() {
        server.expire(session_id).await;
    }
    assert_eq!(leaders.recv().await, Some("blue"));
    while blue.lock.queue().await?.contenders.len() < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    blue.resign().await?;
    assert_eq!(leaders.recv().await, Some("green"));
    green.resign().await
}
