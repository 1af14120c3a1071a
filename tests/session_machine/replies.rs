//! Replies and events, right ones and wrong ones, and what becomes of requests.

use bytes::Bytes;
use zklock::proto::{
    ErrorCode, EventType, KeeperState, OpCode, Reply, Request, Stat, WatcherEvent, xid,
};
use zklock::session::{Cause, Io, Outcome, Output, SessionEvent, SessionLost, Stopped};

use crate::support::scripted::session::Session;
use crate::support::scripted::{BEAT, Machine, SESSION_ID, T, config, error, event, event_at, ok};
use crate::{completed, exists, send, suspended, sync, synced, truncated};

fn done(zxid: i64) -> Outcome {
    let reply = synced("/l");
    Outcome::Ok { zxid, reply }
}

#[test]
fn replies_reach_the_requests_that_they_answer() {
    let mut session = Session::connected();
    let xids = send(&mut session, [7, 8]);
    session.hear(ok(xids[0], 11, &synced("/l")));
    session.hear(error(xids[1], 12, ErrorCode::NoNode));
    assert_eq!(
        session.told(),
        [
            completed(7, done(11)),
            completed(8, Outcome::Server(ErrorCode::NoNode))
        ]
    );
}

#[test]
fn an_error_that_nobody_knows_is_an_error_still() {
    let mut session = Session::connected();
    let xids = send(&mut session, [1]);
    session.hear(error(xids[0], 12, ErrorCode::Other(-9999)));
    assert_eq!(
        session.outcomes(),
        [(1, Outcome::Server(ErrorCode::Other(-9999)))]
    );
}

/// What must not come while requests 1 and 2 (xids 1 and 2, syncs) wait.
fn wrong_frames() -> Vec<(&'static str, Bytes)> {
    let good = ok(1, 11, &synced("/l"));
    let mut negative = good.to_vec();
    negative[16..20].copy_from_slice(&(-2_i32).to_be_bytes());
    vec![
        ("a reply out of order", ok(2, 11, &synced("/l"))),
        ("a reply to nothing", ok(3, 11, &synced("/l"))),
        ("a reply with the xid 0", ok(0, 11, &synced("/l"))),
        ("a ping reply unasked", ok(xid::PING, 11, &Reply::Ping)),
        ("an auth reply unasked", ok(xid::AUTH, 0, &Reply::Auth)),
        ("no frame at all", Bytes::new()),
        ("half a header", truncated(&good, 15)),
        ("no body", truncated(&good, 16)),
        ("half a body", truncated(&good, 19)),
        ("a negative length", negative.into()),
        (
            "half an event",
            truncated(&event(EventType::NodeDeleted, "/l"), 25),
        ),
    ]
}

#[test]
fn a_wrong_frame_ends_the_connection_and_never_completes_a_request_as_done() {
    for (what, frame) in wrong_frames() {
        let mut session = Session::connected();
        assert_eq!(send(&mut session, [1, 2]), [1, 2]);
        session.request(3, sync("/l"));
        session.hear(frame);
        let told = session.told();
        assert!(suspended(&told), "{what}: {told:?}");
        assert_eq!(
            told[2..],
            [
                completed(1, Outcome::MaybeSent),
                completed(2, Outcome::MaybeSent),
                completed(3, Outcome::NotSent)
            ],
            "{what}"
        );
        assert_eq!(session.machine.session.session_id(), Some(SESSION_ID));
    }
}

#[test]
fn the_second_answer_to_a_ping_is_unasked_for() {
    let mut session = Session::connected();
    session.advance(BEAT);
    assert_eq!(session.heartbeats(), 1);
    session.hear(ok(xid::PING, 11, &Reply::Ping));
    assert!(suspended(&session.told()));
}

#[test]
fn a_refusal_ahead_of_its_turn_is_taken() {
    let mut session = Session::connected();
    let xids = send(&mut session, [1, 2]);
    session.hear(error(xids[1], 0, ErrorCode::NoAuth));
    session.hear(ok(xids[0], 11, &synced("/l")));
    assert_eq!(
        session.outcomes(),
        [(2, Outcome::Server(ErrorCode::NoAuth)), (1, done(11))]
    );
}

#[test]
fn bytes_behind_a_record_are_left_alone() {
    let mut session = Session::connected();
    let xids = send(&mut session, [1]);
    let mut longer = ok(xids[0], 11, &synced("/l")).to_vec();
    longer.extend([1, 2, 3]);
    session.hear(longer.into());
    assert_eq!(session.outcomes(), [(1, done(11))]);
}

#[test]
fn each_reply_is_read_as_its_request_demands() {
    let mut session = Session::connected();
    session.request(1, exists("/l"));
    let xid = session.transmit()[0].0;
    let reply = Reply::Exists {
        stat: Stat::default(),
    };
    assert_eq!(reply.opcode(), OpCode::Exists);
    session.hear(ok(xid, 11, &reply));
    let outcome = Outcome::Ok { zxid: 11, reply };
    assert_eq!(session.outcomes(), [(1, outcome)]);
}

#[test]
fn an_event_is_delivered_whenever_it_comes() {
    let mut session = Session::connected();
    let xids = send(&mut session, [1]);
    session.hear(event(EventType::NodeDeleted, "/l/a"));
    session.hear(event(EventType::Other(77), "/l/b"));
    session.hear(ok(xids[0], 11, &synced("/l")));
    let event = |kind, path: &str| {
        Output::Event(WatcherEvent {
            kind,
            state: KeeperState::SyncConnected,
            path: path.into(),
        })
    };
    assert_eq!(
        session.told(),
        [
            event(EventType::NodeDeleted, "/l/a"),
            event(EventType::Other(77), "/l/b"),
            completed(1, done(11))
        ]
    );
}

