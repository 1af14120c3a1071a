//! The connection cut at every byte of an exchange with a server, real or
//! embedded, in either direction.
//!
//! The exchange (connect, acquire, release, close) is recorded first; the cases
//! are generated from the recording, so that no byte of it can be missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use support::raw::RawClient;
use support::server::{TestServer, on_both_servers};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use zklock::{Lock, Session};

const LONG: Duration = Duration::from_secs(60);
/// Cases that run at the same time.
const AT_ONCE: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    ToServer,
    ToClient,
}

/// After how many bytes in which direction the first connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cut {
    direction: Direction,
    after: usize,
}

/// A proxy that passes bytes on, counts them, and makes one cut.
struct Cutter {
    address: String,
    passed: Arc<[AtomicUsize; 2]>,
    was_cut: watch::Receiver<bool>,
}

impl Cutter {
    async fn start(server: String, cut: Option<Cut>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (cuts, was_cut) = watch::channel(false);
        let cutter = Self {
            address: listener.local_addr().unwrap().to_string(),
            passed: Arc::default(),
            was_cut,
        };
        let passed = Arc::clone(&cutter.passed);
        tokio::spawn(async move {
            let mut cut = cut;
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                pass_both(client, server, cut.take(), &passed, &cuts).await;
            }
        });
        cutter
    }

    fn passed(&self, direction: Direction) -> usize {
        self.passed[direction as usize].load(Ordering::SeqCst)
    }

    /// Waits for the cut. The client may have come to its end first: with the
    /// last bytes of all passed on, it needs nothing more of the proxy.
    async fn cut(&mut self) {
        let _ = self.was_cut.wait_for(|cut| *cut).await.unwrap();
    }
}

/// Passes bytes both ways until an end or the cut, which closes both sides.
async fn pass_both(
    client: TcpStream,
    server: TcpStream,
    cut: Option<Cut>,
    passed: &[AtomicUsize; 2],
    cuts: &watch::Sender<bool>,
) {
    let limit = |direction| {
        let cut = cut.filter(|cut| cut.direction == direction);
        cut.map_or(usize::MAX, |cut| cut.after)
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let up = Direction::ToServer;
    let down = Direction::ToClient;
    let cut = tokio::select! {
        cut = pass(from_client, to_server, limit(up), &passed[up as usize]) => cut,
        cut = pass(from_server, to_client, limit(down), &passed[down as usize]) => cut,
    };
    if cut {
        cuts.send_replace(true);
    }
}

/// Passes up to `limit` bytes. Returns whether the limit ended it.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    limit: usize,
    passed: &AtomicUsize,
) -> bool {
    let mut left = limit;
    let mut buffer = [0; 4096];
    while left > 0 {
        let room = buffer.len().min(left);
        match from.read(&mut buffer[..room]).await {
            Ok(read) if read > 0 => {
                // The peer may be gone already; then the read says so next.
                let _ = to.write_all(&buffer[..read]).await;
                passed.fetch_add(read, Ordering::SeqCst);
                left -= read;
            }
            _ => return false,
        }
    }
    true
}

/// The exchange. Whatever is cut, it must come to the same end.
async fn exchange(address: &str, path: &str) {
    let builder = Session::builder(address).session_timeout(Duration::from_secs(30));
    let session = builder.connect_timeout(LONG).connect().await.unwrap();
    let lock = Lock::new(&session, path).unwrap();
    let guard = lock.acquire().timeout(LONG).await.unwrap();
    assert_eq!(guard.check(), Ok(()));
    guard.release().await.unwrap();
    session.close().await;
}

async fn every_byte_of_an_exchange_can_be_the_last(server: &'static TestServer) {
    let path = |case: usize| format!("/cuts/{case:06}");
    let mut raw = RawClient::connect(&server.address());
    raw.create_all("/cuts/000000");

    let recording = Cutter::start(server.address(), None).await;
    exchange(&recording.address, &path(0)).await;
    let (up, down) = (
        recording.passed(Direction::ToServer),
        recording.passed(Direction::ToClient),
    );
    assert!(up > 300 && down > 200, "{up} bytes up, {down} bytes down");

    let cuts: BTreeSet<Cut> = (0..=up)
        .map(|after| Cut {
            direction: Direction::ToServer,
            after,
        })
        .chain((0..=down).map(|after| Cut {
            direction: Direction::ToClient,
            after,
        }))
        .collect();
    let total = cuts.len();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut cases = JoinSet::new();
    for (case, cut) in (1..).zip(cuts) {
        raw.create(&path(case), b"", 0).unwrap();
        let (turns, address, path) = (Arc::clone(&turns), server.address(), path(case));
        cases.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let mut cutter = Cutter::start(address, Some(cut)).await;
            let end = tokio::time::timeout(LONG, exchange(&cutter.address, &path)).await;
            end.unwrap_or_else(|_| panic!("{cut:?}: no end within {LONG:?}"));
            let made = tokio::time::timeout(LONG, cutter.cut()).await;
            made.unwrap_or_else(|_| panic!("{cut:?} was never made"));
            path
        });
    }
    let mut raw = RawClient::connect(&server.address());
    let mut done = 0;
    while let Some(case) = cases.join_next().await {
        let path = case.unwrap();
        assert_eq!(
            raw.children(&path),
            Some(vec![]),
            "{path}: no claim is left"
        );
        done += 1;
    }
    assert_eq!(done, total);
    println!("{total} cuts: {up} bytes up and {down} bytes down, before and after each");
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    every_byte_of_an_exchange_can_be_the_last;
}
