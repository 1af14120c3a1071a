//! Frames out of a stream of bytes.

/// A length above this is none: the bytes are no frames, such as a 4-letter
/// word. The proxy forwards them all the same.
const LARGEST_FRAME: usize = 64 * 1024 * 1024;

/// Cuts a stream of bytes into frames by the length before each.
#[derive(Default)]
pub(super) struct FrameSplitter {
    pending: Vec<u8>,
    /// Set once the stream is known to be no sequence of frames.
    gave_up: bool,
}

impl FrameSplitter {
    /// The payloads of the frames that `bytes` completes.
    pub(super) fn split(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        self.pending.extend(bytes);
        while !self.gave_up {
            let Some((length, rest)) = self.pending.split_first_chunk::<4>() else {
                break;
            };
            let length = u32::from_be_bytes(*length) as usize;
            self.gave_up = length > LARGEST_FRAME;
            let Some(payload) = rest.get(..length) else {
                break;
            };
            payloads.push(payload.to_vec());
            self.pending.drain(..4 + length);
        }
        if self.gave_up {
            self.pending.clear();
        }
        payloads
    }
}
