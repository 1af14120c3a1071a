//! Golden frames: what real clients and servers sent must decode to what they meant, and encode back
//! to the same bytes. `vectors/README.md` says where the frames come from.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};
use zklock::proto::*;

/// The vectors whose records this crate leaves to others. Of these only the header is read.
const NOT_SPOKEN: &[&str] = &[
    "getacl_reply_digest",
    "getacl_request",
    "multi_reply_failed",
    "multi_reply_ok",
    "multi_request",
    "multi_request_go",
    "sasl_reply_challenge",
    "whoami_reply",
];

#[test]
fn every_frame_decodes_to_what_it_means() {
    for vector in vectors() {
        let decoded = decode(&vector.record(), &vector.payload())
            .unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!(decoded.to_json(), vector.decoded, "{}", vector.name);
    }
}

#[test]
fn every_frame_encodes_back_to_the_same_bytes() {
    for vector in vectors() {
        let decoded = decode(&vector.record(), &vector.payload()).unwrap();
        let mut out = BytesMut::new();
        write_frame(&mut out, |out| decoded.encode(out)).unwrap();
        assert_eq!(out, vector.frame, "{}", vector.name);
    }
}

#[test]
fn a_frame_cut_anywhere_is_an_error_or_one_that_lacks_its_optional_byte() {
    for vector in vectors() {
        let payload = vector.payload();
        for end in 0..payload.len() {
            let cut = decode(&vector.record(), &payload.slice(..end));
            match cut {
                Err(error) => assert!(error.offset <= end, "{}: {error}", vector.name),
                Ok(Decoded::ConnectRequest(request)) => {
                    assert_eq!((request.read_only, end), (None, 44), "{}", vector.name);
                }
                Ok(Decoded::ConnectResponse(response)) => {
                    assert_eq!((response.read_only, end), (None, 36), "{}", vector.name);
                }
                Ok(_) => panic!("{} cut at {end} was accepted", vector.name),
            }
        }
    }
}

#[test]
fn a_frame_is_complete_at_its_last_byte_and_not_before() {
    for vector in vectors() {
        for end in 0..vector.frame.len() {
            let mut buf = BytesMut::from(&vector.frame[..end]);
            let frame = FrameReader::default().read(&mut buf);
            assert_eq!(frame, Ok(None), "{}", vector.name);
        }
        let mut buf = BytesMut::from(&vector.frame[..]);
        let payload = FrameReader::default().read(&mut buf);
        assert_eq!(payload, Ok(Some(vector.payload())), "{}", vector.name);
        assert!(buf.is_empty(), "{}", vector.name);
    }
}

#[test]
fn every_vector_is_either_spoken_or_listed_as_not_spoken() {
    let everything = all_vectors();
    assert_eq!(everything.len(), 76);
    for name in NOT_SPOKEN {
        assert!(
            everything.iter().any(|vector| vector.name == *name),
            "{name} is gone"
        );
    }
    for vector in everything {
        let spoken = vector.record() != Record::Unknown;
        assert_eq!(
            spoken,
            !NOT_SPOKEN.contains(&&*vector.name),
            "{}",
            vector.name
        );
    }
}

#[test]
fn an_error_has_the_name_that_is_in_the_name_of_its_vector() {
    for vector in vectors() {
        let name = vector.name.split_once("_error_").map(|(_, name)| name);
        let name = name.or(vector.name.strip_prefix("reply_"));
        let Decoded::Reply(header, ..) = decode(&vector.record(), &vector.payload()).unwrap()
        else {
            continue;
        };
        match name {
            // Servers that enforce authentication say it in other words.
            Some("notauthenticated_enforced") => {
                assert_eq!(header.error, ErrorCode::SessionClosedRequireSaslAuth);
            }
            Some(name) => assert_eq!(header.error.name().to_lowercase(), name),
            None => {}
        }
    }
}

#[test]
fn a_frame_that_is_not_spoken_still_shows_its_header() {
    for vector in all_vectors()
        .iter()
        .filter(|vector| vector.record() == Record::Unknown)
    {
        let payload = vector.payload();
        let mut reader = Reader::new(&payload);
        let header = if vector.decoded["kind"] == "Request" {
            let header = RequestHeader::decode(&mut reader).unwrap();
            let error = Request::decode(&payload).unwrap_err();
            assert_eq!(
                error.kind,
                DecodeErrorKind::UnknownOpcode(header.op),
                "{}",
                vector.name
            );
            request_header_json(header)
        } else {
            reply_header_json(ReplyHeader::decode(&mut reader).unwrap())
        };
        assert_eq!(header, vector.decoded["header"], "{}", vector.name);
    }
}

