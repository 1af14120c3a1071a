//! What users write: connect strings and znode paths.

use std::error::Error;

use zklock::proto::ZnodePath;
use zklock::session::ConnectString;

/// A connect string.
pub fn check_connect_string(text: &str) {
    let parsed: ConnectString = match text.parse() {
        Ok(parsed) => parsed,
        Err(error) => return check_message(&error),
    };
    assert_eq!(parsed.to_string().parse().as_ref(), Ok(&parsed));
    assert!(!parsed.servers().is_empty());
    for server in parsed.servers() {
        assert!(!server.host().trim().is_empty());
        assert_ne!(server.port(), 0);
        let alone: ConnectString = server.to_string().parse().expect("a server by itself");
        assert_eq!(alone.servers(), std::slice::from_ref(server));
        assert!(alone.chroot().is_root());
    }
    check_path(parsed.chroot());
}

/// Two paths with a line feed, which no path has, between them; the second is
/// taken for a component as well.
pub fn check_znode_paths(text: &str) {
    let (first, second) = text.split_once('\n').unwrap_or((text, "/a"));
    let paths = [accept(first), accept(second)];
    for path in paths.iter().flatten() {
        check_path(path);
        check_child(path, second);
    }
    if let [Some(first), Some(second)] = &paths {
        check_join(first, second);
        check_join(second, first);
    }
}

fn accept(text: &str) -> Option<ZnodePath> {
    match ZnodePath::new(text) {
        Ok(path) => {
            assert_eq!(path.as_str(), text);
            Some(path)
        }
        Err(error) => {
            check_message(&error);
            None
        }
    }
}

/// A path is what its ancestors lead to, one component at a time.
fn check_path(path: &ZnodePath) {
    assert_eq!(path.to_string().parse().as_ref(), Ok(path));
    let mut reached = ZnodePath::root();
    for ancestor in path.ancestors_from_root() {
        assert_eq!(ancestor.parent().as_ref(), Some(&reached));
        assert_eq!(reached.child(ancestor.name()).as_ref(), Ok(&ancestor));
        assert_eq!(ZnodePath::new(&ancestor).as_ref(), Ok(&ancestor));
        reached = ancestor;
    }
    assert_eq!(reached, *path);
    assert_eq!(path.is_root(), path.parent().is_none());
    assert_eq!(path.is_root(), path.name().is_empty());
}

fn check_child(path: &ZnodePath, name: &str) {
    match path.child(name) {
        Ok(child) => {
            assert!(!name.contains('/'));
            assert_eq!(child.name(), name);
            assert_eq!(child.parent().as_ref(), Some(path));
            check_path(&child);
        }
        Err(error) => check_message(&error),
    }
}

fn check_join(above: &ZnodePath, below: &ZnodePath) {
    let depth = |path: &ZnodePath| path.ancestors_from_root().count();
    let joined = above.join(below);
    check_path(&joined);
    assert_eq!(depth(&joined), depth(above) + depth(below));
    assert_eq!(joined.join(above), above.join(&below.join(above)));
    if let Some(parent) = below.parent() {
        assert_eq!(joined.parent(), Some(above.join(&parent)));
        assert_eq!(joined.name(), below.name());
    }
}

fn check_message(error: &dyn Error) {
    assert!(!error.to_string().is_empty());
}
