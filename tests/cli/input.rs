//! Bad input: one line that says what is wrong and how to mend it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Running, client, ran};
use crate::support::raw::EPHEMERAL;

#[test]
fn flags_with_values_that_cannot_be() {
    for (flags, words) in [
        (&["-E", "256"][..], "256 is not in 0..=255"),
        (&["-E", "-1"], "'-1'"),
        (&["-E", "x"], "'x' for '--conflict-exit-code <CODE>'"),
        (&["-w", "soon"], "write it like 500ms, 3s or 1m30s"),
        (&["-w", "-3s"], "'-3'"),
        (&["--timeout="], "for '--timeout <TIME>'"),
        (
            &["-n", "-w", "3s"],
            "cannot be used with '--timeout <TIME>'",
        ),
        (&["--session-timeout", "0s"], "between 1ms and 2147483647ms"),
        (
            &["--session-timeout", "30d"],
            "between 1ms and 2147483647ms",
        ),
        (&["--ttl", "0"], "more than nothing"),
        (
            &["--session-timeout", "10s", "--grace", "2s"],
            "a sixth of --session-timeout 10s is the most; raise that to 12s, or lower --grace to 1.666s",
        ),
        (
            &["--ttl", "3s", "--grace", "1s"],
            "a sixth of --ttl 3s is the most; raise that to 6s",
        ),
        (
            &["--on-lost", "stop"],
            "[possible values: term, kill, warn]",
        ),
        (&["--acl", "world:anyone"], "no SCHEME:ID:PERMS"),
        (&["--log", "xml"], "[possible values: text, json]"),
        (&["-q", "-v"], "cannot be used with '--verbose'"),
        (&["-s", "a:b:c"], "a:b:c"),
        (&["-s", "localhost:0"], "port \"0\""),
        (&["-s", ""], "names no server"),
        (&["--server", "localhost/a/"], "must not end"),
        (
            &["--auth-file", "/no/such/file"],
            "cannot read the auth file /no/such/file",
        ),
        (&["--no-such-flag"], "unexpected argument '--no-such-flag'"),
        (&["--nonblok"], "a similar argument exists: '--nonblock'"),
    ] {
        let args = [&["run"], flags, &["/p", "true"]].concat();
        ran(&args).says(64, words);
    }
    let owner = "x".repeat(65_537);
    ran(&["run", "--owner", &owner, "/p", "true"]).says(64, "at most 65536 are possible");
}

#[test]
fn arguments_that_are_missing_or_wrong() {
    for (args, words) in [
        (&[][..], "a command is missing"),
        (&["lock"], "unrecognized subcommand 'lock'"),
        (&["run"], "<PATH>"),
        (&["run", "/p"], "<COMMAND>"),
        (&["run", "/p", "--"], "<COMMAND>"),
        (
            &["run", "/p", "-c"],
            "a value is required for '--command <TEXT>'",
        ),
        (&["run", "-c", "x", "/p", "true"], "cannot be used with"),
        (
            &["run", "p", "true"],
            "znode path \"p\" must start with \"/\"",
        ),
        (&["run", "/p/", "true"], "must not end"),
        (&["run", "/a//b", "true"], "empty"),
        (&["run", "/a/../b", "true"], "\"..\""),
        (&["run", "", "true"], "empty"),
        (&["run", "/\u{1}", "true"], "character"),
        (&["status"], "<PATH>"),
        (&["status", "p"], "must start with"),
        (&["status", "-w", "0", "/p"], "more than nothing"),
        (&["break", "p"], "must start with"),
        (
            &["break", "--yes", "x", "/p"],
            "a token is a decimal number",
        ),
        (&["serve", "--port", "70000"], "70000 is not in 0..=65535"),
        (&["man", "lock"], "no command \"lock\""),
        (&["completions", "csh"], "[possible values: bash"),
    ] {
        ran(args).says(64, words);
    }
}

