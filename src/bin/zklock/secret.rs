//! Files with secrets, which others must not have access to.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::exit::{Failure, NOT_ALLOWED, USAGE};

/// Opens a file to which nobody but its owner has access. `what` is in it.
pub(crate) fn open(path: &Path, what: &str) -> Result<File, Failure> {
    open_unless(path, what, |mode, _| mode & 0o077 != 0)
}

/// As [`open`], but a group may read what is root's, as by PostgreSQL's rule:
/// so certificates are often installed for services.
pub(crate) fn open_key(path: &Path, what: &str) -> Result<File, Failure> {
    open_unless(path, what, key_is_shared)
}

fn key_is_shared(mode: u32, owner: u32) -> bool {
    let forbidden = if owner == 0 { 0o037 } else { 0o077 };
    mode & forbidden != 0
}

/// What cannot be read.
pub(crate) fn unreadable(path: &Path, what: &str, error: io::Error) -> Failure {
    let code = match error.kind() {
        ErrorKind::PermissionDenied => NOT_ALLOWED,
        _ => USAGE,
    };
    let name = path.display();
    Failure::new(code, format_args!("cannot read the {what} {name}: {error}"))
}

fn open_unless(
    path: &Path,
    what: &str,
    is_shared: impl FnOnce(u32, u32) -> bool,
) -> Result<File, Failure> {
    let file = File::open(path).map_err(|error| unreadable(path, what, error))?;
    // Of the file that is open, whatever its name stands for by now.
    let found = file
        .metadata()
        .map_err(|error| unreadable(path, what, error))?;
    let mode = found.mode() & 0o7777;
    if is_shared(mode, found.uid()) {
        let name = path.display();
        let message = format!(
            "others than its owner have access to the {what} {name} (mode {mode:04o}); \
             change what it holds, then: chmod 600 {name}"
        );
        return Err(Failure::new(NOT_ALLOWED, message));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_may_read_a_key_that_is_roots() {
        for (mode, shared_by_root, shared_by_others) in [
            (0o600, false, false),
            (0o400, false, false),
            (0o640, false, true),
            (0o440, false, true),
            (0o660, true, true),
            (0o650, true, true),
            (0o604, true, true),
            (0o644, true, true),
        ] {
            assert_eq!(key_is_shared(mode, 0), shared_by_root, "{mode:o}");
            assert_eq!(key_is_shared(mode, 1000), shared_by_others, "{mode:o}");
        }
    }
}
