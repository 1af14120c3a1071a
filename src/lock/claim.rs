//! Names of claims: the znodes that make up a queue.
//!
//! Ours are `_c_<32 hex>-lock-<10 digits>`, or as kazoo has them. The 32 digits
//! are the session id and a counter, unique without a random number, so that
//! every listing shows which claims are ours. Other clients' claims carry other
//! prefixes; what counts is the number that the server put behind them.

/// What the server's `%010d` printed behind the name that a client asked for:
/// the number of children that had been created before, a signed 32-bit count.
pub type SequenceNumber = i32;

/// The names that this client gives to its claims, for a given session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClaimId {
    /// The session that creates the claim.
    pub session_id: i64,
    /// Which of the session's creates it is.
    pub counter: u64,
}

/// How claims are named. Clients order each other's claims by the number at the
/// end, but some look only at those whose names are like their own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Dialect {
    /// `_c_<32 hex>-lock-<10 digits>`, as kafka-kit, go-zookeeper, Curator and
    /// `zookeeper-client` name theirs. kazoo respects these if it is told to,
    /// by `extra_lock_patterns=("lock-",)`.
    #[default]
    Protected,
    /// `<32 hex>__lock__<10 digits>`, as kazoo names its own: for a queue with
    /// kazoo clients that cannot be told. Clients other than kazoo and zklock
    /// may stumble over such names.
    Kazoo,
}

impl Dialect {
    const ALL: [Self; 2] = [Self::Protected, Self::Kazoo];

    /// What stands before and behind the 32 digits.
    const fn frame(self) -> (&'static str, &'static str) {
        match self {
            Self::Protected => ("_c_", "-lock-"),
            Self::Kazoo => ("", "__lock__"),
        }
    }

    /// How the claim of this name is named: by zklock or by any of the clients
    /// that are listed with the dialect. `None` if that is not known, or the
    /// name is no contender's.
    #[must_use]
    pub fn of(name: &[u8]) -> Option<Self> {
        sequence_number(name)?;
        let end = name
            .iter()
            .rposition(|byte| !byte.is_ascii_digit() && *byte != b'-')?;
        // A number's sign, and a separator's last byte, are the same.
        let stem = name.get(..=end)?;
        Self::ALL.into_iter().find(|dialect| {
            let (before, behind) = dialect.frame();
            let behind = behind.trim_end_matches('-');
            stem.starts_with(before.as_bytes()) && stem.ends_with(behind.as_bytes())
        })
    }
}

/// A byte times this is a word with that byte in all eight places: digits are read
/// and written eight at a time, since a long listing has thousands of them.
const EACH: u64 = 0x0101_0101_0101_0101;

/// A number of 64 bits in hexadecimal.
pub(super) type HexDigits = [u8; 16];

impl ClaimId {
    /// What the claim's name begins with; the server appends the number.
    #[must_use]
    pub fn prefix(self, dialect: Dialect) -> String {
        let mut prefix = String::new();
        self.push_prefix(dialect, &mut prefix);
        prefix
    }

    pub(super) fn push_prefix(self, dialect: Dialect, out: &mut String) {
        let Self {
            session_id,
            counter,
        } = self;
        let (before, behind) = dialect.frame();
        out.push_str(before);
        for number in [session_id as u64, counter] {
            let digits = hex_digits(number);
            out.push_str(std::str::from_utf8(&digits).unwrap_or_default());
        }
        out.push_str(behind);
    }

    /// The id in a child's name, if this client's code wrote that name.
    #[must_use]
    pub fn parse(name: &[u8]) -> Option<Self> {
        Dialect::ALL
            .into_iter()
            .find_map(|dialect| Self::parse_as(dialect, name))
    }

    /// If the name is a claim's of this session, its counter; the session's id as
    /// [`hex_digits`]. It is not checked: another name that begins so gives some
    /// number too.
    pub(super) fn peek_counter(name: &[u8], session_id: &HexDigits) -> Option<u64> {
        Dialect::ALL.into_iter().find_map(|dialect| {
            let (before, _) = dialect.frame();
            let rest = name.strip_prefix(before.as_bytes())?;
            let (counter, _) = rest.strip_prefix(session_id)?.split_first_chunk()?;
            Some(likely_hex(counter))
        })
    }

