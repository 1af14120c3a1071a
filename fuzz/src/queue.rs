//! Names of claims, and what a listing of them means.

use std::sync::Arc;
use std::time::Duration;

use zklock::lock::{
    AcquireRequest, AcquisitionId, ClaimId, Claims, Command, Dialect, LockId, LockSpec, Metadata,
    Notice, SequenceNumber, Token, sequence_number,
};
use zklock::proto::{Acl, Children, Reply, Request, Stat, ZnodePath};
use zklock::session::{Outcome, Recipe, RecipeInput, SessionEvent, Timestamp};

const NOW: Timestamp = Timestamp::from_nanos(1);
const SESSION: i64 = 0x0100_0012_3072_0005;
const LOCKS: &str = "/locks";

/// The first four bytes are the number of the own claim; the rest are names,
/// with a slash, which no name has, between them.
pub fn check(data: &[u8]) {
    let Some((number, names)) = data.split_first_chunk() else {
        return;
    };
    let own = SequenceNumber::from_be_bytes(*number);
    let mut names: Vec<&[u8]> = names.split(|byte| *byte == b'/').collect();
    names.iter().for_each(|name| check_name(name, own));
    let (mut claims, name, listing) = waiting_claim(own);
    let position = own.unsigned_abs() as usize % (names.len() + 1);
    names.insert(position, name.as_bytes());
    let children: Children = names.iter().collect();
    assert!(children.iter().eq(names.iter().copied()));
    complete(&mut claims, listing, Reply::GetChildren { children });
    check_place(&mut claims, &names, &name, own);
}

fn check_name(name: &[u8], number: SequenceNumber) {
    if let Some(number) = sequence_number(name) {
        assert!(name.ends_with(format!("{number:010}").as_bytes()));
    }
    if let Some(id) = ClaimId::parse(name) {
        let number = sequence_number(name).expect("a claim of ours is numbered");
        let dialect = Dialect::of(name).expect("it is written in some dialect");
        let prefix = id.prefix(dialect);
        let again = format!("{prefix}{number:010}");
        // Of two ways to write a number, this client asks for one only.
        assert!(name.starts_with(prefix.as_bytes()));
        assert_eq!(ClaimId::parse(again.as_bytes()), Some(id));
    }
    let numbered = [name, format!("-lock-{number:010}").as_bytes()].concat();
    assert_eq!(sequence_number(&numbered), Some(number));
}

/// A claim that has been created and whose listing is awaited: with its name,
/// and what the listing is asked for under.
fn waiting_claim(number: SequenceNumber) -> (Claims, String, Token) {
    let mut claims = Claims::default();
    let timeout = Duration::from_secs(6);
    claims.handle(RecipeInput::Lease(NOW + timeout), NOW);
    let session_id = SESSION;
    let established = SessionEvent::Established {
        session_id,
        timeout,
    };
    claims.handle(RecipeInput::Session(established), NOW);
    claims.command(Command::Acquire(request()), NOW);
    let Some((creating, Request::Create { path, .. })) = claims.poll() else {
        panic!("a claim is created first");
    };
    let Some((listing, Request::GetChildren { .. })) = claims.poll() else {
        panic!("the queue is listed next");
    };
    let path: Arc<str> = format!("{path}{number:010}").into();
    let name = path[LOCKS.len() + 1..].to_owned();
    let id = ClaimId::parse(name.as_bytes()).expect("our names come back");
    assert_eq!(id.session_id, SESSION);
    complete(&mut claims, creating, Reply::Create { path });
    let watch = claims.poll().map(|(_, request)| request);
    assert!(matches!(watch, Some(Request::Exists { watch: true, .. })));
    (claims, name, listing)
}

