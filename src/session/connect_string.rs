//! Connect strings as ZooKeeper's own clients take them:
//! `host1:2181,[::1]:2182,host3/chroot`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::proto::{PathError, ZnodePath};

/// The port that ZooKeeper's clients connect to unless told otherwise.
pub const DEFAULT_PORT: u16 = 2181;

/// One server of an ensemble: a host name or an address, and a port.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Server {
    host: Arc<str>,
    port: u16,
}

impl Server {
    /// The host name or address, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port, 1 to 65535.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The servers of an ensemble and the chroot below which every path lies.
///
/// ```
/// use zklock::session::ConnectString;
///
/// let ensemble: ConnectString = "zk1,[::1]:2182/app".parse()?;
/// assert_eq!(ensemble.servers()[0].to_string(), "zk1:2181");
/// assert_eq!(ensemble.servers()[1].to_string(), "[::1]:2182");
/// assert_eq!(ensemble.chroot().as_str(), "/app");
///
/// let error = "zk1:0".parse::<ConnectString>().unwrap_err();
/// assert_eq!(error.to_string(), "port \"0\" of server \"zk1:0\" is not a number from 1 to 65535");
/// # Ok::<(), zklock::session::ConnectStringError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectString {
    servers: Arc<[Server]>,
    chroot: ZnodePath,
}

impl ConnectString {
    /// The servers in the order written, at least one.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The chroot; the root if there is none.
    #[must_use]
    pub const fn chroot(&self) -> &ZnodePath {
        &self.chroot
    }
}

impl FromStr for ConnectString {
    type Err = ConnectStringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (servers, chroot) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, "/"),
        };
        if servers.trim().is_empty() {
            return Err(ConnectStringError::NoServer);
        }
        Ok(Self {
            servers: servers.split(',').map(server).collect::<Result<_, _>>()?,
            chroot: ZnodePath::new(chroot)?,
        })
    }
}

impl fmt::Display for ConnectString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, server) in self.servers.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{server}")?;
        }
        if self.chroot.is_root() {
            Ok(())
        } else {
            write!(f, "{}", self.chroot)
        }
    }
}

/// Why a connect string cannot be used. Nothing was sent anywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectStringError {
    /// It names no server at all.
    NoServer,
    /// One of the servers between the commas has no host.
    EmptyHost {
        /// The server as written.
        server: String,
    },
    /// A host holds a character that no host name or address has.
    BadHost {
        /// The server as written.
        server: String,
    },
    /// A port is not a number from 1 to 65535.
    BadPort {
        /// The server as written.
        server: String,
        /// The port as written.
        port: String,
    },
    /// An IPv6 address stands without brackets, so that its port cannot be told.
    BareIpv6 {
        /// The server as written.
        server: String,
    },
    /// The chroot is not a znode path.
    Chroot(PathError),
}

impl fmt::Display for ConnectStringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServer => {
                f.write_str("the connect string names no server; write it as \"host:2181\"")
            }
            Self::EmptyHost { server } => write!(f, "server {server:?} has no host name"),
            Self::BadHost { server } => write!(
                f,
                "server {server:?} is neither a host name nor an address; write it as \"host:2181\""
            ),
            Self::BadPort { server, port } => write!(
                f,
                "port {port:?} of server {server:?} is not a number from 1 to 65535"
            ),
            Self::BareIpv6 { server } => write!(
                f,
                "server {server:?} looks like an IPv6 address; put it in brackets, as in \"[::1]:2181\""
            ),
            Self::Chroot(error) => write!(f, "the chroot behind the servers is wrong: {error}"),
        }
    }
}

impl std::error::Error for ConnectStringError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Chroot(error) => Some(error),
            _ => None,
        }
    }
}

impl From<PathError> for ConnectStringError {
    fn from(error: PathError) -> Self {
        Self::Chroot(error)
    }
}

fn server(text: &str) -> Result<Server, ConnectStringError> {
    let text = text.trim();
    let (host, port) = split_port(text)?;
    if host.is_empty() {
        return Err(ConnectStringError::EmptyHost {
            server: text.to_owned(),
        });
    }
    if host.contains(|c: char| c.is_whitespace() || c.is_control() || "[]@?#\\\"'".contains(c)) {
        return Err(ConnectStringError::BadHost {
            server: text.to_owned(),
        });
    }
    Ok(Server {
        host: host.into(),
        port: parse_port(text, port)?,
    })
}

/// The host, and the port if one is written.
fn split_port(text: &str) -> Result<(&str, Option<&str>), ConnectStringError> {
    let bad_host = || ConnectStringError::BadHost {
        server: text.to_owned(),
    };
    if let Some(bracketed) = text.strip_prefix('[') {
        let (host, rest) = bracketed.split_once(']').ok_or_else(bad_host)?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| bad_host())?;
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(bad_host()),
        };
    }
    match text.split_once(':') {
        None => Ok((text, None)),
        Some((_, port)) if port.contains(':') => Err(ConnectStringError::BareIpv6 {
            server: text.to_owned(),
        }),
        Some((host, port)) => Ok((host, Some(port))),
    }
}

fn parse_port(server: &str, port: Option<&str>) -> Result<u16, ConnectStringError> {
    let Some(port) = port else {
        return Ok(DEFAULT_PORT);
    };
    port.parse()
        .ok()
        .filter(|number| *number != 0 && port.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or_else(|| ConnectStringError::BadPort {
            server: server.to_owned(),
            port: port.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConnectString, ConnectStringError> {
        text.parse()
    }

    #[test]
    fn servers_ports_and_chroot() {
        for (text, servers, chroot) in [
            ("localhost", vec!["localhost:2181"], "/"),
            ("localhost:2182", vec!["localhost:2182"], "/"),
            (
                "a:1, b , c:65535/x/y",
                vec!["a:1", "b:2181", "c:65535"],
                "/x/y",
            ),
            ("[::1]", vec!["[::1]:2181"], "/"),
            (
                "[fe80::1]:99,127.0.0.1/",
                vec!["[fe80::1]:99", "127.0.0.1:2181"],
                "/",
            ),
        ] {
            let parsed = parse(text).unwrap();
            let shown: Vec<_> = parsed.servers().iter().map(ToString::to_string).collect();
            assert_eq!(shown, servers, "{text}");
            assert_eq!(parsed.chroot().as_str(), chroot, "{text}");
            assert_eq!(parse(&parsed.to_string()).unwrap(), parsed, "{text}");
        }
    }

    #[test]
    fn each_fault_is_named() {
        for (text, message) in [
            ("", "names no server"),
            ("/chroot", "names no server"),
            (":2181", "no host name"),
            ("a,,b", "no host name"),
            ("a b:1", "neither a host name nor an address"),
            ("[::1", "neither a host name nor an address"),
            ("[zz]:1", "neither a host name nor an address"),
            ("[::1]x", "neither a host name nor an address"),
            ("a:", "port \"\" of server \"a:\""),
            ("a:0", "port \"0\""),
            ("a:+1", "port \"+1\""),
            ("a:65536", "port \"65536\""),
            ("a:zk", "port \"zk\""),
            ("::1", "put it in brackets"),
            ("a:1/b/", "chroot"),
            ("a:1//b", "chroot"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text:?}: {error}");
        }
    }
}
