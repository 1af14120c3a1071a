//! What a server may refuse, and what the user is told then.

use std::time::Duration;

use zklock::lock::{AcquireError, AcquisitionId, LostReason};
use zklock::proto::{ErrorCode, EventType, ZnodePath};

use crate::support::scripted::BEAT;
use crate::support::scripted::client::{Client, failed, left, lost, place_lost};
use crate::{OTHER, nothing_is_left};

fn path(path: &str) -> ZnodePath {
    ZnodePath::new(path).expect("a path")
}

#[test]
fn a_create_that_is_refused_is_an_error_that_says_why() {
    let path = path("/l");
    let refused = |code| AcquireError::Refused {
        operation: "create a claim",
        path: self::path("/l"),
        code,
    };
    for (code, error) in [
        (
            ErrorCode::NodeExists,
            AcquireError::SequenceExhausted { path: path.clone() },
        ),
        (
            ErrorCode::NoChildrenForEphemerals,
            AcquireError::EphemeralParent { path: path.clone() },
        ),
        (ErrorCode::NoAuth, refused(ErrorCode::NoAuth)),
        (ErrorCode::InvalidAcl, refused(ErrorCode::InvalidAcl)),
        (ErrorCode::QuotaExceeded, refused(ErrorCode::QuotaExceeded)),
    ] {
        let mut client = Client::connected();
        let id = client.acquire("/l");
        client.batch();
        client.refused(code);
        client.expect_notices([failed(id, error), left(id)]);
        client.listed([OTHER]);
        nothing_is_left(&mut client);
    }
}

#[test]
fn a_create_that_may_have_been_done_all_the_same_is_looked_for_and_deleted() {
    for code in [
        ErrorCode::OperationTimeout,
        ErrorCode::SystemError,
        ErrorCode::Other(-77),
    ] {
        let mut client = Client::connected();
        let id = client.acquire("/l");
        client.batch();
        client.refused(code);
        let (operation, path) = ("create a claim", path("/l"));
        let error = AcquireError::Refused {
            operation,
            path,
            code,
        };
        client.expect_notices([failed(id, error)]);
        client.listed([OTHER]);
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
}

#[test]
fn a_throttled_create_is_tried_again_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.refused(ErrorCode::ThrottledOp);
    client.listed([OTHER]);
    for counter in 2..5 {
        client.expect_nothing();
        client.advance(BEAT);
        client.expect([&*format!("create /l/#{counter}"), "list /l"]);
        client.refused(ErrorCode::ThrottledOp);
        client.refused(ErrorCode::ThrottledOp);
    }
    client.expect_notices([]);
    client.leave(id);
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_throttled_parent_is_tried_again_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    let id = client.acquire("/a");
    client.batch();
    client.refused(ErrorCode::NoNode);
    client.expect(["make /a", "create /a/#2"]);
    client.refused(ErrorCode::NoNode); // the first listing's
    client.refused(ErrorCode::ThrottledOp);
    client.refused(ErrorCode::NoNode);
    client.expect_nothing();
    client.advance(BEAT);
    client.batch();
    client.expect_notices([]);
    client.leave(id);
    client.cut();
}

