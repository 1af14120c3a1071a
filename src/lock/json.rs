//! As much JSON as the data of claims take: the members of an object.

/// A member's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    /// A number, as it was written.
    Number(String),
    /// Something else, which no member of interest is.
    Other,
}

/// The members of the object that this text is, in order; `None` if it is none.
/// Objects and arrays in it are passed over and not looked into.
pub(super) fn members(json: &[u8]) -> Option<Vec<(String, Value)>> {
    let mut text = Text(std::str::from_utf8(json).ok()?);
    let mut members = Vec::new();
    text.expect('{')?;
    if text.expect('}').is_none() {
        loop {
            let name = text.string()?;
            text.expect(':')?;
            members.push((name, text.value()?));
            match text.next_token()? {
                ',' => {}
                '}' => break,
                _ => return None,
            }
        }
    }
    text.skip_space();
    text.0.is_empty().then_some(members)
}

/// What is left of the text.
#[derive(Clone, Copy)]
struct Text<'a>(&'a str);

impl Text<'_> {
    fn skip_space(&mut self) {
        self.0 = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn next(&mut self) -> Option<char> {
        let mut rest = self.0.chars();
        let next = rest.next()?;
        self.0 = rest.as_str();
        Some(next)
    }

    fn next_token(&mut self) -> Option<char> {
        self.skip_space();
        self.next()
    }

    fn expect(&mut self, wanted: char) -> Option<()> {
        self.skip_space();
        self.0 = self.0.strip_prefix(wanted)?;
        Some(())
    }

    fn value(&mut self) -> Option<Value> {
        self.skip_space();
        match self.0.chars().next()? {
            '"' => self.string().map(Value::Text),
            '{' | '[' => self.skip_nested().map(|()| Value::Other),
            '-' | '0'..='9' => Some(Value::Number(self.word())),
            _ => matches!(&*self.word(), "true" | "false" | "null").then_some(Value::Other),
        }
    }

    fn word(&mut self) -> String {
        let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
        let (word, rest) = self.0.split_at(self.0.find(ends).unwrap_or(self.0.len()));
        self.0 = rest;
        word.to_owned()
    }

    fn string(&mut self) -> Option<String> {
        self.expect('"')?;
        let mut string = String::new();
        loop {
            match self.next()? {
                '"' => return Some(string),
                '\\' => string.push(self.escaped()?),
                '\0'..='\u{1f}' => return None,
                character => string.push(character),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.utf16(),
            character @ ('"' | '\\' | '/') => character,
            _ => return None,
        })
    }

    /// A character as one or two units of UTF-16, in hexadecimal digits.
    fn utf16(&mut self) -> Option<char> {
        let first = self.unit()?;
        let second = match first {
            0xd800..0xdc00 => {
                self.0 = self.0.strip_prefix("\\u")?;
                Some(self.unit()?)
            }
            _ => None,
        };
        char::decode_utf16([first].into_iter().chain(second))
            .next()?
            .ok()
    }

    fn unit(&mut self) -> Option<u16> {
        let (digits, rest) = self.0.split_at_checked(4)?;
        self.0 = rest;
        let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| hexadecimal)
    }

    fn skip_nested(&mut self) -> Option<()> {
        let mut depth: usize = 0;
        loop {
            match self.0.chars().next()? {
                '"' => {
                    self.string()?;
                    continue;
                }
                '{' | '[' => depth = depth.saturating_add(1),
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.next();
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_every_kind_are_read() {
        let json = r#" { "a" : "x\"\\\/\b\f\n\r\t\u0041\ud83d\ude00\uff21 é" , "b":-1.5e+3,
            "c":{"d":["}",1]},"e":[ ],"f":true,"g":null,"h":7,"":""} "#;
        let json = json.replace(',', "\t\r,");
        let text = |text: &str| Value::Text(text.into());
        let number = |text: &str| Value::Number(text.into());
        let expected = [
            ("a", text("x\"\\/\u{8}\u{c}\n\r\tA\u{1f600}\u{ff21} é")),
            ("b", number("-1.5e+3")),
            ("c", Value::Other),
            ("e", Value::Other),
            ("f", Value::Other),
            ("g", Value::Other),
            ("h", number("7")),
            ("", text("")),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(members(json.as_bytes()).unwrap(), expected);
        assert_eq!(members(b"{}"), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for json in [
            "",
            "{",
            "[]",
            "7",
            "null",
            "{}x",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":1",
            "{\"a\":\"x}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\\ud800\\u0041\"}",
            "{\"a\":\"\\udc00\"}",
            "{\"a\":\"\\ud83d##de00\"}",
            "{\"a\":\"\\u+123\"}",
            "{\"a\":\"\n\"}",
            "{\"a\":[1",
            "{\"a\":nope}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "\u{feff}{}",
            "{\"a\":[\"]}",
        ] {
            assert_eq!(members(json.as_bytes()), None, "{json}");
        }
        assert_eq!(members(b"\xff"), None);
    }
}
