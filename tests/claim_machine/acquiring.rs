//! Acquire and release without anyone ahead, and who may ask.

use std::sync::Arc;

use zklock::lock::{AcquireError, AcquireRequest, LockId, LockSpec, LostReason};
use zklock::proto::{Acl, CreateMode, ErrorCode, EventType, Request, ZnodePath};

use crate::support::scripted::client::{Client, failed, left, lost};
use crate::support::scripted::{BEAT, SESSION_ID, T};
use crate::{OTHER, leave, nothing_is_left};

#[test]
fn a_free_lock_takes_one_round_trip_and_a_release_one() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.expect(["create /l/#1", "list /l"]);
    let czxid = client.created(7);
    client.expect_notices([]);
    client.listed(["#1:7"]);
    client.expect_notices([client.granted(id, czxid, "#1:7", "/l")]);
    client.expect(["exists /l/#1:7 watch"]);
    client.seen(czxid);
    client.expect_nothing();

    client.leave(id);
    client.expect_notices([lost(id, LostReason::Released)]);
    let path = client.path("/l", "#1:7");
    let batch = client.batch();
    assert!(
        matches!(&batch[..], [(_, delete)] if *delete == Request::Delete { path, version: -1 }),
        "whatever has been written to it: {batch:?}"
    );
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

