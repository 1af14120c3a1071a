//! The embedded server's core: time, connections, and bytes of any kind. What it
//! answers to requests is compared with a real server elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;
use zklock::embedded::{Config, ConnectionId, Core, Output};
use zklock::proto::{
    Acl, ConnectRequest, ConnectResponse, CreateMode, ErrorCode, EventType, OpCode, Password,
    Reader, ReplyHeader, Request, WatcherEvent, write_frame, xid,
};

const TICK: u64 = 500;

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn core() -> Core {
    Core::new(Config {
        tick: at(TICK),
        ..Config::default()
    })
}

fn frame(payload: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    write_frame(&mut out, payload).unwrap();
    out.freeze()
}

fn hello(timeout_ms: i32, session_id: i64, password: Password) -> Bytes {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms,
        session_id,
        password,
        read_only: Some(false),
    };
    frame(|out| request.encode(out))
}

fn ask(core: &mut Core, client: ConnectionId, request: &Request, now: u64) {
    core.received(client, &frame(|out| request.encode(1, out)), at(now));
}

fn ephemeral(path: &str) -> Request {
    Request::Create {
        path: path.into(),
        data: None,
        acl: [Acl::world_anyone()].into(),
        mode: CreateMode::Ephemeral,
    }
}

fn exists(path: &str, watch: bool) -> Request {
    let path = path.into();
    Request::Exists { path, watch }
}

fn outputs(core: &mut Core) -> Vec<Output> {
    std::iter::from_fn(|| core.poll()).collect()
}

/// The payload of the only thing that there is to do: to write this.
#[track_caller]
fn written(core: &mut Core, client: ConnectionId) -> Bytes {
    match &outputs(core)[..] {
        [Output::Write { to, bytes }] if *to == client => bytes.slice(4..),
        other => panic!("{other:?}"),
    }
}

fn header(payload: &Bytes) -> ReplyHeader {
    ReplyHeader::decode(&mut Reader::new(payload)).unwrap()
}

/// A client with a session.
#[track_caller]
fn attach(core: &mut Core, hello: &Bytes, now: u64) -> (ConnectionId, ConnectResponse) {
    let client = core.accept(at(now));
    core.received(client, hello, at(now));
    let response = match outputs(core).pop() {
        Some(Output::Write { to, bytes }) if to == client => bytes.slice(4..),
        other => panic!("{other:?}"),
    };
    let response = ConnectResponse::decode(&mut Reader::new(&response)).unwrap();
    (client, response)
}

fn new_session(core: &mut Core, timeout_ms: i32, now: u64) -> (ConnectionId, ConnectResponse) {
    attach(core, &hello(timeout_ms, 0, Password::zeros()), now)
}

#[test]
fn a_session_expires_at_a_tick_and_not_before() {
    let mut core = core();
    let (client, _) = new_session(&mut core, 1200, 100);
    assert_eq!(core.deadline(), Some(at(1500)));
    core.tick(at(1499));
    assert_eq!(outputs(&mut core), []);
    core.tick(at(1500));
    assert_eq!(outputs(&mut core), [Output::Close(client)]);
    assert_eq!((core.sessions().count(), core.deadline()), (0, None));
}

#[test]
fn whatever_comes_too_late_comes_too_late() {
    let mut core = core();
    let (client, _) = new_session(&mut core, 1000, 0);
    ask(&mut core, client, &Request::Ping, 1500);
    assert_eq!(outputs(&mut core), [Output::Close(client)]);
    ask(&mut core, client, &Request::Ping, 1501);
    assert_eq!(outputs(&mut core), []);
}

#[test]
fn whole_requests_keep_a_session_alive_but_not_auth_and_not_a_part() {
    let mut core = core();
    let (client, _) = new_session(&mut core, 1000, 0);
    ask(&mut core, client, &Request::Ping, 600);
    assert_eq!(core.deadline(), Some(at(2000)));
    let unreadable = frame(|out| out.extend_from_slice(b"\0\0\0\x01\0\0\0\x03"));
    core.received(client, &unreadable, at(1100));
    assert_eq!(core.deadline(), Some(at(2500)));
    let auth = Request::Auth {
        kind: 0,
        scheme: "digest".into(),
        auth: Some(Bytes::from_static(b"u:p")),
    };
    ask(&mut core, client, &auth, 1600);
    core.received(client, b"\0\0\0\x08\0\0\0", at(1700));
    assert_eq!(core.deadline(), Some(at(2500)));
}

