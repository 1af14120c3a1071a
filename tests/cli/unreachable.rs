//! Servers that refuse, hang, or are no ZooKeeper.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::harness::{End, Running, zklock};

/// Runs against the server at this address.
#[track_caller]
fn ran_at(address: &str) -> End {
    let args = ["run", "-w", "1s", "-s", address, "/p", "true"];
    Running::start(&mut zklock(&args)).end()
}

/// A server that does this with each connection.
fn server(serve: fn(TcpStream) -> Option<TcpStream>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let connections = listener.incoming().map_while(Result::ok);
        connections.filter_map(serve).collect::<Vec<_>>()
    });
    address
}

#[test]
fn one_that_is_not_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    ran_at(&address).says(69, &format!("cannot connect to ZooKeeper at {address}: "));
    ran_at("no-such-host.invalid").says(69, "cannot be resolved");
    let status = ["status", "-w", "1s", "-s", &address, "/p"];
    let end = Running::start(&mut zklock(&status)).end();
    end.says(69, "check --server or ZKLOCK_SERVERS");
    let holder = ["break", "-w", "1s", "-s", &address, "/p"];
    Running::start(&mut zklock(&holder))
        .end()
        .says(69, &address);
}

#[test]
fn one_that_hangs() {
    let address = server(Some);
    ran_at(&address).says(69, &format!("{address}: connected, but no answer"));
}

#[test]
fn one_that_hangs_up() {
    let address = server(|mut stream| {
        let _ = stream.read(&mut [0; 1_000]);
        None
    });
    ran_at(&address).says(69, "the server closed the connection");
}

#[test]
fn one_that_is_no_zookeeper() {
    let address = server(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        Some(stream)
    });
    ran_at(&address).says(69, "HTTP");
}

#[test]
fn the_exit_code_of_a_taken_lock_is_not_that_of_a_missing_server() {
    let address = server(|_| None);
    let args = [
        "run", "-n", "-E", "0", "-w", "1s", "-s", &address, "/p", "true",
    ];
    let end = Running::start(&mut zklock(&args)).end();
    assert_eq!(end.code, Some(64), "-n and -w exclude each other");
    let args = ["run", "-E", "0", "-w", "1s", "-s", &address, "/p", "true"];
    Running::start(&mut zklock(&args))
        .end()
        .says(69, "check --server");
}
