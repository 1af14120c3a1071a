//! Who may do what to a znode: ZooKeeper's `ACL` and `Id` records.

use std::fmt;
use std::ops::BitOr;
use std::sync::Arc;

use bytes::BytesMut;

use super::{DecodeError, Reader, Writer};

/// One entry of an access control list: a set of permissions for one identity.
///
/// On the wire an int and two strings. Lists of it are `Arc<[Acl]>`, so that cloning a
/// request does not copy them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acl {
    /// What the identity may do.
    pub perms: Perms,
    /// How the identity is established: `"world"`, `"digest"`, `"ip"`, `"x509"`, `"sasl"` or
    /// `"auth"`.
    pub scheme: Arc<str>,
    /// The identity, in a form that depends on the scheme.
    pub id: Arc<str>,
}

impl Acl {
    /// The least an entry takes on the wire, in bytes: the permissions and two empty strings.
    const MIN_SIZE: usize = 12;

    /// An entry from its parts.
    pub fn new(perms: Perms, scheme: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self {
            perms,
            scheme: scheme.into(),
            id: id.into(),
        }
    }

    /// Everything for everybody: `world:anyone`, ZooKeeper's `OPEN_ACL_UNSAFE`.
    pub fn world_anyone() -> Self {
        Self::world(Perms::ALL)
    }

    /// Everything for the identities of the connection that creates the znode, ZooKeeper's
    /// `CREATOR_ALL_ACL`. Without any, the server answers
    /// [`InvalidAcl`](super::ErrorCode::InvalidAcl).
    pub fn creator_all() -> Self {
        Self::auth(Perms::ALL)
    }

    /// These permissions for everybody: `world:anyone`.
    pub fn world(perms: Perms) -> Self {
        Self::new(perms, "world", "anyone")
    }

    /// These permissions for the identities of the connection that creates the znode.
    pub fn auth(perms: Perms) -> Self {
        Self::new(perms, "auth", "")
    }

    /// These permissions for whoever knows a password. `id` is the user and a hash: `user:` and
    /// the base64 of the SHA-1 of `user:password`, as ZooKeeper's `DigestAuthenticationProvider`
    /// prints it.
    pub fn digest(perms: Perms, id: impl Into<Arc<str>>) -> Self {
        Self::new(perms, "digest", id)
    }

    /// These permissions for clients from an address, `10.0.0.7`, or a network, `10.0.0.0/8`.
    pub fn ip(perms: Perms, address: impl Into<Arc<str>>) -> Self {
        Self::new(perms, "ip", address)
    }

    /// Reads one entry.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            perms: Perms::from_bits(reader.int("Acl.perms")?),
            scheme: reader.string("Acl.scheme")?,
            id: reader.string("Acl.id")?,
        })
    }

    /// Appends the entry.
    pub fn encode(&self, out: &mut BytesMut) {
        let mut writer = Writer::new(out);
        writer.int(self.perms.bits());
        writer.string(&self.scheme);
        writer.string(&self.id);
    }

    /// Reads a list; a null list is an error.
    pub(super) fn decode_list(
        reader: &mut Reader<'_>,
        field: &'static str,
    ) -> Result<Arc<[Self]>, DecodeError> {
        let count = reader.count(field, Self::MIN_SIZE)?;
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            list.push(Self::decode(reader)?);
        }
        Ok(list.into())
    }

    /// Appends a list.
    pub(super) fn encode_list(list: &[Self], out: &mut BytesMut) {
        Writer::new(out).count(list.len());
        for acl in list {
            acl.encode(out);
        }
    }
}

/// A set of permissions, from ZooKeeper's `ZooDefs.Perms`.
///
/// ```
/// # use zklock::proto::Perms;
/// let perms = Perms::READ | Perms::CREATE;
/// assert!(perms.contains(Perms::READ) && !perms.contains(Perms::ALL));
/// assert_eq!(format!("{perms:?}"), "READ|CREATE");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Perms(i32);

