//! Looking at a whole queue.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use zklock::lock::{
    AcquisitionId, Command, Contender, Dialect, Notice, Queue, QueueError, SurveyId, SurveyRequest,
};
use zklock::proto::{Children, ErrorCode, Reply, Request, Stat, ZnodePath};
use zklock::session::Timestamp;

use crate::support::scripted::client::{Client, acquire_request};
use crate::support::scripted::{BEAT, T};
use crate::{FURTHER, OTHER};

const MOMENT: Duration = Duration::from_millis(1);
const KAZOO: &str = "83c1bcf372c265e9ac7ee364e5d3bac5__lock__0000000001";

fn survey(client: &mut Client, deadline: Timestamp) {
    client.command(Command::Survey(SurveyRequest {
        id: SurveyId(7),
        lock: acquire_request(AcquisitionId(0), "/l").lock,
        deadline,
    }));
}

/// Answers the listing.
fn list(client: &mut Client, names: &[&[u8]], stat: Stat) {
    let (xid, _) = client.in_flight[0];
    let children: Children = names.iter().collect();
    client.reply(xid, &Reply::GetChildren2 { children, stat });
}

/// Answers the oldest request, for the data of a claim.
fn read(client: &mut Client, czxid: i64, data: &[u8]) {
    let (xid, _) = client.in_flight[0];
    let stat = Stat {
        czxid,
        ctime_ms: 1_000 * czxid,
        ephemeral_owner: czxid + 50,
        ..Stat::default()
    };
    let data = Some(Bytes::copy_from_slice(data));
    client.reply(xid, &Reply::GetData { data, stat });
}

/// Answers the oldest request, how long the data of a claim are.
fn measure(client: &mut Client, czxid: i64, data_length: i32) {
    let (xid, _) = client.in_flight[0];
    let stat = Stat {
        czxid,
        data_length,
        ..Stat::default()
    };
    client.reply(xid, &Reply::Exists { stat });
}

#[track_caller]
fn result(client: &mut Client) -> Result<Queue, QueueError> {
    match &client.notices()[..] {
        [Notice::Surveyed { id, result }] => {
            assert_eq!(*id, SurveyId(7));
            result.clone()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_queue_is_shown_in_order_with_what_its_claims_say() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.expect(["survey /l"]);
    assert!(matches!(
        client.in_flight[0].1,
        Request::GetChildren2 { watch: false, .. }
    ));
    let names = [OTHER, "junk", FURTHER, KAZOO, "\u{9501}"];
    let mut names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
    names.push(b"\xff0000000009");
    let stat = Stat {
        cversion: 2 * 1000 - 5,
        num_children: 5,
        ..Stat::default()
    };
    list(&mut client, &names, stat);
    client.expect([
        &*format!("getData /l/{OTHER}"),
        &format!("getData /l/{FURTHER}"),
        &format!("getData /l/{KAZOO}"),
    ]);
    read(&mut client, 30, br#"{"owner_id":"me","pid":5}"#);
    client.refused(ErrorCode::NoAuth);
    client.expect([&*format!("exists /l/{FURTHER}")]);
    read(&mut client, 10, b"127.0.0.1");
    client.expect_notices([]);
    client.seen_of(20, 0);

    let queue = result(&mut client).unwrap();
    assert_eq!(queue.path.as_str(), "/l");
    assert_eq!(queue.headroom, i32::MAX as u32 - 1000);
    assert_eq!(queue.others, ["junk", "\u{9501}", "\u{fffd}0000000009"]);
    let tokens = queue.contenders.iter().map(|other| other.token.get());
    assert_eq!(tokens.collect::<Vec<_>>(), [10, 20, 30]);
    let [kazoo, unread, owned] = &queue.contenders[..] else {
        panic!("{queue:?}");
    };
    assert_eq!((kazoo.dialect, kazoo.number), (Some(Dialect::Kazoo), 1));
    assert_eq!((&kazoo.data, kazoo.session_id), (&None, Some(60)));
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
    assert_eq!(kazoo.created, created);
    assert_eq!(kazoo.age(created + BEAT), BEAT);
    assert_eq!((&unread.data, unread.session_id), (&None, None));
    assert_eq!((owned.name.as_str(), owned.owner()), (OTHER, Some("me")));
    assert_eq!(owned.data.as_ref().unwrap().pid, Some(5));
    assert_eq!(queue.holder(), Some(kazoo));
    assert_eq!(queue.waiters(), &queue.contenders[1..]);
    client.keeps_nothing();
}

#[test]
fn a_lock_path_that_is_missing_is_an_empty_queue() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    client.refused(ErrorCode::NoNode);
    let queue = result(&mut client).unwrap();
    assert_eq!(
        (queue.holder(), queue.waiters()),
        (None, &[] as &[Contender])
    );
    assert_eq!(queue.headroom, i32::MAX as u32);
}

#[test]
fn a_count_that_has_wrapped_leaves_no_headroom() {
    // Three more than 2^31 created, and one of them left.
    let stat = Stat {
        cversion: 2 * 3 - 1,
        num_children: 1,
        ..Stat::default()
    };
    for (number, headroom) in [("0000000002", i32::MAX as u32 - 3), ("-2147483646", 0)] {
        let mut client = Client::connected();
        survey(&mut client, Timestamp::MAX);
        client.batch();
        let name = format!("{}{number}", OTHER.strip_suffix("0000000003").unwrap());
        list(&mut client, &[name.as_bytes()], stat);
        client.batch();
        read(&mut client, 1, b"{}");
        assert_eq!(result(&mut client).unwrap().headroom, headroom, "{name}");
    }
}

#[test]
fn what_goes_while_it_is_asked_is_left_out() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    list(
        &mut client,
        &[OTHER.as_bytes(), FURTHER.as_bytes()],
        Stat::default(),
    );
    client.batch();
    client.refused(ErrorCode::NoNode);
    client.refused(ErrorCode::NoAuth);
    client.batch();
    client.refused(ErrorCode::NoNode);
    assert_eq!(result(&mut client).unwrap().contenders, []);
}

#[test]
fn a_refusal_says_what_is_not_allowed() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    client.refused(ErrorCode::NoAuth);
    let error = QueueError::Refused {
        operation: "list the claims",
        path: ZnodePath::new("/l").unwrap(),
        code: ErrorCode::NoAuth,
    };
    assert_eq!(result(&mut client), Err(error));
    client.keeps_nothing();
}

