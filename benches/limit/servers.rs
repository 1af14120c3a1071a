//! The server that both are measured against: a real one, or the embedded one
//! in a process of its own.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::zookeeper::ZooKeeper;
use zklock::embedded::EmbeddedServer;

/// An hour, so that no session has to be kept alive.
const LONGEST_SESSION: Duration = Duration::from_secs(3600);
/// Makes this program the embedded server.
const SERVE: &str = "ZKLOCK_BENCH_SERVE";

pub enum Server {
    Real(ZooKeeper),
    Embedded { process: Child, address: String },
}

impl Server {
    pub fn start(embedded: bool) -> Self {
        if embedded {
            Self::start_embedded()
        } else {
            let builder = ZooKeeper::builder().max_session_timeout(LONGEST_SESSION);
            // One listing of a long queue must not be refused.
            Self::Real(builder.property("jute.maxbuffer", "16777215").start())
        }
    }

    fn start_embedded() -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .env(SERVE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut address)
            .unwrap();
        Self::Embedded {
            process,
            address: address.trim().to_owned(),
        }
    }

    pub fn address(&self) -> String {
        match self {
            Self::Real(server) => server.address(),
            Self::Embedded { address, .. } => address.clone(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Self::Embedded { process, .. } = self {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// If this process is to be the server, it is, until its parent is gone.
pub fn serve_if_asked() -> bool {
    if env::var_os(SERVE).is_none() {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let builder = EmbeddedServer::builder().max_session_timeout(LONGEST_SESSION);
        let server = builder.start().await.unwrap();
        println!("{}", server.connect_string());
        // The pipe at standard input closes with the parent.
        let parent = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
        let _ = parent.await;
        drop(server);
    });
    true
}
