//! How connections come and go: dial, handshake, loss, the session's end.

use std::io::ErrorKind;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{Connection, Held, Misuse, Outcome, Output, SessionMachine};
use crate::proto::{ConnectRequest, ConnectResponse, Password, Reader, write_frame};
use crate::session::connect_string::Server;
use crate::session::lease::{Heartbeat, Lease};
use crate::session::pending::Waiter;
use crate::session::state::{Cause, SessionEvent, SessionLost, Stopped};
use crate::session::time::Timestamp;
use crate::session::timers::Timer;

/// No attempt (dial and handshake) takes longer: the next server may answer.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(1);
/// An orderly close takes no longer.
const LONGEST_CLOSE: Duration = Duration::from_secs(2);
/// A session ends, unheard, after this many of its timeouts. The server has
/// ended it long before; this only keeps the client from hoping for ever.
const UNHEARD_TIMEOUTS: u32 = 2;

impl<T> SessionMachine<T> {
    pub(super) fn dial(&mut self, now: Timestamp) {
        let budget = self.attempt_budget(now);
        let Some(server) = self.hosts.rotate() else {
            return;
        };
        self.attempts = self.attempts.saturating_add(1);
        self.timers.set(Timer::Attempt, now + budget);
        self.connection = Connection::Dialing(server.clone());
        self.outputs.push_back(Output::Dial(server));
    }

    /// What is left of the lease is split over the servers left, so that each
    /// gets its try while the lock can still be kept.
    fn attempt_budget(&self, now: Timestamp) -> Duration {
        let shares = u32::try_from(self.hosts.left())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let left = match (self.lease(), self.timers.get(Timer::Connect)) {
            (Some(until), _) => (until - now) / shares,
            (None, Some(connect)) => connect - now,
            (None, None) => Duration::ZERO,
        };
        if left.is_zero() {
            LONGEST_ATTEMPT
        } else {
            LONGEST_ATTEMPT.min(left)
        }
    }

    pub(super) fn attempt_timed_out(&mut self, now: Timestamp) {
        let cause = match self.connection {
            Connection::Dialing(_) => Cause::DialTimedOut,
            _ => Cause::HandshakeTimedOut,
        };
        self.hang_up(cause, now);
    }

