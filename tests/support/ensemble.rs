//! A real ensemble of three ZooKeeper servers on loopback, whose links to each
//! other can be held one by one.
//!
//! Every connection between two servers goes through a proxy of its own: each
//! server's configuration names the others by the ports of proxies, and only
//! itself by the real ones. Held links stay open and silent, as on a network
//! that has lost its packets.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::proxy::{Direction, Proxy};
use super::words::four_letter_word;
use super::zookeeper::{Folder, Process, signal};
use super::{becomes_true, listen_on_free_port};

/// How many servers there are.
pub(crate) const SERVERS: usize = 3;

/// A leader and its followers must serve within this time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How many starts are tried: somebody may take a port before a server does,
/// and a slow machine may make the first election fail.
const START_ATTEMPTS: usize = 2;

/// The class of a server that may be one of several.
const ONE_OF_SEVERAL: &str = "org.apache.zookeeper.server.quorum.QuorumPeerMain";

/// A running ensemble. Dropping it kills its servers. They are counted from 0.
pub(crate) struct Ensemble {
    servers: Vec<Server>,
    links: Vec<Link>,
}

/// Settings of an ensemble before its start.
pub(crate) struct Builder {
    /// Lines of every `zoo.cfg`; of two with one key the later counts.
    properties: Vec<(String, String)>,
}

struct Server {
    client_port: u16,
    folder: Folder,
    process: Option<Process>,
    /// By SIGSTOP: it answers nothing.
    stopped: AtomicBool,
}

/// How one server reaches another.
struct Link {
    from: usize,
    to: usize,
    /// From a follower to its leader.
    quorum: Proxy,
    election: Proxy,
}

/// The ports that a server listens on for the others.
struct Ports {
    quorum: u16,
    election: u16,
}