#[test]
fn the_zxid_of_an_event_shows_nothing() {
    let mut session = Session::connected();
    session.hear(event_at(99, EventType::NodeDeleted, "/l/a"));
    session.cut();
    session.dial();
    assert_eq!(session.connect().last_zxid_seen, 0);
}

#[test]
fn an_expired_session_is_lost_with_all_its_requests() {
    let mut session = Session::connected();
    let xids = send(&mut session, [1, 2]);
    session.request(3, sync("/l"));
    session.hear(error(xids[0], 11, ErrorCode::SessionExpired));
    assert_eq!(
        session.told(),
        [
            Output::Session(SessionEvent::Lost(SessionLost::Expired)),
            completed(1, Outcome::SessionLost),
            completed(2, Outcome::SessionLost),
            completed(3, Outcome::SessionLost),
            Output::HangUp
        ]
    );
    session.dial();
    assert_eq!(session.connect().session_id, 0);
    session.session_id += 1;
    session.welcome(T);
    let established = SessionEvent::Established {
        session_id: SESSION_ID + 1,
        timeout: T,
    };
    assert_eq!(session.events(), [established]);
}

#[test]
fn refused_authentication_is_the_end() {
    for code in [
        ErrorCode::AuthFailed,
        ErrorCode::SessionClosedRequireSaslAuth,
    ] {
        let mut session = Session::connected();
        let xids = send(&mut session, [1]);
        session.request(2, sync("/l"));
        session.hear(error(xids[0], 0, code));
        assert_eq!(
            session.told(),
            [
                Output::HangUp,
                Output::Session(SessionEvent::Stopped(Stopped::AuthFailed(code))),
                completed(1, Outcome::Closed),
                completed(2, Outcome::Closed),
            ]
        );
        assert_eq!(session.machine.deadline(), None);
        session.request(3, sync("/l"));
        assert_eq!(session.outcomes(), [(3, Outcome::Closed)]);
    }
}

#[test]
fn a_broken_connection_is_told_before_what_became_of_the_requests() {
    let mut session = Session::connected();
    send(&mut session, [1, 2]);
    session.request(3, sync("/l"));
    session.cut();
    assert_eq!(
        session.told(),
        [
            Output::Session(SessionEvent::Suspended(Cause::ClosedByServer)),
            completed(1, Outcome::MaybeSent),
            completed(2, Outcome::MaybeSent),
            completed(3, Outcome::NotSent)
        ]
    );
    session.request(4, sync("/l"));
    assert_eq!(session.told(), [completed(4, Outcome::NotSent)]);
    session.reattach();
    assert_eq!(session.outcomes(), []);
    assert_eq!(session.transmit(), [], "none of them is written later");
}

#[test]
fn a_frame_that_is_too_long_is_the_answer_to_the_oldest_request_alone() {
    let (length, max) = (101, 100);
    let mut session = Session::connected();
    send(&mut session, [1, 2]);
    session.hear_too_long();
    let told = session.outcomes();
    let first = (1, Outcome::TooLong { length, max });
    assert_eq!(told, [first, (2, Outcome::MaybeSent)]);

    // Behind a heartbeat, whose reply it cannot be, nothing is known.
    let mut session = Session::connected();
    session.advance_in_silence(BEAT);
    session.transmit();
    send(&mut session, [1]);
    session.hear_too_long();
    assert_eq!(session.outcomes(), [(1, Outcome::MaybeSent)]);
}

#[test]
fn no_more_requests_are_in_flight_than_allowed() {
    let mut limited = config("a");
    limited.max_in_flight = 2;
    let mut session = Session::connected_with(limited);
    assert_eq!(send(&mut session, [1, 2, 3]), [1, 2]);
    assert_eq!(session.transmit(), []);
    session.reply(1, &synced("/l"));
    let batch: Vec<_> = session.transmit();
    assert_eq!(batch, [(3, sync("/l"))]);
}

#[test]
fn the_recipes_own_pings_would_be_answered_too() {
    let mut session = Session::connected();
    session.request(1, Request::Ping);
    assert_eq!(session.transmit(), [(xid::PING, Request::Ping)]);
    session.hear(ok(xid::PING, 11, &Reply::Ping));
    let (zxid, reply) = (11, Reply::Ping);
    assert_eq!(session.outcomes(), [(1, Outcome::Ok { zxid, reply })]);
}

#[test]
fn what_goes_by_is_counted() {
    let mut session = Session::dialing(config("a"));
    session.dial();
    session.io(Io::Connected);
    let mut sent = session.transmit_raw().expect("a handshake").len();
    session.welcome(T);
    // Of the answer to the handshake: 4 bytes of length, 37 of fields.
    let mut received = 4 + 37;
    for xid in 1..=3 {
        session.request(0, sync("/l"));
        sent += session.transmit_raw().expect("a request").len();
        let frame = ok(xid, 100, &synced("/l"));
        received += frame.len() + 4;
        session.hear(frame);
    }
    for _ in 0..2 {
        let frame = event(EventType::NodeDeleted, "/l");
        received += frame.len() + 4;
        session.hear(frame);
    }
    session.advance_in_silence(BEAT);
    sent += session.transmit_raw().expect("a heartbeat").len();
    let stats = session.stats();
    assert_eq!((stats.requests, stats.replies, stats.events), (3, 3, 2));
    assert_eq!((stats.heartbeats, stats.connections), (1, 1));
    assert_eq!(
        (stats.bytes_sent, stats.bytes_received),
        (sent as u64, received as u64)
    );
}