#[test]
fn parents_that_cannot_be_made_are_named() {
    let mut client = Client::connected();
    let id = client.acquire("/a/b");
    client.batch();
    client.refused(ErrorCode::NoNode);
    client.expect(["make /a", "make /a/b", "create /a/b/#2"]);
    client.refused(ErrorCode::NoNode); // the listing's
    client.refused(ErrorCode::NodeExists);
    client.refused(ErrorCode::NoAuth);
    client.refused(ErrorCode::NoNode);
    let error = AcquireError::MissingParent {
        path: path("/a/b"),
        code: ErrorCode::NoAuth,
    };
    client.expect_notices([failed(id, error), left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn the_first_parent_that_cannot_be_made_is_the_one_to_blame() {
    let mut client = Client::connected();
    let id = client.acquire("/a/b");
    client.batch();
    client.refused(ErrorCode::NoNode);
    client.refused(ErrorCode::NoNode);
    client.batch();
    client.refused(ErrorCode::NoAuth);
    client.refused(ErrorCode::NoNode);
    client.refused(ErrorCode::NoNode);
    let error = AcquireError::MissingParent {
        path: path("/a"),
        code: ErrorCode::NoAuth,
    };
    client.expect_notices([failed(id, error), left(id)]);
}

#[test]
fn parents_that_someone_else_makes_meanwhile_are_as_good() {
    let mut client = Client::connected();
    let id = client.acquire("/a");
    client.batch();
    client.refused(ErrorCode::NoNode);
    client.refused(ErrorCode::NoNode);
    client.batch();
    // Not allowed to make it, but it is there.
    client.refused(ErrorCode::NoAuth);
    let czxid = client.created(0);
    client.batch();
    client.listed(["#2:0"]);
    client.expect_notices([client.granted(id, czxid, "#2:0", "/a")]);
}

#[test]
fn an_old_failure_to_make_parents_is_not_held_against_them() {
    let mut client = Client::connected();
    client.acquire("/a");
    client.batch();
    client.refused(ErrorCode::NoNode);
    client.refused(ErrorCode::NoNode);
    client.batch();
    client.refused(ErrorCode::NoAuth);
    let czxid = client.created(1);
    client.batch();
    client.listed(["x-0000000000", "#2:1"]);
    client.batch();
    client.seen(czxid);
    client.watched();
    // Someone deletes it all.
    let own = client.path("/a", "#2:1");
    client.event(EventType::NodeDeleted, &own);
    client.expect(["create /a/#3", "list /a"]);
    client.refused(ErrorCode::NoNode);
    client.expect(["make /a", "create /a/#4"]);
    client.expect_notices([place_lost(AcquisitionId(1))]);
}

#[test]
fn a_listing_that_is_refused_is_an_error_and_the_claim_is_deleted() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.created(4);
    client.batch();
    client.refused(ErrorCode::NoAuth);
    let error = AcquireError::Refused {
        operation: "list the claims",
        path: path("/l"),
        code: ErrorCode::NoAuth,
    };
    client.expect_notices([failed(id, error)]);
    client.seen(1);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_claim_that_was_found_but_may_not_be_read_is_given_up() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed(["#1:4"]);
    client.expect(["exists /l/#1:4 watch"]);
    client.refused(ErrorCode::NoAuth);
    let error = AcquireError::Refused {
        operation: "read a claim",
        path: path("/l"),
        code: ErrorCode::NoAuth,
    };
    client.expect_notices([failed(id, error)]);
    client.expect(["delete /l/#1:4"]);
}

#[test]
fn a_claim_that_was_created_is_held_though_it_may_not_be_read() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.refused(ErrorCode::NoAuth);
    client.watched();
    // Without the own watch the end of the predecessor is not the last word.
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.expect(["list /l"]);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
    client.expect_nothing();
}

#[test]
fn a_throttled_listing_is_tried_again_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.expect(["exists /l/#1:4 watch"]);
    for _ in 0..3 {
        client.refused(ErrorCode::ThrottledOp);
        if client.in_flight.len() == 1 {
            client.seen(czxid);
        }
        client.expect_nothing();
        client.advance(BEAT);
        client.expect(["list /l"]);
    }
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn a_holder_whose_listing_is_refused_after_a_reattach_holds_on() {
    let mut client = Client::connected();
    let (_, czxid) = client.hold("/l", 1);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l", "exists /l/#1:0 watch"]);
    client.synced();
    client.refused(ErrorCode::NoAuth);
    client.seen(czxid);
    client.expect_notices([]);
    client.expect_nothing();
    client.advance(BEAT);
    client.expect(["sync /l", "list /l"]);
}

#[test]
fn a_queue_that_is_too_long_to_be_listed_is_an_error_and_leaves_nothing() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.created(4);
    client.hear_too_long();
    let error = AcquireError::QueueTooLong {
        path: ZnodePath::new("/l").expect("a path"),
        length: 101,
        max: 100,
    };
    client.expect_notices([failed(id, error)]);
    client.reattach();
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_holder_does_without_a_listing_that_is_too_long() {
    let mut client = Client::connected();
    let (id, czxid) = client.hold("/l", 1);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l", "exists /l/#1:0 watch"]);
    client.synced();
    client.hear_too_long();
    client.reattach();
    client.expect(["exists /l/#1:0 watch"]);
    client.seen(czxid);
    client.advance(Duration::from_secs(300));
    client.cut();
    client.reattach();
    client.expect(["exists /l/#1:0 watch"]);
    client.seen(czxid);
    client.expect_notices([]);
    let own = client.path("/l", "#1:0");
    client.event(EventType::NodeDeleted, &own);
    client.expect_notices([lost(id, LostReason::ClaimDeleted), left(id)]);
}

/// How many of the next few connections end by a listing that is too long.
fn connections_ended(client: &mut Client) -> usize {
    let mut ended = 0;
    for _ in 0..5 {
        client.advance(BEAT);
        let batch = client.batch();
        let lists = batch
            .iter()
            .any(|(_, request)| matches!(request, zklock::proto::Request::GetChildren { .. }));
        if lists {
            client.synced();
            ended += 1;
            client.hear_too_long();
            client.reattach();
        }
    }
    ended
}

#[test]
fn a_create_in_doubt_where_nothing_can_be_listed_ends_no_connection_after_the_first() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.hear_too_long();
    assert_eq!(client.notices().len(), 1, "{id:?} failed");
    client.reattach();
    assert_eq!(connections_ended(&mut client), 0);
}

#[test]
fn a_create_in_doubt_where_nothing_can_be_listed_is_looked_for_again_in_a_while() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    // Not when a heartbeat is due anyway.
    client.advance(BEAT / 4);
    client.batch();
    client.synced();
    client.hear_too_long();
    let again = client.now + BEAT * 60;
    client.notices();
    client.reattach();
    client.advance(again - client.now - BEAT / 1000);
    client.expect_nothing();
    client.advance(BEAT / 1000);
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed(["#1:4"]);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
}

#[test]
fn a_released_claim_once_in_doubt_where_nothing_can_be_listed_ends_no_connection() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed(["#1:4"]);
    client.batch();
    client.seen(101);
    assert_eq!(client.notices().len(), 1, "granted");
    client.leave(id);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.hear_too_long();
    client.reattach();
    assert_eq!(connections_ended(&mut client), 0);
}
