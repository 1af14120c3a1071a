//! A connection that breaks and a session that lives on.

use zklock::lock::{AcquireError, ClaimId, Dialect, LostReason};
use zklock::proto::{ErrorCode, EventType};

use crate::support::scripted::BEAT;
use crate::support::scripted::client::{Client, failed, left, lost};
use crate::{OTHER, nothing_is_left};

fn watch_of_other() -> String {
    format!("list /l/{OTHER} watch")
}

#[test]
fn a_waiter_looks_again_behind_a_sync_and_arms_both_watches_anew() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [OTHER]);
    client.cut();
    client.expect_notices([]);
    client.reattach();
    client.expect(["sync /l", "list /l", "exists /l/#1:4 watch"]);
    client.synced();
    client.listed([OTHER, "#1:4"]);
    client.expect([&*watch_of_other()]);
    client.seen(czxid);
    client.watched();
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn a_predecessor_that_went_meanwhile_is_no_wait() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [OTHER]);
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn an_event_of_the_old_connection_proves_nothing_on_the_new_one() {
    let mut client = Client::connected();
    client.wait((1, 4), [OTHER]);
    client.cut();
    client.reattach();
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.expect_notices([]);
}

#[test]
fn a_claim_to_be_deleted_does_not_wait_for_the_look_after_another() {
    let mut client = Client::connected();
    client.wait((1, 4), ["x-0000000001", "x-0000000002", OTHER]);
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.batch();
    client.listed(["x-0000000001"]);
    client.expect(["delete /l/#1:4", "create /l/#2", "list /l"]);
    client.cut();
    client.reattach();
    client.expect(["delete /l/#1:4", "sync /l", "list /l"]);
}

#[test]
fn a_held_lock_survives_a_reattach() {
    let mut client = Client::connected();
    let (id, czxid) = client.hold("/l", 1);
    client.cut();
    client.expect_notices([]);
    client.advance_in_silence(BEAT);
    client.reattach();
    client.expect(["sync /l", "list /l", "exists /l/#1:0 watch"]);
    client.synced();
    client.listed(["#1:0", OTHER]);
    client.seen(czxid);
    client.expect_notices([]);
    client.expect_nothing();
    // The watch is armed again.
    let own = client.path("/l", "#1:0");
    client.event(EventType::NodeDeleted, &own);
    client.expect_notices([lost(id, LostReason::ClaimDeleted), left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_held_lock_whose_claim_is_gone_after_a_reattach_is_lost() {
    for listing in [true, false] {
        let mut client = Client::connected();
        let (id, _) = client.hold("/l", 1);
        client.cut();
        client.reattach();
        client.batch();
        client.synced();
        if listing {
            client.listed([OTHER]);
        } else {
            client.listed(["#1:0"]);
            client.refused(ErrorCode::NoNode);
        }
        let mut notices = client.notices();
        if listing {
            // Not seen is not gone: it is deleted should it be there after all.
            client.expect(["delete /l/#1:0"]);
            client.refused(ErrorCode::NoNode); // the own watch
            client.refused(ErrorCode::NoNode);
            notices.extend(client.notices());
        }
        assert_eq!(notices, [lost(id, LostReason::ClaimDeleted), left(id)]);
        nothing_is_left(&mut client);
    }
}

#[test]
fn a_listing_behind_a_sync_that_failed_says_nothing_of_a_held_lock() {
    let mut client = Client::connected();
    let (id, czxid) = client.hold("/l", 1);
    client.cut();
    client.reattach();
    client.batch();
    client.refused(ErrorCode::ThrottledOp);
    client.listed([]);
    client.seen(czxid);
    client.expect_notices([]);
    client.advance(BEAT);
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed([]);
    client.expect_notices([lost(id, LostReason::ClaimDeleted)]);
    client.expect(["delete /l/#1:0"]);
}

#[test]
fn a_second_break_before_the_look_is_done_begins_it_anew() {
    let mut client = Client::connected();
    let (_, czxid) = client.hold("/l", 1);
    for _ in 0..3 {
        client.cut();
        client.reattach();
        client.expect(["sync /l", "list /l", "exists /l/#1:0 watch"]);
        client.synced();
    }
    client.listed(["#1:0"]);
    client.seen(czxid);
    client.expect_notices([]);
    client.expect_nothing();
}

#[test]
fn an_ambiguous_create_is_looked_for_and_adopted() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.expect(["create /l/#1", "list /l"]);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed([OTHER, "#1:4"]);
    client.expect(["exists /l/#1:4 watch", &watch_of_other()]);
    client.seen(55);
    client.watched();
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.expect_notices([client.granted(id, 55, "#1:4", "/l")]);

    client.leave(id);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([lost(id, LostReason::Released), left(id)]);
    // A create whose reply was lost is looked for once more.
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed([]);
    nothing_is_left(&mut client);
}

#[test]
fn an_adopted_claim_that_is_seen_again_is_still_the_own_one() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed(["x-0000000001", "x-0000000002", OTHER, "#1:4"]);
    client.batch();
    client.seen(101);
    client.watched();
    client.watched();
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.expect(["list /l"]);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, 101, "#1:4", "/l")]);
    client.expect_nothing();
}

#[test]
fn a_late_claim_that_may_not_be_deleted_is_asked_to_go_once_at_a_time() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([OTHER]);
    client.expect(["create /l/#2", "list /l"]);
    let czxid = client.created(5);
    let late = ["x-0000000001", OTHER, "#1:4", "#2:5"];
    client.listed(late);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth); // the delete
    client.watched();
    client.watched();
    client.event(EventType::NodeChildrenChanged, &format!("/l/{OTHER}"));
    client.advance(BEAT);
    client.expect(["delete /l/#1:4", "list /l"]);
    client.refused(ErrorCode::NoAuth);
    // Seen again, which makes it no other one.
    client.listed(late);
    client.advance(BEAT);
    client.expect(["delete /l/#1:4", &watch_of_other()]);
}

