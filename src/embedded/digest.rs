//! The identity behind the scheme `digest`: the base64 of a SHA-1, as ZooKeeper
//! has it. It is here to compare identities, and protects nothing.

use std::sync::Arc;

/// `user:password` as it stands in an ACL: `user:` and a hash of the whole.
pub(super) fn digest_id(credentials: &[u8]) -> Arc<str> {
    let hash = base64(&sha1(credentials));
    let text = String::from_utf8_lossy(credentials);
    let user = text.split(':').next().unwrap_or_default();
    format!("{user}:{hash}").into()
}

/// FIPS 180-4.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((message.len() as u64).wrapping_mul(8).to_be_bytes());

    let mut state = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded.chunks_exact(64) {
        state = compress(state, block);
    }
    let mut hash = [0; 20];
    for (bytes, word) in hash.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    hash
}

fn compress(state: [u32; 5], block: &[u8]) -> [u32; 5] {
    let mut words: Vec<u32> = block
        .chunks_exact(4)
        .map(|bytes| {
            bytes
                .iter()
                .fold(0, |word, byte| word << 8 | u32::from(*byte))
        })
        .collect();
    for at in 16..80 {
        let back = |count: usize| words.get(at - count).copied().unwrap_or_default();
        words.push((back(3) ^ back(8) ^ back(14) ^ back(16)).rotate_left(1));
    }
    let [mut a, mut b, mut c, mut d, mut e] = state;
    for (round, word) in words.into_iter().enumerate() {
        let (mix, constant): (u32, u32) = match round {
            0..20 => (b & c | !b & d, 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6),
        };
        let next = [a.rotate_left(5), mix, e, constant, word];
        let next = next.into_iter().fold(0, u32::wrapping_add);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    let mut sum = state;
    for (word, added) in sum.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(added);
    }
    sum
}

fn base64(bytes: &[u8]) -> String {
    let digit = |value: u32| match (value & 0x3f) as u8 {
        value @ 0..26 => char::from(b'A' + value),
        value @ 26..52 => char::from(b'a' + value - 26),
        value @ 52..62 => char::from(b'0' + value - 52),
        62 => '+',
        _ => '/',
    };
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or_default());
        let value = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            text.push(match place <= chunk.len() {
                true => digit(value >> (18 - 6 * place)),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_those_that_servers_print() {
        assert_eq!(&*digest_id(b"u:p"), "u:Jq7wMyA/w2Vd5WIDAKdu4OIIFEQ=");
        assert_eq!(
            &*digest_id(b"alice:s3cret"),
            "alice:uLxpHc/uhT86OXPoSjJTp1M8CJY="
        );
    }

    #[test]
    fn the_user_ends_at_the_first_colon_and_needs_none() {
        assert!(digest_id(b"a:b:c").starts_with("a:"));
        assert!(digest_id(b"nobody").starts_with("nobody:"));
        assert!(digest_id(b"").starts_with(":"));
        assert!(digest_id(b"\xff:").starts_with("\u{fffd}:"));
    }

    #[test]
    fn sha1_is_right_for_every_length_of_padding() {
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        assert_eq!(hex(&sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
        assert_eq!(
            hex(&sha1(b"abc")),
            "a9993e364706816aba3e25717850c26c9cd0d89d"
        );
        let all: String = (0..130)
            .map(|length| hex(&sha1(&vec![b'a'; length])))
            .collect();
        assert_eq!(
            hex(&sha1(all.as_bytes())),
            "020e571fd23e2a086018fa9bfa2fb3269f35017a"
        );
    }

    #[test]
    fn base64_pads() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
