//! Which server is dialed, when, and for how long.

use std::io::ErrorKind;
use std::time::Duration;

use zklock::proto::ErrorCode;
use zklock::session::{
    Action, Cause, Io, Outcome, Output, Server, SessionConfig, SessionEvent, SessionLost, Stopped,
};

use crate::support::scripted::session::Session;
use crate::support::scripted::{
    BEAT, Machine, START, T, config, connect_response, error, ok, welcome,
};
use crate::{completed, send, sync, synced};

const ATTEMPT: Duration = Duration::from_secs(1);
const MOMENT: Duration = Duration::from_millis(1);

fn refused() -> Io {
    Io::Disconnected(Cause::Io(ErrorKind::ConnectionRefused, "refused".into()))
}

/// The server that was dialed last.
#[track_caller]
fn dialed(session: &mut Session) -> Server {
    match session.actions().pop() {
        Some(Action::Dial(server)) => server,
        other => panic!("{other:?}"),
    }
}

/// Fails the dial under way; how long it takes to the next one, and to whom.
fn fail(session: &mut Session) -> (Duration, Server) {
    let start = session.now;
    session.io(refused());
    session.dial();
    (session.now - start, dialed(session))
}

#[test]
fn each_server_gets_its_turn_without_delay_and_then_a_jittered_delay_stands_between() {
    let mut session = Session::dialing(config("a,b"));
    let first = dialed(&mut session);
    let (delay, second) = fail(&mut session);
    assert_eq!(delay, Duration::ZERO);
    assert_ne!(first, second);
    let delays: Vec<_> = (0..12)
        .map(|turn| {
            let (delay, server) = fail(&mut session);
            assert_eq!(
                server,
                if turn % 2 == 0 {
                    first.clone()
                } else {
                    second.clone()
                }
            );
            delay
        })
        .collect();
    assert!(delays[0] < Duration::from_millis(50), "{delays:?}");
    assert!(
        delays
            .iter()
            .all(|delay| *delay < Duration::from_millis(500))
    );
    assert!(
        delays.windows(2).all(|pair| pair[0] != pair[1]),
        "{delays:?}"
    );
}

#[test]
fn a_broken_connection_begins_a_new_pass() {
    let mut session = Session::dialing(config("a,b"));
    for _ in 0..5 {
        fail(&mut session);
    }
    session.connect();
    session.welcome(T);
    session.advance(BEAT);
    session.cut();
    let start = session.now;
    session.dial();
    let first = dialed(&mut session);
    let (_, second) = fail(&mut session);
    assert_eq!(session.now, start, "neither waited");
    assert_ne!(first, second);
}

#[test]
fn a_server_that_only_says_hello_is_not_dialed_in_a_loop() {
    let mut session = Session::connected();
    let start = session.now;
    for _ in 0..100 {
        session.cut();
        session.reattach();
    }
    let each = (session.now - start) / 100;
    assert!(each > Duration::from_millis(100), "{each:?}");
}

#[test]
fn the_seed_decides_the_order_of_the_servers() {
    let first = |seed| {
        let config = SessionConfig {
            seed,
            ..config("a,b,c")
        };
        dialed(&mut Session::dialing(config)).to_string()
    };
    let firsts: Vec<_> = (0..20).map(first).collect();
    assert_eq!(firsts, (0..20).map(first).collect::<Vec<_>>());
    for server in ["a:2181", "b:2181", "c:2181"] {
        assert!(firsts.iter().any(|first| first == server), "{firsts:?}");
    }
}

#[test]
fn a_dial_takes_no_longer_than_an_attempt_may() {
    let mut session = Session::dialing(config("a,b"));
    session.told();
    session.advance_in_silence(ATTEMPT - MOMENT);
    assert_eq!(session.told(), []);
    session.advance_in_silence(MOMENT);
    let told = session.told();
    assert!(
        matches!(told[..], [Output::HangUp, Output::Dial(_)]),
        "{told:?}"
    );
}

