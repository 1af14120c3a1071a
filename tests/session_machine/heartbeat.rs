//! Heartbeats: how they keep the session, the connection and the lease.

use std::time::Duration;

use zklock::proto::{ErrorCode, EventType, Reply, Request, xid};
use zklock::session::{
    Cause, Heartbeat, Io, Outcome, Output, SessionConfig, SessionEvent, Timestamp,
};

use crate::support::scripted::session::Session;
use crate::support::scripted::{BEAT, Machine, START, T, config, error, is_beat, ok};
use crate::{completed, exists, send, sync, synced};

const MOMENT: Duration = Duration::from_millis(1);

/// The present transmission is a heartbeat and nothing else; its xids.
#[track_caller]
fn beat(session: &mut Session) -> [i32; 2] {
    let batch = session.transmit();
    assert_eq!(batch.len(), 2);
    assert_eq!(batch[0].1, sync("/"));
    assert_eq!(batch[1], (xid::PING, Request::Ping));
    [batch[0].0, batch[1].0]
}

fn leases(session: &mut Session) -> Vec<Timestamp> {
    let lease = |output| match output {
        Output::Lease(until) => Some(until),
        _ => None,
    };
    session.told().into_iter().filter_map(lease).collect()
}

#[test]
fn a_sync_and_a_ping_go_out_in_one_transmission_every_sixth_of_the_timeout() {
    let mut session = Session::connected();
    for n in 1..20 {
        session.advance_in_silence(BEAT - MOMENT);
        assert_eq!(session.transmit(), []);
        session.advance_in_silence(MOMENT);
        assert_eq!(beat(&mut session)[0], n);
        session.answer_heartbeat();
    }
}

#[test]
fn heartbeats_are_sent_however_busy_the_connection_is() {
    let mut session = Session::connected();
    let mut beats = 0;
    for n in 0..100 {
        session.request(n, sync("/l"));
        for (xid, request) in session.transmit() {
            beats += usize::from(request == Request::Ping);
            let reply = match request {
                Request::Ping => Reply::Ping,
                _ => synced("/l"),
            };
            session.reply(xid, &reply);
        }
        session.advance_in_silence(BEAT / 10);
    }
    assert_eq!(beats, 9);
}

#[test]
fn two_heartbeats_are_never_outstanding_and_the_next_is_due_at_once_if_it_is_late() {
    let mut session = Session::connected();
    session.advance_in_silence(BEAT);
    beat(&mut session);
    for _ in 0..5 {
        session.advance_in_silence(BEAT - MOMENT);
        session.io(Io::Partial);
        assert_eq!(session.transmit(), []);
    }
    session.answer_heartbeat();
    session.advance_in_silence(Duration::ZERO);
    beat(&mut session);
}

#[test]
fn a_heartbeat_goes_ahead_of_the_requests_that_wait() {
    let mut session = Session::connected();
    session.advance_in_silence(BEAT);
    session.request(1, exists("/l/1"));
    session.request(2, exists("/l/2"));
    let batch = session.transmit();
    let requests: Vec<_> = batch.iter().map(|(_, request)| request.clone()).collect();
    assert_eq!(
        requests,
        [sync("/"), Request::Ping, exists("/l/1"), exists("/l/2")]
    );
}

#[test]
fn a_heartbeat_waits_for_no_more_than_the_transmission_under_way() {
    let mut session = Session::connected();
    let long = format!("/{}", "x".repeat(100_000));
    for token in 0..10 {
        session.request(token, exists(&long));
    }
    let first = session.machine.transmit(session.now).expect("requests");
    assert!(first.len() < 300_000, "{} bytes", first.len());
    session.advance_in_silence(BEAT);
    assert_eq!(session.machine.transmit(session.now), None, "not flushed");
    session.io(Io::Flushed);
    let second = session.transmit();
    assert!(is_beat(&second[0]) && is_beat(&second[1]));
    assert!(second.len() > 2);
}

#[test]
fn heartbeats_do_not_wait_for_replies_to_requests() {
    let mut limited = config("a");
    limited.max_in_flight = 1;
    let mut session = Session::connected_with(limited);
    assert_eq!(send(&mut session, [1, 2]), [1]);
    session.advance_in_silence(BEAT);
    assert!(session.transmit().iter().all(is_beat));
}

#[test]
fn a_server_that_is_silent_for_a_sixth_of_the_timeout_after_a_heartbeat_has_gone() {
    let mut session = Session::connected();
    send(&mut session, [1]);
    session.advance_in_silence(BEAT);
    session.transmit();
    session.advance_in_silence(BEAT - MOMENT);
    assert_eq!(session.told(), []);
    session.advance_in_silence(MOMENT);
    let told = session.told();
    assert_eq!(
        told[..3],
        [
            Output::HangUp,
            Output::Session(SessionEvent::Suspended(Cause::Silent)),
            completed(1, Outcome::MaybeSent)
        ]
    );
}

