//! The server at the other end: it reads and checks all that the client writes,
//! keeps a few znodes, and answers as the story wants it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zklock::proto::*;

use super::story::{Answer, Answered, Welcome};

/// What a server may answer and a client acts upon.
const REFUSALS: [ErrorCode; 12] = [
    ErrorCode::NoNode,
    ErrorCode::NodeExists,
    ErrorCode::NoAuth,
    ErrorCode::InvalidAcl,
    ErrorCode::NoChildrenForEphemerals,
    ErrorCode::ThrottledOp,
    ErrorCode::MarshallingError,
    ErrorCode::NotReadOnly,
    ErrorCode::Unimplemented,
    ErrorCode::SessionExpired,
    ErrorCode::AuthFailed,
    ErrorCode::SessionClosedRequireSaslAuth,
];

struct Node {
    path: Arc<str>,
    owner: i64,
    czxid: i64,
    data: Option<Bytes>,
}

/// What strangers' claims say: that they are to be held for a moment only.
const STRANGER: &[u8] = br#"{"ttl_ms":700,"session_timeout_ms":100}"#;

/// All servers in one, with one connection at a time.
pub(super) struct Peer {
    greeting: Option<ConnectRequest>,
    welcomed: bool,
    in_flight: VecDeque<(i32, Request)>,
    last_xid: i32,
    last_session: i64,
    zxid: i64,
    next_number: i32,
    nodes: Vec<Node>,
    /// The paths of all requests that arrived.
    reached: Vec<String>,
}

impl Peer {
    /// A server on which strangers wait for the locks already.
    pub(super) fn new() -> Self {
        let strangers = ["/locks", "/locks/lock-0000000003", "/a-0000000004"];
        let node = |path: &&str| Node {
            path: (*path).into(),
            owner: 1,
            czxid: 1,
            data: Some(Bytes::from_static(STRANGER)),
        };
        Self {
            greeting: None,
            welcomed: false,
            in_flight: VecDeque::new(),
            last_xid: 0,
            last_session: 0x0100_0012_3072_0000,
            zxid: 1,
            next_number: 5,
            nodes: strangers.iter().map(node).collect(),
            reached: Vec::new(),
        }
    }

