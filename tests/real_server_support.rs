//! Tests of the tests' own helpers: the real server, the raw client and the
//! recording proxy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::eventually;
use support::proxy::{Direction, Proxy};
use support::raw::{
    EPHEMERAL, EPHEMERAL_SEQUENTIAL, NO_NODE, NODE_EXISTS, NOT_EMPTY, PERSISTENT, RawClient,
};
use support::zookeeper::ZooKeeper;

fn refuses(address: &str) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn a_server_starts_and_answers() {
    let server = ZooKeeper::start();
    assert_eq!(server.four_letter_word("ruok"), "imok");
    assert!(server.four_letter_word("srvr").contains("Mode: standalone"));
    assert!(server.four_letter_word("conf").contains("tickTime=500\n"));
    assert_eq!(server.address(), format!("127.0.0.1:{}", server.port()));
}

#[test]
fn the_raw_client_reads_and_changes_the_tree() {
    let server = ZooKeeper::start();
    let mut client = RawClient::connect(&server.address());
    assert_eq!(client.children("/a"), None);
    assert_eq!(client.create("/a/b", b"", PERSISTENT), Err(NO_NODE));

    client.create_all("/a/b");
    assert_eq!(client.create("/a", b"", PERSISTENT), Err(NODE_EXISTS));
    assert_eq!(client.delete("/a"), Err(NOT_EMPTY));
    let first = client.create("/a/b/n-", b"one", EPHEMERAL_SEQUENTIAL);
    let second = client.create("/a/b/n-", b"", EPHEMERAL_SEQUENTIAL);
    assert_eq!(first.as_deref(), Ok("/a/b/n-0000000000"));
    assert_eq!(second.as_deref(), Ok("/a/b/n-0000000001"));
    let names = ["n-0000000000", "n-0000000001"].map(str::to_owned);
    assert_eq!(client.children("/a/b"), Some(names.to_vec()));

    let (data, czxid, owner) = client.get_data("/a/b/n-0000000000").unwrap();
    assert_eq!((data.as_slice(), owner), (&b"one"[..], client.session_id()));
    client.set_data("/a/b/n-0000000000", b"two").unwrap();
    let changed = client.get_data("/a/b/n-0000000000").unwrap();
    assert_eq!(changed, (b"two".to_vec(), czxid, owner));

    client.delete("/a/b/n-0000000000").unwrap();
    assert_eq!(client.get_data("/a/b/n-0000000000"), Err(NO_NODE));
    client.ping();
}

#[test]
fn a_dropped_raw_client_ends_its_session_and_an_abandoned_one_does_not() {
    let server = ZooKeeper::start();
    let address = server.address();
    let mut observer = RawClient::connect(&address);
    let create = |path: &str| {
        let mut client = RawClient::connect_with_timeout(&address, Duration::from_secs(1));
        client.create(path, b"", EPHEMERAL).unwrap();
        client
    };
    drop(create("/dropped"));
    assert_eq!(observer.children("/dropped"), None);
    create("/abandoned").abandon();
    assert_eq!(observer.children("/abandoned"), Some(vec![]));
    eventually("the abandoned session expires", || {
        observer.children("/abandoned").is_none()
    });
}

#[test]
fn mntr_shows_the_servers_numbers() {
    let server = ZooKeeper::start();
    let mut client = RawClient::connect(&server.address());
    assert_eq!(server.mntr("zk_ephemerals_count"), 0);
    client.create("/e", b"", EPHEMERAL).unwrap();
    assert_eq!(server.mntr("zk_ephemerals_count"), 1);
    assert_eq!(server.mntr("zk_watch_count"), 0);
}

#[test]
fn properties_reach_the_server() {
    let server = ZooKeeper::builder()
        .tick_time(Duration::from_millis(300))
        .min_session_timeout(Duration::from_millis(1100))
        .max_session_timeout(Duration::from_millis(2200))
        .property("maxClientCnxns", "7")
        .start();
    let configuration = server.four_letter_word("conf");
    for line in ["tickTime=300", "minSessionTimeout=1100", "maxClientCnxns=7"] {
        assert!(configuration.contains(line), "{line}: {configuration}");
    }
    let client = RawClient::connect(&server.address());
    assert_eq!(client.session_timeout(), Duration::from_millis(2200));
}

#[test]
fn a_dropped_server_is_gone_and_so_is_its_folder() {
    let server = ZooKeeper::start();
    let (address, folder) = (server.address(), server.folder().to_owned());
    assert!(!refuses(&address) && folder.is_dir());
    drop(server);
    assert!(refuses(&address) && !folder.exists());
}

#[test]
fn a_server_goes_when_its_test_panics() {
    let server = ZooKeeper::start();
    let (address, folder) = (server.address(), server.folder().to_owned());
    server.stop_process();
    let outcome = panic::catch_unwind(AssertUnwindSafe(move || {
        let _server = server;
        panic!("as intended");
    }));
    assert!(outcome.is_err());
    assert!(refuses(&address) && !folder.exists());
}

#[test]
fn a_server_dies_with_its_test_process() {
    let mut holder = Command::new(env::current_exe().unwrap())
        .args(["--exact", "holds_a_server_until_killed"])
        .args(["--ignored", "--nocapture"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let report = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("server at ")?.1.to_owned()))
        .expect("the other process reports its server");
    let (address, folder) = report.split_once(' ').unwrap();
    assert!(!refuses(address) && Path::new(folder).is_dir());

    holder.kill().unwrap();
    holder.wait().unwrap();
    eventually("the server is gone", || refuses(address));
    eventually("its folder is gone", || !Path::new(folder).exists());
}