    fn parse_as(dialect: Dialect, name: &[u8]) -> Option<Self> {
        let (before, behind) = dialect.frame();
        let rest = name.strip_prefix(before.as_bytes())?;
        let (session_id, rest) = rest.split_first_chunk()?;
        let (counter, rest) = rest.split_first_chunk()?;
        let suffix = rest.strip_prefix(behind.as_bytes())?;
        // With the separator: the sign is one only behind it.
        let number = sequence_number(rest)?;
        // All of it is the number: nothing but digits, and its sign.
        let others = suffix.iter().filter(|byte| !byte.is_ascii_digit()).count();
        if others != usize::from(number < 0) {
            return None;
        }
        Some(Self {
            session_id: hex(session_id)? as i64,
            counter: hex(counter)?,
        })
    }
}

/// The number at the end of a child's name, or `None` if the child is no
/// contender: a name that the server did not number.
///
/// That is exactly ten digits, or `-` and nine or ten digits, behind a byte
/// that is no digit. A `-` is a sign only if a `-` or `_` stands before it, or
/// if the digits are too large to go without; otherwise it belongs to the name
/// that the client chose.
///
/// ```
/// use zklock::lock::sequence_number;
///
/// assert_eq!(sequence_number(b"_c_83c1bcf3-lock-0000000027"), Some(27));
/// assert_eq!(sequence_number(b"x-lock--2147483648"), Some(i32::MIN));
/// assert_eq!(sequence_number(b"shard1"), None);
/// ```
#[must_use]
pub fn sequence_number(name: &[u8]) -> Option<SequenceNumber> {
    let ten = trailing_digits::<10>(name).map(|found| (10, found));
    let nine = || trailing_digits::<9>(name).map(|found| (9, found));
    let (digits, (prefix, magnitude)) = ten.or_else(nine)?;
    let signed = match prefix {
        [.., b'-' | b'_', b'-'] | [b'-'] => true,
        [.., b'-'] => magnitude > i64::from(i32::MAX),
        _ => false,
    };
    // `%010d` pads with zeros behind the sign: only a number of ten digits has
    // ten behind it.
    let number = match (digits, signed) {
        (9, true) if magnitude > 0 => -magnitude,
        (10, true) if magnitude >= 1_000_000_000 => -magnitude,
        (10, _) => magnitude,
        _ => return None,
    };
    i32::try_from(number).ok()
}

/// The number that so many digits at the end are, and what stands before them,
/// if that is no digit.
fn trailing_digits<const COUNT: usize>(name: &[u8]) -> Option<(&[u8], i64)> {
    let (prefix, digits) = name.split_last_chunk::<COUNT>()?;
    if prefix.last().is_some_and(u8::is_ascii_digit) {
        return None;
    }
    let (high, low) = digits.split_last_chunk()?;
    let value = high.iter().try_fold(0, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        Some(value * 10 + digit)
    });
    Some((prefix, value? * 100_000_000 + eight_digits(*low)?))
}

/// The number that these digits are, each a byte of the word.
fn eight_digits(digits: [u8; 8]) -> Option<i64> {
    let word = u64::from_be_bytes(digits);
    // From `0` to `9` the upper half is 3, and with 6 more still.
    let upper = |word: u64| word & (0xf0 * EACH);
    if upper(word) != 0x30 * EACH || upper(word.wrapping_add(6 * EACH)) != 0x30 * EACH {
        return None;
    }
    // Two digits become one of base 100, two of those one of base 10,000.
    let pairs = |word: u64, base: u64, width: u32, lanes: u64| {
        (word >> width & lanes) * base + (word & lanes)
    };
    let word = pairs(word & (0x0f * EACH), 10, 8, 0x00ff_00ff_00ff_00ff);
    let word = pairs(word, 100, 16, 0x0000_ffff_0000_ffff);
    i64::try_from(pairs(word, 10_000, 32, 0xffff_ffff)).ok()
}

