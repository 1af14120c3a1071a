//! As many acquisitions and releases as go through one session, by several
//! tasks on paths of their own, and the processor time they take.

use std::fs;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use zklock::Lock;

use crate::Setup;
use crate::raw::{DATA, Raw, number};
use crate::report::{Pair, Report, Target, median};

pub async fn throughput(setup: &Setup, tasks: usize, report: &mut Report) {
    let session = setup.session().await;
    let path = format!("/throughput-{tasks}");
    let locks: Vec<_> = (0..tasks)
        .map(|task| Lock::new(&session, format!("{path}/ours-{task}")).unwrap())
        .collect();
    let mut raw = Pipeline::new(&setup.address, &path, tasks);
    let length = Duration::from_millis(setup.scaled(600) as u64);
    let (mut pair, mut cpu) = (Pair::default(), Pair::default());
    for round in 0..11 {
        let before = (Instant::now(), cpu_time());
        let ours = ours(&locks, length).await;
        let between = (Instant::now(), cpu_time());
        let theirs = raw.run(length);
        let after = (Instant::now(), cpu_time());
        // The first makes the paths.
        if round > 0 {
            pair.push(
                (between.0 - before.0) / ours,
                (after.0 - between.0) / theirs,
            );
            cpu.push(
                (between.1 - before.1) / ours,
                (after.1 - between.1) / theirs,
            );
        }
    }
    let target = if tasks == 256 {
        Target::AtLeast(0.95)
    } else {
        Target::None
    };
    report.rates(&format!("throughput-{tasks}"), &pair, target);
    // 15 us where raw takes 11.
    let target = if tasks == 256 {
        Target::AtMost(15.0 / 11.0)
    } else {
        Target::None
    };
    report.times(&format!("cpu-{tasks}"), &cpu, target);
    report.note(&format!(
        "    {:.0} acquire-releases a second, raw {:.0}",
        1e6 / median(&pair.ours),
        1e6 / median(&pair.raw)
    ));
    session.close().await;
}

/// How many were done.
async fn ours(locks: &[Lock], length: Duration) -> u32 {
    let end = Instant::now() + length;
    let mut tasks = JoinSet::new();
    for lock in locks {
        let lock = lock.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while Instant::now() < end {
                lock.acquire().await.unwrap().release().await.unwrap();
                done += 1;
            }
            done
        });
    }
    tasks.join_all().await.into_iter().sum()
}

/// The processor time of this thread.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = stat.split(' ').next().unwrap().parse().unwrap();
    Duration::from_nanos(nanos)
}

/// What a task waits for.
#[derive(Clone, Copy)]
enum Stage {
    Created,
    Listed,
    Watched,
    Deleted,
}

struct Task {
    parent: String,
    prefix: String,
    claim: String,
}

/// One raw session on which the tasks take turns; replies come in the order of
/// their requests, so that a queue says whose they are.
struct Pipeline {
    raw: Raw,
    tasks: Vec<Task>,
    in_flight: std::collections::VecDeque<(usize, Stage)>,
}

impl Pipeline {
    fn new(address: &str, path: &str, tasks: usize) -> Self {
        let mut raw = Raw::connect(address);
        let tasks = (0..tasks)
            .map(|task| {
                let parent = format!("{path}/raw-{task}");
                raw.make_path(&parent);
                let prefix = format!("{parent}/_c_{task:032x}-lock-");
                let claim = String::new();
                Task {
                    parent,
                    prefix,
                    claim,
                }
            })
            .collect();
        Self {
            raw,
            tasks,
            in_flight: Default::default(),
        }
    }

    /// How many were done.
    fn run(&mut self, length: Duration) -> u32 {
        let end = Instant::now() + length;
        let mut done = 0;
        (0..self.tasks.len()).for_each(|task| self.acquire(task));
        self.raw.flush();
        while !self.in_flight.is_empty() {
            self.raw.fill();
            let now = Instant::now();
            while let Some(frame) = self.raw.whole_frame() {
                if frame.is_event() {
                    continue;
                }
                assert_eq!(frame.error, 0);
                let (index, stage) = self.in_flight.pop_front().unwrap();
                let task = &mut self.tasks[index];
                match stage {
                    Stage::Created => {
                        task.claim.clear();
                        task.claim.push_str(self.raw.text(&frame));
                    }
                    Stage::Listed => {
                        let own = number(task.claim.as_bytes());
                        assert_eq!(self.raw.place(&frame, own).ahead, 0);
                        self.raw.watch_own(&task.claim);
                        self.raw.delete(&task.claim);
                        self.in_flight.push_back((index, Stage::Watched));
                        self.in_flight.push_back((index, Stage::Deleted));
                    }
                    Stage::Watched => {}
                    Stage::Deleted => {
                        done += 1;
                        if now < end {
                            self.acquire(index);
                        }
                    }
                }
            }
            self.raw.flush();
        }
        done
    }

    fn acquire(&mut self, index: usize) {
        let task = &self.tasks[index];
        self.raw.create_claim(&task.prefix, &DATA);
        self.raw.list(&task.parent);
        self.in_flight.push_back((index, Stage::Created));
        self.in_flight.push_back((index, Stage::Listed));
    }
}
