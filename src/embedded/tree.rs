//! The znodes, and what writes do to them: each checks all that a server
//! checks, in the server's order, and then changes the tree at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::proto::{Acl, CreateMode, ErrorCode, EventType, Perms, Stat, ZnodePath};

use super::access::Identities;
use super::java_set::JavaSet;
use super::watches::Trigger;

/// What cannot be deleted.
const KEPT: [&str; 4] = ["/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"];

/// What the first child of a znode makes room for.
const CHILD_BUCKETS: usize = 8;

/// The znodes, by their paths.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// The root is the empty path, as the parent of `/a` comes out of cutting
    /// it.
    nodes: BTreeMap<Arc<str>, Node>,
    /// The paths of each session's ephemerals.
    ephemerals: BTreeMap<i64, JavaSet>,
}

/// One znode.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) data: Option<Bytes>,
    pub(super) acl: Arc<[Acl]>,
    /// As far as it is not counted: `cversion` here counts creates alone.
    kept: Stat,
    /// The names of its children.
    pub(super) children: JavaSet,
}

/// A transaction: what it is called, when it happens, and who asks for it.
#[derive(Clone, Debug)]
pub(super) struct Txn<'a> {
    pub(super) zxid: i64,
    /// Milliseconds since 1970.
    pub(super) time_ms: i64,
    pub(super) session: i64,
    pub(super) by: &'a Identities,
}

/// A znode to be created.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewNode<'a> {
    path: &'a str,
    data: Option<&'a [u8]>,
    acl: &'a [Acl],
    mode: CreateMode,
}

impl<'a> NewNode<'a> {
    pub(super) fn new(
        path: &'a str,
        data: Option<&'a [u8]>,
        acl: &'a [Acl],
        mode: CreateMode,
    ) -> Self {
        Self {
            path,
            data,
            acl,
            mode,
        }
    }
}

/// What a write did: its answer, and what watches wait for, in order.
pub(super) type Done<T> = Result<(T, Vec<Trigger>), ErrorCode>;

impl Tree {
    /// What a new server has.
    pub(super) fn new() -> Self {
        let mut tree = Self {
            nodes: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
        };
        let open: Arc<[Acl]> = [Acl::world_anyone()].into();
        for path in ["", "/zookeeper", "/zookeeper/quota", "/zookeeper/config"] {
            let node = Node::new(Some(Bytes::new()), open.clone(), Stat::default());
            tree.nodes.insert(path.into(), node);
            let parent = path.rsplit_once('/');
            let parent = parent.and_then(|(at, name)| Some((tree.nodes.get_mut(at)?, name)));
            if let Some((parent, name)) = parent {
                parent.children.insert(name.into());
            }
        }
        if let Some(config) = tree.nodes.get_mut("/zookeeper/config") {
            config.acl = [Acl::world(Perms::READ)].into();
            config.kept.aversion = -1;
        }
        tree
    }

    /// The znode at a path, which is taken as it is.
    pub(super) fn node(&self, path: &str) -> Result<&Node, ErrorCode> {
        self.nodes.get(key(path)).ok_or(ErrorCode::NoNode)
    }

    /// All znodes and their paths.
    pub(super) fn nodes(&self) -> impl Iterator<Item = (Arc<str>, &Node)> {
        self.nodes.iter().map(|(path, node)| match &**path {
            "" => ("/".into(), node),
            _ => (path.clone(), node),
        })
    }

    /// Sets how many creates of children there have been below a znode.
    pub(super) fn set_counter(&mut self, path: &str, creates: i32) -> bool {
        let node = self.nodes.get_mut(key(path));
        node.map(|node| node.kept.cversion = creates).is_some()
    }

    /// Creates a znode and answers its path.
    pub(super) fn create(&mut self, new: NewNode<'_>, txn: &Txn<'_>) -> Done<Arc<str>> {
        let (ephemeral, sequential) = flags(new.mode)?;
        let parent_path = parent_path(new.path)?;
        let acl = txn.by.resolve(new.acl)?;
        let parent = self.node(parent_path)?;
        txn.by.may(Perms::CREATE, &parent.acl)?;
        let path: Arc<str> = match sequential {
            true => format!("{}{:010}", new.path, parent.kept.cversion).into(),
            false => new.path.into(),
        };
        check_path(&path)?;
        if self.node(&path).is_ok() {
            return Err(ErrorCode::NodeExists);
        }
        if parent.kept.ephemeral_owner != 0 {
            return Err(ErrorCode::NoChildrenForEphemerals);
        }
        let parent_acl = parent.acl.clone();
        let owner = if ephemeral { txn.session } else { 0 };
        let data = new.data.map(Bytes::copy_from_slice);
        let node = Node::new(data, acl.clone(), new_stat(owner, txn));
        self.insert(&path, node, txn.zxid);
        let triggers = vec![
            trigger(EventType::NodeCreated, &path, &acl),
            children_changed(parent_path, parent_acl),
        ];
        Ok((path, triggers))
    }