#[test]
fn an_expired_sessions_ephemerals_go_in_one_transaction_and_others_are_told() {
    let mut core = core();
    let (observer, _) = new_session(&mut core, 10_000, 0);
    let (client, _) = new_session(&mut core, 1000, 0);
    for path in ["/a", "/b"] {
        ask(&mut core, client, &ephemeral(path), 0);
        ask(&mut core, client, &exists(path, true), 0);
        ask(&mut core, observer, &exists(path, true), 0);
    }
    outputs(&mut core);
    let zxid = core.last_zxid();
    core.tick(at(1500));
    assert_eq!(core.last_zxid(), zxid + 1);
    let outputs = outputs(&mut core);
    assert_eq!(outputs[0], Output::Close(client));
    let events = outputs[1..].iter().map(|output| match output {
        Output::Write { to, bytes } if *to == observer => {
            let payload = bytes.slice(4..);
            assert_eq!(header(&payload).xid, xid::WATCH_EVENT);
            let event = &payload.slice(ReplyHeader::SIZE..);
            WatcherEvent::decode(&mut Reader::new(event)).unwrap()
        }
        other => panic!("{other:?}"),
    });
    let paths: Vec<_> = events
        .map(|event| {
            assert_eq!(event.kind, EventType::NodeDeleted);
            event.path.to_string()
        })
        .collect();
    assert_eq!(paths, ["/a", "/b"]);
    assert_eq!(core.watch_count(), 0);
}

#[test]
fn a_session_moves_with_its_newest_connection_and_takes_its_new_timeout() {
    let mut core = core();
    let (old, session) = new_session(&mut core, 1000, 0);
    ask(&mut core, old, &exists("/a", true), 0);
    outputs(&mut core);
    let again = hello(3000, session.session_id, session.password.clone());
    let new = core.accept(at(100));
    core.received(new, &again, at(100));
    let outputs = outputs(&mut core);
    assert_eq!(outputs[0], Output::Close(old));
    assert!(matches!(&outputs[1], Output::Write { to, .. } if *to == new));
    assert_eq!(core.watch_count(), 0);
    assert_eq!(core.deadline(), Some(at(3500)));
    ask(&mut core, new, &Request::Ping, 600);
    assert_eq!(core.deadline(), Some(at(4000)));
}

#[test]
fn a_wrong_password_ends_the_connection_of_the_right_one_but_not_the_session() {
    let mut core = core();
    let (right, session) = new_session(&mut core, 1000, 0);
    let wrong = core.accept(at(0));
    let guess = hello(1000, session.session_id, Password::zeros());
    core.received(wrong, &guess, at(0));
    let outputs = outputs(&mut core);
    assert_eq!(outputs[0], Output::Close(right));
    assert_eq!(outputs[2], Output::Close(wrong));
    assert_eq!(core.sessions().count(), 1);
    let again = hello(1000, session.session_id, session.password.clone());
    let (_, response) = attach(&mut core, &again, 400);
    assert_eq!(response, session);
}

#[test]
fn a_session_outlives_its_connection_and_its_watches_do_not() {
    let mut core = core();
    let (client, _) = new_session(&mut core, 1000, 0);
    ask(&mut core, client, &ephemeral("/a"), 0);
    ask(&mut core, client, &exists("/a", true), 0);
    outputs(&mut core);
    core.disconnected(client, at(1));
    assert_eq!((core.sessions().count(), core.watch_count()), (1, 0));
    core.tick(at(1500));
    assert_eq!((core.sessions().count(), outputs(&mut core).len()), (0, 0));
}

#[test]
fn a_client_without_a_handshake_has_ten_to_twenty_seconds() {
    let mut core = core();
    let first = core.accept(at(9_999));
    assert_eq!(core.deadline(), Some(at(20_000)));
    let second = core.accept(at(10_000));
    core.received(second, b"\0\0", at(10_001));
    core.tick(at(20_000));
    assert_eq!(outputs(&mut core), [Output::Close(first)]);
    core.tick(at(30_000));
    assert_eq!(outputs(&mut core), [Output::Close(second)]);
}

#[test]
fn a_frame_may_be_as_long_as_the_limit_and_no_longer() {
    let config = Config {
        max_frame: 100,
        ..Config::default()
    };
    let mut core = Core::new(config);
    let (client, _) = new_session(&mut core, 4000, 0);
    let mut longest = BytesMut::from(&frame(|out| Request::Ping.encode(-2, out))[..]);
    longest[3] = 100;
    longest.resize(104, 0);
    core.received(client, &longest, at(0));
    assert_eq!(header(&written(&mut core, client)).xid, xid::PING);
    core.received(client, &[0, 0, 0, 101], at(0));
    assert_eq!(outputs(&mut core), [Output::Close(client)]);
}

