//! Sessions over TLS, by the files that the flags name.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::harness::ran;
use crate::support::certificates::Authority;
use crate::support::random;
use crate::support::secure::Secure;

/// A file that goes when it is dropped.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("zklock-{:016x}.pem", random()));
        fs::write(&path, text).unwrap();
        let file = Self(path);
        file.set_mode(0o600);
        file
    }

    fn set_mode(&self, mode: u32) {
        fs::set_permissions(&self.0, Permissions::from_mode(mode)).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn a_command_under_a_lock_over_tls() {
    let server = Secure::shared();
    let ca = File::new(server.authority.pem());
    let own = File::new(server.authority.issue(&[]).pem());
    let address = server.address();
    let run = ["run", "-s", &address, "--tls-ca", ca.path()];
    let cert = ["--tls-cert", own.path(), "--tls-key", own.path()];
    let rest = ["/p", "echo", "under it"];
    ran(&[&run[..], &cert, &rest].concat()).printed(0, "under it\n");
    ran(&[&run[..], &rest].concat()).says(69, "asks for a client certificate");
    ran(&[&run[..3], &rest].concat()).says(69, "its port may expect TLS");
}

#[test]
fn files_that_are_no_certificates_are_told_before_anything_is_sent() {
    let nothing = File::new("nothing\n");
    let ran = |ca: &str| ran(&["run", "--tls-ca", ca, "/p", "true"]);
    ran("/nowhere").says(64, "cannot read /nowhere: No such file");
    ran(nothing.path()).says(64, &format!("no certificate in {}", nothing.path()));
}

#[test]
fn a_certificate_for_another_name_and_the_flag_that_says_so() {
    let authority = Authority::new();
    let identity = authority.issue(&["zk.example"]);
    let server = Secure::start(authority, &identity, &[("ssl.clientAuth", "none")]);
    let ca = File::new(server.authority.pem());
    let address = server.address();
    let run = ["run", "-s", &address, "--tls-ca", ca.path()];
    let rest = ["/p", "echo", "under it"];
    let name = ["--tls-server-name", "zk.example"];
    ran(&[&run[..], &name, &rest].concat()).printed(0, "under it\n");
    let end = ran(&[&run[..], &rest].concat());
    end.says(69, "is not for 127.0.0.1, but for zk.example");
    end.says(69, "or set one by --tls-server-name");
    let end = ran(&[&run[..], &["--tls-server-name", "a..b"], &rest].concat());
    end.says(64, "neither a host name nor an address");
    ran(&[&["run"], &name[..], &rest].concat()).says(64, "--tls-ca");
}

#[test]
fn a_private_key_that_others_have_access_to_is_refused() {
    let authority = Authority::new();
    let ca = File::new(authority.pem());
    let key = File::new(authority.issue(&[]).pem());
    let run = ["run", "--tls-ca", ca.path(), "--tls-cert", key.path()];
    let args = [&run[..], &["--tls-key", key.path(), "/p", "true"]].concat();
    for mode in [0o644, 0o620, 0o601] {
        key.set_mode(mode);
        ran(&args).says(77, &format!("then: chmod 600 {}", key.path()));
    }
    let args = [&run[..], &["--tls-key", "/nowhere", "/p", "true"]].concat();
    ran(&args).says(64, "cannot read the private key /nowhere: No such file");
}
