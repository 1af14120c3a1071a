//! Requests of all kinds, most of them sensible, on a few paths.

use std::sync::Arc;

use bytes::Bytes;
use zklock::proto::{Acl, CreateMode, Perms, Request};

use crate::rng::Rng;

/// Who has all permissions wherever permissions are limited.
pub(crate) const ALICE: &[u8] = b"alice:secret";
/// Somebody else.
pub(crate) const BOB: &[u8] = b"bob:builder";
const ALICE_ID: &str = "alice:aYXlLOpEooaV1cRAvUL1fp9Qt7E=";

/// Paths that are tried again and again.
const PATHS: [&str; 7] = ["/a", "/a/a", "/b", "/b/a", "/é锁", "/a/b", "/a/a/a"];

/// Paths that are none, or not of the tests.
const ODD_PATHS: [&str; 24] = [
    "",
    "/",
    "a",
    "//",
    "/a/",
    "/a//b",
    "//a",
    "/a/.",
    "/a/./b",
    "/..",
    "/.a",
    "/a\u{1}",
    "/a\0",
    "/\u{f8ff}",
    "/a\u{fff0}",
    "/zookeeper",
    "/zookeeper/config",
    "/zookeeper/quota",
    "/zookeeper/x",
    "/zookeeper/config/x",
    "/a/x-",
    "/none/a",
    "/a/a/a/a",
    "/b/",
];

/// What requests are made of.
pub(crate) struct Maker {
    pub(crate) rng: Rng,
    /// Paths of znodes that were created and not deleted since. Some of them
    /// may have gone with their sessions.
    pub(crate) created: Vec<Arc<str>>,
    /// The path that is watched most closely.
    hot: Arc<str>,
    /// The last zxid that was seen.
    pub(crate) zxid: i64,
}