#[test]
#[ignore = "runs as the process that a_server_dies_with_its_test_process kills"]
fn holds_a_server_until_killed() {
    let server = ZooKeeper::start();
    println!(
        "server at {} {}",
        server.address(),
        server.folder().display()
    );
    thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_restart_keeps_port_data_and_sessions() {
    let mut server = ZooKeeper::start();
    let address = server.address();
    let mut client = RawClient::connect(&address);
    client.create("/kept", b"data", PERSISTENT).unwrap();
    client.create("/session", b"", EPHEMERAL).unwrap();
    client.abandon();

    server.kill();
    assert!(refuses(&address));
    server.restart();
    assert_eq!(server.address(), address);
    let mut client = RawClient::connect(&address);
    assert_eq!(client.get_data("/kept").unwrap().0, b"data");
    assert_eq!(client.children("/session"), Some(vec![]));
}

#[test]
fn a_stopped_server_answers_only_after_it_goes_on() {
    let server = ZooKeeper::start();
    let mut client = RawClient::connect(&server.address());
    server.stop_process();
    let pause = Duration::from_millis(300);
    let started = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(pause);
            server.continue_process();
        });
        client.create("/late", b"", PERSISTENT).unwrap();
    });
    assert!(started.elapsed() >= pause);
}

#[test]
fn two_servers_run_at_once_and_share_nothing() {
    let (one, two) = (ZooKeeper::start(), ZooKeeper::start());
    assert_ne!(one.port(), two.port());
    RawClient::connect(&one.address()).create_all("/one");
    assert_eq!(RawClient::connect(&two.address()).children("/one"), None);
}

#[test]
fn the_proxy_records_frames_in_order_before_it_forwards_them() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(&server.address());
    let mut client = RawClient::connect(&proxy.address());
    assert_eq!(proxy.frames().len(), 2, "the handshake");
    proxy.clear();
    client.create("/n", b"", PERSISTENT).unwrap();
    client.ping();

    let frames = proxy.frames();
    let directions: Vec<_> = frames.iter().map(|frame| frame.direction).collect();
    let exchange = [Direction::ToServer, Direction::ToClient];
    assert_eq!(directions, [exchange, exchange].concat());
    assert!(frames.is_sorted_by(|a, b| a.write < b.write && a.at <= b.at));
    let ping = proxy.frames_in(Direction::ToServer).pop().unwrap();
    assert_eq!(ping.payload, [0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11]);
    assert_eq!((ping.connection, proxy.open_connections()), (0, 1));

    drop(client);
    eventually("the connection ends", || proxy.open_connections() == 0);
}

#[test]
fn the_proxy_shows_which_frames_were_written_together() {
    // Takes everything and answers nothing.
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(&upstream.local_addr().unwrap().to_string());
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    let mut send = |bytes: &[u8]| {
        stream.write_all(bytes).unwrap();
        thread::sleep(Duration::from_millis(100));
    };
    // Two frames and the first half of a third; the rest; a fourth.
    send(b"\0\0\0\x01a\0\0\0\x02bc\0\0\0\x03d");
    send(b"ef");
    send(b"\0\0\0\0");
    let frames = proxy.frames_in(Direction::ToServer);
    let payloads: Vec<_> = frames
        .iter()
        .map(|frame| frame.payload.as_slice())
        .collect();
    assert_eq!(payloads, [&b"a"[..], b"bc", b"def", b""]);
    let writes: Vec<_> = frames.iter().map(|frame| frame.write).collect();
    assert_eq!(writes[0], writes[1]);
    assert!(writes[1] < writes[2] && writes[2] < writes[3]);
}

#[test]
fn bytes_that_are_no_frames_pass_the_proxy_unrecorded() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(&server.address());
    let mut stream = TcpStream::connect(proxy.address()).unwrap();
    stream.write_all(b"ruok").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "imok");
    assert!(proxy.frames().is_empty());
}

#[test]
fn a_paused_proxy_holds_bytes_until_it_goes_on() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(&server.address());
    let mut client = RawClient::connect(&proxy.address());
    let mut observer = RawClient::connect(&server.address());
    proxy.clear();
    proxy.pause();
    thread::scope(|scope| {
        let create = scope.spawn(|| client.create("/held", b"", PERSISTENT));
        eventually("the request comes in", || proxy.frames().len() == 1);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(observer.children("/held"), None);
        proxy.resume();
        assert!(create.join().unwrap().is_ok());
    });
}

#[test]
fn with_replies_held_and_then_cut_a_request_takes_effect_unanswered() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(&server.address());
    let mut client = RawClient::connect(&proxy.address());
    let mut observer = RawClient::connect(&server.address());
    proxy.hold(Direction::ToClient);
    thread::scope(|scope| {
        let create = scope.spawn(|| client.create("/done", b"", PERSISTENT));
        eventually("the request takes effect", || {
            observer.children("/done").is_some()
        });
        assert!(!create.is_finished());
        proxy.cut();
        assert!(
            create.join().is_err(),
            "the raw client panics without a reply"
        );
    });
    assert_eq!(proxy.open_connections(), 0);
    proxy.resume();
    assert!(
        RawClient::connect(&proxy.address())
            .children("/done")
            .is_some()
    );
}

#[test]
fn a_refusing_proxy_closes_new_connections_and_keeps_the_old() {
    let server = ZooKeeper::start();
    let proxy = Proxy::start(&server.address());
    let address = proxy.address();
    let mut client = RawClient::connect(&address);
    proxy.refuse();
    client.ping();
    assert!(panic::catch_unwind(|| RawClient::connect(&address)).is_err());
    proxy.accept();
    RawClient::connect(&address).ping();
    drop(proxy);
    assert!(refuses(&address));
}