/// One file of `vectors/`.
struct Vector {
    name: String,
    /// With its length prefix.
    frame: Bytes,
    decoded: Value,
}

impl Vector {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let json: Value = serde_json::from_str(&text).unwrap();
        let name = json["name"].as_str().unwrap().to_owned();
        assert_eq!(path.file_stem().unwrap().to_str(), Some(&*name));
        Self {
            name,
            frame: unhex(json["hex"].as_str().unwrap()),
            decoded: json["decoded"].clone(),
        }
    }

    fn payload(&self) -> Bytes {
        self.frame.slice(4..)
    }

    fn record(&self) -> Record {
        let op = || match &self.decoded["op"] {
            Value::Null => Some(None),
            name => opcode(name.as_str().unwrap()).map(Some),
        };
        match self.decoded["kind"].as_str().unwrap() {
            "ConnectRequest" => Record::ConnectRequest,
            "ConnectResponse" => Record::ConnectResponse,
            "Request" if op().is_some() => Record::Request,
            "Reply" => op().map_or(Record::Unknown, Record::Reply),
            "WatcherEvent" => Record::Event,
            _ => Record::Unknown,
        }
    }
}

/// The vectors this crate speaks.
fn vectors() -> Vec<Vector> {
    let mut vectors = all_vectors();
    vectors.retain(|vector| !NOT_SPOKEN.contains(&&*vector.name));
    assert!(!vectors.is_empty());
    vectors
}

fn all_vectors() -> Vec<Vector> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "json")
        })
        .map(|path| Vector::read(&path))
        .collect()
}

/// What has to be known beforehand to decode a frame.
#[derive(Debug, PartialEq)]
enum Record {
    ConnectRequest,
    ConnectResponse,
    Request,
    /// To which operation; `None` where the server did not know it either.
    Reply(Option<OpCode>),
    Event,
    Unknown,
}

enum Decoded {
    ConnectRequest(ConnectRequest),
    ConnectResponse(ConnectResponse),
    Request(RequestHeader, Request),
    Reply(ReplyHeader, Option<OpCode>, Option<Reply>),
    Event(ReplyHeader, WatcherEvent),
}

/// Strictly: nothing may be left behind the record.
fn decode(record: &Record, payload: &Bytes) -> Result<Decoded, DecodeError> {
    let mut reader = Reader::new(payload);
    let decoded = match record {
        Record::ConnectRequest => Decoded::ConnectRequest(ConnectRequest::decode(&mut reader)?),
        Record::ConnectResponse => Decoded::ConnectResponse(ConnectResponse::decode(&mut reader)?),
        Record::Request => {
            let (header, request) = Request::decode_strict(payload)?;
            return Ok(Decoded::Request(header, request));
        }
        Record::Reply(op) => {
            let header = ReplyHeader::decode(&mut reader)?;
            let reply = match (header.error, op) {
                (ErrorCode::Ok, Some(op)) => Some(Reply::decode(*op, &mut reader)?),
                _ => None,
            };
            Decoded::Reply(header, *op, reply)
        }
        Record::Event => {
            let header = ReplyHeader::decode(&mut reader)?;
            assert_eq!(header.xid, xid::WATCH_EVENT);
            Decoded::Event(header, WatcherEvent::decode(&mut reader)?)
        }
        Record::Unknown => unreachable!("not spoken"),
    };
    reader.finish().map(|()| decoded)
}

impl Decoded {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::ConnectRequest(request) => request.encode(out),
            Self::ConnectResponse(response) => response.encode(out),
            Self::Request(header, request) => request.encode(header.xid, out),
            Self::Reply(header, _, reply) => {
                header.encode(out);
                if let Some(reply) = reply {
                    reply.encode(out);
                }
            }
            Self::Event(header, event) => {
                header.encode(out);
                event.encode(out);
            }
        }
    }

    /// In the form of a vector's `decoded`.
    fn to_json(&self) -> Value {
        match self {
            Self::ConnectRequest(request) => json!({
                "kind": "ConnectRequest",
                "record": {
                    "protocolVersion": request.protocol_version,
                    "lastZxidSeen": request.last_zxid_seen,
                    "timeOut": request.timeout_ms,
                    "sessionId": request.session_id,
                    "passwd": hex(request.password.as_bytes()),
                    "readOnly": request.read_only,
                },
            }),
            Self::ConnectResponse(response) => json!({
                "kind": "ConnectResponse",
                "record": {
                    "protocolVersion": response.protocol_version,
                    "timeOut": response.timeout_ms,
                    "sessionId": response.session_id,
                    "passwd": hex(response.password.as_bytes()),
                    "readOnly": response.read_only,
                },
            }),
            Self::Request(header, request) => json!({
                "kind": "Request",
                "op": request.opcode().name(),
                "header": request_header_json(*header),
                "body": request_json(request),
            }),
            Self::Reply(header, op, reply) => json!({
                "kind": "Reply",
                "op": op.map(OpCode::name),
                "header": reply_header_json(*header),
                "body": reply.as_ref().map(reply_json),
            }),
            Self::Event(header, event) => json!({
                "kind": "WatcherEvent",
                "header": reply_header_json(*header),
                "body": {
                    "type": event.kind.as_i32(),
                    "state": event.state.as_i32(),
                    "path": &*event.path,
                    "typeName": event.kind.name(),
                },
            }),
        }
    }
}

