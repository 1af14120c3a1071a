//! A transaction log of a ZooKeeper server, written by hand, so that a server
//! starts from a tree that would take it weeks to get to.

use std::fs;

use super::zookeeper::ZooKeeper;

/// Transaction types, as the log and the wire number them.
const CREATE: i32 = 1;
const DELETE: i32 = 2;

/// `ZKLG`, the version of the format, and the id of the database.
const FILE_HEADER: [u8; 16] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";
/// Ends each transaction.
const END_OF_RECORD: u8 = b'B';

/// Transactions from zxid 1 on.
pub(crate) struct TxnLog {
    bytes: Vec<u8>,
    last_zxid: i64,
}

impl TxnLog {
    pub(crate) fn new() -> Self {
        Self {
            bytes: FILE_HEADER.into(),
            last_zxid: 0,
        }
    }

    /// Creates a persistent node with no data that everyone may do anything
    /// with. Its parent has then seen `parent_count` creations of children,
    /// if it had not seen more: the number of the next sequential one.
    pub(crate) fn create(mut self, path: &str, parent_count: i32) -> Self {
        let ephemeral = [0];
        let record = [
            &string(path)[..],
            &string(""),
            // One entry in the ACL, with all permissions.
            &1_i32.to_be_bytes(),
            &31_i32.to_be_bytes(),
            &string("world"),
            &string("anyone"),
            &ephemeral,
            &parent_count.to_be_bytes(),
        ];
        self.append(CREATE, &record.concat());
        self
    }

    /// Deletes a node. What its parent has counted stays.
    pub(crate) fn delete(mut self, path: &str) -> Self {
        self.append(DELETE, &string(path));
        self
    }

    /// Starts a server that has these transactions behind it. A server is
    /// there before, for its folder and an empty snapshot in it.
    pub(crate) fn start_server(self) -> ZooKeeper {
        let mut server = ZooKeeper::start();
        server.kill();
        let log = server.folder().join("data/version-2/log.1");
        fs::write(&log, self.bytes).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
        server.restart();
        server
    }

    fn append(&mut self, txn_type: i32, record: &[u8]) {
        self.last_zxid += 1;
        let (session_id, cxid, time) = (0_i64, 0_i32, 1_i64);
        let txn = [
            &session_id.to_be_bytes()[..],
            &cxid.to_be_bytes(),
            &self.last_zxid.to_be_bytes(),
            &time.to_be_bytes(),
            &txn_type.to_be_bytes(),
            record,
        ]
        .concat();
        let checksum = u64::from(adler32(&txn));
        self.bytes.extend(checksum.to_be_bytes());
        self.bytes.extend(buffer(&txn));
        self.bytes.push(END_OF_RECORD);
    }
}

fn string(text: &str) -> Vec<u8> {
    buffer(text.as_bytes())
}

fn buffer(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).expect("a short buffer");
    [&length.to_be_bytes(), bytes].concat()
}

fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (low, high) = bytes.iter().fold((1, 0), |(low, high), byte| {
        let low = (low + u32::from(*byte)) % MODULUS;
        (low, (high + low) % MODULUS)
    });
    high << 16 | low
}