#[test]
fn usage_errors_are_json_if_that_was_asked_for() {
    for form in [&["--log", "json"][..], &["--log=json"]] {
        let end = ran(&[&["run", "-E", "256"], form].concat());
        let line: Value = serde_json::from_str(&end.err).unwrap();
        assert_eq!((&line["exit_code"], end.code), (&64.into(), Some(64)));
    }
}

#[test]
fn a_path_below_which_nothing_can_be() {
    let mut client = client();
    client.create("/ephemeral", b"", EPHEMERAL).unwrap();
    ran(&["run", "/ephemeral", "true"]).says(64, "choose another lock path");
}

/// A file of this content and mode.
fn file(name: &str, content: &str, mode: u32) -> PathBuf {
    let path = std::env::temp_dir().join(format!("zklock-{}-{name}", std::process::id()));
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

#[test]
fn an_auth_file_that_others_have_access_to_is_refused() {
    for mode in [0o644, 0o640, 0o602, 0o610] {
        let file = file("open", "digest:me:secret", mode);
        let file = file.to_str().unwrap();
        let end = ran(&["run", "--auth-file", file, "/p", "true"]);
        end.says(77, &format!("then: chmod 600 {file}"));
        assert!(!end.err.contains("secret"));
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn an_auth_file_with_a_wrong_line_is_refused_without_showing_it() {
    let file = file("wrong", "digest:me:x\nsecret", 0o600);
    let file = file.to_str().unwrap();
    let end = ran(&["status", "--auth-file", file, "/p"]);
    end.says(64, "line 2 of the auth file");
    assert!(!end.err.contains("secret"));
    fs::remove_file(file).unwrap();
}

#[test]
fn what_an_acl_forbids_is_not_allowed() {
    let mine = file("mine", "# mine\ndigest:me:secret\n", 0o600);
    let mine = ["--auth-file", mine.to_str().unwrap()];
    let acl = ["--acl", "auth::cdrwa"];
    let create = [&["run", "/mine"], &mine[..], &acl, &["true"]].concat();
    ran(&create).printed(0, "");
    ran(&["run", "/mine", "true"]).says(77, "check the ACL of /mine");
    ran(&["run", "/mine/below", "true"]).says(77, "/mine/below is missing");
    ran(&["status", "/mine"]).says(77, "not allowed to list the claims");
    ran(&["run", "/p", acl[0], acl[1], "true"]).says(64, "check --acl, and --auth-file");
    fs::remove_file(mine[1]).unwrap();
}

#[test]
fn an_identity_that_the_server_refuses() {
    let file = file("unknown", "no-such-scheme:x", 0o600);
    let args = ["run", "--auth-file", file.to_str().unwrap(), "/p", "true"];
    ran(&args).says(77, "check --auth-file");
    fs::remove_file(file).unwrap();
}

#[test]
fn help_has_every_exit_code_and_variable() {
    let help = ran(&["run", "--help"]);
    assert_eq!((help.code, &*help.err), (Some(0), ""));
    for word in ["64 ", "69 ", "74 ", "75 ", "77 ", "126 ", "127 ", "128+n "] {
        assert!(help.out.contains(&format!("\n  {word}")), "{word}");
    }
    for name in [
        "PATH",
        "ZNODE",
        "FENCING_TOKEN",
        "SESSION",
        "OWNER",
        "SERVERS",
    ] {
        assert!(help.out.contains(&format!("ZKLOCK_{name}")), "{name}");
    }
    assert!(help.out.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn completions_and_man_pages_know_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let script = ran(&["completions", shell]);
        assert!(script.out.contains("conflict-exit-code"), "{shell}");
    }
    let page = ran(&["man", "run"]);
    assert!(page.out.contains("zklock\\-run") && page.out.contains("on\\-lost"));
    assert!(ran(&["man"]).out.contains("zklock\\-status"));
}

#[test]
fn too_few_file_descriptors_are_told() {
    for most in 4..9 {
        let limited = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
        let mut command = Command::new("/bin/sh");
        let zklock = env!("CARGO_BIN_EXE_zklock");
        let command = command.args(["-c", &limited, zklock, "run", "/p", "true"]);
        Running::start(command)
            .end()
            .says(71, "Too many open files");
    }
}
