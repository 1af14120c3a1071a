//! Both servers side by side: each is sent the same, and must answer the same.

use bytes::{Bytes, BytesMut};
use zklock::embedded::Config;
use zklock::proto::{ConnectRequest, ConnectResponse, OpCode, Reader, Request};

use crate::frames::{Times, framed, handshake, is_event, payload, show};
use crate::servers::{Embedded, Next, Real, Server};

/// The session timeout that is asked for where it does not matter: nothing is
/// to expire, however slow the machine.
pub(crate) const TIMEOUT_MS: i32 = 60_000;

/// What is sent in one write to one connection.
pub(crate) struct Burst {
    /// To be sent as it is.
    pub(crate) bytes: BytesMut,
    /// What the frames ask for. Each is answered once, in this order.
    pub(crate) asked: Vec<Option<OpCode>>,
    /// Whether the server closes the connection afterwards.
    pub(crate) ends: bool,
    /// How it is shown when something goes wrong.
    pub(crate) shown: String,
}

impl Burst {
    pub(crate) fn new() -> Self {
        Self {
            bytes: BytesMut::new(),
            asked: Vec::new(),
            ends: false,
            shown: String::new(),
        }
    }

    /// The last thing that is sent: the server closes the connection for it.
    pub(crate) fn ending(mut self) -> Self {
        self.ends = true;
        self
    }

    pub(crate) fn request(mut self, request: &Request, xid: i32) -> Self {
        self.add(request, xid);
        self
    }

    pub(crate) fn add(&mut self, request: &Request, xid: i32) {
        let bytes = framed(&payload(request, xid));
        self.add_bytes(
            &bytes,
            Some(request.opcode()),
            &format!("{xid}: {request:?}"),
        );
    }

    pub(crate) fn add_bytes(&mut self, bytes: &[u8], op: Option<OpCode>, shown: &str) {
        self.bytes.extend_from_slice(bytes);
        self.asked.push(op);
        self.shown += &format!("\n      {shown}");
    }
}

/// What came back, the same from both.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Answer {
    /// Events and replies, in order.
    pub(crate) frames: Vec<Bytes>,
    pub(crate) closed: bool,
    /// More was to come.
    incomplete: bool,
}

impl Answer {
    /// The replies alone, in the order of their requests.
    pub(crate) fn replies(&self) -> impl Iterator<Item = &Bytes> {
        self.frames.iter().filter(|frame| !is_event(frame))
    }
}

/// The two servers, and the connections that are open at both.
pub(crate) struct Pair {
    real: Real,
    embedded: Embedded,
    real_times: Times,
    embedded_times: Times,
    /// Whether each connection is open, and has had a handshake.
    live: Vec<bool>,
    /// What has been done since the last [`Pair::forget_log`].
    log: String,
    pub(crate) compared: usize,
    pub(crate) events: usize,
}

impl Pair {
    /// Starts the embedded server as the real one was: with the ids of its
    /// sessions, the first of which is returned with its connection, 0.
    pub(crate) fn start(address: String, mut config: Config) -> (Self, ConnectResponse) {
        let hello = framed(&handshake(0, &[0; 16], TIMEOUT_MS, 0, Some(false)));
        let mut real = Real::new(address);
        real.connect();
        real.send(0, &hello);
        let Next::Frame(first) = real.next(0) else {
            panic!("no answer to the first handshake");
        };
        let response = ConnectResponse::decode(&mut Reader::new(&first)).unwrap();
        config.seed = (response.session_id as u64) >> 16;
        let mut embedded = Embedded::new(config);
        embedded.connect();
        embedded.send(0, &hello);
        assert_eq!(embedded.next(0), Next::Frame(first));
        let pair = Self {
            real,
            embedded,
            real_times: Times::default(),
            embedded_times: Times::default(),
            live: vec![true],
            log: String::new(),
            compared: 1,
            events: 0,
        };
        (pair, response)
    }

