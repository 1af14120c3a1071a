//! The same on servers of both kinds, with the real driver: at each frame of a run the
//! future or the guard is dropped, or the deadline passes, on a connection that
//! stands or that is cut right there. (`tests/cuts.rs` cuts it at every byte.)

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use zklock::{AcquireError, Guard, Lock, Session, SessionState};

use crate::cases::{Act, Fault, Place, Position, Strike, Table};
use crate::gate::{Gate, Guardian, Passage, Stop, Verdict};
use crate::support::becomes_true;
use crate::support::raw::RawClient;
use crate::support::server::{TestServer, on_both_servers};

/// No heartbeat falls into a run, and no lease ends.
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
const LONG: Duration = Duration::from_secs(30);
/// Nothing is on its way when nothing has come for so long.
const QUIET: Duration = Duration::from_millis(300);
/// A deadline that is to pass at a frame should not pass before it: then it is
/// doubled, so many times.
const DEADLINE: Duration = Duration::from_millis(700);
const DOUBLINGS: u32 = 5;
/// Cases that run at the same time.
const AT_ONCE: usize = 16;

/// A run without a fault.
struct Recording {
    frames: Vec<Passage>,
    /// So many of them until we wait in the queue, and until we hold the lock.
    until_queued: usize,
    until_granted: usize,
}

/// What runs of one server share.
struct Stage {
    server: TestServer,
    /// Where the rivals live.
    rivals: Session,
}

/// One run, behind a rival that holds the lock.
struct Run {
    gate: Gate,
    session: Session,
    rival: Option<Guard>,
    user: JoinHandle<Result<(), AcquireError>>,
    /// Tells the user to release the lock.
    release: Arc<Notify>,
}

impl Recording {
    /// Every frame, before and after it; deadlines until we wait in the queue.
    fn strikes(&self) -> Vec<Strike> {
        let mut strikes = Vec::new();
        for frame in 0..self.frames.len() {
            for (place, fault) in self.required(frame) {
                let position = match place {
                    Place::Before => Position::Before,
                    _ => Position::After,
                };
                strikes.push(Strike {
                    frame,
                    position,
                    fault,
                });
            }
        }
        strikes
    }

    fn required(&self, frame: usize) -> Vec<(Place, Fault)> {
        let mut faults = vec![Fault::Drop, Fault::CutThenDrop];
        if frame < self.until_queued {
            faults.extend([Fault::Deadline, Fault::CutThenDeadline]);
        }
        let places = [Place::Before, Place::After];
        places
            .into_iter()
            .flat_map(|place| faults.iter().map(move |fault| (place, *fault)))
            .collect()
    }
}

impl Run {
    /// The rival hands the lock over, and we release it. Never ends.
    async fn play(&mut self, recording: &Recording) {
        self.gate.passed(recording.until_queued).await;
        let rival = self.rival.take().expect("the rival's guard");
        rival.release().await.unwrap();
        self.gate.passed(recording.until_granted).await;
        self.release.notify_one();
        std::future::pending().await
    }

    /// Makes the fault while nothing passes, and lets all pass after it.
    async fn act(&mut self, fault: Fault, verdict: oneshot::Sender<Verdict>) {
        let mut verdict = Some(verdict);
        for act in fault.acts() {
            match act {
                Act::Drop => {
                    self.user.abort();
                    // However it ends, the future or the guard is gone then.
                    let _ = (&mut self.user).await;
                }
                Act::Cut { .. } => {
                    self.gate.open(false);
                    let verdict = verdict.take().expect("one cut");
                    verdict.send(Verdict::Cut).unwrap();
                    suspended(&self.session).await;
                }
                Act::Deadline => {
                    let answer = (&mut self.user).await.unwrap();
                    assert_eq!(answer, Err(AcquireError::TimedOut));
                }
                Act::HandOff => unreachable!("not among these cases"),
            }
        }
        self.gate.open(true);
        if let Some(verdict) = verdict {
            verdict.send(Verdict::Pass).unwrap();
        }
    }
}

/// Names the case on the way out of a panic.
struct Named(Strike);

impl Drop for Named {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("with {:?}", self.0);
        }
    }
}

async fn suspended(session: &Session) {
    let mut states = session.states();
    while let Some(SessionState::Connected { .. }) = states.next().await {}
}

impl Stage {
    async fn new(server: TestServer) -> Self {
        let rivals = Session::connect(server.address()).await.unwrap();
        Self { server, rivals }
    }

    /// Our user asks for the lock, and holds it until it is to release it.
    async fn run(&self, path: &str, timeout: Duration, stop: Option<Stop>) -> (Run, Guardian) {
        let rival = Some(acquire(&self.rivals, path).await);
        let (gate, guardian) = Gate::start(self.server.address(), stop).await;
        let builder = Session::builder(&gate.address).session_timeout(SESSION_TIMEOUT);
        let session = builder.connect().await.unwrap();
        let lock = Lock::new(&session, path).unwrap();
        let release = Arc::new(Notify::new());
        let released = Arc::clone(&release);
        let user = tokio::spawn(async move {
            let guard = lock.acquire().timeout(timeout).await?;
            released.notified().await;
            guard.release().await.unwrap();
            Ok(())
        });
        let run = Run {
            gate,
            session,
            rival,
            user,
            release,
        };
        (run, guardian)
    }

