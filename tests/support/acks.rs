//! What a follower sends to its leader, cut into packets, so that its acks can
//! be held back while all else passes: as when its disk is slow, since it acks
//! what is on its disk, and answers pings and asks after sessions meanwhile.

/// The type of an ack among packets.
const ACK: i32 = 3;
/// A packet's type and zxid.
const HEAD: usize = 4 + 8;

/// Tells acks from other packets in one stream of them.
#[derive(Default)]
pub(super) struct Acks {
    /// The beginning of a packet.
    partial: Vec<u8>,
    held: Vec<u8>,
}

impl Acks {
    /// The packets that `bytes` completes, without the acks if they are to be
    /// held, with those that were if not. (In a connection's first packets no
    /// ack must be held.)
    pub(super) fn pass(&mut self, bytes: &[u8], hold: bool) -> Vec<u8> {
        self.partial.extend(bytes);
        let mut passing = Vec::new();
        if !hold {
            passing.append(&mut self.held);
        }
        while let Some(length) = packet_length(&self.partial) {
            let packet: Vec<u8> = self.partial.drain(..length).collect();
            if hold && packet.starts_with(&ACK.to_be_bytes()) {
                self.held.extend(packet);
            } else {
                passing.extend(packet);
            }
        }
        passing
    }
}

/// How long the packet is that these bytes begin with, if it is all there: type,
/// zxid, data, and the identities of whoever asked, each a scheme and an id.
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let mut end = skip_buffer(bytes, HEAD)?;
    let identities = int_at(bytes, end)?;
    end += 4;
    for _ in 0..2 * identities.max(0) {
        end = skip_buffer(bytes, end)?;
    }
    (end <= bytes.len()).then_some(end)
}

/// Where the buffer at `start` ends. One that is null has the length -1.
fn skip_buffer(bytes: &[u8], start: usize) -> Option<usize> {
    Some(start + 4 + usize::try_from(int_at(bytes, start)?).unwrap_or(0))
}

fn int_at(bytes: &[u8], start: usize) -> Option<i32> {
    let int = bytes.get(start..)?.first_chunk::<4>()?;
    Some(i32::from_be_bytes(*int))
}
