//! Waiting by a watch on the lock path, where the claim ahead cannot be watched.

use zklock::proto::{ErrorCode, EventType};

use crate::OTHER;
use crate::support::scripted::BEAT;
use crate::support::scripted::client::Client;

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
    client.event(EventType::NodeChildrenChanged, "/l");
    client.expect(["list /l watch"]);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
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
    for _ in 0..3 {
        client.expect(["list /l watch"]);
        client.listed([OTHER, "#1:4"]);
        client.advance(BEAT * 10);
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
    let (_, held_czxid) = client.hold("/l", 1);
    client.acquire("/l");
    client.batch();
    let czxid = client.created(1);
    client.listed(["#1:0", "#2:1"]);
    client.expect(["exists /l/#2:1 watch", "list /l/#1:0 watch"]);
    client.seen(czxid);
    // The holder's own watch fires: a look that has no watch is under way.
    let held = client.path("/l", "#1:0");
    client.event(EventType::NodeDataChanged, &held);
    client.expect(["exists /l/#1:0 watch", "list /l"]);
    client.refused(ErrorCode::NoAuth);
    client.expect(["list /l watch"]);
    client.seen(held_czxid);
    client.listed(["#1:0", "#2:1"]);
    client.listed(["#1:0", "#2:1"]);
    client.expect_nothing();
    client.event(EventType::NodeChildrenChanged, "/l");
    client.expect(["list /l watch"]);
}