impl Ensemble {
    /// Starts an ensemble with a tick of 200 ms, hence session timeouts of
    /// 400 ms and more, and waits until all of it serves.
    ///
    /// # Panics
    ///
    /// When there is no server or no Java to run it, or it does not start.
    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// An ensemble to be configured first.
    pub(crate) fn builder() -> Builder {
        let defaults = [
            ("tickTime", "200"),
            ("initLimit", "10"),
            ("syncLimit", "5"),
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
        Builder { properties }
    }

    /// Where clients connect to server `index`: `127.0.0.1:PORT`.
    pub(crate) fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.servers[index].client_port)
    }

    /// Every server's address, as a connect string.
    pub(crate) fn connect_string(&self) -> String {
        let addresses: Vec<_> = (0..SERVERS).map(|index| self.address(index)).collect();
        addresses.join(",")
    }

    /// The server that leads now.
    ///
    /// # Panics
    ///
    /// When none does.
    pub(crate) fn leader(&self) -> usize {
        let leader = self.find_leader();
        leader.unwrap_or_else(|| panic!("no leader; {}", self.describe()))
    }

    /// The server that leads now, if any does.
    pub(crate) fn find_leader(&self) -> Option<usize> {
        self.in_mode("leader").first().copied()
    }

    /// The servers that follow now.
    pub(crate) fn followers(&self) -> Vec<usize> {
        self.in_mode("follower")
    }

    /// The server that a session is on, if any is.
    pub(crate) fn server_of(&self, session_id: i64) -> Option<usize> {
        let shown = format!("sid={session_id:#x},");
        (0..SERVERS).find(|&index| self.answer(index, "cons").contains(&shown))
    }

    /// Waits until one server leads and the others follow.
    ///
    /// # Panics
    ///
    /// When they do not within a minute.
    pub(crate) fn wait_until_complete(&self) {
        let complete = becomes_true(START_LIMIT, || self.is_complete());
        assert!(complete, "not complete: {}", self.describe());
    }

    /// Cuts a server off from both others, both ways: nothing passes, and all
    /// connections stay open.
    pub(crate) fn isolate(&self, index: usize) {
        for link in &self.links {
            if link.from == index || link.to == index {
                link.quorum.pause();
                link.election.pause();
            }
        }
    }

    /// Holds what the leader sends to this follower, which goes on sending.
    pub(crate) fn hold_to(&self, follower: usize) {
        self.to_leader(follower).hold(Direction::ToClient);
    }

    /// The end of [`hold_to`](Self::hold_to): what was held goes on its way.
    pub(crate) fn release_to(&self, follower: usize) {
        self.to_leader(follower).release(Direction::ToClient);
    }

    /// Holds what this follower sends to the leader.
    pub(crate) fn hold_from(&self, follower: usize) {
        self.to_leader(follower).hold(Direction::ToServer);
    }

    /// Holds the acks that this follower sends to the leader, as its disk would
    /// if it were slow, until [`heal`](Self::heal).
    pub(crate) fn hold_acks_of(&self, follower: usize) {
        self.to_leader(follower).hold_acks(true);
    }

    /// The link by which a server follows another, if that leads.
    pub(crate) fn link(&self, follower: usize, leader: usize) -> &Proxy {
        let link = |link: &&Link| (link.from, link.to) == (follower, leader);
        let link = self.links.iter().find(link);
        &link.expect("the leader follows nobody").quorum
    }

    /// Every link by which a server follows another, if that leads.
    pub(crate) fn links_to_leaders(&self) -> impl Iterator<Item = &Proxy> + Clone {
        self.links.iter().map(|link| &link.quorum)
    }

    /// Lets everything pass again, what was held first.
    pub(crate) fn heal(&self) {
        for link in &self.links {
            link.quorum.resume();
            link.election.resume();
        }
    }

    /// Kills a server at once, as a crash would. Its data stay.
    pub(crate) fn kill(&mut self, index: usize) {
        self.servers[index].kill();
    }

    /// Whether a server has a process.
    pub(crate) fn runs(&self, index: usize) -> bool {
        self.servers[index].process.is_some()
    }

    /// Starts a server again, killing it first if it runs.
    pub(crate) fn relaunch(&mut self, index: usize) {
        self.servers[index].start();
    }

    /// As [`relaunch`](Self::relaunch), and waits until it serves.
    pub(crate) fn restart(&mut self, index: usize) {
        self.relaunch(index);
        let serves = becomes_true(START_LIMIT, || self.mode(index).is_some());
        assert!(serves, "server {index}: {}", self.describe());
    }

    /// Stops a server's process where it is (SIGSTOP): its connections stay
    /// open, and nothing is answered until
    /// [`continue_process`](Self::continue_process).
    pub(crate) fn stop_process(&self, index: usize) {
        self.servers[index].stopped.store(true, Ordering::Relaxed);
        signal(self.servers[index].process_id(), "STOP");
    }

    /// Lets a stopped process go on (SIGCONT).
    pub(crate) fn continue_process(&self, index: usize) {
        signal(self.servers[index].process_id(), "CONT");
        self.servers[index].stopped.store(false, Ordering::Relaxed);
    }

    /// Whether one server leads and the others follow.
    pub(crate) fn is_complete(&self) -> bool {
        self.in_mode("leader").len() == 1 && self.followers().len() == SERVERS - 1
    }

    fn in_mode(&self, mode: &str) -> Vec<usize> {
        let shows = |index: &usize| self.mode(*index).as_deref() == Some(mode);
        (0..SERVERS).filter(shows).collect()
    }

    /// `leader` or `follower`; `None` while it does not serve.
    fn mode(&self, index: usize) -> Option<String> {
        let answer = self.answer(index, "srvr");
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "));
        mode.map(str::to_owned)
    }

    /// The answer to a 4-letter word, empty if there is none.
    fn answer(&self, index: usize, word: &str) -> String {
        let server = &self.servers[index];
        if server.process.is_none() || server.stopped.load(Ordering::Relaxed) {
            return String::new();
        }
        four_letter_word(server.client_port, word).unwrap_or_default()
    }

    /// The link of a follower to the present leader.
    fn to_leader(&self, follower: usize) -> &Proxy {
        self.link(follower, self.leader())
    }

    /// What each server says it is, and what it has printed.
    fn describe(&self) -> String {
        let describe = |index: usize| {
            let (mode, output) = (self.mode(index), self.servers[index].folder.output());
            format!("server {index}: {mode:?}; its output:\n{output}\n")
        };
        (0..SERVERS).map(describe).collect()
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        self.servers.iter_mut().for_each(Server::kill);
    }
}

impl Builder {
    /// The tick, which the servers' other times count in. Session timeouts are
    /// granted from two ticks up.
    pub(crate) fn tick_time(self, tick: Duration) -> Self {
        self.property("tickTime", &tick.as_millis().to_string())
    }

