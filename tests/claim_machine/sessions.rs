//! The session's end, and the end of what it can be relied on.

use zklock::lock::{AcquireError, AcquisitionId, LostReason};
use zklock::proto::{ErrorCode, EventType, Request};
use zklock::session::SessionLost;

use crate::support::scripted::client::{Client, claim_of, failed, left, lost, place_lost};
use crate::support::scripted::{BEAT, Machine, SESSION_ID, T};
use crate::{OTHER, nothing_is_left};

const EXPIRED: LostReason = LostReason::Session(SessionLost::Expired);

#[test]
fn a_held_lock_is_lost_with_its_session() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.cut();
    client.replace_session();
    client.expect_notices([lost(id, EXPIRED), left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_waiter_joins_the_queue_again_in_the_new_session_under_a_new_name() {
    let mut client = Client::connected();
    let (id, _) = client.wait((1, 4), [OTHER]);
    client.cut();
    client.replace_session();
    client.expect_notices([place_lost(AcquisitionId(1))]);
    client.expect(["create /l/#2", "list /l"]);
    // Of what it had in the old one nothing is kept.
    let claims = format!("{:?}", client.claims());
    let trace = "Trace { counters: [2], watched: [] }";
    assert!(claims.contains(trace), "{claims}");
    let czxid = client.created(9);
    // The claim of the old session is a claim like any other now.
    let old = claim_of(SESSION_ID, "1:4");
    client.listed([&old, "#2:9"]);
    client.expect(["exists /l/#2:9 watch", &format!("list /l/{old} watch")]);
    client.seen(czxid);
    client.watched();
    client.expect_notices([]);
    client.event(EventType::NodeDeleted, &format!("/l/{old}"));
    client.expect_notices([client.granted(id, czxid, "#2:9", "/l")]);
}

#[test]
fn a_create_in_flight_when_the_session_ends_is_not_looked_for_in_the_next() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.expect(["create /l/#1", "list /l"]);
    client.refused(ErrorCode::SessionExpired);
    client.session_id += 1;
    client.dial();
    client.connect();
    client.welcome(T);
    client.expect(["create /l/#2", "list /l"]);
}

#[test]
fn a_doubtful_create_is_forgotten_with_its_session() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.replace_session();
    client.expect(["create /l/#2", "list /l"]);
    let czxid = client.created(5);
    client.listed([&claim_of(SESSION_ID, "1:4"), "#2:5"]);
    client.batch();
    client.seen(czxid);
    client.watched();
    crate::leave(&mut client, id, "delete /l/#2:5");
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn what_was_to_be_deleted_is_gone_with_the_session() {
    for delete_written in [true, false] {
        let mut client = Client::connected();
        let (id, _) = client.hold("/l", 1);
        client.leave(id);
        if delete_written {
            client.batch();
        }
        client.cut();
        client.replace_session();
        client.expect_notices([lost(id, LostReason::Released), left(id)]);
        nothing_is_left(&mut client);
    }
}

#[test]
fn a_waiter_whose_deadline_comes_between_two_sessions_gives_up() {
    let mut client = Client::connected();
    let deadline = client.now + T * 3;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.queue((1, 4), [OTHER]);
    client.cut();
    client.advance_in_silence(T * 3);
    client.expect_notices([place_lost(id), failed(id, AcquireError::TimedOut), left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn an_unheard_session_ends_and_takes_the_wait_to_the_next() {
    let mut client = Client::connected();
    client.wait((1, 4), [OTHER]);
    client.cut();
    client.advance_in_silence(T * 2);
    client.session_id += 1;
    client.dial();
    assert_eq!(client.connect().session_id, 0);
    client.welcome(T);
    client.expect(["create /l/#2", "list /l"]);
}

#[test]
fn a_holder_is_told_when_the_lease_runs_out_and_the_claim_is_deleted_later() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.advance(BEAT * 10);
    client.cut();
    let left_of_lease = client.lease() - client.now;
    assert!(left_of_lease > T / 4);
    client.advance_in_silence(left_of_lease - BEAT / 1000);
    client.expect_notices([]);
    client.advance_in_silence(BEAT / 1000);
    client.expect_notices([lost(id, LostReason::LeaseExpired)]);
    // Lost stays lost, though the session lives on.
    client.reattach();
    client.expect(["delete /l/#1:0"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn the_end_of_a_lease_is_a_deadline_while_a_lock_is_held() {
    let mut client = Client::connected();
    client.hold("/l", 1);
    client.cut();
    client.dial();
    client.connect(); // And no answer.
    while client.notices().is_empty() {
        client.step();
    }
    assert_eq!(client.now, client.lease());
}

#[test]
fn a_connection_that_answers_without_its_leader_keeps_no_lease() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.advance(BEAT * 10);
    let lease = client.lease();
    // The heartbeat's sync is not answered, but bytes keep coming.
    while client.now < lease {
        client.event(EventType::NodeDeleted, "/elsewhere");
        client.advance_in_silence((BEAT / 2).min(lease - client.now));
        client.transmit();
    }
    client.expect_notices([lost(id, LostReason::LeaseExpired)]);
    assert!(client.machine.engine.session().is_live());
}

#[test]
fn at_the_head_with_a_stale_lease_a_waiter_waits_for_the_next_evidence() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [OTHER]);
    client.advance(T);
    client.head_without_a_ttl(OTHER);
    client.advance(BEAT * 10 - T);
    client.expect([&*format!("list /l/{OTHER} watch")]);
    client.watched();
    let lease = client.lease();
    while client.now < lease {
        client.event(EventType::NodeDeleted, "/elsewhere");
        client.advance_in_silence((BEAT / 2).min(lease - client.now));
        client.transmit();
    }
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.expect_notices([]);
    client.expect_nothing();
    // Now the servers come back. The first heartbeats prove too little.
    client.answer_heartbeat();
    while client.lease() <= client.now {
        client.expect_notices([]);
        client.advance(BEAT / 2);
    }
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn a_grant_on_replies_needs_the_lease_too() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    while client.now < client.lease() {
        client.event(EventType::NodeDeleted, "/elsewhere");
        client.advance_in_silence((BEAT / 2).min(client.lease() - client.now));
    }
    client.listed(["#1:4"]);
    client.expect_notices([]);
    client.batch();
    client.seen(czxid);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l", "exists /l/#1:4 watch"]);
    client.expect_notices([]);
    client.synced();
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn all_holders_of_a_session_lose_at_once() {
    let mut client = Client::connected();
    let (first, _) = client.hold("/l", 1);
    let (second, _) = client.hold("/m", 2);
    client.cut();
    client.advance_in_silence(T);
    client.expect_notices([
        lost(first, LostReason::LeaseExpired),
        lost(second, LostReason::LeaseExpired),
    ]);
}

#[test]
fn a_close_ends_everything() {
    let mut client = Client::connected();
    let (held, _) = client.hold("/l", 1);
    let (waiting, _) = client.wait((2, 4), ["#1:0"]);
    let creating = client.acquire("/m");
    client.close();
    client.expect_notices([
        lost(held, LostReason::Closed),
        left(held),
        failed(waiting, AcquireError::Closed),
        left(waiting),
        failed(creating, AcquireError::Closed),
        left(creating),
    ]);
    client.keeps_nothing();
    let batch: Vec<_> = client
        .batch()
        .into_iter()
        .map(|(_, request)| request)
        .collect();
    assert_eq!(batch.last(), Some(&Request::CloseSession));
    let late = client.acquire("/l");
    client.expect_notices([failed(late, AcquireError::Closed)]);
    client.created(0);
    client.listed([]);
    client.keeps_nothing();
    client.advance_in_silence(T);
    assert_eq!(client.machine.deadline(), None);
}

#[test]
fn a_close_without_a_connection_ends_everything_too() {
    let mut client = Client::connected();
    let (held, _) = client.hold("/l", 1);
    client.cut();
    client.close();
    client.expect_notices([lost(held, LostReason::Closed), left(held)]);
    client.keeps_nothing();
    client.advance_in_silence(T);
    assert_eq!(client.machine.deadline(), None);
}
