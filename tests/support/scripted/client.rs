//! A client, that is a session with the lock's recipe on it, with a script at
//! the other end.
//!
//! Scripts write claims short: `#2` is what the client's second create asks
//! for, `#2:7` is that claim with the number 7, both of the present session.

use std::sync::Arc;

use bytes::Bytes;
use zklock::lock::{
    AcquireError, AcquireRequest, AcquisitionId, ClaimId, Claims, Command, Dialect, FencingToken,
    LockId, LockSpec, LostReason, Metadata, Notice, ReleaseError,
};
use zklock::proto::{Acl, CreateMode, ErrorCode, Reply, Request, Stat, ZnodePath};
use zklock::session::{Action, Engine, Io, Misuse, Timestamp};

use super::{Machine, Peer, START, T, config};

pub(crate) type Client = Peer<Locking>;

/// The machine, and how many acquisitions it was asked for.
pub(crate) struct Locking {
    pub(crate) engine: Engine<Claims>,
    asked: u64,
}

impl Machine for Locking {
    fn io(&mut self, io: Io, now: Timestamp) -> Result<(), Misuse> {
        self.engine.io(io, now)
    }

    fn tick(&mut self, now: Timestamp) {
        self.engine.tick(now);
    }

    fn close(&mut self, now: Timestamp) {
        self.engine.close(now);
    }

    fn transmit(&mut self, now: Timestamp) -> Option<Bytes> {
        self.engine.transmit(now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.engine.deadline()
    }

    fn action(&mut self) -> Option<Action> {
        self.engine.poll()
    }
}

impl Client {
    /// A client whose session is established.
    pub(crate) fn connected() -> Self {
        let mut client = Self::dialing();
        client.connect();
        client.welcome(T);
        client
    }

    pub(crate) fn dialing() -> Self {
        let engine = Engine::new(config("a,b"), Claims::default(), START);
        Self::new(Locking { engine, asked: 0 })
    }

    /// Asks for the lock at `path` and waits for ever.
    pub(crate) fn acquire(&mut self, path: &str) -> AcquisitionId {
        self.acquire_with(path, |_| {})
    }

    /// As `acquire`, but `change` has the last word on the request. Each path
    /// is one `Lock`.
    pub(crate) fn acquire_with(
        &mut self,
        path: &str,
        change: impl FnOnce(&mut AcquireRequest),
    ) -> AcquisitionId {
        self.machine.asked += 1;
        let id = AcquisitionId(self.machine.asked);
        let mut request = acquire_request(id, path);
        change(&mut request);
        self.command(Command::Acquire(request));
        id
    }

    pub(crate) fn leave(&mut self, id: AcquisitionId) {
        self.command(Command::Leave(id));
    }

    pub(crate) fn command(&mut self, command: Command) {
        self.machine.engine.command(command, self.now);
        self.act();
    }

    pub(crate) fn claims(&self) -> &Claims {
        self.machine.engine.recipe()
    }

    /// The recipe has forgotten everything about every acquisition.
    #[track_caller]
    pub(crate) fn keeps_nothing(&self) {
        keeps_nothing(self.claims());
    }

    pub(crate) fn lease(&self) -> Timestamp {
        self.claims().lease().expect("a session")
    }

    /// The client must write exactly this now, in one transmission, heartbeats
    /// aside.
    #[track_caller]
    pub(crate) fn expect<const N: usize>(&mut self, requests: [&str; N]) {
        let batch = self.batch();
        let written: Vec<_> = batch
            .iter()
            .map(|(_, request)| self.show(request))
            .collect();
        assert_eq!(written, requests);
    }

    #[track_caller]
    pub(crate) fn expect_nothing(&mut self) {
        self.expect([]);
    }

    /// What the users are told must be exactly this.
    #[track_caller]
    pub(crate) fn expect_notices<const N: usize>(&mut self, notices: [Notice; N]) {
        assert_eq!(self.notices(), notices);
    }

    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        self.machine.notices()
    }

    /// The oldest request was a create, and made the claim with this number.
    /// Returns the claim's zxid.
    #[track_caller]
    pub(crate) fn created(&mut self, number: i32) -> i64 {
        let (xid, request) = self.oldest();
        let Request::Create { path, mode, .. } = request else {
            panic!("the oldest request is {}", self.show(&request));
        };
        let path = match mode {
            CreateMode::EphemeralSequential => format!("{path}{number:010}").into(),
            _ => path,
        };
        self.zxid += 1;
        self.reply(xid, &Reply::Create { path });
        self.zxid
    }

    /// The oldest request was a create, and the server answers with this path,
    /// whose last part may be written short.
    #[track_caller]
    pub(crate) fn created_at(&mut self, path: &str) {
        let (xid, _) = self.oldest();
        let path = match path.rsplit_once('/') {
            Some((parent, name)) => self.path(parent, name),
            None => path.into(),
        };
        self.zxid += 1;
        self.reply(xid, &Reply::Create { path });
    }

