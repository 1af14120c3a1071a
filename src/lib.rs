//! A distributed lock on Apache ZooKeeper, from the wire protocol up.
pub mod proto;
