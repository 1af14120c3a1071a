//! The lock without a runtime: the machines, driven by hand on a blocking socket.
//!
//! ```text
//! cargo run --example sans_io --no-default-features
//! ```
//!
//! It connects, acquires the lock, holds it for two seconds and releases it, and
//! prints each step, with how long the lock can be relied on. The server can be
//! given as an argument; without it there is one in memory, another machine that
//! is driven by hand.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use zklock::embedded::{Config, Core, Output};
use zklock::lock::{
    AcquireRequest, AcquisitionId, Claims, Command, Dialect, LockId, LockSpec, Metadata, Notice,
};
use zklock::proto::{DEFAULT_MAX_FRAME, FrameReader};
use zklock::session::{Action, Cause, Engine, Heartbeat, Io, SessionConfig, Timestamp};
use zklock::{Acl, PathError, ZnodePath};

const ATTEMPT: Duration = Duration::from_secs(1);

/// What the machines do not have: a socket and a clock.
struct Client {
    engine: Engine<Claims>,
    start: Instant,
    stream: Option<TcpStream>,
    incoming: BytesMut,
}

impl Client {
    fn new(config: SessionConfig) -> Self {
        Self {
            engine: Engine::new(config, Claims::default(), Timestamp::ZERO),
            start: Instant::now(),
            stream: None,
            incoming: BytesMut::new(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO + self.start.elapsed()
    }

    /// Goes on until there is something to tell the user, or until then.
    fn run(&mut self, until: Timestamp) -> Option<Notice> {
        loop {
            while let Some(action) = self.engine.poll() {
                self.act(&action);
            }
            while let Some(event) = self.engine.event() {
                println!("session: {event}");
            }
            if let Some(notice) = self.engine.recipe_mut().notice() {
                return Some(notice);
            }
            let deadline = self.engine.deadline().unwrap_or(until).min(until);
            if until <= self.now() || self.engine.deadline().is_none() {
                return None;
            }
            self.write();
            self.read(deadline);
            let now = self.now();
            if self.engine.deadline().is_some_and(|at| at <= now) {
                self.engine.tick(now);
            }
        }
    }

    fn act(&mut self, action: &Action) {
        self.stream = None;
        self.incoming.clear();
        let Action::Dial(server) = action else { return };
        match TcpStream::connect((server.host(), server.port())) {
            Ok(stream) => {
                self.stream = Some(stream);
                self.tell(Io::Connected);
            }
            Err(error) => self.tell(Io::Disconnected(error.into())),
        }
    }

    fn write(&mut self) {
        let now = self.now();
        let Some(stream) = &mut self.stream else {
            return;
        };
        let Some(frames) = self.engine.transmit(now) else {
            return;
        };
        match stream.write_all(&frames) {
            Ok(()) => self.tell(Io::Flushed),
            Err(error) => self.hang_up(error.into()),
        }
    }

    /// Waits for bytes, but no longer than until `deadline`.
    fn read(&mut self, deadline: Timestamp) {
        // A limit of zero would be none.
        let patience = (deadline - self.now()).max(Duration::from_millis(1));
        let Some(stream) = &mut self.stream else {
            return thread::sleep(patience);
        };
        match read_for(stream, patience) {
            Ok(None) => {}
            Ok(Some(bytes)) if bytes.is_empty() => self.hang_up(Cause::ClosedByServer),
            Ok(Some(bytes)) => self.take(&bytes),
            Err(error) => self.hang_up(error.into()),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.incoming.extend_from_slice(bytes);
        let frames = FrameReader::new(DEFAULT_MAX_FRAME);
        while self.stream.is_some() {
            match frames.read(&mut self.incoming) {
                Ok(Some(frame)) => self.tell(Io::Frame(frame)),
                Ok(None) => return self.tell(Io::Partial),
                Err(error) => self.hang_up(error.into()),
            }
            // A frame may end the connection: obey before reading on.
            while let Some(action) = self.engine.poll() {
                self.act(&action);
            }
        }
    }

    fn hang_up(&mut self, cause: Cause) {
        self.stream = None;
        self.tell(Io::Disconnected(cause));
    }

    fn tell(&mut self, io: Io) {
        let told = self.engine.io(io, self.now());
        told.expect("the socket is what the engine asked for");
    }
}

/// What comes in this time: `None` if nothing does, and nothing at the end.
fn read_for(stream: &mut TcpStream, patience: Duration) -> io::Result<Option<Vec<u8>>> {
    stream.set_read_timeout(Some(patience))?;
    let mut bytes = vec![0; 4096];
    match stream.read(&mut bytes) {
        Ok(count) => {
            bytes.truncate(count);
            Ok(Some(bytes))
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// A server for one client after the other.
fn serve(listener: &TcpListener) -> io::Result<()> {
    let start = Instant::now();
    let mut core = Core::new(Config::default());
    for stream in listener.incoming() {
        let mut stream = stream?;
        let client = core.accept(start.elapsed());
        loop {
            match read_for(&mut stream, Duration::from_millis(20)) {
                Ok(Some(bytes)) if !bytes.is_empty() => {
                    core.received(client, &bytes, start.elapsed());
                }
                Ok(None) => core.tick(start.elapsed()),
                _ => break core.disconnected(client, start.elapsed()),
            }
            while let Some(output) = core.poll() {
                match output {
                    Output::Write { bytes, .. } => stream.write_all(&bytes)?,
                    Output::Close(_) => stream.shutdown(std::net::Shutdown::Write)?,
                }
            }
        }
    }
    Ok(())
}

fn in_memory() -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    thread::spawn(move || serve(&listener));
    Ok(address)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let servers = match std::env::args().nth(1) {
        Some(servers) => servers,
        None => in_memory()?,
    };
    let mut client = Client::new(SessionConfig {
        ensemble: servers.parse()?,
        timeout: Duration::from_secs(6),
        connect_timeout: 10 * ATTEMPT,
        max_in_flight: 1_000,
        auth: Vec::new(),
        heartbeat: Heartbeat::Sync,
        // Differs from one process to the next.
        seed: std::process::id().into(),
    });
    let id = AcquisitionId(1);
    let request = request(id, client.now() + 20 * ATTEMPT)?;
    client
        .engine
        .command(Command::Acquire(request), client.now());
    match client.run(Timestamp::MAX) {
        Some(Notice::Granted { token, .. }) => println!("acquired with token {token}"),
        other => return Err(format!("not acquired: {other:?}").into()),
    }

    for _ in 0..2 {
        let until = client.now() + Duration::from_secs(1);
        if let Some(notice) = client.run(until) {
            return Err(format!("not held any more: {notice:?}").into());
        }
        let lease = client.engine.session().lease().unwrap_or_default();
        let sure = lease - client.now() > Duration::from_secs(1);
        println!("held, for more than a second to come: {sure}");
    }

    client.engine.command(Command::Leave(id), client.now());
    // Before the claim is gone, the holder is told that the lock is lost.
    while let Some(notice) = client.run(Timestamp::MAX) {
        if let Notice::Left { result, .. } = notice {
            result?;
            println!("released");
            break;
        }
    }
    client.engine.close(client.now());
    client.run(Timestamp::MAX);
    Ok(())
}

fn request(id: AcquisitionId, deadline: Timestamp) -> Result<AcquireRequest, PathError> {
    let anyone: Arc<[Acl]> = [Acl::world_anyone()].into();
    let lock = LockSpec {
        id: LockId(1),
        path: ZnodePath::new("/examples/sans_io")?,
        dialect: Dialect::default(),
        acl: Arc::clone(&anyone),
        parent_acl: anyone,
    };
    Ok(AcquireRequest {
        id,
        lock: Arc::new(lock),
        metadata: Metadata::default(),
        deadline,
        waits: true,
    })
}
