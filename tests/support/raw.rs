//! A minimal blocking ZooKeeper client with hand-written frames.
//!
//! Tests look at the server's tree with it, so it shares no code with the
//! library under test. It sets no watches, so watch counts are left alone. It
//! sends no pings unless asked: its session ends when it has not been used for
//! the session timeout.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const GET_CHILDREN: i32 = 8;
const PING: i32 = 11;
const CLOSE_SESSION: i32 = -11;

/// The error code for a node that is not there.
pub(crate) const NO_NODE: i32 = -101;
/// The error code for a node that is there already.
pub(crate) const NODE_EXISTS: i32 = -110;
/// The error code for deleting a node that has children.
pub(crate) const NOT_EMPTY: i32 = -111;

/// Creation flags: a node that stays.
pub(crate) const PERSISTENT: i32 = 0;
/// Creation flags: a node that goes with its session.
pub(crate) const EPHEMERAL: i32 = 1;
/// Creation flags: both ephemeral and numbered by the server.
pub(crate) const EPHEMERAL_SEQUENTIAL: i32 = 3;

/// Any version of a node.
const ANY_VERSION: i32 = -1;
/// The largest reply accepted, against reading nonsense as a length.
const LARGEST_FRAME: usize = 64 * 1024 * 1024;

/// One session on one connection. Methods panic when the connection fails or
/// nothing is answered for ten seconds; the server's error codes are returned.
pub(crate) struct RawClient {
    stream: TcpStream,
    last_xid: i32,
    session_id: i64,
    session_timeout: Duration,
    closes_session: bool,
}

impl RawClient {
    /// Opens a session with a timeout of 20 s.
    pub(crate) fn connect(address: &str) -> Self {
        Self::connect_with_timeout(address, Duration::from_secs(20))
    }

    /// Opens a session, asking for this timeout.
    pub(crate) fn connect_with_timeout(address: &str, timeout: Duration) -> Self {
        let stream = TcpStream::connect(address)
            .unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        stream.set_nodelay(true).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut client = Self {
            stream,
            last_xid: 0,
            session_id: 0,
            session_timeout: Duration::ZERO,
            closes_session: true,
        };
        client.shake_hands(timeout);
        client
    }

    /// The session's id, as in the `ephemeralOwner` of what it creates.
    pub(crate) fn session_id(&self) -> i64 {
        self.session_id
    }

    /// The session timeout that the server granted.
    pub(crate) fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    /// The names of a node's children in order, or `None` if it is not there.
    pub(crate) fn children(&mut self, path: &str) -> Option<Vec<String>> {
        let body = Body::default().string(path).boolean(false);
        let mut reply = match self.request(GET_CHILDREN, body) {
            Ok(reply) => reply,
            Err(NO_NODE) => return None,
            Err(code) => panic!("getChildren {path}: error {code}"),
        };
        let count = reply.int();
        let mut names: Vec<String> = (0..count).map(|_| reply.string()).collect();
        names.sort();
        Some(names)
    }

    /// Creates a node that everyone may do anything with. Returns its path,
    /// which for a sequential node ends with its number.
    pub(crate) fn create(&mut self, path: &str, data: &[u8], flags: i32) -> Result<String, i32> {
        let all_permissions = 31;
        self.create_with(path, data, all_permissions, flags)
    }

    /// As [`create`](Self::create), with these permissions for everyone.
    pub(crate) fn create_with(
        &mut self,
        path: &str,
        data: &[u8],
        permissions: i32,
        flags: i32,
    ) -> Result<String, i32> {
        let body = Body::default()
            .string(path)
            .buffer(data)
            .int(1)
            .int(permissions)
            .string("world")
            .string("anyone")
            .int(flags);
        Ok(self.request(CREATE, body)?.string())
    }

    /// Creates a persistent node and those above it, as far as missing.
    pub(crate) fn create_all(&mut self, path: &str) {
        let ends = path.match_indices('/').map(|(index, _)| index);
        for end in ends.skip(1).chain([path.len()]) {
            match self.create(&path[..end], b"", PERSISTENT) {
                Ok(_) | Err(NODE_EXISTS) => {}
                Err(code) => panic!("create {}: error {code}", &path[..end]),
            }
        }
    }

    /// Deletes a node, whatever its version.
    pub(crate) fn delete(&mut self, path: &str) -> Result<(), i32> {
        let body = Body::default().string(path).int(ANY_VERSION);
        self.request(DELETE, body).map(drop)
    }

