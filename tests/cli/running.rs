//! `zklock run` where all goes well: the command's streams, environment and exit
//! code.

use std::io::Write;
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Running, claims, eventually, ran, zklock};

#[test]
fn the_commands_exit_code_is_ours() {
    for code in [0, 1, 2, 64, 75, 255] {
        let script = format!("exit {code}");
        ran(&["run", "/codes", "-c", &script]).printed(code, "");
    }
    assert_eq!(claims("/codes"), [""; 0]);
}

#[test]
fn a_command_that_a_signal_ended_has_128_more() {
    for signal in [1, 9, 15, 34] {
        let script = format!("kill -{signal} $$");
        ran(&["run", "/ended", "-c", &script]).printed(128 + signal, "");
    }
}

#[test]
fn a_command_that_is_missing_or_cannot_be_executed() {
    let missing = ran(&["run", "/cannot", "no-such-command"]);
    missing.says(127, "cannot run no-such-command: No such file");
    let no_program = ran(&["run", "/cannot", "/etc/passwd"]);
    no_program.says(126, "cannot run /etc/passwd: Permission denied");
    assert_eq!(claims("/cannot"), [""; 0]);
}

#[test]
fn arguments_that_look_like_flags_are_the_commands() {
    ran(&["run", "/flags", "echo", "-n", "--", "-c", "--nonblock"]).printed(0, "-- -c --nonblock");
    ran(&["run", "/flags", "-n", "--", "echo", "-q"]).printed(0, "-q\n");
    ran(&["run", "-c", "echo \"$0\"", "/flags"]).printed(0, "/bin/sh\n");
}

#[test]
fn standard_input_goes_through() {
    let mut command = zklock(&["run", "/input", "wc", "-c"]);
    let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut process = process.unwrap();
    let bytes = vec![b'\xff'; 1 << 20];
    process.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"1048576\n");
}

#[test]
fn the_environment_says_what_is_held() {
    let script = "zklock() { $BIN status --json $ZKLOCK_PATH; }; zklock
        echo $ZKLOCK_PATH; echo $ZKLOCK_ZNODE; echo $ZKLOCK_FENCING_TOKEN
        echo $ZKLOCK_SESSION; echo $ZKLOCK_OWNER";
    let mut command = zklock(&["run", "/told", "--owner", "me and you", "-c", script]);
    let end = Running::start(command.env("BIN", env!("CARGO_BIN_EXE_zklock"))).end();
    let (queue, told) = end.out.split_once('\n').unwrap();
    let queue: Value = serde_json::from_str(queue).unwrap();
    let claim = &queue["contenders"][0];
    let text = |key: &str| claim[key].as_str().unwrap().to_owned();
    let token = claim["token"].as_u64().unwrap().to_string();
    let told: Vec<_> = told.lines().collect();
    let expected = [
        "/told",
        &text("znode"),
        &token,
        &text("session"),
        "me and you",
    ];
    assert_eq!(told, expected);
    assert_eq!(text("owner"), "me and you");
    assert_eq!(claim["position"], 1);
}

#[test]
fn the_command_has_no_signal_blocked() {
    // No shell: some clear the mask themselves.
    let args = ["run", "/unblocked", "grep", "SigBlk", "/proc/self/status"];
    ran(&args).printed(0, "SigBlk:\t0000000000000000\n");
}

#[test]
fn without_an_owner_the_variable_is_empty() {
    let script = "test -z \"$ZKLOCK_OWNER\" && test \"${ZKLOCK_OWNER+set}\" = set";
    let mut command = zklock(&["run", "/unowned", "-c", script]);
    Running::start(command.env("ZKLOCK_OWNER", "an outer lock's"))
        .end()
        .printed(0, "");
}

#[test]
fn under_a_chroot_the_path_is_as_given_and_the_znode_from_the_root() {
    let mut command = zklock(&["run", "/p", "-c", "echo $ZKLOCK_PATH $ZKLOCK_ZNODE"]);
    let servers = format!("{}/chroot/of", crate::harness::SERVER.address());
    let end = Running::start(command.env("ZKLOCK_SERVERS", servers)).end();
    let prefix = "/p /chroot/of/p/_c_";
    assert!(end.out.starts_with(prefix), "{end:?}");
}

#[test]
fn who_waits_gets_the_lock_when_the_command_has_ended() {
    let holder = Running::holding("/turns", &[], "echo; read line < $FIFO; true");
    holder.end();
    let holder = Running::holding("/turns", &[], "echo; sleep 1; date +%s%N");
    let mut waiter = Running::waiting("/turns", &[]);
    let released: u64 = holder.end().out.trim().parse().unwrap();
    let granted: u64 = waiter.line().parse().unwrap();
    assert!(released < granted);
    waiter.end().printed(0, "");
    eventually(|| claims("/turns").is_empty());
}

#[test]
fn a_lock_that_is_taken() {
    let _holder = Running::holding("/taken", &[], "echo; sleep 30");
    ran(&["run", "-n", "/taken", "true"]).says(75, "/taken is taken");
    ran(&["run", "-w", "0", "/taken", "true"]).says(75, "/taken is taken");
    ran(&["run", "-w", "0.3", "/taken", "true"]).says(75, "not to be had within 300ms");
    ran(&["run", "-n", "-E", "3", "/taken", "true"]).says(3, "/taken is taken");
    ran(&["run", "-n", "-E", "0", "/taken", "true"]).says(0, "/taken is taken");
    ran(&["run", "-n", "-q", "/taken", "true"]).printed(75, "");
    assert_eq!(claims("/taken").len(), 1);
}

#[test]
fn its_own_words_are_on_standard_error_as_text_or_json() {
    let end = ran(&["run", "-v", "/words", "echo", "x"]);
    assert_eq!(end.out, "x\n");
    let lines: Vec<_> = end.err.lines().collect();
    assert!(
        lines[0].starts_with("zklock: /words acquired, with the token "),
        "{end:?}"
    );
    assert_eq!(lines[1..], ["zklock: /words released"]);

    let end = ran(&["run", "-v", "--log=json", "/words", "echo", "x"]);
    let lines = end.err.lines();
    let lines: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!((&*end.out, lines.len()), ("x\n", 2));
    assert_eq!(
        (&lines[0]["event"], &lines[0]["level"]),
        (&"acquired".into(), &"info".into())
    );
    assert!(lines[0]["token"].is_u64() && lines[0]["path"] == "/words");
    assert_eq!(lines[1]["event"], "released");
}
