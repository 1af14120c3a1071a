//! Znode paths that a server will accept.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An absolute znode path that keeps all of ZooKeeper's rules.
///
/// It starts with `/` and, unless it is the root, does not end with one; no component is empty, `.`
/// or `..`; and no character is among those ZooKeeper forbids: control characters, surrogates,
/// private use (U+E000 to U+F8FF), U+FFF0 to U+FFFF and everything beyond. Servers check this only
/// when they write, and with less to say.
///
/// ```
/// use zklock::proto::ZnodePath;
///
/// let locks = ZnodePath::new("/app/locks")?;
/// assert_eq!(locks.child("backup")?.as_str(), "/app/locks/backup");
/// assert_eq!(locks.parent(), Some(ZnodePath::new("/app")?));
///
/// let error = ZnodePath::new("my/locks").unwrap_err();
/// assert_eq!(error.to_string(), r#"znode path "my/locks" must start with "/""#);
/// # Ok::<(), zklock::proto::PathError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ZnodePath(Arc<str>);

impl ZnodePath {
    /// Checks and takes a path.
    ///
    /// # Errors
    /// [`PathError`] says which rule is broken, and where.
    pub fn new(path: impl AsRef<str>) -> Result<Self, PathError> {
        let path = path.as_ref();
        match check(path) {
            Ok(()) => Ok(Self(path.into())),
            Err(kind) => Err(PathError::new(path, kind)),
        }
    }

    /// The root, `/`.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this is the root, `/`.
    pub fn is_root(&self) -> bool {
        self.as_str() == "/"
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &str {
        self.split().1
    }

    /// The path without its last component; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        match self.split() {
            _ if self.is_root() => None,
            ("", _) => Some(Self::root()),
            (parent, _) => Some(Self(parent.into())),
        }
    }

    /// The path of the child called `name`, which must be a single component.
    ///
    /// # Errors
    /// [`PathError`], for the whole path, if `name` is not one valid component.
    pub fn child(&self, name: &str) -> Result<Self, PathError> {
        let prefix = self.prefix();
        let path = format!("{prefix}/{name}");
        let kind = match name.find('/') {
            Some(at) => Err(PathErrorKind::ForbiddenCharacter {
                character: '/',
                offset: prefix.len().saturating_add(1).saturating_add(at),
            }),
            None if name.is_empty() => Err(PathErrorKind::EmptyComponent),
            None => check(&path),
        };
        match kind {
            Ok(()) => Ok(Self(path.into())),
            Err(kind) => Err(PathError::new(&path, kind)),
        }
    }

    /// `path` below this one, as a server sees it behind a chroot.
    ///
    /// ```
    /// # use zklock::proto::ZnodePath;
    /// let (chroot, path) = (ZnodePath::new("/app")?, ZnodePath::new("/locks")?);
    /// assert_eq!(chroot.join(&path).as_str(), "/app/locks");
    /// assert_eq!(chroot.join(&ZnodePath::root()), chroot);
    /// # Ok::<(), zklock::proto::PathError>(())
    /// ```
    #[must_use]
    pub fn join(&self, path: &Self) -> Self {
        match (self.is_root(), path.is_root()) {
            (true, _) => path.clone(),
            (_, true) => self.clone(),
            _ => Self(format!("{self}{path}").into()),
        }
    }

    /// `/a`, `/a/b`, ... down to this path itself: what must exist for it to exist. The root has
    /// none.
    pub fn ancestors_from_root(&self) -> impl Iterator<Item = Self> {
        let inner = self.as_str().match_indices('/').skip(1).map(|(at, _)| at);
        let whole = Some(self.as_str().len()).filter(|_| !self.is_root());
        inner
            .chain(whole)
            .filter_map(|end| self.as_str().get(..end))
            .map(|path| Self(path.into()))
    }

    /// What to put a `/` and a component behind.
    fn prefix(&self) -> &str {
        if self.is_root() { "" } else { self.as_str() }
    }

    /// The text before and after the last `/`.
    fn split(&self) -> (&str, &str) {
        self.as_str().rsplit_once('/').unwrap_or_default()
    }
}

impl FromStr for ZnodePath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        Self::new(path)
    }
}

impl AsRef<str> for ZnodePath {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<ZnodePath> for Arc<str> {
    fn from(path: ZnodePath) -> Self {
        path.0
    }
}

impl fmt::Display for ZnodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for ZnodePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

fn check(path: &str) -> Result<(), PathErrorKind> {
    if path.is_empty() {
        return Err(PathErrorKind::Empty);
    }
    let relative = path.strip_prefix('/').ok_or(PathErrorKind::Relative)?;
    if relative.is_empty() {
        return Ok(());
    }
    if relative.ends_with('/') {
        return Err(PathErrorKind::TrailingSlash);
    }
    for component in relative.split('/') {
        match component {
            "" => return Err(PathErrorKind::EmptyComponent),
            "." | ".." => return Err(PathErrorKind::DotComponent),
            _ => {}
        }
    }
    match path.char_indices().find(|(_, c)| is_forbidden(*c)) {
        Some((offset, character)) => Err(PathErrorKind::ForbiddenCharacter { character, offset }),
        None => Ok(()),
    }
}

/// Java checks UTF-16 units, so that the surrogates of everything beyond U+FFFF are caught as well.
fn is_forbidden(character: char) -> bool {
    matches!(
        character,
        '\0'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{E000}'..='\u{F8FF}' | '\u{FFF0}'..
    )
}

/// Why a path is none, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathError {
    /// The path, shortened if it is long.
    pub path: String,
    /// The rule it breaks.
    pub kind: PathErrorKind,
}

