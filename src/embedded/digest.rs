//! The identity behind the scheme `digest`: the base64 of a SHA-1, as ZooKeeper
//! has it. It is here to compare identities, and protects nothing.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};

/// `user:password` as it stands in an ACL: `user:` and a hash of the whole.
pub(super) fn digest_id(credentials: &[u8]) -> Arc<str> {
    let hash = STANDARD.encode(Sha1::digest(credentials));
    let text = String::from_utf8_lossy(credentials);
    let user = text.split(':').next().unwrap_or_default();
    format!("{user}:{hash}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_those_that_servers_print() {
        assert_eq!(&*digest_id(b"u:p"), "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
        assert_eq!(
            &*digest_id(b"alice:s3cret"),
            "alice:uLxpHc/uhT86OXPoSjJTp1M8CJY="
        );
    }

    #[test]
    fn the_user_ends_at_the_first_colon_and_needs_none() {
        assert!(digest_id(b"a:b:c").starts_with("a:"));
        assert!(digest_id(b"nobody").starts_with("nobody:"));
        assert!(digest_id(b"").starts_with(":"));
        assert!(digest_id(b"\xff:").starts_with("\u{fffd}:"));
    }
}
