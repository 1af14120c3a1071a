//! Certificates for servers and clients, made for the test that uses them, by
//! openssl.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use zklock::rustls::pki_types::pem::PemObject;
use zklock::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use zklock::rustls::{ClientConfig, RootCertStore};

use super::random;

/// Someone who issues certificates.
pub(crate) struct Authority(Identity);

/// A certificate and its key.
pub(crate) struct Identity(String);

impl Authority {
    pub(crate) fn new() -> Self {
        // Two of one name would be taken for one and the same.
        let name = format!("authority {:x}", random());
        Self(Identity::make(&["authority", &name], ""))
    }

    /// A certificate for these host names and addresses.
    pub(crate) fn issue(&self, names: &[&str]) -> Identity {
        Identity::make(&["issue", &alternative_names(names)], self.0.pem())
    }

    /// One that is valid in this year only.
    pub(crate) fn issue_for(&self, year: i32, names: &[&str]) -> Identity {
        let [start, end] = [year, year + 1].map(|year| format!("{year}0101000000Z"));
        let names = alternative_names(names);
        let arguments = ["issue", &names, "-startdate", &start, "-enddate", &end];
        Identity::make(&arguments, self.0.pem())
    }

    /// A client that trusts this authority, and shows a certificate if it has one.
    pub(crate) fn client(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut trusted = RootCertStore::empty();
        trusted.add(self.0.certificate()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(trusted);
        Arc::new(match identity {
            None => config.with_no_client_auth(),
            Some(identity) => config
                .with_client_auth_cert(vec![identity.certificate()], identity.key())
                .unwrap(),
        })
    }

    /// As in the file that a server keeps of those whom it trusts.
    pub(crate) fn pem(&self) -> &str {
        let both = self.0.pem();
        &both[both.find("-----BEGIN CERTIFICATE").unwrap()..]
    }
}

impl Identity {
    /// What `certificate.sh` prints.
    fn make(arguments: &[&str], authority: &str) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/certificate.sh");
        let mut process = Command::new("bash")
            .arg(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("bash");
        let mut input = process.stdin.take().unwrap();
        input.write_all(authority.as_bytes()).unwrap();
        drop(input);
        let output = process.wait_with_output().unwrap();
        let [text, errors] =
            [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        assert!(output.status.success(), "is there openssl? {errors}");
        Self(text)
    }

    /// As in the file that a server keeps its key and its certificate in.
    pub(crate) fn pem(&self) -> &str {
        &self.0
    }

    fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.0.as_bytes()).unwrap()
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.0.as_bytes()).unwrap()
    }
}

/// As openssl writes them.
fn alternative_names(names: &[&str]) -> String {
    let kind = |name: &str| match name.parse::<IpAddr>() {
        Ok(_) => "IP",
        Err(_) => "DNS",
    };
    let names = names.iter().map(|name| format!("{}:{name}", kind(name)));
    names.collect::<Vec<_>>().join(",")
}
