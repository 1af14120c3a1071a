//! Signals: from the first instant on, whatever the command does.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::{Running, claims, eventually, zklock};

/// Those that people send, and their numbers.
const SIGNALS: [(&str, i32); 6] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", 15),
];

/// Answers each signal by a line, and ends when it is told to.
const LISTENER: &str = "exec 2> /dev/null
    for name in HUP INT QUIT USR1 USR2; do trap \"echo $name\" $name; done
    trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";

#[test]
fn while_there_is_no_answer_from_the_server() {
    for (name, number) in SIGNALS {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let running = Running::start(&mut zklock(&["run", "-s", &address, "/p", "true"]));
        let _connection = silent.accept().unwrap();
        let start = Instant::now();
        running.signal(name);
        running.end().printed(128 + number, "");
        assert!(start.elapsed() < Duration::from_secs(5), "{name}");
    }
}

#[test]
fn while_waiting_they_withdraw() {
    let _holder = Running::holding("/withdrawn", &[], "echo; sleep 30");
    for (name, number) in SIGNALS {
        let waiter = Running::waiting("/withdrawn", &[]);
        waiter.signal(name);
        waiter.end().printed(128 + number, "");
        assert_eq!(claims("/withdrawn").len(), 1, "{name}");
    }
}

#[test]
fn while_running_they_are_handed_on_and_the_command_is_waited_for() {
    let mut running = Running::holding("/handed", &[], LISTENER);
    for (name, _) in &SIGNALS[..5] {
        running.signal(name);
        assert_eq!(running.line(), *name);
    }
    running.signal("TERM");
    running.end().printed(3, "");
    assert_eq!(claims("/handed"), [""; 0]);
}

#[test]
fn each_is_delivered_once() {
    let mut running = Running::holding("/once", &[], LISTENER);
    running.signal("INT");
    assert_eq!(running.line(), "INT");
    std::thread::sleep(Duration::from_millis(300));
    running.signal("TERM");
    running.end().printed(3, "");
}

/// One that is meant for a process is none for those that it has started.
#[test]
fn what_people_send_goes_to_the_command_alone() {
    let script = "trap 'echo heard' USR1; echo; sleep 1 && echo slept";
    let running = Running::holding("/alone", &[], script);
    running.signal("USR1");
    running.end().printed(0, "heard\nslept\n");
}

#[test]
fn a_command_that_does_not_expect_them_ends_by_them() {
    for (name, number) in SIGNALS {
        let running = Running::holding("/unexpected", &[], "echo; exec sleep 30");
        running.signal(name);
        running.end().printed(128 + number, "");
    }
}

/// As `nohup` does, and a script with what it starts in the background.
#[test]
fn what_was_ignored_from_the_start_stays_so() {
    let script = "trap '' HUP INT; exec \"$0\" run /ignored -c 'echo; exec sleep 1'";
    let mut command = std::process::Command::new("sh");
    let zklock = zklock(&[]);
    command.args(["-c", script]).arg(zklock.get_program());
    command.envs(
        zklock
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let mut running = Running::start(&mut command);
    running.line();
    running.signal("HUP");
    running.signal("INT");
    running.end().printed(0, "");
}

#[test]
fn a_command_may_be_stopped_and_go_on_under_its_lock() {
    let script = "echo $$; sleep 1; echo done";
    let mut running = Running::start(&mut zklock(&["run", "/stopped", "-c", script]));
    let child = running.line().parse().unwrap();
    crate::support::zookeeper::signal(child, "STOP");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(claims("/stopped").len(), 1);
    // Handed on as the others are.
    running.signal("CONT");
    running.end().printed(0, "done\n");
    eventually(|| claims("/stopped").is_empty());
}
