//! Jute, ZooKeeper's encoding: big-endian primitives one after another, without tags or padding.
//!
//! | type | bytes |
//! | --- | --- |
//! | bool | 1 byte, 0 or 1; any other value reads as true, as in the Java server |
//! | int, long | 4 or 8 bytes, signed |
//! | buffer, string | int length and the bytes; length -1 is null, which is not the same as empty |
//! | vector | int count and the elements; count -1 is null |

use std::sync::Arc;

use byteorder::{BigEndian, ByteOrder};
use bytes::{BufMut, Bytes, BytesMut};

use super::{DecodeError, DecodeErrorKind};

/// Reads Jute primitives off the front of a frame.
///
/// Every method takes the name of the field it reads, such as `"CreateReply.path"`, for the error.
/// After an error the reader stands somewhere inside the field: read no further.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader at the first byte of `frame`, the payload without its length prefix.
    pub fn new(frame: &'a Bytes) -> Self {
        Self { frame, rest: frame }
    }

    /// How many bytes of the frame have been read.
    pub fn offset(&self) -> usize {
        self.frame.len().saturating_sub(self.rest.len())
    }

    /// How many bytes of the frame are left.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Reads a `boolean`: 0 is false, anything else is true.
    pub fn bool(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        Ok(self.take(field, 1)?.iter().any(|byte| *byte != 0))
    }

    /// Reads an `int`.
    pub fn int(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        Ok(BigEndian::read_i32(self.take(field, size_of::<i32>())?))
    }

    /// Reads a `long`.
    pub fn long(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        Ok(BigEndian::read_i64(self.take(field, size_of::<i64>())?))
    }

    /// Reads a `buffer` without copying it; `None` is null, a length of -1.
    ///
    /// The returned slice keeps the whole frame in memory.
    pub fn buffer(&mut self, field: &'static str) -> Result<Option<Bytes>, DecodeError> {
        let bytes = self.slice(field)?;
        Ok(bytes.map(|bytes| self.frame.slice_ref(bytes)))
    }

    /// Reads a `ustring`; null is an error.
    ///
    /// Java servers write CESU-8: a character beyond U+FFFF arrives as the two halves of its UTF-16
    /// form, three bytes each. Such pairs are joined; everything else must be UTF-8.
    pub fn string(&mut self, field: &'static str) -> Result<Arc<str>, DecodeError> {
        let start = self.offset();
        let bytes = self.required(field)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) => cesu8(bytes)
                .map(Arc::from)
                .ok_or_else(|| DecodeError::new(field, start, DecodeErrorKind::NotUtf8)),
        }
    }

    /// Reads the count of a vector whose elements take at least `min_element_size` bytes each.
    ///
    /// A count that cannot fit into what is left of the frame is an error, so that space for the
    /// elements may be reserved on the strength of it. So is a null vector.
    pub fn count(
        &mut self,
        field: &'static str,
        min_element_size: usize,
    ) -> Result<usize, DecodeError> {
        let start = self.offset();
        let fail = |kind| Err(DecodeError::new(field, start, kind));
        let Some(count) = self.length(field)? else {
            return fail(DecodeErrorKind::Null);
        };
        let left = self.remaining();
        match count.checked_mul(min_element_size) {
            Some(size) if size <= left => Ok(count),
            _ => fail(DecodeErrorKind::CountBeyondFrame { count, left }),
        }
    }

    /// Checks that nothing is left: the strict reading, in which a record ends where its frame
    /// does.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::new(
                "frame",
                self.offset(),
                DecodeErrorKind::TrailingBytes(left),
            )),
        }
    }

    /// The bytes of a `buffer` or `ustring` that must not be null.
    pub(super) fn required(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let start = self.offset();
        self.slice(field)?
            .ok_or_else(|| DecodeError::new(field, start, DecodeErrorKind::Null))
    }

    /// The part of the frame between two offsets, clamped to the frame.
    pub(super) fn between(&self, start: usize, end: usize) -> Bytes {
        self.frame
            .get(start..end)
            .map(|bytes| self.frame.slice_ref(bytes))
            .unwrap_or_default()
    }

    fn slice(&mut self, field: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        let start = self.offset();
        let Some(length) = self.length(field)? else {
            return Ok(None);
        };
        let left = self.remaining();
        if length > left {
            let kind = DecodeErrorKind::LengthBeyondFrame { length, left };
            return Err(DecodeError::new(field, start, kind));
        }
        self.take(field, length).map(Some)
    }

    /// A length or count: `None` for -1.
    fn length(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        let start = self.offset();
        match self.int(field)? {
            -1 => Ok(None),
            length => usize::try_from(length).map(Some).map_err(|_| {
                DecodeError::new(field, start, DecodeErrorKind::NegativeLength(length))
            }),
        }
    }

    fn take(&mut self, field: &'static str, needed: usize) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(needed) else {
            let left = self.remaining();
            let kind = DecodeErrorKind::Truncated { needed, left };
            return Err(DecodeError::new(field, self.offset(), kind));
        };
        self.rest = rest;
        Ok(taken)
    }
}