#[test]
fn a_claim_of_which_nothing_may_be_known_is_named() {
    for codes in [
        &[ErrorCode::NoAuth, ErrorCode::NoAuth][..],
        &[ErrorCode::Unimplemented],
    ] {
        let mut client = Client::connected();
        survey(&mut client, Timestamp::MAX);
        client.batch();
        list(
            &mut client,
            &[FURTHER.as_bytes(), OTHER.as_bytes()],
            Stat::default(),
        );
        client.batch();
        read(&mut client, 1, b"{}");
        for code in codes {
            client.refused(*code);
            client.batch();
        }
        let error = result(&mut client).unwrap_err();
        assert!(
            error.to_string().contains(&format!("/l/{OTHER}")),
            "{error}"
        );
        let (znode, code) = (format!("/l/{OTHER}").into(), codes[0]);
        assert_eq!(error, QueueError::Unreadable { znode, code });
        client.keeps_nothing();
    }
}

#[test]
fn a_claim_whose_data_are_too_long_is_shown_without_and_costs_one_connection() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    let names = [OTHER.as_bytes(), FURTHER.as_bytes(), KAZOO.as_bytes()];
    list(&mut client, &names, Stat::default());
    client.batch();
    client.hear_too_long();
    client.expect_notices([]);
    client.reattach();
    client.expect(["survey /l"]);
    list(&mut client, &names, Stat::default());
    client.expect([
        &*format!("exists /l/{OTHER}"),
        &format!("exists /l/{FURTHER}"),
        &format!("exists /l/{KAZOO}"),
    ]);
    // A frame takes 100 bytes, and 88 of them are not the data's.
    measure(&mut client, 30, 13);
    measure(&mut client, 20, 12);
    client.expect([&*format!("getData /l/{FURTHER}")]);
    client.refused(ErrorCode::NoNode);
    read(&mut client, 20, br#"{"pid":5}"#);
    let queue = result(&mut client).unwrap();
    let [small, large] = &queue.contenders[..] else {
        panic!("{queue:?}");
    };
    assert_eq!(small.data.as_ref().unwrap().pid, Some(5));
    assert_eq!((large.name.as_str(), &large.data), (OTHER, &None));
    assert_eq!(large.token.get(), 30);
    client.keeps_nothing();
}

