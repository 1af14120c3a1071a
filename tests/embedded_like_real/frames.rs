//! Frames to send, and what of the answers is compared.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use zklock::proto::{
    ConnectRequest, ErrorCode, OpCode, Password, Reader, Reply, ReplyHeader, Request, Stat,
    WatcherEvent, write_frame, xid,
};

/// A payload with its length prefix.
pub(crate) fn framed(payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    write_frame(&mut out, |out| out.extend_from_slice(payload)).unwrap();
    out.freeze()
}

/// A request without its length prefix.
pub(crate) fn payload(request: &Request, xid: i32) -> Bytes {
    let mut out = BytesMut::new();
    request.encode(xid, &mut out);
    out.freeze()
}

/// A client's first frame, without its length prefix.
pub(crate) fn handshake(
    session: i64,
    password: &[u8],
    timeout_ms: i32,
    last_zxid_seen: i64,
    read_only: Option<bool>,
) -> Bytes {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen,
        timeout_ms,
        session_id: session,
        password: Password(Some(Bytes::copy_from_slice(password))),
        read_only,
    };
    let mut out = BytesMut::new();
    request.encode(&mut out);
    out.freeze()
}

pub(crate) fn is_event(frame: &Bytes) -> bool {
    header(frame).is_some_and(|header| header.xid == xid::WATCH_EVENT)
}

pub(crate) fn header(frame: &Bytes) -> Option<ReplyHeader> {
    ReplyHeader::decode(&mut Reader::new(frame)).ok()
}

/// The reply behind a header without an error.
pub(crate) fn reply(op: OpCode, frame: &Bytes) -> Option<Reply> {
    let mut reader = Reader::new(frame);
    let header = ReplyHeader::decode(&mut reader).ok()?;
    (header.error == ErrorCode::Ok).then(|| Reply::decode(op, &mut reader).expect("a reply"))
}

/// A frame as people read it. `op` is what it answers.
pub(crate) fn show(op: Option<OpCode>, frame: &Bytes) -> String {
    let Some(header) = header(frame) else {
        return format!("{frame:?}");
    };
    let mut reader = Reader::new(frame);
    let _ = ReplyHeader::decode(&mut reader);
    if header.xid == xid::WATCH_EVENT {
        return format!("{:?}", WatcherEvent::decode(&mut reader));
    }
    match op {
        Some(op) if header.error == ErrorCode::Ok => {
            format!("{header:?} {:?}", Reply::decode(op, &mut reader))
        }
        _ => format!("{header:?}"),
    }
}

/// What a server says about time: each transaction has one, and a later one has
/// none that is earlier.
#[derive(Default)]
pub(crate) struct Times(BTreeMap<i64, i64>);

impl Times {
    /// Takes the two times out of a reply's `Stat`, and checks that they are
    /// those of the transactions that they belong to.
    pub(crate) fn take_out(&mut self, op: OpCode, frame: &Bytes) -> Result<Bytes, String> {
        let stat = match reply(op, frame) {
            Some(
                Reply::Create2 { stat, .. }
                | Reply::Exists { stat }
                | Reply::GetData { stat, .. }
                | Reply::SetData { stat }
                | Reply::GetChildren2 { stat, .. },
            ) => stat,
            _ => return Ok(frame.clone()),
        };
        for (zxid, time) in [(stat.czxid, stat.ctime_ms), (stat.mzxid, stat.mtime_ms)] {
            let earlier = self.0.range(..=zxid).next_back();
            let later = self.0.range(zxid..).next();
            if earlier.is_some_and(|(_, earlier)| *earlier > time)
                || later.is_some_and(|(_, later)| *later < time)
            {
                return Err(format!("{time} at {zxid}, but {earlier:?} and {later:?}"));
            }
            self.0.insert(zxid, time);
        }
        let mut rest = frame.to_vec();
        let start = rest.len() - Stat::SIZE;
        rest[start + 16..start + 32].fill(0);
        Ok(rest.into())
    }
}
