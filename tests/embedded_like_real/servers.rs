//! The two servers, both behind the same few verbs: a real one on sockets, and
//! the embedded one's core.

use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use zklock::embedded::{Config, ConnectionId, Core, Output};
use zklock::proto::FrameReader;

/// What comes next from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A frame, without its length prefix.
    Frame(Bytes),
    /// The connection is closed.
    Closed,
    /// Nothing.
    Silence,
}

/// A server as its clients see it. Connections are numbered from 0.
pub(crate) trait Server {
    /// Opens the next connection.
    fn connect(&mut self);
    fn send(&mut self, to: usize, bytes: &[u8]);
    fn next(&mut self, from: usize) -> Next;
    fn hang_up(&mut self, connection: usize);
}

/// A real server that says nothing for so long has nothing to say.
const SILENCE: Duration = Duration::from_secs(10);

/// A real server, through sockets.
pub(crate) struct Real {
    address: String,
    connections: Vec<Option<(TcpStream, BytesMut)>>,
}

impl Real {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            connections: Vec::new(),
        }
    }
}

impl Server for Real {
    fn connect(&mut self) {
        let stream = TcpStream::connect(&self.address).expect("connect to the real server");
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        self.connections.push(Some((stream, BytesMut::new())));
    }

    /// Where the connection is closed, reading says so.
    fn send(&mut self, to: usize, bytes: &[u8]) {
        if let Some((stream, _)) = &mut self.connections[to] {
            let _ = stream.write_all(bytes);
        }
    }

    fn next(&mut self, from: usize) -> Next {
        let Some((stream, incoming)) = &mut self.connections[from] else {
            return Next::Closed;
        };
        loop {
            if let Some(frame) = FrameReader::default().read(incoming).expect("a frame") {
                return Next::Frame(frame);
            }
            let mut chunk = [0; 16 * 1024];
            match stream.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => incoming.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    return Next::Silence;
                }
                Err(_) => break,
            }
        }
        self.hang_up(from);
        Next::Closed
    }

    /// Waits until the server has noticed: a session that is attached again
    /// meanwhile may find its new connection forgotten with the old one.
    fn hang_up(&mut self, connection: usize) {
        if let Some((mut stream, _)) = self.connections[connection].take() {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}

/// The embedded server, which is told of a time of its own: a millisecond for
/// everything that happens.
pub(crate) struct Embedded {
    pub(crate) core: Core,
    now: Duration,
    connections: Vec<ConnectionId>,
    /// What it has written to each and not closed.
    written: BTreeMap<ConnectionId, VecDeque<Bytes>>,
}

impl Embedded {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            core: Core::new(config),
            now: Duration::ZERO,
            connections: Vec::new(),
            written: BTreeMap::new(),
        }
    }

    /// What follows happens from this time on.
    pub(crate) fn wait_until(&mut self, time: Duration) {
        self.now = time;
    }

    fn time(&mut self) -> Duration {
        self.now += Duration::from_millis(1);
        self.now
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Write { to, bytes } => {
                    let written = self.written.entry(to).or_default();
                    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap());
                    assert_eq!(length as usize, bytes.len() - 4);
                    written.push_back(bytes.slice(4..));
                }
                Output::Close(connection) => {
                    let written = self.written.entry(connection).or_default();
                    // The end.
                    written.push_back(Bytes::new());
                }
            }
        }
    }
}

impl Server for Embedded {
    fn connect(&mut self) {
        let now = self.time();
        self.connections.push(self.core.accept(now));
    }

    fn send(&mut self, to: usize, bytes: &[u8]) {
        let now = self.time();
        self.core.received(self.connections[to], bytes, now);
        self.drain();
    }

    fn next(&mut self, from: usize) -> Next {
        let written = self.written.entry(self.connections[from]).or_default();
        match written.front() {
            None => Next::Silence,
            Some(end) if end.is_empty() => Next::Closed,
            Some(_) => Next::Frame(written.pop_front().unwrap()),
        }
    }

    fn hang_up(&mut self, connection: usize) {
        let now = self.time();
        self.core.disconnected(self.connections[connection], now);
        self.drain();
    }
}