#[test]
fn a_queue_that_is_too_long_to_be_listed_is_said_to_be() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    client.hear_too_long();
    let error = QueueError::TooLong {
        path: ZnodePath::new("/l").unwrap(),
        length: 101,
        max: 100,
    };
    assert_eq!(result(&mut client), Err(error));
    client.keeps_nothing();
}

#[test]
fn of_many_claims_a_few_are_asked_at_a_time() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    let names: Vec<_> = (0..150).map(|number| format!("x-{number:010}")).collect();
    let names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
    list(&mut client, &names, Stat::default());
    for answered in 0..150 {
        client.expect_notices([]);
        client.batch();
        let open = client.in_flight.len();
        assert!(open == (150 - answered).min(64), "{open} after {answered}");
        read(&mut client, answered as i64, b"{}");
    }
    assert_eq!(result(&mut client).unwrap().contenders.len(), 150);
}

#[test]
fn a_connection_that_breaks_means_starting_over() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    list(
        &mut client,
        &[OTHER.as_bytes(), FURTHER.as_bytes()],
        Stat::default(),
    );
    client.batch();
    read(&mut client, 1, b"{}");
    client.cut();
    client.reattach();
    client.expect(["survey /l"]);
    list(&mut client, &[OTHER.as_bytes()], Stat::default());
    client.expect([&*format!("getData /l/{OTHER}")]);
    read(&mut client, 1, b"{}");
    assert_eq!(result(&mut client).unwrap().contenders.len(), 1);
}

#[test]
fn a_survey_waits_for_a_connection_and_not_beyond_its_deadline() {
    let mut client = Client::dialing();
    let deadline = client.now + T;
    survey(&mut client, deadline);
    client.connect();
    client.welcome(T);
    client.expect(["survey /l"]);
    client.cut();
    client.advance(T - BEAT / 1000);
    client.expect_notices([]);
    client.advance(BEAT / 1000);
    assert_eq!(result(&mut client), Err(QueueError::TimedOut));
    client.keeps_nothing();
}

#[test]
fn what_is_throttled_is_asked_again_at_the_heartbeats_pace_and_nothing_else_is() {
    let mut client = Client::connected();
    // Not when a heartbeat is due anyway.
    client.advance(BEAT / 2);
    survey(&mut client, Timestamp::MAX);
    client.batch();
    client.refused(ErrorCode::ThrottledOp);
    client.advance(BEAT);
    client.expect(["survey /l"]);
    let names: Vec<_> = (0..66).map(|number| format!("x-{number:010}")).collect();
    let names: Vec<_> = names.iter().map(|name| name.as_bytes()).collect();
    list(&mut client, &names, Stat::default());
    client.batch();
    read(&mut client, 1, b"{}");
    client.expect(["getData /l/x-0000000064"]);
    client.refused(ErrorCode::ThrottledOp);
    client.advance(BEAT / 4);
    client.refused(ErrorCode::NoAuth);
    client.expect(["exists /l/x-0000000002"]);
    client.refused(ErrorCode::ThrottledOp);
    for czxid in 4..65 {
        read(&mut client, czxid, b"{}");
    }
    client.refused(ErrorCode::ThrottledOp);
    client.expect_notices([]);
    client.advance(BEAT * 3 / 4 - MOMENT);
    client.expect_nothing();
    client.advance(MOMENT);
    client.expect([
        "getData /l/x-0000000001",
        "getData /l/x-0000000003",
        "exists /l/x-0000000002",
    ]);
    read(&mut client, 2, b"{}");
    client.expect(["getData /l/x-0000000065"]);
    read(&mut client, 4, b"{}");
    client.seen_of(3, 50);
    read(&mut client, 66, b"{}");
    assert_eq!(result(&mut client).unwrap().contenders.len(), 66);
    client.keeps_nothing();
}

#[test]
fn closing_the_session_ends_a_survey() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    client.close();
    assert_eq!(result(&mut client), Err(QueueError::Closed));
    survey(&mut client, Timestamp::MAX);
    assert_eq!(result(&mut client), Err(QueueError::Closed));
    client.keeps_nothing();
}

#[test]
fn a_survey_that_is_throttled_and_then_cut_off_waits_for_the_connection() {
    let mut client = Client::connected();
    survey(&mut client, Timestamp::MAX);
    client.batch();
    client.refused(ErrorCode::ThrottledOp);
    client.cut();
    client.dial();
    // Whoever drives this must be able to sleep meanwhile.
    for _ in 0..20 {
        let before = client.now;
        client.step();
        assert!(client.now > before, "nothing to do, and no sleep either");
    }
}