impl Perms {
    /// Read data and list children; also needed to be told about a watched change.
    pub const READ: Self = Self(1);
    /// Set data.
    pub const WRITE: Self = Self(2);
    /// Create children.
    pub const CREATE: Self = Self(4);
    /// Delete **children**. Deleting a znode asks its parent's list, not its own.
    pub const DELETE: Self = Self(8);
    /// Change the list itself.
    pub const ADMIN: Self = Self(16);
    /// All five.
    pub const ALL: Self = Self(31);

    const NAMES: [(Self, &'static str); 5] = [
        (Self::READ, "READ"),
        (Self::WRITE, "WRITE"),
        (Self::CREATE, "CREATE"),
        (Self::DELETE, "DELETE"),
        (Self::ADMIN, "ADMIN"),
    ];

    /// The set with these bits; bits without a name are kept.
    pub const fn from_bits(bits: i32) -> Self {
        Self(bits)
    }

    /// The bits, as on the wire.
    pub const fn bits(self) -> i32 {
        self.0
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Perms {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Perms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ALL => return f.write_str("ALL"),
            Self(0) => return f.write_str("NONE"),
            _ => {}
        }
        let mut separator = "";
        for (perm, name) in Self::NAMES {
            if self.contains(perm) {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        match self.0 & !Self::ALL.0 {
            0 => Ok(()),
            unnamed => write!(f, "{separator}{unnamed:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::DecodeErrorKind;
    use bytes::Bytes;

    #[test]
    fn permissions_are_shown_by_name_and_unnamed_bits_as_a_number() {
        let shown = |bits| format!("{:?}", Perms::from_bits(bits));
        assert_eq!(shown(0), "NONE");
        assert_eq!(shown(31), "ALL");
        assert_eq!(shown(9), "READ|DELETE");
        assert_eq!(shown(0x41), "READ|0x40");
    }

    #[test]
    fn a_count_beyond_the_frame_is_refused_before_space_is_reserved() {
        let frame = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 31, 0, 0, 0, 0]);
        let error = Acl::decode_list(&mut Reader::new(&frame), "CreateRequest.acl").unwrap_err();
        let kind = DecodeErrorKind::CountBeyondFrame {
            count: 0x7fff_ffff,
            left: 8,
        };
        assert_eq!(error, DecodeError::new("CreateRequest.acl", 0, kind));
    }

    #[test]
    fn the_smallest_entries_are_accepted_and_one_more_than_fits_is_not() {
        let list = [Acl::new(Perms::READ, "", ""), Acl::new(Perms::ALL, "", "")];
        let mut out = BytesMut::new();
        Acl::encode_list(&list, &mut out);
        let decode = |frame: Bytes| Acl::decode_list(&mut Reader::new(&frame), "CreateRequest.acl");
        assert_eq!(decode(out.clone().freeze()).as_deref(), Ok(&list[..]));
        out[3] = 3;
        let kind = DecodeErrorKind::CountBeyondFrame { count: 3, left: 24 };
        let error = DecodeError::new("CreateRequest.acl", 0, kind);
        assert_eq!(decode(out.freeze()), Err(error));
    }

    #[test]
    fn a_null_list_is_refused() {
        let frame = Bytes::from_static(&[0xff; 4]);
        let error = Acl::decode_list(&mut Reader::new(&frame), "CreateRequest.acl").unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Null);
    }

    #[test]
    fn a_list_comes_back_as_it_went() {
        let list = [Acl::world_anyone(), Acl::creator_all()];
        let mut out = BytesMut::new();
        Acl::encode_list(&list, &mut out);
        let frame = out.freeze();
        let mut reader = Reader::new(&frame);
        let decoded = Acl::decode_list(&mut reader, "CreateRequest.acl").unwrap();
        assert_eq!(*decoded, list);
        assert_eq!(reader.finish(), Ok(()));
    }
}
