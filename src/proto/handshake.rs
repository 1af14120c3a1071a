//! The first frame each way: ZooKeeper's `ConnectRequest` and `ConnectResponse` records. They have
//! no header.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::{DecodeError, Reader, Writer};

/// A client's first frame: opens a session, or takes one up again on a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Always 0; servers ignore it.
    pub protocol_version: i32,
    /// The highest zxid the client has seen. A server that is behind closes the connection.
    pub last_zxid_seen: i64,
    /// The session timeout the client wants, in milliseconds. The server clamps it.
    pub timeout_ms: i32,
    /// The session to take up again; 0 for a new one.
    pub session_id: i64,
    /// That session's password; [`Password::zeros`] for a new one.
    pub password: Password,
    /// Whether a read-only server will do. `None` leaves the byte out, as clients of before 3.4 do.
    pub read_only: Option<bool>,
}

impl ConnectRequest {
    /// Reads the record, with or without its last byte.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            protocol_version: reader.int("ConnectRequest.protocolVersion")?,
            last_zxid_seen: reader.long("ConnectRequest.lastZxidSeen")?,
            timeout_ms: reader.int("ConnectRequest.timeOut")?,
            session_id: reader.long("ConnectRequest.sessionId")?,
            password: Password::decode(reader, "ConnectRequest.passwd")?,
            read_only: read_only(reader, "ConnectRequest.readOnly")?,
        })
    }

    /// Appends the record, without a length prefix.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        writer.int(self.protocol_version);
        writer.long(self.last_zxid_seen);
        writer.int(self.timeout_ms);
        writer.long(self.session_id);
        writer.buffer(self.password.as_bytes());
        if let Some(read_only) = self.read_only {
            writer.bool(read_only);
        }
    }
}

/// The server's answer to a [`ConnectRequest`].
///
/// A timeout of 0 or less, or a session other than the one asked for, means that the session is
/// lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// Always 0.
    pub protocol_version: i32,
    /// The session timeout granted, in milliseconds; 0 if the session is refused.
    pub timeout_ms: i32,
    /// The session, opaque and possibly negative; 0 if it is refused.
    pub session_id: i64,
    /// What to take the session up again with.
    pub password: Password,
    /// Whether the server is read-only. `None` if the byte is missing: servers send it only if the
    /// request had it, and those of before 3.4 never do.
    pub read_only: Option<bool>,
}

impl ConnectResponse {
    /// Reads the record, with or without its last byte.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            protocol_version: reader.int("ConnectResponse.protocolVersion")?,
            timeout_ms: reader.int("ConnectResponse.timeOut")?,
            session_id: reader.long("ConnectResponse.sessionId")?,
            password: Password::decode(reader, "ConnectResponse.passwd")?,
            read_only: read_only(reader, "ConnectResponse.readOnly")?,
        })
    }

    /// Appends the record, without a length prefix.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        writer.int(self.protocol_version);
        writer.int(self.timeout_ms);
        writer.long(self.session_id);
        writer.buffer(self.password.as_bytes());
        if let Some(read_only) = self.read_only {
            writer.bool(read_only);
        }
    }
}

/// The optional last byte of both records.
fn read_only(reader: &mut Reader<'_>, field: &'static str) -> Result<Option<bool>, DecodeError> {
    match reader.remaining() {
        0 => Ok(None),
        _ => reader.bool(field).map(Some),
    }
}

/// A session's password: 16 bytes from a real server, but any length, and null (`None`), can be
/// read and written. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Option<Bytes>);

impl Password {
    /// 16 zero bytes: what to send for a new session. (A null password sends a 3.4 server into an
    /// endless loop.)
    pub fn zeros() -> Self {
        Self(Some(Bytes::from_static(&[0; 16])))
    }

    /// The bytes, or `None` for null.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    /// Copies the bytes: a session keeps its password long after the frame, and whatever that was
    /// read with.
    fn decode(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError> {
        let bytes = reader.buffer(field)?;
        Ok(Self(bytes.map(|bytes| Bytes::copy_from_slice(&bytes))))
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => f.write_str("Password(null)"),
            Some(bytes) => write!(f, "Password({} bytes)", bytes.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DecodeErrorKind;

    fn response(read_only: Option<bool>) -> ConnectResponse {
        ConnectResponse {
            protocol_version: 0,
            timeout_ms: 6000,
            session_id: -5,
            password: Password(Some(Bytes::from_static(b"0123456789abcdef"))),
            read_only,
        }
    }

    fn encoded(response: &ConnectResponse) -> Bytes {
        let mut out = BytesMut::new();
        response.encode(&mut out);
        out.freeze()
    }

    fn decode(frame: &Bytes) -> Result<ConnectResponse, DecodeError> {
        ConnectResponse::decode(&mut Reader::new(frame))
    }

    #[test]
    fn a_response_may_lack_the_read_only_byte_and_is_written_as_it_was_read() {
        for (read_only, size) in [(None, 36), (Some(false), 37), (Some(true), 37)] {
            let frame = encoded(&response(read_only));
            assert_eq!(frame.len(), size);
            assert_eq!(decode(&frame), Ok(response(read_only)));
        }
    }

    #[test]
    fn odd_timeouts_session_ids_and_passwords_are_data() {
        for timeout_ms in [0, -1, i32::MIN, i32::MAX] {
            for session_id in [0, -1, i64::MIN, i64::MAX] {
                for password in [None, Some(Bytes::new()), Some(vec![7; 70_000].into())] {
                    let response = ConnectResponse {
                        timeout_ms,
                        session_id,
                        password: Password(password),
                        ..response(Some(false))
                    };
                    assert_eq!(decode(&encoded(&response)), Ok(response));
                }
            }
        }
    }

    #[test]
    fn a_password_longer_than_the_frame_is_an_error() {
        let mut frame = BytesMut::from(&encoded(&response(None))[..]);
        frame[16..20].copy_from_slice(&i32::MAX.to_be_bytes());
        let error = decode(&frame.freeze()).unwrap_err();
        let kind = DecodeErrorKind::LengthBeyondFrame {
            length: 0x7fff_ffff,
            left: 16,
        };
        assert_eq!(error, DecodeError::new("ConnectResponse.passwd", 16, kind));
    }

    #[test]
    fn trailing_bytes_are_accepted_but_reported_by_finish() {
        let mut frame = BytesMut::from(&encoded(&response(Some(true)))[..]);
        frame.extend_from_slice(b"new");
        let frame = frame.freeze();
        assert_eq!(decode(&frame), Ok(response(Some(true))));
        let mut reader = Reader::new(&frame);
        ConnectResponse::decode(&mut reader).unwrap();
        let error = reader.finish().unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::TrailingBytes(3));
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", response(None));
        assert!(shown.contains("Password(16 bytes)"), "{shown}");
    }
}
