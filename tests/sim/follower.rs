//! What a server of an ensemble does for its clients: reads by itself, and all
//! else by the leader.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use zklock::proto::{
    ConnectRequest, ConnectResponse, OpCode, Password, Reader, Request, RequestHeader, write_frame,
};

use crate::ensemble::{Ensemble, Entry, Word};
use crate::servers::{Out, Port};

/// A client's connection.
#[derive(Debug, Default)]
pub(crate) struct Peer {
    pub(crate) incoming: BytesMut,
    session: Session,
    /// What it has asked and is not answered, oldest first.
    asked: VecDeque<Asked>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Session {
    #[default]
    None,
    /// The leader is asked.
    Asked,
    Is(i64),
}

#[derive(Debug)]
struct Asked {
    xid: i32,
    frame: Bytes,
    /// Only the leader can answer it.
    by_leader: bool,
}

impl Ensemble {
    /// A frame of a client's.
    pub(crate) fn take(&mut self, port: Port, frame: Bytes) {
        let zxid = self.nodes[port.0].core.last_zxid();
        let Some(peer) = self.peer(port) else {
            return;
        };
        match peer.session {
            Session::Is(session) => self.request(port, session, frame),
            Session::Asked => panic!("a client that does not wait for its welcome"),
            Session::None => {
                let greeting =
                    ConnectRequest::decode(&mut Reader::new(&frame)).expect("a greeting");
                if greeting.last_zxid_seen > zxid {
                    self.count("a follower is too far behind for a client");
                    return self.close(port);
                }
                self.close_earlier(port.0, greeting.session_id);
                let Some(peer) = self.peer(port) else {
                    return;
                };
                peer.session = Session::Asked;
                peer.asked.push_back(Asked {
                    xid: 0,
                    frame,
                    by_leader: true,
                });
                let (from, timeout_ms) = (port, greeting.timeout_ms);
                self.send(
                    port.0,
                    true,
                    match greeting.session_id {
                        0 => Word::Open { from, timeout_ms },
                        session => Word::Take { from, session },
                    },
                );
            }
        }
    }

    /// A server has one connection of a session: the latest. It hangs up on the
    /// one before as soon as the client greets, before the leader knows of it.
    fn close_earlier(&mut self, node: usize, session: i64) {
        let peers = self.nodes[node].peers.iter();
        let earlier = peers.filter(|(_, peer)| peer.session == Session::Is(session));
        for connection in earlier.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.close((node, connection));
        }
    }

    /// What the leader has to answer is sent to it at once; all is answered in
    /// order.
    fn request(&mut self, port: Port, session: i64, frame: Bytes) {
        self.touch(port.0, session);
        let header = RequestHeader::decode(&mut Reader::new(&frame)).expect("a header");
        let op = OpCode::from_i32(header.op).expect("an opcode");
        let by_leader = !matches!(
            op,
            OpCode::Ping | OpCode::Exists | OpCode::GetData | OpCode::GetChildren
        );
        let (from, xid) = (port, header.xid);
        if op == OpCode::Sync {
            self.send(port.0, true, Word::Sync { from, xid });
        } else if by_leader {
            let (_, request) = Request::decode_strict(&frame).expect("a request");
            self.send(
                port.0,
                true,
                Word::Ask {
                    from,
                    session,
                    xid,
                    request,
                },
            );
        }
        if let Some(peer) = self.peer(port) {
            peer.asked.push_back(Asked {
                xid,
                frame,
                by_leader,
            });
        }
        self.answer(port);
    }

    /// A session is heard of: the leader will be told when it asks.
    fn touch(&mut self, node: usize, session: i64) {
        if self.leader == Some(node) {
            self.table.touch(session, self.now);
        } else if !self.nodes[node].touched.contains(&session) {
            self.nodes[node].touched.push(session);
        }
    }

    /// Answers all up to what only the leader can.
    fn answer(&mut self, port: Port) {
        while let Some(peer) = self.peer(port) {
            if peer.asked.front().is_none_or(|first| first.by_leader) {
                return;
            }
            let first = peer.asked.pop_front().expect("it is there");
            self.feed(port, &first.frame);
        }
    }

    pub(crate) fn follower_hears(&mut self, node: usize, word: Word) {
        match word {
            Word::Commit(index) => {
                let applied = self.nodes[node].applied;
                assert!(index <= applied, "commits come in order");
                if index == applied {
                    self.apply_next(node);
                }
            }
            Word::Taken { to, alive } => self.taken(to, alive),
            Word::Synced { to, xid } => {
                self.answer_first(to, xid);
            }
            Word::Moved { to } => self.close(to),
            Word::Poll => {
                let touched = std::mem::take(&mut self.nodes[node].touched);
                self.send(node, true, Word::Touches(touched));
            }
            other => panic!("a follower is told {other:?}"),
        }
    }

