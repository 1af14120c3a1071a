//! The workers, each with a proxy of its own to every server.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use zklock::session::Random;

use crate::record::Records;
use crate::register::Register;
use crate::support::becomes_true;
use crate::support::ensemble::{Ensemble, SERVERS};
use crate::support::proxy::Proxy;
use crate::worker::Orders;

/// The links of one worker, to every server.
pub(crate) type Links = Vec<Proxy>;

/// A link from each worker to each server.
pub(crate) fn links(ensemble: &Ensemble, workers: usize) -> Vec<Links> {
    let to_all = |_| {
        let servers = 0..SERVERS;
        servers
            .map(|index| Proxy::start_raw(&ensemble.address(index)))
            .collect()
    };
    (0..workers).map(to_all).collect()
}

/// The workers that run, and what all that ever ran have noted.
pub(crate) struct Crew {
    register: String,
    locks: u64,
    random: Random,
    folder: PathBuf,
    servers: Vec<String>,
    running: Vec<Worker>,
    /// Everyone that was started: its name and its records.
    started: Vec<(String, PathBuf)>,
}

struct Worker {
    process: Child,
    records: PathBuf,
}

impl Crew {
    pub(crate) fn start(links: &[Links], register: &Register, locks: u64, seed: u64) -> Self {
        let folder = std::env::temp_dir().join(format!(
            "zklock-chaos-{seed}-{:016x}",
            crate::support::random()
        ));
        fs::create_dir(&folder).unwrap();
        let servers = links.iter().map(|links| {
            let addresses: Vec<_> = links.iter().map(Proxy::address).collect();
            addresses.join(",")
        });
        let mut crew = Self {
            register: register.address.to_string(),
            locks,
            random: Random::new(seed ^ 8),
            folder,
            servers: servers.collect(),
            running: Vec::new(),
            started: Vec::new(),
        };
        for slot in 0..links.len() {
            let worker = crew.recruit(slot);
            crew.running.push(worker);
        }
        crew
    }

    fn recruit(&mut self, slot: usize) -> Worker {
        let name = format!("{slot}.{}", self.started.len());
        let records = self.folder.join(&name);
        self.started.push((name, records.clone()));
        let orders = Orders {
            slot,
            seed: self.random.next_u64(),
            locks: self.locks,
            servers: self.servers[slot].clone(),
            register: self.register.clone(),
            records: records.clone(),
        };
        Worker {
            process: orders.start(),
            records,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Kills a worker (SIGKILL) and puts another one in its place.
    pub(crate) fn replace(&mut self, slot: usize) {
        self.running[slot].end();
        self.running[slot] = self.recruit(slot);
    }

    pub(crate) fn signal(&self, slot: usize, signal: Signal) {
        let id = i32::try_from(self.running[slot].process.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }

    /// Tells all to leave the queues, and waits until they have.
    pub(crate) fn rest(&mut self, limit: Duration) {
        use std::io::Write;
        for worker in &mut self.running {
            let input = worker.process.stdin.as_mut().unwrap();
            input.write_all(b"rest\n").unwrap();
        }
        for worker in &self.running {
            let rests = || Records::read(&worker.records, "").rests;
            assert!(becomes_true(limit, rests), "{:?} goes on", worker.records);
        }
    }

    /// Tells all to end, and waits until they have, each in good order.
    pub(crate) fn end(&mut self, limit: Duration) {
        for worker in &mut self.running {
            drop(worker.process.stdin.take());
        }
        for worker in &mut self.running {
            let process = &mut worker.process;
            let ended = becomes_true(limit, || process.try_wait().unwrap().is_some());
            assert!(ended, "{:?} does not end", worker.records);
            let status = process.wait().unwrap();
            assert!(status.success(), "{:?}: {status}", worker.records);
        }
    }

    /// What everyone has noted, who was killed meanwhile too.
    pub(crate) fn records(&self) -> Vec<Records> {
        let read = |(name, path): &(String, PathBuf)| Records::read(path, name);
        self.started.iter().map(read).collect()
    }

    /// Where the records are, until [`forget`](Self::forget).
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(crate) fn forget(&self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Worker {
    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}
