//! What becomes of each request.

use std::sync::Arc;

use bytes::Bytes;

use crate::proto::{
    Children, DecodeError, DecodeErrorKind, ErrorCode, EventType, KeeperState, OpCode, Perms,
    Reader, Reply, ReplyHeader, Request, RequestHeader, Stat, WatcherEvent, xid,
};

use super::access::Identities;
use super::connection::Attachment;
use super::core::{ConnectionId, Core};
use super::tree::{Done, NewNode, Node, Tree, Txn};

/// Who asks.
struct Client {
    connection: ConnectionId,
    session: i64,
    identities: Identities,
}

/// What a server takes an answer from that it could not make otherwise: no
/// transaction.
const NO_ZXID: i64 = -1;

impl Core {
    /// A frame from a client whose session is there.
    pub(super) fn request(&mut self, from: ConnectionId, at: Attachment, frame: &Bytes) {
        let Ok(header) = RequestHeader::decode(&mut Reader::new(frame)) else {
            return self.close(from);
        };
        let op = OpCode::from_i32(header.op);
        if op == Some(OpCode::Auth) {
            // It does not keep the session alive.
            return self.authenticate(from, header, frame);
        }
        self.sessions.touch(at.session, at.timeout_ms, self.now);
        let Some(op) = op else {
            self.refuse(from, header.xid, NO_ZXID, ErrorCode::Unimplemented);
            return self.close(from);
        };
        if is_write(op) {
            // A write that fails is a transaction as well.
            self.zxid += 1;
        }
        let outcome = match Request::decode(frame) {
            Ok((_, request)) => self.execute(from, at.session, request),
            Err(error) => Err(malformed(&error)),
        };
        let xid = if op == OpCode::Ping {
            xid::PING
        } else {
            header.xid
        };
        if self.loses_reply(op) {
            return self.close(from);
        }
        match outcome {
            Ok(reply) => {
                let header = ReplyHeader {
                    xid,
                    zxid: self.zxid,
                    error: ErrorCode::Ok,
                };
                self.reply(from, header, Some(&reply));
            }
            Err(error) => self.refuse(from, xid, self.zxid, error),
        }
        if op == OpCode::CloseSession {
            self.close(from);
        }
    }

    fn authenticate(&mut self, from: ConnectionId, header: RequestHeader, frame: &Bytes) {
        let Ok((_, Request::Auth { scheme, auth, .. })) = Request::decode(frame) else {
            return self.close(from);
        };
        let Some(connection) = self.connection(from) else {
            return;
        };
        let outcome = connection.identities.add(&scheme, auth.as_deref());
        if self.loses_reply(OpCode::Auth) {
            return self.close(from);
        }
        let error = outcome.err().unwrap_or(ErrorCode::Ok);
        self.refuse(from, header.xid, 0, error);
        if error != ErrorCode::Ok {
            self.close(from);
        }
    }

    fn refuse(&mut self, to: ConnectionId, xid: i32, zxid: i64, error: ErrorCode) {
        self.reply(to, ReplyHeader { xid, zxid, error }, None);
    }

    pub(super) fn execute(
        &mut self,
        connection: ConnectionId,
        session: i64,
        request: Request,
    ) -> Result<Reply, ErrorCode> {
        let identities = self.connection(connection).map(|it| it.identities.clone());
        let client = Client {
            connection,
            session,
            identities: identities.unwrap_or_default(),
        };
        match request {
            Request::Create {
                path,
                data,
                acl,
                mode,
            } => {
                let new = NewNode::new(&path, data.as_deref(), &acl, mode);
                let path = self.write_tree(&client, |tree, txn| tree.create(new, txn))?;
                Ok(Reply::Create { path })
            }
            Request::Create2 {
                path,
                data,
                acl,
                mode,
            } => {
                let new = NewNode::new(&path, data.as_deref(), &acl, mode);
                let path = self.write_tree(&client, |tree, txn| tree.create(new, txn))?;
                let stat = self.tree.node(&path)?.stat();
                Ok(Reply::Create2 { path, stat })
            }
            Request::Delete { path, version } => {
                self.write_tree(&client, |tree, txn| tree.delete(&path, version, txn))?;
                Ok(Reply::Delete)
            }
            Request::SetData {
                path,
                data,
                version,
            } => {
                let data = data.as_deref();
                let set = |tree: &mut Tree, txn: &Txn<'_>| tree.set_data(&path, data, version, txn);
                let stat = self.write_tree(&client, set)?;
                Ok(Reply::SetData { stat })
            }
            Request::CloseSession => {
                self.end_session(session);
                Ok(Reply::CloseSession)
            }
            request => self.read(&client, request),
        }
    }

