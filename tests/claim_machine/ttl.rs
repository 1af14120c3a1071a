//! Locks that are held for a limited time.

use std::time::Duration;

use zklock::lock::{LostReason, Notice};
use zklock::proto::{ErrorCode, EventType, Request};
use zklock::session::Timestamp;

use crate::support::scripted::client::{Client, left, lost, place_lost};
use crate::support::scripted::{BEAT, T};
use crate::{FURTHER, OTHER, nothing_is_left};

/// In front of `FURTHER`.
const FIRST: &str = "x-0000000001";
const TTL: Duration = Duration::from_secs(20);
const MOMENT: Duration = Duration::from_millis(1);
/// So long after it was seen at the head: a thousandth is for the clocks.
const REMOVED_AFTER: Duration = Duration::from_millis(20_000 + 20 + 4_000);
/// A holder that has a TTL of 20 s, in a session with a timeout of 4 s.
const LIMITED: &str = r#"{"ttl_ms":20000,"session_timeout_ms":4000}"#;

fn other() -> String {
    format!("/l/{OTHER}")
}

fn delete_other() -> String {
    format!("delete /l/{OTHER}")
}

/// Waits behind `OTHER`, for T, and has just asked for its data.
fn waiting() -> Client {
    let mut client = Client::connected();
    client.wait((1, 4), [OTHER]);
    client.advance(T);
    client.expect([&*format!("getData {}", other())]);
    client
}

/// As `waiting`, and the data say this.
fn wait_behind(data: &str) -> Client {
    let mut client = waiting();
    client.head_says(data);
    client
}

#[track_caller]
fn is_granted_until(client: &mut Client, until: Timestamp) {
    let granted = client.notices();
    assert!(
        matches!(granted[..], [Notice::Granted { until: Some(at), .. }] if at == until),
        "{granted:?} is not until {until:?}"
    );
}

