//! What a claim says of whoever made it: a JSON object with the keys that
//! kafka-kit's lock writes and reads, and a few of our own.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::json::{self, Value};

/// A kafka-kit lock that uses a TTL counts this one from the moment of
/// enqueueing, deletes claims past it, waiting ones too, and those without it.
const NEVER: &str = "9999-12-31T23:59:59Z";

/// Who asks for a lock, and when.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Metadata {
    /// The time of the request, since 1970-01-01T00:00:00Z.
    pub requested: Duration,
    /// The owner that the request names, if any.
    pub owner: Option<Arc<str>>,
    /// The name of the machine, if it is known.
    pub host: Option<Arc<str>>,
    /// The process, if it is known.
    pub pid: Option<u32>,
    /// For how long the lock is wanted at the most, from its grant on.
    pub ttl: Option<Duration>,
}

impl Metadata {
    /// The data of a claim made in a session with this timeout.
    #[must_use]
    pub fn encode(&self, session_timeout: Duration) -> Bytes {
        let mut json = String::new();
        self.push(session_timeout, &mut json);
        json.into()
    }

    pub(super) fn push(&self, session_timeout: Duration, json: &mut String) {
        json.push_str(r#"{"timestamp":""#);
        push_rfc3339(json, self.requested);
        json.push_str(r#"","ttl_deadline":""#);
        json.push_str(NEVER);
        json.push_str(r#"","owner_id":"#);
        push_string(json, self.owner.as_deref().unwrap_or_default());
        if let Some(host) = &self.host {
            json.push_str(r#","host":"#);
            push_string(json, host);
        }
        if let Some(pid) = self.pid {
            json.push_str(r#","pid":"#);
            push_number(json, pid.into());
        }
        if let Some(ttl) = self.ttl {
            // Rounded up: what is removed is never too early.
            let millis = ttl.as_nanos().div_ceil(1_000_000);
            json.push_str(r#","ttl_ms":"#);
            push_number(json, saturating(millis));
        }
        json.push_str(r#","session_timeout_ms":"#);
        push_number(json, saturating(session_timeout.as_millis()));
        json.push('}');
    }
}

/// What a claim's data say, whoever wrote them, as far as they do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub struct ClaimData {
    /// The time of the request by the requestor's clock, as it was written.
    pub timestamp: Option<String>,
    /// The owner that the request names.
    pub owner: Option<String>,
    /// The name of the requestor's machine.
    pub host: Option<String>,
    /// The requestor's process.
    pub pid: Option<u32>,
    /// For how long the lock is wanted at the most, from its grant on.
    pub ttl: Option<Duration>,
    /// The timeout of the session that made the claim.
    pub session_timeout: Option<Duration>,
}

impl ClaimData {
    /// Reads what [`Metadata::encode`] writes, and what kafka-kit's lock does;
    /// `None` if the data are no JSON object. Members of another type than
    /// expected are passed over.
    #[must_use]
    pub fn decode(data: &[u8]) -> Option<Self> {
        let mut read = Self::default();
        for (name, value) in json::members(data)? {
            match (name.as_str(), value) {
                ("timestamp", Value::Text(text)) => read.timestamp = Some(text),
                ("owner_id", Value::Text(text)) => {
                    read.owner = Some(text).filter(|text| !text.is_empty());
                }
                ("host", Value::Text(text)) => read.host = Some(text),
                ("pid", Value::Number(number)) => read.pid = number.parse().ok(),
                ("ttl_ms", Value::Number(number)) => read.ttl = millis(&number),
                ("session_timeout_ms", Value::Number(number)) => {
                    read.session_timeout = millis(&number);
                }
                _ => {}
            }
        }
        Some(read)
    }
}

fn millis(number: &str) -> Option<Duration> {
    let millis: u128 = number.parse().ok().filter(|millis| *millis > 0)?;
    Some(Duration::from_millis(saturating(millis)))
}

fn saturating(millis: u128) -> u64 {
    u64::try_from(millis).unwrap_or(u64::MAX)
}

/// The number, which has twenty digits at the most.
fn push_number(json: &mut String, number: u64) {
    let mut text = [0; 20];
    let count = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let (digits, _) = text.split_at_mut(count);
    write_digits(digits, number);
    json.push_str(std::str::from_utf8(digits).unwrap_or_default());
}

fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..='\u{1f}' => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json.push('"');
}

/// The UTC date and time so long after 1970-01-01T00:00:00Z.
fn push_rfc3339(json: &mut String, since_epoch: Duration) {
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let seconds = since_epoch.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let millis = since_epoch.subsec_millis();
    for (number, place) in [
        (year, 0..4),
        (month, 5..7),
        (day, 8..10),
        (hour, 11..13),
        (minute, 14..16),
        (second, 17..19),
        (millis.into(), 20..23),
    ] {
        write_digits(text.get_mut(place).unwrap_or_default(), number);
    }
    json.push_str(std::str::from_utf8(&text).unwrap_or_default());
}

/// In decimal, behind zeros; the last digits, if there is no room for all. Every
/// claim has a dozen numbers, and `write!` takes several times as long for each.
fn write_digits(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The Gregorian date that many days after 1970-01-01, counted in years that
/// begin in March, so that the leap day is a year's last.
const fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_TO_1970: u64 = 719_468;
    const CYCLE: u64 = 146_097;
    let days = days.saturating_add(DAYS_TO_1970);
    let (cycle, day) = (days / CYCLE, days % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 {
        (month + 3, 0)
    } else {
        (month - 9, 1)
    };
    (cycle * 400 + year + next_year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_json_with_kafka_kits_keys() {
        let metadata = Metadata {
            requested: Duration::from_millis(1_638_960_391_005),
            owner: Some("a \"b\"\\\n\u{1}\u{1f512}".into()),
            host: Some("h".into()),
            pid: Some(7),
            ttl: Some(Duration::from_micros(1_500_001)),
        };
        let json: serde_json::Value =
            serde_json::from_slice(&metadata.encode(Duration::from_secs(10))).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "timestamp": "2021-12-08T10:46:31.005Z",
                "ttl_deadline": "9999-12-31T23:59:59Z",
                "owner_id": "a \"b\"\\\n\u{1}\u{1f512}",
                "host": "h",
                "pid": 7,
                "ttl_ms": 1_501,
                "session_timeout_ms": 10_000,
            })
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let metadata = Metadata {
            requested: Duration::ZERO,
            owner: Some("a \"b\"\\\n\u{1}\u{1f512}".into()),
            host: Some("h".into()),
            pid: Some(7),
            ttl: Some(Duration::from_secs(3)),
        };
        let read = ClaimData {
            timestamp: Some("1970-01-01T00:00:00.000Z".into()),
            owner: metadata.owner.as_deref().map(Into::into),
            host: Some("h".into()),
            pid: Some(7),
            ttl: Some(Duration::from_secs(3)),
            session_timeout: Some(Duration::from_secs(10)),
        };
        let data = metadata.encode(Duration::from_secs(10));
        assert_eq!(ClaimData::decode(&data), Some(read));
    }

    #[test]
    fn data_of_others_say_as_much_as_they_do() {
        let odd = br#"{"owner_id":"","ttl_ms":0,"pid":-1,"host":7,"session_timeout_ms":"x"}"#;
        assert_eq!(ClaimData::decode(odd), Some(ClaimData::default()));
        let long = br#"{"ttl_ms":340282366920938463463374607431768211455}"#;
        let ttl = ClaimData::decode(long).and_then(|data| data.ttl);
        assert_eq!(ttl, Some(Duration::from_millis(u64::MAX)));
        for data in [&b""[..], b"127.0.0.1", b"[]", b"\xff"] {
            assert_eq!(ClaimData::decode(data), None);
        }
    }

    #[test]
    fn dates() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let mut text = String::new();
            push_rfc3339(&mut text, Duration::from_secs(seconds));
            assert_eq!(text, date);
        }
    }
}