/// UTF-8 in which surrogate pairs may stand for one character; `None` if it is not even that.
fn cesu8(mut bytes: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(bytes.len());
    loop {
        let error = match std::str::from_utf8(bytes) {
            Ok(valid) => {
                text.push_str(valid);
                return Some(text);
            }
            Err(error) => error,
        };
        let (valid, rest) = bytes.split_at_checked(error.valid_up_to())?;
        text.push_str(std::str::from_utf8(valid).ok()?);
        let (pair, rest) = rest.split_first_chunk()?;
        text.push(surrogate_pair(*pair)?);
        bytes = rest;
    }
}

/// The character whose UTF-16 halves these six bytes are.
fn surrogate_pair(bytes: [u8; 6]) -> Option<char> {
    let [0xED, a @ 0xA0..=0xAF, b, 0xED, c @ 0xB0..=0xBF, d] = bytes else {
        return None;
    };
    let half = |high: u8, low: u8| {
        let bits = (u16::from(high & 0x3F) << 6) | u16::from(low & 0x3F);
        (low & 0xC0 == 0x80).then_some(0xD000 | bits)
    };
    let units = [half(a, b)?, half(c, d)?];
    char::decode_utf16(units).next()?.ok()
}

/// Appends Jute primitives to a buffer.
///
/// Jute cannot represent a length above `i32::MAX`. Such a length is written as `i32::MAX`,
/// followed by all the bytes; the frame around it is then too long as well, and
/// [`end_frame`](super::end_frame) takes it back and reports
/// [`FrameError::TooLong`](super::FrameError::TooLong). So no frame ever leaves with a length that
/// lies.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut BytesMut,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut BytesMut) -> Self {
        Self { out }
    }

    /// Writes a `boolean`.
    pub fn bool(&mut self, value: bool) {
        self.out.put_u8(u8::from(value));
    }

    /// Writes an `int`.
    pub fn int(&mut self, value: i32) {
        let mut bytes = [0; size_of::<i32>()];
        BigEndian::write_i32(&mut bytes, value);
        self.out.extend_from_slice(&bytes);
    }

    /// Writes a `long`.
    pub fn long(&mut self, value: i64) {
        let mut bytes = [0; size_of::<i64>()];
        BigEndian::write_i64(&mut bytes, value);
        self.out.extend_from_slice(&bytes);
    }

    /// Writes a `buffer`; `None` is null.
    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.count(bytes.len());
                self.raw(bytes);
            }
        }
    }

    /// Writes a `ustring`, as UTF-8.
    pub fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    /// Writes the count of a vector, whose elements must follow.
    pub fn count(&mut self, count: usize) {
        self.int(i32::try_from(count).unwrap_or(i32::MAX));
    }

    /// Appends bytes that are encoded already.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(bytes: &[u8]) -> Result<Arc<str>, DecodeErrorKind> {
        let mut out = BytesMut::new();
        Writer::new(&mut out).buffer(Some(bytes));
        let frame = out.freeze();
        Reader::new(&frame)
            .string("Test.string")
            .map_err(|error| error.kind)
    }

    #[test]
    fn a_string_may_be_cesu8_as_java_servers_write_it() {
        let plain = "é/锁".as_bytes();
        let emoji = b"\xed\xa0\xbd\xed\xb8\x80";
        let bytes = [plain, emoji, b"-", emoji, emoji].concat();
        assert_eq!(string(&bytes).as_deref(), Ok("é/锁😀-😀😀"));
        assert_eq!(
            string(b"\xed\xaf\xbf\xed\xbf\xbf").as_deref(),
            Ok("\u{10FFFF}")
        );
    }

    #[test]
    fn a_string_that_is_neither_utf8_nor_cesu8_is_an_error() {
        let malformed: [&[u8]; 9] = [
            b"\xff",
            b"/a\xc3",
            b"\xc0\x80",
            b"\xed\xa0\xbd",
            b"\xed\xb8\x80\xed\xa0\xbd",
            b"\xed\xa0\xbd\xed\xb8",
            b"\xed\xa0\xbd\xed\xa0\xbd",
            b"\xed\xa0\x3d\xed\xb8\x80",
            b"\xed\xa0\xbd\xed\xb8\xc0",
        ];
        for bytes in malformed {
            assert_eq!(string(bytes), Err(DecodeErrorKind::NotUtf8), "{bytes:x?}");
        }
    }

    #[test]
    fn null_is_a_buffer_but_not_a_string() {
        let frame = Bytes::from_static(&[0xff; 4]);
        assert_eq!(Reader::new(&frame).buffer("Test.buffer"), Ok(None));
        let error = Reader::new(&frame).string("Test.string").unwrap_err();
        assert_eq!(error.kind, DecodeErrorKind::Null);
    }

    #[test]
    fn a_length_that_is_negative_or_beyond_the_frame_is_an_error() {
        let kind = |length: i32| {
            let frame = Bytes::from([&length.to_be_bytes()[..], b"abc"].concat());
            let string = Reader::new(&frame).string("Test.field").unwrap_err().kind;
            let buffer = Reader::new(&frame).buffer("Test.field").unwrap_err().kind;
            assert_eq!(string, buffer);
            string
        };
        let beyond = |length| DecodeErrorKind::LengthBeyondFrame { length, left: 3 };
        assert_eq!(kind(-2), DecodeErrorKind::NegativeLength(-2));
        assert_eq!(kind(i32::MIN), DecodeErrorKind::NegativeLength(i32::MIN));
        assert_eq!(kind(4), beyond(4));
        assert_eq!(kind(i32::MAX), beyond(0x7fff_ffff));
    }

    #[test]
    fn a_count_is_checked_against_the_smallest_size_of_its_elements() {
        let count = |count: i32, size| {
            let frame = Bytes::from([&count.to_be_bytes()[..], &[0; 24]].concat());
            Reader::new(&frame)
                .count("Test.vector", size)
                .map_err(|error| error.kind)
        };
        let beyond = |count| Err(DecodeErrorKind::CountBeyondFrame { count, left: 24 });
        assert_eq!(count(2, 12), Ok(2));
        assert_eq!(count(3, 12), beyond(3));
        assert_eq!(count(i32::MAX, 4), beyond(0x7fff_ffff));
        assert_eq!(count(i32::MAX, usize::MAX), beyond(0x7fff_ffff));
        assert_eq!(count(-1, 4), Err(DecodeErrorKind::Null));
        assert_eq!(count(-2, 4), Err(DecodeErrorKind::NegativeLength(-2)));
    }

    #[test]
    fn any_byte_but_zero_is_true() {
        let frame = Bytes::from_static(&[0, 1, 2, 0xff]);
        let mut reader = Reader::new(&frame);
        let read: Vec<_> = (0..4).map(|_| reader.bool("Test.bool").unwrap()).collect();
        assert_eq!(read, [false, true, true, true]);
        assert_eq!((reader.offset(), reader.remaining()), (4, 0));
    }

    #[test]
    fn a_buffer_shares_the_frame() {
        let frame = Bytes::from(b"\0\0\0\x02ab".to_vec());
        let buffer = Reader::new(&frame).buffer("Test.buffer").unwrap().unwrap();
        assert_eq!(buffer.as_ptr(), frame[4..].as_ptr());
    }
}