    pub(super) fn reached(&self) -> &[String] {
        &self.reached
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Whether the handshake is still to be answered.
    pub(super) fn owes_welcome(&self) -> bool {
        self.greeting.is_some() && !self.welcomed
    }

    /// A new connection.
    pub(super) fn connect(&mut self) {
        self.greeting = None;
        self.welcomed = false;
        self.in_flight.clear();
    }

    /// What was written are whole frames: first the handshake, and nothing but
    /// requests once that is answered.
    pub(super) fn receive(&mut self, bytes: &[u8], session: Option<i64>) {
        let mut buf = BytesMut::from(bytes);
        while let Some(frame) = FrameReader::default().read(&mut buf).expect("a frame") {
            if self.greeting.is_none() {
                self.take_greeting(&frame, session);
            } else {
                assert!(self.welcomed, "a request before the handshake was answered");
                self.take_request(&frame);
            }
        }
        assert!(buf.is_empty(), "half a frame");
    }

    fn take_greeting(&mut self, frame: &Bytes, session: Option<i64>) {
        let mut reader = Reader::new(frame);
        let greeting = ConnectRequest::decode(&mut reader).expect("a handshake");
        assert_eq!(reader.finish(), Ok(()));
        assert_eq!(greeting.session_id, session.unwrap_or(0));
        assert!(greeting.timeout_ms > 0);
        self.greeting = Some(greeting);
    }

    fn take_request(&mut self, frame: &Bytes) {
        let (header, request) = Request::decode_strict(frame).expect("a request");
        match request {
            Request::Ping => assert_eq!(header.xid, xid::PING),
            Request::Auth { .. } if header.xid == xid::AUTH => {}
            _ => {
                assert!(header.xid > self.last_xid, "xids count on, from 1");
                self.last_xid = header.xid;
            }
        }
        self.reached
            .extend(request.path().map(|path| path.to_string()));
        self.in_flight.push_back((header.xid, request));
    }

    pub(super) fn welcome(&mut self, welcome: Welcome, session: Option<i64>) -> Bytes {
        self.welcomed = self.greeting.is_some();
        let asked = self.greeting.as_ref();
        let asked_timeout = asked.map_or(6000, |greeting| greeting.timeout_ms);
        if matches!(welcome, Welcome::Expired) || session.is_none() {
            self.end_session(session);
            self.last_session += 1;
        }
        let good = ConnectResponse {
            protocol_version: 0,
            timeout_ms: asked_timeout,
            session_id: session.unwrap_or(self.last_session),
            password: Password(Some(Bytes::from_static(b"0123456789abcdef"))),
            read_only: Some(false),
        };
        let response = match welcome {
            Welcome::Good => good,
            Welcome::Granted { timeout_ms } => ConnectResponse {
                timeout_ms: i32::from(timeout_ms) + 1,
                ..good
            },
            Welcome::Expired => ConnectResponse {
                timeout_ms: 0,
                session_id: 0,
                ..good
            },
            Welcome::Replaced => ConnectResponse {
                session_id: -2,
                ..good
            },
            Welcome::ReadOnly => ConnectResponse {
                read_only: Some(true),
                ..good
            },
            Welcome::Odd {
                timeout_ms,
                session_id,
                password,
                read_only,
            } => ConnectResponse {
                timeout_ms,
                session_id,
                password: Password((password > 0).then(|| vec![9; password.into()].into())),
                read_only,
                ..good
            },
        };
        encoded(|out| response.encode(out))
    }

    /// The answer to a request; `None` if none is in flight.
    pub(super) fn answer(&mut self, answer: Answer, session: i64) -> Option<Bytes> {
        let skip = usize::from(answer.skip);
        let index = if skip < self.in_flight.len() { skip } else { 0 };
        let (xid, request) = self.in_flight.remove(index)?;
        let result = match answer.outcome {
            Answered::Executed | Answered::Garbled(_) => self.execute(&request, session),
            Answered::Refused(code) => Err(REFUSALS[usize::from(code) % REFUSALS.len()]),
            Answered::Error(code) => Err(ErrorCode::from_i32(code)),
        };
        let header = ReplyHeader {
            xid,
            zxid: self.zxid.saturating_add(answer.zxid.into()),
            error: result.as_ref().err().copied().unwrap_or(ErrorCode::Ok),
        };
        Some(encoded(|out| {
            header.encode(out);
            match (answer.outcome, result) {
                (Answered::Garbled(bytes), _) => out.extend_from_slice(&bytes),
                (_, Ok(reply)) => reply.encode(out),
                (_, Err(_)) => {}
            }
        }))
    }

    /// Executes the oldest requests, whose replies nobody will see.
    pub(super) fn execute_in_vain(&mut self, count: usize, session: i64) {
        let count = count.min(self.in_flight.len());
        for (_, request) in self.in_flight.drain(..count).collect::<Vec<_>>() {
            // What it would have said does not matter.
            let _ = self.execute(&request, session);
        }
    }

    pub(super) fn event(&self, kind: i8, node: u8) -> Bytes {
        let path = self.node(node).map(|index| &*self.nodes[index].path);
        event(EventType::from_i32(kind.into()), path.unwrap_or("/"))
    }

    /// Someone deletes a znode.
    pub(super) fn remove(&mut self, node: u8) -> Option<Bytes> {
        let node = self.nodes.remove(self.node(node)?);
        self.zxid += 1;
        Some(event(EventType::NodeDeleted, &node.path))
    }

    fn node(&self, node: u8) -> Option<usize> {
        usize::from(node).checked_rem(self.nodes.len())
    }

    fn end_session(&mut self, session: Option<i64>) {
        self.nodes.retain(|node| Some(node.owner) != session);
    }

    fn execute(&mut self, request: &Request, session: i64) -> Result<Reply, ErrorCode> {
        Ok(match request {
            Request::Create {
                path, mode, data, ..
            } => Reply::Create {
                path: self.create(path, *mode, session, data)?,
            },
            Request::Create2 {
                path, mode, data, ..
            } => Reply::Create2 {
                path: self.create(path, *mode, session, data)?,
                stat: Stat::default(),
            },
            Request::Delete { path, .. } => {
                let index = self.find(path)?;
                self.nodes.remove(index);
                self.zxid += 1;
                Reply::Delete
            }
            Request::Exists { path, .. } => {
                let node = &self.nodes[self.find(path)?];
                let stat = Stat {
                    czxid: node.czxid,
                    ephemeral_owner: node.owner,
                    ..Stat::default()
                };
                Reply::Exists { stat }
            }
            Request::GetData { path, .. } => Reply::GetData {
                data: self.nodes[self.find(path)?].data.clone(),
                stat: Stat::default(),
            },
            Request::GetChildren { path, .. } => Reply::GetChildren {
                children: self.children(path)?,
            },
            Request::GetChildren2 { path, .. } => Reply::GetChildren2 {
                children: self.children(path)?,
                stat: Stat::default(),
            },
            Request::Sync { path } => Reply::Sync {
                path: Arc::clone(path),
            },
            Request::Ping => Reply::Ping,
            Request::Auth { .. } => Reply::Auth,
            Request::CloseSession => {
                self.end_session(Some(session));
                Reply::CloseSession
            }
            request => panic!("{request:?}"),
        })
    }

    fn create(
        &mut self,
        path: &Arc<str>,
        mode: CreateMode,
        owner: i64,
        data: &Option<Bytes>,
    ) -> Result<Arc<str>, ErrorCode> {
        let (parent, _) = path.rsplit_once('/').unwrap_or_default();
        if !parent.is_empty() {
            self.find(parent)?;
        }
        let sequential = mode == CreateMode::EphemeralSequential;
        let path = if sequential {
            self.next_number += 1;
            format!("{path}{:010}", self.next_number).into()
        } else {
            Arc::clone(path)
        };
        if self.find(&path).is_ok() {
            return Err(ErrorCode::NodeExists);
        }
        self.zxid += 1;
        self.nodes.push(Node {
            path: Arc::clone(&path),
            owner,
            czxid: self.zxid,
            data: data.clone(),
        });
        Ok(path)
    }

    fn find(&self, path: &str) -> Result<usize, ErrorCode> {
        let found = self.nodes.iter().position(|node| *node.path == *path);
        found.ok_or(ErrorCode::NoNode)
    }

    fn children(&self, path: &str) -> Result<Children, ErrorCode> {
        let prefix = path.trim_end_matches('/');
        if !prefix.is_empty() {
            self.find(path)?;
        }
        let name = |node: &Node| {
            let name = node.path.strip_prefix(prefix)?.strip_prefix('/')?;
            (!name.contains('/')).then(|| name.to_owned())
        };
        Ok(self.nodes.iter().filter_map(name).collect())
    }
}

fn event(kind: EventType, path: &str) -> Bytes {
    encoded(|out| {
        ReplyHeader {
            xid: xid::WATCH_EVENT,
            zxid: -1,
            error: ErrorCode::Ok,
        }
        .encode(out);
        WatcherEvent {
            kind,
            state: KeeperState::SyncConnected,
            path: path.into(),
        }
        .encode(out);
    })
}

fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}
