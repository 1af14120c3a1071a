//! Sessions over TLS, on real ZooKeeper servers with certificates of this test's
//! own, and what is told when there is none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use support::certificates::Authority;
use support::proxy::Proxy;
use support::raw::RawClient;
use support::secure::Secure;
use support::zookeeper::ZooKeeper;
use zklock::embedded::EmbeddedServer;
use zklock::rustls::ClientConfig;
use zklock::session::Stopped;
use zklock::{Cause, ConnectError, Guard, Lock, Session, SessionState, TlsError};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);
/// For a connection that must fail: the first handshake of a server takes its
/// time.
const A_WHILE: Duration = Duration::from_secs(4);

/// What a server needs for TLS 1.3: its own ciphers are those of 1.2.
const TLS_1_3: [(&str, &str); 2] = [
    ("ssl.protocol", "TLSv1.3"),
    ("ssl.ciphersuites", "TLS_AES_128_GCM_SHA256"),
];

async fn connect(address: &str, config: Arc<ClientConfig>) -> Session {
    let builder = Session::builder(address).tls(config).connect_timeout(LONG);
    builder.connect().await.unwrap()
}

async fn acquire(session: &Session, path: &str) -> Guard {
    let lock = Lock::new(session, path).unwrap();
    lock.acquire().timeout(LONG).await.unwrap()
}

/// Why there is no session; in words, and as a value.
async fn failure(builder: zklock::SessionBuilder) -> (String, Cause) {
    let error = builder.connect_timeout(A_WHILE).connect().await;
    let error = error.expect_err("a session");
    let text = error.to_string();
    println!("{text}");
    match error {
        ConnectError::Stopped(Stopped::ConnectTimedOut { mut failures, .. }) => {
            (text, failures.remove(0).1)
        }
        other => panic!("{other:?}"),
    }
}

