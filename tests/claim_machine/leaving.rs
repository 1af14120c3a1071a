//! Deadlines and withdrawals in every phase, and what is deleted then.

use std::time::Duration;

use zklock::lock::{AcquireError, ClaimId, Dialect, LostReason, ReleaseError};
use zklock::proto::{ErrorCode, ZnodePath};
use zklock::session::Timestamp;

use crate::support::scripted::client::{Client, failed, left, lost, not_left};
use crate::support::scripted::{BEAT, T};
use crate::{OTHER, nothing_is_left};

const MOMENT: Duration = Duration::from_millis(1);

#[test]
fn leaving_twice_is_leaving_once() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.leave(id);
    client.leave(id);
    client.expect(["delete /l/#1:0"]);
    client.leave(id);
    client.expect_nothing();
    client.deleted();
    client.expect_notices([lost(id, LostReason::Released), left(id)]);
    client.leave(id);
    nothing_is_left(&mut client);
}

#[test]
fn a_create_in_flight_is_deleted_after_its_reply() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.expect(["create /l/#1", "list /l"]);
    client.leave(id);
    client.expect_nothing();
    client.expect_notices([]);
    client.created(4);
    client.expect(["delete /l/#1:4"]);
    client.listed(["#1:4"]);
    client.expect_nothing();
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_create_in_flight_that_fails_leaves_nothing() {
    for code in [ErrorCode::NoNode, ErrorCode::NoAuth, ErrorCode::NodeExists] {
        let mut client = Client::connected();
        let id = client.acquire("/l");
        client.batch();
        client.leave(id);
        client.refused(code);
        client.expect_notices([left(id)]);
        client.refused(code); // the listing
        nothing_is_left(&mut client);
    }
}

#[test]
fn a_create_in_flight_that_is_throttled_leaves_nothing_either() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.leave(id);
    client.refused(ErrorCode::ThrottledOp);
    client.listed([OTHER]);
    client.advance(BEAT);
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn the_deadline_holds_while_the_create_is_in_flight() {
    let mut client = Client::connected();
    let deadline = client.now + BEAT / 2;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.batch();
    client.advance(BEAT / 2);
    client.expect_notices([failed(id, AcquireError::TimedOut)]);
    client.expect_nothing();
    client.created(4);
    client.expect(["delete /l/#1:4"]);
    client.listed(["#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn the_deadline_holds_without_a_connection_and_the_delete_follows() {
    let mut client = Client::connected();
    let deadline = client.now + BEAT;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.queue((1, 4), [OTHER]);
    client.cut();
    client.advance_in_silence(BEAT - MOMENT);
    client.expect_notices([]);
    client.advance_in_silence(MOMENT);
    client.expect_notices([failed(id, AcquireError::TimedOut)]);
    client.reattach();
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn the_deadline_holds_before_there_is_a_session_and_nothing_is_sent_then() {
    let mut client = Client::dialing();
    let deadline = client.now + BEAT / 2;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.advance_in_silence(BEAT / 2);
    client.expect_notices([failed(id, AcquireError::TimedOut), left(id)]);
    client.connect();
    client.welcome(T);
    nothing_is_left(&mut client);
}

#[test]
fn a_grant_that_comes_before_the_deadline_is_one_and_the_deadline_means_nothing_then() {
    let mut client = Client::connected();
    let deadline = client.now + BEAT;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.batch();
    let czxid = client.created(4);
    client.now = Timestamp::from_nanos(deadline.as_nanos() - 1);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
    client.batch();
    client.seen(czxid);
    client.advance(BEAT * 10);
    client.expect_notices([]);
}

#[test]
fn a_grant_that_comes_at_the_deadline_is_none() {
    let mut client = Client::connected();
    let deadline = client.now + BEAT / 2;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.batch();
    client.created(4);
    client.now = deadline;
    client.listed(["#1:4"]);
    client.expect_notices([failed(id, AcquireError::TimedOut)]);
    client.expect(["exists /l/#1:4 watch", "delete /l/#1:4"]);
}

#[test]
fn a_doubtful_create_is_looked_for_deleted_and_looked_for_once_more() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.leave(id);
    client.cut();
    client.expect_notices([]);
    client.reattach();
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed([OTHER, "#1:4"]);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed([OTHER]);
    nothing_is_left(&mut client);
}

#[test]
fn a_doubtful_create_that_shows_up_at_the_last_look_is_deleted() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.leave(id);
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([OTHER]);
    client.expect_notices([left(id)]);
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed([OTHER, "#1:4"]);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    nothing_is_left(&mut client);
}

#[test]
fn a_break_during_the_last_look_has_it_repeated() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.leave(id);
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([]);
    client.expect_notices([left(id)]);
    for _ in 0..2 {
        client.expect(["sync /l", "list /l"]);
        client.cut();
        assert!(client.claims().contains(id));
        client.reattach();
    }
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed([]);
    nothing_is_left(&mut client);
}

#[test]
fn an_acquisition_without_a_claim_that_had_a_doubtful_one_is_looked_after_too() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([]);
    // Cut before the second create is written.
    client.cut();
    client.leave(id);
    assert!(client.claims().contains(id));
    client.reattach();
    client.expect_notices([left(id)]);
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed(["#1:4"]);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    nothing_is_left(&mut client);
}

