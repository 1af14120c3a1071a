//! What a client sends after the handshake: ZooKeeper's `RequestHeader` and the record its opcode
//! calls for.

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{Acl, DecodeError, DecodeErrorKind, OpCode, Reader, Writer};

/// The two ints in front of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestHeader {
    /// The client's number for the request, which the reply repeats.
    pub xid: i32,
    /// The opcode, known ([`OpCode::from_i32`]) or not.
    pub op: i32,
}

impl RequestHeader {
    /// How many bytes the record takes on the wire.
    pub const SIZE: usize = 8;

    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            xid: reader.int("RequestHeader.xid")?,
            op: reader.int("RequestHeader.type")?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        writer.int(self.xid);
        writer.int(self.op);
    }
}

/// A request. Cloning one copies neither text nor data.
///
/// Paths are not checked here, because a server must be able to read bad ones; a client makes them
/// from a [`ZnodePath`](super::ZnodePath). `Debug` does not show what [`Auth`](Self::Auth) proves
/// an identity with.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Create a znode.
    Create {
        /// Its full path; in a sequential mode the server appends ten digits.
        path: Arc<str>,
        /// Its data; `None` is null, which reads back as null.
        data: Option<Bytes>,
        /// Who may do what to it; must not be empty.
        acl: Arc<[Acl]>,
        /// How long it lives, and whether it is numbered.
        mode: CreateMode,
    },
    /// As `Create`, but the reply has the `Stat` as well.
    Create2 {
        /// As in `Create`.
        path: Arc<str>,
        /// As in `Create`.
        data: Option<Bytes>,
        /// As in `Create`.
        acl: Arc<[Acl]>,
        /// As in `Create`.
        mode: CreateMode,
    },
    /// Delete a znode that has no children.
    Delete {
        /// Its full path.
        path: Arc<str>,
        /// The data version it must have; -1 for any.
        version: i32,
    },
    /// Ask for a znode's `Stat`.
    Exists {
        /// Its full path.
        path: Arc<str>,
        /// Whether to be told when it is created, changed or deleted.
        watch: bool,
    },
    /// Read a znode's data.
    GetData {
        /// Its full path.
        path: Arc<str>,
        /// Whether to be told when it is changed or deleted.
        watch: bool,
    },
    /// Replace a znode's data.
    SetData {
        /// Its full path.
        path: Arc<str>,
        /// As in `Create`.
        data: Option<Bytes>,
        /// The data version it must have; -1 for any.
        version: i32,
    },
    /// List a znode's children.
    GetChildren {
        /// Its full path.
        path: Arc<str>,
        /// Whether to be told when a child comes or goes.
        watch: bool,
    },
    /// As `GetChildren`, but the reply has the `Stat` as well.
    GetChildren2 {
        /// As in `GetChildren`.
        path: Arc<str>,
        /// As in `GetChildren`.
        watch: bool,
    },
    /// Have the server catch up with the leader before what follows.
    Sync {
        /// Any path; the reply echoes it.
        path: Arc<str>,
    },
    /// Keep the session alive. Its xid is [`xid::PING`](super::xid::PING).
    Ping,
    /// Add an identity to the connection; ZooKeeper's `AuthPacket`.
    Auth {
        /// Always 0.
        kind: i32,
        /// How the identity is established, such as `"digest"`.
        scheme: Arc<str>,
        /// What establishes it, such as `user:password`.
        auth: Option<Bytes>,
    },
    /// Set the watches of a former connection again. What happened meanwhile is told at once.
    SetWatches {
        /// The highest zxid seen on that connection.
        relative_zxid: i64,
        /// The paths watched for changes of data, which existed then.
        data: Vec<Arc<str>>,
        /// The paths watched for their creation.
        exist: Vec<Arc<str>>,
        /// The paths watched for children.
        child: Vec<Arc<str>>,
    },
    /// End the session.
    CloseSession,
}

impl Request {
    /// Reads a frame's header and the record that follows. Bytes after it are ignored, as servers
    /// do.
    ///
    /// # Errors
    /// [`DecodeErrorKind::UnknownOpcode`] for an opcode that is not in [`OpCode`]. To answer that,
    /// read the header by itself first, with [`RequestHeader::decode`].
    pub fn decode(frame: &Bytes) -> Result<(RequestHeader, Self), DecodeError> {
        Self::read(&mut Reader::new(frame))
    }

    /// As [`decode`](Self::decode), but bytes after the record are an error.
    pub fn decode_strict(frame: &Bytes) -> Result<(RequestHeader, Self), DecodeError> {
        let mut reader = Reader::new(frame);
        let request = Self::read(&mut reader)?;
        reader.finish().map(|()| request)
    }