    /// The oldest request was a listing; the children have these names, claims
    /// written short.
    #[track_caller]
    pub(crate) fn listed<const N: usize>(&mut self, names: [&str; N]) {
        let names = names.map(|name| self.expand(name));
        self.answer_listing(&names);
    }

    /// As `listed`, for names that are no text.
    #[track_caller]
    pub(crate) fn listed_bytes(&mut self, names: &[&[u8]]) {
        self.answer_listing(names);
    }

    #[track_caller]
    fn answer_listing(&mut self, names: &[impl AsRef<[u8]>]) {
        let (xid, request) = self.oldest();
        assert!(
            matches!(request, Request::GetChildren { .. }),
            "the oldest request is {}",
            self.show(&request)
        );
        let children = names.iter().collect();
        self.reply(xid, &Reply::GetChildren { children });
    }

    /// The oldest request was an `exists`; the claim is there, made at `czxid`.
    #[track_caller]
    pub(crate) fn seen(&mut self, czxid: i64) {
        self.seen_of(czxid, self.session_id);
    }

    #[track_caller]
    pub(crate) fn seen_of(&mut self, czxid: i64, ephemeral_owner: i64) {
        let (xid, _) = self.oldest();
        let stat = Stat {
            czxid,
            ephemeral_owner,
            ..Stat::default()
        };
        self.reply(xid, &Reply::Exists { stat });
    }

    /// The oldest request was a predecessor's watch; it is there.
    #[track_caller]
    pub(crate) fn watched(&mut self) {
        self.listed([]);
    }

    /// What was written first was a look into the data of the head of the queue
    /// at `/l`, which say nothing of a TTL.
    #[track_caller]
    pub(crate) fn head_without_a_ttl(&mut self, claim: &str) {
        self.expect([&*format!("getData /l/{claim}")]);
        self.head_says("");
    }

    /// Answers the oldest look into the data of a claim.
    #[track_caller]
    pub(crate) fn head_says(&mut self, data: &str) {
        let is_read = |(_, request): &&(i32, Request)| matches!(request, Request::GetData { .. });
        let (xid, _) = self.in_flight.iter().find(is_read).expect("a getData");
        let xid = *xid;
        let data = Some(Bytes::copy_from_slice(data.as_bytes()));
        let stat = Stat::default();
        self.reply(xid, &Reply::GetData { data, stat });
    }

    /// The oldest request was a delete.
    #[track_caller]
    pub(crate) fn deleted(&mut self) {
        let (xid, _) = self.oldest();
        self.zxid += 1;
        self.reply(xid, &Reply::Delete);
    }

    /// The oldest request was a sync.
    #[track_caller]
    pub(crate) fn synced(&mut self) {
        let (xid, request) = self.oldest();
        let path = request.path().cloned().expect("a path");
        self.reply(xid, &Reply::Sync { path });
    }

    /// The oldest request is refused.
    #[track_caller]
    pub(crate) fn refused(&mut self, code: ErrorCode) {
        let (xid, _) = self.oldest();
        self.refuse(xid, code);
    }

    /// Everything in flight is refused.
    pub(crate) fn refuse_all(&mut self, code: ErrorCode) {
        for _ in 0..self.in_flight.len() {
            self.refused(code);
        }
    }

    #[track_caller]
    fn oldest(&mut self) -> (i32, Request) {
        self.in_flight
            .front()
            .cloned()
            .expect("a request in flight")
    }

    /// Acquires the lock at `path`, with the client's `counter`th claim.
    #[track_caller]
    pub(crate) fn hold(&mut self, path: &str, counter: u64) -> (AcquisitionId, i64) {
        let id = self.acquire(path);
        self.batch();
        let claim = format!("#{counter}:0");
        let czxid = self.created(0);
        self.listed([&claim]);
        assert_eq!(self.notices(), [self.granted(id, czxid, &claim, path)]);
        self.batch();
        self.seen(czxid);
        (id, czxid)
    }

    /// Joins the queue at `/l` with the claim `own`, behind `ahead`, the
    /// claims' numbers being in this order; all watches are armed.
    #[track_caller]
    pub(crate) fn wait<const N: usize>(
        &mut self,
        own: (u64, i32),
        ahead: [&str; N],
    ) -> (AcquisitionId, i64) {
        let id = self.acquire("/l");
        let czxid = self.queue(own, ahead);
        (id, czxid)
    }

