//! A correct ensemble, as small as the lock needs it: one tree, sessions,
//! one-shot watches, and servers that lag behind until they must not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zklock::lock::sequence_number;
use zklock::proto::{
    Children, ConnectRequest, CreateMode, ErrorCode, EventType, Reader, Reply, Request, Stat,
};
use zklock::session::Timestamp;

use super::scripted::{connect_response, error, event, ok, welcome};

/// Which of the clients.
pub(crate) type ClientId = usize;

#[derive(Debug, Default)]
pub(crate) struct Server {
    zxid: i64,
    nodes: Tree,
    /// What the tree was before the last transactions, oldest first.
    past: VecDeque<(i64, Tree)>,
    /// The next handshake is answered by a server that is so many of them
    /// behind, if the client has not seen more.
    pub(crate) lag: usize,
    sessions: BTreeMap<i64, Session>,
    connections: BTreeMap<ClientId, Connection>,
    /// So many requests will be refused as too many.
    pub(crate) throttled: u32,
}

type Tree = BTreeMap<Arc<str>, Node>;

/// So many transactions may a server be behind.
const LONGEST_LAG: usize = 8;

#[derive(Clone, Debug)]
struct Node {
    czxid: i64,
    owner: i64,
    /// How many children were created.
    children: i32,
    data: Option<Bytes>,
    version: i32,
}

#[derive(Debug)]
struct Session {
    timeout: Duration,
    heard: Timestamp,
}

#[derive(Debug, Default)]
struct Connection {
    session: Option<i64>,
    /// Watches for data and for children.
    watches: BTreeSet<(Arc<str>, Kind)>,
    /// What its server knows, if that lags.
    behind: Option<(i64, Tree)>,
    outgoing: VecDeque<Bytes>,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Data,
    Child,
}

type Answer = Result<Reply, ErrorCode>;

impl Server {
    pub(crate) fn accept(&mut self, client: ClientId) {
        self.connections.insert(client, Connection::default());
    }

    pub(crate) fn disconnect(&mut self, client: ClientId) {
        self.connections.remove(&client);
    }

    /// The next frame to this client; `None` if there is none.
    pub(crate) fn send(&mut self, client: ClientId) -> Option<Bytes> {
        self.connections.get_mut(&client)?.outgoing.pop_front()
    }

    /// Whether the server has closed the connection, and all is sent.
    pub(crate) fn has_closed(&self, client: ClientId) -> bool {
        let connection = self.connections.get(&client);
        connection.is_some_and(|connection| connection.closed && connection.outgoing.is_empty())
    }

