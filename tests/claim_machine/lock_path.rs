//! Waiting by a watch on the lock path, where the claim ahead cannot be watched.

use zklock::proto::{ErrorCode, EventType};

use crate::support::scripted::client::Client;
use crate::support::scripted::{BEAT, T};
use crate::{FURTHER, OTHER};

#[test]
fn where_the_predecessor_may_not_be_read_the_lock_path_is_watched() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth);
    for _ in 0..3 {
        client.expect(["list /l watch"]);
        client.listed([OTHER, "#1:4", "z-0000000009"]);
        client.expect_nothing();
        client.event(EventType::NodeChildrenChanged, "/l");
    }
    client.expect(["list /l watch"]);
    client.listed(["#1:4", "z-0000000009"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn a_predecessor_that_no_request_can_name_is_waited_for_by_the_lock_path() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    let own = client.expand("#1:4");
    client.listed_bytes(&[b"\xff\xfe0000000003", own.as_bytes()]);
    client.expect(["exists /l/#1:4 watch", "list /l watch"]);
    client.seen(czxid);
    client.listed_bytes(&[b"\xff\xfe0000000003", own.as_bytes()]);
    client.expect_nothing();
    client.expect_notices([]);
    client.event(EventType::NodeChildrenChanged, "/l");
    client.expect(["list /l watch"]);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn a_second_that_no_request_can_name_is_waited_for_too() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    let own = client.expand("#1:4");
    let names: [&[u8]; 3] = [b"\xff\xfe0000000002", OTHER.as_bytes(), own.as_bytes()];
    client.listed_bytes(&names);
    client.expect(["exists /l/#1:4 watch", &format!("list /l/{OTHER} watch")]);
    client.seen(czxid);
    client.watched();
    client.event(EventType::NodeDeleted, &format!("/l/{OTHER}"));
    client.expect_notices([]);
    client.expect(["list /l"]);
}

#[test]
fn a_listing_from_before_the_lock_path_was_watched_is_no_answer() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed(["x-0000000001", FURTHER, OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.event(EventType::NodeDeleted, &format!("/l/{FURTHER}"));
    client.expect(["list /l"]);
    client.refused(ErrorCode::NoAuth);
    client.expect(["list /l watch"]);
    client.refused(ErrorCode::NoNode); // the second's watch
    client.listed(["x-0000000001", OTHER, "#1:4"]);
    // All have gone between the two.
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn on_a_new_connection_the_predecessor_is_asked_first() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth);
    client.expect(["list /l watch"]);
    client.cut();
    client.reattach();
    client.expect(["sync /l", "list /l", "exists /l/#1:4 watch"]);
    client.synced();
    client.listed([OTHER, "#1:4"]);
    client.expect([&*format!("list /l/{OTHER} watch")]);
}

#[test]
fn the_lock_path_that_is_watched_is_listed_from_time_to_time() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth);
    for round in 0..3 {
        client.expect(["list /l watch"]);
        client.listed([OTHER, "#1:4"]);
        if round == 0 {
            client.advance(T);
            client.head_without_a_ttl(OTHER);
            client.advance(BEAT * 10 - T);
        } else {
            client.advance(BEAT * 10);
        }
    }
    client.expect(["list /l watch"]);
}

#[test]
fn two_who_watch_the_lock_path_are_both_woken_however_their_listings_cross() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.acquire("/l");
    client.batch();
    for (number, names) in [(4, [OTHER, "#1:4"]), (5, [OTHER, "#1:4"])] {
        client.created(number);
        if number == 4 {
            client.listed(names);
        } else {
            client.listed([OTHER, "#1:4", "#2:5"]);
        }
    }
    // The first watches OTHER, the second the first's claim: both are refused.
    client.batch();
    client.refuse_all(ErrorCode::NoAuth);
    // Both list with a watch. The event of the one's crosses the other's.
    client.expect(["list /l watch", "list /l watch"]);
    client.listed([OTHER, "#1:4", "#2:5"]);
    client.event(EventType::NodeChildrenChanged, "/l");
    client.listed([OTHER, "#1:4", "#2:5"]);
    client.expect(["list /l watch"]);
    client.listed([OTHER, "#1:4", "#2:5"]);
    // Whichever of the watches this is, both must hear of it.
    client.event(EventType::NodeChildrenChanged, "/l");
    client.expect(["list /l watch", "list /l watch"]);
}

#[test]
fn a_refusal_that_crosses_a_listing_has_it_made_again_with_a_watch() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed(["x-0000000001", FURTHER, OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    // The second in line goes: a look that has no watch is under way.
    client.event(EventType::NodeDeleted, &format!("/l/{FURTHER}"));
    client.expect(["list /l"]);
    client.refused(ErrorCode::NoAuth);
    client.expect(["list /l watch"]);
    client.refused(ErrorCode::NoNode); // the second's watch
    client.listed(["x-0000000001", OTHER, "#1:4"]);
    client.listed(["x-0000000001", OTHER, "#1:4"]);
    client.expect_nothing();
    client.event(EventType::NodeChildrenChanged, "/l");
    client.expect(["list /l watch"]);
}

/// Granted behind a predecessor that may not be watched.
fn hold_by_the_lock_path() -> Client {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth);
    client.batch();
    client.listed([OTHER, "#1:4"]);
    client.event(EventType::NodeChildrenChanged, "/l");
    client.batch();
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
    client
}

#[test]
fn a_holder_that_waited_by_the_lock_path_does_not_list_it_at_each_change() {
    let mut client = hold_by_the_lock_path();
    client.event(EventType::NodeChildrenChanged, "/l");
    client.expect_nothing();
}

#[test]
fn a_change_of_the_lock_path_while_claims_are_ranked_means_looking_again() {
    let stuck = "x-2147483647";
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([stuck, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.seen_of(czxid - 1, 7);
    client.seen(czxid);
    client.expect([&*format!("list /l/{stuck} watch")]);
    client.refused(ErrorCode::NoAuth);
    client.expect(["list /l watch"]);
    client.listed([stuck, "#1:4"]);
    client.expect([&*format!("exists /l/{stuck}"), "exists /l/#1:4"]);
    client.seen_of(czxid - 1, 7);
    // It goes, after it was asked.
    client.event(EventType::NodeChildrenChanged, "/l");
    client.seen(czxid);
    client.expect(["list /l watch"]);
}