/// The number in hexadecimal, in lower case.
pub(super) const fn hex_digits(number: u64) -> HexDigits {
    const fn eight(half: u64) -> u64 {
        let word = (half << 16 | half) & 0x0000_ffff_0000_ffff;
        let word = (word << 8 | word) & 0x00ff_00ff_00ff_00ff;
        let word = (word << 4 | word) & (0x0f * EACH);
        // From 10 on, 6 more reach the upper half of a byte.
        let letters = (word + 6 * EACH) >> 4 & EACH;
        word + 0x30 * EACH + (b'a' - b'9' - 1) as u64 * letters
    }
    let (high, low) = (eight(number >> 32), eight(number & 0xffff_ffff));
    ((high as u128) << 64 | low as u128).to_be_bytes()
}

/// The number that [`hex_digits`] gave.
fn hex(digits: &HexDigits) -> Option<u64> {
    let number = likely_hex(digits);
    (hex_digits(number) == *digits).then_some(number)
}

/// As [`hex`], but anything else is some number too: of the names in a long
/// listing hardly one is looked at twice.
const fn likely_hex(digits: &HexDigits) -> u64 {
    const fn eight(word: u64) -> u64 {
        // Of a letter the lower half is 9 less than its value.
        let word = (word & (0x0f * EACH)) + 9 * (word >> 6 & EACH);
        let word = (word >> 4 | word) & 0x00ff_00ff_00ff_00ff;
        let word = (word >> 8 | word) & 0x0000_ffff_0000_ffff;
        (word >> 16 | word) & 0xffff_ffff
    }
    let words = u128::from_be_bytes(*digits);
    eight((words >> 64) as u64) << 32 | eight(words as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn hexadecimal_is_as_stds(
            number in any::<u64>(),
            place in 0_usize..16,
            byte in any::<u8>(),
        ) {
            let text = format!("{number:016x}");
            let mut digits = hex_digits(number);
            prop_assert_eq!(std::str::from_utf8(&digits), Ok(&*text));
            prop_assert_eq!(hex(&digits), Some(number));
            prop_assert_eq!(likely_hex(&digits), number);
            digits[place] = byte;
            let valid = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            let text = String::from_utf8_lossy(&digits);
            let expected = valid.then(|| u64::from_str_radix(&text, 16).unwrap());
            prop_assert_eq!(hex(&digits), expected);
            // Anything has some counter.
            likely_hex(&digits);
        }

        #[test]
        fn eight_digits_are_a_number_and_nothing_else_is(
            number in 0_i64..100_000_000,
            place in 0_usize..8,
            byte in any::<u8>(),
        ) {
            let mut digits = [0; 8];
            digits.copy_from_slice(format!("{number:08}").as_bytes());
            prop_assert_eq!(eight_digits(digits), Some(number));
            digits[place] = byte;
            let text = String::from_utf8_lossy(&digits);
            let expected = byte.is_ascii_digit().then(|| text.parse().unwrap());
            prop_assert_eq!(eight_digits(digits), expected);
        }
    }

    #[test]
    fn our_names_come_back() {
        for session_id in [0, 1, -1, i64::MIN, 0x0100_0012_3072_0005] {
            let id = ClaimId {
                session_id,
                counter: 7,
            };
            for (dialect, length) in [(Dialect::Protected, 41), (Dialect::Kazoo, 40)] {
                let prefix = id.prefix(dialect);
                assert_eq!(prefix.len(), length);
                for number in [27, i32::MAX, -1, i32::MIN] {
                    let name = format!("{prefix}{number:010}");
                    assert_eq!(ClaimId::parse(name.as_bytes()), Some(id), "{name}");
                    assert_eq!(sequence_number(name.as_bytes()), Some(number));
                    assert_eq!(Dialect::of(name.as_bytes()), Some(dialect));
                }
            }
        }
    }

    #[test]
    fn names_of_others_are_not_ours() {
        for name in [
            "_c_",
            "_c_83c1bcf372c265e9ac7ee364e5d3bac5-lock-",
            "_c_83C1BCF372C265E9AC7EE364E5D3BAC5-lock-0000000027",
            "_c_83c1bcf372c265e9ac7ee364e5d3bac-lock-0000000027",
            "_c_83c1bcf372c265e9ac7ee364e5d3bac5-lease-0000000027",
            "_c_83c1bcf3-72c2-65e9-ac7e-e364e5d3bac5-lock-0000000027",
            "83c1bcf372c265e9ac7ee364e5d3bac5__rlock__0000000027",
            "_c_83c1bcf372c265e9ac7ee364e5d3bac5__lock__0000000027",
            "83c1bcf372c265e9ac7ee364e5d3bac5-lock-0000000027",
            "_c_+3c1bcf372c265e9ac7ee364e5d3bac5-lock-0000000027",
            "_c_83c1bcf372c265e9ac7ee364e5d3bac5-lock-x0000000027",
        ] {
            assert_eq!(ClaimId::parse(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn dialects_are_told_by_what_stands_around_the_unique_part() {
        for (name, dialect) in [
            (
                "_c_83c1bcf3-72c2-65e9-ac7e-e364e5d3bac5-lock-0000000028",
                Some(Dialect::Protected),
            ),
            (
                "83c1bcf372c265e9ac7ee364e5d3bac5__lock__-000000029",
                Some(Dialect::Kazoo),
            ),
            ("83c1bcf372c265e9ac7ee364e5d3bac5__rlock__0000000029", None),
            ("lock-0000000027", None),
            ("_c_x-lease-0000000027", None),
            ("0000000027", None),
            ("_c_x-lock-", None),
        ] {
            assert_eq!(Dialect::of(name.as_bytes()), dialect, "{name}");
        }
    }

    #[test]
    fn numbers_of_every_client() {
        for (name, number) in [
            ("_c_83c1bcf372c265e9ac7ee364e5d3bac5-lock-0000000027", 27),
            (
                "_c_83c1bcf3-72c2-65e9-ac7e-e364e5d3bac5-lock-0000000028",
                28,
            ),
            ("83c1bcf372c265e9ac7ee364e5d3bac5__lock__0000000029", 29),
            ("lock-2147483647", i32::MAX),
            ("lock--2147483648", i32::MIN),
            ("__lock__-2147483648", i32::MIN),
            ("lock--999999999", -999_999_999),
            ("lock--000000001", -1),
            ("lock-2147483648", i32::MIN),
            ("lock--0000000027", 27),
            ("0000000005", 5),
            ("-2147483648", i32::MIN),
            ("-000000002", -2),
            ("\u{9501}0000000006", 6),
        ] {
            assert_eq!(sequence_number(name.as_bytes()), Some(number), "{name}");
        }
    }

    #[test]
    fn names_without_a_number_of_the_servers_are_no_contenders() {
        for name in [
            "",
            "-",
            "--",
            "shard1",
            "lock-",
            "lock-123456789",
            "lock-00000000271",
            "lock-9999999999",
            "lock--9999999999",
            "lock--000000000",
            "x-000000001",
            "lock-000000000x",
            "\u{9501}",
            "lock-\u{0661}\u{0661}\u{0661}\u{0661}\u{0661}\u{0661}\u{0661}\u{0661}\u{0661}\u{0661}",
        ] {
            assert_eq!(sequence_number(name.as_bytes()), None, "{name}");
        }
        assert_eq!(sequence_number(b"\xff\xfe0000000001"), Some(1));
    }

    #[test]
    fn what_the_server_prints_is_read_back() {
        for number in [
            0,
            1,
            9,
            -1,
            -9,
            999_999_999,
            -999_999_999,
            i32::MAX,
            i32::MIN,
            1 << 30,
        ] {
            for prefix in ["lock-", "__lock__", "_c_x-lock-"] {
                let name = format!("{prefix}{number:010}");
                assert_eq!(sequence_number(name.as_bytes()), Some(number), "{name}");
            }
        }
    }
}
