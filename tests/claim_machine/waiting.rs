//! Waiting for the claim directly ahead.

use zklock::lock::{AcquireError, AcquisitionId, LostReason};
use zklock::proto::{ErrorCode, EventType};

use crate::support::scripted::client::{Client, failed, left, lost, place_lost};
use crate::support::scripted::{BEAT, T};
use crate::{FURTHER, OTHER, leave, nothing_is_left};

const DELETED: EventType = EventType::NodeDeleted;

fn other() -> String {
    format!("/l/{OTHER}")
}

fn further() -> String {
    format!("/l/{FURTHER}")
}

#[test]
fn the_two_claims_directly_ahead_are_watched_and_not_by_exists() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    client.created(4);
    client.listed([
        "x-0000000000",
        OTHER,
        "#1:4",
        FURTHER,
        "y-0000000009",
        "x-0000000001",
    ]);
    client.expect([
        "exists /l/#1:4 watch",
        &format!("list {} watch", other()),
        &format!("list {} watch", further()),
    ]);
    client.expect_notices([]);
}

#[test]
fn the_end_of_the_only_claim_ahead_is_the_grant_without_a_round_trip() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [OTHER]);
    client.event(DELETED, &other());
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
    client.expect_nothing();
    leave(&mut client, id, "delete /l/#1:4");
    client.expect_notices([lost(id, LostReason::Released), left(id)]);
    nothing_is_left(&mut client);
}

/// The listing after the predecessor's end decides, and grants.
#[track_caller]
fn looks_again(client: &mut Client, own: &str) {
    client.expect_notices([]);
    client.expect(["list /l"]);
    client.listed([own]);
    assert_eq!(client.notices().len(), 1);
}

#[test]
fn a_claim_whose_number_may_come_back_is_not_the_last_word() {
    for marked in ["_c_x__WRIT__0000000003", "_c_x__READ__0000000003"] {
        let mut client = Client::connected();
        client.wait((1, 4), [marked]);
        client.event(DELETED, &format!("/l/{marked}"));
        looks_again(&mut client, "#1:4");
    }
}

#[test]
fn without_the_own_watch_the_end_of_one_claim_is_not_the_last_word() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    // Neither watch is answered yet.
    client.event(DELETED, &other());
    client.expect(["list /l"]);
    client.seen(czxid);
    client.refused(ErrorCode::NoNode);
    client.expect_notices([]);
    client.listed(["#1:4"]);
    assert_eq!(client.notices().len(), 1);
}

#[test]
fn a_change_of_the_own_claim_uses_the_watch_up_and_arms_another() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [OTHER]);
    let own = client.path("/l", "#1:4");
    client.event(EventType::NodeDataChanged, &own);
    client.expect(["exists /l/#1:4 watch"]);
    client.event(DELETED, &other());
    client.expect(["list /l"]);
    client.seen(czxid);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);

    client.event(EventType::NodeDataChanged, &own);
    client.expect(["exists /l/#1:4 watch"]);
    client.seen(czxid);
    client.event(DELETED, &own);
    client.expect_notices([lost(id, LostReason::ClaimDeleted), left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn the_watch_that_was_armed_again_is_as_good_as_the_first() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [OTHER]);
    let own = client.path("/l", "#1:4");
    client.event(EventType::NodeDataChanged, &own);
    client.batch();
    client.seen(czxid);
    client.event(DELETED, &other());
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
    client.expect_nothing();
}

#[test]
fn a_predecessor_that_went_before_its_watch_was_set_means_looking_again() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoNode);
    client.expect(["list /l"]);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn any_event_of_the_predecessor_means_looking_again() {
    let mut client = Client::connected();
    client.wait((1, 4), [OTHER]);
    client.event(EventType::NodeChildrenChanged, &other());
    client.expect(["list /l"]);
    client.listed([OTHER, "#1:4"]);
    client.expect([&*format!("list {} watch", other())]);
    client.expect_notices([]);
}

