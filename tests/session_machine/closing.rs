//! The orderly close.

use std::time::Duration;

use zklock::proto::{Reply, Request};
use zklock::session::{Outcome, Output, SessionEvent, SessionLost, Stopped};

use crate::support::scripted::session::Session;
use crate::support::scripted::{BEAT, Machine, T, config, connect_response, welcome};
use crate::{completed, send, sync, synced};

const LONGEST_CLOSE: Duration = Duration::from_secs(2);

fn stopped() -> Output<u32> {
    Output::Session(SessionEvent::Stopped(Stopped::Closed))
}

fn closing() -> Output<u32> {
    Output::Session(SessionEvent::Closing)
}

#[test]
fn the_close_is_written_last_and_what_was_asked_before_is_answered() {
    let mut session = Session::connected();
    session.request(1, sync("/l"));
    session.close();
    session.request(2, sync("/l"));
    assert_eq!(session.told(), [closing(), completed(2, Outcome::Closed)]);
    let batch = session.transmit();
    assert_eq!(batch, [(1, sync("/l")), (2, Request::CloseSession)]);
    session.reply(1, &synced("/l"));
    assert_eq!(session.outcomes().len(), 1);
    session.reply(2, &Reply::CloseSession);
    assert_eq!(session.told(), [Output::HangUp, stopped()]);
    assert_eq!(session.machine.deadline(), None);
    assert_eq!(session.machine.session.session_id(), None);
}

#[test]
fn the_close_waits_until_all_requests_are_written() {
    let mut limited = config("a");
    limited.max_in_flight = 1;
    let mut session = Session::connected_with(limited);
    assert_eq!(send(&mut session, [1, 2]), [1]);
    session.close();
    assert_eq!(session.transmit(), []);
    session.reply(1, &synced("/l"));
    assert_eq!(
        session.transmit(),
        [(2, sync("/l")), (3, Request::CloseSession)]
    );
}

#[test]
fn a_close_takes_bounded_time_whatever_the_server_does() {
    let mut session = Session::connected();
    send(&mut session, [1]);
    session.close();
    session.transmit();
    session.told();
    session.advance_in_silence(LONGEST_CLOSE);
    let told = session.told();
    assert!(
        told.contains(&completed(1, Outcome::Closed))
            || told.contains(&completed(1, Outcome::MaybeSent))
    );
    assert_eq!(told.last(), Some(&stopped()));
    assert_eq!(session.machine.deadline(), None);
}

#[test]
fn a_close_without_a_connection_takes_bounded_time_too() {
    let mut session = Session::connected();
    session.cut();
    session.close();
    session.advance_in_silence(LONGEST_CLOSE);
    assert_eq!(session.told().last(), Some(&stopped()));
    assert_eq!(session.machine.deadline(), None);
}

#[test]
fn closing_twice_is_closing_once() {
    let mut session = Session::connected();
    session.close();
    session.close();
    assert_eq!(session.told(), [closing()]);
    let batch = session.transmit();
    assert_eq!(batch, [(1, Request::CloseSession)]);
    session.close();
    assert_eq!(session.transmit(), []);
    session.reply(1, &Reply::CloseSession);
    session.told();
    session.close();
    session.advance_in_silence(T);
    assert_eq!(session.told(), []);
}

#[test]
fn a_close_before_there_is_a_session_is_immediate() {
    let mut session = Session::dialing(config("a"));
    session.told();
    session.close();
    assert_eq!(session.told(), [closing(), Output::HangUp, stopped()]);
    session.advance_in_silence(T);
    assert_eq!(session.told(), []);
}

#[test]
fn a_session_that_comes_about_while_closing_is_closed() {
    let mut session = Session::dialing(config("a"));
    session.connect();
    session.close();
    session.welcome(T);
    assert_eq!(session.transmit(), [(1, Request::CloseSession)]);
    session.reply(1, &Reply::CloseSession);
    assert_eq!(session.told().last(), Some(&stopped()));
}

#[test]
fn no_session_is_begun_only_to_be_closed() {
    let mut session = Session::dialing(config("a,b"));
    session.connect();
    session.close();
    session.told();
    session.cut();
    session.advance_in_silence(Duration::ZERO);
    assert_eq!(session.told(), [stopped()]);
}

#[test]
fn a_close_goes_on_over_a_new_connection() {
    let mut session = Session::connected_with(config("a,b"));
    session.close();
    session.transmit();
    session.cut();
    session.reattach();
    assert_eq!(session.transmit(), [(2, Request::CloseSession)]);
    session.reply(2, &Reply::CloseSession);
    assert_eq!(session.told().last(), Some(&stopped()));
}

#[test]
fn a_session_that_is_gone_when_the_close_comes_to_it_is_closed() {
    let mut session = Session::connected_with(config("a,b"));
    session.close();
    session.transmit();
    session.cut();
    session.dial();
    session.connect();
    session.told();
    session.hear(connect_response(&welcome(Duration::ZERO, 0)));
    assert_eq!(
        session.told(),
        [
            Output::Session(SessionEvent::Lost(SessionLost::Expired)),
            Output::HangUp,
            stopped()
        ]
    );
}

#[test]
fn heartbeats_go_on_while_the_close_waits() {
    let mut session = Session::connected();
    send(&mut session, [1]);
    session.close();
    session.transmit();
    session.advance_in_silence(BEAT);
    assert_eq!(session.transmit().len(), 2);
}
