//! A random sequence of operations by several sessions, and the tidying up
//! afterwards.

use std::sync::Arc;

use bytes::Bytes;
use zklock::proto::{ConnectResponse, OpCode, Reply, Request};

use crate::frames::{framed, handshake, header, payload, reply};
use crate::pair::{Answer, Burst, Pair, TIMEOUT_MS};
use crate::requests::{ALICE, BOB, Maker};

/// Sessions at one time.
const MOST_CLIENTS: usize = 4;

/// A session.
struct Client {
    id: i64,
    password: Bytes,
    /// Its last connection, which may be closed.
    connection: usize,
    xid: i32,
}

/// One sequence, from an empty tree to an empty tree.
pub(crate) struct Story<'a> {
    pair: &'a mut Pair,
    make: Maker,
    clients: Vec<Client>,
    /// Requests so far.
    done: usize,
}

impl<'a> Story<'a> {
    pub(crate) fn new(pair: &'a mut Pair, seed: u64) -> Self {
        pair.forget_log();
        Self {
            pair,
            make: Maker::new(seed),
            clients: Vec::new(),
            done: 0,
        }
    }

    /// Does so many operations, and tidies up.
    pub(crate) fn tell(mut self, operations: usize) {
        self.begin_session();
        let base = self.make.base();
        self.ask(0, &base);
        self.done = 0;
        while self.done < operations {
            self.step();
        }
        while let Some(client) = self.clients.pop() {
            self.finish(client);
        }
    }

    fn step(&mut self) {
        if self.clients.is_empty() {
            return self.begin_session();
        }
        let who = self.make.rng.below(self.clients.len());
        if !self.pair.is_live(self.clients[who].connection) {
            return self.attach(who);
        }
        match self.make.rng.below(100) {
            0..74 => return self.requests(who),
            74..79 if self.clients.len() < MOST_CLIENTS => self.begin_session(),
            79..83 => self.authenticate(who),
            83..87 => self.pair.hang_up(self.clients[who].connection),
            87..89 => self.attach(who),
            89..92 => {
                let client = self.clients.remove(who);
                self.finish(client);
            }
            92..95 => self.strange_handshake(who),
            95..97 => self.unreadable(who),
            97..99 => self.fatal(who),
            _ => self.pair.fence(),
        }
        self.done += 1;
    }

    fn begin_session(&mut self) {
        let read_only = self.make.rng.pick(&[None, Some(false), Some(true)]);
        let request = handshake(0, &[0; 16], TIMEOUT_MS, 0, read_only);
        let connection = self.pair.connect();
        let response = self.pair.shake_hands(connection, &request, false).unwrap();
        self.clients.push(Client::new(&response, connection));
        if self.make.rng.percent(40) {
            let auth = Burst::new().request(&digest(ALICE), -4);
            self.pair.exchange(connection, &auth);
        }
    }

    /// Attaches a session to a new connection, from an old one or none.
    fn attach(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let last_seen = self.make.rng.pick(&[0, self.make.zxid]);
        let request = handshake(
            client.id,
            &client.password,
            TIMEOUT_MS,
            last_seen,
            Some(false),
        );
        client.connection = self.pair.connect();
        let response = self.pair.shake_hands(client.connection, &request, false);
        assert_eq!(response.unwrap().session_id, client.id);
        self.pair.fence();
    }

    /// Several requests in one write.
    fn requests(&mut self, who: usize) {
        let requests = match self.make.rng.pick(&[0, 1, 1, 1, 1, 2, 2, 3, 5]) {
            0 => self.make.close_look(),
            count => (0..count).map(|_| self.make.request()).collect(),
        };
        self.ask(who, &requests);
    }

    fn ask(&mut self, who: usize, requests: &[Request]) {
        let mut burst = Burst::new();
        for request in requests {
            burst.add(request, self.clients[who].next_xid());
        }
        self.done += requests.len();
        let answer = self.pair.exchange(self.clients[who].connection, &burst);
        self.learn(requests, &answer);
    }

