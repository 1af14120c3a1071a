//! The raw limit: the recipe's frames on a blocking socket, written and read
//! with the least possible work. It keeps no session alive, checks nothing it
//! need not look at, and copies only what it sends again.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::ops::Range;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const EXISTS: i32 = 3;
const GET_CHILDREN: i32 = 8;
const EPHEMERAL_SEQUENTIAL: i32 = 3;
const PERSISTENT: i32 = 0;
const EVENT: i32 = -1;
/// A reply's xid, zxid and error.
const HEADER: usize = 16;
/// So long a session outlives the run, since nothing keeps it alive.
const SESSION_TIMEOUT_MS: i32 = 3_600_000;

/// A frame that was read: where its body is in the buffer.
pub struct Frame {
    pub xid: i32,
    pub error: i32,
    body: Range<usize>,
}

impl Frame {
    pub fn is_event(&self) -> bool {
        self.xid == EVENT
    }
}

/// A session on a blocking socket.
pub struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
    /// What of `read` is filled and not taken yet.
    unread: Range<usize>,
    out: Vec<u8>,
    xid: i32,
}

impl Raw {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut raw = Self {
            stream,
            read: vec![0; 64 * 1024],
            unread: 0..0,
            out: Vec::with_capacity(64 * 1024),
            xid: 0,
        };
        let mut hello = Vec::new();
        hello.extend(45_i32.to_be_bytes());
        hello.extend([0; 12]);
        hello.extend(SESSION_TIMEOUT_MS.to_be_bytes());
        hello.extend([0; 8]);
        hello.extend(16_i32.to_be_bytes());
        hello.extend([0; 17]);
        raw.stream.write_all(&hello).unwrap();
        raw.frame();
        raw
    }

    /// Creates what is missing of `path`.
    pub fn make_path(&mut self, path: &str) {
        let ends = path.match_indices('/').map(|(index, _)| index).skip(1);
        for end in ends.chain([path.len()]) {
            self.create(&path[..end], b"", PERSISTENT);
            self.flush();
            self.frame();
        }
    }

    pub fn create_claim(&mut self, path: &str, data: &[u8]) {
        self.create(path, data, EPHEMERAL_SEQUENTIAL);
    }

    fn create(&mut self, path: &str, data: &[u8], mode: i32) {
        let start = self.begin(CREATE);
        self.bytes(path.as_bytes());
        self.bytes(data);
        self.int(1);
        self.int(31);
        self.bytes(b"world");
        self.bytes(b"anyone");
        self.int(mode);
        self.end(start);
    }

    pub fn delete(&mut self, path: &str) {
        let start = self.begin(DELETE);
        self.bytes(path.as_bytes());
        self.int(-1);
        self.end(start);
    }

    pub fn watch_own(&mut self, path: &str) {
        self.question(EXISTS, path, true);
    }

    pub fn watch_ahead(&mut self, path: &str) {
        self.question(GET_CHILDREN, path, true);
    }

    pub fn list(&mut self, path: &str) {
        self.question(GET_CHILDREN, path, false);
    }

    fn question(&mut self, opcode: i32, path: &str, watch: bool) {
        let start = self.begin(opcode);
        self.bytes(path.as_bytes());
        self.out.push(watch.into());
        self.end(start);
    }

    /// Writes all that was asked for, at once.
    pub fn flush(&mut self) {
        self.stream.write_all(&self.out).unwrap();
        self.out.clear();
    }

    /// The next frame; waits for it.
    pub fn frame(&mut self) -> Frame {
        loop {
            if let Some(frame) = self.whole_frame() {
                return frame;
            }
            self.fill();
        }
    }

    /// The next frame, if it has been read already.
    pub fn whole_frame(&mut self) -> Option<Frame> {
        let bytes = &self.read[self.unread.clone()];
        let length = int_at(bytes, 0)? as usize;
        let body = bytes.get(4..4 + length)?;
        let frame = Frame {
            xid: int_at(body, 0)?,
            error: int_at(body, 12).unwrap_or(0),
            body: self.unread.start + 4 + HEADER.min(length)..self.unread.start + 4 + length,
        };
        self.unread.start += 4 + length;
        Some(frame)
    }

    /// Reads what there is, at least a byte.
    pub fn fill(&mut self) {
        if self.unread.is_empty() {
            self.unread = 0..0;
        }
        if self.read.len() - self.unread.end < 4 * 1024 {
            self.read.copy_within(self.unread.clone(), 0);
            self.unread = 0..self.unread.len();
            if self.read.len() < 2 * self.unread.len() {
                self.read.resize(2 * self.read.len(), 0);
            }
        }
        let count = self.stream.read(&mut self.read[self.unread.end..]).unwrap();
        assert!(count > 0, "the server has closed the connection");
        self.unread.end += count;
    }

    /// The next frame must be a reply without an error.
    pub fn reply(&mut self) -> Frame {
        let frame = self.frame();
        assert!(!frame.is_event() && frame.error == 0, "{}", frame.error);
        frame
    }

    /// The string in the body of a frame: of a create's reply, its path.
    pub fn text(&self, frame: &Frame) -> &str {
        let body = &self.read[frame.body.clone()];
        let length = int_at(body, 0).unwrap() as usize;
        std::str::from_utf8(&body[4..4 + length]).unwrap()
    }

    /// Whether the body is a listing, by its length: no other reply here is
    /// longer than a stat.
    pub fn is_listing(&self, frame: &Frame) -> bool {
        frame.body.len() > 68
    }

    /// Scans a listing for a claim with this number.
    pub fn place(&self, listed: &Frame, own: u32) -> Place<'_> {
        let mut body = &self.read[listed.body.clone()];
        let count = int_at(body, 0).unwrap();
        body = &body[4..];
        let mut place = Place::default();
        for _ in 0..count {
            let length = int_at(body, 0).unwrap() as usize;
            let name = &body[4..4 + length];
            let this = Some((number(name), name));
            if this < Some((own, &[])) {
                place.ahead += 1;
                if this > place.nearest {
                    place.second = place.nearest;
                    place.nearest = this;
                } else if this > place.second {
                    place.second = this;
                }
            }
            body = &body[4 + length..];
        }
        place
    }

    fn begin(&mut self, opcode: i32) -> usize {
        let start = self.out.len();
        self.xid += 1;
        self.int(0);
        self.int(self.xid);
        self.int(opcode);
        start
    }

    fn end(&mut self, start: usize) {
        let length = (self.out.len() - start - 4) as i32;
        self.out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    fn int(&mut self, value: i32) {
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.int(bytes.len() as i32);
        self.out.extend_from_slice(bytes);
    }
}