#[test]
fn the_own_claim_deleted_while_waiting_means_a_new_one() {
    let mut client = Client::connected();
    let (id, _) = client.wait((1, 4), [OTHER]);
    let own = client.path("/l", "#1:4");
    client.event(DELETED, &own);
    client.expect_notices([place_lost(AcquisitionId(1))]);
    client.expect(["create /l/#2", "list /l"]);
    let czxid = client.created(5);
    client.listed([OTHER, "#2:5"]);
    client.expect(["exists /l/#2:5 watch", &format!("list {} watch", other())]);
    client.seen(czxid);
    client.watched();
    // The old watch of the predecessor is still there: one event for both.
    client.event(DELETED, &other());
    client.expect_notices([client.granted(id, czxid, "#2:5", "/l")]);
}

#[test]
fn the_own_claim_missing_in_a_listing_means_a_new_one() {
    let mut client = Client::connected();
    client.wait((1, 4), ["x-0000000001", FURTHER, OTHER]);
    client.event(DELETED, &other());
    client.expect(["list /l"]);
    client.listed(["x-0000000001", FURTHER]);
    client.expect_notices([place_lost(AcquisitionId(1))]);
    client.expect(["delete /l/#1:4", "create /l/#2", "list /l"]);
}

#[test]
fn the_own_claim_gone_before_it_was_watched_means_a_new_one() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.refused(ErrorCode::NoNode);
    client.expect(["create /l/#2", "list /l"]);
}

#[test]
fn a_held_claim_that_is_deleted_is_a_lost_lock() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    let own = client.path("/l", "#1:0");
    client.event(DELETED, &own);
    client.expect_notices([lost(id, LostReason::ClaimDeleted), left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn the_predecessors_watch_is_set_anew_from_time_to_time() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [OTHER]);
    client.advance(T);
    client.head_without_a_ttl(OTHER);
    client.advance(BEAT * 10 - T);
    for round in 0..3 {
        if round > 0 {
            client.advance(BEAT * 10);
        }
        client.expect([&*format!("list {} watch", other())]);
        client.watched();
        client.expect_notices([]);
    }
    // Its event was lost, but it has gone.
    client.advance(BEAT * 10);
    client.batch();
    client.refused(ErrorCode::NoNode);
    client.expect(["list /l"]);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn a_watch_that_is_refused_for_now_is_asked_for_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    for _ in 0..3 {
        client.refused(ErrorCode::ThrottledOp);
        client.expect_nothing();
        client.advance(BEAT);
        client.expect([&*format!("list {} watch", other())]);
    }
}

#[test]
fn a_watch_that_fails_in_an_unknown_way_is_asked_for_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    for _ in 0..3 {
        client.refused(ErrorCode::from_i32(-1234));
        client.expect_nothing();
        client.advance(BEAT);
        client.expect([&*format!("list {} watch", other())]);
    }
}

#[test]
fn an_own_watch_that_is_refused_for_now_is_asked_for_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.created(4);
    client.listed(["#1:4"]);
    client.notices();
    client.expect(["exists /l/#1:4 watch"]);
    client.refused(ErrorCode::ThrottledOp);
    client.expect_nothing();
    client.advance(BEAT);
    client.expect(["exists /l/#1:4 watch"]);
    client.refused(ErrorCode::NoNode);
    client.expect_notices([lost(id, LostReason::ClaimDeleted), left(id)]);
}

#[test]
fn one_event_wakes_every_acquisition_that_waits_for_it() {
    let mut client = Client::connected();
    let (holder, _) = client.hold("/l", 1);
    let (waiter, czxid) = client.wait((2, 1), ["#1:0"]);
    // Someone else deletes the holder's claim: one event on the connection.
    let held = client.path("/l", "#1:0");
    client.event(DELETED, &held);
    client.expect_notices([
        lost(holder, LostReason::ClaimDeleted),
        left(holder),
        client.granted(waiter, czxid, "#2:1", "/l"),
    ]);
    leave(&mut client, waiter, "delete /l/#2:1");
    client.notices();
    nothing_is_left(&mut client);
}

#[test]
fn a_release_grants_the_next_of_the_same_session_by_its_event() {
    let mut client = Client::connected();
    let (holder, _) = client.hold("/l", 1);
    let (waiter, czxid) = client.wait((2, 1), ["#1:0"]);
    client.leave(holder);
    client.expect(["delete /l/#1:0"]);
    let held = client.path("/l", "#1:0");
    client.event(DELETED, &held);
    client.deleted();
    client.expect_notices([
        lost(holder, LostReason::Released),
        client.granted(waiter, czxid, "#2:1", "/l"),
        left(holder),
    ]);
}

