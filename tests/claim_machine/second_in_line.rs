//! Knowing in time that only the predecessor is left ahead.

use zklock::proto::{ErrorCode, EventType};

use crate::support::scripted::client::Client;
use crate::support::scripted::{BEAT, T};
use crate::{FURTHER, OTHER};

const DELETED: EventType = EventType::NodeDeleted;
/// The claims ahead, the first of all first.
const FIRST: &str = "x-0000000001";

fn below(name: &str) -> String {
    format!("/l/{name}")
}

#[test]
fn behind_two_no_hand_off_takes_a_request() {
    for order in [[FURTHER, OTHER], [OTHER, FURTHER]] {
        let mut client = Client::connected();
        let (id, czxid) = client.wait((1, 4), [FURTHER, OTHER]);
        client.event(DELETED, &below(order[0]));
        client.expect_nothing();
        client.expect_notices([]);
        client.event(DELETED, &below(order[1]));
        client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
        client.expect_nothing();
    }
}

#[test]
fn behind_more_the_end_of_the_second_is_the_time_to_look_and_the_hand_off_takes_no_request() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [FIRST, FURTHER, OTHER]);
    // The first goes, which this one does not hear of, and then the second.
    client.event(DELETED, &below(FURTHER));
    client.expect(["list /l"]);
    client.listed([OTHER, "#1:4"]);
    // The predecessor's watch is as good as ever.
    client.expect_nothing();
    client.event(DELETED, &below(OTHER));
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
    client.expect_nothing();
}

#[test]
fn a_predecessor_that_leaves_before_its_turn_has_the_queue_listed_again() {
    let mut client = Client::connected();
    client.wait((1, 4), [FIRST, FURTHER, OTHER]);
    client.event(DELETED, &below(OTHER));
    client.expect(["list /l"]);
    client.listed([FIRST, FURTHER, "#1:4"]);
    client.expect([&*format!("list {} watch", below(FIRST))]);
    client.expect_notices([]);
}