#[test]
fn a_doubtful_create_below_a_path_that_is_gone_has_not_happened() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.leave(id);
    client.cut();
    client.reattach();
    for _ in 0..2 {
        client.expect(["sync /l", "list /l"]);
        client.synced();
        client.refused(ErrorCode::NoNode);
    }
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_look_for_a_doubtful_create_that_fails_is_repeated() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.leave(id);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l"]);
    // The sync fails: that the listing does not show it means nothing.
    client.refused(ErrorCode::ThrottledOp);
    client.listed([]);
    client.expect_nothing();
    client.advance(BEAT);
    client.expect(["sync /l", "list /l"]);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.refused(ErrorCode::ThrottledOp);
    client.expect_nothing();
    client.advance(BEAT);
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed(["#1:4"]);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
}

#[test]
fn a_release_whose_answer_is_lost_is_repeated_and_its_absence_is_success() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.leave(id);
    client.expect_notices([lost(id, LostReason::Released)]);
    client.expect(["delete /l/#1:0"]);
    for _ in 0..3 {
        client.cut();
        client.reattach();
        client.expect(["delete /l/#1:0"]);
    }
    client.expect_notices([]);
    client.refused(ErrorCode::NoNode);
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_release_without_a_connection_is_made_up_for() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.cut();
    client.leave(id);
    client.expect_notices([lost(id, LostReason::Released)]);
    client.advance_in_silence(BEAT);
    client.expect_notices([]);
    client.reattach();
    client.expect(["delete /l/#1:0"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_refused_release_is_told_once_and_tried_again_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.leave(id);
    client.notices();
    client.expect(["delete /l/#1:0"]);
    client.refused(ErrorCode::NoAuth);
    let refused = ReleaseError::Refused {
        znode: client.path("/l", "#1:0"),
        path: ZnodePath::new("/l").expect("a path"),
        code: ErrorCode::NoAuth,
    };
    client.expect_notices([not_left(id, refused)]);
    for _ in 0..5 {
        client.expect_nothing();
        client.advance(BEAT - MOMENT);
        client.expect_nothing();
        client.advance(MOMENT);
        client.expect(["delete /l/#1:0"]);
        client.refused(ErrorCode::NoAuth);
        client.expect_notices([]);
    }
    client.advance(BEAT);
    client.expect(["delete /l/#1:0"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_throttled_release_is_no_refusal() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.leave(id);
    client.notices();
    client.batch();
    client.refused(ErrorCode::ThrottledOp);
    client.expect_notices([]);
    client.advance(BEAT);
    client.expect(["delete /l/#1:0"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_refused_release_ends_with_the_session() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.leave(id);
    client.batch();
    client.refused(ErrorCode::NoAuth);
    client.notices();
    client.cut();
    client.replace_session();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn claims_of_this_session_that_no_acquisition_knows_are_swept() {
    let mut client = Client::connected();
    let (first, _) = client.hold("/l", 1);
    client.leave(first);
    client.batch();
    client.deleted();
    client.notices();

    let (second, _) = client.hold("/m", 2);
    let third = client.acquire("/l");
    client.batch();
    let czxid = client.created(9);
    // Two of unknown origin, one of an older session's, one of another's.
    let older = ClaimId {
        session_id: client.session_id - 1,
        counter: 1,
    };
    let older = format!("{}0000000008", older.prefix(Dialect::default()));
    client.listed(["#1:0", "#77:3", &older, OTHER, "#3:9"]);
    client.expect([
        "exists /l/#3:9 watch",
        "delete /l/#1:0",
        "delete /l/#77:3",
        &format!("list /l/{older} watch"),
        "list /l/#77:3 watch",
    ]);
    client.seen(czxid);
    client.refused(ErrorCode::NoNode);
    client.deleted();
    client.watched();
    client.watched();
    client.expect_notices([]);
    for (id, delete) in [(second, "delete /m/#2:0"), (third, "delete /l/#3:9")] {
        crate::leave(&mut client, id, delete);
    }
    client.notices();
    nothing_is_left(&mut client);
}

#[test]
fn claims_of_other_acquisitions_are_not_swept() {
    let mut client = Client::connected();
    client.hold("/l", 1);
    client.wait((2, 1), ["#1:0"]);
    client.acquire("/l");
    client.expect(["create /l/#3", "list /l"]);
    client.acquire("/l");
    client.expect(["create /l/#4", "list /l"]);
    client.created(2);
    // The fourth's create is done, though its reply is still to come.
    client.listed(["#1:0", "#2:1", "#3:2", "#4:3"]);
    client.expect([
        "exists /l/#3:2 watch",
        "list /l/#2:1 watch",
        "list /l/#1:0 watch",
    ]);
}

#[test]
fn many_acquisitions_leave_no_memory_behind() {
    let mut client = Client::connected();
    for counter in 1..1000 {
        let (id, _) = client.hold("/l", counter);
        crate::leave(&mut client, id, &format!("delete /l/#{counter}:0"));
        client.notices();
    }
    nothing_is_left(&mut client);
    // One's box serves the next, and is given back after the burst.
    let boxes = |client: &Client| format!("{:?}", client.claims());
    assert!(boxes(&client).contains("spare: 1 boxes"));
    client.advance(BEAT);
    assert!(boxes(&client).contains("spare: 0 boxes"));
}