#[test]
fn dial_and_handshake_share_an_attempts_time() {
    let mut session = Session::dialing(config("a,b"));
    session.advance_in_silence(ATTEMPT / 2);
    session.connect();
    session.told();
    session.advance_in_silence(ATTEMPT / 4);
    session.io(Io::Partial); // which is no answer
    session.advance_in_silence(ATTEMPT / 4);
    let told = session.told();
    assert!(
        matches!(told[..], [Output::HangUp, Output::Dial(_)]),
        "{told:?}"
    );
}

#[test]
fn what_is_left_of_a_lease_is_shared_by_the_servers_left() {
    let mut session = Session::connected_with(config("a,b,c"));
    session.advance(BEAT * 10);
    session.cut();
    session.advance_in_silence(Duration::ZERO);
    let lease = session.machine.session.lease().expect("a session");
    let left = lease - session.now;
    let budget = session.machine.deadline().expect("an attempt") - session.now;
    // Two servers are left after this one, and one more share is for the end.
    assert_eq!(budget, left / 4);
    session.advance_in_silence(budget);
    let second = session.machine.deadline().expect("an attempt") - session.now;
    assert_eq!(second, (left - budget) / 3);
}

#[test]
fn without_a_lease_an_attempt_has_its_full_time() {
    let mut session = Session::connected();
    session.cut();
    while session.now < session.machine.session.lease().expect("a session") {
        session.dial();
        session.now = session.machine.deadline().expect("an attempt");
        session.advance_in_silence(Duration::ZERO);
    }
    session.dial();
    let budget = session.machine.deadline().expect("an attempt") - session.now;
    assert_eq!(budget, ATTEMPT);
}

#[test]
fn a_session_ends_when_nothing_was_heard_for_twice_its_timeout() {
    let mut session = Session::connected();
    session.advance(BEAT * 10);
    let last = session.now;
    session.cut();
    session.told();
    session.advance_in_silence(T * 2 - MOMENT);
    assert_eq!(session.events(), []);
    session.advance_in_silence(MOMENT);
    assert_eq!(session.now, last + T * 2);
    assert_eq!(
        session.events(),
        [SessionEvent::Lost(SessionLost::Unreachable)]
    );
    session.dial();
    assert_eq!(session.connect().session_id, 0);
}

#[test]
fn accepted_connections_and_cut_off_frames_keep_no_session_alive() {
    let mut session = Session::connected();
    session.told();
    session.cut();
    let end = session.now + T * 2 + ATTEMPT;
    while session.now < end && session.machine.session.session_id().is_some() {
        session.dial();
        session.connect();
        session.io(Io::Partial);
        session.io(Io::Disconnected(Cause::ClosedByServer));
    }
    assert!(
        session
            .events()
            .contains(&SessionEvent::Lost(SessionLost::Unreachable))
    );
}

#[test]
fn a_first_session_must_come_within_the_connect_timeout() {
    let mut session = Session::dialing(config("a,b"));
    let mut attempts = 0;
    while session.machine.deadline().is_some() {
        match session.actions().pop() {
            Some(Action::Dial(server)) if server.host() == "a" => {
                attempts += 1;
                session.io(refused());
            }
            Some(Action::Dial(_)) => attempts += 1,
            _ => session.step(),
        }
    }
    let waited = session.now - START;
    assert!(waited <= Duration::from_secs(10), "{waited:?}");
    assert!(waited > Duration::from_secs(9), "{waited:?}");
    let Some(SessionEvent::Stopped(Stopped::ConnectTimedOut {
        attempts: told,
        failures,
    })) = session.events().pop()
    else {
        panic!("not stopped by the connect timeout");
    };
    assert_eq!(told, attempts);
    let failures: Vec<_> = failures
        .iter()
        .map(|(server, cause)| (server.host(), cause.to_string()))
        .collect();
    assert_eq!(failures.len(), 2);
    assert!(failures.contains(&("a", "connection refused".into())));
    assert!(failures.contains(&("b", "no connection in time".into())));
}

#[test]
fn the_attempt_that_the_connect_timeout_ends_is_named_too() {
    let mut impatient = config("a");
    impatient.connect_timeout = ATTEMPT / 2;
    let mut session = Session::dialing(impatient);
    session.connect();
    session.told();
    session.advance_in_silence(ATTEMPT / 2);
    let Some(SessionEvent::Stopped(Stopped::ConnectTimedOut {
        attempts: 1,
        failures,
    })) = session.events().pop()
    else {
        panic!("not stopped by the connect timeout");
    };
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].1, Cause::HandshakeTimedOut);
}