/// From when the data were read, T after the head was seen, to its removal.
fn removal_is_due(client: &mut Client) {
    pass(client, REMOVED_AFTER - T - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
}

/// Lets time pass in which nothing but watches on the predecessor is asked for.
fn pass(client: &mut Client, time: Duration) {
    let end = client.now + time;
    while client.now < end {
        client.advance(BEAT.min(end - client.now));
        match &client.batch()[..] {
            [] => {}
            [(_, Request::GetChildren { watch: true, .. })] => client.watched(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_holder_stops_at_the_end_of_its_ttl_and_leaves() {
    let mut client = Client::connected();
    let id = client.acquire_with("/l", |request| request.metadata.ttl = Some(TTL));
    let batch = client.batch();
    let Request::Create {
        data: Some(data), ..
    } = &batch[0].1
    else {
        panic!("{batch:?}");
    };
    let data: serde_json::Value = serde_json::from_slice(data).unwrap();
    assert_eq!(
        (&data["ttl_ms"], &data["session_timeout_ms"]),
        (&20_000.into(), &6_000.into())
    );
    let czxid = client.created(0);
    client.listed(["#1:0"]);
    let until = Some(client.now + TTL);
    let granted = client.notices();
    assert!(matches!(&granted[..], [Notice::Granted { until: at, .. }] if *at == until));
    client.batch();
    client.seen(czxid);
    client.advance(TTL - MOMENT);
    client.expect_notices([]);
    client.advance(MOMENT);
    client.expect_notices([lost(id, LostReason::TtlExpired)]);
    client.expect(["delete /l/#1:0"]);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn time_in_the_queue_is_no_part_of_the_ttl() {
    let mut client = Client::connected();
    let id = client.acquire_with("/l", |request| request.metadata.ttl = Some(TTL));
    client.queue((1, 4), [OTHER]);
    client.advance(T);
    client.head_without_a_ttl(OTHER);
    pass(&mut client, TTL);
    client.expect_notices([]);
    client.event(EventType::NodeDeleted, &other());
    assert_eq!(client.notices().len(), 1);
    client.advance(TTL - MOMENT);
    client.expect_notices([]);
    client.advance(MOMENT);
    client.expect_notices([lost(id, LostReason::TtlExpired)]);
}

#[test]
fn a_holder_past_its_ttl_is_removed_that_and_its_timeout_after_it_was_seen() {
    let mut client = wait_behind(LIMITED);
    removal_is_due(&mut client);
    client.expect([&*delete_other()]);
    client.event(EventType::NodeDeleted, &other());
    client.deleted();
    assert_eq!(client.notices().len(), 1, "the grant");
    client.expect_nothing();
}

#[test]
fn a_ttl_that_is_over_when_it_is_read_is_over_then() {
    let mut client = wait_behind(r#"{"ttl_ms":1,"session_timeout_ms":4000}"#);
    client.expect([&*delete_other()]);
}

#[test]
fn a_holder_without_a_ttl_or_without_sense_is_left_alone() {
    for data in [
        "",
        "127.0.0.1",
        r#"{"ttl_ms":1}"#,
        r#"{"ttl_ms":0,"session_timeout_ms":4000}"#,
        r#"{"ttl_ms":-5,"session_timeout_ms":4000}"#,
        r#"{"ttl_ms":"1","session_timeout_ms":4000}"#,
        r#"{"timestamp":"2021-12-08T10:46:31Z","ttl_deadline":"2021-12-08T10:46:31Z","owner_id":"x"}"#,
    ] {
        let mut client = wait_behind(data);
        pass(&mut client, REMOVED_AFTER * 10);
        client.expect_nothing();
    }
}

#[test]
fn a_holder_whose_data_may_not_be_read_is_left_alone() {
    let mut client = waiting();
    client.refused(ErrorCode::NoAuth);
    pass(&mut client, REMOVED_AFTER * 10);
    client.expect_nothing();
}

#[test]
fn a_holder_that_may_not_be_removed_is_asked_to_go_once() {
    let mut client = wait_behind(LIMITED);
    removal_is_due(&mut client);
    client.expect([&*delete_other()]);
    client.refused(ErrorCode::NoAuth);
    pass(&mut client, REMOVED_AFTER * 10);
    client.expect_nothing();
}

#[test]
fn data_written_meanwhile_are_read_before_anything_is_removed() {
    let mut client = wait_behind(LIMITED);
    removal_is_due(&mut client);
    let batch = client.batch();
    assert!(matches!(
        batch[..],
        [(_, Request::Delete { version: 0, .. })]
    ));
    client.refused(ErrorCode::BadVersion);
    client.expect_nothing();
    client.advance(BEAT);
    client.expect([&*format!("getData {}", other())]);
    client.head_says(r#"{"ttl_ms":40000,"session_timeout_ms":4000}"#);
    pass(&mut client, (TTL + TTL / 1000) - BEAT - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect([&*delete_other()]);
}

#[test]
fn a_waiter_is_never_removed_and_its_time_counts_from_when_it_came_to_the_head() {
    let mut client = Client::connected();
    client.wait((1, 4), [FURTHER, OTHER]);
    client.advance(T);
    client.head_without_a_ttl(FURTHER);
    pass(&mut client, T);
    // OTHER has waited as long as this one.
    client.event(EventType::NodeDeleted, &format!("/l/{FURTHER}"));
    client.advance(T - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect([&*format!("getData {}", other())]);
    client.head_says(LIMITED);
    removal_is_due(&mut client);
    client.expect([&*delete_other()]);
}

#[test]
fn the_first_of_many_is_watched_over_from_the_back_of_the_queue() {
    let mut client = Client::connected();
    client.wait((1, 4), [FIRST, FURTHER, OTHER]);
    client.advance(T);
    client.expect([&*format!("getData /l/{FIRST}")]);
    client.head_says(LIMITED);
    // It may go unheard: look again in a while.
    pass(&mut client, BEAT * 10 - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect(["list /l"]);
    client.listed([FIRST, FURTHER, OTHER, "#1:4"]);
    pass(&mut client, REMOVED_AFTER - T - BEAT * 10 - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect([&*format!("delete /l/{FIRST}")]);
    client.deleted();
    // Nothing else would tell who is first now.
    client.expect(["list /l"]);
    client.listed([FURTHER, OTHER, "#1:4"]);
    client.advance(T);
    client.expect([&*format!("getData /l/{FURTHER}")]);
}

#[test]
fn a_head_that_goes_unheard_is_found_out_in_time() {
    let mut client = Client::connected();
    client.wait((1, 4), [FIRST, FURTHER, OTHER]);
    client.advance(T);
    client.head_without_a_ttl(FIRST);
    pass(&mut client, BEAT * 10 - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect(["list /l"]);
    client.listed([FIRST, FURTHER, OTHER, "#1:4"]);
    // The same, and known: look again in a while, and read nothing anew.
    pass(&mut client, BEAT * 10 - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect(["list /l"]);
    client.listed([FURTHER, OTHER, "#1:4"]);
    pass(&mut client, T - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect([&*format!("getData /l/{FURTHER}")]);
}

#[test]
fn a_new_connection_starts_the_time_anew() {
    let mut client = wait_behind(LIMITED);
    pass(&mut client, REMOVED_AFTER - T - BEAT);
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.listed([OTHER, "#1:4"]);
    client.seen(101);
    client.batch();
    client.watched();
    client.advance(T);
    client.expect([&*format!("getData {}", other())]);
    client.head_says(LIMITED);
    removal_is_due(&mut client);
    client.expect([&*delete_other()]);
}

#[test]
fn a_holder_that_is_removed_is_told_by_its_watch() {
    let mut client = Client::connected();
    let (id, _) = client.hold("/l", 1);
    let own = client.path("/l", "#1:0");
    client.event(EventType::NodeDeleted, &own);
    client.expect_notices([lost(id, LostReason::ClaimDeleted), left(id)]);
}

/// Comes to the head of the queue, and is seen there by others, but each of its
/// connections breaks before it can look; each handshake keeps its session
/// alive. Then it looks. Returns when it came to the head.
fn come_to_the_head_unheard(client: &mut Client) -> Timestamp {
    client.advance(BEAT * 3);
    let first_seen = client.now;
    for _ in 0..4 {
        client.cut();
        client.advance_in_silence(BEAT * 2);
        client.reattach();
    }
    client.expect(["sync /l", "list /l", "exists /l/#1:4 watch"]);
    client.synced();
    client.listed(["#1:4"]);
    first_seen
}

#[test]
fn a_grant_that_is_late_ends_before_those_behind_remove_the_claim() {
    let mut client = Client::connected();
    client.acquire_with("/l", |request| request.metadata.ttl = Some(TTL));
    client.queue((1, 4), [OTHER]);
    let first_seen = come_to_the_head_unheard(&mut client);
    let [Notice::Granted { until, .. }] = client.notices()[..] else {
        panic!("not granted");
    };
    let (until, removed) = (until.unwrap(), first_seen + TTL + T);
    assert!(
        until < removed,
        "ends {:?} after its removal",
        until - removed
    );
    assert!(until > client.now, "granted for no time");
}

#[test]
fn a_claim_that_those_behind_may_be_removing_is_given_up() {
    let mut client = Client::connected();
    let id = client.acquire_with("/l", |request| request.metadata.ttl = Some(BEAT));
    client.queue((1, 4), [OTHER]);
    come_to_the_head_unheard(&mut client);
    client.expect_notices([place_lost(id)]);
    client.expect(["delete /l/#1:4", "create /l/#2", "list /l"]);
}

#[test]
fn a_ttl_of_no_time_is_a_grant_that_ends_at_once_and_no_loop() {
    let mut client = Client::connected();
    let id = client.acquire_with("/l", |request| request.metadata.ttl = Some(Duration::ZERO));
    client.batch();
    client.created(0);
    client.listed(["#1:0"]);
    assert!(matches!(client.notices()[..], [Notice::Granted { .. }]));
    client.advance(MOMENT);
    client.expect_notices([lost(id, LostReason::TtlExpired)]);
    client.expect(["exists /l/#1:0 watch"]);
    client.expect(["delete /l/#1:0"]);
}

#[test]
fn time_in_the_queue_is_no_part_of_the_ttl_where_the_lock_path_is_watched() {
    let mut client = Client::connected();
    client.acquire_with("/l", |request| request.metadata.ttl = Some(TTL));
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth);
    client.batch();
    client.listed([OTHER, "#1:4"]);
    client.advance(T);
    client.head_without_a_ttl(OTHER);
    client.advance(BEAT * 3);
    client.event(EventType::NodeChildrenChanged, "/l");
    client.expect(["list /l watch"]);
    client.listed(["#1:4"]);
    let until = client.now + TTL;
    is_granted_until(&mut client, until);
}

/// Whoever is granted late, since it did not hear for long of who is ahead, has
/// no more than what is left of the TTL.
#[test]
fn a_place_that_is_being_looked_for_is_no_news_of_who_is_ahead() {
    let mut client = Client::connected();
    client.acquire_with("/l", |request| request.metadata.ttl = Some(TTL));
    client.batch();
    let czxid = client.created(4);
    client.listed([OTHER, "#1:4"]);
    client.batch();
    client.seen(czxid);
    client.refused(ErrorCode::NoAuth);
    client.expect(["list /l watch"]);
    client.listed([OTHER, "#1:4"]);
    client.event(EventType::NodeChildrenChanged, "/l");
    let last_heard = client.lease();
    for _ in 0..12 {
        if client.batch().len() > 1 {
            client.head_says("");
        }
        client.refuse_all(ErrorCode::ThrottledOp);
        client.advance(BEAT);
    }
    client.batch();
    client.listed(["#1:4"]);
    assert!(client.now > last_heard);
    is_granted_until(&mut client, last_heard + TTL);
}

#[test]
fn a_claim_that_is_told_of_late_counts_its_ttl_from_the_grant() {
    let mut client = Client::connected();
    client.acquire_with("/l", |request| request.metadata.ttl = Some(TTL));
    client.batch();
    client.advance(BEAT / 2);
    client.created(0);
    client.listed(["#1:0"]);
    let until = client.now + TTL;
    is_granted_until(&mut client, until);
}

#[test]
fn a_head_whose_data_are_too_long_is_read_once() {
    let mut client = waiting();
    let mut reads = 0;
    for _ in 0..4 {
        reads += 1;
        client.hear_too_long();
        client.reattach();
        client.batch();
        client.synced();
        client.listed([OTHER, "#1:4"]);
        client.seen(101);
        client.batch();
        client.watched();
        client.advance(T);
        if client.batch().is_empty() {
            break;
        }
    }
    assert_eq!(reads, 1);
}

#[test]
fn a_head_with_a_long_ttl_that_goes_unheard_is_found_out_in_time() {
    let mut client = Client::connected();
    client.wait((1, 4), [FIRST, FURTHER, OTHER]);
    client.advance(T);
    client.expect([&*format!("getData /l/{FIRST}")]);
    client.head_says(r#"{"ttl_ms":86400000,"session_timeout_ms":4000}"#);
    pass(&mut client, BEAT * 10 - MOMENT);
    client.expect_nothing();
    client.advance(BEAT);
    client.expect(["list /l"]);
}
