//! `zklock status`: what there is to see.

use std::fs::OpenOptions;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Running, SERVER, claims, client, eventually, ran, zklock};
use crate::support::proxy::Proxy;
use crate::support::raw::{EPHEMERAL_SEQUENTIAL, PERSISTENT};

/// Sequential, and there for good.
const PERSISTENT_SEQUENTIAL: i32 = 2;

#[test]
fn the_queue_is_a_table_in_order() {
    let _holder = Running::holding("/shown", &["--owner", "first"], "echo; sleep 30");
    let _waiter = Running::waiting("/shown", &["--owner", "the second"]);
    let end = ran(&["status", "/shown"]);
    assert_eq!((end.code, &*end.err), (Some(0), ""));
    let lines: Vec<Vec<_>> = end
        .out
        .lines()
        .map(|line| line.split("  ").collect())
        .collect();
    let cells = |line: &[&str]| -> Vec<String> {
        let cells = line.iter().filter(|cell| !cell.is_empty());
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    assert_eq!(
        cells(&lines[0]),
        ["OWNER", "PROCESS", "TOKEN", "AGE", "SESSION", "ZNODE"]
    );
    let names = claims("/shown").into_iter();
    for (line, (name, (position, owner))) in lines[1..]
        .iter()
        .zip(names.zip([("1", "first"), ("2", "the second")]))
    {
        let cells = cells(line);
        assert_eq!((&*cells[0], &*cells[1]), (position, owner));
        assert!(
            cells[3].parse::<u64>().is_ok() && cells[4].ends_with('s'),
            "{cells:?}"
        );
        assert!(cells[5].starts_with("0x"), "{cells:?}");
        assert_eq!(cells[6], format!("/shown/{name}"));
    }
    assert_eq!(lines.len(), 3);
}

#[test]
fn nobody_is_nobody() {
    let end = ran(&["status", "/nobody/here"]);
    end.printed(0, "/nobody/here: nobody holds the lock or waits for it\n");
}

#[test]
fn a_full_disk_is_told() {
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = zklock(&["status", "/full"]).stdout(full).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(71), "{said}");
    let words = "zklock: cannot write to standard output: No space left on device";
    assert!(said.starts_with(words), "{said}");
}

#[test]
fn json_has_what_the_table_has_and_more() {
    let holder = Running::holding("/json", &["--owner", "me", "--ttl", "1h"], "echo; sleep 30");
    let end = ran(&["status", "--json", "/json"]);
    let queue: Value = serde_json::from_str(&end.out).unwrap();
    assert_eq!(queue["path"], "/json");
    let claim = &queue["contenders"][0];
    assert_eq!(claim["owner"], "me");
    assert_eq!(claim["pid"], holder.id());
    assert_eq!(claim["ttl_ms"], 3_600_000);
    assert_eq!(claim["session_timeout_ms"], 30_000);
    assert_eq!(claim["dialect"], "protected");
    assert_eq!(claim["znode"], format!("/json/{}", claims("/json")[0]));
    assert!(claim["created"].as_str().unwrap().ends_with('Z'));
    assert!(queue["headroom"].as_u64().unwrap() > 2_000_000_000);
}

#[test]
fn who_does_not_respect_whom_is_told() {
    let _holder = Running::holding("/mixed", &[], "echo; sleep 30");
    let mut raw = client();
    let kazoo = "/mixed/83c1bcf372c265e9ac7ee364e5d3bac5__lock__";
    raw.create(kazoo, b"host", EPHEMERAL_SEQUENTIAL).unwrap();
    raw.create("/mixed/x-", b"", EPHEMERAL_SEQUENTIAL).unwrap();
    raw.create("/mixed/stuck-lock-", b"", PERSISTENT_SEQUENTIAL)
        .unwrap();
    raw.create("/mixed/config", b"", PERSISTENT).unwrap();
    let out = ran(&["status", "/mixed"]).out;
    for words in [
        "kazoo (#2) does not wait for #1 unless it was given extra_lock_patterns=(\"lock-\",)",
        "#3, #4: no client that zklock knows names its claims so",
        "#4: not ephemeral; it stays until someone deletes it",
        "no claims, and nobody waits for them: config",
    ] {
        assert!(out.contains(words), "{words} is not in\n{out}");
    }
    assert!(out.lines().nth(2).unwrap().ends_with("  kazoo"), "{out}");
}

#[test]
fn what_others_write_moves_no_cursor() {
    let mut raw = client();
    raw.create("/evil", b"", PERSISTENT).unwrap();
    let data = br#"{"owner_id":"a\u001b[2Jb\nc","host":"\u202eh"}"#;
    raw.create("/evil/_c_x-lock-", data, EPHEMERAL_SEQUENTIAL)
        .unwrap();
    let out = ran(&["status", "/evil"]).out;
    assert!(out.contains("a\\u{1b}[2Jb\\nc  \\u{202e}h"), "{out}");
    assert_eq!(out.lines().count(), 2);
}

#[test]
fn watch_shows_each_change_until_it_is_interrupted() {
    let mut watch = Running::start(&mut zklock(&["status", "--watch", "--json", "/watched"]));
    let mut contenders = || {
        let queue: Value = serde_json::from_str(&watch.line()).unwrap();
        queue["contenders"].as_array().unwrap().len()
    };
    assert_eq!(contenders(), 0);
    // Long enough for a second look, at which there is nothing to say.
    std::thread::sleep(Duration::from_millis(1_500));
    let holder = Running::holding("/watched", &[], "echo; exec sleep 30");
    assert_eq!(contenders(), 1);
    holder.signal("TERM");
    assert_eq!(contenders(), 0);
    watch.signal("INT");
    watch.end().printed(130, "");
}

#[test]
fn watch_outlives_a_server_that_is_away_for_a_while() {
    let proxy = Proxy::start_raw(&SERVER.address());
    let args = ["status", "--watch", "-s", &proxy.address(), "/away"];
    let mut watch = Running::start(&mut zklock(&args));
    let nobody = "/away: nobody holds the lock or waits for it";
    assert_eq!(watch.line(), nobody);
    proxy.refuse();
    proxy.cut();
    let _holder = Running::holding("/away", &[], "echo; exec sleep 30");
    proxy.accept();
    assert_eq!(watch.line(), "");
    assert!(watch.line().starts_with("   OWNER"));
    watch.signal("TERM");
    assert_eq!(watch.end().code, Some(143));
}

#[test]
fn a_reader_that_has_gone_ends_it() {
    let script = "\"$0\" status --watch /piped | head -n 1";
    let zklock = zklock(&[]);
    let mut command = std::process::Command::new("sh");
    command.args(["-c", script]).arg(zklock.get_program());
    command.envs(
        zklock
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let running = Running::start(&mut command);
    std::thread::sleep(Duration::from_millis(500));
    let _holder = Running::holding("/piped", &[], "echo; sleep 30");
    eventually(|| claims("/piped").len() == 1);
    let end = running.end();
    assert_eq!((end.code, &*end.err), (Some(0), ""), "{end:?}");
}