    /// Remembers what was created and deleted, and the last zxid.
    fn learn(&mut self, requests: &[Request], answer: &Answer) {
        for (request, frame) in requests.iter().zip(answer.replies()) {
            let header = header(frame).unwrap();
            self.make.zxid = self.make.zxid.max(header.zxid);
            match (request, reply(request.opcode(), frame)) {
                (_, Some(Reply::Create { path } | Reply::Create2 { path, .. })) => {
                    self.make.created.push(path);
                }
                (Request::Delete { path, .. }, Some(Reply::Delete)) => {
                    self.make.created.retain(|created| created != path);
                }
                _ => {}
            }
        }
    }

    /// By itself, because the answer overtakes others.
    fn authenticate(&mut self, who: usize) {
        let (scheme, auth): (&str, Option<&[u8]>) = self.make.rng.pick(&[
            ("digest", Some(ALICE)),
            ("digest", Some(ALICE)),
            ("digest", Some(BOB)),
            ("ip", None),
            ("digest", None),
            ("world", Some(b"anyone")),
            ("none", Some(b"")),
        ]);
        let request = Request::Auth {
            kind: 0,
            scheme: scheme.into(),
            auth: auth.map(Bytes::from_static),
        };
        let mut burst = Burst::new().request(&request, -4);
        burst.ends = !matches!((scheme, auth), ("ip", _) | ("digest", Some(_)));
        self.pair.exchange(self.clients[who].connection, &burst);
    }

    /// Handshakes that a server refuses, or answers in an unusual way.
    fn strange_handshake(&mut self, who: usize) {
        let Client { id, password, .. } = &self.clients[who];
        let (id, password) = (*id, password.clone());
        let seen = self.make.zxid;
        let connection = self.pair.connect();
        let timeouts = [0, -1, i32::MIN, i32::MAX, 999, 1000, 1001, 59_999, 60_001];
        let timeout = self.make.rng.pick(&timeouts);
        let (request, ends) = match self.make.rng.below(6) {
            0 => (handshake(id, &[1; 16], TIMEOUT_MS, 0, None), true),
            1 => (handshake(id, b"", TIMEOUT_MS, 0, Some(false)), true),
            2 => (
                handshake(id ^ 0xffff_0000, &password, TIMEOUT_MS, 0, None),
                true,
            ),
            3 => (handshake(0, &[0; 16], TIMEOUT_MS, 1 << 40, None), true),
            4 => (handshake(0, b"", 30_000, 0, None).slice(..20), true),
            _ => (handshake(0, b"", timeout, seen, Some(false)), false),
        };
        let response = self.pair.shake_hands(connection, &request, ends);
        // Even where it is refused, it ends the session's own connection.
        self.pair.fence();
        if !ends {
            // So short a session would expire.
            self.finish(Client::new(&response.unwrap(), connection));
        }
    }

    /// A record that ends too soon, or holds lengths that cannot be.
    fn unreadable(&mut self, who: usize) {
        let client = &mut self.clients[who];
        let mut request = self.make.request();
        while matches!(request, Request::Ping | Request::Sync { .. }) {
            request = self.make.request();
        }
        let whole = payload(&request, client.next_xid());
        let end = 8 + self.make.rng.below(whole.len() - 8);
        let mut cut = whole.slice(..end).to_vec();
        if self.make.rng.percent(30) {
            // The first length.
            cut = whole.to_vec();
            cut[8] = self.make.rng.pick(&[0x7f, 0x80, 1]);
        }
        let mut burst = Burst::new();
        let shown = format!("{cut:?} of {request:?}");
        burst.add_bytes(&framed(&cut), Some(request.opcode()), &shown);
        let after = client.next_xid();
        burst.add(&Request::Sync { path: "/".into() }, after);
        self.pair.exchange(client.connection, &burst);
    }

    /// What ends the connection, but not the session.
    fn fatal(&mut self, who: usize) {
        let unknown = |op: i32| framed(&[7_i32.to_be_bytes(), op.to_be_bytes()].concat());
        let (bytes, answered): (Bytes, bool) = match self.make.rng.below(6) {
            0 => (unknown(0), true),
            1 => (unknown(999), true),
            2 => (unknown(-1), true),
            3 => (framed(&[0; 7]), false),
            4 => (Bytes::from_static(b"\xff\xff\xff\xff"), false),
            _ => (Bytes::from_static(b"\x00\x10\x00\x00"), false),
        };
        let mut burst = Burst::new();
        burst.add_bytes(&bytes, None, &format!("{bytes:?}"));
        if !answered {
            burst.asked.clear();
        }
        let connection = self.clients[who].connection;
        self.pair.exchange(connection, &burst.ending());
        self.pair.fence();
    }

