//! Requests that a codec trips over, and what is never shown of them.

use super::*;

fn encoded(request: &Request) -> BytesMut {
    let mut out = BytesMut::new();
    request.encode(7, &mut out);
    out
}

#[test]
fn credentials_are_never_shown() {
    let auth = Request::Auth {
        kind: 0,
        scheme: "digest".into(),
        auth: Some(Bytes::from_static(b"alice:s3cret")),
    };
    let shown = format!("{auth:?}");
    assert_eq!(
        shown,
        r#"auth { kind: 0, scheme: "digest", auth: <hidden> }"#
    );
}

#[test]
fn an_unknown_opcode_is_an_error_that_names_it() {
    let mut out = BytesMut::new();
    RequestHeader { xid: 1, op: 13 }.encode(&mut out);
    let error = Request::decode(&out.freeze()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "RequestHeader.type at byte 4: unknown opcode 13"
    );
}

#[test]
fn trailing_bytes_are_ignored_but_reported_in_strict_mode() {
    let request = Request::Sync { path: "/".into() };
    let mut frame = encoded(&request);
    frame.extend_from_slice(&[0; 2]);
    let frame = frame.freeze();
    assert_eq!(Request::decode(&frame).unwrap().1, request);
    let error = Request::decode_strict(&frame).unwrap_err();
    assert_eq!(error.kind, DecodeErrorKind::TrailingBytes(2));
}

#[test]
fn a_null_path_is_an_error() {
    let mut out = BytesMut::new();
    RequestHeader {
        xid: 1,
        op: OpCode::Sync.as_i32(),
    }
    .encode(&mut out);
    Writer::new(&mut out).buffer(None);
    let error = Request::decode(&out.freeze()).unwrap_err();
    assert_eq!(
        error,
        DecodeError::new("SyncRequest.path", 8, DecodeErrorKind::Null)
    );
}

#[test]
fn a_create_mode_has_a_bit_for_ephemeral_and_one_for_sequential() {
    let modes = [
        CreateMode::Persistent,
        CreateMode::Ephemeral,
        CreateMode::PersistentSequential,
        CreateMode::EphemeralSequential,
        CreateMode::Other(4),
    ];
    assert_eq!(modes.map(CreateMode::as_i32), [0, 1, 2, 3, 4]);
    assert_eq!([0, 1, 2, 3, 4].map(CreateMode::from_i32), modes);
}

#[test]
fn null_data_and_empty_data_differ() {
    for data in [None, Some(Bytes::new())] {
        let request = Request::Create {
            path: "/a".into(),
            data,
            acl: [Acl::world_anyone()].into(),
            mode: CreateMode::Other(4),
        };
        let (header, decoded) = Request::decode(&encoded(&request).freeze()).unwrap();
        assert_eq!(
            (header, decoded),
            (RequestHeader { xid: 7, op: 1 }, request)
        );
    }
}
