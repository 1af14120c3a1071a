//! The length prefix around every message.

use bytes::{Bytes, BytesMut};
use zklock::proto::{DEFAULT_MAX_FRAME, FrameError, FrameReader};

use crate::allocation::within;

/// Ahead of what has arrived, the reader may reserve so much.
const AHEAD: usize = 64 * 1024;

/// The first byte says how many of the next are the sizes of the pieces (less
/// one, over and over) in which the rest arrives.
pub fn check(data: &[u8]) {
    let Some((count, rest)) = data.split_first() else {
        return;
    };
    let (sizes, stream) = rest.split_at(usize::from(count % 8).min(rest.len()));
    for max in [DEFAULT_MAX_FRAME, 256, 0] {
        let whole = read_in_pieces(FrameReader::new(max), stream, &[]);
        let pieces = read_in_pieces(FrameReader::new(max), stream, sizes);
        assert_eq!(whole, pieces);
        check_frames(&whole, stream, max);
    }
}

/// What a reader made of a stream.
#[derive(Debug, PartialEq)]
struct Received {
    frames: Vec<Bytes>,
    error: Option<FrameError>,
    left: BytesMut,
}

fn read_in_pieces(reader: FrameReader, mut stream: &[u8], sizes: &[u8]) -> Received {
    let mut received = Received {
        frames: Vec::new(),
        error: None,
        left: BytesMut::new(),
    };
    let mut most = 0;
    let mut sizes = sizes.iter().cycle().map(|size| usize::from(*size) + 1);
    while !stream.is_empty() {
        let size = sizes.next().unwrap_or(usize::MAX).min(stream.len());
        let (piece, rest) = stream.split_at(size);
        stream = rest;
        received.left.extend_from_slice(piece);
        most = most.max(received.left.len());
        read_all(reader, &mut received);
        let reserved = received.left.capacity();
        // A buffer may double where it must grow.
        assert!(reserved <= 2 * (most + AHEAD), "{reserved} for {most}");
    }
    received
}

fn read_all(reader: FrameReader, received: &mut Received) {
    loop {
        let arrived = received.left.len();
        let answer = within(4, arrived + AHEAD, || reader.read(&mut received.left));
        match answer {
            Ok(Some(frame)) => received.frames.push(frame),
            Ok(None) => return,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                let before = received.error.replace(error.clone());
                assert!(before.is_none_or(|before| before == error));
                return;
            }
        }
    }
}

/// The frames and their prefixes, and what is left, are the stream again.
fn check_frames(received: &Received, stream: &[u8], max: usize) {
    let mut again = Vec::new();
    for frame in &received.frames {
        assert!(frame.len() <= max);
        again.extend((frame.len() as u32).to_be_bytes());
        again.extend_from_slice(frame);
    }
    again.extend_from_slice(&received.left);
    assert_eq!(again, stream);
}
