//! What a server says unasked: ZooKeeper's `WatcherEvent` record, behind a reply header whose xid
//! is [`xid::WATCH_EVENT`](super::xid::WATCH_EVENT).

use std::sync::Arc;

use bytes::BytesMut;

use super::{DecodeError, Reader, Writer};

/// A watch has fired. It is gone with that: watches are one-shot.
///
/// Never take a last-seen zxid from an event's header: servers up to 3.8 send -1 there, and later
/// ones may send several events with one zxid.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatcherEvent {
    /// What happened to the znode.
    pub kind: EventType,
    /// The state of the connection; servers always send [`KeeperState::SyncConnected`].
    pub state: KeeperState,
    /// The znode's full path.
    pub path: Arc<str>,
}

impl WatcherEvent {
    /// Reads the record that follows the reply header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            kind: EventType::from_i32(reader.int("WatcherEvent.type")?),
            state: KeeperState::from_i32(reader.int("WatcherEvent.state")?),
            path: reader.string("WatcherEvent.path")?,
        })
    }

    /// Appends the record, without a reply header.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        writer.int(self.kind.as_i32());
        writer.int(self.state.as_i32());
        writer.string(&self.path);
    }
}

open_enum! {
    /// What happened to a watched znode, from ZooKeeper's `Watcher.Event.EventType`.
    pub enum EventType {
        /// Made by clients only: the connection's state changed.
        None = -1,
        /// The znode was created.
        NodeCreated = 1,
        /// The znode was deleted.
        NodeDeleted = 2,
        /// The znode's data changed.
        NodeDataChanged = 3,
        /// A child of the znode was created or deleted.
        NodeChildrenChanged = 4,
        /// Made by clients only: a data watch was removed.
        DataWatchRemoved = 5,
        /// Made by clients only: a child watch was removed.
        ChildWatchRemoved = 6,
        /// Made by clients only: a persistent watch was removed.
        PersistentWatchRemoved = 7,
    }
}

open_enum! {
    /// The state of a connection, from ZooKeeper's `Watcher.Event.KeeperState`.
    pub enum KeeperState {
        /// Not connected.
        Disconnected = 0,
        /// Connected to a server that is part of the quorum.
        SyncConnected = 3,
        /// The authentication was refused.
        AuthFailed = 4,
        /// Connected to a read-only server.
        ConnectedReadOnly = 5,
        /// Authenticated by SASL.
        SaslAuthenticated = 6,
        /// The session was closed.
        Closed = 7,
        /// The session has expired.
        Expired = -112,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_type_or_state_is_data() {
        let mut out = BytesMut::new();
        let event = WatcherEvent {
            kind: EventType::Other(99),
            state: KeeperState::Other(-7),
            path: "/locks".into(),
        };
        event.encode(&mut out);
        let frame = out.freeze();
        assert_eq!(WatcherEvent::decode(&mut Reader::new(&frame)), Ok(event));
    }

    #[test]
    fn a_null_path_is_an_error() {
        let frame = bytes::Bytes::from_static(&[0, 0, 0, 2, 0, 0, 0, 3, 0xff, 0xff, 0xff, 0xff]);
        let error = WatcherEvent::decode(&mut Reader::new(&frame)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "WatcherEvent.path at byte 8: null, where a value must be"
        );
    }

    #[test]
    fn every_value_maps_back_to_its_number() {
        for value in -200..200 {
            assert_eq!(EventType::from_i32(value).as_i32(), value);
            assert_eq!(KeeperState::from_i32(value).as_i32(), value);
        }
    }
}
