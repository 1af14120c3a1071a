//! The length prefix around every message: four bytes, big-endian, then the payload.

use std::fmt;

use byteorder::{BigEndian, ByteOrder};
use bytes::{Buf, Bytes, BytesMut};

/// The longest payload accepted unless told otherwise: 16 MiB.
///
/// Servers refuse requests above 1 MiB by default, but put no limit on replies: a listing of 26,000
/// children takes 900 KB. A client whose limit is too low for a listing can never read it.
pub const DEFAULT_MAX_FRAME: usize = 16 * 1024 * 1024;

const PREFIX_SIZE: usize = size_of::<i32>();

/// At most so much space is reserved ahead of the bytes that have arrived.
const GROWTH: usize = 64 * 1024;

/// Splits what a peer sent into frames.
#[derive(Clone, Copy, Debug)]
pub struct FrameReader {
    max: usize,
}

impl FrameReader {
    /// A reader that accepts payloads of up to `max` bytes.
    pub fn new(max: usize) -> Self {
        Self { max }
    }

    /// Splits the payload of the next frame off the front of `buf`; `None` until all of it has
    /// arrived.
    ///
    /// Call it again after each answer: a segment may hold several frames. The prefix is checked as
    /// soon as its four bytes are there, and space is reserved step by step as bytes arrive, so
    /// that a peer cannot make us allocate what it only announces.
    ///
    /// # Errors
    /// [`FrameError`], if the prefix is negative or above the maximum. There is no way to go on
    /// from there; `buf` is left as it is and the answer stays the same.
    pub fn read(&self, buf: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = buf.first_chunk::<PREFIX_SIZE>() else {
            buf.reserve(PREFIX_SIZE);
            return Ok(None);
        };
        let length = self.check(BigEndian::read_i32(prefix))?;
        let missing = length.saturating_add(PREFIX_SIZE).saturating_sub(buf.len());
        if missing > 0 {
            buf.reserve(missing.min(GROWTH));
            return Ok(None);
        }
        buf.advance(PREFIX_SIZE);
        Ok(Some(buf.split_to(length).freeze()))
    }

    fn check(&self, prefix: i32) -> Result<usize, FrameError> {
        match usize::try_from(prefix) {
            Err(_) => Err(FrameError::NegativeLength(prefix)),
            Ok(length) if length > self.max => Err(FrameError::TooLong {
                length,
                max: self.max,
            }),
            Ok(length) => Ok(length),
        }
    }
}

impl Default for FrameReader {
    /// Accepts payloads of up to [`DEFAULT_MAX_FRAME`] bytes.
    fn default() -> Self {
        Self::new(DEFAULT_MAX_FRAME)
    }
}

/// Writes one frame in place: `write` appends the payload, the prefix is filled in afterwards.
///
/// # Errors
/// As [`end_frame`].
pub fn write_frame(
    out: &mut BytesMut,
    write: impl FnOnce(&mut BytesMut),
) -> Result<(), FrameError> {
    let start = begin_frame(out);
    write(out);
    end_frame(out, start)
}

/// Opens a frame at the end of `out`: append the payload, then call [`end_frame`] with what this
/// returns.
pub fn begin_frame(out: &mut BytesMut) -> FrameStart {
    let start = FrameStart(out.len());
    out.extend_from_slice(&[0; PREFIX_SIZE]);
    start
}

/// Closes the frame that [`begin_frame`] opened in the same buffer.
///
/// # Errors
/// [`FrameError::TooLong`], if the payload is longer than a length prefix can say (`i32::MAX`);
/// `out` is then cut back to where the frame began. If `out` has become shorter than it was,
/// nothing is written.
pub fn end_frame(out: &mut BytesMut, start: FrameStart) -> Result<(), FrameError> {
    let FrameStart(start) = start;
    let Some((prefix, payload)) = out
        .get_mut(start..)
        .and_then(|frame| frame.split_first_chunk_mut::<PREFIX_SIZE>())
    else {
        return Ok(());
    };
    let length = payload.len();
    match i32::try_from(length) {
        Ok(length) => {
            BigEndian::write_i32(prefix, length);
            Ok(())
        }
        Err(_) => {
            out.truncate(start);
            Err(FrameError::TooLong {
                length,
                max: usize::try_from(i32::MAX).unwrap_or(usize::MAX),
            })
        }
    }
}

/// Where a frame begins in the buffer it is written to; see [`begin_frame`].
#[derive(Debug)]
#[must_use = "the frame's length is missing until `end_frame` is called with this"]
pub struct FrameStart(usize);

