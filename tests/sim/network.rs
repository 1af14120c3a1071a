//! How bytes go between clients and servers.

use bytes::Bytes;
use zklock::proto::{EventType, Reader, ReplyHeader, WatcherEvent, xid};

use crate::clock::Nanos;
use crate::net::{Chunk, Conn, chop};
use crate::servers::Out;
use crate::world::{Event, World};

impl World {
    /// How long bytes are on their way now.
    pub(crate) fn takes(&mut self) -> Nanos {
        let latency = self.plan.latency;
        1 + self.dice.below(latency)
    }

    /// A client reaches a server, if that takes connections.
    pub(crate) fn connect(&mut self, client: usize, node: usize) -> Option<u64> {
        if self.down[node] > self.now {
            return None;
        }
        let port = self.servers.accept(node, self.now)?;
        let conn = self.next_serial();
        self.note(|_| format!("client {client} reaches server {node} by {conn}"));
        self.conns.insert(conn, Conn::new(client, port));
        self.ports.insert(port, conn);
        self.pump();
        Some(conn)
    }

    pub(crate) fn send_up(&mut self, conn: u64, bytes: Bytes) {
        for piece in self.pieces(bytes) {
            self.push_up(conn, Chunk::Bytes(piece));
        }
    }

    fn pieces(&mut self, bytes: Bytes) -> Vec<Bytes> {
        if self.dice.percent(self.plan.chopped) {
            self.counts.add("network", "transmissions in pieces", 1);
            chop(bytes, &mut self.dice)
        } else {
            vec![bytes]
        }
    }

    pub(crate) fn push_up(&mut self, conn: u64, chunk: Chunk) {
        let takes = self.takes();
        let now = self.now;
        let pipe = self.conns.get_mut(&conn).map(|it| &mut it.up);
        match pipe.and_then(|pipe| pipe.send(chunk, now, takes)) {
            Some(at) => self.at(at, Event::Up(conn)),
            None => self.counts.add("network", "transmissions lost", 1),
        }
    }

    pub(crate) fn push_down(&mut self, conn: u64, chunk: Chunk) {
        let takes = self.takes();
        let now = self.now;
        let pipe = self.conns.get_mut(&conn).map(|it| &mut it.down);
        match pipe.and_then(|pipe| pipe.send(chunk, now, takes)) {
            Some(at) => self.at(at, Event::Down(conn)),
            None => self.counts.add("network", "transmissions lost", 1),
        }
    }

    pub(crate) fn arrives_up(&mut self, id: u64) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let Some(chunk) = conn.up.arrived(now) else {
            return;
        };
        let port = conn.port;
        match chunk {
            _ if conn.server_left => {}
            Chunk::Bytes(bytes) => self.servers.received(port, &bytes, now),
            Chunk::End => {
                conn.server_left = true;
                self.ports.remove(&port);
                self.servers.disconnected(port, now);
                self.push_down(id, Chunk::End);
                self.bury(id);
            }
        }
        self.pump();
    }

    pub(crate) fn arrives_down(&mut self, id: u64) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        let Some(chunk) = conn.down.arrived(now) else {
            return;
        };
        let client = conn.client;
        if conn.client_left {
            return;
        }
        if matches!(chunk, Chunk::End) {
            conn.client_left = true;
            self.push_up(id, Chunk::End);
            self.bury(id);
        }
        self.clients[client].inbox.push_back(chunk);
        self.drive(client);
    }

    /// The client has closed its socket: what it has sent arrives, or some of
    /// it.
    pub(crate) fn client_leaves(&mut self, id: u64) {
        let rude = self.dice.percent(50);
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        conn.client_left = true;
        if rude {
            conn.up.truncate(&mut self.dice);
        }
        self.push_up(id, Chunk::End);
        self.bury(id);
    }

    /// Forgets a connection that both have left.
    fn bury(&mut self, id: u64) {
        if self
            .conns
            .get(&id)
            .is_some_and(|it| it.client_left && it.server_left)
        {
            self.conns.remove(&id);
        }
    }

    /// What the servers have said is on its way.
    pub(crate) fn pump(&mut self) {
        while let Some(out) = self.servers.poll() {
            match out {
                Out::Write(port, bytes) => {
                    let Some(conn) = self.ports.get(&port).copied() else {
                        continue;
                    };
                    self.look_at(conn, &bytes);
                    for piece in self.pieces(bytes) {
                        self.push_down(conn, Chunk::Bytes(piece));
                    }
                }
                Out::Close(port) => {
                    let Some(id) = self.ports.remove(&port) else {
                        continue;
                    };
                    self.note(|_| format!("the server closes {id}"));
                    if let Some(conn) = self.conns.get_mut(&id) {
                        conn.server_left = true;
                    }
                    self.push_down(id, Chunk::End);
                    self.bury(id);
                }
            }
        }
    }

    /// Notes who is told of the end of a claim.
    fn look_at(&mut self, conn: u64, frame: &Bytes) {
        let client = self.conns.get(&conn).map_or(usize::MAX, |it| it.client);
        let payload = frame.slice(4..);
        let mut reader = Reader::new(&payload);
        let Ok(header) = ReplyHeader::decode(&mut reader) else {
            return;
        };
        if header.xid != xid::WATCH_EVENT {
            let ReplyHeader { xid, zxid, error } = header;
            self.note(|_| format!("    to client {client}: {xid} {error:?} {zxid:#x}"));
            return;
        }
        let Ok(WatcherEvent { kind, path, .. }) = WatcherEvent::decode(&mut reader) else {
            return;
        };
        self.note(|_| format!("    to client {client}: {kind:?} {path}"));
        if kind == EventType::NodeDeleted {
            self.counts.add("claims", "events of a claim's end", 1);
            self.census.told_of_end(path, client);
        }
    }
}
