//! What a server knows about a znode besides its data: ZooKeeper's `Stat` record.

use bytes::BytesMut;

use super::{DecodeError, Reader, Writer};

/// A znode's metadata. Times are milliseconds since 1970 by the leader's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stat {
    /// The zxid of the transaction that created the znode: unique, and growing from znode to znode.
    pub czxid: i64,
    /// The zxid of the last change of its data.
    pub mzxid: i64,
    /// When it was created.
    pub ctime_ms: i64,
    /// When its data last changed.
    pub mtime_ms: i64,
    /// How often its data changed.
    pub version: i32,
    /// How often its children changed: creates plus deletes.
    pub cversion: i32,
    /// How often its ACL changed.
    pub aversion: i32,
    /// The session whose end deletes it; 0 if it is not ephemeral.
    pub ephemeral_owner: i64,
    /// The length of its data in bytes; 0 for null as well as for empty data.
    pub data_length: i32,
    /// How many children it has.
    pub num_children: i32,
    /// The zxid of the last create or delete among its children.
    pub pzxid: i64,
}

impl Stat {
    /// How many bytes the record takes on the wire.
    pub const SIZE: usize = 68;

    /// Reads the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            czxid: reader.long("Stat.czxid")?,
            mzxid: reader.long("Stat.mzxid")?,
            ctime_ms: reader.long("Stat.ctime")?,
            mtime_ms: reader.long("Stat.mtime")?,
            version: reader.int("Stat.version")?,
            cversion: reader.int("Stat.cversion")?,
            aversion: reader.int("Stat.aversion")?,
            ephemeral_owner: reader.long("Stat.ephemeralOwner")?,
            data_length: reader.int("Stat.dataLength")?,
            num_children: reader.int("Stat.numChildren")?,
            pzxid: reader.long("Stat.pzxid")?,
        })
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        writer.long(self.czxid);
        writer.long(self.mzxid);
        writer.long(self.ctime_ms);
        writer.long(self.mtime_ms);
        writer.int(self.version);
        writer.int(self.cversion);
        writer.int(self.aversion);
        writer.long(self.ephemeral_owner);
        writer.int(self.data_length);
        writer.int(self.num_children);
        writer.long(self.pzxid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_takes_as_many_bytes_as_it_says() {
        let mut out = BytesMut::new();
        Stat::default().encode(&mut out);
        assert_eq!(out.len(), Stat::SIZE);
    }

    #[test]
    fn one_byte_too_few_is_an_error_in_the_last_field() {
        let frame = bytes::Bytes::from_static(&[0; Stat::SIZE - 1]);
        let error = Stat::decode(&mut Reader::new(&frame)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "Stat.pzxid at byte 60: 8 bytes needed, but only 7 bytes are left"
        );
    }
}
