//! Encrypted sessions: whom to trust and which certificate to show.

use std::path::Path;
use std::sync::Arc;

use zklock::rustls::crypto::ring::default_provider;
use zklock::rustls::pki_types::pem::{self, PemObject};
use zklock::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zklock::rustls::{ClientConfig, Error, RootCertStore};

use crate::args::Tls;
use crate::exit::{Failure, USAGE};
use crate::secret;

/// What the flags say; `None` if they say nothing of TLS.
pub(crate) fn config(flags: &Tls) -> Result<Option<Arc<ClientConfig>>, Failure> {
    let Some(path) = &flags.tls_ca else {
        return Ok(None);
    };
    let mut trusted = RootCertStore::empty();
    for issuer in certificates(path)? {
        trusted.add(issuer).map_err(|error| unusable(path, error))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(path, error))?
        .with_root_certificates(trusted);
    let config = match (&flags.tls_cert, &flags.tls_key) {
        (Some(own), Some(key)) => {
            let secret = PrivateKeyDer::from_pem_reader(secret::open_key(key, "private key")?);
            let secret = secret.map_err(|error| unreadable(key, "private key", error))?;
            config
                .with_client_auth_cert(certificates(own)?, secret)
                .map_err(|error| unusable(key, error))?
        }
        _ => config.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unreadable = |error| unreadable(path, "certificate", error);
    let found = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(unreadable)?;
    if found.is_empty() {
        return Err(unreadable(pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn unreadable(path: &Path, what: &str, error: pem::Error) -> Failure {
    let name = path.display();
    let message = match error {
        pem::Error::NoItemsFound => format!("there is no {what} in {name}, in PEM form"),
        pem::Error::Io(error) => format!("cannot read {name}: {error}"),
        error => format!("cannot read {name}: {error}"),
    };
    Failure::new(USAGE, message)
}

fn unusable(path: &Path, error: Error) -> Failure {
    let name = path.display();
    Failure::new(USAGE, format_args!("cannot use {name} for TLS: {error}"))
}