/// The ten digits at the end of a claim's name.
pub fn number(name: &[u8]) -> u32 {
    let digits = &name[name.len() - 10..];
    digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
}

fn int_at(bytes: &[u8], at: usize) -> Option<i32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(i32::from_be_bytes(bytes.try_into().unwrap()))
}

/// Where a claim stands in a listing.
#[derive(Default)]
pub struct Place<'a> {
    pub ahead: usize,
    /// The claims to watch, with their numbers.
    nearest: Option<(u32, &'a [u8])>,
    second: Option<(u32, &'a [u8])>,
}

/// A raw session and its claim: a contender of a lock that does what zklock's
/// recipe does.
pub struct Waiter {
    raw: Raw,
    parent: String,
    prefix: String,
    claim: String,
}

impl Waiter {
    /// Names and data are as long as zklock's.
    pub fn connect(address: &str, parent: &str, which: usize) -> Self {
        let mut raw = Raw::connect(address);
        raw.make_path(parent);
        Self {
            raw,
            parent: parent.to_owned(),
            prefix: format!("{parent}/_c_{which:032x}-lock-"),
            claim: String::new(),
        }
    }

    /// Creates the claim and waits until none is ahead.
    pub fn acquire(&mut self) {
        let mut ahead = self.enqueue();
        while ahead > 0 {
            if !self.raw.frame().is_event() {
                continue;
            }
            ahead -= 1;
            // The first of more has gone: it was second in line, and looks
            // again. Else it holds the lock now.
            if ahead > 0 {
                self.raw.list(&self.parent);
                self.raw.flush();
                ahead = self.look_while_told(ahead);
            }
        }
    }

    /// An uncontended acquire and release.
    pub fn cycle(&mut self) {
        self.create();
        self.raw.watch_own(&self.claim);
        self.release();
        self.raw.reply();
        self.released();
    }

    /// Creates the claim and lists the queue; how many are ahead.
    fn create(&mut self) -> usize {
        self.raw.create_claim(&self.prefix, &DATA);
        self.raw.list(&self.parent);
        self.raw.flush();
        let created = self.raw.reply();
        self.claim.clear();
        self.claim.push_str(self.raw.text(&created));
        let listed = self.raw.reply();
        self.raw.place(&listed, number(self.claim.as_bytes())).ahead
    }

    /// As `create`, and watches what is to be watched. How many events it takes
    /// until the lock is granted: what is not watched goes first.
    fn enqueue(&mut self) -> usize {
        self.raw.create_claim(&self.prefix, &DATA);
        self.raw.list(&self.parent);
        self.raw.flush();
        let created = self.raw.reply();
        self.claim.clear();
        self.claim.push_str(self.raw.text(&created));
        let listed = self.raw.reply();
        let place = self.raw.place(&listed, number(self.claim.as_bytes()));
        let paths = [place.nearest, place.second].into_iter().flatten();
        let path = |name| format!("{}/{}", self.parent, String::from_utf8_lossy(name));
        let paths: Vec<_> = paths.map(|(_, name)| path(name)).collect();
        self.raw.watch_own(&self.claim);
        for path in &paths {
            self.raw.watch_ahead(path);
        }
        self.raw.flush();
        for _ in 0..=paths.len() {
            self.raw.reply();
        }
        paths.len()
    }

    /// Reads the listing that it asked for, and scans it; an event may come
    /// before it. How many events are still to come.
    fn look_while_told(&mut self, mut ahead: usize) -> usize {
        loop {
            let frame = self.raw.frame();
            if frame.is_event() {
                ahead -= 1;
            } else {
                self.raw.place(&frame, number(self.claim.as_bytes()));
                return ahead;
            }
        }
    }

    /// Writes the release.
    pub fn release(&mut self) {
        self.raw.delete(&self.claim);
        self.raw.flush();
    }

    /// Reads what follows a release: the own watch's event and the reply.
    pub fn released(&mut self) {
        while self.raw.frame().is_event() {}
    }
}

/// What zklock writes of a requestor without an owner takes about so long.
pub const DATA: [u8; 150] = [b' '; 150];
