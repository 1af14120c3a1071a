//! What a server answers: ZooKeeper's `ReplyHeader` and the record that the request's opcode calls
//! for.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{DecodeError, ErrorCode, OpCode, Reader, Stat, Writer};

/// What every frame of a server starts with, after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplyHeader {
    /// The request's number, or one of those in [`xid`](super::xid).
    pub xid: i32,
    /// The last transaction the server has applied; for a write, that write. Replies that are made
    /// without executing anything have 0 or -1.
    pub zxid: i64,
    /// How it went. Unless [`ErrorCode::Ok`], take no record to follow, whatever bytes do.
    pub error: ErrorCode,
}

impl ReplyHeader {
    /// How many bytes the record takes on the wire.
    pub const SIZE: usize = 16;

    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            xid: reader.int("ReplyHeader.xid")?,
            zxid: reader.long("ReplyHeader.zxid")?,
            error: ErrorCode::from_i32(reader.int("ReplyHeader.err")?),
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        writer.int(self.xid);
        writer.long(self.zxid);
        writer.int(self.error.as_i32());
    }
}

/// The record behind a [`ReplyHeader`] without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// To `create`.
    Create {
        /// The path of the new znode, with the number that a sequential mode appended.
        path: Arc<str>,
    },
    /// To `create2`.
    Create2 {
        /// As in `Create`.
        path: Arc<str>,
        /// The new znode's metadata.
        stat: Stat,
    },
    /// To `delete`.
    Delete,
    /// To `exists`.
    Exists {
        /// The znode's metadata.
        stat: Stat,
    },
    /// To `getData`.
    GetData {
        /// Its data, a slice of the frame; `None` is null.
        data: Option<Bytes>,
        /// Its metadata.
        stat: Stat,
    },
    /// To `setData`.
    SetData {
        /// The znode's metadata, with the new version.
        stat: Stat,
    },
    /// To `getChildren`.
    GetChildren {
        /// The names of the znode's children.
        children: Children,
    },
    /// To `getChildren2`.
    GetChildren2 {
        /// The names of the znode's children.
        children: Children,
        /// The metadata of the znode itself.
        stat: Stat,
    },
    /// To `sync`.
    Sync {
        /// The path of the request.
        path: Arc<str>,
    },
    /// To `ping`.
    Ping,
    /// To `auth`.
    Auth,
    /// To `setWatches`.
    SetWatches,
    /// To `closeSession`.
    CloseSession,
}

impl Reply {
    /// Reads the record for a request of the operation `op`. Bytes after it are ignored: newer
    /// servers may append fields. For the strict reading, call [`Reader::finish`] afterwards.
    pub fn decode(op: OpCode, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create => Self::Create {
                path: reader.string("CreateReply.path")?,
            },
            OpCode::Create2 => Self::Create2 {
                path: reader.string("Create2Reply.path")?,
                stat: Stat::decode(reader)?,
            },
            OpCode::Delete => Self::Delete,
            OpCode::Exists => Self::Exists {
                stat: Stat::decode(reader)?,
            },
            OpCode::GetData => Self::GetData {
                data: reader.buffer("GetDataReply.data")?,
                stat: Stat::decode(reader)?,
            },
            OpCode::SetData => Self::SetData {
                stat: Stat::decode(reader)?,
            },
            OpCode::GetChildren => Self::GetChildren {
                children: Children::decode(reader, "GetChildrenReply.children")?,
            },
            OpCode::GetChildren2 => Self::GetChildren2 {
                children: Children::decode(reader, "GetChildren2Reply.children")?,
                stat: Stat::decode(reader)?,
            },
            OpCode::Sync => Self::Sync {
                path: reader.string("SyncReply.path")?,
            },
            OpCode::Ping => Self::Ping,
            OpCode::Auth => Self::Auth,
            OpCode::SetWatches => Self::SetWatches,
            OpCode::CloseSession => Self::CloseSession,
        })
    }

    /// Appends the record, without a [`ReplyHeader`].
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Create { path } | Self::Sync { path } => Writer::new(out).string(path),
            Self::Create2 { path, stat } => {
                Writer::new(out).string(path);
                stat.encode(out);
            }
            Self::Exists { stat } | Self::SetData { stat } => stat.encode(out),
            Self::GetData { data, stat } => {
                Writer::new(out).buffer(data.as_deref());
                stat.encode(out);
            }
            Self::GetChildren { children } => children.encode(out),
            Self::GetChildren2 { children, stat } => {
                children.encode(out);
                stat.encode(out);
            }
            Self::Delete | Self::Ping | Self::Auth | Self::SetWatches | Self::CloseSession => {}
        }
    }

    /// The operation this answers.
    pub fn opcode(&self) -> OpCode {
        match self {
            Self::Create { .. } => OpCode::Create,
            Self::Create2 { .. } => OpCode::Create2,
            Self::Delete => OpCode::Delete,
            Self::Exists { .. } => OpCode::Exists,
            Self::GetData { .. } => OpCode::GetData,
            Self::SetData { .. } => OpCode::SetData,
            Self::GetChildren { .. } => OpCode::GetChildren,
            Self::GetChildren2 { .. } => OpCode::GetChildren2,
            Self::Sync { .. } => OpCode::Sync,
            Self::Ping => OpCode::Ping,
            Self::Auth => OpCode::Auth,
            Self::SetWatches => OpCode::SetWatches,
            Self::CloseSession => OpCode::CloseSession,
        }
    }
}

/// The names of a znode's children, in no particular order.
///
/// It is the part of the frame that lists them, checked once and never copied, however many there
/// are. Names are bytes, because some other client's odd name must not spoil the listing.
///
/// ```
/// # use zklock::proto::Children;
/// let children: Children = ["lock-0000000002", "lock-0000000001"].into_iter().collect();
/// assert_eq!(children.len(), 2);
/// assert_eq!(children.iter().min(), Some(&b"lock-0000000001"[..]));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Children {
    /// `count` times a length, which is not negative, and as many bytes.
    names: Bytes,
    count: usize,
}

