//! What a person sees and does at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::harness::{Running, SERVER, claims, eventually};
use crate::support::becomes_true;

/// A terminal with a program in it.
struct Screen {
    process: Child,
    keyboard: File,
    seen: Arc<Mutex<String>>,
}

impl Screen {
    /// Runs a program, as the first of a session on this terminal.
    fn run(program: &[&str]) -> Self {
        let pty = nix::pty::openpty(None, None).unwrap();
        let (screen, keyboard) = (File::from(pty.master), File::from(pty.slave));
        let stream = || Stdio::from(keyboard.try_clone().unwrap());
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .args(program)
            .envs([
                ("TERM", "xterm"),
                ("PS1", "ready> "),
                ("BIN", env!("CARGO_BIN_EXE_zklock")),
            ])
            .env("ZKLOCK_SERVERS", SERVER.address())
            .stdin(stream())
            .stdout(stream())
            .stderr(stream());
        let process = command.spawn().unwrap();
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut output, shared) = (screen.try_clone().unwrap(), Arc::clone(&seen));
        thread::spawn(move || {
            let mut bytes = [0; 1_000];
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]);
                shared.lock().unwrap().push_str(&text);
            }
        });
        Self {
            process,
            keyboard: screen,
            seen,
        }
    }

    /// An interactive shell, which does job control.
    fn shell() -> Self {
        let mut screen = Self::run(&["bash", "--norc", "--noprofile", "--noediting", "-i"]);
        screen.sees("ready> ");
        screen
    }

    fn types(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until this is to be seen, and forgets all up to it.
    #[track_caller]
    fn sees(&mut self, text: &str) -> String {
        let mut found = None;
        let is_seen = becomes_true(Duration::from_secs(10), || {
            let mut seen = self.seen.lock().unwrap();
            let end = seen.find(text).map(|at| at + text.len());
            found = end.map(|end| seen.drain(..end).collect());
            found.is_some()
        });
        let seen = self.seen.lock().unwrap();
        assert!(is_seen, "{text:?} is not in {seen:?}");
        found.unwrap()
    }

    /// As shells tell how a program has ended.
    #[track_caller]
    fn ends(&mut self) -> i32 {
        let mut ended = None;
        becomes_true(Duration::from_secs(10), || {
            ended = self.process.try_wait().unwrap();
            ended.is_some()
        });
        match ended {
            Some(status) => status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap()),
            None => panic!("it has not ended: {:?}", self.seen.lock().unwrap()),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const ZKLOCK: &str = env!("CARGO_BIN_EXE_zklock");

#[test]
fn who_waits_sees_its_place_and_the_holder() {
    let holder = Running::holding("/seen", &["--owner", "the first"], "echo; exec sleep 30");
    let mut screen = Screen::run(&[ZKLOCK, "run", "/seen", "echo", "mine"]);
    screen.sees("lwaiting for /seen: 1 ahead; held by the first (");
    screen.sees("), in the queue for ");
    holder.signal("TERM");
    // The line is cleared before the command has the terminal.
    screen.sees("\r\u{1b}[Kmine\r\n");
    assert_eq!(screen.ends(), 0);
}

#[test]
fn a_lock_that_is_free_is_granted_without_a_word() {
    let mut screen = Screen::run(&[ZKLOCK, "run", "/silent", "echo", "mine"]);
    assert_eq!(screen.sees("mine\r\n"), "mine\r\n");
    assert_eq!(screen.ends(), 0);
}

#[test]
fn ctrl_c_while_waiting_withdraws() {
    let _holder = Running::holding("/left", &[], "echo; exec sleep 30");
    let mut screen = Screen::run(&[ZKLOCK, "run", "/left", "true"]);
    screen.sees("waiting for /left: 1 ahead");
    screen.types("\u{3}");
    assert_eq!(screen.ends(), 130);
    assert_eq!(claims("/left").len(), 1);
}

const COUNTING: &str = "trap 'echo interrupted' INT; echo begun
    for i in $(seq 10); do sleep 0.05; done; echo over";

#[test]
fn ctrl_c_reaches_the_command_once() {
    let mut screen = Screen::run(&[ZKLOCK, "run", "/counted", "-c", COUNTING]);
    screen.sees("begun");
    screen.types("\u{3}");
    let seen = screen.sees("over");
    assert_eq!(seen.matches("interrupted").count(), 1, "{seen}");
    assert_eq!(screen.ends(), 0);
}

#[test]
fn ctrl_c_ends_a_script_with_its_command() {
    let script = "\"$BIN\" run /scripted -c 'echo begun; exec sleep 30'; echo went on";
    let mut screen = Screen::run(&["bash", "-c", script]);
    screen.sees("begun");
    screen.types("\u{3}");
    assert_eq!(screen.ends(), 130);
    assert!(!screen.seen.lock().unwrap().contains("went on"));
    eventually(|| claims("/scripted").is_empty());
}

#[test]
fn the_command_reads_the_keyboard_and_has_ctrl_c_for_itself_then() {
    let script = "echo name?; read name; echo hello $name; exec cat";
    let mut screen = Screen::run(&[ZKLOCK, "run", "/read", "-c", script]);
    screen.sees("name?");
    screen.types("you\r");
    screen.sees("hello you");
    screen.types("\u{3}");
    assert_eq!(screen.ends(), 130);
}

#[test]
fn a_script_hears_of_ctrl_c_even_so() {
    let script = "\"$BIN\" run /heard -c 'read x; echo a $x; read y'; echo went on";
    let mut screen = Screen::run(&["bash", "-c", script]);
    screen.types("1\r");
    screen.sees("a 1");
    screen.types("\u{3}");
    assert_eq!(screen.ends(), 130);
    assert!(!screen.seen.lock().unwrap().contains("went on"));
}

#[test]
fn the_keyboard_comes_back_to_a_script() {
    let script = "\"$BIN\" run /back -c 'read x; echo a $x'; read y; echo b $y";
    let mut screen = Screen::run(&["bash", "-c", script]);
    screen.types("1\r");
    screen.sees("a 1");
    screen.types("2\r");
    screen.sees("b 2");
    assert_eq!(screen.ends(), 0);
}

#[test]
fn ctrl_z_stops_the_command_and_fg_lets_it_go_on() {
    let mut screen = Screen::shell();
    let script = "'echo begun; read x; echo got $x; read y; echo and $y'";
    screen.types(&format!("$BIN run /paused -c {script}\r"));
    screen.sees("begun\r\n");
    for (line, answer) in [("a", "got a\r\n"), ("b", "and b\r\n")] {
        screen.types("\u{1a}");
        screen.sees("Stopped");
        screen.sees("ready> ");
        screen.types("fg\r");
        // The shell shows what goes on.
        screen.sees(script);
        screen.types(&format!("{line}\r"));
        screen.sees(answer);
    }
    screen.sees("ready> ");
    screen.types("exit\r");
    assert_eq!(screen.ends(), 0);
}

#[test]
fn a_command_whose_lock_ran_out_while_it_was_stopped_does_not_go_on() {
    let mut screen = Screen::shell();
    screen.types("$BIN run --session-timeout 2s /late -c 'echo begun; sleep 0.5; echo went on'\r");
    screen.sees("begun\r\n");
    screen.types("\u{1a}");
    screen.sees("Stopped");
    eventually(|| claims("/late").is_empty());
    screen.types("fg; echo ended $?\r");
    let seen = screen.sees("ended 74");
    assert!(!seen.contains("\nwent on"), "{seen}");
    assert!(seen.contains("/late was lost"), "{seen}");
}

#[test]
fn break_asks_and_takes_yes_for_an_answer() {
    let holder = Running::holding("/please", &["--owner", "me"], "echo; exec sleep 30");
    for (answer, code, left) in [("y", 75, 1), ("", 75, 1), ("yes", 0, 0)] {
        let mut screen = Screen::run(&[ZKLOCK, "break", "/please"]);
        let shown = screen.sees("Type yes to do it: ");
        assert!(shown.contains("1  me "), "{shown}");
        screen.types(&format!("{answer}\r"));
        assert_eq!(screen.ends(), code, "{answer}");
        assert_eq!(claims("/please").len(), left, "{answer}");
    }
    holder.end().says(74, "someone else has deleted its claim");
}

#[test]
fn the_holder_is_bold_unless_no_color_is_set() {
    let _holder = Running::holding("/bold", &[], "echo; exec sleep 30");
    let mut screen = Screen::run(&[ZKLOCK, "status", "/bold"]);
    screen.sees("\u{1b}[1m1  -");
    assert_eq!(screen.ends(), 0);
    let mut screen = Screen::run(&["env", "NO_COLOR=1", ZKLOCK, "status", "/bold"]);
    assert!(!screen.sees("/bold/_c_").contains('\u{1b}'));
    assert_eq!(screen.ends(), 0);
}
