//! A create whose reply is lost, and a server that does not know of it yet.

use std::time::Duration;

use tokio::time::sleep;
use zklock::Lock;

use crate::shared::{LONG, acquire, connect, ensemble};
use crate::support::eventually;
use crate::support::proxy::{Direction, Proxy};
use crate::support::raw::RawClient;

const PATH: &str = "/lagging";

const CREATE: i32 = 1;
const GET_CHILDREN: i32 = 8;

/// Long enough for a client that believes what it sees to act on it.
const SHORT: Duration = Duration::from_millis(500);

/// Requests with this opcode that clients have sent for the lock.
fn requests(proxy: &Proxy, opcode: i32) -> usize {
    let frames = proxy.frames_in(Direction::ToServer);
    let is_one = |payload: &[u8]| {
        let names_lock = payload
            .windows(PATH.len())
            .any(|part| part == PATH.as_bytes());
        payload.get(4..8) == Some(&opcode.to_be_bytes()) && names_lock
    };
    frames.iter().filter(|frame| is_one(&frame.payload)).count()
}

/// The create is with the leader, and done once the one follower that is left
/// has it on its disk, which is slow. Meanwhile the client comes to that
/// follower, which does not show the claim.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reattached_to_a_follower_that_lags() {
    let mut ensemble = ensemble().await;
    let (leader, followers) = (ensemble.leader(), ensemble.followers());
    let first = Proxy::start(&ensemble.address(leader));
    let second = Proxy::start(&ensemble.address(followers[0]));
    second.refuse();
    let servers = [first.address(), second.address()].join(",");
    let session = connect(servers, LONG).await;
    let lock = Lock::new(&session, PATH).unwrap();
    acquire(&lock).await.release().await.unwrap();
    ensemble.kill(followers[1]);

    first.clear();
    first.hold(Direction::ToClient);
    ensemble.hold_acks_of(followers[0]);
    let asked = tokio::spawn(async move { acquire(&lock).await });
    eventually("the create is sent", || requests(&first, CREATE) == 1);
    sleep(SHORT).await;
    first.refuse();
    second.accept();
    first.cut();
    eventually("it looks for the claim", || {
        requests(&second, GET_CHILDREN) > 0
    });
    sleep(SHORT).await;
    ensemble.heal();

    let guard = asked.await.unwrap();
    let mut observer = RawClient::connect(&ensemble.address(leader));
    let claims = observer.children(PATH).unwrap();
    let claims: Vec<_> = claims.iter().map(|name| format!("{PATH}/{name}")).collect();
    assert_eq!(
        claims,
        [guard.znode()],
        "one claim, and the one that is held"
    );
    assert_eq!(requests(&second, CREATE), 0, "it was there already");
    assert_eq!(guard.check(), Ok(()));
    guard.release().await.unwrap();
    assert_eq!(observer.children(PATH), Some(vec![]));
    session.close().await;
}