    /// For how many ticks a leader and a follower may be out of touch.
    pub(crate) fn sync_limit(self, ticks: u32) -> Self {
        self.property("syncLimit", &ticks.to_string())
    }

    /// Any line of `zoo.cfg`. A key that ZooKeeper does not know becomes the
    /// system property `zookeeper.KEY`.
    pub(crate) fn property(mut self, key: &str, value: &str) -> Self {
        self.properties.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Starts the ensemble and waits until all of it serves.
    ///
    /// # Panics
    ///
    /// When there is no server or no Java to run it, or it does not start.
    pub(crate) fn start(self) -> Ensemble {
        let mut failures = Vec::new();
        for _ in 0..START_ATTEMPTS {
            let ensemble = self.launch();
            if becomes_true(START_LIMIT, || ensemble.is_complete()) {
                return ensemble;
            }
            failures.push(ensemble.describe());
        }
        panic!("the ensemble does not start:\n{}", failures.join("\n"));
    }

    fn launch(&self) -> Ensemble {
        let port = || listen_on_free_port().local_addr().unwrap().port();
        let ports: Vec<_> = (0..SERVERS)
            .map(|_| Ports {
                quorum: port(),
                election: port(),
            })
            .collect();
        let links = connect(&ports);
        let mut servers: Vec<_> = (0..SERVERS)
            .map(|index| {
                let (client_port, folder) = (port(), Folder::create());
                let mut properties = self.properties.clone();
                properties.extend((0..SERVERS).map(|other| member(index, other, &ports, &links)));
                folder.write_configuration(client_port, &properties);
                write_id(&folder, index + 1);
                Server {
                    client_port,
                    folder,
                    process: None,
                    stopped: AtomicBool::new(false),
                }
            })
            .collect();
        servers.iter_mut().for_each(Server::start);
        Ensemble { servers, links }
    }
}

/// Tells a server which one it is.
fn write_id(folder: &Folder, id: usize) {
    let data = folder.path.join("data");
    fs::create_dir(&data).expect("create the data folder");
    fs::write(data.join("myid"), id.to_string()).expect("write the server's id");
}

/// A pair of proxies from each server to each other one.
fn connect(ports: &[Ports]) -> Vec<Link> {
    let real = |port: u16| SocketAddr::from(([127, 0, 0, 1], port)).to_string();
    let pairs = (0..SERVERS).flat_map(|from| (0..SERVERS).map(move |to| (from, to)));
    let mut links: Vec<Link> = Vec::new();
    for (from, to) in pairs.filter(|(from, to)| from < to) {
        let quorum = |to: usize| Proxy::start_quorum(&real(ports[to].quorum));
        // A server that opens a connection for the election says where it is
        // itself, and one of a higher number calls back there: that must be a
        // proxy too.
        let back = Proxy::start_raw(&real(ports[from].election));
        let election = Proxy::start_rewriting(
            &real(ports[to].election),
            &real(ports[from].election),
            &back.address(),
        );
        links.push(Link {
            from,
            to,
            quorum: quorum(to),
            election,
        });
        links.push(Link {
            from: to,
            to: from,
            quorum: quorum(from),
            election: back,
        });
    }
    links
}

/// The line of `zoo.cfg` that tells `server` where `other` is.
fn member(server: usize, other: usize, ports: &[Ports], links: &[Link]) -> (String, String) {
    let key = format!("server.{}", other + 1);
    let link = links
        .iter()
        .find(|link| (link.from, link.to) == (server, other));
    let (quorum, election) = match link {
        Some(link) => (link.quorum.port(), link.election.port()),
        None => (ports[server].quorum, ports[server].election),
    };
    (key, format!("127.0.0.1:{quorum}:{election}"))
}

impl Server {
    /// Starts it, killing it first if it runs; does not wait until it serves.
    fn start(&mut self) {
        self.kill();
        self.process = Some(Process::spawn(&self.folder, "-Xmx64m", ONE_OF_SEVERAL));
    }

    fn kill(&mut self) {
        *self.stopped.get_mut() = false;
        if let Some(process) = self.process.take() {
            process.end();
        }
    }

    fn process_id(&self) -> u32 {
        let process = self.process.as_ref().expect("the server has been killed");
        process.id()
    }
}
