//! The wire layer: bytes to values and back, both as a client and as a server needs it.
//!
//! Nothing in here does input or output, keeps a clock or knows about sessions. The pieces, from
//! the socket upwards:
//!
//! | file | what it is for |
//! | --- | --- |
//! | `frame` | the 4-byte length prefix around everything: [`FrameReader`], [`write_frame`] |
//! | `jute` | ZooKeeper's primitive encoding: [`Reader`], [`Writer`] |
//! | `decode_error` | what is wrong with bytes, and where: [`DecodeError`] |
//! | `handshake` | [`ConnectRequest`] and [`ConnectResponse`], the first frame each way |
//! | `request` | [`RequestHeader`] and [`Request`], what a client sends afterwards |
//! | `reply` | [`ReplyHeader`] and [`Reply`], what a server answers |
//! | `event` | [`WatcherEvent`], what a server says unasked |
//! | `opcode`, `error_code`, `path`, `acl`, `stat` | the values inside those records |
//!
//! Three promises hold for every decoder, whatever the bytes:
//!
//! - It never panics: what does not decode is a [`DecodeError`] naming the field and its place.
//! - Lengths and counts are checked against the bytes that are there before anything is allocated.
//!   What a decoder allocates is at most 4 times the frame plus 4 KiB; only a request's ACL and
//!   the paths of `setWatches`, which may be small on the wire, may take 10 times their bytes.
//! - Values this crate does not know (error codes, event types, create modes) are data, not
//!   failures.
//!
//! Bytes behind a record are ignored, because newer servers append fields. [`Reader::finish`] and
//! [`Request::decode_strict`] report them, for fuzzing.
//!
//! A client's way from a frame to a value:
//!
//! ```
//! use bytes::BytesMut;
//! use zklock::proto::*;
//!
//! let mut socket = BytesMut::new();
//! write_frame(&mut socket, |out| {
//!     ReplyHeader { xid: 7, zxid: 42, error: ErrorCode::Ok }.encode(out);
//!     Reply::Sync { path: "/locks".into() }.encode(out);
//! })?;
//!
//! let frame = FrameReader::default().read(&mut socket)?.expect("a whole frame");
//! let mut reader = Reader::new(&frame);
//! let header = ReplyHeader::decode(&mut reader)?;
//! assert_eq!((header.xid, header.error), (7, ErrorCode::Ok));
//! // The header does not say what was asked: the xid leads to the request, and so to the opcode.
//! assert_eq!(Reply::decode(OpCode::Sync, &mut reader)?, Reply::Sync { path: "/locks".into() });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_possible_wrap
    )
)]

#[macro_use]
mod open_enum;

mod acl;
mod decode_error;
mod error_code;
mod event;
mod frame;
mod handshake;
mod jute;
mod opcode;
mod path;
mod reply;
mod request;
mod stat;

pub use acl::{Acl, Perms};
pub use decode_error::{DecodeError, DecodeErrorKind};
pub use error_code::ErrorCode;
pub use event::{EventType, KeeperState, WatcherEvent};
pub use frame::{
    DEFAULT_MAX_FRAME, FrameError, FrameReader, FrameStart, begin_frame, end_frame, write_frame,
};
pub use handshake::{ConnectRequest, ConnectResponse, Password};
pub use jute::{Reader, Writer};
pub use opcode::{OpCode, xid};
pub use path::{PathError, PathErrorKind, ZnodePath};
pub use reply::{Children, ChildrenIter, Reply, ReplyHeader};
pub use request::{CreateMode, Request, RequestHeader};
pub use stat::Stat;
