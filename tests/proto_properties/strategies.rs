//! Any value of every record, paths and nearly paths, and frames that are nearly right.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use zklock::proto::*;

pub(crate) fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}

pub(crate) fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..60).prop_map(Bytes::from)
}

pub(crate) fn text() -> impl Strategy<Value = Arc<str>> {
    vec(any::<char>(), 0..12).prop_map(|text| text.into_iter().collect::<String>().into())
}

pub(crate) fn path() -> impl Strategy<Value = ZnodePath> {
    vec("[a-zé锁. -]{0,3}[a-z]", 0..5).prop_map(|components| {
        components
            .iter()
            .fold(ZnodePath::root(), |path, name| path.child(name).unwrap())
    })
}

/// Text that often is a path, or nearly one.
pub(crate) fn path_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec!["/", "/", "/", ".", "..", "a", "é"]).prop_map(String::from),
        1 => any::<char>().prop_map(String::from),
        1 => (0_u8..0xA2).prop_map(|byte| char::from(byte).to_string()),
    ];
    (any::<bool>(), vec(piece, 0..8)).prop_map(|(absolute, pieces)| {
        let start = if absolute { "/" } else { "" };
        format!("{start}{}", pieces.concat())
    })
}

fn stat() -> impl Strategy<Value = Stat> {
    (any::<[i64; 6]>(), any::<[i32; 5]>()).prop_map(|(longs, ints)| Stat {
        czxid: longs[0],
        mzxid: longs[1],
        ctime_ms: longs[2],
        mtime_ms: longs[3],
        version: ints[0],
        cversion: ints[1],
        aversion: ints[2],
        ephemeral_owner: longs[4],
        data_length: ints[3],
        num_children: ints[4],
        pzxid: longs[5],
    })
}

fn acl() -> impl Strategy<Value = Arc<[Acl]>> {
    let entry = (any::<i32>(), text(), text())
        .prop_map(|(perms, scheme, id)| Acl::new(Perms::from_bits(perms), scheme, id));
    vec(entry, 0..4).prop_map(Arc::from)
}

fn children() -> impl Strategy<Value = Children> {
    vec(vec(any::<u8>(), 0..12), 0..6).prop_map(|names| names.iter().collect())
}

fn create() -> impl Strategy<Value = (Arc<str>, Option<Bytes>, Arc<[Acl]>, CreateMode)> {
    let mode = prop_oneof![0..8, any::<i32>()].prop_map(CreateMode::from_i32);
    (text(), option::of(bytes()), acl(), mode)
}

fn paths() -> impl Strategy<Value = Vec<Arc<str>>> {
    vec(text(), 0..4)
}

pub(crate) fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        create().prop_map(|(path, data, acl, mode)| Request::Create {
            path,
            data,
            acl,
            mode
        }),
        create().prop_map(|(path, data, acl, mode)| Request::Create2 {
            path,
            data,
            acl,
            mode
        }),
        (text(), any::<i32>()).prop_map(|(path, version)| Request::Delete { path, version }),
        (text(), any::<bool>()).prop_map(|(path, watch)| Request::Exists { path, watch }),
        (text(), any::<bool>()).prop_map(|(path, watch)| Request::GetData { path, watch }),
        (text(), option::of(bytes()), any::<i32>()).prop_map(|(path, data, version)| {
            Request::SetData {
                path,
                data,
                version,
            }
        }),
        (text(), any::<bool>()).prop_map(|(path, watch)| Request::GetChildren { path, watch }),
        (text(), any::<bool>()).prop_map(|(path, watch)| Request::GetChildren2 { path, watch }),
        text().prop_map(|path| Request::Sync { path }),
        Just(Request::Ping),
        (any::<i32>(), text(), option::of(bytes()))
            .prop_map(|(kind, scheme, auth)| Request::Auth { kind, scheme, auth }),
        (any::<i64>(), paths(), paths(), paths()).prop_map(
            |(relative_zxid, data, exist, child)| Request::SetWatches {
                relative_zxid,
                data,
                exist,
                child,
            }
        ),
        Just(Request::CloseSession),
    ]
}

pub(crate) fn reply_header() -> impl Strategy<Value = ReplyHeader> {
    let error = prop_oneof![-130..2, any::<i32>()].prop_map(ErrorCode::from_i32);
    (any::<i32>(), any::<i64>(), error).prop_map(|(xid, zxid, error)| ReplyHeader {
        xid,
        zxid,
        error,
    })
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        text().prop_map(|path| Reply::Create { path }),
        (text(), stat()).prop_map(|(path, stat)| Reply::Create2 { path, stat }),
        Just(Reply::Delete),
        stat().prop_map(|stat| Reply::Exists { stat }),
        (option::of(bytes()), stat()).prop_map(|(data, stat)| Reply::GetData { data, stat }),
        stat().prop_map(|stat| Reply::SetData { stat }),
        children().prop_map(|children| Reply::GetChildren { children }),
        (children(), stat()).prop_map(|(children, stat)| Reply::GetChildren2 { children, stat }),
        text().prop_map(|path| Reply::Sync { path }),
        Just(Reply::Ping),
        Just(Reply::Auth),
        Just(Reply::SetWatches),
        Just(Reply::CloseSession),
    ]
}

pub(crate) fn event() -> impl Strategy<Value = WatcherEvent> {
    let number = || prop_oneof![-2..9, any::<i32>()];
    (number(), number(), text()).prop_map(|(kind, state, path)| WatcherEvent {
        kind: EventType::from_i32(kind),
        state: KeeperState::from_i32(state),
        path,
    })
}

fn password() -> impl Strategy<Value = Password> {
    option::of(bytes()).prop_map(Password)
}

pub(crate) fn connect_request() -> impl Strategy<Value = ConnectRequest> {
    (
        any::<[i32; 2]>(),
        any::<[i64; 2]>(),
        password(),
        any::<Option<bool>>(),
    )
        .prop_map(|(ints, longs, password, read_only)| ConnectRequest {
            protocol_version: ints[0],
            last_zxid_seen: longs[0],
            timeout_ms: ints[1],
            session_id: longs[1],
            password,
            read_only,
        })
}

pub(crate) fn connect_response() -> impl Strategy<Value = ConnectResponse> {
    (
        any::<[i32; 2]>(),
        any::<i64>(),
        password(),
        any::<Option<bool>>(),
    )
        .prop_map(|(ints, session_id, password, read_only)| ConnectResponse {
            protocol_version: ints[0],
            timeout_ms: ints[1],
            session_id,
            password,
            read_only,
        })
}

/// A frame that is valid but for one int somewhere, often one that lengths and counts trip over.
pub(crate) fn spoilt_frame() -> impl Strategy<Value = Bytes> {
    let valid = prop_oneof![
        4 => request().prop_map(|request| encoded(|out| request.encode(1, out))),
        4 => reply().prop_map(|reply| encoded(|out| reply.encode(out))),
        1 => event().prop_map(|event| encoded(|out| event.encode(out))),
        1 => connect_response().prop_map(|response| encoded(|out| response.encode(out))),
    ];
    let int = prop_oneof![
        prop::sample::select(vec![-1, -2, 0, 1, i32::MAX, i32::MIN, 0x1000_0000]),
        0..64,
        any::<i32>(),
    ];
    (valid, any::<prop::sample::Index>(), int).prop_map(|(frame, at, int)| {
        let mut frame = frame.to_vec();
        let at = at.index(frame.len() + 1);
        for (byte, spoilt) in frame.iter_mut().skip(at).zip(int.to_be_bytes()) {
            *byte = spoilt;
        }
        frame.into()
    })
}
