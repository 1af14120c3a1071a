//! `zklock break`: the holder's claim, and no other, is removed.

use crate::harness::{Running, claims, ran};

/// The tokens in the queue.
fn tokens(path: &str) -> Vec<String> {
    let out = ran(&["status", "--json", path]).out;
    let queue: serde_json::Value = serde_json::from_str(&out).unwrap();
    let contenders = queue["contenders"].as_array().unwrap().iter();
    contenders.map(|claim| claim["token"].to_string()).collect()
}

#[test]
fn by_its_token_the_holder_is_removed_and_told() {
    let holder = Running::holding("/broken", &[], "echo; exec sleep 30");
    let waiter = Running::waiting("/broken", &[]);
    let token = &tokens("/broken")[0];
    let end = ran(&["break", "/broken", "--yes", token]);
    assert_eq!((end.code, &*end.out), (Some(0), ""), "{end:?}");
    let words = format!(
        "zklock: the claim with the token {token} is removed; its holder learns of this only by its watch"
    );
    assert!(end.err.contains(&words), "{end:?}");
    assert!(end.err.starts_with("   OWNER"), "{end:?}");
    holder.end().says(74, "someone else has deleted its claim");
    assert_eq!(waiter.end().code, Some(0));
}

#[test]
fn another_token_removes_nothing() {
    let _holder = Running::holding("/meant", &[], "echo; exec sleep 30");
    let _waiter = Running::waiting("/meant", &[]);
    let tokens = tokens("/meant");
    let end = ran(&["break", "/meant", "--yes", &tokens[1]]);
    assert_eq!(end.code, Some(75));
    let words = format!("the holder has the token {}, not {}", tokens[0], tokens[1]);
    assert!(end.err.contains(&words), "{end:?}");
    assert_eq!(claims("/meant").len(), 2);
}

#[test]
fn without_a_terminal_to_ask_at_nothing_is_removed() {
    let _holder = Running::holding("/asked", &[], "echo; exec sleep 30");
    let end = ran(&["break", "/asked"]);
    let words = format!("give --yes {}", tokens("/asked")[0]);
    assert!(end.code == Some(64) && end.err.contains(&words), "{end:?}");
    assert_eq!(claims("/asked").len(), 1);
}

#[test]
fn where_nobody_holds_there_is_nothing_to_do() {
    let end = ran(&["break", "/free", "--yes", "5"]);
    assert_eq!(end.code, Some(0));
    assert_eq!(end.err, "/free: nobody holds the lock or waits for it\n");
}
