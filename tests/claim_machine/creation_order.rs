//! Where the numbers do not tell who is first: the order of creation.

use zklock::lock::{AcquireError, AcquisitionId};
use zklock::proto::{ErrorCode, EventType, ZnodePath};

use crate::support::scripted::BEAT;
use crate::support::scripted::client::{Client, failed, place_lost};

const STUCK: i32 = i32::MAX;
const OLDER: &str = "_c_00000000000000aa0000000000000001-lock-2147483647";
const NEWER: &str = "_c_00000000000000bb0000000000000001-lock--2147483648";

/// Asks for the lock, with the claim `#1` of this number listed among `names`.
fn queue_among(client: &mut Client, number: i32, names: &[&str]) -> i64 {
    client.acquire("/l");
    client.batch();
    let czxid = client.created(number);
    list(client, number, names);
    czxid
}

fn list(client: &mut Client, number: i32, names: &[&str]) {
    let own = client.expand(&format!("#1:{number}"));
    let names: Vec<_> = names
        .iter()
        .chain([&&*own])
        .map(|name| name.as_bytes())
        .collect();
    client.listed_bytes(&names);
}

#[test]
fn every_contender_is_asked_and_the_newest_of_the_older_ones_watched() {
    let mut client = Client::connected();
    let czxid = queue_among(&mut client, STUCK, &[NEWER, "junk", OLDER, "x-0000000005"]);
    client.expect([
        "exists /l/#1:2147483647 watch",
        &format!("exists /l/{NEWER}"),
        &format!("exists /l/{OLDER}"),
        "exists /l/x-0000000005",
        "exists /l/#1:2147483647",
    ]);
    client.seen(czxid);
    client.seen_of(czxid + 1, 7);
    client.seen_of(czxid - 1, 7);
    client.seen_of(czxid - 2, 7);
    client.expect_nothing();
    client.expect_notices([]);
    client.seen(czxid);
    client.expect([&*format!("list /l/{OLDER} watch")]);
    client.watched();
    // Its end is not the last word.
    client.event(EventType::NodeDeleted, &format!("/l/{OLDER}"));
    client.expect_notices([]);
    client.expect(["list /l"]);
}

#[test]
fn whoever_has_the_oldest_claim_holds_the_lock() {
    for (number, other) in [
        (STUCK, OLDER),
        (i32::MIN, NEWER),
        (7, OLDER),
        (STUCK, "x-0000000005"),
    ] {
        let mut client = Client::connected();
        let czxid = queue_among(&mut client, number, &[other]);
        client.batch();
        client.seen(czxid);
        client.seen_of(czxid + 1, 7);
        client.expect_notices([]);
        client.seen(czxid);
        let own = format!("#1:{number}");
        let id = AcquisitionId(1);
        client.expect_notices([client.granted(id, czxid, &own, "/l")]);
        client.expect_nothing();
    }
}

#[test]
fn what_goes_while_it_is_asked_is_not_ahead() {
    let mut client = Client::connected();
    let czxid = queue_among(&mut client, STUCK, &[OLDER]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoNode);
    client.seen(czxid);
    assert_eq!(client.notices().len(), 1);
}

#[test]
fn an_own_claim_that_goes_while_it_is_asked_means_a_new_one() {
    let mut client = Client::connected();
    let czxid = queue_among(&mut client, STUCK, &[OLDER]);
    client.batch();
    client.seen(czxid);
    client.seen_of(czxid - 1, 7);
    client.refused(ErrorCode::NoNode);
    client.expect_notices([place_lost(AcquisitionId(1))]);
    client.expect(["delete /l/#1:2147483647", "create /l/#2", "list /l"]);
}

#[test]
fn the_own_claim_is_asked_last_so_that_it_is_there_when_the_others_are_known() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    client.created(STUCK);
    let own = client.expand("#1:2147483647");
    client.listed_bytes(&[own.as_bytes(), OLDER.as_bytes()]);
    client.expect([
        "exists /l/#1:2147483647 watch",
        &format!("exists /l/{OLDER}"),
        "exists /l/#1:2147483647",
    ]);
}

#[test]
fn a_tie_alone_asks_those_who_are_tied() {
    let mut client = Client::connected();
    let czxid = queue_among(&mut client, 5, &["a-0000000005", "x-0000000003"]);
    client.expect([
        "exists /l/#1:5 watch",
        "exists /l/a-0000000005",
        "exists /l/#1:5",
    ]);
    client.seen(czxid);
    client.seen_of(czxid + 1, 0);
    client.seen(czxid);
    client.expect(["list /l/x-0000000003 watch"]);
}

#[test]
fn a_contender_that_may_not_be_asked_is_an_error() {
    let mut client = Client::connected();
    let czxid = queue_among(&mut client, STUCK, &[OLDER]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth);
    let error = AcquireError::Refused {
        operation: "read a claim",
        path: ZnodePath::new("/l").unwrap(),
        code: ErrorCode::NoAuth,
    };
    client.expect_notices([failed(AcquisitionId(1), error)]);
    client.expect(["delete /l/#1:2147483647"]);
}

#[test]
fn a_contender_that_cannot_be_asked_for_now_is_asked_again() {
    let mut client = Client::connected();
    let czxid = queue_among(&mut client, STUCK, &[OLDER]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::ThrottledOp);
    client.seen(czxid); // comes to nothing
    client.expect_nothing();
    client.advance(BEAT);
    client.expect(["list /l"]);
    list(&mut client, STUCK, &[OLDER]);
    client.expect([&*format!("exists /l/{OLDER}"), "exists /l/#1:2147483647"]);
    client.seen_of(czxid + 1, 7);
    client.seen(czxid);
    assert_eq!(client.notices().len(), 1);
}

#[test]
fn a_contender_whose_name_is_no_text_counts_as_older() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(STUCK);
    let own = client.expand("#1:2147483647");
    client.listed_bytes(&[b"\xff-2147483647", own.as_bytes()]);
    client.expect(["exists /l/#1:2147483647 watch", "exists /l/#1:2147483647"]);
    client.seen(czxid);
    client.seen(czxid);
    client.expect_notices([]);
    client.expect(["list /l watch"]);
}

#[test]
fn a_connection_lost_while_they_are_asked_means_starting_over() {
    let mut client = Client::connected();
    let czxid = queue_among(&mut client, STUCK, &[OLDER]);
    client.batch();
    client.seen(czxid);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l", "exists /l/#1:2147483647 watch"]);
    client.synced();
    list(&mut client, STUCK, &[OLDER]);
    client.seen(czxid);
    client.expect([&*format!("exists /l/{OLDER}"), "exists /l/#1:2147483647"]);
    client.seen_of(czxid - 1, 7);
    client.seen(czxid);
    client.expect([&*format!("list /l/{OLDER} watch")]);
}

#[test]
fn a_holder_on_a_new_connection_only_has_to_be_there() {
    let mut client = Client::connected();
    let czxid = queue_among(&mut client, STUCK, &[NEWER]);
    client.batch();
    client.seen(czxid);
    client.seen_of(czxid + 1, 7);
    client.seen(czxid);
    assert_eq!(client.notices().len(), 1);
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    list(&mut client, STUCK, &[NEWER, OLDER]);
    client.seen(czxid);
    client.expect_nothing();
    client.expect_notices([]);
}