    /// Whether the leader knows the session that a client has come back with.
    fn taken(&mut self, to: Port, alive: bool) {
        let Some(peer) = self.peer(to) else {
            return;
        };
        let Some(asked) = peer.asked.pop_front() else {
            return;
        };
        if alive {
            let greeting = ConnectRequest::decode(&mut Reader::new(&asked.frame));
            peer.session = Session::Is(greeting.expect("it was one").session_id);
            return self.feed(to, &asked.frame);
        }
        let mut out = BytesMut::new();
        let refusal = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 0,
            session_id: 0,
            password: Password::zeros(),
            read_only: Some(false),
        };
        write_frame(&mut out, |out| refusal.encode(out)).expect("a short frame");
        self.outs.push_back(Out::Write(to, out.freeze()));
        self.close(to);
    }

    /// Does the first of what a client has asked, if it is this. Returns
    /// whether it was.
    fn answer_first(&mut self, port: Port, xid: i32) -> bool {
        let Some(peer) = self.peer(port) else {
            return false;
        };
        let is_this = |first: &&Asked| first.xid == xid && first.by_leader;
        if peer.asked.front().filter(is_this).is_none() {
            return false;
        }
        let first = peer.asked.pop_front().expect("it is there");
        self.feed(port, &first.frame);
        self.answer(port);
        true
    }

    pub(crate) fn close(&mut self, port: Port) {
        if self.nodes[port.0].peers.remove(&port.1).is_some() {
            self.nodes[port.0]
                .core
                .disconnected(port.1, std::time::Duration::ZERO);
            self.outs.push_back(Out::Close(port));
        }
    }

    /// Does what is next in the log. A commit is matched to what a client waits
    /// for by session and xid, wherever it was asked.
    pub(crate) fn apply_next(&mut self, node: usize) {
        let entry = self.log[self.nodes[node].applied].clone();
        self.nodes[node].applied += 1;
        match entry {
            Entry::Open { from, timeout_ms } => self.opened(node, from, timeout_ms),
            Entry::Write {
                session,
                xid,
                request,
            } => self.written(node, session, xid, request),
            Entry::Close { session, xid } => {
                let waits = self.waits_for(node, session, xid);
                if !waits.is_some_and(|port| self.answer_first(port, xid)) {
                    self.nodes[node].core.expire(session);
                }
            }
            Entry::Expire(session) => {
                self.nodes[node].core.expire(session);
            }
            Entry::Counter(path, next) => {
                self.nodes[node].core.set_counter(path, next);
            }
        }
        self.collect(node);
    }

    /// Whoever waits for a request of this number gets this one's answer.
    fn written(&mut self, node: usize, session: i64, xid: i32, request: Request) {
        let Some(port) = self.waits_for(node, session, xid) else {
            let _ = self.nodes[node].core.apply(session, request);
            return;
        };
        let asked = self.peer(port).and_then(|peer| peer.asked.front());
        let frame = asked.map(|asked| asked.frame.clone()).unwrap_or_default();
        if Request::decode_strict(&frame).is_ok_and(|(_, asked)| asked == request) {
            self.answer_first(port, xid);
            return;
        }
        panic!("the answer to {request:?} is taken for another's, number {xid} on another server");
    }

    fn opened(&mut self, node: usize, from: Port, timeout_ms: i32) {
        let here = from.0 == node;
        let asked = self
            .peer(from)
            .filter(|_| here)
            .map(|peer| peer.asked.pop_front());
        let Some(Some(asked)) = asked else {
            self.nodes[node].core.open_elsewhere(timeout_ms);
            return;
        };
        self.feed(from, &asked.frame);
        let newest = self.nodes[node].core.sessions().max();
        if let (Some(peer), Some(session)) = (self.peer(from), newest) {
            peer.session = Session::Is(session);
        }
    }

    fn waits_for(&self, node: usize, session: i64, xid: i32) -> Option<Port> {
        let mut peers = self.nodes[node].peers.iter();
        let found = peers.find(|(_, peer)| {
            let first = peer.asked.front();
            peer.session == Session::Is(session)
                && first.is_some_and(|first| first.xid == xid && first.by_leader)
        });
        found.map(|(connection, _)| (node, *connection))
    }
}
