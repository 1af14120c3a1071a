//! The server as a state machine: connections, handshakes, sessions and time.
//!
//! ```text
//!  connection:  accepted --handshake--> attached --closeSession, expiry--> closed
//!                   \___ refused, silent ___\___ unknown opcode, re-attach __/
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, FrameReader, KeeperState, OpCode, Password, Perms,
    Reader, Reply, ReplyHeader, WatcherEvent, write_frame, xid,
};

use super::connection::{Attachment, Connection, Stage};
use super::sessions::{Sessions, password_of};
use super::tree::Tree;
use super::watches::{Trigger, Watches};

/// What a server is to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `tickTime`, 2 s unless set: sessions expire at whole ticks.
    pub tick: Duration,
    /// `minSessionTimeout`, two ticks unless set.
    pub min_session_timeout: Option<Duration>,
    /// `maxSessionTimeout`, twenty ticks unless set.
    pub max_session_timeout: Option<Duration>,
    /// `jute.maxbuffer`, just below 1 MiB unless set: the longest frame that is
    /// read, in bytes. A longer one ends the connection.
    pub max_frame: usize,
    /// Decides the ids of sessions, and with them their passwords. Its lowest
    /// 40 bits count.
    pub seed: u64,
    /// The server's wall clock at its zero, as the time since 1970: what the
    /// times in a `Stat` are made of.
    pub wall_clock: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tick: Duration::from_secs(2),
            min_session_timeout: None,
            max_session_timeout: None,
            max_frame: 0xf_ffff,
            seed: 0,
            wall_clock: Duration::ZERO,
        }
    }
}

/// A connection, as [`Core::accept`] numbered it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the server asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this frame, which has its length prefix, to the client.
    Write {
        /// Which client.
        to: ConnectionId,
        /// The frame.
        bytes: Bytes,
    },
    /// Close the connection, once all is written. It is gone for the server
    /// already.
    Close(ConnectionId),
}

/// So long a client may take for its handshake, up to as much again.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A single ZooKeeper server, without input, output and time.
///
/// Call one of [`accept`](Self::accept), [`received`](Self::received),
/// [`disconnected`](Self::disconnected) and [`tick`](Self::tick); then
/// [`poll`](Self::poll) until there is nothing more; then wait for the next
/// thing to happen, but no longer than until [`deadline`](Self::deadline).
///
/// Times are those of any clock that does not go back, counted from any zero; a
/// time before the last one counts as the last one.
#[derive(Clone, Debug)]
pub struct Core {
    pub(super) now: Duration,
    wall_clock: Duration,
    frames: FrameReader,
    /// The last transaction's.
    pub(super) zxid: i64,
    pub(super) tree: Tree,
    pub(super) sessions: Sessions,
    pub(super) watches: Watches,
    connections: BTreeMap<ConnectionId, Connection>,
    /// The next answer to this is not given.
    pub(super) lost_reply: Option<OpCode>,
    accepted: u64,
    outputs: VecDeque<Output>,
}

impl Core {
    /// A server with an empty tree.
    pub fn new(config: Config) -> Self {
        Self {
            now: Duration::ZERO,
            wall_clock: config.wall_clock,
            frames: FrameReader::new(config.max_frame),
            zxid: 0,
            tree: Tree::new(),
            sessions: Sessions::new(&config),
            watches: Watches::default(),
            connections: BTreeMap::new(),
            lost_reply: None,
            accepted: 0,
            outputs: VecDeque::new(),
        }
    }

    /// A client has connected.
    pub fn accept(&mut self, now: Duration) -> ConnectionId {
        self.tick(now);
        self.accepted = self.accepted.wrapping_add(1);
        let id = ConnectionId(self.accepted);
        let periods = self.now.as_secs() / HANDSHAKE.as_secs();
        let until = HANDSHAKE.saturating_mul(u32::try_from(periods).unwrap_or(u32::MAX));
        let until = until.saturating_add(HANDSHAKE.saturating_mul(2));
        self.connections.insert(id, Connection::new(until));
        id
    }

    /// Bytes have come from a client, whole frames or not. Those from a closed
    /// connection are ignored.
    pub fn received(&mut self, from: ConnectionId, bytes: &[u8], now: Duration) {
        self.tick(now);
        if let Some(connection) = self.connections.get_mut(&from) {
            connection.incoming.extend_from_slice(bytes);
        }
        while let Some(connection) = self.connections.get_mut(&from) {
            match self.frames.read(&mut connection.incoming) {
                Ok(Some(frame)) => self.frame(from, &frame),
                Ok(None) => break,
                Err(_) => self.close(from),
            }
        }
    }

    /// A client has gone. Its session lives on until it expires.
    pub fn disconnected(&mut self, connection: ConnectionId, now: Duration) {
        self.tick(now);
        self.forget(connection);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
        while let Some((at, session)) = self.sessions.next_expiry() {
            if at > self.now {
                break;
            }
            self.end_by_expiry(session);
        }
        let silent =
            |connection: &Connection| connection.deadline().is_some_and(|it| it <= self.now);
        let silent = self.connections.iter().filter(|(_, it)| silent(it));
        let silent: Vec<_> = silent.map(|(id, _)| *id).collect();
        for connection in silent {
            self.close(connection);
        }
    }

