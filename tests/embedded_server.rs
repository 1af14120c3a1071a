//! The embedded server's faults, as clients see them, in memory and under paused
//! time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::time::{Duration, Instant};

use tokio::time::sleep;
use zklock::embedded::EmbeddedServer;
use zklock::proto::OpCode;
use zklock::{
    AcquireError, ConnectError, Guard, Lock, LostReason, Session, SessionLost, SessionState,
};

/// What a session asks for unless it is told otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Far more than anything takes that is not to end by a timeout.
const LONG: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(10);

fn in_memory() -> EmbeddedServer {
    EmbeddedServer::in_memory().unwrap()
}

async fn connect(server: &EmbeddedServer) -> Session {
    server.session().connect().await.unwrap()
}

async fn acquire(session: &Session) -> Guard {
    let lock = Lock::new(session, "/lock").unwrap();
    lock.acquire().timeout(LONG).await.unwrap()
}

/// Why the lock is lost, which it is to be.
async fn lost(guard: &Guard) -> LostReason {
    let lost = tokio::time::timeout(LONG, guard.lost()).await;
    lost.expect("the lock is lost")
}

fn session_id(session: &Session) -> i64 {
    match session.state() {
        SessionState::Connected { session_id, .. } => session_id,
        other => panic!("{other:?}"),
    }
}

/// The next state that `is_it` says is the one.
async fn reaches(session: &Session, is_it: impl Fn(&SessionState) -> bool) -> SessionState {
    let mut states = session.states();
    loop {
        let state = states.next().await.expect("the session is there");
        if is_it(&state) {
            return state;
        }
    }
}

fn is_suspended(state: &SessionState) -> bool {
    matches!(state, SessionState::Suspended { .. })
}

fn is_reattached(state: &SessionState) -> bool {
    let SessionState::Connected { reattached, .. } = state else {
        return false;
    };
    *reattached
}

/// The paths below the lock's.
async fn claims(server: &EmbeddedServer) -> Vec<String> {
    let paths = server.znodes().await.into_iter();
    let paths = paths.map(|znode| znode.path.to_string());
    paths.filter(|path| path.starts_with("/lock/")).collect()
}

