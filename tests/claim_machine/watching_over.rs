//! The head of the queue as a waiter watches over it, where answers are late,
//! refused or about a head that has gone.

use std::time::Duration;

use bytes::Bytes;
use zklock::proto::{ErrorCode, EventType, Reply, Request, Stat};

use crate::support::scripted::client::Client;
use crate::support::scripted::{BEAT, T};
use crate::{FURTHER, OTHER};

const MOMENT: Duration = Duration::from_millis(1);
const FIRST: &str = "x-0000000001";
/// A TTL of 1 ms, which with the timeout is over when it is read.
const OVER: &str = r#"{"ttl_ms":1,"session_timeout_ms":4000}"#;
const LIMITED: &str = r#"{"ttl_ms":20000,"session_timeout_ms":4000}"#;

fn read(name: &str) -> String {
    format!("getData /l/{name}")
}

fn delete(name: &str) -> String {
    format!("delete /l/{name}")
}

/// Waits behind these, and has just asked for the data of the first.
fn reading<const N: usize>(ahead: [&str; N]) -> Client {
    let mut client = Client::connected();
    client.wait((1, 4), ahead);
    client.advance(T);
    client.expect([&*read(ahead[0])]);
    client
}

/// Lets time pass in which nothing but watches on the predecessor is asked for.
fn pass(client: &mut Client, time: Duration) {
    let end = client.now + time;
    while client.now < end {
        client.advance(BEAT.min(end - client.now));
        if let [(_, Request::GetChildren { watch: true, .. })] = client.batch()[..] {
            client.watched();
        }
    }
}

/// The time at which a waiter lists the queue if nothing else tells.
fn looks_in_a_while(client: &mut Client) {
    pass(client, BEAT * 10 - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect(["list /l"]);
}

#[test]
fn what_a_head_said_that_has_gone_is_not_held_against_the_next() {
    let mut client = reading([FURTHER, OTHER]);
    client.event(EventType::NodeDeleted, &format!("/l/{FURTHER}"));
    // Its data were on the way.
    client.head_says(LIMITED);
    // The next is read as late as any other, and says nothing of a TTL.
    client.advance(T - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect([&*read(OTHER)]);
    client.head_says("{}");
    pass(&mut client, T * 20);
    client.expect_nothing();
}

#[test]
fn a_look_into_the_data_that_is_refused_for_now_is_repeated_at_the_heartbeats_pace() {
    let mut client = reading([OTHER]);
    for _ in 0..2 {
        client.refused(ErrorCode::ThrottledOp);
        client.advance(BEAT - MOMENT);
        client.expect_nothing();
        client.advance(MOMENT);
        client.expect([&*read(OTHER)]);
    }
    client.head_says(OVER);
    client.expect([&*delete(OTHER)]);
}

#[test]
fn the_delete_is_of_the_version_that_was_read() {
    let mut client = reading([OTHER]);
    let (xid, _) = client.in_flight[0];
    let data = Some(Bytes::from_static(OVER.as_bytes()));
    let stat = Stat {
        version: 3,
        ..Stat::default()
    };
    client.reply(xid, &Reply::GetData { data, stat });
    assert!(matches!(
        client.batch()[..],
        [(_, Request::Delete { version: 3, .. })]
    ));
}

#[test]
fn a_removal_that_is_refused_for_now_or_outdated_is_repeated_at_the_heartbeats_pace() {
    for code in [ErrorCode::ThrottledOp, ErrorCode::BadVersion] {
        let mut client = reading([OTHER]);
        client.head_says(OVER);
        client.expect([&*delete(OTHER)]);
        client.refused(code);
        client.advance(BEAT - MOMENT);
        client.expect_nothing();
        client.advance(MOMENT);
        client.expect([&*read(OTHER)]);
        client.head_says(OVER);
        client.expect([&*delete(OTHER)]);
    }
}

#[test]
fn a_head_that_may_not_be_read_and_goes_unheard_is_found_out_in_time() {
    for code in [ErrorCode::NoAuth, ErrorCode::NoNode] {
        let mut client = reading([FIRST, FURTHER, OTHER]);
        client.refused(code);
        looks_in_a_while(&mut client);
    }
}

#[test]
fn a_head_that_may_not_be_removed_and_goes_unheard_is_found_out_in_time() {
    let mut client = reading([FIRST, FURTHER, OTHER]);
    client.head_says(OVER);
    client.expect([&*delete(FIRST)]);
    client.refused(ErrorCode::NoAuth);
    looks_in_a_while(&mut client);
}

#[test]
fn a_head_that_went_before_its_removal_means_looking_again() {
    let mut client = reading([FIRST, FURTHER, OTHER]);
    client.head_says(OVER);
    client.expect([&*delete(FIRST)]);
    client.refused(ErrorCode::NoNode);
    client.expect(["list /l"]);
}

#[test]
fn a_removal_whose_event_was_first_asks_nothing_more() {
    let mut client = reading([FURTHER, OTHER]);
    client.head_says(OVER);
    client.expect([&*delete(FURTHER)]);
    client.event(EventType::NodeDeleted, &format!("/l/{FURTHER}"));
    client.deleted();
    client.expect_nothing();
}

#[test]
fn the_longer_the_queue_the_more_rarely_it_is_listed() {
    let names: Vec<_> = (0..40).map(|number| format!("x-{number:010}")).collect();
    let mut client = Client::connected();
    client.acquire("/l");
    client.batch();
    let czxid = client.created(40);
    let own = client.expand("#1:40");
    let listed = names.iter().map(|name| name.as_bytes());
    let listed: Vec<_> = listed.chain([own.as_bytes()]).collect();
    client.listed_bytes(&listed);
    client.batch();
    client.seen(czxid);
    client.watched();
    client.watched();
    client.advance(T);
    client.expect([&*read(&names[0])]);
    client.head_says("");
    // Two more for the second and the third 16.
    pass(&mut client, BEAT * 20);
    looks_in_a_while(&mut client);
}

#[test]
fn none_of_those_that_share_the_first_number_is_removed_before_it_is_alone() {
    let another = "y-0000000001";
    let mut client = Client::connected();
    client.wait((1, 4), [FIRST, another, FURTHER, OTHER]);
    for _ in 0..4 {
        looks_in_a_while(&mut client);
        client.listed([FIRST, another, FURTHER, OTHER, "#1:4"]);
    }
    looks_in_a_while(&mut client);
    client.listed([FIRST, FURTHER, OTHER, "#1:4"]);
    pass(&mut client, T - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect([&*read(FIRST)]);
}