    async fn record(&self) -> Recording {
        let (mut run, _) = self.run("/faults/recorded", LONG, None).await;
        let until_queued = run.gate.quiet(QUIET).await.len();
        drop(run.rival);
        let until_granted = run.gate.quiet(QUIET).await.len();
        run.release.notify_one();
        run.user.await.unwrap().unwrap();
        let frames = run.gate.quiet(QUIET).await;
        run.session.close().await;
        Recording {
            frames,
            until_queued,
            until_granted,
        }
    }

    /// Runs up to a strike, makes it, and looks at what comes of it. Returns
    /// the frame that was struck; `None` if the deadline passed before.
    async fn strike(
        &self,
        recording: &Recording,
        strike: Strike,
        path: &str,
        timeout: Duration,
    ) -> Option<Passage> {
        let recorded = &recording.frames[strike.frame];
        let stop = Stop {
            way: recorded.way,
            nth: recorded.nth,
            position: strike.position,
        };
        let (mut run, guardian) = self.run(path, timeout, Some(stop)).await;
        let before = session_id(&run.session);
        let has_deadline = strike.fault.has(Act::Deadline);
        let played = async {
            if has_deadline {
                let _ = (&mut run.user).await;
            } else {
                run.play(recording).await;
            }
        };
        let struck = tokio::select! {
            struck = guardian.stopped => struck.unwrap(),
            () = played => return None,
        };
        if has_deadline && struck != *recorded {
            return None;
        }
        run.act(strike.fault, guardian.verdict).await;
        self.judge(run, path, before).await;
        Some(struck)
    }

    /// Our claim is gone within one session timeout, and nothing that is under
    /// way brings one back. The session lives on, and the queue is free.
    async fn judge(&self, run: Run, path: &str, session: i64) {
        let prefix = format!("_c_{session:016x}");
        let clean = |claims: Vec<String>| !claims.iter().any(|name| name.starts_with(&prefix));
        let (address, path_of_it) = (self.server.address(), path.to_owned());
        let claims = move || {
            let mut raw = RawClient::connect(&address);
            raw.children(&path_of_it).unwrap()
        };
        let gone = || becomes_true(SESSION_TIMEOUT, || clean(claims()));
        assert!(tokio::task::block_in_place(gone), "{:?}", claims());
        // Behind whatever the session has still to do.
        for _ in 0..2 {
            let other = acquire(&run.session, &format!("{path}-other")).await;
            other.release().await.unwrap();
        }
        assert!(clean(claims()), "again there: {:?}", claims());
        assert_eq!(session_id(&run.session), session);
        drop(run.rival);
        acquire(&self.rivals, path).await.release().await.unwrap();
        assert_eq!(claims(), Vec::<String>::new());
        run.session.close().await;
    }
}

async fn acquire(session: &Session, path: &str) -> Guard {
    let lock = Lock::new(session, path).unwrap();
    lock.acquire().timeout(LONG).await.unwrap()
}

fn session_id(session: &Session) -> i64 {
    match session.state() {
        SessionState::Connected { session_id, .. } => session_id,
        other => panic!("{other:?}"),
    }
}

async fn at_every_frame_of_a_real_run(server: &'static TestServer) {
    let stage = Arc::new(Stage::new(server.another()).await);
    let recording = Arc::new(stage.record().await);
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut cases = JoinSet::new();
    for (number, strike) in recording.strikes().into_iter().enumerate() {
        let (stage, recording) = (Arc::clone(&stage), Arc::clone(&recording));
        let turns = Arc::clone(&turns);
        cases.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            for doubling in 0..=DOUBLINGS {
                let path = format!("/faults/{number:04}-{doubling}");
                let timeout = if strike.fault.has(Act::Deadline) {
                    DEADLINE * 2_u32.pow(doubling)
                } else {
                    LONG
                };
                let named = Named(strike);
                let struck = stage.strike(&recording, strike, &path, timeout).await;
                drop(named);
                if let Some(struck) = struck {
                    return (strike, struck);
                }
            }
            panic!("{strike:?}: the deadline passed before, even after {DOUBLINGS} doublings");
        });
    }
    let mut table = Table::new();
    while let Some(case) = cases.join_next().await {
        let (strike, struck) = case.unwrap();
        table.note(strike, struck);
    }
    let missing = table.missing(&recording.frames, |frame| recording.required(frame));
    assert!(missing.is_empty(), "there was no {missing:#?}");
    let (frames, cases) = (recording.frames.len(), table.len());
    println!("with the real driver: {frames} frames, {cases} cases");
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    at_every_frame_of_a_real_run;
}
