//! A real server with a port for TLS, and certificates for it and its clients.

use std::sync::{Arc, LazyLock};

use zklock::rustls::ClientConfig;

use super::certificates::{Authority, Identity};
use super::free_port;
use super::zookeeper::ZooKeeper;

/// A real server with a port for TLS beside its plain one.
pub(crate) struct Secure {
    pub(crate) server: ZooKeeper,
    pub(crate) port: u16,
    pub(crate) authority: Authority,
}

impl Secure {
    /// It has this certificate, and what `zoo.cfg` says besides.
    pub(crate) fn start(
        authority: Authority,
        identity: &Identity,
        properties: &[(&str, &str)],
    ) -> Self {
        let port = free_port();
        let defaults = [
            (
                "serverCnxnFactory",
                "org.apache.zookeeper.server.NettyServerCnxnFactory",
            ),
            ("secureClientPort", &port.to_string()),
            ("secureClientPortAddress", "127.0.0.1"),
            ("ssl.keyStore.type", "PEM"),
            ("ssl.keyStore.location", "key.pem"),
            ("ssl.trustStore.type", "PEM"),
            ("ssl.trustStore.location", "trust.pem"),
        ];
        let properties = defaults.iter().chain(properties);
        let builder = properties.fold(ZooKeeper::builder(), |builder, (key, value)| {
            builder.property(key, value)
        });
        let server = builder
            .file("key.pem", identity.pem().to_owned())
            .file("trust.pem", authority.pem().to_owned())
            .start();
        Self {
            server,
            port,
            authority,
        }
    }

    /// One that asks for client certificates, with a certificate for
    /// `localhost` and its address. Shared by all tests.
    pub(crate) fn shared() -> &'static Self {
        static SERVER: LazyLock<Secure> = LazyLock::new(|| {
            let authority = Authority::new();
            let identity = authority.issue(&["localhost", "127.0.0.1"]);
            Secure::start(authority, &identity, &[])
        });
        &SERVER
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A client with a certificate that the server trusts.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.authority.client(Some(&self.authority.issue(&[])))
    }
}