#[test]
fn an_end_that_crosses_a_listing_is_found_out_by_its_watch() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [FIRST, FURTHER, OTHER]);
    client.event(DELETED, &below(FURTHER));
    client.expect(["list /l"]);
    client.event(DELETED, &below(OTHER));
    // An answer from before that.
    client.listed([OTHER, "#1:4"]);
    client.expect_notices([]);
    client.expect([&*format!("list {} watch", below(OTHER))]);
    client.refused(ErrorCode::NoNode);
    client.expect(["list /l"]);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn two_ends_without_the_own_watch_are_not_the_last_word() {
    let mut client = Client::connected();
    let (id, czxid) = client.wait((1, 4), [FURTHER, OTHER]);
    let own = client.path("/l", "#1:4");
    client.event(EventType::NodeDataChanged, &own);
    client.expect(["exists /l/#1:4 watch"]);
    client.event(DELETED, &below(FURTHER));
    client.event(DELETED, &below(OTHER));
    client.expect_notices([]);
    client.expect(["list /l"]);
    client.seen(czxid);
    client.listed(["#1:4"]);
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn a_second_that_may_not_be_watched_is_done_without() {
    for code in [ErrorCode::NoAuth, ErrorCode::from_i32(-1234)] {
        let mut client = Client::connected();
        client.acquire("/l");
        client.batch();
        let czxid = client.created(4);
        client.listed([FURTHER, OTHER, "#1:4"]);
        client.batch();
        client.seen(czxid);
        client.watched();
        client.refused(code);
        client.expect_nothing();
        client.event(DELETED, &below(OTHER));
        client.expect(["list /l"]);
    }
}

#[test]
fn a_second_that_is_refused_for_now_is_asked_for_at_the_heartbeats_pace() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([FURTHER, OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.watched();
    client.refused(ErrorCode::ThrottledOp);
    client.expect_nothing();
    client.advance(BEAT);
    client.expect([&*format!("list {} watch", below(FURTHER))]);
}

#[test]
fn the_watch_that_is_left_is_set_anew_from_time_to_time() {
    // Both ahead are known to be all, or a look has just said that one is left.
    for ahead in [&[FURTHER, OTHER][..], &[FIRST, FURTHER, OTHER]] {
        let mut client = Client::connected();
        client.acquire("/l");
        client.batch();
        let czxid = client.created(4);
        let own = client.expand("#1:4");
        let listed: Vec<_> = ahead
            .iter()
            .chain([&&*own])
            .map(|name| name.as_bytes())
            .collect();
        client.listed_bytes(&listed);
        client.batch();
        client.seen(czxid);
        client.watched();
        client.watched();
        client.advance(BEAT * 5);
        client.event(DELETED, &below(FURTHER));
        if ahead.len() > 2 {
            client.batch();
            client.listed([OTHER, "#1:4"]);
        }
        client.advance(T);
        client.head_without_a_ttl(OTHER);
        client.advance(BEAT * 10 - T);
        client.expect([&*format!("list {} watch", below(OTHER))]);
    }
}

#[test]
fn a_second_that_becomes_the_predecessor_is_asked_after_from_time_to_time() {
    let mut client = Client::connected();
    client.wait((1, 4), [FURTHER, OTHER]);
    client.advance(BEAT * 5);
    client.event(DELETED, &below(OTHER));
    client.advance(BEAT);
    client.head_without_a_ttl(FURTHER);
    client.advance(BEAT * 9);
    client.expect([&*format!("list {} watch", below(FURTHER))]);
}

#[test]
fn a_second_that_went_before_its_watch_was_set_means_looking_again() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([FURTHER, OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.watched();
    client.refused(ErrorCode::NoNode);
    client.expect(["list /l"]);
    client.listed([OTHER, "#1:4"]);
    client.expect_nothing();
}

#[test]
fn behind_a_number_that_may_come_back_every_end_means_looking_again() {
    let marked = "_c_x__WRIT__0000000002";
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    client.created(4);
    client.listed([marked, OTHER, "#1:4"]);
    client.expect([
        "exists /l/#1:4 watch",
        &format!("list {} watch", below(OTHER)),
    ]);
    client.event(DELETED, &below(OTHER));
    client.expect(["list /l"]);
}

#[test]
fn of_many_on_one_session_each_event_serves_all_and_moves_one() {
    let mut client = Client::connected();
    let (holder, _) = client.hold("/l", 1);
    let names = ["#1:0", "#2:1", "#3:2", "#4:3"];
    let mut waiters = Vec::new();
    for waiting in 1..4_usize {
        let id = client.acquire("/l");
        client.batch();
        let czxid = client.created(waiting as i32);
        let (xid, _) = client.in_flight[0].clone();
        let children = names[..=waiting]
            .iter()
            .map(|name| client.expand(name))
            .collect();
        client.reply(xid, &zklock::proto::Reply::GetChildren { children });
        client.batch();
        client.seen(czxid);
        for _ in 0..waiting.min(2) {
            client.watched();
        }
        waiters.push((id, czxid));
    }
    client.leave(holder);
    client.expect(["delete /l/#1:0"]);
    let [held, second, ..] = names.map(|name| client.path("/l", name));
    client.event(DELETED, &held);
    client.deleted();
    let (id, czxid) = waiters[0];
    let granted = client.granted(id, czxid, "#2:1", "/l");
    assert!(client.notices().contains(&granted));
    // Neither those two have anything to ask; the fourth did not watch it.
    client.expect_nothing();
    client.leave(id);
    client.expect(["delete /l/#2:1"]);
    client.event(DELETED, &second);
    client.deleted();
    let (id, czxid) = waiters[1];
    let granted = client.granted(id, czxid, "#3:2", "/l");
    assert!(client.notices().contains(&granted));
    client.expect(["list /l"]);
}

#[test]
fn a_second_that_is_refused_for_now_delays_no_hand_off() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(4);
    client.listed([FURTHER, OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.watched();
    client.refused(ErrorCode::ThrottledOp);
    client.event(DELETED, &below(FURTHER));
    client.event(DELETED, &below(OTHER));
    client.expect_notices([client.granted(id, czxid, "#1:4", "/l")]);
}

#[test]
fn seconds_that_may_not_be_watched_leave_nothing_in_memory() {
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(400);
    let own = client.expand("#1:400");
    let names: Vec<String> = (0..300).map(|n| format!("x-{n:010}")).collect();
    let mut sizes = Vec::new();
    let mut first = true;
    // Those in the middle leave, the predecessor stays.
    for last in (1..299).rev() {
        let listed: Vec<&[u8]> = names[..=last]
            .iter()
            .map(|name| name.as_bytes())
            .chain([names[299].as_bytes(), own.as_bytes()])
            .collect();
        client.listed_bytes(&listed);
        client.batch();
        if first {
            client.seen(czxid);
            first = false;
        }
        client.watched();
        client.refused(ErrorCode::NoAuth);
        sizes.push(format!("{:?}", client.claims()).len());
        client.event(EventType::NodeChildrenChanged, &below(&names[299]));
        client.expect(["list /l"]);
    }
    assert!(sizes[sizes.len() - 1] < sizes[0] * 2, "{sizes:?}");
}