    /// Whether this session has not ended.
    pub(crate) fn knows(&self, session: i64) -> bool {
        self.sessions.contains_key(&session)
    }

    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        let expiry = |session: &Session| session.heard + session.timeout;
        self.sessions.values().map(expiry).min()
    }

    /// Ends the sessions that were not heard of for their timeout.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        let due = |session: &Session| session.heard + session.timeout <= now;
        let over = self.sessions.iter().filter(|(_, session)| due(session));
        for id in over.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.end_session(id);
            for connection in self.connections.values_mut() {
                connection.closed |= connection.session == Some(id);
            }
        }
    }

    /// Takes a frame from this client.
    pub(crate) fn take(&mut self, client: ClientId, frame: &Bytes, now: Timestamp) {
        let Some(connection) = self.connections.get(&client).filter(|other| !other.closed) else {
            return;
        };
        let Some(id) = connection.session else {
            return self.welcome(client, frame, now);
        };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.heard = now;
        }
        let (header, request) = Request::decode_strict(frame).expect("a request");
        let answer = match self.throttled.checked_sub(1) {
            Some(left) if may_be_throttled(&request) => {
                self.throttled = left;
                Err(ErrorCode::ThrottledOp)
            }
            _ => self.execute(client, id, request),
        };
        let zxid = self.seen_by(client).0;
        let frame = match answer {
            Ok(reply) => ok(header.xid, zxid, &reply),
            Err(code) => error(header.xid, zxid, code),
        };
        self.push(client, frame);
    }

    fn welcome(&mut self, client: ClientId, frame: &Bytes, now: Timestamp) {
        let request = ConnectRequest::decode(&mut Reader::new(frame)).expect("a handshake");
        let timeout = Duration::from_millis(request.timeout_ms.unsigned_abs().into());
        let id = match request.session_id {
            0 => {
                self.transaction();
                self.zxid
            }
            id if self.sessions.contains_key(&id) => id,
            _ => {
                self.push(client, connect_response(&welcome(Duration::ZERO, 0)));
                self.close(client);
                return;
            }
        };
        self.sessions.insert(
            id,
            Session {
                timeout,
                heard: now,
            },
        );
        let behind = self.behind(request.last_zxid_seen);
        if let Some(connection) = self.connections.get_mut(&client) {
            connection.session = Some(id);
            connection.behind = behind;
        }
        self.push(client, connect_response(&welcome(timeout, id)));
    }

    /// A state of some transactions ago, but none before this zxid.
    fn behind(&mut self, seen: i64) -> Option<(i64, Tree)> {
        let lag = std::mem::take(&mut self.lag).min(self.past.len());
        let allowed = self.past.iter().rev().take(lag);
        allowed
            .take_while(|(zxid, _)| *zxid >= seen)
            .last()
            .cloned()
    }

    /// The tree as the client's server knows it, and its last transaction.
    fn seen_by(&self, client: ClientId) -> (i64, &Tree) {
        let connection = self.connections.get(&client);
        let behind = connection.and_then(|connection| connection.behind.as_ref());
        behind.map_or((self.zxid, &self.nodes), |(zxid, tree)| (*zxid, tree))
    }

    /// The client's server learns of all that has happened, and so does the
    /// client of what it watches.
    fn catch_up(&mut self, client: ClientId) {
        let Some(connection) = self.connections.get_mut(&client) else {
            return;
        };
        let Some((_, old)) = connection.behind.take() else {
            return;
        };
        let mut events = BTreeSet::new();
        connection.watches.retain(|(path, kind)| {
            let event = changed(&old, &self.nodes, path, *kind);
            events.extend(event.map(|event| (Arc::clone(path), event.as_i32())));
            event.is_none()
        });
        for (path, kind) in events {
            let event = event(EventType::from_i32(kind), &path);
            connection.outgoing.push_back(event);
        }
    }

    /// Something is about to change.
    fn transaction(&mut self) {
        self.past.push_back((self.zxid, self.nodes.clone()));
        if self.past.len() > LONGEST_LAG {
            self.past.pop_front();
        }
        self.zxid += 1;
    }

    fn execute(&mut self, client: ClientId, session: i64, request: Request) -> Answer {
        if !matches!(
            request,
            Request::Exists { .. }
                | Request::GetData { .. }
                | Request::GetChildren { .. }
                | Request::Ping
        ) {
            self.catch_up(client);
        }
        match request {
            Request::Create {
                path, mode, data, ..
            } => self.create(session, path, mode, data),
            Request::Delete { path, version } => {
                let found = stat(&self.nodes, &path)?.version;
                if version != -1 && version != found {
                    return Err(ErrorCode::BadVersion);
                }
                self.delete(&path).map(|()| Reply::Delete)
            }
            Request::GetData { path, .. } => {
                let nodes = self.seen_by(client).1;
                let stat = stat(nodes, &path)?;
                let data = nodes.get(&path).and_then(|node| node.data.clone());
                Ok(Reply::GetData { data, stat })
            }
            Request::Exists { path, watch } => {
                // A watch on a znode that is missing waits for its creation.
                self.watch(client, watch, &path, Kind::Data);
                stat(self.seen_by(client).1, &path).map(|stat| Reply::Exists { stat })
            }
            Request::GetChildren { path, watch } => {
                stat(self.seen_by(client).1, &path)?;
                self.watch(client, watch, &path, Kind::Child);
                let names = children(self.seen_by(client).1, &path);
                let children = names.iter().map(|name| &**name).collect::<Children>();
                Ok(Reply::GetChildren { children })
            }
            Request::Sync { path } => Ok(Reply::Sync { path }),
            Request::Ping => Ok(Reply::Ping),
            Request::CloseSession => {
                self.end_session(session);
                self.close(client);
                Ok(Reply::CloseSession)
            }
            other => panic!("not expected of a lock: {other:?}"),
        }
    }

    fn create(
        &mut self,
        session: i64,
        path: Arc<str>,
        mode: CreateMode,
        data: Option<Bytes>,
    ) -> Answer {
        self.transaction();
        let parent = parent(&path).to_owned();
        let number = match self.nodes.get_mut(&*parent) {
            _ if parent.is_empty() => 0,
            Some(parent) => parent.children,
            None => return Err(ErrorCode::NoNode),
        };
        let path = match mode {
            CreateMode::EphemeralSequential => format!("{path}{number:010}").into(),
            _ => path,
        };
        if self.nodes.contains_key(&path) {
            return Err(ErrorCode::NodeExists);
        }
        if let Some(parent) = self.nodes.get_mut(&*parent) {
            parent.children += 1;
        }
        let ephemeral = mode == CreateMode::EphemeralSequential;
        let node = Node {
            czxid: self.zxid,
            owner: if ephemeral { session } else { 0 },
            children: 0,
            data,
            version: 0,
        };
        self.nodes.insert(Arc::clone(&path), node);
        self.fire(EventType::NodeCreated, &path, &[Kind::Data]);
        self.fire(EventType::NodeChildrenChanged, &parent, &[Kind::Child]);
        Ok(Reply::Create { path })
    }

    pub(crate) fn delete(&mut self, path: &str) -> Result<(), ErrorCode> {
        self.transaction();
        if !self.children(path).is_empty() {
            return Err(ErrorCode::NotEmpty);
        }
        self.nodes.remove(path).ok_or(ErrorCode::NoNode)?;
        self.fire(EventType::NodeDeleted, path, &[Kind::Data, Kind::Child]);
        self.fire(EventType::NodeChildrenChanged, parent(path), &[Kind::Child]);
        Ok(())
    }

    /// Someone writes to a znode.
    pub(crate) fn touch(&mut self, path: &str) {
        self.transaction();
        if let Some(node) = self.nodes.get_mut(path) {
            node.version += 1;
        }
        self.fire(EventType::NodeDataChanged, path, &[Kind::Data]);
    }

    /// Another client's claim, of a session that does not end.
    pub(crate) fn create_foreign(&mut self, parent: &str) {
        let path = format!("{parent}/foreign-lock-").into();
        let _ = self.create(i64::MAX, path, CreateMode::EphemeralSequential, None);
    }

    fn end_session(&mut self, id: i64) {
        self.transaction();
        self.sessions.remove(&id);
        let owned = self.nodes.iter().filter(|(_, node)| node.owner == id);
        for path in owned.map(|(path, _)| Arc::clone(path)).collect::<Vec<_>>() {
            let _ = self.delete(&path);
        }
    }

    /// Each connection that watches gets the event once.
    fn fire(&mut self, kind: EventType, path: &str, watches: &[Kind]) {
        for connection in self.connections.values_mut() {
            if connection.behind.is_some() {
                continue;
            }
            let fires = |watch: &Kind| connection.watches.remove(&(path.into(), *watch));
            if watches.iter().copied().filter(fires).count() > 0 && !connection.closed {
                connection.outgoing.push_back(event(kind, path));
            }
        }
    }

    fn watch(&mut self, client: ClientId, watch: bool, path: &Arc<str>, kind: Kind) {
        if let Some(connection) = self.connections.get_mut(&client).filter(|_| watch) {
            connection.watches.insert((Arc::clone(path), kind));
        }
    }

    /// The names of a znode's children.
    pub(crate) fn children(&self, path: &str) -> Vec<String> {
        children(&self.nodes, path)
    }

    /// The path of the claim that is first in the queue.
    pub(crate) fn head(&self, path: &str) -> Option<String> {
        let children = self.children(path);
        let head = children
            .iter()
            .min_by_key(|name| sequence_number(name.as_bytes()))?;
        Some(format!("{path}/{head}"))
    }

    fn push(&mut self, client: ClientId, frame: Bytes) {
        if let Some(connection) = self.connections.get_mut(&client) {
            connection.outgoing.push_back(frame);
        }
    }

    fn close(&mut self, client: ClientId) {
        if let Some(connection) = self.connections.get_mut(&client) {
            connection.closed = true;
        }
    }
}

