//! Who may do what: access control lists, and the identities that they name.

use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::proto::{Acl, ErrorCode, Perms};

use super::digest::digest_id;

/// Where every client of this server is.
const CLIENT_ADDRESS: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The identities of a connection. All have come by `digest`; besides those,
/// each is `ip:127.0.0.1`.
#[derive(Clone, Debug, Default)]
pub(super) struct Identities(Vec<Arc<str>>);

impl Identities {
    /// Takes what an `auth` request brings.
    pub(super) fn add(&mut self, scheme: &str, auth: Option<&[u8]>) -> Result<(), ErrorCode> {
        match (scheme, auth) {
            ("digest", Some(credentials)) => {
                let id = digest_id(credentials);
                if !self.0.contains(&id) {
                    self.0.push(id);
                }
                Ok(())
            }
            ("ip", _) => Ok(()),
            _ => Err(ErrorCode::AuthFailed),
        }
    }

    /// Whether the list gives one of `perms` to one of the identities.
    pub(super) fn may(&self, perms: Perms, acl: &[Acl]) -> Result<(), ErrorCode> {
        let allowed = acl.iter().any(|entry| {
            let given = entry.perms.bits() & perms.bits() != 0;
            given && self.includes(&entry.scheme, &entry.id)
        });
        allowed.then_some(()).ok_or(ErrorCode::NoAuth)
    }

    /// The list as it is kept: checked, and with the identities of its creator
    /// in place of `auth`.
    pub(super) fn resolve(&self, acl: &[Acl]) -> Result<Arc<[Acl]>, ErrorCode> {
        let mut resolved = Vec::new();
        for entry in acl {
            match &*entry.scheme {
                "auth" if !self.0.is_empty() => {
                    let own = |id: &Arc<str>| Acl::digest(entry.perms, id.clone());
                    resolved.extend(self.0.iter().map(own));
                }
                "world" if &*entry.id == "anyone" => resolved.push(entry.clone()),
                "digest" if is_digest(&entry.id) => resolved.push(entry.clone()),
                "ip" if Network::parse(&entry.id).is_some() => resolved.push(entry.clone()),
                _ => return Err(ErrorCode::InvalidAcl),
            }
        }
        match resolved.is_empty() {
            true => Err(ErrorCode::InvalidAcl),
            false => Ok(resolved.into()),
        }
    }

    fn includes(&self, scheme: &str, id: &str) -> bool {
        match scheme {
            "world" => true,
            "digest" => self.0.iter().any(|own| **own == *id),
            "ip" => Network::parse(id).is_some_and(|network| network.contains(CLIENT_ADDRESS)),
            _ => false,
        }
    }
}

/// Two parts and a colon between them, as Java splits text: empty parts at the
/// end are none.
fn is_digest(id: &str) -> bool {
    id.trim_end_matches(':').matches(':').count() == 1
}

/// An address, or a network in the form `10.0.0.0/8`.
struct Network {
    address: u32,
    mask: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, bits.parse().ok()?),
            None => (text, 32),
        };
        let unused = 32_u32.checked_sub(bits)?;
        Some(Self {
            address: address.parse::<Ipv4Addr>().ok()?.to_bits(),
            mask: u32::MAX.checked_shl(unused).unwrap_or(0),
        })
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        (self.address ^ address.to_bits()) & self.mask == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alice() -> Identities {
        let mut identities = Identities::default();
        assert_eq!(identities.add("digest", Some(b"alice:s3cret")), Ok(()));
        identities
    }

    #[test]
    fn only_digest_and_ip_can_be_proven() {
        let mut nobody = Identities::default();
        for (scheme, auth) in [("digest", None), ("world", Some(&b""[..])), ("sasl", None)] {
            assert_eq!(nobody.add(scheme, auth), Err(ErrorCode::AuthFailed));
        }
        assert_eq!(nobody.add("ip", None), Ok(()));
    }

    #[test]
    fn one_of_the_permissions_is_enough() {
        let acl = [Acl::world(Perms::READ)];
        let nobody = Identities::default();
        assert_eq!(nobody.may(Perms::READ | Perms::ADMIN, &acl), Ok(()));
        assert_eq!(nobody.may(Perms::WRITE, &acl), Err(ErrorCode::NoAuth));
    }

    #[test]
    fn auth_stands_for_the_creators_identities() {
        let acl = [Acl::creator_all()];
        let resolved = alice().resolve(&acl).unwrap();
        assert_eq!(resolved.len(), 1);
        assert_eq!(alice().may(Perms::DELETE, &resolved), Ok(()));
        let nobody = Identities::default();
        assert_eq!(nobody.resolve(&acl), Err(ErrorCode::InvalidAcl));
        assert_eq!(nobody.may(Perms::READ, &resolved), Err(ErrorCode::NoAuth));
    }

    #[test]
    fn lists_that_a_server_refuses_are_refused() {
        let refused = |scheme: &str, id: &str| {
            let acl = [Acl::world_anyone(), Acl::new(Perms::ALL, scheme, id)];
            alice().resolve(&acl) == Err(ErrorCode::InvalidAcl)
        };
        assert_eq!(alice().resolve(&[]), Err(ErrorCode::InvalidAcl));
        assert!(refused("world", "someone"));
        assert!(refused("sasl", "alice"));
        for id in ["", ":", "a", "a:", "a:b:c"] {
            assert!(refused("digest", id), "{id}");
        }
        for id in [":b", "a:b", "a:b::"] {
            assert!(!refused("digest", id), "{id}");
        }
        for id in [
            "",
            "127",
            "127.0.0.256",
            "127.0.0.1/33",
            "127.0.0.1/-1",
            "::1",
        ] {
            assert!(refused("ip", id), "{id}");
        }
    }

    #[test]
    fn every_client_is_on_this_host() {
        for (id, expected) in [
            ("127.0.0.1", Ok(())),
            ("127.9.9.9/8", Ok(())),
            ("1.2.3.4/0", Ok(())),
            ("127.0.0.2", Err(ErrorCode::NoAuth)),
            ("10.0.0.0/8", Err(ErrorCode::NoAuth)),
        ] {
            let acl = Identities::default().resolve(&[Acl::ip(Perms::READ, id)]);
            assert_eq!(alice().may(Perms::READ, &acl.unwrap()), expected, "{id}");
        }
    }
}