#[tokio::test(start_paused = true)]
async fn hours_pass_at_once() {
    let start = Instant::now();
    let server = in_memory();
    let (holder, waiter) = (connect(&server).await, connect(&server).await);
    let guard = acquire(&holder).await;
    let lock = Lock::new(&waiter, "/lock").unwrap();
    let asked = tokio::time::Instant::now();
    let error = lock.acquire().timeout(LONG).await.unwrap_err();
    assert_eq!((error, asked.elapsed()), (AcquireError::TimedOut, LONG));
    let left = guard.remaining().unwrap();
    assert!(left > TIMEOUT / 4 && left < TIMEOUT, "{left:?}");
    let stats = holder.stats().await.unwrap();
    assert!(
        stats.heartbeats > 2_000 && stats.connections == 1,
        "{stats:?}"
    );
    guard.release().await.unwrap();
    assert_eq!(claims(&server).await.len(), 0);
    println!("an hour in {:?}: {stats:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn an_expired_session_is_lost_and_the_next_in_line_gets_the_lock() {
    let server = in_memory();
    let (holder, waiter) = (connect(&server).await, connect(&server).await);
    let (guard, id) = (acquire(&holder).await, session_id(&holder));
    let waiting = tokio::spawn(async move { acquire(&waiter).await });
    sleep(MOMENT).await;
    assert_eq!(claims(&server).await.len(), 2);

    assert!(server.expire(id).await);
    assert!(!server.expire(id).await, "it is gone");
    let expired = tokio::time::Instant::now();
    assert_eq!(
        lost(&guard).await,
        LostReason::Session(SessionLost::Expired)
    );
    waiting.await.unwrap().release().await.unwrap();
    // Its client has come back at once, and not after a silence.
    assert!(expired.elapsed() < TIMEOUT / 10, "{:?}", expired.elapsed());
    reaches(
        &holder,
        |state| matches!(state, SessionState::Connected { session_id, .. } if *session_id != id),
    )
    .await;
    assert!(!server.sessions().await.contains(&id));
    acquire(&holder).await.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn sessions_outlive_the_cut_of_all_connections() {
    let server = in_memory();
    let session = connect(&server).await;
    let (guard, id) = (acquire(&session).await, session_id(&session));
    server.disconnect_all().await;
    assert_eq!(server.watch_count().await, 0);
    reaches(&session, is_suspended).await;
    reaches(&session, is_reattached).await;
    assert_eq!((session_id(&session), guard.check()), (id, Ok(())));

    // A stopped process is cut off like any other.
    server.pause().await;
    server.disconnect_all().await;
    let cut = tokio::time::Instant::now();
    reaches(&session, is_suspended).await;
    assert!(cut.elapsed() < MOMENT, "{:?}", cut.elapsed());
    server.resume().await;
    reaches(&session, is_reattached).await;
    guard.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_short_pause_costs_a_connection_and_a_long_one_the_session() {
    let server = in_memory();
    let session = connect(&server).await;
    let (guard, id) = (acquire(&session).await, session_id(&session));
    sleep(3 * TIMEOUT).await;
    server.pause().await;
    sleep(TIMEOUT / 6).await;
    server.resume().await;
    sleep(3 * TIMEOUT).await;
    assert_eq!((session_id(&session), guard.check()), (id, Ok(())));

    server.pause().await;
    let before = tokio::time::Instant::now();
    assert_eq!(lost(&guard).await, LostReason::LeaseExpired);
    assert!(before.elapsed() < TIMEOUT, "{:?}", before.elapsed());
    sleep(TIMEOUT).await;
    // Nothing expires in a process that is stopped.
    assert_eq!(server.sessions().await, [id]);
    assert_eq!(claims(&server).await.len(), 1);
    server.resume().await;
    // What has come meanwhile comes too late.
    assert!(!server.sessions().await.contains(&id));
    assert_eq!(claims(&server).await.len(), 0);
    acquire(&session).await.release().await.unwrap();
    assert_ne!(session_id(&session), id);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_keeps_those_that_it_has() {
    let server = in_memory();
    let session = connect(&server).await;
    let guard = acquire(&session).await;
    server.refuse().await;
    let error = server.session().connect().await.unwrap_err();
    assert!(matches!(error, ConnectError::Stopped(_)), "{error:?}");
    assert!(error.to_string().contains("closed"), "{error}");
    assert_eq!(guard.check(), Ok(()));
    server.disconnect_all().await;
    assert_eq!(lost(&guard).await, LostReason::LeaseExpired);
    server.accept().await;
    acquire(&session).await.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whatever_reply_is_lost_comes_to_the_same_end() {
    let lost = [
        OpCode::Create,
        OpCode::GetChildren,
        OpCode::Exists,
        OpCode::Delete,
        OpCode::Sync,
        OpCode::Ping,
        OpCode::CloseSession,
    ];
    for op in lost {
        let server = in_memory();
        let session = connect(&server).await;
        server.drop_next_reply(op).await;
        let guard = acquire(&session).await;
        assert_eq!(claims(&server).await, [guard.znode()], "{op:?}");
        // Time for a heartbeat.
        sleep(TIMEOUT / 3).await;
        assert_eq!(guard.check(), Ok(()), "{op:?}");
        guard.release().await.unwrap();
        assert_eq!(claims(&server).await.len(), 0, "{op:?}");
        let stats = session.stats().await.unwrap();
        let cut = op != OpCode::CloseSession;
        assert_eq!(stats.connections, 1 + u64::from(cut), "{op:?}");
        session.close().await;
        assert_eq!(server.sessions().await.len(), 0, "{op:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_holds_back_all_that_is_written_and_nothing_that_is_read() {
    let server = in_memory();
    let session = connect(&server).await;
    acquire(&session).await.release().await.unwrap();
    let lock = Lock::new(&session, "/lock").unwrap();
    let delay = Duration::from_millis(700);
    server.delay(delay).await;
    let start = tokio::time::Instant::now();
    let request = tokio::spawn(lock.acquire().into_future());
    sleep(MOMENT).await;
    assert_eq!(claims(&server).await.len(), 1);
    let guard = request.await.unwrap().unwrap();
    // Create and listing are one write.
    assert!(
        start.elapsed() >= delay && start.elapsed() < 2 * delay,
        "{:?}",
        start.elapsed()
    );
    server.delay(Duration::ZERO).await;
    guard.release().await.unwrap();
    assert!(start.elapsed() < 4 * delay, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_next_number_of_a_claim_is_as_it_was_set() {
    let server = in_memory();
    let session = connect(&server).await;
    acquire(&session).await.release().await.unwrap();
    assert!(!server.set_counter("/nowhere", 7).await);
    for (next, number) in [
        (7, "-lock-0000000007"),
        (i32::MAX, "-lock-2147483647"),
        (-2, "-lock--000000002"),
    ] {
        assert!(server.set_counter("/lock", next).await);
        let guard = acquire(&session).await;
        assert!(guard.znode().ends_with(number), "{guard:?}");
        guard.release().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_in_a_server_can_be_seen() {
    let server = EmbeddedServer::builder().seed(7).in_memory().unwrap();
    let session = connect(&server).await;
    let lock = Lock::new(&session, "/lock").unwrap();
    let guard = lock.acquire().owner("me").await.unwrap();
    // The answer to the watch on the claim.
    session.stats().await.unwrap();
    sleep(MOMENT).await;
    assert_eq!(server.watch_count().await, 1);
    assert_eq!(server.sessions().await, [0x0100_0000_0007_0000]);
    let znodes = server.znodes().await;
    let claim = znodes
        .iter()
        .find(|znode| *znode.path == *guard.znode())
        .unwrap();
    assert_eq!(claim.stat.czxid as u64, guard.fencing_token().get());
    let dump = server.dump().await;
    let line = dump
        .lines()
        .find(|line| line.starts_with("/lock/"))
        .unwrap();
    assert!(
        line.starts_with(&format!(
            "{} (of session 0x100000000070000) {{",
            guard.znode()
        )),
        "{line}"
    );
    assert!(line.contains("\"me\""), "{line}");
    assert!(dump.starts_with("/\n/lock\n/lock/"), "{dump}");
    assert!(dump.contains("\n/zookeeper/quota\n"), "{dump}");
}

#[tokio::test(start_paused = true)]
async fn timeouts_are_granted_as_the_builder_says() {
    let builder = EmbeddedServer::builder().tick(Duration::from_millis(100));
    for (server, asked, granted) in [
        (builder.clone(), 1, 200),
        (builder.clone(), 60_000, 2_000),
        (
            builder.clone().min_session_timeout(Duration::from_secs(1)),
            1,
            1_000,
        ),
        (
            builder.max_session_timeout(Duration::from_secs(100)),
            60_000,
            60_000,
        ),
    ] {
        let server = server.in_memory().unwrap();
        let session = server
            .session()
            .session_timeout(Duration::from_millis(asked));
        let session = session.connect().await.unwrap();
        let SessionState::Connected { timeout, .. } = session.state() else {
            panic!("{session:?}");
        };
        assert_eq!(timeout, Duration::from_millis(granted));
    }
}
