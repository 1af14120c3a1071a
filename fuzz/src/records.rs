//! The records inside frames: both ways, and within their bounds.

use bytes::{Bytes, BytesMut};
use zklock::proto::*;

use crate::allocation::within;

/// Every operation this client knows, in the order in which the first byte of
/// an input for [`check_reply`] picks one.
pub const OPCODES: [OpCode; 13] = [
    OpCode::Create,
    OpCode::Delete,
    OpCode::Exists,
    OpCode::GetData,
    OpCode::SetData,
    OpCode::GetChildren,
    OpCode::Sync,
    OpCode::Ping,
    OpCode::GetChildren2,
    OpCode::Create2,
    OpCode::Auth,
    OpCode::SetWatches,
    OpCode::CloseSession,
];

/// What decoders may allocate, in multiples of their frame.
const FACTOR: usize = 4;
/// A request's ACL and the paths of `setWatches` may take more: they may be small on the wire.
const REQUEST_FACTOR: usize = 10;

/// A frame of a client, after its handshake.
pub fn check_request(frame: &[u8]) {
    let frame = Bytes::copy_from_slice(frame);
    let decode = |frame: &Bytes| within(REQUEST_FACTOR, frame.len(), || Request::decode(frame));
    let strict = Request::decode_strict(&frame);
    match decode(&frame) {
        Err(error) => {
            check_error(&error, &frame);
            assert_eq!(strict, Err(error));
        }
        Ok((header, request)) => {
            assert_eq!(header.op, request.opcode().as_i32());
            let again = encoded(|out| request.encode(header.xid, out));
            let value = Ok((header, request));
            assert_eq!(Request::decode_strict(&again), value);
            assert_eq!(decode(&again), value);
            check_strict(strict, value, &frame, &Request::decode_strict);
        }
    }
}

/// What a server sends after the handshake, behind a byte that picks what was
/// asked of it.
pub fn check_reply(data: &[u8]) {
    let Some((pick, frame)) = data.split_first() else {
        return;
    };
    let op = OPCODES[usize::from(*pick) % OPCODES.len()];
    let frame = Bytes::copy_from_slice(frame);
    let mut reader = Reader::new(&frame);
    let header = within(FACTOR, frame.len(), || ReplyHeader::decode(&mut reader));
    let header = match header {
        Ok(header) => header,
        Err(error) => return check_error(&error, &frame),
    };
    let again = encoded(|out| header.encode(out));
    assert_eq!(again, frame[..ReplyHeader::SIZE]);
    assert_eq!(reader.offset(), ReplyHeader::SIZE);

    let record = frame.slice(ReplyHeader::SIZE..);
    let reply = check_record(&record, |reader| Reply::decode(op, reader), Reply::encode);
    if let Some(reply) = reply {
        assert_eq!(reply.opcode(), op);
        check_children(&reply);
    }
    check_record(&record, WatcherEvent::decode, WatcherEvent::encode);
    check_text(&record);
}

/// The first frame of either side.
pub fn check_handshake(frame: &[u8]) {
    let frame = Bytes::copy_from_slice(frame);
    let request = check_record(&frame, ConnectRequest::decode, ConnectRequest::encode);
    let response = check_record(&frame, ConnectResponse::decode, ConnectResponse::encode);
    let request = request.map(|request| request.password);
    for password in [request, response.map(|response| response.password)] {
        check_hidden(password);
    }
}

/// A record without a header: the same after writing and reading it again, to
/// the last byte. Returns it if it decodes at all.
fn check_record<T: PartialEq + std::fmt::Debug>(
    frame: &Bytes,
    decode: impl Fn(&mut Reader<'_>) -> Result<T, DecodeError>,
    encode: impl Fn(&T, &mut BytesMut),
) -> Option<T> {
    let read = |frame: &Bytes| {
        let mut reader = Reader::new(frame);
        within(FACTOR, frame.len(), || decode(&mut reader))
    };
    let strict = |frame: &Bytes| {
        let mut reader = Reader::new(frame);
        let value = decode(&mut reader)?;
        reader.finish().map(|()| value)
    };
    let value = match read(frame) {
        Ok(value) => value,
        Err(error) => {
            check_error(&error, frame);
            return None;
        }
    };
    let again = encoded(|out| encode(&value, out));
    assert_eq!(strict(&again).as_ref(), Ok(&value));
    check_strict(strict(frame), read(frame), frame, &strict);
    Some(value)
}

/// The strict reading of a frame that decodes says the same, or how many bytes
/// are to be cut off for it to say the same.
fn check_strict<T: PartialEq + std::fmt::Debug>(
    strict: Result<T, DecodeError>,
    value: Result<T, DecodeError>,
    frame: &Bytes,
    again: &dyn Fn(&Bytes) -> Result<T, DecodeError>,
) {
    match strict {
        Err(DecodeError {
            kind: DecodeErrorKind::TrailingBytes(count),
            ..
        }) => assert_eq!(again(&frame.slice(..frame.len() - count)), value),
        strict => assert_eq!(strict, value),
    }
}

fn check_error(error: &DecodeError, frame: &Bytes) {
    assert!(error.offset <= frame.len(), "{error}");
    assert!(error.to_string().starts_with(error.field));
}

fn check_children(reply: &Reply) {
    if let Reply::GetChildren { children } | Reply::GetChildren2 { children, .. } = reply {
        assert_eq!(children.iter().count(), children.len());
        assert_eq!(children.is_empty(), children.iter().next().is_none());
        assert_eq!(children.iter().collect::<Children>(), *children);
    }
}

/// Text is UTF-8, or what Java makes of UTF-16; anything else is an error.
fn check_text(frame: &Bytes) {
    let text = Reader::new(frame).string("Fuzz.text").ok();
    let bytes = Reader::new(frame).buffer("Fuzz.text").ok().flatten();
    assert_eq!(
        text.as_deref(),
        bytes.and_then(|bytes| java_text(&bytes)).as_deref()
    );
}

/// By way of UTF-16: a character of up to four bytes, or half of one in three.
fn java_text(mut bytes: &[u8]) -> Option<String> {
    let mut units = Vec::new();
    while !bytes.is_empty() {
        let character = (1..=4).find_map(|length| {
            let text = std::str::from_utf8(bytes.get(..length)?).ok()?;
            Some((text.encode_utf16().collect(), length))
        });
        let (decoded, length): (Vec<u16>, usize) = match (character, bytes) {
            (Some(character), _) => character,
            (None, [0xED, high @ 0xA0..=0xBF, low @ 0x80..=0xBF, ..]) => {
                let bits = u16::from(high & 0x3F) << 6 | u16::from(low & 0x3F);
                (vec![0xD000 | bits], 3)
            }
            _ => return None,
        };
        units.extend(decoded);
        bytes = bytes.get(length..)?;
    }
    String::from_utf16(&units).ok()
}

fn check_hidden(password: Option<Password>) {
    let Some(password) = password else { return };
    let shown = match password.as_bytes() {
        None => "Password(null)".to_owned(),
        Some(bytes) => format!("Password({} bytes)", bytes.len()),
    };
    assert_eq!(format!("{password:?}"), shown);
}

fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}
