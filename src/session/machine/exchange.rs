//! What goes over a connection: requests, heartbeats, replies, events.

use bytes::{Bytes, BytesMut};

use super::{Connection, Misuse, Outcome, Output, SessionMachine};
use crate::proto::{
    ErrorCode, OpCode, Reader, Reply, ReplyHeader, Request, WatcherEvent, write_frame, xid,
};
use crate::session::lease::Heartbeat;
use crate::session::pending::{InFlight, Waiter};
use crate::session::state::{Cause, SessionLost, Stopped};
use crate::session::time::Timestamp;
use crate::session::timers::Timer;

/// One transmission stops growing here, so that a heartbeat never waits behind
/// more than this, and one request.
const MAX_TRANSMISSION: usize = 128 * 1024;
/// More room for transmissions than this is given back, in bytes.
const KEPT_ROOM: usize = 1024;
/// The queue of requests keeps room for so many, however few it has.
const KEPT_CAPACITY: usize = 16;
/// An idle session has the two requests of a heartbeat in flight, and one output
/// at a time.
const IDLE_IN_FLIGHT: usize = 2;
const IDLE_OUTPUTS: usize = 1;

impl<T> SessionMachine<T> {
    /// The bytes to write now: whole frames, the heartbeat's first, then as
    /// many queued requests as may be in flight. `None` if there is nothing to
    /// write, or the last transmission is not flushed.
    pub fn transmit(&mut self, now: Timestamp) -> Option<Bytes> {
        if self.writing {
            return None;
        }
        let batch = match self.connection {
            Connection::Handshaking { .. } | Connection::Authenticating(_) => {
                self.greeting.take()?
            }
            Connection::Live(_) => self.batch(now),
            _ => return None,
        };
        self.writing = !batch.is_empty();
        self.stats.bytes_sent += batch.len() as u64;
        self.writing.then_some(batch)
    }

    fn batch(&mut self, now: Timestamp) -> Bytes {
        let mut out = std::mem::take(&mut self.room);
        if self.heartbeat_due {
            self.write_heartbeat(&mut out, now);
        }
        while out.len() < MAX_TRANSMISSION && self.pending.len() < self.config.max_in_flight {
            let Some((token, request)) = self.queue.pop_front() else {
                break;
            };
            self.stats.requests += 1;
            self.write(&request, Waiter::Recipe(token), &mut out);
        }
        if self.closing && self.queue.is_empty() && !self.close_sent {
            self.close_sent = true;
            self.write(&Request::CloseSession, Waiter::Close, &mut out);
        }
        let batch = out.split().freeze();
        self.room = out;
        batch
    }

    /// A `sync`, which only the leader can answer, and a `ping`, which every
    /// server counts as life. Replies keep their order, so both come together.
    fn write_heartbeat(&mut self, out: &mut BytesMut, now: Timestamp) {
        self.heartbeat_due = false;
        self.heartbeat_sent = Some(now);
        self.stats.heartbeats += 1;
        if self.config.heartbeat == Heartbeat::Sync {
            let sync = Request::Sync { path: "/".into() };
            self.write(&sync, Waiter::Exchange { sent: now }, out);
        }
        self.write(&Request::Ping, Waiter::Ping, out);
    }

    pub(super) fn write(&mut self, request: &Request, waiter: Waiter<T>, out: &mut BytesMut) {
        let opcode = request.opcode();
        let xid = match opcode {
            OpCode::Ping => xid::PING,
            _ => self.xids.next(),
        };
        match (write_frame(out, |out| request.encode(xid, out)), waiter) {
            (Ok(()), waiter) => self.pending.push(InFlight {
                xid,
                opcode,
                waiter,
            }),
            // Nothing was written. It is what the server would have said.
            (Err(_), Waiter::Recipe(token)) => {
                let outcome = Outcome::Server(ErrorCode::MarshallingError);
                self.outputs.push_back(Output::Completed { token, outcome });
            }
            (Err(_), _) => {}
        }
    }

    /// The next heartbeat is due: as soon as the connection takes bytes.
    pub(super) fn heartbeat(&mut self, now: Timestamp) {
        self.heartbeat_due = true;
        self.give_back();
        self.expect_bytes(now);
    }

    /// Gives back the room that a burst of requests has left.
    fn give_back(&mut self) {
        self.queue.shrink_to(KEPT_CAPACITY);
        self.pending.shrink(IDLE_IN_FLIGHT);
        self.outputs.shrink_to(IDLE_OUTPUTS);
        if self.room.capacity() > KEPT_ROOM {
            self.room = BytesMut::new();
        }
    }

    /// Something came from the server.
    pub(super) fn hear(&mut self, now: Timestamp) -> Result<(), Misuse> {
        self.has_connection()?;
        if self.heartbeat_due || self.heartbeat_sent.is_some() {
            self.expect_bytes(now);
        }
        Ok(())
    }

