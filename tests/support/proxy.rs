//! A TCP proxy on loopback between a client and a server. It records every
//! frame that passes, and can hold, slow, cut and refuse connections. A raw one
//! records nothing: what passes may be any bytes.

use std::io::{self, Read, Write};
use std::mem;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::acks::Acks;
use super::frame_splitter::FrameSplitter;
use super::listen_on_free_port;

/// More than one write's worth, so that a batch comes in as one chunk.
const CHUNK_SIZE: usize = 256 * 1024;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client: a connect request or a request.
    ToServer,
    /// From the server: a connect response, a reply or a watch event.
    ToClient,
}

/// A frame that came in at the proxy.
#[derive(Clone, Debug)]
pub(crate) struct RecordedFrame {
    /// Which way it went.
    pub(crate) direction: Direction,
    /// The connection it came on, counted from 0 over the proxy's life.
    pub(crate) connection: usize,
    /// The chunk that its last byte came in, as one `read` gave it. Frames
    /// written together have one chunk; frames written apart may share one too
    /// if the second was written before the first was read.
    pub(crate) write: usize,
    /// When it came in.
    pub(crate) at: Instant,
    /// Its bytes without the length before them.
    pub(crate) payload: Vec<u8>,
}

/// A running proxy. Dropping it closes every connection and ends its threads.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    upstream: String,
    traffic: Traffic,
    state: Mutex<State>,
    /// Told whenever something that a forwarder or `pause` waits for changes.
    changed: Condvar,
}

/// What passes.
enum Traffic {
    /// Frames, to be recorded.
    Frames,
    /// Any bytes.
    Raw,
    /// Any bytes; in what clients send, the first are replaced by the second.
    Rewritten(Vec<u8>, Vec<u8>),
    /// What followers send to their leader, who may have to wait for the acks.
    Quorum,
}

#[derive(Default)]
struct State {
    frames: Vec<RecordedFrame>,
    /// Chunks read so far.
    chunks: usize,
    /// Both ends of every connection that is open; `None` once it is closed.
    connections: Vec<Option<[TcpStream; 2]>>,
    forwarders: Vec<JoinHandle<()>>,
    refusing: bool,
    stopping: bool,
    held: [bool; 2],
    /// How long each chunk waits.
    delay: Duration,
    /// Whether the next chunk is the last of its connection, and comes in half.
    truncating: [bool; 2],
    acks_held: bool,
    /// Forwarders that are writing a chunk at this moment.
    writing: [usize; 2],
}

impl Proxy {
    /// Listens on a free loopback port and forwards to `upstream`.
    pub(crate) fn start(upstream: &str) -> Self {
        Self::start_as(upstream, Traffic::Frames)
    }

    /// A proxy for bytes that are no frames: it records nothing.
    pub(crate) fn start_raw(upstream: &str) -> Self {
        Self::start_as(upstream, Traffic::Raw)
    }

    /// As [`start_raw`](Self::start_raw), and in what clients send it replaces
    /// `from` by `to`, which must be as long, wherever `from` comes within one
    /// write.
    pub(crate) fn start_rewriting(upstream: &str, from: &str, to: &str) -> Self {
        assert_eq!(from.len(), to.len(), "lengths around them must stay true");
        Self::start_as(upstream, Traffic::Rewritten(from.into(), to.into()))
    }

    /// Between followers and their leader: it can hold acks back and nothing
    /// else.
    pub(crate) fn start_quorum(upstream: &str) -> Self {
        Self::start_as(upstream, Traffic::Quorum)
    }

