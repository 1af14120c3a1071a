//! Contenders of a lock, each a thread with a session of its own, as processes
//! would be: with zklock on a runtime of its own, or raw. Both are told the same
//! and tell the same.

use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use zklock::{Lock, Session};

use crate::raw::Waiter;

/// What a contender is told.
pub enum Say {
    /// Join the queue, and tell when the lock is granted.
    Enqueue,
    /// As `Enqueue`, but release it at once.
    PassOn,
    Release,
}

/// What it tells.
pub enum Told {
    Granted(Instant),
    /// When the release began.
    Released(Instant),
    /// When a lock that was passed on was released.
    PassedOn(Instant),
}

#[derive(Clone, Copy)]
pub enum Kind {
    Ours,
    Raw,
}

pub struct Contender {
    commands: Option<UnboundedSender<Say>>,
    thread: Option<JoinHandle<()>>,
}

impl Contender {
    pub fn start(kind: Kind, address: &str, path: &str, which: usize, tell: Sender<Told>) -> Self {
        let (commands, inbox) = unbounded_channel();
        let (address, path) = (address.to_owned(), path.to_owned());
        let thread = thread::Builder::new().stack_size(256 * 1024);
        let thread = thread.spawn(move || match kind {
            Kind::Ours => ours(&address, &path, inbox, &tell),
            Kind::Raw => raw(&address, &path, which, inbox, &tell),
        });
        Self {
            commands: Some(commands),
            thread: Some(thread.unwrap()),
        }
    }

    pub fn say(&self, what: Say) {
        self.commands.as_ref().unwrap().send(what).unwrap();
    }
}

/// It is told no more, and ends.
impl Drop for Contender {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.thread.take().unwrap().join();
    }
}

fn ours(address: &str, path: &str, mut inbox: UnboundedReceiver<Say>, tell: &Sender<Told>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let builder = Session::builder(address).session_timeout(Duration::from_secs(60));
        let session = builder.connect().await.unwrap();
        let lock = Lock::new(&session, path).unwrap();
        let mut held = None;
        while let Some(what) = inbox.recv().await {
            let told = match what {
                Say::Enqueue => {
                    held = Some(lock.acquire().await.unwrap());
                    Told::Granted(Instant::now())
                }
                Say::PassOn => {
                    lock.acquire().await.unwrap().release().await.unwrap();
                    Told::PassedOn(Instant::now())
                }
                Say::Release => {
                    let start = Instant::now();
                    held.take().unwrap().release().await.unwrap();
                    Told::Released(start)
                }
            };
            if tell.send(told).is_err() {
                break;
            }
        }
        session.close().await;
    });
}

fn raw(
    address: &str,
    path: &str,
    which: usize,
    mut inbox: UnboundedReceiver<Say>,
    tell: &Sender<Told>,
) {
    let mut waiter = Waiter::connect(address, path, which);
    while let Some(what) = inbox.blocking_recv() {
        let told = match what {
            Say::Enqueue => {
                waiter.acquire();
                Told::Granted(Instant::now())
            }
            Say::PassOn => {
                waiter.acquire();
                waiter.release();
                waiter.released();
                Told::PassedOn(Instant::now())
            }
            Say::Release => {
                let start = Instant::now();
                waiter.release();
                waiter.released();
                Told::Released(start)
            }
        };
        if tell.send(told).is_err() {
            break;
        }
    }
}