#[test]
fn an_attempt_cut_short_by_the_connect_timeout_hides_no_earlier_failure() {
    let mut impatient = config("a");
    impatient.connect_timeout = ATTEMPT / 2;
    let mut session = Session::dialing(impatient);
    session.actions();
    session.io(refused());
    session.dial();
    while session.machine.deadline().is_some() {
        session.step();
    }
    let Some(SessionEvent::Stopped(Stopped::ConnectTimedOut { attempts, failures })) =
        session.events().pop()
    else {
        panic!("not stopped by the connect timeout");
    };
    assert_eq!(attempts, 2);
    assert_eq!(failures[0].1.to_string(), "connection refused");
}

#[test]
fn a_server_that_hangs_up_on_the_handshake_may_expect_tls() {
    let reset = Cause::Io(ErrorKind::ConnectionReset, "reset".into());
    for cause in [Cause::ClosedByServer, reset] {
        let mut session = Session::dialing(config("a"));
        while session.machine.deadline().is_some() {
            match session.actions().pop() {
                Some(Action::Dial(_)) => {
                    session.connect();
                    session.io(Io::Disconnected(cause.clone()));
                }
                _ => session.step(),
            }
        }
        let Some(SessionEvent::Stopped(Stopped::ConnectTimedOut { failures, .. })) =
            session.events().pop()
        else {
            panic!("not stopped by the connect timeout");
        };
        assert_eq!(failures[0].1, Cause::ClosedInHandshake);
    }
}

#[test]
fn later_sessions_are_waited_for_without_a_limit() {
    let mut session = Session::connected();
    session.cut();
    session.advance_in_silence(T * 2);
    session.told();
    session.advance_in_silence(Duration::from_secs(3600));
    assert_eq!(session.events(), []);
    session.dial();
    session.connect();
    session.welcome(T);
    assert!(session.machine.session.is_live());
}

#[test]
fn a_request_completes_once_whatever_ends_it() {
    type End = fn(&mut Session, i32);
    let ends: [(&str, Outcome, End); 6] = [
        (
            "replied",
            Outcome::Ok {
                zxid: 5,
                reply: synced("/l"),
            },
            |session, xid| {
                session.hear(ok(xid, 5, &synced("/l")));
            },
        ),
        (
            "refused",
            Outcome::Server(ErrorCode::NoNode),
            |session, xid| {
                session.hear(error(xid, 5, ErrorCode::NoNode));
            },
        ),
        ("cut", Outcome::MaybeSent, |session, _| session.cut()),
        ("expired", Outcome::SessionLost, |session, xid| {
            session.hear(error(xid, 5, ErrorCode::SessionExpired));
        }),
        ("closed", Outcome::Closed, |session, _| {
            session.close();
            for _ in 0..4 {
                session.io(Io::Partial);
                session.advance_in_silence(BEAT / 2);
            }
        }),
        ("silent", Outcome::MaybeSent, |session, _| {
            session.advance_in_silence(BEAT * 2)
        }),
    ];
    for (what, outcome, end) in ends {
        let mut session = Session::connected();
        let xids = send(&mut session, [1]);
        end(&mut session, xids[0]);
        let mut outcomes = session.outcomes();
        // Whatever follows.
        session.advance_in_silence(T * 3);
        session.close();
        session.advance_in_silence(T);
        outcomes.extend(session.outcomes());
        assert_eq!(outcomes, [(1, outcome)], "{what}");
    }
}

#[test]
fn requests_of_one_session_are_never_written_in_another() {
    let mut session = Session::connected();
    session.request(1, sync("/l"));
    session.cut();
    session.dial();
    session.connect();
    session.told();
    session.request(2, sync("/l"));
    session.hear(connect_response(&welcome(Duration::ZERO, 0)));
    session.request(3, sync("/l"));
    let told = session.told();
    assert!(told.contains(&completed(2, Outcome::NotSent)));
    assert!(told.contains(&completed(3, Outcome::NotSent)));
    session.session_id += 1;
    session.dial();
    session.connect();
    session.welcome(T);
    assert_eq!(session.transmit(), []);
}