    fn start_as(upstream: &str, traffic: Traffic) -> Self {
        let listener = listen_on_free_port();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            upstream: upstream.to_owned(),
            traffic,
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept_connections(&listener, &shared)
        });
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// The port that clients connect to.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// All frames since the start or the last [`clear`](Self::clear), in the
    /// order in which they came in. A frame is here before it is forwarded.
    pub(crate) fn frames(&self) -> Vec<RecordedFrame> {
        self.shared.lock().frames.clone()
    }

    /// As [`frames`](Self::frames), one direction only.
    pub(crate) fn frames_in(&self, direction: Direction) -> Vec<RecordedFrame> {
        let mut frames = self.frames();
        frames.retain(|frame| frame.direction == direction);
        frames
    }

    /// Forgets the frames recorded so far.
    pub(crate) fn clear(&self) {
        self.shared.lock().frames.clear();
    }

    /// Connections that are open now.
    pub(crate) fn open_connections(&self) -> usize {
        self.shared.lock().connections.iter().flatten().count()
    }

    /// Closes all connections; what is held back in them is lost. New ones
    /// are let in.
    pub(crate) fn cut(&self) {
        let mut state = self.shared.lock();
        state.connections.iter_mut().for_each(close);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Lets half of the next chunk pass this way and closes its connection.
    pub(crate) fn truncate(&self, direction: Direction) {
        self.shared.lock().truncating[direction as usize] = true;
    }

    /// From now on each chunk waits for so long, either way.
    pub(crate) fn slow(&self, delay: Duration) {
        self.shared.lock().delay = delay;
    }

    /// Whether acks of followers are held. Those that were go with the next
    /// packet, such as the follower's next answer to a ping.
    pub(crate) fn hold_acks(&self, hold: bool) {
        self.shared.lock().acks_held = hold;
    }

    /// From now on closes new connections at once, as ZooKeeper itself does at
    /// its limits. Those that are open stay.
    pub(crate) fn refuse(&self) {
        self.shared.lock().refusing = true;
    }

    /// Lets new connections in again.
    pub(crate) fn accept(&self) {
        self.shared.lock().refusing = false;
    }

    /// Holds all bytes back, both ways, and leaves the connections open. Once
    /// it returns nothing is forwarded; what comes in is still recorded (the
    /// first chunk at least; the rest waits in the sockets).
    pub(crate) fn pause(&self) {
        self.hold(Direction::ToServer);
        self.hold(Direction::ToClient);
    }

    /// As [`pause`](Self::pause), one direction only: with replies held back,
    /// requests take effect and nobody learns of it.
    pub(crate) fn hold(&self, direction: Direction) {
        let mut state = self.shared.lock();
        state.held[direction as usize] = true;
        // A write that has begun may finish, but one that is stuck because its
        // reader is stopped must not hold us up.
        let limit = Duration::from_secs(1);
        let _ = self
            .shared
            .changed
            .wait_timeout_while(state, limit, |state| state.writing[direction as usize] > 0);
    }

    /// Forwards what was held back, and goes on forwarding, as fast as it can.
    pub(crate) fn resume(&self) {
        self.slow(Duration::ZERO);
        self.hold_acks(false);
        self.shared.lock().truncating = [false; 2];
        self.release(Direction::ToServer);
        self.release(Direction::ToClient);
    }

    /// As [`resume`](Self::resume), one direction only.
    pub(crate) fn release(&self, direction: Direction) {
        self.shared.lock().held[direction as usize] = false;
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        // Wakes the acceptor out of its wait.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut();
        let forwarders = mem::take(&mut self.shared.lock().forwarders);
        for forwarder in forwarders {
            let _ = forwarder.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers and records a chunk and the frames that it completes.
    fn record(&self, direction: Direction, connection: usize, payloads: Vec<Vec<u8>>) {
        let mut state = self.lock();
        let write = state.chunks;
        state.chunks += 1;
        let at = Instant::now();
        state
            .frames
            .extend(payloads.into_iter().map(|payload| RecordedFrame {
                direction,
                connection,
                write,
                at,
                payload,
            }));
    }

    /// Waits for as long as a chunk has to. Returns whether it is to be
    /// truncated.
    fn delay(&self, direction: Direction) -> bool {
        let mut state = self.lock();
        let delay = state.delay;
        let truncated = mem::take(&mut state.truncating[direction as usize]);
        drop(state);
        thread::sleep(delay);
        truncated
    }

    /// Waits until bytes may pass; `false` if their connection was closed.
    /// After `true`, [`end_write`](Self::end_write) must follow.
    fn begin_write(&self, direction: Direction, connection: usize) -> bool {
        let side = direction as usize;
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| {
                state.held[side] && state.connections[connection].is_some()
            })
            .unwrap_or_else(PoisonError::into_inner);
        let open = state.connections[connection].is_some();
        state.writing[side] += usize::from(open);
        open
    }

    fn end_write(&self, direction: Direction) {
        self.lock().writing[direction as usize] -= 1;
        self.changed.notify_all();
    }
}

fn accept_connections(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.lock().stopping {
            return;
        }
        // A client or server that is not there ends this connection only.
        let _ = client.and_then(|client| start_forwarding(client, shared));
    }
}

fn start_forwarding(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    if shared.lock().refusing {
        return Ok(());
    }
    let server = TcpStream::connect(&shared.upstream)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ends = [client.try_clone()?, server.try_clone()?];
    let to_server = (
        Direction::ToServer,
        client.try_clone()?,
        server.try_clone()?,
    );
    let to_client = (Direction::ToClient, server, client);

    let mut state = shared.lock();
    if state.refusing {
        // Since it was let in.
        return Ok(());
    }
    let connection = state.connections.len();
    state.connections.push(Some(ends));
    for (direction, from, to) in [to_server, to_client] {
        let shared = Arc::clone(shared);
        let forwarder = thread::spawn(move || {
            forward(direction, connection, from, to, &shared);
        });
        state.forwarders.push(forwarder);
    }
    Ok(())
}

/// Passes bytes on until either end goes. The end of one stream is passed on
/// too; when the server has no more to say, the connection is over.
fn forward(
    direction: Direction,
    connection: usize,
    mut from: TcpStream,
    mut to: TcpStream,
    shared: &Shared,
) {
    let mut frames = FrameSplitter::default();
    let mut acks = Acks::default();
    let mut chunk = vec![0; CHUNK_SIZE];
    let truncated = loop {
        let count = from.read(&mut chunk).unwrap_or(0);
        let mut bytes = &mut chunk[..count];
        let mut packets;
        match (&shared.traffic, direction) {
            (Traffic::Frames, _) if count > 0 => {
                shared.record(direction, connection, frames.split(bytes));
            }
            (Traffic::Rewritten(from, to), Direction::ToServer) => replace(bytes, from, to),
            (Traffic::Quorum, Direction::ToServer) => {
                packets = acks.pass(bytes, shared.lock().acks_held);
                bytes = &mut packets;
            }
            _ => {}
        }
        let truncated = shared.delay(direction);
        if truncated {
            let half = bytes.len() / 2;
            bytes = &mut bytes[..half];
        }
        if !shared.begin_write(direction, connection) {
            return;
        }
        let written = to.write_all(bytes);
        if count == 0 {
            let _ = to.shutdown(Shutdown::Write);
        }
        shared.end_write(direction);
        if count == 0 || written.is_err() || truncated {
            break truncated;
        }
    };
    if direction == Direction::ToClient || truncated {
        close(&mut shared.lock().connections[connection]);
        shared.changed.notify_all();
    }
}

/// Replaces every `from` in `bytes` by `to`, which is as long.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    for at in 0..bytes.len() {
        if bytes[at..].starts_with(from) {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
}

fn close(connection: &mut Option<[TcpStream; 2]>) {
    for end in connection.take().into_iter().flatten() {
        let _ = end.shutdown(Shutdown::Both);
    }
}
