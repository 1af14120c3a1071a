//! TLS over the connections of a session.

use std::io;
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, CertificateError, ClientConfig, Error};

use super::connect_string::Server;
use super::dialer::{Dialing, Stream};
use super::state::Cause;
use super::tls_error::TlsError;

/// Whether connections are encrypted, and what is expected of the server then.
pub(super) struct Tls {
    pub(super) config: Option<Arc<ClientConfig>>,
    /// To be found in the server's certificate in place of its host.
    pub(super) name: Option<ServerName<'static>>,
}

impl Tls {
    pub(super) const fn none() -> Self {
        Self {
            config: None,
            name: None,
        }
    }

    /// Encrypts a connection that is being made.
    pub(super) fn over(&self, dialing: Dialing, host: Server) -> Dialing {
        let Some(config) = self.config.clone() else {
            return dialing;
        };
        let name = self.name.clone();
        Box::pin(async move {
            let of_host = || ServerName::try_from(host.host().to_owned()).ok();
            let name = name.or_else(of_host).ok_or(TlsError::BadName)?;
            let stream = dialing.await?;
            match TlsConnector::from(config).connect(name, stream).await {
                Ok(stream) => Ok(Box::new(stream) as Box<dyn Stream>),
                Err(error) => Err(in_handshake(error)),
            }
        })
    }

    /// What a cause means to a client of this configuration. A server refuses in
    /// the same words a certificate and the lack of one.
    pub(super) fn explain(&self, cause: Cause) -> Cause {
        match (cause, &self.config) {
            (Cause::Tls(TlsError::ClientCertificateRefused(_)), Some(config))
                if !config.client_auth_cert_resolver.has_certs() =>
            {
                TlsError::NoClientCertificate.into()
            }
            (cause, _) => cause,
        }
    }
}

/// Why a handshake failed.
fn in_handshake(error: io::Error) -> Cause {
    match Cause::from(error) {
        Cause::ClosedByServer
        | Cause::Io(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
            _,
        ) => TlsError::Closed.into(),
        cause => cause,
    }
}

/// What rustls hides in an error of a stream. With TLS 1.3 a client learns only
/// after its handshake that its certificate was refused.
pub(super) fn find(error: &io::Error) -> Option<TlsError> {
    error.get_ref()?.downcast_ref::<Error>().map(TlsError::from)
}

impl From<&Error> for TlsError {
    fn from(error: &Error) -> Self {
        match error {
            Error::InvalidMessage(_) => Self::NotTls,
            Error::InvalidCertificate(error) => of_certificate(error),
            Error::AlertReceived(AlertDescription::CertificateRequired) => {
                Self::NoClientCertificate
            }
            Error::AlertReceived(
                alert @ (AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied),
            ) => Self::ClientCertificateRefused(format!("{alert:?}").into()),
            error => Self::Other(error.to_string().into()),
        }
    }
}

fn of_certificate(error: &CertificateError) -> TlsError {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsError::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsError::NotValidYet
        }
        CertificateError::UnknownIssuer => TlsError::UnknownIssuer,
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => TlsError::WrongName {
            expected: expected.to_str().into(),
            presented: names(presented).into(),
        },
        error => TlsError::BadCertificate(error.to_string().into()),
    }
}

/// Without what rustls puts around each, as in `DnsName("zk.example")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| match name.split_once('(') {
        Some((_, rest)) => rest.trim_end_matches(')').trim_matches('"').to_owned(),
        None => name.clone(),
    };
    match presented {
        [] => "no name".to_owned(),
        names => names.iter().map(bare).collect::<Vec<_>>().join(", "),
    }
}
