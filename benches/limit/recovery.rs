//! After a restart of the server: how long until the first success, counted from
//! when the server answers a handshake again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use zklock::{Lock, Session};

use crate::Setup;
use crate::report::{Report, micros, quantile};
use crate::support::zookeeper::ZooKeeper;

/// After so long a success is wanted, by the median.
const WANTED: Duration = Duration::from_millis(300);
/// For a session that outlives the outage.
const SESSION_TIMEOUT: Duration = Duration::from_secs(40);

pub async fn recovery(setup: &Setup, report: &mut Report) {
    let mut server = ZooKeeper::start();
    let builder = Session::builder(server.address()).session_timeout(SESSION_TIMEOUT);
    let session = builder.connect().await.unwrap();
    let lock = Lock::new(&session, "/recovery").unwrap();
    let mut samples = Vec::new();
    for _ in 0..setup.scaled(10).max(2) {
        lock.acquire().await.unwrap().release().await.unwrap();
        server.kill();
        // As many attempts as it takes for the pauses between them to be long.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let address = server.address();
        let (serves, serving) = mpsc::channel();
        thread::spawn(move || serves.send(first_handshake(&address)));
        let restarted = tokio::task::spawn_blocking(move || {
            server.restart();
            server
        });
        let attempt = lock.acquire().timeout(Duration::from_secs(60));
        attempt.await.unwrap().release().await.unwrap();
        let success = Instant::now();
        server = restarted.await.unwrap();
        samples.push(micros(
            success.saturating_duration_since(serving.recv().unwrap()),
        ));
    }
    let (median, worst) = (quantile(&samples, 0.5) / 1e3, quantile(&samples, 1.0) / 1e3);
    report.note(&format!(
        "recovery: first success {median:.0} ms after the server serves again (median), {worst:.0} ms at the most"
    ));
    if median > WANTED.as_secs_f64() * 1e3 {
        report
            .missed
            .push(format!("recovery: {median:.0} ms, wanted <= {WANTED:?}"));
    }
    session.close().await;
}

/// When the server at `address` first gave a session.
fn first_handshake(address: &str) -> Instant {
    loop {
        if greeted(address).is_ok_and(|granted| granted) {
            return Instant::now();
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn greeted(address: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    let mut hello = Vec::new();
    hello.extend(45_i32.to_be_bytes());
    hello.extend([0; 12]);
    hello.extend(1_000_i32.to_be_bytes());
    hello.extend([0; 8]);
    hello.extend(16_i32.to_be_bytes());
    hello.extend([0; 17]);
    // A server that is only about to serve may take it and not answer.
    stream.set_read_timeout(Some(Duration::from_millis(20)))?;
    stream.write_all(&hello)?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    Ok(answer[8..12] != [0; 4])
}
