//! Authentication, which every connection begins with.

use zklock::proto::{ErrorCode, Reply, Request};
use zklock::session::{Auth, Cause, Io, Outcome, Output, SessionConfig, SessionEvent, Stopped};

use crate::support::scripted::session::Session;
use crate::support::scripted::{BEAT, SESSION_ID, T, config, error, ok};
use crate::{completed, sync};

fn two_identities() -> SessionConfig {
    SessionConfig {
        auth: vec![Auth::new("digest", "a:1"), Auth::new("digest", "b:2")],
        ..config("a")
    }
}

/// A session whose handshake is answered, and the xids of what it wrote then.
fn authenticating() -> (Session, Vec<i32>) {
    let mut session = Session::dialing(two_identities());
    session.connect();
    session.welcome(T);
    session.told();
    let batch = session.transmit();
    let auth = |request: &Request| matches!(request, Request::Auth { .. });
    assert!(batch.iter().all(|(_, request)| auth(request)), "{batch:?}");
    (session, batch.iter().map(|(xid, _)| *xid).collect())
}

fn established() -> Output<u32> {
    Output::Session(SessionEvent::Established {
        session_id: SESSION_ID,
        timeout: T,
    })
}

#[test]
fn a_session_is_announced_when_the_server_has_agreed_to_every_identity() {
    let (mut session, xids) = authenticating();
    assert_eq!(xids.len(), 2);
    session.request(1, sync("/l"));
    assert_eq!(session.told(), [completed(1, Outcome::NotSent)]);
    session.hear(ok(xids[0], 0, &Reply::Auth));
    assert_eq!(session.told(), []);
    session.hear(ok(xids[1], 0, &Reply::Auth));
    assert_eq!(session.told(), [established()]);
}

#[test]
fn every_connection_is_authenticated_anew() {
    let (mut session, xids) = authenticating();
    for xid in xids {
        session.hear(ok(xid, 0, &Reply::Auth));
    }
    session.cut();
    session.told();
    session.reattach();
    let again: Vec<_> = session.transmit().iter().map(|(xid, _)| *xid).collect();
    assert_eq!(again, [3, 4], "on with the xids");
    for xid in again {
        session.hear(ok(xid, 0, &Reply::Auth));
    }
    assert_eq!(session.events(), [SessionEvent::Reattached { timeout: T }]);
}

#[test]
fn a_refused_identity_is_the_end() {
    for code in [ErrorCode::AuthFailed, ErrorCode::MarshallingError] {
        let (mut session, xids) = authenticating();
        session.hear(error(xids[0], 0, code));
        let stopped = SessionEvent::Stopped(Stopped::AuthFailed(code));
        assert_eq!(session.told(), [Output::HangUp, Output::Session(stopped)]);
    }
}

#[test]
fn what_is_to_be_written_is_not_shown() {
    let mut session = Session::dialing(SessionConfig {
        auth: vec![Auth::new("digest", "alice:secret")],
        ..config("a")
    });
    session.connect();
    let shown = format!("{:?}", session.machine.session);
    session.welcome(T);
    let shown = shown + &format!("{:?}", session.machine.session);
    assert!(shown.contains("Authenticating"), "{shown}");
    assert!(
        !shown.contains("secret") && !shown.contains("greeting"),
        "{shown}"
    );
}

#[test]
fn a_session_that_was_never_announced_is_taken_up_without_a_word_of_a_break() {
    let (mut session, _) = authenticating();
    session.cut();
    assert_eq!(session.events(), []);
    session.reattach();
    let xids: Vec<_> = session.transmit().iter().map(|(xid, _)| *xid).collect();
    for xid in xids {
        session.hear(ok(xid, 0, &Reply::Auth));
    }
    assert_eq!(session.told().last(), Some(&established()));
}

#[test]
fn a_server_that_does_not_answer_the_identities_is_left_in_time() {
    let (mut session, _) = authenticating();
    session.advance_in_silence(BEAT);
    assert_eq!(session.told()[0], Output::HangUp);
    session.io(Io::Disconnected(Cause::ClosedByServer));
    assert_eq!(session.events(), []);
}
