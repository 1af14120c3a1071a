//! `zklock serve`, and the other commands on it.

use std::process::Command;

use crate::harness::{Running, eventually, is_running, zklock};

/// A server, and where it is.
fn server() -> (Running, String) {
    let mut server = Running::start(&mut zklock(&["serve", "--port", "0"]));
    let address = server.line();
    (server, address)
}

/// As `zklock`, on this server.
fn zklock_at(address: &str, args: &[&str]) -> Command {
    let mut command = zklock(args);
    command.env("ZKLOCK_SERVERS", address);
    command
}

#[test]
fn it_serves_the_other_commands_until_it_is_interrupted() {
    let (server, address) = server();
    let ran = |args: &[&str]| Running::start(&mut zklock_at(&address, args)).end();
    let script = "echo held; exec sleep 30";
    let mut holder = zklock_at(&address, &["run", "/p", "--owner", "me", "-c", script]);
    let mut holder = Running::start(&mut holder);
    assert_eq!(holder.line(), "held");
    ran(&["run", "-n", "/p", "true"]).says(75, "/p is taken");
    let queue = ran(&["status", "--json", "/p"]).out;
    let queue: serde_json::Value = serde_json::from_str(&queue).unwrap();
    assert_eq!(queue["contenders"][0]["owner"], "me");
    let token = queue["contenders"][0]["token"].to_string();
    assert_eq!(ran(&["break", "/p", "--yes", &token]).code, Some(0));
    holder.end().says(74, "someone else has deleted its claim");
    ran(&["run", "/p", "echo", "free"]).printed(0, "free\n");
    server.signal("INT");
    server.end().says(130, "from memory: for development only");
}

#[test]
fn when_it_stops_a_command_ends_in_time() {
    let (server, address) = server();
    let script = "trap '' TERM; echo $$; sleep 30; true";
    let args = ["run", "/p", "--session-timeout", "4s", "-c", script];
    let mut holder = Running::start(&mut zklock_at(&address, &args));
    let child = holder.line().parse().unwrap();
    server.signal("STOP");
    eventually(|| !is_running(child));
    holder
        .end()
        .says(74, "the servers could not be reached in time");
    server.signal("CONT");
    server.signal("TERM");
    assert_eq!(server.end().code, Some(143));
}

#[test]
fn a_port_that_is_taken_is_told() {
    let (_server, address) = server();
    let port = address.rsplit_once(':').unwrap().1;
    let second = Running::start(&mut zklock(&["serve", "--port", port])).end();
    second.says(69, &format!("cannot listen on {address}: "));
}