fn request_header_json(header: RequestHeader) -> Value {
    json!({ "xid": header.xid, "type": header.op })
}

fn reply_header_json(header: ReplyHeader) -> Value {
    json!({ "xid": header.xid, "zxid": header.zxid, "err": header.error.as_i32() })
}

fn request_json(request: &Request) -> Value {
    match request {
        Request::Create {
            path,
            data,
            acl,
            mode,
        }
        | Request::Create2 {
            path,
            data,
            acl,
            mode,
        } => {
            json!({
                "path": &**path,
                "data": hex(data.as_deref()),
                "acl": acl.iter().map(acl_json).collect::<Vec<_>>(),
                "flags": mode.as_i32(),
            })
        }
        Request::Delete { path, version } => json!({ "path": &**path, "version": version }),
        Request::Exists { path, watch }
        | Request::GetData { path, watch }
        | Request::GetChildren { path, watch }
        | Request::GetChildren2 { path, watch } => json!({ "path": &**path, "watch": watch }),
        Request::SetData {
            path,
            data,
            version,
        } => json!({ "path": &**path, "data": hex(data.as_deref()), "version": version }),
        Request::SetWatches {
            relative_zxid,
            data,
            exist,
            child,
        } => json!({
            "relativeZxid": relative_zxid,
            "dataWatches": paths_json(data),
            "existWatches": paths_json(exist),
            "childWatches": paths_json(child),
        }),
        Request::Sync { path } => json!({ "path": &**path }),
        Request::Auth { kind, scheme, auth } => {
            json!({ "type": kind, "scheme": &**scheme, "auth": hex(auth.as_deref()) })
        }
        Request::Ping | Request::CloseSession => json!({}),
        _ => panic!("no vector for {request:?}"),
    }
}

fn reply_json(reply: &Reply) -> Value {
    match reply {
        Reply::Create { path } | Reply::Sync { path } => json!({ "path": &**path }),
        Reply::Create2 { path, stat } => json!({ "path": &**path, "stat": stat_json(stat) }),
        Reply::Exists { stat } | Reply::SetData { stat } => json!({ "stat": stat_json(stat) }),
        Reply::GetData { data, stat } => {
            json!({ "data": hex(data.as_deref()), "stat": stat_json(stat) })
        }
        Reply::GetChildren { children } => json!({ "children": children_json(children) }),
        Reply::GetChildren2 { children, stat } => {
            json!({ "children": children_json(children), "stat": stat_json(stat) })
        }
        Reply::Delete | Reply::Ping | Reply::Auth | Reply::SetWatches | Reply::CloseSession => {
            json!({})
        }
        _ => panic!("no vector for {reply:?}"),
    }
}

fn paths_json(paths: &[Arc<str>]) -> Vec<&str> {
    paths.iter().map(|path| &**path).collect()
}

fn acl_json(acl: &Acl) -> Value {
    json!({ "perms": acl.perms.bits(), "scheme": &*acl.scheme, "id": &*acl.id })
}

fn children_json(children: &Children) -> Vec<&str> {
    children
        .iter()
        .map(|name| std::str::from_utf8(name).unwrap())
        .collect()
}

fn stat_json(stat: &Stat) -> Value {
    json!({
        "czxid": stat.czxid,
        "mzxid": stat.mzxid,
        "ctime": stat.ctime_ms,
        "mtime": stat.mtime_ms,
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "ephemeralOwner": stat.ephemeral_owner,
        "dataLength": stat.data_length,
        "numChildren": stat.num_children,
        "pzxid": stat.pzxid,
    })
}

fn opcode(name: &str) -> Option<OpCode> {
    (-200..=200)
        .filter_map(OpCode::from_i32)
        .find(|op| op.name() == name)
}

fn hex(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn unhex(text: &str) -> Bytes {
    assert!(text.len() % 2 == 0 && text.is_ascii());
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
