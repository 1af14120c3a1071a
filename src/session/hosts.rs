//! Which server to try next.

use super::backoff::Random;
use super::connect_string::Server;

/// The servers in a random order, so that a fleet spreads over an ensemble,
/// and where the present pass over them stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Hosts {
    servers: Vec<Server>,
    next: usize,
    /// Servers tried since the pass began.
    tried: usize,
}

impl Hosts {
    pub(super) fn new(mut servers: Vec<Server>, random: &mut Random) -> Self {
        random.shuffle(&mut servers);
        Self {
            servers,
            next: 0,
            tried: 0,
        }
    }

    /// Starts a new pass: every server deserves a try without delay.
    pub(super) fn start_pass(&mut self) {
        self.tried = 0;
    }

    /// The next server in turn; `None` only without any server.
    pub(super) fn rotate(&mut self) -> Option<Server> {
        let server = self.servers.get(self.next)?.clone();
        self.next = (self.next + 1) % self.servers.len();
        self.tried = self.tried.saturating_add(1);
        Some(server)
    }

    /// Servers that the present pass has still to try.
    pub(super) fn left(&self) -> usize {
        self.servers.len().saturating_sub(self.tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::ConnectString;

    #[test]
    fn a_pass_tries_every_server_once_and_goes_round() {
        let ensemble: ConnectString = "a,b,c".parse().unwrap();
        let mut hosts = Hosts::new(ensemble.servers().to_vec(), &mut Random::new(1));
        let first: Vec<_> = (0..3).map(|_| hosts.rotate().unwrap()).collect();
        assert_eq!(hosts.left(), 0);
        let mut sorted = first.clone();
        sorted.sort();
        assert_eq!(sorted, ensemble.servers());
        hosts.start_pass();
        assert_eq!(hosts.left(), 3);
        assert_eq!(hosts.rotate().as_ref(), first.first());
        assert_eq!(hosts.left(), 2);
    }
}
