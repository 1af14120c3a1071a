//! One ensemble for the tests of single faults, which take turns.

use std::sync::LazyLock;
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};
use zklock::{Guard, Lock, Session};

use crate::support::ensemble::{Ensemble, SERVERS};

/// Far more than any step takes; a test that waits so long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A server that is out of touch with its leader serves its clients on for
/// eight seconds, so that nothing but the lease warns them.
const SYNC_LIMIT: u32 = 40;

static ENSEMBLE: LazyLock<Mutex<Ensemble>> =
    LazyLock::new(|| Mutex::new(Ensemble::builder().sync_limit(SYNC_LIMIT).start()));

/// The ensemble, complete, whatever the test before has left.
pub(crate) async fn ensemble() -> MutexGuard<'static, Ensemble> {
    let mut ensemble = ENSEMBLE.lock().await;
    ensemble.heal();
    for index in 0..SERVERS {
        if !ensemble.runs(index) {
            ensemble.restart(index);
        }
    }
    ensemble.wait_until_complete();
    ensemble
}

pub(crate) async fn connect(servers: String, timeout: Duration) -> Session {
    let builder = Session::builder(servers).session_timeout(timeout);
    builder.connect().await.unwrap()
}

pub(crate) async fn acquire(lock: &Lock) -> Guard {
    lock.acquire().timeout(LONG).await.unwrap()
}