    /// Events come before the answer.
    fn write_tree<T>(
        &mut self,
        client: &Client,
        write: impl FnOnce(&mut Tree, &Txn<'_>) -> Done<T>,
    ) -> Result<T, ErrorCode> {
        let txn = Txn {
            zxid: self.zxid,
            time_ms: self.wall_clock_ms(),
            session: client.session,
            by: &client.identities,
        };
        let (answer, triggers) = write(&mut self.tree, &txn)?;
        self.fire(&triggers);
        Ok(answer)
    }

    fn read(&mut self, client: &Client, request: Request) -> Result<Reply, ErrorCode> {
        match request {
            Request::Exists { path, watch } => {
                let stat = self.exists(client, &path, watch)?;
                Ok(Reply::Exists { stat })
            }
            Request::GetData { path, watch } => {
                let node = self.readable(client, &path)?;
                let (data, stat) = (node.data.clone(), node.stat());
                if watch {
                    self.watches.watch_data(&path, client.connection);
                }
                Ok(Reply::GetData { data, stat })
            }
            Request::GetChildren { path, watch } => {
                let (children, _) = self.children(client, &path, watch)?;
                Ok(Reply::GetChildren { children })
            }
            Request::GetChildren2 { path, watch } => {
                let (children, stat) = self.children(client, &path, watch)?;
                Ok(Reply::GetChildren2 { children, stat })
            }
            Request::SetWatches {
                relative_zxid,
                data,
                exist,
                child,
            } => {
                self.rewatch(client.connection, relative_zxid, [&data, &exist, &child]);
                Ok(Reply::SetWatches)
            }
            Request::Sync { path } => Ok(Reply::Sync { path }),
            Request::Ping => Ok(Reply::Ping),
            _ => Err(ErrorCode::Unimplemented),
        }
    }

    /// Anyone may ask, and may watch what is not there.
    fn exists(&mut self, client: &Client, path: &Arc<str>, watch: bool) -> Result<Stat, ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BadArguments);
        }
        if watch {
            self.watches.watch_data(path, client.connection);
        }
        Ok(self.tree.node(path)?.stat())
    }

    fn children(
        &mut self,
        client: &Client,
        path: &Arc<str>,
        watch: bool,
    ) -> Result<(Children, Stat), ErrorCode> {
        let node = self.readable(client, path)?;
        let children = node.children.iter().map(|name| name.as_bytes()).collect();
        let stat = node.stat();
        if watch {
            self.watches.watch_children(path, client.connection);
        }
        Ok((children, stat))
    }

    fn readable(&self, client: &Client, path: &str) -> Result<&Node, ErrorCode> {
        let node = self.tree.node(path)?;
        client.identities.may(Perms::READ, &node.acl)?;
        Ok(node)
    }

    /// Sets the watches of a former connection, unless what they wait for has
    /// happened since.
    fn rewatch(&mut self, connection: ConnectionId, since: i64, paths: [&[Arc<str>]; 3]) {
        let [data, exist, child] = paths;
        for path in data {
            match self.tree.node(path).map(|node| node.stat().mzxid > since) {
                Err(_) => self.tell_of(connection, EventType::NodeDeleted, path),
                Ok(true) => self.tell_of(connection, EventType::NodeDataChanged, path),
                Ok(false) => self.watches.watch_data(path, connection),
            }
        }
        for path in exist {
            match self.tree.node(path) {
                Ok(_) => self.tell_of(connection, EventType::NodeCreated, path),
                Err(_) => self.watches.watch_data(path, connection),
            }
        }
        for path in child {
            match self.tree.node(path).map(|node| node.stat().pzxid > since) {
                Err(_) => self.tell_of(connection, EventType::NodeDeleted, path),
                Ok(true) => self.tell_of(connection, EventType::NodeChildrenChanged, path),
                Ok(false) => self.watches.watch_children(path, connection),
            }
        }
    }

    fn tell_of(&mut self, connection: ConnectionId, kind: EventType, path: &Arc<str>) {
        let event = WatcherEvent {
            kind,
            state: KeeperState::SyncConnected,
            path: path.clone(),
        };
        self.tell(connection, &event);
    }
}

fn is_write(op: OpCode) -> bool {
    matches!(
        op,
        OpCode::Create | OpCode::Create2 | OpCode::Delete | OpCode::SetData
    )
}

/// The answer to a request that cannot be read. A server reads a list that is
/// null, and finds that it has no entries.
fn malformed(error: &DecodeError) -> ErrorCode {
    let no_list = matches!(
        error.kind,
        DecodeErrorKind::Null | DecodeErrorKind::NegativeLength(_)
    );
    match error.field {
        "CreateRequest.acl" if no_list => ErrorCode::InvalidAcl,
        _ => ErrorCode::MarshallingError,
    }
}