#[test]
fn a_clone_goes_its_own_way() {
    let mut core = core();
    let (client, _) = new_session(&mut core, 1000, 0);
    let mut clone = core.clone();
    ask(&mut core, client, &ephemeral("/a"), 0);
    assert_eq!(core.last_zxid(), clone.last_zxid() + 1);
    ask(&mut clone, client, &exists("/a", false), 0);
    assert_eq!(header(&written(&mut clone, client)).error.as_i32(), -101);
}

#[test]
fn a_lost_reply_is_the_end_of_its_connection_and_of_no_other() {
    let mut core = core();
    let (client, _) = new_session(&mut core, 1000, 0);
    let (other, _) = new_session(&mut core, 1000, 0);
    core.drop_next_reply(OpCode::Create);
    ask(&mut core, client, &Request::Ping, 0);
    assert_eq!(header(&written(&mut core, client)).xid, xid::PING);
    ask(&mut core, client, &ephemeral("/a"), 0);
    assert_eq!(outputs(&mut core), [Output::Close(client)]);
    ask(&mut core, other, &ephemeral("/a"), 0);
    let answer = header(&written(&mut core, other));
    assert_eq!(answer.error, ErrorCode::NodeExists, "it was done");
    core.drop_next_reply(OpCode::Auth);
    let auth = Request::Auth {
        kind: 0,
        scheme: "digest".into(),
        auth: Some(Bytes::from_static(b"u:p")),
    };
    ask(&mut core, other, &auth, 0);
    assert_eq!(outputs(&mut core), [Output::Close(other)]);
}

#[test]
fn what_is_done_to_a_server_is_done_at_once() {
    let mut core = core();
    let (client, session) = new_session(&mut core, 1000, 0);
    let (other, _) = new_session(&mut core, 1000, 0);
    ask(&mut core, client, &ephemeral("/a"), 0);
    outputs(&mut core);
    assert!(core.expire(session.session_id));
    assert_eq!(outputs(&mut core), [Output::Close(client)]);
    assert!(!core.expire(session.session_id));
    assert!(core.znodes().all(|znode| &*znode.path != "/a"));
    assert!(core.connections().eq([other]));
    core.disconnect_all();
    assert_eq!(outputs(&mut core), [Output::Close(other)]);
    assert_eq!(
        (core.connections().count(), core.sessions().count()),
        (0, 1)
    );
}

proptest! {
    /// Nothing that a client sends makes the server panic, and it does not
    /// matter how it was cut.
    #[test]
    fn any_bytes_are_answered_the_same_however_they_are_cut(
        requests in vec(bytes_like_requests(), 0..12),
        size in 1..40_usize,
    ) {
        let bytes = requests.concat();
        let mut whole = core();
        let (client, _) = new_session(&mut whole, 1000, 0);
        let mut cut = whole.clone();
        whole.received(client, &bytes, at(1));
        for piece in bytes.chunks(size) {
            cut.received(client, piece, at(1));
        }
        prop_assert_eq!(outputs(&mut whole), outputs(&mut cut));
        prop_assert_eq!(format!("{:?}", whole.deadline()), format!("{:?}", cut.deadline()));
    }

    #[test]
    fn any_first_bytes_are_survived(bytes in vec(any::<u8>(), 0..80)) {
        let mut core = core();
        let client = core.accept(at(0));
        core.received(client, &bytes, at(0));
        core.tick(Duration::MAX);
        prop_assert!(outputs(&mut core).contains(&Output::Close(client)));
    }
}

/// Frames with an opcode, known or not, and what looks a bit like a record.
fn bytes_like_requests() -> impl Strategy<Value = Vec<u8>> {
    let op = prop_oneof![
        8 => prop::sample::select(vec![1, 2, 3, 4, 5, 8, 9, 11, 12, 15, 100, 101]),
        1 => prop::sample::select(vec![OpCode::CloseSession.as_i32()]),
        1 => any::<i32>(),
    ];
    let piece = prop_oneof![
        vec(any::<u8>(), 0..6),
        prop::sample::select(vec![
            b"\0\0\0\x02/a".to_vec(),
            b"\0\0\0\0".to_vec(),
            b"\xff\xff\xff\xff".to_vec(),
            b"\0\0\0\x01\0\0\0\x1f\0\0\0\x05world\0\0\0\x06anyone".to_vec(),
            b"\0\0\0\x03".to_vec(),
            b"\x01".to_vec(),
        ]),
    ];
    (op, vec(piece, 0..6)).prop_map(|(op, pieces)| {
        let payload = [b"\0\0\0\x07".to_vec(), op.to_be_bytes().to_vec()];
        let payload = [payload.concat(), pieces.concat()].concat();
        frame(|out| out.extend_from_slice(&payload)).to_vec()
    })
}
