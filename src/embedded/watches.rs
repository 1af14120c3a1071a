//! Who is to be told of what: the watches of all connections.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::proto::{Acl, EventType};

use super::ConnectionId;

/// Something that watches wait for.
#[derive(Clone, Debug)]
pub(super) struct Trigger {
    pub(super) kind: EventType,
    /// The path of the event.
    pub(super) path: Arc<str>,
    /// The ACL of the znode that it is about: who may not read that is not
    /// told, though the watch is gone.
    pub(super) acl: Arc<[Acl]>,
}

/// One-shot watches. Each belongs to a connection and goes with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    /// Set by `exists` and `getData`.
    data: Table,
    /// Set by `getChildren`.
    child: Table,
}

type Table = BTreeMap<Arc<str>, BTreeSet<ConnectionId>>;

impl Watches {
    /// To be told when the znode is created, changed or deleted.
    pub(super) fn watch_data(&mut self, path: &Arc<str>, connection: ConnectionId) {
        insert(&mut self.data, path, connection);
    }

    /// To be told when the znode is deleted, or a child of it comes or goes.
    pub(super) fn watch_children(&mut self, path: &Arc<str>, connection: ConnectionId) {
        insert(&mut self.child, path, connection);
    }

    /// Uses up the watches that wait for this, and returns whose they were. A
    /// connection with both watches on a deleted znode is told once.
    pub(super) fn fire(&mut self, trigger: &Trigger) -> BTreeSet<ConnectionId> {
        let path = &trigger.path;
        match trigger.kind {
            EventType::NodeCreated | EventType::NodeDataChanged => take(&mut self.data, path),
            EventType::NodeChildrenChanged => take(&mut self.child, path),
            EventType::NodeDeleted => {
                let mut told = take(&mut self.data, path);
                told.append(&mut take(&mut self.child, path));
                told
            }
            _ => BTreeSet::new(),
        }
    }

    /// The connection is gone.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        for table in [&mut self.data, &mut self.child] {
            table.retain(|_, connections| {
                connections.remove(&connection);
                !connections.is_empty()
            });
        }
    }

    /// How many watches there are.
    pub(super) fn len(&self) -> usize {
        let tables = [&self.data, &self.child];
        let sets = tables.into_iter().flat_map(BTreeMap::values);
        sets.map(BTreeSet::len).sum()
    }
}

fn insert(table: &mut Table, path: &Arc<str>, connection: ConnectionId) {
    table.entry(path.clone()).or_default().insert(connection);
}

fn take(table: &mut Table, path: &str) -> BTreeSet<ConnectionId> {
    table.remove(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: ConnectionId = ConnectionId(1);
    const TWO: ConnectionId = ConnectionId(2);

    fn trigger(kind: EventType) -> Trigger {
        let acl = [Acl::world_anyone()].into();
        Trigger {
            kind,
            path: "/a".into(),
            acl,
        }
    }

    fn fired(watches: &mut Watches, kind: EventType) -> Vec<ConnectionId> {
        watches.fire(&trigger(kind)).into_iter().collect()
    }

    #[test]
    fn a_watch_fires_once_however_often_it_was_set() {
        let mut watches = Watches::default();
        watches.watch_data(&"/a".into(), ONE);
        watches.watch_data(&"/a".into(), ONE);
        watches.watch_data(&"/a".into(), TWO);
        assert_eq!(watches.len(), 2);
        assert_eq!(fired(&mut watches, EventType::NodeDataChanged), [ONE, TWO]);
        assert_eq!(fired(&mut watches, EventType::NodeDataChanged), []);
    }

    #[test]
    fn a_deletion_uses_up_both_kinds_and_is_told_once() {
        let mut watches = Watches::default();
        watches.watch_data(&"/a".into(), ONE);
        watches.watch_children(&"/a".into(), ONE);
        watches.watch_children(&"/a".into(), TWO);
        assert_eq!(fired(&mut watches, EventType::NodeDeleted), [ONE, TWO]);
        assert_eq!(watches.len(), 0);
    }

    #[test]
    fn the_kinds_are_apart() {
        let mut watches = Watches::default();
        watches.watch_data(&"/a".into(), ONE);
        watches.watch_children(&"/a".into(), TWO);
        assert_eq!(fired(&mut watches, EventType::NodeChildrenChanged), [TWO]);
        assert_eq!(fired(&mut watches, EventType::NodeCreated), [ONE]);
    }

    #[test]
    fn watches_go_with_their_connection() {
        let mut watches = Watches::default();
        watches.watch_data(&"/a".into(), ONE);
        watches.watch_children(&"/b".into(), ONE);
        watches.watch_children(&"/b".into(), TWO);
        watches.forget(ONE);
        assert_eq!(watches.len(), 1);
        assert_eq!(fired(&mut watches, EventType::NodeDeleted), []);
    }
}
