//! Connections: bytes on their way in two directions.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::clock::Nanos;
use crate::dice::Dice;
use crate::servers::Port;

#[derive(Clone, Debug)]
pub(crate) enum Chunk {
    Bytes(Bytes),
    /// No more will come.
    End,
}

/// One direction of a connection: in order, and not always to the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pipe {
    chunks: VecDeque<(Nanos, Chunk)>,
    last: Nanos,
    /// Whatever is sent from now on does not arrive.
    pub(crate) hole: bool,
    ended: bool,
    /// So much longer all is on its way.
    pub(crate) slow: Nanos,
}

impl Pipe {
    /// Returns when it will arrive; `None` if it never will.
    pub(crate) fn send(&mut self, chunk: Chunk, now: Nanos, takes: Nanos) -> Option<Nanos> {
        if self.hole || self.ended {
            return None;
        }
        self.ended = matches!(chunk, Chunk::End);
        self.last = self.last.max(now + takes + self.slow);
        self.chunks.push_back((self.last, chunk));
        Some(self.last)
    }

    /// What has arrived next.
    pub(crate) fn arrived(&mut self, now: Nanos) -> Option<Chunk> {
        let (at, _) = self.chunks.front()?;
        if *at > now {
            return None;
        }
        self.chunks.pop_front().map(|(_, chunk)| chunk)
    }

    /// Some of what is on its way, up to any byte, is all that arrives.
    pub(crate) fn truncate(&mut self, dice: &mut Dice) {
        if self.ended {
            return;
        }
        let len = |chunk: &Chunk| match chunk {
            Chunk::Bytes(bytes) => bytes.len(),
            Chunk::End => 0,
        };
        let all: usize = self.chunks.iter().map(|(_, chunk)| len(chunk)).sum();
        let mut keep = dice.index(all + 1);
        self.chunks.retain_mut(|(_, chunk)| {
            let Chunk::Bytes(bytes) = chunk else {
                return true;
            };
            bytes.truncate(keep);
            keep -= bytes.len();
            !bytes.is_empty()
        });
    }
}

/// A connection between a client and a server.
#[derive(Clone, Debug)]
pub(crate) struct Conn {
    pub(crate) client: usize,
    /// Where it is for the server.
    pub(crate) port: Port,
    pub(crate) up: Pipe,
    pub(crate) down: Pipe,
    pub(crate) client_left: bool,
    pub(crate) server_left: bool,
}

impl Conn {
    pub(crate) fn new(client: usize, port: Port) -> Self {
        Self {
            client,
            port,
            up: Pipe::default(),
            down: Pipe::default(),
            client_left: false,
            server_left: false,
        }
    }

    /// All that is sent arrives.
    pub(crate) fn is_sound(&self) -> bool {
        !self.up.hole && !self.down.hole && !self.client_left && !self.server_left
    }
}

/// Splits bytes anywhere.
pub(crate) fn chop(mut bytes: Bytes, dice: &mut Dice) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for _ in 0..dice.below(4) {
        let at = dice.index(bytes.len() + 1);
        if at > 0 && at < bytes.len() {
            pieces.push(bytes.split_to(at));
        }
    }
    pieces.push(bytes);
    pieces
}