#[test]
fn an_adopted_claim_is_no_grant_before_its_zxid_and_owner_are_known() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed(["#1:4"]);
    client.expect_notices([]);
    client.expect(["exists /l/#1:4 watch"]);
    client.seen(55);
    client.expect_notices([client.granted(id, 55, "#1:4", "/l")]);
}

#[test]
fn an_ambiguous_create_that_has_not_happened_is_made_again_under_another_name() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([OTHER]);
    client.expect(["create /l/#2", "list /l"]);
    let czxid = client.created(4);
    client.listed(["#2:4"]);
    client.expect_notices([client.granted(id, czxid, "#2:4", "/l")]);
}

#[test]
fn of_several_claims_the_lowest_is_adopted_and_the_others_are_deleted() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([OTHER]);
    client.expect(["create /l/#2", "list /l"]);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l"]);
    client.synced();
    // Both are there, whatever the first listing said.
    client.listed([OTHER, "#2:5", "#1:4"]);
    client.expect(["delete /l/#2:5", "exists /l/#1:4 watch", &watch_of_other()]);
    client.deleted();
    client.seen(55);
    client.watched();
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.expect_notices([client.granted(id, 55, "#1:4", "/l")]);
}

#[test]
fn a_claim_that_shows_up_late_is_not_waited_for_by_its_own_acquisition() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([]);
    client.expect(["create /l/#2", "list /l"]);
    let czxid = client.created(5);
    client.listed(["#1:4", "#2:5"]);
    client.expect([
        "exists /l/#2:5 watch",
        "delete /l/#1:4",
        "list /l/#1:4 watch",
    ]);
    client.seen(czxid);
    client.deleted();
    client.refused(ErrorCode::NoNode);
    client.expect(["list /l"]);
    client.listed(["#2:5"]);
    client.expect_notices([client.granted(id, czxid, "#2:5", "/l")]);
}

#[test]
fn a_path_that_is_not_the_claims_is_not_believed() {
    let other_session = ClaimId {
        session_id: 0xaa,
        counter: 1,
    };
    let foreign = [
        format!("/l/{}0000000004", other_session.prefix(Dialect::default())),
        "/l/#77:4".to_owned(),
        "/m/#1:4".to_owned(),
        "/l".to_owned(),
        String::new(),
        "/l/x-0000000004".to_owned(),
    ];
    for path in foreign {
        let mut client = Client::connected();
        let id = client.acquire("/l");
        client.batch();
        client.created_at(&path);
        client.listed([OTHER, "#1:5"]);
        client.expect_notices([]);
        client.expect(["sync /l", "list /l"]);
        client.synced();
        client.listed(["#1:5"]);
        client.expect(["exists /l/#1:5 watch"]);
        client.seen(60);
        client.expect_notices([client.granted(id, 60, "#1:5", "/l")]);
    }
}

#[test]
fn requests_that_were_never_written_are_made_again() {
    let mut client = Client::connected();
    client.acquire("/l");
    // Cut before the transmission.
    client.cut();
    client.reattach();
    client.expect(["create /l/#2", "list /l"]);
}

#[test]
fn an_acquisition_without_a_connection_waits_for_one() {
    let mut client = Client::connected();
    client.cut();
    client.acquire("/l");
    client.expect_nothing();
    client.reattach();
    client.expect(["create /l/#1", "list /l"]);
}

#[test]
fn the_deadline_holds_while_a_doubtful_create_is_looked_for() {
    let mut client = Client::connected();
    let deadline = client.now + BEAT / 2;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.batch();
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l"]);
    client.advance(BEAT / 2);
    client.expect_notices([failed(id, AcquireError::TimedOut)]);
    client.synced();
    client.listed(["#1:4"]);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
    client.expect(["sync /l", "list /l"]);
    client.synced();
    client.listed([]);
    nothing_is_left(&mut client);
}

#[test]
fn a_break_ends_the_wait_before_a_retry() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    client.leave(id);
    client.batch();
    client.refused(ErrorCode::ThrottledOp);
    client.expect_nothing();
    client.cut();
    client.reattach();
    client.expect(["delete /l/#1:0"]);
}

#[test]
fn a_break_forgets_all_watches() {
    let mut client = Client::connected();
    client.wait((1, 4), [OTHER]);
    client.cut();
    let claims = format!("{:?}", client.claims());
    assert!(claims.contains("watchers: {}"), "{claims}");
    let trace = "Trace { counters: [1], watched: [] }";
    assert!(claims.contains(trace), "{claims}");
}

#[test]
fn a_late_claim_that_may_not_be_deleted_is_no_refused_release() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([]);
    client.batch();
    let czxid = client.created(3);
    client.listed(["#1:4", "#2:3"]);
    client.expect_notices([client.granted(id, czxid, "#2:3", "/l")]);
    client.expect(["exists /l/#2:3 watch", "delete /l/#1:4"]);
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth);
    client.expect_notices([]);
    client.advance(BEAT);
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([]);
}

#[test]
fn a_holder_waits_for_nobody_whatever_a_listing_shows() {
    let mut client = Client::connected();
    let (_, czxid) = client.hold("/l", 1);
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed(["x--000000001", "#1:0"]);
    client.seen(czxid);
    client.expect_nothing();
    client.expect_notices([]);
}
