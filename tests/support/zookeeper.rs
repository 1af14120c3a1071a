//! A real standalone ZooKeeper server in a process of its own.
//!
//! It listens on a free loopback port and keeps its data in a fresh folder
//! below the system's temporary one. Dropping the [`ZooKeeper`] kills the
//! process and removes the folder. A small shell beside the server does the
//! same when the test process dies without dropping anything.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use super::words::four_letter_word;
use super::{becomes_true, free_port, random};

/// A server must answer within this time after its start.
const START_LIMIT: Duration = Duration::from_secs(30);

/// How many ports are tried: somebody may take one before the server does.
const START_ATTEMPTS: usize = 5;

/// The class of a server that is alone.
const STANDALONE: &str = "org.apache.zookeeper.server.ZooKeeperServerMain";

/// Where Debian's packages put their jars.
const DEBIAN_JARS: &str = "/usr/share/java";

const HOW_TO_INSTALL: &str = "These tests run against a real ZooKeeper server. Install one with\n    \
     apt-get install zookeeper default-jre-headless\n\
     or point ZOOKEEPER_HOME at an unpacked release (with its jars in it and in its lib folder).";

/// Becomes the server by `exec`, so that the child's process id is the
/// server's own, and leaves a watchdog behind. The watchdog waits on the pipe
/// at standard input, whose other end the test process holds: a line on it
/// means an orderly end; its closing means that the test process is gone, and
/// then the server is killed and its folder removed. Ctrl-C must reach neither
/// before the test process is gone.
const RUN_WITH_WATCHDOG: &str = r#"
server=$$ folder=$1
shift
exec 3<&0
(
    trap '' HUP INT TERM
    if ! read -r line <&3; then
        kill -KILL "$server"
        sleep 1
        rm -rf "$folder"
    fi
) </dev/null >/dev/null 2>&1 &
exec "$@" </dev/null 3<&-
"#;

/// A running standalone server.
pub(crate) struct ZooKeeper {
    port: u16,
    folder: Folder,
    process: Option<Process>,
}

/// Settings of a server before its start.
pub(crate) struct Builder {
    /// Lines of `zoo.cfg`; of two with one key the later counts.
    properties: Vec<(String, String)>,
    /// Files beside it, by their names.
    files: Vec<(String, String)>,
}

impl ZooKeeper {
    /// Starts a server with a tick of 500 ms, hence session timeouts of 1 s
    /// and more, and waits until it serves.
    ///
    /// # Panics
    ///
    /// When there is no server or no Java to run it, or it does not start.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// A server to be configured first.
    pub(crate) fn builder() -> Builder {
        let defaults = [
            ("tickTime", "500"),
            ("maxSessionTimeout", "60000"),
            ("maxClientCnxns", "0"),
            ("4lw.commands.whitelist", "*"),
            ("admin.enableServer", "false"),
            // Nothing here survives a power cut anyway.
            ("forceSync", "no"),
        ];
        let properties = defaults
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        Builder {
            properties,
            files: Vec::new(),
        }
    }

    /// Where clients connect: `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The port that clients connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the server answers to a 4-letter word such as `srvr` or `cons`.
    pub(crate) fn four_letter_word(&self, word: &str) -> String {
        four_letter_word(self.port, word)
            .unwrap_or_else(|error| panic!("{word} to {}: {error}", self.address()))
    }

    /// One of the server's own numbers, such as `zk_watch_count`,
    /// `zk_ephemerals_count` or `zk_num_alive_connections`.
    pub(crate) fn mntr(&self, key: &str) -> u64 {
        let answer = self.four_letter_word("mntr");
        let value = answer
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .find(|(name, _)| *name == key)
            .and_then(|(_, value)| value.trim().parse::<f64>().ok());
        match value {
            Some(value) => value as u64,
            None => panic!("mntr shows no number {key}:\n{answer}"),
        }
    }

    /// Kills the process at once, as a crash would. The data stay.
    pub(crate) fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    /// Starts the server again on its port and data, killing it first if it
    /// runs, and waits until it serves.
    pub(crate) fn restart(&mut self) {
        self.kill();
        let process = launch(&self.folder, self.port);
        self.process = Some(process.unwrap_or_else(|failure| panic!("{failure}")));
    }

    /// Stops the process where it is (SIGSTOP): connections stay open, and
    /// nothing is answered until [`continue_process`](Self::continue_process).
    pub(crate) fn stop_process(&self) {
        self.signal("STOP");
    }

