//! The test that the README shows, word for word; `tests/docs.rs` compares them.

use zklock::embedded::EmbeddedServer;
use zklock::{Lock, LostReason};

#[tokio::test(start_paused = true)]
async fn a_holder_stops_in_time() -> Result<(), Box<dyn std::error::Error>> {
    let server = EmbeddedServer::in_memory()?;
    let session = server.session().connect().await?;
    let guard = Lock::new(&session, "/my/locks")?.acquire().await?;

    server.pause().await;
    assert_eq!(guard.lost().await, LostReason::LeaseExpired);
    Ok(())
}