    /// As `wait`, for an acquisition that has just been asked for.
    #[track_caller]
    pub(crate) fn queue<const N: usize>(
        &mut self,
        (counter, number): (u64, i32),
        ahead: [&str; N],
    ) -> i64 {
        self.batch();
        let czxid = self.created(number);
        let own = format!("#{counter}:{number}");
        let names = ahead.iter().copied().chain([own.as_str()]);
        let names: Vec<_> = names.map(|name| self.expand(name)).collect();
        self.answer_listing(&names);
        self.batch();
        self.seen(czxid);
        for _ in 0..ahead.len().min(2) {
            self.watched();
        }
        self.expect_notices([]);
        czxid
    }

    pub(crate) fn granted(&self, id: AcquisitionId, czxid: i64, claim: &str, path: &str) -> Notice {
        Notice::Granted {
            id,
            token: FencingToken::new(czxid.unsigned_abs()),
            znode: self.path(path, claim),
            until: None,
        }
    }

    pub(crate) fn path(&self, parent: &str, claim: &str) -> Arc<str> {
        format!("{parent}/{}", self.expand(claim)).into()
    }

    /// The name that a short one stands for.
    pub(crate) fn expand(&self, short: &str) -> String {
        match short.strip_prefix('#') {
            Some(claim) => claim_of(self.session_id, claim),
            None => short.to_owned(),
        }
    }

    fn show(&self, request: &Request) -> String {
        let (verb, watch) = match request {
            Request::Create { mode, .. } if *mode == CreateMode::Persistent => ("make", false),
            Request::GetChildren { watch, .. } => ("list", *watch),
            Request::GetChildren2 { .. } => ("survey", false),
            Request::Exists { watch, .. } => ("exists", *watch),
            Request::Delete { version: 1.., .. } => ("delete one version of", false),
            _ => (request.opcode().name(), false),
        };
        let path = request.path().map_or("", |path| path);
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let watch = if watch { " watch" } else { "" };
        format!("{verb} {parent}/{}{watch}", self.shorten(name))
    }

    /// The opposite of `expand`.
    fn shorten(&self, name: &str) -> String {
        let mut numbered = name.to_owned();
        if name.ends_with("-lock-") {
            numbered += "0000000000";
        }
        match ClaimId::parse(numbered.as_bytes()) {
            Some(ClaimId {
                session_id,
                counter,
            }) if session_id == self.session_id => {
                let number = zklock::lock::sequence_number(name.as_bytes());
                let number = number.map(|it| format!(":{it}")).unwrap_or_default();
                format!("#{counter}{number}")
            }
            _ => name.to_owned(),
        }
    }
}

impl Locking {
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.engine.recipe_mut().notice()).collect()
    }
}

/// No acquisition is left, in no index.
#[track_caller]
pub(crate) fn keeps_nothing(claims: &Claims) {
    assert!(claims.is_empty(), "{claims:?}");
    let shown = format!("{claims:?}");
    for index in ["acquisitions", "schedule", "owners", "watchers", "counters"] {
        let empty = format!(" {index}: {{}}");
        assert!(shown.contains(&empty), "{index} in {shown}");
    }
    assert!(shown.contains(" holders: 0,"), "{shown}");
    assert!(shown.contains("surveys: Surveys({})"), "{shown}");
}

/// A claim's name, from `2` or `2:7`.
pub(crate) fn claim_of(session_id: i64, claim: &str) -> String {
    let (counter, number) = claim.split_once(':').unwrap_or((claim, ""));
    let counter = counter.parse().expect("a counter");
    let prefix = ClaimId {
        session_id,
        counter,
    }
    .prefix(Dialect::default());
    match number.parse::<i32>() {
        Ok(number) => format!("{prefix}{number:010}"),
        Err(_) => prefix,
    }
}

pub(crate) fn acquire_request(id: AcquisitionId, path: &str) -> AcquireRequest {
    let open: Arc<[Acl]> = [Acl::world_anyone()].into();
    let lock = LockSpec {
        id: LockId(path.len() as u64),
        path: ZnodePath::new(path).expect("a path"),
        dialect: Dialect::default(),
        acl: Arc::clone(&open),
        parent_acl: open,
    };
    AcquireRequest {
        id,
        lock: Arc::new(lock),
        metadata: Metadata::default(),
        deadline: Timestamp::MAX,
        waits: true,
    }
}

pub(crate) fn failed(id: AcquisitionId, error: AcquireError) -> Notice {
    Notice::Failed { id, error }
}

pub(crate) fn place_lost(id: AcquisitionId) -> Notice {
    Notice::PlaceLost { id }
}

pub(crate) fn lost(id: AcquisitionId, reason: LostReason) -> Notice {
    Notice::Lost { id, reason }
}

pub(crate) fn left(id: AcquisitionId) -> Notice {
    Notice::Left { id, result: Ok(()) }
}

pub(crate) fn not_left(id: AcquisitionId, error: ReleaseError) -> Notice {
    let result = Err(error);
    Notice::Left { id, result }
}