#[test]
fn a_claim_is_ephemeral_and_numbered_and_says_who_made_it() {
    let mut client = Client::connected();
    let acl: Arc<[Acl]> = [Acl::creator_all()].into();
    client.acquire_with("/l", |request| {
        request.metadata.owner = Some("user1".into());
        request.lock = Arc::new(LockSpec {
            acl: Arc::clone(&acl),
            ..(*request.lock).clone()
        });
    });
    let batch = client.batch();
    let Request::Create {
        path,
        data,
        acl: sent,
        mode,
    } = &batch[0].1
    else {
        panic!("{batch:?}");
    };
    let prefix = format!("/l/_c_{SESSION_ID:016x}0000000000000001-lock-");
    assert_eq!(**path, *prefix);
    assert_eq!((sent, *mode), (&acl, CreateMode::EphemeralSequential));
    let data = String::from_utf8_lossy(data.as_deref().unwrap_or_default()).into_owned();
    assert!(data.contains(r#""owner_id":"user1""#), "{data}");
    assert!(data.contains(r#""session_timeout_ms":6000"#), "{data}");
}

#[test]
fn the_root_can_hold_a_queue() {
    let mut client = Client::connected();
    let id = client.acquire("/");
    client.expect(["create /#1", "list /"]);
    let czxid = client.created(0);
    client.listed(["#1:0", "zookeeper"]);
    client.expect_notices([client.granted(id, czxid, "#1:0", "")]);
    client.expect(["exists /#1:0 watch"]);
}

#[test]
fn a_request_before_there_is_a_session_is_sent_when_there_is_one() {
    let mut client = Client::dialing();
    client.acquire("/l");
    client.expect_nothing();
    client.connect();
    client.expect_nothing();
    client.welcome(T);
    client.expect(["create /l/#1", "list /l"]);
}

#[test]
fn every_acquisition_has_another_name() {
    let mut client = Client::connected();
    let (first, _) = client.hold("/l", 1);
    leave(&mut client, first, "delete /l/#1:0");
    client.notices();
    client.hold("/l", 2);
    client.hold("/m", 3);
}

#[test]
fn names_that_no_server_numbered_are_no_contenders() {
    let mut client = Client::connected();
    let id = client.acquire("/l");
    client.batch();
    let czxid = client.created(7);
    client.listed(["shard1", "\u{9501}", "lock-00000000001", "", "#1:7"]);
    client.expect_notices([client.granted(id, czxid, "#1:7", "/l")]);
}

#[test]
fn a_claim_is_ours_only_if_its_owner_and_its_zxid_are() {
    // One of ours that is not the one that was created is deleted; one of
    // another session's is not ours to delete.
    for (wrong_czxid, wrong_owner, delete) in [(1, 0, true), (0, 1, false)] {
        let mut client = Client::connected();
        let id = client.acquire("/l");
        client.batch();
        let czxid = client.created(7);
        client.listed(["#1:7"]);
        client.notices();
        client.batch();
        client.seen_of(czxid + wrong_czxid, SESSION_ID + wrong_owner);
        let mut notices = client.notices();
        if delete {
            client.expect(["delete /l/#1:7"]);
            client.deleted();
            notices.extend(client.notices());
        }
        assert_eq!(notices, [lost(id, LostReason::ClaimDeleted), left(id)]);
        nothing_is_left(&mut client);
    }
}

#[test]
fn a_try_on_a_free_lock_is_an_acquire() {
    let mut client = Client::connected();
    let id = client.acquire_with("/l", |request| request.waits = false);
    client.expect(["create /l/#1", "list /l"]);
    let czxid = client.created(7);
    client.listed(["#1:7"]);
    client.expect_notices([client.granted(id, czxid, "#1:7", "/l")]);
}

#[test]
fn a_try_on_a_taken_lock_would_block_and_withdraws() {
    let mut client = Client::connected();
    let id = client.acquire_with("/l", |request| request.waits = false);
    client.batch();
    client.created(7);
    client.listed([OTHER, "#1:7"]);
    client.expect_notices([failed(id, AcquireError::WouldBlock)]);
    client.expect(["exists /l/#1:7 watch", "delete /l/#1:7"]);
    client.seen(1);
    client.deleted();
    client.expect_notices([left(id)]);
    nothing_is_left(&mut client);
}

fn owned(request: &mut AcquireRequest) {
    request.metadata.owner = Some("user1".into());
}

#[test]
fn an_owner_holds_a_lock_once_and_other_locks_besides() {
    let mut client = Client::connected();
    let id = client.acquire_with("/l", owned);
    client.batch();
    let czxid = client.created(0);
    client.listed(["#1:0"]);
    client.expect_notices([client.granted(id, czxid, "#1:0", "/l")]);
    client.batch();
    client.seen(czxid);

    let again = client.acquire_with("/l", owned);
    client.expect_notices([failed(again, AcquireError::AlreadyOwned)]);
    client.expect_nothing();
    client.acquire_with("/other", owned);
    client.expect(["create /other/#2", "list /other"]);
    client.acquire_with("/l", |request| {
        request.metadata.owner = Some("user2".into())
    });
    client.expect(["create /l/#3", "list /l"]);
    client.acquire("/l");
    client.expect(["create /l/#4", "list /l"]);
}

#[test]
fn an_owner_may_ask_again_once_the_lock_is_released_or_lost() {
    for released in [true, false] {
        let mut client = Client::connected();
        let id = client.acquire_with("/l", owned);
        client.batch();
        let czxid = client.created(0);
        client.listed(["#1:0"]);
        client.batch();
        client.seen(czxid);
        let lock = LockId(2);
        assert_eq!(client.claims().held_by(lock, "user1"), Some(id));
        if released {
            client.leave(id);
        } else {
            let path = client.path("/l", "#1:0");
            client.event(EventType::NodeDeleted, &path);
        }
        assert_eq!(client.claims().held_by(lock, "user1"), None);
        client.batch();
        client.acquire_with("/l", owned);
        client.expect(["create /l/#2", "list /l"]);
    }
}

#[test]
fn parents_are_made_when_they_are_missed() {
    let mut client = Client::connected();
    let id = client.acquire("/a/b");
    client.expect(["create /a/b/#1", "list /a/b"]);
    client.refused(ErrorCode::NoNode);
    client.expect(["make /a", "make /a/b", "create /a/b/#2"]);
    client.refused(ErrorCode::NoNode); // the listing's
    client.refused(ErrorCode::NodeExists);
    client.created(0);
    let czxid = client.created(0);
    client.expect(["list /a/b", "exists /a/b/#2:0 watch"]);
    client.listed(["#2:0"]);
    client.expect_notices([client.granted(id, czxid, "#2:0", "/a/b")]);
}

#[test]
fn parents_that_vanish_again_are_made_again() {
    let mut client = Client::connected();
    client.acquire("/a");
    client.expect(["create /a/#1", "list /a"]);
    client.refused(ErrorCode::NoNode);
    client.expect(["make /a", "create /a/#2"]);
    client.refused(ErrorCode::NoNode); // the listing's
    client.created(0);
    client.refused(ErrorCode::NoNode);
    client.expect(["make /a", "create /a/#3", "list /a"]);
}

#[test]
fn znodes_above_the_claims_have_their_own_acl() {
    let mut client = Client::connected();
    let parent_acl: Arc<[Acl]> = [Acl::creator_all()].into();
    client.acquire_with("/a", |request| {
        request.lock = Arc::new(LockSpec {
            parent_acl: Arc::clone(&parent_acl),
            path: ZnodePath::new("/a").expect("a path"),
            ..(*request.lock).clone()
        });
    });
    client.batch();
    client.refused(ErrorCode::NoNode);
    let batch = client.batch();
    let acls: Vec<_> = batch
        .iter()
        .filter_map(|(_, request)| match request {
            Request::Create { acl, mode, .. } => Some((acl.clone(), *mode)),
            _ => None,
        })
        .collect();
    assert_eq!(acls[0], (parent_acl, CreateMode::Persistent));
    assert_eq!(acls[1].0, [Acl::world_anyone()].into());
}

#[test]
fn a_waiter_that_gets_the_lock_keeps_it_while_heartbeats_are_answered() {
    let mut client = Client::connected();
    client.hold("/l", 1);
    client.advance(BEAT * 1000);
    client.expect_notices([]);
    client.expect_nothing();
    assert!(client.lease() - client.now >= T / 4);
}
