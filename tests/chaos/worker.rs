//! A worker, in a process of its own: it takes one lock after the other, and
//! writes to what they protect, until its standard input tells it to rest. When
//! that ends, it closes its session and goes.

use std::env;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zklock::session::Random;
use zklock::{Guard, Lock, Session};

use crate::record::Recorder;
use crate::register::Pen;

/// What every worker asks for. Servers grant it, having a tick of 200 ms.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(2);

/// The test in which a worker runs.
const TEST: &str = "worker";
const ORDERS: &str = "CHAOS_WORKER";

/// What a worker is told at its start.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    /// Which of the workers it is; its successors have the same number.
    pub(crate) slot: usize,
    pub(crate) seed: u64,
    /// How many locks there are.
    pub(crate) locks: u64,
    /// A connect string.
    pub(crate) servers: String,
    /// The address of the register.
    pub(crate) register: String,
    pub(crate) records: PathBuf,
}

/// What a worker is to do now.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
enum Stage {
    Work,
    Rest,
    End,
}

/// The path of a lock.
pub(crate) fn lock_path(index: u64) -> String {
    format!("/chaos/lock-{index}")
}

impl Orders {
    /// Starts a worker. It is killed with the thread that calls this.
    pub(crate) fn start(&self) -> Child {
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["--exact", TEST, "--ignored", "--nocapture"])
            .env(ORDERS, self.to_line())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        command.spawn().unwrap()
    }

    fn to_line(&self) -> String {
        let Self {
            slot, seed, locks, ..
        } = self;
        let (servers, register) = (&self.servers, &self.register);
        let records = self.records.display();
        format!("{slot} {seed} {locks} {servers} {register} {records}")
    }

    fn from_line(line: &str) -> Self {
        let words: Vec<&str> = line.splitn(6, ' ').collect();
        Self {
            slot: words[0].parse().unwrap(),
            seed: words[1].parse().unwrap(),
            locks: words[2].parse().unwrap(),
            servers: words[3].to_owned(),
            register: words[4].to_owned(),
            records: words[5].into(),
        }
    }
}

pub(crate) fn run() {
    let Ok(line) = env::var(ORDERS) else {
        println!("nobody has started this as a worker");
        return;
    };
    // Even if it is stopped then, and cannot see its standard input end.
    set_pdeathsig(Signal::SIGKILL).unwrap();
    let orders = Orders::from_line(&line);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(work(&orders));
}

async fn work(orders: &Orders) {
    let mut stage = watch_input();
    let session = connect(&orders.servers).await;
    let mut worker = Worker {
        recorder: Recorder::create(&orders.records),
        pen: Pen::take(&orders.register, orders.slot).await,
        random: Random::new(orders.seed),
    };
    while *stage.borrow() == Stage::Work {
        let path = lock_path(worker.random.below(orders.locks));
        worker.turn(&session, &path).await;
    }
    worker.recorder.rests();
    stage.wait_for(|stage| *stage == Stage::End).await.unwrap();
    session.close().await;
}

/// A line at standard input means rest, and its end means the end.
fn watch_input() -> watch::Receiver<Stage> {
    let (sender, stage) = watch::channel(Stage::Work);
    thread::spawn(move || {
        let mut line = String::new();
        while std::io::stdin().lock().read_line(&mut line).unwrap_or(0) > 0 {
            sender.send_replace(Stage::Rest);
        }
        sender.send_replace(Stage::End);
        // The receiver may still be about to look.
        thread::park();
    });
    stage
}

async fn connect(servers: &str) -> Session {
    loop {
        let builder = Session::builder(servers).session_timeout(SESSION_TIMEOUT);
        match builder.connect().await {
            Ok(session) => return session,
            Err(error) => eprintln!("worker: {error}"),
        }
    }
}

struct Worker {
    recorder: Recorder,
    pen: Pen,
    random: Random,
}

impl Worker {
    /// Asks for a lock, mostly with patience, and holds it for a while.
    async fn turn(&mut self, session: &Session, path: &str) {
        let lock = Lock::new(session, path).unwrap();
        let patience = self.up_to(300) + self.up_to(4_000);
        let granted = match self.random.below(8) {
            0 => lock.try_acquire().await,
            1 => match timeout(self.up_to(300), lock.acquire()).await {
                Ok(granted) => granted,
                // The request was dropped, wherever it stood.
                Err(_) => return self.recorder.failed("Dropped"),
            },
            _ => lock.acquire().timeout(patience).await,
        };
        match granted {
            Ok(guard) => self.hold(path, guard).await,
            Err(error) => {
                self.recorder.failed(&format!("{error:?}"));
                sleep(self.up_to(20)).await;
            }
        }
    }

    async fn hold(&mut self, path: &str, guard: Guard) {
        self.recorder.granted(path, &guard);
        let long = self.random.below(10) == 0;
        let end = Instant::now() + self.up_to(if long { 700 } else { 120 });
        while self.recorder.ask(&guard) {
            // What a program does between its look at the guard and the effect.
            sleep(self.up_to(8)).await;
            if !self.pen.write(path, guard.fencing_token()).await || Instant::now() > end {
                break;
            }
            sleep(self.up_to(8)).await;
        }
        self.recorder.releases(&guard);
        if self.random.below(4) == 0 {
            drop(guard);
        } else if let Err(error) = guard.release().await {
            panic!("{error}");
        }
    }

    fn up_to(&mut self, millis: u64) -> Duration {
        Duration::from_millis(1 + self.random.below(millis))
    }
}