    /// The next thing to do, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`tick`](Self::tick) has to be called, if nothing happens before.
    pub fn deadline(&self) -> Option<Duration> {
        let handshakes = self.connections.values().filter_map(Connection::deadline);
        let expiry = self.sessions.next_expiry().map(|(at, _)| at);
        handshakes.chain(expiry).min()
    }

    /// The zxid of the last transaction.
    pub fn last_zxid(&self) -> i64 {
        self.zxid
    }

    /// The sessions that are alive.
    pub fn sessions(&self) -> impl Iterator<Item = i64> {
        self.sessions.ids()
    }

    /// How many watches are set.
    pub fn watch_count(&self) -> usize {
        self.watches.len()
    }

    fn frame(&mut self, from: ConnectionId, frame: &Bytes) {
        let stage = self.connections.get(&from).map(|it| it.stage);
        match stage {
            Some(Stage::Accepted { .. }) => match ConnectRequest::decode(&mut Reader::new(frame)) {
                Ok(request) => self.handshake(from, &request),
                Err(_) => self.close(from),
            },
            Some(Stage::Attached(attachment)) => self.request(from, attachment, frame),
            None => {}
        }
    }

    fn handshake(&mut self, from: ConnectionId, request: &ConnectRequest) {
        if request.last_zxid_seen > self.zxid {
            // The client knows of more than this server does.
            return self.close(from);
        }
        let timeout_ms = self.sessions.clamp(request.timeout_ms);
        let session = match request.session_id {
            0 => {
                self.zxid += 1;
                Some(self.sessions.open(timeout_ms, self.now))
            }
            id => {
                if let Some(old) = self.sessions.connection(id) {
                    self.close(old);
                }
                let known = self.sessions.knows(id, request.password.as_bytes());
                known.then_some(id)
            }
        };
        if let Some(session) = session {
            self.sessions.touch(session, timeout_ms, self.now);
            self.attach(
                from,
                Attachment {
                    session,
                    timeout_ms,
                },
            );
        }
        let response = ConnectResponse {
            protocol_version: 0,
            timeout_ms: session.map_or(0, |_| timeout_ms),
            session_id: session.unwrap_or(0),
            password: session.map_or_else(Password::zeros, |id| {
                Password(Some(Bytes::copy_from_slice(&password_of(id))))
            }),
            read_only: request.read_only.map(|_| false),
        };
        self.write(from, |out| response.encode(out));
        if session.is_none() {
            self.close(from);
        }
    }

    fn attach(&mut self, connection: ConnectionId, attachment: Attachment) {
        self.sessions.attach(attachment.session, Some(connection));
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.stage = Stage::Attached(attachment);
        }
    }

    /// Ends a session that has not been heard of. Its client is not told.
    pub(super) fn end_by_expiry(&mut self, session: i64) {
        if let Some(connection) = self.sessions.connection(session) {
            self.close(connection);
        }
        self.end_session(session);
    }

    /// One transaction: the session, and all its ephemerals.
    pub(super) fn end_session(&mut self, session: i64) {
        self.zxid += 1;
        self.sessions.end(session);
        let triggers = self.tree.end_session(session, self.zxid);
        self.fire(&triggers);
    }

    pub(super) fn fire(&mut self, triggers: &[Trigger]) {
        for trigger in triggers {
            let event = WatcherEvent {
                kind: trigger.kind,
                state: KeeperState::SyncConnected,
                path: trigger.path.clone(),
            };
            for connection in self.watches.fire(trigger) {
                if self.may_read(connection, trigger) {
                    self.tell(connection, &event);
                }
            }
        }
    }

    fn may_read(&self, connection: ConnectionId, trigger: &Trigger) -> bool {
        let connection = self.connections.get(&connection);
        connection.is_some_and(|it| it.identities.may(Perms::READ, &trigger.acl).is_ok())
    }

    /// Writes an event.
    pub(super) fn tell(&mut self, connection: ConnectionId, event: &WatcherEvent) {
        let header = ReplyHeader {
            xid: xid::WATCH_EVENT,
            zxid: -1,
            error: ErrorCode::Ok,
        };
        self.write(connection, |out| {
            header.encode(out);
            event.encode(out);
        });
    }

    /// Writes an answer.
    pub(super) fn reply(&mut self, to: ConnectionId, header: ReplyHeader, reply: Option<&Reply>) {
        self.write(to, |out| {
            header.encode(out);
            if let Some(reply) = reply {
                reply.encode(out);
            }
        });
    }

    fn write(&mut self, to: ConnectionId, payload: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        match write_frame(&mut out, payload) {
            Ok(()) => self.outputs.push_back(Output::Write {
                to,
                bytes: out.freeze(),
            }),
            Err(_) => self.close(to),
        }
    }

    pub(super) fn close(&mut self, connection: ConnectionId) {
        if self.forget(connection) {
            self.outputs.push_back(Output::Close(connection));
        }
    }

    /// Returns whether the connection was there.
    fn forget(&mut self, connection: ConnectionId) -> bool {
        self.watches.forget(connection);
        let Some(gone) = self.connections.remove(&connection) else {
            return false;
        };
        if let Stage::Attached(Attachment { session, .. }) = gone.stage {
            self.sessions.attach(session, None);
        }
        true
    }

    /// Those that are open.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.connections.keys().copied()
    }

    pub(super) fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    /// Milliseconds since 1970.
    pub(super) fn wall_clock_ms(&self) -> i64 {
        let time = self.wall_clock.saturating_add(self.now);
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
    }
}