    /// Appends header and record, without a length prefix.
    pub fn encode(&self, xid: i32, out: &mut BytesMut) {
        let op = self.opcode().as_i32();
        RequestHeader { xid, op }.encode(out);
        if let Some(path) = self.path() {
            Writer::new(out).string(path);
        }
        match self {
            Self::Create {
                data, acl, mode, ..
            }
            | Self::Create2 {
                data, acl, mode, ..
            } => {
                Writer::new(out).buffer(data.as_deref());
                Acl::encode_list(acl, out);
                Writer::new(out).int(mode.as_i32());
            }
            Self::Delete { version, .. } => Writer::new(out).int(*version),
            Self::SetData { data, version, .. } => {
                let mut writer = Writer::new(out);
                writer.buffer(data.as_deref());
                writer.int(*version);
            }
            Self::Exists { watch, .. }
            | Self::GetData { watch, .. }
            | Self::GetChildren { watch, .. }
            | Self::GetChildren2 { watch, .. } => Writer::new(out).bool(*watch),
            Self::Auth { kind, scheme, auth } => {
                let mut writer = Writer::new(out);
                writer.int(*kind);
                writer.string(scheme);
                writer.buffer(auth.as_deref());
            }
            Self::SetWatches {
                relative_zxid,
                data,
                exist,
                child,
            } => {
                let mut writer = Writer::new(out);
                writer.long(*relative_zxid);
                for paths in [data, exist, child] {
                    write_paths(&mut writer, paths);
                }
            }
            Self::Sync { .. } | Self::Ping | Self::CloseSession => {}
        }
    }

    /// The operation this asks for.
    pub fn opcode(&self) -> OpCode {
        match self {
            Self::Create { .. } => OpCode::Create,
            Self::Create2 { .. } => OpCode::Create2,
            Self::Delete { .. } => OpCode::Delete,
            Self::Exists { .. } => OpCode::Exists,
            Self::GetData { .. } => OpCode::GetData,
            Self::SetData { .. } => OpCode::SetData,
            Self::GetChildren { .. } => OpCode::GetChildren,
            Self::GetChildren2 { .. } => OpCode::GetChildren2,
            Self::Sync { .. } => OpCode::Sync,
            Self::Ping => OpCode::Ping,
            Self::Auth { .. } => OpCode::Auth,
            Self::SetWatches { .. } => OpCode::SetWatches,
            Self::CloseSession => OpCode::CloseSession,
        }
    }