    /// Replaces a node's data, whatever its version.
    pub(crate) fn set_data(&mut self, path: &str, data: &[u8]) -> Result<(), i32> {
        let body = Body::default().string(path).buffer(data).int(ANY_VERSION);
        self.request(SET_DATA, body).map(drop)
    }

    /// A node's data, its czxid and its `ephemeralOwner` (0 if persistent).
    pub(crate) fn get_data(&mut self, path: &str) -> Result<(Vec<u8>, i64, i64), i32> {
        let body = Body::default().string(path).boolean(false);
        let mut reply = self.request(GET_DATA, body)?;
        let data = reply.buffer();
        let czxid = reply.long();
        // mzxid, ctime, mtime, then three versions.
        reply.take(3 * 8 + 3 * 4);
        let ephemeral_owner = reply.long();
        Ok((data, czxid, ephemeral_owner))
    }

    /// Keeps the session alive.
    pub(crate) fn ping(&mut self) {
        let answer = self.request_with_xid(-2, PING, Body::default());
        assert!(answer.is_ok(), "ping: an error");
    }

    /// Drops the connection but not the session, as a crash would: it and its
    /// ephemeral nodes stay until the server lets it expire.
    pub(crate) fn abandon(mut self) {
        self.closes_session = false;
    }

    fn shake_hands(&mut self, timeout: Duration) {
        let protocol_version = 0;
        let last_zxid_seen = 0;
        let milliseconds = i32::try_from(timeout.as_millis()).expect("a timeout below 24 days");
        let request = Body::default()
            .int(protocol_version)
            .long(last_zxid_seen)
            .int(milliseconds)
            .long(self.session_id)
            .buffer(&[0; 16])
            .boolean(false);
        self.send(&request.0).expect("send the connect request");
        let mut response = self.receive().expect("receive the connect response");
        response.int();
        let granted = response.int();
        assert!(granted > 0, "the server refused the session");
        self.session_timeout = Duration::from_millis(granted.unsigned_abs().into());
        self.session_id = response.long();
    }

    fn request(&mut self, opcode: i32, body: Body) -> Result<Reply, i32> {
        self.last_xid += 1;
        self.request_with_xid(self.last_xid, opcode, body)
    }

    fn request_with_xid(&mut self, xid: i32, opcode: i32, body: Body) -> Result<Reply, i32> {
        let frame = [Body::default().int(xid).int(opcode).0, body.0].concat();
        let answer = self.send(&frame).and_then(|()| self.receive());
        let mut reply =
            answer.unwrap_or_else(|error| panic!("raw client, opcode {opcode}: {error}"));
        assert_eq!(reply.int(), xid, "a reply to another request");
        let _zxid = reply.long();
        match reply.int() {
            0 => Ok(reply),
            code => Err(code),
        }
    }

    fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.stream.write_all(&Body::default().buffer(payload).0)
    }

    fn receive(&mut self) -> io::Result<Reply> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        assert!(length <= LARGEST_FRAME, "a frame of {length} bytes");
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(Reply {
            payload,
            position: 0,
        })
    }
}

impl Drop for RawClient {
    /// Closes the session and waits for the answer, so that its ephemeral
    /// nodes are gone afterwards. Never panics.
    fn drop(&mut self) {
        if self.closes_session {
            let request = Body::default().int(self.last_xid + 1).int(CLOSE_SESSION);
            let _ = self.send(&request.0).and_then(|()| self.receive());
        }
    }
}

/// The bytes of a request, written field by field.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn boolean(mut self, value: bool) -> Self {
        self.0.push(value.into());
        self
    }

    fn int(mut self, value: i32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn long(mut self, value: i64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn buffer(self, bytes: &[u8]) -> Self {
        let mut body = self.int(i32::try_from(bytes.len()).expect("a short buffer"));
        body.0.extend(bytes);
        body
    }

    fn string(self, text: &str) -> Self {
        self.buffer(text.as_bytes())
    }
}

/// The bytes of an answer, read field by field.
struct Reply {
    payload: Vec<u8>,
    position: usize,
}

impl Reply {
    fn take(&mut self, count: usize) -> &[u8] {
        let start = self.position;
        self.position += count;
        &self.payload[start..self.position]
    }

    fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn long(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    /// A null buffer, of length -1, reads as an empty one.
    fn buffer(&mut self) -> Vec<u8> {
        let length = self.int().max(0);
        self.take(length as usize).to_vec()
    }

    fn string(&mut self) -> String {
        String::from_utf8(self.buffer()).expect("a name in UTF-8")
    }
}