fn stat(tree: &Tree, path: &str) -> Result<Stat, ErrorCode> {
    let node = tree.get(path).ok_or(ErrorCode::NoNode)?;
    Ok(Stat {
        czxid: node.czxid,
        ephemeral_owner: node.owner,
        version: node.version,
        ..Stat::default()
    })
}

fn children(tree: &Tree, path: &str) -> Vec<String> {
    let names = tree.keys().filter_map(|child| {
        let name = child.strip_prefix(path)?.strip_prefix('/')?;
        (!name.contains('/')).then(|| name.to_owned())
    });
    names.collect()
}

/// What a watch tells of the way from the one tree to the other.
fn changed(old: &Tree, new: &Tree, path: &str, kind: Kind) -> Option<EventType> {
    let czxid = |tree: &Tree| tree.get(path).map(|node| node.czxid);
    match (czxid(old), czxid(new)) {
        (None, Some(_)) => Some(EventType::NodeCreated),
        (Some(before), after) if after != Some(before) => Some(EventType::NodeDeleted),
        _ if kind == Kind::Child && children(old, path) != children(new, path) => {
            Some(EventType::NodeChildrenChanged)
        }
        _ => None,
    }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Real servers throttle anything but these.
fn may_be_throttled(request: &Request) -> bool {
    !matches!(request, Request::Ping | Request::CloseSession)
}