#[test]
fn a_connection_that_takes_no_bytes_has_gone_as_well() {
    let mut session = Session::connected();
    session.request(1, sync("/l"));
    assert!(session.machine.transmit(session.now).is_some());
    session.request(2, sync("/l"));
    session.advance_in_silence(BEAT * 2);
    assert_eq!(
        session.outcomes(),
        [(1, Outcome::MaybeSent), (2, Outcome::NotSent)]
    );
}

#[test]
fn every_byte_puts_off_the_silence() {
    let mut session = Session::connected();
    session.advance_in_silence(BEAT);
    session.transmit();
    for _ in 0..5 {
        session.advance_in_silence(BEAT - MOMENT);
        session.io(Io::Partial);
    }
    assert_eq!(session.told(), []);
    session.advance_in_silence(BEAT);
    assert!(session.hung_up());
}

#[test]
fn without_a_heartbeat_in_flight_silence_is_no_fault() {
    let mut session = Session::connected();
    session.advance(BEAT * 100);
    assert_eq!(session.heartbeats(), 100);
    assert!(session.machine.session.is_live());
    session.advance_in_silence(BEAT - MOMENT);
    assert!(session.machine.session.is_live());
}

#[test]
fn the_lease_rests_on_what_was_answered_a_quarter_timeout_before_the_last_but_one_exchange() {
    let mut session = Session::connected();
    session.advance(BEAT * 3);
    assert_eq!(leases(&mut session), []);
    session.advance(BEAT * 3);
    let proven = [1, 2, 3].map(|beat| START + BEAT * beat + T * 19 / 20);
    assert_eq!(leases(&mut session), proven);
}

#[test]
fn in_the_steady_state_the_lease_is_never_nearer_than_a_quarter_timeout() {
    let mut session = Session::connected();
    for _ in 0..600 {
        session.advance(BEAT / 20);
        let lease = session.machine.session.lease().expect("a session");
        assert!(lease - session.now >= T / 4, "{:?}", lease - session.now);
    }
}

#[test]
fn what_a_server_may_answer_by_itself_extends_no_lease() {
    let mut session = Session::connected();
    session.advance(BEAT * 10);
    let lease = session.machine.session.lease();
    session.advance_in_silence(BEAT / 2);
    for xid in send(&mut session, 0..10) {
        session.reply(xid, &synced("/l"));
    }
    assert_eq!(session.machine.session.lease(), lease);
    session.advance_in_silence(BEAT / 2);
    let [sync_xid, ping] = beat(&mut session);
    session.reply(sync_xid, &synced("/"));
    let extended = session.machine.session.lease();
    assert!(extended > lease);
    session.reply(ping, &Reply::Ping);
    assert_eq!(session.machine.session.lease(), extended);
}

#[test]
fn with_pings_alone_the_lease_is_half_a_timeout_and_ends_with_the_connection() {
    let config = SessionConfig {
        heartbeat: Heartbeat::Ping,
        ..config("a")
    };
    let mut session = Session::connected_with(config);
    assert_eq!(session.machine.session.lease(), Some(START + T / 2));
    session.advance_in_silence(BEAT);
    assert_eq!(session.transmit(), [(xid::PING, Request::Ping)]);
    session.advance_in_silence(BEAT / 2);
    session.answer_heartbeat();
    assert_eq!(leases(&mut session), [START + BEAT + T / 2]);
    session.cut();
    assert_eq!(leases(&mut session), [session.now]);
}

#[test]
fn a_sync_that_fails_extends_no_lease() {
    let mut session = Session::connected();
    let lease = session.machine.session.lease();
    for _ in 0..8 {
        session.advance_in_silence(BEAT);
        let [sync_xid, ping] = beat(&mut session);
        session.hear(error(sync_xid, 5, ErrorCode::ThrottledOp));
        session.hear(ok(ping, 5, &Reply::Ping));
    }
    assert_eq!(session.machine.session.lease(), lease);
    assert!(session.machine.session.is_live());
}

#[test]
fn events_alone_put_off_the_silence_for_half_a_timeout_only() {
    let mut session = Session::connected();
    session.advance_in_silence(BEAT);
    session.transmit();
    let mut waited = Duration::ZERO;
    while !session.hung_up() {
        assert!(waited < T, "kept alive by events");
        session.event(EventType::NodeDeleted, "/l");
        session.told();
        session.advance_in_silence(BEAT / 2);
        waited += BEAT / 2;
    }
    assert_eq!(waited, T / 2);
}
