//! How these tests run the command and look at what it does.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use crate::support::becomes_true;
use crate::support::raw::RawClient;
use crate::support::zookeeper::ZooKeeper;

/// The server of all tests that do not stop it.
pub(crate) static SERVER: LazyLock<ZooKeeper> = LazyLock::new(ZooKeeper::start);

/// No command of these tests may take longer than this.
const LIMIT: Duration = Duration::from_secs(30);

/// The command with these arguments, on the tests' server.
pub(crate) fn zklock(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zklock"));
    command
        .args(args)
        .env("ZKLOCK_SERVERS", SERVER.address())
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// As [`zklock`], run to its end.
#[track_caller]
pub(crate) fn ran(args: &[&str]) -> End {
    Running::start(&mut zklock(args)).end()
}

/// A command that has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl End {
    /// It has said this much in one line, and ended with this code.
    #[track_caller]
    pub(crate) fn says(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        let line = self
            .err
            .strip_prefix("zklock: ")
            .unwrap_or_else(|| panic!("{self:?}"));
        assert!(line.contains(words), "{words:?} is not in {line:?}");
        assert_eq!(line.lines().count(), 1, "{self:?}");
    }

    /// It has said nothing itself; its command has printed this.
    #[track_caller]
    pub(crate) fn printed(&self, code: i32, out: &str) {
        let expected = Self {
            code: Some(code),
            out: out.to_owned(),
            err: String::new(),
        };
        assert_eq!(self, &expected);
    }
}

/// A command that runs.
pub(crate) struct Running {
    process: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(command: &mut Command) -> Self {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        Self { process, out }
    }

    /// Runs this shell script under the lock at `path`, and waits until it has
    /// printed a line.
    #[track_caller]
    pub(crate) fn holding(path: &str, flags: &[&str], script: &str) -> Self {
        let args = [&["run", path], flags, &["-c", script]].concat();
        let mut running = Self::start(&mut zklock(&args));
        running.line();
        running
    }

    /// Queues at `path`, to print a line, and waits until it is in the queue.
    #[track_caller]
    pub(crate) fn waiting(path: &str, flags: &[&str]) -> Self {
        let before = claims(path).len();
        let args = [&["run", path], flags, &["--", "date", "+%s%N"]].concat();
        let running = Self::start(&mut zklock(&args));
        eventually(|| claims(path).len() > before);
        running
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        crate::support::zookeeper::signal(self.id(), name);
    }

    /// The next line on standard output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Nothing more comes on standard input, which was piped.
    pub(crate) fn close_input(&mut self) {
        drop(self.process.stdin.take());
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.try_wait().unwrap().is_some()
    }

    #[track_caller]
    pub(crate) fn end(mut self) -> End {
        let ended = becomes_true(LIMIT, || self.has_ended());
        assert!(ended, "it has not ended within {LIMIT:?}");
        let (mut out, mut err) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        let mut errors = self.process.stderr.take().unwrap();
        errors.read_to_string(&mut err).unwrap();
        let code = self.process.wait().unwrap().code();
        End { code, out, err }
    }
}

/// Whatever a test that fails has left.
impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// The claims at `path`.
pub(crate) fn claims(path: &str) -> Vec<String> {
    let mut names = client().children(path).unwrap_or_default();
    names.sort();
    names
}

pub(crate) fn client() -> RawClient {
    RawClient::connect(&SERVER.address())
}

#[track_caller]
pub(crate) fn eventually(condition: impl FnMut() -> bool) {
    crate::support::eventually("what is waited for here", condition);
}

/// Whether there is a process with this id that is no zombie.
pub(crate) fn is_running(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.starts_with('Z'));
    state == Some(false)
}
