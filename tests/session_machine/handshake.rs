//! The first frame each way.

use std::time::Duration;

use bytes::Bytes;
use zklock::proto::{EventType, Password, Reply};
use zklock::session::{Cause, Io, Misuse, Outcome, Output, SessionEvent, SessionLost};

use crate::support::scripted::session::Session;
use crate::support::scripted::{
    BEAT, Machine, PASSWORD, SESSION_ID, START, T, config, connect_response, event_at, ok, welcome,
};
use crate::{completed, send, sync, synced, truncated};

#[test]
fn a_new_session_is_asked_for_with_sixteen_zero_bytes_of_password() {
    let mut session = Session::dialing(config("a"));
    session.io(Io::Connected);
    let written = session.transmit_raw().expect("a handshake");
    let mut expected = vec![0, 0, 0, 45]; // length
    expected.extend([0; 4]); // protocol version
    expected.extend([0; 8]); // last zxid seen
    expected.extend(6000_i32.to_be_bytes()); // timeout
    expected.extend([0; 8]); // session id
    expected.extend([0, 0, 0, 16]);
    expected.extend([0; 16]); // password
    expected.push(0); // read-only
    assert_eq!(written, Bytes::from(expected));
}

#[test]
fn nothing_is_written_behind_a_handshake_until_it_is_answered() {
    let mut session = Session::dialing(config("a"));
    session.connect();
    session.told();
    session.request(1, sync("/l"));
    assert_eq!(session.told(), [completed(1, Outcome::NotSent)]);
    session.advance_in_silence(Duration::from_millis(500));
    session.close();
    assert_eq!(session.transmit_raw(), None);
}

#[test]
fn a_session_is_established_with_the_lease_ahead_of_the_news() {
    let mut session = Session::dialing(config("a"));
    session.connect();
    session.told();
    let sent = session.now;
    session.advance_in_silence(Duration::from_millis(100));
    session.welcome(T);
    let established = SessionEvent::Established {
        session_id: SESSION_ID,
        timeout: T,
    };
    assert_eq!(
        session.told(),
        [
            Output::Lease(sent + T * 19 / 20),
            Output::Session(established)
        ]
    );
    assert!(session.machine.session.is_live());
    assert_eq!(session.machine.session.session_id(), Some(SESSION_ID));
}

#[test]
fn the_timeout_that_the_server_grants_is_the_one_that_counts() {
    for granted in [Duration::from_secs(1), Duration::from_secs(60)] {
        let mut session = Session::dialing(config("a"));
        assert_eq!(session.connect().timeout_ms, 6000);
        session.welcome(granted);
        assert_eq!(session.machine.session.timeout(), Some(granted));
        assert_eq!(
            session.machine.session.lease(),
            Some(START + granted * 19 / 20)
        );
        // The next thing to do is the first heartbeat.
        assert_eq!(session.machine.deadline(), Some(START + granted / 6));
    }
}

#[test]
fn a_response_may_lack_its_last_byte() {
    for read_only in [None, Some(false)] {
        let mut session = Session::dialing(config("a"));
        session.connect();
        let mut response = welcome(T, SESSION_ID);
        response.read_only = read_only;
        let frame = connect_response(&response);
        assert_eq!(frame.len(), 36 + usize::from(read_only.is_some()));
        session.hear(frame);
        assert!(session.machine.session.is_live());
    }
}

#[test]
fn a_session_id_may_be_negative() {
    let mut session = Session::dialing(config("a"));
    session.connect();
    session.session_id = i64::MIN + 3;
    session.welcome(T);
    assert_eq!(session.machine.session.session_id(), Some(i64::MIN + 3));
}

#[test]
fn a_server_that_refuses_a_new_session_is_left_for_the_next() {
    let refusals = [
        welcome(Duration::ZERO, 0),
        welcome(Duration::ZERO, SESSION_ID),
        welcome(T, 0),
    ];
    let mut negative = welcome(T, SESSION_ID);
    negative.timeout_ms = -1;
    for response in refusals.into_iter().chain([negative]) {
        let mut session = Session::dialing(config("a,b"));
        session.connect();
        session.told();
        session.hear(connect_response(&response));
        session.advance_in_silence(Duration::ZERO);
        let told = session.told();
        assert!(
            matches!(told[..], [Output::HangUp, Output::Dial(_)]),
            "{told:?}"
        );
        assert_eq!(session.machine.session.session_id(), None);
    }
}

#[test]
fn a_refused_reattach_is_the_end_of_the_session_and_a_new_one_is_asked_for() {
    for response in [
        welcome(Duration::ZERO, 0),
        welcome(Duration::ZERO, SESSION_ID),
        welcome(T, 0),
    ] {
        let mut session = Session::connected();
        let xids = send(&mut session, [1]);
        session.hear(ok(xids[0], 50, &synced("/l")));
        session.cut();
        session.dial();
        assert_eq!(session.connect().last_zxid_seen, 50);
        session.told();
        session.hear(connect_response(&response));
        let lost = SessionEvent::Lost(SessionLost::Expired);
        assert_eq!(session.told(), [Output::Session(lost), Output::HangUp]);
        session.dial();
        let request = session.connect();
        assert_eq!((request.session_id, request.last_zxid_seen), (0, 0));
        assert_eq!(request.password, Password::zeros());
    }
}