    pub(crate) fn forget_log(&mut self) {
        self.log.clear();
    }

    /// Opens a connection at both and returns its number.
    pub(crate) fn connect(&mut self) -> usize {
        self.real.connect();
        self.embedded.connect();
        self.live.push(false);
        self.live.len() - 1
    }

    /// The client goes, without a word.
    pub(crate) fn hang_up(&mut self, connection: usize) {
        self.log += &format!("\n  {connection} hangs up");
        self.real.hang_up(connection);
        self.embedded.hang_up(connection);
        self.live[connection] = false;
    }

    pub(crate) fn is_live(&self, connection: usize) -> bool {
        self.live[connection]
    }

    /// Sends a client's first frame. Whether it `ends` there must be foreseen.
    pub(crate) fn shake_hands(
        &mut self,
        connection: usize,
        request: &Bytes,
        ends: bool,
    ) -> Option<ConnectResponse> {
        self.live[connection] = true;
        let mut burst = Burst::new();
        let shown = ConnectRequest::decode(&mut Reader::new(request));
        burst.add_bytes(&framed(request), None, &format!("{shown:?}"));
        burst.ends = ends;
        let answer = self.exchange(connection, &burst);
        let response = answer.frames.first()?;
        Some(ConnectResponse::decode(&mut Reader::new(response)).unwrap())
    }

    /// Sends the same to both, and compares what comes back.
    pub(crate) fn exchange(&mut self, connection: usize, burst: &Burst) -> Answer {
        self.log += &format!("\n  {connection} sends{}", burst.shown);
        self.compare(connection, burst)
    }

    /// Compares what has been said on all connections that are open, or were
    /// before what was sent last.
    pub(crate) fn fence(&mut self) {
        for connection in 0..self.live.len() {
            if self.live[connection] {
                self.compare(connection, &Burst::new().request(&Request::Ping, -2));
            }
        }
    }

    fn compare(&mut self, connection: usize, burst: &Burst) -> Answer {
        self.real.send(connection, &burst.bytes);
        self.embedded.send(connection, &burst.bytes);
        let (real, shown) = collect(&mut self.real, connection, burst, &mut self.real_times);
        let (embedded, otherwise) = collect(
            &mut self.embedded,
            connection,
            burst,
            &mut self.embedded_times,
        );
        if real != embedded || real.incomplete {
            panic!(
                "{}\n  and {connection} is told\n    real: {shown}\n    embedded: {otherwise}\n",
                self.log
            );
        }
        self.compared += real.replies().count();
        self.events += real.frames.len() - real.replies().count();
        self.live[connection] &= !real.closed;
        real
    }
}

/// What a server says until everything is answered, and the same as people read
/// it.
fn collect(
    server: &mut impl Server,
    connection: usize,
    burst: &Burst,
    times: &mut Times,
) -> (Answer, String) {
    let mut answer = Answer::default();
    let mut shown = String::new();
    let mut asked = burst.asked.iter();
    let mut awaited = burst.asked.len();
    while awaited > 0 || burst.ends {
        let frame = match server.next(connection) {
            Next::Frame(frame) => frame,
            Next::Closed => {
                answer.closed = true;
                shown += "\n      closed";
                break;
            }
            Next::Silence => {
                answer.incomplete = true;
                shown += "\n      nothing";
                break;
            }
        };
        let op = if is_event(&frame) {
            None
        } else {
            awaited = awaited.saturating_sub(1);
            asked.next().copied().flatten()
        };
        shown += &format!("\n      {}", show(op, &frame));
        let frame = match op.map(|op| times.take_out(op, &frame)) {
            None => frame,
            Some(Ok(frame)) => frame,
            Some(Err(wrong)) => {
                shown += &format!(" ({wrong})");
                Bytes::new()
            }
        };
        answer.frames.push(frame);
    }
    (answer, shown)
}
