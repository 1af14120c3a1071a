//! The one task of an embedded server: the only code that touches its sockets,
//! its timer and the clock. It decides nothing but what a fault asks for; the
//! core does the rest.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep, sleep};

use super::core::{ConnectionId, Core, Output};
use super::peer::{Peer, Read, Stream};

/// After so many turns without a rest, other tasks get theirs.
const TURNS: usize = 32;

/// Something to be done by the task.
pub(super) type Command = Box<dyn FnOnce(&mut Task) + Send>;

/// Where clients come in.
pub(super) struct Doors {
    pub(super) listener: Option<TcpListener>,
    /// Those of this process, without a socket.
    pub(super) called: mpsc::UnboundedReceiver<DuplexStream>,
}

impl Doors {
    /// The next client.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Option<Box<dyn Stream>> {
        if let Poll::Ready(Some(stream)) = self.called.poll_recv(cx) {
            return Some(Box::new(stream));
        }
        // An error, of too many open files for instance, is no client; there
        // is another try in the next turn.
        match self.listener.as_ref()?.poll_accept(cx) {
            Poll::Ready(Ok((stream, _))) => {
                // A client that has gone again is noticed soon enough.
                let _ = stream.set_nodelay(true);
                Some(Box::new(stream))
            }
            Poll::Ready(Err(_)) | Poll::Pending => None,
        }
    }
}

/// The task. It ends, and with it every connection, when its handle is gone.
pub(super) struct Task {
    pub(super) core: Core,
    /// Time goes on, and nothing else.
    pub(super) paused: bool,
    /// Nobody new is let in.
    pub(super) refuses: bool,
    /// How long what is written is held back.
    pub(super) delay: Duration,
    /// The zero of the core's clock.
    start: Instant,
    doors: Doors,
    peers: BTreeMap<ConnectionId, Peer>,
    commands: mpsc::UnboundedReceiver<Command>,
    ended: bool,
    incoming: BytesMut,
    timer: Pin<Box<Sleep>>,
    timer_set_for: Option<Instant>,
}

impl Task {
    pub(super) fn new(
        core: Core,
        doors: Doors,
        commands: mpsc::UnboundedReceiver<Command>,
    ) -> Self {
        Self {
            core,
            paused: false,
            refuses: false,
            delay: Duration::ZERO,
            start: Instant::now(),
            doors,
            peers: BTreeMap::new(),
            commands,
            ended: false,
            incoming: BytesMut::new(),
            timer: Box::pin(sleep(Duration::ZERO)),
            timer_set_for: None,
        }
    }

    /// Cuts all connections, even while the server is paused.
    pub(super) fn disconnect_all(&mut self) {
        self.peers.clear();
        self.core.disconnect_all();
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// One round of everything.
    fn turn(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = self.obey(cx);
        if self.paused || self.ended {
            return progress;
        }
        self.core.tick(self.now());
        progress |= self.accept(cx);
        progress |= self.read(cx);
        self.hand_out();
        progress |= self.write(cx);
        progress |= self.wait(cx);
        progress
    }

    fn obey(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while !self.ended {
            match self.commands.poll_recv(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(command)) => command(self),
                Poll::Ready(None) => self.ended = true,
            }
            progress = true;
        }
        progress
    }

    fn accept(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        while let Some(stream) = self.doors.poll_accept(cx) {
            if !self.refuses {
                let id = self.core.accept(self.now());
                self.peers.insert(id, Peer::new(stream));
            }
            progress = true;
        }
        progress
    }

    /// Takes a piece from each client that has sent something.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut progress, now) = (false, self.now());
        for (id, peer) in &mut self.peers {
            match peer.poll_read(cx, &mut self.incoming) {
                Poll::Pending => continue,
                Poll::Ready(Read::Bytes) => self.core.received(*id, &self.incoming, now),
                Poll::Ready(Read::End) => {}
            }
            progress = true;
        }
        progress
    }

    /// Gives each client what the core has for it.
    fn hand_out(&mut self) {
        let at = Instant::now() + self.delay;
        while let Some(output) = self.core.poll() {
            match output {
                Output::Write { to, bytes } => {
                    if let Some(peer) = self.peers.get_mut(&to) {
                        peer.write(bytes, at);
                    }
                }
                Output::Close(id) => {
                    if let Some(peer) = self.peers.get_mut(&id) {
                        peer.close(at);
                    }
                }
            }
        }
    }

    /// Gives each client what is due, and forgets those that have gone.
    fn write(&mut self, cx: &mut Context<'_>) -> bool {
        let (mut progress, now) = (false, Instant::now());
        for (id, peer) in &mut self.peers {
            progress |= peer.write_due(cx, now);
            if peer.is_gone() {
                self.core.disconnected(*id, now.duration_since(self.start));
            }
        }
        self.peers.retain(|_, peer| !peer.is_gone());
        progress
    }

    /// Has the task woken when something is due. Returns whether that is now.
    fn wait(&mut self, cx: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let tick = self.core.deadline();
        let tick = tick.and_then(|deadline| self.start.checked_add(deadline));
        let due = self.peers.values().filter_map(Peer::next_due);
        // What is due already waits for its client to read.
        let Some(deadline) = due.filter(|due| *due > now).chain(tick).min() else {
            return false;
        };
        if self.timer_set_for != Some(deadline) {
            self.timer_set_for = Some(deadline);
            self.timer.as_mut().reset(deadline);
        }
        let due = self.timer.as_mut().poll(cx).is_ready();
        if due {
            self.timer_set_for = None;
        }
        due
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..TURNS {
            let progress = this.turn(cx);
            if this.ended {
                return Poll::Ready(());
            }
            if !progress {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