#[test]
fn another_session_in_the_answer_to_a_reattach_is_the_end_of_ours() {
    let mut session = Session::connected();
    session.cut();
    session.dial();
    session.connect();
    session.told();
    session.hear(connect_response(&welcome(T, SESSION_ID + 1)));
    assert_eq!(
        session.told(),
        [
            Output::Session(SessionEvent::Lost(SessionLost::Replaced)),
            Output::HangUp
        ]
    );
    assert_eq!(session.machine.session.session_id(), None);
}

#[test]
fn a_read_only_server_is_left_for_the_next_and_the_session_lives_on() {
    let mut response = welcome(T, SESSION_ID);
    response.read_only = Some(true);
    for mut session in [
        Session::dialing(config("a,b")),
        Session::connected_with(config("a,b")),
    ] {
        let known = session.machine.session.session_id();
        if known.is_some() {
            session.advance(BEAT);
            session.cut();
            session.dial();
        }
        session.connect();
        session.told();
        session.hear(connect_response(&response));
        session.advance_in_silence(Duration::ZERO);
        let told = session.told();
        assert!(
            matches!(told[..], [Output::HangUp, Output::Dial(_)]),
            "{told:?}"
        );
        assert_eq!(session.machine.session.session_id(), known);
    }
}

#[test]
fn a_malformed_response_is_no_answer() {
    let good = connect_response(&welcome(T, SESSION_ID));
    let mut huge_password = good.to_vec();
    huge_password[16..20].copy_from_slice(&0x7fff_ffff_i32.to_be_bytes());
    let frames = [
        Bytes::new(),
        truncated(&good, 15),
        truncated(&good, 35),
        Bytes::from(huge_password),
        ok(1, 5, &Reply::Ping),
    ];
    for frame in frames {
        let mut session = Session::connected();
        session.cut();
        session.dial();
        session.connect();
        session.told();
        session.hear(frame.clone());
        assert_eq!(session.told(), [Output::HangUp], "{frame:?}");
        // The session may well be alive.
        assert_eq!(session.machine.session.session_id(), Some(SESSION_ID));
    }
}

#[test]
fn a_reattach_shows_the_same_session_the_highest_zxid_and_asks_for_the_same_timeout() {
    let mut session = Session::dialing(config("a"));
    session.connect();
    session.welcome(T / 2);
    session.request(1, sync("/l"));
    session.request(2, sync("/l"));
    let batch = session.transmit();
    session.hear(ok(batch[0].0, 50, &synced("/l")));
    // Never backwards, and never from an event.
    session.hear(ok(batch[1].0, 40, &synced("/l")));
    session.hear(event_at(99, EventType::NodeDeleted, "/l/x"));
    session.cut();
    session.dial();
    let request = session.connect();
    assert_eq!(request.session_id, SESSION_ID);
    assert_eq!(request.password.as_bytes(), Some(PASSWORD));
    assert_eq!(request.last_zxid_seen, 50);
    assert_eq!(request.timeout_ms, 6000);
    session.told();
    session.welcome(T);
    let reattached = SessionEvent::Reattached { timeout: T };
    assert_eq!(session.told().last(), Some(&Output::Session(reattached)));
}

#[test]
fn a_reattach_gives_a_new_lease_and_may_shorten_it() {
    let mut session = Session::connected();
    session.cut();
    session.dial();
    session.connect();
    let sent = session.now;
    session.told();
    session.welcome(T / 2);
    assert_eq!(session.told()[0], Output::Lease(sent + T / 2 * 19 / 20));
}

#[test]
fn xids_count_on_over_connections_and_sessions() {
    let mut session = Session::connected();
    assert_eq!(send(&mut session, [1, 2]), [1, 2]);
    session.cut();
    session.reattach();
    assert_eq!(send(&mut session, [3]), [3]);
    session.cut();
    session.replace_session();
    assert_eq!(send(&mut session, [4]), [4]);
}

#[test]
fn what_cannot_happen_is_a_misuse_and_changes_nothing() {
    let mut session = Session::dialing(config("a"));
    let now = session.now;
    let frame = || Io::Frame(connect_response(&welcome(T, SESSION_ID)));
    for io in [frame(), Io::Partial, Io::Flushed] {
        assert_eq!(session.machine.io(io, now), Err(Misuse::NotConnected));
    }
    session.connect();
    assert_eq!(
        session.machine.io(Io::Connected, now),
        Err(Misuse::NotDialing)
    );
    session.welcome(T);
    assert_eq!(
        session.machine.io(Io::Connected, now),
        Err(Misuse::NotDialing)
    );
    session.cut();
    assert_eq!(session.machine.io(frame(), now), Err(Misuse::NotConnected));
    session.told();
    // A driver may be late with this news.
    session.io(Io::Disconnected(Cause::ClosedByServer));
    assert_eq!(session.told(), []);
    session.advance_in_silence(BEAT);
    assert!(!session.actions().is_empty());
}
