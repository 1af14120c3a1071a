//! The removal of another's claim.

use std::time::Duration;

use zklock::lock::{
    AcquisitionId, Command, FencingToken, Notice, QueueError, RemovalId, RemovalRequest,
};
use zklock::proto::{ErrorCode, ZnodePath};
use zklock::session::{Recipe, Timestamp};

use crate::OTHER;
use crate::support::scripted::client::{Client, acquire_request};
use crate::support::scripted::{BEAT, T};

const MOMENT: Duration = Duration::from_millis(1);
const TOKEN: i64 = 30;

fn remove(client: &mut Client, deadline: Timestamp) {
    client.command(Command::Remove(RemovalRequest {
        id: RemovalId(7),
        lock: acquire_request(AcquisitionId(0), "/l").lock,
        name: OTHER.into(),
        token: FencingToken::new(TOKEN as u64),
        deadline,
    }));
}

#[track_caller]
fn looks(client: &mut Client) {
    client.expect([&*format!("exists /l/{OTHER}")]);
}

#[track_caller]
fn deletes(client: &mut Client) {
    client.expect([&*format!("delete /l/{OTHER}")]);
}

#[track_caller]
fn ends(client: &mut Client, result: Result<bool, QueueError>) {
    let id = RemovalId(7);
    client.expect_notices([Notice::Removed { id, result }]);
    client.expect_nothing();
    client.keeps_nothing();
}

#[test]
fn the_claim_that_was_meant_is_deleted() {
    let mut client = Client::connected();
    remove(&mut client, Timestamp::MAX);
    looks(&mut client);
    client.seen_of(TOKEN, 50);
    deletes(&mut client);
    client.deleted();
    ends(&mut client, Ok(true));
}

#[test]
fn another_claim_of_the_same_name_stays() {
    let mut client = Client::connected();
    remove(&mut client, Timestamp::MAX);
    looks(&mut client);
    client.seen_of(TOKEN + 1, 50);
    ends(&mut client, Ok(false));
}

#[test]
fn a_claim_that_had_gone_is_no_error() {
    for seen in [false, true] {
        let mut client = Client::connected();
        remove(&mut client, Timestamp::MAX);
        looks(&mut client);
        if seen {
            client.seen_of(TOKEN, 50);
            deletes(&mut client);
        }
        client.refused(ErrorCode::NoNode);
        ends(&mut client, Ok(false));
    }
}

#[test]
fn a_refusal_says_what_is_not_allowed() {
    let mut client = Client::connected();
    remove(&mut client, Timestamp::MAX);
    looks(&mut client);
    client.seen_of(TOKEN, 50);
    deletes(&mut client);
    client.refused(ErrorCode::NoAuth);
    let error = QueueError::Refused {
        operation: "delete a claim",
        path: ZnodePath::new("/l").unwrap(),
        code: ErrorCode::NoAuth,
    };
    ends(&mut client, Err(error));
}

#[test]
fn a_claim_that_cannot_be_told_from_another_is_named() {
    let mut client = Client::connected();
    remove(&mut client, Timestamp::MAX);
    looks(&mut client);
    client.refused(ErrorCode::NoAuth);
    let (znode, code) = (format!("/l/{OTHER}").into(), ErrorCode::NoAuth);
    ends(&mut client, Err(QueueError::Unreadable { znode, code }));
}

#[test]
fn a_connection_that_breaks_means_starting_over() {
    let mut client = Client::connected();
    remove(&mut client, Timestamp::MAX);
    looks(&mut client);
    client.seen_of(TOKEN, 50);
    deletes(&mut client);
    client.cut();
    client.reattach();
    looks(&mut client);
    client.refused(ErrorCode::NoNode);
    ends(&mut client, Ok(false));
}

#[test]
fn one_that_is_throttled_begins_anew_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    // Not when a heartbeat is due anyway.
    client.advance(BEAT / 2);
    remove(&mut client, Timestamp::MAX);
    looks(&mut client);
    client.refused(ErrorCode::ThrottledOp);
    client.advance(BEAT - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    looks(&mut client);
    client.refused(ErrorCode::NoNode);
    ends(&mut client, Ok(false));
}

#[test]
fn one_that_is_throttled_and_then_cut_off_waits_for_the_connection() {
    let mut client = Client::connected();
    remove(&mut client, Timestamp::MAX);
    looks(&mut client);
    client.refused(ErrorCode::ThrottledOp);
    client.cut();
    assert_eq!(client.claims().deadline(), None);
    client.reattach();
    looks(&mut client);
    client.refused(ErrorCode::NoNode);
    ends(&mut client, Ok(false));
}

#[test]
fn one_waits_for_a_connection_and_not_beyond_its_deadline() {
    let mut client = Client::dialing();
    let deadline = client.now + T;
    remove(&mut client, deadline);
    client.connect();
    client.welcome(T);
    looks(&mut client);
    client.cut();
    client.advance(T - BEAT / 1000);
    client.expect_notices([]);
    client.advance(BEAT / 1000);
    ends(&mut client, Err(QueueError::TimedOut));
}

#[test]
fn closing_the_session_ends_it() {
    let mut client = Client::connected();
    remove(&mut client, Timestamp::MAX);
    looks(&mut client);
    client.close();
    let result = Err(QueueError::Closed);
    let id = RemovalId(7);
    client.expect_notices([Notice::Removed {
        id,
        result: result.clone(),
    }]);
    remove(&mut client, Timestamp::MAX);
    client.expect_notices([Notice::Removed { id, result }]);
    client.keeps_nothing();
}