async fn tls_failure(address: &str, config: Arc<ClientConfig>) -> (String, TlsError) {
    match failure(Session::builder(address).tls(config)).await {
        (text, Cause::Tls(error)) => {
            assert!(text.contains(address), "{text}");
            (text, error)
        }
        (_, other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_lock_over_tls() {
    let server = Secure::shared();
    for host in ["127.0.0.1", "localhost"] {
        let session = connect(&format!("{host}:{}", server.port), server.client()).await;
        let guard = acquire(&session, "/tls").await;
        let claims = RawClient::connect(&server.server.address())
            .children("/tls")
            .unwrap();
        assert_eq!(guard.znode(), format!("/tls/{}", claims[0]));
        guard.release().await.unwrap();
        session.close().await;
    }
}

#[tokio::test]
async fn a_session_goes_on_over_the_next_connection() {
    let server = Secure::shared();
    let proxy = Proxy::start_raw(&server.address());
    let session = connect(&proxy.address(), server.client()).await;
    let guard = acquire(&session, "/cut").await;
    let state = |session: &Session| match session.state() {
        SessionState::Connected {
            session_id,
            reattached,
            ..
        } => Some((session_id, reattached)),
        _ => None,
    };
    let (id, _) = state(&session).unwrap();
    for _ in 0..3 {
        proxy.cut();
        let mut states = session.states();
        while !matches!(states.next().await, Some(SessionState::Suspended { .. })) {}
        while !matches!(states.next().await, Some(SessionState::Connected { .. })) {}
        assert_eq!(state(&session), Some((id, true)));
        assert_eq!(guard.check(), Ok(()));
    }
    guard.release().await.unwrap();
}

#[tokio::test]
async fn tls_1_3_without_client_certificates_and_by_another_name() {
    let authority = Authority::new();
    let identity = authority.issue(&["zk.example", "192.0.2.1"]);
    let mut properties = TLS_1_3.to_vec();
    properties.push(("ssl.clientAuth", "none"));
    let server = Secure::start(authority, &identity, &properties);
    let config = server.authority.client(None);

    let named = Session::builder(server.address())
        .tls(Arc::clone(&config))
        .tls_server_name("zk.example".try_into().unwrap());
    let session = named.connect_timeout(LONG).connect().await.unwrap();
    acquire(&session, "/named").await.release().await.unwrap();

    let (text, error) = tls_failure(&server.address(), config).await;
    let expected = TlsError::WrongName {
        expected: "127.0.0.1".into(),
        presented: "zk.example, 192.0.2.1".into(),
    };
    assert_eq!(error, expected);
    assert!(
        text.contains("not for 127.0.0.1, but for zk.example"),
        "{text}"
    );
}

#[tokio::test]
async fn a_missing_client_certificate_is_told() {
    let server = Secure::shared();
    let config = server.authority.client(None);
    let (text, error) = tls_failure(&server.address(), config).await;
    assert_eq!(error, TlsError::NoClientCertificate);
    assert!(text.contains("asks for a client certificate"), "{text}");
}

#[tokio::test]
async fn a_missing_client_certificate_is_told_with_tls_1_3_too() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let server = Secure::start(authority, &identity, &TLS_1_3);
    let session = connect(&server.address(), server.client()).await;
    acquire(&session, "/shown").await.release().await.unwrap();

    let config = server.authority.client(None);
    let (_, error) = tls_failure(&server.address(), config).await;
    assert_eq!(error, TlsError::NoClientCertificate);
}

#[tokio::test]
async fn a_client_certificate_that_the_server_does_not_trust_is_told() {
    let server = Secure::shared();
    let stranger = Authority::new().issue(&[]);
    let config = server.authority.client(Some(&stranger));
    let (text, error) = tls_failure(&server.address(), config).await;
    assert!(matches!(error, TlsError::ClientCertificateRefused(_)));
    assert!(
        text.contains("does not accept this client's certificate"),
        "{text}"
    );
}

#[tokio::test]
async fn a_server_whose_issuer_is_not_trusted() {
    let server = Secure::shared();
    let (text, error) = tls_failure(&server.address(), Authority::new().client(None)).await;
    assert_eq!(error, TlsError::UnknownIssuer);
    assert!(text.contains("not trusted here"), "{text}");
}

#[tokio::test]
async fn a_server_whose_certificate_has_expired_or_is_not_valid_yet() {
    for (year, expected) in [(2000, TlsError::Expired), (2100, TlsError::NotValidYet)] {
        let authority = Authority::new();
        let identity = authority.issue_for(year, &["127.0.0.1"]);
        let server = Secure::start(authority, &identity, &[]);
        let (text, error) = tls_failure(&server.address(), server.client()).await;
        assert_eq!(error, expected);
        assert!(text.contains("this machine's clock"), "{text}");
    }
}

#[tokio::test]
async fn plain_text_to_a_port_for_tls() {
    let server = Secure::shared();
    let (text, cause) = failure(Session::builder(server.address())).await;
    assert_eq!(cause, Cause::ClosedInHandshake);
    assert!(text.contains("its port may expect TLS"), "{text}");
}

#[tokio::test]
async fn tls_to_a_port_for_plain_text() {
    let shared = Secure::shared();
    let stock = ZooKeeper::start();
    let embedded = EmbeddedServer::start().await.unwrap();
    for address in [
        shared.server.address(),
        stock.address(),
        embedded.connect_string(),
    ] {
        let (text, error) = tls_failure(&address, shared.client()).await;
        assert_eq!(error, TlsError::Closed);
        assert!(text.contains("does this port expect TLS?"), "{text}");
    }
}

/// A listener that answers every connection with this.
fn stranger(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut connections = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.write_all(says);
            connections.push(connection);
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_speaks_something_else() {
    let address = stranger(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    let (_, error) = tls_failure(&address, Authority::new().client(None)).await;
    assert_eq!(error, TlsError::NotTls);
}

#[tokio::test]
async fn a_server_that_says_nothing() {
    let builder = Session::builder(stranger(b"")).tls(Authority::new().client(None));
    let (_, cause) = failure(builder).await;
    assert_eq!(cause, Cause::DialTimedOut);
}

#[tokio::test]
async fn a_host_that_is_no_name() {
    let dial = |_| async { Ok(tokio::io::empty()) };
    let builder = Session::builder("a..b:1").dial_with(dial);
    let (text, cause) = failure(builder.tls(Authority::new().client(None))).await;
    assert_eq!(cause, Cause::Tls(TlsError::BadName));
    assert!(text.contains("tls_server_name"), "{text}");
}