    /// Deletes a znode.
    pub(super) fn delete(&mut self, path: &str, version: i32, txn: &Txn<'_>) -> Done<()> {
        let parent_path = parent_path(path)?;
        if KEPT.contains(&path) {
            return Err(ErrorCode::BadArguments);
        }
        let parent = self.node(parent_path)?;
        txn.by.may(Perms::DELETE, &parent.acl)?;
        let node = self.node(path)?;
        node.check_version(version)?;
        if node.children.len() > 0 {
            return Err(ErrorCode::NotEmpty);
        }
        Ok(((), self.remove(path, txn.zxid)))
    }

    /// Replaces a znode's data and answers its metadata.
    pub(super) fn set_data(
        &mut self,
        path: &Arc<str>,
        data: Option<&[u8]>,
        version: i32,
        txn: &Txn<'_>,
    ) -> Done<Stat> {
        check_path(path)?;
        let node = self.node(path)?;
        txn.by.may(Perms::WRITE, &node.acl)?;
        node.check_version(version)?;
        let Some(node) = self.nodes.get_mut(key(path)) else {
            return Err(ErrorCode::NoNode);
        };
        node.data = data.map(Bytes::copy_from_slice);
        node.kept.version = node.kept.version.wrapping_add(1);
        node.kept.mzxid = txn.zxid;
        node.kept.mtime_ms = txn.time_ms;
        let changed = trigger(EventType::NodeDataChanged, path, &node.acl);
        Ok((node.stat(), vec![changed]))
    }

    /// Deletes all ephemerals of a session.
    pub(super) fn end_session(&mut self, session: i64, zxid: i64) -> Vec<Trigger> {
        let Some(paths) = self.ephemerals.remove(&session) else {
            return Vec::new();
        };
        let paths = paths.java_clone();
        let removed = paths.iter().flat_map(|path| self.remove(path, zxid));
        removed.collect()
    }

    fn insert(&mut self, path: &Arc<str>, node: Node, zxid: i64) {
        let owner = node.kept.ephemeral_owner;
        if owner != 0 {
            let paths = self.ephemerals.entry(owner).or_insert_with(JavaSet::new);
            paths.insert(path.clone());
        }
        self.nodes.insert(path.clone(), node);
        let Some((parent, name)) = path.rsplit_once('/') else {
            return;
        };
        let Some(parent) = self.nodes.get_mut(parent) else {
            return;
        };
        parent.children.insert(name.into());
        // Where the counter overflows it stays what it is, and so does pzxid.
        let creates = parent.kept.cversion.wrapping_add(1);
        if creates > parent.kept.cversion {
            parent.kept.cversion = creates;
            parent.kept.pzxid = zxid;
        }
    }

    fn remove(&mut self, path: &str, zxid: i64) -> Vec<Trigger> {
        let Some(node) = self.nodes.remove(path) else {
            return Vec::new();
        };
        if let Some(paths) = self.ephemerals.get_mut(&node.kept.ephemeral_owner) {
            paths.remove(path);
        }
        let mut triggers = vec![trigger(EventType::NodeDeleted, &path.into(), &node.acl)];
        if let Some((parent_path, name)) = path.rsplit_once('/') {
            if let Some(parent) = self.nodes.get_mut(parent_path) {
                parent.children.remove(name);
                parent.kept.pzxid = parent.kept.pzxid.max(zxid);
                triggers.push(children_changed(parent_path, parent.acl.clone()));
            }
        }
        triggers
    }
}

impl Node {
    fn new(data: Option<Bytes>, acl: Arc<[Acl]>, kept: Stat) -> Self {
        Self {
            data,
            acl,
            kept,
            children: JavaSet::with_buckets(CHILD_BUCKETS),
        }
    }

    /// Its metadata as clients see them.
    pub(super) fn stat(&self) -> Stat {
        let int = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let num_children = int(self.children.len());
        let creates_and_deletes = self.kept.cversion.wrapping_mul(2);
        Stat {
            cversion: creates_and_deletes.wrapping_sub(num_children),
            data_length: int(self.data.as_ref().map_or(0, Bytes::len)),
            num_children,
            ..self.kept
        }
    }

    fn check_version(&self, expected: i32) -> Result<(), ErrorCode> {
        let fits = expected == -1 || expected == self.kept.version;
        fits.then_some(()).ok_or(ErrorCode::BadVersion)
    }
}

