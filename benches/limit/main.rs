//! Speed beside the raw protocol: zklock and a minimal blocking program take
//! turns on one server, and what counts is the ratio.
//!
//! ```text
//! cargo bench --bench limit -- [--json] [--quick] [--server embedded] [MEASURE...]
//! ```
//!
//! The measures are cycle, handoff, drain, throughput, codec, recovery and scale;
//! all of them unless named. Whatever shares a session runs on one thread; sessions of
//! their own have threads of their own, as processes would.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "a measurement fails by panicking"
)]

#[path = "../../tests/support/mod.rs"]
mod support;

mod codec;
mod contender;
mod counting;
mod drain;
mod latency;
mod raw;
mod recovery;
mod report;
mod scale;
mod servers;
mod throughput;

use std::env;
use std::time::Duration;

use report::Report;
use servers::Server;
use zklock::Session;

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// What all measures need to know.
pub struct Setup {
    pub address: String,
    pub embedded: bool,
    quick: bool,
}

impl Setup {
    /// A session that has little to do to stay alive.
    pub async fn session(&self) -> Session {
        let builder = Session::builder(&*self.address).session_timeout(Duration::from_secs(60));
        builder.connect().await.unwrap()
    }

    /// As many, or a tenth of it for a quick look.
    pub fn scaled(&self, count: usize) -> usize {
        if self.quick {
            count.div_ceil(10)
        } else {
            count
        }
    }
}

/// Lets what is under way go on.
pub async fn settle(time: Duration) {
    tokio::time::sleep(time).await;
}

fn main() {
    if servers::serve_if_asked() {
        return;
    }
    let mut args: Vec<String> = env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = args.len();
        args.retain(|arg| arg != name);
        args.len() < before
    };
    // Cargo says so of itself.
    flag("--bench");
    let (json, quick) = (flag("--json"), flag("--quick"));
    let embedded = flag("embedded") && flag("--server");
    let wanted = |name: &str| args.is_empty() || args.iter().any(|arg| arg == name);

    let server = Server::start(embedded);
    let setup = Setup {
        address: server.address(),
        embedded,
        quick,
    };
    let mut report = Report::new(json);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(&setup, wanted, &mut report));
    drop(runtime);
    drop(server);
    for missed in &report.missed {
        report.note(&format!("missed: {missed}"));
    }
}

async fn measure(setup: &Setup, wanted: impl Fn(&str) -> bool, report: &mut Report) {
    if wanted("codec") {
        codec::codec(setup, report);
    }
    if wanted("cycle") {
        latency::cycle(setup, report).await;
    }
    for waiters in [2, 10, 100] {
        if wanted("handoff") {
            latency::hand_off(setup, waiters, report);
        }
    }
    for waiters in [10, 100, 1_000] {
        if wanted("drain") {
            drain::drain(setup, waiters, report);
            drain::drain_shared(setup, waiters, report).await;
        }
    }
    for tasks in [1, 16, 256] {
        if wanted("throughput") {
            throughput::throughput(setup, tasks, report).await;
        }
    }
    if wanted("recovery") && !setup.embedded {
        recovery::recovery(setup, report).await;
    }
    if wanted("scale") {
        scale::scale(setup, report).await;
    }
}
