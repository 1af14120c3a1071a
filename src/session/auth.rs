//! How a session authenticates itself to the servers.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::proto::Request;

/// An authentication, given to every server anew: ZooKeeper knows it by
/// connection.
///
/// ```
/// use zklock::session::Auth;
///
/// let auth = Auth::new("digest", "alice:secret");
/// assert_eq!(format!("{auth:?}"), "Auth { scheme: \"digest\", .. }");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Auth {
    scheme: Arc<str>,
    auth: Bytes,
}

impl Auth {
    /// An authentication by a scheme that the servers know. For `digest`,
    /// `auth` is `user:password`. It goes over the wire as it is.
    #[must_use]
    pub fn new(scheme: impl Into<Arc<str>>, auth: impl Into<Bytes>) -> Self {
        Self {
            scheme: scheme.into(),
            auth: auth.into(),
        }
    }

    pub(super) fn request(&self) -> Request {
        Request::Auth {
            kind: 0,
            scheme: Arc::clone(&self.scheme),
            auth: Some(self.auth.clone()),
        }
    }
}

/// Without the secret.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("scheme", &self.scheme)
            .finish_non_exhaustive()
    }
}
