//! A queue that is too long to be listed, among several acquisitions: each
//! listing of it would cost the session its connection.

use std::time::Duration;

use zklock::lock::{AcquireError, AcquisitionId, Notice};
use zklock::proto::{Request, ZnodePath};

use crate::support::scripted::BEAT;
use crate::support::scripted::client::{Client, failed, left};
use crate::{OTHER, nothing_is_left};

const MOMENT: Duration = Duration::from_millis(1);
/// For so long nobody tries again.
const SPELL: Duration = Duration::from_secs(60);

fn too_long(id: AcquisitionId) -> Notice {
    let path = ZnodePath::new("/l").expect("a path");
    let (length, max) = (101, 100);
    failed(id, AcquireError::QueueTooLong { path, length, max })
}

/// Has a request for `/l` find out, which leaves the claim `#1`.
fn found_out() -> Client {
    let mut client = Client::connected();
    // Not when a heartbeat is due anyway.
    client.advance(BEAT / 4);
    let id = client.acquire("/l");
    client.batch();
    client.created(4);
    client.hear_too_long();
    client.expect_notices([too_long(id)]);
    client.reattach();
    client.expect(["delete /l/#1:4"]);
    client.deleted();
    client.expect_notices([left(id)]);
    client
}

#[test]
fn what_one_request_has_found_out_ends_all_others_without_a_listing() {
    let mut client = Client::connected();
    client.hold("/l", 1);
    let (waiting, _) = client.wait((2, 4), [OTHER]);
    let ids = [client.acquire("/l"), client.acquire("/l")];
    client.batch();
    client.created(5);
    client.hear_too_long();
    client.expect_notices([too_long(ids[0])]);
    client.reattach();
    client.expect_notices([too_long(waiting), too_long(ids[1])]);
    client.expect(["exists /l/#1:0 watch", "delete /l/#2:4", "delete /l/#3:5"]);
    client.seen(101);
    client.deleted();
    client.deleted();
    client.expect_notices([left(waiting), left(ids[0])]);
    // The other create is in doubt still, and looked for in a while.
    client.advance(SPELL / 2);
    client.expect_nothing();
}

#[test]
fn a_request_that_comes_later_is_told_at_once_and_one_for_another_lock_is_not() {
    let mut client = found_out();
    let id = client.acquire("/l");
    client.expect_notices([too_long(id), left(id)]);
    client.expect_nothing();
    client.acquire("/m");
    client.expect(["create /m/#2", "list /m"]);
}

#[test]
fn nobody_is_told_for_longer_than_a_minute() {
    for (after, believed) in [(SPELL - MOMENT, true), (SPELL, false)] {
        let mut client = Client::connected();
        let id = client.acquire("/l");
        client.batch();
        client.created(4);
        client.hear_too_long();
        let found_out = client.now;
        client.expect_notices([too_long(id)]);
        client.reattach();
        client.batch();
        client.deleted();
        client.advance(found_out + after - client.now);
        client.notices();
        let id = client.acquire("/l");
        if believed {
            client.expect_notices([too_long(id), left(id)]);
            nothing_is_left(&mut client);
        } else {
            client.expect(["create /l/#2", "list /l"]);
        }
    }
}

#[test]
fn those_that_leave_and_have_to_look_end_one_connection_a_minute() {
    let mut client = Client::connected();
    for _ in 0..3 {
        client.acquire("/l");
    }
    client.batch();
    // All three creates are in doubt.
    client.cut();
    client.reattach();
    client.batch();
    client.synced();
    client.hear_too_long();
    client.reattach();
    let mut ended = 0;
    for _ in 0..60 * 3 + 5 {
        client.advance(BEAT);
        let batch = client.batch();
        if batch
            .iter()
            .any(|(_, request)| matches!(request, Request::GetChildren { .. }))
        {
            client.synced();
            ended += 1;
            client.hear_too_long();
            client.reattach();
        }
    }
    assert_eq!(ended, 3);
}
