//! What the locks protect: a register behind each, which the supervising
//! process keeps, and which workers write to with their fencing tokens, over
//! sockets of their own. No fault touches it.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use zklock::{FencingToken, HighWater};

use crate::clock::{Moment, now};

/// A write that came in.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) token: u64,
    /// Whose place the worker has: its successors have the same.
    pub(crate) slot: usize,
    pub(crate) at: Moment,
    /// Whether no higher token had been seen.
    pub(crate) admitted: bool,
}

/// The supervisor's end.
pub(crate) struct Register {
    pub(crate) address: SocketAddr,
    book: Arc<Mutex<Book>>,
}

#[derive(Default)]
struct Book {
    seen: BTreeMap<String, HighWater>,
    entries: Vec<Entry>,
}

impl Register {
    pub(crate) fn open() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let book = Arc::new(Mutex::new(Book::default()));
        let kept = Arc::clone(&book);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let book = Arc::clone(&kept);
                // A worker that is killed ends its connection.
                thread::spawn(move || serve(stream, &book));
            }
        });
        Self { address, book }
    }

    /// Every write so far, in the order in which they came.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.book.lock().unwrap().entries.clone()
    }

    /// Waits for a write that is admitted: whose it is holds a lock most likely.
    pub(crate) fn next_writer(&self, limit: Duration) -> Option<usize> {
        let (start, end) = (now(), Instant::now() + limit);
        loop {
            let book = self.book.lock().unwrap();
            let entry = book.entries.last().filter(|entry| entry.admitted);
            if let Some(entry) = entry.filter(|entry| entry.at > start) {
                return Some(entry.slot);
            }
            drop(book);
            if Instant::now() > end {
                return None;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether this worker has written since then, and was admitted.
    pub(crate) fn has_written(&self, slot: usize, since: Moment) -> bool {
        let book = self.book.lock().unwrap();
        let mut recent = book
            .entries
            .iter()
            .rev()
            .take_while(|entry| entry.at > since);
        recent.any(|entry| entry.slot == slot && entry.admitted)
    }
}

fn serve(stream: TcpStream, book: &Mutex<Book>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut answers = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let line = line?;
        let words: Vec<&str> = line.split(' ').collect();
        let [slot, path, token] = words[..] else {
            panic!("no write: {line:?}");
        };
        let admitted = book.lock().unwrap().write(slot, path, token);
        answers.write_all(if admitted { b"ok\n" } else { b"stale\n" })?;
    }
    Ok(())
}

impl Book {
    fn write(&mut self, slot: &str, path: &str, token: &str) -> bool {
        let (at, token) = (now(), token.parse::<FencingToken>().unwrap());
        let seen = self.seen.entry(path.to_owned()).or_default();
        let admitted = seen.admit(token).is_ok();
        self.entries.push(Entry {
            path: path.to_owned(),
            token: token.get(),
            slot: slot.parse().unwrap(),
            at,
            admitted,
        });
        admitted
    }
}

/// A worker's end.
pub(crate) struct Pen {
    slot: usize,
    stream: tokio::io::BufReader<tokio::net::TcpStream>,
}

impl Pen {
    pub(crate) async fn take(register: &str, slot: usize) -> Self {
        let stream = tokio::net::TcpStream::connect(register).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = tokio::io::BufReader::new(stream);
        Self { slot, stream }
    }

    /// Writes what `token` protects. Returns whether the register let it.
    pub(crate) async fn write(&mut self, path: &str, token: FencingToken) -> bool {
        let line = format!("{} {path} {token}\n", self.slot);
        self.stream.write_all(line.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.stream.read_line(&mut answer).await.unwrap();
        match answer.as_str() {
            "ok\n" => true,
            "stale\n" => false,
            other => panic!("the register says {other:?}"),
        }
    }
}