fn new_stat(ephemeral_owner: i64, txn: &Txn<'_>) -> Stat {
    Stat {
        czxid: txn.zxid,
        mzxid: txn.zxid,
        pzxid: txn.zxid,
        ctime_ms: txn.time_ms,
        mtime_ms: txn.time_ms,
        ephemeral_owner,
        ..Stat::default()
    }
}

/// Whether a znode is to be ephemeral, and whether sequential.
fn flags(mode: CreateMode) -> Result<(bool, bool), ErrorCode> {
    match mode {
        CreateMode::Persistent => Ok((false, false)),
        CreateMode::Ephemeral => Ok((true, false)),
        CreateMode::PersistentSequential => Ok((false, true)),
        CreateMode::EphemeralSequential => Ok((true, true)),
        // A container. Asked for by this request, it is never cleared away.
        CreateMode::Other(4) => Ok((false, false)),
        // With a time to live, which has to be switched on.
        CreateMode::Other(5 | 6) => Err(ErrorCode::Unimplemented),
        CreateMode::Other(_) => Err(ErrorCode::BadArguments),
    }
}

/// What the nodes' map has for a path.
fn key(path: &str) -> &str {
    if path == "/" { "" } else { path }
}

fn parent_path(path: &str) -> Result<&str, ErrorCode> {
    match path.rsplit_once('/') {
        Some((parent, _)) if !path.contains('\0') => Ok(parent),
        _ => Err(ErrorCode::BadArguments),
    }
}

fn check_path(path: &str) -> Result<(), ErrorCode> {
    let checked = ZnodePath::new(path);
    checked.map(drop).map_err(|_| ErrorCode::BadArguments)
}

fn trigger(kind: EventType, path: &Arc<str>, acl: &Arc<[Acl]>) -> Trigger {
    Trigger {
        kind,
        path: path.clone(),
        acl: acl.clone(),
    }
}

fn children_changed(parent: &str, acl: Arc<[Acl]>) -> Trigger {
    Trigger {
        kind: EventType::NodeChildrenChanged,
        path: if parent.is_empty() { "/" } else { parent }.into(),
        acl,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(
        tree: &mut Tree,
        path: &str,
        mode: CreateMode,
        zxid: i64,
    ) -> Result<String, ErrorCode> {
        let acl = [Acl::world_anyone()];
        let new = NewNode::new(path, None, &acl, mode);
        let txn = Txn {
            zxid,
            time_ms: 0,
            session: 1,
            by: &Identities::default(),
        };
        let created = tree.create(new, &txn);
        created.map(|(path, _)| path.to_string())
    }

    /// A parent that has had so many children.
    fn with_creates(creates: i32) -> Tree {
        let mut tree = Tree::new();
        create(&mut tree, "/q", CreateMode::Persistent, 1).unwrap();
        tree.nodes.get_mut("/q").unwrap().kept.cversion = creates;
        tree
    }

    #[test]
    fn a_counter_at_its_end_stays_there_and_gives_each_name_once() {
        let mut tree = with_creates(i32::MAX - 1);
        let mut next = |zxid| create(&mut tree, "/q/n-", CreateMode::PersistentSequential, zxid);
        assert_eq!(next(5).as_deref(), Ok("/q/n-2147483646"));
        assert_eq!(next(6).as_deref(), Ok("/q/n-2147483647"));
        assert_eq!(next(7), Err(ErrorCode::NodeExists));
        let pzxid = |tree: &Tree| tree.node("/q").unwrap().stat().pzxid;
        assert_eq!(pzxid(&tree), 5);
        let other = create(&mut tree, "/q/m-", CreateMode::EphemeralSequential, 8);
        assert_eq!(other.as_deref(), Ok("/q/m-2147483647"));
        assert_eq!(pzxid(&tree), 5);
        tree.end_session(1, 9);
        assert_eq!(pzxid(&tree), 9);
        let again = create(&mut tree, "/q/m-", CreateMode::EphemeralSequential, 10);
        assert_eq!(again.as_deref(), Ok("/q/m-2147483647"));
    }

    #[test]
    fn a_negative_counter_is_printed_with_its_sign_and_counts_on() {
        let mut tree = with_creates(i32::MIN);
        let mut next = || create(&mut tree, "/q/n-", CreateMode::PersistentSequential, 5);
        assert_eq!(next().as_deref(), Ok("/q/n--2147483648"));
        assert_eq!(next().as_deref(), Ok("/q/n--2147483647"));
        let mut tree = with_creates(-1);
        let mut next = || create(&mut tree, "/q/n-", CreateMode::PersistentSequential, 5);
        assert_eq!(next().as_deref(), Ok("/q/n--000000001"));
        assert_eq!(next().as_deref(), Ok("/q/n-0000000000"));
    }
}