/// Why a length prefix cannot be one.
///
/// If its four bytes look like another protocol, the message says so: a wrong port is the most
/// frequent cause.
///
/// ```
/// # use zklock::proto::FrameReader;
/// let mut answer = bytes::BytesMut::from("HTTP/1.1 400 Bad Request\r\n");
/// let error = FrameReader::default().read(&mut answer).unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the peer does not speak ZooKeeper's protocol; it looks like an HTTP server"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// The prefix is below zero.
    NegativeLength(i32),
    /// The frame is longer than it may be.
    TooLong {
        /// The length of its payload, in bytes.
        length: usize,
        /// The longest payload accepted, in bytes.
        max: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, Stranger::guess(self)) {
            (_, Some(stranger)) => write!(
                f,
                "the peer does not speak ZooKeeper's protocol; it looks like {stranger}"
            ),
            (Self::NegativeLength(length), None) => {
                write!(f, "a frame with the negative length {length}")
            }
            (Self::TooLong { length, max }, None) => {
                write!(
                    f,
                    "a frame of {length} bytes, when {max} are the most allowed"
                )
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// What speaks another protocol at the other end.
enum Stranger {
    Http,
    Tls,
    Text([u8; PREFIX_SIZE]),
}

impl Stranger {
    /// Judges by the four bytes that were taken for a length.
    fn guess(error: &FrameError) -> Option<Self> {
        let FrameError::TooLong { length, .. } = error else {
            return None;
        };
        let prefix = u32::try_from(*length).ok()?.to_be_bytes();
        match prefix {
            [b'H', b'T', b'T', b'P'] => Some(Self::Http),
            // A record of type alert or handshake, of any TLS version.
            [0x15 | 0x16, 0x03, _, _] => Some(Self::Tls),
            _ if prefix.iter().all(is_text) => Some(Self::Text(prefix)),
            _ => None,
        }
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http => f.write_str("an HTTP server"),
            Self::Tls => f.write_str("a TLS endpoint"),
            Self::Text(start) => {
                write!(
                    f,
                    "plain text that begins with \"{}\"",
                    start.escape_ascii()
                )
            }
        }
    }
}

fn is_text(byte: &u8) -> bool {
    byte.is_ascii_graphic() || byte.is_ascii_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Bytes>, FrameError> {
        FrameReader::default().read(&mut BytesMut::from(bytes))
    }

    #[test]
    fn a_prefix_that_is_negative_or_above_the_maximum_is_an_error_at_once() {
        for length in [-1, -5, i32::MIN] {
            let error = FrameError::NegativeLength(length);
            assert_eq!(read(&length.to_be_bytes()), Err(error));
        }
        let error = FrameError::TooLong {
            length: DEFAULT_MAX_FRAME + 1,
            max: DEFAULT_MAX_FRAME,
        };
        assert_eq!(read(&[0x01, 0x00, 0x00, 0x01]), Err(error));
        assert_eq!(read(&[0x01, 0x00, 0x00, 0x00]), Ok(None));
    }

    #[test]
    fn a_frame_may_be_empty_or_short() {
        assert_eq!(read(&[0; 4]), Ok(Some(Bytes::new())));
        assert_eq!(
            read(b"\0\0\0\x03abcd"),
            Ok(Some(Bytes::from_static(b"abc")))
        );
    }

    #[test]
    fn an_error_stays_an_error() {
        let mut buf = BytesMut::from(&b"\xff\xff\xff\xff"[..]);
        let reader = FrameReader::default();
        let first = reader.read(&mut buf).unwrap_err();
        buf.extend_from_slice(&[0; 100]);
        assert_eq!(reader.read(&mut buf), Err(first));
    }

    #[test]
    fn what_is_only_announced_is_not_allocated() {
        let mut buf = BytesMut::new();
        buf.extend_from_slice(&i32::try_from(DEFAULT_MAX_FRAME).unwrap().to_be_bytes());
        for _ in 0..100 {
            assert_eq!(FrameReader::default().read(&mut buf), Ok(None));
        }
        assert!(buf.capacity() <= 2 * GROWTH, "{}", buf.capacity());
    }

    #[test]
    fn an_error_says_what_the_peer_seems_to_be() {
        let guess = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
        let ends_with = |bytes: &[u8], what: &str| {
            let message = guess(bytes);
            assert!(message.ends_with(what), "{message}");
        };
        ends_with(b"HTTP/1.1 400", "it looks like an HTTP server");
        ends_with(
            b"\x15\x03\x03\x00\x02\x02\x28",
            "it looks like a TLS endpoint",
        );
        ends_with(b"\x16\x03\x01\x00\xa5", "it looks like a TLS endpoint");
        ends_with(b"This ZooKeeper", "plain text that begins with \"This\"");
        ends_with(b"220 ftp", "plain text that begins with \"220 \"");
        assert_eq!(guess(&[0xff; 4]), "a frame with the negative length -1");
        assert_eq!(
            guess(&[0x02, 0, 0, 0]),
            "a frame of 33554432 bytes, when 16777216 are the most allowed"
        );
    }

    #[test]
    fn a_frame_is_written_behind_what_is_there() {
        let mut out = BytesMut::from("before");
        write_frame(&mut out, |out| out.extend_from_slice(b"abc")).unwrap();
        assert_eq!(&out[..], b"before\0\0\0\x03abc");
    }

    #[test]
    fn closing_a_frame_that_was_cut_off_changes_nothing() {
        let mut out = BytesMut::from("before");
        let start = begin_frame(&mut out);
        out.truncate(2);
        assert_eq!(end_frame(&mut out, start), Ok(()));
        assert_eq!(&out[..], b"be");
    }
}