impl Maker {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            created: Vec::new(),
            hot: PATHS[0].into(),
            zxid: 0,
        }
    }

    /// Any request that can be answered among others: no `auth` and no
    /// `closeSession`.
    pub(crate) fn request(&mut self) -> Request {
        match self.rng.below(100) {
            0..30 => self.create(),
            30..38 => Request::Delete {
                path: self.path(),
                version: self.version(),
            },
            38..49 => Request::SetData {
                path: self.writable_path(),
                data: self.data(),
                version: self.version(),
            },
            49..60 => Request::Exists {
                path: self.path(),
                watch: self.rng.percent(80),
            },
            60..70 => Request::GetData {
                path: self.path(),
                watch: self.rng.percent(80),
            },
            70..80 => Request::GetChildren {
                path: self.path(),
                watch: self.rng.percent(80),
            },
            80..88 => Request::GetChildren2 {
                path: self.path(),
                watch: self.rng.percent(80),
            },
            88..94 => self.set_watches(),
            94..98 => Request::Sync { path: self.path() },
            _ => Request::Ping,
        }
    }

    /// What there is from the beginning.
    pub(crate) fn base(&mut self) -> Vec<Request> {
        let create = |path: &str| Request::Create {
            path: path.into(),
            data: None,
            acl: [Acl::world_anyone()].into(),
            mode: CreateMode::Persistent,
        };
        PATHS[..self.rng.below(PATHS.len() + 1)]
            .iter()
            .map(|path| create(path))
            .collect()
    }

    /// Watches of both kinds on one path and the one above, which others will
    /// use.
    pub(crate) fn close_look(&mut self) -> Vec<Request> {
        let path = self.path();
        let parent: Arc<str> = match path.rsplit_once('/') {
            Some((parent, _)) if !parent.is_empty() => parent.into(),
            _ => "/".into(),
        };
        self.hot = path.clone();
        let watch = true;
        let (exists, listed) = (path.clone(), path);
        vec![
            Request::GetChildren {
                path: parent,
                watch,
            },
            Request::Exists {
                path: exists,
                watch,
            },
            Request::GetChildren2 {
                path: listed,
                watch,
            },
        ]
    }

    fn create(&mut self) -> Request {
        let mode = match self.rng.below(100) {
            0..35 => 0,
            35..60 => 1,
            60..76 => 2,
            76..94 => 3,
            94..97 => 4,
            _ => self.rng.pick(&[5, 6, 7, -1, i32::MAX]),
        };
        let mut path = self.writable_path();
        if self.rng.percent(60) {
            let parent = if self.rng.percent(30) { "" } else { &path };
            let names: &[&str] = match mode {
                2 | 3 => &["n-", "x", "", "a"],
                _ => &["a", "b", "c"],
            };
            path = format!("{parent}/{}", self.rng.pick(names)).into();
        }
        let (data, acl) = (self.data(), self.acl().into());
        let mode = CreateMode::from_i32(mode);
        if self.rng.percent(50) {
            Request::Create {
                path,
                data,
                acl,
                mode,
            }
        } else {
            Request::Create2 {
                path,
                data,
                acl,
                mode,
            }
        }
    }

    fn set_watches(&mut self) -> Request {
        let back = self.rng.below(20) as i64;
        let mut paths = || (0..self.rng.below(3)).map(|_| self.path()).collect();
        Request::SetWatches {
            data: paths(),
            exist: paths(),
            child: paths(),
            relative_zxid: self.zxid - back,
        }
    }

    fn path(&mut self) -> Arc<str> {
        match self.rng.below(100) {
            0..15 => self.hot.clone(),
            // Most often the newest, so that what is watched changes as well.
            15..45 if !self.created.is_empty() => {
                let newest = self.created.len().saturating_sub(3);
                self.rng.pick(&self.created[newest..])
            }
            45..75 if !self.created.is_empty() => self.rng.pick(&self.created),
            15..95 => self.rng.pick(&PATHS).into(),
            _ => self.rng.pick(&ODD_PATHS).into(),
        }
    }

    /// Quotas are not for this test.
    fn writable_path(&mut self) -> Arc<str> {
        loop {
            let path = self.path();
            if !path.starts_with("/zookeeper/quota") {
                return path;
            }
        }
    }

    fn data(&mut self) -> Option<Bytes> {
        let data = [None, Some(&b""[..]), Some(b"x"), Some(b"some data")];
        self.rng.pick(&data).map(Bytes::from_static)
    }

    fn version(&mut self) -> i32 {
        self.rng.pick(&[-1, -1, -1, -1, 0, 0, 1, 2, 7, -2])
    }

    fn acl(&mut self) -> Vec<Acl> {
        let alice = || Acl::digest(Perms::ALL, ALICE_ID);
        let all_but_read = Perms::WRITE | Perms::CREATE | Perms::DELETE;
        match self.rng.below(100) {
            0..64 => vec![Acl::world_anyone()],
            64..72 => vec![Acl::world(Perms::READ), alice()],
            72..80 => vec![alice()],
            80..84 => vec![alice(), Acl::world(all_but_read)],
            84..88 => vec![Acl::creator_all()],
            88..90 => vec![Acl::ip(Perms::READ, "127.0.0.0/8"), alice(), alice()],
            90..92 => vec![Acl::ip(Perms::READ, "10.0.0.1"), alice()],
            92..93 => vec![],
            93..96 => {
                let (scheme, id) = self.rng.pick(&[
                    ("world", "someone"),
                    ("world", ""),
                    ("digest", "alice"),
                    ("digest", "alice:"),
                    ("digest", "a:b:c"),
                    ("ip", "300.0.0.1"),
                    ("ip", "1.2.3.4/33"),
                    ("sasl", "alice"),
                    ("", ""),
                ]);
                vec![alice(), Acl::new(Perms::ALL, scheme, id)]
            }
            _ => vec![Acl::world_anyone(), alice()],
        }
    }
}