    /// Lets a stopped process go on (SIGCONT).
    pub(crate) fn continue_process(&self) {
        self.signal("CONT");
    }

    /// The process id of the server.
    ///
    /// # Panics
    ///
    /// When it has been killed.
    pub(crate) fn process_id(&self) -> u32 {
        let process = self.process.as_ref().expect("the server has been killed");
        process.id()
    }

    /// The folder of its configuration, data and output.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder.path
    }

    fn signal(&self, name: &str) {
        signal(self.process_id(), name);
    }
}

/// Sends a process a signal: `STOP`, `CONT` and so on.
pub(crate) fn signal(process_id: u32, name: &str) {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$0" "$1""#, name])
        .arg(process_id.to_string())
        .status()
        .expect("run sh");
    assert!(status.success(), "could not send SIG{name}: {status}");
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Builder {
    /// The tick, which the server's other times count in. Session timeouts
    /// are granted from two ticks up.
    pub(crate) fn tick_time(self, tick: Duration) -> Self {
        self.property("tickTime", &tick.as_millis().to_string())
    }

    /// The shortest session timeout granted, instead of two ticks.
    pub(crate) fn min_session_timeout(self, timeout: Duration) -> Self {
        self.property("minSessionTimeout", &timeout.as_millis().to_string())
    }

    /// The longest session timeout granted, instead of 60 s.
    pub(crate) fn max_session_timeout(self, timeout: Duration) -> Self {
        self.property("maxSessionTimeout", &timeout.as_millis().to_string())
    }

    /// Any line of `zoo.cfg`. A key that ZooKeeper does not know becomes the
    /// system property `zookeeper.KEY`.
    pub(crate) fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A file in the folder that the server runs in.
    pub(crate) fn file(mut self, name: &str, text: String) -> Self {
        self.files.push((name.to_owned(), text));
        self
    }

    /// Starts the server and waits until it serves.
    ///
    /// # Panics
    ///
    /// When there is no server or no Java to run it, or it does not start.
    pub(crate) fn start(self) -> ZooKeeper {
        let deadline = Instant::now() + START_LIMIT;
        let mut failures = Vec::new();
        while failures.len() < START_ATTEMPTS && Instant::now() < deadline {
            let port = free_port();
            let folder = Folder::create();
            folder.write_configuration(port, &self.properties);
            let files = self.files.iter();
            files.for_each(|(name, text)| folder.write(name, text));
            match launch(&folder, port) {
                Ok(process) => {
                    let process = Some(process);
                    return ZooKeeper {
                        port,
                        folder,
                        process,
                    };
                }
                Err(failure) => failures.push(failure),
            }
        }
        panic!("ZooKeeper does not start:\n{}", failures.join("\n"));
    }
}

/// A server's process and the pipe to its watchdog.
pub(super) struct Process {
    server: Child,
    watchdog: ChildStdin,
}

impl Process {
    /// Starts a server on the configuration in `folder`.
    pub(super) fn spawn(folder: &Folder, heap: &str, main_class: &str) -> Self {
        let output = fs::File::create(folder.path.join("output"));
        let output = output.expect("create the server's output file");
        let mut server = server_command(folder, heap, main_class)
            .stdin(Stdio::piped())
            .stdout(output.try_clone().expect("duplicate a file handle"))
            .stderr(output)
            .process_group(0)
            .spawn()
            .expect("run sh");
        let watchdog = server.stdin.take().expect("standard input is a pipe");
        Self { server, watchdog }
    }

    pub(super) fn id(&self) -> u32 {
        self.server.id()
    }

    fn has_exited(&mut self) -> bool {
        !matches!(self.server.try_wait(), Ok(None))
    }

    /// Kills the server and waits until it is gone; sends the watchdog home.
    /// Never panics, since it runs in drops.
    pub(super) fn end(mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        let _ = self.watchdog.write_all(b"\n");
    }
}

/// A folder that goes when it is dropped.
pub(super) struct Folder {
    pub(super) path: PathBuf,
}

impl Folder {
    pub(super) fn create() -> Self {
        let path = env::temp_dir().join(format!("zklock-zookeeper-{:016x}", random()));
        fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }

    pub(super) fn write_configuration(&self, port: u16, properties: &[(String, String)]) {
        let data = self.path.join("data");
        let mut zoo_cfg = format!("dataDir={}\n", data.display());
        zoo_cfg += &format!("clientPortAddress=127.0.0.1\nclientPort={port}\n");
        for (key, value) in properties {
            zoo_cfg += &format!("{key}={value}\n");
        }
        let files = [
            ("zoo.cfg", zoo_cfg.as_str()),
            ("logback.xml", LOGBACK),
            ("log4j.properties", LOG4J),
        ];
        for (name, text) in files {
            self.write(name, text);
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path.join(name), text).expect("write the server's configuration");
    }

    /// What the server has printed since its last start.
    pub(super) fn output(&self) -> String {
        fs::read_to_string(self.path.join("output")).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Starts the process and waits until this very server serves on `port`.
fn launch(folder: &Folder, port: u16) -> Result<Process, String> {
    let mut process = Process::spawn(folder, "-Xmx128m", STANDALONE);
    let mut exited = false;
    becomes_true(START_LIMIT, || {
        exited = process.has_exited();
        exited || serves_from(folder, port)
    });
    if !exited && serves_from(folder, port) {
        return Ok(process);
    }
    process.end();
    let output = folder.output();
    Err(format!("no answer on port {port}; its output:\n{output}"))
}

/// Whether the server on `port` serves, and is the one with this folder.
fn serves_from(folder: &Folder, port: u16) -> bool {
    let data_line = format!("dataDir={}", folder.path.display());
    four_letter_word(port, "conf").is_ok_and(|answer| answer.contains(&data_line))
}

fn server_command(folder: &Folder, heap: &str, main_class: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", RUN_WITH_WATCHDOG, "zookeeper"])
        .arg(&folder.path)
        .arg(java())
        .args([heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
        .args([
            "-XX:-UsePerfData",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        ])
        .arg("-cp")
        .arg(class_path(folder))
        .arg(main_class)
        .arg(folder.path.join("zoo.cfg"))
        .current_dir(&folder.path);
    command
}

/// The folder, for the logging configuration in it, and the server's jars.
fn class_path(folder: &Folder) -> OsString {
    let jars = match env::var_os("ZOOKEEPER_HOME") {
        Some(home) => release_jars(Path::new(&home)),
        None => debian_jars(),
    };
    let entries = [folder.path.clone()].into_iter().chain(jars);
    env::join_paths(entries).expect("a path without a colon")
}

/// `*` is the Java launcher's own wildcard for every jar in a folder.
fn release_jars(home: &Path) -> Vec<PathBuf> {
    let folders = [home.to_owned(), home.join("lib")];
    let has_server = folders.iter().any(|folder| contains_server(folder));
    assert!(
        has_server,
        "ZOOKEEPER_HOME={}: no zookeeper jar in it or in its lib folder.\n{HOW_TO_INSTALL}",
        home.display()
    );
    folders.map(|folder| folder.join("*")).into()
}

fn contains_server(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else {
        return false;
    };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("zookeeper") && name.ends_with(".jar") && !name.contains("jute")
    })
}

/// The manifest of Debian's `zookeeper.jar` lacks a logger and half of Netty.
fn debian_jars() -> Vec<PathBuf> {
    let server = Path::new(DEBIAN_JARS).join("zookeeper.jar");
    let exists = server.exists();
    assert!(exists, "no {}.\n{HOW_TO_INSTALL}", server.display());
    let others = ["slf4j-simple.jar", "netty-codec.jar", "netty-resolver.jar"];
    let others = others.map(|jar| Path::new(DEBIAN_JARS).join(jar));
    [server].into_iter().chain(others).collect()
}

fn java() -> PathBuf {
    let java_home = env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    java_home
        .into_iter()
        .chain(env::split_paths(&path))
        .map(|folder| folder.join("java"))
        .find(|java| java.is_file())
        .unwrap_or_else(|| panic!("no java in JAVA_HOME or on the PATH.\n{HOW_TO_INSTALL}"))
}

/// Quiet logging for releases from 3.8 on.
const LOGBACK: &str = r#"<configuration>
  <appender name="CONSOLE" class="ch.qos.logback.core.ConsoleAppender">
    <encoder><pattern>%d{ISO8601} %-5p [%t] %m%n</pattern></encoder>
  </appender>
  <root level="WARN"><appender-ref ref="CONSOLE"/></root>
</configuration>
"#;

/// Quiet logging for releases up to 3.7.
const LOG4J: &str = "log4j.rootLogger=WARN, CONSOLE
log4j.appender.CONSOLE=org.apache.log4j.ConsoleAppender
log4j.appender.CONSOLE.layout=org.apache.log4j.PatternLayout
log4j.appender.CONSOLE.layout.ConversionPattern=%d{ISO8601} %-5p [%t] %m%n
";
