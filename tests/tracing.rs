//! What a session and its locks tell `tracing`, and what they must not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::eventually;
use support::zookeeper::ZooKeeper;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use zklock::{Lock, Session};

/// Keeps what it is told as lines.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn push(&self, head: &str, record: impl FnOnce(&mut Line)) {
        let mut line = Line(head.to_owned());
        record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }

    fn contain(&self, part: &str) -> bool {
        self.0
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.contains(part))
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "zklock"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.push(span.metadata().name(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        self.push(event.metadata().level().as_str(), |line| event.record(line));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_life_of_a_lock_is_told_without_secrets() {
    let lines = Lines::default();
    tracing::subscriber::set_global_default(lines.clone()).unwrap();

    let mut server = ZooKeeper::start();
    let builder = Session::builder(server.address()).add_auth("digest", "alice:secret");
    let session = builder
        .session_timeout(Duration::from_secs(20))
        .connect()
        .await
        .unwrap();
    let guard = Lock::new(&session, "/traced")
        .unwrap()
        .acquire()
        .await
        .unwrap();
    let (znode, token) = (guard.znode().to_owned(), guard.fencing_token());
    server.kill();
    eventually("the loss is told", || {
        lines.contain("INFO message=session event=suspended: ")
    });
    server.restart();
    eventually("the return is told", || {
        lines.contain("event=re-attached with a timeout of 20s")
    });
    guard.release().await.unwrap();
    session.close().await;

    for part in [
        &format!("session servers={}", server.address()),
        &format!("DEBUG message=dialing server={}", server.address()),
        "event=established 0x",
        &format!("INFO message=lock granted znode={znode} token={token}"),
        "INFO message=lock not held any more reason=it was released",
        "event=stopped: closed",
    ] {
        assert!(
            lines.contain(part),
            "{part:?} in {:#?}",
            lines.0.lock().unwrap()
        );
    }
    assert!(!lines.contain("secret"));
}
