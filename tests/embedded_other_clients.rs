//! Other clients find in the embedded server what they find in a real one:
//! kazoo, and ZooKeeper's own shell.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use support::other_clients::{kazoo, zk_cli};
use support::raw::RawClient;
use support::server::{TestServer, on_both_servers};

async fn kazoo_does_what_programs_do_with_it(server: &'static TestServer) {
    let server = server.another();
    let output = kazoo("kazoo_basics.py").arg(server.address()).output();
    let output = output.expect("run python3; on Debian: apt-get install python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.stdout, b"done\n", "{errors}");
    assert!(output.status.success(), "{errors}");
}

const COMMANDS: &str = "\
ls /
create /a data
create -s /a/n- x
create -e -s /a/e- y
ls /a
get -w /a
set /a again
stat /a
delete /a
addauth digest user:secret
create /private hidden auth::cdrwa
get /private
quit
";

async fn zookeepers_shell_does_what_people_do_with_it(server: &'static TestServer) {
    let server = server.another();
    let output = zk_cli(&server.address(), COMMANDS);
    let lines: Vec<&str> = output.lines().map(str::trim).collect();
    for line in [
        "[zookeeper]",
        "Created /a",
        "Created /a/n-0000000000",
        "Created /a/e-0000000001",
        "[e-0000000001, n-0000000000]",
        "data",
        "WatchedEvent state:SyncConnected type:NodeDataChanged path:/a",
        "dataVersion = 1",
        "dataLength = 5",
        "numChildren = 2",
        "Node not empty: /a",
        "Created /private",
        "hidden",
    ] {
        assert!(lines.contains(&line), "{line:?} in\n{output}");
    }
    assert!(!output.contains("ConnectionLoss"), "{output}");
    let mut raw = RawClient::connect(&server.address());
    let left = raw.children("/a").unwrap();
    assert_eq!(
        left,
        ["n-0000000000"],
        "the ephemeral has gone with the shell"
    );
    assert_eq!(raw.get_data("/a").unwrap().0, b"again");
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    kazoo_does_what_programs_do_with_it
    zookeepers_shell_does_what_people_do_with_it;
}
