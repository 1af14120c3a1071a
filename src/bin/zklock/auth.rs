//! Files with the authentications of a session.
//!
//! A line each, `SCHEME:AUTH`; empty ones, and those that begin with `#`, do
//! not count.

use std::io::Read;
use std::path::Path;

use crate::exit::{Failure, USAGE};
use crate::secret;

const WHAT: &str = "auth file";

/// A scheme and what goes with it.
pub(crate) type Auth = (String, Vec<u8>);

/// Reads a file that nobody but its owner may have access to.
pub(crate) fn read(path: &Path) -> Result<Vec<Auth>, Failure> {
    let name = path.display();
    let mut content = Vec::new();
    let read = secret::open(path, WHAT)?.read_to_end(&mut content);
    read.map_err(|error| secret::unreadable(path, WHAT, error))?;
    parse(&content).map_err(|line| {
        let message = format!(
            "line {line} of the auth file {name} is no SCHEME:AUTH, such as digest:user:password"
        );
        Failure::new(USAGE, message)
    })
}

/// An error is the number of the line that is wrong.
fn parse(content: &[u8]) -> Result<Vec<Auth>, usize> {
    let mut auths = Vec::new();
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let scheme = parts
            .next()
            .and_then(|scheme| std::str::from_utf8(scheme).ok());
        match (scheme, parts.next()) {
            (Some(scheme), Some(auth)) if !scheme.is_empty() => {
                auths.push((scheme.to_owned(), auth.to_owned()));
            }
            _ => return Err(number),
        }
    }
    Ok(auths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_scheme_and_what_goes_with_it() {
        let auths = parse(b"# ours\r\ndigest:me:p:\xffw \r\n\nip:\n").unwrap();
        let expected = [
            ("digest".to_owned(), b"me:p:\xffw ".to_vec()),
            ("ip".to_owned(), Vec::new()),
        ];
        assert_eq!(auths, expected);
    }

    #[test]
    fn a_line_that_is_none_is_named_by_its_number() {
        assert_eq!(parse(b"digest:me:x\nsecret"), Err(2));
        assert_eq!(parse(b":secret"), Err(1));
        assert_eq!(parse(b"\xff:x"), Err(1));
    }
}
