//! Ends that cross: of the own claim, of the one ahead, of the session and of
//! the wish for the lock.

use zklock::lock::{AcquireError, LostReason};
use zklock::proto::{ErrorCode, EventType};

use crate::support::scripted::client::{Client, claim_of, failed, left, lost, place_lost};
use crate::support::scripted::{BEAT, SESSION_ID};
use crate::{OTHER, nothing_is_left};

const DELETED: EventType = EventType::NodeDeleted;

fn other() -> String {
    format!("/l/{OTHER}")
}

/// The second claim is made, and has nothing ahead.
#[track_caller]
fn second_claim(client: &mut Client, number: i32) -> (i64, String) {
    let czxid = client.created(number);
    let own = format!("#2:{number}");
    client.listed([&own]);
    (czxid, own)
}

#[test]
fn a_write_to_the_own_claim_its_end_and_the_predecessors_in_one_go_are_no_grant() {
    let mut client = Client::connected();
    let (id, _) = client.wait((1, 4), [OTHER]);
    let own = client.path("/l", "#1:4");
    // Written to and deleted before the watch can be set again: there is no
    // event of its end.
    client.event(EventType::NodeDataChanged, &own);
    client.event(DELETED, &other());
    client.expect_notices([]);
    client.expect(["exists /l/#1:4 watch", "list /l"]);
    client.refused(ErrorCode::NoNode);
    client.expect_notices([place_lost(id)]);
    client.listed([]);
    client.expect_notices([]);
    client.expect(["create /l/#2", "list /l"]);
    let (czxid, claim) = second_claim(&mut client, 5);
    client.expect_notices([client.granted(id, czxid, &claim, "/l")]);
}

#[test]
fn a_write_to_the_own_claim_its_end_and_the_predecessors_one_by_one_are_no_grant() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [OTHER]);
    let own = client.path("/l", "#1:4");
    client.event(EventType::NodeDataChanged, &own);
    client.expect(["exists /l/#1:4 watch"]);
    client.seen(czxid);
    client.event(DELETED, &own);
    client.event(DELETED, &other());
    client.expect_notices([place_lost(id)]);
    client.expect(["create /l/#2", "list /l"]);
    let (czxid, claim) = second_claim(&mut client, 5);
    client.expect_notices([client.granted(id, czxid, &claim, "/l")]);
}

#[test]
fn the_predecessors_end_after_the_own_sessions_is_no_grant() {
    let mut client = Client::connected();
    let (id, _) = client.wait((1, 4), [OTHER]);
    client.cut();
    client.replace_session();
    client.event(DELETED, &other());
    client.expect_notices([place_lost(id)]);
    client.expect(["create /l/#2", "list /l"]);
    client.event(DELETED, &other());
    client.expect_notices([]);
    // The old claim is still listed, and is nobody's now.
    let czxid = client.created(5);
    let old = claim_of(SESSION_ID, "1:4");
    client.listed([&old, "#2:5"]);
    client.batch();
    client.seen(czxid);
    client.watched();
    client.event(DELETED, &other());
    client.expect_notices([]);
    client.event(DELETED, &format!("/l/{old}"));
    client.expect_notices([client.granted(id, czxid, "#2:5", "/l")]);
}

#[test]
fn two_of_one_session_behind_the_same_claim_are_both_woken_by_its_end() {
    let mut client = Client::connected();
    let (first, first_czxid) = client.wait((1, 4), [OTHER]);
    let (second, czxid) = client.wait((2, 5), [OTHER, "#1:4"]);
    // The connection gets one event, whoever set a watch.
    client.event(DELETED, &other());
    client.expect_notices([client.granted(first, first_czxid, "#1:4", "/l")]);
    client.expect_nothing();
    let released = client.path("/l", "#1:4");
    client.leave(first);
    client.expect(["delete /l/#1:4"]);
    client.event(DELETED, &released);
    client.deleted();
    client.expect_notices([
        lost(first, LostReason::Released),
        client.granted(second, czxid, "#2:5", "/l"),
        left(first),
    ]);
    client.expect_nothing();
}

