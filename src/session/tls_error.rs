//! What can go wrong with TLS, in words that say whose fault it is.

use std::fmt;
use std::sync::Arc;

/// Why there is no encrypted connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// The server closed the connection during the handshake, as a port without
    /// TLS does.
    Closed,
    /// What the server sends is no TLS.
    NotTls,
    /// The host in the connect string is no name that a certificate can have.
    BadName,
    /// The server's certificate is for other names.
    WrongName {
        /// The name that was looked for in it.
        expected: Arc<str>,
        /// The names that are in it.
        presented: Arc<str>,
    },
    /// The server's certificate has expired.
    Expired,
    /// The server's certificate is not valid yet.
    NotValidYet,
    /// The server's certificate is not issued by one of those that are trusted.
    UnknownIssuer,
    /// There is something else wrong with the server's certificate.
    BadCertificate(Arc<str>),
    /// The server asks for a client certificate, and there is none.
    NoClientCertificate,
    /// The server refuses the client's certificate, or asks for one. It says no
    /// more than this.
    ClientCertificateRefused(Arc<str>),
    /// Anything else, in the words of the TLS library.
    Other(Arc<str>),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(
                "the server closed the connection during the TLS handshake; \
                 does this port expect TLS?",
            ),
            Self::NotTls => f.write_str("the server does not speak TLS on this port"),
            Self::BadName => f.write_str(
                "this host is no name that a certificate can have; \
                 set one by `tls_server_name`",
            ),
            Self::WrongName {
                expected,
                presented,
            } => write!(
                f,
                "the server's certificate is not for {expected}, but for {presented}; \
                 connect by a name that is in it, or set one by `tls_server_name`"
            ),
            Self::Expired => f.write_str(
                "the server's certificate has expired, or this machine's clock is ahead",
            ),
            Self::NotValidYet => f.write_str(
                "the server's certificate is not valid yet, or this machine's clock is behind",
            ),
            Self::UnknownIssuer => f.write_str(
                "the server's certificate comes from an issuer that is not trusted here; \
                 add the issuer's to the root certificates",
            ),
            Self::BadCertificate(error) => {
                write!(f, "the server's certificate cannot be accepted: {error}")
            }
            Self::NoClientCertificate => f.write_str(
                "the server asks for a client certificate; configure one that it trusts",
            ),
            Self::ClientCertificateRefused(alert) => write!(
                f,
                "the server does not accept this client's certificate ({alert}); \
                 its log says why"
            ),
            Self::Other(error) => write!(f, "TLS: {error}"),
        }
    }
}