impl PathError {
    /// A longer path is cut here, in characters.
    const SHOWN: usize = 100;

    fn new(path: &str, kind: PathErrorKind) -> Self {
        let mut shown: String = path.chars().take(Self::SHOWN).collect();
        if shown.len() < path.len() {
            shown.push('…');
        }
        Self { path: shown, kind }
    }
}

impl fmt::Display for PathError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, kind } = self;
        match kind {
            PathErrorKind::Empty => {
                f.write_str("a znode path must not be empty; the root is \"/\"")
            }
            PathErrorKind::Relative => write!(f, "znode path {path:?} must start with \"/\""),
            PathErrorKind::TrailingSlash => {
                write!(f, "znode path {path:?} must not end with \"/\"")
            }
            PathErrorKind::EmptyComponent => write!(
                f,
                "znode path {path:?} has an empty component: there must be a name after each \"/\""
            ),
            PathErrorKind::DotComponent => write!(
                f,
                "znode path {path:?} has a component \".\" or \"..\": ZooKeeper does not resolve these, \
                 write the path in full"
            ),
            PathErrorKind::ForbiddenCharacter { character, offset } => write!(
                f,
                "znode path {path:?} has the character {character:?} (U+{:04X}) at byte {offset}, which is \
                 not allowed there: leave it out",
                u32::from(*character)
            ),
        }
    }
}

impl std::error::Error for PathError {}

/// The rule that a path breaks, in a [`PathError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PathErrorKind {
    /// There is nothing.
    Empty,
    /// It does not start with `/`.
    Relative,
    /// It ends with `/` and is not the root.
    TrailingSlash,
    /// Two `/` in a row, or an empty name for a child.
    EmptyComponent,
    /// A component is `.` or `..`.
    DotComponent,
    /// A character that no path, or no component, may have.
    ForbiddenCharacter {
        /// The character.
        character: char,
        /// Where it is, in bytes from the path's start.
        offset: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ZnodePath {
        text.parse().unwrap()
    }

    fn kind(text: &str) -> PathErrorKind {
        ZnodePath::new(text).unwrap_err().kind
    }

    #[test]
    fn paths_a_server_accepts_are_accepted() {
        for text in [
            "/",
            "/a",
            "/a/b",
            "/...",
            "/.a",
            "/a b",
            "/é锁",
            "/\u{D7FF}",
            "/\u{FFEF}",
        ] {
            assert_eq!(ZnodePath::new(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn each_broken_rule_has_its_kind() {
        assert_eq!(kind(""), PathErrorKind::Empty);
        assert_eq!(kind("a"), PathErrorKind::Relative);
        assert_eq!(kind("/a/"), PathErrorKind::TrailingSlash);
        assert_eq!(kind("//"), PathErrorKind::TrailingSlash);
        assert_eq!(kind("/a//b"), PathErrorKind::EmptyComponent);
        assert_eq!(kind("/a/./b"), PathErrorKind::DotComponent);
        assert_eq!(kind("/.."), PathErrorKind::DotComponent);
    }

    #[test]
    fn forbidden_characters_are_found_with_their_place() {
        for character in [
            '\0', '\u{1}', '\u{1F}', '\u{7F}', '\u{9F}', '\u{E000}', '\u{F8FF}', '\u{FFF0}',
            '\u{FFFF}', '😀',
        ] {
            let expected = PathErrorKind::ForbiddenCharacter {
                character,
                offset: 3,
            };
            assert_eq!(kind(&format!("/é{character}")), expected);
        }
    }

    #[test]
    fn messages_say_what_is_wrong_and_how_to_mend_it() {
        let message = |text: &str| ZnodePath::new(text).unwrap_err().to_string();
        assert_eq!(
            message("my/locks"),
            r#"znode path "my/locks" must start with "/""#
        );
        assert_eq!(
            message("/a\u{7}"),
            r#"znode path "/a\u{7}" has the character '\u{7}' (U+0007) at byte 2, which is not allowed there: leave it out"#
        );
        let long = message(&"a".repeat(5000));
        assert_eq!(
            long.matches('a').count(),
            100 + "znode path must start".matches('a').count()
        );
    }

    #[test]
    fn a_child_is_one_component() {
        assert_eq!(path("/").child("a"), Ok(path("/a")));
        assert_eq!(path("/a").child("b"), Ok(path("/a/b")));
        let kind = |name| path("/a").child(name).unwrap_err().kind;
        assert_eq!(kind(""), PathErrorKind::EmptyComponent);
        assert_eq!(kind(".."), PathErrorKind::DotComponent);
        assert_eq!(
            kind("b/c"),
            PathErrorKind::ForbiddenCharacter {
                character: '/',
                offset: 4
            }
        );
    }

    #[test]
    fn parents_and_names() {
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/a").parent(), Some(path("/")));
        assert_eq!(path("/").parent(), None);
        assert_eq!((path("/a/b").name(), path("/").name()), ("b", ""));
    }

    #[test]
    fn ancestors_come_from_the_root_and_include_the_path() {
        let ancestors: Vec<_> = path("/a/bc/d").ancestors_from_root().collect();
        assert_eq!(ancestors, [path("/a"), path("/a/bc"), path("/a/bc/d")]);
        assert_eq!(path("/").ancestors_from_root().count(), 0);
    }

    #[test]
    fn joining_with_the_root_changes_nothing() {
        assert_eq!(path("/").join(&path("/a")), path("/a"));
        assert_eq!(path("/a").join(&path("/")), path("/a"));
        assert_eq!(path("/").join(&path("/")), path("/"));
        assert_eq!(path("/a").join(&path("/b/c")), path("/a/b/c"));
    }
}