    /// The znode this is about; `None` for [`Ping`](Self::Ping), [`Auth`](Self::Auth),
    /// [`SetWatches`](Self::SetWatches) and [`CloseSession`](Self::CloseSession).
    pub fn path(&self) -> Option<&Arc<str>> {
        match self {
            Self::Create { path, .. }
            | Self::Create2 { path, .. }
            | Self::Delete { path, .. }
            | Self::Exists { path, .. }
            | Self::GetData { path, .. }
            | Self::SetData { path, .. }
            | Self::GetChildren { path, .. }
            | Self::GetChildren2 { path, .. }
            | Self::Sync { path } => Some(path),
            Self::Ping | Self::Auth { .. } | Self::SetWatches { .. } | Self::CloseSession => None,
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<(RequestHeader, Self), DecodeError> {
        let start = reader.offset();
        let header = RequestHeader::decode(reader)?;
        let Some(op) = OpCode::from_i32(header.op) else {
            let kind = DecodeErrorKind::UnknownOpcode(header.op);
            return Err(DecodeError::new(
                "RequestHeader.type",
                start.saturating_add(4),
                kind,
            ));
        };
        Ok((header, Self::read_record(op, reader)?))
    }

    fn read_record(op: OpCode, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match op {
            OpCode::Create => {
                let (path, data, acl, mode) = read_create(reader)?;
                Self::Create {
                    path,
                    data,
                    acl,
                    mode,
                }
            }
            OpCode::Create2 => {
                let (path, data, acl, mode) = read_create(reader)?;
                Self::Create2 {
                    path,
                    data,
                    acl,
                    mode,
                }
            }
            OpCode::Delete => Self::Delete {
                path: reader.string("DeleteRequest.path")?,
                version: reader.int("DeleteRequest.version")?,
            },
            OpCode::Exists => Self::Exists {
                path: reader.string("ExistsRequest.path")?,
                watch: reader.bool("ExistsRequest.watch")?,
            },
            OpCode::GetData => Self::GetData {
                path: reader.string("GetDataRequest.path")?,
                watch: reader.bool("GetDataRequest.watch")?,
            },
            OpCode::SetData => Self::SetData {
                path: reader.string("SetDataRequest.path")?,
                data: reader.buffer("SetDataRequest.data")?,
                version: reader.int("SetDataRequest.version")?,
            },
            OpCode::GetChildren => Self::GetChildren {
                path: reader.string("GetChildrenRequest.path")?,
                watch: reader.bool("GetChildrenRequest.watch")?,
            },
            OpCode::GetChildren2 => Self::GetChildren2 {
                path: reader.string("GetChildren2Request.path")?,
                watch: reader.bool("GetChildren2Request.watch")?,
            },
            OpCode::Sync => Self::Sync {
                path: reader.string("SyncRequest.path")?,
            },
            OpCode::Ping => Self::Ping,
            OpCode::Auth => Self::Auth {
                kind: reader.int("AuthPacket.type")?,
                scheme: reader.string("AuthPacket.scheme")?,
                auth: reader.buffer("AuthPacket.auth")?,
            },
            OpCode::SetWatches => read_set_watches(reader)?,
            OpCode::CloseSession => Self::CloseSession,
        })
    }
}

type CreateFields = (Arc<str>, Option<Bytes>, Arc<[Acl]>, CreateMode);

fn read_create(reader: &mut Reader<'_>) -> Result<CreateFields, DecodeError> {
    Ok((
        reader.string("CreateRequest.path")?,
        reader.buffer("CreateRequest.data")?,
        Acl::decode_list(reader, "CreateRequest.acl")?,
        CreateMode::from_i32(reader.int("CreateRequest.flags")?),
    ))
}

fn read_set_watches(reader: &mut Reader<'_>) -> Result<Request, DecodeError> {
    Ok(Request::SetWatches {
        relative_zxid: reader.long("SetWatches.relativeZxid")?,
        data: read_paths(reader, "SetWatches.dataWatches")?,
        exist: read_paths(reader, "SetWatches.existWatches")?,
        child: read_paths(reader, "SetWatches.childWatches")?,
    })
}

/// The least a path takes on the wire, in bytes: its length.
const MIN_PATH_SIZE: usize = 4;

fn read_paths(reader: &mut Reader<'_>, field: &'static str) -> Result<Vec<Arc<str>>, DecodeError> {
    let count = reader.count(field, MIN_PATH_SIZE)?;
    let mut paths = Vec::with_capacity(count);
    for _ in 0..count {
        paths.push(reader.string(field)?);
    }
    Ok(paths)
}

fn write_paths(writer: &mut Writer<'_>, paths: &[Arc<str>]) {
    writer.count(paths.len());
    for path in paths {
        writer.string(path);
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct(self.opcode().name());
        if let Some(path) = self.path() {
            shown.field("path", path);
        }
        match self {
            Self::Create {
                data, acl, mode, ..
            }
            | Self::Create2 {
                data, acl, mode, ..
            } => shown
                .field("data", data)
                .field("acl", acl)
                .field("mode", mode),
            Self::Delete { version, .. } => shown.field("version", version),
            Self::SetData { data, version, .. } => {
                shown.field("data", data).field("version", version)
            }
            Self::Exists { watch, .. }
            | Self::GetData { watch, .. }
            | Self::GetChildren { watch, .. }
            | Self::GetChildren2 { watch, .. } => shown.field("watch", watch),
            Self::Auth { kind, scheme, .. } => shown
                .field("kind", kind)
                .field("scheme", scheme)
                .field("auth", &format_args!("<hidden>")),
            Self::SetWatches {
                relative_zxid,
                data,
                exist,
                child,
            } => shown
                .field("relative_zxid", relative_zxid)
                .field("data", data)
                .field("exist", exist)
                .field("child", child),
            Self::Sync { .. } | Self::Ping | Self::CloseSession => &mut shown,
        }
        .finish()
    }
}

open_enum! {
    /// How long a created znode lives and whether its name is numbered, from ZooKeeper's
    /// `CreateMode`.
    pub enum CreateMode {
        /// Lives until it is deleted.
        Persistent = 0,
        /// Is deleted when the session that created it ends.
        Ephemeral = 1,
        /// As `Persistent`, with the parent's counter appended to its name.
        PersistentSequential = 2,
        /// As `Ephemeral`, with the parent's counter appended to its name.
        EphemeralSequential = 3,
    }
}

#[cfg(test)]
mod tests;