/// The lock is granted exactly if nothing is ahead; otherwise the nearest claim
/// ahead is watched. Where the numbers do not tell who is first, the claims are
/// asked when they were created, here the later the further up in the listing.
/// What else of this session is listed, is deleted.
fn check_place(claims: &mut Claims, names: &[&[u8]], name: &str, own: SequenceNumber) {
    let mut watched = Vec::new();
    let mut deleted = Vec::new();
    let mut asked = 0;
    while let Some((token, request)) = claims.poll() {
        match request {
            Request::Delete { path, .. } => deleted.push(path),
            Request::GetChildren { path, watch: true } => watched.push(path),
            Request::GetChildren { watch: false, .. } => {}
            Request::Exists { path, watch: false } => {
                asked += 1;
                let position = names
                    .iter()
                    .position(|name| below_locks(name).as_deref() == Some(&path));
                let czxid = -(position.expect("only what is listed is asked") as i64);
                let stat = Stat {
                    czxid,
                    ..Stat::default()
                };
                complete(claims, token, Reply::Exists { stat });
            }
            request => panic!("{request:?}"),
        }
    }
    let (ahead, unclear) = nearest_ahead(names, name.as_bytes(), own);
    assert_eq!(asked > 0, unclear);
    match claims.notice() {
        Some(Notice::Granted { .. }) => assert!(ahead.is_none()),
        other => assert!(other.is_none() && ahead.is_some()),
    }
    let expected = ahead.map(watch_of);
    assert_eq!(watched.first().map(|path| &**path), expected.as_deref());
    assert!(watched.len() <= 2);
    let orphans = names.iter().filter(|other| is_orphan(other, name));
    let doomed = orphans.filter_map(|name| below_locks(name));
    assert!(doomed.eq(deleted.iter().map(|path| &**path)));
}

/// The nearest of the claims ahead, and whether the numbers left it open.
fn nearest_ahead<'a>(
    names: &[&'a [u8]],
    own_name: &[u8],
    own: SequenceNumber,
) -> (Option<&'a [u8]>, bool) {
    let end = SequenceNumber::MAX - (1 << 16);
    let numbers = || names.iter().filter_map(|name| sequence_number(name));
    let others = || names.iter().filter(|name| **name != own_name);
    let over = numbers().any(|number| !(0..end).contains(&number));
    let tied = others().any(|name| sequence_number(name) == Some(own));
    // The later in the listing the older, and what cannot be asked is oldest.
    let czxid = |name: &[u8]| match std::str::from_utf8(name) {
        Ok(_) => {
            -(names
                .iter()
                .position(|other| *other == name)
                .expect("listed") as i64)
        }
        Err(_) => i64::MIN,
    };
    let rank = |name: &[u8]| {
        let number = sequence_number(name)?;
        let by_age = over || number == own;
        Some((
            if over { 0 } else { number },
            if by_age { czxid(name) } else { 0 },
        ))
    };
    let own_rank = if over || tied {
        rank(own_name)
    } else {
        Some((own, 0))
    };
    let ahead = others().filter(|name| rank(name).is_some_and(|rank| Some(rank) < own_rank));
    (
        ahead.copied().max_by_key(|name| (rank(name), *name)),
        over || tied,
    )
}

/// The path to watch for this claim: a name that is no text cannot be asked
/// for, so that the whole queue is watched instead.
fn watch_of(name: &[u8]) -> String {
    below_locks(name).unwrap_or_else(|| LOCKS.to_owned())
}

fn below_locks(name: &[u8]) -> Option<String> {
    Some(format!("{LOCKS}/{}", std::str::from_utf8(name).ok()?))
}

fn is_orphan(name: &[u8], own: &str) -> bool {
    let own = ClaimId::parse(own.as_bytes());
    ClaimId::parse(name).is_some_and(|id| id.session_id == SESSION && Some(id) != own)
}

fn complete(claims: &mut Claims, token: Token, reply: Reply) {
    let outcome = Outcome::Ok { zxid: 7, reply };
    claims.handle(RecipeInput::Completed { token, outcome }, NOW);
}

fn request() -> AcquireRequest {
    let acl: Arc<[Acl]> = [Acl::world_anyone()].into();
    AcquireRequest {
        id: AcquisitionId(1),
        lock: Arc::new(LockSpec {
            id: LockId(1),
            path: ZnodePath::new(LOCKS).expect("a path"),
            dialect: Dialect::default(),
            acl: Arc::clone(&acl),
            parent_acl: acl,
        }),
        metadata: Metadata::default(),
        deadline: Timestamp::MAX,
        waits: true,
    }
}