#[test]
fn two_of_one_session_behind_the_same_claim_are_both_woken_though_the_first_has_left() {
    let mut client = Client::connected();
    let (first, _) = client.wait((1, 4), [OTHER]);
    let (second, second_czxid) = client.wait((2, 5), [OTHER, "#1:4"]);
    client.leave(first);
    client.expect(["delete /l/#1:4"]);
    let gone = client.path("/l", "#1:4");
    client.event(DELETED, &gone);
    client.deleted();
    client.expect_notices([left(first)]);
    // OTHER is the only one ahead of the second, and the next but one of this.
    let (third, czxid) = client.wait((3, 6), [OTHER, "#2:5"]);
    client.event(DELETED, &other());
    client.expect_notices([client.granted(second, second_czxid, "#2:5", "/l")]);
    client.leave(second);
    client.expect(["delete /l/#2:5"]);
    let released = client.path("/l", "#2:5");
    client.event(DELETED, &released);
    client.expect_notices([
        lost(second, LostReason::Released),
        client.granted(third, czxid, "#3:6", "/l"),
    ]);
    client.expect_nothing();
}

#[test]
fn a_late_release_deletes_its_own_claim_and_no_newer_one_of_the_same_session() {
    let mut client = Client::connected();
    let (old, _) = client.hold("/l", 1);
    let own = client.path("/l", "#1:0");
    client.event(DELETED, &own);
    client.expect_notices([lost(old, LostReason::ClaimDeleted), left(old)]);
    let (new, _) = client.hold("/l", 2);
    client.leave(old);
    client.expect_nothing();

    // As late, but this one's answer is lost.
    client.leave(new);
    client.expect(["delete /l/#2:0"]);
    client.cut();
    client.notices();
    client.reattach();
    client.expect(["delete /l/#2:0"]);
    let newest = client.acquire("/l");
    client.expect(["create /l/#3", "list /l"]);
    client.refused(ErrorCode::NoNode);
    let czxid = client.created(2);
    client.listed(["#3:2"]);
    let granted = client.granted(newest, czxid, "#3:2", "/l");
    client.expect_notices([left(new), granted]);
    client.expect(["exists /l/#3:2 watch"]);
    client.seen(czxid);
    client.advance(BEAT * 10);
    client.expect_nothing();
}

#[test]
fn a_try_that_the_connection_fails_is_cleaned_up_after_it() {
    for listed in [false, true] {
        let mut client = Client::connected();
        let deadline = client.now + BEAT;
        let id = client.acquire_with("/l", |request| {
            request.waits = false;
            request.deadline = deadline;
        });
        client.batch();
        if listed {
            client.created(4);
            client.listed([OTHER, "#1:4"]);
            client.expect_notices([failed(id, AcquireError::WouldBlock)]);
            client.batch();
        }
        client.cut();
        client.advance_in_silence(BEAT);
        let told = client.notices();
        client.reattach();
        if listed {
            assert_eq!(told, []);
        } else {
            assert_eq!(told, [failed(id, AcquireError::TimedOut)]);
            client.expect(["sync /l", "list /l"]);
            client.synced();
            client.listed([OTHER, "#1:4"]);
        }
        client.expect(["delete /l/#1:4"]);
        client.deleted();
        client.expect_notices([left(id)]);
        if !listed {
            client.expect(["sync /l", "list /l"]);
            client.synced();
            client.listed([OTHER]);
        }
        nothing_is_left(&mut client);
    }
}

#[test]
fn the_deadline_stays_where_it_is_however_often_the_wait_is_woken() {
    let mut client = Client::connected();
    let deadline = client.now + BEAT * 5;
    let id = client.acquire_with("/l", |request| request.deadline = deadline);
    client.queue((1, 4), [OTHER]);
    while client.now < deadline {
        client.expect_notices([]);
        client.event(EventType::NodeChildrenChanged, &other());
        client.expect(["list /l"]);
        client.listed([OTHER, "#1:4"]);
        client.batch();
        client.watched();
        client.advance(BEAT / 2);
    }
    client.expect_notices([failed(id, AcquireError::TimedOut)]);
}