    /// Closes a session, after attaching it if that has to be.
    fn finish(&mut self, mut client: Client) {
        if !self.pair.is_live(client.connection) {
            client.connection = self.pair.connect();
            let request = handshake(client.id, &client.password, TIMEOUT_MS, 0, None);
            self.pair.shake_hands(client.connection, &request, false);
        }
        let close = Burst::new().request(&Request::CloseSession, client.next_xid());
        self.pair.exchange(client.connection, &close.ending());
        self.pair.fence();
    }
}

impl Client {
    fn new(response: &ConnectResponse, connection: usize) -> Self {
        let password = response.password.0.clone().unwrap();
        Self {
            id: response.session_id,
            password,
            connection,
            xid: 0,
        }
    }

    fn next_xid(&mut self) -> i32 {
        self.xid += 1;
        self.xid
    }
}

/// The session that is there all the time: compares the trees when all others
/// are gone, and empties them.
pub(crate) struct Janitor {
    client: Client,
}

impl Janitor {
    /// On connection 0, whose handshake has been answered.
    pub(crate) fn new(pair: &mut Pair, response: &ConnectResponse) -> Self {
        for credentials in [ALICE, BOB] {
            pair.exchange(0, &Burst::new().request(&digest(credentials), -4));
        }
        let client = Client::new(response, 0);
        Self { client }
    }

    /// Compares all that is left, and deletes it. Returns how many znodes.
    pub(crate) fn tidy(&mut self, pair: &mut Pair) -> usize {
        let mut found: Vec<Arc<str>> = Vec::new();
        let mut level: Vec<Arc<str>> = vec!["/".into()];
        while !level.is_empty() {
            let below = self.look(pair, &level);
            found.extend(level);
            level = below;
        }
        let is_kept = |path: &str| path == "/" || path == "/zookeeper" || is_system(path);
        let mut burst = Burst::new();
        for path in found.iter().rev().filter(|path| !is_kept(path)) {
            let delete = Request::Delete {
                path: path.clone(),
                version: -1,
            };
            burst.add(&delete, self.client.next_xid());
        }
        for frame in pair.exchange(0, &burst).replies() {
            assert_eq!(header(frame).unwrap().error.as_i32(), 0, "a delete");
        }
        found.len()
    }

    /// Reads all about these znodes and returns the paths of their children.
    fn look(&mut self, pair: &mut Pair, paths: &[Arc<str>]) -> Vec<Arc<str>> {
        let mut burst = Burst::new();
        for path in paths {
            let (path, watch) = (path.clone(), false);
            let data = Request::GetData {
                path: path.clone(),
                watch,
            };
            burst.add(&data, self.client.next_xid());
            let children = Request::GetChildren2 { path, watch };
            burst.add(&children, self.client.next_xid());
        }
        let answer = pair.exchange(0, &burst);
        let mut below = Vec::new();
        for (path, frame) in paths.iter().zip(answer.replies().skip(1).step_by(2)) {
            let Some(Reply::GetChildren2 { children, .. }) = reply(OpCode::GetChildren2, frame)
            else {
                panic!("no listing of {path}");
            };
            let prefix = if **path == *"/" { "" } else { path };
            below.extend(children.iter().map(|name| {
                let name = std::str::from_utf8(name).unwrap();
                Arc::from(format!("{prefix}/{name}"))
            }));
        }
        below
    }
}

fn digest(credentials: &'static [u8]) -> Request {
    Request::Auth {
        kind: 0,
        scheme: "digest".into(),
        auth: Some(Bytes::from_static(credentials)),
    }
}

fn is_system(path: &str) -> bool {
    matches!(path, "/zookeeper/quota" | "/zookeeper/config")
}
