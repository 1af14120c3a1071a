//! What the flags' values may be, with an error that says how to write them.

use std::sync::Arc;
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};
use zklock::rustls::pki_types::ServerName;
use zklock::session::ConnectString;
use zklock::{Acl, FencingToken, Perms, ZnodePath};

pub(crate) fn path(text: &str) -> Result<ZnodePath, String> {
    ZnodePath::new(text).map_err(|error| error.to_string())
}

/// A duration with units, or a number of seconds, as `flock` takes it.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let with_units = || {
        let span: Span = text.parse().ok()?;
        let duration = span.to_duration(SpanRelativeTo::days_are_24_hours());
        Duration::try_from(duration.ok()?).ok()
    };
    seconds
        .or_else(with_units)
        .ok_or_else(|| "write it like 500ms, 3s or 1m30s, or in seconds".to_owned())
}

pub(crate) fn positive(text: &str) -> Result<Duration, String> {
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err("it must be more than nothing".to_owned());
    }
    Ok(duration)
}

pub(crate) fn session_timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text)?;
    let millis = timeout.as_millis();
    if millis == 0 || i32::try_from(millis).is_err() {
        return Err(format!("it must be between 1ms and {}ms", i32::MAX));
    }
    Ok(timeout)
}

pub(crate) fn servers(text: &str) -> Result<String, String> {
    match text.parse::<ConnectString>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn server_name(text: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(text.to_owned())
        .map_err(|_| "no certificate is for this: neither a host name nor an address".to_owned())
}

pub(crate) fn token(text: &str) -> Result<FencingToken, String> {
    text.parse()
        .map_err(|_| "a token is a decimal number; `zklock status` shows it".to_owned())
}

/// An access control list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AclList(pub(crate) Arc<[Acl]>);

/// Reads an ACL as `zkCli.sh` does.
pub(crate) fn acl(text: &str) -> Result<AclList, String> {
    let entries = text.split(',').map(acl_entry);
    entries.collect::<Result<_, _>>().map(AclList)
}

fn acl_entry(text: &str) -> Result<Acl, String> {
    let wrong = || {
        format!(
            "{text:?} is no SCHEME:ID:PERMS with PERMS of cdrwa, such as world:anyone:r or auth::cdrwa"
        )
    };
    // An id may have colons in it.
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (id, letters) = rest.rsplit_once(':').ok_or_else(wrong)?;
    if scheme.is_empty() || letters.is_empty() {
        return Err(wrong());
    }
    let mut perms = Perms::default();
    for letter in letters.chars() {
        perms = perms
            | match letter {
                'c' => Perms::CREATE,
                'd' => Perms::DELETE,
                'r' => Perms::READ,
                'w' => Perms::WRITE,
                'a' => Perms::ADMIN,
                _ => return Err(wrong()),
            };
    }
    Ok(Acl::new(perms, scheme, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, millis) in [
            ("3", 3_000),
            ("0.5", 500),
            ("0", 0),
            ("500ms", 500),
            ("3s", 3_000),
            ("1m30s", 90_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "soon", "-1", "-3s", "nan", "inf", "1e400", "3 parsecs"] {
            assert!(duration(text).unwrap_err().contains("1m30s"), "{text}");
        }
    }

    #[test]
    fn acls_are_written_as_zkcli_has_them() {
        let list = acl("digest:me:x/y=:cdrwa,world:anyone:r,auth::cd,ip:fe80::1:r").unwrap();
        let expected = [
            Acl::digest(Perms::ALL, "me:x/y="),
            Acl::world(Perms::READ),
            Acl::auth(Perms::CREATE | Perms::DELETE),
            Acl::ip(Perms::READ, "fe80::1"),
        ];
        assert_eq!(*list.0, expected);
        for text in [
            "",
            "world",
            "world:anyone",
            "world:anyone:",
            "world:anyone:rx",
            ":x:r",
            "world:anyone:r,",
        ] {
            assert!(acl(text).unwrap_err().contains("cdrwa"), "{text}");
        }
    }
}
