//! A proxy on loopback that passes frames one by one, and stops at one of them
//! until it is told how to go on.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::timeout;
use zklock::proto::{Request, xid};

use crate::cases::{Position, Way};

/// The length before a frame, in bytes.
const PREFIX: usize = 4;

/// A frame: the how manyeth of its way it is, and what it holds. The handshake
/// and heartbeats do not count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Passage {
    pub(crate) way: Way,
    pub(crate) nth: usize,
    pub(crate) what: String,
}

/// Where to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    pub(crate) way: Way,
    pub(crate) nth: usize,
    pub(crate) position: Position,
}

/// How to go on after a stop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    Cut,
}

pub(crate) struct Gate {
    pub(crate) address: String,
    passed: watch::Receiver<Vec<Passage>>,
    open: watch::Sender<bool>,
}

/// The test's side of a stop.
pub(crate) struct Guardian {
    /// The frame at which the gate has stopped. Nothing passes meanwhile.
    pub(crate) stopped: oneshot::Receiver<Passage>,
    pub(crate) verdict: oneshot::Sender<Verdict>,
}

/// The stop that is still to be made.
struct Ahead {
    stop: Stop,
    stopped: oneshot::Sender<Passage>,
    verdict: oneshot::Receiver<Verdict>,
}

/// What both ways share; a frame passes while it is locked.
struct Log {
    ahead: Option<Ahead>,
    passed: watch::Sender<Vec<Passage>>,
    /// How many frames have come, each way.
    counts: [usize; 2],
    /// What was sent and not answered; `None` for what does not count.
    sent: VecDeque<Option<String>>,
}

impl Gate {
    /// Stops on the first connection only; later ones pass.
    pub(crate) async fn start(server: String, stop: Option<Stop>) -> (Self, Guardian) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (tell_stopped, stopped) = oneshot::channel();
        let (verdict, hear_verdict) = oneshot::channel();
        let (tell_passed, passed) = watch::channel(Vec::new());
        let (open, is_open) = watch::channel(true);
        let log = Log {
            ahead: stop.map(|stop| Ahead {
                stop,
                stopped: tell_stopped,
                verdict: hear_verdict,
            }),
            passed: tell_passed,
            counts: [0; 2],
            sent: VecDeque::new(),
        };
        tokio::spawn(async move {
            let mut log = Some(log);
            while let Ok((mut client, _)) = listener.accept().await {
                if !*is_open.borrow() {
                    continue;
                }
                let mut server = TcpStream::connect(&server).await.unwrap();
                // However a connection ends, there may be another one.
                let _ = match log.take() {
                    Some(log) => pass_frames(client, server, log).await,
                    None => copy_bidirectional(&mut client, &mut server).await.map(drop),
                };
            }
        });
        let gate = Self {
            address,
            passed,
            open,
        };
        (gate, Guardian { stopped, verdict })
    }

    /// From now on closes new connections at once, or lets them in again.
    pub(crate) fn open(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// Waits until so many frames have passed.
    pub(crate) async fn passed(&mut self, count: usize) {
        let enough = |passed: &Vec<Passage>| passed.len() >= count;
        // An error says that the connection is gone: they never will.
        if self.passed.wait_for(enough).await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until nothing passes any more, and returns all that has.
    pub(crate) async fn quiet(&mut self, time: Duration) -> Vec<Passage> {
        while let Ok(Ok(())) = timeout(time, self.passed.changed()).await {}
        self.passed.borrow().clone()
    }
}

async fn pass_frames(client: TcpStream, server: TcpStream, log: Log) -> io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let log = Mutex::new(log);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        end = pass(Way::ToServer, from_client, to_server, &log) => end,
        end = pass(Way::ToClient, from_server, to_client, &log) => end,
    }
}

/// Passes frames until an end or a cut.
async fn pass(
    way: Way,
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    log: &Mutex<Log>,
) -> io::Result<()> {
    let handshake = frame(&mut from).await?;
    to.write_all(&handshake).await?;
    loop {
        let frame = frame(&mut from).await?;
        let mut log = log.lock().await;
        let passage = log.passage(way, &frame.slice(PREFIX..));
        if log.stop(passage.as_ref(), Position::Before).await == Verdict::Cut {
            return Ok(());
        }
        to.write_all(&frame).await?;
        log.passed
            .send_modify(|passed| passed.extend(passage.clone()));
        if log.stop(passage.as_ref(), Position::After).await == Verdict::Cut {
            return Ok(());
        }
    }
}

/// The next frame, its length prefix included.
async fn frame(from: &mut OwnedReadHalf) -> io::Result<Bytes> {
    let length = from.read_i32().await?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(PREFIX + usize::try_from(length).expect("a length"), 0);
    from.read_exact(&mut frame[PREFIX..]).await?;
    Ok(frame.into())
}

impl Log {
    /// Which frame this is, if it counts.
    fn passage(&mut self, way: Way, frame: &Bytes) -> Option<Passage> {
        let what = match way {
            Way::ToServer => {
                let what = request(frame);
                self.sent.push_back(what.clone());
                what
            }
            Way::ToClient if frame.starts_with(&xid::WATCH_EVENT.to_be_bytes()) => {
                Some("an event".to_owned())
            }
            Way::ToClient => {
                let answered = self.sent.pop_front().expect("an answer to a request");
                answered.map(|request| format!("the answer to {request}"))
            }
        }?;
        let nth = self.counts[way as usize];
        self.counts[way as usize] += 1;
        Some(Passage { way, nth, what })
    }

    /// Stops if it is to stop here.
    async fn stop(&mut self, passage: Option<&Passage>, position: Position) -> Verdict {
        let here = |ahead: &mut Ahead| {
            let Stop { way, nth, .. } = ahead.stop;
            ahead.stop.position == position
                && passage.is_some_and(|passage| (passage.way, passage.nth) == (way, nth))
        };
        let (Some(ahead), Some(passage)) = (self.ahead.take_if(here), passage) else {
            return Verdict::Pass;
        };
        // Errors say that the test has ended.
        let _ = ahead.stopped.send(passage.clone());
        ahead.verdict.await.unwrap_or(Verdict::Pass)
    }
}

/// What a request is, unless it is part of a heartbeat.
fn request(frame: &Bytes) -> Option<String> {
    let (_, request) = Request::decode_strict(frame).expect("a request");
    let counts = match &request {
        Request::Ping => false,
        Request::Sync { path } => **path != *"/",
        _ => true,
    };
    counts.then(|| request.opcode().name().to_owned())
}