    /// Writes the ConnectRequest, and nothing behind it until it is answered.
    pub(super) fn greet(&mut self, now: Timestamp) -> Result<(), Misuse> {
        let Connection::Dialing(server) = &self.connection else {
            return Err(Misuse::NotDialing);
        };
        self.connection = Connection::Handshaking {
            server: server.clone(),
            sent: now,
        };
        let held = self.held.as_ref();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: self.last_zxid_seen,
            timeout_ms: i32::try_from(self.config.timeout.as_millis()).unwrap_or(i32::MAX),
            session_id: held.map_or(0, |held| held.id),
            password: held.map_or_else(Password::zeros, |held| held.password.clone()),
            read_only: Some(false),
        };
        let mut frame = BytesMut::new();
        // Never too long: its one variable part came in a frame itself.
        let _ = write_frame(&mut frame, |out| request.encode(out));
        self.greeting = Some(frame.freeze());
        self.writing = false;
        Ok(())
    }

    /// Takes the answer to the handshake.
    pub(super) fn welcomed(&mut self, frame: &Bytes, sent: Timestamp, now: Timestamp) {
        let response = match ConnectResponse::decode(&mut Reader::new(frame)) {
            Ok(response) => response,
            Err(error) => return self.hang_up(error.into(), now),
        };
        let accepted = response.timeout_ms > 0 && response.session_id != 0;
        match self.held.as_ref().map(|held| held.id) {
            Some(_) if !accepted => self.lose(SessionLost::Expired, now),
            Some(id) if id != response.session_id => self.lose(SessionLost::Replaced, now),
            None if !accepted => self.hang_up(Cause::Refused, now),
            _ if response.read_only == Some(true) => self.hang_up(Cause::ReadOnly, now),
            _ => self.attach(response, sent, now),
        }
    }

    fn attach(&mut self, response: ConnectResponse, sent: Timestamp, now: Timestamp) {
        let Connection::Handshaking { server, .. } = &self.connection else {
            return;
        };
        let server = server.clone();
        let timeout = Duration::from_millis(response.timeout_ms.unsigned_abs().into());
        let lease = Lease::from_handshake(sent, now, timeout, self.config.heartbeat);
        self.outputs.push_back(Output::Lease(lease.until()));
        self.held = Some(Held {
            id: response.session_id,
            password: response.password,
            timeout,
            lease,
            announced: self.held.as_ref().is_some_and(|held| held.announced),
            lived: self.held.as_ref().is_some_and(|held| held.lived),
        });
        self.heard_of_session(now);
        self.timers.set(Timer::Heartbeat, sent + timeout / 6);
        if self.config.auth.is_empty() {
            self.go_live(server);
        } else {
            self.authenticate(server);
        }
    }

    /// Authenticates the connection, before anything that may need it. The
    /// session is announced once the server has agreed.
    fn authenticate(&mut self, server: Server) {
        self.connection = Connection::Authenticating(server);
        let mut frames = BytesMut::new();
        for auth in self.config.auth.clone() {
            self.write(&auth.request(), Waiter::Auth, &mut frames);
        }
        self.greeting = Some(frames.freeze());
    }

    pub(super) fn authenticated(&mut self) {
        if let (Connection::Authenticating(server), true) =
            (&self.connection, self.pending.len() == 0)
        {
            self.go_live(server.clone());
        }
    }

    fn go_live(&mut self, server: Server) {
        self.connection = Connection::Live(server);
        self.failures.clear();
        self.stats.connections = self.stats.connections.saturating_add(1);
        self.timers.stop(Timer::Connect);
        self.timers.stop(Timer::Attempt);
        let Some(held) = &mut self.held else { return };
        let (session_id, timeout) = (held.id, held.timeout);
        let known = std::mem::replace(&mut held.announced, true);
        self.outputs.push_back(Output::Session(if known {
            SessionEvent::Reattached { timeout }
        } else {
            SessionEvent::Established {
                session_id,
                timeout,
            }
        }));
    }

    /// The session was heard of.
    pub(super) fn heard_of_session(&mut self, now: Timestamp) {
        if let Some(held) = &self.held {
            let end = now + held.timeout * UNHEARD_TIMEOUTS;
            self.timers.set(Timer::SessionEnd, end);
        }
    }

    /// Gives up the connection from this side.
    pub(super) fn hang_up(&mut self, cause: Cause, now: Timestamp) {
        self.outputs.push_back(Output::HangUp);
        self.disconnected(cause, now);
    }

    /// The connection or the attempt is gone: back to Idle, and dial again.
    pub(super) fn disconnected(&mut self, cause: Cause, now: Timestamp) {
        let connection = std::mem::replace(&mut self.connection, Connection::Idle);
        let was_live = matches!(connection, Connection::Live(_));
        match connection {
            Connection::Handshaking { server, .. } => {
                self.note_failure(server, in_handshake(cause.clone()));
            }
            Connection::Live(server)
            | Connection::Authenticating(server)
            | Connection::Dialing(server) => self.note_failure(server, cause.clone()),
            Connection::Idle | Connection::Stopped => {
                self.connection = connection;
                return;
            }
        }
        self.reset_connection();
        if was_live {
            // Told first: what it makes of the outcomes below depends on it.
            self.outputs
                .push_back(Output::Session(SessionEvent::Suspended(cause.clone())));
            self.cut_lease(now);
            self.complete_unread(&cause);
        }
        self.complete_all(&Outcome::MaybeSent, &Outcome::NotSent);
        self.dial_later(now);
    }

    /// With pings for evidence a holder cannot outlive its connection.
    fn cut_lease(&mut self, now: Timestamp) {
        if let (Heartbeat::Ping, Some(held)) = (self.config.heartbeat, &mut self.held) {
            held.lease.cut(now);
            self.outputs.push_back(Output::Lease(held.lease.until()));
        }
    }

    fn reset_connection(&mut self) {
        for timer in [Timer::Attempt, Timer::Heartbeat, Timer::Silence] {
            self.timers.stop(timer);
        }
        self.greeting = None;
        self.writing = false;
        self.heartbeat_due = false;
        self.heartbeat_sent = None;
        self.close_sent = false;
    }

    /// Without delay while a pass is not through, after a jittered one then.
    fn dial_later(&mut self, now: Timestamp) {
        if self.closing && self.held.is_none() {
            // A session would be begun only to be closed.
            return self.stop(Stopped::Closed);
        }
        let delay = if self.hosts.left() > 0 {
            Duration::ZERO
        } else {
            self.backoff.delay(&mut self.random)
        };
        let at = now + delay;
        match self.timers.get(Timer::Connect) {
            // Waiting would be in vain.
            Some(connect) if connect <= at => self.connect_timed_out(),
            _ => self.timers.set(Timer::Dial, at),
        }
    }

    fn note_failure(&mut self, server: Server, cause: Cause) {
        self.failures.retain(|(other, _)| *other != server);
        self.failures.push((server, cause));
    }

    /// The session is over; the machine goes on to get a new one.
    pub(super) fn lose(&mut self, reason: SessionLost, now: Timestamp) {
        let Some(held) = self.held.take() else {
            return;
        };
        self.timers.stop(Timer::SessionEnd);
        // A new session must not be refused because of what the old one saw.
        self.last_zxid_seen = 0;
        if held.announced {
            self.outputs
                .push_back(Output::Session(SessionEvent::Lost(reason)));
        }
        self.complete_all(&Outcome::SessionLost, &Outcome::SessionLost);
        if self.closing {
            return self.stop(Stopped::Closed);
        }
        match std::mem::replace(&mut self.connection, Connection::Idle) {
            Connection::Idle => {}
            _ => self.outputs.push_back(Output::HangUp),
        }
        self.reset_connection();
        if held.lived {
            self.hosts.start_pass();
            self.backoff.reset();
        }
        self.dial_later(now);
    }

    /// Begins an orderly close.
    pub(super) fn close(&mut self, now: Timestamp) {
        if self.closing || self.connection == Connection::Stopped {
            return;
        }
        self.closing = true;
        self.outputs
            .push_back(Output::Session(SessionEvent::Closing));
        let may_have_session = match self.connection {
            Connection::Idle | Connection::Dialing(_) => self.held.is_some(),
            _ => true,
        };
        if may_have_session {
            self.timers.set(Timer::Close, now + LONGEST_CLOSE);
        } else {
            self.stop(Stopped::Closed);
        }
    }

    pub(super) fn connect_timed_out(&mut self) {
        let attempts = self.attempts;
        let mut failures = std::mem::take(&mut self.failures);
        if let Connection::Dialing(server)
        | Connection::Handshaking { server, .. }
        | Connection::Authenticating(server) = &self.connection
        {
            if !failures.iter().any(|(failed, _)| failed == server) {
                let cause = match self.connection {
                    Connection::Dialing(_) => Cause::DialTimedOut,
                    _ => Cause::HandshakeTimedOut,
                };
                failures.push((server.clone(), cause));
            }
        }
        self.stop(Stopped::ConnectTimedOut { attempts, failures });
    }

    /// Stops for good.
    pub(super) fn stop(&mut self, why: Stopped) {
        self.reset_connection();
        self.timers = Default::default();
        self.held = None;
        match std::mem::replace(&mut self.connection, Connection::Stopped) {
            Connection::Idle | Connection::Stopped => {}
            _ => self.outputs.push_back(Output::HangUp),
        }
        // Told first: no recipe is to ask again for what it is refused below.
        self.outputs
            .push_back(Output::Session(SessionEvent::Stopped(why)));
        self.complete_all(&Outcome::Closed, &Outcome::Closed);
    }
}

/// What an end of the connection means during the handshake.
fn in_handshake(cause: Cause) -> Cause {
    match cause {
        Cause::ClosedByServer | Cause::Io(ErrorKind::ConnectionReset, _) => {
            Cause::ClosedInHandshake
        }
        cause => cause,
    }
}
