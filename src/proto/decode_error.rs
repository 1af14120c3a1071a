//! Why bytes do not decode, with the field and the place.

use std::fmt;

/// Why bytes are not the record they should be.
///
/// It says which field of which record failed and where, so that one log line suffices to find the
/// fault:
///
/// ```
/// # use zklock::proto::Reader;
/// let frame = bytes::Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, b'/']);
/// let error = Reader::new(&frame).string("CreateReply.path").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "CreateReply.path at byte 0: length 2147483647, but only 1 byte is left"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The field, as `"Record.field"`.
    pub field: &'static str,
    /// Where the field starts, in bytes from the frame's first byte after its length prefix.
    pub offset: usize,
    /// What is wrong with it.
    pub kind: DecodeErrorKind,
}

impl DecodeError {
    pub(super) fn new(field: &'static str, offset: usize, kind: DecodeErrorKind) -> Self {
        Self {
            field,
            offset,
            kind,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.field, self.offset, self.kind)
    }
}

impl std::error::Error for DecodeError {}

/// What is wrong with a field, in a [`DecodeError`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeErrorKind {
    /// The frame ends inside a primitive.
    Truncated {
        /// Bytes the primitive takes.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A length or count below -1.
    NegativeLength(i32),
    /// A buffer or string longer than the rest of the frame.
    LengthBeyondFrame {
        /// The length on the wire, in bytes.
        length: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// A vector with more elements than the rest of the frame could hold.
    CountBeyondFrame {
        /// The count on the wire.
        count: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// Null (-1) where the protocol has no use for it.
    Null,
    /// A string that is neither UTF-8 nor CESU-8.
    NotUtf8,
    /// So many bytes follow the record. Only strict decoding reports it: newer servers append
    /// fields.
    TrailingBytes(usize),
    /// A request with an opcode that [`OpCode`](super::OpCode) does not have.
    UnknownOpcode(i32),
}

impl fmt::Display for DecodeErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { needed, left } => {
                write!(f, "{needed} bytes needed, but {}", Left(*left))
            }
            Self::NegativeLength(length) => write!(f, "negative length {length}"),
            Self::LengthBeyondFrame { length, left } => {
                write!(f, "length {length}, but {}", Left(*left))
            }
            Self::CountBeyondFrame { count, left } => {
                write!(f, "{count} elements, but {}", Left(*left))
            }
            Self::Null => f.write_str("null, where a value must be"),
            Self::NotUtf8 => f.write_str("not UTF-8"),
            Self::TrailingBytes(count) => write!(f, "{count} bytes too many"),
            Self::UnknownOpcode(opcode) => write!(f, "unknown opcode {opcode}"),
        }
    }
}

/// Displays how many bytes are left, in a sentence.
struct Left(usize);

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("nothing is left"),
            1 => f.write_str("only 1 byte is left"),
            left => write!(f, "only {left} bytes are left"),
        }
    }
}