#[test]
fn a_change_of_a_claim_does_not_stop_those_who_wait_for_its_end() {
    let mut client = Client::connected();
    let (_, held_czxid) = client.hold("/l", 1);
    let (waiter, czxid) = client.wait((2, 1), ["#1:0"]);
    let held = client.path("/l", "#1:0");
    // Uses up the holder's own watch, but not the waiter's.
    client.event(EventType::NodeDataChanged, &held);
    client.expect(["exists /l/#1:0 watch", "list /l"]);
    client.seen(held_czxid);
    client.listed(["#1:0", "#2:1"]);
    client.expect(["list /l/#1:0 watch"]);
    client.watched();
    client.event(DELETED, &held);
    let notices = client.notices();
    assert!(
        notices.contains(&client.granted(waiter, czxid, "#2:1", "/l")),
        "{notices:?}"
    );
}

#[test]
fn the_deadline_ends_the_wait() {
    let mut client = Client::connected();
    let deadline = client.now + T;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.queue((1, 4), [OTHER]);
    client.advance(T - BEAT / 1000);
    client.expect_notices([]);
    client.advance(BEAT / 1000);
    client.expect_notices([failed(id, AcquireError::TimedOut)]);
    client.expect(["delete /l/#1:4"]);
    // The end of the predecessor comes too late.
    client.event(DELETED, &other());
    client.expect_notices([]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
    client.advance(T * 10);
    nothing_is_left(&mut client);
}

#[test]
fn an_end_of_the_wait_that_crosses_the_watches_leaves_nothing() {
    for own_watch_answered in [true, false] {
        let mut client = Client::connected();
        let id = client.acquire("/l");
        client.batch();
        let czxid = client.created(4);
        client.listed([OTHER, "#1:4"]);
        client.batch();
        if own_watch_answered {
            client.seen(czxid);
            client.leave(id);
        } else {
            client.leave(id);
            client.seen(czxid);
        }
        client.watched();
        client.expect(["delete /l/#1:4"]);
        client.deleted();
        client.expect_notices([left(id)]);
        nothing_is_left(&mut client);
        // Past the time at which the watch would have been set anew.
        client.advance(T * 3);
        nothing_is_left(&mut client);
    }
}

#[test]
fn a_grant_that_is_due_at_the_deadline_comes_too_late() {
    let mut client = Client::connected();
    let deadline = client.now + BEAT;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.queue((1, 4), [OTHER]);
    client.now = deadline;
    // The event is read before the timers, as after a pause.
    client.event(DELETED, &other());
    client.expect_notices([failed(id, AcquireError::TimedOut)]);
    client.expect(["delete /l/#1:4"]);
}

#[test]
fn predecessors_that_went_before_their_watches_leave_nothing_in_memory() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(1000);
    client.listed(["x-0000000999", "#1:1000"]);
    client.batch();
    client.seen(czxid);
    let kept = |client: &Client| format!("{:?}", client.claims()).len();
    let before = kept(&client);
    for number in (100..999).rev() {
        client.refused(ErrorCode::NoNode);
        client.batch();
        client.listed([&*format!("x-0000000{number}"), "#1:1000"]);
        client.batch();
    }
    assert!(kept(&client) < before + 20, "{:?}", client.claims());
}

#[test]
fn a_long_wait_takes_no_more_memory_than_a_short_one() {
    let mut client = Client::connected();
    client.wait((1, 4), ["x-0000000001", FURTHER, OTHER]);
    let kept = |client: &Client| format!("{:?}", client.claims()).len();
    let before = kept(&client);
    for _ in 0..1000 {
        client.event(EventType::NodeChildrenChanged, &other());
        client.batch();
        client.listed(["x-0000000001", FURTHER, OTHER, "#1:4"]);
        client.batch();
        client.watched();
    }
    assert!(kept(&client) < before + 20, "{:?}", client.claims());
}