impl Children {
    /// The least a name takes on the wire, in bytes: its length.
    const MIN_SIZE: usize = 4;

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The names, without their parent's path.
    pub fn iter(&self) -> ChildrenIter<'_> {
        ChildrenIter {
            rest: &self.names,
            left: self.count,
        }
    }

    fn decode(reader: &mut Reader<'_>, field: &'static str) -> Result<Self, DecodeError> {
        let count = reader.count(field, Self::MIN_SIZE)?;
        let start = reader.offset();
        for _ in 0..count {
            reader.required(field)?;
        }
        let names = reader.between(start, reader.offset());
        Ok(Self { names, count })
    }

    fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        writer.count(self.count);
        writer.raw(&self.names);
    }
}

impl<A: AsRef<[u8]>> FromIterator<A> for Children {
    fn from_iter<I: IntoIterator<Item = A>>(names: I) -> Self {
        let mut out = BytesMut::new();
        let mut count: usize = 0;
        for name in names {
            Writer::new(&mut out).buffer(Some(name.as_ref()));
            count = count.saturating_add(1);
        }
        Self {
            names: out.freeze(),
            count,
        }
    }
}

impl<'a> IntoIterator for &'a Children {
    type Item = &'a [u8];
    type IntoIter = ChildrenIter<'a>;

    fn into_iter(self) -> ChildrenIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Children {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(String::from_utf8_lossy))
            .finish()
    }
}

/// The names in [`Children`]; see [`Children::iter`].
#[derive(Clone, Debug)]
pub struct ChildrenIter<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for ChildrenIter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let (name, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        self.left = self.left.saturating_sub(1);
        Some(name)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for ChildrenIter<'_> {}

impl std::iter::FusedIterator for ChildrenIter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DecodeErrorKind;

    fn decode(op: OpCode, bytes: &'static [u8]) -> Result<Reply, DecodeError> {
        Reply::decode(op, &mut Reader::new(&Bytes::from_static(bytes)))
    }

    #[test]
    fn a_name_that_is_not_utf8_does_not_spoil_a_listing() {
        let bytes = b"\0\0\0\x03\0\0\0\x01a\0\0\0\x02\xff\xfe\0\0\0\0";
        let Reply::GetChildren { children } = decode(OpCode::GetChildren, bytes).unwrap() else {
            panic!("another reply");
        };
        assert_eq!(children.iter().len(), 3);
        assert_eq!(
            children.iter().collect::<Vec<_>>(),
            [&b"a"[..], b"\xff\xfe", b""]
        );
        assert_eq!(
            format!("{children:?}"),
            "[\"a\", \"\u{fffd}\u{fffd}\", \"\"]"
        );
    }

    #[test]
    fn a_null_name_and_a_null_listing_are_errors() {
        for bytes in [&b"\0\0\0\x01\xff\xff\xff\xff"[..], b"\xff\xff\xff\xff"] {
            let error = decode(OpCode::GetChildren, bytes).unwrap_err();
            assert_eq!(error.kind, DecodeErrorKind::Null);
        }
    }

    #[test]
    fn a_count_beyond_the_frame_or_below_minus_one_is_an_error() {
        let kind = |bytes| decode(OpCode::GetChildren, bytes).unwrap_err().kind;
        let beyond = DecodeErrorKind::CountBeyondFrame {
            count: 0x7fff_ffff,
            left: 4,
        };
        assert_eq!(kind(b"\x7f\xff\xff\xff\0\0\0\0"), beyond);
        assert_eq!(
            kind(b"\xff\xff\xff\xfe\0\0\0\0"),
            DecodeErrorKind::NegativeLength(-2)
        );
    }

    #[test]
    fn a_listing_shares_the_frame() {
        let frame = Bytes::from(b"\0\0\0\x01\0\0\0\x01a".to_vec());
        let mut reader = Reader::new(&frame);
        let Ok(Reply::GetChildren { children }) = Reply::decode(OpCode::GetChildren, &mut reader)
        else {
            panic!("another reply");
        };
        assert_eq!(children.names.as_ptr(), frame[4..].as_ptr());
    }

    #[test]
    fn an_empty_body_never_decodes_as_an_empty_answer() {
        for op in [
            OpCode::Create,
            OpCode::Create2,
            OpCode::Exists,
            OpCode::GetData,
            OpCode::SetData,
            OpCode::GetChildren,
            OpCode::GetChildren2,
            OpCode::Sync,
        ] {
            assert!(decode(op, b"").is_err(), "{op}");
        }
    }

    #[test]
    fn trailing_bytes_are_accepted_but_reported_by_finish() {
        let frame = Bytes::from_static(b"\0\0\0\x01/new");
        let reply = Reply::Sync { path: "/".into() };
        assert_eq!(
            Reply::decode(OpCode::Sync, &mut Reader::new(&frame)),
            Ok(reply)
        );
        let mut reader = Reader::new(&frame);
        Reply::decode(OpCode::Sync, &mut reader).unwrap();
        let error = reader.finish().unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::TrailingBytes(3));
    }

    #[test]
    fn null_data_and_empty_data_differ() {
        for data in [None, Some(Bytes::new())] {
            let reply = Reply::GetData {
                data,
                stat: Stat::default(),
            };
            let mut out = BytesMut::new();
            reply.encode(&mut out);
            let frame = out.freeze();
            assert_eq!(
                Reply::decode(OpCode::GetData, &mut Reader::new(&frame)),
                Ok(reply)
            );
        }
    }
}