    /// A server that sends nothing for so long has gone.
    fn expect_bytes(&mut self, now: Timestamp) {
        if let (Connection::Authenticating(_) | Connection::Live(_), Some(timeout)) =
            (&self.connection, self.timeout())
        {
            self.timers.set(Timer::Silence, now + timeout / 6);
        }
    }

    /// Events alone are no life: a server that sends them and answers no
    /// heartbeat has gone as well, if later.
    fn bound_silence(&mut self) {
        if let (Some(sent), Some(timeout), Some(at)) = (
            self.heartbeat_sent,
            self.timeout(),
            self.timers.get(Timer::Silence),
        ) {
            self.timers.set(Timer::Silence, at.min(sent + timeout / 2));
        }
    }

    /// Takes a whole frame.
    pub(super) fn receive(&mut self, frame: &Bytes, now: Timestamp) -> Result<(), Misuse> {
        self.hear(now)?;
        self.stats.bytes_received += (frame.len() + size_of::<i32>()) as u64;
        if let Connection::Handshaking { sent, .. } = self.connection {
            if self.greeting.is_some() {
                // It answers what it has not been asked yet.
                let (xid, expected) = (0, None);
                self.hang_up(Cause::UnexpectedReply { xid, expected }, now);
            } else {
                self.welcomed(frame, sent, now);
            }
            return Ok(());
        }
        match self.dispatch(frame, now) {
            Ok(()) => self.heard_of_session(now),
            Err(cause) => self.hang_up(cause, now),
        }
        Ok(())
    }

    fn dispatch(&mut self, frame: &Bytes, now: Timestamp) -> Result<(), Cause> {
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::decode(&mut reader)?;
        if header.xid == xid::WATCH_EVENT {
            self.stats.events += 1;
            self.bound_silence();
            self.outputs
                .push_back(Output::Event(WatcherEvent::decode(&mut reader)?));
            return Ok(());
        }
        let request = self.pending.take(header.xid, header.zxid, header.error)?;
        // Events carry zxids too, but one transaction may fire several: only
        // an ordinary reply shows that all up to its zxid has been seen.
        self.last_zxid_seen = self.last_zxid_seen.max(header.zxid);
        match header.error {
            ErrorCode::SessionExpired => {
                self.pending.put_back(request);
                self.lose(SessionLost::Expired, now);
                Ok(())
            }
            ErrorCode::AuthFailed | ErrorCode::SessionClosedRequireSaslAuth => {
                self.pending.put_back(request);
                self.stop(Stopped::AuthFailed(header.error));
                Ok(())
            }
            error => self.complete(request, error, header.zxid, &mut reader, now),
        }
    }

    fn complete(
        &mut self,
        request: InFlight<T>,
        error: ErrorCode,
        zxid: i64,
        reader: &mut Reader<'_>,
        now: Timestamp,
    ) -> Result<(), Cause> {
        let answered = error == ErrorCode::Ok;
        let reply = match request.waiter {
            Waiter::Recipe(_) if answered => match Reply::decode(request.opcode, reader) {
                Ok(reply) => Some(reply),
                Err(malformed) => {
                    // Never done, as far as we know: hanging up says MaybeSent.
                    self.pending.put_back(request);
                    return Err(malformed.into());
                }
            },
            _ => None,
        };
        match request.waiter {
            Waiter::Recipe(token) => {
                let outcome =
                    reply.map_or(Outcome::Server(error), |reply| Outcome::Ok { zxid, reply });
                self.stats.replies += 1;
                self.outputs.push_back(Output::Completed { token, outcome });
            }
            Waiter::Exchange { sent } if answered => self.exchanged(sent, now),
            Waiter::Exchange { .. } => {}
            Waiter::Ping => self.heartbeat_answered(now),
            Waiter::Auth if answered => self.authenticated(),
            Waiter::Auth => self.stop(Stopped::AuthFailed(error)),
            Waiter::Close => self.stop(Stopped::Closed),
        }
        Ok(())
    }

    fn exchanged(&mut self, sent: Timestamp, now: Timestamp) {
        if let Some(held) = &mut self.held {
            if held.lease.exchange(sent, now) {
                self.outputs.push_back(Output::Lease(held.lease.until()));
            }
        }
    }

    /// Heartbeats never overlap: the next one is due T/6 after the last was
    /// sent, or now if that has passed.
    ///
    /// A server that answers one has earned that the next loss of connection
    /// is met without delay. One that only ever says hello has not: a frame
    /// that breaks the connection each time must not make a tight loop.
    fn heartbeat_answered(&mut self, now: Timestamp) {
        self.timers.stop(Timer::Silence);
        let (Some(sent), Some(held)) = (self.heartbeat_sent.take(), &mut self.held) else {
            return;
        };
        if self.config.heartbeat == Heartbeat::Ping && held.lease.ping(sent) {
            self.outputs.push_back(Output::Lease(held.lease.until()));
        }
        self.timers.set(Timer::Heartbeat, sent + held.timeout / 6);
        held.lived = true;
        self.stats.round_trip = Some(now - sent);
        self.hosts.start_pass();
        self.backoff.reset();
    }
}
